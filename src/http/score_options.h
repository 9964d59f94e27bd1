/* score_options - how much of a verdict the client wants to see. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct json_rows;
struct reply;
struct request;

enum explain {
    EXPLAIN_NONE,
    EXPLAIN_ANOMALIES,
    EXPLAIN_ALL
};

struct score_options {
    enum explain explain; /* whose contributions are shown; EXPLAIN_ANOMALIES unless said */
    size_t top;           /* at most so many contributions a row; 5 unless said */
    bool has_explain, has_top;
};

void score_options_init(struct score_options *options);

/* Both fill reply with a 400 that names the option and return -EINVAL: unknown, a bad value, or
 * given twice (also once in the query and once in the body). */
MUST_CHECK int score_options_read_query(struct score_options *options,
                                        const struct request *request, struct reply *reply);
MUST_CHECK int score_options_read_body(struct score_options *options, const struct json_rows *rows,
                                       struct reply *reply);
