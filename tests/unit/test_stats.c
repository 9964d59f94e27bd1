#include "service/stats.h"

#include "base/quota.h"
#include "detector/detector.h"
#include "service/live.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const routes[] = {"/healthz", "/v1/models/{m}/score"};

static struct stats *stats;
static struct live *live;
static struct quota requests;
static struct text page;

static int setup(void **state)
{
    (void)state;
    page = (struct text){0};
    if (stats_new(2, routes, 2, &stats) < 0)
        return -1;
    if (live_new(stats, &live) < 0)
        return -1;
    /* Models that could not be loaded are models, too: they have counters. */
    const struct live_source models[] = {
        {.name = (char[]){"db"},  .file = (char[]){"/nowhere"}},
        {.name = (char[]){"web"}, .file = (char[]){"/nowhere"}},
    };
    return live_load(live, models, 2, false, NULL);
}

static int teardown(void **state)
{
    (void)state;
    live_free(live);
    stats_free(stats);
    text_clear(&page);
    return 0;
}

static void write_page(void)
{
    text_clear(&page);
    stats_write(stats, live, &requests, &page);
    assert_false(text_failed(&page));
}

/* The line that begins with series, a blank behind it, has this value. */
static void assert_value(const char *series, const char *want)
{
    CLEANUP(text_clear) struct text line = {0};

    text_printf(&line, "\n%s %s\n", series, want);
    if (!strstr(page.data, line.data))
        fail_msg("no line %s in\n%s", line.data, page.data);
}

static void counters_are_there_at_0_from_the_start(void **state)
{
    (void)state;
    assert_non_null(stats_model(stats, "web"));
    write_page();
    assert_value("anomalyd_http_requests_total{route=\"/healthz\",code=\"200\"}", "0");
    assert_value("anomalyd_http_requests_total{route=\"/v1/models/{m}/score\",code=\"422\"}", "0");
    assert_value("anomalyd_http_request_duration_seconds_count{route=\"/healthz\"}", "0");
    assert_value("anomalyd_rows_scored_total{model=\"web\"}", "0");
    assert_value("anomalyd_anomalies_total{model=\"web\"}", "0");
    assert_value("anomalyd_score_count{model=\"web\"}", "0");
    assert_null(strstr(page.data, "code=\"418\""));
}

static void requests_of_all_workers_are_summed(void **state)
{
    (void)state;
    stats_count_request(stats, 0, 1, 200, 300);
    stats_count_request(stats, 1, 1, 200, 1000);
    stats_count_request(stats, 1, 1, 418, 20000000);
    stats_count_request(stats, 0, 0, 599, 0);
    write_page();
    assert_value("anomalyd_http_requests_total{route=\"/v1/models/{m}/score\",code=\"200\"}", "2");
    assert_value("anomalyd_http_requests_total{route=\"/v1/models/{m}/score\",code=\"418\"}", "1");
    assert_value("anomalyd_http_requests_total{route=\"/healthz\",code=\"599\"}", "1");
    assert_value("anomalyd_http_requests_total{route=\"/healthz\",code=\"200\"}", "0");
#define SCORE "{route=\"/v1/models/{m}/score\""
    assert_value("anomalyd_http_request_duration_seconds_bucket" SCORE ",le=\"0.00025\"}", "0");
    assert_value("anomalyd_http_request_duration_seconds_bucket" SCORE ",le=\"0.0005\"}", "1");
    assert_value("anomalyd_http_request_duration_seconds_bucket" SCORE ",le=\"0.001\"}", "2");
    assert_value("anomalyd_http_request_duration_seconds_bucket" SCORE ",le=\"10\"}", "2");
    assert_value("anomalyd_http_request_duration_seconds_bucket" SCORE ",le=\"+Inf\"}", "3");
    assert_value("anomalyd_http_request_duration_seconds_sum" SCORE "}", "20.0013");
    assert_value("anomalyd_http_request_duration_seconds_count" SCORE "}", "3");
}

static void verdicts_of_all_workers_are_summed(void **state)
{
    (void)state;
    const struct verdict first[] = {{.score = 0.25}, {.score = 1}};
    const struct verdict second[] = {
        {.score = 1.25, .anomaly = true}
    };
    struct model_stats *web = stats_model(stats, "web");

    stats_count_verdicts(web, 0, first, 2);
    stats_count_verdicts(web, 1, second, 1);
    stats_count_verdicts(web, 1, second, 0);
    write_page();
    assert_value("anomalyd_rows_scored_total{model=\"web\"}", "3");
    assert_value("anomalyd_anomalies_total{model=\"web\"}", "1");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"0.35\"}", "1");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"1\"}", "2"); /* 1 is no anomaly */
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"1.5\"}", "3");
    assert_value("anomalyd_score_sum{model=\"web\"}", "2.5");
    assert_value("anomalyd_score_count{model=\"web\"}", "3");
}

static void verdicts_may_be_counted_in_two_steps(void **state)
{
    (void)state;
    const struct verdict verdicts[] = {
        {.score = 0.25},
        {.score = 1   },
        {.score = 1.25, .anomaly = true},
        {.score = INFINITY            }
    };
    struct verdict_tally tally = {0};
    struct model_stats *web = stats_model(stats, "web");

    stats_tally_verdicts(&tally, verdicts, 3);
    stats_tally_verdicts(&tally, verdicts + 3, 1);
    write_page();
    assert_value("anomalyd_rows_scored_total{model=\"web\"}", "0");
    stats_count_tally(web, 1, &tally);
    write_page();
    assert_value("anomalyd_rows_scored_total{model=\"web\"}", "4");
    assert_value("anomalyd_anomalies_total{model=\"web\"}", "1");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"0.35\"}", "1");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"1\"}", "2");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"100\"}", "3");
    assert_value("anomalyd_score_sum{model=\"web\"}", "1000002.5");
}

static void an_absurd_score_does_not_spoil_the_sum(void **state)
{
    (void)state;
    const struct verdict verdicts[] = {{.score = INFINITY}, {.score = 1e300}, {.score = 0.5}};
    struct model_stats *web = stats_model(stats, "web");

    stats_count_verdicts(web, 0, verdicts, 3);
    write_page();
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"100\"}", "1");
    assert_value("anomalyd_score_bucket{model=\"web\",le=\"+Inf\"}", "3");
    assert_value("anomalyd_score_sum{model=\"web\"}", "2000000.5");
}

static void a_model_keeps_its_counters(void **state)
{
    (void)state;
    struct model_stats *web = stats_model(stats, "web");
    struct model_stats *db = stats_model(stats, "db");

    assert_ptr_equal(stats_model(stats, "web"), web);
    assert_ptr_equal(stats_model(stats, "db"), db);
    assert_ptr_not_equal(db, web);
}

static void live_models_show_what_is_in_force(void **state)
{
    (void)state;
    char path[] = "/tmp/test_stats.XXXXXX", series[64];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    save_tiny_model(path, 1);
    const struct live_source models[] = {
        {.name = (char[]){"bad"}, .file = (char[]){"/nowhere"}},
        {.name = (char[]){"web"}, .file = path                }
    };

    assert_int_equal(live_load(live, models, 2, false, NULL), 0);
    (void)unlink(path);
    write_page();
    assert_value("anomalyd_false_alarm_rate_target{model=\"web\"}", "0.05");
    assert_value("anomalyd_model_version{model=\"web\"}", "1");
    (void)snprintf(series, sizeof(series), "\nanomalyd_threshold{model=\"web\"} ");
    const char *line = strstr(page.data, series);
    assert_non_null(line);
    assert_true(strtod(line + strlen(series), NULL) > 0);
    assert_null(strstr(page.data, "anomalyd_threshold{model=\"bad\"}"));
    assert_value("anomalyd_rows_scored_total{model=\"bad\"}", "0");
}

static void a_model_that_is_gone_is_shown_no_more(void **state)
{
    (void)state;
    const struct live_source db[] = {
        {.name = (char[]){"db"}, .file = (char[]){"/nowhere"}}
    };

    assert_int_equal(live_load(live, db, 1, false, NULL), 0);
    write_page();
    assert_value("anomalyd_rows_scored_total{model=\"db\"}", "0");
    assert_null(strstr(page.data, "model=\"web\""));
}

static void a_refused_reload_leaves_no_model_behind(void **state)
{
    (void)state;
    const struct live_source ghost[] = {
        {.name = (char[]){"ghost"}, .file = (char[]){"/nowhere"}}
    };

    assert_true(live_load(live, ghost, 1, true, NULL) < 0);
    write_page();
    assert_null(strstr(page.data, "ghost"));
    assert_value("anomalyd_rows_scored_total{model=\"web\"}", "0");
}

static void it_is_shown_what_requests_take(void **state)
{
    (void)state;
    struct share share = {.quota = &requests};

    write_page();
    assert_value("anomalyd_request_memory_bytes", "0");
    assert_true(share_fit(&share, 3 * QUOTA_STEP, QUOTA_WHOLE));
    write_page();
    assert_value("anomalyd_request_memory_bytes", "49152");
    share_clear(&share);
}

static void the_process_is_described(void **state)
{
    (void)state;
    static const char *const names[] = {
        "process_cpu_seconds_total",  "process_resident_memory_bytes",
        "process_start_time_seconds", "process_virtual_memory_bytes",
        "process_open_fds",           "process_max_fds"};

    write_page();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "\n%s ", names[i]);
        const char *at = strstr(page.data, line);
        assert_non_null(at);
        assert_true(strtod(at + strlen(line), NULL) >= 0);
    }
    const double started = strtod(strstr(page.data, "\nprocess_start_time_seconds ") + 28, NULL);
    assert_true(fabs(started - (double)time(NULL)) < 3600);
}

/* HELP and TYPE once for each metric, before its first line. */
static void every_metric_is_introduced_once(void **state)
{
    (void)state;
    assert_non_null(stats_model(stats, "web"));
    assert_non_null(stats_model(stats, "db"));
    write_page();
    for (const char *at = page.data; (at = strstr(at, "# TYPE ")); at++) {
        CLEANUP(text_clear) struct text head = {0};
        text_append(&head, at, (size_t)(strchr(at + 7, ' ') + 1 - at));
        assert_null(strstr(at + 1, head.data));
        memcpy(head.data, "# HELP ", 7);
        assert_non_null(strstr(page.data, head.data));
    }
    assert_non_null(strstr(page.data, "\nanomalyd_build_info{version=\"" PACKAGE_VERSION "\","));
}

#define N_COUNTED 20000

static void *count(void *worker)
{
    const struct verdict verdict = {.score = 2, .anomaly = true};
    struct model_stats *web = stats_model(stats, "web");

    for (int i = 0; i < N_COUNTED; i++) {
        stats_count_request(stats, *(unsigned *)worker, 0, 200, 10);
        stats_count_verdicts(web, *(unsigned *)worker, &verdict, 1);
    }
    return NULL;
}

static void nothing_is_lost_while_threads_count_and_one_reads(void **state)
{
    (void)state;
    pthread_t threads[2];
    unsigned workers[2] = {0, 1};

    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &workers[i]), 0);
    for (int i = 0; i < 10; i++)
        write_page();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    write_page();
    assert_value("anomalyd_http_requests_total{route=\"/healthz\",code=\"200\"}", "40000");
    assert_value("anomalyd_anomalies_total{model=\"web\"}", "40000");
    assert_value("anomalyd_score_sum{model=\"web\"}", "80000");
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 100; nth++) {
        CLEANUP(stats_freep) struct stats *other = NULL;
        alloc_fail_in = nth;
        r = stats_new(3, routes, 2, &other);
        if (r == 0 && !stats_model(other, "web"))
            r = -ENOMEM;
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    for (int nth = 0; nth < 5; nth++) {
        text_clear(&page);
        alloc_fail_in = nth;
        stats_write(stats, live, &requests, &page);
        alloc_fail_in = -1;
        assert_true(text_failed(&page) || strstr(page.data, "anomalyd_build_info"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counters_are_there_at_0_from_the_start),
        TEST(requests_of_all_workers_are_summed),
        TEST(verdicts_of_all_workers_are_summed),
        TEST(verdicts_may_be_counted_in_two_steps),
        TEST(an_absurd_score_does_not_spoil_the_sum),
        TEST(a_model_keeps_its_counters),
        TEST(live_models_show_what_is_in_force),
        TEST(a_model_that_is_gone_is_shown_no_more),
        TEST(a_refused_reload_leaves_no_model_behind),
        TEST(it_is_shown_what_requests_take),
        TEST(the_process_is_described),
        TEST(every_metric_is_introduced_once),
        TEST(nothing_is_lost_while_threads_count_and_one_reads),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
