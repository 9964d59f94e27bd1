/* json_lines - NDJSON that is there as a whole: a row a line, empty lines are none. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct json_rows;
struct preparation;
struct schema;

/* Whether there is nothing but white space. */
bool json_line_is_empty(const char *line, size_t size);

/* As json_rows_read(); the rows of all lines, which have no options. What is wrong says in which
 * line it is. */
MUST_CHECK int json_lines_read(struct json_rows *rows, const struct schema *schema,
                               const struct preparation *preparation, const char *body,
                               size_t size);
