#include "detector/calibration.h"

#include "base/random.h"
#include "base/sort.h"
#include "detector/pareto_tail.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_REPEATS 101

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

/* Errors 1, 2, … n as a file of format 1 has them: no tail. */
static struct calibration *count_without_tail(size_t n)
{
    CLEANUP(calibration_freep) struct calibration *with = count_up_to(n);
    struct calibration *calibration = NULL;
    size_t n_errors;
    const double *errors = calibration_errors(with, &n_errors);

    assert_int_equal(calibration_new(errors, n_errors, n, NULL, &calibration), 0);
    return calibration;
}

/* Normal rows' errors of some kinds, and the probability that one is above a threshold. */
enum kind {
    EXPONENTIAL,
    UNIFORM,
    PARETO, /* shape 1/3 */
    NORMAL_SQUARED,
    ROUNDED, /* up to steps of a quarter: many are equal */
    N_KINDS
};

static double draw(enum kind kind, struct random *random)
{
    const double u = 1 - random_uniform(random), z = random_normal(random);
    const double all[N_KINDS] = {-log(u), u, 1 / cbrt(u), z * z, ceil(-4 * log(u)) / 4};

    return all[kind];
}

static double exceedance(enum kind kind, double threshold)
{
    const double all[N_KINDS] = {exp(-threshold), fmax(1 - threshold, 0), pow(threshold, -3),
                                 erfc(sqrt(threshold / 2)), exp(-floor(threshold * 4) / 4)};

    return all[kind];
}

static struct calibration *sample(enum kind kind, size_t n, struct random *random)
{
    struct calibration *calibration = NULL;
    AUTO_FREE double *errors = calloc(n, sizeof(*errors));

    assert_non_null(errors);
    for (size_t i = 0; i < n; i++)
        errors[i] = draw(kind, random);
    assert_int_equal(calibration_fit(errors, n, &calibration), 0);
    return calibration;
}

static void threshold_is_the_conformal_order_statistic(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(99);
    CLEANUP(calibration_freep) struct calibration *more = count_up_to(1000);

    assert_true(calibration_threshold(calibration, 0.11) == 89.0);  /* ceil(100 · 0.89) */
    assert_true(calibration_threshold(calibration, 0.105) == 90.0); /* ceil(89.5) */
    assert_true(calibration_threshold(calibration, 0.5) == 50.0);
    assert_true(calibration_threshold(more, 0.01) == 991.0); /* ceil(1001 · 0.99) */
    assert_int_equal(calibration_basis(more, 0.01), CALIBRATION_CONFORMAL);
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

static void ten_rows_above_the_threshold_are_needed(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *few = count_up_to(999);
    CLEANUP(calibration_freep) struct calibration *enough = count_up_to(1000);

    assert_int_equal(calibration_rows_needed(0.01), 1000);
    assert_int_equal(calibration_rows_needed(0.001), 10000);
    assert_int_equal(calibration_rows_needed(0.3), 34);
    assert_int_equal(calibration_basis(few, 0.01), CALIBRATION_TAIL_FIT);
    assert_int_equal(calibration_basis(enough, 0.01), CALIBRATION_CONFORMAL);
    assert_int_equal(calibration_basis(enough, 0.0099), CALIBRATION_TAIL_FIT);
}

static void bases_have_names(void **state)
{
    (void)state;
    assert_string_equal(calibration_basis_name(CALIBRATION_CONFORMAL), "conformal");
    assert_string_equal(calibration_basis_name(CALIBRATION_TAIL_FIT), "tail-fit");
    assert_string_equal(calibration_basis_name(CALIBRATION_LARGEST_ERROR), "largest-error");
}

static void without_tail_all_is_as_in_format_1(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 9, 98, 99, 100, 149, 999, 1000, 3000};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const size_t m = sizes[i];
        CLEANUP(calibration_freep) struct calibration *calibration = count_without_tail(m);
        assert_null(calibration_tail(calibration));
        for (size_t permille = 1; permille < 1000; permille++) {
            const double rate = (double)permille / 1000;
            const size_t rank = ((m + 1) * (1000 - permille) + 999) / 1000;
            const bool holds = (m + 1) * permille >= 1000;
            assert_true(calibration_threshold(calibration, rate) == (double)(rank < m ? rank : m));
            assert_int_equal(calibration_basis(calibration, rate),
                             holds ? CALIBRATION_CONFORMAL : CALIBRATION_LARGEST_ERROR);
        }
        for (size_t error = 0; error <= m + 1; error++)
            assert_true(calibration_p_value(calibration, (double)error) ==
                        (double)(error ? m + 2 - error : m + 1) / (double)(m + 1));
    }
}

static void tail_is_fitted_to_the_largest_twentieth_or_ten(void **state)
{
    (void)state;
    static const struct {
        size_t n_rows, n_above;
    } cases[] = {
        {2,      1   },
        {9,      4   },
        {20,     10  },
        {199,    10  },
        {300,    15  },
        {10000,  500 },
        {100000, 5000}
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(calibration_freep)
        struct calibration *calibration = count_up_to(cases[i].n_rows);
        const struct pareto_tail *tail = calibration_tail(calibration);
        const size_t n_rows = cases[i].n_rows, n_above = cases[i].n_above;
        assert_non_null(tail);
        assert_true(tail->level == (double)(n_rows - n_above));
        assert_true(tail->share == (double)(n_above + 1) / (double)(n_rows + 1));
        assert_true(fabs(tail->scale / (1 - tail->shape) - ((double)n_above + 1) / 2) < 1e-9);
    }
}

static void errors_equal_to_the_level_do_not_count_as_above_it(void **state)
{
    (void)state;
    double errors[300];
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;

    for (size_t i = 0; i < 300; i++)
        errors[i] = i < 296 ? 1 : 2; /* the fifteenth from above is a 1 */
    assert_int_equal(calibration_fit(errors, 300, &calibration), 0);
    assert_true(calibration_tail(calibration)->level == 1);
    assert_true(calibration_tail(calibration)->share == 5.0 / 301);
    assert_int_equal(calibration_basis(calibration, 0.02), CALIBRATION_CONFORMAL);
    assert_int_equal(calibration_basis(calibration, 0.01), CALIBRATION_TAIL_FIT);
}

static void a_sample_without_excess_has_no_tail(void **state)
{
    (void)state;
    double errors[50];

    for (size_t i = 0; i < 50; i++)
        errors[i] = 7;
    for (size_t n = 1; n <= 50; n += 7) {
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        assert_int_equal(calibration_fit(errors, n, &calibration), 0);
        assert_null(calibration_tail(calibration));
        assert_int_equal(calibration_basis(calibration, 0.001), CALIBRATION_LARGEST_ERROR);
        assert_true(calibration_threshold(calibration, 0.001) == 7);
        assert_true(calibration_p_value(calibration, 8) == 1.0 / (double)(n + 1));
    }
}

/* ---- with a tail: order, agreement, what a simulation says ---- */

static void assert_monotone_threshold(const struct calibration *calibration)
{
    const double switch_rate = 10.0 / (double)calibration_n_rows(calibration);
    const double share = calibration_tail(calibration) ? calibration_tail(calibration)->share : 0.5;
    double rates[2009], before = 0;
    size_t n = 0;

    for (double rate = 0.999; n < 2000; rate *= 0.988)
        rates[n++] = rate;
    for (double factor = 1 - 1e-9; factor < 1 + 2e-9; factor += 1e-9) {
        rates[n++] = fmin(switch_rate * factor, 0.999);
        rates[n++] = share * factor;
        rates[n++] = fmin(switch_rate, share) * factor;
    }
    sort_doubles(rates, n);
    while (n-- > 0) {
        const double threshold = calibration_threshold(calibration, rates[n]);
        if (!(threshold >= before && threshold > 0 && isfinite(threshold)))
            fail_msg("%zu rows, rate %g: threshold %g after %g", calibration_n_rows(calibration),
                     rates[n], threshold, before);
        before = threshold;
    }
}

static void assert_monotone_p_value(const struct calibration *calibration)
{
    size_t n_errors;
    const double *errors = calibration_errors(calibration, &n_errors);
    const double step = errors[n_errors - 1] / 4096;
    double before = 1;

    for (double error = 0; error < 3 * errors[n_errors - 1]; error += step) {
        const double p_value = calibration_p_value(calibration, error);
        if (!(p_value <= before && p_value > 0))
            fail_msg("%zu rows, error %g: p-value %g after %g", calibration_n_rows(calibration),
                     error, p_value, before);
        before = p_value;
    }
    assert_true(calibration_p_value(calibration, 1e300) <= before);
    assert_true(calibration_p_value(calibration, 1e300) > 0);
}

static const size_t all_sizes[] = {1, 2, 3, 9, 10, 11, 19, 20, 21, 50, 199, 200, 201, 1000, 6000};

#define N_SIZES (sizeof(all_sizes) / sizeof(*all_sizes))

static void threshold_never_falls_as_the_rate_falls(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 3);
    for (enum kind kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < N_SIZES; i++) {
            CLEANUP(calibration_freep)
            struct calibration *calibration = sample(kind, all_sizes[i], &random);
            assert_monotone_threshold(calibration);
        }
}

static void p_value_never_rises_with_the_error(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 4);
    for (enum kind kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < N_SIZES; i++) {
            CLEANUP(calibration_freep)
            struct calibration *calibration = sample(kind, all_sizes[i], &random);
            assert_monotone_p_value(calibration);
        }
}

static void a_tail_that_does_not_fit_its_errors_keeps_the_order(void **state)
{
    (void)state;
    static const struct pareto_tail tails[] = {
        {0,     1,      0,    0.999 },
        {0,     1e-300, -0.5, 1e-9  },
        {150,   1e-9,   0.9,  0.999 },
        {1e300, 1,      0,    0.5   },
        {150,   1e300,  0,    0.5   },
        {199,   1,      0.9,  1e-300},
        {20,    5,      0.1,  0.001 },
        {20,    5,      0.1,  0.9   }
    };

    for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++)
        for (size_t n = 5; n < 200; n += 48) {
            CLEANUP(calibration_freep) struct calibration *counted = count_without_tail(n);
            CLEANUP(calibration_freep) struct calibration *calibration = NULL;
            size_t n_errors;
            const double *errors = calibration_errors(counted, &n_errors);
            assert_int_equal(calibration_new(errors, n_errors, n, &tails[i], &calibration), 0);
            assert_monotone_threshold(calibration);
            assert_monotone_p_value(calibration);
        }
}

static void p_value_counts_the_errors_that_are_at_least_as_large(void **state)
{
    (void)state;
    CLEANUP(calibration_freep) struct calibration *calibration = count_up_to(199);

    assert_true(calibration_p_value(calibration, 0) == 1.0);
    assert_true(calibration_p_value(calibration, 100) == 101.0 / 200);
    assert_true(calibration_p_value(calibration, 189.5) == 11.0 / 200);
    assert_true(calibration_p_value(calibration, 190) == 11.0 / 200); /* the last that is counted */
    assert_true(calibration_p_value(calibration, 190.5) < 11.0 / 200);
}

static void every_error_of_every_sample_is_counted_as_one_by_one(void **state)
{
    (void)state;
    double errors[35];

    for (size_t n = 1; n <= sizeof(errors) / sizeof(*errors); n++) {
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        for (size_t i = 0; i < n; i++)
            errors[i] = (double)(i * 2 / 3); /* some are equal */
        assert_int_equal(calibration_new(errors, n, n, NULL, &calibration), 0);
        for (double error = -0.5; error <= (double)n; error += 0.5) {
            size_t n_from = 0;
            for (size_t i = 0; i < n; i++)
                n_from += errors[i] >= error;
            assert_int_equal(calibration_n_rows_from(calibration, error), n_from);
        }
    }
}

static void p_value_is_at_most_the_rate_exactly_for_anomalies(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 6);
    for (enum kind kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < N_SIZES; i++) {
            CLEANUP(calibration_freep)
            struct calibration *calibration = sample(kind, all_sizes[i], &random);
            for (double rate = 0.9; rate > 1e-6; rate *= 0.83) {
                if (calibration_basis(calibration, rate) == CALIBRATION_LARGEST_ERROR)
                    continue;
                const double threshold = calibration_threshold(calibration, rate);
                for (double by = 0.5; by < 1.6; by += 0.0101)
                    assert_int_equal(threshold * by > threshold,
                                     calibration_p_value(calibration, threshold * by) <= rate);
            }
        }
}

static void p_values_reach_beyond_the_sample(void **state)
{
    (void)state;
    struct random random;
    double ratios[5][N_REPEATS]; /* to the true probability of 6, 7, … 10 */

    random_seed(&random, 7);
    for (size_t i = 0; i < N_REPEATS; i++) {
        CLEANUP(calibration_freep)
        struct calibration *calibration = sample(EXPONENTIAL, 3000, &random);
        for (size_t j = 0; j < 5; j++)
            ratios[j][i] = calibration_p_value(calibration, 6 + (double)j) / exp(-6 - (double)j);
        assert_true(calibration_p_value(calibration, 1e9) >= 1e-12);
    }
    for (size_t j = 0; j < 5; j++) {
        sort_doubles(ratios[j], N_REPEATS);
        assert_true(ratios[j][N_REPEATS / 2] > 0.5 && ratios[j][N_REPEATS / 2] < 2);
    }
}

/* Over many samples, P(error > threshold) relative to the rate that was asked for: its median. */
static double median_exceedance(enum kind kind, size_t n, double rate, struct random *random)
{
    double all[N_REPEATS];

    for (size_t i = 0; i < N_REPEATS; i++) {
        CLEANUP(calibration_freep) struct calibration *calibration = sample(kind, n, random);
        assert_int_equal(calibration_basis(calibration, rate), CALIBRATION_TAIL_FIT);
        all[i] = exceedance(kind, calibration_threshold(calibration, rate)) / rate;
    }
    sort_doubles(all, N_REPEATS);
    return all[N_REPEATS / 2];
}

static void realised_rate_of_a_tail_is_near_what_was_asked_for(void **state)
{
    (void)state;
    static const enum kind kinds[] = {EXPONENTIAL, PARETO, NORMAL_SQUARED};
    struct random random;

    random_seed(&random, 8);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (size_t n = 300; n <= 3000; n = n == 300 ? 1000 : n + 2000) {
            const double ratio = median_exceedance(kinds[i], n, 0.001, &random);
            if (!(ratio > 0.5 && ratio < 2))
                fail_msg("kind %d, %zu rows: %.2f times the rate", (int)kinds[i], n, ratio);
        }
}

/* Its shape, -1, is out of bounds: the threshold comes to lie beyond the largest possible error,
 * by about a third of the width of the tail. */
static void a_uniform_sample_gives_no_more_alarms_than_asked_for(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 9);
    for (size_t n = 300; n <= 3000; n = n == 300 ? 1000 : n + 2000) {
        assert_true(median_exceedance(UNIFORM, n, 0.001, &random) < 2);
        CLEANUP(calibration_freep) struct calibration *calibration = sample(UNIFORM, n, &random);
        assert_true(calibration_threshold(calibration, 0.001) < 1.05);
    }
}

static void a_tail_from_a_file_gives_the_same_answers(void **state)
{
    (void)state;
    struct random random;
    size_t n_errors;

    random_seed(&random, 10);
    CLEANUP(calibration_freep) struct calibration *fitted = sample(NORMAL_SQUARED, 6000, &random);
    CLEANUP(calibration_freep) struct calibration *loaded = NULL;
    const double *errors = calibration_errors(fitted, &n_errors);
    assert_int_equal(calibration_new(errors, n_errors, 6000, calibration_tail(fitted), &loaded), 0);
    assert_memory_equal(calibration_tail(loaded), calibration_tail(fitted),
                        sizeof(struct pareto_tail));
    for (double rate = 0.9; rate > 1e-9; rate *= 0.9)
        assert_true(calibration_threshold(loaded, rate) == calibration_threshold(fitted, rate));
    for (double error = 0; error < 40; error += 0.01)
        assert_true(calibration_p_value(loaded, error) == calibration_p_value(fitted, error));
}

/* ---- large samples ---- */

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
    assert_true(calibration_p_value(calibration, 99990.5) == 11.0 / 100001);
    assert_int_equal(calibration_n_rows_from(calibration, 99999.5), 1);
    assert_int_equal(calibration_n_rows_from(calibration, 100000.5), 0);
    assert_int_equal(calibration_n_rows_from(calibration, 0), 100000);
}

static void observed_rate_stays_at_what_was_asked_for(void **state)
{
    (void)state;
    struct random random;
    size_t flagged = 0;

    random_seed(&random, 5);
    for (size_t trial = 0; trial < 200; trial++) {
        double errors[200];
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        for (size_t i = 0; i < 200; i++)
            errors[i] = fabs(random_normal(&random));
        assert_int_equal(calibration_fit(errors, 200, &calibration), 0);
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

    assert_int_equal(calibration_new(falling, 2, 2, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_new(negative, 2, 2, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_new(nan, 2, 2, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_new(infinite, 2, 2, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_new(good, 2, 1, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_new(good, 0, 1, NULL, &calibration), -EINVAL);
    assert_int_equal(calibration_fit(nan, 2, &calibration), -EINVAL);
    assert_null(calibration);
}

static void a_hostile_tail_is_refused(void **state)
{
    (void)state;
    const double errors[] = {1, 2}, nan = (double)NAN;
    const struct pareto_tail bad[] = {
        {nan, 1,   0,    0.1},
        {-1,  1,   0,    0.1},
        {1,   nan, 0,    0.1},
        {1,   -1,  0,    0.1},
        {1,   0,   0,    0.1},
        {1,   1,   nan,  0.1},
        {1,   1,   -0.6, 0.1},
        {1,   1,   1.0,  0.1},
        {1,   1,   0,    nan},
        {1,   1,   0,    0  },
        {1,   1,   0,    1  }
    };
    struct calibration *calibration = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(calibration_new(errors, 2, 2, &bad[i], &calibration), -EINVAL);
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
        cmocka_unit_test(ten_rows_above_the_threshold_are_needed),
        cmocka_unit_test(bases_have_names),
        cmocka_unit_test(without_tail_all_is_as_in_format_1),
        cmocka_unit_test(tail_is_fitted_to_the_largest_twentieth_or_ten),
        cmocka_unit_test(errors_equal_to_the_level_do_not_count_as_above_it),
        cmocka_unit_test(a_sample_without_excess_has_no_tail),
        cmocka_unit_test(threshold_never_falls_as_the_rate_falls),
        cmocka_unit_test(p_value_never_rises_with_the_error),
        cmocka_unit_test(a_tail_that_does_not_fit_its_errors_keeps_the_order),
        cmocka_unit_test(p_value_counts_the_errors_that_are_at_least_as_large),
        cmocka_unit_test(every_error_of_every_sample_is_counted_as_one_by_one),
        cmocka_unit_test(p_value_is_at_most_the_rate_exactly_for_anomalies),
        cmocka_unit_test(p_values_reach_beyond_the_sample),
        cmocka_unit_test(realised_rate_of_a_tail_is_near_what_was_asked_for),
        cmocka_unit_test(a_uniform_sample_gives_no_more_alarms_than_asked_for),
        cmocka_unit_test(a_tail_from_a_file_gives_the_same_answers),
        cmocka_unit_test(a_large_sample_is_thinned_without_lowering_the_threshold),
        cmocka_unit_test(thinning_keeps_the_largest_errors_one_by_one),
        cmocka_unit_test(observed_rate_stays_at_what_was_asked_for),
        cmocka_unit_test(threshold_is_above_zero_even_if_all_errors_are_zero),
        cmocka_unit_test(numbers_of_a_hostile_file_are_refused),
        cmocka_unit_test(a_hostile_tail_is_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
