#include "service/resident.h"

#include "base/checksum.h"
#include "base/file.h"
#include "detector/detector.h"
#include "detector/model_file.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_MODELS  5
#define SIZE      100 /* that each is said to take */
#define N_THREADS 4
#define N_TURNS   300

static char folder[40];
static struct residents *residents;
static struct one {
    char path[48], sha256[SHA256_HEX_SIZE];
    struct resident resident;
    struct detector *detector;
} models[N_MODELS];

static int make_files(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_resident.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    for (size_t i = 0; i < N_MODELS; i++) {
        (void)snprintf(models[i].path, sizeof(models[i].path), "%s/%zu", folder, i);
        save_tiny_model(models[i].path, i + 1);
    }
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++)
        (void)unlink(models[i].path);
    return rmdir(folder);
}

static void add(struct one *one)
{
    AUTO_FREE char *data = NULL;
    size_t size;

    assert_int_equal(file_read(one->path, MODEL_FILE_MAX_SIZE, &data, &size, NULL), 0);
    sha256_hex(data, size, one->sha256);
    assert_int_equal(model_file_parse(one->path, data, size, &one->detector, NULL), 0);
    resident_init(residents, &one->resident, &one->detector, SIZE, one->path, one->sha256);
}

static int setup(void **state)
{
    (void)state;
    if (residents_new(&residents) < 0)
        return -1;
    for (size_t i = 0; i < N_MODELS; i++)
        add(&models[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++)
        resident_clear(residents, &models[i].resident);
    residents_free(residents);
    return 0;
}

static int hold(size_t i, struct error *reterr)
{
    return resident_hold(residents, &models[i].resident, reterr);
}

static void let_go(size_t i)
{
    resident_let_go(residents, &models[i].resident);
}

static void use(size_t i)
{
    assert_int_equal(hold(i, NULL), 0);
    assert_non_null(models[i].detector);
    let_go(i);
}

/* "02": these are in memory, and no others. */
static void expect_loaded(const char *expected)
{
    const struct residents_counts counts = residents_count(residents);
    char loaded[N_MODELS + 1];
    size_t n = 0;

    for (size_t i = 0; i < N_MODELS; i++)
        if (models[i].detector)
            loaded[n++] = (char)('0' + i);
    loaded[n] = '\0';
    assert_string_equal(loaded, expected);
    assert_int_equal(counts.n_loaded, n);
    assert_int_equal(counts.bytes, n * SIZE);
}

/* ---- tests ---- */

static void without_a_limit_all_stay(void **state)
{
    (void)state;
    expect_loaded("01234");
    assert_int_equal(residents_count(residents).n_drops, 0);
    assert_int_equal(residents_count(residents).n_loads, 0);
}

static void a_lower_limit_drops_at_once_what_was_not_needed_for_longest(void **state)
{
    (void)state;
    use(0);
    use(2);
    residents_set_limit(residents, 3 * SIZE);
    expect_loaded("024");
    residents_set_limit(residents, 2 * SIZE + SIZE / 2);
    expect_loaded("02");
    assert_int_equal(residents_count(residents).n_drops, 3);
}

static void who_is_needed_comes_back_and_another_goes(void **state)
{
    (void)state;
    residents_set_limit(residents, 2 * SIZE);
    expect_loaded("34");
    use(0);
    expect_loaded("04");
    use(4);
    use(1);
    expect_loaded("14");
    assert_int_equal(residents_count(residents).n_loads, 2);
    assert_int_equal(residents_count(residents).n_drops, 5);
}

static void what_is_held_stays_whatever_the_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(hold(i, NULL), 0);
    assert_int_equal(hold(1, NULL), 0);
    residents_set_limit(residents, SIZE);
    expect_loaded("012");
    let_go(1);
    expect_loaded("012");
    let_go(1);
    expect_loaded("02");
    let_go(0);
    expect_loaded("2");
    let_go(2);
    expect_loaded("2");
}

static void one_that_alone_is_above_the_limit_serves_while_it_is_held(void **state)
{
    (void)state;
    residents_set_limit(residents, SIZE / 2);
    expect_loaded("");
    assert_int_equal(hold(3, NULL), 0);
    expect_loaded("3");
    let_go(3);
    expect_loaded("");
}

static struct verdict judge(size_t i)
{
    float rows[TINY_FEATURES];
    struct verdict verdict = {0};
    CLEANUP(detector_workspace_freep) struct workspace *workspace = NULL;

    tiny_rows(7, rows, 1);
    assert_int_equal(detector_workspace_new(&workspace), 0);
    assert_int_equal(hold(i, NULL), 0);
    assert_int_equal(detector_score(models[i].detector, workspace, rows, 1, 1.0, &verdict), 0);
    let_go(i);
    return verdict;
}

static void what_comes_back_judges_bit_equal(void **state)
{
    (void)state;
    const struct verdict before = judge(0);

    residents_set_limit(residents, 1);
    expect_loaded("");
    const struct verdict after = judge(0);
    assert_memory_equal(&before.reconstruction_error, &after.reconstruction_error, sizeof(double));
    assert_memory_equal(&before.p_value, &after.p_value, sizeof(double));
}

static void replace(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_that_is_another_meanwhile_is_refused_until_it_is_back(void **state)
{
    (void)state;
    struct error error;

    residents_set_limit(residents, 1);
    replace(models[1].path, "no model any more");
    assert_int_equal(hold(1, &error), -EINVAL);
    assert_non_null(strstr(error.text, models[1].path));
    assert_non_null(strstr(error.text, "its SHA-256 is another"));
    assert_true(resident_is_failing(residents, &models[1].resident, &error));
    assert_non_null(strstr(error.text, "its SHA-256 is another"));

    assert_int_equal(unlink(models[1].path), 0);
    assert_int_equal(hold(1, &error), -ENOENT);
    assert_true(resident_is_failing(residents, &models[1].resident, &error));
    assert_non_null(strstr(error.text, "No such file"));
    assert_false(resident_is_failing(residents, &models[2].resident, NULL));

    save_tiny_model(models[1].path, 2);
    use(1);
    assert_false(resident_is_failing(residents, &models[1].resident, NULL));
}

static void loading_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct error error;
    int r = -ENOMEM;

    residents_set_limit(residents, 1);
    for (int nth = 0; r == -ENOMEM && nth < 1000; nth++) {
        expect_loaded("");
        alloc_fail_in = nth;
        r = hold(0, &error);
        alloc_fail_in = -1;
        assert_false(resident_is_failing(residents, &models[0].resident, NULL));
    }
    assert_int_equal(r, 0);
    let_go(0);
}

/* ---- threads ---- */

static atomic_uint n_failed;

static void *use_all(void *userdata)
{
    const size_t first = *(size_t *)userdata;

    for (size_t i = 0; i < N_TURNS; i++) {
        const size_t which = (first + i * (first + 1)) % N_MODELS;
        if (hold(which, NULL) < 0 || detector_n_features(models[which].detector) != TINY_FEATURES)
            atomic_fetch_add(&n_failed, 1);
        else
            let_go(which);
    }
    return NULL;
}

static void run_threads(void *(*job)(void *userdata))
{
    pthread_t threads[N_THREADS];
    size_t numbers[N_THREADS];

    n_failed = 0;
    for (size_t i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, job, &numbers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(n_failed, 0);
}

static void more_than_fit_serve_many_threads(void **state)
{
    (void)state;
    residents_set_limit(residents, 2 * SIZE);
    run_threads(use_all);
    const struct residents_counts counts = residents_count(residents);
    assert_int_equal(counts.n_loaded, 2);
    assert_int_equal(counts.n_loads + N_MODELS, counts.n_drops + counts.n_loaded);
}

static pthread_barrier_t barrier;

static void *hold_first(void *userdata)
{
    (void)userdata;
    (void)pthread_barrier_wait(&barrier);
    if (hold(0, NULL) < 0)
        atomic_fetch_add(&n_failed, 1);
    return NULL;
}

static void who_needs_the_same_one_at_once_has_it_loaded_once(void **state)
{
    (void)state;
    residents_set_limit(residents, 1);
    (void)pthread_barrier_init(&barrier, NULL, N_THREADS);
    run_threads(hold_first);
    (void)pthread_barrier_destroy(&barrier);
    assert_int_equal(residents_count(residents).n_loads, 1);
    for (size_t i = 0; i < N_THREADS; i++)
        let_go(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_limit_all_stay),
        TEST(a_lower_limit_drops_at_once_what_was_not_needed_for_longest),
        TEST(who_is_needed_comes_back_and_another_goes),
        TEST(what_is_held_stays_whatever_the_limit),
        TEST(one_that_alone_is_above_the_limit_serves_while_it_is_held),
        TEST(what_comes_back_judges_bit_equal),
        TEST(a_file_that_is_another_meanwhile_is_refused_until_it_is_back),
        TEST(loading_survives_every_failed_allocation),
        TEST(more_than_fit_serve_many_threads),
        TEST(who_needs_the_same_one_at_once_has_it_loaded_once),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
