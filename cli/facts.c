/* SPDX-License-Identifier: Apache-2.0 */
/* One place decides how a fact is called, so that `ls --json` and `stat --json` agree. Names in an
 * image are bytes; JSON has only Unicode. What is not UTF-8 is written with \xNN where it is
 * broken, for people, and next to it as hexadecimal, for programs. */
#include "facts.h"

#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int facts_open(const char *path, const char *inside, bool follow, struct clip_image **out_image,
               uint64_t *out_ino)
{
    struct clip_image *image;
    struct clip_error err;
    uint64_t ino = CLIP_ROOT_INO;
    int r = clip_image_open(path, &image, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    if (inside)
        r = clip_image_lookup(image, inside, follow, &ino);
    if (r < 0) {
        say_error("%s has no %s: %s", path, inside, strerror(-r));
        clip_image_unref(image);
        return 1;
    }
    *out_image = image;
    *out_ino = ino;
    return 0;
}

static const struct {
    uint32_t type;
    char letter;
    const char *name;
} types[] = {
    {S_IFREG, '-', "regular file"}, {S_IFDIR, 'd', "directory"},
    {S_IFLNK, 'l', "symlink"},      {S_IFCHR, 'c', "character device"},
    {S_IFBLK, 'b', "block device"}, {S_IFIFO, 'p', "fifo"},
    {S_IFSOCK, 's', "socket"},      {0, '?', "unknown"},
};

static size_t find_type(uint32_t mode)
{
    size_t i = 0;
    while (types[i].type && types[i].type != (mode & S_IFMT))
        i++;
    return i;
}

const char *facts_type(uint32_t mode)
{
    return types[find_type(mode)].name;
}

const char *facts_mode(uint32_t mode, char out[FACTS_MODE_LEN])
{
    static const char bits[] = "rwxrwxrwx";
    static const struct {
        uint32_t bit;
        int at;
        char with_x, without;
    } special[] = {{S_ISUID, 3, 's', 'S'}, {S_ISGID, 6, 's', 'S'}, {S_ISVTX, 9, 't', 'T'}};
    out[0] = types[find_type(mode)].letter;
    for (int i = 0; i < 9; i++)
        out[1 + i] = mode & (0400u >> i) ? bits[i] : '-';
    for (int i = 0; i < 3; i++) {
        if (mode & special[i].bit)
            out[special[i].at] = out[special[i].at] == 'x' ? special[i].with_x : special[i].without;
    }
    out[10] = '\0';
    return out;
}

void facts_hex(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *b = bytes;
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[b[i] >> 4];
        *out++ = digits[b[i] & 15];
    }
    *out = '\0';
}

static int set_hex(json_t *object, const char *key, const void *bytes, size_t len)
{
    char name[64];
    char *hex = malloc(2 * len + 1);
    if (!hex)
        return -ENOMEM;
    facts_hex(bytes, len, hex);
    snprintf(name, sizeof(name), "%s_hex", key);
    int r = json_object_set_new(object, name, json_string(hex));
    free(hex);
    return r < 0 ? -ENOMEM : 0;
}

static int set_quoted(json_t *object, const char *key, const void *bytes, size_t len)
{
    char *text = NULL;
    size_t text_len;
    FILE *stream = open_memstream(&text, &text_len);
    if (!stream)
        return -ENOMEM;
    say_quoted(stream, bytes, len);
    int r = fclose(stream);
    if (r == 0)
        r = json_object_set_new(object, key, json_stringn(text, text_len));
    free(text);
    return r < 0 ? -ENOMEM : 0;
}

int facts_set_bytes(json_t *object, const char *key, const void *bytes, size_t len)
{
    json_t *text = json_stringn(bytes, len);
    if (text)
        return json_object_set_new(object, key, text) < 0 ? -ENOMEM : 0;
    int r = set_quoted(object, key, bytes, len);
    return r < 0 ? r : set_hex(object, key, bytes, len);
}

static int set_target(json_t *object, const struct clip_image *image, uint64_t ino)
{
    const char *target;
    size_t len;
    if (clip_image_readlink(image, ino, &target, &len) < 0)
        return 0;
    return facts_set_bytes(object, "target", target, len);
}

const char *facts_content(const struct clip_image *image, uint64_t ino, char out[FACTS_DIGEST_LEN])
{
    uint8_t digest[32];
    out[0] = '\0';
    if (clip_image_content_digest(image, ino, digest) == 0) {
        strcpy(out, "sha256:");
        facts_hex(digest, sizeof(digest), out + strlen(out));
    }
    return out;
}

static json_t *xattrs_json(const struct clip_image *image, uint64_t ino)
{
    struct clip_xattr xattr;
    json_t *all = json_array();
    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++) {
        json_t *one = json_object();
        facts_set_bytes(one, "name", xattr.name, xattr.name_len);
        facts_set_bytes(one, "value", xattr.value, xattr.value_len);
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *stat_json(const struct clip_stat *st)
{
    char mode[8];
    snprintf(mode, sizeof(mode), "%04o", st->mode & 07777);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "type", facts_type(st->mode),
                     "mode", mode, "ino", (json_int_t)st->ino, "nlink", (json_int_t)st->nlink,
                     "uid", (json_int_t)st->uid, "gid", (json_int_t)st->gid, "size",
                     (json_int_t)st->size, "mtime", (json_int_t)st->mtime_sec, "mtime_nsec",
                     (json_int_t)st->mtime_nsec);
}

/* What only some kinds of entries have. */
static int set_details(json_t *entry, const struct clip_image *image, uint64_t ino,
                       const struct clip_stat *st)
{
    char content[FACTS_DIGEST_LEN];
    if (S_ISCHR(st->mode) || S_ISBLK(st->mode))
        json_object_set_new(
            entry, "rdev",
            json_pack("[II]", (json_int_t)st->rdev_major, (json_int_t)st->rdev_minor));
    if (*facts_content(image, ino, content))
        json_object_set_new(entry, "content", json_string(content));
    json_object_set_new(entry, "xattrs", xattrs_json(image, ino));
    return set_target(entry, image, ino);
}

json_t *facts_entry(const struct clip_image *image, const char *path, uint64_t ino)
{
    struct clip_stat st;
    if (clip_image_stat(image, ino, &st) < 0)
        return NULL;
    json_t *entry = json_object(), *facts = stat_json(&st);
    int r = facts_set_bytes(entry, "path", path, strlen(path));
    if (r == 0 && json_object_update(entry, facts) < 0)
        r = -ENOMEM;
    json_decref(facts);
    if (r == 0)
        r = set_details(entry, image, ino, &st);
    if (r == 0)
        return entry;
    json_decref(entry);
    return NULL;
}

void facts_print(json_t *object, size_t flags)
{
    if (object)
        json_dumpf(object, stdout, flags | JSON_PRESERVE_ORDER);
    json_decref(object);
}
