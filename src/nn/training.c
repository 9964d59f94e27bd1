/* A step draws a batch, adds noise, runs the network forward and backward and lets the optimizer
 * move the weights. Whatever a step needs is allocated before the first one. */
#include "nn/training.h"

#include "base/clock.h"
#include "base/random.h"
#include "nn/loss.h"
#include "nn/network.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXPLODED      100.0   /* times the loss of a network that always answers 0 */
#define MIN_MEAN_CODE 0x1p-20 /* and as far below 1: where the divergence's gradient is cut off */

#define FLOATS_A_LINE 16 /* of the cache */
#define ROWS_AHEAD    48

/* What the steps share. */
struct training {
    const struct training_options *options;
    struct network *network;
    struct loss loss;
    const float *rows; /* [n_rows][n_features] */
    size_t n_rows, n_features, n_codes, batch_size;
    struct optimizer optimizer;
    struct random random;
    struct noise noise;
    size_t *order, next; /* [n_rows] of the pass, and where in it; NULL: drawn with replacement */
    size_t *picked;      /* [batch_size] rows of the batch */
    size_t step;         /* steps done */
    float *memory;       /* all of the following */
    float *clean, *noisy, *noise_scratch; /* [batch_size][n_features] */
    float *d_sums;                        /* [batch_size][n_features] */
    float *d_codes;                       /* [batch_size][n_codes]; NULL: the code is free */
    float *d_params, *best;               /* [n_params]; best NULL: the last are kept */
    float *scratch;                       /* of network_forward() of batch_size rows */
};

/* Sums over an epoch's steps. */
struct epoch_sums {
    double loss, gradient_norm;
    size_t n_rows, n_steps;
};

static void training_clear(struct training *training)
{
    optimizer_clear(&training->optimizer);
    free(training->order);
    free(training->picked);
    free(training->memory);
}

static float *take_floats(float **memory, size_t n)
{
    float *floats = *memory;

    *memory += n;
    return floats;
}

static int allocate(struct training *training, bool keeps_best)
{
    const struct training_options *options = training->options;
    const size_t n_params = training->network->n_params;
    const size_t n_values = training->batch_size * training->n_features;
    const bool has_noise = options->noise != NOISE_NONE;
    const bool has_penalty = options->code_l1 > 0.0 || options->sparsity > 0.0;
    const size_t n_codes = has_penalty ? training->batch_size * training->n_codes : 0;

    float *memory =
        calloc(n_values * (has_noise ? 4 : 2) + n_codes + n_params * (keeps_best ? 2 : 1) +
                   network_training_floats(training->network, training->batch_size),
               sizeof(*memory));
    if (!memory)
        return -ENOMEM;
    training->memory = memory;
    training->clean = take_floats(&memory, n_values);
    training->noisy = has_noise ? take_floats(&memory, n_values) : training->clean;
    training->noise_scratch = has_noise ? take_floats(&memory, n_values) : NULL;
    training->d_sums = take_floats(&memory, n_values);
    training->d_codes = has_penalty ? take_floats(&memory, n_codes) : NULL;
    training->d_params = take_floats(&memory, n_params);
    training->best = keeps_best ? take_floats(&memory, n_params) : NULL;
    training->scratch = memory;

    training->picked = malloc(training->batch_size * sizeof(*training->picked));
    if (!training->picked)
        return -ENOMEM;
    if (!options->with_replacement) {
        training->order = malloc(training->n_rows * sizeof(*training->order));
        if (!training->order)
            return -ENOMEM;
        for (size_t i = 0; i < training->n_rows; i++)
            training->order[i] = i;
        training->next = training->n_rows; /* shuffle first */
    }
    return optimizer_init(&training->optimizer, &options->optimizer, n_params,
                          training->network->n_weights);
}

static int training_init(struct training *training, struct network *network, const float *rows,
                         size_t n_rows, bool keeps_best, const struct training_options *options)
{
    *training = (struct training){
        .options = options,
        .network = network,
        .loss = {.n_features = network_n_features(network),
                 .activation = network->layers[network->n_layers - 1].activation,
                 .bounded = network->bounded},
        .rows = rows,
        .n_rows = n_rows,
        .n_features = network_n_features(network),
        .n_codes = network_n_codes(network),
        .batch_size = options->batch_size,
    };
    if (!options->with_replacement && n_rows < training->batch_size)
        training->batch_size = n_rows;
    assert(training->batch_size <= INT_MAX); /* BLAS counts in int */
    random_seed(&training->random, options->seed);
    noise_seed(&training->noise, random_u64(&training->random));
    return allocate(training, keeps_best);
}

/* Rows are drawn from all over the memory: without this each copy would wait for the first line. */
static void prefetch(const float *row, size_t n)
{
    for (size_t i = 0; i < n; i += FLOATS_A_LINE)
        __builtin_prefetch(row + i);
}

/* The row whose turn comes ROWS_AHEAD after that of row i of n in the batch, in the next batch
 * perhaps; n_rows if it is not drawn yet. */
static size_t row_ahead(const struct training *training, size_t n, size_t i)
{
    const size_t in_batch = i + ROWS_AHEAD, in_pass = training->next - n + in_batch;

    if (training->order)
        return in_pass < training->n_rows ? training->order[in_pass] : training->n_rows;
    return in_batch < n ? training->picked[in_batch] : training->n_rows;
}

/* Copies the next batch together; returns its number of rows. */
static size_t draw_batch(struct training *training)
{
    const size_t n_features = training->n_features;
    size_t n = training->batch_size;

    if (training->order) {
        if (training->next == training->n_rows) {
            random_shuffle(&training->random, training->order, training->n_rows);
            training->next = 0;
        }
        if (n > training->n_rows - training->next)
            n = training->n_rows - training->next;
    }
    for (size_t i = 0; i < n; i++)
        training->picked[i] = training->order ? training->order[training->next++]
                                              : random_below(&training->random, training->n_rows);
    for (size_t i = 0; i < n; i++) {
        const size_t ahead = row_ahead(training, n, i);
        if (ahead < training->n_rows)
            prefetch(training->rows + ahead * n_features, n_features);
        memcpy(training->clean + i * n_features, training->rows + training->picked[i] * n_features,
               n_features * sizeof(float));
    }
    return n;
}

/* step counts from 1. */
static double learning_rate(const struct training_options *options, size_t step)
{
    if (step < options->warmup_steps)
        return options->learning_rate * (double)step / (double)options->warmup_steps;
    if (!options->cosine || options->n_steps <= options->warmup_steps)
        return options->learning_rate;

    const double done =
        (double)(step - options->warmup_steps) / (double)(options->n_steps - options->warmup_steps);
    return options->learning_rate * 0.5 * (1.0 + cos(M_PI * done));
}

/* d KL(target ‖ mean) / d mean */
static double divergence_gradient(double target, double mean)
{
    const double clamped = fmin(fmax(mean, MIN_MEAN_CODE), 1.0 - MIN_MEAN_CODE);

    return (1.0 - target) / (1.0 - clamped) - target / clamped;
}

/* The gradient of the penalties by codes[n_rows][n_codes]. */
static void penalise_codes(struct training *training, const float *codes, size_t n_rows)
{
    const struct training_options *options = training->options;
    const size_t n_codes = training->n_codes;
    const float l1 = (float)(options->code_l1 / (double)n_rows);
    float *d_codes = training->d_codes;

    for (size_t i = 0; i < n_rows * n_codes; i++)
        d_codes[i] = l1 * (float)((codes[i] > 0.0F) - (codes[i] < 0.0F));
    for (size_t j = 0; options->sparsity > 0.0 && j < n_codes; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < n_rows; i++)
            sum += (double)codes[i * n_codes + j];

        const double slope = divergence_gradient(options->sparsity_target, sum / (double)n_rows);
        const float d = (float)(options->sparsity * slope / (double)n_rows);
        for (size_t i = 0; i < n_rows; i++)
            d_codes[i * n_codes + j] += d;
    }
}

static void run_step(struct training *training, struct epoch_sums *sums)
{
    const struct training_options *options = training->options;
    struct network *network = training->network;
    float *scratch = training->scratch;
    const size_t n = draw_batch(training);

    if (options->noise != NOISE_NONE)
        noise_corrupt(&training->noise, options->noise, options->noise_amount, training->noisy,
                      training->clean, training->noise_scratch, n * training->n_features);
    network_forward(network, scratch, training->noisy, n);

    const float *out = network_output(network, scratch, n);
    const float *out_sums = network_output_sums(network, scratch, n);
    sums->loss += (double)n * loss_forward(&training->loss, out_sums, out, training->clean, n);
    loss_backward(&training->loss, training->d_sums, out_sums, out, training->clean, n);
    if (training->d_codes)
        penalise_codes(training, network_codes(network, scratch, n), n);

    memset(training->d_params, 0, network->n_params * sizeof(float));
    network_backward(network, scratch, training->noisy, n, training->d_sums, training->d_codes,
                     training->d_params);
    sums->gradient_norm += optimizer_clip(training->d_params, network->n_params, options->clip);
    optimizer_step(&training->optimizer, network->params, training->d_params,
                   learning_rate(options, ++training->step));
    sums->n_rows += n;
    sums->n_steps++;
}

static struct epoch_sums run_epoch(struct training *training, size_t n_steps)
{
    struct epoch_sums sums = {0};

    for (size_t i = 0; i < n_steps && training->step < training->options->n_steps; i++)
        run_step(training, &sums);
    return sums;
}

/* The loss of rows without noise; of no rows NaN. */
static double mean_loss(struct training *training, const float *rows, size_t n_rows)
{
    double sum = 0.0;

    for (size_t i = 0; i < n_rows; i += training->batch_size) {
        const size_t n = n_rows - i < training->batch_size ? n_rows - i : training->batch_size;
        const float *batch = rows + i * training->n_features;

        network_forward(training->network, training->scratch, batch, n);
        sum += (double)n *
               loss_forward(&training->loss,
                            network_output_sums(training->network, training->scratch, n),
                            network_output(training->network, training->scratch, n), batch, n);
    }
    return n_rows ? sum / (double)n_rows : (double)NAN;
}

/* The loss of a network that always answers 0: what any training starts near. */
static double idle_loss(const struct training *training)
{
    const float *zeros = training->d_sums;
    double sum = 0.0;

    for (size_t i = 0; i < training->n_rows; i += training->batch_size) {
        const size_t left = training->n_rows - i;
        const size_t n = left < training->batch_size ? left : training->batch_size;

        sum += (double)n * loss_forward(&training->loss, zeros, zeros,
                                        training->rows + i * training->n_features, n);
    }
    return sum / (double)training->n_rows;
}

static size_t divide_up(size_t n, size_t divisor)
{
    return n / divisor + (n % divisor != 0);
}

/* Enters an epoch into the result, and its weights if they are the best so far. */
static void note_epoch(struct training *training, const struct training_progress *progress,
                       struct training_result *result)
{
    const bool is_first = result->epochs == 0;

    result->epochs = progress->epoch;
    if (training->best && !is_first && !(progress->validation_loss < result->validation_loss))
        return;
    result->best_epoch = progress->epoch;
    result->loss = progress->loss;
    result->validation_loss = progress->validation_loss;
    if (training->best)
        memcpy(training->best, training->network->params,
               training->network->n_params * sizeof(float));
}

static int run_epochs(struct training *training, size_t steps_per_epoch, const float *validation,
                      size_t n_validation,
                      bool (*on_epoch)(void *userdata, const struct training_progress *),
                      void *userdata, struct training_result *result, struct error *reterr)
{
    const struct training_options *options = training->options;
    const size_t n_epochs = divide_up(options->n_steps, steps_per_epoch);
    const double exploded = EXPLODED * (1.0 + idle_loss(training));
    const uint64_t begin_us = clock_monotonic_us();

    for (size_t epoch = 1; epoch <= n_epochs; epoch++) {
        const struct epoch_sums sums = run_epoch(training, steps_per_epoch);
        const struct training_progress progress = {
            .epoch = epoch,
            .epochs = n_epochs,
            .loss = sums.loss / (double)sums.n_rows,
            .validation_loss = mean_loss(training, validation, n_validation),
            .gradient_norm = sums.gradient_norm / (double)sums.n_steps,
            .seconds = (double)(clock_monotonic_us() - begin_us) / (double)US_PER_S,
        };
        if (!(progress.loss < exploded) || (n_validation && !isfinite(progress.validation_loss)))
            return error_set(reterr, -EDOM, "the training diverged in epoch %zu (loss %g)", epoch,
                             fabs(progress.loss)); /* NaN may have a sign */
        note_epoch(training, &progress, result);
        if (on_epoch && !on_epoch(userdata, &progress))
            return error_set(reterr, -ECANCELED, "the training was cancelled");
        if (training->best && epoch >= result->best_epoch + options->patience)
            break;
    }
    return 0;
}

int training_run(struct network *network, const float *rows, size_t n_rows, const float *validation,
                 size_t n_validation, const struct training_options *options,
                 bool (*on_epoch)(void *userdata, const struct training_progress *), void *userdata,
                 struct training_result *ret_result, struct error *reterr)
{
    assert(network && rows && n_rows > 0 && (validation || n_validation == 0) && ret_result);
    assert(options->batch_size > 0);
    CLEANUP(training_clear) struct training training = {0};
    const bool keeps_best = options->patience > 0 && n_validation > 0;
    struct training_result result = {0};

    int r = training_init(&training, network, rows, n_rows, keeps_best, options);
    if (r < 0)
        return error_set(reterr, r, "not enough memory to train");

    size_t steps_per_epoch = divide_up(n_rows, training.batch_size);
    if (!keeps_best && !options->full_passes &&
        steps_per_epoch * TRAINING_MAX_EPOCHS < options->n_steps)
        steps_per_epoch = divide_up(options->n_steps, TRAINING_MAX_EPOCHS);
    if (options->n_steps > 0)
        r = run_epochs(&training, steps_per_epoch, validation, n_validation, on_epoch, userdata,
                       &result, reterr);
    else
        result = (struct training_result){
            .loss = mean_loss(&training, rows, n_rows),
            .validation_loss = mean_loss(&training, validation, n_validation),
        };
    if (r < 0)
        return r;
    if (training.best)
        memcpy(network->params, training.best, network->n_params * sizeof(float));
    *ret_result = result;
    return 0;
}
