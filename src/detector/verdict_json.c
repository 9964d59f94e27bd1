#include "detector/verdict_json.h"

#include "data/schema.h"
#include "detector/detector.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void append_name(struct text *text, const struct schema *schema, size_t feature)
{
    const char *name = schema_name(schema, feature);

    text_json_string(text, name, strlen(name));
}

void verdict_json_missing(struct text *text, const struct schema *schema, const float *row)
{
    const char *separator = "[";

    for (size_t i = 0; i < schema_n_features(schema); i++) {
        if (!isnan(row[i]))
            continue;
        text_puts(text, separator);
        append_name(text, schema, i);
        separator = ",";
    }
    text_puts(text, *separator == '[' ? "[]" : "]");
}

static void append_usual(struct text *text, const struct contribution *contribution)
{
    const float value = contribution->value, expected = contribution->expected;

    if (!isnan(contribution->usual_low)) {
        text_puts(text, ",\"usual\":[");
        text_float(text, contribution->usual_low);
        text_puts(text, ",");
        text_float(text, contribution->usual_high);
        text_puts(text, "]");
    }
    if (value > expected || value < expected)
        text_puts(text, value > expected ? ",\"direction\":\"above\"" : ",\"direction\":\"below\"");
}

static void append_contributions(struct text *text, const struct schema *schema,
                                 const struct contribution *contributions, size_t n)
{
    text_puts(text, ",\"contributions\":[");
    for (size_t i = 0; i < n; i++) {
        text_puts(text, i ? ",{\"feature\":" : "{\"feature\":");
        append_name(text, schema, contributions[i].feature);
        text_puts(text, ",\"value\":");
        text_float(text, contributions[i].value);
        text_puts(text, ",\"expected\":");
        text_float(text, contributions[i].expected);
        text_puts(text, ",\"share\":");
        text_double(text, contributions[i].share);
        append_usual(text, &contributions[i]);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

void verdict_json_append(struct text *text, const struct schema *schema,
                         const struct verdict *verdict, const double *threshold, const float *row,
                         const struct contribution *contributions, size_t n_contributions)
{
    text_puts(text, "\"reconstruction_error\":");
    text_double(text, verdict->reconstruction_error);
    if (threshold) {
        text_puts(text, ",\"threshold\":");
        text_double(text, *threshold);
    }
    text_puts(text, ",\"score\":");
    text_double(text, verdict->score);
    text_puts(text, ",\"p_value\":");
    text_double(text, verdict->p_value);
    text_puts(text, verdict->anomaly ? ",\"anomaly\":true" : ",\"anomaly\":false");
    if (verdict->event)
        text_printf(text, ",\"event\":%" PRIu64, verdict->event);
    if (verdict->n_imputed > 0) {
        text_puts(text, ",\"imputed\":");
        verdict_json_missing(text, schema, row);
    }
    if (contributions)
        append_contributions(text, schema, contributions, n_contributions);
}
