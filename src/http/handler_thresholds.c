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
#include "service/budget.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/model_list.h"
#include "service/recent.h"
#include "service/service.h"

#include <errno.h>
#include <string.h>

#define SEND_THIS                                                                            \
    "send {\"false_alarm_rate\": 0.001} or {\"false_alarms_per_day\": 2}, or null to unset " \
    "either"

static const double rates[] = {0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001};

#define N_RATES (sizeof(rates) / sizeof(*rates))

/* What is known of a model's rows. */
struct rows_known {
    struct recent_rows recent;
    double per_day; /* observed for long enough; 0: not yet */
};

/* ---- what there is ---- */

static void put_number(struct text *text, const char *name, double number)
{
    text_printf(text, ",\"%s\":", name);
    if (number > 0.0)
        text_double(text, number);
    else
        text_puts(text, "null");
}

static void put_threshold(const struct live_model *model, const struct rows_known *rows,
                          double rate, struct text *text)
{
    const double per_day =
        rows->per_day > 0.0 ? rows->per_day : rows->recent.rows_per_second * BUDGET_DAY_S;
    const struct calibration *calibration = detector_calibration(model->detector);
    const double threshold = calibration_threshold(calibration, rate);

    text_puts(text, "{\"false_alarm_rate\":");
    text_double(text, rate);
    text_puts(text, ",\"threshold\":");
    text_double(text, threshold);
    text_printf(text, ",\"threshold_basis\":\"%s\",\"recent_alarms\":%zu",
                calibration_basis_name(calibration_basis(calibration, rate)),
                recent_rows_above(&rows->recent, threshold));
    put_number(text, "alarms_per_day", per_day * rate);
    text_puts(text, "}");
}

static void put_thresholds(const struct live_model *model, const struct rows_known *rows,
                           struct text *text)
{
    text_printf(text, ",\"recent_rows\":%zu", rows->recent.n_rows);
    put_number(text, "rows_per_second", rows->recent.rows_per_second);
    text_puts(text, ",\"in_force\":");
    put_threshold(model, rows, model->false_alarm_rate, text);
    text_puts(text, ",\"thresholds\":[");
    for (size_t i = 0; i < N_RATES; i++) {
        text_puts(text, i ? "," : "");
        put_threshold(model, rows, rates[i], text);
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

/* Of a budget: whether the rate follows from it, and how far that can be trusted. */
static void describe(const struct live_model *model, double rows_per_day, struct text *note)
{
    if (model->false_alarms_per_day == 0.0)
        return;
    if (!(rows_per_day > 0.0))
        text_printf(note,
                    "too few rows were scored to know how many come a day (it takes %g minutes and "
                    "%g rows): until then the false-alarm rate of the model file is assumed",
                    BUDGET_LEAST_S / 60, BUDGET_LEAST_ROWS);
    else if (model->false_alarms_per_day > BUDGET_MOST_RATE * rows_per_day)
        text_printf(note,
                    "so many false alarms are more than half of the rows a day: the false-alarm "
                    "rate is held at %g",
                    BUDGET_MOST_RATE);
    if (model->state != LIVE_SERVING || model->threshold_basis == CALIBRATION_CONFORMAL)
        return;
    text_puts(note, note->length ? "; " : "");
    model_list_describe_doubt(model, note);
}

static void put_budget(const struct live_model *model, double rows_per_day, struct text *text)
{
    CLEANUP(text_clear) struct text note = {0};

    put_number(text, "false_alarms_per_day", model->false_alarms_per_day);
    put_number(text, "rows_per_day", rows_per_day);
    describe(model, rows_per_day, &note);
    text_puts(text, ",\"note\":");
    if (note.length > 0)
        text_json_string(text, note.data, note.length);
    else
        text_puts(text, "null");
}

static void rows_known_clear(struct rows_known *rows)
{
    recent_rows_clear(&rows->recent);
}

static void print(struct handler *handler, const struct live_model *model, struct reply *reply)
{
    CLEANUP(rows_known_clear) struct rows_known rows = {0};
    struct learner *learner = service_learner(handler->service);
    struct text *text = &reply->body;

    if (model->recent && recent_read(model->recent, clock_monotonic_us(), &rows.recent) < 0) {
        reply_no_memory(reply);
        return;
    }
    rows.per_day = learner ? learner_rows_per_day(learner, model->name) : 0.0;
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(text, "{\"model\":\"%s\",\"version\":%u,\"set_by\":\"%s\"", model->name,
                model->version, live_rate_source_name(model->rate_source));
    put_budget(model, rows.per_day, text);
    if (model->state == LIVE_SERVING)
        put_thresholds(model, &rows, text);
    else
        put_no_thresholds(model, text);
    text_puts(text, "}");
}

void handle_thresholds(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live_model *model = lookup_model(handler, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED) {
        lookup_refuse_failed(handler, model, reply);
    } else if (model->state == LIVE_LEARNING) {
        print(handler, model, reply);
    } else if (lookup_hold(handler, &model, reply)) {
        print(handler, model, reply);
        lookup_let_go(handler, model);
    }
    lookup_release(handler, model);
}

/* ---- the choice ---- */

static int refuse(struct reply *reply, unsigned status, const char *key, const char *detail)
{
    small_body_refuse(reply, status, key, detail, SEND_THIS);
    return -EINVAL;
}

/* Of null: 0. */
static int take(const char *key, const json_t *value, bool (*is_fit)(double value),
                const char *range, double *ret_value, struct reply *reply)
{
    const double number = json_number_value(value);

    if (!json_is_number(value) && !json_is_null(value))
        return refuse(reply, 400, key, "must be a number or null");
    if (!json_is_null(value) && !is_fit(number))
        return refuse(reply, 422, key, range);
    *ret_value = number;
    return 0;
}

static bool is_rate(double value)
{
    return value >= BUDGET_LEAST_RATE && value < 1.0;
}

static bool is_budget(double value)
{
    return value >= BUDGET_MIN && value <= BUDGET_MAX;
}

/* -EINVAL: reply says why. */
static int read_aim(const struct request *request, struct act *act, struct reply *reply)
{
    json_auto_t *body = small_body_parse(request, SEND_THIS, reply);
    const json_t *rate = json_object_get(body, "false_alarm_rate");
    const json_t *budget = json_object_get(body, "false_alarms_per_day");
    const char *key;
    json_t *value;

    if (!body)
        return -EINVAL;
    json_object_foreach(body, key, value)
    {
        if (value != rate && value != budget)
            return refuse(reply, 400, key, "is not a known key");
    }
    if (rate && budget)
        return refuse(reply, 400, "false_alarms_per_day",
                      "stands beside \"false_alarm_rate\": one of the two is enough");
    if (budget)
        return take("false_alarms_per_day", budget, is_budget, "must be from 0.001 to 1000000",
                    &act->alarms_per_day, reply);
    return rate ? take("false_alarm_rate", rate, is_rate, "must be from 1e-9 to below 1",
                       &act->rate, reply)
                : refuse(reply, 422, "false_alarm_rate", "is missing");
}

static int perform(struct learner *learner, struct act *act, struct error *reterr)
{
    return act->alarms_per_day > 0.0
               ? learner_set_budget(learner, act->model, act->alarms_per_day, act->who, reterr)
               : learner_set_rate(learner, act->model, act->rate, act->who, reterr);
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

    if (!act || read_aim(request, act, reply) < 0)
        return;
    act_begin(handler, TAKE(act), perform, answer, reply);
}
