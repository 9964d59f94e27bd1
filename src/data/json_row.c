#include "data/json_row.h"

#include "base/text.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/timestamp.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* *block has room for n items afterwards. */
static int reserve(void *block, size_t *capacity, size_t n, size_t size)
{
    void **at = block;
    size_t bytes;

    if (n <= *capacity)
        return 0;
    if (n < 2 * *capacity)
        n = 2 * *capacity;
    if (__builtin_mul_overflow(n, size, &bytes))
        return -ENOMEM;
    void *larger = realloc(*at, bytes);
    if (!larger)
        return -ENOMEM;
    *at = larger;
    *capacity = n;
    return 0;
}

int json_rows_reserve(struct json_rows *rows, size_t n)
{
    return reserve(&rows->rows, &rows->capacity, n, sizeof(*rows->rows));
}

/* Makes room for one more row behind the n_rows there are. */
static int begin_row(struct json_reader *reader)
{
    struct json_rows *rows = reader->rows;
    size_t wanted;

    reader->row_has_problem = false;
    if (__builtin_mul_overflow(rows->n_rows + 1, reader->n_features, &wanted))
        return -ENOMEM;
    if (!reader->preparation)
        return reserve(&rows->rows, &rows->capacity, wanted, sizeof(*rows->rows));
    int r = reserve(&rows->values, &rows->values_capacity, wanted, sizeof(*rows->values));
    if (r == 0)
        r = reserve(&rows->times, &rows->times_capacity, rows->n_rows + 1, sizeof(*rows->times));
    if (r == 0)
        rows->times[rows->n_rows] = (double)NAN;
    return r;
}

static void put(struct json_reader *reader, size_t row, size_t feature, double value)
{
    const size_t at = row * reader->n_features + feature;

    if (reader->preparation)
        reader->rows->values[at] = value;
    else
        reader->rows->rows[at] = (float)value;
}

static void end_row(struct json_reader *reader, size_t n_missing)
{
    if (!reader->row_has_problem && n_missing > reader->n_features / 2)
        json_row_problem(reader, NULL, "more than half of the features are missing: %zu of %zu",
                         n_missing, reader->n_features);
    if (!reader->has_problems)
        reader->rows->n_rows++;
}

static int too_large(struct json_reader *reader, const struct json_key *key)
{
    json_row_problem(reader, key, "this number is too large: at most 3.4e38 fits");
    return 0;
}

static int read_number(struct json_reader *reader, const struct json_key *key, double *ret_value)
{
    float value = 0;

    int r = reader->preparation ? json_text_double(&reader->text, ret_value)
                                : json_text_number(&reader->text, &value);
    if (r == -ERANGE)
        return too_large(reader, key);
    if (!reader->preparation)
        *ret_value = (double)value;
    return r;
}

/* Text, a number or a boolean that names a category of the feature; text that says in a file that
 * there is no value says so here, too. */
static int read_category(struct json_reader *reader, const struct json_key *key, size_t feature,
                         double *ret_value)
{
    const struct prepared_input *input = &reader->preparation->input[feature];
    const char first = json_text_next(&reader->text), *begin = reader->text.at;
    char room[PREPARE_NUMBER_SIZE];
    struct json_string string;
    double number = 0.0;
    int r;

    if (first == '"') {
        r = json_text_string(&reader->text, &string);
        if (r == 0)
            *ret_value = prepare_is_missing(string.bytes, string.length)
                             ? (double)NAN
                             : preparation_category(input, string.bytes, string.length);
    } else if (first == 't' || first == 'f') {
        r = json_text_literal(&reader->text, first == 't' ? "true" : "false");
        if (r == 0)
            *ret_value = preparation_category(input, begin, first == 't' ? 4 : 5);
    } else {
        r = json_text_double(&reader->text, &number);
        if (r == -ERANGE)
            return too_large(reader, key);
        if (r == 0)
            *ret_value = preparation_category(input, room, prepare_number_text(room, number));
    }
    return r;
}

static bool is_category(const struct json_reader *reader, size_t feature)
{
    return reader->preparation && feature < reader->n_features &&
           reader->preparation->input[feature].how == PREPARE_ONEHOT;
}

/* What a value cannot be prepared from is a problem. */
static void check_value(struct json_reader *reader, const struct json_key *key, size_t feature,
                        double value)
{
    if (!reader->preparation || feature >= reader->n_features || isnan(value))
        return;
    const char *why = preparation_refuses(reader->preparation, feature, value);
    char shown[TEXT_SHOWN_SIZE];
    if (!why)
        return;
    const char *name = schema_name(reader->schema, feature);
    json_row_problem(reader, key, "\"%s\" is %.9g, which %s", text_show(shown, name, strlen(name)),
                     value, why);
}

/* What else stands where a value must is a problem. is_word: a category could be so. */
static int refuse_value(struct json_reader *reader, const struct json_key *key, size_t feature,
                        const char *what, bool is_word)
{
    const bool is_known = feature < reader->n_features;
    const char *name = is_known ? schema_name(reader->schema, feature) : "";
    char shown[TEXT_SHOWN_SIZE];

    json_row_problem(
        reader, key, "%s where %s must stand%s%s%s%s", what,
        is_category(reader, feature) ? "text, a number, a boolean or null" : "a number or null",
        is_known ? " for \"" : "", text_show(shown, name, strlen(name)), is_known ? "\"" : "",
        is_word && is_known ? ": only a feature that is prepared as onehot takes it" : "");
    return json_text_skip(&reader->text);
}

/* A number or null (NaN), or a category. After a problem *ret_value is untouched. */
static int read_value(struct json_reader *reader, const struct json_key *key, size_t feature,
                      double *ret_value)
{
    switch (json_text_next(&reader->text)) {
    case 'n':
        *ret_value = (double)NAN;
        return json_text_literal(&reader->text, "null");
    case '[':
        return refuse_value(reader, key, feature, "an array", false);
    case '{':
        return refuse_value(reader, key, feature, "an object", false);
    case '-':
    case '0' ... '9':
        return is_category(reader, feature) ? read_category(reader, key, feature, ret_value)
                                            : read_number(reader, key, ret_value);
    case '"':
        return is_category(reader, feature) ? read_category(reader, key, feature, ret_value)
                                            : refuse_value(reader, key, feature, "a string", true);
    case 't':
    case 'f':
        return is_category(reader, feature) ? read_category(reader, key, feature, ret_value)
                                            : refuse_value(reader, key, feature, "a boolean", true);
    default:
        return json_text_unexpected(&reader->text, "a number or null is expected here");
    }
}

/* The values from feature first on that need no closer look; how many. */
static size_t read_plain_values(struct json_reader *reader, size_t first)
{
    const struct json_rows *rows = reader->rows;

    if (reader->preparation || first >= reader->n_features)
        return 0;
    return json_text_numbers(&reader->text, rows->rows + rows->n_rows * reader->n_features + first,
                             reader->n_features - first);
}

/* One value of an array, whatever it is. */
static int read_item(struct json_reader *reader, size_t feature, size_t *n_missing)
{
    const struct json_key key = {.position = feature};
    double value = 0;

    int r = read_value(reader, &key, feature, &value);
    if (r < 0)
        return r;
    check_value(reader, &key, feature, value);
    if (feature < reader->n_features)
        put(reader, reader->rows->n_rows, feature, value);
    *n_missing += isnan(value);
    return 0;
}

int json_row_read_array(struct json_reader *reader)
{
    size_t n_values = 0, n_missing = 0;

    int r = begin_row(reader);
    if (r < 0)
        return r;
    for (bool is_last = json_text_opens_empty(&reader->text, ']'); !is_last;) {
        const size_t n_plain = read_plain_values(reader, n_values);
        n_values += n_plain;
        if (n_plain == 0) {
            r = read_item(reader, n_values++, &n_missing);
            if (r < 0)
                return r;
        }
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

int json_row_take(struct json_reader *reader, const double *values)
{
    char room[PREPARE_NUMBER_SIZE];
    size_t n_missing = 0;

    int r = begin_row(reader);
    if (r < 0)
        return r;
    for (size_t i = 0; i < reader->n_features; i++) {
        const struct json_key key = {.position = i};
        double value = values[i];
        if (!isnan(value) && isinf((float)value)) {
            (void)too_large(reader, &key);
            continue;
        }
        if (is_category(reader, i) && !isnan(value))
            value = preparation_category(&reader->preparation->input[i], room,
                                         prepare_number_text(room, value));
        check_value(reader, &key, i, value);
        put(reader, reader->rows->n_rows, i, value);
        n_missing += isnan(value);
    }
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

static bool is_timestamp(const struct json_reader *reader, const struct json_string *name)
{
    return reader->preparation && name->length == 9 && memcmp(name->bytes, "timestamp", 9) == 0;
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
        (!schema_find(reader->schema, ret_name->bytes, ret_name->length, &feature) &&
         !is_timestamp(reader, ret_name)))
        name_problem(reader, ret_name);
    *ret_feature = feature;
    return 0;
}

/* The row's own time. */
static int read_timestamp(struct json_reader *reader, const struct json_key *key)
{
    double *time = &reader->rows->times[reader->rows->n_rows];
    struct json_string string = {0};
    const char first = json_text_next(&reader->text);

    string.bytes = reader->text.at;
    if (!isnan(*time))
        json_row_problem(reader, key, "the timestamp is given twice");
    int r = first == '"' ? json_text_string(&reader->text, &string) : json_text_skip(&reader->text);
    if (r < 0)
        return r;
    if (first != '"')
        string.length = (size_t)(reader->text.at - string.bytes);
    if (timestamp_parse(string.bytes, string.length, time) < 0 || *time < 0)
        json_row_problem(reader, key,
                         "this is no moment: it must be RFC 3339 (2024-03-01T12:30:00Z) or Unix "
                         "seconds (not milliseconds), from 1970 on");
    else if (timestamp_is_far_ahead(*time))
        json_row_problem(reader, key,
                         "this is more than a day ahead of the clock; are these milliseconds? Unix "
                         "seconds are expected");
    return 0;
}

static bool is_seen(const struct json_reader *reader, size_t feature)
{
    return reader->seen[feature / 64] >> feature % 64 & 1;
}

static void set_seen(struct json_reader *reader, size_t feature)
{
    reader->seen[feature / 64] |= UINT64_C(1) << feature % 64;
}

/* "name": and a plain number, if the name is that of this feature, as it mostly is where features
 * are named in their order. False: .at is where it was. */
static bool read_expected_member(struct json_reader *reader, size_t feature)
{
    const struct json_rows *rows = reader->rows;
    struct json_text *text = &reader->text;
    const char *begin = text->at;

    if (reader->preparation || feature >= reader->n_features || is_seen(reader, feature))
        return false;
    (void)json_text_next(text);
    const size_t n =
        schema_begins_with(reader->schema, feature, text->at, (size_t)(text->end - text->at));
    text->at += n;
    if (n > 0 && json_text_next(text) == ':') {
        text->at++;
        if (json_text_numbers(text, rows->rows + rows->n_rows * reader->n_features + feature, 1)) {
            set_seen(reader, feature);
            return true;
        }
    }
    text->at = begin;
    return false;
}

/* One "name": value; *ret_has_value: it gave a feature, *ret_feature, a value. */
static int read_member(struct json_reader *reader, size_t *ret_feature, bool *ret_has_value)
{
    struct json_string name;
    char shown[TEXT_SHOWN_SIZE];
    size_t feature;
    double value = 0;

    *ret_has_value = false;
    int r = read_feature_name(reader, &name, &feature);
    if (r < 0)
        return r;
    *ret_feature = feature;
    const struct json_key key = {.name = name.bytes, .length = name.length};
    if (feature == reader->n_features && is_timestamp(reader, &name))
        return read_timestamp(reader, &key);
    r = read_value(reader, &key, feature, &value);
    if (r < 0)
        return r;
    if (feature == reader->n_features)
        return 0;
    check_value(reader, &key, feature, value);

    if (is_seen(reader, feature))
        json_row_problem(reader, &key, "the feature \"%s\" is given twice",
                         text_show(shown, name.bytes, name.length));
    set_seen(reader, feature);
    put(reader, reader->rows->n_rows, feature, value);
    *ret_has_value = !isnan(value);
    return 0;
}

int json_row_read_object(struct json_reader *reader)
{
    const size_t row = reader->rows->n_rows;
    size_t n_given = 0, expected = 0;

    int r = begin_row(reader);
    if (r < 0)
        return r;
    memset(reader->seen, 0, (reader->n_features + 63) / 64 * sizeof(*reader->seen));
    for (bool is_last = json_text_opens_empty(&reader->text, '}'); !is_last;) {
        bool has_value = read_expected_member(reader, expected);
        if (!has_value) {
            r = read_member(reader, &expected, &has_value);
            if (r < 0)
                return r;
        }
        expected++;
        n_given += has_value;
        r = json_text_separator(&reader->text, '}', &is_last);
        if (r < 0)
            return r;
    }
    /* With a duplicate n_given may pass n_features, but then the row is lost already. */
    const size_t n_missing = reader->row_has_problem ? 0 : reader->n_features - n_given;
    end_row(reader, n_missing);
    if (!reader->has_problems && n_missing > 0) /* so most are there: no tiny row costs this loop */
        for (size_t i = 0; i < reader->n_features; i++)
            if (!is_seen(reader, i))
                put(reader, row, i, (double)NAN);
    return 0;
}
