#include "base/quota.h"

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

static size_t whole_steps(size_t bytes)
{
    return bytes / QUOTA_STEP * QUOTA_STEP;
}

bool share_fit(struct share *share, size_t bytes, enum quota_part part)
{
    struct quota *quota = share->quota;
    const size_t whole = whole_steps(bytes);
    if (!quota || whole <= share->bytes)
        return true;

    const size_t n = whole - share->bytes;
    const size_t limit = quota_limit(quota);
    const size_t most = limit == 0 ? SIZE_MAX : part == QUOTA_HALF ? limit / 2 : limit;
    size_t used = quota_used(quota);
    do {
        if (used > most || n > most - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&quota->used, &used, used + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    share->bytes = whole;
    return true;
}

void share_set(struct share *share, size_t bytes)
{
    const size_t whole = share->quota ? whole_steps(bytes) : 0;

    if (whole > share->bytes)
        (void)atomic_fetch_add_explicit(&share->quota->used, whole - share->bytes,
                                        memory_order_relaxed);
    else if (whole < share->bytes)
        (void)atomic_fetch_sub_explicit(&share->quota->used, share->bytes - whole,
                                        memory_order_relaxed);
    share->bytes = whole;
}

void share_clear(struct share *share)
{
    share_set(share, 0);
}
