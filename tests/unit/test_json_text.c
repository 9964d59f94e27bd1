#include "data/json_text.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_NUMBERS 100000

static struct random numbers;

static int setup(void **state)
{
    (void)state;
    random_seed(&numbers, 7);
    return 0;
}

/* As the C library reads it, to the bit. */
static void expect_nearest(const char *written)
{
    struct json_text text = {.begin = written, .at = written, .end = written + strlen(written)};
    double value;

    assert_int_equal(json_text_double(&text, &value), 0);
    if (value != strtod(written, NULL))
        fail_msg("%s was read as %.17g", written, value);
}

static double some_double(int least_exponent, uint64_t n_exponents)
{
    return ldexp(1.0 + random_uniform(&numbers),
                 least_exponent + (int)random_below(&numbers, n_exponents));
}

static void a_double_is_the_nearest_one(void **state)
{
    (void)state;
    char text[64];

    for (size_t i = 0; i < N_NUMBERS; i++) {
        (void)snprintf(text, sizeof(text), "%.*g", (int)(1 + random_below(&numbers, 21)),
                       some_double(-120, 240));
        expect_nearest(text);
    }
}

/* The middle of two doubles, written with as many digits as there is room for, or cut: the first
 * goes to the even one, what is beside it to the nearer one. */
static void middles_between_two_doubles_are_read_as_strtod_reads_them(void **state)
{
    (void)state;
    char text[64];

    for (size_t i = 0; i < N_NUMBERS; i++) {
        const double low = some_double(0, 40);
        const long double middle = ((long double)low + (long double)nextafter(low, INFINITY)) / 2;
        (void)snprintf(text, sizeof(text), "%.*Lg", (int)(15 + random_below(&numbers, 8)), middle);
        expect_nearest(text);
        const uint64_t whole = (UINT64_C(1) << 53) + random_below(&numbers, UINT64_C(1) << 53);
        (void)snprintf(text, sizeof(text), "%" PRIu64, whole | 1);
        expect_nearest(text);
    }
}

static void edges_are_read_as_strtod_reads_them(void **state)
{
    (void)state;
    static const char *const edges[] = {
        "0",
        "-0.0",
        "999999999999999999",
        "1000000000000000000",
        "1000000000000000001",
        "9007199254740993",
        "9007199254740993e-27",
        "9007199254740993e-28",
        "123456789012345678e20",
        "99999999999999999e-27",
        "1e-40",
        "4.9406564584124654e-324",
        "2.2250738585072011e-308",
    };

    for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
        expect_nearest(edges[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_double_is_the_nearest_one, setup),
        cmocka_unit_test_setup(middles_between_two_doubles_are_read_as_strtod_reads_them, setup),
        cmocka_unit_test_setup(edges_are_read_as_strtod_reads_them, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
