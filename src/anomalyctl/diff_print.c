/* What `anomalyctl diff` shows: for people in lines of at most 80 columns, what matters first; for
 * programs all of it. */
#include "anomalyctl/diff.h"
#include "anomalyctl/output.h"
#include "anomalyctl/table.h"
#include "base/text.h"
#include "data/schema.h"
#include "detector/architecture.h"
#include "detector/detector.h"
#include "detector/relevance.h"
#include "detector/scaler.h"

#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH   18
#define SIDE_WIDTH    28
#define NAME_WIDTH    20
#define MOST_FEATURES 20 /* shown to people */
#define MOST_NAMES    10

/* ---- values ---- */

static const char *string_of(const json_t *object, const char *key)
{
    const char *string = json_string_value(json_object_get(object, key));

    return string ? string : "?";
}

static const struct recipe *recipe_of(const struct diff_side *side)
{
    return &detector_summary(side->detector)->recipe;
}

/* Options of the training, those of the recipe first. */
static size_t count_options(void)
{
    return recipe_n_fields + N_RELEVANCE_PARTS;
}

static const char *option_name(size_t i)
{
    return i < recipe_n_fields ? recipe_fields[i].name
                               : relevance_options[i - recipe_n_fields].name;
}

/* What it was set to; "chosen" by the preset. */
static void print_option(const struct diff_side *side, size_t i, struct text *text)
{
    const struct relevance *relevance = detector_relevance(side->detector);
    const enum relevance_part part = (enum relevance_part)(i - recipe_n_fields);

    if (i < recipe_n_fields && recipe_is_set(recipe_of(side), &recipe_fields[i]))
        recipe_print(recipe_of(side), &recipe_fields[i], text);
    else if (i < recipe_n_fields)
        text_puts(text, "chosen");
    else if (relevance_has(relevance, part))
        relevance_print(relevance, part, text);
    else
        text_puts(text, "none");
}

static bool is_same_option(const struct diff *diff, size_t i)
{
    CLEANUP(text_clear) struct text a = {0}, b = {0};

    print_option(&diff->a, i, &a);
    print_option(&diff->b, i, &b);
    return !text_failed(&a) && !text_failed(&b) && strcmp(a.data, b.data) == 0;
}

/* ---- for people ---- */

/* A line of two values; long ones below each other. */
static void put_pair(struct text *text, const char *label, struct text *a, struct text *b)
{
    const char *left = a->data ? a->data : "", *right = b->data ? b->data : "";
    const bool is_long =
        output_count_characters(left) > SIDE_WIDTH || output_count_characters(right) > SIDE_WIDTH;

    text->failed = text->failed || a->failed || b->failed;
    text_puts(text, "  ");
    output_append_padded(text, label, LABEL_WIDTH);
    if (is_long && strcmp(left, right) == 0) {
        text_printf(text, "%s\n", left);
    } else if (is_long) {
        text_printf(text, "%s\n  %*s→ %s\n", left, LABEL_WIDTH - 2, "", right);
    } else {
        output_append_padded(text, left, SIDE_WIDTH);
        text_printf(text, "  %s\n", right);
    }
    text_clear(a);
    text_clear(b);
}

static void print_state(const struct diff_side *side, struct text *text)
{
    text_puts(text, string_of(side->listed, "state"));
    if (json_is_true(json_object_get(side->listed, "pinned")))
        text_puts(text, ", pinned");
}

static void print_origin(const struct diff_side *side, struct text *text)
{
    text_puts(text, string_of(side->listed, "origin"));
    if (side->run)
        text_printf(text, ", run %lld (%s)",
                    (long long)json_integer_value(json_object_get(side->run, "id")),
                    string_of(side->run, "trigger"));
}

static void print_made(const struct diff_side *side, struct text *text)
{
    text_puts(text, string_of(side->listed, "made_at"));
}

static void print_rows(const struct diff_side *side, struct text *text)
{
    text_printf(text, "%zu", detector_summary(side->detector)->n_rows);
}

static void print_networks(const struct diff_side *side, struct text *text)
{
    architecture_print(side->detector, text);
}

static void print_rate(const struct diff_side *side, struct text *text)
{
    text_printf(text, "%g %%", 100 * recipe_of(side)->false_alarm_rate);
}

static void print_threshold(const struct diff_side *side, struct text *text)
{
    text_printf(text, "%.4g, %s", side->threshold, side->threshold_basis);
}

static void put_heads(const struct diff *diff, struct text *text)
{
    static const struct {
        const char *label;
        void (*print)(const struct diff_side *side, struct text *text);
    } lines[] = {
        {"state",            print_state    },
        {"made",             print_made     },
        {"origin",           print_origin   },
        {"training rows",    print_rows     },
        {"networks",         print_networks },
        {"false-alarm rate", print_rate     },
        {"threshold",        print_threshold},
    };
    CLEANUP(text_clear) struct text a = {0}, b = {0};

    text_printf(&a, "version %u", diff->a.version);
    text_printf(&b, "version %u", diff->b.version);
    put_pair(text, diff->model, &a, &b);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        lines[i].print(&diff->a, &a);
        lines[i].print(&diff->b, &b);
        put_pair(text, lines[i].label, &a, &b);
    }
    if (diff->false_alarm_rate != recipe_of(&diff->a)->false_alarm_rate ||
        diff->false_alarm_rate != recipe_of(&diff->b)->false_alarm_rate)
        text_printf(text, "  Thresholds are for the rate in force, %g %%.\n",
                    100 * diff->false_alarm_rate);
}

static void put_options(const struct diff *diff, struct text *text)
{
    CLEANUP(text_clear) struct text a = {0}, b = {0};
    size_t n = 0;

    text_puts(text, "\nTraining options");
    for (size_t i = 0; i < count_options(); i++) {
        if (is_same_option(diff, i))
            continue;
        text_puts(text, n++ == 0 ? " that differ\n" : "");
        print_option(&diff->a, i, &a);
        print_option(&diff->b, i, &b);
        put_pair(text, option_name(i), &a, &b);
    }
    text_puts(text, n == 0 ? ": the same\n" : "");
}

static void put_names(struct text *text, const char *what, const struct schema *schema,
                      const size_t *features, size_t n)
{
    CLEANUP(text_clear) struct text line = {0};
    char shown[TEXT_SHOWN_SIZE];

    if (n == 0)
        return;
    text_printf(&line, "%s:", what);
    for (size_t i = 0; i < n && i < MOST_NAMES; i++) {
        const char *name = schema_name(schema, features[i]);
        text_printf(&line, "%s %s", i ? "," : "", text_show(shown, name, strlen(name)));
    }
    if (n > MOST_NAMES)
        text_printf(&line, " and %zu more", n - MOST_NAMES);
    text->failed = text->failed || text_failed(&line);
    table_print_note(line.data ? line.data : "", text);
}

static void put_feature(const struct diff *diff, const struct moved_feature *feature,
                        struct text *text)
{
    const struct scaler *a = detector_ensemble(diff->a.detector)->scaler;
    const struct scaler *b = detector_ensemble(diff->b.detector)->scaler;
    const char *name = schema_name(detector_schema(diff->a.detector), feature->in_a);
    char spread_a[16] = "constant", spread_b[16] = "constant";

    if (!feature->was_constant)
        (void)snprintf(spread_a, sizeof(spread_a), "%.4g", (double)scaler_std(a)[feature->in_a]);
    if (!feature->is_constant)
        (void)snprintf(spread_b, sizeof(spread_b), "%.4g", (double)scaler_std(b)[feature->in_b]);
    text_puts(text, "  ");
    output_append_padded(text, name, NAME_WIDTH);
    if (output_count_characters(name) > NAME_WIDTH)
        text_printf(text, "\n  %*s", NAME_WIDTH, "");
    text_printf(text, " %9.4g → %9.4g", (double)scaler_mean(a)[feature->in_a],
                (double)scaler_mean(b)[feature->in_b]);
    if (feature->was_constant)
        text_printf(text, " %8s", "");
    else
        text_printf(text, " %+8.2f", feature->shift);
    text_printf(text, " %9s → %s\n", spread_a, spread_b);
}

static void put_features(const struct diff *diff, struct text *text)
{
    const struct difference *difference = &diff->difference;
    const size_t n_rest = difference->n_features - difference->n_matter;
    const size_t n_shown =
        difference->n_matter < MOST_FEATURES ? difference->n_matter : MOST_FEATURES;

    text_printf(text, "\nFeatures: %zu in both\n", difference->n_features);
    put_names(text, "added", detector_schema(diff->b.detector), difference->added,
              difference->n_added);
    put_names(text, "removed", detector_schema(diff->a.detector), difference->removed,
              difference->n_removed);
    if (n_shown > 0)
        text_printf(text, "  %-*s %21s %8s %21s\n", NAME_WIDTH, "moved", "mean", "by sd",
                    "deviation");
    for (size_t i = 0; i < n_shown; i++)
        put_feature(diff, &difference->features[i], text);
    if (difference->n_matter > n_shown)
        text_printf(text, "  and %zu more; --json tells all\n", difference->n_matter - n_shown);
    if (n_rest > 0)
        text_printf(text, "  %s%zu moved by less than %g sd\n", n_shown > 0 ? "the other " : "all ",
                    n_rest, DIFFERENCE_MATTERS);
}

/* ---- the gate's comparison ---- */

/* path: "synthetic.roc_auc" */
static void put_measure(const json_t *side, const char *path, bool is_share, struct text *text)
{
    const char *dot = strchr(path, '.');
    char outer[32];

    (void)snprintf(outer, sizeof(outer), "%.*s", dot ? (int)(dot - path) : (int)strlen(path), path);
    const json_t *value = json_object_get(side, outer);
    if (dot)
        value = json_object_get(value, dot + 1);
    if (!json_is_number(value))
        text_puts(text, "not measured");
    else if (is_share)
        text_printf(text, "%.3g %%", 100 * json_number_value(value));
    else
        text_printf(text, "%.4f", json_number_value(value));
}

static void put_comparison(const struct diff *diff, struct text *text)
{
    static const struct {
        const char *label, *path;
        bool is_share, is_of_confirmed;
    } lines[] = {
        {"flagged",           "false_alarm_rate",      true,  false},
        {"ROC AUC",           "synthetic.roc_auc",     false, false},
        {"partial AUC",       "synthetic.partial_auc", false, false},
        {"confirmed ROC AUC", "confirmed.roc_auc",     false, true },
    };
    const json_t *run = diff->b.run, *comparison = json_object_get(run, "comparison");
    const json_t *live = json_object_get(comparison, "live");
    const json_t *candidate = json_object_get(comparison, "candidate");
    const bool has_confirmed =
        json_integer_value(json_object_get(comparison, "confirmed_anomalies")) > 0;
    const char *reason = json_string_value(json_object_get(run, "reason"));
    CLEANUP(text_clear) struct text a = {0}, b = {0};

    text_printf(text, "\nRun %lld held version %u against what was live then, on %lld rows: %s\n",
                (long long)json_integer_value(json_object_get(run, "id")), diff->b.version,
                (long long)json_integer_value(json_object_get(comparison, "held_rows")),
                string_of(run, "state"));
    if (reason)
        table_print_note(reason, text);
    text_puts(&a, "live then");
    text_printf(&b, "version %u", diff->b.version);
    put_pair(text, "", &a, &b);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        if (lines[i].is_of_confirmed && !has_confirmed)
            continue;
        put_measure(live, lines[i].path, lines[i].is_share, &a);
        put_measure(candidate, lines[i].path, lines[i].is_share, &b);
        put_pair(text, lines[i].label, &a, &b);
    }
}

void diff_print(const struct diff *diff, struct text *text)
{
    put_heads(diff, text);
    put_options(diff, text);
    put_features(diff, text);
    if (json_object_get(diff->b.run, "comparison"))
        put_comparison(diff, text);
    else
        text_printf(text, "\nVersion %u was not trained by a run: nothing compared it\n",
                    diff->b.version);
}

/* ---- for programs ---- */

static json_t *options_json(const struct diff *diff)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < count_options(); i++) {
        CLEANUP(text_clear) struct text a = {0}, b = {0};
        if (is_same_option(diff, i))
            continue;
        print_option(&diff->a, i, &a);
        print_option(&diff->b, i, &b);
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "option", option_name(i), "a", a.data, "b", b.data));
    }
    return list;
}

static json_t *names_json(const struct schema *schema, const size_t *features, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < n; i++)
        (void)json_array_append_new(list, json_string(schema_name(schema, features[i])));
    return list;
}

static json_t *features_json(const struct diff *diff)
{
    const struct scaler *a = detector_ensemble(diff->a.detector)->scaler;
    const struct scaler *b = detector_ensemble(diff->b.detector)->scaler;
    json_t *list = json_array();

    for (size_t i = 0; list && i < diff->difference.n_features; i++) {
        const struct moved_feature *feature = &diff->difference.features[i];
        (void)json_array_append_new(
            list,
            json_pack("{s:s,s:b,s:f,s:f,s:b,s:b,s:{s:f,s:f},s:{s:f,s:f}}", "name",
                      schema_name(detector_schema(diff->a.detector), feature->in_a), "matters",
                      i < diff->difference.n_matter, "shift_sd", feature->shift, "spread_ratio",
                      feature->spread, "was_constant", feature->was_constant, "is_constant",
                      feature->is_constant, "a", "mean", (double)scaler_mean(a)[feature->in_a],
                      "std", (double)scaler_std(a)[feature->in_a], "b", "mean",
                      (double)scaler_mean(b)[feature->in_b], "std",
                      (double)scaler_std(b)[feature->in_b]));
    }
    return list;
}

/* Its line of the list, and what its file says. */
static json_t *side_json(const struct diff_side *side)
{
    CLEANUP(text_clear) struct text networks = {0};

    architecture_print(side->detector, &networks);
    json_auto_t *found =
        json_pack("{s:s,s:f,s:f,s:s,s:o}", "architecture", networks.data, "false_alarm_rate",
                  recipe_of(side)->false_alarm_rate, "threshold", side->threshold,
                  "threshold_basis", side->threshold_basis, "trigger",
                  side->run ? json_string(string_of(side->run, "trigger")) : json_null());
    if (!found || json_object_update_missing(found, side->listed) < 0)
        return NULL;
    return json_incref(found);
}

json_t *diff_json(const struct diff *diff)
{
    const struct difference *difference = &diff->difference;

    return json_pack(
        "{s:s,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:O?}", "model", diff->model, "false_alarm_rate",
        diff->false_alarm_rate, "a", side_json(&diff->a), "b", side_json(&diff->b), "options",
        options_json(diff), "features", features_json(diff), "added",
        names_json(detector_schema(diff->b.detector), difference->added, difference->n_added),
        "removed",
        names_json(detector_schema(diff->a.detector), difference->removed, difference->n_removed),
        "run", diff->b.run);
}
