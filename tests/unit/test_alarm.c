/* When an alarm opens and closes: service/alarm.h. */
#include "service/alarm.h"

#include "support/cmocka.h"

#include <string.h>

#define SECOND 1000000ULL

static struct alarm_policy policy;
static struct alarm alarm_state;
static uint64_t now_us;
static bool may_open;

static int begin(void **state)
{
    (void)state;
    policy = (struct alarm_policy){.n = 3, .of = 5, .clear_rows = 4, .clear_score = 0.8};
    alarm_state = (struct alarm){0};
    now_us = 1000 * SECOND;
    may_open = true;
    return 0;
}

#define ALARM_TEST(name) cmocka_unit_test_setup(name, begin)

/* One row a second. '!' is an anomaly, '-' a row between clear_score and 1, '.' one below. */
static char take(char row)
{
    const double score = row == '!' ? 1.2 : row == '-' ? 0.9 : 0.5;

    now_us += SECOND;
    switch (alarm_take(&alarm_state, &policy, may_open, row == '!', score, now_us)) {
    case ALARM_OPENED:
        return 'O';
    case ALARM_CLOSED:
        return 'C';
    case ALARM_UNCHANGED:
        break;
    }
    return '.';
}

/* What each row changes. */
static const char *changes(const char *rows)
{
    static char seen[128];
    const size_t n = strlen(rows);

    assert_true(n < sizeof(seen));
    for (size_t i = 0; i < n; i++)
        seen[i] = take(rows[i]);
    seen[n] = '\0';
    return seen;
}

static void the_nth_anomaly_of_the_newest_rows_opens_it(void **state)
{
    (void)state;
    assert_string_equal(changes("!.!.!"), "....O");
}

static void anomalies_further_apart_open_none(void **state)
{
    (void)state;
    assert_string_equal(changes("!.!..!.!..!..!"), "..............");
}

static void one_of_one_opens_with_each_anomaly(void **state)
{
    (void)state;
    policy.n = policy.of = 1;
    policy.clear_rows = 1;
    assert_string_equal(changes("!.!."), "OCOC");
}

static void the_widest_window_counts_all_its_rows(void **state)
{
    (void)state;
    policy.n = policy.of = ALARM_MOST_ROWS;
    for (int i = 1; i < ALARM_MOST_ROWS; i++)
        assert_int_equal(take('!'), '.');
    assert_int_equal(take('!'), 'O');
}

static void it_closes_after_rows_on_end_below_the_clear_score(void **state)
{
    (void)state;
    assert_string_equal(changes("!!!...!...."), "..O.......C");
}

static void a_score_about_the_threshold_does_not_close_it(void **state)
{
    (void)state;
    assert_string_equal(changes("!!!...-...-...."), "..O...........C");
}

static void an_open_alarm_does_not_open_again(void **state)
{
    (void)state;
    assert_string_equal(changes("!!!!!!!!"), "..O.....");
}

static void anomalies_before_a_close_do_not_open_the_next(void **state)
{
    (void)state;
    policy.clear_rows = 1;
    assert_string_equal(changes("!!!.!!!"), "..OC..O");
}

static void it_stays_open_for_the_hold(void **state)
{
    (void)state;
    policy.hold_us = 8 * SECOND;
    assert_string_equal(changes("!!!........"), "..O.......C");
}

static void none_opens_while_it_cools_down(void **state)
{
    (void)state;
    policy.cool_down_us = 10 * SECOND;
    assert_string_equal(changes("!!!....!!!......"), "..O...C.........");
    assert_string_equal(changes("!!!"), "..O");
}

static void what_lasts_longer_than_the_cool_down_opens_one(void **state)
{
    (void)state;
    policy.cool_down_us = 6 * SECOND;
    assert_string_equal(changes("!!!....!!!!!!!"), "..O...C.....O.");
}

static void an_anomaly_opens_it_when_the_cool_down_is_over(void **state)
{
    (void)state;
    policy.cool_down_us = 4 * SECOND;
    assert_string_equal(changes("!!!....!!!.!"), "..O...C....O");
}

static void a_clock_that_jumps_back_ends_hold_and_cool_down(void **state)
{
    (void)state;
    policy.hold_us = policy.cool_down_us = 100 * SECOND;
    (void)changes("!!!");
    now_us -= 500 * SECOND;
    assert_string_equal(changes("...."), "...C");
    now_us -= 200 * SECOND;
    assert_string_equal(changes("!!!"), "..O");
}

static void none_opens_in_maintenance_but_after_it(void **state)
{
    (void)state;
    may_open = false;
    assert_string_equal(changes("!!!!!!"), "......");
    may_open = true;
    assert_string_equal(changes(".!"), ".O");
    may_open = false;
    assert_string_equal(changes("...."), "...C");
}

static void without_a_policy_none_opens_and_an_open_one_closes(void **state)
{
    (void)state;
    const struct alarm_policy none = {0};

    (void)changes("!!!");
    policy = none;
    assert_string_equal(changes("!!!!"), "C...");
    assert_true(alarm_is_quiet(&alarm_state, &policy));
}

static void it_is_quiet_once_no_anomaly_counts_any_more(void **state)
{
    (void)state;
    assert_true(alarm_is_quiet(&alarm_state, &policy));
    (void)changes("!....");
    assert_false(alarm_is_quiet(&alarm_state, &policy));
    (void)changes(".");
    assert_true(alarm_is_quiet(&alarm_state, &policy));
    (void)changes("!!!...");
    assert_false(alarm_is_quiet(&alarm_state, &policy));
    (void)changes(".");
    assert_true(alarm_is_quiet(&alarm_state, &policy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALARM_TEST(the_nth_anomaly_of_the_newest_rows_opens_it),
        ALARM_TEST(anomalies_further_apart_open_none),
        ALARM_TEST(one_of_one_opens_with_each_anomaly),
        ALARM_TEST(the_widest_window_counts_all_its_rows),
        ALARM_TEST(it_closes_after_rows_on_end_below_the_clear_score),
        ALARM_TEST(a_score_about_the_threshold_does_not_close_it),
        ALARM_TEST(an_open_alarm_does_not_open_again),
        ALARM_TEST(anomalies_before_a_close_do_not_open_the_next),
        ALARM_TEST(it_stays_open_for_the_hold),
        ALARM_TEST(none_opens_while_it_cools_down),
        ALARM_TEST(what_lasts_longer_than_the_cool_down_opens_one),
        ALARM_TEST(an_anomaly_opens_it_when_the_cool_down_is_over),
        ALARM_TEST(a_clock_that_jumps_back_ends_hold_and_cool_down),
        ALARM_TEST(none_opens_in_maintenance_but_after_it),
        ALARM_TEST(without_a_policy_none_opens_and_an_open_one_closes),
        ALARM_TEST(it_is_quiet_once_no_anomaly_counts_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
