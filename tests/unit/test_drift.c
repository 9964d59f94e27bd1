#include "service/drift.h"

#include "base/sort.h"
#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define M 5000

/* Errors of M calibration rows. */
static double errors[M];

static void draw_errors(struct random *random)
{
    for (size_t i = 0; i < M; i++)
        errors[i] = random_normal(random);
    sort_doubles(errors, M);
}

static size_t n_greater_than(double error)
{
    size_t low = 0, high = M;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (errors[middle] > error)
            high = middle;
        else
            low = middle + 1;
    }
    return M - low;
}

/* Rows until the alarm, at most most_rows; 0: none. */
static size_t rows_to_alarm(uint64_t seed, double shift, size_t most_rows)
{
    struct random random;
    struct drift drift;

    random_seed(&random, seed);
    draw_errors(&random);
    drift_init(&drift, ~seed);
    for (size_t row = 1; row <= most_rows; row++)
        if (drift_update(&drift, n_greater_than(random_normal(&random) + shift), 0, M))
            return row;
    return 0;
}

/* The header's formulas, with the Shiryaev-Roberts sums themselves instead of their logarithms. */
static void the_meter_is_the_mean_of_six_shiryaev_roberts_sums(void **state)
{
    (void)state;
    static const double slopes[] = {-1, -0.5, 0.5, 1}, powers[] = {0.5, 0.8};
    double sums[DRIFT_BETS] = {0};
    struct drift drift;
    struct random random;

    drift_init(&drift, 3);
    random_seed(&random, 3); /* the meter's U */
    for (size_t row = 0; row < 100; row++) {
        const size_t n_greater = row * 37 % 4000, n_equal = row % 5;
        const double u = random_uniform(&random);
        const double p = ((double)n_greater + u * (double)(n_equal + 1)) / (M + 1);
        double mean = 0;
        for (size_t i = 0; i < DRIFT_BETS; i++) {
            const double bet =
                i < 4 ? 1 + slopes[i] * (p - 0.5) : powers[i - 4] * pow(p, powers[i - 4] - 1);
            sums[i] = (sums[i] + 1) * bet * exp(-0.14 / sqrt(M));
            mean += sums[i] / DRIFT_BETS;
        }
        (void)drift_update(&drift, n_greater, n_equal, M);
        assert_true(fabs(drift.meter - log(mean)) < 1e-9);
    }
}

static void the_meter_follows_from_the_seed(void **state)
{
    (void)state;
    struct drift first, second, other;

    drift_init(&first, 1);
    drift_init(&second, 1);
    drift_init(&other, 2);
    for (size_t row = 0; row < 100; row++) {
        (void)drift_update(&first, row, row, M);
        (void)drift_update(&second, row, row, M);
        (void)drift_update(&other, row, row, M);
    }
    assert_true(first.meter == second.meter);
    assert_true(first.meter != other.meter);
}

/* At most 2 %: then 2 or fewer of 40 in 95 of 100 cases. Over 3,000 seeds it is 1.3 %. */
static void exchangeable_rows_rarely_alarm(void **state)
{
    (void)state;
    size_t n_alarms = 0;

    for (uint64_t seed = 1; seed <= 40; seed++)
        n_alarms += rows_to_alarm(seed, 0, 20000) > 0;
    assert_true(n_alarms <= 2);
}

static void a_shift_alarms_within_the_stated_rows(void **state)
{
    (void)state;
    static const struct {
        double shift;
        size_t most_rows; /* in the mean */
    } demands[] = {
        {0.25, 400},
        {0.5,  150},
        {1,    50 },
    };

    for (size_t i = 0; i < 3; i++) {
        size_t sum = 0;
        for (uint64_t seed = 1; seed <= 50; seed++) {
            const size_t rows = rows_to_alarm(seed, demands[i].shift, 20000);
            assert_true(rows > 0);
            sum += rows;
        }
        assert_true(sum <= demands[i].most_rows * 50);
    }
}

/* Also errors that become too small are no longer exchangeable. */
static void a_shift_downwards_alarms_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_in_range(rows_to_alarm(seed, -0.5, 2000), 1, 1000);
}

static void equal_errors_do_not_alarm(void **state)
{
    (void)state;
    struct drift drift;

    drift_init(&drift, 1);
    for (size_t row = 0; row < 20000; row++)
        assert_false(drift_update(&drift, 0, M, M)); /* of calibration and rows all the same */
}

static void the_alarm_comes_once(void **state)
{
    (void)state;
    struct drift drift;
    size_t n_alarms = 0;

    drift_init(&drift, 1);
    for (size_t row = 0; row < 1000; row++) {
        const bool alarms = drift_update(&drift, 0, 0, M);
        assert_true(!alarms || drift.meter >= DRIFT_ALARM);
        assert_true(drift.is_alarming == (n_alarms + alarms > 0));
        n_alarms += alarms;
    }
    for (size_t row = 0; row < 20000; row++) /* back to normal, and away again */
        n_alarms += drift_update(&drift, row * 2731 % M, 0, M);
    for (size_t row = 0; row < 1000; row++)
        n_alarms += drift_update(&drift, 0, 0, M);
    assert_int_equal(n_alarms, 1);
}

static void a_reset_begins_anew(void **state)
{
    (void)state;
    struct drift drift;
    size_t n_alarms = 0;

    drift_init(&drift, 1);
    assert_true(drift.meter == 0);
    for (int again = 0; again < 2; again++) {
        for (size_t row = 0; row < 1000; row++)
            n_alarms += drift_update(&drift, 0, 0, M);
        assert_true(drift.is_alarming);
        drift_reset(&drift);
        assert_true(drift.meter == 0 && !drift.is_alarming);
    }
    assert_int_equal(n_alarms, 2);
    assert_false(drift_update(&drift, M / 2, 0, M));
    assert_true(fabs(drift.meter) < 1);
}

static void with_few_calibration_rows_it_does_not_run(void **state)
{
    (void)state;
    struct drift drift, before;

    drift_init(&drift, 1);
    before = drift;
    for (size_t row = 0; row < 100; row++)
        assert_false(drift_update(&drift, 0, 0, DRIFT_MIN_ROWS - 1));
    assert_memory_equal(&drift, &before, sizeof(drift));
}

/* m so large that p would be below: each row bets the most there is. */
static void a_million_rows_of_the_least_p_value_stay_finite(void **state)
{
    (void)state;
    const size_t m = (size_t)1 << 40;
    struct drift drift;

    drift_init(&drift, 1);
    for (size_t row = 0; row < 1000000; row++)
        (void)drift_update(&drift, 0, 0, m);
    const double most = 1e6 * (log(0.5) - 0.5 * log(1e-6));
    assert_true(fabs(drift.meter / most - 1) < 1e-5);
}

/* After so many rows of the highest p-value all but the bets on it have lost everything. */
static void a_million_rows_of_the_highest_p_value_stay_finite(void **state)
{
    (void)state;
    struct drift drift;

    drift_init(&drift, 1);
    for (size_t row = 0; row < 1000000; row++)
        (void)drift_update(&drift, M, 0, M);
    assert_true(fabs(drift.meter / (1e6 * log(1.5)) - 1) < 0.01);
    for (size_t i = 0; i < DRIFT_BETS; i++)
        assert_true(isfinite(drift.log_bets[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_meter_is_the_mean_of_six_shiryaev_roberts_sums),
        cmocka_unit_test(the_meter_follows_from_the_seed),
        cmocka_unit_test(exchangeable_rows_rarely_alarm),
        cmocka_unit_test(a_shift_alarms_within_the_stated_rows),
        cmocka_unit_test(a_shift_downwards_alarms_too),
        cmocka_unit_test(equal_errors_do_not_alarm),
        cmocka_unit_test(the_alarm_comes_once),
        cmocka_unit_test(a_reset_begins_anew),
        cmocka_unit_test(with_few_calibration_rows_it_does_not_run),
        cmocka_unit_test(a_million_rows_of_the_least_p_value_stay_finite),
        cmocka_unit_test(a_million_rows_of_the_highest_p_value_stay_finite),
    };

    return cmocka_run_group_tests_name("drift", tests, NULL, NULL);
}
