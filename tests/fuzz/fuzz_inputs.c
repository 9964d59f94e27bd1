/* fuzz_inputs - what people and files say of how inputs are prepared, and rows for it, as any bytes
 * may be: nothing crashes, what is refused has a reason, and no prepared value is infinite.
 *
 * The first byte says what the rest is. */
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/preparation_json.h"
#include "fuzz/fuzz.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"bytes", "sent", "latency", "state", "load"};
#define N_NAMES (sizeof(names) / sizeof(*names))

static struct preparation *make(void)
{
    struct preparation *preparation = NULL;
    struct prepare_spec spec;

    prepare_spec_init(&spec);
    int r = prepare_spec_parse(&spec,
                               "bytes=rate,sent=delta,latency=log1p,state=onehot:up|down|200,"
                               "timestamp=hour-of-day,timestamp=day-of-week",
                               NULL);
    spec.context = 3;
    if (r == 0)
        r = preparation_new(&spec, names, N_NAMES, &preparation, NULL);
    must(r == 0);
    prepare_spec_clear(&spec);
    return preparation;
}

/* One row more, and back. */
static void follow(const struct preparation *preparation, struct preparation_state *state,
                   double time, const double *values)
{
    const size_t n = schema_n_features(preparation->features);
    AUTO_FREE float *features = calloc(n, sizeof(*features));

    must(features != NULL);
    (void)preparation_follow(preparation, state, time, values, features);
    for (size_t i = 0; i < n; i++)
        must(!isinf(features[i]));
    for (size_t i = 0; i < schema_n_features(preparation->inputs); i++) {
        char room[PREPARATION_WORD_SIZE];
        const float *columns = features + preparation->input[i].column;
        const double value = preparation_value(preparation, i, columns);
        must(!isinf(value));
        (void)preparation_word(preparation, i, value, room);
    }
}

static void fuzz_spec(const char *text)
{
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;
    struct prepare_spec spec;
    struct error error = {0};

    prepare_spec_init(&spec);
    int r = prepare_spec_parse(&spec, text, &error);
    if (r == 0)
        r = preparation_new(&spec, names, N_NAMES, &preparation, &error);
    must(r == 0 || (r == -EINVAL && error.text[0]));
    prepare_spec_clear(&spec);
}

static void fuzz_document(const char *text)
{
    static const double zeros[SCHEMA_MAX_FEATURES];
    CLEANUP(preparation_freep) struct preparation *preparation = NULL;
    CLEANUP(preparation_freep) struct preparation *again = NULL;
    json_auto_t *document = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct error error = {0};
    if (!document)
        return;

    int r = preparation_from_json(document, &preparation, &error);
    must(r == 0 || (r == -EINVAL && error.text[0]));
    if (r < 0)
        return;
    follow(preparation, NULL, 1e9, zeros);
    json_auto_t *written = preparation_to_json(preparation);
    must(written && preparation_from_json(written, &again, NULL) == 0);
    must(preparation_equals(preparation, again));
}

static void fuzz_rows(const struct preparation *preparation, const char *body, size_t size)
{
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    CLEANUP(preparation_state_freep) struct preparation_state *state = NULL;

    int r = json_rows_read(&rows, preparation->values, preparation, body, size);
    must(r == 0 || ((r == -EINVAL || r == -EBADMSG) && rows.n_problems > 0));
    must(preparation_state_new(preparation, &state) == 0);
    for (size_t i = 0; r == 0 && i < rows.n_rows; i++)
        follow(preparation, state, rows.times[i], rows.values + i * N_NAMES);
}

static void fuzz_state(const struct preparation *preparation, const char *bytes, size_t size)
{
    static const double values[N_NAMES] = {1, 2, 3, 1, 5};
    CLEANUP(preparation_state_freep) struct preparation_state *state = NULL;

    must(preparation_state_new(preparation, &state) == 0);
    if (preparation_state_load(preparation, state, bytes, size) < 0)
        return;
    for (size_t i = 0; i < 4; i++)
        follow(preparation, state, 1e9 + (double)i, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct preparation *preparation;
    const char kind = size > 0 ? (char)bytes[0] : '\0';

    if (!preparation)
        preparation = make();
    AUTO_FREE char *text = fuzz_text(bytes + (size > 0), size - (size > 0));
    if (kind == 'p')
        fuzz_spec(text);
    else if (kind == 'd')
        fuzz_document(text);
    else if (kind == 'r')
        fuzz_rows(preparation, text, size - 1);
    else if (kind == 's')
        fuzz_state(preparation, text, size - 1);
    return 0;
}
