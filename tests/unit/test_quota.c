#include "base/quota.h"

#include "support/cmocka.h"

#include <pthread.h>

#define STEP      QUOTA_STEP
#define N_THREADS 4
#define N_TURNS   20000

static struct quota quota;
static struct share one, other;

static int setup(void **state)
{
    (void)state;
    quota = (struct quota){0};
    quota_set_limit(&quota, 10 * STEP);
    one = other = (struct share){.quota = &quota};
    return 0;
}

static void shares_fit_until_the_quota_is_used(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 6 * STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, 5 * STEP, QUOTA_WHOLE));
    assert_int_equal(other.bytes, 0);
    assert_true(share_fit(&other, 4 * STEP, QUOTA_WHOLE));
    assert_int_equal(quota_used(&quota), 10 * STEP);
    assert_false(share_fit(&one, 7 * STEP, QUOTA_WHOLE));
    assert_true(share_fit(&one, 6 * STEP, QUOTA_WHOLE)); /* it has them */
}

static void what_is_given_back_fits_others(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 10 * STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, STEP, QUOTA_WHOLE));
    share_clear(&one);
    assert_int_equal(quota_used(&quota), 0);
    assert_true(share_fit(&other, 10 * STEP, QUOTA_WHOLE));
    share_clear(&one); /* it has nothing */
    assert_int_equal(quota_used(&quota), 10 * STEP);
}

static void a_share_grows_and_counts_what_is_more(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 5 * STEP; bytes += 1000) {
        assert_true(share_fit(&one, bytes, QUOTA_WHOLE));
        assert_in_range(bytes, quota_used(&quota), quota_used(&quota) + STEP - 1);
    }
    assert_true(share_fit(&one, STEP, QUOTA_WHOLE)); /* never less */
    assert_int_equal(quota_used(&quota), 4 * STEP);
}

static void what_is_less_than_a_step_is_not_counted(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 10 * STEP, QUOTA_WHOLE));
    assert_true(share_fit(&other, STEP - 1, QUOTA_WHOLE));
    assert_false(share_fit(&other, STEP, QUOTA_WHOLE));
    assert_int_equal(other.bytes, 0);
}

static void half_is_left_to_those_who_need_it(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 3 * STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, 3 * STEP, QUOTA_HALF));
    assert_true(share_fit(&other, 2 * STEP, QUOTA_HALF));
    assert_false(share_fit(&one, 4 * STEP, QUOTA_HALF));
    assert_true(share_fit(&one, 8 * STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, 3 * STEP, QUOTA_HALF));
}

static void what_is_taken_already_counts_beyond_the_limit(void **state)
{
    (void)state;
    share_set(&one, 12 * STEP + 1);
    assert_int_equal(quota_used(&quota), 12 * STEP);
    assert_false(share_fit(&other, STEP, QUOTA_WHOLE));
    share_clear(&one);
    assert_int_equal(quota_used(&quota), 0);
}

static void a_share_that_was_too_large_becomes_less(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 9 * STEP, QUOTA_WHOLE));
    share_set(&one, 3 * STEP - 1);
    assert_int_equal(quota_used(&quota), 2 * STEP);
    assert_true(share_fit(&other, 8 * STEP, QUOTA_WHOLE));
    share_set(&one, 2 * STEP);
    assert_int_equal(quota_used(&quota), 10 * STEP);
}

static void a_lower_limit_leaves_what_is_there(void **state)
{
    (void)state;
    assert_true(share_fit(&one, 8 * STEP, QUOTA_WHOLE));
    quota_set_limit(&quota, 4 * STEP);
    assert_int_equal(quota_limit(&quota), 4 * STEP);
    assert_true(share_fit(&one, 8 * STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, STEP, QUOTA_WHOLE));
    assert_false(share_fit(&other, STEP, QUOTA_HALF));
    share_clear(&one);
    assert_true(share_fit(&other, 4 * STEP, QUOTA_WHOLE));
}

static void without_a_limit_everything_fits_and_is_counted(void **state)
{
    (void)state;
    quota_set_limit(&quota, 0);
    assert_true(share_fit(&one, 1000 * STEP, QUOTA_HALF));
    assert_true(share_fit(&other, SIZE_MAX / 2, QUOTA_WHOLE));
    share_clear(&other);
    assert_int_equal(quota_used(&quota), 1000 * STEP);
}

static void a_share_of_nothing_is_not_bounded(void **state)
{
    (void)state;
    struct share free = {0};

    assert_true(share_fit(&free, SIZE_MAX, QUOTA_HALF));
    share_set(&free, SIZE_MAX);
    assert_int_equal(free.bytes, 0);
    share_clear(&free);
}

static atomic_bool has_exceeded;

static void *take_and_give(void *userdata)
{
    struct share share = {.quota = userdata};

    for (size_t i = 0; i < N_TURNS; i++) {
        for (size_t n = 1; share_fit(&share, n * STEP, i % 2 ? QUOTA_HALF : QUOTA_WHOLE); n++)
            if (quota_used(&quota) > quota_limit(&quota))
                has_exceeded = true;
        share_clear(&share);
    }
    return NULL;
}

static void threads_never_take_more_than_there_is(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];

    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &quota), 0);
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_false(has_exceeded);
    assert_int_equal(quota_used(&quota), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shares_fit_until_the_quota_is_used),
        TEST(what_is_given_back_fits_others),
        TEST(a_share_grows_and_counts_what_is_more),
        TEST(what_is_less_than_a_step_is_not_counted),
        TEST(half_is_left_to_those_who_need_it),
        TEST(what_is_taken_already_counts_beyond_the_limit),
        TEST(a_share_that_was_too_large_becomes_less),
        TEST(a_lower_limit_leaves_what_is_there),
        TEST(without_a_limit_everything_fits_and_is_counted),
        TEST(a_share_of_nothing_is_not_bounded),
        TEST(threads_never_take_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
