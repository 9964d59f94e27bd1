/* p-values of fresh normal rows are uniform: by Kolmogorov and Smirnov, over many models of many
 * kinds of rows. Where rows repeat they are larger than that, never smaller. */
#include "base/random.h"
#include "base/sort.h"
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/trainer.h"

#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdlib.h>

#define N_FRESH  100  /* rows a model */
#define CRITICAL 1.95 /* exceeded by one uniform sample in a thousand, either side */

/* ---- how far from uniform ---- */

struct distance {
    double too_small; /* sup (share of p-values up to p) - p: more alarms than asked for */
    double too_large; /* sup p - (share below p) */
};

/* Sorts p_values[n], which are multiples of step. */
static struct distance distance_of(double *p_values, size_t n, double step)
{
    struct distance distance = {0};

    sort_doubles(p_values, n);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || p_values[i + 1] > p_values[i])
            distance.too_small =
                fmax(distance.too_small, (double)(i + 1) / (double)n - p_values[i]);
        if (i == 0 || p_values[i] > p_values[i - 1])
            distance.too_large =
                fmax(distance.too_large, p_values[i] - step - (double)i / (double)n);
    }
    return distance;
}

static void assert_small(const char *what, double distance, double most)
{
    if (!(distance <= most))
        fail_msg("%s: %.3f from uniform, at most %.3f", what, distance, most);
}

/* ---- errors alone ---- */

enum kind {
    NORMAL,
    HEAVY,    /* Student's t of 2 degrees of freedom */
    SHIFTED,  /* two kinds of normal, one rare */
    DISCRETE, /* rounded: many are equal */
    SPARSE,   /* mostly 0 */
    N_KINDS
};

static const char *const kind_names[N_KINDS] = {"normal", "heavy tails", "two kinds", "discrete",
                                                "sparse"};

/* A value of the kind, made of one that is normal. */
static double value_of(enum kind kind, double z, struct random *random)
{
    if (kind == HEAVY)
        return z / sqrt(-log(1 - random_uniform(random)));
    if (kind == SHIFTED)
        return z + (random_below(random, 20) == 0 ? 8 : 0);
    if (kind == SPARSE)
        return random_below(random, 30) == 0 ? 3 * z : 0;
    return kind == DISCRETE ? round(z) : z;
}

static double error_of(enum kind kind, struct random *random)
{
    return fabs(value_of(kind, random_normal(random), random));
}

/* Each of a sample of its own, so that they are independent. */
static void p_values_of_errors(enum kind kind, size_t n_errors, double *p_values, size_t n,
                               struct random *random)
{
    AUTO_FREE double *errors = calloc(n_errors, sizeof(*errors));

    assert_non_null(errors);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(calibration_freep) struct calibration *calibration = NULL;
        for (size_t j = 0; j < n_errors; j++)
            errors[j] = error_of(kind, random);
        assert_int_equal(calibration_fit(errors, n_errors, &calibration), 0);
        p_values[i] = calibration_p_value(calibration, error_of(kind, random));
    }
}

static const size_t sizes[] = {TRAINER_MIN_ROWS, 99, 500, 6000};

static void p_values_of_fresh_errors_are_uniform(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    for (enum kind kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            const size_t n = sizes[i] < 1000 ? 3000 : 300;
            double p_values[3000];
            p_values_of_errors(kind, sizes[i], p_values, n, &random);
            const double most = CRITICAL / sqrt((double)n);
            const struct distance distance = distance_of(p_values, n, 1 / ((double)sizes[i] + 1));
            assert_small(kind_names[kind], distance.too_small, most);
            if (kind < DISCRETE)
                assert_small(kind_names[kind], distance.too_large, most);
        }
}

/* Share of independent p-values up to `rate`, in deviations of a binomial above it. */
static double excess_at(const double *p_values, size_t n, double rate)
{
    size_t n_below = 0;

    for (size_t i = 0; i < n; i++)
        n_below += p_values[i] <= rate;
    return ((double)n_below - (double)n * rate) / sqrt((double)n * rate * (1 - rate));
}

/* Where calibration counts rows; below 10 / n it estimates. */
static void no_rate_that_is_conformal_is_exceeded(void **state)
{
    (void)state;
    static const double rates[] = {0.02, 0.05, 0.1, 0.2, 0.5};
    double p_values[3000];
    struct random random;

    random_seed(&random, 2);
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        p_values_of_errors(kind, 500, p_values, 3000, &random);
        for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++)
            assert_true(excess_at(p_values, 3000, rates[i]) < 3.3);
    }
}

/* ---- detectors that were trained ---- */

/* As tiny_row(), from causes of the kind. */
static void draw_rows(enum kind kind, struct random *random, float *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++) {
        float *row = rows + i * TINY_FEATURES;
        const double x = value_of(kind, random_normal(random), random);
        const double y = value_of(kind, random_normal(random), random);
        const double causes[TINY_FEATURES] = {x, y, x + y, x - y, 2 * x, 3 * y};
        for (size_t j = 0; j < TINY_FEATURES; j++) {
            const double noise = 0.3 * random_normal(random);
            row[j] = (float)(100 + causes[j] + (kind < DISCRETE ? noise : round(noise)));
            if (kind == SPARSE) /* each by itself */
                row[j] = (float)value_of(kind, random_normal(random), random);
        }
    }
}

/* Of N_FRESH rows that a model of its own has not seen, each in no series. Returns its calibration
 * rows. */
static size_t p_values_of_rows(enum kind kind, const struct recipe *recipe, size_t n_rows,
                               double *p_values)
{
    static float rows[TINY_ROWS * TINY_FEATURES], fresh[N_FRESH * TINY_FEATURES];
    static struct verdict verdicts[N_FRESH];
    const struct trainer_options options = {.recipe = *recipe, .n_threads = 1};
    CLEANUP(detector_freep) struct detector *detector = NULL;
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;
    struct random random;
    struct error error;

    assert_true(n_rows <= TINY_ROWS);
    random_seed(&random, 1000 * recipe->seed + kind);
    draw_rows(kind, &random, rows, n_rows);
    draw_rows(kind, &random, fresh, N_FRESH);
    assert_int_equal(detector_train(rows, n_rows, tiny_names, TINY_FEATURES, &options, NULL, NULL,
                                    &detector, &error),
                     0);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    const struct calibration *calibration = detector_calibration(detector);
    assert_int_equal(detector_score(detector, workspace, fresh, N_FRESH,
                                    calibration_threshold(calibration, 0.05), verdicts),
                     0);
    for (size_t i = 0; i < N_FRESH; i++)
        p_values[i] = verdicts[i].p_value;
    return calibration_n_rows(calibration);
}

/* Rows of one model share its calibration, so the sampling error is that of n_models samples of it,
 * and of all rows. Parts of a fold are not quite those that serve: `more` errors to the safe side.
 */
static void assert_uniform(enum kind kind, struct recipe (*recipe_of)(uint64_t seed),
                           size_t n_models, size_t n_rows)
{
    static const double more = 0.04;
    const size_t n = n_models * N_FRESH;
    AUTO_FREE double *p_values = calloc(n, sizeof(*p_values));
    size_t n_calibration = 0;

    assert_non_null(p_values);
    for (size_t i = 0; i < n_models; i++) {
        const struct recipe recipe = recipe_of(i + 1);
        n_calibration = p_values_of_rows(kind, &recipe, n_rows, p_values + i * N_FRESH);
    }
    const double most = CRITICAL * sqrt(1 / (double)n + 1 / (double)(n_models * n_calibration));
    const struct distance distance = distance_of(p_values, n, 1 / ((double)n_calibration + 1));
    assert_small(kind_names[kind], distance.too_small, most);
    if (kind < DISCRETE)
        assert_small(kind_names[kind], distance.too_large, most + more);
}

static void p_values_of_fresh_rows_are_uniform(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < DISCRETE; kind++)
        assert_uniform(kind, tiny_recipe, 40, TINY_ROWS);
}

static void p_values_by_every_part_are_uniform(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < DISCRETE; kind++)
        assert_uniform(kind, tiny_recipe_of_all_parts, 40, TINY_ROWS);
}

static void p_values_after_training_on_few_rows_are_uniform(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < DISCRETE; kind++) {
        assert_uniform(kind, tiny_recipe, 80, 60);
        assert_uniform(kind, tiny_recipe, 80, TRAINER_MIN_ROWS);
    }
}

/* Each of them may be the first to move a feature: what is fitted without a quarter of the rows
 * must not know that it moves there. */
static void where_features_seldom_move_few_rows_know_it(void **state)
{
    (void)state;
    assert_uniform(SPARSE, tiny_recipe, 80, 60);
    assert_uniform(SPARSE, tiny_recipe, 80, TRAINER_MIN_ROWS);
    assert_uniform(SPARSE, tiny_recipe_of_all_parts, 80, TRAINER_MIN_ROWS);
}

static void where_rows_repeat_no_p_value_is_too_small(void **state)
{
    (void)state;
    assert_uniform(DISCRETE, tiny_recipe, 40, TINY_ROWS);
    assert_uniform(DISCRETE, tiny_recipe_of_all_parts, 40, TINY_ROWS);
    assert_uniform(DISCRETE, tiny_recipe, 80, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_values_of_fresh_errors_are_uniform),
        cmocka_unit_test(no_rate_that_is_conformal_is_exceeded),
        cmocka_unit_test(p_values_of_fresh_rows_are_uniform),
        cmocka_unit_test(p_values_by_every_part_are_uniform),
        cmocka_unit_test(p_values_after_training_on_few_rows_are_uniform),
        cmocka_unit_test(where_features_seldom_move_few_rows_know_it),
        cmocka_unit_test(where_rows_repeat_no_p_value_is_too_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
