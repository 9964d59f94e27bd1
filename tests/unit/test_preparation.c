#include "data/preparation.h"

#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"cpu", "bytes", "state"};
#define N_NAMES (sizeof(names) / sizeof(*names))

static struct error error;

static int make(const char *text, size_t context, const char *zone,
                struct preparation **ret_preparation)
{
    struct prepare_spec spec;

    prepare_spec_init(&spec);
    assert_int_equal(prepare_spec_parse(&spec, text, &error), 0);
    spec.context = context;
    spec.zone = zone ? strdup(zone) : NULL;
    error = (struct error){0};
    const int r = preparation_new(&spec, names, N_NAMES, ret_preparation, &error);
    prepare_spec_clear(&spec);
    return r;
}

static struct preparation *made(const char *text, size_t context)
{
    struct preparation *preparation = NULL;

    if (make(text, context, NULL, &preparation) < 0)
        fail_msg("%s: %s", text, error.text);
    return preparation;
}

static void expect_features(const struct preparation *preparation, const char *const *want,
                            size_t n)
{
    assert_int_equal(schema_n_features(preparation->features), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(schema_name(preparation->features, i), want[i]);
}

static void features_are_named_by_their_kind(void **state)
{
    (void)state;
    static const char *const want[] = {
        "cpu",           "rate(bytes)",     "state=up",        "state=down",
        "state=(other)", "hour-of-day.sin", "hour-of-day.cos", "d.sin",
        "d.cos"};
    CLEANUP(preparation_freep)
    struct preparation *preparation =
        made("timestamp=hour-of-day,state=onehot:up|down,bytes=rate,d=day-of-week", 1);

    expect_features(preparation, want, 9);
    assert_int_equal(preparation->n_columns, 9);
    assert_int_equal(preparation->n_memories, 1);
    assert_int_equal(schema_n_features(preparation->values), N_NAMES);
    assert_int_equal(schema_n_features(preparation->inputs), N_NAMES + 2);
    assert_string_equal(schema_name(preparation->inputs, 3), "hour-of-day");
    assert_string_equal(schema_name(preparation->inputs, 4), "d");
    static const size_t input_of[] = {0, 1, 2, 2, 2, 3, 3, 4, 4};
    assert_memory_equal(preparation->input_of, input_of, sizeof(input_of));
    for (size_t i = 0; i < 5; i++)
        for (size_t c = 0; c < preparation->input[i].n_columns; c++)
            assert_int_equal(input_of[preparation->input[i].column + c], i);
}

static void features_of_rows_behind_say_how_far(void **state)
{
    (void)state;
    static const char *const want[] = {"log1p(cpu)",     "delta(bytes)",     "state",
                                       "log1p(cpu)[-1]", "delta(bytes)[-1]", "state[-1]",
                                       "log1p(cpu)[-2]", "delta(bytes)[-2]", "state[-2]"};
    CLEANUP(preparation_freep)
    struct preparation *preparation = made("cpu=log1p,bytes=delta", 3);

    expect_features(preparation, want, 9);
}

static void what_does_not_fit_the_features_is_refused_with_the_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"byte=rate",               "there is no feature \"byte\"; is it \"bytes\"?"              },
        {"zzzzzzzzz=rate",          "there is no feature \"zzzzzzzzz\""                           },
        {"state=onehot",            "the categories of \"state\" are not known; give them"        },
        {"cpu=hour-of-day",         "\"cpu\" is a feature, but hour-of-day is made from the times"},
        {"state=onehot:(other)|up",
         "two categories of \"state\" would both make a feature called \"state=(other)\""         },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct preparation *preparation = NULL;
        assert_int_equal(make(bad[i].text, 1, NULL, &preparation), -EINVAL);
        assert_null(preparation);
        if (!strstr(error.text, bad[i].why))
            fail_msg("%s: %s", bad[i].text, error.text);
    }
}

static void inputs_that_make_features_of_one_name_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *names[2], *text, *why;
        size_t context;
    } bad[] = {
        {{"rate(bytes)", "bytes"},
         "bytes=rate",                 "\"rate(bytes)\" and \"bytes\" would both make a feature called \"rate(bytes)\"; rename "
         "one of the two, or leave it out",                                        1},
        {{"a", "a[-1]"},           "", "\"a[-1]\" and \"a\" would both make a feature called \"a[-1]\"", 2},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct preparation *preparation = NULL;
        struct prepare_spec spec;
        prepare_spec_init(&spec);
        assert_int_equal(prepare_spec_parse(&spec, bad[i].text, NULL), 0);
        spec.context = bad[i].context;
        assert_int_equal(preparation_new(&spec, bad[i].names, 2, &preparation, &error), -EINVAL);
        prepare_spec_clear(&spec);
        assert_string_equal(strstr(error.text, bad[i].why) ? bad[i].why : error.text, bad[i].why);
    }
}

static void too_many_features_are_refused_with_their_number(void **state)
{
    (void)state;
    struct prepare_spec spec;
    struct preparation *preparation = NULL;
    static char text[100][8];
    const char *many[100];

    for (size_t i = 0; i < 100; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "f%zu", i);
        many[i] = text[i];
    }
    prepare_spec_init(&spec);
    spec.context = 64;
    assert_int_equal(preparation_new(&spec, many, 100, &preparation, &error), -EINVAL);
    assert_non_null(strstr(error.text, "100 columns in each of 64 rows make 6400 features, at "
                                       "most"));
    spec.context = SCHEMA_MAX_FEATURES / 100;
    assert_int_equal(preparation_new(&spec, many, 100, &preparation, &error), 0);
    preparation_free(preparation);
    prepare_spec_clear(&spec);
}

static void an_unknown_zone_is_refused_where_it_matters(void **state)
{
    (void)state;
    struct preparation *preparation = NULL;

    assert_int_equal(make("t=hour-of-day", 1, "Mars/X", &preparation), -EINVAL);
    assert_non_null(strstr(error.text, "\"Mars/X\" is no time zone"));
    assert_int_equal(make("cpu=rate", 1, NULL, &preparation), 0);
    assert_null(preparation->zone);
    assert_string_equal(preparation->zone_name, "UTC");
    preparation_free(preparation);
}

static void equal_is_what_makes_the_same_of_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t context_a, context_b;
        bool is_equal;
    } pairs[] = {
        {"",                      "cpu=raw",                 1, 1, true },
        {"bytes=rate",            "bytes=rate",              2, 2, true },
        {"cpu=rate,bytes=rate",   "bytes=rate,cpu=rate",     1, 1, true }, /* in any order */
        {"bytes=rate",            "bytes=delta",             1, 1, false},
        {"bytes=rate",            "bytes=rate",              1, 2, false},
        {"state=onehot:up|down",  "state=onehot:down|up",    1, 1, false},
        {"state=onehot:up",       "state=onehot:up|down",    1, 1, false},
        {"t=hour-of-day",         "t=day-of-week",           1, 1, false},
        {"t=hour-of-day",         "u=hour-of-day",           1, 1, false},
        {"timestamp=hour-of-day", "hour-of-day=hour-of-day", 1, 1, true },
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        CLEANUP(preparation_freep)
        struct preparation *a = made(pairs[i].a, pairs[i].context_a);
        CLEANUP(preparation_freep)
        struct preparation *b = made(pairs[i].b, pairs[i].context_b);
        if (preparation_equals(a, b) != pairs[i].is_equal)
            fail_msg("\"%s\" and \"%s\"", pairs[i].a, pairs[i].b);
        assert_true(preparation_equals(a, a));
        assert_false(preparation_equals(a, NULL));
        assert_false(preparation_equals(NULL, b));
    }
    assert_true(preparation_equals(NULL, NULL));
}

static void zone_and_gap_make_a_difference(void **state)
{
    (void)state;
    CLEANUP(preparation_freep) struct preparation *here = made("t=hour-of-day,cpu=rate", 1);
    CLEANUP(preparation_freep) struct preparation *there = NULL;
    CLEANUP(preparation_freep) struct preparation *utc = NULL;

    assert_int_equal(make("t=hour-of-day,cpu=rate", 1, "Europe/Berlin", &there), 0);
    assert_int_equal(make("t=hour-of-day,cpu=rate", 1, "UTC", &utc), 0);
    assert_false(preparation_equals(here, there));
    assert_true(preparation_equals(here, utc));
    utc->max_gap = 60;
    assert_false(preparation_equals(here, utc));
}

static void it_tells_what_it_needs(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t context;
        bool series, time, rates;
    } cases[] = {
        {"cpu=log1p,state=onehot:a", 1, false, false, false},
        {"cpu=log1p",                2, true,  false, false},
        {"cpu=delta",                1, true,  false, false},
        {"cpu=rate",                 1, true,  true,  true },
        {"t=hour-of-day",            1, false, true,  false},
        {"t=day-of-week",            1, false, true,  false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(preparation_freep)
        struct preparation *preparation = made(cases[i].text, cases[i].context);
        assert_int_equal(preparation_needs_series(preparation), cases[i].series);
        assert_int_equal(preparation_needs_time(preparation), cases[i].time);
        assert_int_equal(preparation_has_rates(preparation), cases[i].rates);
    }
}

static void what_a_kind_cannot_take_is_told(void **state)
{
    (void)state;
    CLEANUP(preparation_freep)
    struct preparation *preparation = made("cpu=log1p,bytes=rate", 1);

    assert_non_null(strstr(preparation_refuses(preparation, 0, -1e-9), "log1p cannot take"));
    assert_non_null(strstr(preparation_refuses(preparation, 1, -1), "no counter"));
    assert_null(preparation_refuses(preparation, 0, 0.0));
    assert_null(preparation_refuses(preparation, 0, -0.0));
    assert_null(preparation_refuses(preparation, 1, 1e18));
    assert_null(preparation_refuses(preparation, 2, -5));
}

static void a_category_is_found_by_its_whole_text(void **state)
{
    (void)state;
    CLEANUP(preparation_freep)
    struct preparation *preparation = made("state=onehot:up|upper|200|-1|0", 1);
    const struct prepared_input *input = &preparation->input[2];
    static const struct {
        const char *text;
        double want;
    } cases[] = {
        {"up",    0},
        {"upper", 1},
        {"200",   2},
        {"-1",    3},
        {"0",     4},
        {"uppe",  5},
        {"u",     5},
        {"",      5},
        {"UP",    5},
        {"200.0", 2}, /* the same number, also where it is
  text */
        {"2e2",   2},
        {"-1.0",  3},
        {"-0",    4},
        {"2e",    5},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *copy = strndup(cases[i].text, strlen(cases[i].text));
        const double got = preparation_category(input, copy, strlen(copy));
        free(copy);
        if (got != cases[i].want)
            fail_msg("%s is %g", cases[i].text, got);
    }
    assert_true(preparation_category(input, "upper", 2) == 0.0);
}

static void a_shared_preparation_goes_with_its_last_user(void **state)
{
    (void)state;
    struct preparation *preparation = made("state=onehot:up", 1);

    assert_null(preparation_share(NULL));
    assert_ptr_equal(preparation_share(preparation), preparation);
    preparation_free(preparation);
    assert_string_equal(preparation->input[2].categories[0], "up");
    preparation_free(preparation);
    preparation_free(NULL);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct prepare_spec spec;
    int r = -ENOMEM, nth = 0;

    prepare_spec_init(&spec);
    assert_int_equal(
        prepare_spec_parse(&spec, "bytes=rate,state=onehot:up|down,t=hour-of-day", NULL), 0);
    spec.context = 2;
    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(preparation_freep) struct preparation *preparation = NULL;
        CLEANUP(preparation_state_freep) struct preparation_state *memory = NULL;
        alloc_fail_in = nth;
        r = preparation_new(&spec, names, N_NAMES, &preparation, NULL);
        if (r == 0)
            r = preparation_state_new(preparation, &memory);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 10);
    prepare_spec_clear(&spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_named_by_their_kind),
        cmocka_unit_test(features_of_rows_behind_say_how_far),
        cmocka_unit_test(what_does_not_fit_the_features_is_refused_with_the_name),
        cmocka_unit_test(inputs_that_make_features_of_one_name_are_told),
        cmocka_unit_test(too_many_features_are_refused_with_their_number),
        cmocka_unit_test(an_unknown_zone_is_refused_where_it_matters),
        cmocka_unit_test(equal_is_what_makes_the_same_of_the_same),
        cmocka_unit_test(zone_and_gap_make_a_difference),
        cmocka_unit_test(it_tells_what_it_needs),
        cmocka_unit_test(what_a_kind_cannot_take_is_told),
        cmocka_unit_test(a_category_is_found_by_its_whole_text),
        cmocka_unit_test(a_shared_preparation_goes_with_its_last_user),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
