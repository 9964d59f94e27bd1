/* The files are read one after the other into a draft, which remembers where each key stood; what
 * is wrong is written down and reading goes on, so that a person sees all errors at once. */
#include "service/config.h"

#include "base/file.h"
#include "data/schema.h"
#include "service/config_option.h"
#include "service/ini.h"
#include "service/live.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE_SIZE ((size_t)1 << 20)

struct place {
    const char *file; /* NULL: nowhere */
    size_t line;
};

struct draft_model {
    struct config_model model;
    struct place head;
    struct place seen[N_CONFIG_OPTIONS];
};

struct draft {
    struct config *config;
    struct place seen[N_CONFIG_OPTIONS];
    struct draft_model *models; /* [n_models] in the order of the files */
    size_t n_models;
    struct text *errors;

    /* Where we are reading. */
    const char *file;
    const char *folder;
    bool in_section; /* false: an unknown one, its keys are passed over */
    enum config_scope scope;
    size_t model; /* the index, in SCOPE_MODEL */
};

static void model_clear(struct config_model *model)
{
    free(model->name);
    free(model->file);
}

static void draft_clear(struct draft *draft)
{
    for (size_t i = 0; i < draft->n_models; i++)
        model_clear(&draft->models[i].model);
    free(draft->models);
    config_free(draft->config);
}

static void complain(struct draft *draft, size_t line, const char *format, ...) PRINTF_LIKE(3, 4);

static void complain(struct draft *draft, size_t line, const char *format, ...)
{
    struct error error = {0};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, arguments);
    va_end(arguments);
    text_printf(draft->errors, "%s:%zu: %s\n", draft->file, line, error.text);
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

static bool is_model_name(const char *name)
{
    size_t length =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    return isalnum((unsigned char)*name) && length <= LIVE_NAME_MAX && name[length] == '\0';
}

static int apply_defaults(enum config_scope scope, void *target)
{
    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
        if (option->scope != scope || !option->initial)
            continue;
        int r = option->read(option, option->initial, "", (char *)target + option->offset, NULL);
        assert(r != -EINVAL); /* our own table */
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_model(struct draft *draft, const char *name, size_t line)
{
    const size_t size = (draft->n_models + 1) * sizeof(*draft->models);
    struct draft_model *models = realloc(draft->models, size);
    if (!models)
        return -ENOMEM;
    draft->models = models;

    struct draft_model *added = &models[draft->n_models];
    *added = (struct draft_model){
        .model = {.name = strdup(name)},
          .head = { draft->file,                line}
    };
    if (!added->model.name)
        return -ENOMEM;
    draft->n_models++;
    return apply_defaults(SCOPE_MODEL, &added->model);
}

static int enter_model(struct draft *draft, const char *name, size_t line)
{
    char shown[TEXT_SHOWN_SIZE];

    if (*name == '\0') {
        complain(draft, line, "a model needs a name: [model NAME]");
        return 0;
    }
    if (!is_model_name(name)) {
        complain(draft, line,
                 "%s cannot name a model: use 1 to %d letters, digits, _ and -, the first a "
                 "letter or digit",
                 text_show(shown, name, strlen(name)), LIVE_NAME_MAX);
        return 0;
    }
    draft->in_section = true;
    draft->scope = SCOPE_MODEL;
    for (draft->model = 0; draft->model < draft->n_models; draft->model++)
        if (strcmp(draft->models[draft->model].model.name, name) == 0)
            return 0;
    return add_model(draft, name, line);
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
            complain(draft, line, "the section [%s] takes no name", kind);
        draft->in_section = *name == '\0';
        draft->scope = scope;
        return 0;
    }
    (void)did_you_mean(kind, names, N_CONFIG_SCOPES, hint);
    complain(draft, line, "[%s] is no section%s", kind,
             *hint ? hint : ": there are [server], [storage] and [model NAME]");
    return 0;
}

/* ---- keys ---- */

static void complain_about_key(struct draft *draft, const struct ini_entry *entry)
{
    char shown[TEXT_SHOWN_SIZE], hint[64];
    const char *names[N_CONFIG_OPTIONS], *scope = config_scope_name(draft->scope);
    size_t n = 0;

    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++) {
        if (strcmp(config_options[i].key, entry->key) == 0) {
            complain(draft, entry->line, "the key %s belongs into section [%s], not [%s]",
                     entry->key, config_scope_name(config_options[i].scope), scope);
            return;
        }
        if (config_options[i].scope == draft->scope)
            names[n++] = config_options[i].key;
    }
    (void)text_show(shown, entry->key, strlen(entry->key));
    if (*did_you_mean(entry->key, names, n, hint)) {
        complain(draft, entry->line, "%s is no key of section [%s]%s", shown, scope, hint);
        return;
    }
    CLEANUP(text_clear) struct text valid = {0};
    for (size_t i = 0; i < n; i++)
        text_printf(&valid, "%s%s", i ? ", " : "", names[i]);
    complain(draft, entry->line, "%s is no key of section [%s]: there are %s", shown, scope,
             text_failed(&valid) ? "others" : valid.data);
}

static int read_value(struct draft *draft, const struct config_option *option,
                      const struct ini_entry *entry)
{
    char shown[TEXT_SHOWN_SIZE];
    struct error error = {0};
    void *target = draft->scope == SCOPE_MODEL ? (void *)&draft->models[draft->model].model
                                               : (void *)draft->config;

    if (*entry->value == '\0') {
        complain(draft, entry->line, "%s has no value: write one, or leave the line out",
                 entry->key);
        return 0;
    }
    int r =
        option->read(option, entry->value, draft->folder, (char *)target + option->offset, &error);
    if (r == -EINVAL)
        complain(draft, entry->line, "%s: %s %s%s", entry->key,
                 text_show(shown, entry->value, strlen(entry->value)), error.text,
                 strstr(entry->value, " #") ? " (a comment needs a line of its own)" : "");
    return r == -EINVAL ? 0 : r;
}

static int read_key(struct draft *draft, const struct ini_entry *entry)
{
    size_t i = 0;

    while (i < N_CONFIG_OPTIONS && (config_options[i].scope != draft->scope ||
                                    strcmp(config_options[i].key, entry->key) != 0))
        i++;
    if (i == N_CONFIG_OPTIONS) {
        complain_about_key(draft, entry);
        return 0;
    }
    struct place *seen =
        draft->scope == SCOPE_MODEL ? &draft->models[draft->model].seen[i] : &draft->seen[i];
    if (seen->file == draft->file) {
        complain(draft, entry->line, "%s stands there twice, first in line %zu", entry->key,
                 seen->line);
        return 0;
    }
    *seen = (struct place){draft->file, entry->line};
    return read_value(draft, &config_options[i], entry);
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

static bool has_key(const struct draft_model *model, const char *key)
{
    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++)
        if (model->seen[i].file && strcmp(config_options[i].key, key) == 0)
            return true;
    return false;
}

/* Checks what no single line shows, and moves the models over to the config. */
static int finish(struct draft *draft)
{
    struct config *config = draft->config;

    for (size_t i = 0; i < draft->n_models; i++) {
        const struct draft_model *model = &draft->models[i];
        /* A file that was refused has its own error. */
        if (!model->model.file && !has_key(model, "file"))
            text_printf(draft->errors, "%s:%zu: the model %s has no file: add file = PATH\n",
                        model->head.file, model->head.line, model->model.name);
    }
    if (draft->n_models == 0)
        return 0;
    config->models = calloc(draft->n_models, sizeof(*config->models));
    if (!config->models)
        return -ENOMEM;
    for (size_t i = 0; i < draft->n_models; i++)
        config->models[i] = draft->models[i].model;
    config->n_models = draft->n_models;
    draft->n_models = 0;
    qsort(config->models, config->n_models, sizeof(*config->models), compare_models);
    return 0;
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
    draft.config = calloc(1, sizeof(*draft.config));
    if (!draft.config)
        return -ENOMEM;

    int r = apply_defaults(SCOPE_SERVER, draft.config);
    if (r == 0)
        r = list_conf_d(path, &conf_d, ret_errors);
    if (r == 0)
        r = read_file(&draft, path);
    for (size_t i = 0; i < conf_d.n_paths && r == 0; i++)
        r = read_file(&draft, conf_d.paths[i]);
    if (r == 0)
        r = finish(&draft);
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
    for (size_t i = 0; i < config->n_models; i++)
        model_clear(&config->models[i]);
    free(config->models);
    free(config);
}

void config_describe(struct text *text)
{
    for (size_t i = 0; i < N_CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
        if (i == 0 || option->scope != config_options[i - 1].scope)
            text_printf(text, "%s[%s%s]\n", i ? "\n" : "", config_scope_name(option->scope),
                        option->scope == SCOPE_MODEL ? " NAME" : "");
        text_printf(text, "  %s = %s%s\n", option->key,
                    option->initial ? option->initial : option->example,
                    option->initial ? "" : "    (an example; unset by default)");
        for (const char *line = option->help; line;) {
            const char *end = strchrnul(line, '\n');
            text_printf(text, "      %.*s\n", (int)(end - line), line);
            line = *end ? end + 1 : NULL;
        }
    }
}
