#include "service/live.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "detector/relevance.h"
#include "service/recent.h"
#include "service/series_memory.h"
#include "service/stats.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

struct model_table {
    struct live_model **models; /* [n_models] sorted by name, a reference to each */
    size_t n_models;
};

struct live {
    pthread_mutex_t change; /* who changes the table; taken before lock */
    pthread_mutex_t lock;   /* of table and of every live_model.references */
    struct model_table table;
    struct stats *stats;
};

bool live_is_name(const char *name, size_t length)
{
    if (length == 0 || length > LIVE_NAME_MAX || !isalnum((unsigned char)*name))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

const char *live_state_name(enum live_state state)
{
    static const char *const names[] = {
        [LIVE_LEARNING] = "learning", [LIVE_SERVING] = "serving", [LIVE_FAILED] = "failed"};

    return names[state];
}

enum live_rate_source live_rate_source(const struct live_source *source)
{
    if (source->is_rate_put)
        return LIVE_RATE_PUT;
    return source->false_alarm_rate > 0.0 || source->false_alarms_per_day > 0.0
               ? LIVE_RATE_OF_CONFIGURATION
               : LIVE_RATE_OF_FILE;
}

const char *live_rate_source_name(enum live_rate_source source)
{
    static const char *const names[] = {[LIVE_RATE_OF_FILE] = "model file",
                                        [LIVE_RATE_OF_CONFIGURATION] = "configuration",
                                        [LIVE_RATE_PUT] = "request"};

    return names[source];
}

static void model_free(struct live_model *model)
{
    if (!model)
        return;
    detector_free(model->detector);
    recent_release(model->recent);
    series_memory_release(model->memory);
    free(model->rules);
    relevance_release(model->relevance);
    free(model->file);
    free(model);
}
DEFINE_CLEANUP(struct live_model *, model_free)

int live_new(struct stats *stats, struct live **ret_live)
{
    assert(stats && ret_live);

    struct live *live = calloc(1, sizeof(*live));
    if (!live)
        return -ENOMEM;
    live->stats = stats;
    (void)pthread_mutex_init(&live->change, NULL); /* cannot fail with default attributes */
    (void)pthread_mutex_init(&live->lock, NULL);
    *ret_live = live;
    return 0;
}

static void table_release(struct live *live, struct model_table *table)
{
    for (size_t i = 0; i < table->n_models; i++)
        live_release(live, table->models[i]);
    free(table->models);
    *table = (struct model_table){0};
}

void live_free(struct live *live)
{
    if (!live)
        return;
    table_release(live, &live->table);
    (void)pthread_mutex_destroy(&live->lock);
    (void)pthread_mutex_destroy(&live->change);
    free(live);
}

/* ---- readers ---- */

/* As strcmp(), but name comes from a request and may hold anything, also a NUL. */
static int compare_name(const struct live_model *model, const char *name, size_t length)
{
    const size_t own = strlen(model->name);
    const int order = memcmp(model->name, name, own < length ? own : length);

    return order ? order : (own > length) - (own < length);
}

static struct live_model *find(const struct model_table *table, const char *name, size_t length)
{
    size_t low = 0, high = table->n_models;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        struct live_model *model = table->models[middle];
        const int order = compare_name(model, name, length);
        if (order == 0)
            return model;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct live_model *live_acquire(struct live *live, const char *name, size_t length)
{
    if (length == 0 || length > LIVE_NAME_MAX)
        return NULL;
    (void)pthread_mutex_lock(&live->lock);
    struct live_model *model = find(&live->table, name, length);
    if (model)
        model->references++;
    (void)pthread_mutex_unlock(&live->lock);
    return model;
}

struct live_model *live_acquire_only(struct live *live, size_t *ret_n_models)
{
    (void)pthread_mutex_lock(&live->lock);
    *ret_n_models = live->table.n_models;
    struct live_model *model = live->table.n_models == 1 ? live->table.models[0] : NULL;
    if (model)
        model->references++;
    (void)pthread_mutex_unlock(&live->lock);
    return model;
}

int live_acquire_all(struct live *live, struct live_model ***ret_models, size_t *ret_n_models)
{
    AUTO_FREE struct live_model **models = NULL;
    size_t capacity = 0, n_models = 0;

    /* Memory is found outside the lock; a reload in between may want more of it. */
    for (bool fits = false; !fits;) {
        (void)pthread_mutex_lock(&live->lock);
        n_models = live->table.n_models;
        fits = n_models <= capacity;
        for (size_t i = 0; fits && i < n_models; i++) {
            models[i] = live->table.models[i];
            models[i]->references++;
        }
        (void)pthread_mutex_unlock(&live->lock);
        if (fits)
            break;
        free(models);
        capacity = n_models;
        models = malloc(capacity * sizeof(struct live_model *));
        if (!models)
            return -ENOMEM;
    }
    *ret_models = TAKE(models);
    *ret_n_models = n_models;
    return 0;
}

void live_release(struct live *live, struct live_model *model)
{
    if (!model)
        return;
    (void)pthread_mutex_lock(&live->lock);
    assert(model->references > 0);
    const bool is_last = --model->references == 0;
    (void)pthread_mutex_unlock(&live->lock);
    if (is_last)
        model_free(model);
}

/* ---- loading ---- */

/* Everything but the detector. */
static int read_file(struct live_model *model, char **ret_data, size_t *ret_size)
{
    struct stat status;
    int r = file_read(model->file, MODEL_FILE_MAX_SIZE, ret_data, ret_size, &model->error);
    if (r < 0)
        return r;
    if (stat(model->file, &status) < 0)
        return error_set_errno(&model->error, -errno, model->file, "read");
    model->trained_at_us =
        (uint64_t)status.st_mtim.tv_sec * US_PER_S + (uint64_t)status.st_mtim.tv_nsec / 1000;
    sha256_hex(*ret_data, *ret_size, model->checksum);
    return 0;
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
    return r < 0 ? error_set_at(&model->error, r, model->file, 0, "%s",
                                r == -ENOMEM ? "out of memory" : why.text)
                 : 0;
}

static int set_threshold(struct live_model *model)
{
    const struct calibration *calibration = detector_calibration(model->detector);

    if (model->false_alarm_rate <= 0)
        model->false_alarm_rate = detector_summary(model->detector)->recipe.false_alarm_rate;
    if (!(model->false_alarm_rate > 0 && model->false_alarm_rate < 1))
        return error_set_at(&model->error, -EINVAL, model->file, 0,
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
    return error_set_at(&model->error, -EINVAL, model->file, 0,
                        "is not the file that was written: its SHA-256 is another; restore it from "
                        "a backup");
}

/* Goes on over versions, and from the rows before the first of them. */
static int take_memory(struct live_model *model, const struct live_source *source,
                       const struct live_model *old)
{
    int r = 0;

    if (old)
        model->memory = series_memory_share(old->memory);
    else
        r = series_memory_new(&model->memory);
    if (r == 0)
        series_memory_bound(model->memory,
                            source->max_series ? source->max_series : SERIES_MEMORY_MAX_SERIES);
    return r;
}

/* Fills the model from its file; on failure model->error says why. */
static int load(struct live_model *model, const struct live_source *source,
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
        r = model_file_parse(model->file, data, size, &model->detector, &model->error);
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
        return error_set(&model->error, r, "out of memory");
    model->version = version ? version : !old ? 1 : is_same_file ? old->version : old->version + 1;
    model->state = LIVE_SERVING;
    return 0;
}

/* A model that cannot be loaded is LIVE_FAILED: never an error here but for -ENOMEM. */
static int make_model(struct live *live, const struct live_source *source,
                      struct live_model **ret_model)
{
    assert(strlen(source->name) <= LIVE_NAME_MAX); /* config.c checked it */

    CLEANUP(model_freep) struct live_model *model = calloc(1, sizeof(*model));
    if (!model)
        return -ENOMEM;
    memcpy(model->name, source->name, strlen(source->name) + 1);
    model->state = source->file ? LIVE_FAILED : LIVE_LEARNING;
    model->references = 1;
    model->false_alarm_rate = source->false_alarm_rate;
    model->false_alarms_per_day = source->false_alarms_per_day;
    model->rate_source = live_rate_source(source);
    model->reject_missing = source->reject_missing;
    model->file = source->file ? strdup(source->file) : NULL;
    model->stats = stats_model(live->stats, source->name);
    if ((source->file && !model->file) || !model->stats)
        return -ENOMEM;

    /* Whoever holds `change` may look without the lock. */
    const struct live_model *old = find(&live->table, model->name, strlen(model->name));
    if (take_memory(model, source, old) < 0)
        return -ENOMEM;
    if (source->file && load(model, source, old) < 0) {
        detector_free(model->detector);
        model->detector = NULL;
        model->version = old ? old->version : 0;
    }
    *ret_model = TAKE(model);
    return 0;
}

static int make_table(struct live *live, const struct live_source *sources, size_t n_sources,
                      bool strict, struct model_table *table, struct error *reterr)
{
    if (n_sources == 0)
        return 0;
    table->models = calloc(n_sources, sizeof(struct live_model *));
    if (!table->models)
        return -ENOMEM;
    for (size_t i = 0; i < n_sources; i++) {
        struct live_model *model = NULL;
        assert(i == 0 || strcmp(sources[i - 1].name, sources[i].name) < 0);
        int r = make_model(live, &sources[i], &model);
        if (r < 0)
            return r;
        table->models[table->n_models++] = model;
        if (strict && model->state == LIVE_FAILED)
            return error_set(reterr, -EINVAL, "model %s: %s", model->name, model->error.text);
    }
    return 0;
}

/* Under `change`: the table is another one from here on. */
static void commit_table(struct live *live, struct model_table table)
{
    (void)pthread_mutex_lock(&live->lock);
    struct model_table old = live->table;
    live->table = table;
    (void)pthread_mutex_unlock(&live->lock);
    table_release(live, &old);
}

int live_load(struct live *live, const struct live_source *sources, size_t n_sources, bool strict,
              struct error *reterr)
{
    assert(live && (sources || n_sources == 0));
    struct model_table table = {0};

    (void)pthread_mutex_lock(&live->change);
    int r = make_table(live, sources, n_sources, strict, &table, reterr);
    if (r < 0)
        table_release(live, &table);
    else
        commit_table(live, table);
    (void)pthread_mutex_unlock(&live->change);
    return r == -ENOMEM ? error_set(reterr, r, "out of memory") : r;
}

/* The present table with a reference to each model, the new one in its place. Takes model over. */
static int table_with(struct live *live, struct live_model *model, struct model_table *ret_table)
{
    const struct model_table *now = &live->table;
    struct model_table next = {.models = calloc(now->n_models + 1, sizeof(struct live_model *))};
    bool is_in = false;
    if (!next.models)
        return -ENOMEM;

    (void)pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < now->n_models; i++) {
        const int order = strcmp(now->models[i]->name, model->name);
        if (order >= 0 && !is_in) {
            next.models[next.n_models++] = model;
            is_in = true;
        }
        if (order != 0) {
            now->models[i]->references++;
            next.models[next.n_models++] = now->models[i];
        }
    }
    if (!is_in)
        next.models[next.n_models++] = model;
    (void)pthread_mutex_unlock(&live->lock);
    *ret_table = next;
    return 0;
}

static int put(struct live *live, const struct live_source *source, struct error *reterr)
{
    CLEANUP(model_freep) struct live_model *model = NULL;
    struct model_table table = {0};

    int r = make_model(live, source, &model);
    if (r == 0 && model->state == LIVE_FAILED)
        return error_set(reterr, -EINVAL, "%s", model->error.text);
    if (r == 0)
        r = table_with(live, model, &table);
    if (r < 0)
        return error_set(reterr, r, "out of memory");
    model = NULL;
    commit_table(live, table);
    return 0;
}

int live_put(struct live *live, const struct live_source *source, struct error *reterr)
{
    assert(live && source);
    (void)pthread_mutex_lock(&live->change);
    int r = put(live, source, reterr);
    (void)pthread_mutex_unlock(&live->change);
    return r;
}

void live_remove(struct live *live, const char *name)
{
    struct model_table *table = &live->table;
    struct live_model *removed = NULL;

    (void)pthread_mutex_lock(&live->change);
    (void)pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < table->n_models; i++) {
        if (removed)
            table->models[i - 1] = table->models[i];
        else if (strcmp(table->models[i]->name, name) == 0)
            removed = table->models[i];
    }
    table->n_models -= removed != NULL;
    (void)pthread_mutex_unlock(&live->lock);
    (void)pthread_mutex_unlock(&live->change);
    live_release(live, removed);
}
