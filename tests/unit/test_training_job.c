#include "service/training_job.h"

#include "base/file.h"
#include "base/text.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char *const names[] = {"cpu", "größe \"x\""};
static const float rows[] = {1, 2, 3, 4, 5, 6}, calibration[] = {7, 8};
static struct training_job job;
static struct mapped_job mapped;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    job = (struct training_job){
        .names = names, .n_features = 2, .rows = rows, .n_rows = 3, .max_memory = 1 << 20};
    recipe_init(&job.recipe);
    mapped = (struct mapped_job){0};
    error = (struct error){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    training_job_unmap(&mapped);
    return 0;
}

static void pass_on(void)
{
    CLEANUP(close_fd) int fd = -1;

    assert_int_equal(training_job_pack(&job, &fd, &error), 0);
    assert_int_equal(training_job_map(fd, &mapped, &error), 0);
}

/* ---- what is passed on ---- */

static void names_and_rows_arrive(void **state)
{
    (void)state;
    pass_on();
    assert_int_equal(mapped.job.n_features, 2);
    assert_string_equal(mapped.job.names[0], "cpu");
    assert_string_equal(mapped.job.names[1], "größe \"x\"");
    assert_int_equal(mapped.job.n_rows, 3);
    assert_memory_equal(mapped.job.rows, rows, sizeof(rows));
    assert_null(mapped.job.calibration);
    assert_int_equal(mapped.job.n_calibration, 0);
    assert_null(mapped.job.start);
    assert_int_equal(mapped.parent, getpid());
}

static void calibration_start_and_limits_arrive(void **state)
{
    (void)state;
    job.calibration = calibration;
    job.n_calibration = 1;
    job.start = "/var/lib/ünï/1.safetensors";
    job.max_cpu_s = 3600;
    pass_on();
    assert_int_equal(mapped.job.n_calibration, 1);
    assert_memory_equal(mapped.job.rows, rows, sizeof(rows));
    assert_memory_equal(mapped.job.calibration, calibration, sizeof(calibration));
    assert_string_equal(mapped.job.start, job.start);
    assert_int_equal(mapped.job.max_memory, 1 << 20);
    assert_int_equal(mapped.job.max_cpu_s, 3600);
}

static void print(const struct recipe *recipe, struct text *text)
{
    for (size_t i = 0; i < recipe_n_fields; i++)
        if (recipe_is_set(recipe, &recipe_fields[i])) {
            text_printf(text, "%s=", recipe_fields[i].name);
            recipe_print(recipe, &recipe_fields[i], text);
            text_puts(text, "\n");
        }
}

static void assert_recipe_arrives(void)
{
    CLEANUP(text_clear) struct text want = {0}, got = {0};

    pass_on();
    print(&job.recipe, &want);
    print(&mapped.job.recipe, &got);
    assert_string_equal(got.data, want.data);
}

static void recipe_of_defaults_arrives(void **state)
{
    (void)state;
    assert_recipe_arrives();
}

static void recipe_with_every_option_arrives(void **state)
{
    (void)state;
    static const char *const values[] = {
        "12,4", "tanh", "yes",  "1e-7",   "0.30000000000000004",
        "17",   "fast", "auto", "linear", "9223372036854775807",
        "adam", "mse",
    };

    for (size_t i = 0; i < recipe_n_fields; i++) {
        size_t n_set = 0;
        for (size_t j = 0; j < sizeof(values) / sizeof(*values); j++)
            n_set += recipe_set(&job.recipe, &recipe_fields[i], values[j], &error) == 0;
        if (recipe_fields[i].kind != RECIPE_CHOICE)
            assert_true(n_set > 0);
    }
    assert_recipe_arrives();
}

static void no_rows_are_no_rows(void **state)
{
    (void)state;
    job.n_rows = 0;
    pass_on();
    assert_int_equal(mapped.job.n_rows, 0);
}

static void memory_is_sealed_and_closed_on_exec(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = -1;

    assert_int_equal(training_job_pack(&job, &fd, &error), 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), ALL_SEALS);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), -1);
}

/* ---- what is not a job ---- */

/* A sealed memfd of these bytes is refused, and the reason holds why. */
static void assert_refused(const void *bytes, size_t size, const char *why)
{
    CLEANUP(close_fd) int fd = memfd_create("job", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, ALL_SEALS), 0);
    assert_int_equal(training_job_map(fd, &mapped, &error), -EINVAL);
    if (!strstr(error.text, why))
        fail_msg("%s, not %s", error.text, why);
    assert_null(mapped.memory);
}

/* header as the JSON, then n_floats of rows. */
static void assert_header_refused(const char *header, size_t n_floats, const char *why)
{
    char bytes[1024] = {0};
    const uint64_t length = 512 - sizeof(length);

    memset(bytes, ' ', 512);
    memcpy(bytes, &length, sizeof(length));
    memcpy(bytes + sizeof(length), header, strlen(header));
    assert_refused(bytes, 512 + n_floats * sizeof(float), why);
}

static void what_is_not_sealed_is_refused(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = memfd_create("job", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(training_job_map(fd, &mapped, &error), -EINVAL);
    assert_non_null(strstr(error.text, "sealed"));
    assert_int_equal(training_job_map(-1, &mapped, &error), -EINVAL);
}

static void damaged_bytes_are_refused(void **state)
{
    (void)state;
    const uint64_t lengths[] = {0, 9, UINT64_MAX};

    assert_refused("", 0, "too short");
    assert_refused("1234567", 7, "too short");
    assert_refused(&lengths[1], 8, "cut short");
    assert_refused(&lengths[2], 8, "cut short");
    assert_refused(&lengths[0], 8, "'['");
    assert_header_refused("{\"features\": [\"a\"]", 0, "expected");
}

#define LIMITS ", \"parent\": 1, \"max_memory\": 0, \"max_cpu_s\": 0"

static void damaged_headers_are_refused(void **state)
{
    (void)state;
    assert_header_refused("{}", 0, "no features");
    assert_header_refused("{\"features\": [1]}", 0, "without a name");
    assert_header_refused("{\"features\": [\"a\"]}", 0, "no recipe");
    assert_header_refused("{\"features\": [\"a\"], \"recipe\": {\"seed\": 1}}", 0, "not text");
    assert_header_refused("{\"features\": [\"a\"], \"recipe\": {\"seed\": \"x\"}}", 0,
                          "seed must be a whole number");
    assert_header_refused("{\"features\": [\"a\"], \"recipe\": {}}", 0, "no limits");
}

static void rows_that_are_not_there_are_refused(void **state)
{
    (void)state;
    static const char *const counts[] = {
        "",
        ", \"rows\": 3, \"calibration_rows\": 0",
        ", \"rows\": 1, \"calibration_rows\": 0",
        ", \"rows\": 2, \"calibration_rows\": 1",
        ", \"rows\": -1, \"calibration_rows\": 3",
        ", \"rows\": 9223372036854775807, \"calibration_rows\": 9223372036854775807",
        ", \"rows\": 2.0, \"calibration_rows\": 0",
    };
    char header[256];

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        (void)snprintf(header, sizeof(header),
                       "{\"features\": [\"a\", \"b\"], \"recipe\": {}" LIMITS "%s}", counts[i]);
        assert_header_refused(header, 4, "rows");
    }
    assert_header_refused("{\"features\": [\"a\", \"b\"], \"recipe\": {}" LIMITS
                          ", \"rows\": 2, \"calibration_rows\": 0}",
                          5, "rows");
}

/* ---- allocations ---- */

/* jansson takes a lack of memory for a broken text here and there, so -EINVAL is let pass. */
static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int nth = 0; r < 0 && nth < 1000; nth++) {
        CLEANUP(close_fd) int fd = -1;
        alloc_fail_in = nth;
        r = training_job_pack(&job, &fd, &error);
        assert_true(r == 0 || r == -ENOMEM);
        if (r == 0)
            r = training_job_map(fd, &mapped, &error);
        alloc_fail_in = -1;
        assert_true(r == 0 || r == -ENOMEM || r == -EINVAL);
    }
    assert_int_equal(r, 0);
    assert_memory_equal(mapped.job.rows, rows, sizeof(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_and_rows_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calibration_start_and_limits_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(recipe_of_defaults_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(recipe_with_every_option_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_rows_are_no_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_is_sealed_and_closed_on_exec, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_sealed_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_bytes_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_headers_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_that_are_not_there_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_every_failed_allocation, set_up, tear_down),
    };

    json_set_alloc_funcs(malloc, free); /* those that fail */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
