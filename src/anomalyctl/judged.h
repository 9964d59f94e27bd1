/* judged - a file of rows and what a model says of each of them. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "data/dataset.h"

struct detector;
struct input_options;
struct relevance_rule;
struct verdict;
struct workspace;

struct judged {
    struct detector *detector;
    struct workspace *workspace;  /* for detector_explain() */
    struct relevance_rule *rules; /* which deviations matter, as the model file says */
    struct dataset dataset;       /* prepared */
    double threshold;             /* for the false-alarm rate that the model was trained for */
    struct verdict *verdicts;     /* [dataset.n_rows] */
};

/* Loads a model file, "-" is standard input. Errors as from model_file_load(). */
MUST_CHECK int judged_load_model(const char *path, struct detector **ret_detector,
                                 struct error *reterr);

/* Loads the model, reads the file, prepares and scores all rows; is_independent: each stands alone,
 * else they are the series that the file says. -EINVAL also for a row with more than half of
 * its features missing. reterr without text: -ENOMEM. Release with judged_clear(). */
MUST_CHECK int judged_read(const char *model, const struct input_options *input,
                           bool is_independent, struct judged *ret_judged, struct error *reterr);
void judged_clear(struct judged *judged);
