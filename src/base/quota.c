#include "base/quota.h"

#include <assert.h>
#include <stdint.h>

void quota_set_limit(struct quota *quota, size_t limit)
{
    atomic_store_explicit(&quota->limit, limit, memory_order_relaxed);
}

size_t quota_limit(const struct quota *quota)
{
    return atomic_load_explicit(&quota->limit, memory_order_relaxed);
}

size_t quota_used(const struct quota *quota)
{
    return atomic_load_explicit(&quota->used, memory_order_relaxed);
}

/* What the share lacks, in whole steps. */
static size_t lacking(const struct share *share, size_t bytes)
{
    const size_t whole = bytes / QUOTA_STEP * QUOTA_STEP;

    return share->quota && whole > share->bytes ? whole - share->bytes : 0;
}

bool share_fit(struct share *share, size_t bytes, enum quota_part part)
{
    struct quota *quota = share->quota;
    const size_t n = lacking(share, bytes);
    if (n == 0)
        return true;

    const size_t limit = quota_limit(quota);
    const size_t most = limit == 0 ? SIZE_MAX : part == QUOTA_HALF ? limit / 2 : limit;
    size_t used = quota_used(quota);
    do {
        if (used > most || n > most - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&quota->used, &used, used + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    share->bytes += n;
    return true;
}

void share_count(struct share *share, size_t bytes)
{
    const size_t n = lacking(share, bytes);

    if (n == 0)
        return;
    (void)atomic_fetch_add_explicit(&share->quota->used, n, memory_order_relaxed);
    share->bytes += n;
}

void share_clear(struct share *share)
{
    if (share->bytes == 0)
        return;
    assert(quota_used(share->quota) >= share->bytes);
    (void)atomic_fetch_sub_explicit(&share->quota->used, share->bytes, memory_order_relaxed);
    share->bytes = 0;
}
