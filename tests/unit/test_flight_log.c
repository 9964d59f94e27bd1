/* The rows around incidents in the store: store/flight_log.h. */
#include "store/flight_log.h"

#include "store/event_log.h"
#include "store/model_log.h"
#include "support/cmocka.h"
#include "support/database_folder.h"

#include <errno.h>
#include <stdlib.h>

#define D 3

static int64_t web;

static int make_model(void **state)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    if (make_database(state) < 0 || model_log_open(database, "web", "[]", "f", &model) < 0)
        return -1;
    web = model.id;
    return 0;
}

static struct logged_event incident_of(uint64_t id)
{
    return (struct logged_event){.id = id, .time_us = 1, .kind = "incident", .is_open = true};
}

/* n rows of the incident from number on; the event too unless it is there. */
static int put(uint64_t id, bool is_new, uint64_t number, size_t n, size_t n_features)
{
    AUTO_FREE struct flight_row *rows = calloc(n + 1, sizeof(*rows));
    AUTO_FREE float *values = calloc(n_features, sizeof(*values));
    char features[] = "[\"a\",\"b\",\"c\"]", rules[] = "[{},{\"direction\":{}}]";
    const struct logged_event event = incident_of(id);
    const struct flight flight = {.incident = id,
                                  .n_left_out = 4,
                                  .n_missing = number,
                                  .features = is_new ? features : NULL,
                                  .rules = is_new ? rules : NULL};
    const struct flight_batch batch = {
        .n_features = n_features, .flights = &flight, .n_flights = 1, .rows = rows, .n_rows = n};

    if (!rows || !values)
        return -ENOMEM;
    values[0] = -0.0F;
    values[1] = 0x1.fffffep-127F; /* denormal */
    values[2] = 1.0F / 3.0F;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct flight_row){.incident = id,
                                      .number = number + i,
                                      .part = FLIGHT_IN,
                                      .time_us = 1000 + i,
                                      .version = 2,
                                      .threshold = 0.1,
                                      .reconstruction_error = 1e-300,
                                      .score = 2.0 / 3.0,
                                      .p_value = 0.1 + 0.2,
                                      .rules = 2,
                                      .has_aside = true,
                                      .values = values};
    return flight_log_put(database, web, &event, is_new, &batch);
}

static int check_row(void *userdata, const struct flight_row *row, size_t n_features)
{
    size_t *n = userdata;

    assert_int_equal(row->number, *n);
    assert_int_equal(n_features, D);
    assert_int_equal(row->part, FLIGHT_IN);
    assert_int_equal(row->version, 2);
    assert_int_equal(row->rules, 2);
    assert_true(row->has_aside);
    assert_true(row->threshold == 0.1 && row->reconstruction_error == 1e-300);
    assert_true(row->score == 2.0 / 3.0 && row->p_value == 0.1 + 0.2);
    const float expected[D] = {-0.0F, 0x1.fffffep-127F, 1.0F / 3.0F};
    assert_memory_equal(row->values, expected, sizeof(expected));
    ++*n;
    return 0;
}

static void rows_come_back_bit_for_bit_and_in_order(void **state)
{
    (void)state;
    struct flight flight = {0};
    size_t n = 0;

    assert_int_equal(put(5, true, 0, 10, D), 0);
    assert_int_equal(put(5, false, 10, 10, D), 0);
    assert_int_equal(flight_log_read(database, 5, check_row, &n), 0);
    assert_int_equal(n, 20);
    assert_int_equal(flight_log_get(database, web, 5, &flight), 0);
    assert_int_equal(flight.n_left_out, 4);
    assert_int_equal(flight.n_missing, 10);
    assert_string_equal(flight.features, "[\"a\",\"b\",\"c\"]");
    assert_string_equal(flight.rules, "[{},{\"direction\":{}}]");
    flight_clear(&flight);
    assert_int_equal(flight_log_get(database, web + 1, 5, &flight), -ENOENT);
    assert_int_equal(flight_log_get(database, web, 6, &flight), -ENOENT);
}

static void all_is_stored_or_nothing(void **state)
{
    (void)state;
    assert_int_equal(put(5, true, 0, 10, D), 0);
    assert_true(put(5, false, 9, 10, D) < 0); /* number 9 is there */
    assert_int_equal(count("SELECT count(*) FROM flight_rows"), 10);
    assert_int_equal(count("SELECT n_missing FROM flights"), 0);
}

static void what_is_told_anew_replaces_what_was_told(void **state)
{
    (void)state;
    struct flight flight = {0};
    char features[] = "[\"a\",\"b\",\"c\"]", rules[] = "[{}]";
    const struct flight anew = {
        .incident = 5, .n_left_out = 9, .n_missing = 8, .features = features, .rules = rules};
    const struct flight_batch batch = {.n_features = D, .flights = &anew, .n_flights = 1};

    assert_int_equal(put(5, true, 0, 3, D), 0);
    assert_int_equal(flight_log_put(database, web, NULL, 0, &batch), 0);
    assert_int_equal(count("SELECT count(*) FROM flight_rows"), 3);
    assert_int_equal(flight_log_get(database, web, 5, &flight), 0);
    assert_int_equal(flight.n_left_out, 9);
    assert_int_equal(flight.n_missing, 8);
    assert_string_equal(flight.rules, "[{}]");
    flight_clear(&flight);
}

static void rows_go_with_their_incident_and_their_model(void **state)
{
    (void)state;
    assert_int_equal(put(5, true, 0, 10, D), 0);
    assert_int_equal(put(6, true, 0, 10, D), 0);
    execute("DELETE FROM events WHERE id = 5");
    assert_int_equal(count("SELECT count(*) FROM flight_rows WHERE incident = 6"), 10);
    assert_int_equal(count("SELECT count(*) FROM flight_rows"), 10);
    assert_int_equal(model_log_delete(database, web), 0);
    assert_int_equal(count("SELECT count(*) FROM flight_rows"), 0);
    assert_int_equal(count("SELECT count(*) FROM flights"), 0);
}

static void rows_of_an_incident_that_is_gone_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(put(5, true, 0, 1, D), 0);
    execute("DELETE FROM events");
    assert_int_equal(put(5, false, 1, 1, D), 0);
    assert_int_equal(count("SELECT count(*) FROM flight_rows"), 0);
    assert_int_equal(count("SELECT count(*) FROM flights"), 0);
}

static void the_oldest_make_room(void **state)
{
    (void)state;
    enum {
        WIDE = 4096,
        N = 512
    };

    for (uint64_t id = 1; id <= 12; id++)
        assert_int_equal(put(id, true, 0, N, WIDE), 0);
    assert_true(count("SELECT sum(bytes) FROM flights") <= FLIGHT_LOG_MOST_BYTES);
    assert_true(count("SELECT sum(length(vector)) FROM flight_rows") <= FLIGHT_LOG_MOST_BYTES);
    assert_in_range(count("SELECT count(*) FROM flights"), 7, 8);
    assert_int_equal(count("SELECT max(incident) FROM flights"), 12);
    assert_int_equal(count("SELECT count(*) FROM events"), 12);
}

static int use_all(void)
{
    struct flight flight = {0};
    static uint64_t id = 100;

    id++;
    int r = put(id, true, 0, 2, D);
    if (r == 0)
        r = flight_log_get(database, web, id, &flight);
    flight_clear(&flight);
    size_t n = 0;
    return r < 0 ? r : flight_log_read(database, id, check_row, &n);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    fail_each_allocation(use_all);
}

#define FLIGHT_TEST(name) cmocka_unit_test_setup_teardown(name, make_model, remove_database)

int main(void)
{
    let_sqlite_allocations_fail();
    const struct CMUnitTest tests[] = {
        FLIGHT_TEST(rows_come_back_bit_for_bit_and_in_order),
        FLIGHT_TEST(all_is_stored_or_nothing),
        FLIGHT_TEST(what_is_told_anew_replaces_what_was_told),
        FLIGHT_TEST(rows_go_with_their_incident_and_their_model),
        FLIGHT_TEST(rows_of_an_incident_that_is_gone_are_left_out),
        FLIGHT_TEST(the_oldest_make_room),
        FLIGHT_TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
