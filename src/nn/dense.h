/* dense - fully connected layer, out = in · weightᵀ + bias, and its gradient.
 *
 * All arrays are row-major float:
 *   in[n_rows][n_in]  weight[n_out][n_in]  bias[n_out]  out[n_rows][n_out]
 * d_x is the gradient of the loss by x and has the shape of x. */
#pragma once

#include <stddef.h>

struct dense_shape {
    size_t n_rows, n_in, n_out;
};

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   struct dense_shape shape);

/* Overwrites d_in (NULL for the first layer: nobody needs it), adds to d_weight and d_bias so
 * that a batch may come in pieces. */
void dense_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                    const float *in, const float *weight, struct dense_shape shape);

/* One row: out[n_out] from in[n_in] and the weights as transposed[n_in][n_out]. Plain C that the
 * compiler vectorises; each output is summed in the order of the inputs, so that a row's result
 * does not depend on what stands beside it. */
void dense_infer(float *out, const float *in, const float *transposed, const float *bias,
                 size_t n_in, size_t n_out);
