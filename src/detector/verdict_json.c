#include "detector/verdict_json.h"

#include "base/number.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"
#include "detector/summary.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void append_name(struct text *text, const struct vocabulary *vocabulary, size_t input)
{
    const char *name = schema_name(vocabulary->inputs, input);

    text_json_string(text, name, strlen(name));
}

void verdict_json_set_aside(struct text *text, const struct vocabulary *vocabulary,
                            const struct explained *explained)
{
    const struct preparation *preparation = vocabulary->preparation;
    const char *separator = "";

    text_puts(text, ",\"set_aside\":[");
    for (size_t i = 0; i < schema_n_features(vocabulary->inputs); i++) {
        if (!explained->is_aside[preparation ? preparation->input[i].column : i])
            continue;
        text_puts(text, separator);
        append_name(text, vocabulary, i);
        separator = ",";
    }
    text_puts(text, "]");
}

static void append_usual(struct text *text, const struct vocabulary *vocabulary,
                         const struct contribution *contribution)
{
    const char *change = vocabulary_change(vocabulary, contribution->feature);
    const float value = contribution->value, expected = contribution->expected;
    char room[PREPARATION_WORD_SIZE];

    if (change)
        text_printf(text, ",\"prepared\":\"%s\"", change);
    if (vocabulary_word(vocabulary, contribution->feature, expected, room))
        return;

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

/* What is blamed stood in a row before this one. */
static void append_back(struct text *text, const struct vocabulary *vocabulary,
                        const struct contribution *contribution)
{
    if (contribution->rows_back == 0)
        return;
    text_printf(text, ",\"before\":{\"rows\":%zu,\"value\":", contribution->rows_back);
    vocabulary_put_json(vocabulary, contribution->feature, contribution->back.value, text);
    text_puts(text, ",\"expected\":");
    vocabulary_put_json(vocabulary, contribution->feature, contribution->back.expected, text);
    text_puts(text, "}");
}

/* error_shares: in the order of the inputs; NULL: not asked for. */
static void append_contribution(struct text *text, const struct vocabulary *vocabulary,
                                const struct contribution *contribution, const double *error_shares)
{
    text_puts(text, "{\"feature\":");
    append_name(text, vocabulary, contribution->feature);
    text_puts(text, ",\"value\":");
    vocabulary_put_json(vocabulary, contribution->feature, contribution->value, text);
    text_puts(text, ",\"expected\":");
    vocabulary_put_json(vocabulary, contribution->feature, contribution->expected, text);
    text_puts(text, ",\"share\":");
    text_double(text, contribution->share);
    append_usual(text, vocabulary, contribution);
    append_back(text, vocabulary, contribution);
    if (error_shares) {
        text_puts(text, ",\"error_share\":");
        text_double(text, error_shares[contribution->feature]);
    }
    text_puts(text, "}");
}

static void append_contributions(struct text *text, const struct vocabulary *vocabulary,
                                 const struct contribution *contributions, size_t n,
                                 const double *error_shares)
{
    text_puts(text, "[");
    for (size_t i = 0; i < n; i++) {
        text_puts(text, i ? "," : "");
        append_contribution(text, vocabulary, &contributions[i], error_shares);
    }
    text_puts(text, "]");
}

void verdict_json_contributions(struct text *text, const struct vocabulary *vocabulary,
                                const struct contribution *contributions, size_t n)
{
    append_contributions(text, vocabulary, contributions, n, NULL);
}

static void append_summary(struct text *text, const struct vocabulary *vocabulary,
                           const struct explained *explained)
{
    CLEANUP(text_clear) struct text summary = {0};

    summary_print(&summary, vocabulary, explained);
    text->failed |= summary.failed;
    text_puts(text, ",\"summary\":");
    text_json_string(text, summary.data ? summary.data : "", summary.length);
}

static void append_relations(struct text *text, const struct vocabulary *vocabulary,
                             const struct explained *explained)
{
    text_puts(text, ",\"broken_relations\":[");
    for (size_t i = 0; i < explained->n_relations; i++) {
        const struct broken_relation *relation = &explained->relations[i];
        text_puts(text, i ? ",{\"features\":[" : "{\"features\":[");
        append_name(text, vocabulary, relation->inputs[0]);
        text_puts(text, ",");
        append_name(text, vocabulary, relation->inputs[1]);
        text_printf(text, "],\"correlation\":%.3f,\"distance\":%.1f}", relation->correlation,
                    relation->distance);
    }
    text_puts(text, "]");
}

static void append_counterfactual(struct text *text, const struct vocabulary *vocabulary,
                                  const struct counterfactual *counterfactual)
{
    text_puts(text, ",\"counterfactual\":");
    if (!counterfactual->is_found) {
        text_puts(text, "null");
        return;
    }
    text_puts(text, "{\"features\":{");
    for (size_t i = 0; i < counterfactual->n; i++) {
        text_puts(text, i ? "," : "");
        append_name(text, vocabulary, counterfactual->inputs[i]);
        text_puts(text, ":");
        vocabulary_put_json(vocabulary, counterfactual->inputs[i], counterfactual->values[i], text);
    }
    text_puts(text, "},\"score\":");
    text_double(text, counterfactual->score);
    text_puts(text, "}");
}

static void append_explained(struct text *text, const struct vocabulary *vocabulary,
                             bool is_anomaly, const struct explained *explained, size_t n_shown)
{
    text_puts(text, ",\"contributions\":");
    append_contributions(text, vocabulary, explained->contributions, n_shown,
                         explained->has_detail ? explained->error_shares : NULL);
    if (is_anomaly)
        append_summary(text, vocabulary, explained);
    if (explained->n_relations > 0)
        append_relations(text, vocabulary, explained);
    if (explained->has_detail)
        append_counterfactual(text, vocabulary, &explained->counterfactual);
}

#define PLAIN_SIZE (4 * NUMBER_MAX + 128) /* bytes of what every verdict has */

static char *put_double(char *at, double value)
{
    return isfinite(value) ? at + number_write_double(at, value) : mempcpy(at, "null", 4);
}

#define PUT_LITERAL(at, literal) mempcpy(at, literal, sizeof(literal) - 1)

/* The members that every verdict of a batch has: where each piece is checked for room they cost
 * more than the network does. */
static void append_plain(struct text *text, const struct verdict *verdict, const double *threshold)
{
    char *begin = text_begin(text, PLAIN_SIZE);
    if (!begin)
        return;
    char *at = PUT_LITERAL(begin, "\"reconstruction_error\":");
    at = put_double(at, verdict->reconstruction_error);
    if (threshold) {
        at = PUT_LITERAL(at, ",\"threshold\":");
        at = put_double(at, *threshold);
    }
    at = PUT_LITERAL(at, ",\"score\":");
    at = put_double(at, verdict->score);
    at = PUT_LITERAL(at, ",\"p_value\":");
    at = put_double(at, verdict->p_value);
    at = verdict->anomaly ? PUT_LITERAL(at, ",\"anomaly\":true")
                          : PUT_LITERAL(at, ",\"anomaly\":false");
    text_end(text, (size_t)(at - begin));
}

void verdict_json_append(struct text *text, const struct vocabulary *vocabulary,
                         const struct verdict *verdict, const double *threshold, const float *row,
                         const struct explained *explained, size_t n_shown)
{
    append_plain(text, verdict, threshold);
    if (verdict->event)
        text_printf(text, ",\"event\":%" PRIu64, verdict->event);
    if (verdict->is_late)
        text_puts(text, ",\"late\":true");
    if (verdict->n_imputed > 0 && vocabulary_misses(vocabulary, row)) {
        text_puts(text, ",\"imputed\":");
        vocabulary_put_missing(vocabulary, row, text);
    }
    if (explained)
        append_explained(text, vocabulary, verdict->anomaly, explained, n_shown);
}
