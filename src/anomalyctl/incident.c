/* anomalyctl incident export - the rows around an incident, as the model saw them, into a file. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

struct settings {
    const char *verb, *id; /* operands, in this order */
    const char *model, *output, *with_model;
    struct online_options online;
};

static const struct option_row rows[] = {
    OPTION_ROW("model", "NAME", OPTION_TEXT, false, model,
               "the model (that which has this incident)"),
    OPTION_ROW("output", "FILE", OPTION_TEXT, false, output, "write it there, not to stdout"),
    OPTION_ROW("with-model", "FILE", OPTION_TEXT, false, with_model,
               "write the model file of the version that judged most\nof the rows, too"),
    ONLINE_ROWS,
};

static const struct usage usage = {
    .command = "incident",
    .operand = "export ID",
    .operand_offset = offsetof(struct settings, verb),
    .description =
        "Writes the rows around an incident, as the model saw them, with what it said of\n"
        "each: a first line of JSON with the incident, a further one a row. What\n"
        "anomalyctl replay --incident takes, to see whether it is said again. With --output\n"
        "one line says what was written.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* ---- whose it is ---- */

/* 1: the model has it; 0: it does not. */
static int has_incident(struct client *client, const char *model, const char *id,
                        struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};
    json_auto_t *reply = NULL;

    text_printf(&path, "/v1/models/%s/incidents/%s", model, id);
    if (text_failed(&path))
        return -ENOMEM;
    int r = client_get(client, path.data, &reply, reterr);
    if (r == -EPROTO && client_status(client) == 404)
        return 0;
    return r < 0 ? r : 1;
}

/* Ids are given out over all models. */
static int find_model(struct client *client, const char *id, char **ret_model, struct error *reterr)
{
    json_auto_t *reply = NULL;

    int r = client_get(client, "/v1/models", &reply, reterr);
    const json_t *models = json_object_get(reply, "models");
    for (size_t i = 0; r == 0 && i < json_array_size(models); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(models, i), "name"));
        if (name && online_is_model_name(name))
            r = has_incident(client, name, id, reterr);
        if (r > 0) {
            *ret_model = strdup(name);
            return *ret_model ? 0 : -ENOMEM;
        }
    }
    return r < 0 ? r
                 : error_set(reterr, -ENOENT,
                             "incident: no model has an incident %s; see anomalyctl incidents "
                             "MODEL",
                             id);
}

/* ---- what is written ---- */

static int write_bytes(const char *path, const char *data, size_t size, struct error *reterr)
{
    struct iovec part = {.iov_len = size};

    memcpy(&part.iov_base, &data, sizeof(data)); /* it is only read */
    return file_write(path, &part, 1, reterr);
}

/* A row's "version"; 0: the line is none. */
static unsigned version_of(const char *line, size_t length)
{
    json_auto_t *row = json_loadb(line, length, 0, NULL);

    return (unsigned)json_integer_value(json_object_get(row, "version"));
}

/* That judged most rows of an export. */
static unsigned main_version(const char *data)
{
    unsigned version = 0;
    size_t lead = 0; /* majority vote (Boyer and Moore): most, if that is more than half */

    for (const char *line = strchr(data, '\n'); line && line[1];) {
        const char *end = strchr(++line, '\n');
        const unsigned other = version_of(line, end ? (size_t)(end - line) : strlen(line));
        if (lead == 0)
            version = other;
        lead = other == version ? lead + 1 : lead - 1;
        line = end;
    }
    return version;
}

static int write_model(struct client *client, const char *model, unsigned version, const char *path,
                       struct error *reterr)
{
    CLEANUP(text_clear) struct text from = {0};
    const char *data = NULL;
    size_t size = 0;

    text_printf(&from, "/v1/models/%s/versions/%u/file", model, version);
    if (text_failed(&from))
        return -ENOMEM;
    int r = client_get_bytes(client, from.data, &data, &size, reterr);
    return r < 0 ? r : write_bytes(path, data, size, reterr);
}

static void warn_of_gaps(const char *data, const char *id)
{
    json_auto_t *header = json_loadb(data, strcspn(data, "\n"), 0, NULL);
    const long long n_missing = json_integer_value(json_object_get(header, "missing"));
    const long long n_left_out = json_integer_value(json_object_get(header, "left_out"));

    if (n_missing > 0)
        report_warning("incident %s: up to %lld rows are missing, the daemon could not take them",
                       id, n_missing);
    if (n_left_out > 0)
        report_warning("incident %s: it is longer, %lld rows of it are not kept", id, n_left_out);
}

/* Of what went into a file. */
static void put_result(const struct settings *settings, const char *model, unsigned version,
                       struct text *text)
{
    if (!settings->online.json) {
        text_printf(text, "Incident %s of %s is in %s, judged by version %u\n", settings->id, model,
                    settings->output, version);
        return;
    }
    text_printf(text, "{\"incident\":%s,\"model\":\"%s\",\"version\":%u,\"file\":", settings->id,
                model, version);
    text_json_string(text, settings->output, strlen(settings->output));
    text_puts(text, "}\n");
}

static int export(struct client *client, const struct settings *settings, const char *model,
                  struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0}, text = {0};
    const char *data = NULL;
    size_t size = 0;

    text_printf(&path, "/v1/models/%s/incidents/%s/rows", model, settings->id);
    if (text_failed(&path))
        return -ENOMEM;
    int r = client_get_bytes(client, path.data, &data, &size, reterr);
    if (r < 0)
        return r;
    warn_of_gaps(data, settings->id);
    const unsigned version = main_version(data);
    if (settings->output)
        r = write_bytes(settings->output, data, size, reterr);
    else
        text_append(&text, data, size);
    if (settings->output)
        put_result(settings, model, version, &text);
    if (r == 0 && settings->with_model)
        r = write_model(client, model, version, settings->with_model, reterr);
    if (r == 0 && text_failed(&text))
        r = -ENOMEM;
    return r < 0 ? r : output_text(&text);
}

static int check(const struct settings *settings, struct error *reterr)
{
    uint64_t id = 0;

    if (strcmp(settings->verb, "export") != 0) {
        (void)report_failure("incident: %s: must be export; see anomalyctl incident --help",
                             *settings->verb ? settings->verb : "\"\"");
        return EXIT_USAGE;
    }
    if (number_parse_u64(settings->id, strlen(settings->id), &id) < 0 || id == 0 ||
        id > INT64_MAX || *settings->id == '0') {
        (void)report_failure("incident: %s: must be the number of an incident; see anomalyctl "
                             "incidents MODEL",
                             *settings->id ? settings->id : "\"\"");
        return EXIT_USAGE;
    }
    if (settings->model && online_check_model(usage.command, settings->model) != EXIT_DONE)
        return EXIT_USAGE;
    if (settings->output && settings->with_model &&
        output_check_other("--with-model", settings->with_model, "--output", settings->output,
                           reterr) < 0)
        return report_error(reterr);
    return EXIT_DONE;
}

int incident_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    AUTO_FREE char *found = NULL;
    struct settings settings = {.online = ONLINE_DEFAULTS};
    struct error err = {0};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = check(&settings, &err);
    if (status == EXIT_DONE)
        status = online_connect(&settings.online, &client);
    if (status != EXIT_DONE)
        return status;
    int r = settings.model ? 0 : find_model(client, settings.id, &found, &err);
    if (r == 0)
        r = export(client, &settings, settings.model ? settings.model : found, &err);
    return r < 0 ? report_error(&err) : r;
}
