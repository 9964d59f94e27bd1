/* anomalyctl train - a model file from rows that are known, or believed, to be normal. */
#include "anomalyctl/commands.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "anomalyctl/plot.h"
#include "anomalyctl/train_print.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/preparation.h"
#include "data/prepare_spec.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "detector/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_OUTPUT "model.safetensors"

struct settings {
    struct input_options input;
    const char *output, *plot;
    struct trainer_options trainer;
    struct prepare_spec prepare;
    size_t n_threads;    /* 0: one a processor */
    size_t n_incomplete; /* rows left out because more than half of their features are missing */
    size_t n_late;       /* because they are not newer than a row before of their series */
    uint32_t *numbers;   /* of the rows that are given to the trainer, in the file, from 0; NULL:
                          * nothing is trimmed */
    bool *trimmed;       /* which of them it leaves out; or NULL */
    bool json;
};

/* Those of the recipe (detector/recipe.h) and of what matters (detector/relevance.h) stand between
 * these. */
static const struct option_row first_rows[] = {
    OPTION_ROW("data", "FILE", OPTION_TEXT, true, input.data, "CSV or .npy, - for standard input"),
    OPTION_ROW("output", "FILE", OPTION_TEXT, false, output,
               "model file to write (" DEFAULT_OUTPUT "); replaced\nas a whole, or not at all"),
    OPTION_ROW("label-column", "NAME", OPTION_TEXT, false, input.label_column,
               "column of labels; rows whose label is not 0 or empty\nare left out"),
    OPTION_ROW("exclude", "A,B", OPTION_LIST, false, input.exclude,
               "columns that are not features"),
};
static const struct option_row last_rows[] = {
    OPTION_ROW("threads", "N", OPTION_COUNT, false, n_threads,
               "at most (one a processor); the file does not depend on it"),
    OPTION_ROW("plot", "FILE.svg", OPTION_TEXT, false, plot, "draw the losses of all epochs"),
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json,
               "print the summary, and every epoch, as JSON"),
};
#define N_ROWS  (N_FIRST + N_PREPARE_SETTINGS + recipe_n_fields + N_RELEVANCE_PARTS + N_LAST)
#define N_FIRST (sizeof(first_rows) / sizeof(*first_rows))
#define N_LAST  (sizeof(last_rows) / sizeof(*last_rows))

static int set_recipe(void *recipe, const void *field, const char *text, struct error *reterr)
{
    return recipe_set(recipe, field, text, reterr);
}

static int set_relevance(void *relevance, const void *option, const char *text,
                         struct error *reterr)
{
    const struct relevance_option *const which = option;

    return relevance_read(relevance, (enum relevance_part)(which - relevance_options), text,
                          reterr);
}

static int set_prepare(void *spec, const void *setting, const char *text, struct error *reterr)
{
    return ((const struct prepare_setting *)setting)->set(spec, text, reterr);
}

/* All rows of the table: [N_ROWS]. NULL: no memory. */
static struct option_row *list_options(void)
{
    struct option_row *rows = calloc(N_ROWS, sizeof(*rows)), *row = rows;
    if (!rows)
        return NULL;

    row = mempcpy(row, first_rows, sizeof(first_rows));
    for (size_t i = 0; i < N_PREPARE_SETTINGS; i++)
        *row++ = (struct option_row){
            .name = prepare_settings[i].name,
            .argument = prepare_settings[i].argument,
            .kind = OPTION_SET,
            .offset = offsetof(struct settings, prepare),
            .help = prepare_settings[i].help,
            .set = set_prepare,
            .context = &prepare_settings[i],
        };
    for (size_t i = 0; i < recipe_n_fields; i++)
        *row++ = (struct option_row){
            .name = recipe_fields[i].name,
            .argument = recipe_fields[i].argument,
            .kind = OPTION_SET,
            .offset = offsetof(struct settings, trainer.recipe),
            .help = recipe_fields[i].help,
            .set = set_recipe,
            .context = &recipe_fields[i],
        };
    for (size_t i = 0; i < N_RELEVANCE_PARTS; i++)
        *row++ = (struct option_row){
            .name = relevance_options[i].name,
            .argument = relevance_options[i].argument,
            .kind = OPTION_SET,
            .offset = offsetof(struct settings, trainer.relevance),
            .help = relevance_options[i].help,
            .set = set_relevance,
            .context = &relevance_options[i],
        };
    memcpy(row, last_rows, sizeof(last_rows));
    return rows;
}

static const char description[] =
    "Trains autoencoders on normal rows and writes a model file. The defaults need no\n"
    "tuning; an option that is given overrides what the preset chooses. Below 4,000\n"
    "rows all of them choose the threshold for the false-alarm rate, else a quarter\n"
    "(of the first 100,000): 10/rate rows make it exact, with fewer it is estimated\n"
    "from a fitted tail.";

/* ---- progress and Ctrl-C ---- */

static atomic_bool interrupted; /* networks may be trained by other threads */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(&interrupted, true);
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
    struct trainer_progress *epochs; /* [n_epochs] all that were reported */
    size_t n_epochs, capacity;
    bool failed; /* no memory for them */
};

static void progress_clear(struct progress *progress)
{
    free(progress->epochs);
}

static void draw(struct progress *progress, const struct trainer_progress *now)
{
    static const char bar[] = "##############################";
    const int width = (int)sizeof(bar) - 1;
    const uint64_t time_us = clock_monotonic_us();

    if (time_us - progress->drawn_us < 100 * US_PER_MS)
        return;
    progress->drawn_us = time_us;
    const double elapsed = (double)(time_us - progress->started_us) / 1e6;
    const int done = (int)(now->done * width);
    (void)fprintf(stderr,
                  "\r[%.*s%*s] network %zu/%zu  loss %.4g, validation %.4g  %.0f s left\033[K",
                  done, bar, width - done, "", now->network + 1, now->n_networks, now->loss,
                  now->validation_loss, ceil(elapsed / now->done - elapsed));
}

static bool remember(struct progress *progress, const struct trainer_progress *now)
{
    if (progress->n_epochs == progress->capacity) {
        const size_t capacity = progress->capacity ? 2 * progress->capacity : 256;
        struct trainer_progress *epochs =
            realloc(progress->epochs, capacity * sizeof(*progress->epochs));
        if (!epochs)
            return false;
        progress->epochs = epochs;
        progress->capacity = capacity;
    }
    progress->epochs[progress->n_epochs++] = *now;
    return true;
}

static bool on_epoch(void *userdata, const struct trainer_progress *now)
{
    struct progress *progress = userdata;

    if (progress->on_terminal)
        draw(progress, now);
    progress->failed |= !remember(progress, now);
    return !atomic_load(&interrupted) && !progress->failed;
}

/* Networks train side by side: in order of network, then epoch. */
static int by_network(const void *a, const void *b)
{
    const struct trainer_progress *x = a, *y = b;

    if (x->network != y->network)
        return x->network < y->network ? -1 : 1;
    return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

/* ---- rows ---- */

/* Keeps the normal rows; those that scoring would refuse teach nothing. */
static int leave_out_rows(struct settings *settings, struct dataset *dataset)
{
    const size_t n_features = dataset->n_features;
    size_t kept = 0, labelled = 0, late = 0, incomplete = 0;

    if (settings->trainer.recipe.trim != 0.0) {
        settings->numbers = calloc(dataset->n_rows + 1, sizeof(*settings->numbers));
        settings->trimmed = calloc(dataset->n_rows + 1, sizeof(*settings->trimmed));
        if (!settings->numbers || !settings->trimmed)
            return -ENOMEM;
    }
    for (size_t i = 0; i < dataset->n_rows; i++) {
        if (dataset->labels && dataset->labels[i] != 0)
            labelled++;
        else if (dataset->is_late && dataset->is_late[i])
            late++;
        else if (dataset_is_incomplete(dataset, i))
            incomplete++;
        else {
            if (settings->numbers)
                settings->numbers[kept] = (uint32_t)i;
            memmove(dataset->rows + kept++ * n_features, dataset->rows + i * n_features,
                    n_features * sizeof(*dataset->rows));
        }
    }
    dataset->n_rows = kept;
    settings->trainer.n_left_out = labelled;
    settings->trainer.ret_trimmed = settings->trimmed;
    settings->n_incomplete = incomplete;
    settings->n_late = late;
    return 0;
}

/* What is to be done about rows that are late. */
static const char *late_hint(const struct dataset *dataset)
{
    return dataset->series ? "sort the file by timestamp"
                           : "sort the file by timestamp, or name each row's source in a column "
                             "series if they come from several";
}

/* The dataset's labels and lines are still those of all rows. */
static int refuse_few(const struct settings *settings, const struct dataset *dataset,
                      struct error *reterr)
{
    char hint[256] = "", shown[TEXT_SHOWN_SIZE];

    if (settings->n_late > 0) {
        (void)snprintf(hint, sizeof(hint), "; %s", late_hint(dataset));
    } else if (settings->trainer.n_left_out > 0) {
        size_t i = 0;
        while (dataset->labels[i] == 0)
            i++;
        const char *label = dataset->label_names[dataset->labels[i]];
        (void)snprintf(hint, sizeof(hint),
                       "; --label-column %s: normal rows must say 0, the first other label is "
                       "\"%s\" (line %" PRIu32 ")",
                       settings->input.label_column, text_show(shown, label, strlen(label)),
                       dataset->lines[i]);
    }
    return error_set_at(reterr, -EINVAL, input_name(settings->input.data), 0,
                        "%zu normal rows are too few to train (left out: %zu with another label "
                        "than 0, %zu with more than half of their features missing, %zu not newer "
                        "than a row before them); give at least %d%s",
                        dataset->n_rows, settings->trainer.n_left_out, settings->n_incomplete,
                        settings->n_late, TRAINER_MIN_ROWS, hint);
}

/* Rows that are to be prepared become those that the model will see. */
static int prepare_rows(struct settings *settings, struct dataset *dataset, struct error *reterr)
{
    const char *name = input_name(settings->input.data), *coarse = NULL;
    struct error why = {0};

    int r = dataset_complete_spec(dataset, name, &settings->prepare, reterr);
    if (r == 0)
        r = dataset_find_coarse_counter(dataset, &settings->prepare, &coarse);
    if (r < 0)
        return r;
    if (r > 0)
        report_warning(
            "%s: column %s is above 2^53, where 64-bit floats go in steps of 2 and more, "
            "and grows by little: its rate is rough; subtract a constant from it",
            name, coarse);
    r = preparation_new(&settings->prepare, (const char *const *)dataset->names,
                        dataset->n_features, &settings->trainer.preparation, &why);
    if (r < 0)
        return error_set_at(reterr, r, name, 0, "--prepare: %s", why.text);
    return dataset_prepare(dataset, name, settings->trainer.preparation, false, reterr);
}

static int read_rows(struct settings *settings, struct dataset *ret_dataset, struct error *reterr)
{
    const struct input_options *input = &settings->input;
    const bool is_prepared = !prepare_spec_is_plain(&settings->prepare);
    const struct dataset_options options = {
        .label_column = input->label_column,
        .exclude = input->exclude.names,
        .n_exclude = input->exclude.n_names,
        .prepare = is_prepared ? &settings->prepare : NULL,
        .with_timestamps = is_prepared,
        .with_series = is_prepared,
    };

    int r = dataset_read(input->data, &options, ret_dataset, reterr);
    if (r < 0)
        return r;
    if (ret_dataset->labels)
        r = input_check_labels(ret_dataset, input, reterr);
    if (r == 0 && is_prepared)
        r = prepare_rows(settings, ret_dataset, reterr);
    if (r < 0)
        return r;
    r = leave_out_rows(settings, ret_dataset);
    if (r < 0)
        return r;
    return ret_dataset->n_rows < TRAINER_MIN_ROWS ? refuse_few(settings, ret_dataset, reterr) : 0;
}

/* ---- the result ---- */

static int print_result(const struct settings *settings, const struct dataset *dataset,
                        const struct detector *detector, const struct progress *progress)
{
    const struct trained trained = {
        .detector = detector,
        .data = input_name(settings->input.data),
        .output = settings->output,
        .epochs = progress->epochs,
        .n_epochs = progress->n_epochs,
        .n_incomplete = settings->n_incomplete,
        .n_rows = dataset->n_rows,
        .trimmed = settings->trimmed,
        .numbers = settings->numbers,
        .lines = dataset->lines,
        .seconds = (double)(clock_monotonic_us() - progress->started_us) / 1e6,
    };
    CLEANUP(text_clear) struct text text = {0};

    if (trained.n_incomplete > 0)
        report_warning("%s: %zu rows were left out: more than half of their features are missing",
                       trained.data, trained.n_incomplete);
    if (settings->n_late > 0)
        report_warning("%s: %zu rows were left out: they are not newer than a row before them; %s",
                       trained.data, settings->n_late, late_hint(dataset));
    train_warn_of_few_rows(&trained);
    if (settings->json)
        train_print_json(&trained, &text);
    else
        train_print(&trained, &text);
    return output_text(&text);
}

static int plot(const char *path, const struct detector *detector, const struct progress *progress,
                struct error *reterr)
{
    const struct training_summary *summary = detector_summary(detector);
    AUTO_FREE struct plot_loss *losses = calloc(progress->n_epochs + 1, sizeof(*losses));
    size_t best_epochs[ENSEMBLE_MAX_NETWORKS] = {0}, n = 0;
    if (!losses)
        return -ENOMEM;

    for (size_t i = 0; i < progress->n_epochs; i++) {
        const struct trainer_progress *epoch = &progress->epochs[i];
        if (epoch->is_kept)
            losses[n++] = (struct plot_loss){
                .network = epoch->network,
                .epoch = epoch->epoch,
                .loss = epoch->loss,
                .validation_loss = epoch->validation_loss,
            };
    }
    for (size_t i = 0; i < summary->n_networks; i++)
        if (summary->networks[i].best_epoch < summary->networks[i].epochs)
            best_epochs[i] = summary->networks[i].best_epoch;
    return plot_losses(path, losses, n, best_epochs, summary->n_networks, reterr);
}

/* ---- the command ---- */

static int train(const struct settings *settings, const struct dataset *dataset,
                 struct progress *progress, struct detector **ret_detector, struct error *reterr)
{
    struct error why = {0};

    catch_interrupt();
    int r = detector_train(dataset->rows, dataset->n_rows, (const char *const *)dataset->names,
                           dataset->n_features, &settings->trainer, on_epoch, progress,
                           ret_detector, &why);
    if (progress->drawn_us > 0)
        (void)fprintf(stderr, "\r\033[K");
    if (atomic_load(&interrupted))
        return error_set(reterr, -ECANCELED, "train: interrupted, no model file was written");
    if (progress->failed)
        return -ENOMEM;
    if (r < 0 && *why.text)
        return error_set_at(reterr, r, input_name(settings->input.data), 0, "%s", why.text);
    if (progress->n_epochs > 0)
        qsort(progress->epochs, progress->n_epochs, sizeof(*progress->epochs), by_network);
    return r;
}

static size_t n_processors(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (size_t)n : 1;
}

/* All that can go wrong with them is told before the work begins. */
static int check_outputs(const struct settings *settings, struct error *reterr)
{
    const char *data = settings->input.data, *plot = settings->plot;
    const struct recipe *recipe = &settings->trainer.recipe;

    if (plot && recipe->algorithm == ALGORITHM_PCA && recipe->epochs == RECIPE_AUTO)
        return error_set(reterr, -EINVAL,
                         "--plot: --algorithm pca takes no steps, so there are no losses to draw; "
                         "leave it, or give --epochs to train on from there");
    int r = file_check_writable(settings->output, reterr);
    if (r == 0)
        r = output_check_other("--output", settings->output, "--data", data, reterr);
    if (r == 0 && plot)
        r = plot_check(plot, reterr);
    if (r == 0 && plot)
        r = output_check_other("--plot", plot, "--data", data, reterr);
    if (r == 0 && plot)
        r = output_check_other("--plot", plot, "--output", settings->output, reterr);
    return r;
}

static int run(struct settings *settings)
{
    CLEANUP(progress_clear)
    struct progress progress = {.on_terminal = isatty(STDERR_FILENO),
                                .started_us = clock_monotonic_us()};
    CLEANUP(dataset_clear) struct dataset dataset = {0};
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct error err = {0};

    train_warn_of_idle_settings(&settings->prepare);
    settings->trainer.n_threads = settings->n_threads ? settings->n_threads : n_processors();
    if (check_outputs(settings, &err) < 0 || read_rows(settings, &dataset, &err) < 0 ||
        train(settings, &dataset, &progress, &detector, &err) < 0 ||
        model_file_save(detector, settings->output, &err) < 0 ||
        (settings->plot && plot(settings->plot, detector, &progress, &err) < 0))
        return report_error(&err);
    return print_result(settings, &dataset, detector, &progress);
}

int train_main(int argc, char **argv)
{
    struct settings settings = {.output = DEFAULT_OUTPUT};
    AUTO_FREE struct option_row *rows = list_options();
    const struct usage usage = {
        .command = "train",
        .description = description,
        .rows = rows,
        .n_rows = N_ROWS,
    };
    int status;

    if (!rows)
        return report_error(&(struct error){0});
    recipe_init(&settings.trainer.recipe);
    prepare_spec_init(&settings.prepare);
    if (options_parse(&usage, argc, argv, &settings, &status))
        status = run(&settings);
    name_list_clear(&settings.input.exclude);
    prepare_spec_clear(&settings.prepare);
    preparation_free(settings.trainer.preparation);
    relevance_release(settings.trainer.relevance);
    free(settings.numbers);
    free(settings.trimmed);
    return status;
}
