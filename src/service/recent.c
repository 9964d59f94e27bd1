#include "service/recent.h"

#include "base/clock.h"
#include "detector/detector.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BLOCK_ROWS 100
#define N_BLOCKS   (RECENT_ROWS / BLOCK_ROWS)

struct block {
    _Atomic uint64_t began_us; /* when the first of them came */
    _Atomic double errors[BLOCK_ROWS];
};

/* Row i of all is in blocks[i / BLOCK_ROWS % N_BLOCKS], which is made when it is needed: most of
 * ten thousand models see few rows. */
struct recent {
    uint64_t since_us;
    atomic_uint n_users;
    _Atomic uint64_t n_rows; /* ever */
    struct block *_Atomic blocks[N_BLOCKS];
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
    if (!recent || atomic_fetch_sub(&recent->n_users, 1) != 1)
        return;
    for (size_t i = 0; i < N_BLOCKS; i++)
        free(atomic_load(&recent->blocks[i]));
    free(recent);
}

/* NULL: there is none yet. */
static struct block *find_block(const struct recent *recent, uint64_t row)
{
    return atomic_load_explicit(&recent->blocks[row / BLOCK_ROWS % N_BLOCKS], memory_order_acquire);
}

/* NULL: no memory. */
static struct block *need_block(struct recent *recent, uint64_t row)
{
    struct block *block = find_block(recent, row), *other = NULL;
    if (block)
        return block;
    block = calloc(1, sizeof(*block));
    if (!block ||
        atomic_compare_exchange_strong(&recent->blocks[row / BLOCK_ROWS % N_BLOCKS], &other, block))
        return block;
    free(block); /* another worker was quicker */
    return other;
}

static void put(struct recent *recent, uint64_t row, double error, uint64_t now_us)
{
    struct block *block = need_block(recent, row);

    if (!block)
        return;
    atomic_store_explicit(&block->errors[row % BLOCK_ROWS], error, memory_order_relaxed);
    if (row % BLOCK_ROWS == 0)
        atomic_store_explicit(&block->began_us, now_us, memory_order_relaxed);
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
        first = (n_rows - RECENT_ROWS + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
        const struct block *block = find_block(recent, first);
        if (block)
            since_us = atomic_load_explicit(&block->began_us, memory_order_relaxed);
    }
    const uint64_t span_us = now_us > since_us ? now_us - since_us : 1;
    return (double)(n_rows - first) * (double)US_PER_S / (double)span_us;
}

int recent_read(const struct recent *recent, uint64_t now_us, struct recent_rows *ret_rows)
{
    assert(recent && ret_rows);
    const uint64_t n_rows = atomic_load_explicit(&recent->n_rows, memory_order_relaxed);
    const size_t n_kept = n_rows < RECENT_ROWS ? n_rows : RECENT_ROWS;
    struct recent_rows rows = {.rows_per_second = rate_of(recent, n_rows, now_us)};

    rows.errors = calloc(n_kept + 1, sizeof(double));
    if (!rows.errors)
        return -ENOMEM;
    for (size_t i = 0; i < n_kept; i++) {
        const struct block *block = find_block(recent, i);
        if (block)
            rows.errors[rows.n_rows++] =
                atomic_load_explicit(&block->errors[i % BLOCK_ROWS], memory_order_relaxed);
    }
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
