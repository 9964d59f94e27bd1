/* anomalyctl replay - sends a labelled file to a running daemon, in order and at full speed, and
 * shows what was caught; or judges the rows around an incident again (anomalyctl/repeat.h). */
#include "anomalyctl/client.h"
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "anomalyctl/repeat.h"
#include "anomalyctl/replayed.h"
#include "anomalyctl/sent_rows.h"
#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

struct settings {
    const char *model, *url, *incident;
    struct input_options input;
    size_t batch;
    bool json;
};

static const struct option_row rows[] = {
    OPTION_ROW(
        "model", "NAME", OPTION_TEXT, false, model,
        "model of the daemon to ask; with --incident also a\nmodel file (with a . or / in its "
        "name)"),
    OPTION_ROW("data", "FILE", OPTION_TEXT, false, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, false, input.label_column,
               "column of labels: 0 or empty is normal, a name is an\n"
               "incident; rows named " LABEL_RECOVERY " count as neither"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
    OPTION_ROW("incident", "FILE", OPTION_TEXT, false, incident,
               "instead of --data: what anomalyctl incident export has\nwritten, - for standard "
               "input"),
    OPTION_ROW("url", "URL", OPTION_TEXT, false, url,
               "address of the daemon, also unix:PATH\n(" CLIENT_DEFAULT_URL ")"),
    OPTION_ROW("batch", "N", OPTION_COUNT, false, batch, "rows a request (64)"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json, "print JSON"),
};

static const struct usage usage = {
    .command = "replay",
    .description =
        "Sends a labelled file to a running anomalyd and shows which incidents it\n"
        "caught, how soon, which features it blamed, and how often it flagged normal\n"
        "rows. Seconds are those of the column timestamp. A missed incident is a\n"
        "result, not a failure: the exit status is 0 once all rows were scored. The model\n"
        "learns nothing from them. Needs --model, --data and --label-column.\n\n"
        "With --incident it judges the rows around an incident again, here, by the model\n"
        "files of the daemon or by one of your own, and compares bit for bit: what has\n"
        "changed is printed, and the exit status is 1.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* ---- what the model measures ---- */

static int ask_model(struct client *client, const char *model, struct sent_inputs *ret_inputs,
                     double *ret_false_alarm_rate, struct error *reterr)
{
    AUTO_FREE char *path = NULL;
    json_auto_t *reply = NULL;

    if (asprintf(&path, "/v1/models/%s", model) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    int r = client_get(client, path, &reply, reterr);
    if (r < 0)
        return r;
    const json_t *rate = json_object_get(reply, "false_alarm_rate");
    *ret_false_alarm_rate = rate ? json_number_value(rate) : (double)NAN;
    const char *reason = json_string_value(json_object_get(reply, "error"));
    r = sent_inputs_read(reply, model, ret_inputs, reterr);
    if (r == 0 && !ret_inputs->values)
        return error_set(reterr, -EPROTO, "model %s cannot score: %s", model,
                         reason ? reason : "the daemon does not tell its features");
    return r;
}

static int read_rows(const struct input_options *input, const struct sent_inputs *inputs,
                     struct replayed *ret_replayed, struct error *reterr)
{
    const struct dataset_options options = {
        .label_column = input->label_column,
        .exclude = input->exclude.names,
        .n_exclude = input->exclude.n_names,
        .schema = inputs->values,
        .preparation = inputs->preparation,
        .with_timestamps = true,
        .with_series = true,
    };
    CLEANUP(dataset_clear) struct dataset dataset = {0};

    int r = dataset_read(input->data, &options, &dataset, reterr);
    if (r < 0)
        return r;
    if (dataset.n_rows == 0)
        return error_set_at(reterr, -EINVAL, input_name(input->data), 0, "has no rows");
    return replayed_init(&dataset, ret_replayed);
}

/* ---- one batch ---- */

/* The replay has series of its own: what it finds does not depend on what the daemon saw before. */
static void write_series(const struct replayed *replayed, size_t row, struct text *body)
{
    const struct dataset *dataset = &replayed->dataset;
    CLEANUP(text_clear) struct text name = {0};

    text_printf(&name, "replay-%" PRIu64, replayed->began_us);
    if (dataset->series)
        text_printf(&name, "-%.64s", dataset->series_names[dataset->series[row]]);
    text_json_string(body, name.data ? name.data : "", name.length);
}

static void write_request(const struct replayed *replayed, const struct preparation *preparation,
                          size_t first, size_t n, struct text *body)
{
    body->length = 0;
    text_puts(body, "{\"series\":");
    write_series(replayed, first, body);
    text_puts(body, ",\"explain\":\"anomalies\",\"instances\":[");
    for (size_t i = first; i < first + n; i++) {
        text_puts(body, i > first ? "," : "");
        sent_row_append(&replayed->dataset, i, preparation, false, body);
    }
    text_puts(body, "]}");
}

static void take_verdict(struct replayed *replayed, size_t row, const json_t *verdict)
{
    const json_t *contributions = json_object_get(verdict, "contributions");

    if (!json_is_true(json_object_get(verdict, "anomaly")))
        return;
    replayed_flag(replayed, row);
    for (size_t i = 0; i < json_array_size(contributions); i++) {
        const json_t *contribution = json_array_get(contributions, i);
        const char *feature = json_string_value(json_object_get(contribution, "feature"));
        if (feature)
            replayed_blame(replayed, row, feature,
                           json_number_value(json_object_get(contribution, "share")));
    }
}

static int take_reply(struct replayed *replayed, size_t first, size_t n, const json_t *reply,
                      struct error *reterr)
{
    const json_t *results = json_object_get(reply, "results");

    if (json_array_size(results) != n)
        return error_set(reterr, -EPROTO, "%zu rows were sent, but the daemon judged %zu of them",
                         n, json_array_size(results));
    replayed->version = json_integer_value(json_object_get(reply, "version"));
    for (size_t i = 0; i < n; i++)
        take_verdict(replayed, first + i, json_array_get(results, i));
    return 0;
}

static int send_batch(struct client *client, const char *path, struct replayed *replayed,
                      const struct preparation *preparation, size_t first, size_t n,
                      struct text *body, struct error *reterr)
{
    json_auto_t *reply = NULL;

    write_request(replayed, preparation, first, n, body);
    if (text_failed(body))
        return -ENOMEM;
    int r = client_post(client, path, body->data, body->length, &reply, reterr);
    return r < 0 ? r : take_reply(replayed, first, n, reply, reterr);
}

/* The rows from first on that one request can hold: they are of one series. */
static size_t count_together(const struct dataset *dataset, size_t first, size_t most)
{
    size_t n = 1;

    while (n < most && first + n < dataset->n_rows &&
           (!dataset->series || dataset->series[first + n] == dataset->series[first]))
        n++;
    return n;
}

static int send_rows(struct client *client, const struct settings *settings,
                     const struct preparation *preparation, struct replayed *replayed,
                     struct error *reterr)
{
    const struct dataset *dataset = &replayed->dataset;
    const uint64_t started_us = clock_monotonic_us();
    CLEANUP(text_clear) struct text path = {0}, body = {0};

    text_printf(&path, "/v1/models/%s/score?learn=false", settings->model);
    if (text_failed(&path))
        return -ENOMEM;
    for (size_t first = 0, n; first < dataset->n_rows; first += n) {
        n = count_together(dataset, first, settings->batch);
        struct error why = {0};

        int r = send_batch(client, path.data, replayed, preparation, first, n, &body, &why);
        if (r < 0 && *why.text)
            return error_set_at(reterr, r, input_name(settings->input.data), dataset->lines[first],
                                "and %zu rows after it: %s", n - 1, why.text);
        if (r < 0)
            return r;
    }
    replayed->seconds = (double)(clock_monotonic_us() - started_us) / 1e6;
    return replayed_finish(replayed);
}

static int run(const struct settings *settings)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(sent_inputs_clear) struct sent_inputs inputs = {0};
    CLEANUP(replayed_clear) struct replayed replayed = {0};
    CLEANUP(text_clear) struct text text = {0};
    struct error err = {0};
    double false_alarm_rate = 0;

    int r = client_new(settings->url, &client, &err);
    if (r == -EINVAL) {
        (void)report_error(&err);
        return EXIT_USAGE;
    }
    if (r < 0 || ask_model(client, settings->model, &inputs, &false_alarm_rate, &err) < 0 ||
        read_rows(&settings->input, &inputs, &replayed, &err) < 0)
        return report_error(&err);
    replayed.model = settings->model;
    replayed.false_alarm_rate = false_alarm_rate;
    replayed.n_batch = settings->batch;
    replayed.began_us = clock_realtime_us();
    if (send_rows(client, settings, inputs.preparation, &replayed, &err) < 0)
        return report_error(&err);

    if (settings->json)
        replayed_print_json(&replayed, &text);
    else
        replayed_print(&replayed, &text);
    return output_text(&text);
}

static int wrong_usage(const char *text, const char *name)
{
    (void)report_failure("replay: %s%s; see anomalyctl replay --help", text, name);
    return EXIT_USAGE;
}

static int run_incident(const struct settings *settings)
{
    const struct repeat_options options = {
        .incident = settings->incident,
        .model = settings->model,
        .url = settings->url,
        .json = settings->json,
    };

    if (settings->input.data || settings->input.label_column || settings->input.exclude.names)
        return wrong_usage("--incident takes no --data, --label-column or --exclude", "");
    if (settings->model && !*settings->model)
        return wrong_usage("--model \"\": is no name of a model and no file", "");
    return repeat_incident(&options);
}

static int run_file(const struct settings *settings)
{
    const char *missing = !settings->model                ? "model"
                          : !settings->input.data         ? "data"
                          : !settings->input.label_column ? "label-column"
                                                          : NULL;

    if (missing)
        return wrong_usage("give --", missing);
    if (online_is_model_name(settings->model))
        return run(settings);
    (void)report_failure("replay: --model %s: is no name of a model; see GET /v1/models",
                         settings->model);
    return EXIT_USAGE;
}

int replay_main(int argc, char **argv)
{
    struct settings settings = {.url = CLIENT_DEFAULT_URL, .batch = 64};
    int status;

    if (options_parse(&usage, argc, argv, &settings, &status))
        status = settings.incident ? run_incident(&settings) : run_file(&settings);
    name_list_clear(&settings.input.exclude);
    return status;
}
