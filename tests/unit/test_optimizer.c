#include "nn/optimizer.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>

/* Algorithm 1 of the paper, in double. */
static void ten_steps_match_the_paper(void **state)
{
    (void)state;
    CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
    float params[] = {0.5F, -1.0F};
    double want[] = {0.5, -1.0}, m[2] = {0}, v[2] = {0};

    assert_int_equal(optimizer_init(&optimizer, 2), 0);
    for (int t = 1; t <= 10; t++) {
        const float d[] = {(float)sin(t), 0.01F * (float)t};
        optimizer_step(&optimizer, params, d, 0.01);
        for (size_t i = 0; i < 2; i++) {
            const double g = (double)d[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            want[i] -=
                0.01 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
        }
    }
    assert_float_equal(params[0], (float)want[0], 1e-5);
    assert_float_equal(params[1], (float)want[1], 1e-5);
}

static void finds_the_bottom_of_a_bowl(void **state)
{
    (void)state;
    CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
    float params[] = {4, -3};

    assert_int_equal(optimizer_init(&optimizer, 2), 0);
    for (int step = 0; step < 2000; step++) {
        const float d[] = {2 * (params[0] - 1), 20 * (params[1] - 2)};
        optimizer_step(&optimizer, params, d, 0.02);
    }
    assert_float_equal(params[0], 1, 1e-2);
    assert_float_equal(params[1], 2, 1e-2);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 10; nth++) {
        CLEANUP(optimizer_clear) struct optimizer optimizer = {0};
        alloc_fail_in = nth;
        r = optimizer_init(&optimizer, 8);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_match_the_paper),
        cmocka_unit_test(finds_the_bottom_of_a_bowl),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
