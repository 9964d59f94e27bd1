#include "http/request.h"

#include "support/cmocka.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
        assert_null(request_check_body_type(BODY_JSON, types[i], NULL));
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
        assert_non_null(request_check_body_type(BODY_JSON, types[i], NULL));
}

static void a_model_file_comes_as_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {NULL, "", "application/octet-stream",
                                       "application/x-www-form-urlencoded"};
    static const char *const bad[] = {"application/json", "text/plain", "application/octet"};

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_null(request_check_body_type(BODY_MODEL, good[i], NULL));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_non_null(request_check_body_type(BODY_MODEL, bad[i], NULL));
    assert_non_null(request_check_body_type(BODY_MODEL, "application/octet-stream", "gzip"));
    assert_null(request_check_body_type(BODY_NONE, "text/csv", "gzip")); /* it is ignored */
}

static void only_the_identity_encoding_is_taken(void **state)
{
    (void)state;
    assert_null(request_check_body_type(BODY_JSON, NULL, "Identity"));
    assert_null(request_check_body_type(BODY_JSON, NULL, ""));
    assert_non_null(request_check_body_type(BODY_JSON, NULL, "gzip"));
    assert_non_null(request_check_body_type(BODY_JSON, "application/json", "identity, gzip"));
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

static void who_asks_is_told_by_the_socket(void **state)
{
    (void)state;
    char who[REQUEST_WHO_SIZE];
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct request request = {.fd = fds[0]};
    assert_string_equal(request_who(&request, who), "unix");
    (void)close(fds[0]);
    (void)close(fds[1]);
    request.fd = -1;
    assert_string_equal(request_who(&request, who), "http");
}

static void who_asks_over_ip_is_an_address(void **state)
{
    (void)state;
    char who[REQUEST_WHO_SIZE];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    const int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(server, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server, 1), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, size), 0);
    struct request request = {.fd = accept(server, NULL, NULL)};
    assert_string_equal(request_who(&request, who), "127.0.0.1");
    (void)close(request.fd);
    (void)close(client);
    (void)close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_taken_under_the_types_that_clients_send),
        cmocka_unit_test(other_types_and_charsets_are_refused),
        cmocka_unit_test(a_model_file_comes_as_bytes),
        cmocka_unit_test(only_the_identity_encoding_is_taken),
        cmocka_unit_test(request_ids_of_clients_must_be_harmless),
        cmocka_unit_test(the_path_of_a_whole_address_is_behind_its_host),
        cmocka_unit_test(who_asks_is_told_by_the_socket),
        cmocka_unit_test(who_asks_over_ip_is_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
