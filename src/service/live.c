#include "service/live.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "service/config.h"
#include "service/stats.h"

#include <assert.h>
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
    pthread_mutex_t lock; /* of table and of every live_model.references */
    struct model_table table;
    struct stats *stats;
};

const char *live_state_name(enum live_state state)
{
    static const char *const names[] = {[LIVE_SERVING] = "serving", [LIVE_FAILED] = "failed"};

    return names[state];
}

static void model_free(struct live_model *model)
{
    if (!model)
        return;
    detector_free(model->detector);
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
    (void)pthread_mutex_init(&live->lock, NULL); /* cannot fail with default attributes */
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

/* Fills the model from its file; on failure model->error says why. */
static int load(struct live_model *model, const struct live_model *old)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = read_file(model, &data, &size);
    if (r < 0)
        return r;
    r = model_file_parse(model->file, data, size, &model->detector, &model->error);
    if (r == 0)
        r = set_threshold(model);
    if (r < 0)
        return r;

    const bool is_same_file = old && strcmp(old->checksum, model->checksum) == 0;
    model->version = !old ? 1 : is_same_file ? old->version : old->version + 1;
    model->state = LIVE_SERVING;
    return 0;
}

/* A model that cannot be loaded is LIVE_FAILED: never an error here but for -ENOMEM. */
static int make_model(struct live *live, const struct config_model *config,
                      struct live_model **ret_model)
{
    assert(strlen(config->name) <= LIVE_NAME_MAX); /* config.c checked it */

    CLEANUP(model_freep) struct live_model *model = calloc(1, sizeof(*model));
    if (!model)
        return -ENOMEM;
    memcpy(model->name, config->name, strlen(config->name) + 1);
    model->state = LIVE_FAILED;
    model->references = 1;
    model->false_alarm_rate = config->false_alarm_rate;
    model->reject_missing = config->reject_missing;
    model->file = strdup(config->file);
    model->stats = stats_model(live->stats, config->name);
    if (!model->file || !model->stats)
        return -ENOMEM;

    /* This thread alone changes the table, so it may look without the lock. */
    const struct live_model *old = find(&live->table, model->name, strlen(model->name));
    if (load(model, old) < 0) {
        detector_free(model->detector);
        model->detector = NULL;
        model->version = old ? old->version : 0;
    }
    *ret_model = TAKE(model);
    return 0;
}

static int make_table(struct live *live, const struct config_model *models, size_t n_models,
                      bool strict, struct model_table *table, struct error *reterr)
{
    if (n_models == 0)
        return 0;
    table->models = calloc(n_models, sizeof(struct live_model *));
    if (!table->models)
        return -ENOMEM;
    for (size_t i = 0; i < n_models; i++) {
        struct live_model *model = NULL;
        assert(i == 0 || strcmp(models[i - 1].name, models[i].name) < 0);
        int r = make_model(live, &models[i], &model);
        if (r < 0)
            return r;
        table->models[table->n_models++] = model;
        if (strict && model->state == LIVE_FAILED)
            return error_set(reterr, -EINVAL, "model %s: %s", model->name, model->error.text);
    }
    return 0;
}

int live_load(struct live *live, const struct config_model *models, size_t n_models, bool strict,
              struct error *reterr)
{
    assert(live && (models || n_models == 0));

    struct model_table table = {0};
    int r = make_table(live, models, n_models, strict, &table, reterr);
    if (r < 0) {
        table_release(live, &table);
        return r == -ENOMEM ? error_set(reterr, r, "out of memory") : r;
    }

    (void)pthread_mutex_lock(&live->lock);
    const struct model_table old = live->table;
    live->table = table;
    (void)pthread_mutex_unlock(&live->lock);

    table = old;
    table_release(live, &table);
    return 0;
}
