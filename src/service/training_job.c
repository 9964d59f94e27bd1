#include "service/training_job.h"

#include "base/file.h"
#include "base/text.h"
#include "data/preparation.h"
#include "detector/preparation_json.h"
#include "detector/relevance.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGNMENT 64 /* of the floats */
#define SEALS     (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* How messages call it. */
static const char job_name[] = "the training job";

/* ---- packing ---- */

static json_t *names_to_json(const struct training_job *job)
{
    json_auto_t *names = json_array();

    for (size_t i = 0; i < job->n_features; i++)
        if (json_array_append_new(names, json_string(job->names[i])) < 0)
            return NULL;
    return TAKE(names);
}

/* What is set, as recipe_set() reads it. */
static json_t *recipe_to_json(const struct recipe *recipe)
{
    json_auto_t *fields = json_object();

    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        CLEANUP(text_clear) struct text value = {0};
        if (!recipe_is_set(recipe, field))
            continue;
        recipe_print(recipe, field, &value);
        if (text_failed(&value) ||
            json_object_set_new(fields, field->name, json_string(value.data)) < 0)
            return NULL;
    }
    return TAKE(fields);
}

static json_int_t clamp(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

static char *print_header(const struct training_job *job)
{
    json_t *names = names_to_json(job), *recipe = recipe_to_json(&job->recipe);
    json_t *preparation = job->preparation ? preparation_to_json(job->preparation) : json_null();
    json_auto_t *header =
        json_pack("{s:I, s:o, s:o, s:I, s:I, s:o, s:s?, s:I, s:I}",  //
                  "parent", (json_int_t)getpid(), "features", names, //
                  "preparation", preparation,                        //
                  "rows", clamp(job->n_rows),                        //
                  "calibration_rows", clamp(job->n_calibration),     //
                  "recipe", recipe, "start", job->start,             //
                  "max_memory", clamp(job->max_memory), "max_cpu_s", clamp(job->max_cpu_s));

    if (!header || (job->relevance && json_object_set_new(header, "relevance",
                                                          relevance_to_json(job->relevance)) < 0))
        return NULL;
    return json_dumps(header, JSON_COMPACT);
}

/* iovec serves readers too, so its pointer is not const. */
static struct iovec part(const void *bytes, size_t size)
{
    struct iovec part = {.iov_len = size};

    memcpy(&part.iov_base, &bytes, sizeof(bytes));
    return part;
}

int training_job_pack(const struct training_job *job, int *ret_fd, struct error *reterr)
{
    assert(job && job->names && job->n_features > 0 && (job->rows || job->n_rows == 0) && ret_fd);
    assert(job->calibration || job->n_calibration == 0);
    static const char blanks[ALIGNMENT] =
        "                                                               ";
    const size_t row_size = job->n_features * sizeof(float);

    AUTO_FREE char *header = print_header(job);
    if (!header)
        return error_set_errno(reterr, -ENOMEM, job_name, "write");
    const size_t length = strlen(header);
    const size_t padding = (ALIGNMENT - (sizeof(uint64_t) + length) % ALIGNMENT) % ALIGNMENT;
    const uint64_t padded = length + padding;
    const struct iovec parts[] = {
        part(&padded, sizeof(padded)),
        part(header, length),
        part(blanks, padding),
        part(job->rows, job->n_rows * row_size),
        part(job->calibration, job->n_calibration * row_size),
    };

    CLEANUP(close_fd) int fd = memfd_create("training-job", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set_errno(reterr, -errno, job_name, "make");
    int r = file_write_fd(fd, job_name, parts, sizeof(parts) / sizeof(*parts), reterr);
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return error_set_errno(reterr, -errno, job_name, "seal");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- reading ---- */

static int damaged(struct error *reterr, const char *what)
{
    (void)error_set_at(reterr, -EINVAL, job_name, 0, "%s", what);
    return -EINVAL;
}

static int map_memory(int fd, struct mapped_job *mapped, struct error *reterr)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;

    if (seals < 0 || (seals & SEALS) != SEALS)
        return damaged(reterr, "descriptor is not a sealed memfd");
    if (fstat(fd, &status) < 0)
        return error_set_errno(reterr, -errno, job_name, "read");
    if ((uint64_t)status.st_size < sizeof(uint64_t))
        return damaged(reterr, "is too short");
    void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        return error_set_errno(reterr, -errno, job_name, "map");
    mapped->memory = memory;
    mapped->size = (size_t)status.st_size;
    return 0;
}

/* Up to most; SIZE_MAX: it is not there, or another thing. */
static size_t read_count(const json_t *header, const char *key, uint64_t most)
{
    const json_t *value = json_object_get(header, key);
    const json_int_t count = json_integer_value(value);

    return json_is_integer(value) && count >= 0 && (uint64_t)count <= most ? (size_t)count
                                                                           : SIZE_MAX;
}

static int read_names(struct mapped_job *mapped, struct error *reterr)
{
    const json_t *names = json_object_get(mapped->header, "features");
    const size_t n = json_array_size(names);

    if (n == 0)
        return damaged(reterr, "has no features");
    mapped->names = calloc(n, sizeof(*mapped->names));
    if (!mapped->names)
        return error_set_errno(reterr, -ENOMEM, job_name, "read");
    for (size_t i = 0; i < n; i++) {
        mapped->names[i] = json_string_value(json_array_get(names, i));
        if (!mapped->names[i])
            return damaged(reterr, "has a feature without a name");
    }
    mapped->job.names = mapped->names;
    mapped->job.n_features = n;
    return 0;
}

static int read_preparation(struct mapped_job *mapped, struct error *reterr)
{
    const json_t *document = json_object_get(mapped->header, "preparation");
    struct error why = {0};

    if (!document || json_is_null(document))
        return 0;
    if (preparation_from_json(document, &mapped->preparation, &why) < 0)
        return damaged(reterr, why.text);
    mapped->job.preparation = mapped->preparation;
    return 0;
}

static int read_recipe(const json_t *fields, struct recipe *recipe, struct error *reterr)
{
    recipe_init(recipe);
    if (!json_is_object(fields))
        return damaged(reterr, "has no recipe");
    for (size_t i = 0; i < recipe_n_fields; i++) {
        const struct recipe_field *field = &recipe_fields[i];
        const json_t *value = json_object_get(fields, field->name);
        struct error why = {0};
        if (!value)
            continue;
        if (!json_is_string(value))
            return damaged(reterr, "has a recipe that is not text");
        if (recipe_set(recipe, field, json_string_value(value), &why) < 0)
            return error_set_at(reterr, -EINVAL, job_name, 0, "%s %s", field->name, why.text);
    }
    return 0;
}

static int read_relevance(const json_t *document, struct training_job *job, struct error *reterr)
{
    int r = document ? relevance_from_json(document, &job->relevance) : 0;

    return r == -EINVAL ? damaged(reterr, "does not say what matters as train takes it")
           : r < 0      ? error_set_errno(reterr, r, job_name, "read")
                        : 0;
}

static int read_limits(struct mapped_job *mapped, struct error *reterr)
{
    struct training_job *job = &mapped->job;
    const size_t parent = read_count(mapped->header, "parent", INT32_MAX);
    const size_t max_memory = read_count(mapped->header, "max_memory", INT64_MAX);
    const size_t max_cpu_s = read_count(mapped->header, "max_cpu_s", INT64_MAX);

    if (parent == SIZE_MAX || max_memory == SIZE_MAX || max_cpu_s == SIZE_MAX)
        return damaged(reterr, "has no limits");
    mapped->parent = (int64_t)parent;
    job->max_memory = max_memory;
    job->max_cpu_s = max_cpu_s;
    job->start = json_string_value(json_object_get(mapped->header, "start"));
    return 0;
}

/* The floats behind the header are exactly those of the rows that it counts. */
static int find_rows(struct mapped_job *mapped, size_t begin, struct error *reterr)
{
    struct training_job *job = &mapped->job;
    const size_t row_size = job->n_features * sizeof(float);
    assert(row_size > 0);
    const size_t n = (mapped->size - begin) / row_size;
    const size_t n_rows = read_count(mapped->header, "rows", n);
    const size_t n_calibration = read_count(mapped->header, "calibration_rows", n);

    if (begin % ALIGNMENT != 0 || n_rows == SIZE_MAX || n_calibration == SIZE_MAX ||
        n_rows + n_calibration != n || (mapped->size - begin) % row_size != 0)
        return damaged(reterr, "does not have the rows that it says");
    job->rows = (const float *)((const char *)mapped->memory + begin);
    job->n_rows = n_rows;
    job->calibration = n_calibration ? job->rows + n_rows * job->n_features : NULL;
    job->n_calibration = n_calibration;
    return 0;
}

static int read_job(struct mapped_job *mapped, struct error *reterr)
{
    const char *memory = mapped->memory;
    json_error_t why;
    uint64_t length;

    assert(memory);
    memcpy(&length, memory, sizeof(length));
    if (length > mapped->size - sizeof(length))
        return damaged(reterr, "is cut short");
    mapped->header = json_loadb(memory + sizeof(length), length, JSON_REJECT_DUPLICATES, &why);
    if (!mapped->header)
        return damaged(reterr, why.text);
    int r = read_names(mapped, reterr);
    if (r == 0)
        r = read_preparation(mapped, reterr);
    if (r == 0)
        r = read_recipe(json_object_get(mapped->header, "recipe"), &mapped->job.recipe, reterr);
    if (r == 0)
        r = read_relevance(json_object_get(mapped->header, "relevance"), &mapped->job, reterr);
    if (r == 0)
        r = read_limits(mapped, reterr);
    return r < 0 ? r : find_rows(mapped, sizeof(length) + length, reterr);
}

int training_job_map(int fd, struct mapped_job *ret_mapped, struct error *reterr)
{
    assert(ret_mapped);
    CLEANUP(training_job_unmap) struct mapped_job mapped = {0};

    int r = map_memory(fd, &mapped, reterr);
    if (r == 0)
        r = read_job(&mapped, reterr);
    if (r < 0)
        return r;
    *ret_mapped = mapped;
    mapped = (struct mapped_job){0};
    return 0;
}

void training_job_unmap(struct mapped_job *mapped)
{
    json_decref(mapped->header);
    preparation_free(mapped->preparation);
    relevance_release(mapped->job.relevance);
    free(mapped->names);
    if (mapped->memory)
        (void)munmap(mapped->memory, mapped->size);
    *mapped = (struct mapped_job){0};
}
