#include "detector/rank_gauss.h"

#include "base/random.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

static struct rank_gauss *ranks;

static void assert_near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (1.0 + fabs(want))))
        fail_msg("%.17g is not %.17g", have, want);
}

static void fit(const float *rows, size_t n_rows, size_t n_features)
{
    rank_gauss_free(TAKE(ranks));
    assert_int_equal(rank_gauss_fit(rows, n_rows, n_features, &ranks), 0);
}

static int tear_down(void **state)
{
    (void)state;
    rank_gauss_free(TAKE(ranks));
    return 0;
}

static double at(float value)
{
    float out;

    rank_gauss_apply(ranks, &value, &out);
    return (double)out;
}

/* from scipy.special import ndtri                    # 1.10.1 */
static void quantiles_are_those_of_scipy(void **state)
{
    (void)state;
    static const double known[][2] = {
        {1e-300,             -37.047096299361201    },
        {1e-100,             -21.273453560965322    },
        {1e-16,              -8.2220822161304348    },
        {0.0001,             -3.7190164854556804    },
        {0.02425,            -1.9729610513118849    },
        {0.025,              -1.9599639845400545    },
        {0.1,                -1.2815515655446004    },
        {0.25,               -0.67448975019608171   },
        {0.4999999990686774, -2.3344794983332983e-09},
        {0.5,                0                      },
        {0.75,               0.67448975019608171    },
        {0.999,              3.0902323061678132     },
        {1 - 0x1p-53,        8.2095361516013874     },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        assert_near(rank_gauss_quantile(known[i][0]), known[i][1], 1e-14);
}

static void quantiles_turn_the_distribution_function_around(void **state)
{
    (void)state;
    for (double p = 1e-6; p < 1; p += 0.000997) {
        assert_near(0.5 * erfc(-rank_gauss_quantile(p) / sqrt(2.0)), p, 1e-14);
        assert_near(rank_gauss_quantile(1 - p), -rank_gauss_quantile(p), 1e-10);
    }
}

static void few_values_have_a_knot_each_at_their_mid_rank(void **state)
{
    (void)state;
    const float rows[] = {3, -1, 3, 7, 3, -1, 3, 8}; /* two, four, one and one */
    const double middles[] = {1.0 / 8, 4.0 / 8, 6.5 / 8, 7.5 / 8};
    const float values[] = {-1, 3, 7, 8};

    fit(rows, 8, 1);
    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++) {
        const size_t i = k < 4 ? k : 3; /* the last one again */
        assert_true(ranks->values[k] == values[i]);
        assert_near((double)ranks->quantiles[k], rank_gauss_quantile(middles[i]), 1e-7);
    }
    for (size_t i = 0; i < 4; i++)
        assert_near(at(values[i]), rank_gauss_quantile(middles[i]), 1e-7);
}

/* x = np.float32([((7*i*i + 5*i) % 1009) / 100 for i in range(1500)]).astype(float)[:, None]
 * b = RankGauss(x)              # reference.py; b.std = 1: x counts as standardised
 * v, q = b.knots[0]
 * for k in 0, 1, 2, 100, 127, 128, 254, 255: print('{%d, %.9g, %.15g},' % (k, v[k], q[k]))
 * for a in -3, -.001, 0, .005, 1.234, 5, 7.777, 10.05, 10.08, 12: print(a, b(np.array([[a]]))) */
static void many_values_are_thinned_as_in_the_reference(void **state)
{
    (void)state;
    static const struct {
        size_t k;
        double value, quantile;
    } knots[] = {
        {0,   0,            -3.09023230616781    },
        {1,   0.0299999993, -2.59959686484744    },
        {2,   0.0700000003, -2.39397979981851    },
        {100, 4.03000021,   -0.272375468309435   },
        {127, 5.17000008,   -0.00835552480429347 },
        {128, 5.19000006,   -0.000835542855430219},
        {254, 10.0299997,   2.5758293035489      },
        {255, 10.0799999,   3.208706910435       },
    };
    static const double curve[][2] = {
        {-3,     -6.09023230616781  },
        {-0.001, -3.09123230616781  },
        {0,      -3.09023230616781  },
        {0.005,  -3.00845973078666  },
        {1.234,  -1.18057495268473  },
        {5,      -0.0342639563270501},
        {7.777,  0.654797499386204  },
        {10.05,  2.82898276053062   },
        {10.08,  3.20870698672895   },
        {12,     5.12870698672895   },
    };
    float rows[1500];

    for (size_t i = 0; i < 1500; i++)
        rows[i] = (float)((double)((7 * i * i + 5 * i) % 1009) / 100);
    fit(rows, 1500, 1);
    for (size_t i = 0; i < sizeof(knots) / sizeof(*knots); i++) {
        assert_near((double)ranks->values[knots[i].k], knots[i].value, 1e-8);
        assert_near((double)ranks->quantiles[knots[i].k], knots[i].quantile, 1e-7);
    }
    for (size_t i = 0; i < sizeof(curve) / sizeof(*curve); i++)
        assert_near(at((float)curve[i][0]), curve[i][1], 1e-5);
}

/* One value more than knots: one in the middle goes, the ends stay. */
static void as_many_values_as_knots_are_all_kept(void **state)
{
    (void)state;
    float rows[RANK_GAUSS_KNOTS + 1];

    for (size_t i = 0; i < RANK_GAUSS_KNOTS + 1; i++)
        rows[i] = (float)i;
    fit(rows, RANK_GAUSS_KNOTS, 1);
    assert_memory_equal(ranks->values, rows, RANK_GAUSS_KNOTS * sizeof(*rows));
    fit(rows, RANK_GAUSS_KNOTS + 1, 1);
    assert_true(ranks->values[0] == 0 && ranks->values[RANK_GAUSS_KNOTS - 1] == RANK_GAUSS_KNOTS);
    for (size_t k = 1; k < RANK_GAUSS_KNOTS; k++)
        assert_true(ranks->values[k] > ranks->values[k - 1]);
}

static void ranks_are_held_within_their_limits(void **state)
{
    (void)state;
    static float rows[20000];

    for (size_t i = 0; i < 20000; i++)
        rows[i] = (float)i;
    fit(rows, 20000, 1); /* 0.5 / 20,000 is less than 0.0001 */
    assert_near((double)ranks->quantiles[0], -3.7190164854556804, 1e-7);
    assert_near((double)ranks->quantiles[RANK_GAUSS_KNOTS - 1], 3.7190164854556804, 1e-7);
}

static void between_knots_the_curve_is_linear(void **state)
{
    (void)state;
    const float rows[] = {0, 0, 1, 5};
    const double low = rank_gauss_quantile(0.25), middle = rank_gauss_quantile(0.625);
    const double high = rank_gauss_quantile(0.875);

    fit(rows, 4, 1);
    assert_near(at(0.25F), low + 0.25 * (middle - low), 1e-6);
    assert_near(at(4), middle + 0.75 * (high - middle), 1e-6);
}

static void a_value_goes_by_the_last_knot_that_is_not_above_it(void **state)
{
    (void)state;
    float values[RANK_GAUSS_KNOTS], quantiles[RANK_GAUSS_KNOTS];
    CLEANUP(rank_gauss_freep) struct rank_gauss *rank_gauss = NULL;

    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++) { /* the last sixth is one value */
        values[k] = (float)(k < 213 ? k : 213);
        quantiles[k] = (float)(k < 213 ? k * k : 213 * 213);
    }
    assert_int_equal(rank_gauss_new(values, quantiles, 1, &rank_gauss), 0);
    for (size_t k = 0; k < 213; k++) {
        const float at = (float)k, between = at + 0.5F;
        float out;
        rank_gauss_apply(rank_gauss, &at, &out);
        assert_near((double)out, (double)(k * k), 1e-3);
        rank_gauss_apply(rank_gauss, &between, &out);
        assert_near((double)out, (double)(k * k) + 0.5 * (double)(2 * k + 1), 1e-2);
    }
    const float beyond[] = {-1.5F, 213, 215};
    const double wanted[] = {-1.5, 213 * 213, 213 * 213 + 2};
    for (size_t i = 0; i < 3; i++) {
        float out;
        rank_gauss_apply(rank_gauss, &beyond[i], &out);
        assert_near((double)out, wanted[i], 1e-2);
    }
}

static void far_is_far(void **state)
{
    (void)state;
    const float rows[] = {-1, 0, 2};

    fit(rows, 3, 1);
    assert_near(at(2 + 90) - at(2), 90, 1e-6);
    assert_near(at(-1) - at(-1 - 99), 99, 1e-6);
    assert_near(at(2.001F) - at(2), 0.001, 1e-4);
}

static void the_curve_never_falls_nor_jumps(void **state)
{
    (void)state;
    float rows[700];
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < 700; i++)
        rows[i] = (float)exp(random_normal(&random)); /* knots far apart and close together */
    fit(rows, 700, 1);
    double before = at(-1);
    for (float z = -1; z < 20; z += 1e-3F) {
        const double now = at(z);
        assert_true(now >= before - 1e-5);
        before = now;
    }
    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++) {
        const float just_below = nextafterf(ranks->values[k], -INFINITY);
        assert_near(at(ranks->values[k]), (double)ranks->quantiles[k], 1e-7);
        assert_near(at(just_below), (double)ranks->quantiles[k], 2e-4);
    }
}

static void a_constant_is_zero_and_moves_in_deviations(void **state)
{
    (void)state;
    const float rows[] = {2, 2, 2};

    fit(rows, 3, 1);
    assert_true(at(2) == 0);
    assert_true(at(5.5F) == 3.5 && at(-1) == -3);
}

static void one_row_is_a_constant(void **state)
{
    (void)state;
    const float row[] = {0.5F, -4};
    float out[2];

    fit(row, 1, 2);
    rank_gauss_apply(ranks, (const float[]){0.5F, -5}, out);
    assert_true(out[0] == 0 && out[1] == -1);
}

static void negative_zero_is_zero(void **state)
{
    (void)state;
    const float rows[] = {-0.0F, 0.0F, 1};

    fit(rows, 3, 1);
    assert_near(at(-0.0F), rank_gauss_quantile(1.0 / 3), 1e-7);
    assert_true(at(-0.0F) == at(0.0F));
}

static void features_do_not_see_each_other(void **state)
{
    (void)state;
    const float rows[] = {1, 30, 2, 10, 3, 20};
    float out[2];

    fit(rows, 3, 2);
    rank_gauss_apply(ranks, (const float[]){3, 10}, out);
    assert_near((double)out[0], rank_gauss_quantile(2.5 / 3), 1e-7);
    assert_near((double)out[1], rank_gauss_quantile(0.5 / 3), 1e-7);
}

static void slopes_are_finite_where_values_nearly_touch(void **state)
{
    (void)state;
    const float rows[] = {0, FLT_TRUE_MIN, 2 * FLT_TRUE_MIN, 1};

    fit(rows, 4, 1);
    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++)
        assert_true(isfinite(ranks->slopes[k]) && ranks->slopes[k] >= 0);
    for (size_t i = 0; i < 4; i++)
        assert_near(at(rows[i]), rank_gauss_quantile((0.5 + (double)i) / 4), 1e-6);
}

static void kept_knots_give_the_same_bits(void **state)
{
    (void)state;
    float rows[400 * 2], expected[2], out[2];
    struct random random;

    random_seed(&random, 3);
    for (size_t i = 0; i < 800; i++)
        rows[i] = (float)random_normal(&random);
    fit(rows, 400, 2);
    CLEANUP(rank_gauss_freep) struct rank_gauss *read = NULL;
    assert_int_equal(rank_gauss_new(ranks->values, ranks->quantiles, 2, &read), 0);
    for (size_t i = 0; i < 400; i++) {
        rank_gauss_apply(ranks, rows + 2 * i, expected);
        rank_gauss_apply(read, rows + 2 * i, out);
        assert_memory_equal(out, expected, sizeof(out));
    }
}

static void impossible_knots_are_refused_untouched(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, -100}; /* the last one: falling */
    float knots[2][2 * RANK_GAUSS_KNOTS];
    struct rank_gauss *read = NULL;

    for (size_t which = 0; which < 2; which++)
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            for (size_t k = 0; k < 2 * RANK_GAUSS_KNOTS; k++)
                knots[0][k] = knots[1][k] = (float)(k % RANK_GAUSS_KNOTS);
            knots[which][RANK_GAUSS_KNOTS + 200] = bad[i];
            assert_int_equal(rank_gauss_new(knots[0], knots[1], 2, &read), -EINVAL);
            assert_null(read);
        }
}

/* What follows must cope with infinite values, not with NaN. */
static void the_wildest_knots_of_a_file_give_no_nan(void **state)
{
    (void)state;
    float values[RANK_GAUSS_KNOTS], quantiles[RANK_GAUSS_KNOTS];

    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++) {
        values[k] = k < 100 ? -FLT_MAX : k < 200 ? FLT_TRUE_MIN : FLT_MAX;
        quantiles[k] = k < 150 ? -FLT_MAX : FLT_MAX;
    }
    rank_gauss_free(TAKE(ranks));
    assert_int_equal(rank_gauss_new(values, quantiles, 1, &ranks), 0);
    for (float z = -100; z <= 100; z += 0.5F)
        assert_false(isnan(at(z)));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    float rows[RANK_GAUSS_KNOTS] = {0, 1};
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(rank_gauss_freep) struct rank_gauss *made = NULL;
        CLEANUP(rank_gauss_freep) struct rank_gauss *read = NULL;
        alloc_fail_in = nth;
        r = rank_gauss_fit(rows, 2, 1, &made);
        if (r == 0)
            r = rank_gauss_new(made->values, made->quantiles, 1, &read);
        alloc_fail_in = -1;
        assert_int_equal(!read, r < 0);
    }
    assert_int_equal(r, 0);
    assert_int_equal(nth, 3 + 2 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_scipy),
        cmocka_unit_test(quantiles_turn_the_distribution_function_around),
        cmocka_unit_test(few_values_have_a_knot_each_at_their_mid_rank),
        cmocka_unit_test(many_values_are_thinned_as_in_the_reference),
        cmocka_unit_test(as_many_values_as_knots_are_all_kept),
        cmocka_unit_test(ranks_are_held_within_their_limits),
        cmocka_unit_test(between_knots_the_curve_is_linear),
        cmocka_unit_test(a_value_goes_by_the_last_knot_that_is_not_above_it),
        cmocka_unit_test(far_is_far),
        cmocka_unit_test(the_curve_never_falls_nor_jumps),
        cmocka_unit_test(a_constant_is_zero_and_moves_in_deviations),
        cmocka_unit_test(one_row_is_a_constant),
        cmocka_unit_test(negative_zero_is_zero),
        cmocka_unit_test(features_do_not_see_each_other),
        cmocka_unit_test(slopes_are_finite_where_values_nearly_touch),
        cmocka_unit_test(kept_knots_give_the_same_bits),
        cmocka_unit_test(impossible_knots_are_refused_untouched),
        cmocka_unit_test(the_wildest_knots_of_a_file_give_no_nan),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
