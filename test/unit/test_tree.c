/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/format.md, "The merged tree", each as a sentence. */
#include "test/lib/entries.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fixture {
    struct layers l;
    struct tree_node node;
} f;

static void set_up(void)
{
    layers_init(&f.l);
}

static void tear_down(void)
{
    layers_fini(&f.l);
}

TestSuite(tree, .init = set_up, .fini = tear_down, .timeout = 300);

static void merge(void)
{
    int r = layers_merge(&f.l);

    cr_assert_eq(r, 0, "%s", f.l.err.message);
}

static bool has(const char *path)
{
    return tree_find(f.l.tree, path, &f.node) >= 0;
}

static uint64_t size_of(const char *path)
{
    cr_assert(has(path), "%s is missing", path);
    return f.node.size;
}

static int64_t inode_of(const char *path)
{
    return tree_find(f.l.tree, path, &f.node);
}

static void assert_refused(int code, const char *part)
{
    cr_assert_eq(layers_merge(&f.l), code, "%d: %s", f.l.err.code, f.l.err.message);
    cr_assert(strstr(f.l.err.message, part), "%s", f.l.err.message);
}

static void assert_not_added(const struct tar_entry *entry, int code)
{
    cr_assert_eq(layers_add_all(&f.l, 0, entry, 1), code, "%s", f.l.err.message);
    cr_assert_neq(f.l.err.message[0], '\0');
}

/* ---- one layer */

Test(tree, of_nothing_is_a_root)
{
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 1);
    tree_node(f.l.tree, 0, &f.node);
    cr_assert_eq(f.node.kind, TREE_DIR);
    cr_assert_eq(f.node.mode, 0755);
    cr_assert_eq(f.node.nlink, 2);
    cr_assert_eq(f.node.mtime_sec, 0);
}

Test(tree, takes_the_roots_metadata_from_its_entry)
{
    layers_add(&f.l, 0, ENTRY(TAR_DIR, "./", .mode = 01777, .uid = 7, .mtime_sec = 9),
               FILE_OF("a", 1));
    merge();
    tree_node(f.l.tree, 0, &f.node);
    cr_assert_eq(f.node.mode, 01777);
    cr_assert_eq(f.node.uid, 7);
    cr_assert_eq(f.node.mtime_sec, 9);
    cr_assert_eq(f.node.n_children, 1);
}

Test(tree, numbers_breadth_first_and_sorts_by_name_bytes)
{
    static const char *const expected[] = {"", "B", "a", "a-b", "ab", "\xc3\xa9", "x", "y"};

    layers_add(&f.l, 0, FILE_OF("ab", 1), DIR_OF("a/"), FILE_OF("a/y", 1), FILE_OF("a/x", 1),
               FILE_OF("\xc3\xa9", 1), FILE_OF("a-b", 1), FILE_OF("B", 1));
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 8);
    for (uint32_t i = 0; i < 8; i++) {
        tree_node(f.l.tree, i, &f.node);
        cr_assert_eq(f.node.name_len, strlen(expected[i]));
        cr_assert_arr_eq(f.node.name, expected[i], f.node.name_len);
        cr_assert_eq(f.node.parent, i >= 6 ? 2u : 0u);
    }
}

Test(tree, keeps_all_metadata_of_an_entry)
{
    const struct tar_xattr xattrs[] = {{"user.z", "1", 1}, {"security.capability", "\0\1", 2}};

    layers_add(&f.l, 0,
               ENTRY(TAR_FILE, "f", .mode = 04755, .uid = 1, .gid = 2, .mtime_sec = -5,
                     .mtime_nsec = 999999999, .size = 3, .xattrs = xattrs, .n_xattrs = 2),
               ENTRY(TAR_CHAR, "c", .rdev_major = 5, .rdev_minor = 1),
               ENTRY(TAR_BLOCK, "b", .rdev_major = 8), ENTRY(TAR_FIFO, "p"),
               SYMLINK_TO("s", "../../x"));
    merge();
    cr_assert(has("f"));
    cr_assert_eq(f.node.mode, 04755);
    cr_assert_eq(f.node.uid, 1);
    cr_assert_eq(f.node.gid, 2);
    cr_assert_eq(f.node.mtime_sec, -5);
    cr_assert_eq(f.node.mtime_nsec, 999999999);
    cr_assert_eq(f.node.size, 3);
    cr_assert_eq(f.node.n_extents, 1);
    cr_assert_eq(f.node.digest.bytes[31], 3);
    cr_assert_eq(f.node.n_xattrs, 2);
    cr_assert_str_eq(f.node.xattrs[0].name, "security.capability");
    cr_assert_arr_eq(f.node.xattrs[0].value, "\0\1", 2);
    cr_assert(has("c") && f.node.kind == TREE_CHAR && f.node.rdev_major == 5);
    cr_assert(has("b") && f.node.kind == TREE_BLOCK && f.node.rdev_major == 8);
    cr_assert(has("p") && f.node.kind == TREE_FIFO);
    cr_assert(has("s") && f.node.kind == TREE_SYMLINK);
    cr_assert_str_eq(f.node.symlink, "../../x");
}

Test(tree, of_a_symlink_has_the_mode_of_all_symlinks)
{
    layers_add(&f.l, 0, ENTRY(TAR_SYMLINK, "s", .mode = 0644, .link = "x"));
    merge();
    cr_assert(has("s") && f.node.mode == 0777);
}

Test(tree, cleans_paths)
{
    layers_add(&f.l, 0, FILE_OF("/a//./b/../c", 1), FILE_OF("./d/", 2), DIR_OF("/.."), DIR_OF("."));
    merge();
    cr_assert_eq(size_of("a/c"), 1);
    cr_assert_eq(size_of("d"), 2);
    cr_assert_eq(tree_n_nodes(f.l.tree), 4);
}

Test(tree, refuses_a_path_out_of_the_root)
{
    assert_not_added(&FILE_OF("../etc/passwd", 1), CLIP_EFORMAT);
    assert_not_added(&FILE_OF("a/../../b", 1), CLIP_EFORMAT);
    assert_not_added(&HARDLINK_TO("a", "../b"), CLIP_EFORMAT);
}

Test(tree, refuses_names_and_targets_that_linux_cannot_have)
{
    char name[300], target[5000];

    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    assert_not_added(&FILE_OF(name, 1), -ENAMETOOLONG);
    memset(target, 't', sizeof(target));
    target[4096] = '\0';
    assert_not_added(&SYMLINK_TO("s", target), -ENAMETOOLONG);
    assert_not_added(&SYMLINK_TO("s", ""), CLIP_EFORMAT);
}

Test(tree, refuses_a_path_of_100000_components)
{
    char *path = malloc(200001);

    for (int i = 0; i < 100000; i++)
        memcpy(path + 2 * i, "d/", 3);
    assert_not_added(&FILE_OF(path, 1), -ENAMETOOLONG);
    free(path);
}

Test(tree, makes_missing_parents)
{
    layers_add(&f.l, 0, ENTRY(TAR_FILE, "a/b/c", .mtime_sec = 42, .uid = 5));
    merge();
    cr_assert(has("a/b"));
    cr_assert_eq(f.node.kind, TREE_DIR);
    cr_assert_eq(f.node.mode, 0755);
    cr_assert_eq(f.node.uid, 0);
    cr_assert_eq(f.node.mtime_sec, 42);
    cr_assert_eq(f.node.nlink, 2);
    cr_assert(has("a") && f.node.nlink == 3);
}

Test(tree, takes_metadata_of_a_made_parent_from_a_later_entry)
{
    layers_add(&f.l, 0, FILE_OF("a/b", 1), ENTRY(TAR_DIR, "a", .mode = 0700));
    merge();
    cr_assert(has("a") && f.node.mode == 0700);
    cr_assert(has("a/b"));
}

Test(tree, lets_the_last_duplicate_win)
{
    layers_add(&f.l, 0, FILE_OF("a", 1), FILE_OF("a", 2), ENTRY(TAR_DIR, "d", .mode = 0700),
               FILE_OF("d/x", 1), ENTRY(TAR_DIR, "d", .mode = 0711));
    merge();
    cr_assert_eq(size_of("a"), 2);
    cr_assert(has("d") && f.node.mode == 0711);
    cr_assert(has("d/x"));
}

Test(tree, of_a_file_over_a_directory_loses_its_children)
{
    layers_add(&f.l, 0, DIR_OF("d"), FILE_OF("d/e/x", 1));
    layers_add(&f.l, 1, FILE_OF("d", 5));
    merge();
    cr_assert_eq(size_of("d"), 5);
    cr_assert_eq(tree_n_nodes(f.l.tree), 2);
}

Test(tree, of_a_directory_over_a_file_replaces_it)
{
    layers_add(&f.l, 0, FILE_OF("d", 5));
    layers_add(&f.l, 1, DIR_OF("d"), FILE_OF("d/x", 1));
    merge();
    cr_assert_eq(size_of("d/x"), 1);
}

Test(tree, refuses_an_entry_below_a_file)
{
    layers_add(&f.l, 0, FILE_OF("a", 1), FILE_OF("a/b", 1));
    assert_refused(-ENOTDIR, "a/b");
}

/* ---- whiteouts */

Test(tree, of_a_whiteout_lacks_the_lower_name_and_all_below)
{
    layers_add(&f.l, 0, DIR_OF("d"), FILE_OF("d/x", 1), FILE_OF("e", 1), FILE_OF("k", 1));
    layers_add(&f.l, 1, FILE_OF(".wh.d", 0), FILE_OF(".wh.e", 0), FILE_OF(".wh.none", 0),
               FILE_OF("not/.wh.there", 0));
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 2);
    cr_assert(has("k"));
}

Test(tree, keeps_what_a_whiteouts_own_layer_has_in_any_order)
{
    layers_add(&f.l, 0, FILE_OF("a", 1), FILE_OF("b", 1), FILE_OF("d/old", 1));
    layers_add(&f.l, 1, FILE_OF("a", 2), FILE_OF(".wh.a", 0), FILE_OF(".wh.b", 0), FILE_OF("b", 2),
               FILE_OF("d/new", 2), FILE_OF(".wh.d", 0));
    merge();
    cr_assert_eq(size_of("a"), 2);
    cr_assert_eq(size_of("b"), 2);
    cr_assert(has("d/new"));
    cr_assert_not(has("d/old"));
}

Test(tree, of_an_opaque_directory_lacks_its_lower_children)
{
    layers_add(&f.l, 0, FILE_OF("d/old", 1), FILE_OF("d/e/old", 1), FILE_OF("k", 1));
    layers_add(&f.l, 1, ENTRY(TAR_DIR, "d", .mode = 0700), FILE_OF("d/new", 2),
               FILE_OF("d/.wh..wh..opq", 0));
    merge();
    cr_assert(has("d") && f.node.mode == 0700 && f.node.n_children == 1);
    cr_assert(has("d/new"));
    cr_assert(has("k"));
}

Test(tree, may_be_opaque_and_whited_out_at_the_root)
{
    layers_add(&f.l, 0, FILE_OF("a", 1), FILE_OF("d/b", 1));
    layers_add(&f.l, 1, FILE_OF("c", 1), FILE_OF(".wh..wh..opq", 0));
    layers_add(&f.l, 2, FILE_OF("/.wh.c", 0), FILE_OF("e", 1));
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 2);
    cr_assert(has("e"));
}

Test(tree, ignores_the_metadata_of_aufs)
{
    layers_add(&f.l, 0, FILE_OF(".wh..wh.aufs", 0), DIR_OF(".wh..wh.plnk"),
               FILE_OF(".wh..wh.plnk/1.2", 0), FILE_OF("d/.wh..wh.orph", 0), FILE_OF("a", 1));
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 2);
}

Test(tree, refuses_a_whiteout_of_nothing)
{
    assert_not_added(&FILE_OF("d/.wh.", 0), CLIP_EFORMAT);
    assert_not_added(&FILE_OF("d/.wh..", 0), CLIP_EFORMAT);
    assert_not_added(&FILE_OF("d/.wh...", 0), CLIP_EFORMAT);
}

Test(tree, keeps_a_name_that_only_looks_like_a_whiteout)
{
    layers_add(&f.l, 0, FILE_OF(".whale", 1), FILE_OF("x.wh.y", 1));
    merge();
    cr_assert(has(".whale") && has("x.wh.y"));
}

/* ---- symlinks on the way */

Test(tree, follows_symlinked_parents_inside_the_root)
{
    layers_add(&f.l, 0, DIR_OF("usr/lib"), SYMLINK_TO("lib", "usr/lib"),
               SYMLINK_TO("abs", "/../../usr/lib/./"), SYMLINK_TO("usr/up", "../../../lib"));
    layers_add(&f.l, 1, FILE_OF("lib/a", 1), FILE_OF("abs/b", 2), FILE_OF("usr/up/c", 3));
    merge();
    cr_assert_eq(size_of("usr/lib/a"), 1);
    cr_assert_eq(size_of("usr/lib/b"), 2);
    cr_assert_eq(size_of("usr/lib/c"), 3);
    cr_assert(has("lib") && f.node.kind == TREE_SYMLINK);
}

Test(tree, makes_what_a_dangling_symlink_points_to)
{
    layers_add(&f.l, 0, SYMLINK_TO("a", "no/where/../there"), FILE_OF("a/x", 1));
    merge();
    cr_assert_eq(size_of("no/there/x"), 1);
    cr_assert_not(has("no/where"));
}

Test(tree, white_outs_through_symlinked_parents)
{
    layers_add(&f.l, 0, FILE_OF("usr/lib/a", 1), SYMLINK_TO("lib", "usr/lib"));
    layers_add(&f.l, 1, FILE_OF("lib/.wh.a", 0));
    merge();
    cr_assert_not(has("usr/lib/a"));
}

Test(tree, never_follows_the_last_component)
{
    layers_add(&f.l, 0, DIR_OF("usr/lib"), FILE_OF("usr/lib/a", 1), SYMLINK_TO("lib", "usr/lib"));
    layers_add(&f.l, 1, FILE_OF("lib/.wh..wh..opq", 0), DIR_OF("lib"), FILE_OF("lib/b", 1));
    merge();
    cr_assert(has("lib") && f.node.kind == TREE_DIR);
    cr_assert(has("lib/b"));
    cr_assert(has("usr/lib/a"), "a marker in the new directory reached through the old symlink");
    cr_assert_not(has("usr/lib/b"));
}

Test(tree, refuses_symlinks_in_a_circle)
{
    layers_add(&f.l, 0, SYMLINK_TO("a", "b"), SYMLINK_TO("b", "a"), FILE_OF("a/x", 1));
    assert_refused(-ELOOP, "circle");
}

/* ---- hard links */

Test(tree, gives_hard_links_one_inode_and_counts_them)
{
    layers_add(&f.l, 0, FILE_OF("b/file", 7), HARDLINK_TO("a", "./b//file"),
               HARDLINK_TO("c", "/b/file"));
    merge();
    cr_assert_eq(size_of("a"), 7);
    cr_assert_eq(f.node.nlink, 3);
    cr_assert_eq(inode_of("a"), inode_of("b/file"));
    cr_assert_eq(inode_of("a"), inode_of("c"));
    tree_node(f.l.tree, (uint32_t)inode_of("a"), &f.node);
    cr_assert_arr_eq(f.node.name, "a", 1, "the first name is the canonical one");
}

Test(tree, links_to_lower_layers_and_to_later_entries)
{
    layers_add(&f.l, 0, FILE_OF("low", 3));
    layers_add(&f.l, 1, HARDLINK_TO("x", "low"), HARDLINK_TO("y", "late"), FILE_OF("late", 4));
    merge();
    cr_assert_eq(inode_of("x"), inode_of("low"));
    cr_assert_eq(inode_of("y"), inode_of("late"));
}

Test(tree, keeps_an_inode_whose_first_name_goes)
{
    layers_add(&f.l, 0, FILE_OF("a", 3), HARDLINK_TO("b", "a"));
    layers_add(&f.l, 1, FILE_OF(".wh.a", 0));
    merge();
    cr_assert_not(has("a"));
    cr_assert_eq(size_of("b"), 3);
    cr_assert_eq(f.node.nlink, 1);
}

Test(tree, keeps_an_inode_when_one_name_is_written_anew)
{
    layers_add(&f.l, 0, FILE_OF("a", 3), HARDLINK_TO("b", "a"));
    layers_add(&f.l, 1, FILE_OF("a", 9));
    merge();
    cr_assert_eq(size_of("a"), 9);
    cr_assert_eq(size_of("b"), 3);
    cr_assert_eq(f.node.layer, 0);
}

Test(tree, links_symlinks_and_devices_too)
{
    layers_add(&f.l, 0, SYMLINK_TO("s", "t"), HARDLINK_TO("s2", "s"), ENTRY(TAR_CHAR, "c"),
               HARDLINK_TO("c2", "c"));
    merge();
    cr_assert(has("s2") && f.node.kind == TREE_SYMLINK && f.node.nlink == 2);
    cr_assert(has("c2") && f.node.kind == TREE_CHAR);
}

Test(tree, links_over_the_directory_that_the_target_is_in)
{
    layers_add(&f.l, 0, FILE_OF("d/a", 3), HARDLINK_TO("d", "d/a"));
    merge();
    cr_assert_eq(size_of("d"), 3);
    cr_assert_eq(f.node.nlink, 1);
}

Test(tree, takes_a_link_to_itself_for_nothing)
{
    layers_add(&f.l, 0, FILE_OF("a", 3), HARDLINK_TO("a", "a"));
    merge();
    cr_assert_eq(size_of("a"), 3);
    cr_assert_eq(f.node.nlink, 1);
}

Test(tree, links_to_what_a_whiteout_of_its_layer_takes_away)
{
    layers_add(&f.l, 0, FILE_OF("a", 3), FILE_OF("d/b", 4), DIR_OF("e"));
    layers_add(&f.l, 1, FILE_OF(".wh.a", 0), HARDLINK_TO("x", "a"), HARDLINK_TO("y", "d/b"),
               FILE_OF("d/.wh..wh..opq", 0), HARDLINK_TO("z", "y"));
    merge();
    cr_assert_not(has("a"));
    cr_assert_eq(size_of("x"), 3);
    cr_assert_eq(f.node.nlink, 1);
    cr_assert_eq(size_of("z"), 4);
    cr_assert_eq(f.node.nlink, 2);
}

Test(tree, links_to_the_new_file_where_a_whiteout_makes_room_for_it)
{
    layers_add(&f.l, 0, FILE_OF("a", 3));
    layers_add(&f.l, 1, HARDLINK_TO("x", "a"), FILE_OF(".wh.a", 0), FILE_OF("a", 5));
    merge();
    cr_assert_eq(size_of("x"), 5);
    cr_assert_eq(f.node.nlink, 2);
}

Test(tree, refuses_links_to_what_a_lower_layer_took_away)
{
    layers_add(&f.l, 0, FILE_OF("a", 3));
    layers_add(&f.l, 1, FILE_OF(".wh.a", 0));
    layers_add(&f.l, 2, HARDLINK_TO("x", "a"), FILE_OF(".wh.b", 0));
    assert_refused(CLIP_EFORMAT, "not there");
}

Test(tree, refuses_links_to_what_is_not_there)
{
    layers_add(&f.l, 0, HARDLINK_TO("b", "a/gone"));
    assert_refused(CLIP_EFORMAT, "a/gone");
}

Test(tree, refuses_links_that_wait_for_each_other)
{
    layers_add(&f.l, 0, HARDLINK_TO("b", "a"), HARDLINK_TO("a", "b"));
    assert_refused(CLIP_EFORMAT, "not there");
}

Test(tree, refuses_links_to_directories)
{
    layers_add(&f.l, 0, DIR_OF("d"), HARDLINK_TO("b", "d"));
    assert_refused(CLIP_EFORMAT, "directory");
}

/* ---- run-time directories */

Test(tree, leaves_out_what_the_runtime_mounts)
{
    layers_add(&f.l, 0, DIR_OF("dev"), ENTRY(TAR_CHAR, "dev/null"), FILE_OF("proc/x", 1),
               DIR_OF("sys"), FILE_OF("etc/dev/x", 1), HARDLINK_TO("null", "dev/null"));
    merge();
    cr_assert_not(has("dev"));
    cr_assert_not(has("proc"));
    cr_assert_not(has("sys"));
    cr_assert(has("etc/dev/x"));
    cr_assert(has("null") && f.node.nlink == 1);
    f.l.options.keep_runtime_dirs = true;
    merge();
    cr_assert(has("dev/null") && has("proc/x") && has("sys"));
}

/* ---- ceilings */

static void add_numbered(unsigned layer, const char *dir, unsigned n)
{
    char path[64];

    for (unsigned i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%u", dir, i);
        layers_add(&f.l, layer, FILE_OF(path, 1));
    }
}

Test(tree, of_two_million_entries_is_merged_in_seconds)
{
    add_numbered(0, "d", 1000000);
    add_numbered(1, "d", 1000000);
    add_numbered(1, "e", 1000000);
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 2000003);
    cr_assert_eq(size_of("d/999999"), 1);
}

Test(tree, of_many_links_that_wait_stays_fast)
{
    char path[32], target[32];

    for (unsigned i = 0; i < 200000; i++) {
        snprintf(path, sizeof(path), "%u", i);
        snprintf(target, sizeof(target), "%u", i + 1);
        layers_add(&f.l, 0, HARDLINK_TO(path, target));
    }
    layers_add(&f.l, 0, FILE_OF("200000", 1));
    merge();
    cr_assert_eq(size_of("0"), 1);
    cr_assert_eq(f.node.nlink, 200001);
}

Test(tree, is_as_deep_as_the_ceiling_and_goes_again)
{
    char path[2 * TREE_DEPTH_MAX + 1];

    for (unsigned i = 0; i < TREE_DEPTH_MAX; i++)
        memcpy(path + 2 * i, "d/", 3);
    layers_add(&f.l, 0, DIR_OF(path));
    layers_add(&f.l, 1, FILE_OF(".wh.d", 0));
    f.l.n_layers = 1;
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), TREE_DEPTH_MAX + 1);
    f.l.n_layers = 2;
    merge();
    cr_assert_eq(tree_n_nodes(f.l.tree), 1);
}

Test(tree, refuses_to_grow_too_deep_through_a_symlink)
{
    char path[2 * TREE_DEPTH_MAX + 1];

    for (unsigned i = 0; i < TREE_DEPTH_MAX; i++)
        memcpy(path + 2 * i, "d/", 3);
    layers_add(&f.l, 0, DIR_OF(path), SYMLINK_TO("s", "d/d/d/d"));
    path[0] = 's';
    layers_add(&f.l, 1, FILE_OF(path, 1));
    assert_refused(-ENAMETOOLONG, "too deep");
}
