/* Which rows of a series count: service/sampling.h. */
#include "service/sampling.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

#define SECOND 1000000ULL
#define START  (1000 * SECOND)
#define BATCH  1000

static struct sampling sampling;
static struct random source;
static uint64_t now_us;
static bool counted[BATCH]; /* of the last batch */

static int begin(void **state)
{
    (void)state;
    sampling = (struct sampling){0};
    random_seed(&source, 5);
    now_us = START;
    return 0;
}

#define SAMPLING_TEST(name) cmocka_unit_test_setup(name, begin)

/* How many of a batch that comes this much later count. */
static size_t take(double rate, int64_t later_us, size_t n_rows)
{
    size_t n = 0;

    now_us += (uint64_t)later_us;
    sampling_begin(&sampling, rate, now_us, n_rows, &source);
    for (size_t i = 0; i < n_rows; i++) {
        counted[i] = sampling_next(&sampling, &source);
        n += counted[i];
    }
    return n;
}

static size_t take_often(double rate, int64_t later_us, size_t n_rows, size_t n_batches)
{
    size_t n = 0;

    for (size_t i = 0; i < n_batches; i++)
        n += take(rate, later_us, n_rows);
    return n;
}

static void a_series_at_the_rate_loses_no_row(void **state)
{
    (void)state;
    assert_int_equal(take_often(1, SECOND, 1, 5000), 5000);
    begin(state);
    assert_int_equal(take_often(0.25, 4 * SECOND, 1, 5000), 5000);
    begin(state);
    assert_int_equal(take_often(8, SECOND / 8, 1, 5000), 5000);
}

static void a_timer_that_is_not_exact_costs_next_to_nothing(void **state)
{
    (void)state;
    size_t n = 0;

    for (size_t i = 1; i <= 5000; i++) {
        const uint64_t due_us = START + i * SECOND + random_below(&source, SECOND / 5);
        n += take(1, (int64_t)(due_us - now_us), 1);
    }
    assert_in_range(n, 4997, 5000);
}

static void a_faster_series_counts_at_the_rate(void **state)
{
    (void)state;
    assert_in_range(take_often(2, SECOND / 16, 1, 8000), 998, 1002); /* 500 s */
    begin(state);
    assert_in_range(take_often(2, SECOND / 4, 50, 2000), 998, 1002);
}

static void a_minutes_rows_that_come_at_once_all_count(void **state)
{
    (void)state;
    (void)take(1, 0, 60);
    for (size_t i = 0; i < 100; i++) /* the minute is not exact either */
        assert_in_range(take(1, (int64_t)(58 + 4 * (i % 2)) * SECOND, 60), i ? 60 : 58, 60);
    begin(state);
    (void)take(10, 0, 600);
    assert_int_equal(take_often(10, 60 * SECOND, 600, 100), 60000);
}

static void what_a_pause_leaves_is_bounded(void **state)
{
    (void)state;
    (void)take(1, 0, 1);
    const size_t n = take_often(1, 24 * 3600 * SECOND, BATCH, 1);
    assert_in_range(n, SAMPLING_SAVED_S, SAMPLING_SAVED_S + 2);
    assert_in_range(take_often(1, 1000, BATCH, 1000), 0, 2); /* the flood goes on for a second */
}

static void a_new_series_begins_with_a_row_or_two(void **state)
{
    (void)state;
    assert_in_range(take(1, 0, BATCH), 1, 2);
    begin(state);
    assert_in_range(take(0.001, 0, BATCH), 1, 2);
}

static void each_row_of_a_batch_is_as_likely_to_count(void **state)
{
    (void)state;
    size_t n[10] = {0};

    (void)take(1, 0, 1);
    for (size_t i = 0; i < 1000; i++) {
        assert_in_range(take(1, 20 * SECOND, BATCH), 19, 21);
        for (size_t row = 0; row < BATCH; row++)
            n[row / 100] += counted[row];
    }
    for (size_t i = 0; i < 10; i++) /* 2,000 expected, standard deviation 42 */
        assert_in_range(n[i], 1830, 2170);
}

/* Ten hosts that each send a row a second in the same order, to one series. */
static void sources_that_send_in_turn_are_met_evenly(void **state)
{
    (void)state;
    size_t n[10] = {0};

    for (size_t i = 0; i < 100000; i++)
        n[i % 10] += take(1, SECOND / 10, 1);
    for (size_t i = 0; i < 10; i++) /* 1,000 expected */
        assert_in_range(n[i], 800, 1200);
}

static void clocks_that_differ_a_little_gain_nothing(void **state)
{
    (void)state;
    size_t n = 0;

    for (size_t i = 0; i < 1000; i++) { /* two a second, one of them ten seconds behind */
        n += take(1, 10 * SECOND + SECOND / 2, 1);
        n += take(1, -(int64_t)(10 * SECOND), 1);
    }
    assert_in_range(n, 500, 500 + 10 + 2);
}

static void a_clock_that_was_set_back_does_not_stop_the_series(void **state)
{
    (void)state;
    assert_int_equal(take_often(1, SECOND, 1, 100), 100);
    assert_in_range(take(1, -(int64_t)(24 * 3600 * SECOND), 1), 0, 1);
    assert_in_range(take_often(1, SECOND, 1, 100), 99, 100);
}

static void no_stretch_has_more_rows_than_promised(void **state)
{
    (void)state;
    const double rate = 3;
    size_t n = 0;

    for (size_t i = 0; i < 5000; i++) {
        n += take(rate, (int64_t)random_below(&source, 4 * SECOND), 1 + random_below(&source, 20));
        const double t = (double)(now_us - START) / SECOND;
        assert_true((double)n <= 2 + rate * (t + SAMPLING_SAVED_S));
    }
    const double t = (double)(now_us - START) / SECOND;
    assert_true((double)n > 0.99 * rate * t); /* and hardly fewer than may be */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLING_TEST(a_series_at_the_rate_loses_no_row),
        SAMPLING_TEST(a_timer_that_is_not_exact_costs_next_to_nothing),
        SAMPLING_TEST(a_faster_series_counts_at_the_rate),
        SAMPLING_TEST(a_minutes_rows_that_come_at_once_all_count),
        SAMPLING_TEST(what_a_pause_leaves_is_bounded),
        SAMPLING_TEST(a_new_series_begins_with_a_row_or_two),
        SAMPLING_TEST(each_row_of_a_batch_is_as_likely_to_count),
        SAMPLING_TEST(sources_that_send_in_turn_are_met_evenly),
        SAMPLING_TEST(clocks_that_differ_a_little_gain_nothing),
        SAMPLING_TEST(a_clock_that_was_set_back_does_not_stop_the_series),
        SAMPLING_TEST(no_stretch_has_more_rows_than_promised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
