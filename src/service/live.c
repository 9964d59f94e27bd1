#include "service/live_state.h"

#include "base/parallel.h"
#include "detector/detector.h"
#include "detector/relevance.h"
#include "service/recent.h"
#include "service/series_memory.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Threads that read model files, each with an arena of memory of its own, pay from so many. */
#define MANY_MODELS  100
#define MANY_THREADS 4

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

void live_model_free(struct live *live, struct live_model *model)
{
    if (!model)
        return;
    if (model->state == LIVE_SERVING)
        resident_clear(live->residents, &model->resident);
    else
        detector_free(model->detector);
    recent_release(model->recent);
    series_memory_release(model->memory);
    free(model->rules);
    relevance_release(model->relevance);
    relevance_release(model->said);
    free(model->file);
    free(model->error);
    free(model);
}

int live_new(struct stats *stats, struct live **ret_live)
{
    assert(stats && ret_live);

    struct live *live = calloc(1, sizeof(*live));
    if (!live)
        return -ENOMEM;
    live->stats = stats;
    (void)pthread_mutex_init(&live->change, NULL); /* cannot fail with default attributes */
    (void)pthread_mutex_init(&live->lock, NULL);
    const int r = residents_new(&live->residents);
    if (r < 0)
        live_free(live);
    else
        *ret_live = live;
    return r;
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
    residents_free(live->residents);
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

/* Where the model of that name is, or would be. */
static size_t position(const struct model_table *table, const char *name, size_t length,
                       bool *ret_is_there)
{
    size_t low = 0, high = table->n_models;

    *ret_is_there = false;
    while (low < high && !*ret_is_there) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_name(table->models[middle], name, length);
        *ret_is_there = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

struct live_model *live_find(const struct model_table *table, const char *name, size_t length)
{
    bool is_there;
    const size_t i = position(table, name, length, &is_there);

    return is_there ? table->models[i] : NULL;
}

struct live_model *live_acquire(struct live *live, const char *name, size_t length)
{
    if (length == 0 || length > LIVE_NAME_MAX)
        return NULL;
    (void)pthread_mutex_lock(&live->lock);
    struct live_model *model = live_find(&live->table, name, length);
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
        live_model_free(live, model);
}

int live_hold(struct live *live, struct live_model *model, struct error *reterr)
{
    assert(model->state == LIVE_SERVING);
    return resident_hold(live->residents, &model->resident, reterr);
}

int live_hold_newest(struct live *live, struct live_model **model, struct error *reterr)
{
    int r = live_hold(live, *model, reterr);
    if (r == 0 || r == -ENOMEM)
        return r;
    struct live_model *newer = live_acquire(live, (*model)->name, strlen((*model)->name));
    if (newer && newer != *model && newer->state == LIVE_SERVING) {
        struct live_model *older = *model;
        *model = newer;
        newer = older;
        r = live_hold(live, *model, reterr);
    }
    live_release(live, newer);
    return r;
}

void live_let_go(struct live *live, struct live_model *model)
{
    resident_let_go(live->residents, &model->resident);
}

bool live_is_failing(struct live *live, const struct live_model *model, struct error *ret_why)
{
    if (model->state == LIVE_SERVING)
        return resident_is_failing(live->residents, &model->resident, ret_why);
    if (model->state == LIVE_FAILED && ret_why)
        *ret_why = *model->error;
    return model->state == LIVE_FAILED;
}

void live_set_limit(struct live *live, size_t limit)
{
    residents_set_limit(live->residents, limit);
}

struct residents_counts live_count(struct live *live)
{
    return residents_count(live->residents);
}

/* ---- changes ---- */

/* Models that are read at the same time. */
struct making {
    struct live *live;
    const struct live_source *sources;
    struct live_model **models;
    bool keeps; /* those that would be the same */
};

static int make_one(void *userdata, size_t i)
{
    struct making *making = userdata;
    struct live *live = making->live;
    const struct live_source *source = &making->sources[i];
    struct live_model *old =
        making->keeps ? live_find(&live->table, source->name, strlen(source->name)) : NULL;

    if (!old || !live_model_is_same(live, old, source))
        return live_model_new(live, source, &making->models[i]);
    (void)pthread_mutex_lock(&live->lock);
    old->references++;
    (void)pthread_mutex_unlock(&live->lock);
    making->models[i] = old;
    return 0;
}

static int make_table(struct live *live, const struct live_source *sources, size_t n_sources,
                      bool keeps, struct model_table *table)
{
    if (n_sources == 0)
        return 0;
    table->models = calloc(n_sources, sizeof(struct live_model *));
    if (!table->models)
        return -ENOMEM;
    for (size_t i = 1; i < n_sources; i++)
        assert(strcmp(sources[i - 1].name, sources[i].name) < 0);
    table->n_models = table->capacity = n_sources;
    struct making making = {live, sources, table->models, keeps};
    return parallel_run(n_sources, n_sources < MANY_MODELS ? 1 : MANY_THREADS, make_one, &making);
}

static int find_failed(const struct model_table *table, struct error *reterr)
{
    for (size_t i = 0; i < table->n_models; i++) {
        const struct live_model *model = table->models[i];
        if (model->state == LIVE_FAILED)
            return error_set(reterr, -EINVAL, "model %s: %s", model->name, model->error->text);
    }
    return 0;
}

/* How many series are remembered, which models of one name have in common: only once nothing can
 * fail any more. */
static void bound_series(const struct live_model *model, const struct live_source *source)
{
    series_memory_bound(model->memory,
                        source->max_series ? source->max_series : SERIES_MEMORY_MAX_SERIES);
}

/* Under `change`: the table, which is of these sources, is the one from here on. */
static void commit_table(struct live *live, struct model_table table,
                         const struct live_source *sources)
{
    for (size_t i = 0; i < table.n_models; i++)
        bound_series(table.models[i], &sources[i]);
    (void)pthread_mutex_lock(&live->lock);
    struct model_table old = live->table;
    live->table = table;
    (void)pthread_mutex_unlock(&live->lock);
    table_release(live, &old);
}

/* Where not all detectors fit, those that are read last are no better than the first: none stays,
 * and what their threads' arenas have held goes back to the system, for workers have their own. */
static void settle(struct live *live, uint64_t n_drops)
{
    if (live_count(live).n_drops > n_drops)
        residents_drop_idle(live->residents);
    if (live->table.n_models >= MANY_MODELS)
        (void)malloc_trim(0);
}

void live_settle(struct live *live)
{
    (void)pthread_mutex_lock(&live->change);
    settle(live, 0);
    (void)pthread_mutex_unlock(&live->change);
}

int live_load(struct live *live, const struct live_source *sources, size_t n_sources, bool strict,
              struct error *reterr)
{
    assert(live && (sources || n_sources == 0));
    struct model_table table = {0};

    (void)pthread_mutex_lock(&live->change);
    const uint64_t n_drops = live_count(live).n_drops;
    int r = make_table(live, sources, n_sources, true, &table);
    if (r == 0 && strict)
        r = find_failed(&table, reterr);
    if (r < 0)
        table_release(live, &table);
    else
        commit_table(live, table, sources);
    settle(live, n_drops);
    (void)pthread_mutex_unlock(&live->change);
    return r == -ENOMEM ? error_set(reterr, r, "out of memory") : r;
}

/* Under `change`: room in the table, so that placing n more cannot fail. */
static int reserve(struct live *live, size_t n)
{
    struct model_table *table = &live->table;
    const size_t capacity = table->n_models + n + table->n_models / 2;
    if (table->n_models + n <= table->capacity)
        return 0;
    struct live_model **models = calloc(capacity, sizeof(struct live_model *));
    if (!models)
        return -ENOMEM;

    (void)pthread_mutex_lock(&live->lock);
    struct live_model **old = table->models;
    if (old)
        memcpy(models, old, table->n_models * sizeof(struct live_model *));
    table->models = models;
    table->capacity = capacity;
    (void)pthread_mutex_unlock(&live->lock);
    free(old);
    return 0;
}

/* Under `change`, after reserve(). Takes model over, which is of this source. */
static void place(struct live *live, struct live_model *model, const struct live_source *source)
{
    struct model_table *table = &live->table;
    struct live_model *old = NULL;
    bool is_there;

    bound_series(model, source);
    (void)pthread_mutex_lock(&live->lock);
    const size_t i = position(table, model->name, strlen(model->name), &is_there);
    struct live_model **at = &table->models[i];
    if (is_there)
        old = *at;
    else
        memmove(at + 1, at, (table->n_models++ - i) * sizeof(struct live_model *));
    *at = model;
    (void)pthread_mutex_unlock(&live->lock);
    live_release(live, old);
}

int live_add(struct live *live, const struct live_source *sources, size_t n_sources)
{
    assert(live && (sources || n_sources == 0));
    struct model_table table = {0};

    (void)pthread_mutex_lock(&live->change);
    int r = make_table(live, sources, n_sources, false, &table);
    if (r == 0)
        r = reserve(live, n_sources);
    for (size_t i = 0; r == 0 && i < n_sources; i++)
        place(live, TAKE(table.models[i]), &sources[i]);
    table_release(live, &table);
    (void)pthread_mutex_unlock(&live->change);
    return r;
}

static int put(struct live *live, const struct live_source *source, struct error *reterr)
{
    struct live_model *model = NULL;

    int r = live_model_new(live, source, &model);
    if (r == 0 && model->state == LIVE_FAILED)
        r = error_set(reterr, -EINVAL, "%s", model->error->text);
    else if (r < 0 || (r = reserve(live, 1)) < 0)
        r = error_set(reterr, r, "out of memory");
    if (r < 0)
        live_model_free(live, model);
    else
        place(live, model, source);
    return r;
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
    bool is_there;

    (void)pthread_mutex_lock(&live->change);
    (void)pthread_mutex_lock(&live->lock);
    const size_t i = position(table, name, strlen(name), &is_there);
    if (is_there) {
        struct live_model **at = &table->models[i];
        removed = *at;
        memmove(at, at + 1, (--table->n_models - i) * sizeof(struct live_model *));
    }
    (void)pthread_mutex_unlock(&live->lock);
    (void)pthread_mutex_unlock(&live->change);
    live_release(live, removed);
}
