/* The document is taken apart in the order of the functions below; the longest sections are in
 * model_read_networks.c and model_read_training.c. */
#include "base/checksum.h"
#include "base/number.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/clusters.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/model_errors.h"
#include "detector/model_file.h"
#include "detector/model_parts.h"
#include "detector/model_reader.h"
#include "detector/movement.h"
#include "detector/pareto_tail.h"
#include "detector/preparation_json.h"
#include "detector/prototypes.h"
#include "detector/rank_gauss.h"
#include "detector/relevance.h"
#include "detector/safetensors.h"
#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int read_schema(struct model_reader *reader, struct schema **ret_schema)
{
    const json_t *names = model_find(reader, "schema", "features");
    const size_t n = json_array_size(names);
    const char *texts[SCHEMA_MAX_FEATURES];

    if (n == 0 || n > SCHEMA_MAX_FEATURES)
        return model_damaged(reader, "schema.features is not a list of 1 to 4096 names");
    for (size_t i = 0; i < n; i++) {
        texts[i] = json_string_value(json_array_get(names, i));
        if (!texts[i])
            return model_damaged(reader, "schema.features holds something that is not a name");
    }
    struct error problem;
    int r = schema_new(texts, n, ret_schema, &problem);
    reader->n_features = n;
    return r < 0 ? error_set_at(reader->reterr, r, reader->file, 0, "schema.features: %s",
                                problem.text)
                 : 0;
}

/* There where rows are not judged as they come. */
static int read_preparation(const struct model_reader *reader, const struct schema *schema,
                            struct preparation **ret_preparation)
{
    const json_t *document = json_object_get(reader->document, "preparation");
    struct error problem = {0};

    if (!document)
        return 0;
    int r = preparation_from_json(document, ret_preparation, &problem);
    if (r < 0)
        return r == -ENOMEM ? r : model_damaged(reader, problem.text);
    return schema_equals((*ret_preparation)->features, schema)
               ? 0
               : model_damaged(reader, "preparation makes other features than the schema's");
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

static int read_scaler(const struct model_reader *reader, struct scaler **ret_scaler)
{
    const size_t n = reader->n_features;
    assert(n > 0);
    AUTO_FREE float *values = calloc(3 * n, sizeof(*values));
    if (!values)
        return -ENOMEM;

    int r = floats_from_json(model_find(reader, "scaler", "mean"), n, values);
    if (r == 0)
        r = floats_from_json(model_find(reader, "scaler", "std"), n, values + n);
    if (r == 0)
        r = floats_from_json(model_find(reader, "scaler", "median"), n, values + 2 * n);
    if (r == 0)
        r = scaler_new(values, values + n, values + 2 * n, n, ret_scaler);
    return r == -EINVAL
               ? model_damaged(reader, "scaler: mean, std and median must each have a finite "
                                       "number a feature, std above 0")
               : r;
}

static int read_rank_gauss(const struct model_reader *reader, struct rank_gauss **ret_rank_gauss)
{
    const float *values = NULL, *quantiles = NULL;

    int r = model_read_tensor(reader, "encoding.rank_gauss.values", reader->n_features,
                              RANK_GAUSS_KNOTS, &values);
    if (r == 0)
        r = model_read_tensor(reader, "encoding.rank_gauss.quantiles", reader->n_features,
                              RANK_GAUSS_KNOTS, &quantiles);
    if (r == 0)
        r = rank_gauss_new(values, quantiles, reader->n_features, ret_rank_gauss);
    return r == -EINVAL && !*reader->reterr->text
               ? model_damaged(reader,
                               "encoding.rank_gauss: values and quantiles must be finite and "
                               "must not fall")
               : r;
}

static int read_encoding(const struct model_reader *reader, struct encoding **ret_encoding)
{
    const json_t *has_ranks = model_find(reader, "encoding", "rank_gauss");
    const float *gain = NULL, *shift = NULL;
    struct rank_gauss *rank_gauss = NULL;

    if (reader->version == 1)
        return encoding_new_standard(reader->n_features, ret_encoding);
    int r = model_read_tensor(reader, "encoding.gain", reader->n_features, 0, &gain);
    if (r == 0)
        r = model_read_tensor(reader, "encoding.shift", reader->n_features, 0, &shift);
    if (r == 0 && !json_is_boolean(has_ranks))
        return model_damaged(reader, "encoding.rank_gauss is neither true nor false");
    if (r == 0 && json_is_true(has_ranks))
        r = read_rank_gauss(reader, &rank_gauss);
    if (r < 0)
        return r;
    r = encoding_new(gain, shift, reader->n_features, rank_gauss, ret_encoding);
    return r == -EINVAL ? model_damaged(reader, "encoding: a gain or shift is not finite") : r;
}

/* ---- prototypes, clusters ---- */

static int read_part(const struct model_reader *reader, const char *part, json_int_t most,
                     size_t *ret_count, double *ret_median)
{
    const json_t *document = model_find(reader, "parts", part);
    const json_int_t count = model_count(json_object_get(document, "count"), 0, most);
    const double median = json_number_value(json_object_get(document, "median"));

    if ((ret_count && count < 0) || !(median > 0.0) || !isfinite(median))
        return model_damaged(reader,
                             "parts: networks, prototypes and clusters need a median above 0, "
                             "the last two a count (at most 4096 and 64)");
    if (ret_count)
        *ret_count = (size_t)count;
    *ret_median = median;
    return 0;
}

static int read_prototypes(const struct model_reader *reader, size_t n, struct prototypes **ret)
{
    const float *centroids = NULL;

    int r = model_read_tensor(reader, "prototypes.centroids", n, reader->n_features, &centroids);
    if (r < 0)
        return r;
    r = prototypes_new(centroids, n, reader->n_features, ret);
    return r == -EINVAL ? model_damaged(reader, "prototypes.centroids: a number is not finite") : r;
}

static int read_clusters(const struct model_reader *reader, size_t n, struct clusters **ret)
{
    const size_t d = reader->n_features;
    const float *centers = NULL, *whitening = NULL;

    int r = model_read_tensor(reader, "clusters.centers", n, d, &centers);
    if (r == 0)
        r = model_read_tensor(reader, "clusters.whitening", n * d, d, &whitening);
    if (r < 0)
        return r;
    r = clusters_new(centers, whitening, n, d, ret);
    return r == -EINVAL ? model_damaged(reader, "clusters: a number is not finite") : r;
}

static int read_parts(const struct model_reader *reader, struct ensemble *ensemble)
{
    size_t n_prototypes = 0, n_clusters = 0;

    if (!ensemble->residuals[0])
        return 0;
    int r = read_part(reader, "networks", 0, NULL, &ensemble->median_networks);
    if (r == 0)
        r = read_part(reader, "prototypes", PROTOTYPES_MAX, &n_prototypes,
                      &ensemble->median_prototypes);
    if (r == 0)
        r = read_part(reader, "clusters", CLUSTERS_MAX, &n_clusters, &ensemble->median_clusters);
    if (r == 0 && n_prototypes > 0)
        r = read_prototypes(reader, n_prototypes, &ensemble->prototypes);
    if (r == 0 && n_clusters > 0)
        r = read_clusters(reader, n_clusters, &ensemble->clusters);
    return r;
}

/* ---- calibration ---- */

/* The list itself, unless it was cut out. */
static size_t list_errors(const json_t *array, double ret_errors[CALIBRATION_MAX_ERRORS])
{
    const size_t n = json_array_size(array);

    for (size_t i = 0; i < n && i < CALIBRATION_MAX_ERRORS; i++) {
        const json_t *value = json_array_get(array, i);
        ret_errors[i] = json_is_number(value) ? json_number_value(value) : (double)NAN;
    }
    return n;
}

static int read_calibration(const struct model_reader *reader, struct calibration **ret_calibration)
{
    const json_t *array = model_find(reader, "calibration", "errors");
    const json_t *document = model_find(reader, "calibration", "tail");
    const json_int_t n_rows = model_count(model_find(reader, "calibration", "rows"), 1, INT64_MAX);
    const bool is_cut = json_is_array(array) && reader->errors->header;
    double list[CALIBRATION_MAX_ERRORS];
    const size_t n_listed = list_errors(array, list);
    const double *errors = is_cut && n_listed == 0 ? reader->errors->errors : list;
    const size_t n = is_cut && n_listed == 0 ? reader->errors->n_errors : n_listed;
    const struct pareto_tail tail = {
        .level = model_real(document, "level"),
        .scale = model_real(document, "scale"),
        .shape = model_real(document, "shape"),
        .share = model_real(document, "share"),
    };
    int r = n_rows < 0 ? -EINVAL : 0;
    if (r == 0)
        r = calibration_new(errors, n, (size_t)n_rows, document ? &tail : NULL, ret_calibration);
    return r == -EINVAL
               ? model_damaged(reader,
                               "calibration: errors must be 1 to 4096 sorted numbers not below "
                               "0, rows at least as many, the tail a generalised Pareto's")
               : r;
}

/* ---- explanation ---- */

static int read_explanation(const struct model_reader *reader, struct explanation **ret_explanation)
{
    const json_t *document = json_object_get(reader->document, "explanation");
    const json_t *has_precision = json_object_get(document, "precision");
    const size_t d = reader->n_features;
    const float *ranges = NULL, *jumps = NULL, *precision = NULL;

    if (!document)
        return 0;
    if (!json_is_boolean(has_precision))
        return model_damaged(reader, "explanation.precision is neither true nor false");
    int r = model_read_tensor(reader, "explanation.ranges", 4, d, &ranges);
    if (r == 0)
        r = model_read_tensor(reader, "explanation.jumps", MOVEMENT_WINDOWS, d, &jumps);
    if (r == 0 && json_is_true(has_precision))
        r = model_read_tensor(reader, "explanation.precision", d, d, &precision);
    if (r < 0)
        return r;
    r = explanation_new(precision, ranges, jumps, d, ret_explanation);
    return r == -EINVAL ? model_damaged(reader, "explanation: ranges, jumps and precision must be "
                                                "finite, ranges in order, jumps not below 0, "
                                                "precision symmetric, its diagonal above 0")
                        : r;
}

/* ---- relevance ---- */

static int read_relevance(const struct model_reader *reader, const struct preparation *preparation,
                          const struct schema *schema, struct relevance **ret_relevance)
{
    const struct vocabulary vocabulary = vocabulary_of(preparation, schema);
    const json_t *document = json_object_get(reader->document, "relevance");
    CLEANUP(relevance_releasep) struct relevance *relevance = NULL;

    if (!document)
        return 0;
    int r = relevance_from_json(document, &relevance);
    if (r == 0)
        r = relevance_check(relevance, &vocabulary, NULL, NULL);
    if (r < 0)
        return r == -EINVAL ? model_damaged(reader, "relevance: direction and tolerance must say "
                                                    "of features that there are what train takes")
                            : r;
    *ret_relevance = TAKE(relevance);
    return 0;
}

/* ---- all of it ---- */

/* Format, version and checksum; the document itself. */
static int open_document(struct model_reader *reader, json_t **ret_document)
{
    const json_t *metadata = json_object_get(reader->header, "__metadata__");
    const char *format = json_string_value(json_object_get(metadata, "format"));
    const char *version = json_string_value(json_object_get(metadata, "format_version"));
    const char *text = json_string_value(json_object_get(metadata, "detector"));
    char checksum[SHA256_HEX_SIZE];
    json_error_t problem;

    if (!format || strcmp(format, "anomalyd") != 0 || !version || !text)
        return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                            "is a safetensors file, but not a model file of anomalyctl train");
    if (number_parse_u64(version, strlen(version), &reader->version) < 0 || reader->version == 0 ||
        reader->version > MODEL_FILE_VERSION)
        return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                            "has format version %.16s, this program reads up to %d; use a newer "
                            "anomalyd",
                            version, MODEL_FILE_VERSION);
    json_auto_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(document))
        return model_damaged(reader, document ? "not an object" : problem.text);

    const char *sha256 = json_string_value(json_object_get(document, "sha256"));
    sha256_hex(reader->tensors, reader->tensors_size, checksum);
    if (!sha256 || strcmp(sha256, checksum) != 0)
        return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                            "the weights do not match their SHA-256; the file is damaged");
    *ret_document = TAKE(document);
    return 0;
}

int model_read(const char *name, const json_t *header, const struct safetensors *parts,
               const struct model_errors *errors, struct detector **ret_detector,
               struct error *reterr)
{
    json_auto_t *document = NULL;
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;
    CLEANUP(ensemble_clear) struct ensemble ensemble = {0};
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    CLEANUP(explanation_freep) struct explanation *explanation = NULL;
    CLEANUP(relevance_releasep) struct relevance *relevance = NULL;
    struct training_summary summary;
    struct error unwanted = {0};
    struct model_reader reader = {
        .file = name,
        .header = header,
        .errors = errors,
        .tensors = parts->tensors,
        .tensors_size = parts->tensors_size,
        .reterr = reterr ? reterr : &unwanted,
    };

    *reader.reterr = (struct error){0};
    int r = open_document(&reader, &document);
    reader.document = document;
    if (r == 0)
        r = read_schema(&reader, &schema);
    if (r == 0)
        r = read_preparation(&reader, schema, &preparation);
    if (r == 0)
        r = read_scaler(&reader, &ensemble.scaler);
    if (r == 0)
        r = read_encoding(&reader, &ensemble.encoding);
    if (r == 0)
        r = model_read_networks(&reader, &ensemble);
    if (r == 0)
        r = read_parts(&reader, &ensemble);
    if (r == 0)
        r = read_calibration(&reader, &calibration);
    if (r == 0)
        r = read_explanation(&reader, &explanation);
    if (r == 0)
        r = read_relevance(&reader, preparation, schema, &relevance);
    if (r == 0)
        r = model_read_training(&reader, ensemble.n_networks, &summary);
    if (r < 0)
        return r;
    return detector_new(TAKE(schema), TAKE(preparation), &ensemble, TAKE(calibration),
                        TAKE(explanation), TAKE(relevance), &summary, ret_detector);
}
