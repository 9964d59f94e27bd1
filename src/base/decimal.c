/* Exact because nothing is ever cut off: a floating point number is mantissa · 2^n, so times a
 * power of ten it is mantissa · 5^scale · 2^m, whole in units of a power of two, and in the sizes
 * taken here it fits 128 bits. In that unit the decimals near it are whole numbers too, and so is
 * half the gap to the next floating point number, within which a decimal reads back as this one:
 * to round as printf() does and to foresee strtod() are comparisons. Each length is rounded from
 * the number itself, never from a longer decimal. */
#include "base/decimal.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* 5^exponent, up to 5^27, the last that fits 64 bits. */
static uint64_t power_of_5(int exponent)
{
    static const uint64_t ones[] = {1, 5, 25, 125, 625, 3125, 15625, 78125, 390625};
    static const uint64_t nines[] = {1, 1953125, 3814697265625, 7450580596923828125};

    return nines[exponent / 9] * ones[exponent % 9];
}

/* 10^exponent, up to 10^19. */
static uint64_t power_of_10(int exponent)
{
    return power_of_5(exponent) << exponent;
}

/* A floating point number times 10^scale, in units of 2^-shift. */
struct scaled {
    unsigned __int128 number, half_below, half_above; /* half the gaps to the next numbers */
    int scale, shift;
    bool is_even; /* strtod() reads as this one what is halfway to the next */
};

/* value = mantissa · 2^(power - 63), so value · 10^scale = mantissa · 5^scale / 2^shift; the scale
 * leaves 17 or 18 digits before the point. False: not for this size. */
static bool scale_exactly(double value, int precision, struct scaled *ret_scaled)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    const int power = (int)(bits >> 52 & 0x7ff) - 1023;
    if (power < -36 || power > 56)
        return false;

    const uint64_t mantissa = 1ULL << 63 | bits << 11;
    const int scale = 16 - (power * 1233 >> 12); /* 1233 / 4096: log10(2), near enough, 0 … 27 */
    const uint64_t factor = power_of_5(scale);
    const unsigned __int128 half_gap = (unsigned __int128)factor << (63 - precision);

    ret_scaled->number = (unsigned __int128)mantissa * factor;
    ret_scaled->half_above = half_gap;
    /* below a power of two they lie twice as close */
    ret_scaled->half_below = mantissa == 1ULL << 63 ? half_gap / 2 : half_gap;
    ret_scaled->scale = scale;
    ret_scaled->shift = 63 - power - scale;
    ret_scaled->is_even = !(mantissa >> (64 - precision) & 1);
    return true;
}

/* The number in steps of a power of ten, rounded as printf() does: to nearest, ties to even.
 * Whether these steps read back as the number. */
static bool round_to(const struct scaled *scaled, uint64_t step, uint64_t *ret_rounded)
{
    const unsigned __int128 unit = (unsigned __int128)step << scaled->shift;
    const uint64_t down = (uint64_t)(scaled->number >> scaled->shift) / step;
    const unsigned __int128 rest = scaled->number - down * unit;
    const bool is_up = rest > unit / 2 || (rest == unit / 2 && down % 2 == 1);
    const unsigned __int128 distance = is_up ? unit - rest : rest;
    const unsigned __int128 limit = is_up ? scaled->half_above : scaled->half_below;

    *ret_rounded = down + is_up;
    return distance < limit || (distance == limit && scaled->is_even);
}

/* As "%.<n_digits>g" has it: number, of that many digits, the first counting 10^leading; or
 * 10^n_digits, to which 99…9 was rounded up. */
static size_t write_digits(char *text, uint64_t number, int n_digits, int leading)
{
    char digits[18], *at = text;

    for (int i = n_digits; i-- > 0; number /= 10)
        digits[i] = (char)('0' + number % 10);
    if (number) { /* one digit more, the rest are 0 */
        digits[0] = '1';
        leading++;
    }
    const bool is_fixed = leading >= -4 && leading < n_digits;
    const int n_whole = is_fixed ? leading + 1 : 1; /* digits before the point */
    while (n_digits > 1 && digits[n_digits - 1] == '0')
        n_digits--;

    if (n_whole > 0) {
        at = mempcpy(at, digits, (size_t)n_whole);
        if (n_digits > n_whole)
            *at++ = '.';
    } else {
        at = mempcpy(at, "0.000", (size_t)(2 - n_whole));
    }
    const int n_done = n_whole > 0 ? n_whole : 0;
    if (n_digits > n_done)
        at = mempcpy(at, digits + n_done, (size_t)(n_digits - n_done));
    if (!is_fixed) {
        *at++ = 'e';
        *at++ = leading < 0 ? '-' : '+';
        *at++ = (char)('0' + abs(leading) / 10);
        *at++ = (char)('0' + abs(leading) % 10);
    }
    *at = '\0';
    return (size_t)(at - text);
}

size_t decimal_write(char *text, double value, int precision, int digits)
{
    struct scaled scaled;
    uint64_t number;

    assert(digits > 5 && digits < 18);
    if (!scale_exactly(value, precision, &scaled))
        return 0;

    const int n_all = scaled.number >> scaled.shift < power_of_10(17) ? 17 : 18;
    uint64_t step = power_of_10(n_all - digits);
    while (!round_to(&scaled, step, &number)) { /* 17 digits always read back */
        step /= 10;
        digits++;
    }
    const size_t sign = value < 0;
    text[0] = '-';
    return sign + write_digits(text + sign, number, digits, n_all - 1 - scaled.scale);
}

/* mantissa / power to the nearest double: all 64 leading bits of the quotient, and a last one that
 * says whether anything was cut off, so that the conversion rounds as it should. */
static double divide(uint64_t mantissa, uint64_t power)
{
    const int up = __builtin_clzll(mantissa);
    const unsigned __int128 scaled = (unsigned __int128)(mantissa << up) << 64;
    const unsigned __int128 quotient = scaled / power;
    const int down = quotient >> 64 ? 64 - __builtin_clzll((uint64_t)(quotient >> 64)) : 0;
    const uint64_t leading = (uint64_t)(quotient >> down);
    const bool is_cut = ((unsigned __int128)leading << down) * power != scaled;

    return ldexp((double)(leading | is_cut), down - up - 64);
}

/* Both factors are exact as double and the operation rounds once (Clinger 1990), or divide(). */
bool decimal_read(uint64_t mantissa, int exponent, double *ret_value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

    if (mantissa <= 1ULL << 53 && exponent >= -22 && exponent <= 22)
        *ret_value = exponent < 0 ? (double)mantissa / powers[-exponent]
                                  : (double)mantissa * powers[exponent];
    else if (mantissa && exponent < 0 && exponent >= -19)
        *ret_value = divide(mantissa, (uint64_t)powers[-exponent]);
    else
        return false;
    return true;
}
