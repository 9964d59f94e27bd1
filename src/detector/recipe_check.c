/* Contradictions between the options of a recipe, and with the data. */
#include "detector/clusters.h"
#include "detector/prototypes.h"
#include "detector/recipe.h"
#include "nn/activation.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Hidden layers, their mirror, the code and the output. */
static size_t n_layers(const struct recipe *recipe)
{
    return 2 * recipe->n_hidden + 2;
}

static bool asked_for(double amount)
{
    return amount > 0.0; /* false for NaN */
}

static int check_code(const struct recipe *recipe, size_t n_features, struct error *reterr)
{
    const size_t most = n_features > 1 ? n_features - 1 : 1;

    if (recipe->latent == RECIPE_AUTO || recipe->latent <= most)
        return 0;
    if (recipe->latent > RECIPE_MAX_WIDTH)
        return error_set(reterr, -EINVAL, "--latent %zu: use at most %d", recipe->latent,
                         RECIPE_MAX_WIDTH);
    if (recipe->algorithm == ALGORITHM_PCA)
        return error_set(reterr, -EINVAL,
                         "--latent %zu: PCA of %zu features has fewer components than features; "
                         "use at most %zu",
                         recipe->latent, n_features, most);
    if (asked_for(recipe->sparsity) || asked_for(recipe->weight_decay) || asked_for(recipe->l1) ||
        asked_for(recipe->noise))
        return 0;
    return error_set(reterr, -EINVAL,
                     "--latent %zu: a code that is not narrower than the %zu feature%s is "
                     "overcomplete: the network could copy its input; use at most %zu, or "
                     "regularise it with --sparsity, --weight-decay, --l1 or --noise",
                     recipe->latent, n_features, n_features == 1 ? "" : "s", most);
}

static int check_activations(const struct recipe *recipe, struct error *reterr)
{
    const size_t n = recipe->n_activations;

    if (n == RECIPE_AUTO || n == 1)
        return 0;
    if (recipe->n_hidden == RECIPE_AUTO)
        return error_set(reterr, -EINVAL,
                         "--activation: one a layer needs --hidden, which says how many layers "
                         "there are");
    if (n != n_layers(recipe))
        return error_set(reterr, -EINVAL,
                         "--activation: %zu activations do not match the %zu layers that --hidden "
                         "makes (%zu hidden, the code, %zu hidden, the output); give one or %zu",
                         n, n_layers(recipe), recipe->n_hidden, recipe->n_hidden, n_layers(recipe));
    const enum activation output = (enum activation)recipe->activations[n - 1];
    if (recipe->loss == RECIPE_LOSS_CROSS_ENTROPY && output != ACTIVATION_SIGMOID)
        return error_set(reterr, -EINVAL,
                         "--loss cross-entropy needs a sigmoid output, not %s; end --activation "
                         "with sigmoid",
                         activation_name(output));
    if (recipe->loss == RECIPE_LOSS_MIXED && output != ACTIVATION_LINEAR)
        return error_set(reterr, -EINVAL,
                         "--loss mixed needs a linear output, not %s: its 0/1 features get a "
                         "sigmoid of their own; end --activation with linear",
                         activation_name(output));
    if (recipe->loss == RECIPE_LOSS_MSE && output != ACTIVATION_LINEAR)
        return error_set(reterr, -EINVAL,
                         "--activation: a %s output cannot reach standardised values; end with "
                         "linear, or use --loss cross-entropy for values from 0 to 1",
                         activation_name(output));
    return 0;
}

static int check_pca(const struct recipe *recipe, size_t n_features, struct error *reterr)
{
    if (recipe->algorithm != ALGORITHM_PCA)
        return 0;
    if (n_features < 2)
        return error_set(reterr, -EINVAL, "--algorithm pca needs at least 2 features");
    if (recipe->n_hidden != RECIPE_AUTO && recipe->n_hidden > 0)
        return error_set(reterr, -EINVAL, "--algorithm pca has no hidden layers; leave --hidden");
    if (recipe->n_activations != RECIPE_AUTO)
        return error_set(reterr, -EINVAL, "--algorithm pca is linear; leave --activation");
    if (recipe->loss == RECIPE_LOSS_CROSS_ENTROPY || recipe->loss == RECIPE_LOSS_MIXED)
        return error_set(reterr, -EINVAL, "--algorithm pca goes with --loss mse");
    return 0;
}

/* Options of the training that a closed form has no use for. */
static int check_closed_form(const struct recipe *recipe, struct error *reterr)
{
    static const char *const untouched[] = {"optimizer",  "learning-rate", "schedule",     "warmup",
                                            "batch-size", "patience",      "weight-decay", "l1",
                                            "sparsity",   "noise",         "noise-kind",   "clip"};

    if (recipe->algorithm != ALGORITHM_PCA || recipe->epochs != RECIPE_AUTO)
        return 0;
    for (size_t i = 0; i < recipe_n_fields; i++)
        for (size_t j = 0; j < sizeof(untouched) / sizeof(*untouched); j++)
            if (strcmp(recipe_fields[i].name, untouched[j]) == 0 &&
                recipe_is_set(recipe, &recipe_fields[i]))
                return error_set(reterr, -EINVAL,
                                 "--%s does nothing to --algorithm pca, which takes no steps; "
                                 "leave it, or give --epochs to train on from there",
                                 untouched[j]);
    return 0;
}

static int check_noise(const struct recipe *recipe, struct error *reterr)
{
    const bool by_default = recipe->preset != PRESET_FAST && recipe->algorithm != ALGORITHM_PCA;

    if (recipe->noise_kind == RECIPE_NOISE_MASKING && recipe->noise > 1.0)
        return error_set(reterr, -EINVAL,
                         "--noise %g: masking sets a share of the values to 0; use 0 to 1",
                         recipe->noise);
    if (recipe->noise_kind >= 0 && (isnan(recipe->noise) ? !by_default : recipe->noise == 0.0))
        return error_set(reterr, -EINVAL,
                         "--noise-kind %s: there is no noise; give --noise, as in --noise 0.3",
                         recipe->noise_kind == RECIPE_NOISE_MASKING ? "masking" : "gaussian");
    return 0;
}

int recipe_check(const struct recipe *recipe, size_t n_features, struct error *reterr)
{
    int r = check_code(recipe, n_features, reterr);

    if (r == 0)
        r = check_activations(recipe, reterr);
    if (r == 0)
        r = check_pca(recipe, n_features, reterr);
    if (r == 0)
        r = check_closed_form(recipe, reterr);
    if (r == 0)
        r = check_noise(recipe, reterr);
    if (r < 0)
        return r;
    if (recipe->prototypes != RECIPE_AUTO && recipe->prototypes > PROTOTYPES_MAX)
        return error_set(reterr, -EINVAL, "--prototypes %zu: use at most %d", recipe->prototypes,
                         PROTOTYPES_MAX);
    if (recipe->clusters != RECIPE_AUTO && recipe->clusters > CLUSTERS_MAX)
        return error_set(reterr, -EINVAL, "--clusters %zu: use at most %d", recipe->clusters,
                         CLUSTERS_MAX);
    return 0;
}
