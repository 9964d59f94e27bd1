#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>

static void fitted_rows_match_numpy(void **state)
{
    (void)state;
    /* (x - x.mean(0)) / x.std(0) for [[1, 10], [2, 10], [6, 40]] */
    const float want[] = {-0.925820F, -0.707107F, -0.462910F, -0.707107F, 1.388730F, 1.414214F};
    const float rows[] = {1, 10, 2, 10, 6, 40};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    float out[2];

    assert_int_equal(scaler_fit(rows, 3, 2, &scaler, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(scaler_apply(scaler, rows + 2 * i, out), 0);
        assert_float_equal(out[0], want[2 * i], 1e-5);
        assert_float_equal(out[1], want[2 * i + 1], 1e-5);
    }
    assert_float_equal(scaler_median(scaler)[0], 2, 0);
    assert_float_equal(scaler_median(scaler)[1], 10, 0);
}

static void a_constant_column_maps_to_zero_and_alarms_when_it_moves(void **state)
{
    (void)state;
    const float rows[] = {7, 0, 7, 0, 7, 0}, moved[] = {8, 1};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    float out[2];

    assert_int_equal(scaler_fit(rows, 3, 2, &scaler, NULL), 0);
    (void)scaler_apply(scaler, rows, out);
    assert_true(out[0] == 0.0F && out[1] == 0.0F);
    (void)scaler_apply(scaler, moved, out);
    assert_true(out[0] > 10.0F && out[1] > 10.0F);
}

static void median_of_an_even_number_of_rows_lies_between_the_two_in_the_middle(void **state)
{
    (void)state;
    const float rows[] = {9, 1, 4, 2};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;

    assert_int_equal(scaler_fit(rows, 4, 1, &scaler, NULL), 0);
    assert_true(scaler_median(scaler)[0] == 3.0F);
}

/* Vectors take many at a time, and what is left over one by one. */
static void each_of_many_features_is_scaled_by_its_own(void **state)
{
    (void)state;
    enum {
        MANY = 29
    };
    float mean[MANY], std[MANY], median[MANY], row[MANY];
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    size_t n_missing = 0;

    for (size_t j = 0; j < MANY; j++) {
        mean[j] = (float)j - 7.5F;
        std[j] = 0.25F + 0.5F * (float)j;
        median[j] = mean[j] + 0.5F * std[j];
        row[j] = j % 5 == 2 ? NAN : mean[j] + ((float)(j * 53 % 400) - 200.0F) * std[j];
        n_missing += j % 5 == 2;
    }
    assert_int_equal(scaler_new(mean, std, median, MANY, &scaler), 0);
    for (int in_place = 0; in_place < 2; in_place++) {
        float room[MANY], *const out = in_place ? row : room;
        assert_int_equal(scaler_apply(scaler, row, out), n_missing);
        for (size_t j = 0; j < MANY; j++) {
            const double z = j % 5 == 2 ? 0.5 : (double)(j * 53 % 400) - 200.0;
            assert_float_equal(out[j], (float)fmin(fmax(z, -100.0), 100.0), 1e-3);
        }
    }
}

/* The last digits of a float are rounding, not news. */
static void deviation_is_at_least_a_millionth_of_the_mean(void **state)
{
    (void)state;
    const float rows[] = {1000000.0F, 1000000.0625F}, minus[] = {-1000000.0F, -1000000.0625F};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    CLEANUP(scaler_freep) struct scaler *below = NULL;

    assert_int_equal(scaler_fit(rows, 2, 1, &scaler, NULL), 0);
    assert_float_equal(scaler_std(scaler)[0], 1, 1e-4);
    assert_int_equal(scaler_fit(minus, 2, 1, &below, NULL), 0);
    assert_float_equal(scaler_std(below)[0], 1, 1e-4);
}

static void deviation_keeps_its_digits_beside_a_large_mean(void **state)
{
    (void)state;
    const float rows[] = {16777214, 16777216, 16777214, 16777216};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;

    assert_int_equal(scaler_fit(rows, 4, 1, &scaler, NULL), 0);
    assert_true(scaler_std(scaler)[0] >= 1.0F && scaler_std(scaler)[0] < 17.0F);
}

static void scaled_values_are_finite_and_clamped_whatever_comes(void **state)
{
    (void)state;
    const float rows[] = {0, 1, -FLT_MAX, 0, 2, FLT_MAX, 0, 1, -FLT_MAX};
    const float extreme[] = {FLT_MAX, -FLT_MAX, FLT_MAX};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    float out[3];

    assert_int_equal(scaler_fit(rows, 3, 3, &scaler, NULL), 0);
    (void)scaler_apply(scaler, extreme, out);
    assert_true(out[0] == SCALER_LIMIT);
    assert_true(out[1] == -SCALER_LIMIT);
    assert_true(isfinite(out[2]));
}

static void missing_values_do_not_count_and_become_the_median(void **state)
{
    (void)state;
    const float rows[] = {1, NAN, 2, 9}, gap[] = {NAN};
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    float out[1];

    assert_int_equal(scaler_fit(rows, 4, 1, &scaler, NULL), 0);
    assert_float_equal(scaler_mean(scaler)[0], 4, 1e-6);
    assert_float_equal(scaler_median(scaler)[0], 2, 0);
    assert_int_equal(scaler_apply(scaler, gap, out), 1);
    assert_float_equal(out[0], (2 - 4) / scaler_std(scaler)[0], 1e-6);
}

static void a_column_without_any_value_is_named(void **state)
{
    (void)state;
    const float rows[] = {1, NAN, 2, NAN};
    struct scaler *scaler = NULL;
    size_t column = 99;

    assert_int_equal(scaler_fit(rows, 2, 2, &scaler, &column), -EINVAL);
    assert_int_equal(column, 1);
    assert_int_equal(scaler_fit(rows, 0, 2, &scaler, &column), -EINVAL);
    assert_null(scaler); /* a failed call leaves ret_ untouched */
}

static void numbers_of_a_hostile_file_are_refused(void **state)
{
    (void)state;
    const float good[] = {1}, zero[] = {0}, minus[] = {-1}, infinite[] = {INFINITY},
                tiny[] = {1e-45F};
    struct scaler *scaler = NULL;

    assert_int_equal(scaler_new(good, zero, good, 1, &scaler), -EINVAL);
    assert_int_equal(scaler_new(good, minus, good, 1, &scaler), -EINVAL);
    assert_int_equal(scaler_new(good, tiny, good, 1, &scaler), -EINVAL); /* 1 / std overflows */
    assert_int_equal(scaler_new(infinite, good, good, 1, &scaler), -EINVAL);
    assert_int_equal(scaler_new(good, good, infinite, 1, &scaler), -EINVAL);
    assert_null(scaler);
}

static void a_column_that_never_moved_is_told_from_one_that_did(void **state)
{
    (void)state;
    float rows[99][5];
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;

    for (size_t i = 0; i < 99; i++) {
        rows[i][0] = 0;
        rows[i][1] = -1.1e7F; /* the mean of its like is not exact */
        rows[i][2] = i == 7 ? NAN : 0.3F;
        rows[i][3] = (float)i;
        rows[i][4] = i == 7; /* only once */
    }
    assert_int_equal(scaler_fit(rows[0], 99, 5, &scaler, NULL), 0);
    assert_true(scaler_is_constant(scaler, 0));
    assert_true(scaler_is_constant(scaler, 1));
    assert_true(scaler_is_constant(scaler, 2));
    assert_false(scaler_is_constant(scaler, 3));
    assert_false(scaler_is_constant(scaler, 4));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const float rows[] = {1, 2};
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(scaler_freep) struct scaler *scaler = NULL;
        alloc_fail_in = nth;
        r = scaler_fit(rows, 2, 1, &scaler, NULL);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_many_features_is_scaled_by_its_own),
        cmocka_unit_test(fitted_rows_match_numpy),
        cmocka_unit_test(a_constant_column_maps_to_zero_and_alarms_when_it_moves),
        cmocka_unit_test(median_of_an_even_number_of_rows_lies_between_the_two_in_the_middle),
        cmocka_unit_test(deviation_is_at_least_a_millionth_of_the_mean),
        cmocka_unit_test(deviation_keeps_its_digits_beside_a_large_mean),
        cmocka_unit_test(scaled_values_are_finite_and_clamped_whatever_comes),
        cmocka_unit_test(missing_values_do_not_count_and_become_the_median),
        cmocka_unit_test(a_column_without_any_value_is_named),
        cmocka_unit_test(numbers_of_a_hostile_file_are_refused),
        cmocka_unit_test(a_column_that_never_moved_is_told_from_one_that_did),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
