/* What is kept around incidents, and what is not: service/flight.h. */
#include "service/flight.h"

#include "data/schema.h"
#include "detector/relevance.h"
#include "service/learning.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D 2

static struct schema *schema;
static struct flight_recorder recorder;
static struct flight_memory memory;
static uint64_t now_us, n_dropped;
static struct relevance *relevance; /* of the next rows */

static int begin(void **state)
{
    static const char *const names[D] = {"a", "b \"quoted\""};

    (void)state;
    recorder = (struct flight_recorder){.n_features = D};
    now_us = n_dropped = 0;
    return schema_new(names, D, &schema, NULL);
}

static int end(void **state)
{
    (void)state;
    relevance_release(relevance);
    relevance = NULL;
    flight_memory_clear(&memory, &recorder);
    assert_int_equal(recorder.n_remembered, 0);
    flight_recorder_clear(&recorder);
    schema_free(schema);
    return 0;
}

/* Rows one after the other while the incident is open (0: none is). */
static void take_from(struct flight_memory *series, uint64_t incident, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float values[D] = {(float)++now_us, 0.5F};
        const struct scored_row row = {.time_us = now_us,
                                       .values = values,
                                       .error = 2,
                                       .p_value = 0.25,
                                       .score = 0.5,
                                       .threshold = 4,
                                       .version = 3,
                                       .relevance = relevance,
                                       .n_dropped = n_dropped};
        flight_take(&recorder, series, &row, incident, schema);
    }
}

static void take(uint64_t incident, size_t n)
{
    take_from(&memory, incident, n);
}

static size_t count(uint64_t incident, enum flight_part part)
{
    size_t n = 0;

    for (size_t i = 0; i < recorder.n_rows; i++)
        n += recorder.rows[i].incident == incident && recorder.rows[i].part == part;
    return n;
}

static struct flight last_word_on(uint64_t incident)
{
    for (size_t i = recorder.n_flights; i-- > 0;)
        if (recorder.flights[i].incident == incident)
            return recorder.flights[i];
    fail_msg("nothing was told of incident %d", (int)incident);
    return (struct flight){0};
}

static void without_an_incident_nothing_is_recorded(void **state)
{
    (void)state;
    take(0, 1000);
    assert_int_equal(recorder.n_rows, 0);
    assert_int_equal(recorder.n_flights, 0);
}

static void rows_before_in_and_after_it_are(void **state)
{
    (void)state;
    take(0, 100);
    take(7, 10);
    take(0, 100);
    assert_int_equal(count(7, FLIGHT_BEFORE), FLIGHT_MOST_BEFORE);
    assert_int_equal(count(7, FLIGHT_IN), 11); /* the one that closes it too */
    assert_int_equal(count(7, FLIGHT_AFTER), FLIGHT_MOST_AFTER);
    for (size_t i = 0; i < recorder.n_rows; i++) {
        const struct flight_row *row = &recorder.rows[i];
        assert_int_equal(row->number, i);
        assert_int_equal(row->time_us, 100 - FLIGHT_MOST_BEFORE + 1 + i);
        assert_true(row->values[0] == (float)row->time_us && row->values[1] == 0.5F);
        assert_true(row->reconstruction_error == 2 && row->threshold == 4);
        assert_true(row->score == 0.5 && row->p_value == 0.25);
        assert_int_equal(row->version, 3);
    }
    assert_string_equal(recorder.flights[0].features, "[\"a\",\"b \\\"quoted\\\"\"]");
    assert_int_equal(last_word_on(7).n_left_out, 0);
}

static void the_first_rows_of_a_series_are_all_there_are_before(void **state)
{
    (void)state;
    take(0, 9); /* more than it makes room for at first */
    take(7, 1);
    assert_int_equal(count(7, FLIGHT_BEFORE), 9);
    assert_int_equal(recorder.rows[0].time_us, 1);
    assert_int_equal(recorder.rows[8].time_us, 9);
}

static void of_a_long_incident_the_rest_is_counted(void **state)
{
    (void)state;
    take(7, FLIGHT_MOST_IN + 1000);
    assert_int_equal(count(7, FLIGHT_IN), FLIGHT_MOST_IN);
    assert_in_range(last_word_on(7).n_left_out, 500, 1000);
    take(0, 2);
    assert_int_equal(last_word_on(7).n_left_out, 1001);
    assert_int_equal(count(7, FLIGHT_AFTER), 1);
}

static void what_follows_one_belongs_to_the_next(void **state)
{
    (void)state;
    take(7, 2);
    take(0, 3);
    take(8, 1);
    take(0, 100);
    assert_int_equal(count(7, FLIGHT_AFTER), 2);
    assert_int_equal(count(8, FLIGHT_BEFORE), 5); /* those of the other too */
    assert_int_equal(count(8, FLIGHT_AFTER), FLIGHT_MOST_AFTER);
}

static void rows_that_never_came_are_missing(void **state)
{
    (void)state;
    n_dropped = 5; /* before all that is remembered */
    take(0, 10);
    n_dropped = 8;
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 3);
    n_dropped = 9;
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 4);
    const size_t n = recorder.n_flights;
    take(7, 5);
    assert_int_equal(recorder.n_flights, n); /* nothing new to tell */
}

static void what_is_missing_never_becomes_less(void **state)
{
    (void)state;
    n_dropped = 5;
    take(7, 1);
    n_dropped = 4; /* counted before, came later */
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 0);
    n_dropped = 8;
    take(7, 1);
    n_dropped = 7;
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 3);
}

static void rows_that_could_not_be_stored_are_missing(void **state)
{
    (void)state;
    take(0, 10);
    take(7, 5);
    flight_recorder_lose(&recorder);
    assert_int_equal(flight_recorder_batch(&recorder).n_rows, 0);
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 15);
    assert_int_equal(recorder.rows[0].number, 15);
}

static void rows_of_others_that_could_not_be_stored_are_not(void **state)
{
    (void)state;
    struct flight_memory other = {0};

    take(7, 5);
    take_from(&other, 8, 3);
    flight_recorder_lose(&recorder);
    take_from(&other, 9, 1); /* it has those before, which it remembers */
    assert_int_equal(last_word_on(9).n_missing, 0);
    assert_int_equal(count(9, FLIGHT_BEFORE), 3);
    take(7, 1);
    assert_int_equal(last_word_on(7).n_missing, 5);
    flight_memory_clear(&other, &recorder);
}

/* The next rows are judged by this; NULL: every deviation matters. */
static void judge_by(const char *directions)
{
    relevance_release(relevance);
    relevance = NULL;
    if (directions)
        assert_int_equal(relevance_read(&relevance, RELEVANCE_DIRECTIONS, directions, NULL), 0);
}

static size_t count_rules(unsigned rules)
{
    size_t n = 0;

    for (size_t i = 0; i < recorder.n_rows; i++)
        n += recorder.rows[i].rules == rules;
    return n;
}

static void each_row_says_by_which_rules_it_was_judged(void **state)
{
    (void)state;
    judge_by("a=above");
    take(0, 70); /* six of them are forgotten */
    judge_by(NULL);
    take(0, 10);
    judge_by("a=below");
    take(7, 5);
    assert_int_equal(recorder.n_flights, 1);
    assert_string_equal(recorder.flights[0].rules,
                        "[{\"direction\":{\"a\":\"above\"}},{\"direction\":{\"a\":\"below\"}}]");
    assert_int_equal(count_rules(1), FLIGHT_MOST_BEFORE - 10);
    assert_int_equal(count_rules(0), 10);
    assert_int_equal(count_rules(2), 5);
}

static void other_rules_are_told_before_their_rows(void **state)
{
    (void)state;
    take(7, 5);
    assert_string_equal(last_word_on(7).rules, "[]");
    flight_recorder_drop(&recorder);
    judge_by("a=above");
    take(7, 2);
    assert_string_equal(recorder.flights[0].rules, "[{\"direction\":{\"a\":\"above\"}}]");
    flight_recorder_drop(&recorder);
    judge_by("a=above"); /* the same once more */
    take(7, 2);
    assert_int_equal(recorder.n_flights, 0);
    assert_int_equal(count_rules(1), 2);
    take(0, 100);
    flight_recorder_drop(&recorder);
    judge_by(NULL);
    take(0, 100);
    take(8, 1); /* what nothing of it was judged by is not told of the next */
    assert_string_equal(last_word_on(8).rules, "[]");
}

static void rows_of_more_rules_than_there_is_room_for_are_missing(void **state)
{
    (void)state;
    char directions[32];

    take(7, 1);
    for (int i = 0; i < FLIGHT_MOST_RULES + 3; i++) {
        (void)snprintf(directions, sizeof(directions), "feature_%d=above", i);
        judge_by(directions);
        take(7, 1);
    }
    assert_int_equal(count(7, FLIGHT_IN), 1 + FLIGHT_MOST_RULES);
    assert_int_equal(last_word_on(7).n_missing, 3);
    judge_by("feature_0=above");
    take(7, 1);
    assert_int_equal(count(7, FLIGHT_IN), 2 + FLIGHT_MOST_RULES);
}

static void all_is_told_anew_where_what_was_told_is_lost(void **state)
{
    (void)state;
    judge_by("a=above");
    take(7, 5);
    flight_recorder_lose(&recorder);
    take(7, 1);
    assert_int_equal(recorder.n_flights, 1);
    assert_string_equal(recorder.flights[0].features, "[\"a\",\"b \\\"quoted\\\"\"]");
    assert_string_equal(recorder.flights[0].rules, "[{\"direction\":{\"a\":\"above\"}}]");
    assert_int_equal(recorder.flights[0].n_missing, 5);
}

static void what_waits_for_the_store_is_bounded(void **state)
{
    (void)state;
    struct flight_memory series = {0};

    for (uint64_t incident = 1; incident < 200; incident++) {
        take_from(&series, incident, FLIGHT_MOST_IN);
        take_from(&series, 0, 1);
    }
    assert_true(recorder.n_rows * (sizeof(struct flight_row) + D * sizeof(float)) <
                2 * FLIGHT_PENDING_BYTES);
    assert_true(last_word_on(199).n_missing > 0);
    flight_memory_clear(&series, &recorder);
}

static void what_many_series_remember_is_bounded(void **state)
{
    (void)state;
    enum {
        N = 20000
    };
    struct flight_memory *series = calloc(N, sizeof(*series));

    assert_non_null(series);
    for (size_t i = 0; i < N; i++)
        take_from(&series[i], 0, 100);
    assert_true(recorder.n_remembered <= FLIGHT_MEMORY_BYTES);
    take_from(&series[N - 1], 7, 1); /* goes without */
    assert_int_equal(count(7, FLIGHT_IN), 1);
    for (size_t i = 0; i < N; i++)
        flight_memory_clear(&series[i], &recorder);
    free(series);
}

static void wide_rows_are_fewer(void **state)
{
    (void)state;
    enum {
        WIDE = 4096
    };
    float *values = calloc(WIDE, sizeof(*values));
    struct flight_recorder wide = {.n_features = WIDE};
    struct flight_memory series = {0};
    struct scored_row row = {.values = values, .score = 0.5};

    assert_non_null(values);
    for (size_t i = 0; i < 100; i++)
        flight_take(&wide, &series, &row, 0, schema);
    assert_in_range(series.n, 1, 4);
    for (size_t i = 0; i < 1000; i++) {
        flight_take(&wide, &series, &row, 7, schema);
        flight_recorder_drop(&wide);
    }
    assert_int_equal(series.n_left_out, 1000 - FLIGHT_INCIDENT_BYTES / (WIDE * sizeof(float)));
    flight_memory_clear(&series, &wide);
    flight_recorder_clear(&wide);
    free(values);
}

/* Whatever is missing, what is there is whole. */
static void check_rows(void)
{
    size_t n_rules = 0;

    for (size_t i = 0; i < recorder.n_flights; i++)
        if (recorder.flights[i].rules)
            n_rules = strstr(recorder.flights[i].rules, "below") ? 2 : 1;
    for (size_t i = 0; i < recorder.n_rows; i++) {
        assert_true(recorder.rows[i].values[0] == (float)recorder.rows[i].time_us);
        assert_in_range(recorder.rows[i].rules, 1, n_rules);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    bool has_failed = true;

    for (int nth = 0; has_failed && nth < 100; nth++) {
        flight_memory_clear(&memory, &recorder);
        flight_recorder_clear(&recorder);
        recorder.n_features = D;
        judge_by("a=above");
        alloc_fail_in = nth;
        take(0, 20);
        take(7, 10);
        const int left = alloc_fail_in;
        alloc_fail_in = -1;
        judge_by("a=below");
        alloc_fail_in = left;
        take(7, 10);
        take(0, 40);
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        check_rows();
    }
    assert_false(has_failed);
    assert_int_equal(recorder.n_rows, 20 + 21 + FLIGHT_MOST_AFTER);
}

#define FLIGHT_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLIGHT_TEST(without_an_incident_nothing_is_recorded),
        FLIGHT_TEST(rows_before_in_and_after_it_are),
        FLIGHT_TEST(the_first_rows_of_a_series_are_all_there_are_before),
        FLIGHT_TEST(of_a_long_incident_the_rest_is_counted),
        FLIGHT_TEST(what_follows_one_belongs_to_the_next),
        FLIGHT_TEST(rows_that_never_came_are_missing),
        FLIGHT_TEST(what_is_missing_never_becomes_less),
        FLIGHT_TEST(rows_that_could_not_be_stored_are_missing),
        FLIGHT_TEST(rows_of_others_that_could_not_be_stored_are_not),
        FLIGHT_TEST(each_row_says_by_which_rules_it_was_judged),
        FLIGHT_TEST(other_rules_are_told_before_their_rows),
        FLIGHT_TEST(rows_of_more_rules_than_there_is_room_for_are_missing),
        FLIGHT_TEST(all_is_told_anew_where_what_was_told_is_lost),
        FLIGHT_TEST(what_waits_for_the_store_is_bounded),
        FLIGHT_TEST(what_many_series_remember_is_bounded),
        FLIGHT_TEST(wide_rows_are_fewer),
        FLIGHT_TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
