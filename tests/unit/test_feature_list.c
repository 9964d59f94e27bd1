#include "data/feature_list.h"

#include "base/text.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct feature_list list;
static struct feature_item item;
static struct error error;

static int tear_down(void **state)
{
    (void)state;
    feature_list_clear(&list);
    return 0;
}

static void expect_next(const char *name, const char *value)
{
    if (feature_list_next(&list, &item, &error) != 1)
        fail_msg("no item where %s must be: %s", name, error.text);
    if (!item.is_quoted)
        feature_item_split(&item, memchr(item.name, '=', item.length));
    assert_int_equal(item.length, strlen(name));
    assert_memory_equal(item.name, name, item.length);
    assert_int_equal(item.value != NULL, value != NULL);
    if (value) {
        assert_int_equal(item.value_length, strlen(value));
        assert_memory_equal(item.value, value, item.value_length);
    }
}

static void expect_end(void)
{
    assert_int_equal(feature_list_next(&list, &item, &error), 0);
}

static void commas_and_line_ends_separate_items(void **state)
{
    (void)state;
    assert_int_equal(feature_list_open(&list, " cpu = above,disk read\n ,\t\nc\r\n,"), 0);
    expect_next("cpu", "above");
    expect_next("disk read", NULL);
    expect_next("c", NULL);
    expect_end();
    expect_end();
}

static void a_name_with_commas_stands_in_quotation_marks(void **state)
{
    (void)state;
    assert_int_equal(feature_list_open(
                         &list, "a=1, \"cpu{mode=\"\"idle\"\",host=\"\"a\"\"}\" = rate ,\"b,c\",d"),
                     0);
    expect_next("a", "1");
    expect_next("cpu{mode=\"idle\",host=\"a\"}", "rate");
    assert_true(item.is_quoted);
    expect_next("b,c", NULL);
    expect_next("d", NULL);
    expect_end();
}

static void quotation_marks_within_a_name_are_none(void **state)
{
    (void)state;
    assert_int_equal(feature_list_open(&list, "cpu{\"x\"}=rate"), 0);
    expect_next("cpu{\"x\"}", "rate");
    expect_end();
}

static void quotation_marks_that_do_not_fit_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"\"a,b",        "holds the name a,b, whose quotation mark is not closed"},
        {"\"a\"b\"=x",   "holds b\"=x behind the name \"a\""                     },
        {"\"a\" rate",   "write = or a comma there"                              },
        {"\"\"\"a=rate", "is not closed"                                         },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(feature_list_open(&list, cases[i].text), 0);
        assert_int_equal(feature_list_next(&list, &item, &error), -EINVAL);
        assert_non_null(strstr(error.text, cases[i].why));
        feature_list_clear(&list);
    }
}

static void a_name_that_was_cut_at_its_comma_is_hinted_at(void **state)
{
    (void)state;
    assert_int_equal(feature_list_open(&list, "cpu{m=\"i\",h=1}=rate,\"a\"\"b\"=x,c=y"), 0);
    assert_int_equal(feature_list_next(&list, &item, &error), 1);
    assert_non_null(strstr(feature_item_hint(&item), "stands in quotation marks"));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(feature_list_next(&list, &item, &error), 1);
        assert_string_equal(feature_item_hint(&item), "");
    }
}

static void any_name_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "disk read", "a,b",        "\"a\"", "a\"b",
                                        " a ", "a\nb",      "a,\"b\",\"", "\""};
    CLEANUP(text_clear) struct text text = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        text_puts(&text, i ? "," : "");
        feature_list_append(&text, names[i]);
    }
    assert_non_null(strstr(text.data, "cpu,disk read,\"a,b\",\"\"\"a\"\"\",a\"b,"));
    assert_int_equal(feature_list_open(&list, text.data), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        expect_next(names[i], NULL);
    expect_end();
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    alloc_fail_in = 0;
    assert_int_equal(feature_list_open(&list, "a"), -ENOMEM);
    alloc_fail_in = -1;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commas_and_line_ends_separate_items),
        TEST(a_name_with_commas_stands_in_quotation_marks),
        TEST(quotation_marks_within_a_name_are_none),
        TEST(quotation_marks_that_do_not_fit_are_told),
        TEST(a_name_that_was_cut_at_its_comma_is_hinted_at),
        TEST(any_name_comes_back_as_it_was),
        TEST(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
