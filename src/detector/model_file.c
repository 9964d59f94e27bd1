#include "detector/model_file.h"

#include "base/file.h"
#include "detector/model_errors.h"
#include "detector/model_parts.h"
#include "detector/safetensors.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The bytes of a model file. */
struct image {
    char *header;
    float *tensors;
    struct iovec parts[2];
};

static void image_clear(struct image *image)
{
    free(image->header);
    free(image->tensors);
}

static int image_make(const struct detector *detector, const char *name, struct image *image,
                      struct error *reterr)
{
    size_t header_size = 0, n_floats = 0;
    int r = model_write(detector, &image->header, &header_size, &image->tensors, &n_floats);

    if (r < 0)
        return error_set_errno(reterr, r, name, "write");
    image->parts[0] = (struct iovec){image->header, header_size};
    image->parts[1] = (struct iovec){image->tensors, n_floats * sizeof(*image->tensors)};
    return 0;
}

int model_file_save(const struct detector *detector, const char *path, struct error *reterr)
{
    CLEANUP(image_clear) struct image image = {0};
    int r = image_make(detector, path, &image, reterr);

    return r < 0 ? r : file_write(path, image.parts, 2, reterr);
}

int model_file_write(const struct detector *detector, int fd, struct error *reterr)
{
    static const char name[] = "the model file";
    CLEANUP(image_clear) struct image image = {0};
    int r = image_make(detector, name, &image, reterr);

    return r < 0 ? r : file_write_fd(fd, name, image.parts, 2, reterr);
}

int model_file_parse(const char *name, const char *data, size_t size,
                     struct detector **ret_detector, struct error *reterr)
{
    json_auto_t *header = NULL;
    AUTO_FREE char *aligned = NULL;
    CLEANUP(model_errors_clear) struct model_errors errors = {0};
    struct safetensors parts;

    int r = safetensors_split(name, data, size, &parts, reterr);
    if (r < 0)
        return r;
    r = model_errors_cut(parts.header, parts.header_size, &errors);
    if (errors.header) {
        parts.header = errors.header;
        parts.header_size = errors.length;
    }
    if (r == 0)
        r = safetensors_parse(name, &parts, &header, reterr);
    /* Where other writers did not pad the header, the numbers stand askew. */
    if (r == 0 && (uintptr_t)parts.tensors % sizeof(float) != 0) {
        aligned = malloc(parts.tensors_size);
        if (!aligned)
            return error_set_errno(reterr, -ENOMEM, name, "read");
        parts.tensors = memcpy(aligned, parts.tensors, parts.tensors_size);
    }
    if (r == 0)
        r = model_read(name, header, &parts, &errors, ret_detector, reterr);
    return r == -ENOMEM ? error_set_errno(reterr, r, name, "read") : r;
}

int model_file_load(const char *path, struct detector **ret_detector, struct error *reterr)
{
    AUTO_FREE char *data = NULL;
    size_t size = 0;

    int r = file_read(path, MODEL_FILE_MAX_SIZE, &data, &size, reterr);
    return r < 0 ? r : model_file_parse(path, data, size, ret_detector, reterr);
}

size_t model_file_memory(const char *data, size_t size)
{
    struct safetensors parts;

    if (safetensors_split("", data, size, &parts, NULL) < 0)
        return 0;
    return 2 * parts.tensors_size + parts.header_size / 3;
}
