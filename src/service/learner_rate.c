/* The false-alarm rate in force: what a person has put goes before the configuration, which goes
 * before the model file. */
#include "base/log.h"
#include "service/learner_state.h"

#include <stdio.h>
#include <string.h>

struct live_source pupil_source(const struct pupil *pupil)
{
    const double put = pupil->log.false_alarm_rate;

    return (struct live_source){
        .name = pupil->name,
        .false_alarm_rate = put > 0.0 ? put : pupil->settings.false_alarm_rate,
        .is_rate_put = put > 0.0,
        .reject_missing = pupil->settings.reject_missing,
    };
}

static bool is_at_rate(const struct live_model *model, const struct live_source *source)
{
    if (source->false_alarm_rate > 0.0)
        return model->false_alarm_rate == source->false_alarm_rate &&
               (model->rate_source == LIVE_RATE_PUT) == source->is_rate_put;
    return model->rate_source == LIVE_RATE_OF_FILE;
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

/* Under the pupil's lock: in the store first, for what is in force must not be forgotten. */
static int set_rate(struct pupil *pupil, double rate, struct error *reterr)
{
    struct database *database = pupil->learner->database;
    const double former = pupil->log.false_alarm_rate;
    struct error why;

    if (pupil->log.id == 0)
        return error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has learned nothing yet",
                         pupil->name);
    int r = model_log_set_rate(database, pupil->log.id, rate);
    if (r < 0)
        return learner_store_failed(r, reterr);
    pupil->log.false_alarm_rate = rate;
    if (pupil_follow_rate(pupil, &why) == 0)
        return 0;
    pupil->log.false_alarm_rate = former;
    if (model_log_set_rate(database, pupil->log.id, former) < 0)
        log_warning("model %s: the next start may bring another false-alarm rate: the store failed",
                    pupil->name);
    return error_set(reterr, LEARNER_CONFLICT, "The version that answers cannot be read: %s",
                     why.text);
}

int learner_set_rate(struct learner *learner, const char *model, double false_alarm_rate,
                     const char *who, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    char detail[64] = "unset";
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    if (false_alarm_rate > 0)
        (void)snprintf(detail, sizeof(detail), "false_alarm_rate %.15g", false_alarm_rate);
    pupil_lock(pupil);
    const int r = set_rate(pupil, false_alarm_rate, reterr);
    if (r == 0)
        pupil_audit(pupil, who, "thresholds", detail);
    pupil_unlock(pupil);
    return r;
}
