#include "store/series_log.h"

#include "store/database.h"
#include "store/query.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>

void logged_series_clear(struct logged_series *series)
{
    free(series->state);
    free(series->movement);
    *series = (struct logged_series){0};
}

static int put(struct database *database, struct sqlite3 *connection, int64_t model,
               const struct logged_series *series)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "INSERT INTO series (model, name, seen_us, is_watched, is_silent, state, movement) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, name) DO UPDATE SET "
        "seen_us = excluded.seen_us, is_watched = excluded.is_watched, "
        "is_silent = excluded.is_silent, "
        "state = excluded.state, movement = excluded.movement");
    query_bind_int(&query, model);
    query_bind_text(&query, series->series);
    query_bind_uint(&query, series->seen_us);
    query_bind_int(&query, series->is_watched);
    query_bind_int(&query, series->is_silent);
    query_bind_blob(&query, series->state, series->n_state);
    query_bind_blob(&query, series->movement, series->n_movement);
    return query_run(&query);
}

static int drop_oldest(struct database *database, struct sqlite3 *connection, int64_t model,
                       size_t most)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "DELETE FROM series WHERE model = ?1 AND name IN (SELECT name FROM series "
                    "WHERE model = ?1 ORDER BY seen_us DESC LIMIT -1 OFFSET ?2)");
    query_bind_int(&query, model);
    query_bind_uint(&query, most);
    return query_run(&query);
}

int series_log_put(struct database *database, int64_t model, const struct logged_series *series,
                   size_t n, size_t most)
{
    assert(database && (series || n == 0));
    struct sqlite3 *connection;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = put(database, connection, model, &series[i]);
    if (r == 0)
        r = drop_oldest(database, connection, model, most);
    return database_end(database, r);
}

static void read_series(struct query *query, void *item)
{
    struct logged_series *series = item;

    query_copy_text(query, 0, series->series, sizeof(series->series));
    series->seen_us = query_uint(query, 1);
    series->is_watched = query_int(query, 2) != 0;
    series->is_silent = query_int(query, 3) != 0;
    series->state = query_dup_blob(query, 4, &series->n_state);
    series->movement = query_dup_blob(query, 5, &series->n_movement);
}

static void clear_series(void *item)
{
    logged_series_clear(item);
}

int series_log_read(struct database *database, int64_t model, struct logged_series **ret_series,
                    size_t *ret_n)
{
    assert(database && ret_series && ret_n);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database, "SELECT name, seen_us, is_watched, is_silent, state, movement FROM series "
                  "WHERE model = ? ORDER BY seen_us, name");
    query_bind_int(&query, model);
    return query_list(&query, sizeof(**ret_series), read_series, clear_series, ret_series, ret_n);
}
