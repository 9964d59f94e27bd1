/* score_stream_state - what score_stream.c and score_stream_lines.c have in common: a body on its
 * way. Functions that fail return -EINVAL; the reply says why then. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/scoring.h"

struct json_feed;
struct npy_feed;
struct schema;

struct score_stream {
    struct scoring scoring;
    enum request_rows kind;
    struct json_feed *json; /* of ROWS_JSON */
    struct npy_feed *npy;   /* of ROWS_NPY */
    struct text lines;      /* of ROWS_LINES: what is not yet read, */
    size_t n_searched;      /* without a newline, */
    size_t line, offset;    /* the number of the next one, from 1, and where it begins */
    bool is_full;           /* no more of them is looked at */
    struct json_rows rows;  /* and read, not yet judged */
    size_t most;            /* rows at a time */
    struct reply reply;     /* as far as it has come; once is_refused: why */
    bool is_refused;
    bool is_batch, has_head;
    bool is_alone;    /* the body is not kept */
    bool must_repeat; /* it shall be read anew: options stand behind rows */
    size_t n_options; /* that hold */
};

/* What rows are read as. */
const struct schema *score_stream_values(const struct score_stream *stream);
/* Judges these rows, and writes their verdicts. */
MUST_CHECK int score_stream_answer(struct score_stream *stream, struct json_rows *rows);
/* -EINVAL. */
int score_stream_no_memory(struct score_stream *stream);

/* ---- NDJSON ---- */

MUST_CHECK int score_stream_put_lines(struct score_stream *stream, const char *bytes, size_t n);
/* The last line needs no newline. */
MUST_CHECK int score_stream_end_lines(struct score_stream *stream);
/* What has been answered stays so, for its rows have left their trace; behind it a problem. */
MUST_CHECK int score_stream_end_early(struct score_stream *stream, unsigned status,
                                      const char *why);
