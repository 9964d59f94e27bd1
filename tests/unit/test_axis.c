#include "anomalyctl/axis.h"

#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void assert_near(double value, double want)
{
    assert_true(fabs(value - want) <= 1e-9 * fmax(1e-290, fabs(want)));
}

static void assert_ticks(const struct axis *axis, const double *want, size_t n_want)
{
    double ticks[AXIS_MAX_TICKS];

    assert_int_equal(axis_ticks(axis, ticks), n_want);
    for (size_t i = 0; i < n_want; i++)
        assert_near(ticks[i], want[i]);
}

static void limits_and_ticks_are_round(void **state)
{
    (void)state;
    struct axis axis = {0};

    axis_fit(&axis, 0.03, 0.94);
    assert_ticks(&axis, (const double[]){0, 0.2, 0.4, 0.6, 0.8, 1}, 6);
    axis_fit(&axis, -130, 220);
    assert_ticks(&axis, (const double[]){-200, -100, 0, 100, 200, 300}, 6);
}

/* 0 to 16.3 has steps of 2 and ends at 18, but 0 to 18 has steps of 5. */
static void both_limits_are_ticks(void **state)
{
    (void)state;
    double ticks[AXIS_MAX_TICKS];

    for (double high = 1; high < 2000; high *= 1.01)
        for (size_t is_log = 0; is_log < 2; is_log++) {
            struct axis axis = {.is_log = is_log};
            axis_fit(&axis, is_log ? 0.7 : 0, high);
            const size_t n = axis_ticks(&axis, ticks);
            assert_in_range(n, 2, 12);
            assert_near(ticks[0], axis.low);
            assert_near(ticks[n - 1], axis.high);
            assert_true(axis.high >= high);
        }
}

static void log_axis_has_ticks_at_1_2_5_or_decades(void **state)
{
    (void)state;
    struct axis axis = {.is_log = true};

    axis_fit(&axis, 0.3, 4);
    assert_ticks(&axis, (const double[]){0.2, 0.5, 1, 2, 5}, 5);
    axis_fit(&axis, 2e-4, 30);
    assert_ticks(&axis, (const double[]){1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100}, 7);
}

static void wide_log_axis_leaves_decades_out(void **state)
{
    (void)state;
    struct axis axis = {.is_log = true};
    double ticks[AXIS_MAX_TICKS];

    axis_fit(&axis, 0, (double)INFINITY);
    assert_in_range(axis_ticks(&axis, ticks), 4, 9);
    axis_fit(&axis, 1e-20, 1);
    const size_t n = axis_ticks(&axis, ticks);
    assert_in_range(n, 4, 9);
    assert_true(ticks[1] / ticks[0] > 99);
}

static void what_is_no_range_becomes_one(void **state)
{
    (void)state;
    const double none = (double)NAN, infinite = (double)INFINITY;
    const double pairs[][2] = {
        {none,      none     },
        {5,         5        },
        {0,         0        },
        {-3,        -3       },
        {none,      2        },
        {2,         none     },
        {1e300,     1e308    },
        {-infinite, infinite },
        {3,         1        },
        {1e-320,    0.1      },
        {1,         1 + 1e-15},
        {5e-324,    5e-324   },
    };

    for (size_t i = 0; i < 2 * COUNT(pairs); i++) {
        struct axis axis = {.is_log = i % 2};
        double ticks[AXIS_MAX_TICKS];
        axis_fit(&axis, pairs[i / 2][0], pairs[i / 2][1]);
        assert_true(isfinite(axis.low) && isfinite(axis.high) && axis.low < axis.high);
        assert_true(!axis.is_log || axis.low > 0);
        assert_true(axis_ticks(&axis, ticks) >= 2);
        assert_in_range(axis_digits(&axis), 1, 15);
    }
}

static void values_have_a_place_from_0_to_1(void **state)
{
    (void)state;
    const struct axis linear = {.low = -1, .high = 3},
                      log = {.is_log = true, .low = 1, .high = 100};

    assert_near(axis_place(&linear, 0), 0.25);
    assert_near(axis_place(&log, 10), 0.5);
    assert_near(axis_place(&linear, 17), 1); /* clamped */
    assert_near(axis_place(&log, 1e-9), 0);
    assert_near(axis_place(&linear, (double)INFINITY), 1);
}

static void nan_and_nothing_on_a_log_axis_have_no_place(void **state)
{
    (void)state;
    const struct axis linear = {.low = -1, .high = 3},
                      log = {.is_log = true, .low = 1, .high = 100};

    assert_true(isnan(axis_place(&linear, (double)NAN)));
    assert_true(isnan(axis_place(&log, (double)NAN)));
    assert_true(isnan(axis_place(&log, 0)));
    assert_true(isnan(axis_place(&log, -5)));
}

static void numbers_are_short(void **state)
{
    (void)state;
    const struct {
        double value;
        int digits;
        const char *want;
    } cases[] = {
        {0,             3,  "0"                                },
        {-0.0,          3,  "0"                                },
        {0.25,          3,  "0.25"                             },
        {0.30000000001, 3,  "0.3"                              },
        {0.98765,       3,  "0.988"                            },
        {1500,          2,  "1500"                             },
        {-3,            2,  "−3"                             },
        {99999.9,       3,  "10⁵"                            },
        {120000,        3,  "1.2·10⁵"                       },
        {0.001,         2,  "0.001"                            },
        {0.0001,        2,  "10⁻⁴"                         },
        {-2e-7,         2,  "−2·10⁻⁷"                   },
        {9.9999e-7,     3,  "10⁻⁶"                         },
        {1.7e308,       3,  "1.7·10³⁰⁸"                  },
        {5e-324,        1,  "5·10⁻³²⁴"                  },
        {-1.0 / 3e200,  15, "−3.33333333333333·10⁻²⁰¹"},
        {(double)NAN,   3,  "–"                              },
        {HUGE_VAL,      3,  "–"                              },
    };
    char number[AXIS_NUMBER_MAX];

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(axis_number(number, cases[i].value, cases[i].digits), cases[i].want);
}

static void tick_labels_differ(void **state)
{
    (void)state;
    const double ranges[][2] = {
        {0,       1      },
        {1000,    1001   },
        {0.00031, 0.00032},
        {-5,      1e6    },
        {99990,   100010 }
    };

    for (size_t i = 0; i < COUNT(ranges); i++) {
        struct axis axis = {0};
        double ticks[AXIS_MAX_TICKS];
        char last[AXIS_NUMBER_MAX] = "", number[AXIS_NUMBER_MAX];
        axis_fit(&axis, ranges[i][0], ranges[i][1]);
        const size_t n = axis_ticks(&axis, ticks);
        for (size_t tick = 0; tick < n; tick++) {
            assert_string_not_equal(axis_number(number, ticks[tick], axis_digits(&axis)), last);
            memcpy(last, number, sizeof(last));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_and_ticks_are_round),
        cmocka_unit_test(both_limits_are_ticks),
        cmocka_unit_test(log_axis_has_ticks_at_1_2_5_or_decades),
        cmocka_unit_test(wide_log_axis_leaves_decades_out),
        cmocka_unit_test(what_is_no_range_becomes_one),
        cmocka_unit_test(values_have_a_place_from_0_to_1),
        cmocka_unit_test(nan_and_nothing_on_a_log_axis_have_no_place),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(tick_labels_differ),
    };

    return cmocka_run_group_tests_name("axis", tests, NULL, NULL);
}
