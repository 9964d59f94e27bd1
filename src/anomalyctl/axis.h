/* axis - the scale of a chart: round limits, ticks, where a value lies, how it is written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct axis {
    const char *label;
    bool is_log;
    double low, high; /* finite, low < high; above 0 if logarithmic */
};

/* Sets low and high to round numbers around the values low to high. What is no range (equal, NaN,
 * 0 or less on a log axis) becomes one. */
void axis_fit(struct axis *axis, double low, double high);

#define AXIS_MAX_TICKS 16

/* Round numbers on the axis, rising; returns how many. */
size_t axis_ticks(const struct axis *axis, double ret_ticks[AXIS_MAX_TICKS]);

/* Digits that tell its ticks apart; for axis_number(). */
int axis_digits(const struct axis *axis);

/* 0 to 1 along the axis, clamped; NaN for what has no place: NaN, and 0 or less on a log axis. */
double axis_place(const struct axis *axis, double value);

#define AXIS_NUMBER_MAX 64

/* A number for people: 0.25, 1500, −3, 2·10⁻⁷; – if it is not finite. digits: how many matter, 1 to
 * 15. Returns ret_number. */
const char *axis_number(char ret_number[AXIS_NUMBER_MAX], double value, int digits);
