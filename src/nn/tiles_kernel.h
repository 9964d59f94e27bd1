/* tiles_kernel - the loops of nn/tiles.c, included there once for each width of registers, with
 *
 *   TILES(name)   the name of a thing of that width
 *   TILES_TARGET  attribute of its functions
 *   TILES_LANES   floats in a register
 *   TILES_ROWS    rows of the largest tile, 4 or 8: as many as the registers have room for
 *
 * n_rows and n_vectors of a tile are known where its function is inlined, so that its sums are in
 * registers. */

typedef float TILES(vector) __attribute__((vector_size(4 * TILES_LANES), aligned(4), may_alias));

#define TILES_INLINE TILES_TARGET static inline __attribute__((always_inline))

/* sums[n_rows][n_vectors] += left · right */
TILES_INLINE void TILES(accumulate)(TILES(vector) (*sums)[TILES_VECTORS], struct operands of,
                                    size_t n_rows, size_t n_vectors)
{
    for (size_t i = 0; i < of.n_sums; i++, of.left += of.left_step, of.right += of.right_step) {
        VECTOR_UNINITIALIZED TILES(vector) right[TILES_VECTORS];

        VECTOR_UNROLL
        for (size_t v = 0; v < n_vectors; v++)
            right[v] = *(const TILES(vector) *)(of.right + v * TILES_LANES);
        VECTOR_UNROLL
        for (size_t r = 0; r < n_rows; r++) {
            const float left = of.left[r * of.left_row];
            VECTOR_UNROLL
            for (size_t v = 0; v < n_vectors; v++)
                sums[r][v] += left * right[v];
        }
    }
}

/* Those of a register's floats that belong before end. */
TILES_TARGET static void TILES(store_part)(float *to, const TILES(vector) * from, const float *end)
{
    if (to < end)
        memcpy(to, from, smaller((size_t)(end - to), TILES_LANES) * sizeof(*to));
}

/* Whole registers are written: what spills over the end of a row is overwritten when that row's
 * turn comes, for rows go up and, within a row of tiles, columns down. */
TILES_INLINE void TILES(multiply_tile)(const struct product *of, size_t row, size_t column,
                                       size_t n_rows, size_t n_vectors)
{
    float *out = of->out + row * of->n_out + column;
    const float *factor = of->factor + column;
    const size_t n_room = (of->n_rows - row) * of->n_out - column;
    const bool fits = (n_rows - 1) * of->n_out + n_vectors * TILES_LANES <= n_room;
    const struct operands operands = {
        .left = of->in + row * of->n_in,
        .left_row = of->n_in,
        .left_step = 1,
        .right = factor + of->stride,
        .right_step = of->stride,
        .n_sums = of->n_in,
    };
    VECTOR_UNINITIALIZED TILES(vector) sums[TILES_ROWS][TILES_VECTORS];

    VECTOR_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        VECTOR_UNROLL
        for (size_t v = 0; v < n_vectors; v++)
            sums[r][v] = *(const TILES(vector) *)(factor + v * TILES_LANES);
    }
    TILES(accumulate)(sums, operands, n_rows, n_vectors);
    VECTOR_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        VECTOR_UNROLL
        for (size_t v = 0; v < n_vectors; v++) {
            float *to = out + r * of->n_out + v * TILES_LANES;
            const TILES(vector) sum = sums[r][v]; /* only this one needs an address */
            if (fits)
                *(TILES(vector) *)to = sum;
            else
                TILES(store_part)(to, &sum, out + n_room);
        }
    }
}

TILES_INLINE void TILES(multiply_rows)(const struct product *of, size_t row, size_t column,
                                       size_t n_rows, size_t n_vectors)
{
    switch (n_vectors) {
    case 1:
        TILES(multiply_tile)(of, row, column, n_rows, 1);
        break;
    case 2:
        TILES(multiply_tile)(of, row, column, n_rows, 2);
        break;
    default:
        TILES(multiply_tile)(of, row, column, n_rows, TILES_VECTORS);
        break;
    }
}

TILES_TARGET static void TILES(multiply)(float *out, const float *in, const float *factor,
                                         size_t n_rows, size_t n_in, size_t n_out)
{
    const struct product of = {out, in, factor, n_rows, n_in, n_out, factor_stride(n_out)};
    const struct columns columns = divide_columns(n_out, TILES_LANES);

    for (size_t row = 0, height = 0; row < n_rows; row += height) {
        height = tile_height(n_rows - row, TILES_ROWS);
        for (size_t i = columns.n_groups; i-- > 0;) {
            const size_t first = first_vector(columns, i);
            const size_t n_vectors = first_vector(columns, i + 1) - first;

            switch (height) {
            case 1:
                TILES(multiply_rows)(&of, row, first * TILES_LANES, 1, n_vectors);
                break;
            case 2:
                TILES(multiply_rows)(&of, row, first * TILES_LANES, 2, n_vectors);
                break;
#if TILES_ROWS > 4
            case 4:
                TILES(multiply_rows)(&of, row, first * TILES_LANES, 4, n_vectors);
                break;
#endif
            default:
                TILES(multiply_rows)(&of, row, first * TILES_LANES, TILES_ROWS, n_vectors);
                break;
            }
        }
    }
}

TILES_TARGET static void TILES(add_part)(float *to, const TILES(vector) * from, size_t n)
{
    for (size_t k = 0; k < n; k++)
        to[k] += (*from)[k];
}

/* Products of n_rows columns of left, and a group of right's. */
TILES_INLINE void TILES(add_tile)(const struct gradient *of, size_t i_left, size_t n_rows,
                                  size_t n_vectors)
{
    float *out = of->sums + i_left * of->n_right;
    VECTOR_UNINITIALIZED TILES(vector) sums[TILES_ROWS][TILES_VECTORS];
    struct operands rows = {
        .left = of->left + i_left,
        .left_row = 1,
        .left_step = of->left_stride,
        .right = of->right,
        .right_step = of->n_right,
        .n_sums = of->n_direct,
    };

    VECTOR_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        VECTOR_UNROLL
        for (size_t v = 0; v < n_vectors; v++)
            sums[r][v] = (TILES(vector)){0};
    }
    TILES(accumulate)(sums, rows, n_rows, n_vectors);
    rows.left += of->n_direct * of->left_stride;
    rows.right = of->rest;
    rows.n_sums = of->n_rest;
    TILES(accumulate)(sums, rows, n_rows, n_vectors);
    VECTOR_UNROLL
    for (size_t r = 0; r < n_rows; r++) {
        VECTOR_UNROLL
        for (size_t v = 0; v < n_vectors; v++) {
            float *to = out + r * of->n_right + v * TILES_LANES;
            const TILES(vector) sum = sums[r][v];
            if ((v + 1) * TILES_LANES <= of->n_columns)
                *(TILES(vector) *)to += sum;
            else
                TILES(add_part)(to, &sum, of->n_columns - v * TILES_LANES);
        }
    }
}

TILES_INLINE void TILES(add_rows)(const struct gradient *of, size_t i_left, size_t n_rows,
                                  size_t n_vectors)
{
    switch (n_vectors) {
    case 1:
        TILES(add_tile)(of, i_left, n_rows, 1);
        break;
    case 2:
        TILES(add_tile)(of, i_left, n_rows, 2);
        break;
    default:
        TILES(add_tile)(of, i_left, n_rows, TILES_VECTORS);
        break;
    }
}

TILES_TARGET static void TILES(add_products)(float *sums, const float *left, size_t left_stride,
                                             const float *right, size_t n_rows, size_t n_left,
                                             size_t n_right)
{
    const struct columns columns = divide_columns(n_right, TILES_LANES);

    for (size_t i = 0; i < columns.n_groups; i++) {
        const size_t first = first_vector(columns, i);
        const size_t n_vectors = first_vector(columns, i + 1) - first;
        float rest[MOST_REST] = {0};
        struct gradient of = {
            .sums = sums + first * TILES_LANES,
            .left = left,
            .right = right + first * TILES_LANES,
            .left_stride = left_stride,
            .n_right = n_right,
            .n_columns = smaller(n_right - first * TILES_LANES, n_vectors * TILES_LANES),
            .rest = rest,
        };

        find_rest(&of, n_rows, first * TILES_LANES, n_vectors * TILES_LANES, rest);
        for (size_t l = 0, height = 0; l < n_left; l += height) {
            height = tile_height(n_left - l, TILES_ROWS);
            switch (height) {
            case 1:
                TILES(add_rows)(&of, l, 1, n_vectors);
                break;
            case 2:
                TILES(add_rows)(&of, l, 2, n_vectors);
                break;
#if TILES_ROWS > 4
            case 4:
                TILES(add_rows)(&of, l, 4, n_vectors);
                break;
#endif
            default:
                TILES(add_rows)(&of, l, TILES_ROWS, n_vectors);
                break;
            }
        }
    }
}

static const struct tiles TILES(kernel) = {
    .name = TILES_KERNEL_NAME,
    .n_lanes = TILES_LANES,
    .multiply = TILES(multiply),
    .add_products = TILES(add_products),
};

#undef TILES_INLINE
#undef TILES
#undef TILES_TARGET
#undef TILES_LANES
#undef TILES_ROWS
#undef TILES_KERNEL_NAME
