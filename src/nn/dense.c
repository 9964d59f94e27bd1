#include "nn/dense.h"

#include "nn/tiles.h"
#include "nn/vector.h"

#include <cblas.h>

#define MOST_IN_TILES 512 /* width; above, a factor does not stay in the caches */

static bool is_small(struct dense_shape shape)
{
    return shape.n_in <= MOST_IN_TILES && shape.n_out <= MOST_IN_TILES;
}

size_t dense_scratch_floats(size_t n_in, size_t n_out)
{
    const size_t forward = tiles_factor_floats(n_in, n_out);
    const size_t backward = tiles_factor_floats(n_out, n_in);

    if (!is_small((struct dense_shape){.n_in = n_in, .n_out = n_out}))
        return 0;
    return forward > backward ? forward : backward;
}

/* ---- in tiles ---- */

static void forward_in_tiles(float *out, const float *in, const float *weight, const float *bias,
                             struct dense_shape shape, float *scratch)
{
    tiles_pack(scratch, weight, bias, shape.n_in, shape.n_out, !shape.is_tied);
    tiles_best()->multiply(out, in, scratch, shape.n_rows, shape.n_in, shape.n_out);
}

static void backward_in_tiles(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                              const float *in, const float *weight, struct dense_shape shape,
                              float *scratch)
{
    const struct tiles *tiles = tiles_best();
    const float one = 1.0F; /* the whole left column */

    tiles->add_products(d_bias, &one, 0, d_out, shape.n_rows, 1, shape.n_out);
    if (shape.is_tied)
        tiles->add_products(d_weight, in, shape.n_in, d_out, shape.n_rows, shape.n_in, shape.n_out);
    else
        tiles->add_products(d_weight, d_out, shape.n_out, in, shape.n_rows, shape.n_out,
                            shape.n_in);
    if (!d_in)
        return;
    tiles_pack(scratch, weight, NULL, shape.n_out, shape.n_in, shape.is_tied);
    tiles->multiply(d_in, d_out, scratch, shape.n_rows, shape.n_out, shape.n_in);
}

/* ---- with OpenBLAS ---- */

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

/* ---- either ---- */

void dense_forward(float *out, const float *in, const float *weight, const float *bias,
                   struct dense_shape shape, float *scratch)
{
    const int rows = (int)shape.n_rows, wide = (int)shape.n_in, high = (int)shape.n_out;

    if (is_small(shape)) {
        forward_in_tiles(out, in, weight, bias, shape, scratch);
        return;
    }
    if (shape.is_tied) /* out = in · weight */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, high, wide, 1.0F, in, wide,
                    weight, high, 0.0F, out, high);
    else /* out = in · weightᵀ */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, high, wide, 1.0F, in, wide,
                    weight, wide, 0.0F, out, high);
    add_bias(out, bias, shape.n_rows, shape.n_out);
}

void dense_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
                    const float *in, const float *weight, struct dense_shape shape, float *scratch)
{
    if (is_small(shape)) {
        backward_in_tiles(d_in, d_weight, d_bias, d_out, in, weight, shape, scratch);
        return;
    }
    add_rows(d_bias, d_out, shape.n_rows, shape.n_out);
    if (shape.is_tied)
        tied_backward(d_in, d_weight, d_out, in, weight, shape);
    else
        untied_backward(d_in, d_weight, d_out, in, weight, shape);
}
