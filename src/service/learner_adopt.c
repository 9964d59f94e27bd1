/* Models of which nothing is known, as at the first start: their files become versions all at once,
 * for with thousands of them the disk would be waited for thousands of times. Several threads read,
 * check and copy; the copies are made durable, then their names, then one transaction says what
 * they are. Whatever ends it before that leaves candidates, which the next start removes, or files
 * that no version has, which it finds and takes for the copies they are. */
#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/learner_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS    4
#define MANY_FILES 32 /* each by itself is waited for, below: others may have written much */

struct adoption {
    struct learner *learner;
    struct logged_adoption log;
    const char *file;
    struct text features;
    char fingerprint[SHA256_HEX_SIZE];
    bool is_one_of_many, is_staged;
    int r; /* below 0: it is left out */
};

struct adoptions {
    struct adoption *items; /* [n] */
    size_t n;
};

static void adoptions_clear(struct adoptions *adoptions)
{
    for (size_t i = 0; i < adoptions->n; i++)
        text_clear(&adoptions->items[i].features);
    free(adoptions->items);
}

/* ---- which ---- */

static int compare_name(const void *name, const void *model)
{
    return strcmp(name, ((const struct logged_model *)model)->name);
}

/* Neither in the store nor beside it. */
static bool is_unknown(const struct learner *learner, const char *name,
                       const struct logged_model *models, size_t n_models)
{
    char path[VERSIONS_PATH_SIZE];
    unsigned version;

    return (n_models == 0 || !bsearch(name, models, n_models, sizeof(*models), compare_name)) &&
           versions_find_live(learner->directory, name, path, &version) == -ENOENT;
}

static int find_unknown(struct learner *learner, const struct live_source *sources,
                        size_t n_sources, struct adoptions *adoptions)
{
    AUTO_FREE struct logged_model *models = NULL;
    size_t n_models = 0;

    int r = model_log_list(learner->database, &models, &n_models);
    adoptions->items = r == 0 ? calloc(n_sources + 1, sizeof(*adoptions->items)) : NULL;
    for (size_t i = 0; adoptions->items && i < n_sources; i++)
        if (sources[i].file && is_unknown(learner, sources[i].name, models, n_models))
            adoptions->items[adoptions->n++] = (struct adoption){
                .learner = learner, .log.name = sources[i].name, .file = sources[i].file};
    for (size_t i = 0; i < n_models; i++)
        logged_model_clear(&models[i]);
    return r == 0 && !adoptions->items ? -ENOMEM : r;
}

/* ---- files ---- */

/* A copy that a former start has left is as good as a new one. */
static int copy(struct adoption *adoption, const char *data, size_t size)
{
    const char *directory = adoption->learner->directory, *name = adoption->log.name;
    const struct logged_version *version = &adoption->log.version;
    CLEANUP(close_fd) int fd = -1;
    struct error error;

    int r = versions_open(directory, name, version->version, version->sha256, &fd, &error);
    if (r == 0)
        return adoption->is_one_of_many || fsync(fd) == 0 ? 0 : -errno;
    if (r != -ENOENT) /* it is something else */
        return r;
    r = versions_stage(directory, name, data, size, !adoption->is_one_of_many, &error);
    adoption->is_staged = r == 0;
    return r;
}

static int read_and_copy(struct adoption *adoption)
{
    CLEANUP(detector_freep) struct detector *detector = NULL;
    AUTO_FREE char *data = NULL;
    size_t size = 0;
    struct error error;

    int r = file_read(adoption->file, MODEL_FILE_MAX_SIZE, &data, &size, &error);
    if (r == 0)
        r = model_file_parse(adoption->file, data, size, &detector, &error);
    if (r < 0)
        return r;
    const struct schema *schema = detector_schema(detector);
    adoption->log.version = (struct logged_version){.version = 1,
                                                    .made_us = clock_realtime_us(),
                                                    .rows = detector_summary(detector)->n_rows,
                                                    .origin = "file"};
    sha256_hex(data, size, adoption->log.version.sha256);
    r = pupil_print_features(schema_names(schema), schema_n_features(schema), &adoption->features,
                             adoption->fingerprint);
    if (r < 0)
        return r;
    adoption->log.features = adoption->features.data;
    adoption->log.fingerprint = adoption->fingerprint;
    return copy(adoption, data, size);
}

static int read_and_copy_one(void *userdata, size_t i)
{
    struct adoption *adoption = &((struct adoptions *)userdata)->items[i];

    adoption->r = read_and_copy(adoption);
    return 0;
}

/* What is in adoptions with r of 0 is durable, and named as a version. */
static int make_files(struct learner *learner, struct adoptions *adoptions)
{
    const bool are_many = adoptions->n >= MANY_FILES;
    struct error error;

    for (size_t i = 0; i < adoptions->n; i++)
        adoptions->items[i].is_one_of_many = are_many;
    int r = parallel_run(adoptions->n, are_many ? THREADS : 1, read_and_copy_one, adoptions);
    if (r == 0 && are_many)
        r = versions_sync(learner->directory, &error);
    for (size_t i = 0; i < adoptions->n && r == 0; i++) {
        struct adoption *adoption = &adoptions->items[i];
        if (adoption->is_staged)
            adoption->r = versions_keep_staged(learner->directory, adoption->log.name,
                                               adoption->log.version.version, !are_many, &error);
    }
    return r == 0 && are_many ? versions_sync(learner->directory, &error) : r;
}

/* ---- all of it ---- */

static int log_all(struct learner *learner, const struct adoptions *adoptions)
{
    AUTO_FREE struct logged_adoption *logs = calloc(adoptions->n, sizeof(*logs));
    size_t n = 0;
    if (!logs)
        return -ENOMEM;

    for (size_t i = 0; i < adoptions->n; i++)
        if (adoptions->items[i].r == 0)
            logs[n++] = adoptions->items[i].log;
    return model_log_adopt(learner->database, logs, n);
}

static int mark_all(struct learner *learner, const struct adoptions *adoptions)
{
    int r = 0;

    for (size_t i = 0; i < adoptions->n; i++) {
        if (adoptions->items[i].r < 0)
            continue;
        struct pupil *pupil = learner_find_or_add(learner, adoptions->items[i].log.name);
        if (pupil)
            pupil->is_adopted = true;
        else
            r = -ENOMEM;
    }
    return r;
}

void learner_adopt_unknown(struct learner *learner, const struct live_source *sources,
                           size_t n_sources)
{
    CLEANUP(adoptions_clear) struct adoptions adoptions = {0};

    int r = find_unknown(learner, sources, n_sources, &adoptions);
    if (r == 0 && adoptions.n > 0) {
        r = make_files(learner, &adoptions);
        if (r == 0)
            r = log_all(learner, &adoptions);
        if (r == 0)
            r = mark_all(learner, &adoptions);
    }
    learner_note(learner, r);
}
