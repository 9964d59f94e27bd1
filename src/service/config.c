/* The files are read one after the other into a draft, which remembers where each key stood; what
 * is wrong is written down and reading goes on, so that a person sees all errors at once. */
#include "service/config.h"

#include "base/file.h"
#include "data/schema.h"
#include "detector/relevance.h"
#include "service/config_draft.h"
#include "service/ini.h"
#include "service/live.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE_SIZE ((size_t)1 << 20)

static void model_clear(struct config_model *model)
{
    free(model->name);
    free(model->file);
    for (size_t i = 0; i < model->n_features; i++)
        free(model->features[i]);
    free(model->features);
    prepare_spec_free(model->prepare);
    relevance_release(model->relevance);
}

static void draft_clear(struct draft *draft)
{
    for (size_t i = 0; i < draft->n_models; i++)
        model_clear(&draft->models[i].model);
    free(draft->models);
    free(draft->names);
    name_index_clear(&draft->index);
    config_free(draft->config);
}

void config_complain(struct draft *draft, struct place place, const char *format, ...)
{
    struct error error = {0};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, arguments);
    va_end(arguments);
    text_printf(draft->errors, "%s:%zu: %s\n", place.file, place.line, error.text);
}

static struct place here(const struct draft *draft, size_t line)
{
    return (struct place){draft->file, line};
}

/* ", did you mean NAME?" in ret_hint, or "" when no name is near. */
static const char *did_you_mean(const char *word, const char *const *names, size_t n_names,
                                char ret_hint[64])
{
    CLEANUP(schema_freep) struct schema *schema = NULL;
    const char *nearest = NULL;

    if (schema_new(names, n_names, &schema, NULL) == 0)
        nearest = schema_nearest(schema, word, strlen(word));
    (void)snprintf(ret_hint, 64, nearest ? ", did you mean %s?" : "", nearest);
    return ret_hint;
}

/* ---- sections ---- */

/* Those of a model, or of all the other sections. */
static int apply_defaults(const struct draft *draft, bool of_model, void *target)
{
    for (size_t i = 0; i < draft->n_options; i++) {
        const struct config_option *option = &draft->options[i];
        const struct config_value value = {option, option->initial, ""};
        if ((option->scope == SCOPE_MODEL) != of_model || !option->initial)
            continue;
        int r = option->read(&value, (char *)target + option->offset, NULL);
        assert(r != -EINVAL); /* our own table */
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_model(struct draft *draft, const char *name, struct place head)
{
    const size_t size = (draft->n_models + 1) * sizeof(*draft->models);
    struct draft_model *models = realloc(draft->models, size);
    if (!models)
        return -ENOMEM;
    draft->models = models;
    char **names = realloc(draft->names, (draft->n_models + 1) * sizeof(char *));
    if (!names)
        return -ENOMEM;
    draft->names = names;

    struct draft_model *added = &models[draft->n_models];
    *added = (struct draft_model){.model.name = strdup(name), .head = head};
    if (!added->model.name)
        return -ENOMEM;
    draft->names[draft->n_models++] = added->model.name;
    int r = name_index_add(&draft->index, draft->names);
    if (r < 0)
        return r;
    recipe_init(&added->model.recipe);
    return apply_defaults(draft, true, &added->model);
}

static int enter_model(struct draft *draft, const char *name, size_t line)
{
    char shown[TEXT_SHOWN_SIZE];

    if (*name == '\0') {
        config_complain(draft, here(draft, line), "a model needs a name: [model NAME]");
        return 0;
    }
    if (strcmp(name, "*") != 0 && !live_is_name(name, strlen(name))) {
        config_complain(draft, here(draft, line),
                        "%s cannot name a model: use 1 to %d letters, digits, _ and -, the first a "
                        "letter or digit",
                        text_show(shown, name, strlen(name)), LIVE_NAME_MAX);
        return 0;
    }
    draft->in_section = true;
    draft->scope = SCOPE_MODEL;
    draft->model = name_index_find(&draft->index, draft->names, name, strlen(name));
    if (draft->model < draft->n_models)
        return 0;
    return add_model(draft, name, here(draft, line));
}

static int enter_section(struct draft *draft, const char *section, size_t line)
{
    char kind[TEXT_SHOWN_SIZE], hint[64];
    const size_t length = strcspn(section, " \t");
    const char *name = section + length + strspn(section + length, " \t");
    const char *names[N_CONFIG_SCOPES];

    draft->in_section = false;
    (void)text_show(kind, section, length);
    for (enum config_scope scope = 0; scope < N_CONFIG_SCOPES; scope++) {
        names[scope] = config_scope_name(scope);
        if (strcmp(kind, names[scope]) != 0)
            continue;
        if (scope == SCOPE_MODEL)
            return enter_model(draft, name, line);
        if (*name)
            config_complain(draft, here(draft, line), "the section [%s] takes no name", kind);
        draft->in_section = *name == '\0';
        draft->scope = scope;
        return 0;
    }
    (void)did_you_mean(kind, names, N_CONFIG_SCOPES, hint);
    config_complain(draft, here(draft, line), "[%s] is no section%s", kind,
                    *hint ? hint : ": there are [server], [storage], [models] and [model NAME]");
    return 0;
}

/* ---- keys ---- */

static void complain_about_key(struct draft *draft, const struct ini_entry *entry)
{
    char shown[TEXT_SHOWN_SIZE], hint[64];
    const char *names[CONFIG_MAX_OPTIONS], *scope = config_scope_name(draft->scope);
    size_t n = 0;

    for (size_t i = 0; i < draft->n_options; i++) {
        const struct config_option *option = &draft->options[i];
        if (strcmp(option->key, entry->key) == 0) {
            config_complain(draft, here(draft, entry->line),
                            "the key %s belongs into section [%s], not [%s]", entry->key,
                            config_scope_name(option->scope), scope);
            return;
        }
        if (option->scope == draft->scope)
            names[n++] = option->key;
    }
    (void)text_show(shown, entry->key, strlen(entry->key));
    if (*did_you_mean(entry->key, names, n, hint)) {
        config_complain(draft, here(draft, entry->line), "%s is no key of section [%s]%s", shown,
                        scope, hint);
        return;
    }
    CLEANUP(text_clear) struct text valid = {0};
    for (size_t i = 0; i < n; i++)
        text_printf(&valid, "%s%s", i ? ", " : "", names[i]);
    config_complain(draft, here(draft, entry->line), "%s is no key of section [%s]: there are %s",
                    shown, scope, text_failed(&valid) ? "others" : valid.data);
}

static int read_value(struct draft *draft, const struct config_option *option,
                      const struct ini_entry *entry)
{
    char shown[TEXT_SHOWN_SIZE];
    struct error error = {0};
    void *target = draft->scope == SCOPE_MODEL ? (void *)&draft->models[draft->model].model
                                               : (void *)draft->config;

    if (*entry->value == '\0') {
        config_complain(draft, here(draft, entry->line),
                        "%s has no value: write one, or leave the line out", entry->key);
        return 0;
    }
    const struct config_value value = {option, entry->value, draft->folder};
    int r = option->read(&value, (char *)target + option->offset, &error);
    if (r == -EINVAL)
        config_complain(draft, here(draft, entry->line), "%s: %s %s%s", entry->key,
                        text_show(shown, entry->value, strlen(entry->value)), error.text,
                        strstr(entry->value, " #") ? " (a comment needs a line of its own)" : "");
    return r == -EINVAL ? 0 : r;
}

static int read_key(struct draft *draft, const struct ini_entry *entry)
{
    size_t i = 0;

    while (i < draft->n_options && (draft->options[i].scope != draft->scope ||
                                    strcmp(draft->options[i].key, entry->key) != 0))
        i++;
    if (i == draft->n_options) {
        complain_about_key(draft, entry);
        return 0;
    }
    if (draft->scope == SCOPE_MODEL && draft->model == 0 && strcmp(entry->key, "file") == 0) {
        config_complain(draft, here(draft, entry->line),
                        "file stands in [model NAME] only: the models that [model *] is for learn "
                        "from nothing");
        return 0;
    }
    struct place *seen =
        draft->scope == SCOPE_MODEL ? &draft->models[draft->model].seen[i] : &draft->seen[i];
    if (seen->file == draft->file) {
        config_complain(draft, here(draft, entry->line), "%s stands there twice, first in line %zu",
                        entry->key, seen->line);
        return 0;
    }
    *seen = here(draft, entry->line);
    return read_value(draft, &draft->options[i], entry);
}

/* ---- files ---- */

/* The folder of path, in memory from malloc(). */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int read_file(struct draft *draft, const char *path)
{
    struct error error = {0};
    AUTO_FREE char *data = NULL, *folder = folder_of(path);
    CLEANUP(ini_clear) struct ini ini = {0};
    size_t size = 0;

    if (!folder)
        return -ENOMEM;
    int r = file_read(path, MAX_FILE_SIZE, &data, &size, &error);
    if (r < 0) {
        text_printf(draft->errors, "%s\n", error.text);
        return r == -ENOMEM ? r : 0;
    }
    r = ini_parse(path, data, size, &ini, draft->errors);
    draft->file = path;
    draft->folder = folder;
    draft->in_section = false;
    for (size_t i = 0; i < ini.n_entries && r == 0; i++) {
        const struct ini_entry *entry = &ini.entries[i];
        if (!entry->key)
            r = enter_section(draft, entry->section, entry->line);
        else if (draft->in_section)
            r = read_key(draft, entry);
    }
    return r;
}

struct path_list {
    char **paths;
    size_t n_paths;
};

static void path_list_clear(struct path_list *list)
{
    for (size_t i = 0; i < list->n_paths; i++)
        free(list->paths[i]);
    free(list->paths);
}

static int is_conf_file(const struct dirent *item)
{
    const char *end = strrchr(item->d_name, '.');

    return item->d_name[0] != '.' && end && strcmp(end, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The files of conf.d beside path, by name. None when there is no such folder. */
static int list_conf_d(const char *path, struct path_list *ret_list, struct text *errors)
{
    AUTO_FREE char *folder = folder_of(path), *conf_d = NULL;
    if (!folder || asprintf(&conf_d, "%s/conf.d", folder) < 0) {
        conf_d = NULL;
        return -ENOMEM;
    }
    struct dirent **items = NULL;
    const int n = scandir(conf_d, &items, is_conf_file, by_name);
    if (n < 0 && errno != ENOENT) {
        struct error error = {0};
        (void)error_set_errno(&error, -errno, conf_d, "read");
        text_printf(errors, "%s\n", error.text);
    }
    if (n <= 0) {
        free(items);
        return 0;
    }
    int r = 0;
    ret_list->paths = calloc((size_t)n, sizeof(*ret_list->paths));
    if (!ret_list->paths)
        r = -ENOMEM;
    for (int i = 0; i < n; i++) {
        if (r == 0 && asprintf(&ret_list->paths[i], "%s/%s", conf_d, items[i]->d_name) < 0)
            r = -ENOMEM;
        else if (r == 0)
            ret_list->n_paths++;
        free(items[i]);
    }
    free(items);
    return r;
}

/* ---- the whole ---- */

static int compare_models(const void *a, const void *b)
{
    return strcmp(((const struct config_model *)a)->name, ((const struct config_model *)b)->name);
}

/* Moves the models over to the config. */
static int take_models(struct draft *draft)
{
    struct config *config = draft->config;
    const size_t n = draft->n_models - 1;

    config->models = calloc(n + 1, sizeof(*config->models)); /* never of no size */
    if (!config->models)
        return -ENOMEM;
    config->model_template = draft->models[0].model;
    for (size_t i = 0; i < n; i++)
        config->models[i] = draft->models[1 + i].model;
    config->n_models = n;
    draft->n_models = 0;
    qsort(config->models, n, sizeof(*config->models), compare_models);
    return 0;
}

static int draft_init(struct draft *draft)
{
    draft->n_options = config_option_list(draft->options);
    draft->config = calloc(1, sizeof(*draft->config));
    if (!draft->config)
        return -ENOMEM;
    int r = apply_defaults(draft, false, draft->config);
    return r < 0 ? r : add_model(draft, "*", (struct place){0});
}

int config_load(const char *path, struct config **ret_config, struct text *ret_errors)
{
    assert(ret_config && ret_errors);

    const size_t n_before = ret_errors->length;
    CLEANUP(path_list_clear) struct path_list conf_d = {0}; /* outlives the draft's places */
    CLEANUP(draft_clear) struct draft draft = {.errors = ret_errors};
    if (!path)
        path = SYSCONFDIR "/anomalyd/anomalyd.conf";
    if (strcmp(path, "-") == 0) {
        text_puts(ret_errors,
                  "-: the configuration is read again at a reload, so it must be a file\n");
        return -EINVAL;
    }
    int r = draft_init(&draft);
    if (r == 0)
        r = list_conf_d(path, &conf_d, ret_errors);
    if (r == 0)
        r = read_file(&draft, path);
    for (size_t i = 0; i < conf_d.n_paths && r == 0; i++)
        r = read_file(&draft, conf_d.paths[i]);
    if (r == 0)
        r = config_check(&draft);
    if (r == 0)
        r = take_models(&draft);
    if (r < 0 || text_failed(ret_errors))
        return -ENOMEM;
    if (ret_errors->length > n_before)
        return -EINVAL;
    *ret_config = TAKE(draft.config);
    return 0;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_listen; i++)
        free(config->listen[i]);
    free(config->listen);
    free(config->storage_directory);
    model_clear(&config->model_template);
    for (size_t i = 0; i < config->n_models; i++)
        model_clear(&config->models[i]);
    free(config->models);
    free(config);
}

/* ---- training options ---- */

static size_t size_of(enum recipe_kind kind)
{
    switch (kind) {
    case RECIPE_CHOICE:
        return sizeof(int);
    case RECIPE_COUNT:
    case RECIPE_COUNT_OR_0:
    case RECIPE_WIDTHS:
    case RECIPE_ACTIVATIONS:
        return sizeof(size_t);
    case RECIPE_POSITIVE:
    case RECIPE_AMOUNT:
    case RECIPE_RATE:
    case RECIPE_TRIM:
        return sizeof(double);
    case RECIPE_SEED:
        return sizeof(uint64_t);
    case RECIPE_FLAG:
        return sizeof(bool);
    }
    return 0;
}

void config_model_train(const struct config_model *model, struct recipe *recipe)
{
    const struct recipe *from = &model->recipe;

    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        if (!model->has_option[i])
            continue;
        memcpy((char *)recipe + field->offset, (const char *)from + field->offset,
               size_of(field->kind));
        if (field->kind == RECIPE_WIDTHS)
            memcpy(recipe->hidden, from->hidden, sizeof(recipe->hidden));
        if (field->kind == RECIPE_ACTIVATIONS)
            memcpy(recipe->activations, from->activations, sizeof(recipe->activations));
    }
    if (model->false_alarm_rate > 0)
        recipe->false_alarm_rate = model->false_alarm_rate;
}
