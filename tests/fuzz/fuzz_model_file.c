/* fuzz_model_file - model files: refused with the reason, or a detector that scores. */
#include "detector/detector.h"
#include "detector/model_file.h"
#include "fuzz/fuzz.h"

#include <errno.h>
#include <math.h>

/* A row of zeros gets a verdict. Weights may be anything, so the verdict may be, too. */
static void score(const struct detector *detector)
{
    static struct workspace *workspace;
    AUTO_FREE float *row = calloc(detector_n_features(detector), sizeof(*row));
    struct verdict verdict;

    if (!workspace)
        must(detector_workspace_new(&workspace) == 0);
    must(row != NULL);
    must(detector_score(detector, workspace, row, 1, 1.0, &verdict) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    CLEANUP(detector_freep) struct detector *detector = NULL;
    AUTO_FREE char *data = fuzz_block(bytes, size);
    struct error error = {0};

    const int r = model_file_parse("x.safetensors", data, size, &detector, &error);
    must(r == 0 || (r == -EINVAL && error.text[0]));
    if (r == 0)
        score(detector);
    return 0;
}
