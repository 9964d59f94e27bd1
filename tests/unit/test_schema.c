#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int make(const char *const *names, size_t n, struct schema **ret, struct error *err)
{
    return schema_new(names, n, ret, err);
}

static void features_keep_their_order_and_are_found_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "mem", "größe", "a b", "CPU"};
    CLEANUP(schema_freep) struct schema *schema = NULL;
    size_t feature = 99;

    assert_int_equal(make(names, 5, &schema, NULL), 0);
    assert_int_equal(schema_n_features(schema), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(schema_name(schema, i), names[i]);
        assert_string_equal(schema_names(schema)[i], names[i]);
        assert_true(schema_find(schema, names[i], strlen(names[i]), &feature));
        assert_int_equal(feature, i);
    }
}

static void unknown_names_are_not_found(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "mem"};
    CLEANUP(schema_freep) struct schema *schema = NULL;
    size_t feature = 99;

    assert_int_equal(make(names, 2, &schema, NULL), 0);
    assert_false(schema_find(schema, "disk", 4, &feature));
    assert_false(schema_find(schema, "", 0, &feature));
    assert_false(schema_find(schema, "cpu", 2, &feature));
    assert_false(schema_find(schema, "cpu\0", 4, &feature));
    assert_int_equal(feature, 99);
    assert_true(schema_find(schema, "cpu_user", 3, &feature)); /* length counts, not the NUL */
}

static void a_name_is_recognised_where_json_writes_it_as_it_is(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "größe", "a\"b", "a\\b"};
    CLEANUP(schema_freep) struct schema *schema = NULL;

    assert_int_equal(make(names, 4, &schema, NULL), 0);
    assert_int_equal(schema_begins_with(schema, 0, "\"cpu\": 1", 8), 5);
    assert_int_equal(schema_begins_with(schema, 0, "\"cpu\"", 5), 5);
    assert_int_equal(schema_begins_with(schema, 0, "\"cpu\"", 4), 0);
    assert_int_equal(schema_begins_with(schema, 0, "\"cpus\"", 6), 0);
    assert_int_equal(schema_begins_with(schema, 0, "\"cp\"   ", 7), 0);
    assert_int_equal(schema_begins_with(schema, 0, "cpu", 3), 0);
    assert_int_equal(schema_begins_with(schema, 0, "", 0), 0);
    assert_int_equal(schema_begins_with(schema, 1, "\"größe\"", 9), 9);
    assert_int_equal(schema_begins_with(schema, 2, "\"a\"b\"", 5), 0);
    assert_int_equal(schema_begins_with(schema, 3, "\"a\\b\"", 5), 0);
}

static void names_are_copied(void **state)
{
    (void)state;
    char name[] = "cpu";
    const char *names[] = {name};
    CLEANUP(schema_freep) struct schema *schema = NULL;

    assert_int_equal(make(names, 1, &schema, NULL), 0);
    name[0] = 'x';
    assert_string_equal(schema_name(schema, 0), "cpu");
}

static void bad_names_are_refused_with_the_reason(void **state)
{
    (void)state;
    char too_long[SCHEMA_MAX_NAME_LENGTH + 2] = "";
    memset(too_long, 'x', sizeof(too_long) - 1);
    const struct {
        const char *name, *reason;
    } cases[] = {
        {"",                 "feature 2: the name is empty"                 },
        {too_long,           "feature 2: the name is longer than 255 bytes" },
        {"a\xFF",            "feature 2: the name is not UTF-8"             },
        {"\xC3",             "feature 2: the name is not UTF-8"             },
        {"\xED\xA0\x80",     "feature 2: the name is not UTF-8"             },
        {"\xC0\xAF",         "feature 2: the name is not UTF-8"             },
        {"\xF4\x90\x80\x80", "feature 2: the name is not UTF-8"             },
        {"a\nb",             "feature 2: the name holds a control character"},
        {"\x7F",             "feature 2: the name holds a control character"},
        {"\xC2\x85",         "feature 2: the name holds a control character"},
        {"cpu",              "feature 2 (cpu): feature 1 has the same name" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *const names[] = {"cpu", cases[i].name};
        struct schema *schema = NULL;
        struct error err = {""};
        assert_int_equal(make(names, 2, &schema, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].reason);
        assert_null(schema);
    }
}

static void the_longest_name_is_accepted(void **state)
{
    (void)state;
    char name[SCHEMA_MAX_NAME_LENGTH + 1] = "";
    const char *const names[] = {name};
    CLEANUP(schema_freep) struct schema *schema = NULL;

    memset(name, 'x', sizeof(name) - 1);
    assert_int_equal(make(names, 1, &schema, NULL), 0);
    assert_string_equal(schema_nearest(schema, name, strlen(name)), name);
}

static void the_number_of_features_has_limits(void **state)
{
    (void)state;
    static char text[SCHEMA_MAX_FEATURES + 1][8];
    static const char *names[SCHEMA_MAX_FEATURES + 1];
    CLEANUP(schema_freep) struct schema *schema = NULL;
    struct error err = {""};
    size_t feature;

    for (size_t i = 0; i <= SCHEMA_MAX_FEATURES; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "f%zu", i);
        names[i] = text[i];
    }
    assert_int_equal(make(names, 0, &schema, &err), -EINVAL);
    assert_string_equal(err.text, "there are no features");
    assert_int_equal(make(names, SCHEMA_MAX_FEATURES + 1, &schema, &err), -EINVAL);
    assert_string_equal(err.text, "4097 features are too many, at most 4096 are possible");
    assert_int_equal(make(names, SCHEMA_MAX_FEATURES, &schema, &err), 0);
    for (size_t i = 0; i < SCHEMA_MAX_FEATURES; i++) {
        assert_true(schema_find(schema, names[i], strlen(names[i]), &feature));
        assert_int_equal(feature, i);
    }
}

static void the_nearest_name_is_suggested(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu_user", "cpu_system", "mem_free", "io", "load1"};
    static const struct {
        const char *name, *nearest;
    } cases[] = {
        {"cpu_usr",          "cpu_user"  }, /* a letter left out */
        {"cpu_userr",        "cpu_user"  }, /* one too many */
        {"cpu-user",         "cpu_user"  }, /* another one */
        {"CPU_SYSTEM",       "cpu_system"}, /* case counts for nothing */
        {"memfree",          "mem_free"  },
        {"memory_free",      "mem_free"  }, /* three edits */
        {"load5",            "load1"     },
        {"ip",               "io"        },
        {"x",                NULL        },
        {"disk",             NULL        },
        {"",                 NULL        },
        {"cpu_user_of_this", NULL        },
    };
    CLEANUP(schema_freep) struct schema *schema = NULL;

    assert_int_equal(make(names, 5, &schema, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *nearest = schema_nearest(schema, cases[i].name, strlen(cases[i].name));
        if (cases[i].nearest)
            assert_string_equal(nearest, cases[i].nearest);
        else
            assert_null(nearest);
    }
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    const size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* The textbook: the whole table. */
static size_t distance(const char *a, const char *b)
{
    size_t table[8][8];

    for (size_t i = 0; i <= strlen(a); i++)
        for (size_t j = 0; j <= strlen(b); j++)
            table[i][j] = i == 0 || j == 0 ? i + j
                                           : smallest(table[i - 1][j] + 1, table[i][j - 1] + 1,
                                                      table[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
    return table[strlen(a)][strlen(b)];
}

static void nearness_agrees_with_the_textbook(void **state)
{
    (void)state;
    for (unsigned trial = 0, seed = 1; trial < 20000; trial++) {
        char name[8] = "", other[8] = "";
        const char *const names[] = {other};
        for (size_t i = 0; i < 3 + trial % 5; i++)
            name[i] = (char)('a' + ((seed = seed * 1103515245 + 12345) >> 16) % 3);
        for (size_t i = 0; i < 1 + trial % 7; i++)
            other[i] = (char)('a' + ((seed = seed * 1103515245 + 12345) >> 16) % 3);

        CLEANUP(schema_freep) struct schema *schema = NULL;
        assert_int_equal(make(names, 1, &schema, NULL), 0);
        const bool near = distance(name, other) <= strlen(name) / 3;
        assert_int_equal(schema_nearest(schema, name, strlen(name)) != NULL, near);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "mem"};
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(schema_freep) struct schema *schema = NULL;
        struct error err = {""};
        alloc_fail_in = nth;
        r = schema_new(names, 2, &schema, &err);
        alloc_fail_in = -1;
        assert_int_equal(r == 0, schema != NULL);
        assert_string_equal(err.text, r ? "out of memory" : "");
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_keep_their_order_and_are_found_by_name),
        cmocka_unit_test(unknown_names_are_not_found),
        cmocka_unit_test(a_name_is_recognised_where_json_writes_it_as_it_is),
        cmocka_unit_test(names_are_copied),
        cmocka_unit_test(bad_names_are_refused_with_the_reason),
        cmocka_unit_test(the_longest_name_is_accepted),
        cmocka_unit_test(the_number_of_features_has_limits),
        cmocka_unit_test(the_nearest_name_is_suggested),
        cmocka_unit_test(nearness_agrees_with_the_textbook),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
