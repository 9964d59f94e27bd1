/* movements - how each series of one model has moved of late (detector/movement.h), so that a
 * verdict can name what moved.
 *
 * Kept over versions, all of the same features. Bounded: of more than movements_most_series() the
 * one that was silent for longest begins anew when it comes again; a restart begins all anew. Any
 * thread; whoever follows rows holds a mutex for about 5 ns a value, 0.2 µs a row of 38. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct detector;
struct movements;
struct workspace;

/* 10,000, of wide rows as many as MOVEMENTS_MAX_BYTES have room for. */
#define MOVEMENTS_MAX_SERIES 10000
#define MOVEMENTS_MAX_BYTES  ((size_t)64 << 20)
size_t movements_most_series(size_t n_features);

MUST_CHECK int movements_new(struct movements **ret_movements);
/* One more who will release it; returns movements. */
struct movements *movements_share(struct movements *movements);
void movements_release(struct movements *movements);

/* Takes the next rows[n_rows][n_features] of a series, in their order, standardised as this version
 * does. ret_holds[][n_features]: the hold after each row of which is_wanted[n_rows] is set, one
 * behind the other. 0 or -ENOMEM. */
MUST_CHECK int movements_follow(struct movements *movements, const struct detector *detector,
                                struct workspace *workspace, const char *series, const float *rows,
                                size_t n_rows, const bool *is_wanted, float *ret_holds);
