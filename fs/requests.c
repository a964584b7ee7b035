/* SPDX-License-Identifier: Apache-2.0 */
/* An opcode gets its line in the metrics when it comes for the first time. */
#include "fs/requests.h"

#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>

static const char kind; /* its address names us to engine_find() */

/* Some are newer than the header that we are compiled with. */
static const char *const names[REQUESTS_OPCODES] = {
    [FUSE_LOOKUP] = "lookup",
    [FUSE_FORGET] = "forget",
    [FUSE_GETATTR] = "getattr",
    [FUSE_SETATTR] = "setattr",
    [FUSE_READLINK] = "readlink",
    [FUSE_SYMLINK] = "symlink",
    [FUSE_MKNOD] = "mknod",
    [FUSE_MKDIR] = "mkdir",
    [FUSE_UNLINK] = "unlink",
    [FUSE_RMDIR] = "rmdir",
    [FUSE_RENAME] = "rename",
    [FUSE_LINK] = "link",
    [FUSE_OPEN] = "open",
    [FUSE_READ] = "read",
    [FUSE_WRITE] = "write",
    [FUSE_STATFS] = "statfs",
    [FUSE_RELEASE] = "release",
    [FUSE_FSYNC] = "fsync",
    [FUSE_SETXATTR] = "setxattr",
    [FUSE_GETXATTR] = "getxattr",
    [FUSE_LISTXATTR] = "listxattr",
    [FUSE_REMOVEXATTR] = "removexattr",
    [FUSE_FLUSH] = "flush",
    [FUSE_INIT] = "init",
    [FUSE_OPENDIR] = "opendir",
    [FUSE_READDIR] = "readdir",
    [FUSE_RELEASEDIR] = "releasedir",
    [FUSE_FSYNCDIR] = "fsyncdir",
    [FUSE_GETLK] = "getlk",
    [FUSE_SETLK] = "setlk",
    [FUSE_SETLKW] = "setlkw",
    [FUSE_ACCESS] = "access",
    [FUSE_CREATE] = "create",
    [FUSE_INTERRUPT] = "interrupt",
    [FUSE_BMAP] = "bmap",
    [FUSE_DESTROY] = "destroy",
    [FUSE_IOCTL] = "ioctl",
    [FUSE_POLL] = "poll",
    [FUSE_BATCH_FORGET] = "batch_forget",
    [FUSE_FALLOCATE] = "fallocate",
    [FUSE_READDIRPLUS] = "readdirplus",
    [FUSE_RENAME2] = "rename2",
    [FUSE_LSEEK] = "lseek",
    [FUSE_COPY_FILE_RANGE] = "copy_file_range",
    [FUSE_SYNCFS] = "syncfs",
    [51] = "tmpfile",
    [52] = "statx",
};

static void close_requests(struct engine_child *child)
{
    struct requests *requests = container_of(child, struct requests, child);

    for (unsigned i = 0; i < REQUESTS_OPCODES; i++)
        metric_remove(&requests->by_opcode[i]);
    metric_remove(&requests->read_time);
    metric_remove(&requests->mounts);
    engine_remove(requests->engine, child);
    free(requests);
}

int requests_get(struct clip_engine *engine, struct requests **out)
{
    struct engine_child *child = engine_find(engine, &kind);
    struct requests *requests;
    int r;

    if (child) {
        *out = container_of(child, struct requests, child);
        return 0;
    }
    requests = calloc(1, sizeof(*requests));
    if (!requests)
        return -ENOMEM;
    requests->engine = engine;
    r = engine_add(engine, &requests->child, ENGINE_CACHE, &kind, close_requests);
    if (r < 0) {
        free(requests);
        return r;
    }
    metric_add(engine, &requests->mounts, METRIC_GAUGE, "clip_mounts",
               "Images that are mounted now.", NULL);
    metric_add(engine, &requests->read_time, METRIC_HISTOGRAM, "clip_fuse_read_seconds",
               "How long the kernel waited for file bytes.", NULL);
    *out = requests;
    return 0;
}

void requests_count(struct requests *requests, uint32_t opcode)
{
    uint32_t i = opcode < REQUESTS_OPCODES && names[opcode] ? opcode : REQUESTS_OPCODES - 1;
    struct metric *metric = &requests->by_opcode[i];
    char labels[64];

    if (!metric->name) {
        snprintf(labels, sizeof(labels), "opcode=\"%s\"", names[i] ? names[i] : "other");
        metric_add(requests->engine, metric, METRIC_COUNTER, "clip_fuse_requests_total",
                   "Requests of the kernel.", labels);
    }
    metric->value++;
}
