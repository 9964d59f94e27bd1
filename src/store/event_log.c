#include "store/event_log.h"

#include "store/database.h"
#include "store/query.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#define VERDICT         "verdict"
#define MODEL_NAME_SIZE 65

/* Each has its own limit, so that many verdicts push out no incident. */
enum event_group {
    OTHERS,
    VERDICTS,
    N_GROUPS
};

/* More ids than a process could give out and lose, so that feedback never names another event than
 * the one whose id it got from a process that died before it could store it. */
#define IDS_SKIPPED_AT_START 1000000

void logged_event_clear(struct logged_event *event)
{
    free(event->series);
    free(event->detail);
    free(event->advice);
    free(event->reason);
    free(event->label_who);
    *event = (struct logged_event){0};
}

void audited_act_clear(struct audited_act *act)
{
    free(act->model);
    free(act->who);
    free(act->act);
    free(act->detail);
    *act = (struct audited_act){0};
}

static int64_t at_most(size_t most, int64_t limit)
{
    return most < (size_t)limit ? (int64_t)most : limit;
}

/* A person may ask for any id; above INT64_MAX no event has it. */
static int64_t key_of(uint64_t id)
{
    return id <= INT64_MAX ? (int64_t)id : -1;
}

/* Of a list that goes on below this id, or begins with the newest. */
static int64_t below(uint64_t before)
{
    return before == 0 || before > INT64_MAX ? INT64_MAX : (int64_t)before;
}

static enum event_group group_of(const struct logged_event *event)
{
    return strcmp(event->kind, VERDICT) == 0 ? VERDICTS : OTHERS;
}

/* ---- events: writing ---- */

static int skip_ids(struct database *database, struct sqlite3 *connection, uint64_t *ret_id)
{
    CLEANUP(query_end)
    struct query skip =
        query_begin(database, connection,
                    "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events' RETURNING seq");
    query_bind_int(&skip, IDS_SKIPPED_AT_START);
    const int r = query_step(&skip);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_id = query_uint(&skip, 0);
        return query_step(&skip); /* to its end, else it could not be committed */
    }

    CLEANUP(query_end)
    struct query first = query_begin(
        database, connection, "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', 0)");
    *ret_id = 0;
    return query_run(&first);
}

int event_log_last_id(struct database *database, uint64_t *ret_id)
{
    assert(database && ret_id);
    struct sqlite3 *connection;
    uint64_t id = 0;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    r = database_end(database, skip_ids(database, connection, &id));
    if (r < 0)
        return r;
    *ret_id = id;
    return 0;
}

/* What update and insert have in common, in the order of their parameters. */
static void bind_event(struct query *query, int64_t model, const struct logged_event *event)
{
    query_bind_uint(query, event->id);
    query_bind_int(query, model);
    query_bind_uint(query, event->time_us);
    query_bind_text(query, event->kind);
    query_bind_text(query, event->series);
    query_bind_uint(query, event->first_row);
    query_bind_uint(query, event->last_row);
    query_bind_text(query, event->detail);
    query_bind_text(query, event->advice);
    query_bind_int(query, event->is_open);
    query_bind_uint(query, event->incident);
    query_bind_int(query, event->opened_by);
    query_bind_text(query, event->reason);
}

/* Adds 1 to n_added of its group if it was not there. */
static int put_event(struct database *database, struct sqlite3 *connection, int64_t model,
                     const struct logged_event *event, int64_t n_added[N_GROUPS])
{
    CLEANUP(query_end)
    struct query update = query_begin(
        database, connection,
        "UPDATE events SET ended_us = iif(?10, 0, ?3), kind = ?4, series = ?5, first_row = ?6, "
        "last_row = ?7, detail = ?8, advice = coalesce(?9, advice), is_open = ?10, incident = ?11, "
        "opened_by = ?12, reason = coalesce(?13, reason) "
        "WHERE id = ?1 AND model = ?2 "
        "AND (kind = 'verdict') = (?4 = 'verdict')"); /* each group has its own count */
    bind_event(&update, model, event);
    int r = query_change(&update);
    if (r != -ENOENT)
        return r;

    CLEANUP(query_end)
    struct query insert = query_begin(
        database, connection,
        "INSERT INTO events (id, model, time_us, kind, series, first_row, last_row, detail, "
        "advice, is_open, incident, opened_by, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING");
    bind_event(&insert, model, event);
    r = query_insert(&insert);
    if (r == 0)
        n_added[group_of(event)]++;
    return r;
}

/* Brings the counts of the model up to date; how many are over the limits now. */
static int count_events(struct database *database, struct sqlite3 *connection, int64_t model,
                        const int64_t n_added[N_GROUPS], int64_t ret_n_over[N_GROUPS])
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "UPDATE models SET n_events = n_events + ?, n_verdicts = n_verdicts + ? WHERE id = ? "
        "RETURNING n_events, n_verdicts");
    query_bind_int(&query, n_added[OTHERS]);
    query_bind_int(&query, n_added[VERDICTS]);
    query_bind_int(&query, model);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    ret_n_over[OTHERS] = query_int(&query, 0) - EVENT_LOG_MOST_EVENTS;
    ret_n_over[VERDICTS] = query_int(&query, 1) - EVENT_LOG_MOST_VERDICTS;
    return query_step(&query); /* to its end, else it could not be committed */
}

static int delete_oldest(struct database *database, struct sqlite3 *connection, int64_t model,
                         enum event_group group, int64_t n)
{
    static const char *const sql[N_GROUPS] = {
        [OTHERS] = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE model = ? AND "
                   "kind <> 'verdict' ORDER BY id LIMIT ?)",
        [VERDICTS] = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE model = ? AND "
                     "kind = 'verdict' ORDER BY id LIMIT ?)",
    };
    CLEANUP(query_end)
    struct query query = query_begin(database, connection, sql[group]);
    query_bind_int(&query, model);
    query_bind_int(&query, n);
    return query_run(&query);
}

int event_log_put_in(struct database *database, struct sqlite3 *connection, int64_t model,
                     const struct logged_event *events, size_t n_events)
{
    int64_t n_added[N_GROUPS] = {0}, n_over[N_GROUPS], n_removed[N_GROUPS] = {0};

    for (size_t i = 0; i < n_events; i++) {
        const int r = put_event(database, connection, model, &events[i], n_added);
        if (r < 0)
            return r;
    }
    int r = count_events(database, connection, model, n_added, n_over);
    for (enum event_group group = 0; r == 0 && group < N_GROUPS; group++) {
        if (n_over[group] <= 0)
            continue;
        n_removed[group] = -n_over[group];
        r = delete_oldest(database, connection, model, group, n_over[group]);
    }
    return r < 0 ? r : count_events(database, connection, model, n_removed, n_over);
}

int event_log_put(struct database *database, int64_t model, const struct logged_event *events,
                  size_t n_events)
{
    assert(database && (events || n_events == 0));
    struct sqlite3 *connection;
    const int r = database_write(database, &connection);

    return r < 0 ? r
                 : database_end(database,
                                event_log_put_in(database, connection, model, events, n_events));
}

int event_log_label(struct database *database, int64_t model, uint64_t id, const char *label,
                    const char *who, uint64_t now_us)
{
    assert(database && label && strlen(label) < sizeof(((struct logged_event *)0)->label) && who);
    CLEANUP(query_end)
    struct query query =
        query_begin_write(database, "UPDATE events SET label = ?, label_who = ?, label_us = ? "
                                    "WHERE id = ? AND model = ?");
    query_bind_text(&query, label);
    query_bind_text(&query, who);
    query_bind_uint(&query, now_us);
    query_bind_int(&query, key_of(id));
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

int event_log_close(struct database *database, int64_t model, const char *why, uint64_t now_us)
{
    assert(database && why);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "UPDATE events SET is_open = 0, ended_us = ?3, detail = "
                  "iif(json_valid(detail), json_set(detail, '$.closed_by', ?2), "
                  "json_object('closed_by', ?2)) WHERE is_open = 1 AND (?1 = 0 OR model = ?1)");
    query_bind_int(&query, model);
    query_bind_text(&query, why);
    query_bind_uint(&query, now_us);
    query_run(&query);
    return query_commit(&query);
}

/* ---- events: reading ---- */

#define SELECT_EVENTS                                                                         \
    "SELECT id, time_us, kind, series, first_row, last_row, detail, advice, is_open, label, " \
    "label_who, label_us, incident, ended_us, opened_by, reason FROM events "

static void read_event(struct query *query, void *item)
{
    struct logged_event *event = item;

    event->id = query_uint(query, 0);
    event->time_us = query_uint(query, 1);
    query_copy_text(query, 2, event->kind, sizeof(event->kind));
    event->series = query_dup_text(query, 3);
    event->first_row = query_uint(query, 4);
    event->last_row = query_uint(query, 5);
    event->detail = query_dup_text(query, 6);
    event->advice = query_dup_text(query, 7);
    event->is_open = query_int(query, 8) != 0;
    query_copy_text(query, 9, event->label, sizeof(event->label));
    event->label_who = query_dup_text(query, 10);
    event->label_us = query_uint(query, 11);
    event->incident = query_uint(query, 12);
    event->ended_us = query_uint(query, 13);
    event->opened_by = (unsigned)query_int(query, 14);
    event->reason = query_dup_text(query, 15);
}

static void clear_event(void *item)
{
    logged_event_clear(item);
}

int event_log_get(struct database *database, int64_t model, uint64_t id,
                  struct logged_event *ret_event)
{
    assert(database && ret_event);
    CLEANUP(query_end)
    struct query query = query_begin_read(database, SELECT_EVENTS "WHERE id = ? AND model = ?");
    query_bind_int(&query, key_of(id));
    query_bind_int(&query, model);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;

    CLEANUP(logged_event_clear) struct logged_event event = {0};
    read_event(&query, &event);
    if (query.r < 0)
        return query.r;
    *ret_event = event;
    event.series = event.detail = event.advice = event.reason = event.label_who = NULL;
    return 0;
}

int event_log_list(struct database *database, int64_t model, const char *kind, uint64_t before,
                   size_t most, struct logged_event **ret_events, size_t *ret_n_events)
{
    assert(database && ret_events && ret_n_events);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database, kind ? SELECT_EVENTS "WHERE model = ? AND id < ? AND kind = ? "
                                       "ORDER BY id DESC LIMIT ?"
                       : SELECT_EVENTS "WHERE model = ? AND id < ? AND kind <> 'verdict' "
                                       "ORDER BY id DESC LIMIT ?");
    query_bind_int(&query, model);
    query_bind_int(&query, below(before));
    if (kind)
        query_bind_text(&query, kind);
    query_bind_int(&query, at_most(most, EVENT_LOG_MOST_VERDICTS));
    return query_list(&query, sizeof(**ret_events), read_event, clear_event, ret_events,
                      ret_n_events);
}

int event_log_after(struct database *database, const struct event_filter *filter, size_t most,
                    int (*take)(void *userdata, const char *model,
                                const struct logged_event *event),
                    void *userdata)
{
    assert(database && filter && take);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database,
        "SELECT id, time_us, kind, series, first_row, last_row, detail, advice, is_open, label, "
        "label_who, label_us, incident, ended_us, opened_by, reason, "
        "(SELECT name FROM models WHERE models.id = events.model) FROM events "
        "WHERE id > ?1 AND kind <> 'verdict' AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR "
        "model = (SELECT id FROM models WHERE name = ?3)) ORDER BY id LIMIT ?4");
    query_bind_int(&query, filter->after <= INT64_MAX ? (int64_t)filter->after : INT64_MAX);
    query_bind_text(&query, filter->kind);
    query_bind_text(&query, filter->model);
    query_bind_int(&query, at_most(most, EVENT_LOG_MOST_EVENTS));
    int r;

    while ((r = query_step(&query)) > 0) {
        CLEANUP(logged_event_clear) struct logged_event event = {0};
        char model[MODEL_NAME_SIZE];
        read_event(&query, &event);
        query_copy_text(&query, 16, model, sizeof(model));
        r = query.r < 0 ? query.r : take(userdata, model, &event);
        if (r < 0)
            break;
    }
    return r;
}

int event_log_incidents(struct database *database, int64_t model,
                        const struct incident_filter *filter, size_t most,
                        struct logged_event **ret_events, size_t *ret_n_events)
{
    assert(database && filter && ret_events && ret_n_events);
    CLEANUP(query_end)
    struct query query = query_begin_read(
        database, SELECT_EVENTS
        "WHERE model = ?1 AND kind = 'incident' AND id < ?2 AND (?3 < 0 OR is_open = ?3) "
        "AND (?4 = 0 OR (opened_by >= ?4 AND opened_by < 2 * ?4)) "
        "AND (?5 IS NULL OR series = ?5) AND (is_open = 1 OR ended_us >= ?6) "
        "AND (?7 = 0 OR time_us < ?7) ORDER BY id DESC LIMIT ?8");
    query_bind_int(&query, model);
    query_bind_int(&query, below(filter->before));
    query_bind_int(&query, filter->is_open);
    query_bind_int(&query, filter->opened_by);
    query_bind_text(&query, filter->series);
    query_bind_uint(&query, filter->since_us);
    query_bind_uint(&query, filter->until_us);
    query_bind_int(&query, at_most(most, EVENT_LOG_MOST_EVENTS));
    return query_list(&query, sizeof(**ret_events), read_event, clear_event, ret_events,
                      ret_n_events);
}

static void read_id(struct query *query, void *item)
{
    *(uint64_t *)item = query_uint(query, 0);
}

static void keep_id(void *item)
{
    (void)item; /* holds nothing */
}

int event_log_verdicts_of(struct database *database, int64_t model, uint64_t incident, size_t most,
                          uint64_t **ret_ids, size_t *ret_n)
{
    assert(database && ret_ids && ret_n);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, "SELECT id FROM events WHERE model = ? AND kind = 'verdict' "
                                   "AND incident = ? ORDER BY id LIMIT ?");
    query_bind_int(&query, model);
    query_bind_int(&query, key_of(incident));
    query_bind_int(&query, at_most(most, EVENT_LOG_MOST_VERDICTS));
    return query_list(&query, sizeof(**ret_ids), read_id, keep_id, ret_ids, ret_n);
}

/* ---- audit ---- */

static int add_act(struct database *database, struct sqlite3 *connection, const char *model,
                   const char *who, const char *act, const char *detail, uint64_t now_us,
                   int64_t *ret_id)
{
    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection,
                    "INSERT INTO audit (time_us, model, who, act, detail) VALUES (?, ?, ?, ?, ?)");
    query_bind_uint(&query, now_us);
    query_bind_text(&query, model);
    query_bind_text(&query, who);
    query_bind_text(&query, act);
    query_bind_text(&query, detail);
    const int r = query_run(&query);
    *ret_id = sqlite3_last_insert_rowid(connection);
    return r;
}

/* The ids are without gaps. */
static int trim_acts(struct database *database, struct sqlite3 *connection, int64_t last_id)
{
    CLEANUP(query_end)
    struct query query = query_begin(database, connection, "DELETE FROM audit WHERE id <= ?");
    query_bind_int(&query, last_id - EVENT_LOG_MOST_AUDIT);
    return query_run(&query);
}

int event_log_audit(struct database *database, const char *model, const char *who, const char *act,
                    const char *detail, uint64_t now_us)
{
    assert(database && model && who && act);
    struct sqlite3 *connection;
    int64_t id = 0;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    r = add_act(database, connection, model, who, act, detail, now_us, &id);
    if (r == 0)
        r = trim_acts(database, connection, id);
    return database_end(database, r);
}

static void read_act(struct query *query, void *item)
{
    struct audited_act *act = item;

    act->time_us = query_uint(query, 0);
    act->model = query_dup_text(query, 1);
    act->who = query_dup_text(query, 2);
    act->act = query_dup_text(query, 3);
    act->detail = query_dup_text(query, 4);
}

static void clear_act(void *item)
{
    audited_act_clear(item);
}

int event_log_acts(struct database *database, const char *model, size_t most,
                   struct audited_act **ret_acts, size_t *ret_n_acts)
{
    assert(database && ret_acts && ret_n_acts);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, "SELECT time_us, model, who, act, detail FROM audit "
                                   "WHERE ?1 IS NULL OR model = ?1 ORDER BY id DESC LIMIT ?2");
    query_bind_text(&query, model);
    query_bind_int(&query, at_most(most, EVENT_LOG_MOST_AUDIT));
    return query_list(&query, sizeof(**ret_acts), read_act, clear_act, ret_acts, ret_n_acts);
}
