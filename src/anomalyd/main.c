/* anomalyd - the daemon: options, start, the loop of the main thread, end.
 *
 * Signals set a flag and wake the loop through an eventfd; nothing else happens in a handler, and
 * none is blocked: the maths library starts its threads before main(). The loop waits for a signal,
 * for the server's listeners, or for the next point in time that matters, whichever is first. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "http/routes.h"
#include "http/server.h"
#include "service/config.h"
#include "service/service.h"
#include "service/systemd.h"
#include "service/trainer_process.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_USAGE    2
#define DRAIN_TIME_US (9 * US_PER_S) /* systemd kills after TimeoutStopSec=10 */

struct daemon {
    struct service *service;
    struct http_server *server;
    uint64_t watchdog_us;   /* half of what systemd allows; 0: it does not watch */
    uint64_t next_ping_us;  /* monotonic */
    uint64_t drain_ends_us; /* monotonic; 0: not draining */
    uint64_t next_tend_us;  /* of the store, monotonic; 0: no need */
};

/* ---- signals ---- */

static int wake_fd = -1;
static atomic_bool reload_wanted, stop_wanted;

static void wake(void)
{
    const int saved = errno;

    (void)eventfd_write(wake_fd, 1);
    errno = saved;
}

static void on_reload(int signal_number)
{
    (void)signal_number;
    atomic_store(&reload_wanted, true);
    wake();
}

/* The second one does not rely on the loop: it may be what hangs. */
static void on_stop(int signal_number)
{
    (void)signal_number;
    if (atomic_exchange(&stop_wanted, true))
        _exit(EXIT_SUCCESS);
    wake();
}

static int handle_signals(void)
{
    static const struct {
        int number;
        void (*handler)(int);
    } signals[] = {
        {SIGHUP,  on_reload},
        {SIGTERM, on_stop  },
        {SIGINT,  on_stop  },
        {SIGPIPE, SIG_IGN  }
    };

    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        struct sigaction action = {.sa_handler = signals[i].handler, .sa_flags = SA_RESTART};
        (void)sigemptyset(&action.sa_mask);
        if (sigaction(signals[i].number, &action, NULL) < 0)
            return -errno;
    }
    return 0;
}

/* ---- options ---- */

enum action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_HELP,
    ACTION_VERSION,
    ACTION_USAGE
};

struct options {
    enum action action;
    const char *config; /* NULL: the default one */
};

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"config",       required_argument, NULL, 'c'},
        {"check-config", no_argument,       NULL, 'k'},
        {"help",         no_argument,       NULL, 'h'},
        {"version",      no_argument,       NULL, 'v'},
        {NULL,           0,                 NULL, 0  },
    };
    struct options options = {.action = ACTION_RUN};

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no thread of ours has started */
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'c')
            options.config = optarg;
        else if (c == 'k')
            options.action = ACTION_CHECK;
        else
            return (struct options){.action = c == 'h'   ? ACTION_HELP
                                              : c == 'v' ? ACTION_VERSION
                                                         : ACTION_USAGE};
    }
    if (optind < argc) {
        (void)fprintf(stderr, "anomalyd: %s: unexpected argument\n", argv[optind]);
        options.action = ACTION_USAGE;
    }
    return options;
}

static int print_help(void)
{
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text,
              "Usage: anomalyd [--config FILE] [--check-config]\n"
              "Finds anomalies in rows of measurements that are sent to it over HTTP.\n"
              "\n"
              "  --config FILE   read FILE and conf.d/*.conf beside it\n"
              "                  [" SYSCONFDIR "/anomalyd/anomalyd.conf]\n"
              "  --check-config  check the configuration and the model files, start nothing\n"
              "  --help          show this\n"
              "  --version       show the version\n"
              "\n"
              "SIGHUP reads the configuration and the models again; what is wrong with them\n"
              "goes to the log, and the old state stays. SIGTERM and SIGINT finish the\n"
              "requests in flight and end within 9 seconds; a second one ends at once.\n"
              "Exit status: 0 stopped or good, 1 cannot start, 2 wrong usage,\n"
              "78 something is wrong in the configuration.\n"
              "\n"
              "Configuration, with defaults:\n\n");
    config_describe(&text);
    if (text_failed(&text))
        return EXIT_FAILURE;
    return fputs(text.data, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int check_config(const char *path)
{
    CLEANUP(text_clear) struct text summary = {0}, errors = {0};

    int r = service_check(path, &summary, &errors);
    if (r == 0) {
        (void)fputs(summary.data, stdout);
        return EXIT_SUCCESS;
    }
    (void)fputs(r == -EINVAL ? errors.data : "out of memory\n", stderr);
    return r == -EINVAL ? EX_CONFIG : EXIT_FAILURE;
}

/* ---- start ---- */

/* One log line for each line of text. */
static void log_lines(int level, const struct text *text)
{
    for (const char *line = text->data; line && *line;) {
        const char *end = strchrnul(line, '\n');
        log_message(level, "%.*s", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
}

static int start_service(struct daemon *daemon, const char *config_path)
{
    CLEANUP(text_clear) struct text errors = {0};
    struct config *config = NULL;
    struct error error = {0};
    size_t n_routes = 0;
    const char *const *routes = routes_names(&n_routes);

    int r = config_load(config_path, &config, &errors);
    if (r < 0) {
        log_lines(LOG_ERR, &errors);
        log_error("not started: %s", r == -EINVAL ? "the configuration is wrong" : "out of memory");
        return r == -EINVAL ? EX_CONFIG : EXIT_FAILURE;
    }
    r = service_new(config_path, config, routes, n_routes, &daemon->service, &error);
    if (r == 0)
        r = http_server_new(daemon->service, &daemon->server, &error);
    if (r < 0) {
        log_error("not started: %s", error.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static void say_ready(struct daemon *daemon)
{
    CLEANUP(text_clear) struct text state = {0};

    service_describe(daemon->service, &state);
    systemd_ready(text_failed(&state) ? "" : state.data);
}

static void log_start(struct daemon *daemon)
{
    CLEANUP(text_clear) struct text line = {0};
    const struct config *config = service_config(daemon->service);

    text_printf(&line, "version %s listens on ", PACKAGE_VERSION);
    http_server_describe(daemon->server, &line);
    text_puts(&line, ": ");
    service_describe(daemon->service, &line);
    text_printf(&line, ", %u thread%s, kernels %s", config->threads,
                config->threads == 1 ? "" : "s", service_kernels());
    if (!text_failed(&line))
        log_info("%s", line.data);
}

/* ---- the loop ---- */

static void reload(struct daemon *daemon)
{
    CLEANUP(text_clear) struct text errors = {0}, state = {0};

    systemd_reloading();
    int r = service_reload(daemon->service, &errors);
    say_ready(daemon); /* systemd waits for this, whatever came of it */
    if (r < 0) {
        log_lines(LOG_ERR, &errors);
        log_error("reload failed, the old state goes on: %s",
                  r == -ENOMEM ? "out of memory" : "see above");
        systemd_status("reload failed, the old state goes on: %s", errors.data ? errors.data : "");
        return;
    }
    daemon->next_tend_us = 1; /* at once: there may be another folder */
    service_describe(daemon->service, &state);
    log_info("reloaded: %s", text_failed(&state) ? "" : state.data);
}

static void drain(struct daemon *daemon)
{
    daemon->drain_ends_us = clock_monotonic_us() + DRAIN_TIME_US;
    log_info("stopping: finishing requests in flight");
    systemd_stopping();
    service_set_draining(daemon->service);
    http_server_drain(daemon->server);
}

static void handle_wishes(struct daemon *daemon)
{
    if (atomic_load(&stop_wanted) && !daemon->drain_ends_us)
        drain(daemon);
    if (atomic_exchange(&reload_wanted, false) && !daemon->drain_ends_us)
        reload(daemon);
}

static void feed_watchdog(struct daemon *daemon)
{
    const uint64_t now = clock_monotonic_us();

    if (!daemon->watchdog_us || now < daemon->next_ping_us)
        return;
    systemd_watchdog_ping();
    daemon->next_ping_us = now + daemon->watchdog_us;
}

static void tend(struct daemon *daemon)
{
    if (!daemon->next_tend_us || clock_monotonic_us() < daemon->next_tend_us ||
        daemon->drain_ends_us)
        return;
    const struct learner *before = service_learner(daemon->service);
    daemon->next_tend_us = service_tend(daemon->service);
    if (service_learner(daemon->service) != before)
        say_ready(daemon); /* its status has changed */
}

static bool is_done(const struct daemon *daemon)
{
    return daemon->drain_ends_us && http_server_is_idle(daemon->server);
}

/* Waits for no worker: it may be at an answer that takes longer than systemd is patient. */
static void end_if_overdue(const struct daemon *daemon)
{
    if (!daemon->drain_ends_us || clock_monotonic_us() < daemon->drain_ends_us)
        return;
    log_warning("connections are still open after %llu s: they are cut",
                (unsigned long long)(DRAIN_TIME_US / US_PER_S));
    log_info("stopped");
    _exit(EXIT_SUCCESS);
}

/* Until the next point in time that matters; -1: there is none. */
static int timeout_ms(const struct daemon *daemon)
{
    const uint64_t now = clock_monotonic_us();
    const uint64_t points[] = {daemon->drain_ends_us,
                               daemon->watchdog_us ? daemon->next_ping_us : 0,
                               daemon->drain_ends_us ? 0 : daemon->next_tend_us};
    int timeout = http_server_timeout_ms(daemon->server);

    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        if (!points[i])
            continue;
        /* Rounded up, or the last millisecond would be spent spinning. */
        const int ms = points[i] > now ? (int)((points[i] - now) / US_PER_MS) + 1 : 0;
        if (timeout < 0 || ms < timeout)
            timeout = ms;
    }
    return timeout;
}

static int run(struct daemon *daemon)
{
    struct pollfd fds[] = {
        {.fd = wake_fd,                        .events = POLLIN},
        {.fd = http_server_fd(daemon->server), .events = POLLIN}
    };

    for (;;) {
        handle_wishes(daemon);
        feed_watchdog(daemon);
        tend(daemon);
        if (is_done(daemon))
            return EXIT_SUCCESS;
        end_if_overdue(daemon);
        if (poll(fds, sizeof(fds) / sizeof(*fds), timeout_ms(daemon)) < 0 && errno != EINTR) {
            log_error("cannot wait for events: %s", strerrordesc_np(errno));
            return EXIT_FAILURE;
        }
        if (fds[0].revents) {
            eventfd_t count;
            (void)eventfd_read(wake_fd, &count);
        }
        http_server_accept(daemon->server);
    }
}

static int serve(const char *config_path)
{
    struct daemon daemon = {0};
    int r = handle_signals();

    if (r < 0)
        log_error("cannot handle signals: %s", strerrordesc_np(-r));
    int status = r < 0 ? EXIT_FAILURE : start_service(&daemon, config_path);
    if (status == EXIT_SUCCESS) {
        daemon.watchdog_us = systemd_watchdog_us() / 2;
        log_start(&daemon);
        say_ready(&daemon);
        daemon.next_tend_us = 1; /* at once */
        status = run(&daemon);
        log_info("stopped");
    }
    http_server_free(daemon.server);
    service_free(daemon.service);
    close_fd(&wake_fd);
    return status;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--train-candidate") == 0) /* we started ourselves */
        trainer_process_child();
    service_init();
    log_open("anomalyd");

    const struct options options = read_options(argc, argv);
    switch (options.action) {
    case ACTION_HELP:
        return print_help();
    case ACTION_VERSION:
        return puts("anomalyd " PACKAGE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    case ACTION_CHECK:
        return check_config(options.config);
    case ACTION_USAGE:
        (void)fputs("Try anomalyd --help\n", stderr);
        return EXIT_USAGE;
    case ACTION_RUN:
        break;
    }
    return serve(options.config);
}
