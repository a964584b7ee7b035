/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each entry becomes a record: its path cleaned and cut into directory and name, its kind told
 * from its type or, for whiteouts, from its name; strings, extents and xattrs copied into one
 * arena. Entries of a directory follow each other in an archive, so that a directory's path is
 * kept once for all of them.
 */
#include "index/tree_layer.h"

#include "index/path.h"

#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#define WHITEOUT      ".wh."
#define WHITEOUT_META ".wh..wh."
#define OPAQUE        ".wh..wh..opq"

#define XATTRS_MAX 1024u /* of one entry */

int tree_layer_new(struct tree_layer **out)
{
    struct tree_layer *layer = calloc(1, sizeof(*layer));

    if (!layer)
        return -ENOMEM;
    *out = layer;
    return 0;
}

void tree_layer_free(struct tree_layer *layer)
{
    if (!layer)
        return;
    arena_fini(&layer->arena);
    free(layer->records);
    free(layer->scratch);
    free(layer);
}

uint64_t tree_layer_n_entries(const struct tree_layer *layer)
{
    return layer->n_records;
}

void tree_layer_set_digest(struct tree_layer *layer, const struct digest *digest)
{
    if (layer->last_content)
        layer->last_content->digest = *digest;
}

/* Few files say any, so that it is not every content that has room for it. */
int tree_layer_set_needs(struct tree_layer *layer, const char *needs, size_t len)
{
    struct tree_needy *needy;

    if (!layer->last_content)
        return 0;
    needy = arena_alloc(&layer->arena, sizeof(*needy) + len);
    if (!needy)
        return -ENOMEM;
    needy->content = *layer->last_content;
    needy->content.has_needs = true;
    needy->len = len;
    memcpy(needy->text, needs, len);
    layer->records[layer->n_records - 1].content = &needy->content;
    layer->last_content = &needy->content;
    return 0;
}

const char *tree_record_path(const struct tree_record *record, char *out, size_t out_len)
{
    char path[512];
    size_t dir_len = strnlen(record->dir, 240);

    memcpy(path, record->dir, dir_len);
    if (dir_len > 0)
        path[dir_len++] = '/';
    memcpy(path + dir_len, record->name, record->name_len);
    return err_quote(path, dir_len + record->name_len, out, out_len);
}

/* ---- paths */

static int reserve_scratch(struct tree_layer *layer, size_t len)
{
    char *bytes;

    if (len <= layer->scratch_len)
        return 0;
    bytes = realloc(layer->scratch, len);
    if (!bytes)
        return -ENOMEM;
    layer->scratch = bytes;
    layer->scratch_len = len;
    return 0;
}

/* Cleaned, in scratch; returns the length. */
static int clean(struct tree_layer *layer, const char *path, struct clip_error *err)
{
    int r = reserve_scratch(layer, strlen(path) + 1);

    if (r < 0)
        return err_set(err, r, "out of memory for a path");
    return path_clean(path, TREE_DEPTH_MAX, layer->scratch, err);
}

static const char *keep_dir(struct tree_layer *layer, const char *path, size_t len)
{
    const char *last = layer->last_dir;

    if (last && strncmp(last, path, len) == 0 && last[len] == '\0')
        return last;
    layer->last_dir = arena_copy(&layer->arena, path, len);
    return layer->last_dir;
}

/* The directory and the name of the path in scratch. */
static int keep_path(struct tree_layer *layer, size_t len, struct tree_record *record)
{
    const char *slash = memrchr(layer->scratch, '/', len);
    const char *name = slash ? slash + 1 : layer->scratch;

    record->name_len = (uint8_t)(layer->scratch + len - name);
    record->dir = keep_dir(layer, layer->scratch, slash ? (size_t)(slash - layer->scratch) : 0);
    record->name = arena_copy(&layer->arena, name, record->name_len);
    return record->dir && record->name ? 0 : -ENOMEM;
}

static bool begins_with(const char *bytes, const char *prefix)
{
    return strncmp(bytes, prefix, strlen(prefix)) == 0;
}

/* Below a directory of aufs' own, such as ".wh..wh.plnk". */
static bool in_metadata(const char *dir)
{
    for (const char *at = dir; (at = strstr(at, WHITEOUT_META)); at++)
        if (at == dir || at[-1] == '/')
            return true;
    return false;
}

/* Turns a record whose name is a marker into what the marker means. 1: it means nothing. */
static int read_marker(struct tree_record *record, struct clip_error *err)
{
    char quoted[200];

    if (in_metadata(record->dir))
        return 1;
    if (!begins_with(record->name, WHITEOUT))
        return 0;
    if (strcmp(record->name, OPAQUE) == 0) {
        record->type = RECORD_OPAQUE;
        record->name_len = 0;
        record->name += strlen(record->name);
        return 0;
    }
    if (begins_with(record->name, WHITEOUT_META))
        return 1;
    record->name += strlen(WHITEOUT);
    record->name_len -= strlen(WHITEOUT);
    record->type = RECORD_WHITEOUT;
    if (strcmp(record->name, "") == 0 || strcmp(record->name, ".") == 0 ||
        strcmp(record->name, "..") == 0)
        return err_set(err, CLIP_EFORMAT, "a whiteout names nothing: %s",
                       tree_record_path(record, quoted, sizeof(quoted)));
    return 0;
}

/* ---- what hangs on an entry */

static int compare_xattrs(const void *a, const void *b)
{
    const struct tar_xattr *left = a, *right = b;

    return strcmp(left->name, right->name);
}

/* Of a name that comes twice the later one counts. */
static size_t copy_unique(const struct tar_entry *entry, struct tar_xattr *items)
{
    size_t n = 0;

    for (size_t i = 0; i < entry->n_xattrs; i++) {
        size_t at = 0;
        while (at < n && strcmp(items[at].name, entry->xattrs[i].name) != 0)
            at++;
        items[at] = entry->xattrs[i];
        n += at == n;
    }
    return n;
}

static int check_xattrs(const struct tar_entry *entry, const struct tree_record *record,
                        struct clip_error *err)
{
    bool ok = entry->n_xattrs <= XATTRS_MAX;
    char quoted[200];

    for (size_t i = 0; ok && i < entry->n_xattrs; i++) {
        size_t len = strlen(entry->xattrs[i].name);
        ok = len > 0 && len <= XATTR_NAME_MAX && entry->xattrs[i].value_len <= XATTR_SIZE_MAX;
    }
    if (ok)
        return 0;
    return err_set(err, -E2BIG, "entry %s: its extended attributes are more than Linux can hold",
                   tree_record_path(record, quoted, sizeof(quoted)));
}

static int keep_xattrs(struct tree_layer *layer, const struct tar_entry *entry,
                       struct tree_record *record, struct clip_error *err)
{
    struct tree_xattrs *set;
    int r;

    if (entry->n_xattrs == 0)
        return 0;
    r = check_xattrs(entry, record, err);
    if (r < 0)
        return r;
    set = arena_alloc(&layer->arena, sizeof(*set) + entry->n_xattrs * sizeof(set->items[0]));
    if (!set)
        return -ENOMEM;
    set->n = copy_unique(entry, set->items);
    qsort(set->items, set->n, sizeof(set->items[0]), compare_xattrs);
    for (size_t i = 0; i < set->n; i++) {
        struct tar_xattr *item = &set->items[i];
        item->name = arena_copy(&layer->arena, item->name, strlen(item->name));
        item->value = arena_copy(&layer->arena, item->value, item->value_len);
        if (!item->name || !item->value)
            return -ENOMEM;
    }
    record->xattrs = set;
    return 0;
}

static bool is_whole(const struct tar_entry *entry)
{
    return entry->n_extents == 1 && entry->extents[0].file_off == 0 &&
           entry->extents[0].len == entry->size;
}

static const struct tar_extent *copy_extents(struct tree_layer *layer,
                                             const struct tar_entry *entry)
{
    size_t len = entry->n_extents * sizeof(entry->extents[0]);
    struct tar_extent *copy = arena_alloc(&layer->arena, len);

    if (copy && len > 0)
        memcpy(copy, entry->extents, len);
    return copy;
}

static int keep_content(struct tree_layer *layer, const struct tar_entry *entry,
                        struct tree_record *record)
{
    struct tree_content *content;

    if (entry->size == 0)
        return 0;
    content = arena_alloc(&layer->arena, sizeof(*content));
    if (!content)
        return -ENOMEM;
    *content = (struct tree_content){
        .size = entry->size, .n_extents = (uint32_t)entry->n_extents, .is_whole = is_whole(entry)};
    if (content->is_whole)
        content->layer_off = entry->extents[0].layer_off;
    else
        content->extents = copy_extents(layer, entry);
    if (!content->is_whole && !content->extents)
        return -ENOMEM;
    record->content = content;
    layer->last_content = content;
    return 0;
}

static int keep_symlink(struct tree_layer *layer, const char *target, struct tree_record *record,
                        struct clip_error *err)
{
    size_t len = target ? strlen(target) : 0;
    char quoted[200];

    if (len == 0 || len > PATH_TARGET_MAX)
        return err_set(err, len ? -ENAMETOOLONG : CLIP_EFORMAT,
                       "symlink %s: a target of %zu bytes is not within 1 to %u",
                       tree_record_path(record, quoted, sizeof(quoted)), len, PATH_TARGET_MAX);
    record->mode = 0777; /* whatever the archive says: Linux knows no other */
    record->target = arena_copy(&layer->arena, target, len);
    return record->target ? 0 : -ENOMEM;
}

static int keep_hardlink(struct tree_layer *layer, const char *target, struct tree_record *record,
                         struct clip_error *err)
{
    char quoted[200];
    int r = clean(layer, target ? target : "", err);

    if (r < 0)
        return err ? err_prefix(err, "hard link %s",
                                tree_record_path(record, quoted, sizeof(quoted)))
                   : r;
    if (r == 0)
        return err_set(err, CLIP_EFORMAT, "hard link %s: it has no target",
                       tree_record_path(record, quoted, sizeof(quoted)));
    record->target = arena_copy(&layer->arena, layer->scratch, (size_t)r);
    return record->target ? 0 : -ENOMEM;
}

static enum record_type record_type_of(enum tar_type type)
{
    static const enum record_type types[] = {
        [TAR_FILE] = RECORD_FILE,         [TAR_DIR] = RECORD_DIR,
        [TAR_SYMLINK] = RECORD_SYMLINK,   [TAR_CHAR] = RECORD_CHAR,
        [TAR_BLOCK] = RECORD_BLOCK,       [TAR_FIFO] = RECORD_FIFO,
        [TAR_HARDLINK] = RECORD_HARDLINK,
    };

    return types[type];
}

static int keep_details(struct tree_layer *layer, const struct tar_entry *entry,
                        struct tree_record *record, struct clip_error *err)
{
    int r;

    record->mode = entry->mode & 07777;
    record->uid = entry->uid;
    record->gid = entry->gid;
    record->mtime_sec = entry->mtime_sec;
    record->mtime_nsec = entry->mtime_nsec;
    if (record->type == RECORD_HARDLINK)
        return keep_hardlink(layer, entry->link, record, err);
    r = keep_xattrs(layer, entry, record, err);
    if (r < 0)
        return r;
    switch ((enum record_type)record->type) {
    case RECORD_FILE:
        return keep_content(layer, entry, record);
    case RECORD_SYMLINK:
        return keep_symlink(layer, entry->link, record, err);
    case RECORD_CHAR:
    case RECORD_BLOCK:
        record->device = (struct tree_device){entry->rdev_major, entry->rdev_minor};
        return 0;
    default:
        return 0;
    }
}

static int grow_records(struct tree_layer *layer)
{
    size_t cap = layer->cap ? layer->cap * 2 : 256;
    struct tree_record *records;

    if (layer->n_records < layer->cap)
        return 0;
    records = realloc(layer->records, cap * sizeof(*records));
    if (!records)
        return -ENOMEM;
    layer->records = records;
    layer->cap = cap;
    return 0;
}

/* 0: `record` is to be kept; 1: it says nothing. */
static int read_entry(struct tree_layer *layer, const struct tar_entry *entry,
                      struct tree_record *record, struct clip_error *err)
{
    int len = clean(layer, entry->path, err);
    int r;

    if (len < 0)
        return len;
    if (len == 0 && entry->type != TAR_DIR)
        return 1;
    record->type = record_type_of(entry->type);
    r = keep_path(layer, (size_t)len, record);
    if (r < 0)
        return r;
    r = read_marker(record, err);
    if (r != 0 || record->type == RECORD_WHITEOUT || record->type == RECORD_OPAQUE)
        return r;
    return keep_details(layer, entry, record, err);
}

int tree_layer_add(struct tree_layer *layer, const struct tar_entry *entry, struct clip_error *err)
{
    struct tree_record record = {0};
    int r;

    layer->last_content = NULL;
    if (layer->n_records >= TREE_ENTRIES_MAX)
        return err_set(err, -EFBIG, "a layer has more than %u entries", TREE_ENTRIES_MAX);
    if (layer->arena.total + layer->n_records * sizeof(record) > TREE_LAYER_MAX)
        return err_set(err, -EFBIG, "a layer's names and attributes take more than %u MiB",
                       TREE_LAYER_MAX >> 20);
    err_clear(err);
    r = grow_records(layer);
    if (r == 0)
        r = read_entry(layer, entry, &record, err);
    if (r == -ENOMEM)
        return err_set(err, r, "out of memory for the entries of a layer");
    if (r != 0)
        return r < 0 ? r : 0;
    layer->n_whiteouts += record.type == RECORD_WHITEOUT || record.type == RECORD_OPAQUE;
    layer->n_links += record.type == RECORD_HARDLINK;
    layer->records[layer->n_records++] = record;
    return 0;
}
