/* Anomalous verdicts as events, and feedback on them: service/learning_verdicts.c. */
#include "service/learning.h"

#include "support/cmocka.h"
#include "support/small_learning.h"

#include <errno.h>
#include <string.h>

#define FIRST_VERDICT 5000
#define HOLD          64 /* rows, enough that one of them no longer waits */

static uint64_t next_verdict;

/* A flagged row that can be found again, whose verdict has an id; the id. */
static uint64_t take_flagged(const char *series, uint64_t later_us)
{
    float values[D];
    const struct scored_row row = {
        .time_us = now_us += later_us,
        .series = series,
        .values = values,
        .error = draw_error(),
        .p_value = 0.001,
        .score = 1.5,
        .is_flagged = true,
        .version = 3,
        .event = next_verdict,
    };

    tiny_row(&source, values);
    values[0] = BURST_VALUE;
    assert_int_equal(learning_take(learning, &row, 1), 0);
    return next_verdict++;
}

static int begin_verdicts(void **state)
{
    next_verdict = FIRST_VERDICT;
    return begin(state);
}
#define VERDICT_TEST(name) cmocka_unit_test_setup_teardown(name, begin_verdicts, end)

/* Its role + 10 if it is approved; -1: it is not stored. */
static int64_t role_of(uint64_t event)
{
    char sql[128];

    flush();
    (void)snprintf(sql, sizeof(sql),
                   "SELECT coalesce(max(role + 10 * is_approved), -1) FROM rows WHERE event = %d",
                   (int)event);
    return count(sql);
}

/* Lone flagged rows far apart; ret_events[n] */
static void take_lone(const char *series, size_t n, uint64_t *ret_events)
{
    for (size_t i = 0; i < n; i++) {
        take_normal(series, HOLD);
        ret_events[i] = take_flagged(series, SECOND);
    }
    take_normal(series, HOLD);
    flush();
    assert_int_equal(count_events("incident"), 0);
}

/* ---- events ---- */

static void a_verdict_becomes_an_event_at_once(void **state)
{
    (void)state;
    open_learning();
    take_normal("db", 10);
    const uint64_t id = take_flagged("db", SECOND);

    CLEANUP(logged_event_clear) struct logged_event event = logged("verdict");
    assert_int_equal(event.id, id);
    assert_string_equal(event.series, "db");
    assert_int_equal(event.time_us, now_us);
    assert_int_equal(event.first_row, 11);
    assert_int_equal(event.incident, 0);
    assert_string_equal(event.detail, "{\"score\":1.5,\"p_value\":0.001,\"version\":3}");
    assert_null(event.advice);
}

static void rows_without_an_id_become_no_events(void **state)
{
    (void)state;
    open_learning();
    take_burst("", 3);
    assert_int_equal(count_events("verdict"), 0);
}

static void a_verdict_in_an_incident_names_it_even_if_its_row_was_sampled_out(void **state)
{
    (void)state;
    options.sample_rate = 1;
    open_learning();
    const uint64_t incident = open_incident();
    const uint64_t kept = take_flagged("", SECOND), sampled_out = take_flagged("", 1000);

    assert_int_equal(role_of(kept), ROW_QUARANTINE);
    assert_int_equal(role_of(sampled_out), -1);
    for (uint64_t id = kept; id <= sampled_out; id++) {
        CLEANUP(logged_event_clear) struct logged_event event = {0};
        assert_int_equal(event_log_get(database, 1, id, &event), 0);
        assert_int_equal(event.incident, incident);
    }
}

static void a_frozen_model_still_notes_verdicts_and_keeps_no_row(void **state)
{
    (void)state;
    open_learning();
    learning_freeze(learning, true);
    const uint64_t id = take_flagged("db", SECOND);
    assert_int_equal(count_events("verdict"), 1);
    assert_int_equal(role_of(id), -1);
}

static void what_is_only_noted_is_not_learned_from(void **state)
{
    (void)state;
    const struct scored_row rows[] = {
        {.time_us = START_US, .series = "x", .is_flagged = true,      .event = 7},
        {.time_us = START_US,                   .is_flagged = true,              .event = 8},
    };

    open_learning();
    learning_note(learning, rows, 2);
    assert_int_equal(count_events("verdict"), 2);
    assert_int_equal(count("SELECT count(*) FROM rows"), 0);
    assert_int_equal(count("SELECT count(*) FROM events WHERE series = 'x'"), 1);
}

static void a_flood_is_bounded_and_what_is_lost_is_counted(void **state)
{
    (void)state;
    enum {
        MANY = 30000
    };
    static struct scored_row rows[MANY];

    open_learning();
    for (size_t i = 0; i < MANY; i++)
        rows[i] = (struct scored_row){.time_us = START_US, .is_flagged = true, .event = 1 + i};
    learning_note(learning, rows, MANY);
    const size_t n = count_events("verdict");
    assert_in_range(n, 1000, MANY - 1);
    assert_int_equal(learning_verdicts_lost(learning), MANY - n);
    assert_int_equal(learning_verdicts_lost(learning), 0);
}

static void without_room_verdicts_are_dropped_and_incidents_stay(void **state)
{
    (void)state;
    open_learning();
    take_normal("", 100);
    for (int i = 0; i < 30; i++)
        (void)take_flagged("", SECOND);
    learning_drop_verdicts(learning);
    assert_int_equal(learning_verdicts_lost(learning), 30);
    assert_int_equal(count_events("verdict"), 0);
    assert_int_equal(count_events("incident"), 1);
}

/* ---- lone rows ---- */

static void lone_flagged_rows_calibrate_judge_or_stand_aside_and_are_not_approved(void **state)
{
    (void)state;
    uint64_t events[40];
    size_t n[N_ROW_ROLES] = {0};

    open_learning();
    take_lone("", 40, events);
    for (size_t i = 0; i < 40; i++) {
        const int64_t role = role_of(events[i]);
        assert_in_range(role, 0, N_ROW_ROLES - 1); /* stored, not approved */
        n[role]++;
    }
    assert_int_equal(n[ROW_TRAIN], 0);
    assert_int_equal(n[ROW_QUARANTINE], 0);
    assert_true(n[ROW_CALIBRATE] > 0 && n[ROW_GATE] > 0 && n[ROW_ASIDE] > 0);
    assert_int_equal(count("SELECT max(incident) FROM rows"), 0);
}

static void normal_lets_a_lone_row_train_or_stay_where_it_calibrates(void **state)
{
    (void)state;
    uint64_t events[40];

    open_learning();
    take_lone("", 40, events);
    for (size_t i = 0; i < 40; i++) {
        const int64_t before = role_of(events[i]);
        assert_int_equal(learning_answer_verdict(learning, events[i], "", true), 0);
        assert_int_equal(role_of(events[i]), 10 + (before == ROW_ASIDE ? ROW_TRAIN : before));
    }
    assert_int_equal(stored_as(ROW_ASIDE), 0);
    assert_int_equal(count_learned_burst(), 40);
}

static void anomaly_takes_a_lone_row_out_of_all_that_is_learned_from(void **state)
{
    (void)state;
    uint64_t events[40];

    open_learning();
    take_lone("", 40, events);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(learning_answer_verdict(learning, events[i], "", false), 0);
    assert_int_equal(count_burst(ROW_CONFIRMED), 40);
    assert_int_equal(count_learned_burst(), 0);
    assert_int_equal(learning_answer_verdict(learning, events[0], "", true), 0); /* after all */
    assert_int_equal(role_of(events[0]), 10 + ROW_TRAIN);
}

static void an_independent_row_is_answered_the_same(void **state)
{
    (void)state;
    open_learning();
    for (size_t i = 0; i < 20; i++) {
        const uint64_t id = take_flagged(NULL, SECOND);
        assert_int_equal(learning_answer_verdict(learning, id, NULL, i % 2), 0);
        assert_true(i % 2 ? role_of(id) >= 10 : role_of(id) == ROW_CONFIRMED);
    }
}

/* ---- rows that wait ---- */

static void a_word_on_a_row_that_waits_is_kept_until_it_comes_out(void **state)
{
    (void)state;
    open_learning();
    take_normal("db", 100);
    const uint64_t odd = take_flagged("db", SECOND);
    take_normal("db", HOLD / 2);
    const uint64_t fine = take_flagged("db", SECOND);
    assert_int_equal(role_of(fine), -1); /* it waits */

    assert_int_equal(learning_answer_verdict(learning, fine, "web", true), -ENOENT);
    assert_int_equal(learning_answer_verdict(learning, fine, NULL, true), -ENOENT);
    assert_int_equal(learning_answer_verdict(learning, fine, "db", true), 0);
    assert_int_equal(learning_answer_verdict(learning, odd, "db", false), 0);
    take_normal("db", 300);
    assert_int_equal(role_of(odd), ROW_CONFIRMED);
    assert_in_range(role_of(fine), 10 + ROW_TRAIN, 10 + ROW_GATE);
    assert_int_equal(learning_answer_verdict(learning, next_verdict, "db", true), -ENOENT);
}

static void the_last_word_on_a_row_that_waits_counts(void **state)
{
    (void)state;
    open_learning();
    take_normal("db", 100);
    const uint64_t id = take_flagged("db", SECOND);
    assert_int_equal(learning_answer_verdict(learning, id, "db", true), 0);
    assert_int_equal(learning_answer_verdict(learning, id, "db", false), 0);
    take_normal("db", 300);
    assert_int_equal(role_of(id), ROW_CONFIRMED);
}

static void a_row_called_normal_is_let_in_though_an_incident_takes_its_neighbours(void **state)
{
    (void)state;
    open_learning();
    take_normal("", 100);
    const uint64_t id = take_flagged("", SECOND);
    assert_int_equal(learning_answer_verdict(learning, id, "", true), 0);
    const uint64_t other = take_flagged("", SECOND);
    take_burst("", 60);
    assert_int_equal(count_events("incident"), 1);
    assert_int_equal(role_of(id), 10 + ROW_TRAIN);
    assert_int_equal(role_of(other), ROW_QUARANTINE);
}

/* ---- incidents ---- */

static void the_row_of_a_verdict_knows_the_incident_that_took_it_later(void **state)
{
    (void)state;
    uint64_t incident = 99;

    open_learning();
    take_normal("", 100);
    const uint64_t first = take_flagged("", SECOND); /* no incident yet */
    take_burst("", 60);
    assert_int_equal(learning_incident_of(learning, first, &incident), 0);
    assert_int_equal(incident, FIRST_EVENT);
    assert_int_equal(learning_incident_of(learning, 999999, &incident), -ENOENT);
    assert_int_equal(learning_answer(learning, incident, true), 0);
    assert_true(role_of(first) >= 10);
}

static void stale_rows_leave_nothing_behind(void **state)
{
    (void)state;
    float values[D] = {BURST_VALUE};
    struct scored_row row = {.series = "", .values = values, .p_value = 0.001, .is_flagged = true};

    open_learning();
    take_normal("", 20);
    for (size_t i = 0; i < 50; i++) {
        row.event = next_verdict++;
        row.error = draw_error();
        row.time_us = now_us += SECOND;
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    take_normal("", 600);
    flush();
    assert_int_equal(learning_answer_verdict(learning, next_verdict - 1, "", true), -ENOENT);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE event > 0"), 16);
    assert_int_equal(count_events("verdict"), 50);
}

/* ---- memory ---- */

/* 40 flagged rows with words on some of them. */
static int use_all(void)
{
    static float rows[40 * D];
    CLEANUP(learning_freep) struct learning *all = NULL;
    struct scored_row row = {.error = 1, .p_value = 0.001, .is_flagged = true};

    tiny_rows(9, rows, 40);
    int r = learning_new(database, 1, D, &options, &all);
    if (r == 0)
        r = learning_swap(all, detector, threshold, RATE);
    for (size_t i = 0; r == 0 && i < 40; i++) {
        row.time_us = now_us += SECOND;
        row.series = i % 3 ? "a" : NULL;
        row.values = rows + i * D;
        row.event = next_verdict++;
        r = learning_take(all, &row, 1);
        if (r == 0 && i % 2)
            r = learning_answer_verdict(all, row.event, row.series, i % 4 == 1);
        r = r == -ENOENT ? 0 : r;
    }
    return r < 0 ? r : learning_flush(all);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    open_without_version(); /* makes the model */
    learning_free(TAKE(learning));
    fail_each_allocation(use_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VERDICT_TEST(a_verdict_becomes_an_event_at_once),
        VERDICT_TEST(rows_without_an_id_become_no_events),
        VERDICT_TEST(a_verdict_in_an_incident_names_it_even_if_its_row_was_sampled_out),
        VERDICT_TEST(a_frozen_model_still_notes_verdicts_and_keeps_no_row),
        VERDICT_TEST(what_is_only_noted_is_not_learned_from),
        VERDICT_TEST(a_flood_is_bounded_and_what_is_lost_is_counted),
        VERDICT_TEST(without_room_verdicts_are_dropped_and_incidents_stay),
        VERDICT_TEST(lone_flagged_rows_calibrate_judge_or_stand_aside_and_are_not_approved),
        VERDICT_TEST(normal_lets_a_lone_row_train_or_stay_where_it_calibrates),
        VERDICT_TEST(anomaly_takes_a_lone_row_out_of_all_that_is_learned_from),
        VERDICT_TEST(an_independent_row_is_answered_the_same),
        VERDICT_TEST(a_word_on_a_row_that_waits_is_kept_until_it_comes_out),
        VERDICT_TEST(the_last_word_on_a_row_that_waits_counts),
        VERDICT_TEST(a_row_called_normal_is_let_in_though_an_incident_takes_its_neighbours),
        VERDICT_TEST(the_row_of_a_verdict_knows_the_incident_that_took_it_later),
        VERDICT_TEST(stale_rows_leave_nothing_behind),
        VERDICT_TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_detector, free_detector);
}
