#include "data/timestamp.h"

#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void moments_are_read_as_seconds_since_1970(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } cases[] = {
        {"1970-01-01T00:00:00Z",             0             },
        {"1970-01-01 00:00:01",              1             }, /* no zone is UTC */
        {"1970-01-01t00:00:00z",             0             },
        {"2024-02-29T12:30:00Z",             1709209800    },
        {"2024-02-29T12:30:00+01:00",        1709206200    },
        {"2024-02-29 12:30:00-05:30",        1709229600    },
        {"2024-02-29T12:30:00.25Z",          1709209800.25 },
        {"2024-02-29T12:30:00.125000+00:00", 1709209800.125},
        {"2016-12-31T23:59:60Z",             1483228800    }, /* leap second */
        {"1969-12-31T23:59:59Z",             -1            },
        {"0001-01-01T00:00:00Z",             -62135596800.0},
        {"9999-12-31T23:59:59Z",             253402300799.0},
        {"1709209800",                       1709209800    },
        {"1709209800.5",                     1709209800.5  },
        {"1.7e9",                            1.7e9         },
        {"-1",                               -1            },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double seconds = 0;
        if (timestamp_parse(cases[i].text, strlen(cases[i].text), &seconds) != 0)
            fail_msg("%s is refused", cases[i].text);
        assert_true(seconds == cases[i].seconds);
    }
}

static void what_is_no_moment_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "now",
        "nan",
        "inf",
        "1e300",
        "2024-02-29T12:30",
        "2024-02-29",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00,5Z",
        "2024-01-01T00:00:00+1:00",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T00:00:00 UTC",
        "2024-01-01T00:00:00Z ",
        " 2024-01-01T00:00:00Z",
        "2024/01/01T00:00:00Z",
        "2024-01-01_00:00:00Z",
        "9999-12-31T23:59:59-00:01", /* in the year 10000, UTC */
        "0001-01-01T00:00:00+00:01", /* before the year 1 */
        "24-01-01T00:00:00Z",
        "-024-01-01T00:00:00Z",
        "2024-1-1T0:0:0Z",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        double seconds = 42;
        const int r = timestamp_parse(bad[i], strlen(bad[i]), &seconds);
        if (r != -EINVAL)
            fail_msg("%s is read as %f", bad[i], seconds);
        assert_true(seconds == 42);
    }
}

static void days_agree_with_the_c_library(void **state)
{
    (void)state;
    for (long day = -719162; day < 2932896; day += 7) {
        const time_t expected = (time_t)day * 86400 + 3661;
        struct tm tm;
        char text[64];
        double seconds = 0;

        assert_non_null(gmtime_r(&expected, &tm));
        (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_int_equal(timestamp_parse(text, strlen(text), &seconds), 0);
        assert_true(seconds == (double)expected);
    }
}

static void only_the_given_bytes_are_read(void **state)
{
    (void)state;
    double seconds = 0;

    assert_int_equal(timestamp_parse("1970-01-01T00:00:00+01:00", 19, &seconds), 0);
    assert_true(seconds == 0);
    assert_int_equal(timestamp_parse("1970-01-01T00:00:00\0Z", 21, &seconds), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_read_as_seconds_since_1970),
        cmocka_unit_test(what_is_no_moment_is_refused),
        cmocka_unit_test(days_agree_with_the_c_library),
        cmocka_unit_test(only_the_given_bytes_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
