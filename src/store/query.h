/* query - one statement on its way, inside this layer: values in, rows out, reset at the end.
 *
 * Bind and read without checking; the first error is remembered, what follows does nothing, and
 * query_run(), query_step(), query_list() and query_commit() return it. For one thread.
 *     CLEANUP(query_end) struct query query = query_begin_read(database, "SELECT …");
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct database;
struct sqlite3;
struct sqlite3_stmt;

struct query {
    struct sqlite3_stmt *statement;
    struct database *reading, *writing; /* locked until query_end(); NULL: not by the query */
    int n_bound;
    int r; /* 0 or the first negative errno */
};

/* One of several in a transaction that stands. sql is a literal: statements are kept by its
 * address. */
struct query query_begin(struct database *database, struct sqlite3 *connection, const char *sql);
/* The only one of its transaction, until query_end(). */
struct query query_begin_read(struct database *database, const char *sql);
/* The same; nothing of it stays without query_commit(). */
struct query query_begin_write(struct database *database, const char *sql);
void query_end(struct query *query);
/* 0: it is durable; else nothing of it is there. */
MUST_CHECK int query_commit(struct query *query);

/* The next parameter, from left to right. text is not copied; NULL is NULL. */
void query_bind_int(struct query *query, int64_t value);
void query_bind_uint(struct query *query, uint64_t value); /* above INT64_MAX: -ERANGE */
void query_bind_double(struct query *query, double value);
void query_bind_text(struct query *query, const char *text);
void query_bind_blob(struct query *query, const void *bytes, size_t size);

/* Runs what gives no rows. */
int query_run(struct query *query);
/* The same; -ENOENT: it changed no row. */
int query_change(struct query *query);
/* The same for INSERT … ON CONFLICT DO NOTHING; -EEXIST: it is there. */
int query_insert(struct query *query);
/* 1: a row is there; 0: no more. */
MUST_CHECK int query_step(struct query *query);

/* Columns of the row, from 0. */
int64_t query_int(struct query *query, int column);
double query_double(struct query *query, int column);
uint64_t query_uint(struct query *query, int column);
void query_copy_text(struct query *query, int column, char *ret_text, size_t size); /* or "" */
char *query_dup_text(struct query *query, int column); /* NULL: it is NULL, or an error */
void *query_dup_blob(struct query *query, int column, size_t *ret_size); /* the same */
/* Valid until the next step; NULL: an error, which an empty one is too. */
const void *query_blob(struct query *query, int column, size_t *ret_size);

/* All rows: read() fills a zeroed item of item_size bytes, clear() frees what it holds. ret_items
 * is the address of a pointer to items; NULL when there are none. */
MUST_CHECK int query_list(struct query *query, size_t item_size,
                          void (*read)(struct query *query, void *item), void (*clear)(void *item),
                          void *ret_items, size_t *ret_n_items);
