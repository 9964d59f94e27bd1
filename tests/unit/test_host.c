#include "source/host.h"

#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A host in a folder: each test starts from the same files and changes some of them. */

#define S 1000000ULL

static char root[] = "/tmp/test_host.XXXXXX";

static void put(const char *path, const char *text)
{
    char full[512];

    (void)snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind, (void)where;
    return remove(path);
}

static void drop(const char *path)
{
    char full[512];

    (void)snprintf(full, sizeof(full), "%s/%s", root, path);
    assert_int_equal(nftw(full, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#define DISK_LINES(reads, sectors_read, writes, sectors_written, busy_ms)            \
    "   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9 0 0 0 0 0 0\n"                         \
    " 254       0 vda " reads " 1 " sectors_read " 5 " writes " 2 " sectors_written  \
    " 6 0 " busy_ms " 11 0 0 0 0 0 0\n"                                              \
    " 254       1 vda1 " reads " 1 " sectors_read " 5 " writes " 2 " sectors_written \
    " 6 0 " busy_ms " 11 0 0 0 0 0 0\n"                                              \
    "   9       0 md0 " reads " 1 " sectors_read " 5 " writes " 2 " sectors_written  \
    " 6 0 " busy_ms " 11 0 0 0 0 0 0\n"                                              \
    "   8       0 sdb 1000 0 2000 0 3000 0 4000 0 0 5000 0\n"

#define NET_LINES(lo, eth0, br0)                                                         \
    "Inter-|   Receive                            |  Transmit\n"                         \
    " face |bytes packets errs drop fifo frame compressed multicast|bytes packets …\n" \
    "    lo: " lo " 10 0 0 0 0 0 0 " lo " 10 0 0 0 0 0 0\n"                              \
    "  eth0: " eth0 " 20 1 2 0 0 0 0 300 30 3 4 0 0 0 0\n"                               \
    "   br0: " br0 " 20 1 2 0 0 0 0 300 30 3 4 0 0 0 0\n"

static int make_host(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(root));
    put("proc/stat", "cpu  100 10 50 800 20 5 5 10 0 0\n"
                     "cpu0 100 10 50 800 20 5 5 10 0 0\n"
                     "intr 5000 1 2 3\nctxt 70000\nbtime 1795464945\nprocesses 300\n"
                     "procs_running 2\nprocs_blocked 1\nsoftirq 9 9 9\n");
    put("proc/loadavg", "0.75 0.50 0.25 2/81 4640\n");
    put("proc/meminfo", "MemTotal:       16000 kB\nMemFree:         8000 kB\n"
                        "MemAvailable:   9000 kB\nBuffers:          100 kB\n"
                        "Cached:          500 kB\nSwapCached:       777 kB\n"
                        "Dirty:            12 kB\nSUnreclaim:       64 kB\n");
    put("proc/vmstat", "pgpgin 100\npgpgout 200\npswpin 0\npswpout 0\npgfault 5000\n"
                       "pgmajfault 7\n");
    put("proc/diskstats", DISK_LINES("10", "100", "20", "200", "50"));
    put("proc/net/dev", NET_LINES("1000", "5000", "5000"));
    put("proc/net/sockstat", "sockets: used 10\n"
                             "TCP: inuse 3 orphan 4 tw 5 alloc 6 mem 177\n");
    put("proc/net/snmp", "Ip: Forwarding\nIp: 2\n"
                         "Tcp: MaxConn ActiveOpens PassiveOpens CurrEstab RetransSegs\n"
                         "Tcp: -1 14 20 3 8\n");
    put("proc/net/netstat", "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 9 40\n");
    put("proc/pressure/cpu", "some avg10=1.0 avg60=2.0 avg300=3.0 total=1000000\n");
    put("proc/pressure/io", "some avg10=1.0 avg60=2.0 avg300=3.0 total=400\n"
                            "full avg10=1.0 avg60=2.0 avg300=3.0 total=300\n");
    put("sys/block/vda/device/vendor", "");
    put("sys/block/sdb/device/vendor", "");
    put("sys/block/loop0/size", "");
    put("sys/block/md0/size", "");
    put("sys/class/net/lo/mtu", "");
    put("sys/class/net/eth0/device/vendor", "");
    put("sys/class/net/br0/mtu", "");
    return 0;
}

static int drop_host(void **state)
{
    (void)state;
    drop("");
    return 0;
}

static struct host_sampler *new_sampler(void)
{
    struct host_sampler *sampler = NULL;
    struct error error = {""};

    if (host_sampler_new(root, 100 * S, &sampler, &error) < 0)
        fail_msg("%s", error.text);
    return sampler;
}

/* n_features if there is none of that name. */
static size_t find(const struct host_sampler *sampler, const char *name)
{
    size_t i = 0;

    while (i < host_sampler_n_features(sampler) &&
           strcmp(host_sampler_feature_name(sampler, i), name) != 0)
        i++;
    return i;
}

static bool has(const struct host_sampler *sampler, const char *name)
{
    return find(sampler, name) < host_sampler_n_features(sampler);
}

static void assert_value(const struct host_sampler *sampler, const float *row, const char *name,
                         double want)
{
    const size_t i = find(sampler, name);

    assert_true(i < host_sampler_n_features(sampler));
    if (row[i] != (float)want)
        fail_msg("%s is %g, not %g", name, (double)row[i], want);
}

static void read_row(struct host_sampler *sampler, uint64_t now_us, float *ret_row)
{
    struct error error = {""};

    if (host_sampler_read(sampler, now_us, ret_row, &error) < 0)
        fail_msg("%s", error.text);
}

static void gauges_are_values_in_their_unit(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "load1", 0.75);
    assert_value(sampler, row, "procs_running", 2);
    assert_value(sampler, row, "procs_blocked", 1);
    assert_value(sampler, row, "mem_free", 8000 * 1024);
    assert_value(sampler, row, "mem_cached", 500 * 1024);
    assert_value(sampler, row, "mem_slab_unreclaim", 64 * 1024);
    assert_value(sampler, row, "tcp_time_wait", 5);
    assert_value(sampler, row, "tcp_established", 3);
}

static void rates_are_growth_per_second(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/stat", "cpu  100 10 50 800 20 5 5 10 0 0\n"
                     "intr 5500 1 2 3\nctxt 71000\nprocesses 303\n"
                     "procs_running 2\nprocs_blocked 1\n");
    put("proc/vmstat", "pgpgin 101\npgpgout 204\npswpin 0\npswpout 0\npgfault 5250\n"
                       "pgmajfault 8\n");
    put("proc/net/snmp", "Tcp: MaxConn ActiveOpens PassiveOpens CurrEstab RetransSegs\n"
                         "Tcp: -1 24 30 3 9\n");
    put("proc/net/netstat", "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 9 41\n");
    put("proc/net/dev", NET_LINES("3000", "5100", "9999"));
    read_row(sampler, 102 * S, row);
    assert_value(sampler, row, "interrupts", 250);
    assert_value(sampler, row, "context_switches", 500);
    assert_value(sampler, row, "forks", 1.5);
    assert_value(sampler, row, "page_faults", 125);
    assert_value(sampler, row, "major_faults", 0.5);
    assert_value(sampler, row, "tcp_active_opens", 5);
    assert_value(sampler, row, "tcp_passive_opens", 5);
    assert_value(sampler, row, "tcp_retransmits", 0.5);
    assert_value(sampler, row, "tcp_listen_overflows", 0.5);
    assert_value(sampler, row, "loopback_bytes", 1000);
    assert_value(sampler, row, "net_rx_bytes", 50);

    read_row(sampler, 103 * S, row); /* each row counts from the one before */
    assert_value(sampler, row, "context_switches", 0);
}

static void each_column_is_its_own_counter(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/vmstat", "pgpgin 101\npgpgout 202\npswpin 3\npswpout 4\npgfault 5005\n"
                       "pgmajfault 13\n");
    put("proc/net/dev", "header\nheader\n"
                        "    lo: 1001 12 0 0 0 0 0 0 1001 12 0 0 0 0 0 0\n"
                        "  eth0: 5003 24 6 9 0 0 0 0 307 38 12 14 0 0 0 0\n");
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "swap_in_pages", 3);
    assert_value(sampler, row, "swap_out_pages", 4);
    assert_value(sampler, row, "page_faults", 5);
    assert_value(sampler, row, "major_faults", 6);
    assert_value(sampler, row, "loopback_bytes", 1);
    assert_value(sampler, row, "loopback_packets", 2);
    assert_value(sampler, row, "net_rx_bytes", 3);
    assert_value(sampler, row, "net_rx_packets", 4);
    assert_value(sampler, row, "net_rx_errors", 5);
    assert_value(sampler, row, "net_tx_bytes", 7);
    assert_value(sampler, row, "net_tx_packets", 8);
    assert_value(sampler, row, "net_tx_errors", 9);
}

static void rates_follow_the_time_that_really_passed(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/pressure/cpu", "some avg10=1.0 avg60=2.0 avg300=3.0 total=1062500\n");
    put("proc/pressure/io", "some avg10=1.0 avg60=2.0 avg300=3.0 total=250400\n"
                            "full avg10=1.0 avg60=2.0 avg300=3.0 total=300\n");
    read_row(sampler, 100 * S + S / 4, row);
    assert_value(sampler, row, "psi_cpu_some", 0.25);
    assert_value(sampler, row, "psi_io_some", 1);
}

static void cpu_states_are_shares_of_all_cpu_time(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/stat", "cpu  120 10 60 860 30 5 5 10 50 0\n" /* guest time is part of user time */
                     "intr 5000\nctxt 70000\nprocesses 300\nprocs_running 2\nprocs_blocked 1\n");
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "cpu_user", 0.2);
    assert_value(sampler, row, "cpu_system", 0.1);
    assert_value(sampler, row, "cpu_idle", 0.6);
    assert_value(sampler, row, "cpu_iowait", 0.1);
    assert_value(sampler, row, "cpu_nice", 0);
    assert_value(sampler, row, "cpu_steal", 0);

    read_row(sampler, 102 * S, row); /* no clock tick in between: nothing to divide by */
    assert_value(sampler, row, "cpu_idle", 0);
}

static void counters_that_go_back_give_zero(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/vmstat", "pgpgin 1\npgpgout 2\npswpin 0\npswpout 0\npgfault 5\npgmajfault 7\n");
    put("proc/stat", "cpu  110 10 50 790 20 5 5 10\n" /* idle time may step back on a real host */
                     "intr 5000\nctxt 70000\nprocesses 300\nprocs_running 2\nprocs_blocked 1\n");
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "page_faults", 0);
    assert_value(sampler, row, "cpu_idle", 0);
    assert_value(sampler, row, "cpu_user", 1);
}

static void disks_are_summed_without_partitions_and_virtual_ones(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/diskstats", DISK_LINES("14", "108", "30", "220", "850"));
    read_row(sampler, 102 * S, row);
    assert_value(sampler, row, "disk_reads", 2);
    assert_value(sampler, row, "disk_read_bytes", 4 * 512);
    assert_value(sampler, row, "disk_writes", 5);
    assert_value(sampler, row, "disk_write_bytes", 10 * 512);
    assert_value(sampler, row, "disk_busy", 0.4);
}

static void an_unplugged_disk_counts_as_nothing(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("proc/diskstats", " 254 0 vda 11 1 100 5 20 2 200 6 0 50 11\n");
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "disk_reads", 0); /* 1011 came down to 11 */
    put("proc/diskstats", " 254 0 vda 14 1 100 5 20 2 200 6 0 50 11\n");
    read_row(sampler, 102 * S, row);
    assert_value(sampler, row, "disk_reads", 3);
}

static void a_disk_plugged_in_later_is_not_counted(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    float row[128];

    put("sys/block/sdc/device/vendor", "");
    put("proc/diskstats",
        DISK_LINES("10", "100", "20", "200",
                   "50") "   8      32 sdc 9000 0 9000 0 9000 0 9000 0 0 9000 0\n");
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "disk_reads", 0);
}

static void a_container_counts_the_interfaces_it_has(void **state)
{
    (void)state;
    float row[128];

    drop("sys/class/net/eth0/device");
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    put("proc/net/dev", NET_LINES("9000", "5030", "5010"));
    read_row(sampler, 101 * S, row);
    assert_value(sampler, row, "net_rx_bytes", 40);
    assert_value(sampler, row, "loopback_bytes", 8000);
}

static void what_the_kernel_lacks_is_no_feature(void **state)
{
    (void)state;
    float row[128];
    size_t n_all;
    {
        CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
        n_all = host_sampler_n_features(sampler);
        assert_true(has(sampler, "psi_io_some"));
        assert_false(has(sampler, "psi_memory_some")); /* the fixture has no such file */
    }
    drop("proc/pressure");
    drop("sys/block");
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    assert_int_equal(host_sampler_n_features(sampler), n_all - 2 - 5);
    assert_false(has(sampler, "psi_cpu_some"));
    assert_false(has(sampler, "disk_busy"));
    put("proc/pressure/cpu", "some avg10=1.0 avg60=2.0 avg300=3.0 total=5\n");
    read_row(sampler, 101 * S, row); /* and does not become one half-way */
    assert_int_equal(host_sampler_n_features(sampler), n_all - 2 - 5);
}

static void names_are_unique_and_fit_a_csv_header(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();

    for (size_t i = 0; i < host_sampler_n_features(sampler); i++) {
        const char *name = host_sampler_feature_name(sampler, i);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
        assert_int_equal(find(sampler, name), i);
    }
}

static void garbage_is_refused_with_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text, *where, *what;
    } cases[] = {
        {"meminfo",     "x 5\nMemFree: lots\n",   ":2", "'lots' is no number, but mem_free"  },
        {"meminfo",     "MemFree:\n",             ":1", "ends before the value for mem_free" },
        {"stat",        "cpu 1 2 3\n",            ":1", "ends before the value for cpu_idle" },
        {"stat",        "",                       "",   "nothing here for cpu_user"          },
        {"stat",        "\x7f\x45\x4c\x46\n\n\n", "",   "nothing here for cpu_user"          },
        {"loadavg",     "\n",                     ":1", "ends before the value for load1"    },
        {"diskstats",   " 8 0 vda 1 2\n",         ":1", "ends before the value for disk_read"},
        {"net/dev",     "x\neth0: many\n",        ":2", "'many' is no number, but net_rx_by" },
        {"net/snmp",    "Tcp: CurrEstab\nTcp:\n", ":2", "ends before the value for tcp_est"  },
        {"pressure/io", "some a=1 b=2 c=3 d=\n",  ":1", "'d=' is no number, but psi_io_some" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct host_sampler *sampler = NULL;
        struct error error = {""};
        char path[64], want[512];
        (void)snprintf(path, sizeof(path), "proc/%s", cases[i].path);
        put(path, cases[i].text);
        assert_true(host_sampler_new(root, 100 * S, &sampler, &error) < 0);
        assert_null(sampler);
        (void)snprintf(want, sizeof(want), "%s/%s%s: ", root, path, cases[i].where);
        assert_memory_equal(error.text, want, strlen(want));
        assert_non_null(strstr(error.text, cases[i].what));
        drop("");
        make_host(NULL);
    }
}

static void a_host_without_proc_is_refused(void **state)
{
    (void)state;
    struct host_sampler *sampler = NULL;
    struct error error = {""};

    drop("proc/stat");
    assert_int_equal(host_sampler_new(root, 100 * S, &sampler, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/proc/stat: cannot open: No such file or directory"));
}

static void a_failed_read_loses_no_time(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = new_sampler();
    struct error error = {""};
    float row[128] = {42};

    drop("proc/vmstat");
    assert_int_equal(host_sampler_read(sampler, 101 * S, row, &error), -ENODATA);
    assert_non_null(strstr(error.text, "/proc/vmstat: nothing here for page_faults"));
    assert_true(row[0] == 42);
    put("proc/vmstat",
        "pgpgin 100\npgpgout 200\npswpin 0\npswpout 0\npgfault 5400\npgmajfault 7\n");
    read_row(sampler, 104 * S, row);
    assert_value(sampler, row, "page_faults", 100);
}

static void this_machine_can_be_sampled(void **state)
{
    (void)state;
    CLEANUP(host_sampler_freep) struct host_sampler *sampler = NULL;
    struct error error = {""};
    float row[128];

    assert_int_equal(host_sampler_new("", 1, &sampler, &error), 0);
    assert_true(host_sampler_n_features(sampler) >= 30);
    assert_int_equal(host_sampler_read(sampler, 2, row, &error), 0);
    for (size_t i = 0; i < host_sampler_n_features(sampler); i++)
        assert_true(isfinite(row[i]) && row[i] >= 0);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    int r = -ENOMEM;
    int nth = 0;

    for (; r == -ENOMEM && nth < 1000; nth++) {
        CLEANUP(host_sampler_freep) struct host_sampler *sampler = NULL;
        struct error error = {""};
        float row[128];
        alloc_fail_in = nth;
        r = host_sampler_new(root, 100 * S, &sampler, &error);
        if (r == 0)
            r = host_sampler_read(sampler, 101 * S, row, &error);
        alloc_fail_in = -1;
        assert_true(r == 0 || error.text[0]);
    }
    assert_int_equal(r, 0);
    assert_true(nth > 20);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_host, drop_host)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gauges_are_values_in_their_unit),
        TEST(rates_are_growth_per_second),
        TEST(each_column_is_its_own_counter),
        TEST(rates_follow_the_time_that_really_passed),
        TEST(cpu_states_are_shares_of_all_cpu_time),
        TEST(counters_that_go_back_give_zero),
        TEST(disks_are_summed_without_partitions_and_virtual_ones),
        TEST(an_unplugged_disk_counts_as_nothing),
        TEST(a_disk_plugged_in_later_is_not_counted),
        TEST(a_container_counts_the_interfaces_it_has),
        TEST(what_the_kernel_lacks_is_no_feature),
        TEST(names_are_unique_and_fit_a_csv_header),
        TEST(garbage_is_refused_with_file_and_line),
        TEST(a_host_without_proc_is_refused),
        TEST(a_failed_read_loses_no_time),
        TEST(this_machine_can_be_sampled),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
