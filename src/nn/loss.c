#include "nn/loss.h"

double loss_mse_forward(const float *out, const float *target, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double difference = (double)out[i] - (double)target[i];
        sum += difference * difference;
    }
    return sum / (double)n;
}

void loss_mse_backward(float *d_out, const float *out, const float *target, size_t n)
{
    const float scale = 2.0F / (float)n;

    for (size_t i = 0; i < n; i++)
        d_out[i] = scale * (out[i] - target[i]);
}
