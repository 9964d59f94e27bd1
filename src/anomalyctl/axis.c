#include "anomalyctl/axis.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST  1e-300 /* beyond these, differences and ratios leave the range of double */
#define MOST   1e300
#define N_WISH 5 /* ticks on a linear axis, about */

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* 1, 2 or 5 times a power of ten. */
static double linear_step(double span)
{
    const double power = pow(10, floor(log10(span / N_WISH)));
    const double rest = span / N_WISH / power;

    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

/* Every how many decades there is a tick; 0: at 1, 2 and 5 of each decade. */
static int log_step(double low, double high)
{
    const double decades = log10(high) - log10(low);

    return decades <= 2.5 ? 0 : decades <= 8 ? 1 : (int)ceil(decades / 6);
}

static double round_on_log_axis(double value, int step, bool up)
{
    const double power = pow(10, floor(log10(value)));
    static const double steps[] = {1, 2, 5, 10};
    size_t i;

    if (step)
        return clamp(pow(10, step * (up ? ceil : floor)(log10(value) / step)), LEAST, MOST);
    for (i = 0; i < 3 && (up ? power * steps[i] < value : power * steps[i + 1] <= value); i++)
        ;
    return power * steps[i];
}

static void make_range(bool is_log, double *low, double *high)
{
    const double least = is_log ? LEAST : -MOST;

    *low = clamp(isnan(*low) ? 1 : *low, least, MOST);
    *high = clamp(isnan(*high) ? *low : *high, least, MOST);
    if (is_log && *high / *low < 1.01) {
        *low /= 2;
        *high *= 2;
    } else if (!is_log && *high - *low <= fmax(LEAST, 1e-9 * fmax(fabs(*low), fabs(*high)))) {
        const double middle = fabs(*low) < LEAST ? 0 : *low;
        *low = middle - fabs(middle) / 2;
        *high = middle == 0 ? 1 : middle + fabs(middle) / 2;
    }
}

/* Once to limits that have ticks. */
static void round_limits(struct axis *axis)
{
    if (axis->is_log) {
        const int step = log_step(axis->low, axis->high);
        axis->low = round_on_log_axis(axis->low, step, false);
        axis->high = round_on_log_axis(axis->high, step, true);
    } else {
        const double step = linear_step(axis->high - axis->low);
        axis->low = floor(axis->low / step + 1e-9) * step;
        axis->high = ceil(axis->high / step - 1e-9) * step;
    }
}

void axis_fit(struct axis *axis, double low, double high)
{
    make_range(axis->is_log, &low, &high);
    axis->low = low;
    axis->high = high;
    round_limits(axis);
    round_limits(axis); /* the wider range may have wider steps */
}

static size_t find_log_ticks(const struct axis *axis, double ret_ticks[AXIS_MAX_TICKS])
{
    static const double multiples[] = {1, 2, 5};
    const int step = log_step(axis->low, axis->high);
    const int by = step ? step : 1;
    const int first = by * (int)floor(log10(axis->low) / by - 1e-9);
    size_t n = 0;

    for (int exponent = first; exponent <= log10(axis->high) + 1e-9; exponent += by)
        for (size_t i = 0; i < (step ? 1 : 3); i++) {
            const double tick = multiples[i] * pow(10, exponent);
            if (tick >= axis->low * (1 - 1e-9) && tick <= axis->high * (1 + 1e-9) &&
                n < AXIS_MAX_TICKS)
                ret_ticks[n++] = tick;
        }
    return n;
}

size_t axis_ticks(const struct axis *axis, double ret_ticks[AXIS_MAX_TICKS])
{
    assert(axis->low < axis->high && (!axis->is_log || axis->low > 0));
    if (axis->is_log)
        return find_log_ticks(axis, ret_ticks);

    const double step = linear_step(axis->high - axis->low);
    const double first = ceil(axis->low / step - 1e-6);
    size_t n = 0;
    while (n < AXIS_MAX_TICKS && first + (double)n <= axis->high / step + 1e-6) {
        ret_ticks[n] = (first + (double)n) * step;
        n++;
    }
    return n;
}

int axis_digits(const struct axis *axis)
{
    if (axis->is_log)
        return 2;
    const double step = linear_step(axis->high - axis->low);
    const double largest = fmax(fabs(axis->low), fabs(axis->high));
    return (int)clamp(1 + ceil(log10(largest / step)), 1, 15);
}

double axis_place(const struct axis *axis, double value)
{
    if (isnan(value) || (axis->is_log && value <= 0))
        return (double)NAN;
    value = clamp(value, axis->low, axis->high);
    return axis->is_log ? (log(value) - log(axis->low)) / (log(axis->high) - log(axis->low))
                        : (value - axis->low) / (axis->high - axis->low);
}

static void append_superscript(char *text, size_t size, int exponent)
{
    static const char *const digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    char plain[16];

    (void)snprintf(plain, sizeof(plain), "%d", exponent);
    for (const char *c = plain; *c; c++) {
        const size_t length = strlen(text);
        (void)snprintf(text + length, size - length, "%s", *c == '-' ? "⁻" : digits[*c - '0']);
    }
}

const char *axis_number(char ret_number[AXIS_NUMBER_MAX], double value, int digits)
{
    const double size = fabs(value);
    const char *sign = value < 0 ? "−" : "";
    char scientific[AXIS_NUMBER_MAX];

    if (!isfinite(value))
        (void)snprintf(ret_number, AXIS_NUMBER_MAX, "–");
    else if (size == 0 || (size >= 1e-3 && size < 99999.5)) {
        const int whole = size >= 1 ? (int)log10(size) + 1 : 1;
        (void)snprintf(ret_number, AXIS_NUMBER_MAX, "%s%.*g", sign, digits > whole ? digits : whole,
                       size);
    } else {
        (void)snprintf(scientific, sizeof(scientific), "%.*e", digits - 1, size);
        char *e = strchr(scientific, 'e');
        const int exponent = (int)strtol(e + 1, NULL, 10);
        *e = '\0';
        const double mantissa = strtod(scientific, NULL);
        (void)snprintf(ret_number, AXIS_NUMBER_MAX, mantissa == 1 ? "%s10" : "%s%.*g·10", sign,
                       digits, mantissa);
        append_superscript(ret_number, AXIS_NUMBER_MAX, exponent);
    }
    return ret_number;
}
