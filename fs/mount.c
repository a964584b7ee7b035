/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a mount is:
 * - a job of the pool checks the mountpoint and mounts (mount(2) never on the loop: the kernel
 *   would be asking us); the kernel's first request waits in the device meanwhile.
 * - the channel answers it; then a second job raises the kernel's read-ahead, and the host hears
 *   that the tree can be used.
 * - from then on the channel and the operations work by themselves (fs/channel.c, fs/ops.c).
 * Possible failure modes are: the mountpoint or the device is refused: all that was done is undone
 * by the same way as a close, and `done` fires at its end. The kernel lets go (unmounted, aborted):
 * reads that wait are ended, and on_unmounted fires.
 * On close: reads that wait are ended first, for they keep the mount busy. A job unmounts, while
 * the channel goes on to answer. When that is done and no read is left: the channel, then the
 * reader, then the memory and the callbacks.
 */
#include "engine/engine.h"
#include "engine/log.h"
#include "engine/work.h"
#include "fs/mountpoint.h"
#include "fs/ops.h"
#include "fs/reader.h"
#include "fs/settings.h"
#include "fs/unmount.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A fault of a mapped file reads this much around it, and each MiB is a span to fetch; what reads
 * on and on is read ahead by the reader. */
#define READ_AHEAD_KIB 1024u

enum mount_state {
    MOUNT_ATTACHING, /* a job mounts */
    MOUNT_GREETING,  /* INIT is awaited */
    MOUNT_TUNING,    /* a job sets what INIT cannot */
    MOUNT_SERVING,
    MOUNT_ENDED, /* the kernel let go; the host has heard of it */
    MOUNT_CLOSING,
    MOUNT_STATES
};

#define MOVE(state) (1u << (state))
static const unsigned moves[MOUNT_STATES] = {
    [MOUNT_ATTACHING] = MOVE(MOUNT_GREETING) | MOVE(MOUNT_CLOSING),
    [MOUNT_GREETING] = MOVE(MOUNT_TUNING) | MOVE(MOUNT_CLOSING),
    [MOUNT_TUNING] = MOVE(MOUNT_SERVING) | MOVE(MOUNT_CLOSING),
    [MOUNT_SERVING] = MOVE(MOUNT_ENDED) | MOVE(MOUNT_CLOSING),
    [MOUNT_ENDED] = MOVE(MOUNT_CLOSING),
};
static const char *const state_names[MOUNT_STATES] = {"attaching", "greeting", "tuning",
                                                      "serving",   "ended",    "closing"};

struct clip_mount {
    struct engine_child child;
    struct clip_engine *engine;
    enum mount_state state;
    struct clip_mount_options options; /* the strings in it are the caller's: not to be used */
    char *name;                        /* the mountpoint, as it was given */
    struct ops ops;
    struct channel channel;
    bool has_channel;

    struct work work;
    bool busy;            /* a job, or the close of a part, is in flight */
    struct mountpoint at; /* path NULL: nothing of ours is there; fd -1: the channel has it */
    int job_status;
    struct clip_error job_err;

    clip_done_cb done; /* NULL once it fired */
    void *done_data;
    int status; /* for `done` */
    struct clip_error err;
    clip_close_cb on_close;
    void *close_data;
};

static void set_state(struct clip_mount *mount, enum mount_state state)
{
    assert(moves[mount->state] & MOVE(state));
    log_debug(mount->engine, "mount %s: %s -> %s", mount->name, state_names[mount->state],
              state_names[state]);
    mount->state = state;
}

/* --------------------------------------------------------------------- close */

static void mount_free(struct clip_mount *mount)
{
    clip_image_unref(mount->options.image);
    free(mount->at.path);
    free(mount->name);
    free(mount);
}

static void finish(struct clip_mount *mount)
{
    clip_done_cb done = mount->done;
    clip_close_cb on_close = mount->on_close;
    void *done_data = mount->done_data, *close_data = mount->close_data;
    struct clip_error err = mount->err;
    int status = mount->status;

    if (mount->at.fd >= 0)
        close(mount->at.fd);
    mount->ops.requests->mounts.value--;
    engine_remove(mount->engine, &mount->child);
    mount_free(mount);
    if (done)
        done(done_data, status, &err);
    if (on_close)
        on_close(close_data);
}

static void on_reader_closed(void *data)
{
    finish(data);
}

static void maybe_closed(struct clip_mount *mount);

static void on_channel_closed(struct channel *channel)
{
    struct clip_mount *mount = container_of(channel, struct clip_mount, channel);

    mount->has_channel = false;
    mount->busy = false;
    maybe_closed(mount);
}

static void maybe_closed(struct clip_mount *mount)
{
    struct clip_reader *reader = mount->ops.reader;

    if (mount->state != MOUNT_CLOSING || mount->busy || !ops_idle(&mount->ops))
        return;
    if (mount->has_channel) {
        mount->busy = true;
        channel_close(&mount->channel, on_channel_closed);
        return;
    }
    mount->ops.reader = NULL;
    mount->busy = true;
    clip_reader_close(reader, on_reader_closed, mount);
}

static void on_ops_idle(struct ops *ops)
{
    maybe_closed(container_of(ops, struct clip_mount, ops));
}

static void unmount_run(struct work *work)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);

    mount->job_status = unmount_device(mount->at.path, mount->at.dev, &mount->job_err);
}

static void unmount_done(struct work *work, int status)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);

    assert(status == 0); /* nobody cancels it */
    mount->busy = false;
    if (mount->job_status < 0)
        log_warn(mount->engine, "mount %s: %s; it is left there, dead", mount->name,
                 mount->job_err.message);
    maybe_closed(mount);
}

/* In MOUNT_CLOSING, with no job in flight. */
static void take_away(struct clip_mount *mount)
{
    if (!mount->at.path) {
        maybe_closed(mount);
        return;
    }
    mount->busy = true;
    work_submit(mount->engine, &mount->work, WORK_BLOCK, unmount_run, unmount_done);
}

/* `status` is for who still waits for the mount; mount->err says why. */
static void begin_close(struct clip_mount *mount, int status)
{
    mount->status = status;
    set_state(mount, MOUNT_CLOSING);
    ops_refuse(&mount->ops);
    if (mount->busy)
        work_cancel(&mount->work); /* and take_away() when it has ended */
    else
        take_away(mount);
}

/* From the engine. */
static void close_child(struct engine_child *child)
{
    struct clip_mount *mount = container_of(child, struct clip_mount, child);

    if (mount->state == MOUNT_CLOSING)
        return;
    begin_close(mount, err_set(&mount->err, -ECANCELED, "%s: cancelled", mount->name));
}

/* ---------------------------------------------------------------------- open */

static void tune_run(struct work *work)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);

    mount->job_status = 0;
    if (settings_has(mount->ops.settings, SETTING_READAHEAD))
        mount->job_status = mountpoint_set_read_ahead(mount->at.dev, READ_AHEAD_KIB);
}

static void tune_done(struct work *work, int status)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);
    clip_done_cb done = mount->done;

    mount->busy = false;
    if (mount->state == MOUNT_CLOSING) {
        take_away(mount);
        return;
    }
    assert(status == 0);
    if (mount->job_status < 0)
        log_info(mount->engine,
                 "mount %s: slower reads, the kernel's read-ahead stays as it is: %s", mount->name,
                 strerror(-mount->job_status));
    set_state(mount, MOUNT_SERVING);
    mount->done = NULL;
    done(mount->done_data, 0, NULL);
}

static void on_ready(struct channel *channel)
{
    struct clip_mount *mount = container_of(channel, struct clip_mount, channel);

    if (mount->state != MOUNT_GREETING)
        return;
    set_state(mount, MOUNT_TUNING);
    mount->busy = true;
    work_submit(mount->engine, &mount->work, WORK_BLOCK, tune_run, tune_done);
}

/* After a 0, what may be at the path is not ours. */
static void on_end(struct channel *channel, int status)
{
    struct clip_mount *mount = container_of(channel, struct clip_mount, channel);
    struct clip_error err;

    if (mount->state == MOUNT_CLOSING)
        return;
    if (status == 0) {
        free(mount->at.path);
        mount->at.path = NULL;
        err_clear(&err);
    } else {
        err_sys(&err, status, "%s: the kernel cut the connection", mount->name);
    }
    if (mount->state != MOUNT_SERVING) {
        begin_close(mount, err_set(&mount->err, status ? status : -ENODEV,
                                   "%s was unmounted before it could be used", mount->name));
        return;
    }
    set_state(mount, MOUNT_ENDED);
    ops_refuse(&mount->ops);
    if (mount->options.on_unmounted)
        mount->options.on_unmounted(mount->options.data, status, &err);
}

static uint64_t rest(struct channel *channel, uint64_t took_ns)
{
    struct clip_mount *mount = container_of(channel, struct clip_mount, channel);

    return cache_client_rest(&mount->ops.reader->client, took_ns);
}

static int start_channel(struct clip_mount *mount)
{
    struct channel_options options = {
        .ops = &ops_table,
        .data = &mount->ops,
        .settings = mount->ops.settings,
        .requests = mount->ops.requests,
        .rest = rest,
        .on_ready = on_ready,
        .on_end = on_end,
    };
    int fd = mount->at.fd;

    mount->at.fd = -1;
    return channel_open(&mount->channel, mount->engine, fd, &options, &mount->err);
}

static void attach_run(struct work *work)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);

    mount->ops.has_acls = ops_find_acls(mount->options.image);
    mount->job_status = mountpoint_attach(mount->name, mount->options.allow_dev,
                                          mount->options.allow_suid, &mount->at, &mount->job_err);
}

static void attach_done(struct work *work, int status)
{
    struct clip_mount *mount = container_of(work, struct clip_mount, work);
    int r = status < 0 ? status : mount->job_status;

    mount->busy = false;
    if (mount->state == MOUNT_CLOSING) {
        take_away(mount);
        return;
    }
    mount->err = mount->job_err;
    if (r == 0) {
        r = start_channel(mount);
        mount->has_channel = r == 0;
    }
    if (r < 0)
        begin_close(mount, r);
    else
        set_state(mount, MOUNT_GREETING);
}

static int open_parts(struct clip_mount *mount, const struct clip_reader_options *options,
                      struct clip_error *err)
{
    int r = requests_get(mount->engine, &mount->ops.requests);

    if (r == 0)
        r = engine_add(mount->engine, &mount->child, ENGINE_USER, NULL, close_child);
    if (r < 0)
        return err_sys(err, r, "cannot mount at %s", mount->name);
    r = clip_reader_open(mount->engine, mount->options.image, options, &mount->ops.reader, err);
    if (r < 0)
        engine_remove(mount->engine, &mount->child);
    else
        reader_own(mount->ops.reader);
    return r;
}

static struct clip_mount *mount_new(struct clip_engine *engine,
                                    const struct clip_mount_options *options)
{
    struct clip_mount *mount = calloc(1, sizeof(*mount));

    if (!mount)
        return NULL;
    mount->engine = engine;
    mount->options = *options;
    mount->name = strdup(options->mountpoint);
    mount->at.fd = -1;
    if (!mount->name) {
        free(mount);
        return NULL;
    }
    clip_image_ref(options->image);
    mount->ops.image = options->image;
    mount->ops.settings = settings_get();
    mount->ops.on_idle = on_ops_idle;
    ops_init(&mount->ops);
    return mount;
}

int clip_mount_open(struct clip_engine *engine, const struct clip_mount_options *options,
                    clip_done_cb done, void *data, struct clip_mount **out, struct clip_error *err)
{
    struct clip_mount *mount = mount_new(engine, options);
    int r;

    if (!mount)
        return err_set(err, -ENOMEM, "out of memory for a mount");
    mount->done = done;
    mount->done_data = data;
    r = open_parts(mount, &options->reader, err);
    if (r < 0) {
        mount_free(mount);
        return r;
    }
    mount->ops.requests->mounts.value++;
    mount->busy = true;
    work_submit(engine, &mount->work, WORK_BLOCK, attach_run, attach_done);
    *out = mount;
    return 0;
}

void clip_mount_close(struct clip_mount *mount, clip_close_cb on_close, void *data)
{
    mount->on_close = on_close;
    mount->close_data = data;
    close_child(&mount->child);
}

size_t clip_mount_profile(const struct clip_mount *mount, const struct clip_profile_span **out)
{
    *out = mount->ops.reader->profile.spans;
    return mount->ops.reader->profile.n;
}

void clip_mount_counters(const struct clip_mount *mount, struct clip_counters *out)
{
    clip_reader_counters(mount->ops.reader, out);
}
