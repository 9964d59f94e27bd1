#include "base/input.h"

#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse_size(const struct input *input, struct error *reterr)
{
    return error_set_at(reterr, -EFBIG, input->name, 0, "is larger than %zu bytes",
                        input->max_size);
}

/* What is left of a regular file; standard input may stand in the middle of one. */
static size_t count_expected(int fd)
{
    struct stat status;
    const off_t at = lseek(fd, 0, SEEK_CUR);

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || at < 0 || at >= status.st_size)
        return 0; /* files of /proc say that they are empty */
    return (size_t)(status.st_size - at);
}

int input_open(struct input *input, const char *path, size_t max_size, struct error *reterr)
{
    assert(!input->is_open && path);
    int r = file_open(path, &input->fd, reterr);
    if (r < 0)
        return r;
    input->is_open = true;
    input->name = file_name(path);
    input->chunk = INPUT_CHUNK;
    input->max_size = max_size;
    input->expected = count_expected(input->fd);
    return input->expected > max_size ? refuse_size(input, reterr) : 0;
}

void input_clear(struct input *input)
{
    if (input->is_open)
        close_fd(&input->fd);
    free(input->bytes);
    *input = (struct input){0};
}

static bool make_room(struct input *input, size_t capacity)
{
    if (input->bytes && capacity <= input->capacity)
        return true;
    char *larger = realloc(input->bytes, capacity + 1);
    if (!larger)
        return false;
    input->bytes = larger;
    input->capacity = capacity;
    return true;
}

int input_read(struct input *input, size_t n_used, size_t n_wanted, struct error *reterr)
{
    assert(input->is_open && n_used <= input->size);
    if (!make_room(input, input->at_end ? input->size : n_wanted))
        return error_set_errno(reterr, -ENOMEM, input->name, "read");

    input->size -= n_used;
    memmove(input->bytes, input->bytes + n_used, input->size);
    while (!input->at_end && input->size < n_wanted) {
        const ssize_t n = read(input->fd, input->bytes + input->size, n_wanted - input->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(reterr, -errno, input->name, "read");
        input->at_end = n == 0;
        input->size += (size_t)n;
        input->n_read += (size_t)n;
        if (input->n_read > input->max_size)
            return refuse_size(input, reterr);
    }
    input->bytes[input->size] = '\0';
    return 0;
}
