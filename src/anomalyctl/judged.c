#include "anomalyctl/judged.h"

#include "anomalyctl/options.h"
#include "base/file.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/judge.h"
#include "detector/model_file.h"
#include "detector/relevance.h"

#include <errno.h>
#include <string.h>

void judged_clear(struct judged *judged)
{
    detector_free(judged->detector);
    detector_workspace_free(judged->workspace);
    free(judged->rules);
    dataset_clear(&judged->dataset);
    free(judged->verdicts);
    *judged = (struct judged){0};
}

static int check_missing(const struct dataset *dataset, const char *path, struct error *reterr)
{
    for (size_t i = 0; i < dataset->n_rows; i++)
        if (dataset_is_incomplete(dataset, i))
            return error_set_at(reterr, -EINVAL, path, dataset->lines[i],
                                "%zu of the model's %zu features are missing, more than half; give "
                                "more of them or leave the row out",
                                dataset_count_missing(dataset, i), dataset->n_features);
    return 0;
}

static int score_rows(struct judged *judged)
{
    const struct detector *detector = judged->detector;
    const size_t n_rows = judged->dataset.n_rows;

    judged->threshold = calibration_threshold(detector_calibration(detector),
                                              detector_summary(detector)->recipe.false_alarm_rate);
    judged->verdicts = calloc(n_rows + 1, sizeof(*judged->verdicts));
    if (!judged->verdicts)
        return -ENOMEM;
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    int r = detector_workspace_new(&judged->workspace);
    if (r == 0)
        r = relevance_bind(detector_relevance(detector), &vocabulary, &judged->rules, NULL);
    return r < 0 ? r
                 : judge_rows(detector, judged->rules, judged->workspace, judged->dataset.rows,
                              n_rows, judged->threshold, judged->verdicts);
}

int judged_load_model(const char *path, struct detector **ret_detector, struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(path, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    return r < 0 ? r : model_file_parse(input_name(path), data, size, ret_detector, reterr);
}

/* Rows as the model sees them. */
static int read_rows(struct judged *judged, const struct input_options *input, bool is_independent,
                     struct error *reterr)
{
    const struct preparation *preparation = detector_preparation(judged->detector);
    const char *name = input_name(input->data);
    const struct dataset_options options = {
        .label_column = input->label_column,
        .exclude = input->exclude.names,
        .n_exclude = input->exclude.n_names,
        .schema = detector_values(judged->detector),
        .preparation = preparation,
        .with_timestamps = preparation != NULL,
        .with_series = true,
    };

    int r = dataset_read(input->data, &options, &judged->dataset, reterr);
    if (r == 0)
        r = check_missing(&judged->dataset, name, reterr);
    if (r == 0 && preparation)
        r = dataset_prepare(&judged->dataset, name, preparation, is_independent, reterr);
    return r;
}

int judged_read(const char *model, const struct input_options *input, bool is_independent,
                struct judged *ret_judged, struct error *reterr)
{
    CLEANUP(judged_clear) struct judged judged = {0};

    int r = judged_load_model(model, &judged.detector, reterr);
    if (r == 0)
        r = read_rows(&judged, input, is_independent, reterr);
    if (r == 0)
        r = score_rows(&judged);
    if (r < 0)
        return r;
    for (size_t i = 0; judged.dataset.is_late && i < judged.dataset.n_rows; i++)
        judged.verdicts[i].is_late = judged.dataset.is_late[i];
    *ret_judged = judged;
    judged = (struct judged){0};
    return 0;
}
