/* timestamp - moments as people and programs write them. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

/* RFC 3339 ("2024-03-01T12:30:00.250+01:00"; T or a blank; fraction and zone may be absent, no zone
 * is UTC; a leap second counts as the second after it) or Unix seconds ("1709292600.25").
 * ret_seconds: since 1970, UTC. -EINVAL: neither of them, no such day or time, or not within the
 * years 1 to 9999. */
MUST_CHECK int timestamp_parse(const char *text, size_t length, double *ret_seconds);

/* Whether a row that came just now cannot be of this moment, because it is more than a day ahead of
 * the clock. */
bool timestamp_is_far_ahead(double seconds);
