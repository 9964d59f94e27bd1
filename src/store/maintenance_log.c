#include "store/maintenance_log.h"

#include "store/database.h"
#include "store/query.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>

static int drop_ended(struct database *database, struct sqlite3 *connection, int64_t model,
                      uint64_t now_us)
{
    CLEANUP(query_end)
    struct query query = query_begin(database, connection,
                                     "DELETE FROM maintenance WHERE model = ? AND until_us <= ?");
    query_bind_int(&query, model);
    query_bind_uint(&query, now_us);
    return query_run(&query);
}

static int add(struct database *database, struct sqlite3 *connection, int64_t model,
               const struct maintenance_window *window)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "INSERT INTO maintenance (model, from_us, until_us, skips_alarms, "
                    "skips_learning, who) SELECT ?1, ?2, ?3, ?4, ?5, ?6 "
                    "WHERE (SELECT count(*) FROM maintenance WHERE model = ?1) < ?7");
    query_bind_int(&query, model);
    query_bind_uint(&query, window->from_us);
    query_bind_uint(&query, window->until_us);
    query_bind_int(&query, window->skips_alarms);
    query_bind_int(&query, window->skips_learning);
    query_bind_text(&query, window->who);
    query_bind_int(&query, MAINTENANCE_LOG_MOST);
    const int r = query_change(&query);
    return r == -ENOENT ? -E2BIG : r;
}

int maintenance_log_add(struct database *database, int64_t model,
                        const struct maintenance_window *window, uint64_t now_us, int64_t *ret_id)
{
    assert(database && window && window->from_us < window->until_us && ret_id);
    struct sqlite3 *connection;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    r = drop_ended(database, connection, model, now_us);
    if (r == 0)
        r = add(database, connection, model, window);
    const int64_t id = sqlite3_last_insert_rowid(connection);
    r = database_end(database, r);
    if (r == 0)
        *ret_id = id;
    return r;
}

int maintenance_log_remove(struct database *database, int64_t model, int64_t id)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "DELETE FROM maintenance WHERE model = ?1 AND (?2 = 0 OR id = ?2)");
    query_bind_int(&query, model);
    query_bind_int(&query, id);
    query_change(&query);
    return query_commit(&query);
}

static void read_window(struct query *query, void *item)
{
    struct maintenance_window *window = item;

    window->id = query_int(query, 0);
    window->from_us = query_uint(query, 1);
    window->until_us = query_uint(query, 2);
    window->skips_alarms = query_int(query, 3) != 0;
    window->skips_learning = query_int(query, 4) != 0;
    query_copy_text(query, 5, window->who, sizeof(window->who));
}

static void clear_window(void *item)
{
    (void)item; /* holds nothing */
}

int maintenance_log_list(struct database *database, int64_t model,
                         struct maintenance_window **ret_windows, size_t *ret_n)
{
    assert(database && ret_windows && ret_n);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database, "SELECT id, from_us, until_us, skips_alarms, skips_learning, who "
                  "FROM maintenance WHERE model = ? ORDER BY from_us, id");
    query_bind_int(&query, model);
    return query_list(&query, sizeof(**ret_windows), read_window, clear_window, ret_windows, ret_n);
}
