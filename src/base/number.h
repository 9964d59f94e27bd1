/* number - numbers as people and programs write them, read strictly and written shortly.
 *
 * Readers take exactly text[length], no white space, nothing left over; they do not depend on the
 * locale. 0, or -EINVAL: not such a number, -ERANGE: it does not fit. ret_value is untouched then.
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

/* Decimal or with exponent, with sign; also nan, inf and infinity in any case. */
MUST_CHECK int number_parse_double(const char *text, size_t length, double *ret_value);
MUST_CHECK int number_parse_u64(const char *text, size_t length, uint64_t *ret_value);

/* "250ms", "10s", "15m", "2h", "1d", "0s"; a whole or decimal number and its unit, which must be
 * given. Microseconds. */
MUST_CHECK int number_parse_duration_us(const char *text, size_t length, uint64_t *ret_us);

/* Bytes: "65536", "16K", "64M", "2G" (powers of 1024). */
MUST_CHECK int number_parse_size(const char *text, size_t length, uint64_t *ret_bytes);

#define NUMBER_MAX 40 /* bytes that the two below may write, also behind the NUL */

/* The shortest decimal that reads back as the same float or double; returns its length.
 * NaN and infinities: "nan", "inf", "-inf". */
size_t number_write_float(char text[NUMBER_MAX], float value);
size_t number_write_double(char text[NUMBER_MAX], double value);
