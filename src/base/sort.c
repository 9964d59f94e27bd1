#include "base/sort.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RADIX_BITS 11 /* three passes hold a float */
#define RADIX      (1U << RADIX_BITS)

/* Floats compare as integers do once the sign is dealt with. */
static uint32_t key_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

static void pass(float *out, const float *in, size_t n, unsigned shift)
{
    size_t begin[RADIX] = {0}, sum = 0;

    for (size_t i = 0; i < n; i++)
        begin[key_of(in[i]) >> shift & (RADIX - 1)]++;
    for (size_t digit = 0; digit < RADIX; digit++) {
        const size_t count = begin[digit];
        begin[digit] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        out[begin[key_of(in[i]) >> shift & (RADIX - 1)]++] = in[i];
}

void sort_floats(float *values, size_t n, float *scratch)
{
    pass(scratch, values, n, 0);
    pass(values, scratch, n, RADIX_BITS);
    pass(scratch, values, n, 2 * RADIX_BITS);
    memcpy(values, scratch, n * sizeof(*values));
}

/* Digits of a byte: items are few, and counters have to be cleared. */
static void item_pass(struct sort_item *out, const struct sort_item *in, size_t n, unsigned shift)
{
    size_t begin[UINT8_MAX + 1] = {0}, sum = 0;

    for (size_t i = 0; i < n; i++)
        begin[(uint8_t)(~key_of(in[i].value) >> shift)]++;
    for (size_t digit = 0; digit <= UINT8_MAX; digit++) {
        const size_t count = begin[digit];
        begin[digit] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        out[begin[(uint8_t)(~key_of(in[i].value) >> shift)]++] = in[i];
}

void sort_items_down(struct sort_item *items, size_t n, struct sort_item *scratch)
{
    item_pass(scratch, items, n, 0);
    item_pass(items, scratch, n, 8);
    item_pass(scratch, items, n, 16);
    item_pass(items, scratch, n, 24);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void sort_doubles(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
}

double sort_median(double *values, size_t n)
{
    assert(n > 0);
    sort_doubles(values, n);
    return n % 2 ? values[n / 2] : 0.5 * values[n / 2 - 1] + 0.5 * values[n / 2];
}
