/* fuzz_json_rows - bodies of score requests, beside jansson.
 *
 * What both have to agree on: whether it is JSON, every value to the bit (the double rounded to
 * float), and the place of what is malformed. Where they may differ:
 * - A body of another shape than we know ends the reading at once; what follows is not looked at.
 * - Wrong features are told after all the body was read, and malformed JSON behind them wins;
 *   jansson ends at a name given twice.
 * - We take 128 levels of nesting, jansson 2048.
 * - jansson tells where the word ends in which it noticed, we the first byte that cannot be. So our
 *   place lies within that word.
 * - jansson steps over a NUL byte right behind a number. To us it is never JSON. */
#include "data/json_rows.h"
#include "data/schema.h"
#include "fuzz/fuzz.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>

static const char *const names[] = {"cpu", "mem", "a/b~c", "température", "f\"4", "f5"};
#define N_NAMES (sizeof(names) / sizeof(*names))

/* Line and column the slow way. */
static void check_place(const struct json_rows *rows, const char *body, size_t size)
{
    size_t line = 1, column = 1;

    must(rows->n_problems == 1 && rows->offset <= size);
    for (size_t i = 0; i < rows->offset; i++) {
        line += body[i] == '\n';
        column = body[i] == '\n' ? 1 : column + ((body[i] & 0xC0) != 0x80);
    }
    must(rows->line == line && rows->column == column);
}

/* jansson says near which word, if it is short. */
static void check_same_place(const struct json_rows *rows, const json_error_t *error)
{
    const char *near = strstr(error->text, " near '");
    const size_t position = (size_t)error->position;

    must(rows->offset <= position);
    if (near && near[strlen(near) - 1] == '\'') {
        const size_t length = strlen(near) - strlen(" near '") - 1;
        must(rows->offset + length >= position);
    }
}

static void check_value(const json_t *value, float got)
{
    if (!value || json_is_null(value)) {
        must(isnan(got));
        return;
    }
    const float want = (float)json_real_value(value);
    must(json_is_real(value) && memcmp(&want, &got, sizeof(got)) == 0);
}

static void check_rows(const struct json_rows *rows, const json_t *root)
{
    const json_t *instances = json_object_get(root, "instances");
    const json_t *features = json_object_get(root, "features");

    must(rows->n_rows == (instances ? json_array_size(instances) : 1));
    must(rows->is_batch == (instances != NULL));
    for (size_t i = 0; i < rows->n_rows; i++) {
        const json_t *row = instances ? json_array_get(instances, i) : features ? features : root;
        for (size_t j = 0; j < N_NAMES; j++)
            check_value(json_is_array(row) ? json_array_get(row, j)
                                           : json_object_get(row, names[j]),
                        rows->rows[i * N_NAMES + j]);
    }
}

static const char malformed[] = "malformed JSON: ";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct schema *schema;
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    AUTO_FREE char *body = fuzz_block(bytes, size);
    json_error_t error;

    if (!schema)
        must(schema_new(names, N_NAMES, &schema, NULL) == 0);
    const int r = json_rows_read(&rows, schema, NULL, body, size);
    json_auto_t *root =
        json_loadb(body, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    const bool is_malformed =
        r == -EBADMSG && strncmp(rows.problems[0].detail, malformed, strlen(malformed)) == 0;

    must(r == 0 || r == -EINVAL || r == -EBADMSG);
    must((r != 0) == (rows.n_problems > 0));
    if (memchr(body, '\0', size)) {
        must(r == -EBADMSG);
    } else if (r == 0) {
        must(root);
        check_rows(&rows, root);
    } else if (r == -EINVAL) {
        must(root || json_error_code(&error) == json_error_duplicate_key);
    } else {
        check_place(&rows, body, size);
        if (is_malformed && !strstr(rows.problems[0].detail, "nested too deep")) {
            must(!root);
            if (json_error_code(&error) != json_error_duplicate_key)
                check_same_place(&rows, &error);
        }
    }
    return 0;
}
