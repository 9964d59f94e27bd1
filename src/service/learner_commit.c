/* Once live has loaded what was prepared: each model that learns is bound to the version that
 * answers. */
#include "base/log.h"
#include "service/drift.h"
#include "service/learner_state.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* There is no version yet: what is sent is as the configuration says, or as it was. */
static int open_without_version(struct pupil *pupil, const struct config_model *model)
{
    const struct logged_model *log = &pupil->log;
    const char *known = log->inputs && *log->inputs ? log->inputs : log->features;

    if (model->n_features > 0)
        return pupil_open_inputs(pupil, (const char *const *)model->features, model->n_features);
    if (!known)
        return 0;
    json_auto_t *list = json_loads(known, 0, NULL);
    const size_t n = json_array_size(list);
    AUTO_FREE const char **names = calloc(n + 1, sizeof(*names));
    if (!list || !names)
        return -ENOMEM;

    for (size_t i = 0; i < n; i++)
        names[i] = json_string_value(json_array_get(list, i));
    return n > 0 ? pupil_open_inputs(pupil, names, n) : 0;
}

/* Under the pupil's lock. */
static void load_series(struct pupil *pupil)
{
    struct live *live = pupil->learner->live;
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));

    if (model)
        pupil_load_series(pupil, model);
    live_release(live, model);
}

static int compare_section(const void *name, const void *section)
{
    return strcmp(name, ((const struct config_model *)section)->name);
}

const struct config_model *learner_section_of(const struct config *config, const char *name)
{
    return config->n_models > 0 ? bsearch(name, config->models, config->n_models,
                                          sizeof(*config->models), compare_section)
                                : NULL;
}

/* Under the pupil's lock: an operator who asked for it should not wait for it in vain. */
static void warn_of_silent_drift(const struct pupil *pupil)
{
    if (!pupil->settings.learning.retrain_on_drift || !pupil->live)
        return;
    const size_t n = pupil->live->n_calibration;
    if (n < DRIFT_MIN_ROWS)
        log_warning("model %s: retrain_on_drift has no effect: the drift meter needs %d "
                    "calibration rows, version %u has %zu; give more rows to train on",
                    pupil->name, DRIFT_MIN_ROWS, pupil->live->version, n);
}

/* Keys that no input asks for; a zone of UTC and a gap of 1h are nobody's word. */
static void warn_of_idle_keys(const struct config_model *section)
{
    const struct prepare_spec *spec = section->file ? NULL : section->prepare;

    if (spec && spec->zone && strcmp(spec->zone, "UTC") != 0 && !prepare_spec_has_clock(spec))
        log_warning("model %s: timezone = %s changes nothing: no input is made from the time of "
                    "day; add timestamp=hour-of-day to prepare, or leave it out",
                    section->name, spec->zone);
    if (spec && spec->max_gap != PREPARE_MAX_GAP && !prepare_spec_looks_back(spec))
        log_warning("model %s: max_gap changes nothing: no input is made from the rows before; "
                    "give context, or prepare with rate or delta, or leave it out",
                    section->name);
}

/* Under the pupil's lock. A promotion between prepare and here has been overwritten. */
static void follow_promotion(struct pupil *pupil)
{
    struct live *live = pupil->learner->live;
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));
    struct live_source source = pupil_source(pupil);
    const unsigned version = pupil->log.live_version;
    struct error error;

    source.file = pupil->path;
    source.sha256 = pupil->sha256;
    source.version = version;
    if (model && model->state == LIVE_SERVING && version != 0 && model->version != version &&
        live_put(live, &source, &error) < 0)
        log_warning("model %s: version %u does not serve, as it did before the reload: %s",
                    pupil->name, version, error.text);
    live_release(live, model);
}

/* Under create_lock. */
static void commit(struct pupil *pupil, const struct config *config)
{
    struct learner *learner = pupil->learner;
    const struct config_model *section = learner_section_of(config, pupil->name);
    struct error error;

    pupil->is_configured = section;
    pupil->is_adopted = false;
    if (section)
        warn_of_idle_keys(section);
    pupil_lock(pupil);
    follow_promotion(pupil);
    pupil_fall_back(pupil, section ? section->file : NULL);
    int r = pupil_bind(pupil, true);
    if (r == 0 && pupil_follow_rate(pupil, &error) < 0) /* put between prepare and here */
        log_warning("model %s: the rate that was put is not in force: %s", pupil->name, error.text);
    if (r == 0 && !pupil->learning)
        r = open_without_version(pupil, section ? section : &config->model_template);
    load_series(pupil);
    warn_of_silent_drift(pupil);
    if (pupil_prepares_otherwise(pupil))
        log_warning("model %s: prepare, context, max_gap or timezone are not those of version "
                    "%u, which goes on as it is; upload one that was trained so, or delete the "
                    "model to learn anew",
                    pupil->name, pupil->live->version);
    pupil_unlock(pupil);
    learner_note(learner, r);
    if (r < 0)
        log_warning("model %s does not learn: %s", pupil->name, strerrordesc_np(-r));
}

void learner_commit_some(struct learner *learner, const struct config *config,
                         const struct live_source *sources, size_t n_sources)
{
    (void)pthread_mutex_lock(&learner->create_lock);
    for (size_t i = 0; i < n_sources; i++) {
        struct pupil *pupil = learner_find(learner, sources[i].name);
        if (pupil)
            commit(pupil, config);
    }
    (void)pthread_mutex_unlock(&learner->create_lock);
}

int learner_commit(struct learner *learner, const struct config *config)
{
    (void)pthread_mutex_lock(&learner->create_lock); /* none is added meanwhile */
    for (size_t i = 0; i < learner->n_pupils; i++) {
        struct pupil *pupil = learner->pupils[i];
        if (pupil->is_gone) /* between prepare and here */
            live_remove(learner->live, pupil->name);
        else
            commit(pupil, config);
    }
    (void)pthread_mutex_unlock(&learner->create_lock);
    learner_wake_runs(learner);
    return 0;
}
