#include "detector/detector.h"

#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/blas.h"
#include "nn/network.h"
#include "nn/workspace.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct detector {
    struct schema *schema;
    struct scaler *scaler;
    struct network *network;
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

int detector_new(struct schema *schema, struct scaler *scaler, struct network *network,
                 struct calibration *calibration, const struct training_summary *summary,
                 struct detector **ret_detector)
{
    assert(schema && scaler && network && calibration && summary);
    assert(scaler_n_features(scaler) == schema_n_features(schema));
    assert(network->layers[0].n_in == schema_n_features(schema));

    const struct detector parts = {schema, scaler, network, calibration, *summary};
    struct detector *detector = malloc(sizeof(*detector));
    if (!detector) {
        schema_free(schema);
        scaler_free(scaler);
        network_free(network);
        calibration_free(calibration);
        return -ENOMEM;
    }
    *detector = parts;
    *ret_detector = detector;
    return 0;
}

void detector_free(struct detector *detector)
{
    if (!detector)
        return;
    schema_free(detector->schema);
    scaler_free(detector->scaler);
    network_free(detector->network);
    calibration_free(detector->calibration);
    free(detector);
}

const struct schema *detector_schema(const struct detector *detector)
{
    return detector->schema;
}

const struct scaler *detector_scaler(const struct detector *detector)
{
    return detector->scaler;
}

const struct network *detector_network(const struct detector *detector)
{
    return detector->network;
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
    const size_t d = detector_n_features(detector);
    float *residuals = workspace_get(workspace, d + residual_scratch_floats(detector->network));
    if (!residuals)
        return -ENOMEM;

    for (size_t i = 0; i < n_rows; i++, rows += d) {
        size_t n_missing;
        const double error = residual_compute(detector->scaler, detector->network, residuals + d,
                                              rows, residuals, &n_missing);
        ret_verdicts[i] = (struct verdict){
            .reconstruction_error = error,
            .score = error / threshold,
            .p_value = calibration_p_value(detector->calibration, error),
            .anomaly = error > threshold,
            .n_imputed = (unsigned)n_missing,
        };
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
    const float *median = scaler_median(detector->scaler);
    float *residuals = workspace_get(workspace, d + residual_scratch_floats(detector->network));
    if (!residuals)
        return -ENOMEM;

    size_t n_missing;
    const double error = residual_compute(detector->scaler, detector->network, residuals + d, row,
                                          residuals, &n_missing);
    const double sum = error * (double)(d - n_missing);
    for (size_t j = 0; j < d; j++)
        ret_contributions[j] = (struct contribution){
            .feature = j,
            .value = row[j],
            .expected = median[j],
            .share = sum > 0.0 ? (double)residuals[j] * (double)residuals[j] / sum : 0.0,
        };
    qsort(ret_contributions, d, sizeof(*ret_contributions), by_share);
    return 0;
}
