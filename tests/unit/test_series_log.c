/* What is remembered of series in the store: store/series_log.h. */
#include "store/series_log.h"

#include "store/model_log.h"
#include "support/cmocka.h"
#include "support/database_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t make_model(const char *name)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    assert_int_equal(model_log_open(database, name, "[]", "f", &model), 0);
    return model.id;
}

struct list {
    struct logged_series *series;
    size_t n;
};

static void list_clear(struct list *list)
{
    for (size_t i = 0; i < list->n; i++)
        logged_series_clear(&list->series[i]);
    free(list->series);
}

static struct list list_of(int64_t model)
{
    struct list list = {.n = 42};

    assert_int_equal(series_log_read(database, model, &list.series, &list.n), 0);
    return list;
}

/* state and movement are borrowed texts; "" stands for none. */
static struct logged_series series_of(const char *name, uint64_t seen_us, const char *state,
                                      const char *movement)
{
    struct logged_series series = {.seen_us = seen_us,
                                   .state = *state ? (void *)(uintptr_t)state : NULL,
                                   .n_state = strlen(state),
                                   .movement = *movement ? (void *)(uintptr_t)movement : NULL,
                                   .n_movement = strlen(movement)};

    (void)strcpy(series.series, name);
    return series;
}

static void put(int64_t model, const char *name, uint64_t seen_us, size_t most)
{
    const struct logged_series series = series_of(name, seen_us, "s", "");

    assert_int_equal(series_log_put(database, model, &series, 1, most), 0);
}

static void what_is_put_is_read_back_the_last_seen_last(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");
    char longest[SERIES_NAME_MAX + 1];
    memset(longest, 'x', SERIES_NAME_MAX);
    longest[SERIES_NAME_MAX] = '\0';
    struct logged_series all[] = {series_of("b", 30, "state", "moved"),
                                  series_of("a", UINT64_C(1709292600000000), "", ""),
                                  series_of(longest, 20, "", "m")};

    all[0].is_silent = true;
    assert_int_equal(series_log_put(database, web, all, 3, 10), 0);
    CLEANUP(list_clear) struct list list = list_of(web);
    CLEANUP(list_clear) struct list other = list_of(mail);
    assert_int_equal(other.n, 0);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.series[0].series, longest);
    assert_null(list.series[0].state);
    assert_int_equal(list.series[0].n_movement, 1);
    assert_string_equal(list.series[1].series, "b");
    assert_true(list.series[1].is_silent);
    assert_int_equal(list.series[1].n_state, 5);
    assert_memory_equal(list.series[1].state, "state", 5);
    assert_memory_equal(list.series[1].movement, "moved", 5);
    assert_string_equal(list.series[2].series, "a");
    assert_int_equal(list.series[2].seen_us, UINT64_C(1709292600000000));
    assert_false(list.series[2].is_silent);
    assert_null(list.series[2].state);
    assert_null(list.series[2].movement);
}

static void a_series_takes_the_place_of_what_was_there_of_it(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    struct logged_series series = series_of("a", 5, "state", "moved");

    series.is_silent = true;
    assert_int_equal(series_log_put(database, web, &series, 1, 10), 0);
    series = series_of("a", 6, "", "m");
    assert_int_equal(series_log_put(database, web, &series, 1, 10), 0);
    CLEANUP(list_clear) struct list list = list_of(web);
    assert_int_equal(list.n, 1);
    assert_int_equal(list.series[0].seen_us, 6);
    assert_false(list.series[0].is_silent);
    assert_null(list.series[0].state);
    assert_int_equal(list.series[0].n_movement, 1);
}

static void of_too_many_those_seen_last_stay(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");

    put(mail, "m", 1, 10);
    for (uint64_t i = 0; i < 6; i++)
        put(web, (const char[]){(char)('a' + i), '\0'}, 100 - i, 10);
    put(web, "new", 50, 3);
    CLEANUP(list_clear) struct list list = list_of(web);
    CLEANUP(list_clear) struct list other = list_of(mail);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.series[0].series, "c");
    assert_string_equal(list.series[2].series, "a");
    assert_int_equal(other.n, 1);
    assert_int_equal(series_log_put(database, web, NULL, 0, 1), 0);
    assert_int_equal(count("SELECT count(*) FROM series"), 2);
}

static void with_its_model_they_are_gone(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");

    put(web, "a", 1, 10);
    put(mail, "b", 1, 10);
    execute("DELETE FROM models WHERE name = 'web'");
    CLEANUP(list_clear) struct list list = list_of(web);
    assert_int_equal(list.n, 0);
    assert_int_equal(count("SELECT count(*) FROM series"), 1);
    const struct logged_series series = series_of("a", 1, "", "");
    assert_true(series_log_put(database, web, &series, 1, 10) < 0); /* there is no such model */
}

static void they_are_there_after_a_restart(void **state)
{
    (void)state;
    const int64_t web = make_model("web");

    put(web, "a", 1, 10);
    reopen_database();
    CLEANUP(list_clear) struct list list = list_of(web);
    assert_int_equal(list.n, 1);
    assert_memory_equal(list.series[0].state, "s", 1);
}

static int put_and_read(void)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};
    CLEANUP(list_clear) struct list list = {0};
    const struct logged_series series = series_of("a", 1, "state", "moved");

    int r = model_log_open(database, "web", "[]", "f", &model);
    if (r == 0)
        r = series_log_put(database, model.id, &series, 1, 10);
    if (r == 0)
        r = series_log_read(database, model.id, &list.series, &list.n);
    return r;
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    fail_each_allocation(put_and_read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(what_is_put_is_read_back_the_last_seen_last),
        DATABASE_TEST(a_series_takes_the_place_of_what_was_there_of_it),
        DATABASE_TEST(of_too_many_those_seen_last_stay),
        DATABASE_TEST(with_its_model_they_are_gone),
        DATABASE_TEST(they_are_there_after_a_restart),
        DATABASE_TEST(survives_every_failed_allocation),
    };

    let_sqlite_allocations_fail();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
