/* What a run trains on, and whether its candidate may serve. */
#include "detector/calibration.h"
#include "detector/detector.h"
#include "service/guard.h"
#include "service/learning_state.h"
#include "service/thinning.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_TRAIN       1000 /* rows, and 20 a feature: the gate's minimum */
#define ROWS_A_FEATURE    20
#define LEAST_CALIBRATION 20
#define STRETCH           500 /* rows that share a shift: their median moves by 0.06 sd by chance */

void training_set_clear(struct training_set *set)
{
    free(set->rows);
    free(set->calibration);
    free(set->held);
    free(set->confirmed);
    *set = (struct training_set){0};
}

static int read_part(struct learning *learning, enum row_role role, size_t newest, size_t older,
                     float **ret_rows, size_t *ret_n_rows)
{
    CLEANUP(row_block_clear) struct row_block block = {0};

    int r = row_buffer_read(learning->buffer, role, newest, older, &block);
    if (r < 0)
        return r;
    *ret_rows = TAKE(block.values);
    *ret_n_rows = block.n_rows;
    return 0;
}

/* Keeps the rows that keep[] says; returns how many. */
static size_t keep_rows(float *rows, double *p_values, size_t n_rows, size_t n_features,
                        const bool *keep)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++) {
        if (!keep[i])
            continue;
        memmove(rows + n * n_features, rows + i * n_features, n_features * sizeof(*rows));
        p_values[n++] = p_values[i];
    }
    return n;
}

/* p-values under the pinned version, stretch by stretch in the order of the rows: each is shifted
 * by how far normal had moved then, or benign drift would look like poison. */
static int judge_by_pinned(struct learning *learning, const struct training_set *set,
                           double *p_values)
{
    const size_t d = learning->n_features, stretch = STRETCH;

    for (size_t begin = 0; begin < set->n_rows;) {
        const size_t left = set->n_rows - begin;
        const size_t n = left < 2 * stretch ? left : stretch; /* the last one is not too short */
        const float *rows = set->rows + begin * d;
        int r = guard_follow(learning->guard, rows, n);
        if (r == 0)
            r = guard_p_values(learning->guard, learning->workspace, rows, n, p_values + begin);
        if (r < 0)
            return r;
        begin += n;
    }
    return 0;
}

/* Leaves out what the pinned version finds too rare, and thins what is too frequent. */
static int guard_rows(struct learning *learning, struct training_set *set)
{
    const size_t n = set->n_rows, d = learning->n_features;
    AUTO_FREE double *p_values = calloc(n, sizeof(*p_values));
    AUTO_FREE bool *keep = calloc(n, sizeof(*keep));
    struct random random;
    size_t bin;
    if (!p_values || !keep)
        return -ENOMEM;

    int r = judge_by_pinned(learning, set, p_values);
    if (r < 0)
        return r;
    set->has_excess = thinning_has_excess(p_values, n, &bin);
    for (size_t i = 0; i < n; i++)
        keep[i] = p_values[i] > 0.5 * learning->false_alarm_rate;
    set->n_rows = keep_rows(set->rows, p_values, n, d, keep);
    set->n_guarded = n - set->n_rows;
    random_seed(&random, learning->options.seed + learning->stored_at_run);
    (void)thinning_keep(p_values, set->n_rows, &random, keep);
    const size_t n_kept = keep_rows(set->rows, p_values, set->n_rows, d, keep);
    set->n_thinned = set->n_rows - n_kept;
    set->n_rows = n_kept;
    return 0;
}

static int check_enough(const struct training_set *set, struct error *reterr)
{
    if (set->n_rows < LEAST_CALIBRATION || set->n_calibration < LEAST_CALIBRATION)
        return error_set(reterr, -ENODATA,
                         "%zu training and %zu calibration rows are too few; %d of each are needed",
                         set->n_rows, set->n_calibration, LEAST_CALIBRATION);
    return 0;
}

int learning_draw(struct learning *learning, struct training_set *ret_set, struct error *reterr)
{
    CLEANUP(training_set_clear) struct training_set set = {0};

    int r = read_part(learning, ROW_TRAIN, SIZE_MAX, SIZE_MAX, &set.rows, &set.n_rows);
    if (r == 0)
        r = read_part(learning, ROW_CALIBRATE, SIZE_MAX, SIZE_MAX, &set.calibration,
                      &set.n_calibration);
    if (r == 0)
        r = read_part(learning, ROW_GATE, GATE_MOST_ROWS / 2, GATE_MOST_ROWS / 2, &set.held,
                      &set.n_held);
    if (r == 0)
        r = read_part(learning, ROW_CONFIRMED, SIZE_MAX, SIZE_MAX, &set.confirmed,
                      &set.n_confirmed);
    set.n_candidates = set.n_rows;
    if (r == 0 && learning->guard && set.n_rows > 0)
        r = guard_rows(learning, &set);
    if (r == 0)
        r = check_enough(&set, reterr);
    if (r == 0 && set.has_excess && learning->options.is_strict)
        r = error_set(reterr, -ENODATA,
                      "more rows than chance allows are rare to the pinned version: somebody "
                      "pushes, and strict refuses the batch");
    if (r < 0)
        return r;
    *ret_set = set;
    set = (struct training_set){0};
    return 0;
}

int learning_judge(struct learning *learning, const struct training_set *set,
                   const struct detector *candidate, struct gate_report *ret_report)
{
    const size_t by_width = ROWS_A_FEATURE * learning->n_features;
    const double rate = learning->false_alarm_rate > 0.0
                            ? learning->false_alarm_rate
                            : detector_summary(candidate)->recipe.false_alarm_rate;
    const struct gate_input input = {
        .live = learning->live,
        .candidate = candidate,
        .live_threshold = learning->threshold,
        .candidate_threshold = calibration_threshold(detector_calibration(candidate), rate),
        .false_alarm_rate = rate,
        .held = set->held,
        .n_held = set->n_held,
        .confirmed = set->confirmed,
        .n_confirmed = set->n_confirmed,
        .n_train = set->n_rows,
        .n_calibration = set->n_calibration,
        .min_train = by_width > LEAST_TRAIN ? by_width : LEAST_TRAIN,
        .seed = learning->options.seed,
    };

    return gate_compare(&input, ret_report);
}
