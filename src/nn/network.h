/* network - an autoencoder: dense layers with activations, encoder first, then decoder.
 *
 * All weights and biases are one block of floats, so that an optimizer sees one vector. Layer l
 * holds weight[n_out][n_in] and bias[n_out] there, as PyTorch's nn.Linear does. Reading is safe
 * from many threads; training belongs to one. */
#pragma once

#include "base/cleanup.h"
#include "nn/activation.h"

#include <stddef.h>

struct random;

struct layer {
    size_t n_in, n_out;
    enum activation activation;
    size_t weight, bias; /* offsets into params */
};

struct network {
    size_t n_layers, n_encoder_layers;
    struct layer *layers; /* [n_layers] */
    size_t n_params;
    float *params;     /* [n_params] */
    float *transposed; /* weights as [n_in][n_out], for network_infer(); see network_pack() */
};

#define NETWORK_MAX_LAYERS 64
#define NETWORK_MAX_WIDTH  65536

/* widths[n_layers + 1] from input to output (the same width), activations[n_layers];
 * the code is the output of layer n_encoder_layers - 1. Weights are 0. -EINVAL: impossible sizes;
 * -ENOMEM. */
MUST_CHECK int network_new(const size_t *widths, const enum activation *activations,
                           size_t n_layers, size_t n_encoder_layers, struct network **ret_network);
void network_free(struct network *network);
DEFINE_CLEANUP(struct network *, network_free)

/* Weights uniform in ±sqrt(6 / (n_in + n_out)) (Glorot & Bengio 2010), biases 0. */
void network_init(struct network *network, struct random *random);

/* Floats of scratch memory: for network_forward() and network_backward() of n_rows, and for
 * network_infer(). */
size_t network_training_floats(const struct network *network, size_t n_rows);
size_t network_inference_floats(const struct network *network);

/* Reconstructs rows[n_rows][n_in] into out[n_rows][n_in] with OpenBLAS; scratch holds
 * network_training_floats(n_rows). Fast for batches; not bit-equal between batch sizes. */
void network_forward(const struct network *network, float *scratch, const float *rows,
                     size_t n_rows);

/* The output of the last network_forward() in scratch. */
const float *network_output(const struct network *network, const float *scratch, size_t n_rows);

/* Back-propagates d_out[n_rows][n_in] (overwritten) after network_forward() of the same rows with
 * the same scratch; adds to d_params[n_params]. */
void network_backward(const struct network *network, float *scratch, const float *rows,
                      size_t n_rows, float *d_out, float *d_params);

/* Call once when the weights are final: makes network_infer() see them. */
void network_pack(struct network *network);

/* Reconstructs one row[n_in] into out[n_in]; the same result whoever calls and whatever stands
 * beside it. scratch holds network_inference_floats(). */
void network_infer(const struct network *network, float *scratch, const float *row, float *out);
