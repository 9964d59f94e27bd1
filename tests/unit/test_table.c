#include "anomalyctl/table.h"

#include "base/cleanup.h"
#include "base/text.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct table_column columns[] = {
    {"NAME", "name", false},
    {"ROWS", "rows", true },
    {"PIN",  "pin",  false},
};

static void expect(const char *json, const char *want)
{
    json_auto_t *rows = json_loads(json, 0, NULL);
    CLEANUP(text_clear) struct text text = {0};

    assert_non_null(rows);
    table_print(rows, columns, COUNT(columns), "why", &text);
    assert_false(text_failed(&text));
    assert_string_equal(text.data, want);
}

static void each_type_has_its_form_and_what_is_absent_shows_nothing(void **state)
{
    (void)state;
    expect("[{\"name\":\"größe\",\"rows\":1200,\"pin\":true},"
           "{\"name\":\"b\",\"rows\":0.5,\"pin\":false},{\"pin\":null}]",
           "NAME   ROWS  PIN\n"
           "größe  1200  yes\n"
           "b      50 %\n"
           "\n");
}

static void a_member_of_a_member_and_a_number_above_1_are_shown(void **state)
{
    (void)state;
    static const struct table_column inner[] = {
        {"SCORE", "detail.score", true}
    };
    json_auto_t *rows = json_loads("[{\"detail\":{\"score\":12.3456}},{\"detail\":7},{},"
                                   "{\"detail\":{\"score\":1234.5}}]",
                                   0, NULL);
    CLEANUP(text_clear) struct text text = {0};

    table_print(rows, inner, 1, NULL, &text);
    assert_string_equal(text.data, "SCORE\n12.35\n\n\n 1234\n");
}

static void an_empty_list_has_titles_only(void **state)
{
    (void)state;
    expect("[]", "NAME  ROWS  PIN\n");
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    (void)state;
    expect("[{\"name\":\"a\\u001b[2J\",\"why\":\"b\\u001b\\nc\"}]", "NAME   ROWS  PIN\n"
                                                                    "a?[2J\n"
                                                                    "    b??c\n");
}

static void notes_are_wrapped_below_their_row(void **state)
{
    (void)state;
    expect("[{\"name\":\"a\",\"why\":\"its rows are kept from learning; tell by feedback whether "
           "this is normal or an anomaly\"},{\"name\":\"b\",\"why\":\"\"}]",
           "NAME  ROWS  PIN\n"
           "a\n"
           "    its rows are kept from learning; tell by feedback whether this is normal or\n"
           "    an anomaly\n"
           "b\n");
}

static size_t longest_line(const char *text)
{
    size_t longest = 0;

    for (size_t length; *text; text += length + (text[length] == '\n')) {
        size_t n = 0;
        length = strcspn(text, "\n");
        for (size_t i = 0; i < length; i++)
            n += ((unsigned char)text[i] & 0xC0) != 0x80;
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* 60 + 2 + 20 + 2 + 3 characters: 7 too many. */
static void the_widest_column_is_cut_to_80(void **state)
{
    (void)state;
    char name[61], json[256];
    CLEANUP(text_clear) struct text text = {0};

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(json, sizeof(json), "[{\"name\":\"%s\",\"rows\":\"%s\",\"pin\":true}]", name,
                   "12345678901234567890");
    json_auto_t *rows = json_loads(json, 0, NULL);
    table_print(rows, columns, COUNT(columns), NULL, &text);

    assert_int_equal(longest_line(text.data), 80);
    assert_non_null(strstr(text.data, "nn…  12345678901234567890  yes\n"));
}

static void failed_allocations_are_remembered(void **state)
{
    (void)state;
    json_auto_t *rows = json_loads("[{\"name\":\"a\",\"why\":\"b c\"}]", 0, NULL);
    bool failed = true;
    int nth = 0;

    for (; failed && nth < 100; nth++) {
        CLEANUP(text_clear) struct text text = {0};
        alloc_fail_in = nth;
        table_print(rows, columns, COUNT(columns), "why", &text);
        alloc_fail_in = -1;
        failed = text_failed(&text);
    }
    assert_false(failed);
    assert_true(nth > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_form_and_what_is_absent_shows_nothing),
        cmocka_unit_test(a_member_of_a_member_and_a_number_above_1_are_shown),
        cmocka_unit_test(an_empty_list_has_titles_only),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(notes_are_wrapped_below_their_row),
        cmocka_unit_test(the_widest_column_is_cut_to_80),
        cmocka_unit_test(failed_allocations_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
