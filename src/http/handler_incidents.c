/* GET /v1/models/{m}/incidents, …/incidents/{id} and …/incidents/{id}/rows: stretches of trouble,
 * newest first, and what their series looked like. */
#include "base/clock.h"
#include "base/number.h"
#include "data/timestamp.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_LIMIT 100
#define MOST          1000

/* ---- the query ---- */

static int take_open(const char *value, struct act *act)
{
    const bool is_true = strcmp(value, "true") == 0;

    if (!is_true && strcmp(value, "false") != 0)
        return -EINVAL;
    act->filter.is_open = is_true;
    return 0;
}

static int take_opened_by(const char *value, struct act *act)
{
    for (unsigned opener = EVENT_BY_SOFT; opener <= EVENT_BY_ALARM; opener *= 2)
        if (strcmp(value, learning_opener_name(opener)) == 0) {
            act->filter.opened_by = opener;
            return 0;
        }
    return -EINVAL;
}

static int take_series(const char *value, struct act *act)
{
    const size_t length = strlen(value);

    if (length >= sizeof(act->series))
        return -EINVAL;
    memcpy(act->series, value, length + 1);
    act->filter.series = act->series;
    return 0;
}

static int take_time(const char *value, uint64_t *ret_us)
{
    double seconds = 0;

    int r = timestamp_parse(value, strlen(value), &seconds);
    if (r == 0 && seconds >= 0)
        *ret_us = (uint64_t)(seconds * (double)US_PER_S);
    return r;
}

static int take_since(const char *value, struct act *act)
{
    return take_time(value, &act->filter.since_us);
}

static int take_until(const char *value, struct act *act)
{
    return take_time(value, &act->filter.until_us);
}

static int take_before(const char *value, struct act *act)
{
    return number_parse_u64(value, strlen(value), &act->filter.before);
}

static int take_limit(const char *value, struct act *act)
{
    uint64_t most = 0;

    if (number_parse_u64(value, strlen(value), &most) < 0 || most < 1 || most > MOST)
        return -EINVAL;
    act->most = (size_t)most;
    return 0;
}

static const struct {
    const char *name;
    int (*take)(const char *value, struct act *act);
    const char *must;
} parameters[] = {
    {"open",      take_open,      "true or false"                          },
    {"opened_by", take_opened_by, "alarm, hard or soft"                    },
    {"series",    take_series,    "the name of a series"                   },
    {"since",     take_since,     "a time in RFC 3339 or Unix seconds"     },
    {"until",     take_until,     "a time in RFC 3339 or Unix seconds"     },
    {"before",    take_before,    "an id: \"before\" of the page before it"},
    {"limit",     take_limit,     "a whole number from 1 to 1000"          },
};

#define N_PARAMETERS (sizeof(parameters) / sizeof(*parameters))

static int take_parameter(const struct request_parameter *parameter, struct act *act,
                          struct reply *reply)
{
    char shown[TEXT_SHOWN_SIZE];

    for (size_t i = 0; i < N_PARAMETERS; i++) {
        if (strcmp(parameter->name, parameters[i].name) != 0)
            continue;
        if (parameters[i].take(parameter->value, act) == 0)
            return 0;
        reply_problem(reply, 400, "The parameter \"%s\" must be %s", parameters[i].name,
                      parameters[i].must);
        return -EINVAL;
    }
    reply_problem(
        reply, 400,
        "There is no parameter \"%s\"; incidents are asked for by open, opened_by, series, "
        "since, until, before and limit",
        text_show(shown, parameter->name, strlen(parameter->name)));
    return -EINVAL;
}

static int read_query(const struct request *request, struct act *act, struct reply *reply)
{
    act->filter.is_open = -1;
    act->most = DEFAULT_LIMIT;
    if (request->n_parameters > REQUEST_MAX_PARAMETERS) {
        reply_problem(reply, 400, "There are more than %d parameters", REQUEST_MAX_PARAMETERS);
        return -EINVAL;
    }
    for (size_t i = 0; i < request->n_parameters; i++)
        if (take_parameter(&request->parameters[i], act, reply) < 0)
            return -EINVAL;
    return 0;
}

/* ---- the answers ---- */

static int print_list(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_print_incidents(learner, act->model, &act->filter, act->most, &act->text,
                                   reterr);
}

static int print_one(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_print_incident(learner, act->model, (uint64_t)act->run, &act->text, reterr);
}

void handle_incidents(struct handler *handler, const struct request *request, struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);

    if (act && read_query(request, act, reply) == 0)
        act_begin(handler, TAKE(act), print_list, act_answer_text, reply);
}

void handle_incident(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, print_one, act_answer_text, reply);
}

static int print_rows(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_print_flight(learner, act->model, (uint64_t)act->run, &act->text, reterr);
}

static void answer_rows(struct handler *handler, struct act *act, struct reply *reply)
{
    act_answer_text(handler, act, reply);
    reply->content_type = "application/x-ndjson";
}

void handle_incident_rows(struct handler *handler, const struct request *request,
                          struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, print_rows, answer_rows, reply);
}
