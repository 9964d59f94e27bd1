#include "anomalyctl/difference.h"

#include "data/schema.h"
#include "detector/detector.h"
#include "detector/scaler.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double size_of(const struct moved_feature *feature)
{
    return fmax(fabs(feature->shift), fabs(log(feature->spread)));
}

/* The largest first, equal ones in the order of a. */
static int by_size(const void *left, const void *right)
{
    const struct moved_feature *a = left, *b = right;
    const double size_a = size_of(a), size_b = size_of(b);

    if (size_a != size_b)
        return size_a < size_b ? 1 : -1;
    return (a->in_a > b->in_a) - (a->in_a < b->in_a);
}

static struct moved_feature compare(const struct scaler *a, size_t in_a, const struct scaler *b,
                                    size_t in_b)
{
    const double mean_a = (double)scaler_mean(a)[in_a], mean_b = (double)scaler_mean(b)[in_b];
    const double std_a = (double)scaler_std(a)[in_a], std_b = (double)scaler_std(b)[in_b];
    const bool was_constant = scaler_is_constant(a, in_a),
               is_constant = scaler_is_constant(b, in_b);

    return (struct moved_feature){
        .in_a = in_a,
        .in_b = in_b,
        .shift = (mean_b - mean_a) / std_a,
        .spread = was_constant && is_constant ? 1 : std_b / std_a,
        .was_constant = was_constant,
        .is_constant = is_constant,
    };
}

static bool find(const struct schema *schema, const char *name, size_t *ret_feature)
{
    return schema_find(schema, name, strlen(name), ret_feature);
}

int difference_make(const struct detector *a, const struct detector *b,
                    struct difference *ret_difference)
{
    const struct schema *schema_a = detector_schema(a), *schema_b = detector_schema(b);
    const struct scaler *scaler_a = detector_ensemble(a)->scaler;
    const struct scaler *scaler_b = detector_ensemble(b)->scaler;
    const size_t n_a = schema_n_features(schema_a), n_b = schema_n_features(schema_b);
    CLEANUP(difference_clear)
    struct difference difference = {
        .features = calloc(n_a, sizeof(*difference.features)),
        .added = calloc(n_b, sizeof(*difference.added)),
        .removed = calloc(n_a, sizeof(*difference.removed)),
    };
    size_t other;
    if (!difference.features || !difference.added || !difference.removed)
        return -ENOMEM;

    for (size_t i = 0; i < n_a; i++)
        if (find(schema_b, schema_name(schema_a, i), &other))
            difference.features[difference.n_features++] = compare(scaler_a, i, scaler_b, other);
        else
            difference.removed[difference.n_removed++] = i;
    for (size_t i = 0; i < n_b; i++)
        if (!find(schema_a, schema_name(schema_b, i), &other))
            difference.added[difference.n_added++] = i;
    qsort(difference.features, difference.n_features, sizeof(*difference.features), by_size);
    while (difference.n_matter < difference.n_features &&
           size_of(&difference.features[difference.n_matter]) >= DIFFERENCE_MATTERS)
        difference.n_matter++;
    *ret_difference = difference;
    difference = (struct difference){0};
    return 0;
}

void difference_clear(struct difference *difference)
{
    free(difference->features);
    free(difference->added);
    free(difference->removed);
    *difference = (struct difference){0};
}
