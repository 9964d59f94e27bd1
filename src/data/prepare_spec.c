#include "data/prepare_spec.h"

#include "base/number.h"
#include "base/text.h"
#include "base/zone.h"
#include "data/feature_list.h"
#include "data/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KINDS "raw, log1p, rate, delta, onehot, hour-of-day and day-of-week"

static const char *const kinds[N_PREPARING] = {
    [PREPARE_RAW] = "raw",
    [PREPARE_LOG1P] = "log1p",
    [PREPARE_RATE] = "rate",
    [PREPARE_DELTA] = "delta",
    [PREPARE_ONEHOT] = "onehot",
    [PREPARE_HOUR] = "hour-of-day",
    [PREPARE_WEEKDAY] = "day-of-week",
};

const char *preparing_name(enum preparing how)
{
    return kinds[how];
}

bool preparing_is_of_time(enum preparing how)
{
    return how == PREPARE_HOUR || how == PREPARE_WEEKDAY;
}

bool preparing_find(const char *name, size_t length, enum preparing *ret_how)
{
    for (size_t i = 0; i < N_PREPARING; i++)
        if (strlen(kinds[i]) == length && memcmp(kinds[i], name, length) == 0) {
            *ret_how = (enum preparing)i;
            return true;
        }
    return false;
}

void prepare_spec_init(struct prepare_spec *spec)
{
    *spec = (struct prepare_spec){.context = 1, .max_gap = PREPARE_MAX_GAP};
}

static void item_clear(struct prepare_item *item)
{
    for (size_t i = 0; i < item->n_categories; i++)
        free(item->categories[i]);
    free(item->categories);
    free(item->name);
}

void prepare_spec_clear(struct prepare_spec *spec)
{
    for (size_t i = 0; i < spec->n_items; i++)
        item_clear(&spec->items[i]);
    free(spec->items);
    free(spec->zone);
    *spec = (struct prepare_spec){0};
}

struct prepare_item *prepare_spec_find(const struct prepare_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->n_items; i++)
        if (strcmp(spec->items[i].name, name) == 0)
            return &spec->items[i];
    return NULL;
}

bool prepare_spec_is_plain(const struct prepare_spec *spec)
{
    for (size_t i = 0; i < spec->n_items; i++)
        if (spec->items[i].how != PREPARE_RAW)
            return false;
    return spec->context <= 1;
}

bool prepare_spec_looks_back(const struct prepare_spec *spec)
{
    for (size_t i = 0; i < spec->n_items; i++)
        if (spec->items[i].how == PREPARE_RATE || spec->items[i].how == PREPARE_DELTA)
            return true;
    return spec->context > 1;
}

bool prepare_spec_has_clock(const struct prepare_spec *spec)
{
    for (size_t i = 0; i < spec->n_items; i++)
        if (preparing_is_of_time(spec->items[i].how))
            return true;
    return false;
}

bool prepare_is_missing(const char *text, size_t length)
{
    return length == 0 || (length == 2 && strncasecmp(text, "na", 2) == 0) ||
           (length == 3 && strncasecmp(text, "nan", 3) == 0) ||
           (length == 4 && strncasecmp(text, "null", 4) == 0);
}

/* ---- adding ---- */

int prepare_spec_add(struct prepare_spec *spec, const char *name, size_t length, enum preparing how,
                     struct error *reterr)
{
    const char *reason = schema_check_name(name, length);
    char shown[TEXT_SHOWN_SIZE];

    if (reason)
        return error_set(reterr, -EINVAL, "names the feature \"%s\": %s",
                         text_show(shown, name, length), reason);
    AUTO_FREE char *copy = strndup(name, length);
    if (!copy)
        return error_set(reterr, -ENOMEM, "out of memory");
    if (prepare_spec_find(spec, copy))
        return error_set(reterr, -EINVAL, "names \"%s\" twice; prepare it in one way",
                         text_show(shown, name, length));
    void *items = reallocarray(spec->items, spec->n_items + 1, sizeof(*spec->items));
    if (!items)
        return error_set(reterr, -ENOMEM, "out of memory");
    spec->items = items;
    spec->items[spec->n_items++] = (struct prepare_item){.name = TAKE(copy), .how = how};
    return 0;
}

size_t prepare_number_text(char ret_text[PREPARE_NUMBER_SIZE], double number)
{
    _Static_assert(PREPARE_NUMBER_SIZE >= NUMBER_MAX, "room for any number");
    return number_write_double(ret_text, number == 0.0 ? 0.0 : number); /* no -0 */
}

const char *prepare_category_text(char ret_room[PREPARE_NUMBER_SIZE], const char *text,
                                  size_t *length)
{
    double number;

    if (number_parse_double(text, *length, &number) < 0)
        return text;
    *length = prepare_number_text(ret_room, number);
    return ret_room;
}

int prepare_spec_add_category(struct prepare_item *item, const char *text, size_t length,
                              struct error *reterr)
{
    char room[PREPARE_NUMBER_SIZE];
    text = prepare_category_text(room, text, &length);
    const char *reason = schema_check_name(text, length);
    char shown[TEXT_SHOWN_SIZE], shown_name[TEXT_SHOWN_SIZE];

    (void)text_show(shown_name, item->name, strlen(item->name));
    if (reason)
        return error_set(reterr, -EINVAL, "gives \"%s\" the category \"%s\": %s", shown_name,
                         text_show(shown, text, length), reason);
    for (size_t i = 0; i < item->n_categories; i++)
        if (strlen(item->categories[i]) == length && memcmp(item->categories[i], text, length) == 0)
            return error_set(reterr, -EINVAL, "gives \"%s\" the category \"%s\" twice", shown_name,
                             text_show(shown, text, length));
    if (item->n_categories == PREPARE_MAX_CATEGORIES)
        return error_set(reterr, -EINVAL,
                         "gives \"%s\" more than %d categories; leave the feature out, it looks "
                         "like an id",
                         shown_name, PREPARE_MAX_CATEGORIES);
    AUTO_FREE char *copy = strndup(text, length);
    void *categories =
        reallocarray(item->categories, item->n_categories + 1, sizeof(*item->categories));
    if (categories)
        item->categories = categories;
    if (!copy || !categories)
        return error_set(reterr, -ENOMEM, "out of memory");
    item->categories[item->n_categories++] = TAKE(copy);
    return 0;
}

/* ---- sharing ---- */

int prepare_spec_new(struct prepare_spec **ret_spec)
{
    struct prepare_spec *spec = malloc(sizeof(*spec));
    if (!spec)
        return -ENOMEM;
    prepare_spec_init(spec);
    spec->references = 1;
    *ret_spec = spec;
    return 0;
}

struct prepare_spec *prepare_spec_share(struct prepare_spec *spec)
{
    if (spec)
        (void)__atomic_add_fetch(&spec->references, 1, __ATOMIC_RELAXED);
    return spec;
}

void prepare_spec_free(struct prepare_spec *spec)
{
    if (!spec || __atomic_sub_fetch(&spec->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    prepare_spec_clear(spec);
    free(spec);
}

/* ---- parsing ---- */

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && strchr(" \t\r", **text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && strchr(" \t\r", (*text)[*length - 1]))
        (*length)--;
}

static int parse_categories(struct prepare_item *item, const char *text, size_t length,
                            struct error *reterr)
{
    const char *const end = text + length;
    char shown[TEXT_SHOWN_SIZE];

    for (const char *at = text; at <= end;) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        const char *const next = bar ? bar : end;
        const char *category = at;
        size_t n = (size_t)(next - at);
        trim(&category, &n);
        if (n > 0 && prepare_is_missing(category, n))
            return error_set(reterr, -EINVAL,
                             "gives \"%s\" the category \"%.*s\", which says that a value is "
                             "missing; leave it out",
                             text_show(shown, item->name, strlen(item->name)), (int)n, category);
        int r = prepare_spec_add_category(item, category, n, reterr);
        if (r < 0)
            return r;
        at = next + 1;
    }
    return 0;
}

/* Names and categories may hold one, too: the last one that a kind follows, or just the last. */
static const char *find_equals(const char *item, size_t length)
{
    const char *const last = memrchr(item, '=', length);
    enum preparing how;

    for (const char *at = last; at; at = memrchr(item, '=', (size_t)(at - item))) {
        const char *kind = at + 1;
        size_t n = length - (size_t)(kind - item);
        const char *colon = memchr(kind, ':', n);
        n = colon ? (size_t)(colon - kind) : n;
        trim(&kind, &n);
        if (preparing_find(kind, n, &how))
            return at;
    }
    return last;
}

/* `timestamp` is not the name of a feature: what is made of it has the name of the kind. */
static int parse_item(struct prepare_spec *spec, const char *name, size_t length, const char *kind,
                      size_t kind_length, struct error *reterr)
{
    const char *colon = memchr(kind, ':', kind_length);
    const size_t n = colon ? (size_t)(colon - kind) : kind_length;
    char shown[TEXT_SHOWN_SIZE], shown_name[TEXT_SHOWN_SIZE];
    enum preparing how;

    (void)text_show(shown_name, name, length);
    if (!preparing_find(kind, n, &how))
        return error_set(reterr, -EINVAL,
                         "prepares \"%s\" by \"%s\", which is unknown; there are " KINDS,
                         shown_name, text_show(shown, kind, n));
    if (colon && how != PREPARE_ONEHOT)
        return error_set(reterr, -EINVAL,
                         "gives \"%s\" categories, but %s has none; only onehot "
                         "does",
                         shown_name, preparing_name(how));
    if (length == 9 && memcmp(name, "timestamp", 9) == 0) {
        if (!preparing_is_of_time(how))
            return error_set(reterr, -EINVAL,
                             "prepares the timestamp by %s; it can be hour-of-day or day-of-week",
                             preparing_name(how));
        name = preparing_name(how);
        length = strlen(name);
    }
    int r = prepare_spec_add(spec, name, length, how, reterr);
    if (r == 0 && colon)
        r = parse_categories(&spec->items[spec->n_items - 1], colon + 1, kind_length - n - 1,
                             reterr);
    return r;
}

static int parse_items(struct prepare_spec *spec, const char *text, struct error *reterr)
{
    CLEANUP(feature_list_clear) struct feature_list list = {0};
    struct feature_item item;
    char shown[TEXT_SHOWN_SIZE];
    struct error why;

    int r = feature_list_open(&list, text);
    if (r < 0)
        return error_set(reterr, r, "out of memory");
    while ((r = feature_list_next(&list, &item, reterr)) > 0) {
        const char *hint = feature_item_hint(&item);
        if (!item.is_quoted)
            feature_item_split(&item, find_equals(item.name, item.length));
        if (!item.value)
            return error_set(reterr, -EINVAL,
                             "holds \"%s\"; write FEATURE=KIND, such as bytes=rate%s",
                             text_show(shown, item.name, item.length), hint);
        r = parse_item(spec, item.name, item.length, item.value, item.value_length, &why);
        if (r < 0)
            return error_set(reterr, r, "%s%s", why.text, hint);
    }
    return r;
}

int prepare_spec_parse(struct prepare_spec *spec, const char *text, struct error *reterr)
{
    assert(spec && text);
    CLEANUP(prepare_spec_clear) struct prepare_spec parsed = {0};

    int r = parse_items(&parsed, text, reterr);
    if (r < 0)
        return r;
    const struct prepare_spec was = *spec;
    spec->items = parsed.items;
    spec->n_items = parsed.n_items;
    parsed.items = was.items;
    parsed.n_items = was.n_items;
    return 0;
}

/* ---- settings ---- */

static int set_context(struct prepare_spec *spec, const char *text, struct error *reterr)
{
    uint64_t context;

    if (number_parse_u64(text, strlen(text), &context) < 0 || context < 1 ||
        context > PREPARE_MAX_CONTEXT)
        return error_set(reterr, -EINVAL, "must be a number of rows from 1 to %d",
                         PREPARE_MAX_CONTEXT);
    spec->context = (size_t)context;
    return 0;
}

static int set_max_gap(struct prepare_spec *spec, const char *text, struct error *reterr)
{
    uint64_t gap_us = 0;

    if (strcmp(text, "none") != 0 && number_parse_duration_us(text, strlen(text), &gap_us) < 0)
        return error_set(reterr, -EINVAL, "must be a number and a unit, as in 90s or 1h, or none");
    spec->max_gap = (double)gap_us / 1e6;
    return 0;
}

static int set_zone(struct prepare_spec *spec, const char *text, struct error *reterr)
{
    struct zone *zone = NULL;
    struct error why = {0};

    int r = zone_open(text, &zone, &why);
    if (r < 0)
        return error_set(reterr, r, "must be a time zone: %s", why.text);
    zone_close(zone);
    char *copy = strdup(text);
    if (!copy)
        return error_set(reterr, -ENOMEM, "out of memory");
    free(spec->zone);
    spec->zone = copy;
    return 0;
}

const struct prepare_setting prepare_settings[N_PREPARE_SETTINGS] = {
    {"prepare",  "F=KIND,…",
     "how features are prepared: raw, log1p, rate, delta, onehot,\n"
     "hour-of-day and day-of-week (of the timestamp)",                             prepare_spec_parse},
    {"context",  "N",          "rows of a series that the model sees at once (1)", set_context       },
    {"max-gap",  "DURATION",
     "time without a row after which a series begins\n"
     "afresh (1h), or none",                                                       set_max_gap       },
    {"timezone", "NAME",       "of hour-of-day and day-of-week (UTC)",             set_zone          },
};
