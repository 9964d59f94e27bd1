#include "detector/recipe.h"

#include "base/number.h"
#include "base/text.h"
#include "nn/activation.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const presets[] = {"best", "balanced", "fast", NULL};
static const char *const algorithms[] = {"autoencoder", "pca", NULL};
static const char *const losses[] = {"auto", "mse", "cross-entropy", "mixed", NULL};
static const char *const optimizers[] = {"sgd", "momentum", "nesterov", "adam", "adamw", NULL};
static const char *const noise_kinds[] = {"gaussian", "masking", NULL};
static const char *const schedules[] = {"constant", "cosine", NULL};

#define FIELD(name, kind, member, choices, argument, help)                   \
    {                                                                        \
        name, kind, offsetof(struct recipe, member), choices, argument, help \
    }
const struct recipe_field recipe_fields[] = {
    FIELD("preset", RECIPE_CHOICE, preset, presets, "best|balanced|fast",
          "best: two networks, prototypes, clusters; balanced: one\n"
          "network of these; fast: one classic network (best)"),
    FIELD("algorithm", RECIPE_CHOICE, algorithm, algorithms, "autoencoder|pca",
          "pca: a linear network in closed form (autoencoder)"),
    FIELD("false-alarm-rate", RECIPE_RATE, false_alarm_rate, NULL, "R",
          "share of normal rows that may be flagged (0.001)"),
    FIELD("trim", RECIPE_TRIM, trim, NULL, "auto|0|R",
          "leave out rows far from all that there are many of:\n"
          "auto: those beyond the tail of the others; R: that\nshare of all (0)"),
    FIELD("seed", RECIPE_SEED, seed, NULL, "N", "same seed, rows and options: the same file (1)"),
    FIELD("hidden", RECIPE_WIDTHS, n_hidden, NULL, "24,12",
          "widths of the encoder's hidden layers, mirrored in the\ndecoder; none: no such layer"),
    FIELD("latent", RECIPE_COUNT, latent, NULL, "N|auto", "width of the code"),
    FIELD("activation", RECIPE_ACTIVATIONS, n_activations, NULL, "NAME,…",
          "linear, sigmoid, tanh, relu, silu or elu: one for the\n"
          "hidden layers (fast: and the code), or one a layer,\nthe output's last"),
    FIELD("loss", RECIPE_CHOICE, loss, losses, "auto|mse|cross-entropy|mixed",
          "cross-entropy: for values from 0 to 1; mixed: that for\n"
          "0/1 features, mse for the others (auto: by the values)"),
    FIELD("optimizer", RECIPE_CHOICE, optimizer, optimizers, "NAME",
          "sgd, momentum, nesterov, adam or adamw (adam)"),
    FIELD("learning-rate", RECIPE_POSITIVE, learning_rate, NULL, "R", "size of a step (0.002)"),
    FIELD("schedule", RECIPE_CHOICE, schedule, schedules, "constant|cosine",
          "whether the steps get smaller towards the end"),
    FIELD("warmup", RECIPE_COUNT_OR_0, warmup, NULL, "N",
          "steps in which the learning rate rises from 0"),
    FIELD("epochs", RECIPE_COUNT, epochs, NULL, "N",
          "passes over the rows at most (best, balanced: 3,000\nsteps instead; fast: 400)"),
    FIELD("batch-size", RECIPE_COUNT, batch_size, NULL, "N", "rows a step (64)"),
    FIELD("patience", RECIPE_COUNT_OR_0, patience, NULL, "N",
          "epochs without a better validation loss before training\nends; 0: never (fast: 20)"),
    FIELD("weight-decay", RECIPE_AMOUNT, weight_decay, NULL, "R", "L2 penalty on weights"),
    FIELD("l1", RECIPE_AMOUNT, l1, NULL, "R", "L1 penalty on weights"),
    FIELD("sparsity", RECIPE_AMOUNT, sparsity, NULL, "R",
          "penalty on codes: sigmoid codes towards 5 % activity\n(Kullback-Leibler), others L1"),
    FIELD("noise", RECIPE_AMOUNT, noise, NULL, "R",
          "denoising: the network sees rows with noise of this\ndeviation (best, balanced: 0.8; "
          "where a row is encoded\nonly once, and masking: 0.5)"),
    FIELD("noise-kind", RECIPE_CHOICE, noise_kind, noise_kinds, "gaussian|masking",
          "masking: a share of the values is set to 0 (gaussian)"),
    FIELD("clip", RECIPE_AMOUNT, clip, NULL, "R", "largest norm of the gradient; 0: any"),
    FIELD("tied", RECIPE_FLAG, is_tied, NULL, NULL,
          "the decoder uses the encoder's weights, transposed"),
    FIELD("prototypes", RECIPE_COUNT_OR_0, prototypes, NULL, "N",
          "typical rows to compare with; 0: none (400)"),
    FIELD("clusters", RECIPE_COUNT_OR_0, clusters, NULL, "N",
          "clouds of rows to compare with; 0: none (4)"),
};
const size_t recipe_n_fields = sizeof(recipe_fields) / sizeof(*recipe_fields);

const char *preset_name(int preset)
{
    return presets[preset];
}

static void *at(struct recipe *recipe, const struct recipe_field *field)
{
    return (char *)recipe + field->offset;
}

void recipe_init(struct recipe *recipe)
{
    *recipe = (struct recipe){
        .false_alarm_rate = 0.001,
        .seed = 1,
        .preset = PRESET_BEST,
        .algorithm = ALGORITHM_AUTOENCODER,
        .loss = RECIPE_LOSS_AUTO,
        .optimizer = -1,
        .noise_kind = -1,
        .schedule = -1,
        .n_hidden = RECIPE_AUTO,
        .n_activations = RECIPE_AUTO,
        .latent = RECIPE_AUTO,
        .epochs = RECIPE_AUTO,
        .batch_size = RECIPE_AUTO,
        .warmup = RECIPE_AUTO,
        .patience = RECIPE_AUTO,
        .prototypes = RECIPE_AUTO,
        .clusters = RECIPE_AUTO,
        .learning_rate = (double)NAN,
        .weight_decay = (double)NAN,
        .l1 = (double)NAN,
        .sparsity = (double)NAN,
        .noise = (double)NAN,
        .clip = (double)NAN,
    };
}

/* ---- from text ---- */

static int set_choice(int *choice, const char *const *choices, const char *text,
                      struct error *reterr)
{
    char all[128] = "";

    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *choice = i;
            return 0;
        }
        (void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "",
                       choices[i]);
    }
    return error_set(reterr, -EINVAL, "must be one of %s", all);
}

static int set_count(size_t *count, const char *text, size_t least, struct error *reterr)
{
    uint64_t value;

    if (strcmp(text, "auto") == 0) {
        *count = RECIPE_AUTO;
        return 0;
    }
    if (number_parse_u64(text, strlen(text), &value) < 0 || value < least ||
        value > RECIPE_MAX_COUNT)
        return error_set(reterr, -EINVAL, "must be a whole number from %zu to %d, or auto", least,
                         RECIPE_MAX_COUNT);
    *count = (size_t)value;
    return 0;
}

static int set_real(double *real, const char *text, enum recipe_kind kind, struct error *reterr)
{
    double value;
    const bool is_number = number_parse_double(text, strlen(text), &value) == 0 && isfinite(value);

    if (kind == RECIPE_RATE && !(is_number && value >= 1e-9 && value < 1.0))
        return error_set(reterr, -EINVAL, "must be a number from 1e-9 to below 1, as in 0.001");
    if (kind == RECIPE_POSITIVE && !(is_number && value > 0.0))
        return error_set(reterr, -EINVAL, "must be a number above 0");
    if (kind == RECIPE_AMOUNT && !(is_number && value >= 0.0))
        return error_set(reterr, -EINVAL, "must be a number that is 0 or above");
    *real = value;
    return 0;
}

static int set_trim(double *trim, const char *text, struct error *reterr)
{
    double value = RECIPE_TRIM_AUTO;

    if (strcmp(text, "auto") != 0 &&
        (number_parse_double(text, strlen(text), &value) < 0 || !(value >= 0.0 && value < 0.5)))
        return error_set(reterr, -EINVAL,
                         "must be auto, 0, or the share of rows to leave out, below 0.5");
    *trim = value;
    return 0;
}

static int set_seed(uint64_t *seed, const char *text, struct error *reterr)
{
    uint64_t value;

    if (number_parse_u64(text, strlen(text), &value) < 0 || value > INT64_MAX)
        return error_set(reterr, -EINVAL, "must be a whole number from 0 to 9223372036854775807");
    *seed = value;
    return 0;
}

/* Calls set(recipe, i, item) for each of the items between commas; -EINVAL if it says so, or
 * there are more than most. Returns their number. */
static int for_each_item(const char *text, size_t most,
                         int (*set)(struct recipe *recipe, size_t i, const char *item),
                         struct recipe *recipe)
{
    size_t n = 0;

    for (const char *end; *text || n == 0; text = *end ? end + 1 : end) {
        char item[32];
        end = text + strcspn(text, ",");
        const size_t length = (size_t)(end - text);
        if (n == most || length == 0 || length >= sizeof(item) || (*end && !end[1]))
            return -EINVAL;
        memcpy(item, text, length);
        item[length] = '\0';
        if (set(recipe, n++, item) < 0)
            return -EINVAL;
    }
    return (int)n;
}

static int set_width(struct recipe *recipe, size_t i, const char *item)
{
    uint64_t width;

    if (number_parse_u64(item, strlen(item), &width) < 0 || width == 0 || width > RECIPE_MAX_WIDTH)
        return -EINVAL;
    recipe->hidden[i] = (size_t)width;
    return 0;
}

static int set_activation(struct recipe *recipe, size_t i, const char *item)
{
    enum activation activation;

    if (activation_from_name(item, &activation) < 0)
        return -EINVAL;
    recipe->activations[i] = (int)activation;
    return 0;
}

static int set_widths(struct recipe *recipe, const char *text, struct error *reterr)
{
    struct recipe changed = *recipe;
    const bool none = strcmp(text, "none") == 0, chosen = strcmp(text, "auto") == 0;
    const int n = none || chosen ? 0 : for_each_item(text, RECIPE_MAX_HIDDEN, set_width, &changed);

    if (n < 0)
        return error_set(reterr, -EINVAL,
                         "must be at most %d whole numbers from 1 to %d, as in 24,12, or none",
                         RECIPE_MAX_HIDDEN, RECIPE_MAX_WIDTH);
    *recipe = changed;
    recipe->n_hidden = chosen ? RECIPE_AUTO : (size_t)n;
    return 0;
}

static int set_activations(struct recipe *recipe, const char *text, struct error *reterr)
{
    struct recipe changed = *recipe;
    const int n = for_each_item(text, RECIPE_MAX_ACTIVATIONS, set_activation, &changed);

    if (n < 0)
        return error_set(reterr, -EINVAL,
                         "must be linear, sigmoid, tanh, relu, silu or elu, or at most %d of them, "
                         "one a layer, as in relu,linear,relu,linear",
                         RECIPE_MAX_ACTIVATIONS);
    *recipe = changed;
    recipe->n_activations = (size_t)n;
    return 0;
}

int recipe_set(struct recipe *recipe, const struct recipe_field *field, const char *text,
               struct error *reterr)
{
    switch (field->kind) {
    case RECIPE_CHOICE:
        return set_choice(at(recipe, field), field->choices, text, reterr);
    case RECIPE_COUNT:
        return set_count(at(recipe, field), text, 1, reterr);
    case RECIPE_COUNT_OR_0:
        return set_count(at(recipe, field), text, 0, reterr);
    case RECIPE_POSITIVE:
    case RECIPE_AMOUNT:
    case RECIPE_RATE:
        return set_real(at(recipe, field), text, field->kind, reterr);
    case RECIPE_TRIM:
        return set_trim(at(recipe, field), text, reterr);
    case RECIPE_SEED:
        return set_seed(at(recipe, field), text, reterr);
    case RECIPE_WIDTHS:
        return set_widths(recipe, text, reterr);
    case RECIPE_ACTIVATIONS:
        return set_activations(recipe, text, reterr);
    case RECIPE_FLAG:
        *(bool *)at(recipe, field) = strcmp(text, "yes") == 0;
        return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0
                   ? 0
                   : error_set(reterr, -EINVAL, "must be yes or no");
    }
    return -EINVAL;
}

bool recipe_is_set(const struct recipe *recipe, const struct recipe_field *field)
{
    const void *value = (const char *)recipe + field->offset;

    switch (field->kind) {
    case RECIPE_CHOICE:
        return *(const int *)value >= 0;
    case RECIPE_COUNT:
    case RECIPE_COUNT_OR_0:
    case RECIPE_WIDTHS:
    case RECIPE_ACTIVATIONS:
        return *(const size_t *)value != RECIPE_AUTO;
    case RECIPE_POSITIVE:
    case RECIPE_AMOUNT:
    case RECIPE_RATE:
        return !isnan(*(const double *)value);
    case RECIPE_TRIM:
        return *(const double *)value != 0.0;
    case RECIPE_SEED:
        return true;
    case RECIPE_FLAG:
        return *(const bool *)value;
    }
    return false;
}

void recipe_print(const struct recipe *recipe, const struct recipe_field *field, struct text *text)
{
    const void *value = (const char *)recipe + field->offset;

    switch (field->kind) {
    case RECIPE_CHOICE:
        text_puts(text, field->choices[*(const int *)value]);
        return;
    case RECIPE_COUNT:
    case RECIPE_COUNT_OR_0:
        text_printf(text, "%zu", *(const size_t *)value);
        return;
    case RECIPE_POSITIVE:
    case RECIPE_AMOUNT:
    case RECIPE_RATE:
        text_double(text, *(const double *)value);
        return;
    case RECIPE_TRIM:
        if (recipe->trim == RECIPE_TRIM_AUTO)
            text_puts(text, "auto");
        else
            text_double(text, recipe->trim);
        return;
    case RECIPE_SEED:
        text_printf(text, "%" PRIu64, recipe->seed);
        return;
    case RECIPE_WIDTHS:
        for (size_t i = 0; i < recipe->n_hidden; i++)
            text_printf(text, "%s%zu", i ? "," : "", recipe->hidden[i]);
        text_puts(text, recipe->n_hidden ? "" : "none");
        return;
    case RECIPE_ACTIVATIONS:
        for (size_t i = 0; i < recipe->n_activations; i++)
            text_printf(text, "%s%s", i ? "," : "",
                        activation_name((enum activation)recipe->activations[i]));
        return;
    case RECIPE_FLAG:
        text_puts(text, *(const bool *)value ? "yes" : "no");
        return;
    }
}
