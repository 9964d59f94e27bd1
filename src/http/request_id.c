#include "http/request_id.h"

#include "base/clock.h"

#include <sys/random.h>

void request_ids_init(struct request_ids *ids)
{
    *ids = (struct request_ids){0};
    if (getrandom(&ids->prefix, sizeof(ids->prefix), GRND_NONBLOCK) < 0)
        ids->prefix = (uint32_t)clock_realtime_us(); /* early at boot */
}

/* As many digits as the number has, at_least of them. Returns the end. snprintf() costs as much as
 * all else that the head of a request does. */
static char *write_hex(char *to, uint64_t number, unsigned at_least)
{
    unsigned n = at_least;

    while (n < 16 && number >> (4 * n) > 0)
        n++;
    while (n-- > 0)
        *to++ = "0123456789abcdef"[number >> (4 * n) & 0xf];
    return to;
}

void request_ids_next(struct request_ids *ids, char ret_id[REQUEST_ID_SIZE])
{
    char *end = write_hex(ret_id, ids->prefix, 8);

    *end++ = '-';
    *write_hex(end, ++ids->count, 1) = '\0';
}
