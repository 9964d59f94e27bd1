#include "data/timestamp.h"

#include "base/clock.h"
#include "base/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FIRST_SECOND -62135596800.0 /* 0001-01-01T00:00:00Z */
#define END_SECOND   253402300800.0 /* 10000-01-01T00:00:00Z */

static bool is_leap_year(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days from 1970-01-01. Years begin in March here, so that the leap day is a year's last. */
static int64_t days_since_1970(int year, int month, int day)
{
    const int y = month > 2 ? year : year - 1;
    const int month_from_march = (month + 9) % 12;

    return 365LL * y + y / 4 - y / 100 + y / 400 + (153 * month_from_march + 2) / 5 + day - 1 -
           719468;
}

/* Takes exactly `digits` digits off the text. */
static bool take_number(const char **at, const char *end, int digits, int *ret_number)
{
    int number = 0;

    if (end - *at < digits)
        return false;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return true;
}

static bool take_one_of(const char **at, const char *end, const char *allowed)
{
    if (*at == end || !**at || !strchr(allowed, **at))
        return false;
    (*at)++;
    return true;
}

static bool take_date(const char **at, const char *end, double *ret_seconds)
{
    int year, month, day;

    if (!take_number(at, end, 4, &year) || !take_one_of(at, end, "-") ||
        !take_number(at, end, 2, &month) || !take_one_of(at, end, "-") ||
        !take_number(at, end, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
        return false;
    *ret_seconds = (double)days_since_1970(year, month, day) * 86400;
    return true;
}

static bool take_time(const char **at, const char *end, double *ret_seconds)
{
    int hour, minute, second;

    if (!take_number(at, end, 2, &hour) || !take_one_of(at, end, ":") ||
        !take_number(at, end, 2, &minute) || !take_one_of(at, end, ":") ||
        !take_number(at, end, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *ret_seconds = hour * 3600 + minute * 60 + second;
    if (*at == end || **at != '.')
        return true;

    const char *fraction = *at;
    for ((*at)++; *at < end && isdigit((unsigned char)**at); (*at)++)
        ;
    double part;
    if (number_parse_double(fraction, (size_t)(*at - fraction), &part) < 0)
        return false;
    *ret_seconds += part;
    return true;
}

/* Seconds that the zone is ahead of UTC. */
static bool take_zone(const char **at, const char *end, double *ret_seconds)
{
    int hours, minutes;

    *ret_seconds = 0;
    if (*at == end || take_one_of(at, end, "Zz"))
        return true;
    const bool is_behind = **at == '-';
    if (!take_one_of(at, end, "+-") || !take_number(at, end, 2, &hours) ||
        !take_one_of(at, end, ":") || !take_number(at, end, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *ret_seconds = (is_behind ? -60 : 60) * (hours * 60 + minutes);
    return true;
}

int timestamp_parse(const char *text, size_t length, double *ret_seconds)
{
    const char *at = text, *end = text + length;
    double seconds, date, time, zone;

    if (number_parse_double(text, length, &seconds) < 0) {
        if (!take_date(&at, end, &date) || !take_one_of(&at, end, "Tt ") ||
            !take_time(&at, end, &time) || !take_zone(&at, end, &zone) || at != end)
            return -EINVAL;
        seconds = date + time - zone;
    }
    if (!(seconds >= FIRST_SECOND && seconds < END_SECOND)) /* NaN fails it too */
        return -EINVAL;
    *ret_seconds = seconds;
    return 0;
}

bool timestamp_is_far_ahead(double seconds)
{
    return seconds > (double)clock_realtime_us() / 1e6 + 86400.0;
}
