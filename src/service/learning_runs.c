/* What a run trains on, and whether its candidate may serve. */
#include "detector/calibration.h"
#include "detector/detector.h"
#include "service/guard.h"
#include "service/learning_state.h"
#include "service/thinning.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_TRAIN       1000 /* rows, and 20 a feature: the gate's minimum */
#define ROWS_A_FEATURE    20
#define LEAST_CALIBRATION 20
#define MOST_EQUAL        100 /* rows on end of a role */
#define STRETCH           500 /* rows that share a shift: their median moves by 0.06 sd by chance */
#define RARE_P            0.1
#define NORMAL_SHARE      0.16 /* of such p in a stretch: 0.1 and four deviations */
#define INCIDENT_SHARE    0.27 /* from which on a soft incident opens */

void training_set_clear(struct training_set *set)
{
    free(set->rows);
    free(set->is_approved);
    free(set->calibration);
    free(set->held);
    free(set->confirmed);
    *set = (struct training_set){0};
}

/* Of n rows the j-th is one of `most` that are spread evenly over them. */
static bool is_spread(size_t j, size_t n, size_t most)
{
    return most >= n || (j + 1) * most / n > j * most / n;
}

static void drop_rows(struct row_block *block, size_t n_features, const bool *keep)
{
    size_t n = 0;

    for (size_t i = 0; i < block->n_rows; i++) {
        if (!keep[i])
            continue;
        memmove(block->values + n * n_features, block->values + i * n_features,
                n_features * sizeof(*block->values));
        block->numbers[n] = block->numbers[i];
        block->is_approved[n] = block->is_approved[i];
        n++;
    }
    block->n_rows = n;
}

/* Rows of which little is known say little of normal: the first of a series has no rates. */
static bool is_incomplete(const float *row, size_t n_features)
{
    size_t n_missing = 0;

    for (size_t j = 0; j < n_features; j++)
        n_missing += isnan(row[j]) != 0;
    return 2 * n_missing > n_features;
}

/* And a collector that hangs: /observe keeps all that it sends, but one row over and over would
 * weigh as much as all others. */
static int drop_useless(const struct learning *learning, struct row_block *block)
{
    const size_t d = learning->n_features;
    size_t n_equal = 0;
    AUTO_FREE bool *keep = malloc(block->n_rows + 1);
    if (!keep)
        return -ENOMEM;

    for (size_t i = 0; i < block->n_rows; i++) {
        const float *row = block->values + i * d;
        const bool repeats = i > 0 && memcmp(row, row - d, d * sizeof(*row)) == 0;
        n_equal = repeats ? n_equal + 1 : 1;
        /* Before there is a version, what all rows repeat is told by check_movement(). */
        keep[i] = (!learning->has_live || n_equal <= MOST_EQUAL) && !is_incomplete(row, d);
    }
    drop_rows(block, d, keep);
    return 0;
}

/* A level that an operator approved counts twice as much as all that was before it, or the
 * threshold would long be that of the old one: of the rows before it stay half as many as there are
 * since. So the new level has at most 1.5 times, the old one 3 times the rate that was asked for.
 */
static int balance(struct row_block *block, size_t n_features, uint64_t since)
{
    AUTO_FREE bool *keep = calloc(block->n_rows + 1, sizeof(*keep));
    size_t n_since = 0, n_before = 0;
    if (!keep)
        return -ENOMEM;

    for (size_t i = 0; i < block->n_rows; i++)
        n_since += block->numbers[i] >= since;
    if (since == 0 || n_since < LEAST_CALIBRATION)
        return 0;
    for (size_t i = 0; i < block->n_rows; i++)
        keep[i] = block->numbers[i] >= since ||
                  is_spread(n_before++, block->n_rows - n_since, n_since / 2);
    drop_rows(block, n_features, keep);
    return 0;
}

/* Calibration rows, and behind them those of the gate; of these some are held to judge on. */
static int read_judges(struct learning *learning, struct training_set *set)
{
    const size_t d = learning->n_features;
    CLEANUP(row_block_clear) struct row_block calibrating = {0}, judging = {0};
    uint64_t since = 0;

    int r = row_buffer_approved_since(learning->buffer, &since);
    if (r == 0)
        r = row_buffer_read(learning->buffer, ROW_CALIBRATE, SIZE_MAX, SIZE_MAX, &calibrating);
    if (r == 0)
        r = row_buffer_read(learning->buffer, ROW_GATE, SIZE_MAX, SIZE_MAX, &judging);
    if (r == 0)
        r = drop_useless(learning, &calibrating);
    if (r == 0)
        r = drop_useless(learning, &judging);
    if (r == 0)
        r = balance(&calibrating, d, since);
    if (r == 0)
        r = balance(&judging, d, since);
    if (r < 0)
        return r;
    set->n_calibration = calibrating.n_rows;
    set->n_all_calibration = calibrating.n_rows + judging.n_rows;
    set->calibration = calloc(set->n_all_calibration * d + 1, sizeof(float));
    set->held = calloc(GATE_MOST_ROWS * d, sizeof(float));
    if (!set->calibration || !set->held)
        return -ENOMEM;
    if (calibrating.n_rows > 0)
        memcpy(set->calibration, calibrating.values, calibrating.n_rows * d * sizeof(float));
    for (size_t i = 0; i < judging.n_rows; i++) {
        const float *row = judging.values + i * d;
        memcpy(set->calibration + (set->n_calibration + i) * d, row, d * sizeof(float));
        if (is_spread(i, judging.n_rows, GATE_MOST_ROWS))
            memcpy(set->held + set->n_held++ * d, row, d * sizeof(float));
    }
    return 0;
}

static int read_rows(struct learning *learning, enum row_role role, float **ret_rows,
                     size_t *ret_n_rows, bool **ret_is_approved)
{
    CLEANUP(row_block_clear) struct row_block block = {0};

    int r = row_buffer_read(learning->buffer, role, SIZE_MAX, SIZE_MAX, &block);
    if (r == 0 && role == ROW_TRAIN)
        r = drop_useless(learning, &block);
    if (r < 0)
        return r;
    *ret_rows = TAKE(block.values);
    *ret_n_rows = block.n_rows;
    if (ret_is_approved)
        *ret_is_approved = TAKE(block.is_approved);
    return 0;
}

int learning_read(struct learning *learning, struct training_set *ret_set)
{
    CLEANUP(training_set_clear) struct training_set set = {0};

    int r = read_rows(learning, ROW_TRAIN, &set.rows, &set.n_rows, &set.is_approved);
    if (r == 0)
        r = read_judges(learning, &set);
    if (r == 0)
        r = read_rows(learning, ROW_CONFIRMED, &set.confirmed, &set.n_confirmed, NULL);
    if (r < 0)
        return r;
    set.n_candidates = set.n_rows;
    set.least_p = 0.5 * learning->false_alarm_rate;
    set.seed = learning->options.seed + learning->stored_at_run;
    set.is_strict = learning->options.is_strict;
    *ret_set = set;
    set = (struct training_set){0};
    return 0;
}

/* ---- guard and thinning ---- */

static double share_of_rare(const double *p_values, size_t n)
{
    size_t n_rare = 0;

    for (size_t i = 0; i < n; i++)
        n_rare += p_values[i] < RARE_P;
    return (double)n_rare / (double)n;
}

/* p-values of a stretch under the pinned version, shifted by how far normal had moved then, or
 * benign drift would look like poison. But of a service that has a day and a night either is far
 * from the median of both, and shifted it is neither: what looks normal as it is, and not when it
 * is shifted, is judged as it is. (To take what looks better each time would leave out the rows on
 * the side where normal moves to: with that a slow drift ended in a hard incident.) */
static int judge_stretch(struct learning *learning, const float *rows, size_t n, double *p_values)
{
    struct guard *guard = learning->guard;
    AUTO_FREE double *unshifted = calloc(n, sizeof(*unshifted));
    if (!unshifted)
        return -ENOMEM;

    int r = guard_follow(guard, rows, n);
    if (r == 0)
        r = guard_p_values(guard, learning->workspace, rows, n, p_values);
    if (r < 0 || share_of_rare(p_values, n) <= INCIDENT_SHARE)
        return r;
    r = guard_follow(guard, rows, 0);
    if (r == 0)
        r = guard_p_values(guard, learning->workspace, rows, n, unshifted);
    if (r == 0 && share_of_rare(unshifted, n) <= NORMAL_SHARE)
        memcpy(p_values, unshifted, n * sizeof(*p_values));
    return r;
}

/* Stretch by stretch in the order of the rows. */
static int judge_by_pinned(struct learning *learning, const struct training_set *set,
                           double *p_values)
{
    const size_t d = learning->n_features, stretch = STRETCH;

    for (size_t begin = 0; begin < set->n_rows;) {
        const size_t left = set->n_rows - begin;
        const size_t n = left < 2 * stretch ? left : stretch; /* the last one is not too short */
        int r = judge_stretch(learning, set->rows + begin * d, n, p_values + begin);
        if (r < 0)
            return r;
        begin += n;
    }
    return 0;
}

/* p_values[] of the rows that nobody has approved: [n] places and values, both in the rows' order.
 */
static size_t list_doubtful(const struct training_set *set, const double *p_values, size_t *places,
                            double *values)
{
    size_t n = 0;

    for (size_t i = 0; i < set->n_rows; i++) {
        if (set->is_approved && set->is_approved[i])
            continue;
        places[n] = i;
        values[n++] = p_values[i];
    }
    return n;
}

/* Of places[n] those that are common enough to the pinned version; returns how many. */
static size_t drop_rare(size_t *places, double *values, size_t n, double least, bool *keep)
{
    size_t n_left = 0;

    for (size_t i = 0; i < n; i++) {
        keep[places[i]] = values[i] > least;
        places[n_left] = places[i];
        values[n_left] = values[i];
        n_left += keep[places[i]];
    }
    return n_left;
}

/* Leaves the rows that keep[] says. */
static void keep_rows(struct training_set *set, size_t n_features, const bool *keep)
{
    size_t n = 0;

    for (size_t i = 0; i < set->n_rows; i++) {
        if (!keep[i])
            continue;
        memmove(set->rows + n * n_features, set->rows + i * n_features,
                n_features * sizeof(*set->rows));
        if (set->is_approved)
            set->is_approved[n] = set->is_approved[i];
        n++;
    }
    set->n_rows = n;
}

/* Who pushes also moves medians: it is seen by p-values without a shift, and these decide what
 * trains then: values[n_doubtful] of the rows at places[]. */
static int judge_push(struct learning *learning, struct training_set *set, const size_t *places,
                      double *values, size_t n_doubtful)
{
    AUTO_FREE double *unshifted = calloc(set->n_rows, sizeof(*unshifted));
    if (!unshifted)
        return -ENOMEM;

    int r = guard_follow(learning->guard, NULL, 0);
    if (r == 0)
        r = guard_p_values(learning->guard, learning->workspace, set->rows, set->n_rows, unshifted);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_doubtful; i++)
        unshifted[i] = unshifted[places[i]];
    set->is_pushed = thinning_is_pushed(unshifted, n_doubtful);
    if (set->is_pushed)
        memcpy(values, unshifted, n_doubtful * sizeof(*values));
    return 0;
}

/* Leaves out what the pinned version finds too rare, and thins what is too frequent. What an
 * operator has approved stays. */
static int guard_rows(struct learning *learning, struct training_set *set)
{
    const size_t n_rows = set->n_rows;
    const size_t m = calibration_n_rows(detector_calibration(learning->pinned));
    AUTO_FREE double *p_values = calloc(n_rows, sizeof(*p_values));
    AUTO_FREE double *values = calloc(n_rows, sizeof(*values));
    AUTO_FREE size_t *places = calloc(n_rows, sizeof(*places));
    AUTO_FREE bool *keep = malloc(n_rows * sizeof(*keep));
    AUTO_FREE bool *thinned = calloc(n_rows, sizeof(*thinned));
    struct random random;
    size_t bin;
    if (!p_values || !values || !places || !keep || !thinned)
        return -ENOMEM;

    int r = judge_by_pinned(learning, set, p_values);
    if (r < 0)
        return r;
    memset(keep, true, n_rows * sizeof(*keep));
    const size_t n_doubtful = list_doubtful(set, p_values, places, values);
    const size_t n_newest = n_doubtful < STRETCH ? n_doubtful : STRETCH;
    set->has_excess = thinning_has_excess(values, n_doubtful, m, &bin);
    set->has_new_excess = thinning_has_excess(values + (n_doubtful - n_newest), n_newest, m, &bin);
    r = set->has_excess ? judge_push(learning, set, places, values, n_doubtful) : 0;
    if (r < 0)
        return r;
    const double least_p = set->is_pushed ? RARE_P : set->least_p;
    const size_t n = drop_rare(places, values, n_doubtful, least_p, keep);
    set->n_guarded = n_doubtful - n;
    random_seed(&random, set->seed);
    set->n_thinned = n - thinning_keep(values, n, m, &random, thinned);
    for (size_t i = 0; i < n; i++)
        keep[places[i]] = thinned[i];
    keep_rows(set, learning->n_features, keep);
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

/* What hangs from the beginning on would make a first version to which all that moves is odd. */
static int check_movement(const struct training_set *set, size_t n_features, struct error *reterr)
{
    for (size_t i = 1; i < set->n_rows; i++)
        if (memcmp(set->rows, set->rows + i * n_features, n_features * sizeof(float)) != 0)
            return 0;
    return error_set(reterr, -ENODATA,
                     "all %zu training rows are the same: see whether their collector hangs",
                     set->n_rows);
}

int learning_guard(struct learning *learning, struct training_set *set, struct error *reterr)
{
    int r = learning->guard && set->n_rows > 0 ? guard_rows(learning, set) : 0;
    if (r == 0)
        r = check_enough(set, reterr);
    if (r == 0)
        r = check_movement(set, learning->n_features, reterr);
    if (r == 0 && set->has_excess && set->is_strict)
        r = error_set(reterr, -ENODATA,
                      "more rows than chance allows are rare to the pinned version: strict "
                      "refuses the batch");
    return r;
}

int learning_draw(struct learning *learning, struct training_set *ret_set, struct error *reterr)
{
    CLEANUP(training_set_clear) struct training_set set = {0};

    int r = learning_read(learning, &set);
    if (r == 0)
        r = learning_guard(learning, &set, reterr);
    if (r < 0)
        return r;
    *ret_set = set;
    set = (struct training_set){0};
    return 0;
}

/* ---- the gate ---- */

static size_t count_approved(const struct training_set *set)
{
    size_t n = 0;

    for (size_t i = 0; set->is_approved && i < set->n_rows; i++)
        n += set->is_approved[i];
    return n;
}

struct gate_input learning_gate_input(const struct learning *learning,
                                      const struct training_set *set,
                                      const struct detector *candidate)
{
    const size_t by_width = ROWS_A_FEATURE * learning->n_features;
    const double rate = learning->false_alarm_rate > 0.0
                            ? learning->false_alarm_rate
                            : detector_summary(candidate)->recipe.false_alarm_rate;

    return (struct gate_input){
        .live = learning->live,
        .candidate = candidate,
        .live_threshold = learning->threshold,
        .false_alarm_rate = rate,
        .calibration = set->calibration,
        .n_calibration = set->n_calibration,
        .held = set->held,
        .n_held = set->n_held,
        .confirmed = set->confirmed,
        .n_confirmed = set->n_confirmed,
        .n_train = set->n_rows,
        .n_approved = count_approved(set),
        .n_guarded = set->n_guarded,
        .n_candidates = set->n_candidates,
        .min_train = by_width > LEAST_TRAIN ? by_width : LEAST_TRAIN,
        .seed = learning->options.seed,
    };
}

int learning_judge(struct learning *learning, const struct training_set *set,
                   const struct detector *candidate, struct gate_report *ret_report)
{
    const struct gate_input input = learning_gate_input(learning, set, candidate);

    return gate_compare(&input, ret_report);
}
