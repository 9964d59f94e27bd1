#include "detector/preparation_json.h"

#include "data/preparation.h"
#include "data/schema.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/prepared_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct preparation *preparation;
static json_t *document;

static int set_up(void **state)
{
    (void)state;
    preparation = prepared_preparation();
    document = preparation_to_json(preparation);
    return document ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(document);
    preparation_free(preparation);
    return 0;
}

static json_t *input(size_t i)
{
    return json_array_get(json_object_get(document, "inputs"), i);
}

static void the_document_is_as_the_manual_says(void **state)
{
    (void)state;
    AUTO_FREE char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(
        text, "{\"context\":2,\"inputs\":[{\"kind\":\"rate\",\"name\":\"bytes\"},"
              "{\"kind\":\"delta\",\"name\":\"sent\"},{\"kind\":\"log1p\",\"name\":\"latency\"},"
              "{\"categories\":[\"down\",\"up\"],\"kind\":\"onehot\",\"name\":\"state\"},"
              "{\"kind\":\"raw\",\"name\":\"load\"},"
              "{\"kind\":\"hour-of-day\",\"name\":\"hour-of-day\"}],"
              "\"max_gap\":3600.0,\"timezone\":\"UTC\"}");
}

static void what_is_written_reads_back_equal(void **state)
{
    (void)state;
    static const struct {
        const char *text, *zone;
        size_t context;
        double max_gap;
    } cases[] = {
        {"",                                      "UTC",           1,  3600     },
        {"b=onehot:\xC3\xA9 \"|200|-1.5",         "UTC",           64, 0        },
        {"h=hour-of-day,w=day-of-week,a=rate",    "Europe/Berlin", 3,  0.1      },
        {"a=log1p,b=delta,timestamp=day-of-week", "Asia/Kolkata",  1,  1234567.5},
    };
    static const char *const names[] = {"a", "b"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(preparation_freep) struct preparation *made = NULL;
        CLEANUP(preparation_freep) struct preparation *again = NULL;
        struct prepare_spec spec;
        struct error error = {0};
        prepare_spec_init(&spec);
        assert_int_equal(prepare_spec_parse(&spec, cases[i].text, &error), 0);
        spec.context = cases[i].context;
        spec.max_gap = cases[i].max_gap;
        spec.zone = strdup(cases[i].zone);
        assert_int_equal(preparation_new(&spec, names, 2, &made, &error), 0);
        prepare_spec_clear(&spec);
        json_auto_t *written = preparation_to_json(made);
        AUTO_FREE char *text = json_dumps(written, 0);
        json_auto_t *read = json_loads(text, 0, NULL); /* as it comes from a file */
        if (preparation_from_json(read, &again, &error) < 0)
            fail_msg("%s", error.text);
        assert_true(preparation_equals(made, again));
        assert_int_equal(schema_n_features(again->values), 2);
    }
}

static void expect_refusal(const char *why)
{
    struct preparation *made = NULL;
    struct error error = {0};

    assert_int_equal(preparation_from_json(document, &made, &error), -EINVAL);
    assert_null(made);
    if (strncmp(error.text, "preparation: ", 13) != 0 || !strstr(error.text, why))
        fail_msg("\"%s\" does not say \"%s\"", error.text, why);
}

/* Sets a member of a copy, or takes it away. */
static void expect_refusal_of(json_t *where, const char *key, json_t *value, const char *why)
{
    json_auto_t *was = json_incref(json_object_get(where, key));

    if (value)
        assert_int_equal(json_object_set_new(where, key, value), 0);
    else
        assert_int_equal(json_object_del(where, key), 0);
    expect_refusal(why);
    assert_int_equal(json_object_set(where, key, was), 0);
}

static void damaged_documents_are_refused_with_the_reason(void **state)
{
    (void)state;
    expect_refusal_of(document, "inputs", NULL, "inputs is not a list");
    expect_refusal_of(document, "inputs", json_array(), "inputs is not a list");
    expect_refusal_of(document, "inputs", json_object(), "inputs is not a list");
    expect_refusal_of(document, "inputs", json_pack("[n]"), "an input needs a name and a kind");
    expect_refusal_of(document, "context", NULL, "context is not a number of rows from 1 to 64");
    expect_refusal_of(document, "context", json_integer(0), "from 1 to 64");
    expect_refusal_of(document, "context", json_integer(65), "from 1 to 64");
    expect_refusal_of(document, "context", json_integer(INT64_MIN), "from 1 to 64");
    expect_refusal_of(document, "context", json_real(2), "from 1 to 64");
    expect_refusal_of(document, "max_gap", NULL, "max_gap or timezone is missing");
    expect_refusal_of(document, "max_gap", json_real(-1), "max_gap");
    expect_refusal_of(document, "max_gap", json_string("1h"), "max_gap");
    expect_refusal_of(document, "timezone", NULL, "max_gap or timezone is missing");
    expect_refusal_of(document, "timezone", json_string("Mars/X"), "\"Mars/X\" is no time zone");
    expect_refusal_of(document, "timezone", json_string("/etc/passwd"), "is no time zone");
    expect_refusal_of(input(0), "name", NULL, "an input needs a name and a kind");
    expect_refusal_of(input(0), "name", json_string(""), "the name is empty");
    expect_refusal_of(input(0), "name", json_string("sent"), "names \"sent\" twice");
    expect_refusal_of(input(0), "kind", json_string("rates"), "an input needs a name and a kind");
    expect_refusal_of(input(0), "kind", json_integer(1), "an input needs a name and a kind");
    expect_refusal_of(input(0), "kind", json_string("onehot"), "categories of \"bytes\"");
    expect_refusal_of(input(3), "categories", NULL, "categories of \"state\" are not known");
    expect_refusal_of(input(3), "categories", json_array(), "categories of \"state\"");
    expect_refusal_of(input(3), "categories", json_integer(3), "categories of \"state\"");
    expect_refusal_of(input(3), "categories", json_pack("[i]", 3), "a category is not text");
    expect_refusal_of(input(3), "categories", json_pack("[s,s]", "a", "a"), "\"a\" twice");
    expect_refusal_of(input(3), "categories", json_pack("[s]", ""), "the category \"\"");
    assert_int_equal(json_array_clear(json_object_get(document, "inputs")), 0);
    expect_refusal("inputs is not a list");
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    json_t *const others[] = {NULL, json_null(), json_array(), json_string("x"), json_integer(1)};

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        struct preparation *made = NULL;
        struct error error = {0};
        assert_int_equal(preparation_from_json(others[i], &made, &error), -EINVAL);
        assert_true(error.text[0] != '\0');
        json_decref(others[i]);
    }
}

static void only_times_are_no_rows(void **state)
{
    (void)state;
    json_t *inputs = json_object_get(document, "inputs");

    while (json_array_size(inputs) > 1)
        assert_int_equal(json_array_remove(inputs, 0), 0);
    struct preparation *made = NULL;
    struct error error = {0};
    assert_int_equal(preparation_from_json(document, &made, &error), -EINVAL);
    assert_non_null(strstr(error.text, "preparation: "));
}

static void reading_survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    for (; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(preparation_freep) struct preparation *made = NULL;
        alloc_fail_in = nth;
        r = preparation_from_json(document, &made, NULL);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 10);
}

/* jansson's own allocations. */
static int fail_in;

static void *malloc_or_fail(size_t size)
{
    return fail_in-- == 0 ? NULL : malloc(size);
}

static void writing_survives_every_failed_allocation(void **state)
{
    (void)state;
    json_malloc_t was_malloc;
    json_free_t was_free;
    json_t *written = NULL;
    int nth = 0;

    json_get_alloc_funcs(&was_malloc, &was_free);
    json_set_alloc_funcs(malloc_or_fail, free);
    for (; !written && nth < 1000; nth++) {
        fail_in = nth;
        written = preparation_to_json(preparation);
    }
    json_set_alloc_funcs(was_malloc, was_free);
    assert_non_null(written);
    assert_true(nth > 20);
    assert_true(json_equal(written, document));
    json_decref(written);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_document_is_as_the_manual_says),
        TEST(what_is_written_reads_back_equal),
        TEST(damaged_documents_are_refused_with_the_reason),
        TEST(what_is_no_object_is_refused),
        TEST(only_times_are_no_rows),
        TEST(reading_survives_every_failed_allocation),
        TEST(writing_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
