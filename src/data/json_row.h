/* json_row - one row of a score request, and what is wrong with it: the lower half of json_rows.
 *
 * Two kinds of failure. What is not JSON, or not a body we know, ends the reading (-EBADMSG). Wrong
 * features are written down and the reading goes on, so that the caller hears of several at once,
 * and of malformed JSON behind them. From the first of them on no more rows are kept. */
#pragma once

#include "base/error.h"
#include "data/json_text.h"
#include "data/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_rows;
struct preparation;

/* What of a body comes next (json_rows.c). */
enum json_phase {
    JSON_BEGINS,
    JSON_MEMBER,   /* of the body: a key and its value */
    JSON_INSTANCE, /* a row of "instances" */
    JSON_BEHIND,   /* a member: a comma or the end of the body */
    JSON_ENDS      /* nothing but white space */
};

/* One reading of one body. */
struct json_reader {
    struct json_text text;
    struct json_rows *rows;
    const struct schema *schema;
    const struct preparation *preparation; /* or NULL */
    size_t n_features;
    enum json_phase phase;
    bool is_whole;        /* the text ends where the body does */
    bool is_line;         /* it is one row of several: no "instances" */
    const char *place;    /* of the rows: "", "/features" or "/instances"; NULL: none seen yet */
    size_t instance;      /* the row that is being read, if place is "/instances" */
    bool has_problems;    /* of the -EINVAL kind */
    bool row_has_problem; /* then nobody needs to hear that features are missing, too */
    uint64_t seen[SCHEMA_MAX_FEATURES / 64]; /* features that a row of names has named */
};

/* Of a value in its row: a name, or a position where name is NULL. */
struct json_key {
    const char *name;
    size_t length, position;
};

/* Reads the array or object at .text.at and appends it to rows, unless there are problems.
 * -EBADMSG, -ENOMEM. */
MUST_CHECK int json_row_read_array(struct json_reader *reader);
MUST_CHECK int json_row_read_object(struct json_reader *reader);

/* Appends values[n_features] that somebody else has read, NaN where one is missing, with the same
 * checks; a category is the text of its number. -ENOMEM. */
MUST_CHECK int json_row_take(struct json_reader *reader, const double *values);

/* Writes down a problem of the row that is being read, or of the value under key in it. */
void json_row_problem(struct json_reader *reader, const struct json_key *key, const char *format,
                      ...) PRINTF_LIKE(3, 4);

/* Ends the reading with the one problem that is told then. at is the place; name the key of the
 * body that is wrong, NULL: the row is. -EBADMSG. */
int json_row_refuse(struct json_reader *reader, const char *at, const struct json_string *name,
                    const char *format, ...) PRINTF_LIKE(4, 5);

/* ---- json_rows.c, for json_feed.c too ---- */

/* rows keeps its blocks, and the rows that it has. */
void json_reader_begin(struct json_reader *reader, struct json_rows *rows,
                       const struct schema *schema, const struct preparation *preparation);
/* Step by step (a row, a key with its value), until there are `most` rows or .text ends; unless it
 * is_whole, a step for which too little is there leaves no trace: *ret_needs_more, and .text.at is
 * where it begins. -EBADMSG, -ENOMEM. */
MUST_CHECK int json_reader_run(struct json_reader *reader, size_t most, bool *ret_needs_more);
/* After -EBADMSG: why, and where in .text. */
void json_reader_tell_place(struct json_reader *reader);
