#include "nn/vector.h"

const char *vector_kernel(void)
{
#ifdef HAVE_TARGET_CLONES
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "fma";
#endif
    return "portable";
}
