/* SPDX-License-Identifier: Apache-2.0 */
/* A pidfd becomes readable when its process ends, and means no other process with the same number.
 */
#include "owner.h"

#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct owner {
    uv_poll_t poll;
    int fd;
    owner_cb on_ended;
    void *data;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct owner *owner = (struct owner *)poll; /* its first member */
    uv_poll_stop(poll);
    owner->on_ended(owner->data);
}

int owner_open(uv_loop_t *loop, pid_t pid, owner_cb on_ended, void *data, struct owner **out,
               struct clip_error *err)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return reply_error(err, errno == ESRCH ? -EINVAL : -errno,
                           "cannot watch the owner, process %d: %s", (int)pid, strerror(errno));
    struct owner *owner = calloc(1, sizeof(*owner));
    if (!owner) {
        close(fd);
        return reply_error(err, -ENOMEM, "out of memory");
    }
    owner->fd = fd;
    owner->on_ended = on_ended;
    owner->data = data;
    uv_poll_init(loop, &owner->poll, fd);
    uv_poll_start(&owner->poll, UV_READABLE, on_readable);
    *out = owner;
    return 0;
}

void owner_close(struct owner *owner)
{
    if (!owner)
        return;
    uv_poll_stop(&owner->poll);
    close(owner->fd);
    uv_close((uv_handle_t *)&owner->poll, (uv_close_cb)free);
}
