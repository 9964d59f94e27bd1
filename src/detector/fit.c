#include "detector/fit.h"

#include "base/random.h"
#include "detector/clusters.h"
#include "detector/encoding.h"
#include "detector/folds.h"
#include "detector/plan.h"
#include "detector/prototypes.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/network.h"
#include "nn/pca.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_VALIDATION_ROWS 400 /* when they only report */
#define PCA_VARIANCE         0.9 /* share that the components explain, if their number is chosen */
#define PCA_MOST_COMPONENTS  64

void fit_clear(struct fit *fit)
{
    scaler_free(fit->scaler);
    encoding_free(fit->encoding);
    network_free(fit->network);
    residual_free(fit->residual);
    prototypes_free(fit->prototypes);
    clusters_free(fit->clusters);
    fit->scaler = NULL;
    fit->encoding = NULL;
    fit->network = NULL;
    fit->residual = NULL;
    fit->prototypes = NULL;
    fit->clusters = NULL;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows that the weights are fitted to, and rows that judge them. When these decide when to stop,
 * they are a fifth of the rows outside the fold, for the fold itself must stay unseen; when they
 * only report, they are of the fold. */
static void split(const struct fit *fit, const struct plan *plan, const struct folds *folds,
                  struct stretch *ret_train, struct stretch *ret_validation)
{
    *ret_train = folds_outside(folds, fit->fold);
    *ret_validation = folds_inside(folds, fit->fold);
    ret_validation->n = smaller(ret_validation->n, MOST_VALIDATION_ROWS);
    if (plan->training.patience > 0) {
        ret_validation->n = ret_train->n / 5;
        ret_train->n -= ret_validation->n;
        ret_validation->begin = ret_train->begin + ret_train->n;
    }
}

/* As many components as explain most of the variance. */
static int choose_components(const float *rows, size_t n_rows, size_t n, size_t *ret_components)
{
    const size_t most = smaller(n - 1, PCA_MOST_COMPONENTS);
    AUTO_FREE float *mean = malloc(n * sizeof(*mean));
    AUTO_FREE float *vectors = malloc(most * n * sizeof(*vectors));
    double values[PCA_MOST_COMPONENTS], trace, sum = 0.0;
    if (!mean || !vectors)
        return -ENOMEM;

    int r = pca_fit(rows, n_rows, n, most, mean, vectors, values, &trace);
    if (r < 0)
        return r;
    size_t k = 0;
    while (k < most && sum < PCA_VARIANCE * trace)
        sum += values[k++];
    *ret_components = k ? k : 1;
    return 0;
}

static int new_network(struct fit *fit, const struct plan *plan, const float *rows, size_t n_rows)
{
    struct plan_network layers = plan->networks[fit->shape];
    size_t *latent = &layers.widths[layers.n_encoder_layers];

    if (plan->is_pca && *latent == 0) {
        int r = choose_components(rows, n_rows, layers.widths[0], latent);
        if (r < 0)
            return r;
    }
    const struct network_shape shape = {
        .n_layers = layers.n_layers,
        .n_encoder_layers = layers.n_encoder_layers,
        .widths = layers.widths,
        .activations = layers.activations,
        .is_tied = plan->is_tied,
        .bounded = plan->bounded,
    };
    return network_new(&shape, &fit->network);
}

/* What a fit trains on, and how. */
struct lesson {
    const float *rows, *validation;
    size_t n_rows, n_validation;
    struct training_options options;
    bool (*on_epoch)(void *userdata, const struct training_progress *);
    void *userdata;
};

static int run_training(struct network *network, const struct lesson *lesson,
                        struct training_result *ret_result, struct error *reterr)
{
    return training_run(network, lesson->rows, lesson->n_rows, lesson->validation,
                        lesson->n_validation, &lesson->options, lesson->on_epoch, lesson->userdata,
                        ret_result, reterr);
}

static bool has_same_layers(const struct network *a, const struct network *b)
{
    if (a->n_layers != b->n_layers || a->n_encoder_layers != b->n_encoder_layers)
        return false;
    for (size_t l = 0; l < a->n_layers; l++)
        if (a->layers[l].n_in != b->layers[l].n_in || a->layers[l].n_out != b->layers[l].n_out ||
            a->layers[l].activation != b->layers[l].activation ||
            a->layers[l].is_tied != b->layers[l].is_tied)
            return false;
    return a->n_params == b->n_params;
}

/* Trains a second network from the weights of start, and keeps the better one. A start that
 * diverges is no loss. */
static int try_start(struct fit *fit, const struct plan *plan, const struct lesson *lesson)
{
    struct fit warm = {.shape = fit->shape};
    struct error ignored;

    int r = new_network(&warm, plan, lesson->rows, lesson->n_rows);
    CLEANUP(network_freep) struct network *network = warm.network;
    if (r < 0 || !has_same_layers(network, fit->start))
        return r;
    memcpy(network->params, fit->start->params, network->n_params * sizeof(float));
    r = run_training(network, lesson, &warm.result, &ignored);
    if (r < 0)
        return r == -EDOM ? 0 : r;
    if (!(warm.result.validation_loss < fit->result.validation_loss))
        return 0;
    fit->result = warm.result;
    fit->is_warm = true;
    struct network *colder = fit->network;
    fit->network = network;
    network = colder;
    return 0;
}

static int train(struct fit *fit, const struct plan *plan, const struct fit_rows *rows,
                 bool (*on_epoch)(void *userdata, const struct training_progress *), void *userdata)
{
    struct stretch trained, validation;
    split(fit, plan, rows->folds, &trained, &validation);
    struct lesson lesson = {
        .rows = rows->encoded + trained.begin * rows->n_values,
        .n_rows = trained.n,
        .validation = rows->encoded + validation.begin * rows->n_values,
        .n_validation = validation.n,
        .options = plan->training,
        .on_epoch = on_epoch,
        .userdata = userdata,
    };
    struct training_options *options = &lesson.options;
    struct random random;
    fit->n_trained = trained.n;
    fit->n_validation = plan->training.patience > 0 ? validation.n : 0;

    int r = new_network(fit, plan, lesson.rows, trained.n);
    if (r < 0)
        return r;
    random_seed(&random, fit->seed);
    if (plan->is_pca)
        r = pca_init_network(fit->network, lesson.rows, trained.n);
    else
        network_init(fit->network, plan->init, &random);
    options->batch_size = smaller(options->batch_size, trained.n);
    const size_t steps_a_pass = (trained.n + options->batch_size - 1) / options->batch_size;
    options->seed = random_u64(&random);
    options->full_passes = plan->n_steps == 0; /* epochs were asked for */
    options->n_steps = plan->n_steps ? plan->n_steps : plan->n_epochs * steps_a_pass;
    if (r == 0)
        r = run_training(fit->network, &lesson, &fit->result, &fit->error);
    if (r == 0 && fit->start && options->n_steps > 0)
        r = try_start(fit, plan, &lesson);
    return r < 0 ? r : network_pack(fit->network);
}

/* ret_residuals[n_rows][n_values], as scoring computes them. */
static int find_residuals(const struct network *network, const float *encoded, size_t n_rows,
                          size_t n_values, float *ret_residuals)
{
    enum {
        BLOCK = 16
    };
    const size_t stride = network_output_stride(network);
    AUTO_FREE float *scratch = malloc(network_inference_floats(network, BLOCK) * sizeof(*scratch));
    if (!scratch)
        return -ENOMEM;

    for (size_t begin = 0; begin < n_rows; begin += BLOCK) {
        const size_t n = smaller(BLOCK, n_rows - begin);
        const float *in = encoded + begin * n_values;
        const float *out = network_infer(network, scratch, in, n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n_values; j++)
                ret_residuals[(begin + i) * n_values + j] =
                    in[i * n_values + j] - out[i * stride + j];
    }
    return 0;
}

static int fit_residual(struct fit *fit, const struct fit_rows *rows)
{
    const size_t n_values = rows->n_values;
    const struct stretch outside = folds_outside(rows->folds, fit->fold);
    const struct stretch inside = folds_inside(rows->folds, fit->fold);
    AUTO_FREE float *trained = malloc(outside.n * n_values * sizeof(*trained));
    AUTO_FREE float *held = malloc(inside.n * n_values * sizeof(*held));
    if (!trained || !held)
        return -ENOMEM;

    int r = find_residuals(fit->network, rows->encoded + outside.begin * n_values, outside.n,
                           n_values, trained);
    if (r == 0)
        r = find_residuals(fit->network, rows->encoded + inside.begin * n_values, inside.n,
                           n_values, held);
    return r < 0 ? r : residual_fit(trained, outside.n, held, inside.n, n_values, &fit->residual);
}

static int fit_parts(struct fit *fit, const struct plan *plan, const struct fit_rows *rows)
{
    const struct stretch outside = folds_outside(rows->folds, fit->fold);
    const float *blended = rows->blended + outside.begin * rows->n_features;
    struct random random;
    int r = 0;

    random_seed(&random, fit->seed + 1);
    if (plan->n_prototypes > 0)
        r = prototypes_fit(blended, outside.n, rows->n_features, plan->n_prototypes, &random,
                           &fit->prototypes);
    if (r == 0 && plan->n_clusters > 0)
        r = clusters_fit(blended, outside.n, rows->n_features, plan->n_clusters, &random,
                         &fit->clusters);
    return r;
}

int fit_run(struct fit *fit, const struct plan *plan, const struct fit_rows *rows,
            bool (*on_epoch)(void *userdata, const struct training_progress *), void *userdata)
{
    int r = train(fit, plan, rows, on_epoch, userdata);

    if (r == 0 && plan->is_whitened)
        r = fit_residual(fit, rows);
    if (r == 0 && fit->with_parts)
        r = fit_parts(fit, plan, rows);
    return r;
}
