#include "nn/dense.h"

#include "nn/vector.h"

#include <cblas.h>

/* out[n_rows][n_out] += bias in each row */
VECTOR_CLONES static void add_bias(float *restrict out, const float *restrict bias, size_t n_rows,
                                   size_t n_out)
{
    for (size_t r = 0; r < n_rows; r++, out += n_out)
        for (size_t o = 0; o < n_out; o++)
            out[o] += bias[o];
}

/* bias[n_out] += the columns' sums of d_out */
VECTOR_CLONES static void add_rows(float *restrict d_bias, const float *restrict d_out,
                                   size_t n_rows, size_t n_out)
{
    for (size_t r = 0; r < n_rows; r++, d_out += n_out)
        for (size_t o = 0; o < n_out; o++)
            d_bias[o] += d_out[o];
}

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   struct dense_shape shape)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    if (shape.is_tied) /* out = in · weight */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, high, wide, 1.0F, in, wide,
                    weight, high, 0.0F, out, high);
    else /* out = in · weightᵀ */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, high, wide, 1.0F, in, wide,
                    weight, wide, 0.0F, out, high);
    add_bias(out, bias, shape.n_rows, shape.n_out);
}

static void tied_backward(float *d_in, float *d_weight, const float *d_out, const float *in,
                          const float *weight, struct dense_shape shape)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    /* d_weight += inᵀ · d_out */
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, wide, high, rows, 1.0F, in, wide, d_out,
                high, 1.0F, d_weight, high);
    /* d_in = d_out · weightᵀ */
    if (d_in)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, wide, high, 1.0F, d_out, high,
                    weight, high, 0.0F, d_in, wide);
}

static void untied_backward(float *d_in, float *d_weight, const float *d_out, const float *in,
                            const float *weight, struct dense_shape shape)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    /* d_weight += d_outᵀ · in */
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, high, wide, rows, 1.0F, d_out, high, in,
                wide, 1.0F, d_weight, wide);
    /* d_in = d_out · weight */
    if (d_in)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, wide, high, 1.0F, d_out, high,
                    weight, wide, 0.0F, d_in, wide);
}

void dense_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                    const float *in, const float *weight, struct dense_shape shape)
{
    add_rows(d_bias, d_out, shape.n_rows, shape.n_out);
    if (shape.is_tied)
        tied_backward(d_in, d_weight, d_out, in, weight, shape);
    else
        untied_backward(d_in, d_weight, d_out, in, weight, shape);
}
