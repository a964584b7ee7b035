/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing that came from an image or a registry reaches a terminal raw: a file name may hold escape
 * sequences that retitle the window or paint a fake prompt. A sentence is built in a buffer first
 * and quoted as a whole, so that no caller has to think of it; into pipes names go as they are,
 * because scripts want the bytes. C1 controls (U+0080 to U+009F) are escape sequences too. */
#include "say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SENTENCE_LEN 2048

static const char *program = "clip";

void say_program(const char *name)
{
    program = name;
}

static size_t utf8_len(unsigned char lead)
{
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if ((lead & 0xf0) == 0xe0)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* Neither a C1 control, nor too long a form, nor a surrogate, nor past the end of Unicode. */
static bool may_be_shown(uint32_t c, size_t n)
{
    static const uint32_t least[] = {[2] = 0xa0, [3] = 0x800, [4] = 0x10000};
    return c >= least[n] && (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
}

size_t say_utf8(const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (len == 0)
        return 0;
    if (b[0] < 0x80)
        return b[0] >= 0x20 && b[0] != 0x7f;
    size_t n = utf8_len(b[0]);
    if (n == 0 || n > len)
        return 0;
    uint32_t c = b[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (b[i] & 0x3fu);
    }
    return may_be_shown(c, n) ? n : 0;
}

static void put_escaped(FILE *stream, unsigned char byte)
{
    static const char letters[] = "abtnvfr"; /* 7 to 13 */
    if (byte >= 7 && byte <= 13)
        fprintf(stream, "\\%c", letters[byte - 7]);
    else
        fprintf(stream, "\\x%02x", byte);
}

static void put_shown(FILE *stream, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t n = say_utf8(bytes, len);
        if (n > 0)
            fwrite(bytes, 1, n, stream);
        else
            put_escaped(stream, (unsigned char)*bytes);
        n += n == 0;
        bytes += n;
        len -= n;
    }
}

void say_quoted(FILE *stream, const char *bytes, size_t len)
{
    const char *end = bytes + len;
    while (bytes < end) {
        const char *slash = memchr(bytes, '\\', (size_t)(end - bytes));
        put_shown(stream, bytes, (size_t)((slash ? slash : end) - bytes));
        if (!slash)
            break;
        fputs("\\\\", stream);
        bytes = slash + 1;
    }
}

void say_name(FILE *stream, const char *bytes, size_t len)
{
    if (isatty(fileno(stream)))
        say_quoted(stream, bytes, len);
    else
        fwrite(bytes, 1, len, stream);
}

void say_error(const char *fmt, ...)
{
    char sentence[SENTENCE_LEN];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s: ", program);
    put_shown(stderr, sentence, strlen(sentence));
    fputc('\n', stderr);
}

const char *say_size(uint64_t bytes, char out[SAY_SIZE_LEN])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double n = (double)bytes;
    int unit = -1;
    while (n >= 999.5 && unit < 5) {
        n /= 1000;
        unit++;
    }
    if (unit < 0)
        snprintf(out, SAY_SIZE_LEN, "%u B", (unsigned)bytes);
    else
        snprintf(out, SAY_SIZE_LEN, n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

const char *say_time(int64_t seconds, char out[SAY_TIME_LEN])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, SAY_TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, SAY_TIME_LEN, "@%lld", (long long)seconds);
    return out;
}
