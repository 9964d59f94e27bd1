#include "base/checksum.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/clusters.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/model_file.h"
#include "detector/model_parts.h"
#include "detector/movement.h"
#include "detector/pareto_tail.h"
#include "detector/preparation_json.h"
#include "detector/prototypes.h"
#include "detector/rank_gauss.h"
#include "detector/relevance.h"
#include "detector/residual.h"
#include "detector/safetensors.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS (11 + ENSEMBLE_MAX_NETWORKS * (2 * NETWORK_MAX_LAYERS + 4))

void model_layer_name(char ret_name[MODEL_NAME_SIZE], size_t which, const struct network *network,
                      size_t layer, const char *what)
{
    const bool encoder = layer < network->n_encoder_layers;
    const size_t i = encoder ? layer : layer - network->n_encoder_layers;

    (void)snprintf(ret_name, MODEL_NAME_SIZE, "networks.%zu.%s.%zu.%s", which,
                   encoder ? "encoder" : "decoder", 2 * i, what);
}

void model_residual_name(char ret_name[MODEL_NAME_SIZE], size_t which, const char *what)
{
    (void)snprintf(ret_name, MODEL_NAME_SIZE, "networks.%zu.residual.%s", which, what);
}

void model_option_key(char ret_key[MODEL_NAME_SIZE], const struct recipe_field *field)
{
    size_t i = 0;

    for (; field->name[i] && i + 1 < MODEL_NAME_SIZE; i++)
        ret_key[i] = (char)(field->name[i] == '-' ? '_' : field->name[i]);
    ret_key[i] = '\0';
}

/* ---- the detector document ---- */

/* An array that could not be filled fails as a whole: json_pack() refuses NULL. */
static json_t *whole(json_t *array, size_t n)
{
    if (json_array_size(array) == n)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *floats_to_json(const float *values, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, json_real((double)values[i]));
    return whole(array, n);
}

static json_t *doubles_to_json(const double *values, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, json_real(values[i]));
    return whole(array, n);
}

static json_t *schema_to_json(const struct schema *schema)
{
    const size_t n = schema_n_features(schema);
    json_t *names = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(names, json_string(schema_name(schema, i)));
    return json_pack("{s:o}", "features", whole(names, n));
}

static json_t *network_to_json(const struct network *network)
{
    const size_t n = network->n_layers, n_values = network_n_features(network);
    json_t *widths = json_array(), *activations = json_array(), *bounded = json_array();
    size_t n_bounded = 0;

    (void)json_array_append_new(widths, json_integer((json_int_t)n_values));
    for (size_t l = 0; l < n; l++) {
        (void)json_array_append_new(widths, json_integer((json_int_t)network->layers[l].n_out));
        (void)json_array_append_new(activations,
                                    json_string(activation_name(network->layers[l].activation)));
    }
    for (size_t j = 0; network->bounded && j < n_values; j++)
        if (network->bounded[j]) {
            (void)json_array_append_new(bounded, json_integer((json_int_t)j));
            n_bounded++;
        }
    return json_pack("{s:o, s:o, s:I, s:o}", "widths", whole(widths, n + 1), "activations",
                     whole(activations, n), "encoder_layers", (json_int_t)network->n_encoder_layers,
                     "bounded", whole(bounded, n_bounded));
}

static json_t *architecture_to_json(const struct ensemble *ensemble)
{
    json_t *networks = json_array();

    for (size_t i = 0; i < ensemble->n_networks; i++)
        (void)json_array_append_new(networks, network_to_json(ensemble->networks[i]));
    return json_pack("{s:o}", "networks", whole(networks, ensemble->n_networks));
}

static json_t *scaler_to_json(const struct scaler *scaler)
{
    const size_t n = scaler_n_features(scaler);

    return json_pack("{s:o, s:o, s:o}", "mean", floats_to_json(scaler_mean(scaler), n), "std",
                     floats_to_json(scaler_std(scaler), n), "median",
                     floats_to_json(scaler_median(scaler), n));
}

static json_t *residual_to_json(const struct ensemble *ensemble)
{
    json_t *networks = json_array();

    if (!ensemble->residuals[0]) {
        json_decref(networks);
        return json_pack("{s:s}", "kind", "mean_squared");
    }
    for (size_t i = 0; i < ensemble->n_networks; i++) {
        const struct residual *residual = ensemble->residuals[i];
        (void)json_array_append_new(networks, json_pack("{s:I, s:f, s:f}", "directions",
                                                        (json_int_t)residual->n_directions, "scale",
                                                        residual->scale, "rest_variance",
                                                        residual->rest_variance));
    }
    return json_pack("{s:s, s:o}", "kind", "whitened", "networks",
                     whole(networks, ensemble->n_networks));
}

static json_t *parts_to_json(const struct ensemble *ensemble)
{
    const size_t n_prototypes = ensemble->prototypes ? ensemble->prototypes->n_centroids : 0;
    const size_t n_clusters = ensemble->clusters ? ensemble->clusters->n_clusters : 0;

    if (!ensemble->residuals[0])
        return json_object();
    return json_pack("{s:{s:f}, s:{s:I, s:f}, s:{s:I, s:f}}", "networks", "median",
                     ensemble->median_networks, "prototypes", "count", (json_int_t)n_prototypes,
                     "median", ensemble->median_prototypes, "clusters", "count",
                     (json_int_t)n_clusters, "median", ensemble->median_clusters);
}

static json_t *calibration_to_json(const struct calibration *calibration)
{
    size_t n;
    const double *errors = calibration_errors(calibration, &n);
    const struct pareto_tail *tail = calibration_tail(calibration);
    json_t *document = json_pack("{s:I, s:o}", "rows", (json_int_t)calibration_n_rows(calibration),
                                 "errors", doubles_to_json(errors, n));

    if (tail && json_object_set_new(document, "tail",
                                    json_pack("{s:f, s:f, s:f, s:f}", "level", tail->level, "scale",
                                              tail->scale, "shape", tail->shape, "share",
                                              tail->share)) < 0) {
        json_decref(document);
        return NULL;
    }
    return document;
}

static json_t *widths_to_json(const size_t *widths, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, json_integer((json_int_t)widths[i]));
    return whole(array, n);
}

static json_t *activations_to_json(const int *activations, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array,
                                    json_string(activation_name((enum activation)activations[i])));
    return whole(array, n);
}

static json_t *option_to_json(const struct recipe *recipe, const struct recipe_field *field)
{
    const char *value = (const char *)recipe + field->offset;

    switch (field->kind) {
    case RECIPE_CHOICE:
        return json_string(field->choices[*(const int *)(const void *)value]);
    case RECIPE_COUNT:
    case RECIPE_COUNT_OR_0:
        return json_integer((json_int_t) * (const size_t *)(const void *)value);
    case RECIPE_SEED:
        return json_integer((json_int_t)recipe->seed);
    case RECIPE_POSITIVE:
    case RECIPE_AMOUNT:
    case RECIPE_RATE:
        return json_real(*(const double *)(const void *)value);
    case RECIPE_TRIM:
        return recipe->trim == RECIPE_TRIM_AUTO ? json_string("auto") : json_real(recipe->trim);
    case RECIPE_WIDTHS:
        return widths_to_json(recipe->hidden, recipe->n_hidden);
    case RECIPE_ACTIVATIONS:
        return activations_to_json(recipe->activations, recipe->n_activations);
    case RECIPE_FLAG:
        return json_boolean(*(const bool *)(const void *)value);
    }
    return NULL;
}

/* What was asked for; what was left to the preset is not there. */
static json_t *options_to_json(const struct recipe *recipe)
{
    json_auto_t *options = json_object();

    for (size_t i = 0; i < recipe_n_fields; i++) {
        char key[MODEL_NAME_SIZE];
        if (!recipe_is_set(recipe, &recipe_fields[i]))
            continue;
        model_option_key(key, &recipe_fields[i]);
        if (json_object_set_new(options, key, option_to_json(recipe, &recipe_fields[i])) < 0)
            return NULL;
    }
    return TAKE(options);
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *summary_to_json(const struct training_summary *summary)
{
    json_t *networks = json_array();

    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct network_summary *network = &summary->networks[i];
        (void)json_array_append_new(
            networks,
            json_pack("{s:I, s:I, s:o, s:o, s:b}", "epochs", (json_int_t)network->epochs,
                      "best_epoch", (json_int_t)network->best_epoch, "loss",
                      real_or_null(network->loss), "validation_loss",
                      real_or_null(network->validation_loss), "warm_start", (int)network->is_warm));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",   //
                     "rows", (json_int_t)summary->n_rows,                    //
                     "drawn_rows", (json_int_t)summary->n_drawn,             //
                     "training_rows", (json_int_t)summary->n_train,          //
                     "validation_rows", (json_int_t)summary->n_validation,   //
                     "calibration_rows", (json_int_t)summary->n_calibration, //
                     "left_out_rows", (json_int_t)summary->n_left_out,       //
                     "trimmed_rows", (json_int_t)summary->n_trimmed,         //
                     "outlier_values", (json_int_t)summary->n_outliers,      //
                     "calibration_folds", (json_int_t)summary->n_folds,      //
                     "networks", whole(networks, summary->n_networks));
}

static json_t *explanation_to_json(const struct explanation *explanation)
{
    return json_pack("{s:b}", "precision", (int)(explanation->precision != NULL));
}

static json_t *document_of(const struct detector *detector, const char *checksum)
{
    const struct ensemble *ensemble = detector_ensemble(detector);
    const struct explanation *explanation = detector_explanation(detector);
    const struct preparation *preparation = detector_preparation(detector);
    const struct relevance *relevance = detector_relevance(detector);
    const struct training_summary *summary = detector_summary(detector);

    json_t *document =
        json_pack("{s:o, s:o, s:o, s:{s:b}, s:o, s:o, s:o, s:{s:o, s:o}, s:s, s:s}",  //
                  "schema", schema_to_json(detector_schema(detector)),                //
                  "architecture", architecture_to_json(ensemble),                     //
                  "scaler", scaler_to_json(ensemble->scaler),                         //
                  "encoding", "rank_gauss", ensemble->encoding->rank_gauss != NULL,   //
                  "residual", residual_to_json(ensemble),                             //
                  "parts", parts_to_json(ensemble),                                   //
                  "calibration", calibration_to_json(detector_calibration(detector)), //
                  "training", "options", options_to_json(&summary->recipe),           //
                  "summary", summary_to_json(summary),                                //
                  "kernel", summary->kernel,                                          //
                  "sha256", checksum);
    if ((explanation &&
         json_object_set_new(document, "explanation", explanation_to_json(explanation)) < 0) ||
        (preparation &&
         json_object_set_new(document, "preparation", preparation_to_json(preparation)) < 0) ||
        (relevance &&
         json_object_set_new(document, "relevance", relevance_to_json(relevance)) < 0)) {
        json_decref(document);
        return NULL;
    }
    return document;
}

static json_t *metadata_of(const struct detector *detector, const char *checksum)
{
    json_auto_t *document = document_of(detector, checksum);
    AUTO_FREE char *text = safetensors_print_json(document);
    char version[16];

    if (!text)
        return NULL;
    (void)snprintf(version, sizeof(version), "%d",
                   detector_preparation(detector) ? MODEL_FILE_VERSION : MODEL_FILE_PLAIN);
    return json_pack("{s:s, s:s, s:s}", "format", "anomalyd", "format_version", version, "detector",
                     text);
}

/* ---- tensors ---- */

/* Tensors point to where their numbers are now; a tied layer's are transposed into place later. */
struct tensor_list {
    struct tensor tensors[MAX_TENSORS];
    bool is_transposed[MAX_TENSORS];
    size_t n, n_floats;
};

static struct tensor *add(struct tensor_list *list, const float *values, size_t n_rows,
                          size_t n_columns)
{
    struct tensor *tensor = &list->tensors[list->n++];

    *tensor = (struct tensor){.n_rows = n_rows, .n_columns = n_columns, .values = values};
    list->n_floats += n_rows * (n_columns ? n_columns : 1);
    return tensor;
}

static void add_named(struct tensor_list *list, const char *name, const float *values,
                      size_t n_rows, size_t n_columns)
{
    (void)snprintf(add(list, values, n_rows, n_columns)->name, MODEL_NAME_SIZE, "%s", name);
}

static void add_network(struct tensor_list *list, size_t which, const struct network *network)
{
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        list->is_transposed[list->n] = layer->is_tied;
        model_layer_name(
            add(list, network->params + layer->weight, layer->n_out, layer->n_in)->name, which,
            network, l, "weight");
        model_layer_name(add(list, network->params + layer->bias, layer->n_out, 0)->name, which,
                         network, l, "bias");
    }
}

static void add_residual(struct tensor_list *list, size_t which, const struct residual *residual)
{
    const size_t n = residual->n_values, k = residual->n_directions;

    model_residual_name(add(list, residual->mean, n, 0)->name, which, "mean");
    model_residual_name(add(list, residual->whitening, k, n)->name, which, "whitening");
    model_residual_name(add(list, residual->variances, k, 0)->name, which, "variances");
}

static void list_tensors(const struct ensemble *ensemble, struct tensor_list *list)
{
    const struct encoding *encoding = ensemble->encoding;
    const size_t d = encoding->n_features;

    for (size_t i = 0; i < ensemble->n_networks; i++) {
        add_network(list, i, ensemble->networks[i]);
        if (ensemble->residuals[i])
            add_residual(list, i, ensemble->residuals[i]);
    }
    add_named(list, "encoding.gain", encoding->gain, d, 0);
    add_named(list, "encoding.shift", encoding->shift, d, 0);
    if (encoding->rank_gauss) {
        add_named(list, "encoding.rank_gauss.values", encoding->rank_gauss->values, d,
                  RANK_GAUSS_KNOTS);
        add_named(list, "encoding.rank_gauss.quantiles", encoding->rank_gauss->quantiles, d,
                  RANK_GAUSS_KNOTS);
    }
    if (ensemble->prototypes)
        add_named(list, "prototypes.centroids", ensemble->prototypes->centroids,
                  ensemble->prototypes->n_centroids, d);
    if (ensemble->clusters) {
        const size_t k = ensemble->clusters->n_clusters;
        add_named(list, "clusters.centers", ensemble->clusters->centers, k, d);
        add_named(list, "clusters.whitening", ensemble->clusters->whitening, k * d, d);
    }
}

static void list_explanation(const struct explanation *explanation, struct tensor_list *list)
{
    const size_t d = explanation->n_features;

    add_named(list, "explanation.ranges", explanation->low, 4, d); /* the others follow it */
    add_named(list, "explanation.jumps", explanation->jumps, MOVEMENT_WINDOWS, d);
    if (explanation->precision)
        add_named(list, "explanation.precision", explanation->precision, d, d);
}

/* Copies all tensors into one block, to which they then point. */
static void gather(struct tensor_list *list, float *block)
{
    for (size_t t = 0; t < list->n; t++) {
        struct tensor *tensor = &list->tensors[t];
        const size_t n_rows = tensor->n_rows, n_columns = tensor->n_columns ? tensor->n_columns : 1;

        for (size_t i = 0; i < n_rows; i++)
            for (size_t j = 0; j < n_columns; j++)
                block[i * n_columns + j] =
                    tensor->values[list->is_transposed[t] ? j * n_rows + i : i * n_columns + j];
        tensor->values = block;
        block += n_rows * n_columns;
    }
}

int model_write(const struct detector *detector, char **ret_header, size_t *ret_header_size,
                float **ret_tensors, size_t *ret_n_floats)
{
    AUTO_FREE struct tensor_list *list = calloc(1, sizeof(*list));
    char checksum[SHA256_HEX_SIZE];
    if (!list)
        return -ENOMEM;

    list_tensors(detector_ensemble(detector), list);
    if (detector_explanation(detector))
        list_explanation(detector_explanation(detector), list);
    AUTO_FREE float *block = malloc(list->n_floats * sizeof(*block));
    if (!block)
        return -ENOMEM;
    gather(list, block);
    sha256_hex(block, list->n_floats * sizeof(*block), checksum);
    json_auto_t *metadata = metadata_of(detector, checksum);
    int r = metadata ? safetensors_write_header(metadata, list->tensors, list->n, ret_header,
                                                ret_header_size)
                     : -ENOMEM;
    if (r < 0)
        return r;
    *ret_n_floats = list->n_floats;
    *ret_tensors = TAKE(block);
    return 0;
}
