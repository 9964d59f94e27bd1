/* Numbers of JSON: one after the other, whatever they look like, and in bulk. */
#include "base/decimal.h"
#include "data/json_text.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__) && defined(__x86_64__) /* every one of these processors has it */
#define HAVE_16_BYTES
#include <emmintrin.h>
#endif

/* A number that follows the grammar: mantissa · 10^exponent, but for digits that did not fit. */
struct decimal {
    const char *digits, *end; /* "12.5" of "-12.5e3" */
    bool is_negative;
    uint64_t mantissa;
    int64_t exponent;         /* of the mantissa */
    int64_t written_exponent; /* 3 of "-12.5e3" */
    bool is_cut;              /* there are digits that did not fit */
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
    for (; at < text->end && *at >= '0' && *at <= '9' && mantissa < UINT64_C(1000000000000000000);
         at++)
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
    number->mantissa = mantissa;
    if (is_fraction)
        number->exponent -= at - text->at;

    for (text->at = at; is_digit(text); text->at++) {
        number->exponent += !is_fraction;
        number->is_cut = true;
    }
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
        return json_text_unexpected(text, "a number must not begin with 0");
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

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The magnitude by one multiplication or division with an exact power of ten; false: the result
 * might not be the right float. */
static bool convert_fast(const struct decimal *number, float *ret_value)
{
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

static int refuse_size(struct json_text *text, const char *begin)
{
    text->at = begin;
    return json_text_unexpected(text, "this number is too large");
}

int json_text_number(struct json_text *text, float *ret_value)
{
    const char *begin = text->at;
    struct decimal number = {0};
    float value = 0;

    int r = read_decimal(text, &number);
    if (r < 0)
        return r;
    if (number.mantissa != 0 && !convert_fast(&number, &value)) {
        const double exact = convert_exactly(&number);
        if (isinf(exact))
            return refuse_size(text, begin);
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
    struct decimal number = {0};

    int r = read_decimal(text, &number);
    if (r < 0)
        return r;
    double value = 0.0;
    if (number.mantissa != 0 &&
        (number.is_cut || number.exponent < INT_MIN || number.exponent > INT_MAX ||
         !decimal_read(number.mantissa, (int)number.exponent, &value)))
        value = convert_exactly(&number);
    if (isinf(value))
        return refuse_size(text, begin);
    if (isinf((float)value))
        return -ERANGE;
    *ret_value = number.is_negative ? -value : value;
    return 0;
}

/* ---- numbers in bulk: the same, many bytes at a time ----
 *
 * What a number costs here is the wait for where it ends, for there the next one begins; so that
 * is found first, in few steps, and its digits are looked at while the next one's end is sought.
 * And no branch depends on what differs between numbers of a kind: the sign, how many digits. */

#define PLAIN_LENGTH 24 /* bytes of a number that are looked at, with the comma behind it */
#define PLAIN_BEFORE 16 /* bytes that must be there before it: digits are read 16 at once */

/* Which of PLAIN_LENGTH bytes are , ] or } and which are digits: one bit each. */
struct marks {
    uint32_t ends, digits;
};

/* From digit_bits + n on: of 16 bytes the last n count as digits, the others as 0. */
static const uint8_t digit_bits[32] = {[16] = 15, 15, 15, 15, 15, 15, 15, 15,
                                       15,        15, 15, 15, 15, 15, 15, 15};

#ifdef HAVE_16_BYTES
static inline struct marks mark_16(__m128i bytes)
{
    const __m128i comma = _mm_set1_epi8(','), closer = _mm_set1_epi8('}');
    const __m128i up = _mm_set1_epi8(INT8_MAX - '9'), below = _mm_set1_epi8(INT8_MAX - 10);
    const __m128i closers = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(']' ^ '}')), closer);
    const __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, comma), closers);
    const __m128i digits = _mm_cmpgt_epi8(_mm_add_epi8(bytes, up), below);

    return (struct marks){.ends = (uint32_t)_mm_movemask_epi8(ends),
                          .digits = (uint32_t)_mm_movemask_epi8(digits)};
}

static inline struct marks mark_bytes(const char *at)
{
    const struct marks low = mark_16(_mm_loadu_si128((const __m128i *)(const void *)at));
    const struct marks high = mark_16(_mm_loadl_epi64((const __m128i *)(const void *)(at + 16)));

    return (struct marks){.ends = low.ends | high.ends << 16,
                          .digits = low.digits | high.digits << 16};
}

/* What the n digits before end mean, n up to 16. */
static inline uint64_t value_of(const char *end, size_t n)
{
    const __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)(digit_bits + n));
    const __m128i digits =
        _mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)(end - 16)), bits);
    const __m128i twos = _mm_add_epi16(
        _mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(0xFF)), _mm_set1_epi16(10)),
        _mm_srli_epi16(digits, 8));
    const __m128i fours = _mm_madd_epi16(twos, _mm_set1_epi32(1 << 16 | 100));
    const __m128i eights =
        _mm_madd_epi16(_mm_packs_epi32(fours, fours), _mm_set1_epi32(1 << 16 | 10000));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (both & UINT32_MAX) * 100000000 + (both >> 32);
}
#else
/* The first byte is the lowest. */
static inline uint64_t load_8(const void *at)
{
    uint64_t bytes;

    memcpy(&bytes, at, sizeof(bytes));
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(bytes) : bytes;
}

#define BYTES(byte) ((byte)*UINT64_C(0x0101010101010101))

/* Which of eight bytes are below limit, up to 128: one bit each. */
static inline uint32_t find_below(uint64_t bytes, uint64_t limit)
{
    const uint64_t others = ((bytes & BYTES(0x7F)) + BYTES(0x80 - limit)) | bytes;

    return (uint32_t)((~others >> 7 & BYTES(1)) * UINT64_C(0x0102040810204080) >> 56);
}

static inline struct marks mark_bytes(const char *at)
{
    struct marks marks = {0};

    for (unsigned i = 0; i < PLAIN_LENGTH; i += 8) {
        const uint64_t bytes = load_8(at + i);
        marks.ends |= find_below(bytes ^ BYTES(','), 1) << i;
        marks.ends |= find_below((bytes | BYTES(']' ^ '}')) ^ BYTES('}'), 1) << i;
        marks.digits |= find_below(bytes ^ BYTES('0'), 10) << i;
    }
    return marks;
}

/* What eight digits mean: pairs of digits, pairs of pairs, of fours, side by side. */
static inline uint64_t value_of_8(uint64_t digits)
{
    digits = digits * (10 << 8 | 1) >> 8;
    digits = (digits & UINT64_C(0x00FF00FF00FF00FF)) * (100 << 16 | 1) >> 16;
    return (digits & UINT64_C(0x0000FFFF0000FFFF)) * (UINT64_C(10000) << 32 | 1) >> 32;
}

static inline uint64_t value_of(const char *end, size_t n)
{
    return value_of_8(load_8(end - 16) & load_8(digit_bits + n)) * 100000000 +
           value_of_8(load_8(end - 8) & load_8(digit_bits + n + 8));
}
#endif

static inline float with_sign(float magnitude, bool is_negative)
{
    uint32_t bits;

    memcpy(&bits, &magnitude, sizeof(bits));
    bits |= (uint32_t)is_negative << 31;
    memcpy(&magnitude, &bits, sizeof(bits));
    return magnitude;
}

static const int64_t tens[] = {INT64_C(1),
                               INT64_C(10),
                               INT64_C(100),
                               INT64_C(1000),
                               INT64_C(10000),
                               INT64_C(100000),
                               INT64_C(1000000),
                               INT64_C(10000000),
                               INT64_C(100000000),
                               INT64_C(1000000000),
                               INT64_C(10000000000),
                               INT64_C(100000000000),
                               INT64_C(1000000000000),
                               INT64_C(10000000000000),
                               INT64_C(100000000000000),
                               INT64_C(1000000000000000),
                               INT64_C(10000000000000000)};

/* What digits behind 16 of a fraction may add, by how many there are. */
static const double unread[PLAIN_LENGTH] = {0, 1e-16, 1e-16, 1e-16, 1e-16, 1e-16, 1e-16, 1e-16};

/* A number whose float is sure, and what ends a value in JSON behind it; NULL: something else,
 * right or wrong. Of a fraction 16 digits count: what follows could only matter where a float ends.
 * (No bool from a comparison goes into where a number ends: compilers put it into the lowest byte
 * of a register, which then waits for what stood there, the last number's value.) */
static inline const char *read_plain(const char *begin, float *ret_value)
{
    const struct marks marks = mark_bytes(begin);
    const uint32_t ends = marks.ends | 1U << PLAIN_LENGTH;
    const char *end = begin + __builtin_ctz(ends);
    const uint32_t is_negative = ~marks.digits & 1; /* or it is no number */
    const uint32_t others = (ends ^ (ends - 1)) >> 1 & ~marks.digits & ~is_negative;
    const char *first = begin + is_negative;
    const char *point = others ? begin + __builtin_ctz(others) : end;
    const size_t n_whole = (size_t)(point - first);

    if (!marks.ends || (((unsigned char)*begin ^ '-') & -is_negative))
        return NULL;
    if (n_whole - 1 > (*first == '0' ? 0U : 15U)) /* none, too many, or a 0 before others */
        return NULL;
    int64_t mantissa = (int64_t)value_of(point, n_whole);
    double low = (double)mantissa, high = low;
    if (others) {
        const size_t n_fraction = (size_t)(end - point - 1);
        const size_t n = n_fraction < 16 ? n_fraction : 16;
        if (n == 0 || *point != '.' || (others & (others - 1)) ||
            __builtin_mul_overflow(mantissa, tens[n], &mantissa) ||
            __builtin_add_overflow(mantissa, (int64_t)value_of(point + 1 + n, n), &mantissa))
            return NULL;
        low = (double)mantissa / powers[n];
        high = low + unread[n_fraction - n];
    }
    /* Up to 2^53 and with all digits read there is one rounding: the nearest double. Else there are
     * three, so that is a neighbour. What nearly always holds is asked first. */
    if ((float)(low * (1 - 8 * DBL_EPSILON)) != (float)(high * (1 + 8 * DBL_EPSILON)) &&
        (low < high || mantissa > INT64_C(1) << 53))
        return NULL;
    *ret_value = with_sign((float)low, is_negative);
    return end;
}

size_t json_text_numbers(struct json_text *text, float *ret_values, size_t n)
{
    const char *behind = text->at; /* the last number read */
    size_t n_read = 0;

    if (text->at - text->begin < PLAIN_BEFORE)
        return 0;
    while (n_read < n) {
        (void)json_text_next(text);
        if (text->end - text->at <= PLAIN_LENGTH)
            break;
        const char *end = read_plain(text->at, &ret_values[n_read]);
        if (!end)
            break;
        behind = end;
        n_read++;
        if (*end != ',')
            break;
        text->at = end + 1;
    }
    text->at = behind;
    return n_read;
}
