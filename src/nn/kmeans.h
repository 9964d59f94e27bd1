/* kmeans - centroids of rows: Lloyd's algorithm from random rows (Lloyd 1982). */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct random;

/* Of rows[n_rows][n]: at most k centroids[k][n] after n_rounds rounds; clusters that run empty are
 * dropped. k >= n_rows: the rows themselves. *ret_k says how many; nearest[n_rows] (NULL: not
 * wanted) the centroid of each row. Distances by sgemm in float. 0 or -ENOMEM. */
MUST_CHECK int kmeans(const float *rows, size_t n_rows, size_t n, size_t k, size_t n_rounds,
                      struct random *random, float *ret_centroids, size_t *ret_k,
                      uint32_t *ret_nearest);
