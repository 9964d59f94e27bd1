#include "detector/summary.h"

#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"

#include <math.h>
#include <string.h>

#define MOST_NAMED  3
#define LEAST_SHARE 0.1

/* As people write it: 11830, not 1.183e+04; 22.17G, not 2.217e+10. */
static void print_value(struct text *text, float value)
{
    static const char prefixes[] = "MGTPE";
    double shown = (double)value, size = fabs(shown);
    size_t i = 0;

    if (size >= 1e3 && size < 1e6) {
        text_printf(text, "%.0f", shown);
        return;
    }
    if (size < 1e6 || size >= 1e21) {
        text_printf(text, "%.4g", shown);
        return;
    }
    for (shown /= 1e6; fabs(shown) >= 1e3; i++)
        shown /= 1e3;
    text_printf(text, "%.4g%c", shown, prefixes[i]);
}

static void print_name(struct text *text, const struct vocabulary *vocabulary, size_t input)
{
    const char *name = schema_name(vocabulary->inputs, input);
    char shown[TEXT_SHOWN_SIZE];

    text_puts(text, text_show(shown, name, strlen(name)));
}

static bool is_usual(const struct contribution *contribution)
{
    return contribution->value >= contribution->usual_low &&
           contribution->value <= contribution->usual_high;
}

/* "91.2", "91.2/s" of a rate, "down" of a state. */
static void print_told(struct text *text, const struct vocabulary *vocabulary, size_t input,
                       float value)
{
    const char *change = vocabulary_change(vocabulary, input);
    char room[PREPARATION_WORD_SIZE], shown[TEXT_SHOWN_SIZE];
    const char *word = vocabulary_word(vocabulary, input, value, room);

    if (word) {
        text_puts(text, text_show(shown, word, strlen(word)));
        return;
    }
    if (change && strcmp(change, "delta") == 0 && value > 0.0f)
        text_puts(text, "+");
    print_value(text, value);
    if (change && strcmp(change, "rate") == 0)
        text_puts(text, "/s");
}

static void print_one(struct text *text, const struct vocabulary *vocabulary,
                      const struct contribution *contribution)
{
    const size_t input = contribution->feature, rows_back = contribution->rows_back;
    const float value = rows_back ? contribution->back.value : contribution->value;
    const float expected = rows_back ? contribution->back.expected : contribution->expected;
    char room[PREPARATION_WORD_SIZE];

    print_name(text, vocabulary, input);
    text_puts(text, " ");
    print_told(text, vocabulary, input, value);
    if (rows_back)
        text_printf(text, " %zu row%s before", rows_back, rows_back == 1 ? "" : "s");
    if (value == expected && vocabulary_word(vocabulary, input, value, room)) {
        text_puts(text, " (as expected)"); /* it has only just been something else, or is rare */
        return;
    }
    text_puts(text, " (expected ");
    print_told(text, vocabulary, input, expected);
    if (value < contribution->usual_low || value > contribution->usual_high) {
        text_puts(text, ", usually ");
        print_told(text, vocabulary, input, contribution->usual_low);
        if (contribution->usual_low < contribution->usual_high) {
            text_puts(text, " to ");
            print_told(text, vocabulary, input, contribution->usual_high);
        }
    }
    text_puts(text, ")");
}

/* The other side of broken relations: what did not move along. */
static void print_usual(struct text *text, const struct vocabulary *vocabulary,
                        const struct explained *explained, size_t n_blamed)
{
    const size_t n = schema_n_features(vocabulary->inputs);
    bool is_first = true;

    for (size_t i = n_blamed; i < n; i++) {
        const struct contribution *contribution = &explained->contributions[i];
        bool is_related = false;
        for (size_t k = 0; k < explained->n_relations; k++)
            is_related |= explained->relations[k].inputs[1] == contribution->feature;
        if (!is_related || !is_usual(contribution))
            continue;
        text_puts(text, is_first ? "; " : ", ");
        print_name(text, vocabulary, contribution->feature);
        is_first = false;
    }
    text_puts(text, is_first ? "" : " as usual");
}

void summary_print(struct text *text, const struct vocabulary *vocabulary,
                   const struct explained *explained)
{
    const struct contribution *contributions = explained->contributions;
    const size_t n = schema_n_features(vocabulary->inputs);
    size_t n_blamed = 0;

    while (n_blamed < n && contributions[n_blamed].share >= LEAST_SHARE)
        n_blamed++;
    for (size_t i = 0; i < n_blamed && i < MOST_NAMED; i++) {
        text_puts(text, i ? ", " : "");
        print_one(text, vocabulary, &contributions[i]);
    }
    if (n_blamed > MOST_NAMED)
        text_printf(text, " and %zu more", n_blamed - MOST_NAMED);
    if (n_blamed > 0) {
        print_usual(text, vocabulary, explained, n_blamed);
    } else if (contributions[0].share > 0.0) {
        text_puts(text, "many features, first of all ");
        print_one(text, vocabulary, &contributions[0]);
    }
}
