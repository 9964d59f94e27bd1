#include "nn/optimizer.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_PARAMS  37 /* not a multiple of any vector's width */
#define N_DECAYED 21

static double sign(double x)
{
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
}

/* One step of one param as in torch.optim's documentation, in double; m and v are its averages. */
static void textbook_step(const struct optimizer_options *options, int t, double rate, double g,
                          double *p, double *m, double *v)
{
    const double decay = options->weight_decay;

    if (options->kind == OPTIMIZER_ADAMW)
        *p -= rate * decay * *p;
    else
        g += decay * *p;
    switch (options->kind) {
    case OPTIMIZER_SGD:
        *p -= rate * g;
        break;
    case OPTIMIZER_MOMENTUM:
        *m = t == 1 ? g : 0.9 * *m + g;
        *p -= rate * *m;
        break;
    case OPTIMIZER_NESTEROV:
        *m = t == 1 ? g : 0.9 * *m + g;
        *p -= rate * (g + 0.9 * *m);
        break;
    case OPTIMIZER_ADAM:
    case OPTIMIZER_ADAMW:
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        *p -= rate * (*m / (1 - pow(0.9, t))) / (sqrt(*v / (1 - pow(0.999, t))) + 1e-8);
        break;
    case N_OPTIMIZERS:
        break;
    }
}

static void ten_steps_match_the_textbook(const struct optimizer_options *options)
{
    CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
    const struct optimizer_options bare = {.kind = options->kind};
    float params[N_PARAMS], d[N_PARAMS];
    double want[N_PARAMS], m[N_PARAMS] = {0}, v[N_PARAMS] = {0};

    assert_int_equal(optimizer_init(&optimizer, options, N_PARAMS, N_DECAYED), 0);
    for (size_t i = 0; i < N_PARAMS; i++)
        want[i] = (double)(params[i] = (float)cos(3.0 * (double)i));
    for (int t = 1; t <= 10; t++) {
        const double rate = 0.01 * t;
        for (size_t i = 0; i < N_PARAMS; i++) {
            const bool is_decayed = i < N_DECAYED;
            d[i] = (float)sin(t + (double)i);
            textbook_step(is_decayed ? options : &bare, t, rate,
                          (double)d[i] + (is_decayed ? options->l1 * sign(want[i]) : 0.0), &want[i],
                          &m[i], &v[i]);
        }
        optimizer_step(&optimizer, params, d, rate);
    }
    for (size_t i = 0; i < N_PARAMS; i++)
        if (!(fabs((double)params[i] - want[i]) < 2e-6))
            fail_msg("%s, param %zu: %.8f, should be %.8f", optimizer_name(options->kind), i,
                     (double)params[i], want[i]);
    assert_int_equal(optimizer.step, 10);
}

static void every_kind_matches_the_textbook(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_OPTIMIZERS; kind++)
        ten_steps_match_the_textbook(
            &(struct optimizer_options){.kind = (enum optimizer_kind)kind});
}

static void decay_acts_on_weights_and_not_on_biases(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_OPTIMIZERS; kind++) {
        ten_steps_match_the_textbook(
            &(struct optimizer_options){.kind = (enum optimizer_kind)kind, .weight_decay = 0.25});
        ten_steps_match_the_textbook(
            &(struct optimizer_options){.kind = (enum optimizer_kind)kind, .l1 = 0.125});
    }
}

static void l1_leaves_a_weight_of_0_alone(void **state)
{
    (void)state;
    CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
    const struct optimizer_options options = {.kind = OPTIMIZER_SGD, .l1 = 0.5};
    float params[] = {0, 1, -1}, d[] = {0, 0, 0};

    assert_int_equal(optimizer_init(&optimizer, &options, 3, 3), 0);
    optimizer_step(&optimizer, params, d, 0.5);
    assert_float_equal(params[0], 0, 0);
    assert_float_equal(params[1], 0.75F, 0);
    assert_float_equal(params[2], -0.75F, 0);
}

static void every_kind_finds_the_bottom_of_a_bowl(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_OPTIMIZERS; kind++) {
        CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
        const struct optimizer_options options = {.kind = (enum optimizer_kind)kind};
        float params[] = {4, -3};

        assert_int_equal(optimizer_init(&optimizer, &options, 2, 2), 0);
        for (int step = 0; step < 2000; step++) {
            const float d[] = {2 * (params[0] - 1), 20 * (params[1] - 2)};
            optimizer_step(&optimizer, params, d, 0.02);
        }
        assert_float_equal(params[0], 1, 1e-2);
        assert_float_equal(params[1], 2, 1e-2);
    }
}

static void a_gradient_of_0_moves_nothing(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < N_OPTIMIZERS; kind++) {
        CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
        const struct optimizer_options options = {.kind = (enum optimizer_kind)kind};
        float params[] = {4, -3};

        assert_int_equal(optimizer_init(&optimizer, &options, 2, 2), 0);
        optimizer_step(&optimizer, params, (const float[]){0, 0}, 0.1);
        assert_float_equal(params[0], 4, 0);
        assert_float_equal(params[1], -3, 0);
    }
}

static void clipping_scales_a_long_gradient_and_leaves_a_short_one(void **state)
{
    (void)state;
    float d[N_PARAMS], longer[N_PARAMS];
    double squares = 0.0;

    for (size_t i = 0; i < N_PARAMS; i++) {
        longer[i] = d[i] = (float)sin((double)i);
        squares += (double)d[i] * (double)d[i];
    }
    const double norm = sqrt(squares);
    assert_true(fabs(optimizer_clip(d, N_PARAMS, 0.0) - norm) < 1e-12 * norm);
    assert_true(fabs(optimizer_clip(d, N_PARAMS, 1.001 * norm) - norm) < 1e-12 * norm);
    assert_memory_equal(d, longer, sizeof(d));

    assert_true(fabs(optimizer_clip(d, N_PARAMS, 0.5) - norm) < 1e-12 * norm);
    for (size_t i = 0; i < N_PARAMS; i++)
        assert_float_equal(d[i], longer[i] * (float)(0.5 / (norm + 1e-6)), 1e-7);
}

static void the_norm_of_huge_gradients_does_not_overflow(void **state)
{
    (void)state;
    float d[] = {3e30F, 4e30F};

    assert_float_equal((float)(optimizer_clip(d, 2, 10.0) / 1e30), 5, 1e-5);
    assert_float_equal(d[0], 6, 1e-5);
    assert_float_equal(d[1], 8, 1e-5);
}

static void names_are_read_as_they_are_written(void **state)
{
    (void)state;
    enum optimizer_kind kind = OPTIMIZER_NESTEROV;

    assert_int_equal(optimizer_from_name("adamax", &kind), -EINVAL);
    assert_int_equal(optimizer_from_name("", &kind), -EINVAL);
    assert_int_equal(kind, OPTIMIZER_NESTEROV);
    for (size_t i = 0; i < N_OPTIMIZERS; i++) {
        assert_int_equal(optimizer_from_name(optimizer_name((enum optimizer_kind)i), &kind), 0);
        assert_int_equal(kind, i);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const struct optimizer_options options = {.kind = OPTIMIZER_ADAM};
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
        alloc_fail_in = nth;
        r = optimizer_init(&optimizer, &options, 8, 8);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_int_equal(nth, 3); /* two averages */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_matches_the_textbook),
        cmocka_unit_test(decay_acts_on_weights_and_not_on_biases),
        cmocka_unit_test(l1_leaves_a_weight_of_0_alone),
        cmocka_unit_test(every_kind_finds_the_bottom_of_a_bowl),
        cmocka_unit_test(a_gradient_of_0_moves_nothing),
        cmocka_unit_test(clipping_scales_a_long_gradient_and_leaves_a_short_one),
        cmocka_unit_test(the_norm_of_huge_gradients_does_not_overflow),
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
