/* scoring - rows in, verdicts out: what POST …/score does with rows, wherever they come from.
 *
 * The rows are the handler's (handler->rows), some at a time; what is written goes to the end of
 * the reply. Rows leave a trace (movement of their series, counters, learning), at once or when the
 * request is known to be good: a batch is refused or answered as a whole. One worker thread. */
#pragma once

#include "base/cleanup.h"
#include "base/quota.h"
#include "detector/vocabulary.h"
#include "http/score_options.h"
#include "service/learner.h"
#include "service/stats.h"

#include <stdbool.h>
#include <stddef.h>

struct handler;
struct live_model;
struct reply;
struct request;
struct series_undo;

enum answer_form {
    ANSWER_OBJECT, /* one verdict, or the results of a batch */
    ANSWER_LINES,  /* NDJSON: a verdict a line */
    ANSWER_NPY     /* [rows][3] float64: reconstruction error, score, p-value */
};

struct scoring {
    struct handler *handler;
    struct live_model *model;        /* a reference of the caller's */
    struct preparation *preparation; /* NULL: rows are judged as they come */
    size_t n_features;               /* that the model sees */
    struct vocabulary vocabulary;
    struct score_options options;
    enum answer_form form;
    bool is_line;             /* each row is a request of its own */
    size_t n_rows;            /* that have been answered */
    size_t n_detailed;        /* of these, in detail */
    bool is_untimed;          /* the first of these had no time, so it must stay the only one */
    const float *hold;        /* of the next explained row; NULL: rows are independent */
    struct series_undo *undo; /* of the rows whose trace is to be kept with the last */
    struct held_rows held;
    const struct share *body; /* the request's */
    struct share work; /* the caller's: what reading the rows takes until the last has come */
    struct verdict_tally tally;
    double *errors; /* [RECENT_ROWS] a ring; NULL: none is held */
};

/* The options are none yet; the form is what the client accepts, else what it sends. */
void scoring_begin(struct scoring *scoring, struct handler *handler, struct live_model *model,
                   const struct request *request);
/* What is not committed is taken back. */
void scoring_clear(struct scoring *scoring);

/* Judges the handler's rows, which come behind those before, and writes their verdicts. -EINVAL:
 * reply is why not, and will not get longer than the share of it may. is_all: there are no others,
 * neither before nor behind. */
MUST_CHECK int scoring_answer(struct scoring *scoring, bool is_all, struct reply *reply);
/* What an answer may take: explanations are far longer than their rows. A batch that needs more is
 * refused; lines end before. */
#define SCORING_MOST       "256 MiB"
#define SCORING_MOST_BYTES ((size_t)256 << 20)
/* In the explanation of a row. */
size_t scoring_most_entries(const struct scoring *scoring);
/* Whether there is room for n_rows more lines, also in what all requests may take together
 * (service_request_memory()). 0, or the status of a problem, and how its detail begins. */
unsigned scoring_check_room(const struct scoring *scoring, size_t n_rows, struct reply *reply,
                            const char **ret_why);
/* All requests take what they may, and this one wants n_bytes more than it has. */
unsigned scoring_why_full(const struct scoring *scoring, const struct reply *reply, size_t n_bytes,
                          const char **ret_why);
void scoring_refuse_full(const struct scoring *scoring, size_t n_bytes, struct reply *reply);
/* Whether n_rows more may be told of in detail, if that is what they are to be: -EINVAL, and reply
 * says why not. */
MUST_CHECK int scoring_check_detail(const struct scoring *scoring, size_t n_rows,
                                    struct reply *reply);
/* In an ANSWER_NPY, in the place of a row that has got no verdict. */
void scoring_put_none(struct reply *reply);
/* What the answer begins and ends with. */
void scoring_put_head(const struct scoring *scoring, bool is_batch, struct reply *reply);
void scoring_put_end(const struct scoring *scoring, bool is_batch, struct reply *reply);

/* The rows that scoring_answer() has just answered leave their trace: now, */
void scoring_keep(struct scoring *scoring);
/* or with scoring_commit(). 0 or -ENOMEM. */
MUST_CHECK int scoring_hold(struct scoring *scoring);
void scoring_commit(struct scoring *scoring);
