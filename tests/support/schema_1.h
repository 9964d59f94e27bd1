/* schema_1 - a state.db of the first schema, with content. */
#pragma once

#include "support/state_folder.h"

/* As released: never changed. */
static const char schema_1[] =
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
    " n_events INTEGER NOT NULL DEFAULT 0,"
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
    " label TEXT NOT NULL DEFAULT '',"
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
    "CREATE INDEX rows_of_incident ON rows (model, incident) WHERE incident <> 0;"
    "PRAGMA user_version = 1;";

/* A model with 1,000 rows, some of them in incident 7, an event and a frozen version. */
static const char content_1[] =
    "INSERT INTO models (name, fingerprint, features, live_version, last_version, is_frozen,"
    " n_events) VALUES ('web', 'f', '[\"a\",\"b\"]', 3, 4, 1, 1);"
    "INSERT INTO versions VALUES (1, 3, 5, 0, 'abc', 900, 'retrain', 0);"
    "INSERT INTO runs (model, state, cause, queued_us) VALUES (1, 2, 'rows', 5);"
    "INSERT INTO events (id, model, time_us, kind, series, first_row, last_row, label)"
    " VALUES (7, 1, 99, 'incident', 'host', 10, 20, 'anomaly');"
    "INSERT INTO buffers VALUES (1, 1000, 700, 0, 0, 0);"
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
    " INSERT INTO rows (model, role, number, time_us, is_flagged, is_observed, incident, vector)"
    " SELECT 1, iif(i > 700, 3, i % 2), i, i, i > 700, 0, iif(i > 700, 7, 0),"
    " x'0000803f00000040' FROM n;";

static inline void make_file(const char *schema, const char *content)
{
    struct sqlite3 *file = NULL;

    assert_int_equal(sqlite3_open(path_in("state.db"), &file), SQLITE_OK);
    assert_int_equal(sqlite3_exec(file, "PRAGMA synchronous = OFF", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(file, schema, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(file, content, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(file), SQLITE_OK);
}
