/* score_options - what a client says about its rows, and how much of a verdict it wants to see. */
#pragma once

#include "base/cleanup.h"
#include "service/learner.h" /* ROW_SERIES_MAX */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_rows;
struct reply;
struct request;

enum explain {
    EXPLAIN_NONE,
    EXPLAIN_ANOMALIES,
    EXPLAIN_ALL
};

enum score_option {
    OPTION_EXPLAIN,
    OPTION_TOP,
    OPTION_DETAIL,
    OPTION_LEARN,
    OPTION_SERIES,
    OPTION_TIMESTAMP,
    N_SCORE_OPTIONS
};

struct score_options {
    bool is_for_observe;  /* series and timestamp are all there is */
    enum explain explain; /* whose contributions are shown; EXPLAIN_ANOMALIES unless said */
    size_t top;           /* at most so many contributions a row; 5 unless said */
    bool detail;          /* what is explained is so in detail (detector/detail.h) */
    bool learn;           /* rows may be learned from; true unless said */
    bool is_independent;  /* "series": null */
    char series[ROW_SERIES_MAX + 1]; /* "" unless said: the default one */
    uint64_t time_us;                /* since 1970; counts only if said */
    bool is_given[N_SCORE_OPTIONS];
};

void score_options_init(struct score_options *options);

/* Both fill reply with a 400 that names the option and return -EINVAL: unknown, a bad value, or
 * given twice (also once in the query and once in the body). */
MUST_CHECK int score_options_read_query(struct score_options *options,
                                        const struct request *request, struct reply *reply);
MUST_CHECK int score_options_read_body(struct score_options *options, const struct json_rows *rows,
                                       struct reply *reply);

/* What service/learner.h wants to know: NULL for independent rows; the time given, or now. */
const char *score_options_series(const struct score_options *options);
uint64_t score_options_time_us(const struct score_options *options);
