/* decimal - floating point numbers to decimals and back, in whole numbers.
 *
 * The inside of base/number.h, which the rest of the program calls: many times faster than printf()
 * and strtod(), and to the byte and the bit the same. No locale, no allocation, no shared state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes value with its NUL and returns the length; text has room for 40 bytes, which may all be
 * written. precision DBL_MANT_DIG: as the first of "%.15g", "%.16g", "%.17g" that reads back as the
 * same double; FLT_MANT_DIG: of "%.6g" to "%.9g" that reads back as the same float. 0, text
 * unchanged: not for this value, which is 0, infinite, NaN, or not in 2^-36 … 2^57. */
size_t decimal_write(char *text, double value, int precision);

/* The double nearest to mantissa · 10^exponent; false: not for this size. */
bool decimal_read(uint64_t mantissa, int exponent, double *ret_value);
