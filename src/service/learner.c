#include "service/learner.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/log.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"
#include "service/stats.h"
#include "store/database.h"
#include "store/event_log.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS_PER_S 1000

uint64_t learner_next_event(void *userdata)
{
    struct learner *learner = userdata;

    return atomic_fetch_add(&learner->next_event, 1) + 1;
}

int learner_store_failed(int r, struct error *reterr)
{
    return error_set(reterr, LEARNER_UNAVAILABLE, "The store failed: %s", strerrordesc_np(-r));
}

/* ---- one model ---- */

static void free_features(struct pupil *pupil)
{
    for (size_t i = 0; i < pupil->n_features; i++)
        free(pupil->features[i]);
    free(pupil->features);
    pupil->features = NULL;
    pupil->n_features = 0;
}

static void pupil_free(struct pupil *pupil)
{
    if (!pupil)
        return;
    learning_free(pupil->learning);
    shadow_end(pupil);
    live_release(pupil->learner->live, pupil->live);
    detector_free(pupil->pinned);
    logged_model_clear(&pupil->log);
    free_features(pupil);
    (void)pthread_mutex_destroy(&pupil->lock);
    free(pupil);
}

static struct pupil_settings settings_of(struct learner *learner, const struct config_model *model)
{
    struct pupil_settings settings = {
        .learning =
            {
                       .buffer_rows = model->buffer_rows,
                       .min_rows = model->min_rows,
                       .retrain_rows = model->retrain_rows,
                       .retrain_every_us = model->retrain_every_us,
                       .retrain_min_interval_us = model->retrain_min_interval_us,
                       .retrain_on_drift = model->retrain_on_drift,
                       .is_strict = model->is_strict,
                       .learns_scored = model->learn == CONFIG_LEARN_AUTO,
                       .follow_after = model->follow_after,
                       .sample_rate = model->sample_rate,
                       .seed = 1,
                       .next_event_id = learner_next_event,
                       .userdata = learner,
                       },
        .max_memory = model->retrain_max_memory,
        .max_cpu_s = model->retrain_max_time_us / US_PER_S,
        .keep_versions = model->keep_versions,
        .false_alarm_rate = model->false_alarm_rate,
        .reject_missing = model->reject_missing,
        .recipe = model->recipe,
    };

    memcpy(settings.has_option, model->has_option, sizeof(settings.has_option));
    return settings;
}

struct pupil *learner_find(struct learner *learner, const char *name)
{
    struct pupil *found = NULL;

    (void)pthread_mutex_lock(&learner->lock);
    for (size_t i = 0; i < learner->n_pupils && !found; i++)
        if (strcmp(learner->pupils[i]->name, name) == 0)
            found = learner->pupils[i];
    (void)pthread_mutex_unlock(&learner->lock);
    return found;
}

struct pupil *learner_need(struct learner *learner, const char *name, struct error *reterr)
{
    struct pupil *pupil = learner_find(learner, name);

    if (!pupil)
        (void)error_set(reterr, LEARNER_NOT_FOUND, "There is no model \"%s\"", name);
    return pupil;
}

static struct pupil *add_pupil(struct learner *learner, const char *name)
{
    struct pupil *pupil = calloc(1, sizeof(*pupil));
    struct pupil **pupils =
        realloc(learner->pupils, (learner->n_pupils + 1) * sizeof(struct pupil *));

    if (pupils)
        learner->pupils = pupils;
    if (!pupil || !pupils) {
        free(pupil);
        return NULL;
    }
    pupil->learner = learner;
    (void)snprintf(pupil->name, sizeof(pupil->name), "%s", name);
    (void)pthread_mutex_init(&pupil->lock, NULL);
    (void)pthread_mutex_lock(&learner->lock);
    pupils[learner->n_pupils++] = pupil;
    (void)pthread_mutex_unlock(&learner->lock);
    return pupil;
}

/* ---- features ---- */

static int copy_features(struct pupil *pupil, const char *const *names, size_t n_features)
{
    pupil->features = calloc(n_features, sizeof(char *));
    if (!pupil->features)
        return -ENOMEM;
    pupil->n_features = n_features;
    for (size_t i = 0; i < n_features; i++) {
        pupil->features[i] = strdup(names[i]);
        if (!pupil->features[i]) {
            free_features(pupil);
            return -ENOMEM;
        }
    }
    return 0;
}

/* As a JSON array, and its SHA-256. */
static int print_features(const char *const *names, size_t n_features, struct text *text,
                          char fingerprint[SHA256_HEX_SIZE])
{
    text_puts(text, "[");
    for (size_t i = 0; i < n_features; i++) {
        text_puts(text, i ? "," : "");
        text_json_string(text, names[i], strlen(names[i]));
    }
    text_puts(text, "]");
    if (text_failed(text))
        return -ENOMEM;
    sha256_hex(text->data, text->length, fingerprint);
    return 0;
}

/* The model's record, made or made anew where the features have changed. */
static int open_record(struct pupil *pupil, const char *const *names, size_t n_features)
{
    struct database *database = pupil->learner->database;
    CLEANUP(text_clear) struct text text = {0};
    char fingerprint[SHA256_HEX_SIZE];

    int r = print_features(names, n_features, &text, fingerprint);
    if (r < 0)
        return r;
    logged_model_clear(&pupil->log);
    r = model_log_open(database, pupil->name, text.data, fingerprint, &pupil->log);
    if (r != -ESTALE)
        return r;
    log_warning("model %s: its features have changed: the rows of the old ones are dropped",
                pupil->name);
    r = model_log_open(database, pupil->name, NULL, NULL, &pupil->log);
    if (r == 0)
        r = model_log_reschema(database, pupil->log.id, text.data, fingerprint);
    if (r < 0)
        return r;
    logged_model_clear(&pupil->log);
    return model_log_open(database, pupil->name, text.data, fingerprint, &pupil->log);
}

static bool has_features(const struct pupil *pupil, const char *const *names, size_t n_features)
{
    if (pupil->n_features != n_features)
        return false;
    for (size_t i = 0; i < n_features; i++)
        if (strcmp(pupil->features[i], names[i]) != 0)
            return false;
    return true;
}

int pupil_open(struct pupil *pupil, const char *const *names, size_t n_features)
{
    if (pupil->learning && has_features(pupil, names, n_features))
        return 0;
    learning_free(TAKE(pupil->learning));
    free_features(pupil);
    int r = open_record(pupil, names, n_features);
    if (r == 0)
        r = copy_features(pupil, names, n_features);
    if (r == 0)
        r = learning_new(pupil->learner->database, pupil->log.id, n_features,
                         &pupil->settings.learning, &pupil->learning);
    if (r == 0)
        learning_freeze(pupil->learning, pupil->log.is_frozen);
    return r;
}

/* ---- versions ---- */

int pupil_pin(struct pupil *pupil)
{
    char path[VERSIONS_PATH_SIZE];
    struct detector *pinned = NULL;
    struct error error;

    if (!pupil->log.pinned_version)
        return learning_pin(pupil->learning, NULL);
    int r = versions_path(pupil->learner->directory, pupil->name, pupil->log.pinned_version, path);
    if (r == 0 && model_file_load(path, &pinned, &error) < 0) {
        log_warning("model %s: the pinned version cannot be read, nothing is pinned: %s",
                    pupil->name, error.text);
        return learning_pin(pupil->learning, NULL);
    }
    if (r == 0)
        r = learning_pin(pupil->learning, pinned);
    if (r < 0) {
        detector_free(pinned);
        return r;
    }
    detector_free(pupil->pinned);
    pupil->pinned = pinned;
    return 0;
}

static int open_as_live(struct pupil *pupil, const struct live_model *live)
{
    const struct schema *schema = detector_schema(live->detector);
    const size_t n = schema_n_features(schema);
    AUTO_FREE const char **names = calloc(n, sizeof(*names));
    if (!names)
        return -ENOMEM;

    for (size_t i = 0; i < n; i++)
        names[i] = schema_name(schema, i);
    return pupil_open(pupil, names, n);
}

int pupil_bind(struct pupil *pupil)
{
    struct live *live = pupil->learner->live;
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));
    int r = 0;

    if (model && model->state == LIVE_SERVING && model != pupil->live) {
        r = open_as_live(pupil, model);
        if (r == 0)
            r = learning_swap(pupil->learning, model->detector, model->threshold,
                              model->false_alarm_rate);
        if (r == 0)
            r = pupil_pin(pupil);
    }
    if (r < 0 || !model || model->state != LIVE_SERVING) {
        live_release(live, model);
        return r;
    }
    live_release(live, pupil->live);
    pupil->live = model;
    return 0;
}

int pupil_next_version(struct pupil *pupil, unsigned *ret_version)
{
    struct learner *learner = pupil->learner;
    char path[VERSIONS_PATH_SIZE];
    unsigned version = 0;
    int r;

    do {
        r = model_log_next_version(learner->database, pupil->log.id, &version);
        if (r == 0)
            r = versions_path(learner->directory, pupil->name, version, path);
    } while (r == 0 && access(path, F_OK) == 0);
    if (r == 0)
        *ret_version = version;
    return r;
}

/* A link beside the versions, to the live one: a new database, after the old one was set aside,
 * knows none of them. */
static void print_link(const struct pupil *pupil, const char *suffix, char path[VERSIONS_PATH_SIZE])
{
    (void)snprintf(path, VERSIONS_PATH_SIZE, "%s/models/%s/live%s", pupil->learner->directory,
                   pupil->name, suffix);
}

static void link_live(const struct pupil *pupil, unsigned version)
{
    char target[32], path[VERSIONS_PATH_SIZE], temporary[VERSIONS_PATH_SIZE];

    (void)snprintf(target, sizeof(target), "%u.safetensors", version);
    print_link(pupil, "", path);
    print_link(pupil, ".tmp", temporary);
    (void)unlink(temporary);
    if (symlink(target, temporary) < 0 || rename(temporary, path) < 0)
        log_warning("%s: cannot be made to point to version %u: %s", path, version,
                    strerrordesc_np(errno));
}

int pupil_promote(struct pupil *pupil, unsigned version, bool pin_too, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    char path[VERSIONS_PATH_SIZE];
    const struct live_source source = {
        .name = pupil->name,
        .file = path,
        .version = version,
        .false_alarm_rate = pupil->settings.false_alarm_rate,
        .reject_missing = pupil->settings.reject_missing,
    };

    int r = versions_path(learner->directory, pupil->name, version, path);
    if (r < 0)
        return error_set_errno(reterr, r, learner->directory, "read");
    r = live_put(learner->live, &source, reterr);
    if (r < 0)
        return r;
    memcpy(pupil->path, path, sizeof(path));
    link_live(pupil, version);
    r = model_log_promote(learner->database, pupil->log.id, version, pin_too);
    if (r < 0)
        log_warning("model %s: version %u serves, but is not remembered: %s", pupil->name, version,
                    strerrordesc_np(-r));
    if (version != pupil->log.live_version)
        pupil->log.former_version = pupil->log.live_version;
    pupil->log.live_version = version;
    if (pin_too)
        pupil->log.pinned_version = version;
    r = pupil_bind(pupil);
    return r < 0 ? error_set(reterr, r, "%s", strerrordesc_np(-r)) : 0;
}

void pupil_tell(struct pupil *pupil, const char *kind, const char *detail, const char *advice)
{
    struct logged_event event = {
        .id = learner_next_event(pupil->learner),
        .time_us = clock_realtime_us(),
        .detail = detail ? strdup(detail) : NULL,
        .advice = advice ? strdup(advice) : NULL,
    };

    (void)snprintf(event.kind, sizeof(event.kind), "%s", kind);
    if (event_log_put(pupil->learner->database, pupil->log.id, &event, 1) < 0)
        log_warning("model %s: the event %s could not be stored", pupil->name, kind);
    logged_event_clear(&event);
}

/* ---- preparing ---- */

/* The file becomes a version, and live. */
static int adopt(struct pupil *pupil, const char *file, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct logged_version version = {.made_us = clock_realtime_us(), .origin = "file"};

    int r = model_file_load(file, &detector, reterr);
    if (r < 0)
        return r;
    const struct schema *schema = detector_schema(detector);
    const size_t n = schema_n_features(schema);
    AUTO_FREE const char **names = calloc(n, sizeof(*names));
    for (size_t i = 0; names && i < n; i++)
        names[i] = schema_name(schema, i);
    r = names ? open_record(pupil, names, n) : -ENOMEM;
    if (r == 0)
        r = pupil_next_version(pupil, &version.version);
    if (r < 0)
        return error_set(reterr, r, "the store: %s", strerrordesc_np(-r));
    r = versions_import(file, learner->directory, pupil->name, version.version, version.sha256,
                        reterr);
    if (r < 0)
        return r;
    version.rows = detector_summary(detector)->n_rows;
    r = model_log_add_version(learner->database, pupil->log.id, &version);
    if (r == 0)
        r = model_log_promote(learner->database, pupil->log.id, version.version, true);
    if (r < 0)
        return error_set(reterr, r, "the store: %s", strerrordesc_np(-r));
    pupil->log.live_version = pupil->log.pinned_version = version.version;
    link_live(pupil, version.version);
    return 0;
}

/* What served last, where the store has forgotten it; else the configured file; else nothing. */
static int adopt_first(struct pupil *pupil, const char *configured, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];
    struct error error;

    print_link(pupil, "", path);
    if (access(path, F_OK) == 0) {
        if (adopt(pupil, path, &error) == 0) {
            log_warning("model %s: the store knows no version: the one that served last serves on "
                        "as version %u",
                        pupil->name, pupil->log.live_version);
            return 0;
        }
        log_warning("model %s: the version that served last cannot serve on: %s", pupil->name,
                    error.text);
    }
    return configured ? adopt(pupil, configured, reterr) : 0;
}

static int prepare_one(struct pupil *pupil, struct live_source *source, struct error *reterr)
{
    struct learner *learner = pupil->learner;

    if (pupil->log.id == 0) {
        int r = model_log_open(learner->database, pupil->name, NULL, NULL, &pupil->log);
        if (r < 0 && r != -ENOENT)
            return error_set(reterr, r, "the store: %s", strerrordesc_np(-r));
    }
    if (pupil->log.live_version == 0) {
        int r = adopt_first(pupil, source->file, reterr);
        if (r < 0)
            return r;
    }
    if (pupil->log.live_version == 0)
        return 0;
    int r = versions_path(learner->directory, pupil->name, pupil->log.live_version, pupil->path);
    if (r == 0 && access(pupil->path, R_OK) < 0)
        r = -errno;
    if (r < 0 && !pupil->live) /* a reload fails with it rather than go back to the first file */
        return error_set_errno(reterr, r, pupil->path, "read");
    source->file = pupil->path;
    source->version = pupil->log.live_version;
    return 0;
}

static void set_settings(struct pupil *pupil, const struct pupil_settings *settings, int learn)
{
    pupil->settings = *settings;
    atomic_store(&pupil->learn, learn);
    if (pupil->learning)
        learning_configure(pupil->learning, &settings->learning);
}

static int prepare_source(struct learner *learner, struct live_source *source,
                          const struct pupil_settings *settings, int learn, struct text *ret_notes)
{
    struct pupil *pupil = learner_find(learner, source->name);
    struct error error;
    if (!pupil)
        pupil = add_pupil(learner, source->name);
    if (!pupil)
        return -ENOMEM;

    (void)pthread_mutex_lock(&pupil->lock);
    set_settings(pupil, settings, learn);
    if (!pupil->current_run)
        versions_remove_candidates(learner->directory, pupil->name);
    if (prepare_one(pupil, source, &error) < 0)
        text_printf(ret_notes, "model %s does not learn: %s\n", pupil->name, error.text);
    source->name = pupil->name;
    (void)pthread_mutex_unlock(&pupil->lock);
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
        bool is_configured = !all;
        for (size_t j = 0; j < n_configured && !is_configured; j++)
            is_configured = strcmp(all[j].name, models[i].name) == 0;
        if (!is_configured && r == 0) {
            all[*n_sources] = (struct live_source){
                .name = models[i].name,
                .false_alarm_rate = learner->template.false_alarm_rate,
                .reject_missing = learner->template.reject_missing,
            };
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

int learner_prepare(struct learner *learner, const struct config *config,
                    struct live_source **sources, size_t *n_sources, struct text *ret_notes)
{
    int r = 0;

    (void)pthread_mutex_lock(&learner->create_lock);
    learner->template = settings_of(learner, &config->model_template);
    learner->template_learn = (int)config->model_template.learn;
    learner->creates = config->auto_create;
    learner->max_models = config->max_models;
    for (size_t i = 0; i < config->n_models && r == 0; i++) {
        const struct pupil_settings settings = settings_of(learner, &config->models[i]);
        r = prepare_source(learner, &(*sources)[i], &settings, (int)config->models[i].learn,
                           ret_notes);
    }
    if (r == 0 && config->auto_create)
        r = add_created(learner, sources, n_sources, ret_notes);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* Under create_lock. */
static int create(struct learner *learner, const char *name, struct error *reterr)
{
    struct live_source source = {
        .name = name,
        .false_alarm_rate = learner->template.false_alarm_rate,
        .reject_missing = learner->template.reject_missing,
    };
    CLEANUP(text_clear) struct text notes = {0};

    if (!learner->creates)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "There is no model \"%s\"; GET /v1/models lists them", name);
    if (!learner_find(learner, name) && learner->n_pupils >= learner->max_models)
        return error_set(reterr, LEARNER_CONFLICT,
                         "There are %zu models already, no more are made (max_models)",
                         learner->n_pupils);
    int r = prepare_source(learner, &source, &learner->template, learner->template_learn, &notes);
    return r < 0 ? error_set(reterr, LEARNER_UNAVAILABLE, "out of memory")
                 : live_put(learner->live, &source, reterr);
}

int learner_create(struct learner *learner, const char *name, size_t length, struct error *reterr)
{
    char copy[LIVE_NAME_MAX + 1];

    if (!live_is_name(name, length))
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "That is no name of a model: letters, digits, _ and -, at most %d",
                         LIVE_NAME_MAX);
    memcpy(copy, name, length);
    copy[length] = '\0';
    (void)pthread_mutex_lock(&learner->create_lock);
    int r = create(learner, copy, reterr);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* There is no version yet: the features are those of the configuration, or of the rows that the
 * store has. */
static int open_without_version(struct pupil *pupil, const struct config_model *model)
{
    if (model->n_features > 0)
        return pupil_open(pupil, (const char *const *)model->features, model->n_features);
    if (!pupil->log.features)
        return 0;
    json_auto_t *list = json_loads(pupil->log.features, 0, NULL);
    const size_t n = json_array_size(list);
    AUTO_FREE const char **names = calloc(n + 1, sizeof(*names));
    if (!list || !names)
        return -ENOMEM;

    for (size_t i = 0; i < n; i++)
        names[i] = json_string_value(json_array_get(list, i));
    return n > 0 ? pupil_open(pupil, names, n) : 0;
}

static const struct config_model *section_of(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_models; i++)
        if (strcmp(config->models[i].name, name) == 0)
            return &config->models[i];
    return &config->model_template;
}

int learner_commit(struct learner *learner, const struct config *config)
{
    (void)pthread_mutex_lock(&learner->create_lock); /* none is added meanwhile */
    for (size_t i = 0; i < learner->n_pupils; i++) {
        struct pupil *pupil = learner->pupils[i];
        (void)pthread_mutex_lock(&pupil->lock);
        int r = pupil_bind(pupil);
        if (r == 0 && !pupil->learning)
            r = open_without_version(pupil, section_of(config, pupil->name));
        (void)pthread_mutex_unlock(&pupil->lock);
        if (r < 0)
            log_warning("model %s does not learn: %s", pupil->name, strerrordesc_np(-r));
    }
    (void)pthread_mutex_unlock(&learner->create_lock);
    learner_wake_runs(learner);
    return 0;
}

/* ---- all of it ---- */

int learner_new(const struct config *config, struct live *live, struct stats *stats,
                struct learner **ret_learner, struct text *ret_notes, struct error *reterr)
{
    assert(config->storage_directory);
    CLEANUP(learner_freep) struct learner *learner = calloc(1, sizeof(*learner));
    uint64_t last_event = 0;
    if (!learner)
        return error_set(reterr, -ENOMEM, "out of memory");

    (void)pthread_mutex_init(&learner->create_lock, NULL);
    (void)pthread_mutex_init(&learner->lock, NULL);
    (void)pthread_mutex_init(&learner->run_lock, NULL);
    (void)pthread_cond_init(&learner->has_items, NULL);
    (void)pthread_cond_init(&learner->has_answers, NULL);
    (void)pthread_cond_init(&learner->has_work, NULL);
    learner->last = &learner->first;
    learner->live = live;
    learner->stats = stats;
    learner->max_size = config->storage_max_size;
    learner->min_free = config->storage_min_free;
    learner->directory = strdup(config->storage_directory);
    if (!learner->directory)
        return error_set(reterr, -ENOMEM, "out of memory");
    if (detector_workspace_new(&learner->workspace) < 0)
        return error_set(reterr, -ENOMEM, "out of memory");
    int r = database_open(learner->directory, config->survives_power_loss, &learner->database,
                          ret_notes, reterr);
    if (r < 0)
        return r;
    r = model_log_end_runs(learner->database, clock_realtime_us());
    if (r == 0)
        r = event_log_last_id(learner->database, &last_event);
    if (r < 0)
        return error_set(reterr, r, "%s: %s", learner->directory, strerrordesc_np(-r));
    atomic_store(&learner->next_event, last_event);
    *ret_learner = TAKE(learner);
    return 0;
}

int learner_start(struct learner *learner)
{
    if (pthread_create(&learner->intake_thread, NULL, learner_intake_main, learner) != 0)
        return -EAGAIN;
    learner->has_intake = true;
    if (pthread_create(&learner->runs_thread, NULL, learner_runs_main, learner) != 0)
        return -EAGAIN;
    learner->has_runs = true;
    return 0;
}

void learner_free(struct learner *learner)
{
    if (!learner)
        return;
    (void)pthread_mutex_lock(&learner->lock);
    learner->must_stop = true;
    (void)pthread_cond_broadcast(&learner->has_items);
    (void)pthread_mutex_unlock(&learner->lock);
    learner_wake_runs(learner);
    if (learner->has_runs)
        (void)pthread_join(learner->runs_thread, NULL);
    if (learner->has_intake)
        (void)pthread_join(learner->intake_thread, NULL);
    for (size_t i = 0; i < learner->n_pupils; i++)
        pupil_free(learner->pupils[i]);
    free(learner->pupils);
    detector_workspace_free(learner->workspace);
    database_free(learner->database);
    free(learner->directory);
    (void)pthread_cond_destroy(&learner->has_work);
    (void)pthread_cond_destroy(&learner->has_answers);
    (void)pthread_cond_destroy(&learner->has_items);
    (void)pthread_mutex_destroy(&learner->run_lock);
    (void)pthread_mutex_destroy(&learner->lock);
    (void)pthread_mutex_destroy(&learner->create_lock);
    free(learner);
}
