/* network - an autoencoder: dense layers with activations, encoder first, then decoder.
 *
 * All weights and biases are one block of floats, so that an optimizer sees one vector: first the
 * weights of all layers, then the biases of all layers. Layer l holds weight[n_out][n_in] and
 * bias[n_out] there, as PyTorch's nn.Linear does. In a tied network the decoder's layers use the
 * weights of the encoder's, mirrored and transposed, and have only their own biases. Reading is
 * safe from many threads; training belongs to one. */
#pragma once

#include "base/cleanup.h"
#include "nn/activation.h"

#include <stdbool.h>
#include <stddef.h>

struct packed;
struct random;

struct layer {
    size_t n_in, n_out;
    enum activation activation;
    bool is_tied;          /* weight is another layer's, as [n_in][n_out] */
    size_t weight, bias;   /* offsets into params */
    struct packed *packed; /* for network_infer(); see network_pack() */
};

struct network {
    size_t n_layers, n_encoder_layers;
    struct layer *layers;       /* [n_layers] */
    size_t n_weights, n_params; /* n_weights of the params are weights, the rest biases */
    float *params;              /* [n_params] */
    bool *bounded; /* [n_in] outputs that go through a sigmoid whatever the last activation says;
                    * NULL: none */
};

#define NETWORK_MAX_LAYERS 64
#define NETWORK_MAX_WIDTH  65536

struct network_shape {
    size_t n_layers, n_encoder_layers;
    const size_t *widths;               /* [n_layers + 1] from input to output, the same width */
    const enum activation *activations; /* [n_layers] */
    bool is_tied;        /* only if the decoder's widths mirror the encoder's: else -EINVAL */
    const bool *bounded; /* [widths[0]], copied; NULL: none */
};

/* The code is the output of layer n_encoder_layers - 1. Weights are 0. -EINVAL: impossible sizes;
 * -ENOMEM. */
MUST_CHECK int network_new(const struct network_shape *shape, struct network **ret_network);
void network_free(struct network *network);
DEFINE_CLEANUP(struct network *, network_free)

size_t network_n_features(const struct network *network);
size_t network_n_codes(const struct network *network);

/* Random weights, biases 0. GLOROT: uniform in ±sqrt(6 / (n_in + n_out)) (Glorot & Bengio 2010),
 * for tanh and sigmoid. HE: normal, variance 2 / n_in (He et al. 2015), 1 / n_in for the layer
 * behind the code, and a last layer of deviation 0.5 / sqrt(n_in): for relu, silu and elu. */
enum network_init {
    NETWORK_INIT_GLOROT,
    NETWORK_INIT_HE
};
void network_init(struct network *network, enum network_init init, struct random *random);

/* Floats of scratch memory for network_forward() and network_backward() of n_rows. */
size_t network_training_floats(const struct network *network, size_t n_rows);

/* Reconstructs rows[n_rows][n_in] for training; scratch holds network_training_floats(n_rows). */
void network_forward(const struct network *network, float *scratch, const float *rows,
                     size_t n_rows);

/* Of the last network_forward() in scratch: the output, the sums that went into its activation, and
 * the codes. */
const float *network_output(const struct network *network, const float *scratch, size_t n_rows);
const float *network_output_sums(const struct network *network, const float *scratch,
                                 size_t n_rows);
const float *network_codes(const struct network *network, const float *scratch, size_t n_rows);

/* Back-propagates d_sums[n_rows][n_in] (the gradient by network_output_sums(); overwritten) after
 * network_forward() of the same rows with the same scratch. d_codes[n_rows][n_codes] is added to
 * the gradient by the codes on the way (NULL: nothing). Adds to d_params[n_params]. */
void network_backward(const struct network *network, float *scratch, const float *rows,
                      size_t n_rows, float *d_sums, const float *d_codes, float *d_params);

/* Call when the weights are final: makes network_infer() see them. 0 or -ENOMEM. */
MUST_CHECK int network_pack(struct network *network);

/* Reconstructs rows[n_rows][n_in], the same bits for a row alone or in a batch. scratch holds
 * network_inference_floats(n_rows). Returns the output in scratch, with
 * network_output_stride() floats from row to row. */
size_t network_inference_floats(const struct network *network, size_t n_rows);
size_t network_output_stride(const struct network *network);
const float *network_infer(const struct network *network, float *scratch, const float *rows,
                           size_t n_rows);
