/* The C library has one zone a process; GLib has objects, and reads the same files. */
#include "base/zone.h"

#include "base/file.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct zone {
    GTimeZone *zone;
    char name[ZONE_MAX_NAME + 1];
};

/* GLib also reads other things than names, "+02:00" and files anywhere among them. */
static bool is_name(const char *name)
{
    const size_t length = strlen(name);

    return length > 0 && length <= ZONE_MAX_NAME && name[0] != '/' && !strstr(name, "..") &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") ==
               length &&
           !strchr("+-0123456789", name[0]);
}

/* GLib takes any file for one, and logs what it finds wrong with it: the list of leap seconds
 * stands among the zones. A zone without a file (UTC) is GLib's to know. */
static bool is_no_zone_file(const char *name)
{
    static const char magic[] = {'T', 'Z', 'i', 'f'};
    const char *folder = getenv("TZDIR"); /* NOLINT(concurrency-mt-unsafe): never set */
    char path[PATH_MAX], begin[sizeof(magic)];

    (void)snprintf(path, sizeof(path), "%s/%s", folder ? folder : "/usr/share/zoneinfo", name);
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && (read(fd, begin, sizeof(begin)) != (ssize_t)sizeof(begin) ||
                       memcmp(begin, magic, sizeof(magic)) != 0);
}

int zone_open(const char *name, struct zone **ret_zone, struct error *reterr)
{
    char shown[TEXT_SHOWN_SIZE];
    assert(name && ret_zone);
    GTimeZone *found =
        is_name(name) && !is_no_zone_file(name) ? g_time_zone_new_identifier(name) : NULL;

    if (!found)
        return error_set(reterr, -EINVAL,
                         "\"%s\" is no time zone that this machine knows; write one such as "
                         "Europe/Berlin or UTC (timedatectl list-timezones)",
                         text_show(shown, name, strlen(name)));
    struct zone *zone = calloc(1, sizeof(*zone));
    if (!zone) {
        g_time_zone_unref(found);
        return error_set(reterr, -ENOMEM, "out of memory");
    }
    zone->zone = found;
    memcpy(zone->name, name, strlen(name) + 1);
    *ret_zone = zone;
    return 0;
}

void zone_close(struct zone *zone)
{
    if (!zone)
        return;
    g_time_zone_unref(zone->zone);
    free(zone);
}

const char *zone_name(const struct zone *zone)
{
    return zone->name;
}

int zone_offset(const struct zone *zone, double moment)
{
    const double limit = 253402300799.0; /* the year 9999 */
    const int64_t at = (int64_t)floor(fmin(fmax(moment, -limit), limit));
    const gint interval = g_time_zone_find_interval(zone->zone, G_TIME_TYPE_UNIVERSAL, at);

    return g_time_zone_get_offset(zone->zone, interval);
}
