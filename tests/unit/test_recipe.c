#include "detector/recipe.h"

#include "base/text.h"

#include "nn/activation.h"
#include "nn/optimizer.h"

#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct recipe recipe;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    recipe_init(&recipe);
    memset(&error, 0, sizeof(error));
    return 0;
}

static const struct recipe_field *field(const char *name)
{
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (strcmp(recipe_fields[i].name, name) == 0)
            return &recipe_fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

static void set(const char *name, const char *text)
{
    if (recipe_set(&recipe, field(name), text, &error) < 0)
        fail_msg("%s %s: %s", name, text, error.text);
    assert_true(recipe_is_set(&recipe, field(name)) || strcmp(text, "auto") == 0 ||
                strcmp(text, "no") == 0);
}

/* ---- from text ---- */

static void what_nobody_asked_for_is_left_to_the_preset(void **state)
{
    (void)state;
    static const char *const set_from_the_start[] = {"preset", "algorithm", "false-alarm-rate",
                                                     "seed", "loss"};
    size_t n_set = 0;

    for (size_t i = 0; i < recipe_n_fields; i++)
        n_set += recipe_is_set(&recipe, &recipe_fields[i]);
    assert_int_equal(n_set, 5);
    for (size_t i = 0; i < n_set; i++)
        assert_true(recipe_is_set(&recipe, field(set_from_the_start[i])));
    assert_true(recipe.false_alarm_rate == 0.001);
    assert_true(recipe.trim == 0.0);
    assert_int_equal(recipe.seed, 1);
    assert_int_equal(recipe.preset, PRESET_BEST);
    assert_int_equal(recipe.algorithm, ALGORITHM_AUTOENCODER);
    assert_int_equal(recipe.loss, RECIPE_LOSS_AUTO);
    assert_int_equal(recipe_check(&recipe, 1, &error), 0);
}

static void every_choice_is_set_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        const int *value;
        int want;
    } cases[] = {
        {"preset",     "best",          &recipe.preset,     PRESET_BEST              },
        {"preset",     "balanced",      &recipe.preset,     PRESET_BALANCED          },
        {"preset",     "fast",          &recipe.preset,     PRESET_FAST              },
        {"algorithm",  "pca",           &recipe.algorithm,  ALGORITHM_PCA            },
        {"algorithm",  "autoencoder",   &recipe.algorithm,  ALGORITHM_AUTOENCODER    },
        {"loss",       "mse",           &recipe.loss,       RECIPE_LOSS_MSE          },
        {"loss",       "cross-entropy", &recipe.loss,       RECIPE_LOSS_CROSS_ENTROPY},
        {"loss",       "mixed",         &recipe.loss,       RECIPE_LOSS_MIXED        },
        {"loss",       "auto",          &recipe.loss,       RECIPE_LOSS_AUTO         },
        {"optimizer",  "sgd",           &recipe.optimizer,  OPTIMIZER_SGD            },
        {"optimizer",  "momentum",      &recipe.optimizer,  OPTIMIZER_MOMENTUM       },
        {"optimizer",  "nesterov",      &recipe.optimizer,  OPTIMIZER_NESTEROV       },
        {"optimizer",  "adam",          &recipe.optimizer,  OPTIMIZER_ADAM           },
        {"optimizer",  "adamw",         &recipe.optimizer,  OPTIMIZER_ADAMW          },
        {"noise-kind", "gaussian",      &recipe.noise_kind, 0                        },
        {"noise-kind", "masking",       &recipe.noise_kind, 1                        },
        {"schedule",   "constant",      &recipe.schedule,   0                        },
        {"schedule",   "cosine",        &recipe.schedule,   1                        },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        set(cases[i].name, cases[i].text);
        assert_int_equal(*cases[i].value, cases[i].want);
    }
    assert_string_equal(preset_name(PRESET_BALANCED), "balanced");
}

static void every_count_is_set_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const size_t *value;
        bool may_be_0;
    } cases[] = {
        {"latent",     &recipe.latent,     false},
        {"epochs",     &recipe.epochs,     false},
        {"batch-size", &recipe.batch_size, false},
        {"warmup",     &recipe.warmup,     true },
        {"patience",   &recipe.patience,   true },
        {"prototypes", &recipe.prototypes, true },
        {"clusters",   &recipe.clusters,   true },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        set(cases[i].name, "1");
        assert_int_equal(*cases[i].value, 1);
        set(cases[i].name, "1000000000");
        assert_int_equal(*cases[i].value, RECIPE_MAX_COUNT);
        if (cases[i].may_be_0) {
            set(cases[i].name, "0");
            assert_int_equal(*cases[i].value, 0);
        }
        set(cases[i].name, "auto");
        assert_int_equal(*cases[i].value, RECIPE_AUTO);
        assert_false(recipe_is_set(&recipe, field(cases[i].name)));
    }
}

static void rows_to_trim_are_a_share_or_as_many_as_do_not_belong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } cases[] = {
        {"auto",  RECIPE_TRIM_AUTO},
        {"0.05",  0.05            },
        {"0.499", 0.499           },
        {"0",     0.0             }
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(text_clear) struct text text = {0};
        assert_int_equal(recipe_set(&recipe, field("trim"), cases[i].text, &error), 0);
        assert_true(recipe.trim == cases[i].want);
        assert_int_equal(recipe_is_set(&recipe, field("trim")), cases[i].want != 0.0);
        recipe_print(&recipe, field("trim"), &text);
        assert_string_equal(text.data, cases[i].text);
    }
}

static void every_amount_is_set_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const double *value;
    } cases[] = {
        {"learning-rate", &recipe.learning_rate},
        {"weight-decay",  &recipe.weight_decay },
        {"l1",            &recipe.l1           },
        {"sparsity",      &recipe.sparsity     },
        {"noise",         &recipe.noise        },
        {"clip",          &recipe.clip         },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(isnan(*cases[i].value));
        set(cases[i].name, "1e-3");
        assert_true(*cases[i].value == 1e-3);
        if (i == 0)
            continue;
        set(cases[i].name, "0");
        assert_true(*cases[i].value == 0.0);
    }
    set("false-alarm-rate", "1e-9");
    assert_true(recipe.false_alarm_rate == 1e-9);
    set("seed", "0");
    assert_int_equal(recipe.seed, 0);
    set("seed", "9223372036854775807");
    assert_int_equal(recipe.seed, INT64_MAX);
    set("tied", "yes");
    assert_true(recipe.is_tied);
    set("tied", "no");
    assert_false(recipe.is_tied);
}

static void layers_and_activations_are_lists(void **state)
{
    (void)state;
    set("hidden", "24,12");
    assert_int_equal(recipe.n_hidden, 2);
    assert_int_equal(recipe.hidden[0], 24);
    assert_int_equal(recipe.hidden[1], 12);
    set("hidden", "1,2,3,4,5,6,7,65536");
    assert_int_equal(recipe.n_hidden, RECIPE_MAX_HIDDEN);
    assert_int_equal(recipe.hidden[7], RECIPE_MAX_WIDTH);
    set("hidden", "none");
    assert_int_equal(recipe.n_hidden, 0);
    set("hidden", "auto");
    assert_int_equal(recipe.n_hidden, RECIPE_AUTO);
    set("activation", "elu");
    assert_int_equal(recipe.n_activations, 1);
    assert_int_equal(recipe.activations[0], ACTIVATION_ELU);
    set("activation", "linear,sigmoid,tanh,relu,silu,elu");
    assert_int_equal(recipe.n_activations, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(recipe.activations[i], i);
    set("activation", "relu,relu,relu,relu,relu,relu,relu,relu,relu,"
                      "relu,relu,relu,relu,relu,relu,relu,relu,tanh");
    assert_int_equal(recipe.n_activations, RECIPE_MAX_ACTIVATIONS);
    assert_int_equal(recipe.activations[17], ACTIVATION_TANH);
}

#define COUNT    "must be a whole number from 1 to 1000000000, or auto"
#define COUNT_0  "must be a whole number from 0 to 1000000000, or auto"
#define RATE     "must be a number from 1e-9 to below 1, as in 0.001"
#define POSITIVE "must be a number above 0"
#define AMOUNT   "must be a number that is 0 or above"
#define TRIM     "must be auto, 0, or the share of rows to leave out, below 0.5"
#define SEED     "must be a whole number from 0 to 9223372036854775807"
#define WIDTHS   "must be at most 8 whole numbers from 1 to 65536, as in 24,12, or none"
#define BENDS                                                                                      \
    "must be linear, sigmoid, tanh, relu, silu or elu, or at most 18 of them, one a layer, as in " \
    "relu,linear,relu,linear"

static void wrong_texts_are_refused_with_what_is_allowed_and_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *reason;
    } cases[] = {
        {"preset",           "Best",                                "must be one of best, balanced, fast"                },
        {"preset",           "",                                    "must be one of best, balanced, fast"                },
        {"algorithm",        "svm",                                 "must be one of autoencoder, pca"                    },
        {"loss",             "mae",                                 "must be one of auto, mse, cross-entropy, mixed"     },
        {"optimizer",        "adagrad",                             "must be one of sgd, momentum, nesterov, adam, adamw"},
        {"noise-kind",       "salt",                                "must be one of gaussian, masking"                   },
        {"schedule",         "auto",                                "must be one of constant, cosine"                    },
        {"latent",           "0",                                   COUNT                                                },
        {"latent",           "-1",                                  COUNT                                                },
        {"latent",           "1.5",                                 COUNT                                                },
        {"latent",           "",                                    COUNT                                                },
        {"latent",           "Auto",                                COUNT                                                },
        {"latent",           "18446744073709551615",                COUNT                                                },
        {"epochs",           "1000000001",                          COUNT                                                },
        {"batch-size",       "0",                                   COUNT                                                },
        {"warmup",           "-1",                                  COUNT_0                                              },
        {"patience",         "x",                                   COUNT_0                                              },
        {"prototypes",       "1e3",                                 COUNT_0                                              },
        {"clusters",         "99999999999999999999",                COUNT_0                                              },
        {"false-alarm-rate", "0",                                   RATE                                                 },
        {"false-alarm-rate", "1",                                   RATE                                                 },
        {"false-alarm-rate", "nan",                                 RATE                                                 },
        {"false-alarm-rate", "1%",                                  RATE                                                 },
        {"learning-rate",    "0",                                   POSITIVE                                             },
        {"learning-rate",    "inf",                                 POSITIVE                                             },
        {"learning-rate",    "auto",                                POSITIVE                                             },
        {"weight-decay",     "-1e-9",                               AMOUNT                                               },
        {"l1",               "nan",                                 AMOUNT                                               },
        {"sparsity",         "1e999",                               AMOUNT                                               },
        {"noise",            "0,5",                                 AMOUNT                                               },
        {"clip",             " 1",                                  AMOUNT                                               },
        {"trim",             "0.5",                                 TRIM                                                 },
        {"trim",             "-1",                                  TRIM                                                 },
        {"trim",             "nan",                                 TRIM                                                 },
        {"trim",             "5%",                                  TRIM                                                 },
        {"trim",             "Auto",                                TRIM                                                 },
        {"seed",             "9223372036854775808",                 SEED                                                 },
        {"seed",             "-1",                                  SEED                                                 },
        {"seed",             "auto",                                SEED                                                 },
        {"hidden",           "",                                    WIDTHS                                               },
        {"hidden",           "0",                                   WIDTHS                                               },
        {"hidden",           "24,",                                 WIDTHS                                               },
        {"hidden",           ",24",                                 WIDTHS                                               },
        {"hidden",           "24,,12",                              WIDTHS                                               },
        {"hidden",           "24, 12",                              WIDTHS                                               },
        {"hidden",           "65537",                               WIDTHS                                               },
        {"hidden",           "1,2,3,4,5,6,7,8,9",                   WIDTHS                                               },
        {"hidden",           "24,none",                             WIDTHS                                               },
        {"hidden",           "00000000000000000000000000000000024", WIDTHS                                               },
        {"activation",       "softmax",                             BENDS                                                },
        {"activation",       "relu,",                               BENDS                                                },
        {"activation",       "",                                    BENDS                                                },
        {"activation",
         "relu,relu,relu,relu,relu,relu,relu,relu,relu,relu,relu,relu,relu,relu,"
         "relu,relu,relu,relu,relu",                                BENDS                                                },
        {"tied",             "true",                                "must be yes or no"                                  },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct recipe before = recipe;
        assert_int_equal(recipe_set(&recipe, field(cases[i].name), cases[i].text, &error), -EINVAL);
        assert_string_equal(error.text, cases[i].reason);
        assert_memory_equal(&recipe, &before, sizeof(recipe));
    }
}

/* --help and the model file go through the table: every row must be whole and stand there once. */
static void the_table_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *row = &recipe_fields[i];
        assert_non_null(row->help);
        assert_int_equal(row->argument == NULL, row->kind == RECIPE_FLAG);
        assert_int_equal(row->choices != NULL, row->kind == RECIPE_CHOICE);
        assert_true(row->offset < sizeof(struct recipe));
        assert_ptr_equal(field(row->name), row);
        for (size_t j = 0; j < i; j++)
            assert_true(recipe_fields[j].offset != row->offset);
    }
}

/* ---- contradictions ---- */

static void check(size_t n_features)
{
    if (recipe_check(&recipe, n_features, &error) < 0)
        fail_msg("%s", error.text);
}

static void refuse(size_t n_features, const char *reason)
{
    error.text[0] = '\0';
    assert_int_equal(recipe_check(&recipe, n_features, &error), -EINVAL);
    if (strcmp(error.text, reason) != 0)
        fail_msg("\"%s\"\nis not\n\"%s\"", error.text, reason);
}

static void an_overcomplete_code_is_refused(void **state)
{
    (void)state;
    set("latent", "5");
    check(6);
    refuse(5, "--latent 5: a code that is not narrower than the 5 features is overcomplete: the "
              "network could copy its input; use at most 4, or regularise it with --sparsity, "
              "--weight-decay, --l1 or --noise");
    set("latent", "1");
    check(1); /* there is no narrower one */
    set("latent", "2");
    refuse(1, "--latent 2: a code that is not narrower than the 1 feature is overcomplete: the "
              "network could copy its input; use at most 1, or regularise it with --sparsity, "
              "--weight-decay, --l1 or --noise");
}

static void an_overcomplete_code_is_fine_when_regularised(void **state)
{
    (void)state;
    static const char *const ways[] = {"sparsity", "weight-decay", "l1", "noise"};

    for (size_t i = 0; i < 4; i++) {
        recipe_init(&recipe);
        set("latent", "50");
        set(ways[i], "0.1");
        check(6);
        set(ways[i], "0"); /* asked for none of it */
        assert_int_equal(recipe_check(&recipe, 6, &error), -EINVAL);
    }
    set("noise", "0.1");
    set("latent", "65536");
    check(6);
    set("latent", "65537");
    refuse(6, "--latent 65537: use at most 65536");
}

static void activations_must_match_the_layers(void **state)
{
    (void)state;
    set("activation", "relu");
    check(6);
    set("activation", "relu,linear,relu,linear");
    refuse(6, "--activation: one a layer needs --hidden, which says how many layers there are");
    set("hidden", "4");
    check(6);
    set("hidden", "4,3");
    refuse(6, "--activation: 4 activations do not match the 6 layers that --hidden makes (2 "
              "hidden, the code, 2 hidden, the output); give one or 6");
    set("hidden", "none");
    refuse(6, "--activation: 4 activations do not match the 2 layers that --hidden makes (0 "
              "hidden, the code, 0 hidden, the output); give one or 2");
    set("activation", "tanh,linear");
    check(6);
}

static void loss_and_output_must_go_together(void **state)
{
    (void)state;
    set("hidden", "4");
    set("activation", "relu,linear,relu,linear");
    set("loss", "mse");
    check(6);
    set("loss", "mixed");
    check(6);
    set("loss", "cross-entropy");
    refuse(6, "--loss cross-entropy needs a sigmoid output, not linear; end --activation with "
              "sigmoid");
    set("activation", "relu,linear,relu,sigmoid");
    check(6);
    set("loss", "mse");
    refuse(6, "--activation: a sigmoid output cannot reach standardised values; end with linear, "
              "or use --loss cross-entropy for values from 0 to 1");
    set("loss", "mixed");
    refuse(6, "--loss mixed needs a linear output, not sigmoid: its 0/1 features get a sigmoid of "
              "their own; end --activation with linear");
    set("loss", "auto");
    check(6); /* the rows decide: detector/plan.h */
}

static void pca_contradicts_what_it_has_not(void **state)
{
    (void)state;
    set("algorithm", "pca");
    check(2);
    refuse(1, "--algorithm pca needs at least 2 features");
    set("latent", "5");
    check(6);
    refuse(5, "--latent 5: PCA of 5 features has fewer components than features; use at most 4");
    set("epochs", "3");
    set("noise", "0.5"); /* regularised or not */
    refuse(5, "--latent 5: PCA of 5 features has fewer components than features; use at most 4");
    set("hidden", "none");
    check(6);
    set("hidden", "4");
    refuse(6, "--algorithm pca has no hidden layers; leave --hidden");
    set("hidden", "auto");
    set("activation", "linear");
    refuse(6, "--algorithm pca is linear; leave --activation");
    recipe.n_activations = RECIPE_AUTO;
    set("loss", "mse");
    check(6);
    set("loss", "cross-entropy");
    refuse(6, "--algorithm pca goes with --loss mse");
    set("loss", "mixed");
    refuse(6, "--algorithm pca goes with --loss mse");
}

static void options_of_the_steps_do_nothing_to_a_closed_form(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"optimizer",     "sgd"   },
        {"learning-rate", "1"     },
        {"schedule",      "cosine"},
        {"warmup",        "0"     },
        {"batch-size",    "1"     },
        {"patience",      "0"     },
        {"weight-decay",  "0"     },
        {"l1",            "0"     },
        {"sparsity",      "0"     },
        {"noise",         "0.5"   },
        {"clip",          "0"     },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char reason[256];
        recipe_init(&recipe);
        set(cases[i].name, cases[i].text);
        check(6);
        set("algorithm", "pca");
        (void)snprintf(reason, sizeof(reason),
                       "--%s does nothing to --algorithm pca, which takes no steps; leave it, or "
                       "give --epochs to train on from there",
                       cases[i].name);
        refuse(6, reason);
        set("epochs", "1");
        check(6);
    }
}

static void a_kind_of_noise_needs_noise(void **state)
{
    (void)state;
    set("noise-kind", "gaussian");
    check(6); /* the preset has some */
    set("noise", "0");
    refuse(6, "--noise-kind gaussian: there is no noise; give --noise, as in --noise 0.3");
    recipe_init(&recipe);
    set("preset", "fast");
    set("noise-kind", "masking");
    refuse(6, "--noise-kind masking: there is no noise; give --noise, as in --noise 0.3");
    set("noise", "0.3");
    check(6);
}

static void amounts_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    set("noise", "1.5");
    check(6);
    set("noise-kind", "masking");
    refuse(6, "--noise 1.5: masking sets a share of the values to 0; use 0 to 1");
    set("noise", "1");
    check(6);
    set("prototypes", "4097");
    refuse(6, "--prototypes 4097: use at most 4096");
    set("prototypes", "4096");
    set("clusters", "65");
    refuse(6, "--clusters 65: use at most 64");
    set("clusters", "64");
    check(6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_nobody_asked_for_is_left_to_the_preset, set_up),
        cmocka_unit_test_setup(every_choice_is_set_from_text, set_up),
        cmocka_unit_test_setup(every_count_is_set_from_text, set_up),
        cmocka_unit_test_setup(rows_to_trim_are_a_share_or_as_many_as_do_not_belong, set_up),
        cmocka_unit_test_setup(every_amount_is_set_from_text, set_up),
        cmocka_unit_test_setup(layers_and_activations_are_lists, set_up),
        cmocka_unit_test_setup(wrong_texts_are_refused_with_what_is_allowed_and_change_nothing,
                               set_up),
        cmocka_unit_test_setup(the_table_is_complete, set_up),
        cmocka_unit_test_setup(an_overcomplete_code_is_refused, set_up),
        cmocka_unit_test_setup(an_overcomplete_code_is_fine_when_regularised, set_up),
        cmocka_unit_test_setup(activations_must_match_the_layers, set_up),
        cmocka_unit_test_setup(loss_and_output_must_go_together, set_up),
        cmocka_unit_test_setup(pca_contradicts_what_it_has_not, set_up),
        cmocka_unit_test_setup(options_of_the_steps_do_nothing_to_a_closed_form, set_up),
        cmocka_unit_test_setup(a_kind_of_noise_needs_noise, set_up),
        cmocka_unit_test_setup(amounts_that_make_no_sense_are_refused, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
