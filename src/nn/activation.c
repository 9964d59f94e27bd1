/* Each function is its own loop, for the compiler to vectorise. The selects are written so that a
 * NaN comes out as NaN: training notices. */
#include "nn/activation.h"

#include "nn/vector.h"
#include "nn/vector_math.h"

#include <errno.h>
#include <string.h>

static const char *const names[N_ACTIVATIONS] = {
    [ACTIVATION_LINEAR] = "linear", [ACTIVATION_SIGMOID] = "sigmoid", [ACTIVATION_TANH] = "tanh",
    [ACTIVATION_RELU] = "relu",     [ACTIVATION_SILU] = "silu",       [ACTIVATION_ELU] = "elu",
};

const char *activation_name(enum activation activation)
{
    return names[activation];
}

int activation_from_name(const char *name, enum activation *ret_activation)
{
    for (size_t i = 0; i < N_ACTIVATIONS; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_activation = (enum activation)i;
            return 0;
        }
    return -EINVAL;
}

VECTOR_CLONES static void sigmoid_forward(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = vector_sigmoid(in[i]);
}

VECTOR_CLONES static void sigmoid_backward(float *d, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] *= out[i] * (1.0F - out[i]);
}

VECTOR_CLONES static void tanh_forward(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = vector_tanh(in[i]);
}

VECTOR_CLONES static void tanh_backward(float *d, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] *= 1.0F - out[i] * out[i];
}

VECTOR_CLONES static void relu_forward(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] < 0.0F ? 0.0F : in[i];
}

VECTOR_CLONES static void relu_backward(float *d, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = out[i] > 0.0F ? d[i] : 0.0F;
}

/* Below the limit silu is 0 within a float; the clamp keeps x · sigmoid(x) from growing again. */
VECTOR_CLONES static void silu_forward(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float inside = vector_clamp(in[i]);
        const float x = in[i] < 0.0F ? inside : in[i];

        out[i] = x / (1.0F + vector_exp(-in[i]));
    }
}

/* sigmoid(x) is out / x: a division costs less than the exp() once more. */
VECTOR_CLONES static void silu_backward(float *d, const float *in, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float s = in[i] == 0.0F ? 0.5F : out[i] / in[i];

        d[i] *= s + out[i] * (1.0F - s);
    }
}

VECTOR_CLONES static void elu_forward(float *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float above = in[i] < 0.0F ? 0.0F : in[i];
        const float below = in[i] < 0.0F ? in[i] : 0.0F;

        out[i] = above + vector_expm1(below); /* one of them is 0 */
    }
}

VECTOR_CLONES static void elu_backward(float *d, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] *= 1.0F + (out[i] < 0.0F ? out[i] : 0.0F);
}

void activation_forward(enum activation activation, float *out, const float *in, size_t n)
{
    switch (activation) {
    case ACTIVATION_LINEAR:
        if (out != in)
            memcpy(out, in, n * sizeof(*out));
        break;
    case ACTIVATION_SIGMOID:
        sigmoid_forward(out, in, n);
        break;
    case ACTIVATION_TANH:
        tanh_forward(out, in, n);
        break;
    case ACTIVATION_RELU:
        relu_forward(out, in, n);
        break;
    case ACTIVATION_SILU:
        silu_forward(out, in, n);
        break;
    case ACTIVATION_ELU:
        elu_forward(out, in, n);
        break;
    case N_ACTIVATIONS:
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
        sigmoid_backward(d, out, n);
        break;
    case ACTIVATION_TANH:
        tanh_backward(d, out, n);
        break;
    case ACTIVATION_RELU:
        relu_backward(d, out, n);
        break;
    case ACTIVATION_SILU:
        silu_backward(d, in, out, n);
        break;
    case ACTIVATION_ELU:
        elu_backward(d, out, n);
        break;
    case N_ACTIVATIONS:
        break;
    }
}
