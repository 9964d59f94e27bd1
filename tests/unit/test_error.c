#include "base/error.h"

#include "support/cmocka.h"

#include <errno.h>
#include <string.h>

static void a_failure_is_one_statement(void **state)
{
    (void)state;
    struct error err = {"old"};

    assert_int_equal(error_set(&err, -EINVAL, "rate %g is above %d", 1.5, 1), -EINVAL);
    assert_string_equal(err.text, "rate 1.5 is above 1");
}

static void the_place_is_written_as_people_click_on_it(void **state)
{
    (void)state;
    struct error err;

    assert_int_equal(error_set_at(&err, -EINVAL, "a.csv", 17, "column %d", 3), -EINVAL);
    assert_string_equal(err.text, "a.csv:17: column 3");
    assert_int_equal(error_set_at(&err, -ENOENT, "a.csv", 0, "is gone"), -ENOENT);
    assert_string_equal(err.text, "a.csv: is gone");
}

static void a_system_call_gives_its_reason(void **state)
{
    (void)state;
    struct error err;

    assert_int_equal(error_set_errno(&err, -EACCES, "a.csv", "open"), -EACCES);
    assert_string_equal(err.text, "a.csv: cannot open: Permission denied");
    assert_int_equal(error_set_errno(&err, -4095, "a.csv", "open"), -4095);
    assert_string_equal(err.text, "a.csv: cannot open: Unknown error 4095");
}

static void nobody_need_listen(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, -EINVAL, "x"), -EINVAL);
    assert_int_equal(error_set_at(NULL, -EINVAL, "f", 1, "x"), -EINVAL);
    assert_int_equal(error_set_errno(NULL, -EIO, "f", "read"), -EIO);
}

static void long_text_is_cut(void **state)
{
    (void)state;
    static char big[2000];
    struct {
        struct error err;
        char guard[8];
    } s = {.guard = "guarded"};

    memset(big, 'x', sizeof(big) - 1);
    error_set(&s.err, -EINVAL, "%s", big);
    assert_int_equal(strlen(s.err.text), sizeof(s.err.text) - 1);
    error_set_at(&s.err, -EINVAL, big, 1, "reason"); /* the place alone is too long */
    assert_int_equal(strlen(s.err.text), sizeof(s.err.text) - 1);
    error_set_at(&s.err, -EINVAL, "f", 1, "%s", big);
    assert_int_equal(strlen(s.err.text), sizeof(s.err.text) - 1);
    assert_memory_equal(s.err.text, "f:1: xx", 7);
    assert_string_equal(s.guard, "guarded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_one_statement),
        cmocka_unit_test(the_place_is_written_as_people_click_on_it),
        cmocka_unit_test(a_system_call_gives_its_reason),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
