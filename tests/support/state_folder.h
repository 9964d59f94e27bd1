/* state_folder - a state directory of its own for each test, and children that may die or be
 * confined in it. */
#pragma once

#include "store/database.h"

#include "support/cmocka.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SKIPPED 77

static char folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_store.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    DIR *listing = opendir(folder);
    if (!listing)
        return -1;
    for (struct dirent *entry; (entry = readdir(listing));)
        (void)unlinkat(dirfd(listing), entry->d_name, 0);
    (void)closedir(listing);
    return rmdir(folder);
}

static inline const char *path_in(const char *name)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Opens it, which nobody should need to be told about. No power is lost in tests. */
static inline struct database *open_quietly(void)
{
    struct database *database = NULL;
    struct text notes = {0};
    struct error error = {0};

    const int r = database_open(folder, false, &database, &notes, &error);
    if (r < 0 || notes.length)
        fail_msg("%d %s %s", r, error.text, notes.data ? notes.data : "");
    return database;
}

/* In a transaction of its own. */
static inline int run_sql(struct database *database, const char *sql)
{
    struct sqlite3 *connection;
    int r = database_write(database, &connection);

    if (r < 0)
        return r;
    r = database_errno(sqlite3_exec(connection, sql, NULL, NULL, NULL));
    return database_end(database, r);
}

/* The number that a statement gives, or negative errno. */
static inline int64_t ask(struct database *database, const char *sql)
{
    struct sqlite3 *connection;
    struct sqlite3_stmt *statement = NULL;
    int64_t answer = database_read(database, &connection);

    if (answer < 0)
        return answer;
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    answer = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : database_errno(code);
    (void)sqlite3_finalize(statement);
    database_read_end(database);
    return answer;
}

/* For children: cmocka's asserts would jump into the parent's tests. */
#define CHILD_CHECK(condition)                                                    \
    do {                                                                          \
        if (!(condition)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            return 1;                                                             \
        }                                                                         \
    } while (0)

/* Its result is the exit status of a child that ends without cleaning up. */
static inline int run_in_child(int (*body)(void))
{
    const pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(body());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A file system of its own on the folder, for this child only. Needs root. */
static inline bool mount_small_disk(const char *options)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, options) == 0;
}
