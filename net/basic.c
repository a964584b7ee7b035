/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 in one pass into a buffer of the right size. Failure: no memory. */
#include "net/basic.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static char *encode(char *out, const uint8_t *in, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        uint32_t word = (uint32_t)in[i] << 16;
        word |= i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0;
        word |= i + 2 < len ? in[i + 2] : 0;
        *out++ = digits[word >> 18];
        *out++ = digits[word >> 12 & 63];
        *out++ = i + 1 < len ? digits[word >> 6 & 63] : '=';
        *out++ = i + 2 < len ? digits[word & 63] : '=';
    }
    return out;
}

char *basic_header(const char *userinfo)
{
    static const char prefix[] = "Basic ";
    size_t len = strlen(userinfo);
    char *plain = malloc(len + 2);
    char *out = malloc(sizeof(prefix) + (len + 3) / 3 * 4 + 1);

    if (plain && out) {
        memcpy(plain, userinfo, len + 1);
        if (!strchr(plain, ':'))
            memcpy(plain + len++, ":", 2);
        memcpy(out, prefix, sizeof(prefix) - 1);
        *encode(out + sizeof(prefix) - 1, (const uint8_t *)plain, len) = '\0';
        explicit_bzero(plain, len);
    } else {
        free(out);
        out = NULL;
    }
    free(plain);
    return out;
}
