#include "base/text.h"

#include "base/cleanup.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void text_grows_as_it_is_appended(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    for (int i = 0; i < 1000; i++) {
        text_puts(&text, "ab");
        text_append(&text, "c\0", 1);
        text_printf(&text, "%03d", i);
        assert_int_equal(strlen(text.data), text.length);
        assert_true(text.length < text.capacity);
    }
    assert_int_equal(text.length, 6000);
    assert_string_equal(text.data + 5994, "abc999");
    assert_false(text_failed(&text));
}

static void nothing_appended_is_an_empty_string(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    assert_null(text.data);
    text_append(&text, "", 0);
    assert_string_equal(text.data, "");
    text_printf(&text, "%s", "");
    assert_int_equal(text.length, 0);
}

static void reserved_room_needs_no_allocation(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_reserve(&text, 100);
    alloc_fail_in = 0;
    for (int i = 0; i < 100; i++)
        text_append(&text, "x", 1);
    const int untouched = alloc_fail_in;
    alloc_fail_in = -1;
    assert_int_equal(untouched, 0);
    assert_int_equal(text.length, 100);
    assert_false(text_failed(&text));
}

static void pieces_written_at_once_take_their_place_behind_the_rest(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    for (int i = 0; i < 3; i++) {
        text_puts(&text, "<");
        char *room = text_begin(&text, 100);
        assert_non_null(room);
        memset(room, 'x', 100); /* more than counts in the end */
        text_end(&text, 2);
    }
    assert_string_equal(text.data, "<xx<xx<xx");
    alloc_fail_in = 0;
    assert_null(text_begin(&text, 10000));
    alloc_fail_in = -1;
    assert_true(text_failed(&text));
    text_double(&text, 0.5); /* nothing, but no harm */
    text_float(&text, NAN);
    assert_null(text_begin(&text, 1));
}

static void a_failed_allocation_is_remembered(void **state)
{
    (void)state;
    for (int nth = 0; nth < 3; nth++) {
        CLEANUP(text_clear) struct text text = {0};
        alloc_fail_in = nth;
        for (int i = 0; i < 5; i++)
            text_printf(&text, "%0100d", i);
        const bool has_failed = text_failed(&text);
        alloc_fail_in = -1;
        text_puts(&text, "later");
        assert_true(has_failed && text_failed(&text));
        text_clear(&text);
        assert_null(text.data);
    }
}

static void an_impossible_length_fails(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, "kept");
    text_reserve(&text, SIZE_MAX - 2);
    assert_true(text_failed(&text));
    assert_string_equal(text.data, "kept");
}

static void numbers_are_short_and_never_nan(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_float(&text, 0.1F);
    text_puts(&text, " ");
    text_double(&text, -2.5e-300);
    text_puts(&text, " ");
    text_float(&text, NAN);
    text_puts(&text, " ");
    text_double(&text, -HUGE_VAL);
    assert_string_equal(text.data, "0.1 -2.5e-300 null null");
}

static void whole_numbers_are_written_up_to_the_largest(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_u64(&text, 0);
    text_puts(&text, " ");
    text_u64(&text, 1090);
    text_puts(&text, " ");
    text_u64(&text, UINT64_MAX);
    assert_string_equal(text.data, "0 1090 18446744073709551615");
}

static void a_moment_is_written_in_utc(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    text_time(&text, 0);
    text_puts(&text, " ");
    text_time(&text, 1709296200999999ULL);
    assert_string_equal(text.data, "1970-01-01T00:00:00Z 2024-03-01T12:30:00Z");
}

static void json_strings_are_always_valid(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *json;
    } cases[] = {
#define CASE(bytes, json) {bytes, sizeof(bytes) - 1, json}
        CASE("", "\"\""),
        CASE("cpu", "\"cpu\""),
        CASE("\"\\/", "\"\\\"\\\\/\""),
        CASE("a\nb\t\0\x1F", "\"a\\u000ab\\u0009\\u0000\\u001f\""),
        CASE("\x7F", "\"\x7F\""),
        CASE("größe €", "\"größe €\""),
        CASE("\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\""),
        CASE("\xF4\x8F\xBF\xBF", "\"\xF4\x8F\xBF\xBF\""),
        CASE("\xFF", "\"\uFFFD\""),
        CASE("\x80"
             "a",
             "\"\uFFFDa\""),
        CASE("\xC3", "\"\uFFFD\""), /* cut off */
        CASE("\xE2\x82", "\"\uFFFD\uFFFD\""),
        CASE("\xC3(", "\"\uFFFD(\""),
        CASE("\xC0\xAF", "\"\uFFFD\uFFFD\""), /* longer than needed */
        CASE("\xE0\x80\xAF", "\"\uFFFD\uFFFD\uFFFD\""),
        CASE("\xF0\x80\x80\xAF", "\"\uFFFD\uFFFD\uFFFD\uFFFD\""),
        CASE("\xED\xA0\x80", "\"\uFFFD\uFFFD\uFFFD\""),           /* surrogate */
        CASE("\xF4\x90\x80\x80", "\"\uFFFD\uFFFD\uFFFD\uFFFD\""), /* above U+10FFFF */
        CASE("\xF5\x80\x80\x80", "\"\uFFFD\uFFFD\uFFFD\uFFFD\""),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(text_clear) struct text text = {0};
        text_json_string(&text, cases[i].bytes, cases[i].n);
        assert_string_equal(text.data, cases[i].json);
    }
}

static void shown_text_is_cut_and_harmless(void **state)
{
    (void)state;
    static const char a[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    char shown[TEXT_SHOWN_SIZE];

    assert_string_equal(text_show(shown, "größe", strlen("größe")), "größe");
    assert_string_equal(text_show(shown, "a\x1B[2J\n\x7F\xFF\0b", 10), "a?[2J????b");
    assert_string_equal(text_show(shown, "", 0), "");
    for (size_t n = 0; n <= 60; n++)
        assert_memory_equal(text_show(shown, a, n), a, n);
    assert_string_equal(text_show(shown, a, 70),
                        "012345678901234567890123456789012345678901234567890123456789…");
    /* Not in the middle of a character. */
    assert_string_equal(
        text_show(shown, "01234567890123456789012345678901234567890123456789012345678ä", 61),
        "01234567890123456789012345678901234567890123456789012345678…");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows_as_it_is_appended),
        cmocka_unit_test(nothing_appended_is_an_empty_string),
        cmocka_unit_test(reserved_room_needs_no_allocation),
        cmocka_unit_test(pieces_written_at_once_take_their_place_behind_the_rest),
        cmocka_unit_test(a_failed_allocation_is_remembered),
        cmocka_unit_test(an_impossible_length_fails),
        cmocka_unit_test(numbers_are_short_and_never_nan),
        cmocka_unit_test(whole_numbers_are_written_up_to_the_largest),
        cmocka_unit_test(a_moment_is_written_in_utc),
        cmocka_unit_test(json_strings_are_always_valid),
        cmocka_unit_test(shown_text_is_cut_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
