#include "store/database.h"

#include "base/file.h"
#include "store/schema.h"
#include "store/state_file.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define MOST_STATEMENTS 128 /* of the whole layer, on one connection */

struct connection {
    struct sqlite3 *sqlite;
    pthread_mutex_t lock;
    struct {
        const char *sql;
        struct sqlite3_stmt *prepared;
    } statements[MOST_STATEMENTS];
    size_t n_statements;
};

struct database {
    char *directory, *path; /* path: of state.db */
    int lock_fd;
    struct state_file_identity identity;
    struct connection writer, reader, scanner;
    atomic_uint_least64_t free_bytes; /* in pages that nothing is in */
};

/* ---- SQLite's codes ---- */

int database_errno(int code)
{
    if (code == SQLITE_CONSTRAINT_FOREIGNKEY)
        return -ENOENT;
    if (code == SQLITE_IOERR_SHMSIZE) /* the -shm has no room */
        return -ENOSPC;
    if (code == SQLITE_IOERR_NOMEM)
        return -ENOMEM;
    if (code == SQLITE_IOERR_CORRUPTFS)
        return -EUCLEAN;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_INTERRUPT:
        return -ECANCELED;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_TOOBIG:
        return -E2BIG;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return -EINVAL;
    default:
        return -EIO;
    }
}

static int execute(struct sqlite3 *sqlite, const char *sql)
{
    return database_errno(sqlite3_exec(sqlite, sql, NULL, NULL, NULL));
}

/* ---- statements and transactions ---- */

struct sqlite3_stmt *database_statement(struct database *database, struct sqlite3 *connection,
                                        const char *sql)
{
    struct connection *own = connection == database->writer.sqlite   ? &database->writer
                             : connection == database->reader.sqlite ? &database->reader
                                                                     : &database->scanner;

    assert(own->sqlite == connection);
    for (size_t i = 0; i < own->n_statements; i++) {
        if (own->statements[i].sql == sql) {
            struct sqlite3_stmt *statement = own->statements[i].prepared;
            (void)sqlite3_reset(statement); /* repeats an error that was told already */
            (void)sqlite3_clear_bindings(statement);
            return statement;
        }
    }

    struct sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK)
        return NULL;
    assert(own->n_statements < MOST_STATEMENTS);
    own->statements[own->n_statements].sql = sql;
    own->statements[own->n_statements++].prepared = statement;
    return statement;
}

int database_step(struct sqlite3_stmt *statement)
{
    if (!statement)
        return -EIO;
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    const int r = database_errno(code);
    (void)sqlite3_reset(statement);
    return r;
}

int database_run(struct sqlite3_stmt *statement)
{
    const int r = database_step(statement);

    if (r <= 0)
        return r;
    (void)sqlite3_reset(statement);
    return 0;
}

/* Statements left half-way would keep the transaction's snapshot open. */
static void reset_all(struct sqlite3 *sqlite)
{
    struct sqlite3_stmt *statement = NULL;

    while ((statement = sqlite3_next_stmt(sqlite, statement)))
        if (sqlite3_stmt_busy(statement))
            (void)sqlite3_reset(statement);
}

static int begin(struct database *database, struct connection *connection, const char *sql,
                 struct sqlite3 **ret_connection)
{
    (void)pthread_mutex_lock(&connection->lock);
    if (sqlite3_get_autocommit(connection->sqlite) == 0) /* the last end found no memory */
        (void)sqlite3_exec(connection->sqlite, "ROLLBACK", NULL, NULL, NULL);
    const int r = database_run(database_statement(database, connection->sqlite, sql));
    if (r < 0)
        (void)pthread_mutex_unlock(&connection->lock);
    else
        *ret_connection = connection->sqlite;
    return r;
}

int database_write(struct database *database, struct sqlite3 **ret_connection)
{
    return begin(database, &database->writer, "BEGIN IMMEDIATE", ret_connection);
}

/* Under the writing lock, outside a transaction. Where it cannot be told, nothing is free. */
static uint64_t ask_number(struct database *database, const char *pragma)
{
    struct sqlite3_stmt *statement = database_statement(database, database->writer.sqlite, pragma);
    const bool is_known = database_step(statement) > 0;
    const int64_t number = is_known ? sqlite3_column_int64(statement, 0) : 0;

    (void)sqlite3_reset(statement);
    return number > 0 ? (uint64_t)number : 0;
}

static void count_free(struct database *database)
{
    atomic_store(&database->free_bytes, ask_number(database, "PRAGMA freelist_count") *
                                            ask_number(database, "PRAGMA page_size"));
}

int database_commit(struct database *database, int r)
{
    struct sqlite3 *sqlite = database->writer.sqlite;

    assert(r <= 0);
    reset_all(sqlite);
    if (r == 0)
        r = database_run(database_statement(database, sqlite, "COMMIT"));
    if (sqlite3_get_autocommit(sqlite) == 0) /* SQLite has rolled back already after some errors */
        (void)sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    else if (r == 0)
        count_free(database);
    return r;
}

void database_unlock(struct database *database)
{
    (void)pthread_mutex_unlock(&database->writer.lock);
}

int database_end(struct database *database, int r)
{
    r = database_commit(database, r);
    database_unlock(database);
    return r;
}

int database_read(struct database *database, struct sqlite3 **ret_connection)
{
    return begin(database, &database->reader, "BEGIN", ret_connection);
}

static void read_end(struct connection *connection)
{
    reset_all(connection->sqlite);
    (void)sqlite3_exec(connection->sqlite, "COMMIT", NULL, NULL, NULL); /* nothing to lose */
    (void)pthread_mutex_unlock(&connection->lock);
}

void database_read_end(struct database *database)
{
    read_end(&database->reader);
}

int database_scan(struct database *database, struct sqlite3 **ret_connection)
{
    return begin(database, &database->scanner, "BEGIN", ret_connection);
}

void database_scan_end(struct database *database)
{
    read_end(&database->scanner);
}

void database_make_room(struct database *database)
{
    (void)pthread_mutex_lock(&database->writer.lock);
    (void)sqlite3_wal_checkpoint_v2(database->writer.sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                    NULL);
    (void)pthread_mutex_unlock(&database->writer.lock);
}

/* ---- open ---- */

static void connection_close(struct connection *connection)
{
    for (size_t i = 0; i < connection->n_statements; i++)
        (void)sqlite3_finalize(connection->statements[i].prepared);
    connection->n_statements = 0;
    (void)sqlite3_close_v2(connection->sqlite);
    connection->sqlite = NULL;
}

static int connection_open(struct connection *connection, const char *path, const char *pragmas)
{
    /* NOMUTEX: each connection has a lock of its own here. */
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int r = sqlite3_open_v2(path, &connection->sqlite, flags, NULL);

    if (r != SQLITE_OK)
        return database_errno(r);
    (void)sqlite3_busy_timeout(connection->sqlite, 1000); /* milliseconds; only we are there */
    return execute(connection->sqlite, pragmas);
}

/* All connections to a file of this version. Their caches are small, KiB: larger ones grow with the
 * file for hours, and made storing each row of a full buffer no cheaper. -EUCLEAN: damaged or not
 * ours; -ENOTSUP: newer. */
static int open_file(struct database *database, bool survives_power_loss)
{
    static const char common[] = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;"
                                 "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                                 "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = OFF;"
                                 "PRAGMA cache_size = -512;";
    struct connection *writer = &database->writer;

    /* NORMAL syncs before and after a checkpoint: a power loss costs rows, never the file. */
    int r = connection_open(writer, database->path, common);
    if (r == 0)
        r = execute(writer->sqlite, survives_power_loss ? "PRAGMA synchronous = FULL"
                                                        : "PRAGMA synchronous = NORMAL");
    if (r == 0)
        r = execute(writer->sqlite, "PRAGMA wal_autocheckpoint = 2000;"
                                    "PRAGMA journal_size_limit = 33554432");
    if (r == 0)
        r = schema_upgrade(writer->sqlite);
    if (r == 0)
        r = connection_open(&database->reader, database->path, common);
    if (r == 0)
        r = execute(database->reader.sqlite, "PRAGMA query_only = ON");
    if (r == 0)
        r = connection_open(&database->scanner, database->path, common);
    if (r == 0)
        r = execute(database->scanner.sqlite, "PRAGMA query_only = ON");
    if (r == 0)
        count_free(database);
    return r;
}

static void close_connections(struct database *database)
{
    connection_close(&database->scanner);
    connection_close(&database->reader);
    connection_close(&database->writer);
}

static int open_or_replace(struct database *database, bool survives_power_loss,
                           struct text *ret_notes, struct error *reterr)
{
    const bool is_marked = state_file_is_marked(database->path);

    int r = state_file_touch(database->path, reterr);
    if (r < 0)
        return r;
    r = is_marked ? -EUCLEAN : open_file(database, survives_power_loss);
    if (r == -EUCLEAN || r == -ENOTSUP) {
        /* as found: closing would write the -wal into the file */
        if (database->writer.sqlite)
            (void)sqlite3_db_config(database->writer.sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
                                    NULL);
        close_connections(database);
        r = state_file_set_aside(database->directory, database->path,
                                 r == -ENOTSUP ? "newer" : "damaged", ret_notes, reterr);
        if (r == 0)
            r = state_file_touch(database->path, reterr);
        if (r < 0)
            return r;
        r = open_file(database, survives_power_loss);
    }
    if (r == 0)
        r = state_file_sync(database->directory);
    state_file_identify(database->path, &database->identity);
    return r < 0 ? error_set_errno(reterr, r, database->path, "open") : 0;
}

int database_open(const char *directory, bool survives_power_loss, struct database **ret_database,
                  struct text *ret_notes, struct error *reterr)
{
    assert(directory && ret_database && ret_notes);

    CLEANUP(database_freep) struct database *database = calloc(1, sizeof(*database));
    if (!database)
        return error_set_errno(reterr, -ENOMEM, directory, "open");
    database->lock_fd = -1;
    (void)pthread_mutex_init(&database->writer.lock, NULL); /* cannot fail with these attributes */
    (void)pthread_mutex_init(&database->reader.lock, NULL);
    (void)pthread_mutex_init(&database->scanner.lock, NULL);
    database->directory = strdup(directory);
    if (!database->directory || asprintf(&database->path, "%s/state.db", directory) < 0) {
        database->path = NULL;
        return error_set_errno(reterr, -ENOMEM, directory, "open");
    }

    int r = state_file_lock(directory, &database->lock_fd, reterr);
    if (r == 0)
        r = open_or_replace(database, survives_power_loss, ret_notes, reterr);
    if (r < 0)
        return r;
    *ret_database = TAKE(database);
    return 0;
}

void database_free(struct database *database)
{
    if (!database)
        return;
    close_connections(database);
    (void)pthread_mutex_destroy(&database->scanner.lock);
    (void)pthread_mutex_destroy(&database->reader.lock);
    (void)pthread_mutex_destroy(&database->writer.lock);
    close_fd(&database->lock_fd); /* last: it lets the next one in */
    free(database->path);
    free(database->directory);
    free(database);
}

const char *database_directory(const struct database *database)
{
    return database->directory;
}

/* ---- check and size ---- */

static int is_stopped(void *flag)
{
    const bool *const *must_stop = flag;

    return __atomic_load_n(*must_stop, __ATOMIC_RELAXED);
}

static int quick_check(struct sqlite3 *sqlite, const char *path, struct error *reterr)
{
    struct sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sqlite, "PRAGMA quick_check(1)", -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    int r = database_errno(code);
    const char *found = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (found && strchr(found, '\n')) /* the line before says which database */
        found = strrchr(found, '\n') + 1;
    if (r == 0 && (!found || strcmp(found, "ok") != 0))
        r = error_set_at(reterr, -EUCLEAN, path, 0, "is damaged: %s", found ? found : "unreadable");
    else if (r < 0)
        (void)error_set_at(reterr, r, path, 0, "cannot be checked: %s", sqlite3_errmsg(sqlite));
    (void)sqlite3_finalize(statement);
    return r;
}

int database_check(struct database *database, const bool *must_stop, struct error *reterr)
{
    struct sqlite3 *sqlite = NULL;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;

    int r = database_errno(sqlite3_open_v2(database->path, &sqlite, flags, NULL));
    if (r == 0) {
        if (must_stop)
            sqlite3_progress_handler(sqlite, 1000, is_stopped, &must_stop);
        r = quick_check(sqlite, database->path, reterr);
    } else {
        (void)error_set_errno(reterr, r, database->path, "check");
    }
    (void)sqlite3_close_v2(sqlite);
    return r;
}

int database_mark_damaged(struct database *database)
{
    return database_size(database) == 0 ? -ENOENT
                                        : state_file_mark(database->directory, database->path);
}

uint64_t database_size(const struct database *database)
{
    return state_file_size(database->path, &database->identity);
}

uint64_t database_free_bytes(const struct database *database)
{
    return atomic_load(&database->free_bytes);
}

uint64_t database_room(const struct database *database)
{
    struct statvfs status;

    return statvfs(database->directory, &status) == 0
               ? (uint64_t)status.f_bavail * (uint64_t)status.f_frsize
               : 0;
}
