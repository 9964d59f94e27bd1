#include "http/row_names.h"

#include "base/error.h"
#include "base/text.h"
#include "data/schema.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An exact copy: a byte read behind the end is found by the sanitizer. */
static int read_text(const char *body, struct schema **ret_schema, struct error *reterr)
{
    const size_t size = strlen(body);
    char *copy = malloc(size + (size == 0));

    memcpy(copy, body, size);
    int r = row_names_read(copy, size, ret_schema, reterr);
    free(copy);
    return r;
}

static void assert_names(const char *body, const char *const *names, size_t n)
{
    CLEANUP(schema_freep) struct schema *schema = NULL;

    assert_int_equal(read_text(body, &schema, NULL), 0);
    assert_int_equal(schema_n_features(schema), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(schema_name(schema, i), names[i]);
}

static void named_values_keep_the_order_they_are_sent_in(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu", "größe", "a"};

    assert_names("{\"features\": {\"cpu\": 1, \"gr\\u00f6\\u00dfe\": null, \"a\": -2e3}}", names,
                 3);
    assert_names("{\"instances\":[{\"cpu\":1,\"größe\":2,\"a\":3},{\"other\":1}]}", names, 3);
    assert_names(" {\"series\" : \"x\" , \"features\":{\"cpu\":1,\"größe\":2,\"a\":3}}", names, 3);
}

static void values_without_names_are_numbered(void **state)
{
    (void)state;
    static const char *const names[] = {"f0", "f1", "f2"};

    assert_names("[1, null ,-3]", names, 3);
    assert_names("{\"features\":[1,2,3]}", names, 3);
    assert_names("{\"instances\":[[1,2,3],[4]],\"series\":null}", names, 3);
}

static void only_the_first_row_is_read(void **state)
{
    (void)state;
    static const char *const names[] = {"f0"};

    assert_names("[1] and more", names, 1);
    assert_names("{\"instances\":[[1],", names, 1);
}

static void a_body_without_a_row_has_no_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "7",
        "null",
        "[",
        "[]",
        "[1",
        "[1,",
        "[1,]",
        "[[1]]",
        "[{\"a\":1}]",
        "{",
        "{}",
        "{\"x\"",
        "{\"x\":",
        "{\"x\":1",
        "{\"x\":1}",
        "{\"features\"",
        "{\"features\":7}",
        "{\"features\":[]}",
        "{\"features\":{}}",
        "{\"features\":{\"a\"}}",
        "{\"features\":{\"a\":}}",
        "{\"features\":{\"a\":1",
        "{\"features\":{\"a\":1,}}",
        "{\"features\":[nul]}",
        "{\"instances\":[]}",
        "{\"instances\":[7]}",
        "{\"instances\":{\"a\":1}}",
        "{\"instances\":[[]]}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct schema *schema = NULL;
        if (read_text(bad[i], &schema, NULL) != -ENODATA)
            fail_msg("%s", bad[i]);
        assert_null(schema);
    }
}

static void names_that_no_feature_can_have_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why;
    } bad[] = {
        {"{\"features\":{\"\":1}}",                        "feature 1"    },
        {"{\"features\":{\"a\":1,\"b\":2,\"\\u0061\":3}}", "the same name"},
        {"{\"features\":{\"a\\n\":1}}",                    "feature 1"    },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct schema *schema = NULL;
        struct error error = {0};
        assert_int_equal(read_text(bad[i].body, &schema, &error), -EINVAL);
        assert_non_null(strstr(error.text, bad[i].why));
        assert_null(schema);
    }
}

static void too_many_features_are_refused(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text body = {0};
    struct schema *schema = NULL;
    struct error error = {0};

    text_puts(&body, "[0");
    for (size_t i = 0; i < SCHEMA_MAX_FEATURES; i++)
        text_puts(&body, ",0");
    text_puts(&body, "]");
    assert_int_equal(read_text(body.data, &schema, &error), -EINVAL);
    assert_non_null(strstr(error.text, "too many"));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char body[] = "{\"features\":{\"a\":1,\"b\":2,\"c\":3}}";
    struct schema *schema = NULL;
    int r = -ENOMEM;

    for (int n = 0; r == -ENOMEM; n++) {
        assert_true(n < 100);
        alloc_fail_in = n;
        r = row_names_read(body, sizeof(body) - 1, &schema, NULL);
        alloc_fail_in = -1;
        if (r == -ENOMEM)
            assert_null(schema);
    }
    assert_int_equal(r, 0);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_values_keep_the_order_they_are_sent_in),
        cmocka_unit_test(values_without_names_are_numbered),
        cmocka_unit_test(only_the_first_row_is_read),
        cmocka_unit_test(a_body_without_a_row_has_no_names),
        cmocka_unit_test(names_that_no_feature_can_have_are_refused),
        cmocka_unit_test(too_many_features_are_refused),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
