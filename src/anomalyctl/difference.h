/* difference - what two model files say of the same features: where their normal has moved. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct detector;

/* A centre that moved by so many deviations, or the logarithm of the spread by as much (a factor of
 * 1.22), is worth a look; benign drift is slower (docs/learning.md). */
#define DIFFERENCE_MATTERS 0.2

struct moved_feature {
    size_t in_a, in_b;              /* its number in each */
    double shift;                   /* of the mean, in deviations of a */
    double spread;                  /* deviation of b by that of a */
    bool was_constant, is_constant; /* never moved in a, in b: a deviation is made up then */
};

struct difference {
    struct moved_feature *features; /* [n_features] that both have, what moved most comes first */
    size_t n_features;
    size_t n_matter; /* the first of them, at least DIFFERENCE_MATTERS */
    size_t *added;   /* [n_added] numbers in b of what a has not */
    size_t n_added;
    size_t *removed; /* [n_removed] numbers in a of what b has not */
    size_t n_removed;
};

/* 0 or -ENOMEM. Release with difference_clear(). */
MUST_CHECK int difference_make(const struct detector *a, const struct detector *b,
                               struct difference *ret_difference);
void difference_clear(struct difference *difference);
