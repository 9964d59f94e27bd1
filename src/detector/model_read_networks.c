#include "detector/model_reader.h"

#include "base/error.h"
#include "detector/encoding.h"
#include "detector/ensemble.h"
#include "detector/model_parts.h"
#include "detector/residual.h"
#include "nn/network.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct layers {
    size_t n, n_encoder;
    size_t widths[NETWORK_MAX_LAYERS + 1];
    enum activation activations[NETWORK_MAX_LAYERS];
};

static int read_layers(const struct model_reader *reader, const json_t *network, size_t n_values,
                       struct layers *ret_layers)
{
    const json_t *widths = json_object_get(network, "widths");
    const json_t *names = json_object_get(network, "activations");
    const json_int_t n_encoder =
        model_count(json_object_get(network, "encoder_layers"), 1, NETWORK_MAX_LAYERS);
    const size_t n = json_array_size(names);

    if (n == 0 || n > NETWORK_MAX_LAYERS || json_array_size(widths) != n + 1 || n_encoder < 0)
        return model_damaged(reader, "architecture: a network has not 1 to 64 layers");
    for (size_t i = 0; i <= n; i++) {
        const json_int_t width = model_count(json_array_get(widths, i), 1, NETWORK_MAX_WIDTH);
        if (width < 0)
            return model_damaged(reader, "architecture: a layer is not 1 to 65536 wide");
        ret_layers->widths[i] = (size_t)width;
    }
    for (size_t l = 0; l < n; l++) {
        const char *name = json_string_value(json_array_get(names, l));
        if (!name || activation_from_name(name, &ret_layers->activations[l]) < 0)
            return model_damaged(reader, "architecture: an unknown activation");
    }
    if (ret_layers->widths[0] != n_values)
        return model_damaged(reader,
                             "architecture: the input is not as wide as the encoded features");
    ret_layers->n = n;
    ret_layers->n_encoder = (size_t)n_encoder;
    return 0;
}

/* Wide layers times wide layers could ask for more memory than there is: look at the file first. */
static bool fits_file(const struct model_reader *reader, const struct layers *layers)
{
    size_t n_floats = 0;

    for (size_t l = 0; l < layers->n; l++) /* at most 64 · 65,536²: no overflow */
        n_floats += (layers->widths[l] + 1) * layers->widths[l + 1];
    return n_floats <= reader->tensors_size / sizeof(float);
}

static int read_bounded(const struct model_reader *reader, const json_t *network, size_t n_values,
                        bool **ret_bounded)
{
    const json_t *list = json_object_get(network, "bounded");
    const size_t n = json_array_size(list);
    if (!json_is_array(list) && reader->version > 1)
        return model_damaged(reader, "architecture: bounded is not a list of features");
    if (n == 0)
        return 0;
    AUTO_FREE bool *bounded = calloc(n_values, sizeof(*bounded));
    if (!bounded)
        return -ENOMEM;

    for (size_t i = 0; i < n; i++) {
        const json_int_t j = model_count(json_array_get(list, i), 0, (json_int_t)n_values - 1);
        if (j < 0)
            return model_damaged(reader,
                                 "architecture: bounded lists something that is no feature");
        bounded[j] = true;
    }
    *ret_bounded = TAKE(bounded);
    return 0;
}

/* Copies a tensor to where the network wants it, if all its numbers are finite. */
static int read_weights(const struct model_reader *reader, const char *name, size_t n_rows,
                        size_t n_columns, float *weights)
{
    const size_t n = n_rows * (n_columns ? n_columns : 1);
    const float *values = NULL;

    int r = model_read_tensor(reader, name, n_rows, n_columns, &values);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                                "%s: a weight is not a finite number", name);
    memcpy(weights, values, n * sizeof(*weights));
    return 0;
}

static int read_params(const struct model_reader *reader, size_t which, struct network *network)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        char name[MODEL_NAME_SIZE];

        model_layer_name(name, which, network, l, "weight");
        int r =
            read_weights(reader, name, layer->n_out, layer->n_in, network->params + layer->weight);
        if (r < 0)
            return r;
        model_layer_name(name, which, network, l, "bias");
        r = read_weights(reader, name, layer->n_out, 0, network->params + layer->bias);
        if (r < 0)
            return r;
    }
    return network_pack(network);
}

static int read_network(const struct model_reader *reader, size_t which, const json_t *document,
                        size_t n_values, struct network **ret_network)
{
    CLEANUP(network_freep) struct network *network = NULL;
    AUTO_FREE bool *bounded = NULL;
    struct layers layers = {0};

    int r = read_layers(reader, document, n_values, &layers);
    if (r == 0 && !fits_file(reader, &layers))
        return model_damaged(reader, "architecture: the tensors do not fit the layers");
    if (r == 0)
        r = read_bounded(reader, document, n_values, &bounded);
    if (r < 0)
        return r;
    const struct network_shape shape = {
        .n_layers = layers.n,
        .n_encoder_layers = layers.n_encoder,
        .widths = layers.widths,
        .activations = layers.activations,
        .bounded = bounded,
    };
    r = network_new(&shape, &network);
    if (r == -EINVAL)
        return model_damaged(reader, "architecture: impossible layers");
    if (r == 0)
        r = read_params(reader, which, network);
    if (r < 0)
        return r;
    *ret_network = TAKE(network);
    return 0;
}

static int read_residual(const struct model_reader *reader, size_t which, const json_t *document,
                         size_t n_values, struct residual **ret_residual)
{
    const json_int_t k =
        model_count(json_object_get(document, "directions"), 1, (json_int_t)n_values);
    struct residual_parts parts = {
        .n_values = n_values,
        .n_directions = (size_t)k,
        .rest_variance = json_number_value(json_object_get(document, "rest_variance")),
        .scale = json_number_value(json_object_get(document, "scale")),
    };
    char name[MODEL_NAME_SIZE];

    if (k < 0)
        return model_damaged(reader, "residual: directions are needed, at most one a value");
    model_residual_name(name, which, "mean");
    int r = model_read_tensor(reader, name, n_values, 0, &parts.mean);
    model_residual_name(name, which, "whitening");
    if (r == 0)
        r = model_read_tensor(reader, name, parts.n_directions, n_values, &parts.whitening);
    model_residual_name(name, which, "variances");
    if (r == 0)
        r = model_read_tensor(reader, name, parts.n_directions, 0, &parts.variances);
    if (r < 0)
        return r;
    r = residual_new(&parts, ret_residual);
    return r == -EINVAL
               ? model_damaged(reader, "residual: a number is not finite, or a variance or "
                                       "scale not above 0")
               : r;
}

int model_read_networks(const struct model_reader *reader, struct ensemble *ensemble)
{
    const json_t *networks = model_find(reader, "architecture", "networks");
    const char *kind = json_string_value(model_find(reader, "residual", "kind"));
    const json_t *residuals = model_find(reader, "residual", "networks");
    const bool is_whitened = kind && strcmp(kind, "whitened") == 0;
    const size_t n = json_array_size(networks), n_values = ensemble->encoding->n_values;

    if (!is_whitened && (!kind || strcmp(kind, "mean_squared") != 0))
        return model_damaged(reader, "an unknown residual.kind");
    if (n == 0 || n > (is_whitened ? ENSEMBLE_MAX_NETWORKS : 1))
        return model_damaged(reader,
                             "architecture.networks: 1 to 8 networks, one if residual.kind is "
                             "mean_squared");
    if (is_whitened && json_array_size(residuals) != n)
        return model_damaged(reader, "residual.networks: one for each of architecture.networks");
    for (size_t i = 0; i < n; i++) {
        int r =
            read_network(reader, i, json_array_get(networks, i), n_values, &ensemble->networks[i]);
        if (r == 0 && is_whitened)
            r = read_residual(reader, i, json_array_get(residuals, i), n_values,
                              &ensemble->residuals[i]);
        if (r < 0)
            return r;
    }
    ensemble->n_networks = n;
    return 0;
}
