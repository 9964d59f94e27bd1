/* stats - what /metrics shows: counted by each worker in its own slot, summed at the scrape.
 *
 * Counting takes no lock and shares no cache line; every counter is there at 0 from the start. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

struct model_stats;
struct stats;
struct verdict;

/* n_workers threads count, numbered from 0: never two of them under one number at a time.
 * routes[n_routes] are the label values of `route` (the array and its strings live on). */
MUST_CHECK int stats_new(unsigned n_workers, const char *const *routes, size_t n_routes,
                         struct stats **ret_stats);
void stats_free(struct stats *stats);
DEFINE_CLEANUP(struct stats *, stats_free)

/* One answered request. status is 100 to 599. */
void stats_count_request(struct stats *stats, unsigned worker, size_t route, unsigned status,
                         uint64_t duration_us);

/* The counters of a model, made at the first call; they stay over reloads. NULL: no memory. */
struct model_stats *stats_model(struct stats *stats, const char *name);

/* verdicts[n_rows] went out; their scores are not NaN. */
void stats_count_verdicts(struct model_stats *model, unsigned worker,
                          const struct verdict *verdicts, size_t n_rows);

#define STATS_SCORE_EDGES 11 /* of the histogram of scores */

/* The same in two steps, of verdicts that may not go out after all. Start with {0}. */
struct verdict_tally {
    uint64_t rows, anomalies, buckets[STATS_SCORE_EDGES + 1];
    double sum;
};
void stats_tally_verdicts(struct verdict_tally *tally, const struct verdict *verdicts,
                          size_t n_rows);
void stats_count_tally(struct model_stats *model, unsigned worker,
                       const struct verdict_tally *tally);

/* All that were counted so. Any thread. */
uint64_t stats_rows_scored(const struct stats *stats, const struct model_stats *model);

struct live;
struct quota;

/* The whole /metrics page (Prometheus text format 0.0.4): all above, one line a live model for
 * threshold, target rate, version and time of training, how many are loaded, what requests take,
 * and process_*. */
void stats_write(struct stats *stats, struct live *live, const struct quota *request_memory,
                 struct text *text);
