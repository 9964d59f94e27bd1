/* anomalyctl record - this host's metrics, one row an interval: as CSV, or to a running daemon. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "anomalyctl/posting.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include "source/host.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MIN_INTERVAL_US (10 * US_PER_MS) /* the kernel's own clock tick */
#define MOST_POSTING_US (2 * US_PER_S)

struct settings {
    const char *interval;
    const char *duration;             /* NULL: until told to stop */
    const char *output;               /* NULL: the rows go to a model */
    const char *model, *url, *series; /* NULL: not given */
    bool observe, json;
    uint64_t interval_us; /* interval and duration once they are read; 0 for no duration */
    uint64_t duration_us;
};

static const struct option_row rows[] = {
    OPTION_ROW("interval", "DURATION", OPTION_TEXT, false, interval,
               "time between two rows, as in 250ms, 10s or\n1m; at least 10ms (default 1s)"),
    OPTION_ROW("duration", "DURATION", OPTION_TEXT, false, duration,
               "stop after this long (default: at Ctrl-C\nor SIGTERM)"),
    OPTION_ROW("output", "FILE", OPTION_TEXT, false, output,
               "write the rows here, line by line (default:\nstandard output)"),
    OPTION_ROW("model", "NAME", OPTION_TEXT, false, model,
               "send the rows to this model of a running anomalyd,\n"
               "as they come, and show what is an anomaly"),
    OPTION_ROW("url", "URL", OPTION_TEXT, false, url,
               "address of the daemon, also unix:PATH\n(" CLIENT_DEFAULT_URL ")"),
    OPTION_ROW("series", "NAME", OPTION_TEXT, false, series,
               "what the daemon shall call these rows, where\nseveral hosts send to one model"),
    OPTION_ROW("observe", NULL, OPTION_FLAG, false, observe,
               "the rows are known to be normal: they are learned\nfrom without a verdict"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json,
               "print a summary as JSON; needs --output FILE or\n--model NAME"),
};

static const struct usage usage = {
    .command = "record",
    .description =
        "Samples this host from /proc and /sys, one CSV row an interval. Counters become\n"
        "rates; what the kernel does not have is not a column. With --model the rows go\n"
        "to a running anomalyd instead, which learns from them until it can judge them:\n"
        "each anomaly is a line, with the features to blame. While the daemon is away up\n"
        "to 3600 rows wait for it.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* What one run needs, and what it has done so far. */
struct recording {
    const struct settings *settings;
    struct host_sampler *sampler;
    struct client *client;   /* NULL unless the rows are posted */
    FILE *output;            /* NULL: the rows are posted */
    struct posting *posting; /* NULL: they are written */
    float *row;              /* [n_features] */
    struct text line;        /* kept between rows, so that a row allocates nothing */
    uint64_t start_us;       /* monotonic */
    uint64_t n_rows;
    uint64_t n_skipped; /* intervals without a row, because the machine was too busy or asleep */
};

static bool is_stdout(const struct settings *settings)
{
    return settings->output && strcmp(settings->output, "-") == 0;
}

static void recording_clear(struct recording *recording)
{
    posting_free(recording->posting);
    client_free(recording->client);
    host_sampler_free(recording->sampler);
    if (recording->output && recording->output != stdout)
        (void)fclose(recording->output);
    free(recording->row);
    text_clear(&recording->line);
}

/* A signal may be delivered to a thread of a library: what wakes us is the file, not EINTR. */
static int stop_fd = -1;

static void ask_to_stop(int signal_number)
{
    (void)signal_number;
    const int saved = errno;
    (void)eventfd_write(stop_fd, 1);
    errno = saved;
}

static int catch_signals(struct error *reterr)
{
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0)
        return error_set_errno(reterr, -errno, "eventfd", "open");

    const struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0)
        return error_set_errno(reterr, -errno, "signals", "catch");
    return 0;
}

/* Waits until deadline_us of the monotonic clock; true: somebody asked to stop before. */
static bool wait_until(uint64_t deadline_us)
{
    for (;;) {
        const uint64_t now_us = clock_monotonic_us();
        const uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
        const struct timespec left = {.tv_sec = (time_t)(left_us / US_PER_S),
                                      .tv_nsec = (long)(left_us % US_PER_S * 1000)};
        struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

        const int r = ppoll(&stop, 1, &left, NULL);
        if (r > 0)
            return true;
        if (r == 0 && left_us == 0)
            return false;
    }
}

/* Flushed at every line, for whoever follows the file. */
static int write_line(struct recording *recording, struct error *reterr)
{
    struct text *line = &recording->line;
    const struct settings *settings = recording->settings;

    text_puts(line, "\n");
    if (text_failed(line))
        return error_set(reterr, -ENOMEM, "not enough memory");
    errno = 0;
    const size_t written = fwrite(line->data, 1, line->length, recording->output);
    if (written != line->length || fflush(recording->output) != 0)
        return error_set_errno(reterr, errno ? -errno : -EIO,
                               is_stdout(settings) ? "standard output" : settings->output, "write");
    line->length = 0;
    return 0;
}

static int write_header(struct recording *recording, struct error *reterr)
{
    const size_t n_features = host_sampler_n_features(recording->sampler);

    text_puts(&recording->line, "timestamp");
    for (size_t i = 0; i < n_features; i++)
        text_printf(&recording->line, ",%s", host_sampler_feature_name(recording->sampler, i));
    return write_line(recording, reterr);
}

static int write_row(struct recording *recording, uint64_t realtime_us, struct error *reterr)
{
    output_append_timestamp(&recording->line, realtime_us);
    for (size_t i = 0; i < host_sampler_n_features(recording->sampler); i++) {
        text_puts(&recording->line, ",");
        text_float(&recording->line, recording->row[i]);
    }
    return write_line(recording, reterr);
}

/* What waits has until the next row is due, but who ends it waits for that, too. */
static int post_row(struct recording *recording, uint64_t realtime_us, uint64_t next_us,
                    struct error *reterr)
{
    const uint64_t latest_us = clock_monotonic_us() + MOST_POSTING_US;

    posting_add(recording->posting, realtime_us, recording->row);
    return posting_send(recording->posting, next_us < latest_us ? next_us : latest_us, reterr);
}

static int take_row(struct recording *recording, uint64_t next_us, struct error *reterr)
{
    const uint64_t realtime_us = clock_realtime_us();
    int r = host_sampler_read(recording->sampler, clock_monotonic_us(), recording->row, reterr);
    if (r < 0)
        return r;

    recording->n_rows++;
    return recording->posting ? post_row(recording, realtime_us, next_us, reterr)
                              : write_row(recording, realtime_us, reterr);
}

static void show_progress(const struct recording *recording, uint64_t now_us)
{
    const uint64_t passed_s = (now_us - recording->start_us) / US_PER_S;
    const uint64_t duration_s = recording->settings->duration_us / US_PER_S;
    const uint64_t left_s = duration_s > passed_s ? duration_s - passed_s : 0;
    CLEANUP(text_clear) struct text text = {0};

    if (recording->posting)
        posting_describe(recording->posting, &text);
    else
        text_printf(&text, "recording: %" PRIu64 " rows", recording->n_rows);
    if (duration_s)
        text_printf(&text, ", %" PRIu64 ":%02" PRIu64 " left", left_s / 60, left_s % 60);
    else
        text_puts(&text, ", Ctrl-C ends it");
    if (!text_failed(&text))
        (void)fprintf(stderr, "\r\033[K%s", text.data);
    (void)fflush(stderr);
}

static int open_output(struct recording *recording, struct error *reterr)
{
    const struct settings *settings = recording->settings;

    recording->output = is_stdout(settings) ? stdout : fopen(settings->output, "we");
    if (!recording->output)
        return error_set_errno(reterr, -errno, settings->output, "open");
    return write_header(recording, reterr);
}

static int open_posting(struct recording *recording)
{
    const struct settings *settings = recording->settings;
    const struct posting_options options = {
        .client = recording->client,
        .url = settings->url,
        .model = settings->model,
        .series = settings->series,
        .is_observed = settings->observe,
        .is_quiet = settings->json,
        .sampler = recording->sampler,
    };

    return posting_new(&options, &recording->posting);
}

static int open_recording(struct recording *recording, struct error *reterr)
{
    recording->start_us = clock_monotonic_us();
    int r = host_sampler_new("", recording->start_us, &recording->sampler, reterr);
    if (r < 0)
        return r;
    recording->row = calloc(host_sampler_n_features(recording->sampler), sizeof(float));
    if (!recording->row)
        return error_set(reterr, -ENOMEM, "not enough memory");
    return recording->settings->output ? open_output(recording, reterr) : open_posting(recording);
}

/* Deadlines are start + n * interval, so that lateness does not add up. */
static int run_recording(struct recording *recording, struct error *reterr)
{
    const struct settings *settings = recording->settings;
    const bool progress = isatty(STDERR_FILENO);
    int r = open_recording(recording, reterr);

    for (uint64_t n = 1; r == 0; n++) {
        const uint64_t deadline_us = n * settings->interval_us;
        if (settings->duration_us && deadline_us > settings->duration_us)
            break;
        if (wait_until(recording->start_us + deadline_us))
            break;
        r = take_row(recording, recording->start_us + deadline_us + settings->interval_us, reterr);

        const uint64_t now_us = clock_monotonic_us();
        const uint64_t n_passed = (now_us - recording->start_us) / settings->interval_us;
        recording->n_skipped += n_passed - n;
        n = n_passed;
        if (progress)
            show_progress(recording, now_us);
    }
    if (progress)
        (void)fputs("\r\033[K", stderr);
    if (r == 0 && recording->posting) /* what waits still */
        r = posting_send(recording->posting, clock_monotonic_us() + MOST_POSTING_US, reterr);
    return r;
}

/* ---- the end ---- */

static void append_string(struct text *json, const char *key, const char *value)
{
    text_printf(json, ",\"%s\":", key);
    text_json_string(json, value, strlen(value));
}

static int print_json(const struct recording *recording)
{
    const struct settings *settings = recording->settings;
    CLEANUP(text_clear) struct text json = {0};
    const double seconds = (double)(clock_monotonic_us() - recording->start_us) / (double)US_PER_S;

    text_printf(&json, "{\"rows\":%" PRIu64 ",\"skipped\":%" PRIu64, recording->n_rows,
                recording->n_skipped);
    text_printf(&json, ",\"features\":%zu", host_sampler_n_features(recording->sampler));
    text_printf(&json, ",\"seconds\":%.3f", seconds);
    if (recording->posting) {
        const struct posting_figures figures = posting_figures(recording->posting);
        append_string(&json, "model", settings->model);
        text_printf(&json, ",\"sent\":%" PRIu64 ",\"anomalies\":%" PRIu64, figures.n_sent,
                    figures.n_anomalies);
    } else {
        append_string(&json, "output", settings->output);
    }
    text_puts(&json, "}\n");
    return output_text(&json);
}

static void print_for_people(const struct recording *recording)
{
    const struct settings *settings = recording->settings;

    if (recording->posting) {
        const struct posting_figures figures = posting_figures(recording->posting);
        (void)fprintf(stderr, "anomalyctl: %" PRIu64 " rows sent to %s, %" PRIu64 " anomalies\n",
                      figures.n_sent, settings->model, figures.n_anomalies);
    } else if (!is_stdout(settings)) {
        (void)fprintf(stderr, "anomalyctl: %" PRIu64 " rows of %zu features in %s\n",
                      recording->n_rows, host_sampler_n_features(recording->sampler),
                      settings->output);
    }
}

static int print_summary(const struct recording *recording)
{
    const int status = recording->settings->json ? print_json(recording) : EXIT_DONE;

    if (!recording->settings->json)
        print_for_people(recording);
    if (!recording->posting || status != EXIT_DONE)
        return status;
    const struct posting_figures figures = posting_figures(recording->posting);
    const uint64_t n_unsent = figures.n_dropped + figures.n_waiting;
    return n_unsent == 0
               ? EXIT_DONE
               : report_failure("%" PRIu64 " rows never reached %s: see whether the daemon "
                                "runs",
                                n_unsent, recording->settings->model);
}

static int record(const struct settings *settings)
{
    CLEANUP(recording_clear) struct recording recording = {.settings = settings};
    const struct online_options online = {.url = settings->url};
    struct error error = {""};

    const int status = settings->model ? online_connect(&online, &recording.client) : EXIT_DONE;
    if (status != EXIT_DONE)
        return status;
    int r = catch_signals(&error);
    if (r == 0)
        r = run_recording(&recording, &error);
    close_fd(&stop_fd);
    return r < 0 ? report_error(&error) : print_summary(&recording);
}

static int refuse_duration(const char *option, const char *text, const char *why)
{
    (void)report_failure("%s: --%s %s: %s", usage.command, option, text, why);
    return EXIT_USAGE;
}

static int refuse(const char *option, const char *why)
{
    (void)report_failure("%s: --%s %s", usage.command, option, why);
    return EXIT_USAGE;
}

/* Rows go to a file, or to a model of a daemon. */
static int check_target(struct settings *settings)
{
    const char *online = settings->url       ? "url"
                         : settings->series  ? "series"
                         : settings->observe ? "observe"
                                             : NULL;

    if (!settings->model && online)
        return refuse(online, "needs --model NAME: without it the rows go to a file");
    if (settings->model && settings->output)
        return refuse("output", "does not go with --model: the rows go to a file or to a daemon");
    if (settings->model) {
        if (!settings->url)
            settings->url = CLIENT_DEFAULT_URL;
        return online_check_model(usage.command, settings->model);
    }
    if (!settings->output)
        settings->output = "-";
    if (settings->json && is_stdout(settings))
        return refuse("json", "needs --output FILE or --model NAME: standard output cannot hold "
                              "both the rows and the summary");
    return EXIT_DONE;
}

static int check_settings(struct settings *settings)
{
    static const char not_a_duration[] = "must be a number and a unit, as in 250ms, 10s or 15m";
    const char *interval = settings->interval, *duration = settings->duration;

    if (number_parse_duration_us(interval, strlen(interval), &settings->interval_us) < 0)
        return refuse_duration("interval", interval, not_a_duration);
    if (settings->interval_us < MIN_INTERVAL_US)
        return refuse_duration("interval", interval, "must be at least 10ms");
    if (duration &&
        number_parse_duration_us(duration, strlen(duration), &settings->duration_us) < 0)
        return refuse_duration("duration", duration, not_a_duration);
    if (duration && settings->duration_us < settings->interval_us)
        return refuse_duration("duration", duration, "must be at least one interval");
    return check_target(settings);
}

int record_main(int argc, char **argv)
{
    struct settings settings = {.interval = "1s"};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = check_settings(&settings);
    return status == EXIT_DONE ? record(&settings) : status;
}
