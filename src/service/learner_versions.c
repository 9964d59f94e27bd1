/* Which version of a model answers, and model files on their way in and out: promote, rollback,
 * upload, download. */
#include "base/clock.h"
#include "base/log.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOLD 160 /* bytes of a difference, after which no further name begins */

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

/* Inputs as people know them: a row's values, and what is made of its time. */
struct inputs {
    const char *const *names; /* [n] */
    size_t n;
    const struct preparation *preparation; /* NULL: all are raw */
};

static struct inputs inputs_of(const struct preparation *preparation, const char *const *features,
                               size_t n_features)
{
    if (!preparation)
        return (struct inputs){features, n_features, NULL};
    return (struct inputs){schema_names(preparation->inputs),
                           schema_n_features(preparation->inputs), preparation};
}

/* The place of a name; n: it is not among them. */
static size_t find_input(const struct inputs *inputs, const char *name)
{
    size_t i = 0;

    while (i < inputs->n && strcmp(inputs->names[i], name) != 0)
        i++;
    return i;
}

/* "lacks mem; has swap, disk", cut behind a name. */
struct difference {
    struct text text;
    const char *kind; /* of what was told last */
    bool is_cut;
};

static void tell(struct difference *difference, const char *kind, const char *name,
                 const char *detail)
{
    const bool is_first = !difference->kind;
    const bool is_same = !is_first && strcmp(difference->kind, kind) == 0;
    char shown[TEXT_SHOWN_SIZE];

    if (difference->text.length >= MOST_TOLD) {
        text_puts(&difference->text, difference->is_cut ? "" : ", …");
        difference->is_cut = true;
        return;
    }
    text_puts(&difference->text, is_first ? "" : is_same ? ", " : "; ");
    text_printf(&difference->text, "%s%s%s", is_same ? "" : kind,
                text_show(shown, name, strlen(name)), detail);
    difference->kind = kind;
}

static bool has_same_categories(const struct prepared_input *a, const struct prepared_input *b)
{
    if (a->n_categories != b->n_categories)
        return false;
    for (size_t i = 0; i < a->n_categories; i++)
        if (strcmp(a->categories[i], b->categories[i]) != 0)
            return false;
    return true;
}

/* How the version prepares an input that both have. */
static void tell_preparing(const struct inputs *ours, const struct inputs *others, size_t other,
                           struct difference *difference)
{
    static const struct prepared_input raw = {.how = PREPARE_RAW};
    const char *name = others->names[other];
    const size_t own = find_input(ours, name);
    const struct prepared_input *was = ours->preparation ? &ours->preparation->input[own] : &raw;
    const struct prepared_input *is =
        others->preparation ? &others->preparation->input[other] : &raw;
    char detail[64];

    if (was->how != is->how) {
        (void)snprintf(detail, sizeof(detail), " as %s instead of %s", preparing_name(is->how),
                       preparing_name(was->how));
        tell(difference, "prepares ", name, detail);
    } else if (!has_same_categories(was, is))
        tell(difference, "has other categories of ", name, "");
}

/* How the inputs of a version are not the model's. */
static void describe_difference(const struct inputs *ours, const struct inputs *others,
                                struct difference *difference)
{
    const size_t was = ours->preparation ? ours->preparation->context : 1;
    const size_t is = others->preparation ? others->preparation->context : 1;
    char rows[24], detail[48];

    for (size_t i = 0; i < ours->n; i++)
        if (find_input(others, ours->names[i]) == others->n)
            tell(difference, "lacks ", ours->names[i], "");
    for (size_t i = 0; i < others->n; i++)
        if (find_input(ours, others->names[i]) == ours->n)
            tell(difference, "has ", others->names[i], "");
    for (size_t i = 0; i < others->n; i++)
        if (find_input(ours, others->names[i]) < ours->n)
            tell_preparing(ours, others, i, difference);
    if (was != is) {
        (void)snprintf(rows, sizeof(rows), "%zu", is);
        (void)snprintf(detail, sizeof(detail), " rows at once instead of %zu", was);
        tell(difference, "sees ", rows, detail);
    }
    if (ours->preparation && others->preparation &&
        strcmp(ours->preparation->zone_name, others->preparation->zone_name) != 0)
        tell(difference, "has its times in ", others->preparation->zone_name, "");
    if (!difference->kind)
        text_puts(&difference->text, "has them in another order");
}

/* Under the pupil's lock: whether the version may take the place of what the model has. */
static int check_features(struct pupil *pupil, const struct detector *detector,
                          struct learner_switch *change, struct error *reterr)
{
    const struct schema *schema = detector_schema(detector);
    const struct inputs ours =
        inputs_of(pupil->preparation, (const char *const *)pupil->features, pupil->n_features);
    const struct inputs others =
        inputs_of(detector_preparation(detector), schema_names(schema), schema_n_features(schema));
    struct difference difference = {0};

    if (pupil->n_features == 0 ||
        pupil_has_features(pupil, schema_names(schema), schema_n_features(schema)))
        return 0;
    if (change->replace) {
        change->has_replaced = true;
        change->n_dropped = pupil->learning ? learning_counts(pupil->learning).rows : 0;
        return 0;
    }
    describe_difference(&ours, &others, &difference);
    const int r = error_set(
        reterr, LEARNER_CONFLICT,
        "It has other features than model \"%s\" (%s): the rows that the model has learned from "
        "would be lost and those of its clients refused; add ?features=replace if that is meant",
        pupil->name, text_failed(&difference.text) ? "…" : difference.text.data);
    text_clear(&difference.text);
    return r;
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
                     struct learner_switch *change, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    change->version = pupil->log.former_version;
    if (change->version == 0)
        r = error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has no former version", model);
    else
        r = promote(pupil, who, "rollback", change, reterr);
    if (r == 0) {
        pupil->figures.n_rolled_back++;
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
