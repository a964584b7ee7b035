/* SPDX-License-Identifier: Apache-2.0 */
/* clip ls. A directory is printed child by child as the image has it, sorted by name; with -l once
 * before that for the widths of the columns. -R keeps the directories still to come in a list of
 * its own, not on the stack: paths in an image may be as deep as they like. */
#include "command.h"
#include "facts.h"
#include "say.h"
#include "verb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct list_args {
    bool long_form, recursive, json;
};

/* A directory still to come. */
struct pending {
    char *path;
    uint64_t ino;
};

struct list {
    const struct list_args *args;
    const struct clip_image *image;
    unsigned n_printed;      /* JSON objects, or directories with a heading */
    struct pending *pending; /* the next one last */
    size_t n_pending, cap;
};

/* Widths of the columns of -l. */
struct widths {
    int nlink, uid, gid, size;
};

static const struct args_option list_options[] = {
    {"long", 'l', ARGS_FLAG, NULL, "mode, links, owner, size, time and target as well",
     offsetof(struct list_args, long_form)},
    {"recursive", 'R', ARGS_FLAG, NULL, "everything below as well",
     offsetof(struct list_args, recursive)},
    {"json", 0, ARGS_FLAG, NULL, "print an array of objects", offsetof(struct list_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static char *join(const char *dir, const char *name, size_t name_len)
{
    char *path;
    const char *slash = dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%.*s", dir, slash, (int)name_len, name) < 0 ? NULL : path;
}

/* ---- what is still to come */

/* Takes `path`, also on failure. */
static int push(struct list *list, char *path, uint64_t ino)
{
    if (!path)
        return -ENOMEM;
    if (list->n_pending == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        struct pending *more = reallocarray(list->pending, cap, sizeof(*more));
        if (!more) {
            free(path);
            return -ENOMEM;
        }
        list->pending = more;
        list->cap = cap;
    }
    list->pending[list->n_pending++] = (struct pending){path, ino};
    return 0;
}

/* In the order of their names, so the last is pushed first. */
static int push_children(struct list *list, const char *dir, uint64_t ino)
{
    struct clip_dirent child;
    struct clip_stat st;
    size_t first = list->n_pending;
    for (uint64_t i = 0; clip_image_readdir(list->image, ino, i, &child) == 0; i++) {
        if (clip_image_stat(list->image, child.ino, &st) < 0 || !S_ISDIR(st.mode))
            continue;
        int r = push(list, join(dir, child.name, child.name_len), child.ino);
        if (r < 0)
            return r;
    }
    for (size_t a = first, b = list->n_pending; a + 1 < b; a++, b--) {
        struct pending swap = list->pending[a];
        list->pending[a] = list->pending[b - 1];
        list->pending[b - 1] = swap;
    }
    return 0;
}

/* ---- printing */

static void grow(int *width, int len)
{
    if (len > *width)
        *width = len;
}

static int size_text(const struct clip_stat *st, char out[32])
{
    if (S_ISCHR(st->mode) || S_ISBLK(st->mode))
        return snprintf(out, 32, "%" PRIu32 ", %" PRIu32, st->rdev_major, st->rdev_minor);
    return snprintf(out, 32, "%" PRIu64, st->size);
}

static void widen(struct widths *widths, const struct clip_stat *st)
{
    char size[32];
    grow(&widths->nlink, snprintf(NULL, 0, "%" PRIu32, st->nlink));
    grow(&widths->uid, snprintf(NULL, 0, "%" PRIu32, st->uid));
    grow(&widths->gid, snprintf(NULL, 0, "%" PRIu32, st->gid));
    grow(&widths->size, size_text(st, size));
}

static void print_long(const struct clip_stat *st, const struct widths *widths)
{
    char mode[FACTS_MODE_LEN], size[32], mtime[SAY_TIME_LEN];
    size_text(st, size);
    printf("%s %*" PRIu32 " %*" PRIu32 " %*" PRIu32 " %*s %s ", facts_mode(st->mode, mode),
           widths->nlink, st->nlink, widths->uid, st->uid, widths->gid, st->gid, widths->size, size,
           say_time(st->mtime_sec, mtime));
}

static void print_json(struct list *list, const char *path, uint64_t ino)
{
    fputs(list->n_printed++ ? ",\n" : "", stdout);
    facts_print(facts_entry(list->image, path, ino), JSON_COMPACT);
}

static int print_entry(struct list *list, const char *dir, const char *name, size_t name_len,
                       uint64_t ino, const struct widths *widths)
{
    const char *target;
    size_t target_len;
    struct clip_stat st;
    if (list->args->json) {
        char *path = dir ? join(dir, name, name_len) : strndup(name, name_len);
        if (!path)
            return -ENOMEM;
        print_json(list, path, ino);
        free(path);
        return 0;
    }
    int r = clip_image_stat(list->image, ino, &st);
    if (r < 0)
        return r;
    if (list->args->long_form)
        print_long(&st, widths);
    say_name(stdout, name, name_len);
    if (list->args->long_form && clip_image_readlink(list->image, ino, &target, &target_len) == 0) {
        fputs(" -> ", stdout);
        say_name(stdout, target, target_len);
    }
    putchar('\n');
    return 0;
}

static void measure(const struct list *list, uint64_t ino, struct widths *widths)
{
    struct clip_dirent child;
    struct clip_stat st;
    for (uint64_t i = 0; clip_image_readdir(list->image, ino, i, &child) == 0; i++) {
        if (clip_image_stat(list->image, child.ino, &st) == 0)
            widen(widths, &st);
    }
}

static int print_dir(struct list *list, const char *path, uint64_t ino)
{
    struct clip_dirent child;
    struct widths widths = {0};
    int r = 0;
    if (list->args->long_form)
        measure(list, ino, &widths);
    if (list->args->recursive && !list->args->json) {
        fputs(list->n_printed++ ? "\n" : "", stdout);
        say_name(stdout, path, strlen(path));
        fputs(":\n", stdout);
    }
    for (uint64_t i = 0; r == 0 && clip_image_readdir(list->image, ino, i, &child) == 0; i++)
        r = print_entry(list, path, child.name, child.name_len, child.ino, &widths);
    return r == 0 && list->args->recursive ? push_children(list, path, ino) : r;
}

static int print_pending(struct list *list)
{
    int r = 0;
    while (list->n_pending > 0) {
        struct pending next = list->pending[--list->n_pending];
        if (r == 0 && !ferror(stdout))
            r = print_dir(list, next.path, next.ino);
        free(next.path);
    }
    free(list->pending);
    return r;
}

static int print_one(struct list *list, const char *path, uint64_t ino)
{
    struct widths widths = {0};
    return print_entry(list, NULL, path, strlen(path), ino, &widths);
}

static int print_all(struct list *list, const char *path, uint64_t ino)
{
    struct clip_stat st;
    int r = clip_image_stat(list->image, ino, &st);
    if (r < 0)
        return r;
    if (!S_ISDIR(st.mode))
        return print_one(list, path, ino);
    r = push(list, strdup(path), ino);
    return r < 0 ? r : print_pending(list);
}

static int list_path(const struct args *args, void *data)
{
    const struct list_args *fields = data;
    const char *path = args->n_operands > 1 ? args->operand[1] : "/";
    struct clip_image *image;
    uint64_t ino;
    int r = facts_open(args->operand[0], path, !fields->long_form, &image, &ino);
    if (r != 0)
        return r;
    struct list list = {.args = fields, .image = image};
    if (fields->json)
        fputs("[\n", stdout);
    r = print_all(&list, path, ino);
    if (fields->json)
        fputs("\n]\n", stdout);
    if (r < 0)
        say_error("cannot list %s: %s", path, strerror(-r));
    clip_image_unref(image);
    return r < 0;
}

int ls_run(int argc, char **argv)
{
    struct list_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "ls",
        .operands = "FILE.clip [PATH]",
        .about = "Lists a directory of the image (the root, if no PATH is given), or one file.",
        .min_operands = 1,
        .max_operands = 2,
        .groups = {{"Options", list_options, &fields}},
    };
    struct command command = {.args = &args, .work = list_path, .fields = &fields};
    return command_run(&command, argc, argv);
}
