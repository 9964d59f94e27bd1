#include "base/number.h"

#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
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

#define TRIAL_SIZE 64 /* what a compiler that cannot tell what %g writes is content with */

/* What the fast writer must find: the first length that reads back. */
static void write_by_trial(char text[TRIAL_SIZE], double value, bool is_float)
{
    const int most = is_float ? 9 : 17;

    for (int digits = is_float ? 6 : 15; digits <= most; digits++) {
        (void)snprintf(text, TRIAL_SIZE, "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            return;
    }
}

static void assert_written_as_by_trial(double value)
{
    char text[NUMBER_MAX], expected[TRIAL_SIZE];

    write_by_trial(expected, value, false);
    size_t length = number_write_double(text, value);
    if (length != strlen(text) || strcmp(text, expected) != 0)
        fail_msg("%a is written %s, not %s", value, text, expected);

    value = (double)(float)value;
    write_by_trial(expected, value, true);
    length = number_write_float(text, (float)value);
    if (length != strlen(text) || strcmp(text, expected) != 0)
        fail_msg("the float %a is written %s, not %s", value, text, expected);
}

static void assert_written_with_neighbours(double value)
{
    assert_written_as_by_trial(value);
    assert_written_as_by_trial(nextafter(value, -HUGE_VAL));
    assert_written_as_by_trial(nextafter(value, HUGE_VAL));
    assert_written_as_by_trial((double)nextafterf((float)value, -HUGE_VALF));
    assert_written_as_by_trial((double)nextafterf((float)value, HUGE_VALF));
}

static void powers_and_hard_cases_are_written_as_printf_does(void **state)
{
    (void)state;
    static const double hard[] = {
        0.0,
        -0.0,
        0.1,
        1.0 / 3,
        2.0 / 3,
        9007199254740993.0,
        1125899906842624.25, /* the 17th digit is a tie */
        1125899906842624.75,
        2097152.25, /* the 8th of a float */
        2097152.75,
        18014398509481992.0, /* "…990" is halfway to the next double: strtod() breaks the tie */
        99999999999999.95,
        999999.95,
        9999999999999998.0,
        0.00009999999999999999,
        1.7976931348623157e308,
        2.2250738585072011e-308,
        5e-324,
        (double)FLT_MAX,
        (double)FLT_TRUE_MIN,
        (double)INFINITY,
        (double)NAN,
    };

    for (size_t i = 0; i < sizeof(hard) / sizeof(*hard); i++) {
        assert_written_with_neighbours(hard[i]);
        assert_written_with_neighbours(-hard[i]);
    }
    for (int power = -1074; power <= 1023; power++)
        assert_written_with_neighbours(ldexp(1, power));
    for (int power = -323; power <= 308; power++) {
        char text[NUMBER_MAX];
        (void)snprintf(text, sizeof(text), "1e%d", power);
        assert_written_with_neighbours(strtod(text, NULL));
    }
}

/* One of the kinds of numbers that a writer may get wrong, each of any size that it has. */
static double number_of_kind(unsigned kind, uint64_t bits)
{
    const int size = (int)(bits % 64);
    double value;
    char digits[32], text[64];

    switch (kind) {
    case 0: /* any double */
        memcpy(&value, &bits, sizeof(value));
        return value;
    case 1: /* any size that is written fast */
        return ldexp((double)(bits >> 11), -90 + (int)(bits % 100));
    case 2: /* halves, quarters, …: ties of printf() */
        return ldexp((double)(bits >> 11), -(int)(bits % 11));
    case 3: /* whole numbers: ties of strtod() */
        return (double)(bits >> size);
    case 4: /* as many bits as a float has, and a size where they end in ties */
        return ldexp((double)(bits >> 40), -12 + size);
    default: /* 1 to 17 digits, the point anywhere */
        (void)snprintf(digits, sizeof(digits), "%" PRIu64, bits);
        (void)snprintf(text, sizeof(text), "%.*se%d", 1 + size % 17, digits,
                       -28 + (int)(bits / 64 % 46));
        return strtod(text, NULL);
    }
}

static void random_numbers_are_written_as_printf_does(void **state)
{
    (void)state;
    uint64_t bits = 1;

    for (unsigned i = 0; i < 200000; i++) {
        bits = bits * 6364136223846793005U + 1442695040888963407U;
        /* its low bits alone repeat soon */
        assert_written_as_by_trial(number_of_kind(i % 6, bits ^ bits >> 32));
    }
}

static void written_numbers_look_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {100,                  "100"                   },
        {-1.5,                 "-1.5"                  },
        {0.0001,               "0.0001"                },
        {0.00001,              "1e-05"                 },
        {-0.0000125,           "-1.25e-05"             },
        {123456789012345,      "123456789012345"       },
        {1e15,                 "1e+15"                 },
        {1234567890123456,     "1234567890123456"      },
        {0.1 + 0.2,            "0.30000000000000004"   },
        {123456789012345680.0, "1.2345678901234568e+17"},
        {1e300,                "1e+300"                },
        {-0.0,                 "-0"                    },
        {-(double)INFINITY,    "-inf"                  },
        {(double)NAN,          "nan"                   },
    };
    char text[NUMBER_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(number_write_double(text, cases[i].value), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
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
        cmocka_unit_test(written_numbers_look_as_people_write_them),
        cmocka_unit_test(powers_and_hard_cases_are_written_as_printf_does),
        cmocka_unit_test(random_numbers_are_written_as_printf_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
