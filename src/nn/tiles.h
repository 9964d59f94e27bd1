/* tiles - the matrix products of a training step, for matrices that fit into the caches: a tile of
 * the result stays in registers until it is complete.
 *
 * All matrices are row-major without gaps, but for the factor that tiles_pack() made. Each sum is
 * taken in one order, whatever the width of the registers and the number of rows: a row gives the
 * same bits alone or in a batch, and the kernels with fused multiply-add give the same bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TILES_MOST_LANES 16 /* floats in the widest register */

struct tiles {
    const char *name;
    size_t n_lanes; /* floats in a register */

    /* out[n_rows][n_out] = in[n_rows][n_in] · factor + bias, both as tiles_pack() laid them out */
    void (*multiply)(float *out, const float *in, const float *factor, size_t n_rows, size_t n_in,
                     size_t n_out);

    /* sums[n_left][n_right] += leftᵀ · right, of left[n_rows][n_left] and right[n_rows][n_right];
     * rows of left are left_stride apart. */
    void (*add_products)(float *sums, const float *left, size_t left_stride, const float *right,
                         size_t n_rows, size_t n_left, size_t n_right);
};

/* Those that this processor can run, the portable one first; NULL behind the last. */
const struct tiles *tiles_nth(size_t n);
const struct tiles *tiles_best(void);

/* A factor [1 + n_in][n_out], the bias first (NULL: 0), each row filled up with 0 to whole
 * registers. From matrix[n_in][n_out], or transposed from matrix[n_out][n_in]. */
size_t tiles_factor_floats(size_t n_in, size_t n_out);
void tiles_pack(float *factor, const float *matrix, const float *bias, size_t n_in, size_t n_out,
                bool is_transposed);
