/* Built twice: with what the processor has for many bytes at once, and as for any other one. */
#include "base/random.h"
#include "data/json_text.h"

#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEFORE  "[0, 0, 0, 0, 0, "
#define BEHIND  "0, 0, 0, 0, 0, 0, 0, 0, 0]"
#define PRINTED 64

/* The bytes of a text with number in it, in a block of their size, so that the sanitizer sees a
 * byte read too many; .at is the number's first. */
static struct json_text lay_out(const char *number, char closer)
{
    const size_t length = strlen(number);
    const size_t size = strlen(BEFORE) + length + 1 + strlen(BEHIND);
    char *bytes = malloc(size);
    char *at = bytes;

    assert_non_null(bytes);
    at = mempcpy(at, BEFORE, strlen(BEFORE));
    at = mempcpy(at, number, length);
    *at++ = closer;
    memcpy(at, BEHIND, strlen(BEHIND));
    return (struct json_text){.begin = bytes, .at = bytes + strlen(BEFORE), .end = bytes + size};
}

static void release(struct json_text *text)
{
    free((void *)(uintptr_t)text->begin);
}

/* Whether it is read in bulk; if so it is to the bit what it is alone. */
static bool is_plain(const char *number, char closer)
{
    float in_bulk = -1, alone = -1;
    struct json_text text = lay_out(number, closer);
    struct json_text other = text;
    const char *begin = text.at;

    const size_t n = json_text_numbers(&text, &in_bulk, 1);
    if (n == 1) {
        (void)json_text_next(&other); /* white space before it does not count */
        const int r = json_text_number(&other, &alone);
        if (r != 0 || memcmp(&in_bulk, &alone, sizeof(alone)) != 0 || text.at != other.at)
            fail_msg("%s: in bulk %a, alone %a (%d)", number, (double)in_bulk, (double)alone, r);
    } else {
        assert_int_equal(n, 0);
        assert_ptr_equal(text.at, begin);
    }
    release(&text);
    return n == 1;
}

static void usual_numbers_are_read_in_bulk(void **state)
{
    (void)state;
    static const char *const usual[] = {
        "0",
        "-0",
        "7",
        "-7",
        "12.5",
        "0.1",
        "-0.0",
        "100",
        "1234567890123456",
        "1700000000.123",
        "0.8414709848078965",
        "-0.41614683654714241",
        "0.00123456789012345678",
        "3.1415926535897931",
        "99999.999999",
        "12345.678901234567",
    };

    for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
        for (const char *closer = ",]}"; *closer; closer++)
            if (!is_plain(usual[i], *closer))
                fail_msg("%s is not read in bulk", usual[i]);
}

static void print(char number[PRINTED], int shape, int precision, double value)
{
    if (shape == 0)
        (void)snprintf(number, PRINTED, "%.*g", precision, value);
    else if (shape == 1)
        (void)snprintf(number, PRINTED, "%.*e", precision, value);
    else
        (void)snprintf(number, PRINTED, "%.*f", precision, value);
}

static void numbers_of_all_shapes_are_in_bulk_what_they_are_alone(void **state)
{
    (void)state;
    struct random random;
    char number[PRINTED];
    size_t n_plain = 0;

    random_seed(&random, 1);
    for (int i = 0; i < 200000; i++) {
        const double size = pow(10, (double)random_below(&random, 24) - 12);
        const int precision = (int)random_below(&random, 24);
        print(number, i % 3, precision, random_normal(&random) * size);
        n_plain += is_plain(number, ',');
    }
    assert_true(n_plain > 50000); /* else the test would say little */
}

/* Each byte of a number replaced by every other one. */
static void nothing_else_passes_for_a_number(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0",    "-1",      "12",          "-12.5",
                                          "0.25", "-0.0625", "12345678901", "0.84147098480789651"};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        for (size_t at = 0; at < strlen(numbers[i]); at++)
            for (int byte = 1; byte < 256; byte++) {
                char number[32];
                (void)snprintf(number, sizeof(number), "%s", numbers[i]);
                number[at] = (char)byte;
                (void)is_plain(number, ',');
            }
}

static void what_needs_a_closer_look_is_left(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",    "-",     "--1",   "+1",  "01",     "-00", "00.5", ".5", "-.5",
        "1.",  "1.2.3", "1..2",  "1-2", "1 2",    "1e5", "1E-5", "1f", "0x1",
        "NaN", "null",  "\"1\"", "[1",  "{\"a\"", "1 ",  "1\n",  "١",  "123456789012345678",
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_false(is_plain(others[i], ','));
    assert_false(is_plain("1", ' '));
    assert_false(is_plain("1", ';'));
    assert_false(is_plain("1", '\0'));
}

/* Decimals in the middle of two floats, and as little beside it as can be written. */
static void the_middle_of_two_floats_is_rounded_rightly_in_bulk(void **state)
{
    (void)state;
    struct random random;
    char number[64];

    random_seed(&random, 2);
    for (int i = 0; i < 100000; i++) {
        const float low =
            (float)ldexp(random_uniform(&random) + 0.5, (int)random_below(&random, 40) - 16);
        const double middle = ((double)low + (double)nextafterf(low, INFINITY)) / 2;
        const int n =
            snprintf(number, sizeof(number), "%.*f", 1 + (int)random_below(&random, 22), middle);
        (void)is_plain(number, ',');
        number[n - 1] = (char)('0' + random_below(&random, 10));
        (void)is_plain(number, ',');
    }
}

static void bulk_ends_where_it_must(void **state)
{
    (void)state;
    static const char body[] = "{\"instances\": [[1,2, 3,\n4 , 5,6,7.5]    ,    [8,9, null]]}";
    struct json_text text = {.begin = body, .at = body, .end = body + strlen(body)};
    float values[8];

    assert_int_equal(json_text_numbers(&text, values, 8), 0); /* nothing to read before it */
    text.at = strchr(body, '1');
    assert_int_equal(json_text_numbers(&text, values, 2), 2); /* no more are wanted */
    assert_ptr_equal(text.at, strstr(body, ", 3"));
    text.at += 2;
    assert_int_equal(json_text_numbers(&text, values, 8), 1); /* a blank behind 4 */
    assert_ptr_equal(text.at, strstr(body, ",\n4"));
    text.at = strstr(body, "5,6");
    assert_int_equal(json_text_numbers(&text, values, 8), 3); /* the row ends */
    assert_true(values[0] == 5 && values[1] == 6 && values[2] == 7.5F);
    assert_ptr_equal(text.at, strchr(body, ']'));
    text.at = strstr(body, "8,9");
    assert_int_equal(json_text_numbers(&text, values, 8), 0); /* the text is near its end */
}

static void doubles_are_read_bit_for_bit_as_strtod_does(void **state)
{
    (void)state;
    struct random random;
    char number[PRINTED];

    random_seed(&random, 3);
    for (int i = 0; i < 50000; i++) {
        const double value =
            random_normal(&random) * pow(10, (double)random_below(&random, 60) - 30);
        double got = -1;
        print(number, i % 2, (int)random_below(&random, 30), value);
        struct json_text text = lay_out(number, ',');
        assert_int_equal(json_text_double(&text, &got), 0);
        const double wanted = strtod(number, NULL);
        if (memcmp(&got, &wanted, sizeof(got)) != 0)
            fail_msg("%s: got %a, strtod() %a", number, got, wanted);
        release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_numbers_are_read_in_bulk),
        cmocka_unit_test(numbers_of_all_shapes_are_in_bulk_what_they_are_alone),
        cmocka_unit_test(nothing_else_passes_for_a_number),
        cmocka_unit_test(what_needs_a_closer_look_is_left),
        cmocka_unit_test(the_middle_of_two_floats_is_rounded_rightly_in_bulk),
        cmocka_unit_test(bulk_ends_where_it_must),
        cmocka_unit_test(doubles_are_read_bit_for_bit_as_strtod_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
