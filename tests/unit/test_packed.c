#include "nn/packed.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MAX_IN     130
#define MAX_OUT    210
#define MAX_STRIDE 224
#define MAX_ROWS   23
#define N_SHAPES   400

static struct random random_state;
static float matrix[MAX_IN * MAX_OUT], bias[MAX_OUT];
static float in[MAX_ROWS * (MAX_IN + 3)];
static float batch[MAX_ROWS * MAX_STRIDE + 1], alone[MAX_ROWS * MAX_STRIDE + 1];
static size_t n_in, n_out, n_rows, in_stride;

static int set_up(void **state)
{
    (void)state;
    random_seed(&random_state, 5);
    return 0;
}

static void fill(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)random_normal(&random_state);
}

/* Sizes, numbers, and at times a matrix with zeros at the ends of its rows. */
static void draw(void)
{
    const size_t kind = random_below(&random_state, 3);

    n_in = 1 + random_below(&random_state, MAX_IN);
    n_out = 1 + random_below(&random_state, random_below(&random_state, 2) ? MAX_OUT : 40);
    n_rows = 1 + random_below(&random_state, MAX_ROWS);
    in_stride = n_in + random_below(&random_state, 4);
    fill(matrix, n_in * n_out);
    fill(bias, n_out);
    fill(in, n_rows * in_stride);
    for (size_t o = 0; o < n_out && kind > 0; o++) {
        const size_t used = kind == 1 ? o + 1 : random_below(&random_state, n_in + 1);
        for (size_t i = used; i < n_in; i++)
            matrix[o * n_in + i] = 0;
    }
}

static struct packed *packed_of(const float *biases)
{
    struct packed *packed = NULL;

    assert_int_equal(packed_new(matrix, biases, n_in, n_out, &packed), 0);
    return packed;
}

static void multiply_matches_the_textbook_loop(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_SHAPES; n++) {
        draw();
        CLEANUP(packed_freep) struct packed *packed = packed_of(n % 4 ? bias : NULL);
        packed_multiply(packed, batch, in, in_stride, n_rows);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t o = 0; o < n_out; o++) {
                double want = n % 4 ? (double)bias[o] : 0;
                for (size_t i = 0; i < n_in; i++)
                    want += (double)in[r * in_stride + i] * (double)matrix[o * n_in + i];
                assert_float_equal(batch[r * packed_stride(packed) + o], (float)want, 1e-4);
            }
    }
}

static void distances_match_the_textbook_loop(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_SHAPES; n++) {
        draw();
        CLEANUP(packed_freep) struct packed *packed = packed_of(bias);
        packed_distances(packed, batch, in, in_stride, n_rows);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t o = 0; o < n_out; o++) {
                double want = 0;
                for (size_t i = 0; i < n_in; i++)
                    want += pow((double)in[r * in_stride + i] - (double)matrix[o * n_in + i], 2);
                const double got = (double)batch[r * packed_stride(packed) + o];
                assert_true(fabs(got - want) <= 1e-5 * (1 + want));
            }
    }
}

/* The batch, and the same rows one by one and in two pieces at an odd address. */
static void assert_same_bits(void (*compute)(const struct packed *, float *, const float *, size_t,
                                             size_t))
{
    for (size_t n = 0; n < N_SHAPES; n++) {
        draw();
        CLEANUP(packed_freep) struct packed *packed = packed_of(bias);
        const size_t stride = packed_stride(packed), cut = random_below(&random_state, n_rows + 1);
        const size_t n_bytes = n_rows * stride * sizeof(float);

        compute(packed, batch, in, in_stride, n_rows);
        for (size_t r = 0; r < n_rows; r++)
            compute(packed, alone + r * stride, in + r * in_stride, in_stride, 1);
        assert_memory_equal(batch, alone, n_bytes);
        compute(packed, alone + 1, in, in_stride, cut);
        compute(packed, alone + 1 + cut * stride, in + cut * in_stride, in_stride, n_rows - cut);
        assert_memory_equal(batch, alone + 1, n_bytes);
    }
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    assert_same_bits(packed_multiply);
    assert_same_bits(packed_distances);
}

static void the_transpose_gives_the_same_bits(void **state)
{
    (void)state;
    static float transposed[MAX_IN * MAX_OUT];

    for (size_t n = 0; n < 50; n++) {
        draw();
        for (size_t o = 0; o < n_out; o++)
            for (size_t i = 0; i < n_in; i++)
                transposed[i * n_out + o] = matrix[o * n_in + i];
        CLEANUP(packed_freep) struct packed *one = packed_of(bias);
        CLEANUP(packed_freep) struct packed *other = NULL;
        assert_int_equal(packed_new_transposed(transposed, bias, n_in, n_out, &other), 0);
        packed_multiply(one, batch, in, in_stride, n_rows);
        packed_multiply(other, alone, in, in_stride, n_rows);
        assert_memory_equal(batch, alone, n_rows * packed_stride(one) * sizeof(float));
    }
}

static void a_triangular_matrix_costs_half(void **state)
{
    (void)state;
    n_in = n_out = 64;
    fill(matrix, n_in * n_out);
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = o + 1; i < n_in; i++)
            matrix[o * n_in + i] = 0;
    CLEANUP(packed_freep) struct packed *packed = packed_of(NULL);
    assert_int_equal(packed_multiply_adds(packed), 16 * (16 + 32 + 48 + 64));
    assert_int_equal(packed_bytes(packed), 4 * (16 * (16 + 32 + 48 + 64) + 64));
}

/* What a skipped input holds cannot matter, not even if it is not a number. */
static void skipped_inputs_are_not_read(void **state)
{
    (void)state;
    const float row[] = {1, 2, NAN}, weights[] = {1, 1, 0, 2, 2, 0};
    float out[PACKED_WIDTH];
    CLEANUP(packed_freep) struct packed *packed = NULL;

    assert_int_equal(packed_new(weights, NULL, 3, 2, &packed), 0);
    packed_multiply(packed, out, row, 3, 1);
    assert_float_equal(out[0], 3, 0);
    assert_float_equal(out[1], 6, 0);
}

static void a_matrix_of_zeros_gives_the_bias(void **state)
{
    (void)state;
    const float weights[4] = {0}, biases[] = {7, 8}, rows[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    float out[5 * PACKED_WIDTH];
    CLEANUP(packed_freep) struct packed *packed = NULL;

    assert_int_equal(packed_new(weights, biases, 2, 2, &packed), 0);
    assert_int_equal(packed_multiply_adds(packed), 0);
    packed_multiply(packed, out, rows, 2, 5);
    for (size_t r = 0; r < 5; r++)
        assert_memory_equal(out + r * PACKED_WIDTH, biases, sizeof(biases));
}

static void sizes_are_told(void **state)
{
    (void)state;
    n_in = 3;
    n_out = 17;
    fill(matrix, n_in * n_out);
    CLEANUP(packed_freep) struct packed *packed = packed_of(NULL);
    assert_int_equal(packed_n_in(packed), 3);
    assert_int_equal(packed_n_out(packed), 17);
    assert_int_equal(packed_stride(packed), 32);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const float weights[] = {1, 2};
    int r = -ENOMEM;
    int nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(packed_freep) struct packed *packed = NULL;
        alloc_fail_in = nth;
        r = packed_new(weights, NULL, 2, 1, &packed);
        alloc_fail_in = -1;
        assert_int_equal(!packed, r < 0);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiply_matches_the_textbook_loop),
        cmocka_unit_test(distances_match_the_textbook_loop),
        cmocka_unit_test(a_row_gives_the_same_bits_alone_and_in_any_batch),
        cmocka_unit_test(the_transpose_gives_the_same_bits),
        cmocka_unit_test(a_triangular_matrix_costs_half),
        cmocka_unit_test(skipped_inputs_are_not_read),
        cmocka_unit_test(a_matrix_of_zeros_gives_the_bias),
        cmocka_unit_test(sizes_are_told),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
