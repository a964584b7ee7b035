/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/tarball.h"

#include "test/lib/drip.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK    512u
#define TEXT_MAX 512u /* bytes of content that are shown */

void tarball_fini(struct tarball *t)
{
    free(t->bytes);
    free(t->text);
    *t = (struct tarball){0};
}

/* ---- writing */

static uint8_t *grow(struct tarball *t, size_t len)
{
    if (t->len + len > t->cap) {
        t->cap = 2 * (t->len + len);
        t->bytes = realloc(t->bytes, t->cap);
        assert(t->bytes);
    }
    memset(t->bytes + t->len, 0, len);
    t->len += len;
    return t->bytes + t->len - len;
}

void tarball_octal(uint8_t *field, size_t len, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%0*" PRIo64, (int)len - 1, value);
    memcpy(field, text, len);
}

void tarball_binary(uint8_t *field, size_t len, int64_t value)
{
    for (size_t i = len; i-- > 0; value >>= 8)
        field[i] = (uint8_t)value;
    field[0] |= 0x80;
}

void tarball_sum(uint8_t *header)
{
    unsigned sum = 0;

    memset(header + 148, ' ', 8);
    for (unsigned i = 0; i < BLOCK; i++)
        sum += header[i];
    tarball_octal(header + 148, 7, sum);
}

uint8_t *tarball_header(struct tarball *t, char type, const char *name, uint64_t size)
{
    uint8_t *h = grow(t, BLOCK);

    memcpy(h, name, strnlen(name, 100));
    tarball_octal(h + 100, 8, 0644);
    tarball_octal(h + 108, 8, 0);
    tarball_octal(h + 116, 8, 0);
    tarball_octal(h + 124, 12, size);
    tarball_octal(h + 136, 12, 0);
    h[156] = (uint8_t)type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    tarball_sum(h);
    return h;
}

void tarball_data(struct tarball *t, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(grow(t, (len + BLOCK - 1) / BLOCK * BLOCK), bytes, len);
}

void tarball_meta(struct tarball *t, char type, const void *payload, size_t len)
{
    tarball_header(t, type, "././@LongLink", len);
    tarball_data(t, payload, len);
}

/* The length counts its own digits too. */
static size_t put_record(char *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, len = rest + 1;

    while ((size_t)snprintf(NULL, 0, "%zu", len) + rest != len)
        len++;
    return (size_t)sprintf(out, "%zu %s=%s\n", len, key, value);
}

void tarball_pax(struct tarball *t, int type, ...)
{
    size_t len = 0;
    const char *key;
    char *payload = NULL;
    va_list ap;

    va_start(ap, type);
    while ((key = va_arg(ap, const char *))) {
        const char *value = va_arg(ap, const char *);
        payload = realloc(payload, len + strlen(key) + strlen(value) + 32);
        assert(payload);
        len += put_record(payload + len, key, value);
    }
    va_end(ap);
    tarball_meta(t, (char)type, payload, len);
    free(payload);
}

void tarball_end(struct tarball *t)
{
    grow(t, 2 * (size_t)BLOCK);
}

/* ---- reading */

struct reading {
    struct tarball *t;
    struct tar *tar;
    FILE *text;
    char content[TEXT_MAX + 1];
    size_t n_content;
    bool ended;
    struct clip_error err;
};

static const char *const types[] = {
    [TAR_FILE] = "file",   [TAR_HARDLINK] = "link", [TAR_SYMLINK] = "symlink", [TAR_CHAR] = "char",
    [TAR_BLOCK] = "block", [TAR_DIR] = "dir",       [TAR_FIFO] = "fifo",
};

static void print_xattrs(struct reading *r, const struct tar_entry *entry)
{
    for (size_t i = 0; i < entry->n_xattrs; i++) {
        const struct tar_xattr *xattr = &entry->xattrs[i];
        fprintf(r->text, " [%s=", xattr->name);
        for (size_t k = 0; k < xattr->value_len; k++)
            fprintf(r->text, "%02x", ((const uint8_t *)xattr->value)[k]);
        fputc(']', r->text);
    }
}

static void print_entry(struct reading *r, const struct tar_entry *entry)
{
    fprintf(r->text, "%s %s", types[entry->type], entry->path);
    if (entry->link)
        fprintf(r->text, " -> %s", entry->link);
    fprintf(r->text, " %04o %u:%u @%" PRId64, entry->mode, entry->uid, entry->gid,
            entry->mtime_sec);
    if (entry->mtime_nsec)
        fprintf(r->text, ".%09u", entry->mtime_nsec);
    if (entry->type == TAR_CHAR || entry->type == TAR_BLOCK)
        fprintf(r->text, " %u,%u", entry->rdev_major, entry->rdev_minor);
    if (entry->type == TAR_FILE)
        fprintf(r->text, " %" PRIu64, entry->size);
    for (size_t i = 0; i < entry->n_extents; i++)
        fprintf(r->text, " {%" PRIu64 "+%" PRIu64 "}", entry->extents[i].file_off,
                entry->extents[i].len);
    print_xattrs(r, entry);
    memset(r->content, '.', TEXT_MAX);
    r->n_content = entry->size < TEXT_MAX ? (size_t)entry->size : TEXT_MAX;
}

/* The bytes that came, and those at which the extents say that they lie, must be the same. */
static void check_place(struct reading *r, uint64_t file_off, const void *bytes, size_t len)
{
    const struct tar_entry *entry = tar_entry(r->tar);
    size_t i = 0;

    while (entry->extents[i].file_off + entry->extents[i].len <= file_off)
        i++;
    uint64_t at = entry->extents[i].layer_off + (file_off - entry->extents[i].file_off);
    assert(at + len <= r->t->len && memcmp(r->t->bytes + at, bytes, len) == 0);
}

static void take_data(struct reading *r)
{
    const void *bytes;
    uint64_t off;
    size_t len;

    tar_data(r->tar, &bytes, &len, &off);
    if (len > 0)
        check_place(r, off, bytes, len);
    for (size_t i = 0; i < len && off + i < r->n_content; i++)
        r->content[off + i] = ((const char *)bytes)[i];
}

static void print_end(struct reading *r)
{
    if (tar_entry(r->tar)->type == TAR_FILE && r->n_content > 0)
        fprintf(r->text, " '%.*s'", (int)r->n_content, r->content);
    fputc('\n', r->text);
}

static void step_all(struct reading *r)
{
    int event = TAR_MORE_IN;

    while (!r->ended && (event = tar_step(r->tar, &r->err)) != TAR_MORE_IN) {
        if (event == TAR_ENTRY)
            print_entry(r, tar_entry(r->tar));
        else if (event == TAR_DATA)
            take_data(r);
        else if (event == TAR_ENTRY_END)
            print_end(r);
        else
            r->ended = true;
    }
    if (event < 0)
        fprintf(r->text, "error %d\n", event);
}

static void feed(void *data, const uint8_t *piece, size_t len)
{
    struct reading *r = data;

    if (r->ended)
        return;
    tar_feed(r->tar, piece, len);
    step_all(r);
}

static char *read_how(struct tarball *t, enum drip_how how)
{
    struct reading r = {.t = t};
    char *text;
    size_t len;

    r.text = open_memstream(&text, &len);
    if (!r.text || tar_new(&r.tar) < 0)
        abort();
    drip(t->bytes, t->len, how, 1, feed, &r);
    tar_finish(r.tar);
    step_all(&r);
    tar_free(r.tar);
    fclose(r.text);
    t->err = r.err;
    return text;
}

const char *tarball_read(struct tarball *t)
{
    free(t->text);
    t->text = read_how(t, DRIP_WHOLE);
    for (int how = 1; how < DRIP_HOWS; how++) {
        char *again = read_how(t, (enum drip_how)how);
        if (strcmp(t->text, again) != 0) {
            fprintf(stderr, "cut otherwise:\n%sinstead of:\n%s", again, t->text);
            abort();
        }
        free(again);
    }
    return t->text;
}
