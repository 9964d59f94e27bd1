/* What the rows of an incident are blamed on: each flagged row as its verdict is, with the movement
 * of its series, summed over the rows (service/stretch.h). What fails first is blamed in more of
 * them than what follows from it. */
#include "detector/detector.h"
#include "detector/judge.h"
#include "service/learning_state.h"
#include "service/series_memory.h"

#include <errno.h>
#include <stdlib.h>

int blaming_init(struct blaming *blaming, size_t n_features)
{
    blaming->weights = calloc(n_features, sizeof(*blaming->weights));
    blaming->hold = calloc(2 * n_features, sizeof(*blaming->hold));
    blaming->is_aside = calloc(n_features, sizeof(*blaming->is_aside));
    if (!blaming->weights || !blaming->hold || !blaming->is_aside)
        return -ENOMEM;
    blaming->put_back = blaming->hold + n_features;
    return series_memory_new(&blaming->memory);
}

void blaming_clear(struct blaming *blaming)
{
    free(blaming->weights);
    free(blaming->hold);
    free(blaming->is_aside);
    series_memory_release(blaming->memory);
    *blaming = (struct blaming){0};
}

/* What a person says does not matter is blamed for nothing. Without memory it is, this once. */
static const bool *find_aside(struct learning *learning, const struct scored_row *row)
{
    struct blaming *blaming = &learning->blaming;
    size_t n = 0;

    if (!row->has_aside || !blaming->rules ||
        judge_set_aside(learning->live, blaming->rules, learning->explaining, row->values,
                        blaming->is_aside, blaming->put_back, &n) < 0)
        return NULL;
    return blaming->is_aside;
}

void series_move(struct series *series, const struct scored_row *row)
{
    struct learning *learning = series->learning;
    struct blaming *blaming = &learning->blaming;
    const bool is_wanted = row->is_flagged;

    blaming->state = BLAME_NONE;
    if (learning->live &&
        series_memory_follow(blaming->memory, learning->live, learning->explaining, series->name,
                             row->time_us, false, row->values, 1, NULL, &is_wanted, blaming->hold,
                             NULL) == 0 &&
        is_wanted)
        blaming->state = BLAME_CAN_BE_FOUND;
}

/* The newest row's, found once. */
static const double *find_blame(struct learning *learning, const struct scored_row *row)
{
    struct blaming *blaming = &learning->blaming;

    if (blaming->state == BLAME_CAN_BE_FOUND)
        blaming->state =
            detector_blame(learning->live, learning->explaining, row->values, blaming->hold,
                           find_aside(learning, row), blaming->weights) < 0
                ? BLAME_NONE
                : BLAME_IS_FOUND;
    return blaming->state == BLAME_IS_FOUND ? blaming->weights : NULL;
}

void series_stretch(struct series *series, struct stretch *stretch, const struct scored_row *row)
{
    struct learning *learning = series->learning;
    const bool is_wanted = stretch_step(stretch, learning->n_features) > 0;

    stretch_take(stretch, row, is_wanted ? find_blame(learning, row) : NULL, learning->n_features);
}
