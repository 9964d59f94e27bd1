#include "detector/trainer.h"

#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "data/feature_list.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/fit.h"
#include "detector/folds.h"
#include "detector/plan.h"
#include "detector/relevance.h"
#include "detector/sample.h"
#include "detector/scaler.h"
#include "detector/trainer_state.h"
#include "detector/trim.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUTLIER_SHARE 0.5 /* of the false-alarm rate, that outliers may use up */
#define TRIM_SEED     62  /* of the 64 numbers that follow from a seed */
#define SAFER_RATE    0.1 /* of the learning rate that diverged, to try next */

static void training_clear(struct training *training)
{
    sample_clear(&training->sample);
    free(training->blended);
    free(training->encoded);
    plan_clear(&training->plan);
    folds_clear(&training->folds);
    for (size_t i = 0; i < training->n_fits; i++)
        fit_clear(&training->fits[i]);
    ensemble_clear(&training->ensemble);
}

static int no_memory(int r, struct error *reterr)
{
    return error_set(reterr, r,
                     "not enough memory to train; use fewer rows, or smaller --hidden, --latent or "
                     "--batch-size");
}

/* A feature without any value, by the name of the input that it is made of. */
static int refuse_empty(const struct training *training, const char *const *names, size_t feature,
                        struct error *reterr)
{
    const struct preparation *preparation = training->options->preparation;
    const char *name = names[feature], *also = "", *why = "";
    CLEANUP(text_clear) struct text listed = {0};

    if (preparation) {
        const size_t input = preparation->input_of[feature % preparation->n_columns];
        const enum preparing how = preparation->input[input].how;
        name = schema_name(preparation->inputs, input);
        if (how == PREPARE_RATE || how == PREPARE_DELTA)
            why = ", or never one in a row before";
        if (how != PREPARE_RAW)
            also = " and take it out of --prepare";
    }
    feature_list_append(&listed, name);
    if (text_failed(&listed))
        return no_memory(-ENOMEM, reterr);
    return error_set(reterr, -EINVAL,
                     "column %s has no value in the rows to train on%s; use --exclude %s%s", name,
                     why, listed.data, also);
}

static int fit_scaler(struct training *training, const char *const *names, struct error *reterr)
{
    size_t column = 0;
    int r = scaler_fit(training->sample.rows, training->sample.n_rows, training->n_features,
                       &training->ensemble.scaler, &column);

    if (r == -EINVAL)
        return refuse_empty(training, names, column, reterr);
    return r < 0 ? no_memory(r, reterr) : 0;
}

/* From all rows that training works with: their order tells how features move. */
static int fit_explanation(const struct training *training, struct explanation **ret_explanation)
{
    const size_t d = training->n_features, n_rows = training->sample.n_rows;
    AUTO_FREE float *z = malloc(n_rows * d * sizeof(*z));
    if (!z)
        return -ENOMEM;

    for (size_t i = 0; i < n_rows; i++)
        (void)scaler_apply(training->ensemble.scaler, training->sample.rows + i * d, z + i * d);
    return explanation_fit(z, n_rows, d, ret_explanation);
}

/* As the rows in a stretch of the ring ask for. */
static int fit_encoding(const struct training *training, const struct scaler *scaler,
                        struct stretch stretch, struct encoding **ret_encoding)
{
    const size_t d = training->n_features;

    if (training->plan.encoding == PLAN_ENCODING_STANDARD)
        return encoding_new_standard(d, ret_encoding);
    if (training->plan.encoding == PLAN_ENCODING_BOUNDED)
        return encoding_new_bounded(scaler, training->plan.bounded, ret_encoding);
    AUTO_FREE float *z = malloc(stretch.n * d * sizeof(*z));
    if (!z)
        return -ENOMEM;
    for (size_t i = 0; i < stretch.n; i++)
        (void)scaler_apply(scaler,
                           training->sample.rows + training->folds.order[stretch.begin + i] * d,
                           z + i * d);
    return encoding_fit_pair(z, stretch.n, d, ret_encoding);
}

/* Encodes and blends the first n_ring rows of the ring. */
static int encode_ring(const struct training *training, const struct scaler *scaler,
                       const struct encoding *encoding, size_t n_ring, float **ret_blended,
                       float **ret_encoded)
{
    const size_t d = training->n_features, n_values = encoding->n_values;
    assert(n_ring > 0 && d > 0 && n_values > 0);
    AUTO_FREE float *blended = malloc(n_ring * d * sizeof(*blended));
    AUTO_FREE float *encoded = malloc(n_ring * n_values * sizeof(*encoded));
    if (!blended || !encoded)
        return -ENOMEM;

    for (size_t i = 0; i < n_ring; i++) {
        float *row = blended + i * d;
        (void)scaler_apply(scaler, training->sample.rows + training->folds.order[i] * d, row);
        encoding_apply(encoding, row, encoded + i * n_values);
        encoding_blend(encoding, row, encoded + i * n_values, row);
    }
    *ret_blended = TAKE(blended);
    *ret_encoded = TAKE(encoded);
    return 0;
}

/* The rows of the fits that are kept, as far around the ring as these read. */
static int encode_rows(struct training *training, struct random *random)
{
    const struct stretch all = {0, training->sample.n_rows};
    size_t n_ring = 0;

    int r = folds_deal(training->sample.n_rows, random, &training->folds);
    if (r == 0)
        r = fit_encoding(training, training->ensemble.scaler, all, &training->ensemble.encoding);
    if (r < 0)
        return r;
    for (size_t i = 0; i < training->plan.n_networks; i++) {
        const struct stretch stretch = folds_outside(&training->folds, training->fits[i].fold);
        n_ring = stretch.begin + stretch.n > n_ring ? stretch.begin + stretch.n : n_ring;
    }
    r = encode_ring(training, training->ensemble.scaler, training->ensemble.encoding, n_ring,
                    &training->blended, &training->encoded);
    training->fit_rows = (struct fit_rows){
        .folds = &training->folds,
        .n_features = training->n_features,
        .n_values = training->ensemble.encoding->n_values,
        .blended = training->blended,
        .encoded = training->encoded,
    };
    return r;
}

/* Which networks learn from what. The seeds do not depend on how many there are. */
static void list_fits(struct training *training)
{
    const size_t n_networks = training->plan.n_networks;
    const uint64_t seed = training->options->recipe.seed;

    training->n_folds = training->sample.n_rows < TRAINER_SMALL ? N_FOLDS : 1;
    if (training->options->calibration)
        training->n_folds = 1;
    for (size_t i = 0; i < n_networks; i++)
        training->fits[training->n_fits++] =
            (struct fit){.fold = i, .shape = i, .with_parts = i == 0, .seed = seed * 64 + 2 * i};
    const struct detector *start = training->options->start;
    for (size_t i = 0; start && i < n_networks && i < detector_ensemble(start)->n_networks; i++)
        training->fits[i].start = detector_ensemble(start)->networks[i];
    for (size_t fold = 1; fold < training->n_folds; fold++)
        training->fits[training->n_fits++] =
            (struct fit){.fold = fold, .with_parts = true, .seed = seed * 64 + 32 + 2 * fold};
}

/* ---- running the fits ---- */

struct fit_call {
    struct training *training;
    size_t which;
};

static bool report_epoch(void *userdata, const struct training_progress *now)
{
    const struct fit_call *call = userdata;
    struct training *training = call->training;
    struct trainer_progress progress = {
        .network = call->which,
        .n_networks = training->n_fits,
        .is_kept = call->which < training->plan.n_networks,
        .epoch = now->epoch,
        .epochs = now->epochs,
        .loss = now->loss,
        .validation_loss = now->validation_loss,
        .gradient_norm = now->gradient_norm,
        .seconds = now->seconds,
    };

    (void)pthread_mutex_lock(&training->lock);
    training->done[call->which] = (double)now->epoch / (double)now->epochs;
    for (size_t i = 0; i < training->n_fits; i++)
        progress.done += training->done[i] / (double)training->n_fits;
    if (!training->is_cancelled)
        training->is_cancelled = !training->on_epoch(training->userdata, &progress);
    const bool go_on = !training->is_cancelled;
    (void)pthread_mutex_unlock(&training->lock);
    return go_on;
}

/* Of the rows outside the fit's fold; none (NULL) where a column has no value there. */
static int fit_own_scaler(const struct training *training, struct fit *fit)
{
    const struct stretch stretch = folds_outside(&training->folds, fit->fold);
    const size_t d = training->n_features;
    AUTO_FREE float *rows = malloc(stretch.n * d * sizeof(*rows));
    if (!rows)
        return -ENOMEM;

    for (size_t i = 0; i < stretch.n; i++)
        memcpy(rows + i * d, training->sample.rows + training->folds.order[stretch.begin + i] * d,
               d * sizeof(*rows));
    const int r = scaler_fit(rows, stretch.n, d, &fit->scaler, NULL);
    return r == -EINVAL ? 0 : r;
}

/* A fit that only calibrates has a scaler and an encoding of its own, for unseen values beyond the
 * range of the others are what tells a threshold: most of all of a feature that never moved there.
 */
static int run_fit(void *userdata, size_t which)
{
    struct fit_call call = {.training = userdata, .which = which};
    struct training *training = userdata;
    struct fit *fit = &training->fits[which];
    struct fit_rows rows = training->fit_rows;
    AUTO_FREE float *blended = NULL;
    AUTO_FREE float *encoded = NULL;
    int r = 0;

    if (which >= training->plan.n_networks) {
        r = fit_own_scaler(training, fit);
        const struct scaler *scaler = fit->scaler ? fit->scaler : training->ensemble.scaler;
        if (r == 0)
            r = fit_encoding(training, scaler, folds_outside(&training->folds, fit->fold),
                             &fit->encoding);
        if (r == 0)
            r = encode_ring(training, scaler, fit->encoding, 2 * training->sample.n_rows, &blended,
                            &encoded);
        rows.blended = blended;
        rows.encoded = encoded;
    }
    return r < 0 ? r
                 : fit_run(fit, &training->plan, &rows, training->on_epoch ? report_epoch : NULL,
                           &call);
}

/* Which option to change when a training diverged: what was asked for, not what is the default. */
static int blame_option(const struct training *training, const char *what, struct error *reterr)
{
    const struct recipe *recipe = &training->options->recipe;
    const double rate = training->plan.training.learning_rate;
    const struct {
        const char *option;
        double amount;
    } others[] = {
        {"--weight-decay", recipe->weight_decay},
        {"--l1",           recipe->l1          },
        {"--sparsity",     recipe->sparsity    },
        {"--noise",        recipe->noise       }
    };

    if (rate > PLAN_LEARNING_RATE)
        return error_set(reterr, -EDOM, "--learning-rate %g: %s; use %g, the default", rate, what,
                         PLAN_LEARNING_RATE);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (others[i].amount > 1.0)
            return error_set(reterr, -EDOM, "%s %g: %s; use less", others[i].option,
                             others[i].amount, what);
    return error_set(reterr, -EDOM, "--learning-rate %g: %s; use %g", rate, what,
                     SAFER_RATE * rate);
}

static int run_fits(struct training *training, struct error *reterr)
{
    int r = parallel_run(training->n_fits, training->options->n_threads, run_fit, training);

    if (r == -ECANCELED)
        return error_set(reterr, r, "the training was cancelled");
    for (size_t i = 0; r == -EDOM && i < training->n_fits; i++)
        if (*training->fits[i].error.text)
            return blame_option(training, training->fits[i].error.text, reterr);
    if (r == -EDOM)
        return error_set(reterr, r,
                         "the training failed: no finite covariance of the residuals; use a lower "
                         "--learning-rate");
    return r;
}

/* ---- all of it ---- */

/* The kept fits' parts become the detector's. */
static void collect_parts(struct training *training)
{
    struct ensemble *ensemble = &training->ensemble;

    ensemble->n_networks = training->plan.n_networks;
    for (size_t i = 0; i < ensemble->n_networks; i++) {
        ensemble->networks[i] = TAKE(training->fits[i].network);
        ensemble->residuals[i] = TAKE(training->fits[i].residual);
    }
    ensemble->prototypes = TAKE(training->fits[0].prototypes);
    ensemble->clusters = TAKE(training->fits[0].clusters);
}

static void summarise(const struct training *training, const struct calibration *calibration,
                      struct training_summary *summary)
{
    const struct fit *first = &training->fits[0];

    *summary = (struct training_summary){
        .recipe = training->options->recipe,
        .n_rows = training->n_given,
        .n_drawn = training->sample.n_drawn,
        .n_train = first->n_trained,
        .n_validation = first->n_validation,
        .n_calibration = calibration_n_rows(calibration),
        .n_left_out = training->options->n_left_out,
        .n_trimmed = training->sample.n_drawn - training->sample.n_rows,
        .n_outliers = training->sample.n_outliers,
        .n_folds = training->n_folds,
        .n_networks = training->plan.n_networks,
    };
    for (size_t i = 0; i < summary->n_networks; i++) {
        const struct training_result *result = &training->fits[i].result;
        summary->networks[i] = (struct network_summary){
            .epochs = result->epochs,
            .best_epoch = result->best_epoch,
            .loss = result->loss,
            .validation_loss = result->validation_loss,
            .is_warm = training->fits[i].is_warm,
        };
    }
    detector_print_kernels(summary->kernel);
}

static void tell_trimmed(const struct training *training, const enum trim_verdict *verdicts)
{
    bool *trimmed = training->options->ret_trimmed;

    for (size_t i = 0, drawn = 0; trimmed && i < training->n_given; i++)
        if (!training->sample.is_drawn || training->sample.is_drawn[i])
            trimmed[i] = verdicts[drawn++] != TRIM_KEEP;
}

/* Leaves out rows that do not belong. The random numbers are its own, so that a training that
 * leaves out none is as if it had not looked. */
static int trim_rows(struct training *training, struct error *reterr)
{
    const struct recipe *recipe = &training->options->recipe;
    struct sample *sample = &training->sample;
    AUTO_FREE enum trim_verdict *verdicts = calloc(sample->n_rows, sizeof(*verdicts));
    struct random random;
    if (!verdicts)
        return no_memory(-ENOMEM, reterr);

    random_seed(&random, recipe->seed * 64 + TRIM_SEED);
    int r = trim_find(sample->rows, sample->n_rows, training->n_features, recipe->trim,
                      training->options->n_threads, &random, verdicts);
    if (r == 0)
        r = sample_leave_out(sample, training->n_features, verdicts);
    if (r < 0)
        return no_memory(r, reterr);
    tell_trimmed(training, verdicts);
    return 0;
}

static int prepare(struct training *training, const char *const *names, struct random *random,
                   struct error *reterr)
{
    const struct recipe *recipe = &training->options->recipe;

    int r = sample_draw(training->given, training->n_given, training->n_features, TRAINER_MAX_ROWS,
                        OUTLIER_SHARE * recipe->false_alarm_rate, random, &training->sample);
    if (r < 0)
        return no_memory(r, reterr);
    if (recipe->trim != 0.0)
        r = trim_rows(training, reterr);
    if (r == 0)
        r = fit_scaler(training, names, reterr);
    if (r == 0)
        r = plan_make(recipe, training->sample.rows, training->sample.n_rows, training->n_features,
                      names, &training->plan, reterr);
    if (r < 0)
        return r;
    list_fits(training);
    return encode_rows(training, random);
}

static int check_relevance(const struct trainer_options *options, const struct schema *schema,
                           struct error *reterr)
{
    const struct vocabulary vocabulary = vocabulary_of(options->preparation, schema);

    return relevance_check(options->relevance, &vocabulary, NULL, reterr);
}

int detector_train(const float *rows, size_t n_rows, const char *const *names, size_t n_features,
                   const struct trainer_options *options,
                   bool (*on_epoch)(void *userdata, const struct trainer_progress *),
                   void *userdata, struct detector **ret_detector, struct error *reterr)
{
    assert((rows || n_rows == 0) && names && options && ret_detector);
    assert(!options->calibration || options->n_calibration > 0);
    CLEANUP(schema_freep) struct schema *schema = NULL;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    CLEANUP(explanation_freep) struct explanation *explanation = NULL;
    CLEANUP(training_clear)
    struct training training = {
        .given = rows,
        .n_given = n_rows,
        .n_features = n_features,
        .options = options,
        .on_epoch = on_epoch,
        .userdata = userdata,
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    struct training_summary summary;
    struct random random;

    int r = schema_new(names, n_features, &schema, reterr);
    if (r == 0 && n_rows < TRAINER_MIN_ROWS)
        r = error_set(reterr, -EINVAL, "%zu normal rows are too few to train on; give at least %d",
                      n_rows, TRAINER_MIN_ROWS);
    if (r == 0)
        r = recipe_check(&options->recipe, n_features, reterr);
    if (r == 0)
        r = check_relevance(options, schema, reterr);
    if (r < 0)
        return r;
    random_seed(&random, options->recipe.seed);
    r = prepare(&training, names, &random, reterr);
    if (r == 0)
        r = fit_explanation(&training, &explanation);
    training.imputer = explanation;
    if (r == 0)
        r = run_fits(&training, reterr);
    if (r == 0)
        r = trainer_find_medians(&training);
    if (r == 0 && !options->calibration)
        r = trainer_calibrate_on_folds(&training, &calibration);
    if (r == 0) {
        collect_parts(&training);
        if (options->calibration)
            r = trainer_calibrate_on_given(&training, &calibration);
    }
    if (r < 0)
        return r == -ENOMEM ? no_memory(r, reterr) : r;
    summarise(&training, calibration, &summary);
    r = detector_new(TAKE(schema), preparation_share(options->preparation), &training.ensemble,
                     TAKE(calibration), TAKE(explanation), relevance_share(options->relevance),
                     &summary, ret_detector);
    return r < 0 ? no_memory(r, reterr) : 0;
}
