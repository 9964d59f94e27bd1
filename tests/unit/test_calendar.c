/* Maintenance that comes again each week: service/calendar.h. */
#include "service/calendar.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MINUTE 60000000ULL
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define SUNDAY (3 * DAY) /* 1970-01-04 */
#define MONDAY (SUNDAY + DAY)

static struct calendar parse(const char *text)
{
    struct calendar calendar = {0};
    struct error error = {0};

    if (calendar_parse(text, &calendar, &error) < 0)
        fail_msg("%s %s", text, error.text);
    return calendar;
}

static void assert_on(const char *text, uint64_t from_us, uint64_t until_us)
{
    const struct calendar calendar = parse(text);

    assert_false(calendar_is_on(&calendar, from_us - 1));
    assert_true(calendar_is_on(&calendar, from_us));
    assert_true(calendar_is_on(&calendar, until_us - 1));
    assert_false(calendar_is_on(&calendar, until_us));
}

static void a_window_is_on_from_its_first_minute_until_its_last(void **state)
{
    (void)state;
    assert_on("Sun 02:00-04:00", SUNDAY + 2 * HOUR, SUNDAY + 4 * HOUR);
    assert_on("Sun 02:00-04:00", SUNDAY + 7 * DAY + 2 * HOUR, SUNDAY + 7 * DAY + 4 * HOUR);
    assert_on("Mon 00:00-24:00", MONDAY, MONDAY + DAY);
}

static void a_window_may_go_over_midnight_and_the_week(void **state)
{
    (void)state;
    assert_on("Sun 22:30-00:30", SUNDAY + 22 * HOUR + 30 * MINUTE, MONDAY + 30 * MINUTE);
    assert_on("Sat 23:00-01:00", SUNDAY - HOUR, SUNDAY + HOUR);
}

static void a_range_of_days_may_go_over_the_week(void **state)
{
    (void)state;
    assert_int_equal(parse("Mon-Fri 01:00-02:00").windows[0].days, 0x3E);
    assert_int_equal(parse("Sat-Mon 01:00-02:00").windows[0].days, 0x43);
    assert_int_equal(parse("daily 01:00-02:00").windows[0].days, 0x7F);
}

static void several_windows_are_separated_by_commas_or_lines(void **state)
{
    (void)state;
    const struct calendar calendar = parse("Sun 02:00-04:00 ,\nMon \t 05:00-06:00");

    assert_int_equal(calendar.n_windows, 2);
    assert_true(calendar_is_on(&calendar, MONDAY + 5 * HOUR));
    assert_false(calendar_is_on(&calendar, MONDAY + 2 * HOUR));
}

static void an_empty_calendar_is_never_on(void **state)
{
    (void)state;
    assert_false(calendar_is_on(&(const struct calendar){0}, SUNDAY));
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"",                              "holds no window: write Sun 02:00-04:00"            },
        {"Son 02:00-04:00",               "holds Son 02:00-04:00: a day is one of Sun, Mon"   },
        {"Mon-Fry 02:00-04:00",           "a day is one of"                                   },
        {"Sun",                           "behind the day stands a time from 00:00 to 24:00"  },
        {"Sun02:00-04:00",                "behind the day stands a time"                      },
        {"Sun 2:00-4:00",                 "behind the day stands a time"                      },
        {"Sun 02:00-24:01",               "behind the day stands a time"                      },
        {"Sun 02:60-04:00",               "behind the day stands a time"                      },
        {"Sun 02:00-04:00 UTC",           "behind the day stands a time"                      },
        {"Mon 01:00-02:00, Sun 02:00 04", "holds Sun 02:00 04: behind the day stands a time"  },
        {"Sun 02:00-02:00",               "it lasts for no time; the whole day is 00:00-24:00"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct calendar calendar = {.n_windows = 9};
        struct error error = {0};
        assert_int_equal(calendar_parse(cases[i].text, &calendar, &error), -EINVAL);
        if (!strstr(error.text, cases[i].want))
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_int_equal(calendar.n_windows, 9);
    }
}

static void without_memory_nothing_is_read(void **state)
{
    (void)state;
    struct calendar calendar = {0};

    alloc_fail_in = 0;
    const int r = calendar_parse("Sun 02:00-04:00", &calendar, NULL);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_is_on_from_its_first_minute_until_its_last),
        cmocka_unit_test(a_window_may_go_over_midnight_and_the_week),
        cmocka_unit_test(a_range_of_days_may_go_over_the_week),
        cmocka_unit_test(several_windows_are_separated_by_commas_or_lines),
        cmocka_unit_test(an_empty_calendar_is_never_on),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(without_memory_nothing_is_read),
    };

    (void)setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
