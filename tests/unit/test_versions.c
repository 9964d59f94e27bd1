#include "service/versions.h"

#include "support/cmocka.h"
#include "support/state_folder.h"

#include <errno.h>

static void make_version(const char *name)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/models/web/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static int make_versions(void **state)
{
    if (make_folder(state) < 0 || mkdir(path_in("models"), 0700) < 0 ||
        mkdir(path_in("models/web"), 0700) < 0)
        return -1;
    make_version("3.safetensors");
    make_version("12.safetensors");
    return 0;
}

static int remove_versions(void **state)
{
    (void)unlink(path_in("models/web/live"));
    (void)unlink(path_in("models/web/3.safetensors"));
    (void)unlink(path_in("models/web/12.safetensors"));
    (void)unlink(path_in("models/web/x.safetensors"));
    (void)rmdir(path_in("models/web"));
    (void)rmdir(path_in("models"));
    return remove_folder(state);
}

static void the_live_version_is_found_by_its_link(void **state)
{
    (void)state;
    char path[VERSIONS_PATH_SIZE], expected[VERSIONS_PATH_SIZE];
    unsigned version = 0;

    assert_int_equal(versions_find_live(folder, "web", path, &version), -ENOENT);
    assert_int_equal(versions_link_live(folder, "web", 3, NULL), 0);
    assert_int_equal(versions_link_live(folder, "web", 12, NULL), 0); /* it moves */
    assert_int_equal(versions_find_live(folder, "web", path, &version), 0);
    assert_int_equal(version, 12);
    assert_int_equal(versions_path(folder, "web", 12, expected), 0);
    assert_string_equal(path, expected);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(versions_find_live(folder, "web", path, &version), -ENOENT);
}

static void a_link_that_is_not_ours_is_not_followed(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "0.safetensors",
        "03.safetensors",
        "3.safetensors.gz",
        "./3.safetensors",
        "-3.safetensors",
        "x.safetensors",
        "3",
        "live",
        "/etc/passwd",
        "../../etc/passwd",
        "99999999999999999999.safetensors",
        "                                                                     3.safetensors",
    };
    char path[VERSIONS_PATH_SIZE] = "";
    unsigned version = 77;

    make_version("x.safetensors");
    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        (void)unlink(path_in("models/web/live"));
        assert_int_equal(symlink(targets[i], path_in("models/web/live")), 0);
        assert_int_equal(versions_find_live(folder, "web", path, &version), -ENOENT);
    }
    assert_int_equal(version, 77);
    assert_string_equal(path, "");
}

static void a_link_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct error error;

    assert_int_equal(versions_link_live(folder, "nobody", 3, &error), -ENOENT);
    assert_non_null(strstr(error.text, "models/nobody/live: cannot link"));
}

static void a_staged_version_has_its_name_only_once_it_is_kept(void **state)
{
    (void)state;
    char path[VERSIONS_PATH_SIZE];
    struct error error;

    for (int sync = 0; sync < 2; sync++) {
        assert_int_equal(versions_path(folder, "web", 7, path), 0);
        assert_int_equal(versions_stage(folder, "web", "bytes", 5, sync, &error), 0);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(versions_sync(folder, &error), 0);
        assert_int_equal(versions_keep_staged(folder, "web", 7, sync, &error), 0);
        assert_int_equal(access(path, R_OK), 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(versions_keep_staged(folder, "web", 7, sync, &error), -ENOENT);
    }
    assert_int_equal(versions_sync("/nowhere", &error), -ENOENT);
    assert_non_null(strstr(error.text, "/nowhere"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_versions, remove_versions)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_live_version_is_found_by_its_link),
        TEST(a_link_that_is_not_ours_is_not_followed),
        TEST(a_link_that_cannot_be_made_is_told),
        TEST(a_staged_version_has_its_name_only_once_it_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
