/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of clipd is:
 * - daemon_open() locks its directories, takes away what a dead one left mounted, reads the state
 *   (those containers are LOST until somebody asks for them), and listens;
 * - the loop serves (api.c);
 * - SIGTERM drains: nothing new, what is being mounted may end; then end() takes everything away
 *   but uppers and state, on_idle() closes the socket, and the engine goes last.
 * Possible failure modes are: no directory, another clipd, no socket: it does not start.
 * A second signal does not wait for what is being mounted. A third kills. */
#include "daemon.h"

#include "api.h"
#include "daemon_dirs.h"
#include "listen.h"
#include "say.h"
#include "state.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS         1000
#define FIRST_INHERITED 3

/* ---- the end */

static void on_control_closed(void *data)
{
    struct daemon *daemon = data;
    daemon->finished = true;
}

static void maybe_closed(struct daemon *daemon)
{
    if (daemon->state != DAEMON_ENDING || daemon->closing || daemon->containers.n_moving > 0 ||
        !indexes_idle(&daemon->indexes))
        return;
    daemon->closing = true;
    control_close(&daemon->control, on_control_closed, daemon);
}

static void end(struct daemon *daemon)
{
    if (daemon->state == DAEMON_ENDING)
        return;
    daemon->state = DAEMON_ENDING;
    containers_end_all(&daemon->containers, true);
    maybe_closed(daemon);
}

static void on_idle(void *data)
{
    struct daemon *daemon = data;
    if (daemon->state == DAEMON_DRAINING)
        end(daemon);
    else
        maybe_closed(daemon);
}

static void on_hurry(void *data)
{
    end(data);
}

void daemon_stop(struct daemon *daemon)
{
    if (daemon->state != DAEMON_SERVING)
        return;
    daemon->state = DAEMON_DRAINING;
    daemon->containers.closing = true;
    listen_notify("STOPPING=1\nSTATUS=Unmounting");
    log_say(&daemon->options->log, CLIP_LOG_INFO, "clipd: ends; %u containers, %u being mounted",
            daemon->containers.n_containers, daemon->containers.n_moving);
    if (daemon->containers.n_moving == 0)
        end(daemon);
}

static void on_stop(void *data)
{
    struct daemon *daemon = data;
    daemon_stop(daemon);
    host_on_stop(&daemon->host, on_hurry, daemon);
}

/* Who asked a moment ago may be about to ask for more. */
static bool is_needed(struct daemon *daemon)
{
    bool asked = daemon->control.n_calls != daemon->n_calls;
    daemon->n_calls = daemon->control.n_calls;
    for (const struct container *c = daemon->containers.first; c; c = c->next) {
        if (c->state != CONTAINER_LOST)
            return true;
    }
    return asked || daemon->control.n_conns > 0 || daemon->indexes.n_jobs > 0;
}

static void on_tick(uv_timer_t *tick)
{
    struct daemon *daemon = tick->data;
    daemon->idle_s = is_needed(daemon) ? 0 : daemon->idle_s + 1;
    if (daemon->options->exit_idle > 0 && daemon->idle_s >= daemon->options->exit_idle)
        daemon_stop(daemon);
    if (daemon->state == DAEMON_DRAINING && ++daemon->drain_s * TICK_MS >= DAEMON_DRAIN_MS)
        end(daemon);
    maybe_closed(daemon);
}

/* ---- listening */

static int listen_at(struct daemon *daemon, int fd, bool is_public)
{
    int r = fd < 0 ? -1 : control_listen(&daemon->control, fd, is_public);
    if (fd >= 0 && r < 0)
        say_error("cannot listen: %s", uv_strerror(r));
    return r < 0;
}

static int take_inherited(struct daemon *daemon)
{
    int n = listen_inherited();
    for (int fd = FIRST_INHERITED; fd < FIRST_INHERITED + n; fd++) {
        bool tcp;
        if (!listen_is_ours(fd, &tcp)) {
            say_error("descriptor %d from systemd is no listening stream socket", fd);
            return 1;
        }
        if (listen_at(daemon, fd, tcp) != 0)
            return 1;
        daemon->inherited |= !tcp;
    }
    return 0;
}

static int open_sockets(struct daemon *daemon)
{
    const struct daemon_options *o = daemon->options;
    int r = take_inherited(daemon);
    if (r == 0 && !daemon->inherited)
        r = listen_at(daemon, listen_unix(daemon->socket, o->socket_mode, o->socket_group), false);
    if (r == 0 && o->listen_metrics)
        r = listen_at(daemon, listen_tcp(o->listen_metrics), true);
    return r;
}

/* ---- the start */

static int make_dirs(struct daemon *daemon)
{
    const struct daemon_options *o = daemon->options;
    int r = dirs_make(o->run, 0755);
    if (r == 0)
        r = dirs_make(o->root, 0700);
    if (r == 0)
        r = dirs_make_below(o->root, "state", 0700);
    if (r == 0)
        r = dirs_make_below(o->root, "indexes", 0755);
    if (r == 0)
        r = dirs_make(o->cache_dir, 0700);
    if (r == 0)
        r = dirs_make_below(o->run, ".images", 0711);
    return r == 0 ? dirs_make_below(o->run, ".bundles", 0700) : r;
}

/* The kernel's list of mounts has no symlinks in it. */
static int name_paths(struct daemon *daemon)
{
    daemon->run = realpath(daemon->options->run, NULL);
    if (!daemon->run || asprintf(&daemon->socket, "%s/%s", daemon->run, DAEMON_SOCKET) < 0)
        daemon->socket = NULL;
    if (asprintf(&daemon->indexes_dir, "%s/indexes", daemon->options->root) < 0)
        daemon->indexes_dir = NULL;
    if (daemon->run && daemon->socket && daemon->indexes_dir)
        return 0;
    say_error("cannot name the run directory: %s", strerror(errno));
    return 1;
}

static int lock_dirs(struct daemon *daemon)
{
    int r = dirs_lock(daemon->run, &daemon->locks[0]);
    return r == 0 ? dirs_lock(daemon->options->root, &daemon->locks[1]) : r;
}

static int add_lost(void *data, const char *id, struct spec *spec, int64_t created_s)
{
    return containers_add_lost(data, id, spec, created_s,
                               "the clipd that mounted it is gone; mount it again, or unmount it");
}

/* What is not in the state was never ready. */
static void sweep_unknown(struct daemon *daemon)
{
    DIR *dir = opendir(daemon->run);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (spec_id_valid(entry->d_name) && !containers_find(&daemon->containers, entry->d_name))
            dirs_sweep_container(daemon->run, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

static int find_old(struct daemon *daemon)
{
    struct log *log = &daemon->options->log;
    char path[PATH_MAX];
    unsigned n = state_clear_mounts(daemon->run, log);
    if (n > 0)
        log_say(log, CLIP_LOG_WARN, "clipd: took away %u mounts that an earlier clipd left", n);
    snprintf(path, sizeof(path), "%s/.images", daemon->run);
    dirs_sweep(path, "");
    dirs_sweep(daemon->indexes_dir, ".run-");
    int r = state_read_all(daemon->options->root, log, add_lost, &daemon->containers);
    sweep_unknown(daemon);
    if (r < 0)
        say_error("cannot read the state: %s", strerror(-r));
    else if (daemon->containers.n_containers > 0)
        log_say(log, CLIP_LOG_WARN, "clipd: %u containers of an earlier clipd are not mounted",
                daemon->containers.n_containers);
    return r < 0;
}

static void on_image_dead(void *data, struct image *image)
{
    struct daemon *daemon = data;
    containers_image_dead(&daemon->containers, image);
}

static int init_parts(struct daemon *daemon)
{
    const struct daemon_options *o = daemon->options;
    struct host *host = &daemon->host;
    daemon->images = (struct images){
        .run = daemon->run,
        .cache_dir = o->cache_dir,
        .cache_size = o->cache_size,
        .no_prefetch = o->no_prefetch,
        .on_dead = on_image_dead,
        .data = daemon,
    };
    daemon->indexes = (struct indexes){.dir = daemon->indexes_dir, .cache_dir = o->cache_dir};
    daemon->containers = (struct containers){
        .root = o->root,
        .run = daemon->run,
        .images = &daemon->images,
        .indexes = &daemon->indexes,
        .log = &daemon->options->log,
        .on_idle = on_idle,
        .data = daemon,
    };
    images_init(&daemon->images, &host->loop, host->engine);
    containers_init(&daemon->containers, &host->loop, host->engine);
    if (indexes_init(&daemon->indexes, &host->loop, host->engine) == 0)
        return 0;
    say_error("out of memory");
    return 1;
}

static int open_host(struct daemon *daemon)
{
    int r = host_open(&daemon->host, &daemon->options->log, daemon->options->idle_polling);
    if (r != 0)
        return r;
    daemon->loop = &daemon->host.loop;
    control_init(&daemon->control, daemon->loop, api_call, daemon);
    uv_timer_init(daemon->loop, &daemon->tick);
    daemon->tick.data = daemon;
    return init_parts(daemon);
}

int daemon_open(struct daemon *daemon, struct daemon_options *options)
{
    *daemon = (struct daemon){.options = options, .locks = {-1, -1}};
    int r = make_dirs(daemon);
    if (r == 0)
        r = name_paths(daemon);
    if (r == 0)
        r = lock_dirs(daemon);
    daemon->n_files = dirs_raise_files(&options->log);
    if (r == 0)
        r = open_host(daemon);
    if (r == 0)
        r = find_old(daemon);
    return r == 0 ? open_sockets(daemon) : r;
}

void daemon_run(struct daemon *daemon)
{
    uv_timer_start(&daemon->tick, on_tick, TICK_MS, TICK_MS);
    host_on_stop(&daemon->host, on_stop, daemon);
    if (daemon->options->restore)
        containers_restore_all(&daemon->containers);
    listen_notify("READY=1\nSTATUS=Serving");
    log_say(&daemon->options->log, CLIP_LOG_INFO, "clipd: serves at %s", daemon->socket);
    host_run(&daemon->host, &daemon->finished);
}

static void close_loop(struct daemon *daemon)
{
    if (!daemon->closing)
        control_close(&daemon->control, on_control_closed, daemon);
    uv_close((uv_handle_t *)&daemon->tick, NULL);
    containers_fini(&daemon->containers);
    indexes_fini(&daemon->indexes);
    host_close(&daemon->host);
}

void daemon_close(struct daemon *daemon)
{
    if (daemon->loop)
        close_loop(daemon);
    if (daemon->loop && !daemon->inherited)
        unlink(daemon->socket);
    for (int i = 0; i < 2; i++) {
        if (daemon->locks[i] >= 0)
            close(daemon->locks[i]);
    }
    free(daemon->run);
    free(daemon->socket);
    free(daemon->indexes_dir);
}
