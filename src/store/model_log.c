#include "store/model_log.h"

#include "store/database.h"
#include "store/query.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void logged_model_clear(struct logged_model *model)
{
    free(model->features);
    free(model->inputs);
    *model = (struct logged_model){0};
}

/* ---- reading models ---- */

#define SELECT_MODELS                                                        \
    "SELECT id, name, fingerprint, features, live_version, former_version, " \
    "pinned_version, last_version, is_frozen, repin, false_alarm_rate, "     \
    "false_alarms_per_day, rows_per_day, observed_s, inputs FROM models "

static void read_model(struct query *query, void *item)
{
    struct logged_model *model = item;

    model->id = query_int(query, 0);
    query_copy_text(query, 1, model->name, sizeof(model->name));
    query_copy_text(query, 2, model->fingerprint, sizeof(model->fingerprint));
    model->features = query_dup_text(query, 3);
    model->live_version = (unsigned)query_int(query, 4);
    model->former_version = (unsigned)query_int(query, 5);
    model->pinned_version = (unsigned)query_int(query, 6);
    model->last_version = (unsigned)query_int(query, 7);
    model->is_frozen = query_int(query, 8) != 0;
    model->repin = query_int(query, 9) != 0;
    model->false_alarm_rate = query_double(query, 10);
    model->false_alarms_per_day = query_double(query, 11);
    model->rows_per_day = query_double(query, 12);
    model->observed_s = query_double(query, 13);
    model->inputs = query_dup_text(query, 14);
}

static void clear_model(void *item)
{
    logged_model_clear(item);
}

static int find_model(struct database *database, const char *name, struct logged_model *ret_model)
{
    CLEANUP(query_end)
    struct query query = query_begin_read(database, SELECT_MODELS "WHERE name = ?");
    query_bind_text(&query, name);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;

    CLEANUP(logged_model_clear) struct logged_model model = {0};
    read_model(&query, &model);
    if (query.r < 0)
        return query.r;
    *ret_model = model;
    model.features = model.inputs = NULL;
    return 0;
}

int model_log_list(struct database *database, struct logged_model **ret_models,
                   size_t *ret_n_models)
{
    assert(database && ret_models && ret_n_models);
    CLEANUP(query_end)
    struct query query = query_begin_read(database, SELECT_MODELS "ORDER BY name");

    return query_list(&query, sizeof(**ret_models), read_model, clear_model, ret_models,
                      ret_n_models);
}

/* ---- making and changing models ---- */

static int add_model(struct database *database, const char *name, const char *features,
                     const char *fingerprint)
{
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "INSERT INTO models (name, features, fingerprint) VALUES (?, ?, ?) "
                  "ON CONFLICT (name) DO NOTHING"); /* another thread was faster */
    query_bind_text(&query, name);
    query_bind_text(&query, features);
    query_bind_text(&query, fingerprint);
    query_run(&query);
    return query_commit(&query);
}

int model_log_open(struct database *database, const char *name, const char *features,
                   const char *fingerprint, struct logged_model *ret_model)
{
    assert(database && name && strlen(name) < MODEL_LOG_NAME_SIZE && ret_model);
    assert(!features || (fingerprint && strlen(fingerprint) < MODEL_LOG_FINGERPRINT_SIZE));

    CLEANUP(logged_model_clear) struct logged_model model = {0};
    int r = find_model(database, name, &model);
    if (r == -ENOENT && features) {
        r = add_model(database, name, features, fingerprint);
        if (r == 0)
            r = find_model(database, name, &model);
    }
    if (r < 0)
        return r;
    if (features && strcmp(model.fingerprint, fingerprint) != 0)
        return -ESTALE;
    *ret_model = model;
    model.features = model.inputs = NULL;
    return 0;
}

int model_log_set_inputs(struct database *database, int64_t model, const char *inputs)
{
    assert(database && inputs);
    CLEANUP(query_end)
    struct query query = query_begin_write(database, "UPDATE models SET inputs = ? WHERE id = ?");
    query_bind_text(&query, inputs);
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

int model_log_set_frozen(struct database *database, int64_t model, bool is_frozen)
{
    assert(database);
    CLEANUP(query_end)
    struct query query =
        query_begin_write(database, "UPDATE models SET is_frozen = ? WHERE id = ?");
    query_bind_int(&query, is_frozen);
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

int model_log_set_repin(struct database *database, int64_t model, bool repin)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(database, "UPDATE models SET repin = ? WHERE id = ?");
    query_bind_int(&query, repin);
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

/* Of two columns of a model. */
static int set_numbers(struct database *database, const char *update, int64_t model, double first,
                       double second)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(database, update);
    query_bind_double(&query, first);
    query_bind_double(&query, second);
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

int model_log_set_rate(struct database *database, int64_t model, double false_alarm_rate,
                       double false_alarms_per_day)
{
    assert(false_alarm_rate >= 0 && false_alarm_rate < 1 && false_alarms_per_day >= 0);
    assert(false_alarm_rate == 0 || false_alarms_per_day == 0);
    return set_numbers(
        database, "UPDATE models SET false_alarm_rate = ?, false_alarms_per_day = ? WHERE id = ?",
        model, false_alarm_rate, false_alarms_per_day);
}

int model_log_set_observed(struct database *database, int64_t model, double rows_per_day,
                           double observed_s)
{
    assert(rows_per_day >= 0 && observed_s >= 0);
    return set_numbers(database, "UPDATE models SET rows_per_day = ?, observed_s = ? WHERE id = ?",
                       model, rows_per_day, observed_s);
}

static int change_features(struct database *database, struct sqlite3 *connection, int64_t model,
                           const char *features, const char *fingerprint)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection, "UPDATE models SET features = ?, fingerprint = ? WHERE id = ?");
    query_bind_text(&query, features);
    query_bind_text(&query, fingerprint);
    query_bind_int(&query, model);
    return query_change(&query);
}

/* As row_buffer_forget() does. */
static int forget_rows(struct database *database, struct sqlite3 *connection, int64_t model)
{
    CLEANUP(query_end)
    struct query rows = query_begin(database, connection, "DELETE FROM rows WHERE model = ?");
    query_bind_int(&rows, model);
    const int r = query_run(&rows);
    if (r < 0)
        return r;

    CLEANUP(query_end)
    struct query counts = query_begin(
        database, connection,
        "UPDATE buffers SET left_train = 0, left_calibrate = 0, left_gate = 0 WHERE model = ?");
    query_bind_int(&counts, model);
    return query_run(&counts);
}

int model_log_reschema(struct database *database, int64_t model, const char *features,
                       const char *fingerprint)
{
    assert(database && features && fingerprint);
    assert(strlen(fingerprint) < MODEL_LOG_FINGERPRINT_SIZE);
    struct sqlite3 *connection;
    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    r = change_features(database, connection, model, features, fingerprint);
    if (r == 0)
        r = forget_rows(database, connection, model);
    return database_end(database, r);
}

int model_log_delete(struct database *database, int64_t model)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "DELETE FROM models WHERE id = ?"); /* what refers to it goes with it */
    query_bind_int(&query, model);
    query_change(&query);
    return query_commit(&query);
}

/* ---- versions ---- */

int model_log_next_version(struct database *database, int64_t model, unsigned *ret_version)
{
    assert(database && ret_version);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "UPDATE models SET last_version = last_version + 1 WHERE id = ? "
                  "RETURNING last_version");
    query_bind_int(&query, model);
    int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    const unsigned version = (unsigned)query_int(&query, 0);
    r = query_step(&query); /* to its end, else it could not be committed */
    if (r == 0)
        r = query_commit(&query);
    if (r < 0)
        return r;
    *ret_version = version;
    return 0;
}

static int insert_version(struct database *database, struct sqlite3 *connection, int64_t model,
                          const struct logged_version *version)
{
    CLEANUP(query_end)
    struct query number = query_begin(
        database, connection, "UPDATE models SET last_version = max(last_version, ?) WHERE id = ?");
    query_bind_uint(&number, version->version);
    query_bind_int(&number, model);
    const int r = query_change(&number);
    if (r < 0)
        return r;

    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "INSERT INTO versions (model, version, made_us, run, sha256, rows, origin, is_refused) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
    query_bind_int(&query, model);
    query_bind_uint(&query, version->version);
    query_bind_uint(&query, version->made_us);
    query_bind_int(&query, version->run);
    query_bind_text(&query, version->sha256);
    query_bind_uint(&query, version->rows);
    query_bind_text(&query, version->origin);
    query_bind_int(&query, version->is_refused);
    return query_insert(&query);
}

int model_log_add_version(struct database *database, int64_t model,
                          const struct logged_version *version)
{
    assert(database && version && version->version > 0);
    struct sqlite3 *connection;
    const int r = database_write(database, &connection);

    return r < 0 ? r : database_end(database, insert_version(database, connection, model, version));
}

/* 1: *ret_model is the new one; 0: it is there already. */
static int insert_model(struct database *database, struct sqlite3 *connection,
                        const struct logged_adoption *adoption, int64_t *ret_model)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "INSERT INTO models (name, features, fingerprint, live_version, pinned_version) "
        "VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (name) DO NOTHING RETURNING id");
    query_bind_text(&query, adoption->name);
    query_bind_text(&query, adoption->features);
    query_bind_text(&query, adoption->fingerprint);
    query_bind_uint(&query, adoption->version.version);
    int r = query_step(&query);
    if (r <= 0)
        return r;
    const int64_t model = query_int(&query, 0);
    r = query_step(&query); /* to its end, else it could not be committed */
    if (r < 0)
        return r;
    *ret_model = model;
    return 1;
}

int model_log_adopt(struct database *database, const struct logged_adoption *adoptions, size_t n)
{
    assert(database && (adoptions || n == 0));
    struct sqlite3 *connection;
    int64_t model = 0;

    int r = database_write(database, &connection);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r == 0; i++) {
        r = insert_model(database, connection, &adoptions[i], &model);
        if (r > 0)
            r = insert_version(database, connection, model, &adoptions[i].version);
    }
    return database_end(database, r);
}

#define SELECT_VERSIONS \
    "SELECT version, made_us, run, sha256, rows, origin, is_refused FROM versions "

static void read_version(struct query *query, void *item)
{
    struct logged_version *version = item;

    version->version = (unsigned)query_int(query, 0);
    version->made_us = query_uint(query, 1);
    version->run = query_int(query, 2);
    query_copy_text(query, 3, version->sha256, sizeof(version->sha256));
    version->rows = query_uint(query, 4);
    query_copy_text(query, 5, version->origin, sizeof(version->origin));
    version->is_refused = query_int(query, 6) != 0;
}

int model_log_version(struct database *database, int64_t model, unsigned version,
                      struct logged_version *ret_version)
{
    assert(database && ret_version);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, SELECT_VERSIONS "WHERE model = ? AND version = ?");
    query_bind_int(&query, model);
    query_bind_uint(&query, version);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;

    struct logged_version found = {0};
    read_version(&query, &found);
    if (query.r < 0)
        return query.r;
    *ret_version = found;
    return 0;
}

static void clear_version(void *item)
{
    (void)item; /* holds nothing */
}

int model_log_versions(struct database *database, int64_t model,
                       struct logged_version **ret_versions, size_t *ret_n_versions)
{
    assert(database && ret_versions && ret_n_versions);
    CLEANUP(query_end)
    struct query query =
        query_begin_read(database, SELECT_VERSIONS "WHERE model = ? ORDER BY version");
    query_bind_int(&query, model);
    return query_list(&query, sizeof(**ret_versions), read_version, clear_version, ret_versions,
                      ret_n_versions);
}

/* 0, -ENOENT: there is no such version; -EBUSY: it is live, former or pinned. */
static int check_unused(struct database *database, struct sqlite3 *connection, int64_t model,
                        unsigned version)
{
    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "SELECT version IN (live_version, former_version, pinned_version) FROM versions "
        "JOIN models ON id = model WHERE model = ? AND version = ?");
    query_bind_int(&query, model);
    query_bind_uint(&query, version);
    const int r = query_step(&query);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    return query_int(&query, 0) != 0 ? -EBUSY : query.r;
}

static int delete_version(struct database *database, struct sqlite3 *connection, int64_t model,
                          unsigned version)
{
    const int r = check_unused(database, connection, model, version);
    if (r < 0)
        return r;

    CLEANUP(query_end)
    struct query query =
        query_begin(database, connection, "DELETE FROM versions WHERE model = ? AND version = ?");
    query_bind_int(&query, model);
    query_bind_uint(&query, version);
    return query_change(&query);
}

int model_log_remove_version(struct database *database, int64_t model, unsigned version)
{
    assert(database);
    struct sqlite3 *connection;
    const int r = database_write(database, &connection);

    return r < 0 ? r : database_end(database, delete_version(database, connection, model, version));
}

static int switch_version(struct database *database, struct sqlite3 *connection, int64_t model,
                          unsigned version, bool pin)
{
    CLEANUP(query_end)
    struct query kept = query_begin(
        database, connection, "UPDATE versions SET is_refused = 0 WHERE model = ? AND version = ?");
    query_bind_int(&kept, model);
    query_bind_uint(&kept, version);
    const int r = query_change(&kept);
    if (r < 0)
        return r;

    CLEANUP(query_end)
    struct query query = query_begin(
        database, connection,
        "UPDATE models SET live_version = ?1, pinned_version = iif(?2, ?1, pinned_version), "
        "former_version = iif(live_version = ?1, former_version, live_version) WHERE id = ?3");
    query_bind_uint(&query, version);
    query_bind_int(&query, pin);
    query_bind_int(&query, model);
    return query_change(&query);
}

int model_log_promote(struct database *database, int64_t model, unsigned version, bool pin)
{
    assert(database);
    struct sqlite3 *connection;
    const int r = database_write(database, &connection);

    return r < 0
               ? r
               : database_end(database, switch_version(database, connection, model, version, pin));
}

int model_log_pin(struct database *database, int64_t model, unsigned version)
{
    assert(database);
    CLEANUP(query_end)
    struct query query = query_begin_write(
        database, "UPDATE models SET pinned_version = ?2 WHERE id = ?1 AND EXISTS "
                  "(SELECT 1 FROM versions WHERE model = ?1 AND version = ?2)");
    query_bind_int(&query, model);
    query_bind_uint(&query, version);
    query_change(&query);
    return query_commit(&query);
}
