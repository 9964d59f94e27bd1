/* anomalyctl maintenance - windows in which a model opens no alarms, or learns nothing. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "anomalyctl/table.h"
#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

struct settings {
    const char *model, *span, *from, *until;
    bool keep_alarms, keep_learning, end;
    size_t end_id;
    struct online_options online;
};

static const struct option_row rows[] = {
    OPTION_ROW("model", "NAME", OPTION_TEXT, true, model, "the model"),
    OPTION_ROW("for", "DURATION", OPTION_TEXT, false, span,
               "begin a window that lasts so long: 2h"),
    OPTION_ROW("from", "TIME", OPTION_TEXT, false, from, "when it begins (now)"),
    OPTION_ROW("until", "TIME", OPTION_TEXT, false, until, "when it ends, instead of --for"),
    OPTION_ROW("keep-alarms", NULL, OPTION_FLAG, false, keep_alarms,
               "open alarms in it all the same"),
    OPTION_ROW("keep-learning", NULL, OPTION_FLAG, false, keep_learning,
               "learn from its rows all the same"),
    OPTION_ROW("end", NULL, OPTION_FLAG, false, end, "end all windows"),
    OPTION_ROW("end-window", "ID", OPTION_COUNT, false, end_id, "end one of them"),
    ONLINE_ROWS,
};

static const struct usage usage = {
    .command = "maintenance",
    .description =
        "Begins or ends a window of maintenance, in which a model opens no alarms and\n"
        "learns nothing from rows that it scores; without --for, --until or --end it lists\n"
        "them. Those of the configuration (maintenance = …) are not listed.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

static const struct table_column columns[] = {
    {"WINDOW",      "id",            true },
    {"FROM",        "from",          false},
    {"UNTIL",       "until",         false},
    {"NO ALARMS",   "skip_alarms",   false},
    {"NO LEARNING", "skip_learning", false},
    {"WHO",         "who",           false},
};

static void put_member(struct text *body, const char *key, const char *value)
{
    if (!value)
        return;
    text_printf(body, ",\"%s\":", key);
    text_json_string(body, value, strlen(value));
}

static void put_window(const struct settings *settings, struct text *body)
{
    text_printf(body, "{\"skip_alarms\":%s,\"skip_learning\":%s",
                settings->keep_alarms ? "false" : "true",
                settings->keep_learning ? "false" : "true");
    put_member(body, "for", settings->span);
    put_member(body, "from", settings->from);
    put_member(body, "until", settings->until);
    text_puts(body, "}");
}

static int ask(const struct settings *settings, struct client *client, json_t **ret_reply,
               struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0}, body = {0};

    text_printf(&path, "/v1/models/%s/maintenance", settings->model);
    if (settings->end_id)
        text_printf(&path, "/%zu", settings->end_id);
    put_window(settings, &body);
    if (text_failed(&path) || text_failed(&body))
        return -ENOMEM;
    if (settings->end || settings->end_id)
        return client_delete(client, path.data, ret_reply, reterr);
    if (settings->span || settings->until)
        return client_post(client, path.data, body.data, body.length, ret_reply, reterr);
    return client_get(client, path.data, ret_reply, reterr);
}

static void print_answer(const json_t *reply, struct text *text)
{
    const json_t *now = json_object_get(reply, "now");
    const json_t *windows = json_object_get(reply, "windows");
    const bool no_alarms = json_is_true(json_object_get(now, "skip_alarms"));
    const bool no_learning = json_is_true(json_object_get(now, "skip_learning"));

    text_printf(text, "%s: now %s\n", json_string_value(json_object_get(reply, "model")),
                no_alarms && no_learning ? "no alarms, no learning"
                : no_alarms              ? "no alarms"
                : no_learning            ? "no learning"
                                         : "no maintenance");
    if (json_array_size(windows) > 0)
        table_print(windows, columns, sizeof(columns) / sizeof(*columns), NULL, text);
}

static int check(const struct settings *settings)
{
    const bool begins = settings->span || settings->until || settings->from;

    if (begins && (settings->end || settings->end_id)) {
        (void)report_failure("maintenance: give --end or the times of a window, not both");
        return EXIT_USAGE;
    }
    if (settings->from && !settings->span && !settings->until) {
        (void)report_failure("maintenance: --from needs --for or --until");
        return EXIT_USAGE;
    }
    return online_check_model(usage.command, settings->model);
}

int maintenance_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(text_clear) struct text text = {0};
    json_auto_t *reply = NULL;
    struct settings settings = {.online = ONLINE_DEFAULTS};
    struct error err = {0};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = check(&settings);
    if (status == EXIT_DONE)
        status = online_connect(&settings.online, &client);
    if (status != EXIT_DONE)
        return status;
    if (ask(&settings, client, &reply, &err) < 0)
        return report_error(&err);
    if (settings.online.json)
        return online_print_reply(client);
    print_answer(reply, &text);
    return output_text(&text);
}
