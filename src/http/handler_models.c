/* GET /v1/models and /v1/models/{m}: what there is and how it was made. */
#include "base/clock.h"
#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/architecture.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/preparation_json.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/service.h"

#include <string.h>
#include <time.h>

static void put_member(struct text *text, const char *name, const char *value)
{
    text_printf(text, ",\"%s\":", name);
    text_json_string(text, value, strlen(value));
}

/* RFC 3339, UTC. */
static void put_time(struct text *text, const char *name, uint64_t us)
{
    char written[32];
    struct tm utc;
    time_t seconds = (time_t)(us / US_PER_S);

    (void)gmtime_r(&seconds, &utc);
    (void)strftime(written, sizeof(written), "%Y-%m-%dT%H:%M:%SZ", &utc);
    put_member(text, name, written);
}

/* `{"name":…` without the closing brace. */
static void put_summary(struct handler *handler, const struct live_model *model, struct text *text)
{
    struct error why;

    text_puts(text, "{\"name\":");
    text_json_string(text, model->name, strlen(model->name));
    text_printf(text, ",\"version\":%u", model->version);
    put_member(text, "state", lookup_state(handler, model));
    if (live_is_failing(service_live(handler->service), model, &why))
        put_member(text, "error", why.text);
}

static void put_features(struct text *text, const struct schema *schema)
{
    text_puts(text, ",\"features\":[");
    for (size_t i = 0; i < schema_n_features(schema); i++) {
        const char *name = schema_name(schema, i);
        text_puts(text, i > 0 ? "," : "");
        text_json_string(text, name, strlen(name));
    }
    text_puts(text, "]");
}

/* How the features are prepared; nothing where they are not. */
static void put_preparation(struct text *text, const struct preparation *preparation)
{
    json_auto_t *document = preparation ? preparation_to_json(preparation) : NULL;
    AUTO_FREE char *dumped = document ? json_dumps(document, JSON_COMPACT) : NULL;

    if (!preparation)
        return;
    text->failed |= !dumped;
    text_puts(text, ",\"preparation\":");
    text_puts(text, dumped ? dumped : "null");
}

/* For each network the widths of its layers, from input to output. */
static void put_architecture(struct text *text, const struct detector *detector)
{
    text_puts(text, ",\"architecture\":[");
    for (size_t i = 0; i < architecture_n_networks(detector); i++) {
        text_printf(text, "%s[%zu", i ? "," : "", architecture_layer(detector, i, 0).n_in);
        for (size_t l = 0; l < architecture_n_layers(detector, i); l++)
            text_printf(text, ",%zu", architecture_layer(detector, i, l).n_out);
        text_puts(text, "]");
    }
    text_puts(text, "]");
}

static void put_detail(const struct live_model *model, struct text *text)
{
    put_features(text, detector_values(model->detector));
    put_preparation(text, detector_preparation(model->detector));
    text_puts(text, ",\"false_alarm_rate\":");
    text_double(text, model->false_alarm_rate);
    text_puts(text, ",\"threshold\":");
    text_double(text, model->threshold);
    put_member(text, "threshold_basis", calibration_basis_name(model->threshold_basis));
    put_architecture(text, model->detector);
    text_printf(text, ",\"rows\":%zu", detector_summary(model->detector)->n_rows);
    put_time(text, "trained_at", model->trained_at_us);
    put_member(text, "sha256", model->checksum);
}

void handle_models(struct handler *handler, const struct request *request, struct reply *reply)
{
    (void)request;
    struct live *live = service_live(handler->service);
    AUTO_FREE struct live_model **models = NULL;
    size_t n_models;

    if (live_acquire_all(live, &models, &n_models) < 0) {
        reply_no_memory(reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
    text_puts(&reply->body, "{\"models\":[");
    for (size_t i = 0; i < n_models; i++) {
        text_puts(&reply->body, i > 0 ? "," : "");
        put_summary(handler, models[i], &reply->body);
        text_puts(&reply->body, "}");
        live_release(live, models[i]);
    }
    text_puts(&reply->body, "]}");
}

/* What a model is sent that has no version yet, if somebody has said it. */
static void put_first_inputs(struct handler *handler, const struct live_model *model,
                             struct text *text)
{
    struct learner *learner = service_learner(handler->service);
    CLEANUP(schema_freep) struct schema *values = NULL;
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;

    if (!learner || learner_inputs(learner, model->name, &values, &preparation) < 0)
        return;
    put_features(text, values);
    put_preparation(text, preparation);
}

/* How far a model is that has no version yet. */
static void put_progress(struct handler *handler, const struct live_model *model, struct text *text)
{
    struct learner *learner = service_learner(handler->service);
    struct learner_progress progress = {0};

    if (learner && learner_progress(learner, model->name, &progress) == 0)
        text_printf(text, ",\"rows\":%zu,\"rows_needed\":%zu", progress.rows, progress.rows_needed);
}

void handle_model(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live *live = service_live(handler->service);
    struct live_model *model = lookup_model(handler, request, reply);
    if (!model)
        return;

    /* Of one that cannot be loaded any more the summary says so, and that is all. */
    const bool is_held = model->state == LIVE_SERVING && live_hold(live, model, NULL) == 0;
    reply->status = 200;
    reply->content_type = "application/json";
    put_summary(handler, model, &reply->body);
    if (is_held) {
        put_detail(model, &reply->body);
        live_let_go(live, model);
    }
    if (model->state == LIVE_LEARNING) {
        put_first_inputs(handler, model, &reply->body);
        put_progress(handler, model, &reply->body);
    }
    text_puts(&reply->body, "}");
    lookup_release(handler, model);
}
