#include "nn/pca.h"

#include "nn/covariance.h"
#include "nn/lapack.h"
#include "nn/network.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

/* The n_wanted largest eigenvalues of matrix[n][n] (destroyed) and their vectors[n_wanted][n],
 * smallest first. values[n] is more than the answer needs: LAPACK wants the room. */
static int largest_eigen(double *matrix, size_t n, size_t n_wanted, double *values, double *vectors)
{
    const int width = (int)n, first = (int)(n - n_wanted + 1), ask = -1;
    const double unused = 0.0, tolerance = 0.0;
    int n_found = 0, info = 0, n_integers = 0;
    double n_doubles = 0.0;
    AUTO_FREE int *support = calloc(2 * n_wanted, sizeof(*support));
    if (!support)
        return -ENOMEM;

    dsyevr_("V", "I", "U", &width, matrix, &width, &unused, &unused, &first, &width, &tolerance,
            &n_found, values, vectors, &width, support, &n_doubles, &ask, &n_integers, &ask, &info,
            1, 1, 1);
    if (info != 0)
        return -EDOM;

    const int n_work = (int)n_doubles;
    AUTO_FREE double *work = calloc((size_t)n_work, sizeof(*work));
    AUTO_FREE int *integers = calloc((size_t)n_integers, sizeof(*integers));
    if (!work || !integers)
        return -ENOMEM;
    dsyevr_("V", "I", "U", &width, matrix, &width, &unused, &unused, &first, &width, &tolerance,
            &n_found, values, vectors, &width, support, work, &n_work, integers, &n_integers, &info,
            1, 1, 1);
    return info == 0 && n_found == (int)n_wanted ? 0 : -EDOM;
}

/* An eigenvector may point either way; ours always the same. */
static double sign_of(const double *vector, size_t n)
{
    size_t largest = 0;

    for (size_t j = 1; j < n; j++)
        if (fabs(vector[j]) > fabs(vector[largest]))
            largest = j;
    return vector[largest] < 0 ? -1.0 : 1.0;
}

int pca_fit(const float *rows, size_t n_rows, size_t n, size_t n_components, float *ret_mean,
            float *ret_vectors, double *ret_values, double *ret_trace)
{
    assert(rows && n_rows > 0 && n_components > 0 && n_components <= n);
    AUTO_FREE double *mean = calloc(n, sizeof(*mean));
    AUTO_FREE double *covariance = calloc(n * n, sizeof(*covariance));
    AUTO_FREE double *values = calloc(n, sizeof(*values));
    AUTO_FREE double *vectors = calloc(n_components * n, sizeof(*vectors));
    if (!mean || !covariance || !values || !vectors)
        return -ENOMEM;

    int r = covariance_empirical(rows, n_rows, n, mean, covariance);
    if (r < 0)
        return r;
    double trace = 0.0;
    for (size_t j = 0; j < n; j++)
        trace += covariance[j * n + j];
    if (!isfinite(trace)) /* LAPACK need not return from these */
        return -EDOM;
    r = largest_eigen(covariance, n, n_components, values, vectors);
    if (r < 0)
        return r;

    for (size_t j = 0; j < n; j++)
        ret_mean[j] = (float)mean[j];
    for (size_t c = 0; c < n_components; c++) {
        const size_t from = n_components - 1 - c;
        const double sign = sign_of(vectors + from * n, n);
        for (size_t j = 0; j < n; j++)
            ret_vectors[c * n + j] = (float)(sign * vectors[from * n + j]);
        ret_values[c] = fmax(values[from], 0.0); /* rounding puts a zero on either side */
    }
    *ret_trace = trace;
    return 0;
}

static void set_layers(struct network *network, const float *mean, const float *vectors)
{
    const struct layer *encoder = &network->layers[0], *decoder = &network->layers[1];
    const size_t n = encoder->n_in, n_codes = encoder->n_out;
    float *params = network->params;

    memcpy(params + encoder->weight, vectors, n_codes * n * sizeof(*vectors));
    memcpy(params + decoder->bias, mean, n * sizeof(*mean));
    for (size_t c = 0; c < n_codes; c++) {
        double code_of_mean = 0.0;
        for (size_t j = 0; j < n; j++)
            code_of_mean += (double)vectors[c * n + j] * (double)mean[j];
        params[encoder->bias + c] = (float)-code_of_mean;
        if (!decoder->is_tied)
            for (size_t j = 0; j < n; j++)
                params[decoder->weight + j * n_codes + c] = vectors[c * n + j];
    }
}

int pca_init_network(struct network *network, const float *rows, size_t n_rows)
{
    assert(network && network->n_layers == 2 && network->n_encoder_layers == 1 &&
           !network->bounded && network->layers[0].activation == ACTIVATION_LINEAR &&
           network->layers[1].activation == ACTIVATION_LINEAR);
    const size_t n = network->layers[0].n_in, n_codes = network->layers[0].n_out;
    double trace;
    AUTO_FREE float *mean = calloc(n, sizeof(*mean));
    AUTO_FREE float *vectors = calloc(n_codes * n, sizeof(*vectors));
    AUTO_FREE double *values = calloc(n_codes, sizeof(*values));
    if (!mean || !vectors || !values)
        return -ENOMEM;

    int r = pca_fit(rows, n_rows, n, n_codes, mean, vectors, values, &trace);
    if (r < 0)
        return r;
    set_layers(network, mean, vectors);
    return 0;
}
