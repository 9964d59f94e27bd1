#include "http/request_head.h"

#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GET  "GET / HTTP/1.1\r\n"
#define HOST "Host: x\r\n"

static int check(const char *head, struct head_refusal *ret_refusal)
{
    *ret_refusal = (struct head_refusal){0};
    return request_head_check(head, strlen(head), ret_refusal);
}

static void complete_heads_are_taken(void **state)
{
    (void)state;
    static const char *const heads[] = {
        GET HOST "\r\n",
        "\r\n\n" GET HOST "\r\n",
        "GET / HTTP/1.0\n\n",
        "POST /v1/score?top=3&explain=all HTTP/1.1\nhOsT:x\ncontent-length: 12 \n\n[1,2]",
        GET HOST "Transfer-Encoding: Chunked\r\n\r\n",
        GET HOST "Empty:\r\nTabs: \ta\tb\r\n\r\n",
        "M-SEARCH * HTTP/1.1\r\n" HOST "\r\n",
    };
    struct head_refusal refusal;

    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        assert_int_equal(check(heads[i], &refusal), 1);
}

static void every_beginning_of_a_good_head_waits_for_more(void **state)
{
    (void)state;
    static const char head[] =
        "\r\nPOST /v1/score HTTP/1.1\r\n" HOST "Content-Length: 12\r\nX: y\r\n\r\n";
    struct head_refusal refusal;

    for (size_t size = 0; size < sizeof(head) - 1; size++)
        assert_int_equal(request_head_check(head, size, &refusal), 0);
    assert_int_equal(request_head_check(head, sizeof(head) - 1, &refusal), 1);
}

static void what_is_no_http_is_a_400(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "\x16\x03\x01",
        "hello world\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\n", /* as when it has come half */
        "GET\r\n",
        "GET /\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "AVERYLONGWORDTHATISNOMETHODOFANYPROTOCOL",
        GET "\r\n",
        GET HOST " folded\r\n\r\n",
        GET HOST "no colon\r\n\r\n",
        GET HOST ": no name\r\n\r\n",
        GET "Host : x\r\n\r\n",
        GET HOST "X: a\rb\r\n\r\n",
        GET HOST "Content-Length: \r\n\r\n",
        GET HOST "Content-Length: -1\r\n\r\n",
        GET HOST "Content-Length: 1,1\r\n\r\n",
        GET HOST "Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
        GET HOST "Content-Length: 4\r\ncontent-length: 4\r\n\r\n",
        GET HOST HOST "\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
        GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct head_refusal refusal;

    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        assert_int_equal(check(heads[i], &refusal), -EBADMSG);
        assert_int_equal(refusal.status, 400);
        assert_non_null(refusal.detail);
    }
}

static void a_nul_in_a_header_is_a_400(void **state)
{
    (void)state;
    static const char head[] = GET HOST "X: a\0b\r\n\r\n";
    struct head_refusal refusal;

    assert_int_equal(request_head_check(head, sizeof(head) - 1, &refusal), -EBADMSG);
    assert_int_equal(refusal.status, 400);
}

static void a_length_that_fits_no_number_is_a_413(void **state)
{
    (void)state;
    struct head_refusal refusal;

    assert_int_equal(check(GET HOST "Content-Length: 99999999999999999999\r\n\r\n", &refusal),
                     -EBADMSG);
    assert_int_equal(refusal.status, 413);
}

static void a_head_of_just_8_kib_is_taken_and_one_byte_more_is_a_431(void **state)
{
    (void)state;
    char head[REQUEST_HEAD_MAX + 2];
    struct head_refusal refusal;

    for (size_t extra = 0; extra < 2; extra++) {
        size_t size = REQUEST_HEAD_MAX + extra;
        memset(head, 'x', sizeof(head));
        memcpy(head, GET HOST "X: ", strlen(GET HOST "X: "));
        memcpy(head + size - 4, "\r\n\r\n", 4);
        int r = request_head_check(head, size, &refusal);
        assert_int_equal(r, extra == 0 ? 1 : -EBADMSG);
    }
    assert_int_equal(refusal.status, 431);
}

static void more_than_64_fields_and_parameters_are_a_431(void **state)
{
    (void)state;
    char head[4096];
    struct head_refusal refusal;

    for (int n = 62; n <= 63; n++) { /* Host and one parameter come on top */
        int length = snprintf(head, sizeof(head), "GET /?a HTTP/1.1\r\n" HOST);
        for (int i = 0; i < n; i++)
            length += snprintf(head + length, sizeof(head) - (size_t)length, "a: b\r\n");
        (void)snprintf(head + length, sizeof(head) - (size_t)length, "\r\n");
        assert_int_equal(check(head, &refusal), n == 62 ? 1 : -EBADMSG);
    }
    assert_int_equal(refusal.status, 431);
}

static void cookies_count_as_fields(void **state)
{
    (void)state;
    char head[1024];
    struct head_refusal refusal;

    for (int n = 62; n <= 63; n++) { /* Host and the field Cookie come on top */
        int length = snprintf(head, sizeof(head), GET HOST "Cookie: a");
        for (int i = 0; i < n; i++)
            length += snprintf(head + length, sizeof(head) - (size_t)length, "; a");
        (void)snprintf(head + length, sizeof(head) - (size_t)length, "\r\n\r\n");
        assert_int_equal(check(head, &refusal), n == 62 ? 1 : -EBADMSG);
    }
    assert_int_equal(refusal.status, 431);
}

static void a_cookie_field_has_at_most_4_kib(void **state)
{
    (void)state;
    char head[REQUEST_HEAD_MAX];
    struct head_refusal refusal;

    for (int size = 4096; size <= 4097; size++) {
        (void)snprintf(head, sizeof(head), GET HOST "Cookie: %0*d\r\n\r\n", size, 1);
        assert_int_equal(check(head, &refusal), size == 4096 ? 1 : -EBADMSG);
    }
    assert_int_equal(refusal.status, 431);
}

static void too_many_parameters_alone_are_a_431(void **state)
{
    (void)state;
    char head[256] = "GET /";
    struct head_refusal refusal;

    memset(head + 5, '&', 65);
    (void)snprintf(head + 70, sizeof(head) - 70, " HTTP/1.1\r\n");
    assert_int_equal(check(head, &refusal), -EBADMSG);
    assert_int_equal(refusal.status, 431);
}

static void the_fields_of_a_head_can_be_checked_one_by_one(void **state)
{
    (void)state;
    struct request_head head = {.is_http_1_1 = true};
    struct head_refusal refusal;

    assert_int_equal(request_head_check_end(&head, &refusal), -EBADMSG);
    assert_int_equal(request_head_check_field(&head, "Host", 4, "x", 1, &refusal), 0);
    assert_int_equal(request_head_check_end(&head, &refusal), 0);
    assert_int_equal(request_head_check_field(&head, "Content-Length ", 15, "5", 1, &refusal),
                     -EBADMSG);
    assert_int_equal(request_head_check_field(&head, "Content-Length", 14, "5", 1, &refusal), 0);
    assert_int_equal(request_head_check_end(&head, &refusal), 0);
    assert_int_equal(
        request_head_check_field(&head, "Transfer-Encoding", 17, "chunked", 7, &refusal), 0);
    assert_int_equal(request_head_check_end(&head, &refusal), -EBADMSG);
    assert_int_equal(refusal.status, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_heads_are_taken),
        cmocka_unit_test(every_beginning_of_a_good_head_waits_for_more),
        cmocka_unit_test(what_is_no_http_is_a_400),
        cmocka_unit_test(a_nul_in_a_header_is_a_400),
        cmocka_unit_test(a_length_that_fits_no_number_is_a_413),
        cmocka_unit_test(a_head_of_just_8_kib_is_taken_and_one_byte_more_is_a_431),
        cmocka_unit_test(more_than_64_fields_and_parameters_are_a_431),
        cmocka_unit_test(cookies_count_as_fields),
        cmocka_unit_test(a_cookie_field_has_at_most_4_kib),
        cmocka_unit_test(too_many_parameters_alone_are_a_431),
        cmocka_unit_test(the_fields_of_a_head_can_be_checked_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
