/* How inputs, columns and features belong together; the rows themselves: preparation_rows.c. */
#include "data/preparation.h"

#include "base/number.h"
#include "base/text.h"
#include "base/zone.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct preparation *preparation_share(struct preparation *preparation)
{
    if (preparation)
        (void)__atomic_add_fetch(&preparation->references, 1, __ATOMIC_RELAXED);
    return preparation;
}

void preparation_free(struct preparation *preparation)
{
    if (!preparation || __atomic_sub_fetch(&preparation->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; preparation->input && i < schema_n_features(preparation->inputs); i++) {
        for (size_t j = 0; j < preparation->input[i].n_categories; j++)
            free(preparation->input[i].categories[j]);
        free(preparation->input[i].categories);
    }
    free(preparation->input);
    free(preparation->input_of);
    free(preparation->zone_name);
    zone_close(preparation->zone);
    schema_free(preparation->values);
    schema_free(preparation->inputs);
    schema_free(preparation->features);
    free(preparation);
}

/* ---- inputs ---- */

static bool is_input_name(const char *name, const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Every item is about a value that there is, or about the time under a name of its own. */
static int check_items(const struct prepare_spec *spec, const struct schema *values,
                       struct error *reterr)
{
    for (size_t i = 0; i < spec->n_items; i++) {
        const struct prepare_item *item = &spec->items[i];
        const size_t length = strlen(item->name);
        char shown[TEXT_SHOWN_SIZE];
        size_t feature;
        const bool is_value = schema_find(values, item->name, length, &feature);

        (void)text_show(shown, item->name, length);
        if (preparing_is_of_time(item->how)) {
            if (is_value)
                return error_set(reterr, -EINVAL,
                                 "\"%s\" is a feature, but %s is made from the timestamp; give it "
                                 "a name of its own, or write timestamp=%s",
                                 shown, preparing_name(item->how), preparing_name(item->how));
        } else if (!is_value) {
            const char *nearest = schema_nearest(values, item->name, length);
            if (nearest)
                return error_set(reterr, -EINVAL, "there is no feature \"%s\"; is it \"%s\"?",
                                 shown, nearest);
            return error_set(reterr, -EINVAL, "there is no feature \"%s\"", shown);
        } else if (item->how == PREPARE_ONEHOT && item->n_categories == 0) {
            return error_set(reterr, -EINVAL,
                             "the categories of \"%s\" are not known; give them: %s=onehot:A|B",
                             shown, shown);
        }
    }
    return 0;
}

/* The values, and behind them what is made from the time. */
static int name_inputs(struct preparation *preparation, const struct prepare_spec *spec,
                       const char *const *names, size_t n_names, struct error *reterr)
{
    AUTO_FREE const char **all = calloc(n_names + spec->n_items + 1, sizeof(*all));
    size_t n = n_names;
    if (!all)
        return error_set(reterr, -ENOMEM, "out of memory");

    for (size_t i = 0; i < n_names; i++)
        all[i] = names[i];
    for (size_t i = 0; i < spec->n_items; i++)
        if (preparing_is_of_time(spec->items[i].how) &&
            !is_input_name(spec->items[i].name, names, n_names))
            all[n++] = spec->items[i].name;
    return schema_new(all, n, &preparation->inputs, reterr);
}

static int take_categories(struct prepared_input *input, const struct prepare_item *item)
{
    input->categories = calloc(item->n_categories, sizeof(*input->categories));
    if (!input->categories)
        return -ENOMEM;
    for (; input->n_categories < item->n_categories; input->n_categories++) {
        char *copy = strdup(item->categories[input->n_categories]);
        if (!copy)
            return -ENOMEM;
        input->categories[input->n_categories] = copy;
    }
    return 0;
}

static int plan_inputs(struct preparation *preparation, const struct prepare_spec *spec)
{
    const size_t n = schema_n_features(preparation->inputs);

    preparation->input = calloc(n, sizeof(*preparation->input));
    if (!preparation->input)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct prepared_input *input = &preparation->input[i];
        const struct prepare_item *item =
            prepare_spec_find(spec, schema_name(preparation->inputs, i));
        input->how = item ? item->how : PREPARE_RAW;
        input->n_columns = preparing_is_of_time(input->how) ? 2 : 1;
        if (input->how == PREPARE_ONEHOT) {
            if (take_categories(input, item) < 0)
                return -ENOMEM;
            input->n_columns = input->n_categories + 1; /* the last one is any other */
        }
        if (input->how == PREPARE_RATE || input->how == PREPARE_DELTA)
            input->memory = preparation->n_memories++;
        input->column = preparation->n_columns;
        preparation->n_columns += input->n_columns;
    }
    preparation->input_of = calloc(preparation->n_columns, sizeof(*preparation->input_of));
    if (!preparation->input_of)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < preparation->input[i].n_columns; c++)
            preparation->input_of[preparation->input[i].column + c] = i;
    return 0;
}

/* ---- features ---- */

/* "state=up", "rate(bytes)", "hour-of-day.sin". */
static void put_column_name(const struct preparation *preparation, size_t input, size_t column,
                            struct text *text)
{
    const struct prepared_input *how = &preparation->input[input];
    const char *name = schema_name(preparation->inputs, input);

    switch (how->how) {
    case PREPARE_RAW:
        text_puts(text, name);
        break;
    case PREPARE_LOG1P:
    case PREPARE_RATE:
    case PREPARE_DELTA:
        text_printf(text, "%s(%s)", preparing_name(how->how), name);
        break;
    case PREPARE_ONEHOT:
        text_printf(text, "%s=%s", name,
                    column < how->n_categories ? how->categories[column] : "(other)");
        break;
    case PREPARE_HOUR:
    case PREPARE_WEEKDAY:
        /* In another zone it is another feature: rows of both must not be mixed. */
        text_puts(text, name);
        if (strcmp(preparation->zone_name, "UTC") != 0)
            text_printf(text, "@%s", preparation->zone_name);
        text_puts(text, column == 0 ? ".sin" : ".cos");
        break;
    }
}

/* All names one behind the other, each with its NUL. */
static void put_names(const struct preparation *preparation, struct text *text)
{
    for (size_t lag = 0; lag < preparation->context; lag++)
        for (size_t c = 0; c < preparation->n_columns; c++) {
            const size_t input = preparation->input_of[c];
            put_column_name(preparation, input, c - preparation->input[input].column, text);
            if (lag > 0)
                text_printf(text, "[-%zu]", lag);
            text_append(text, "", 1);
        }
}

static const char *show_input(char ret_shown[TEXT_SHOWN_SIZE],
                              const struct preparation *preparation, size_t input)
{
    const char *name = schema_name(preparation->inputs, input);

    return text_show(ret_shown, name, strlen(name));
}

/* Features a and b have one name; which inputs make them, and what to do. */
static void tell_clash(const struct preparation *preparation, size_t a, size_t b, const char *name,
                       struct error *reterr)
{
    const size_t one = preparation->input_of[a % preparation->n_columns];
    const size_t other = preparation->input_of[b % preparation->n_columns];
    char shown[TEXT_SHOWN_SIZE], shown_one[TEXT_SHOWN_SIZE], shown_other[TEXT_SHOWN_SIZE];

    (void)text_show(shown, name, strlen(name));
    (void)show_input(shown_one, preparation, one);
    (void)show_input(shown_other, preparation, other);
    if (one == other)
        (void)error_set(reterr, -EINVAL,
                        "two categories of \"%s\" would both make a feature called \"%s\" "
                        "(\"(other)\" are those that training has not seen); write one in another "
                        "way, or say which categories count: %s=onehot:A|B",
                        shown_one, shown, shown_one);
    else
        (void)error_set(reterr, -EINVAL,
                        "\"%s\" and \"%s\" would both make a feature called \"%s\"; rename one of "
                        "the two, or leave it out",
                        shown_one, shown_other, shown);
}

/* After schema_new() has refused the names: more than it knows, if two of them are one. */
static void tell_clashes(const struct preparation *preparation, const char *const *names, size_t n,
                         struct error *reterr)
{
    for (size_t b = 1; b < n; b++)
        for (size_t a = 0; a < b; a++)
            if (strcmp(names[a], names[b]) == 0) {
                tell_clash(preparation, a, b, names[b], reterr);
                return;
            }
}

static int name_features(struct preparation *preparation, struct error *reterr)
{
    const size_t n = preparation->context * preparation->n_columns;
    CLEANUP(text_clear) struct text text = {0};
    AUTO_FREE const char **names = NULL;

    if (n > SCHEMA_MAX_FEATURES)
        return error_set(reterr, -EINVAL,
                         "%zu columns in each of %zu rows make %zu features, at most %d are "
                         "possible; take less context or fewer categories",
                         preparation->n_columns, preparation->context, n, SCHEMA_MAX_FEATURES);
    names = calloc(n, sizeof(*names));
    put_names(preparation, &text);
    if (!names || text_failed(&text))
        return error_set(reterr, -ENOMEM, "out of memory");
    const char *at = text.data;
    for (size_t i = 0; i < n; i++) {
        names[i] = at;
        at += strlen(at) + 1;
    }
    int r = schema_new(names, n, &preparation->features, reterr);
    if (r == -EINVAL)
        tell_clashes(preparation, names, n, reterr);
    return r;
}

static int open_zone(struct preparation *preparation, const struct prepare_spec *spec,
                     struct error *reterr)
{
    const char *name = spec->zone ? spec->zone : "UTC";

    preparation->zone_name = strdup(name);
    if (!preparation->zone_name)
        return error_set(reterr, -ENOMEM, "out of memory");
    for (size_t i = 0; i < schema_n_features(preparation->inputs); i++)
        if (preparing_is_of_time(preparation->input[i].how))
            return zone_open(name, &preparation->zone, reterr);
    return 0;
}

int preparation_new(const struct prepare_spec *spec, const char *const *names, size_t n_names,
                    struct preparation **ret_preparation, struct error *reterr)
{
    assert(spec && spec->context > 0 && ret_preparation);
    CLEANUP(preparation_freep) struct preparation *preparation = calloc(1, sizeof(*preparation));
    if (!preparation)
        return error_set(reterr, -ENOMEM, "out of memory");
    preparation->references = 1;
    preparation->context = spec->context;
    preparation->max_gap = spec->max_gap;

    int r = schema_new(names, n_names, &preparation->values, reterr);
    if (r == 0)
        r = check_items(spec, preparation->values, reterr);
    if (r == 0)
        r = name_inputs(preparation, spec, names, n_names, reterr);
    if (r < 0)
        return r;
    if (plan_inputs(preparation, spec) < 0)
        return error_set(reterr, -ENOMEM, "out of memory");
    r = open_zone(preparation, spec, reterr);
    if (r == 0)
        r = name_features(preparation, reterr);
    if (r < 0)
        return r;
    *ret_preparation = TAKE(preparation);
    return 0;
}

/* ---- questions ---- */

bool preparation_equals(const struct preparation *a, const struct preparation *b)
{
    if (!a || !b)
        return a == b;
    if (!schema_equals(a->inputs, b->inputs))
        return false;
    for (size_t i = 0; i < schema_n_features(a->inputs); i++)
        if (a->input[i].how != b->input[i].how)
            return false;
    /* The names of the features tell all the rest: categories and context. */
    return a->max_gap == b->max_gap && strcmp(a->zone_name, b->zone_name) == 0 &&
           schema_equals(a->features, b->features);
}

bool preparation_needs_series(const struct preparation *preparation)
{
    return preparation->n_memories > 0 || preparation->context > 1;
}

static bool has(const struct preparation *preparation, bool (*is_such)(enum preparing how))
{
    for (size_t i = 0; i < schema_n_features(preparation->inputs); i++)
        if (is_such(preparation->input[i].how))
            return true;
    return false;
}

static bool is_rate(enum preparing how)
{
    return how == PREPARE_RATE;
}

bool preparation_has_rates(const struct preparation *preparation)
{
    return has(preparation, is_rate);
}

bool preparation_needs_time(const struct preparation *preparation)
{
    return preparation_has_rates(preparation) || has(preparation, preparing_is_of_time);
}

const char *preparation_refuses(const struct preparation *preparation, size_t input, double value)
{
    const enum preparing how = preparation->input[input].how;

    if (how == PREPARE_LOG1P && value < 0.0)
        return "is below 0, which log1p cannot take; prepare this feature as raw";
    if (how == PREPARE_RATE && value < 0.0)
        return "is below 0, so this is no counter, which only grows; prepare this feature as "
               "delta or raw";
    return NULL;
}

/* ---- categories ---- */

double preparation_category(const struct prepared_input *input, const char *text, size_t length)
{
    char room[PREPARE_NUMBER_SIZE];
    size_t i = 0;

    text = prepare_category_text(room, text, &length);
    while (i < input->n_categories && (strlen(input->categories[i]) != length ||
                                       memcmp(input->categories[i], text, length) != 0))
        i++;
    return (double)i;
}
