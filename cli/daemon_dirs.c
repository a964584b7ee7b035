/* SPDX-License-Identifier: Apache-2.0 */
/* Before there is a loop: directories, locks, limits. Two clipds must not share a run directory
 * (the socket, the mounts) nor a root (the state), so both are locked for as long as we live; the
 * kernel lets go of a lock when its process dies, however it dies. */
#include "daemon_dirs.h"

#include "say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_ENOUGH 4096

static int make_dir(const char *path, unsigned mode)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return 0;
    say_error("cannot make the directory %s: %s", path, strerror(errno));
    return 1;
}

int dirs_make(const char *path, unsigned mode)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - path);
        if (len >= sizeof(part))
            break;
        memcpy(part, path, len);
        part[len] = '\0';
        if (make_dir(part, 0755) != 0)
            return 1;
    }
    return make_dir(path, mode);
}

int dirs_make_below(const char *dir, const char *name, unsigned mode)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return dirs_make(path, mode);
}

int dirs_lock(const char *dir, int *out)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/clipd.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        say_error("cannot open %s: %s", path, strerror(errno));
        return 1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out = fd;
        return 0;
    }
    if (errno == EWOULDBLOCK)
        say_error("another clipd works in %s", dir);
    else
        say_error("cannot lock %s: %s", path, strerror(errno));
    close(fd);
    return 1;
}

/* "PREFIX*" in `dir`; a directory only if it is empty. */
void dirs_sweep(const char *dir, const char *prefix)
{
    char path[PATH_MAX];
    DIR *stream = opendir(dir);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        if (unlink(path) < 0 && errno == EISDIR)
            rmdir(path);
    }
    if (stream)
        closedir(stream);
}

void dirs_sweep_container(const char *run, const char *id)
{
    static const char *const parts[] = {"/rootfs/dev", "/rootfs/proc", "/rootfs/sys", "/rootfs",
                                        "/upper",      "/work/work",   "/work",       ""};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s%s", run, id, parts[i]) < sizeof(path))
            rmdir(path);
    }
}

uint64_t dirs_raise_files(struct log *log)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < FILES_ENOUGH)
        log_say(log, CLIP_LOG_WARN,
                "only %llu open files are allowed; each image takes 1 and each layer in the cache "
                "2 more: raise the limit (LimitNOFILE=)",
                (unsigned long long)limit.rlim_cur);
    return limit.rlim_cur;
}
