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

/* From here on doubles do not hold every whole number; a counter that grows by fewer steps between
 * two rows than so many has no rate that could be told from rounding. */
#define MOST_EXACT 9007199254740992.0
#define COARSE     10

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

/* At the first row whose category is one too many: texts are in the order in which they came. */
static int refuse_categories(const struct dataset *dataset, size_t column, const char *path,
                             struct error *reterr)
{
    const char *text = dataset->texts[column].texts[PREPARE_MAX_CATEGORIES];
    char shown[TEXT_SHOWN_SIZE];
    size_t row = 0;

    while (dataset->values[row * dataset->n_values + column] != PREPARE_MAX_CATEGORIES)
        row++;
    return error_set_at(reterr, -EINVAL, path, dataset->lines[row],
                        "column %s: \"%s\" is one category too many, at most %d can differ; leave "
                        "the column out, it looks like an id, or say which matter: --prepare "
                        "%s=onehot:A|B",
                        dataset->names[column], text_show(shown, text, strlen(text)),
                        PREPARE_MAX_CATEGORIES, dataset->names[column]);
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
    if (texts->n > PREPARE_MAX_CATEGORIES)
        return refuse_categories(dataset, column, path, reterr);
    memcpy(sorted, texts->texts, texts->n * sizeof(*sorted));
    qsort(sorted, texts->n, sizeof(*sorted), by_text);
    for (size_t i = 0; r == 0 && i < texts->n; i++)
        r = prepare_spec_add_category(item, sorted[i], strlen(sorted[i]), &why);
    return r < 0 ? error_set_at(reterr, r, path, 0, "--prepare %s", why.text) : 0;
}

/* Of a column from row to row within each series. */
struct steps {
    size_t n, n_falls;
    size_t first_fall; /* row */
    double growth;     /* of all that do not fall */
    double largest;    /* value */
};

static int count_steps(const struct dataset *dataset, size_t column, struct steps *ret_steps)
{
    const size_t n_series = dataset->series ? dataset->n_series_names : 1;
    AUTO_FREE double *last = calloc(n_series + 1, sizeof(*last));
    struct steps steps = {0};

    if (!last)
        return -ENOMEM;
    for (size_t i = 0; i < n_series; i++)
        last[i] = (double)NAN;
    for (size_t i = 0; i < dataset->n_rows; i++) {
        const double value = dataset->values[i * dataset->n_values + column];
        double *before = &last[dataset->series ? dataset->series[i] : 0];
        if (isnan(value))
            continue;
        steps.n += !isnan(*before);
        if (value < *before && steps.n_falls++ == 0)
            steps.first_fall = i;
        if (value > *before)
            steps.growth += value - *before;
        steps.largest = fmax(steps.largest, value);
        *before = value;
    }
    *ret_steps = steps;
    return 0;
}

static int check_counter(const struct dataset *dataset, size_t column, const char *path,
                         struct error *reterr)
{
    struct steps steps;

    if (count_steps(dataset, column, &steps) < 0)
        return error_set(reterr, -ENOMEM, "out of memory");
    if (steps.n_falls < LEAST_FALLS || steps.n_falls * STEPS_A_FALL <= steps.n)
        return 0;
    return error_set_at(reterr, -EINVAL, path, dataset->lines[steps.first_fall],
                        "column %s: the value falls here, and in %zu of %zu steps, so it is "
                        "no counter; prepare it as delta or raw instead of rate",
                        dataset->names[column], steps.n_falls, steps.n);
}

int dataset_find_coarse_counter(const struct dataset *dataset, const struct prepare_spec *spec,
                                const char **ret_name)
{
    for (size_t i = 0; i < dataset->n_values; i++) {
        const struct prepare_item *item = prepare_spec_find(spec, dataset->names[i]);
        struct steps steps;
        if (!item || item->how != PREPARE_RATE)
            continue;
        if (count_steps(dataset, i, &steps) < 0)
            return -ENOMEM;
        const double resolution = nextafter(steps.largest, INFINITY) - steps.largest;
        if (steps.largest < MOST_EXACT || steps.growth >= COARSE * resolution * (double)steps.n)
            continue;
        *ret_name = dataset->names[i];
        return 1;
    }
    return 0;
}

/* Categories that were said, and no value is any of them: it is misspelt, or in another unit. */
static int check_categories(const struct dataset *dataset, size_t column, const char *path,
                            const struct prepare_item *item, struct error *reterr)
{
    const struct dataset_texts *texts = &dataset->texts[column];
    char shown[TEXT_SHOWN_SIZE];

    for (size_t i = 0; i < texts->n; i++)
        for (size_t k = 0; k < item->n_categories; k++)
            if (strcmp(texts->texts[i], item->categories[k]) == 0)
                return 0;
    if (texts->n == 0)
        return 0;
    return error_set_at(reterr, -EINVAL, path, 0,
                        "column %s: no value is any of the categories that --prepare gives it, the "
                        "first is \"%s\"; mend them, or leave them out to take those of the file",
                        item->name, text_show(shown, texts->texts[0], strlen(texts->texts[0])));
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
        else if (item && item->how == PREPARE_ONEHOT)
            r = check_categories(dataset, i, path, item, reterr);
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
