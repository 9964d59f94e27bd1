/* decimal - floating point numbers to decimals and back, in whole numbers.
 *
 * The inside of base/number.h, which the rest of the program calls: many times faster than printf()
 * and strtod(), and to the byte and the bit the same. No locale, no allocation, no shared state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes value as the first of "%.<digits>g", "%.<digits + 1>g", … that reads back as value does,
 * with its NUL (25 bytes at most), and returns its length. precision is the width of a mantissa:
 * FLT_MANT_DIG reads back as float, DBL_MANT_DIG as double; 5 < digits < 18.
 * 0, text unchanged: not for this value, which is 0, infinite, NaN, or not in 2^-36 … 2^57. */
size_t decimal_write(char *text, double value, int precision, int digits);

/* The double nearest to mantissa · 10^exponent; false: not for this size. */
bool decimal_read(uint64_t mantissa, int exponent, double *ret_value);
