#include "base/zone.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR 3600

static struct zone *open_zone(const char *name)
{
    struct zone *zone = NULL;
    struct error error = {0};

    if (zone_open(name, &zone, &error) < 0)
        fail_msg("%s", error.text);
    assert_string_equal(zone_name(zone), name);
    return zone;
}

static void summer_time_begins_and_ends_at_its_second(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        double moment;
        int offset;
    } cases[] = {
        {"Europe/Berlin",    1711846799,   1 * HOUR }, /* 2024-03-31 01:59:59 */
        {"Europe/Berlin",    1711846799.9, 1 * HOUR },
        {"Europe/Berlin",    1711846800,   2 * HOUR }, /* 03:00:00 */
        {"Europe/Berlin",    1729990799,   2 * HOUR }, /* 2024-10-27 02:59:59 */
        {"Europe/Berlin",    1729990800,   1 * HOUR }, /* 02:00:00 again */
        {"Europe/Berlin",    2223000000,   2 * HOUR }, /* June 2040, by the rule */
        {"Australia/Sydney", 1712419199,   11 * HOUR}, /* summer is over in April */
        {"Australia/Sydney", 1712419200,   10 * HOUR},
        {"Australia/Sydney", 1728143999,   10 * HOUR},
        {"Australia/Sydney", 1728144000,   11 * HOUR},
        {"Asia/Kolkata",     1712419200,   19800    }, /* half an hour */
        {"UTC",              1712419200,   0        },
        {"UTC",              -1e9,         0        },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(zone_closep) struct zone *zone = open_zone(cases[i].zone);
        assert_int_equal(zone_offset(zone, cases[i].moment), cases[i].offset);
    }
}

static void any_number_is_a_moment(void **state)
{
    (void)state;
    CLEANUP(zone_closep) struct zone *zone = open_zone("Europe/Berlin");
    static const double moments[] = {
        0, -0.5, -1e300, 1e300, (double)INFINITY, -(double)INFINITY, (double)NAN};

    for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
        const int offset = zone_offset(zone, moments[i]);
        assert_true(offset >= 0 && offset <= 2 * HOUR);
    }
}

static void what_is_no_zone_is_refused_with_its_name(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",      "/etc/passwd", "../x",    "Europe/../UTC", "+02:00",         "-3",
        "02:00", "Mars/X",      "Europe",  "Europe/",       "tzdata.zi",      "CET ",
        " UTC",  "UTC\n",       "UTC0UTC", "EST5EDT,M",     "Europe/Berlin/x"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct zone *zone = NULL;
        struct error error = {0};
        if (zone_open(names[i], &zone, &error) != -EINVAL)
            fail_msg("\"%s\" is taken", names[i]);
        assert_null(zone);
        assert_non_null(strstr(error.text, "\" is no time zone that this machine knows"));
        assert_non_null(strstr(error.text, "Europe/Berlin"));
    }
}

/* As "leapseconds", which stands among the zones. */
static void a_file_that_is_no_zone_is_refused_without_a_word_of_glib(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_zone.XXXXXX", path[64];
    static const char *const contents[] = {"# the list\n", "TZ", ""};
    struct zone *zone = NULL;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/leapseconds", folder);
    assert_int_equal(setenv("TZDIR", folder, 1), 0);
    const GLogLevelFlags was = g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL);
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(contents[i], file) >= 0 && fclose(file) == 0);
        assert_int_equal(zone_open("leapseconds", &zone, NULL), -EINVAL);
    }
    (void)g_log_set_always_fatal(was);
    assert_int_equal(zone_open("UTC", &zone, NULL), 0); /* has no file there, and needs none */
    zone_close(zone);
    assert_int_equal(unsetenv("TZDIR"), 0);
    assert_int_equal(unlink(path) | rmdir(folder), 0);
}

static void a_name_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char name[ZONE_MAX_NAME + 2];
    struct zone *zone = NULL;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(zone_open(name, &zone, NULL), -EINVAL);
}

static void a_failed_allocation_is_told(void **state)
{
    (void)state;
    struct zone *zone = NULL;

    alloc_fail_in = 0;
    const int r = zone_open("UTC", &zone, NULL);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
    zone_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summer_time_begins_and_ends_at_its_second),
        cmocka_unit_test(any_number_is_a_moment),
        cmocka_unit_test(what_is_no_zone_is_refused_with_its_name),
        cmocka_unit_test(a_file_that_is_no_zone_is_refused_without_a_word_of_glib),
        cmocka_unit_test(a_name_that_is_too_long_is_refused),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
