/* The names live in one block; an open-addressing table, at most half full, finds them. */
#include "data/schema.h"

#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static_assert(SCHEMA_MAX_NAME_LENGTH <= UINT8_MAX, "a name's length fits a byte");

struct schema {
    size_t n_features;
    size_t slot_mask;  /* number of slots - 1, a power of two - 1 */
    uint32_t *slots;   /* feature + 1; 0 is an empty slot */
    const char **name; /* [n_features] into text */
    uint8_t *length;   /* [n_features] of names that JSON writes as they are, else 0 */
    char *text;
};

/* FNV-1a. The table is small and fixed, so that hostile look-ups cannot make it grow or degrade. */
static size_t hash(const char *name, size_t length)
{
    uint64_t h = 0xCBF29CE484222325;

    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)name[i]) * 0x100000001B3;
    return (size_t)(h ^ (h >> 32));
}

/* The slot that holds name, or the empty one where it belongs. */
static uint32_t *find_slot(const struct schema *schema, const char *name, size_t length)
{
    size_t at = hash(name, length) & schema->slot_mask;

    for (;; at = (at + 1) & schema->slot_mask) {
        uint32_t *slot = &schema->slots[at];
        if (*slot == 0)
            return slot;
        const char *other = schema->name[*slot - 1];
        if (strlen(other) == length && memcmp(other, name, length) == 0)
            return slot;
    }
}

const char *schema_check_name(const char *name, size_t length)
{
    if (length == 0)
        return "the name is empty";
    if (length > SCHEMA_MAX_NAME_LENGTH)
        return "the name is longer than 255 bytes";
    for (size_t i = 0; i < length;) {
        const size_t step = text_utf8_length(name + i, length - i);
        const unsigned char first = (unsigned char)name[i];
        if (step == 0)
            return "the name is not UTF-8";
        /* C0, DEL and C1 (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F) */
        if (first < 0x20 || first == 0x7F || (first == 0xC2 && (unsigned char)name[i + 1] < 0xA0))
            return "the name holds a control character";
        i += step;
    }
    return NULL;
}

static int allocate(const char *const *names, size_t n_features, struct schema **ret_schema)
{
    size_t n_bytes = 0, n_slots = 4;

    for (size_t i = 0; i < n_features; i++)
        n_bytes += strlen(names[i]) + 1;
    while (n_slots < 2 * n_features)
        n_slots *= 2;

    CLEANUP(schema_freep) struct schema *schema = calloc(1, sizeof(*schema));
    if (!schema)
        return -ENOMEM;
    schema->n_features = n_features;
    schema->slot_mask = n_slots - 1;
    schema->slots = calloc(n_slots, sizeof(*schema->slots));
    schema->name = calloc(n_features, sizeof(*schema->name));
    schema->length = calloc(n_features, sizeof(*schema->length));
    schema->text = malloc(n_bytes);
    if (!schema->slots || !schema->name || !schema->length || !schema->text)
        return -ENOMEM;

    char *at = schema->text;
    for (size_t i = 0; i < n_features; i++) {
        schema->name[i] = at;
        at = stpcpy(at, names[i]) + 1;
        if (!strpbrk(names[i], "\"\\"))
            schema->length[i] = (uint8_t)strlen(names[i]);
    }
    *ret_schema = TAKE(schema);
    return 0;
}

int schema_new(const char *const *names, size_t n_features, struct schema **ret_schema,
               struct error *reterr)
{
    assert((names || n_features == 0) && ret_schema);
    if (n_features == 0)
        return error_set(reterr, -EINVAL, "there are no features");
    if (n_features > SCHEMA_MAX_FEATURES)
        return error_set(reterr, -EINVAL, "%zu features are too many, at most %d are possible",
                         n_features, SCHEMA_MAX_FEATURES);
    for (size_t i = 0; i < n_features; i++) {
        const char *reason = schema_check_name(names[i], strlen(names[i]));
        if (reason)
            return error_set(reterr, -EINVAL, "feature %zu: %s", i + 1, reason);
    }

    CLEANUP(schema_freep) struct schema *schema = NULL;
    int r = allocate(names, n_features, &schema);
    if (r < 0)
        return error_set(reterr, r, "out of memory");
    for (size_t i = 0; i < n_features; i++) {
        uint32_t *slot = find_slot(schema, names[i], strlen(names[i]));
        if (*slot)
            return error_set(reterr, -EINVAL, "feature %zu (%s): feature %u has the same name",
                             i + 1, names[i], *slot);
        *slot = (uint32_t)i + 1;
    }
    *ret_schema = TAKE(schema);
    return 0;
}

void schema_free(struct schema *schema)
{
    if (!schema)
        return;
    free(schema->slots);
    free(schema->name);
    free(schema->length);
    free(schema->text);
    free(schema);
}

size_t schema_n_features(const struct schema *schema)
{
    return schema->n_features;
}

const char *schema_name(const struct schema *schema, size_t feature)
{
    assert(feature < schema->n_features);
    return schema->name[feature];
}

const char *const *schema_names(const struct schema *schema)
{
    return schema->name;
}

bool schema_find(const struct schema *schema, const char *name, size_t length, size_t *ret_feature)
{
    const uint32_t *slot = find_slot(schema, name, length);

    if (*slot == 0)
        return false;
    *ret_feature = *slot - 1;
    return true;
}

size_t schema_begins_with(const struct schema *schema, size_t feature, const char *text,
                          size_t size)
{
    assert(feature < schema->n_features);
    const size_t length = schema->length[feature];

    if (length == 0 || size < length + 2 || text[0] != '"' || text[length + 1] != '"' ||
        memcmp(text + 1, schema->name[feature], length) != 0)
        return 0;
    return length + 2;
}

bool schema_equals(const struct schema *a, const struct schema *b)
{
    bool is_same = a->n_features == b->n_features;

    for (size_t i = 0; is_same && i < a->n_features; i++)
        is_same = strcmp(a->name[i], b->name[i]) == 0;
    return is_same;
}

/* Edits (insert, delete, replace; case counts for nothing) from a to b, or limit + 1 if there are
 * more: only the diagonal band that can stay within the limit is computed. */
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b, size_t limit)
{
    size_t previous[SCHEMA_MAX_NAME_LENGTH + 1], row[SCHEMA_MAX_NAME_LENGTH + 1];

    for (size_t j = 0; j <= n_b; j++)
        previous[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        const size_t first = i > limit ? i - limit : 1;
        const size_t last = i + limit < n_b ? i + limit : n_b;
        size_t best = row[first - 1] = first == 1 ? i : limit + 1;

        for (size_t j = first; j <= last; j++) {
            const size_t replace = previous[j - 1] + (tolower((unsigned char)a[i - 1]) !=
                                                      tolower((unsigned char)b[j - 1]));
            const size_t delete = previous[j] + 1; /* at the band's edge still j: above limit */
            const size_t insert = row[j - 1] + 1;
            const size_t fewer = delete < insert ? delete : insert;
            row[j] = replace < fewer ? replace : fewer;
            best = row[j] < best ? row[j] : best;
        }
        if (best > limit)
            return limit + 1;
        memcpy(previous + first - 1, row + first - 1, (last - first + 2) * sizeof(*row));
    }
    return previous[n_b];
}

/* Requests ask too, so the work is bounded: at most three edits, about 7 steps a byte. */
const char *schema_nearest(const struct schema *schema, const char *name, size_t length)
{
    const char *nearest = NULL;
    size_t limit = length < 3 ? 1 : length < 9 ? length / 3 : 3;

    if (length == 0 || length > SCHEMA_MAX_NAME_LENGTH)
        return NULL;
    for (size_t i = 0; i < schema->n_features; i++) {
        const char *other = schema->name[i];
        const size_t other_length = strlen(other);
        if (other_length > length + limit || length > other_length + limit)
            continue;
        const size_t distance = edit_distance(name, length, other, other_length, limit);
        if (distance > limit || distance >= length)
            continue;
        if (distance == 0)
            return other;
        nearest = other;
        limit = distance - 1;
    }
    return nearest;
}
