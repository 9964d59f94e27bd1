#include "nn/loss.h"

#include "support/cmocka.h"
#include "support/gradient.h"

static float out[] = {1, -2, 0.5F};
static const float target[] = {0, 1, 0.5F};

static double loss(void)
{
    return loss_mse_forward(out, target, 3);
}

static void mse_is_the_mean_of_squared_differences(void **state)
{
    (void)state;
    assert_float_equal((float)loss(), (1.0F + 9.0F + 0.0F) / 3.0F, 1e-6);
}

static void mse_backward_matches_finite_differences(void **state)
{
    (void)state;
    float d_out[3];

    loss_mse_backward(d_out, out, target, 3);
    assert_gradient(loss, out, d_out, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mse_is_the_mean_of_squared_differences),
        cmocka_unit_test(mse_backward_matches_finite_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
