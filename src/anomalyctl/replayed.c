#include "anomalyctl/replayed.h"

#include "anomalyctl/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How long measurements of a host go on looking like each other, for the interval of the
 * false-alarm rate: load averages and disk queues fade within half a minute. */
#define BLOCK_SECONDS 30.0
#define BLOCK_ROWS    30 /* without timestamps */

void replayed_clear(struct replayed *replayed)
{
    dataset_clear(&replayed->dataset);
    free(replayed->flagged);
    free(replayed->is_normal);
    free(replayed->incident_of);
    free(replayed->incidents);
    free(replayed->blame);
    *replayed = (struct replayed){0};
}

static const char *label_of(const struct dataset *dataset, size_t row)
{
    return dataset->label_names[dataset->labels[row]];
}

static size_t count_earlier(const struct replayed *replayed, const char *fault)
{
    size_t n = 0;

    for (size_t i = 0; i < replayed->n_incidents; i++)
        n += strcmp(replayed->incidents[i].fault, fault) == 0;
    return n;
}

static void add_row(struct replayed *replayed, size_t row)
{
    const struct dataset *dataset = &replayed->dataset;
    const char *label = label_of(dataset, row);
    const bool goes_on = row > 0 && dataset->labels[row] == dataset->labels[row - 1];

    replayed->incident_of[row] = NO_INCIDENT;
    replayed->is_normal[row] = dataset->labels[row] == 0;
    if (replayed->is_normal[row] || strcmp(label, LABEL_RECOVERY) == 0)
        return;
    if (!goes_on) {
        const size_t n = count_earlier(replayed, label);
        replayed->incidents[replayed->n_incidents++] =
            (struct incident){.fault = label, .occurrence = n + 1, .first = row};
    }
    replayed->incident_of[row] = replayed->n_incidents - 1;
    replayed->incidents[replayed->n_incidents - 1].n_rows++;
}

/* Room for every incident there can be: one a change of label. */
static size_t count_changes(const struct dataset *dataset)
{
    size_t n = 1;

    for (size_t i = 1; i < dataset->n_rows; i++)
        n += dataset->labels[i] != dataset->labels[i - 1];
    return n;
}

int replayed_init(struct dataset *dataset, struct replayed *ret_replayed)
{
    assert(dataset->labels);
    CLEANUP(replayed_clear) struct replayed replayed = {.dataset = *dataset};
    const size_t n_rows = dataset->n_rows;

    *dataset = (struct dataset){0};
    replayed.flagged = calloc(n_rows + 1, sizeof(*replayed.flagged));
    replayed.is_normal = calloc(n_rows + 1, sizeof(*replayed.is_normal));
    replayed.incident_of = calloc(n_rows + 1, sizeof(*replayed.incident_of));
    replayed.incidents = calloc(count_changes(&replayed.dataset), sizeof(*replayed.incidents));
    if (!replayed.flagged || !replayed.is_normal || !replayed.incident_of || !replayed.incidents)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++)
        add_row(&replayed, i);

    const size_t n_features = replayed.dataset.n_features;
    replayed.blame = calloc(replayed.n_incidents * n_features + 1, sizeof(*replayed.blame));
    if (!replayed.blame)
        return -ENOMEM;
    for (size_t i = 0; i < replayed.n_incidents; i++)
        replayed.incidents[i].blame = replayed.blame + i * n_features;
    *ret_replayed = replayed;
    replayed = (struct replayed){0};
    return 0;
}

static struct incident *incident_of(struct replayed *replayed, size_t row)
{
    const size_t i = replayed->incident_of[row];

    return i == NO_INCIDENT ? NULL : &replayed->incidents[i];
}

void replayed_flag(struct replayed *replayed, size_t row)
{
    struct incident *incident = incident_of(replayed, row);

    replayed->flagged[row] = true;
    if (incident && incident->n_flagged++ == 0)
        incident->first_flagged = row;
}

void replayed_blame(struct replayed *replayed, size_t row, const char *feature, double share)
{
    struct incident *incident = incident_of(replayed, row);

    for (size_t i = 0; incident && i < replayed->dataset.n_features; i++)
        if (strcmp(replayed->dataset.names[i], feature) == 0)
            incident->blame[i] += share;
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static int find_block_rows(const struct dataset *dataset, size_t *ret_block_rows)
{
    *ret_block_rows = BLOCK_ROWS;
    if (!dataset->timestamps || dataset->n_rows < 2)
        return 0;

    const size_t n = dataset->n_rows - 1;
    AUTO_FREE double *intervals = calloc(n, sizeof(*intervals));
    if (!intervals)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        intervals[i] = dataset->timestamps[i + 1] - dataset->timestamps[i];
    qsort(intervals, n, sizeof(*intervals), by_value);
    const double rows = BLOCK_SECONDS / intervals[n / 2];
    if (rows >= 1 && rows <= (double)dataset->n_rows)
        *ret_block_rows = (size_t)lround(rows);
    else if (rows > 0)
        *ret_block_rows = rows < 1 ? 1 : dataset->n_rows;
    return 0;
}

int replayed_finish(struct replayed *replayed)
{
    int r = find_block_rows(&replayed->dataset, &replayed->block_rows);

    if (r < 0)
        return r;
    return false_alarms_count(replayed->is_normal, replayed->flagged, replayed->dataset.n_rows,
                              replayed->block_rows, 1, &replayed->false_alarms);
}
