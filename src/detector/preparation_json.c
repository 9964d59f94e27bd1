#include "detector/preparation_json.h"

#include "base/zone.h"
#include "data/preparation.h"
#include "data/schema.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *input_to_json(const struct preparation *preparation, size_t input)
{
    const struct prepared_input *how = &preparation->input[input];
    json_t *document = json_pack("{s:s, s:s}", "name", schema_name(preparation->inputs, input),
                                 "kind", preparing_name(how->how));
    json_t *categories = NULL;

    if (how->how != PREPARE_ONEHOT)
        return document;
    categories = json_array();
    for (size_t i = 0; i < how->n_categories; i++)
        (void)json_array_append_new(categories, json_string(how->categories[i]));
    const bool is_whole = json_array_size(categories) == how->n_categories;
    if (json_object_set_new(document, "categories", categories) == 0 && is_whole)
        return document;
    json_decref(document);
    return NULL;
}

json_t *preparation_to_json(const struct preparation *preparation)
{
    const size_t n = schema_n_features(preparation->inputs);
    json_auto_t *inputs = json_array();

    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(inputs, input_to_json(preparation, i)) < 0)
            return NULL;
    return json_pack("{s:O, s:I, s:f, s:s}", "inputs", inputs, "context",
                     (json_int_t)preparation->context, "max_gap", preparation->max_gap, "timezone",
                     preparation->zone_name);
}

/* ---- reading ---- */

/* What is read: a spec, and the names of the values. */
struct reading {
    struct prepare_spec spec;
    const char **names; /* [n_names] */
    size_t n_names;
};

static void reading_clear(struct reading *reading)
{
    prepare_spec_clear(&reading->spec);
    free(reading->names);
}

static int damaged(struct error *reterr, const char *what)
{
    return error_set(reterr, -EINVAL, "preparation: %s", what);
}

static int read_categories(const json_t *document, struct prepare_item *item, struct error *reterr)
{
    const json_t *categories = json_object_get(document, "categories");
    struct error why = {0};

    for (size_t i = 0; i < json_array_size(categories); i++) {
        const char *text = json_string_value(json_array_get(categories, i));
        int r = text ? prepare_spec_add_category(item, text, strlen(text), &why) : -EINVAL;
        if (r < 0)
            return text ? error_set(reterr, r, "preparation: %s", why.text)
                        : damaged(reterr, "a category is not text");
    }
    return 0;
}

static int read_input(const json_t *document, struct reading *reading, struct error *reterr)
{
    const char *name = json_string_value(json_object_get(document, "name"));
    const char *kind = json_string_value(json_object_get(document, "kind"));
    struct prepare_spec *spec = &reading->spec;
    struct error why = {0};
    enum preparing how;

    if (!name || !kind || !preparing_find(kind, strlen(kind), &how))
        return damaged(reterr, "an input needs a name and a kind");
    int r = prepare_spec_add(spec, name, strlen(name), how, &why);
    if (r < 0)
        return error_set(reterr, r, "preparation: %s", why.text);
    if (!preparing_is_of_time(how))
        reading->names[reading->n_names++] = name;
    return how == PREPARE_ONEHOT
               ? read_categories(document, &spec->items[spec->n_items - 1], reterr)
               : 0;
}

static int read_all(const json_t *document, struct reading *reading, struct error *reterr)
{
    const json_t *inputs = json_object_get(document, "inputs");
    const json_t *context = json_object_get(document, "context");
    const json_t *max_gap = json_object_get(document, "max_gap");
    const char *zone = json_string_value(json_object_get(document, "timezone"));
    const size_t n = json_array_size(inputs);
    int r = 0;

    if (n == 0 || n > (size_t)2 * SCHEMA_MAX_FEATURES)
        return damaged(reterr, "inputs is not a list of inputs");
    if (!json_is_integer(context) || json_integer_value(context) < 1 ||
        json_integer_value(context) > PREPARE_MAX_CONTEXT)
        return damaged(reterr, "context is not a number of rows from 1 to 64");
    if (!json_is_number(max_gap) || !(json_number_value(max_gap) >= 0.0) || !zone)
        return damaged(reterr, "max_gap or timezone is missing");
    reading->spec.context = (size_t)json_integer_value(context);
    reading->spec.max_gap = json_number_value(max_gap);
    reading->spec.zone = strdup(zone);
    reading->names = calloc(n, sizeof(*reading->names));
    if (!reading->spec.zone || !reading->names)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_input(json_array_get(inputs, i), reading, reterr);
    return r;
}

int preparation_from_json(const json_t *document, struct preparation **ret_preparation,
                          struct error *reterr)
{
    CLEANUP(reading_clear) struct reading reading = {0};
    struct error why = {0};

    prepare_spec_init(&reading.spec);
    int r = read_all(document, &reading, reterr);
    if (r < 0)
        return r;
    r = preparation_new(&reading.spec, reading.names, reading.n_names, ret_preparation, &why);
    return r < 0 ? error_set(reterr, r, "preparation: %s", why.text) : 0;
}
