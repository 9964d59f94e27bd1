#include "nn/network.h"

#include "base/random.h"
#include "nn/loss.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MAX_ROWS       70
#define MAX_WIDTH      90
#define MAX_DEPTH      3 /* of encoder and decoder */
#define N_SHAPES       60
#define N_SMALL_SHAPES 200 /* for differences by every param */

static struct random random_state;
static struct network *network;
static float rows[MAX_ROWS * MAX_WIDTH];
static float *scratch;
static bool bounded[MAX_WIDTH];
static size_t n_rows, n_features;

static const enum activation tanhs[] = {ACTIVATION_TANH, ACTIVATION_TANH, ACTIVATION_TANH,
                                        ACTIVATION_TANH};

static int set_up(void **state)
{
    (void)state;
    random_seed(&random_state, 3);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    network_free(network);
    network = NULL;
    free(scratch);
    scratch = NULL;
    return 0;
}

/* A network of random layers and activations, tied or not, with bounded outputs or not. */
static void draw(size_t max_rows, size_t max_width)
{
    size_t widths[2 * MAX_DEPTH + 1];
    enum activation activations[2 * MAX_DEPTH];
    struct network_shape shape = {.widths = widths, .activations = activations};

    (void)tear_down(NULL);
    shape.is_tied = random_below(&random_state, 2);
    shape.n_encoder_layers = 1 + random_below(&random_state, MAX_DEPTH);
    shape.n_layers =
        shape.n_encoder_layers +
        (shape.is_tied ? shape.n_encoder_layers : 1 + random_below(&random_state, MAX_DEPTH));
    for (size_t i = 0; i <= shape.n_layers; i++)
        widths[i] = shape.is_tied && i > shape.n_encoder_layers
                        ? widths[shape.n_layers - i]
                        : 1 + random_below(&random_state, max_width);
    widths[shape.n_layers] = widths[0];
    for (size_t l = 0; l < shape.n_layers; l++)
        activations[l] = (enum activation)random_below(&random_state, N_ACTIVATIONS);
    for (size_t i = 0; i < MAX_WIDTH; i++)
        bounded[i] = random_below(&random_state, 2);
    if (random_below(&random_state, 2))
        shape.bounded = bounded;
    assert_int_equal(network_new(&shape, &network), 0);
    network_init(network, NETWORK_INIT_GLOROT, &random_state);
    for (size_t i = network->n_weights; i < network->n_params; i++)
        network->params[i] = (float)(0.3 * random_normal(&random_state));
    n_features = network_n_features(network);
    n_rows = 1 + random_below(&random_state, max_rows);
    for (size_t i = 0; i < max_rows * n_features; i++)
        rows[i] = (float)random_normal(&random_state);
    scratch = calloc(network_training_floats(network, n_rows), sizeof(float));
    assert_non_null(scratch);
}

static double activate(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_LINEAR:
        return x;
    case ACTIVATION_SIGMOID:
        return 1 / (1 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_RELU:
        return fmax(x, 0);
    case ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case ACTIVATION_ELU:
        return x > 0 ? x : expm1(x);
    case N_ACTIVATIONS:
        break;
    }
    return (double)NAN;
}

/* What the network makes of a row, as nested loops in double. */
struct textbook {
    double codes[MAX_WIDTH], sums[MAX_WIDTH], out[MAX_WIDTH];
};

static double *copy_params(void)
{
    double *params = malloc(network->n_params * sizeof(*params));

    assert_non_null(params);
    for (size_t i = 0; i < network->n_params; i++)
        params[i] = (double)network->params[i];
    return params;
}

static void read_textbook(const double *params, const float *row, struct textbook *ret)
{
    double *in = ret->out, *sums = ret->sums;

    for (size_t i = 0; i < n_features; i++)
        in[i] = (double)row[i];
    for (size_t l = 0; l < network->n_layers; l++) {
        const struct layer *layer = &network->layers[l];
        const double *weight = params + layer->weight;
        const bool is_last = l + 1 == network->n_layers;

        for (size_t o = 0; o < layer->n_out; o++) {
            sums[o] = params[layer->bias + o];
            for (size_t i = 0; i < layer->n_in; i++)
                sums[o] +=
                    in[i] * weight[layer->is_tied ? i * layer->n_out + o : o * layer->n_in + i];
        }
        for (size_t o = 0; o < layer->n_out; o++)
            in[o] = activate(is_last && network->bounded && bounded[o] ? ACTIVATION_SIGMOID
                                                                       : layer->activation,
                             sums[o]);
        if (l + 1 == network->n_encoder_layers)
            memcpy(ret->codes, in, layer->n_out * sizeof(*in));
    }
}

static void forward_matches_the_textbook_loop(void **state)
{
    (void)state;
    struct textbook want;

    for (size_t n = 0; n < N_SHAPES; n++) {
        draw(20, MAX_WIDTH);
        AUTO_FREE double *params = copy_params();
        network_forward(network, scratch, rows, n_rows);
        const float *got = network_output(network, scratch, n_rows);
        const float *got_codes = network_codes(network, scratch, n_rows);
        for (size_t r = 0; r < n_rows; r++) {
            read_textbook(params, rows + r * n_features, &want);
            for (size_t i = 0; i < n_features; i++)
                assert_float_equal(got[r * n_features + i], (float)want.out[i], 5e-5);
            for (size_t i = 0; i < network_n_codes(network); i++)
                assert_float_equal(got_codes[r * network_n_codes(network) + i],
                                   (float)want.codes[i], 5e-5);
        }
    }
}

static void inference_agrees_with_forward(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_SHAPES; n++) {
        draw(MAX_ROWS, MAX_WIDTH);
        AUTO_FREE float *infer_scratch =
            malloc(network_inference_floats(network, n_rows) * sizeof(float));
        assert_non_null(infer_scratch);
        assert_int_equal(network_pack(network), 0);
        network_forward(network, scratch, rows, n_rows);
        const float *want = network_output(network, scratch, n_rows);
        const float *got = network_infer(network, infer_scratch, rows, n_rows);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t i = 0; i < n_features; i++)
                assert_float_equal(got[r * network_output_stride(network) + i],
                                   want[r * n_features + i], 5e-5);
    }
}

static void a_row_gives_the_same_bits_alone_and_in_any_batch(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_SHAPES; n++) {
        draw(MAX_ROWS, MAX_WIDTH);
        AUTO_FREE float *whole = malloc(network_inference_floats(network, n_rows) * sizeof(float));
        AUTO_FREE float *piece = malloc(network_inference_floats(network, n_rows) * sizeof(float));
        assert_non_null(whole);
        assert_non_null(piece);
        assert_int_equal(network_pack(network), 0);
        const float *want = network_infer(network, whole, rows, n_rows);
        for (size_t first = 0, size; first < n_rows; first += size) {
            size = 1 + (n % 2 ? random_below(&random_state, n_rows - first) : 0);
            const float *got = network_infer(network, piece, rows + first * n_features, size);
            for (size_t r = 0; r < size; r++)
                assert_memory_equal(got + r * network_output_stride(network),
                                    want + (first + r) * network_output_stride(network),
                                    n_features * sizeof(float));
        }
    }
}

static void inference_sees_weights_when_they_are_packed(void **state)
{
    (void)state;
    draw(1, 20);
    AUTO_FREE float *small = malloc(network_inference_floats(network, 1) * sizeof(float));
    assert_non_null(small);
    assert_int_equal(network_pack(network), 0);
    const float before = network_infer(network, small, rows, 1)[0];
    network->params[network->layers[network->n_layers - 1].bias] += 1;
    assert_true(network_infer(network, small, rows, 1)[0] == before);
    assert_int_equal(network_pack(network), 0);
    assert_true(network_infer(network, small, rows, 1)[0] != before);
}

static struct loss loss_of_network(void)
{
    return (struct loss){n_features, network->layers[network->n_layers - 1].activation,
                         network->bounded};
}

/* Targets are the rows brought into [0, 1], plus half the squared codes of weight code_weight. */
static float targets[MAX_ROWS * MAX_WIDTH];
static double code_weight;

static double textbook_loss(const double *params)
{
    struct textbook is;
    double sum = 0, codes = 0;

    for (size_t r = 0; r < n_rows; r++) {
        const float *row = rows + r * n_features, *target = targets + r * n_features;
        read_textbook(params, row, &is);
        for (size_t i = 0; i < n_features; i++) {
            const double t = (double)target[i], x = is.sums[i];
            sum += network->bounded && bounded[i] ? fmax(x, 0) - x * t + log1p(exp(-fabs(x)))
                                                  : pow(is.out[i] - t, 2);
        }
        for (size_t i = 0; i < network_n_codes(network); i++)
            codes += 0.5 * pow(is.codes[i], 2);
    }
    return sum / (double)(n_rows * n_features) + code_weight * codes;
}

static void back(float *d_params)
{
    const struct loss of = loss_of_network();
    float d_sums[MAX_ROWS * MAX_WIDTH], d_codes[MAX_ROWS * MAX_WIDTH];

    network_forward(network, scratch, rows, n_rows);
    loss_backward(&of, d_sums, network_output_sums(network, scratch, n_rows),
                  network_output(network, scratch, n_rows), targets, n_rows);
    for (size_t i = 0; i < n_rows * network_n_codes(network); i++)
        d_codes[i] = (float)code_weight * network_codes(network, scratch, n_rows)[i];
    network_backward(network, scratch, rows, n_rows, d_sums, code_weight > 0 ? d_codes : NULL,
                     d_params);
}

/* By every param; in double the differences are exact to more digits than a float has. Seen at
 * worst: 3e-6. */
static void assert_differences(const float *d_params)
{
    const double step = 1e-6;
    double largest = 0;
    AUTO_FREE double *params = copy_params();

    for (size_t i = 0; i < network->n_params; i++)
        largest = fmax(largest, fabs((double)d_params[i]));
    for (size_t i = 0; i < network->n_params; i++) {
        const double kept = params[i];
        params[i] = kept + step;
        const double above = textbook_loss(params);
        params[i] = kept - step;
        const double want = (above - textbook_loss(params)) / (2 * step);
        params[i] = kept;
        if (!(fabs(want - (double)d_params[i]) <= 1e-5 * largest))
            fail_msg("param %zu of %zu: gradient %.9g, should be %.9g", i, network->n_params,
                     (double)d_params[i], want);
    }
}

static void assert_gradients(double weight)
{
    code_weight = weight;
    for (size_t n = 0; n < N_SMALL_SHAPES; n++) {
        draw(5, 6);
        for (size_t i = 0; i < n_rows * n_features; i++)
            targets[i] = (float)activate(ACTIVATION_SIGMOID, (double)rows[i]);
        AUTO_FREE float *d_params = calloc(network->n_params, sizeof(float));
        assert_non_null(d_params);
        back(d_params);
        assert_differences(d_params);
    }
}

static void gradient_of_the_loss_by_every_param_matches_differences(void **state)
{
    (void)state;
    assert_gradients(0);
}

static void the_gradient_by_the_codes_joins_on_the_way(void **state)
{
    (void)state;
    assert_gradients(0.25);
}

/* A tied network and its untied twin compute the same; a shared weight's gradient is the sum. */
static void the_gradients_of_both_uses_of_a_tied_weight_add_up(void **state)
{
    (void)state;
    const size_t widths[] = {5, 3, 5};
    struct network_shape shape = {2, 1, widths, tanhs, true, NULL};
    CLEANUP(network_freep) struct network *tied = NULL;
    CLEANUP(network_freep) struct network *twin = NULL;
    float work[256], d_sums[10], d_tied[23] = {0}, d_twin[38] = {0};

    assert_int_equal(network_new(&shape, &tied), 0);
    shape.is_tied = false;
    assert_int_equal(network_new(&shape, &twin), 0);
    assert_int_equal(tied->n_weights, 15);
    assert_int_equal(tied->n_params, 23);
    assert_int_equal(twin->n_params, 38);
    assert_true(network_training_floats(twin, 2) <= sizeof(work) / sizeof(*work));
    network_init(tied, NETWORK_INIT_GLOROT, &random_state);
    memcpy(twin->params, tied->params, 15 * sizeof(float));
    for (size_t o = 0; o < 5; o++)
        for (size_t i = 0; i < 3; i++)
            twin->params[15 + o * 3 + i] = tied->params[i * 5 + o];
    for (size_t i = 0; i < 10; i++)
        rows[i] = (float)random_normal(&random_state);

    network_forward(tied, work, rows, 2);
    memcpy(d_sums, network_output(tied, work, 2), sizeof(d_sums));
    network_backward(tied, work, rows, 2, d_sums, NULL, d_tied);
    network_forward(twin, work, rows, 2);
    memcpy(d_sums, network_output(twin, work, 2), sizeof(d_sums));
    network_backward(twin, work, rows, 2, d_sums, NULL, d_twin);
    for (size_t i = 0; i < 3; i++)
        for (size_t o = 0; o < 5; o++)
            assert_float_equal(d_tied[i * 5 + o], d_twin[i * 5 + o] + d_twin[15 + o * 3 + i], 1e-5);
    for (size_t i = 0; i < 8; i++)
        assert_float_equal(d_tied[15 + i], d_twin[30 + i], 1e-5);
}

static void gradients_add_up_over_the_pieces_of_a_batch(void **state)
{
    (void)state;
    float d_sums[MAX_ROWS * MAX_WIDTH];

    draw(9, 20);
    AUTO_FREE float *whole = calloc(network->n_params, sizeof(float));
    AUTO_FREE float *pieces = calloc(network->n_params, sizeof(float));
    assert_non_null(whole);
    assert_non_null(pieces);
    memcpy(d_sums, rows, n_rows * n_features * sizeof(float));
    network_forward(network, scratch, rows, n_rows);
    network_backward(network, scratch, rows, n_rows, d_sums, NULL, whole);
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = rows + r * n_features;
        memcpy(d_sums, row, n_features * sizeof(float));
        network_forward(network, scratch, row, 1);
        network_backward(network, scratch, row, 1, d_sums, NULL, pieces);
    }
    for (size_t i = 0; i < network->n_params; i++)
        assert_float_equal(whole[i], pieces[i], 1e-4);
}

static void weights_come_before_biases(void **state)
{
    (void)state;
    const size_t widths[] = {4, 3, 2, 3, 4};
    const struct network_shape shape = {4, 2, widths, tanhs, false, NULL};
    CLEANUP(network_freep) struct network *four = NULL;

    assert_int_equal(network_new(&shape, &four), 0);
    assert_int_equal(four->n_weights, 12 + 6 + 6 + 12);
    assert_int_equal(four->n_params, 36 + 3 + 2 + 3 + 4);
    assert_int_equal(four->layers[1].weight, 12);
    assert_int_equal(four->layers[0].bias, 36);
    assert_int_equal(four->layers[3].bias, 36 + 8);
    assert_int_equal(network_n_features(four), 4);
    assert_int_equal(network_n_codes(four), 2);
}

/* Deviation of the weights of one layer. */
static double deviation(const struct network *of, size_t l)
{
    const size_t n = of->layers[l].n_in * of->layers[l].n_out;
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += pow((double)of->params[of->layers[l].weight + i], 2);
    return sqrt(sum / (double)n);
}

static void he_has_the_deviations_of_the_recipe(void **state)
{
    (void)state;
    const size_t widths[] = {80, 60, 40, 60, 80};
    const struct network_shape shape = {4, 2, widths, tanhs, false, NULL};
    CLEANUP(network_freep) struct network *wide = NULL;

    assert_int_equal(network_new(&shape, &wide), 0);
    memset(wide->params, 1, wide->n_params * sizeof(float));
    network_init(wide, NETWORK_INIT_HE, &random_state);
    assert_float_equal((float)deviation(wide, 0), sqrtf(2.0F / 80), 0.01);
    assert_float_equal((float)deviation(wide, 1), sqrtf(2.0F / 60), 0.01);
    assert_float_equal((float)deviation(wide, 2), sqrtf(1.0F / 40), 0.01);
    assert_float_equal((float)deviation(wide, 3), 0.5F / sqrtf(60), 0.005);
    for (size_t i = wide->n_weights; i < wide->n_params; i++)
        assert_true(wide->params[i] == 0.0F);
}

/* Of so many weights the largest is close to the limit, above and below. */
static void glorot_uses_the_whole_range_up_to_its_limit(void **state)
{
    (void)state;
    const size_t widths[] = {40, 20, 40};
    const struct network_shape shape = {2, 1, widths, tanhs, false, NULL};
    CLEANUP(network_freep) struct network *wide = NULL;
    const double limit = sqrt(6.0 / (40 + 20));
    double least = 0, most = 0;

    assert_int_equal(network_new(&shape, &wide), 0);
    network_init(wide, NETWORK_INIT_GLOROT, &random_state);
    for (size_t i = 0; i < wide->n_weights; i++) {
        least = fmin(least, (double)wide->params[i]);
        most = fmax(most, (double)wide->params[i]);
    }
    assert_true(most > 0.98 * limit && most <= limit * (1 + 1e-6));
    assert_true(least < -0.98 * limit && least >= -limit * (1 + 1e-6));
}

static void init_is_reproducible(void **state)
{
    (void)state;
    struct random random;

    draw(1, 30);
    AUTO_FREE float *first = malloc(network->n_params * sizeof(float));
    assert_non_null(first);
    for (enum network_init init = NETWORK_INIT_GLOROT; init <= NETWORK_INIT_HE; init++) {
        random_seed(&random, 11);
        network_init(network, init, &random);
        memcpy(first, network->params, network->n_params * sizeof(float));
        random_seed(&random, 11);
        network_init(network, init, &random);
        assert_memory_equal(first, network->params, network->n_params * sizeof(float));
    }
}

static int try_new(size_t n_layers, size_t n_encoder_layers, const size_t *widths, bool is_tied)
{
    const struct network_shape shape = {n_layers, n_encoder_layers, widths, tanhs, is_tied, NULL};
    struct network *none = NULL;
    const int r = network_new(&shape, &none);

    assert_int_equal(!none, r < 0);
    network_free(none);
    return r;
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    const size_t fine[] = {4, 3, 2, 3, 4}, zero[] = {4, 0, 4}, other_end[] = {4, 2, 5},
                 huge[] = {4, NETWORK_MAX_WIDTH + 1, 4}, skewed[] = {4, 3, 2, 5, 4};

    assert_int_equal(try_new(4, 2, fine, false), 0);
    assert_int_equal(try_new(4, 2, fine, true), 0);
    assert_int_equal(try_new(2, 1, zero, false), -EINVAL);
    assert_int_equal(try_new(2, 1, other_end, false), -EINVAL);
    assert_int_equal(try_new(2, 1, huge, false), -EINVAL);
    assert_int_equal(try_new(4, 0, fine, false), -EINVAL);
    assert_int_equal(try_new(4, 4, fine, false), -EINVAL);
    assert_int_equal(try_new(1, 1, fine, false), -EINVAL);
    assert_int_equal(try_new(NETWORK_MAX_LAYERS + 1, 1, fine, false), -EINVAL);
    assert_int_equal(try_new(4, 2, skewed, false), 0);
    assert_int_equal(try_new(4, 2, skewed, true), -EINVAL);
    assert_int_equal(try_new(4, 1, fine, true), -EINVAL);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const size_t widths[] = {4, 2, 4};
    const struct network_shape shape = {2, 1, widths, tanhs, false, bounded};
    int r = -ENOMEM;
    int nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(network_freep) struct network *made = NULL;
        alloc_fail_in = nth;
        r = network_new(&shape, &made);
        if (r == 0)
            r = network_pack(made);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(forward_matches_the_textbook_loop, tear_down),
        cmocka_unit_test_teardown(inference_agrees_with_forward, tear_down),
        cmocka_unit_test_teardown(a_row_gives_the_same_bits_alone_and_in_any_batch, tear_down),
        cmocka_unit_test_teardown(inference_sees_weights_when_they_are_packed, tear_down),
        cmocka_unit_test_teardown(gradient_of_the_loss_by_every_param_matches_differences,
                                  tear_down),
        cmocka_unit_test_teardown(the_gradient_by_the_codes_joins_on_the_way, tear_down),
        cmocka_unit_test(the_gradients_of_both_uses_of_a_tied_weight_add_up),
        cmocka_unit_test_teardown(gradients_add_up_over_the_pieces_of_a_batch, tear_down),
        cmocka_unit_test(weights_come_before_biases),
        cmocka_unit_test(he_has_the_deviations_of_the_recipe),
        cmocka_unit_test(glorot_uses_the_whole_range_up_to_its_limit),
        cmocka_unit_test_teardown(init_is_reproducible, tear_down),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
