/* zone - what the clocks on the wall show in a time zone of the IANA database, summer time
 * included.
 *
 * Immutable, safe to share between threads. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#define ZONE_MAX_NAME 64

struct zone;

/* name: "Europe/Berlin", "UTC". -EINVAL with the reason: this machine knows no such zone; -ENOMEM.
 */
MUST_CHECK int zone_open(const char *name, struct zone **ret_zone, struct error *reterr);
void zone_close(struct zone *zone);
DEFINE_CLEANUP(struct zone *, zone_close)

const char *zone_name(const struct zone *zone);

/* Seconds that local time is ahead of UTC at a moment, in seconds since 1970. */
int zone_offset(const struct zone *zone, double moment);
