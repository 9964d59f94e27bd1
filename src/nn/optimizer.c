#include "nn/optimizer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define MEAN_DECAY   0.9
#define SQUARE_DECAY 0.999
#define EPSILON      1e-8

int optimizer_init(struct optimizer *optimizer, size_t n_params)
{
    *optimizer = (struct optimizer){
        .n_params = n_params,
        .mean = calloc(n_params, sizeof(float)),
        .mean_square = calloc(n_params, sizeof(float)),
    };
    if (optimizer->mean && optimizer->mean_square)
        return 0;
    optimizer_clear(optimizer);
    return -ENOMEM;
}

void optimizer_clear(struct optimizer *optimizer)
{
    free(optimizer->mean);
    free(optimizer->mean_square);
    *optimizer = (struct optimizer){0};
}

void optimizer_step(struct optimizer *optimizer, float *params, const float *d_params,
                    double learning_rate)
{
    optimizer->step++;

    /* The averages start at 0; these two take that bias away. */
    const double steps = (double)optimizer->step;
    const float mean_scale = (float)(learning_rate / (1.0 - pow(MEAN_DECAY, steps)));
    const float square_scale = (float)(1.0 / (1.0 - pow(SQUARE_DECAY, steps)));
    const float b1 = (float)MEAN_DECAY, b2 = (float)SQUARE_DECAY, epsilon = (float)EPSILON;

    for (size_t i = 0; i < optimizer->n_params; i++) {
        const float d = d_params[i];
        const float mean = b1 * optimizer->mean[i] + (1.0F - b1) * d;
        const float square = b2 * optimizer->mean_square[i] + (1.0F - b2) * d * d;

        optimizer->mean[i] = mean;
        optimizer->mean_square[i] = square;
        params[i] -= mean_scale * mean / (sqrtf(square_scale * square) + epsilon);
    }
}
