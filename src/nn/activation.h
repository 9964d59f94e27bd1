/* activation - the bend between two dense layers. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

enum activation {
    ACTIVATION_LINEAR,
    ACTIVATION_SIGMOID,
    ACTIVATION_TANH,
    ACTIVATION_RELU
};

const char *activation_name(enum activation activation); /* "tanh" */
MUST_CHECK int activation_from_name(const char *name,
                                    enum activation *ret_activation); /* -EINVAL */

/* out[n] = f(in[n]); out may be in. */
void activation_forward(enum activation activation, float *out, const float *in, size_t n);

/* d[n] *= f'(in[n]): turns the gradient by the output into the one by the input, in place. in and
 * out are what activation_forward() took and gave. */
void activation_backward(enum activation activation, float *d, const float *in, const float *out,
                         size_t n);
