#include "nn/workspace.h"

#include <stdint.h>

#define ALIGNMENT 64

float *workspace_get(struct workspace *workspace, size_t n)
{
    if (n <= workspace->capacity)
        return workspace->data;
    if (n > SIZE_MAX / sizeof(float) - ALIGNMENT)
        return NULL;

    float *data = NULL;
    if (posix_memalign((void **)&data, ALIGNMENT, n * sizeof(*data)) != 0)
        return NULL;
    free(workspace->data);
    workspace->data = data;
    workspace->capacity = n;
    return data;
}

void workspace_clear(struct workspace *workspace)
{
    free(workspace->data);
    *workspace = (struct workspace){0};
}
