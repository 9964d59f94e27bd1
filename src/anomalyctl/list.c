/* anomalyctl models, versions, runs, events, incidents, audit - the daemon's lists: one GET and one
 * row of the table below each. */
#include "anomalyctl/commands.h"
#include "anomalyctl/online.h"
#include "anomalyctl/output.h"
#include "anomalyctl/table.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

struct settings {
    const char *model;
    struct online_options online;
    bool verdicts, open;
};

static const struct option_row rows[] = {ONLINE_ROWS};
static const struct option_row event_rows[] = {
    OPTION_ROW("verdicts", NULL, OPTION_FLAG, false, verdicts,
               "the anomalous verdicts instead of all else"),
    ONLINE_ROWS,
};

static const struct option_row incident_rows[] = {
    OPTION_ROW("open", NULL, OPTION_FLAG, false, open, "only those that go on"),
    ONLINE_ROWS,
};

static const struct table_column model_columns[] = {
    {"MODEL",   "name",    false},
    {"STATE",   "state",   false},
    {"VERSION", "version", true },
};
static const struct table_column version_columns[] = {
    {"VERSION", "version", true },
    {"STATE",   "state",   false},
    {"PINNED",  "pinned",  false},
    {"MADE",    "made_at", false},
    {"ORIGIN",  "origin",  false},
    {"RUN",     "run",     true },
    {"ROWS",    "rows",    true },
};
static const struct table_column run_columns[] = {
    {"RUN",     "id",        true },
    {"STATE",   "state",     false},
    {"DONE",    "progress",  true },
    {"TRIGGER", "trigger",   false},
    {"QUEUED",  "queued_at", false},
    {"VERSION", "version",   true },
};
static const struct table_column event_columns[] = {
    {"EVENT",  "id",     true },
    {"KIND",   "kind",   false},
    {"TIME",   "time",   false},
    {"OPEN",   "open",   false},
    {"LABEL",  "label",  false},
    {"SERIES", "series", false},
};
static const struct table_column verdict_columns[] = {
    {"EVENT",    "id",           true },
    {"TIME",     "time",         false},
    {"SCORE",    "detail.score", true },
    {"INCIDENT", "incident",     true },
    {"LABEL",    "label",        false},
    {"SERIES",   "series",       false},
};
static const struct table_column incident_columns[] = {
    {"INCIDENT", "id",         true },
    {"BY",       "opened_by",  false},
    {"OPENED",   "opened_at",  false},
    {"OPEN",     "open",       false},
    {"ROWS",     "rows",       true },
    {"PEAK",     "peak.score", true },
    {"LABEL",    "label",      false},
    {"SERIES",   "series",     false},
};
static const struct table_column audit_columns[] = {
    {"TIME",   "time",   false},
    {"WHO",    "who",    false},
    {"ACT",    "act",    false},
    {"DETAIL", "detail", false},
};

#define COLUMNS(columns) columns, sizeof(columns) / sizeof(*(columns))
#define ROWS(rows)       rows, sizeof(rows) / sizeof(*(rows))

static const char models_help[] =
    "Lists the models of a running anomalyd, and why one cannot score.";
static const char versions_help[] =
    "Lists a model's versions: live answers now, former is what rollback brings back,\n"
    "refused is a candidate kept for inspection. Candidates are held against the\n"
    "pinned one, too.";
static const char runs_help[] = "Lists a model's trainings, what came of them and why.";
static const char events_help[] =
    "Lists what happened to a model and what to do about it, or its anomalous verdicts;\n"
    "--json tells all. Answer with anomalyctl feedback MODEL EVENT normal|anomaly.";
static const char incidents_help[] =
    "Lists stretches of trouble in a series, newest first, what each blames, and how\n"
    "bad its worst row was. Those of BY alarm are worth waking somebody for; hard and\n"
    "soft only keep rows from learning. Answer with\n"
    "anomalyctl feedback MODEL INCIDENT normal|anomaly; anomalyctl incident export\n"
    "writes the rows around one.";
static const char audit_help[] = "Lists what people have done to a model: who, when and what.";

/* name is also the key of the answer's array, and the end of its path. */
static const struct list {
    const char *name;
    bool is_of_model;
    const char *description;
    const struct table_column *columns;
    size_t n_columns;
    const char *note;
    const struct option_row *rows;
    size_t n_rows;
} lists[] = {
    {"models",    false, models_help,    COLUMNS(model_columns),    "error",  ROWS(rows)         },
    {"versions",  true,  versions_help,  COLUMNS(version_columns),  NULL,     ROWS(rows)         },
    {"runs",      true,  runs_help,      COLUMNS(run_columns),      "reason", ROWS(rows)         },
    {"events",    true,  events_help,    COLUMNS(event_columns),    "advice", ROWS(event_rows)   },
    {"incidents", true,  incidents_help, COLUMNS(incident_columns), "reason", ROWS(incident_rows)},
    {"audit",     true,  audit_help,     COLUMNS(audit_columns),    NULL,     ROWS(rows)         },
};
static const struct list verdicts = {
    "events", true, events_help, COLUMNS(verdict_columns), NULL, ROWS(event_rows),
};

#define N_LISTS (sizeof(lists) / sizeof(*lists))

static const struct list *find_list(const char *name)
{
    for (size_t i = 0; i < N_LISTS; i++)
        if (strcmp(lists[i].name, name) == 0)
            return &lists[i];
    assert(!"a command that main.c sends here has no row");
    return NULL;
}

static int run(const struct list *list, const struct settings *settings)
{
    CLEANUP(client_freep) struct client *client = NULL;
    CLEANUP(text_clear) struct text path = {0}, text = {0};
    json_auto_t *reply = NULL;
    struct error err = {0};

    const int status = online_connect(&settings->online, &client);
    if (status != EXIT_DONE)
        return status;
    if (list->is_of_model)
        text_printf(&path, "/v1/models/%s/%s%s", settings->model, list->name,
                    list == &verdicts ? "?kind=verdict"
                    : settings->open  ? "?open=true"
                                      : "");
    else
        text_printf(&path, "/v1/%s", list->name);
    if (text_failed(&path) || client_get(client, path.data, &reply, &err) < 0)
        return report_error(&err);
    if (settings->online.json)
        return online_print_reply(client);
    table_print(json_object_get(reply, list->name), list->columns, list->n_columns, list->note,
                &text);
    return output_text(&text);
}

int list_main(int argc, char **argv)
{
    const struct list *list = find_list(argv[0]);
    const struct usage usage = {
        .command = list->name,
        .operand = list->is_of_model ? "MODEL" : NULL,
        .operand_offset = offsetof(struct settings, model),
        .description = list->description,
        .rows = list->rows,
        .n_rows = list->n_rows,
    };
    struct settings settings = {.online = ONLINE_DEFAULTS};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    if (list->is_of_model)
        status = online_check_model(list->name, settings.model);
    if (status != EXIT_DONE)
        return status;
    return run(settings.verdicts ? &verdicts : list, &settings);
}
