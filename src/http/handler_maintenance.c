/* GET, POST and DELETE /v1/models/{m}/maintenance: windows without alarms, or without learning. */
#include "base/clock.h"
#include "base/number.h"
#include "data/timestamp.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/small_body.h"
#include "service/learner.h"

#include <errno.h>
#include <string.h>

#define SEND_THIS  "send {\"for\": \"2h\"}, or {\"from\": TIME, \"until\": TIME}"
#define LONGEST_US (UINT64_C(366) * 86400 * US_PER_S)

static int refuse(struct reply *reply, unsigned status, const char *key, const char *detail)
{
    small_body_refuse(reply, status, key, detail, SEND_THIS);
    return -EINVAL;
}

/* ---- the body ---- */

static int take_span(const json_t *value, uint64_t *ret_us)
{
    const char *text = json_string_value(value);

    return text && number_parse_duration_us(text, strlen(text), ret_us) == 0 && *ret_us > 0 &&
                   *ret_us <= LONGEST_US
               ? 0
               : -EINVAL;
}

/* RFC 3339, or Unix seconds as text or number. */
static int take_time(const json_t *value, uint64_t *ret_us)
{
    const char *text = json_string_value(value);
    double seconds = json_number_value(value);

    if (!json_is_number(value) && (!text || timestamp_parse(text, strlen(text), &seconds) < 0))
        return -EINVAL;
    if (!(seconds >= 0 && seconds <= 253402300799.0)) /* the end of the year 9999 */
        return -EINVAL;
    *ret_us = (uint64_t)(seconds * (double)US_PER_S);
    return 0;
}

static int take_flag(const json_t *value, bool *ret_flag)
{
    if (!json_is_boolean(value))
        return -EINVAL;
    *ret_flag = json_is_true(value);
    return 0;
}

static int take_member(struct maintenance_window *window, uint64_t *span_us, const char *key,
                       const json_t *value, struct reply *reply)
{
    if (strcmp(key, "for") == 0)
        return take_span(value, span_us) == 0
                   ? 0
                   : refuse(reply, 400, key, "must be a duration of at most 366d as in \"2h\"");
    if (strcmp(key, "from") == 0 || strcmp(key, "until") == 0)
        return take_time(value, *key == 'f' ? &window->from_us : &window->until_us) == 0
                   ? 0
                   : refuse(reply, 400, key, "must be a time in RFC 3339 or Unix seconds");
    if (strcmp(key, "skip_alarms") == 0 || strcmp(key, "skip_learning") == 0)
        return take_flag(value, key[5] == 'a' ? &window->skips_alarms : &window->skips_learning) ==
                       0
                   ? 0
                   : refuse(reply, 400, key, "must be true or false");
    return refuse(reply, 400, key, "is not a known key");
}

/* Begins now unless it says when; ends when it says, or after so long. */
static int complete(struct maintenance_window *window, uint64_t span_us, struct reply *reply)
{
    if (window->from_us == 0)
        window->from_us = clock_realtime_us();
    if ((span_us > 0) == (window->until_us > 0))
        return refuse(reply, 422, "for", "or until is needed, and not both");
    if (span_us > 0)
        window->until_us = window->from_us + span_us;
    if (window->until_us <= window->from_us || window->until_us <= clock_realtime_us())
        return refuse(reply, 422, "until", "must be after its beginning, and not be over already");
    if (!window->skips_alarms && !window->skips_learning)
        return refuse(reply, 422, "skip_alarms", "or skip_learning must be true");
    return 0;
}

/* -EINVAL: reply says why. */
static int read_window(const struct request *request, struct maintenance_window *ret_window,
                       struct reply *reply)
{
    json_auto_t *body = small_body_parse(request, SEND_THIS, reply);
    struct maintenance_window window = {.skips_alarms = true, .skips_learning = true};
    uint64_t span_us = 0;
    const char *key;
    json_t *value;

    if (!body)
        return -EINVAL;
    json_object_foreach(body, key, value)
    {
        if (take_member(&window, &span_us, key, value, reply) < 0)
            return -EINVAL;
    }
    if (complete(&window, span_us, reply) < 0)
        return -EINVAL;
    *ret_window = window;
    return 0;
}

/* ---- what is done: each answers with what there is after it ---- */

static int list(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_print_maintenance(learner, act->model, &act->text, reterr);
}

static int add(struct learner *learner, struct act *act, struct error *reterr)
{
    const int r = learner_add_maintenance(learner, act->model, &act->window, act->who, reterr);

    return r < 0 ? r : list(learner, act, reterr);
}

static int end(struct learner *learner, struct act *act, struct error *reterr)
{
    const int r = learner_end_maintenance(learner, act->model, act->run, act->who, reterr);

    return r < 0 ? r : list(learner, act, reterr);
}

void handle_maintenance(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, list, act_answer_text, reply);
}

void handle_add_maintenance(struct handler *handler, const struct request *request,
                            struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);

    if (act && read_window(request, &act->window, reply) == 0)
        act_begin(handler, TAKE(act), add, act_answer_text, reply);
}

void handle_end_maintenance(struct handler *handler, const struct request *request,
                            struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, end, act_answer_text, reply);
}
