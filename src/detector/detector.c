#include "detector/detector.h"

#include "data/preparation.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/movement.h"
#include "detector/scaler.h"
#include "nn/blas.h"
#include "nn/vector.h"
#include "nn/workspace.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK 64 /* rows whose terms wait for their verdict */

struct detector {
    struct schema *schema;
    struct preparation *preparation; /* or NULL */
    struct ensemble ensemble;
    struct calibration *calibration;
    struct explanation *explanation; /* or NULL */
    struct training_summary summary;
};

void detector_init(void)
{
    blas_use_one_thread();
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
                 const struct training_summary *summary, struct detector **ret_detector)
{
    assert(schema && ensemble && calibration && summary);
    assert(ensemble->encoding->n_features == schema_n_features(schema));

    const struct detector parts = {schema,      preparation, *ensemble,
                                   calibration, explanation, *summary};
    struct detector *detector = malloc(sizeof(*detector));
    if (!detector) {
        schema_free(schema);
        preparation_free(preparation);
        ensemble_clear(ensemble);
        calibration_free(calibration);
        explanation_free(explanation);
        return -ENOMEM;
    }
    *detector = parts;
    detector->ensemble.imputer = explanation;
    *ensemble = (struct ensemble){0};
    *ret_detector = detector;
    return 0;
}

void detector_free(struct detector *detector)
{
    if (!detector)
        return;
    schema_free(detector->schema);
    preparation_free(detector->preparation);
    ensemble_clear(&detector->ensemble);
    calibration_free(detector->calibration);
    explanation_free(detector->explanation);
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
    const struct preparation *preparation = detector->preparation;

    return (struct vocabulary){preparation ? preparation->inputs : detector->schema, preparation};
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
    double *weights; /* [n_features] how much of the blame */
    struct blame *blames;
    float *z, *unusual, *expected;
    bool *is_missing;
    float *scratch;
};

/* Doubles first, for their alignment; flags last. */
static int begin_explaining(const struct detector *detector, struct workspace *workspace,
                            const float *row, struct explaining *explaining)
{
    const size_t d = detector_n_features(detector);
    const struct explanation *explanation = detector->explanation;
    const size_t by_parts = ensemble_scratch_floats(&detector->ensemble);
    const size_t by_faults = explanation ? explanation_scratch_floats(explanation) : 0;
    const size_t n_scratch = by_parts > by_faults ? by_parts : by_faults;
    float *block = workspace_get(workspace, 8 * d + n_scratch);
    if (!block)
        return -ENOMEM;

    *explaining = (struct explaining){
        .detector = detector,
        .row = row,
        .weights = (double *)(void *)block,
        .blames = (struct blame *)(void *)(block + 2 * d),
        .z = block + 4 * d,
        .unusual = block + 5 * d,
        .expected = block + 6 * d,
        .is_missing = (bool *)(block + 7 * d),
        .scratch = block + 8 * d,
    };
    (void)scaler_apply(detector->ensemble.scaler, row, explaining->z);
    for (size_t j = 0; j < d; j++)
        explaining->is_missing[j] = isnan(row[j]);
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
    if (!hold || !explaining->detector->explanation)
        return;
    for (size_t j = 0; j < detector_n_features(explaining->detector); j++)
        explaining->unusual[j] = (float)explaining->weights[j];
    weigh(explaining, hold);
}

/* A weight on its way to its place. */
struct blame {
    float weight;
    unsigned feature;
};

static int by_weight(const void *a, const void *b)
{
    const struct blame *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

/* In the user's units. */
static struct contribution contribution_of(const struct explaining *explaining, struct blame blame,
                                           double sum)
{
    const struct explanation *explanation = explaining->detector->explanation;
    const struct scaler *scaler = explaining->detector->ensemble.scaler;
    const size_t j = blame.feature;
    const float mean = scaler_mean(scaler)[j], std = scaler_std(scaler)[j];

    return (struct contribution){
        .feature = j,
        .value = explaining->row[j],
        .expected = explanation && explanation->precision ? mean + std * explaining->expected[j]
                                                          : scaler_median(scaler)[j],
        .usual_low = explanation ? mean + std * explanation->usual_low[j] : NAN,
        .usual_high = explanation ? mean + std * explanation->usual_high[j] : NAN,
        .share = sum > 0.0 ? (double)blame.weight / sum : 0.0,
    };
}

/* The largest share first. */
static void list_contributions(const struct explaining *explaining,
                               struct contribution *ret_contributions)
{
    const size_t d = detector_n_features(explaining->detector);
    struct blame *const blames = explaining->blames;
    double sum = 0.0;

    for (size_t j = 0; j < d; j++) {
        blames[j] = (struct blame){(float)explaining->weights[j], (unsigned)j};
        sum += (double)blames[j].weight;
    }
    qsort(blames, d, sizeof(*blames), by_weight);
    for (size_t j = 0; j < d; j++)
        ret_contributions[j] = contribution_of(explaining, blames[j], sum);
}

int detector_explain(const struct detector *detector, struct workspace *workspace, const float *row,
                     const float *hold, struct contribution *ret_contributions)
{
    const struct explanation *explanation = detector->explanation;
    struct explaining explaining;

    int r = begin_explaining(detector, workspace, row, &explaining);
    if (r < 0)
        return r;
    if (explanation && explanation->precision) {
        explanation_find_faults(explanation, explaining.scratch, explaining.z,
                                explaining.is_missing, explaining.unusual, explaining.expected);
        weigh(&explaining, hold);
    } else {
        weigh_by_parts(&explaining, hold);
    }
    list_contributions(&explaining, ret_contributions);
    return 0;
}
