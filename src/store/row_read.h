/* row_read - rows of one role out of the table, inside this layer. */
#pragma once

#include "store/row_buffer.h"

struct sqlite3;
struct sqlite3_stmt;

/* Ids of rows. {0} is empty. */
struct row_ids {
    int64_t *ids; /* [n] */
    size_t n, capacity;
};
void row_ids_clear(struct row_ids *list);
/* Adds the first column of all rows of the statement. */
MUST_CHECK int row_ids_collect(struct row_ids *list, struct sqlite3_stmt *statement);

struct row_reader {
    struct database *database;
    struct sqlite3 *sqlite; /* in a transaction */
    int64_t model;
    enum row_role role;
    size_t n_features;
    uint64_t seed; /* of what is drawn; the same rows give the same draw */
};

/* As row_buffer_read(). */
MUST_CHECK int row_read(const struct row_reader *reader, size_t newest, size_t older,
                        struct row_block *ret_block);
