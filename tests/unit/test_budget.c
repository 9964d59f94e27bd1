#include "service/budget.h"

#include "base/clock.h"

#include "support/cmocka.h"

#include <math.h>

#define S     US_PER_S
#define HOUR  (3600 * S)
#define DAY   (24 * HOUR)
#define BEGIN (1000 * S)

static struct budget_meter meter;
static uint64_t n_scored, now_us;

static int setup(void **state)
{
    (void)state;
    meter = (struct budget_meter){0};
    n_scored = 0;
    now_us = BEGIN;
    return 0;
}

/* n rows come every so often, for so long. */
static void send(uint64_t n, uint64_t every_us, uint64_t for_us)
{
    for (const uint64_t end_us = now_us + for_us; now_us < end_us; now_us += every_us) {
        n_scored += n;
        budget_meter_count(&meter, n_scored, now_us);
    }
}

static void assert_rows_per_day(double want, double tolerance)
{
    const double got = budget_meter_rows_per_day(&meter);

    if (!(fabs(got / want - 1) <= tolerance))
        fail_msg("%g rows a day, not %g", got, want);
}

static void too_little_is_known_before_ten_minutes_and_a_hundred_rows(void **state)
{
    (void)state;
    send(50, 10 * S, 600 * S); /* ends 10 s before */
    assert_true(budget_meter_rows_per_day(&meter) == 0);
    send(50, 10 * S, 20 * S);
    assert_rows_per_day(5 * 86400.0, 0.01);
    (void)setup(NULL);
    send(1, 60 * S, 90 * 60 * S);
    assert_true(budget_meter_rows_per_day(&meter) == 0);
    send(1, 60 * S, 15 * 60 * S);
    assert_rows_per_day(1440, 0.01);
}

static void after_a_day_few_rows_will_do(void **state)
{
    (void)state;
    send(1, 6 * HOUR, DAY);
    assert_true(budget_meter_rows_per_day(&meter) == 0);
    send(1, 6 * HOUR, DAY);
    assert_rows_per_day(4, 0.1);
}

static void it_begins_with_the_first_row(void **state)
{
    (void)state;
    now_us += 5 * DAY;
    send(10, 10 * S, HOUR);
    assert_rows_per_day(86400, 0.01);
}

static void a_batch_a_day_is_its_rows(void **state)
{
    (void)state;
    send(1000, DAY, 10 * DAY);
    assert_rows_per_day(1000, 0.01);
}

static void day_and_night_are_evened_out(void **state)
{
    (void)state;
    double least = INFINITY, most = 0;

    for (int day = 0; day < 20; day++) {
        send(30, 10 * S, 8 * HOUR); /* 86,400 in the day, none in the night */
        const double evening = budget_meter_rows_per_day(&meter);
        now_us += 16 * HOUR;
        send(30, 10 * S, 10 * S);
        if (day > 10) {
            most = fmax(most, evening);
            least = fmin(least, budget_meter_rows_per_day(&meter));
        }
    }
    assert_true(least > 86400 * 0.8 && most < 1.25 * least);
    assert_false(budget_has_moved(most, least) || budget_has_moved(least, most));
}

static void a_sender_that_was_gone_for_a_month_changes_little(void **state)
{
    (void)state;
    send(10, 10 * S, 10 * DAY);
    now_us += 30 * DAY;
    assert_rows_per_day(86400, 0.001);
    send(10, 10 * S, 10 * S);
    assert_true(budget_meter_rows_per_day(&meter) > 86400 / 2.0);
}

static void it_follows_when_rows_become_more(void **state)
{
    (void)state;
    send(10, 10 * S, 10 * DAY);
    send(20, 10 * S, 20 * DAY);
    assert_rows_per_day(2 * 86400, 0.01);
}

static void it_goes_on_after_a_restart(void **state)
{
    (void)state;
    budget_meter_resume(&meter, 86400, 86400);
    assert_rows_per_day(86400, 1e-9);
    send(1, 10 * S, HOUR); /* a tenth of that, for an hour of 25 */
    assert_rows_per_day(86400 * (1 - 0.9 / 25), 0.01);
}

static void a_clock_that_stands_still_is_no_flood(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        n_scored += 100;
        budget_meter_count(&meter, n_scored, now_us);
    }
    assert_true(budget_meter_rows_per_day(&meter) == 0);
}

static void it_is_followed_from_a_quarter_on(void **state)
{
    (void)state;
    assert_true(budget_has_moved(0, 1));
    assert_false(budget_has_moved(1000, 1249) || budget_has_moved(1000, 801));
    assert_true(budget_has_moved(1000, 1251) && budget_has_moved(1000, 799));
}

static void the_rate_is_alarms_over_rows_within_bounds(void **state)
{
    (void)state;
    assert_true(budget_rate(2, 0) == 0);
    assert_true(budget_rate(2, 86400) == 2 / 86400.0);
    assert_true(budget_rate(0.001, 1e9) == BUDGET_LEAST_RATE);
    assert_true(budget_rate(2, 3) == BUDGET_MOST_RATE);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(too_little_is_known_before_ten_minutes_and_a_hundred_rows),
        TEST(after_a_day_few_rows_will_do),
        TEST(it_begins_with_the_first_row),
        TEST(a_batch_a_day_is_its_rows),
        TEST(day_and_night_are_evened_out),
        TEST(a_sender_that_was_gone_for_a_month_changes_little),
        TEST(it_follows_when_rows_become_more),
        TEST(it_goes_on_after_a_restart),
        TEST(a_clock_that_stands_still_is_no_flood),
        TEST(it_is_followed_from_a_quarter_on),
        TEST(the_rate_is_alarms_over_rows_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
