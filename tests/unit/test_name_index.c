#include "data/name_index.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_NAMES 5000

static struct name_index index_;
static char *names[N_NAMES];

static int tear_down(void **state)
{
    (void)state;
    name_index_clear(&index_);
    for (size_t i = 0; i < N_NAMES; i++) {
        free(names[i]);
        names[i] = NULL;
    }
    return 0;
}

static int add(const char *name)
{
    names[index_.n_names] = strdup(name);
    assert_non_null(names[index_.n_names]);
    return name_index_add(&index_, names);
}

static void expect(const char *name, size_t want)
{
    assert_int_equal(name_index_find(&index_, names, name, strlen(name)), want);
}

static void names_are_found_by_their_whole_text(void **state)
{
    (void)state;
    expect("a", 0);
    assert_int_equal(add("ab"), 0);
    assert_int_equal(add(""), 0);
    expect("ab", 0);
    expect("", 1);
    expect("a", 2);
    expect("abc", 2);
    assert_int_equal(name_index_find(&index_, names, "abc", 2), 0);
    assert_int_equal(name_index_find(&index_, names, "a\0c", 3), 2);
}

static void each_of_many_names_is_found(void **state)
{
    (void)state;
    char name[32];

    for (size_t i = 0; i < N_NAMES; i++) {
        (void)snprintf(name, sizeof(name), "host-%zu", i);
        expect(name, i);
        assert_int_equal(add(name), 0);
    }
    for (size_t i = 0; i < N_NAMES; i++)
        expect(names[i], i);
    expect("host-5000", N_NAMES);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    names[0] = strdup("a");
    assert_non_null(names[0]);
    alloc_fail_in = 0;
    assert_int_equal(name_index_add(&index_, names), -ENOMEM);
    alloc_fail_in = -1;
    expect("a", 0);
    assert_int_equal(name_index_add(&index_, names), 0);
    expect("a", 0);
    expect("b", 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_found_by_their_whole_text),
        TEST(each_of_many_names_is_found),
        TEST(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
