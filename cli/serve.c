/* SPDX-License-Identifier: Apache-2.0 */
/* clipd serve: options to a daemon. It stays in the foreground: systemd, or a shell's &, puts it
 * where it belongs. */
#include "serve.h"

#include "background.h"
#include "command.h"
#include "daemon.h"
#include "say.h"
#include "verb.h"

#include <stdlib.h>
#include <string.h>

struct serve_args {
    struct places places;
    uint64_t cache_size;
    bool no_prefetch;
    const char *idle_polling;
    const char *listen_metrics, *socket_mode, *socket_group;
    unsigned exit_idle;
    bool restore;
    struct log log;
};

static const struct args_option serve_options[] = {
    {"cache-size", 0, ARGS_SIZE, "SIZE", "use at most SIZE of the disk, e.g. 20GiB",
     offsetof(struct serve_args, cache_size)},
    {"no-prefetch", 0, ARGS_FLAG, NULL,
     "fetch only what is read, not what the index says\nwill be: what programs need, and its "
     "profile",
     offsetof(struct serve_args, no_prefetch)},
    {"idle-polling", 0, ARGS_CHOICE, HOST_IDLE_POLLING_CHOICES, HOST_IDLE_POLLING_ABOUT,
     offsetof(struct serve_args, idle_polling)},
    {"listen-metrics", 0, ARGS_TEXT, "ADDR:PORT",
     "serve /metrics and /healthz over TCP too, e.g.\n127.0.0.1:9420",
     offsetof(struct serve_args, listen_metrics)},
    {"socket-mode", 0, ARGS_TEXT, "MODE", "who may use the socket (default 0600)",
     offsetof(struct serve_args, socket_mode)},
    {"socket-group", 0, ARGS_TEXT, "GROUP", "the socket's group",
     offsetof(struct serve_args, socket_group)},
    {"restore", 0, ARGS_FLAG, NULL, "mount again what an earlier clipd had mounted",
     offsetof(struct serve_args, restore)},
    {"exit-idle", 0, ARGS_NUMBER, "SECONDS",
     "end when there were no containers and no clients for\nso long",
     offsetof(struct serve_args, exit_idle)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

int serve_in_background(const struct places *places, unsigned exit_idle)
{
    struct background background;
    struct daemon daemon;
    struct daemon_options options = {
        .root = places->root,
        .run = places->run,
        .cache_dir = places->cache_dir,
        .socket_mode = "0600",
        .exit_idle = exit_idle,
        .log = {.quiet = true, .stream = stderr},
    };
    int r = background_start(&background, false);
    if (r != BACKGROUND_GO)
        return r;
    say_program("clipd");
    r = daemon_open(&daemon, &options);
    if (r == 0 && background_ready(&background) == 0)
        daemon_run(&daemon);
    daemon_close(&daemon);
    _exit(r);
}

static int serve(const struct args *args, void *data)
{
    (void)args;
    const struct serve_args *fields = data;
    struct daemon daemon;
    struct daemon_options options = {
        .root = fields->places.root,
        .run = fields->places.run,
        .cache_dir = fields->places.cache_dir,
        .cache_size = fields->cache_size,
        .no_prefetch = fields->no_prefetch,
        .idle_polling = fields->idle_polling,
        .listen_metrics = fields->listen_metrics,
        .socket_mode = fields->socket_mode,
        .socket_group = fields->socket_group,
        .exit_idle = fields->exit_idle,
        .restore = fields->restore,
        .log = fields->log,
    };
    int r = daemon_open(&daemon, &options);
    if (r == 0)
        daemon_run(&daemon);
    daemon_close(&daemon);
    return r;
}

int serve_run(int argc, char **argv)
{
    struct serve_args fields = {.socket_mode = "0600"};
    struct args args = {
        .program = "clipd",
        .verb = "serve",
        .operands = "",
        .about = "Serves the containers of this host: 'clip mount', 'umount', 'run', 'ps' and "
                 "'stats' ask\nit over RUN/clipd.sock (HTTP and JSON; see docs/api.md). SIGTERM "
                 "unmounts everything\nand ends; what was written to containers stays, and a later "
                 "clipd knows of it.",
        .groups = {{"Places", places_options, &fields.places},
                   {"Options", serve_options, &fields},
                   {"Talk", log_options, &fields.log},
                   {"Log", log_file_options, &fields.log}},
    };
    struct command command = {.args = &args,
                              .log = &fields.log,
                              .places = &fields.places,
                              .work = serve,
                              .fields = &fields};
    return command_run(&command, argc, argv);
}
