/* Rows of a .npy file, by rows or by columns as it has them. */
#include "base/input.h"
#include "base/number.h"
#include "data/dataset_reader.h"
#include "data/npy.h"

#include <math.h>
#include <stdbool.h>

static int read_npy_value(struct dataset_reader *reader, size_t column, double value)
{
    char text[NUMBER_MAX];

    switch (reader->columns.items[column].kind) {
    case COLUMN_FEATURE:
        if (reader->is_text && reader->is_text[reader->columns.items[column].feature] &&
            isfinite(value))
            return dataset_read_category(reader, column, text, number_write_double(text, value));
        if (isfinite((float)value) || isnan(value))
            return dataset_set_feature(reader, column, value, "", 0);
        return dataset_set_feature(reader, column, value, text, number_write_double(text, value));
    case COLUMN_LABEL:
        return dataset_read_label(reader, column, text, number_write_double(text, value));
    case COLUMN_TIMESTAMP:
    case COLUMN_SERIES:
    case COLUMN_IGNORED:
        break;
    }
    return 0;
}

static int read_npy_slice(struct dataset_reader *reader, const struct npy_slice *slice,
                          bool by_column)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < slice->n; i++) {
        const size_t column = slice->column + (by_column ? 0 : i);
        reader->row = slice->row + (by_column ? i : 0);
        reader->line = reader->row + 1;
        r = column == 0 ? dataset_begin_row(reader) : 0; /* the first of its row in either order */
        if (r == 0)
            r = read_npy_value(reader, column, slice->values[i]);
    }
    return r;
}

int dataset_read_npy(struct dataset_reader *reader, struct input *input)
{
    struct npy npy;
    struct npy_slice slice;
    int r = npy_open(input, &npy, reader->reterr);
    if (r < 0)
        return r;
    r = columns_plan(reader->file, 0, NULL, npy.n_columns, reader->options, &reader->columns,
                     reader->reterr);
    if (r == 0)
        r = dataset_begin_rows(reader);
    if (r == 0 && !dataset_set_capacity(reader, npy.n_rows))
        return dataset_out_of_memory(reader);

    while (r == 0 && (r = npy_next(&npy, &slice, reader->reterr)) > 0)
        r = read_npy_slice(reader, &slice, npy.is_fortran);
    reader->dataset.n_rows = npy.n_rows;
    return r;
}
