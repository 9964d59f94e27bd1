/* The child is this program itself: --train-candidate makes it one, and $TRAINER_FAKE one that
 * behaves badly. */
#include "service/trainer_process.h"

#include "base/clock.h"
#include "base/file.h"
#include "service/trainer_report.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/tiny_model_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_US (60 * US_PER_S) /* sanitizers and busy machines are slow */

static char folder[] = "/tmp/test_trainer_process.XXXXXX";
static float rows[TINY_ROWS * TINY_FEATURES], calibration[TINY_ROWS * TINY_FEATURES];
static struct training_job job;
static int output = -1;
static struct trainer_process *process;
static struct error error;

static const char *path_of(const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    tiny_rows(1, rows, TINY_ROWS);
    tiny_rows(2, calibration, TINY_ROWS);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path_of("start"));
    (void)unlink(path_of("expected"));
    return unlink(path_of("candidate")) || rmdir(folder);
}

static int set_up(void **state)
{
    (void)state;
    job = (struct training_job){
        .recipe = tiny_recipe(1),
        .names = tiny_names,
        .n_features = TINY_FEATURES,
        .rows = rows,
        .n_rows = TINY_ROWS,
    };
    output = open(path_of("candidate"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    error = (struct error){0};
    return output < 0;
}

static int tear_down(void **state)
{
    (void)state;
    trainer_process_free(TAKE(process));
    close_fd(&output);
    return unsetenv("TRAINER_FAKE");
}

static void never_end(void)
{
    job.recipe.epochs = 1000000;
    job.recipe.patience = 0;
}

static void start(const char *program)
{
    if (trainer_process_start(&job, output, program, &process, &error) < 0)
        fail_msg("%s", error.text);
}

static void start_fake(const char *behaviour)
{
    assert_int_equal(setenv("TRAINER_FAKE", behaviour, 1), 0);
    start(NULL);
}

/* What the child says next. */
static struct trainer_status wait_for_report(void)
{
    struct pollfd fd = {.fd = trainer_process_fd(process), .events = POLLIN};

    assert_int_equal(poll(&fd, 1, PATIENCE_US / US_PER_MS), 1);
    return trainer_process_read(process);
}

static struct trainer_status wait_for_end(void)
{
    const uint64_t deadline = clock_monotonic_us() + PATIENCE_US;
    struct trainer_status status = trainer_process_read(process);

    while (status.outcome == TRAINER_RUNNING) {
        assert_true(clock_monotonic_us() < deadline);
        status = wait_for_report();
    }
    return status;
}

static void assert_done(void)
{
    const struct trainer_status status = wait_for_end();

    if (status.outcome != TRAINER_DONE)
        fail_msg("%s", status.reason);
    assert_true(status.done == 1);
}

/* It fails, and the reason holds why. */
static void assert_fails(const char *why)
{
    const struct trainer_status status = wait_for_end();

    assert_int_equal(status.outcome, TRAINER_FAILED);
    if (!strstr(status.reason, why))
        fail_msg("\"%s\", not \"%s\"", status.reason, why);
    assert_int_equal(trainer_process_pid(process), 0);
}

/* Becomes readable when that process, ours or not, has ended. */
static int open_process(int64_t pid)
{
    const int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);

    assert_true(fd >= 0);
    return fd;
}

static void assert_ends(int process_fd)
{
    struct pollfd fd = {.fd = process_fd, .events = POLLIN};

    assert_int_equal(poll(&fd, 1, PATIENCE_US / US_PER_MS), 1);
}

/* ---- the candidate ---- */

/* The candidate is, byte for byte, what a training in this process makes of the job. */
static void assert_same_as_here(void)
{
    CLEANUP(detector_freep) struct detector *begun = NULL, *detector = NULL;
    AUTO_FREE char *want = NULL, *got = NULL;
    size_t want_size = 0, got_size = 0;

    if (job.start)
        assert_int_equal(model_file_load(job.start, &begun, &error), 0);
    const struct trainer_options options = {
        .recipe = job.recipe,
        .n_threads = 1,
        .calibration = job.calibration,
        .n_calibration = job.n_calibration,
        .start = begun,
    };
    assert_int_equal(detector_train(job.rows, job.n_rows, job.names, job.n_features, &options, NULL,
                                    NULL, &detector, &error),
                     0);
    assert_int_equal(model_file_save(detector, path_of("expected"), &error), 0);
    assert_int_equal(file_read(path_of("expected"), 1 << 24, &want, &want_size, &error), 0);
    assert_int_equal(file_read(path_of("candidate"), 1 << 24, &got, &got_size, &error), 0);
    assert_int_equal(got_size, want_size);
    assert_memory_equal(got, want, want_size);
}

static void load_candidate(struct detector **ret_detector)
{
    if (model_file_load(path_of("candidate"), ret_detector, &error) < 0)
        fail_msg("%s", error.text);
}

static void candidate_is_what_a_training_here_makes(void **state)
{
    (void)state;
    start(NULL);
    assert_done();
    assert_same_as_here();
}

static void candidate_of_all_parts_is_what_a_training_here_makes(void **state)
{
    (void)state;
    job.recipe = tiny_recipe_of_all_parts(7);
    job.recipe.false_alarm_rate = 0.01;
    start(NULL);
    assert_done();
    assert_same_as_here();
}

static void calibration_rows_decide_the_threshold(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;

    job.calibration = calibration;
    job.n_calibration = TINY_ROWS - 100;
    start(NULL);
    assert_done();
    assert_same_as_here();
    load_candidate(&detector);
    assert_int_equal(detector_summary(detector)->n_calibration, TINY_ROWS - 100);
}

static void training_begins_warm_when_that_wins(void **state)
{
    (void)state;
    CLEANUP(detector_freep) struct detector *detector = NULL;
    char start_path[64];

    (void)snprintf(start_path, sizeof(start_path), "%s/start", folder);
    save_tiny_model(start_path, 1);
    job.start = start_path;
    job.recipe.epochs = 1; /* a fresh beginning gets nowhere */
    start(NULL);
    assert_done();
    load_candidate(&detector);
    assert_true(detector_summary(detector)->networks[0].is_warm);
    assert_same_as_here();
}

static void a_start_that_cannot_be_read_is_only_a_warning(void **state)
{
    (void)state;
    job.start = "/nonexistent/1.safetensors";
    start(NULL);
    assert_done();
    job.start = NULL;
    assert_same_as_here();
}

static void progress_never_goes_back(void **state)
{
    (void)state;
    double done = 0;
    size_t n_steps = 0;

    never_end();
    start(NULL);
    for (int i = 0; i < 10; i++) {
        const struct trainer_status status = wait_for_report();
        assert_int_equal(status.outcome, TRAINER_RUNNING);
        assert_true(status.done >= done && status.done < 1);
        assert_true(status.epoch > 0 && status.epoch <= status.epochs);
        assert_true(status.network < status.n_networks && status.loss > 0);
        n_steps += status.done > done;
        done = status.done;
    }
    assert_true(n_steps > 0);
}

static void progress_of_a_second_beginning_does_not_count_back(void **state)
{
    (void)state;
    start_fake("backwards");
    assert_fails("that was all");
    assert_true(trainer_process_read(process).done == 0.75);
    assert_int_equal(trainer_process_read(process).epoch, 1);
}

/* ---- what cannot be trained ---- */

static void too_few_rows_fail_with_the_reason(void **state)
{
    (void)state;
    job.n_rows = 3;
    start(NULL);
    assert_fails("rows");
}

static void a_bad_recipe_fails_with_the_reason(void **state)
{
    (void)state;
    job.recipe.latent = 60;
    start(NULL);
    assert_fails("overcomplete");
}

static void a_column_without_values_fails_by_its_name(void **state)
{
    (void)state;
    AUTO_FREE float *missing = malloc(sizeof(rows));

    assert_non_null(missing);
    memcpy(missing, rows, sizeof(rows));
    for (size_t i = 2; i < TINY_ROWS * TINY_FEATURES; i += TINY_FEATURES)
        missing[i] = NAN;
    job.rows = missing;
    start(NULL);
    assert_fails("column c");
}

static void a_full_disk_fails_with_the_reason(void **state)
{
    (void)state;
    close_fd(&output);
    output = open("/dev/full", O_WRONLY | O_CLOEXEC);
    start(NULL);
    assert_fails("No space left on device");
}

/* ---- children that behave badly ---- */

static void a_crash_fails(void **state)
{
    (void)state;
    start_fake("crash");
    assert_fails("was killed by signal 11 (Segmentation fault)");
}

static void a_crash_after_the_candidate_fails(void **state)
{
    (void)state;
    start_fake("crash-late");
    assert_fails("was killed by signal 11");
}

static void a_hang_is_ended_by_free(void **state)
{
    (void)state;
    start_fake("hang");
    CLEANUP(close_fd) int child = open_process(trainer_process_pid(process));
    assert_int_equal(trainer_process_read(process).outcome, TRAINER_RUNNING);
    trainer_process_free(TAKE(process));
    assert_ends(child);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nor a zombie is left */
    assert_int_equal(errno, ECHILD);
}

static void a_training_is_cancelled_by_free(void **state)
{
    (void)state;
    never_end();
    start(NULL);
    (void)wait_for_report();
    CLEANUP(close_fd) int child = open_process(trainer_process_pid(process));
    trainer_process_free(TAKE(process));
    assert_ends(child);
}

static void kill_9_fails_and_suspects_the_memory(void **state)
{
    (void)state;
    never_end();
    start(NULL);
    (void)wait_for_report();
    assert_int_equal(kill((pid_t)trainer_process_pid(process), SIGKILL), 0);
    assert_fails("was killed by signal 9 (out of memory?)");
}

static void too_little_memory_fails_with_the_reason(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP_TEST("the sanitizer needs more address space than a limit leaves");
#endif
    job.recipe = tiny_recipe_of_all_parts(1);
    job.max_memory = 1 << 20;
    start(NULL);
    assert_fails("not enough memory");
}

static void too_much_cpu_time_fails_with_the_reason(void **state)
{
    (void)state;
    never_end();
    job.max_cpu_s = 1;
    start(NULL);
    assert_fails("used more than 1 s of CPU time");
}

static void garbage_instead_of_reports_fails(void **state)
{
    (void)state;
    start_fake("garbage");
    assert_fails("said what is not a report: \"?garbage\"");
}

static void a_report_without_end_fails(void **state)
{
    (void)state;
    start_fake("long-line");
    assert_fails("said what is not a report: \"xxx");
}

static void half_a_report_is_none(void **state)
{
    (void)state;
    start_fake("half-line");
    assert_fails("ended without a candidate");
}

static void garbage_as_candidate_does_not_load(void **state)
{
    (void)state;
    struct detector *detector = NULL;

    start_fake("garbage-output");
    assert_done();
    assert_int_equal(model_file_load(path_of("candidate"), &detector, &error), -EINVAL);
}

static void an_end_without_a_candidate_fails(void **state)
{
    (void)state;
    start("/bin/true");
    assert_fails("ended without a candidate");
}

static void an_exit_status_without_reason_is_told(void **state)
{
    (void)state;
    start("/bin/false");
    assert_fails("ended with exit status 1 and gave no reason");
}

static void silence_for_ever_is_ended(void **state)
{
    (void)state;
    start_fake("closes-reports");
    assert_fails("was killed by signal 9");
}

static void a_program_that_is_not_there_is_told_at_once(void **state)
{
    (void)state;
    assert_int_equal(trainer_process_start(&job, output, "/nonexistent/anomalyd", &process, &error),
                     -ENOENT);
    assert_non_null(strstr(error.text, "/nonexistent/anomalyd: cannot start"));
    assert_null(process);
}

/* ---- what the child is ---- */

/* Of this process, too high for the child's own. */
static size_t count_inheritable(void)
{
    size_t n = 0;

    for (int fd = TRAINER_FD_END; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) == 0;
    return n;
}

static void nothing_of_the_parent_is_handed_on(void **state)
{
    (void)state;
    struct sigaction old;
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    char want[64];

    (void)snprintf(want, sizeof(want), "descriptors above 5: %zu, SIGPIPE ignored: 0",
                   count_inheritable());
    assert_int_equal(sigaction(SIGPIPE, &ignore, &old), 0);
    start_fake("inventory");
    assert_fails(want);
    assert_int_equal(sigaction(SIGPIPE, &old, NULL), 0);
}

/* The value of a line "KEY:\tVALUE" of /proc/PID/status. */
static int read_status(const char *key)
{
    char path[64];
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)trainer_process_pid(process));
    assert_int_equal(file_read(path, 1 << 16, &data, &size, &error), 0);
    const char *line = strstr(data, key);
    assert_non_null(line);
    return (int)strtol(line + strlen(key), NULL, 10);
}

static size_t count_descriptors(const char *path)
{
    DIR *list = opendir(path);
    size_t n = 0;

    assert_non_null(list);
    for (const struct dirent *item; (item = readdir(list));)
        n += item->d_name[0] != '.';
    (void)closedir(list);
    return n;
}

static void child_is_confined_before_it_trains(void **state)
{
    (void)state;
    /* Open and not close-on-exec: the child has to close it. */
    CLEANUP(close_fd) int leak = fcntl(output, F_DUPFD, 40); /* not close-on-exec */
    char path[64];

    never_end();
    start(NULL);
    (void)wait_for_report();
    assert_int_equal(read_status("\nSeccomp:\t"), 2);
    assert_int_equal(read_status("\nNoNewPrivs:\t"), 1);
#ifndef __SANITIZE_THREAD__ /* which has one of its own */
    assert_int_equal(read_status("\nThreads:\t"), 1);
#endif
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)trainer_process_pid(process)), 19);
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)trainer_process_pid(process));
    assert_int_equal(count_descriptors(path), TRAINER_FD_END);
}

/* Starts a training that does not end, tells its process id, and dies when told to. */
static void be_a_parent_that_dies(int say, int hear)
{
    char go;

    never_end();
    if (trainer_process_start(&job, output, NULL, &process, &error) < 0)
        _exit(1);
    struct pollfd fd = {.fd = trainer_process_fd(process), .events = POLLIN};
    (void)poll(&fd, 1, PATIENCE_US / US_PER_MS);
    const int64_t pid = trainer_process_pid(process);
    if (write(say, &pid, sizeof(pid)) != sizeof(pid) || read(hear, &go, 1) != 1)
        _exit(1);
    _exit(0);
}

static void child_dies_with_its_parent(void **state)
{
    (void)state;
    int from[2], to[2], status = -1;
    int64_t pid = 0;

    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    const pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0)
        be_a_parent_that_dies(from[1], to[0]);
    assert_int_equal(read(from[0], &pid, sizeof(pid)), sizeof(pid));
    CLEANUP(close_fd) int child = open_process(pid);
    assert_int_equal(write(to[1], "x", 1), 1);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    assert_ends(child);
    for (int i = 0; i < 2; i++) {
        close_fd(&from[i]);
        close_fd(&to[i]);
    }
}

static void two_trainings_at_once_do_not_mix(void **state)
{
    (void)state;
    struct trainer_process *other = NULL;
    CLEANUP(close_fd) int file = open(path_of("expected"), O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(setenv("TRAINER_FAKE", "hang", 1), 0);
    assert_int_equal(trainer_process_start(&job, file, NULL, &other, &error), 0);
    assert_int_equal(unsetenv("TRAINER_FAKE"), 0);
    start(NULL);
    assert_done();
    assert_int_equal(trainer_process_read(other).outcome, TRAINER_RUNNING);
    trainer_process_free(other);
    assert_same_as_here();
}

/* A person who tries the option finds no job. */
static void without_a_parent_it_says_what_it_is_for(void **state)
{
    (void)state;
    int ends[2], status = -1;
    char said[256] = "";

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        closefrom(3);
        execl("/proc/self/exe", "anomalyd", "--train-candidate", (char *)NULL);
        _exit(200);
    }
    close_fd(&ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILURE);
    assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
    assert_non_null(strstr(said, "--train-candidate is for anomalyd itself\n"));
    close_fd(&ends[0]);
}

/* ---- allocations and descriptors ---- */

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const size_t before = count_descriptors("/proc/self/fd");
    int r = -ENOMEM;

    for (int nth = 0; r == -ENOMEM && nth < 1000; nth++) {
        alloc_fail_in = nth;
        r = trainer_process_start(&job, output, "/bin/true", &process, &error);
        alloc_fail_in = -1;
        if (r < 0)
            assert_int_equal(count_descriptors("/proc/self/fd"), before);
    }
    assert_int_equal(r, 0);
    assert_fails("without a candidate");
}

static void no_descriptor_left_is_an_error(void **state)
{
    (void)state;
    struct rlimit old, few;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (rlim_t n = 0; n < 12; n++) {
        few = (struct rlimit){n, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        const int r = trainer_process_start(&job, output, "/bin/true", &process, &error);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (r == 0)
            trainer_process_free(TAKE(process));
        else
            assert_true(r == -EMFILE || r == -EINVAL);
        assert_true(n >= 5 || r < 0);
    }
}

/* ---- the bad children ---- */

static void tell(const char *line)
{
    if (write(TRAINER_FD_REPORTS, line, strlen(line)) < 0)
        _exit(100);
}

static void tell_progress(double done)
{
    char line[256];

    (void)snprintf(line, sizeof(line),
                   "{\"report\": \"progress\", \"done\": %g, \"network\": 0, \"networks\": 1, "
                   "\"epoch\": 1, \"epochs\": 9, \"loss\": 1, \"validation_loss\": null}\n",
                   done);
    tell(line);
}

static void crash(void)
{
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would explain it */
    (void)raise(SIGSEGV);
}

static void tell_inventory(void)
{
    struct sigaction pipe_action;
    char line[256];
    size_t n = 0;

    for (int fd = TRAINER_FD_END; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    (void)sigaction(SIGPIPE, NULL, &pipe_action);
    (void)snprintf(line, sizeof(line),
                   "{\"report\": \"error\", \"text\": \"descriptors above 5: %zu, SIGPIPE ignored: "
                   "%d\"}\n",
                   n, pipe_action.sa_handler == SIG_IGN);
    tell(line);
}

static void tell_without_end(void)
{
    for (int i = 0; i < 100; i++)
        tell("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    (void)pause();
}

static void crash_late(void)
{
    tell("{\"report\": \"done\"}\n");
    crash();
}

static void hang(void)
{
    (void)pause();
}

static void go_backwards(void)
{
    tell_progress(0.75);
    tell_progress(0.25);
    tell("{\"report\": \"error\", \"text\": \"that was all\"}\n");
}

static void tell_garbage(void)
{
    tell("\001garbage\n{\"report\": \"done\"}\n");
    (void)pause();
}

static void tell_half(void)
{
    tell("{\"report\": \"done\"}");
}

static void write_garbage(void)
{
    if (write(TRAINER_FD_OUTPUT, "garbage", 7) == 7)
        tell("{\"report\": \"done\"}\n");
}

static void close_reports(void)
{
    (void)close(TRAINER_FD_REPORTS);
    (void)pause();
}

static void misbehave(const char *how)
{
    static const struct {
        const char *name;
        void (*act)(void);
    } fakes[] = {
        {"crash",          crash           },
        {"crash-late",     crash_late      },
        {"hang",           hang            },
        {"backwards",      go_backwards    },
        {"garbage",        tell_garbage    },
        {"long-line",      tell_without_end},
        {"half-line",      tell_half       },
        {"garbage-output", write_garbage   },
        {"closes-reports", close_reports   },
        {"inventory",      tell_inventory  },
    };

    for (size_t i = 0; i < sizeof(fakes) / sizeof(*fakes); i++)
        if (strcmp(how, fakes[i].name) == 0)
            fakes[i].act();
    _exit(0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(candidate_is_what_a_training_here_makes),
        TEST(candidate_of_all_parts_is_what_a_training_here_makes),
        TEST(calibration_rows_decide_the_threshold),
        TEST(training_begins_warm_when_that_wins),
        TEST(a_start_that_cannot_be_read_is_only_a_warning),
        TEST(progress_never_goes_back),
        TEST(progress_of_a_second_beginning_does_not_count_back),
        TEST(too_few_rows_fail_with_the_reason),
        TEST(a_bad_recipe_fails_with_the_reason),
        TEST(a_column_without_values_fails_by_its_name),
        TEST(a_full_disk_fails_with_the_reason),
        TEST(a_crash_fails),
        TEST(a_crash_after_the_candidate_fails),
        TEST(a_hang_is_ended_by_free),
        TEST(a_training_is_cancelled_by_free),
        TEST(kill_9_fails_and_suspects_the_memory),
        TEST(too_little_memory_fails_with_the_reason),
        TEST(too_much_cpu_time_fails_with_the_reason),
        TEST(garbage_instead_of_reports_fails),
        TEST(a_report_without_end_fails),
        TEST(half_a_report_is_none),
        TEST(garbage_as_candidate_does_not_load),
        TEST(an_end_without_a_candidate_fails),
        TEST(an_exit_status_without_reason_is_told),
        TEST(silence_for_ever_is_ended),
        TEST(a_program_that_is_not_there_is_told_at_once),
        TEST(nothing_of_the_parent_is_handed_on),
        TEST(child_is_confined_before_it_trains),
        TEST(child_dies_with_its_parent),
        TEST(two_trainings_at_once_do_not_mix),
        TEST(without_a_parent_it_says_what_it_is_for),
        TEST(survives_every_failed_allocation),
        TEST(no_descriptor_left_is_an_error),
    };
    const char *fake = getenv("TRAINER_FAKE");

    if (argc > 1 && strcmp(argv[1], "--train-candidate") == 0) {
        if (fake)
            misbehave(fake);
        trainer_process_child();
    }
    detector_init();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
