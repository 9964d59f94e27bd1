#include "service/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/quota.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "service/config.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/model_list.h"
#include "service/service_load.h"
#include "service/stats.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define TEND_US (5 * US_PER_S) /* how often a store that could not be opened is tried again */

struct service {
    char *config_path; /* NULL: the default one */
    struct config *config;
    struct live *live;
    struct stats *stats;
    struct learner *_Atomic learner; /* NULL: no store; set once, maybe late */
    struct error store_error;        /* why it cannot be opened; "": it is, or there is none */
    pthread_mutex_t store_lock;      /* of store_error */
    _Atomic size_t max_body;
    _Atomic uint64_t request_timeout_us;
    struct quota request_memory;
    atomic_bool is_draining;
};

static char kernels[DETECTOR_KERNELS_SIZE];

void service_init(void)
{
    detector_init();
    detector_print_kernels(kernels);
}

const char *service_kernels(void)
{
    return kernels;
}

/* ---- the store ---- */

/* Says so once for each reason. */
static void set_store_error(struct service *service, const char *text)
{
    (void)pthread_mutex_lock(&service->store_lock);
    const bool is_new = strcmp(service->store_error.text, text) != 0;
    (void)snprintf(service->store_error.text, sizeof(service->store_error.text), "%s", text);
    (void)pthread_mutex_unlock(&service->store_lock);
    if (is_new && *text)
        log_error("%s; scoring goes on", text);
}

/* Without a store the service scores all the same. NULL: there is none, or it cannot be opened. */
static struct learner *open_learner(struct service *service)
{
    CLEANUP(text_clear) struct text notes = {0};
    struct learner *learner = NULL;
    struct error error, told;

    if (!service->config->storage_directory)
        return NULL;
    int r = learner_new(service->config, service->live, service->stats, &learner, &notes, &error);
    if (r == -EUCLEAN) /* the next one sets it aside */
        r = learner_new(service->config, service->live, service->stats, &learner, &notes, &error);
    service_log_notes(&notes);
    if (r < 0)
        (void)error_set(&told, r, "nothing is learned: %s", error.text);
    set_store_error(service, r < 0 ? told.text : "");
    return learner;
}

/* Opens the store, loads the models by what it says, and lets them learn. */
static int open_store(struct service *service)
{
    CLEANUP(learner_freep) struct learner *learner = open_learner(service);
    const struct config *config = service->config;
    const char *directory = config->storage_directory;

    int r = service_load_models(service->live, learner, directory, config, false, NULL);
    if (r == 0 && learner &&
        learner_is_damaged(learner)) { /* found on the way: set aside at once */
        learner_free(TAKE(learner));
        learner = open_learner(service);
        r = service_load_models(service->live, learner, directory, config, false, NULL);
    }
    if (r == 0 && learner)
        r = learner_start(learner);
    if (r == 0)
        atomic_store(&service->learner, TAKE(learner));
    return r;
}

uint64_t service_tend(struct service *service)
{
    struct learner *learner = service_learner(service);

    if (!learner && !service->config->storage_directory)
        return 0;
    if (!learner) {
        const int r = learner_check_directory(service->config->storage_directory, NULL);
        if (r == 0 && open_store(service) == 0 && (learner = service_learner(service))) {
            log_info("%s: the store is open: models learn", service->config->storage_directory);
            model_list_log(service->live);
        }
    }
    if (!learner)
        return clock_monotonic_us() + TEND_US;
    learner_begin_check(learner);
    return 0;
}

bool service_store_trouble(struct service *service, struct error *ret_why)
{
    struct learner *learner = service_learner(service);
    if (learner)
        return learner_trouble(learner, ret_why);

    (void)pthread_mutex_lock(&service->store_lock);
    *ret_why = service->store_error;
    (void)pthread_mutex_unlock(&service->store_lock);
    return *ret_why->text;
}

/* ---- start and end ---- */

static void commit_limits(struct service *service)
{
    atomic_store_explicit(&service->max_body, service->config->max_body, memory_order_relaxed);
    atomic_store_explicit(&service->request_timeout_us, service->config->request_timeout_us,
                          memory_order_relaxed);
    quota_set_limit(&service->request_memory, service->config->max_request_memory);
}

static int start(struct service *service, const char *const *routes, size_t n_routes,
                 struct error *reterr)
{
    int r = stats_new(service->config->threads + 1, routes, n_routes, &service->stats);
    if (r == 0)
        r = live_new(service->stats, &service->live);
    if (r == 0)
        r = open_store(service);
    if (r < 0)
        return error_set(reterr, r, "%s", r == -ENOMEM ? "out of memory" : strerrordesc_np(-r));
    commit_limits(service);
    model_list_log(service->live);
    return 0;
}

int service_new(const char *config_path, struct config *config, const char *const *routes,
                size_t n_routes, struct service **ret_service, struct error *reterr)
{
    assert(config && ret_service);

    CLEANUP(config_freep) struct config *mine = config;
    CLEANUP(service_freep) struct service *service = calloc(1, sizeof(*service));
    if (!service)
        return error_set(reterr, -ENOMEM, "out of memory");
    (void)pthread_mutex_init(&service->store_lock, NULL);
    service->config = TAKE(mine);
    service->config_path = config_path ? strdup(config_path) : NULL;
    if (config_path && !service->config_path)
        return error_set(reterr, -ENOMEM, "out of memory");

    int r = detector_check(reterr);
    if (r == 0)
        r = start(service, routes, n_routes, reterr);
    if (r < 0)
        return r;
    *ret_service = TAKE(service);
    return 0;
}

void service_free(struct service *service)
{
    if (!service)
        return;
    assert(quota_used(&service->request_memory) == 0); /* all requests have ended */
    learner_free(atomic_load(&service->learner));
    live_free(service->live);
    stats_free(service->stats);
    config_free(service->config);
    free(service->config_path);
    (void)pthread_mutex_destroy(&service->store_lock);
    free(service);
}

const struct config *service_config(const struct service *service)
{
    return service->config;
}

struct live *service_live(struct service *service)
{
    return service->live;
}

struct stats *service_stats(struct service *service)
{
    return service->stats;
}

struct learner *service_learner(struct service *service)
{
    return atomic_load(&service->learner);
}

/* ---- reload ---- */

static bool is_same_listen(const struct config *a, const struct config *b)
{
    if (a->n_listen != b->n_listen)
        return false;
    for (size_t i = 0; i < a->n_listen; i++)
        if (strcmp(a->listen[i], b->listen[i]) != 0)
            return false;
    return true;
}

/* What needs a restart stays as it is in `next` too, so that the next reload says so again. */
static void keep_what_needs_restart(struct config *now, struct config *next)
{
    static const char needs[] = "%s of [server] changed: it stays as it was until a restart";
    char **listen = now->listen;
    const size_t n_listen = now->n_listen;

    if (!is_same_listen(now, next))
        log_warning(needs, "listen");
    if (now->threads != next->threads)
        log_warning(needs, "threads");
    if (now->max_connections != next->max_connections)
        log_warning(needs, "max_connections");
    now->listen = next->listen;
    now->n_listen = next->n_listen;
    next->listen = listen;
    next->n_listen = n_listen;
    next->threads = now->threads;
    next->max_connections = now->max_connections;
}

int service_reload(struct service *service, struct text *ret_errors)
{
    CLEANUP(config_freep) struct config *next = NULL;
    struct learner *learner = service_learner(service);
    struct error error = {0};

    int r = config_load(service->config_path, &next, ret_errors);
    if (r < 0)
        return r;
    r = service_load_models(service->live, learner, next->storage_directory, next, true, &error);
    if (r < 0) {
        if (learner)
            learner_take_back(learner, service->config);
        text_printf(ret_errors, "%s\n", error.text);
        return r;
    }
    keep_what_needs_restart(service->config, next);
    struct config *old = service->config;
    service->config = next;
    next = old;
    commit_limits(service);
    model_list_log(service->live);
    return 0;
}

/* ---- for the workers ---- */

size_t service_max_body(const struct service *service)
{
    return atomic_load_explicit(&service->max_body, memory_order_relaxed);
}

uint64_t service_request_timeout_us(const struct service *service)
{
    return atomic_load_explicit(&service->request_timeout_us, memory_order_relaxed);
}

struct quota *service_request_memory(struct service *service)
{
    return &service->request_memory;
}

void service_set_draining(struct service *service)
{
    atomic_store(&service->is_draining, true);
}

bool service_is_draining(const struct service *service)
{
    return atomic_load(&service->is_draining);
}

bool service_is_ready(struct service *service, void (*add)(void *userdata, const char *reason),
                      void *userdata)
{
    CLEANUP(model_list_clear) struct model_list list = {0};
    bool is_ready = true;

    if (service_is_draining(service)) {
        add(userdata, "the daemon is stopping");
        is_ready = false;
    }
    if (model_list_get(service->live, &list) < 0) {
        add(userdata, "out of memory");
        return false;
    }
    if (list.n_models == 0) {
        add(userdata, "no model is configured");
        is_ready = false;
    }
    for (size_t i = 0; i < list.n_models; i++) {
        const struct live_model *model = list.models[i];
        struct error reason;
        struct error why;
        if (live_is_failing(service->live, model, &why))
            (void)error_set(&reason, -EINVAL, "model %s failed: %s", model->name, why.text);
        else if (model->state == LIVE_LEARNING && !service_learner(service))
            (void)error_set(&reason, -EINVAL, "model %s has no version and cannot learn",
                            model->name);
        else
            continue;
        add(userdata, reason.text);
        is_ready = false;
    }
    return is_ready;
}

static void describe(const struct model_list *list, struct text *text)
{
    size_t n_failed = 0;

    for (size_t i = 0; i < list->n_models; i++)
        n_failed += live_is_failing(list->live, list->models[i], NULL);
    text_printf(text, "%zu model%s", list->n_models, list->n_models == 1 ? "" : "s");
    if (n_failed)
        text_printf(text, ", %zu failed", n_failed);
}

void service_describe(struct service *service, struct text *text)
{
    CLEANUP(model_list_clear) struct model_list list = {0};
    struct error why;

    if (model_list_get(service->live, &list) < 0)
        text_puts(text, "out of memory");
    else
        describe(&list, text);
    if (service_store_trouble(service, &why))
        text_puts(text, ", nothing is learned");
}

/* ---- check ---- */

static void summarise(const struct config *config, const struct model_list *list, struct text *text)
{
    struct error why;

    for (size_t i = 0; i < config->n_listen; i++)
        text_printf(text, "listen: %s\n", config->listen[i]);
    for (size_t i = 0; i < list->n_models; i++) {
        if (list->models[i]->state == LIVE_LEARNING) {
            text_printf(text, "model %s: learns from nothing\n", list->models[i]->name);
            continue;
        }
        model_list_describe(list->models[i], text);
        text_puts(text, "\n");
        if (list->models[i]->threshold_basis == CALIBRATION_CONFORMAL)
            continue;
        text_puts(text, "warning: ");
        model_list_describe_doubt(list->models[i], text);
        text_puts(text, "\n");
    }
    if (config->storage_directory && learner_check_directory(config->storage_directory, &why) < 0)
        text_printf(text, "warning: nothing would be learned: %s\n", why.text);
    describe(list, text);
    text_puts(text, ", the configuration is good\n");
}

static int check_models(const struct config *config, struct text *ret_summary,
                        struct text *ret_errors)
{
    CLEANUP(stats_freep) struct stats *stats = NULL;
    CLEANUP(live_freep) struct live *live = NULL;
    CLEANUP(model_list_clear) struct model_list list = {0};
    bool is_good = true;

    int r = stats_new(1, NULL, 0, &stats);
    if (r == 0)
        r = live_new(stats, &live);
    if (r == 0)
        r = service_load_models(live, NULL, NULL, config, false, NULL);
    if (r == 0)
        r = model_list_get(live, &list);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n_models; i++) {
        if (list.models[i]->state != LIVE_FAILED)
            continue;
        text_printf(ret_errors, "model %s: %s\n", list.models[i]->name,
                    list.models[i]->error->text);
        is_good = false;
    }
    if (is_good)
        summarise(config, &list, ret_summary);
    return is_good ? 0 : -EINVAL;
}

int service_check(const char *config_path, struct text *ret_summary, struct text *ret_errors)
{
    CLEANUP(config_freep) struct config *config = NULL;

    int r = config_load(config_path, &config, ret_errors);
    if (r == 0)
        r = check_models(config, ret_summary, ret_errors);
    return text_failed(ret_errors) || text_failed(ret_summary) ? -ENOMEM : r;
}
