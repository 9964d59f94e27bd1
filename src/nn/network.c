/* Scratch of a training batch: for each layer the sums in[n_rows][n_out] before the activation and
 * the values out[n_rows][n_out] behind it, in the order of the layers; then two gradients of the
 * widest layer, which take turns on the way back; then what dense_forward() and dense_backward()
 * need. Where nobody asks for the sums afterwards, the values take their place.
 *
 * Scratch of inference: the output of all rows, then two buffers of INFER_ROWS rows of the widest
 * layer. Rows pass through all layers in groups of that many, so that what goes from layer to
 * layer stays in the first-level cache. */
#include "nn/network.h"

#include "base/random.h"
#include "nn/dense.h"
#include "nn/packed.h"
#include "nn/vector.h"
#include "nn/vector_math.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INFER_ROWS 32

static bool is_mirrored(const struct network_shape *shape)
{
    if (shape->n_layers != 2 * shape->n_encoder_layers)
        return false;
    for (size_t i = 0; i < shape->n_encoder_layers; i++)
        if (shape->widths[i] != shape->widths[shape->n_layers - i])
            return false;
    return true;
}

static bool is_possible(const struct network_shape *shape)
{
    if (shape->n_layers < 2 || shape->n_layers > NETWORK_MAX_LAYERS ||
        shape->n_encoder_layers == 0 || shape->n_encoder_layers >= shape->n_layers ||
        shape->widths[0] != shape->widths[shape->n_layers])
        return false;
    for (size_t i = 0; i <= shape->n_layers; i++)
        if (shape->widths[i] == 0 || shape->widths[i] > NETWORK_MAX_WIDTH)
            return false;
    return !shape->is_tied || is_mirrored(shape);
}

/* Sizes of the layers and where their params are: first all weights, then all biases. */
static void lay_out(struct network *network, const struct network_shape *shape)
{
    for (size_t l = 0; l < shape->n_layers; l++) {
        struct layer *layer = &network->layers[l];

        layer->n_in = shape->widths[l];
        layer->n_out = shape->widths[l + 1];
        layer->activation = shape->activations[l];
        layer->is_tied = shape->is_tied && l >= shape->n_encoder_layers;
        layer->weight =
            layer->is_tied ? network->layers[shape->n_layers - 1 - l].weight : network->n_weights;
        if (!layer->is_tied)
            network->n_weights += layer->n_in * layer->n_out;
    }
    network->n_params = network->n_weights;
    for (size_t l = 0; l < shape->n_layers; l++) {
        network->layers[l].bias = network->n_params;
        network->n_params += network->layers[l].n_out;
    }
}

int network_new(const struct network_shape *shape, struct network **ret_network)
{
    if (!is_possible(shape))
        return -EINVAL;

    CLEANUP(network_freep) struct network *network = calloc(1, sizeof(*network));
    if (!network)
        return -ENOMEM;
    network->layers = calloc(shape->n_layers, sizeof(*network->layers));
    if (!network->layers)
        return -ENOMEM;
    network->n_layers = shape->n_layers;
    network->n_encoder_layers = shape->n_encoder_layers;
    lay_out(network, shape);
    network->params = calloc(network->n_params, sizeof(*network->params));
    if (!network->params)
        return -ENOMEM;
    if (shape->bounded) {
        network->bounded = calloc(shape->widths[0], sizeof(*network->bounded));
        if (!network->bounded)
            return -ENOMEM;
        memcpy(network->bounded, shape->bounded, shape->widths[0] * sizeof(*network->bounded));
    }
    *ret_network = TAKE(network);
    return 0;
}

void network_free(struct network *network)
{
    if (!network)
        return;
    for (size_t l = 0; l < network->n_layers; l++)
        packed_free(network->layers[l].packed);
    free(network->layers);
    free(network->params);
    free(network->bounded);
    free(network);
}

size_t network_n_features(const struct network *network)
{
    return network->layers[0].n_in;
}

size_t network_n_codes(const struct network *network)
{
    return network->layers[network->n_encoder_layers].n_in;
}

static void init_glorot(float *weight, const struct layer *layer, struct random *random)
{
    const double limit = sqrt(6.0 / (double)(layer->n_in + layer->n_out));

    for (size_t i = 0; i < layer->n_in * layer->n_out; i++)
        weight[i] = (float)(limit * (2.0 * random_uniform(random) - 1.0));
}

static void init_normal(float *weight, const struct layer *layer, double gain,
                        struct random *random)
{
    const double deviation = gain / sqrt((double)layer->n_in);

    for (size_t i = 0; i < layer->n_in * layer->n_out; i++)
        weight[i] = (float)(deviation * random_normal(random));
}

void network_init(struct network *network, enum network_init init, struct random *random)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        const double gain = l + 1 == network->n_layers       ? 0.5
                            : l == network->n_encoder_layers ? 1.0
                                                             : sqrt(2.0);

        if (layer->is_tied)
            continue;
        if (init == NETWORK_INIT_GLOROT)
            init_glorot(network->params + layer->weight, layer, random);
        else
            init_normal(network->params + layer->weight, layer, gain, random);
    }
    memset(network->params + network->n_weights, 0,
           (network->n_params - network->n_weights) * sizeof(*network->params));
}

static size_t widest(const struct network *network)
{
    size_t width = network->layers[0].n_in;

    for (size_t l = 0; l < network->n_layers; l++)
        if (network->layers[l].n_out > width)
            width = network->layers[l].n_out;
    return width;
}

/* Whether layer l's sums are wanted behind its activation: by the loss, and by the one gradient
 * that the values do not tell. */
static bool keeps_sums(const struct network *network, size_t l)
{
    const enum activation activation = network->layers[l].activation;

    if (l + 1 == network->n_layers)
        return activation != ACTIVATION_LINEAR || network->bounded;
    return activation == ACTIVATION_SILU;
}

/* Where layer l's sums begin in the scratch; its values follow them. l may be n_layers. */
static size_t sums_offset(const struct network *network, size_t l, size_t n_rows)
{
    size_t offset = 0;

    for (size_t i = 0; i < l; i++)
        offset += (keeps_sums(network, i) ? 2 : 1) * n_rows * network->layers[i].n_out;
    return offset;
}

static size_t values_offset(const struct network *network, size_t l, size_t n_rows)
{
    return sums_offset(network, l, n_rows) +
           (keeps_sums(network, l) ? n_rows * network->layers[l].n_out : 0);
}

/* Where the scratch of the dense layers begins. */
static size_t dense_offset(const struct network *network, size_t n_rows)
{
    return sums_offset(network, network->n_layers, n_rows) + 2 * n_rows * widest(network);
}

size_t network_training_floats(const struct network *network, size_t n_rows)
{
    size_t n_most = 0;

    for (size_t l = 0; l < network->n_layers; l++) {
        const size_t n = dense_scratch_floats(network->layers[l].n_in, network->layers[l].n_out);
        if (n > n_most)
            n_most = n;
    }
    return dense_offset(network, n_rows) + n_most;
}

static struct dense_shape shape_of(const struct layer *layer, size_t n_rows)
{
    return (struct dense_shape){n_rows, layer->n_in, layer->n_out, layer->is_tied};
}

/* out[n] = sigmoid of the bounded sums[n]; the others stay. */
VECTOR_CLONES static void bound(float *out, const float *sums, const bool *bounded, size_t n)
{
    const unsigned char *flags = (const unsigned char *)bounded; /* what the compiler vectorises */

    for (size_t i = 0; i < n; i++) {
        const float inside = vector_sigmoid(sums[i]);

        out[i] = flags[i] ? inside : out[i];
    }
}

/* Turns the last layer's sums into the output; rows of both are stride floats apart. */
static void finish(const struct network *network, float *out, const float *sums, size_t stride,
                   size_t n_rows)
{
    const struct layer *last = &network->layers[network->n_layers - 1];

    activation_forward(last->activation, out, sums, n_rows * stride);
    for (size_t r = 0; network->bounded && r < n_rows; r++)
        bound(out + r * stride, sums + r * stride, network->bounded, last->n_out);
}

void network_forward(const struct network *network, float *scratch, const float *rows,
                     size_t n_rows)
{
    const float *in = rows;

    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        float *sums = scratch + sums_offset(network, l, n_rows);
        float *out = scratch + values_offset(network, l, n_rows);

        dense_forward(sums, in, network->params + layer->weight, network->params + layer->bias,
                      shape_of(layer, n_rows), scratch + dense_offset(network, n_rows));
        if (l + 1 < network->n_layers)
            activation_forward(layer->activation, out, sums, n_rows * layer->n_out);
        else
            finish(network, out, sums, layer->n_out, n_rows);
        in = out;
    }
}

const float *network_output(const struct network *network, const float *scratch, size_t n_rows)
{
    return scratch + values_offset(network, network->n_layers - 1, n_rows);
}

const float *network_output_sums(const struct network *network, const float *scratch, size_t n_rows)
{
    return scratch + sums_offset(network, network->n_layers - 1, n_rows);
}

const float *network_codes(const struct network *network, const float *scratch, size_t n_rows)
{
    return scratch + values_offset(network, network->n_encoder_layers - 1, n_rows);
}

void network_backward(const struct network *network, float *scratch, const float *rows,
                      size_t n_rows, float *d_sums, const float *d_codes, float *d_params)
{
    float *gradients = scratch + sums_offset(network, network->n_layers, n_rows);
    float *const turns[2] = {gradients, gradients + n_rows * widest(network)};
    float *d = d_sums;

    for (size_t l = network->n_layers; l-- > 0;) {
        const struct layer *layer = &network->layers[l];
        const float *in = l ? scratch + values_offset(network, l - 1, n_rows) : rows;
        const size_t n = n_rows * layer->n_in;
        float *d_in = l ? turns[l % 2] : NULL;

        dense_backward(d_in, d_params + layer->weight, d_params + layer->bias, d, in,
                       network->params + layer->weight, shape_of(layer, n_rows),
                       scratch + dense_offset(network, n_rows));
        if (l == 0)
            break;
        if (d_codes && l == network->n_encoder_layers)
            for (size_t i = 0; i < n; i++)
                d_in[i] += d_codes[i];
        activation_backward(layer[-1].activation, d_in,
                            scratch + sums_offset(network, l - 1, n_rows), in, n);
        d = d_in;
    }
}

static int pack_layer(const struct network *network, struct layer *layer)
{
    const float *weight = network->params + layer->weight;
    const float *bias = network->params + layer->bias;
    struct packed *packed = NULL;
    const int r = layer->is_tied
                      ? packed_new_transposed(weight, bias, layer->n_in, layer->n_out, &packed)
                      : packed_new(weight, bias, layer->n_in, layer->n_out, &packed);

    if (r < 0)
        return r;
    packed_free(layer->packed);
    layer->packed = packed;
    return 0;
}

int network_pack(struct network *network)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const int r = pack_layer(network, &network->layers[l]);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Of the rows that packed_multiply() writes. */
static size_t padded(size_t n)
{
    return (n + PACKED_WIDTH - 1) / PACKED_WIDTH * PACKED_WIDTH;
}

static size_t rows_in_group(size_t n_rows)
{
    return n_rows < INFER_ROWS ? n_rows : INFER_ROWS;
}

size_t network_output_stride(const struct network *network)
{
    return padded(network_n_features(network));
}

size_t network_inference_floats(const struct network *network, size_t n_rows)
{
    return n_rows * network_output_stride(network) +
           2 * rows_in_group(n_rows) * padded(widest(network));
}

/* At most INFER_ROWS rows through all layers. */
static void infer_group(const struct network *network, float *out, float *const turns[2],
                        const float *rows, size_t n_rows)
{
    const float *in = rows;
    size_t in_stride = network_n_features(network);

    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        const size_t stride = packed_stride(layer->packed);
        float *values = turns[l % 2];

        packed_multiply(layer->packed, values, in, in_stride, n_rows);
        if (l + 1 < network->n_layers)
            activation_forward(layer->activation, values, values, n_rows * stride);
        else
            finish(network, out, values, stride, n_rows);
        in = values;
        in_stride = stride;
    }
}

const float *network_infer(const struct network *network, float *scratch, const float *rows,
                           size_t n_rows)
{
    const size_t width = network_n_features(network), stride = network_output_stride(network);
    float *first = scratch + n_rows * stride;
    float *const turns[2] = {first, first + rows_in_group(n_rows) * padded(widest(network))};

    assert(network->layers[0].packed);
    for (size_t r = 0; r < n_rows; r += INFER_ROWS)
        infer_group(network, scratch + r * stride, turns, rows + r * width,
                    rows_in_group(n_rows - r));
    return scratch;
}
