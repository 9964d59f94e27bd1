#include "nn/kernel_check.h"

#include "nn/blas.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"

#include <errno.h>

static void the_kernels_of_this_machine_agree_with_plain_loops(void **state)
{
    (void)state;
    const char *what = NULL;

    assert_int_equal(kernel_check(KERNEL_TOLERANCE, &what), 0);
    assert_null(what);
}

/* That it looks: floats are never as good as doubles. */
static void a_rounding_is_a_difference_where_none_is_tolerated(void **state)
{
    (void)state;
    const char *what = NULL;

    assert_int_equal(kernel_check(0.0, &what), -EIO);
    assert_string_equal(what, "the multiplication of layers");
}

static void memory_may_be_short(void **state)
{
    (void)state;
    const char *what = NULL;
    bool has_failed = true;

    for (int n = 0; has_failed; n++) {
        alloc_fail_in = n;
        const int r = kernel_check(KERNEL_TOLERANCE, &what);
        has_failed = alloc_fail_in < 0;
        alloc_fail_in = -1;
        assert_int_equal(r, has_failed ? -ENOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernels_of_this_machine_agree_with_plain_loops),
        cmocka_unit_test(a_rounding_is_a_difference_where_none_is_tolerated),
        cmocka_unit_test(memory_may_be_short),
    };
    blas_use_one_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
