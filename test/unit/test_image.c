/* SPDX-License-Identifier: Apache-2.0 */
#include "index/image.h"
#include "index/image_map.h"
#include "test/lib/checksums.h"
#include "test/lib/sample.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture {
    struct sample s;
    struct clip_image *image;
    struct clip_error err;
    char path[64];
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    sample_init(&f.s);
    cr_assert_eq(sample_encode(&f.s, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(image_from_memory(f.s.bytes, f.s.len, &f.image, &f.err), 0, "%s", f.err.message);
}

static void tear_down(void)
{
    clip_image_unref(f.image);
    sample_fini(&f.s);
    if (f.path[0])
        unlink(f.path);
}

TestSuite(image, .init = set_up, .fini = tear_down, .timeout = 300);

static uint64_t ino_of(const char *path)
{
    uint64_t ino = 0;
    int r = clip_image_lookup(f.image, path, false, &ino);

    cr_assert_eq(r, 0, "%s: %s", path, strerror(-r));
    return ino;
}

static int lookup(const char *path, bool follow)
{
    uint64_t ino;

    return clip_image_lookup(f.image, path, follow, &ino);
}

static struct clip_stat stat_of(const char *path)
{
    struct clip_stat st;

    cr_assert_eq(clip_image_stat(f.image, ino_of(path), &st), 0);
    return st;
}

/* ---- what went in comes out */

static mode_t type_of(enum tree_kind kind)
{
    static const mode_t types[] = {
        [TREE_FILE] = S_IFREG, [TREE_DIR] = S_IFDIR,   [TREE_SYMLINK] = S_IFLNK,
        [TREE_CHAR] = S_IFCHR, [TREE_BLOCK] = S_IFBLK, [TREE_FIFO] = S_IFIFO,
    };

    return types[kind];
}

static void assert_same_xattrs(uint64_t ino, const struct tree_node *node)
{
    struct clip_xattr xattr;

    for (size_t i = 0; i < node->n_xattrs; i++) {
        cr_assert_eq(clip_image_xattr(f.image, ino, i, &xattr), 0);
        cr_assert_eq(xattr.name_len, strlen(node->xattrs[i].name));
        cr_assert_arr_eq(xattr.name, node->xattrs[i].name, xattr.name_len);
        cr_assert_eq(xattr.value_len, node->xattrs[i].value_len);
        if (xattr.value_len)
            cr_assert_arr_eq(xattr.value, node->xattrs[i].value, xattr.value_len);
    }
    cr_assert_eq(clip_image_xattr(f.image, ino, node->n_xattrs, &xattr), -ENODATA);
}

static void assert_same_file(uint64_t ino, const struct tree_node *node)
{
    struct image_extent extent;
    uint8_t digest[32];
    uint64_t off = 0;

    cr_assert_eq(clip_image_content_digest(f.image, ino, digest), 0);
    cr_assert_arr_eq(digest, node->digest.bytes, 32);
    for (size_t i = 0; i < node->n_extents; i++) {
        cr_assert_eq(image_extent(f.image, ino, off, UINT64_MAX, &extent), 0);
        if (node->extents[i].file_off > off) {
            cr_assert(extent.hole);
            off += extent.len;
            image_extent(f.image, ino, off, UINT64_MAX, &extent);
        }
        cr_assert_not(extent.hole);
        cr_assert_eq(off, node->extents[i].file_off);
        cr_assert_eq(extent.layer, node->layer);
        cr_assert_eq(extent.layer_off, node->extents[i].layer_off);
        cr_assert_eq(extent.len, node->extents[i].len);
        off += extent.len;
    }
    if (off < node->size) {
        image_extent(f.image, ino, off, UINT64_MAX, &extent);
        cr_assert(extent.hole);
        cr_assert_eq(off + extent.len, node->size);
    }
    cr_assert_eq(image_extent(f.image, ino, node->size, 1, &extent), 0);
    cr_assert_eq(extent.len, 0);
}

static void assert_same_node(uint32_t index)
{
    struct tree_node node;
    struct clip_stat st;
    uint64_t ino = index + 1;

    tree_node(f.s.l.tree, index, &node);
    cr_assert_eq(image_parent(f.image, ino), node.parent + 1);
    cr_assert_eq(clip_image_stat(f.image, ino, &st), 0);
    if (node.kind == TREE_LINK) {
        cr_assert_eq(st.ino, node.target + 1);
        cr_assert_eq(image_inode(f.image, ino), st.ino);
        return;
    }
    cr_assert_eq(st.ino, ino);
    cr_assert_eq(st.mode, type_of(node.kind) | node.mode);
    cr_assert_eq(st.uid, node.uid);
    cr_assert_eq(st.gid, node.gid);
    cr_assert_eq(st.nlink, node.nlink);
    cr_assert_eq(st.mtime_sec, node.mtime_sec);
    cr_assert_eq(st.mtime_nsec, node.mtime_nsec);
    cr_assert_eq(st.rdev_major, node.rdev_major);
    cr_assert_eq(st.rdev_minor, node.rdev_minor);
    if (node.kind != TREE_DIR)
        cr_assert_eq(st.size, node.size);
    assert_same_xattrs(ino, &node);
    if (node.kind == TREE_FILE)
        assert_same_file(ino, &node);
}

Test(image, gives_every_node_as_it_was_written)
{
    cr_assert_eq(image_n_nodes(f.image), tree_n_nodes(f.s.l.tree));
    for (uint32_t i = 0; i < tree_n_nodes(f.s.l.tree); i++)
        assert_same_node(i);
}

Test(image, tells_what_it_is)
{
    struct clip_image_info info;
    struct clip_layer_info layer;

    clip_image_info(f.image, &info);
    cr_assert_str_eq(info.reference, "docker.io/library/sample:1");
    cr_assert_str_eq(info.platform, "linux/amd64");
    cr_assert_str_eq(info.config, SAMPLE_CONFIG);
    cr_assert_eq(info.config_len, strlen(SAMPLE_CONFIG));
    cr_assert_eq(strncmp(info.manifest_digest, "sha256:abab", 11), 0);
    cr_assert_eq(info.span_size, 1u << 20);
    cr_assert_eq(info.file_size, f.s.len);
    cr_assert_eq(info.n_layers, 3);
    cr_assert_eq(info.n_spans, 4);
    cr_assert_eq(info.n_entries, info.n_nodes - 1);
    cr_assert_eq(info.n_files, 7);
    cr_assert_eq(info.n_hardlinks, 1);
    cr_assert_eq(info.n_others, 3);
    cr_assert_eq(info.content_size, 100 + 20 + 10 + 5 + 6000 + (1ull << 40));
    cr_assert_eq(info.n_entries,
                 info.n_files + info.n_dirs + info.n_symlinks + info.n_hardlinks + info.n_others);
    cr_assert_eq(clip_image_layer(f.image, 0, &layer), 0);
    cr_assert_eq(strncmp(layer.digest, "sha256:1010", 11), 0);
    cr_assert_eq(strncmp(layer.diff_id, "sha256:2020", 11), 0);
    cr_assert_str_eq(layer.media_type, "application/gzip");
    cr_assert_str_eq(layer.codec, "gzip");
    cr_assert_eq(layer.n_spans, 3);
    cr_assert_eq(layer.windows_size, 8 + 8 + 3);
    cr_assert_eq(clip_image_layer(f.image, 3, &layer), -ENOENT);
}

Test(image, gives_every_span_as_it_was_written)
{
    struct image_span span;

    image_span(f.image, 0, 2, &span);
    cr_assert_eq(span.in_bit, 71111);
    cr_assert_eq(span.in_off, 71111 / 8);
    cr_assert_eq(span.in_off + span.in_len, 20000);
    cr_assert_eq(span.out_off, 60000);
    cr_assert_eq(span.out_len, 102400 - 60000);
    cr_assert_eq(span.flags, CHECKPOINT_MIDBLOCK);
    cr_assert_eq(span.window_len, 8);
    cr_assert_arr_eq(span.window, "1window", 8);
    cr_assert_eq(span.header_bit, 3);
    cr_assert_eq(span.header_bits, 17);
    cr_assert_arr_eq(span.header, "\x55\xaa\x05", 3);
    cr_assert_eq(span.fetched.bytes[0], 0x32);
    cr_assert_eq(span.decoded[0], 0x42);
    image_span(f.image, 0, 0, &span);
    cr_assert_eq(span.out_len, 30000);
    cr_assert_null(span.window);
}

Test(image, finds_the_span_of_an_offset)
{
    cr_assert_eq(image_span_at(f.image, 0, 0), 0);
    cr_assert_eq(image_span_at(f.image, 0, 29999), 0);
    cr_assert_eq(image_span_at(f.image, 0, 30000), 1);
    cr_assert_eq(image_span_at(f.image, 0, 59999), 1);
    cr_assert_eq(image_span_at(f.image, 0, 102399), 2);
    cr_assert_eq(image_span_at(f.image, 1, 20479), 0);
}

Test(image, cuts_extents_to_what_is_asked)
{
    struct image_extent extent;

    cr_assert_eq(image_extent(f.image, ino_of("etc/passwd"), 90, 5, &extent), 0);
    cr_assert_eq(extent.layer_off, 51200 + 90);
    cr_assert_eq(extent.len, 5);
    cr_assert_eq(image_extent(f.image, ino_of("sparse"), 5050, 10, &extent), 0);
    cr_assert_eq(extent.layer_off, 5180);
    cr_assert_eq(extent.len, 10);
    cr_assert_eq(image_extent(f.image, ino_of("sparse"), 1500, 10, &extent), 0);
    cr_assert(extent.hole);
    cr_assert_eq(extent.len, 10);
    cr_assert_eq(image_extent(f.image, CLIP_ROOT_INO, 0, 1, &extent), -EISDIR);
    cr_assert_eq(image_extent(f.image, ino_of("bin"), 0, 1, &extent), -EINVAL);
    cr_assert_eq(image_extent(f.image, 99999, 0, 1, &extent), -EINVAL);
}

Test(image, finds_xattrs_by_name)
{
    const void *value;
    size_t len;

    cr_assert(image_has_xattrs(f.image));
    cr_assert_eq(image_getxattr(f.image, ino_of("bin/ping"), "security.capability", &value, &len),
                 0);
    cr_assert_eq(len, 3);
    cr_assert_arr_eq(value, "\1\0\2", 3);
    cr_assert_eq(image_getxattr(f.image, ino_of("bin/ping"), "user.b", &value, &len), 0);
    cr_assert_eq(len, 0);
    cr_assert_eq(image_getxattr(f.image, ino_of("bin/ping"), "user.", &value, &len), -ENODATA);
    cr_assert_eq(image_getxattr(f.image, ino_of("bin"), "user.b", &value, &len), -ENODATA);
}

/* ---- look-ups */

Test(image, looks_up_paths_as_the_kernel_does)
{
    uint64_t ino, other;

    cr_assert_eq(ino_of("/"), CLIP_ROOT_INO);
    cr_assert_eq(ino_of("../.."), CLIP_ROOT_INO);
    cr_assert_eq(ino_of("bin/../bin/sh"), ino_of("/usr/bin/sh"));
    cr_assert_eq(clip_image_lookup(f.image, "abs", true, &ino), 0);
    cr_assert_eq(ino, ino_of("etc/passwd"));
    cr_assert_eq(clip_image_lookup(f.image, "bin/", false, &ino), 0);
    cr_assert_eq(ino, ino_of("usr/bin"));
    cr_assert_eq(clip_image_lookup(f.image, "bin", false, &ino), 0);
    cr_assert_neq(ino, ino_of("usr/bin"));
    cr_assert_eq(clip_image_lookup(f.image, "etc/hard", false, &other), 0);
    cr_assert_eq(other, ino_of("etc/passwd"));
    cr_assert_eq(lookup("etc/gone", false), -ENOENT);
    cr_assert_eq(lookup("etc/passwd/x", false), -ENOTDIR);
    cr_assert_eq(lookup("etc/passwd/", false), -ENOTDIR);
    cr_assert_eq(lookup("etc/passwd/..", false), -ENOTDIR);
    cr_assert_eq(lookup("loop", true), -ELOOP);
    cr_assert_eq(lookup("loop", false), 0);
    cr_assert_eq(lookup("loop/x", false), -ELOOP);
}

Test(image, refuses_a_name_that_is_too_long)
{
    char name[257];

    memset(name, 'n', 256);
    name[256] = '\0';
    cr_assert_eq(lookup(name, false), -ENAMETOOLONG);
}

Test(image, lists_children_in_order)
{
    struct clip_dirent d, before = {0};
    uint64_t i;

    for (i = 0; clip_image_readdir(f.image, CLIP_ROOT_INO, i, &d) == 0; i++) {
        uint64_t ino;
        cr_assert_eq(image_find(f.image, CLIP_ROOT_INO, d.name, d.name_len, &ino), 0);
        cr_assert_eq(ino, d.ino);
        if (i > 0)
            cr_assert_lt(strncmp(before.name, d.name, before.name_len), 1);
        before = d;
    }
    cr_assert_eq(i, 10);
    cr_assert_eq(clip_image_readdir(f.image, ino_of("null"), 0, &d), -ENOTDIR);
    cr_assert_eq(stat_of("null").rdev_minor, 3);
}

Test(image, knows_no_numbers_out_of_range)
{
    struct clip_stat st;

    cr_assert_eq(clip_image_stat(f.image, 0, &st), -ENOENT);
    cr_assert_eq(clip_image_stat(f.image, image_n_nodes(f.image) + 1, &st), -ENOENT);
    cr_assert_eq(image_inode(f.image, UINT64_MAX), 0);
    cr_assert_eq(image_parent(f.image, 0), 0);
}

/* ---- hostile bytes */

/* Everything that can be asked, so that a sanitizer sees what the check let through. */
static void use(const struct clip_image *image)
{
    struct clip_image_info info;

    clip_image_info(image, &info);
    for (uint64_t ino = 1; ino <= info.n_nodes; ino++) {
        struct image_extent extent = {0};
        struct clip_xattr xattr;
        struct clip_dirent d;
        struct clip_stat st;
        uint64_t off = 0;
        clip_image_stat(image, ino, &st);
        for (uint64_t i = 0; clip_image_readdir(image, ino, i, &d) == 0; i++)
            cr_assert_eq(image_find(image, ino, d.name, d.name_len, &off), 0);
        for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++)
            cr_assert_gt(xattr.name_len, 0);
        off = 0;
        while (image_extent(image, ino, off, UINT64_MAX, &extent) == 0 && extent.len > 0) {
            if (!extent.hole)
                image_span_at(image, extent.layer, extent.layer_off);
            off += extent.len;
        }
    }
}

static bool opens(const uint8_t *bytes, size_t len)
{
    struct clip_image *image;

    err_clear(&f.err);
    if (image_from_memory(bytes, len, &image, &f.err) < 0) {
        cr_assert_neq(f.err.message[0], '\0');
        return false;
    }
    use(image);
    clip_image_unref(image);
    return true;
}

Test(image, refuses_every_flipped_bit)
{
    for (size_t i = 0; i < f.s.len * 8; i++) {
        f.s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        cr_assert_not(opens(f.s.bytes, f.s.len), "byte %zu", i / 8);
        f.s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    cr_assert(opens(f.s.bytes, f.s.len));
}

Test(image, survives_every_changed_byte_whose_checksums_are_right)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x7f};
    uint8_t *bytes = malloc(f.s.len);

    for (size_t i = 0; i < f.s.len * sizeof(changes); i++) {
        memcpy(bytes, f.s.bytes, f.s.len);
        bytes[i / sizeof(changes)] ^= changes[i % sizeof(changes)];
        fix_checksums(bytes, f.s.len);
        opens(bytes, f.s.len);
    }
    free(bytes);
}

Test(image, refuses_every_truncation)
{
    for (size_t len = 0; len < f.s.len; len++) {
        uint8_t *bytes = malloc(len + 1);
        memcpy(bytes, f.s.bytes, len);
        cr_assert_not(opens(bytes, len), "%zu bytes", len);
        free(bytes);
    }
}

/* ---- files */

static void write_file(const void *bytes, size_t len)
{
    int fd;

    strcpy(f.path, "/tmp/clip_test_image.XXXXXX");
    fd = mkstemp(f.path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void assert_refused(const char *path, const char *why)
{
    struct clip_image *image;

    cr_assert_lt(clip_image_open(path, &image, &f.err), 0);
    cr_assert_eq(strncmp(f.err.message, path, strlen(path)), 0, "%s", f.err.message);
    cr_assert(strstr(f.err.message, why), "%s", f.err.message);
}

Test(image, is_opened_from_a_file_and_counted)
{
    struct clip_image *image;

    write_file(f.s.bytes, f.s.len);
    cr_assert_eq(clip_image_open(f.path, &image, &f.err), 0, "%s", f.err.message);
    clip_image_unref(clip_image_ref(image));
    use(image);
    clip_image_unref(image);
    clip_image_unref(NULL);
}

Test(image, says_why_a_file_is_refused)
{
    assert_refused("/nonexistent/x.clip", "No such file");
    assert_refused("/tmp", "not a regular file");
    assert_refused("/dev/null", "not a regular file");
    write_file("", 0);
    assert_refused(f.path, "empty");
}

Test(image, says_that_a_file_is_something_else)
{
    write_file("hello, world", 12);
    assert_refused(f.path, "not a clip index");
}

Test(image, says_that_a_version_is_not_known)
{
    f.s.bytes[FORMAT_MAGIC_LEN] = 3;
    write_file(f.s.bytes, f.s.len);
    assert_refused(f.path, "version 3 is not known (this clip reads version 2)");
}

Test(image, says_that_a_file_is_cut_short)
{
    write_file(f.s.bytes, f.s.len - 1);
    assert_refused(f.path, "cut short");
}

Test(image, says_which_section_is_damaged)
{
    f.s.bytes[f.s.len - 1] ^= 1;
    write_file(f.s.bytes, f.s.len);
    assert_refused(f.path, "section needs has the wrong checksum");
}

/* ---- profiles */

static const struct clip_profile_span profile[] = {{1, 0}, {0, 2}, {0, 0}};

static void save_profile(const struct clip_image *image, size_t n)
{
    if (!f.path[0])
        write_file("", 0);
    cr_assert_eq(clip_image_save(image, profile, n, f.path, &f.err), 0, "%s", f.err.message);
}

static struct clip_image *open_saved(void)
{
    struct clip_image *image = NULL;

    cr_assert_eq(clip_image_open(f.path, &image, &f.err), 0, "%s", f.err.message);
    return image;
}

Test(image, has_no_profile_until_it_is_saved_with_one)
{
    const struct clip_profile_span *spans;
    struct clip_image *saved;

    cr_assert_eq(clip_image_profile(f.image, &spans), 0);
    save_profile(f.image, 3);
    saved = open_saved();
    cr_assert_eq(clip_image_profile(saved, &spans), 3);
    cr_assert_arr_eq(spans, profile, sizeof(profile));
    use(saved);
    clip_image_unref(saved);
}

Test(image, is_what_it_was_when_its_profile_is_taken_out)
{
    struct clip_image *saved;
    uint8_t *bytes = malloc(f.s.len + 1);
    FILE *file;

    save_profile(f.image, 3);
    saved = open_saved();
    save_profile(saved, 0);
    clip_image_unref(saved);
    file = fopen(f.path, "rb");
    cr_assert_eq(fread(bytes, 1, f.s.len + 1, file), f.s.len);
    fclose(file);
    cr_assert_arr_eq(bytes, f.s.bytes, f.s.len);
    free(bytes);
}

/* Whether it may be opened is for its flags to say. */
Test(image, keeps_sections_that_it_does_not_know)
{
    const struct format_header *header = (const struct format_header *)f.s.bytes;
    const struct format_section *table = (const struct format_section *)(header + 1);
    struct writer_part parts[FORMAT_SECTIONS_END];
    struct clip_image *other, *saved;
    struct clip_image_info info;
    uint64_t size, size_saved;
    unsigned n = 0;

    for (; n < header->n_sections; n++)
        parts[n] = (struct writer_part){table[n].type, table[n].flags, f.s.bytes + table[n].off,
                                        table[n].len};
    parts[n++] = (struct writer_part){77, 0, "new", 3};
    write_file("", 0);
    cr_assert_eq(writer_file_save_parts(parts, n, f.path, &size, &f.err), 0);
    other = open_saved();
    save_profile(other, 3);
    saved = open_saved();
    clip_image_info(saved, &info);
    size_saved = info.file_size;
    clip_image_unref(saved);
    cr_assert_geq(size_saved, size + sizeof(profile));
    save_profile(other, 0);
    saved = open_saved();
    clip_image_info(saved, &info);
    cr_assert_eq(info.file_size, size);
    clip_image_unref(saved);
    clip_image_unref(other);
}

static void assert_no_profile(struct clip_profile_span span)
{
    cr_assert_eq(clip_image_save(f.image, &span, 1, "/nonexistent/x.clip", &f.err), -EINVAL);
    cr_assert(strstr(f.err.message, "does not have"), "%s", f.err.message);
}

Test(image, refuses_to_save_a_profile_of_what_is_not_there)
{
    static const struct clip_profile_span many[100];

    assert_no_profile((struct clip_profile_span){3, 0});
    assert_no_profile((struct clip_profile_span){0, 3});
    assert_no_profile((struct clip_profile_span){2, 0});
    assert_no_profile((struct clip_profile_span){UINT32_MAX, UINT32_MAX});
    cr_assert_eq(clip_image_save(f.image, many, 100, "/nonexistent/x.clip", &f.err), -EINVAL);
}

static void assert_refuses_profile(const struct format_profile *spans, size_t n)
{
    struct clip_image *saved;
    FILE *file;
    uint8_t *bytes;
    size_t len;

    save_profile(f.image, 3);
    saved = open_saved();
    len = saved->len;
    bytes = malloc(len);
    memcpy(bytes, saved->bytes, len);
    clip_image_unref(saved);
    memcpy(bytes + len - n * sizeof(*spans), spans, n * sizeof(*spans));
    fix_checksums(bytes, len);
    file = fopen(f.path, "wb");
    fwrite(bytes, 1, len, file);
    fclose(file);
    free(bytes);
    assert_refused(f.path, "damaged: profile");
}

Test(image, refuses_a_file_whose_profile_is_of_what_is_not_there)
{
    assert_refuses_profile(&(struct format_profile){0, 3}, 1);
    assert_refuses_profile(&(struct format_profile){2, 0}, 1);
    assert_refuses_profile(&(struct format_profile){3, 0}, 1);
}

/* ---- needs */

Test(image, tells_which_file_needs_which)
{
    uint64_t passwd = ino_of("etc/passwd"), sh = ino_of("usr/bin/sh"), needed;

    cr_assert(image_has_needs(f.image));
    cr_assert_eq(clip_image_need(f.image, passwd, 0, &needed), 0);
    cr_assert_eq(needed, sh);
    cr_assert_eq(clip_image_need(f.image, passwd, 1, &needed), -ENOENT);
    cr_assert_eq(clip_image_need(f.image, sh, 0, &needed), 0);
    cr_assert_eq(needed, passwd);
    cr_assert_eq(clip_image_need(f.image, ino_of("etc/empty"), 0, &needed), -ENOENT);
    cr_assert_eq(clip_image_need(f.image, CLIP_ROOT_INO, 0, &needed), -ENOENT);
    cr_assert_eq(clip_image_need(f.image, 0, 0, &needed), -ENOENT);
    cr_assert_eq(clip_image_need(f.image, UINT64_MAX, 0, &needed), -ENOENT);
}

static void assert_refuses_needs(struct format_need first, struct format_need second)
{
    const struct format_need needs[2] = {first, second};

    memcpy(f.s.bytes + f.s.len - sizeof(needs), needs, sizeof(needs));
    fix_checksums(f.s.bytes, f.s.len);
    write_file(f.s.bytes, f.s.len);
    assert_refused(f.path, "damaged: need");
}

Test(image, refuses_a_file_whose_needs_are_of_no_files)
{
    const struct format_need *needs = f.image->needs, good = needs[0], other = needs[1];
    const uint32_t dir = 0, none = f.image->n_nodes;

    assert_refuses_needs(other, good);
    assert_refuses_needs(good, (struct format_need){other.node, other.node});
    assert_refuses_needs(good, (struct format_need){other.node, dir});
    assert_refuses_needs(good, (struct format_need){other.node, none});
    assert_refuses_needs(good, (struct format_need){none, other.needed});
    assert_refuses_needs((struct format_need){dir, good.needed}, other);
    assert_refuses_needs(good, (struct format_need){UINT32_MAX, UINT32_MAX});
}

/* ---- chains */

static struct writer_span chain[3];

static void chain_up(void)
{
    struct writer_layer *layer = &f.s.layers[2];

    for (unsigned i = 0; i < 3; i++)
        chain[i] = (struct writer_span){.in_bit = 800 * i,
                                        .in_end = 100 * (i + 1),
                                        .out_off = 1000 * i,
                                        .flags = i ? CHECKPOINT_CHAINED : CHECKPOINT_FRESH};
    layer->spans = chain;
    layer->n_spans = 3;
    layer->size = 300;
    layer->uncompressed_size = 3000;
}

static bool chain_opens(void)
{
    uint8_t *bytes;
    size_t len;
    bool r;

    cr_assert_eq(writer_file_encode(&f.s.image, &bytes, &len, &f.err), 0, "%s", f.err.message);
    r = opens(bytes, len);
    free(bytes);
    return r;
}

Test(image, knows_spans_of_zstd_that_hang_together)
{
    chain_up();
    cr_assert(chain_opens(), "%s", f.err.message);
    chain[1].flags = CHECKPOINT_FRESH;
    cr_assert(chain_opens(), "%s", f.err.message);
}

Test(image, refuses_a_chain_without_a_beginning)
{
    chain_up();
    chain[0].flags = CHECKPOINT_CHAINED;
    cr_assert_not(chain_opens());
    chain[0].flags = CHECKPOINT_CHAINED | CHECKPOINT_FRESH;
    cr_assert_not(chain_opens());
}

Test(image, refuses_a_chain_with_a_gap)
{
    chain_up();
    chain[1].in_end = 199;
    cr_assert_not(chain_opens());
    chain[1].in_end = 201;
    cr_assert_not(chain_opens());
    cr_assert(strstr(f.err.message, "does not follow"), "%s", f.err.message);
}

Test(image, refuses_a_chain_that_has_state_or_is_no_zstd)
{
    chain_up();
    chain[1].window = (const uint8_t *)"w";
    chain[1].window_len = 1;
    cr_assert_not(chain_opens());
    chain_up();
    f.s.layers[2].codec = CODEC_GZIP;
    cr_assert_not(chain_opens());
    cr_assert(strstr(f.err.message, "cannot be resumed"), "%s", f.err.message);
}

Test(image, refuses_a_span_that_is_too_large)
{
    chain_up();
    f.s.layers[2].uncompressed_size = 2000 + FORMAT_SPAN_LEN_MAX;
    cr_assert(chain_opens(), "%s", f.err.message);
    f.s.layers[2].uncompressed_size++;
    cr_assert_not(chain_opens());
}
