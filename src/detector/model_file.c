/* The detector document, a JSON text in the metadata, holds all but the weights. Reading takes it
 * apart in the order of the functions below; each checks its own part against what came before. */
#include "detector/model_file.h"

#include "base/checksum.h"
#include "base/file.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/safetensors.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS (2 * NETWORK_MAX_LAYERS)

/* PyTorch's names: in an nn.Sequential of Linear and activation in turn, Linear i is number 2 i. */
static void name_tensor(char name[64], const struct network *network, size_t layer,
                        const char *what)
{
    const bool encoder = layer < network->n_encoder_layers;
    const size_t i = encoder ? layer : layer - network->n_encoder_layers;

    (void)snprintf(name, 64, "networks.0.%s.%zu.%s", encoder ? "encoder" : "decoder", 2 * i, what);
}

/* ---- writing ---- */

static json_t *floats_to_json(const float *values, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, json_real((double)values[i]));
    return json_array_size(array) == n ? array : (json_decref(array), NULL);
}

static json_t *schema_to_json(const struct schema *schema)
{
    const size_t n = schema_n_features(schema);
    json_t *names = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(names, json_string(schema_name(schema, i)));
    return json_pack("{s:o}", "features",
                     json_array_size(names) == n ? names : (json_decref(names), NULL));
}

static json_t *network_to_json(const struct network *network)
{
    json_t *widths = json_array(), *activations = json_array();

    (void)json_array_append_new(widths, json_integer((json_int_t)network->layers[0].n_in));
    for (size_t l = 0; l < network->n_layers; l++) {
        (void)json_array_append_new(widths, json_integer((json_int_t)network->layers[l].n_out));
        (void)json_array_append_new(activations,
                                    json_string(activation_name(network->layers[l].activation)));
    }
    return json_pack("{s:[{s:o, s:o, s:I}]}", "networks", "widths", widths, "activations",
                     activations, "encoder_layers", (json_int_t)network->n_encoder_layers);
}

static json_t *scaler_to_json(const struct scaler *scaler)
{
    const size_t n = scaler_n_features(scaler);

    return json_pack("{s:o, s:o, s:o}", "mean", floats_to_json(scaler_mean(scaler), n), "std",
                     floats_to_json(scaler_std(scaler), n), "median",
                     floats_to_json(scaler_median(scaler), n));
}

static json_t *calibration_to_json(const struct calibration *calibration)
{
    size_t n;
    const double *errors = calibration_errors(calibration, &n);
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, json_real(errors[i]));
    return json_pack("{s:I, s:o}", "rows", (json_int_t)calibration_n_rows(calibration), "errors",
                     json_array_size(array) == n ? array : (json_decref(array), NULL));
}

/* The numbers of struct training_summary by their keys: `options` a retraining repeats, `summary`
 * says what came out. */
static const struct field {
    const char *section, *key;
    size_t offset;
    bool is_real;
} fields[] = {
#define FIELD(section, key, member, is_real)                             \
    {                                                                    \
        section, key, offsetof(struct training_summary, member), is_real \
    }
    FIELD("options", "seed", seed, false),
    FIELD("options", "false_alarm_rate", false_alarm_rate, true),
    FIELD("options", "learning_rate", learning_rate, true),
    FIELD("options", "epochs", max_epochs, false),
    FIELD("options", "batch_size", batch_size, false),
    FIELD("options", "latent", latent, false),
    FIELD("summary", "rows", n_rows, false),
    FIELD("summary", "training_rows", n_train, false),
    FIELD("summary", "validation_rows", n_validation, false),
    FIELD("summary", "calibration_rows", n_calibration, false),
    FIELD("summary", "left_out_rows", n_left_out, false),
    FIELD("summary", "epochs", epochs, false),
    FIELD("summary", "best_epoch", best_epoch, false),
    FIELD("summary", "training_loss", train_loss, true),
    FIELD("summary", "validation_loss", validation_loss, true),
#undef FIELD
};
_Static_assert(sizeof(size_t) == sizeof(json_int_t) && sizeof(double) == sizeof(json_int_t),
               "all fields are read and written as 64 bits");
_Static_assert(BYTE_ORDER == LITTLE_ENDIAN, "tensors are written as they stand in memory");

#define N_FIELDS (sizeof(fields) / sizeof(*fields))

static json_t *training_to_json(const struct training_summary *summary)
{
    json_auto_t *training = json_pack("{s:{s:[]}, s:{}}", "options", "hidden", "summary");

    for (size_t i = 0; i < N_FIELDS; i++) {
        const char *at = (const char *)summary + fields[i].offset;
        json_int_t whole;
        double real;

        memcpy(&whole, at, sizeof(whole));
        memcpy(&real, at, sizeof(real));
        if (json_object_set_new(json_object_get(training, fields[i].section), fields[i].key,
                                fields[i].is_real ? json_real(real) : json_integer(whole)) < 0)
            return NULL;
    }
    for (size_t i = 0; i < summary->n_hidden; i++)
        (void)json_array_append_new(json_object_get(json_object_get(training, "options"), "hidden"),
                                    json_integer((json_int_t)summary->hidden[i]));
    return TAKE(training);
}

static json_t *metadata_of(const struct detector *detector, const char *checksum)
{
    json_auto_t *document =
        json_pack("{s:o, s:o, s:o, s:{s:s}, s:o, s:o, s:s, s:s}",                     //
                  "schema", schema_to_json(detector_schema(detector)),                //
                  "architecture", network_to_json(detector_network(detector)),        //
                  "scaler", scaler_to_json(detector_scaler(detector)),                //
                  "residual", "kind", "mean_squared",                                 //
                  "calibration", calibration_to_json(detector_calibration(detector)), //
                  "training", training_to_json(detector_summary(detector)),           //
                  "kernel", detector_summary(detector)->kernel,                       //
                  "sha256", checksum);
    AUTO_FREE char *text = json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char version[16];

    if (!text)
        return NULL;
    (void)snprintf(version, sizeof(version), "%d", MODEL_FILE_VERSION);
    return json_pack("{s:s, s:s, s:s}", "format", "anomalyd", "format_version", version, "detector",
                     text);
}

static size_t list_tensors(const struct network *network, struct tensor tensors[MAX_TENSORS])
{
    size_t n = 0;

    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        tensors[n] = (struct tensor){.n_rows = layer->n_out,
                                     .n_columns = layer->n_in,
                                     .values = network->params + layer->weight};
        name_tensor(tensors[n++].name, network, l, "weight");
        tensors[n] =
            (struct tensor){.n_rows = layer->n_out, .values = network->params + layer->bias};
        name_tensor(tensors[n++].name, network, l, "bias");
    }
    return n;
}

int model_file_save(const struct detector *detector, const char *path, struct error *reterr)
{
    /* The tensors stand in the file as the parameters do in memory: one block. */
    const struct network *network = detector_network(detector);
    const size_t params_size = network->n_params * sizeof(float);
    struct tensor tensors[MAX_TENSORS];
    char checksum[SHA256_HEX_SIZE];
    AUTO_FREE char *header = NULL;
    size_t header_size = 0;

    sha256_hex(network->params, params_size, checksum);
    json_auto_t *metadata = metadata_of(detector, checksum);
    int r = metadata ? safetensors_write_header(metadata, tensors, list_tensors(network, tensors),
                                                &header, &header_size)
                     : -ENOMEM;
    if (r < 0)
        return error_set_errno(reterr, r, path, "write");
    const struct iovec parts[] = {
        {header,          header_size},
        {network->params, params_size}
    };
    return file_write(path, parts, 2, reterr);
}

/* ---- reading ---- */

static int damaged(struct error *reterr, const char *file, const char *what)
{
    return error_set_at(reterr, -EINVAL, file, 0, "detector document: %s", what);
}

static int schema_from_json(const char *file, const json_t *document, struct schema **ret_schema,
                            struct error *reterr)
{
    const json_t *names = json_object_get(json_object_get(document, "schema"), "features");
    const size_t n = json_array_size(names);
    const char *texts[SCHEMA_MAX_FEATURES];

    if (n == 0 || n > SCHEMA_MAX_FEATURES)
        return damaged(reterr, file, "schema.features is not a list of 1 to 4096 names");
    for (size_t i = 0; i < n; i++) {
        texts[i] = json_string_value(json_array_get(names, i));
        if (!texts[i])
            return damaged(reterr, file, "schema.features holds something that is not a name");
    }
    struct error problem;
    int r = schema_new(texts, n, ret_schema, &problem);
    return r < 0 ? error_set_at(reterr, r, file, 0, "schema.features: %s", problem.text) : 0;
}

static int network_from_json(const char *file, const json_t *document, size_t n_features,
                             struct network **ret_network, struct error *reterr)
{
    const json_t *networks = json_object_get(json_object_get(document, "architecture"), "networks");
    const json_t *only = json_array_get(networks, 0);
    const json_t *widths = json_object_get(only, "widths");
    const json_t *names = json_object_get(only, "activations");
    const json_int_t n_encoder_layers = json_integer_value(json_object_get(only, "encoder_layers"));
    const size_t n_layers = json_array_size(names);
    size_t sizes[NETWORK_MAX_LAYERS + 1];
    enum activation activations[NETWORK_MAX_LAYERS];

    if (json_array_size(networks) != 1 || n_layers == 0 || n_layers > NETWORK_MAX_LAYERS ||
        json_array_size(widths) != n_layers + 1 || n_encoder_layers < 1)
        return damaged(reterr, file,
                       "architecture.networks is not one network of at most 64 layers");
    for (size_t i = 0; i <= n_layers; i++) {
        const json_int_t width = json_integer_value(json_array_get(widths, i));
        if (width < 1 || width > NETWORK_MAX_WIDTH)
            return damaged(reterr, file, "architecture: a layer is not 1 to 65536 wide");
        sizes[i] = (size_t)width;
    }
    for (size_t l = 0; l < n_layers; l++) {
        const char *name = json_string_value(json_array_get(names, l));
        if (!name || activation_from_name(name, &activations[l]) < 0)
            return damaged(reterr, file, "architecture: an unknown activation");
    }
    if (sizes[0] != n_features)
        return damaged(reterr, file, "architecture: the input is not as wide as the schema");

    int r = network_new(sizes, activations, n_layers, (size_t)n_encoder_layers, ret_network);
    return r == -EINVAL ? damaged(reterr, file, "architecture: impossible layers") : r;
}

/* Wide layers times wide layers could ask for more memory than there is: look at the file first. */
static int check_network_fits(const char *file, const json_t *document, size_t tensors_size,
                              struct error *reterr)
{
    const json_t *networks = json_object_get(json_object_get(document, "architecture"), "networks");
    const json_t *widths = json_object_get(json_array_get(networks, 0), "widths");
    size_t n_params = 0;

    for (size_t i = 0; i + 1 < json_array_size(widths); i++) {
        size_t n_in = (size_t)json_integer_value(json_array_get(widths, i)), n = 0;
        const size_t n_out = (size_t)json_integer_value(json_array_get(widths, i + 1));
        if (__builtin_add_overflow(n_in, 1, &n_in) || __builtin_mul_overflow(n_in, n_out, &n) ||
            __builtin_add_overflow(n_params, n, &n_params))
            return damaged(reterr, file, "architecture: impossible layers");
    }
    return n_params == tensors_size / sizeof(float)
               ? 0
               : damaged(reterr, file, "architecture: the tensors do not fit the layers");
}

static int floats_from_json(const json_t *array, size_t n, float *ret_values)
{
    if (json_array_size(array) != n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value))
            return -EINVAL;
        ret_values[i] = (float)json_number_value(value);
    }
    return 0;
}

static int scaler_from_json(const char *file, const json_t *document, size_t n_features,
                            struct scaler **ret_scaler, struct error *reterr)
{
    const json_t *scaler = json_object_get(document, "scaler");
    AUTO_FREE float *values = calloc(3 * n_features, sizeof(*values));
    if (!values)
        return -ENOMEM;
    float *mean = values, *std = values + n_features, *median = values + 2 * n_features;

    int r = floats_from_json(json_object_get(scaler, "mean"), n_features, mean);
    if (r == 0)
        r = floats_from_json(json_object_get(scaler, "std"), n_features, std);
    if (r == 0)
        r = floats_from_json(json_object_get(scaler, "median"), n_features, median);
    if (r == 0)
        r = scaler_new(mean, std, median, n_features, ret_scaler);
    return r == -EINVAL ? damaged(reterr, file,
                                  "scaler: mean, std and median must each have a "
                                  "finite number a feature, std above 0")
                        : r;
}

static int calibration_from_json(const char *file, const json_t *document,
                                 struct calibration **ret_calibration, struct error *reterr)
{
    const json_t *calibration = json_object_get(document, "calibration");
    const json_t *array = json_object_get(calibration, "errors");
    const json_int_t n_rows = json_integer_value(json_object_get(calibration, "rows"));
    const size_t n = json_array_size(array);
    double errors[CALIBRATION_MAX_ERRORS];

    int r = n == 0 || n > CALIBRATION_MAX_ERRORS || n_rows < 0 ? -EINVAL : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const json_t *value = json_array_get(array, i);
        errors[i] = json_is_number(value) ? json_number_value(value) : (double)NAN;
    }
    if (r == 0)
        r = calibration_new(errors, n, (size_t)n_rows, ret_calibration);
    return r == -EINVAL ? damaged(reterr, file,
                                  "calibration: errors must be 1 to 4096 sorted "
                                  "numbers not below 0, rows at least as many")
                        : r;
}

static int hidden_from_json(const char *file, const json_t *training,
                            struct training_summary *ret_summary, struct error *reterr)
{
    const json_t *hidden = json_object_get(json_object_get(training, "options"), "hidden");
    const size_t n = json_array_size(hidden);

    if (!json_is_array(hidden) || n > TRAINING_MAX_HIDDEN)
        return damaged(reterr, file, "training.options.hidden is not a list of at most 8 widths");
    for (size_t i = 0; i < n; i++) {
        const json_int_t width = json_integer_value(json_array_get(hidden, i));
        if (width < 1 || width > NETWORK_MAX_WIDTH)
            return damaged(reterr, file, "training.options.hidden holds no width");
        ret_summary->hidden[i] = (size_t)width;
    }
    ret_summary->n_hidden = n;
    return 0;
}

static int training_from_json(const char *file, const json_t *document,
                              struct training_summary *ret_summary, struct error *reterr)
{
    const json_t *training = json_object_get(document, "training");

    for (size_t i = 0; i < N_FIELDS; i++) {
        const json_t *value =
            json_object_get(json_object_get(training, fields[i].section), fields[i].key);
        char *at = (char *)ret_summary + fields[i].offset;

        if (fields[i].is_real ? !json_is_number(value)
                              : !json_is_integer(value) || json_integer_value(value) < 0)
            return error_set_at(reterr, -EINVAL, file, 0,
                                "detector document: training.%s.%s is not a number",
                                fields[i].section, fields[i].key);
        const json_int_t whole = json_integer_value(value);
        const double real = json_number_value(value);
        memcpy(at, fields[i].is_real ? (const void *)&real : (const void *)&whole, sizeof(real));
    }
    if (!(ret_summary->false_alarm_rate > 0.0 && ret_summary->false_alarm_rate < 1.0))
        return damaged(reterr, file, "training.options.false_alarm_rate is not between 0 and 1");
    const char *kernel = json_string_value(json_object_get(document, "kernel"));
    if (!kernel)
        return damaged(reterr, file, "no kernel");
    (void)snprintf(ret_summary->kernel, sizeof(ret_summary->kernel), "%s", kernel);
    return hidden_from_json(file, training, ret_summary, reterr);
}

static int read_params(const char *file, const json_t *header, const char *tensors,
                       struct network *network, struct error *reterr)
{
    assert(network);
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        char name[64];
        size_t offset = 0;

        name_tensor(name, network, l, "weight");
        int r = safetensors_find(file, header, name, layer->n_out, layer->n_in, &offset, reterr);
        if (r < 0)
            return r;
        memcpy(network->params + layer->weight, tensors + offset,
               layer->n_out * layer->n_in * sizeof(float));
        name_tensor(name, network, l, "bias");
        r = safetensors_find(file, header, name, layer->n_out, 0, &offset, reterr);
        if (r < 0)
            return r;
        memcpy(network->params + layer->bias, tensors + offset, layer->n_out * sizeof(float));
    }
    for (size_t i = 0; i < network->n_params; i++)
        if (!isfinite(network->params[i]))
            return error_set_at(reterr, -EINVAL, file, 0, "a weight is not a finite number");
    network_pack(network);
    return 0;
}

/* The detector document, when format, version and checksum are right. */
static int open_document(const char *file, const json_t *header, const char *tensors,
                         size_t tensors_size, json_t **ret_document, struct error *reterr)
{
    const json_t *metadata = json_object_get(header, "__metadata__");
    const char *format = json_string_value(json_object_get(metadata, "format"));
    const char *version = json_string_value(json_object_get(metadata, "format_version"));
    const char *text = json_string_value(json_object_get(metadata, "detector"));
    char expected[16], checksum[SHA256_HEX_SIZE];
    json_error_t problem;

    (void)snprintf(expected, sizeof(expected), "%d", MODEL_FILE_VERSION);
    if (!format || strcmp(format, "anomalyd") != 0 || !version || !text)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "is a safetensors file, but not a model file of anomalyctl train");
    if (strcmp(version, expected) != 0)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "has format version %.16s, this program reads %s; use a newer anomalyd",
                            version, expected);
    json_auto_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(document))
        return damaged(reterr, file, document ? "not an object" : problem.text);

    const char *sha256 = json_string_value(json_object_get(document, "sha256"));
    const char *residual =
        json_string_value(json_object_get(json_object_get(document, "residual"), "kind"));
    sha256_hex(tensors, tensors_size, checksum);
    if (!sha256 || strcmp(sha256, checksum) != 0)
        return error_set_at(reterr, -EINVAL, file, 0,
                            "the weights do not match their SHA-256; the file is damaged");
    if (!residual || strcmp(residual, "mean_squared") != 0)
        return damaged(reterr, file, "an unknown residual.kind");
    *ret_document = TAKE(document);
    return 0;
}

static int parse(const char *name, const char *data, size_t size, struct detector **ret_detector,
                 struct error *reterr)
{
    json_auto_t *header = NULL;
    json_auto_t *document = NULL;
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(scaler_freep) struct scaler *scaler = NULL;
    CLEANUP(network_freep) struct network *network = NULL;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    struct training_summary summary = {0};
    const char *tensors = NULL;
    size_t tensors_size = 0;

    int r = safetensors_parse(name, data, size, &header, &tensors, &tensors_size, reterr);
    if (r == 0)
        r = open_document(name, header, tensors, tensors_size, &document, reterr);
    if (r == 0)
        r = schema_from_json(name, document, &schema, reterr);
    if (r == 0)
        r = check_network_fits(name, document, tensors_size, reterr);
    if (r == 0)
        r = network_from_json(name, document, schema_n_features(schema), &network, reterr);
    if (r == 0)
        r = read_params(name, header, tensors, network, reterr);
    if (r == 0)
        r = scaler_from_json(name, document, schema_n_features(schema), &scaler, reterr);
    if (r == 0)
        r = calibration_from_json(name, document, &calibration, reterr);
    if (r == 0)
        r = training_from_json(name, document, &summary, reterr);
    if (r < 0)
        return r;
    return detector_new(TAKE(schema), TAKE(scaler), TAKE(network), TAKE(calibration), &summary,
                        ret_detector);
}

int model_file_parse(const char *name, const char *data, size_t size,
                     struct detector **ret_detector, struct error *reterr)
{
    int r = parse(name, data, size, ret_detector, reterr);

    return r == -ENOMEM ? error_set_errno(reterr, r, name, "read") : r;
}

int model_file_load(const char *path, struct detector **ret_detector, struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(path, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    return r < 0 ? r : model_file_parse(path, data, size, ret_detector, reterr);
}
