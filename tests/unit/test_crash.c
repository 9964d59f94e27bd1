/* kill -9 at every single change to the files: while the store is upgraded, set aside, and while a
 * version is promoted nothing is half-applied, and the next start is a normal one. */
#include "store/database.h"
#include "store/event_log.h"
#include "store/model_log.h"
#include "store/row_buffer.h"
#include "store/schema.h"

#include "support/cmocka.h"
#include "support/crash.h"
#include "support/schema_1.h"

#define MOST_CHANGES 1000

static int open_it(void)
{
    struct database *database = NULL;
    struct text notes = {0};

    CHILD_CHECK(database_open(folder, false, &database, &notes, NULL) == 0);
    database_free(database);
    text_clear(&notes);
    return 0;
}

static void empty_folder(void)
{
    assert_int_equal(remove_folder(NULL), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static size_t count_set_aside(void)
{
    size_t n = 0;
    DIR *listing = opendir(folder);

    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        n += strncmp(entry->d_name, "state.db.", 9) == 0 &&
             entry->d_name[strlen(entry->d_name) - 1] == 'Z'; /* not its -wal */
    (void)closedir(listing);
    return n;
}

static void an_upgrade_that_dies_anywhere_loses_nothing(void **state)
{
    (void)state;
    bool dies = true;
    int n = 0;

    for (; dies && n < MOST_CHANGES; n++) {
        empty_folder();
        make_file(schema_1, content_1);
        dies = dies_at(n + 1, open_it);
        struct database *database = open_quietly(); /* nothing is set aside */
        assert_int_equal(ask(database, "PRAGMA user_version"), SCHEMA_VERSION);
        assert_int_equal(ask(database, "SELECT count(*) FROM rows WHERE event = 0"), 1000);
        assert_int_equal(ask(database, "SELECT count(*) FROM events WHERE incident = 0"), 1);
        assert_int_equal(ask(database, "SELECT count(*) FROM runs WHERE stored = 0"), 1);
        database_free(database);
    }
    assert_in_range(n, 10, MOST_CHANGES - 1);
}

static void a_database_set_aside_by_one_that_dies_is_kept_whole(void **state)
{
    (void)state;
    static const char *const makes[] = {"PRAGMA user_version = 9999", "DROP TABLE events"};

    for (size_t i = 0; i < 2; i++) {
        bool dies = true;
        int n = 0;
        for (; dies && n < MOST_CHANGES; n++) {
            CLEANUP(text_clear) struct text notes = {0};
            struct database *database = NULL;
            empty_folder();
            make_file(schema_1, makes[i]);
            dies = dies_at(n + 1, open_it);
            assert_int_equal(database_open(folder, false, &database, &notes, NULL), 0);
            assert_int_equal(count_set_aside(), 1); /* once, and no empty one besides */
            assert_int_equal(ask(database, "SELECT count(*) FROM events"), 0);
            database_free(database);
        }
        assert_in_range(n, 4, MOST_CHANGES - 1);
    }
}

static int open_marked(void)
{
    struct database *database = open_quietly();

    CHILD_CHECK(database_mark_damaged(database) == 0);
    database_free(database);
    return open_it();
}

static void a_marked_database_is_set_aside_once_whenever_one_dies(void **state)
{
    (void)state;
    bool dies = true;
    int n = 0;

    for (; dies && n < MOST_CHANGES; n++) {
        CLEANUP(text_clear) struct text notes = {0};
        struct database *database = NULL;
        empty_folder();
        database_free(open_quietly());
        dies = dies_at(n + 1, open_marked);
        assert_int_equal(database_open(folder, false, &database, &notes, NULL), 0);
        assert_in_range(count_set_aside(), 0, 1);
        assert_int_equal(access(path_in("state.db-damaged"), F_OK), -1);
        database_free(database);
    }
    assert_in_range(n, 4, MOST_CHANGES - 1);
}

/* ---- what is written at once ---- */

static int promote(void)
{
    struct database *database = open_quietly();
    const struct logged_version second = {.version = 4, .origin = "retrain"};

    CHILD_CHECK(model_log_add_version(database, 1, &second) == 0);
    CHILD_CHECK(model_log_promote(database, 1, 4, true) == 0);
    database_free(database);
    return 0;
}

static void a_promotion_that_dies_is_there_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    bool dies = true;
    int n = 0;

    for (; dies && n < MOST_CHANGES; n++) {
        CLEANUP(logged_model_clear) struct logged_model model = {0};
        struct logged_version version;
        empty_folder();
        make_file(schema_1, content_1);
        database_free(open_quietly());
        dies = dies_at(n + 1, promote);
        struct database *database = open_quietly();
        assert_int_equal(model_log_open(database, "web", NULL, NULL, &model), 0);
        assert_true(model.live_version == 3 || model.live_version == 4);
        assert_int_equal(model.former_version, model.live_version == 4 ? 3 : 0);
        assert_int_equal(model.pinned_version, model.live_version == 4 ? 4 : 0);
        assert_int_equal(model_log_version(database, 1, model.live_version, &version), 0);
        database_free(database);
    }
    assert_in_range(n, 5, MOST_CHANGES - 1);
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, crash_setup, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_folder(an_upgrade_that_dies_anywhere_loses_nothing),
        in_a_folder(a_database_set_aside_by_one_that_dies_is_kept_whole),
        in_a_folder(a_marked_database_is_set_aside_once_whenever_one_dies),
        in_a_folder(a_promotion_that_dies_is_there_as_a_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
