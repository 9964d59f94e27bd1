#include "data/preparation.h"
#include "data/schema.h"
#include "detector/relevance.h"
#include "detector/vocabulary.h"
#include "service/config_draft.h"
#include "service/config_read.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Where the key stands; seen is that of the draft or of a model. */
static struct place place_of(const struct draft *draft, const struct place *seen, const char *key)
{
    size_t i = 0;

    while (i < draft->n_options && strcmp(draft->options[i].key, key) != 0)
        i++;
    assert(i < draft->n_options);
    return seen[i];
}

/* systemd names the folders of StateDirectory=, separated by colons: the first one is ours. */
static int take_state_directory(struct draft *draft)
{
    const char *list = getenv("STATE_DIRECTORY"); /* NOLINT(concurrency-mt-unsafe): never set */
    struct error error = {0};

    if (!list || *list == '\0')
        return 0;
    AUTO_FREE char *first = strndup(list, strcspn(list, ":"));
    if (!first)
        return -ENOMEM;
    const struct config_value value = {.text = first, .folder = ""};
    int r = config_read_folder(&value, &draft->config->storage_directory, &error);
    if (r == -EINVAL)
        text_printf(draft->errors, "$STATE_DIRECTORY: %s %s\n", first, error.text);
    return r == -EINVAL ? 0 : r;
}

static void check_budget(struct draft *draft, const struct draft_model *model, bool has_store)
{
    const struct place rate = place_of(draft, model->seen, "false_alarm_rate");
    const struct place budget = place_of(draft, model->seen, "false_alarms_per_day");

    if (rate.file && budget.file)
        config_complain(draft, budget,
                        "false_alarms_per_day: %s:%zu gives false_alarm_rate: leave one of the two "
                        "out",
                        rate.file, rate.line);
    else if (budget.file && !has_store)
        config_complain(draft, budget,
                        "false_alarms_per_day: there is no folder to keep the rows a day: add "
                        "directory = PATH to section [storage], or give false_alarm_rate");
}

/* Where the section names its features; else those of the model file tell. */
static int check_relevance(struct draft *draft, const struct draft_model *model)
{
    const struct config_model *values = &model->model;
    CLEANUP(schema_freep) struct schema *schema = NULL;
    enum relevance_part part = 0;
    struct error why = {0};

    if (!values->relevance || values->n_features == 0)
        return 0;
    int r = schema_new((const char *const *)values->features, values->n_features, &schema, NULL);
    const struct vocabulary vocabulary = {.inputs = schema};
    if (r == 0)
        r = relevance_check(values->relevance, &vocabulary, &part, &why);
    if (r == -EINVAL)
        config_complain(draft, place_of(draft, model->seen, relevance_options[part].name), "%s",
                        why.text);
    return r == -EINVAL ? 0 : r;
}

static void check_learning(struct draft *draft, struct draft_model *model, bool has_store)
{
    const struct place file = place_of(draft, model->seen, "file");
    const struct place learn = place_of(draft, model->seen, "learn");
    const struct place min_rows = place_of(draft, model->seen, "min_rows");
    struct config_model *values = &model->model;

    if (!learn.file)
        values->learn = has_store ? CONFIG_LEARN_AUTO : CONFIG_LEARN_OFF;
    if (values->learn != CONFIG_LEARN_OFF && !has_store)
        config_complain(draft, learn,
                        "learn: there is no folder to keep what is learned: add directory = PATH "
                        "to section [storage], or write learn = off");
    /* A file that was refused has its own error. */
    if (model != draft->models && !has_store && !file.file)
        config_complain(draft, model->head,
                        "the model %s has no file: add file = PATH, or directory = PATH to "
                        "section [storage] so that it can learn from nothing",
                        values->name);
    if (values->min_rows > values->buffer_rows)
        config_complain(draft, min_rows,
                        "min_rows: the buffer never holds %zu rows: write %zu (buffer_rows) or "
                        "less",
                        values->min_rows, values->buffer_rows);
}

/* How inputs are prepared: by the model file where there is one; else as far as it can be told
 * before a row has come. */
static void check_prepare(struct draft *draft, const struct draft_model *model)
{
    static const char *const keys[] = {"prepare", "context", "max_gap", "timezone"};
    const struct config_model *values = &model->model;
    struct place place = {0};
    struct preparation *made = NULL;
    struct error error = {0};
    const size_t n_before = draft->errors->length;

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && !place.file; i++)
        place = place_of(draft, model->seen, keys[i]);
    if (!values->prepare || !place.file || values->file) /* which has its own */
        return;
    for (size_t i = 0; i < values->prepare->n_items; i++) {
        const struct prepare_item *item = &values->prepare->items[i];
        if (item->how == PREPARE_ONEHOT && item->n_categories == 0)
            config_complain(draft, place,
                            "prepare: the categories of \"%s\" are not known before it has "
                            "learned: give them, %s=onehot:A|B",
                            item->name, item->name);
    }
    if (values->n_features > 0 && draft->errors->length == n_before &&
        preparation_new(values->prepare, (const char *const *)values->features, values->n_features,
                        &made, &error) < 0)
        config_complain(draft, place, "prepare: %s", error.text);
    preparation_free(made);
}

int config_check(struct draft *draft)
{
    const bool is_named = place_of(draft, draft->seen, "directory").file != NULL;
    const size_t n_before = draft->errors->length;

    int r = is_named ? 0 : take_state_directory(draft);
    if (r < 0)
        return r;
    /* A folder that was refused has its own error. */
    const bool has_store =
        is_named || draft->config->storage_directory || draft->errors->length > n_before;
    if (draft->config->auto_create && !has_store)
        config_complain(draft, place_of(draft, draft->seen, "auto_create"),
                        "auto_create: a model without a file learns from nothing: add directory = "
                        "PATH to section [storage]");
    for (size_t i = 0; i < draft->n_models && r == 0; i++) {
        check_budget(draft, &draft->models[i], has_store);
        check_learning(draft, &draft->models[i], has_store);
        check_prepare(draft, &draft->models[i]);
        r = check_relevance(draft, &draft->models[i]);
    }
    return r;
}
