/* SPDX-License-Identifier: Apache-2.0 */
/* A sentence is formatted into a buffer of its own first, so that its arguments may point into
 * the message that it replaces. */
#include "engine/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int set_message(struct clip_error *err, int code, const char *message)
{
    size_t len = strnlen(message, sizeof(err->message) - 1);

    err->code = code;
    memcpy(err->message, message, len);
    err->message[len] = '\0';
    return code;
}

void err_clear(struct clip_error *err)
{
    if (err)
        set_message(err, 0, "");
}

int err_set(struct clip_error *err, int code, const char *fmt, ...)
{
    char text[CLIP_ERROR_LEN];
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return set_message(err, code, text);
}

int err_sys(struct clip_error *err, int code, const char *fmt, ...)
{
    char text[CLIP_ERROR_LEN];
    char both[CLIP_ERROR_LEN];
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    snprintf(both, sizeof(both), "%.*s: %s", (int)sizeof(both) - 64, text, strerror(-code));
    return set_message(err, code, both);
}

int err_prefix(struct clip_error *err, const char *fmt, ...)
{
    char prefix[CLIP_ERROR_LEN];
    char both[2 * CLIP_ERROR_LEN + 2];
    va_list args;

    if (!err)
        return -EIO;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof(prefix), fmt, args);
    va_end(args);
    snprintf(both, sizeof(both), "%s: %s", prefix, err->message);
    return set_message(err, err->code, both);
}

const char *err_quote(const void *bytes, size_t len, char *out, size_t out_len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        if (used + 8 > out_len) { /* room for one \xNN, "..." and the NUL */
            snprintf(out + used, out_len - used, "...");
            return out;
        }
        if (in[i] >= 0x20 && in[i] < 0x7f && in[i] != '\\') {
            out[used++] = (char)in[i];
        } else {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = hex[in[i] >> 4];
            out[used++] = hex[in[i] & 15];
        }
    }
    out[used] = '\0';
    return out;
}
