#include "detector/pareto_tail.h"

#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>

#define N_ERRORS 2000

static const struct pareto_tail typical = {.level = 2, .scale = 0.5, .shape = 0.25, .share = 0.05};

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%.17g is not near %.17g", found, expected);
}

/* Errors spread as evenly as a tail of this shape allows. */
static void spread(double shape, double *ret_errors)
{
    const struct pareto_tail tail = {.level = 3, .scale = 2, .shape = shape, .share = 0.999};

    for (size_t i = 0; i < N_ERRORS; i++)
        ret_errors[i] =
            pareto_tail_quantile(&tail, 0.999 * (1 - ((double)i + 0.5) / (double)N_ERRORS));
}

/* By hand: a0 = 13/3, a1 = (2.35/3 · 1 + 1.35/3 · 2 + 0.35/3 · 10) / 3 = 0.95, and so
 * shape = 2 - a0 / (a0 - 2 a1), scale = 2 a0 a1 / (a0 - 2 a1) as Hosking and Wallis have them. */
static void fit_is_that_of_hosking_and_wallis(void **state)
{
    (void)state;
    const double errors[] = {8, 9, 17};
    struct pareto_tail tail;

    assert_int_equal(pareto_tail_fit(errors, 3, 7, 0.1, &tail), 0);
    assert_near(tail.shape, 2 - 13.0 / 7.3, 1e-12);
    assert_near(tail.scale, 2 * 13 * 0.95 / 7.3, 1e-12);
    assert_true(tail.level == 7 && tail.share == 0.1);
}

static void a_known_tail_is_found_again(void **state)
{
    (void)state;
    for (double shape = -0.4; shape < 0.5; shape += 0.1) {
        double errors[N_ERRORS];
        struct pareto_tail tail;

        spread(shape, errors);
        assert_int_equal(pareto_tail_fit(errors, N_ERRORS, 3, 0.05, &tail), 0);
        assert_near(tail.shape, shape, 0.03);
        assert_near(tail.scale, 2, 0.06);
    }
}

static void shape_stays_within_bounds_and_the_mean_excess_is_kept(void **state)
{
    (void)state;
    const double equal[] = {4, 4, 4, 4}, wild[] = {3.001, 3.001, 3.001, 3.001, 3.001, 1000};
    struct pareto_tail tail;

    assert_int_equal(pareto_tail_fit(equal, 4, 3, 0.05, &tail), 0);
    assert_true(tail.shape == PARETO_TAIL_MIN_SHAPE);
    assert_near(tail.scale / (1 - tail.shape), 1, 1e-12);
    assert_int_equal(pareto_tail_fit(wild, 6, 3, 0.05, &tail), 0);
    assert_true(tail.shape <= PARETO_TAIL_MAX_SHAPE);
    assert_near(tail.scale / (1 - tail.shape), (997 + 0.005) / 6, 1e-9);
    assert_int_equal(pareto_tail_fit(wild + 5, 1, 3, 0.05, &tail), 0);
    assert_near(tail.scale / (1 - tail.shape), 997, 1e-9);
}

static void shape_is_held_at_the_upper_bound(void **state)
{
    (void)state;
    double errors[N_ERRORS];
    struct pareto_tail tail;

    for (size_t i = 0; i < N_ERRORS; i++)
        errors[i] = i + 1 < N_ERRORS ? 1e-9 * (double)(i + 1) : 1e9;
    assert_int_equal(pareto_tail_fit(errors, N_ERRORS, 0, 0.05, &tail), 0);
    assert_true(tail.shape == PARETO_TAIL_MAX_SHAPE);
    assert_near(tail.scale / (1 - tail.shape), 1e9 / N_ERRORS, 1);
}

static void what_gives_no_tail_is_refused(void **state)
{
    (void)state;
    const double huge[] = {DBL_MAX, DBL_MAX}, one[] = {1}, nan[] = {(double)NAN};
    struct pareto_tail tail = typical;

    assert_int_equal(pareto_tail_fit(one, 0, 0, 0.1, &tail), -EINVAL);
    assert_int_equal(pareto_tail_fit(huge, 2, 0, 0.1, &tail), -EINVAL);
    assert_int_equal(pareto_tail_fit(nan, 1, 0, 0.1, &tail), -EINVAL);
    assert_int_equal(pareto_tail_fit(one, 1, 1, 0.1, &tail), -EINVAL); /* no excess */
    assert_true(tail.level == typical.level); /* a failed call leaves ret_ untouched */
}

static void survival_and_quantile_are_inverse(void **state)
{
    (void)state;
    for (double shape = PARETO_TAIL_MIN_SHAPE; shape <= PARETO_TAIL_MAX_SHAPE; shape += 0.1) {
        struct pareto_tail tail = typical;

        tail.shape = shape;
        for (double probability = 0.049; probability > 1e-9; probability *= 0.7) {
            const double error = pareto_tail_quantile(&tail, probability);
            assert_true(error > tail.level);
            assert_near(pareto_tail_survival(&tail, error) / probability, 1, 1e-5);
        }
    }
}

static void known_values_are_met(void **state)
{
    (void)state;
    struct pareto_tail tail = typical;

    assert_near(pareto_tail_survival(&tail, 4), 0.05 / 16, 1e-15); /* (1 + 0.25 · 4)^-4 */
    assert_near(pareto_tail_quantile(&tail, 0.05 / 16), 4, 1e-12);
    tail.shape = -0.5; /* ends at level + 2 · scale */
    assert_near(pareto_tail_survival(&tail, 2.5), 0.05 / 4, 1e-15);
    assert_true(pareto_tail_survival(&tail, 3) == 0 && pareto_tail_survival(&tail, 9) == 0);
    assert_near(pareto_tail_quantile(&tail, 1e-300), 3, 1e-12);
}

static void shape_zero_is_the_exponential_and_its_neighbours_agree(void **state)
{
    (void)state;
    static const double shapes[] = {0, 1e-300, -1e-12, 2e-9, -2e-9};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct pareto_tail tail = typical;
        tail.shape = shapes[i];
        assert_near(pareto_tail_survival(&tail, 4), 0.05 * exp(-4), 1e-9);
        assert_near(pareto_tail_quantile(&tail, 0.05 * exp(-4)), 4, 1e-6);
    }
}

static void at_or_below_the_level_is_the_share(void **state)
{
    (void)state;
    assert_true(pareto_tail_survival(&typical, 2) == 0.05);
    assert_true(pareto_tail_survival(&typical, 0) == 0.05);
    assert_true(pareto_tail_quantile(&typical, 0.05) == 2);
    assert_true(pareto_tail_quantile(&typical, 0.9) == 2);
}

static void far_out_all_stays_finite(void **state)
{
    (void)state;
    const struct pareto_tail tail = {.level = 1, .scale = 1e300, .shape = 0.9, .share = 0.999};

    assert_true(pareto_tail_quantile(&tail, 5e-324) == DBL_MAX);
    assert_true(pareto_tail_survival(&tail, HUGE_VAL) == 0);
    assert_true(pareto_tail_survival(&tail, (double)NAN) == 0.999);
}

static void numbers_of_a_hostile_file_are_no_tail(void **state)
{
    (void)state;
    const double nan = (double)NAN;
    const struct pareto_tail bad[] = {
        {nan,      1,        0,         0.1   },
        {HUGE_VAL, 1,        0,         0.1   },
        {-1,       1,        0,         0.1   },
        {1,        nan,      0,         0.1   },
        {1,        HUGE_VAL, 0,         0.1   },
        {1,        0,        0,         0.1   },
        {1,        -1,       0,         0.1   },
        {1,        1,        nan,       0.1   },
        {1,        1,        -0.500001, 0.1   },
        {1,        1,        0.900001,  0.1   },
        {1,        1,        0,         nan   },
        {1,        1,        0,         0     },
        {1,        1,        0,         1     },
        {1,        1,        0,         -0.1  },
        {1,        1,        0,         1.0001}
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(pareto_tail_is_valid(&bad[i]));
    assert_true(pareto_tail_is_valid(&typical));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_is_that_of_hosking_and_wallis),
        cmocka_unit_test(a_known_tail_is_found_again),
        cmocka_unit_test(shape_stays_within_bounds_and_the_mean_excess_is_kept),
        cmocka_unit_test(shape_is_held_at_the_upper_bound),
        cmocka_unit_test(what_gives_no_tail_is_refused),
        cmocka_unit_test(survival_and_quantile_are_inverse),
        cmocka_unit_test(known_values_are_met),
        cmocka_unit_test(shape_zero_is_the_exponential_and_its_neighbours_agree),
        cmocka_unit_test(at_or_below_the_level_is_the_share),
        cmocka_unit_test(far_out_all_stays_finite),
        cmocka_unit_test(numbers_of_a_hostile_file_are_no_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
