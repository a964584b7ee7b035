/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's questions, in the loop: a FUSE device, polled, and libfuse's session behind it.
 *
 * A turn of the loop takes at most CHANNEL_TURN_MAX requests, and CHANNEL_TURN_NS and one request,
 * so that other mounts and the network get theirs; then the owner says how long they go first. Of a
 * turn, VIGIL_NS at a time may go to looking for more, while the loop would sleep. What
 * writes is refused with EROFS here, all else goes to the operations. Embedded in its owner, on the
 * loop's thread.
 */
#ifndef CLIP_FS_CHANNEL_H
#define CLIP_FS_CHANNEL_H

#include "fs/requests.h"
#include "fs/vigil.h"

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#define CHANNEL_TURN_MAX 32
#define CHANNEL_TURN_NS  500000u

struct channel;
typedef void (*channel_cb)(struct channel *channel);
typedef uint64_t (*channel_rest_fn)(struct channel *channel, uint64_t took_ns);
typedef void (*channel_end_cb)(struct channel *channel, int status);

struct channel_options {
    const struct fuse_lowlevel_ops *ops;
    void *data; /* the operations find it with channel_data() */
    unsigned settings;
    struct requests *requests;
    channel_rest_fn rest; /* after a turn: for how many ns is it not served now? */
    channel_cb on_ready;  /* INIT is answered: what was set up holds from now on */
    /* The kernel let go: 0 when it was unmounted, -ECONNABORTED when somebody cut the connection,
     * else what the device said. At most once; the channel still has to be closed. */
    channel_end_cb on_end;
};

struct channel {
    /* private */
    struct clip_engine *engine;
    struct channel_options options;
    struct fuse_session *session;
    uv_poll_t poll;
    uv_timer_t timer; /* while it rests */
    uint64_t rest_ns; /* that it owes */
    struct vigil vigil;
    unsigned n_handles;
    int fd;
    uint32_t offered; /* the flags of the kernel's INIT, while it is answered */
    bool greeting, greeted;
    channel_cb on_close;
};

/* `fd` is a mounted FUSE device, not blocking; it is the channel's, and closed with it or by a
 * failure here: -ENOMEM, or that the device cannot be polled. */
int channel_open(struct channel *channel, struct clip_engine *engine, int fd,
                 const struct channel_options *options, struct clip_error *err);
/* Every request must have been answered. Whoever still uses the mount gets ENOTCONN from now on. */
void channel_close(struct channel *channel, channel_cb on_close);

/* options.data of the channel that a request came by. */
void *channel_data(fuse_req_t req);

#endif
