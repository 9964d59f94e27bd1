#include "nn/loss.h"

#include "base/random.h"

#include "support/cmocka.h"
#include "support/gradient.h"

#include <float.h>

#define MAX_FEATURES 37
#define N_ROWS       3

static struct random random_state;
static struct loss loss;
static bool bounded[MAX_FEATURES];
static float sums[N_ROWS * MAX_FEATURES], out[N_ROWS * MAX_FEATURES], target[N_ROWS * MAX_FEATURES];

static int set_up(void **state)
{
    (void)state;
    random_seed(&random_state, 8);
    return 0;
}

static bool is_bounded(size_t i)
{
    return loss.bounded && loss.bounded[i % loss.n_features];
}

static void compute_out(void)
{
    const size_t n = N_ROWS * loss.n_features;

    activation_forward(loss.activation, out, sums, n);
    for (size_t i = 0; i < n; i++)
        if (is_bounded(i))
            activation_forward(ACTIVATION_SIGMOID, &out[i], &sums[i], 1);
}

/* Features, activation, bounds and numbers. kind 0: none bounded, 1: all, 2: some. */
static void draw(size_t kind)
{
    loss = (struct loss){1 + random_below(&random_state, MAX_FEATURES),
                         (enum activation)random_below(&random_state, N_ACTIVATIONS),
                         kind ? bounded : NULL};
    for (size_t i = 0; i < loss.n_features; i++)
        bounded[i] = kind == 1 || random_below(&random_state, 2);
    for (size_t i = 0; i < N_ROWS * loss.n_features; i++) {
        do /* stay off the bend of relu, where differences see both sides */
            sums[i] = (float)(2 * random_normal(&random_state));
        while (fabsf(sums[i]) < 0.05F);
        target[i] = (float)random_uniform(&random_state);
    }
    compute_out();
}

static double textbook(void)
{
    const size_t n = N_ROWS * loss.n_features;
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const double t = (double)target[i], p = 1 / (1 + exp(-(double)sums[i]));
        sum += is_bounded(i) ? -t * log(p) - (1 - t) * log(1 - p) : pow((double)out[i] - t, 2);
    }
    return sum / (double)n;
}

static double value(void)
{
    compute_out();
    return loss_forward(&loss, sums, out, target, N_ROWS);
}

static void forward_matches_the_textbook_formulas(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        draw(n % 3);
        assert_true(fabs(value() - textbook()) <= 1e-6 * (1 + textbook()));
    }
}

/* The gradient is by the sums: it includes the last activation. */
/* Floats add up a part, doubles the parts. */
static void a_large_batch_keeps_its_digits(void **state)
{
    (void)state;
    enum {
        MANY = 10007
    };
    static float large_out[MANY], large_target[MANY];
    double sum = 0;

    loss = (struct loss){1, ACTIVATION_LINEAR, NULL};
    for (size_t i = 0; i < MANY; i++) {
        large_out[i] = (float)random_normal(&random_state);
        large_target[i] = (float)random_normal(&random_state);
        sum += pow((double)large_out[i] - (double)large_target[i], 2);
        if (i > 200 && i % 97 != 0)
            continue;
        const double got = loss_forward(&loss, large_out, large_out, large_target, i + 1);
        const double want = sum / (double)(i + 1);
        assert_true(fabs(got - want) <= 2e-6 * want);
    }
}

static void backward_matches_finite_differences(void **state)
{
    (void)state;
    float d_sums[N_ROWS * MAX_FEATURES];

    for (size_t n = 0; n < 60; n++) {
        draw(n % 3);
        loss_backward(&loss, d_sums, sums, out, target, N_ROWS);
        assert_gradient(value, sums, d_sums, N_ROWS * loss.n_features);
    }
}

static void backward_is_exact_for_plain_differences(void **state)
{
    (void)state;
    float d_sums[2];

    sums[0] = out[0] = 3;
    sums[1] = out[1] = -1;
    target[0] = 1;
    target[1] = 1;
    loss = (struct loss){2, ACTIVATION_LINEAR, NULL};
    loss_backward(&loss, d_sums, sums, out, target, 1);
    assert_float_equal(d_sums[0], 2, 0);
    assert_float_equal(d_sums[1], -2, 0);
    assert_true(fabs(loss_forward(&loss, sums, out, target, 1) - 4) < 1e-12);
}

static void cross_entropy_stays_finite_at_any_logit(void **state)
{
    (void)state;
    const float logits[] = {1000, -1000, 1000, -1000, 0, FLT_MAX};
    const float targets[] = {1, 0, 0, 1, 0.5F, 1};
    const double want[] = {0, 0, 1000, 1000, M_LN2, 0};
    const float want_gradient[] = {0, 0, 1, -1, 0, 0};

    loss = (struct loss){1, ACTIVATION_SILU, bounded};
    bounded[0] = true;
    for (size_t i = 0; i < 6; i++) {
        float d_sums[1], probability[1];
        activation_forward(ACTIVATION_SIGMOID, probability, &logits[i], 1);
        const double got = loss_forward(&loss, &logits[i], probability, &targets[i], 1);
        assert_true(fabs(got - want[i]) <= 1e-6 * (1 + want[i]));
        loss_backward(&loss, d_sums, &logits[i], probability, &targets[i], 1);
        assert_float_equal(d_sums[0], want_gradient[i], 1e-6);
    }
}

/* What a bounded feature's other formula would say is never looked at. */
static void a_bounded_feature_ignores_the_last_activation(void **state)
{
    (void)state;
    draw(1);
    const double kept = value();

    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        loss.activation = a;
        assert_true(value() == kept);
    }
}

static void a_value_that_is_not_a_number_shows(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 3; kind++) {
        draw(kind);
        sums[loss.n_features / 2] = NAN;
        loss.activation = ACTIVATION_LINEAR;
        assert_true(isnan(value()));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_matches_the_textbook_formulas),
        cmocka_unit_test(a_large_batch_keeps_its_digits),
        cmocka_unit_test(backward_matches_finite_differences),
        cmocka_unit_test(backward_is_exact_for_plain_differences),
        cmocka_unit_test(cross_entropy_stays_finite_at_any_logit),
        cmocka_unit_test(a_bounded_feature_ignores_the_last_activation),
        cmocka_unit_test(a_value_that_is_not_a_number_shows),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
