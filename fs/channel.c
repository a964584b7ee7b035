/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a channel is:
 * - the first request is INIT: libfuse answers, and complete_init() adds what libfuse 3.14 cannot
 *   ask for, on the reply's way out.
 * - on_readable() reads requests until there are none, or enough for this turn; poll is level
 *   triggered, so the rest comes the next turn, or when the channel has rested for others. The
 *   buffer is on the stack: a request is looked at before the next is read, and what an operation
 *   wants to keep of it, it copies.
 * - where requests follow each other closely the next is looked for a little longer (fs/vigil.h):
 *   a READLINK is 17 us then in place of 28, for no thread of ours has to be woken.
 * - every reply is one writev (libfuse's splicing is slower than that).
 * Possible failure modes are: the device ends (unmounted, or the connection was aborted): on_end.
 * A reply that the kernel refuses is dropped with a word in the log, the asker has gone.
 * On close: polling ends, then libfuse's session goes and with it the device.
 */
#include "fs/channel.h"

#include "engine/log.h"
#include "fs/read.h"
#include "fs/settings.h"

#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* Requests are small where nothing is written. The kernel wants room for max_write and its header,
 * and 8 KiB at least. */
#define MAX_WRITE   4096u
#define BUFFER_SIZE (16u << 10)
#define NS_PER_MS   1000000u
#define REST_MAX_MS 20u

void *channel_data(fuse_req_t req)
{
    const struct channel *channel = fuse_req_userdata(req);

    return channel->options.data;
}

/* ------------------------------------------------------------------ replies */

static void complete_init(struct channel *channel, struct fuse_init_out *out)
{
    const unsigned settings = channel->options.settings;

    out->max_write = MAX_WRITE;
    out->flags &= ~(uint32_t)FUSE_MAX_PAGES;
    if (settings_has(settings, SETTING_PAGES) && channel->offered & FUSE_MAX_PAGES) {
        out->flags |= FUSE_MAX_PAGES;
        out->max_pages = (uint16_t)(READ_MAX / (size_t)sysconf(_SC_PAGESIZE));
    }
    if (settings_has(settings, SETTING_DIROPS))
        out->flags |= channel->offered & FUSE_PARALLEL_DIROPS;
    /* tells an abort from an unmount */
    out->flags |= channel->offered & FUSE_ABORT_ERROR;
}

/* libfuse calls this for every reply; an error would make it write to stderr. */
static ssize_t send_reply(int fd, struct iovec *iov, int count, void *data)
{
    struct channel *channel = data;
    const struct fuse_out_header *header = iov[0].iov_base;
    ssize_t n;

    if (channel->greeting && header->error == 0 && count == 2 &&
        iov[1].iov_len == sizeof(struct fuse_init_out)) {
        complete_init(channel, iov[1].iov_base);
        channel->greeted = true;
    }
    do
        n = writev(fd, iov, count);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ENOENT && errno != ENODEV && errno != ECONNABORTED)
        log_warn(channel->engine, "channel %d: the kernel refused a reply of %u bytes: %s", fd,
                 header->len, strerror(errno));
    return header->len;
}

static ssize_t receive_nothing(int fd, void *buf, size_t len, void *data)
{
    (void)fd, (void)buf, (void)len, (void)data;
    errno = ENOSYS; /* we read ourselves; libfuse wants to be given a function */
    return -1;
}

/* ----------------------------------------------------------------- requests */

static bool is_writing(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_SETATTR:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_WRITE:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
    case FUSE_CREATE:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case 51: /* FUSE_TMPFILE, newer than some headers */
        return true;
    default:
        return false;
    }
}

static void refuse(struct channel *channel, const struct fuse_in_header *request)
{
    struct fuse_out_header reply = {
        .len = sizeof(reply),
        .error = -EROFS,
        .unique = request->unique,
    };
    struct iovec iov = {&reply, sizeof(reply)};

    send_reply(channel->fd, &iov, 1, channel);
}

static void greet(struct channel *channel, const struct fuse_buf *buf)
{
    const struct fuse_init_in *init =
        (const struct fuse_init_in *)((const char *)buf->mem + sizeof(struct fuse_in_header));

    if (buf->size >= sizeof(struct fuse_in_header) + offsetof(struct fuse_init_in, flags2))
        channel->offered = init->flags;
    channel->greeting = true;
    fuse_session_process_buf(channel->session, buf);
    channel->greeting = false;
    if (channel->greeted)
        channel->options.on_ready(channel);
}

static void serve(struct channel *channel, const struct fuse_buf *buf)
{
    const struct fuse_in_header *request = buf->mem;

    requests_count(channel->options.requests, request->opcode);
    engine_busy(channel->engine);
    if (is_writing(request->opcode))
        refuse(channel, request);
    else if (request->opcode == FUSE_INIT)
        greet(channel, buf);
    else
        fuse_session_process_buf(channel->session, buf);
}

/* 1: served one, 0: there is none, or the negative errno that ends the channel. */
static int serve_one(struct channel *channel)
{
    _Alignas(8) uint8_t bytes[BUFFER_SIZE];
    struct fuse_buf buf = {.mem = bytes};
    ssize_t n = read(channel->fd, bytes, sizeof(bytes));

    if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
        buf.size = (size_t)n;
        serve(channel, &buf);
        return 1;
    }
    if (n >= 0)
        return -EIO;
    if (errno == EINTR || errno == ENOENT) /* taken back before we had it */
        return 1;
    return errno == EAGAIN ? 0 : -errno;
}

/* Would it not sleep? */
static bool loop_has_work(uv_loop_t *loop)
{
    struct pollfd fd = {.fd = uv_backend_fd(loop), .events = POLLIN};

    return uv_backend_timeout(loop) == 0 || poll(&fd, 1, 0) != 0;
}

/* As serve_one(), when there was none just now: looks a moment longer where that pays, but not
 * while the loop has other work. */
static int serve_next(struct channel *channel, uint64_t *looked_ns)
{
    uv_loop_t *loop = engine_loop(channel->engine);
    uint64_t began_ns = engine_now_ns(), now_ns = began_ns;
    bool pays = vigil_pays(&channel->vigil);
    int r = 0;

    while (pays && now_ns - began_ns < VIGIL_NS && !loop_has_work(loop))
        now_ns = engine_now_ns();
    *looked_ns += now_ns - began_ns;
    if (pays)
        r = serve_one(channel);
    if (r == 0)
        vigil_sleeps(&channel->vigil, now_ns - began_ns >= VIGIL_NS, now_ns);
    return r;
}

/* As serve_one(), for the last of a turn. Looking for the next is not counted as done for it. */
static int serve_some(struct channel *channel)
{
    uint64_t began_ns = engine_now_ns(), looked_ns = 0, took_ns;
    int r, n = 0;

    vigil_woken(&channel->vigil, began_ns);
    do {
        r = serve_one(channel);
        if (r == 0)
            r = serve_next(channel, &looked_ns);
        took_ns = engine_now_ns() - began_ns;
    } while (r == 1 && ++n < CHANNEL_TURN_MAX && took_ns < CHANNEL_TURN_NS);
    channel->rest_ns += channel->options.rest(channel, took_ns - looked_ns);
    return r;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer)
{
    struct channel *channel = timer->data;

    uv_poll_start(&channel->poll, UV_READABLE, on_readable);
}

/* Timers count milliseconds: what is less adds up. */
static void maybe_rest(struct channel *channel)
{
    uint64_t ms = channel->rest_ns / NS_PER_MS;

    if (ms == 0)
        return;
    channel->rest_ns = 0;
    uv_poll_stop(&channel->poll);
    uv_timer_start(&channel->timer, on_rested, ms < REST_MAX_MS ? ms : REST_MAX_MS, 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct channel *channel = poll->data;
    int r = serve_some(channel);

    (void)events;
    if (r == 0 && status < 0)
        r = status; /* uv gave up on the descriptor */
    if (r >= 0) {
        maybe_rest(channel);
        return;
    }
    uv_poll_stop(poll);
    log_debug(channel->engine, "channel %d: ends: %s", channel->fd, strerror(-r));
    channel->options.on_end(channel, r == -ENODEV ? 0 : r);
}

/* ------------------------------------------------------------- open and close */

/* Once it has the device, the session closes it. */
static int open_session(struct channel *channel, struct clip_error *err)
{
    static const struct fuse_custom_io io = {.writev = send_reply, .read = receive_nothing};
    char *argv[] = {"clip", NULL};
    struct fuse_args args = {.argc = 1, .argv = argv};
    int r;

    channel->session =
        fuse_session_new(&args, channel->options.ops, sizeof(*channel->options.ops), channel);
    fuse_opt_free_args(&args); /* what libfuse made of them */
    if (!channel->session) {
        close(channel->fd);
        return err_set(err, -ENOMEM, "libfuse cannot make one more session");
    }
    r = fuse_session_custom_io(channel->session, &io, channel->fd);
    if (r == 0)
        return 0;
    fuse_session_destroy(channel->session);
    close(channel->fd);
    return err_sys(err, r < 0 ? r : -EIO, "libfuse does not take the device");
}

int channel_open(struct channel *channel, struct clip_engine *engine, int fd,
                 const struct channel_options *options, struct clip_error *err)
{
    int r;

    *channel = (struct channel){.engine = engine, .options = *options, .fd = fd};
    r = open_session(channel, err);
    if (r < 0)
        return r;
    r = uv_poll_init(engine_loop(engine), &channel->poll, fd);
    if (r < 0) {
        fuse_session_destroy(channel->session);
        return err_sys(err, r, "the FUSE device cannot be polled");
    }
    uv_timer_init(engine_loop(engine), &channel->timer);
    channel->n_handles = 2;
    channel->poll.data = channel->timer.data = channel;
    uv_poll_start(&channel->poll, UV_READABLE, on_readable);
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    if (--channel->n_handles > 0)
        return;
    fuse_session_destroy(channel->session);
    channel->on_close(channel);
}

void channel_close(struct channel *channel, channel_cb on_close)
{
    channel->on_close = on_close;
    uv_close((uv_handle_t *)&channel->poll, on_handle_closed);
    uv_close((uv_handle_t *)&channel->timer, on_handle_closed);
}
