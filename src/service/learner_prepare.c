/* Which models there are and which version of each answers: at the start, at a reload, when a row
 * or a file makes a new one, and when one is deleted. */
#include "base/log.h"
#include "service/learner_state.h"
#include "store/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One that was deleted is an empty shell, and is used again. */
static struct pupil *revive(struct learner *learner, const char *name)
{
    const size_t i = name_index_find(&learner->index, learner->names, name, strlen(name));

    if (i == learner->n_pupils)
        return NULL;
    learner->pupils[i]->is_gone = false;
    return learner->pupils[i];
}

/* 0 or -ENOMEM. Others may search the list meanwhile. */
static int append_pupil(struct learner *learner, struct pupil *pupil)
{
    const size_t n = learner->n_pupils;
    int r = -ENOMEM;

    (void)pthread_mutex_lock(&learner->lock);
    struct pupil **pupils = realloc(learner->pupils, (n + 1) * sizeof(struct pupil *));
    if (pupils)
        learner->pupils = pupils;
    char **names = realloc(learner->names, (n + 1) * sizeof(char *));
    if (names)
        learner->names = names;
    if (pupils && names) {
        pupils[n] = pupil;
        names[n] = pupil->name;
        r = name_index_add(&learner->index, names);
        learner->n_pupils += r == 0;
    }
    (void)pthread_mutex_unlock(&learner->lock);
    return r;
}

/* Under create_lock; there is none of that name. */
static struct pupil *add_pupil(struct learner *learner, const char *name)
{
    struct pupil *gone = revive(learner, name);
    if (gone)
        return gone;
    struct pupil *pupil = calloc(1, sizeof(*pupil));
    if (!pupil)
        return NULL;
    pupil->learner = learner;
    (void)snprintf(pupil->name, sizeof(pupil->name), "%s", name);
    (void)pthread_mutex_init(&pupil->lock, NULL);
    (void)pthread_mutex_init(&pupil->view_lock, NULL);
    (void)pthread_mutex_init(&pupil->pin_lock, NULL);
    if (append_pupil(learner, pupil) < 0) {
        free(pupil);
        return NULL;
    }
    return pupil;
}

struct pupil *learner_find_or_add(struct learner *learner, const char *name)
{
    struct pupil *pupil = learner_find(learner, name);

    return pupil ? pupil : add_pupil(learner, name);
}

/* ---- preparing ---- */

static void set_settings(struct pupil *pupil, const struct pupil_settings *settings, int learn)
{
    pupil_keep_settings(&pupil->settings, settings);
    atomic_store(&pupil->is_watched, settings->stale_after_us > 0);
    atomic_store(&pupil->learn, learn);
    atomic_store(&pupil->has_alarm, settings->learning.alarm.n > 0);
    if (pupil->learning)
        learning_configure(pupil->learning, &settings->learning);
}

/* A promotion may change the path before it is loaded. */
static int keep_loading(struct pupil *pupil, struct live_source *source)
{
    free(pupil->loading_path);
    pupil->loading_path = strdup(pupil->path);
    if (!pupil->loading_path)
        return -ENOMEM;
    memcpy(pupil->loading_sha256, pupil->sha256, sizeof(pupil->sha256));
    source->file = pupil->loading_path;
    source->sha256 = source->sha256 ? pupil->loading_sha256 : NULL;
    return 0;
}

static int prepare_source(struct learner *learner, struct live_source *source,
                          const struct pupil_settings *settings, int learn, struct text *ret_notes)
{
    struct pupil *pupil = learner_find_or_add(learner, source->name);
    char path[VERSIONS_PATH_SIZE];
    struct error error;
    if (!pupil)
        return -ENOMEM;

    pupil_lock(pupil);
    set_settings(pupil, settings, learn);
    if (!pupil->current_run)
        versions_remove_candidates(learner->directory, pupil->name);
    const int r = pupil_find_file(pupil, source, &error);
    if (r < 0) {
        text_printf(ret_notes, "model %s does not learn: %s\n", pupil->name, error.text);
        learner_note(learner, r);
        if (versions_find_live(learner->directory, pupil->name, path, &source->version) == 0 &&
            pupil_set_path(pupil, path, "") == 0)
            source->file = pupil->path;
    }
    if (source->file && source->file == pupil->path && keep_loading(pupil, source) < 0) {
        pupil_unlock(pupil);
        return -ENOMEM;
    }
    const struct live_source said = pupil_source(pupil);
    source->name = pupil->name;
    source->false_alarm_rate = said.false_alarm_rate;
    source->false_alarms_per_day = said.false_alarms_per_day;
    source->is_rate_put = said.is_rate_put;
    source->reject_missing = said.reject_missing;
    source->max_series = said.max_series;
    source->relevance = said.relevance;
    pupil_unlock(pupil);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct live_source *)a)->name, ((const struct live_source *)b)->name);
}

/* The models of the store that no section names: their first rows have made them. */
static int add_created(struct learner *learner, struct live_source **sources, size_t *n_sources,
                       struct text *ret_notes)
{
    AUTO_FREE struct logged_model *models = NULL;
    const size_t n_configured = *n_sources;
    size_t n = 0;

    int r = model_log_list(learner->database, &models, &n);
    if (r < 0)
        return r;
    struct live_source *all =
        realloc(*sources, (n_configured + n + 1) * sizeof(struct live_source));
    if (all)
        *sources = all;
    for (size_t i = 0; i < n; i++) {
        const struct live_source key = {.name = models[i].name};
        if (all && r == 0 && !bsearch(&key, all, n_configured, sizeof(*all), by_name)) {
            all[*n_sources] = (struct live_source){.name = models[i].name};
            r = prepare_source(learner, &all[*n_sources], &learner->template,
                               learner->template_learn, ret_notes);
            *n_sources += r == 0;
        }
        logged_model_clear(&models[i]);
    }
    if (all)
        qsort(all, *n_sources, sizeof(*all), by_name);
    return all ? r : -ENOMEM;
}

/* Under create_lock. */
static void set_template(struct learner *learner, const struct config *config)
{
    const struct pupil_settings template = pupil_settings_of(learner, &config->model_template);

    pupil_keep_settings(&learner->template, &template);
    learner->template_learn = (int)config->model_template.learn;
    learner->creates = config->auto_create;
    learner->max_models = config->max_models;
}

int learner_prepare(struct learner *learner, const struct config *config,
                    struct live_source **sources, size_t *n_sources, struct text *ret_notes)
{
    int r = 0;

    (void)pthread_mutex_lock(&learner->create_lock);
    set_template(learner, config);
    learner_adopt_unknown(learner, *sources, *n_sources);
    for (size_t i = 0; i < config->n_models && r == 0; i++) {
        const struct pupil_settings settings = pupil_settings_of(learner, &config->models[i]);
        r = prepare_source(learner, &(*sources)[i], &settings, (int)config->models[i].learn,
                           ret_notes);
    }
    if (r == 0 && config->auto_create)
        r = add_created(learner, sources, n_sources, ret_notes);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* ---- models that a row or a file makes ---- */

static size_t count_models(struct live *live)
{
    size_t n_models;

    live_release(live, live_acquire_only(live, &n_models));
    return n_models;
}

static bool is_live(struct live *live, const char *name)
{
    struct live_model *model = live_acquire(live, name, strlen(name));

    live_release(live, model);
    return model;
}

static int check_make(struct learner *learner, const char *name, struct error *reterr)
{
    const size_t n_models = count_models(learner->live);

    if (!learner->creates)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "There is no model \"%s\"; GET /v1/models lists them", name);
    if (n_models >= learner->max_models && !is_live(learner->live, name))
        return error_set(reterr, LEARNER_CONFLICT,
                         "There are %zu models already, no more are made (max_models)", n_models);
    return 0;
}

int learner_make(struct learner *learner, const char *name, struct error *reterr)
{
    struct live_source source = {.name = name};
    CLEANUP(text_clear) struct text notes = {0};

    int r = check_make(learner, name, reterr);
    if (r < 0 || is_live(learner->live, name)) /* another row was quicker */
        return r;
    r = prepare_source(learner, &source, &learner->template, learner->template_learn, &notes);
    return r < 0 ? error_set(reterr, LEARNER_UNAVAILABLE, "out of memory")
                 : live_put(learner->live, &source, reterr);
}

/* Under create_lock. Rows make no model that would not learn from them. */
static int check_create(struct learner *learner, const char *name, struct error *reterr)
{
    if (learner->template_learn == CONFIG_LEARN_OFF)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "There is no model \"%s\"; GET /v1/models lists them", name);
    return check_make(learner, name, reterr);
}

int learner_may_create(struct learner *learner, const char *name, size_t length,
                       struct learner_terms *ret_terms, struct error *reterr)
{
    char copy[LIVE_NAME_MAX + 1];

    if (!live_is_name(name, length))
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "That is no name of a model: letters, digits, _ and -, at most %d",
                         LIVE_NAME_MAX);
    memcpy(copy, name, length);
    copy[length] = '\0';
    (void)pthread_mutex_lock(&learner->create_lock);
    int r = check_create(learner, copy, reterr);
    const struct learner_terms terms = {
        .learns_scored = learner->template_learn == CONFIG_LEARN_AUTO,
        .rejects_missing = learner->template.reject_missing,
    };
    (void)pthread_mutex_unlock(&learner->create_lock);
    if (r == 0)
        *ret_terms = terms;
    return r;
}

int learner_create(struct learner *learner, const char *name, struct error *reterr)
{
    (void)pthread_mutex_lock(&learner->create_lock);
    int r = check_create(learner, name, reterr);
    const int room = r == 0 ? learner_check_room(learner) : 0;
    if (room < 0) /* its first row would not be kept, and it would be left without one */
        r = learner_not_stored(room, reterr);
    if (r == 0)
        r = learner_make(learner, name, reterr);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* ---- deleting ---- */

/* The link goes first: by it what serves comes back where the store knows nothing. */
static int forget_in_store(struct pupil *pupil, struct error *reterr)
{
    struct database *database = pupil->learner->database;
    const char *directory = pupil->learner->directory;
    struct error why;
    int r = 0;

    if (pupil->log.id == 0)
        r = model_log_open(database, pupil->name, NULL, NULL, &pupil->log);
    if (r == -ENOENT)
        return 0; /* no row has come yet */
    if (r == 0) {
        versions_unlink_live(directory, pupil->name);
        r = model_log_delete(database, pupil->log.id);
    }
    if (r == 0)
        return 0;
    if (pupil->log.live_version &&
        versions_link_live(directory, pupil->name, pupil->log.live_version, &why) < 0)
        log_warning("%s", why.text);
    return learner_store_failed(r, reterr);
}

int learner_forget(struct learner *learner, struct pupil *pupil, struct error *reterr)
{
    pupil_lock(pupil);
    int r = forget_in_store(pupil, reterr);
    if (r == 0) {
        live_remove(learner->live, pupil->name);
        pupil_clear(pupil);
        versions_remove_all(learner->directory, pupil->name);
        pupil->is_gone = true;
    }
    pupil_unlock(pupil);
    return r;
}

/* One that the service does not know (its section has gone) may have left something. */
static struct pupil *find_remains(struct learner *learner, const char *name)
{
    CLEANUP(logged_model_clear) struct logged_model log = {0};

    return model_log_open(learner->database, name, NULL, NULL, &log) == 0 ? add_pupil(learner, name)
                                                                          : NULL;
}

static int delete_model(struct learner *learner, const char *name, const char *who,
                        struct error *reterr)
{
    struct pupil *pupil = learner_find(learner, name);
    if (!pupil)
        pupil = find_remains(learner, name);
    if (!pupil)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "There is no model \"%s\"; GET /v1/models lists them", name);
    if (pupil->is_configured)
        return error_set(reterr, LEARNER_CONFLICT,
                         "The configuration names model \"%s\": it would come back; take out "
                         "its section [model %s] and reload, then delete it",
                         name, name);
    int r = learner_forget(learner, pupil, reterr);
    if (r == 0)
        pupil_audit(pupil, who, "delete", "");
    database_make_room(learner->database);
    return r;
}

int learner_delete(struct learner *learner, const char *name, const char *who, struct error *reterr)
{
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;
    (void)pthread_mutex_lock(&learner->create_lock);
    int r = delete_model(learner, name, who, reterr);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* ---- a reload that fails ---- */

void learner_take_back(struct learner *learner, const struct config *config)
{
    struct error error;

    (void)pthread_mutex_lock(&learner->create_lock);
    set_template(learner, config);
    for (size_t i = 0; i < learner->n_pupils; i++) {
        struct pupil *pupil = learner->pupils[i];
        const struct config_model *section = learner_section_of(config, pupil->name);
        const struct pupil_settings settings =
            section ? pupil_settings_of(learner, section) : learner->template;
        pupil_lock(pupil);
        set_settings(pupil, &settings, section ? (int)section->learn : learner->template_learn);
        pupil_unlock(pupil);
        if (pupil->is_adopted && learner_forget(learner, pupil, &error) < 0)
            log_warning("model %s: %s", pupil->name, error.text);
        pupil->is_adopted = false;
    }
    (void)pthread_mutex_unlock(&learner->create_lock);
}
