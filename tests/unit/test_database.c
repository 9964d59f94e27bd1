#include "store/database.h"
#include "store/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/state_folder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

static const char put_model[] =
    "INSERT INTO models (name, fingerprint, features) VALUES ('m' || random(), '', '[]')";
static const char count_models[] = "SELECT count(*) FROM models";

/* ---- long reads, and room ---- */

static void a_long_read_keeps_no_other_waiting(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *scanning, *reading;

    assert_int_equal(database_scan(database, &scanning), 0);
    assert_int_equal(database_read(database, &reading), 0);
    assert_ptr_not_equal(scanning, reading);
    assert_non_null(database_statement(database, scanning, count_models));
    database_read_end(database);
    database_scan_end(database);
}

static void what_was_deleted_is_room_for_new_rows(void **state)
{
    (void)state;
    struct database *database = open_quietly();
    const uint64_t full = 1000000;

    assert_int_equal(run_sql(database, "INSERT INTO models (name, fingerprint, features)"
                                       " VALUES ('large', '', hex(zeroblob(1000000)))"),
                     0);
    assert_in_range(database_free_bytes(database), 0, 100000);
    assert_int_equal(run_sql(database, "DELETE FROM models"), 0);
    assert_in_range(database_free_bytes(database), full, 3 * full);
    const uint64_t with_log = database_size(database);
    database_make_room(database);
    assert_true(database_size(database) < with_log);
    database_free(database);
    database = open_quietly(); /* known from the start on */
    assert_in_range(database_free_bytes(database), full, 3 * full);
    database_free(database);
}

/* ---- open ---- */

static void what_is_written_is_there_when_opened_again(void **state)
{
    (void)state;
    struct database *database = open_quietly();

    assert_string_equal(database_directory(database), folder);
    assert_int_equal(run_sql(database, put_model), 0);
    database_free(database);
    database = open_quietly();
    assert_int_equal(ask(database, count_models), 1);
    database_free(database);
}

static void a_folder_that_is_missing_is_named(void **state)
{
    (void)state;
    struct database *database = NULL;
    CLEANUP(text_clear) struct text notes = {0};
    struct error error = {0};

    assert_int_equal(database_open(path_in("none"), true, &database, &notes, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/none: there is no such folder"));
    assert_null(database);
    assert_int_equal(notes.length, 0);
}

static void a_second_one_is_told_that_it_is_in_use(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *first = open_quietly();
    struct database *second = NULL;
    CLEANUP(text_clear) struct text notes = {0};
    struct error error = {0};

    assert_int_equal(database_open(folder, true, &second, &notes, &error), -EBUSY);
    assert_non_null(strstr(error.text, "another anomalyd uses this folder"));
    assert_null(second);
    assert_int_equal(run_sql(first, put_model), 0);
}

static int open_in_child(void)
{
    struct database *database = NULL;
    struct text notes = {0};

    return -database_open(folder, true, &database, &notes, NULL);
}

static void another_process_is_locked_out_until_the_first_has_gone(void **state)
{
    (void)state;
    struct database *first = open_quietly();

    assert_int_equal(run_in_child(open_in_child), EBUSY);
    database_free(first);
    assert_int_equal(run_in_child(open_in_child), 0); /* and dies with it open */
    database_free(open_quietly());
}

static int open_without_permission(void)
{
    struct database *database = NULL;
    struct text notes = {0};
    struct error error = {0};

    CHILD_CHECK(chmod(folder, 0555) == 0);
    CHILD_CHECK(geteuid() != 0 || seteuid(65534) == 0);
    CHILD_CHECK(database_open(folder, true, &database, &notes, &error) == -EACCES);
    CHILD_CHECK(strstr(error.text, "cannot write: Permission denied"));
    return 0;
}

static void a_folder_that_may_not_be_written_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(open_without_permission), 0);
    assert_int_equal(chmod(folder, 0700), 0);
}

static int open_on_read_only_disk(void)
{
    struct database *database = NULL;
    struct text notes = {0};
    struct error error = {0};

    if (!mount_small_disk("size=4m"))
        return CHILD_SKIPPED;
    CHILD_CHECK(database_open(folder, true, &database, &notes, &error) == 0);
    database_free(database);
    CHILD_CHECK(mount("none", folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHILD_CHECK(database_open(folder, true, &database, &notes, &error) == -EROFS);
    CHILD_CHECK(strstr(error.text, "Read-only file system"));
    return 0;
}

static void a_read_only_disk_is_refused(void **state)
{
    (void)state;
    const int status = run_in_child(open_on_read_only_disk);

    if (status == CHILD_SKIPPED)
        SKIP_TEST("file systems cannot be mounted here");
    assert_int_equal(status, 0);
}

static void failed_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(database_freep) struct database *database = NULL;
        CLEANUP(text_clear) struct text notes = {0};
        alloc_fail_in = nth;
        r = database_open(folder, false, &database, &notes, NULL);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

/* ---- damage ---- */

static void close_after_one_model(void)
{
    struct database *database = open_quietly();

    assert_int_equal(run_sql(database, put_model), 0);
    database_free(database);
}

static void overwrite(const char *name, long at, const void *bytes, size_t n)
{
    FILE *file = fopen(path_in(name), "r+");

    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static size_t count_set_aside(const char *what)
{
    char prefix[64];
    size_t n = 0;
    DIR *listing = opendir(folder);

    assert_non_null(listing);
    (void)snprintf(prefix, sizeof(prefix), "state.db.%s-", what);
    for (struct dirent *entry; (entry = readdir(listing));)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
             entry->d_name[strlen(entry->d_name) - 1] == 'Z'; /* not its -wal */
    (void)closedir(listing);
    return n;
}

/* An empty one has taken its place, and the operator is told. */
static void assert_set_aside_as(const char *what, const char *said)
{
    struct database *database = NULL;
    CLEANUP(text_clear) struct text notes = {0};
    struct error error = {0};

    const int r = database_open(folder, true, &database, &notes, &error);
    if (r < 0)
        fail_msg("%d %s", r, error.text);
    assert_non_null(notes.data);
    assert_non_null(strstr(notes.data, said));
    assert_non_null(strstr(notes.data, "was set aside as"));
    assert_int_equal(count_set_aside(what), 1);
    assert_int_equal(ask(database, count_models), 0);
    assert_int_equal(run_sql(database, put_model), 0);
    database_free(database);
    database_free(open_quietly()); /* the next time there is nothing to say */
}

static void a_garbage_file_is_set_aside(void **state)
{
    (void)state;
    static const char garbage[4096] = "this is not a database";
    FILE *file = fopen(path_in("state.db"), "w");

    assert_non_null(file);
    assert_int_equal(fwrite(garbage, 1, sizeof(garbage), file), sizeof(garbage));
    assert_int_equal(fclose(file), 0);
    assert_set_aside_as("damaged", "is damaged");
}

static void a_truncated_file_is_set_aside(void **state)
{
    (void)state;
    close_after_one_model();
    assert_int_equal(truncate(path_in("state.db"), 10000), 0);
    assert_set_aside_as("damaged", "is damaged");
}

static void a_damaged_schema_is_set_aside(void **state)
{
    (void)state;
    char bytes[500];

    memset(bytes, 0xA5, sizeof(bytes));
    close_after_one_model();
    overwrite("state.db", 100, bytes, sizeof(bytes));
    assert_set_aside_as("damaged", "is damaged");
}

static void a_damaged_table_is_set_aside(void **state)
{
    (void)state;
    char bytes[4096];

    memset(bytes, 0xA5, sizeof(bytes));
    close_after_one_model();
    overwrite("state.db", 4096, bytes, sizeof(bytes)); /* of models */
    assert_set_aside_as("damaged", "is damaged");
}

static void a_file_without_one_of_our_tables_is_set_aside(void **state)
{
    (void)state;
    struct database *database = open_quietly();

    assert_int_equal(run_sql(database, "DROP TABLE events"), 0);
    database_free(database);
    assert_set_aside_as("damaged", "is damaged");
}

static void a_database_of_another_program_is_set_aside(void **state)
{
    (void)state;
    struct sqlite3 *other = NULL;

    assert_int_equal(sqlite3_open(path_in("state.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE theirs (x)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_set_aside_as("damaged", "is damaged");
}

static int leave_a_newer_file_and_its_wal(void)
{
    struct database *database = open_quietly();

    CHILD_CHECK(run_sql(database, put_model) == 0);
    CHILD_CHECK(run_sql(database, "PRAGMA user_version = 99") == 0);
    return 0;
}

static void a_newer_file_is_set_aside_with_its_wal(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(leave_a_newer_file_and_its_wal), 0);
    assert_int_equal(access(path_in("state.db-wal"), F_OK), 0);

    struct database *database = NULL;
    CLEANUP(text_clear) struct text notes = {0};
    assert_int_equal(database_open(folder, true, &database, &notes, NULL), 0);
    assert_non_null(strstr(notes.data, "is of a newer version of anomalyd"));
    assert_int_equal(ask(database, count_models), 0);
    database_free(database);

    /* put back, a newer anomalyd finds all that was in it */
    char aside[256], sql[64];
    const char *name = strstr(notes.data, "set aside as ") + strlen("set aside as ");
    (void)snprintf(aside, sizeof(aside), "%.*s", (int)strcspn(name, ";"), name);
    assert_int_equal(rename(aside, path_in("state.db")), 0);
    (void)strcat(aside, "-wal");
    assert_int_equal(rename(aside, path_in("state.db-wal")), 0);
    struct sqlite3 *newer = NULL;
    assert_int_equal(sqlite3_open(path_in("state.db"), &newer), SQLITE_OK);
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", SCHEMA_VERSION);
    assert_int_equal(sqlite3_exec(newer, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(newer), SQLITE_OK);
    database = open_quietly();
    assert_int_equal(ask(database, count_models), 1);
    database_free(database);
}

static int die_after_three_models(void)
{
    struct database *database = open_quietly();

    for (int i = 0; i < 3; i++)
        CHILD_CHECK(run_sql(database, put_model) == 0);
    return 0;
}

static void a_torn_last_page_of_the_wal_costs_only_what_was_not_acknowledged(void **state)
{
    (void)state;
    struct stat before;

    assert_int_equal(run_in_child(die_after_three_models), 0);
    assert_int_equal(stat(path_in("state.db-wal"), &before), 0);
    FILE *file = fopen(path_in("state.db-wal"), "a"); /* a fourth, of which half was written */
    assert_non_null(file);
    for (int i = 0; i < 2000; i++)
        assert_int_not_equal(fputc(i & 0xFF, file), EOF);
    assert_int_equal(fclose(file), 0);
    struct database *database = open_quietly();
    assert_int_equal(ask(database, count_models), 3);
    database_free(database);
}

static void a_wal_cut_in_its_last_transaction_opens_without_it(void **state)
{
    (void)state;
    struct stat wal;

    assert_int_equal(run_in_child(die_after_three_models), 0);
    assert_int_equal(stat(path_in("state.db-wal"), &wal), 0);
    assert_int_equal(truncate(path_in("state.db-wal"), wal.st_size - 100), 0);
    struct database *database = open_quietly();
    assert_int_equal(ask(database, count_models), 2);
    database_free(database);
}

static void the_check_finds_damage_deep_in_the_file(void **state)
{
    (void)state;
    struct database *database = open_quietly();
    struct error error = {0};
    char bytes[4096];

    assert_int_equal(run_sql(database, "INSERT INTO audit (time_us, model, who, act) "
                                       "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                                       "FROM n WHERE i < 5000) SELECT i, '', 'a', hex(i) FROM n"),
                     0);
    assert_int_equal(database_check(database, NULL, &error), 0);
    database_free(database);

    memset(bytes, 0xA5, sizeof(bytes));
    struct stat status;
    assert_int_equal(stat(path_in("state.db"), &status), 0);
    overwrite("state.db", (long)status.st_size - 3 * 4096, bytes, sizeof(bytes));
    database = open_quietly();
    assert_int_equal(database_check(database, NULL, &error), -EUCLEAN);
    assert_non_null(strstr(error.text, "state.db: is damaged: "));
    assert_null(strchr(error.text, '\n'));
    database_free(database);
}

static void a_marked_file_is_set_aside_at_the_next_start(void **state)
{
    (void)state;
    struct database *database = open_quietly();

    assert_int_equal(run_sql(database, put_model), 0);
    assert_int_equal(database_mark_damaged(database), 0);
    assert_int_equal(database_mark_damaged(database), 0);
    assert_int_equal(run_sql(database, put_model), 0); /* until then it serves */
    database_free(database);
    assert_set_aside_as("damaged", "state.db is damaged");
}

static void a_mark_without_its_file_is_forgotten(void **state)
{
    (void)state;
    close_after_one_model();
    struct database *database = open_quietly();
    assert_int_equal(database_mark_damaged(database), 0);
    database_free(database);
    assert_int_equal(unlink(path_in("state.db")), 0);
    database_free(open_quietly());
    assert_int_equal(access(path_in("state.db-damaged"), F_OK), -1);
}

/* A backup that somebody has put back, or a -wal that somebody has tidied up. */
static void files_that_were_replaced_are_not_its_own(void **state)
{
    (void)state;
    static const char *const names[] = {"state.db", "state.db-wal"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct database *database = open_quietly();
        char away[PATH_MAX];

        (void)snprintf(away, sizeof(away), "%s/away", folder);
        assert_true(database_size(database) > 0);
        assert_int_equal(rename(path_in(names[i]), away), 0);
        assert_int_equal(database_size(database), 0);
        FILE *other = fopen(path_in(names[i]), "w");
        assert_non_null(other);
        assert_true(fputs("another", other) >= 0);
        assert_int_equal(fclose(other), 0);
        assert_int_equal(database_size(database), 0);
        assert_int_equal(database_mark_damaged(database), -ENOENT);
        assert_int_equal(rename(away, path_in(names[i])), 0);
        assert_true(database_size(database) > 0);
        database_free(database);
    }
}

static void the_check_ends_when_it_must(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    const bool must_stop = true, need_not = false;

    assert_int_equal(run_sql(database, "INSERT INTO audit (time_us, model, who, act) "
                                       "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                                       "FROM n WHERE i < 5000) SELECT i, '', 'a', 'b' FROM n"),
                     0);
    assert_int_equal(database_check(database, &must_stop, NULL), -ECANCELED);
    assert_int_equal(database_check(database, &need_not, NULL), 0);
}

/* ---- transactions ---- */

static void what_ends_with_an_error_is_rolled_back(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *connection;

    assert_int_equal(database_write(database, &connection), 0);
    assert_int_equal(database_run(database_statement(database, connection, put_model)), 0);
    assert_int_equal(database_end(database, -EPIPE), -EPIPE);
    assert_int_equal(ask(database, count_models), 0);
    assert_int_equal(run_sql(database, put_model), 0);
    assert_int_equal(ask(database, count_models), 1);
}

static void a_reader_does_not_wait_for_a_writer_and_sees_what_is_committed(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *connection;

    assert_int_equal(database_write(database, &connection), 0);
    assert_int_equal(database_run(database_statement(database, connection, put_model)), 0);
    assert_int_equal(ask(database, count_models), 0);
    assert_int_equal(database_commit(database, 0), 0);
    assert_int_equal(ask(database, count_models), 1); /* before another writer may begin */
    database_unlock(database);
}

static void a_reader_cannot_write(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *connection;

    assert_int_equal(database_read(database, &connection), 0);
    assert_true(database_run(database_statement(database, connection, put_model)) < 0);
    database_read_end(database);
}

static void a_commit_waits_for_the_disk_only_if_it_shall_survive_power_loss(void **state)
{
    (void)state;
    static const char sql[] = "SELECT synchronous FROM pragma_synchronous";
    CLEANUP(text_clear) struct text notes = {0};
    struct error error;

    for (int survives = 0; survives < 2; survives++) {
        CLEANUP(database_freep) struct database *database = NULL;
        struct sqlite3 *connection;
        assert_int_equal(database_open(folder, survives, &database, &notes, &error), 0);
        assert_int_equal(database_write(database, &connection), 0);
        struct sqlite3_stmt *asked = database_statement(database, connection, sql);
        assert_int_equal(database_step(asked), 1);
        assert_int_equal(sqlite3_column_int(asked, 0), survives ? 2 : 1); /* FULL, NORMAL */
        assert_int_equal(database_step(asked), 0);
        assert_int_equal(database_end(database, 0), 0);
    }
}

static void statements_are_kept_and_come_reset(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    static const char sql[] = "SELECT ?1 FROM (SELECT 1 UNION ALL SELECT 2)";
    struct sqlite3 *connection;

    assert_int_equal(database_read(database, &connection), 0);
    struct sqlite3_stmt *first = database_statement(database, connection, sql);
    assert_int_equal(sqlite3_bind_int(first, 1, 42), SQLITE_OK);
    assert_int_equal(database_step(first), 1);
    assert_int_equal(sqlite3_column_int(first, 0), 42);

    struct sqlite3_stmt *again = database_statement(database, connection, sql);
    assert_ptr_equal(again, first);
    assert_int_equal(database_step(again), 1);
    assert_int_equal(sqlite3_column_type(again, 0), SQLITE_NULL);
    assert_int_equal(database_step(again), 1);
    assert_int_equal(database_step(again), 0);
    database_read_end(database);
}

static void wrong_sql_is_an_error_where_it_is_run(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *connection;

    assert_int_equal(database_read(database, &connection), 0);
    struct sqlite3_stmt *wrong = database_statement(database, connection, "SELEKT 1");
    assert_null(wrong);
    assert_int_equal(database_step(wrong), -EIO);
    assert_int_equal(database_run(wrong), -EIO);
    database_read_end(database);
}

static void rows_of_a_model_that_is_not_there_are_refused(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();

    assert_int_equal(run_sql(database, "INSERT INTO buffers (model) VALUES (7)"), -ENOENT);
}

static void a_deleted_model_takes_its_rows_along(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();

    assert_int_equal(run_sql(database, put_model), 0);
    assert_int_equal(run_sql(database, "INSERT INTO buffers (model) VALUES (1)"), 0);
    assert_int_equal(run_sql(database, "DELETE FROM models"), 0);
    assert_int_equal(ask(database, "SELECT count(*) FROM buffers"), 0);
    assert_int_equal(run_sql(database, put_model), 0);
    assert_int_equal(ask(database, "SELECT id FROM models"), 2); /* a number is never used again */
}

static void codes_become_errnos(void **state)
{
    (void)state;
    assert_int_equal(database_errno(SQLITE_OK), 0);
    assert_int_equal(database_errno(SQLITE_DONE), 0);
    assert_int_equal(database_errno(SQLITE_FULL), -ENOSPC);
    assert_int_equal(database_errno(SQLITE_CORRUPT_INDEX), -EUCLEAN);
    assert_int_equal(database_errno(SQLITE_NOTADB), -EUCLEAN);
    assert_int_equal(database_errno(SQLITE_READONLY_DIRECTORY), -EROFS);
    assert_int_equal(database_errno(SQLITE_BUSY_SNAPSHOT), -EBUSY);
    assert_int_equal(database_errno(SQLITE_NOMEM), -ENOMEM);
    assert_int_equal(database_errno(SQLITE_IOERR_NOMEM), -ENOMEM);
    assert_int_equal(database_errno(SQLITE_IOERR_FSYNC), -EIO);
    assert_int_equal(database_errno(SQLITE_CONSTRAINT_FOREIGNKEY), -ENOENT);
    assert_int_equal(database_errno(SQLITE_CONSTRAINT_UNIQUE), -EINVAL);
    assert_int_equal(database_errno(SQLITE_INTERRUPT), -ECANCELED);
}

static void size_grows_with_what_is_in_it(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    const uint64_t before = database_size(database);

    assert_int_equal(run_sql(database, "INSERT INTO audit (time_us, model, who, act) VALUES "
                                       "(1, '', '', hex(zeroblob(100000)))"),
                     0);
    assert_true(database_size(database) >= before + 200000);
    assert_true(database_room(database) > 0);
}

/* ---- a full disk ---- */

static const char put_64_kb[] =
    "INSERT INTO audit (time_us, model, who, act) VALUES (1, '', '', hex(zeroblob(32768)))";
static const char count_acts[] = "SELECT count(*) FROM audit";

/* Writes until it fails with r; what was acknowledged is there, and only that. */
static int fill_up(struct database *database, int r, int64_t *ret_n)
{
    int64_t n = ask(database, count_acts);
    int ended;

    while ((ended = run_sql(database, put_64_kb)) == 0)
        n++;
    CHILD_CHECK(ended == r);
    CHILD_CHECK(run_sql(database, put_64_kb) == r); /* and still usable */
    CHILD_CHECK(ask(database, count_acts) == n);
    *ret_n = n;
    return 0;
}

static int write_on_a_small_disk(void)
{
    static const char filler[512 * 1024];
    struct database *database = NULL;
    struct text notes = {0};
    int64_t n, more;

    if (!mount_small_disk("size=2m"))
        return CHILD_SKIPPED;
    FILE *file = fopen(path_in("filler"), "w");
    CHILD_CHECK(file && fwrite(filler, 1, sizeof(filler), file) == sizeof(filler));
    CHILD_CHECK(fclose(file) == 0);

    CHILD_CHECK(database_open(folder, true, &database, &notes, NULL) == 0);
    CHILD_CHECK(fill_up(database, -ENOSPC, &n) == 0 && n > 1);
    CHILD_CHECK(unlink(path_in("filler")) == 0);
    CHILD_CHECK(fill_up(database, -ENOSPC, &more) == 0 && more > n);
    database_free(database);

    CHILD_CHECK(database_open(folder, true, &database, &notes, NULL) == 0);
    CHILD_CHECK(notes.length == 0);
    CHILD_CHECK(ask(database, count_acts) == more);
    return 0;
}

static void a_full_disk_loses_nothing_and_is_survived(void **state)
{
    (void)state;
    const int status = run_in_child(write_on_a_small_disk);

    if (status == CHILD_SKIPPED)
        SKIP_TEST("file systems cannot be mounted here");
    assert_int_equal(status, 0);
}

static int open_on_a_full_disk(void)
{
    struct database *database = NULL;
    struct text notes = {0};
    struct error error = {0};

    if (!mount_small_disk("size=40k"))
        return CHILD_SKIPPED;
    CHILD_CHECK(database_open(folder, true, &database, &notes, &error) == -ENOSPC);
    CHILD_CHECK(strstr(error.text, "No space left on device"));
    CHILD_CHECK(notes.length == 0);
    return 0;
}

static void a_disk_too_full_to_open_it_is_told(void **state)
{
    (void)state;
    const int status = run_in_child(open_on_a_full_disk);

    if (status == CHILD_SKIPPED)
        SKIP_TEST("file systems cannot be mounted here");
    assert_int_equal(status, 0);
}

static int write_past_the_limit(void)
{
    const struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    const struct rlimit large = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct database *database = open_quietly();
    int64_t n, more;

    (void)signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHILD_CHECK(fill_up(database, -EIO, &n) == 0 && n > 1);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &large) == 0);
    for (int i = 0; i < 100; i++)
        CHILD_CHECK(run_sql(database, put_64_kb) == 0);
    more = ask(database, count_acts);
    CHILD_CHECK(more == n + 100);
    database_free(database);
    return 0;
}

static void a_failed_write_is_rolled_back_and_survived(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(write_past_the_limit), 0);
    database_free(open_quietly());
}

static void a_file_that_may_not_grow_is_full(void **state)
{
    (void)state;
    CLEANUP(database_freep) struct database *database = open_quietly();
    struct sqlite3 *connection;
    int64_t n;

    assert_int_equal(database_write(database, &connection), 0);
    assert_int_equal(sqlite3_exec(connection, "PRAGMA max_page_count = 100", NULL, NULL, NULL), 0);
    assert_int_equal(database_end(database, 0), 0);
    assert_int_equal(fill_up(database, -ENOSPC, &n), 0);
    assert_true(n > 1);
}

/* ---- threads ---- */

#define N_TRANSACTIONS 100

static struct database *shared;
static atomic_int n_failed;

static void *write_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < N_TRANSACTIONS; i++)
        if (run_sql(shared, put_model) < 0)
            n_failed++;
    return NULL;
}

static void *read_many(void *unused)
{
    int64_t last = 0;

    (void)unused;
    for (int i = 0; i < N_TRANSACTIONS; i++) {
        const int64_t n = ask(shared, count_models);
        if (n < last)
            n_failed++;
        last = n;
    }
    return NULL;
}

static void many_threads_write_and_read(void **state)
{
    (void)state;
    void *(*const bodies[])(void *) = {write_many, read_many, write_many, read_many};
    pthread_t threads[4];

    shared = open_quietly();
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(n_failed, 0);
    assert_int_equal(ask(shared, count_models), 2 * N_TRANSACTIONS);
    database_free(shared);
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_folder(a_long_read_keeps_no_other_waiting),
        in_a_folder(what_was_deleted_is_room_for_new_rows),
        in_a_folder(what_is_written_is_there_when_opened_again),
        in_a_folder(a_folder_that_is_missing_is_named),
        in_a_folder(a_second_one_is_told_that_it_is_in_use),
        in_a_folder(another_process_is_locked_out_until_the_first_has_gone),
        in_a_folder(a_folder_that_may_not_be_written_is_refused),
        in_a_folder(a_read_only_disk_is_refused),
        in_a_folder(failed_allocations_leave_nothing_behind),
        in_a_folder(a_garbage_file_is_set_aside),
        in_a_folder(a_truncated_file_is_set_aside),
        in_a_folder(a_damaged_schema_is_set_aside),
        in_a_folder(a_damaged_table_is_set_aside),
        in_a_folder(a_file_without_one_of_our_tables_is_set_aside),
        in_a_folder(a_database_of_another_program_is_set_aside),
        in_a_folder(a_newer_file_is_set_aside_with_its_wal),
        in_a_folder(a_torn_last_page_of_the_wal_costs_only_what_was_not_acknowledged),
        in_a_folder(a_wal_cut_in_its_last_transaction_opens_without_it),
        in_a_folder(the_check_finds_damage_deep_in_the_file),
        in_a_folder(the_check_ends_when_it_must),
        in_a_folder(a_marked_file_is_set_aside_at_the_next_start),
        in_a_folder(a_mark_without_its_file_is_forgotten),
        in_a_folder(files_that_were_replaced_are_not_its_own),
        in_a_folder(what_ends_with_an_error_is_rolled_back),
        in_a_folder(a_reader_does_not_wait_for_a_writer_and_sees_what_is_committed),
        in_a_folder(a_reader_cannot_write),
        in_a_folder(a_commit_waits_for_the_disk_only_if_it_shall_survive_power_loss),
        in_a_folder(statements_are_kept_and_come_reset),
        in_a_folder(wrong_sql_is_an_error_where_it_is_run),
        in_a_folder(rows_of_a_model_that_is_not_there_are_refused),
        in_a_folder(a_deleted_model_takes_its_rows_along),
        in_a_folder(codes_become_errnos),
        in_a_folder(size_grows_with_what_is_in_it),
        in_a_folder(a_full_disk_loses_nothing_and_is_survived),
        in_a_folder(a_disk_too_full_to_open_it_is_told),
        in_a_folder(a_failed_write_is_rolled_back_and_survived),
        in_a_folder(a_file_that_may_not_grow_is_full),
        in_a_folder(many_threads_write_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
