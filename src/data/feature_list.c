#include "data/feature_list.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\r";

int feature_list_open(struct feature_list *ret_list, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    *ret_list = (struct feature_list){.text = copy, .at = copy};
    return 0;
}

void feature_list_clear(struct feature_list *list)
{
    free(list->text);
    *list = (struct feature_list){0};
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && strchr(blanks, **text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && strchr(blanks, (*text)[*length - 1]))
        (*length)--;
}

/* Undoes the quotation marks of the name at list->at in place, and goes behind them. */
static int take_quoted(struct feature_list *list, struct feature_item *item, struct error *reterr)
{
    char *from = list->at + 1, *to = from;
    char shown[TEXT_SHOWN_SIZE];

    item->name = from;
    for (; *from && (*from != '"' || from[1] == '"'); *to++ = *from++)
        from += *from == '"';
    if (!*from)
        return error_set(reterr, -EINVAL,
                         "holds the name %s, whose quotation mark is not closed; write \" behind "
                         "it, and those within the name twice",
                         text_show(shown, item->name, (size_t)(to - item->name)));
    item->length = (size_t)(to - item->name);
    item->is_quoted = true;
    list->at = from + 1;
    return 0;
}

/* What stands between the quotation marks and the next comma. */
static int take_value(struct feature_item *item, const char *rest, size_t length,
                      struct error *reterr)
{
    char shown[TEXT_SHOWN_SIZE], shown_rest[TEXT_SHOWN_SIZE];

    trim(&rest, &length);
    if (length == 0)
        return 0;
    if (*rest != '=')
        return error_set(reterr, -EINVAL,
                         "holds %s behind the name \"%s\"; write = or a comma there, and quotation "
                         "marks within a name twice",
                         text_show(shown_rest, rest, length),
                         text_show(shown, item->name, item->length));
    item->value = rest + 1;
    item->value_length = length - 1;
    trim(&item->value, &item->value_length);
    return 0;
}

int feature_list_next(struct feature_list *list, struct feature_item *ret_item,
                      struct error *reterr)
{
    struct feature_item item = {0};

    list->at += strspn(list->at, ", \t\r\n");
    if (!*list->at)
        return 0;
    if (*list->at == '"') {
        int r = take_quoted(list, &item, reterr);
        if (r < 0)
            return r;
    }
    const char *rest = list->at;
    const size_t length = strcspn(rest, ",\n");
    list->at += length;
    if (item.is_quoted) {
        int r = take_value(&item, rest, length, reterr);
        if (r < 0)
            return r;
    } else {
        item.name = rest;
        item.length = length;
        trim(&item.name, &item.length);
    }
    *ret_item = item;
    return 1;
}

void feature_item_split(struct feature_item *item, const char *equals)
{
    if (item->is_quoted || !equals)
        return;
    item->value = equals + 1;
    item->value_length = (size_t)(item->name + item->length - item->value);
    item->length = (size_t)(equals - item->name);
    trim(&item->name, &item->length);
    trim(&item->value, &item->value_length);
}

const char *feature_item_hint(const struct feature_item *item)
{
    return !item->is_quoted && memchr(item->name, '"', item->length)
               ? " (a name that holds a comma stands in quotation marks, its own doubled: "
                 "\"a{b=\"\"c\"\",d=\"\"e\"\"}\"=…)"
               : "";
}

void feature_list_append(struct text *text, const char *name)
{
    const size_t length = strlen(name);
    const bool has_edges =
        length > 0 && (strchr(blanks, name[0]) || strchr(blanks, name[length - 1]));

    if (*name != '"' && !strpbrk(name, ",\n") && !has_edges) {
        text_puts(text, name);
        return;
    }
    text_puts(text, "\"");
    for (const char *at = name; *at; at++)
        text_puts(text, (const char[]){*at, *at == '"' ? '"' : '\0', '\0'});
    text_puts(text, "\"");
}
