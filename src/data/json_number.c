/* The numbers of json_text.h: exact, and fast for those that programs write. */
#include "data/json_text.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Of a mantissa that is as large more digits may have followed. */
#define LEAST_CUT_MANTISSA UINT64_C(1000000000000000000)

static int fail_at(struct json_text *text, const char *at, const char *error)
{
    text->at = at;
    text->error = error;
    return -EBADMSG;
}

/* A number that follows the grammar: mantissa · 10^exponent, but for digits that did not fit. */
struct decimal {
    const char *digits, *end; /* "12.5" of "-12.5e3" */
    bool is_negative;
    uint64_t mantissa;
    int64_t exponent;         /* of the mantissa */
    int64_t written_exponent; /* 3 of "-12.5e3" */
};

static bool is_digit(const struct json_text *text)
{
    return json_text_peek(text) >= '0' && json_text_peek(text) <= '9';
}

/* As many digits as fit go to the mantissa, the others only count. */
static int read_digits(struct json_text *text, struct decimal *number, bool is_fraction)
{
    uint64_t mantissa = number->mantissa; /* in registers: this is the hottest loop of a request */
    const char *at = text->at;

    if (!is_digit(text))
        return json_text_unexpected(text, "a digit is expected here");
    for (; at < text->end && *at >= '0' && *at <= '9' && mantissa < LEAST_CUT_MANTISSA; at++)
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
    number->mantissa = mantissa;
    if (is_fraction)
        number->exponent -= at - text->at;

    for (text->at = at; is_digit(text); text->at++)
        number->exponent += !is_fraction;
    return 0;
}

static int read_exponent(struct json_text *text, struct decimal *number)
{
    bool is_negative = false;
    int64_t exponent = 0;

    if (json_text_peek(text) == '-' || json_text_peek(text) == '+')
        is_negative = *text->at++ == '-';
    if (!is_digit(text))
        return json_text_unexpected(text, "a digit of the exponent is expected here");
    for (; is_digit(text); text->at++)
        if (exponent < INT64_C(100000000000000)) /* more than any text has digits */
            exponent = exponent * 10 + (*text->at - '0');
    number->written_exponent = is_negative ? -exponent : exponent;
    number->exponent += number->written_exponent;
    return 0;
}

static int read_decimal(struct json_text *text, struct decimal *ret_number)
{
    struct decimal number = {0};

    number.is_negative = json_text_peek(text) == '-';
    text->at += number.is_negative;
    number.digits = text->at;
    const bool is_zero = is_digit(text) && *text->at == '0';
    if (is_zero)
        text->at++;
    else {
        int r = read_digits(text, &number, false);
        if (r < 0)
            return r;
    }
    if (is_zero && is_digit(text))
        return fail_at(text, text->at, "a number must not begin with 0");
    if (json_text_peek(text) == '.') {
        text->at++;
        int r = read_digits(text, &number, true);
        if (r < 0)
            return r;
    }
    number.end = text->at;
    if ((json_text_peek(text) | 0x20) == 'e') {
        text->at++;
        int r = read_exponent(text, &number);
        if (r < 0)
            return r;
    }
    *ret_number = number;
    return 0;
}

/* The magnitude by one multiplication or division with an exact power of ten; false: the result
 * might not be the right float. */
static bool convert_fast(const struct decimal *number, float *ret_value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int64_t e = number->exponent;

    if (e < -22 || e > 22)
        return false;
    const double mantissa = (double)number->mantissa;
    const double value = e < 0 ? mantissa / powers[-e] : mantissa * powers[e];

    *ret_value = (float)value;
    if (number->mantissa <= UINT64_C(1) << 53)
        return true; /* no digit was left out, one rounding: the nearest double */
    /* Three roundings, so the nearest double is a neighbour; it only matters where a float ends. */
    return (float)(value * (1 - 8 * DBL_EPSILON)) == (float)(value * (1 + 8 * DBL_EPSILON));
}

/* The nearest double by one rounding to the 64 bits or more of a long double, and one to a double:
 * false where the first may have made a middle between two doubles of what is none. A power of ten
 * up to the 27th is exact. */
static bool convert_wide(const struct decimal *number, double *ret_value)
{
#if LDBL_MANT_DIG >= 64
    static const long double powers[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                         1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                         1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L,
                                         1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    const int64_t e = number->exponent;

    if (e < -27 || e > 27 || number->mantissa >= LEAST_CUT_MANTISSA)
        return false;
    const long double mantissa = (long double)number->mantissa;
    const long double value = e < 0 ? mantissa / powers[-e] : mantissa * powers[e];
    const double nearest = (double)value;
    const long double beyond = value - (long double)nearest;
    const long double as_far_again = value + beyond; /* of a middle: the other double */

    *ret_value = nearest;
    return beyond == 0.0L || (long double)(double)as_far_again != as_far_again;
#else
    (void)number;
    (void)ret_value;
    return false;
#endif
}

/* The magnitude by strtod(), as digits without a point, which is a comma in some locales. No double
 * and no middle between two has more than 768 digits; of those behind it only matters whether one
 * is not 0. */
static double convert_exactly(const struct decimal *number)
{
    char digits[800 + 32];
    size_t n = 0;
    bool is_fraction = false, has_rest = false;
    int64_t exponent = number->written_exponent;

    for (const char *at = number->digits; at < number->end; at++) {
        if (*at == '.') {
            is_fraction = true;
        } else if (n < 800) {
            if (n > 0 || *at != '0')
                digits[n++] = *at;
            exponent -= is_fraction;
        } else {
            has_rest = has_rest || *at != '0';
            exponent += !is_fraction;
        }
    }
    if (has_rest) {
        digits[n++] = '1';
        exponent--;
    }
    (void)snprintf(digits + n, sizeof(digits) - n, "e%lld", (long long)exponent);
    return strtod(digits, NULL);
}

int json_text_number(struct json_text *text, float *ret_value)
{
    const char *begin = text->at;
    struct decimal number;
    float value = 0;

    int r = read_decimal(text, &number);
    if (r < 0)
        return r;
    if (number.mantissa != 0 && !convert_fast(&number, &value)) {
        const double exact = convert_exactly(&number);
        if (isinf(exact))
            return fail_at(text, begin, "this number is too large");
        value = (float)exact;
    }
    if (isinf(value))
        return -ERANGE;
    *ret_value = number.is_negative ? -value : value;
    return 0;
}

int json_text_double(struct json_text *text, double *ret_value)
{
    const char *begin = text->at;
    struct decimal number;

    int r = read_decimal(text, &number);
    if (r < 0)
        return r;
    double value = 0.0;
    if (number.mantissa != 0 && !convert_wide(&number, &value))
        value = convert_exactly(&number);
    if (isinf(value))
        return fail_at(text, begin, "this number is too large");
    if (isinf((float)value))
        return -ERANGE;
    *ret_value = number.is_negative ? -value : value;
    return 0;
}
