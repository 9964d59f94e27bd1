/* workspace - scratch memory of one thread: grows to the largest need, then never allocates. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct workspace {
    float *data;
    size_t capacity; /* in floats */
};

/* n floats, aligned to 64 bytes, content undefined, valid until the next call; NULL: no memory. */
float *workspace_get(struct workspace *workspace, size_t n);
void workspace_clear(struct workspace *workspace);
