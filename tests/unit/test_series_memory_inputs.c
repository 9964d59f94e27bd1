/* What is remembered of series to prepare their rows, that they fall silent, and over a restart:
 * service/series_memory.h. How they move is tests/unit/test_series_memory.c's. */
#include "service/series_memory.h"

#include "base/clock.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define D      PREPARED_FEATURES
#define V      PREPARED_VALUES
#define N_ROWS 40
#define MINUTE ((uint64_t)60 * 1000000)

static struct series_memory *memory;
static struct preparation *preparation;
static double times[N_ROWS], values[N_ROWS * V];
static float want[N_ROWS * D]; /* of all rows, one after the other */

static int set_up(void **state)
{
    (void)state;
    preparation = prepared_preparation();
    prepared_values(5, N_ROWS, times, values);
    prepared_rows(preparation, times, values, N_ROWS, want);
    return series_memory_new(&memory);
}

static int tear_down(void **state)
{
    (void)state;
    series_memory_release(memory);
    preparation_free(preparation);
    return 0;
}

/* The next n rows; returns how many are late. */
static size_t prepare_by(struct preparation *by, const char *series, size_t begin, size_t n,
                         float *ret_rows)
{
    bool is_late[N_ROWS];
    size_t n_late = 0;

    assert_int_equal(series_memory_prepare(memory, by, series, times + begin, values + begin * V, n,
                                           ret_rows, is_late, NULL),
                     0);
    for (size_t i = 0; i < n; i++)
        n_late += is_late[i];
    return n_late;
}

static void prepare(const char *series, size_t begin, size_t n)
{
    float rows[N_ROWS * D];

    assert_int_equal(prepare_by(preparation, series, begin, n, rows), 0);
    assert_memory_equal(rows, want + begin * D, n * D * sizeof(float));
}

/* The row is prepared as one that nothing is known before. */
static void expect_afresh(const char *series, size_t at)
{
    float row[D];

    assert_int_equal(prepare_by(preparation, series, at, 1, row), 0);
    assert_true(isnan(row[0]));
}

/* ---- preparing ---- */

static void rows_are_prepared_alone_or_in_a_batch(void **state)
{
    (void)state;
    prepare("a", 0, 10);
    for (size_t i = 10; i < 20; i++)
        prepare("a", i, 1);
    prepare("a", 20, 20);
}

static void series_do_not_know_of_each_other(void **state)
{
    (void)state;
    prepare("b", 0, 10);
    prepare("a", 0, 5);
    prepare("", 0, 7);
    prepare("a", 5, 1);
    prepare("b", 10, 1);
    prepare("", 7, 1);
}

static void late_rows_are_told_and_leave_no_trace(void **state)
{
    (void)state;
    float rows[N_ROWS * D];

    prepare("a", 0, 5);
    assert_int_equal(prepare_by(preparation, "a", 2, 3, rows), 3);
    assert_true(isnan(rows[0]));
    prepare("a", 5, 5);
}

/* Also where the clock is behind the newest row: it may have been set back. */
static void rows_without_a_time_come_now_and_are_never_late(void **state)
{
    (void)state;
    const double none[] = {(double)NAN, (double)NAN, (double)NAN};
    const double tomorrow[] = {(double)clock_realtime_us() / 1e6 + 86400};
    bool is_late[3];
    float rows[3 * D];

    assert_int_equal(
        series_memory_prepare(memory, preparation, "a", none, values, 3, rows, is_late, NULL), 0);
    assert_false(is_late[0] || is_late[1] || is_late[2]);
    assert_true(isnan(rows[D]) && isnan(rows[2 * D])); /* they are no time apart: no rates */
    assert_int_equal(
        series_memory_prepare(memory, preparation, "a", tomorrow, values, 1, rows, is_late, NULL),
        0);
    assert_int_equal(
        series_memory_prepare(memory, preparation, "a", none, values, 3, rows, is_late, NULL), 0);
    assert_false(is_late[0] || is_late[1] || is_late[2]);
}

/* A new version of the same inputs goes on. */
static void another_preparation_begins_afresh_an_equal_one_goes_on(void **state)
{
    (void)state;
    CLEANUP(preparation_freep) struct preparation *same = prepared_preparation();
    CLEANUP(preparation_freep) struct preparation *other = prepared_preparation();
    float rows[N_ROWS * D];

    other->max_gap = 7200;
    prepare("a", 0, 5);
    assert_int_equal(prepare_by(same, "a", 5, 5, rows), 0);
    assert_memory_equal(rows, want + 5 * D, 5 * D * sizeof(float));
    assert_int_equal(prepare_by(other, "a", 10, 1, rows), 0);
    assert_true(isnan(rows[0]));
    assert_int_equal(prepare_by(other, "a", 11, 1, rows), 0);
    assert_memory_equal(rows, want + 11 * D, PREPARED_COLUMNS * sizeof(float));
}

static void of_too_many_series_the_one_that_was_silent_for_longest_goes(void **state)
{
    (void)state;
    series_memory_bound(memory, 3);
    assert_int_equal(series_memory_most(memory), 3);
    prepare("a", 0, 1);
    prepare("b", 0, 1);
    prepare("c", 0, 1);
    prepare("a", 1, 1); /* heard of again */
    prepare("d", 0, 1); /* b goes */
    prepare("a", 2, 1);
    prepare("c", 1, 1);
    prepare("d", 1, 1);
    expect_afresh("b", 1);
}

static void a_lower_bound_holds_from_the_next_new_series_on(void **state)
{
    (void)state;
    struct series_counts counts;
    char name[16];

    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        prepare(name, 0, 1);
    }
    series_memory_bound(memory, 4);
    prepare("new", 0, 1);
    assert_int_equal(series_memory_watch(memory, 0, 0, NULL, 0, &counts), 0);
    assert_int_equal(counts.n_series, 4);
    prepare("9", 1, 1);
    prepare("7", 1, 1);
    expect_afresh("6", 1);
}

/* ---- training and serving ---- */

/* The same values as a file of two series and as what clients send. */
static void rows_of_a_file_and_of_requests_are_bit_equal(void **state)
{
    (void)state;
    char path[] = "/tmp/test_series_memory.XXXXXX";
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    CLEANUP(text_clear) struct text csv = {0};
    const struct dataset_options options = {.schema = preparation->values,
                                            .preparation = preparation,
                                            .with_timestamps = true,
                                            .with_series = true};
    static const char *const states[] = {"up", "down", "200.0", ""};
    struct error error = {0};
    struct text bodies[2 * N_ROWS] = {{0}};

    text_puts(&csv, "latency,series,timestamp,state,bytes,sent,load\n");
    for (size_t i = 0; i < 2 * N_ROWS; i++) {
        const double *of = values + i / 2 * V;
        const double time = i == 30 ? times[3] + 0.125 : times[i / 2] + 0.125; /* one is late */
        const char *word = states[i % 4], *quote = *word ? "\"" : "";
        char sent[32] = "";
        if (i % 7)
            (void)snprintf(sent, sizeof(sent), "%.17g", of[IN_SENT]);
        text_printf(&csv, "%.17g,%s,%.17g,%s,%.17g,%s,%.17g\n", of[IN_LATENCY], i % 2 ? "x" : "y",
                    time, word, of[IN_BYTES], sent, of[IN_LOAD]);
        text_printf(&bodies[i],
                    "{\"features\":{\"load\":%.17g,\"state\":%s%s%s,\"bytes\":%.17g,"
                    "\"timestamp\":%.17g,\"sent\":%s,\"latency\":%.17g}}",
                    of[IN_LOAD], quote, *word ? word : "null", quote, of[IN_BYTES], time,
                    *sent ? sent : "null", of[IN_LATENCY]);
    }
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, csv.data, csv.length), (ssize_t)csv.length);
    (void)close(fd);
    if (dataset_read(path, &options, &dataset, &error) < 0 ||
        dataset_prepare(&dataset, path, preparation, false, &error) < 0)
        fail_msg("%s", error.text);
    (void)unlink(path);
    assert_int_equal(dataset.n_late, 1);
    for (size_t i = 0; i < 2 * N_ROWS; i++) {
        float row[D];
        bool is_late;
        if (json_rows_read(&rows, preparation->values, preparation, bodies[i].data,
                           bodies[i].length) < 0)
            fail_msg("%s: %s", bodies[i].data, rows.problems[0].detail);
        assert_int_equal(series_memory_prepare(memory, preparation, i % 2 ? "x" : "y", rows.times,
                                               rows.values, 1, row, &is_late, NULL),
                         0);
        assert_memory_equal(row, dataset.rows + i * D, sizeof(row));
        assert_int_equal(is_late, dataset.is_late[i]);
        text_clear(&bodies[i]);
    }
}

/* ---- silence ---- */

static size_t watch(uint64_t now_us, uint64_t stale_us, struct series_change *ret_changes,
                    size_t most)
{
    struct series_counts counts;

    return series_memory_watch(memory, now_us, stale_us, ret_changes, most, &counts);
}

static void expect_counts(uint64_t now_us, uint64_t stale_us, size_t n_series, size_t n_silent)
{
    struct series_counts counts;

    (void)series_memory_watch(memory, now_us, stale_us, NULL, 0, &counts);
    assert_int_equal(counts.n_series, n_series);
    assert_int_equal(counts.n_silent, n_silent);
}

static void silence_and_return_are_told_once_each(void **state)
{
    (void)state;
    struct series_change changes[4];

    assert_int_equal(series_memory_touch(memory, "a", 10 * MINUTE), 0);
    assert_int_equal(series_memory_touch(memory, "b", 14 * MINUTE), 0);
    assert_int_equal(watch(15 * MINUTE, 5 * MINUTE, changes, 4), 0); /* not yet */
    assert_int_equal(watch(15 * MINUTE + 1, 5 * MINUTE, changes, 4), 1);
    assert_string_equal(changes[0].series, "a");
    assert_true(changes[0].is_silent);
    assert_int_equal(changes[0].seen_us, 10 * MINUTE);
    assert_int_equal(watch(16 * MINUTE, 5 * MINUTE, changes, 4), 0);
    expect_counts(16 * MINUTE, 5 * MINUTE, 2, 1);

    assert_int_equal(series_memory_touch(memory, "a", 17 * MINUTE), 0);
    assert_int_equal(watch(18 * MINUTE, 5 * MINUTE, changes, 4), 1);
    assert_string_equal(changes[0].series, "a");
    assert_false(changes[0].is_silent);
    assert_int_equal(changes[0].seen_us, 17 * MINUTE);
    expect_counts(18 * MINUTE, 5 * MINUTE, 2, 0);
    /* A clock that was set back makes nobody silent. */
    assert_int_equal(watch(1 * MINUTE, 5 * MINUTE, changes, 4), 0);
}

static void what_there_is_no_room_to_tell_is_told_the_next_time(void **state)
{
    (void)state;
    struct series_change changes[4];
    char told[5] = "";

    for (char c = 'a'; c < 'f'; c++)
        assert_int_equal(series_memory_touch(memory, (const char[]){c, '\0'}, MINUTE), 0);
    for (size_t want_n = 2, n; (n = watch(9 * MINUTE, MINUTE, changes, 2)) > 0; want_n = 2) {
        assert_int_equal(n, strlen(told) == 4 ? 1 : want_n);
        for (size_t i = 0; i < n && strlen(told) < 4; i++)
            (void)strncat(told, changes[i].series, 1);
    }
    assert_string_equal(told, "abcd");
    expect_counts(9 * MINUTE, MINUTE, 5, 5);
}

static void a_series_that_is_silent_for_a_week_is_forgotten(void **state)
{
    (void)state;
    prepare("a", 0, 1);
    const uint64_t now_us = clock_realtime_us();

    expect_counts(now_us + SERIES_FORGOTTEN_US - MINUTE, MINUTE, 1, 0); /* nobody misses it */
    assert_int_equal(series_memory_touch(memory, "a", now_us), 0);
    expect_counts(now_us + SERIES_FORGOTTEN_US - MINUTE, MINUTE, 1, 1);
    prepare("a", 1, 1);
    expect_counts(now_us + SERIES_FORGOTTEN_US + MINUTE, MINUTE, 0, 0);
    expect_afresh("a", 2);
}

/* A longer stale_after is no row. */
static void what_counts_as_silent_no_more_has_not_come_back(void **state)
{
    (void)state;
    struct series_change changes[4];

    assert_int_equal(series_memory_touch(memory, "a", MINUTE), 0);
    assert_int_equal(watch(9 * MINUTE, MINUTE, changes, 4), 1);
    assert_int_equal(watch(10 * MINUTE, 60 * MINUTE, changes, 4), 0);
    assert_int_equal(watch(62 * MINUTE, 60 * MINUTE, changes, 4), 1);
    assert_true(changes[0].is_silent);
}

static void rows_that_came_to_nothing_are_taken_back(void **state)
{
    (void)state;
    struct series_undo *undo = NULL, *first = NULL;
    float once[D], again[D];
    bool is_late = true;

    assert_int_equal(
        series_memory_prepare(memory, preparation, "a", times, values, 1, once, &is_late, &first),
        0);
    assert_int_equal(series_memory_prepare(memory, preparation, "a", times + 1, values + V, 1, once,
                                           &is_late, &undo),
                     0);
    series_undo_apply(first); /* others have come since */
    series_undo_free(first);
    series_undo_apply(undo);
    series_undo_free(undo);
    assert_int_equal(series_memory_prepare(memory, preparation, "a", times + 1, values + V, 1,
                                           again, &is_late, NULL),
                     0);
    assert_false(is_late);
    assert_memory_equal(once, again, sizeof(once));
}

/* Nothing has come back: nobody watches any more. */
static void who_does_not_watch_any_more_hears_of_no_return(void **state)
{
    (void)state;
    struct series_change changes[4];

    assert_int_equal(series_memory_touch(memory, "a", MINUTE), 0);
    assert_int_equal(watch(9 * MINUTE, MINUTE, changes, 4), 1);
    assert_int_equal(watch(10 * MINUTE, 0, changes, 4), 0);
    expect_counts(10 * MINUTE, 0, 1, 0);
}

/* ---- over a restart ---- */

struct saved {
    struct logged_series *series;
    size_t n;
};

static void saved_clear(struct saved *saved)
{
    for (size_t i = 0; i < saved->n; i++)
        logged_series_clear(&saved->series[i]);
    free(saved->series);
    *saved = (struct saved){0};
}

static void save(struct saved *saved)
{
    saved_clear(saved);
    assert_int_equal(series_memory_save(memory, false, "", 100, &saved->series, &saved->n), 0);
}

static void restart(void)
{
    series_memory_release(memory);
    assert_int_equal(series_memory_new(&memory), 0);
}

static void load(const struct saved *saved)
{
    for (size_t i = 0; i < saved->n; i++)
        assert_int_equal(series_memory_load(memory, preparation, NULL, &saved->series[i]), 0);
}

static void only_series_that_had_rows_are_saved_again(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    save(&saved);
    assert_int_equal(saved.n, 0);
    prepare("a", 0, 1);
    assert_int_equal(series_memory_touch(memory, "b", 5), 0);
    save(&saved);
    assert_int_equal(saved.n, 2);
    assert_string_equal(saved.series[0].series, "a");
    assert_int_equal(saved.series[0].n_state, preparation_state_size(preparation));
    assert_null(saved.series[0].movement);
    assert_string_equal(saved.series[1].series, "b");
    assert_int_equal(saved.series[1].seen_us, 5);
    assert_null(saved.series[1].state);
    save(&saved);
    assert_int_equal(saved.n, 0);
    prepare("a", 1, 1);
    save(&saved);
    assert_int_equal(saved.n, 1);
}

/* What was saved did not get to the disk. */
static void all_series_are_saved_again_if_asked_for(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    prepare("a", 0, 1);
    prepare("b", 0, 1);
    save(&saved);
    saved_clear(&saved);
    assert_int_equal(series_memory_save(memory, true, "", 100, &saved.series, &saved.n), 0);
    assert_int_equal(saved.n, 2);
    assert_non_null(saved.series[0].state);
    save(&saved);
    assert_int_equal(saved.n, 0);
}

static void a_restart_is_not_noticed(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    for (size_t i = 0; i < N_ROWS; i++) {
        prepare("a", i, 1);
        prepare("b", i, 1);
        save(&saved);
        restart();
        load(&saved);
    }
    save(&saved);
    assert_int_equal(saved.n, 0); /* nothing new since */
}

static void silence_is_not_told_twice_over_a_restart(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};
    struct series_change changes[4];

    assert_int_equal(series_memory_touch(memory, "a", MINUTE), 0);
    assert_int_equal(watch(9 * MINUTE, MINUTE, changes, 4), 1);
    save(&saved);
    assert_true(saved.series[0].is_silent);
    restart();
    load(&saved);
    assert_int_equal(watch(10 * MINUTE, MINUTE, changes, 4), 0);
    assert_int_equal(series_memory_touch(memory, "a", 10 * MINUTE), 0);
    assert_int_equal(watch(10 * MINUTE, MINUTE, changes, 4), 1);
    assert_false(changes[0].is_silent);
}

static void a_series_that_had_a_row_already_stays_as_it_is(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    prepare("a", 0, 5);
    save(&saved);
    restart();
    prepare("a", 0, 10);
    load(&saved);
    prepare("a", 10, 1);
}

static void what_does_not_fit_begins_afresh(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    prepare("a", 0, 5);
    prepare("b", 0, 5);
    save(&saved);
    restart();
    saved.series[0].n_state--;
    memset(saved.series[1].state, 0xFF, 16); /* n_behind is absurd */
    load(&saved);
    expect_counts(clock_realtime_us(), 0, 2, 0);
    expect_afresh("a", 5);
    expect_afresh("b", 5);
}

static void loading_keeps_to_the_bound(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};

    prepare("a", 0, 1);
    prepare("b", 0, 1);
    prepare("c", 0, 1);
    save(&saved);
    restart();
    series_memory_bound(memory, 2);
    load(&saved); /* the one that was seen last comes last */
    expect_counts(clock_realtime_us(), 0, 2, 0);
    prepare("c", 1, 1);
    prepare("b", 1, 1);
    expect_afresh("a", 1);
}

/* How a series moves goes on where it was, in terms of whichever version comes. */
static void movements_come_back(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};
    CLEANUP(detector_freep) struct detector *detector = prepared_detector(1);
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    bool all[N_ROWS];
    float hold[N_ROWS * D], again[D];

    memset(all, true, sizeof(all));
    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(series_memory_follow(memory, detector, workspace, "a", 1, false, want, 20,
                                          NULL, all, hold, NULL),
                     0);
    save(&saved);
    assert_non_null(saved.series[0].movement);
    assert_int_equal(series_memory_follow(memory, detector, workspace, "a", 1, false,
                                          want + (size_t)20 * D, 1, NULL, all, hold, NULL),
                     0);
    restart();
    assert_int_equal(series_memory_load(memory, preparation, detector, &saved.series[0]), 0);
    assert_int_equal(series_memory_follow(memory, detector, workspace, "a", 1, false,
                                          want + (size_t)20 * D, 1, NULL, all, again, NULL),
                     0);
    for (size_t j = 0; j < D; j++)
        assert_true(fabsf(hold[j] - again[j]) <= 1e-3F * (1 + fabsf(hold[j])));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(saved_clear) struct saved saved = {0};
    int r = -ENOMEM, nth = 0;

    prepare("a", 0, 2);
    save(&saved);
    for (; r == -ENOMEM && nth < 50; nth++) {
        CLEANUP(saved_clear) struct saved more = {0};
        float row[D];
        bool is_late;
        restart();
        alloc_fail_in = nth;
        r = series_memory_load(memory, preparation, NULL, &saved.series[0]);
        if (r == 0)
            r = series_memory_prepare(memory, preparation, "new", times, values, 1, row, &is_late,
                                      NULL);
        if (r == 0)
            r = series_memory_save(memory, false, "", 100, &more.series, &more.n);
        alloc_fail_in = -1;
        if (r == 0)
            assert_int_equal(more.n, 1);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 6);
    prepare("a", 2, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_are_prepared_alone_or_in_a_batch),
        TEST(series_do_not_know_of_each_other),
        TEST(late_rows_are_told_and_leave_no_trace),
        TEST(rows_without_a_time_come_now_and_are_never_late),
        TEST(another_preparation_begins_afresh_an_equal_one_goes_on),
        TEST(of_too_many_series_the_one_that_was_silent_for_longest_goes),
        TEST(a_lower_bound_holds_from_the_next_new_series_on),
        TEST(rows_of_a_file_and_of_requests_are_bit_equal),
        TEST(silence_and_return_are_told_once_each),
        TEST(what_there_is_no_room_to_tell_is_told_the_next_time),
        TEST(a_series_that_is_silent_for_a_week_is_forgotten),
        TEST(what_counts_as_silent_no_more_has_not_come_back),
        TEST(rows_that_came_to_nothing_are_taken_back),
        TEST(who_does_not_watch_any_more_hears_of_no_return),
        TEST(only_series_that_had_rows_are_saved_again),
        TEST(all_series_are_saved_again_if_asked_for),
        TEST(a_restart_is_not_noticed),
        TEST(silence_is_not_told_twice_over_a_restart),
        TEST(a_series_that_had_a_row_already_stays_as_it_is),
        TEST(what_does_not_fit_begins_afresh),
        TEST(loading_keeps_to_the_bound),
        TEST(movements_come_back),
        TEST(survives_every_failed_allocation),
    };
    detector_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
