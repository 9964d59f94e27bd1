/* decimal - the shortest decimal that stands for a floating point number, found in whole numbers.
 *
 * The inside of number_write_float() and number_write_double(), which the rest of the program
 * calls: many times faster than to print and read back until the same value returns, and to the
 * byte the same text. No locale, no allocation, no shared state. */
#pragma once

#include <stddef.h>

/* Writes value as the first of "%.<digits>g", "%.<digits + 1>g", … that reads back as value does,
 * with its NUL (25 bytes at most), and returns its length. precision is the width of a mantissa:
 * FLT_MANT_DIG reads back as float, DBL_MANT_DIG as double; 5 < digits < 18.
 * 0, text unchanged: not for this value, which is 0, infinite, NaN, or not in 2^-36 … 2^57. */
size_t decimal_write(char *text, double value, int precision, int digits);
