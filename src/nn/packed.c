/* One kernel does everything: accumulate() keeps a tile of TILE_MAX · PACKED_WIDTH sums in
 * registers and adds input after input to it. A tile is one row times several panels, or several
 * rows times one panel; strides of 0 make the one into the other. With 8 floats in a register and
 * 4 cycles from one multiply-add to the next that uses its result, 4 parts are the least that keeps
 * two units busy; 6 leave room for the operands in 16 registers. */
#include "nn/packed.h"

#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT     64
#define TILE_ROWS     4
#define TILE_MAX      6
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Half a panel in a register. Only a typedef can lower a vector's alignment to that of a float. */
typedef float half_panel __attribute__((vector_size(32), aligned(4), may_alias));

struct packed {
    size_t n_in, n_out, n_panels;
    float *weight;   /* [n_panels][n_in][PACKED_WIDTH] */
    float *bias;     /* [n_panels * PACKED_WIDTH], in the same block */
    size_t n_used[]; /* [n_panels] inputs until the last weight that is not 0, never falling */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* packed_new() sees the matrix through its strides, so that a transpose is nothing special. */
struct source {
    const float *weight;
    size_t out_stride, in_stride;
};

static void copy_panel(struct packed *packed, size_t panel, const struct source *source)
{
    const size_t first = panel * PACKED_WIDTH;
    float *weight = packed->weight + first * packed->n_in;

    for (size_t i = 0; i < packed->n_in; i++, weight += PACKED_WIDTH)
        for (size_t k = 0; k < PACKED_WIDTH && first + k < packed->n_out; k++) {
            weight[k] = source->weight[(first + k) * source->out_stride + i * source->in_stride];
            if (weight[k] != 0.0F)
                packed->n_used[panel] = i + 1;
        }
    if (panel > 0 && packed->n_used[panel] < packed->n_used[panel - 1])
        packed->n_used[panel] = packed->n_used[panel - 1];
}

static int pack(const struct source *source, const float *bias, size_t n_in, size_t n_out,
                struct packed **ret_packed)
{
    assert(source->weight && n_in > 0 && n_out > 0 && ret_packed);
    const size_t n_panels = (n_out + PACKED_WIDTH - 1) / PACKED_WIDTH;
    const size_t n_floats = n_panels * PACKED_WIDTH * (n_in + 1);

    CLEANUP(packed_freep)
    struct packed *packed = calloc(1, sizeof(*packed) + n_panels * sizeof(*packed->n_used));
    if (!packed)
        return -ENOMEM;
    packed->n_in = n_in;
    packed->n_out = n_out;
    packed->n_panels = n_panels;
    if (posix_memalign((void **)&packed->weight, ALIGNMENT, n_floats * sizeof(float)) != 0)
        return -ENOMEM;
    packed->bias = packed->weight + n_panels * PACKED_WIDTH * n_in;
    memset(packed->weight, 0, n_floats * sizeof(float));
    if (bias)
        memcpy(packed->bias, bias, n_out * sizeof(float));
    for (size_t panel = 0; panel < n_panels; panel++)
        copy_panel(packed, panel, source);
    *ret_packed = TAKE(packed);
    return 0;
}

int packed_new(const float *matrix, const float *bias, size_t n_in, size_t n_out,
               struct packed **ret_packed)
{
    return pack(&(struct source){matrix, n_in, 1}, bias, n_in, n_out, ret_packed);
}

int packed_new_transposed(const float *matrix, const float *bias, size_t n_in, size_t n_out,
                          struct packed **ret_packed)
{
    return pack(&(struct source){matrix, 1, n_out}, bias, n_in, n_out, ret_packed);
}

void packed_free(struct packed *packed)
{
    if (!packed)
        return;
    free(packed->weight);
    free(packed);
}

size_t packed_stride(const struct packed *packed)
{
    return packed->n_panels * PACKED_WIDTH;
}

size_t packed_n_in(const struct packed *packed)
{
    return packed->n_in;
}

size_t packed_n_out(const struct packed *packed)
{
    return packed->n_out;
}

size_t packed_multiply_adds(const struct packed *packed)
{
    size_t n = 0;

    for (size_t panel = 0; panel < packed->n_panels; panel++)
        n += packed->n_used[panel] * PACKED_WIDTH;
    return n;
}

size_t packed_bytes(const struct packed *packed)
{
    return (packed_multiply_adds(packed) + packed_stride(packed)) * sizeof(float);
}

/* Where a tile's parts are. */
struct tile {
    float *out;
    const float *in, *weight;
    size_t out_stride, in_stride, weight_stride;
};

/* Adds n_in inputs to the sums of n_parts parts; inlined with n_parts and is_distance known. */
ALWAYS_INLINE void accumulate(struct tile tile, size_t n_parts, size_t n_in, bool is_distance)
{
    half_panel sums[TILE_MAX][2];

    VECTOR_UNROLL
    for (size_t p = 0; p < n_parts; p++) {
        const half_panel *out = (const half_panel *)(tile.out + p * tile.out_stride);
        sums[p][0] = out[0];
        sums[p][1] = out[1];
    }
    for (size_t i = 0; i < n_in; i++, tile.in++, tile.weight += PACKED_WIDTH) {
        VECTOR_UNROLL
        for (size_t p = 0; p < n_parts; p++) {
            const float in = tile.in[p * tile.in_stride];
            const half_panel *weight = (const half_panel *)(tile.weight + p * tile.weight_stride);
            sums[p][0] += is_distance ? (in - weight[0]) * (in - weight[0]) : in * weight[0];
            sums[p][1] += is_distance ? (in - weight[1]) * (in - weight[1]) : in * weight[1];
        }
    }
    VECTOR_UNROLL
    for (size_t p = 0; p < n_parts; p++) {
        half_panel *out = (half_panel *)(tile.out + p * tile.out_stride);
        out[0] = sums[p][0];
        out[1] = sums[p][1];
    }
}

ALWAYS_INLINE void accumulate_panels(struct tile tile, size_t n_panels, size_t n_in,
                                     bool is_distance)
{
    switch (n_panels) {
    case 1:
        accumulate(tile, 1, n_in, is_distance);
        break;
    case 2:
        accumulate(tile, 2, n_in, is_distance);
        break;
    case 3:
        accumulate(tile, 3, n_in, is_distance);
        break;
    case 4:
        accumulate(tile, 4, n_in, is_distance);
        break;
    case 5:
        accumulate(tile, 5, n_in, is_distance);
        break;
    default:
        accumulate(tile, TILE_MAX, n_in, is_distance);
        break;
    }
}

/* One row, in tiles of about equal width. Where the panels of a tile use more and more inputs, it
 * loses a panel as soon as that one has had all of its own. */
ALWAYS_INLINE void compute_row(const struct packed *packed, float *out, const float *in,
                               bool is_distance)
{
    const size_t n_tiles = (packed->n_panels + TILE_MAX - 1) / TILE_MAX;
    const size_t width = (packed->n_panels + n_tiles - 1) / n_tiles;

    for (size_t panel = 0, from = 0; panel < packed->n_panels; panel++) {
        const size_t end = smaller((panel / width + 1) * width, packed->n_panels);
        const size_t to = is_distance ? packed->n_in : packed->n_used[panel];

        if (panel % width == 0)
            from = 0;
        if (to == from)
            continue;
        accumulate_panels(
            (struct tile){
                .out = out + panel * PACKED_WIDTH,
                .in = in + from,
                .weight = packed->weight + (panel * packed->n_in + from) * PACKED_WIDTH,
                .out_stride = PACKED_WIDTH,
                .in_stride = 0,
                .weight_stride = packed->n_in * PACKED_WIDTH,
            },
            end - panel, to - from, is_distance);
        from = to;
    }
}

/* TILE_ROWS rows at a time; returns how many it did. */
ALWAYS_INLINE size_t compute_groups(const struct packed *packed, float *out, const float *in,
                                    size_t in_stride, size_t n_rows, bool is_distance)
{
    const size_t stride = packed_stride(packed), n_done = n_rows / TILE_ROWS * TILE_ROWS;

    for (size_t panel = 0; panel < packed->n_panels; panel++)
        for (size_t r = 0; r < n_done; r += TILE_ROWS)
            accumulate(
                (struct tile){
                    .out = out + r * stride + panel * PACKED_WIDTH,
                    .in = in + r * in_stride,
                    .weight = packed->weight + panel * packed->n_in * PACKED_WIDTH,
                    .out_stride = stride,
                    .in_stride = in_stride,
                    .weight_stride = 0,
                },
                TILE_ROWS, is_distance ? packed->n_in : packed->n_used[panel], is_distance);
    return n_done;
}

VECTOR_CLONES void packed_multiply(const struct packed *packed, float *out, const float *in,
                                   size_t in_stride, size_t n_rows)
{
    const size_t stride = packed_stride(packed);

    for (size_t r = 0; r < n_rows; r++)
        memcpy(out + r * stride, packed->bias, stride * sizeof(*out));
    for (size_t r = compute_groups(packed, out, in, in_stride, n_rows, false); r < n_rows; r++)
        compute_row(packed, out + r * stride, in + r * in_stride, false);
}

VECTOR_CLONES void packed_distances(const struct packed *packed, float *out, const float *in,
                                    size_t in_stride, size_t n_rows)
{
    const size_t stride = packed_stride(packed);

    memset(out, 0, n_rows * stride * sizeof(*out));
    for (size_t r = compute_groups(packed, out, in, in_stride, n_rows, true); r < n_rows; r++)
        compute_row(packed, out + r * stride, in + r * in_stride, true);
}
