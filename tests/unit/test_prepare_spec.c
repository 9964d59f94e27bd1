#include "data/prepare_spec.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct prepare_spec spec;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    prepare_spec_init(&spec);
    error = (struct error){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    prepare_spec_clear(&spec);
    return 0;
}

static void parse(const char *text)
{
    if (prepare_spec_parse(&spec, text, &error) < 0)
        fail_msg("%s: %s", text, error.text);
}

static void expect_refusal(const char *text, const char *why)
{
    error = (struct error){0};
    assert_int_equal(prepare_spec_parse(&spec, text, &error), -EINVAL);
    if (!strstr(error.text, why))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, error.text, why);
}

static void expect_item(size_t i, const char *name, enum preparing how)
{
    assert_in_range(i, 0, spec.n_items - 1);
    assert_string_equal(spec.items[i].name, name);
    assert_int_equal(spec.items[i].how, how);
}

static const struct prepare_setting *setting(const char *name)
{
    size_t i = 0;

    while (strcmp(prepare_settings[i].name, name) != 0)
        i++;
    return &prepare_settings[i];
}

static int set(const char *name, const char *text)
{
    error = (struct error){0};
    return setting(name)->set(&spec, text, &error);
}

/* ---- parsing ---- */

static void every_kind_has_its_name(void **state)
{
    (void)state;
    enum preparing how;

    parse("a=raw,b=log1p,c=rate,d=delta,e=onehot,f=hour-of-day,g=day-of-week");
    assert_int_equal(spec.n_items, N_PREPARING);
    for (size_t i = 0; i < N_PREPARING; i++) {
        expect_item(i, (const char[]){(char)('a' + i), '\0'}, (enum preparing)i);
        const char *name = preparing_name((enum preparing)i);
        assert_true(preparing_find(name, strlen(name), &how));
        assert_int_equal(how, i);
        assert_false(preparing_find(name, strlen(name) - 1, &how));
        assert_int_equal(preparing_is_of_time(how), i >= PREPARE_HOUR);
    }
}

static void blanks_line_ends_and_empty_items_do_not_count(void **state)
{
    (void)state;
    parse(" disk read = rate ,\n\tb=log1p\r\n\n,, state = onehot: up | half way |down ,");
    assert_int_equal(spec.n_items, 3);
    expect_item(0, "disk read", PREPARE_RATE);
    expect_item(1, "b", PREPARE_LOG1P);
    expect_item(2, "state", PREPARE_ONEHOT);
    assert_int_equal(spec.items[2].n_categories, 3);
    assert_string_equal(spec.items[2].categories[0], "up");
    assert_string_equal(spec.items[2].categories[1], "half way");
    assert_string_equal(spec.items[2].categories[2], "down");
    parse("");
    assert_int_equal(spec.n_items, 0);
}

/* As Prometheus has them. */
static void names_may_hold_equals_signs(void **state)
{
    (void)state;
    parse("cpu{mode=\"idle\"}=rate,a=b=delta");
    expect_item(0, "cpu{mode=\"idle\"}", PREPARE_RATE);
    expect_item(1, "a=b", PREPARE_DELTA);
}

static void a_quoted_name_may_hold_commas(void **state)
{
    (void)state;
    parse("a=log1p, \"cpu{mode=\"\"idle\"\",host=\"\"a\"\"}\"=rate,\"b,c\"=onehot:x|y=z");
    assert_int_equal(spec.n_items, 3);
    expect_item(1, "cpu{mode=\"idle\",host=\"a\"}", PREPARE_RATE);
    expect_item(2, "b,c", PREPARE_ONEHOT);
    assert_string_equal(spec.items[2].categories[1], "y=z");
    expect_refusal("\"a,b\"", "write FEATURE=KIND");
    expect_refusal("\"a,b=rate", "not closed");
}

static void categories_may_hold_equals_signs_and_colons(void **state)
{
    (void)state;
    parse("state=onehot:a=1|b=2|c:3,x{y=\"z\"}=onehot:k=v");
    expect_item(0, "state", PREPARE_ONEHOT);
    assert_int_equal(spec.items[0].n_categories, 3);
    assert_string_equal(spec.items[0].categories[0], "a=1");
    assert_string_equal(spec.items[0].categories[2], "c:3");
    expect_item(1, "x{y=\"z\"}", PREPARE_ONEHOT);
    assert_string_equal(spec.items[1].categories[0], "k=v");
}

static void the_timestamp_is_called_as_what_is_made_of_it(void **state)
{
    (void)state;
    parse("timestamp=hour-of-day,timestamp=day-of-week,shift=hour-of-day");
    expect_item(0, "hour-of-day", PREPARE_HOUR);
    expect_item(1, "day-of-week", PREPARE_WEEKDAY);
    expect_item(2, "shift", PREPARE_HOUR);
    expect_refusal("timestamp=rate",
                   "prepares the timestamp by rate; it can be hour-of-day or day-of-week");
    expect_refusal("timestamp=raw", "prepares the timestamp by raw");
    expect_refusal("timestamp=hour-of-day,timestamp=hour-of-day", "names \"hour-of-day\" twice");
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    expect_refusal("a", "holds \"a\"; write FEATURE=KIND");
    expect_refusal("a=rate,bc", "holds \"bc\"");
    expect_refusal("a=rat", "prepares \"a\" by \"rat\", which is unknown; there are raw, log1p");
    expect_refusal("a=", "prepares \"a\" by \"\"");
    expect_refusal("a=RATE", "prepares \"a\" by \"RATE\"");
    expect_refusal("=rate", "names the feature \"\": the name is empty");
    expect_refusal("a\x01=rate", "control character");
    expect_refusal("a\xFF=rate", "not UTF-8");
    expect_refusal("a=rate, a=log1p", "names \"a\" twice; prepare it in one way");
    expect_refusal("a=rate:x|y", "gives \"a\" categories, but rate has none");
    expect_refusal("a=hour-of-day:x", "but hour-of-day has none");
}

static void what_says_that_a_value_is_missing_is_no_category(void **state)
{
    (void)state;
    expect_refusal("a=onehot:up|NA", "gives \"a\" the category \"NA\", which says that a value is");
    expect_refusal("a=onehot:null", "the category \"null\"");
    expect_refusal("a=onehot:up|", "the name is empty");
    parse("a=onehot:NAs|none");
}

static void bad_categories_are_named(void **state)
{
    (void)state;
    char text[16 * PREPARE_MAX_CATEGORIES] = "many=onehot:0";

    expect_refusal("a=onehot:", "gives \"a\" the category \"\"");
    expect_refusal("a=onehot:x||y", "gives \"a\" the category \"\"");
    expect_refusal("a=onehot:x| ", "gives \"a\" the category \"\"");
    expect_refusal("a=onehot:x|y| x", "gives \"a\" the category \"x\" twice");
    for (int i = 1; i < PREPARE_MAX_CATEGORIES; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "|%d", i);
    parse(text);
    assert_int_equal(spec.items[0].n_categories, PREPARE_MAX_CATEGORIES);
    (void)strcat(text, "|more");
    expect_refusal(text, "gives \"many\" more than 100 categories");
}

/* As rows and CSV files give them: 200 and 2e2 are one. */
static void categories_that_are_numbers_are_written_in_one_way(void **state)
{
    (void)state;
    parse("code=onehot:200.0|4e2|007|2xx");
    assert_string_equal(spec.items[0].categories[0], "200");
    assert_string_equal(spec.items[0].categories[1], "400");
    assert_string_equal(spec.items[0].categories[2], "7");
    assert_string_equal(spec.items[0].categories[3], "2xx");
    expect_refusal("code=onehot:200|200.0", "the category \"200\" twice");
}

static void equal_numbers_are_written_alike(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *want;
    } cases[] = {
        {200,                "200"             },
        {-0.0,               "0"               },
        {0.1,                "0.1"             },
        {-1.5,               "-1.5"            },
        {1e300,              "1e+300"          },
        {1234567890123456.0, "1234567890123456"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[PREPARE_NUMBER_SIZE];
        const size_t n = prepare_number_text(text, cases[i].number);
        assert_int_equal(n, strlen(cases[i].want));
        assert_memory_equal(text, cases[i].want, n);
    }
}

static void a_refused_text_leaves_the_spec_as_it_was(void **state)
{
    (void)state;
    parse("a=rate,b=onehot:x|y");
    expect_refusal("c=rate,b=onehot:p|q,c=log1p", "twice");
    assert_int_equal(spec.n_items, 2);
    expect_item(0, "a", PREPARE_RATE);
    expect_item(1, "b", PREPARE_ONEHOT);
    assert_string_equal(spec.items[1].categories[1], "y");
}

static void another_text_takes_the_place_of_the_items_alone(void **state)
{
    (void)state;
    assert_int_equal(set("context", "3"), 0);
    assert_int_equal(set("timezone", "Europe/Berlin"), 0);
    parse("a=rate");
    parse("b=log1p");
    assert_int_equal(spec.n_items, 1);
    expect_item(0, "b", PREPARE_LOG1P);
    assert_int_equal(spec.context, 3);
    assert_string_equal(spec.zone, "Europe/Berlin");
    assert_null(prepare_spec_find(&spec, "a"));
    assert_ptr_equal(prepare_spec_find(&spec, "b"), &spec.items[0]);
}

/* ---- settings ---- */

static void settings_are_taken_or_refused_with_what_they_must_be(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *why;
    } bad[] = {
        {"context",  "0",      "from 1 to 64"           },
        {"context",  "65",     "from 1 to 64"           },
        {"context",  "-1",     "from 1 to 64"           },
        {"context",  "x",      "from 1 to 64"           },
        {"context",  "",       "from 1 to 64"           },
        {"context",  "2 ",     "from 1 to 64"           },
        {"max-gap",  "-1",     "a number and a unit"    },
        {"max-gap",  "x",      "a number and a unit"    },
        {"max-gap",  "5",      "a number and a unit"    },
        {"max-gap",  "",       "a number and a unit"    },
        {"timezone", "Mars/X", "must be a time zone: \""},
        {"timezone", "",       "must be a time zone: \""},
        {"prepare",  "a",      "FEATURE=KIND"           },
    };

    assert_int_equal(set("context", "64"), 0);
    assert_int_equal(set("max-gap", "90s"), 0);
    assert_int_equal(set("timezone", "UTC"), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(set(bad[i].name, bad[i].text), -EINVAL);
        if (!strstr(error.text, bad[i].why))
            fail_msg("%s = %s: %s", bad[i].name, bad[i].text, error.text);
    }
    assert_int_equal(spec.context, 64);
    assert_true(spec.max_gap == 90.0);
    assert_string_equal(spec.zone, "UTC");
    assert_int_equal(set("max-gap", "none"), 0);
    assert_true(spec.max_gap == 0.0);
    assert_int_equal(set("max-gap", "250ms"), 0);
    assert_true(spec.max_gap == 0.25);
    assert_int_equal(set("timezone", "Asia/Tokyo"), 0);
    assert_string_equal(spec.zone, "Asia/Tokyo");
}

static void a_spec_tells_whether_gap_and_zone_count(void **state)
{
    (void)state;
    parse("a=log1p,b=onehot:x");
    assert_false(prepare_spec_looks_back(&spec) || prepare_spec_has_clock(&spec));
    spec.context = 2;
    assert_true(prepare_spec_looks_back(&spec));
    spec.context = 1;
    parse("a=delta");
    assert_true(prepare_spec_looks_back(&spec) && !prepare_spec_has_clock(&spec));
    parse("timestamp=day-of-week");
    assert_true(!prepare_spec_looks_back(&spec) && prepare_spec_has_clock(&spec));
}

static void a_spec_that_leaves_all_as_it_is_is_plain(void **state)
{
    (void)state;
    assert_true(prepare_spec_is_plain(&spec));
    assert_true(spec.context == 1 && spec.max_gap == PREPARE_MAX_GAP && !spec.zone);
    parse("a=raw");
    assert_true(prepare_spec_is_plain(&spec));
    assert_int_equal(set("timezone", "UTC"), 0);
    assert_int_equal(set("max-gap", "1s"), 0);
    assert_true(prepare_spec_is_plain(&spec));
    assert_int_equal(set("context", "2"), 0);
    assert_false(prepare_spec_is_plain(&spec));
    assert_int_equal(set("context", "1"), 0);
    parse("a=raw,b=delta");
    assert_false(prepare_spec_is_plain(&spec));
}

static void a_shared_spec_goes_with_its_last_user(void **state)
{
    (void)state;
    struct prepare_spec *shared = NULL;

    assert_null(prepare_spec_share(NULL));
    assert_int_equal(prepare_spec_new(&shared), 0);
    assert_ptr_equal(prepare_spec_share(shared), shared);
    assert_int_equal(prepare_spec_parse(shared, "a=onehot:x", NULL), 0);
    prepare_spec_free(shared);
    assert_string_equal(shared->items[0].categories[0], "x");
    prepare_spec_free(shared);
    prepare_spec_free(NULL);
}

/* ---- hostile input ---- */

static void any_text_is_taken_or_refused(void **state)
{
    (void)state;
    static const char text[] = "a b=rate,\nc=onehot: x|y=1 ,timestamp=hour-of-day,z=log1p";
    static const char strange[] = "\x01 ,=|:\n\r\t\xFF\xC3z9";

    for (size_t at = 0; at < sizeof(text) - 1; at++)
        for (size_t i = 0; i < sizeof(strange) - 1; i++) {
            char *copy = strdup(text); /* so that the sanitizer sees a byte read too many */
            assert_non_null(copy);
            copy[at] = strange[i];
            error = (struct error){0};
            const int r = prepare_spec_parse(&spec, copy, &error);
            assert_true(r == 0 || r == -EINVAL);
            assert_int_equal(r == 0, error.text[0] == '\0');
            copy[at] = '\0';
            assert_true(prepare_spec_parse(&spec, copy, NULL) <= 0);
            free(copy);
        }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        struct prepare_spec *shared = NULL;
        alloc_fail_in = nth;
        r = prepare_spec_new(&shared);
        if (r == 0)
            r = prepare_spec_parse(shared, "a=rate,b=onehot:x|y,timestamp=hour-of-day", NULL);
        if (r == 0)
            r = setting("timezone")->set(shared, "Europe/Berlin", NULL);
        alloc_fail_in = -1;
        prepare_spec_free(shared);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_has_its_name),
        TEST(blanks_line_ends_and_empty_items_do_not_count),
        TEST(names_may_hold_equals_signs),
        TEST(a_quoted_name_may_hold_commas),
        TEST(categories_may_hold_equals_signs_and_colons),
        TEST(the_timestamp_is_called_as_what_is_made_of_it),
        TEST(what_is_wrong_is_named),
        TEST(what_says_that_a_value_is_missing_is_no_category),
        TEST(bad_categories_are_named),
        TEST(categories_that_are_numbers_are_written_in_one_way),
        TEST(equal_numbers_are_written_alike),
        TEST(a_refused_text_leaves_the_spec_as_it_was),
        TEST(another_text_takes_the_place_of_the_items_alone),
        TEST(settings_are_taken_or_refused_with_what_they_must_be),
        TEST(a_spec_tells_whether_gap_and_zone_count),
        TEST(a_spec_that_leaves_all_as_it_is_is_plain),
        TEST(a_shared_spec_goes_with_its_last_user),
        TEST(any_text_is_taken_or_refused),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
