#include "detector/model_file.h"

#include "base/checksum.h"
#include "base/file.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/safetensors.h"
#include "detector/scaler.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct detector *saved;
static char path[] = "/tmp/test_model_file.XXXXXX";
static char *file;
static size_t file_size;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    detector_init();
    saved = tiny_detector(1);
    assert_non_null(saved);
    CLEANUP(close_fd) int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(model_file_save(saved, path, &error), 0);
    assert_int_equal(file_read(path, 1 << 20, &file, &file_size, &error), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(saved);
    free(file);
    (void)unlink(path);
    return 0;
}

static void a_loaded_detector_judges_bit_equal(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *loaded = NULL;
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    float rows[20 * TINY_FEATURES];
    struct verdict before[20], after[20];

    assert_int_equal(model_file_load(path, &loaded, &error), 0);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    tiny_rows(9, rows, 20);
    assert_int_equal(detector_score(saved, workspace, rows, 20, 1.0, before), 0);
    assert_int_equal(detector_score(loaded, workspace, rows, 20, 1.0, after), 0);
    for (size_t i = 0; i < 20; i++) {
        assert_true(before[i].reconstruction_error == after[i].reconstruction_error);
        assert_true(before[i].p_value == after[i].p_value);
    }
}

static void all_of_the_detector_comes_back(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *loaded = NULL;

    assert_int_equal(model_file_load(path, &loaded, &error), 0);
    assert_string_equal(schema_name(detector_schema(loaded), 5), "f");
    assert_memory_equal(detector_summary(loaded), detector_summary(saved),
                        sizeof(struct training_summary));
    assert_memory_equal(scaler_std(detector_scaler(loaded)), scaler_std(detector_scaler(saved)),
                        TINY_FEATURES * sizeof(float));
    assert_true(calibration_threshold(detector_calibration(loaded), 0.05) ==
                calibration_threshold(detector_calibration(saved), 0.05));
}

static void saving_twice_gives_the_same_bytes(void **state)
{
    (void)state;
    AUTO_FREE char *again = NULL;
    size_t size;

    assert_int_equal(model_file_save(saved, path, &error), 0);
    assert_int_equal(file_read(path, 1 << 20, &again, &size, &error), 0);
    assert_int_equal(size, file_size);
    assert_memory_equal(again, file, size);
}

static uint64_t header_length(void)
{
    uint64_t little;

    memcpy(&little, file, sizeof(little));
    return le64toh(little);
}

/* What any tool of the safetensors ecosystem relies on. */
static void the_container_follows_the_safetensors_format(void **state)
{
    (void)state;
    json_auto_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    json_t *weight = json_object_get(header, "networks.0.encoder.0.weight");

    assert_non_null(header);
    assert_int_equal(header_length() % 8, 0);
    assert_string_equal(json_string_value(json_object_get(weight, "dtype")), "F32");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(weight, "shape"), 0)), 4);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(weight, "shape"), 1)), 6);
    assert_non_null(json_object_get(header, "networks.0.encoder.2.bias"));
    assert_non_null(json_object_get(header, "networks.0.decoder.0.weight"));
    assert_non_null(json_object_get(header, "networks.0.decoder.2.bias"));
    assert_null(json_object_get(header, "networks.0.decoder.4.bias"));
    assert_memory_equal(file + 8 + header_length(), detector_network(saved)->params,
                        detector_network(saved)->n_params * sizeof(float));
}

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
    AUTO_FREE char *changed = malloc(file_size);
    struct random random;

    assert_non_null(changed);
    random_seed(&random, 1);
    for (size_t trial = 0; trial < 3000; trial++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        memcpy(changed, file, file_size);
        changed[random_below(&random, 8 + (size_t)header_length())] = (char)random_u64(&random);
        int r = model_file_parse("bad", changed, file_size, &detector, &error);
        assert_true(r == 0 || r == -EINVAL);
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

/* Rebuilds the file with the header, or the detector document in it, changed by edit(). */
static char *edited(void (*edit)(json_t *header, json_t *document), size_t *ret_size)
{
    json_auto_t *header = json_loadb(file + 8, (size_t)header_length(), 0, NULL);
    json_t *metadata = json_object_get(header, "__metadata__");
    json_auto_t *document =
        json_loads(json_string_value(json_object_get(metadata, "detector")), 0, NULL);

    edit(header, document);
    AUTO_FREE char *text = json_dumps(document, JSON_REAL_PRECISION(17));
    if (json_object_get(header, "__metadata__"))
        (void)json_object_set_new(metadata, "detector", json_string(text));
    AUTO_FREE char *dumped = json_dumps(header, 0);
    return with_header(dumped, strlen(dumped), ret_size);
}

static json_t *at(json_t *json, const char *key)
{
    return json_object_get(json, key);
}

static json_t *network_of(json_t *document)
{
    return json_array_get(at(at(document, "architecture"), "networks"), 0);
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

EDIT(nothing, 0)
EDIT(no_metadata, json_object_del(header, "__metadata__"))
EDIT(other_format, json_object_set_new(at(header, "__metadata__"), "format", json_string("pt")))
EDIT(newer, json_object_set_new(at(header, "__metadata__"), "format_version", json_string("2")))
EDIT(number_as_metadata, json_object_set_new(at(header, "__metadata__"), "x", json_integer(1)))
EDIT(half_precision, json_object_set_new(at(header, WEIGHT), "dtype", json_string("F16")))
EDIT(no_shape, json_object_del(at(header, WEIGHT), "shape"))
EDIT(huge_shape, json_array_set_new(at(at(header, WEIGHT), "shape"), 0, json_integer(1LL << 62)))
EDIT(negative_shape, json_array_set_new(at(at(header, WEIGHT), "shape"), 0, json_integer(-4)))
EDIT(turned_shape, (json_array_set_new(at(at(header, WEIGHT), "shape"), 0, json_integer(6)),
                    json_array_set_new(at(at(header, WEIGHT), "shape"), 1, json_integer(4))))
EDIT(offset_beyond, (set_offset(header, WEIGHT, 0, 1 << 20), set_offset(header, WEIGHT, 1, 0), 0))
EDIT(negative_offset, (set_offset(header, WEIGHT, 0, -96), 0))
EDIT(overlap, (set_offset(header, "networks.0.encoder.0.bias", 0, 0),
               set_offset(header, "networks.0.encoder.0.bias", 1, 16), 0))
EDIT(tensor_gone, json_object_del(header, WEIGHT))
EDIT(tensor_renamed, (json_object_set(header, "networks.1.encoder.0.weight", at(header, WEIGHT)),
                      json_object_del(header, WEIGHT)))
static void too_many_tensors(json_t *header, json_t *document)
{
    (void)document;
    for (size_t i = 0; i < 4097; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "x.%zu", i);
        (void)json_object_set_new(
            header, name,
            json_pack("{s:s, s:[i], s:[i, i]}", "dtype", "F32", "shape", 0, "data_offsets", 0, 0));
    }
}

EDIT(no_names, json_object_del(at(document, "schema"), "features"))
EDIT(same_name_twice,
     json_array_set_new(at(at(document, "schema"), "features"), 0, json_string("b")))
EDIT(number_as_name, json_array_set_new(at(at(document, "schema"), "features"), 0, json_integer(1)))
EDIT(name_too_many, json_array_append_new(at(at(document, "schema"), "features"), json_string("x")))
EDIT(wide_layer, json_array_set_new(at(network_of(document), "widths"), 1, json_integer(65536)))
EDIT(zero_layer, json_array_set_new(at(network_of(document), "widths"), 1, json_integer(0)))
EDIT(softmax,
     json_array_set_new(at(network_of(document), "activations"), 0, json_string("softmax")))
EDIT(all_encoder, json_object_set_new(network_of(document), "encoder_layers", json_integer(4)))
EDIT(two_networks,
     json_array_append(at(at(document, "architecture"), "networks"), network_of(document)))
EDIT(zero_deviation, json_array_set_new(at(at(document, "scaler"), "std"), 0, json_real(0)))
EDIT(huge_mean, json_array_set_new(at(at(document, "scaler"), "mean"), 0, json_real(1e300)))
EDIT(short_median, json_array_remove(at(at(document, "scaler"), "median"), 0))
EDIT(text_as_error,
     json_array_set_new(at(at(document, "calibration"), "errors"), 0, json_string("x")))
EDIT(unsorted_errors,
     json_array_set_new(at(at(document, "calibration"), "errors"), 0, json_real(1e9)))
EDIT(no_errors, json_array_clear(at(at(document, "calibration"), "errors")))
EDIT(too_few_rows, json_object_set_new(at(document, "calibration"), "rows", json_integer(1)))
EDIT(no_seed, json_object_del(at(at(document, "training"), "options"), "seed"))
EDIT(rate_of_two,
     json_object_set_new(at(at(document, "training"), "options"), "false_alarm_rate", json_real(2)))
EDIT(other_residual, json_object_set_new(at(document, "residual"), "kind", json_string("x")))
EDIT(no_checksum, json_object_del(document, "sha256"))

static void hostile_files_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        void (*edit)(json_t *header, json_t *document);
        const char *reason;
    } cases[] = {
        {no_metadata,        "no __metadata__"                     },
        {other_format,       "not a model file"                    },
        {newer,              "use a newer anomalyd"                },
        {number_as_metadata, "not a string"                        },
        {half_precision,     "not of type F32"                     },
        {no_shape,           "no shape"                            },
        {huge_shape,         "impossible shape"                    },
        {negative_shape,     "impossible shape"                    },
        {turned_shape,       "shape that the architecture"         },
        {offset_beyond,      "do not fit"                          },
        {negative_offset,    "no offsets"                          },
        {overlap,            "overlaps"                            },
        {tensor_gone,        "overlaps another one or leaves a gap"},
        {tensor_renamed,     "has no tensor"                       },
        {too_many_tensors,   "more than 4096 tensors"              },
        {no_names,           "schema.features"                     },
        {same_name_twice,    "schema.features"                     },
        {number_as_name,     "schema.features"                     },
        {name_too_many,      "as wide as the schema"               },
        {wide_layer,         "do not fit the layers"               },
        {zero_layer,         "do not fit the layers"               },
        {softmax,            "unknown activation"                  },
        {all_encoder,        "impossible layers"                   },
        {two_networks,       "one network"                         },
        {zero_deviation,     "scaler"                              },
        {huge_mean,          "scaler"                              },
        {short_median,       "scaler"                              },
        {text_as_error,      "calibration"                         },
        {unsorted_errors,    "calibration"                         },
        {no_errors,          "calibration"                         },
        {too_few_rows,       "calibration"                         },
        {no_seed,            "training.options.seed"               },
        {rate_of_two,        "false_alarm_rate"                    },
        {other_residual,     "residual.kind"                       },
        {no_checksum,        "SHA-256"                             },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t size;
        AUTO_FREE char *data = edited(cases[i].edit, &size);
        expect_refusal(data, size, cases[i].reason);
    }
}

/* Whoever writes such a file computes its checksum, too. */
static void a_weight_that_is_no_number_is_refused_whatever_the_checksum_says(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const size_t begin = 8 + (size_t)header_length();

    for (size_t i = 0; i < 3; i++) {
        AUTO_FREE char *changed = malloc(file_size);
        char before[SHA256_HEX_SIZE], after[SHA256_HEX_SIZE];
        assert_non_null(changed);
        memcpy(changed, file, file_size);
        memcpy(changed + file_size - sizeof(float), &bad[i], sizeof(float));
        sha256_hex(file + begin, file_size - begin, before);
        sha256_hex(changed + begin, file_size - begin, after);
        char *at_checksum = memmem(changed, begin, before, strlen(before));
        assert_non_null(at_checksum);
        memcpy(at_checksum, after, strlen(after));
        expect_refusal(changed, file_size, "a weight is not a finite number");
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

static void an_unchanged_rebuilt_file_is_taken(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    size_t size;
    AUTO_FREE char *data = edited(nothing, &size);

    assert_int_equal(model_file_parse("good", data, size, &detector, &error), 0);
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
    assert_int_equal(model_file_save(saved, "/nonexistent/m.safetensors", &error), -ENOENT);
    assert_memory_equal(error.text, "/nonexistent/m.safetensors: cannot write", 40);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        alloc_fail_in = nth;
        r = model_file_parse("m", file, file_size, &detector, &error);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 5); /* it did fail some */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_detector_judges_bit_equal),
        cmocka_unit_test(all_of_the_detector_comes_back),
        cmocka_unit_test(saving_twice_gives_the_same_bytes),
        cmocka_unit_test(the_container_follows_the_safetensors_format),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_weight_is_noticed),
        cmocka_unit_test(a_changed_byte_of_the_header_never_crashes),
        cmocka_unit_test(hostile_files_are_refused_with_the_reason),
        cmocka_unit_test(a_weight_that_is_no_number_is_refused_whatever_the_checksum_says),
        cmocka_unit_test(bytes_behind_the_last_tensor_are_refused),
        cmocka_unit_test(a_key_that_comes_twice_is_refused),
        cmocka_unit_test(a_header_above_the_limit_is_refused),
        cmocka_unit_test(an_unchanged_rebuilt_file_is_taken),
        cmocka_unit_test(other_files_are_told_what_they_are_not),
        cmocka_unit_test(errors_name_file_and_reason),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
