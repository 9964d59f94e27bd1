/* anomalyctl score - one verdict a row, as CSV for people's tools or NDJSON with all detail. */
#include "anomalyctl/commands.h"
#include "anomalyctl/judged.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "base/text.h"
#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"
#include "detector/movement.h"
#include "detector/verdict_json.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *model, *format;
    struct input_options input;
    size_t explain;
    bool independent_rows, detail, json;
};

static const struct option_row rows[] = {
    OPTION_ROW("model", "FILE", OPTION_TEXT, true, model, "model file made by anomalyctl train"),
    OPTION_ROW("data", "FILE", OPTION_TEXT, true, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, false, input.label_column,
               "column of labels; it is not a feature"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
    OPTION_ROW("format", "csv|ndjson", OPTION_TEXT, false, format, "csv unless said"),
    OPTION_ROW("explain", "N", OPTION_COUNT, false, explain,
               "give every row its N largest contributions (ndjson)"),
    OPTION_ROW("detail", NULL, OPTION_FLAG, false, detail,
               "with --explain: each feature's part of the error, and what would\n"
               "have to change for the row to be normal"),
    OPTION_ROW("independent-rows", NULL, OPTION_FLAG, false, independent_rows,
               "the file is no series: what came before a row tells nothing about it"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json, "the same as --format ndjson"),
};

static const struct usage usage = {
    .command = "score",
    .description =
        "Judges every row of a file and writes one verdict a row to standard output:\n"
        "CSV columns row,reconstruction_error,score,p_value,anomaly or one JSON object\n"
        "a line. A row is an anomaly if its score is above 1. Rows count from 0.\n"
        "A missing value (empty cell, NaN) is taken as its training median and listed\n"
        "as imputed (ndjson). Columns match the model by name, in any order. Features are\n"
        "prepared as they were for training; that may need a column timestamp.\n"
        "The rows are one series in the order of the file, or the series that a column\n"
        "series names: what moved of late is blamed first.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* One movement for each series of a file. */
struct movements {
    bool is_off;             /* rows are independent */
    struct movement **items; /* [n_items], NULL until the series has a row */
    size_t n_items;
};

static void movements_clear(struct movements *movements)
{
    for (size_t i = 0; i < movements->n_items; i++)
        movement_free(movements->items[i]);
    free(movements->items);
}

/* Of the series of row i; NULL: none. 0 or -ENOMEM. */
static int movements_find(struct movements *movements, const struct dataset *dataset, size_t i,
                          struct movement **ret_movement)
{
    const size_t which = dataset->series ? dataset->series[i] : 0;
    int r = 0;

    if (movements->is_off)
        return 0;
    if (!movements->items) {
        movements->n_items = dataset->series ? dataset->n_series_names : 1;
        movements->items = calloc(movements->n_items, sizeof(struct movement *));
    }
    if (!movements->items)
        return -ENOMEM;
    if (!movements->items[which])
        r = movement_new(dataset->n_features, &movements->items[which]);
    *ret_movement = movements->items[which];
    return r;
}

static void append_csv(struct text *text, size_t row, const struct verdict *verdict)
{
    text_printf(text, "%zu,", row);
    text_double(text, verdict->reconstruction_error);
    text_puts(text, ",");
    text_double(text, verdict->score);
    text_puts(text, ",");
    text_double(text, verdict->p_value);
    text_puts(text, verdict->anomaly ? ",1\n" : ",0\n");
}

static void append_json(struct text *text, const struct judged *judged, size_t row,
                        const struct explained *explained, size_t n_shown)
{
    const struct vocabulary vocabulary = detector_vocabulary(judged->detector);

    text_printf(text, "{\"row\":%zu,", row);
    verdict_json_append(text, &vocabulary, &judged->verdicts[row], &judged->threshold,
                        judged->dataset.rows + row * judged->dataset.n_features,
                        n_shown > 0 ? explained : NULL, n_shown);
    if (judged->verdicts[row].n_set_aside > 0)
        verdict_json_set_aside(text, &vocabulary, explained);
    text_puts(text, "}\n");
}

static int print_csv(const struct judged *judged)
{
    CLEANUP(text_clear) struct text text = {0};
    int status = EXIT_DONE;

    text_puts(&text, "row,reconstruction_error,score,p_value,anomaly\n");
    for (size_t i = 0; i < judged->dataset.n_rows && status == EXIT_DONE; i++) {
        append_csv(&text, i, &judged->verdicts[i]);
        status = output_text_if_long(&text);
    }
    return status == EXIT_DONE ? output_text(&text) : status;
}

/* Row i of its series, or of none. 0 or -ENOMEM. */
static int explain_row(const struct judged *judged, struct movements *movements, size_t i,
                       bool in_detail, struct explained *explained)
{
    const struct dataset *dataset = &judged->dataset;
    const float *row = dataset->rows + i * dataset->n_features;
    const double *values = dataset->values ? dataset->values + i * dataset->n_values : NULL;
    struct movement *movement = NULL;

    int r = movements_find(movements, dataset, i, &movement);
    if (r == 0 && movement)
        r = detector_follow(judged->detector, judged->workspace, row, movement);
    return r < 0 ? r
                 : explained_fill(explained, judged->detector,
                                  judged->verdicts[i].n_set_aside ? judged->rules : NULL,
                                  judged->workspace, row, values, movement ? movement->hold : NULL,
                                  in_detail ? judged->threshold : 0.0);
}

static int print_ndjson(const struct judged *judged, const struct settings *settings)
{
    const size_t n_inputs = schema_n_features(detector_vocabulary(judged->detector).inputs);
    const size_t n_shown = settings->explain < n_inputs ? settings->explain : n_inputs;
    CLEANUP(text_clear) struct text text = {0};
    CLEANUP(movements_clear) struct movements movements = {.is_off = settings->independent_rows};
    CLEANUP(explained_clear) struct explained explained = {0};
    int status = EXIT_DONE;

    for (size_t i = 0; i < judged->dataset.n_rows && status == EXIT_DONE; i++) {
        const bool must_explain = n_shown > 0 || judged->verdicts[i].n_set_aside > 0;
        if (must_explain && explain_row(judged, &movements, i, settings->detail, &explained) < 0)
            return report_error(&(struct error){0});
        append_json(&text, judged, i, &explained, n_shown);
        status = output_text_if_long(&text);
    }
    return status == EXIT_DONE ? output_text(&text) : status;
}

/* True: go on. */
static bool check_settings(const struct settings *settings, bool *ret_ndjson, int *ret_status)
{
    const bool ndjson = strcmp(settings->format, "ndjson") == 0;
    const char *wrong = NULL;

    if (!ndjson && *settings->format && strcmp(settings->format, "csv") != 0)
        wrong = "--format must be csv or ndjson";
    else if (settings->json && *settings->format && !ndjson)
        wrong = "--json means --format ndjson; give one of them";
    else if (settings->explain && !ndjson && !settings->json)
        wrong = "--explain has no place in CSV; give --format ndjson too";
    else if (settings->detail && !settings->explain)
        wrong = "--detail says more of what is explained; give --explain N too";
    else if (is_standard_input(settings->model) && is_standard_input(settings->input.data))
        wrong = "--model and --data cannot both be standard input";
    if (wrong) {
        (void)report_failure("score: %s", wrong);
        *ret_status = EXIT_USAGE;
        return false;
    }
    *ret_ndjson = ndjson || settings->json;
    return true;
}

static int run(const struct settings *settings, bool ndjson)
{
    CLEANUP(judged_clear) struct judged judged = {0};
    struct error err = {0};

    int r =
        judged_read(settings->model, &settings->input, settings->independent_rows, &judged, &err);
    if (r < 0)
        return report_error(&err);
    return ndjson ? print_ndjson(&judged, settings) : print_csv(&judged);
}

int score_main(int argc, char **argv)
{
    struct settings settings = {.format = ""};
    bool ndjson;
    int status;

    if (options_parse(&usage, argc, argv, &settings, &status) &&
        check_settings(&settings, &ndjson, &status))
        status = run(&settings, ndjson);
    name_list_clear(&settings.input.exclude);
    return status;
}
