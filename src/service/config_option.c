#include "service/config_option.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/text.h"
#include "service/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KIB ((uint64_t)1 << 10)
#define GIB ((uint64_t)1 << 30)

static const char address_forms[] =
    "write 127.0.0.1:8817, [::1]:8817 or unix:/run/anomalyd/http.sock";

const char *config_scope_name(enum config_scope scope)
{
    static const char *const names[] = {"server", "storage", "model"};

    return names[scope];
}

static unsigned usable_cores(void)
{
    cpu_set_t set;

    /* Fails on a machine with more than 1,024 cores, where one worker a core is no help anyway. */
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 64;
    return (unsigned)CPU_COUNT(&set);
}

/* ---- numbers ---- */

static int read_count(const struct config_option *option, const char *value, const char *folder,
                      void *field, struct error *reterr)
{
    uint64_t count = 0;

    (void)folder;
    if (number_parse_u64(value, strlen(value), &count) < 0 || count < option->min ||
        count > option->max)
        return error_set(reterr, -EINVAL, "is not a whole number from %llu to %llu",
                         (unsigned long long)option->min, (unsigned long long)option->max);
    *(unsigned *)field = (unsigned)count;
    return 0;
}

static int read_threads(const struct config_option *option, const char *value, const char *folder,
                        void *field, struct error *reterr)
{
    if (strcmp(value, "auto") == 0) {
        *(unsigned *)field = usable_cores();
        return 0;
    }
    if (read_count(option, value, folder, field, NULL) < 0)
        return error_set(reterr, -EINVAL, "is neither auto nor a whole number from %llu to %llu",
                         (unsigned long long)option->min, (unsigned long long)option->max);
    return 0;
}

static int read_size(const struct config_option *option, const char *value, const char *folder,
                     void *field, struct error *reterr)
{
    uint64_t size = 0;

    (void)folder;
    if (number_parse_size(value, strlen(value), &size) < 0 || size < option->min ||
        size > option->max)
        return error_set(reterr, -EINVAL, "is not a size from 1K to %lluG: write 65536, 64K or 64M",
                         (unsigned long long)(option->max / GIB));
    *(size_t *)field = (size_t)size;
    return 0;
}

static int read_duration(const struct config_option *option, const char *value, const char *folder,
                         void *field, struct error *reterr)
{
    uint64_t us = 0;

    (void)folder;
    if (number_parse_duration_us(value, strlen(value), &us) < 0 || us < option->min ||
        us > option->max)
        return error_set(reterr, -EINVAL,
                         "is not a duration from %llums to %llus: write 500ms, 10s or 2m",
                         (unsigned long long)(option->min / US_PER_MS),
                         (unsigned long long)(option->max / US_PER_S));
    *(uint64_t *)field = us;
    return 0;
}

static int read_rate(const struct config_option *option, const char *value, const char *folder,
                     void *field, struct error *reterr)
{
    double rate = 0;

    (void)option;
    (void)folder;
    if (number_parse_double(value, strlen(value), &rate) < 0 || !(rate > 0 && rate < 1))
        return error_set(reterr, -EINVAL,
                         "is not a rate above 0 and below 1: 0.001 is one false alarm in 1,000 "
                         "normal rows");
    *(double *)field = rate;
    return 0;
}

/* ---- words ---- */

static int read_missing(const struct config_option *option, const char *value, const char *folder,
                        void *field, struct error *reterr)
{
    (void)option;
    (void)folder;
    const bool reject = strcmp(value, "reject") == 0;

    if (!reject && strcmp(value, "impute") != 0)
        return error_set(reterr, -EINVAL, "is neither impute nor reject");
    *(bool *)field = reject;
    return 0;
}

static int read_learn(const struct config_option *option, const char *value, const char *folder,
                      void *field, struct error *reterr)
{
    (void)option;
    (void)folder;
    (void)field;
    if (strcmp(value, "auto") == 0 || strcmp(value, "observe") == 0)
        return error_set(reterr, -EINVAL,
                         "is not possible: this version does not learn, write off "
                         "or leave the line out");
    if (strcmp(value, "off") != 0)
        return error_set(reterr, -EINVAL, "is not off, the only choice in this version");
    return 0;
}

/* ---- addresses ---- */

static bool is_port(const char *text)
{
    uint64_t port = 0;

    return number_parse_u64(text, strlen(text), &port) == 0 && port >= 1 && port <= 65535;
}

/* Why address[length] cannot be listened on; NULL: it can. */
static const char *check_address(const char *address)
{
    static const size_t prefix = sizeof("unix:") - 1;
    char host[INET6_ADDRSTRLEN + 2];
    unsigned char binary[sizeof(struct in6_addr)];

    if (strncmp(address, "unix:", prefix) == 0) {
        if (address[prefix] != '/')
            return "the path of a socket begins with /";
        if (strlen(address + prefix) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return "the path of a socket has at most 107 bytes";
        return NULL;
    }
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof(host))
        return address_forms;
    if (!is_port(colon + 1))
        return "a port from 1 to 65535 stands behind the last colon";

    size_t length = (size_t)(colon - address);
    memcpy(host, address, length);
    host[length] = '\0';
    if (host[0] != '[')
        return inet_pton(AF_INET, host, binary) == 1 ? NULL : address_forms;
    if (host[length - 1] != ']')
        return address_forms;
    host[length - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, binary) == 1 ? NULL : address_forms;
}

static void free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static int add_address(const char *address, char **list, size_t *n, struct error *reterr)
{
    char shown[TEXT_SHOWN_SIZE];
    const char *reason = check_address(address);

    if (reason)
        return error_set(reterr, -EINVAL, "holds the address %s: %s",
                         text_show(shown, address, strlen(address)), reason);
    for (size_t i = 0; i < *n; i++)
        if (strcmp(list[i], address) == 0)
            return error_set(reterr, -EINVAL, "holds %s twice",
                             text_show(shown, address, strlen(address)));
    if (*n == CONFIG_MAX_LISTEN)
        return error_set(reterr, -EINVAL, "holds more than %d addresses: take some out",
                         CONFIG_MAX_LISTEN);
    list[*n] = strdup(address);
    if (!list[*n])
        return -ENOMEM;
    ++*n;
    return 0;
}

/* Field: config.listen, with config.n_listen behind it. */
static int read_addresses(const struct config_option *option, const char *value, const char *folder,
                          void *field, struct error *reterr)
{
    (void)folder;
    struct config *config = (struct config *)((char *)field - option->offset);
    AUTO_FREE char *copy = strdup(value);
    char **list = calloc(strlen(value) / 2 + 1, sizeof(*list)); /* an address and a comma each */
    size_t n = 0;
    int r = copy && list ? 0 : -ENOMEM;
    char *rest = NULL;

    /* One in each line will do as well as commas; a comma at the end does no harm. */
    for (char *word = r < 0 ? NULL : strtok_r(copy, ", \t\n", &rest); word && r == 0;
         word = strtok_r(NULL, ", \t\n", &rest))
        r = add_address(word, list, &n, reterr);
    if (r == 0 && n == 0)
        r = error_set(reterr, -EINVAL, "holds no address: %s", address_forms);
    if (r < 0) {
        free_list(list, n);
        return r;
    }
    free_list(config->listen, config->n_listen);
    config->listen = list;
    config->n_listen = n;
    return 0;
}

/* ---- files ---- */

static int replace_path(const char *value, const char *folder, void *field)
{
    char *path = NULL;

    if (*value == '/' || strcmp(folder, ".") == 0)
        path = strdup(value);
    else if (asprintf(&path, "%s/%s", folder, value) < 0)
        path = NULL;
    if (!path)
        return -ENOMEM;
    free(*(char **)field);
    *(char **)field = path;
    return 0;
}

/* Whether it can be loaded is seen when the model is. */
static int read_path(const struct config_option *option, const char *value, const char *folder,
                     void *field, struct error *reterr)
{
    (void)option;
    if (strchr(value, '\n'))
        return error_set(reterr, -EINVAL, "goes on in an indented line, but it is one file");
    return replace_path(value, folder, field);
}

static int read_folder(const struct config_option *option, const char *value, const char *folder,
                       void *field, struct error *reterr)
{
    (void)option;
    struct stat status;

    if (*value != '/')
        return error_set(reterr, -EINVAL, "is not an absolute path: write one that begins with /");
    if (stat(value, &status) < 0 || !S_ISDIR(status.st_mode))
        return error_set(reterr, -EINVAL,
                         "is not a folder that exists: create it, or leave the "
                         "line out");
    if (access(value, W_OK | X_OK) < 0)
        return error_set(reterr, -EINVAL,
                         "cannot be written to by user %u: change its owner or "
                         "mode",
                         (unsigned)geteuid());
    return replace_path(value, folder, field);
}

const struct config_option config_options[N_CONFIG_OPTIONS] = {
    {.scope = SCOPE_SERVER,
     .key = "listen",
     .initial = "127.0.0.1:8817",
     .help = "Where to listen: IPv4 127.0.0.1:8817, IPv6 [::1]:8817, or a Unix socket\n"
             "unix:/run/anomalyd/http.sock. Several are separated by commas and may go on\n"
             "in indented lines. A change needs a restart.",                      .read = read_addresses,
     .offset = offsetof(struct config, listen)},
    {.scope = SCOPE_SERVER,
     .key = "threads",
     .initial = "auto",
     .help = "Threads that answer requests; auto is one for each core we may use.\n"
             "A change needs a restart.",                                                            .read = read_threads,
     .offset = offsetof(struct config, threads),
     .min = 1,
     .max = 256},
    {.scope = SCOPE_SERVER,
     .key = "max_body",
     .initial = "64M",
     .help = "The largest request body in bytes; K, M and G are powers of 1024.",
     .read = read_size,
     .offset = offsetof(struct config, max_body),
     .min = KIB,
     .max = 4 * GIB},
    {.scope = SCOPE_SERVER,
     .key = "max_connections",
     .initial = "1024",
     .help = "Open connections at a time, over all threads. A change needs a restart.",
     .read = read_count,
     .offset = offsetof(struct config, max_connections),
     .min = 1,
     .max = 1000000},
    {.scope = SCOPE_SERVER,
     .key = "request_timeout",
     .initial = "10s",
     .help = "How long a request may take to arrive: 500ms, 10s, 2m.",
     .read = read_duration,
     .offset = offsetof(struct config, request_timeout_us),
     .min = 10 * US_PER_MS,
     .max = 3600 * US_PER_S},
    {.scope = SCOPE_STORAGE,
     .key = "directory",
     .example = "/var/lib/anomalyd",
     .help = "Kept for the learning store of a later version; must be a folder that the\n"
             "daemon may write to. Unset unless given.",                                            .read = read_folder,
     .offset = offsetof(struct config, storage_directory)},
    {.scope = SCOPE_MODEL,
     .key = "file",
     .example = "example.safetensors",
     .help = "The model file, made by `anomalyctl train`; absolute, or relative to the\n"
             "folder of this file. Must be given.",                                                    .read = read_path,
     .offset = offsetof(struct config_model, file)},
    {.scope = SCOPE_MODEL,
     .key = "false_alarm_rate",
     .example = "0.001",
     .help = "How often a normal row may be called an anomaly; sets the threshold. Unless\n"
             "given, what the model was trained for.",                                                       .read = read_rate,
     .offset = offsetof(struct config_model, false_alarm_rate)},
    {.scope = SCOPE_MODEL,
     .key = "missing",
     .initial = "impute",
     .help = "Rows with missing values: impute takes the training median and leaves the\n"
             "feature out of the error; reject refuses the request.",                          .read = read_missing,
     .offset = offsetof(struct config_model, reject_missing)},
    {.scope = SCOPE_MODEL,
     .key = "learn",
     .initial = "off",
     .help = "Whether the model learns from what it is sent; only off in this version.",
     .read = read_learn                                                                                  },
};
