/* driver - what stands in for libFuzzer in `make check`, where no clang is needed: every file of
 * the corpus, then changes to these, the same in every run, for some seconds. The bytes that were
 * tried last stay in NAME.input if they end the program. FUZZ_RUNS: how many changes instead. */
#include "base/clock.h"
#include "base/random.h"
#include "fuzz/fuzz.h"

#include <dirent.h>

#define MAX_SIZE  ((size_t)65536) /* of what is tried; a file of the corpus may be larger */
#define MAX_FILES 256
#define N_CHANGES 20000
#define MAX_US    (UINT64_C(2) * 1000000)

struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes files[MAX_FILES];
static size_t n_files;
static int record = -1;

static void try_bytes(const struct bytes *bytes)
{
    must(pwrite(record, bytes->data, bytes->size, 0) == (ssize_t)bytes->size &&
         ftruncate(record, (off_t)bytes->size) == 0);
    (void)LLVMFuzzerTestOneInput(bytes->data, bytes->size);
}

static void load(const char *folder, const char *name)
{
    struct bytes *file = &files[n_files];
    AUTO_FREE char *path = NULL;

    must(asprintf(&path, "%s/%s", folder, name) >= 0);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const off_t size = lseek(fd, 0, SEEK_END);
    must(fd >= 0 && size >= 0 && n_files < MAX_FILES);
    file->size = (size_t)size;
    file->data = malloc(file->size + 1);
    must(file->data && pread(fd, file->data, file->size, 0) == size);
    (void)close(fd);
    n_files++;
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_corpus(const char *folder)
{
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, is_file, alphasort);

    for (int i = 0; i < n; i++) {
        load(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* ---- changes ---- */

static void insert(struct bytes *bytes, size_t at, const void *piece, size_t n)
{
    if (bytes->size + n > MAX_SIZE)
        return;
    memmove(bytes->data + at + n, bytes->data + at, bytes->size - at);
    memcpy(bytes->data + at, piece, n);
    bytes->size += n;
}

static void cut(struct bytes *bytes, size_t at, size_t n)
{
    memmove(bytes->data + at, bytes->data + at + n, bytes->size - at - n);
    bytes->size -= n;
}

static void change(struct random *random, struct bytes *bytes)
{
    static const char *const words[] = {
        "0",
        "-",
        "1e400",
        "99999999999999999999",
        ".",
        ",",
        ":",
        "\"",
        "\"\"",
        "\\u0000",
        "\\",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        "\r\n",
        "\t",
        " ",
        "#",
        "%00",
        "null",
        "nan",
        "inf",
        "true",
        "é",
        "\xC3",
        "\xED\xA0\x80",
        "\xEF\xBB\xBF",
        "\xFF\xFF\xFF\xFF",
        "\x7F",
    };
    static const uint8_t edges[] = {0, 1, 0x7F, 0x80, 0xFF, '0', '9', ' ', '"'};
    const size_t at = random_below(random, bytes->size + 1);
    const size_t left = bytes->size - at;
    const struct bytes *other = &files[random_below(random, n_files)];

    switch (random_below(random, 7)) {
    case 0:
        if (left > 0)
            bytes->data[at] ^= (uint8_t)(1U << random_below(random, 8));
        break;
    case 1:
        if (left > 0)
            bytes->data[at] = edges[random_below(random, sizeof(edges))];
        break;
    case 2:
        if (left > 0)
            cut(bytes, at, 1 + random_below(random, left < 16 ? left : 16));
        break;
    case 3:
        bytes->size = at; /* the end is missing */
        break;
    case 4: { /* again what stood there */
        uint8_t piece[64];
        const size_t n = left < sizeof(piece) ? left : sizeof(piece);
        memcpy(piece, bytes->data + at, n);
        insert(bytes, at, piece, random_below(random, n + 1));
        break;
    }
    case 5: { /* something of another file */
        const size_t from = random_below(random, other->size + 1), most = other->size - from;
        insert(bytes, at, other->data + from, random_below(random, (most < 64 ? most : 64) + 1));
        break;
    }
    default: {
        const char *word = words[random_below(random, sizeof(words) / sizeof(*words))];
        insert(bytes, at, word, strlen(word));
    }
    }
}

static size_t try_changes(void)
{
    const char *wanted = getenv("FUZZ_RUNS");
    const size_t n = wanted ? strtoul(wanted, NULL, 10) : N_CHANGES;
    const uint64_t end = wanted ? UINT64_MAX : clock_monotonic_us() + MAX_US;
    struct bytes bytes = {malloc(2 * MAX_SIZE), 0};
    struct random random;
    size_t i;

    must(bytes.data != NULL);
    random_seed(&random, 1);
    for (i = 0; i < n && clock_monotonic_us() < end; i++) {
        const struct bytes *file = &files[random_below(&random, n_files)];
        bytes.size = file->size < MAX_SIZE ? file->size : MAX_SIZE;
        memcpy(bytes.data, file->data, bytes.size);
        for (size_t left = 1 + random_below(&random, 4); left > 0; left--)
            change(&random, &bytes);
        try_bytes(&bytes);
    }
    free(bytes.data);
    return i;
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *top = getenv("top_srcdir");
    AUTO_FREE char *folder = NULL, *path = NULL;

    must(asprintf(&folder, "%s/tests/fuzz/corpus/%s", top ? top : ".",
                  strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name) >= 0 &&
         asprintf(&path, "%s.input", argv[0]) >= 0);
    load_corpus(argc > 1 ? argv[1] : folder);
    record = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    must(record >= 0);

    printf("1..2\n");
    for (size_t i = 0; i < n_files; i++)
        try_bytes(&files[i]);
    printf("%sok 1 - %zu files of the corpus\n", n_files ? "" : "not ", n_files);
    printf("ok 2 - %zu changes to them\n", n_files ? try_changes() : 0);
    for (size_t i = 0; i < n_files; i++)
        free(files[i].data);
    (void)close(record);
    (void)unlink(path);
    return n_files ? 0 : 1;
}
