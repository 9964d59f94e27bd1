#include "detector/whole.h"

#include "data/preparation.h"
#include "data/schema.h"
#include "detector/explanation.h"
#include "detector/scaler.h"
#include "nn/covariance.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct whole {
    size_t input;
    size_t n_columns;  /* of all rows that the model sees */
    float *covariance; /* [n_columns][n_columns] inverse(P_MM), given all other columns */
};

struct wholes {
    const struct preparation *preparation;
    const struct explanation *explanation;
    size_t n;
    struct whole whole[]; /* [n] */
};

/* Where the input's columns of the row `lag` rows behind stand. */
static size_t first_column(const struct preparation *preparation, size_t input, size_t lag)
{
    return lag * preparation->n_columns + preparation->input[input].column;
}

/* Copies the columns of all rows out of values[n_features]. */
static void gather(const struct preparation *preparation, size_t input, const float *values,
                   float *ret)
{
    const size_t n = preparation->input[input].n_columns;

    for (size_t lag = 0; lag < preparation->context; lag++)
        memcpy(ret + lag * n, values + first_column(preparation, input, lag), n * sizeof(*ret));
}

static int find_covariance(const struct preparation *preparation,
                           const struct explanation *explanation, struct whole *whole)
{
    const size_t n = whole->n_columns, of_one = preparation->input[whole->input].n_columns;
    AUTO_FREE double *block = malloc(2 * n * n * sizeof(*block));
    float *covariance = whole->covariance = malloc(n * n * sizeof(*covariance));
    if (!block || !covariance)
        return -ENOMEM;

    for (size_t k = 0; k < n; k++) {
        const size_t j = first_column(preparation, whole->input, k / of_one) + k % of_one;
        gather(preparation, whole->input, explanation->precision + j * explanation->n_features,
               covariance + k * n);
    }
    for (size_t k = 0; k < n * n; k++)
        block[k] = (double)covariance[k];
    int r = covariance_invert(block, n, block + n * n);
    for (size_t k = 0; r == 0 && k < n * n; k++)
        covariance[k] = (float)block[n * n + k];
    return r;
}

int wholes_new(const struct preparation *preparation, const struct explanation *explanation,
               struct wholes **ret_wholes)
{
    assert(preparation && explanation->precision && ret_wholes);
    const size_t n_inputs = schema_n_features(preparation->inputs);
    CLEANUP(wholes_freep)
    struct wholes *wholes = calloc(1, sizeof(*wholes) + n_inputs * sizeof(wholes->whole[0]));
    if (!wholes)
        return -ENOMEM;

    wholes->preparation = preparation;
    wholes->explanation = explanation;
    for (size_t i = 0; i < n_inputs; i++) {
        const size_t n_columns = preparation->input[i].n_columns;
        if (n_columns == 1)
            continue;
        struct whole *whole = &wholes->whole[wholes->n++];
        *whole = (struct whole){.input = i, .n_columns = n_columns * preparation->context};
        int r = find_covariance(preparation, explanation, whole);
        if (r < 0)
            return r;
    }
    *ret_wholes = TAKE(wholes);
    return 0;
}

void wholes_free(struct wholes *wholes)
{
    if (!wholes)
        return;
    for (size_t i = 0; i < wholes->n; i++)
        free(wholes->whole[i].covariance);
    free(wholes);
}

/* The nearest value there is, from what its columns of one row were expected to be. */
static void tell(const struct wholes *wholes, const struct scaler *scaler, size_t input,
                 size_t first, const float *z, float *ret_expected)
{
    const struct explanation *explanation = wholes->explanation;
    float *const expected = ret_expected + first;

    for (size_t c = 0; c < wholes->preparation->input[input].n_columns; c++) {
        const size_t j = first + c;
        const float within = fminf(fmaxf(z[c], explanation->low[j]), explanation->high[j]);
        expected[c] = scaler_mean(scaler)[j] + scaler_std(scaler)[j] * within;
    }
    preparation_columns(wholes->preparation, input,
                        preparation_value(wholes->preparation, input, expected), expected);
}

void wholes_expect(const struct wholes *wholes, const struct scaler *scaler, const float *z,
                   const float *freed, float *room, float *ret_expected)
{
    const struct preparation *preparation = wholes->preparation;
    const size_t d = wholes->explanation->n_features;
    float *const mean = room, *const other = room + d;

    for (size_t i = 0; i < wholes->n; i++) {
        const struct whole *whole = &wholes->whole[i];
        const size_t n = whole->n_columns, of_one = preparation->input[whole->input].n_columns;
        gather(preparation, whole->input, z, mean);
        gather(preparation, whole->input, freed, other);
        vector_add(mean, -1.0F, other, n);
        gather(preparation, whole->input, freed + d, other);
        for (size_t k = 0; k < n; k++)
            vector_add(mean, -other[k], whole->covariance + k * n, n);
        for (size_t lag = 0; lag < preparation->context; lag++)
            tell(wholes, scaler, whole->input, first_column(preparation, whole->input, lag),
                 mean + lag * of_one, ret_expected);
    }
}
