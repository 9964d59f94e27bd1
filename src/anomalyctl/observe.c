/* anomalyctl observe - gives rows that are known to be normal to a running daemon, to learn from.
 */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "anomalyctl/sent_rows.h"
#include "base/text.h"
#include "data/dataset.h"

#include <errno.h>
#include <string.h>

#define BATCH 500

struct settings {
    const char *model;
    struct input_options input;
    struct online_options online;
};

static const struct option_row rows[] = {
    OPTION_ROW("data", "FILE", OPTION_TEXT, true, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, false, input.label_column,
               "column of labels; rows whose label is not 0 or empty\nare left out"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
    ONLINE_ROWS,
};

static const struct usage usage = {
    .command = "observe",
    .operand = "MODEL",
    .operand_offset = offsetof(struct settings, model),
    .description = "Sends rows that are known to be normal to a running anomalyd, which keeps\n"
                   "them for the model to learn from. They are on its disk once this command\n"
                   "is done; after a failure those before the row it names are. The columns\n"
                   "series and timestamp say whose rows these are and of when; each moment is\n"
                   "a request of its own, so that --exclude timestamp is faster.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* What is being sent. */
struct sending {
    struct client *client;
    struct sent_inputs inputs;
    struct dataset dataset;
    bool is_named; /* rows go with their names: the daemon may not know the features yet */
    size_t n_sent;
    size_t n_kept, n_late; /* as the daemon said */
    bool is_first;         /* the model was without a version at times: it does not say so then */
    json_t *answer;        /* the last one */
};

static void sending_clear(struct sending *sending)
{
    client_free(sending->client);
    sent_inputs_clear(&sending->inputs);
    dataset_clear(&sending->dataset);
    json_decref(sending->answer);
}

/* What the model is sent; nothing where it has no version yet, or the daemon knows none such: it
 * says the same of the rows, if it is so. */
static int ask_inputs(struct client *client, const char *model, struct sent_inputs *ret_inputs,
                      struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};
    json_auto_t *reply = NULL;

    text_printf(&path, "/v1/models/%s", model);
    if (text_failed(&path))
        return -ENOMEM;
    int r = client_get(client, path.data, &reply, reterr);
    if (r < 0)
        return r == -EPROTO ? 0 : r;
    return sent_inputs_read(reply, model, ret_inputs, reterr);
}

static int read_rows(const struct settings *settings, struct sending *sending, struct error *reterr)
{
    const struct input_options *input = &settings->input;
    struct sent_inputs *inputs = &sending->inputs;

    int r = ask_inputs(sending->client, settings->model, inputs, reterr);
    if (r < 0)
        return r;
    const struct dataset_options options = {
        .label_column = input->label_column,
        .exclude = input->exclude.names,
        .n_exclude = input->exclude.n_names,
        .schema = inputs->values,
        .preparation = inputs->preparation,
        .with_timestamps = true,
        .with_series = true,
    };
    r = dataset_read(input->data, &options, &sending->dataset, reterr);
    if (r < 0)
        return r;
    sending->is_named = !inputs->values;
    if (sending->dataset.n_rows == 0)
        return error_set_at(reterr, -EINVAL, input_name(input->data), 0, "has no rows");
    return input->label_column ? input_check_labels(&sending->dataset, input, reterr) : 0;
}

static bool is_normal(const struct dataset *dataset, size_t row)
{
    return !dataset->labels || dataset->labels[row] == 0;
}

/* One request can say one series and, unless its rows do, one moment. */
static bool are_together(const struct sending *sending, size_t a, size_t b)
{
    const struct dataset *dataset = &sending->dataset;

    return (!dataset->series || dataset->series[a] == dataset->series[b]) &&
           (!dataset->timestamps || sending->inputs.preparation ||
            dataset->timestamps[a] == dataset->timestamps[b]);
}

static void write_origin(const struct sending *sending, size_t row, struct text *body)
{
    const struct dataset *dataset = &sending->dataset;
    const char *series = dataset->series ? dataset->series_names[dataset->series[row]] : "";

    if (*series) {
        text_puts(body, ",\"series\":");
        text_json_string(body, series, strlen(series));
    }
    if (dataset->timestamps && !sending->inputs.preparation) {
        text_puts(body, ",\"timestamp\":");
        text_double(body, dataset->timestamps[row]);
    }
}

/* The normal rows from *first on that belong together, at most BATCH; *first is then the row behind
 * them. Returns how many. */
static size_t write_batch(const struct sending *sending, size_t *first, struct text *body)
{
    const struct dataset *dataset = &sending->dataset;
    size_t n = 0, last = 0;

    body->length = 0;
    text_puts(body, "{\"instances\":[");
    for (; *first < dataset->n_rows && n < BATCH; (*first)++) {
        if (!is_normal(dataset, *first))
            continue;
        if (n > 0 && !are_together(sending, last, *first))
            break;
        last = *first;
        text_puts(body, n++ > 0 ? "," : "");
        sent_row_append(dataset, *first, sending->inputs.preparation, sending->is_named, body);
    }
    text_puts(body, "]");
    if (n > 0)
        write_origin(sending, last, body);
    text_puts(body, "}");
    return n;
}

static int send_batch(struct sending *sending, const char *path, const struct text *body,
                      struct error *reterr)
{
    json_t *answer;

    if (text_failed(body))
        return -ENOMEM;
    int r = client_post(sending->client, path, body->data, body->length, &answer, reterr);
    if (r < 0)
        return r;
    json_decref(sending->answer);
    sending->answer = answer;
    if (json_object_get(answer, "rows_needed")) { /* "rows" are all that the model has */
        sending->is_first = true;
        return 0;
    }
    sending->n_kept += (size_t)json_integer_value(json_object_get(answer, "rows"));
    sending->n_late += (size_t)json_integer_value(json_object_get(answer, "late"));
    return 0;
}

static int send_rows(const struct settings *settings, struct sending *sending, struct error *reterr)
{
    const struct dataset *dataset = &sending->dataset;
    CLEANUP(text_clear) struct text path = {0}, body = {0};

    text_printf(&path, "/v1/models/%s/observe", settings->model);
    if (text_failed(&path))
        return -ENOMEM;
    for (size_t next = 0; next < dataset->n_rows;) {
        size_t first = next;
        struct error why = {0};

        while (first < dataset->n_rows - 1 && !is_normal(dataset, first))
            first++;
        const size_t n = write_batch(sending, &next, &body);
        int r = n > 0 ? send_batch(sending, path.data, &body, &why) : 0;
        if (r < 0 && *why.text)
            return error_set_at(reterr, r, input_name(settings->input.data), dataset->lines[first],
                                "and %zu rows after it: %s", n - 1, why.text);
        if (r < 0)
            return r;
        sending->n_sent += n;
    }
    if (sending->n_sent == 0)
        return error_set_at(reterr, -EINVAL, input_name(settings->input.data), 0,
                            "has no rows whose label is 0 or empty");
    return 0;
}

static int print_json(const struct sending *sending)
{
    CLEANUP(text_clear) struct text text = {0};

    text_printf(&text, "{\"rows\":%zu,\"left_out\":%zu", sending->n_sent,
                sending->dataset.n_rows - sending->n_sent);
    if (!sending->is_first)
        text_printf(&text, ",\"kept\":%zu,\"late\":%zu", sending->n_kept, sending->n_late);
    text_printf(&text, ",\"answer\":%s}\n", client_reply(sending->client));
    return output_text(&text);
}

static int print(const struct sending *sending, const char *model)
{
    const json_t *needed = json_object_get(sending->answer, "rows_needed");
    const size_t n_left_out = sending->dataset.n_rows - sending->n_sent;
    CLEANUP(text_clear) struct text text = {0};

    text_printf(&text, "%s: %zu rows sent", model, sending->n_sent);
    if (!sending->is_first)
        text_printf(&text, ", %zu kept, %zu late", sending->n_kept, sending->n_late);
    text_puts(&text, "\n");
    if (sending->n_late > 0)
        text_puts(&text, "Late rows are not newer than the newest of their series, and not learned "
                         "from\n");
    if (n_left_out > 0)
        text_printf(&text, "%zu rows left out: their label is not 0\n", n_left_out);
    if (needed)
        text_printf(&text, "It has %lld of the %lld rows that its first version needs\n",
                    (long long)json_integer_value(json_object_get(sending->answer, "rows")),
                    (long long)json_integer_value(needed));
    return output_text(&text);
}

static int run(const struct settings *settings)
{
    CLEANUP(sending_clear) struct sending sending = {0};
    struct error err = {0};

    const int status = online_connect(&settings->online, &sending.client);
    if (status != EXIT_DONE)
        return status;
    if (read_rows(settings, &sending, &err) < 0 || send_rows(settings, &sending, &err) < 0)
        return report_error(&err);
    return settings->online.json ? print_json(&sending) : print(&sending, settings->model);
}

int observe_main(int argc, char **argv)
{
    struct settings settings = {.online = ONLINE_DEFAULTS};
    int status;

    if (options_parse(&usage, argc, argv, &settings, &status)) {
        status = online_check_model("observe", settings.model);
        if (status == EXIT_DONE)
            status = run(&settings);
    }
    name_list_clear(&settings.input.exclude);
    return status;
}
