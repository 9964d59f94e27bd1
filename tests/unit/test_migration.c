/* Databases of older releases: opened, brought up to date, with all that was in them. */
#include "store/database.h"
#include "store/event_log.h"
#include "store/model_log.h"
#include "store/row_buffer.h"
#include "store/schema.h"
#include "store/series_log.h"

#include "support/cmocka.h"
#include "support/schema_1.h"
#include "support/state_folder.h"

#include <errno.h>

static void a_database_of_schema_1_keeps_all_that_is_in_it(void **state)
{
    (void)state;
    make_file(schema_1, content_1);
    struct database *database = open_quietly(); /* nothing is set aside */
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    CLEANUP(logged_event_clear) struct logged_event event = {0};

    assert_int_equal(ask(database, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(model_log_open(database, "web", NULL, NULL, &model), 0);
    assert_int_equal(model.live_version, 3);
    assert_true(model.is_frozen);
    assert_false(model.repin);
    assert_int_equal(ask(database, "SELECT rows FROM versions WHERE version = 3"), 900);
    assert_int_equal(ask(database, "SELECT count(*) FROM runs"), 1);
    assert_int_equal(event_log_get(database, model.id, 7, &event), 0);
    assert_string_equal(event.label, "anomaly");
    assert_int_equal(event.last_row, 20);
    assert_int_equal(event.incident, 0);
    assert_int_equal(event.opened_by, EVENT_BY_SOFT);
    assert_null(event.reason);
    database_free(database);
}

static void rows_of_schema_1_are_learned_from(void **state)
{
    (void)state;
    make_file(schema_1, content_1);
    struct database *database = open_quietly();
    CLEANUP(row_buffer_freep) struct row_buffer *buffer = NULL;
    CLEANUP(row_block_clear) struct row_block block = {0};
    uint64_t incident = 0;
    size_t n = 0;

    assert_int_equal(row_buffer_open(database, 1, 2, 2000, 1, &buffer), 0);
    assert_int_equal(row_buffer_counts(buffer).of_role[ROW_QUARANTINE], 300);
    assert_int_equal(row_buffer_read(buffer, ROW_TRAIN, SIZE_MAX, SIZE_MAX, &block), 0);
    assert_int_equal(block.n_rows, 350);
    assert_int_equal(block.numbers[349], 700);
    assert_true(block.values[0] == 1.0F && block.values[1] == 2.0F);
    assert_false(block.is_approved[0]); /* nobody was asked */
    assert_int_equal(row_buffer_incident(buffer, 7, &incident), -ENOENT);
    assert_int_equal(row_buffer_release(buffer, 7, &n), 0);
    assert_int_equal(n, 300);
    row_buffer_free(TAKE(buffer));
    database_free(database);
}

static void an_upgraded_database_opens_again(void **state)
{
    (void)state;
    make_file(schema_1, content_1);
    database_free(open_quietly());
    struct database *database = open_quietly();

    assert_int_equal(ask(database, "SELECT count(*) FROM rows WHERE event = 0"), 1000);
    database_free(database);
}

/* As the release before the one that prepares inputs left it. */
static void make_schema_8(void)
{
    struct database *database = open_quietly();
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    struct sqlite3 *file = NULL;

    assert_int_equal(model_log_open(database, "web", "[\"a\"]", "f", &model), 0);
    database_free(database);
    assert_int_equal(sqlite3_open(path_in("state.db"), &file), SQLITE_OK);
    assert_int_equal(sqlite3_exec(file,
                                  "DROP TABLE flight_rows; DROP TABLE flights;"
                                  "DROP TABLE series; ALTER TABLE models DROP COLUMN inputs;"
                                  "PRAGMA user_version = 8;",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(file), SQLITE_OK);
}

static void a_database_of_schema_8_remembers_series_from_now_on(void **state)
{
    (void)state;
    make_schema_8();
    struct database *database = open_quietly(); /* nothing is set aside */
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    const struct logged_series series = {.series = "host", .seen_us = 5};
    struct logged_series *read = NULL;
    size_t n = 0;

    assert_int_equal(ask(database, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(model_log_open(database, "web", "[\"a\"]", "f", &model), 0);
    assert_string_equal(model.inputs, "");
    assert_int_equal(series_log_read(database, model.id, &read, &n), 0);
    assert_int_equal(n, 0);
    free(read);
    assert_int_equal(series_log_put(database, model.id, &series, 1, 10), 0);
    assert_int_equal(model_log_set_inputs(database, model.id, "[\"x\"]"), 0);
    assert_int_equal(ask(database, "SELECT count(*) FROM series WHERE name = 'host'"), 1);
    database_free(database);
}

/* A file that says it is of schema 1 but lacks a table is not upgraded half-way. */
static void what_cannot_be_upgraded_is_set_aside(void **state)
{
    (void)state;
    make_file(schema_1, "DROP TABLE events;");
    struct database *database = NULL;
    CLEANUP(text_clear) struct text notes = {0};

    assert_int_equal(database_open(folder, false, &database, &notes, NULL), 0);
    assert_non_null(strstr(notes.data, "is damaged"));
    assert_int_equal(ask(database, "SELECT count(*) FROM models"), 0);
    database_free(database);
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_folder(a_database_of_schema_1_keeps_all_that_is_in_it),
        in_a_folder(rows_of_schema_1_are_learned_from),
        in_a_folder(an_upgraded_database_opens_again),
        in_a_folder(a_database_of_schema_8_remembers_series_from_now_on),
        in_a_folder(what_cannot_be_upgraded_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
