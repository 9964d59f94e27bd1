#include "detector/summary.h"

#include "base/text.h"
#include "data/schema.h"
#include "detector/detector.h"

#include <math.h>
#include <string.h>

#define MOST_NAMED  3
#define LEAST_SHARE 0.1

/* As people write it: 11830, not 1.183e+04. */
static void print_value(struct text *text, float value)
{
    const double size = fabs((double)value);

    text_printf(text, size >= 1e3 && size < 1e9 ? "%.0f" : "%.4g", (double)value);
}

static void print_one(struct text *text, const struct schema *schema,
                      const struct contribution *contribution)
{
    const char *name = schema_name(schema, contribution->feature);
    const float value = contribution->value;
    char shown[TEXT_SHOWN_SIZE];

    text_printf(text, "%s ", text_show(shown, name, strlen(name)));
    print_value(text, value);
    text_puts(text, " (expected ");
    print_value(text, contribution->expected);
    if (value < contribution->usual_low || value > contribution->usual_high) {
        text_puts(text, ", usually ");
        print_value(text, contribution->usual_low);
        text_puts(text, " to ");
        print_value(text, contribution->usual_high);
    }
    text_puts(text, ")");
}

void summary_print(struct text *text, const struct schema *schema,
                   const struct contribution *contributions, size_t n)
{
    size_t n_blamed = 0;

    while (n_blamed < n && contributions[n_blamed].share >= LEAST_SHARE)
        n_blamed++;
    for (size_t i = 0; i < n_blamed && i < MOST_NAMED; i++) {
        text_puts(text, i ? ", " : "");
        print_one(text, schema, &contributions[i]);
    }
    if (n_blamed > MOST_NAMED)
        text_printf(text, " and %zu more", n_blamed - MOST_NAMED);
    if (n_blamed > 0 || n == 0 || !(contributions[0].share > 0.0))
        return;
    text_puts(text, "many features, first of all ");
    print_one(text, schema, &contributions[0]);
}
