/* The format decides how cells are found, columns.h what each column is; this file turns cells into
 * values, labels and timestamps. */
#include "data/dataset_reader.h"

#include "base/clock.h"
#include "base/input.h"
#include "base/number.h"
#include "base/text.h"
#include "data/csv.h"
#include "data/feature_list.h"
#include "data/npy.h"
#include "data/preparation.h"
#include "data/prepare_spec.h"
#include "data/schema.h"
#include "data/timestamp.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_SIZE    ((size_t)16 << 30)
#define MAX_LABEL_NAMES  1000 /* more is no label but a measurement or an id */
#define MAX_SERIES_NAMES 1000000
#define MAX_TEXTS        10000
#define FAR_FUTURE       (366 * 86400.0) /* seconds: made-up rows may be ahead of the clock */

static void reader_clear(struct dataset_reader *reader)
{
    for (size_t i = 0; reader->texts && i < reader->columns.n_features; i++)
        name_index_clear(&reader->texts[i]);
    free(reader->texts);
    name_index_clear(&reader->series);
    columns_clear(&reader->columns);
    free(reader->is_text);
    dataset_clear(&reader->dataset);
}

int dataset_out_of_memory(const struct dataset_reader *reader)
{
    return error_set_at(reader->reterr, -ENOMEM, reader->file, reader->line,
                        "out of memory for the rows");
}

static bool has_column(const struct dataset_reader *reader, enum column_kind kind)
{
    for (size_t i = 0; i < reader->columns.n_items; i++)
        if (reader->columns.items[i].kind == kind)
            return true;
    return false;
}

/* *block has room for n items of size bytes afterwards. */
static bool resize(void *block, size_t n, size_t size)
{
    void **at = block;
    size_t n_bytes;

    if (__builtin_mul_overflow(n, size, &n_bytes))
        return false;
    void *larger = realloc(*at, n_bytes);
    if (!larger)
        return false;
    *at = larger;
    return true;
}

/* Large blocks grow by moving pages, not bytes, and a page counts once it is written: the rows are
 * never in memory twice. */
bool dataset_set_capacity(struct dataset_reader *reader, size_t n_rows)
{
    struct dataset *dataset = &reader->dataset;

    if (!(reader->is_text
              ? resize(&dataset->values, n_rows, dataset->n_values * sizeof(*dataset->values))
              : resize(&dataset->rows, n_rows, dataset->n_features * sizeof(*dataset->rows))) ||
        !resize(&dataset->lines, n_rows, sizeof(*dataset->lines)))
        return false;
    if (has_column(reader, COLUMN_LABEL) &&
        !resize(&dataset->labels, n_rows, sizeof(*dataset->labels)))
        return false;
    if (has_column(reader, COLUMN_SERIES) &&
        !resize(&dataset->series, n_rows, sizeof(*dataset->series)))
        return false;
    if (has_column(reader, COLUMN_TIMESTAMP) &&
        !resize(&dataset->timestamps, n_rows, sizeof(*dataset->timestamps)))
        return false;
    reader->capacity = n_rows;
    return true;
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    if (copy)
        *(char *)mempcpy(copy, text, length) = '\0';
    return copy;
}

static int add_name(struct dataset_reader *reader, char ***names, size_t *n_names, const char *text,
                    size_t length)
{
    AUTO_FREE char *name = copy_text(text, length);
    if (!name || !resize(names, *n_names + 1, sizeof(**names)))
        return dataset_out_of_memory(reader);
    (*names)[(*n_names)++] = TAKE(name);
    return 0;
}

static int add_indexed(struct dataset_reader *reader, struct name_index *index, char ***names,
                       size_t *n_names, const char *text, size_t length)
{
    int r = add_name(reader, names, n_names, text, length);
    if (r < 0)
        return r;
    return name_index_add(index, *names) < 0 ? dataset_out_of_memory(reader) : 0;
}

static int add_label_name(struct dataset_reader *reader, const char *text, size_t length)
{
    struct dataset *dataset = &reader->dataset;

    return add_name(reader, &dataset->label_names, &dataset->n_label_names, text, length);
}

static enum preparing how_prepared(const struct dataset_options *options, const char *name,
                                   size_t feature)
{
    if (options->preparation)
        return options->preparation->input[feature].how;
    const struct prepare_item *item = prepare_spec_find(options->prepare, name);
    return item ? item->how : PREPARE_RAW;
}

/* Which columns may hold text. */
static int begin_values(struct dataset_reader *reader)
{
    struct dataset *dataset = &reader->dataset;
    const size_t n = dataset->n_features;

    reader->is_text = calloc(n, sizeof(*reader->is_text));
    dataset->texts = calloc(n, sizeof(*dataset->texts));
    reader->texts = calloc(n, sizeof(*reader->texts));
    if (!reader->is_text || !dataset->texts || !reader->texts)
        return dataset_out_of_memory(reader);
    dataset->n_values = n;
    for (size_t i = 0; i < n; i++) {
        reader->is_text[i] = how_prepared(reader->options, dataset->names[i], i) == PREPARE_ONEHOT;
    }
    return 0;
}

/* The columns are planned: makes what does not depend on the number of rows. */
int dataset_begin_rows(struct dataset_reader *reader)
{
    const struct columns *columns = &reader->columns;
    const struct schema *schema = reader->options->schema;
    struct dataset *dataset = &reader->dataset;

    dataset->names = calloc(columns->n_features, sizeof(*dataset->names));
    if (!dataset->names)
        return dataset_out_of_memory(reader);
    dataset->n_features = columns->n_features;
    for (size_t i = 0, column = 0; i < columns->n_features; i++, column++) {
        while (!schema && columns->items[column].kind != COLUMN_FEATURE)
            column++;
        const char *name = schema ? schema_name(schema, i) : columns->items[column].name;
        dataset->names[i] = copy_text(name, strlen(name));
        if (!dataset->names[i])
            return dataset_out_of_memory(reader);
    }
    if ((reader->options->prepare || reader->options->preparation) && begin_values(reader) < 0)
        return -ENOMEM;
    return has_column(reader, COLUMN_LABEL) ? add_label_name(reader, "0", 1) : 0;
}

/* Room for the row, all values missing. */
int dataset_begin_row(struct dataset_reader *reader)
{
    struct dataset *dataset = &reader->dataset;
    const size_t row = reader->row;

    if (reader->line > UINT32_MAX)
        return error_set_at(reader->reterr, -EINVAL, reader->file, reader->line,
                            "more than %" PRIu32 " lines; split the file", UINT32_MAX);
    if (row == reader->capacity && !dataset_set_capacity(reader, row ? 2 * row : 64))
        return dataset_out_of_memory(reader);
    dataset->lines[row] = (uint32_t)reader->line;
    for (size_t i = 0; i < dataset->n_features; i++)
        if (dataset->values)
            dataset->values[row * dataset->n_values + i] = (double)NAN;
        else
            dataset->rows[row * dataset->n_features + i] = NAN;
    return 0;
}

static int refuse_cell(const struct dataset_reader *reader, size_t column, const char *text,
                       size_t length, const char *reason)
{
    char shown[TEXT_SHOWN_SIZE];

    return error_set_at(reader->reterr, -EINVAL, reader->file, reader->line,
                        "column %zu (%s): \"%s\" %s", column + 1,
                        reader->columns.items[column].name, text_show(shown, text, length), reason);
}

static int refuse_text(const struct dataset_reader *reader, size_t column, const char *text,
                       size_t length)
{
    CLEANUP(text_clear) struct text name = {0};
    char reason[4 * SCHEMA_MAX_NAME_LENGTH + 96];

    if (memchr(text, ';', length) || memchr(text, '\t', length))
        return refuse_cell(reader, column, text, length,
                           "is not a number; cells must be separated by commas");
    feature_list_append(&name, reader->columns.items[column].name);
    if (text_failed(&name))
        return dataset_out_of_memory(reader);
    (void)snprintf(reason, sizeof(reason),
                   "is not a number; leave the column out with --exclude %s, or train with "
                   "--prepare %s=onehot",
                   name.data, name.data);
    return refuse_cell(reader, column, text, length, reason);
}

/* text is what value was read from. */
int dataset_set_feature(struct dataset_reader *reader, size_t column, double value,
                        const char *text, size_t length)
{
    struct dataset *dataset = &reader->dataset;
    const size_t feature = reader->columns.items[column].feature;
    const float single = (float)value;

    if (isinf(value))
        return refuse_cell(reader, column, text, length,
                           "is infinite; if the value is missing, leave the cell empty");
    if (isinf(single))
        return refuse_cell(reader, column, text, length,
                           "is beyond the range of a 32-bit float (3.4e38); use a larger unit");
    if (dataset->values)
        dataset->values[reader->row * dataset->n_values + feature] = value;
    else
        dataset->rows[reader->row * dataset->n_features + feature] = single;
    return 0;
}

static bool is_name(const char *name, const char *text, size_t length)
{
    return strncmp(name, text, length) == 0 && name[length] == '\0';
}

/* n: it is not among them. */
static size_t find_name(char *const *names, size_t n, const char *text, size_t length)
{
    size_t i = 0;

    while (i < n && !is_name(names[i], text, length))
        i++;
    return i;
}

/* A category: its number among the texts of the column. */
int dataset_read_category(struct dataset_reader *reader, size_t column, const char *text,
                          size_t length)
{
    struct dataset *dataset = &reader->dataset;
    const size_t feature = reader->columns.items[column].feature;
    struct dataset_texts *texts = &dataset->texts[feature];
    char room[PREPARE_NUMBER_SIZE];

    if (prepare_is_missing(text, length))
        return 0;
    text = prepare_category_text(room, text, &length);
    struct name_index *index = &reader->texts[feature];
    const size_t i = name_index_find(index, texts->texts, text, length);
    if (i == MAX_TEXTS)
        return refuse_cell(reader, column, text, length,
                           "is one category too many, at most 10,000 can differ; is this an id?");
    dataset->values[reader->row * dataset->n_values + feature] = (double)i;
    return i < texts->n ? 0 : add_indexed(reader, index, &texts->texts, &texts->n, text, length);
}

static int read_feature(struct dataset_reader *reader, size_t column, const char *text,
                        size_t length)
{
    double value = (double)NAN;

    if (reader->is_text && reader->is_text[reader->columns.items[column].feature])
        return dataset_read_category(reader, column, text, length);
    int r = number_parse_double(text, length, &value);
    if (r == -ERANGE) /* too large for a double, so for a float as well */
        return dataset_set_feature(reader, column, DBL_MAX, text, length);
    if (r < 0 && !prepare_is_missing(text, length))
        return refuse_text(reader, column, text, length);
    return dataset_set_feature(reader, column, value, text, length);
}

int dataset_read_label(struct dataset_reader *reader, size_t column, const char *text,
                       size_t length)
{
    struct dataset *dataset = &reader->dataset;
    uint32_t *label = &dataset->labels[reader->row];
    double value = 1;

    *label = 0;
    if (prepare_is_missing(text, length) ||
        (number_parse_double(text, length, &value) == 0 && value == 0))
        return 0;
    *label = (uint32_t)find_name(dataset->label_names, dataset->n_label_names, text, length);
    if (*label < dataset->n_label_names)
        return 0;
    if (dataset->n_label_names == MAX_LABEL_NAMES)
        return refuse_cell(reader, column, text, length,
                           "is one label too many, at most 1,000 can differ; is this the label "
                           "column?");
    return add_label_name(reader, text, length);
}

static int read_series(struct dataset_reader *reader, size_t column, const char *text,
                       size_t length)
{
    struct dataset *dataset = &reader->dataset;
    uint32_t *series = &dataset->series[reader->row];
    const size_t n = dataset->n_series_names;

    if (reader->row > 0 && is_name(dataset->series_names[series[-1]], text, length)) {
        *series = series[-1]; /* mostly */
        return 0;
    }
    *series = (uint32_t)name_index_find(&reader->series, dataset->series_names, text, length);
    if (*series < n)
        return 0;
    if (n == MAX_SERIES_NAMES)
        return refuse_cell(reader, column, text, length,
                           "is one series too many, at most 1,000,000 can differ; is this an id "
                           "of the row? Split the file by series, or leave the column out with "
                           "--exclude series");
    return add_indexed(reader, &reader->series, &dataset->series_names, &dataset->n_series_names,
                       text, length);
}

static int read_timestamp(struct dataset_reader *reader, size_t column, const char *text,
                          size_t length)
{
    double *moment = &reader->dataset.timestamps[reader->row];

    if (timestamp_parse(text, length, moment) < 0)
        return refuse_cell(
            reader, column, text, length,
            "is no moment; write 2024-03-01T12:30:00Z or seconds (not milliseconds) since 1970");
    if (*moment > (double)clock_realtime_us() / 1e6 + FAR_FUTURE)
        return refuse_cell(reader, column, text, length,
                           "is more than a year ahead; are these milliseconds? Write seconds since "
                           "1970");
    return 0;
}

static int read_cell(struct dataset_reader *reader, size_t column, const char *text, size_t length)
{
    switch (reader->columns.items[column].kind) {
    case COLUMN_FEATURE:
        return read_feature(reader, column, text, length);
    case COLUMN_LABEL:
        return dataset_read_label(reader, column, text, length);
    case COLUMN_TIMESTAMP:
        return read_timestamp(reader, column, text, length);
    case COLUMN_SERIES:
        return read_series(reader, column, text, length);
    case COLUMN_IGNORED:
        break;
    }
    return 0;
}

/* A first line of only numbers is no header; empty cells may stand among them. */
static bool is_header(const struct csv *csv)
{
    size_t n_numbers = 0;
    double value;

    for (size_t i = 0; i < csv->n_cells; i++) {
        const struct csv_cell *cell = &csv->cells[i];
        const int r = number_parse_double(cell->text, cell->length, &value);
        if (prepare_is_missing(cell->text, cell->length))
            continue;
        if (r == -EINVAL)
            return true;
        n_numbers++;
    }
    return n_numbers == 0;
}

static int read_csv_row(struct dataset_reader *reader, const struct csv *csv)
{
    const size_t n_columns = reader->columns.n_items;

    reader->row = reader->dataset.n_rows;
    reader->line = csv->line;
    if (csv->is_empty && n_columns > 1)
        return error_set_at(reader->reterr, -EINVAL, reader->file, reader->line,
                            "an empty line between rows; take it out");
    if (csv->n_cells != n_columns)
        return error_set_at(reader->reterr, -EINVAL, reader->file, reader->line,
                            "%zu cells, but the first line has %zu; a cell that holds a comma "
                            "must be in quotes",
                            csv->n_cells, n_columns);
    int r = dataset_begin_row(reader);
    for (size_t i = 0; r == 0 && i < n_columns; i++)
        r = read_cell(reader, i, csv->cells[i].text, csv->cells[i].length);
    reader->dataset.n_rows += r == 0;
    return r;
}

static int read_csv(struct dataset_reader *reader, struct input *input)
{
    CLEANUP(csv_clear) struct csv csv = {0};
    int r = csv_open(&csv, input, reader->reterr);
    if (r < 0)
        return r;
    r = csv_next(&csv, reader->reterr);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set_at(reader->reterr, -EINVAL, reader->file, 0, "the file is empty");
    if (csv.is_empty)
        return error_set_at(reader->reterr, -EINVAL, reader->file, csv.line,
                            "an empty line where the header or the first row belongs");

    const bool has_header = is_header(&csv);
    r = columns_plan(reader->file, csv.line, has_header ? csv.cells : NULL, csv.n_cells,
                     reader->options, &reader->columns, reader->reterr);
    if (r == 0)
        r = dataset_begin_rows(reader);
    if (r == 0 && !has_header)
        r = read_csv_row(reader, &csv);
    while (r == 0 && (r = csv_next(&csv, reader->reterr)) > 0)
        r = read_csv_row(reader, &csv);
    if (r == 0 && reader->dataset.n_rows == 0)
        return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                            "there is only a header, no rows");
    return r;
}

int dataset_read(const char *path, const struct dataset_options *options,
                 struct dataset *ret_dataset, struct error *reterr)
{
    assert(path && options && ret_dataset);
    CLEANUP(input_clear) struct input input = {0};
    int r = input_open(&input, path, MAX_FILE_SIZE, reterr);
    if (r == 0)
        r = input_read(&input, 0, input.chunk, reterr);
    if (r < 0)
        return r;

    CLEANUP(reader_clear)
    struct dataset_reader reader = {.file = input.name, .options = options, .reterr = reterr};
    r = npy_is(input.bytes, input.size) ? dataset_read_npy(&reader, &input)
                                        : read_csv(&reader, &input);
    if (r < 0)
        return r;
    (void)dataset_set_capacity(&reader,
                               reader.dataset.n_rows); /* gives back what was room to grow */
    *ret_dataset = reader.dataset;
    reader.dataset = (struct dataset){0};
    return 0;
}
