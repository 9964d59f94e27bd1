/* anomalyctl retrain, cancel, promote, rollback, feedback, freeze, unfreeze, rebaseline, reset -
 * what a person tells a model of a running daemon to do: one request and one row of the table below
 * each. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "base/number.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#define POLL_NS 200000000L

struct settings {
    const char *model, *number, *label; /* operands, in this order */
    struct online_options online;
    bool wait, yes;
};

static const struct option_row plain_rows[] = {ONLINE_ROWS};
static const struct option_row retrain_rows[] = {
    OPTION_ROW("wait", NULL, OPTION_FLAG, false, wait, "until the run has ended"),
    ONLINE_ROWS,
};
static const struct option_row reset_rows[] = {
    OPTION_ROW("yes", NULL, OPTION_FLAG, false, yes, "do it: what was learned cannot come back"),
    ONLINE_ROWS,
};

/* ---- what the answers say ---- */

static const char *string_of(const json_t *reply, const char *key)
{
    const char *string = json_string_value(json_object_get(reply, key));

    return string ? string : "?";
}

static long long number_of(const json_t *reply, const char *key)
{
    return (long long)json_integer_value(json_object_get(reply, key));
}

static void show_run(const json_t *reply, const char *model, struct text *text)
{
    const char *reason = json_string_value(json_object_get(reply, "reason"));
    const long long version = number_of(reply, "version");

    text_printf(text, "Run %lld of %s: %s", number_of(reply, "id"), model,
                string_of(reply, "state"));
    if (version)
        text_printf(text, " (version %lld)", version);
    text_printf(text, "%s%s\n", reason ? ": " : "", reason ? reason : "");
}

static void show_version(const json_t *reply, const char *model, struct text *text)
{
    text_printf(text, "Version %lld of %s answers now\n", number_of(reply, "version"), model);
}

static void show_label(const json_t *reply, const char *model, struct text *text)
{
    const long long incident = number_of(reply, "incident");

    text_printf(text, "Event %lld of %s: %s", number_of(reply, "event"), model,
                string_of(reply, "label"));
    if (incident)
        text_printf(text, ", and so is incident %lld, which it belongs to", incident);
    text_puts(text, "\n");
}

static void show_state(const json_t *reply, const char *model, struct text *text)
{
    text_printf(text, "%s: %s\n", model, string_of(reply, "state"));
}

/* ---- the table ---- */

struct action {
    const char *name, *operands, *description;
    const struct option_row *rows; /* [n_rows] */
    size_t n_rows;
    const char *path, *path_end; /* behind /v1/models/MODEL; path_end: behind the number, or NULL */
    void (*show)(const json_t *reply, const char *model, struct text *text);
    const char *numbered, *list; /* what the number is of, and the command that shows it */
    bool is_delete;              /* else a POST */
};

#define PLAIN_ROWS   plain_rows, sizeof(plain_rows) / sizeof(*plain_rows)
#define RETRAIN_ROWS retrain_rows, sizeof(retrain_rows) / sizeof(*retrain_rows)
#define RESET_ROWS   reset_rows, sizeof(reset_rows) / sizeof(*reset_rows)

static const char retrain_help[] =
    "Queues a training on what the model has learned from. Its candidate goes live\n"
    "only if it does not lose to the version that answers now. A refusal is a result,\n"
    "not a failure; with --wait a run that failed or was cancelled is exit status 1.";
static const char cancel_help[] =
    "Ends a training that waits or is under way; see anomalyctl runs MODEL. The model\n"
    "goes on as it is.";
static const char promote_help[] = "Lets another version answer; see anomalyctl versions MODEL.";
static const char rollback_help[] = "Lets the former version answer again.";
static const char feedback_help[] =
    "Says what an event was: an incident, or a single verdict, by the number that it\n"
    "came with; see anomalyctl events MODEL. Of a verdict in an incident it is said of\n"
    "the incident. Rows of a normal one are learned from, those of an anomaly never:\n"
    "later candidates are judged by whether they find it.";
static const char freeze_help[] = "Stops learning; the model goes on scoring.";
static const char unfreeze_help[] = "Resumes learning.";
static const char rebaseline_help[] =
    "Takes the version that answers now as the one that later ones are held against.";
static const char reset_help[] =
    "Forgets all rows that the model has learned from. Its versions stay.";

#define NO_NUMBER  NULL, NULL
#define OF_RUN     "a run", "runs"
#define OF_VERSION "a version", "versions"
#define OF_EVENT   "an event", "events"

static const struct action actions[] = {
    {"retrain",    "MODEL",                      retrain_help,    RETRAIN_ROWS, "/retrain",    NULL,       show_run,     NO_NUMBER, false},
    {"cancel",     "MODEL RUN",                  cancel_help,     PLAIN_ROWS,   "/runs/",      "",         show_run,     OF_RUN,    true },
    {"promote",    "MODEL VERSION",              promote_help,    PLAIN_ROWS,   "/versions/",  "/promote", show_version,
     OF_VERSION,                                                                                                                    false},
    {"rollback",   "MODEL",                      rollback_help,   PLAIN_ROWS,   "/rollback",   NULL,       show_version, NO_NUMBER,
     false                                                                                                                               },
    {"feedback",   "MODEL EVENT normal|anomaly", feedback_help,   PLAIN_ROWS,   "/feedback",   NULL,
     show_label,                                                                                                         OF_EVENT,  false},
    {"freeze",     "MODEL",                      freeze_help,     PLAIN_ROWS,   "/freeze",     NULL,       show_state,   NO_NUMBER, false},
    {"unfreeze",   "MODEL",                      unfreeze_help,   PLAIN_ROWS,   "/unfreeze",   NULL,       show_state,   NO_NUMBER,
     false                                                                                                                               },
    {"rebaseline", "MODEL",                      rebaseline_help, PLAIN_ROWS,   "/rebaseline", NULL,       show_state,   NO_NUMBER,
     false                                                                                                                               },
    {"reset",      "MODEL",                      reset_help,      RESET_ROWS,   "/reset",      NULL,       show_state,   NO_NUMBER, false},
};

#define N_ACTIONS (sizeof(actions) / sizeof(*actions))

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    assert(!"a command that main.c sends here has no row");
    return NULL;
}

/* ---- doing it ---- */

static int check(const struct action *action, const struct settings *settings, uint64_t *ret_number)
{
    const char *number = settings->number, *label = settings->label;
    const uint64_t most = action->show == show_version ? UINT_MAX : INT64_MAX;

    if (number && (number_parse_u64(number, strlen(number), ret_number) < 0 || *ret_number == 0 ||
                   *ret_number > most)) {
        (void)report_failure("%s: %s: must be the number of %s; see anomalyctl %s %s", action->name,
                             *number ? number : "\"\"", action->numbered, action->list,
                             settings->model);
        return EXIT_USAGE;
    }
    if (label && strcmp(label, "normal") != 0 && strcmp(label, "anomaly") != 0) {
        (void)report_failure("%s: %s: must be normal or anomaly", action->name,
                             *label ? label : "\"\"");
        return EXIT_USAGE;
    }
    if (action->rows == reset_rows && !settings->yes) {
        (void)report_failure("reset: would forget what %s has learned from; give --yes to do it",
                             settings->model);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static void write_request(const struct action *action, const struct settings *settings,
                          uint64_t number, struct text *path, struct text *body)
{
    text_printf(path, "/v1/models/%s%s", settings->model, action->path);
    if (action->path_end)
        text_printf(path, "%llu%s", (unsigned long long)number, action->path_end);
    text_puts(body, "");
    if (settings->label)
        text_printf(body, "{\"event\":%llu,\"label\":\"%s\"}", (unsigned long long)number,
                    settings->label);
}

static bool is_state(const json_t *run, const char *state)
{
    return strcmp(string_of(run, "state"), state) == 0;
}

/* Asks again and again until the run has ended; *run is replaced by what it became. */
static int wait_for_run(struct client *client, const char *model, json_t **run,
                        struct error *reterr)
{
    CLEANUP(text_clear) struct text path = {0};

    text_printf(&path, "/v1/models/%s/runs/%lld", model, number_of(*run, "id"));
    if (text_failed(&path))
        return -ENOMEM;
    while (is_state(*run, "queued") || is_state(*run, "running")) {
        json_t *now;
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
        int r = client_get(client, path.data, &now, reterr);
        if (r < 0)
            return r;
        json_decref(*run);
        *run = now;
    }
    return 0;
}

static int send_request(const struct action *action, struct client *client, const struct text *path,
                        const struct text *body, json_t **ret_reply, struct error *reterr)
{
    return action->is_delete
               ? client_delete(client, path->data, ret_reply, reterr)
               : client_post(client, path->data, body->data, body->length, ret_reply, reterr);
}

static int run(const struct action *action, const struct settings *settings, uint64_t number)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(text_clear) struct text path = {0}, body = {0}, text = {0};
    json_auto_t *reply = NULL;
    struct error err = {0};

    int status = online_connect(&settings->online, &client);
    if (status != EXIT_DONE)
        return status;
    write_request(action, settings, number, &path, &body);
    if (text_failed(&path) || text_failed(&body) ||
        send_request(action, client, &path, &body, &reply, &err) < 0 ||
        (settings->wait && wait_for_run(client, settings->model, &reply, &err) < 0))
        return report_error(&err);

    const bool is_failed =
        settings->wait && (is_state(reply, "failed") || is_state(reply, "cancelled"));
    action->show(reply, settings->model, &text);
    if (settings->online.json)
        status = online_print_reply(client);
    else if (!is_failed)
        status = output_text(&text);
    if (!is_failed || status != EXIT_DONE || text_failed(&text))
        return status;
    return report_failure("%.*s", (int)text.length - 1, text.data);
}

int manage_main(int argc, char **argv)
{
    const struct action *action = find_action(argv[0]);
    const struct usage usage = {
        .command = action->name,
        .operand = action->operands,
        .operand_offset = offsetof(struct settings, model),
        .description = action->description,
        .rows = action->rows,
        .n_rows = action->n_rows,
    };
    struct settings settings = {.online = ONLINE_DEFAULTS};
    uint64_t number = 0;
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    status = online_check_model(action->name, settings.model);
    if (status == EXIT_DONE)
        status = check(action, &settings, &number);
    return status == EXIT_DONE ? run(action, &settings, number) : status;
}
