#include "detector/model_reader.h"

#include "base/error.h"
#include "base/number.h"
#include "detector/detector.h"
#include "detector/model_parts.h"
#include "detector/recipe.h"
#include "nn/activation.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

static int list_from_json(const json_t *list, size_t most, size_t *ret_n,
                          bool (*set)(struct recipe *recipe, size_t i, const json_t *item),
                          struct recipe *recipe)
{
    const size_t n = json_array_size(list);

    if (!json_is_array(list) || n > most)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!set(recipe, i, json_array_get(list, i)))
            return -EINVAL;
    *ret_n = n;
    return 0;
}

static bool set_width(struct recipe *recipe, size_t i, const json_t *item)
{
    const json_int_t width = model_count(item, 1, RECIPE_MAX_WIDTH);

    recipe->hidden[i] = (size_t)width;
    return width > 0;
}

static bool set_activation(struct recipe *recipe, size_t i, const json_t *item)
{
    enum activation activation;

    if (!json_is_string(item) || activation_from_name(json_string_value(item), &activation) < 0)
        return false;
    recipe->activations[i] = (int)activation;
    return true;
}

/* Everything but lists goes through the checks of recipe_set(), as text. */
static int option_from_json(struct recipe *recipe, const struct recipe_field *field,
                            const json_t *value)
{
    char text[NUMBER_MAX + 32];

    if (field->kind == RECIPE_WIDTHS)
        return list_from_json(value, RECIPE_MAX_HIDDEN, &recipe->n_hidden, set_width, recipe);
    if (field->kind == RECIPE_ACTIVATIONS)
        return list_from_json(value, RECIPE_MAX_ACTIVATIONS, &recipe->n_activations, set_activation,
                              recipe);
    if (field->kind == RECIPE_CHOICE || (field->kind == RECIPE_TRIM && json_is_string(value)))
        (void)snprintf(text, sizeof(text), "%s",
                       json_is_string(value) ? json_string_value(value) : "");
    else if (field->kind == RECIPE_FLAG)
        (void)snprintf(text, sizeof(text), "%s",
                       json_is_true(value)    ? "yes"
                       : json_is_false(value) ? "no"
                                              : "");
    else if (json_is_integer(value))
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    else
        text[number_write_double(text, json_is_real(value) ? json_real_value(value)
                                                           : (double)NAN)] = '\0';
    struct error why;
    return recipe_set(recipe, field, text, &why);
}

/* In format 1 an empty list and 0 meant what is now not there. */
static bool meant_nothing(const struct recipe_field *field, const json_t *value)
{
    if (field->kind == RECIPE_WIDTHS)
        return json_is_array(value) && json_array_size(value) == 0;
    return field->kind == RECIPE_COUNT && json_is_integer(value) && json_integer_value(value) == 0;
}

static int read_recipe(const struct model_reader *reader, struct recipe *ret_recipe)
{
    const json_t *options = model_find(reader, "training", "options");

    if (!json_is_object(options))
        return model_damaged(reader, "no training.options");
    recipe_init(ret_recipe);
    ret_recipe->preset = reader->version == 1 ? PRESET_FAST : PRESET_BEST;
    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        char key[MODEL_NAME_SIZE];
        model_option_key(key, field);
        const json_t *value = json_object_get(options, key);

        if (!value || (reader->version == 1 && meant_nothing(field, value)))
            continue;
        if (option_from_json(ret_recipe, field, value) < 0)
            return error_set_at(reader->reterr, -EINVAL, reader->file, 0,
                                "detector document: training.options.%s is not one that train "
                                "takes",
                                key);
    }
    return 0;
}

/* Numbers that only tell: what is missing is 0. */
static size_t tell(const json_t *object, const char *key)
{
    const json_int_t count = model_count(json_object_get(object, key), 0, INT64_MAX);

    return count < 0 ? 0 : (size_t)count;
}

static void read_network_summary(const json_t *object, const char *loss,
                                 struct network_summary *ret_summary)
{
    *ret_summary = (struct network_summary){
        .epochs = tell(object, "epochs"),
        .best_epoch = tell(object, "best_epoch"),
        .loss = model_real(object, loss),
        .validation_loss = model_real(object, "validation_loss"),
        .is_warm = json_is_true(json_object_get(object, "warm_start")),
    };
}

int model_read_training(const struct model_reader *reader, size_t n_networks,
                        struct training_summary *ret_summary)
{
    const json_t *summary = model_find(reader, "training", "summary");
    const char *kernel = json_string_value(json_object_get(reader->document, "kernel"));

    if (!kernel)
        return model_damaged(reader, "no kernel");
    *ret_summary = (struct training_summary){
        .n_rows = tell(summary, "rows"),
        .n_drawn = tell(summary, reader->version == 1 ? "rows" : "drawn_rows"),
        .n_train = tell(summary, "training_rows"),
        .n_validation = tell(summary, "validation_rows"),
        .n_calibration = tell(summary, "calibration_rows"),
        .n_left_out = tell(summary, "left_out_rows"),
        .n_trimmed = tell(summary, "trimmed_rows"),
        .n_outliers = tell(summary, "outlier_values"),
        .n_folds = reader->version == 1 ? 1 : tell(summary, "calibration_folds"),
        .n_networks = n_networks,
    };
    (void)snprintf(ret_summary->kernel, sizeof(ret_summary->kernel), "%s", kernel);
    for (size_t i = 0; i < n_networks; i++)
        if (reader->version == 1)
            read_network_summary(summary, "training_loss", &ret_summary->networks[i]);
        else
            read_network_summary(json_array_get(json_object_get(summary, "networks"), i), "loss",
                                 &ret_summary->networks[i]);
    return read_recipe(reader, &ret_summary->recipe);
}
