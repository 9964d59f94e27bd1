#include "base/random.h"
#include "data/preparation.h"
#include "data/schema.h"

#include "support/cmocka.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FEATURES 64

static const char *const names[] = {"a", "b", "c", "d"};
#define N_NAMES (sizeof(names) / sizeof(*names))

/* What each test makes. */
static struct preparation *preparation;
static struct preparation_state *memory;
static float row[MAX_FEATURES];

static void begin(const char *text, size_t n_names, size_t context, double max_gap)
{
    struct prepare_spec spec;
    struct error error = {0};

    preparation_state_free(memory);
    preparation_free(preparation);
    preparation = NULL;
    memory = NULL;
    prepare_spec_init(&spec);
    assert_int_equal(prepare_spec_parse(&spec, text, &error), 0);
    spec.context = context;
    spec.max_gap = max_gap;
    spec.zone = strdup("Europe/Berlin");
    if (preparation_new(&spec, names, n_names, &preparation, &error) < 0)
        fail_msg("%s", error.text);
    prepare_spec_clear(&spec);
    assert_in_range(schema_n_features(preparation->features), 1, MAX_FEATURES);
    assert_int_equal(preparation_state_new(preparation, &memory), 0);
}

static int tear_down(void **state)
{
    (void)state;
    preparation_state_free(memory);
    preparation_free(preparation);
    preparation = NULL;
    memory = NULL;
    return 0;
}

/* Of one value. Returns the first feature. */
static float follow(double time, double value)
{
    assert_false(preparation_follow(preparation, memory, time, &value, row));
    return row[0];
}

static void expect_row(const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(want[i]) ? !isnan(row[i]) : row[i] != want[i])
            fail_msg("feature %zu is %.9g, not %.9g", i, (double)row[i], (double)want[i]);
}

#define EXPECT_ROW(...)                                    \
    do {                                                   \
        const float want_[] = {__VA_ARGS__};               \
        expect_row(want_, sizeof(want_) / sizeof(*want_)); \
    } while (0)

static void assert_near(float have, double want)
{
    if (!(fabs((double)have - want) <= 1e-6))
        fail_msg("%.9g is not %.9g", (double)have, want);
}

/* ---- rates and deltas ---- */

static void a_rate_is_the_growth_over_the_time_that_passed(void **state)
{
    (void)state;
    begin("a=rate", 1, 1, 3600);
    assert_true(isnan(follow(1000, 500))); /* nothing is known before */
    assert_true(follow(1010, 600) == 10);
    assert_true(follow(1010.5, 600) == 0);
    assert_true(follow(1070.5, 1200) == 10);
    /* The last digits of a large counter count. */
    begin("a=rate", 1, 1, 3600);
    (void)follow(1709292600, 9007199254740000.0);
    assert_true(follow(1709292601, 9007199254740001.0) == 1);
}

static void a_counter_that_was_reset_began_at_0(void **state)
{
    (void)state;
    begin("a=rate", 1, 1, 3600);
    (void)follow(0, 1000);
    assert_true(follow(10, 40) == 4);
    assert_true(follow(20, 50) == 1);
    (void)follow(30, 2147483648.0); /* half of 32 bits: too far from the end to have wrapped */
    assert_true(follow(40, 10) == 1);
    (void)follow(50, 3500000000.0);
    assert_true(follow(60, 2e9) == 2e8F); /* too far from the beginning */
}

static void a_counter_that_wraps_goes_on(void **state)
{
    (void)state;
    begin("a=rate", 1, 1, 3600);
    (void)follow(0, 4294967295.0);
    assert_true(follow(1, 9) == 10);
    (void)follow(2, 4294967290.0);
    assert_true(follow(3, 0) == 6);
    (void)follow(4, 18446744073709549568.0); /* 2^64 - 2048 */
    assert_true(follow(5, 2048) == 4096);
    (void)follow(6, 0.75 * 4294967296.0);
    assert_true(follow(7, 0) == 0.25F * 4294967296.0F);
}

static void over_a_missing_value_a_rate_is_over_the_longer_time(void **state)
{
    (void)state;
    begin("a=rate,b=delta", 2, 1, 3600);
    static const double values[][2] = {
        {100,         5          },
        {(double)NAN, 6          },
        {160,         (double)NAN},
        {170,         9          }
    };
    static const float want[][2] = {
        {NAN, NAN},
        {NAN, 1  },
        {3,   NAN},
        {1,   3  }
    };

    for (size_t i = 0; i < 4; i++) {
        assert_false(preparation_follow(preparation, memory, 10.0 * (double)i, values[i], row));
        expect_row(want[i], 2);
    }
}

static void a_delta_is_the_difference_in_either_direction(void **state)
{
    (void)state;
    begin("a=delta", 1, 1, 3600);
    assert_true(isnan(follow(0, 5)));
    assert_true(follow(1, 3) == -2);
    assert_true(follow(100, 3) == 0);
    assert_true(follow(101, 4294967295.0) == 4294967292.0F);
    assert_true(follow(102, 0) == -4294967295.0F); /* no counter: nothing wraps */
}

/* ---- gaps ---- */

static void after_a_gap_a_series_begins_afresh(void **state)
{
    (void)state;
    begin("a=rate,b=delta", 3, 2, 60);
    const double one[] = {10, 10, 1}, two[] = {70, 20, 2}, three[] = {80, 30, 3};

    (void)preparation_follow(preparation, memory, 0, one, row);
    EXPECT_ROW(NAN, NAN, 1, NAN, NAN, 1);
    (void)preparation_follow(preparation, memory, 60, two, row); /* no longer than max_gap */
    EXPECT_ROW(1, 10, 2, NAN, NAN, 1);
    (void)preparation_follow(preparation, memory, 120.5, three, row);
    EXPECT_ROW(NAN, NAN, 3, NAN, NAN, 3);
    (void)preparation_follow(preparation, memory, 130.5, three, row);
    EXPECT_ROW(0, 0, 3, NAN, NAN, 3);
}

/* The series went on, the value did not. */
static void a_value_that_was_missing_for_longer_than_a_gap_begins_afresh(void **state)
{
    (void)state;
    begin("a=rate,b=delta", 2, 1, 60);
    const double both[] = {10, 10}, none[] = {(double)NAN, (double)NAN};

    (void)preparation_follow(preparation, memory, 0, both, row);
    (void)preparation_follow(preparation, memory, 40, none, row);
    (void)preparation_follow(preparation, memory, 80, both, row);
    EXPECT_ROW(NAN, NAN);
    (void)preparation_follow(preparation, memory, 90, both, row);
    EXPECT_ROW(0, 0);
}

static void without_max_gap_nothing_is_too_long(void **state)
{
    (void)state;
    begin("a=rate", 2, 2, 0);
    const double one[] = {10, 1}, two[] = {1000000010, 2};

    (void)preparation_follow(preparation, memory, 0, one, row);
    (void)preparation_follow(preparation, memory, 1e9, two, row);
    EXPECT_ROW(1, 2, NAN, 1);
}

/* ---- one row alone ---- */

static void logarithms_are_of_one_more(void **state)
{
    (void)state;
    begin("a=log1p", 1, 1, 3600);
    assert_true(follow(0, 0) == 0);
    assert_true(follow(1, 1e-20) == 1e-20F);
    assert_near(follow(2, M_E - 1), 1);
    assert_true(isnan(follow(3, (double)NAN)));
}

static void a_category_has_a_column_of_its_own(void **state)
{
    (void)state;
    begin("a=onehot:x|y", 2, 1, 3600);
    static const double categories[] = {0, 1, 2, (double)NAN};
    static const float want[][4] = {
        {1,   0,   0,   7},
        {0,   1,   0,   7},
        {0,   0,   1,   7},
        {NAN, NAN, NAN, 7}
    };

    for (size_t i = 0; i < 4; i++) {
        const double values[] = {categories[i], 7};
        (void)preparation_follow(preparation, NULL, 0, values, row);
        expect_row(want[i], 4);
    }
}

static double hour_at(double time)
{
    const double value = 0;

    (void)preparation_follow(preparation, NULL, time, &value, row);
    return preparation_value(preparation, 1, row + 1);
}

static double weekday_at(double time)
{
    const double value = 0;

    (void)preparation_follow(preparation, NULL, time, &value, row);
    return preparation_value(preparation, 2, row + 3);
}

/* In Berlin: half past one in the night comes twice in autumn, half past two never in spring. */
static void hours_are_those_of_the_clock_on_the_wall(void **state)
{
    (void)state;
    begin("h=hour-of-day,w=day-of-week", 1, 1, 3600);
    static const struct {
        double time, hour, weekday;
    } cases[] = {
        {1729985400,   1.5,                6}, /* Sunday 2024-10-27 01:30 +02:00 */
        {1729989000,   2.5,                6}, /* 02:30 +02:00 */
        {1729992600,   2.5,                6}, /* and again, +01:00 */
        {1729996200,   3.5,                6},
        {1711845000,   1.5,                6}, /* Sunday 2024-03-31 01:30 +01:00 */
        {1711848600,   3.5,                6}, /* one hour later */
        {1729979999,   23 + 3599 / 3600.0, 5}, /* Saturday, a second before midnight */
        {1729980000,   0,                  6},
        {0,            1,                  3}, /* 1970-01-01 was a Thursday; 01:00 in Berlin */
        {-3600,        0,                  3},
        {-3601,        23 + 3599 / 3600.0, 2},
        {-86400 * 3.0, 1,                  0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const double hour = hour_at(cases[i].time);
        if (!(fabs(hour - cases[i].hour) < 1e-5))
            fail_msg("%.0f: %.9g o'clock", cases[i].time, hour);
        if (weekday_at(cases[i].time) != cases[i].weekday)
            fail_msg("%.0f: day %g", cases[i].time, weekday_at(cases[i].time));
    }
}

static void the_time_goes_round(void **state)
{
    (void)state;
    begin("h=hour-of-day", 1, 1, 3600);
    (void)hour_at(1729980000 + 6 * 3600.0 + 3600); /* 06:00, an hour was twice */
    assert_near(row[1], 1);
    assert_near(row[2], 0);
    (void)hour_at(1711753200); /* midnight */
    assert_near(row[1], 0);
    assert_near(row[2], 1);
    (void)hour_at((double)NAN);
    assert_true(isnan(row[1]) && isnan(row[2]));
}

static void what_a_float_has_no_room_for_is_cut(void **state)
{
    (void)state;
    begin("a=delta", 2, 1, 3600);
    const double low[] = {-3e38, 1e300}, high[] = {3e38, -1e300};

    (void)preparation_follow(preparation, memory, 0, low, row);
    EXPECT_ROW(NAN, FLT_MAX);
    (void)preparation_follow(preparation, memory, 1, high, row);
    EXPECT_ROW(FLT_MAX, -FLT_MAX);
    begin("a=rate", 1, 1, 3600);
    (void)follow(0, 0);
    assert_true(follow(2e-3, 3e38) == FLT_MAX);
    assert_true(isnan(follow(2.5e-3, 3e38))); /* too close: such times are made up */
}

/* ---- context ---- */

static void the_rows_behind_stand_behind_each_other_newest_first(void **state)
{
    (void)state;
    begin("", 2, 3, 3600);
    for (int i = 1; i <= 6; i++) {
        const double values[] = {i, 10 * i};
        const float first = i > 1 ? (float)(i - 1) : 1, second = i > 2 ? (float)(i - 2) : 1;
        (void)preparation_follow(preparation, memory, i, values, row);
        EXPECT_ROW((float)i, 10 * (float)i, first, 10 * first, second, 10 * second);
    }
    preparation_state_free(memory);
    memory = NULL;
    const double alone[] = {7, 70};
    assert_false(preparation_follow(preparation, NULL, 3, alone, row));
    EXPECT_ROW(7, 70, 7, 70, 7, 70); /* again and again */
}

/* ---- late rows ---- */

static void late_rows_leave_no_trace(void **state)
{
    (void)state;
    CLEANUP(preparation_state_freep) struct preparation_state *without = NULL;
    AUTO_FREE char *a = NULL;
    AUTO_FREE char *b = NULL;
    struct random random;
    float want[MAX_FEATURES], late[MAX_FEATURES];

    begin("a=rate,b=delta,c=onehot:x|y,h=hour-of-day", 4, 4, 60);
    const size_t n = schema_n_features(preparation->features);
    const size_t size = preparation_state_size(preparation);
    assert_int_equal(preparation_state_new(preparation, &without), 0);
    a = malloc(size);
    b = malloc(size);
    random_seed(&random, 1);
    double time = 1729980000.0;
    for (size_t i = 0; i < 200; i++) {
        time += i % 50 == 49 ? 100.0 : 20.0; /* now and then more than max_gap */
        const double values[] = {1e6 * random_uniform(&random), random_normal(&random),
                                 (double)random_below(&random, 3),
                                 i % 7 ? random_normal(&random) : (double)NAN};
        const double other[] = {1, 2, 0, 3};
        assert_false(preparation_follow(preparation, memory, time, values, row));
        assert_false(preparation_follow(preparation, without, time, values, want));
        assert_memory_equal(row, want, n * sizeof(*row));
        /* The same moment again, and one before. */
        assert_true(preparation_follow(preparation, memory, time, other, late));
        assert_true(preparation_follow(preparation, memory, time - 1000.0, other, late));
        assert_true(isnan(late[0]) && isnan(late[1]));
        assert_true(late[2] == 1 && late[5] == 3); /* the rest of it is judged */
        assert_true(preparation_state_time(memory) == time);
    }
    preparation_state_save(preparation, memory, a);
    preparation_state_save(preparation, without, b);
    assert_memory_equal(a, b, size);
}

static void rows_without_a_time_come_in_their_order(void **state)
{
    (void)state;
    begin("a=delta,b=rate", 2, 2, 60);
    const double one[] = {1, 1}, two[] = {3, 3}, three[] = {6, 6};

    assert_true(isnan(preparation_state_time(memory)));
    assert_false(preparation_follow(preparation, memory, (double)NAN, one, row));
    assert_false(preparation_follow(preparation, memory, (double)NAN, two, row));
    EXPECT_ROW(2, NAN, NAN, NAN); /* of a rate nothing is known */
    assert_true(isnan(preparation_state_time(memory)));
    assert_false(preparation_follow(preparation, memory, 100, three, row));
    EXPECT_ROW(3, NAN, 2, NAN);
    assert_true(preparation_state_time(memory) == 100);
    assert_false(preparation_follow(preparation, memory, (double)NAN, one, row));
    assert_true(preparation_state_time(memory) == 100);
    assert_true(preparation_follow(preparation, memory, 100, two, row));
}

/* ---- states as bytes ---- */

static void a_state_goes_on_bit_for_bit_where_it_was_saved(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "a=raw",         "a=log1p",
        "a=rate",        "a=delta",
        "a=onehot:x|y",  "h=hour-of-day",
        "w=day-of-week", "a=rate,b=delta,c=log1p,d=onehot:x|y,h=hour-of-day,w=day-of-week"};

    for (size_t k = 0; k < 2 * sizeof(kinds) / sizeof(*kinds); k++) {
        CLEANUP(preparation_state_freep) struct preparation_state *other = NULL;
        struct random random;
        float want[MAX_FEATURES];
        begin(kinds[k / 2], N_NAMES, k % 2 ? 4 : 1, 3600);
        const size_t size = preparation_state_size(preparation);
        const size_t n = schema_n_features(preparation->features);
        AUTO_FREE char *bytes = malloc(size);
        random_seed(&random, k);
        assert_int_equal(preparation_state_new(preparation, &other), 0);
        for (size_t i = 0; i < 30; i++) {
            double values[N_NAMES];
            for (size_t j = 0; j < N_NAMES; j++)
                values[j] =
                    random_below(&random, 9) ? floor(3 * random_uniform(&random)) : (double)NAN;
            (void)preparation_follow(preparation, memory, 60.0 * (double)i, values, want);
            (void)preparation_follow(preparation, other, 60.0 * (double)i, values, row);
            assert_memory_equal(row, want, n * sizeof(*row));
            preparation_state_save(preparation, other, bytes); /* each row in a new process */
            preparation_state_free(TAKE(other));
            assert_int_equal(preparation_state_new(preparation, &other), 0);
            assert_int_equal(preparation_state_load(preparation, other, bytes, size), 0);
            assert_true(preparation_state_time(other) == 60.0 * (double)i);
        }
    }
}

static void damaged_bytes_are_refused_and_change_nothing(void **state)
{
    (void)state;
    begin("a=rate", 1, 3, 3600);
    const size_t size = preparation_state_size(preparation);
    AUTO_FREE char *good = malloc(size);
    AUTO_FREE char *bytes = malloc(size + 1);
    AUTO_FREE char *after = malloc(size);
    const double infinite = (double)INFINITY;
    const float infinite_float = -INFINITY;
    const uint64_t too_many = 3;

    (void)follow(0, 5);
    (void)follow(1, 6);
    preparation_state_save(preparation, memory, good);
    assert_int_equal(size, 8 + 8 + 2 * 8 + 2 * 4);
    assert_int_equal(preparation_state_load(preparation, memory, good, size - 1), -EINVAL);
    assert_int_equal(preparation_state_load(preparation, memory, bytes, size + 1), -EINVAL);
    assert_int_equal(preparation_state_load(preparation, memory, NULL, 0), -EINVAL);
    const struct {
        size_t at, size;
        const void *value;
    } damages[] = {
        {0,  8, &infinite      }, /* time */
        {8,  8, &too_many      },
        {16, 8, &infinite      }, /* last value */
        {24, 8, &infinite      }, /* its time */
        {32, 4, &infinite_float}, /* the row behind */
        {36, 4, &infinite_float},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        memcpy(bytes, good, size);
        memcpy(bytes + damages[i].at, damages[i].value, damages[i].size);
        assert_int_equal(preparation_state_load(preparation, memory, bytes, size), -EINVAL);
        preparation_state_save(preparation, memory, after);
        assert_memory_equal(after, good, size);
    }
}

/* Whatever else the bytes say, what comes of them is finite or missing. */
static void any_bytes_that_are_taken_can_be_gone_on_from(void **state)
{
    (void)state;
    struct random random;

    begin("a=rate,b=delta,c=onehot:x|y,h=hour-of-day", 4, 3, 3600);
    const size_t size = preparation_state_size(preparation);
    const size_t n = schema_n_features(preparation->features);
    AUTO_FREE unsigned char *bytes = malloc(size);
    const double values[] = {1, 2, 1, 3e38};
    size_t n_taken = 0;

    random_seed(&random, 5);
    for (size_t i = 0; i < 5000; i++) {
        for (size_t k = 0; k < size; k++)
            bytes[k] = (unsigned char)random_below(&random, 256);
        memset(bytes + 8, 0, 8);
        bytes[8] = (unsigned char)(i % 4);
        if (preparation_state_load(preparation, memory, bytes, size) < 0)
            continue;
        n_taken++;
        (void)preparation_follow(preparation, memory, 1e9, values, row);
        for (size_t k = 0; k < n; k++)
            assert_false(isinf(row[k]));
    }
    assert_true(n_taken > 1000);
}

/* ---- back ---- */

static void values_come_back_from_their_columns(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t input;
        double values[7];
    } cases[] = {
        {"a=raw",          0, {-5, 0, 1.5, 1e30, -1e-30, 3e38, 7} },
        {"a=log1p",        0, {0, 1e-20, 0.5, 1, 1e3, 1e12, 3e38} },
        {"a=rate",         0, {0, 1, 2.5, 1e9, 1e-3, 3e38, 7}     },
        {"a=delta",        0, {-5, 0, 1.5, 1e30, -1e-30, -3e38, 7}},
        {"a=onehot:x|y|z", 0, {0, 1, 2, 3, 0, 1, 2}               },
        {"h=hour-of-day",  1, {0, 0.25, 6, 11.99, 12, 18.5, 23.99}},
        {"w=day-of-week",  1, {0, 1, 2, 3, 4, 5, 6}               },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        begin(cases[i].text, 1, 1, 3600);
        for (size_t k = 0; k < 7; k++) {
            const double want = cases[i].values[k];
            preparation_columns(preparation, cases[i].input, want, row);
            const double got = preparation_value(preparation, cases[i].input, row);
            if (!(fabs(got - want) <= 1e-5 * fabs(want) + 1e-5))
                fail_msg("%s: %.9g comes back as %.9g", cases[i].text, want, got);
        }
        preparation_columns(preparation, cases[i].input, (double)NAN, row);
        assert_true(isnan(preparation_value(preparation, cases[i].input, row)));
    }
}

/* What a model expects of them is near such columns, but not there. */
static void values_of_columns_in_between_are_the_nearest(void **state)
{
    (void)state;
    begin("a=onehot:x|y,b=log1p,h=hour-of-day,w=day-of-week", 2, 1, 3600);
    const float category[] = {0.2F, 0.5F, 0.4F}, alike[] = {0.3F, 0.3F, 0.3F};
    const float far[] = {1e30F}, morning[] = {0.5F, 1e-9F}, sunday[] = {-0.7F, 0.5F};

    assert_true(preparation_value(preparation, 0, category) == 1.0);
    assert_true(preparation_value(preparation, 0, alike) == 0.0);
    assert_true(preparation_value(preparation, 1, far) == (double)FLT_MAX);
    assert_near((float)preparation_value(preparation, 2, morning), 6);
    assert_true(preparation_value(preparation, 3, sunday) == 6.0);
}

static void words_are_what_people_call_it(void **state)
{
    (void)state;
    begin("a=onehot:up|down,c=log1p,h=hour-of-day,w=day-of-week", 3, 1, 3600);
    static const struct {
        size_t input;
        double value;
        const char *want;
    } cases[] = {
        {0, 0,           "up"     },
        {0, 1,           "down"   },
        {0, 2,           "(other)"},
        {0, (double)NAN, NULL     },
        {1, 5,           NULL     },
        {2, 5,           NULL     },
        {3, 0,           "00:00"  },
        {3, 13.75,       "13:45"  },
        {3, 23.9999,     "00:00"  },
        {3, 9.5,         "09:30"  },
        {3, (double)NAN, NULL     },
        {4, 0,           "Monday" },
        {4, 6,           "Sunday" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char room[PREPARATION_WORD_SIZE];
        const char *got = preparation_word(preparation, cases[i].input, cases[i].value, room);
        if (cases[i].want)
            assert_string_equal(got, cases[i].want);
        else
            assert_null(got);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rate_is_the_growth_over_the_time_that_passed),
        TEST(a_counter_that_was_reset_began_at_0),
        TEST(a_counter_that_wraps_goes_on),
        TEST(over_a_missing_value_a_rate_is_over_the_longer_time),
        TEST(a_delta_is_the_difference_in_either_direction),
        TEST(after_a_gap_a_series_begins_afresh),
        TEST(a_value_that_was_missing_for_longer_than_a_gap_begins_afresh),
        TEST(without_max_gap_nothing_is_too_long),
        TEST(logarithms_are_of_one_more),
        TEST(a_category_has_a_column_of_its_own),
        TEST(hours_are_those_of_the_clock_on_the_wall),
        TEST(the_time_goes_round),
        TEST(what_a_float_has_no_room_for_is_cut),
        TEST(the_rows_behind_stand_behind_each_other_newest_first),
        TEST(late_rows_leave_no_trace),
        TEST(rows_without_a_time_come_in_their_order),
        TEST(a_state_goes_on_bit_for_bit_where_it_was_saved),
        TEST(damaged_bytes_are_refused_and_change_nothing),
        TEST(any_bytes_that_are_taken_can_be_gone_on_from),
        TEST(values_come_back_from_their_columns),
        TEST(values_of_columns_in_between_are_the_nearest),
        TEST(words_are_what_people_call_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
