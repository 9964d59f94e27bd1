#include "nn/vector.h"

const char *vector_kernel(void)
{
#ifdef HAVE_TARGET_CLONES
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "fma";
#endif
    return "portable";
}

VECTOR_CLONES void vector_add(float *restrict y, float factor, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += factor * x[i];
}
