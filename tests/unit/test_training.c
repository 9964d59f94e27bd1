#include "nn/training.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/small_training.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A linear network D - K - D, its gradient and plain descent as a textbook has them, in double. */
enum {
    D = 3,
    K = 2,
    TEXTBOOK_ROWS = 5,
    TEXTBOOK_PARAMS = 2 * D * K + K + D
};

static void textbook_gradient(const double *p, double *d)
{
    const double *w1 = p, *w2 = p + D * K, *b1 = w2 + D * K, *b2 = b1 + K;
    double *dw1 = d, *dw2 = d + D * K, *db1 = dw2 + D * K, *db2 = db1 + K;

    memset(d, 0, TEXTBOOK_PARAMS * sizeof(*d));
    for (size_t r = 0; r < TEXTBOOK_ROWS; r++) {
        const float *x = rows + r * D;
        double code[K], d_out[D];
        for (size_t k = 0; k < K; k++) {
            code[k] = b1[k];
            for (size_t j = 0; j < D; j++)
                code[k] += w1[k * D + j] * (double)x[j];
        }
        for (size_t j = 0; j < D; j++) {
            double out = b2[j];
            for (size_t k = 0; k < K; k++)
                out += w2[j * K + k] * code[k];
            d_out[j] = 2.0 * (out - (double)x[j]) / (TEXTBOOK_ROWS * D);
            db2[j] += d_out[j];
            for (size_t k = 0; k < K; k++)
                dw2[j * K + k] += d_out[j] * code[k];
        }
        for (size_t k = 0; k < K; k++) {
            double d_code = 0.0;
            for (size_t j = 0; j < D; j++)
                d_code += d_out[j] * w2[j * K + k];
            db1[k] += d_code;
            for (size_t j = 0; j < D; j++)
                dw1[k * D + j] += d_code * (double)x[j];
        }
    }
}

static void twenty_steps_match_the_textbook(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(D, K);
    double want[TEXTBOOK_PARAMS], d[TEXTBOOK_PARAMS];

    fill_normal(rows, TEXTBOOK_ROWS * D, 3);
    options.optimizer = (struct optimizer_options){OPTIMIZER_SGD, 0.01, 0.0};
    options.learning_rate = 0.3;
    options.n_steps = 20;
    options.warmup_steps = 5;
    options.cosine = true;
    options.batch_size = TEXTBOOK_ROWS;
    assert_int_equal(network->n_params, TEXTBOOK_PARAMS);
    for (size_t i = 0; i < TEXTBOOK_PARAMS; i++)
        want[i] = (double)network->params[i];
    for (int step = 1; step <= 20; step++) {
        const double rate =
            step < 5 ? 0.3 * step / 5.0 : 0.3 * 0.5 * (1.0 + cos(M_PI * (step - 5) / 15.0));
        textbook_gradient(want, d);
        for (size_t i = 0; i < TEXTBOOK_PARAMS; i++)
            want[i] -= rate * (d[i] + (i < 2 * D * K ? 0.01 * want[i] : 0.0));
    }
    train_well(network, TEXTBOOK_ROWS);
    for (size_t i = 0; i < TEXTBOOK_PARAMS; i++)
        assert_float_equal(network->params[i], (float)want[i], 2e-6);
}

/* What on_epoch was told. */
struct watch {
    const struct network *network;
    float before;
    float rates[TRAINING_MAX_EPOCHS + 1];
    size_t n_calls, cancel_at;
    struct training_progress last;
    double least_validation_loss;
};

static bool watch(void *userdata, const struct training_progress *progress)
{
    struct watch *seen = userdata;

    if (seen->n_calls < TRAINING_MAX_EPOCHS)
        seen->rates[progress->epoch] = seen->before - seen->network->params[0];
    seen->before = seen->network->params[0];
    seen->n_calls++;
    assert_int_equal(progress->epoch, seen->n_calls);
    assert_true(progress->seconds >= seen->last.seconds);
    if (seen->n_calls == 1 || progress->validation_loss < seen->least_validation_loss)
        seen->least_validation_loss = progress->validation_loss;
    seen->last = *progress;
    return seen->n_calls != seen->cancel_at;
}

/* Where rows and biases are 0 there is no gradient but that of the L1 decay: each step moves each
 * weight by the learning rate. */
static struct watch watch_rates(size_t warmup, bool cosine, size_t n_steps)
{
    CLEANUP(network_freep) struct network *network = build_linear(2, 1);
    struct watch seen = {.network = network, .before = 100};

    network->params[0] = 100;
    memset(rows, 0, 2 * sizeof(*rows));
    options.optimizer = (struct optimizer_options){OPTIMIZER_SGD, 0.0, 1.0};
    options.learning_rate = 1;
    options.warmup_steps = warmup;
    options.cosine = cosine;
    options.n_steps = n_steps;
    assert_int_equal(
        training_run(network, rows, 1, NULL, 0, &options, watch, &seen, &result, &error), 0);
    assert_int_equal(seen.n_calls, n_steps);
    return seen;
}

static void the_learning_rate_rises_in_a_line_and_falls_as_a_cosine(void **state)
{
    (void)state;
    struct watch seen = watch_rates(10, true, 50);
    for (size_t step = 1; step <= 50; step++) {
        const double want =
            step < 10 ? (double)step / 10 : 0.5 * (1 + cos(M_PI * (double)(step - 10) / 40));
        assert_float_equal(seen.rates[step], (float)want, 2e-5);
    }
    assert_float_equal(seen.rates[50], 0, 0);

    seen = watch_rates(4, false, 8);
    assert_float_equal(seen.rates[3], 0.75F, 2e-5);
    assert_float_equal(seen.rates[4], 1, 2e-5);
    assert_float_equal(seen.rates[8], 1, 2e-5);

    seen = watch_rates(5, true, 5); /* no step left to fall */
    assert_false(isnan(seen.rates[5]));
    assert_float_equal(seen.rates[5], 1, 2e-5);
    seen = watch_rates(0, false, 1);
    assert_float_equal(seen.rates[1], 1, 2e-5);
}

static void same_seed_same_bits_other_seed_others(void **state)
{
    (void)state;
    fill_plane(rows, 50, 6, 0.1, 1);
    options.noise = NOISE_GAUSSIAN;
    options.noise_amount = 0.3;
    for (int round = 0; round < 3; round++) {
        const size_t n_rows = round == 2 ? 1 : 50; /* of one row, only the noise differs */
        CLEANUP(network_freep) struct network *one = build_linear(6, 2);
        CLEANUP(network_freep) struct network *two = build_linear(6, 2);
        CLEANUP(network_freep) struct network *other = build_linear(6, 2);

        options.with_replacement = round == 1;
        options.seed = 1;
        train_well(one, n_rows);
        train_well(two, n_rows);
        options.seed = 2;
        train_well(other, n_rows);
        assert_memory_equal(one->params, two->params, one->n_params * sizeof(float));
        assert_true(distance(one->params, other->params, one->n_params) > 1e-3);
    }
}

/* The loss of the last epoch on rows 1, 2, … 7 with a learning rate of next to nothing: it tells
 * which rows were drawn. */
static double loss_of_drawn_rows(size_t n_steps, uint64_t seed)
{
    CLEANUP(network_freep) struct network *network = build_linear(2, 1);

    for (size_t i = 0; i < 7; i++)
        rows[2 * i] = rows[2 * i + 1] = (float)(i + 1);
    options.learning_rate = 1e-30;
    options.n_steps = n_steps;
    options.seed = seed;
    memset(network->params, 0, network->n_params * sizeof(float));
    train_well(network, 7);
    return result.loss;
}

/* Of batches of one row. */
static size_t first_row_of_pass(size_t pass, uint64_t seed)
{
    return (size_t)lround(sqrt(loss_of_drawn_rows(7 * (pass - 1) + 1, seed)));
}

static void shuffled_every_row_comes_once_a_pass(void **state)
{
    (void)state;
    options.batch_size = 3;
    for (uint64_t seed = 1; seed < 20; seed++)
        assert_float_equal((float)loss_of_drawn_rows(3, seed),
                           (1 + 4 + 9 + 16 + 25 + 36 + 49) / 7.0F, 1e-5);
}

static void every_pass_is_shuffled_anew(void **state)
{
    (void)state;
    size_t firsts[8] = {0}, n_alike = 0;

    options.batch_size = 1;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        const size_t first = first_row_of_pass(1, seed), second = first_row_of_pass(2, seed);
        assert_true(first >= 1 && first <= 7);
        firsts[first]++;
        n_alike += first == second;
    }
    for (size_t row = 1; row <= 7; row++)
        assert_true(firsts[row] > 10);
    assert_true(n_alike > 10 && n_alike < 60);
}

static void with_replacement_rows_come_as_they_fall(void **state)
{
    (void)state;
    double sum = 0.0, least = HUGE_VAL, most = 0.0;

    options.batch_size = 3;
    options.with_replacement = true;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        const double loss = loss_of_drawn_rows(3, seed);
        sum += loss;
        least = fmin(least, loss);
        most = fmax(most, loss);
    }
    assert_true(least < 12 && most > 28);
    assert_float_equal((float)(sum / 500), 20, 1.2); /* four deviations */
}

static void a_batch_larger_than_the_rows_is_all_rows(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *one = build_linear(6, 2);
    CLEANUP(network_freep) struct network *two = build_linear(6, 2);

    fill_plane(rows, 20, 6, 0.1, 1);
    options.batch_size = 20;
    train_well(one, 20);
    options.batch_size = (size_t)1 << 60; /* nor does it need the memory */
    train_well(two, 20);
    assert_memory_equal(one->params, two->params, one->n_params * sizeof(float));
    options.batch_size = 50;
    options.with_replacement = true;
    train_well(two, 20);
    assert_true(isfinite(result.loss));
}

/* Loss and penalties of rows under network, in double. */
static double total_loss(const struct network *network, size_t n_rows)
{
    AUTO_FREE float *scratch = run_forward(network, rows, n_rows);
    const size_t n_features = network_n_features(network), n_codes = network_n_codes(network);
    const float *out = network_output(network, scratch, n_rows);
    const float *codes = network_codes(network, scratch, n_rows);
    double sum = 0.0;

    for (size_t i = 0; i < n_rows * n_features; i++) {
        const double x = (double)rows[i], y = (double)out[i];
        sum += network->bounded && network->bounded[i % n_features]
                   ? -x * log(y) - (1 - x) * log(1 - y)
                   : (x - y) * (x - y);
    }
    sum /= (double)(n_rows * n_features);
    for (size_t j = 0; j < n_codes; j++) {
        double mean = 0.0;
        for (size_t i = 0; i < n_rows; i++) {
            mean += (double)codes[i * n_codes + j] / (double)n_rows;
            sum += options.code_l1 * fabs((double)codes[i * n_codes + j]) / (double)n_rows;
        }
        if (options.sparsity > 0.0)
            sum +=
                options.sparsity *
                (options.sparsity_target * log(options.sparsity_target / mean) +
                 (1 - options.sparsity_target) * log((1 - options.sparsity_target) / (1 - mean)));
    }
    return sum;
}

/* One step of plain descent at rate 1 is the gradient: against central differences. */
static void expect_gradient_step(struct network *network, size_t n_rows)
{
    AUTO_FREE float *before = copy_params(network);

    options.optimizer.kind = OPTIMIZER_SGD;
    options.learning_rate = 1;
    options.n_steps = 1;
    options.batch_size = n_rows;
    train_well(network, n_rows);
    AUTO_FREE float *after = copy_params(network);

    memcpy(network->params, before, network->n_params * sizeof(float));
    for (size_t i = 0; i < network->n_params; i++) {
        const float step = 1e-2F;
        network->params[i] = before[i] + step;
        const double above = total_loss(network, n_rows);
        network->params[i] = before[i] - step;
        const double below = total_loss(network, n_rows);
        network->params[i] = before[i];
        const double want = (above - below) / (2.0 * (double)step);
        const double is = (double)(before[i] - after[i]);
        if (fabs(want - is) > 1e-3 * (1.0 + fabs(want)))
            fail_msg("param %zu: gradient %g, should be %g", i, is, want);
    }
}

static void a_step_follows_the_gradient_of_loss_and_penalties(void **state)
{
    (void)state;
    const bool bounded[] = {true, false, true, false};

    for (size_t i = 0; i < 6 * 4; i++)
        rows[i] = (float)(0.5 + 0.5 * sin((double)i));
    for (int round = 0; round < 4; round++) {
        CLEANUP(network_freep)
        struct network *network =
            build(4, 5, 3, ACTIVATION_SILU, ACTIVATION_SIGMOID, round ? bounded : NULL);
        options.code_l1 = round == 2 ? 0.3 : 0.0;
        options.sparsity = round == 3 ? 0.2 : 0.0;
        options.sparsity_target = 0.1;
        expect_gradient_step(network, 6);
    }
}

/* Rows that the network gives back exactly have no gradient: only the decay moves anything. */
static void decay_shrinks_weights_and_not_biases(void **state)
{
    (void)state;
    for (int l1 = 0; l1 < 2; l1++) {
        CLEANUP(network_freep) struct network *network = build_linear(2, 1);
        float *output_bias = network->params + network->layers[1].bias;

        rows[0] = output_bias[0] = 3;
        rows[1] = output_bias[1] = -2;
        network->params[network->layers[1].weight] = 0; /* so that the code does not matter */
        network->params[network->layers[1].weight + 1] = 0;
        AUTO_FREE float *before = copy_params(network);

        options.optimizer = (struct optimizer_options){OPTIMIZER_SGD, l1 ? 0 : 0.5, l1 ? 0.5 : 0};
        options.n_steps = 1;
        train_well(network, 1);
        for (size_t i = 0; i < 2; i++)
            assert_true(fabsf(network->params[i]) < fabsf(before[i]));
        assert_memory_equal(network->params + 2, before + 2,
                            (network->n_params - 2) * sizeof(float));
    }
}

static void clipping_bounds_a_step(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);
    AUTO_FREE float *before = copy_params(network);
    struct watch free_run = {.network = network}, clipped_run = {.network = network};

    fill_plane(rows, 16, 6, 0.1, 1);
    options.optimizer.kind = OPTIMIZER_SGD;
    options.learning_rate = 1;
    options.n_steps = 1;
    assert_int_equal(
        training_run(network, rows, 16, NULL, 0, &options, watch, &free_run, &result, &error), 0);
    const double norm = distance(network->params, before, network->n_params);
    assert_float_equal((float)free_run.last.gradient_norm, (float)norm, 1e-5);
    assert_true(norm > 0.1);

    memcpy(network->params, before, network->n_params * sizeof(float));
    options.clip = 0.01;
    assert_int_equal(
        training_run(network, rows, 16, NULL, 0, &options, watch, &clipped_run, &result, &error),
        0);
    assert_float_equal((float)distance(network->params, before, network->n_params), 0.01F, 1e-5);
    assert_float_equal((float)clipped_run.last.gradient_norm, (float)norm, 1e-5);
}

/* Training rows that have nothing to do with the validation rows are soon learnt by heart. */
static void early_stopping_keeps_the_best_weights(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *network = build(6, 16, 5, ACTIVATION_TANH, ACTIVATION_LINEAR, NULL);
    struct watch seen = {.network = network};

    fill_plane(rows, 20, 6, 1, 1);
    fill_plane(other_rows, 100, 6, 1, 2);
    options.n_steps = 20000;
    options.patience = 7;
    assert_int_equal(
        training_run(network, rows, 20, other_rows, 100, &options, watch, &seen, &result, &error),
        0);
    assert_true(result.epochs < 10000);
    assert_int_equal(result.epochs, seen.n_calls);
    assert_int_equal(result.epochs, result.best_epoch + 7);
    assert_true(result.validation_loss == seen.least_validation_loss);
    assert_true(result.validation_loss < seen.last.validation_loss);
    assert_float_equal((float)squared_error(network, other_rows, other_rows, 100),
                       (float)result.validation_loss, 1e-5);
}

static void without_patience_the_last_weights_are_kept(void **state)
{
    (void)state;
    CLEANUP(network_freep)
    struct network *network = build(6, 16, 5, ACTIVATION_TANH, ACTIVATION_LINEAR, NULL);
    struct watch seen = {.network = network};

    fill_plane(rows, 20, 6, 1, 1);
    fill_plane(other_rows, 100, 6, 1, 2);
    options.n_steps = 500;
    assert_int_equal(
        training_run(network, rows, 20, other_rows, 100, &options, watch, &seen, &result, &error),
        0);
    assert_int_equal(result.best_epoch, result.epochs);
    assert_true(result.validation_loss == seen.last.validation_loss);
    assert_float_equal((float)squared_error(network, other_rows, other_rows, 100),
                       (float)result.validation_loss, 1e-5);
}

static void without_validation_rows_the_validation_loss_is_nan(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);

    fill_plane(rows, 20, 6, 0.1, 1);
    options.patience = 1; /* of nothing: all steps are done */
    train_well(network, 20);
    assert_true(isnan(result.validation_loss));
    assert_int_equal(result.epochs, 50);
    assert_int_equal(result.best_epoch, 50);
}

static size_t count_reports(size_t n_rows, size_t n_steps)
{
    CLEANUP(network_freep) struct network *network = build_linear(2, 1);
    struct watch seen = {.network = network};

    options.n_steps = n_steps;
    assert_int_equal(
        training_run(network, rows, n_rows, NULL, 0, &options, watch, &seen, &result, &error), 0);
    assert_int_equal(seen.last.epochs, seen.n_calls);
    assert_int_equal(result.epochs, seen.n_calls);
    return seen.n_calls;
}

static void an_epoch_is_a_pass_or_a_hundredth_of_the_steps(void **state)
{
    (void)state;
    fill_normal(rows, 100, 1);
    assert_int_equal(count_reports(40, 3), 1); /* 16 + 16 + 8 rows */
    assert_int_equal(count_reports(40, 4), 2);
    assert_int_equal(count_reports(40, 300), 100);
    assert_int_equal(count_reports(40, 301), 76); /* of 4 steps */
    assert_int_equal(count_reports(40, 1000), 100);
    options.full_passes = true;
    assert_int_equal(count_reports(40, 1000), 334);
}

static void divergence_is_explained(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);

    fill_plane(rows, 50, 6, 0.1, 1);
    options.optimizer.kind = OPTIMIZER_SGD;
    options.learning_rate = 20;
    assert_int_equal(train(network, 50), -EDOM);
    assert_non_null(strstr(error.text, "diverged in epoch"));
    assert_int_equal(result.epochs, 0); /* untouched */
}

static void no_steps_only_judge_the_weights(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);
    float before[64];

    fill_plane(rows, 50, 6, 0.1, 1);
    assert_true(network->n_params <= 64);
    options.n_steps = 1;
    options.learning_rate = 1e-30;
    options.batch_size = 50;
    options.warmup_steps = 0;
    assert_int_equal(train(network, 50), 0);
    const double loss = result.loss;
    options.n_steps = 0;
    memcpy(before, network->params, network->n_params * sizeof(float));
    assert_int_equal(train(network, 50), 0);
    assert_int_equal(result.epochs, 0);
    assert_true(fabs(result.loss - loss) < 1e-6 * loss && loss > 0);
    assert_memory_equal(network->params, before, network->n_params * sizeof(float));
}

static void a_loss_that_is_not_finite_is_divergence(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(2, 1);

    fill_normal(rows, 32, 1);
    network->params[0] = NAN;
    assert_int_equal(train(network, 16), -EDOM);
}

static void a_validation_loss_that_is_not_finite_is_divergence(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(2, 1);

    fill_normal(rows, 32, 1);
    other_rows[0] = 1e30F;
    assert_int_equal(
        training_run(network, rows, 16, other_rows, 1, &options, NULL, NULL, &result, &error),
        -EDOM);
}

/* Where all is masked, the first layer sees nothing and has no gradient; its bias has. */
static void the_gradient_is_that_of_the_noisy_rows(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);
    AUTO_FREE float *before = copy_params(network);
    const size_t bias = network->layers[0].bias;

    fill_plane(rows, 50, 6, 0.1, 1);
    options.noise = NOISE_MASKING;
    options.noise_amount = 1;
    train_well(network, 50);
    assert_memory_equal(network->params, before, 12 * sizeof(float));
    assert_memory_not_equal(network->params + bias, before + bias, 2 * sizeof(float));
}

static void on_epoch_can_cancel(void **state)
{
    (void)state;
    CLEANUP(network_freep) struct network *network = build_linear(6, 2);
    struct watch seen = {.network = network, .cancel_at = 3};

    fill_plane(rows, 50, 6, 0.1, 1);
    assert_int_equal(
        training_run(network, rows, 50, NULL, 0, &options, watch, &seen, &result, &error),
        -ECANCELED);
    assert_string_equal(error.text, "the training was cancelled");
    assert_int_equal(seen.n_calls, 3);
    assert_int_equal(result.epochs, 0);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    fill_plane(rows, 20, 6, 0.1, 1);
    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(network_freep) struct network *network = build_linear(6, 2);
        error.text[0] = '\0';
        alloc_fail_in = nth;
        r = train(network, 20);
        alloc_fail_in = -1;
        if (r == -ENOMEM)
            assert_string_equal(error.text, "not enough memory to train");
    }
    assert_int_equal(r, 0);
    assert_true(nth > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(twenty_steps_match_the_textbook, set_up),
        cmocka_unit_test_setup(the_learning_rate_rises_in_a_line_and_falls_as_a_cosine, set_up),
        cmocka_unit_test_setup(same_seed_same_bits_other_seed_others, set_up),
        cmocka_unit_test_setup(shuffled_every_row_comes_once_a_pass, set_up),
        cmocka_unit_test_setup(every_pass_is_shuffled_anew, set_up),
        cmocka_unit_test_setup(with_replacement_rows_come_as_they_fall, set_up),
        cmocka_unit_test_setup(a_batch_larger_than_the_rows_is_all_rows, set_up),
        cmocka_unit_test_setup(a_step_follows_the_gradient_of_loss_and_penalties, set_up),
        cmocka_unit_test_setup(decay_shrinks_weights_and_not_biases, set_up),
        cmocka_unit_test_setup(clipping_bounds_a_step, set_up),
        cmocka_unit_test_setup(early_stopping_keeps_the_best_weights, set_up),
        cmocka_unit_test_setup(without_patience_the_last_weights_are_kept, set_up),
        cmocka_unit_test_setup(without_validation_rows_the_validation_loss_is_nan, set_up),
        cmocka_unit_test_setup(an_epoch_is_a_pass_or_a_hundredth_of_the_steps, set_up),
        cmocka_unit_test_setup(divergence_is_explained, set_up),
        cmocka_unit_test_setup(no_steps_only_judge_the_weights, set_up),
        cmocka_unit_test_setup(a_loss_that_is_not_finite_is_divergence, set_up),
        cmocka_unit_test_setup(a_validation_loss_that_is_not_finite_is_divergence, set_up),
        cmocka_unit_test_setup(the_gradient_is_that_of_the_noisy_rows, set_up),
        cmocka_unit_test_setup(on_epoch_can_cancel, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
