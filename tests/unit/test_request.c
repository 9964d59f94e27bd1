#include "http/request.h"

#include "support/cmocka.h"

#include <string.h>

static void json_is_taken_under_the_types_that_clients_send(void **state)
{
    (void)state;
    static const char *const types[] = {
        NULL,
        "",
        "application/json",
        "APPLICATION/Json",
        "application/json;charset=UTF-8",
        "application/json ; charset=\"utf-8\"; x=y",
        "application/x-www-form-urlencoded",
        "text/plain; charset=us-ascii",
        "; charset=utf-8",
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        assert_null(request_check_body_type(types[i], NULL));
}

static void other_types_and_charsets_are_refused(void **state)
{
    (void)state;
    static const char *const types[] = {
        "text/csv",
        "application/jsonx",
        "application/jso",
        "application/x-ndjson",
        "application/json; charset=latin1",
        "text/plain; x=y; charset=utf-16",
        "application/json; charset=utf-8x",
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        assert_non_null(request_check_body_type(types[i], NULL));
}

static void only_the_identity_encoding_is_taken(void **state)
{
    (void)state;
    assert_null(request_check_body_type(NULL, "Identity"));
    assert_null(request_check_body_type(NULL, ""));
    assert_non_null(request_check_body_type(NULL, "gzip"));
    assert_non_null(request_check_body_type("application/json", "identity, gzip"));
}

static void request_ids_of_clients_must_be_harmless(void **state)
{
    (void)state;
    char id[66];
    memset(id, 'a', sizeof(id));

    assert_true(request_id_is_sane("Az09._-"));
    assert_false(request_id_is_sane(""));
    assert_false(request_id_is_sane("a b"));
    assert_false(request_id_is_sane("a\r\nSet-Cookie: x"));
    assert_false(request_id_is_sane("\xc3\xa4"));
    id[64] = '\0';
    assert_true(request_id_is_sane(id));
    id[64] = 'a';
    id[65] = '\0';
    assert_false(request_id_is_sane(id));
}

static void the_path_of_a_whole_address_is_behind_its_host(void **state)
{
    (void)state;
    assert_string_equal(request_path("/healthz"), "/healthz");
    assert_string_equal(request_path("http://x/healthz"), "/healthz");
    assert_string_equal(request_path("HTTPS://[::1]:8817/a/b"), "/a/b");
    assert_string_equal(request_path("http://x"), "/");
    assert_string_equal(request_path("http:/x"), "http:/x");
    assert_string_equal(request_path("*"), "*");
    assert_string_equal(request_path(""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_taken_under_the_types_that_clients_send),
        cmocka_unit_test(other_types_and_charsets_are_refused),
        cmocka_unit_test(only_the_identity_encoding_is_taken),
        cmocka_unit_test(request_ids_of_clients_must_be_harmless),
        cmocka_unit_test(the_path_of_a_whole_address_is_behind_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
