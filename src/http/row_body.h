/* row_body - the rows and options of a request, read and checked; what is wrong with them is an
 * answer. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct json_rows;
struct preparation;
struct reply;
struct request;
struct schema;
struct score_options;

/* What json_rows_read() and its like have said of rows, r, is the answer. */
void row_body_refuse(const struct json_rows *rows, int r, struct reply *reply);

/* missing = reject: -EINVAL, and reply a 422, for the first of the rows from `from` on that lacks a
 * value. first_row: how many rows of the request were before these. */
MUST_CHECK int row_body_check_missing(const struct json_rows *rows, size_t from, size_t first_row,
                                      const struct schema *schema,
                                      const struct preparation *preparation, struct reply *reply);

/* Fills rows and options (from score_options_init()) from body and query; schema and preparation as
 * for json_rows_read(). -EINVAL: reply says what
 * is wrong with them, or that memory is short. reject_missing: a missing value is wrong too. */
MUST_CHECK int row_body_read(struct json_rows *rows, struct score_options *options,
                             const struct schema *schema, const struct preparation *preparation,
                             bool reject_missing, const struct request *request,
                             struct reply *reply);
