#include "nn/dense.h"

#include <cblas.h>
#include <string.h>

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   struct dense_shape shape)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    for (size_t i = 0; i < shape.n_rows; i++)
        memcpy(out + i * shape.n_out, bias, shape.n_out * sizeof(*out));
    /* out += in · weightᵀ */
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, high, wide, 1.0F, in, wide, weight,
                wide, 1.0F, out, high);
}

void dense_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                    const float *in, const float *weight, struct dense_shape shape)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    for (size_t i = 0; i < shape.n_rows; i++)
        cblas_saxpy(high, 1.0F, d_out + i * shape.n_out, 1, d_bias, 1);
    /* d_weight += d_outᵀ · in */
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, high, wide, rows, 1.0F, d_out, high, in,
                wide, 1.0F, d_weight, wide);
    /* d_in = d_out · weight */
    if (d_in)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, wide, high, 1.0F, d_out, high,
                    weight, wide, 0.0F, d_in, wide);
}

void dense_infer(float *restrict out, const float *restrict in, const float *restrict transposed,
                 const float *restrict bias, size_t n_in, size_t n_out)
{
    memcpy(out, bias, n_out * sizeof(*out));
    for (size_t i = 0; i < n_in; i++, transposed += n_out)
        for (size_t o = 0; o < n_out; o++)
            out[o] += in[i] * transposed[o];
}
