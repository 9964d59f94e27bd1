/* loss - what training makes small. */
#pragma once

#include <stddef.h>

/* Mean of the squared differences of out[n] and target[n]. */
double loss_mse_forward(const float *out, const float *target, size_t n);

/* d_out[n] = gradient of the above by out. */
void loss_mse_backward(float *d_out, const float *out, const float *target, size_t n);
