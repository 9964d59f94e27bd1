#include "base/number.h"

#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *text, double *ret)
{
    return number_parse_double(text, strlen(text), ret);
}

static void doubles_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      " 1", "1 ",  "0x10", "1e",    "--1", "1,5", ".",
                                      "1.5.2", "e5", "one", "nano", "infin", "+",   "1f"};
    double value = 42;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(parse(bad[i], &value), -EINVAL);
    assert_int_equal(parse("1e999", &value), -ERANGE);
    assert_true(value == 42); /* a failed call leaves ret_ untouched */
}

static void doubles_are_read_exactly(void **state)
{
    (void)state;
    double value;

    assert_int_equal(parse("-1.25e-3", &value), 0);
    assert_true(value == -1.25e-3);
    assert_int_equal(parse("0.1", &value), 0);
    assert_true(value == 0.1);
    assert_int_equal(parse(".5", &value), 0);
    assert_true(value == 0.5);
    assert_int_equal(parse("NaN", &value), 0);
    assert_true(isnan(value));
    assert_int_equal(parse("-Infinity", &value), 0);
    assert_true(isinf(value) && value < 0);
}

static void assert_reads_as_strtod_does(const char *text)
{
    double value = 0;
    const double expected = strtod(text, NULL);

    assert_int_equal(parse(text, &value), 0);
    if (memcmp(&value, &expected, sizeof(value)) != 0)
        fail_msg("%s is read as %a, strtod() reads %a", text, value, expected);
}

static void doubles_are_read_bit_for_bit_as_strtod_does(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "-0.0",
        "+1",
        "1.",
        "007",
        "9007199254740993", /* halfway between two doubles */
        "9007199254740992.5",
        "9007199254740993.00001",
        "0.30000000000000004",
        "9999999999999999999",  /* 19 digits */
        "99999999999999999999", /* 20 */
        "0.00000000000000000001",
        "1e22",
        "1e23",
        "1e-22",
        "123456789012345678e-19",
        "8.5e-19",
        "2.2250738585072011e-308",
        "5e-324",
        "1.7976931348623157e308",
    };
    char text[64];
    uint64_t bits = 1;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_reads_as_strtod_does(texts[i]);
    for (int i = 0; i < 200000; i++) {
        double value;
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        memcpy(&value, &bits, sizeof(value));
        if (i % 2) /* as often a usual size as any size */
            value = ldexp((double)(bits >> 11), -40 - (int)(bits >> 59));
        if (!isfinite(value))
            continue;
        (void)snprintf(text, sizeof(text), "%.*g", 1 + i % 21, value);
        assert_reads_as_strtod_does(text);
        (void)snprintf(text, sizeof(text), "%.*f", i % 12, fmod(value, 1e7));
        assert_reads_as_strtod_does(text);
    }
}

static void durations_need_their_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int r;
        uint64_t us;
    } cases[] = {
        {"250ms",         0,       250000     },
        {"0s",            0,       0          },
        {"1.5s",          0,       1500000    },
        {"15m",           0,       900000000  },
        {"2h",            0,       7200000000 },
        {"1d",            0,       86400000000},
        {"10",            -EINVAL, 0          },
        {"-1s",           -EINVAL, 0          },
        {"1 s",           -EINVAL, 0          },
        {"s",             -EINVAL, 0          },
        {"999999999999d", -ERANGE, 0          },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint64_t us = 0;
        assert_int_equal(number_parse_duration_us(cases[i].text, strlen(cases[i].text), &us),
                         cases[i].r);
        assert_int_equal(us, cases[i].us);
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    uint64_t bytes;

    assert_int_equal(number_parse_size("64M", 3, &bytes), 0);
    assert_int_equal(bytes, 64U << 20);
    assert_int_equal(number_parse_size("100", 3, &bytes), 0);
    assert_int_equal(bytes, 100);
    assert_int_equal(number_parse_size("64MB", 4, &bytes), -EINVAL);
}

static void integers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    uint64_t value = 7;

    assert_int_equal(number_parse_u64("18446744073709551615", 20, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(number_parse_u64("18446744073709551616", 20, &value), -ERANGE);
    assert_int_equal(number_parse_u64("-1", 2, &value), -EINVAL);
    assert_int_equal(number_parse_u64("", 0, &value), -EINVAL);
}

static void written_numbers_read_back_as_the_same_value(void **state)
{
    (void)state;
    static const float floats[] = {0.1F,         1.0F / 3,     FLT_MIN, FLT_MAX,
                                   FLT_TRUE_MIN, -16777216.0F, 91.2F};
    static const double doubles[] = {0.1, 1.0 / 3, DBL_MIN, DBL_MAX, 4e-324, 123456789012345678.0};
    char text[NUMBER_MAX];

    for (size_t i = 0; i < sizeof(floats) / sizeof(*floats); i++) {
        number_write_float(text, floats[i]);
        assert_true(strtof(text, NULL) == floats[i]);
    }
    for (size_t i = 0; i < sizeof(doubles) / sizeof(*doubles); i++) {
        number_write_double(text, doubles[i]);
        assert_true(strtod(text, NULL) == doubles[i]);
    }
}

static void written_numbers_are_short(void **state)
{
    (void)state;
    char text[NUMBER_MAX];

    assert_int_equal(number_write_float(text, 0.1F), 3);
    assert_string_equal(text, "0.1");
    assert_int_equal(number_write_double(text, 0.3), 3);
    assert_string_equal(text, "0.3");
    assert_int_equal(number_write_float(text, 1.0F), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_are_read_strictly),
        cmocka_unit_test(doubles_are_read_exactly),
        cmocka_unit_test(doubles_are_read_bit_for_bit_as_strtod_does),
        cmocka_unit_test(durations_need_their_unit),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(integers_that_do_not_fit_are_refused),
        cmocka_unit_test(written_numbers_read_back_as_the_same_value),
        cmocka_unit_test(written_numbers_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
