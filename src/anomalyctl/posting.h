/* posting - rows on their way to a running daemon, one request each; they wait while it is away.
 *
 * What it answers goes to people: anomalies to stdout, progress and trouble to stderr. One thread.
 */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POSTING_MOST_WAITING 3600 /* rows; the oldest go first */

struct client;
struct host_sampler;
struct posting;
struct text;

struct posting_options {
    struct client *client; /* borrowed, with a timeout of its own from here on */
    const char *url;       /* as messages call it */
    const char *model;
    const char *series;                 /* NULL: the default one */
    bool is_observed;                   /* the rows are known to be normal: not scored */
    bool is_quiet;                      /* only trouble is told */
    const struct host_sampler *sampler; /* knows the features; borrowed */
};

/* -ENOMEM. */
MUST_CHECK int posting_new(const struct posting_options *options, struct posting **ret_posting);
void posting_free(struct posting *posting);
DEFINE_CLEANUP(struct posting *, posting_free)

/* One more row waits, a copy. time_us: since 1970. */
void posting_add(struct posting *posting, uint64_t time_us, const float *row);

/* Sends what waits, the oldest first, until nothing does, the daemon is away, or it is deadline_us
 * of the monotonic clock. Below 0: the daemon refuses the rows, and would refuse them again. */
MUST_CHECK int posting_send(struct posting *posting, uint64_t deadline_us, struct error *reterr);

/* How it stands, for a line of progress: "host: learning, 120 of 1000 rows". */
void posting_describe(const struct posting *posting, struct text *text);

struct posting_figures {
    uint64_t n_sent; /* that the daemon has taken */
    uint64_t n_anomalies, n_dropped;
    size_t n_waiting;
};
struct posting_figures posting_figures(const struct posting *posting);
