/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a payload is: record after record is cut out by its length; the keys that we
 * read are remembered by where their value lies, those of vendors only as being there.
 * Possible failure modes are: a length that is none or leads elsewhere, no '=', a NUL in a key.
 * Other readers stop there and use the rest of the header as it is; we refuse it.
 */
#include "index/tar_pax.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum tar_pax_key key;
} keys[] = {
    {"path", PAX_PATH},
    {"linkpath", PAX_LINKPATH},
    {"size", PAX_SIZE},
    {"uid", PAX_UID},
    {"gid", PAX_GID},
    {"mtime", PAX_MTIME},
    {"GNU.sparse.name", PAX_SPARSE_NAME},
    {"GNU.sparse.major", PAX_SPARSE_MAJOR},
    {"GNU.sparse.minor", PAX_SPARSE_MINOR},
    {"GNU.sparse.size", PAX_SPARSE_SIZE},
    {"GNU.sparse.realsize", PAX_SPARSE_REAL_SIZE},
    {"GNU.sparse.numblocks", PAX_SPARSE_BLOCKS},
    {"GNU.sparse.map", PAX_SPARSE_MAP},
};

static const char sparse_prefix[] = "GNU.sparse.";
static const char *const vendor_prefixes[] = {"SCHILY.xattr.", "SCHILY.acl.", "LIBARCHIVE.xattr.",
                                              "SCHILY.devm"};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool begins_with(const uint8_t *bytes, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);

    return len >= n && memcmp(bytes, prefix, n) == 0;
}

int tar_pax_next(const uint8_t *bytes, size_t len, size_t *off, struct tar_pax_record *out)
{
    size_t at = *off, size = 0, end;
    const uint8_t *equals;

    for (; at < len && bytes[at] >= '0' && bytes[at] <= '9' && size <= len; at++)
        size = size * 10 + (size_t)(bytes[at] - '0');
    if (at == len || bytes[at] != ' ' || size > len - *off || size < at - *off + 3)
        return -EBADMSG;
    end = *off + size - 1;
    at++;
    equals = memchr(bytes + at, '=', end - at);
    if (!equals || equals == bytes + at || bytes[end] != '\n')
        return -EBADMSG;
    out->key = at;
    out->key_len = (size_t)(equals - bytes) - at;
    out->value = at + out->key_len + 1;
    out->value_len = end - out->value;
    *off = end + 1;
    return memchr(bytes + at, '\0', out->key_len) ? -EBADMSG : 0;
}

bool tar_pax_is(const uint8_t *bytes, const struct tar_pax_record *record, const char *key)
{
    return record->key_len == strlen(key) && memcmp(bytes + record->key, key, record->key_len) == 0;
}

static void take_record(const uint8_t *bytes, const struct tar_pax_record *record,
                        struct tar_pax *out)
{
    const uint8_t *key = bytes + record->key;

    for (size_t i = 0; i < N_OF(keys); i++) {
        if (tar_pax_is(bytes, record, keys[i].name)) {
            out->values[keys[i].key].off = record->value;
            out->values[keys[i].key].len = record->value_len;
        }
    }
    for (size_t i = 0; i < N_OF(vendor_prefixes); i++)
        out->vendor = out->vendor || begins_with(key, record->key_len, vendor_prefixes[i]);
    out->sparse = out->sparse || begins_with(key, record->key_len, sparse_prefix);
}

int tar_pax_read(const uint8_t *records, size_t len, struct tar_pax *out, struct clip_error *err)
{
    struct tar_pax pax = {0};
    struct tar_pax_record record;

    for (size_t off = 0; off < len;) {
        if (tar_pax_next(records, len, &off, &record) < 0)
            return err_set(err, CLIP_EFORMAT, "a pax record is malformed");
        take_record(records, &record, &pax);
    }
    *out = pax;
    return 0;
}

int tar_globals_update(struct tar_globals *globals, const uint8_t *records,
                       const struct tar_pax *pax)
{
    for (size_t i = 0; i < PAX_KEYS; i++) {
        size_t len = pax->values[i].len;
        uint8_t *copy;
        if (pax->values[i].off == 0)
            continue;
        copy = len > 0 ? malloc(len) : NULL;
        if (len > 0 && !copy)
            return -ENOMEM;
        if (copy)
            memcpy(copy, records + pax->values[i].off, len);
        free(globals->values[i].bytes);
        globals->values[i].bytes = copy;
        globals->values[i].len = len;
    }
    return 0;
}

void tar_globals_fini(struct tar_globals *globals)
{
    for (size_t i = 0; i < PAX_KEYS; i++)
        free(globals->values[i].bytes);
    *globals = (struct tar_globals){0};
}

/* Digits from *at; stops at the first byte that is none. */
static int read_digits(const uint8_t *text, size_t len, size_t *at, int64_t *out)
{
    size_t from = *at;
    int64_t value = 0;

    for (; *at < len && text[*at] >= '0' && text[*at] <= '9'; (*at)++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text[*at] - '0', &value))
            return -EBADMSG;
    }
    *out = value;
    return *at > from ? 0 : -EBADMSG;
}

int tar_pax_number(const uint8_t *text, size_t len, int64_t *out)
{
    size_t at = len > 0 && text[0] == '-';
    bool negative = at > 0;
    int64_t value;

    if (read_digits(text, len, &at, &value) < 0 || at < len)
        return -EBADMSG;
    *out = negative ? -value : value;
    return 0;
}

int tar_pax_time(const uint8_t *text, size_t len, int64_t *out_sec, uint32_t *out_nsec)
{
    size_t at = len > 0 && text[0] == '-';
    bool negative = at > 0;
    uint32_t nsec = 0, unit = 100000000;
    int64_t sec;

    if (read_digits(text, len, &at, &sec) < 0)
        return -EBADMSG;
    if (at < len && text[at] == '.')
        for (at++; at < len && text[at] >= '0' && text[at] <= '9'; at++, unit /= 10)
            nsec += unit * (uint32_t)(text[at] - '0');
    if (at < len)
        return -EBADMSG;
    /* nanoseconds always count forward */
    *out_sec = !negative ? sec : nsec > 0 ? -sec - 1 : -sec;
    *out_nsec = negative && nsec > 0 ? 1000000000 - nsec : nsec;
    return 0;
}
