#include "nn/activation.h"

#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

static double textbook(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_LINEAR:
        return x;
    case ACTIVATION_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_RELU:
        return fmax(x, 0.0);
    case ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case ACTIVATION_ELU:
        return x > 0.0 ? x : expm1(x);
    case N_ACTIVATIONS:
        break;
    }
    return (double)NAN;
}

static void forward_agrees_with_libm(void **state)
{
    (void)state;
    for (enum activation a = 0; a < N_ACTIVATIONS; a++)
        for (float x = -80.0F; x < 80.0F; x += 0.00391F) {
            float out;
            activation_forward(a, &out, &x, 1);
            const double want = textbook(a, (double)x);
            assert_true(fabs((double)out - want) <= 3e-7 * fabs(want));
        }
}

static void forward_saturates(void **state)
{
    (void)state;
    const float in[] = {-INFINITY, -1e30F, -1000.0F, 1000.0F, 1e30F, INFINITY};
    const double low[N_ACTIVATIONS] = {[ACTIVATION_TANH] = -1, [ACTIVATION_ELU] = -1};
    float out[6];

    for (enum activation a = ACTIVATION_SIGMOID; a < N_ACTIVATIONS; a++) {
        const bool levels_off = a == ACTIVATION_SIGMOID || a == ACTIVATION_TANH;
        activation_forward(a, out, in, 6);
        for (size_t i = 0; i < 3; i++)
            assert_true(fabs((double)out[i] - low[a]) <= 1e-30);
        for (size_t i = 3; i < 6; i++)
            assert_true(out[i] == (levels_off ? 1.0F : in[i]));
    }
}

static void nan_stays_nan(void **state)
{
    (void)state;
    for (enum activation a = 0; a < N_ACTIVATIONS; a++)
        for (size_t at = 0; at < 19; at++) {
            float values[19] = {0};
            values[at] = NAN;
            activation_forward(a, values, values, 19);
            for (size_t i = 0; i < 19; i++)
                assert_int_equal(isnan(values[i]), i == at);
        }
}

static void forward_works_in_place(void **state)
{
    (void)state;
    float in[37], out[37];

    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        for (size_t i = 0; i < 37; i++)
            in[i] = (float)i * 0.37F - 5.0F;
        activation_forward(a, out, in, 37);
        activation_forward(a, in, in, 37);
        assert_memory_equal(out, in, sizeof(out));
    }
}

static void an_element_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    float in[53], whole[53], alone;

    for (size_t i = 0; i < 53; i++)
        in[i] = (float)i * 0.731F - 19.0F;
    for (enum activation a = 0; a < N_ACTIVATIONS; a++)
        for (size_t first = 0; first < 9; first++) {
            activation_forward(a, whole, in + first, 53 - first);
            for (size_t i = 0; first + i < 53; i++) {
                activation_forward(a, &alone, in + first + i, 1);
                assert_memory_equal(&alone, &whole[i], sizeof(alone));
            }
        }
}

static void backward_matches_finite_differences(void **state)
{
    (void)state;
    const double step = 1e-5;
    float in[41], out[41], d[41];

    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        for (size_t i = 0; i < 41; i++) {
            in[i] = (float)i * 0.41F - 8.11F;
            d[i] = i % 2 ? 1.0F : -2.0F;
        }
        activation_forward(a, out, in, 41);
        activation_backward(a, d, in, out, 41);
        for (size_t i = 0; i < 41; i++) {
            const double x = (double)in[i];
            const double slope = (textbook(a, x + step) - textbook(a, x - step)) / (2 * step);
            assert_true(fabs((double)d[i] - slope * (i % 2 ? 1 : -2)) <= 1e-5);
        }
    }
}

static void backward_is_finite_however_large_the_sum(void **state)
{
    (void)state;
    const float in[] = {-1e30F, -200.0F, 200.0F, 1e30F};
    float out[4];

    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        float d[] = {1, 1, 1, 1};
        activation_forward(a, out, in, 4);
        activation_backward(a, d, in, out, 4);
        for (size_t i = 0; i < 4; i++)
            assert_true(fabs((double)d[i]) <= 1.0);
    }
}

/* The network keeps the sums of silu only. */
static void the_gradients_of_all_but_silu_need_only_the_output(void **state)
{
    (void)state;
    float in[41], out[41];

    for (size_t i = 0; i < 41; i++)
        in[i] = (float)i * 0.41F - 8.2F; /* 0 is one of them */
    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        float d[41], d_without[41];
        for (size_t i = 0; i < 41; i++)
            d[i] = d_without[i] = 1.0F;
        activation_forward(a, out, in, 41);
        activation_backward(a, d, in, out, 41);
        activation_backward(a, d_without, out, out, 41);
        if (a != ACTIVATION_SILU)
            assert_memory_equal(d, d_without, sizeof(d));
    }
}

static void names_lead_back_to_the_activation(void **state)
{
    (void)state;
    enum activation found = ACTIVATION_RELU;

    for (enum activation a = 0; a < N_ACTIVATIONS; a++) {
        assert_int_equal(activation_from_name(activation_name(a), &found), 0);
        assert_int_equal(found, a);
    }
    assert_int_equal(activation_from_name("softmax", &found), -EINVAL);
    assert_int_equal(activation_from_name("", &found), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_libm),
        cmocka_unit_test(forward_saturates),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(forward_works_in_place),
        cmocka_unit_test(an_element_does_not_depend_on_its_neighbours),
        cmocka_unit_test(backward_matches_finite_differences),
        cmocka_unit_test(backward_is_finite_however_large_the_sum),
        cmocka_unit_test(the_gradients_of_all_but_silu_need_only_the_output),
        cmocka_unit_test(names_lead_back_to_the_activation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
