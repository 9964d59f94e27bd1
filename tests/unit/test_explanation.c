#include "detector/explanation.h"

#include "base/random.h"
#include "detector/movement.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N      6
#define N_ROWS 2000

static float rows[N_ROWS * N];
static struct explanation *explanation;
static const bool nothing_missing[N];

/* Four features that follow one hidden cause, one alone, one that never moves; deviations are 1. */
static int set_up(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        float *row = rows + i * N;
        const double cause = random_normal(&random);
        for (size_t j = 0; j < 4; j++)
            row[j] = (float)(0.98 * cause + 0.2 * random_normal(&random));
        row[4] = (float)random_normal(&random);
        row[5] = 0;
    }
    return explanation_fit(rows, N_ROWS, N, &explanation);
}

static int tear_down(void **state)
{
    (void)state;
    explanation_free(explanation);
    return 0;
}

static void find(const float *z, const bool *is_missing, float *ret_unusual, float *ret_expected)
{
    AUTO_FREE float *scratch = calloc(explanation_scratch_floats(explanation), sizeof(*scratch));

    assert_non_null(scratch);
    explanation_find_faults(explanation, scratch, z, is_missing, ret_unusual, ret_expected);
}

static size_t largest(const float *values)
{
    size_t at = 0;

    for (size_t j = 1; j < N; j++)
        at = values[j] > values[at] ? j : at;
    return at;
}

/* P · (covariance + 0.01 I) = I of what moves: of 2,000 rows Ledoit and Wolf shrink next to
 * nothing. */
static void precision_is_the_inverse_of_how_features_move_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < N; k++) {
                double product = 0.0;
                for (size_t row = 0; row < N_ROWS; row++)
                    product += (double)rows[row * N + k] * (double)rows[row * N + j];
                product = product / N_ROWS + (k == j ? 0.01 : 0.0);
                sum += (double)explanation->precision[i * N + k] * product;
            }
            assert_true(fabs(sum - (i == j)) < 0.1);
        }
}

static void correlation_is_that_of_the_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            double a = 0, b = 0, both = 0;
            for (size_t row = 0; row < N_ROWS; row++) {
                a += (double)rows[row * N + i] * (double)rows[row * N + i];
                b += (double)rows[row * N + j] * (double)rows[row * N + j];
                both += (double)rows[row * N + i] * (double)rows[row * N + j];
            }
            const double expected = i == j || i == 5 || j == 5 ? 0 : both / sqrt(a * b);
            assert_true(fabs((double)explanation->correlation[i * N + j] - expected) < 0.03);
        }
}

static void ranges_are_those_of_training(void **state)
{
    (void)state;
    for (size_t j = 0; j < N; j++) {
        float low = rows[j], high = rows[j];
        size_t n_outside = 0;
        for (size_t i = 0; i < N_ROWS; i++) {
            const float value = rows[i * N + j];
            low = fminf(low, value);
            high = fmaxf(high, value);
            n_outside += value < explanation->usual_low[j] || value > explanation->usual_high[j];
        }
        assert_true(explanation->low[j] == low && explanation->high[j] == high);
        assert_in_range(n_outside, j == 5 ? 0 : 30, 40); /* 2 % */
    }
}

static void the_feature_that_contradicts_the_others_is_found_and_put_right(void **state)
{
    (void)state;
    float z[N], unusual[N], expected[N];

    for (size_t i = 0; i < 200; i++) {
        const size_t fault = i % 5;
        memcpy(z, rows + i * N, sizeof(z));
        z[fault] += i % 2 ? 4.0F : -4.0F;
        find(z, nothing_missing, unusual, expected);
        if (fault == 4)
            continue; /* nothing tells what it should be */
        assert_int_equal(largest(unusual), fault);
        assert_true(fabs((double)(expected[fault] - rows[i * N + fault])) < 1.0);
        for (size_t j = 0; j < 4; j++)
            assert_true(j == fault || fabs((double)(expected[j] - rows[i * N + j])) < 1.0);
    }
}

static void two_of_four_are_found_when_they_are_far_off(void **state)
{
    (void)state;
    const float z[N] = {8, -0.5F, -8, -0.5F, 0, 0};
    float unusual[N], expected[N];

    find(z, nothing_missing, unusual, expected);
    for (size_t j = 0; j < 4; j++)
        assert_true(fabs((double)expected[j] + 0.5) < 0.6);
    assert_true(unusual[0] > 10 && unusual[2] > 10 && unusual[1] < 5 && unusual[3] < 5);
}

/* Feature 0 contradicts 1, and nothing else tells; but no row ever had such a 1. */
static void of_two_that_contradict_each_other_the_unheard_of_is_wrong(void **state)
{
    (void)state;
    const bool is_missing[N] = {false, false, true, true, false, false};
    float z[N] = {0, 20, 0, 0, 0, 0}, unusual[N], expected[N];

    find(z, is_missing, unusual, expected);
    assert_true(fabs((double)expected[0]) < 0.5 && fabs((double)expected[1]) < 0.5);
    z[0] = 20;
    z[1] = 0;
    find(z, is_missing, unusual, expected);
    assert_true(fabs((double)expected[0]) < 0.5 && fabs((double)expected[1]) < 0.5);
}

static void what_is_missing_is_found_from_the_others(void **state)
{
    (void)state;
    const bool is_missing[N] = {true, false, false, false, false, false};
    const float z[N] = {0, 1.5F, 1.5F, 1.5F, 0, 0};
    float unusual[N], expected[N];

    find(z, is_missing, unusual, expected);
    assert_true(fabs((double)expected[0] - 1.5) < 0.3);
    assert_true(unusual[1] < 3);
}

static void what_is_expected_stays_within_what_was_seen(void **state)
{
    (void)state;
    float unusual[N], expected[N];

    for (size_t j = 0; j < N; j++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float z[N] = {0};
            for (size_t k = 0; k < N; k++)
                z[k] = (float)sign * (k == j ? 100.0F : 50.0F);
            find(z, nothing_missing, unusual, expected);
            for (size_t k = 0; k < N; k++) {
                assert_true(isfinite(unusual[k]) && unusual[k] >= 0);
                assert_true(expected[k] >= explanation->low[k]);
                assert_true(expected[k] <= explanation->high[k]);
            }
        }
}

/* No fault is sparse then, and the search ends after so many steps. */
static void a_row_with_which_all_is_wrong_gives_numbers_too(void **state)
{
    (void)state;
    enum {
        WIDE = 900,
        N_WIDE = 40
    };
    CLEANUP(explanation_freep) struct explanation *wide = NULL;
    AUTO_FREE float *many = malloc(N_WIDE * WIDE * sizeof(*many));
    AUTO_FREE float *scratch = malloc(4 * WIDE * sizeof(*scratch));
    AUTO_FREE bool *nothing = calloc(WIDE, sizeof(*nothing));
    static float z[WIDE], unusual[WIDE], expected[WIDE];
    struct random random;

    assert_true(many && scratch && nothing);
    random_seed(&random, 1);
    for (size_t k = 0; k < (size_t)N_WIDE * WIDE; k++)
        many[k] = (float)random_normal(&random);
    assert_int_equal(explanation_fit(many, N_WIDE, WIDE, &wide), 0);
    for (size_t j = 0; j < WIDE; j++)
        z[j] = (float)(50.0 * random_normal(&random));
    explanation_find_faults(wide, scratch, z, nothing, unusual, expected);
    for (size_t j = 0; j < WIDE; j++)
        assert_true(isfinite(unusual[j]) && isfinite(expected[j]));
}

static void one_row_is_enough_to_have_one(void **state)
{
    (void)state;
    CLEANUP(explanation_freep) struct explanation *one = NULL;

    assert_int_equal(explanation_fit(rows, 1, N, &one), 0);
    for (size_t j = 0; j < N; j++)
        assert_true(one->deviation[j] > 0 && isfinite(one->deviation[j]));
}

static void of_many_rows_evenly_spread_ones_are_enough(void **state)
{
    (void)state;
    CLEANUP(explanation_freep) struct explanation *many = NULL;
    AUTO_FREE float *repeated = malloc(30 * sizeof(rows));

    assert_non_null(repeated);
    for (size_t k = 0; k < 30; k++)
        memcpy(repeated + k * N_ROWS * N, rows, sizeof(rows));
    assert_int_equal(explanation_fit(repeated, 30 * N_ROWS, N, &many), 0);
    for (size_t j = 0; j < N; j++) {
        assert_true(many->low[j] == explanation->low[j] && many->high[j] == explanation->high[j]);
        assert_true(fabs((double)(many->deviation[j] / explanation->deviation[j]) - 1) < 0.1);
    }
}

static void above_a_thousand_features_there_is_no_precision(void **state)
{
    (void)state;
    CLEANUP(explanation_freep) struct explanation *wide = NULL;
    CLEANUP(explanation_freep) struct explanation *again = NULL;
    const size_t n = EXPLANATION_MAX_FEATURES + 1;

    assert_int_equal(explanation_fit(rows, 5, n, &wide), 0);
    assert_null(wide->precision);
    assert_int_equal(explanation_new(NULL, wide->low, wide->jumps, n, &again), 0);
    assert_null(again->precision);
    assert_memory_equal(again->usual_high, wide->usual_high, n * sizeof(float));
}

static void hostile_numbers_of_a_file_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, -1e30F, 1e30F};
    float precision[N * N], ranges[4 * N], jumps[MOVEMENT_WINDOWS * N];
    struct explanation *loaded = NULL;

    for (size_t kind = 0; kind < 6; kind++)
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            memcpy(precision, explanation->precision, sizeof(precision));
            memcpy(ranges, explanation->low, sizeof(ranges));
            memcpy(jumps, explanation->jumps, sizeof(jumps));
            float *const places[] = {&precision[0],  &precision[1],  &ranges[0],
                                     &ranges[2 * N], &ranges[3 * N], &jumps[N]};
            *places[kind] = bad[i];
            const bool is_fine =
                (kind == 0 && i == 4) || (kind == 2 && i == 3) || (kind == 5 && i == 4);
            const int r = explanation_new(precision, ranges, jumps, N, &loaded);
            if (is_fine && r == 0)
                explanation_free(TAKE(loaded));
            else
                assert_int_equal(r, -EINVAL);
            assert_null(loaded);
        }
    memcpy(precision, explanation->precision, sizeof(precision));
    precision[N + 1] = 0; /* of the diagonal */
    assert_int_equal(explanation_new(precision, explanation->low, explanation->jumps, N, &loaded),
                     -EINVAL);
}

/* Symmetric, its diagonal above 0, and yet the inverse of no covariance: faults grow without end.
 */
static void a_matrix_that_is_no_inverse_still_gives_numbers(void **state)
{
    (void)state;
    const float off[] = {1e5F, -1e30F, 3e38F};
    const float z[N] = {90, -3, 0, 0, 1, 100};
    float precision[N * N], unusual[N], expected[N];

    for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++) {
        for (size_t k = 0; k < N * N; k++)
            precision[k] = k % (N + 1) == 0 ? 1.0F : off[i];
        CLEANUP(explanation_freep) struct explanation *hostile = NULL;
        AUTO_FREE float *scratch = calloc(explanation_scratch_floats(explanation), sizeof(float));
        assert_non_null(scratch);
        assert_int_equal(
            explanation_new(precision, explanation->low, explanation->jumps, N, &hostile), 0);
        explanation_find_faults(hostile, scratch, z, nothing_missing, unusual, expected);
        for (size_t j = 0; j < N; j++)
            assert_true(isfinite(unusual[j]) && unusual[j] >= 0 && isfinite(expected[j]));
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        int r = -ENOMEM, nth = 0;
        for (; r == -ENOMEM && nth < 50; nth++) {
            CLEANUP(explanation_freep) struct explanation *made = NULL;
            alloc_fail_in = nth;
            r = kind ? explanation_fit(rows, N_ROWS, N, &made)
                     : explanation_new(explanation->precision, explanation->low, explanation->jumps,
                                       N, &made);
            alloc_fail_in = -1;
            assert_int_equal(!made, r < 0);
        }
        assert_int_equal(r, 0);
        assert_true(nth > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precision_is_the_inverse_of_how_features_move_together),
        cmocka_unit_test(correlation_is_that_of_the_rows),
        cmocka_unit_test(ranges_are_those_of_training),
        cmocka_unit_test(the_feature_that_contradicts_the_others_is_found_and_put_right),
        cmocka_unit_test(two_of_four_are_found_when_they_are_far_off),
        cmocka_unit_test(of_two_that_contradict_each_other_the_unheard_of_is_wrong),
        cmocka_unit_test(what_is_missing_is_found_from_the_others),
        cmocka_unit_test(what_is_expected_stays_within_what_was_seen),
        cmocka_unit_test(a_row_with_which_all_is_wrong_gives_numbers_too),
        cmocka_unit_test(one_row_is_enough_to_have_one),
        cmocka_unit_test(of_many_rows_evenly_spread_ones_are_enough),
        cmocka_unit_test(above_a_thousand_features_there_is_no_precision),
        cmocka_unit_test(hostile_numbers_of_a_file_are_refused),
        cmocka_unit_test(a_matrix_that_is_no_inverse_still_gives_numbers),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
