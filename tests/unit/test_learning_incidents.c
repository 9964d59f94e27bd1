/* One record for the alarm policy and the CUSUMs: service/learning_incidents.c. */
#include "detector/relevance.h"
#include "service/learning.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/small_learning.h"

#include <errno.h>
#include <string.h>

static const struct alarm_policy three_of_five = {
    .n = 3, .of = 5, .clear_rows = 5, .clear_score = 0.8};

/* A row a second later; a score above 1 is an anomaly that has an event. */
static uint64_t take(const char *series, double score, bool is_learned)
{
    float values[D];
    const bool is_flagged = score > 1;
    const struct scored_row row = {
        .time_us = now_us += SECOND,
        .series = series,
        .values = values,
        .error = draw_error(),
        .score = score,
        .p_value = is_flagged ? 0.001 : 0.5,
        .is_flagged = is_flagged,
        .version = 4,
        .event = is_flagged ? give_event_id(NULL) : 0,
    };

    tiny_row(&source, values);
    if (is_flagged)
        values[0] = BURST_VALUE;
    if (is_learned)
        assert_int_equal(learning_take(learning, &row, 1), 0);
    else
        learning_note(learning, &row, 1);
    return row.event;
}

/* The scores one after the other, so often. */
static void take_many(const char *series, double score, size_t n, bool is_learned)
{
    for (size_t i = 0; i < n; i++)
        (void)take(series, score, is_learned);
}

static void open_watching(void)
{
    options.alarm = three_of_five;
    open_learning();
}

static bool says(const struct logged_event *event, const char *part)
{
    return event->detail && strstr(event->detail, part);
}

static void anomalies_of_a_series_open_an_incident_that_pages(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 0.5, 20, true);
    take_many("a", 1.5, 3, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");

    assert_true(event.is_open);
    assert_string_equal(event.series, "a");
    assert_int_equal(event.opened_by, EVENT_BY_ALARM);
    assert_true(says(&event, "{\"opened_by\":\"alarm\",\"openers\":[\"alarm\"]"));
    assert_true(says(&event, "\"rows\":3,\"anomalies\":3,"));
    assert_non_null(strstr(event.advice, "blames"));
    assert_int_equal(learning_incidents(learning).n_open, 1);
    assert_int_equal(learning_incidents(learning).n_by_alarm, 1);
}

static void it_ends_after_rows_below_the_clear_score(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 1.5, 3, false);
    take_many("a", 0.9, 10, false);
    take_many("a", 0.5, 5, false);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");

    assert_false(event.is_open);
    assert_true(event.ended_us == now_us);
    assert_true(says(&event, "\"rows\":18,\"anomalies\":3,"));
    assert_int_equal(learning_incidents(learning).n_open, 0);
    take_many("a", 1.5, 3, false);
    assert_int_equal(count_events("incident"), 2);
}

static void its_peak_says_how_bad_when_and_what_is_to_blame(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 1.5, 3, false);
    (void)take("a", 7.5, false);
    take_many("a", 1.5, 2, false);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");

    assert_true(says(&event, "\"began_at\":\"1970-01-01T00:16:41Z\""));
    assert_true(
        says(&event, "\"peak\":{\"score\":7.5,\"time\":\"1970-01-01T00:16:44Z\",\"version\":4}"));
    assert_true(says(&event, "\"contributions\":[{\"feature\":\""));
    assert_int_equal(strncmp(event.reason, tiny_names[0], strlen(tiny_names[0])), 0);
    assert_non_null(strstr(event.reason, " 1M (expected "));
}

/* A row with this added to its features b and f, which have one cause, and to a. */
static void take_fault(float added_to_b, float added_to_a, double score, bool has_aside)
{
    float values[D];
    const struct scored_row row = {
        .time_us = now_us += SECOND,
        .series = "a",
        .values = values,
        .error = draw_error(),
        .score = score,
        .p_value = score > 1 ? 0.001 : 0.5,
        .is_flagged = score > 1,
        .has_aside = has_aside,
        .version = 4,
    };

    tiny_row(&source, values);
    values[1] += added_to_b;
    values[0] += added_to_a;
    learning_note(learning, &row, 1);
}

/* That the incident names: the order of these two. */
static void assert_named_first(char first, char second)
{
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    const char *reason = event.reason;

    assert_int_equal(reason[0], first);
    assert_non_null(strchr(event.detail, '['));
    char names[2][16] = {"\"feature\":\"?\"", "\"feature\":\"?\""};
    *strchr(names[0], '?') = first;
    *strchr(names[1], '?') = second;
    assert_non_null(strstr(event.detail, names[1]));
    assert_true(strstr(event.detail, names[0]) < strstr(event.detail, names[1]));
}

static void the_cause_is_named_before_a_later_consequence_that_grows_larger(void **state)
{
    (void)state;
    open_watching();
    for (size_t i = 0; i < 100; i++)
        take_fault(0, 0, 0.5, false);
    for (size_t i = 0; i < 12; i++)
        take_fault(80, 0, 2, false);
    for (size_t i = 0; i < 6; i++)
        take_fault(80, 100, 4, false);
    take_fault(80, 100, 9, false); /* the worst row has both, and the consequence is larger */
    assert_named_first('b', 'a');
}

static void a_lasting_fault_is_named_first_to_its_end(void **state)
{
    (void)state;
    open_watching();
    for (size_t i = 0; i < 100; i++)
        take_fault(0, 0, 0.5, false);
    for (size_t i = 0; i < 500; i++)
        take_fault(50, i % 50 == 49 ? 60 : 0, i == 499 ? 9 : 2, false);
    assert_named_first('b', 'a');
}

static void what_does_not_matter_is_blamed_for_nothing(void **state)
{
    (void)state;
    const struct relevance_rule rules[D] = {[1] = {.direction = RELEVANCE_BELOW}};

    open_watching();
    learning_set_rules(learning, rules);
    for (size_t i = 0; i < 100; i++)
        take_fault(0, 0, 0.5, false);
    for (size_t i = 0; i < 10; i++)
        take_fault(90, 50, 2, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_int_equal(event.reason[0], 'a');
    assert_null(strstr(event.reason, "b "));
    assert_true(!says(&event, "\"feature\":\"b\"") || says(&event, "\"share\":0"));
}

static void what_a_cusum_opens_the_alarm_policy_joins(void **state)
{
    (void)state;
    options.alarm = (struct alarm_policy){.n = 30, .of = 40, .clear_rows = 5, .clear_score = 0.8};
    open_learning();
    take_many("a", 0.5, 100, true);
    take_many("a", 1.5, 20, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_true(says(&event, "\"opened_by\":\"hard\""));
    take_many("a", 1.5, 20, true);
    CLEANUP(logged_event_clear) struct logged_event joined = logged("incident");

    assert_int_equal(joined.id, event.id);
    assert_true(says(&joined, "{\"opened_by\":\"alarm\",\"openers\":[\"alarm\",\"hard\""));
    assert_non_null(strstr(joined.advice, "kept from learning"));
    assert_int_equal(joined.first_row, 101);
    assert_int_equal(learning_incidents(learning).n_open, 1);
    assert_int_equal(learning_incidents(learning).n_by_hard, 1);
    assert_int_equal(learning_incidents(learning).n_by_alarm, 1);
}

static void an_incident_ends_when_all_that_opened_it_have_closed(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 0.5, 100, true);
    take_many("a", 1.5, 30, true);
    take_many("a", 0.5, 6, true); /* the alarm is over, the CUSUMs are not */
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_true(event.is_open);
    take_many("a", 0.5, 300, true);
    CLEANUP(logged_event_clear) struct logged_event over = logged("incident");

    assert_int_equal(over.id, event.id);
    assert_false(over.is_open);
    assert_in_range(count_burst(ROW_QUARANTINE), 30, 30);
    assert_int_equal(count("SELECT count(DISTINCT incident) FROM rows WHERE incident <> 0"), 1);
}

static void an_alarm_outlasts_the_cusums(void **state)
{
    (void)state;
    options.alarm = (struct alarm_policy){
        .n = 3, .of = 5, .clear_rows = 5, .clear_score = 0.8, .hold_us = 3600 * SECOND};
    open_learning();
    take_many("a", 0.5, 100, true);
    take_many("a", 1.5, 30, true);
    take_many("a", 0.5, 500, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");

    assert_true(event.is_open);
    take_many("a", 0.5, 3600, true);
    CLEANUP(logged_event_clear) struct logged_event over = logged("incident");
    assert_false(over.is_open);
}

static void rows_that_are_not_learned_from_open_one_too(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 1.5, 3, false);
    learning_freeze(learning, true);
    take_many("b", 1.5, 3, true);
    assert_int_equal(count_events("incident"), 2);
    assert_int_equal(learning_counts(learning).stored, 0);
}

static void rows_that_are_sampled_out_count_towards_an_alarm(void **state)
{
    (void)state;
    options.sample_rate = 0.01;
    open_watching();
    take_many("a", 1.5, 3, true);
    assert_true(learning_n_sampled_out(learning) >= 2);
    assert_int_equal(count_events("incident"), 1);
}

static void independent_rows_open_none(void **state)
{
    (void)state;
    open_watching();
    take_many(NULL, 1.5, 50, true);
    take_many(NULL, 1.5, 50, false);
    assert_int_equal(count_events("incident"), 0);
}

static void without_a_policy_none_is_opened_by_alarm(void **state)
{
    (void)state;
    open_learning();
    take_many("a", 1.5, 50, false);
    assert_int_equal(count_events("incident"), 0);
}

static void an_alarm_is_over_when_its_policy_is_taken_away(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 1.5, 3, false);
    options.alarm.n = 0;
    learning_configure(learning, &options);
    take_many("a", 1.5, 1, false);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_false(event.is_open);
}

static void alarms_do_not_change_what_is_learned(void **state)
{
    size_t n[2];

    for (int watches = 0; watches < 2; watches++) {
        if (watches) {
            assert_int_equal(end(state), 0);
            assert_int_equal(begin(state), 0);
            options.alarm = three_of_five;
        }
        open_learning();
        for (size_t i = 0; i < 20; i++) {
            take_many("a", 0.5, 60, true);
            take_many("a", 1.5, i % 4, true);
        }
        flush();
        n[watches] = stored_as(ROW_QUARANTINE) * 10000 + stored_as(ROW_TRAIN);
    }
    assert_int_equal(n[0], n[1]);
}

static void while_it_lasts_its_figures_are_brought_up_to_date(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 1.5, 3, false);
    flush();
    take_many("a", 1.5, 3, false);
    size_t n = 0;
    const struct logged_event *events = learning_events(learning, &n);

    assert_string_equal(events[n - 2].kind, "incident"); /* before the verdict of the sixth row */
    assert_true(events[n - 2].is_update);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_true(says(&event, "\"rows\":6,"));
    assert_non_null(event.advice);
}

/* Stored are those that would have trained, aside; the others calibrate and judge. */
static void normal_on_an_alarm_lets_its_rows_train(void **state)
{
    (void)state;
    options.alarm = (struct alarm_policy){.n = 2, .of = 64, .clear_rows = 30, .clear_score = 0.8};
    open_learning();
    take_many("a", 0.5, 40, true);
    for (size_t i = 0; i < 8; i++) { /* far apart: no CUSUM opens one */
        take_many("a", 1.5, 1, true);
        take_many("a", 0.5, 25, true);
    }
    take_many("a", 0.5, 300, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_int_equal(event.opened_by, EVENT_BY_ALARM);
    const size_t n_aside = stored_as(ROW_ASIDE);
    assert_true(n_aside > 1);
    assert_int_equal(learning_answer_alarm(learning, event.id, "a", true), 0);
    assert_true(stored_as(ROW_ASIDE) <= 1); /* the first came before the alarm */
    assert_true(count_burst(ROW_TRAIN) >= n_aside - 1);
}

/* Of the present moment on, for so many rows. */
static void begin_maintenance(size_t n_rows, bool skips_alarms, bool skips_learning)
{
    const struct maintenance_window window = {.from_us = now_us + SECOND,
                                              .until_us = now_us + (n_rows + 1) * SECOND,
                                              .skips_alarms = skips_alarms,
                                              .skips_learning = skips_learning};

    assert_int_equal(learning_set_maintenance(learning, &window, 1), 0);
}

static void rows_of_a_maintenance_touch_nothing_of_the_learning(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 0.5, 100, true);
    begin_maintenance(200, true, true);
    take_many("a", 1.5, 200, true);
    assert_int_equal(count_events("incident"), 0);
    take_many("a", 0.5, 300, true);
    flush();
    assert_int_equal(learning_counts(learning).stored, 400 - 16); /* 16 wait still */
    assert_int_equal(count_burst(ROW_QUARANTINE), 0);
}

static void maintenance_without_alarms_still_keeps_rows_from_learning(void **state)
{
    (void)state;
    open_watching();
    take_many("a", 0.5, 100, true);
    begin_maintenance(60, true, false);
    take_many("a", 1.5, 60, true);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_true(says(&event, "\"opened_by\":\"hard\""));
    assert_int_equal(learning_incidents(learning).n_by_alarm, 0);
}

static void trouble_that_outlasts_a_maintenance_opens_an_alarm(void **state)
{
    (void)state;
    open_watching();
    begin_maintenance(60, true, true);
    take_many("a", 1.5, 60, true);
    assert_int_equal(learning_incidents(learning).n_by_alarm, 0);
    take_many("a", 1.5, 1, true);
    assert_int_equal(learning_incidents(learning).n_by_alarm, 1);
}

static void a_maintenance_that_finds_no_memory_leaves_the_former(void **state)
{
    (void)state;
    const struct maintenance_window none[2] = {{0}};

    open_watching();
    begin_maintenance(60, true, true);
    alloc_fail_in = 0;
    const int r = learning_set_maintenance(learning, none, 2);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
    assert_true(learning_skips(learning, now_us + SECOND).alarms);
}

static void no_allocation_that_fails_breaks_it(void **state)
{
    (void)state;
    for (int nth = 0; nth < 60; nth++) {
        assert_int_equal(end(state), 0);
        assert_int_equal(begin(state), 0);
        open_watching();
        alloc_fail_in = nth;
        for (size_t i = 0; i < 12; i++) {
            const float values[D] = {0};
            const struct scored_row row = {.time_us = now_us += SECOND,
                                           .series = "a",
                                           .values = values,
                                           .p_value = 0.5,
                                           .score = i < 4 ? 2 : 0.1,
                                           .is_flagged = i < 4,
                                           .event = i < 4 ? 1 + i : 0};
            learning_note(learning, &row, 1);
        }
        alloc_fail_in = -1;
        assert_int_equal(learning_incidents(learning).n_open, 0);
        learning_told(learning);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEARNING_TEST(anomalies_of_a_series_open_an_incident_that_pages),
        LEARNING_TEST(it_ends_after_rows_below_the_clear_score),
        LEARNING_TEST(its_peak_says_how_bad_when_and_what_is_to_blame),
        LEARNING_TEST(the_cause_is_named_before_a_later_consequence_that_grows_larger),
        LEARNING_TEST(a_lasting_fault_is_named_first_to_its_end),
        LEARNING_TEST(what_does_not_matter_is_blamed_for_nothing),
        LEARNING_TEST(what_a_cusum_opens_the_alarm_policy_joins),
        LEARNING_TEST(an_incident_ends_when_all_that_opened_it_have_closed),
        LEARNING_TEST(an_alarm_outlasts_the_cusums),
        LEARNING_TEST(rows_that_are_not_learned_from_open_one_too),
        LEARNING_TEST(rows_that_are_sampled_out_count_towards_an_alarm),
        LEARNING_TEST(independent_rows_open_none),
        LEARNING_TEST(without_a_policy_none_is_opened_by_alarm),
        LEARNING_TEST(an_alarm_is_over_when_its_policy_is_taken_away),
        LEARNING_TEST(alarms_do_not_change_what_is_learned),
        LEARNING_TEST(while_it_lasts_its_figures_are_brought_up_to_date),
        LEARNING_TEST(normal_on_an_alarm_lets_its_rows_train),
        LEARNING_TEST(rows_of_a_maintenance_touch_nothing_of_the_learning),
        LEARNING_TEST(maintenance_without_alarms_still_keeps_rows_from_learning),
        LEARNING_TEST(trouble_that_outlasts_a_maintenance_opens_an_alarm),
        LEARNING_TEST(a_maintenance_that_finds_no_memory_leaves_the_former),
        LEARNING_TEST(no_allocation_that_fails_breaks_it),
    };
    return cmocka_run_group_tests(tests, make_detector, free_detector);
}
