/* Every number has one writer, the worker whose slot it is in, so an increment is a plain load and
 * store; they are atomic only so that the scrape may read them meanwhile. */
#include "service/stats.h"

#include "base/quota.h"
#include "base/text.h"
#include "detector/detector.h"
#include "service/live.h"
#include "service/process.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <string.h>

#define CACHE_LINE 64
#define N_STATUS   500 /* 100 to 599 */

/* Upper edges; one more bucket holds what is above the last. */
static const double duration_edges[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                        0.025,  0.05,    0.1,    0.25,  1,      10};
static const double score_edges[STATS_SCORE_EDGES] = {0.1, 0.2, 0.35, 0.5, 0.75, 1,
                                                      1.5, 2,   5,    10,  100};
#define N_DURATION_EDGES (sizeof(duration_edges) / sizeof(*duration_edges))
#define N_SCORE_EDGES    STATS_SCORE_EDGES

/* One absurd row must not drown all others in the sum. */
#define MAX_SUMMED_SCORE 1e6

/* Shown at 0 from the start, for every route; another one appears with its first request. */
static const unsigned usual_statuses[] = {200, 202, 400, 404, 405, 408, 409,
                                          413, 415, 422, 431, 500, 503};

/* What one worker counted for one route. */
struct route_slot {
    _Atomic uint64_t by_status[N_STATUS]; /* from 100 */
    _Atomic uint64_t buckets[N_DURATION_EDGES + 1];
    _Atomic uint64_t sum_us;
} __attribute__((aligned(CACHE_LINE)));

/* What one worker counted for one model. */
struct model_slot {
    _Atomic uint64_t rows, anomalies;
    _Atomic uint64_t buckets[N_SCORE_EDGES + 1];
    _Atomic double sum;
} __attribute__((aligned(CACHE_LINE)));

struct model_stats {
    char name[LIVE_NAME_MAX + 1];
    struct model_slot *slots; /* [n_workers] */
};

struct stats {
    unsigned n_workers;
    size_t n_routes;
    const char *const *routes;
    struct route_slot *slots; /* [n_workers][n_routes] */
    pthread_mutex_t lock;     /* of the tree below; its members stay until the end */
    void *models;             /* tsearch() by name */
};

static void *allocate_slots(size_t n, size_t size)
{
    void *slots = aligned_alloc(CACHE_LINE, n * size);

    if (slots)
        memset(slots, 0, n * size);
    return slots;
}

int stats_new(unsigned n_workers, const char *const *routes, size_t n_routes,
              struct stats **ret_stats)
{
    assert(n_workers > 0 && (routes || n_routes == 0) && ret_stats);

    CLEANUP(stats_freep) struct stats *stats = calloc(1, sizeof(*stats));
    if (!stats)
        return -ENOMEM;
    stats->n_workers = n_workers;
    stats->n_routes = n_routes;
    stats->routes = routes;
    (void)pthread_mutex_init(&stats->lock, NULL); /* cannot fail with default attributes */
    if (n_routes)
        stats->slots = allocate_slots(n_workers * n_routes, sizeof(*stats->slots));
    if (n_routes && !stats->slots)
        return -ENOMEM;
    *ret_stats = TAKE(stats);
    return 0;
}

static void model_stats_free(void *userdata)
{
    struct model_stats *model = userdata;

    if (!model)
        return;
    free(model->slots);
    free(model);
}
DEFINE_CLEANUP(struct model_stats *, model_stats_free)

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct model_stats *)a)->name, ((const struct model_stats *)b)->name);
}

void stats_free(struct stats *stats)
{
    if (!stats)
        return;
    tdestroy(stats->models, model_stats_free);
    (void)pthread_mutex_destroy(&stats->lock);
    free(stats->slots);
    free(stats);
}

/* ---- counting ---- */

static uint64_t get(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void add(_Atomic uint64_t *number, uint64_t n)
{
    atomic_store_explicit(number, get(number) + n, memory_order_relaxed);
}

static size_t bucket_of(double value, const double *edges, size_t n_edges)
{
    size_t i = 0;

    while (i < n_edges && !(value <= edges[i]))
        i++;
    return i;
}

void stats_count_request(struct stats *stats, unsigned worker, size_t route, unsigned status,
                         uint64_t duration_us)
{
    assert(worker < stats->n_workers && route < stats->n_routes);
    assert(status >= 100 && status < 100 + N_STATUS);

    struct route_slot *slot = &stats->slots[worker * stats->n_routes + route];
    const double seconds = (double)duration_us * 1e-6;
    add(&slot->by_status[status - 100], 1);
    add(&slot->buckets[bucket_of(seconds, duration_edges, N_DURATION_EDGES)], 1);
    add(&slot->sum_us, duration_us);
}

static int new_model(const char *name, unsigned n_workers, struct model_stats **ret_model)
{
    assert(strlen(name) <= LIVE_NAME_MAX);

    CLEANUP(model_stats_freep) struct model_stats *model = calloc(1, sizeof(*model));
    if (!model)
        return -ENOMEM;
    memcpy(model->name, name, strlen(name) + 1);
    model->slots = allocate_slots(n_workers, sizeof(*model->slots));
    if (!model->slots)
        return -ENOMEM;
    *ret_model = TAKE(model);
    return 0;
}

struct model_stats *stats_model(struct stats *stats, const char *name)
{
    CLEANUP(model_stats_freep) struct model_stats *added = NULL;

    if (new_model(name, stats->n_workers, &added) < 0)
        return NULL;
    (void)pthread_mutex_lock(&stats->lock);
    struct model_stats **found = tsearch(added, &stats->models, by_name);
    struct model_stats *model = found ? *found : NULL;
    (void)pthread_mutex_unlock(&stats->lock);
    if (model == added)
        added = NULL;
    return model;
}

void stats_count_verdicts(struct model_stats *model, unsigned worker,
                          const struct verdict *verdicts, size_t n_rows)
{
    struct model_slot *slot = &model->slots[worker];
    uint64_t anomalies = 0;
    double sum = atomic_load_explicit(&slot->sum, memory_order_relaxed);

    for (size_t i = 0; i < n_rows; i++) {
        const double score = verdicts[i].score;
        anomalies += verdicts[i].anomaly;
        sum += fmin(score, MAX_SUMMED_SCORE);
        add(&slot->buckets[bucket_of(score, score_edges, N_SCORE_EDGES)], 1);
    }
    add(&slot->rows, n_rows);
    add(&slot->anomalies, anomalies);
    atomic_store_explicit(&slot->sum, sum, memory_order_relaxed);
}

void stats_tally_verdicts(struct verdict_tally *tally, const struct verdict *verdicts,
                          size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++) {
        const double score = verdicts[i].score;
        tally->anomalies += verdicts[i].anomaly;
        tally->sum += fmin(score, MAX_SUMMED_SCORE);
        tally->buckets[bucket_of(score, score_edges, N_SCORE_EDGES)]++;
    }
    tally->rows += n_rows;
}

void stats_count_tally(struct model_stats *model, unsigned worker,
                       const struct verdict_tally *tally)
{
    struct model_slot *slot = &model->slots[worker];
    const double sum = atomic_load_explicit(&slot->sum, memory_order_relaxed) + tally->sum;

    for (size_t i = 0; i <= N_SCORE_EDGES; i++)
        add(&slot->buckets[i], tally->buckets[i]);
    add(&slot->rows, tally->rows);
    add(&slot->anomalies, tally->anomalies);
    atomic_store_explicit(&slot->sum, sum, memory_order_relaxed);
}

/* ---- the page ---- */

static void write_head(struct text *text, const char *name, const char *type, const char *help)
{
    text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* "name{label="value"} ", the number follows. Not by text_printf(), which would take longer than
 * all else of a page of thousands of models. */
static void write_series(struct text *text, const char *name, const char *label, const char *value)
{
    text_puts(text, name);
    text_puts(text, "{");
    text_puts(text, label);
    text_puts(text, "=\"");
    text_puts(text, value);
    text_puts(text, "\"} ");
}

static void write_u64(struct text *text, uint64_t number)
{
    text_u64(text, number);
    text_puts(text, "\n");
}

/* The three parts of one histogram; buckets[n_edges + 1] are not yet cumulative. */
static void write_histogram(struct text *text, const char *name, const char *label,
                            const char *value, const double *edges, size_t n_edges,
                            const uint64_t *buckets, double sum)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= n_edges; i++) {
        text_puts(text, name);
        text_puts(text, "_bucket{");
        text_puts(text, label);
        text_puts(text, "=\"");
        text_puts(text, value);
        text_puts(text, "\",le=\"");
        if (i < n_edges)
            text_double(text, edges[i]);
        else
            text_puts(text, "+Inf");
        text_puts(text, "\"} ");
        write_u64(text, count += buckets[i]);
    }
    text_printf(text, "%s_sum{%s=\"%s\"} ", name, label, value);
    text_double(text, sum);
    text_printf(text, "\n%s_count{%s=\"%s\"} ", name, label, value);
    write_u64(text, count);
}

static bool is_usual(unsigned status)
{
    for (size_t i = 0; i < sizeof(usual_statuses) / sizeof(*usual_statuses); i++)
        if (usual_statuses[i] == status)
            return true;
    return false;
}

static void write_requests(const struct stats *stats, struct text *text)
{
    static const char name[] = "anomalyd_http_requests_total";

    write_head(text, name, "counter", "Answered requests by route and status code.");
    for (size_t route = 0; route < stats->n_routes; route++)
        for (unsigned status = 100; status < 100 + N_STATUS; status++) {
            uint64_t n = 0;
            for (unsigned worker = 0; worker < stats->n_workers; worker++)
                n += get(&stats->slots[worker * stats->n_routes + route].by_status[status - 100]);
            if (n == 0 && !is_usual(status))
                continue;
            text_printf(text, "%s{route=\"%s\",code=\"%u\"} ", name, stats->routes[route], status);
            write_u64(text, n);
        }
}

static void write_durations(const struct stats *stats, struct text *text)
{
    static const char name[] = "anomalyd_http_request_duration_seconds";

    write_head(text, name, "histogram", "Time from a request's head to its answer.");
    for (size_t route = 0; route < stats->n_routes; route++) {
        uint64_t buckets[N_DURATION_EDGES + 1] = {0}, sum_us = 0;
        for (unsigned worker = 0; worker < stats->n_workers; worker++) {
            const struct route_slot *slot = &stats->slots[worker * stats->n_routes + route];
            for (size_t i = 0; i <= N_DURATION_EDGES; i++)
                buckets[i] += get(&slot->buckets[i]);
            sum_us += get(&slot->sum_us);
        }
        write_histogram(text, name, "route", stats->routes[route], duration_edges, N_DURATION_EDGES,
                        buckets, (double)sum_us * 1e-6);
    }
}

/* All workers' slots of a model in one. */
struct model_sums {
    uint64_t rows, anomalies, buckets[N_SCORE_EDGES + 1];
    double sum;
};

static struct model_sums sum_up(const struct model_stats *model, unsigned n_workers)
{
    struct model_sums sums = {0};

    for (unsigned worker = 0; worker < n_workers; worker++) {
        const struct model_slot *slot = &model->slots[worker];
        sums.rows += get(&slot->rows);
        sums.anomalies += get(&slot->anomalies);
        for (size_t i = 0; i <= N_SCORE_EDGES; i++)
            sums.buckets[i] += get(&slot->buckets[i]);
        sums.sum += atomic_load_explicit(&slot->sum, memory_order_relaxed);
    }
    return sums;
}

uint64_t stats_rows_scored(const struct stats *stats, const struct model_stats *model)
{
    return sum_up(model, stats->n_workers).rows;
}

/* The models that there are now; one that a reload took away is shown no more. */
struct shown {
    struct live_model **models; /* [n_models] sorted by name */
    size_t n_models;
    unsigned n_workers;
};

static void write_model_counters(const struct shown *shown, struct text *text)
{
    static const char rows[] = "anomalyd_rows_scored_total";
    static const char anomalies[] = "anomalyd_anomalies_total";
    static const char score[] = "anomalyd_score";

    write_head(text, rows, "counter", "Rows that got a verdict.");
    for (size_t i = 0; i < shown->n_models; i++) {
        write_series(text, rows, "model", shown->models[i]->name);
        write_u64(text, sum_up(shown->models[i]->stats, shown->n_workers).rows);
    }
    write_head(text, anomalies, "counter", "Rows that were called an anomaly.");
    for (size_t i = 0; i < shown->n_models; i++) {
        write_series(text, anomalies, "model", shown->models[i]->name);
        write_u64(text, sum_up(shown->models[i]->stats, shown->n_workers).anomalies);
    }
    write_head(text, score, "histogram",
               "Scores of rows; above 1 is an anomaly. A row adds at most 1e6 to the sum.");
    for (size_t i = 0; i < shown->n_models; i++) {
        const struct model_sums sums = sum_up(shown->models[i]->stats, shown->n_workers);
        write_histogram(text, score, "model", shown->models[i]->name, score_edges, N_SCORE_EDGES,
                        sums.buckets, sums.sum);
    }
}

static double threshold_of(const struct live_model *model)
{
    return model->threshold;
}

static double rate_of(const struct live_model *model)
{
    return model->false_alarm_rate;
}

static double version_of(const struct live_model *model)
{
    return model->version;
}

static double trained_at_of(const struct live_model *model)
{
    return (double)model->trained_at_us * 1e-6;
}

static void write_live_models(const struct shown *shown, struct text *text)
{
    static const struct {
        const char *name, *help;
        double (*value)(const struct live_model *);
    } gauges[] = {
        {"anomalyd_threshold",                       "Reconstruction error above which a row is an anomaly.",
         threshold_of                                                                                                   },
        {"anomalyd_false_alarm_rate_target",         "Share of normal rows that may be called an anomaly.",
         rate_of                                                                                                        },
        {"anomalyd_model_version",                   "Number of the version that answers.",                   version_of},
        {"anomalyd_model_trained_timestamp_seconds", "When the model file was written.",
         trained_at_of                                                                                                  },
    };

    for (size_t i = 0; i < sizeof(gauges) / sizeof(*gauges); i++) {
        write_head(text, gauges[i].name, "gauge", gauges[i].help);
        for (size_t j = 0; j < shown->n_models; j++) {
            if (shown->models[j]->state != LIVE_SERVING)
                continue;
            write_series(text, gauges[i].name, "model", shown->models[j]->name);
            text_double(text, gauges[i].value(shown->models[j]));
            text_puts(text, "\n");
        }
    }
}

static void write_number(struct text *text, const char *name, const char *type, const char *help,
                         uint64_t number)
{
    write_head(text, name, type, help);
    text_printf(text, "%s %llu\n", name, (unsigned long long)number);
}

static void write_loading(struct live *live, struct text *text)
{
    const struct residents_counts counts = live_count(live);

    write_number(text, "anomalyd_models_loaded", "gauge", "Models whose detector is in memory.",
                 counts.n_loaded);
    write_number(text, "anomalyd_models_loaded_bytes", "gauge",
                 "What these detectors take, estimated; max_memory bounds it.", counts.bytes);
    write_number(text, "anomalyd_model_loads_total", "counter",
                 "Detectors read again because a request or a run needed them.", counts.n_loads);
    write_number(text, "anomalyd_model_drops_total", "counter",
                 "Detectors dropped from memory to keep to max_memory.", counts.n_drops);
}

static void write_request_memory(const struct quota *quota, struct text *text)
{
    write_number(text, "anomalyd_request_memory_bytes", "gauge",
                 "What long requests take just now; max_request_memory bounds it.",
                 quota_used(quota));
}

void stats_write(struct stats *stats, struct live *live, const struct quota *request_memory,
                 struct text *text)
{
    struct shown shown = {.n_workers = stats->n_workers};

    if (live_acquire_all(live, &shown.models, &shown.n_models) < 0) {
        text->failed = true;
        return;
    }
    write_head(text, "anomalyd_build_info", "gauge", "What is running; always 1.");
    text_printf(text, "anomalyd_build_info{version=\"%s\",blas_kernel=\"%s\"} 1\n", PACKAGE_VERSION,
                detector_kernel());
    write_requests(stats, text);
    write_durations(stats, text);
    write_model_counters(&shown, text);
    write_live_models(&shown, text);
    write_loading(live, text);
    write_request_memory(request_memory, text);
    process_write_metrics(text);
    for (size_t i = 0; i < shown.n_models; i++)
        live_release(live, shown.models[i]);
    free(shown.models);
}
