#include "service/service.h"

#include "base/quota.h"
#include "service/config.h"
#include "service/live.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[32];
static struct service *service;
static struct text errors;

/* ---- a folder with two models for all, a configuration for each test ---- */

static const char *path_of(const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int make_files(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_service.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    save_tiny_model(path_of("a"), 1);
    save_tiny_model(path_of("b"), 2);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return unlink(path_of("a")) || unlink(path_of("b")) || unlink(path_of("anomalyd.conf")) ||
           rmdir(folder);
}

static int setup(void **state)
{
    (void)state;
    service = NULL;
    errors = (struct text){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_free(service);
    text_clear(&errors);
    return 0;
}

static void configure(const char *text)
{
    FILE *file = fopen(path_of("anomalyd.conf"), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What the service logs would only disturb the report. */
static int hide_stderr(void)
{
    const int shown = dup(STDERR_FILENO), hidden = open("/dev/null", O_WRONLY | O_CLOEXEC);

    assert_true(shown >= 0 && hidden >= 0 && dup2(hidden, STDERR_FILENO) >= 0);
    (void)close(hidden);
    return shown;
}

static void show_stderr(int shown)
{
    assert_true(dup2(shown, STDERR_FILENO) >= 0);
    (void)close(shown);
}

static int try_start(void)
{
    struct config *config = NULL;
    static const char *const routes[] = {"/healthz"};

    int r = config_load(path_of("anomalyd.conf"), &config, &errors);
    if (r < 0)
        return r;
    const int shown = hide_stderr();
    r = service_new(path_of("anomalyd.conf"), config, routes, 1, &service, NULL);
    show_stderr(shown);
    return r;
}

static void start(const char *text)
{
    configure(text);
    assert_int_equal(try_start(), 0);
}

static int reload(const char *text)
{
    configure(text);
    const int shown = hide_stderr();
    int r = service_reload(service, &errors);
    show_stderr(shown);
    return r;
}

static void add_reason(void *text, const char *reason)
{
    text_printf(text, "%s\n", reason);
}

static void assert_reasons(const char *want)
{
    CLEANUP(text_clear) struct text reasons = {0};

    assert_int_equal(service_is_ready(service, add_reason, &reasons), *want == '\0');
    assert_string_equal(reasons.data ? reasons.data : "", want);
}

static void assert_described(const char *want)
{
    CLEANUP(text_clear) struct text text = {0};

    service_describe(service, &text);
    assert_string_equal(text.data, want);
}

/* ---- tests ---- */

static void serves_what_is_configured(void **state)
{
    (void)state;
    start("[server]\nmax_body = 1M\nrequest_timeout = 3s\n[model web]\nfile = a\n");
    assert_int_equal(service_max_body(service), 1 << 20);
    assert_int_equal(service_request_timeout_us(service), 3000000);
    assert_int_equal(service_config(service)->n_models, 1);
    assert_non_null(service_stats(service));
    struct live_model *model = live_acquire(service_live(service), "web", 3);
    assert_int_equal(model->state, LIVE_SERVING);
    live_release(service_live(service), model);
    assert_reasons("");
    assert_described("1 model");
}

static void a_failed_model_is_a_reason_not_to_be_ready(void **state)
{
    (void)state;
    start("[model web]\nfile = a\n[model db]\nfile = /nowhere\n");
    assert_reasons("model db failed: /nowhere: cannot open: No such file or directory\n");
    assert_described("2 models, 1 failed");
}

static void without_a_model_it_is_not_ready(void **state)
{
    (void)state;
    start("");
    assert_reasons("no model is configured\n");
    assert_described("0 models");
}

static void draining_is_a_reason_not_to_be_ready(void **state)
{
    (void)state;
    start("[model web]\nfile = a\n");
    assert_false(service_is_draining(service));
    service_set_draining(service);
    assert_true(service_is_draining(service));
    assert_reasons("the daemon is stopping\n");
}

static void a_reload_brings_models_and_limits(void **state)
{
    (void)state;
    start("[model web]\nfile = a\n");
    assert_int_equal(reload("[server]\nmax_body = 2M\nrequest_timeout = 4s\n"
                            "max_request_memory = 8M\n"
                            "[model web]\nfile = b\n[model db]\nfile = a\n"),
                     0);
    assert_int_equal(service_max_body(service), 2 << 20);
    assert_int_equal(service_request_timeout_us(service), 4000000);
    assert_int_equal(quota_limit(service_request_memory(service)), 8 << 20);
    assert_described("2 models");
    struct live_model *model = live_acquire(service_live(service), "web", 3);
    assert_int_equal(model->version, 2);
    live_release(service_live(service), model);
}

static void a_failed_model_can_be_mended_by_a_reload(void **state)
{
    (void)state;
    start("[model web]\nfile = /nowhere\n");
    assert_int_equal(reload("[model web]\nfile = a\n"), 0);
    assert_reasons("");
}

static void a_reload_with_a_wrong_configuration_changes_nothing(void **state)
{
    (void)state;
    start("[server]\nmax_body = 1M\n[model web]\nfile = a\n");
    assert_int_equal(reload("[server]\nmax_body = 2M\nmax_bod = 1\n[model db]\n"), -EINVAL);
    assert_non_null(strstr(errors.data, "anomalyd.conf:3: max_bod is no key"));
    assert_non_null(strstr(errors.data, "anomalyd.conf:4: the model db has no file"));
    assert_int_equal(service_max_body(service), 1 << 20);
    assert_reasons("");
}

static void a_reload_with_a_bad_model_changes_nothing(void **state)
{
    (void)state;
    start("[server]\nmax_body = 1M\n[model web]\nfile = a\n");
    assert_int_equal(reload("[server]\nmax_body = 2M\n[model web]\nfile = anomalyd.conf\n"),
                     -EINVAL);
    assert_non_null(strstr(errors.data, "model web: "));
    assert_int_equal(service_max_body(service), 1 << 20);
    assert_described("1 model");
    assert_reasons("");
}

static void what_needs_a_restart_stays_in_force(void **state)
{
    (void)state;
    start("[server]\nlisten = 127.0.0.1:1\nthreads = 2\nmax_connections = 3\n");
    assert_int_equal(reload("[server]\nlisten = 127.0.0.1:4, 127.0.0.1:5\nthreads = 5\n"
                            "max_connections = 6\nmax_body = 7K\n"),
                     0);
    const struct config *config = service_config(service);
    assert_int_equal(config->n_listen, 1);
    assert_string_equal(config->listen[0], "127.0.0.1:1");
    assert_int_equal(config->threads, 2);
    assert_int_equal(config->max_connections, 3);
    assert_int_equal(config->max_body, 7168);
}

static void a_check_summarises_what_is_good(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text summary = {0};

    configure("[server]\nlisten = 127.0.0.1:1, [::1]:2\n[model web]\nfile = a\n"
              "[model db]\nfile = b\nfalse_alarm_rate = 0.0001\n");
    assert_int_equal(service_check(path_of("anomalyd.conf"), &summary, &errors), 0);
    assert_non_null(strstr(summary.data, "listen: 127.0.0.1:1\nlisten: [::1]:2\nmodel db: version "
                                         "1, 6 features, threshold "));
    assert_non_null(strstr(summary.data, " for a false-alarm rate of 0.05\n2 models, the "
                                         "configuration is good\n"));
    assert_non_null(strstr(summary.data,
                           "warning: model db: a false-alarm rate of 0.0001 needs "
                           "100000 calibration rows, the model has 400: an estimate, "
                           "a tail fit to the largest of these, is the threshold, and "
                           "the rate is not promised; "));
    assert_null(errors.data);
}

static void a_check_tells_every_model_that_cannot_be_loaded(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text summary = {0};

    configure("[model web]\nfile = /nowhere\n[model db]\nfile = anomalyd.conf\n");
    assert_int_equal(service_check(path_of("anomalyd.conf"), &summary, &errors), -EINVAL);
    assert_non_null(strstr(errors.data, "model db: "));
    assert_non_null(strstr(errors.data, "model web: /nowhere: cannot open: No such file"));
    assert_null(summary.data);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    bool is_started = false;

    configure("[model web]\nfile = a\n");
    for (int nth = 0; !is_started && nth < 10000; nth++) {
        text_clear(&errors);
        alloc_fail_in = nth;
        int r = try_start();
        alloc_fail_in = -1;
        assert_true(r == 0 || r == -ENOMEM);
        struct live_model *model = r == 0 ? live_acquire(service_live(service), "web", 3) : NULL;
        is_started = model && model->state == LIVE_SERVING;
        if (model)
            live_release(service_live(service), model);
        if (!is_started)
            service_free(TAKE(service));
    }
    assert_true(is_started);
}

static void a_reload_survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char text[] = "[server]\nmax_body = 2M\n[model web]\nfile = b\n";
    int r = -ENOMEM;

    start("[server]\nmax_body = 1M\n[model web]\nfile = a\n");
    for (int nth = 0; r < 0 && nth < 10000; nth++) {
        text_clear(&errors);
        configure(text);
        const int shown = hide_stderr();
        alloc_fail_in = nth;
        r = service_reload(service, &errors);
        alloc_fail_in = -1;
        show_stderr(shown);
        assert_int_equal(service_max_body(service), r < 0 ? 1 << 20 : 2 << 20);
        assert_reasons("");
    }
    assert_int_equal(r, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(serves_what_is_configured),
        TEST(a_failed_model_is_a_reason_not_to_be_ready),
        TEST(without_a_model_it_is_not_ready),
        TEST(draining_is_a_reason_not_to_be_ready),
        TEST(a_reload_brings_models_and_limits),
        TEST(a_failed_model_can_be_mended_by_a_reload),
        TEST(a_reload_with_a_wrong_configuration_changes_nothing),
        TEST(a_reload_with_a_bad_model_changes_nothing),
        TEST(what_needs_a_restart_stays_in_force),
        TEST(a_check_summarises_what_is_good),
        TEST(a_check_tells_every_model_that_cannot_be_loaded),
        TEST(survives_every_failed_allocation),
        TEST(a_reload_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
