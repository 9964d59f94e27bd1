#include "nn/network.h"

#include "base/random.h"
#include "nn/loss.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/gradient.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS 5
#define WIDTH  4

static const size_t widths[] = {WIDTH, 3, 2, 3, WIDTH};
static const enum activation activations[] = {ACTIVATION_TANH, ACTIVATION_SIGMOID, ACTIVATION_RELU,
                                              ACTIVATION_LINEAR};
static struct network *network;
static float rows[N_ROWS * WIDTH];
static float *scratch;

static int set_up(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 3);
    assert_int_equal(network_new(widths, activations, 4, 2, &network), 0);
    network_init(network, &random);
    for (size_t i = 0; i < N_ROWS * WIDTH; i++)
        rows[i] = (float)random_normal(&random);
    for (size_t l = 0; l < 4; l++) /* away from 0, where relu has no derivative */
        for (size_t o = 0; o < network->layers[l].n_out; o++)
            network->params[network->layers[l].bias + o] = 0.3F + 0.1F * (float)o;
    scratch = calloc(network_training_floats(network, N_ROWS), sizeof(float));
    assert_non_null(scratch);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    network_free(network);
    free(scratch);
    return 0;
}

static double loss(void)
{
    network_forward(network, scratch, rows, N_ROWS);
    return loss_mse_forward(network_output(network, scratch, N_ROWS), rows, N_ROWS * WIDTH);
}

/* The same network as nested loops in double. */
static void textbook(const float *row, double *out)
{
    double in[WIDTH], sums[WIDTH];

    for (size_t i = 0; i < WIDTH; i++)
        in[i] = (double)row[i];
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        for (size_t o = 0; o < layer->n_out; o++) {
            sums[o] = (double)network->params[layer->bias + o];
            for (size_t i = 0; i < layer->n_in; i++)
                sums[o] += in[i] * (double)network->params[layer->weight + o * layer->n_in + i];
        }
        for (size_t o = 0; o < layer->n_out; o++)
            in[o] = layer->activation == ACTIVATION_TANH      ? tanh(sums[o])
                    : layer->activation == ACTIVATION_SIGMOID ? 1.0 / (1.0 + exp(-sums[o]))
                    : layer->activation == ACTIVATION_RELU    ? fmax(sums[o], 0.0)
                                                              : sums[o];
    }
    memcpy(out, in, sizeof(in));
}

static void forward_matches_the_textbook_loop(void **state)
{
    (void)state;
    double want[WIDTH];

    network_forward(network, scratch, rows, N_ROWS);
    for (size_t r = 0; r < N_ROWS; r++) {
        textbook(rows + r * WIDTH, want);
        for (size_t i = 0; i < WIDTH; i++)
            assert_float_equal(network_output(network, scratch, N_ROWS)[r * WIDTH + i],
                               (float)want[i], 1e-5);
    }
}

static void inference_matches_the_textbook_loop(void **state)
{
    (void)state;
    double want[WIDTH];
    float out[WIDTH], small[16];

    assert_true(network_inference_floats(network) <= 16);
    network_pack(network);
    for (size_t r = 0; r < N_ROWS; r++) {
        textbook(rows + r * WIDTH, want);
        network_infer(network, small, rows + r * WIDTH, out);
        for (size_t i = 0; i < WIDTH; i++)
            assert_float_equal(out[i], (float)want[i], 1e-5);
    }
}

static void backward_matches_finite_differences(void **state)
{
    (void)state;
    float d_out[N_ROWS * WIDTH];
    AUTO_FREE float *d_params = calloc(network->n_params, sizeof(float));

    assert_non_null(d_params);
    (void)loss();
    loss_mse_backward(d_out, network_output(network, scratch, N_ROWS), rows, N_ROWS * WIDTH);
    network_backward(network, scratch, rows, N_ROWS, d_out, d_params);
    assert_gradient(loss, network->params, d_params, network->n_params);
}

static void gradients_add_up_over_the_pieces_of_a_batch(void **state)
{
    (void)state;
    float d_out[N_ROWS * WIDTH];
    AUTO_FREE float *whole = calloc(network->n_params, sizeof(float));
    AUTO_FREE float *pieces = calloc(network->n_params, sizeof(float));

    assert_non_null(whole);
    assert_non_null(pieces);
    memcpy(d_out, rows, sizeof(d_out));
    network_forward(network, scratch, rows, N_ROWS);
    network_backward(network, scratch, rows, N_ROWS, d_out, whole);
    for (size_t r = 0; r < N_ROWS; r++) {
        memcpy(d_out, rows + r * WIDTH, WIDTH * sizeof(float));
        network_forward(network, scratch, rows + r * WIDTH, 1);
        network_backward(network, scratch, rows + r * WIDTH, 1, d_out, pieces);
    }
    for (size_t i = 0; i < network->n_params; i++)
        assert_float_equal(whole[i], pieces[i], 1e-4);
}

static void init_is_reproducible_and_within_glorots_limit(void **state)
{
    (void)state;
    AUTO_FREE float *first = malloc(network->n_params * sizeof(float));
    struct random random;

    assert_non_null(first);
    random_seed(&random, 11);
    network_init(network, &random);
    memcpy(first, network->params, network->n_params * sizeof(float));
    random_seed(&random, 11);
    network_init(network, &random);
    assert_memory_equal(first, network->params, network->n_params * sizeof(float));

    double largest = 0;
    for (size_t i = network->layers[0].weight; i < network->layers[0].bias; i++)
        largest = fmax(largest, fabs((double)first[i]));
    assert_true(largest > 0 && largest <= sqrt(6.0 / (4 + 3)));
}

/* Of so many weights the largest is close to the limit, above and below. */
static void init_uses_the_whole_range_up_to_glorots_limit(void **state)
{
    (void)state;
    const size_t wide[] = {40, 20, 40};
    CLEANUP(network_freep) struct network *other = NULL;
    struct random random;

    random_seed(&random, 11);
    assert_int_equal(network_new(wide, activations, 2, 1, &other), 0);
    network_init(other, &random);
    for (size_t l = 0; l < 2; l++) {
        const struct layer *layer = &other->layers[l];
        const double limit = sqrt(6.0 / (40 + 20));
        double least = 0, most = 0;
        for (size_t i = layer->weight; i < layer->bias; i++) {
            least = fmin(least, (double)other->params[i]);
            most = fmax(most, (double)other->params[i]);
        }
        assert_true(most > 0.98 * limit && most <= limit * (1 + 1e-6));
        assert_true(least < -0.98 * limit && least >= -limit * (1 + 1e-6));
    }
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct network *none = NULL;
    const size_t zero[] = {4, 0, 4}, other_end[] = {4, 2, 5},
                 huge[] = {4, NETWORK_MAX_WIDTH + 1, 4};

    assert_int_equal(network_new(zero, activations, 2, 1, &none), -EINVAL);
    assert_int_equal(network_new(other_end, activations, 2, 1, &none), -EINVAL);
    assert_int_equal(network_new(huge, activations, 2, 1, &none), -EINVAL);
    assert_int_equal(network_new(widths, activations, 4, 0, &none), -EINVAL);
    assert_int_equal(network_new(widths, activations, 4, 4, &none), -EINVAL);
    assert_int_equal(network_new(widths, activations, 1, 1, &none), -EINVAL);
    assert_null(none);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(network_freep) struct network *other = NULL;
        alloc_fail_in = nth;
        r = network_new(widths, activations, 4, 2, &other);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forward_matches_the_textbook_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(inference_matches_the_textbook_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backward_matches_finite_differences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradients_add_up_over_the_pieces_of_a_batch, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(init_is_reproducible_and_within_glorots_limit, set_up,
                                        tear_down),
        cmocka_unit_test(init_uses_the_whole_range_up_to_glorots_limit),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
