/* columns - what each column of a file is: a feature, the label, the timestamp, the series, or left
 * out.
 *
 * The rules of dataset.h, decided once before the first row. Plain data; it does not change after
 * columns_plan(). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>

struct csv_cell;
struct dataset_options;

enum column_kind {
    COLUMN_FEATURE,
    COLUMN_LABEL,
    COLUMN_TIMESTAMP,
    COLUMN_SERIES,
    COLUMN_IGNORED
};

struct column {
    char *name;
    enum column_kind kind;
    size_t feature; /* its place in a row, for COLUMN_FEATURE */
};

struct columns {
    struct column *items; /* [n_items] */
    size_t n_items;
    size_t n_features; /* of a row; with a schema also the absent ones */
};

/* header[n_columns] stands on the given line of file; NULL: no header, the columns are f0, f1, ….
 * -EINVAL with the reason, -ENOMEM. */
MUST_CHECK int columns_plan(const char *file, size_t line, const struct csv_cell *header,
                            size_t n_columns, const struct dataset_options *options,
                            struct columns *ret_columns, struct error *reterr);
void columns_clear(struct columns *columns);
