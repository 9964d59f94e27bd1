#include "store/row_buffer.h"

#include "store/database.h"
#include "store/query.h"
#include "store/row_places.h"
#include "store/row_read.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct row_buffer {
    struct database *database;
    int64_t model;
    size_t n_features;
    uint64_t seed;
    /* Both under the database's writing lock. A transaction works on next; places follows when it
     * is durable. */
    struct row_places places, next;
    bool is_changing;

    pthread_mutex_t lock; /* of those below: who asks for them does not wait for the disk */
    size_t capacity;
    struct row_counts counts;
};

static void publish(struct row_buffer *buffer, const struct row_places *places)
{
    struct row_counts counts = {.rows = row_places_rows(places), .stored = places->stored};

    for (int role = 0; role < N_ROW_ROLES; role++)
        counts.of_role[role] =
            places->in_ring[role] + (role < N_BUFFER_ROLES ? places->in_reservoir[role] : 0);
    (void)pthread_mutex_lock(&buffer->lock);
    buffer->counts = counts;
    (void)pthread_mutex_unlock(&buffer->lock);
}

struct row_counts row_buffer_counts(struct row_buffer *buffer)
{
    (void)pthread_mutex_lock(&buffer->lock);
    struct row_counts counts = buffer->counts;
    counts.capacity = buffer->capacity;
    (void)pthread_mutex_unlock(&buffer->lock);
    return counts;
}

void row_buffer_set_capacity(struct row_buffer *buffer, size_t capacity)
{
    (void)pthread_mutex_lock(&buffer->lock);
    buffer->capacity = capacity;
    (void)pthread_mutex_unlock(&buffer->lock);
}

/* ---- open ---- */

/* -EINVAL: the rows that are there have another width. */
static int check_width(struct row_buffer *buffer, struct sqlite3 *sqlite)
{
    struct sqlite3_stmt *statement =
        database_statement(buffer->database, sqlite,
                           "SELECT length(vector) FROM rows WHERE model = ? AND role >= 0 LIMIT 1");

    (void)sqlite3_bind_int64(statement, 1, buffer->model);
    const int r = database_step(statement);
    if (r <= 0)
        return r;
    const int64_t size = sqlite3_column_int64(statement, 0);
    (void)sqlite3_reset(statement);
    return (uint64_t)size == buffer->n_features * sizeof(float) ? 0 : -EINVAL;
}

int row_buffer_open(struct database *database, int64_t model, size_t n_features, size_t capacity,
                    uint64_t seed, struct row_buffer **ret_buffer)
{
    assert(database && n_features > 0 && ret_buffer);

    CLEANUP(row_buffer_freep) struct row_buffer *buffer = calloc(1, sizeof(*buffer));
    if (!buffer)
        return -ENOMEM;
    (void)pthread_mutex_init(&buffer->lock, NULL); /* cannot fail with default attributes */
    buffer->database = database;
    buffer->model = model;
    buffer->n_features = n_features;
    buffer->seed = seed;
    buffer->capacity = capacity;

    struct row_places *places = &buffer->places;
    *places = (struct row_places){.database = database, .model = model, .seed = seed};
    int r = database_read(database, &places->sqlite);
    if (r < 0)
        return r;
    r = row_places_load(places);
    if (r == 0)
        r = check_width(buffer, places->sqlite);
    database_read_end(database);
    if (r < 0)
        return r;
    publish(buffer, places);
    *ret_buffer = TAKE(buffer);
    return 0;
}

void row_buffer_free(struct row_buffer *buffer)
{
    if (!buffer)
        return;
    (void)pthread_mutex_destroy(&buffer->lock);
    free(buffer);
}

/* ---- transactions, under the writing lock ---- */

static struct row_places *begin_change(struct row_buffer *buffer, struct sqlite3 *sqlite)
{
    if (!buffer->is_changing) {
        buffer->is_changing = true;
        buffer->next = buffer->places;
        buffer->next.sqlite = sqlite;
        (void)pthread_mutex_lock(&buffer->lock);
        buffer->next.capacity = buffer->capacity;
        (void)pthread_mutex_unlock(&buffer->lock);
    }
    return &buffer->next;
}

/* r: how the transaction ended. */
static void end_change(struct row_buffer *buffer, int r)
{
    if (!buffer->is_changing)
        return;
    buffer->is_changing = false;
    if (r < 0)
        return;
    buffer->places = buffer->next;
    publish(buffer, &buffer->places);
}

/* ---- store ---- */

static bool is_valid(const struct buffered_row *row)
{
    return row->values && (unsigned)row->role < N_ROW_ROLES && row->time_us <= INT64_MAX &&
           row->incident <= INT64_MAX && row->event <= INT64_MAX &&
           (!row->series || strnlen(row->series, ROW_SERIES_MAX + 1) <= ROW_SERIES_MAX);
}

static int store_batch(const struct row_batch *batch, struct sqlite3 *sqlite)
{
    struct row_places *places = begin_change(batch->buffer, sqlite);
    int r = 0;

    for (size_t i = 0; r == 0 && i < batch->n_rows; i++)
        r = row_places_insert(places, &batch->rows[i], batch->buffer->n_features);
    return r < 0 ? r : row_places_save(places);
}

int row_buffer_store_many(struct database *database, const struct row_batch *batches,
                          size_t n_batches)
{
    struct sqlite3 *sqlite;

    for (size_t i = 0; i < n_batches; i++)
        for (size_t j = 0; j < batches[i].n_rows; j++)
            if (!is_valid(&batches[i].rows[j]))
                return -EINVAL;

    int r = database_write(database, &sqlite);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n_batches; i++)
        r = store_batch(&batches[i], sqlite);
    r = database_commit(database, r);
    for (size_t i = 0; i < n_batches; i++)
        end_change(batches[i].buffer, r);
    database_unlock(database);
    return r;
}

int row_buffer_store(struct row_buffer *buffer, const struct buffered_row *rows, size_t n_rows)
{
    const struct row_batch batch = {.buffer = buffer, .rows = rows, .n_rows = n_rows};

    return n_rows ? row_buffer_store_many(buffer->database, &batch, 1) : 0;
}

int row_buffer_read(struct row_buffer *buffer, enum row_role role, size_t newest, size_t older,
                    struct row_block *ret_block)
{
    struct row_reader reader = {.database = buffer->database,
                                .model = buffer->model,
                                .role = role,
                                .n_features = buffer->n_features,
                                .seed = buffer->seed};

    int r = database_scan(buffer->database, &reader.sqlite);
    if (r < 0)
        return r;
    r = row_read(&reader, newest, older, ret_block);
    database_scan_end(buffer->database);
    return r;
}

int row_buffer_approved_since(struct row_buffer *buffer, uint64_t *ret_number)
{
    CLEANUP(query_end)
    struct query query = query_begin_read(
        buffer->database,
        "SELECT min(number) FROM rows WHERE model = ?1 AND is_approved AND incident ="
        " (SELECT max(incident) FROM rows WHERE model = ?1 AND incident <> 0 AND is_approved)");

    query_bind_int(&query, buffer->model);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    *ret_number = query_uint(&query, 0);
    return 0;
}

/* ---- feedback ---- */

/* What a person said: of the rows that `mark` finds, those that `select` finds get another role. */
struct word {
    const char *mark, *select;
    const char *select_rest; /* afterwards these go to quarantine; NULL: none */
    uint64_t id;             /* of the incident or the verdict */
    bool is_normal;
};

static struct sqlite3_stmt *statement_about(struct row_buffer *buffer, struct sqlite3 *sqlite,
                                            const char *sql, const struct word *word)
{
    struct sqlite3_stmt *statement = database_statement(buffer->database, sqlite, sql);

    (void)sqlite3_bind_int64(statement, 1, buffer->model);
    (void)sqlite3_bind_int64(statement, 2, word->id <= INT64_MAX ? (int64_t)word->id : -1);
    return statement;
}

static int mark_all(struct row_buffer *buffer, struct sqlite3 *sqlite, const struct word *word,
                    size_t *ret_n)
{
    struct sqlite3_stmt *statement = statement_about(buffer, sqlite, word->mark, word);

    (void)sqlite3_bind_int(statement, 3, word->is_normal);
    const int r = database_run(statement);
    if (r == 0)
        *ret_n = (size_t)sqlite3_changes(sqlite);
    return r;
}

static int move_rest(struct row_buffer *buffer, struct sqlite3 *sqlite, const struct word *word,
                     struct row_places *places)
{
    CLEANUP(row_ids_clear) struct row_ids list = {0};

    int r = row_ids_collect(&list, statement_about(buffer, sqlite, word->select_rest, word));
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = row_places_move(places, list.ids[i], ROW_QUARANTINE);
    return r;
}

static int move_all(struct row_buffer *buffer, struct sqlite3 *sqlite, const struct word *word,
                    size_t *ret_n)
{
    static const enum row_role by_turns[] = {ROW_TRAIN, ROW_CALIBRATE, ROW_TRAIN, ROW_GATE};
    CLEANUP(row_ids_clear) struct row_ids list = {0};

    int r = row_ids_collect(&list, statement_about(buffer, sqlite, word->select, word));
    struct row_places *places = begin_change(buffer, sqlite);
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = row_places_move(places, list.ids[i], word->is_normal ? by_turns[i % 4] : ROW_CONFIRMED);
    if (r == 0 && word->select_rest)
        r = move_rest(buffer, sqlite, word, places);
    if (r == 0)
        r = row_places_save(places);
    if (r == 0)
        *ret_n = list.n;
    return r;
}

static int obey(struct row_buffer *buffer, const struct word *word, size_t *ret_n_marked,
                size_t *ret_n_moved)
{
    struct sqlite3 *sqlite;
    size_t n_marked = 0, n_moved = 0;

    int r = database_write(buffer->database, &sqlite);
    if (r < 0)
        return r;
    r = mark_all(buffer, sqlite, word, &n_marked);
    if (r == 0)
        r = move_all(buffer, sqlite, word, &n_moved);
    r = database_commit(buffer->database, r);
    end_change(buffer, r);
    database_unlock(buffer->database);
    if (r < 0)
        return r;
    *ret_n_marked = n_marked;
    *ret_n_moved = n_moved;
    return 0;
}

#define OF_INCIDENT "WHERE model = ?1 AND incident = ?2 AND incident <> 0"
#define OF_EVENT    "WHERE model = ?1 AND event = ?2 AND event <> 0"
#define MARK        "UPDATE rows SET is_approved = ?3 "
#define SELECT_IDS  "SELECT id FROM rows "
static_assert(ROW_QUARANTINE == 3 && ROW_CONFIRMED == 4 && ROW_ASIDE == 5, "as in the statements");

int row_buffer_release(struct row_buffer *buffer, uint64_t incident, size_t *ret_n)
{
    const struct word word = {.mark = MARK OF_INCIDENT,
                              .select = SELECT_IDS OF_INCIDENT " AND role >= 3 ORDER BY id",
                              .id = incident,
                              .is_normal = true};
    size_t n_marked;

    return obey(buffer, &word, &n_marked, ret_n);
}

int row_buffer_confirm(struct row_buffer *buffer, uint64_t incident, size_t *ret_n)
{
    const struct word word = {.mark = MARK OF_INCIDENT,
                              .select = SELECT_IDS OF_INCIDENT
                              " AND role <> 4 AND (is_flagged OR NOT EXISTS"
                              " (SELECT 1 FROM rows " OF_INCIDENT " AND is_flagged)) ORDER BY id",
                              .select_rest = SELECT_IDS OF_INCIDENT " AND role < 3 ORDER BY id",
                              .id = incident};
    size_t n_marked;

    return obey(buffer, &word, &n_marked, ret_n);
}

int row_buffer_release_row(struct row_buffer *buffer, uint64_t event, size_t *ret_n)
{
    const struct word word = {.mark = MARK OF_EVENT,
                              .select = SELECT_IDS OF_EVENT " AND role >= 3",
                              .id = event,
                              .is_normal = true};
    size_t n_moved;

    return obey(buffer, &word, ret_n, &n_moved);
}

int row_buffer_confirm_row(struct row_buffer *buffer, uint64_t event, size_t *ret_n)
{
    const struct word word = {
        .mark = MARK OF_EVENT, .select = SELECT_IDS OF_EVENT " AND role <> 4", .id = event};
    size_t n_moved;

    return obey(buffer, &word, ret_n, &n_moved);
}

int row_buffer_incident(struct row_buffer *buffer, uint64_t event, uint64_t *ret_incident)
{
    CLEANUP(query_end)
    struct query query = query_begin_read(buffer->database, "SELECT incident FROM rows " OF_EVENT);

    query_bind_int(&query, buffer->model);
    query_bind_int(&query, event <= INT64_MAX ? (int64_t)event : -1);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret_incident = query_uint(&query, 0);
    return 0;
}

int row_buffer_approve(struct row_buffer *buffer)
{
    CLEANUP(query_end)
    struct query query = query_begin_write(
        buffer->database, "UPDATE rows SET is_approved = 1 WHERE model = ? AND role < 3");

    query_bind_int(&query, buffer->model);
    query_run(&query);
    return query_commit(&query);
}

int row_buffer_forget(struct row_buffer *buffer)
{
    struct sqlite3 *sqlite;

    int r = database_write(buffer->database, &sqlite);
    if (r < 0)
        return r;
    struct row_places *places = begin_change(buffer, sqlite);
    r = row_places_clear(places);
    if (r == 0)
        r = row_places_save(places);
    r = database_commit(buffer->database, r);
    end_change(buffer, r);
    database_unlock(buffer->database);
    return r;
}
