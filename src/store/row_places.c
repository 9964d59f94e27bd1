#include "store/row_places.h"

#include "base/random.h"
#include "store/database.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>

/* ---- counts ---- */

size_t row_places_rows(const struct row_places *places)
{
    size_t rows = 0;

    for (int role = 0; role < N_BUFFER_ROLES; role++)
        rows += places->in_ring[role] + places->in_reservoir[role];
    return rows;
}

static struct sqlite3_stmt *statement_of(const struct row_places *places, const char *sql)
{
    struct sqlite3_stmt *statement = database_statement(places->database, places->sqlite, sql);

    (void)sqlite3_bind_int64(statement, 1, places->model); /* of every statement here */
    return statement;
}

static int load_counts(struct row_places *places)
{
    struct sqlite3_stmt *statement =
        statement_of(places, "SELECT role, slot > 0, count(*), max(slot) FROM rows WHERE model = ?1"
                             " GROUP BY role, slot > 0");
    int r;

    while ((r = database_step(statement)) > 0) {
        const int64_t role = sqlite3_column_int64(statement, 0);
        const int64_t n = sqlite3_column_int64(statement, 2);
        const bool is_sampled = sqlite3_column_int(statement, 1);
        if (role < 0 || role >= (is_sampled ? N_BUFFER_ROLES : N_ROW_ROLES) ||
            (is_sampled && sqlite3_column_int64(statement, 3) != n)) {
            (void)sqlite3_reset(statement);
            return -EUCLEAN;
        }
        *(is_sampled ? &places->in_reservoir[role] : &places->in_ring[role]) = (size_t)n;
    }
    return r;
}

int row_places_load(struct row_places *places)
{
    int r = load_counts(places);
    if (r < 0)
        return r;

    struct sqlite3_stmt *statement =
        statement_of(places, "SELECT last_number, stored, left_train, left_calibrate, left_gate"
                             " FROM buffers WHERE model = ?1");
    r = database_step(statement);
    if (r <= 0)
        return r;
    places->last_number = (uint64_t)sqlite3_column_int64(statement, 0);
    places->stored = (uint64_t)sqlite3_column_int64(statement, 1);
    for (int role = 0; role < N_BUFFER_ROLES; role++)
        places->left[role] = (uint64_t)sqlite3_column_int64(statement, 2 + role);
    (void)sqlite3_reset(statement);
    return 0;
}

int row_places_save(struct row_places *places)
{
    struct sqlite3_stmt *statement =
        statement_of(places, "INSERT OR REPLACE INTO buffers (model, last_number, stored,"
                             " left_train, left_calibrate, left_gate) VALUES (?, ?, ?, ?, ?, ?)");

    (void)sqlite3_bind_int64(statement, 2, (int64_t)places->last_number);
    (void)sqlite3_bind_int64(statement, 3, (int64_t)places->stored);
    for (int role = 0; role < N_BUFFER_ROLES; role++)
        (void)sqlite3_bind_int64(statement, 4 + role, (int64_t)places->left[role]);
    return database_run(statement);
}

/* ---- the capacity ---- */

static size_t part_of(const struct row_places *places, int role)
{
    const size_t quarter = places->capacity / 4;

    return role == ROW_TRAIN ? places->capacity - 2 * quarter : quarter;
}

static bool is_ring_full(const struct row_places *places, int role)
{
    return places->in_ring[role] > (part_of(places, role) + 1) / 2;
}

/* The role that holds most over its part; there is one over it when all hold more than there is
 * room. */
static int find_fullest(const struct row_places *places)
{
    int fullest = 0;
    int64_t most = INT64_MIN;

    for (int role = 0; role < N_BUFFER_ROLES; role++) {
        const int64_t over = (int64_t)(places->in_ring[role] + places->in_reservoir[role]) -
                             (int64_t)part_of(places, role);
        if (over > most) {
            most = over;
            fullest = role;
        }
    }
    return fullest;
}

/* ---- single rows ---- */

static int run_on_one(struct row_places *places, struct sqlite3_stmt *statement)
{
    const int r = database_run(statement);

    if (r == 0 && sqlite3_changes(places->sqlite) != 1)
        return -EUCLEAN; /* a row is not where it was counted */
    return r;
}

static int move_oldest(struct row_places *places, int role, size_t slot)
{
    struct sqlite3_stmt *statement =
        statement_of(places, "UPDATE rows SET slot = ?3 WHERE id = (SELECT id FROM rows"
                             " WHERE model = ?1 AND role = ?2 AND slot = 0 ORDER BY id LIMIT 1)");

    (void)sqlite3_bind_int(statement, 2, role);
    (void)sqlite3_bind_int64(statement, 3, (int64_t)slot);
    return run_on_one(places, statement);
}

static int delete_oldest(struct row_places *places, int role)
{
    struct sqlite3_stmt *statement =
        statement_of(places, "DELETE FROM rows WHERE id = (SELECT id FROM rows"
                             " WHERE model = ?1 AND role = ?2 AND slot = 0 ORDER BY id LIMIT 1)");

    (void)sqlite3_bind_int(statement, 2, role);
    return run_on_one(places, statement);
}

static int delete_sampled(struct row_places *places, int role, size_t slot)
{
    struct sqlite3_stmt *statement =
        statement_of(places, "DELETE FROM rows WHERE model = ?1 AND role = ?2 AND slot = ?3");

    (void)sqlite3_bind_int(statement, 2, role);
    (void)sqlite3_bind_int64(statement, 3, (int64_t)slot);
    return run_on_one(places, statement);
}

/* The row of this slot has gone: the last one takes it, so that there is no gap. */
static int close_gap(struct row_places *places, int role, size_t slot)
{
    const size_t last = places->in_reservoir[role]--;

    if (slot == last)
        return 0;
    struct sqlite3_stmt *statement = statement_of(
        places, "UPDATE rows SET slot = ?4 WHERE model = ?1 AND role = ?2 AND slot = ?3");
    (void)sqlite3_bind_int(statement, 2, role);
    (void)sqlite3_bind_int64(statement, 3, (int64_t)last);
    (void)sqlite3_bind_int64(statement, 4, (int64_t)slot);
    return run_on_one(places, statement);
}

/* ---- pushing out ---- */

enum draw {
    DRAW_REPLACED,
    DRAW_DROPPED
};

static size_t draw_below(const struct row_places *places, int role, enum draw draw, uint64_t n)
{
    struct random random;

    random_seed(&random, places->seed + places->left[role] * 0x9FB21C651E98DF25 +
                             places->in_reservoir[role] * 0xD6E8FEB86659FD93 +
                             ((uint64_t)role * 2 + draw) * 0xA0761D6478BD642F);
    return random_below(&random, (size_t)n);
}

/* The oldest of the ring joins the reservoir; if that must not grow, by algorithm R: it takes the
 * place of another one, or goes itself. */
static int leave_ring(struct row_places *places, int role, bool may_grow)
{
    places->in_ring[role]--;
    places->left[role]++;
    if (may_grow)
        return move_oldest(places, role, ++places->in_reservoir[role]);

    const size_t drawn = draw_below(places, role, DRAW_REPLACED, places->left[role]);
    if (drawn >= places->in_reservoir[role])
        return delete_oldest(places, role);
    const int r = delete_sampled(places, role, drawn + 1);
    return r < 0 ? r : move_oldest(places, role, drawn + 1);
}

static int drop_sampled(struct row_places *places, int role)
{
    assert(places->in_reservoir[role] > 0);
    const size_t slot = 1 + draw_below(places, role, DRAW_DROPPED, places->in_reservoir[role]);
    const int r = delete_sampled(places, role, slot);
    return r < 0 ? r : close_gap(places, role, slot);
}

/* One more row is in the ring of role. */
static int push_out(struct row_places *places, int role)
{
    for (int r = 0; r == 0;) {
        const bool is_over = row_places_rows(places) > places->capacity;
        const int from = is_over ? find_fullest(places) : role;
        if (is_ring_full(places, from))
            r = leave_ring(places, from, !is_over);
        else if (is_over)
            r = drop_sampled(places, from);
        else
            return 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int push_out_of_fixed(struct row_places *places, int role)
{
    static const size_t most[N_ROW_ROLES] = {
        [ROW_QUARANTINE] = ROW_BUFFER_QUARANTINE,
        [ROW_CONFIRMED] = ROW_BUFFER_CONFIRMED,
        [ROW_ASIDE] = ROW_BUFFER_ASIDE,
    };
    int r = 0;

    while (r == 0 && places->in_ring[role] > most[role]) {
        places->in_ring[role]--;
        r = delete_oldest(places, role);
    }
    return r;
}

static int arrive(struct row_places *places, int role)
{
    places->in_ring[role]++;
    if (role >= N_BUFFER_ROLES)
        return push_out_of_fixed(places, role);
    places->stored++;
    return push_out(places, role);
}

int row_places_insert(struct row_places *places, const struct buffered_row *row, size_t n_features)
{
    struct sqlite3_stmt *statement = statement_of(
        places, "INSERT INTO rows (model, role, number, time_us, is_flagged, is_observed,"
                " is_approved, incident, event, series, vector)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

    (void)sqlite3_bind_int(statement, 2, (int)row->role);
    (void)sqlite3_bind_int64(statement, 3, (int64_t)++places->last_number);
    (void)sqlite3_bind_int64(statement, 4, (int64_t)row->time_us);
    (void)sqlite3_bind_int(statement, 5, row->is_flagged);
    (void)sqlite3_bind_int(statement, 6, row->is_observed);
    (void)sqlite3_bind_int(statement, 7, row->is_approved);
    (void)sqlite3_bind_int64(statement, 8, (int64_t)row->incident);
    (void)sqlite3_bind_int64(statement, 9, (int64_t)row->event);
    (void)sqlite3_bind_text(statement, 10, row->series, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob64(statement, 11, row->values, n_features * sizeof(float),
                              SQLITE_STATIC);
    const int r = database_run(statement);
    return r < 0 ? r : arrive(places, (int)row->role);
}

int row_places_move(struct row_places *places, int64_t id, enum row_role role)
{
    struct sqlite3_stmt *statement = database_statement(places->database, places->sqlite,
                                                        "SELECT role, slot FROM rows WHERE id = ?");

    (void)sqlite3_bind_int64(statement, 1, id);
    int r = database_step(statement);
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    const int old_role = sqlite3_column_int(statement, 0);
    const size_t slot = (size_t)sqlite3_column_int64(statement, 1);
    (void)sqlite3_reset(statement);
    if (old_role < 0 || old_role >= (slot ? N_BUFFER_ROLES : N_ROW_ROLES))
        return -EUCLEAN;

    statement = database_statement(places->database, places->sqlite,
                                   "UPDATE rows SET role = ?2, slot = 0 WHERE id = ?1");
    (void)sqlite3_bind_int64(statement, 1, id);
    (void)sqlite3_bind_int(statement, 2, (int)role);
    r = run_on_one(places, statement);
    if (r == 0 && slot)
        r = close_gap(places, old_role, slot);
    else if (r == 0)
        places->in_ring[old_role]--;
    return r < 0 ? r : arrive(places, (int)role);
}

int row_places_clear(struct row_places *places)
{
    for (int role = 0; role < N_ROW_ROLES; role++)
        places->in_ring[role] = 0;
    for (int role = 0; role < N_BUFFER_ROLES; role++)
        places->in_reservoir[role] = places->left[role] = 0;
    return database_run(statement_of(places, "DELETE FROM rows WHERE model = ?1"));
}
