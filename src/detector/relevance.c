#include "detector/relevance.h"

#include "base/number.h"
#include "base/text.h"
#include "data/feature_list.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/vocabulary.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct item {
    char *feature;
    struct relevance_rule rule; /* only what its part is about */
};

struct part {
    bool is_given;
    struct item *items; /* [n_items] in the order in which they were given */
    size_t n_items;
};

struct relevance {
    atomic_uint n_users;
    struct part parts[N_RELEVANCE_PARTS];
};

const struct relevance_option relevance_options[N_RELEVANCE_PARTS] = {
    [RELEVANCE_DIRECTIONS] = {"direction", "F=above,G=below",
                              "which deviations of a feature matter: above or below\n"
                              "what was expected; both (of those not named), or none:\n"
                              "nothing is said of any"                     },
    [RELEVANCE_TOLERANCES] = {"tolerance", "F=5,G=10%",
                              "the smallest deviation of a feature that matters, in\n"
                              "its unit or in percent of what was expected"},
};

static const char *const direction_names[] = {
    [RELEVANCE_BOTH] = "both", [RELEVANCE_ABOVE] = "above", [RELEVANCE_BELOW] = "below"};
#define N_DIRECTIONS (sizeof(direction_names) / sizeof(*direction_names))

static const char *const must_be[N_RELEVANCE_PARTS] = {
    [RELEVANCE_DIRECTIONS] = "must say above, below or both of each feature, as in "
                             "cpu=above,memory=below",
    [RELEVANCE_TOLERANCES] = "must give each feature a number that is 0 or above, or a percentage, "
                             "as in cpu=5,memory=10%",
};

bool relevance_matters(const struct relevance_rule *rule, double value, double expected)
{
    const double deviation = value - expected;
    const double least = rule->is_relative ? rule->tolerance * fabs(expected) : rule->tolerance;

    if (isnan(deviation))
        return true;
    if ((rule->direction == RELEVANCE_ABOVE && deviation <= 0.0) ||
        (rule->direction == RELEVANCE_BELOW && deviation >= 0.0))
        return false;
    return fabs(deviation) >= least;
}

/* ---- made and shared ---- */

static void part_clear(struct part *part)
{
    for (size_t i = 0; i < part->n_items; i++)
        free(part->items[i].feature);
    free(part->items);
    *part = (struct part){0};
}

static int new_relevance(struct relevance **ret_relevance)
{
    struct relevance *relevance = calloc(1, sizeof(*relevance));
    if (!relevance)
        return -ENOMEM;
    atomic_init(&relevance->n_users, 1);
    *ret_relevance = relevance;
    return 0;
}

struct relevance *relevance_share(struct relevance *relevance)
{
    if (relevance)
        (void)atomic_fetch_add(&relevance->n_users, 1);
    return relevance;
}

void relevance_release(struct relevance *relevance)
{
    if (!relevance || atomic_fetch_sub(&relevance->n_users, 1) != 1)
        return;
    for (size_t i = 0; i < N_RELEVANCE_PARTS; i++)
        part_clear(&relevance->parts[i]);
    free(relevance);
}

/* Appends a rule for a name that is not there yet. -EEXIST; -ENOMEM. */
static int add(struct part *part, const char *feature, size_t length, struct relevance_rule rule)
{
    for (size_t i = 0; i < part->n_items; i++)
        if (strlen(part->items[i].feature) == length &&
            memcmp(part->items[i].feature, feature, length) == 0)
            return -EEXIST;
    struct item *items = realloc(part->items, (part->n_items + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    part->items = items;
    char *copy = malloc(length + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, feature, length);
    copy[length] = '\0';
    items[part->n_items++] = (struct item){copy, rule};
    return 0;
}

static int copy_part(const struct part *from, struct part *to)
{
    int r = 0;

    to->is_given = from->is_given;
    for (size_t i = 0; r == 0 && i < from->n_items; i++)
        r = add(to, from->items[i].feature, strlen(from->items[i].feature), from->items[i].rule);
    return r;
}

int relevance_override(struct relevance *base, struct relevance *over,
                       struct relevance **ret_relevance)
{
    CLEANUP(relevance_releasep) struct relevance *both = NULL;

    if (!base || !over) {
        *ret_relevance = relevance_share(base ? base : over);
        return 0;
    }
    int r = new_relevance(&both);
    for (size_t i = 0; r == 0 && i < N_RELEVANCE_PARTS; i++)
        r = copy_part(over->parts[i].is_given ? &over->parts[i] : &base->parts[i], &both->parts[i]);
    if (r < 0)
        return r;
    *ret_relevance = TAKE(both);
    return 0;
}

/* ---- compared ---- */

static bool is_same_rule(const struct relevance_rule *a, const struct relevance_rule *b)
{
    return a->direction == b->direction && a->is_relative == b->is_relative &&
           a->tolerance == b->tolerance;
}

static bool is_same_part(const struct part *a, const struct part *b)
{
    if (a->is_given != b->is_given || a->n_items != b->n_items)
        return false;
    for (size_t i = 0; i < a->n_items; i++)
        if (strcmp(a->items[i].feature, b->items[i].feature) != 0 ||
            !is_same_rule(&a->items[i].rule, &b->items[i].rule))
            return false;
    return true;
}

bool relevance_is_same(const struct relevance *a, const struct relevance *b)
{
    if (a == b || !a || !b)
        return a == b;
    for (size_t i = 0; i < N_RELEVANCE_PARTS; i++)
        if (!is_same_part(&a->parts[i], &b->parts[i]))
            return false;
    return true;
}

/* ---- from text ---- */

static int read_direction(const char *text, size_t length, struct relevance_rule *ret_rule)
{
    for (size_t i = 0; i < N_DIRECTIONS; i++)
        if (strlen(direction_names[i]) == length && memcmp(direction_names[i], text, length) == 0) {
            *ret_rule = (struct relevance_rule){.direction = (enum relevance_direction)i};
            return 0;
        }
    return -EINVAL;
}

static int read_tolerance(const char *text, size_t length, struct relevance_rule *ret_rule)
{
    const bool is_relative = length > 0 && text[length - 1] == '%';
    double tolerance;

    if (number_parse_double(text, length - is_relative, &tolerance) < 0 || !isfinite(tolerance) ||
        tolerance < 0.0)
        return -EINVAL;
    *ret_rule = (struct relevance_rule){.tolerance = is_relative ? tolerance / 100 : tolerance,
                                        .is_relative = is_relative};
    return 0;
}

static int read_rule(enum relevance_part part, const char *text, size_t length,
                     struct relevance_rule *ret_rule)
{
    return part == RELEVANCE_DIRECTIONS ? read_direction(text, length, ret_rule)
                                        : read_tolerance(text, length, ret_rule);
}

/* One "cpu=above"; the last = counts, for names may hold some. */
static int read_item(struct part *ret_part, enum relevance_part which, struct feature_item *item,
                     struct error *reterr)
{
    const char *hint = feature_item_hint(item);
    char shown[TEXT_SHOWN_SIZE];
    struct relevance_rule rule;

    (void)text_show(shown, item->name, item->length);
    if (!item->is_quoted)
        feature_item_split(item, memrchr(item->name, '=', item->length));
    if (item->length == 0 || !item->value ||
        read_rule(which, item->value, item->value_length, &rule) < 0)
        return error_set(reterr, -EINVAL, "%s; %s does not%s", must_be[which], shown, hint);
    int r = add(ret_part, item->name, item->length, rule);
    return r == -EEXIST ? error_set(reterr, -EINVAL,
                                    "%s; %s is the second word on its feature, and one is enough",
                                    must_be[which], shown)
                        : r;
}

static int read_items(struct part *ret_part, enum relevance_part which, const char *text,
                      struct error *reterr)
{
    CLEANUP(feature_list_clear) struct feature_list list = {0};
    struct feature_item item;

    int r = feature_list_open(&list, text);
    while (r == 0 && (r = feature_list_next(&list, &item, reterr)) > 0)
        r = read_item(ret_part, which, &item, reterr);
    return r;
}

int relevance_read(struct relevance **relevance, enum relevance_part part, const char *text,
                   struct error *reterr)
{
    CLEANUP(part_clear) struct part read = {.is_given = true};
    const bool is_none = strcmp(text, "none") == 0;

    int r = is_none ? 0 : read_items(&read, part, text, reterr);
    if (r == 0 && !is_none && read.n_items == 0)
        r = error_set(reterr, -EINVAL, "%s", must_be[part]);
    if (r == 0 && !*relevance)
        r = new_relevance(relevance);
    if (r < 0)
        return r;
    part_clear(&(*relevance)->parts[part]);
    (*relevance)->parts[part] = read;
    read = (struct part){0};
    return 0;
}

/* ---- to text ---- */

bool relevance_has(const struct relevance *relevance, enum relevance_part part)
{
    return relevance && relevance->parts[part].is_given;
}

static void print_rule(const struct relevance_rule *rule, enum relevance_part part,
                       struct text *text)
{
    if (part == RELEVANCE_DIRECTIONS) {
        text_puts(text, direction_names[rule->direction]);
        return;
    }
    text_double(text, rule->is_relative ? 100 * rule->tolerance : rule->tolerance);
    text_puts(text, rule->is_relative ? "%" : "");
}

void relevance_print(const struct relevance *relevance, enum relevance_part part, struct text *text)
{
    const struct part *said = &relevance->parts[part];

    for (size_t i = 0; i < said->n_items; i++) {
        text_puts(text, i ? "," : "");
        feature_list_append(text, said->items[i].feature);
        text_puts(text, "=");
        print_rule(&said->items[i].rule, part, text);
    }
    text_puts(text, said->n_items == 0 ? "none" : "");
}

/* ---- in model files ---- */

static json_t *part_to_json(const struct part *part, enum relevance_part which)
{
    json_auto_t *object = json_object();

    for (size_t i = 0; i < part->n_items; i++) {
        CLEANUP(text_clear) struct text value = {0};
        print_rule(&part->items[i].rule, which, &value);
        if (text_failed(&value) ||
            json_object_set_new(object, part->items[i].feature, json_string(value.data)) < 0)
            return NULL;
    }
    return TAKE(object);
}

json_t *relevance_to_json(const struct relevance *relevance)
{
    json_auto_t *document = json_object();

    for (enum relevance_part i = 0; i < N_RELEVANCE_PARTS; i++)
        if (relevance->parts[i].is_given &&
            json_object_set_new(document, relevance_options[i].name,
                                part_to_json(&relevance->parts[i], i)) < 0)
            return NULL;
    return TAKE(document);
}

static int part_from_json(json_t *object, enum relevance_part which, struct part *part)
{
    const char *feature;
    json_t *value;

    if (!json_is_object(object))
        return -EINVAL;
    part->is_given = true;
    json_object_foreach(object, feature, value)
    {
        const char *text = json_string_value(value);
        struct relevance_rule rule;
        if (!text || read_rule(which, text, strlen(text), &rule) < 0)
            return -EINVAL;
        int r = add(part, feature, strlen(feature), rule);
        if (r < 0)
            return r;
    }
    return 0;
}

int relevance_from_json(const json_t *document, struct relevance **ret_relevance)
{
    CLEANUP(relevance_releasep) struct relevance *relevance = NULL;

    int r = json_is_object(document) ? new_relevance(&relevance) : -EINVAL;
    for (enum relevance_part i = 0; r == 0 && i < N_RELEVANCE_PARTS; i++) {
        json_t *object = json_object_get(document, relevance_options[i].name);
        if (object)
            r = part_from_json(object, i, &relevance->parts[i]);
    }
    if (r < 0)
        return r;
    *ret_relevance = TAKE(relevance);
    return 0;
}

/* ---- bound to inputs ---- */

static void apply(enum relevance_part part, const struct relevance_rule *from,
                  struct relevance_rule *rule)
{
    if (part == RELEVANCE_DIRECTIONS) {
        rule->direction = from->direction;
        return;
    }
    rule->tolerance = from->tolerance;
    rule->is_relative = from->is_relative;
}

static int refuse(enum relevance_part part, const char *feature, const struct schema *inputs,
                  struct error *reterr)
{
    const char *nearest = schema_nearest(inputs, feature, strlen(feature));
    char shown[TEXT_SHOWN_SIZE], like[TEXT_SHOWN_SIZE] = "";

    (void)text_show(shown, feature, strlen(feature));
    if (nearest)
        (void)text_show(like, nearest, strlen(nearest));
    return error_set(reterr, -EINVAL, "%s: there is no feature %s%s%s%s",
                     relevance_options[part].name, shown, nearest ? "; did you mean " : "", like,
                     nearest ? "?" : "; leave it out");
}

/* One of a set, or of a circle, is not above another. */
static int check_kind(enum relevance_part part, const char *feature, const struct preparation *how,
                      size_t input, struct error *reterr)
{
    const enum preparing kind = how ? how->input[input].how : PREPARE_RAW;
    char shown[TEXT_SHOWN_SIZE];

    if (kind != PREPARE_ONEHOT && kind != PREPARE_HOUR && kind != PREPARE_WEEKDAY)
        return 0;
    return error_set(reterr, -EINVAL,
                     "%s: %s is prepared as %s, of which nothing is above or below; leave it out",
                     relevance_options[part].name, text_show(shown, feature, strlen(feature)),
                     preparing_name(kind));
}

int relevance_check(const struct relevance *relevance, const struct vocabulary *vocabulary,
                    enum relevance_part *ret_part, struct error *reterr)
{
    int r = 0;

    for (enum relevance_part i = 0; relevance && i < N_RELEVANCE_PARTS && r == 0; i++)
        for (size_t k = 0; k < relevance->parts[i].n_items && r == 0; k++) {
            const char *feature = relevance->parts[i].items[k].feature;
            size_t input;
            r = schema_find(vocabulary->inputs, feature, strlen(feature), &input)
                    ? check_kind(i, feature, vocabulary->preparation, input, reterr)
                    : refuse(i, feature, vocabulary->inputs, reterr);
            if (r < 0 && ret_part)
                *ret_part = i;
        }
    return r;
}

int relevance_bind(const struct relevance *relevance, const struct vocabulary *vocabulary,
                   struct relevance_rule **ret_rules, struct error *reterr)
{
    AUTO_FREE struct relevance_rule *rules = NULL;
    size_t input;

    int r = relevance_check(relevance, vocabulary, NULL, reterr);
    if (r < 0)
        return r;
    for (enum relevance_part i = 0; relevance && i < N_RELEVANCE_PARTS; i++)
        for (size_t k = 0; k < relevance->parts[i].n_items; k++) {
            const struct item *item = &relevance->parts[i].items[k];
            if (!rules)
                rules = calloc(schema_n_features(vocabulary->inputs), sizeof(*rules));
            if (!rules)
                return error_set(reterr, -ENOMEM, "out of memory");
            if (schema_find(vocabulary->inputs, item->feature, strlen(item->feature), &input))
                apply(i, &item->rule, &rules[input]);
        }
    *ret_rules = TAKE(rules);
    return 0;
}
