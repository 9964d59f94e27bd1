#include "service/guard.h"

#include "detector/ensemble.h"
#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model.h"

#include <errno.h>

#define N 150 /* more than two blocks */

static struct detector *detector;
static struct workspace *workspace;
static float rows[N * TINY_FEATURES], moved[N * TINY_FEATURES];

static int set_up(void **state)
{
    (void)state;
    detector_init();
    detector = tiny_detector(1);
    return detector ? detector_workspace_new(&workspace) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    detector_free(detector);
    detector_workspace_free(workspace);
    return 0;
}

/* moved = rows, each feature pushed by so many standard deviations. */
static const float *move(double deviations)
{
    const float *std = scaler_std(detector_ensemble(detector)->scaler);

    for (size_t k = 0; k < N * TINY_FEATURES; k++)
        moved[k] = rows[k] + (float)deviations * std[k % TINY_FEATURES];
    return moved;
}

/* A guard pinned on rows, which are made anew. */
static struct guard *pin(void)
{
    struct guard *guard;

    tiny_rows(5, rows, N);
    assert_int_equal(guard_new(detector, rows, N, &guard), 0);
    return guard;
}

/* Of values[n] less the guard's shift. */
static void score_shifted(const struct guard *guard, const float *values, double ret_p_values[N])
{
    static float shifted[N * TINY_FEATURES];
    static struct verdict verdicts[N];

    for (size_t k = 0; k < N * TINY_FEATURES; k++)
        shifted[k] = values[k] - guard_shift(guard)[k % TINY_FEATURES];
    assert_int_equal(detector_score(detector, workspace, shifted, N, 1.0, verdicts), 0);
    for (size_t i = 0; i < N; i++)
        ret_p_values[i] = verdicts[i].p_value;
}

static void p_values_are_the_detectors_own_without_a_shift(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    static struct verdict verdicts[N];
    double p_values[N];

    assert_int_equal(detector_score(detector, workspace, rows, N, 1.0, verdicts), 0);
    assert_int_equal(guard_p_values(guard, workspace, rows, N, p_values), 0);
    for (size_t i = 0; i < N; i++)
        assert_true(p_values[i] == verdicts[i].p_value);
}

static void p_values_are_the_detectors_own_after_the_shift(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    double p_values[N], want[N];

    assert_int_equal(guard_follow(guard, move(1.3), N), 0);
    score_shifted(guard, moved, want);
    assert_int_equal(guard_p_values(guard, workspace, moved, N, p_values), 0);
    assert_memory_equal(p_values, want, sizeof(want));
}

static size_t count_refused(const struct guard *guard, const float *values)
{
    double p_values[N];
    size_t n = 0;

    assert_int_equal(guard_p_values(guard, workspace, values, N, p_values), 0);
    for (size_t i = 0; i < N; i++)
        n += p_values[i] <= 0.025;
    return n;
}

static void the_guard_follows_what_all_rows_do(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();

    move(2);
    assert_true(count_refused(guard, moved) > N / 2); /* nobody told it */
    assert_int_equal(guard_follow(guard, moved, N), 0);
    assert_true(count_refused(guard, moved) < N / 10);
    assert_true(count_refused(guard, rows) > N / 2); /* and the old rows are strange now */
}

/* 1.25 / sqrt(N) deviations are what chance does to a median of N normal values. */
static void the_shift_is_the_way_of_the_medians_less_what_chance_does_to_them(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    const float *std = scaler_std(detector_ensemble(detector)->scaler);
    const float chance = 1.25F / sqrtf(N);

    assert_int_equal(guard_follow(guard, move(-0.5), N), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++) {
        assert_true(guard_shift(guard)[j] >= -0.5F * std[j]);
        assert_true(guard_shift(guard)[j] <= (-0.5F + 4 * chance) * std[j]);
    }
    assert_int_equal(guard_follow(guard, move(0.25 * (double)chance), N), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(guard_shift(guard)[j] == 0.0F);
}

/* Half of its values are 3 and half are 4: which of them is the median says nothing. */
static void a_feature_that_counts_does_not_jump(void **state)
{
    (void)state;
    static float counts[N * TINY_FEATURES];
    CLEANUP(guard_freep) struct guard *guard = NULL;

    for (size_t k = 0; k < N * TINY_FEATURES; k++)
        counts[k] = k % N < N / 2 + 5 ? 3 : 4;
    assert_int_equal(guard_new(detector, counts, N, &guard), 0);
    for (size_t k = 0; k < N * TINY_FEATURES; k++)
        counts[k] = k % N < N / 2 - 5 ? 3 : 4;
    assert_int_equal(guard_follow(guard, counts, N), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(guard_shift(guard)[j] == 0.0F);
}

static void the_shift_ends_at_three_deviations(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    const float *std = scaler_std(detector_ensemble(detector)->scaler);

    for (int sign = -1; sign <= 1; sign += 2) {
        assert_int_equal(guard_follow(guard, move(sign * 5), N), 0);
        for (size_t j = 0; j < TINY_FEATURES; j++)
            assert_true(guard_shift(guard)[j] == 3 * (float)sign * std[j]);
        assert_true(count_refused(guard, moved) > N / 2);
    }
}

static void a_few_pushed_rows_do_not_move_it(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    const float *std = scaler_std(detector_ensemble(detector)->scaler);

    move(3); /* and then all but every tenth as before */
    for (size_t k = 0; k < N * TINY_FEATURES; k++)
        if (k / TINY_FEATURES % 10)
            moved[k] = rows[k];
    assert_int_equal(guard_follow(guard, moved, N), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(fabsf(guard_shift(guard)[j]) < 0.4F * std[j]);
}

static void without_pinned_rows_it_starts_from_the_scalers_medians(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = NULL;
    const float *median = scaler_median(detector_ensemble(detector)->scaler);
    float row[TINY_FEATURES];

    for (size_t j = 0; j < TINY_FEATURES; j++)
        row[j] = median[j] + 1;
    assert_int_equal(guard_new(detector, NULL, 0, &guard), 0);
    assert_int_equal(guard_follow(guard, row, 1), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(guard_shift(guard)[j] == row[j] - median[j]);
}

static void missing_values_move_nothing(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();
    double p_values[N], want[N];

    move(1);
    for (size_t i = 0; i < N; i++) {
        moved[i * TINY_FEATURES + 2] = NAN; /* a feature without any value */
        if (i % 2)
            moved[i * TINY_FEATURES + 3] = NAN;
    }
    assert_int_equal(guard_follow(guard, moved, N), 0);
    assert_true(guard_shift(guard)[2] == 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(isfinite(guard_shift(guard)[j]));
    score_shifted(guard, moved, want);
    assert_int_equal(guard_p_values(guard, workspace, moved, N, p_values), 0);
    assert_memory_equal(p_values, want, sizeof(want));
}

static void no_rows_take_the_shift_back(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = pin();

    assert_int_equal(guard_follow(guard, move(1), N), 0);
    assert_true(guard_shift(guard)[0] != 0);
    assert_int_equal(guard_follow(guard, NULL, 0), 0);
    for (size_t j = 0; j < TINY_FEATURES; j++)
        assert_true(guard_shift(guard)[j] == 0);
    assert_int_equal(guard_p_values(guard, workspace, NULL, 0, NULL), 0);
}

static void failed_allocations_leave_the_guard_as_it_was(void **state)
{
    (void)state;
    CLEANUP(guard_freep) struct guard *guard = NULL;
    struct guard *fresh = NULL;
    double p_values[N];
    int r = -ENOMEM, n_failed = 0;

    tiny_rows(5, rows, N);
    for (int nth = 0; r == -ENOMEM; nth++, n_failed++) {
        assert_null(fresh);
        alloc_fail_in = nth;
        r = guard_new(detector, rows, N, &fresh);
        alloc_fail_in = -1;
    }
    assert_int_equal(r, 0);
    guard = fresh;
    assert_int_equal(guard_follow(guard, move(1), N), 0);
    const float shift = guard_shift(guard)[0];

    alloc_fail_in = 0;
    r = guard_follow(guard, rows, N);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
    assert_true(guard_shift(guard)[0] == shift);
    alloc_fail_in = 0;
    r = guard_p_values(guard, workspace, rows, N, p_values);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
    assert_true(n_failed > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_values_are_the_detectors_own_without_a_shift),
        cmocka_unit_test(p_values_are_the_detectors_own_after_the_shift),
        cmocka_unit_test(the_guard_follows_what_all_rows_do),
        cmocka_unit_test(the_shift_is_the_way_of_the_medians_less_what_chance_does_to_them),
        cmocka_unit_test(a_feature_that_counts_does_not_jump),
        cmocka_unit_test(the_shift_ends_at_three_deviations),
        cmocka_unit_test(a_few_pushed_rows_do_not_move_it),
        cmocka_unit_test(without_pinned_rows_it_starts_from_the_scalers_medians),
        cmocka_unit_test(missing_values_move_nothing),
        cmocka_unit_test(no_rows_take_the_shift_back),
        cmocka_unit_test(failed_allocations_leave_the_guard_as_it_was),
    };

    return cmocka_run_group_tests_name("guard", tests, set_up, tear_down);
}
