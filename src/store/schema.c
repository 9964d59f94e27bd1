#include "store/schema.h"

#include "store/database.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>

/* Migration n makes version n + 1 of version n. What was released is never changed: a new version
 * is a new string at the end.
 *
 * rows.slot: 0 is the ring (the lowest id is the oldest), 1, 2, 3 … without a gap the reservoir.
 * So rows_by_place finds the oldest of a ring and any one of a reservoir by its key. */
static const char *const migrations[] = {
    "CREATE TABLE models ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " fingerprint TEXT NOT NULL,"
    " features TEXT NOT NULL,"
    " live_version INTEGER NOT NULL DEFAULT 0,"
    " former_version INTEGER NOT NULL DEFAULT 0,"
    " pinned_version INTEGER NOT NULL DEFAULT 0,"
    " last_version INTEGER NOT NULL DEFAULT 0,"
    " is_frozen INTEGER NOT NULL DEFAULT 0,"
    " n_events INTEGER NOT NULL DEFAULT 0," /* other than verdicts */
    " n_verdicts INTEGER NOT NULL DEFAULT 0) STRICT;"

    "CREATE TABLE versions ("
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " version INTEGER NOT NULL,"
    " made_us INTEGER NOT NULL,"
    " run INTEGER NOT NULL,"
    " sha256 TEXT NOT NULL,"
    " rows INTEGER NOT NULL,"
    " origin TEXT NOT NULL,"
    " is_refused INTEGER NOT NULL,"
    " PRIMARY KEY (model, version)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE runs ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " state INTEGER NOT NULL,"
    " cause TEXT NOT NULL,"
    " queued_us INTEGER NOT NULL,"
    " started_us INTEGER NOT NULL DEFAULT 0,"
    " ended_us INTEGER NOT NULL DEFAULT 0,"
    " version INTEGER NOT NULL DEFAULT 0,"
    " reason TEXT,"
    " comparison TEXT) STRICT;"
    "CREATE INDEX runs_of_model ON runs (model);"

    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " time_us INTEGER NOT NULL,"
    " kind TEXT NOT NULL,"
    " series TEXT,"
    " first_row INTEGER NOT NULL,"
    " last_row INTEGER NOT NULL,"
    " detail TEXT,"
    " advice TEXT,"
    " is_open INTEGER NOT NULL DEFAULT 0,"
    " label TEXT NOT NULL DEFAULT ''," /* the last feedback */
    " label_who TEXT,"
    " label_us INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX events_of_kind ON events (model, kind);"
    "CREATE INDEX events_of_note ON events (model) WHERE kind <> 'verdict';"

    "CREATE TABLE audit ("
    " id INTEGER PRIMARY KEY,"
    " time_us INTEGER NOT NULL,"
    " model TEXT NOT NULL,"
    " who TEXT NOT NULL,"
    " act TEXT NOT NULL,"
    " detail TEXT) STRICT;"

    /* What row_buffer cannot count: rows that are not there any more. */
    "CREATE TABLE buffers ("
    " model INTEGER PRIMARY KEY REFERENCES models ON DELETE CASCADE,"
    " last_number INTEGER NOT NULL DEFAULT 0,"
    " stored INTEGER NOT NULL DEFAULT 0,"
    " left_train INTEGER NOT NULL DEFAULT 0,"
    " left_calibrate INTEGER NOT NULL DEFAULT 0,"
    " left_gate INTEGER NOT NULL DEFAULT 0) STRICT;"

    "CREATE TABLE rows ("
    " id INTEGER PRIMARY KEY,"
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " role INTEGER NOT NULL,"
    " slot INTEGER NOT NULL DEFAULT 0,"
    " number INTEGER NOT NULL,"
    " time_us INTEGER NOT NULL,"
    " is_flagged INTEGER NOT NULL,"
    " is_observed INTEGER NOT NULL,"
    " incident INTEGER NOT NULL,"
    " series TEXT,"
    " vector BLOB NOT NULL) STRICT;"
    "CREATE INDEX rows_by_place ON rows (model, role, slot);"
    "CREATE INDEX rows_of_incident ON rows (model, incident) WHERE incident <> 0;",

    /* 2: feedback on single verdicts, and what an operator has approved. */
    "ALTER TABLE models ADD COLUMN repin INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE events ADD COLUMN incident INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rows ADD COLUMN event INTEGER NOT NULL DEFAULT 0;" /* of its verdict */
    "ALTER TABLE rows ADD COLUMN is_approved INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX rows_of_event ON rows (model, event) WHERE event <> 0;",

    /* 3: what a start goes on with: when the last run began, which incidents were open. */
    "ALTER TABLE runs ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;" /* rows until it began */
    "CREATE INDEX events_open ON events (model) WHERE is_open = 1;",

    /* 4: incidents keep when they began; of those before only the end is known. */
    "ALTER TABLE events ADD COLUMN ended_us INTEGER NOT NULL DEFAULT 0;"
    "UPDATE events SET ended_us = time_us WHERE kind = 'incident' AND is_open = 0;",

    /* 5: the false-alarm rate that a person has put in force; 0: none. */
    "ALTER TABLE models ADD COLUMN false_alarm_rate REAL NOT NULL DEFAULT 0;",

    /* 6: or so many false alarms a day, and the rows a day that a rate is made of. */
    "ALTER TABLE models ADD COLUMN false_alarms_per_day REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE models ADD COLUMN rows_per_day REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE models ADD COLUMN observed_s REAL NOT NULL DEFAULT 0;",

    /* 7: what has opened an incident, as event_log.h numbers it, and why. */
    "ALTER TABLE events ADD COLUMN opened_by INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE events ADD COLUMN reason TEXT;"
    "CREATE INDEX events_of_incident ON events (model, incident) WHERE incident <> 0;"
    "UPDATE events SET opened_by = iif(json_valid(detail) AND "
    "json_extract(detail, '$.opened_by') = 'hard', 2, 1) WHERE kind = 'incident';",

    /* 8: windows of maintenance. */
    "CREATE TABLE maintenance ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " from_us INTEGER NOT NULL,"
    " until_us INTEGER NOT NULL,"
    " skips_alarms INTEGER NOT NULL,"
    " skips_learning INTEGER NOT NULL,"
    " who TEXT NOT NULL) STRICT;"
    "CREATE INDEX maintenance_of_model ON maintenance (model);",

    /* 9: what users send, where that is prepared; what is remembered of each series. */
    "ALTER TABLE models ADD COLUMN inputs TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE series ("
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " name TEXT NOT NULL,"
    " seen_us INTEGER NOT NULL,"
    " is_watched INTEGER NOT NULL,"
    " is_silent INTEGER NOT NULL,"
    " state BLOB,"
    " movement BLOB,"
    " PRIMARY KEY (model, name)) STRICT, WITHOUT ROWID;",

    /* 10: the rows around incidents. */
    "CREATE TABLE flights ("
    " incident INTEGER PRIMARY KEY REFERENCES events ON DELETE CASCADE,"
    " model INTEGER NOT NULL REFERENCES models ON DELETE CASCADE,"
    " features TEXT NOT NULL," /* those of a model may change */
    " rules TEXT NOT NULL,"
    " n_left_out INTEGER NOT NULL,"
    " n_missing INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL DEFAULT 0) STRICT;" /* of its rows, about */
    "CREATE INDEX flights_of_model ON flights (model);"

    "CREATE TABLE flight_rows ("
    " incident INTEGER NOT NULL REFERENCES flights ON DELETE CASCADE,"
    " number INTEGER NOT NULL,"
    " part INTEGER NOT NULL," /* as flight_log.h numbers it */
    " time_us INTEGER NOT NULL,"
    " version INTEGER NOT NULL,"
    " threshold REAL NOT NULL,"
    " error REAL NOT NULL,"
    " score REAL NOT NULL,"
    " p_value REAL NOT NULL,"
    " rules INTEGER NOT NULL," /* the first of flights.rules is 1; 0: none */
    " has_aside INTEGER NOT NULL,"
    " vector BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX flight_rows_in_order ON flight_rows (incident, number);",
};
static_assert(sizeof(migrations) / sizeof(*migrations) == SCHEMA_VERSION, "one migration each");

/* Reads the first page of each: a file that fails here cannot serve. */
static const char probe[] =
    "SELECT (SELECT max(id) FROM models), (SELECT max(seq) FROM sqlite_sequence),"
    " (SELECT max(version) FROM versions),"
    " (SELECT max(id) FROM runs), (SELECT max(id) FROM events),"
    " (SELECT max(id) FROM audit), (SELECT max(model) FROM buffers), (SELECT max(id) FROM rows),"
    " (SELECT max(model) FROM rows), (SELECT max(id) FROM maintenance),"
    " (SELECT max(model) FROM series),"
    " (SELECT max(incident) FROM flights), (SELECT max(incident) FROM flight_rows)";

static int execute(struct sqlite3 *sqlite, const char *sql)
{
    return database_errno(sqlite3_exec(sqlite, sql, NULL, NULL, NULL));
}

static int read_number(struct sqlite3 *sqlite, const char *sql, int64_t *ret_number)
{
    struct sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret_number = sqlite3_column_int64(statement, 0);
    const int r = database_errno(code);
    (void)sqlite3_finalize(statement);
    return r;
}

static int migrate(struct sqlite3 *sqlite, int64_t version)
{
    int r = 0;

    for (int64_t next = version; r == 0 && next < SCHEMA_VERSION; next++) {
        char mark[64];
        (void)snprintf(mark, sizeof(mark), "PRAGMA user_version = %d; COMMIT", (int)next + 1);
        r = execute(sqlite, "BEGIN IMMEDIATE");
        if (r == 0)
            r = execute(sqlite, migrations[next]);
        if (r == 0)
            r = execute(sqlite, mark);
    }
    return r; /* what is half-done goes with the connection */
}

int schema_upgrade(struct sqlite3 *sqlite)
{
    int64_t version = 0, n_entries = 0, ignored;

    int r = read_number(sqlite, "PRAGMA user_version", &version);
    if (r == 0)
        r = read_number(sqlite, "SELECT count(*) FROM sqlite_schema", &n_entries);
    if (r < 0)
        return r;
    if (version > SCHEMA_VERSION)
        return -ENOTSUP;
    if (version < 0 || (version == 0 && n_entries > 0))
        return -EUCLEAN;

    r = migrate(sqlite, version);
    if (r == 0)
        r = read_number(sqlite, probe, &ignored);
    return r == -EINVAL ? -EUCLEAN : r; /* a table or a column is missing */
}
