#include "nn/activation.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const char *const names[] = {
    [ACTIVATION_LINEAR] = "linear",
    [ACTIVATION_SIGMOID] = "sigmoid",
    [ACTIVATION_TANH] = "tanh",
    [ACTIVATION_RELU] = "relu",
};

const char *activation_name(enum activation activation)
{
    return names[activation];
}

int activation_from_name(const char *name, enum activation *ret_activation)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_activation = (enum activation)i;
            return 0;
        }
    return -EINVAL;
}

void activation_forward(enum activation activation, float *out, const float *in, size_t n)
{
    switch (activation) {
    case ACTIVATION_LINEAR:
        if (out != in)
            memcpy(out, in, n * sizeof(*out));
        break;
    case ACTIVATION_SIGMOID:
        for (size_t i = 0; i < n; i++)
            out[i] = 1.0F / (1.0F + expf(-in[i]));
        break;
    case ACTIVATION_TANH:
        for (size_t i = 0; i < n; i++)
            out[i] = tanhf(in[i]);
        break;
    case ACTIVATION_RELU:
        for (size_t i = 0; i < n; i++)
            out[i] = in[i] > 0.0F ? in[i] : 0.0F;
        break;
    }
}

void activation_backward(enum activation activation, float *d, const float *in, const float *out,
                         size_t n)
{
    switch (activation) {
    case ACTIVATION_LINEAR:
        break;
    case ACTIVATION_SIGMOID:
        for (size_t i = 0; i < n; i++)
            d[i] *= out[i] * (1.0F - out[i]);
        break;
    case ACTIVATION_TANH:
        for (size_t i = 0; i < n; i++)
            d[i] *= 1.0F - out[i] * out[i];
        break;
    case ACTIVATION_RELU:
        for (size_t i = 0; i < n; i++)
            d[i] = in[i] > 0.0F ? d[i] : 0.0F;
        break;
    }
}
