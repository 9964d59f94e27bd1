#include "service/synthetic.h"

#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* How a kind changes a row. */
static const struct {
    const char *name;
    size_t one_in;     /* features that are changed: one in so many */
    float push;        /* standard deviations; 0: values of other rows */
    bool is_one_donor; /* all of them of the same row */
} kinds[SYNTHETIC_KINDS] = {
    [SYNTHETIC_SWAP] = {"swap",        4,  0, true },
    [SYNTHETIC_PUSH_3] = {"push-3",      10, 3, false},
    [SYNTHETIC_PUSH_6] = {"push-6",      10, 6, false},
    [SYNTHETIC_CORRELATION] = {"correlation", 2,  0, false},
};

const char *synthetic_kind_name(enum synthetic_kind kind)
{
    return kinds[kind].name;
}

/* The features that this kind may change; all of them if none ever moved. */
static size_t choose_features(enum synthetic_kind kind, const struct scaler *scaler,
                              size_t *ret_features)
{
    const size_t n_features = scaler_n_features(scaler);
    size_t n = 0;

    for (size_t j = 0; j < n_features; j++)
        if (kinds[kind].push == 0.0F || !scaler_is_constant(scaler, j))
            ret_features[n++] = j;
    if (n > 0)
        return n;
    for (size_t j = 0; j < n_features; j++)
        ret_features[j] = j;
    return n_features;
}

/* Brings n of the items to the front, each choice as likely as any other. */
static void draw(struct random *random, size_t *items, size_t n_items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t j = i + random_below(random, n_items - i);
        const size_t kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

static size_t draw_other_row(struct random *random, size_t row, size_t n_rows)
{
    return (row + 1 + random_below(random, n_rows - 1)) % n_rows;
}

int synthetic_make(enum synthetic_kind kind, const float *rows, size_t n_rows,
                   const struct scaler *scaler, struct random *random, float *ret_anomalies)
{
    assert(kind < SYNTHETIC_KINDS && rows && n_rows > 1 && scaler && random && ret_anomalies);
    const size_t d = scaler_n_features(scaler);
    const float *std = scaler_std(scaler);
    AUTO_FREE size_t *features = calloc(d, sizeof(*features));
    if (!features)
        return -ENOMEM;

    const size_t n_features = choose_features(kind, scaler, features);
    const size_t n_changed = (n_features + kinds[kind].one_in - 1) / kinds[kind].one_in;
    memcpy(ret_anomalies, rows, n_rows * d * sizeof(*rows));
    for (size_t i = 0; i < n_rows; i++) {
        size_t donor = draw_other_row(random, i, n_rows);

        draw(random, features, n_features, n_changed);
        for (size_t k = 0; k < n_changed; k++) {
            const size_t j = features[k];
            float *value = &ret_anomalies[i * d + j];
            if (kinds[kind].push > 0.0F) {
                *value += (random_below(random, 2) ? 1.0F : -1.0F) * kinds[kind].push * std[j];
                continue;
            }
            if (!kinds[kind].is_one_donor)
                donor = draw_other_row(random, i, n_rows);
            *value = rows[donor * d + j];
        }
    }
    return 0;
}
