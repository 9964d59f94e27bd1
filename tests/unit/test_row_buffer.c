#include "store/row_buffer.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/state_folder.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define N_FEATURES 3
#define SEED       42
#define BATCH      100

static struct database *database;
static uint64_t next_value; /* of value_of(): rows are told apart by it */

static int open_database(void **state)
{
    if (make_folder(state) < 0)
        return -1;
    database = open_quietly();
    next_value = 0;
    return run_sql(database, "INSERT INTO models (name, fingerprint, features) "
                             "VALUES ('a', '', '[]'), ('b', '', '[]')");
}

static int close_database(void **state)
{
    database_free(database);
    database = NULL;
    return remove_folder(state);
}

static struct row_buffer *open_buffer(size_t capacity)
{
    struct row_buffer *buffer = NULL;

    assert_int_equal(row_buffer_open(database, 1, N_FEATURES, capacity, SEED, &buffer), 0);
    return buffer;
}

static struct row_buffer *reopen(struct row_buffer *buffer, size_t capacity)
{
    row_buffer_free(buffer);
    database_free(database);
    database = open_quietly();
    return open_buffer(capacity);
}

/* ---- rows ---- */

static float values[BATCH][N_FEATURES];
static struct buffered_row rows[BATCH];

static const struct buffered_row *make_rows(size_t n, enum row_role role, uint64_t incident)
{
    for (size_t i = 0; i < n; i++) {
        values[i][0] = (float)next_value;
        values[i][1] = NAN;
        values[i][2] = -1.5F;
        rows[i] = (struct buffered_row){.time_us = 1000 + next_value++,
                                        .role = role,
                                        .incident = incident,
                                        .series = "",
                                        .values = values[i]};
    }
    return rows;
}

static void store_in_batches(struct row_buffer *buffer, enum row_role role, size_t n, size_t batch,
                             uint64_t incident)
{
    for (size_t done = 0; done < n; done += batch) {
        const size_t size = n - done < batch ? n - done : batch;
        const struct buffered_row *made = make_rows(size, role, incident);
        assert_int_equal(row_buffer_store(buffer, made, size), 0);
    }
}

static void store(struct row_buffer *buffer, enum row_role role, size_t n)
{
    store_in_batches(buffer, role, n, BATCH, 0);
}

static size_t count(struct row_buffer *buffer, enum row_role role)
{
    return row_buffer_counts(buffer).of_role[role];
}

static struct row_block read_rows(struct row_buffer *buffer, enum row_role role, size_t newest,
                                  size_t older)
{
    struct row_block block = {0};

    assert_int_equal(row_buffer_read(buffer, role, newest, older, &block), 0);
    for (size_t i = 1; i < block.n_rows; i++)
        assert_true(block.numbers[i] > block.numbers[i - 1]);
    return block;
}

/* The counts in memory are those of the table, and reservoirs have no gaps. */
static void assert_counts_hold(struct row_buffer *buffer)
{
    const struct row_counts counts = row_buffer_counts(buffer);
    char sql[128];

    for (int role = 0; role < N_ROW_ROLES; role++) {
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM rows WHERE model = 1 AND role = %d",
                       role);
        assert_int_equal(ask(database, sql), counts.of_role[role]);
        (void)snprintf(sql, sizeof(sql),
                       "SELECT count(DISTINCT slot) = coalesce(max(slot), 0) FROM rows"
                       " WHERE model = 1 AND role = %d AND slot > 0",
                       role);
        assert_int_equal(ask(database, sql), 1);
    }
    assert_int_equal(counts.rows, counts.of_role[ROW_TRAIN] + counts.of_role[ROW_CALIBRATE] +
                                      counts.of_role[ROW_GATE]);
}

/* ---- in and out ---- */

static void rows_come_back_as_they_were_stored(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);

    store(buffer, ROW_CALIBRATE, 250);
    CLEANUP(row_block_clear)
    struct row_block block = read_rows(buffer, ROW_CALIBRATE, SIZE_MAX, SIZE_MAX);
    assert_int_equal(block.n_rows, 250);
    for (size_t i = 0; i < 250; i++) {
        assert_int_equal(block.numbers[i], i + 1);
        assert_int_equal(block.times_us[i], 1000 + i);
        assert_true(block.values[i * N_FEATURES] == (float)i);
        assert_true(isnan(block.values[i * N_FEATURES + 1]));
        assert_true(block.values[i * N_FEATURES + 2] == -1.5F);
    }
}

static void series_and_marks_are_kept(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    const float row[N_FEATURES] = {1, 2, 3};
    char longest[ROW_SERIES_MAX + 2];

    memset(longest, 'x', sizeof(longest));
    longest[ROW_SERIES_MAX] = '\0';
    const struct buffered_row made[] = {
        {.values = row, .series = "a'b",   .is_flagged = true   },
        {.values = row, .series = NULL,    .is_observed = true  },
        {.values = row, .series = longest, .incident = INT64_MAX},
    };
    assert_int_equal(row_buffer_store(buffer, made, 3), 0);
    assert_int_equal(ask(database,
                         "SELECT series = 'a''b' AND is_flagged AND NOT is_observed FROM rows"
                         " WHERE number = 1"),
                     1);
    assert_int_equal(ask(database,
                         "SELECT series IS NULL AND is_observed AND NOT is_flagged FROM rows"
                         " WHERE number = 2"),
                     1);
    assert_int_equal(ask(database, "SELECT length(series) FROM rows WHERE number = 3"),
                     ROW_SERIES_MAX);
}

static void rows_that_cannot_be_are_refused_and_none_is_stored(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    char too_long[ROW_SERIES_MAX + 2];

    memset(too_long, 'x', sizeof(too_long));
    too_long[ROW_SERIES_MAX + 1] = '\0';
    for (int i = 0; i < 6; i++) {
        (void)make_rows(2, ROW_TRAIN, 0);
        if (i == 0)
            rows[1].series = too_long;
        else if (i == 1)
            rows[1].role = N_ROW_ROLES;
        else if (i == 2)
            rows[1].time_us = UINT64_MAX;
        else if (i == 3)
            rows[1].incident = UINT64_MAX;
        else if (i == 4)
            rows[1].event = UINT64_MAX;
        else
            rows[1].values = NULL;
        assert_int_equal(row_buffer_store(buffer, rows, 2), -EINVAL);
    }
    assert_int_equal(row_buffer_counts(buffer).rows, 0);
    assert_int_equal(ask(database, "SELECT count(*) FROM rows"), 0);
    assert_int_equal(row_buffer_store(buffer, rows, 0), 0);
}

static void rows_of_another_width_are_refused(void **state)
{
    (void)state;
    struct row_buffer *buffer = open_buffer(1000);
    struct row_buffer *wider = NULL;

    store(buffer, ROW_TRAIN, 1);
    row_buffer_free(buffer);
    assert_int_equal(row_buffer_open(database, 1, N_FEATURES + 1, 1000, SEED, &wider), -EINVAL);
    assert_null(wider);
    assert_int_equal(row_buffer_open(database, 2, N_FEATURES + 1, 1000, SEED, &wider), 0);
    row_buffer_free(wider);

    /* one that only reading can find */
    struct row_block block = {0};
    buffer = open_buffer(1000);
    assert_int_equal(run_sql(database, "INSERT INTO rows (model, role, number, time_us, is_flagged,"
                                       " is_observed, incident, vector) "
                                       "VALUES (1, 0, 9, 0, 0, 0, 0, x'00')"),
                     0);
    assert_int_equal(row_buffer_read(buffer, ROW_TRAIN, SIZE_MAX, SIZE_MAX, &block), -EINVAL);
    assert_null(block.values);
    row_buffer_free(buffer);
}

static void a_deleted_model_takes_no_rows(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);

    store(buffer, ROW_TRAIN, 10);
    assert_int_equal(run_sql(database, "DELETE FROM models WHERE id = 1"), 0);
    assert_int_equal(row_buffer_store(buffer, make_rows(1, ROW_TRAIN, 0), 1), -ENOENT);
    assert_int_equal(ask(database, "SELECT count(*) FROM rows"), 0);
}

static void counts_survive_a_new_start(void **state)
{
    (void)state;
    struct row_buffer *buffer = open_buffer(400);

    store(buffer, ROW_TRAIN, 700);
    store(buffer, ROW_CALIBRATE, 150);
    store(buffer, ROW_GATE, 130);
    store(buffer, ROW_QUARANTINE, 40);
    store(buffer, ROW_CONFIRMED, 30);
    const struct row_counts before = row_buffer_counts(buffer);
    buffer = reopen(buffer, 400);
    const struct row_counts after = row_buffer_counts(buffer);
    assert_memory_equal(&after, &before, sizeof(after));
    assert_int_equal(after.rows, 400);
    assert_int_equal(after.stored, 980);
    assert_int_equal(after.of_role[ROW_QUARANTINE], 40);
    assert_int_equal(after.of_role[ROW_CONFIRMED], 30);
    assert_counts_hold(buffer);

    store(buffer, ROW_TRAIN, 1); /* numbers go on */
    CLEANUP(row_block_clear) struct row_block block = read_rows(buffer, ROW_TRAIN, 1, 0);
    assert_int_equal(block.numbers[0], 1051);
    row_buffer_free(buffer);
}

static void models_do_not_mix(void **state)
{
    (void)state;
    struct row_buffer *one = open_buffer(100), *two = NULL;

    assert_int_equal(row_buffer_open(database, 2, N_FEATURES, 100, SEED, &two), 0);
    store(one, ROW_TRAIN, 300);
    store(two, ROW_TRAIN, 60);
    assert_int_equal(count(one, ROW_TRAIN), 100);
    assert_int_equal(count(two, ROW_TRAIN), 60);
    assert_int_equal(row_buffer_forget(one), 0);
    assert_int_equal(ask(database, "SELECT count(*) FROM rows WHERE model = 2"), 60);
    CLEANUP(row_block_clear) struct row_block block = read_rows(two, ROW_TRAIN, SIZE_MAX, SIZE_MAX);
    assert_int_equal(block.n_rows, 60);
    assert_int_equal(block.numbers[0], 1);
    row_buffer_free(one);
    row_buffer_free(two);
}

static void many_buffers_share_a_transaction(void **state)
{
    (void)state;
    struct row_buffer *one = open_buffer(100), *two = NULL;
    const float row[N_FEATURES] = {1, 2, 3};
    const struct buffered_row good[] = {{.values = row}, {.values = row}};

    assert_int_equal(row_buffer_open(database, 2, N_FEATURES, 100, SEED, &two), 0);
    const struct row_batch batches[] = {
        {one, good, 2},
        {two, good, 1},
        {one, good, 1}
    };
    assert_int_equal(row_buffer_store_many(database, batches, 3), 0);
    assert_int_equal(count(one, ROW_TRAIN), 3);
    assert_int_equal(count(two, ROW_TRAIN), 1);

    /* all or nothing */
    assert_int_equal(run_sql(database, "DELETE FROM models WHERE id = 2"), 0);
    assert_int_equal(row_buffer_store_many(database, batches, 3), -ENOENT);
    assert_int_equal(count(one, ROW_TRAIN), 3);
    assert_counts_hold(one);
    store(one, ROW_TRAIN, 5);
    assert_int_equal(count(one, ROW_TRAIN), 8);
    assert_counts_hold(one);
    row_buffer_free(one);
    row_buffer_free(two);
}

/* ---- ring and reservoir ---- */

static void nothing_is_pushed_out_before_all_are_more_than_there_is_room(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(400);

    store(buffer, ROW_CALIBRATE, 380); /* far above its quarter */
    store(buffer, ROW_TRAIN, 20);
    assert_int_equal(row_buffer_counts(buffer).rows, 400);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 380);
    store(buffer, ROW_TRAIN, 1);
    assert_int_equal(row_buffer_counts(buffer).rows, 400);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 379); /* who holds most over its part */
    assert_counts_hold(buffer);
}

static void in_the_end_each_role_has_its_part(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(401);

    store(buffer, ROW_GATE, 401);
    for (int i = 0; i < 20; i++) {
        store(buffer, ROW_TRAIN, 37);
        store(buffer, ROW_CALIBRATE, 19);
        store(buffer, ROW_GATE, 18);
    }
    assert_int_equal(count(buffer, ROW_TRAIN), 201);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 100);
    assert_int_equal(count(buffer, ROW_GATE), 100);
    assert_counts_hold(buffer);
}

static void the_newest_half_of_a_part_is_always_there(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(400);

    store(buffer, ROW_TRAIN, 400);
    for (int i = 0; i < 30; i++) {
        store(buffer, ROW_TRAIN, 41);
        CLEANUP(row_block_clear) struct row_block ring = read_rows(buffer, ROW_TRAIN, SIZE_MAX, 0);
        const uint64_t newest = next_value;
        assert_int_equal(ring.n_rows, 100);
        for (size_t j = 0; j < 100; j++)
            assert_int_equal(ring.numbers[j], newest - 99 + j);
        CLEANUP(row_block_clear) struct row_block old = read_rows(buffer, ROW_TRAIN, 0, SIZE_MAX);
        assert_int_equal(old.n_rows, 300); /* nobody else wants the room */
        assert_true(old.numbers[old.n_rows - 1] < ring.numbers[0]);
    }
    assert_counts_hold(buffer);
}

static void the_reservoir_is_a_uniform_sample_of_all_that_left_the_ring(void **state)
{
    (void)state;
    enum {
        N_ROUNDS = 30,
        N_STORED = 2050,
        N_LEFT = 2000,
        N_KEPT = 150,
        N_BINS = 10
    };
    double kept[N_BINS] = {0};

    for (uint64_t seed = 0; seed < N_ROUNDS; seed++) {
        CLEANUP(row_buffer_freep) struct row_buffer *buffer = NULL;
        assert_int_equal(row_buffer_open(database, 1, N_FEATURES, 200, seed, &buffer), 0);
        assert_int_equal(row_buffer_forget(buffer), 0);
        const uint64_t before = next_value;
        store(buffer, ROW_TRAIN, N_STORED);
        CLEANUP(row_block_clear) struct row_block old = read_rows(buffer, ROW_TRAIN, 0, SIZE_MAX);
        assert_int_equal(old.n_rows, N_KEPT);
        for (size_t i = 0; i < old.n_rows; i++)
            kept[(old.numbers[i] - before - 1) * N_BINS / N_LEFT]++;
    }

    /* 450 expected a bin; chi-square with 9 degrees of freedom, P(> 27.9) = 0.001 */
    const double expected = (double)N_ROUNDS * N_KEPT / N_BINS;
    double distance = 0;
    for (int i = 0; i < N_BINS; i++)
        distance += (kept[i] - expected) * (kept[i] - expected) / expected;
    assert_true(distance < 27.9);
}

static void the_same_seed_keeps_the_same_rows_in_any_transactions(void **state)
{
    (void)state;
    struct row_block kept[3] = {{0}};
    const size_t batches[] = {100, 7, 33};

    for (size_t i = 0; i < 3; i++) {
        CLEANUP(row_buffer_freep) struct row_buffer *buffer = NULL;
        /* the third has another seed */
        assert_int_equal(row_buffer_open(database, 1, N_FEATURES, 100, SEED + i / 2, &buffer), 0);
        assert_int_equal(row_buffer_forget(buffer), 0);
        next_value = 0;
        store_in_batches(buffer, ROW_TRAIN, 500, batches[i], 0);
        if (i == 1)
            buffer = reopen(buffer, 100);
        store_in_batches(buffer, ROW_TRAIN, 500, batches[i], 0);
        kept[i] = read_rows(buffer, ROW_TRAIN, SIZE_MAX, SIZE_MAX);
        assert_int_equal(kept[i].n_rows, 100);
    }
    const size_t size = 100 * sizeof(*kept[0].times_us);
    assert_memory_equal(kept[0].times_us, kept[1].times_us, size);
    assert_memory_not_equal(kept[0].times_us, kept[2].times_us, size);
    for (size_t i = 0; i < 3; i++)
        row_block_clear(&kept[i]);
}

static void a_read_takes_no_more_than_asked(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(400);

    store(buffer, ROW_TRAIN, 600);
    CLEANUP(row_block_clear) struct row_block block = read_rows(buffer, ROW_TRAIN, 10, 20);
    assert_int_equal(block.n_rows, 30);
    for (size_t i = 20; i < 30; i++)
        assert_int_equal(block.numbers[i], 571 + i);
    assert_true(block.numbers[19] <= 500);
    CLEANUP(row_block_clear) struct row_block none = read_rows(buffer, ROW_TRAIN, 0, 0);
    assert_int_equal(none.n_rows, 0);
    assert_null(none.values);
    CLEANUP(row_block_clear)
    struct row_block empty = read_rows(buffer, ROW_GATE, SIZE_MAX, SIZE_MAX);
    assert_int_equal(empty.n_rows, 0);
}

static void older_rows_are_drawn_from_all_of_them(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(400);
    double sum = 0;
    size_t n = 0;

    store(buffer, ROW_TRAIN, 400); /* 300 of them are older */
    for (int i = 0; i < 50; i++) {
        CLEANUP(row_block_clear) struct row_block drawn = read_rows(buffer, ROW_TRAIN, 1, 20);
        assert_int_equal(drawn.n_rows, 21);
        for (size_t j = 0; j < 20; j++, n++)
            sum += (double)drawn.values[j * N_FEATURES];
        store(buffer, ROW_QUARANTINE, 1);
        assert_int_equal(row_buffer_forget(buffer), 0);
        next_value = 0;
        store(buffer, ROW_TRAIN, 400);
    }
    assert_true(fabs(sum / (double)n - 149.5) < 15); /* 5.5 standard errors of 1,000 draws */
}

static void a_smaller_capacity_pushes_out_at_the_next_store(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);

    store(buffer, ROW_TRAIN, 500);
    store(buffer, ROW_CALIBRATE, 250);
    store(buffer, ROW_GATE, 250);
    row_buffer_set_capacity(buffer, 101);
    assert_int_equal(row_buffer_counts(buffer).capacity, 101);
    assert_int_equal(row_buffer_counts(buffer).rows, 1000);
    store(buffer, ROW_TRAIN, 1);
    assert_int_equal(row_buffer_counts(buffer).rows, 101);
    assert_int_equal(count(buffer, ROW_TRAIN), 51);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 25);
    CLEANUP(row_block_clear) struct row_block ring = read_rows(buffer, ROW_TRAIN, SIZE_MAX, 0);
    assert_int_equal(ring.n_rows, 26);
    assert_int_equal(ring.numbers[25], 1001);
    assert_int_equal(ring.numbers[24], 500);
    assert_counts_hold(buffer);

    row_buffer_set_capacity(buffer, 500);
    store(buffer, ROW_TRAIN, 399);
    assert_int_equal(row_buffer_counts(buffer).rows, 500);
    store(buffer, ROW_TRAIN, 100);
    assert_int_equal(row_buffer_counts(buffer).rows, 500);
    assert_counts_hold(buffer);
}

static void any_capacity_works(void **state)
{
    (void)state;

    for (size_t capacity = 0; capacity < 12; capacity++) {
        CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(capacity);
        for (int i = 0; i < 5; i++) {
            store(buffer, ROW_GATE, 3);
            store(buffer, ROW_CALIBRATE, 2);
            store(buffer, ROW_TRAIN, 4);
        }
        assert_int_equal(row_buffer_counts(buffer).rows, capacity);
        assert_counts_hold(buffer);
    }
}

/* ---- incidents ---- */

static void quarantine_and_confirmed_keep_the_newest(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(100);

    store(buffer, ROW_CONFIRMED, 250);
    store(buffer, ROW_QUARANTINE, ROW_BUFFER_QUARANTINE + 50);
    assert_int_equal(count(buffer, ROW_CONFIRMED), ROW_BUFFER_CONFIRMED);
    assert_int_equal(count(buffer, ROW_QUARANTINE), ROW_BUFFER_QUARANTINE);
    store(buffer, ROW_ASIDE, ROW_BUFFER_ASIDE + 30);
    assert_int_equal(count(buffer, ROW_ASIDE), ROW_BUFFER_ASIDE);
    CLEANUP(row_block_clear)
    struct row_block confirmed = read_rows(buffer, ROW_CONFIRMED, SIZE_MAX, SIZE_MAX);
    assert_int_equal(confirmed.n_rows, ROW_BUFFER_CONFIRMED);
    assert_int_equal(confirmed.numbers[0], 51);
    CLEANUP(row_block_clear) struct row_block quarantine = read_rows(buffer, ROW_QUARANTINE, 5, 9);
    assert_int_equal(quarantine.n_rows, 5);
    assert_int_equal(quarantine.numbers[4], 250 + ROW_BUFFER_QUARANTINE + 50);
    assert_int_equal(row_buffer_counts(buffer).stored, 0);
    assert_counts_hold(buffer);
}

static void released_rows_are_learned_from(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    size_t n = 0;

    store_in_batches(buffer, ROW_QUARANTINE, 40, 10, 7);
    store_in_batches(buffer, ROW_QUARANTINE, 30, 10, 8);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);
    assert_int_equal(n, 40);
    assert_int_equal(count(buffer, ROW_TRAIN), 20);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 10);
    assert_int_equal(count(buffer, ROW_GATE), 10);
    assert_int_equal(count(buffer, ROW_QUARANTINE), 30);
    assert_int_equal(row_buffer_counts(buffer).stored, 40);
    assert_counts_hold(buffer);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(row_buffer_release(buffer, 0, &n), 0);
    assert_int_equal(n, 0);
    buffer = reopen(buffer, 1000);
    assert_int_equal(count(buffer, ROW_TRAIN), 20);
}

static void what_was_called_normal_last_is_found_again(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    uint64_t since = 99;
    size_t n;

    store(buffer, ROW_TRAIN, 20);
    store_in_batches(buffer, ROW_QUARANTINE, 40, 10, 7);
    store_in_batches(buffer, ROW_QUARANTINE, 30, 10, 8);
    assert_int_equal(row_buffer_approved_since(buffer, &since), 0);
    assert_int_equal(since, 0);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);
    assert_int_equal(row_buffer_approved_since(buffer, &since), 0);
    assert_int_equal(since, 21);
    assert_int_equal(row_buffer_release(buffer, 8, &n), 0);
    buffer = reopen(buffer, 1000);
    assert_int_equal(row_buffer_approved_since(buffer, &since), 0);
    assert_int_equal(since, 61);
    assert_int_equal(row_buffer_confirm(buffer, 8, &n), 0); /* no, it was not */
    assert_int_equal(row_buffer_approved_since(buffer, &since), 0);
    assert_int_equal(since, 21);
}

static void releasing_more_than_there_is_room_pushes_out(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(100);
    size_t n = 0;

    store(buffer, ROW_TRAIN, 100);
    store_in_batches(buffer, ROW_QUARANTINE, 400, 100, 7);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);
    assert_int_equal(n, 400);
    assert_int_equal(row_buffer_counts(buffer).rows, 100);
    assert_int_equal(count(buffer, ROW_TRAIN), 50);
    assert_int_equal(count(buffer, ROW_QUARANTINE), 0);
    assert_counts_hold(buffer);
}

static void confirmed_rows_leave_every_other_role(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(200);
    size_t n = 0;

    store_in_batches(buffer, ROW_CALIBRATE, 60, 10, 9); /* most of it in the reservoir */
    store_in_batches(buffer, ROW_CALIBRATE, 60, 10, 0);
    store_in_batches(buffer, ROW_QUARANTINE, 20, 10, 9);
    assert_int_equal(row_buffer_confirm(buffer, 9, &n), 0);
    assert_int_equal(n, 80);
    assert_int_equal(count(buffer, ROW_CALIBRATE), 60);
    assert_int_equal(count(buffer, ROW_QUARANTINE), 0);
    assert_int_equal(count(buffer, ROW_CONFIRMED), 80);
    assert_counts_hold(buffer);
    store(buffer, ROW_CALIBRATE, 500);
    assert_counts_hold(buffer);

    store_in_batches(buffer, ROW_QUARANTINE, 300, 100, 10);
    assert_int_equal(row_buffer_confirm(buffer, 10, &n), 0);
    assert_int_equal(n, 300);
    assert_int_equal(count(buffer, ROW_CONFIRMED), ROW_BUFFER_CONFIRMED);
    assert_counts_hold(buffer);
}

static void an_operator_may_change_their_mind(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(100);
    size_t n = 0;

    store_in_batches(buffer, ROW_QUARANTINE, 80, 80, 9);
    assert_int_equal(row_buffer_release(buffer, 9, &n), 0);
    assert_int_equal(row_buffer_confirm(buffer, 9, &n), 0);
    assert_int_equal(n, 80);
    assert_int_equal(count(buffer, ROW_CONFIRMED), 80);
    assert_int_equal(row_buffer_counts(buffer).rows, 0);
    assert_counts_hold(buffer);
    assert_int_equal(row_buffer_release(buffer, 9, &n), 0);
    assert_int_equal(n, 80);
    assert_int_equal(row_buffer_counts(buffer).rows, 80);
    assert_counts_hold(buffer);
}

/* ---- single verdicts ---- */

/* One row of each role with its event: 101 TRAIN, 102 CALIBRATE, … 106 ASIDE, and 50 others. */
static void store_one_of_each(struct row_buffer *buffer)
{
    store(buffer, ROW_TRAIN, 50);
    for (int role = 0; role < N_ROW_ROLES; role++) {
        (void)make_rows(1, (enum row_role)role, 0);
        rows[0].event = 101 + (uint64_t)role;
        rows[0].is_flagged = true;
        assert_int_equal(row_buffer_store(buffer, rows, 1), 0);
    }
}

static int64_t role_of(uint64_t event)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "SELECT role + 10 * is_approved FROM rows WHERE event = %d",
                   (int)event);
    return ask(database, sql);
}

static void a_verdict_called_normal_lets_its_row_train_or_leaves_it_calibrating(void **state)
{
    (void)state;
    static const int64_t after[N_ROW_ROLES] = {10 + ROW_TRAIN, 10 + ROW_CALIBRATE, 10 + ROW_GATE,
                                               10 + ROW_TRAIN, 10 + ROW_TRAIN,     10 + ROW_TRAIN};
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    size_t n = 0;

    store_one_of_each(buffer);
    for (uint64_t role = 0; role < N_ROW_ROLES; role++) {
        assert_int_equal(role_of(101 + role), role); /* not approved */
        assert_int_equal(row_buffer_release_row(buffer, 101 + role, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(role_of(101 + role), after[role]);
    }
    assert_int_equal(count(buffer, ROW_TRAIN), 54);
    assert_counts_hold(buffer);
}

static void a_verdict_called_anomaly_takes_its_row_out_wherever_it_is(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    size_t n = 0;

    store_one_of_each(buffer);
    for (uint64_t role = 0; role < N_ROW_ROLES; role++) {
        assert_int_equal(row_buffer_confirm_row(buffer, 101 + role, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(role_of(101 + role), ROW_CONFIRMED);
    }
    assert_int_equal(count(buffer, ROW_CALIBRATE), 0);
    assert_int_equal(count(buffer, ROW_TRAIN), 50);
    assert_int_equal(row_buffer_release_row(buffer, 102, &n), 0); /* a change of mind */
    assert_int_equal(role_of(102), 10 + ROW_TRAIN);
    assert_int_equal(row_buffer_confirm_row(buffer, 102, &n), 0);
    assert_int_equal(role_of(102), ROW_CONFIRMED);
    assert_counts_hold(buffer);
}

static void a_word_on_a_verdict_without_a_row_moves_nothing(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    size_t n = 9;

    store_one_of_each(buffer);
    store_in_batches(buffer, ROW_QUARANTINE, 5, 5, 102); /* an incident is no verdict */
    for (int i = 0; i < 3; i++) {
        const uint64_t event = (const uint64_t[]){0, 99, UINT64_MAX}[i];
        assert_int_equal(row_buffer_release_row(buffer, event, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(row_buffer_confirm_row(buffer, event, &n), 0);
        assert_int_equal(n, 0);
    }
    assert_int_equal(row_buffer_confirm_row(buffer, 102, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(count(buffer, ROW_QUARANTINE), 6);
    assert_counts_hold(buffer);
}

static void the_row_of_a_verdict_knows_its_incident(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    uint64_t incident = 9;

    store_one_of_each(buffer);
    (void)make_rows(1, ROW_QUARANTINE, 7);
    rows[0].event = 200;
    assert_int_equal(row_buffer_store(buffer, rows, 1), 0);
    assert_int_equal(row_buffer_incident(buffer, 300, &incident), -ENOENT);
    assert_int_equal(row_buffer_incident(buffer, 0, &incident), -ENOENT);
    assert_int_equal(incident, 9);
    assert_int_equal(row_buffer_incident(buffer, 101, &incident), 0);
    assert_int_equal(incident, 0);
    assert_int_equal(row_buffer_incident(buffer, 200, &incident), 0);
    assert_int_equal(incident, 7);
}

static void approval_is_stored_read_given_and_taken_away(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(1000);
    size_t n = 0;

    (void)make_rows(3, ROW_TRAIN, 0);
    rows[1].is_approved = true;
    assert_int_equal(row_buffer_store(buffer, rows, 3), 0);
    store_in_batches(buffer, ROW_QUARANTINE, 4, 4, 7);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);

    CLEANUP(row_block_clear)
    struct row_block block = read_rows(buffer, ROW_TRAIN, SIZE_MAX, SIZE_MAX);
    assert_int_equal(block.n_rows, 5);
    const bool approved[] = {false, true, false, true, true};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(block.is_approved[i], approved[i]);
    assert_int_equal(row_buffer_confirm(buffer, 7, &n), 0);
    assert_int_equal(ask(database, "SELECT sum(is_approved) FROM rows"), 1);
}

static void what_is_forgotten_is_gone_and_numbers_go_on(void **state)
{
    (void)state;
    struct row_buffer *buffer = open_buffer(100);

    store(buffer, ROW_TRAIN, 150);
    store(buffer, ROW_QUARANTINE, 10);
    assert_int_equal(row_buffer_forget(buffer), 0);
    assert_int_equal(row_buffer_counts(buffer).rows, 0);
    assert_int_equal(count(buffer, ROW_QUARANTINE), 0);
    assert_int_equal(row_buffer_counts(buffer).stored, 150);
    buffer = reopen(buffer, 100);
    store(buffer, ROW_TRAIN, 1);
    CLEANUP(row_block_clear)
    struct row_block block = read_rows(buffer, ROW_TRAIN, SIZE_MAX, SIZE_MAX);
    assert_int_equal(block.n_rows, 1);
    assert_int_equal(block.numbers[0], 161);
    assert_counts_hold(buffer);
    row_buffer_free(buffer);
}

static void any_order_of_all_of_it_keeps_the_counts(void **state)
{
    (void)state;
    struct row_buffer *buffer = open_buffer(150);
    uint64_t bits = 1;
    size_t n = 0;

    for (int i = 0; i < 600; i++) {
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        const unsigned what = (unsigned)(bits >> 60), size = 1 + (unsigned)(bits >> 40) % 60;
        const uint64_t incident = 1 + (bits >> 50) % 4;
        if (what < 10)
            store_in_batches(buffer, (enum row_role)(what % N_ROW_ROLES), size, size,
                             what < 5 ? incident : 0);
        else if (what < 12)
            assert_int_equal(row_buffer_release(buffer, incident, &n), 0);
        else if (what < 14)
            assert_int_equal(row_buffer_confirm(buffer, incident, &n), 0);
        else if (what == 14)
            row_buffer_set_capacity(buffer, 20 + 5 * size);
        else
            buffer = reopen(buffer, 150);
    }
    assert_counts_hold(buffer);
    row_buffer_free(buffer);
}

/* ---- what goes wrong ---- */

static void a_full_disk_stores_nothing_of_a_batch_and_changes_no_count(void **state)
{
    (void)state;
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(100000);
    struct sqlite3 *connection;
    int r = 0;

    assert_int_equal(database_write(database, &connection), 0);
    assert_int_equal(sqlite3_exec(connection, "PRAGMA max_page_count = 100", NULL, NULL, NULL), 0);
    assert_int_equal(database_end(database, 0), 0);
    size_t stored = 0;
    while ((r = row_buffer_store(buffer, make_rows(BATCH, ROW_TRAIN, 0), BATCH)) == 0)
        stored += BATCH;
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(row_buffer_counts(buffer).rows, stored);
    assert_counts_hold(buffer);

    assert_int_equal(row_buffer_forget(buffer), 0); /* makes room */
    store(buffer, ROW_TRAIN, BATCH);
    assert_int_equal(count(buffer, ROW_TRAIN), BATCH);
    assert_counts_hold(buffer);
}

static void failed_allocations_are_errors_and_nothing_is_lost(void **state)
{
    (void)state;
    struct row_buffer *buffer = NULL;
    struct row_block block = {0};
    size_t n = 99;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 20; nth++) {
        alloc_fail_in = nth;
        r = row_buffer_open(database, 1, N_FEATURES, 1000, SEED, &buffer);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    store_in_batches(buffer, ROW_QUARANTINE, 600, 100, 3);
    r = -ENOMEM;
    for (int nth = 0; r == -ENOMEM && nth < 20; nth++) {
        alloc_fail_in = nth;
        r = row_buffer_read(buffer, ROW_QUARANTINE, SIZE_MAX, SIZE_MAX, &block);
        alloc_fail_in = -1;
        assert_true(r == 0 || !block.values);
    }
    assert_int_equal(r, 0);
    assert_int_equal(block.n_rows, 600);
    row_block_clear(&block);
    r = -ENOMEM;
    for (int nth = 0; r == -ENOMEM && nth < 20; nth++) {
        alloc_fail_in = nth;
        r = row_buffer_release(buffer, 3, &n);
        alloc_fail_in = -1;
        assert_true(r == 0 || n == 99);
    }
    assert_int_equal(r, 0);
    assert_int_equal(n, 600);
    assert_counts_hold(buffer);
    row_buffer_free(buffer);
}

/* Writes the number of rows that are durable into the pipe, until it is killed. */
static void store_until_killed(int acknowledge)
{
    struct row_buffer *buffer = NULL;

    database = open_quietly();
    if (row_buffer_open(database, 1, N_FEATURES, 500, SEED, &buffer) < 0)
        _exit(1);
    for (;;) {
        if (row_buffer_store(buffer, make_rows(20, ROW_TRAIN, 0), 20) < 0)
            _exit(1);
        const uint64_t stored = row_buffer_counts(buffer).stored;
        if (write(acknowledge, &stored, sizeof(stored)) != sizeof(stored))
            _exit(1);
    }
}

static uint64_t kill_at_a_random_moment(int us)
{
    uint64_t stored = 0, acknowledged = 0;
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        store_until_killed(ends[1]);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &acknowledged, sizeof(acknowledged)), sizeof(acknowledged));
    const struct timespec moment = {.tv_nsec = us * 1000L};
    (void)ppoll(NULL, 0, &moment, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &stored, sizeof(stored)) == sizeof(stored))
        acknowledged = stored;
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return acknowledged;
}

static void every_acknowledged_row_is_there_after_kill_9(void **state)
{
    (void)state;
    unsigned moment = 1;

    for (int i = 0; i < 20; i++) {
        database_free(database);
        moment = moment * 1103515245U + 12345U;
        const uint64_t acknowledged = kill_at_a_random_moment((int)(moment >> 16) % 30000);
        database = open_quietly();
        assert_int_equal(database_check(database, NULL, NULL), 0);
        CLEANUP(row_buffer_freep) struct row_buffer *buffer = open_buffer(500);
        const struct row_counts counts = row_buffer_counts(buffer);
        /* the last batch may be durable though its answer was never sent */
        assert_true(counts.stored == acknowledged || counts.stored == acknowledged + 20);
        assert_int_equal(counts.rows, counts.stored < 500 ? counts.stored : 500);
        assert_counts_hold(buffer);
        CLEANUP(row_block_clear) struct row_block newest = read_rows(buffer, ROW_TRAIN, 50, 0);
        for (size_t j = 0; j < newest.n_rows; j++)
            assert_int_equal(newest.numbers[j], counts.stored - newest.n_rows + 1 + j);
    }
}

/* ---- threads ---- */

static struct row_buffer *shared;
static atomic_int n_failed;

static void *store_many(void *role)
{
    const float row[N_FEATURES] = {0};
    struct buffered_row made[10];

    for (size_t i = 0; i < 10; i++)
        made[i] = (struct buffered_row){.values = row, .role = *(enum row_role *)role};
    for (int i = 0; i < 30; i++)
        if (row_buffer_store(shared, made, 10) < 0)
            n_failed++;
    return NULL;
}

static void *read_many(void *role)
{
    for (int i = 0; i < 30; i++) {
        CLEANUP(row_block_clear) struct row_block block = {0};
        if (row_buffer_read(shared, *(enum row_role *)role, SIZE_MAX, SIZE_MAX, &block) < 0)
            n_failed++;
        if (row_buffer_counts(shared).rows > 400)
            n_failed++;
    }
    return NULL;
}

static void many_threads_store_and_read(void **state)
{
    (void)state;
    enum row_role roles[] = {ROW_TRAIN, ROW_CALIBRATE, ROW_TRAIN, ROW_CALIBRATE};
    void *(*const bodies[])(void *) = {store_many, store_many, read_many, read_many};
    pthread_t threads[4];

    shared = open_buffer(400);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &roles[i]), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(n_failed, 0);
    assert_int_equal(row_buffer_counts(shared).stored, 600);
    assert_counts_hold(shared);
    row_buffer_free(shared);
}

#define in_a_database(test) cmocka_unit_test_setup_teardown(test, open_database, close_database)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_database(rows_come_back_as_they_were_stored),
        in_a_database(series_and_marks_are_kept),
        in_a_database(rows_that_cannot_be_are_refused_and_none_is_stored),
        in_a_database(rows_of_another_width_are_refused),
        in_a_database(a_deleted_model_takes_no_rows),
        in_a_database(counts_survive_a_new_start),
        in_a_database(models_do_not_mix),
        in_a_database(many_buffers_share_a_transaction),
        in_a_database(nothing_is_pushed_out_before_all_are_more_than_there_is_room),
        in_a_database(in_the_end_each_role_has_its_part),
        in_a_database(the_newest_half_of_a_part_is_always_there),
        in_a_database(the_reservoir_is_a_uniform_sample_of_all_that_left_the_ring),
        in_a_database(the_same_seed_keeps_the_same_rows_in_any_transactions),
        in_a_database(a_read_takes_no_more_than_asked),
        in_a_database(older_rows_are_drawn_from_all_of_them),
        in_a_database(a_smaller_capacity_pushes_out_at_the_next_store),
        in_a_database(any_capacity_works),
        in_a_database(quarantine_and_confirmed_keep_the_newest),
        in_a_database(released_rows_are_learned_from),
        in_a_database(what_was_called_normal_last_is_found_again),
        in_a_database(releasing_more_than_there_is_room_pushes_out),
        in_a_database(confirmed_rows_leave_every_other_role),
        in_a_database(an_operator_may_change_their_mind),
        in_a_database(a_verdict_called_normal_lets_its_row_train_or_leaves_it_calibrating),
        in_a_database(a_verdict_called_anomaly_takes_its_row_out_wherever_it_is),
        in_a_database(a_word_on_a_verdict_without_a_row_moves_nothing),
        in_a_database(the_row_of_a_verdict_knows_its_incident),
        in_a_database(approval_is_stored_read_given_and_taken_away),
        in_a_database(what_is_forgotten_is_gone_and_numbers_go_on),
        in_a_database(any_order_of_all_of_it_keeps_the_counts),
        in_a_database(a_full_disk_stores_nothing_of_a_batch_and_changes_no_count),
        in_a_database(failed_allocations_are_errors_and_nothing_is_lost),
        in_a_database(every_acknowledged_row_is_there_after_kill_9),
        in_a_database(many_threads_store_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
