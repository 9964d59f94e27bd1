/* host - samples this machine from /proc and /sys, one row of features each time it is asked.
 *
 * Counters become rates over the time between two samples; a counter that went backwards (wrapped,
 * reset, its device unplugged) gives 0. What the kernel does not have (no pressure-stall figures,
 * no disks) is not a feature at all; which ones there are is settled in host_sampler_new() and
 * never changes. One thread at a time. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct host_sampler;

/* Finds what this host has and takes the sample that the first row is compared with. root stands
 * before /proc and /sys: "" here, a folder in tests. now_us is clock_monotonic_us().
 * -ENOMEM; else a file that is missing, unreadable or makes no sense, which reterr names. */
MUST_CHECK int host_sampler_new(const char *root, uint64_t now_us,
                                struct host_sampler **ret_sampler, struct error *reterr);
void host_sampler_free(struct host_sampler *sampler);
DEFINE_CLEANUP(struct host_sampler *, host_sampler_free)

size_t host_sampler_n_features(const struct host_sampler *sampler);

/* The name belongs to the library: never freed. feature < n_features. */
const char *host_sampler_feature_name(const struct host_sampler *sampler, size_t feature);

/* One row, ret_row[n_features], over the time since the last successful call. now_us must be later
 * than it was then. Errors as above. */
MUST_CHECK int host_sampler_read(struct host_sampler *sampler, uint64_t now_us, float *ret_row,
                                 struct error *reterr);
