#include "service/synthetic.h"

#include "detector/scaler.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define N     300
#define D     20
#define STILL 7 /* the feature that never moves */

static float rows[N * D], anomalies[N * D];
static struct scaler *scaler;

/* Every value tells the row it comes from. */
static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++)
            rows[i * D + j] = j == STILL ? 5 : (float)(1000 * j + i);
    return scaler_fit(rows, N, D, &scaler, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    scaler_free(scaler);
    return 0;
}

static void make(enum synthetic_kind kind, uint64_t seed)
{
    struct random random;

    random_seed(&random, seed);
    assert_int_equal(synthetic_make(kind, rows, N, scaler, &random, anomalies), 0);
}

static size_t count_changed(size_t row)
{
    size_t n = 0;

    for (size_t j = 0; j < D; j++)
        n += anomalies[row * D + j] != rows[row * D + j];
    return n;
}

static void a_swap_takes_a_quarter_of_the_features_from_one_other_row(void **state)
{
    (void)state;
    make(SYNTHETIC_SWAP, 1);
    for (size_t i = 0; i < N; i++) {
        float donor = -1;
        for (size_t j = 0; j < D; j++) {
            if (anomalies[i * D + j] == rows[i * D + j])
                continue;
            const float from = anomalies[i * D + j] - (float)(1000 * j);
            assert_true(from >= 0 && from < N && from != (float)i);
            assert_true(donor < 0 || donor == from);
            donor = from;
        }
        assert_in_range(count_changed(i), 4, 5); /* 4: the still feature was among them */
    }
}

static void a_broken_correlation_takes_half_of_the_features_from_many_rows(void **state)
{
    (void)state;
    size_t n_donors = 0;

    make(SYNTHETIC_CORRELATION, 1);
    for (size_t i = 0; i < N; i++) {
        bool is_donor[N] = {false};
        for (size_t j = 0; j < D; j++)
            if (anomalies[i * D + j] != rows[i * D + j])
                is_donor[(size_t)anomalies[i * D + j] - 1000 * j] = true;
        for (size_t k = 0; k < N; k++)
            n_donors += is_donor[k];
        assert_in_range(count_changed(i), 9, 10);
    }
    assert_true(n_donors > 9 * N); /* hardly ever twice the same */
}

static void assert_pushed(enum synthetic_kind kind, float deviations)
{
    const float *std = scaler_std(scaler);
    size_t n_up = 0, n_features[D] = {0};

    make(kind, 1);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(count_changed(i), 2); /* a tenth of 19, rounded up */
        for (size_t j = 0; j < D; j++) {
            const float push = anomalies[i * D + j] - rows[i * D + j];
            if (push == 0.0F)
                continue;
            assert_float_equal(fabsf(push), deviations * std[j], 0.01F);
            n_up += push > 0.0F;
            n_features[j]++;
        }
    }
    assert_in_range(n_up, N - 75, N + 75); /* of 2 N; deviation 12 */
    for (size_t j = 0; j < D; j++)
        assert_in_range(n_features[j], j == STILL ? 0 : 10, j == STILL ? 0 : 60);
}

static void pushes_are_three_and_six_deviations_up_or_down(void **state)
{
    (void)state;
    assert_pushed(SYNTHETIC_PUSH_3, 3);
    assert_pushed(SYNTHETIC_PUSH_6, 6);
}

static void where_nothing_ever_moved_pushes_take_any_feature(void **state)
{
    (void)state;
    const float still[] = {1, 2, 1, 2, 1, 2};
    CLEANUP(scaler_freep) struct scaler *of_still = NULL;
    struct random random;
    float pushed[6];

    random_seed(&random, 1);
    assert_int_equal(scaler_fit(still, 3, 2, &of_still, NULL), 0);
    assert_int_equal(synthetic_make(SYNTHETIC_PUSH_6, still, 3, of_still, &random, pushed), 0);
    assert_memory_not_equal(pushed, still, sizeof(still));
}

static void the_same_seed_gives_the_same_anomalies(void **state)
{
    (void)state;
    static float first[N * D];

    for (enum synthetic_kind kind = 0; kind < SYNTHETIC_KINDS; kind++) {
        make(kind, 9);
        memcpy(first, anomalies, sizeof(first));
        make(kind, 9);
        assert_memory_equal(first, anomalies, sizeof(first));
        make(kind, 10);
        assert_memory_not_equal(first, anomalies, sizeof(first));
    }
}

static void one_feature_is_changed_at_least(void **state)
{
    (void)state;
    const float few[] = {1, 2, 3};
    CLEANUP(scaler_freep) struct scaler *of_one = NULL;
    struct random random;
    float changed[3];

    assert_int_equal(scaler_fit(few, 3, 1, &of_one, NULL), 0);
    random_seed(&random, 1);
    for (enum synthetic_kind kind = 0; kind < SYNTHETIC_KINDS; kind++) {
        assert_int_equal(synthetic_make(kind, few, 3, of_one, &random, changed), 0);
        for (size_t i = 0; i < 3; i++)
            assert_true(changed[i] != few[i]);
    }
}

static void kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(synthetic_kind_name(SYNTHETIC_SWAP), "swap");
    assert_string_equal(synthetic_kind_name(SYNTHETIC_PUSH_3), "push-3");
    assert_string_equal(synthetic_kind_name(SYNTHETIC_PUSH_6), "push-6");
    assert_string_equal(synthetic_kind_name(SYNTHETIC_CORRELATION), "correlation");
}

static void a_failed_allocation_is_told(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1);
    alloc_fail_in = 0;
    int r = synthetic_make(SYNTHETIC_SWAP, rows, N, scaler, &random, anomalies);
    alloc_fail_in = -1;
    assert_int_equal(r, -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_swap_takes_a_quarter_of_the_features_from_one_other_row),
        cmocka_unit_test(a_broken_correlation_takes_half_of_the_features_from_many_rows),
        cmocka_unit_test(pushes_are_three_and_six_deviations_up_or_down),
        cmocka_unit_test(where_nothing_ever_moved_pushes_take_any_feature),
        cmocka_unit_test(the_same_seed_gives_the_same_anomalies),
        cmocka_unit_test(one_feature_is_changed_at_least),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(a_failed_allocation_is_told),
    };

    return cmocka_run_group_tests_name("synthetic", tests, set_up, tear_down);
}
