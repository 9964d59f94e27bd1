#include "detector/detector.h"
#include "service/learner_state.h"
#include "service/stats.h"

#include "support/cmocka.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_FEATURES 62    /* with it a row costs 760 bytes: 22,075 may come at a time, */
#define LIMIT      22075 /* and a turn takes 5,518 */

static char folder[32];
static char web[] = "web";
static struct stats *stats;
static struct live *live;
static struct learner *learner;
static float *values;
static int n_done;

static int remove_entry(const char *name, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(name);
}

/* A service's learner without its threads; its model has no version yet. */
static int set_up(void **state)
{
    (void)state;
    static struct config_model model;
    static struct config config;
    static char names[N_FEATURES][8];
    const char *pointers[N_FEATURES];
    CLEANUP(text_clear) struct text notes = {0};
    AUTO_FREE struct live_source *sources = calloc(1, sizeof(*sources));
    size_t n_sources = 1;
    struct error error;

    n_done = 0;
    (void)strcpy(folder, "/tmp/test_intake.XXXXXX");
    if (!mkdtemp(folder) || !sources)
        return -1;
    model = (struct config_model){
        .name = web, .learn = CONFIG_LEARN_AUTO, .buffer_rows = 1000, .keep_versions = 10};
    recipe_init(&model.recipe);
    config = (struct config){
        .storage_directory = folder, .storage_max_size = 1 << 30, .models = &model, .n_models = 1};
    *sources = (struct live_source){.name = web};
    for (size_t i = 0; i < N_FEATURES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%zu", i);
        pointers[i] = names[i];
    }
    values = calloc((size_t)LIMIT + 1, N_FEATURES * sizeof(*values));
    if (!values || stats_new(1, NULL, 0, &stats) < 0 || live_new(stats, &live) < 0 ||
        learner_new(&config, live, stats, &learner, &notes, &error) < 0 ||
        learner_prepare(learner, &config, &sources, &n_sources, &notes) < 0 ||
        live_load(live, sources, n_sources, true, &error) < 0 ||
        learner_commit(learner, &config) < 0)
        return -1;
    return learner_set_features(learner, web, pointers, N_FEATURES, &error);
}

static int tear_down(void **state)
{
    (void)state;
    learner_free(learner);
    live_free(live);
    stats_free(stats);
    free(values);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void count_done(void *userdata, int r, const struct error *error)
{
    (void)userdata;
    (void)error;
    assert_int_equal(r, 0);
    n_done++;
}

static int observe(size_t n_rows, struct error *reterr)
{
    return learner_observe(learner, web, values, n_rows, N_FEATURES,
                           &(struct row_times){.time_us = 1}, NULL, count_done, NULL, reterr);
}

static void one_request_brings_no_more_than_is_stored_quickly(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(observe(LIMIT + 1, &error), LEARNER_TOO_LARGE);
    assert_non_null(strstr(error.text, "the limit is 22075 of 62 features"));
    assert_int_equal(observe(LIMIT, &error), 0);
    while (learner_intake_turn(learner))
        ;
    assert_int_equal(n_done, 1);
}

static void a_turn_takes_so_much_and_one_request_at_least(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(observe(2500, &error), 0);
    assert_int_equal(observe(2500, &error), 0);
    assert_int_equal(observe(2500, &error), 0);
    assert_int_equal(observe(20000, &error), 0);
    assert_true(learner_intake_turn(learner));
    assert_int_equal(n_done, 2);
    assert_true(learner_intake_turn(learner));
    assert_int_equal(n_done, 3);
    assert_true(learner_intake_turn(learner));
    assert_int_equal(n_done, 4);
    assert_false(learner_intake_turn(learner));
    assert_int_equal(learner->queued_bytes, 0);
}

static void offer(size_t n_rows)
{
    struct live_model model = {.name = "web", .version = 1, .threshold = 1.0};
    AUTO_FREE struct verdict *verdicts = calloc(n_rows, sizeof(*verdicts));

    assert_non_null(verdicts);
    learner_offer(learner, &model, values, true, verdicts, n_rows, N_FEATURES,
                  &(struct row_times){.time_us = 1}, "");
}

/* Of the thread only its state is there: whoever wakes it says that it works. */
static void scored_rows_gather_and_whoever_waits_wakes_the_thread(void **state)
{
    (void)state;
    struct error error;

    learner->intake = INTAKE_IDLE;
    offer(1);
    assert_int_equal(learner->intake, INTAKE_WORKS);
    learner->intake = INTAKE_GATHERS;
    offer(1);
    offer(1000);
    assert_int_equal(learner->intake, INTAKE_GATHERS);
    assert_int_equal(observe(1, &error), 0);
    assert_int_equal(learner->intake, INTAKE_WORKS);
}

static void many_scored_rows_do_not_wait_for_more(void **state)
{
    (void)state;

    learner->intake = INTAKE_GATHERS;
    offer(LIMIT / 2 + 100); /* an eighth of the queue */
    assert_int_equal(learner->intake, INTAKE_WORKS);
}

/* It is what the workers' lock is held for: items that wait for another turn are the thread's. */
static void what_comes_joins_what_a_turn_has_left(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(observe(2500, &error), 0);
    assert_int_equal(observe(5000, &error), 0);
    assert_true(learner_intake_turn(learner));
    assert_int_equal(n_done, 1);
    assert_null(learner->first);
    assert_int_equal(observe(10, &error), 0);
    assert_true(learner_intake_turn(learner));
    assert_int_equal(n_done, 3);
    assert_false(learner_intake_turn(learner));
    assert_int_equal(learner->queued_bytes, 0);
}

static void hold(struct held_rows *held, size_t n_rows)
{
    struct live_model model = {.name = "web", .version = 1, .threshold = 1.0};
    AUTO_FREE struct verdict *verdicts = calloc(n_rows, sizeof(*verdicts));

    assert_non_null(verdicts);
    learner_hold(learner, held, &model, values, true, verdicts, n_rows, N_FEATURES,
                 &(struct row_times){.time_us = 1}, "");
}

static void held_rows_are_offered_together_or_not_at_all(void **state)
{
    (void)state;
    struct held_rows held = {0};

    hold(&held, 10);
    hold(&held, 10);
    assert_null(learner->first);
    learner_drop_held(&held);
    assert_null(learner->first);
    hold(&held, 10);
    hold(&held, 10);
    learner_offer_held(learner, &held);
    assert_null(held.first);
    assert_non_null(learner->first);
    assert_non_null(learner->first->next);
    assert_null(learner->first->next->next);
    assert_int_equal(learner_find(learner, web)->n_dropped_by_queue, 0);
}

/* But their verdicts can be named in feedback. */
static void rows_that_are_too_many_to_be_held_count_as_dropped(void **state)
{
    (void)state;
    struct held_rows held = {0};
    const struct pupil *pupil = learner_find(learner, web);
    struct live_model model = {.name = "web", .version = 1, .threshold = 1.0};
    const struct verdict named = {.anomaly = true, .event = 7};

    hold(&held, LIMIT);
    hold(&held, LIMIT); /* nearly 32 MiB */
    learner_hold(learner, &held, &model, values, true, &named, 1, N_FEATURES,
                 &(struct row_times){.time_us = 1}, "");
    hold(&held, LIMIT);
    assert_int_equal(pupil->n_dropped_by_queue, 0); /* not yet */
    learner_offer_held(learner, &held);
    assert_int_equal(pupil->n_dropped_by_queue, LIMIT + 1);
    assert_int_equal(pupil->n_verdicts_dropped, 0);
    const struct intake_item *item = learner->first->next->next;
    assert_int_equal(item->n_rows, 1);
    assert_int_equal(item->rows[0].event, 7);
    assert_null(item->values);
    assert_null(item->next);
}

/* Those of one client; its verdicts take what is left. */
static void rows_that_leave_no_room_for_others_count_as_dropped(void **state)
{
    (void)state;
    struct quota quota = {0};
    struct share other = {.quota = &quota};
    struct held_rows held = {.share = {.quota = &quota}};
    const struct pupil *pupil = learner_find(learner, web);
    struct live_model model = {.name = "web", .version = 1, .threshold = 1.0};
    const struct verdict named = {.anomaly = true, .event = 7};

    quota_set_limit(&quota, (size_t)32 << 20);
    assert_true(share_fit(&other, (size_t)15 << 20, QUOTA_WHOLE));
    hold(&held, 100);
    assert_in_range(quota_used(&quota), ((size_t)15 << 20) + 100 * 512,
                    ((size_t)15 << 20) + 100000);
    hold(&held, LIMIT / 2);
    learner_hold(learner, &held, &model, values, true, &named, 1, N_FEATURES,
                 &(struct row_times){.time_us = 1}, "");
    assert_true(share_fit(&other, (size_t)31 << 20, QUOTA_WHOLE));
    hold(&held, 100);
    learner_offer_held(learner, &held);
    assert_int_equal(pupil->n_dropped_by_queue, LIMIT / 2 + 100);
    assert_int_equal(pupil->n_verdicts_dropped, 0);
    assert_int_equal(quota_used(&quota), (size_t)31 << 20);
    held = (struct held_rows){.share = {.quota = &quota}};
    share_clear(&other);
    hold(&held, 1000);
    learner_drop_held(&held);
    assert_int_equal(quota_used(&quota), 0);
}

static void verdicts_that_do_not_fit_are_not_held_either(void **state)
{
    (void)state;
    struct quota quota = {0};
    struct share other = {.quota = &quota};
    struct held_rows held = {.share = {.quota = &quota}};
    const struct pupil *pupil = learner_find(learner, web);
    struct live_model model = {.name = "web", .version = 1, .threshold = 1.0};
    struct verdict named[100] = {0};

    for (size_t i = 0; i < 100; i++)
        named[i] = (struct verdict){.anomaly = true, .event = i + 1};
    quota_set_limit(&quota, (size_t)1 << 20);
    assert_true(share_fit(&other, (size_t)1 << 20, QUOTA_WHOLE));
    learner_hold(learner, &held, &model, values, true, named, 100, N_FEATURES,
                 &(struct row_times){.time_us = 1}, "");
    assert_null(held.first);
    learner_offer_held(learner, &held);
    assert_int_equal(pupil->n_dropped_by_queue, 100);
    assert_int_equal(pupil->n_verdicts_dropped, 100);
    share_clear(&other);
}

static void rows_that_are_not_learned_from_are_not_lost_either(void **state)
{
    (void)state;
    struct held_rows held = {0};
    struct pupil *pupil = learner_find(learner, web);

    atomic_store(&pupil->learn, CONFIG_LEARN_OBSERVE);
    hold(&held, LIMIT);
    hold(&held, LIMIT);
    hold(&held, LIMIT);
    learner_offer_held(learner, &held);
    assert_int_equal(pupil->n_dropped_by_queue, 0);
}

static int note(struct learner *same, void *argument, struct error *reterr)
{
    assert_ptr_equal(same, learner);
    (void)reterr;
    return *(int *)argument;
}

static void note_result(void *userdata, int r, const struct error *error)
{
    (void)error;
    *(int *)userdata = 10 * *(int *)userdata - r;
}

static void acts_are_done_in_their_order(void **state)
{
    (void)state;
    int acts[] = {-1, -2, -3}, results = 0;
    struct error error;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(learner_do(learner, note, &acts[i], note_result, &results, &error), 0);
    assert_int_equal(results, 0);
    learner_settle(learner);
    assert_int_equal(results, 123);
}

#define with_learner(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_learner(one_request_brings_no_more_than_is_stored_quickly),
        with_learner(a_turn_takes_so_much_and_one_request_at_least),
        with_learner(scored_rows_gather_and_whoever_waits_wakes_the_thread),
        with_learner(many_scored_rows_do_not_wait_for_more),
        with_learner(what_comes_joins_what_a_turn_has_left),
        with_learner(held_rows_are_offered_together_or_not_at_all),
        with_learner(rows_that_are_too_many_to_be_held_count_as_dropped),
        with_learner(rows_that_leave_no_room_for_others_count_as_dropped),
        with_learner(verdicts_that_do_not_fit_are_not_held_either),
        with_learner(rows_that_are_not_learned_from_are_not_lost_either),
        with_learner(acts_are_done_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
