#include "service/ini.h"

#include "base/text.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <string.h>

static struct ini ini;
static struct text errors;

static int setup(void **state)
{
    (void)state;
    ini = (struct ini){0};
    errors = (struct text){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ini_clear(&ini);
    text_clear(&errors);
    return 0;
}

static void parse_bytes(const char *data, size_t size)
{
    /* Of exactly this size, so that the sanitizer sees a read beyond its end. */
    AUTO_FREE char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    assert_int_equal(ini_parse("a.conf", copy, size, &ini, &errors), 0);
}

static void parse(const char *text)
{
    parse_bytes(text, strlen(text));
}

static void assert_entry(size_t i, const char *section, const char *key, const char *value,
                         size_t line)
{
    assert_true(i < ini.n_entries);
    assert_string_equal(ini.entries[i].section, section);
    assert_string_equal(ini.entries[i].key, key);
    assert_string_equal(ini.entries[i].value, value);
    assert_int_equal(ini.entries[i].line, line);
}

static void sections_keys_and_values_have_their_lines(void **state)
{
    (void)state;
    parse("# comment\n[server]\nthreads=2\n\n [storage ]\n");
    assert_string_equal(errors.data, "a.conf:5: an indented line goes on with the value above it, "
                                     "and there is none: start keys and sections at the beginning "
                                     "of the line\n");
    assert_int_equal(ini.n_entries, 2);
    assert_string_equal(ini.entries[0].section, "server");
    assert_null(ini.entries[0].key);
    assert_null(ini.entries[0].value);
    assert_int_equal(ini.entries[0].line, 2);
    assert_entry(1, "server", "threads", "2", 3);
}

static void blanks_around_names_and_values_are_cut(void **state)
{
    (void)state;
    parse("[ model  web\t] \nfile =\t a b = c # d \t\nempty =\n");
    assert_null(errors.data);
    assert_string_equal(ini.entries[0].section, "model  web");
    assert_entry(1, "model  web", "file", "a b = c # d", 2);
    assert_entry(2, "model  web", "empty", "", 3);
}

static void indented_lines_go_on_with_the_value(void **state)
{
    (void)state;
    parse("[s]\nlist = one,\n   two,\n\t# not this\n  three\nlast =\n  x");
    assert_null(errors.data);
    assert_entry(1, "s", "list", "one,\ntwo,\nthree", 2);
    assert_entry(2, "s", "last", "\nx", 6);
}

static void a_blank_line_ends_a_value(void **state)
{
    (void)state;
    parse("[s]\nlist = one\n\n  two\n");
    assert_entry(1, "s", "list", "one", 2);
    assert_non_null(strstr(errors.data, "a.conf:4: an indented line"));
}

static void crlf_and_a_byte_order_mark_are_taken(void **state)
{
    (void)state;
    parse("\xEF\xBB\xBF[s]\r\nkey = value\r\n  more\r\n");
    assert_null(errors.data);
    assert_entry(1, "s", "key", "value\nmore", 2);
}

static void a_file_may_be_empty(void **state)
{
    (void)state;
    parse("");
    assert_null(errors.data);
    assert_int_equal(ini.n_entries, 0);
}

static void long_lines_are_read_whole(void **state)
{
    (void)state;
    enum {
        LENGTH = 100000
    };
    CLEANUP(text_clear) struct text text = {0};
    AUTO_FREE char *value = malloc(LENGTH + 1);
    assert_non_null(value);
    memset(value, 'x', LENGTH);
    value[LENGTH] = '\0';

    text_printf(&text, "[s]\nkey = %s", value);
    parse(text.data);
    assert_entry(1, "s", "key", value, 2);
}

static void every_wrong_line_is_told(void **state)
{
    (void)state;
    parse("early = 1\n[open\nignored = 1\n[]\n[s] tail\n[s]\nword\n= 3\n  passed over\nok = 1\n");
    assert_string_equal(errors.data,
                        "a.conf:1: early stands before the first [section]\n"
                        "a.conf:2: [open: a section is written [name], with nothing behind it\n"
                        "a.conf:4: the section has no name\n"
                        "a.conf:5: [s] tail: a section is written [name], with nothing behind it\n"
                        "a.conf:7: word: expected [section], key = value or # comment\n"
                        "a.conf:8: there is no key before the =\n");
    assert_int_equal(ini.n_entries, 2);
    assert_entry(1, "s", "ok", "1", 10);
}

static void control_bytes_and_bad_utf8_are_refused(void **state)
{
    (void)state;
    static const char data[] =
        "[s]\na = \0b\nc = \x1B[0m\nd = \xFF\n[t\x01]\ne = 1\n# \r#\nf = \x7F";

    parse_bytes(data, sizeof(data) - 1);
    assert_string_equal(errors.data, "a.conf:2: the line holds a NUL byte\n"
                                     "a.conf:3: the line holds a control character\n"
                                     "a.conf:4: the line is not UTF-8\n"
                                     "a.conf:5: the line holds a control character\n"
                                     "a.conf:7: the line holds a control character\n"
                                     "a.conf:8: the line holds a control character\n");
    assert_int_equal(ini.n_entries, 1);
}

/* Every prefix of a file with all there is, and each with one byte made hostile. */
static void no_cut_or_changed_file_does_harm(void **state)
{
    (void)state;
    static const char whole[] = "\xEF\xBB\xBF# c\r\n[a b]\r\nk = v,\r\n  w\r\n\r\n[z]\nü = é\n";
    static const char hostile[] = {'\0', '\n', '[', ']', '=', ' ', '#', '\r', '\xC3'};
    char copy[sizeof(whole)];

    for (size_t size = 0; size < sizeof(whole); size++)
        for (size_t i = 0; i < sizeof(hostile); i++) {
            memcpy(copy, whole, sizeof(whole));
            copy[size / 2] = hostile[i];
            parse_bytes(copy, size);
            for (size_t j = 0; j < ini.n_entries; j++)
                assert_true(*ini.entries[j].section);
            ini_clear(&ini);
            text_clear(&errors);
        }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text many = {0};
    int r = -ENOMEM;

    text_puts(&many, "[s]\nwrong\n");
    for (int i = 0; i < 100; i++)
        text_printf(&many, "k%d = v\n", i);
    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        text_clear(&errors);
        alloc_fail_in = nth;
        r = ini_parse("a.conf", many.data, many.length, &ini, &errors);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_int_equal(ini.n_entries, 101);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sections_keys_and_values_have_their_lines),
        TEST(blanks_around_names_and_values_are_cut),
        TEST(indented_lines_go_on_with_the_value),
        TEST(a_blank_line_ends_a_value),
        TEST(crlf_and_a_byte_order_mark_are_taken),
        TEST(a_file_may_be_empty),
        TEST(long_lines_are_read_whole),
        TEST(every_wrong_line_is_told),
        TEST(control_bytes_and_bad_utf8_are_refused),
        TEST(no_cut_or_changed_file_does_harm),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
