/* anomalyctl status - is the daemon ready, and how far is each model? */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "anomalyctl/table.h"
#include "base/text.h"

#include <errno.h>

struct settings {
    struct online_options online;
};

static const struct option_row rows[] = {ONLINE_ROWS};

static const struct usage usage = {
    .command = "status",
    .description = "Shows whether a running anomalyd is ready, and of each model which version\n"
                   "answers, how many rows it learns from (and needs for its first version) and\n"
                   "how many are in quarantine; warns if nothing can be learned. Exit status 1 if\n"
                   "the daemon is not ready.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

static const struct table_column columns[] = {
    {"MODEL",      "name",        false},
    {"STATE",      "state",       false},
    {"VERSION",    "version",     true },
    {"ROWS",       "rows",        true },
    {"NEEDED",     "rows_needed", true },
    {"QUARANTINE", "quarantined", true },
};

/* An unready daemon refuses with a problem that tells its reasons; that is an answer here. */
static int ask_readiness(struct client *client, json_t **ret_readiness, bool *ret_is_ready,
                         struct error *reterr)
{
    int r = client_get(client, "/readyz", ret_readiness, reterr);
    *ret_is_ready = r == 0;
    if (r != -EPROTO)
        return r;
    json_t *problem = json_loads(client_reply(client), 0, NULL);
    if (!json_is_array(json_object_get(problem, "reasons"))) {
        json_decref(problem);
        return r;
    }
    *ret_readiness = problem;
    return 0;
}

/* Adds what the daemon says at the end of the model's path; a refusal adds nothing: without a store
 * there is no buffer. keys: only those. */
static int add(struct client *client, json_t *model, const char *end, const char *const *keys,
               size_t n_keys, struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};
    json_auto_t *answer = NULL;

    text_printf(&path, "/v1/models/%s%s", json_string_value(json_object_get(model, "name")), end);
    if (text_failed(&path))
        return -ENOMEM;
    int r = client_get(client, path.data, &answer, reterr);
    if (r < 0)
        return r == -EPROTO ? 0 : r;
    for (size_t i = 0; i < n_keys; i++) {
        json_t *value = json_object_get(answer, keys[i]);
        if (value && json_object_set(model, keys[i], value) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int ask_models(struct client *client, json_t **ret_models, struct error *reterr)
{
    static const char *const progress[] = {"rows_needed"};
    static const char *const buffer[] = {"rows", "capacity", "quarantined"};
    json_auto_t *reply = NULL;

    int r = client_get(client, "/v1/models", &reply, reterr);
    json_t *models = json_object_get(reply, "models");
    for (size_t i = 0; r == 0 && i < json_array_size(models); i++) {
        json_t *model = json_array_get(models, i);
        const char *name = json_string_value(json_object_get(model, "name"));
        if (!name || !online_is_model_name(name))
            return error_set(reterr, -EPROTO, "the answer names no models; is this anomalyd?");
        r = add(client, model, "/buffer", buffer, sizeof(buffer) / sizeof(*buffer), reterr);
        if (r == 0)
            r = add(client, model, "", progress, sizeof(progress) / sizeof(*progress), reterr);
    }
    if (r == 0)
        *ret_models = json_incref(models);
    return r;
}

static int print_json(json_t *readiness, json_t *models)
{
    json_auto_t *both = json_pack("{s:O,s:O}", "readiness", readiness, "models", models);
    AUTO_FREE char *written = both ? json_dumps(both, JSON_COMPACT) : NULL;
    CLEANUP(text_clear) struct text text = {0};

    if (!written)
        return report_error(&(struct error){0});
    text_printf(&text, "%s\n", written);
    return output_text(&text);
}

/* One line each. */
static void put_lines(const json_t *lines, const char *before, struct text *text)
{
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        text_printf(text, "%s%s\n", before, line ? line : "");
    }
}

static int print(const char *url, const json_t *readiness, bool is_ready, const json_t *models)
{
    CLEANUP(text_clear) struct text text = {0};

    text_printf(&text, "%s: %s\n", url, is_ready ? "ready" : "not ready");
    put_lines(json_object_get(readiness, "reasons"), "", &text);
    put_lines(json_object_get(readiness, "warnings"), "warning: ", &text);
    text_puts(&text, "\n");
    table_print(models, columns, sizeof(columns) / sizeof(*columns), "error", &text);
    return output_text(&text);
}

int status_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    json_auto_t *readiness = NULL, *models = NULL;
    struct settings settings = {.online = ONLINE_DEFAULTS};
    struct error err = {0};
    bool is_ready;
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = online_connect(&settings.online, &client);
    if (status != EXIT_DONE)
        return status;
    if (ask_readiness(client, &readiness, &is_ready, &err) < 0 ||
        ask_models(client, &models, &err) < 0)
        return report_error(&err);
    status = settings.online.json ? print_json(readiness, models)
                                  : print(settings.online.url, readiness, is_ready, models);
    return status == EXIT_DONE && !is_ready ? EXIT_FAILED : status;
}
