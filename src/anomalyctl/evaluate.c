/* anomalyctl evaluate - how well the verdicts agree with the labels of a file. */
#include "anomalyctl/commands.h"
#include "anomalyctl/judged.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "anomalyctl/plot.h"
#include "base/clock.h"
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
    const char *plot; /* NULL: none */
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
    OPTION_ROW("plot", "FILE.svg", OPTION_TEXT, false, plot,
               "draw ROC curve, precision-recall curve and errors"),
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

static int find_truths(const struct dataset *dataset, const struct input_options *input,
                       enum truth *truths, struct error *reterr)
{
    int r = input_check_labels(dataset, input, reterr);
    if (r < 0)
        return r;

    for (size_t i = 0; i < dataset->n_rows; i++) {
        const char *label = dataset->label_names[dataset->labels[i]];
        const bool is_recovery = strcmp(label, LABEL_RECOVERY) == 0;
        truths[i] = dataset->labels[i] == 0 ? TRUTH_NORMAL
                    : is_recovery           ? TRUTH_LEFT_OUT
                                            : TRUTH_ANOMALY;
    }
    return 0;
}

/* The rows that are not left out. */
struct compared {
    size_t n_rows;
    double *scores, *errors;    /* [n_rows] */
    bool *is_anomaly, *flagged; /* [n_rows] the truth, the verdict */
};

static void compared_clear(struct compared *compared)
{
    free(compared->scores);
    free(compared->errors);
    free(compared->is_anomaly);
    free(compared->flagged);
}

static int compare(const struct judged *judged, const enum truth *truths,
                   struct compared *ret_compared)
{
    const size_t n_rows = judged->dataset.n_rows;
    CLEANUP(compared_clear)
    struct compared compared = {
        .scores = calloc(n_rows + 1, sizeof(*compared.scores)),
        .errors = calloc(n_rows + 1, sizeof(*compared.errors)),
        .is_anomaly = calloc(n_rows + 1, sizeof(*compared.is_anomaly)),
        .flagged = calloc(n_rows + 1, sizeof(*compared.flagged)),
    };

    if (!compared.scores || !compared.errors || !compared.is_anomaly || !compared.flagged)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        if (truths[i] == TRUTH_LEFT_OUT)
            continue;
        compared.scores[compared.n_rows] = judged->verdicts[i].score;
        compared.errors[compared.n_rows] = judged->verdicts[i].reconstruction_error;
        compared.is_anomaly[compared.n_rows] = truths[i] == TRUTH_ANOMALY;
        compared.flagged[compared.n_rows++] = judged->verdicts[i].anomaly;
    }
    *ret_compared = compared;
    compared = (struct compared){0};
    return 0;
}

static int plot(const struct settings *settings, const struct compared *compared, double threshold,
                const struct evaluation *found, struct error *reterr)
{
    const struct plot_rows plotted = {
        .data = input_name(settings->input.data),
        .model = input_name(settings->model),
        .scores = compared->scores,
        .errors = compared->errors,
        .is_anomaly = compared->is_anomaly,
        .n_rows = compared->n_rows,
        .threshold = threshold,
    };

    return plot_evaluation(settings->plot, &plotted, found, reterr);
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

static int check_plot(const struct settings *settings, struct error *reterr)
{
    const char *plot = settings->plot;

    if (!plot)
        return 0;
    int r = plot_check(plot, reterr);
    if (r == 0)
        r = output_check_other("--plot", plot, "--model", settings->model, reterr);
    return r < 0 ? r : output_check_other("--plot", plot, "--data", settings->input.data, reterr);
}

static int run(const struct settings *settings)
{
    const uint64_t started_us = clock_monotonic_us();
    CLEANUP(judged_clear) struct judged judged = {0};
    struct error err = {0};

    int r = check_plot(settings, &err);
    if (r == 0)
        r = judged_read(settings->model, &settings->input, false, &judged, &err);
    if (r < 0)
        return report_error(&err);
    AUTO_FREE enum truth *truths = calloc(judged.dataset.n_rows + 1, sizeof(*truths));
    CLEANUP(compared_clear) struct compared compared = {0};
    struct evaluation found = {0};
    if (!truths || find_truths(&judged.dataset, &settings->input, truths, &err) < 0 ||
        compare(&judged, truths, &compared) < 0 ||
        evaluation_compute(compared.scores, compared.is_anomaly, compared.flagged, compared.n_rows,
                           &found) < 0)
        return report_error(&err);
    if (settings->plot && plot(settings, &compared, judged.threshold, &found, &err) < 0)
        return report_error(&err);

    if (found.n_anomalies == 0 || found.n_anomalies == found.n_rows)
        report_warning("%s: --label-column %s: no row is %s, so some figures cannot be computed",
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
