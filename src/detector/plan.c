#include "detector/plan.h"

#include "detector/folds.h"
#include "nn/optimizer.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPARSITY_TARGET 0.05 /* share of the rows that a sigmoid code should be active for */

static size_t choose(size_t asked, size_t otherwise)
{
    return asked == RECIPE_AUTO ? otherwise : asked;
}

static double choose_amount(double asked, double otherwise)
{
    return isnan(asked) ? otherwise : asked;
}

static bool is_classic(const struct recipe *recipe)
{
    return recipe->preset == PRESET_FAST || recipe->algorithm == ALGORITHM_PCA;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- loss ---- */

static bool is_within_0_and_1(float value)
{
    return !(value < 0.0F || value > 1.0F); /* a missing one may be */
}

static bool is_0_or_1(float value)
{
    return value == 0.0F || value == 1.0F || isnan(value);
}

/* The first row whose value in a column fails the test; n_rows if none does. */
static size_t first_other(const float *rows, size_t n_rows, size_t n_features, size_t column,
                          bool (*test)(float))
{
    size_t i = 0;

    while (i < n_rows && test(rows[i * n_features + column]))
        i++;
    return i;
}

static int check_bounded(const float *rows, size_t n_rows, size_t n_features,
                         const char *const *names, struct error *reterr)
{
    for (size_t j = 0; j < n_features; j++) {
        const size_t i = first_other(rows, n_rows, n_features, j, is_within_0_and_1);
        if (i < n_rows)
            return error_set(reterr, -EINVAL,
                             "--loss cross-entropy needs values from 0 to 1, but %s has %g; use "
                             "--loss mse, or --loss mixed if some features are 0/1",
                             names[j], (double)rows[i * n_features + j]);
    }
    return 0;
}

/* Which features are judged by cross-entropy. */
static int find_bounded(const struct recipe *recipe, const float *rows, size_t n_rows,
                        size_t n_features, const char *const *names, struct plan *plan,
                        struct error *reterr)
{
    if (recipe->loss == RECIPE_LOSS_MSE || recipe->algorithm == ALGORITHM_PCA)
        return 0;
    AUTO_FREE bool *bounded = calloc(n_features, sizeof(*bounded));
    if (!bounded)
        return -ENOMEM;

    size_t n = 0;
    if (recipe->loss == RECIPE_LOSS_CROSS_ENTROPY) {
        int r = check_bounded(rows, n_rows, n_features, names, reterr);
        if (r < 0)
            return r;
        memset(bounded, true, n_features);
        n = n_features;
    } else
        for (size_t j = 0; j < n_features; j++) {
            bounded[j] = first_other(rows, n_rows, n_features, j, is_0_or_1) == n_rows;
            n += bounded[j];
        }
    if (recipe->loss == RECIPE_LOSS_AUTO ? n == n_features : n > 0)
        plan->bounded = TAKE(bounded);
    return 0;
}

/* An output asked for must suit the loss that the values decided; recipe_check() has judged one
 * that was asked for too. */
static int check_output(const struct recipe *recipe, bool is_bounded, struct error *reterr)
{
    if (recipe->loss != RECIPE_LOSS_AUTO || recipe->n_activations == RECIPE_AUTO ||
        recipe->n_activations == 1)
        return 0;
    const enum activation output = (enum activation)recipe->activations[recipe->n_activations - 1];
    if (is_bounded && output != ACTIVATION_SIGMOID)
        return error_set(reterr, -EINVAL,
                         "--activation: all values are 0 or 1, so the loss is cross-entropy, which "
                         "needs a sigmoid output, not %s; end with sigmoid, or use --loss mse",
                         activation_name(output));
    if (!is_bounded && output != ACTIVATION_LINEAR)
        return error_set(reterr, -EINVAL,
                         "--activation: a %s output cannot reach standardised values; end with "
                         "linear, or use --loss cross-entropy for values from 0 to 1",
                         activation_name(output));
    return 0;
}

/* ---- layers ---- */

/* Input, hidden layers, code, hidden layers back, output. */
static void set_layers(struct plan_network *network, size_t n_values, const size_t *hidden,
                       size_t n_hidden, size_t latent)
{
    const size_t n_layers = 2 * n_hidden + 2;

    network->n_layers = n_layers;
    network->n_encoder_layers = n_hidden + 1;
    network->widths[0] = network->widths[n_layers] = n_values;
    network->widths[n_hidden + 1] = latent;
    for (size_t i = 0; i < n_hidden; i++)
        network->widths[i + 1] = network->widths[n_layers - 1 - i] = hidden[i];
}

static void set_activations(struct plan_network *network, const struct recipe *recipe,
                            enum activation hidden, enum activation code, bool sigmoid_output)
{
    const size_t code_layer = network->n_encoder_layers - 1, last = network->n_layers - 1;

    for (size_t l = 0; l < network->n_layers; l++)
        network->activations[l] = recipe->n_activations != RECIPE_AUTO && recipe->n_activations > 1
                                      ? (enum activation)recipe->activations[l]
                                  : l == code_layer ? code
                                  : l == last
                                      ? (sigmoid_output ? ACTIVATION_SIGMOID : ACTIVATION_LINEAR)
                                      : hidden;
}

/* Best and balanced: wide enough to bend, a code of a share of the inputs. */
static void plan_denoising(const struct recipe *recipe, size_t n_features, size_t n_values,
                           bool all_parts, bool sigmoid_output, struct plan *plan)
{
    static const double latent_shares[] = {0.25, 0.40};
    static const size_t wide[] = {64, 32};
    const size_t pair_widths[] = {smaller(64, larger(32, 3 * n_values)),
                                  smaller(32, larger(24, 2 * n_values))};
    const size_t *hidden = recipe->n_hidden != RECIPE_AUTO ? recipe->hidden
                           : all_parts                     ? pair_widths
                                                           : wide;
    const enum activation activation =
        recipe->n_activations == 1 ? (enum activation)recipe->activations[0] : ACTIVATION_SILU;

    const size_t n_networks = recipe->preset == PRESET_BEST && all_parts ? 2 : 1;
    for (size_t i = 0; i < n_networks; i++) {
        const size_t share = (size_t)ceil(latent_shares[i] * (double)n_values);
        const size_t chosen = larger(1, smaller(all_parts ? share : 32, n_features - 1));
        set_layers(&plan->networks[i], n_values, hidden, choose(recipe->n_hidden, 2),
                   choose(recipe->latent, chosen));
        set_activations(&plan->networks[i], recipe, activation, ACTIVATION_LINEAR, sigmoid_output);
    }
    plan->n_networks = n_networks;
    plan->init = NETWORK_INIT_HE;
}

/* Fast: by default 5/8 of the features and then 3/10: 38-24-12-24-38. With one feature there is no
 * narrower code; 1-1-1-1-1 still bends values far from the normal ones out of shape. */
static void plan_classic(const struct recipe *recipe, size_t n_values, bool sigmoid_output,
                         struct plan *plan)
{
    const size_t chosen[] = {larger(1, smaller(64, (5 * n_values + 7) / 8))};
    const size_t *hidden = recipe->n_hidden != RECIPE_AUTO ? recipe->hidden : chosen;
    const size_t n_hidden = choose(recipe->n_hidden, 1);
    const size_t narrowest = n_hidden ? hidden[n_hidden - 1] : n_values;
    const size_t latent = smaller(narrowest, smaller(32, (3 * n_values + 9) / 10));
    const enum activation activation =
        recipe->n_activations == 1 ? (enum activation)recipe->activations[0] : ACTIVATION_TANH;

    plan->n_networks = 1;
    set_layers(&plan->networks[0], n_values, hidden, n_hidden,
               choose(recipe->latent, larger(1, latent)));
    set_activations(&plan->networks[0], recipe, activation, activation, sigmoid_output);
    plan->init = activation == ACTIVATION_TANH || activation == ACTIVATION_SIGMOID
                     ? NETWORK_INIT_GLOROT
                     : NETWORK_INIT_HE;
}

/* One linear layer each way. Without --latent the trainer looks at the variances. */
static void plan_pca(const struct recipe *recipe, size_t n_values, struct plan *plan)
{
    plan->n_networks = 1;
    plan->is_pca = true;
    set_layers(&plan->networks[0], n_values, NULL, 0, choose(recipe->latent, 0));
    plan->networks[0].activations[0] = plan->networks[0].activations[1] = ACTIVATION_LINEAR;
}

/* ---- training ---- */

double plan_noise(const struct recipe *recipe, bool is_pair)
{
    if (!isnan(recipe->noise))
        return recipe->noise;
    if (is_classic(recipe))
        return 0.0;
    return is_pair && recipe->noise_kind != RECIPE_NOISE_MASKING ? PLAN_NOISE_PAIR : PLAN_NOISE;
}

static void plan_training(const struct recipe *recipe, bool classic, struct plan *plan)
{
    const struct plan_network *network = &plan->networks[0];
    const bool sigmoid_codes =
        network->activations[network->n_encoder_layers - 1] == ACTIVATION_SIGMOID;
    const double sparsity = choose_amount(recipe->sparsity, 0.0);
    const double noise = plan_noise(recipe, plan->encoding == PLAN_ENCODING_PAIR);

    plan->n_epochs = choose(recipe->epochs, plan->is_pca ? 0 : classic ? PLAN_EPOCHS : 0);
    plan->n_steps = recipe->epochs == RECIPE_AUTO && !classic && !plan->is_pca ? PLAN_STEPS : 0;
    plan->training = (struct training_options){
        .optimizer =
            {
                        .kind =
                    recipe->optimizer < 0 ? OPTIMIZER_ADAM : (enum optimizer_kind)recipe->optimizer,
                        .weight_decay = choose_amount(recipe->weight_decay, classic ? 0.0 : 1e-6),
                        .l1 = choose_amount(recipe->l1, 0.0),
                        },
        .learning_rate = choose_amount(recipe->learning_rate, PLAN_LEARNING_RATE),
        .warmup_steps = choose(recipe->warmup, classic ? 0 : 50),
        .cosine = recipe->schedule < 0 ? !classic : recipe->schedule == 1,
        .batch_size = choose(recipe->batch_size, PLAN_BATCH_SIZE),
        .with_replacement = !classic,
        .noise = noise > 0.0
                     ? (recipe->noise_kind == RECIPE_NOISE_MASKING ? NOISE_MASKING : NOISE_GAUSSIAN)
                     : NOISE_NONE,
        .noise_amount = noise,
        .code_l1 = sigmoid_codes ? 0.0 : sparsity,
        .sparsity = sigmoid_codes ? sparsity : 0.0,
        .sparsity_target = SPARSITY_TARGET,
        .clip = choose_amount(recipe->clip, 0.0),
        .patience = choose(recipe->patience, classic && plan->n_epochs > 0 ? 20 : 0),
    };
}

/* A network that never gets past its warm-up has learnt next to nothing. */
static int fit_warmup(const struct recipe *recipe, size_t n_rows, struct plan *plan,
                      struct error *reterr)
{
    const size_t n_train = n_rows - n_rows / N_FOLDS;
    const size_t batch = smaller(plan->training.batch_size, n_train);
    const size_t n_epoch_steps = plan->n_epochs * ((n_train + batch - 1) / batch);
    const size_t n_steps = plan->n_steps ? plan->n_steps : n_epoch_steps;

    if (recipe->warmup == RECIPE_AUTO)
        plan->training.warmup_steps = smaller(plan->training.warmup_steps, n_steps / 2);
    else if (n_steps > 0 && recipe->warmup >= n_steps)
        return error_set(reterr, -EINVAL,
                         "--warmup %zu: the training has only about %zu steps; use fewer, or "
                         "more "
                         "--epochs",
                         recipe->warmup, n_steps);
    return 0;
}

int plan_make(const struct recipe *recipe, const float *rows, size_t n_rows, size_t n_features,
              const char *const *names, struct plan *ret_plan, struct error *reterr)
{
    const bool classic = is_classic(recipe);
    const bool all_parts = !classic && n_features <= PLAN_MOST_FEATURES;
    CLEANUP(plan_clear) struct plan plan = {.is_tied = recipe->is_tied};

    int r = find_bounded(recipe, rows, n_rows, n_features, names, &plan, reterr);
    if (r == 0)
        r = check_output(recipe, plan.bounded != NULL, reterr);
    if (r < 0)
        return r;
    const bool sigmoid_output = plan.bounded && recipe->loss != RECIPE_LOSS_MIXED;
    plan.encoding = plan.bounded ? PLAN_ENCODING_BOUNDED
                    : all_parts  ? PLAN_ENCODING_PAIR
                                 : PLAN_ENCODING_STANDARD;
    const size_t n_values = plan.encoding == PLAN_ENCODING_PAIR ? 2 * n_features : n_features;

    if (recipe->algorithm == ALGORITHM_PCA)
        plan_pca(recipe, n_values, &plan);
    else if (classic)
        plan_classic(recipe, n_values, sigmoid_output, &plan);
    else
        plan_denoising(recipe, n_features, n_values, all_parts, sigmoid_output, &plan);
    plan.n_prototypes = choose(recipe->prototypes, all_parts ? PLAN_PROTOTYPES : 0);
    plan.n_clusters = choose(recipe->clusters, all_parts ? PLAN_CLUSTERS : 0);
    plan.is_whitened = !classic || plan.n_prototypes > 0 || plan.n_clusters > 0;
    plan_training(recipe, classic, &plan);
    r = fit_warmup(recipe, n_rows, &plan, reterr);
    if (r < 0)
        return r;
    *ret_plan = plan;
    plan.bounded = NULL;
    return 0;
}

void plan_clear(struct plan *plan)
{
    free(plan->bounded);
    *plan = (struct plan){0};
}
