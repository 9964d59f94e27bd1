/* Which file a model answers from: that of the version which the store names; where it names none,
 * or that one is damaged, the best of what is left. */
#include "base/clock.h"
#include "base/log.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Only where it points elsewhere: a start may come to a disk that cannot be written to. */
static void link_live(const struct pupil *pupil)
{
    const char *directory = pupil->learner->directory;
    char ignored[VERSIONS_PATH_SIZE];
    unsigned version = 0;
    struct error error;

    if (versions_find_live(directory, pupil->name, ignored, &version) == 0 &&
        version == pupil->log.live_version)
        return;
    if (versions_link_live(directory, pupil->name, pupil->log.live_version, &error) < 0)
        log_warning("%s", error.text);
}

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
    r = pupil_open_record(pupil, schema_names(schema), schema_n_features(schema));
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
    pupil->log.former_version = pupil->log.live_version;
    pupil->log.live_version = pupil->log.pinned_version = version.version;
    link_live(pupil);
    return 0;
}

/* What served last, where the store has forgotten it; else the configured file; else nothing. */
static int adopt_first(struct pupil *pupil, const char *configured, struct error *reterr)
{
    char path[VERSIONS_PATH_SIZE];
    struct error error;
    unsigned version;

    if (versions_find_live(pupil->learner->directory, pupil->name, path, &version) == 0) {
        if (adopt(pupil, path, &error) == 0) {
            log_warning("model %s: the store knows no version: version %u, which served last, "
                        "serves on as version %u",
                        pupil->name, version, pupil->log.live_version);
            return 0;
        }
        log_warning("model %s: the version that served last cannot serve on: %s", pupil->name,
                    error.text);
    }
    return configured ? adopt(pupil, configured, reterr) : 0;
}

int pupil_find_file(struct pupil *pupil, struct live_source *source, struct error *reterr)
{
    struct learner *learner = pupil->learner;
    char path[VERSIONS_PATH_SIZE], sha256[SHA256_HEX_SIZE];
    int r = 0;

    if (pupil->log.id == 0)
        r = model_log_open(learner->database, pupil->name, NULL, NULL, &pupil->log);
    if (r < 0 && r != -ENOENT)
        return error_set(reterr, r, "the store: %s", strerrordesc_np(-r));
    r = pupil->log.live_version == 0 ? adopt_first(pupil, source->file, reterr) : 0;
    if (r < 0 || pupil->log.live_version == 0)
        return r;
    r = pupil_locate(pupil, pupil->log.live_version, path, sha256);
    if (r == 0)
        r = pupil_set_path(pupil, path, sha256);
    if (r < 0)
        return error_set_errno(reterr, r, learner->directory, "read");
    link_live(pupil);
    source->file = pupil->path;
    source->sha256 = pupil->sha256;
    source->version = pupil->log.live_version;
    return 0;
}

/* ---- a version that cannot serve ---- */

/* Which version the model has, and why it does not serve. */
static bool is_failed(struct pupil *pupil, unsigned *ret_version, struct error *ret_why)
{
    struct live *live = pupil->learner->live;
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));
    const bool has_failed = model && model->state == LIVE_FAILED;

    if (has_failed)
        *ret_why = *model->error;
    *ret_version = model ? model->version : 0;
    live_release(live, model);
    return has_failed;
}

/* Whether the file is whole, and of the features that the model has learned: those of others would
 * cost its rows, and serve none of its clients. */
static int check_file(const struct pupil *pupil, const char *path, struct error *reterr)
{
    CLEANUP(detector_freep) struct detector *detector = NULL;

    int r = model_file_load(path, &detector, reterr);
    if (r < 0 || pupil->log.id == 0)
        return r;
    const struct schema *schema = detector_schema(detector);
    r = pupil_check_record(pupil, schema_names(schema), schema_n_features(schema));
    return r == -ESTALE ? error_set_at(reterr, r, path, 0, "has other features than the model")
           : r < 0      ? error_set_errno(reterr, r, path, "compare")
                        : 0;
}

static bool serve_version(struct pupil *pupil, unsigned version)
{
    char path[VERSIONS_PATH_SIZE];
    struct error error;

    int r = versions_path(pupil->learner->directory, pupil->name, version, path);
    r = r < 0 ? error_set_errno(&error, r, pupil->learner->directory, "read")
              : check_file(pupil, path, &error);
    if (r == 0)
        r = pupil_promote(pupil, version, false, &error);
    if (r < 0)
        log_error("model %s: version %u cannot serve either: %s", pupil->name, version, error.text);
    return r == 0;
}

/* The former version, else the newest of the others that was not refused. */
static bool serve_another(struct pupil *pupil)
{
    const unsigned live = pupil->log.live_version, former = pupil->log.former_version;
    AUTO_FREE struct logged_version *versions = NULL;
    size_t n = 0;

    if (former != 0 && former != live && serve_version(pupil, former))
        return true;
    if (live == 0 || model_log_versions(pupil->learner->database, pupil->log.id, &versions, &n) < 0)
        return false;
    while (n-- > 0) {
        const struct logged_version *version = &versions[n];
        if (version->version != live && version->version != former && !version->is_refused &&
            serve_version(pupil, version->version))
            return true;
    }
    return false;
}

/* It becomes a version, or serves as it is where that cannot be. */
static bool serve_configured(struct pupil *pupil, const char *file)
{
    struct live_source source = pupil_source(pupil);
    struct error error;

    source.file = file;
    if (check_file(pupil, file, &error) < 0) {
        log_error("model %s: the configured file cannot serve either: %s", pupil->name, error.text);
        return false;
    }
    if (adopt(pupil, file, &error) == 0)
        return serve_version(pupil, pupil->log.live_version);
    log_error("model %s: the configured file cannot become a version: %s", pupil->name, error.text);
    return live_put(pupil->learner->live, &source, &error) == 0;
}

/* Damage to one file shall not end the answers. */
void pupil_fall_back(struct pupil *pupil, const char *configured)
{
    CLEANUP(text_clear) struct text detail = {0};
    const unsigned failed = pupil->log.live_version;
    unsigned version;
    struct error why;

    if (!is_failed(pupil, &version, &why))
        return;
    if (!serve_another(pupil) && (!configured || !serve_configured(pupil, configured)))
        return; /* it is logged as failed */
    (void)is_failed(pupil, &version, &why);
    log_error("model %s: version %u cannot serve: %s; version %u serves in its place", pupil->name,
              failed, why.text, version);
    if (pupil->log.id == 0)
        return;
    text_printf(&detail, "{\"version\":%u,\"serving\":%u,\"reason\":", failed, version);
    text_json_string(&detail, why.text, strlen(why.text));
    text_puts(&detail, "}");
    if (!text_failed(&detail))
        pupil_tell(pupil, "rolled_back", detail.data,
                   "the file of the live version is missing or damaged: see to the disk, restore "
                   "the file from a backup and promote the version again");
}
