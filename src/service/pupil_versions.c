/* Which version of a model that learns answers, and which is pinned. */
#include "base/log.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the live one in memory ---- */

int pupil_hold(struct pupil *pupil)
{
    if (!pupil->live || pupil->is_held)
        return 0;
    int r = live_hold(pupil->learner->live, pupil->live, NULL);
    pupil->is_held = r == 0;
    if (r == 0 && pupil->learning) /* NULL: the store has failed as it was made anew */
        learning_lend(pupil->learning, pupil->live->detector);
    return r;
}

void pupil_let_go(struct pupil *pupil)
{
    if (!pupil->is_held)
        return;
    pupil->is_held = false;
    if (pupil->learning)
        learning_lend(pupil->learning, NULL);
    live_let_go(pupil->learner->live, pupil->live);
}

/* ---- the pinned one ---- */

/* The pinned version, else the live one. */
static int load_pinned(const struct pupil *pupil, const char *path, const char *live_path,
                       struct detector **ret_pinned, struct error *reterr)
{
    struct error why;

    if (model_file_load(path, ret_pinned, &why) == 0)
        return 0;
    log_warning("model %s: the pinned version cannot be read; until it is restored the live one "
                "stands in for it: %s",
                pupil->name, why.text);
    return model_file_load(live_path, ret_pinned, reterr);
}

/* Only runs need it, so it is not kept in memory; that it can be read is seen now. */
static int check_pinned(const struct pupil *pupil, const char *path, const char *live_path)
{
    CLEANUP(detector_freep) struct detector *pinned = NULL;

    return strcmp(path, live_path) == 0 ? 0 : load_pinned(pupil, path, live_path, &pinned, NULL);
}

int pupil_pin(struct pupil *pupil)
{
    const char *live_path = pupil->path ? pupil->path : "";
    char path[VERSIONS_PATH_SIZE];
    char *paths[2] = {NULL};
    int r = 0;

    if (pupil->log.pinned_version) {
        r = versions_path(pupil->learner->directory, pupil->name, pupil->log.pinned_version, path);
        if (r == 0)
            r = check_pinned(pupil, path, live_path);
        if (r == 0 && (!(paths[0] = strdup(path)) || !(paths[1] = strdup(live_path))))
            r = -ENOMEM;
    }
    if (r < 0) {
        free(paths[0]);
        return r;
    }
    (void)pthread_mutex_lock(&pupil->pin_lock);
    free(pupil->pinned_path);
    free(pupil->stand_in_path);
    pupil->pinned_path = paths[0];
    pupil->stand_in_path = paths[1];
    (void)pthread_mutex_unlock(&pupil->pin_lock);
    return 0;
}

int pupil_guard(struct pupil *pupil, struct training_set *set, struct error *reterr)
{
    CLEANUP(detector_freep) struct detector *pinned = NULL;
    int r = 0;

    if (pupil->pinned_path)
        r = load_pinned(pupil, pupil->pinned_path, pupil->stand_in_path, &pinned, reterr);
    if (r < 0)
        return r;
    r = learning_pin(pupil->learning, pinned);
    if (r < 0)
        return error_set(reterr, r, "out of memory");
    r = learning_guard(pupil->learning, set, reterr);
    (void)!learning_pin(pupil->learning, NULL); /* cannot fail */
    return r;
}

void pupil_note_pin(struct pupil *pupil)
{
    const bool must = learning_must_pin(pupil->learning);

    if (must == pupil->log.repin)
        return;
    pupil->log.repin = must;
    if (model_log_set_repin(pupil->learner->database, pupil->log.id, must) < 0)
        log_warning("model %s: that its next version shall be pinned is not remembered",
                    pupil->name);
}

void pupil_pinned(struct pupil *pupil)
{
    learning_pinned(pupil->learning);
    pupil_note_pin(pupil);
}

/* ---- which answers ---- */

static int open_as_live(struct pupil *pupil, const struct live_model *live)
{
    const struct schema *schema = detector_schema(live->detector);

    return pupil_open(pupil, schema_names(schema), schema_n_features(schema),
                      detector_preparation(live->detector));
}

/* It has been loaded anew, perhaps at another rate. */
static bool is_same_version(const struct live_model *a, const struct live_model *b)
{
    return a && a->version == b->version && a->version != 0 &&
           strcmp(a->checksum, b->checksum) == 0;
}

/* The sums go on over another rate: what each row has added holds at the rate of its time. */
static void bind_again(struct pupil *pupil, const struct live_model *model)
{
    learning_rebind(pupil->learning, model->detector);
    learning_set_threshold(pupil->learning, model->threshold, model->false_alarm_rate);
}

/* To model, whose detector is there. */
static int bind_to(struct pupil *pupil, const struct live_model *model, bool is_reload)
{
    int r = open_as_live(pupil, model);

    if (r == 0 && is_reload && is_same_version(pupil->live, model))
        bind_again(pupil, model);
    else if (r == 0)
        r = learning_swap(pupil->learning, model->detector, model->threshold,
                          model->false_alarm_rate);
    if (r == 0)
        r = pupil_pin(pupil);
    if (r < 0 && pupil->learning)
        learning_lend(pupil->learning, NULL);
    return r;
}

int pupil_bind(struct pupil *pupil, bool is_reload)
{
    struct live *live = pupil->learner->live;
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));
    const bool is_serving = model && model->state == LIVE_SERVING;
    const bool is_other = is_serving && model != pupil->live;
    int r = 0;

    if (is_other) {
        pupil_let_go(pupil);
        r = live_hold(live, model, NULL);
        const bool is_held = r == 0;
        if (is_held)
            r = bind_to(pupil, model, is_reload);
        if (is_held && r < 0)
            live_let_go(live, model);
    }
    if (r < 0 || !is_serving) {
        live_release(live, model);
        return r;
    }
    learning_set_rules(pupil->learning, model->rules);
    live_release(live, pupil->live);
    pupil->live = model;
    pupil->is_held |= is_other;
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

int pupil_locate(const struct pupil *pupil, unsigned version, char ret_path[VERSIONS_PATH_SIZE],
                 char ret_sha256[SHA256_HEX_SIZE])
{
    struct logged_version logged = {0};

    int r = model_log_version(pupil->learner->database, pupil->log.id, version, &logged);
    if (r < 0 && r != -ENOENT) /* who serves must not depend on the store */
        log_warning("model %s: version %u is not compared with its checksum: %s", pupil->name,
                    version, strerrordesc_np(-r));
    memcpy(ret_sha256, logged.sha256, SHA256_HEX_SIZE);
    return versions_path(pupil->learner->directory, pupil->name, version, ret_path);
}

int pupil_set_path(struct pupil *pupil, const char *path, const char *sha256)
{
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    free(pupil->path);
    pupil->path = copy;
    (void)snprintf(pupil->sha256, sizeof(pupil->sha256), "%s", sha256);
    return 0;
}

int pupil_promote(struct pupil *pupil, unsigned version, bool pin_too, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    char path[VERSIONS_PATH_SIZE], sha256[SHA256_HEX_SIZE];
    struct error why;
    struct live_source source = pupil_source(pupil);

    source.file = path;
    source.sha256 = sha256;
    source.version = version;
    int r = pupil_locate(pupil, version, path, sha256);
    if (r < 0)
        return error_set_errno(reterr, r, learner->directory, "read");
    r = live_put(learner->live, &source, reterr);
    if (r == 0 && pupil_set_path(pupil, path, sha256) < 0)
        r = error_set_errno(reterr, -ENOMEM, path, "remember");
    if (r < 0)
        return r;
    if (versions_link_live(learner->directory, pupil->name, version, &why) < 0)
        log_warning("%s", why.text);
    r = model_log_promote(learner->database, pupil->log.id, version, pin_too);
    if (r < 0)
        log_warning("model %s: version %u serves, but is not remembered: %s", pupil->name, version,
                    strerrordesc_np(-r));
    if (version != pupil->log.live_version)
        pupil->log.former_version = pupil->log.live_version;
    pupil->log.live_version = version;
    if (pin_too)
        pupil->log.pinned_version = version;
    r = pupil_bind(pupil, false);
    return r < 0 ? error_set(reterr, r, "%s", strerrordesc_np(-r)) : 0;
}
