/* packed - a matrix laid out for scoring: out = matrix · in + bias for one row or many, and the
 * squared distances of a row to each of the matrix's rows.
 *
 * Outputs stand in panels of PACKED_WIDTH, input after input, so that a row streams through memory
 * once and the sums stay in registers; of a batch, four rows share each load. Each output is summed
 * in the order of the inputs, so a row's result is the same bits alone or in a batch. Inputs behind
 * the last weight that is not 0 of a panel and of those before it are skipped: a lower triangular
 * matrix costs half.
 * Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define PACKED_WIDTH 16

struct packed;

/* matrix[n_out][n_in]; bias[n_out], NULL: 0. -ENOMEM. */
MUST_CHECK int packed_new(const float *matrix, const float *bias, size_t n_in, size_t n_out,
                          struct packed **ret_packed);
/* The same from the transpose, matrix[n_in][n_out]. */
MUST_CHECK int packed_new_transposed(const float *matrix, const float *bias, size_t n_in,
                                     size_t n_out, struct packed **ret_packed);
void packed_free(struct packed *packed);
DEFINE_CLEANUP(struct packed *, packed_free)

/* Floats between the rows of out below: n_out rounded up to whole panels. What stands behind n_out
 * in a row is overwritten with anything. */
size_t packed_stride(const struct packed *packed);
size_t packed_n_in(const struct packed *packed);
size_t packed_n_out(const struct packed *packed);
size_t packed_multiply_adds(const struct packed *packed); /* of one row; skipped ones not counted */
size_t packed_bytes(const struct packed *packed);         /* that one row reads */

/* out[n_rows][packed_stride()] = in[n_rows] · matrixᵀ + bias; row r of in begins at
 * in + r * in_stride. */
void packed_multiply(const struct packed *packed, float *out, const float *in, size_t in_stride,
                     size_t n_rows);

/* out[r][o] = Σ (in[r][i] - matrix[o][i])² over all inputs (nothing is skipped); bias is not used.
 */
void packed_distances(const struct packed *packed, float *out, const float *in, size_t in_stride,
                      size_t n_rows);
