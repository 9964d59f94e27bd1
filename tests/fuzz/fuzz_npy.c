/* fuzz_npy - files of numpy: what is opened holds as many values as it says. */
#include "data/npy.h"
#include "fuzz/fuzz.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    CLEANUP(input_clear) struct input input = {0};
    static struct npy_slice slice;
    struct error error = {0};
    struct npy npy;
    size_t n = 0;

    fuzz_open_input(&input, bytes, size);
    input.chunk = 1 + size / 5;
    must(input_read(&input, 0, input.chunk, NULL) == 0);
    if (!npy_is(input.bytes, input.size))
        return 0;
    int r = npy_open(&input, &npy, &error);
    must(r == 0 || (r == -EINVAL && error.text[0]));
    if (r < 0)
        return 0;
    must(npy.n_rows > 0 && npy.n_columns > 0);
    while ((r = npy_next(&npy, &slice, &error)) > 0) {
        must(slice.n > 0 && slice.n <= NPY_MAX_SLICE);
        must(slice.row < npy.n_rows && slice.column < npy.n_columns);
        n += slice.n;
    }
    must(r == 0 && n == npy.n_rows * npy.n_columns);
    return 0;
}
