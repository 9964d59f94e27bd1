/* anomalyctl train - a model file from rows that are known, or believed, to be normal. */
#include "anomalyctl/commands.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "base/clock.h"
#include "base/number.h"
#include "base/text.h"
#include "data/dataset.h"
#include "detector/architecture.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/trainer.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_OUTPUT "model.safetensors"

struct settings {
    struct input_options input;
    const char *output;
    struct name_list hidden;
    struct trainer_options trainer;
    size_t n_incomplete; /* rows left out because more than half of their features are missing */
    bool json;
};

static const struct option_row rows[] = {
    OPTION_ROW("data", "FILE", OPTION_TEXT, true, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("output", "FILE", OPTION_TEXT, false, output,
               "model file to write (" DEFAULT_OUTPUT "); replaced\nas a whole, or not at all"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, false, input.label_column,
               "column of labels; rows whose label is not 0 or empty\nare left out"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
    OPTION_ROW("false-alarm-rate", "R", OPTION_RATE, false, trainer.false_alarm_rate,
               "share of normal rows that may be flagged (0.001)"),
    OPTION_ROW("hidden", "24,12", OPTION_LIST, false, hidden,
               "widths of the encoder's hidden layers, mirrored in the\n"
               "decoder (chosen from the number of features)"),
    OPTION_ROW("latent", "N|auto", OPTION_COUNT_OR_AUTO, false, trainer.latent,
               "width of the code, the narrowest layer (auto)"),
    OPTION_ROW("epochs", "N", OPTION_COUNT, false, trainer.epochs,
               "passes over the rows at most (400); training stops early\nonce it no longer helps"),
    OPTION_ROW("batch-size", "N", OPTION_COUNT, false, trainer.batch_size, "rows a step (64)"),
    OPTION_ROW("learning-rate", "R", OPTION_POSITIVE, false, trainer.learning_rate,
               "size of a step (0.002)"),
    OPTION_ROW("seed", "N", OPTION_SEED, false, trainer.seed,
               "same seed, rows and options: the same file (1)"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json, "print the summary as JSON"),
};

static const struct usage usage = {
    .command = "train",
    .description = "Trains an autoencoder on normal rows and writes a model file. The defaults in\n"
                   "brackets need no tuning. A fifth of the rows is kept to choose the threshold\n"
                   "for the false-alarm rate, so give at least 5 rows for each 1/rate.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* ---- progress and Ctrl-C ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* The first Ctrl-C ends training in an orderly way, the second one at once. */
static void catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
}

struct progress {
    bool on_terminal;
    uint64_t started_us, drawn_us;
};

static void draw(struct progress *progress, const struct trainer_progress *now)
{
    static const char bar[] = "##############################";
    const int width = (int)sizeof(bar) - 1;
    const uint64_t time_us = clock_monotonic_us();

    if (time_us - progress->drawn_us < 100 * US_PER_MS)
        return;
    progress->drawn_us = time_us;
    const double share = (double)now->epoch / (double)now->epochs;
    const double elapsed = (double)(time_us - progress->started_us) / 1e6;
    const int done = (int)(share * width);
    (void)fprintf(stderr,
                  "\r[%.*s%*s] epoch %zu/%zu  loss %.4g, validation %.4g  %.0f s left\033[K", done,
                  bar, width - done, "", now->epoch, now->epochs, now->train_loss,
                  now->validation_loss, ceil(elapsed / share - elapsed));
}

static bool on_epoch(void *userdata, const struct trainer_progress *now)
{
    struct progress *progress = userdata;

    if (progress->on_terminal)
        draw(progress, now);
    return !interrupted;
}

/* ---- rows ---- */

/* Keeps the normal rows; those that scoring would refuse teach nothing. */
static void leave_out_rows(struct dataset *dataset, size_t *ret_labelled, size_t *ret_incomplete)
{
    const size_t n_features = dataset->n_features;
    size_t kept = 0, labelled = 0, incomplete = 0;

    for (size_t i = 0; i < dataset->n_rows; i++) {
        if (dataset->labels && dataset->labels[i] != 0)
            labelled++;
        else if (dataset_is_incomplete(dataset, i))
            incomplete++;
        else
            memmove(dataset->rows + kept++ * n_features, dataset->rows + i * n_features,
                    n_features * sizeof(*dataset->rows));
    }
    dataset->n_rows = kept;
    *ret_labelled = labelled;
    *ret_incomplete = incomplete;
}

static int read_rows(struct settings *settings, struct dataset *ret_dataset, struct error *reterr)
{
    const struct input_options *input = &settings->input;
    const struct dataset_options options = {
        .label_column = input->label_column,
        .exclude = input->exclude.names,
        .n_exclude = input->exclude.n_names,
    };

    int r = dataset_read(input->data, &options, ret_dataset, reterr);
    if (r < 0)
        return r;
    leave_out_rows(ret_dataset, &settings->trainer.n_left_out, &settings->n_incomplete);
    if (ret_dataset->n_rows < TRAINER_MIN_ROWS)
        return error_set_at(reterr, -EINVAL, input_name(input->data), 0,
                            "%zu normal rows are too few to train (left out: %zu with another "
                            "label than 0, %zu with more than half of their features missing); "
                            "give at least %d",
                            ret_dataset->n_rows, settings->trainer.n_left_out,
                            settings->n_incomplete, TRAINER_MIN_ROWS);
    return 0;
}

/* ---- the command ---- */

static int read_widths(const struct name_list *list, size_t *widths)
{
    if (list->n_names > TRAINING_MAX_HIDDEN) {
        (void)report_failure("train: --hidden: %zu layers are too many; give at most %d",
                             list->n_names, TRAINING_MAX_HIDDEN);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < list->n_names; i++) {
        uint64_t width;
        const char *text = list->names[i];
        if (number_parse_u64(text, strlen(text), &width) < 0 || width == 0 ||
            width > ARCHITECTURE_MAX_WIDTH) {
            (void)report_failure(
                "train: --hidden %s: must be whole numbers from 1 to %d, as in 24,12", text,
                ARCHITECTURE_MAX_WIDTH);
            return EXIT_USAGE;
        }
        widths[i] = (size_t)width;
    }
    return EXIT_DONE;
}

static void warn_of_few_rows(const struct detector *detector, const char *path)
{
    const struct training_summary *summary = detector_summary(detector);
    const size_t needed = calibration_rows_needed(summary->false_alarm_rate);
    const double rows_in_all =
        ceil((double)needed * (double)summary->n_rows / (double)summary->n_calibration);

    if (!calibration_holds(detector_calibration(detector), summary->false_alarm_rate))
        report_warning("%s: %zu calibration rows are too few to promise a false-alarm rate of %g: "
                       "%zu are needed, about %.0f rows in all; the threshold is the largest error "
                       "seen",
                       path, summary->n_calibration, summary->false_alarm_rate, needed,
                       rows_in_all);
}

static void append_json(struct text *text, const struct detector *detector, const char *output,
                        size_t n_incomplete, double threshold, double seconds)
{
    const struct training_summary *summary = detector_summary(detector);
    const bool holds = calibration_holds(detector_calibration(detector), summary->false_alarm_rate);

    text_puts(text, "{\"output\":");
    text_json_string(text, output, strlen(output));
    text_printf(text,
                ",\"features\":%zu,\"rows\":%zu,\"left_out_rows\":%zu,\"incomplete_rows\":%zu,"
                "\"training_rows\":%zu,"
                "\"validation_rows\":%zu,\"calibration_rows\":%zu,\"architecture\":\"",
                detector_n_features(detector), summary->n_rows, summary->n_left_out, n_incomplete,
                summary->n_train, summary->n_validation, summary->n_calibration);
    architecture_print(detector, text);
    text_printf(text, "\",\"parameters\":%zu,\"epochs\":%zu,\"best_epoch\":%zu,\"training_loss\":",
                architecture_n_parameters(detector), summary->epochs, summary->best_epoch);
    text_double(text, summary->train_loss);
    text_puts(text, ",\"validation_loss\":");
    text_double(text, summary->validation_loss);
    text_puts(text, ",\"threshold\":");
    text_double(text, threshold);
    text_puts(text, ",\"false_alarm_rate\":");
    text_double(text, summary->false_alarm_rate);
    text_printf(text,
                ",\"threshold_basis\":\"%s\",\"seconds\":", holds ? "conformal" : "largest-error");
    text_double(text, seconds);
    text_puts(text, "}\n");
}

static void append_summary(struct text *text, const struct detector *detector, const char *output,
                           double threshold, double seconds)
{
    const struct training_summary *summary = detector_summary(detector);
    const bool holds = calibration_holds(detector_calibration(detector), summary->false_alarm_rate);

    text_printf(text, "rows          %zu: %zu training, %zu validation, %zu calibration",
                summary->n_rows, summary->n_train, summary->n_validation, summary->n_calibration);
    if (summary->n_left_out > 0)
        text_printf(text, "; %zu labelled ones left out", summary->n_left_out);
    text_puts(text, "\narchitecture  ");
    architecture_print(detector, text);
    text_printf(text, ", %zu parameters\n", architecture_n_parameters(detector));
    text_printf(text, "loss          %.4g training, %.4g validation, best of %zu epochs: %zu\n",
                summary->train_loss, summary->validation_loss, summary->epochs,
                summary->best_epoch);
    text_printf(text, "threshold     %.4g for a false-alarm rate of %g (%s)\n", threshold,
                summary->false_alarm_rate, holds ? "conformal" : "largest error seen");
    text_printf(text, "time          %.1f s\n", seconds);
    text_printf(text, "model file    %s\n", output);
}

static int print_result(const struct settings *settings, const struct detector *detector,
                        uint64_t started_us)
{
    const struct training_summary *summary = detector_summary(detector);
    const double threshold =
        calibration_threshold(detector_calibration(detector), summary->false_alarm_rate);
    const double seconds = (double)(clock_monotonic_us() - started_us) / 1e6;
    CLEANUP(text_clear) struct text text = {0};

    if (settings->json)
        append_json(&text, detector, settings->output, settings->n_incomplete, threshold, seconds);
    else
        append_summary(&text, detector, settings->output, threshold, seconds);
    return output_text(&text);
}

static int train(const struct settings *settings, const struct dataset *dataset,
                 struct detector **ret_detector, struct error *reterr)
{
    struct progress progress = {.on_terminal = isatty(STDERR_FILENO),
                                .started_us = clock_monotonic_us()};
    struct error why = {0};

    catch_interrupt();
    int r = detector_train(dataset->rows, dataset->n_rows, (const char *const *)dataset->names,
                           dataset->n_features, &settings->trainer, on_epoch, &progress,
                           ret_detector, &why);
    if (progress.drawn_us > 0)
        (void)fprintf(stderr, "\r\033[K");
    if (interrupted)
        return error_set(reterr, -ECANCELED, "train: interrupted, no model file was written");
    if (r < 0 && *why.text)
        return error_set_at(reterr, r, input_name(settings->input.data), 0, "%s", why.text);
    return r;
}

static int run(struct settings *settings)
{
    const uint64_t started_us = clock_monotonic_us();
    AUTO_FREE size_t *widths = calloc(settings->hidden.n_names + 1, sizeof(*widths));
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct error err = {0};

    if (!widths)
        return report_error(&err);
    int status = read_widths(&settings->hidden, widths);
    if (status != EXIT_DONE)
        return status;
    settings->trainer.hidden = widths;
    settings->trainer.n_hidden = settings->hidden.n_names;

    if (read_rows(settings, &dataset, &err) < 0 || train(settings, &dataset, &detector, &err) < 0 ||
        model_file_save(detector, settings->output, &err) < 0)
        return report_error(&err);
    if (settings->n_incomplete > 0)
        report_warning("%s: %zu rows were left out: more than half of their features are missing",
                       input_name(settings->input.data), settings->n_incomplete);
    warn_of_few_rows(detector, input_name(settings->input.data));
    return print_result(settings, detector, started_us);
}

int train_main(int argc, char **argv)
{
    struct settings settings = {.output = DEFAULT_OUTPUT};
    int status;

    trainer_options_init(&settings.trainer);
    if (options_parse(&usage, argc, argv, &settings, &status))
        status = run(&settings);
    name_list_clear(&settings.input.exclude);
    name_list_clear(&settings.hidden);
    return status;
}
