/* A model as its file and the configuration say. */
#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "service/live_state.h"
#include "service/recent.h"
#include "service/series_memory.h"
#include "service/stats.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Everything but the detector. */
static int read_file(struct live_model *model, char **ret_data, size_t *ret_size)
{
    struct stat status;
    int r = file_read(model->file, MODEL_FILE_MAX_SIZE, ret_data, ret_size, model->error);
    if (r < 0)
        return r;
    if (stat(model->file, &status) < 0)
        return error_set_errno(model->error, -errno, model->file, "read");
    model->trained_at_us =
        (uint64_t)status.st_mtim.tv_sec * US_PER_S + (uint64_t)status.st_mtim.tv_nsec / 1000;
    sha256_hex(*ret_data, *ret_size, model->checksum);
    return 0;
}

static bool is_same_source(const struct live_model *model, const struct live_source *source)
{
    const double rate =
        source->false_alarm_rate > 0 ? source->false_alarm_rate : model->rate_of_file;

    return model->state == LIVE_SERVING && source->file && strcmp(model->file, source->file) == 0 &&
           (source->version == 0 || model->version == source->version) &&
           (!source->sha256 || !*source->sha256 || strcmp(model->checksum, source->sha256) == 0) &&
           model->false_alarm_rate == rate &&
           model->false_alarms_per_day == source->false_alarms_per_day &&
           model->rate_source == live_rate_source(source) &&
           model->reject_missing == source->reject_missing &&
           relevance_is_same(model->said, source->relevance);
}

bool live_model_is_same(struct live *live, const struct live_model *model,
                        const struct live_source *source)
{
    struct error error;
    struct live_model now = {.file = model->file, .error = &error};
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    return is_same_source(model, source) && !live_is_failing(live, model, NULL) &&
           read_file(&now, &data, &size) == 0 && strcmp(now.checksum, model->checksum) == 0 &&
           now.trained_at_us == model->trained_at_us;
}

/* Which deviations matter: the configuration's word goes before that of the file. */
static int set_rules(struct live_model *model, struct relevance *said)
{
    CLEANUP(relevance_releasep) struct relevance *relevance = NULL;
    const struct vocabulary vocabulary = detector_vocabulary(model->detector);
    struct error why = {0};

    int r = relevance_override(detector_relevance(model->detector), said, &relevance);
    if (r == 0)
        r = relevance_bind(relevance, &vocabulary, &model->rules, &why);
    if (r == 0 && model->rules)
        model->relevance = TAKE(relevance);
    return r < 0 ? error_set_at(model->error, r, model->file, 0, "%s",
                                r == -ENOMEM ? "out of memory" : why.text)
                 : 0;
}

static int set_threshold(struct live_model *model)
{
    const struct calibration *calibration = detector_calibration(model->detector);

    model->n_calibration = calibration_n_rows(calibration);
    model->rate_of_file = detector_summary(model->detector)->recipe.false_alarm_rate;
    if (model->false_alarm_rate <= 0)
        model->false_alarm_rate = model->rate_of_file;
    if (!(model->false_alarm_rate > 0 && model->false_alarm_rate < 1))
        return error_set_at(model->error, -EINVAL, model->file, 0,
                            "holds no false-alarm rate: give false_alarm_rate for the model %s",
                            model->name);
    model->threshold = calibration_threshold(calibration, model->false_alarm_rate);
    model->threshold_basis = calibration_basis(calibration, model->false_alarm_rate);
    return 0;
}

/* What no parser notices: a figure of the header that has become another. */
static int check_sum(struct live_model *model, const char *sha256)
{
    if (!sha256 || !*sha256 || strcmp(model->checksum, sha256) == 0)
        return 0;
    return error_set_at(model->error, -EINVAL, model->file, 0,
                        "is not the file that was written: its SHA-256 is another; restore it from "
                        "a backup");
}

/* Goes on over versions, and from the rows before the first of them. */
static int take_memory(struct live_model *model, const struct live_model *old)
{
    if (!old)
        return series_memory_new(&model->memory);
    model->memory = series_memory_share(old->memory);
    return 0;
}

/* Fills the model from its file; on failure model->error says why. */
static int load(struct live *live, struct live_model *model, const struct live_source *source,
                const struct live_model *old)
{
    const unsigned version = source->version;
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = read_file(model, &data, &size);
    if (r < 0)
        return r;
    r = check_sum(model, source->sha256);
    if (r == 0)
        r = model_file_parse(model->file, data, size, &model->detector, model->error);
    if (r == 0)
        r = set_threshold(model);
    if (r == 0)
        r = set_rules(model, source->relevance);
    if (r < 0)
        return r;

    const bool is_same_file = old && strcmp(old->checksum, model->checksum) == 0;
    if (is_same_file && old->recent)
        model->recent = recent_share(old->recent);
    else if ((r = recent_new(clock_monotonic_us(), &model->recent)) < 0)
        return error_set(model->error, r, "out of memory");
    model->n_features = detector_n_features(model->detector);
    model->version = version ? version : !old ? 1 : is_same_file ? old->version : old->version + 1;
    model->state = LIVE_SERVING;
    resident_init(live->residents, &model->resident, &model->detector,
                  model_file_memory(data, size), model->file, model->checksum);
    return 0;
}

static int load_or_say_why(struct live *live, struct live_model *model,
                           const struct live_source *source, const struct live_model *old)
{
    model->error = calloc(1, sizeof(*model->error));
    if (!model->error)
        return -ENOMEM;
    if (load(live, model, source, old) == 0) {
        free(TAKE(model->error));
        return 0;
    }
    detector_free(TAKE(model->detector));
    model->version = old ? old->version : 0;
    return 0;
}

static int fill(struct live *live, struct live_model *model, const struct live_source *source)
{
    memcpy(model->name, source->name, strlen(source->name) + 1);
    model->state = source->file ? LIVE_FAILED : LIVE_LEARNING;
    model->references = 1;
    model->false_alarm_rate = source->false_alarm_rate;
    model->false_alarms_per_day = source->false_alarms_per_day;
    model->rate_source = live_rate_source(source);
    model->reject_missing = source->reject_missing;
    model->said = relevance_share(source->relevance);
    model->file = source->file ? strdup(source->file) : NULL;
    model->stats = stats_model(live->stats, source->name);
    if ((source->file && !model->file) || !model->stats)
        return -ENOMEM;

    const struct live_model *old = live_find(&live->table, model->name, strlen(model->name));
    int r = take_memory(model, old);
    return r < 0 || !source->file ? r : load_or_say_why(live, model, source, old);
}

int live_model_new(struct live *live, const struct live_source *source,
                   struct live_model **ret_model)
{
    assert(strlen(source->name) <= LIVE_NAME_MAX); /* config.c checked it */
    struct live_model *model = calloc(1, sizeof(*model));
    if (!model)
        return -ENOMEM;

    int r = fill(live, model, source);
    if (r < 0)
        live_model_free(live, model);
    else
        *ret_model = model;
    return r;
}
