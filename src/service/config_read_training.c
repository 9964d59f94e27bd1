/* The keys of how a model is made: how its inputs are prepared, how it is trained, and which
 * deviations matter. */
#include "detector/relevance.h"
#include "service/config.h"
#include "service/config_option.h"
#include "service/config_read.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- how inputs are prepared ---- */

/* name: of prepare_settings. */
static int read_setting(const char *name, const struct config_value *value, void *field,
                        struct error *reterr)
{
    struct prepare_spec **spec = field;
    size_t i = 0;

    if (!*spec && prepare_spec_new(spec) < 0)
        return -ENOMEM;
    while (strcmp(prepare_settings[i].name, name) != 0)
        i++;
    return prepare_settings[i].set(*spec, value->text, reterr);
}

int config_read_prepare(const struct config_value *value, void *field, struct error *reterr)
{
    return read_setting("prepare", value, field, reterr);
}

int config_read_context(const struct config_value *value, void *field, struct error *reterr)
{
    return read_setting("context", value, field, reterr);
}

int config_read_max_gap(const struct config_value *value, void *field, struct error *reterr)
{
    return read_setting("max-gap", value, field, reterr);
}

int config_read_timezone(const struct config_value *value, void *field, struct error *reterr)
{
    return read_setting("timezone", value, field, reterr);
}

/* ---- what matters ---- */

int config_read_relevance(const struct config_value *value, void *field, struct error *reterr)
{
    enum relevance_part part = 0;

    while (strcmp(relevance_options[part].name, value->option->key) != 0)
        part++;
    return relevance_read(field, part, value->text, reterr);
}

/* ---- training ---- */

/* Blanks and line ends around commas go: 24, 12 is 24,12. */
static void join_list(char *text)
{
    static const char blanks[] = " \t\n";
    char *to = text;

    for (const char *from = text; *from; from++) {
        const char *next = from + strspn(from, blanks);
        if (next > from && (*next == ',' || (to > text && to[-1] == ',')))
            from = next;
        *to++ = *from;
    }
    *to = '\0';
}

int config_read_training(const struct config_value *value, void *field, struct error *reterr)
{
    struct config_model *model = field;
    const struct recipe_field *option = value->option->training;
    const size_t i = (size_t)(option - recipe_fields);
    AUTO_FREE char *text = strdup(value->text);

    assert(i < CONFIG_MAX_TRAINING);
    if (!text)
        return -ENOMEM;
    join_list(text);
    int r = recipe_set(&model->recipe, option, text, reterr);
    if (r == 0)
        model->has_option[i] = true;
    return r;
}
