#include "service/learner.h"

#include "base/clock.h"
#include "detector/detector.h"
#include "detector/relevance.h"
#include "service/feed.h"
#include "service/learner_state.h"
#include "store/database.h"
#include "store/event_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t learner_next_event(void *userdata)
{
    struct learner *learner = userdata;

    return atomic_fetch_add(&learner->next_event, 1) + 1;
}

/* ---- the models ---- */

struct pupil *learner_find(struct learner *learner, const char *name)
{
    struct pupil *found = NULL;

    (void)pthread_mutex_lock(&learner->lock);
    const size_t i = name_index_find(&learner->index, learner->names, name, strlen(name));
    if (i < learner->n_pupils && !learner->pupils[i]->is_gone)
        found = learner->pupils[i];
    (void)pthread_mutex_unlock(&learner->lock);
    return found;
}

struct pupil *learner_nth(struct learner *learner, size_t i)
{
    (void)pthread_mutex_lock(&learner->lock);
    struct pupil *pupil = i < learner->n_pupils ? learner->pupils[i] : NULL;
    (void)pthread_mutex_unlock(&learner->lock);
    return pupil;
}

struct pupil *learner_need(struct learner *learner, const char *name, struct error *reterr)
{
    struct pupil *pupil = learner_find(learner, name);

    if (!pupil)
        (void)error_set(reterr, LEARNER_NOT_FOUND, "There is no model \"%s\"", name);
    return pupil;
}

/* ---- all of it ---- */

/* Opens the database and ends what a dead process has left in it. */
static int open_database(struct learner *learner, bool survives_power_loss, struct text *ret_notes,
                         struct error *reterr)
{
    uint64_t last_event = 0;

    int r = database_open(learner->directory, survives_power_loss, &learner->database, ret_notes,
                          reterr);
    if (r < 0)
        return r;
    r = model_log_end_runs(learner->database, clock_realtime_us());
    if (r == 0) /* what watched them is gone */
        r = event_log_close(learner->database, 0, "restart", clock_realtime_us());
    if (r == 0)
        r = event_log_last_id(learner->database, &last_event);
    if (r < 0) {
        learner_note(learner, r);
        database_free(TAKE(learner->database));
        return error_set(reterr, r, "%s: %s", learner->directory, strerrordesc_np(-r));
    }
    atomic_store(&learner->next_event, last_event);
    return 0;
}

int learner_new(const struct config *config, struct live *live, struct stats *stats,
                struct learner **ret_learner, struct text *ret_notes, struct error *reterr)
{
    assert(config->storage_directory);
    CLEANUP(learner_freep) struct learner *learner = calloc(1, sizeof(*learner));
    if (!learner)
        return error_set(reterr, -ENOMEM, "out of memory");

    (void)pthread_mutex_init(&learner->create_lock, NULL);
    (void)pthread_mutex_init(&learner->lock, NULL);
    (void)pthread_mutex_init(&learner->run_lock, NULL);
    (void)pthread_cond_init(&learner->has_items, NULL);
    (void)pthread_cond_init(&learner->has_answers, NULL);
    (void)pthread_cond_init(&learner->has_work, NULL);
    (void)pthread_cond_init(&learner->has_acts, NULL);
    STAILQ_INIT(&learner->acts);
    learner->last = &learner->first;
    learner->last_fetched = &learner->fetched;
    learner->live = live;
    learner->stats = stats;
    learner->max_size = config->storage_max_size;
    learner->min_free = config->storage_min_free;
    learner->directory = strdup(config->storage_directory);
    if (!learner->directory)
        return error_set(reterr, -ENOMEM, "out of memory");
    if (detector_workspace_new(&learner->workspace) < 0 || feed_new(&learner->feed) < 0)
        return error_set(reterr, -ENOMEM, "out of memory");
    int r = learner_make_directory(learner->directory, reterr);
    if (r == 0)
        r = open_database(learner, config->survives_power_loss, ret_notes, reterr);
    if (r < 0)
        return r;
    *ret_learner = TAKE(learner);
    return 0;
}

int learner_start(struct learner *learner)
{
    if (pthread_create(&learner->intake_thread, NULL, learner_intake_main, learner) != 0)
        return -EAGAIN;
    learner->has_intake = true;
    if (pthread_create(&learner->runs_thread, NULL, learner_runs_main, learner) != 0)
        return -EAGAIN;
    learner->has_runs = true;
    if (pthread_create(&learner->acts_thread, NULL, learner_acts_main, learner) != 0)
        return -EAGAIN;
    learner->has_acts_thread = true;
    return 0;
}

void learner_settle(struct learner *learner)
{
    bool is_busy;

    do {
        is_busy = learner_acts_turn(learner);
        is_busy = learner_intake_turn(learner) || is_busy;
        is_busy = learner_runs_turn(learner) || is_busy;
    } while (is_busy);
}

void learner_free(struct learner *learner)
{
    if (!learner)
        return;
    (void)pthread_mutex_lock(&learner->lock);
    learner->must_stop = true;
    (void)pthread_cond_broadcast(&learner->has_items);
    (void)pthread_cond_broadcast(&learner->has_acts);
    (void)pthread_mutex_unlock(&learner->lock);
    learner_wake_runs(learner);
    learner_end_check(learner);
    if (learner->has_acts_thread) /* first: an act may wait for intake */
        (void)pthread_join(learner->acts_thread, NULL);
    if (learner->has_runs)
        (void)pthread_join(learner->runs_thread, NULL);
    if (learner->has_intake)
        (void)pthread_join(learner->intake_thread, NULL);
    while (learner_acts_turn(learner) || learner_intake_turn(learner))
        ; /* what came without the threads */
    learner_save_series(learner);
    for (size_t i = 0; i < learner->n_pupils; i++)
        pupil_free(learner->pupils[i]);
    prepare_spec_free(learner->template.prepare);
    free(learner->pupils);
    free(learner->names);
    name_index_clear(&learner->index);
    relevance_release(learner->template.relevance);
    detector_workspace_free(learner->workspace);
    database_free(learner->database);
    feed_free(learner->feed);
    free(learner->directory);
    (void)pthread_cond_destroy(&learner->has_acts);
    (void)pthread_cond_destroy(&learner->has_work);
    (void)pthread_cond_destroy(&learner->has_answers);
    (void)pthread_cond_destroy(&learner->has_items);
    (void)pthread_mutex_destroy(&learner->run_lock);
    (void)pthread_mutex_destroy(&learner->lock);
    (void)pthread_mutex_destroy(&learner->create_lock);
    free(learner);
}
