/* Rows on their way into the buffer, and what is told of them: service/learning_rows.c. */
#include "service/learning.h"
#include "service/sampling.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/small_learning.h"

#include <math.h>
#include <string.h>

/* ---- roles ---- */

/* Of pending rows first .. first + 3. */
static void count_roles(size_t first, size_t ret_n[N_ROW_ROLES])
{
    const struct row_batch pending = learning_pending(learning);

    memset(ret_n, 0, N_ROW_ROLES * sizeof(*ret_n));
    for (size_t i = first; i < first + 4; i++)
        ret_n[pending.rows[i].role]++;
}

static void of_each_four_rows_two_train_one_calibrates_one_judges(void **state)
{
    (void)state;
    size_t n[N_ROW_ROLES], n_trains_at[4] = {0};

    open_learning();
    take_normal(NULL, 400);
    assert_int_equal(learning_pending(learning).n_rows, 400);
    for (size_t first = 0; first < 400; first += 4) {
        count_roles(first, n);
        assert_int_equal(n[ROW_TRAIN], 2);
        assert_int_equal(n[ROW_CALIBRATE], 1);
        assert_int_equal(n[ROW_GATE], 1);
        for (size_t i = 0; i < 4; i++)
            n_trains_at[i] += learning_pending(learning).rows[first + i].role == ROW_TRAIN;
    }
    for (size_t i = 0; i < 4; i++) /* no place of the four has always the same role */
        assert_in_range(n_trains_at[i], 30, 70);
}

static void roles_go_on_where_they_stood_after_a_restart(void **state)
{
    (void)state;
    enum row_role roles[8];

    open_learning();
    take_normal(NULL, 8);
    for (size_t i = 0; i < 8; i++)
        roles[i] = learning_pending(learning).rows[i].role;
    open_learning(); /* nothing was stored: the same again */
    take_normal(NULL, 5);
    flush();
    open_learning();
    take_normal(NULL, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(learning_pending(learning).rows[i].role, roles[5 + i]);
}

static void flagged_rows_never_train_but_calibrate_and_judge(void **state)
{
    (void)state;
    open_learning();
    take_burst(NULL, 400);
    flush();
    assert_int_equal(stored_as(ROW_TRAIN), 0);
    assert_int_equal(stored_as(ROW_CALIBRATE), 100);
    assert_int_equal(stored_as(ROW_GATE), 100);
    assert_int_equal(count("SELECT min(is_flagged) FROM rows"), 1);
}

static void flagged_rows_of_a_series_never_train_but_calibrate(void **state)
{
    (void)state;
    open_learning();
    for (size_t i = 0; i < 60; i++) { /* so few that there is no incident */
        take_normal("a", 19);
        take_burst("a", 1);
    }
    assert_int_equal(count_events("incident"), 0);
    assert_int_equal(count_burst(ROW_TRAIN), 0);
    assert_in_range(count_burst(ROW_CALIBRATE), 5, 30);
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
}

/* ---- which rows ---- */

static void independent_rows_open_no_incident(void **state)
{
    (void)state;
    open_learning();
    take_burst(NULL, 200);
    take_normal(NULL, 200);
    assert_int_equal(count_events("incident"), 0);
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE series IS NOT NULL"), 0);
    assert_int_equal(learning_counts(learning).stored, 300); /* flagged ones do not train */
}

/* Batches of a series, this far apart; how many of their rows counted. */
static size_t take_batches(const char *series, uint64_t apart_us, size_t n_batches, size_t n_rows)
{
    static float values[1000 * D];
    struct scored_row rows[1000];
    const uint64_t before = learning_n_sampled_out(learning);

    tiny_rows(8, values, n_rows);
    for (size_t batch = 0; batch < n_batches; batch++) {
        now_us += apart_us;
        for (size_t i = 0; i < n_rows; i++)
            rows[i] = (struct scored_row){
                .time_us = now_us,
                .series = series,
                .values = values + i * D,
                .error = draw_error(),
                .p_value = 0.5,
            };
        assert_int_equal(learning_take(learning, rows, n_rows), 0);
    }
    return n_batches * n_rows - (size_t)(learning_n_sampled_out(learning) - before);
}

static void the_sample_rate_counts_in_the_time_of_each_series(void **state)
{
    (void)state;
    options.sample_rate = 2;
    open_learning();
    assert_int_equal(take_batches("a", SECOND / 2, 40, 1), 40);
    assert_in_range(take_batches("a", SECOND / 8, 40, 1), 9, 11);
    assert_in_range(take_batches("b", SECOND / 8, 40, 1), 9, 12); /* not what "a" has used up */
}

static void independent_rows_share_the_rate_of_one_series(void **state)
{
    (void)state;
    options.sample_rate = 1;
    open_learning();
    assert_int_equal(take_batches(NULL, SECOND, 40, 1), 40);
    assert_in_range(take_batches(NULL, SECOND / 10, 400, 1), 39, 41);
    assert_in_range(take_batches(NULL, SECOND, 40, 100), 39, 41);
    assert_int_equal(take_batches("a", SECOND, 40, 1), 40);
    assert_in_range(learning_pending(learning).n_rows, 40 + 39 + 39, 40 + 41 + 41 + 40);
}

/* A client that samples each second and sends each minute. */
static void a_minutes_rows_in_one_request_all_count(void **state)
{
    (void)state;
    options.sample_rate = 1;
    open_learning();
    (void)take_batches("a", SECOND, 1, 60);
    assert_int_equal(take_batches("a", 60 * SECOND, 10, 60), 600);
    assert_int_equal(take_batches("a", 3600 * SECOND, 1, 1000), SAMPLING_SAVED_S + 1);
}

/* Two series in one call, one after the other: the rates do not mix. */
static void each_part_of_a_batch_counts_for_its_own_series(void **state)
{
    (void)state;
    static float values[200 * D];
    struct scored_row rows[200];

    options.sample_rate = 1;
    open_learning();
    tiny_rows(8, values, 200);
    for (size_t i = 0; i < 200; i++)
        rows[i] = (struct scored_row){.time_us = now_us,
                                      .series = i < 100   ? "a"
                                                : i < 150 ? NULL
                                                          : "b",
                                      .values = values + i * D,
                                      .error = draw_error(),
                                      .p_value = 0.5};
    assert_int_equal(learning_take(learning, rows, 200), 0);
    assert_in_range(200 - learning_n_sampled_out(learning), 3, 6);
    assert_in_range(learning_pending(learning).n_rows, 1, 2); /* those of a series wait still */
}

static void the_sample_rate_holds_for_times_that_run_backwards_and_jump(void **state)
{
    (void)state;
    const uint64_t century = 100ULL * 365 * 86400 * SECOND;
    size_t n = 0;

    options.sample_rate = 2;
    open_learning();
    assert_int_equal(take_batches("a", SECOND / 2, 40, 1), 40);
    for (size_t i = 0; i < 40; i++) { /* an eighth of a second earlier each */
        now_us -= SECOND / 8;
        n += take_batches("a", 0, 1, 1);
    }
    assert_in_range(n, 0, 10);
    assert_in_range(take_batches("a", century, 1, 1000), 2 * SAMPLING_SAVED_S,
                    2 * SAMPLING_SAVED_S + 2);
    assert_in_range(take_batches("a", SECOND / 8, 40, 1), 9, 11);
    now_us = SECOND; /* set back: nothing waits for the old time */
    assert_in_range(take_batches("a", SECOND / 2, 40, 1), 39, 40);
}

static void nothing_is_sampled_out_without_a_sample_rate(void **state)
{
    (void)state;
    open_learning();
    assert_int_equal(take_batches("a", 1, 10, 10), 100);
    assert_int_equal(take_batches(NULL, 1, 10, 10), 100);
}

static void only_observed_rows_are_stored_unless_scored_ones_are_to_be_learned(void **state)
{
    (void)state;
    options.learns_scored = false;
    open_learning();
    take_normal(NULL, 40);
    assert_int_equal(learning_pending(learning).n_rows, 0);
    observe_normal(40);
    assert_int_equal(learning_counts(learning).rows, 40);
}

static void no_scored_row_is_taken_while_the_detector_is_not_lent(void **state)
{
    (void)state;
    open_learning();
    take_normal("a", 50);
    flush();
    const uint64_t stored = learning_counts(learning).stored;
    assert_true(stored > 0);

    learning_lend(learning, NULL);
    learning_configure(learning, &options); /* a reload meanwhile */
    take_normal("a", 20);
    take_burst("a", 40);
    take_normal("new", 20);
    flush();
    assert_int_equal(learning_counts(learning).stored, stored);

    learning_lend(learning, detector);
    take_normal("a", 50);
    flush();
    assert_true(learning_counts(learning).stored > stored);
}

static void a_frozen_model_takes_no_scored_rows(void **state)
{
    (void)state;
    open_learning();
    learning_freeze(learning, true);
    take_normal(NULL, 40);
    assert_int_equal(learning_pending(learning).n_rows, 0);
    learning_freeze(learning, false);
    take_normal(NULL, 40);
    assert_int_equal(learning_pending(learning).n_rows, 40);
}

/* ---- observed rows ---- */

static void every_observed_row_is_stored_as_it_was_sent(void **state)
{
    (void)state;
    const float row[D] = {1, NAN, -3, 4e30F, 5, -0.0F};
    struct row_buffer *buffer;

    options.sample_rate = 0.001;
    open_without_version();
    for (size_t i = 0; i < 100; i++) /* always the same: no guard looks */
        assert_int_equal(learning_observe(learning, row, 1, &now_us, "a"), 0);
    flush();
    assert_int_equal(learning_counts(learning).rows, 100);
    assert_int_equal(learning_counts(learning).stored, 100);
    assert_int_equal(learning_n_sampled_out(learning), 0);
    buffer = learning_pending(learning).buffer;
    for (int role = ROW_TRAIN; role <= ROW_GATE; role++) {
        CLEANUP(row_block_clear) struct row_block block = {0};
        assert_int_equal(row_buffer_read(buffer, role, SIZE_MAX, SIZE_MAX, &block), 0);
        assert_int_equal(block.n_rows, role == ROW_TRAIN ? 50 : 25);
        for (size_t i = 0; i < block.n_rows; i++)
            assert_memory_equal(block.values + i * D, row, sizeof(row));
    }
    assert_int_equal(count("SELECT min(is_observed) FROM rows"), 1);
}

static void observed_rows_push_out_others_only_above_buffer_rows(void **state)
{
    (void)state;
    options.buffer_rows = 200;
    open_without_version();
    for (size_t sent = 10; sent <= 300; sent += 10) {
        observe_normal(10);
        assert_int_equal(learning_counts(learning).rows, sent < 200 ? sent : 200);
        assert_int_equal(learning_counts(learning).stored, sent);
    }
    assert_int_equal(stored_as(ROW_TRAIN), 100);
    assert_int_equal(stored_as(ROW_CALIBRATE), 50);
}

static void observed_rows_are_not_quarantined_in_an_incident(void **state)
{
    (void)state;
    open_learning();
    (void)open_incident();
    const size_t before = learning_counts(learning).rows;
    observe_normal(40);
    assert_int_equal(learning_counts(learning).rows, before + 40);
}

/* Who observes may be gone before the rows are stored. */
static void the_series_of_an_observed_row_is_copied(void **state)
{
    (void)state;
    const float row[D] = {0};
    char name[] = "web-1";

    open_without_version();
    assert_int_equal(learning_observe(learning, row, 1, &now_us, name), 0);
    (void)strcpy(name, "other");
    assert_int_equal(learning_observe(learning, row, 1, &now_us, name), 0);
    assert_int_equal(learning_observe(learning, row, 1, &now_us, NULL), 0);
    flush();
    assert_int_equal(count("SELECT count(*) FROM rows WHERE series = 'web-1'"), 1);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE series = 'other'"), 1);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE series IS NULL"), 1);
}

/* ---- incidents ---- */

static void an_incidents_rows_go_to_quarantine_and_none_to_the_buffer(void **state)
{
    (void)state;
    open_learning();
    take_normal("a", 300);
    take_burst("a", 100);
    take_normal("a", 300);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");

    assert_int_equal(event.id, FIRST_EVENT);
    assert_int_equal(next_event, FIRST_EVENT + 1);
    assert_false(event.is_open);
    assert_string_equal(event.series, "a");
    assert_int_equal(event.first_row, 301);
    assert_int_equal(count_burst(ROW_QUARANTINE), 100);
    assert_int_equal(count_learned_burst(), 0);
    assert_in_range(stored_as(ROW_QUARANTINE), 16 + 100 + 64, 16 + 100 + 64 + 60);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE role = 3 AND incident = 1000"),
                     stored_as(ROW_QUARANTINE));
}

static void an_open_incident_asks_for_an_answer(void **state)
{
    (void)state;
    open_learning();
    assert_int_equal(open_incident(), FIRST_EVENT);
    CLEANUP(logged_event_clear) struct logged_event event = logged("incident");
    assert_string_equal(event.series, "");
    assert_non_null(strstr(event.advice, "feedback"));
    assert_non_null(strstr(event.detail, "\"opened_by\":\"hard\""));
    assert_non_null(strstr(event.detail, "\"incident\":1000"));
}

static void an_incidents_rows_are_counted_in_its_own_series(void **state)
{
    (void)state;
    open_learning();
    take_normal("a", 100);
    for (size_t i = 0; i < 600; i++) {
        take_burst("a", 1);
        take_normal("b", 3);
    }
    CLEANUP(logged_event_clear) struct logged_event event = logged("regime_change");
    assert_string_equal(event.series, "a");
    assert_int_equal(event.last_row - event.first_row + 1, 500);
    assert_non_null(strstr(event.detail, "\"rows\":500"));
}

static void a_regime_that_lasts_is_told_once(void **state)
{
    (void)state;
    open_learning();
    const uint64_t incident = open_incident();
    take_burst("", 430);
    assert_int_equal(count_events("regime_change"), 0);
    take_burst("", 500);
    CLEANUP(logged_event_clear) struct logged_event event = logged("regime_change");
    char named[48];

    (void)snprintf(named, sizeof(named), "\"incident\":%llu", (unsigned long long)incident);
    assert_non_null(strstr(event.detail, named));
    assert_int_equal(event.id, incident + 1);
    assert_non_null(event.advice);
    assert_int_equal(count_events("incident"), 1);
    assert_int_equal(count_learned_burst(), 0);
}

static void follow_after_lets_a_regime_in_that_nobody_answers(void **state)
{
    (void)state;
    options.follow_after = 200;
    open_learning();
    take_normal("", 100);
    take_burst("", 199);
    flush();
    assert_int_equal(count_learned_burst(), 0);
    take_burst("", 101);
    assert_int_equal(count_events("regime_change"), 1);
    assert_int_equal(count_learned_burst(), 300); /* those that were in quarantine, too */
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
    assert_true(count_burst(ROW_TRAIN) >= 150); /* flagged ones */
    assert_true(learning_must_pin(learning));
}

static void repeated_rows_are_stored_16_times_and_told(void **state)
{
    (void)state;
    float values[D];
    struct scored_row row = {.series = "a", .values = values, .p_value = 0.5};

    open_learning();
    tiny_row(&source, values);
    values[0] = BURST_VALUE;
    for (size_t i = 0; i < 300; i++) {
        row.time_us = now_us += SECOND;
        row.error = draw_error();
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    take_normal("a", 300);
    CLEANUP(logged_event_clear) struct logged_event event = logged("stale_input");
    assert_int_equal(event.id, FIRST_EVENT);
    assert_string_equal(event.series, "a");
    assert_null(strstr(event.detail, "incident"));
    assert_int_equal(count_learned_burst(), 16);
    assert_int_equal(stored_as(ROW_QUARANTINE), 0);
}

static void each_series_has_its_own_incidents(void **state)
{
    (void)state;
    open_learning();
    for (size_t i = 0; i < 300; i++) {
        take_burst("a", 1);
        take_normal("b", 1);
    }
    assert_int_equal(count_events("incident"), 1);
    assert_int_equal(count("SELECT count(*) FROM rows WHERE role = 3 AND series <> 'a'"), 0);
    assert_true(learning_counts(learning).rows >= 280);
}

static void the_series_that_was_silent_for_longest_makes_room(void **state)
{
    (void)state;
    char name[16];

    open_learning();
    take_normal("first", 20); /* wait still */
    assert_int_equal(learning_pending(learning).n_rows, 4);
    for (size_t i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof(name), "pod-%zu", i);
        take_normal(name, 1);
    }
    flush();
    assert_int_equal(count("SELECT count(*) FROM rows WHERE series = 'first'"), 20);
    take_burst("pod-9999", 60);
    take_burst("one-more", 60);
    assert_int_equal(count_events("incident"), 2);
}

static void what_was_told_and_stored_is_gone(void **state)
{
    (void)state;
    size_t n = 42;

    open_learning();
    take_normal("a", 100);
    take_burst("a", 60);
    const struct logged_event *events = learning_events(learning, &n);
    assert_int_equal(n, 1);
    assert_string_equal(events[0].kind, "incident");
    learning_told(learning);
    (void)learning_events(learning, &n);
    assert_int_equal(n, 0);
    assert_true(learning_pending(learning).n_rows > 60);
    learning_stored(learning);
    assert_int_equal(learning_pending(learning).n_rows, 0);
}

static void what_is_forgotten_is_gone_and_learning_goes_on(void **state)
{
    (void)state;
    open_learning();
    observe_normal(80);
    (void)open_incident();
    take_burst("", 10); /* pending */
    assert_int_equal(learning_forget(learning), 0);
    flush();
    assert_int_equal(count("SELECT count(*) FROM rows"), 0);
    take_normal("", 116); /* the newest 16 wait: no incident is left */
    flush();
    assert_int_equal(learning_counts(learning).rows, 100);
}

static void drift_is_told_once(void **state)
{
    (void)state;
    float values[D] = {0};
    const struct scored_row row = {.values = values, .error = threshold, .p_value = RATE};

    open_learning();
    assert_true(learning_drift(learning) <= 0);
    take_normal(NULL, 1000);
    assert_int_equal(count_events("drift"), 0);
    for (size_t i = 0; i < 300; i++) {
        values[0] = (float)i;
        assert_int_equal(learning_take(learning, &row, 1), 0);
    }
    CLEANUP(logged_event_clear) struct logged_event event = logged("drift");
    assert_true(learning_drift(learning) >= 6);
    assert_non_null(event.advice);
    assert_int_equal(learning_swap(learning, detector, threshold, RATE), 0);
    assert_true(learning_drift(learning) <= 0);
}

/* ---- memory ---- */

static int use_all(void)
{
    uint64_t times[40] = {0};
    static float rows[40 * D];
    CLEANUP(learning_freep) struct learning *all = NULL;
    struct scored_row row = {.error = 1, .p_value = 0.001, .is_flagged = true};

    tiny_rows(9, rows, 40);
    int r = learning_new(database, 1, D, &options, &all);
    if (r == 0)
        r = learning_pin(all, detector);
    if (r == 0)
        r = learning_swap(all, detector, threshold, RATE);
    for (size_t i = 0; r == 0 && i < 40; i++) {
        row.time_us = times[i] = now_us += SECOND;
        row.series = i % 3 ? "a" : NULL;
        row.values = rows + i * D;
        r = learning_take(all, &row, 1);
    }
    if (r == 0)
        r = learning_observe(all, rows, 40, times, "b");
    if (r == 0 && learning_pending(all).n_rows < 40)
        return -EUCLEAN; /* all or none */
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
        LEARNING_TEST(of_each_four_rows_two_train_one_calibrates_one_judges),
        LEARNING_TEST(roles_go_on_where_they_stood_after_a_restart),
        LEARNING_TEST(flagged_rows_never_train_but_calibrate_and_judge),
        LEARNING_TEST(flagged_rows_of_a_series_never_train_but_calibrate),
        LEARNING_TEST(independent_rows_open_no_incident),
        LEARNING_TEST(the_sample_rate_counts_in_the_time_of_each_series),
        LEARNING_TEST(the_sample_rate_holds_for_times_that_run_backwards_and_jump),
        LEARNING_TEST(independent_rows_share_the_rate_of_one_series),
        LEARNING_TEST(a_minutes_rows_in_one_request_all_count),
        LEARNING_TEST(each_part_of_a_batch_counts_for_its_own_series),
        LEARNING_TEST(nothing_is_sampled_out_without_a_sample_rate),
        LEARNING_TEST(only_observed_rows_are_stored_unless_scored_ones_are_to_be_learned),
        LEARNING_TEST(no_scored_row_is_taken_while_the_detector_is_not_lent),
        LEARNING_TEST(a_frozen_model_takes_no_scored_rows),
        LEARNING_TEST(every_observed_row_is_stored_as_it_was_sent),
        LEARNING_TEST(observed_rows_push_out_others_only_above_buffer_rows),
        LEARNING_TEST(observed_rows_are_not_quarantined_in_an_incident),
        LEARNING_TEST(the_series_of_an_observed_row_is_copied),
        LEARNING_TEST(an_incidents_rows_go_to_quarantine_and_none_to_the_buffer),
        LEARNING_TEST(an_open_incident_asks_for_an_answer),
        LEARNING_TEST(an_incidents_rows_are_counted_in_its_own_series),
        LEARNING_TEST(a_regime_that_lasts_is_told_once),
        LEARNING_TEST(follow_after_lets_a_regime_in_that_nobody_answers),
        LEARNING_TEST(repeated_rows_are_stored_16_times_and_told),
        LEARNING_TEST(each_series_has_its_own_incidents),
        LEARNING_TEST(the_series_that_was_silent_for_longest_makes_room),
        LEARNING_TEST(what_was_told_and_stored_is_gone),
        LEARNING_TEST(what_is_forgotten_is_gone_and_learning_goes_on),
        LEARNING_TEST(drift_is_told_once),
        LEARNING_TEST(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, make_detector, free_detector);
}
