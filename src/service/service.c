#include "service/service.h"

#include "base/log.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "service/config.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/stats.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct service {
    char *config_path; /* NULL: the default one */
    struct config *config;
    struct live *live;
    struct stats *stats;
    struct learner *learner; /* NULL: no store */
    _Atomic size_t max_body;
    _Atomic uint64_t request_timeout_us;
    atomic_bool is_draining;
};

void service_init(void)
{
    detector_init();
}

const char *service_kernel(void)
{
    return detector_kernel();
}

/* ---- all models at once ---- */

struct model_list {
    struct live *live;
    struct live_model **models; /* [n_models], a reference to each */
    size_t n_models;
};

static void model_list_clear(struct model_list *list)
{
    for (size_t i = 0; i < list->n_models; i++)
        live_release(list->live, list->models[i]);
    free(list->models);
}

static int model_list_get(struct live *live, struct model_list *ret_list)
{
    ret_list->live = live;
    return live_acquire_all(live, &ret_list->models, &ret_list->n_models);
}

static void describe_model(const struct live_model *model, struct text *text)
{
    text_printf(text, "model %s: version %u, %zu features, threshold ", model->name, model->version,
                detector_n_features(model->detector));
    text_double(text, model->threshold);
    text_puts(text, " for a false-alarm rate of ");
    text_double(text, model->false_alarm_rate);
}

/* For a model whose threshold is not conformal. */
static void describe_doubt(const struct live_model *model, struct text *text)
{
    const size_t n_rows = calibration_n_rows(detector_calibration(model->detector));
    const char *basis = model->threshold_basis == CALIBRATION_PARETO_TAIL
                            ? "an estimate from the largest errors of these"
                            : "the largest error of these";

    text_printf(text, "model %s: a false-alarm rate of ", model->name);
    text_double(text, model->false_alarm_rate);
    text_printf(text,
                " needs %zu calibration rows, the model has %zu: %s is the threshold, and the rate "
                "is not promised; train with more rows or give a higher false_alarm_rate",
                calibration_rows_needed(model->false_alarm_rate), n_rows, basis);
}

static void log_model(const struct live_model *model)
{
    char version[16];
    const char *const fields[] = {"MODEL", model->name, "VERSION", version, NULL};
    CLEANUP(text_clear) struct text line = {0}, doubt = {0};

    (void)snprintf(version, sizeof(version), "%u", model->version);
    if (model->state == LIVE_LEARNING) {
        log_fields(LOG_INFO, fields, "model %s: learning, there is no version yet", model->name);
        return;
    }
    if (model->state == LIVE_FAILED) {
        log_fields(LOG_ERR, fields, "model %s failed: %s", model->name, model->error.text);
        return;
    }
    describe_model(model, &line);
    if (!text_failed(&line))
        log_fields(LOG_INFO, fields, "%s", line.data);
    if (model->threshold_basis == CALIBRATION_CONFORMAL)
        return;
    describe_doubt(model, &doubt);
    if (!text_failed(&doubt))
        log_fields(LOG_WARNING, fields, "%s", doubt.data);
}

static void log_models(struct live *live)
{
    CLEANUP(model_list_clear) struct model_list list = {0};

    if (model_list_get(live, &list) < 0)
        return;
    for (size_t i = 0; i < list.n_models; i++)
        log_model(list.models[i]);
}

/* One warning for each line. */
static void log_notes(const struct text *notes)
{
    for (const char *line = notes->data; line && *line;) {
        const char *end = strchrnul(line, '\n');
        log_warning("%.*s", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
}

static int load_models(struct live *live, struct learner *learner, const struct config *config,
                       bool strict, struct error *reterr)
{
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(config->n_models + 1, sizeof(*sources));
    size_t n_sources = config->n_models;
    if (!sources)
        return error_set(reterr, -ENOMEM, "out of memory");

    for (size_t i = 0; i < config->n_models; i++)
        sources[i] = (struct live_source){
            .name = config->models[i].name,
            .file = config->models[i].file,
            .false_alarm_rate = config->models[i].false_alarm_rate,
            .reject_missing = config->models[i].reject_missing,
        };
    int r = learner ? learner_prepare(learner, config, &sources, &n_sources, &notes) : 0;
    log_notes(&notes);
    if (r == 0)
        r = live_load(live, sources, n_sources, strict, reterr);
    if (r == 0 && learner)
        r = learner_commit(learner, config);
    return r;
}

/* Without a store the service scores all the same. */
static void open_learner(struct service *service)
{
    CLEANUP(text_clear) struct text notes = {0};
    struct error error;

    if (!service->config->storage_directory)
        return;
    int r = learner_new(service->config, service->live, service->stats, &service->learner, &notes,
                        &error);
    log_notes(&notes);
    if (r < 0)
        log_error("nothing is learned: %s", error.text);
}

/* ---- start and end ---- */

static void commit_limits(struct service *service)
{
    atomic_store_explicit(&service->max_body, service->config->max_body, memory_order_relaxed);
    atomic_store_explicit(&service->request_timeout_us, service->config->request_timeout_us,
                          memory_order_relaxed);
}

static int start(struct service *service, const char *const *routes, size_t n_routes,
                 struct error *reterr)
{
    int r = stats_new(service->config->threads + 1, routes, n_routes, &service->stats);
    if (r == 0)
        r = live_new(service->stats, &service->live);
    if (r == 0)
        open_learner(service);
    if (r == 0)
        r = load_models(service->live, service->learner, service->config, false, reterr);
    if (r == 0 && service->learner)
        r = learner_start(service->learner);
    if (r < 0)
        return error_set(reterr, r, "%s", r == -ENOMEM ? "out of memory" : strerrordesc_np(-r));
    commit_limits(service);
    log_models(service->live);
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
    service->config = TAKE(mine);
    service->config_path = config_path ? strdup(config_path) : NULL;
    if (config_path && !service->config_path)
        return error_set(reterr, -ENOMEM, "out of memory");

    int r = start(service, routes, n_routes, reterr);
    if (r < 0)
        return r;
    *ret_service = TAKE(service);
    return 0;
}

void service_free(struct service *service)
{
    if (!service)
        return;
    learner_free(service->learner);
    live_free(service->live);
    stats_free(service->stats);
    config_free(service->config);
    free(service->config_path);
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
    return service->learner;
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
    struct error error = {0};

    int r = config_load(service->config_path, &next, ret_errors);
    if (r < 0)
        return r;
    r = load_models(service->live, service->learner, next, true, &error);
    if (r < 0) {
        text_printf(ret_errors, "%s\n", error.text);
        return r;
    }
    keep_what_needs_restart(service->config, next);
    struct config *old = service->config;
    service->config = next;
    next = old;
    commit_limits(service);
    log_models(service->live);
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
        if (model->state != LIVE_FAILED)
            continue;
        (void)error_set(&reason, -EINVAL, "model %s failed: %s", model->name, model->error.text);
        add(userdata, reason.text);
        is_ready = false;
    }
    return is_ready;
}

static void describe(const struct model_list *list, struct text *text)
{
    size_t n_failed = 0;

    for (size_t i = 0; i < list->n_models; i++)
        n_failed += list->models[i]->state == LIVE_FAILED;
    text_printf(text, "%zu model%s", list->n_models, list->n_models == 1 ? "" : "s");
    if (n_failed)
        text_printf(text, ", %zu failed", n_failed);
}

void service_describe(struct service *service, struct text *text)
{
    CLEANUP(model_list_clear) struct model_list list = {0};

    if (model_list_get(service->live, &list) < 0)
        text_puts(text, "out of memory");
    else
        describe(&list, text);
}

/* ---- check ---- */

static void summarise(const struct config *config, const struct model_list *list, struct text *text)
{
    for (size_t i = 0; i < config->n_listen; i++)
        text_printf(text, "listen: %s\n", config->listen[i]);
    for (size_t i = 0; i < list->n_models; i++) {
        if (list->models[i]->state == LIVE_LEARNING) {
            text_printf(text, "model %s: learns from nothing\n", list->models[i]->name);
            continue;
        }
        describe_model(list->models[i], text);
        text_puts(text, "\n");
        if (list->models[i]->threshold_basis == CALIBRATION_CONFORMAL)
            continue;
        text_puts(text, "warning: ");
        describe_doubt(list->models[i], text);
        text_puts(text, "\n");
    }
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
        r = load_models(live, NULL, config, false, NULL);
    if (r == 0)
        r = model_list_get(live, &list);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n_models; i++) {
        if (list.models[i]->state != LIVE_FAILED)
            continue;
        text_printf(ret_errors, "model %s: %s\n", list.models[i]->name, list.models[i]->error.text);
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
