#include "base/random.h"

#include "support/cmocka.h"

#include <math.h>

/* The first numbers of xoshiro256++ from this state as the authors' code gives them. */
static void the_generator_is_xoshiro256_plus_plus(void **state)
{
    (void)state;
    static const uint64_t expected[] = {41943041,
                                        58720359,
                                        3588806011781223,
                                        3591011842654386,
                                        9228616714210784205U,
                                        9973669472204895162U,
                                        14011001112246962877U,
                                        12406186145184390807U,
                                        15849039046786891736U,
                                        10450023813501588000U};
    struct random random = {
        {1, 2, 3, 4}
    };

    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
        assert_true(random_u64(&random) == expected[i]);
}

static void the_seed_goes_through_splitmix64(void **state)
{
    (void)state;
    struct random random;

    random_seed(&random, 1234567);
    assert_true(random.state[0] == 6457827717110365317U);
    assert_true(random.state[1] == 3203168211198807973U);
    assert_true(random.state[2] == 9817491932198370423U);
    assert_true(random.state[3] == 4593380528125082431U);
}

static void the_same_seed_gives_the_same_stream(void **state)
{
    (void)state;
    struct random a, b, other;
    size_t n_equal = 0;

    random_seed(&a, 42);
    random_seed(&b, 42);
    random_seed(&other, 43);
    for (int i = 0; i < 1000; i++) {
        const uint64_t value = random_u64(&a);
        assert_true(value == random_u64(&b));
        n_equal += value == random_u64(&other);
    }
    assert_int_equal(n_equal, 0);
}

static void uniform_numbers_fill_0_to_1(void **state)
{
    (void)state;
    struct random random;
    double sum = 0, least = 1, most = 0;

    random_seed(&random, 1);
    for (int i = 0; i < 100000; i++) {
        const double value = random_uniform(&random);
        assert_true(value >= 0 && value < 1);
        sum += value;
        least = fmin(least, value);
        most = fmax(most, value);
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005); /* 5 standard errors */
    assert_true(least < 0.001 && most > 0.999);
}

static void normal_numbers_have_mean_0_and_deviation_1(void **state)
{
    (void)state;
    struct random random;
    double sum = 0, squares = 0, fourth = 0;
    const int n = 200000;

    random_seed(&random, 1);
    for (int i = 0; i < n; i++) {
        const double value = random_normal(&random);
        assert_true(isfinite(value));
        sum += value;
        squares += value * value;
        fourth += value * value * value * value;
    }
    assert_true(fabs(sum / n) < 0.012);
    assert_true(fabs(squares / n - 1) < 0.016);
    assert_true(fabs(fourth / n - 3) < 0.12); /* a normal one's kurtosis */
}

static void below_gives_every_number_as_often(void **state)
{
    (void)state;
    size_t counts[7] = {0};
    struct random random;
    double chi_square = 0;

    random_seed(&random, 1);
    for (int i = 0; i < 70000; i++) {
        const size_t value = random_below(&random, 7);
        assert_true(value < 7);
        counts[value]++;
    }
    for (size_t i = 0; i < 7; i++)
        chi_square += pow((double)counts[i] - 10000, 2) / 10000;
    assert_true(chi_square < 24); /* 6 degrees of freedom, p = 0.0005 */
    assert_int_equal(random_below(&random, 1), 0);
}

/* Modulo or a plain multiplication would give the lower two thirds twice as often. */
static void below_is_unbiased_for_large_n(void **state)
{
    (void)state;
    const size_t n = 3ULL << 62; /* three quarters of the range */
    struct random random;
    size_t low = 0;

    random_seed(&random, 1);
    for (int i = 0; i < 30000; i++) {
        const size_t value = random_below(&random, n);
        assert_true(value < n);
        low += value < 1ULL << 62;
    }
    assert_true(fabs((double)low - 10000) < 410); /* 5 standard errors; biased: 15,000 */
}

static void a_shuffle_keeps_every_item(void **state)
{
    (void)state;
    size_t items[100], seen[100] = {0}, n_moved = 0;
    struct random random;

    for (size_t i = 0; i < 100; i++)
        items[i] = i;
    random_seed(&random, 1);
    random_shuffle(&random, items, 100);
    for (size_t i = 0; i < 100; i++) {
        seen[items[i]]++;
        n_moved += items[i] != i;
    }
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(n_moved > 80);
    random_shuffle(&random, items, 0);
}

static void all_orders_are_as_likely(void **state)
{
    (void)state;
    size_t counts[27] = {0};
    struct random random;

    random_seed(&random, 1);
    for (int i = 0; i < 60000; i++) {
        size_t items[] = {0, 1, 2};
        random_shuffle(&random, items, 3);
        counts[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    for (size_t i = 0; i < 27; i++)
        assert_true(counts[i] == 0 || fabs((double)counts[i] - 10000) < 460);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_is_xoshiro256_plus_plus),
        cmocka_unit_test(the_seed_goes_through_splitmix64),
        cmocka_unit_test(the_same_seed_gives_the_same_stream),
        cmocka_unit_test(uniform_numbers_fill_0_to_1),
        cmocka_unit_test(normal_numbers_have_mean_0_and_deviation_1),
        cmocka_unit_test(below_gives_every_number_as_often),
        cmocka_unit_test(below_is_unbiased_for_large_n),
        cmocka_unit_test(a_shuffle_keeps_every_item),
        cmocka_unit_test(all_orders_are_as_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
