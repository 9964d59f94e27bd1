#include "http/row_names.h"

#include "base/error.h"
#include "data/json_text.h"
#include "data/npy.h"
#include "data/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct names {
    char **names; /* [n] */
    size_t n, capacity;
};

static void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->names[i]);
    free(names->names);
}

/* One more than a schema takes, so that the schema says what is wrong. */
static bool is_full(const struct names *names)
{
    return names->n > SCHEMA_MAX_FEATURES;
}

static int add(struct names *names, const char *name, size_t length)
{
    if (names->n == names->capacity) {
        const size_t capacity = names->capacity ? 2 * names->capacity : 64;
        char **larger = reallocarray(names->names, capacity, sizeof(char *));
        if (!larger)
            return -ENOMEM;
        names->names = larger;
        names->capacity = capacity;
    }
    char *copy = malloc(length + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, name, length);
    copy[length] = '\0';
    names->names[names->n++] = copy;
    return 0;
}

/* `[0.1, …]` */
static int number_values(struct json_text *text, struct names *names)
{
    char name[32];
    int r = 0;

    for (bool is_last = json_text_opens_empty(text, ']'); r == 0 && !is_last && !is_full(names);) {
        const char first = json_text_next(text);
        if (first == '[' || first == '{')
            return -EBADMSG;
        r = json_text_skip(text);
        if (r == 0)
            r = add(names, name, (size_t)snprintf(name, sizeof(name), "f%zu", names->n));
        if (r == 0)
            r = json_text_separator(text, ']', &is_last);
    }
    return r;
}

static bool is_key(const struct json_string *key, const char *name)
{
    return key->length == strlen(name) && memcmp(key->bytes, name, key->length) == 0;
}

/* `{"cpu": 0.3, …}` */
static int name_values(struct json_text *text, struct names *names)
{
    struct json_string key;
    int r = 0;

    for (bool is_last = json_text_opens_empty(text, '}'); r == 0 && !is_last && !is_full(names);) {
        (void)json_text_next(text);
        r = json_text_key(text, &key);
        if (r == 0 && !is_key(&key, "timestamp"))
            r = add(names, key.bytes, key.length);
        (void)json_text_next(text);
        if (r == 0)
            r = json_text_skip(text);
        if (r == 0)
            r = json_text_separator(text, '}', &is_last);
    }
    return r;
}

static int read_row(struct json_text *text, struct names *names)
{
    const char first = json_text_next(text);

    if (first != '[' && first != '{')
        return -EBADMSG;
    return first == '[' ? number_values(text, names) : name_values(text, names);
}

static int read_instances(struct json_text *text, struct names *names)
{
    if (json_text_next(text) != '[' || json_text_opens_empty(text, ']'))
        return -EBADMSG;
    return read_row(text, names);
}

/* `{"features": ROW}` or `{"instances": [ROW, …]}`, with options before it. */
static int read_members(struct json_text *text, struct names *names)
{
    struct json_string key;
    int r = 0;

    for (bool is_last = json_text_opens_empty(text, '}'); r == 0 && !is_last;) {
        (void)json_text_next(text);
        r = json_text_key(text, &key);
        if (r < 0)
            return r;
        if (is_key(&key, "features"))
            return read_row(text, names);
        if (is_key(&key, "instances"))
            return read_instances(text, names);
        (void)json_text_next(text);
        r = json_text_skip(text);
        if (r == 0)
            r = json_text_separator(text, '}', &is_last);
    }
    return r;
}

/* Columns have no names. */
static int number_columns(const char *body, size_t size, struct names *names)
{
    char name[SCHEMA_MAX_NAME_LENGTH + 1];
    size_t n_header;
    uint64_t n_bytes;
    struct npy npy;
    struct error error;
    int r = npy_begin("the body", body, size, &npy, &n_header, &n_bytes, &error);

    for (size_t i = 0; r == 0 && i < npy.n_columns && !is_full(names); i++)
        r = add(names, name, (size_t)snprintf(name, sizeof(name), "f%zu", i));
    return r == -ENOMEM ? r : r < 0 ? -EBADMSG : 0;
}

int row_names_read(const char *body, size_t size, struct schema **ret_schema, struct error *reterr)
{
    struct json_text text = {.begin = body, .at = body, .end = body + size};
    CLEANUP(names_clear) struct names names = {0};

    const char first = json_text_next(&text);
    int r = npy_is(body, size) ? number_columns(body, size, &names)
            : first == '['     ? number_values(&text, &names)
            : first == '{'     ? read_members(&text, &names)
                               : -EBADMSG;
    if (r == -ENOMEM)
        return r;
    if (r < 0 || names.n == 0)
        return -ENODATA;
    return schema_new((const char *const *)names.names, names.n, ret_schema, reterr);
}
