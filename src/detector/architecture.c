#include "detector/architecture.h"

#include "base/text.h"
#include "detector/clusters.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/plan.h"
#include "detector/prototypes.h"
#include "detector/trainer.h"
#include "nn/network.h"
#include "nn/optimizer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct network *network_at(const struct detector *detector, size_t network)
{
    assert(network < architecture_n_networks(detector));
    return detector_ensemble(detector)->networks[network];
}

size_t architecture_n_networks(const struct detector *detector)
{
    return detector_ensemble(detector)->n_networks;
}

size_t architecture_n_layers(const struct detector *detector, size_t network)
{
    return network_at(detector, network)->n_layers;
}

struct architecture_layer architecture_layer(const struct detector *detector, size_t network,
                                             size_t layer)
{
    const struct network *found = network_at(detector, network);

    assert(layer < found->n_layers);
    return (struct architecture_layer){
        .n_in = found->layers[layer].n_in,
        .n_out = found->layers[layer].n_out,
        .activation = activation_name(found->layers[layer].activation),
        .is_encoder = layer < found->n_encoder_layers,
    };
}

size_t architecture_n_parameters(const struct detector *detector)
{
    size_t n = 0;

    for (size_t i = 0; i < architecture_n_networks(detector); i++)
        n += network_at(detector, i)->n_params;
    return n;
}

size_t architecture_n_prototypes(const struct detector *detector)
{
    const struct prototypes *prototypes = detector_ensemble(detector)->prototypes;

    return prototypes ? prototypes->n_centroids : 0;
}

size_t architecture_n_clusters(const struct detector *detector)
{
    const struct clusters *clusters = detector_ensemble(detector)->clusters;

    return clusters ? clusters->n_clusters : 0;
}

void architecture_print(const struct detector *detector, struct text *text)
{
    for (size_t i = 0; i < architecture_n_networks(detector); i++) {
        text_printf(text, "%s%zu", i ? " + " : "", architecture_layer(detector, i, 0).n_in);
        for (size_t l = 0; l < architecture_n_layers(detector, i); l++)
            text_printf(text, "-%zu", architecture_layer(detector, i, l).n_out);
    }
}

struct architecture_cost architecture_cost(const struct detector *detector)
{
    const struct ensemble_cost cost = ensemble_cost(detector_ensemble(detector));

    return (struct architecture_cost){cost.multiply_adds, cost.bytes};
}

/* ---- what was chosen, and why ---- */

struct list {
    const struct detector *detector;
    const struct recipe *recipe;
    struct architecture_choice *choices;
    size_t n;
};

static struct architecture_choice *add(struct list *list, const char *what)
{
    assert(list->n < ARCHITECTURE_MAX_CHOICES);
    struct architecture_choice *choice = &list->choices[list->n++];

    *choice = (struct architecture_choice){.what = what};
    return choice;
}

#define VALUE(choice, ...) ((void)snprintf((choice)->value, sizeof((choice)->value), __VA_ARGS__))
#define REASON(choice, ...) \
    ((void)snprintf((choice)->reason, sizeof((choice)->reason), __VA_ARGS__))

static const char *by_preset(const struct list *list, bool asked)
{
    static const char *const reasons[] = {"preset best", "preset balanced", "preset fast"};

    return asked                                      ? "asked for"
           : list->recipe->algorithm == ALGORITHM_PCA ? "algorithm pca"
                                                      : reasons[list->recipe->preset];
}

static bool is_classic(const struct list *list)
{
    return list->recipe->preset == PRESET_FAST || list->recipe->algorithm == ALGORITHM_PCA;
}

static void choose_encoding(struct list *list)
{
    const struct encoding *encoding = detector_ensemble(list->detector)->encoding;
    struct architecture_choice *choice = add(list, "encoding");

    if (encoding->rank_gauss) {
        VALUE(choice, "kurtosis-scaled and rank-gauss");
        REASON(choice, "%s, at most %d features", by_preset(list, false), PLAN_MOST_FEATURES);
    } else if (detector_ensemble(list->detector)->networks[0]->bounded) {
        VALUE(choice, "0 to 1 as they are, others standardised");
        REASON(choice, "cross-entropy compares values from 0 to 1");
    } else {
        VALUE(choice, "standardised");
        if (is_classic(list))
            REASON(choice, "%s", by_preset(list, false));
        else
            REASON(choice, "more than %d features", PLAN_MOST_FEATURES);
    }
}

static void choose_code(struct list *list)
{
    const size_t n_networks = architecture_n_networks(list->detector);
    struct architecture_choice *choice = add(list, "code");

    for (size_t i = 0; i < n_networks; i++) {
        const size_t used = strlen(choice->value);
        (void)snprintf(choice->value + used, sizeof(choice->value) - used, "%s%zu", i ? ", " : "",
                       network_n_codes(network_at(list->detector, i)));
    }
    const size_t n_inputs = network_n_features(network_at(list->detector, 0));
    if (list->recipe->latent != RECIPE_AUTO)
        REASON(choice, "asked for");
    else if (list->recipe->algorithm == ALGORITHM_PCA)
        REASON(choice, "as many components as explain 90 %% of the variance, at most 64");
    else
        REASON(choice, "%s, %zu inputs", by_preset(list, false), n_inputs);
}

static void choose_loss(struct list *list)
{
    const struct network *network = network_at(list->detector, 0);
    size_t n_bounded = 0;
    struct architecture_choice *choice = add(list, "loss");

    for (size_t j = 0; network->bounded && j < network_n_features(network); j++)
        n_bounded += network->bounded[j];
    VALUE(choice, "%s",
          n_bounded == 0                             ? "mse"
          : n_bounded == network_n_features(network) ? "cross-entropy"
                                                     : "mixed");
    REASON(choice, "%s",
           list->recipe->loss == RECIPE_LOSS_MIXED && n_bounded == 0
               ? "mixed was asked for, but no feature is 0/1"
           : list->recipe->loss != RECIPE_LOSS_AUTO   ? "asked for"
           : list->recipe->algorithm == ALGORITHM_PCA ? "algorithm pca"
           : n_bounded > 0                            ? "all values are 0 or 1"
                                                      : "not all values are 0 or 1");
}

static bool has_training_options(const struct recipe *recipe)
{
    return recipe->batch_size != RECIPE_AUTO || recipe->optimizer >= 0 || recipe->schedule >= 0 ||
           recipe->warmup != RECIPE_AUTO || recipe->patience != RECIPE_AUTO ||
           !isnan(recipe->learning_rate) || !isnan(recipe->weight_decay) || !isnan(recipe->l1) ||
           !isnan(recipe->clip) || recipe->is_tied;
}

static void choose_training(struct list *list)
{
    const struct recipe *recipe = list->recipe;
    const size_t batch = recipe->batch_size == RECIPE_AUTO ? PLAN_BATCH_SIZE : recipe->batch_size;
    const bool steps = recipe->epochs == RECIPE_AUTO && recipe->preset != PRESET_FAST;
    struct architecture_choice *choice = add(list, "training");

    if (recipe->algorithm == ALGORITHM_PCA && recipe->epochs == RECIPE_AUTO) {
        VALUE(choice, "closed form");
        REASON(choice, "algorithm pca");
        return;
    }
    if (steps)
        VALUE(choice, "%d steps of %zu rows, %s", PLAN_STEPS, batch,
              optimizer_name(recipe->optimizer < 0 ? OPTIMIZER_ADAM
                                                   : (enum optimizer_kind)recipe->optimizer));
    else
        VALUE(choice, "at most %zu epochs, batches of %zu, %s",
              recipe->epochs == RECIPE_AUTO ? PLAN_EPOCHS : recipe->epochs, batch,
              optimizer_name(recipe->optimizer < 0 ? OPTIMIZER_ADAM
                                                   : (enum optimizer_kind)recipe->optimizer));
    REASON(choice, "%s%s", by_preset(list, recipe->epochs != RECIPE_AUTO),
           recipe->epochs == RECIPE_AUTO && has_training_options(recipe)
               ? ", changed by options below"
               : "");
}

static void choose_noise(struct list *list)
{
    const struct recipe *recipe = list->recipe;
    const bool is_pair = detector_ensemble(list->detector)->encoding->rank_gauss != NULL;
    const double noise = plan_noise(recipe, is_pair);
    struct architecture_choice *choice = add(list, "denoising");

    if (noise > 0.0)
        VALUE(choice, "%s noise of %g",
              recipe->noise_kind == RECIPE_NOISE_MASKING ? "masking" : "gaussian", noise);
    else
        VALUE(choice, "none");
    REASON(choice, "%s", by_preset(list, !isnan(recipe->noise)));
}

static void choose_part(struct list *list, const char *what, size_t n, size_t asked, size_t preset)
{
    const bool pair = detector_n_features(list->detector) <= PLAN_MOST_FEATURES;
    struct architecture_choice *choice = add(list, what);

    VALUE(choice, "%zu", n);
    const size_t wanted = asked == RECIPE_AUTO ? preset : asked;
    if (asked == RECIPE_AUTO && !pair && !is_classic(list))
        REASON(choice, "more than %d features", PLAN_MOST_FEATURES);
    else if (n > 0 && n < wanted)
        REASON(choice, "%s, %zu, but the rows are too few or too alike",
               by_preset(list, asked != RECIPE_AUTO), wanted);
    else
        REASON(choice, "%s", by_preset(list, asked != RECIPE_AUTO));
}

static void choose_calibration(struct list *list)
{
    const struct training_summary *summary = detector_summary(list->detector);
    struct architecture_choice *choice = add(list, "calibration");

    if (summary->n_folds > 1) {
        VALUE(choice, "all rows, each by parts fitted without its quarter");
        REASON(choice, "fewer than %d rows", TRAINER_SMALL);
    } else {
        VALUE(choice, "%zu rows that network 0 has not seen", summary->n_calibration);
        if (summary->n_drawn < TRAINER_SMALL)
            REASON(choice, "trained by an earlier release");
        else
            REASON(choice, "at least %d rows", TRAINER_SMALL);
    }
}

size_t architecture_choices(const struct detector *detector,
                            struct architecture_choice ret_choices[ARCHITECTURE_MAX_CHOICES])
{
    const struct training_summary *summary = detector_summary(detector);
    struct list list = {.detector = detector, .recipe = &summary->recipe, .choices = ret_choices};

    if (summary->n_drawn < summary->n_rows) {
        struct architecture_choice *choice = add(&list, "rows");
        VALUE(choice, "%zu drawn at random", summary->n_drawn);
        REASON(choice, "more than %d were given", TRAINER_MAX_ROWS);
    }
    choose_encoding(&list);
    choose_code(&list);
    choose_loss(&list);
    choose_training(&list);
    choose_noise(&list);
    choose_part(&list, "prototypes", architecture_n_prototypes(detector),
                summary->recipe.prototypes, PLAN_PROTOTYPES);
    choose_part(&list, "clusters", architecture_n_clusters(detector), summary->recipe.clusters,
                PLAN_CLUSTERS);
    choose_calibration(&list);
    return list.n;
}
