/* Exact because nothing is ever cut off: a floating point number is mantissa · 2^n, so times a
 * power of ten it is mantissa · 5^scale · 2^m, whole in units of a power of two, and in the sizes
 * taken here it fits 128 bits. In that unit the decimals near it are whole numbers too, and so is
 * half the gap to the next floating point number, within which a decimal reads back as this one:
 * to round as printf() does and to foresee strtod() are comparisons. Each length is rounded from
 * the number itself, never from a longer decimal. */
#include "base/decimal.h"

#include <assert.h>
#include <float.h>
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

/* number and a fraction, not 0, rounded to one of its digits less, two, up to most: the shortest
 * nearer than limit and its fraction. False: what is cut off could decide. Which length it is no
 * processor foresees, so all are tried and none is branched on. */
static inline bool shorten(uint64_t number, uint64_t limit, int most, uint64_t *ret_number)
{
    bool is_unsure = false;

    *ret_number = (number + 5) / 10;
    for (uint64_t less = 2, step = 100; less <= (uint64_t)most; less++, step *= 10) {
        const uint64_t down = number / step, rest = number - down * step;
        const bool is_up = rest >= step / 2;
        const uint64_t distance = is_up ? step - 1 - rest : rest;
        *ret_number = distance < limit ? (down + is_up) * (step / 10) : *ret_number;
        is_unsure |= distance == limit;
    }
    return !is_unsure;
}

/* The same for nearly all numbers: its first 18 digits are enough. As a number of 17 digits. */
static bool round_fast(const struct scaled *scaled, int precision, uint64_t *ret_number)
{
    const bool is_short = scaled->number >> scaled->shift < power_of_10(17);
    const unsigned factor = is_short ? 10 : 1;
    const unsigned __int128 fraction = ((unsigned __int128)1 << scaled->shift) - 1;

    if (scaled->shift > 64 || scaled->half_below != scaled->half_above ||
        !(scaled->number * factor & fraction))
        return false;
    const uint64_t number = (uint64_t)(scaled->number * factor >> scaled->shift);
    const uint64_t limit = (uint64_t)(scaled->half_above * factor >> scaled->shift);
    if (precision == DBL_MANT_DIG)
        return shorten(number, limit, 3, ret_number);
    const bool is_sure = shorten(number / 100000000, limit / 100000000, 4, ret_number);
    *ret_number *= 100000000;
    return is_sure;
}

/* The eight digits of a number: fours, then pairs, then ones, side by side; the first digit is the
 * lowest byte. */
static uint64_t split_digits(uint32_t number)
{
    uint64_t digits = number / 10000 | (uint64_t)(number % 10000) << 32;

    const uint64_t hundreds = digits * 5243 >> 19 & UINT64_C(0x0000007F0000007F);
    digits = hundreds | (digits - 100 * hundreds) << 16;
    const uint64_t tens = digits * 103 >> 10 & UINT64_C(0x000F000F000F000F);
    return tens | (digits - 10 * tens) << 8;
}

static void put_8(char *at, uint64_t digits)
{
    digits |= UINT64_C(0x3030303030303030);
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        digits = __builtin_bswap64(digits);
    memcpy(at, &digits, sizeof(digits));
}

/* All 17 digits of a number; returns how many there are without the zeros at the end. */
static int print_17(char digits[17], uint64_t number)
{
    const uint64_t behind = number % power_of_10(16);
    const uint64_t high = split_digits((uint32_t)(behind / 100000000));
    const uint64_t low = split_digits((uint32_t)(behind % 100000000));

    digits[0] = (char)('0' + number / power_of_10(16));
    put_8(digits + 1, high);
    put_8(digits + 9, low);
    if (behind == 0)
        return 1;
    return low ? 17 - __builtin_clzll(low) / 8 : 9 - __builtin_clzll(high) / 8;
}

/* As "%.<least>g" has it, or more digits if it needs them: number, of 17 digits, the first counting
 * 10^leading. Copies are of fixed size and longer than the text. */
static size_t write_digits(char *text, uint64_t number, int least, int leading)
{
    char digits[40];
    const int n_digits = print_17(digits, number);
    const bool is_fixed = leading >= -4 && leading < (n_digits > least ? n_digits : least);
    const int n_whole = is_fixed ? leading + 1 : 1; /* digits before the point */
    char *end;

    if (n_whole > 0) {
        memcpy(text, digits, 17);
        text[n_whole] = '.';
        memcpy(text + n_whole + 1, digits + n_whole, 16);
        end = text + (n_digits > n_whole ? n_digits + 1 : n_whole);
    } else {
        memset(text, '0', 8);
        text[1] = '.';
        memcpy(text + 2 - n_whole, digits, 17);
        end = text + 2 - n_whole + n_digits;
    }
    if (!is_fixed) {
        *end++ = 'e';
        *end++ = leading < 0 ? '-' : '+';
        *end++ = (char)('0' + abs(leading) / 10);
        *end++ = (char)('0' + abs(leading) % 10);
    }
    *end = '\0';
    return (size_t)(end - text);
}

static uint64_t round_exactly(const struct scaled *scaled, int n_all, int digits)
{
    uint64_t number;

    while (!round_to(scaled, power_of_10(n_all - digits), &number))
        digits++; /* 17 digits always read back */
    return number * power_of_10(17 - digits);
}

size_t decimal_write(char *text, double value, int precision)
{
    const int least = precision == DBL_MANT_DIG ? DBL_DIG : FLT_DIG;
    struct scaled scaled;
    uint64_t number;

    if (!scale_exactly(value, precision, &scaled))
        return 0;

    const int n_all = scaled.number >> scaled.shift < power_of_10(17) ? 17 : 18;
    if (!round_fast(&scaled, precision, &number))
        number = round_exactly(&scaled, n_all, least);
    int leading = n_all - 1 - scaled.scale;
    if (number == power_of_10(17)) { /* rounded up from 99…9 */
        number /= 10;
        leading++;
    }
    const size_t sign = value < 0;
    text[0] = '-';
    return sign + write_digits(text + sign, number, least, leading);
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
