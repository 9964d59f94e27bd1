#include "detector/trainer.h"

#include "data/schema.h"
#include "detector/calibration.h"
#include "detector/clusters.h"
#include "detector/detector.h"
#include "detector/encoding.h"
#include "detector/prototypes.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/network.h"
#include "nn/optimizer.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ENOUGH 60 /* rows, where it does not matter which */

static float rows[TINY_ROWS * TINY_FEATURES];
static struct trainer_options options;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    detector_init();
    tiny_rows(1, rows, TINY_ROWS);
    options = (struct trainer_options){.recipe = tiny_recipe(1), .n_threads = 1};
    options.recipe.epochs = 5;
    memset(&error, 0, sizeof(error));
    return 0;
}

static int train(size_t n_rows, size_t n_features, struct detector **ret_detector)
{
    return detector_train(rows, n_rows, tiny_names, n_features, &options, NULL, NULL, ret_detector,
                          &error);
}

static struct detector *trained(size_t n_rows)
{
    struct detector *detector = NULL;

    if (train(n_rows, TINY_FEATURES, &detector) < 0)
        fail_msg("%s", error.text);
    return detector;
}

static void expect_refusal(const char *reason)
{
    struct detector *none = NULL;

    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &none), -EINVAL);
    assert_null(none);
    assert_string_equal(error.text, reason);
}

/* ---- reproducible ---- */

static void assert_same_floats(const float *a, const float *b, size_t n)
{
    assert_memory_equal(a, b, n * sizeof(*a));
}

static void assert_same_parts(const struct ensemble *a, const struct ensemble *b)
{
    const size_t d = a->encoding->n_features;

    assert_int_equal(a->n_networks, b->n_networks);
    for (size_t i = 0; i < a->n_networks; i++) {
        const struct residual *x = a->residuals[i], *y = b->residuals[i];
        assert_same_floats(a->networks[i]->params, b->networks[i]->params,
                           a->networks[i]->n_params);
        assert_same_floats(x->whitening, y->whitening, x->n_values * x->n_directions);
        assert_true(x->scale == y->scale);
    }
    assert_same_floats(a->prototypes->centroids, b->prototypes->centroids,
                       a->prototypes->n_centroids * d);
    assert_same_floats(a->clusters->whitening, b->clusters->whitening,
                       a->clusters->n_clusters * d * d);
    assert_true(a->median_networks == b->median_networks);
    assert_true(a->median_prototypes == b->median_prototypes);
    assert_true(a->median_clusters == b->median_clusters);
}

static void assert_same_errors(const struct detector *a, const struct detector *b)
{
    size_t n_a, n_b;
    const double *errors_a = calibration_errors(detector_calibration(a), &n_a);
    const double *errors_b = calibration_errors(detector_calibration(b), &n_b);

    assert_int_equal(n_a, n_b);
    assert_memory_equal(errors_a, errors_b, n_a * sizeof(*errors_a));
}

static void the_same_bits_come_out_for_any_number_of_threads(void **state)
{
    (void)state;
    options.recipe = tiny_recipe_of_all_parts(1);
    options.recipe.trim = 0.05;
    CLEANUP(detector_freep) struct detector *alone = trained(TINY_ROWS);

    assert_int_equal(detector_summary(alone)->n_trimmed, TINY_ROWS / 20);
    for (options.n_threads = 2; options.n_threads <= 7; options.n_threads += 5) {
        CLEANUP(detector_freep) struct detector *together = trained(TINY_ROWS);
        assert_same_parts(detector_ensemble(alone), detector_ensemble(together));
        assert_same_errors(alone, together);
    }
}

static void another_seed_gives_other_weights(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *one = tiny_detector(7);
    CLEANUP(detector_freep) struct detector *two = tiny_detector(7);
    CLEANUP(detector_freep) struct detector *other = tiny_detector(8);
    const struct network *a = detector_ensemble(one)->networks[0];
    const struct network *b = detector_ensemble(two)->networks[0];
    const struct network *c = detector_ensemble(other)->networks[0];

    assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
    assert_memory_not_equal(a->params, c->params, a->n_params * sizeof(float));
    assert_same_errors(one, two);
}

/* ---- how many rows ---- */

static void twenty_rows_are_enough_and_nineteen_are_not(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    assert_int_equal(train(19, TINY_FEATURES, &detector), -EINVAL);
    assert_string_equal(error.text, "19 normal rows are too few to train on; give at least 20");
    assert_int_equal(train(0, TINY_FEATURES, &detector), -EINVAL);
    for (int preset = PRESET_BEST; preset <= PRESET_FAST; preset++) {
        options.recipe.preset = preset;
        CLEANUP(detector_freep) struct detector *least = trained(20);
        assert_int_equal(detector_summary(least)->n_calibration, 20);
    }
}

static void a_small_sample_calibrates_on_all_its_rows(void **state)
{
    (void)state;
    for (int preset = PRESET_BEST; preset <= PRESET_FAST; preset++) {
        options.recipe.preset = preset;
        CLEANUP(detector_freep) struct detector *detector = trained(ENOUGH + 1);
        const struct training_summary *summary = detector_summary(detector);
        assert_int_equal(summary->n_folds, 4);
        assert_int_equal(summary->n_rows, ENOUGH + 1);
        assert_int_equal(summary->n_drawn, ENOUGH + 1);
        assert_int_equal(summary->n_calibration, ENOUGH + 1);
        assert_int_equal(calibration_n_rows(detector_calibration(detector)), ENOUGH + 1);
        assert_int_equal(summary->n_networks, preset == PRESET_BEST ? 2 : 1);
    }
}

/* Outside fold 0 the same fits judge: net 0's architecture with prototypes and clusters, weighed by
 * medians of their own. */
static void a_second_network_changes_no_error_of_the_other_folds(void **state)
{
    (void)state;
    size_t n_same = 0, n;

    options.recipe = tiny_recipe_of_all_parts(1);
    CLEANUP(detector_freep) struct detector *best = trained(TINY_ROWS);
    options.recipe.preset = PRESET_BALANCED;
    CLEANUP(detector_freep) struct detector *balanced = trained(TINY_ROWS);
    const double *a = calibration_errors(detector_calibration(best), &n);
    const double *b = calibration_errors(detector_calibration(balanced), &n);
    for (size_t i = 0, j = 0; i < n && j < n;) {
        n_same += a[i] == b[j];
        const bool both = a[i] == b[j], first = a[i] < b[j];
        i += both || first;
        j += both || !first;
    }
    assert_true(n_same >= TINY_ROWS * 3 / 4);
}

/* A row beyond the range of all others must look as far away as it would if it came tomorrow, or
 * the threshold is too low. Fold 0, two of these eight, judges with the encoding that is kept. */
static void unseen_rows_are_encoded_as_if_they_came_tomorrow(void **state)
{
    (void)state;
    double largest[8], least = INFINITY;
    size_t n, n_far = 0;

    options.recipe = tiny_recipe_of_all_parts(1);
    for (size_t i = 0; i < 8; i++) {
        tiny_rows(1, rows, TINY_ROWS);
        for (size_t j = 0; j < TINY_FEATURES; j++)
            rows[i * TINY_ROWS / 8 * TINY_FEATURES + j] *= 50;
        CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
        const double *errors = calibration_errors(detector_calibration(detector), &n);
        largest[i] = errors[n - 1];
        least = fmin(least, largest[i]);
    }
    for (size_t i = 0; i < 8; i++)
        n_far += largest[i] > 1.15 * least;
    assert_in_range(n_far, 5, 7);
}

static void rows_given_for_it_alone_calibrate(void **state)
{
    (void)state;
    static float others[50 * TINY_FEATURES];

    tiny_rows(2, others, 50);
    options.calibration = others;
    options.n_calibration = 50;
    for (int preset = PRESET_BEST; preset <= PRESET_FAST; preset++) {
        options.recipe.preset = preset;
        CLEANUP(detector_freep) struct detector *detector = trained(ENOUGH);
        CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
        struct verdict verdicts[50];
        size_t n;
        const double *errors = calibration_errors(detector_calibration(detector), &n);
        assert_int_equal(n, 50);
        assert_int_equal(detector_summary(detector)->n_folds, 1);
        assert_int_equal(detector_summary(detector)->n_calibration, 50);
        assert_int_equal(detector_workspace_new(&workspace), 0);
        assert_int_equal(detector_score(detector, workspace, others, 50, 1, verdicts), 0);
        for (size_t i = 0; i < 50; i++) {
            size_t found = 0; /* every verdict's error is one of them: all that serves judged */
            for (size_t j = 0; j < n; j++)
                found += errors[j] == verdicts[i].reconstruction_error;
            assert_true(found > 0);
        }
    }
}

/* Weights that have already learnt beat an epoch from nothing, and are not taken if they do not. */
static void the_better_of_a_warm_and_a_fresh_start_is_kept(void **state)
{
    (void)state;
    options.recipe.epochs = 200;
    options.recipe.patience = 0;
    CLEANUP(detector_freep) struct detector *good = trained(TINY_ROWS);
    options.recipe.epochs = 1;
    CLEANUP(detector_freep) struct detector *fresh = trained(TINY_ROWS);
    options.start = good;
    CLEANUP(detector_freep) struct detector *warm = trained(TINY_ROWS);
    const struct network_summary *by_good = &detector_summary(warm)->networks[0];
    const struct network_summary *by_none = &detector_summary(fresh)->networks[0];

    assert_true(by_good->is_warm && !by_none->is_warm);
    assert_true(by_good->validation_loss < by_none->validation_loss);
    options.recipe.latent = 1; /* other layers: the start does not fit */
    CLEANUP(detector_freep) struct detector *other = trained(TINY_ROWS);
    assert_false(detector_summary(other)->networks[0].is_warm);
}

/* Rows of n_features normal numbers. */
static float *normal_rows(size_t n_rows, size_t n_features)
{
    float *made = malloc(n_rows * n_features * sizeof(*made));
    struct random random;

    assert_non_null(made);
    random_seed(&random, 3);
    for (size_t i = 0; i < n_rows * n_features; i++)
        made[i] = (float)random_normal(&random);
    return made;
}

static struct detector *trained_on(const float *given, size_t n_rows, size_t n_features)
{
    struct detector *detector = NULL;

    if (detector_train(given, n_rows, tiny_names, n_features, &options, NULL, NULL, &detector,
                       &error) < 0)
        fail_msg("%s", error.text);
    return detector;
}

/* Of a die: what serves judges a row of such a kind as calibration did, or the
 * whole kind would be flagged. */
static void kinds_of_rows_that_repeat_are_not_flagged(void **state)
{
    (void)state;
    enum {
        N_TRAIN = 4100,
        N_FRESH = 2000
    };
    static float given[N_TRAIN + N_FRESH];
    static struct verdict verdicts[N_FRESH];

    for (uint64_t seed = 1; seed <= 6; seed++)
        for (int small = 0; small <= 1; small++) {
            const size_t n = small ? 600 : N_TRAIN;
            CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
            struct random random;
            size_t n_flagged = 0;
            random_seed(&random, seed);
            for (size_t i = 0; i < N_TRAIN + N_FRESH; i++)
                given[i] = (float)(1 + random_below(&random, 6));
            recipe_init(&options.recipe);
            options.recipe.epochs = 2;
            options.recipe.seed = seed;
            CLEANUP(detector_freep) struct detector *detector = trained_on(given, n, 1);
            const double threshold = calibration_threshold(detector_calibration(detector), 0.001);
            assert_int_equal(detector_workspace_new(&workspace), 0);
            assert_int_equal(
                detector_score(detector, workspace, given + N_TRAIN, N_FRESH, threshold, verdicts),
                0);
            for (size_t i = 0; i < N_FRESH; i++)
                n_flagged += verdicts[i].anomaly;
            assert_int_equal(n_flagged, 0);
        }
}

/* A counter that idles away from 0 and bursts in one row of two hundred. */
static void bursts_that_are_more_than_the_rate_stay_normal(void **state)
{
    (void)state;
    enum {
        N = 4400
    };
    static float given[N * 2];
    static struct verdict verdicts[N];
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    struct random random;
    size_t n_flagged = 0;

    random_seed(&random, 5);
    for (size_t i = 0; i < N; i++) {
        given[2 * i] = (float)random_normal(&random);
        given[2 * i + 1] = random_below(&random, 200) ? (float)(1000 + 200 * random_normal(&random))
                                                      : (float)(4e7 + 1e7 * random_normal(&random));
    }
    recipe_init(&options.recipe);
    options.recipe.epochs = 2;
    CLEANUP(detector_freep) struct detector *detector = trained_on(given, N, 2);
    assert_int_equal(detector_summary(detector)->n_outliers, 0);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(detector_score(detector, workspace, given, N,
                                    calibration_threshold(detector_calibration(detector), 0.001),
                                    verdicts),
                     0);
    for (size_t i = 0; i < N; i++)
        n_flagged += verdicts[i].anomaly;
    assert_in_range(n_flagged, 0, 9);
}

static void a_large_sample_calibrates_on_the_quarter_that_is_unseen(void **state)
{
    (void)state;
    AUTO_FREE float *many = normal_rows(TRAINER_SMALL, 2);
    options.recipe.epochs = 1;
    CLEANUP(detector_freep) struct detector *large = trained_on(many, TRAINER_SMALL, 2);
    CLEANUP(detector_freep) struct detector *small = trained_on(many, TRAINER_SMALL - 1, 2);

    assert_int_equal(detector_summary(large)->n_folds, 1);
    assert_int_equal(detector_summary(large)->n_calibration, TRAINER_SMALL / 4);
    assert_int_equal(detector_summary(small)->n_folds, 4);
    assert_int_equal(detector_summary(small)->n_calibration, TRAINER_SMALL - 1);
}

/* Early stopping needs rows of its own: the unseen quarter must stay unseen. */
static void a_fifth_of_the_seen_rows_decides_when_to_stop(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *stopping = trained(TINY_ROWS);

    assert_int_equal(detector_summary(stopping)->n_validation, 60);
    assert_int_equal(detector_summary(stopping)->n_train, 240);
    options.recipe.patience = 0;
    CLEANUP(detector_freep) struct detector *running = trained(TINY_ROWS);
    assert_int_equal(detector_summary(running)->n_validation, 0);
    assert_int_equal(detector_summary(running)->n_train, 300);
    assert_true(isfinite(detector_summary(running)->networks[0].validation_loss));
}

static void of_too_many_rows_some_are_drawn_and_the_others_calibrate(void **state)
{
    (void)state;
    enum {
        N = TRAINER_MAX_ROWS + 200
    };
    AUTO_FREE float *many = normal_rows(N, 1);
    double rate = 0.05; /* the unseen quarter is enough */
    size_t n_calibration[3];

    options.recipe.epochs = 1;
    options.recipe.batch_size = 2000;
    for (size_t i = 0; i < 3; i++) {
        options.recipe.false_alarm_rate = rate;
        CLEANUP(detector_freep) struct detector *detector = trained_on(many, N, 1);
        const struct training_summary *summary = detector_summary(detector);
        assert_int_equal(summary->n_rows, N);
        assert_int_equal(summary->n_drawn, TRAINER_MAX_ROWS);
        assert_int_equal(summary->n_folds, 1);
        n_calibration[i] = summary->n_calibration;
        rate = i == 0 ? 10.0 / (double)(n_calibration[0] + 150) : 1e-6;
    }
    assert_in_range(n_calibration[0], TRAINER_MAX_ROWS / 4 - 100, TRAINER_MAX_ROWS / 4 + 100);
    assert_int_equal(n_calibration[1], n_calibration[0] + 150); /* as many as the rate needs */
    assert_int_equal(n_calibration[2], n_calibration[0] + 200); /* as many as there are */
}

/* Rows that are added must be of all times: here the last fiftieth is far off, and two thirds of
 * the rows that were not drawn are added. */
static void rows_that_only_calibrate_are_taken_evenly(void **state)
{
    (void)state;
    enum {
        N_OTHERS = 3000,
        N = TRAINER_MAX_ROWS + N_OTHERS
    };
    AUTO_FREE float *many = normal_rows(N, 1);
    const double rates[] = {0.05, 10.0 / (TRAINER_MAX_ROWS / 4 + 2000)};
    size_t n_far[2];

    for (size_t i = N - N / 50; i < N; i++)
        many[i] += 1000;
    options.recipe.epochs = 1;
    options.recipe.batch_size = 2000;
    for (size_t i = 0; i < 2; i++) {
        options.recipe.false_alarm_rate = rates[i];
        CLEANUP(detector_freep) struct detector *detector = trained_on(many, N, 1);
        n_far[i] = calibration_n_rows_from(detector_calibration(detector), 10);
    }
    assert_true(n_far[1] - n_far[0] > 25 && n_far[1] - n_far[0] < 55);
}

/* ---- rows that do not belong ---- */

/* Every 50th row, all of them alike; row 0 too. */
static void plant_strange_rows(void)
{
    for (size_t i = 0; i < TINY_ROWS; i += 50)
        for (size_t j = 0; j < TINY_FEATURES; j++)
            rows[i * TINY_FEATURES + j] = j % 2 ? -200.0F : 400.0F;
}

static void the_detector_is_that_of_the_rows_that_belong(void **state)
{
    (void)state;
    bool trimmed[TINY_ROWS] = {false};

    options.recipe = tiny_recipe_of_all_parts(1);
    options.recipe.trim = RECIPE_TRIM_AUTO;
    options.ret_trimmed = trimmed;
    plant_strange_rows();
    CLEANUP(detector_freep) struct detector *dirty = trained(TINY_ROWS);
    assert_int_equal(detector_summary(dirty)->n_rows, TINY_ROWS);
    assert_int_equal(detector_summary(dirty)->n_drawn, TINY_ROWS);
    assert_int_equal(detector_summary(dirty)->n_trimmed, TINY_ROWS / 50);
    assert_int_equal(detector_summary(dirty)->n_calibration, TINY_ROWS - TINY_ROWS / 50);

    size_t n = 0;
    for (size_t i = 0; i < TINY_ROWS; i++) {
        assert_int_equal(trimmed[i], i % 50 == 0);
        if (i % 50)
            memmove(rows + n++ * TINY_FEATURES, rows + i * TINY_FEATURES,
                    TINY_FEATURES * sizeof(*rows));
    }
    options.recipe.trim = 0.0;
    CLEANUP(detector_freep) struct detector *clean = trained(n);
    assert_int_equal(detector_summary(clean)->n_trimmed, 0);
    assert_same_parts(detector_ensemble(dirty), detector_ensemble(clean));
    assert_same_errors(dirty, clean);
}

static void strange_rows_that_are_not_left_out_raise_the_threshold(void **state)
{
    (void)state;
    double thresholds[2];

    plant_strange_rows();
    options.recipe.false_alarm_rate = 0.01;
    for (size_t i = 0; i < 2; i++) {
        options.recipe.trim = i ? RECIPE_TRIM_AUTO : 0.0;
        CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
        thresholds[i] = calibration_threshold(detector_calibration(detector), 0.01);
    }
    assert_true(thresholds[0] > 3 * thresholds[1]);
}

/* A share that is too large takes the farthest normal rows. Without them the threshold would be too
 * low, so they calibrate: all of them, or of a large sample a quarter as of the others. */
static void rows_that_may_be_normal_calibrate_though_none_is_trained_on(void **state)
{
    (void)state;
    AUTO_FREE float *many = normal_rows(5000, 1);

    options.recipe.patience = 0;
    options.recipe.trim = 0.1;
    CLEANUP(detector_freep) struct detector *small = trained_on(many, 1000, 1);
    assert_int_equal(detector_summary(small)->n_trimmed, 100);
    assert_int_equal(detector_summary(small)->n_train, 675);
    assert_int_equal(detector_summary(small)->n_calibration, 1000);
    CLEANUP(detector_freep) struct detector *large = trained_on(many, 5000, 1);
    assert_int_equal(detector_summary(large)->n_trimmed, 500);
    assert_int_equal(detector_summary(large)->n_train, 3375);
    assert_int_equal(detector_summary(large)->n_calibration, 1250);
}

static void of_rows_given_to_calibrate_none_is_left_out(void **state)
{
    (void)state;
    float given[ENOUGH * TINY_FEATURES];

    tiny_rows(2, given, ENOUGH);
    given[0] = 1e6F;
    options.calibration = given;
    options.n_calibration = ENOUGH;
    options.recipe.trim = 0.1;
    CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
    assert_int_equal(detector_summary(detector)->n_trimmed, TINY_ROWS / 10);
    assert_int_equal(detector_summary(detector)->n_calibration, ENOUGH);
}

static void of_the_fewest_rows_almost_half_can_be_left_out(void **state)
{
    (void)state;
    options.recipe = tiny_recipe_of_all_parts(1);
    options.recipe.trim = 0.49;
    CLEANUP(detector_freep) struct detector *detector = trained(TRAINER_MIN_ROWS);
    assert_int_equal(detector_summary(detector)->n_trimmed, 9);
}

/* ---- what is refused ---- */

static void contradictions_are_refused_before_any_work(void **state)
{
    (void)state;
    options.recipe.latent = TINY_FEATURES;
    expect_refusal("--latent 6: a code that is not narrower than the 6 features is overcomplete: "
                   "the network could copy its input; use at most 5, or regularise it with "
                   "--sparsity, --weight-decay, --l1 or --noise");
    options.recipe.latent = RECIPE_AUTO;
    options.recipe.loss = RECIPE_LOSS_CROSS_ENTROPY;
    struct detector *none = NULL;
    assert_int_equal(train(ENOUGH, TINY_FEATURES, &none), -EINVAL);
    assert_non_null(strstr(error.text, "needs values from 0 to 1, but a has "));
}

static void a_column_without_values_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < TINY_ROWS; i++)
        rows[i * TINY_FEATURES + 3] = NAN;
    expect_refusal("column d has no value in the rows to train on; use --exclude d");
}

static void a_name_that_stands_there_twice_is_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {"a", "a"};
    struct detector *none = NULL;

    assert_int_equal(detector_train(rows, ENOUGH, twice, 2, &options, NULL, NULL, &none, &error),
                     -EINVAL);
    assert_non_null(strstr(error.text, "a"));
}

static void divergence_is_noticed_and_explained(void **state)
{
    (void)state;
    static const double rates[] = {100, 1e30};

    for (int preset = PRESET_BEST; preset <= PRESET_FAST; preset++)
        for (size_t i = 0; i < 2; i++) {
            struct detector *none = NULL;
            options.recipe.preset = preset;
            options.recipe.warmup = 0;
            options.recipe.learning_rate = rates[i];
            options.n_threads = 1 + i;
            assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &none), -EDOM);
            assert_null(none);
            assert_non_null(strstr(error.text, i ? "--learning-rate 1e+30: the training diverged"
                                                 : "--learning-rate 100: the training diverged"));
            assert_non_null(strstr(error.text, "; use 0.002, the default"));
        }
}

static void divergence_is_blamed_on_what_was_asked_for(void **state)
{
    (void)state;
    struct detector *none = NULL;

    options.recipe = tiny_recipe(1);
    options.recipe.learning_rate = (double)NAN;
    options.recipe.optimizer = OPTIMIZER_SGD;
    options.recipe.weight_decay = 1e6;
    assert_int_equal(train(TINY_ROWS, TINY_FEATURES, &none), -EDOM);
    assert_memory_equal(error.text, "--weight-decay 1e+06: the training diverged", 43);
    assert_non_null(strstr(error.text, "; use less"));
}

/* ---- progress ---- */

struct epochs {
    size_t seen, cancel_at;
    size_t networks, kept, last[16];
    double done;
};

static bool on_epoch(void *userdata, const struct trainer_progress *progress)
{
    struct epochs *epochs = userdata;

    assert_true(progress->network < progress->n_networks);
    assert_int_equal(progress->epoch, ++epochs->last[progress->network]);
    assert_true(progress->epoch <= progress->epochs);
    assert_true(isfinite(progress->loss) && isfinite(progress->validation_loss));
    assert_true(progress->gradient_norm > 0 && progress->seconds >= 0);
    assert_true(progress->done >= epochs->done && progress->done < 1 + 1e-9);
    epochs->done = progress->done;
    epochs->networks = progress->n_networks;
    epochs->kept += progress->epoch == 1 && progress->is_kept;
    return ++epochs->seen < epochs->cancel_at;
}

static void every_epoch_of_every_network_is_reported(void **state)
{
    (void)state;
    options.recipe = tiny_recipe_of_all_parts(1);
    for (options.n_threads = 1; options.n_threads <= 3; options.n_threads++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        struct epochs epochs = {.cancel_at = SIZE_MAX};

        assert_int_equal(detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options,
                                        on_epoch, &epochs, &detector, &error),
                         0);
        assert_int_equal(epochs.networks, 5); /* two serve, three calibrate */
        assert_int_equal(epochs.kept, 2);
        assert_int_equal(epochs.seen, 5 * 4);
        assert_true(fabs(epochs.done - 1) < 1e-9);
    }
}

static void a_cancelled_training_asks_no_more(void **state)
{
    (void)state;
    for (options.n_threads = 1; options.n_threads <= 3; options.n_threads++) {
        struct detector *none = NULL;
        struct epochs epochs = {.cancel_at = 3};

        assert_int_equal(detector_train(rows, TINY_ROWS, tiny_names, TINY_FEATURES, &options,
                                        on_epoch, &epochs, &none, &error),
                         -ECANCELED);
        assert_null(none);
        assert_string_equal(error.text, "the training was cancelled");
        assert_int_equal(epochs.seen, 3);
    }
}

static void losses_fall_and_the_summary_tells_the_best_epoch(void **state)
{
    (void)state;
    options.recipe.epochs = 1;
    CLEANUP(detector_freep) struct detector *start = trained(TINY_ROWS);
    options.recipe.epochs = 30;
    CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
    const struct network_summary *summary = &detector_summary(detector)->networks[0];

    assert_int_equal(summary->epochs, 30);
    assert_true(summary->best_epoch >= 1 && summary->best_epoch <= 30);
    assert_true(summary->validation_loss <
                0.3 * detector_summary(start)->networks[0].validation_loss);
}

static void training_stops_early_when_nothing_gets_better(void **state)
{
    (void)state;
    options.recipe.epochs = 100000;
    CLEANUP(detector_freep) struct detector *detector = trained(100);
    const struct network_summary *summary = &detector_summary(detector)->networks[0];

    assert_true(summary->epochs < 20000);
    assert_int_equal(summary->epochs, summary->best_epoch + 20);
}

static void options_are_kept_as_they_were_asked_for(void **state)
{
    (void)state;
    char kernels[DETECTOR_KERNELS_SIZE];

    options.recipe.n_hidden = 2;
    options.recipe.hidden[0] = 5;
    options.recipe.hidden[1] = 4;
    options.n_left_out = 17;
    CLEANUP(detector_freep) struct detector *detector = trained(ENOUGH);
    const struct training_summary *summary = detector_summary(detector);
    assert_int_equal(summary->recipe.n_hidden, 2);
    assert_int_equal(summary->recipe.hidden[1], 4);
    assert_int_equal(summary->recipe.latent, RECIPE_AUTO);
    assert_int_equal(summary->recipe.epochs, 5);
    assert_int_equal(summary->recipe.batch_size, RECIPE_AUTO);
    assert_int_equal(summary->n_left_out, 17);
    detector_print_kernels(kernels);
    assert_string_equal(summary->kernel, kernels);
}

/* ---- what is made of the rows ---- */

static void a_batch_larger_than_the_rows_is_all_of_them(void **state)
{
    (void)state;
    for (int preset = PRESET_BALANCED; preset <= PRESET_FAST; preset++) {
        options.recipe.preset = preset;
        options.recipe.batch_size = preset == PRESET_FAST ? 36 : 45; /* the training rows */
        CLEANUP(detector_freep) struct detector *one = trained(ENOUGH);
        options.recipe.batch_size = RECIPE_MAX_COUNT;
        CLEANUP(detector_freep) struct detector *two = trained(ENOUGH);
        const struct network *network = detector_ensemble(one)->networks[0];
        assert_memory_equal(network->params, detector_ensemble(two)->networks[0]->params,
                            network->n_params * sizeof(float));
    }
}

static void pca_chooses_components_for_most_of_the_variance(void **state)
{
    (void)state;
    options.recipe.algorithm = ALGORITHM_PCA;
    options.recipe.epochs = RECIPE_AUTO;
    options.recipe.learning_rate = (double)NAN;
    CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
    assert_int_equal(network_n_codes(detector_ensemble(detector)->networks[0]), 2);
    assert_int_equal(detector_summary(detector)->networks[0].epochs, 0);
    options.recipe.latent = 4;
    CLEANUP(detector_freep) struct detector *wide = trained(TINY_ROWS);
    assert_int_equal(network_n_codes(detector_ensemble(wide)->networks[0]), 4);
}

static void normal_rows_have_errors_around_1_and_strange_ones_far_more(void **state)
{
    (void)state;
    options.recipe = tiny_recipe_of_all_parts(1);
    options.recipe.epochs = 40;
    CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    const float strange[TINY_FEATURES] = {110, 110, 80, 100, 120, 130};
    struct verdict verdict;
    size_t n;
    const double *errors = calibration_errors(detector_calibration(detector), &n);

    assert_int_equal(n, TINY_ROWS);
    assert_true(errors[n / 2] > 0.8 && errors[n / 2] < 1.2);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    const double threshold = calibration_threshold(detector_calibration(detector), 0.05);
    assert_int_equal(detector_score(detector, workspace, strange, 1, threshold, &verdict), 0);
    assert_true(verdict.anomaly && verdict.reconstruction_error > 2);
}

/* ---- anything that a user throws at it ---- */

/* All presets, pca, and prototypes with fast. */
static void assert_fit_for_use(const float *given, size_t n_rows, const char *const *names,
                               size_t n_features)
{
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;

    assert_int_equal(detector_workspace_new(&workspace), 0);
    for (int way = 0; way < 5 - (n_features < 2); way++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        struct recipe *recipe = &options.recipe;
        *recipe = tiny_recipe_of_all_parts(1);
        recipe->preset = way == 3 || way == 4 ? PRESET_FAST : way;
        recipe->algorithm = way == 4 ? ALGORITHM_PCA : ALGORITHM_AUTOENCODER;
        recipe->epochs = 2;
        if (way == 2)
            recipe->prototypes = recipe->clusters = 0;
        if (detector_train(given, n_rows, names, n_features, &options, NULL, NULL, &detector,
                           &error) < 0)
            fail_msg("way %d: %s", way, error.text);
        static const double rates[] = {0.5, 0.05, 1e-3, 1e-9};
        for (size_t i = 0; i < 4; i++) {
            const double threshold =
                calibration_threshold(detector_calibration(detector), rates[i]);
            assert_true(isfinite(threshold) && threshold > 0);
            for (size_t row = 0; row < n_rows; row += 7) {
                struct verdict verdict;
                assert_int_equal(detector_score(detector, workspace, given + row * n_features, 1,
                                                threshold, &verdict),
                                 0);
                assert_true(isfinite(verdict.reconstruction_error) &&
                            verdict.reconstruction_error >= 0);
                assert_true(isfinite(verdict.score));
            }
        }
    }
}

static void missing_values_can_be_learned_around(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i += 5)
        rows[i] = NAN;
    for (size_t j = 0; j < TINY_FEATURES; j++)
        rows[j] = NAN; /* a row without any */
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void constant_columns_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENOUGH; i++) {
        rows[i * TINY_FEATURES] = 0;
        rows[i * TINY_FEATURES + 4] = 1e9F;
    }
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void duplicated_columns_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENOUGH; i++)
        for (size_t j = 1; j < TINY_FEATURES; j++)
            rows[i * TINY_FEATURES + j] = rows[i * TINY_FEATURES];
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void rows_that_are_all_equal_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 1; i < ENOUGH; i++)
        memcpy(rows + i * TINY_FEATURES, rows, TINY_FEATURES * sizeof(*rows));
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void rows_of_zeros_can_be_learned(void **state)
{
    (void)state;
    memset(rows, 0, sizeof(rows));
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void zeros_and_ones_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i++)
        rows[i] = rows[i] > 100;
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void integers_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i++)
        rows[i] = (float)(i * 7 % 3);
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void heavy_tails_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i++)
        rows[i] = expf((rows[i] - 100) / 2);
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void extreme_outliers_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i++)
        if (i % 37 == 0)
            rows[i] = i % 2 ? 1e30F : -1e30F;
    rows[1] = 3.4e38F;
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void tiny_values_can_be_learned(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)ENOUGH * TINY_FEATURES; i++)
        rows[i] *= 1e-42F;
    assert_fit_for_use(rows, ENOUGH, tiny_names, TINY_FEATURES);
}

static void one_feature_can_be_learned(void **state)
{
    (void)state;
    assert_fit_for_use(rows, ENOUGH, tiny_names, 1);
}

static void three_hundred_features_can_be_learned(void **state)
{
    (void)state;
    enum {
        WIDE = 300
    };
    static char storage[WIDE][24];
    const char *names[WIDE];
    AUTO_FREE float *wide = normal_rows(24, WIDE);

    for (size_t j = 0; j < WIDE; j++) {
        (void)snprintf(storage[j], sizeof(storage[j]), "f%zu", j);
        names[j] = storage[j];
    }
    assert_fit_for_use(wide, 24, names, WIDE);
}

/* One value that never moved before must not be all that the validation loss sees. */
static void a_lone_outlier_does_not_rule_the_validation_loss(void **state)
{
    (void)state;
    for (options.recipe.seed = 1; options.recipe.seed <= 5; options.recipe.seed++) {
        tiny_rows(1, rows, TINY_ROWS);
        for (size_t i = 0; i < TINY_ROWS; i++)
            rows[i * TINY_FEATURES + 5] = i == 200 ? 1e6F : 0;
        CLEANUP(detector_freep) struct detector *detector = trained(TINY_ROWS);
        assert_true(detector_summary(detector)->networks[0].validation_loss < 5);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    options.recipe = tiny_recipe_of_all_parts(1);
    options.recipe.epochs = 1;
    options.recipe.trim = 0.1;
    for (; r == -ENOMEM && nth < 2000; nth++) {
        CLEANUP(detector_freep) struct detector *detector = NULL;
        alloc_fail_in = nth;
        r = train(TRAINER_MIN_ROWS, 3, &detector);
        alloc_fail_in = -1;
        assert_int_equal(r == 0, detector != NULL);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 100); /* it did fail some */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_bits_come_out_for_any_number_of_threads, set_up),
        cmocka_unit_test_setup(another_seed_gives_other_weights, set_up),
        cmocka_unit_test_setup(twenty_rows_are_enough_and_nineteen_are_not, set_up),
        cmocka_unit_test_setup(a_small_sample_calibrates_on_all_its_rows, set_up),
        cmocka_unit_test_setup(a_second_network_changes_no_error_of_the_other_folds, set_up),
        cmocka_unit_test_setup(unseen_rows_are_encoded_as_if_they_came_tomorrow, set_up),
        cmocka_unit_test_setup(kinds_of_rows_that_repeat_are_not_flagged, set_up),
        cmocka_unit_test_setup(bursts_that_are_more_than_the_rate_stay_normal, set_up),
        cmocka_unit_test_setup(rows_given_for_it_alone_calibrate, set_up),
        cmocka_unit_test_setup(the_better_of_a_warm_and_a_fresh_start_is_kept, set_up),
        cmocka_unit_test_setup(a_large_sample_calibrates_on_the_quarter_that_is_unseen, set_up),
        cmocka_unit_test_setup(a_fifth_of_the_seen_rows_decides_when_to_stop, set_up),
        cmocka_unit_test_setup(of_too_many_rows_some_are_drawn_and_the_others_calibrate, set_up),
        cmocka_unit_test_setup(rows_that_only_calibrate_are_taken_evenly, set_up),
        cmocka_unit_test_setup(the_detector_is_that_of_the_rows_that_belong, set_up),
        cmocka_unit_test_setup(strange_rows_that_are_not_left_out_raise_the_threshold, set_up),
        cmocka_unit_test_setup(rows_that_may_be_normal_calibrate_though_none_is_trained_on, set_up),
        cmocka_unit_test_setup(of_rows_given_to_calibrate_none_is_left_out, set_up),
        cmocka_unit_test_setup(of_the_fewest_rows_almost_half_can_be_left_out, set_up),
        cmocka_unit_test_setup(contradictions_are_refused_before_any_work, set_up),
        cmocka_unit_test_setup(a_column_without_values_is_named, set_up),
        cmocka_unit_test_setup(a_name_that_stands_there_twice_is_refused, set_up),
        cmocka_unit_test_setup(divergence_is_noticed_and_explained, set_up),
        cmocka_unit_test_setup(divergence_is_blamed_on_what_was_asked_for, set_up),
        cmocka_unit_test_setup(every_epoch_of_every_network_is_reported, set_up),
        cmocka_unit_test_setup(a_cancelled_training_asks_no_more, set_up),
        cmocka_unit_test_setup(losses_fall_and_the_summary_tells_the_best_epoch, set_up),
        cmocka_unit_test_setup(training_stops_early_when_nothing_gets_better, set_up),
        cmocka_unit_test_setup(options_are_kept_as_they_were_asked_for, set_up),
        cmocka_unit_test_setup(a_batch_larger_than_the_rows_is_all_of_them, set_up),
        cmocka_unit_test_setup(pca_chooses_components_for_most_of_the_variance, set_up),
        cmocka_unit_test_setup(normal_rows_have_errors_around_1_and_strange_ones_far_more, set_up),
        cmocka_unit_test_setup(missing_values_can_be_learned_around, set_up),
        cmocka_unit_test_setup(constant_columns_can_be_learned, set_up),
        cmocka_unit_test_setup(duplicated_columns_can_be_learned, set_up),
        cmocka_unit_test_setup(rows_that_are_all_equal_can_be_learned, set_up),
        cmocka_unit_test_setup(rows_of_zeros_can_be_learned, set_up),
        cmocka_unit_test_setup(zeros_and_ones_can_be_learned, set_up),
        cmocka_unit_test_setup(integers_can_be_learned, set_up),
        cmocka_unit_test_setup(heavy_tails_can_be_learned, set_up),
        cmocka_unit_test_setup(extreme_outliers_can_be_learned, set_up),
        cmocka_unit_test_setup(tiny_values_can_be_learned, set_up),
        cmocka_unit_test_setup(one_feature_can_be_learned, set_up),
        cmocka_unit_test_setup(three_hundred_features_can_be_learned, set_up),
        cmocka_unit_test_setup(a_lone_outlier_does_not_rule_the_validation_loss, set_up),
        cmocka_unit_test_setup(survives_every_failed_allocation, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
