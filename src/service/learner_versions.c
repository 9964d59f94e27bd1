/* Which version of a model answers, and model files on their way in and out: promote, rollback,
 * upload, download. */
#include "base/clock.h"
#include "base/log.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- versions ---- */

static int find_version(struct learner *learner, int64_t model, const char *name, unsigned version,
                        struct logged_version *ret_version, struct error *reterr)
{
    const int r =
        model ? model_log_version(learner->database, model, version, ret_version) : -ENOENT;

    if (r == -ENOENT)
        return error_set(reterr, LEARNER_NOT_FOUND, "Model \"%s\" has no version %u", name,
                         version);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_open_file(struct learner *learner, const char *model, unsigned version, int *ret_fd,
                      struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    struct logged_version logged;
    struct error why;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    int r = find_version(learner, pupil_look(pupil).id, model, version, &logged, reterr);
    if (r < 0)
        return r;
    r = versions_open(learner->directory, model, version, logged.sha256, ret_fd, &why);
    return r < 0 ? error_set(reterr, LEARNER_CONFLICT,
                             "Version %u cannot be read: %s; bring its file back from a backup",
                             version, why.text)
                 : 0;
}

/* Neither what may still be needed nor the newest, which nobody has seen yet. */
void pupil_retain(struct pupil *pupil)
{
    struct learner *learner = pupil->learner;
    AUTO_FREE struct logged_version *versions = NULL;
    size_t n = 0;

    if (model_log_versions(learner->database, pupil->log.id, &versions, &n) < 0)
        return;
    size_t n_left = n;
    for (size_t i = 0; i + 1 < n && n_left > pupil->settings.keep_versions; i++) {
        const unsigned version = versions[i].version;
        if (version == pupil->log.live_version || version == pupil->log.former_version ||
            version == pupil->log.pinned_version)
            continue;
        if (model_log_remove_version(learner->database, pupil->log.id, version) == 0) {
            versions_remove(learner->directory, pupil->name, version);
            n_left--;
        }
    }
}

/* ---- features ---- */

static bool is_among(const char *name, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* How the features of a version are not the model's: "lacks mem, has swap". */
static void describe_difference(const struct pupil *pupil, const struct schema *schema,
                                struct text *text)
{
    size_t ignored, n = 0;

    for (size_t i = 0; i < pupil->n_features; i++)
        if (!schema_find(schema, pupil->features[i], strlen(pupil->features[i]), &ignored))
            text_printf(text, "%s%s", n++ ? ", " : "lacks ", pupil->features[i]);
    const size_t n_lacking = n;
    for (size_t i = 0; i < schema_n_features(schema); i++)
        if (!is_among(schema_name(schema, i), pupil->features, pupil->n_features))
            text_printf(text, "%s%s", n++ == n_lacking ? (n_lacking ? "; has " : "has ") : ", ",
                        schema_name(schema, i));
    if (n == 0)
        text_puts(text, "has them in another order");
}

/* Under the pupil's lock: whether the version may take the place of what the model has. */
static int check_features(struct pupil *pupil, const struct detector *detector,
                          struct learner_switch *change, struct error *reterr)
{
    const struct schema *schema = detector_schema(detector);
    CLEANUP(text_clear) struct text difference = {0};

    if (pupil->n_features == 0 ||
        pupil_has_features(pupil, schema_names(schema), schema_n_features(schema)))
        return 0;
    if (change->replace) {
        change->has_replaced = true;
        change->n_dropped = pupil->learning ? learning_counts(pupil->learning).rows : 0;
        return 0;
    }
    describe_difference(pupil, schema, &difference);
    return error_set(reterr, LEARNER_CONFLICT,
                     "It has other features than model \"%s\" (%.200s): the rows that the model "
                     "has learned from would be lost and those of its clients refused; add "
                     "?features=replace if that is meant",
                     pupil->name, text_failed(&difference) ? "…" : difference.data);
}

/* ---- the switch ---- */

/* Under the pupil's lock. */
static int switch_to(struct pupil *pupil, const char *who, const char *act,
                     const struct learner_switch *change, struct error *reterr)
{
    char detail[96];

    int r = pupil_promote(pupil, change->version,
                          change->has_replaced || pupil->log.pinned_version == 0, reterr);
    if (r < 0)
        return r;
    shadow_end(pupil);
    (void)snprintf(detail, sizeof(detail), "version %u", change->version);
    if (change->has_replaced)
        (void)snprintf(detail, sizeof(detail), "version %u, %zu rows of other features dropped",
                       change->version, change->n_dropped);
    pupil_audit(pupil, who, act, detail);
    return 0;
}

/* Under the pupil's lock. */
static int promote(struct pupil *pupil, const char *who, const char *act,
                   struct learner_switch *change, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    char path[VERSIONS_PATH_SIZE];
    struct logged_version logged;
    struct error why;

    int r = find_version(learner, pupil->log.id, pupil->name, change->version, &logged, reterr);
    if (r < 0)
        return r;
    r = versions_path(learner->directory, pupil->name, change->version, path);
    r = r < 0 ? error_set_errno(&why, r, learner->directory, "read")
              : model_file_load(path, &detector, &why);
    if (r == 0) {
        r = check_features(pupil, detector, change, reterr);
        if (r < 0)
            return r;
        r = switch_to(pupil, who, act, change, &why);
    }
    return r < 0 ? error_set(reterr, LEARNER_CONFLICT, "Version %u cannot serve: %s",
                             change->version, why.text)
                 : 0;
}

int learner_promote(struct learner *learner, const char *model, const char *who,
                    struct learner_switch *change, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    int r = promote(pupil, who, "promote", change, reterr);
    pupil_unlock(pupil);
    return r;
}

int learner_rollback(struct learner *learner, const char *model, const char *who,
                     unsigned *ret_version, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    struct learner_switch change = {.version = pupil->log.former_version};
    if (change.version == 0)
        r = error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has no former version", model);
    else
        r = promote(pupil, who, "rollback", &change, reterr);
    if (r == 0) {
        pupil->figures.n_rolled_back++;
        *ret_version = change.version;
        pupil_tell(pupil, "rolled_back", NULL, NULL);
    }
    pupil_unlock(pupil);
    return r;
}

/* ---- upload ---- */

struct upload {
    const void *data;
    size_t size;
    const struct detector *detector; /* that it is */
    const char *who;
};

/* Numbers a version and writes its file: nothing of it stays where that fails. */
static int store_upload(struct pupil *pupil, const struct upload *upload, unsigned *ret_version,
                        struct error *reterr)
{
    struct learner *learner = pupil->learner;
    const struct schema *schema = detector_schema(upload->detector);
    struct logged_version version = {
        .made_us = clock_realtime_us(),
        .rows = detector_summary(upload->detector)->n_rows,
        .origin = "upload",
    };

    int r = pupil->log.id
                ? 0
                : pupil_open_record(pupil, schema_names(schema), schema_n_features(schema));
    if (r == 0)
        r = pupil_next_version(pupil, &version.version);
    if (r < 0)
        return learner_store_failed(r, reterr);
    struct error why;
    r = versions_write(learner->directory, pupil->name, version.version, upload->data, upload->size,
                       version.sha256, &why);
    if (r < 0)
        return error_set(reterr, LEARNER_UNAVAILABLE, "The file was not stored: %s", why.text);
    r = model_log_add_version(learner->database, pupil->log.id, &version);
    if (r < 0) {
        versions_remove(learner->directory, pupil->name, version.version);
        return learner_store_failed(r, reterr);
    }
    *ret_version = version.version;
    return 0;
}

/* Under the pupil's lock. */
static int serve_upload(struct pupil *pupil, const struct upload *upload,
                        struct learner_switch *change, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    struct error why;

    int r = check_features(pupil, upload->detector, change, reterr);
    if (r == 0)
        r = store_upload(pupil, upload, &change->version, reterr);
    if (r < 0)
        return r;
    r = switch_to(pupil, upload->who, "upload", change, &why);
    if (r == 0) {
        pupil_retain(pupil);
        return 0;
    }
    if (model_log_remove_version(learner->database, pupil->log.id, change->version) == 0)
        versions_remove(learner->directory, pupil->name, change->version);
    return error_set(reterr, LEARNER_UNFIT, "The file cannot serve: %s", why.text);
}

/* Under create_lock. A model that the file would have made goes again if it cannot serve. */
static int take_upload(struct learner *learner, const char *model, const struct upload *upload,
                       struct learner_switch *change, bool *ret_is_made, struct error *reterr)
{
    struct live_model *there = live_acquire(learner->live, model, strlen(model));
    const bool is_new = !there;

    live_release(learner->live, there);
    if (is_new) {
        int r = learner_make(learner, model, reterr);
        if (r == LEARNER_NOT_FOUND)
            return error_set(reterr, r,
                             "There is no model \"%s\", and a file makes one only with "
                             "auto_create = yes of [models]; or give it a section [model %s]",
                             model, model);
        if (r < 0)
            return r;
    }
    struct pupil *pupil = learner_need(learner, model, reterr);
    if (!pupil)
        return LEARNER_NOT_FOUND;
    pupil_lock(pupil);
    int r = serve_upload(pupil, upload, change, reterr);
    pupil_unlock(pupil);
    struct error ignored;
    if (r < 0 && is_new && learner_forget(learner, pupil, &ignored) < 0)
        log_warning("model %s: is left without a version: %s", model, ignored.text);
    *ret_is_made = r == 0 && is_new;
    return r;
}

int learner_upload(struct learner *learner, const char *model, const void *data, size_t size,
                   const char *who, struct learner_switch *change, bool *ret_is_made,
                   struct error *reterr)
{
    CLEANUP(detector_freep) struct detector *detector = NULL;

    int r = model_file_parse("the body", data, size, &detector, reterr);
    if (r < 0)
        return r == -ENOMEM ? r : LEARNER_MALFORMED;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;
    const struct upload upload = {.data = data, .size = size, .detector = detector, .who = who};
    (void)pthread_mutex_lock(&learner->create_lock);
    r = take_upload(learner, model, &upload, change, ret_is_made, reterr);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}
