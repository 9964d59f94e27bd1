#include "detector/fit.h"

#include "base/random.h"
#include "detector/clusters.h"
#include "detector/folds.h"
#include "detector/plan.h"
#include "detector/prototypes.h"
#include "detector/residual.h"
#include "nn/network.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define N_ROWS     80
#define N_FEATURES 4

/* Standardised rows, seen as they are: the encoding is that of preset fast. */
static float rows[N_ROWS * N_FEATURES], ring[2 * N_ROWS * N_FEATURES];
static const char *const names[] = {"a", "b", "c", "d"};
static struct recipe recipe;
static struct plan plan;
static struct folds folds;
static const struct fit_rows fit_rows = {&folds, N_FEATURES, N_FEATURES, ring, ring};

static void lay_ring(void)
{
    for (size_t i = 0; i < 2 * N_ROWS; i++)
        memcpy(ring + i * N_FEATURES, rows + folds.order[i] * N_FEATURES,
               N_FEATURES * sizeof(*rows));
}

static void make_plan(void)
{
    plan_clear(&plan);
    assert_int_equal(plan_make(&recipe, rows, N_ROWS, N_FEATURES, names, &plan, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        const double x = random_normal(&random), y = random_normal(&random);
        const double causes[N_FEATURES] = {x, y, (x + y) / sqrt(2), (x - y) / sqrt(2)};
        for (size_t j = 0; j < N_FEATURES; j++)
            rows[i * N_FEATURES + j] = (float)(causes[j] + 0.05 * random_normal(&random));
    }
    if (folds_deal(N_ROWS, &random, &folds) < 0)
        return -1;
    lay_ring();
    recipe_init(&recipe);
    recipe.preset = PRESET_FAST;
    recipe.epochs = 5;
    recipe.patience = 0;
    recipe.prototypes = 10;
    recipe.clusters = 2;
    make_plan();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    plan_clear(&plan);
    folds_clear(&folds);
    return 0;
}

static void run(struct fit *fit)
{
    if (fit_run(fit, &plan, &fit_rows, NULL, NULL) < 0)
        fail_msg("%s", fit->error.text);
}

static bool same_weights(const struct fit *a, const struct fit *b)
{
    return memcmp(a->network->params, b->network->params, a->network->n_params * sizeof(float)) ==
           0;
}

static void the_plan_says_what_comes_out(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit all = {.with_parts = true};
    CLEANUP(fit_clear) struct fit network_only = {.with_parts = false};

    run(&all);
    assert_int_equal(all.network->layers[1].n_out, 2);
    assert_int_equal(all.residual->n_values, N_FEATURES);
    assert_int_equal(all.prototypes->n_centroids, 10);
    assert_int_equal(all.clusters->n_clusters, 2);
    assert_int_equal(all.result.epochs, 5);
    assert_int_equal(all.n_trained, N_ROWS * 3 / 4);
    assert_int_equal(all.n_validation, 0);
    run(&network_only);
    assert_null(network_only.prototypes);
    assert_null(network_only.clusters);
    assert_true(same_weights(&all, &network_only));

    recipe.prototypes = recipe.clusters = 0; /* then there is nothing to weigh residuals with */
    make_plan();
    CLEANUP(fit_clear) struct fit classic = {.with_parts = true};
    run(&classic);
    assert_null(classic.residual);
    assert_null(classic.prototypes);
    assert_null(classic.clusters);
}

static void the_seed_decides(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit one = {.seed = 1, .with_parts = true};
    CLEANUP(fit_clear) struct fit again = {.seed = 1, .with_parts = true};
    CLEANUP(fit_clear) struct fit other = {.seed = 2, .with_parts = true};

    run(&one);
    run(&again);
    run(&other);
    assert_true(same_weights(&one, &again));
    assert_false(same_weights(&one, &other));
    const size_t size = one.prototypes->n_centroids * N_FEATURES * sizeof(float);
    assert_memory_equal(one.prototypes->centroids, again.prototypes->centroids, size);
    assert_memory_not_equal(one.prototypes->centroids, other.prototypes->centroids, size);
}

/* What the fold holds may change as it likes. */
static void the_fold_stays_unseen(void **state)
{
    (void)state;
    for (size_t patience = 0; patience < 5; patience += 3) {
        recipe.patience = patience;
        make_plan();
        for (size_t fold = 0; fold < N_FOLDS; fold++) {
            CLEANUP(fit_clear) struct fit before = {.fold = fold, .with_parts = true};
            CLEANUP(fit_clear) struct fit after = {.fold = fold, .with_parts = true};
            CLEANUP(fit_clear) struct fit elsewhere = {.fold = (fold + 1) % N_FOLDS};
            CLEANUP(fit_clear) struct fit elsewhere_after = {.fold = (fold + 1) % N_FOLDS};
            const struct stretch inside = folds_inside(&folds, fold);
            run(&before);
            run(&elsewhere);
            for (size_t i = inside.begin; i < inside.begin + inside.n; i++)
                rows[folds.order[i] * N_FEATURES] += 3;
            lay_ring();
            run(&after);
            run(&elsewhere_after);
            assert_true(same_weights(&before, &after));
            assert_memory_equal(before.prototypes->centroids, after.prototypes->centroids,
                                before.prototypes->n_centroids * N_FEATURES * sizeof(float));
            assert_memory_equal(before.clusters->whitening, after.clusters->whitening,
                                before.clusters->n_clusters * N_FEATURES * N_FEATURES *
                                    sizeof(float));
            assert_memory_equal(before.residual->whitening, after.residual->whitening,
                                before.residual->n_directions * N_FEATURES * sizeof(float));
            assert_true(before.residual->scale != after.residual->scale); /* judged there */
            assert_false(same_weights(&elsewhere, &elsewhere_after));
        }
    }
}

static void patience_takes_a_fifth_of_the_seen_rows(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit fit = {0};

    recipe.patience = 2;
    make_plan();
    run(&fit);
    assert_int_equal(fit.n_trained, 48);
    assert_int_equal(fit.n_validation, 12);
}

static void pca_needs_no_steps(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit chosen = {0};
    CLEANUP(fit_clear) struct fit given = {0};

    recipe.algorithm = ALGORITHM_PCA;
    recipe.epochs = RECIPE_AUTO;
    make_plan();
    run(&chosen);
    assert_int_equal(network_n_codes(chosen.network), 2); /* there are two causes */
    assert_int_equal(chosen.result.epochs, 0);
    assert_int_equal(chosen.n_trained, 60);
    assert_int_equal(chosen.n_validation, 0);
    recipe.latent = 3;
    make_plan();
    run(&given);
    assert_int_equal(network_n_codes(given.network), 3);
}

static bool stop(void *userdata, const struct training_progress *progress)
{
    return progress->epoch < *(size_t *)userdata;
}

static void it_can_be_cancelled(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit fit = {.with_parts = true};
    size_t last = 2;

    assert_int_equal(fit_run(&fit, &plan, &fit_rows, stop, &last), -ECANCELED);
    assert_null(fit.prototypes);
}

static void divergence_is_explained(void **state)
{
    (void)state;
    CLEANUP(fit_clear) struct fit fit = {.with_parts = true};

    recipe.learning_rate = 1e30;
    make_plan();
    assert_int_equal(fit_run(&fit, &plan, &fit_rows, NULL, NULL), -EDOM);
    assert_non_null(strstr(fit.error.text, "diverged"));
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM, nth = 0;

    recipe.patience = 1;
    make_plan();
    for (; r == -ENOMEM && nth < 500; nth++) {
        CLEANUP(fit_clear) struct fit fit = {.with_parts = true};
        alloc_fail_in = nth;
        r = fit_run(&fit, &plan, &fit_rows, NULL, NULL);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    assert_true(nth > 30); /* it did fail some */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_plan_says_what_comes_out), TEST(the_seed_decides),
        TEST(the_fold_stays_unseen),        TEST(patience_takes_a_fifth_of_the_seen_rows),
        TEST(pca_needs_no_steps),           TEST(it_can_be_cancelled),
        TEST(divergence_is_explained),      TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
