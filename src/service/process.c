#include "service/process.h"

#include "base/file.h"
#include "base/text.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_FILE_SIZE ((size_t)16 << 20) /* /proc/stat has a number for every interrupt */

static void write_metric(struct text *text, const char *name, const char *type, const char *help,
                         double value)
{
    text_printf(text, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, type, name);
    text_double(text, value);
    text_puts(text, "\n");
}

static char *read_proc(const char *path)
{
    char *data = NULL;
    size_t size = 0;

    return file_read(path, MAX_FILE_SIZE, &data, &size, NULL) == 0 ? data : NULL;
}

/* When this machine booted, in seconds since 1970; 0: unknown. */
static double read_boot_time(void)
{
    AUTO_FREE char *stat = read_proc("/proc/stat");
    const char *line = stat ? strstr(stat, "\nbtime ") : NULL;

    return line ? strtod(line + sizeof("\nbtime ") - 1, NULL) : 0;
}

/* proc(5): the fields of /proc/self/stat that are used. */
enum stat_field {
    STAT_FIRST = 3, /* of those behind the name */
    STAT_USER_TIME = 14,
    STAT_SYSTEM_TIME = 15,
    STAT_START_TIME = 22,
    STAT_VIRTUAL_BYTES = 23,
    STAT_RESIDENT_PAGES = 24,
    STAT_END
};

/* False: there is no such file, or it ends too soon. */
static bool read_stat(double ret_fields[STAT_END])
{
    AUTO_FREE char *stat = read_proc("/proc/self/stat");
    /* The name in parentheses may hold anything, so what follows counts from the last. */
    const char *at = stat ? strrchr(stat, ')') : NULL;

    for (int field = STAT_FIRST; field < STAT_END; field++) {
        at = at ? strchr(at, ' ') : NULL;
        if (!at)
            return false;
        ret_fields[field] = strtod(++at, NULL); /* the state is a letter: 0, and not used */
    }
    return true;
}

static void write_usage(struct text *text)
{
    const double ticks = (double)sysconf(_SC_CLK_TCK), boot = read_boot_time();
    double stat[STAT_END];

    if (!read_stat(stat))
        return;
    write_metric(text, "process_cpu_seconds_total", "counter",
                 "Total user and system CPU time spent in seconds.",
                 (stat[STAT_USER_TIME] + stat[STAT_SYSTEM_TIME]) / ticks);
    write_metric(text, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
                 stat[STAT_VIRTUAL_BYTES]);
    write_metric(text, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                 stat[STAT_RESIDENT_PAGES] * (double)sysconf(_SC_PAGESIZE));
    if (boot > 0)
        write_metric(text, "process_start_time_seconds", "gauge",
                     "Start time of the process since unix epoch in seconds.",
                     boot + stat[STAT_START_TIME] / ticks);
}

static void write_descriptors(struct text *text)
{
    struct rlimit limit;
    DIR *folder = opendir("/proc/self/fd");
    size_t n = 0;

    if (folder) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): safe on a stream of one's own */
        for (const struct dirent *item; (item = readdir(folder));)
            n += item->d_name[0] != '.';
        (void)closedir(folder);
        write_metric(text, "process_open_fds", "gauge", "Number of open file descriptors.",
                     (double)(n - 1)); /* not the one that counts */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_metric(text, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                     (double)limit.rlim_cur);
}

void process_write_metrics(struct text *text)
{
    write_usage(text);
    write_descriptors(text);
}
