/* What the configuration says of a model, for its pupil. */
#include "base/clock.h"
#include "detector/relevance.h"
#include "service/learner_state.h"

#include <string.h>

struct pupil_settings pupil_settings_of(struct learner *learner, const struct config_model *model)
{
    struct pupil_settings settings = {
        .learning =
            {
                       .buffer_rows = model->buffer_rows,
                       .min_rows = model->min_rows,
                       .retrain_rows = model->retrain_rows,
                       .retrain_every_us = model->retrain_every_us,
                       .retrain_min_interval_us = model->retrain_min_interval_us,
                       .retrain_on_drift = model->retrain_on_drift,
                       .is_strict = model->is_strict,
                       .learns_scored = model->learn == CONFIG_LEARN_AUTO,
                       .follow_after = model->follow_after,
                       .sample_rate = model->sample_rate,
                       .alarm = model->alarm,
                       .maintenance = {.calendar = model->maintenance,
                                .skips_alarms = model->maintenance_skips & MAINTENANCE_ALARMS,
                                .skips_learning = model->maintenance_skips & MAINTENANCE_LEARNING},
                       .seed = 1,
                       .next_event_id = learner_next_event,
                       .userdata = learner,
                       },
        .max_memory = model->retrain_max_memory,
        .max_run_s = model->retrain_max_time_us / US_PER_S,
        .keep_versions = model->keep_versions,
        .false_alarm_rate = model->false_alarm_rate,
        .false_alarms_per_day = model->false_alarms_per_day,
        .reject_missing = model->reject_missing,
        .names_features = model->n_features > 0,
        .prepare = model->prepare,
        .max_series = model->max_series,
        .stale_after_us = model->stale_after_us,
        .recipe = model->recipe,
        .relevance = model->relevance,
    };

    memcpy(settings.has_option, model->has_option, sizeof(settings.has_option));
    return settings;
}

void pupil_clear_settings(const struct pupil_settings *settings)
{
    prepare_spec_free(settings->prepare);
    relevance_release(settings->relevance);
}

void pupil_keep_settings(struct pupil_settings *settings, const struct pupil_settings *wanted)
{
    const struct pupil_settings was = *settings;

    *settings = *wanted;
    settings->prepare = prepare_spec_share(wanted->prepare);
    settings->relevance = relevance_share(wanted->relevance);
    pupil_clear_settings(&was);
}
