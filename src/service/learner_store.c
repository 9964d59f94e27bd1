/* The store as a whole: whether there is a folder for it, whether it has room, whether it is whole.
 * Whatever becomes of it, scoring goes on. */
#include "base/log.h"
#include "service/learner_state.h"
#include "store/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder ---- */

static int check_writable(const char *path, struct error *reterr)
{
    return access(path, W_OK | X_OK) < 0 ? error_set_errno(reterr, -errno, path, "write to") : 0;
}

int learner_check_directory(const char *path, struct error *reterr)
{
    AUTO_FREE char *parent = strdup(path);
    struct stat status;
    if (!parent)
        return error_set(reterr, -ENOMEM, "out of memory");

    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode) ? check_writable(path, reterr)
                                       : error_set_at(reterr, -ENOTDIR, path, 0, "is no folder");
    if (errno != ENOENT)
        return error_set_errno(reterr, -errno, path, "read");
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') /* what a person has written behind it */
        length--;
    while (length > 1 && parent[length - 1] != '/')
        length--;
    parent[length] = '\0';
    return check_writable(parent, NULL) == 0
               ? 0
               : error_set_at(reterr, -ENOENT, path, 0,
                              "there is no such folder, and user %u cannot make it: make it, "
                              "writable by that user",
                              (unsigned)geteuid());
}

/* One level: a slip of the pen should not become a tree. */
int learner_make_directory(const char *path, struct error *reterr)
{
    const int r = learner_check_directory(path, reterr);
    if (r < 0)
        return r;
    return mkdir(path, 0750) < 0 && errno != EEXIST ? error_set_errno(reterr, -errno, path, "make")
                                                    : 0;
}

/* ---- trouble ---- */

static const char *why(int r)
{
    static const struct {
        int r;
        const char *text;
    } reasons[] = {
        {-ENOSPC,  "too little space is left (min_free, max_size)"},
        {-ENOENT,
         "state.db is gone: it or its -wal was moved, deleted or replaced; put it back, or "
         "restart the daemon"                                     },
        {-EUCLEAN, "state.db is damaged; restart the daemon, which sets it aside and begins with a "
                   "new one"                    },
        {-EAGAIN,  "too many rows are waiting"                    },
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (reasons[i].r == r)
            return reasons[i].text;
    return strerrordesc_np(-r);
}

int learner_store_failed(int r, struct error *reterr)
{
    return error_set(reterr, LEARNER_UNAVAILABLE, "The store failed: %s", why(r));
}

int learner_not_stored(int r, struct error *reterr)
{
    return error_set(reterr, LEARNER_UNAVAILABLE, "The rows were not stored: %s", why(r));
}

bool learner_trouble(struct learner *learner, struct error *ret_why)
{
    const int r = learner_is_damaged(learner) ? -EUCLEAN : atomic_load(&learner->trouble);

    if (r < 0)
        (void)error_set(ret_why, r, "nothing is learned: %s: %s", learner->directory, why(r));
    return r < 0;
}

/* Once for each change. */
static void tell_trouble(struct learner *learner, int r)
{
    if (atomic_exchange(&learner->trouble, r) == r)
        return;
    if (r == 0)
        log_info("%s: rows are stored again", learner->directory);
    else
        log_warning("%s: no rows are stored: %s; scoring goes on", learner->directory, why(r));
}

/* ---- damage ---- */

bool learner_is_damaged(struct learner *learner)
{
    return atomic_load(&learner->is_damaged);
}

/* What is in it cannot be trusted from here on; what has been acknowledged is still there, for
 * whoever repairs it. */
static void found_damage(struct learner *learner, const char *finding)
{
    if (atomic_exchange(&learner->is_damaged, true))
        return;
    log_error("%s", finding);
    const int r = database_mark_damaged(learner->database);
    if (r < 0)
        log_warning("%s: the next start may take state.db for whole: it could not be marked: %s",
                    learner->directory, strerrordesc_np(-r));
    tell_trouble(learner, -EUCLEAN);
}

void learner_note(struct learner *learner, int r)
{
    struct error error;

    if (r != -EUCLEAN)
        return;
    (void)error_set_at(&error, r, learner->directory, 0, "state.db is damaged");
    found_damage(learner, error.text);
}

void learner_stored(struct learner *learner, int r)
{
    learner_note(learner, r);
    if (!learner_is_damaged(learner))
        tell_trouble(learner, r);
}

int learner_check_room(struct learner *learner)
{
    if (learner_is_damaged(learner))
        return -EUCLEAN;
    const uint64_t size = database_size(learner->database);
    if (size == 0)
        return -ENOENT;
    const uint64_t unused = database_free_bytes(learner->database);
    return (size > unused && size - unused > learner->max_size) ||
                   database_room(learner->database) < learner->min_free
               ? -ENOSPC
               : 0;
}

int learner_check_files(struct learner *learner, struct error *reterr)
{
    const int r = database_size(learner->database) == 0 ? -ENOENT : 0;

    if (learner_is_damaged(learner) || (r == 0 && atomic_load(&learner->trouble) != -ENOENT))
        return 0; /* what is damaged is still there, for an act that goes on without it */
    tell_trouble(learner, r);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

static void *check_main(void *userdata)
{
    struct learner *learner = userdata;
    struct error error;

    (void)pthread_setname_np(pthread_self(), "check");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 19); /* of this thread alone */
    const int r = database_check(learner->database, &learner->check_must_stop, &error);
    if (r == 0)
        log_info("%s: state.db was read to its end and is whole", learner->directory);
    else if (r == -EUCLEAN)
        found_damage(learner, error.text);
    else if (r != -ECANCELED)
        log_warning("%s", error.text);
    return NULL;
}

void learner_begin_check(struct learner *learner)
{
    if (learner->has_check)
        return;
    learner->has_check = pthread_create(&learner->check_thread, NULL, check_main, learner) == 0;
    if (!learner->has_check)
        log_warning("%s: state.db is not checked: no thread could be started", learner->directory);
}

void learner_end_check(struct learner *learner)
{
    if (!learner->has_check)
        return;
    __atomic_store_n(&learner->check_must_stop, true, __ATOMIC_RELAXED);
    (void)pthread_join(learner->check_thread, NULL);
    learner->has_check = false;
}
