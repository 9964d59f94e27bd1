#include "detector/model_errors.h"
#include "detector/model_file.h"

#include "base/checksum.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/clusters.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/prototypes.h"
#include "detector/residual.h"
#include "detector/safetensors.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/prepared_model.h"
#include "support/tiny_model.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WIDE 205 /* features, too many for two encodings */

/* One detector of each kind, and its file. */
enum kind {
    CLASSIC,
    ALL_PARTS,
    TIED,
    MIXED,
    PREPARED,
    WIDE_ROWS,
    N_KINDS
};

struct sample {
    struct detector *detector;
    char *file;
    size_t size;
};

static struct sample samples[N_KINDS];
static char path[] = "/tmp/test_model_file.XXXXXX";
static char *file; /* that of CLASSIC, or what a test puts here */
static size_t file_size;
static struct error error;

static struct detector *train_tied(void)
{
    struct recipe recipe = tiny_recipe(1);

    recipe.is_tied = true;
    return tiny_train(&recipe);
}

/* Features a and d are 0 or 1. */
static struct detector *train_mixed(void)
{
    static float rows[TINY_ROWS * TINY_FEATURES];
    struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};
    struct detector *detector = NULL;

    tiny_rows(1, rows, TINY_ROWS);
    for (size_t i = 0; i < TINY_ROWS * TINY_FEATURES; i += 3)
        rows[i] = rows[i] > 100;
    options.recipe.loss = RECIPE_LOSS_MIXED;
    options.recipe.epochs = 2;
    return detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options, NULL, NULL,
                          &detector, &error) == 0
               ? detector
               : NULL;
}

static struct detector *train_wide(void)
{
    static float rows[24 * WIDE];
    static char storage[WIDE][24];
    const char *names[WIDE];
    struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};
    struct detector *detector = NULL;
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        rows[i] = (float)random_normal(&random);
    for (size_t j = 0; j < WIDE; j++) {
        (void)snprintf(storage[j], sizeof(storage[j]), "f%zu", j);
        names[j] = storage[j];
    }
    options.recipe.preset = PRESET_BALANCED;
    options.recipe.epochs = 1;
    return detector_train(rows, 24, names, WIDE, &options, NULL, NULL, &detector, &error) == 0
               ? detector
               : NULL;
}

static int set_up(void **state)
{
    (void)state;
    struct recipe all_parts = tiny_recipe_of_all_parts(1);
    detector_init();
    samples[CLASSIC].detector = tiny_detector(1);
    samples[ALL_PARTS].detector = tiny_train(&all_parts);
    samples[TIED].detector = train_tied();
    samples[MIXED].detector = train_mixed();
    samples[PREPARED].detector = prepared_detector(1);
    samples[WIDE_ROWS].detector = train_wide();
    CLEANUP(close_fd) int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t k = 0; k < N_KINDS; k++) {
        assert_non_null(samples[k].detector);
        assert_int_equal(model_file_save(samples[k].detector, path, &error), 0);
        assert_int_equal(file_read(path, 1 << 24, &samples[k].file, &samples[k].size, &error), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        detector_free(samples[k].detector);
        free(samples[k].file);
    }
    (void)unlink(path);
    return 0;
}

static int take_classic(void **state)
{
    (void)state;
    file = samples[CLASSIC].file;
    file_size = samples[CLASSIC].size;
    return 0;
}

static struct detector *loaded(const char *data, size_t size)
{
    struct detector *detector = NULL;

    if (model_file_parse("m", data, size, &detector, &error) < 0)
        fail_msg("%s", error.text);
    return detector;
}

/* ---- there and back ---- */

static void a_loaded_detector_judges_bit_equal(void **state)
{
    (void)state;
    enum {
        N = 10
    };
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    static float rows[N * WIDE];
    struct verdict before[N], after[N];

    assert_int_equal(detector_workspace_new(&workspace), 0);
    tiny_rows(9, rows, N * WIDE / TINY_FEATURES);
    rows[2] = NAN;
    for (size_t k = 0; k < N_KINDS; k++) {
        CLEANUP(detector_freep) struct detector *again = loaded(samples[k].file, samples[k].size);
        assert_int_equal(detector_score(samples[k].detector, workspace, rows, N, 1.0, before), 0);
        assert_int_equal(detector_score(again, workspace, rows, N, 1.0, after), 0);
        for (size_t i = 0; i < N; i++) {
            assert_true(before[i].reconstruction_error == after[i].reconstruction_error);
            assert_true(before[i].p_value == after[i].p_value);
        }
    }
}

static void saving_again_gives_the_same_bytes(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        CLEANUP(detector_freep) struct detector *again = loaded(samples[k].file, samples[k].size);
        struct detector *const both[] = {samples[k].detector, again};
        for (size_t i = 0; i < 2; i++) {
            AUTO_FREE char *bytes = NULL;
            size_t size;
            assert_int_equal(model_file_save(both[i], path, &error), 0);
            assert_int_equal(file_read(path, 1 << 24, &bytes, &size, &error), 0);
            assert_int_equal(size, samples[k].size);
            assert_memory_equal(bytes, samples[k].file, size);
        }
    }
}

static void all_of_the_detector_comes_back(void **state)
{
    (void)state;
    const struct detector *saved = samples[ALL_PARTS].detector;
    CLEANUP(detector_freep)
    struct detector *again = loaded(samples[ALL_PARTS].file, samples[ALL_PARTS].size);
    const struct ensemble *a = detector_ensemble(saved), *b = detector_ensemble(again);
    const struct training_summary *x = detector_summary(saved), *y = detector_summary(again);

    assert_string_equal(schema_name(detector_schema(again), 5), "f");
    assert_memory_equal(scaler_std(a->scaler), scaler_std(b->scaler),
                        TINY_FEATURES * sizeof(float));
    assert_int_equal(b->n_networks, 2);
    assert_true(b->encoding->rank_gauss && b->residuals[1]);
    assert_int_equal(b->prototypes->n_centroids, a->prototypes->n_centroids);
    assert_int_equal(b->clusters->n_clusters, 2);
    assert_true(a->median_networks == b->median_networks);
    assert_true(a->median_prototypes == b->median_prototypes);
    assert_true(a->median_clusters == b->median_clusters);
    for (double rate = 0.5; rate > 1e-6; rate /= 3)
        assert_true(calibration_threshold(detector_calibration(again), rate) ==
                    calibration_threshold(detector_calibration(saved), rate));
    assert_int_equal(y->n_rows, TINY_ROWS);
    assert_int_equal(y->n_drawn, TINY_ROWS);
    assert_int_equal(y->n_train, x->n_train);
    assert_int_equal(y->n_validation, x->n_validation);
    assert_int_equal(y->n_calibration, TINY_ROWS);
    assert_int_equal(y->n_folds, 4);
    assert_int_equal(y->n_networks, 2);
    assert_string_equal(y->kernel, x->kernel);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(y->networks[i].epochs, 4);
        assert_int_equal(y->networks[i].best_epoch, x->networks[i].best_epoch);
        assert_true(y->networks[i].loss == x->networks[i].loss);
        assert_true(y->networks[i].validation_loss == x->networks[i].validation_loss);
    }
}

static void assert_same_options(const struct recipe *a, const struct recipe *b)
{
    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        assert_int_equal(recipe_is_set(a, field), recipe_is_set(b, field));
        size_t size = field->kind == RECIPE_CHOICE ? sizeof(int)
                      : field->kind == RECIPE_FLAG ? sizeof(bool)
                                                   : sizeof(double);
        if (recipe_is_set(a, field))
            assert_memory_equal((const char *)a + field->offset, (const char *)b + field->offset,
                                size);
    }
}

static void the_preparation_comes_back(void **state)
{
    (void)state;
    CLEANUP(detector_freep)
    struct detector *again = loaded(samples[PREPARED].file, samples[PREPARED].size);
    CLEANUP(detector_freep)
    struct detector *plain = loaded(samples[CLASSIC].file, samples[CLASSIC].size);

    assert_non_null(detector_preparation(again));
    assert_true(preparation_equals(detector_preparation(again),
                                   detector_preparation(samples[PREPARED].detector)));
    assert_int_equal(schema_n_features(detector_values(again)), PREPARED_VALUES);
    assert_int_equal(detector_n_features(again), PREPARED_FEATURES);
    assert_null(detector_preparation(plain));
    assert_ptr_equal(detector_values(plain), detector_schema(plain));
}

static void options_are_repeated_as_they_were_given(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        CLEANUP(detector_freep) struct detector *again = loaded(samples[k].file, samples[k].size);
        assert_same_options(&detector_summary(samples[k].detector)->recipe,
                            &detector_summary(again)->recipe);
    }
}

static void every_option_can_be_kept(void **state)
{
    (void)state;
    static const char *const values[][2] = {
        {"preset",           "fast"                       },
        {"false-alarm-rate", "0.0625"                     },
        {"trim",             "0.1"                        },
        {"seed",             "9223372036854775807"        },
        {"hidden",           "5,4"                        },
        {"latent",           "3"                          },
        {"activation",       "elu,elu,tanh,elu,elu,linear"},
        {"loss",             "mse"                        },
        {"optimizer",        "nesterov"                   },
        {"learning-rate",    "0.001"                      },
        {"schedule",         "cosine"                     },
        {"warmup",           "0"                          },
        {"epochs",           "2"                          },
        {"batch-size",       "17"                         },
        {"patience",         "3"                          },
        {"weight-decay",     "1e-300"                     },
        {"l1",               "0.1"                        },
        {"sparsity",         "0.01"                       },
        {"noise",            "0.3"                        },
        {"noise-kind",       "masking"                    },
        {"clip",             "0.7"                        },
        {"tied",             "yes"                        },
        {"prototypes",       "20"                         },
        {"clusters",         "0"                          },
    };
    struct recipe recipe;

    recipe_init(&recipe);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        for (size_t f = 0; f < recipe_n_fields; f++)
            if (strcmp(recipe_fields[f].name, values[i][0]) == 0)
                assert_int_equal(recipe_set(&recipe, &recipe_fields[f], values[i][1], &error), 0);
    CLEANUP(detector_freep) struct detector *detector = tiny_train(&recipe);
    CLEANUP(detector_freep) struct detector *again = NULL;
    assert_non_null(detector);
    assert_int_equal(model_file_save(detector, path, &error), 0);
    assert_int_equal(model_file_load(path, &again, &error), 0);
    const struct recipe *kept = &detector_summary(again)->recipe;
    for (size_t f = 0; f < recipe_n_fields; f++)
        assert_true(recipe_is_set(kept, &recipe_fields[f]));
    assert_same_options(&recipe, kept);
    assert_memory_equal(kept->hidden, recipe.hidden, 2 * sizeof(*kept->hidden));
    assert_memory_equal(kept->activations, recipe.activations, 6 * sizeof(*kept->activations));
}

/* ---- the container ---- */

static uint64_t header_length(void)
{
    uint64_t little;

    memcpy(&little, file, sizeof(little));
    return le64toh(little);
}

static json_t *header_of(enum kind kind)
{
    file = samples[kind].file;
    file_size = samples[kind].size;
    json_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    assert_non_null(header);
    return header;
}

static json_t *document_of(json_t *header)
{
    json_t *metadata = json_object_get(header, "__metadata__");
    json_t *document =
        json_loads(json_string_value(json_object_get(metadata, "detector")), 0, NULL);

    assert_non_null(document);
    return document;
}

/* The tensor's numbers; it must have this shape (n_columns 0: one dimension). */
static const float *tensor(const json_t *header, const char *name, size_t n_rows, size_t n_columns)
{
    const json_t *entry = json_object_get(header, name);
    const json_t *shape = json_object_get(entry, "shape");

    if (!entry)
        fail_msg("no tensor %s", name);
    assert_string_equal(json_string_value(json_object_get(entry, "dtype")), "F32");
    assert_int_equal(json_array_size(shape), n_columns ? 2 : 1);
    assert_int_equal(json_integer_value(json_array_get(shape, 0)), n_rows);
    if (n_columns)
        assert_int_equal(json_integer_value(json_array_get(shape, 1)), n_columns);
    return (const float *)(const void *)(file + 8 + header_length() +
                                         json_integer_value(json_array_get(
                                             json_object_get(entry, "data_offsets"), 0)));
}

/* What any tool of the safetensors ecosystem relies on. */
static void the_container_follows_the_safetensors_format(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        json_auto_t *header = header_of(k);
        assert_int_equal(header_length() % 8, 0);
        json_t *metadata = json_object_get(header, "__metadata__");
        assert_string_equal(json_string_value(json_object_get(metadata, "format")), "anomalyd");
        assert_string_equal(json_string_value(json_object_get(metadata, "format_version")),
                            k == PREPARED ? "3" : "2"); /* older programs read the plain ones */
        assert_int_equal(json_object_size(metadata), 3);
    }
}

static void a_classic_network_is_stored_as_pytorch_layers(void **state)
{
    (void)state;
    json_auto_t *header = header_of(CLASSIC);
    const struct network *network = detector_ensemble(samples[CLASSIC].detector)->networks[0];
    const float *weight = tensor(header, "networks.0.encoder.0.weight", 4, 6);

    assert_memory_equal(weight, network->params + network->layers[0].weight, 24 * sizeof(float));
    (void)tensor(header, "networks.0.encoder.0.bias", 4, 0);
    (void)tensor(header, "networks.0.encoder.2.weight", 2, 4);
    (void)tensor(header, "networks.0.encoder.2.bias", 2, 0);
    (void)tensor(header, "networks.0.decoder.0.weight", 4, 2);
    (void)tensor(header, "networks.0.decoder.0.bias", 4, 0);
    (void)tensor(header, "networks.0.decoder.2.weight", 6, 4);
    (void)tensor(header, "networks.0.decoder.2.bias", 6, 0);
    (void)tensor(header, "encoding.gain", 6, 0);
    (void)tensor(header, "encoding.shift", 6, 0);
    (void)tensor(header, "explanation.ranges", 4, 6);
    (void)tensor(header, "explanation.jumps", 2, 6);
    (void)tensor(header, "explanation.precision", 6, 6);
    assert_int_equal(json_object_size(header), 13 + 1);
}

static void every_part_has_its_tensors(void **state)
{
    (void)state;
    json_auto_t *header = header_of(ALL_PARTS);
    const struct prototypes *prototypes =
        detector_ensemble(samples[ALL_PARTS].detector)->prototypes;

    for (size_t i = 0; i < 2; i++) {
        static const char *const names[] = {"encoder.0.weight", "encoder.2.weight",
                                            "encoder.4.weight", "decoder.0.weight",
                                            "decoder.2.weight", "decoder.4.weight"};
        const size_t widths[] = {12, 36, 24, i ? 5 : 3, 24, 36, 12};
        char name[64];
        for (size_t l = 0; l < 6; l++) {
            (void)snprintf(name, sizeof(name), "networks.%zu.%s", i, names[l]);
            (void)tensor(header, name, widths[l + 1], widths[l]);
        }
        (void)snprintf(name, sizeof(name), "networks.%zu.residual.mean", i);
        (void)tensor(header, name, 12, 0);
        (void)snprintf(name, sizeof(name), "networks.%zu.residual.whitening", i);
        (void)tensor(header, name, 6, 12);
        (void)snprintf(name, sizeof(name), "networks.%zu.residual.variances", i);
        (void)tensor(header, name, 6, 0);
    }
    (void)tensor(header, "encoding.gain", 6, 0);
    (void)tensor(header, "encoding.shift", 6, 0);
    (void)tensor(header, "encoding.rank_gauss.values", 6, 256);
    (void)tensor(header, "encoding.rank_gauss.quantiles", 6, 256);
    (void)tensor(header, "prototypes.centroids", prototypes->n_centroids, 6);
    (void)tensor(header, "clusters.centers", 2, 6);
    (void)tensor(header, "clusters.whitening", 2 * 6, 6);
    assert_int_equal(json_object_size(header), 2 * (12 + 3) + 7 + 3 + 1);

    json_auto_t *wide = header_of(WIDE_ROWS);
    (void)tensor(wide, "networks.0.residual.whitening", RESIDUAL_DIRECTIONS, WIDE);
    (void)tensor(wide, "networks.0.residual.variances", RESIDUAL_DIRECTIONS, 0);
}

static void a_tied_network_is_stored_as_an_ordinary_one(void **state)
{
    (void)state;
    json_auto_t *header = header_of(TIED);
    const float *encoder = tensor(header, "networks.0.encoder.0.weight", 4, 6);
    const float *decoder = tensor(header, "networks.0.decoder.2.weight", 6, 4);

    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 6; j++)
            assert_true(encoder[i * 6 + j] == decoder[j * 4 + i] && encoder[i * 6 + j] != 0);
    CLEANUP(detector_freep) struct detector *again = loaded(file, file_size);
    assert_false(detector_ensemble(again)->networks[0]->layers[3].is_tied);
    assert_true(detector_summary(again)->recipe.is_tied); /* a retraining ties it again */
}

static void only_options_that_were_given_are_kept(void **state)
{
    (void)state;
    json_auto_t *header = header_of(MIXED);
    json_auto_t *document = document_of(header);
    static const char *const given[] = {
        "preset", "algorithm", "false_alarm_rate", "seed", "loss", "learning_rate", "epochs"};
    json_t *options = json_object_get(json_object_get(document, "training"), "options");

    assert_int_equal(json_object_size(options), sizeof(given) / sizeof(*given));
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
        assert_non_null(json_object_get(options, given[i]));
    assert_string_equal(json_string_value(json_object_get(options, "loss")), "mixed");
    json_t *bounded = json_object_get(
        json_array_get(json_object_get(json_object_get(document, "architecture"), "networks"), 0),
        "bounded");
    assert_int_equal(json_array_size(bounded), 2);
    assert_int_equal(json_integer_value(json_array_get(bounded, 1)), 3);
}

/* ---- damage ---- */

static void expect_refusal(const char *data, size_t size, const char *part_of_the_reason)
{
    struct detector *none = NULL;

    memset(&error, 0, sizeof(error));
    assert_int_equal(model_file_parse("bad.safetensors", data, size, &none, &error), -EINVAL);
    assert_null(none);
    assert_memory_equal(error.text, "bad.safetensors: ", 17);
    if (!strstr(error.text, part_of_the_reason))
        fail_msg("\"%s\" does not say \"%s\"", error.text, part_of_the_reason);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t size = 0; size < file_size; size += size < 200 ? 1 : 37) {
        /* a block of exactly that size, so that a read behind its end is noticed */
        AUTO_FREE char *cut = malloc(size + 1);
        assert_non_null(cut);
        memcpy(cut, file, size);
        cut = realloc(cut, size ? size : 1);
        expect_refusal(cut, size, "");
    }
}

static void a_changed_weight_is_noticed(void **state)
{
    (void)state;
    AUTO_FREE char *changed = malloc(file_size);

    assert_non_null(changed);
    for (size_t at = 8 + header_length(); at < file_size; at += 41) {
        memcpy(changed, file, file_size);
        changed[at] = (char)(changed[at] ^ 1);
        expect_refusal(changed, file_size, "SHA-256");
    }
}

static void a_changed_byte_of_the_header_never_crashes(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t k = 0; k <= ALL_PARTS; k++) {
        json_auto_t *header = header_of(k);
        AUTO_FREE char *changed = malloc(file_size);
        assert_non_null(changed);
        for (size_t trial = 0; trial < 1000; trial++) {
            CLEANUP(detector_freep) struct detector *detector = NULL;
            memcpy(changed, file, file_size);
            changed[random_below(&random, 8 + (size_t)header_length())] = (char)random_u64(&random);
            int r = model_file_parse("bad", changed, file_size, &detector, &error);
            assert_true(r == 0 || r == -EINVAL);
        }
    }
}

/* The file with another header before the same tensors. */
static char *with_header(const char *header, size_t length, size_t *ret_size)
{
    const size_t tensors = file_size - 8 - (size_t)header_length();
    const uint64_t little = htole64(length);
    char *out = malloc(8 + length + tensors);

    assert_non_null(out);
    memcpy(out, &little, 8);
    memcpy(out + 8, header, length);
    memcpy(out + 8 + length, file + 8 + header_length(), tensors);
    *ret_size = 8 + length + tensors;
    return out;
}

/* The file with this header, and document (NULL: what the header has) in it. */
static char *rebuilt(json_t *header, const json_t *document, size_t *ret_size)
{
    json_t *metadata = json_object_get(header, "__metadata__");
    AUTO_FREE char *text = document ? json_dumps(document, JSON_REAL_PRECISION(17)) : NULL;

    if (metadata && text)
        (void)json_object_set_new(metadata, "detector", json_string(text));
    AUTO_FREE char *dumped = json_dumps(header, 0);
    return with_header(dumped, strlen(dumped), ret_size);
}

/* Rebuilds the file with the header, or the detector document in it, changed by edit(). */
static char *edited(void (*edit)(json_t *header, json_t *document), size_t *ret_size)
{
    json_auto_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    json_auto_t *document = document_of(header);

    edit(header, document);
    return rebuilt(header, document, ret_size);
}

static json_t *at(json_t *json, const char *key)
{
    return json_object_get(json, key);
}

static json_t *network_of(json_t *document)
{
    return json_array_get(at(at(document, "architecture"), "networks"), 0);
}

static json_t *residual_of(json_t *document)
{
    return json_array_get(at(at(document, "residual"), "networks"), 1);
}

static json_t *options_of(json_t *document)
{
    return at(at(document, "training"), "options");
}

static void set_offset(json_t *header, const char *name, size_t index, json_int_t value)
{
    (void)json_array_set_new(at(at(header, name), "data_offsets"), index, json_integer(value));
}

#define WEIGHT "networks.0.encoder.0.weight"
#define EDIT(name, statement)                          \
    static void name(json_t *header, json_t *document) \
    {                                                  \
        (void)header;                                  \
        (void)document;                                \
        (void)(statement);                             \
    }
#define SET(object, key, value)       json_object_set_new(object, key, value)
#define SET_ITEM(array, index, value) json_array_set_new(array, index, value)
#define FORMAT_VERSION(text)          SET(at(header, "__metadata__"), "format_version", json_string(text))

EDIT(nothing, 0)
EDIT(no_metadata, json_object_del(header, "__metadata__"))
EDIT(other_format, SET(at(header, "__metadata__"), "format", json_string("pt")))
EDIT(version_4, FORMAT_VERSION("4"))
EDIT(version_0, FORMAT_VERSION("0"))
EDIT(version_x, FORMAT_VERSION("x"))
EDIT(version_huge, FORMAT_VERSION("99999999999999999999999999999999999"))
EDIT(no_version, json_object_del(at(header, "__metadata__"), "format_version"))
EDIT(number_as_metadata, SET(at(header, "__metadata__"), "x", json_integer(1)))
EDIT(half_precision, SET(at(header, WEIGHT), "dtype", json_string("F16")))
EDIT(no_shape, json_object_del(at(header, WEIGHT), "shape"))
EDIT(huge_shape, SET_ITEM(at(at(header, WEIGHT), "shape"), 0, json_integer(1LL << 62)))
EDIT(negative_shape, SET_ITEM(at(at(header, WEIGHT), "shape"), 0, json_integer(-4)))
EDIT(turned_shape, (SET_ITEM(at(at(header, WEIGHT), "shape"), 0, json_integer(6)),
                    SET_ITEM(at(at(header, WEIGHT), "shape"), 1, json_integer(4))))
EDIT(offset_beyond, (set_offset(header, WEIGHT, 0, 1 << 20), set_offset(header, WEIGHT, 1, 0), 0))
EDIT(negative_offset, (set_offset(header, WEIGHT, 0, -96), 0))
EDIT(overlap, (set_offset(header, "networks.0.encoder.0.bias", 0, 0),
               set_offset(header, "networks.0.encoder.0.bias", 1, 16), 0))
EDIT(tensor_gone, json_object_del(header, WEIGHT))
static void too_many_tensors(json_t *header, json_t *document)
{
    (void)document;
    for (size_t i = 0; i < 4097; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "x.%zu", i);
        (void)SET(
            header, name,
            json_pack("{s:s, s:[i], s:[i, i]}", "dtype", "F32", "shape", 0, "data_offsets", 0, 0));
    }
}

EDIT(no_names, json_object_del(at(document, "schema"), "features"))
EDIT(same_name_twice, SET_ITEM(at(at(document, "schema"), "features"), 0, json_string("b")))
EDIT(number_as_name, SET_ITEM(at(at(document, "schema"), "features"), 0, json_integer(1)))
EDIT(name_too_many, json_array_append_new(at(at(document, "schema"), "features"), json_string("x")))
EDIT(wide_layer, SET_ITEM(at(network_of(document), "widths"), 1, json_integer(65536)))
EDIT(too_wide_layer, SET_ITEM(at(network_of(document), "widths"), 1, json_integer(65537)))
EDIT(zero_layer, SET_ITEM(at(network_of(document), "widths"), 1, json_integer(0)))
EDIT(narrow_input, SET_ITEM(at(network_of(document), "widths"), 0, json_integer(5)))
EDIT(narrow_output, SET_ITEM(at(network_of(document), "widths"), 4, json_integer(5)))
EDIT(softmax, SET_ITEM(at(network_of(document), "activations"), 0, json_string("softmax")))
EDIT(no_layers, json_array_clear(at(network_of(document), "activations")))
EDIT(all_encoder, SET(network_of(document), "encoder_layers", json_integer(4)))
EDIT(no_encoder, SET(network_of(document), "encoder_layers", json_integer(0)))
EDIT(bounded_beyond, json_array_append_new(at(network_of(document), "bounded"), json_integer(6)))
EDIT(bounded_below, json_array_append_new(at(network_of(document), "bounded"), json_integer(-1)))
EDIT(no_bounded, json_object_del(network_of(document), "bounded"))
EDIT(two_networks,
     json_array_append(at(at(document, "architecture"), "networks"), network_of(document)))
EDIT(no_networks, json_array_clear(at(at(document, "architecture"), "networks")))
EDIT(zero_deviation, SET_ITEM(at(at(document, "scaler"), "std"), 0, json_real(0)))
EDIT(huge_mean, SET_ITEM(at(at(document, "scaler"), "mean"), 0, json_real(1e300)))
EDIT(short_median, json_array_remove(at(at(document, "scaler"), "median"), 0))
EDIT(ranks_of_text, SET(at(document, "encoding"), "rank_gauss", json_string("no")))
EDIT(ranks_that_are_not_there, SET(at(document, "encoding"), "rank_gauss", json_true()))
EDIT(text_as_error, SET_ITEM(at(at(document, "calibration"), "errors"), 0, json_string("x")))
EDIT(unsorted_errors, SET_ITEM(at(at(document, "calibration"), "errors"), 0, json_real(1e9)))
EDIT(negative_error, SET_ITEM(at(at(document, "calibration"), "errors"), 0, json_real(-1)))
EDIT(no_errors, json_array_clear(at(at(document, "calibration"), "errors")))
EDIT(too_few_rows, SET(at(document, "calibration"), "rows", json_integer(1)))
EDIT(flat_tail, SET(at(at(document, "calibration"), "tail"), "scale", json_real(0)))
EDIT(certain_tail, SET(at(at(document, "calibration"), "tail"), "share", json_real(2)))
EDIT(rate_of_two, SET(options_of(document), "false_alarm_rate", json_real(2)))
EDIT(negative_seed, SET(options_of(document), "seed", json_integer(-1)))
EDIT(unknown_preset, SET(options_of(document), "preset", json_string("worst")))
EDIT(number_as_preset, SET(options_of(document), "preset", json_integer(0)))
EDIT(text_as_epochs, SET(options_of(document), "epochs", json_string("60")))
EDIT(wide_hidden, SET(options_of(document), "hidden", json_pack("[i]", 65537)))
EDIT(nine_hidden,
     SET(options_of(document), "hidden", json_pack("[iiiiiiiii]", 1, 2, 3, 4, 5, 6, 7, 8, 9)))
EDIT(hidden_text, SET(options_of(document), "hidden", json_string("24,12")))
EDIT(unknown_bend, SET(options_of(document), "activation", json_pack("[s]", "softmax")))
EDIT(tied_a_little, SET(options_of(document), "tied", json_real(0.5)))
EDIT(no_options, json_object_del(at(document, "training"), "options"))
EDIT(other_residual, SET(at(document, "residual"), "kind", json_string("x")))
EDIT(whitened_by_nothing, SET(at(document, "residual"), "kind", json_string("whitened")))
EDIT(no_kernel, json_object_del(document, "kernel"))
EDIT(no_checksum, json_object_del(document, "sha256"))
EDIT(other_checksum, SET(document, "sha256", json_string("00")))

struct damage {
    void (*edit)(json_t *header, json_t *document);
    const char *reason;
};

static void expect_refusals(const struct damage *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t size;
        AUTO_FREE char *data = edited(cases[i].edit, &size);
        expect_refusal(data, size, cases[i].reason);
    }
}

static void hostile_files_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct damage cases[] = {
        {no_metadata,              "no __metadata__"                                                       },
        {other_format,             "not a model file"                                                      },
        {version_4,                "has format version 4, this program reads up to 3; use a newer anomalyd"},
        {version_0,                "has format version 0"                                                  },
        {version_x,                "has format version x"                                                  },
        {version_huge,             "has format version 9999999999999999,"                                  },
        {no_version,               "not a model file"                                                      },
        {number_as_metadata,       "not a string"                                                          },
        {half_precision,           "not of type F32"                                                       },
        {no_shape,                 "no shape"                                                              },
        {huge_shape,               "impossible shape"                                                      },
        {negative_shape,           "impossible shape"                                                      },
        {turned_shape,             "shape that the architecture"                                           },
        {offset_beyond,            "do not fit"                                                            },
        {negative_offset,          "no offsets"                                                            },
        {overlap,                  "overlaps"                                                              },
        {tensor_gone,              "overlaps another one or leaves a gap"                                  },
        {too_many_tensors,         "more than 4096 tensors"                                                },
        {no_names,                 "schema.features is not a list of 1 to 4096 names"                      },
        {same_name_twice,          "schema.features"                                                       },
        {number_as_name,           "schema.features holds something that is not a name"                    },
        {name_too_many,            "scaler: mean, std and median must each have a finite number a feature" },
        {wide_layer,               "do not fit the layers"                                                 },
        {too_wide_layer,           "a layer is not 1 to 65536 wide"                                        },
        {zero_layer,               "a layer is not 1 to 65536 wide"                                        },
        {narrow_input,             "the input is not as wide as the encoded features"                      },
        {narrow_output,            "impossible layers"                                                     },
        {softmax,                  "unknown activation"                                                    },
        {no_layers,                "has not 1 to 64 layers"                                                },
        {all_encoder,              "impossible layers"                                                     },
        {no_encoder,               "has not 1 to 64 layers"                                                },
        {bounded_beyond,           "bounded lists something that is no feature"                            },
        {bounded_below,            "bounded lists something that is no feature"                            },
        {no_bounded,               "bounded is not a list"                                                 },
        {two_networks,             "1 to 8 networks, one if residual.kind is mean_squared"                 },
        {no_networks,              "1 to 8 networks"                                                       },
        {zero_deviation,           "scaler"                                                                },
        {huge_mean,                "scaler"                                                                },
        {short_median,             "scaler"                                                                },
        {ranks_of_text,            "encoding.rank_gauss is neither true nor false"                         },
        {ranks_that_are_not_there, "has no tensor encoding.rank_gauss.values"                              },
        {text_as_error,            "calibration"                                                           },
        {unsorted_errors,          "calibration"                                                           },
        {negative_error,           "calibration"                                                           },
        {no_errors,                "calibration"                                                           },
        {too_few_rows,             "calibration"                                                           },
        {flat_tail,                "generalised Pareto"                                                    },
        {certain_tail,             "generalised Pareto"                                                    },
        {rate_of_two,              "training.options.false_alarm_rate is not one that train takes"         },
        {negative_seed,            "training.options.seed"                                                 },
        {unknown_preset,           "training.options.preset"                                               },
        {number_as_preset,         "training.options.preset"                                               },
        {text_as_epochs,           "training.options.epochs"                                               },
        {wide_hidden,              "training.options.hidden"                                               },
        {nine_hidden,              "training.options.hidden"                                               },
        {hidden_text,              "training.options.hidden"                                               },
        {unknown_bend,             "training.options.activation"                                           },
        {tied_a_little,            "training.options.tied"                                                 },
        {no_options,               "no training.options"                                                   },
        {other_residual,           "unknown residual.kind"                                                 },
        {whitened_by_nothing,      "residual.networks: one for each of architecture.networks"              },
        {no_kernel,                "no kernel"                                                             },
        {no_checksum,              "SHA-256"                                                               },
        {other_checksum,           "SHA-256"                                                               },
    };

    expect_refusals(cases, sizeof(cases) / sizeof(*cases));
}

EDIT(no_directions, SET(residual_of(document), "directions", json_integer(0)))
EDIT(many_directions, SET(residual_of(document), "directions", json_integer(13)))
EDIT(few_directions, SET(residual_of(document), "directions", json_integer(5)))
EDIT(no_scale, json_object_del(residual_of(document), "scale"))
EDIT(zero_scale, SET(residual_of(document), "scale", json_real(0)))
EDIT(zero_rest, SET(residual_of(document), "rest_variance", json_real(0)))
EDIT(one_residual, json_array_remove(at(at(document, "residual"), "networks"), 1))
EDIT(median_0, SET(at(at(document, "parts"), "networks"), "median", json_real(0)))
EDIT(no_median, json_object_del(at(at(document, "parts"), "prototypes"), "median"))
EDIT(negative_count, SET(at(at(document, "parts"), "prototypes"), "count", json_integer(-1)))
EDIT(huge_count, SET(at(at(document, "parts"), "prototypes"), "count", json_integer(4097)))
EDIT(wrong_count, SET(at(at(document, "parts"), "prototypes"), "count", json_integer(7)))
EDIT(many_clusters, SET(at(at(document, "parts"), "clusters"), "count", json_integer(65)))
EDIT(three_clusters, SET(at(at(document, "parts"), "clusters"), "count", json_integer(3)))
EDIT(no_ranks, SET(at(document, "encoding"), "rank_gauss", json_false()))
EDIT(no_parts, json_object_del(document, "parts"))
static void nine_networks(json_t *header, json_t *document)
{
    (void)header;
    for (size_t i = 0; i < 7; i++)
        (void)json_array_append(at(at(document, "architecture"), "networks"), network_of(document));
}

static void hostile_parts_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct damage cases[] = {
        {no_directions,   "residual: directions are needed, at most one a value"                },
        {many_directions, "residual: directions are needed, at most one a value"                },
        {few_directions,  "networks.1.residual.whitening does not have the shape"               },
        {no_scale,        "residual: a number is not finite, or a variance or scale not above 0"},
        {zero_scale,      "residual: a number is not finite, or a variance or scale not above 0"},
        {zero_rest,       "residual: a number is not finite, or a variance or scale not above 0"},
        {one_residual,    "residual.networks: one for each of architecture.networks"            },
        {median_0,        "need a median above 0"                                               },
        {no_median,       "need a median above 0"                                               },
        {negative_count,  "a count (at most 4096 and 64)"                                       },
        {huge_count,      "a count (at most 4096 and 64)"                                       },
        {wrong_count,     "prototypes.centroids does not have the shape"                        },
        {many_clusters,   "a count (at most 4096 and 64)"                                       },
        {three_clusters,  "clusters.centers does not have the shape"                            },
        {no_ranks,        "the input is not as wide as the encoded features"                    },
        {no_parts,        "need a median above 0"                                               },
        {nine_networks,   "1 to 8 networks"                                                     },
    };
    json_auto_t *header = header_of(ALL_PARTS);

    expect_refusals(cases, sizeof(cases) / sizeof(*cases));
}

static json_t *preparation_of(json_t *document)
{
    return at(document, "preparation");
}

static void other_context(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_set_new(preparation_of(document), "context", json_integer(1));
}

static void other_category(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_set_new(json_array_get(at(preparation_of(document), "inputs"), IN_STATE),
                              "categories", json_pack("[s,s]", "down", "on"));
}

static void other_kind(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_set_new(json_array_get(at(preparation_of(document), "inputs"), IN_BYTES),
                              "kind", json_string("delta"));
}

static void no_kind(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_del(json_array_get(at(preparation_of(document), "inputs"), IN_BYTES), "kind");
}

static void other_zone(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_set_new(preparation_of(document), "timezone", json_string("Mars/X"));
}

static void null_preparation(json_t *header, json_t *document)
{
    (void)header;
    (void)json_object_set_new(document, "preparation", json_null());
}

static void a_preparation_of_other_features_is_refused(void **state)
{
    (void)state;
    static const struct damage cases[] = {
        {other_context,    "preparation makes other features than the schema's"},
        {other_category,   "preparation makes other features than the schema's"},
        {other_kind,       "preparation makes other features than the schema's"},
        {no_kind,          "preparation: an input needs a name and a kind"     },
        {other_zone,       "preparation: \"Mars/X\" is no time zone"           },
        {null_preparation, "preparation: inputs is not a list of inputs"       },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        json_auto_t *header = header_of(PREPARED);
        size_t size;
        file = samples[PREPARED].file;
        file_size = samples[PREPARED].size;
        AUTO_FREE char *data = edited(cases[i].edit, &size);
        expect_refusal(data, size, cases[i].reason);
    }
}

/* Whatever loads must also judge. */
static void expect_refusal_or_sense(const char *data, size_t size, bool must_refuse,
                                    const char *what)
{
    CLEANUP(detector_freep) struct detector *detector = NULL;
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    static float rows[WIDE];
    struct verdict verdict;

    const int r = model_file_parse("m", data, size, &detector, &error);
    if (r == -EINVAL)
        return;
    assert_int_equal(r, 0);
    if (must_refuse)
        fail_msg("%s was taken", what);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    tiny_rows(1, rows, WIDE / TINY_FEATURES);
    assert_int_equal(detector_score(detector, workspace, rows, 1, 1.0, &verdict), 0);
    assert_true(isfinite(verdict.reconstruction_error) && verdict.reconstruction_error >= 0);
    assert_true(verdict.p_value > 0 && verdict.p_value <= 1);
}

/* Numbers that only tell or are only used by wide rows, parts that a classic detector has not, what
 * need not be there, and lists that may be shorter: errors of a thinned sample, bounded features.
 */
static bool may_be_anything(const char *place, const json_t *value, const json_t *instead)
{
    return strstr(place, ".training.summary") ||
           (strstr(place, "rest_variance") && *place == 'd') ||
           (strcmp(place, "document.parts") == 0 && json_object_size(value) == 0) ||
           (!instead &&
            (strcmp(place, "document.explanation") == 0 ||
             strcmp(place, "document.preparation") == 0 || strstr(place, ".options.") ||
             strstr(place, ".tail") || strstr(place, ".errors[") || strstr(place, ".bounded[")));
}

/* Replaces node's value at key or index, parses the file, and puts it back. */
static void damage_value(json_t *header, const json_t *document, json_t *node, const char *key,
                         size_t index, const char *place)
{
    json_t *value = key ? json_object_get(node, key) : json_array_get(node, index);
    json_auto_t *kept = json_incref(value);
    json_t *const instead[] = {NULL,
                               json_is_object(value) ? json_array() : json_object(),
                               json_null(),
                               json_integer(-1),
                               json_integer(INT64_MAX),
                               json_real(1e308),
                               json_string("x")};

    for (size_t i = 0; i < sizeof(instead) / sizeof(*instead); i++) {
        if (!instead[i])
            key ? json_object_del(node, key) : json_array_remove(node, index);
        else
            key ? json_object_set_new(node, key, instead[i])
                : json_array_set_new(node, index, instead[i]);
        size_t size;
        AUTO_FREE char *data = rebuilt(header, document, &size);
        const bool must_refuse =
            i < 3 && !may_be_anything(place, value, i == 0 ? NULL : instead[i]);
        expect_refusal_or_sense(data, size, must_refuse, place);
        if (!instead[i] && !key)
            json_array_insert(node, index, kept);
        else
            key ? json_object_set(node, key, kept) : json_array_set(node, index, kept);
    }
}

/* Of arrays the first and last item. */
static void damage_all(json_t *header, const json_t *document, json_t *node, const char *place)
{
    char deeper[256];

    if (json_is_object(node)) {
        /* The keys are copied: the object changes meanwhile. */
        json_auto_t *keys = json_array();
        const char *key;
        json_t *value;
        json_object_foreach(node, key, value)(void) json_array_append_new(keys, json_string(key));
        for (size_t i = 0; i < json_array_size(keys); i++) {
            key = json_string_value(json_array_get(keys, i));
            (void)snprintf(deeper, sizeof(deeper), "%s.%s", place, key);
            damage_value(header, document, node, key, 0, deeper);
            damage_all(header, document, json_object_get(node, key), deeper);
        }
    }
    for (size_t i = 0; i < json_array_size(node); i += json_array_size(node) - 1) {
        (void)snprintf(deeper, sizeof(deeper), "%s[%zu]", place, i);
        damage_value(header, document, node, NULL, i, deeper);
        damage_all(header, document, json_array_get(node, i), deeper);
        if (json_array_size(node) == 1)
            break;
    }
}

static void every_value_of_the_document_is_checked(void **state)
{
    (void)state;
    for (size_t k = 0; k < WIDE_ROWS; k++) {
        json_auto_t *header = header_of(k);
        json_auto_t *document = document_of(header);
        damage_all(header, document, document, "document");
    }
    json_auto_t *header = header_of(WIDE_ROWS);
    json_auto_t *document = document_of(header);
    damage_all(header, document, at(document, "residual"), "wide.residual");
}

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        json_auto_t *names = header_of(k);
        const char *name;
        json_t *entry;
        json_object_foreach(names, name, entry)
        {
            if (strcmp(name, "__metadata__") == 0)
                continue;
            json_auto_t *header = header_of(k);
            char reason[96];
            size_t size;
            (void)json_object_del(header, name);
            (void)json_object_set(header, "another.name", entry);
            AUTO_FREE char *data = rebuilt(header, NULL, &size);
            (void)snprintf(reason, sizeof(reason), "has no tensor %s", name);
            expect_refusal(data, size, reason);
        }
    }
}

static void a_tensor_of_another_shape_is_named(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        json_auto_t *names = header_of(k);
        const char *name;
        json_t *entry;
        json_object_foreach(names, name, entry)
        {
            if (strcmp(name, "__metadata__") == 0)
                continue;
            json_auto_t *header = header_of(k);
            char reason[96];
            size_t size;
            (void)json_array_append_new(at(at(header, name), "shape"), json_integer(1));
            AUTO_FREE char *data = rebuilt(header, NULL, &size);
            (void)snprintf(reason, sizeof(reason), "tensor %s does not have the shape", name);
            expect_refusal(data, size, reason);
        }
    }
}

/* The file with the number at offset changed, and a checksum as if it had always been so. */
static char *with_number(const char *before, size_t offset, float number)
{
    const size_t begin = 8 + (size_t)header_length();
    char *changed = malloc(file_size);
    char after[SHA256_HEX_SIZE];

    assert_non_null(changed);
    memcpy(changed, file, file_size);
    memcpy(changed + begin + offset, &number, sizeof(number));
    sha256_hex(changed + begin, file_size - begin, after);
    char *at_checksum = memmem(changed, begin, before, strlen(before));
    assert_non_null(at_checksum);
    memcpy(at_checksum, after, strlen(after));
    return changed;
}

static void a_number_that_is_not_finite_is_refused_in_every_tensor(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t k = 0; k < N_KINDS; k++) {
        json_auto_t *header = header_of(k);
        const size_t begin = 8 + (size_t)header_length();
        char checksum[SHA256_HEX_SIZE];
        const char *name;
        json_t *entry;
        sha256_hex(file + begin, file_size - begin, checksum);
        json_object_foreach(header, name, entry)
        {
            json_t *offsets = at(entry, "data_offsets");
            if (!offsets)
                continue;
            const size_t first = (size_t)json_integer_value(json_array_get(offsets, 0));
            const size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
            for (size_t i = 0; i < 3; i++) {
                AUTO_FREE char *data =
                    with_number(checksum, i ? first : end - sizeof(float), bad[i]);
                expect_refusal(data, file_size, "finite");
            }
        }
    }
}

/* Finite numbers, however absurd, give finite verdicts. */
static void absurd_numbers_never_crash(void **state)
{
    (void)state;
    static const float absurd[] = {FLT_MAX, -FLT_MAX, 0, FLT_TRUE_MIN};
    struct random random;

    random_seed(&random, 1);
    for (size_t k = 0; k < WIDE_ROWS; k++) {
        json_auto_t *header = header_of(k);
        const size_t begin = 8 + (size_t)header_length();
        char checksum[SHA256_HEX_SIZE];
        sha256_hex(file + begin, file_size - begin, checksum);
        for (size_t trial = 0; trial < 200; trial++) {
            const size_t offset =
                random_below(&random, (file_size - begin) / sizeof(float)) * sizeof(float);
            AUTO_FREE char *data = with_number(checksum, offset, absurd[trial % 4]);
            expect_refusal_or_sense(data, file_size, false, "a number");
        }
    }
}

static void bytes_behind_the_last_tensor_are_refused(void **state)
{
    (void)state;
    AUTO_FREE char *longer = calloc(1, file_size + 8);

    assert_non_null(longer);
    memcpy(longer, file, file_size);
    expect_refusal(longer, file_size + 8, "8 bytes behind the last tensor");
}

static void a_key_that_comes_twice_is_refused(void **state)
{
    (void)state;
    static const char twice[] = "{\"__metadata__\":{},";
    const size_t n = sizeof(twice) - 1, length = (size_t)header_length();
    AUTO_FREE char *header = malloc(n + length);
    size_t size;

    assert_non_null(header);
    memcpy(header, twice, n);
    memcpy(header + n, file + 8 + 1, length - 1); /* without its opening brace */
    AUTO_FREE char *data = with_header(header, n + length - 1, &size);
    expect_refusal(data, size, "broken header: duplicate object key");
}

static void a_header_above_the_limit_is_refused(void **state)
{
    (void)state;
    const size_t length = SAFETENSORS_MAX_HEADER + 8;
    AUTO_FREE char *header = malloc(length);
    size_t size;

    assert_non_null(header);
    memset(header, ' ', length); /* nothing else is wrong with it */
    memcpy(header, file + 8, (size_t)header_length());
    AUTO_FREE char *data = with_header(header, length, &size);
    expect_refusal(data, size, "is not a safetensors file");
}

/* Not every writer pads the header: its length must not matter. */
static void a_rebuilt_file_is_taken_wherever_its_tensors_stand(void **state)
{
    (void)state;
    size_t size;
    AUTO_FREE char *data = edited(nothing, &size);
    AUTO_FREE char *moved = malloc(size + 8);

    assert_non_null(moved);
    for (size_t by = 0; by < 8; by++) {
        memcpy(moved + by, data, size);
        CLEANUP(detector_freep) struct detector *detector = loaded(moved + by, size);
        const struct network *network = detector_ensemble(detector)->networks[0];
        assert_memory_equal(network->params,
                            detector_ensemble(samples[CLASSIC].detector)->networks[0]->params,
                            network->n_params * sizeof(float));
    }
}

/* What model_write() leaves is read past jansson, any other writing by it. */
static void calibration_errors_are_the_same_however_they_are_written(void **state)
{
    (void)state;
    json_auto_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    json_auto_t *document = document_of(header);
    size_t size, n, n_same;
    AUTO_FREE char *spaced = rebuilt(header, document, &size);

    CLEANUP(model_errors_clear) struct model_errors cut = {0};
    assert_int_equal(model_errors_cut(spaced + 8, size - 8, &cut), 0);
    assert_null(cut.header);
    assert_int_equal(model_errors_cut(file + 8, (size_t)header_length(), &cut), 0);
    assert_non_null(cut.header);

    CLEANUP(detector_freep) struct detector *by_jansson = loaded(spaced, size);
    CLEANUP(detector_freep) struct detector *cut_out = loaded(file, file_size);
    const double *errors = calibration_errors(detector_calibration(by_jansson), &n);
    const double *same = calibration_errors(detector_calibration(cut_out), &n_same);
    assert_int_equal(n, n_same);
    assert_int_equal(n, cut.n_errors);
    assert_memory_equal(errors, same, n * sizeof(*errors));
}

/* They would not be known from those that count. */
static void errors_that_stand_twice_are_not_cut(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\\\"errors\\\":[1,2],\\\"errors\\\":[3]}",
        "{\\\"errors\\\":[1,2",
        "{\\\"errors\\\":[1,]}",
        "{\\\"errors\\\":[]}",
        "{\\\"errors\\\":[1,\n2]}",
        "{\\\"errors\\\":[1e999]}",
        "{\\\\\\\"errors\\\\\\\":[1]}",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        CLEANUP(model_errors_clear) struct model_errors cut = {0};
        assert_int_equal(model_errors_cut(texts[i], strlen(texts[i]), &cut), 0);
        assert_null(cut.header);
    }
}

static void other_files_are_told_what_they_are_not(void **state)
{
    (void)state;
    const char csv[] = "a,b,c\n1,2,3\n1,2,3\n1,2,3\n";
    char empty_header[16] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};

    expect_refusal("", 0, "too short");
    expect_refusal(csv, sizeof(csv) - 1, "not a safetensors file");
    expect_refusal(empty_header, 10, "no __metadata__");
}

static void errors_name_file_and_reason(void **state)
{
    (void)state;
    struct detector *none = NULL;

    assert_int_equal(model_file_load("/nonexistent/m.safetensors", &none, &error), -ENOENT);
    assert_string_equal(error.text,
                        "/nonexistent/m.safetensors: cannot open: No such file or directory");
    assert_int_equal(
        model_file_save(samples[CLASSIC].detector, "/nonexistent/m.safetensors", &error), -ENOENT);
    assert_memory_equal(error.text, "/nonexistent/m.safetensors: cannot write", 40);
    assert_int_equal(model_file_parse("m", "", 0, &none, NULL), -EINVAL); /* nobody asks why */
    assert_int_equal(model_file_parse("m", file, file_size / 2, &none, NULL), -EINVAL);
}

/* ---- format 1 ---- */

static const char *golden_path(const char *name)
{
    static char golden[512];
    const char *top = getenv("top_srcdir");

    (void)snprintf(golden, sizeof(golden), "%s/tests/golden/%s", top ? top : ".", name);
    return golden;
}

static struct detector *load_golden(void)
{
    struct detector *detector = NULL;

    if (model_file_load(golden_path("format-1.safetensors"), &detector, &error) < 0)
        fail_msg("%s", error.text);
    return detector;
}

static double relative(double got, double want)
{
    return fabs(got - want) / want;
}

static void a_file_of_format_1_judges_as_ever(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = load_golden();
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    CLEANUP(dataset_clear) struct dataset rows = {0};
    CLEANUP(dataset_clear) struct dataset want = {0};
    const struct dataset_options options = {.schema = detector_schema(detector)};
    const struct dataset_options as_they_come = {0};
    struct verdict verdict;

    assert_int_equal(dataset_read(golden_path("format-1-rows.csv"), &options, &rows, &error), 0);
    assert_int_equal(
        dataset_read(golden_path("format-1-verdicts.csv"), &as_they_come, &want, &error), 0);
    assert_int_equal(rows.n_rows, 7);
    assert_int_equal(want.n_rows, 7);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    const double threshold = calibration_threshold(
        detector_calibration(detector), detector_summary(detector)->recipe.false_alarm_rate);
    for (size_t i = 0; i < rows.n_rows; i++) {
        const float *verdict_1 =
            want.rows + i * want.n_features; /* row, error, score, p, anomaly */
        assert_int_equal(detector_score(detector, workspace, rows.rows + i * rows.n_features, 1,
                                        threshold, &verdict),
                         0);
        assert_true(relative(verdict.reconstruction_error, (double)verdict_1[1]) < 1e-6);
        assert_true(relative(verdict.score, (double)verdict_1[2]) < 1e-6);
        assert_true(fabs(verdict.p_value - (double)verdict_1[3]) < 2.0 / 81);
        assert_int_equal(verdict.anomaly, verdict_1[4] != 0);
        assert_int_equal(verdict.n_imputed, i == 4);
    }
}

static void a_file_of_format_1_reads_as_preset_fast(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = load_golden();
    const struct training_summary *summary = detector_summary(detector);
    struct recipe want;

    recipe_init(&want);
    want.preset = PRESET_FAST;
    want.seed = 4;
    want.false_alarm_rate = 0.02;
    want.learning_rate = 0.002;
    want.epochs = 60;
    want.batch_size = 64;
    assert_same_options(&summary->recipe, &want);
    assert_int_equal(summary->n_rows, 400);
    assert_int_equal(summary->n_drawn, 400);
    assert_int_equal(summary->n_train, 256);
    assert_int_equal(summary->n_validation, 64);
    assert_int_equal(summary->n_calibration, 80);
    assert_int_equal(summary->n_folds, 1);
    assert_int_equal(summary->n_networks, 1);
    assert_int_equal(summary->networks[0].best_epoch, 60);
    assert_true(summary->networks[0].loss == 0.4090510558440847);
    assert_true(summary->networks[0].validation_loss == 0.4468450341888156);
    assert_string_equal(summary->kernel, "Cooperlake");
}

static void a_file_of_format_1_is_saved_in_the_current_one(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *old = load_golden();
    CLEANUP(detector_freep) struct detector *new = NULL;

    assert_int_equal(model_file_save(old, path, &error), 0);
    assert_int_equal(model_file_load(path, &new, &error), 0);
    assert_same_options(&detector_summary(old)->recipe, &detector_summary(new)->recipe);
    assert_null(calibration_tail(detector_calibration(new)));
    assert_memory_equal(detector_ensemble(old)->networks[0]->params,
                        detector_ensemble(new)->networks[0]->params,
                        detector_ensemble(old)->networks[0]->n_params * sizeof(float));
}

static void a_file_of_format_1_is_checked_as_well(void **state)
{
    (void)state;
    AUTO_FREE char *golden = NULL;

    assert_int_equal(
        file_read(golden_path("format-1.safetensors"), 1 << 20, &golden, &file_size, &error), 0);
    file = golden;
    json_auto_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    json_auto_t *document = document_of(header);
    damage_all(header, document, document, "document");
}

/* ---- format 3 ---- */

/* Every kind there is, two series, a late row, a wrap, an unknown category and a missing value. */
static void a_file_of_format_3_judges_as_ever(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    CLEANUP(dataset_clear) struct dataset rows = {0};
    CLEANUP(dataset_clear) struct dataset want = {0};
    const struct dataset_options as_they_come = {0};
    struct verdict verdict;

    if (model_file_load(golden_path("format-3-prepared.safetensors"), &detector, &error) < 0)
        fail_msg("%s", error.text);
    struct preparation *preparation = detector_preparation(detector);
    assert_non_null(preparation);
    const struct dataset_options options = {.schema = detector_values(detector),
                                            .preparation = preparation,
                                            .with_timestamps = true,
                                            .with_series = true};
    const char *place = golden_path("format-3-prepared-rows.csv");
    assert_int_equal(dataset_read(place, &options, &rows, &error), 0);
    assert_int_equal(dataset_prepare(&rows, place, preparation, false, &error), 0);
    assert_int_equal(
        dataset_read(golden_path("format-3-prepared-verdicts.csv"), &as_they_come, &want, &error),
        0);
    assert_int_equal(rows.n_rows, 9);
    assert_int_equal(rows.n_late, 1);
    assert_int_equal(want.n_rows, 9);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    const double threshold = calibration_threshold(
        detector_calibration(detector), detector_summary(detector)->recipe.false_alarm_rate);
    for (size_t i = 0; i < rows.n_rows; i++) {
        const float *row = rows.rows + i * rows.n_features;
        const float *as_ever = want.rows + i * want.n_features; /* row, error, score, p, anomaly */
        assert_int_equal(detector_score(detector, workspace, row, 1, threshold, &verdict), 0);
        assert_true(relative(verdict.reconstruction_error, (double)as_ever[1]) < 1e-5);
        assert_true(relative(verdict.score, (double)as_ever[2]) < 1e-5);
        assert_int_equal(verdict.anomaly, as_ever[4] != 0);
    }
}

/* ---- no memory ---- */

static void loading_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        int r = -ENOMEM, nth = 0;
        for (; r == -ENOMEM && nth < 1000; nth++) {
            CLEANUP(detector_freep) struct detector *detector = NULL;
            alloc_fail_in = nth;
            r = model_file_parse("m", samples[k].file, samples[k].size, &detector, &error);
            alloc_fail_in = -1;
            if (r < 0)
                assert_string_equal(error.text, "m: cannot read: Cannot allocate memory");
        }
        assert_int_equal(r, 0);
        assert_true(nth > 15); /* it did fail some */
    }
}

static void writing_to_a_descriptor_gives_the_same_bytes(void **state)
{
    (void)state;
    AUTO_FREE char *bytes = NULL;
    size_t size = 0;
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CLEANUP(close_fd) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    assert_int_equal(model_file_write(samples[ALL_PARTS].detector, fd, &error), 0);
    assert_int_equal(file_read(path, 1 << 24, &bytes, &size, &error), 0);
    assert_int_equal(size, samples[ALL_PARTS].size);
    assert_memory_equal(bytes, samples[ALL_PARTS].file, size);
    assert_int_equal(model_file_write(samples[ALL_PARTS].detector, full, &error), -ENOSPC);
    assert_string_equal(error.text, "the model file: cannot write: No space left on device");
}

/* jansson's allocations fail, too: nothing may be missing in a file that is written. */
static void saving_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t k = 0; k <= ALL_PARTS; k++) {
        int r = -ENOMEM, nth = 0;
        json_set_alloc_funcs(malloc, free);
        for (; r == -ENOMEM && nth < 100000; nth += k ? 7 : 1) {
            alloc_fail_in = nth;
            r = model_file_save(samples[k].detector, path, &error);
            alloc_fail_in = -1;
        }
        AUTO_FREE char *bytes = NULL;
        size_t size;
        assert_int_equal(r, 0);
        assert_true(nth > 100); /* it did fail some */
        assert_int_equal(file_read(path, 1 << 24, &bytes, &size, &error), 0);
        assert_int_equal(size, samples[k].size);
        assert_memory_equal(bytes, samples[k].file, size);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, take_classic)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loaded_detector_judges_bit_equal),
        TEST(saving_again_gives_the_same_bytes),
        TEST(writing_to_a_descriptor_gives_the_same_bytes),
        TEST(all_of_the_detector_comes_back),
        TEST(the_preparation_comes_back),
        TEST(options_are_repeated_as_they_were_given),
        TEST(every_option_can_be_kept),
        TEST(the_container_follows_the_safetensors_format),
        TEST(a_classic_network_is_stored_as_pytorch_layers),
        TEST(every_part_has_its_tensors),
        TEST(a_tied_network_is_stored_as_an_ordinary_one),
        TEST(only_options_that_were_given_are_kept),
        TEST(a_file_cut_anywhere_is_refused),
        TEST(a_changed_weight_is_noticed),
        TEST(a_changed_byte_of_the_header_never_crashes),
        TEST(hostile_files_are_refused_with_the_reason),
        TEST(hostile_parts_are_refused_with_the_reason),
        TEST(a_preparation_of_other_features_is_refused),
        TEST(every_value_of_the_document_is_checked),
        TEST(a_missing_tensor_is_named),
        TEST(a_tensor_of_another_shape_is_named),
        TEST(a_number_that_is_not_finite_is_refused_in_every_tensor),
        TEST(absurd_numbers_never_crash),
        TEST(bytes_behind_the_last_tensor_are_refused),
        TEST(a_key_that_comes_twice_is_refused),
        TEST(a_header_above_the_limit_is_refused),
        TEST(a_rebuilt_file_is_taken_wherever_its_tensors_stand),
        TEST(calibration_errors_are_the_same_however_they_are_written),
        TEST(errors_that_stand_twice_are_not_cut),
        TEST(other_files_are_told_what_they_are_not),
        TEST(errors_name_file_and_reason),
        TEST(a_file_of_format_1_judges_as_ever),
        TEST(a_file_of_format_1_reads_as_preset_fast),
        TEST(a_file_of_format_1_is_saved_in_the_current_one),
        TEST(a_file_of_format_1_is_checked_as_well),
        TEST(a_file_of_format_3_judges_as_ever),
        TEST(loading_survives_every_failed_allocation),
        TEST(saving_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
