/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of clipd mount is:
 * - the index is opened, then the process forks (before libuv has threads) and the parent waits;
 * - where an image was named and not an index, it is looked up or made now (cli/indexing.c);
 * - on_usable() lets the parent return, and the loop goes on serving;
 * - SIGTERM, SIGINT or `umount` end it: stop_serving() logs the counters and closes the mount.
 * Possible failure modes are: the image, the mountpoint or FUSE are refused (a sentence, exit 1,
 * nothing mounted), or the parent was killed while it waited: then nobody knows of this mount, and
 * it is taken away again. */
#include "background.h"
#include "command.h"
#include "facts.h"
#include "host.h"
#include "indexing.h"
#include "say.h"
#include "source.h"
#include "verb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_PATH_LEN 4096

struct mount_args {
    bool foreground, allow_dev, allow_suid, pull, no_prefetch;
    const char *idle_polling;
    struct reading reading;
    struct source source;
    struct log log;
};

struct mounting {
    struct mount_args *args;
    const char *dir;
    struct host host;
    struct background background;
    struct clip_mount *mount;
    bool usable, closing, done;
    int code;
};

static const struct args_option mount_options[] = {
    {"foreground", 'f', ARGS_FLAG, NULL, "stay here instead of going to the background",
     offsetof(struct mount_args, foreground)},
    {"allow-dev", 0, ARGS_FLAG, NULL, "let the image's device nodes work",
     offsetof(struct mount_args, allow_dev)},
    {"allow-suid", 0, ARGS_FLAG, NULL,
     "let the image's setuid programs work; an overlay on\n"
     "top needs neither",
     offsetof(struct mount_args, allow_suid)},
    {"no-prefetch", 0, ARGS_FLAG, NULL,
     "fetch only what is read, not what the index says\nwill be: what programs need, and its "
     "profile",
     offsetof(struct mount_args, no_prefetch)},
    {"idle-polling", 0, ARGS_CHOICE, HOST_IDLE_POLLING_CHOICES, HOST_IDLE_POLLING_ABOUT,
     offsetof(struct mount_args, idle_polling)},
    {"pull", 0, ARGS_FLAG, NULL, "index IMAGE again: its tag may have moved",
     offsetof(struct mount_args, pull)},
    {"platform", 0, ARGS_TEXT, "OS/ARCH[/VARIANT]", "which image, where there is one per platform",
     offsetof(struct mount_args, source.net.platform)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static void on_closed(void *data)
{
    struct mounting *m = data;
    m->done = true;
}

static void log_counters(struct mounting *m)
{
    struct clip_counters c;
    clip_mount_counters(m->mount, &c);
    log_say(&m->args->log, CLIP_LOG_INFO,
            "mount %s: ends, reads=%" PRIu64 " bytes_served=%" PRIu64 " hits=%" PRIu64
            " misses=%" PRIu64 " spans_fetched=%" PRIu64 " bytes_fetched=%" PRIu64
            " range_requests=%" PRIu64 " errors=%" PRIu64 " stall_ms=%" PRIu64,
            m->dir, c.reads, c.bytes_served, c.hits, c.misses, c.spans_fetched, c.bytes_fetched,
            c.range_requests, c.errors, c.stall_ns / 1000000);
}

/* A signal may come before the mount is usable; on_usable() comes back here then. */
static void stop_serving(struct mounting *m)
{
    if (!m->usable || m->closing)
        return;
    m->closing = true;
    log_counters(m);
    clip_mount_close(m->mount, on_closed, m);
}

static void on_stop(void *data)
{
    struct mounting *m = data;
    stop_serving(m);
}

static void on_unmounted(void *data, int status, const struct clip_error *err)
{
    struct mounting *m = data;
    if (status < 0)
        log_say(&m->args->log, CLIP_LOG_WARN, "mount %s: %s", m->dir, err->message);
    stop_serving(m);
}

static void on_usable(void *data, int status, const struct clip_error *err)
{
    struct mounting *m = data;
    if (status < 0) {
        say_error("%s", err->message);
        m->code = 1;
        m->done = true;
        return;
    }
    m->usable = true;
    log_say(&m->args->log, CLIP_LOG_INFO, "mount %s: usable", m->dir);
    if (m->host.stopped || background_ready(&m->background) < 0)
        stop_serving(m);
}

static int serve(struct mounting *m, struct clip_image *image)
{
    struct clip_error err;
    struct clip_mount_options options = {
        .image = image,
        .mountpoint = m->dir,
        .reader = source_reader(&m->args->source, &m->args->reading),
        .allow_dev = m->args->allow_dev,
        .allow_suid = m->args->allow_suid,
        .on_unmounted = on_unmounted,
        .data = m,
    };
    options.reader.prefetch = !m->args->no_prefetch;
    host_on_stop(&m->host, on_stop, m);
    int r = clip_mount_open(m->host.engine, &options, on_usable, m, &m->mount, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    host_run(&m->host, &m->done);
    return m->code;
}

/* The index of an image that was named, mapped. Whatever was wrong with the mountpoint shows only
 * after that, but for what costs nothing to see. */
static int open_image(struct mounting *m, const char *name, struct clip_image **out)
{
    const struct indexing indexing = {.image = name,
                                      .source = &m->args->source,
                                      .reading = &m->args->reading,
                                      .quiet = m->args->log.quiet,
                                      .again = m->args->pull};
    char *path;
    uint64_t root;
    if (access(m->dir, F_OK) < 0) {
        say_error("%s: %s; make the directory first", m->dir, strerror(errno));
        return 1;
    }
    int r = indexing_run(&indexing, &m->host, &path);
    if (r != 0)
        return r;
    r = facts_open(path, NULL, false, out, &root);
    free(path);
    return r;
}

/* `image` NULL: it is the image `name` that is to be mounted. */
static int serve_in_background(struct mount_args *fields, struct clip_image *image,
                               const char *name, const char *dir)
{
    struct mounting m = {.args = fields, .dir = dir};
    struct clip_image *made = NULL;
    int r = background_start(&m.background, fields->foreground);
    if (r != BACKGROUND_GO)
        return r;
    r = host_open(&m.host, &fields->log, fields->idle_polling);
    if (r != 0)
        return r;
    if (!image)
        r = open_image(&m, name, &made);
    if (r == 0)
        r = serve(&m, image ? image : made);
    clip_image_unref(made);
    host_close(&m.host);
    return r;
}

/* ---- the default cache */

static const char *home_cache(char out[CACHE_PATH_LEN])
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && *xdg)
        snprintf(out, CACHE_PATH_LEN, "%s/clip", xdg);
    else if (home && *home)
        snprintf(out, CACHE_PATH_LEN, "%s/.cache/clip", home);
    else
        return NULL;
    return out;
}

static int make_parents(const char *path)
{
    char part[CACHE_PATH_LEN];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* 0, or 1 after a sentence. */
static int default_cache(struct reading *reading, char path[CACHE_PATH_LEN])
{
    const char *env = getenv("CLIP_CACHE_DIR");
    if (reading->cache_dir)
        return 0;
    if (env && *env)
        reading->cache_dir = env;
    else
        reading->cache_dir = geteuid() == 0 ? "/var/cache/clip" : home_cache(path);
    int r = reading->cache_dir ? make_parents(reading->cache_dir) : 0;
    if (r < 0)
        say_error("cannot make the cache directory %s: %s; name one with --cache-dir",
                  reading->cache_dir, strerror(-r));
    return r < 0;
}

static int mount_image(const struct args *args, void *data)
{
    struct mount_args *fields = data;
    const char *name = args->operand[0];
    struct clip_image *image = NULL;
    uint64_t root;
    char cache[CACHE_PATH_LEN];
    int r = default_cache(&fields->reading, cache);
    if (r == 0 && source_is_index(name))
        r = facts_open(name, NULL, false, &image, &root);
    if (r != 0)
        return r;
    r = serve_in_background(fields, image, name, args->operand[1]);
    clip_image_unref(image);
    return r;
}

int mount_run(int argc, char **argv)
{
    struct mount_args fields = {0};
    struct args args = {
        .program = "clipd",
        .verb = "mount",
        .operands = "FILE.clip|IMAGE DIR",
        .about =
            "Shows the image of an index, read-only, at the empty directory DIR. What is read "
            "is\nfetched then, verified, and kept in the cache (default: $CLIP_CACHE_DIR, "
            "/var/cache/clip\nfor root, else $XDG_CACHE_HOME/clip). An IMAGE is indexed first, "
            "once: its index and what\nit is made of stay beside the cache. Returns when DIR "
            "can be used; 'clipd umount DIR'\nends it.",
        .min_operands = 2,
        .max_operands = 2,
        .groups = {{"Options", mount_options, &fields},
                   {"Reading", reading_options, &fields.reading},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log},
                   {"Log", log_file_options, &fields.log}},
    };
    struct command command = {
        .args = &args, .log = &fields.log, .work = mount_image, .fields = &fields};
    return command_run(&command, argc, argv);
}
