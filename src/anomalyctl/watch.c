/* anomalyctl watch - follows what happens to the models of a running daemon, a line an event. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RETRY_S      1
#define LAST_ID_SIZE 24

struct settings {
    const char *model, *kind;
    struct online_options online;
};

static const struct option_row rows[] = {
    OPTION_ROW("model", "NAME", OPTION_TEXT, false, model, "only what happens to this one"),
    OPTION_ROW("kind", "KIND", OPTION_TEXT, false, kind, "only such events: incident, promoted, …"),
    ONLINE_ROWS,
};

static const struct usage usage = {
    .command = "watch",
    .description =
        "Shows what happens to the models of a running anomalyd, as it happens: when,\n"
        "to which, what, and what is to blame or to be done; --json prints each event as\n"
        "a line of JSON. Goes on until it is interrupted, also over a restart of the\n"
        "daemon, and misses nothing that is in its log.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* A stream of server-sent events on its way in. */
struct watch {
    bool json;
    struct text line;           /* that is not complete yet */
    struct text data;           /* of the message */
    char last_id[LAST_ID_SIZE]; /* "": none yet */
    bool is_connected, was_dropped;
    int status; /* of writing */
};

static void watch_clear(struct watch *watch)
{
    text_clear(&watch->line);
    text_clear(&watch->data);
}

/* ---- an event for people ---- */

static const char *string_of(const json_t *event, const char *key)
{
    const char *value = json_string_value(json_object_get(event, key));

    return value ? value : "";
}

/* "2024-03-01T12:30:00Z web: incident 8121 of db is over: disk_io 91 (expected 12)" */
static void print_event(const json_t *event, struct text *text)
{
    const char *series = string_of(event, "series"), *reason = string_of(event, "reason");
    const char *kind = string_of(event, "kind");
    const bool is_incident = strcmp(kind, "incident") == 0;
    const bool is_over = is_incident && !json_is_true(json_object_get(event, "open"));
    char shown[TEXT_SHOWN_SIZE];

    text_printf(text, "%s %s: %s %lld", string_of(event, is_over ? "ended_at" : "time"),
                string_of(event, "model"), kind, json_integer_value(json_object_get(event, "id")));
    if (*series)
        text_printf(text, " of %s", text_show(shown, series, strlen(series)));
    text_puts(text, is_over ? " is over" : "");
    if (!*reason)
        reason = string_of(event, "advice");
    text_printf(text, "%s%s\n", *reason ? ": " : "", reason);
}

static void take_message(struct watch *watch)
{
    CLEANUP(text_clear) struct text text = {0};
    json_auto_t *event = json_loadb(watch->data.data, watch->data.length, 0, NULL);

    if (watch->was_dropped)
        report_warning("watch: %s; going on from there", string_of(event, "reason"));
    else if (watch->json)
        text_printf(&text, "%s\n", watch->data.data);
    else
        print_event(event, &text);
    watch->data.length = 0;
    watch->status = output_text(&text);
}

/* ---- the stream ---- */

/* What stands behind "NAME: " in line; NULL: it is another field. */
static const char *field(const char *line, const char *name)
{
    const size_t length = strlen(name);

    return strncmp(line, name, length) == 0 && strncmp(line + length, ": ", 2) == 0
               ? line + length + 2
               : NULL;
}

static void take_line(struct watch *watch, const char *line)
{
    const char *id = field(line, "id"), *event = field(line, "event");
    const char *data = field(line, "data");

    if (id)
        (void)snprintf(watch->last_id, sizeof(watch->last_id), "%s", id);
    if (event)
        watch->was_dropped = strcmp(event, "dropped") == 0;
    if (data)
        text_puts(&watch->data, data);
    if (!*line && watch->data.length > 0)
        take_message(watch);
}

/* False: no more is wanted. */
static bool take(void *userdata, const char *bytes, size_t n)
{
    struct watch *watch = userdata;

    watch->is_connected = true;
    for (const char *end; (end = memchr(bytes, '\n', n)); bytes = end + 1) {
        const size_t length = (size_t)(end - bytes);
        text_append(&watch->line, bytes, length);
        if (text_failed(&watch->line) || text_failed(&watch->data))
            return false;
        take_line(watch, watch->line.data);
        watch->line.length = 0;
        n -= length + 1;
    }
    text_append(&watch->line, bytes, n);
    return watch->status == EXIT_DONE && !text_failed(&watch->line);
}

static int put_path(const struct settings *settings, struct text *path)
{
    text_puts(path, "/v1/events");
    if (settings->model)
        text_printf(path, "?model=%s", settings->model);
    if (settings->kind)
        text_printf(path, "%skind=%s", settings->model ? "&" : "?", settings->kind);
    return text_failed(path) ? -ENOMEM : 0;
}

static int follow(const struct settings *settings, struct client *client)
{
    CLEANUP(watch_clear) struct watch watch = {.json = settings->online.json};
    CLEANUP(text_clear) struct text path = {0};
    struct error err = {0};
    bool is_away = false;

    if (put_path(settings, &path) < 0)
        return report_error(&err);
    for (;;) {
        watch.line.length = watch.data.length = 0; /* half a message is none */
        int r = client_follow(client, path.data, *watch.last_id ? watch.last_id : NULL, take,
                              &watch, &err);
        if (watch.status != EXIT_DONE)
            return watch.status;
        if (text_failed(&watch.line) || text_failed(&watch.data) || r == -ENOMEM)
            return report_error(&(struct error){0});
        if (r < 0 && !watch.is_connected) /* never */
            return report_error(&err);
        if (r < 0 && !is_away)
            report_warning("watch: %s: the daemon is away; waiting for it", settings->online.url);
        is_away = r < 0;
        (void)nanosleep(&(struct timespec){.tv_sec = RETRY_S}, NULL);
    }
}

/* A kind goes into a query as it is. */
static int check(const struct settings *settings)
{
    if (settings->kind &&
        (!*settings->kind ||
         strspn(settings->kind, "abcdefghijklmnopqrstuvwxyz_") < strlen(settings->kind))) {
        (void)report_failure("watch: --kind %s: is no kind of an event",
                             *settings->kind ? settings->kind : "\"\"");
        return EXIT_USAGE;
    }
    return settings->model ? online_check_model(usage.command, settings->model) : EXIT_DONE;
}

int watch_main(int argc, char **argv)
{
    CLEANUP(client_freep) struct client *client = NULL;
    struct settings settings = {.online = ONLINE_DEFAULTS};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = check(&settings);
    if (status == EXIT_DONE)
        status = online_connect(&settings.online, &client);
    return status == EXIT_DONE ? follow(&settings, client) : status;
}
