#include "detector/detector.h"

#include "base/sort.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/movement.h"
#include "detector/relevance.h"
#include "detector/scaler.h"
#include "detector/whole.h"
#include "nn/blas.h"
#include "nn/kernel_check.h"
#include "nn/vector.h"
#include "nn/workspace.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 16 /* rows whose terms wait for their verdict */

struct detector {
    struct schema *schema;
    struct preparation *preparation; /* or NULL */
    struct ensemble ensemble;
    struct calibration *calibration;
    struct explanation *explanation; /* or NULL */
    struct relevance *relevance;     /* or NULL */
    struct training_summary summary;
    struct wholes *wholes; /* or NULL */
};

void detector_init(void)
{
    blas_use_one_thread();
}

int detector_check(struct error *reterr)
{
    char kernels[DETECTOR_KERNELS_SIZE];
    const char *what = "";

    int r = kernel_check(KERNEL_TOLERANCE, &what);
    if (r == 0)
        return 0;
    detector_print_kernels(kernels);
    return r == -EIO
               ? error_set(reterr, r,
                           "%s (kernels %s) comes out wrong on this machine: no score would "
                           "be right; memory or processor may be broken, or OPENBLAS_CORETYPE "
                           "says what the processor is not",
                           what, kernels)
               : error_set(reterr, r, "out of memory");
}

const char *detector_kernel(void)
{
    return blas_kernel();
}

void detector_print_kernels(char ret_kernels[DETECTOR_KERNELS_SIZE])
{
    (void)snprintf(ret_kernels, DETECTOR_KERNELS_SIZE, "%s %s", blas_kernel(), vector_kernel());
}

int detector_new(struct schema *schema, struct preparation *preparation, struct ensemble *ensemble,
                 struct calibration *calibration, struct explanation *explanation,
                 struct relevance *relevance, const struct training_summary *summary,
                 struct detector **ret_detector)
{
    assert(schema && ensemble && calibration && summary);
    assert(ensemble->encoding->n_features == schema_n_features(schema));

    const struct detector parts = {schema,      preparation, *ensemble, calibration,
                                   explanation, relevance,   *summary,  NULL};
    struct detector *detector = malloc(sizeof(*detector));
    if (!detector) {
        schema_free(schema);
        preparation_free(preparation);
        ensemble_clear(ensemble);
        calibration_free(calibration);
        explanation_free(explanation);
        relevance_release(relevance);
        return -ENOMEM;
    }
    *detector = parts;
    detector->ensemble.imputer = explanation;
    *ensemble = (struct ensemble){0};
    const bool has_wholes = preparation && explanation && explanation->precision;
    int r = has_wholes ? wholes_new(preparation, explanation, &detector->wholes) : 0;
    if (r < 0)
        detector_free(detector);
    else
        *ret_detector = detector;
    return r;
}

void detector_free(struct detector *detector)
{
    if (!detector)
        return;
    wholes_free(detector->wholes);
    schema_free(detector->schema);
    preparation_free(detector->preparation);
    ensemble_clear(&detector->ensemble);
    calibration_free(detector->calibration);
    explanation_free(detector->explanation);
    relevance_release(detector->relevance);
    free(detector);
}

const struct schema *detector_schema(const struct detector *detector)
{
    return detector->schema;
}

struct preparation *detector_preparation(const struct detector *detector)
{
    return detector->preparation;
}

const struct schema *detector_values(const struct detector *detector)
{
    return detector->preparation ? detector->preparation->values : detector->schema;
}

struct vocabulary detector_vocabulary(const struct detector *detector)
{
    return vocabulary_of(detector->preparation, detector->schema);
}

const struct ensemble *detector_ensemble(const struct detector *detector)
{
    return &detector->ensemble;
}

const struct calibration *detector_calibration(const struct detector *detector)
{
    return detector->calibration;
}

const struct explanation *detector_explanation(const struct detector *detector)
{
    return detector->explanation;
}

struct relevance *detector_relevance(const struct detector *detector)
{
    return detector->relevance;
}

const struct training_summary *detector_summary(const struct detector *detector)
{
    return &detector->summary;
}

size_t detector_n_features(const struct detector *detector)
{
    return schema_n_features(detector->schema);
}

int detector_workspace_new(struct workspace **ret_workspace)
{
    struct workspace *workspace = calloc(1, sizeof(*workspace));

    if (!workspace)
        return -ENOMEM;
    *ret_workspace = workspace;
    return 0;
}

void detector_workspace_free(struct workspace *workspace)
{
    if (!workspace)
        return;
    workspace_clear(workspace);
    free(workspace);
}

int detector_score(const struct detector *detector, struct workspace *workspace, const float *rows,
                   size_t n_rows, double threshold, struct verdict *ret_verdicts)
{
    assert(threshold > 0.0);
    const struct ensemble *ensemble = &detector->ensemble;
    const size_t d = detector_n_features(detector);
    float *scratch = workspace_get(workspace, ensemble_scratch_floats(ensemble));
    if (!scratch)
        return -ENOMEM;

    for (size_t begin = 0; begin < n_rows; begin += BLOCK) {
        struct ensemble_terms terms[BLOCK];
        const size_t n = n_rows - begin < BLOCK ? n_rows - begin : BLOCK;

        ensemble_terms(ensemble, scratch, rows + begin * d, n, ensemble->n_networks, terms);
        for (size_t i = 0; i < n; i++) {
            const double error = ensemble_error(ensemble, &terms[i]);
            ret_verdicts[begin + i] = (struct verdict){
                .reconstruction_error = error,
                .score = error / threshold,
                .p_value = calibration_p_value(detector->calibration, error),
                .anomaly = error > threshold,
                .n_imputed = (unsigned)terms[i].n_missing,
            };
        }
    }
    return 0;
}

int detector_follow(const struct detector *detector, struct workspace *workspace, const float *row,
                    struct movement *movement)
{
    if (!detector->explanation)
        return 0;
    float *z = workspace_get(workspace, detector_n_features(detector));
    if (!z)
        return -ENOMEM;
    (void)scaler_apply(detector->ensemble.scaler, row, z);
    movement_follow(movement, detector->explanation->jumps, row, z);
    return 0;
}

/* ---- which features a row is unusual by ---- */

/* What explaining one row works on: all in one block of the workspace. */
struct explaining {
    const struct detector *detector;
    const float *row;
    double *weights;          /* [n_features] how much of the blame */
    struct sort_item *blames; /* [n_features] these, on their way to their places */
    float *z, *unusual, *expected;
    bool *is_missing;
    float *scratch;
};

/* As if it were missing. */
static float z_of_median(const struct scaler *scaler, size_t j)
{
    return (scaler_median(scaler)[j] - scaler_mean(scaler)[j]) / scaler_std(scaler)[j];
}

/* Doubles first, for their alignment; flags last. */
static int begin_explaining(const struct detector *detector, struct workspace *workspace,
                            const float *row, const bool *is_aside, struct explaining *explaining)
{
    const size_t d = detector_n_features(detector);
    const struct explanation *explanation = detector->explanation;
    const size_t by_parts = ensemble_scratch_floats(&detector->ensemble);
    const size_t by_faults = explanation ? explanation_scratch_floats(explanation) : 0;
    const size_t at_least = by_parts > by_faults ? by_parts : by_faults;
    const size_t n_scratch = at_least > 2 * d ? at_least : 2 * d; /* for sorting */
    float *block = workspace_get(workspace, 8 * d + n_scratch);
    if (!block)
        return -ENOMEM;

    *explaining = (struct explaining){
        .detector = detector,
        .row = row,
        .weights = (double *)(void *)block,
        .blames = (struct sort_item *)(void *)(block + 2 * d),
        .z = block + 4 * d,
        .unusual = block + 5 * d,
        .expected = block + 6 * d,
        .is_missing = (bool *)(block + 7 * d),
        .scratch = block + 8 * d,
    };
    (void)scaler_apply(detector->ensemble.scaler, row, explaining->z);
    for (size_t j = 0; j < d; j++) {
        const bool is_set_aside = is_aside && is_aside[j];
        explaining->is_missing[j] = isnan(row[j]) || is_set_aside;
        if (is_set_aside)
            explaining->z[j] = z_of_median(detector->ensemble.scaler, j);
    }
    return 0;
}

static void weigh(const struct explaining *explaining, const float *hold)
{
    for (size_t j = 0; j < detector_n_features(explaining->detector); j++) {
        const float z = fabsf(explaining->z[j]), unusual = explaining->unusual[j];
        const float weight = hold ? expf(0.7F * logf(hold[j]) + 0.3F * logf(unusual))
                                  : fmaxf(z - 3.0F, 0.0F) + 0.1F * z + 0.1F * unusual;
        explaining->weights[j] = explaining->is_missing[j] ? 0.0 : (double)weight;
    }
}

/* The weights by what the networks leave; the caller may weigh them once more by movement. */
static void weigh_by_parts(const struct explaining *explaining, const float *hold)
{
    ensemble_parts(&explaining->detector->ensemble, explaining->scratch, explaining->row,
                   explaining->weights);
    for (size_t j = 0; j < detector_n_features(explaining->detector); j++) {
        explaining->weights[j] = explaining->is_missing[j] ? 0.0 : explaining->weights[j];
        explaining->unusual[j] = (float)explaining->weights[j];
    }
    if (hold && explaining->detector->explanation)
        weigh(explaining, hold);
}

/* In the user's units. */
static void list_expected(const struct explaining *explaining, float *ret_expected)
{
    const struct explanation *explanation = explaining->detector->explanation;
    const struct scaler *scaler = explaining->detector->ensemble.scaler;
    const float *mean = scaler_mean(scaler), *std = scaler_std(scaler);
    const size_t d = detector_n_features(explaining->detector);

    if (!explanation || !explanation->precision) {
        memcpy(ret_expected, scaler_median(scaler), d * sizeof(*ret_expected));
        return;
    }
    for (size_t j = 0; j < d; j++)
        ret_expected[j] = mean[j] + std[j] * explaining->expected[j];
}

/* The largest share first. */
static void list_contributions(const struct explaining *explaining,
                               struct contribution *ret_contributions)
{
    const struct explanation *explanation = explaining->detector->explanation;
    const struct scaler *scaler = explaining->detector->ensemble.scaler;
    const float *mean = scaler_mean(scaler), *std = scaler_std(scaler);
    const size_t d = detector_n_features(explaining->detector);
    struct sort_item *const blames = explaining->blames;
    double sum = 0.0;

    for (size_t j = 0; j < d; j++) {
        blames[j] = (struct sort_item){(float)explaining->weights[j], (uint32_t)j};
        sum += (double)blames[j].value;
    }
    list_expected(explaining, explaining->expected);
    if (explaining->detector->wholes)
        wholes_expect(explaining->detector->wholes, scaler, explaining->z,
                      explanation_freed(explanation, explaining->scratch), explaining->scratch,
                      explaining->expected);
    sort_items_down(blames, d, (struct sort_item *)(void *)explaining->scratch);
    for (size_t k = 0; k < d; k++) {
        const size_t j = blames[k].index;
        ret_contributions[k] = (struct contribution){
            .feature = j,
            .value = explaining->row[j],
            .expected = explaining->expected[j],
            .usual_low = explanation ? mean[j] + std[j] * explanation->usual_low[j] : NAN,
            .usual_high = explanation ? mean[j] + std[j] * explanation->usual_high[j] : NAN,
            .share = sum > 0.0 ? (double)blames[k].value / sum : 0.0,
        };
    }
}

/* expected NULL: nobody wants to know. */
static void find_weights(const struct explaining *explaining, const float *hold, float *expected)
{
    const struct explanation *explanation = explaining->detector->explanation;

    if (explanation && explanation->precision) {
        explanation_find_faults(explanation, explaining->scratch, explaining->z,
                                explaining->is_missing, explaining->unusual, expected);
        weigh(explaining, hold);
    } else {
        weigh_by_parts(explaining, hold);
    }
}

int detector_explain(const struct detector *detector, struct workspace *workspace, const float *row,
                     const float *hold, const bool *is_aside,
                     struct contribution *ret_contributions)
{
    struct explaining explaining;

    int r = begin_explaining(detector, workspace, row, is_aside, &explaining);
    if (r < 0)
        return r;
    find_weights(&explaining, hold, explaining.expected);
    list_contributions(&explaining, ret_contributions);
    return 0;
}

int detector_blame(const struct detector *detector, struct workspace *workspace, const float *row,
                   const float *hold, const bool *is_aside, double *ret_weights)
{
    struct explaining explaining;

    int r = begin_explaining(detector, workspace, row, is_aside, &explaining);
    if (r < 0)
        return r;
    find_weights(&explaining, hold, NULL);
    memcpy(ret_weights, explaining.weights, detector_n_features(detector) * sizeof(*ret_weights));
    return 0;
}

int detector_expect(const struct detector *detector, struct workspace *workspace, const float *row,
                    const bool *is_aside, float *ret_expected)
{
    const struct explanation *explanation = detector->explanation;
    struct explaining explaining;

    int r = begin_explaining(detector, workspace, row, is_aside, &explaining);
    if (r < 0)
        return r;
    if (explanation && explanation->precision)
        explanation_find_faults(explanation, explaining.scratch, explaining.z,
                                explaining.is_missing, NULL, explaining.expected);
    list_expected(&explaining, ret_expected);
    return 0;
}
