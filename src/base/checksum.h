/* checksum - SHA-256, to know a file again and to notice damage. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define SHA256_HEX_SIZE 65 /* 64 digits and the NUL */

void sha256_hex(const void *data, size_t size, char ret_hex[SHA256_HEX_SIZE]);

/* Of a descriptor, from where it stands to its end, piece by piece. Negative errno from read(). */
MUST_CHECK int sha256_fd_hex(int fd, char ret_hex[SHA256_HEX_SIZE]);
