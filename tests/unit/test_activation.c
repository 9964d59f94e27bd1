#include "nn/activation.h"

#include "support/cmocka.h"

#include <errno.h>
#include <math.h>

static const enum activation ALL[] = {ACTIVATION_LINEAR, ACTIVATION_SIGMOID, ACTIVATION_TANH,
                                      ACTIVATION_RELU};
#define N_ALL (sizeof(ALL) / sizeof(*ALL))

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
    }
    return (double)NAN;
}

static void forward_matches_the_textbook(void **state)
{
    (void)state;
    const float in[] = {-30, -2, -0.5F, 0, 0.25F, 3, 40};
    float out[7];

    for (size_t a = 0; a < N_ALL; a++) {
        activation_forward(ALL[a], out, in, 7);
        for (size_t i = 0; i < 7; i++)
            assert_float_equal(out[i], (float)textbook(ALL[a], (double)in[i]), 1e-6);
    }
}

static void forward_works_in_place(void **state)
{
    (void)state;
    const float in[] = {-1, 2};
    float out[2], same[2];

    for (size_t a = 0; a < N_ALL; a++) {
        same[0] = in[0];
        same[1] = in[1];
        activation_forward(ALL[a], out, in, 2);
        activation_forward(ALL[a], same, same, 2);
        assert_memory_equal(out, same, sizeof(out));
    }
}

static void backward_matches_finite_differences(void **state)
{
    (void)state;
    const float in[] = {-2, -0.5F, 0.25F, 3};
    const double step = 1e-5;
    float out[4];

    for (size_t a = 0; a < N_ALL; a++) {
        float d[] = {1, 1, 1, -2};
        activation_forward(ALL[a], out, in, 4);
        activation_backward(ALL[a], d, in, out, 4);
        for (size_t i = 0; i < 4; i++) {
            const double x = (double)in[i];
            const double slope =
                (textbook(ALL[a], x + step) - textbook(ALL[a], x - step)) / (2 * step);
            assert_float_equal(d[i], (float)(slope * (i == 3 ? -2 : 1)), 1e-4);
        }
    }
}

static void names_lead_back_to_the_activation(void **state)
{
    (void)state;
    enum activation found = ACTIVATION_RELU;

    for (size_t a = 0; a < N_ALL; a++) {
        assert_int_equal(activation_from_name(activation_name(ALL[a]), &found), 0);
        assert_int_equal(found, ALL[a]);
    }
    assert_int_equal(activation_from_name("softmax", &found), -EINVAL);
    assert_int_equal(activation_from_name("", &found), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_matches_the_textbook),
        cmocka_unit_test(forward_works_in_place),
        cmocka_unit_test(backward_matches_finite_differences),
        cmocka_unit_test(names_lead_back_to_the_activation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
