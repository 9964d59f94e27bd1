/* request_id - names for requests whose client gave none: random start, then counted on. */
#pragma once

#include <stdint.h>

#define REQUEST_ID_SIZE 65 /* with the NUL; what a client gives may be as long */

struct request_ids {
    uint32_t prefix;
    uint64_t count;
};

/* One per thread. */
void request_ids_init(struct request_ids *ids);
void request_ids_next(struct request_ids *ids, char ret_id[REQUEST_ID_SIZE]);
