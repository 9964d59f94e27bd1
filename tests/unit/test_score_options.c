#include "http/score_options.h"

#include "base/clock.h"
#include "data/json_rows.h"
#include "http/reply.h"
#include "http/request.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct reply reply;

static int clear_reply(void **state)
{
    (void)state;
    text_clear(&reply.body);
    reply = (struct reply){0};
    return 0;
}

static int read_query(struct score_options *options, const char *name, const char *value)
{
    struct request request = {.parameters = {{.name = name, .value = value}}, .n_parameters = 1};
    return score_options_read_query(options, &request, &reply);
}

static int read_body(struct score_options *options, const char *name, enum json_scalar kind,
                     const char *value)
{
    static struct json_rows rows;

    rows.n_options = 1;
    rows.options[0].kind = kind;
    (void)snprintf(rows.options[0].name, sizeof(rows.options[0].name), "%s", name);
    (void)snprintf(rows.options[0].value, sizeof(rows.options[0].value), "%s", value);
    return score_options_read_body(options, &rows, &reply);
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    struct score_options options;

    score_options_init(&options);
    assert_int_equal(options.explain, EXPLAIN_ANOMALIES);
    assert_int_equal(options.top, 5);
    assert_true(options.learn);
    assert_string_equal(score_options_series(&options), "");
    const uint64_t before = clock_realtime_us();
    const uint64_t now = score_options_time_us(&options);
    assert_true(now >= before && now <= clock_realtime_us());
}

static void every_option_is_taken_from_query_and_body(void **state)
{
    (void)state;
    struct score_options options;

    score_options_init(&options);
    assert_int_equal(read_query(&options, "explain", "all"), 0);
    assert_int_equal(read_query(&options, "top", "3"), 0);
    assert_int_equal(read_query(&options, "learn", "false"), 0);
    assert_int_equal(read_query(&options, "series", "db-1"), 0);
    assert_int_equal(read_query(&options, "timestamp", "1709292600.25"), 0);
    assert_int_equal(options.explain, EXPLAIN_ALL);
    assert_int_equal(options.top, 3);
    assert_false(options.learn);
    assert_string_equal(score_options_series(&options), "db-1");
    assert_true(score_options_time_us(&options) == 1709292600250000);

    score_options_init(&options);
    assert_int_equal(read_body(&options, "explain", JSON_SCALAR_STRING, "none"), 0);
    assert_int_equal(read_body(&options, "top", JSON_SCALAR_NUMBER, "1"), 0);
    assert_int_equal(read_body(&options, "learn", JSON_SCALAR_BOOL, "false"), 0);
    assert_int_equal(read_body(&options, "series", JSON_SCALAR_NULL, "null"), 0);
    assert_int_equal(
        read_body(&options, "timestamp", JSON_SCALAR_STRING, "2024-03-01T12:30:00.250+01:00"), 0);
    assert_int_equal(options.explain, EXPLAIN_NONE);
    assert_int_equal(options.top, 1);
    assert_false(options.learn);
    assert_null(score_options_series(&options));
    assert_true(score_options_time_us(&options) == 1709292600250000);
}

static void a_series_has_up_to_128_bytes(void **state)
{
    (void)state;
    char series[ROW_SERIES_MAX + 2];
    struct score_options options;

    memset(series, 's', sizeof(series));
    series[ROW_SERIES_MAX + 1] = '\0';
    score_options_init(&options);
    assert_int_equal(read_query(&options, "series", series), -EINVAL);
    assert_int_equal(read_body(&options, "series", JSON_SCALAR_STRING, series), -EINVAL);
    series[ROW_SERIES_MAX] = '\0';
    assert_int_equal(read_body(&options, "series", JSON_SCALAR_STRING, series), 0);
    assert_string_equal(score_options_series(&options), series);
}

static void bad_values_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum json_scalar kind;
        const char *value;
    } bad[] = {
        {"explain",   JSON_SCALAR_STRING, "some"                },
        {"explain",   JSON_SCALAR_NUMBER, "1"                   },
        {"top",       JSON_SCALAR_NUMBER, "0"                   },
        {"top",       JSON_SCALAR_NUMBER, "1.5"                 },
        {"top",       JSON_SCALAR_STRING, "3"                   },
        {"learn",     JSON_SCALAR_STRING, "false"               },
        {"learn",     JSON_SCALAR_NULL,   "null"                },
        {"learn",     JSON_SCALAR_NUMBER, "0"                   },
        {"series",    JSON_SCALAR_STRING, ""                    },
        {"series",    JSON_SCALAR_STRING, "a\nb"                },
        {"series",    JSON_SCALAR_STRING, "\xff"                },
        {"series",    JSON_SCALAR_NUMBER, "7"                   },
        {"series",    JSON_SCALAR_BOOL,   "true"                },
        {"timestamp", JSON_SCALAR_NULL,   "null"                },
        {"timestamp", JSON_SCALAR_BOOL,   "true"                },
        {"timestamp", JSON_SCALAR_STRING, "yesterday"           },
        {"timestamp", JSON_SCALAR_STRING, "2024-02-30T00:00:00Z"},
        {"timestamp", JSON_SCALAR_STRING, "1969-12-31T23:59:59Z"},
        {"timestamp", JSON_SCALAR_NUMBER, "-1"                  },
        {"timestamp", JSON_SCALAR_NUMBER, "1e300"               },
        {"label",     JSON_SCALAR_NUMBER, "1"                   },
        {"",          JSON_SCALAR_NUMBER, "1"                   },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct score_options options;
        char want[64];
        score_options_init(&options);
        if (read_body(&options, bad[i].name, bad[i].kind, bad[i].value) != -EINVAL)
            fail_msg("%s = %s", bad[i].name, bad[i].value);
        (void)snprintf(want, sizeof(want), "\"pointer\":\"/%s\"", bad[i].name);
        assert_non_null(strstr(reply.body.data, want));
        assert_int_equal(reply.status, 400);
    }
}

static void null_in_a_query_is_a_name_like_any_other(void **state)
{
    (void)state;
    struct score_options options;

    score_options_init(&options);
    assert_int_equal(read_query(&options, "series", "null"), 0);
    assert_string_equal(score_options_series(&options), "null");
}

static void an_option_is_given_once(void **state)
{
    (void)state;
    struct score_options options;

    score_options_init(&options);
    assert_int_equal(read_query(&options, "series", "a"), 0);
    assert_int_equal(read_body(&options, "series", JSON_SCALAR_NULL, "null"), -EINVAL);
    assert_non_null(strstr(reply.body.data, "twice"));
    assert_string_equal(score_options_series(&options), "a");
}

static void observe_knows_only_series_and_timestamp(void **state)
{
    (void)state;
    static const char *const others[] = {"explain", "top", "learn"};
    struct score_options options;

    score_options_init(&options);
    options.is_for_observe = true;
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        assert_int_equal(read_query(&options, others[i], "1"), -EINVAL);
        assert_non_null(strstr(reply.body.data, "is unknown; there are series and timestamp"));
    }
    assert_int_equal(read_query(&options, "series", "a"), 0);
    assert_int_equal(read_query(&options, "timestamp", "0"), 0);
    assert_int_equal(score_options_time_us(&options), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_has_its_default),
        cmocka_unit_test_teardown(every_option_is_taken_from_query_and_body, clear_reply),
        cmocka_unit_test_teardown(a_series_has_up_to_128_bytes, clear_reply),
        cmocka_unit_test_teardown(bad_values_are_refused_by_name, clear_reply),
        cmocka_unit_test_teardown(null_in_a_query_is_a_name_like_any_other, clear_reply),
        cmocka_unit_test_teardown(an_option_is_given_once, clear_reply),
        cmocka_unit_test_teardown(observe_knows_only_series_and_timestamp, clear_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
