#include "data/json_row.h"

#include "base/text.h"
#include "data/json_rows.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what went wrong ---- */

#define POINTER_SIZE sizeof(((struct json_problem *)0)->pointer)

/* Appends "/NAME" with the escapes of RFC 6901, as far as it fits. */
static void append_name(char *pointer, const char *name, size_t length)
{
    const size_t last = POINTER_SIZE - 1;
    size_t used = strlen(pointer);

    pointer[used++] = '/';
    for (size_t i = 0; i < length;) {
        const char *escape = name[i] == '~' ? "~0" : name[i] == '/' ? "~1" : NULL;
        const size_t step = text_utf8_length(name + i, length - i);
        const size_t n = escape ? 2 : step;
        if (used + n > last)
            break;
        memcpy(pointer + used, escape ? escape : name + i, n);
        used += n;
        i += step;
    }
    pointer[used] = '\0';
}

static void append_key(char *pointer, const struct json_key *key)
{
    char digits[24];

    if (key->name) {
        append_name(pointer, key->name, key->length);
        return;
    }
    const int n = snprintf(digits, sizeof(digits), "%zu", key->position);
    append_name(pointer, digits, (size_t)n);
}

static void point_at_row(const struct json_reader *reader, char *pointer)
{
    const char *place = reader->place ? reader->place : "";

    memcpy(pointer, place, strlen(place) + 1);
    if (reader->rows->is_batch)
        append_key(pointer, &(struct json_key){.position = reader->instance});
}

void json_row_problem(struct json_reader *reader, const struct json_key *key, const char *format,
                      ...)
{
    struct json_rows *rows = reader->rows;

    reader->has_problems = reader->row_has_problem = true;
    if (rows->n_problems == JSON_ROWS_MAX_PROBLEMS)
        return;
    struct json_problem *problem = &rows->problems[rows->n_problems++];
    point_at_row(reader, problem->pointer);
    if (key)
        append_key(problem->pointer, key);

    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
    va_end(arguments);
}

int json_row_refuse(struct json_reader *reader, const char *at, const struct json_string *name,
                    const char *format, ...)
{
    struct json_problem *problem = &reader->rows->problems[0];

    reader->rows->n_problems = 1;
    reader->text.at = at;
    problem->pointer[0] = '\0';
    if (name)
        append_name(problem->pointer, name->bytes, name->length);
    else
        point_at_row(reader, problem->pointer);

    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

/* ---- one row ---- */

/* Makes room for one more row behind the n_rows there are. */
static int reserve_row(struct json_rows *rows, size_t n_features)
{
    size_t wanted, bytes;

    if (__builtin_mul_overflow(rows->n_rows + 1, n_features, &wanted))
        return -ENOMEM;
    if (wanted <= rows->capacity)
        return 0;
    if (wanted < 2 * rows->capacity)
        wanted = 2 * rows->capacity;
    if (__builtin_mul_overflow(wanted, sizeof(float), &bytes))
        return -ENOMEM;
    float *block = realloc(rows->rows, bytes);
    if (!block)
        return -ENOMEM;
    rows->rows = block;
    rows->capacity = wanted;
    return 0;
}

static int begin_row(struct json_reader *reader, float **ret_row)
{
    reader->row_has_problem = false;
    int r = reserve_row(reader->rows, reader->n_features);
    if (r < 0)
        return r;
    *ret_row = reader->rows->rows + reader->rows->n_rows * reader->n_features;
    return 0;
}

static void end_row(struct json_reader *reader, size_t n_missing)
{
    if (!reader->row_has_problem && n_missing > reader->n_features / 2)
        json_row_problem(reader, NULL, "more than half of the features are missing: %zu of %zu",
                         n_missing, reader->n_features);
    if (!reader->has_problems)
        reader->rows->n_rows++;
}

static int read_number(struct json_reader *reader, const struct json_key *key, float *ret_value)
{
    int r = json_text_number(&reader->text, ret_value);
    if (r == -ERANGE) {
        json_row_problem(reader, key, "this number is too large: at most 3.4e38 fits");
        return 0;
    }
    return r;
}

/* A number or null (NaN). What else stands there is a problem, and *ret_value untouched. */
static int read_value(struct json_reader *reader, const struct json_key *key, float *ret_value)
{
    const char *what;

    switch (json_text_next(&reader->text)) {
    case '-':
    case '0' ... '9':
        return read_number(reader, key, ret_value);
    case 'n':
        *ret_value = NAN;
        return json_text_literal(&reader->text, "null");
    case '"':
        what = "a string";
        break;
    case 't':
    case 'f':
        what = "a boolean";
        break;
    case '[':
        what = "an array";
        break;
    case '{':
        what = "an object";
        break;
    default:
        return json_text_unexpected(&reader->text, "a number or null is expected here");
    }
    json_row_problem(reader, key, "%s where a number or null must stand", what);
    return json_text_skip(&reader->text);
}

int json_row_read_array(struct json_reader *reader)
{
    size_t n_values = 0, n_missing = 0;
    float *row = NULL;

    int r = begin_row(reader, &row);
    if (r < 0)
        return r;
    for (bool is_last = json_text_opens_empty(&reader->text, ']'); !is_last; n_values++) {
        float value = 0;
        r = read_value(reader, &(struct json_key){.position = n_values}, &value);
        if (r < 0)
            return r;
        if (n_values < reader->n_features)
            row[n_values] = value;
        n_missing += isnan(value);
        r = json_text_separator(&reader->text, ']', &is_last);
        if (r < 0)
            return r;
    }
    if (n_values != reader->n_features)
        json_row_problem(reader, NULL, "%zu value%s given, but the model wants %zu", n_values,
                         n_values == 1 ? "" : "s", reader->n_features);
    end_row(reader, n_missing);
    return 0;
}

static void name_problem(struct json_reader *reader, const struct json_string *name)
{
    const struct json_key key = {.name = name->bytes, .length = name->length};
    char shown[TEXT_SHOWN_SIZE], shown_nearest[TEXT_SHOWN_SIZE];
    const char *nearest = NULL;

    reader->has_problems = reader->row_has_problem = true;
    if (reader->rows->n_problems == JSON_ROWS_MAX_PROBLEMS)
        return; /* looking for the nearest takes time */
    (void)text_show(shown, name->bytes, name->length);
    if (!name->is_cut && name->length <= SCHEMA_MAX_NAME_LENGTH)
        nearest = schema_nearest(reader->schema, name->bytes, name->length);
    if (nearest)
        json_row_problem(reader, &key, "unknown feature \"%s\"; did you mean \"%s\"?", shown,
                         text_show(shown_nearest, nearest, strlen(nearest)));
    else
        json_row_problem(reader, &key, "unknown feature \"%s\"", shown);
}

/* Reads "name": and looks the feature up. *ret_feature is n_features if there is none such. */
static int read_feature_name(struct json_reader *reader, struct json_string *ret_name,
                             size_t *ret_feature)
{
    size_t feature = reader->n_features;

    int r = json_text_key(&reader->text, ret_name);
    if (r < 0)
        return r;
    if (ret_name->is_cut || ret_name->length > SCHEMA_MAX_NAME_LENGTH ||
        !schema_find(reader->schema, ret_name->bytes, ret_name->length, &feature))
        name_problem(reader, ret_name);
    *ret_feature = feature;
    return 0;
}

/* One "name": value; *ret_has_value: it gave a feature a value. */
static int read_member(struct json_reader *reader, float *row, bool *ret_has_value)
{
    struct json_string name;
    char shown[TEXT_SHOWN_SIZE];
    size_t feature;
    float value = 0;

    int r = read_feature_name(reader, &name, &feature);
    if (r < 0)
        return r;
    const struct json_key key = {.name = name.bytes, .length = name.length};
    r = read_value(reader, &key, &value);
    if (r < 0)
        return r;
    *ret_has_value = false;
    if (feature == reader->n_features)
        return 0;

    const uint64_t bit = UINT64_C(1) << feature % 64;
    if (reader->seen[feature / 64] & bit)
        json_row_problem(reader, &key, "the feature \"%s\" is given twice",
                         text_show(shown, name.bytes, name.length));
    reader->seen[feature / 64] |= bit;
    row[feature] = value;
    *ret_has_value = !isnan(value);
    return 0;
}

int json_row_read_object(struct json_reader *reader)
{
    size_t n_given = 0;
    float *row = NULL;

    int r = begin_row(reader, &row);
    if (r < 0)
        return r;
    memset(reader->seen, 0, (reader->n_features + 63) / 64 * sizeof(*reader->seen));
    for (bool is_last = json_text_opens_empty(&reader->text, '}'); !is_last;) {
        bool has_value;
        r = read_member(reader, row, &has_value);
        if (r < 0)
            return r;
        n_given += has_value;
        r = json_text_separator(&reader->text, '}', &is_last);
        if (r < 0)
            return r;
    }
    /* With a duplicate n_given may pass n_features, but then the row is lost already. */
    const size_t n_missing = reader->row_has_problem ? 0 : reader->n_features - n_given;
    end_row(reader, n_missing);
    if (!reader->has_problems) /* so most are there: a tiny row never costs this loop */
        for (size_t i = 0; i < reader->n_features; i++)
            if (!(reader->seen[i / 64] >> i % 64 & 1))
                row[i] = NAN;
    return 0;
}
