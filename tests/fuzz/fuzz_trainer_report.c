/* fuzz_trainer_report - what a training in a child process says: a report is read as it is written
 * again. */
#include "base/text.h"
#include "fuzz/fuzz.h"
#include "service/trainer_report.h"

#include <errno.h>
#include <math.h>

static bool is_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *line = fuzz_block(bytes, size);
    CLEANUP(text_clear) struct text written = {0};
    struct trainer_report report, again;

    const int r = trainer_report_parse(line, size, &report);
    must(r == 0 || r == -EINVAL);
    if (r < 0)
        return 0;
    must(report.done >= 0 && report.done <= 1);
    trainer_report_print(&report, &written);
    must(!text_failed(&written) && written.length <= TRAINER_REPORT_SIZE);
    must(trainer_report_parse(written.data, written.length - 1, &again) == 0);
    must(again.kind == report.kind && strcmp(again.text, report.text) == 0);
    must(again.network == report.network && again.n_networks == report.n_networks);
    must(again.epoch == report.epoch && again.epochs == report.epochs);
    must(is_same(again.done, report.done) && is_same(again.loss, report.loss));
    must(is_same(again.validation_loss, report.validation_loss));
    return 0;
}
