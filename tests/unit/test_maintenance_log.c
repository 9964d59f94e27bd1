/* Windows of maintenance in the store: store/maintenance_log.h. */
#include "store/maintenance_log.h"

#include "store/model_log.h"
#include "support/cmocka.h"
#include "support/database_folder.h"

#include <errno.h>
#include <stdlib.h>

static int64_t make_model(const char *name)
{
    CLEANUP(logged_model_clear) struct logged_model model = {0};

    assert_int_equal(model_log_open(database, name, "[]", "f", &model), 0);
    return model.id;
}

static int64_t add(int64_t model, uint64_t from_us, uint64_t until_us)
{
    const struct maintenance_window window = {
        .from_us = from_us, .until_us = until_us, .skips_alarms = true, .who = "127.0.0.1"};
    int64_t id = 0;

    assert_int_equal(maintenance_log_add(database, model, &window, 10, &id), 0);
    return id;
}

static size_t count_of(int64_t model)
{
    AUTO_FREE struct maintenance_window *windows = NULL;
    size_t n = 42;

    assert_int_equal(maintenance_log_list(database, model, &windows, &n), 0);
    return n;
}

static void windows_are_listed_by_their_beginning(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");
    AUTO_FREE struct maintenance_window *windows = NULL;
    size_t n = 0;
    const int64_t later = add(web, 50, 60), sooner = add(web, 20, 30);

    assert_int_equal(count_of(mail), 0);
    assert_int_equal(maintenance_log_list(database, web, &windows, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(windows[0].id, sooner);
    assert_int_equal(windows[1].id, later);
    assert_int_equal(windows[1].from_us, 50);
    assert_int_equal(windows[1].until_us, 60);
    assert_true(windows[1].skips_alarms);
    assert_false(windows[1].skips_learning);
    assert_string_equal(windows[1].who, "127.0.0.1");
}

static void one_window_or_all_are_removed(void **state)
{
    (void)state;
    const int64_t web = make_model("web"), mail = make_model("mail");
    const int64_t first = add(web, 20, 30);

    (void)add(web, 20, 30);
    (void)add(web, 20, 30);
    (void)add(mail, 20, 30);
    assert_int_equal(maintenance_log_remove(database, mail, first), -ENOENT);
    assert_int_equal(maintenance_log_remove(database, web, first), 0);
    assert_int_equal(count_of(web), 2);
    assert_int_equal(maintenance_log_remove(database, web, 0), 0);
    assert_int_equal(count_of(web), 0);
    assert_int_equal(maintenance_log_remove(database, web, 0), -ENOENT);
    assert_int_equal(count_of(mail), 1);
}

static void windows_that_are_over_make_room(void **state)
{
    (void)state;
    const int64_t web = make_model("web");
    const struct maintenance_window window = {.from_us = 20, .until_us = 30};
    int64_t id = 7;

    for (int i = 0; i < MAINTENANCE_LOG_MOST; i++)
        (void)add(web, 20, 30);
    assert_int_equal(maintenance_log_add(database, web, &window, 10, &id), -E2BIG);
    assert_int_equal(id, 7);
    assert_int_equal(maintenance_log_add(database, web, &window, 30, &id), 0);
    assert_int_equal(count_of(web), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(windows_are_listed_by_their_beginning),
        DATABASE_TEST(one_window_or_all_are_removed),
        DATABASE_TEST(windows_that_are_over_make_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
