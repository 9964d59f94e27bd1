#include "http/request_id.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

void request_ids_init(struct request_ids *ids)
{
    *ids = (struct request_ids){0};
    if (getrandom(&ids->prefix, sizeof(ids->prefix), GRND_NONBLOCK) < 0)
        ids->prefix = (uint32_t)clock_realtime_us(); /* early at boot */
}

void request_ids_next(struct request_ids *ids, char ret_id[REQUEST_ID_SIZE])
{
    (void)snprintf(ret_id, REQUEST_ID_SIZE, "%08" PRIx32 "-%" PRIx64, ids->prefix, ++ids->count);
}
