#include "detector/architecture.h"

#include "base/text.h"
#include "detector/detector.h"
#include "detector/model_file.h"

#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error error;

static int set_up(void **state)
{
    (void)state;
    detector_init();
    return 0;
}

/* Of rows[n_rows][n_features] called f0, f1, …. */
static struct detector *train(const struct recipe *recipe, const float *rows, size_t n_rows,
                              size_t n_features)
{
    static char storage[256][24];
    const char *names[256];
    const struct trainer_options options = {.recipe = *recipe, .n_threads = 1};
    struct detector *detector = NULL;

    for (size_t j = 0; j < n_features; j++) {
        (void)snprintf(storage[j], sizeof(storage[j]), "f%zu", j);
        names[j] = storage[j];
    }
    if (detector_train(rows, n_rows, names, n_features, &options, NULL, NULL, &detector, &error) <
        0)
        fail_msg("%s", error.text);
    return detector;
}

static void assert_printed(const struct detector *detector, const char *want)
{
    CLEANUP(text_clear) struct text text = {0};

    architecture_print(detector, &text);
    assert_string_equal(text.data, want);
}

static void networks_are_told_layer_by_layer(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = tiny_detector(1);

    assert_printed(detector, "6-4-2-4-6");
    assert_int_equal(architecture_n_networks(detector), 1);
    assert_int_equal(architecture_n_layers(detector, 0), 4);
    const struct architecture_layer code = architecture_layer(detector, 0, 1);
    assert_int_equal(code.n_in, 4);
    assert_int_equal(code.n_out, 2);
    assert_string_equal(code.activation, "tanh");
    assert_true(code.is_encoder);
    const struct architecture_layer output = architecture_layer(detector, 0, 3);
    assert_string_equal(output.activation, "linear");
    assert_false(output.is_encoder);
    assert_false(architecture_layer(detector, 0, 2).is_encoder);
    assert_int_equal(architecture_n_parameters(detector),
                     6 * 4 + 4 + 4 * 2 + 2 + 2 * 4 + 4 + 4 * 6 + 6);
    assert_int_equal(architecture_n_prototypes(detector), 0);
    assert_int_equal(architecture_n_clusters(detector), 0);
}

static void all_networks_and_parts_count(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(1);
    CLEANUP(detector_freep) struct detector *detector = tiny_train(&recipe);

    assert_printed(detector, "12-36-24-3-24-36-12 + 12-36-24-5-24-36-12");
    assert_int_equal(architecture_n_networks(detector), 2);
    assert_int_equal(architecture_layer(detector, 1, 2).n_out, 5);
    const size_t first = 2 * (12 * 36 + 36 * 24 + 24 * 3) + 36 + 24 + 3 + 24 + 36 + 12;
    assert_int_equal(architecture_n_parameters(detector), 2 * first + 2 * 2 * 24 + 2);
    assert_in_range(architecture_n_prototypes(detector), 20, 30);
    assert_int_equal(architecture_n_clusters(detector), 2);
}

static void a_rows_cost_grows_with_the_parts(void **state)
{
    (void)state;
    const struct recipe recipe = tiny_recipe_of_all_parts(1);
    CLEANUP(detector_freep) struct detector *small = tiny_detector(1);
    CLEANUP(detector_freep) struct detector *large = tiny_train(&recipe);
    const struct architecture_cost a = architecture_cost(small), b = architecture_cost(large);

    assert_true(a.multiply_adds >= 64 && a.multiply_adds < 1000);
    assert_true(b.multiply_adds >= 2 * 2736 + 30 * 6 + 2 * 36 && b.multiply_adds < 20000);
    assert_true(a.bytes >= 4 * 64 && b.bytes > 4 * b.multiply_adds / 2);
}

static void assert_choice(const struct detector *detector, const char *what, const char *value,
                          const char *reason)
{
    struct architecture_choice choices[ARCHITECTURE_MAX_CHOICES];
    const size_t n = architecture_choices(detector, choices);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(choices[i].what, what) != 0)
            continue;
        assert_string_equal(choices[i].value, value);
        assert_string_equal(choices[i].reason, reason);
        return;
    }
    fail_msg("no choice %s", what);
}

static void every_choice_has_its_reason(void **state)
{
    (void)state;
    struct recipe recipe = tiny_recipe_of_all_parts(1);
    CLEANUP(detector_freep) struct detector *best = tiny_train(&recipe);
    struct architecture_choice choices[ARCHITECTURE_MAX_CHOICES];

    assert_int_equal(architecture_choices(best, choices), 8);
    assert_choice(best, "encoding", "kurtosis-scaled and rank-gauss",
                  "preset best, at most 200 features");
    assert_choice(best, "code", "3, 5", "preset best, 12 inputs");
    assert_choice(best, "loss", "mse", "not all values are 0 or 1");
    assert_choice(best, "training", "at most 4 epochs, batches of 64, adam", "asked for");
    assert_choice(best, "denoising", "gaussian noise of 0.8", "preset best");
    assert_choice(best, "clusters", "2", "asked for");
    assert_choice(best, "calibration", "all rows, each by parts fitted without its quarter",
                  "fewer than 4000 rows");

    recipe = tiny_recipe(1);
    recipe.latent = 3;
    recipe.noise = 0.25;
    recipe.noise_kind = 1;
    recipe.loss = RECIPE_LOSS_MSE;
    CLEANUP(detector_freep) struct detector *fast = tiny_train(&recipe);
    assert_choice(fast, "encoding", "standardised", "preset fast");
    assert_choice(fast, "code", "3", "asked for");
    assert_choice(fast, "loss", "mse", "asked for");
    assert_choice(fast, "denoising", "masking noise of 0.25", "asked for");
    assert_choice(fast, "prototypes", "0", "preset fast");
}

static void choices_by_the_values_are_told(void **state)
{
    (void)state;
    static float rows[40 * 6];
    struct recipe recipe = tiny_recipe(1);

    for (size_t i = 0; i < 240; i++)
        rows[i] = i * 7 % 5 < 2;
    CLEANUP(detector_freep) struct detector *bounded = train(&recipe, rows, 40, 6);
    assert_choice(bounded, "loss", "cross-entropy", "all values are 0 or 1");
    assert_choice(bounded, "encoding", "0 to 1 as they are, others standardised",
                  "cross-entropy compares values from 0 to 1");
    recipe.algorithm = ALGORITHM_PCA;
    recipe.epochs = RECIPE_AUTO;
    recipe.learning_rate = (double)NAN;
    recipe.preset = PRESET_BEST;
    CLEANUP(detector_freep) struct detector *pca = train(&recipe, rows, 40, 6);
    assert_choice(pca, "loss", "mse", "algorithm pca");
    assert_choice(pca, "training", "closed form", "algorithm pca");
    assert_choice(pca, "denoising", "none", "algorithm pca");
    assert_choice(pca, "prototypes", "0", "algorithm pca");
    recipe = tiny_recipe(1);
    recipe.loss = RECIPE_LOSS_MIXED;
    for (size_t i = 0; i < 40; i++)
        rows[i * 6] = (float)(i % 7);
    CLEANUP(detector_freep) struct detector *mixed = train(&recipe, rows, 40, 6);
    assert_choice(mixed, "loss", "mixed", "asked for");
}

static void many_features_leave_parts_out(void **state)
{
    (void)state;
    static float rows[24 * 201];
    struct recipe recipe = tiny_recipe(1);

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        rows[i] = (float)(i * 31 % 17);
    recipe.preset = PRESET_BALANCED;
    recipe.epochs = 1;
    CLEANUP(detector_freep) struct detector *detector = train(&recipe, rows, 24, 201);
    assert_printed(detector, "201-64-32-32-32-64-201");
    assert_choice(detector, "encoding", "standardised", "more than 200 features");
    assert_choice(detector, "prototypes", "0", "more than 200 features");
    assert_choice(detector, "clusters", "0", "more than 200 features");
}

static void drawn_rows_are_told(void **state)
{
    (void)state;
    const size_t n_rows = TRAINER_MAX_ROWS + 1;
    AUTO_FREE float *rows = malloc(n_rows * sizeof(*rows));
    struct recipe recipe = tiny_recipe(1);

    assert_non_null(rows);
    for (size_t i = 0; i < n_rows; i++)
        rows[i] = (float)(i * 31 % 1009);
    recipe.epochs = 1;
    recipe.batch_size = 5000;
    CLEANUP(detector_freep) struct detector *detector = train(&recipe, rows, n_rows, 1);
    char want[64];
    (void)snprintf(want, sizeof(want), "%zu rows that network 0 has not seen",
                   detector_summary(detector)->n_calibration);
    assert_choice(detector, "rows", "100000 drawn at random", "more than 100000 were given");
    assert_choice(detector, "calibration", want, "at least 4000 rows");
}

static void a_model_of_format_1_makes_no_false_claim(void **state)
{
    (void)state;
    const char *top = getenv("top_srcdir");
    CLEANUP(detector_freep) struct detector *old = NULL;
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/tests/golden/format-1.safetensors", top ? top : ".");
    assert_int_equal(model_file_load(path, &old, &error), 0);
    assert_printed(old, "5-4-2-4-5");
    assert_choice(old, "calibration", "80 rows that network 0 has not seen",
                  "trained by an earlier release");
    assert_choice(old, "training", "at most 60 epochs, batches of 64, adam", "asked for");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_told_layer_by_layer),
        cmocka_unit_test(all_networks_and_parts_count),
        cmocka_unit_test(a_rows_cost_grows_with_the_parts),
        cmocka_unit_test(every_choice_has_its_reason),
        cmocka_unit_test(choices_by_the_values_are_told),
        cmocka_unit_test(many_features_leave_parts_out),
        cmocka_unit_test(drawn_rows_are_told),
        cmocka_unit_test(a_model_of_format_1_makes_no_false_claim),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
