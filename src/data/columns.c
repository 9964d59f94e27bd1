#include "data/columns.h"

#include "base/text.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "data/feature_list.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void columns_clear(struct columns *columns)
{
    for (size_t i = 0; i < columns->n_items; i++)
        free(columns->items[i].name);
    free(columns->items);
    *columns = (struct columns){0};
}

static int name_columns(const char *file, size_t line, const struct csv_cell *header,
                        struct columns *columns, struct error *reterr)
{
    for (size_t i = 0; i < columns->n_items; i++) {
        const struct csv_cell cell = header ? header[i] : (struct csv_cell){"", 0};
        const char *reason = header ? schema_check_name(cell.text, cell.length) : NULL;
        if (reason)
            return error_set_at(reterr, -EINVAL, file, line,
                                "column %zu: %s; every column needs a name in the header", i + 1,
                                reason);
        const size_t size = header ? cell.length + 1 : 24;
        char *name = columns->items[i].name = malloc(size);
        if (!name)
            return error_set_at(reterr, -ENOMEM, file, 0, "out of memory");
        if (header)
            *(char *)mempcpy(name, cell.text, cell.length) = '\0';
        else
            (void)snprintf(name, size, "f%zu", i);
    }
    return 0;
}

/* By name, equal ones in the order of the file. */
static int compare_columns(const void *a, const void *b)
{
    const struct column *const *left = a, *const *right = b;
    const int order = strcmp((*left)->name, (*right)->name);

    return order ? order : (*left > *right) - (*left < *right);
}

static int refuse_duplicates(const char *file, size_t line, const struct columns *columns,
                             struct error *reterr)
{
    AUTO_FREE const struct column **sorted = malloc(columns->n_items * sizeof(struct column *));
    if (!sorted)
        return error_set_at(reterr, -ENOMEM, file, 0, "out of memory");
    for (size_t i = 0; i < columns->n_items; i++)
        sorted[i] = &columns->items[i];
    qsort(sorted, columns->n_items, sizeof(struct column *), compare_columns);

    for (size_t i = 1; i < columns->n_items; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return error_set_at(reterr, -EINVAL, file, line,
                                "column %zu (%s): column %zu has the same name; rename one",
                                (size_t)(sorted[i] - columns->items) + 1, sorted[i]->name,
                                (size_t)(sorted[i - 1] - columns->items) + 1);
    return 0;
}

static struct column *find_column(const struct columns *columns, const char *name)
{
    for (size_t i = 0; i < columns->n_items; i++)
        if (strcmp(columns->items[i].name, name) == 0)
            return &columns->items[i];
    return NULL;
}

static int refuse_unknown(const char *file, size_t line, const struct columns *columns,
                          const char *option, const char *name, struct error *reterr)
{
    char list[256] = "", shown[TEXT_SHOWN_SIZE];
    size_t at = 0;

    for (size_t i = 0; i < columns->n_items; i++) {
        if (at + TEXT_SHOWN_SIZE + sizeof(", …") > sizeof(list)) {
            (void)snprintf(list + at, sizeof(list) - at, ", …");
            break;
        }
        const char *next = columns->items[i].name;
        at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", i ? ", " : "",
                               text_show(shown, next, strlen(next)));
    }
    return error_set_at(reterr, -EINVAL, file, line,
                        "no column is named \"%s\" (%s); there are: %s",
                        text_show(shown, name, strlen(name)), option, list);
}

static int apply_options(const char *file, size_t line, const struct dataset_options *options,
                         const struct columns *columns, struct error *reterr)
{
    const char *label = options->label_column;

    for (size_t i = 0; i < columns->n_items; i++) {
        struct column *column = &columns->items[i];
        assert(column->name);
        if (strcmp(column->name, "timestamp") == 0)
            column->kind = options->with_timestamps ? COLUMN_TIMESTAMP : COLUMN_IGNORED;
        else if (strcmp(column->name, "series") == 0)
            column->kind = options->with_series ? COLUMN_SERIES : COLUMN_IGNORED;
    }
    for (size_t i = 0; i < options->n_exclude; i++) {
        struct column *column = find_column(columns, options->exclude[i]);
        if (!column)
            return refuse_unknown(file, line, columns, "--exclude", options->exclude[i], reterr);
        if (label && strcmp(label, column->name) == 0)
            return error_set_at(reterr, -EINVAL, file, line,
                                "the label column \"%s\" is excluded as well; take it out of "
                                "--exclude",
                                label);
        column->kind = COLUMN_IGNORED;
    }
    if (label) {
        struct column *column = find_column(columns, label);
        if (!column)
            return refuse_unknown(file, line, columns, "--label-column", label, reterr);
        column->kind = COLUMN_LABEL;
    }
    return 0;
}

static int match_by_name(const char *file, size_t line, const struct schema *schema,
                         const struct columns *columns, struct error *reterr)
{
    for (size_t i = 0; i < columns->n_items; i++) {
        struct column *column = &columns->items[i];
        const size_t length = strlen(column->name);
        if (column->kind != COLUMN_FEATURE ||
            schema_find(schema, column->name, length, &column->feature))
            continue;
        const char *nearest = schema_nearest(schema, column->name, length);
        if (nearest)
            return error_set_at(reterr, -EINVAL, file, line,
                                "column %zu (%s): the model has no such feature; is it \"%s\"?",
                                i + 1, column->name, nearest);
        CLEANUP(text_clear) struct text name = {0};
        feature_list_append(&name, column->name);
        return error_set_at(reterr, -EINVAL, file, line,
                            "column %zu (%s): the model has no such feature; leave the column out "
                            "with --exclude %s",
                            i + 1, column->name, text_failed(&name) ? "NAME" : name.data);
    }
    return 0;
}

/* Columns become features in their order; a schema is met by position or by name. */
static int place_features(const char *file, size_t line, bool has_header,
                          const struct schema *schema, struct columns *columns,
                          struct error *reterr)
{
    size_t n = 0;

    for (size_t i = 0; i < columns->n_items; i++)
        if (columns->items[i].kind == COLUMN_FEATURE)
            columns->items[i].feature = n++;
    columns->n_features = schema ? schema_n_features(schema) : n;
    if (n == 0)
        return error_set_at(reterr, -EINVAL, file, line,
                            "no column is left that could be a feature");
    if (columns->n_features > SCHEMA_MAX_FEATURES)
        return error_set_at(reterr, -EINVAL, file, line,
                            "%zu features are too many, at most %d are possible; leave some out "
                            "with --exclude",
                            n, SCHEMA_MAX_FEATURES);
    if (schema && has_header)
        return match_by_name(file, line, schema, columns, reterr);
    if (n != columns->n_features)
        return error_set_at(reterr, -EINVAL, file, line,
                            "%zu columns of features without names, the model has %zu features", n,
                            columns->n_features);
    return 0;
}

int columns_plan(const char *file, size_t line, const struct csv_cell *header, size_t n_columns,
                 const struct dataset_options *options, struct columns *ret_columns,
                 struct error *reterr)
{
    assert(n_columns > 0 && options && ret_columns);
    if (n_columns > CSV_MAX_COLUMNS)
        return error_set_at(reterr, -EINVAL, file, line, "more than %d columns", CSV_MAX_COLUMNS);
    CLEANUP(columns_clear)
    struct columns columns = {.items = calloc(n_columns, sizeof(struct column))};
    if (!columns.items)
        return error_set_at(reterr, -ENOMEM, file, 0, "out of memory");
    columns.n_items = n_columns;

    int r = name_columns(file, line, header, &columns, reterr);
    if (r == 0)
        r = refuse_duplicates(file, line, &columns, reterr);
    if (r == 0)
        r = apply_options(file, line, options, &columns, reterr);
    if (r == 0)
        r = place_features(file, line, header != NULL, options->schema, &columns, reterr);
    if (r < 0)
        return r;
    *ret_columns = columns;
    columns = (struct columns){0};
    return 0;
}
