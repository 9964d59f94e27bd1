/* database - state.db in the state directory (home of SQLite): opened, checked, migrated.
 *
 * One connection writes, one reads, one reads much at a time (WAL), each under its own mutex, so
 * that who looks waits neither for the disk nor for a training's rows. What the other modules of
 * this layer keep in it is in schema.c's list of migrations; they borrow a connection with
 * database_write() or database_read(). Nothing here logs or exits. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct sqlite3;
struct sqlite3_stmt;

/* Opens or makes directory/state.db. survives_power_loss: a commit waits for the disk
 * (synchronous=FULL), else it only survives the end of the process. A file that is damaged (found
 * at the latest by reading the schema and the first page of each table, or marked) or of a newer
 * version is set aside with its -wal as state.db.damaged-TIME or state.db.newer-TIME, and ret_notes
 * gets a line for the operator that says so and what to do; a new file takes its place. Other
 * programs are locked out. Negative errno with the reason: the directory cannot be written, another
 * process has it open (-EBUSY), …; -ENOMEM. */
MUST_CHECK int database_open(const char *directory, bool survives_power_loss,
                             struct database **ret_database, struct text *ret_notes,
                             struct error *reterr);
void database_free(struct database *database);
DEFINE_CLEANUP(struct database *, database_free)

const char *database_directory(const struct database *database);

/* Reads the whole file (PRAGMA quick_check) through a connection of its own: for a thread in the
 * background. 0; -EUCLEAN with the first finding; negative errno. *must_stop (may be NULL) is
 * looked at now and then; -ECANCELED. */
MUST_CHECK int database_check(struct database *database, const bool *must_stop,
                              struct error *reterr);

/* The next database_open() sets the file aside as damaged: for what only database_check() or a
 * statement (-EUCLEAN) has found. -ENOENT: it is not in its place. */
MUST_CHECK int database_mark_damaged(struct database *database);

/* Bytes of the file and its -wal (0: they have been moved, deleted or replaced, and what is written
 * to them will not be found again), and free in its file system. */
uint64_t database_size(const struct database *database);
uint64_t database_room(const struct database *database);
/* Of those of the file, what new rows take first: it grows only when there is nothing of it. */
uint64_t database_free_bytes(const struct database *database);
/* Much was deleted: the -wal is emptied, unless somebody is reading it. */
void database_make_room(struct database *database);

/* ---- for the modules of this layer ---- */

/* Begins a transaction on the writing connection and locks it; database_end() with r == 0 commits,
 * with r < 0 rolls back, and unlocks: returns r, or the negative errno of a commit that failed
 * (-ENOSPC, -EROFS, -EIO …; nothing of it is kept then). Who keeps in memory what is in the file
 * does it in two steps, and follows a commit before another writer begins. */
MUST_CHECK int database_write(struct database *database, struct sqlite3 **ret_connection);
MUST_CHECK int database_end(struct database *database, int r);
MUST_CHECK int database_commit(struct database *database, int r);
void database_unlock(struct database *database);

/* Locks the reading connection, in one read transaction until database_read_end(). */
MUST_CHECK int database_read(struct database *database, struct sqlite3 **ret_connection);
void database_read_end(struct database *database);
/* The same for what takes long. */
MUST_CHECK int database_scan(struct database *database, struct sqlite3 **ret_connection);
void database_scan_end(struct database *database);

/* A prepared statement of connection, cached by the address of sql (a literal), reset and without
 * bindings. NULL: no memory, the file cannot be read or the SQL is wrong (a bug); binding to NULL
 * does nothing, and the two below say -EIO. */
struct sqlite3_stmt *database_statement(struct database *database, struct sqlite3 *connection,
                                        const char *sql);

/* 1: there is a row; 0: the end; or negative errno. The statement is reset at the end. */
MUST_CHECK int database_step(struct sqlite3_stmt *statement);

/* Runs a statement that gives no rows to its end, and resets it. 0 or negative errno. */
MUST_CHECK int database_run(struct sqlite3_stmt *statement);

/* The errno that an SQLite result code stands for: SQLITE_FULL → -ENOSPC, SQLITE_CORRUPT →
 * -EUCLEAN, SQLITE_READONLY → -EROFS, SQLITE_BUSY → -EBUSY, SQLITE_NOMEM → -ENOMEM, a row of a
 * model that is not there (foreign key) → -ENOENT, … -EIO. */
int database_errno(int code);
