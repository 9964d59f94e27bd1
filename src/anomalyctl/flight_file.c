#include "anomalyctl/flight_file.h"

#include "base/file.h"
#include "detector/relevance.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES     ((size_t)256 << 20)
#define MOST_ROWS      1000000
#define MOST_VALUES    1000000
#define MOST_RULES     1000
#define FORMAT_VERSION 1
#define MOST_WHOLE     (1ULL << 53) /* that a double has */

/* A file on its way in, line by line. */
struct reader {
    struct flight_file *file;
    const char *at, *end;
    size_t line;
    size_t capacity; /* rows */
    struct error *error;
};

void flight_file_clear(struct flight_file *file)
{
    for (size_t i = 0; i < file->n_rules; i++)
        relevance_release(file->rules[i]);
    free(file->rules);
    json_decref(file->header);
    free(file->rows);
    free(file->values);
    *file = (struct flight_file){0};
}

#define WRONG(reader, ...) \
    error_set_at((reader)->error, -EINVAL, (reader)->file->name, (reader)->line, __VA_ARGS__)

/* The next line as an object; *ret_object NULL: there is none. An empty line is not one. */
static int next_object(struct reader *reader, json_t **ret_object)
{
    json_error_t why;

    *ret_object = NULL;
    if (reader->at == reader->end)
        return 0;
    const char *end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    const size_t length = (size_t)((end ? end : reader->end) - reader->at);
    reader->line++;
    /* -0 is no whole number */
    json_t *object =
        json_loadb(reader->at, length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
    reader->at = end ? end + 1 : reader->end;
    if (!object)
        return WRONG(reader, "is no JSON object: %s (column %d)", why.text, why.column);
    if (!json_is_object(object)) {
        json_decref(object);
        return WRONG(reader, "must be a JSON object");
    }
    *ret_object = object;
    return 0;
}

/* A number from least to most, which `must` says in words. */
static int take_number(struct reader *reader, const json_t *object, const char *key, double least,
                       double most, const char *must, double *ret_number)
{
    const json_t *member = json_object_get(object, key);
    const double number = json_real_value(member);

    if (!json_is_real(member) || !(number >= least && number <= most))
        return WRONG(reader, "\"%s\" must be %s", key, must);
    *ret_number = number;
    return 0;
}

static int take_whole(struct reader *reader, const json_t *object, const char *key, uint64_t most,
                      uint64_t *ret_number)
{
    static const char must[] = "a whole number above 0";
    double number = 0;

    int r = take_number(reader, object, key, 1, (double)most, must, &number);
    if (r == 0 && number != floor(number))
        r = WRONG(reader, "\"%s\" must be %s", key, must);
    if (r == 0)
        *ret_number = (uint64_t)number;
    return r;
}

/* ---- the header ---- */

static bool are_strings(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return false;
    return json_array_size(list) > 0;
}

static int take_rules(struct reader *reader)
{
    struct flight_file *file = reader->file;
    const json_t *list = json_object_get(file->header, "rules");
    const size_t n = json_array_size(list);

    if (!json_is_array(list) || n > MOST_RULES)
        return WRONG(reader, "\"rules\" must be a list of at most %d", MOST_RULES);
    file->rules = calloc(n + 1, sizeof(struct relevance *));
    if (!file->rules)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r = relevance_from_json(json_array_get(list, i), &file->rules[i]);
        if (r == -EINVAL)
            return WRONG(reader, "rules %zu must say direction and tolerance as a model file does",
                         i + 1);
        if (r < 0)
            return r;
        file->n_rules++;
    }
    return 0;
}

static int take_header(struct reader *reader, size_t *ret_n_rows)
{
    struct flight_file *file = reader->file;
    uint64_t format = 0, n_rows = 0;

    int r = next_object(reader, &file->header);
    if (r < 0)
        return r;
    const json_t *header = file->header, *features = json_object_get(header, "features");
    if (!json_object_get(header, "anomalyd_incident"))
        return error_set_at(reader->error, -EINVAL, file->name, 1,
                            "is no export of an incident; make one with anomalyctl incident "
                            "export ID");
    r = take_whole(reader, header, "anomalyd_incident", MOST_WHOLE, &format);
    if (r == 0 && format > FORMAT_VERSION)
        return WRONG(reader, "is of format %llu, and this anomalyctl reads up to %d; update it",
                     (unsigned long long)format, FORMAT_VERSION);
    if (r == 0)
        r = take_whole(reader, header, "rows", MOST_ROWS, &n_rows);
    if (r == 0)
        r = take_whole(reader, json_object_get(header, "incident"), "id", MOST_WHOLE,
                       &file->incident);
    if (r < 0)
        return r;
    file->model = json_string_value(json_object_get(header, "model"));
    file->kernel = json_string_value(json_object_get(header, "kernel"));
    if (!file->model || !file->kernel || !are_strings(features))
        return WRONG(reader, "\"model\" and \"kernel\" must be texts, and \"features\" a list of "
                             "them");
    file->n_features = json_array_size(features);
    *ret_n_rows = (size_t)n_rows;
    return take_rules(reader);
}

const char *flight_file_feature(const struct flight_file *file, size_t feature)
{
    return json_string_value(json_array_get(json_object_get(file->header, "features"), feature));
}

const char *flight_file_sha256(const struct flight_file *file, unsigned version)
{
    const json_t *versions = json_object_get(file->header, "versions");

    for (size_t i = 0; i < json_array_size(versions); i++) {
        const json_t *listed = json_array_get(versions, i);
        if (json_real_value(json_object_get(listed, "version")) == (double)version)
            return json_string_value(json_object_get(listed, "sha256"));
    }
    return NULL;
}

/* ---- rows ---- */

static int reserve(struct reader *reader)
{
    struct flight_file *file = reader->file;
    const size_t capacity = reader->capacity ? 2 * reader->capacity : 64;

    assert(file->n_values > 0);
    if (file->n_rows < reader->capacity)
        return 0;
    struct flight_file_row *rows = realloc(file->rows, capacity * sizeof(*rows));
    file->rows = rows ? rows : file->rows;
    float *values = realloc(file->values, capacity * file->n_values * sizeof(*values));
    file->values = values ? values : file->values;
    if (!rows || !values)
        return -ENOMEM;
    reader->capacity = capacity;
    return 0;
}

/* All rows have as many as the first one. */
static int check_values(struct reader *reader, const json_t *list)
{
    struct flight_file *file = reader->file;
    const size_t n = json_array_size(list); /* 0: it is none */

    if (file->n_rows == 0)
        file->n_values = n;
    if (n == 0 || n > MOST_VALUES)
        return WRONG(reader, "\"values\" must be a list of 1 to %d values", MOST_VALUES);
    if (n != file->n_values)
        return WRONG(reader, "\"values\" must be a list of %zu values, as in the rows before it",
                     file->n_values);
    return 0;
}

static int take_values(struct reader *reader, const json_t *list, float *values)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        const double number = json_real_value(value);
        if (json_is_null(value))
            values[i] = NAN;
        else if (json_is_real(value) && fabs(number) <= (double)FLT_MAX)
            values[i] = (float)number;
        else
            return WRONG(reader, "value %zu must be null or a number that a float can hold", i);
    }
    return 0;
}

/* None are said where every deviation matters. */
static int take_row_rules(struct reader *reader, const json_t *object, unsigned *ret_rules)
{
    const size_t n = reader->file->n_rules;
    uint64_t rules = 0;

    if (!json_object_get(object, "rules"))
        return 0;
    int r = take_whole(reader, object, "rules", MOST_WHOLE, &rules);
    if (r == 0 && rules > n)
        r = WRONG(reader, "\"rules\" is %llu, but the first line has %zu of them",
                  (unsigned long long)rules, n);
    if (r == 0)
        *ret_rules = (unsigned)rules;
    return r;
}

static int take_row(struct reader *reader, const json_t *object)
{
    struct flight_file *file = reader->file;
    const json_t *anomaly = json_object_get(object, "anomaly");
    const json_t *values = json_object_get(object, "values");
    uint64_t version = 0;

    int r = check_values(reader, values);
    if (r == 0)
        r = reserve(reader);
    if (r < 0)
        return r;
    assert(file->rows && file->values);
    struct flight_file_row *row = &file->rows[file->n_rows];
    *row =
        (struct flight_file_row){.line = reader->line,
                                 .anomaly = json_is_true(anomaly),
                                 .has_aside = json_is_true(json_object_get(object, "set_aside"))};
    r = take_whole(reader, object, "version", UINT_MAX, &version);
    row->version = (unsigned)version;
    if (r == 0)
        r = take_row_rules(reader, object, &row->rules);
    if (r == 0)
        r = take_number(reader, object, "threshold", DBL_TRUE_MIN, DBL_MAX, "a number above 0",
                        &row->threshold);
    if (r == 0)
        r = take_number(reader, object, "reconstruction_error", 0, DBL_MAX, "a number, not below 0",
                        &row->reconstruction_error);
    if (r == 0)
        r = take_number(reader, object, "score", 0, DBL_MAX, "a number, not below 0", &row->score);
    if (r == 0)
        r = take_number(reader, object, "p_value", 0, 1, "a number from 0 to 1", &row->p_value);
    if (r == 0 && !json_is_boolean(anomaly))
        r = WRONG(reader, "\"anomaly\" must be true or false");
    if (r == 0)
        r = take_values(reader, values, file->values + file->n_rows * file->n_values);
    file->n_rows += r == 0;
    return r;
}

static int read_all(struct reader *reader)
{
    size_t n_rows = 0;

    int r = take_header(reader, &n_rows);
    while (r == 0) {
        json_auto_t *object = NULL;
        r = next_object(reader, &object);
        if (r == 0 && !object)
            break;
        if (r == 0)
            r = take_row(reader, object);
    }
    if (r == 0 && reader->file->n_rows != n_rows)
        r = WRONG(reader, "ends here with %zu rows, but the first line says %zu; export it again",
                  reader->file->n_rows, n_rows);
    return r;
}

int flight_file_read(const char *path, struct flight_file *ret_file, struct error *reterr)
{
    CLEANUP(flight_file_clear) struct flight_file file = {.name = file_name(path)};
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(path, MOST_BYTES, &data, &size, reterr);
    if (r < 0)
        return r;
    if (size == 0)
        return error_set_at(reterr, -EINVAL, file.name, 0, "is empty");
    struct reader reader = {.file = &file, .at = data, .end = data + size, .error = reterr};
    r = read_all(&reader);
    if (r < 0)
        return r;
    *ret_file = file;
    file = (struct flight_file){0};
    return 0;
}
