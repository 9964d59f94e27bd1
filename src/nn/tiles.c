#include "nn/tiles.h"

#include "nn/vector.h"

#include <string.h>

#define TILES_VECTORS 3                                      /* registers of a row of a tile */
#define MOST_REST     (2 * TILES_VECTORS * TILES_MOST_LANES) /* see find_rest() */

/* What a tile multiplies: left[r * left_row] · right[n_vectors], n_sums times a step further. */
struct operands {
    const float *left, *right;
    size_t left_row, left_step, right_step, n_sums;
};

struct product {
    float *out;
    const float *in, *factor;
    size_t n_rows, n_in, n_out, stride;
};

struct gradient {
    float *sums; /* of the first column of the group */
    const float *left, *right;
    size_t left_stride, n_right;
    size_t n_columns;        /* of the group */
    size_t n_direct, n_rest; /* rows of right, and of those the rest */
    const float *rest;
};

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Floats from row to row of a factor of n columns. */
static inline size_t factor_stride(size_t n)
{
    return (n + TILES_MOST_LANES - 1) / TILES_MOST_LANES * TILES_MOST_LANES;
}

/* The registers of a row in groups of about the same size. */
struct columns {
    size_t n_vectors, n_groups;
};

static inline struct columns divide_columns(size_t n, size_t n_lanes)
{
    const size_t n_vectors = (n + n_lanes - 1) / n_lanes;

    return (struct columns){n_vectors, (n_vectors + TILES_VECTORS - 1) / TILES_VECTORS};
}

static inline size_t first_vector(struct columns columns, size_t group)
{
    return group * columns.n_vectors / columns.n_groups;
}

static inline size_t tile_height(size_t n_left, size_t most)
{
    return n_left >= most ? most : n_left >= 4 ? 4 : n_left >= 2 ? 2 : 1;
}

/* Registers read over the end of a row; at the last rows, that would be over the end of the matrix.
 * Those are copied to where there is room behind them: less than a group's width of floats. */
static inline void find_rest(struct gradient *of, size_t n_rows, size_t column, size_t width,
                             float *rest)
{
    const size_t n_floats = n_rows * of->n_right - column;

    of->n_direct = n_floats < width ? 0 : (n_floats - width) / of->n_right + 1;
    of->n_direct = smaller(of->n_direct, n_rows);
    of->n_rest = n_rows - of->n_direct;
    if (of->n_rest > 0)
        memcpy(rest, of->right + of->n_direct * of->n_right,
               (n_floats - of->n_direct * of->n_right) * sizeof(*rest));
}

#define TILES(name)       name##_portable
#define TILES_TARGET      /* any */
#define TILES_LANES       4
#define TILES_ROWS        4
#define TILES_KERNEL_NAME "portable"
#include "nn/tiles_kernel.h"

#ifdef HAVE_TARGET_CLONES
#define TILES(name)       name##_fma
#define TILES_TARGET      __attribute__((target("arch=x86-64-v3")))
#define TILES_LANES       8
#define TILES_ROWS        4
#define TILES_KERNEL_NAME "fma"
#include "nn/tiles_kernel.h"

#define TILES(name)       name##_wide
#define TILES_TARGET      __attribute__((target("arch=x86-64-v4")))
#define TILES_LANES       16
#define TILES_ROWS        8
#define TILES_KERNEL_NAME "wide"
#include "nn/tiles_kernel.h"
#endif

const struct tiles *tiles_nth(size_t n)
{
    const struct tiles *kernels[3] = {&kernel_portable};
    size_t n_kernels = 1;

#ifdef HAVE_TARGET_CLONES
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        kernels[n_kernels++] = &kernel_fma;
    if (n_kernels > 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        kernels[n_kernels++] = &kernel_wide;
#endif
    return n < n_kernels ? kernels[n] : NULL;
}

const struct tiles *tiles_best(void)
{
    const struct tiles *best = tiles_nth(0);

    for (size_t n = 1; tiles_nth(n); n++)
        best = tiles_nth(n);
    return best;
}

size_t tiles_factor_floats(size_t n_in, size_t n_out)
{
    return (1 + n_in) * factor_stride(n_out);
}

/* Half of two vectors after the other: lanes i and j of the first, k and l of the second + 4. */
#ifdef __clang__
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) \
    __builtin_shuffle(a, b, (__attribute__((vector_size(16))) int){i, j, k, l})
#endif

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

/* 4 x 4 floats; rows of `to` are to_row apart, those of `from` from_row. */
static inline void transpose_quads(float *to, size_t to_row, const float *from, size_t from_row)
{
    const quad a = *(const quad *)from, b = *(const quad *)(from + from_row);
    const quad c = *(const quad *)(from + 2 * from_row), d = *(const quad *)(from + 3 * from_row);
    const quad ab_low = SHUFFLE(a, b, 0, 4, 1, 5), ab_high = SHUFFLE(a, b, 2, 6, 3, 7);
    const quad cd_low = SHUFFLE(c, d, 0, 4, 1, 5), cd_high = SHUFFLE(c, d, 2, 6, 3, 7);

    *(quad *)to = SHUFFLE(ab_low, cd_low, 0, 1, 4, 5);
    *(quad *)(to + to_row) = SHUFFLE(ab_low, cd_low, 2, 3, 6, 7);
    *(quad *)(to + 2 * to_row) = SHUFFLE(ab_high, cd_high, 0, 1, 4, 5);
    *(quad *)(to + 3 * to_row) = SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
}

/* Whole lines of the cache are written one after the other, or wide matrices would push out each
 * before it is full. */
static void transpose(float *factor, size_t stride, const float *matrix, size_t n_in, size_t n_out)
{
    const size_t in_quads = n_in / 4 * 4, out_quads = n_out / 4 * 4;

    for (size_t line = 0; line < out_quads; line += TILES_MOST_LANES)
        for (size_t i = 0; i < in_quads; i += 4)
            for (size_t o = line; o < smaller(line + TILES_MOST_LANES, out_quads); o += 4)
                transpose_quads(factor + i * stride + o, stride, matrix + o * n_in + i, n_in);
    for (size_t o = 0; o < n_out; o++) /* what is left of the inputs, then of the outputs */
        for (size_t i = o < out_quads ? in_quads : 0; i < n_in; i++)
            factor[i * stride + o] = matrix[o * n_in + i];
}

void tiles_pack(float *factor, const float *matrix, const float *bias, size_t n_in, size_t n_out,
                bool is_transposed)
{
    const size_t stride = factor_stride(n_out);

    for (size_t i = 0; i <= n_in; i++)
        for (size_t k = n_out; k < stride; k++)
            factor[i * stride + k] = 0.0F;
    if (bias)
        memcpy(factor, bias, n_out * sizeof(*factor));
    else
        memset(factor, 0, n_out * sizeof(*factor));
    factor += stride;
    if (is_transposed)
        transpose(factor, stride, matrix, n_in, n_out);
    else
        for (size_t i = 0; i < n_in; i++)
            memcpy(factor + i * stride, matrix + i * n_out, n_out * sizeof(*factor));
}
