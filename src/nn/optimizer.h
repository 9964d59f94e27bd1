/* optimizer - turns gradients into better weights, with the formulas of PyTorch's torch.optim.
 *
 *   sgd       p -= rate · g
 *   momentum  v = 0.9 v + g;  p -= rate · v                  (the first v is g)
 *   nesterov  v = 0.9 v + g;  p -= rate · (g + 0.9 v)
 *   adam      Kingma & Ba 2015, algorithm 1: decay 0.9 and 0.999, epsilon 1e-8
 *   adamw     Loshchilov & Hutter 2019: p -= rate · weight_decay · p, then as adam
 *
 * Decay acts on weights, not on biases: on the first n_decayed params. It is part of the gradient,
 * g += weight_decay · p + l1 · sign(p); only the weight_decay of adamw is not. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum optimizer_kind {
    OPTIMIZER_SGD,
    OPTIMIZER_MOMENTUM,
    OPTIMIZER_NESTEROV,
    OPTIMIZER_ADAM,
    OPTIMIZER_ADAMW,
    N_OPTIMIZERS
};

const char *optimizer_name(enum optimizer_kind kind);                                /* "adam" */
MUST_CHECK int optimizer_from_name(const char *name, enum optimizer_kind *ret_kind); /* -EINVAL */

struct optimizer_options {
    enum optimizer_kind kind;
    double weight_decay; /* L2 */
    double l1;
};

struct optimizer {
    struct optimizer_options options;
    size_t n_params, n_decayed;
    uint64_t step;      /* steps done */
    float *mean;        /* [n_params] moving average of the gradient, or velocity */
    float *mean_square; /* [n_params] of its square; adam and adamw only, else NULL */
};

MUST_CHECK int optimizer_init(struct optimizer *optimizer, const struct optimizer_options *options,
                              size_t n_params, size_t n_decayed); /* 0 or -ENOMEM */
void optimizer_clear(struct optimizer *optimizer);

/* One step: params[n_params] against d_params[n_params]. */
void optimizer_step(struct optimizer *optimizer, float *params, const float *d_params,
                    double learning_rate);

/* Returns the Euclidean norm of d_params[n]; if max_norm > 0 and the norm is larger, scales the
 * gradient to it (Pascanu et al. 2013; PyTorch's clip_grad_norm_). */
double optimizer_clip(float *d_params, size_t n, double max_norm);
