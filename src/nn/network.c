/* Scratch of a training batch: for each layer the sums in[n_rows][n_out] before the activation and
 * the values out[n_rows][n_out] behind it, in the order of the layers; then two gradients of the
 * widest layer, which take turns on the way back. */
#include "nn/network.h"

#include "base/random.h"
#include "nn/dense.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int check_sizes(const size_t *widths, size_t n_layers, size_t n_encoder_layers)
{
    if (n_layers < 2 || n_layers > NETWORK_MAX_LAYERS || n_encoder_layers == 0 ||
        n_encoder_layers >= n_layers || widths[0] != widths[n_layers])
        return -EINVAL;
    for (size_t i = 0; i <= n_layers; i++)
        if (widths[i] == 0 || widths[i] > NETWORK_MAX_WIDTH)
            return -EINVAL;
    return 0;
}

int network_new(const size_t *widths, const enum activation *activations, size_t n_layers,
                size_t n_encoder_layers, struct network **ret_network)
{
    int r = check_sizes(widths, n_layers, n_encoder_layers);
    if (r < 0)
        return r;

    CLEANUP(network_freep) struct network *network = calloc(1, sizeof(*network));
    if (!network)
        return -ENOMEM;
    network->layers = calloc(n_layers, sizeof(*network->layers));
    if (!network->layers)
        return -ENOMEM;
    network->n_layers = n_layers;
    network->n_encoder_layers = n_encoder_layers;
    for (size_t l = 0; l < n_layers; l++) {
        const size_t n_in = widths[l], n_out = widths[l + 1];
        network->layers[l] = (struct layer){
            .n_in = n_in,
            .n_out = n_out,
            .activation = activations[l],
            .weight = network->n_params,
            .bias = network->n_params + n_in * n_out,
        };
        network->n_params += n_in * n_out + n_out;
    }
    network->params = calloc(network->n_params, sizeof(*network->params));
    network->transposed = calloc(network->n_params, sizeof(*network->transposed));
    if (!network->params || !network->transposed)
        return -ENOMEM;
    *ret_network = TAKE(network);
    return 0;
}

void network_free(struct network *network)
{
    if (!network)
        return;
    free(network->layers);
    free(network->params);
    free(network->transposed);
    free(network);
}

void network_init(struct network *network, struct random *random)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        const double limit = sqrt(6.0 / (double)(layer->n_in + layer->n_out));

        for (size_t i = layer->weight; i < layer->bias; i++)
            network->params[i] = (float)(limit * (2.0 * random_uniform(random) - 1.0));
        memset(network->params + layer->bias, 0, layer->n_out * sizeof(float));
    }
}

static size_t widest(const struct network *network)
{
    size_t width = network->layers[0].n_in;

    for (size_t l = 0; l < network->n_layers; l++)
        if (network->layers[l].n_out > width)
            width = network->layers[l].n_out;
    return width;
}

/* Where layer l's sums begin in the scratch; its values follow them. l may be n_layers. */
static size_t sums_offset(const struct network *network, size_t l, size_t n_rows)
{
    size_t offset = 0;

    for (size_t i = 0; i < l; i++)
        offset += 2 * n_rows * network->layers[i].n_out;
    return offset;
}

size_t network_training_floats(const struct network *network, size_t n_rows)
{
    return sums_offset(network, network->n_layers, n_rows) + 2 * n_rows * widest(network);
}

void network_forward(const struct network *network, float *scratch, const float *rows,
                     size_t n_rows)
{
    const float *in = rows;

    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        float *sums = scratch + sums_offset(network, l, n_rows);
        float *out = sums + n_rows * layer->n_out;

        dense_forward(sums, in, network->params + layer->weight, network->params + layer->bias,
                      (struct dense_shape){n_rows, layer->n_in, layer->n_out});
        activation_forward(layer->activation, out, sums, n_rows * layer->n_out);
        in = out;
    }
}

const float *network_output(const struct network *network, const float *scratch, size_t n_rows)
{
    const size_t last = network->n_layers - 1;

    return scratch + sums_offset(network, last, n_rows) + n_rows * network->layers[last].n_out;
}

void network_backward(const struct network *network, float *scratch, const float *rows,
                      size_t n_rows, float *d_out, float *d_params)
{
    float *gradients = scratch + sums_offset(network, network->n_layers, n_rows);
    float *d_in[2] = {gradients, gradients + n_rows * widest(network)};

    for (size_t l = network->n_layers; l-- > 0;) {
        const struct layer *layer = &network->layers[l];
        const float *sums = scratch + sums_offset(network, l, n_rows);
        const float *out = sums + n_rows * layer->n_out;
        const float *in = l ? sums - n_rows * layer->n_in : rows; /* the values before these sums */

        activation_backward(layer->activation, d_out, sums, out, n_rows * layer->n_out);
        dense_backward(l ? d_in[l % 2] : NULL, d_params + layer->weight, d_params + layer->bias,
                       d_out, in, network->params + layer->weight,
                       (struct dense_shape){n_rows, layer->n_in, layer->n_out});
        d_out = d_in[l % 2];
    }
}

void network_pack(struct network *network)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        const float *weight = network->params + layer->weight;
        float *transposed = network->transposed + layer->weight;

        for (size_t o = 0; o < layer->n_out; o++)
            for (size_t i = 0; i < layer->n_in; i++)
                transposed[i * layer->n_out + o] = weight[o * layer->n_in + i];
    }
}

size_t network_inference_floats(const struct network *network)
{
    return 2 * widest(network);
}

void network_infer(const struct network *network, float *scratch, const float *row, float *out)
{
    float *const turns[2] = {scratch, scratch + widest(network)};
    const float *in = row;

    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        float *values = l + 1 == network->n_layers ? out : turns[l % 2];

        dense_infer(values, in, network->transposed + layer->weight, network->params + layer->bias,
                    layer->n_in, layer->n_out);
        activation_forward(layer->activation, values, values, layer->n_out);
        in = values;
    }
}
