/* Rows for a model whose inputs are prepared: data/json_rows.h. */
#include "base/clock.h"
#include "base/random.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"bytes", "state", "code", "latency"};
#define N_NAMES (sizeof(names) / sizeof(*names))

static struct preparation *preparation;
static struct json_rows rows;

static int set_up(void **state)
{
    (void)state;
    struct prepare_spec spec;

    prepare_spec_init(&spec);
    int r = prepare_spec_parse(&spec,
                               "bytes=rate,state=onehot:up|true|7|\xC3\xA9,code=onehot:200|404,"
                               "latency=log1p",
                               NULL);
    if (r == 0)
        r = preparation_new(&spec, names, N_NAMES, &preparation, NULL);
    prepare_spec_clear(&spec);
    return r;
}

static int tear_down(void **state)
{
    (void)state;
    json_rows_clear(&rows);
    preparation_free(preparation);
    return 0;
}

/* From a copy that ends where the body ends, so that the sanitizer sees a byte read too many. */
static int read_bytes(const char *body, size_t size)
{
    AUTO_FREE char *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, body, size);
    return json_rows_read(&rows, preparation->values, preparation, copy, size);
}

static int read_text(const char *body)
{
    return read_bytes(body, strlen(body));
}

static void expect_values(const char *body, const double want[N_NAMES])
{
    if (read_text(body) < 0)
        fail_msg("%s: %s", body, rows.problems[0].detail);
    assert_int_equal(rows.n_rows, 1);
    for (size_t i = 0; i < N_NAMES; i++)
        if (isnan(want[i]) ? !isnan(rows.values[i]) : rows.values[i] != want[i])
            fail_msg("%s: value %zu is %.17g", body, i, rows.values[i]);
}

static void expect_problem(const char *body, const char *pointer, const char *detail)
{
    assert_int_equal(read_text(body), -EINVAL);
    assert_int_equal(rows.n_problems, 1);
    assert_string_equal(rows.problems[0].pointer, pointer);
    if (!strstr(rows.problems[0].detail, detail))
        fail_msg("%s: %s", body, rows.problems[0].detail);
}

static void a_category_is_text_a_number_or_a_boolean(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        double state, code;
    } cases[] = {
        {"\"up\"",      0,           2          },
        {"true",        1,           2          },
        {"\"true\"",    1,           2          },
        {"false",       4,           2          },
        {"7",           2,           2          },
        {"7.0",         2,           2          },
        {"\"7\"",       2,           2          },
        {"\"007\"",     2,           2          }, /* as a cell of CSV, which has no quotes */
        {"\"\\u00e9\"", 3,           2          },
        {"200",         4,           0          },
        {"2e2",         4,           0          },
        {"\"200.0\"",   4,           0          },
        {"404",         4,           1          },
        {"-0.0",        4,           2          },
        {"\"NAs\"",     4,           2          },
        {"\"uptime\"",  4,           2          },
        {"null",        (double)NAN, (double)NAN},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char body[128];
        const double want[] = {1, cases[i].state, cases[i].code, 2};
        (void)snprintf(body, sizeof(body), "[1,%s,%s,2]", cases[i].json, cases[i].json);
        expect_values(body, want);
        (void)snprintf(body, sizeof(body),
                       "{\"features\":{\"code\":%s,\"state\":%s,\"latency\":2,\"bytes\":1}}",
                       cases[i].json, cases[i].json);
        expect_values(body, want);
    }
}

/* As a cell of a file does in training. */
static void text_that_says_there_is_no_value_is_missing(void **state)
{
    (void)state;
    static const char *const texts[] = {"\"\"", "\"nan\"", "\"NULL\"", "\"NA\""};
    char body[64];

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        (void)snprintf(body, sizeof(body), "[1,%s,404,2]", texts[i]);
        expect_values(body, (const double[]){1, (double)NAN, 1, 2});
        (void)snprintf(body, sizeof(body), "[1,%s,%s,null]", texts[i], texts[i]);
        expect_problem(body, "", "3 of 4");
    }
}

/* Counters lose their last digits in a float. */
static void numbers_are_doubles(void **state)
{
    (void)state;
    expect_values("[9007199254740991,\"up\",404,0.1]",
                  (const double[]){9007199254740991.0, 0, 1, 0.1});
    expect_values("[1e-300,\"up\",404,-0]", (const double[]){1e-300, 0, 1, 0});
}

static void a_text_that_is_too_long_for_a_category_is_another_one(void **state)
{
    (void)state;
    char body[1200] = "[1,\"";

    for (int i = 0; i < 180; i++)
        (void)strcat(body, "\\u00e9");
    (void)strcat(body, "\",200,2]");
    expect_values(body, (const double[]){1, 4, 0, 2});
}

static void a_row_of_names_may_say_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *time;
        double want;
    } cases[] = {
        {"1709292600",                     1709292600   },
        {"1709292600.25",                  1709292600.25},
        {"0",                              0            },
        {"\"1709292600\"",                 1709292600   },
        {"\"2024-03-01T12:30:00+01:00\"",  1709292600   },
        {"\"2024-03-01T11:30:00\\u005a\"", 1709292600   },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char body[160];
        (void)snprintf(body, sizeof(body),
                       "{\"features\":{\"bytes\":1,\"timestamp\":%s,\"code\":404}}", cases[i].time);
        expect_values(body, (const double[]){1, (double)NAN, 1, (double)NAN});
        assert_true(rows.times[0] == cases[i].want);
    }
    assert_int_equal(read_text("{\"instances\":[{\"bytes\":1,\"code\":1},[1,2,3,4],"
                               "{\"timestamp\":60,\"bytes\":2,\"code\":1}]}"),
                     0);
    assert_int_equal(rows.n_rows, 3);
    assert_true(isnan(rows.times[0]) && isnan(rows.times[1]) && rows.times[2] == 60);
}

static void a_bad_time_is_pointed_at(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"yesterday\"", "\"\"", "null",     "true",          "[1]",
                                      "{\"a\":[1]}",   "-1",   "1e400000", "\"2024-13-01\""};
    char body[160];

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"instances\":[{\"bytes\":1,\"timestamp\":%s,\"code\":404}]}", bad[i]);
        const int r = read_text(body);
        assert_true(r == -EINVAL || r == -EBADMSG);
        if (r == -EINVAL) {
            assert_string_equal(rows.problems[0].pointer, "/instances/0/timestamp");
            assert_non_null(strstr(rows.problems[0].detail, "this is no moment"));
        }
    }
    expect_problem("{\"features\":{\"timestamp\":1709292600000,\"bytes\":1,\"code\":1}}",
                   "/features/timestamp", "Unix seconds (not milliseconds), from 1970 on");
    expect_problem("{\"features\":{\"timestamp\":5,\"bytes\":1,\"code\":1,\"timestamp\":6}}",
                   "/features/timestamp", "the timestamp is given twice");
    (void)snprintf(body, sizeof(body), "{\"features\":{\"timestamp\":%.0f,\"bytes\":1,\"code\":1}}",
                   (double)clock_realtime_us() / 1e6 + 90000);
    expect_problem(body, "/features/timestamp", "more than a day ahead");
}

/* Without a preparation nobody would look at it. */
static void a_model_that_prepares_nothing_knows_no_timestamp(void **state)
{
    (void)state;
    static const char body[] = "{\"features\":{\"timestamp\":5,\"bytes\":1,\"code\":1}}";

    assert_int_equal(json_rows_read(&rows, preparation->values, NULL, body, strlen(body)), -EINVAL);
    assert_non_null(strstr(rows.problems[0].detail, "unknown feature \"timestamp\""));
}

static void what_cannot_be_prepared_is_named_and_pointed_at(void **state)
{
    (void)state;
    expect_problem("[-1,\"up\",200,0]", "/0",
                   "\"bytes\" is -1, which is below 0, so this is no counter");
    expect_problem("{\"instances\":[[1,\"up\",200,0],[1,\"up\",200,-0.5]]}", "/instances/1/3",
                   "\"latency\" is -0.5, which is below 0, which log1p cannot take");
    expect_problem("{\"features\":{\"bytes\":-5,\"state\":\"up\",\"code\":1}}", "/features/bytes",
                   "\"bytes\" is -5");
}

static void text_is_only_for_categories(void **state)
{
    (void)state;
    expect_problem("[\"x\",\"up\",200,0]", "/0",
                   "a string where a number or null must stand for \"bytes\": only a feature that "
                   "is prepared as onehot takes it");
    expect_problem(
        "[true,\"up\",200,0]", "/0",
        "a boolean where a number or null must stand for \"bytes\": only a feature that");
    expect_problem("{\"features\":{\"bytes\":{},\"state\":\"up\",\"code\":1,\"latency\":0}}",
                   "/features/bytes", "an object where a number or null must stand for \"bytes\"");
    assert_null(strstr(rows.problems[0].detail, "onehot"));
    assert_int_equal(read_text("[1,\"up\",200,0,\"x\"]"), -EINVAL);
    assert_int_equal(rows.n_problems, 2); /* and one value too many */
    assert_string_equal(rows.problems[0].pointer, "/4");
}

static void what_a_category_takes_is_said(void **state)
{
    (void)state;
    expect_problem("[1,[\"up\"],200,0]", "/1",
                   "an array where text, a number, a boolean or null must stand for \"state\"");
    expect_problem("[1,{\"a\":1},200,0]", "/1",
                   "an object where text, a number, a boolean or null must stand for \"state\"");
}

static void numbers_that_are_too_large_are_pointed_at(void **state)
{
    (void)state;
    expect_problem("[1e39,\"up\",200,0]", "/0", "this number is too large: at most 3.4e38 fits");
    expect_problem("[1,1e39,200,0]", "/1", "this number is too large");
    assert_int_equal(read_text("[1,1e400,200,0]"), -EBADMSG);
}

static void rows_with_more_than_half_missing_are_refused(void **state)
{
    (void)state;
    expect_values("[1,null,null,2]", (const double[]){1, (double)NAN, (double)NAN, 2});
    expect_problem("[1,null,null,null]", "", "more than half of the features are missing: 3 of 4");
    expect_problem("{\"features\":{\"timestamp\":5,\"state\":\"up\"}}", "/features", "3 of 4");
    expect_problem("[1,\"up\",200]", "", "3 values given, but the model wants 4");
}

static void all_problems_of_a_body_are_told(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"instances\":[[-1,\"up\",200,-1],{\"byte\":1},[1,2,3,4]]}"),
                     -EINVAL);
    assert_int_equal(rows.n_problems, 3);
    assert_string_equal(rows.problems[2].pointer, "/instances/1/byte");
    assert_non_null(strstr(rows.problems[2].detail, "did you mean \"bytes\"?"));
}

/* ---- hostile input ---- */

static const char body_of_all[] =
    "{\"explain\":\"all\",\"instances\":[{\"bytes\":12,\"state\":\"\\u00e9p\",\"code\":2e2,"
    "\"timestamp\":\"2024-03-01T12:30:00Z\"},[1,true,null,4.5],{\"timestamp\":17,\"latency\":0,"
    "\"state\":false}]}";

static void any_body_is_read_or_refused_with_a_reason(void **state)
{
    (void)state;
    static const char strange[] = "\0\"\\{}[],:-.e09tfn \xFF\xC3\n";
    char copy[sizeof(body_of_all)];
    struct random random;

    assert_int_equal(read_text(body_of_all), 0);
    random_seed(&random, 3);
    for (size_t at = 0; at < sizeof(body_of_all) - 1; at++) {
        assert_true(read_bytes(body_of_all, at) < 0); /* cut off */
        for (size_t i = 0; i < sizeof(strange) - 1; i++) {
            memcpy(copy, body_of_all, sizeof(copy));
            copy[at] = strange[i];
            if (i % 3 == 0) /* and a second byte */
                copy[random_below(&random, sizeof(copy) - 1)] =
                    strange[random_below(&random, sizeof(strange) - 1)];
            const int r = read_bytes(copy, sizeof(copy) - 1);
            assert_true(r == 0 || r == -EINVAL || r == -EBADMSG);
            assert_int_equal(r == 0, rows.n_problems == 0);
            for (size_t k = 0; r == 0 && k < rows.n_rows * N_NAMES; k++)
                assert_false(isinf((float)rows.values[k]));
        }
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 20; nth++) {
        alloc_fail_in = nth;
        r = json_rows_read(&rows, preparation->values, preparation, body_of_all,
                           strlen(body_of_all));
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 2);
    assert_int_equal(json_rows_reserve(&rows, 100), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_category_is_text_a_number_or_a_boolean),
        TEST(text_that_says_there_is_no_value_is_missing),
        TEST(numbers_are_doubles),
        TEST(a_text_that_is_too_long_for_a_category_is_another_one),
        TEST(a_row_of_names_may_say_its_time),
        TEST(a_bad_time_is_pointed_at),
        TEST(a_model_that_prepares_nothing_knows_no_timestamp),
        TEST(what_cannot_be_prepared_is_named_and_pointed_at),
        TEST(text_is_only_for_categories),
        TEST(what_a_category_takes_is_said),
        TEST(numbers_that_are_too_large_are_pointed_at),
        TEST(rows_with_more_than_half_missing_are_refused),
        TEST(all_problems_of_a_body_are_told),
        TEST(any_body_is_read_or_refused_with_a_reason),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
