/* tiny_model - normal rows with something to learn, and a detector trained on them in no time.
 *
 * Six features hang on two hidden causes: an autoencoder with a code of two can copy them. */
#pragma once

#include "base/random.h"
#include "detector/detector.h"
#include "detector/trainer.h"

#include <math.h>
#include <stddef.h>

#define TINY_FEATURES 6
#define TINY_ROWS     400

static const char *const tiny_names[TINY_FEATURES] = {"a", "b", "c", "d", "e", "f"};

static inline void tiny_row(struct random *random, float row[TINY_FEATURES])
{
    const double x = random_normal(random), y = random_normal(random);
    const double causes[TINY_FEATURES] = {x, y, x + y, x - y, 2 * x, 3 * y};

    for (size_t j = 0; j < TINY_FEATURES; j++)
        row[j] = (float)(100 + 10 * causes[j] + 0.5 * random_normal(random));
}

static inline void tiny_rows(uint64_t seed, float *rows, size_t n_rows)
{
    struct random random;

    random_seed(&random, seed);
    for (size_t i = 0; i < n_rows; i++)
        tiny_row(&random, rows + i * TINY_FEATURES);
}

/* Preset fast: a moment of training, for a false-alarm rate of 0.05. */
static inline struct recipe tiny_recipe(uint64_t seed)
{
    struct recipe recipe;

    recipe_init(&recipe);
    recipe.preset = PRESET_FAST;
    recipe.seed = seed;
    recipe.epochs = 60;
    recipe.learning_rate = 0.01;
    recipe.false_alarm_rate = 0.05;
    return recipe;
}

/* Every part that there is, small, and trained only a little. */
static inline struct recipe tiny_recipe_of_all_parts(uint64_t seed)
{
    struct recipe recipe = tiny_recipe(seed);

    recipe.preset = PRESET_BEST;
    recipe.epochs = 4;
    recipe.prototypes = 30;
    recipe.clusters = 2;
    return recipe;
}

/* NULL: the training failed. */
static inline struct detector *tiny_train(const struct recipe *recipe)
{
    static float rows[TINY_ROWS * TINY_FEATURES];
    const struct trainer_options options = {.recipe = *recipe, .n_threads = 1};
    struct detector *detector = NULL;
    struct error error;

    tiny_rows(1, rows, TINY_ROWS);
    const int r = detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options, NULL, NULL,
                                 &detector, &error);
    return r == 0 ? detector : NULL;
}

static inline struct detector *tiny_detector(uint64_t seed)
{
    const struct recipe recipe = tiny_recipe(seed);

    return tiny_train(&recipe);
}
