#include "anomalyctl/sent_rows.h"

#include "base/text.h"
#include "data/dataset.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/preparation_json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

void sent_inputs_clear(struct sent_inputs *inputs)
{
    schema_free(inputs->values);
    preparation_free(inputs->preparation);
    *inputs = (struct sent_inputs){0};
}

static int read_features(const json_t *features, const char *name, struct schema **ret_values,
                         struct error *reterr)
{
    const size_t n = json_array_size(features);
    AUTO_FREE const char **names = calloc(n + 1, sizeof(*names));
    if (!names)
        return -ENOMEM;

    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(features, i));
        if (!names[i])
            return error_set(reterr, -EPROTO, "model %s: the daemon does not tell its features",
                             name);
    }
    return n > 0 ? schema_new(names, n, ret_values, reterr) : 0;
}

int sent_inputs_read(const json_t *model, const char *name, struct sent_inputs *ret_inputs,
                     struct error *reterr)
{
    CLEANUP(sent_inputs_clear) struct sent_inputs inputs = {0};
    const json_t *preparation = json_object_get(model, "preparation");

    int r = read_features(json_object_get(model, "features"), name, &inputs.values, reterr);
    if (r == 0 && inputs.values && preparation)
        r = preparation_from_json(preparation, &inputs.preparation, reterr);
    if (r < 0)
        return r;
    *ret_inputs = inputs;
    inputs = (struct sent_inputs){0};
    return 0;
}

static void append_name(struct text *body, const char *name)
{
    text_json_string(body, name, strlen(name));
    text_puts(body, ":");
}

/* Text where it is one. */
static void append_value(const struct dataset *dataset, size_t row, size_t column,
                         const struct preparation *preparation, struct text *body)
{
    const double value = dataset->values[row * dataset->n_values + column];

    if (preparation->input[column].how != PREPARE_ONEHOT || isnan(value)) {
        text_double(body, value);
        return;
    }
    const char *text = dataset->texts[column].texts[(size_t)value];
    text_json_string(body, text, strlen(text));
}

static void append_prepared(const struct dataset *dataset, size_t row,
                            const struct preparation *preparation, struct text *body)
{
    const char *comma = "";

    text_puts(body, "{");
    if (dataset->timestamps) {
        append_name(body, "timestamp");
        text_double(body, dataset->timestamps[row]);
        comma = ",";
    }
    for (size_t j = 0; j < dataset->n_values; j++, comma = ",") {
        text_puts(body, comma);
        append_name(body, dataset->names[j]);
        append_value(dataset, row, j, preparation, body);
    }
    text_puts(body, "}");
}

void sent_row_append(const struct dataset *dataset, size_t row,
                     const struct preparation *preparation, bool is_named, struct text *body)
{
    if (preparation) {
        append_prepared(dataset, row, preparation, body);
        return;
    }
    const float *values = &dataset->rows[row * dataset->n_features];

    text_puts(body, is_named ? "{" : "[");
    for (size_t j = 0; j < dataset->n_features; j++) {
        text_puts(body, j > 0 ? "," : "");
        if (is_named)
            append_name(body, dataset->names[j]);
        text_float(body, values[j]);
    }
    text_puts(body, is_named ? "}" : "]");
}
