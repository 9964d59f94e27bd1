#include "detector/calibration.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>

/* Errors 1, 2, … n in an order that is not sorted. */
static struct calibration *count_up_to(size_t n)
{
    struct calibration *calibration = NULL;
    AUTO_FREE double *errors = calloc(n, sizeof(*errors));

    assert_non_null(errors);
    for (size_t i = 0; i < n; i++)
        errors[i] = (double)((i * 7919) % n + 1); /* 7919 is prime to the sizes used here */
    assert_int_equal(calibration_fit(errors, n, &calibration), 0);
    return calibration;
}

static void threshold_is_the_conformal_order_statistic(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(99);

    assert_true(calibration_threshold(calibration, 0.01) == 99.0); /* ceil(100 · 0.99) */
    assert_true(calibration_threshold(calibration, 0.1) == 90.0);
    assert_true(calibration_threshold(calibration, 0.105) == 90.0); /* ceil(89.5) */
    assert_true(calibration_threshold(calibration, 0.5) == 50.0);
}

/* 150 · (1 - 0.18) is 123, but 123.00000000000001 in double, which must not become rank 124. */
static void rounding_does_not_raise_the_rank(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *some = count_up_to(149);
    CLEANUP(calibration_freep) struct calibration *more = count_up_to(199);

    assert_true(150 * (1 - 0.18) > 123 && 200 * (1 - 0.285) > 143);
    assert_true(calibration_threshold(some, 0.18) == 123.0);
    assert_true(calibration_threshold(more, 0.285) == 143.0);
}

static void too_few_rows_give_the_largest_error_and_say_so(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *few = count_up_to(98);
    CLEANUP(calibration_freep) struct calibration *enough = count_up_to(99);

    assert_int_equal(calibration_rows_needed(0.01), 99);
    assert_int_equal(calibration_rows_needed(0.001), 999);
    assert_false(calibration_holds(few, 0.01));
    assert_true(calibration_threshold(few, 0.01) == 98.0);
    assert_true(calibration_holds(enough, 0.01));
}

static void p_value_counts_the_errors_that_are_at_least_as_large(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(9);

    assert_true(calibration_p_value(calibration, 0) == 1.0);
    assert_true(calibration_p_value(calibration, 9) == 0.2);
    assert_true(calibration_p_value(calibration, 8.5) == 0.2);
    assert_true(calibration_p_value(calibration, 10) == 0.1);
}

static void p_value_is_at_most_the_rate_exactly_for_anomalies(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(199);
    const double threshold = calibration_threshold(calibration, 0.05);

    for (double error = 0.5; error < 210; error += 0.5)
        assert_int_equal(error > threshold, calibration_p_value(calibration, error) <= 0.05);
}

static void a_large_sample_is_thinned_without_lowering_the_threshold(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(100000);
    size_t n_errors;

    (void)calibration_errors(calibration, &n_errors);
    assert_int_equal(n_errors, CALIBRATION_MAX_ERRORS);
    assert_int_equal(calibration_n_rows(calibration), 100000);
    for (double rate = 0.5; rate > 0.0005; rate /= 2) {
        const double exact = ceil(100001 * (1 - rate));
        const double threshold = calibration_threshold(calibration, rate);
        assert_true(threshold >= exact && threshold <= exact + 100000.0 / 2048);
    }
    assert_true(fabs(calibration_p_value(calibration, 90000.5) - 0.1) < 0.001);
}

static void thinning_keeps_the_largest_errors_one_by_one(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(100000);

    size_t n_errors;

    const double *errors = calibration_errors(calibration, &n_errors);
    assert_true(errors[n_errors - 1] == 100000.0);
    assert_true(calibration_threshold(calibration, 0.0001) == 99991.0); /* ceil(100001 · 0.9999) */
    assert_true(calibration_threshold(calibration, 0.01) == 99001.0);
    assert_true(calibration_p_value(calibration, 99999.5) == 2.0 / 100001);
    assert_true(calibration_p_value(calibration, 100000.5) == 1.0 / 100001);
}

static void observed_rate_stays_at_what_was_asked_for(void **state)
{
    (void)state;
    struct random random;
    size_t flagged = 0;

    random_seed(&random, 5);
    for (size_t trial = 0; trial < 200; trial++) {
        double errors[199];
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        for (size_t i = 0; i < 199; i++)
            errors[i] = fabs(random_normal(&random));
        assert_int_equal(calibration_fit(errors, 199, &calibration), 0);
        for (size_t i = 0; i < 100; i++)
            flagged += fabs(random_normal(&random)) > calibration_threshold(calibration, 0.05);
    }
    assert_true(flagged > 850 && flagged < 1150); /* 20,000 rows at 5 % */
}

static void threshold_is_above_zero_even_if_all_errors_are_zero(void **state)
{
    (void)state;
    const double errors[] = {0, 0, 0};
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;

    assert_int_equal(calibration_fit(errors, 3, &calibration), 0);
    assert_true(calibration_threshold(calibration, 0.5) > 0);
}

static void numbers_of_a_hostile_file_are_refused(void **state)
{
    (void)state;
    const double falling[] = {2, 1}, negative[] = {-1, 1}, nan[] = {1, (double)NAN},
                 infinite[] = {1, HUGE_VAL}, good[] = {1, 2};
    struct calibration *calibration = NULL;

    assert_int_equal(calibration_new(falling, 2, 2, &calibration), -EINVAL);
    assert_int_equal(calibration_new(negative, 2, 2, &calibration), -EINVAL);
    assert_int_equal(calibration_new(nan, 2, 2, &calibration), -EINVAL);
    assert_int_equal(calibration_new(infinite, 2, 2, &calibration), -EINVAL);
    assert_int_equal(calibration_new(good, 2, 1, &calibration), -EINVAL);
    assert_int_equal(calibration_new(good, 0, 1, &calibration), -EINVAL);
    assert_int_equal(calibration_fit(nan, 2, &calibration), -EINVAL);
    assert_null(calibration);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const double errors[] = {3, 1, 2};
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        alloc_fail_in = nth;
        r = calibration_fit(errors, 3, &calibration);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threshold_is_the_conformal_order_statistic),
        cmocka_unit_test(rounding_does_not_raise_the_rank),
        cmocka_unit_test(too_few_rows_give_the_largest_error_and_say_so),
        cmocka_unit_test(p_value_counts_the_errors_that_are_at_least_as_large),
        cmocka_unit_test(p_value_is_at_most_the_rate_exactly_for_anomalies),
        cmocka_unit_test(a_large_sample_is_thinned_without_lowering_the_threshold),
        cmocka_unit_test(thinning_keeps_the_largest_errors_one_by_one),
        cmocka_unit_test(observed_rate_stays_at_what_was_asked_for),
        cmocka_unit_test(threshold_is_above_zero_even_if_all_errors_are_zero),
        cmocka_unit_test(numbers_of_a_hostile_file_are_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
