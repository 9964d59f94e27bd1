#include "service/recent.h"

#include "base/clock.h"
#include "detector/detector.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MARK_ROWS 100 /* every so many rows the time is kept */
#define N_MARKS   (RECENT_ROWS / MARK_ROWS)

/* Row i of all is in errors[i % RECENT_ROWS]. */
struct recent {
    uint64_t since_us;
    atomic_uint n_users;
    _Atomic uint64_t n_rows;         /* ever */
    _Atomic uint64_t marks[N_MARKS]; /* row i * MARK_ROWS came at marks[i % N_MARKS] */
    _Atomic double errors[RECENT_ROWS];
};

int recent_new(uint64_t now_us, struct recent **ret_recent)
{
    struct recent *recent = calloc(1, sizeof(*recent));
    if (!recent)
        return -ENOMEM;
    recent->since_us = now_us;
    atomic_store(&recent->n_users, 1);
    *ret_recent = recent;
    return 0;
}

struct recent *recent_share(struct recent *recent)
{
    (void)atomic_fetch_add(&recent->n_users, 1);
    return recent;
}

void recent_release(struct recent *recent)
{
    if (recent && atomic_fetch_sub(&recent->n_users, 1) == 1)
        free(recent);
}

static void put(struct recent *recent, uint64_t row, double error, uint64_t now_us)
{
    atomic_store_explicit(&recent->errors[row % RECENT_ROWS], error, memory_order_relaxed);
    if (row % MARK_ROWS == 0)
        atomic_store_explicit(&recent->marks[row / MARK_ROWS % N_MARKS], now_us,
                              memory_order_relaxed);
}

void recent_add(struct recent *recent, const struct verdict *verdicts, size_t n_rows,
                uint64_t now_us)
{
    const uint64_t first = atomic_fetch_add_explicit(&recent->n_rows, n_rows, memory_order_relaxed);

    for (size_t i = 0; i < n_rows; i++)
        put(recent, first + i, verdicts[i].reconstruction_error, now_us);
}

void recent_add_ring(struct recent *recent, const double *ring, size_t n_rows, uint64_t now_us)
{
    const uint64_t first = atomic_fetch_add_explicit(&recent->n_rows, n_rows, memory_order_relaxed);

    for (size_t i = n_rows > RECENT_ROWS ? n_rows - RECENT_ROWS : 0; i < n_rows; i++)
        put(recent, first + i, ring[i % RECENT_ROWS], now_us);
}

/* Since the first of them came that there is a mark of; while all are kept, since the beginning, so
 * that the first row alone is no flood. */
static double rate_of(const struct recent *recent, uint64_t n_rows, uint64_t now_us)
{
    uint64_t first = 0, since_us = recent->since_us;

    if (n_rows > RECENT_ROWS) {
        const uint64_t mark = (n_rows - RECENT_ROWS + MARK_ROWS - 1) / MARK_ROWS;
        first = mark * MARK_ROWS;
        since_us = atomic_load_explicit(&recent->marks[mark % N_MARKS], memory_order_relaxed);
    }
    const uint64_t span_us = now_us > since_us ? now_us - since_us : 1;
    return (double)(n_rows - first) * (double)US_PER_S / (double)span_us;
}

int recent_read(const struct recent *recent, uint64_t now_us, struct recent_rows *ret_rows)
{
    assert(recent && ret_rows);
    const uint64_t n_rows = atomic_load_explicit(&recent->n_rows, memory_order_relaxed);
    struct recent_rows rows = {
        .n_rows = n_rows < RECENT_ROWS ? n_rows : RECENT_ROWS,
        .rows_per_second = rate_of(recent, n_rows, now_us),
    };

    rows.errors = calloc(rows.n_rows + 1, sizeof(double));
    if (!rows.errors)
        return -ENOMEM;
    for (size_t i = 0; i < rows.n_rows; i++)
        rows.errors[i] = atomic_load_explicit(&recent->errors[i], memory_order_relaxed);
    *ret_rows = rows;
    return 0;
}

void recent_rows_clear(struct recent_rows *rows)
{
    free(rows->errors);
    *rows = (struct recent_rows){0};
}

size_t recent_rows_above(const struct recent_rows *rows, double threshold)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->n_rows; i++)
        n += rows->errors[i] > threshold;
    return n;
}
