#include "detector/model_errors.h"

#include "data/json_text.h"
#include "detector/calibration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As it stands in the string that holds the document. In a name in there the quotes would be
 * escaped twice. */
static const char key[] = "\\\"errors\\\":[";
#define KEY_LENGTH (sizeof(key) - 1)

void model_errors_clear(struct model_errors *errors)
{
    free(errors->header);
    free(errors->errors);
    *errors = (struct model_errors){0};
}

/* Numbers up to the bracket that closes their list, which .at is left at; 0: it is something else,
 * or more than there may be. */
static size_t read_numbers(struct json_text *text, double *ret_numbers)
{
    for (size_t n = 0; n < CALIBRATION_MAX_ERRORS; text->at++) {
        if (json_text_double(text, &ret_numbers[n++]) < 0)
            return 0;
        if (json_text_peek(text) == ']')
            return n;
        if (json_text_peek(text) != ',')
            return 0;
    }
    return 0;
}

/* The header but for [begin, end). */
static char *text_without(const char *header, size_t length, const char *begin, const char *end)
{
    const size_t n_before = (size_t)(begin - header);
    char *text = malloc(length);

    if (!text)
        return NULL;
    memcpy(text, header, n_before);
    memcpy(text + n_before, end, length - (size_t)(end - header));
    return text;
}

int model_errors_cut(const char *header, size_t length, struct model_errors *ret_errors)
{
    CLEANUP(model_errors_clear) struct model_errors errors = {0};
    const char *found = memmem(header, length, key, KEY_LENGTH), *end = header + length;

    if (!found)
        return 0;
    const char *list = found + KEY_LENGTH;
    struct json_text text = {.begin = header, .at = list, .end = end};
    errors.errors = malloc(CALIBRATION_MAX_ERRORS * sizeof(*errors.errors));
    if (!errors.errors)
        return -ENOMEM;
    errors.n_errors = read_numbers(&text, errors.errors);
    if (errors.n_errors == 0 || memmem(text.at, (size_t)(end - text.at), key, KEY_LENGTH))
        return 0;
    errors.header = text_without(header, length, list, text.at);
    if (!errors.header)
        return -ENOMEM;
    errors.length = length - (size_t)(text.at - list);
    *ret_errors = errors;
    errors = (struct model_errors){0};
    return 0;
}
