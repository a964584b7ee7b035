/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one operation on a tree costs when all caches are warm: `storm stat|read|exec ROOT`.
 *
 * - The paths are collected once, which also warms whatever can be warmed; then every operation
 *   goes over all of them, and the fastest of the rounds is printed, in nanoseconds an operation.
 *   The fastest, because what else the machine did can only have added.
 * - Nothing here is ours: it tells file systems apart, and is fair to all by knowing none.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS    5
#define PATHS_MAX 20000u
#define FDS       32
#define EXECS     100

static char *paths[PATHS_MAX];
static size_t n_paths;
static bool (*wanted)(const struct stat *);
static posix_spawn_file_actions_t quiet;

static bool is_anything(const struct stat *st)
{
    (void)st;
    return true;
}

static bool is_readable_file(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_size > 0;
}

static int collect(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)type, (void)ftw;
    if (n_paths == PATHS_MAX)
        return 1;
    if (wanted(st) && !(paths[n_paths++] = strdup(path)))
        err(1, "%s", path);
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static size_t stat_all(void)
{
    struct stat st;

    for (size_t i = 0; i < n_paths; i++)
        if (lstat(paths[i], &st) != 0)
            err(1, "%s", paths[i]);
    return n_paths;
}

static size_t read_all(void)
{
    char buf[4096];

    for (size_t i = 0; i < n_paths; i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0 || read(fd, buf, sizeof(buf)) < 0)
            err(1, "%s", paths[i]);
        close(fd);
    }
    return n_paths;
}

/* -v and not -e: that wants a /dev/null, which an image does not have. */
static size_t exec_all(void)
{
    char *argv[] = {"perl", "-v", NULL}, *envp[] = {NULL};

    for (int i = 0; i < EXECS; i++) {
        pid_t pid;
        int status;

        if (posix_spawn(&pid, "/usr/bin/perl", &quiet, NULL, argv, envp) != 0 ||
            waitpid(pid, &status, 0) != pid || status != 0)
            errx(1, "perl does not run in the tree");
    }
    return EXECS;
}

static uint64_t fastest(size_t (*round)(void))
{
    uint64_t best = UINT64_MAX;

    round();
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = now_ns();
        size_t n = round();
        uint64_t each = (now_ns() - start) / (n ? n : 1);

        if (each < best)
            best = each;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: storm stat|read|exec ROOT");
    if (chdir(argv[2]) != 0)
        err(1, "%s", argv[2]);

    if (strcmp(argv[1], "exec") == 0) {
        posix_spawn_file_actions_init(&quiet);
        posix_spawn_file_actions_adddup2(&quiet, open("/dev/null", O_WRONLY), STDOUT_FILENO);
        if (chroot(".") != 0)
            err(1, "chroot");
        printf("%ju\n", (uintmax_t)fastest(exec_all));
        return 0;
    }
    wanted = strcmp(argv[1], "stat") == 0 ? is_anything : is_readable_file;
    if (nftw(".", collect, FDS, FTW_PHYS | FTW_MOUNT) < 0)
        err(1, "%s", argv[2]);
    printf("%ju\n", (uintmax_t)fastest(wanted == is_anything ? stat_all : read_all));
    return 0;
}
