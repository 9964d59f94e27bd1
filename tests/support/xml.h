/* xml - is a text well-formed XML, as far as this project writes any: elements, attributes in
 * double quotes, &#N; and no CDATA, comment or declaration. */
#pragma once

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define XML_MAX_DEPTH 8

struct xml_names {
    struct xml_name {
        const char *start;
        size_t length;
    } open[XML_MAX_DEPTH];
    size_t n_open;
};

static inline bool xml_is_text(const char *start, const char *end)
{
    for (const char *c = start; c < end; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (byte == '<' || (byte < 0x20 && !isspace(byte)))
            return false;
        if (byte == '&' && (c[1] != '#' || !isdigit((unsigned char)c[2])))
            return false;
    }
    return true;
}

/* What stands between < and >: quotes come in pairs, each value is text. */
static inline bool xml_are_attributes(const char *start, const char *end)
{
    const char *quote = NULL;

    for (const char *c = start; c < end; c++) {
        if (*c != '"')
            continue;
        if (quote && !xml_is_text(quote + 1, c))
            return false;
        quote = quote ? NULL : c;
    }
    return !quote;
}

static inline bool xml_take_tag(struct xml_names *names, const char *start, const char *end)
{
    const bool closes = *start == '/', is_empty = end[-1] == '/';
    const struct xml_name name = {start + closes, strcspn(start + closes, " />\n")};

    if (name.length == 0 || !xml_are_attributes(start, end))
        return false;
    if (closes) {
        const struct xml_name *last = names->n_open ? &names->open[--names->n_open] : NULL;
        return last && last->length == name.length &&
               strncmp(last->start, name.start, name.length) == 0;
    }
    if (is_empty)
        return true;
    if (names->n_open == XML_MAX_DEPTH)
        return false;
    names->open[names->n_open++] = name;
    return true;
}

static inline bool xml_is_well_formed(const char *text)
{
    struct xml_names names = {0};
    const char *at = text;

    while (*at) {
        const char *tag = strchr(at, '<');
        if (!tag || !xml_is_text(at, tag))
            return !tag && names.n_open == 0 && strspn(at, "\n") == strlen(at);
        const char *end = strchr(tag, '>');
        if (!end || !xml_take_tag(&names, tag + 1, end))
            return false;
        at = end + 1;
    }
    return names.n_open == 0;
}
