#include "detector/whole.h"

#include "detector/detector.h"
#include "detector/explanation.h"
#include "detector/movement.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define D PREPARED_FEATURES
#define N 40

static struct preparation *preparation;
static struct detector *detector;
static struct workspace *workspace;
static float rows[N * D];

static int set_up(void **state)
{
    (void)state;
    static double times[N], values[N * PREPARED_VALUES];

    detector_init();
    preparation = prepared_preparation();
    detector = prepared_detector(1);
    prepared_values(3, N, times, values);
    prepared_rows(preparation, times, values, N, rows);
    return detector_workspace_new(&workspace);
}

static int tear_down(void **state)
{
    (void)state;
    preparation_free(preparation);
    detector_free(detector);
    detector_workspace_free(workspace);
    return 0;
}

static size_t column_of(size_t input, size_t lag)
{
    return lag * PREPARED_COLUMNS + preparation->input[input].column;
}

/* What detector_explain() says is expected, in the order of the features. */
static void expect(const float *row, float expected[D])
{
    struct contribution columns[D];

    assert_int_equal(detector_explain(detector, workspace, row, NULL, NULL, columns), 0);
    for (size_t k = 0; k < D; k++)
        expected[columns[k].feature] = columns[k].expected;
}

static double told(size_t input, size_t lag, const float *columns)
{
    return preparation_value(preparation, input, columns + column_of(input, lag));
}

static void set_category(float *row, size_t lag, double category)
{
    preparation_columns(preparation, IN_STATE, category, row + column_of(IN_STATE, lag));
}

/* By a plain loop: the columns of the input that nobody has a value of are moved until they are
 * where all others want them. */
static void expect_by_loop(const float *row, size_t input, float expected[D])
{
    const struct explanation *explanation = detector_explanation(detector);
    const struct scaler *scaler = detector_ensemble(detector)->scaler;
    float z[D];

    (void)scaler_apply(scaler, row, z);
    for (size_t sweep = 0; sweep < 2000; sweep++)
        for (size_t j = 0; j < D; j++) {
            double gradient = 0.0;
            if (preparation->input_of[j % PREPARED_COLUMNS] != input)
                continue;
            for (size_t k = 0; k < D; k++)
                gradient += (double)explanation->precision[j * D + k] * (double)z[k];
            z[j] -= (float)gradient / explanation->precision[j * D + j];
        }
    for (size_t j = 0; j < D; j++)
        expected[j] = scaler_mean(scaler)[j] + scaler_std(scaler)[j] * z[j];
}

static void a_category_is_expected_by_all_other_inputs_in_all_rows_at_once(void **state)
{
    (void)state;
    size_t n_corrected = 0;

    for (size_t i = 2; i < N; i++) {
        float row[D], expected[D], by_loop[D];
        memcpy(row, rows + i * D, sizeof(row));
        const double was = told(IN_STATE, 0, row);
        set_category(row, 0, 1.0 - was);
        set_category(row, 1, 1.0 - told(IN_STATE, 1, row));
        expect(row, expected);
        expect_by_loop(row, IN_STATE, by_loop);
        for (size_t lag = 0; lag < PREPARED_CONTEXT; lag++)
            assert_true(told(IN_STATE, lag, expected) == told(IN_STATE, lag, by_loop));
        n_corrected += told(IN_STATE, 0, expected) == was;
    }
    assert_in_range(n_corrected, N * 7 / 10, N);
}

static void what_is_expected_is_a_value_that_there_is(void **state)
{
    (void)state;
    float expected[D], columns[PREPARED_COLUMNS];

    for (size_t i = 2; i < N; i++) {
        expect(rows + i * D, expected);
        for (size_t k = 0; k < 4; k++) {
            const size_t input = k / 2 ? IN_STATE : IN_HOUR,
                         n = preparation->input[input].n_columns;
            preparation_columns(preparation, input, told(input, k % 2, expected), columns);
            for (size_t c = 0; c < n; c++)
                assert_float_equal(expected[column_of(input, k % 2) + c], columns[c], 1e-5);
        }
    }
}

/* A number that training has never seen says nothing of the category. */
static void what_is_unheard_of_elsewhere_does_not_tell(void **state)
{
    (void)state;
    float row[D], expected[D], of_odd[D];

    for (size_t i = 2; i < N; i++) {
        memcpy(row, rows + i * D, sizeof(row));
        expect(row, expected);
        row[column_of(IN_BYTES, 0)] += 1e5F * (told(IN_STATE, 0, row) > 0.0 ? -1.0F : 1.0F);
        expect(row, of_odd);
        assert_true(told(IN_STATE, 0, of_odd) == told(IN_STATE, 0, expected));
    }
}

static void of_a_missing_category_the_word_is_expected_too(void **state)
{
    (void)state;
    size_t n_right = 0;

    for (size_t i = 2; i < N; i++) {
        float row[D], expected[D];
        memcpy(row, rows + i * D, sizeof(row));
        set_category(row, 0, (double)NAN);
        assert_true(isnan(row[column_of(IN_STATE, 0) + 1]));
        expect(row, expected);
        n_right += told(IN_STATE, 0, expected) == told(IN_STATE, 0, rows + i * D);
    }
    assert_in_range(n_right, N * 7 / 10, N);
}

/* A model file can hold any P that is symmetric. */
static void a_hostile_precision_gives_no_surprise(void **state)
{
    (void)state;
    float precision[D * D], ranges[4 * D] = {0}, jumps[MOVEMENT_WINDOWS * D] = {0};
    float z[D], freed[2 * D], room[2 * D], expected[D] = {0};
    CLEANUP(explanation_freep) struct explanation *hostile = NULL;
    CLEANUP(wholes_freep) struct wholes *wholes = NULL;

    for (size_t k = 0; k < D * D; k++)
        precision[k] = k % (D + 1) == 0 ? 1.0F : 1e30F;
    for (size_t k = 0; k < D; k++) {
        z[k] = freed[k] = 1.0F;
        freed[D + k] = INFINITY;
    }
    const int r = explanation_new(precision, ranges, jumps, D, &hostile);
    if (r < 0)
        return; /* it has been refused */
    assert_int_equal(wholes_new(preparation, hostile, &wholes), 0);
    wholes_expect(wholes, detector_ensemble(detector)->scaler, z, freed, room, expected);
    for (size_t k = 0; k < D; k++)
        assert_true(isfinite(expected[k]));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 30; nth++) {
        CLEANUP(wholes_freep) struct wholes *wholes = NULL;
        alloc_fail_in = nth;
        r = wholes_new(preparation, detector_explanation(detector), &wholes);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_category_is_expected_by_all_other_inputs_in_all_rows_at_once),
        cmocka_unit_test(what_is_expected_is_a_value_that_there_is),
        cmocka_unit_test(what_is_unheard_of_elsewhere_does_not_tell),
        cmocka_unit_test(of_a_missing_category_the_word_is_expected_too),
        cmocka_unit_test(a_hostile_precision_gives_no_surprise),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
