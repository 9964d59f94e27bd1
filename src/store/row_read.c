#include "store/row_read.h"

#include "base/random.h"
#include "store/database.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* ---- ids ---- */

void row_ids_clear(struct row_ids *list)
{
    free(list->ids);
    *list = (struct row_ids){0};
}

static int add(struct row_ids *list, int64_t id)
{
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 256;
        int64_t *larger = realloc(list->ids, capacity * sizeof(*larger));
        if (!larger)
            return -ENOMEM;
        list->ids = larger;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return 0;
}

int row_ids_collect(struct row_ids *list, struct sqlite3_stmt *statement)
{
    int r;

    while ((r = database_step(statement)) > 0) {
        r = add(list, sqlite3_column_int64(statement, 0));
        if (r < 0) {
            (void)sqlite3_reset(statement);
            return r;
        }
    }
    return r;
}

static int compare_ids(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* ---- which rows ---- */

static struct sqlite3_stmt *statement_of(const struct row_reader *reader, const char *sql)
{
    struct sqlite3_stmt *statement = database_statement(reader->database, reader->sqlite, sql);

    (void)sqlite3_bind_int64(statement, 1, reader->model);
    (void)sqlite3_bind_int(statement, 2, (int)reader->role);
    return statement;
}

static int find_newest(const struct row_reader *reader, size_t most, struct row_ids *list)
{
    struct sqlite3_stmt *statement =
        statement_of(reader, "SELECT id FROM rows WHERE model = ?1 AND role = ?2 AND slot = 0"
                             " ORDER BY id DESC LIMIT ?3");

    (void)sqlite3_bind_int64(statement, 3, most > INT64_MAX ? INT64_MAX : (int64_t)most);
    return row_ids_collect(list, statement);
}

/* Keeps `most` of ids[n], each with the same probability, in their order (Knuth's algorithm S). */
static size_t draw(int64_t *ids, size_t n, size_t most, uint64_t seed)
{
    struct random random;
    size_t kept = 0;

    random_seed(&random, seed);
    for (size_t i = 0; i < n && kept < most; i++)
        if (random_below(&random, n - i) < most - kept)
            ids[kept++] = ids[i];
    return kept;
}

static int find_older(const struct row_reader *reader, size_t most, struct row_ids *list)
{
    const size_t n_newest = list->n;
    const uint64_t newest = n_newest ? (uint64_t)list->ids[0] : 0; /* each draw is another one */

    int r = row_ids_collect(
        list, statement_of(reader, "SELECT id FROM rows WHERE model = ?1 AND role = ?2 AND slot > 0"
                                   " ORDER BY slot"));
    if (r == 0 && list->n - n_newest > most)
        list->n = n_newest + draw(list->ids + n_newest, list->n - n_newest, most,
                                  reader->seed + newest * 0x9FB21C651E98DF25);
    return r;
}

/* ---- the rows ---- */

void row_block_clear(struct row_block *block)
{
    free(block->values);
    free(block->numbers);
    free(block->times_us);
    free(block->is_approved);
    *block = (struct row_block){0};
}

static int read_row(const struct row_reader *reader, int64_t id, struct row_block *block)
{
    const size_t size = reader->n_features * sizeof(float);
    struct sqlite3_stmt *statement =
        database_statement(reader->database, reader->sqlite,
                           "SELECT number, time_us, is_approved, vector FROM rows WHERE id = ?");

    (void)sqlite3_bind_int64(statement, 1, id);
    int r = database_step(statement);
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    block->numbers[block->n_rows] = (uint64_t)sqlite3_column_int64(statement, 0);
    block->times_us[block->n_rows] = (uint64_t)sqlite3_column_int64(statement, 1);
    block->is_approved[block->n_rows] = sqlite3_column_int(statement, 2) != 0;
    const void *vector = sqlite3_column_blob(statement, 3);
    if ((size_t)sqlite3_column_bytes(statement, 3) != size)
        r = -EINVAL;
    else if (!vector)
        r = -ENOMEM;
    else
        memcpy(block->values + block->n_rows++ * reader->n_features, vector, size);
    (void)sqlite3_reset(statement);
    return r < 0 ? r : 0;
}

int row_read(const struct row_reader *reader, size_t newest, size_t older,
             struct row_block *ret_block)
{
    CLEANUP(row_ids_clear) struct row_ids list = {0};
    CLEANUP(row_block_clear) struct row_block block = {0};

    int r = newest ? find_newest(reader, newest, &list) : 0;
    if (r == 0 && older)
        r = find_older(reader, older, &list);
    if (r < 0)
        return r;
    if (list.n) {
        qsort(list.ids, list.n, sizeof(*list.ids), compare_ids);
        block.values = calloc(list.n, reader->n_features * sizeof(float));
        block.numbers = calloc(list.n, sizeof(*block.numbers));
        block.times_us = calloc(list.n, sizeof(*block.times_us));
        block.is_approved = calloc(list.n, sizeof(*block.is_approved));
        if (!block.values || !block.numbers || !block.times_us || !block.is_approved)
            return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = read_row(reader, list.ids[i], &block);
    if (r < 0)
        return r;
    *ret_block = block;
    block = (struct row_block){0};
    return 0;
}
