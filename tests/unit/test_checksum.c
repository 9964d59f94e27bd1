#include "base/checksum.h"

#include "support/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FIPS 180-2, appendix B. */
static void the_standard_vectors_are_met(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } cases[] = {
        {"",                                                         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc",                                                      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"                                                            },
    };
    char hex[SHA256_HEX_SIZE];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        sha256_hex(cases[i].text, strlen(cases[i].text), hex);
        assert_string_equal(hex, cases[i].digest);
    }
}

static void a_million_bytes_are_summed(void **state)
{
    (void)state;
    char hex[SHA256_HEX_SIZE];
    char *bytes = malloc(1000000);

    assert_non_null(bytes);
    memset(bytes, 'a', 1000000);
    sha256_hex(bytes, 1000000, hex);
    free(bytes);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void a_descriptor_is_summed_from_where_it_stands(void **state)
{
    (void)state;
    char hex[SHA256_HEX_SIZE], expected[SHA256_HEX_SIZE];
    static char bytes[40000];
    FILE *file = tmpfile();

    assert_non_null(file);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    assert_int_equal(write(fileno(file), bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(lseek(fileno(file), 1, SEEK_SET), 1);
    assert_int_equal(sha256_fd_hex(fileno(file), hex), 0);
    sha256_hex(bytes + 1, sizeof(bytes) - 1, expected);
    assert_string_equal(hex, expected);
    (void)fclose(file);
    assert_int_equal(sha256_fd_hex(-1, hex), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_vectors_are_met),
        cmocka_unit_test(a_million_bytes_are_summed),
        cmocka_unit_test(a_descriptor_is_summed_from_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
