/* GET and PUT /v1/models/{m}/thresholds: what each false-alarm rate would cost, and the choice. */
#include "base/clock.h"
#include "base/text.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/small_body.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/recent.h"

#include <errno.h>
#include <string.h>

#define LEAST_RATE    1e-9 /* as in the configuration */
#define SECONDS_A_DAY 86400.0
#define SEND_THIS     "send {\"false_alarm_rate\": 0.001}, or null to unset it"

static const double rates[] = {0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001};

#define N_RATES (sizeof(rates) / sizeof(*rates))

/* ---- what there is ---- */

static void put_threshold(const struct live_model *model, const struct recent_rows *recent,
                          double rate, struct text *text)
{
    const struct calibration *calibration = detector_calibration(model->detector);
    const double threshold = calibration_threshold(calibration, rate);

    text_puts(text, "{\"false_alarm_rate\":");
    text_double(text, rate);
    text_puts(text, ",\"threshold\":");
    text_double(text, threshold);
    text_printf(text, ",\"threshold_basis\":\"%s\",\"recent_alarms\":%zu,\"alarms_per_day\":",
                calibration_basis_name(calibration_basis(calibration, rate)),
                recent_rows_above(recent, threshold));
    if (recent->n_rows > 0)
        text_double(text, recent->rows_per_second * SECONDS_A_DAY * rate);
    else
        text_puts(text, "null");
    text_puts(text, "}");
}

static void put_thresholds(const struct live_model *model, const struct recent_rows *recent,
                           struct text *text)
{
    text_printf(text, ",\"recent_rows\":%zu,\"rows_per_second\":", recent->n_rows);
    if (recent->n_rows > 0)
        text_double(text, recent->rows_per_second);
    else
        text_puts(text, "null");
    text_puts(text, ",\"in_force\":");
    put_threshold(model, recent, model->false_alarm_rate, text);
    text_puts(text, ",\"thresholds\":[");
    for (size_t i = 0; i < N_RATES; i++) {
        text_puts(text, i ? "," : "");
        put_threshold(model, recent, rates[i], text);
    }
    text_puts(text, "]");
}

/* Of a model without a version the rate alone is known, and only if somebody has said it. */
static void put_no_thresholds(const struct live_model *model, struct text *text)
{
    text_puts(text, ",\"recent_rows\":0,\"rows_per_second\":null,\"in_force\":");
    if (model->false_alarm_rate > 0.0) {
        text_puts(text, "{\"false_alarm_rate\":");
        text_double(text, model->false_alarm_rate);
        text_puts(text, "}");
    } else {
        text_puts(text, "null");
    }
    text_puts(text, ",\"thresholds\":[]");
}

static void print(const struct live_model *model, struct reply *reply)
{
    CLEANUP(recent_rows_clear) struct recent_rows recent = {0};
    struct text *text = &reply->body;

    if (model->recent && recent_read(model->recent, clock_monotonic_us(), &recent) < 0) {
        reply_no_memory(reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(text, "{\"model\":\"%s\",\"version\":%u,\"set_by\":\"%s\"", model->name,
                model->version, live_rate_source_name(model->rate_source));
    if (model->state == LIVE_SERVING)
        put_thresholds(model, &recent, text);
    else
        put_no_thresholds(model, text);
    text_puts(text, "}");
}

void handle_thresholds(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live_model *model = lookup_model(handler, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED)
        lookup_refuse_failed(model, reply);
    else
        print(model, reply);
    lookup_release(handler, model);
}

/* ---- the choice ---- */

static int refuse(struct reply *reply, unsigned status, const char *key, const char *detail)
{
    small_body_refuse(reply, status, key, detail, SEND_THIS);
    return -EINVAL;
}

static int take_rate(const json_t *value, double *ret_rate, struct reply *reply)
{
    const double rate = json_number_value(value);

    if (!json_is_number(value) && !json_is_null(value))
        return refuse(reply, 400, "false_alarm_rate", "must be a number or null");
    if (!json_is_null(value) && !(rate >= LEAST_RATE && rate < 1.0))
        return refuse(reply, 422, "false_alarm_rate", "must be from 1e-9 to below 1");
    *ret_rate = rate; /* of null: 0 */
    return 0;
}

/* -EINVAL: reply says why. */
static int read_rate(const struct request *request, double *ret_rate, struct reply *reply)
{
    json_auto_t *body = small_body_parse(request, SEND_THIS, reply);
    const json_t *rate = json_object_get(body, "false_alarm_rate");
    const char *key;
    json_t *value;

    if (!body)
        return -EINVAL;
    json_object_foreach(body, key, value)
    {
        if (value != rate)
            return refuse(reply, 400, key, "is not a known key");
    }
    return rate ? take_rate(rate, ret_rate, reply)
                : refuse(reply, 422, "false_alarm_rate", "is missing");
}

static int perform(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_set_rate(learner, act->model, act->rate, act->who, reterr);
}

/* What is in force after it. */
static void answer(struct handler *handler, struct act *act, struct reply *reply)
{
    const struct request asked = {.model = act->model, .model_length = strlen(act->model)};

    handle_thresholds(handler, &asked, reply);
}

void handle_set_thresholds(struct handler *handler, const struct request *request,
                           struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);

    if (!act || read_rate(request, &act->rate, reply) < 0)
        return;
    act_begin(handler, TAKE(act), perform, answer, reply);
}
