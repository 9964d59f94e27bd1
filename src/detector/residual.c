#include "detector/residual.h"

#include "detector/scaler.h"
#include "nn/network.h"

#include <math.h>

/* Weights of a hostile file may overflow on the way; the error must stay a number. */
#define RESIDUAL_LIMIT 1e15F

size_t residual_scratch_floats(const struct network *network)
{
    return network->layers[0].n_in + network_inference_floats(network);
}

double residual_compute(const struct scaler *scaler, const struct network *network, float *scratch,
                        const float *row, float *ret_residuals, size_t *ret_n_missing)
{
    const size_t d = network->layers[0].n_in;
    float *scaled = scratch;
    double sum = 0.0;

    const size_t n_missing = scaler_apply(scaler, row, scaled);
    network_infer(network, scratch + d, scaled, ret_residuals);
    for (size_t j = 0; j < d; j++) {
        float residual = scaled[j] - ret_residuals[j];
        residual = fminf(fmaxf(residual, -RESIDUAL_LIMIT), RESIDUAL_LIMIT); /* NaN: the limit */
        ret_residuals[j] = residual = isnan(row[j]) ? 0.0F : residual;
        sum += (double)residual * (double)residual;
    }
    *ret_n_missing = n_missing;
    return n_missing < d ? sum / (double)(d - n_missing) : 0.0;
}
