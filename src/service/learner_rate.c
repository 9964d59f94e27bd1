/* The false-alarm rate in force: what a person has put goes before the configuration, which goes
 * before the model file. Instead of a rate it may be a number of false alarms a day: then the rate
 * follows the rows a day (service/budget.h). */
#include "base/log.h"
#include "detector/detector.h"
#include "detector/relevance.h"
#include "service/learner_state.h"
#include "service/stats.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* What is asked for: at most one is not 0. */
struct aim {
    double rate, alarms_per_day;
};

static struct aim aim_put(const struct pupil *pupil)
{
    return (struct aim){pupil->log.false_alarm_rate, pupil->log.false_alarms_per_day};
}

static bool is_put(struct aim put)
{
    return put.rate > 0.0 || put.alarms_per_day > 0.0;
}

struct live_source pupil_source(const struct pupil *pupil)
{
    const struct pupil_settings *settings = &pupil->settings;
    const struct aim put = aim_put(pupil);
    const struct aim aim =
        is_put(put) ? put
                    : (struct aim){settings->false_alarm_rate, settings->false_alarms_per_day};

    return (struct live_source){
        .name = pupil->name,
        .false_alarm_rate = aim.alarms_per_day > 0.0
                                ? budget_rate(aim.alarms_per_day, pupil->log.rows_per_day)
                                : aim.rate,
        .false_alarms_per_day = aim.alarms_per_day,
        .is_rate_put = is_put(put),
        .reject_missing = settings->reject_missing,
        .max_series = settings->max_series,
        .relevance = settings->relevance,
    };
}

int pupil_relevance(const struct pupil *pupil, struct relevance **ret_relevance)
{
    assert(!pupil->live || pupil->is_held);
    return relevance_override(pupil->live ? detector_relevance(pupil->live->detector) : NULL,
                              pupil->settings.relevance, ret_relevance);
}

static bool is_at_rate(const struct live_model *model, const struct live_source *source)
{
    const double rate =
        source->false_alarm_rate > 0.0 ? source->false_alarm_rate : model->rate_of_file;

    return model->false_alarm_rate == rate &&
           model->false_alarms_per_day == source->false_alarms_per_day &&
           model->rate_source == live_rate_source(source);
}

int pupil_follow_rate(struct pupil *pupil, struct error *reterr)
{
    struct live *live = pupil->learner->live;
    struct live_source source = pupil_source(pupil);
    struct live_model *model = live_acquire(live, pupil->name, strlen(pupil->name));
    int r = 0;

    if (model && model->state != LIVE_FAILED && !is_at_rate(model, &source)) {
        source.file = model->file;
        source.sha256 = model->checksum;
        source.version = model->version;
        r = live_put(live, &source, reterr);
        if (r == 0) {
            r = pupil_bind(pupil, true);
            r = r < 0 ? error_set(reterr, r, "%s", strerrordesc_np(-r)) : 0;
        }
    }
    live_release(live, model);
    return r;
}

/* ---- what a person puts ---- */

static int log_aim(struct pupil *pupil, struct aim aim)
{
    const int r =
        model_log_set_rate(pupil->learner->database, pupil->log.id, aim.rate, aim.alarms_per_day);

    if (r == 0) {
        pupil->log.false_alarm_rate = aim.rate;
        pupil->log.false_alarms_per_day = aim.alarms_per_day;
    }
    return r;
}

static int check_aim(const struct pupil *pupil, struct aim aim, struct error *reterr)
{
    const double most = BUDGET_MOST_RATE * pupil->log.rows_per_day;

    if (pupil->log.id == 0)
        return error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has learned nothing yet",
                         pupil->name);
    if (most > 0.0 && aim.alarms_per_day > most)
        return error_set(reterr, LEARNER_UNFIT,
                         "%.15g false alarms a day are more than half of the %.4g rows a day that "
                         "model \"%s\" scores: ask for at most %.4g",
                         aim.alarms_per_day, pupil->log.rows_per_day, pupil->name, most);
    return 0;
}

/* Under the pupil's lock: in the store first, for what is in force must not be forgotten. */
static int set_aim(struct pupil *pupil, struct aim aim, struct error *reterr)
{
    const struct aim former = aim_put(pupil);
    struct error why;

    int r = check_aim(pupil, aim, reterr);
    if (r < 0)
        return r;
    r = log_aim(pupil, aim);
    if (r < 0)
        return learner_store_failed(r, reterr);
    if (pupil_follow_rate(pupil, &why) == 0)
        return 0;
    if (log_aim(pupil, former) < 0) {
        pupil->log.false_alarm_rate = former.rate;
        pupil->log.false_alarms_per_day = former.alarms_per_day;
        log_warning("model %s: the next start may bring another false-alarm rate: the store failed",
                    pupil->name);
    }
    return error_set(reterr, LEARNER_CONFLICT, "The version that answers cannot be read: %s",
                     why.text);
}

static int put_aim(struct learner *learner, const char *model, struct aim aim, const char *who,
                   struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    char detail[64] = "unset";
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    if (aim.rate > 0)
        (void)snprintf(detail, sizeof(detail), "false_alarm_rate %.15g", aim.rate);
    if (aim.alarms_per_day > 0)
        (void)snprintf(detail, sizeof(detail), "false_alarms_per_day %.15g", aim.alarms_per_day);
    pupil_lock(pupil);
    const int r = set_aim(pupil, aim, reterr);
    if (r == 0)
        pupil_audit(pupil, who, "thresholds", detail);
    pupil_unlock(pupil);
    return r;
}

int learner_set_rate(struct learner *learner, const char *model, double false_alarm_rate,
                     const char *who, struct error *reterr)
{
    return put_aim(learner, model, (struct aim){.rate = false_alarm_rate}, who, reterr);
}

int learner_set_budget(struct learner *learner, const char *model, double false_alarms_per_day,
                       const char *who, struct error *reterr)
{
    return put_aim(learner, model, (struct aim){.alarms_per_day = false_alarms_per_day}, who,
                   reterr);
}

/* ---- rows a day ---- */

double learner_rows_per_day(struct learner *learner, const char *model)
{
    struct pupil *pupil = learner_find(learner, model);

    return pupil ? pupil_look(pupil).rows_per_day : 0.0;
}

/* A budget's threshold follows; one that cannot is tried again each time, but told once. */
static void follow_budget(struct pupil *pupil, bool has_moved)
{
    const struct live_source source = pupil_source(pupil);
    struct error why;

    if (source.false_alarms_per_day == 0.0)
        return;
    const int r = pupil_follow_rate(pupil, &why);
    if (has_moved && r < 0)
        log_warning("model %s: the threshold does not follow the rows a day: %s", pupil->name,
                    why.text);
    else if (has_moved)
        log_info("model %s: %.4g rows a day: the false-alarm rate is %.4g, for %.15g false alarms "
                 "a day",
                 pupil->name, pupil->log.rows_per_day, source.false_alarm_rate,
                 source.false_alarms_per_day);
}

/* Under the pupil's lock. What is stored is what is followed, so that a restart changes nothing;
 * also when it has been seen for twice as long, so that it weighs as much. */
static void count_rows(struct pupil *pupil, uint64_t now_us)
{
    struct learner *learner = pupil->learner;
    struct logged_model *log = &pupil->log;
    struct budget_meter *meter = &pupil->meter;
    if (!pupil->live || log->id == 0)
        return;

    if (meter->seconds == 0.0 && log->observed_s > 0.0)
        budget_meter_resume(meter, log->rows_per_day, log->observed_s);
    budget_meter_count(meter, stats_rows_scored(learner->stats, pupil->live->stats), now_us);
    const double rows_per_day = budget_meter_rows_per_day(meter);
    const bool has_moved = rows_per_day > 0.0 && budget_has_moved(log->rows_per_day, rows_per_day);
    if (has_moved || (rows_per_day > 0.0 && meter->seconds >= 2 * log->observed_s)) {
        log->rows_per_day = has_moved ? rows_per_day : log->rows_per_day;
        log->observed_s = meter->seconds;
        learner_note(learner, model_log_set_observed(learner->database, log->id, log->rows_per_day,
                                                     log->observed_s));
    }
    follow_budget(pupil, has_moved);
}

void learner_count_rows(struct learner *learner, uint64_t now_us)
{
    struct pupil *pupil;

    for (size_t i = 0; (pupil = learner_nth(learner, i)); i++) {
        pupil_lock(pupil);
        count_rows(pupil, now_us);
        pupil_unlock_as_before(pupil);
    }
}
