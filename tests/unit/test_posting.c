/* Rows on their way to a daemon: anomalyctl/posting.h, with a client that does what a test says. */
#include "anomalyctl/posting.h"

#include "anomalyctl/client.h"
#include "base/clock.h"
#include "base/text.h"
#include "source/host.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define N 2

/* ---- what posting.c is linked with ---- */

static struct {
    long status; /* of the next answers; 0: nobody answers */
    const char *reply;
    uint64_t takes_us;
    size_t n_posts;
    double times[2 * POSTING_MOST_WAITING]; /* [n_posts] */
    char path[64], body[512];               /* of the last post */
} daemon_;

int client_set_timeout(struct client *client, long timeout_ms)
{
    (void)client;
    return timeout_ms > 0 ? 0 : -ENOMEM;
}

long client_status(const struct client *client)
{
    (void)client;
    return daemon_.status;
}

int client_post(struct client *client, const char *path, const char *body, size_t size,
                json_t **ret_reply, struct error *reterr)
{
    (void)client;
    const uint64_t end_us = clock_monotonic_us() + daemon_.takes_us;

    while (clock_monotonic_us() < end_us)
        ;
    assert_true(size < sizeof(daemon_.body));
    memcpy(daemon_.body, body, size);
    daemon_.body[size] = '\0';
    (void)snprintf(daemon_.path, sizeof(daemon_.path), "%s", path);
    json_auto_t *sent = json_loads(daemon_.body, 0, NULL);
    daemon_.times[daemon_.n_posts++] = json_number_value(json_object_get(sent, "timestamp"));
    if (daemon_.status == 0)
        return error_set(reterr, -ECONNREFUSED, "cannot connect");
    if (daemon_.status != 200 && daemon_.status != 202)
        return error_set(reterr, -EPROTO, "status %ld", daemon_.status);
    *ret_reply = json_loads(daemon_.reply, 0, NULL);
    return *ret_reply ? 0 : -EBADMSG;
}

size_t host_sampler_n_features(const struct host_sampler *sampler)
{
    (void)sampler;
    return N;
}

const char *host_sampler_feature_name(const struct host_sampler *sampler, size_t feature)
{
    (void)sampler;
    return feature ? "load \"1\"" : "cpu";
}

/* ---- */

static struct posting *posting;
static struct error problem;
static uint64_t time_us;

static int begin(void **state)
{
    (void)state;
    memset(&daemon_, 0, sizeof(daemon_));
    daemon_.status = 202;
    daemon_.reply = "{\"state\":\"learning\",\"rows\":3,\"rows_needed\":80}";
    problem = (struct error){""};
    time_us = 1709292600250000;
    const struct posting_options options = {.url = "u", .model = "host", .is_quiet = true};
    return posting_new(&options, &posting);
}

static int end(void **state)
{
    (void)state;
    posting_free(TAKE(posting));
    return 0;
}

#define POSTING_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static void add(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float row[N] = {(float)i, 0.5F};
        posting_add(posting, time_us += US_PER_S, row);
    }
}

static int send_all(void)
{
    return posting_send(posting, UINT64_MAX, &problem);
}

static void check_described(const char *is)
{
    CLEANUP(text_clear) struct text text = {0};

    posting_describe(posting, &text);
    assert_string_equal(text.data, is);
}

static void a_row_is_sent_with_its_names_and_time(void **state)
{
    (void)state;
    add(1);
    assert_int_equal(send_all(), 0);
    assert_string_equal(daemon_.path, "/v1/models/host/score?top=3");
    assert_string_equal(daemon_.body, "{\"timestamp\":1709292601.250000,\"features\":"
                                      "{\"cpu\":0,\"load \\\"1\\\"\":0.5}}");
    assert_int_equal(posting_figures(posting).n_sent, 1);
}

static void observed_rows_of_a_series_go_to_observe(void **state)
{
    (void)state;
    const struct posting_options options = {
        .url = "u", .model = "host", .series = "a\"b", .is_observed = true, .is_quiet = true};

    posting_free(TAKE(posting));
    assert_int_equal(posting_new(&options, &posting), 0);
    daemon_.status = 200;
    daemon_.reply = "{\"rows\":1}";
    add(1);
    assert_int_equal(send_all(), 0);
    assert_string_equal(daemon_.path, "/v1/models/host/observe");
    assert_non_null(strstr(daemon_.body, "\"series\":\"a\\\"b\""));
    check_described("host: 1 rows");
}

static void it_tells_how_the_model_stands(void **state)
{
    (void)state;
    check_described("host: 0 rows");
    add(1);
    assert_int_equal(send_all(), 0);
    check_described("host: learning, 3 of 80 rows");
    daemon_.reply = "{\"state\":\"learning\",\"rows\":80,\"rows_needed\":80}";
    add(1);
    assert_int_equal(send_all(), 0);
    check_described("host: its first version is being trained");
    daemon_.status = 200;
    daemon_.reply = "{\"version\":2,\"anomaly\":true,\"score\":3}";
    add(2);
    assert_int_equal(send_all(), 0);
    check_described("host: version 2, 4 rows, 2 anomalies");
    daemon_.status = 0;
    add(2);
    assert_int_equal(send_all(), 0);
    check_described("host: the daemon is away, 2 rows wait");
}

/* The oldest go: what happens now matters more. */
static void rows_that_wait_are_bounded_and_sent_in_order(void **state)
{
    (void)state;
    daemon_.status = 0;
    add(1);
    assert_int_equal(send_all(), 0);
    add(POSTING_MOST_WAITING + 400);
    struct posting_figures figures = posting_figures(posting);
    assert_int_equal(figures.n_waiting, POSTING_MOST_WAITING);
    assert_int_equal(figures.n_dropped, 401);

    daemon_.status = 202;
    daemon_.n_posts = 0;
    while (posting_figures(posting).n_waiting > 0) /* a pause may have to pass */
        assert_int_equal(send_all(), 0);
    assert_int_equal(daemon_.n_posts, POSTING_MOST_WAITING);
    for (size_t i = 1; i < daemon_.n_posts; i++)
        assert_true(daemon_.times[i] == daemon_.times[i - 1] + 1);
    assert_true(daemon_.times[daemon_.n_posts - 1] == (double)time_us / 1e6);
    figures = posting_figures(posting);
    assert_int_equal(figures.n_sent, POSTING_MOST_WAITING);
    assert_int_equal(figures.n_dropped, 401);
}

static void a_daemon_that_is_slow_to_fail_is_asked_less_often(void **state)
{
    (void)state;
    daemon_.status = 0;
    daemon_.takes_us = 20 * US_PER_MS;
    add(1);
    const uint64_t began_us = clock_monotonic_us();
    while (daemon_.n_posts < 2)
        assert_int_equal(send_all(), 0);
    assert_true(clock_monotonic_us() - began_us >= 220 * US_PER_MS);
}

static void sending_ends_at_the_deadline(void **state)
{
    (void)state;
    daemon_.takes_us = US_PER_MS;
    add(1000);
    assert_int_equal(posting_send(posting, clock_monotonic_us() + 5 * US_PER_MS, &problem), 0);
    assert_in_range(daemon_.n_posts, 1, 6);
    assert_int_equal(posting_figures(posting).n_waiting, 1000 - daemon_.n_posts);
}

static void what_may_pass_is_waited_for_and_what_does_not_is_a_failure(void **state)
{
    (void)state;
    static const struct {
        long status;
        bool may_pass;
    } answers[] = {
        {0,   true },
        {408, true },
        {429, true },
        {500, true },
        {503, true },
        {400, false},
        {404, false},
        {409, false},
        {413, false},
        {422, false},
        {401, false}
    };

    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        (void)end(state);
        (void)begin(state);
        daemon_.status = answers[i].status;
        add(1);
        assert_int_equal(send_all() == 0, answers[i].may_pass);
        assert_int_equal(problem.text[0] == '\0', answers[i].may_pass);
        assert_int_equal(posting_figures(posting).n_waiting, 1);
    }
    daemon_.status = 200;
    daemon_.reply = "<html>";
    assert_int_equal(send_all(), -EBADMSG);
}

static void survives_every_failed_allocation(void **state)
{
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        (void)end(state);
        alloc_fail_in = nth;
        r = begin(state);
        if (r == 0) {
            add(2);
            r = send_all();
        }
        alloc_fail_in = -1;
        if (r == -EBADMSG) /* the client's reply could not be read, for want of memory */
            r = -ENOMEM;
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POSTING_TEST(a_row_is_sent_with_its_names_and_time),
        POSTING_TEST(observed_rows_of_a_series_go_to_observe),
        POSTING_TEST(it_tells_how_the_model_stands),
        POSTING_TEST(rows_that_wait_are_bounded_and_sent_in_order),
        POSTING_TEST(a_daemon_that_is_slow_to_fail_is_asked_less_often),
        POSTING_TEST(sending_ends_at_the_deadline),
        POSTING_TEST(what_may_pass_is_waited_for_and_what_does_not_is_a_failure),
        POSTING_TEST(survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
