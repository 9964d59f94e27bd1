/* anomalyctl evaluate - how well the verdicts agree with the labels of a file. */
#include "anomalyctl/commands.h"
#include "anomalyctl/judged.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "base/clock.h"
#include "base/number.h"
#include "base/text.h"
#include "detector/detector.h"
#include "detector/evaluation.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

struct settings {
    const char *model;
    struct input_options input;
    bool json;
};

static const struct option_row rows[] = {
    OPTION_ROW("model", "FILE", OPTION_TEXT, true, model, "model file made by anomalyctl train"),
    OPTION_ROW("data", "FILE", OPTION_TEXT, true, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, true, input.label_column,
               "column of labels: 0 or empty is normal, 1 or a name\n"
               "is an anomaly, rows named " LABEL_RECOVERY " are left out"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json, "print JSON"),
};

static const struct usage usage = {
    .command = "evaluate",
    .description = "Scores a labelled file and compares: ranking (ROC AUC, average precision) and\n"
                   "verdicts at the model's threshold. What cannot be computed is null, or -.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* The labels' meaning. Normal is label 0 of every dataset. */
enum truth {
    TRUTH_NORMAL,
    TRUTH_ANOMALY,
    TRUTH_LEFT_OUT
};

static int find_truth(const char *label, enum truth *ret_truth)
{
    double number;

    if (number_parse_double(label, strlen(label), &number) == 0 && number != 1)
        return -EINVAL;
    *ret_truth = strcmp(label, LABEL_RECOVERY) == 0 ? TRUTH_LEFT_OUT : TRUTH_ANOMALY;
    return 0;
}

static int find_truths(const struct dataset *dataset, const struct input_options *input,
                       enum truth *truths, struct error *reterr)
{
    for (size_t i = 0; i < dataset->n_rows; i++) {
        const char *label = dataset->label_names[dataset->labels[i]];

        if (dataset->labels[i] == 0)
            truths[i] = TRUTH_NORMAL;
        else if (find_truth(label, &truths[i]) < 0)
            return error_set_at(reterr, -EINVAL, input_name(input->data), dataset->lines[i],
                                "column %s: label %s is neither 0, 1 nor a name; give 0 for normal "
                                "rows and 1 or the incident's name for others",
                                input->label_column, label);
    }
    return 0;
}

/* Evaluates the rows that are not left out. */
static int evaluate(const struct judged *judged, const enum truth *truths,
                    struct evaluation *ret_evaluation)
{
    const size_t n_rows = judged->dataset.n_rows;
    AUTO_FREE double *scores = calloc(n_rows + 1, sizeof(*scores));
    AUTO_FREE bool *is_anomaly = calloc(n_rows + 1, sizeof(*is_anomaly));
    AUTO_FREE bool *flagged = calloc(n_rows + 1, sizeof(*flagged));
    size_t n = 0;

    if (!scores || !is_anomaly || !flagged)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        if (truths[i] == TRUTH_LEFT_OUT)
            continue;
        scores[n] = judged->verdicts[i].score;
        is_anomaly[n] = truths[i] == TRUTH_ANOMALY;
        flagged[n++] = judged->verdicts[i].anomaly;
    }
    return evaluation_compute(scores, is_anomaly, flagged, n, ret_evaluation);
}

struct figure {
    const char *key;
    double value;
    bool is_count;
};

static void append_figure(struct text *text, const struct figure *figure, bool json)
{
    if (json) {
        text_printf(text, "%s\"%s\":", text->length > 1 ? "," : "", figure->key);
        text_double(text, figure->value);
    } else if (!isfinite(figure->value))
        text_printf(text, "%-21s%10s\n", figure->key, "-");
    else if (figure->is_count)
        text_printf(text, "%-21s%10.0f\n", figure->key, figure->value);
    else
        text_printf(text, "%-21s%10.4g\n", figure->key, figure->value);
}

static int print(const struct evaluation *found, size_t n_left_out, double threshold,
                 double seconds, bool json)
{
    const struct figure figures[] = {
        {"rows",                (double)found->n_rows,      true },
        {"anomalies",           (double)found->n_anomalies, true },
        {"roc_auc",             found->roc_auc,             false},
        {"average_precision",   found->average_precision,   false},
        {"threshold",           threshold,                  false},
        {"false_positive_rate", found->false_positive_rate, false},
        {"recall",              found->recall,              false},
        {"precision",           found->precision,           false},
        {"f1",                  found->f1,                  false},
        {"seconds",             seconds,                    false},
        {"left_out",            (double)n_left_out,         true },
    };
    /* The last one only where there is something to tell. */
    const size_t n_figures = sizeof(figures) / sizeof(*figures) - (n_left_out == 0);
    CLEANUP(text_clear) struct text text = {0};

    text_puts(&text, json ? "{" : "");
    for (size_t i = 0; i < n_figures; i++)
        append_figure(&text, &figures[i], json);
    text_puts(&text, json ? "}\n" : "");
    return output_text(&text);
}

static int run(const struct settings *settings)
{
    const uint64_t started_us = clock_monotonic_us();
    CLEANUP(judged_clear) struct judged judged = {0};
    struct error err = {0};

    int r = judged_read(settings->model, &settings->input, &judged, &err);
    if (r < 0)
        return report_error(&err);
    AUTO_FREE enum truth *truths = calloc(judged.dataset.n_rows + 1, sizeof(*truths));
    struct evaluation found = {0};
    if (!truths || find_truths(&judged.dataset, &settings->input, truths, &err) < 0 ||
        evaluate(&judged, truths, &found) < 0)
        return report_error(&err);

    if (found.n_anomalies == 0 || found.n_anomalies == found.n_rows)
        report_warning("%s: column %s: no row is %s, so some figures cannot be computed",
                       input_name(settings->input.data), settings->input.label_column,
                       found.n_anomalies ? "normal (0)" : "an anomaly");
    return print(&found, judged.dataset.n_rows - found.n_rows, judged.threshold,
                 (double)(clock_monotonic_us() - started_us) / 1e6, settings->json);
}

int evaluate_main(int argc, char **argv)
{
    struct settings settings = {0};
    int status;

    if (options_parse(&usage, argc, argv, &settings, &status)) {
        const bool twice =
            is_standard_input(settings.model) && is_standard_input(settings.input.data);
        if (twice)
            (void)report_failure("evaluate: --model and --data cannot both be standard input");
        status = twice ? EXIT_USAGE : run(&settings);
    }
    name_list_clear(&settings.input.exclude);
    return status;
}
