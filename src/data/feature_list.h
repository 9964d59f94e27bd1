/* feature_list - what people list of features: "cpu=above, memory=below", or names alone.
 *
 * Items are separated by commas or line ends; blanks about them and empty items do not count. A
 * name that holds a comma, or begins with a quotation mark, stands in quotation marks as in CSV,
 * with each of its own doubled: "cpu{mode=""idle"",host=""a""}"=rate. One parser for the command
 * line and the configuration: what is said behind the name is its caller's. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct text;

/* Points into the list. */
struct feature_item {
    const char *name; /* the whole item, "cpu=above", unless is_quoted */
    size_t length;
    bool is_quoted;    /* name is what stood between the quotation marks */
    const char *value; /* behind the "=" that follows the quotation marks; NULL: nothing does */
    size_t value_length;
};

struct feature_list {
    char *text;
    char *at;
};

/* Reads a copy of text, from its beginning. -ENOMEM. */
MUST_CHECK int feature_list_open(struct feature_list *ret_list, const char *text);
void feature_list_clear(struct feature_list *list);

/* 1: the next item; 0: there is none. -EINVAL: quotation marks that do not fit, with what it holds
 * ("holds …"). */
MUST_CHECK int feature_list_next(struct feature_list *list, struct feature_item *ret_item,
                                 struct error *reterr);

/* Splits an item that is not quoted at an "=" in it, or at none (NULL): it has no value then. */
void feature_item_split(struct feature_item *item, const char *equals);

/* For the message that refuses an item: how to write a name that seems to have been cut at its
 * comma, or "". Of an item that is not split yet. */
const char *feature_item_hint(const struct feature_item *item);

/* Appends a name as such a list wants it, in quotation marks only where it needs them. */
void feature_list_append(struct text *text, const char *name);
