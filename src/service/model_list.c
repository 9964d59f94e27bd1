#include "service/model_list.h"

#include "base/log.h"
#include "detector/calibration.h"
#include "service/live.h"

#include <stdio.h>
#include <stdlib.h>

void model_list_clear(struct model_list *list)
{
    for (size_t i = 0; i < list->n_models; i++)
        live_release(list->live, list->models[i]);
    free(list->models);
}

int model_list_get(struct live *live, struct model_list *ret_list)
{
    ret_list->live = live;
    return live_acquire_all(live, &ret_list->models, &ret_list->n_models);
}

void model_list_describe(const struct live_model *model, struct text *text)
{
    text_printf(text, "model %s: version %u, %zu features, threshold ", model->name, model->version,
                model->n_features);
    text_double(text, model->threshold);
    text_puts(text, " for a false-alarm rate of ");
    text_double(text, model->false_alarm_rate);
}

void model_list_describe_doubt(const struct live_model *model, struct text *text)
{
    const char *basis = model->threshold_basis == CALIBRATION_TAIL_FIT
                            ? "an estimate, a tail fit to the largest of these,"
                            : "the largest error of these";

    text_printf(text, "model %s: a false-alarm rate of ", model->name);
    text_double(text, model->false_alarm_rate);
    text_printf(text,
                " needs %zu calibration rows, the model has %zu: %s is the threshold, and the rate "
                "is not promised; train with more rows or allow more false alarms",
                calibration_rows_needed(model->false_alarm_rate), model->n_calibration, basis);
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
        log_fields(LOG_ERR, fields, "model %s failed: %s", model->name, model->error->text);
        return;
    }
    model_list_describe(model, &line);
    if (!text_failed(&line))
        log_fields(LOG_INFO, fields, "%s", line.data);
    if (model->threshold_basis == CALIBRATION_CONFORMAL)
        return;
    model_list_describe_doubt(model, &doubt);
    if (!text_failed(&doubt))
        log_fields(LOG_WARNING, fields, "%s", doubt.data);
}

void model_list_log(struct live *live)
{
    CLEANUP(model_list_clear) struct model_list list = {0};

    if (model_list_get(live, &list) < 0)
        return;
    for (size_t i = 0; i < list.n_models; i++)
        log_model(list.models[i]);
}
