#include "detector/architecture.h"

#include "base/text.h"
#include "detector/detector.h"
#include "nn/network.h"

#include <assert.h>

_Static_assert(ARCHITECTURE_MAX_WIDTH == NETWORK_MAX_WIDTH, "people are told what holds");

size_t architecture_n_layers(const struct detector *detector)
{
    return detector_network(detector)->n_layers;
}

size_t architecture_n_parameters(const struct detector *detector)
{
    return detector_network(detector)->n_params;
}

struct architecture_layer architecture_layer(const struct detector *detector, size_t layer)
{
    const struct network *network = detector_network(detector);

    assert(layer < network->n_layers);
    return (struct architecture_layer){
        .n_in = network->layers[layer].n_in,
        .n_out = network->layers[layer].n_out,
        .activation = activation_name(network->layers[layer].activation),
        .is_encoder = layer < network->n_encoder_layers,
    };
}

void architecture_print(const struct detector *detector, struct text *text)
{
    text_printf(text, "%zu", detector_n_features(detector));
    for (size_t i = 0; i < architecture_n_layers(detector); i++)
        text_printf(text, "-%zu", architecture_layer(detector, i).n_out);
}
