/* activation - the bend between two dense layers.
 *
 * silu is x · sigmoid(x) (Elfwing et al. 2017), elu is x above 0 and exp(x) - 1 below (Clevert et
 * al. 2015, alpha 1). exp and tanh are our own branch-free ones (nn/vector_math.h), so that the
 * compiler vectorises them; they agree with libm within 3e-7. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

enum activation {
    ACTIVATION_LINEAR,
    ACTIVATION_SIGMOID,
    ACTIVATION_TANH,
    ACTIVATION_RELU,
    ACTIVATION_SILU,
    ACTIVATION_ELU,
    N_ACTIVATIONS
};

const char *activation_name(enum activation activation); /* "tanh" */
MUST_CHECK int activation_from_name(const char *name,
                                    enum activation *ret_activation); /* -EINVAL */

/* out[n] = f(in[n]); out may be in. An element's result does not depend on what stands beside it.
 */
void activation_forward(enum activation activation, float *out, const float *in, size_t n);

/* d[n] *= f'(in[n]): turns the gradient by the output into the one by the input, in place. in and
 * out are what activation_forward() took and gave; only silu reads in. */
void activation_backward(enum activation activation, float *d, const float *in, const float *out,
                         size_t n);
