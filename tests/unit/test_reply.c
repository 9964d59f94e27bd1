#include "http/reply.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void a_problem_is_json_with_all_its_members(void **state)
{
    (void)state;
    struct reply reply = {0};

    reply_problem(&reply, 422, "\"%s\" is wrong\n", "a\\b");
    json_t *problem = json_loadb(reply.body.data, reply.body.length, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(reply.status, 422);
    assert_string_equal(reply.content_type, "application/problem+json");
    assert_string_equal(json_string_value(json_object_get(problem, "type")), "about:blank");
    assert_string_equal(json_string_value(json_object_get(problem, "title")),
                        "Unprocessable Content");
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), 422);
    assert_string_equal(json_string_value(json_object_get(problem, "detail")),
                        "\"a\\b\" is wrong\n");
    assert_int_equal(reply.retry_after_s, 0);
    json_decref(problem);
    text_clear(&reply.body);
}

static void a_problem_drops_what_was_written_before(void **state)
{
    (void)state;
    struct reply reply = {.status = 200};

    text_puts(&reply.body, "{\"half\":");
    reply_begin_problem(&reply, 400, "no");
    text_puts(&reply.body, ",\"offset\":1}");
    json_t *problem = json_loadb(reply.body.data, reply.body.length, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(problem, "offset")), 1);
    assert_null(json_object_get(problem, "half"));
    json_decref(problem);
    text_clear(&reply.body);
}

static void a_long_detail_stays_valid_json(void **state)
{
    (void)state;
    struct reply reply = {0};
    char detail[5000];

    memset(detail, '"', sizeof(detail));
    detail[sizeof(detail) - 1] = '\0';
    reply_problem(&reply, 400, "%s", detail);
    json_t *problem = json_loadb(reply.body.data, reply.body.length, 0, NULL);
    assert_non_null(problem);
    json_decref(problem);
    text_clear(&reply.body);
}

static void a_problem_leads_to_no_other_place(void **state)
{
    (void)state;
    static const char path[] = "/v1/models/web/runs/1";
    struct reply reply = {0};

    memcpy(reply.location, path, sizeof(path));
    reply_problem(&reply, 503, "The store failed");
    assert_string_equal(reply.location, "");
    text_clear(&reply.body);
    memcpy(reply.location, path, sizeof(path));
    reply_no_memory(&reply);
    assert_string_equal(reply.location, "");
}

static void a_503_says_when_to_come_again(void **state)
{
    (void)state;
    struct reply reply = {0};

    reply_problem(&reply, 503, "later");
    assert_true(reply.retry_after_s > 0);
    text_clear(&reply.body);
}

static void without_memory_the_ready_made_503_is_left(void **state)
{
    (void)state;
    struct reply reply = {0};

    alloc_fail_in = 0;
    reply_problem(&reply, 404, "nothing");
    alloc_fail_in = -1;
    assert_true(text_failed(&reply.body));
    reply_no_memory(&reply);
    assert_int_equal(reply.status, 503);
    assert_true(reply.retry_after_s > 0);
    json_t *problem = json_loads(REPLY_NO_MEMORY_BODY, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), 503);
    json_decref(problem);
}

static void a_raw_problem_is_a_whole_answer(void **state)
{
    (void)state;
    char answer[2048];
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    reply_send_raw(fds[0], 503, "id-1", "Too many", false);
    (void)close(fds[0]);
    ssize_t n = read(fds[1], answer, sizeof(answer) - 1);
    (void)close(fds[1]);
    assert_true(n > 0);
    answer[n] = '\0';

    assert_memory_equal(answer, "HTTP/1.1 503 Service Unavailable\r\n", 34);
    assert_non_null(strstr(answer, "\r\nContent-Type: application/problem+json\r\n"));
    assert_non_null(strstr(answer, "\r\nX-Request-Id: id-1\r\n"));
    assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(answer, "\r\nRetry-After: "));
    const char *body = strstr(answer, "\r\n\r\n") + 4;
    const char *length = strstr(answer, "Content-Length: ") + 16;
    assert_int_equal(strtoul(length, NULL, 10), strlen(body));
    json_t *problem = json_loads(body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(problem, "detail")), "Too many");
    json_decref(problem);
}

static void a_raw_answer_to_head_has_no_body(void **state)
{
    (void)state;
    char answer[2048] = "";
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    reply_send_raw(fds[0], 400, "id-1", "Wrong", true);
    ssize_t n = recv(fds[1], answer, sizeof(answer) - 1, 0);
    assert_true(n > 4);
    assert_string_equal(answer + n - 4, "\r\n\r\n");
    assert_null(strstr(answer, "Wrong"));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_is_json_with_all_its_members),
        cmocka_unit_test(a_problem_drops_what_was_written_before),
        cmocka_unit_test(a_long_detail_stays_valid_json),
        cmocka_unit_test(a_problem_leads_to_no_other_place),
        cmocka_unit_test(a_503_says_when_to_come_again),
        cmocka_unit_test(without_memory_the_ready_made_503_is_left),
        cmocka_unit_test(a_raw_problem_is_a_whole_answer),
        cmocka_unit_test(a_raw_answer_to_head_has_no_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
