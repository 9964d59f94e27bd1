#include "anomalyctl/train_print.h"

#include "anomalyctl/output.h"
#include "base/text.h"
#include "data/prepare_spec.h"
#include "detector/architecture.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/trainer.h"

#include <inttypes.h>
#include <string.h>

#define MOST_SHOWN  8    /* trimmed rows, to people */
#define MOST_LISTED 1000 /* and in JSON */

static double rate_of(const struct detector *detector)
{
    return detector_summary(detector)->recipe.false_alarm_rate;
}

static enum calibration_basis basis_of(const struct detector *detector)
{
    return calibration_basis(detector_calibration(detector), rate_of(detector));
}

static double threshold_of(const struct detector *detector)
{
    return calibration_threshold(detector_calibration(detector), rate_of(detector));
}

static void append_member(struct text *text, const char *key, double value)
{
    text_printf(text, ",\"%s\":", key);
    text_double(text, value);
}

static void append_history(struct text *text, const struct trained *trained)
{
    text_puts(text, ",\"history\":[");
    for (size_t i = 0; i < trained->n_epochs; i++) {
        const struct trainer_progress *epoch = &trained->epochs[i];
        text_printf(text, "%s{\"network\":%zu,\"kept\":%s,\"epoch\":%zu", i ? "," : "",
                    epoch->network, epoch->is_kept ? "true" : "false", epoch->epoch);
        append_member(text, "loss", epoch->loss);
        append_member(text, "validation_loss", epoch->validation_loss);
        append_member(text, "gradient_norm", epoch->gradient_norm);
        append_member(text, "seconds", epoch->seconds);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

static void append_networks(struct text *text, const struct training_summary *summary)
{
    text_puts(text, ",\"networks\":[");
    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct network_summary *network = &summary->networks[i];
        text_printf(text, "%s{\"epochs\":%zu,\"best_epoch\":%zu", i ? "," : "", network->epochs,
                    network->best_epoch);
        append_member(text, "loss", network->loss);
        append_member(text, "validation_loss", network->validation_loss);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

/* Appends the first of the rows that were trimmed, at most most: their numbers, or lines. */
static void append_trimmed(struct text *text, const struct trained *trained, bool by_line,
                           size_t most, const char *comma)
{
    size_t n = 0;

    for (size_t i = 0; trained->trimmed && i < trained->n_rows && n < most; i++)
        if (trained->trimmed[i]) {
            const uint32_t number = trained->numbers[i];
            text_printf(text, "%s%" PRIu32, n++ ? comma : "",
                        by_line ? trained->lines[number] : number);
        }
}

static void append_trimmed_json(struct text *text, const struct trained *trained)
{
    text_printf(text, ",\"trimmed\":{\"count\":%zu,\"rows\":[",
                detector_summary(trained->detector)->n_trimmed);
    append_trimmed(text, trained, false, MOST_LISTED, ",");
    text_puts(text, "],\"lines\":[");
    append_trimmed(text, trained, true, MOST_LISTED, ",");
    text_puts(text, "]}");
}

void train_print_json(const struct trained *trained, struct text *text)
{
    const struct detector *detector = trained->detector;
    const struct training_summary *summary = detector_summary(detector);
    const struct architecture_cost cost = architecture_cost(detector);

    text_puts(text, "{\"output\":");
    text_json_string(text, trained->output, strlen(trained->output));
    text_printf(text,
                ",\"preset\":\"%s\",\"features\":%zu,\"rows\":%zu,\"drawn_rows\":%zu,"
                "\"left_out_rows\":%zu,\"incomplete_rows\":%zu,\"outlier_values\":%zu,"
                "\"training_rows\":%zu,"
                "\"validation_rows\":%zu,\"calibration_rows\":%zu,\"architecture\":\"",
                preset_name(summary->recipe.preset), detector_n_features(detector), summary->n_rows,
                summary->n_drawn, summary->n_left_out, trained->n_incomplete, summary->n_outliers,
                summary->n_train, summary->n_validation, summary->n_calibration);
    architecture_print(detector, text);
    text_puts(text, "\"");
    append_trimmed_json(text, trained);
    text_printf(text, ",\"parameters\":%zu,\"multiply_adds\":%zu,\"bytes\":%zu",
                architecture_n_parameters(detector), cost.multiply_adds, cost.bytes);
    append_networks(text, summary);
    append_member(text, "threshold", threshold_of(detector));
    append_member(text, "false_alarm_rate", rate_of(detector));
    text_printf(text, ",\"threshold_basis\":\"%s\"", calibration_basis_name(basis_of(detector)));
    append_member(text, "seconds", trained->seconds);
    append_history(text, trained);
    text_puts(text, "}\n");
}

static void append_rows(struct text *text, const struct trained *trained)
{
    const struct training_summary *summary = detector_summary(trained->detector);

    text_printf(text, "rows          %zu", summary->n_rows);
    if (summary->n_drawn < summary->n_rows)
        text_printf(text, ", %zu of them drawn at random", summary->n_drawn);
    text_printf(text, ": %zu training, ", summary->n_train);
    if (summary->n_validation > 0)
        text_printf(text, "%zu validation, ", summary->n_validation);
    text_printf(text, "%zu calibration", summary->n_calibration);
    if (summary->n_folds > 1)
        text_printf(text, " (each by parts fitted without it)");
    if (summary->n_left_out > 0)
        text_printf(text, "; %zu labelled ones left out", summary->n_left_out);
    if (summary->n_trimmed > 0) {
        text_printf(text, "\ntrimmed       %zu row%s, far from the others: line ",
                    summary->n_trimmed, summary->n_trimmed == 1 ? "" : "s");
        append_trimmed(text, trained, true, MOST_SHOWN, ", ");
        text_puts(text, summary->n_trimmed > MOST_SHOWN ? ", …" : "");
    }
    if (summary->n_outliers > 0)
        text_printf(text, "\noutliers      %zu value%s far beyond all others, taken as missing",
                    summary->n_outliers, summary->n_outliers == 1 ? "" : "s");
    text_puts(text, "\n");
}

void train_print(const struct trained *trained, struct text *text)
{
    const struct detector *detector = trained->detector;
    const struct training_summary *summary = detector_summary(detector);
    const struct architecture_cost cost = architecture_cost(detector);

    append_rows(text, trained);
    text_puts(text, "architecture  ");
    architecture_print(detector, text);
    text_printf(text, ", %zu parameters\n", architecture_n_parameters(detector));
    if (architecture_n_prototypes(detector) > 0 || architecture_n_clusters(detector) > 0)
        text_printf(text, "compared with %zu prototype%s, %zu cluster%s\n",
                    architecture_n_prototypes(detector),
                    architecture_n_prototypes(detector) == 1 ? "" : "s",
                    architecture_n_clusters(detector),
                    architecture_n_clusters(detector) == 1 ? "" : "s");
    text_printf(text, "cost of a row %zu multiply-adds, %zu kB\n", cost.multiply_adds,
                (cost.bytes + 500) / 1000);
    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct network_summary *network = &summary->networks[i];
        text_printf(text, "network %-5zu loss %.4g, validation %.4g after %zu epochs", i,
                    network->loss, network->validation_loss, network->epochs);
        if (network->best_epoch < network->epochs)
            text_printf(text, ", best %zu", network->best_epoch);
        text_puts(text, "\n");
    }
    text_printf(text, "threshold     %.4g for a false-alarm rate of %g (%s)\n",
                threshold_of(detector), rate_of(detector),
                calibration_basis_name(basis_of(detector)));
    text_printf(text, "time          %.1f s\n", trained->seconds);
    text_printf(text, "model file    %s\n", trained->output);
}

void train_warn_of_idle_settings(const struct prepare_spec *spec)
{
    if (spec->zone && !prepare_spec_has_clock(spec))
        report_warning("--timezone %s changes nothing: no input is made from the time of day; add "
                       "--prepare timestamp=hour-of-day, or leave it out",
                       spec->zone);
    if (spec->max_gap != PREPARE_MAX_GAP && !prepare_spec_looks_back(spec))
        report_warning("--max-gap changes nothing: no input is made from the rows before; add "
                       "--context, or --prepare with rate or delta, or leave it out");
}

void train_warn_of_few_rows(const struct trained *trained)
{
    const struct detector *detector = trained->detector;
    const size_t n_rows = detector_summary(detector)->n_calibration;
    const size_t needed = calibration_rows_needed(rate_of(detector));
    /* From TRAINER_SMALL rows on a quarter of them calibrates, and above TRAINER_MAX_ROWS all
     * that are not drawn too. */
    const size_t in_all = needed < TRAINER_SMALL ? needed
                          : needed < TRAINER_MAX_ROWS / 4
                              ? 4 * needed
                              : needed + TRAINER_MAX_ROWS - TRAINER_MAX_ROWS / 4;
    const enum calibration_basis basis = basis_of(detector);

    if (basis != CALIBRATION_CONFORMAL)
        report_warning("%s: %zu calibration rows are too few to promise a false-alarm rate of %g: "
                       "%zu are needed, about %zu rows in all; the threshold is %s",
                       trained->data, n_rows, rate_of(detector), needed, in_all,
                       basis == CALIBRATION_TAIL_FIT
                           ? "an estimate, a tail fit to the largest errors"
                           : "the largest error seen");
}
