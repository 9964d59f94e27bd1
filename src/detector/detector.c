#include "detector/detector.h"

#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/encoding.h"
#include "detector/scaler.h"
#include "nn/blas.h"
#include "nn/vector.h"
#include "nn/workspace.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK 64 /* rows whose terms wait for their verdict */

struct detector {
    struct schema *schema;
    struct ensemble ensemble;
    struct calibration *calibration;
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

int detector_new(struct schema *schema, struct ensemble *ensemble, struct calibration *calibration,
                 const struct training_summary *summary, struct detector **ret_detector)
{
    assert(schema && ensemble && calibration && summary);
    assert(ensemble->encoding->n_features == schema_n_features(schema));

    const struct detector parts = {schema, *ensemble, calibration, *summary};
    struct detector *detector = malloc(sizeof(*detector));
    if (!detector) {
        schema_free(schema);
        ensemble_clear(ensemble);
        calibration_free(calibration);
        return -ENOMEM;
    }
    *detector = parts;
    *ensemble = (struct ensemble){0};
    *ret_detector = detector;
    return 0;
}

void detector_free(struct detector *detector)
{
    if (!detector)
        return;
    schema_free(detector->schema);
    ensemble_clear(&detector->ensemble);
    calibration_free(detector->calibration);
    free(detector);
}

const struct schema *detector_schema(const struct detector *detector)
{
    return detector->schema;
}

const struct ensemble *detector_ensemble(const struct detector *detector)
{
    return &detector->ensemble;
}

const struct calibration *detector_calibration(const struct detector *detector)
{
    return detector->calibration;
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

static int by_share(const void *a, const void *b)
{
    const struct contribution *x = a, *y = b;

    if (x->share != y->share)
        return x->share < y->share ? 1 : -1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

int detector_explain(const struct detector *detector, struct workspace *workspace, const float *row,
                     struct contribution *ret_contributions)
{
    const size_t d = detector_n_features(detector);
    const float *median = scaler_median(detector->ensemble.scaler);
    const size_t n_parts = 2 * d; /* doubles, as floats */
    float *scratch =
        workspace_get(workspace, n_parts + ensemble_scratch_floats(&detector->ensemble));
    if (!scratch)
        return -ENOMEM;

    double *parts = (double *)(void *)scratch, sum = 0.0;
    ensemble_parts(&detector->ensemble, scratch + n_parts, row, parts);
    for (size_t j = 0; j < d; j++)
        sum += parts[j];
    for (size_t j = 0; j < d; j++)
        ret_contributions[j] = (struct contribution){
            .feature = j,
            .value = row[j],
            .expected = median[j],
            .share = sum > 0.0 ? parts[j] / sum : 0.0,
        };
    qsort(ret_contributions, d, sizeof(*ret_contributions), by_share);
    return 0;
}
