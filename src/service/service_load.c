#include "service/service_load.h"

#include "base/log.h"
#include "base/text.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/config.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICE 128 /* models that a start loads at a time */

void service_log_notes(const struct text *notes)
{
    for (const char *line = notes->data; line && *line;) {
        const char *end = strchrnul(line, '\n');
        log_warning("%.*s", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
}

/* Of a model, where no store says which version is live: what models/NAME/live points to, if it can
 * serve, else the configured file. */
static void use_kept_version(const char *directory, struct live_source *source,
                             char path[VERSIONS_PATH_SIZE])
{
    CLEANUP(detector_freep) struct detector *detector = NULL;
    struct error error;
    unsigned version;

    if (versions_find_live(directory, source->name, path, &version) < 0)
        return;
    if (model_file_load(path, &detector, &error) < 0) {
        log_warning("model %s: version %u cannot serve: %s", source->name, version, error.text);
        return;
    }
    source->file = path;
    source->version = version;
}

/* The start, before anybody is answered: what has just been loaded is bound while its detector is
 * still in memory, which those of all models may not fit. */
static int load_in_slices(struct live *live, struct learner *learner, const struct config *config,
                          const struct live_source *sources, size_t n_sources)
{
    int r = 0;

    for (size_t i = 0; i < n_sources && r == 0; i += SLICE) {
        const size_t n = n_sources - i < SLICE ? n_sources - i : SLICE;
        r = live_add(live, sources + i, n);
        if (r == 0 && learner)
            learner_commit_some(learner, config, sources + i, n);
    }
    live_settle(live);
    return r;
}

static bool is_empty(struct live *live)
{
    size_t n_models;

    live_release(live, live_acquire_only(live, &n_models));
    return n_models == 0;
}

static int load_all(struct live *live, struct learner *learner, const struct config *config,
                    const struct live_source *sources, size_t n_sources, bool strict,
                    struct error *reterr)
{
    if (!strict && is_empty(live))
        return load_in_slices(live, learner, config, sources, n_sources);
    int r = live_load(live, sources, n_sources, strict, reterr);
    return r == 0 && learner ? learner_commit(learner, config) : r;
}

int service_load_models(struct live *live, struct learner *learner, const char *kept_in,
                        const struct config *config, bool strict, struct error *reterr)
{
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(config->n_models + 1, sizeof(*sources));
    AUTO_FREE char(*paths)[VERSIONS_PATH_SIZE] = calloc(config->n_models + 1, sizeof(*paths));
    size_t n_sources = config->n_models;
    if (!sources || !paths)
        return error_set(reterr, -ENOMEM, "out of memory");

    for (size_t i = 0; i < config->n_models; i++) {
        sources[i] = (struct live_source){
            .name = config->models[i].name,
            .file = config->models[i].file,
            .false_alarm_rate = config->models[i].false_alarm_rate,
            .false_alarms_per_day = config->models[i].false_alarms_per_day,
            .reject_missing = config->models[i].reject_missing,
            .relevance = config->models[i].relevance,
        };
        if (!learner && kept_in)
            use_kept_version(kept_in, &sources[i], paths[i]);
    }
    if (!strict) /* at the start, before there is more */
        live_set_limit(live, config->max_memory);
    int r = learner ? learner_prepare(learner, config, &sources, &n_sources, &notes) : 0;
    service_log_notes(&notes);
    if (r == 0)
        r = load_all(live, learner, config, sources, n_sources, strict, reterr);
    if (r == 0)
        live_set_limit(live, config->max_memory);
    return r;
}
