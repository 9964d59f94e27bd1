/* vector - one function, two machine codes: for any processor, and for those with AVX2 and FMA; the
 * right one is chosen when the program starts. configure finds out whether the compiler can. */
#pragma once

#include <stddef.h>

#ifdef HAVE_TARGET_CLONES
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

/* Put before a loop of few rounds whose number is known after inlining. */
#ifdef __clang__
#define VECTOR_UNROLL _Pragma("unroll")
#else
#define VECTOR_UNROLL _Pragma("GCC unroll 16")
#endif

const char *vector_kernel(void); /* "fma" or "portable" */

/* y[n] += factor · x[n] */
void vector_add(float *restrict y, float factor, const float *restrict x, size_t n);
