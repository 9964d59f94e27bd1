#include "service/config_read.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/text.h"
#include "data/feature_list.h"
#include "data/schema.h"
#include "service/budget.h"
#include "service/config.h"
#include "service/config_option.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const char address_forms[] =
    "write 127.0.0.1:8817, [::1]:8817 or unix:/run/anomalyd/http.sock";

/* ---- numbers ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit counted[] = {
    {"", 1}
};

/* The largest unit comes first; what is no multiple of any stands there as it is. */
static void print_with_unit(char ret_text[32], uint64_t number, const struct unit *units)
{
    while (units->factor > 1 && (number == 0 || number % units->factor != 0))
        units++;
    (void)snprintf(ret_text, 32, "%" PRIu64 "%s", number / units->factor, units->name);
}

/* "is not KIND from MIN to MAX", and the word for 0 where there is one. */
static int refuse(const struct config_option *option, const char *kind, const struct unit *units,
                  const char *examples, struct error *reterr)
{
    char min[32], max[32];

    print_with_unit(min, option->min, units);
    print_with_unit(max, option->max, units);
    if (option->zero)
        return error_set(reterr, -EINVAL, "is neither %s nor %s from %s to %s%s", option->zero,
                         kind, min, max, examples);
    return error_set(reterr, -EINVAL, "is not %s from %s to %s%s", kind, min, max, examples);
}

static bool is_zero_word(const struct config_value *value)
{
    return value->option->zero && strcmp(value->text, value->option->zero) == 0;
}

static bool is_in_range(const struct config_option *option, uint64_t number)
{
    return (number >= option->min || (number == 0 && option->zero)) && number <= option->max;
}

static int read_whole(const struct config_value *value, uint64_t *ret_number, struct error *reterr)
{
    uint64_t number = 0;

    if (!is_zero_word(value) && (number_parse_u64(value->text, strlen(value->text), &number) < 0 ||
                                 !is_in_range(value->option, number)))
        return refuse(value->option, "a whole number", counted, "", reterr);
    *ret_number = number;
    return 0;
}

int config_read_count(const struct config_value *value, void *field, struct error *reterr)
{
    uint64_t number = 0;
    int r = read_whole(value, &number, reterr);

    if (r == 0)
        *(unsigned *)field = (unsigned)number;
    return r;
}

int config_read_rows(const struct config_value *value, void *field, struct error *reterr)
{
    uint64_t number = 0;
    int r = read_whole(value, &number, reterr);

    if (r == 0)
        *(size_t *)field = (size_t)number;
    return r;
}

static unsigned usable_cores(void)
{
    cpu_set_t set;

    /* Fails on a machine with more than 1,024 cores, where one worker a core is no help anyway. */
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 64;
    return (unsigned)CPU_COUNT(&set);
}

int config_read_threads(const struct config_value *value, void *field, struct error *reterr)
{
    unsigned threads = 0;
    int r = config_read_count(value, &threads, reterr);

    if (r < 0)
        return r;
    if (threads == 0 && !is_zero_word(value)) /* no thread is not what auto means */
        return refuse(value->option, "a whole number", counted, "", reterr);
    *(unsigned *)field = threads ? threads : usable_cores();
    return 0;
}

int config_read_space(const struct config_value *value, void *field, struct error *reterr)
{
    static const struct unit units[] = {
        {"G", 1 << 30},
        {"M", 1 << 20},
        {"K", 1 << 10},
        {"",  1      }
    };
    uint64_t size = 0;

    if (!is_zero_word(value) && (number_parse_size(value->text, strlen(value->text), &size) < 0 ||
                                 !is_in_range(value->option, size)))
        return refuse(value->option, "a size", units, ": write 65536, 64K or 64M", reterr);
    *(uint64_t *)field = size;
    return 0;
}

int config_read_size(const struct config_value *value, void *field, struct error *reterr)
{
    uint64_t size = 0;
    int r = config_read_space(value, &size, reterr);

    if (r == 0)
        *(size_t *)field = (size_t)size;
    return r;
}

int config_read_duration(const struct config_value *value, void *field, struct error *reterr)
{
    static const struct unit units[] = {
        {"d",  86400 * US_PER_S},
        {"h",  3600 * US_PER_S },
        {"m",  60 * US_PER_S   },
        {"s",  US_PER_S        },
        {"ms", US_PER_MS       },
        {"us", 1               }
    };
    uint64_t us = 0;

    if (!is_zero_word(value) &&
        (number_parse_duration_us(value->text, strlen(value->text), &us) < 0 ||
         !is_in_range(value->option, us)))
        return refuse(value->option, "a duration", units, ": write 10s, 2m or 1h", reterr);
    *(uint64_t *)field = us;
    return 0;
}

int config_read_rate(const struct config_value *value, void *field, struct error *reterr)
{
    double rate = 0;

    if (number_parse_double(value->text, strlen(value->text), &rate) < 0 ||
        !(rate >= 1e-9 && rate < 1))
        return error_set(reterr, -EINVAL,
                         "is not a rate from 1e-9 to below 1: 0.001 is one false alarm in 1,000 "
                         "normal rows");
    *(double *)field = rate;
    return 0;
}

int config_read_alarms(const struct config_value *value, void *field, struct error *reterr)
{
    double alarms = 0;

    if (number_parse_double(value->text, strlen(value->text), &alarms) < 0 ||
        !(alarms >= BUDGET_MIN && alarms <= BUDGET_MAX))
        return error_set(reterr, -EINVAL,
                         "is not a number of false alarms a day from 0.001 to 1000000: 2 is two a "
                         "day, 0.1 one in ten days");
    *(double *)field = alarms;
    return 0;
}

int config_read_sampling(const struct config_value *value, void *field, struct error *reterr)
{
    const size_t length = strcspn(value->text, "/");
    double rate = 0;

    if (strcmp(value->text, "all") != 0 &&
        (strcmp(value->text + length, "/s") != 0 ||
         number_parse_double(value->text, length, &rate) < 0 || !(rate >= 1e-6 && rate <= 1e9)))
        return error_set(reterr, -EINVAL,
                         "is neither all nor rows a second: write 1/s, 0.5/s or all");
    *(double *)field = rate;
    return 0;
}

/* ---- words ---- */

/* The index of the value among two words or three; -EINVAL. */
static int read_word(const struct config_value *value, const char *const words[3],
                     struct error *reterr)
{
    for (int i = 0; i < 3 && words[i]; i++)
        if (strcmp(value->text, words[i]) == 0)
            return i;
    if (words[2])
        return error_set(reterr, -EINVAL, "is none of %s, %s and %s", words[0], words[1], words[2]);
    return error_set(reterr, -EINVAL, "is neither %s nor %s", words[0], words[1]);
}

static int read_bool(const struct config_value *value, const char *no, const char *yes, void *field,
                     struct error *reterr)
{
    const int r = read_word(value, (const char *const[]){no, yes, NULL}, reterr);

    if (r < 0)
        return r;
    *(bool *)field = r == 1;
    return 0;
}

int config_read_flag(const struct config_value *value, void *field, struct error *reterr)
{
    return read_bool(value, "no", "yes", field, reterr);
}

int config_read_missing(const struct config_value *value, void *field, struct error *reterr)
{
    return read_bool(value, "impute", "reject", field, reterr);
}

int config_read_durability(const struct config_value *value, void *field, struct error *reterr)
{
    return read_bool(value, "process", "power", field, reterr);
}

int config_read_learn(const struct config_value *value, void *field, struct error *reterr)
{
    static const char *const words[] = {[CONFIG_LEARN_OFF] = "off",
                                        [CONFIG_LEARN_OBSERVE] = "observe",
                                        [CONFIG_LEARN_AUTO] = "auto"};
    const int r = read_word(value, words, reterr);

    if (r < 0)
        return r;
    *(enum config_learn *)field = (enum config_learn)r;
    return 0;
}

/* ---- lists ---- */

struct list {
    char **words; /* [n_words] */
    size_t n_words;
};

static void list_clear(struct list *list)
{
    for (size_t i = 0; i < list->n_words; i++)
        free(list->words[i]);
    free(list->words);
    *list = (struct list){0};
}

static int list_add(struct list *list, const char *word, size_t length)
{
    char **words = reallocarray(list->words, list->n_words + 1, sizeof(*words));
    if (!words)
        return -ENOMEM;
    list->words = words;
    words[list->n_words] = strndup(word, length);
    if (!words[list->n_words])
        return -ENOMEM;
    list->n_words++;
    return 0;
}

/* Hands the words over to the two fields, whose own they replace. */
static void replace_list(char ***field, size_t *n_field, struct list *list)
{
    const struct list old = {*field, *n_field};

    *field = list->words;
    *n_field = list->n_words;
    *list = old;
}

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

/* Blanks, commas and line ends stand between them; one at the end does no harm. */
static int split_addresses(const char *text, struct list *list)
{
    static const char separators[] = ", \t\n";
    int r = 0;

    for (text += strspn(text, separators); r == 0 && *text; text += strspn(text, separators)) {
        const size_t length = strcspn(text, separators);
        r = list_add(list, text, length);
        text += length;
    }
    return r;
}

static int check_addresses(const struct list *list, struct error *reterr)
{
    char shown[TEXT_SHOWN_SIZE];

    if (list->n_words == 0)
        return error_set(reterr, -EINVAL, "holds no address: %s", address_forms);
    for (size_t i = 0; i < list->n_words; i++) {
        const char *address = list->words[i], *reason = check_address(address);
        (void)text_show(shown, address, strlen(address));
        if (reason)
            return error_set(reterr, -EINVAL, "holds the address %s: %s", shown, reason);
        for (size_t j = 0; j < i; j++)
            if (strcmp(list->words[j], address) == 0)
                return error_set(reterr, -EINVAL, "holds %s twice", shown);
        if (i == CONFIG_MAX_LISTEN)
            return error_set(reterr, -EINVAL, "holds more than %d addresses: take some out",
                             CONFIG_MAX_LISTEN);
    }
    return 0;
}

int config_read_addresses(const struct config_value *value, void *field, struct error *reterr)
{
    struct config *config = (struct config *)((char *)field - value->option->offset);
    CLEANUP(list_clear) struct list list = {0};

    int r = split_addresses(value->text, &list);
    if (r == 0)
        r = check_addresses(&list, reterr);
    if (r == 0)
        replace_list(&config->listen, &config->n_listen, &list);
    return r;
}

/* Names alone. */
static int split_features(const char *text, struct list *list, struct error *reterr)
{
    CLEANUP(feature_list_clear) struct feature_list features = {0};
    struct feature_item item;
    char shown[TEXT_SHOWN_SIZE];

    int r = feature_list_open(&features, text);
    while (r == 0 && (r = feature_list_next(&features, &item, reterr)) > 0)
        r = item.value
                ? error_set(reterr, -EINVAL, "is no list of features: = stands behind \"%s\"",
                            text_show(shown, item.name, item.length))
                : list_add(list, item.name, item.length);
    return r;
}

int config_read_features(const struct config_value *value, void *field, struct error *reterr)
{
    struct config_model *model = (struct config_model *)((char *)field - value->option->offset);
    CLEANUP(list_clear) struct list list = {0};
    CLEANUP(schema_freep) struct schema *schema = NULL;
    struct error error = {0};

    int r = split_features(value->text, &list, reterr);
    if (r < 0)
        return r;
    r = schema_new((const char *const *)list.words, list.n_words, &schema, &error);
    if (r == -EINVAL)
        return error_set(reterr, r, "is no list of features: %s", error.text);
    if (r == 0)
        replace_list(&model->features, &model->n_features, &list);
    return r;
}

/* ---- files ---- */

static int replace_path(const struct config_value *value, void *field)
{
    char *path = NULL;

    if (*value->text == '/' || strcmp(value->folder, ".") == 0)
        path = strdup(value->text);
    else if (asprintf(&path, "%s/%s", value->folder, value->text) < 0)
        path = NULL;
    if (!path)
        return -ENOMEM;
    free(*(char **)field);
    *(char **)field = path;
    return 0;
}

/* Whether it can be loaded is seen when the model is. */
int config_read_path(const struct config_value *value, void *field, struct error *reterr)
{
    if (strchr(value->text, '\n'))
        return error_set(reterr, -EINVAL, "goes on in an indented line, but it is one file");
    return replace_path(value, field);
}

/* Whether it is there and can be written to may change, and is no reason not to score: see
 * learner_check_directory(). */
int config_read_folder(const struct config_value *value, void *field, struct error *reterr)
{
    if (*value->text != '/')
        return error_set(reterr, -EINVAL, "is not an absolute path: write one that begins with /");
    return replace_path(value, field);
}
