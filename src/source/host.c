#include "source/host.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Two tables are the truth: the files and how they are laid out, and the features in them. A
 * sample reads every file once, so that features of one file belong to one moment. */

#define MAX_FILE_SIZE ((size_t)16 << 20) /* /proc/stat has a number for every interrupt */

enum layout {
    LINES,      /* "KEY number number …"; without a key the first line, all of it numbers */
    PAIRS,      /* a line of names and below it a line of values, both behind the same word */
    DISKS,      /* one line a device: major, minor, name, numbers; disks are summed */
    INTERFACES, /* one line a device: "name:", numbers; physical interfaces are summed */
};

enum file {
    STAT,
    LOADAVG,
    MEMINFO,
    VMSTAT,
    DISKSTATS,
    NET_DEV,
    SOCKSTAT,
    SNMP,
    NETSTAT,
    PSI_CPU,
    PSI_IO,
    PSI_MEMORY,
    N_FILES,
};

static const struct {
    const char *path;
    enum layout layout;
    const char *section; /* PAIRS: the word before names and values */
} files[N_FILES] = {
    [STAT] = {"/proc/stat",            LINES,      NULL     },
    [LOADAVG] = {"/proc/loadavg",         LINES,      NULL     },
    [MEMINFO] = {"/proc/meminfo",         LINES,      NULL     },
    [VMSTAT] = {"/proc/vmstat",          LINES,      NULL     },
    [DISKSTATS] = {"/proc/diskstats",       DISKS,      NULL     },
    [NET_DEV] = {"/proc/net/dev",         INTERFACES, NULL     },
    [SOCKSTAT] = {"/proc/net/sockstat",    LINES,      NULL     },
    [SNMP] = {"/proc/net/snmp",        PAIRS,      "Tcp:"   },
    [NETSTAT] = {"/proc/net/netstat",     PAIRS,      "TcpExt:"},
    [PSI_CPU] = {"/proc/pressure/cpu",    LINES,      NULL     },
    [PSI_IO] = {"/proc/pressure/io",     LINES,      NULL     },
    [PSI_MEMORY] = {"/proc/pressure/memory", LINES,      NULL     },
};

enum kind {
    GAUGE, /* the value times scale */
    RATE,  /* its growth times scale, per second */
    SHARE, /* its growth over the growth of all SHARE features: together they are 1 */
};

#define SECTOR 512.0 /* diskstats counts these, whatever the disk uses */
#define KIB    1024.0
#define MS     1e-3
#define US     1e-6

struct feature {
    const char *name;
    enum file file;
    const char *key;     /* first word of the line, name of the value, or the one device to count */
    unsigned int column; /* of the numbers behind the key, from 1; PAIRS have none */
    enum kind kind;
    double scale;
};

static const struct feature table[] = {
    {"cpu_user",             STAT,       "cpu",             1,  SHARE, 1     },
    {"cpu_nice",             STAT,       "cpu",             2,  SHARE, 1     },
    {"cpu_system",           STAT,       "cpu",             3,  SHARE, 1     },
    {"cpu_idle",             STAT,       "cpu",             4,  SHARE, 1     },
    {"cpu_iowait",           STAT,       "cpu",             5,  SHARE, 1     },
    {"cpu_irq",              STAT,       "cpu",             6,  SHARE, 1     },
    {"cpu_softirq",          STAT,       "cpu",             7,  SHARE, 1     },
    {"cpu_steal",            STAT,       "cpu",             8,  SHARE, 1     },
    {"context_switches",     STAT,       "ctxt",            1,  RATE,  1     },
    {"interrupts",           STAT,       "intr",            1,  RATE,  1     },
    {"forks",                STAT,       "processes",       1,  RATE,  1     },
    {"procs_running",        STAT,       "procs_running",   1,  GAUGE, 1     },
    {"procs_blocked",        STAT,       "procs_blocked",   1,  GAUGE, 1     },
    {"load1",                LOADAVG,    NULL,              1,  GAUGE, 1     },
    {"mem_free",             MEMINFO,    "MemFree:",        1,  GAUGE, KIB   },
    {"mem_available",        MEMINFO,    "MemAvailable:",   1,  GAUGE, KIB   },
    {"mem_buffers",          MEMINFO,    "Buffers:",        1,  GAUGE, KIB   },
    {"mem_cached",           MEMINFO,    "Cached:",         1,  GAUGE, KIB   },
    {"mem_dirty",            MEMINFO,    "Dirty:",          1,  GAUGE, KIB   },
    {"mem_writeback",        MEMINFO,    "Writeback:",      1,  GAUGE, KIB   },
    {"mem_anon",             MEMINFO,    "AnonPages:",      1,  GAUGE, KIB   },
    {"mem_slab_unreclaim",   MEMINFO,    "SUnreclaim:",     1,  GAUGE, KIB   },
    {"page_faults",          VMSTAT,     "pgfault",         1,  RATE,  1     },
    {"major_faults",         VMSTAT,     "pgmajfault",      1,  RATE,  1     },
    {"swap_in_pages",        VMSTAT,     "pswpin",          1,  RATE,  1     },
    {"swap_out_pages",       VMSTAT,     "pswpout",         1,  RATE,  1     },
    {"disk_reads",           DISKSTATS,  NULL,              1,  RATE,  1     },
    {"disk_read_bytes",      DISKSTATS,  NULL,              3,  RATE,  SECTOR},
    {"disk_writes",          DISKSTATS,  NULL,              5,  RATE,  1     },
    {"disk_write_bytes",     DISKSTATS,  NULL,              7,  RATE,  SECTOR},
    {"disk_busy",            DISKSTATS,  NULL,              10, RATE,  MS    },
    {"net_rx_bytes",         NET_DEV,    NULL,              1,  RATE,  1     },
    {"net_rx_packets",       NET_DEV,    NULL,              2,  RATE,  1     },
    {"net_rx_errors",        NET_DEV,    NULL,              3,  RATE,  1     },
    {"net_tx_bytes",         NET_DEV,    NULL,              9,  RATE,  1     },
    {"net_tx_packets",       NET_DEV,    NULL,              10, RATE,  1     },
    {"net_tx_errors",        NET_DEV,    NULL,              11, RATE,  1     },
    {"loopback_bytes",       NET_DEV,    "lo:",             1,  RATE,  1     },
    {"loopback_packets",     NET_DEV,    "lo:",             2,  RATE,  1     },
    {"tcp_time_wait",        SOCKSTAT,   "TCP:",            6,  GAUGE, 1     },
    {"tcp_established",      SNMP,       "CurrEstab",       0,  GAUGE, 1     },
    {"tcp_active_opens",     SNMP,       "ActiveOpens",     0,  RATE,  1     },
    {"tcp_passive_opens",    SNMP,       "PassiveOpens",    0,  RATE,  1     },
    {"tcp_retransmits",      SNMP,       "RetransSegs",     0,  RATE,  1     },
    {"tcp_listen_overflows", NETSTAT,    "ListenOverflows", 0,  RATE,  1     },
    {"psi_cpu_some",         PSI_CPU,    "some",            4,  RATE,  US    },
    {"psi_io_some",          PSI_IO,     "some",            4,  RATE,  US    },
    {"psi_memory_some",      PSI_MEMORY, "some",            4,  RATE,  US    },
};

#define N_TABLE (sizeof(table) / sizeof(*table))

struct host_sampler {
    char *root;
    struct text disks;      /* names, a blank between; settled at the start, so that a device */
    struct text interfaces; /* plugged in later does not bring its whole past as one rate */
    size_t n_features;
    const struct feature *features[N_TABLE]; /* [n_features], those that this host has */
    double last[N_TABLE];                    /* [n_features], as read last time */
    uint64_t last_us;
};

static char *join(const char *root, const char *path)
{
    char *joined;

    return asprintf(&joined, "%s%s", root, path) < 0 ? NULL : joined;
}

/* The files as they were at one moment; NULL: this kernel has no such file. */
struct snapshot {
    char *text[N_FILES];
};

static void snapshot_clear(struct snapshot *snapshot)
{
    for (size_t i = 0; i < N_FILES; i++)
        free(snapshot->text[i]);
}

static int snapshot_take(struct snapshot *snapshot, const char *root, struct error *reterr)
{
    for (size_t i = 0; i < N_FILES; i++) {
        AUTO_FREE char *path = join(root, files[i].path);
        if (!path)
            return error_set_errno(reterr, -ENOMEM, files[i].path, "read");

        struct error error; /* an absent file is no error to report */
        size_t size = 0;
        int r = file_read(path, MAX_FILE_SIZE, &snapshot->text[i], &size, &error);
        /* Pressure files of a kernel booted with psi=0 are there but cannot be opened. */
        const bool is_absent = r == -ENOENT || r == -EOPNOTSUPP;
        if (r < 0 && !(is_absent && i != STAT))
            return error_set(reterr, r, "%s", error.text);
    }
    return 0;
}

struct word {
    const char *at; /* NULL: the line has no such word */
    size_t length;
};

static bool word_is(struct word word, const char *string)
{
    return word.at && strlen(string) == word.length && memcmp(word.at, string, word.length) == 0;
}

/* Word n, from 0, of the line that starts at line. */
static struct word word_at(const char *line, size_t n)
{
    for (;;) {
        line += strspn(line, " \t");
        const size_t length = strcspn(line, " \t\n");
        if (length == 0)
            return (struct word){NULL, 0};
        if (n-- == 0)
            return (struct word){line, length};
        line += length;
    }
}

/* The line behind this one, or NULL. */
static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');

    return end && end[1] ? end + 1 : NULL;
}

static const char *find_line(const char *line, const char *first_word)
{
    while (line && first_word && !word_is(word_at(line, 0), first_word))
        line = next_line(line);
    return line;
}

/* What a value is read from, and for whom; carried along for the error message. */
struct reading {
    const struct host_sampler *sampler;
    const struct feature *feature;
    const char *text;
    struct error *reterr;
};

/* The number that is word n of line; "total=17" counts as 17. */
static int read_number(const struct reading *reading, const char *line, size_t n, double *ret_value)
{
    struct word word = word_at(line, n);
    const char *equals = word.at ? memchr(word.at, '=', word.length) : NULL;
    const size_t skip = equals ? (size_t)(equals + 1 - word.at) : 0;

    if (word.at && number_parse_double(word.at + skip, word.length - skip, ret_value) == 0)
        return 0;

    size_t line_number = 1;
    for (const char *at = reading->text; at < line; at++)
        line_number += *at == '\n';
    char path[512];
    (void)snprintf(path, sizeof(path), "%s%s", reading->sampler->root,
                   files[reading->feature->file].path);
    if (!word.at)
        return error_set_at(reading->reterr, -EINVAL, path, line_number,
                            "the line ends before the value for %s", reading->feature->name);
    return error_set_at(reading->reterr, -EINVAL, path, line_number,
                        "'%.*s' is no number, but %s should be here", (int)word.length, word.at,
                        reading->feature->name);
}

static int read_line(const struct reading *reading, double *ret_value)
{
    const struct feature *feature = reading->feature;
    const char *line = find_line(reading->text, feature->key);

    if (!line)
        return -ENOENT;
    return read_number(reading, line, feature->key ? feature->column : feature->column - 1,
                       ret_value);
}

static int read_pair(const struct reading *reading, double *ret_value)
{
    const char *section = files[reading->feature->file].section;
    const char *names = find_line(reading->text, section);
    const char *values = names ? next_line(names) : NULL;

    if (!values || !word_is(word_at(values, 0), section))
        return -ENOENT;
    for (size_t n = 1;; n++) {
        struct word name = word_at(names, n);
        if (!name.at)
            return -ENOENT;
        if (word_is(name, reading->feature->key))
            return read_number(reading, values, n, ret_value);
    }
}

static bool is_listed(const char *list, struct word device)
{
    for (size_t n = 0;; n++) {
        struct word name = word_at(list, n);
        if (!name.at || !device.at)
            return false;
        if (name.length == device.length && memcmp(name.at, device.at, name.length) == 0)
            return true;
    }
}

/* Sums a column over devices; one that is unplugged adds nothing. The name is word name_at. */
static int sum_devices(const struct reading *reading, const char *list, size_t name_at,
                       double *ret_value)
{
    double sum = 0;

    if (reading->feature->key)
        list = reading->feature->key;
    if (!list)
        return -ENOENT;
    for (const char *line = reading->text; line; line = next_line(line)) {
        if (!is_listed(list, word_at(line, name_at)))
            continue;
        double value = 0;
        int r = read_number(reading, line, name_at + reading->feature->column, &value);
        if (r < 0)
            return r;
        sum += value;
    }
    *ret_value = sum;
    return 0;
}

/* -ENOENT without a text in reterr: this host does not have it. */
static int read_value(const struct reading *reading, double *ret_value)
{
    if (!reading->text)
        return -ENOENT;
    switch (files[reading->feature->file].layout) {
    case LINES:
        return read_line(reading, ret_value);
    case PAIRS:
        return read_pair(reading, ret_value);
    case DISKS:
        return sum_devices(reading, reading->sampler->disks.data, 2, ret_value);
    case INTERFACES:
        return sum_devices(reading, reading->sampler->interfaces.data, 0, ret_value);
    }
    assert(false);
    return -EINVAL;
}

static int refuse_missing(const struct reading *reading)
{
    return error_set(reading->reterr, -ENODATA, "%s%s: nothing here for %s", reading->sampler->root,
                     files[reading->feature->file].path, reading->feature->name);
}

static void close_folder(DIR **folder)
{
    if (*folder)
        (void)closedir(*folder);
}

/* Lists what is in the folder, each name with suffix behind it. Hardware has an entry "device":
 * partitions, loop devices, RAM disks, RAID sets, bridges and tunnels, whose traffic is that of
 * the hardware below them or none at all, do not. */
static int list_devices(struct text *list, const char *root, const char *folder_path,
                        const char *suffix, bool only_hardware)
{
    AUTO_FREE char *path = join(root, folder_path);
    if (!path)
        return -ENOMEM;
    CLEANUP(close_folder) DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? 0 : -errno;

    for (;;) {
        errno = 0;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
        const struct dirent *entry = readdir(folder);
        if (!entry)
            return errno ? -errno : text_failed(list) ? -ENOMEM : 0;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lo") == 0)
            continue;
        char device[sizeof(entry->d_name) + 8];
        (void)snprintf(device, sizeof(device), "%s/device", entry->d_name);
        if (!only_hardware || faccessat(dirfd(folder), device, F_OK, 0) == 0)
            text_printf(list, "%s%s ", entry->d_name, suffix);
    }
}

static int find_devices(struct host_sampler *sampler, struct error *reterr)
{
    int r = list_devices(&sampler->disks, sampler->root, "/sys/block", "", true);
    if (r < 0)
        return error_set_errno(reterr, r, "/sys/block", "list");

    r = list_devices(&sampler->interfaces, sampler->root, "/sys/class/net", ":", true);
    if (r == 0 && !sampler->interfaces.data) /* a container: what it has is what counts */
        r = list_devices(&sampler->interfaces, sampler->root, "/sys/class/net", ":", false);
    return r < 0 ? error_set_errno(reterr, r, "/sys/class/net", "list") : 0;
}

static int find_features(struct host_sampler *sampler, struct error *reterr)
{
    CLEANUP(snapshot_clear) struct snapshot snapshot = {0};
    int r = snapshot_take(&snapshot, sampler->root, reterr);
    if (r < 0)
        return r;

    for (size_t i = 0; i < N_TABLE; i++) {
        const struct reading reading = {sampler, &table[i], snapshot.text[table[i].file], reterr};
        r = read_value(&reading, &sampler->last[sampler->n_features]);
        if (r == 0)
            sampler->features[sampler->n_features++] = &table[i];
        else if (r != -ENOENT)
            return r;
        else if (table[i].file == STAT) /* has had all of them for twenty years */
            return refuse_missing(&reading);
    }
    return 0;
}

int host_sampler_new(const char *root, uint64_t now_us, struct host_sampler **ret_sampler,
                     struct error *reterr)
{
    assert(root && ret_sampler);

    CLEANUP(host_sampler_freep) struct host_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler)
        sampler->root = strdup(root);
    if (!sampler || !sampler->root)
        return error_set(reterr, -ENOMEM, "not enough memory");
    sampler->last_us = now_us;

    int r = find_devices(sampler, reterr);
    if (r == 0)
        r = find_features(sampler, reterr);
    if (r < 0)
        return r;
    *ret_sampler = TAKE(sampler);
    return 0;
}

void host_sampler_free(struct host_sampler *sampler)
{
    if (!sampler)
        return;
    text_clear(&sampler->disks);
    text_clear(&sampler->interfaces);
    free(sampler->root);
    free(sampler);
}

size_t host_sampler_n_features(const struct host_sampler *sampler)
{
    return sampler->n_features;
}

const char *host_sampler_feature_name(const struct host_sampler *sampler, size_t feature)
{
    assert(feature < sampler->n_features);
    return sampler->features[feature]->name;
}

static double growth(double last, double now)
{
    return now > last ? now - last : 0;
}

static void write_row(const struct host_sampler *sampler, const double *now, double seconds,
                      float *ret_row)
{
    double all_shares = 0;
    for (size_t i = 0; i < sampler->n_features; i++)
        if (sampler->features[i]->kind == SHARE)
            all_shares += growth(sampler->last[i], now[i]);

    for (size_t i = 0; i < sampler->n_features; i++) {
        const struct feature *feature = sampler->features[i];
        const double grown = growth(sampler->last[i], now[i]);
        double value = now[i] * feature->scale;
        if (feature->kind == RATE)
            value = grown * feature->scale / seconds;
        else if (feature->kind == SHARE)
            value = all_shares > 0 ? grown / all_shares : 0;
        ret_row[i] = (float)value;
    }
}

int host_sampler_read(struct host_sampler *sampler, uint64_t now_us, float *ret_row,
                      struct error *reterr)
{
    assert(sampler && now_us > sampler->last_us && ret_row);

    CLEANUP(snapshot_clear) struct snapshot snapshot = {0};
    int r = snapshot_take(&snapshot, sampler->root, reterr);
    if (r < 0)
        return r;

    double now[N_TABLE] = {0};
    for (size_t i = 0; i < sampler->n_features; i++) {
        const struct feature *feature = sampler->features[i];
        const struct reading reading = {sampler, feature, snapshot.text[feature->file], reterr};
        r = read_value(&reading, &now[i]);
        if (r < 0)
            return r == -ENOENT ? refuse_missing(&reading) : r;
    }
    write_row(sampler, now, (double)(now_us - sampler->last_us) / (double)US_PER_S, ret_row);
    memcpy(sampler->last, now, sampler->n_features * sizeof(*now));
    sampler->last_us = now_us;
    return 0;
}
