#include "detector/false_alarms.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#define N    1000
#define MANY 50000 /* rows, in 10,000 stretches */

static bool is_normal[N], flagged[N];

static int start_quiet(void **state)
{
    (void)state;
    memset(is_normal, true, sizeof(is_normal));
    memset(flagged, false, sizeof(flagged));
    return 0;
}

static struct false_alarms count(size_t n_rows, size_t block_rows)
{
    struct false_alarms found;

    assert_int_equal(false_alarms_count(is_normal, flagged, n_rows, block_rows, 1, &found), 0);
    return found;
}

static void rows_alarms_episodes_and_stretches_are_counted(void **state)
{
    (void)state;
    const bool normal[] = {true, true, true, false, false, true, true};
    const bool alarm[] = {true, true, false, true, true, true, false};
    struct false_alarms found;

    assert_int_equal(false_alarms_count(normal, alarm, 7, 2, 1, &found), 0);
    assert_int_equal(found.n_rows, 5);
    assert_int_equal(found.n_alarms, 3);
    assert_int_equal(found.n_episodes, 2); /* an incident between two alarms parts them */
    assert_int_equal(found.n_stretches, 2);
    assert_true(found.rate == 3.0 / 5);
    assert_true(found.low <= found.rate && found.rate <= found.high);
}

/* Binomial, 20 alarms in 1,000 rows: 1.2 % to 3.0 %. */
static void lone_alarms_give_the_binomial_interval(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++)
        flagged[i * 47 + 13] = true;
    const struct false_alarms found = count(N, 1);

    assert_true(fabs(found.low - 0.012) < 0.002);
    assert_true(fabs(found.high - 0.029) < 0.002);
}

static void alarms_in_a_bunch_give_a_wider_interval(void **state)
{
    (void)state;
    memset(flagged + 300, true, 20);
    const struct false_alarms single = count(N, 1), block = count(N, 50);

    assert_int_equal(block.n_episodes, 1);
    assert_true(block.rate == single.rate);
    assert_true(block.low == 0); /* one bunch may as well not have happened */
    assert_true(block.high > 1.5 * single.high);
}

/* Each stretch is one block, so a sample has 0, 2 or 4 alarms: never one half of a stretch. */
static void short_stretches_are_drawn_as_a_whole(void **state)
{
    (void)state;
    is_normal[500] = false;
    flagged[600] = flagged[900] = true;
    const struct false_alarms found = count(N, 5000);

    assert_int_equal(found.n_stretches, 2);
    assert_true(found.low == 0 && found.high >= 4.0 / 999);
}

/* Nine quiet stretches and one of nothing but alarms: how many such ones there are is the doubt. */
static void the_interval_knows_that_stretches_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i += 100)
        is_normal[i] = false;
    memset(flagged + 301, true, 99);
    const struct false_alarms found = count(N, 30);

    assert_true(found.rate == 0.1);
    assert_true(found.low < 0.05 && found.high > 0.2);
}

static void no_alarm_still_leaves_room_above(void **state)
{
    (void)state;
    const struct false_alarms found = count(N, 100); /* ten blocks */

    assert_true(found.rate == 0 && found.low == 0);
    assert_true(fabs(found.high - (1 - pow(0.025, 0.1))) < 1e-12);
}

static void all_flagged_is_a_rate_of_one(void **state)
{
    (void)state;
    memset(flagged, true, sizeof(flagged));
    const struct false_alarms found = count(N, 30);

    assert_true(found.low == 1 && found.high == 1);
}

static void no_normal_rows_give_nan(void **state)
{
    (void)state;
    memset(is_normal, false, sizeof(is_normal));
    const struct false_alarms found = count(N, 30);

    assert_int_equal(found.n_rows, 0);
    assert_true(isnan(found.rate) && isnan(found.low) && isnan(found.high));
}

static void the_interval_follows_from_the_seed_alone(void **state)
{
    (void)state;
    size_t n_other = 0;

    for (size_t i = 0; i < N; i++)
        flagged[i] = i * i % 97 < 20; /* bunches of many sizes: most samples differ */
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct false_alarms first, second, other;
        assert_int_equal(false_alarms_count(is_normal, flagged, N, 20, seed, &first), 0);
        assert_int_equal(false_alarms_count(is_normal, flagged, N, 20, seed, &second), 0);
        assert_int_equal(false_alarms_count(is_normal, flagged, N, 20, seed + 1, &other), 0);
        assert_true(first.low == second.low && first.high == second.high);
        n_other += first.low != other.low || first.high != other.high;
    }
    assert_true(n_other > 0);
}

/* Linear in rows and stretches, this would take minutes. */
static void many_stretches_take_no_time(void **state)
{
    (void)state;
    static bool normal[MANY], alarm[MANY];
    struct false_alarms found;

    for (size_t i = 0; i < MANY; i++) {
        normal[i] = i % 5 != 0;
        alarm[i] = i % 1000 == 7;
    }
    const clock_t started = clock();
    assert_int_equal(false_alarms_count(normal, alarm, MANY, 30, 1, &found), 0);
    assert_true((double)(clock() - started) / CLOCKS_PER_SEC < 15);
    assert_int_equal(found.n_rows, MANY / 5 * 4);
    assert_int_equal(found.n_stretches, MANY / 5);
    assert_true(found.low < found.rate && found.rate < found.high);
}

/* Three stretches of one row, the last one flagged: it is drawn as often as the others. */
static void every_stretch_is_drawn_as_often_as_it_has_rows(void **state)
{
    (void)state;
    const bool normal[] = {true, false, true, false, true};
    const bool alarm[] = {false, false, false, false, true};
    struct false_alarms found;

    assert_int_equal(false_alarms_count(normal, alarm, 5, 1, 1, &found), 0);
    assert_true(found.low == 0);  /* (2/3)^3 = 30 % of the samples have none of it */
    assert_true(found.high == 1); /* (1/3)^3 = 3.7 % have nothing else */
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    int r = -ENOMEM;
    int failures = -1;

    for (int nth = 0; r == -ENOMEM && nth < 20; nth++, failures++) {
        struct false_alarms found;
        alloc_fail_in = nth;
        r = false_alarms_count(is_normal, flagged, N, 30, 1, &found);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(failures >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_alarms_episodes_and_stretches_are_counted, start_quiet),
        cmocka_unit_test_setup(lone_alarms_give_the_binomial_interval, start_quiet),
        cmocka_unit_test_setup(alarms_in_a_bunch_give_a_wider_interval, start_quiet),
        cmocka_unit_test_setup(short_stretches_are_drawn_as_a_whole, start_quiet),
        cmocka_unit_test_setup(the_interval_knows_that_stretches_differ, start_quiet),
        cmocka_unit_test_setup(no_alarm_still_leaves_room_above, start_quiet),
        cmocka_unit_test_setup(all_flagged_is_a_rate_of_one, start_quiet),
        cmocka_unit_test_setup(no_normal_rows_give_nan, start_quiet),
        cmocka_unit_test_setup(the_interval_follows_from_the_seed_alone, start_quiet),
        cmocka_unit_test_setup(many_stretches_take_no_time, start_quiet),
        cmocka_unit_test_setup(every_stretch_is_drawn_as_often_as_it_has_rows, start_quiet),
        cmocka_unit_test_setup(every_failed_allocation_is_reported, start_quiet),
    };

    return cmocka_run_group_tests_name("false_alarms", tests, NULL, NULL);
}
