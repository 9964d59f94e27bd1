#include "store/event_log.h"

#include "store/model_log.h"
#include "support/cmocka.h"
#include "support/database_folder.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int64_t make_model(const char *name)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    assert_int_equal(model_log_open(database, name, "[]", "f", &model), 0);
    return model.id;
}

static struct logged_event an_event(uint64_t id, const char *kind)
{
    struct logged_event event = {.id = id, .time_us = 1000 + id};

    assert_true(strlen(kind) < sizeof(event.kind));
    (void)strcpy(event.kind, kind);
    return event;
}

static int put(int64_t model, uint64_t id, const char *kind)
{
    const struct logged_event event = an_event(id, kind);

    return event_log_put(database, model, &event, 1);
}

/* Events of one kind, ids first, first + 1, … */
static void put_many(int64_t model, uint64_t first, size_t n, const char *kind)
{
    AUTO_FREE struct logged_event *events = calloc(n, sizeof(*events));

    assert_non_null(events);
    for (size_t i = 0; i < n; i++)
        events[i] = an_event(first + i, kind);
    assert_int_equal(event_log_put(database, model, events, n), 0);
}

static int look(int64_t model, uint64_t id)
{
    CLEANUP(logged_event_clear) struct logged_event event = {0};

    return event_log_get(database, model, id, &event);
}

/* The ids that event_log_list() gives, newest first, with 0 behind them. */
static void assert_lists(int64_t model, const char *kind, uint64_t before, size_t most,
                         const uint64_t *ids)
{
    struct logged_event *events = NULL;
    size_t n_events = 42, n = 0;

    assert_int_equal(event_log_list(database, model, kind, before, most, &events, &n_events), 0);
    for (; ids[n] != 0; n++) {
        assert_true(n < n_events);
        assert_int_equal(events[n].id, ids[n]);
    }
    assert_int_equal(n_events, n);
    for (size_t i = 0; i < n_events; i++)
        logged_event_clear(&events[i]);
    free(events);
}
#define IDS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* ---- events ---- */

static void an_event_is_kept_whole(void **state)
{
    (void)state;
    static char series[] = "höst-1'; --", detail[] = "{\"a\": \"it's\\n\"}",
                advice[] = "look\nµ \"";
    const int64_t web = make_model("web");
    const struct logged_event event = {.id = 7,
                                       .time_us = 1700000000000001,
                                       .kind = "regime_change_012345678",
                                       .series = series,
                                       .first_row = 3000000000,
                                       .last_row = 3000000001,
                                       .detail = detail,
                                       .advice = advice,
                                       .is_open = true,
                                       .incident = 3000000002};

    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    reopen_database();
    CLEANUP(logged_event_clear) struct logged_event found = {0};
    assert_int_equal(event_log_get(database, web, 7, &found), 0);
    assert_int_equal(found.id, 7);
    assert_int_equal(found.time_us, event.time_us);
    assert_string_equal(found.kind, event.kind);
    assert_string_equal(found.series, series);
    assert_int_equal(found.first_row, 3000000000);
    assert_int_equal(found.last_row, 3000000001);
    assert_string_equal(found.detail, detail);
    assert_string_equal(found.advice, advice);
    assert_true(found.is_open);
    assert_int_equal(found.incident, 3000000002);
    assert_string_equal(found.label, "");
    assert_null(found.label_who);
    assert_int_equal(found.label_us, 0);
}

static void an_event_without_texts_has_none(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    CLEANUP(logged_event_clear) struct logged_event found = {0};

    assert_int_equal(put(web, 1, "drift"), 0);
    assert_int_equal(event_log_get(database, web, 1, &found), 0);
    assert_null(found.series);
    assert_null(found.detail);
    assert_null(found.advice);
    assert_false(found.is_open);
}

static void the_default_series_is_not_none(void **state)
{
    (void)state;
    static char empty[] = "";
    const int64_t web = make_model("web");
    struct logged_event event = an_event(1, "incident");
    CLEANUP(logged_event_clear) struct logged_event found = {0};

    event.series = empty;
    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    assert_int_equal(event_log_get(database, web, 1, &found), 0);
    assert_non_null(found.series);
    assert_string_equal(found.series, "");
}

static void the_same_id_replaces_and_keeps_the_feedback(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct logged_event event = an_event(1, "incident");

    event.is_open = true;
    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    assert_int_equal(event_log_label(database, web, 1, "normal", "eve", 5), 0);
    event.is_open = false;
    event.last_row = 99;
    assert_int_equal(event_log_put(database, web, &event, 1), 0);

    CLEANUP(logged_event_clear) struct logged_event found = {0};
    assert_int_equal(event_log_get(database, web, 1, &found), 0);
    assert_false(found.is_open);
    assert_int_equal(found.last_row, 99);
    assert_string_equal(found.label, "normal");
    assert_lists(web, NULL, 0, 10, IDS(1));
}

static void events_are_stored_all_or_none(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");
    struct logged_event events[] = {an_event(1, "drift"), an_event(2, "excess"),
                                    an_event(3, "drift")};

    assert_int_equal(put(mail, 2, "drift"), 0);
    assert_int_equal(event_log_put(database, web, events, 3), -EEXIST); /* 2 is mail's */
    assert_lists(web, NULL, 0, 10, IDS(0));
    events[1].id = 4;
    events[2].id = (uint64_t)INT64_MAX + 1;
    assert_int_equal(event_log_put(database, web, events, 3), -ERANGE);
    assert_lists(web, NULL, 0, 10, IDS(0));
    assert_int_equal(event_log_put(database, web, events, 2), 0);
    assert_lists(web, NULL, 0, 10, IDS(4, 1));
    assert_int_equal(event_log_put(database, web, NULL, 0), 0);
    assert_int_equal(put(web + 100, 5, "drift"), -ENOENT);
}

static void a_verdict_stays_a_verdict(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(put(web, 1, "verdict"), 0);
    assert_int_equal(put(web, 1, "incident"), -EEXIST);
    assert_int_equal(put(web, 2, "incident"), 0);
    assert_int_equal(put(web, 2, "regime_change"), 0);
    assert_int_equal(put(web, 2, "verdict"), -EEXIST);
}

static void an_event_of_another_model_is_not_found(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");
    struct logged_event found = {.id = 42};

    assert_int_equal(put(web, 1, "drift"), 0);
    assert_int_equal(event_log_get(database, mail, 1, &found), -ENOENT);
    assert_int_equal(event_log_get(database, web, 2, &found), -ENOENT);
    assert_int_equal(event_log_get(database, web, UINT64_MAX, &found), -ENOENT);
    assert_int_equal(found.id, 42);
}

static void events_are_listed_the_newest_first(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");
    static const char *const kinds[] = {"drift", "verdict", "incident", "verdict", "drift"};

    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(put(web, i + 1, kinds[i]), 0);
    assert_int_equal(put(mail, 6, "drift"), 0);
    assert_lists(web, NULL, 0, 10, IDS(5, 3, 1)); /* no verdicts */
    assert_lists(web, "verdict", 0, 10, IDS(4, 2));
    assert_lists(web, "drift", 0, 10, IDS(5, 1));
    assert_lists(web, "refused", 0, 10, IDS(0));
    assert_lists(web, NULL, 0, 2, IDS(5, 3));
    assert_lists(web, NULL, 3, 10, IDS(1));
    assert_lists(web, NULL, UINT64_MAX, SIZE_MAX, IDS(5, 3, 1));
    assert_lists(web, "verdict", 4, SIZE_MAX, IDS(2));
    assert_lists(web, "drift", 0, 0, IDS(0));
}

/* ---- incidents ---- */

/* Three that began at 1001, 1002, 1003 and one that goes on. */
static int64_t put_incidents(void)
{
    static char a[] = "a", b[] = "b", reason[] = "disk_io 91.2 (expected 12.4)";
    const int64_t web = make_model("web");
    const unsigned opened_by[] = {EVENT_BY_SOFT, EVENT_BY_SOFT | EVENT_BY_HARD,
                                  EVENT_BY_ALARM | EVENT_BY_HARD, EVENT_BY_ALARM};

    for (uint64_t id = 1; id <= 4; id++) {
        struct logged_event event = an_event(id, "incident");
        event.series = id % 2 ? a : b;
        event.reason = reason;
        event.opened_by = opened_by[id - 1];
        event.is_open = true;
        assert_int_equal(event_log_put(database, web, &event, 1), 0);
        event.time_us = 2000 + id;
        event.reason = NULL;
        event.is_open = false;
        if (id < 4)
            assert_int_equal(event_log_put(database, web, &event, 1), 0);
    }
    assert_int_equal(put(web, 5, "drift"), 0);
    return web;
}

/* The ids that a filter lets through, newest first, as digits. */
static const char *incidents(int64_t web, struct incident_filter filter)
{
    static char ids[16];
    struct logged_event *events = NULL;
    size_t n = 0;

    assert_int_equal(event_log_incidents(database, web, &filter, 10, &events, &n), 0);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (char)('0' + events[i].id);
        logged_event_clear(&events[i]);
    }
    ids[n] = '\0';
    free(events);
    return ids;
}

static void incidents_are_filtered(void **state)
{
    (void)state;
    const int64_t web = put_incidents();

    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .before = 0}),
                        "4321");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .before = 4}),
                        "321");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = 1}), "4");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = 0}), "321");
    assert_string_equal(
        incidents(web, (struct incident_filter){.is_open = -1, .opened_by = EVENT_BY_ALARM}), "43");
    assert_string_equal(
        incidents(web, (struct incident_filter){.is_open = -1, .opened_by = EVENT_BY_HARD}), "2");
    assert_string_equal(
        incidents(web, (struct incident_filter){.is_open = -1, .opened_by = EVENT_BY_SOFT}), "1");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .series = "a"}),
                        "31");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .series = ""}), "");
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .since_us = 2002}),
                        "432"); /* went on then */
    assert_string_equal(incidents(web, (struct incident_filter){.is_open = -1, .until_us = 1003}),
                        "21");
    assert_string_equal(
        incidents(web, (struct incident_filter){.is_open = -1, .since_us = 2003, .until_us = 1004}),
        "3");
}

static void an_incident_keeps_its_reason(void **state)
{
    (void)state;
    CLEANUP(logged_event_clear) struct logged_event found = {0};

    assert_int_equal(event_log_get(database, put_incidents(), 3, &found), 0);
    assert_string_equal(found.reason, "disk_io 91.2 (expected 12.4)");
    assert_int_equal(found.opened_by, EVENT_BY_ALARM | EVENT_BY_HARD);
}

static void the_verdicts_of_an_incident_are_found(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    AUTO_FREE uint64_t *ids = NULL;
    size_t n = 0;

    for (uint64_t id = 1; id <= 4; id++) {
        struct logged_event event = an_event(id, id == 3 ? "regime_change" : "verdict");
        event.incident = id == 2 ? 8 : 9;
        assert_int_equal(event_log_put(database, web, &event, 1), 0);
    }
    assert_int_equal(event_log_verdicts_of(database, web, 9, 10, &ids, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 4);
}

/* ---- limits ---- */

static void the_clock_has_no_say_in_the_order(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const uint64_t times[] = {5000, 1, INT64_MAX, 4000};

    for (uint64_t id = 1; id <= 4; id++) {
        struct logged_event event = an_event(id, "drift");
        event.time_us = times[id - 1];
        assert_int_equal(event_log_put(database, web, &event, 1), 0);
    }
    assert_lists(web, NULL, 0, 100, IDS(4, 3, 2, 1));
}

/* ---- incidents that nobody watches any more ---- */

static void put_open(int64_t model, uint64_t id, char *detail)
{
    struct logged_event event = an_event(id, "incident");

    event.is_open = true;
    event.detail = detail;
    assert_int_equal(event_log_put(database, model, &event, 1), 0);
}

static void assert_closed(int64_t model, uint64_t id, const char *detail)
{
    CLEANUP(logged_event_clear) struct logged_event found = {0};

    assert_int_equal(event_log_get(database, model, id, &found), 0);
    assert_false(found.is_open);
    assert_true(found.ended_us == 0 || (found.ended_us >= 77 && found.ended_us <= 78));
    assert_string_equal(found.detail, detail);
}

static void an_incident_that_is_over_keeps_when_it_began_and_its_advice(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    CLEANUP(logged_event_clear) struct logged_event open = {0}, over = {0};
    static char advice[] = "tell by feedback";

    struct logged_event event = an_event(1, "incident");
    event.is_open = true;
    event.time_us = 5000;
    event.advice = advice;
    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    event.time_us = 6000; /* it has hardened */
    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    assert_int_equal(event_log_get(database, web, 1, &open), 0);
    assert_int_equal(open.time_us, 5000);
    assert_int_equal(open.ended_us, 0);
    event.time_us = 9000;
    event.is_open = false;
    event.advice = NULL;
    assert_int_equal(event_log_put(database, web, &event, 1), 0);
    assert_int_equal(event_log_get(database, web, 1, &over), 0);
    assert_int_equal(over.time_us, 5000);
    assert_int_equal(over.ended_us, 9000);
    assert_string_equal(over.advice, "tell by feedback");
}

static void open_incidents_are_closed_with_the_reason(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");
    static char detail[] = "{\"rows\":7}", no_json[] = "{\"rows\":";
    CLEANUP(logged_event_clear) struct logged_event other = {0};

    put_open(web, 1, detail);
    put_open(web, 2, no_json);
    put_open(web, 3, NULL);
    put_open(mail, 4, detail);
    struct logged_event closed = an_event(5, "incident");
    closed.detail = detail;
    assert_int_equal(event_log_put(database, web, &closed, 1), 0);

    assert_int_equal(event_log_close(database, web, "reset", 77), 0);
    assert_closed(web, 1, "{\"rows\":7,\"closed_by\":\"reset\"}");
    assert_closed(web, 2, "{\"closed_by\":\"reset\"}");
    assert_closed(web, 3, "{\"closed_by\":\"reset\"}");
    assert_closed(web, 5, "{\"rows\":7}");
    assert_int_equal(event_log_get(database, mail, 4, &other), 0);
    assert_true(other.is_open);
    reopen_database();
    assert_int_equal(event_log_close(database, 0, "restart", 78), 0);
    assert_closed(mail, 4, "{\"rows\":7,\"closed_by\":\"restart\"}");
    assert_closed(web, 1, "{\"rows\":7,\"closed_by\":\"reset\"}");
}

static void the_oldest_events_go(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const int64_t mail = make_model("mail");

    assert_int_equal(put(web, 1, "verdict"), 0);
    assert_int_equal(put(mail, 2, "drift"), 0);
    put_many(web, 3, EVENT_LOG_MOST_EVENTS, "drift");
    assert_int_equal(look(web, 3), 0);
    put_many(web, 3, 1, "excess"); /* replaced: no new one */
    assert_int_equal(look(web, 3), 0);
    put_many(web, 20000, 3, "incident");
    assert_int_equal(look(web, 5), -ENOENT);
    assert_int_equal(look(web, 6), 0);
    assert_int_equal(look(web, 1), 0); /* verdicts have a limit of their own */
    assert_int_equal(look(mail, 2), 0);
    reopen_database();
    assert_int_equal(put(web, 30000, "drift"), 0);
    assert_int_equal(look(web, 6), -ENOENT);
    assert_int_equal(look(web, 7), 0);
    assert_int_equal(count("SELECT count(*) FROM events"), EVENT_LOG_MOST_EVENTS + 2);
}

static void the_oldest_verdicts_go(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(put(web, 1, "incident"), 0);
    put_many(web, 2, EVENT_LOG_MOST_VERDICTS, "verdict");
    assert_int_equal(look(web, 2), 0);
    put_many(web, 200000, 10, "verdict");
    assert_int_equal(look(web, 11), -ENOENT);
    assert_int_equal(look(web, 12), 0);
    assert_int_equal(look(web, 1), 0);
    assert_int_equal(count("SELECT count(*) FROM events"), EVENT_LOG_MOST_VERDICTS + 1);
}

static void more_than_the_limit_at_once_leaves_the_newest(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    put_many(web, 1, EVENT_LOG_MOST_EVENTS + 5, "drift");
    assert_int_equal(look(web, 5), -ENOENT);
    assert_int_equal(look(web, 6), 0);
    assert_int_equal(count("SELECT count(*) FROM events"), EVENT_LOG_MOST_EVENTS);
}

/* What came and went is counted, so that nothing has to be. */
static void limits_do_not_scan(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct sqlite3 *connection;

    put_many(web, 1, EVENT_LOG_MOST_EVENTS, "drift");
    assert_int_equal(put(web, 20000, "drift"), 0); /* all is prepared */
    assert_int_equal(database_write(database, &connection), 0);
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(connection, s));) {
        (void)sqlite3_stmt_status(s, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1);
        (void)sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    assert_int_equal(database_end(database, 0), 0);
    assert_int_equal(put(web, 20001, "drift"), 0);
    assert_int_equal(event_log_audit(database, "", "eve", "freeze", NULL, 1), 0);

    int scanned = 0, steps = 0;
    assert_int_equal(database_write(database, &connection), 0);
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(connection, s));) {
        scanned += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0);
        steps += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0);
    }
    assert_int_equal(database_end(database, 0), 0);
    assert_in_range(scanned, 0, 2); /* the one model, at most */
    assert_in_range(steps, 1, 1000);
}

/* ---- ids ---- */

static uint64_t last_id(void)
{
    uint64_t id = 42;

    assert_int_equal(event_log_last_id(database, &id), 0);
    return id;
}

static void ids_begin_at_one(void **state)
{
    (void)state;
    assert_int_equal(last_id(), 0);
}

static void an_id_is_never_given_twice(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const uint64_t first = last_id();

    assert_int_equal(put(web, first + 8, "drift"), 0);
    reopen_database();
    const uint64_t second = last_id();
    assert_true(second > first + 8 + 100000); /* some that were given out may not be stored */
    assert_true(second < first + 8 + 10000000);
    reopen_database();
    const uint64_t third = last_id(); /* nothing was stored in between */
    assert_true(third > second + 100000);
    assert_int_equal(put(web, third + 1, "drift"), 0);
    assert_int_equal(model_log_delete(database, web), 0);
    reopen_database();
    assert_true(last_id() > third + 1 + 100000);
}

/* ---- feedback ---- */

static void feedback_is_remembered_beside_the_event(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(put(web, 1, "verdict"), 0);
    assert_int_equal(put(web, 2, "verdict"), 0);
    assert_int_equal(event_log_label(database, web, 1, "normal", "eve", 5), 0);
    assert_int_equal(event_log_label(database, web, 1, "anomaly", "o'neil\n\"µ\"", 6), 0);
    reopen_database();
    CLEANUP(logged_event_clear) struct logged_event found = {0};
    assert_int_equal(event_log_get(database, web, 1, &found), 0);
    assert_string_equal(found.label, "anomaly"); /* the last */
    assert_string_equal(found.label_who, "o'neil\n\"µ\"");
    assert_int_equal(found.label_us, 6);
    logged_event_clear(&found);
    assert_int_equal(event_log_get(database, web, 2, &found), 0);
    assert_string_equal(found.label, "");
}

static void feedback_on_an_unknown_event_is_refused(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    assert_int_equal(put(web, 1, "verdict"), 0);
    assert_int_equal(event_log_label(database, web, 2, "normal", "eve", 5), -ENOENT);
    assert_int_equal(event_log_label(database, web, UINT64_MAX, "normal", "eve", 5), -ENOENT);
    assert_int_equal(event_log_label(database, make_model("mail"), 1, "normal", "eve", 5), -ENOENT);
    assert_int_equal(count("SELECT count(*) FROM events WHERE label <> ''"), 0);
}

/* ---- audit ---- */

static void clear_acts(struct audited_act *acts, size_t n_acts)
{
    for (size_t i = 0; i < n_acts; i++)
        audited_act_clear(&acts[i]);
    free(acts);
}

static void acts_are_audited(void **state)
{
    (void)state;
    struct audited_act *acts = NULL;
    size_t n_acts = 42;

    assert_int_equal(event_log_acts(database, NULL, 10, &acts, &n_acts), 0);
    assert_int_equal(n_acts, 0);
    assert_int_equal(event_log_audit(database, "", "eve", "backup", NULL, 5), 0);
    assert_int_equal(
        event_log_audit(database, "web", "o'neil\n\"µ\"", "promote", "{\"version\": 3}", 6), 0);
    reopen_database();
    assert_int_equal(event_log_acts(database, NULL, SIZE_MAX, &acts, &n_acts), 0);
    assert_int_equal(n_acts, 2);
    assert_int_equal(acts[0].time_us, 6);
    assert_string_equal(acts[0].model, "web");
    assert_string_equal(acts[0].who, "o'neil\n\"µ\"");
    assert_string_equal(acts[0].act, "promote");
    assert_string_equal(acts[0].detail, "{\"version\": 3}");
    assert_string_equal(acts[1].model, "");
    assert_null(acts[1].detail);
    clear_acts(acts, n_acts);
    assert_int_equal(event_log_acts(database, NULL, 1, &acts, &n_acts), 0);
    assert_int_equal(n_acts, 1);
    assert_string_equal(acts[0].act, "promote");
    clear_acts(acts, n_acts);
}

static void acts_are_listed_by_model(void **state)
{
    (void)state;
    struct audited_act *acts = NULL;
    size_t n_acts = 42;

    assert_int_equal(event_log_audit(database, "web", "eve", "freeze", NULL, 5), 0);
    assert_int_equal(event_log_audit(database, "db", "bob", "reset", NULL, 6), 0);
    assert_int_equal(event_log_audit(database, "web", "eve", "unfreeze", NULL, 7), 0);
    assert_int_equal(event_log_acts(database, "web", 10, &acts, &n_acts), 0);
    assert_int_equal(n_acts, 2);
    assert_string_equal(acts[0].act, "unfreeze");
    assert_string_equal(acts[1].act, "freeze");
    clear_acts(acts, n_acts);
    assert_int_equal(event_log_acts(database, "we", 10, &acts, &n_acts), 0);
    assert_int_equal(n_acts, 0);
}

static void acts_outlive_their_model(void **state)
{
    (void)state;
    assert_int_equal(event_log_audit(database, "web", "eve", "delete", NULL, 1), 0);
    assert_int_equal(model_log_delete(database, make_model("web")), 0);
    assert_int_equal(count("SELECT count(*) FROM audit"), 1);
}

static void the_oldest_acts_go(void **state)
{
    (void)state;
    execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO audit (time_us, model, who, act) SELECT i, '', 'eve', 'freeze' FROM n");
    assert_int_equal(EVENT_LOG_MOST_AUDIT, 100000);
    assert_int_equal(event_log_audit(database, "", "eve", "freeze", NULL, 100001), 0);
    assert_int_equal(event_log_audit(database, "", "eve", "freeze", NULL, 100002), 0);
    assert_int_equal(count("SELECT count(*) FROM audit"), EVENT_LOG_MOST_AUDIT);
    assert_int_equal(count("SELECT min(time_us) FROM audit"), 3);
    assert_int_equal(count("SELECT max(time_us) FROM audit"), 100002);
}

/* ---- the world ---- */

#define PER_THREAD 200

struct writer {
    int64_t model;
    uint64_t first;
};

static void *write_events(void *argument)
{
    const struct writer *writer = argument;

    for (uint64_t i = 0; i < PER_THREAD; i++) {
        const struct logged_event event = {.id = writer->first + i, .kind = "drift"};
        struct logged_event found = {0};
        if (event_log_put(database, writer->model, &event, 1) < 0 ||
            event_log_get(database, writer->model, event.id, &found) < 0 ||
            event_log_label(database, writer->model, event.id, "normal", "eve", 1) < 0 ||
            event_log_audit(database, "web", "eve", "feedback", NULL, 1) < 0)
            return NULL;
        logged_event_clear(&found);
    }
    return argument;
}

static void two_threads_share_one_log(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct writer writers[2] = {
        {web, 1             },
        {web, 1 + PER_THREAD}
    };
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_events, &writers[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *done = NULL;
        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_non_null(done);
    }
    assert_int_equal(count("SELECT count(*) FROM events WHERE label = 'normal'"), 2 * PER_THREAD);
    assert_int_equal(count("SELECT n_events FROM models"), 2 * PER_THREAD);
    assert_int_equal(count("SELECT count(*) FROM audit"), 2 * PER_THREAD);
}

static int use_all(void)
{
    static char text[] = "{}";
    CLEANUP(logged_event_clear) struct logged_event found = {0};
    struct logged_event event = an_event(1, "drift"), *events;
    struct audited_act *acts;
    uint64_t id;
    size_t n;

    event.series = event.detail = event.advice = text;
    int r = event_log_last_id(database, &id);
    if (r == 0)
        r = event_log_put(database, 1, &event, 1);
    if (r == 0)
        r = event_log_label(database, 1, 1, "normal", "eve", 1);
    if (r == 0)
        r = event_log_get(database, 1, 1, &found);
    if (r == 0)
        r = event_log_close(database, 1, "reset", 77);
    if (r == 0)
        r = event_log_audit(database, "web", "eve", "reset", text, 1);
    if (r == 0)
        r = event_log_list(database, 1, NULL, 0, 100, &events, &n);
    if (r < 0)
        return r;
    assert_non_null(found.detail);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(events[i].series);
        assert_non_null(events[i].advice);
        logged_event_clear(&events[i]);
    }
    free(events);
    r = event_log_acts(database, NULL, 3, &acts, &n);
    if (r < 0)
        return r;
    assert_non_null(acts[0].detail);
    clear_acts(acts, n);
    return 0;
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static char text[] = "{}";

    assert_int_equal(make_model("web"), 1);
    for (uint64_t i = 2; i < 22; i++) { /* more than a list holds at first */
        struct logged_event event = an_event(i, "drift");
        event.series = event.detail = event.advice = text;
        assert_int_equal(event_log_put(database, 1, &event, 1), 0);
    }
    fail_each_allocation(use_all);
    assert_int_equal(count("SELECT n_events FROM models"), count("SELECT count(*) FROM events"));
}

static void a_transaction_that_fails_leaves_nothing(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    put_many(web, 1, EVENT_LOG_MOST_EVENTS, "drift");
    execute("CREATE TRIGGER no_trim BEFORE DELETE ON events BEGIN SELECT raise(ABORT, ''); END;"
            "CREATE TRIGGER no_act AFTER INSERT ON audit BEGIN SELECT raise(ABORT, ''); END");
    assert_true(put(web, 20000, "drift") < 0);
    assert_int_equal(look(web, 20000), -ENOENT);
    assert_int_equal(count("SELECT n_events FROM models"), EVENT_LOG_MOST_EVENTS);
    assert_true(event_log_audit(database, "", "eve", "freeze", NULL, 1) < 0);
    assert_int_equal(count("SELECT count(*) FROM audit"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(an_event_is_kept_whole),
        DATABASE_TEST(an_event_without_texts_has_none),
        DATABASE_TEST(the_default_series_is_not_none),
        DATABASE_TEST(the_same_id_replaces_and_keeps_the_feedback),
        DATABASE_TEST(events_are_stored_all_or_none),
        DATABASE_TEST(a_verdict_stays_a_verdict),
        DATABASE_TEST(an_event_of_another_model_is_not_found),
        DATABASE_TEST(events_are_listed_the_newest_first),
        DATABASE_TEST(incidents_are_filtered),
        DATABASE_TEST(an_incident_keeps_its_reason),
        DATABASE_TEST(the_verdicts_of_an_incident_are_found),
        DATABASE_TEST(the_clock_has_no_say_in_the_order),
        DATABASE_TEST(an_incident_that_is_over_keeps_when_it_began_and_its_advice),
        DATABASE_TEST(open_incidents_are_closed_with_the_reason),
        DATABASE_TEST(the_oldest_events_go),
        DATABASE_TEST(the_oldest_verdicts_go),
        DATABASE_TEST(more_than_the_limit_at_once_leaves_the_newest),
        DATABASE_TEST(limits_do_not_scan),
        DATABASE_TEST(ids_begin_at_one),
        DATABASE_TEST(an_id_is_never_given_twice),
        DATABASE_TEST(feedback_is_remembered_beside_the_event),
        DATABASE_TEST(feedback_on_an_unknown_event_is_refused),
        DATABASE_TEST(acts_are_audited),
        DATABASE_TEST(acts_are_listed_by_model),
        DATABASE_TEST(acts_outlive_their_model),
        DATABASE_TEST(the_oldest_acts_go),
        DATABASE_TEST(two_threads_share_one_log),
        DATABASE_TEST(survives_every_failed_allocation),
        DATABASE_TEST(a_transaction_that_fails_leaves_nothing),
    };

    let_sqlite_allocations_fail();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
