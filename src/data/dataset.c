/* What a dataset is once it has been read, and how it is prepared. */
#include "data/dataset.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A counter falls when it is reset or wraps: a value that does so in more than one of so many steps
 * is none. */
#define STEPS_A_FALL 10
#define LEAST_FALLS  3

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
}

void dataset_clear(struct dataset *dataset)
{
    for (size_t i = 0; dataset->texts && i < dataset->n_values; i++)
        free_names(dataset->texts[i].texts, dataset->texts[i].n);
    free(dataset->texts);
    free(dataset->values);
    free(dataset->is_late);
    free_names(dataset->names, dataset->n_features);
    free_names(dataset->label_names, dataset->n_label_names);
    free(dataset->rows);
    free(dataset->lines);
    free(dataset->labels);
    free_names(dataset->series_names, dataset->n_series_names);
    free(dataset->series);
    free(dataset->timestamps);
    *dataset = (struct dataset){0};
}

size_t dataset_count_missing(const struct dataset *dataset, size_t row)
{
    const size_t n = dataset->n_features;
    size_t n_missing = 0;

    for (size_t i = 0; i < n; i++)
        n_missing += dataset->rows ? isnan(dataset->rows[row * n + i]) != 0
                                   : isnan(dataset->values[row * n + i]) != 0;
    return n_missing;
}

bool dataset_is_incomplete(const struct dataset *dataset, size_t row)
{
    return 2 * dataset_count_missing(dataset, row) > dataset->n_features;
}

/* ---- what the rows say of a spec ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find_categories(const struct dataset *dataset, size_t column, const char *path,
                           struct prepare_item *item, struct error *reterr)
{
    const struct dataset_texts *texts = &dataset->texts[column];
    AUTO_FREE char **sorted = calloc(texts->n + 1, sizeof(*sorted));
    struct error why = {0};
    int r = 0;

    if (!sorted)
        return error_set(reterr, -ENOMEM, "out of memory");
    if (texts->n == 0)
        return error_set_at(reterr, -EINVAL, path, 0,
                            "column %s: there is no value at all, so no category; leave the column "
                            "out",
                            item->name);
    memcpy(sorted, texts->texts, texts->n * sizeof(*sorted));
    qsort(sorted, texts->n, sizeof(*sorted), by_text);
    for (size_t i = 0; r == 0 && i < texts->n; i++)
        r = prepare_spec_add_category(item, sorted[i], strlen(sorted[i]), &why);
    return r < 0 ? error_set_at(reterr, r, path, 0, "--prepare %s", why.text) : 0;
}

/* Steps from row to row within a series, and those in which the value falls. */
static int check_counter(const struct dataset *dataset, size_t column, const char *path,
                         struct error *reterr)
{
    const size_t n_series = dataset->series ? dataset->n_series_names : 1;
    AUTO_FREE double *last = calloc(n_series + 1, sizeof(*last));
    size_t n_steps = 0, n_falls = 0, first = 0;

    if (!last)
        return error_set(reterr, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n_series; i++)
        last[i] = (double)NAN;
    for (size_t i = 0; i < dataset->n_rows; i++) {
        const double value = dataset->values[i * dataset->n_values + column];
        double *before = &last[dataset->series ? dataset->series[i] : 0];
        if (isnan(value))
            continue;
        n_steps += !isnan(*before);
        if (value < *before && n_falls++ == 0)
            first = i;
        *before = value;
    }
    if (n_falls < LEAST_FALLS || n_falls * STEPS_A_FALL <= n_steps)
        return 0;
    return error_set_at(reterr, -EINVAL, path, dataset->lines[first],
                        "column %s: the value falls here, and in %zu of %zu steps, so it is "
                        "no counter; prepare it as delta or raw instead of rate",
                        dataset->names[column], n_falls, n_steps);
}

int dataset_complete_spec(const struct dataset *dataset, const char *path,
                          struct prepare_spec *spec, struct error *reterr)
{
    assert(dataset->values);
    int r = 0;

    for (size_t i = 0; r == 0 && i < dataset->n_values; i++) {
        struct prepare_item *item = prepare_spec_find(spec, dataset->names[i]);
        if (item && item->how == PREPARE_ONEHOT && item->n_categories == 0)
            r = find_categories(dataset, i, path, item, reterr);
        else if (item && item->how == PREPARE_RATE)
            r = check_counter(dataset, i, path, reterr);
    }
    return r;
}

/* ---- preparing ---- */

/* The numbers of texts become those of the preparation's categories. */
static int number_categories(struct dataset *dataset, size_t column,
                             const struct prepared_input *input)
{
    const struct dataset_texts *texts = &dataset->texts[column];
    AUTO_FREE double *numbers = calloc(texts->n + 1, sizeof(*numbers));

    if (!numbers)
        return -ENOMEM;
    for (size_t i = 0; i < texts->n; i++)
        numbers[i] = preparation_category(input, texts->texts[i], strlen(texts->texts[i]));
    for (size_t i = 0; i < dataset->n_rows; i++) {
        double *value = &dataset->values[i * dataset->n_values + column];
        if (!isnan(*value))
            *value = numbers[(size_t)*value];
    }
    return 0;
}

static int check_values(const struct dataset *dataset, const char *path,
                        const struct preparation *preparation, struct error *reterr)
{
    for (size_t i = 0; i < dataset->n_rows; i++)
        for (size_t j = 0; j < dataset->n_values; j++) {
            const double value = dataset->values[i * dataset->n_values + j];
            const char *why = isnan(value) ? NULL : preparation_refuses(preparation, j, value);
            if (why)
                return error_set_at(reterr, -EINVAL, path, dataset->lines[i], "column %s: %.9g %s",
                                    dataset->names[j], value, why);
        }
    return 0;
}

/* One state for each series, NULL until it has a row; all NULL for rows that stand alone. */
struct states {
    struct preparation_state **items; /* [n] */
    size_t n;
};

static void states_clear(struct states *states)
{
    for (size_t i = 0; states->items && i < states->n; i++)
        preparation_state_free(states->items[i]);
    free(states->items);
}

static int prepare_rows(struct dataset *dataset, const struct preparation *preparation,
                        bool is_independent)
{
    const size_t n = schema_n_features(preparation->features);
    CLEANUP(states_clear)
    struct states states = {.n = dataset->series ? dataset->n_series_names : 1};

    states.items = calloc(states.n + 1, sizeof(struct preparation_state *));
    dataset->rows = reallocarray(NULL, dataset->n_rows + 1, n * sizeof(*dataset->rows));
    dataset->is_late = calloc(dataset->n_rows + 1, sizeof(*dataset->is_late));
    if (!states.items || !dataset->rows || !dataset->is_late)
        return -ENOMEM;
    for (size_t i = 0; i < dataset->n_rows; i++) {
        struct preparation_state **state = &states.items[dataset->series ? dataset->series[i] : 0];
        if (!*state && !is_independent && preparation_state_new(preparation, state) < 0)
            return -ENOMEM;
        dataset->is_late[i] = preparation_follow(
            preparation, *state, dataset->timestamps ? dataset->timestamps[i] : (double)NAN,
            dataset->values + i * dataset->n_values, dataset->rows + i * n);
        dataset->n_late += dataset->is_late[i];
    }
    return 0;
}

static int take_names(struct dataset *dataset, const struct schema *features)
{
    const size_t n = schema_n_features(features);
    char **names = calloc(n, sizeof(*names));
    bool is_whole = names != NULL;

    for (size_t i = 0; is_whole && i < n; i++)
        is_whole = (names[i] = strdup(schema_name(features, i))) != NULL;
    if (!is_whole) {
        free_names(names, n);
        return -ENOMEM;
    }
    free_names(dataset->names, dataset->n_features);
    dataset->names = names;
    dataset->n_features = n;
    return 0;
}

int dataset_prepare(struct dataset *dataset, const char *path,
                    const struct preparation *preparation, bool is_independent,
                    struct error *reterr)
{
    assert(dataset->values && !dataset->rows);
    assert(dataset->n_values == schema_n_features(preparation->values));
    int r = 0;

    if (preparation_needs_time(preparation) && !dataset->timestamps)
        return error_set_at(reterr, -EINVAL, path, 0,
                            "there is no column \"timestamp\", which rates and times of day are "
                            "made from; add it, or prepare counters as delta");
    for (size_t i = 0; r == 0 && i < dataset->n_values; i++)
        if (preparation->input[i].how == PREPARE_ONEHOT)
            r = number_categories(dataset, i, &preparation->input[i]);
    if (r == 0)
        r = check_values(dataset, path, preparation, reterr);
    if (r == 0)
        r = prepare_rows(dataset, preparation, is_independent);
    if (r == 0)
        r = take_names(dataset, preparation->features);
    return r == -ENOMEM ? error_set_at(reterr, r, path, 0, "out of memory for the rows") : r;
}
