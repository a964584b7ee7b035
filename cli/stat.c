/* SPDX-License-Identifier: Apache-2.0 */
/* clip stat: all that the image knows of one path. */
#include "command.h"
#include "facts.h"
#include "say.h"
#include "verb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct stat_args {
    bool follow, json;
};

static const struct args_option stat_options[] = {
    {"follow", 'L', ARGS_FLAG, NULL, "what a symlink points to, not the symlink",
     offsetof(struct stat_args, follow)},
    {"json", 0, ARGS_FLAG, NULL, "print an object", offsetof(struct stat_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

/* Malloc'ed; NULL: no memory. */
static char *path_of(const struct clip_image *image, uint64_t ino)
{
    int len = clip_image_path(image, ino, NULL, 0);
    char *path = len < 0 ? NULL : malloc((size_t)len + 1);
    if (path)
        clip_image_path(image, ino, path, (size_t)len + 1);
    return path;
}

/* An object for each, so that a name which is no UTF-8 can be told. */
static json_t *needs_json(const struct clip_image *image, uint64_t ino)
{
    json_t *all = json_array();
    uint64_t needed;
    for (uint64_t i = 0; clip_image_need(image, ino, i, &needed) == 0; i++) {
        char *path = path_of(image, needed);
        json_t *one = json_object();
        if (path)
            facts_set_bytes(one, "path", path, strlen(path));
        json_array_append_new(all, one);
        free(path);
    }
    return all;
}

static void print_json(const struct clip_image *image, const char *path, uint64_t ino)
{
    json_t *entry = facts_entry(image, path, ino);
    if (entry)
        json_object_set_new(entry, "needs", needs_json(image, ino));
    facts_print(entry, JSON_INDENT(2));
    putchar('\n');
}

static void print_bytes(const char *what, const char *bytes, size_t len)
{
    printf("%-9s", what);
    say_quoted(stdout, bytes, len);
    putchar('\n');
}

static void print_xattrs(const struct clip_image *image, uint64_t ino)
{
    struct clip_xattr xattr;
    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++) {
        fputs("xattr    ", stdout);
        say_quoted(stdout, xattr.name, xattr.name_len);
        fputs(" = ", stdout);
        say_quoted(stdout, xattr.value, xattr.value_len);
        putchar('\n');
    }
}

static void print_needs(const struct clip_image *image, uint64_t ino)
{
    uint64_t needed;
    for (uint64_t i = 0; clip_image_need(image, ino, i, &needed) == 0; i++) {
        char *path = path_of(image, needed);
        if (path)
            print_bytes("needs", path, strlen(path));
        free(path);
    }
}

static void print_text(const struct clip_image *image, const char *path, uint64_t ino)
{
    struct clip_stat st;
    char mode[FACTS_MODE_LEN], mtime[SAY_TIME_LEN], content[FACTS_DIGEST_LEN];
    const char *target;
    size_t target_len;
    if (clip_image_stat(image, ino, &st) < 0)
        return;
    print_bytes("path", path, strlen(path));
    printf("type     %s\n", facts_type(st.mode));
    if (clip_image_readlink(image, ino, &target, &target_len) == 0)
        print_bytes("target", target, target_len);
    printf("mode     %s (%04o)\n", facts_mode(st.mode, mode), st.mode & 07777);
    printf("owner    %" PRIu32 ":%" PRIu32 "\n", st.uid, st.gid);
    printf("links    %" PRIu32 "\n", st.nlink);
    printf("inode    %" PRIu64 "\n", st.ino);
    printf("size     %" PRIu64 "\n", st.size);
    printf("mtime    %s (%" PRId64 ".%09" PRIu32 ")\n", say_time(st.mtime_sec, mtime), st.mtime_sec,
           st.mtime_nsec);
    if (S_ISCHR(st.mode) || S_ISBLK(st.mode))
        printf("device   %" PRIu32 ", %" PRIu32 "\n", st.rdev_major, st.rdev_minor);
    if (*facts_content(image, ino, content))
        printf("content  %s\n", content);
    print_xattrs(image, ino);
    print_needs(image, ino);
}

static int stat_path(const struct args *args, void *data)
{
    const struct stat_args *fields = data;
    const char *path = args->operand[1];
    struct clip_image *image;
    uint64_t ino;
    int r = facts_open(args->operand[0], path, fields->follow, &image, &ino);
    if (r != 0)
        return r;
    if (fields->json)
        print_json(image, path, ino);
    else
        print_text(image, path, ino);
    clip_image_unref(image);
    return 0;
}

int stat_run(int argc, char **argv)
{
    struct stat_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "stat",
        .operands = "FILE.clip PATH",
        .about =
            "Prints all that the image knows of PATH; a symlink is not followed. \"needs\" are\n"
            "the files that it says it needs to run (libraries, what a Python module\n"
            "imports): a mount fetches them when it is read.",
        .min_operands = 2,
        .max_operands = 2,
        .groups = {{"Options", stat_options, &fields}},
    };
    struct command command = {.args = &args, .work = stat_path, .fields = &fields};
    return command_run(&command, argc, argv);
}
