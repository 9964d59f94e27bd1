/* Open addressing, at most half full. */
#include "data/name_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64

/* FNV-1a: files are no attackers, but their names are alike. */
static uint64_t hash(const char *name, size_t length)
{
    uint64_t h = 0xCBF29CE484222325;

    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)name[i]) * 0x100000001B3;
    return h ^ (h >> 32);
}

/* The slot that holds name, or the empty one where it belongs. */
static uint32_t *find_slot(const struct name_index *index, char *const *names, const char *name,
                           size_t length)
{
    const size_t mask = index->n_slots - 1;

    for (size_t at = (size_t)hash(name, length) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &index->slots[at];
        const char *other = *slot ? names[*slot - 1] : NULL;
        if (!other || (strlen(other) == length && memcmp(other, name, length) == 0))
            return slot;
    }
}

size_t name_index_find(const struct name_index *index, char *const *names, const char *name,
                       size_t length)
{
    const uint32_t place =
        index->n_slots > 0 ? *find_slot(index, names, name, length) : (uint32_t)0;

    return place > 0 ? place - 1 : index->n_names;
}

static int grow(struct name_index *index, char *const *names)
{
    struct name_index larger = {.n_slots = index->n_slots ? 2 * index->n_slots : FIRST_SLOTS,
                                .n_names = index->n_names};

    larger.slots = calloc(larger.n_slots, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < index->n_names; i++)
        *find_slot(&larger, names, names[i], strlen(names[i])) = (uint32_t)i + 1;
    free(index->slots);
    *index = larger;
    return 0;
}

int name_index_add(struct name_index *index, char *const *names)
{
    if (2 * (index->n_names + 1) > index->n_slots && grow(index, names) < 0)
        return -ENOMEM;
    const char *name = names[index->n_names];
    *find_slot(index, names, name, strlen(name)) = (uint32_t)++index->n_names;
    return 0;
}

void name_index_clear(struct name_index *index)
{
    free(index->slots);
    *index = (struct name_index){0};
}
