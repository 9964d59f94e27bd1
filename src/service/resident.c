#include "service/resident.h"

#include "base/checksum.h"
#include "base/file.h"
#include "detector/detector.h"
#include "detector/model_file.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(resident_list, resident);

struct residents {
    pthread_mutex_t lock; /* of all that follows, and of every resident's members */
    pthread_cond_t has_loaded;
    struct resident_list idle; /* the one that goes first at its head */
    struct residents_counts counts;
};

int residents_new(struct residents **ret_residents)
{
    struct residents *residents = calloc(1, sizeof(*residents));
    if (!residents)
        return -ENOMEM;
    (void)pthread_mutex_init(&residents->lock, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&residents->has_loaded, NULL);
    TAILQ_INIT(&residents->idle);
    *ret_residents = residents;
    return 0;
}

void residents_free(struct residents *residents)
{
    if (!residents)
        return;
    assert(residents->counts.n_loaded == 0);
    (void)pthread_cond_destroy(&residents->has_loaded);
    (void)pthread_mutex_destroy(&residents->lock);
    free(residents);
}

/* ---- coming and going, all under the lock ---- */

static void add(struct residents *residents, struct resident *resident, struct detector *detector)
{
    *resident->detector = detector;
    residents->counts.n_loaded++;
    residents->counts.bytes += resident->size;
}

/* Returns the detector, to be freed without the lock. */
static struct detector *take_out(struct residents *residents, struct resident *resident)
{
    if (!resident->detector || !*resident->detector)
        return NULL;
    assert(resident->n_holders == 0);
    TAILQ_REMOVE(&residents->idle, resident, idle);
    residents->counts.n_loaded--;
    residents->counts.bytes -= resident->size;
    return TAKE(*resident->detector);
}

/* It lets go of the lock while it frees: a large one may take a while. */
static void drop(struct residents *residents, struct resident *resident)
{
    struct detector *detector = take_out(residents, resident);

    residents->counts.n_drops++;
    (void)pthread_mutex_unlock(&residents->lock);
    detector_free(detector);
    (void)pthread_mutex_lock(&residents->lock);
}

static void unlock_within_limit(struct residents *residents)
{
    const struct residents_counts *counts = &residents->counts;

    while (counts->limit > 0 && counts->bytes > counts->limit && !TAILQ_EMPTY(&residents->idle))
        drop(residents, TAILQ_FIRST(&residents->idle));
    (void)pthread_mutex_unlock(&residents->lock);
}

void residents_drop_idle(struct residents *residents)
{
    (void)pthread_mutex_lock(&residents->lock);
    while (!TAILQ_EMPTY(&residents->idle))
        drop(residents, TAILQ_FIRST(&residents->idle));
    (void)pthread_mutex_unlock(&residents->lock);
}

void residents_set_limit(struct residents *residents, size_t limit)
{
    (void)pthread_mutex_lock(&residents->lock);
    residents->counts.limit = limit;
    unlock_within_limit(residents);
}

void resident_init(struct residents *residents, struct resident *resident,
                   struct detector **detector, size_t size, const char *file, const char *sha256)
{
    assert(*detector && file && sha256);
    *resident =
        (struct resident){.detector = detector, .file = file, .sha256 = sha256, .size = size};
    (void)pthread_mutex_lock(&residents->lock);
    add(residents, resident, *detector);
    TAILQ_INSERT_TAIL(&residents->idle, resident, idle);
    unlock_within_limit(residents);
}

void resident_clear(struct residents *residents, struct resident *resident)
{
    (void)pthread_mutex_lock(&residents->lock);
    struct detector *detector = take_out(residents, resident);
    (void)pthread_mutex_unlock(&residents->lock);
    detector_free(detector);
    free(TAKE(resident->trouble));
}

/* ---- loading ---- */

static int read_again(const struct resident *resident, struct detector **ret_detector,
                      struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    char sha256[SHA256_HEX_SIZE];
    size_t size = 0;

    int r = file_read(resident->file, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    if (r < 0)
        return r;
    sha256_hex(data, size, sha256);
    if (strcmp(sha256, resident->sha256) != 0)
        return error_set_at(reterr, -EINVAL, resident->file, 0,
                            "is not the file that was loaded before: its SHA-256 is another; "
                            "reload to take it as it is, or restore it from a backup");
    return model_file_parse(resident->file, data, size, ret_detector, reterr);
}

/* Without memory to say so, it is just not said. */
static void note_trouble(struct resident *resident, int r, const struct error *error)
{
    free(TAKE(resident->trouble));
    if (r == 0 || r == -ENOMEM || !(resident->trouble = malloc(sizeof(*error))))
        return;
    *resident->trouble = *error;
}

/* Under the lock, which it lets go of meanwhile. */
static int load(struct residents *residents, struct resident *resident, struct error *reterr)
{
    struct detector *detector = NULL;
    struct error error = {0};

    resident->is_loading = true;
    (void)pthread_mutex_unlock(&residents->lock);
    int r = read_again(resident, &detector, &error);
    (void)pthread_mutex_lock(&residents->lock);
    resident->is_loading = false;
    note_trouble(resident, r, &error);
    if (r < 0) {
        if (reterr)
            *reterr = error;
    } else {
        add(residents, resident, detector);
        TAILQ_INSERT_TAIL(&residents->idle, resident, idle);
        residents->counts.n_loads++;
    }
    (void)pthread_cond_broadcast(&residents->has_loaded);
    return r;
}

int resident_hold(struct residents *residents, struct resident *resident, struct error *reterr)
{
    int r = 0;

    (void)pthread_mutex_lock(&residents->lock);
    while (!*resident->detector && resident->is_loading)
        (void)pthread_cond_wait(&residents->has_loaded, &residents->lock);
    const bool was_loaded = *resident->detector;
    if (!was_loaded)
        r = load(residents, resident, reterr);
    if (r == 0 && resident->n_holders++ == 0)
        TAILQ_REMOVE(&residents->idle, resident, idle);
    if (was_loaded)
        (void)pthread_mutex_unlock(&residents->lock);
    else
        unlock_within_limit(residents);
    return r;
}

void resident_let_go(struct residents *residents, struct resident *resident)
{
    (void)pthread_mutex_lock(&residents->lock);
    assert(resident->n_holders > 0);
    if (--resident->n_holders == 0)
        TAILQ_INSERT_TAIL(&residents->idle, resident, idle);
    unlock_within_limit(residents); /* it may have been over it for want of idle ones */
}

bool resident_is_failing(struct residents *residents, const struct resident *resident,
                         struct error *ret_why)
{
    (void)pthread_mutex_lock(&residents->lock);
    const bool is_failing = resident->trouble;
    if (is_failing && ret_why)
        *ret_why = *resident->trouble;
    (void)pthread_mutex_unlock(&residents->lock);
    return is_failing;
}

struct residents_counts residents_count(struct residents *residents)
{
    (void)pthread_mutex_lock(&residents->lock);
    const struct residents_counts counts = residents->counts;
    (void)pthread_mutex_unlock(&residents->lock);
    return counts;
}
