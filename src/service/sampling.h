/* sampling - which rows of a series count: at most so many a second, evenly drawn.
 *
 * An allowance grows by `rate` a second of the rows' own time, whether rows come or not, up to what
 * SAMPLING_SAVED_S seconds bring: who sends a minute's rows at once loses none of them, and a flood
 * after a quiet hour gets no more than that. Of a batch that it does not suffice for a random
 * choice counts, not the first rows. A random part of a row is never spent, or of several sources
 * that send in turn always the same one would be met. Over t seconds at most 2 + rate (t +
 * SAMPLING_SAVED_S) rows count.
 *
 * Pure; deterministic for the random numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAMPLING_SAVED_S 300

struct random;

struct sampling { /* {0}: no row has come yet */
    bool has_begun;
    uint64_t newest_us; /* time of the rows so far */
    double allowance;   /* rows */
    double kept_back;   /* of it, below 1: another part each time rows were chosen */
    size_t n_left;      /* of the batch that is being taken */
    size_t n_chosen;    /* of those that are left */
};

/* A batch of n_rows of one time comes. rate: rows a second, above 0. */
void sampling_begin(struct sampling *sampling, double rate, uint64_t time_us, size_t n_rows,
                    struct random *random);

/* Whether its next row counts; once for each. */
bool sampling_next(struct sampling *sampling, struct random *random);
