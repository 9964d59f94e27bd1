#include "store/query.h"

#include "store/database.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct query query_begin(struct database *database, struct sqlite3 *connection, const char *sql)
{
    struct sqlite3_stmt *statement = database_statement(database, connection, sql);

    return (struct query){.statement = statement, .r = statement ? 0 : -ENOMEM};
}

struct query query_begin_read(struct database *database, const char *sql)
{
    struct sqlite3 *connection;
    const int r = database_read(database, &connection);
    if (r < 0)
        return (struct query){.r = r};

    struct query query = query_begin(database, connection, sql);
    query.reading = database;
    return query;
}

struct query query_begin_write(struct database *database, const char *sql)
{
    struct sqlite3 *connection;
    const int r = database_write(database, &connection);
    if (r < 0)
        return (struct query){.r = r};

    struct query query = query_begin(database, connection, sql);
    query.writing = database;
    return query;
}

/* The statement first: unless it is reset its transaction stays open, and once the lock is gone it
 * may be another thread's. */
static void reset(struct query *query)
{
    if (query->statement)
        (void)sqlite3_reset(query->statement); /* its code repeats that of the last step */
    query->statement = NULL;
}

int query_commit(struct query *query)
{
    reset(query);
    if (query->writing)
        query->r = database_end(TAKE(query->writing), query->r);
    return query->r;
}

void query_end(struct query *query)
{
    reset(query);
    if (query->reading)
        database_read_end(query->reading);
    if (query->writing)
        query->r = database_end(query->writing, query->r < 0 ? query->r : -ECANCELED);
}

/* ---- in ---- */

static void note_code(struct query *query, int code)
{
    if (query->r == 0 && code != SQLITE_OK)
        query->r = database_errno(code);
}

void query_bind_int(struct query *query, int64_t value)
{
    if (query->r == 0)
        note_code(query, sqlite3_bind_int64(query->statement, ++query->n_bound, value));
}

void query_bind_uint(struct query *query, uint64_t value)
{
    if (query->r == 0 && value > INT64_MAX)
        query->r = -ERANGE;
    query_bind_int(query, (int64_t)value);
}

void query_bind_double(struct query *query, double value)
{
    if (query->r == 0)
        note_code(query, sqlite3_bind_double(query->statement, ++query->n_bound, value));
}

void query_bind_blob(struct query *query, const void *bytes, size_t size)
{
    if (query->r == 0)
        note_code(query, sqlite3_bind_blob64(query->statement, ++query->n_bound, bytes, size,
                                             SQLITE_STATIC));
}

void query_bind_text(struct query *query, const char *text)
{
    if (query->r == 0)
        note_code(query,
                  sqlite3_bind_text(query->statement, ++query->n_bound, text, -1, SQLITE_STATIC));
}

/* ---- running ---- */

int query_run(struct query *query)
{
    if (query->r == 0)
        query->r = database_run(query->statement);
    return query->r;
}

static int run_or(struct query *query, int r_if_nothing_changed)
{
    if (query_run(query) == 0 && sqlite3_changes(sqlite3_db_handle(query->statement)) == 0)
        query->r = r_if_nothing_changed;
    return query->r;
}

int query_change(struct query *query)
{
    return run_or(query, -ENOENT);
}

int query_insert(struct query *query)
{
    return run_or(query, -EEXIST);
}

int query_step(struct query *query)
{
    if (query->r < 0)
        return query->r;
    const int r = database_step(query->statement);
    if (r < 0)
        query->r = r;
    return r;
}

/* ---- out ---- */

int64_t query_int(struct query *query, int column)
{
    return query->r == 0 ? sqlite3_column_int64(query->statement, column) : 0;
}

double query_double(struct query *query, int column)
{
    return query->r == 0 ? sqlite3_column_double(query->statement, column) : 0.0;
}

uint64_t query_uint(struct query *query, int column)
{
    return (uint64_t)query_int(query, column);
}

static const char *column_text(struct query *query, int column)
{
    if (query->r < 0 || sqlite3_column_type(query->statement, column) == SQLITE_NULL)
        return NULL;
    const char *text = (const char *)sqlite3_column_text(query->statement, column);
    if (!text)
        query->r = -ENOMEM;
    return text;
}

void query_copy_text(struct query *query, int column, char *ret_text, size_t size)
{
    const char *text = column_text(query, column);
    const size_t length = text ? strnlen(text, size - 1) : 0;

    if (length > 0)
        (void)memcpy(ret_text, text, length);
    ret_text[length] = '\0';
}

char *query_dup_text(struct query *query, int column)
{
    const char *text = column_text(query, column);
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        query->r = -ENOMEM;
    return copy;
}

void *query_dup_blob(struct query *query, int column, size_t *ret_size)
{
    const void *bytes = query->r < 0 ? NULL : sqlite3_column_blob(query->statement, column);
    const size_t size = bytes ? (size_t)sqlite3_column_bytes(query->statement, column) : 0;
    void *copy = bytes ? malloc(size) : NULL;

    if (bytes && !copy)
        query->r = -ENOMEM;
    if (copy)
        memcpy(copy, bytes, size);
    *ret_size = copy ? size : 0;
    return copy;
}

const void *query_blob(struct query *query, int column, size_t *ret_size)
{
    if (query->r < 0)
        return NULL;
    const void *blob = sqlite3_column_blob(query->statement, column);
    const int size = sqlite3_column_bytes(query->statement, column);
    if (!blob)
        query->r = size > 0 ? -ENOMEM : -EUCLEAN;
    *ret_size = blob ? (size_t)size : 0;
    return blob;
}

/* ---- lists ---- */

struct list {
    char *items; /* [n_items], of item_size bytes each */
    size_t n_items, capacity, item_size;
    void (*clear)(void *item);
};

static void list_clear(struct list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        list->clear(list->items + i * list->item_size);
    free(list->items);
}

static void *list_add(struct list *list)
{
    if (list->n_items == list->capacity) {
        const size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        char *items = realloc(list->items, capacity * list->item_size);
        if (!items)
            return NULL;
        list->items = items;
        list->capacity = capacity;
    }
    return memset(list->items + list->n_items++ * list->item_size, 0, list->item_size);
}

int query_list(struct query *query, size_t item_size, void (*read)(struct query *query, void *item),
               void (*clear)(void *item), void *ret_items, size_t *ret_n_items)
{
    CLEANUP(list_clear) struct list list = {.item_size = item_size, .clear = clear};
    int r;

    while ((r = query_step(query)) > 0) {
        void *item = list_add(&list);
        if (!item)
            return -ENOMEM;
        read(query, item);
    }
    if (r < 0)
        return r;
    (void)memcpy(ret_items, &list.items, sizeof(list.items)); /* whatever they point to */
    *ret_n_items = list.n_items;
    list.n_items = 0;
    list.items = NULL;
    return 0;
}
