/* name_index - finds names in a list that grows, by hashing: columns of series and categories hold
 * many different ones.
 *
 * The list stays its owner's; the index knows places in it. Start with {0}. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct name_index {
    uint32_t *slots; /* [n_slots] place in the list + 1; 0 is an empty slot */
    size_t n_slots;  /* a power of two, or 0 */
    size_t n_names;
};

/* The place of a name among names[n_names of the index]; n_names: it is not there. */
size_t name_index_find(const struct name_index *index, char *const *names, const char *name,
                       size_t length);

/* names[n_names of the index] has been appended to the list: takes it in. -ENOMEM. */
MUST_CHECK int name_index_add(struct name_index *index, char *const *names);
void name_index_clear(struct name_index *index);
