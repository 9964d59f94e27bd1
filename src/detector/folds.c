#include "detector/folds.h"

#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int folds_deal(size_t n_rows, struct random *random, struct folds *ret_folds)
{
    assert(n_rows >= (size_t)2 * N_FOLDS);
    const size_t n_blocks = n_rows < FOLDS_BLOCKS ? n_rows : FOLDS_BLOCKS;
    AUTO_FREE size_t *blocks = malloc(n_blocks * sizeof(*blocks));
    AUTO_FREE size_t *order = malloc(2 * n_rows * sizeof(*order));
    if (!blocks || !order)
        return -ENOMEM;

    for (size_t b = 0; b < n_blocks; b++)
        blocks[b] = b;
    random_shuffle(random, blocks, n_blocks);
    size_t n = 0;
    for (size_t b = 0; b < n_blocks; b++)
        for (size_t i = blocks[b] * n_rows / n_blocks; i < (blocks[b] + 1) * n_rows / n_blocks; i++)
            order[n++] = i;
    assert(n == n_rows);
    for (size_t fold = 0; fold <= N_FOLDS; fold++)
        ret_folds->begin[fold] = fold * n_rows / N_FOLDS;
    memcpy(order + n_rows, order, n_rows * sizeof(*order));
    ret_folds->n_rows = n_rows;
    ret_folds->order = TAKE(order);
    return 0;
}

void folds_clear(struct folds *folds)
{
    free(folds->order);
    *folds = (struct folds){0};
}

struct stretch folds_inside(const struct folds *folds, size_t fold)
{
    return (struct stretch){folds->begin[fold], folds->begin[fold + 1] - folds->begin[fold]};
}

struct stretch folds_outside(const struct folds *folds, size_t fold)
{
    return (struct stretch){folds->begin[fold + 1], folds->n_rows - folds_inside(folds, fold).n};
}
