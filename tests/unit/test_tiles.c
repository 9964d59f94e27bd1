#include "nn/tiles.h"

#include "base/cleanup.h"
#include "base/random.h"
#include "nn/vector.h"

#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS  21
#define MAX_WIDTH 150
#define MANY_ROWS 9
#define WIDE      33 /* beyond two of the widest registers */
#define N_GUARDS  64 /* floats behind a matrix that nobody may touch */
#define GUARD     12345.0F

static struct random random_state;
static float left[MAX_ROWS * MAX_WIDTH], right[MAX_ROWS * MAX_WIDTH], matrix[MAX_WIDTH * MAX_WIDTH],
    bias[MAX_WIDTH], factor[(MAX_WIDTH + 1) * (MAX_WIDTH + TILES_MOST_LANES)];
static float got[MAX_WIDTH * MAX_WIDTH + N_GUARDS], other[MAX_WIDTH * MAX_WIDTH + N_GUARDS];

static void fill(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)random_normal(&random_state);
}

static int set_up(void **state)
{
    (void)state;
    random_seed(&random_state, 5);
    fill(left, sizeof(left) / sizeof(*left));
    fill(right, sizeof(right) / sizeof(*right));
    fill(matrix, sizeof(matrix) / sizeof(*matrix));
    fill(bias, MAX_WIDTH);
    return 0;
}

/* Each row is a sum of n products and has rounded as often. */
static double rounding(size_t n)
{
    return 1e-6 * (double)(n + 1);
}

static void put_guards(float *values, size_t n)
{
    for (size_t i = 0; i < N_GUARDS; i++)
        values[n + i] = GUARD;
}

static void assert_guards(const float *values, size_t n)
{
    for (size_t i = 0; i < N_GUARDS; i++)
        assert_float_equal(values[n + i], GUARD, 0);
}

static void check_multiply(const struct tiles *tiles, size_t n_rows, size_t n_in, size_t n_out)
{
    put_guards(got, n_rows * n_out);
    tiles->multiply(got, left, factor, n_rows, n_in, n_out);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t o = 0; o < n_out; o++) {
            double want = (double)bias[o];
            for (size_t i = 0; i < n_in; i++)
                want += (double)left[r * n_in + i] * (double)matrix[i * n_out + o];
            if (!(fabs(want - (double)got[r * n_out + o]) < rounding(n_in)))
                fail_msg("%s, %zu rows of %zu to %zu: row %zu, %zu", tiles->name, n_rows, n_in,
                         n_out, r, o);
        }
    assert_guards(got, n_rows * n_out);
}

static void multiply_matches_the_textbook_loop_at_every_size(void **state)
{
    (void)state;
    for (size_t n_in = 1; n_in <= WIDE; n_in++)
        for (size_t n_out = 1; n_out <= WIDE; n_out++) {
            tiles_pack(factor, matrix, bias, n_in, n_out, false);
            for (size_t n_rows = 1; n_rows <= MANY_ROWS; n_rows++)
                for (size_t k = 0; tiles_nth(k); k++)
                    check_multiply(tiles_nth(k), n_rows, n_in, n_out);
        }
}

static void check_add_products(const struct tiles *tiles, size_t n_rows, size_t n_left,
                               size_t n_right)
{
    for (size_t i = 0; i < n_left * n_right; i++)
        got[i] = 0.5F; /* what is there is added to */
    put_guards(got, n_left * n_right);
    tiles->add_products(got, left, n_left, right, n_rows, n_left, n_right);
    for (size_t i = 0; i < n_left; i++)
        for (size_t j = 0; j < n_right; j++) {
            double want = 0.5;
            for (size_t r = 0; r < n_rows; r++)
                want += (double)left[r * n_left + i] * (double)right[r * n_right + j];
            if (!(fabs(want - (double)got[i * n_right + j]) < rounding(n_rows)))
                fail_msg("%s, %zu rows of %zu and %zu: %zu, %zu", tiles->name, n_rows, n_left,
                         n_right, i, j);
        }
    assert_guards(got, n_left * n_right);
}

static void products_match_the_textbook_loop_at_every_size(void **state)
{
    (void)state;
    for (size_t n_left = 1; n_left <= WIDE; n_left++)
        for (size_t n_right = 1; n_right <= WIDE; n_right++)
            for (size_t n_rows = 1; n_rows <= MANY_ROWS; n_rows++)
                for (size_t k = 0; tiles_nth(k); k++)
                    check_add_products(tiles_nth(k), n_rows, n_left, n_right);
}

static size_t draw(size_t most)
{
    return 1 + random_below(&random_state, most);
}

static void wide_matrices_match_the_textbook_loop(void **state)
{
    (void)state;
    for (size_t n = 0; n < 100; n++) {
        const size_t n_rows = draw(MAX_ROWS), n_in = draw(MAX_WIDTH), n_out = draw(MAX_WIDTH);

        tiles_pack(factor, matrix, bias, n_in, n_out, false);
        for (size_t k = 0; tiles_nth(k); k++) {
            check_multiply(tiles_nth(k), n_rows, n_in, n_out);
            check_add_products(tiles_nth(k), n_rows, n_in, n_out);
        }
    }
}

/* The last rows must not be read over their end: this is for valgrind and the sanitizers. */
static void nothing_is_read_behind_the_matrices(void **state)
{
    (void)state;
    for (size_t width = 1; width <= WIDE; width++)
        for (size_t k = 0; tiles_nth(k); k++) {
            AUTO_FREE float *in = malloc(2 * width * sizeof(*in));
            assert_non_null(in);
            memcpy(in, left, 2 * width * sizeof(*in));
            tiles_nth(k)->add_products(got, in, width, in, 2, width, width);
            tiles_pack(factor, matrix, NULL, width, width, false);
            tiles_nth(k)->multiply(got, in, factor, 2, width, width);
        }
}

static void a_stride_of_0_sums_the_columns(void **state)
{
    (void)state;
    const float one = 1.0F;

    for (size_t k = 0; tiles_nth(k); k++) {
        float sums[3] = {1, 2, 3};
        const float rows[] = {1, 10, 100, 2, 20, 200};

        tiles_nth(k)->add_products(sums, &one, 0, rows, 2, 1, 3);
        assert_float_equal(sums[0], 4, 0);
        assert_float_equal(sums[1], 32, 0);
        assert_float_equal(sums[2], 303, 0);
    }
}

static void the_transpose_gives_the_same_bits(void **state)
{
    (void)state;
    static float transposed[WIDE * MAX_WIDTH];
    const struct tiles *tiles = tiles_best();

    for (size_t n_out = 1; n_out <= WIDE; n_out++) {
        const size_t n_in = draw(MAX_WIDTH);

        for (size_t i = 0; i < n_in; i++)
            for (size_t o = 0; o < n_out; o++)
                transposed[o * n_in + i] = matrix[i * n_out + o];
        tiles_pack(factor, matrix, bias, n_in, n_out, false);
        tiles->multiply(got, left, factor, MANY_ROWS, n_in, n_out);
        tiles_pack(factor, transposed, bias, n_in, n_out, true);
        tiles->multiply(other, left, factor, MANY_ROWS, n_in, n_out);
        assert_memory_equal(got, other, MANY_ROWS * n_out * sizeof(*got));
    }
}

static void without_a_bias_sums_start_at_0(void **state)
{
    (void)state;
    const float in[] = {2}, weights[] = {3};
    float out[1];

    memset(factor, 0xff, sizeof(factor)); /* NaN */
    tiles_pack(factor, weights, NULL, 1, 1, false);
    tiles_best()->multiply(out, in, factor, 1, 1, 1);
    assert_float_equal(out[0], 6, 0);
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    for (size_t n = 0; n < 50; n++) {
        const size_t n_in = draw(MAX_WIDTH), n_out = draw(MAX_WIDTH);
        float alone[MAX_WIDTH];

        tiles_pack(factor, matrix, bias, n_in, n_out, false);
        for (size_t k = 0; tiles_nth(k); k++) {
            tiles_nth(k)->multiply(got, left, factor, MAX_ROWS, n_in, n_out);
            for (size_t r = 0; r < MAX_ROWS; r++) {
                tiles_nth(k)->multiply(alone, left + r * n_in, factor, 1, n_in, n_out);
                assert_memory_equal(got + r * n_out, alone, n_out * sizeof(*alone));
            }
        }
    }
}

/* A model file says which kernel made it; both of these call themselves fma there. */
static void registers_of_any_width_give_the_same_bits(void **state)
{
    (void)state;
    if (!tiles_nth(1) || !tiles_nth(2)) { /* cmocka's skip() is no success for automake */
        print_message("# this processor or build has one width of registers only\n");
        return;
    }
    for (size_t n = 0; n < 100; n++) {
        const size_t n_rows = draw(MAX_ROWS), n_in = draw(MAX_WIDTH), n_out = draw(MAX_WIDTH);

        tiles_pack(factor, matrix, bias, n_in, n_out, false);
        tiles_nth(1)->multiply(got, left, factor, n_rows, n_in, n_out);
        tiles_nth(2)->multiply(other, left, factor, n_rows, n_in, n_out);
        assert_memory_equal(got, other, n_rows * n_out * sizeof(*got));

        memset(got, 0, n_in * n_out * sizeof(*got));
        memset(other, 0, n_in * n_out * sizeof(*got));
        tiles_nth(1)->add_products(got, left, n_in, right, n_rows, n_in, n_out);
        tiles_nth(2)->add_products(other, left, n_in, right, n_rows, n_in, n_out);
        assert_memory_equal(got, other, n_in * n_out * sizeof(*got));
    }
}

static void the_best_is_one_that_the_processor_has(void **state)
{
    (void)state;
    const struct tiles *best = tiles_best();

    assert_string_equal(tiles_nth(0)->name, "portable");
    assert_int_equal(strcmp(best->name, "portable") == 0, strcmp(vector_kernel(), "portable") == 0);
    for (size_t k = 0; tiles_nth(k); k++)
        assert_true(best->n_lanes >= tiles_nth(k)->n_lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiply_matches_the_textbook_loop_at_every_size),
        cmocka_unit_test(products_match_the_textbook_loop_at_every_size),
        cmocka_unit_test(wide_matrices_match_the_textbook_loop),
        cmocka_unit_test(nothing_is_read_behind_the_matrices),
        cmocka_unit_test(a_stride_of_0_sums_the_columns),
        cmocka_unit_test(the_transpose_gives_the_same_bits),
        cmocka_unit_test(without_a_bias_sums_start_at_0),
        cmocka_unit_test(a_row_gives_the_same_bits_alone_and_in_any_batch),
        cmocka_unit_test(registers_of_any_width_give_the_same_bits),
        cmocka_unit_test(the_best_is_one_that_the_processor_has),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
