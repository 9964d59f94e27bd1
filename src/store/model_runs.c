/* The runs of model_log.h. */
#include "store/database.h"
#include "store/model_log.h"
#include "store/query.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const char *run_state_name(enum run_state state)
{
    static const char *const names[N_RUN_STATES] = {
        [RUN_QUEUED] = "queued",   [RUN_RUNNING] = "running", [RUN_PROMOTED] = "promoted",
        [RUN_REFUSED] = "refused", [RUN_FAILED] = "failed",   [RUN_CANCELLED] = "cancelled",
    };

    assert(state < N_RUN_STATES);
    return names[state];
}

void logged_run_clear(struct logged_run *run)
{
    free(run->reason);
    free(run->comparison);
    *run = (struct logged_run){0};
}

/* ---- reading ---- */

#define SELECT_RUNS                                                               \
    "SELECT id, state, cause, queued_us, started_us, ended_us, version, reason, " \
    "comparison, stored FROM runs "

static void read_run(struct query *query, void *item)
{
    struct logged_run *run = item;

    run->id = query_int(query, 0);
    const int64_t state = query_int(query, 1);
    if (state < 0 || state >= N_RUN_STATES) {
        query->r = -EUCLEAN;
        return;
    }
    run->state = (enum run_state)state;
    query_copy_text(query, 2, run->trigger, sizeof(run->trigger));
    run->queued_us = query_uint(query, 3);
    run->started_us = query_uint(query, 4);
    run->ended_us = query_uint(query, 5);
    run->version = (unsigned)query_int(query, 6);
    run->reason = query_dup_text(query, 7);
    run->comparison = query_dup_text(query, 8);
    run->stored = query_uint(query, 9);
}

static void clear_run(void *item)
{
    logged_run_clear(item);
}

/* What the query finds. */
static int find_run(struct query *query, struct logged_run *ret_run)
{
    const int r = query_step(query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;

    CLEANUP(logged_run_clear) struct logged_run found = {0};
    read_run(query, &found);
    if (query->r < 0)
        return query->r;
    *ret_run = found;
    found.reason = found.comparison = NULL;
    return 0;
}

int model_log_run(struct database *database, int64_t model, int64_t run, struct logged_run *ret_run)
{
    assert(database && ret_run);
    CLEANUP(query_end)
    struct query query = query_begin_read(database, SELECT_RUNS "WHERE id = ? AND model = ?");
    query_bind_int(&query, run);
    query_bind_int(&query, model);
    return find_run(&query, ret_run);
}

int model_log_last_run(struct database *database, int64_t model, struct logged_run *ret_run)
{
    assert(database && ret_run);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, SELECT_RUNS "WHERE model = ? AND started_us > 0 "
                                               "ORDER BY id DESC LIMIT 1");
    query_bind_int(&query, model);
    return find_run(&query, ret_run);
}

int model_log_runs(struct database *database, int64_t model, size_t most,
                   struct logged_run **ret_runs, size_t *ret_n_runs)
{
    assert(database && ret_runs && ret_n_runs);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, SELECT_RUNS "WHERE model = ? ORDER BY id DESC LIMIT ?");
    query_bind_int(&query, model);
    query_bind_uint(&query, most < MODEL_LOG_MOST_RUNS ? most : MODEL_LOG_MOST_RUNS);
    return query_list(&query, sizeof(**ret_runs), read_run, clear_run, ret_runs, ret_n_runs);
}

/* ---- writing ---- */

static int insert_run(struct database *database, struct sqlite3 *connection, int64_t model,
                      const char *trigger, uint64_t now_us, int64_t *ret_run)
{
    CLEANUP(query_end)
    struct query query = query_begin(database, connection,
                                     "INSERT INTO runs (model, state, cause, queued_us) "
                                     "SELECT id, ?, ?, ? FROM models WHERE id = ? RETURNING id");
    query_bind_int(&query, RUN_QUEUED);
    query_bind_text(&query, trigger);
    query_bind_uint(&query, now_us);
    query_bind_int(&query, model);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret_run = query_int(&query, 0);
    return query_step(&query); /* to its end, else it could not be committed */
}

/* What made a version that is still there is kept as long as the version. */
static int trim_runs(struct database *database, struct sqlite3 *connection, int64_t model)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "DELETE FROM runs WHERE model = ?1 AND state NOT IN (?2, ?3) AND id <= "
                    "(SELECT id FROM runs WHERE model = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?4) "
                    "AND id NOT IN (SELECT run FROM versions WHERE model = ?1)");
    query_bind_int(&query, model);
    query_bind_int(&query, RUN_QUEUED);
    query_bind_int(&query, RUN_RUNNING);
    query_bind_int(&query, MODEL_LOG_MOST_RUNS);
    return query_run(&query);
}

int model_log_add_run(struct database *database, int64_t model, const char *trigger,
                      uint64_t now_us, int64_t *ret_run)
{
    assert(database && trigger && strlen(trigger) < sizeof(((struct logged_run *)0)->trigger));
    assert(ret_run);
    struct sqlite3 *connection;
    int64_t run = 0;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    r = insert_run(database, connection, model, trigger, now_us, &run);
    if (r == 0)
        r = trim_runs(database, connection, model);
    r = database_end(database, r);
    if (r < 0)
        return r;
    *ret_run = run;
    return 0;
}

int model_log_update_run(struct database *database, int64_t model, const struct logged_run *run)
{
    assert(database && run && run->state < N_RUN_STATES);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "UPDATE runs SET state = ?, queued_us = ?, started_us = ?, ended_us = ?, "
                  "version = ?, reason = ?, comparison = ?, stored = ? "
                  "WHERE id = ? AND model = ?");
    query_bind_int(&query, run->state);
    query_bind_uint(&query, run->queued_us);
    query_bind_uint(&query, run->started_us);
    query_bind_uint(&query, run->ended_us);
    query_bind_uint(&query, run->version);
    query_bind_text(&query, run->reason);
    query_bind_text(&query, run->comparison);
    query_bind_uint(&query, run->stored);
    query_bind_int(&query, run->id);
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

int model_log_end_runs(struct database *database, uint64_t now_us)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "UPDATE runs SET state = ?, ended_us = ?, reason = 'the daemon ended' "
                  "WHERE state IN (?, ?)");
    query_bind_int(&query, RUN_FAILED);
    query_bind_uint(&query, now_us);
    query_bind_int(&query, RUN_QUEUED);
    query_bind_int(&query, RUN_RUNNING);
    query_run(&query);
    return query_commit(&query);
}
