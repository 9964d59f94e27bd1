/* optimizer - turns gradients into better weights: Adam (Kingma & Ba 2015, algorithm 1). */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct optimizer {
    size_t n_params;
    uint64_t step;      /* steps done */
    float *mean;        /* [n_params] moving average of the gradient, decay 0.9 */
    float *mean_square; /* [n_params] of its square, decay 0.999 */
};

MUST_CHECK int optimizer_init(struct optimizer *optimizer, size_t n_params); /* 0 or -ENOMEM */
void optimizer_clear(struct optimizer *optimizer);

/* One step: params[n_params] against d_params[n_params]. */
void optimizer_step(struct optimizer *optimizer, float *params, const float *d_params,
                    double learning_rate);
