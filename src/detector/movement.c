#include "detector/movement.h"

#include "base/sort.h"
#include "detector/scaler.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FADE        0.9F
#define LEAST_JUMP  0.2F /* deviations: less than this is no movement, however still the feature */
#define QUANTILE    0.9
#define MOST_VALUES 20000 /* evenly spread rows are enough for a quantile */
#define COLUMNS     16    /* that are followed at a time: one line of memory a row */

static const float windows[MOVEMENT_WINDOWS] = {MOVEMENT_SHORT, MOVEMENT_LONG};

/* Over how many rows an average goes that has seen n_rows, this one included. */
static float span_of(float window, size_t n_rows)
{
    return n_rows < MOVEMENT_SHORT ? (float)n_rows : window;
}

int movement_new(size_t n_features, struct movement **ret_movement)
{
    assert(n_features > 0 && ret_movement);
    struct movement *movement = calloc(1, sizeof(*movement));
    float *averages = calloc((MOVEMENT_WINDOWS + 1) * n_features, sizeof(*averages));

    if (!movement || !averages) {
        free(movement);
        free(averages);
        return -ENOMEM;
    }
    *movement = (struct movement){.n_features = n_features,
                                  .averages = averages,
                                  .hold = averages + MOVEMENT_WINDOWS * n_features};
    *ret_movement = movement;
    return 0;
}

int movement_copy(const struct movement *movement, struct movement **ret_copy)
{
    const size_t n = movement->n_features;
    struct movement *copy = NULL;

    int r = movement_new(n, &copy);
    if (r < 0)
        return r;
    copy->n_rows = movement->n_rows;
    memcpy(copy->averages, movement->averages, MOVEMENT_WINDOWS * n * sizeof(float));
    memcpy(copy->hold, movement->hold, n * sizeof(float));
    *ret_copy = copy;
    return 0;
}

void movement_free(struct movement *movement)
{
    if (!movement)
        return;
    free(movement->averages);
    free(movement);
}

/* One of the averages takes z[n], and hold, which fades, what is its distance from that at least.
 */
VECTOR_CLONES static void follow(float *restrict average, float *restrict hold, size_t n,
                                 const float *restrict jumps, const float *restrict row,
                                 const float *restrict z, float share, float fade)
{
    for (size_t j = 0; j < n; j++) {
        const float off = isnan(row[j]) ? 0.0F : z[j] - average[j];
        const float moved = fabsf(off) / (jumps[j] + LEAST_JUMP), held = fade * hold[j];

        hold[j] = moved > held ? moved : held;
        average[j] += share * off;
    }
}

void movement_follow(struct movement *movement, const float *jumps, const float *row,
                     const float *z)
{
    const size_t n = movement->n_features;

    movement->n_rows++;
    for (size_t w = 0; w < MOVEMENT_WINDOWS; w++)
        follow(movement->averages + w * n, movement->hold, n, jumps + w * n, row, z,
               1.0F / span_of(windows[w], movement->n_rows), w == 0 ? FADE : 1.0F);
}

void movement_rescale(struct movement *movement, const struct scaler *from, const struct scaler *to)
{
    const size_t n = movement->n_features;

    for (size_t k = 0; k < MOVEMENT_WINDOWS * n; k++) {
        const size_t j = k % n;
        const double value = (double)scaler_mean(from)[j] +
                             (double)scaler_std(from)[j] * (double)movement->averages[k];
        const double z = (value - (double)scaler_mean(to)[j]) / (double)scaler_std(to)[j];
        const double limit = (double)SCALER_LIMIT;
        movement->averages[k] = (float)fmin(fmax(z, -limit), limit);
    }
}

size_t movement_size(size_t n_features)
{
    return sizeof(uint64_t) + (MOVEMENT_WINDOWS + 1) * n_features * sizeof(float);
}

void movement_save(const struct movement *movement, const struct scaler *scaler, void *ret_bytes)
{
    const size_t n = movement->n_features;
    const uint64_t n_rows = movement->n_rows;
    char *at = mempcpy(ret_bytes, &n_rows, sizeof(n_rows));

    for (size_t k = 0; k < MOVEMENT_WINDOWS * n; k++) {
        const size_t j = k % n;
        const float value = scaler_mean(scaler)[j] + scaler_std(scaler)[j] * movement->averages[k];
        at = mempcpy(at, &value, sizeof(value));
    }
    memcpy(at, movement->hold, n * sizeof(*movement->hold));
}

int movement_load(struct movement *movement, const struct scaler *scaler, const void *bytes,
                  size_t size)
{
    const size_t n = movement->n_features, n_averages = MOVEMENT_WINDOWS * n;
    const char *const floats = (const char *)bytes + sizeof(uint64_t);
    uint64_t n_rows;
    float value;

    if (size != movement_size(n))
        return -EINVAL;
    for (size_t k = 0; k < n_averages + n; k++) {
        memcpy(&value, floats + k * sizeof(value), sizeof(value));
        if (!isfinite(value))
            return -EINVAL;
    }
    memcpy(&n_rows, bytes, sizeof(n_rows));
    movement->n_rows = (size_t)n_rows;
    memcpy(movement->averages, floats, n_averages * sizeof(float));
    memcpy(movement->hold, floats + n_averages * sizeof(float), n * sizeof(float));
    for (size_t k = 0; k < n_averages; k++) {
        const size_t j = k % n;
        const float z = (movement->averages[k] - scaler_mean(scaler)[j]) / scaler_std(scaler)[j];
        movement->averages[k] = fminf(fmaxf(z, -SCALER_LIMIT), SCALER_LIMIT);
    }
    return 0;
}

/* Of n_columns neighbouring features: values[n_columns][n_values], each step-th row's hold. */
static void hold_columns(const float *rows, size_t n_rows, size_t n_features, size_t n_columns,
                         float window, size_t step, size_t n_values, float *values)
{
    float average[COLUMNS] = {0}, hold[COLUMNS] = {0};

    for (size_t i = 0; i < n_rows; i++)
        for (size_t c = 0; c < n_columns; c++) {
            const float off = rows[i * n_features + c] - average[c];
            hold[c] = fmaxf(FADE * hold[c], fabsf(off));
            average[c] += off / span_of(window, i + 1);
            if (i % step == 0)
                values[c * n_values + i / step] = hold[c];
        }
}

int movement_find_jumps(const float *rows, size_t n_rows, size_t n_features, float *ret_jumps)
{
    assert(rows && n_rows > 0 && n_features > 0 && ret_jumps);
    const size_t step = (n_rows + MOST_VALUES - 1) / MOST_VALUES;
    const size_t n_values = (n_rows + step - 1) / step;
    AUTO_FREE float *values = malloc((COLUMNS + 1) * n_values * sizeof(*values));
    if (!values)
        return -ENOMEM;
    float *const scratch = values + COLUMNS * n_values;
    const size_t at = (size_t)(QUANTILE * (double)(n_values - 1));

    for (size_t begin = 0; begin < n_features; begin += COLUMNS) {
        const size_t n = n_features - begin < COLUMNS ? n_features - begin : COLUMNS;
        for (size_t w = 0; w < MOVEMENT_WINDOWS; w++) {
            hold_columns(rows + begin, n_rows, n_features, n, windows[w], step, n_values, values);
            for (size_t c = 0; c < n; c++) {
                sort_floats(values + c * n_values, n_values, scratch);
                ret_jumps[w * n_features + begin + c] = values[c * n_values + at];
            }
        }
    }
    return 0;
}
