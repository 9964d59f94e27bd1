#include "http/request_id.h"

#include "support/cmocka.h"

#include <inttypes.h>
#include <stdio.h>

static void ids_are_eight_digits_of_their_own_and_a_count(void **state)
{
    (void)state;
    static const struct {
        uint32_t prefix;
        uint64_t count;
        const char *id;
    } ids[] = {
        {0x89abcdef, 0,              "89abcdef-1"               },
        {0x00000000, 9,              "00000000-a"               },
        {0x0000000f, 0xe,            "0000000f-f"               },
        {0xf0000000, 0xf,            "f0000000-10"              },
        {0x12345678, 0xffe,          "12345678-fff"             },
        {0x12345678, 0xfff,          "12345678-1000"            },
        {0xffffffff, UINT64_MAX - 1, "ffffffff-ffffffffffffffff"},
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        struct request_ids of_worker = {.prefix = ids[i].prefix, .count = ids[i].count};
        char id[REQUEST_ID_SIZE];

        request_ids_next(&of_worker, id);
        assert_string_equal(id, ids[i].id);
    }
}

static void a_worker_repeats_none(void **state)
{
    (void)state;
    struct request_ids of_worker;
    char id[REQUEST_ID_SIZE], wanted[REQUEST_ID_SIZE];

    request_ids_init(&of_worker);
    const uint32_t prefix = of_worker.prefix;
    for (uint64_t i = 1; i < 5000; i++) {
        request_ids_next(&of_worker, id);
        (void)snprintf(wanted, sizeof(wanted), "%08" PRIx32 "-%" PRIx64, prefix, i);
        assert_string_equal(id, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_eight_digits_of_their_own_and_a_count),
        cmocka_unit_test(a_worker_repeats_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
