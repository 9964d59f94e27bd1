/* database_folder - a database in a folder of its own, for tests of what is kept in it. */
#pragma once

#include "store/database.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char database_folder[32];
static struct database *database;

static inline void reopen_database(void)
{
    CLEANUP(text_clear) struct text notes = {0};
    struct error error = {0};

    database_free(TAKE(database));
    if (database_open(database_folder, false, &database, &notes, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(notes.length, 0);
}

static inline int make_database(void **state)
{
    (void)state;
    const bool has_memory = access("/dev/shm", W_OK) == 0; /* spares the disk thousands of fsyncs */

    (void)snprintf(database_folder, sizeof(database_folder), "%s/test_store.XXXXXX",
                   has_memory ? "/dev/shm" : "/tmp");
    if (!mkdtemp(database_folder))
        return -1;
    reopen_database();
    return 0;
}

static inline int remove_entry(const char *path, const struct stat *status, int type,
                               struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    return remove(path);
}

static inline int remove_database(void **state)
{
    (void)state;
    database_free(TAKE(database));
    return nftw(database_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#define DATABASE_TEST(name) cmocka_unit_test_setup_teardown(name, make_database, remove_database)

/* ---- behind the module's back ---- */

static inline void execute(const char *sql)
{
    struct sqlite3 *connection;

    assert_int_equal(database_write(database, &connection), 0);
    const int code = sqlite3_exec(connection, sql, NULL, NULL, NULL);
    assert_int_equal(database_end(database, 0), 0);
    assert_int_equal(code, SQLITE_OK);
}

static inline int64_t count(const char *sql)
{
    struct sqlite3 *connection;
    struct sqlite3_stmt *statement = NULL; /* not a kept one: sql may be a buffer */

    assert_int_equal(database_read(database, &connection), 0);
    assert_int_equal(sqlite3_prepare_v2(connection, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t n = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    database_read_end(database);
    return n;
}

/* ---- SQLite's own allocations: they fail as alloc_fail_in says, once it was told to ---- */

static struct sqlite3_mem_methods real_methods;

static inline void *malloc_or_fail(int size)
{
    const bool fails = alloc_fail_in >= 0 && alloc_fail_in-- == 0;

    return fails ? NULL : real_methods.xMalloc(size);
}

static inline void *realloc_or_fail(void *old, int size)
{
    const bool fails = alloc_fail_in >= 0 && alloc_fail_in-- == 0;

    return fails ? NULL : real_methods.xRealloc(old, size);
}

/* Before SQLite is used: first thing in main(). */
static inline void let_sqlite_allocations_fail(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_methods);
    struct sqlite3_mem_methods methods = real_methods;
    methods.xMalloc = malloc_or_fail;
    methods.xRealloc = realloc_or_fail;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* Runs use_all() with each allocation failing in turn: it succeeds (SQLite can do without some) or
 * says -ENOMEM (-EIO where a statement could not be prepared), and in the end it succeeds. */
static inline void fail_each_allocation(int (*use_all)(void))
{
    bool has_failed = true;

    for (int nth = 0; has_failed; nth++) {
        assert_in_range(nth, 0, 20000);
        reopen_database(); /* statements are not prepared yet */
        alloc_fail_in = nth;
        const int r = use_all();
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        if (r != 0 && !(has_failed && (r == -ENOMEM || r == -EIO)))
            fail_msg("allocation %d failed: %s", nth, strerror(-r));
    }
}
