/* anomalyctl inspect - what is in a model file. */
#include "anomalyctl/commands.h"
#include "anomalyctl/judged.h"
#include "anomalyctl/options.h"
#include "anomalyctl/output.h"
#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/architecture.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/preparation_json.h"
#include "detector/relevance.h"
#include "detector/scaler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define HISTOGRAM_BINS  12
#define HISTOGRAM_WIDTH 50

static const double rates[] = {0.1, 0.01, 0.001};

#define N_RATES (sizeof(rates) / sizeof(*rates))

struct settings {
    const char *file;
    bool json;
};

static const struct option_row rows[] = {
    OPTION_ROW("json", NULL, OPTION_FLAG, false, json, "print JSON"),
};

static const struct usage usage = {
    .command = "inspect",
    .operand = "FILE",
    .operand_offset = offsetof(struct settings, file),
    .description = "Shows what is in a model file: architecture, features, calibration, training\n"
                   "and a histogram of the errors of the calibration rows.",
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(*rows),
};

/* Calibration rows by error: bin i holds those from edge(i) to edge(i + 1). The bins grow by a
 * constant factor, because errors spread over orders of magnitude. */
struct histogram {
    double lowest, factor;
    size_t n_rows[HISTOGRAM_BINS];
};

static double edge(const struct histogram *histogram, size_t bin)
{
    return histogram->lowest * pow(histogram->factor, (double)bin);
}

static struct histogram make_histogram(const struct calibration *calibration)
{
    size_t n_errors, left = calibration_n_rows(calibration);
    const double *errors = calibration_errors(calibration, &n_errors);
    const double highest = errors[n_errors - 1] > 0 ? errors[n_errors - 1] : 1;
    /* A perfectly reconstructed row must not stretch the scale for ever. */
    const double lowest = fmin(fmax(errors[0], highest * 1e-4), highest / 2);
    struct histogram histogram = {.lowest = lowest,
                                  .factor = pow(highest / lowest, 1.0 / HISTOGRAM_BINS)};

    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        const bool is_last = i + 1 == HISTOGRAM_BINS;
        const size_t above =
            is_last ? 0 : calibration_n_rows_from(calibration, edge(&histogram, i + 1));
        histogram.n_rows[i] = left - above;
        left = above;
    }
    return histogram;
}

/* ---- for people ---- */

static void print_architecture(const struct detector *detector, struct text *text)
{
    const struct architecture_cost cost = architecture_cost(detector);

    text_puts(text, "Architecture  ");
    architecture_print(detector, text);
    text_printf(text, ", %zu parameters\n", architecture_n_parameters(detector));
    for (size_t i = 0; i < architecture_n_networks(detector); i++) {
        text_printf(text, "  network %zu\n", i);
        for (size_t l = 0; l < architecture_n_layers(detector, i); l++) {
            const struct architecture_layer layer = architecture_layer(detector, i, l);
            text_printf(text, "    %s  %4zu → %-4zu %s\n", layer.is_encoder ? "encoder" : "decoder",
                        layer.n_in, layer.n_out, layer.activation);
        }
    }
    text_printf(text, "  a row costs %zu multiply-adds and reads %zu kB\n", cost.multiply_adds,
                (cost.bytes + 500) / 1000);
}

static void print_choices(const struct detector *detector, struct text *text)
{
    struct architecture_choice choices[ARCHITECTURE_MAX_CHOICES];
    const size_t n = architecture_choices(detector, choices);

    text_puts(text, "\nChosen\n");
    for (size_t i = 0; i < n; i++) {
        /* The reason goes to a line of its own where both do not fit in 80 columns. */
        const bool is_long = strlen(choices[i].value) + strlen(choices[i].reason) > 61;
        text_printf(text, "  %-12s  %s%s(%s)\n", choices[i].what, choices[i].value,
                    is_long ? "\n                " : " ", choices[i].reason);
    }
}

/* In lines of at most 80 columns if they can. */
static void print_option(const struct text *option, size_t *column, struct text *text)
{
    if (*column + option->length > 80) {
        text_printf(text, "\n%*s", 15, "");
        *column = 15;
    }
    text_append(text, option->data ? option->data : "", option->length);
    text->failed = text->failed || option->failed;
    *column += option->length;
}

/* As they may stand behind `anomalyctl train`. */
static void print_options(const struct detector *detector, struct text *text)
{
    const struct recipe *recipe = &detector_summary(detector)->recipe;
    const struct relevance *relevance = detector_relevance(detector);
    size_t column = 15;

    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        CLEANUP(text_clear) struct text option = {0};
        if (!recipe_is_set(recipe, field))
            continue;
        text_printf(&option, " --%s", field->name);
        if (field->kind != RECIPE_FLAG) {
            text_puts(&option, " ");
            recipe_print(recipe, field, &option);
        }
        print_option(&option, &column, text);
    }
    for (enum relevance_part i = 0; i < N_RELEVANCE_PARTS; i++) {
        CLEANUP(text_clear) struct text option = {0};
        if (!relevance_has(relevance, i))
            continue;
        text_printf(&option, " --%s ", relevance_options[i].name);
        relevance_print(relevance, i, &option);
        print_option(&option, &column, text);
    }
    text_puts(text, "\n");
}

static void print_training(const struct detector *detector, struct text *text)
{
    const struct training_summary *summary = detector_summary(detector);

    text_printf(text, "\nTraining\n  rows          %zu: %zu training, ", summary->n_rows,
                summary->n_train);
    if (summary->n_validation > 0)
        text_printf(text, "%zu validation, ", summary->n_validation);
    text_printf(text, "%zu calibration", summary->n_calibration);
    if (summary->n_left_out > 0)
        text_printf(text, "; %zu left out", summary->n_left_out);
    if (summary->n_trimmed > 0)
        text_printf(text, "\n  trimmed       %zu row%s, far from the others", summary->n_trimmed,
                    summary->n_trimmed == 1 ? "" : "s");
    if (summary->n_outliers > 0)
        text_printf(text, "\n  outliers      %zu value%s taken as missing", summary->n_outliers,
                    summary->n_outliers == 1 ? "" : "s");
    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct network_summary *network = &summary->networks[i];
        text_printf(text, "\n  network %zu     loss %.4g, validation %.4g, %zu epochs, best %zu", i,
                    network->loss, network->validation_loss, network->epochs, network->best_epoch);
    }
    text_printf(text, "\n  seed          %llu\n  kernel        %s\n  options      ",
                (unsigned long long)summary->recipe.seed, summary->kernel);
    print_options(detector, text);
}

static void print_calibration(const struct detector *detector, struct text *text)
{
    const struct calibration *calibration = detector_calibration(detector);
    const double in_force = detector_summary(detector)->recipe.false_alarm_rate;

    text_printf(text, "\nCalibration  %zu rows\n  false-alarm rate   threshold\n",
                calibration_n_rows(calibration));
    text_printf(text, "  %16g  %10.4g  in force, %s\n", in_force,
                calibration_threshold(calibration, in_force),
                calibration_basis_name(calibration_basis(calibration, in_force)));
    for (size_t i = 0; i < N_RATES; i++) {
        if (rates[i] == in_force)
            continue;
        text_printf(text, "  %16g  %10.4g  %s\n", rates[i],
                    calibration_threshold(calibration, rates[i]),
                    calibration_basis_name(calibration_basis(calibration, rates[i])));
    }
}

static void print_histogram(const struct detector *detector, struct text *text)
{
    static const char bar[] = "##################################################";
    const struct calibration *calibration = detector_calibration(detector);
    const struct histogram histogram = make_histogram(calibration);
    size_t most = 1;

    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        most = histogram.n_rows[i] > most ? histogram.n_rows[i] : most;
    text_puts(text, "\nReconstruction errors of the calibration rows\n");
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        const size_t n_rows = histogram.n_rows[i];
        /* Whatever is there shows: a lone row is one mark. */
        const int length = (int)((n_rows * HISTOGRAM_WIDTH + most - 1) / most);
        text_printf(text, "  up to %9.3g  %5.1f %%  %.*s\n", edge(&histogram, i + 1),
                    100.0 * (double)n_rows / (double)calibration_n_rows(calibration), length, bar);
    }
}

static void print_categories(const struct prepared_input *input, struct text *text)
{
    for (size_t i = 0; i < input->n_categories; i++)
        text_printf(text, "%s%s", i ? ", " : ": ", input->categories[i]);
}

/* What is not raw. */
static void print_preparation(const struct detector *detector, struct text *text)
{
    const struct preparation *preparation = detector_preparation(detector);
    if (!preparation)
        return;

    text_puts(text, "\nInputs\n");
    for (size_t i = 0; i < schema_n_features(preparation->inputs); i++) {
        const struct prepared_input *input = &preparation->input[i];
        if (input->how == PREPARE_RAW)
            continue;
        text_puts(text, "  ");
        output_append_padded(text, schema_name(preparation->inputs, i), 32);
        text_printf(text, "  %s", preparing_name(input->how));
        print_categories(input, text);
        text_puts(text, "\n");
    }
    if (preparation->context > 1)
        text_printf(text, "  the last %zu rows of a series are seen at once\n",
                    preparation->context);
    if (preparation_needs_series(preparation) && preparation->max_gap > 0.0)
        text_printf(text, "  after %g s without a row a series begins afresh\n",
                    preparation->max_gap);
    if (preparation->zone)
        text_printf(text, "  times of day are those of %s\n", preparation->zone_name);
}

static void print_features(const struct detector *detector, struct text *text)
{
    const struct schema *schema = detector_schema(detector);
    const struct scaler *scaler = detector_ensemble(detector)->scaler;

    text_printf(text, "\nFeatures  %zu\n  %-32s  %12s  %12s  %12s\n", schema_n_features(schema), "",
                "mean", "median", "deviation");
    for (size_t i = 0; i < schema_n_features(schema); i++) {
        text_puts(text, "  ");
        output_append_padded(text, schema_name(schema, i), 32);
        text_printf(text, "  %12.5g  %12.5g  %12.5g\n", (double)scaler_mean(scaler)[i],
                    (double)scaler_median(scaler)[i], (double)scaler_std(scaler)[i]);
    }
}

/* ---- for programs ---- */

static void append_number(struct text *text, const char *key, double value)
{
    text_printf(text, "%s:", key);
    text_double(text, value);
}

static void append_layers(const struct detector *detector, size_t network, struct text *text)
{
    text_puts(text, network ? ",{\"layers\":[" : "{\"layers\":[");
    for (size_t l = 0; l < architecture_n_layers(detector, network); l++) {
        const struct architecture_layer layer = architecture_layer(detector, network, l);
        text_printf(text,
                    "%s{\"part\":\"%s\",\"inputs\":%zu,\"outputs\":%zu,\"activation\":\"%s\"}",
                    l ? "," : "", layer.is_encoder ? "encoder" : "decoder", layer.n_in, layer.n_out,
                    layer.activation);
    }
    text_puts(text, "]}");
}

static void append_architecture(const struct detector *detector, struct text *text)
{
    const struct architecture_cost cost = architecture_cost(detector);

    text_puts(text, "{\"architecture\":\"");
    architecture_print(detector, text);
    text_printf(text, "\",\"parameters\":%zu,\"networks\":[", architecture_n_parameters(detector));
    for (size_t i = 0; i < architecture_n_networks(detector); i++)
        append_layers(detector, i, text);
    text_printf(text,
                "],\"prototypes\":%zu,\"clusters\":%zu,"
                "\"cost\":{\"multiply_adds\":%zu,\"bytes\":%zu}",
                architecture_n_prototypes(detector), architecture_n_clusters(detector),
                cost.multiply_adds, cost.bytes);
}

static void append_choices(const struct detector *detector, struct text *text)
{
    struct architecture_choice choices[ARCHITECTURE_MAX_CHOICES];
    const size_t n = architecture_choices(detector, choices);

    text_puts(text, ",\"choices\":[");
    for (size_t i = 0; i < n; i++) {
        text_printf(text, "%s{\"what\":\"%s\",\"value\":", i ? "," : "", choices[i].what);
        text_json_string(text, choices[i].value, strlen(choices[i].value));
        text_puts(text, ",\"reason\":");
        text_json_string(text, choices[i].reason, strlen(choices[i].reason));
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

static void append_features(const struct detector *detector, struct text *text)
{
    const struct schema *schema = detector_schema(detector);
    const struct scaler *scaler = detector_ensemble(detector)->scaler;

    text_puts(text, ",\"features\":[");
    for (size_t i = 0; i < schema_n_features(schema); i++) {
        const char *name = schema_name(schema, i);
        text_puts(text, i ? ",{\"name\":" : "{\"name\":");
        text_json_string(text, name, strlen(name));
        text_puts(text, ",\"mean\":");
        text_float(text, scaler_mean(scaler)[i]);
        text_puts(text, ",\"median\":");
        text_float(text, scaler_median(scaler)[i]);
        text_puts(text, ",\"std\":");
        text_float(text, scaler_std(scaler)[i]);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

/* As the model file has it; nothing where rows are judged as they come. */
static void append_preparation(const struct detector *detector, struct text *text)
{
    const struct preparation *preparation = detector_preparation(detector);
    json_auto_t *document = preparation ? preparation_to_json(preparation) : NULL;
    AUTO_FREE char *dumped = document ? json_dumps(document, JSON_COMPACT) : NULL;

    if (!preparation)
        return;
    text->failed |= !dumped;
    text_printf(text, ",\"preparation\":%s", dumped ? dumped : "null");
}

static void append_threshold(const struct calibration *calibration, double rate, struct text *text)
{
    append_number(text, "{\"false_alarm_rate\"", rate);
    append_number(text, ",\"threshold\"", calibration_threshold(calibration, rate));
    text_printf(text, ",\"threshold_basis\":\"%s\"}",
                calibration_basis_name(calibration_basis(calibration, rate)));
}

static void append_calibration(const struct detector *detector, struct text *text)
{
    const struct calibration *calibration = detector_calibration(detector);
    const struct histogram histogram = make_histogram(calibration);

    text_printf(text,
                ",\"calibration\":{\"rows\":%zu,\"in_force\":", calibration_n_rows(calibration));
    append_threshold(calibration, detector_summary(detector)->recipe.false_alarm_rate, text);
    for (size_t i = 0; i < N_RATES; i++) {
        text_puts(text, i ? "," : ",\"thresholds\":[");
        append_threshold(calibration, rates[i], text);
    }
    text_puts(text, "],\"histogram\":[");
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        append_number(text, i ? ",{\"up_to\"" : "{\"up_to\"", edge(&histogram, i + 1));
        text_printf(text, ",\"rows\":%zu}", histogram.n_rows[i]);
    }
    text_puts(text, "]}");
}

/* All as strings, which `anomalyctl train` takes. */
static void append_options(const struct detector *detector, struct text *text)
{
    const struct recipe *recipe = &detector_summary(detector)->recipe;
    const struct relevance *relevance = detector_relevance(detector);
    const char *comma = "";

    text_puts(text, ",\"options\":{");
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (recipe_is_set(recipe, &recipe_fields[i])) {
            text_printf(text, "%s\"%s\":\"", comma, recipe_fields[i].name);
            recipe_print(recipe, &recipe_fields[i], text);
            text_puts(text, "\"");
            comma = ",";
        }
    for (enum relevance_part i = 0; i < N_RELEVANCE_PARTS; i++) {
        CLEANUP(text_clear) struct text value = {0};
        if (!relevance_has(relevance, i))
            continue;
        relevance_print(relevance, i, &value);
        text_printf(text, ",\"%s\":", relevance_options[i].name);
        text_json_string(text, value.data ? value.data : "", value.length);
        text->failed = text->failed || value.failed;
    }
    text_puts(text, "}");
}

static void append_training(const struct detector *detector, struct text *text)
{
    const struct training_summary *summary = detector_summary(detector);

    text_printf(text,
                ",\"training\":{\"preset\":\"%s\",\"rows\":%zu,\"drawn_rows\":%zu,"
                "\"training_rows\":%zu,\"validation_rows\":%zu,\"calibration_rows\":%zu,"
                "\"left_out_rows\":%zu,\"trimmed_rows\":%zu,\"outlier_values\":%zu,"
                "\"seed\":%llu,\"kernel\":",
                preset_name(summary->recipe.preset), summary->n_rows, summary->n_drawn,
                summary->n_train, summary->n_validation, summary->n_calibration,
                summary->n_left_out, summary->n_trimmed, summary->n_outliers,
                (unsigned long long)summary->recipe.seed);
    text_json_string(text, summary->kernel, strlen(summary->kernel));
    append_options(detector, text);
    text_puts(text, ",\"networks\":[");
    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct network_summary *network = &summary->networks[i];
        text_printf(text, "%s{\"epochs\":%zu,\"best_epoch\":%zu", i ? "," : "", network->epochs,
                    network->best_epoch);
        append_number(text, ",\"loss\"", network->loss);
        append_number(text, ",\"validation_loss\"", network->validation_loss);
        text_printf(text, ",\"warm_start\":%s}", network->is_warm ? "true" : "false");
    }
    text_puts(text, "]}}\n");
}

int inspect_main(int argc, char **argv)
{
    struct settings settings = {0};
    CLEANUP(detector_freep) struct detector *detector = NULL;
    CLEANUP(text_clear) struct text text = {0};
    struct error err = {0};
    int status;

    if (!options_parse(&usage, argc, argv, &settings, &status))
        return status;
    if (judged_load_model(settings.file, &detector, &err) < 0)
        return report_error(&err);

    static void (*const for_people[])(const struct detector *, struct text *) = {
        print_architecture, print_choices,     print_training, print_calibration,
        print_histogram,    print_preparation, print_features};
    static void (*const for_programs[])(const struct detector *, struct text *) = {
        append_architecture, append_choices,     append_preparation,
        append_features,     append_calibration, append_training};
    if (settings.json)
        for (size_t i = 0; i < sizeof(for_programs) / sizeof(*for_programs); i++)
            for_programs[i](detector, &text);
    else
        for (size_t i = 0; i < sizeof(for_people) / sizeof(*for_people); i++)
            for_people[i](detector, &text);
    return output_text(&text);
}
