#include "base/checksum.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <unistd.h>

static void print(struct sha256_ctx *context, char ret_hex[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_digest(context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret_hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        ret_hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    ret_hex[SHA256_HEX_SIZE - 1] = '\0';
}

void sha256_hex(const void *data, size_t size, char ret_hex[SHA256_HEX_SIZE])
{
    struct sha256_ctx context;

    sha256_init(&context);
    sha256_update(&context, size, data);
    print(&context, ret_hex);
}

int sha256_fd_hex(int fd, char ret_hex[SHA256_HEX_SIZE])
{
    struct sha256_ctx context;
    uint8_t piece[16384];
    ssize_t n;

    sha256_init(&context);
    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            sha256_update(&context, (size_t)n, piece);
    }
    print(&context, ret_hex);
    return 0;
}
