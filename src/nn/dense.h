/* dense - fully connected layer, out = in · weightᵀ + bias, and its gradient. For training; what
 * serves rows is nn/packed.h.
 *
 * All arrays are row-major float:
 *   in[n_rows][n_in]  weight[n_out][n_in]  bias[n_out]  out[n_rows][n_out]
 * A tied layer shares the weights of a layer that goes the other way: weight[n_in][n_out],
 * out = in · weight + bias. d_x is the gradient of the loss by x and has the shape of x.
 *
 * Layers up to 512 wide are multiplied by nn/tiles.h, wider ones by OpenBLAS. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dense_shape {
    size_t n_rows, n_in, n_out;
    bool is_tied;
};

/* Floats of scratch memory for the two below. */
size_t dense_scratch_floats(size_t n_in, size_t n_out);

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   struct dense_shape shape, float *scratch);

/* Overwrites d_in (NULL for the first layer: nobody needs it), adds to d_weight and d_bias so
 * that a batch may come in pieces, and two tied layers add up. */
void dense_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                    const float *in, const float *weight, struct dense_shape shape, float *scratch);
