#include "service/confine.h"

#include "base/file.h"
#include "support/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEWER_CALL 451 /* than the filter's list */

static char path[] = "/tmp/test_confine.XXXXXX"; /* a file that is there */
static struct confinement limits;

static int make_file(void **state)
{
    (void)state;
    CLEANUP(close_fd) int fd = mkstemp(path);

    return fd < 0 || write(fd, "text", 4) != 4;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int set_up(void **state)
{
    (void)state;
    limits = (struct confinement){.parent = getpid()};
    return 0;
}

/* Runs job() in a confined child; its status as from waitpid(). No exit(): what a sanitizer does
 * there is refused. */
static int run_confined(int (*job)(void))
{
    struct error error = {0};
    int status = -1;
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (confine_process(&limits, &error) < 0) {
            (void)fprintf(stderr, "%s\n", error.text);
            _exit(200);
        }
        _exit(job());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* job() returns 0, or the number of what went wrong. */
static void assert_confined(int (*job)(void))
{
    const int status = run_confined(job);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Number of the first call that was not refused; 0: all were. */
#define FIRST_ALLOWED(calls) first_allowed(calls, sizeof(calls) / sizeof(*(calls)))

struct call {
    long number, arguments[5];
};

static int first_allowed(const struct call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const long *a = calls[i].arguments;
        errno = 0;
        if (syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4]) != -1 || errno != EPERM) {
            (void)fprintf(stderr, "call %ld: %s\n", calls[i].number, strerrordesc_np(errno));
            return (int)i + 1;
        }
    }
    return 0;
}

/* ---- what is refused ---- */

static int use_network(void)
{
    const struct call calls[] = {
        {SYS_socket,     {AF_INET, SOCK_STREAM}      },
        {SYS_socket,     {AF_UNIX, SOCK_DGRAM}       },
        {SYS_socketpair, {AF_UNIX, SOCK_STREAM}      },
        {SYS_connect,    {0}                         },
        {SYS_bind,       {0}                         },
        {SYS_sendto,     {1, (long)(intptr_t)path, 1}},
    };
    return FIRST_ALLOWED(calls);
}

static void no_sockets(void **state)
{
    (void)state;
    assert_confined(use_network);
}

static int start_programs(void)
{
    char *const arguments[] = {(char[]){"true"}, NULL};
    pid_t pid;

    if (execv("/bin/true", arguments) == 0 || errno != EPERM)
        return 1;
    if (fork() >= 0 || errno != EPERM)
        return 2;
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0)
        return 3;
    struct clone_args fork_arguments = {.exit_signal = SIGCHLD};
    if (syscall(SYS_clone3, &fork_arguments, sizeof(fork_arguments)) >= 0 || errno != ENOSYS)
        return 4;
    return 0;
}

static void no_programs_and_no_forks(void **state)
{
    (void)state;
    assert_confined(start_programs);
}

static int open_for_writing(void)
{
    static const int flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND,
                                O_RDONLY | O_CREAT};

    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        if (open(path, flags[i], 0600) >= 0 || errno != EPERM)
            return (int)i + 1;
    if (open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0 || errno != EPERM)
        return 20;
    if (creat(path, 0600) >= 0 || errno != EPERM)
        return 21;
#ifdef SYS_open
    if (syscall(SYS_open, path, O_WRONLY) >= 0 || errno != EPERM)
        return 22;
#endif
    const struct call others[] = {
        {SYS_openat2, {AT_FDCWD, (long)(intptr_t)path}}
    };
    return FIRST_ALLOWED(others);
}

static void no_file_can_be_opened_for_writing_or_made(void **state)
{
    (void)state;
    struct stat status;

    assert_confined(open_for_writing);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 4); /* nor was it emptied */
}

static int change_names(void)
{
    static const char other[] = "/tmp/test_confine.other";
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    int flags = 0;

    return fd < 0                                                             ? 1
           : unlink(path) == 0 || errno != EPERM                              ? 2
           : rename(path, other) == 0 || errno != EPERM                       ? 3
           : link(path, other) == 0 || errno != EPERM                         ? 4
           : symlink(path, other) == 0 || errno != EPERM                      ? 5
           : mkdir(other, 0700) == 0 || errno != EPERM                        ? 6
           : rmdir("/tmp/test_confine.none") == 0 || errno != EPERM           ? 7
           : chmod(path, 0777) == 0 || errno != EPERM                         ? 8
           : fchmod(fd, 0777) == 0 || errno != EPERM                          ? 9
           : chown(path, getuid(), getgid()) == 0 || errno != EPERM           ? 10
           : fchown(fd, getuid(), getgid()) == 0 || errno != EPERM            ? 11
           : truncate(path, 0) == 0 || errno != EPERM                         ? 12
           : mknod(other, S_IFIFO | 0600, 0) == 0 || errno != EPERM           ? 13
           : futimens(fd, NULL) == 0 || errno != EPERM                        ? 14
           : unlinkat(AT_FDCWD, path, 0) == 0 || errno != EPERM               ? 15
           : renameat(AT_FDCWD, path, AT_FDCWD, other) == 0 || errno != EPERM ? 16
           : ioctl(fd, FIONREAD, &flags) == 0 || errno != EPERM               ? 17
                                                                              : 0;
}

static void no_name_mode_or_time_can_be_changed(void **state)
{
    (void)state;
    assert_confined(change_names);
}

static int touch_others(void)
{
    const pid_t parent = getppid();
    char byte;
    struct iovec here = {&byte, 1}, there = {path, 1};
    struct rlimit files = {1, 1};

    return kill(parent, 0) == 0 || errno != EPERM                                     ? 1
           : kill(-1, 0) == 0 || errno != EPERM                                       ? 2
           : syscall(SYS_tkill, parent, 0) == 0 || errno != EPERM                     ? 3
           : syscall(SYS_tgkill, parent, parent, 0) == 0 || errno != EPERM            ? 4
           : ptrace(PTRACE_ATTACH, parent, NULL, NULL) == 0 || errno != EPERM         ? 5
           : process_vm_readv(parent, &here, 1, &there, 1, 0) >= 0 || errno != EPERM  ? 6
           : process_vm_writev(parent, &here, 1, &there, 1, 0) >= 0 || errno != EPERM ? 7
           : prlimit(parent, RLIMIT_NOFILE, &files, NULL) == 0 || errno != EPERM      ? 8
           : syscall(SYS_pidfd_open, parent, 0) >= 0 || errno != EPERM                ? 9
           : sigqueue(parent, 0, (union sigval){0}) == 0 || errno != EPERM            ? 10
           : setpriority(PRIO_PROCESS, (id_t)parent, 19) == 0 || errno != EPERM       ? 11
                                                                                      : 0;
}

static void other_processes_are_out_of_reach(void **state)
{
    (void)state;
    assert_confined(touch_others);
}

static int call_kernel(void)
{
    const struct call calls[] = {
        {SYS_mount,           {0}                   },
        {SYS_umount2,         {0}                   },
        {SYS_bpf,             {0}                   },
        {SYS_io_uring_setup,  {1}                   },
        {SYS_unshare,         {CLONE_NEWUSER}       },
        {SYS_perf_event_open, {0}                   },
        {SYS_shmget,          {0, 4096, 0600}       },
        {SYS_keyctl,          {0}                   },
        {SYS_chroot,          {(long)(intptr_t) "/"}},
        {SYS_reboot,          {0}                   },
    };
    const int allowed = FIRST_ALLOWED(calls);

    if (allowed)
        return allowed;
    return syscall(NEWER_CALL) == -1 && errno == ENOSYS ? 0 : 100;
}

static void services_of_the_kernel_are_out_of_reach(void **state)
{
    (void)state;
    assert_confined(call_kernel);
}

#ifdef __x86_64__
static int call_as_x32(void)
{
    return syscall(0x40000000 + SYS_getpid) == -1 && errno == ENOSYS ? 0 : 1;
}

static void the_other_numbers_of_x86_64_do_not_exist(void **state)
{
    (void)state;
    assert_confined(call_as_x32);
}
#endif

/* ---- what stays ---- */

static void *add_one(void *number)
{
    ++*(int *)number;
    return NULL;
}

static int compute(void)
{
    pthread_t thread;
    int number = 1;
    char text[4];
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int memory = memfd_create("memory", MFD_CLOEXEC);

    if (fd < 0 || read(fd, text, 4) != 4 || memcmp(text, "text", 4) != 0)
        return 1;
    if (pthread_create(&thread, NULL, add_one, &number) != 0 || pthread_join(thread, NULL) != 0)
        return 2;
    if (number != 2)
        return 3;
    AUTO_FREE char *block = malloc((size_t)64 << 20);
    if (!block)
        return 4;
    memset(block, 1, (size_t)64 << 20);
    return memory >= 0 && write(memory, "x", 1) == 1 && fsync(memory) == 0 ? 0 : 5;
}

static void reading_memory_threads_and_open_descriptors_stay(void **state)
{
    (void)state;
    assert_confined(compute);
}

static int abort_self(void)
{
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

static void it_may_still_abort_itself(void **state)
{
    (void)state;
    const int status = run_confined(abort_self);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- limits ---- */

static int check_place(void)
{
    struct rlimit core;
    char text[16] = "";
    int signal_number = 0;
    CLEANUP(close_fd) int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strcmp(text, "1000\n") != 0)
        return 1;
    errno = 0;
    if (getpriority(PRIO_PROCESS, 0) != 19)
        return 2;
    if (prctl(PR_GET_PDEATHSIG, &signal_number) != 0 || signal_number != SIGKILL)
        return 3;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
        return 4;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 5;
}

static void it_is_last_in_the_queue_and_first_for_the_oom_killer(void **state)
{
    (void)state;
    assert_confined(check_place);
}

static int spin(void)
{
    volatile bool goes_on = true;

    while (goes_on)
        ;
    return 0;
}

static void cpu_time_ends(void **state)
{
    (void)state;
    limits.max_cpu_s = 1;
    const int status = run_confined(spin);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGXCPU);
}

static int allocate(void)
{
    AUTO_FREE char *small = malloc((size_t)1 << 20);
    AUTO_FREE char *large = malloc((size_t)2 << 30);

    return small && !large && errno == ENOMEM ? 0 : 1;
}

static void memory_ends(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP_TEST("the sanitizer needs more address space than a limit leaves");
#endif
    limits.max_memory = (size_t)1 << 30;
    assert_confined(allocate);
}

static int check_lower_limits(void)
{
    struct rlimit cpu;

    return getrlimit(RLIMIT_CPU, &cpu) == 0 && cpu.rlim_max == 50 && cpu.rlim_cur == 50 ? 0 : 1;
}

static void limits_that_are_lower_already_stay(void **state)
{
    (void)state;
    struct error error;
    int status = -1;

    limits.max_cpu_s = 1000;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit low = {50, 50};
        if (setrlimit(RLIMIT_CPU, &low) < 0)
            _exit(200);
        limits.parent = getppid();
        _exit(confine_process(&limits, &error) < 0 ? 201 : check_lower_limits());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- the parent ---- */

static void an_orphan_is_refused(void **state)
{
    (void)state;
    struct error error = {0};
    int status = -1;

    limits.parent = getpid() + 1;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(confine_process(&limits, &error) == -ESRCH && strstr(error.text, "parent") ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_sockets, set_up),
        cmocka_unit_test_setup(no_programs_and_no_forks, set_up),
        cmocka_unit_test_setup(no_file_can_be_opened_for_writing_or_made, set_up),
        cmocka_unit_test_setup(no_name_mode_or_time_can_be_changed, set_up),
        cmocka_unit_test_setup(other_processes_are_out_of_reach, set_up),
        cmocka_unit_test_setup(services_of_the_kernel_are_out_of_reach, set_up),
#ifdef __x86_64__
        cmocka_unit_test_setup(the_other_numbers_of_x86_64_do_not_exist, set_up),
#endif
        cmocka_unit_test_setup(reading_memory_threads_and_open_descriptors_stay, set_up),
        cmocka_unit_test_setup(it_may_still_abort_itself, set_up),
        cmocka_unit_test_setup(it_is_last_in_the_queue_and_first_for_the_oom_killer, set_up),
        cmocka_unit_test_setup(cpu_time_ends, set_up),
        cmocka_unit_test_setup(memory_ends, set_up),
        cmocka_unit_test_setup(limits_that_are_lower_already_stay, set_up),
        cmocka_unit_test_setup(an_orphan_is_refused, set_up),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
