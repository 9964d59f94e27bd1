/* calendar - maintenance that comes again each week: "Sun 02:00-04:00, Mon-Fri 22:30-00:30".
 *
 * In the time zone of the machine. A window that ends at or before its beginning ends on the next
 * day. Plain data; pure but for the time zone. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALENDAR_MOST_WINDOWS 16

struct weekly_window {
    unsigned days;        /* bit 0 is Sunday: on which it begins */
    unsigned from, until; /* minutes of the day, up to 24:00 */
};

struct calendar {
    struct weekly_window windows[CALENDAR_MOST_WINDOWS];
    size_t n_windows;
};

/* Separated by commas or line ends. -EINVAL: reterr goes on from the text: "holds …: …"; the
 * calendar is as it was. */
MUST_CHECK int calendar_parse(const char *text, struct calendar *ret_calendar,
                              struct error *reterr);
bool calendar_is_on(const struct calendar *calendar, uint64_t realtime_us);
