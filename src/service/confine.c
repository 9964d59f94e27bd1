#include "service/confine.h"

#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- limits ---- */

static int fail(struct error *reterr, const char *what)
{
    const int r = -errno;

    return error_set_errno(reterr, r, "the trainer", what);
}

static int die_with_parent(int64_t parent, struct error *reterr)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return fail(reterr, "tie itself to its parent");
    /* It may have died before that. */
    if (getppid() != parent)
        return error_set(reterr, -ESRCH, "the trainer has lost its parent");
    return 0;
}

static int step_back(struct error *reterr)
{
    CLEANUP(close_fd) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "1000", 4) != 4)
        return fail(reterr, "set its oom_score_adj");
    return setpriority(PRIO_PROCESS, 0, 19) < 0 ? fail(reterr, "lower its priority") : 0;
}

static rlim_t smaller(rlim_t a, rlim_t b)
{
    return a < b ? a : b;
}

/* Never above what holds already. */
static int limit(int what, rlim_t soft, rlim_t hard, struct error *reterr)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)what, &limit) < 0)
        return fail(reterr, "read a limit");
    limit.rlim_max = smaller(limit.rlim_max, hard);
    limit.rlim_cur = smaller(limit.rlim_max, soft);
    return setrlimit((__rlimit_resource_t)what, &limit) < 0 ? fail(reterr, "set a limit") : 0;
}

#if defined(__has_feature)
#define HAS_SHADOW (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW 1
#else
#define HAS_SHADOW 0
#endif

static int set_limits(const struct confinement *confinement, struct error *reterr)
{
    const rlim_t memory = confinement->max_memory, cpu = confinement->max_cpu_s;

    int r = limit(RLIMIT_CORE, 0, 0, reterr);
    if (r == 0 && memory > 0 && !HAS_SHADOW)
        r = limit(RLIMIT_AS, memory, memory, reterr);
    if (r == 0 && cpu > 0 && cpu < RLIM_INFINITY - 1) /* a second later SIGKILL */
        r = limit(RLIMIT_CPU, cpu, cpu + 1, reterr);
    return r;
}

/* ---- the filter ---- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef ARCHITECTURE
static int filter_calls(struct error *reterr)
{
    return error_set(reterr, -ENOSYS, "there is no filter of system calls for this processor");
}
#else

/* Refused whatever their arguments are. */
static const unsigned refused[] = {
#ifdef __x86_64__
    /* older forms of what follows */
    SYS_creat, SYS_unlink, SYS_rename, SYS_link, SYS_symlink, SYS_mkdir, SYS_rmdir, SYS_mknod,
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_fork, SYS_vfork,
    SYS_uselib, SYS_ioperm, SYS_iopl, SYS_modify_ldt,
#endif
    /* the network */
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
    /* programs */
    SYS_execve, SYS_execveat,
    /* files and what their names, owners, modes and times are; ioctl sets attributes */
    SYS_openat2, SYS_open_by_handle_at, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_linkat,
    SYS_symlinkat, SYS_mkdirat, SYS_mknodat, SYS_truncate, SYS_fchmod, SYS_fchmodat, SYS_fchown,
    SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr,
    SYS_lremovexattr, SYS_fremovexattr, SYS_ioctl, SYS_quotactl, SYS_quotactl_fd,
    /* memory and queues shared by name */
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl,
    SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_add_key,
    SYS_request_key, SYS_keyctl,
    /* other processes */
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise,
    SYS_process_mrelease, SYS_kcmp, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal,
    SYS_tkill, SYS_setpriority, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setattr,
    SYS_sched_setaffinity, SYS_ioprio_set, SYS_migrate_pages, SYS_move_pages,
    /* mounts and namespaces */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_open_tree,
    SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr,
    /* the kernel */
    SYS_bpf, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_perf_event_open,
    SYS_userfaultfd, SYS_fanotify_init, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct,
    SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime,
    SYS_adjtimex, SYS_syslog};

#define NEWEST_CALL  450 /* of Linux 6.1; numbers from 424 on are alike everywhere */
#define REFUSE       (SECCOMP_RET_ERRNO | EPERM)
#define DO_NOT_KNOW  (SECCOMP_RET_ERRNO | ENOSYS)
#define OPEN_TO_DENY (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

/* Decided by the low half of one argument: where `argument TEST with` holds, then_do, else
 * else_do. */
struct rule {
    unsigned call, argument;
    uint16_t test; /* BPF_JEQ or BPF_JSET */
    uint32_t with, then_do, else_do;
};

struct filter {
    struct sock_filter code[2 * sizeof(refused) / sizeof(*refused) + 64];
    unsigned short n;
};

static void add(struct filter *filter, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
    assert(filter->n < sizeof(filter->code) / sizeof(*filter->code));
    filter->code[filter->n++] =
        (struct sock_filter){.code = code, .jt = if_true, .jf = if_false, .k = k};
}

static void add_load(struct filter *filter, size_t offset)
{
    add(filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void add_return(struct filter *filter, uint32_t action)
{
    add(filter, BPF_RET | BPF_K, action, 0, 0);
}

static void add_rule(struct filter *filter, const struct rule *rule)
{
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, rule->call, 0, 4);
    add_load(filter, offsetof(struct seccomp_data, args) + rule->argument * sizeof(uint64_t));
    add(filter, (uint16_t)(BPF_JMP | rule->test | BPF_K), rule->with, 0, 1);
    add_return(filter, rule->then_do);
    add_return(filter, rule->else_do);
}

static void build(struct filter *filter)
{
    const uint32_t self = (uint32_t)getpid();
    const struct rule rules[] = {
        {SYS_openat,            2, BPF_JSET, OPEN_TO_DENY, REFUSE,            SECCOMP_RET_ALLOW},
#ifdef __x86_64__
        {SYS_open,              1, BPF_JSET, OPEN_TO_DENY, REFUSE,            SECCOMP_RET_ALLOW},
#endif
        {SYS_clone,             0, BPF_JSET, CLONE_THREAD, SECCOMP_RET_ALLOW, REFUSE           },
        {SYS_kill,              0, BPF_JEQ,  self,         SECCOMP_RET_ALLOW, REFUSE           },
        {SYS_tgkill,            0, BPF_JEQ,  self,         SECCOMP_RET_ALLOW, REFUSE           },
        {SYS_rt_sigqueueinfo,   0, BPF_JEQ,  self,         SECCOMP_RET_ALLOW, REFUSE           },
        {SYS_rt_tgsigqueueinfo, 0, BPF_JEQ,  self,         SECCOMP_RET_ALLOW, REFUSE           },
        {SYS_prlimit64,         0, BPF_JEQ,  0,            SECCOMP_RET_ALLOW, REFUSE           },
    };

    add_load(filter, offsetof(struct seccomp_data, arch));
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    add_return(filter, SECCOMP_RET_KILL_PROCESS);
    add_load(filter, offsetof(struct seccomp_data, nr));
    /* Programs live with an older kernel. So the C library falls back from clone3, whose flags a
     * filter cannot see, to clone. */
    add(filter, BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 1, 0);
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
    add_return(filter, DO_NOT_KNOW);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        add(filter, BPF_JMP | BPF_JEQ | BPF_K, refused[i], 0, 1);
        add_return(filter, REFUSE);
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        add_rule(filter, &rules[i]);
    add_return(filter, SECCOMP_RET_ALLOW);
}

/* By prctl(), not by seccomp(): that one may be missing where a service manager filters calls
 * itself. */
static int filter_calls(struct error *reterr)
{
    struct filter filter = {0};

    build(&filter);
    const struct sock_fprog program = {.len = filter.n, .filter = filter.code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        return 0;
    if (errno == EINVAL)
        return error_set(reterr, -ENOSYS, "this kernel has no filter of system calls");
    return fail(reterr, "filter its system calls");
}
#endif

int confine_process(const struct confinement *confinement, struct error *reterr)
{
    assert(confinement);

    int r = die_with_parent(confinement->parent, reterr);
    if (r == 0)
        r = step_back(reterr);
    if (r == 0)
        r = set_limits(confinement, reterr);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = fail(reterr, "give up new privileges");
    return r < 0 ? r : filter_calls(reterr);
}
