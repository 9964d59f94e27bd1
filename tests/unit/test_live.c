#include "service/live.h"

#include "detector/detector.h"
#include "service/series_memory.h"
#include "service/stats.h"
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

static char folder[32], path_a[48], path_b[48], path_other[48], path_bad[48];
static struct stats *stats;
static struct live *live;

/* ---- two models, one of as many other features, and a damaged one, made once ---- */

static void save_other_features(const char *path)
{
    static const char *const names[TINY_FEATURES] = {"a", "b", "c", "d", "f", "e"};
    static float rows[TINY_ROWS * TINY_FEATURES];
    const struct trainer_options options = {.recipe = tiny_recipe(1), .n_threads = 1};
    CLEANUP(detector_freep) struct detector *detector = NULL;

    tiny_rows(1, rows, TINY_ROWS);
    assert_int_equal(detector_train(rows, TINY_ROWS, names, TINY_FEATURES, &options, NULL, NULL,
                                    &detector, NULL),
                     0);
    assert_int_equal(model_file_save(detector, path, NULL), 0);
}

static int make_files(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_live.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path_a, sizeof(path_a), "%s/a", folder);
    (void)snprintf(path_b, sizeof(path_b), "%s/b", folder);
    (void)snprintf(path_other, sizeof(path_other), "%s/other", folder);
    (void)snprintf(path_bad, sizeof(path_bad), "%s/bad", folder);
    save_tiny_model(path_a, 1);
    save_tiny_model(path_b, 2);
    save_other_features(path_other);
    FILE *file = fopen(path_bad, "w");
    return !file || fputs("this is no model file", file) < 0 || fclose(file) != 0;
}

static int remove_files(void **state)
{
    (void)state;
    return unlink(path_a) || unlink(path_b) || unlink(path_other) || unlink(path_bad) ||
           rmdir(folder);
}

static int setup(void **state)
{
    (void)state;
    if (stats_new(1, NULL, 0, &stats) < 0)
        return -1;
    return live_new(stats, &live);
}

static int teardown(void **state)
{
    (void)state;
    live_free(live);
    stats_free(stats);
    return 0;
}

static int load(struct live_source model, bool strict, struct error *reterr)
{
    return live_load(live, &model, 1, strict, reterr);
}

static struct live_source web(char *file)
{
    static char name[] = "web";

    return (struct live_source){.name = name, .file = file};
}

static struct live_model *acquire(const char *name)
{
    return live_acquire(live, name, strlen(name));
}

/* ---- tests ---- */

static void a_file_of_another_checksum_does_not_serve(void **state)
{
    (void)state;
    char checksum[SHA256_HEX_SIZE];
    struct live_source source = web(path_a);
    struct error error;

    source.sha256 = "";
    assert_int_equal(load(source, true, &error), 0);
    struct live_model *model = acquire("web");
    memcpy(checksum, model->checksum, sizeof(checksum));
    live_release(live, model);
    source.sha256 = checksum;
    assert_int_equal(load(source, true, &error), 0);
    source.file = path_b;
    assert_int_equal(live_put(live, &source, &error), -EINVAL);
    assert_non_null(strstr(error.text, "is not the file that was written"));
    model = acquire("web");
    assert_string_equal(model->checksum, checksum);
    live_release(live, model);
}

/* Nothing stays in memory that nobody holds, and the file of the version before goes. */
static void who_has_looked_up_a_version_that_went_gets_the_one_in_its_place(void **state)
{
    (void)state;
    char path[64];
    struct error error;

    (void)snprintf(path, sizeof(path), "%s/gone", folder);
    assert_int_equal(link(path_a, path), 0);
    live_set_limit(live, 1);
    assert_int_equal(load(web(path), true, NULL), 0);
    struct live_model *model = acquire("web"), *other = acquire("web"), *newer;

    struct live_source source = web(path_b);
    assert_int_equal(live_put(live, &source, &error), 0);
    assert_int_equal(unlink(path), 0);
    assert_true(live_hold(live, other, &error) < 0);
    live_release(live, other);
    newer = acquire("web");
    assert_int_equal(live_hold_newest(live, &model, &error), 0);
    assert_ptr_equal(model, newer);
    assert_non_null(model->detector);
    live_let_go(live, model);
    live_release(live, newer);
    live_release(live, model);
}

static void what_has_no_successor_cannot_be_held(void **state)
{
    (void)state;
    char path[64];
    struct error error;

    (void)snprintf(path, sizeof(path), "%s/gone", folder);
    assert_int_equal(link(path_a, path), 0);
    live_set_limit(live, 1);
    assert_int_equal(load(web(path), true, NULL), 0);
    struct live_model *model = acquire("web"), *const same = model;

    assert_int_equal(unlink(path), 0);
    assert_true(live_hold_newest(live, &model, &error) < 0);
    assert_ptr_equal(model, same);
    live_remove(live, "web");
    assert_true(live_hold_newest(live, &model, &error) < 0);
    assert_ptr_equal(model, same);
    live_release(live, model);
}

static void a_model_serves_with_the_rate_it_was_trained_for(void **state)
{
    (void)state;
    assert_int_equal(load(web(path_a), false, NULL), 0);
    struct live_model *model = acquire("web");
    assert_non_null(model);
    assert_string_equal(model->name, "web");
    assert_int_equal(model->state, LIVE_SERVING);
    assert_string_equal(live_state_name(model->state), "serving");
    assert_int_equal(model->version, 1);
    assert_int_equal(detector_n_features(model->detector), TINY_FEATURES);
    assert_true(model->false_alarm_rate == 0.05);
    assert_true(model->threshold > 0);
    assert_int_equal(model->threshold_basis, CALIBRATION_CONFORMAL);
    assert_false(model->reject_missing);
    assert_string_equal(model->file, path_a);
    assert_true(model->trained_at_us > 0);
    assert_int_equal(strlen(model->checksum), 64);
    assert_ptr_equal(model->stats, stats_model(stats, "web"));
    live_release(live, model);
}

static void the_configured_rate_comes_first(void **state)
{
    (void)state;
    struct live_source config = web(path_a);
    assert_int_equal(load(config, false, NULL), 0);
    struct live_model *before = acquire("web");
    config.false_alarm_rate = 0.5;
    config.reject_missing = true;
    assert_int_equal(load(config, true, NULL), 0);
    struct live_model *after = acquire("web");

    assert_true(after->false_alarm_rate == 0.5);
    assert_true(after->threshold < before->threshold);
    assert_true(after->reject_missing);
    assert_int_equal(after->version, 1); /* the same file */
    live_release(live, before);
    live_release(live, after);
}

static void who_has_said_the_rate_is_known(void **state)
{
    (void)state;
    static const enum live_rate_source sources[] = {LIVE_RATE_OF_FILE, LIVE_RATE_OF_CONFIGURATION,
                                                    LIVE_RATE_PUT};

    for (size_t i = 0; i < 3; i++) {
        struct live_source source = web(path_a);
        source.false_alarm_rate = i > 0 ? 0.2 : 0.0;
        source.is_rate_put = i == 2;
        assert_int_equal(load(source, true, NULL), 0);
        struct live_model *model = live_acquire(live, "web", 3);
        assert_int_equal(model->rate_source, sources[i]);
        live_release(live, model);
    }
}

static void recent_rows_stay_with_their_file(void **state)
{
    (void)state;
    struct live_source source = web(path_a);

    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *first = live_acquire(live, "web", 3);
    source.false_alarm_rate = 0.2;
    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *again = live_acquire(live, "web", 3);
    assert_int_equal(load(web(path_b), true, NULL), 0);
    struct live_model *other = live_acquire(live, "web", 3);
    assert_true(first != again && first->recent == again->recent);
    assert_ptr_not_equal(other->recent, first->recent);
    live_release(live, first);
    live_release(live, again);
    live_release(live, other);
}

/* The names count and their order, not how many there are. */
static void what_series_leave_goes_on_over_versions(void **state)
{
    (void)state;
    char *const files[] = {path_a, path_b, path_other};
    struct live_model *models[3];

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(load(web(files[i]), true, NULL), 0);
        models[i] = acquire("web");
    }
    assert_ptr_equal(models[1]->memory, models[0]->memory);
    assert_ptr_equal(models[2]->memory, models[0]->memory);
    for (size_t i = 0; i < 3; i++)
        live_release(live, models[i]);
}

static void a_rate_that_the_rows_do_not_support_is_marked(void **state)
{
    (void)state;
    struct live_source config = web(path_a);
    config.false_alarm_rate = 0.001; /* with 400 rows of calibration */
    assert_int_equal(load(config, false, NULL), 0);
    struct live_model *model = acquire("web");
    assert_int_equal(model->threshold_basis, CALIBRATION_TAIL_FIT);
    assert_true(model->threshold > 0);
    live_release(live, model);
}

/* It has no tail that could estimate the threshold. */
static void a_model_of_format_1_may_rest_on_its_largest_error(void **state)
{
    (void)state;
    const char *top = getenv("top_srcdir");
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/format-1.safetensors", top ? top : ".");
    struct live_source config = web(path);
    config.false_alarm_rate = 0.001;
    assert_int_equal(load(config, true, NULL), 0);
    struct live_model *model = acquire("web");
    assert_int_equal(model->state, LIVE_SERVING);
    assert_int_equal(model->threshold_basis, CALIBRATION_LARGEST_ERROR);
    live_release(live, model);
}

static void another_file_is_another_version(void **state)
{
    (void)state;
    const unsigned want[] = {1, 1, 2, 3};
    char *const files[] = {path_a, path_a, path_b, path_a};

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(load(web(files[i]), true, NULL), 0);
        struct live_model *model = acquire("web");
        assert_int_equal(model->version, want[i]);
        live_release(live, model);
    }
}

static void a_reload_keeps_a_model_that_would_be_the_same(void **state)
{
    (void)state;
    struct live_source source = web(path_a);

    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *first = acquire("web");
    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *same = acquire("web");
    assert_ptr_equal(first, same);
    source.false_alarm_rate = 0.2;
    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *other = acquire("web");
    assert_ptr_not_equal(first, other);
    assert_true(other->false_alarm_rate == 0.2);
    source.reject_missing = true;
    assert_int_equal(load(source, true, NULL), 0);
    struct live_model *strict = acquire("web");
    assert_true(strict->reject_missing);
    assert_int_equal(strict->version, 1);
    live_release(live, first);
    live_release(live, same);
    live_release(live, other);
    live_release(live, strict);
}

static void a_reload_that_fails_remembers_as_many_series_as_before(void **state)
{
    (void)state;
    const struct live_source bad[] = {
        {.name = "bad", .file = path_bad, .max_series = 3},
        {.name = "web", .file = path_a,   .max_series = 3}
    };

    assert_int_equal(load(web(path_a), true, NULL), 0);
    struct live_model *model = acquire("web");
    const size_t most = series_memory_most(model->memory);
    assert_int_equal(live_load(live, bad, 2, true, NULL), -EINVAL);
    assert_int_equal(series_memory_most(model->memory), most);
    assert_int_equal(load(bad[1], true, NULL), 0);
    assert_int_equal(series_memory_most(model->memory), 3);
    live_release(live, model);
}

static void models_are_added_in_slices_beside_the_others(void **state)
{
    (void)state;
    const struct live_source first[] = {
        {.name = "b", .file = path_a},
        {.name = "d", .file = path_a}
    };
    const struct live_source second[] = {
        {.name = "a", .file = path_bad},
        {.name = "b", .file = path_b  },
        {.name = "c", .file = path_a  }
    };
    static const unsigned versions[] = {0, 2, 1, 1};
    struct live_model **all = NULL;
    size_t n = 0;

    assert_int_equal(live_add(live, first, 2), 0);
    assert_int_equal(live_add(live, second, 3), 0);
    assert_int_equal(live_add(live, NULL, 0), 0);
    live_settle(live);
    assert_int_equal(live_acquire_all(live, &all, &n), 0);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(all[i]->name[0], 'a' + (int)i);
        assert_int_equal(all[i]->state, i == 0 ? LIVE_FAILED : LIVE_SERVING);
        assert_int_equal(all[i]->version, versions[i]);
        live_release(live, all[i]);
    }
    free(all);
}

static void a_reader_keeps_its_model_over_a_reload(void **state)
{
    (void)state;
    assert_int_equal(load(web(path_a), false, NULL), 0);
    struct live_model *old = acquire("web");
    assert_int_equal(live_load(live, NULL, 0, true, NULL), 0);
    assert_null(acquire("web"));
    assert_int_equal(old->state, LIVE_SERVING);
    assert_int_equal(detector_n_features(old->detector), TINY_FEATURES);
    live_release(live, old); /* the sanitizer says whether this frees it */
}

static void at_the_start_a_bad_model_fails_alone(void **state)
{
    (void)state;
    struct live_source models[] = {
        {.name = (char[]){"bad"},  .file = path_bad            },
        {.name = (char[]){"gone"}, .file = (char[]){"/nowhere"}},
        {.name = (char[]){"good"}, .file = path_a              }
    };

    assert_int_equal(live_load(live, models, 3, false, NULL), 0);
    struct live_model *bad = acquire("bad"), *gone = acquire("gone"), *good = acquire("good");
    assert_int_equal(good->state, LIVE_SERVING);
    assert_int_equal(bad->state, LIVE_FAILED);
    assert_string_equal(live_state_name(bad->state), "failed");
    assert_null(bad->detector);
    assert_int_equal(bad->version, 0);
    assert_non_null(strstr(bad->error->text, path_bad));
    assert_int_equal(gone->state, LIVE_FAILED);
    assert_string_equal(gone->error->text, "/nowhere: cannot open: No such file or directory");
    live_release(live, bad);
    live_release(live, gone);
    live_release(live, good);
}

static void a_reload_with_a_bad_model_changes_nothing(void **state)
{
    (void)state;
    struct error error = {0};

    assert_int_equal(load(web(path_a), false, NULL), 0);
    struct live_model *before = acquire("web");
    assert_int_equal(load(web(path_bad), true, &error), -EINVAL);
    assert_non_null(strstr(error.text, "model web: "));
    assert_non_null(strstr(error.text, path_bad));
    struct live_model *after = acquire("web");
    assert_ptr_equal(before, after);
    live_release(live, before);
    live_release(live, after);
}

static void a_failed_model_that_was_mended_serves(void **state)
{
    (void)state;
    assert_int_equal(load(web(path_bad), false, NULL), 0);
    assert_int_equal(load(web(path_a), true, NULL), 0);
    struct live_model *model = acquire("web");
    assert_int_equal(model->state, LIVE_SERVING);
    assert_int_equal(model->version, 1);
    live_release(live, model);
}

static void names_are_matched_exactly(void **state)
{
    (void)state;
    struct live_source models[] = {
        {.name = (char[]){"we"},   .file = path_a},
        {.name = (char[]){"web"},  .file = path_a},
        {.name = (char[]){"webb"}, .file = path_a}
    };
    char long_name[200];

    assert_int_equal(live_load(live, models, 3, false, NULL), 0);
    struct live_model *model = live_acquire(live, "webby", 3);
    assert_string_equal(model->name, "web");
    live_release(live, model);
    memset(long_name, 'w', sizeof(long_name));
    assert_null(live_acquire(live, "", 0));
    assert_null(live_acquire(live, "w", 1));
    assert_null(live_acquire(live, "webbb", 5));
    assert_null(live_acquire(live, "we\0", 3));
    assert_null(live_acquire(live, long_name, sizeof(long_name)));
}

static void the_only_model_is_found_without_a_name(void **state)
{
    (void)state;
    struct live_source models[] = {
        {.name = (char[]){"a"}, .file = path_a},
        {.name = (char[]){"b"}, .file = path_b}
    };
    size_t n = 42;

    assert_null(live_acquire_only(live, &n));
    assert_int_equal(n, 0);
    assert_int_equal(live_load(live, models, 1, false, NULL), 0);
    struct live_model *only = live_acquire_only(live, &n);
    assert_int_equal(n, 1);
    assert_string_equal(only->name, "a");
    live_release(live, only);
    assert_int_equal(live_load(live, models, 2, false, NULL), 0);
    assert_null(live_acquire_only(live, &n));
    assert_int_equal(n, 2);
}

static void all_are_listed_by_name(void **state)
{
    (void)state;
    struct live_source models[] = {
        {.name = (char[]){"a"}, .file = path_a  },
        {.name = (char[]){"b"}, .file = path_bad}
    };
    struct live_model **all = NULL;
    size_t n = 42;

    assert_int_equal(live_acquire_all(live, &all, &n), 0);
    assert_int_equal(n, 0);
    free(all);
    assert_int_equal(live_load(live, models, 2, false, NULL), 0);
    assert_int_equal(live_acquire_all(live, &all, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(all[0]->name, "a");
    assert_string_equal(all[1]->name, "b");
    live_release(live, all[0]);
    live_release(live, all[1]);
    free(all);
}

static void one_that_is_removed_leaves_the_others_and_its_readers(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    struct live_source sources[3];
    size_t n_models;

    for (size_t i = 0; i < 3; i++)
        sources[i] = (struct live_source){.name = names[i], .file = path_a};
    assert_int_equal(live_load(live, sources, 3, false, NULL), 0);
    struct live_model *reader = acquire("b");
    live_remove(live, "b");
    live_remove(live, "b");
    live_remove(live, "bb");
    assert_null(acquire("b"));
    assert_null(live_acquire_only(live, &n_models));
    assert_int_equal(n_models, 2);
    assert_int_equal(reader->state, LIVE_SERVING); /* ASan would tell */
    live_release(live, reader);
    live_remove(live, "a");
    reader = live_acquire_only(live, &n_models);
    assert_string_equal(reader->name, "c");
    live_release(live, reader);
    live_remove(live, "c");
    assert_null(acquire("c"));
}

static void releasing_nothing_is_fine(void **state)
{
    (void)state;
    live_release(live, NULL);
    live_free(NULL);
}

static atomic_bool ended;

/* Counts the times it saw a model, which is whole whenever it is there. */
static void *read_models(void *ret_seen)
{
    while (!atomic_load(&ended)) {
        struct live_model *model = acquire("web");
        if (!model)
            continue;
        assert_int_equal(model->state, LIVE_SERVING);
        assert_int_equal(detector_n_features(model->detector), TINY_FEATURES);
        assert_true(model->threshold > 0);
        atomic_fetch_add((atomic_uint *)ret_seen, 1);
        live_release(live, model);
    }
    return NULL;
}

static void threads_read_while_another_reloads(void **state)
{
    (void)state;
    enum {
        N_THREADS = 3
    };
    pthread_t threads[N_THREADS];
    atomic_uint seen[N_THREADS] = {0};

    atomic_store(&ended, false);
    assert_int_equal(load(web(path_a), false, NULL), 0);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_models, &seen[i]), 0);
    for (int i = 0; i < 50 || !seen[0] || !seen[1] || !seen[2]; i++)
        assert_int_equal(load(web(i % 2 ? path_a : path_b), true, NULL), 0);
    atomic_store(&ended, true);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* Without `strict`, a model that does not fit into memory is failed like any other. */
static void survives_every_failed_allocation(void **state)
{
    (void)state;
    bool is_serving = false;

    for (int nth = 0; !is_serving && nth < 10000; nth++) {
        CLEANUP(stats_freep) struct stats *other_stats = NULL;
        CLEANUP(live_freep) struct live *other = NULL;
        const struct live_source model = web(path_a);
        alloc_fail_in = nth;
        int r = stats_new(1, NULL, 0, &other_stats);
        if (r == 0)
            r = live_new(other_stats, &other);
        if (r == 0)
            r = live_load(other, &model, 1, nth % 2, NULL);
        if (r == 0)
            r = live_add(other, &(struct live_source){.name = "beside", .file = path_a}, 1);
        alloc_fail_in = -1;
        assert_true(r == 0 || r == -ENOMEM || (r == -EINVAL && nth % 2));
        if (r < 0)
            continue;
        struct live_model *found = live_acquire(other, "web", 3);
        is_serving = found->state == LIVE_SERVING;
        live_release(other, found);
    }
    assert_true(is_serving);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_of_another_checksum_does_not_serve),
        TEST(who_has_looked_up_a_version_that_went_gets_the_one_in_its_place),
        TEST(what_has_no_successor_cannot_be_held),
        TEST(a_model_serves_with_the_rate_it_was_trained_for),
        TEST(the_configured_rate_comes_first),
        TEST(who_has_said_the_rate_is_known),
        TEST(recent_rows_stay_with_their_file),
        TEST(what_series_leave_goes_on_over_versions),
        TEST(a_rate_that_the_rows_do_not_support_is_marked),
        TEST(a_model_of_format_1_may_rest_on_its_largest_error),
        TEST(another_file_is_another_version),
        TEST(a_reader_keeps_its_model_over_a_reload),
        TEST(a_reload_keeps_a_model_that_would_be_the_same),
        TEST(a_reload_that_fails_remembers_as_many_series_as_before),
        TEST(models_are_added_in_slices_beside_the_others),
        TEST(at_the_start_a_bad_model_fails_alone),
        TEST(a_reload_with_a_bad_model_changes_nothing),
        TEST(a_failed_model_that_was_mended_serves),
        TEST(names_are_matched_exactly),
        TEST(the_only_model_is_found_without_a_name),
        TEST(all_are_listed_by_name),
        TEST(one_that_is_removed_leaves_the_others_and_its_readers),
        TEST(releasing_nothing_is_fine),
        TEST(threads_read_while_another_reloads),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
