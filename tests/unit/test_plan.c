#include "detector/plan.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_FEATURES 300
#define N_ROWS       4

static float rows[N_ROWS * MAX_FEATURES];
static char storage[MAX_FEATURES][24];
static const char *names[MAX_FEATURES];
static struct recipe recipe;
static struct plan plan;
static struct error error;

static void fill(float first, float second)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        rows[i] = i % 2 ? first : second;
}

static int set_up(void **state)
{
    (void)state;
    recipe_init(&recipe);
    fill(0.5F, 7);
    for (size_t j = 0; j < MAX_FEATURES; j++) {
        (void)snprintf(storage[j], sizeof(storage[j]), "f%zu", j);
        names[j] = storage[j];
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    plan_clear(&plan);
    return 0;
}

static void set(const char *name, const char *text)
{
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (strcmp(recipe_fields[i].name, name) == 0)
            assert_int_equal(recipe_set(&recipe, &recipe_fields[i], text, &error), 0);
}

static void make(size_t n_features)
{
    plan_clear(&plan);
    assert_int_equal(recipe_check(&recipe, n_features, &error), 0);
    if (plan_make(&recipe, rows, N_ROWS, n_features, names, &plan, &error) < 0)
        fail_msg("%s", error.text);
}

static void refuse(size_t n_features, const char *reason)
{
    struct plan none = {0};

    assert_int_equal(plan_make(&recipe, rows, N_ROWS, n_features, names, &none, &error), -EINVAL);
    assert_null(none.bounded);
    assert_string_equal(error.text, reason);
}

/* "76-64-19-64-76" with the activations behind it: "silu linear silu linear". */
static void assert_network(size_t which, const char *want_widths, const char *want_activations)
{
    const struct plan_network *network = &plan.networks[which];
    char widths[128] = "", activations[256] = "";

    assert_true(which < plan.n_networks);
    for (size_t l = 0; l <= network->n_layers; l++)
        (void)snprintf(widths + strlen(widths), sizeof(widths) - strlen(widths), "%s%zu",
                       l ? "-" : "", network->widths[l]);
    for (size_t l = 0; l < network->n_layers; l++)
        (void)snprintf(activations + strlen(activations), sizeof(activations) - strlen(activations),
                       "%s%s", l ? " " : "", activation_name(network->activations[l]));
    assert_string_equal(widths, want_widths);
    assert_string_equal(activations, want_activations);
    assert_int_equal(2 * network->n_encoder_layers, network->n_layers);
}

#define DENOISING "silu silu linear silu silu linear"
#define CLASSIC   "tanh tanh tanh linear"

/* ---- presets ---- */

static void best_is_two_networks_prototypes_and_clusters(void **state)
{
    (void)state;
    make(38);
    assert_int_equal(plan.n_networks, 2);
    assert_network(0, "76-64-32-19-32-64-76", DENOISING);
    assert_network(1, "76-64-32-31-32-64-76", DENOISING);
    assert_int_equal(plan.encoding, PLAN_ENCODING_PAIR);
    assert_null(plan.bounded);
    assert_true(plan.is_whitened && !plan.is_pca && !plan.is_tied);
    assert_int_equal(plan.init, NETWORK_INIT_HE);
    assert_int_equal(plan.n_prototypes, 400);
    assert_int_equal(plan.n_clusters, 4);
    assert_int_equal(plan.n_steps, 3000);
    assert_int_equal(plan.n_epochs, 0);
    const struct training_options *training = &plan.training;
    assert_int_equal(training->optimizer.kind, OPTIMIZER_ADAM);
    assert_true(training->optimizer.weight_decay == 1e-6 && training->optimizer.l1 == 0);
    assert_true(training->learning_rate == 0.002 && training->cosine);
    assert_int_equal(training->warmup_steps, 50);
    assert_int_equal(training->batch_size, 64);
    assert_true(training->with_replacement);
    assert_int_equal(training->noise, NOISE_GAUSSIAN);
    assert_true(training->noise_amount == 0.8);
    assert_true(training->sparsity == 0 && training->code_l1 == 0 && training->clip == 0);
    assert_int_equal(training->patience, 0);
}

static void balanced_is_the_first_network_of_best(void **state)
{
    (void)state;
    recipe.preset = PRESET_BALANCED;
    make(38);
    assert_int_equal(plan.n_networks, 1);
    assert_network(0, "76-64-32-19-32-64-76", DENOISING);
    assert_int_equal(plan.n_prototypes, 400);
    assert_int_equal(plan.n_clusters, 4);
    assert_true(plan.is_whitened);
}

static void fast_is_one_classic_network(void **state)
{
    (void)state;
    recipe.preset = PRESET_FAST;
    make(38);
    assert_int_equal(plan.n_networks, 1);
    assert_network(0, "38-24-12-24-38", CLASSIC);
    assert_int_equal(plan.encoding, PLAN_ENCODING_STANDARD);
    assert_false(plan.is_whitened);
    assert_int_equal(plan.init, NETWORK_INIT_GLOROT);
    assert_int_equal(plan.n_prototypes, 0);
    assert_int_equal(plan.n_clusters, 0);
    assert_int_equal(plan.n_steps, 0);
    assert_int_equal(plan.n_epochs, 400);
    assert_int_equal(plan.training.patience, 20);
    assert_int_equal(plan.training.noise, NOISE_NONE);
    assert_int_equal(plan.training.warmup_steps, 0);
    assert_false(plan.training.cosine || plan.training.with_replacement);
    assert_true(plan.training.optimizer.weight_decay == 0);
}

static void narrow_rows_get_narrow_networks(void **state)
{
    (void)state;
    make(1);
    assert_network(0, "2-32-24-1-24-32-2", DENOISING);
    assert_network(1, "2-32-24-1-24-32-2", DENOISING);
    make(7);
    assert_network(0, "14-42-28-4-28-42-14", DENOISING);
    make(8);
    assert_network(0, "16-48-32-4-32-48-16", DENOISING);
    assert_network(1, "16-48-32-7-32-48-16", DENOISING);
    recipe.preset = PRESET_FAST;
    make(1);
    assert_network(0, "1-1-1-1-1", CLASSIC);
    make(2);
    assert_network(0, "2-2-1-2-2", CLASSIC);
    make(6);
    assert_network(0, "6-4-2-4-6", CLASSIC);
}

static void more_than_200_features_get_one_network_and_nothing_else(void **state)
{
    (void)state;
    make(PLAN_MOST_FEATURES);
    assert_int_equal(plan.n_networks, 2);
    assert_int_equal(plan.encoding, PLAN_ENCODING_PAIR);
    assert_network(0, "400-64-32-100-32-64-400", DENOISING);
    make(PLAN_MOST_FEATURES + 1);
    assert_int_equal(plan.n_networks, 1);
    assert_network(0, "201-64-32-32-32-64-201", DENOISING);
    assert_int_equal(plan.encoding, PLAN_ENCODING_STANDARD);
    assert_true(plan.is_whitened);
    assert_int_equal(plan.n_prototypes, 0);
    assert_int_equal(plan.n_clusters, 0);
    recipe.preset = PRESET_FAST;
    make(300);
    assert_network(0, "300-64-32-64-300", CLASSIC);
}

static void pca_is_one_linear_layer_each_way_without_steps(void **state)
{
    (void)state;
    set("algorithm", "pca");
    make(6);
    assert_true(plan.is_pca && !plan.is_whitened);
    assert_network(0, "6-0-6", "linear linear"); /* the trainer looks at the variances */
    assert_int_equal(plan.encoding, PLAN_ENCODING_STANDARD);
    assert_int_equal(plan.n_steps, 0);
    assert_int_equal(plan.n_epochs, 0);
    assert_int_equal(plan.training.patience, 0);
    fill(0, 1); /* cross-entropy is not for it */
    set("latent", "3");
    set("epochs", "7");
    set("tied", "yes");
    make(6);
    assert_network(0, "6-3-6", "linear linear");
    assert_null(plan.bounded);
    assert_true(plan.is_tied);
    assert_int_equal(plan.n_epochs, 7);
}

/* ---- loss ---- */

static void rows_of_only_0_and_1_are_judged_by_cross_entropy(void **state)
{
    (void)state;
    fill(0, 1);
    rows[5] = NAN; /* a missing value may be either */
    make(6);
    assert_int_equal(plan.encoding, PLAN_ENCODING_BOUNDED);
    assert_network(0, "6-32-24-2-24-32-6", "silu silu linear silu silu sigmoid");
    for (size_t j = 0; j < 6; j++)
        assert_true(plan.bounded[j]);
    recipe.preset = PRESET_FAST;
    make(6);
    assert_network(0, "6-4-2-4-6", "tanh tanh tanh sigmoid");
    set("loss", "mse");
    make(6);
    assert_null(plan.bounded);
    assert_network(0, "6-4-2-4-6", CLASSIC);
}

static void one_other_value_is_enough_for_mse(void **state)
{
    (void)state;
    fill(0, 1);
    rows[(size_t)N_ROWS * 6 - 1] = 0.5F;
    make(6);
    assert_null(plan.bounded);
    assert_int_equal(plan.encoding, PLAN_ENCODING_PAIR);
}

static void mixed_bounds_only_the_features_of_0_and_1(void **state)
{
    (void)state;
    fill(0, 1);
    rows[2] = 0.5F;
    set("loss", "mixed");
    make(6);
    assert_int_equal(plan.encoding, PLAN_ENCODING_BOUNDED);
    for (size_t j = 0; j < 6; j++)
        assert_int_equal(plan.bounded[j], j != 2);
    assert_network(0, "6-32-24-2-24-32-6", DENOISING);
    fill(2, 3); /* nothing to mix */
    make(6);
    assert_null(plan.bounded);
}

static void cross_entropy_takes_any_value_from_0_to_1(void **state)
{
    (void)state;
    fill(0.25F, 1);
    set("loss", "cross-entropy");
    make(6);
    for (size_t j = 0; j < 6; j++)
        assert_true(plan.bounded[j]);
    assert_int_equal(plan.networks[0].activations[5], ACTIVATION_SIGMOID);
}

static void cross_entropy_of_other_values_is_refused_with_column_and_value(void **state)
{
    (void)state;
#define ADVICE "; use --loss mse, or --loss mixed if some features are 0/1"
    fill(0, 1);
    set("loss", "cross-entropy");
    rows[2 * 6 + 4] = 1.5F;
    refuse(6, "--loss cross-entropy needs values from 0 to 1, but f4 has 1.5" ADVICE);
    rows[3 * 6 + 1] = -0.25F;
    refuse(6, "--loss cross-entropy needs values from 0 to 1, but f1 has -0.25" ADVICE);
    rows[0] = INFINITY;
    refuse(6, "--loss cross-entropy needs values from 0 to 1, but f0 has inf" ADVICE);
}

static void an_output_that_the_values_contradict_is_refused(void **state)
{
    (void)state;
    set("hidden", "4");
    set("activation", "relu,linear,relu,sigmoid");
    refuse(6, "--activation: a sigmoid output cannot reach standardised values; end with linear, "
              "or use --loss cross-entropy for values from 0 to 1");
    fill(0, 1);
    make(6);
    assert_network(0, "6-4-2-4-6", "relu linear relu sigmoid");
    set("activation", "relu,linear,relu,linear");
    refuse(6, "--activation: all values are 0 or 1, so the loss is cross-entropy, which needs a "
              "sigmoid output, not linear; end with sigmoid, or use --loss mse");
}

/* ---- options ---- */

static void options_come_before_the_preset(void **state)
{
    (void)state;
    static const char *const options[][2] = {
        {"latent",        "5"       },
        {"hidden",        "24,16,12"},
        {"activation",    "relu"    },
        {"optimizer",     "sgd"     },
        {"learning-rate", "0.5"     },
        {"schedule",      "constant"},
        {"warmup",        "7"       },
        {"epochs",        "9"       },
        {"batch-size",    "10"      },
        {"patience",      "11"      },
        {"weight-decay",  "0.125"   },
        {"l1",            "0.25"    },
        {"sparsity",      "0.75"    },
        {"noise",         "0.375"   },
        {"noise-kind",    "masking" },
        {"clip",          "2"       },
        {"tied",          "yes"     },
        {"prototypes",    "0"       },
        {"clusters",      "3"       },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        set(options[i][0], options[i][1]);
    for (recipe.preset = PRESET_BEST; recipe.preset <= PRESET_FAST; recipe.preset++) {
        const struct training_options *training = &plan.training;
        make(38);
        const char *code = recipe.preset == PRESET_FAST ? "relu" : "linear";
        char want[128];
        (void)snprintf(want, sizeof(want), "relu relu relu %s relu relu relu linear", code);
        assert_network(plan.n_networks - 1,
                       recipe.preset == PRESET_FAST ? "38-24-16-12-5-12-16-24-38"
                                                    : "76-24-16-12-5-12-16-24-76",
                       want);
        assert_int_equal(plan.init, NETWORK_INIT_HE);
        assert_int_equal(training->optimizer.kind, OPTIMIZER_SGD);
        assert_true(training->optimizer.weight_decay == 0.125 && training->optimizer.l1 == 0.25);
        assert_true(training->learning_rate == 0.5 && !training->cosine);
        assert_int_equal(training->warmup_steps, 7);
        assert_int_equal(plan.n_epochs, 9);
        assert_int_equal(plan.n_steps, 0);
        assert_int_equal(training->batch_size, 10);
        assert_int_equal(training->patience, 11);
        assert_true(training->code_l1 == 0.75 && training->sparsity == 0);
        assert_true(training->noise_amount == 0.375 && training->clip == 2);
        assert_int_equal(training->noise, NOISE_MASKING);
        assert_true(plan.is_tied && plan.is_whitened);
        assert_int_equal(plan.n_prototypes, 0);
        assert_int_equal(plan.n_clusters, 3);
    }
}

static void layers_can_be_none_and_activations_one_a_layer(void **state)
{
    (void)state;
    set("hidden", "none");
    set("activation", "elu,linear");
    recipe.preset = PRESET_FAST;
    make(6);
    assert_network(0, "6-2-6", "elu linear");
    recipe.preset = PRESET_BALANCED;
    make(6);
    assert_network(0, "12-3-12", "elu linear");
}

static void the_code_is_never_chosen_wider_than_the_layer_before_it(void **state)
{
    (void)state;
    set("hidden", "3");
    recipe.preset = PRESET_FAST;
    make(38);
    assert_network(0, "38-3-3-3-38", CLASSIC);
}

/* A probability for sigmoid codes (Kullback-Leibler), a size for others (L1). */
static void sparsity_suits_the_codes_activation(void **state)
{
    (void)state;
    set("sparsity", "0.5");
    make(6);
    assert_true(plan.training.code_l1 == 0.5 && plan.training.sparsity == 0);
    set("activation", "sigmoid");
    recipe.preset = PRESET_FAST;
    make(6);
    assert_true(plan.training.code_l1 == 0 && plan.training.sparsity == 0.5);
    assert_true(plan.training.sparsity_target == 0.05);
    assert_int_equal(plan.init, NETWORK_INIT_GLOROT);
}

static void noise_of_0_is_none(void **state)
{
    (void)state;
    set("noise", "0");
    make(6);
    assert_int_equal(plan.training.noise, NOISE_NONE);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    fill(0, 1);
    for (; r == -ENOMEM && nth < 10; nth++) {
        alloc_fail_in = nth;
        r = plan_make(&recipe, rows, N_ROWS, 6, names, &plan, &error);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_int_equal(nth, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(best_is_two_networks_prototypes_and_clusters),
        TEST(balanced_is_the_first_network_of_best),
        TEST(fast_is_one_classic_network),
        TEST(narrow_rows_get_narrow_networks),
        TEST(more_than_200_features_get_one_network_and_nothing_else),
        TEST(pca_is_one_linear_layer_each_way_without_steps),
        TEST(rows_of_only_0_and_1_are_judged_by_cross_entropy),
        TEST(one_other_value_is_enough_for_mse),
        TEST(mixed_bounds_only_the_features_of_0_and_1),
        TEST(cross_entropy_takes_any_value_from_0_to_1),
        TEST(cross_entropy_of_other_values_is_refused_with_column_and_value),
        TEST(an_output_that_the_values_contradict_is_refused),
        TEST(options_come_before_the_preset),
        TEST(layers_can_be_none_and_activations_one_a_layer),
        TEST(the_code_is_never_chosen_wider_than_the_layer_before_it),
        TEST(sparsity_suits_the_codes_activation),
        TEST(noise_of_0_is_none),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
