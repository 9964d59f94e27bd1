/* What users send to a model that learns, and how that is prepared: by the version that answers,
 * or, before the first one, as the configuration says. */
#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "service/learner_state.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* NULL: rows are learned from as they come. */
static const struct prepare_spec *spec_of(const struct pupil_settings *settings)
{
    const struct prepare_spec *spec = settings->prepare;

    return spec && !prepare_spec_is_plain(spec) ? spec : NULL;
}

void pupil_set_preparation(struct pupil *pupil, struct preparation *preparation)
{
    (void)pthread_mutex_lock(&pupil->view_lock);
    struct preparation *was = pupil->preparation;
    pupil->preparation = preparation_share(preparation);
    (void)pthread_mutex_unlock(&pupil->view_lock);
    preparation_free(was);
}

int pupil_inputs(struct pupil *pupil, struct schema **ret_values,
                 struct preparation **ret_preparation)
{
    struct error ignored;
    int r = -ENODATA;

    (void)pthread_mutex_lock(&pupil->view_lock);
    struct preparation *preparation = pupil->preparation;
    if (preparation)
        r = schema_new(schema_names(preparation->values), schema_n_features(preparation->values),
                       ret_values, &ignored);
    else if (pupil->features)
        r = schema_new((const char *const *)pupil->features, pupil->n_features, ret_values,
                       &ignored);
    if (r == 0)
        *ret_preparation = preparation_share(preparation);
    (void)pthread_mutex_unlock(&pupil->view_lock);
    return r;
}

/* ---- before the first version ---- */

static int plan(const struct pupil_settings *settings, const char *const *names, size_t n_names,
                struct preparation **ret_preparation, struct error *reterr)
{
    const struct prepare_spec *spec = spec_of(settings);
    struct error why = {0};

    if (!spec)
        return 0;
    const int r = preparation_new(spec, names, n_names, ret_preparation, &why);
    return r < 0
               ? error_set(reterr, LEARNER_UNFIT, "The model's prepare does not fit: %s", why.text)
               : 0;
}

int learner_plan_inputs(struct learner *learner, const char *model, const struct schema *values,
                        struct preparation **ret_preparation, struct error *reterr)
{
    struct pupil *pupil = learner_find(learner, model);
    int r;

    if (pupil) {
        pupil_lock(pupil);
        r = plan(&pupil->settings, schema_names(values), schema_n_features(values), ret_preparation,
                 reterr);
        pupil_unlock(pupil);
        return r;
    }
    (void)pthread_mutex_lock(&learner->create_lock);
    r = plan(&learner->template, schema_names(values), schema_n_features(values), ret_preparation,
             reterr);
    (void)pthread_mutex_unlock(&learner->create_lock);
    return r;
}

/* So that a restart before the first version knows what users send. */
static int remember(struct pupil *pupil, const char *const *names, size_t n_names)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < n_names; i++)
        if (json_array_append_new(list, json_string(names[i])) < 0)
            return -ENOMEM;
    AUTO_FREE char *text = json_dumps(list, JSON_COMPACT);
    return text ? model_log_set_inputs(pupil->learner->database, pupil->log.id, text) : -ENOMEM;
}

int pupil_open_inputs(struct pupil *pupil, const char *const *names, size_t n_names)
{
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;
    struct error why;

    int r = plan(&pupil->settings, names, n_names, &preparation, &why);
    if (r < 0)
        return r;
    if (!preparation)
        return pupil_open(pupil, names, n_names, NULL);
    const struct schema *features = preparation->features;
    r = pupil_open(pupil, schema_names(features), schema_n_features(features), preparation);
    return r < 0 ? r : remember(pupil, names, n_names);
}

bool pupil_prepares_otherwise(struct pupil *pupil)
{
    const struct prepare_spec *spec = spec_of(&pupil->settings);
    const struct schema *values;
    struct preparation *wanted = NULL;
    bool is_other = false;

    if (!pupil->live || !spec || pupil_hold(pupil) < 0) /* plain is what nobody need have said */
        return false;
    values = detector_values(pupil->live->detector);
    if (spec &&
        preparation_new(spec, schema_names(values), schema_n_features(values), &wanted, NULL) < 0)
        return true;
    is_other = !preparation_equals(wanted, detector_preparation(pupil->live->detector));
    preparation_free(wanted);
    return is_other;
}
