#include "service/calendar.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define N_DAYS        7
#define ALL_DAYS      0x7FU
#define MINUTES_A_DAY 1440U

static const char *const days[N_DAYS] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* Moves *text behind what was read; -EINVAL. */
static int read_day(const char **text, unsigned *ret_day)
{
    for (unsigned day = 0; day < N_DAYS; day++)
        if (strncmp(*text, days[day], 3) == 0) {
            *text += 3;
            *ret_day = day;
            return 0;
        }
    return -EINVAL;
}

static int read_days(const char **text, unsigned *ret_days)
{
    unsigned first = 0, last = 0;

    if (strncmp(*text, "daily", 5) == 0) {
        *text += 5;
        *ret_days = ALL_DAYS;
        return 0;
    }
    if (read_day(text, &first) < 0)
        return -EINVAL;
    last = first;
    if (**text == '-') {
        (*text)++;
        if (read_day(text, &last) < 0)
            return -EINVAL;
    }
    *ret_days = 1U << last;
    for (unsigned day = first; day != last; day = (day + 1) % N_DAYS) /* Sat-Mon goes over Sunday */
        *ret_days |= 1U << day;
    return 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* HH:MM from 00:00 to 24:00. */
static int read_minute(const char **text, unsigned *ret_minute)
{
    const char *at = *text;

    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? at[i] != ':' : !is_digit(at[i]))
            return -EINVAL;
    const unsigned hour = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
    const unsigned minute = (unsigned)(at[3] - '0') * 10 + (unsigned)(at[4] - '0');
    if (minute > 59 || hour * 60 + minute > MINUTES_A_DAY)
        return -EINVAL;
    *text += 5;
    *ret_minute = hour * 60 + minute;
    return 0;
}

/* NULL: it is a window; else what is wrong. */
static const char *read_window(const char *text, struct weekly_window *ret_window)
{
    if (read_days(&text, &ret_window->days) < 0)
        return "a day is one of Sun, Mon, Tue, Wed, Thu, Fri, Sat, or Mon-Fri, or daily";
    const size_t gap = strspn(text, " \t");
    text += gap;
    if (gap == 0 || read_minute(&text, &ret_window->from) < 0 || *text++ != '-' ||
        read_minute(&text, &ret_window->until) < 0 || *text)
        return "behind the day stands a time from 00:00 to 24:00 as in 02:00-04:00";
    if (ret_window->from == ret_window->until || ret_window->from == MINUTES_A_DAY)
        return "it lasts for no time; the whole day is 00:00-24:00";
    return NULL;
}

int calendar_parse(const char *text, struct calendar *ret_calendar, struct error *reterr)
{
    struct calendar calendar = {0};
    AUTO_FREE char *copy = strdup(text);
    char *rest = NULL, shown[TEXT_SHOWN_SIZE];
    if (!copy)
        return -ENOMEM;

    for (char *word = strtok_r(copy, ",\n", &rest); word; word = strtok_r(NULL, ",\n", &rest)) {
        word += strspn(word, " \t");
        size_t length = strlen(word);
        while (length > 0 && strchr(" \t", word[length - 1]))
            word[--length] = '\0';
        if (length == 0)
            continue;
        if (calendar.n_windows == CALENDAR_MOST_WINDOWS)
            return error_set(reterr, -EINVAL, "holds more than %d windows: take some out",
                             CALENDAR_MOST_WINDOWS);
        const char *wrong = read_window(word, &calendar.windows[calendar.n_windows++]);
        if (wrong)
            return error_set(reterr, -EINVAL, "holds %s: %s", text_show(shown, word, length),
                             wrong);
    }
    if (calendar.n_windows == 0)
        return error_set(reterr, -EINVAL, "holds no window: write Sun 02:00-04:00");
    *ret_calendar = calendar;
    return 0;
}

static bool has_begun_on(const struct weekly_window *window, unsigned day)
{
    return (window->days >> (day % N_DAYS) & 1U) != 0;
}

bool calendar_is_on(const struct calendar *calendar, uint64_t realtime_us)
{
    const time_t seconds = (time_t)(realtime_us / US_PER_S);
    struct tm local;

    if (calendar->n_windows == 0 || !localtime_r(&seconds, &local))
        return false;
    const unsigned day = (unsigned)local.tm_wday;
    const unsigned minute = (unsigned)(local.tm_hour * 60 + local.tm_min);
    for (size_t i = 0; i < calendar->n_windows; i++) {
        const struct weekly_window *window = &calendar->windows[i];
        const bool is_over_midnight = window->until < window->from;
        if (has_begun_on(window, day) && minute >= window->from &&
            (is_over_midnight || minute < window->until))
            return true;
        if (is_over_midnight && has_begun_on(window, day + N_DAYS - 1) && minute < window->until)
            return true;
    }
    return false;
}
