/* json_rows - reads the rows of a score request straight from JSON text into one float block.
 *
 * No tree of objects is built; the text is read once. As strict as RFC 8259 and jansson: UTF-8
 * only, no NaN, no duplicate keys, no trailing text. Accepted bodies (DESIGN: HTTP API):
 *     [0.1, null, …]                       one row
 *     {"features": [0.1, …]}               one row
 *     {"features": {"cpu": 0.3, …}}        one row by names; absent features are missing
 *     {"instances": [ROW, …]}              a batch; each ROW an array or an object of names
 * Keys may come in any order. null is a missing value (NaN in the block). Every other key with a
 * scalar value is an option, handed to the caller as it stands. One thread at a time per object.
 *
 * A row with more than half of its features missing is refused here, not by the detector: else a
 * body of many `{}` would ask for thousands of times its own size. So a body of n bytes takes at
 * most 8 n bytes and a constant. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct preparation;
struct schema;

#define JSON_ROWS_MAX_OPTIONS  8
#define JSON_ROWS_MAX_PROBLEMS 8

enum json_scalar {
    JSON_SCALAR_STRING,
    JSON_SCALAR_NUMBER,
    JSON_SCALAR_BOOL,
    JSON_SCALAR_NULL
};

/* "explain": "all" → name "explain", kind STRING, value "all" (escapes resolved); a number or
 * boolean as written. */
struct json_option {
    enum json_scalar kind;
    char name[32], value[132]; /* a longer one is refused with -EBADMSG: no option is that long */
};

/* Both are UTF-8, also where names are cut. */
struct json_problem {
    char pointer[300]; /* RFC 6901: "/instances/3/cpu"; "" is the whole body */
    char detail[300];
};

/* Start with {0}; reuse for many requests (the block is kept); release with json_rows_clear(). */
struct json_rows {
    size_t n_rows;
    bool is_batch;   /* `instances` was used: answer in the batch form */
    float *rows;     /* [n_rows][n_features of the schema], never infinite; with a preparation it
                      * is the caller's to fill: json_rows_reserve() */
    size_t capacity; /* rows that fit the block, in floats */

    /* With a preparation only. */
    double *values; /* [n_rows][n_values], a category as its number */
    double *times;  /* [n_rows] seconds since 1970 of rows that say so ("timestamp"), else NaN */
    size_t values_capacity, times_capacity; /* in doubles */

    struct json_option options[JSON_ROWS_MAX_OPTIONS];
    size_t n_options;

    /* After a failure: why. For -EBADMSG one problem and the place; for -EINVAL up to
     * JSON_ROWS_MAX_PROBLEMS problems. */
    struct json_problem problems[JSON_ROWS_MAX_PROBLEMS];
    size_t n_problems;
    size_t offset, line, column; /* of the malformed byte: offset from 0, line and column (in
                                  * characters) from 1 */
};

/* preparation NULL: the features are the values. Else the schema is that of its values, which go to
 * .values; a row by names may have a "timestamp", and a category may be text, a number or a
 * boolean.
 *
 * 0: rows, n_rows, options are set; nothing else of them counts after a failure.
 * -EBADMSG: not JSON (detail: "malformed JSON: …"), or not one of the bodies above (unknown shape,
 *           both or neither of features and instances, duplicate key, more than
 *           JSON_ROWS_MAX_OPTIONS options, or one that is no scalar): a 400.
 * -EINVAL:  JSON, but wrong features: a row of the wrong length, unknown or duplicated names, a
 *           value that is not a number, does not fit a float or cannot be prepared, more than half
 * of the features missing, no instances: a 422. The whole body was JSON. -ENOMEM.  body[size] needs
 * no NUL. */
MUST_CHECK int json_rows_read(struct json_rows *rows, const struct schema *schema,
                              const struct preparation *preparation, const char *body, size_t size);
/* A line of NDJSON, one row, "instances" is none: the row is appended to the n_rows that are there,
 * by the same schema and preparation; options are those of the line. A failure leaves n_rows as it
 * was. */
MUST_CHECK int json_rows_read_line(struct json_rows *rows, const struct schema *schema,
                                   const struct preparation *preparation, const char *line,
                                   size_t size);
/* The one problem is that there are no rows. -EINVAL. */
int json_rows_refuse_none(struct json_rows *rows);
/* Room for n floats in .rows, whose contents are lost. 0 or -ENOMEM. */
MUST_CHECK int json_rows_reserve(struct json_rows *rows, size_t n);
void json_rows_clear(struct json_rows *rows);
/* Bytes that it keeps. */
size_t json_rows_size(const struct json_rows *rows);
