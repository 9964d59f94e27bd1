/* fuzz_config - configuration files: every refusal has its line and reason. */
#include "base/text.h"
#include "fuzz/fuzz.h"
#include "service/config.h"
#include "service/ini.h"

#include <errno.h>

static void check_ini(const char *data, size_t size)
{
    CLEANUP(ini_clear) struct ini ini = {0};
    CLEANUP(text_clear) struct text errors = {0};
    size_t line = 0;

    must(ini_parse("x.conf", data, size, &ini, &errors) == 0);
    for (size_t i = 0; i < ini.n_entries; i++) {
        must(ini.entries[i].section && ini.entries[i].line > line);
        line = ini.entries[i].line;
        must(!ini.entries[i].key || ini.entries[i].value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(text_clear) struct text errors = {0};
    AUTO_FREE char *data = fuzz_block(bytes, size);
    char path[64];

    check_ini(data, size);
    const int fd = fuzz_file(data, size, path);
    const int r = config_load(path, &config, &errors);
    (void)close(fd);
    must(r == 0 || (r == -EINVAL && errors.length > 0));
    must((r == 0) == (config != NULL));
    return 0;
}
