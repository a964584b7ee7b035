/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of clip run is:
 * - find_daemon() finds a clipd, or forks one that ends when nobody needs it any more;
 * - the container is asked for with a bundle, owned by this process: should we be killed, clipd
 *   sees that and takes it away;
 * - the runtime runs it; what it read goes into the index, if that is wanted; the container is
 *   taken away; the program's exit code is ours.
 * Possible failure modes are: no clipd can be started, no runtime, no such image: 1 after a
 * sentence, and nothing stays behind. Whatever the runtime says goes to stderr as it is. */
#include "attach.h"
#include "client.h"
#include "command.h"
#include "daemon_dirs.h"
#include "fetch.h"
#include "profile.h"
#include "runtime.h"
#include "say.h"
#include "serve.h"
#include "verb.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define EXIT_IDLE_S 3
#define TRIES       100
#define TRY_MS      100

struct run_args {
    struct attach_args attach;
    const char *runtime, *entrypoint, *workdir, *user, *hostname, *network;
    const char *env[ARGS_LIST_MAX + 1], *volumes[ARGS_LIST_MAX + 1];
    bool tty, profile;
    struct places places;
    struct source source;
    struct log log;
};

static const struct args_option run_options[] = {
    {"runtime", 0, ARGS_TEXT, "NAME|PATH", "the OCI runtime (default: runc, else crun)",
     offsetof(struct run_args, runtime)},
    {"env", 'e', ARGS_LIST, "NAME=VALUE", "a variable of the program; may be given again",
     offsetof(struct run_args, env)},
    {"volume", 0, ARGS_LIST, "SRC:DST[:ro]", "mount SRC of this host at DST; may be given again",
     offsetof(struct run_args, volumes)},
    {"user", 'u', ARGS_TEXT, "USER[:GROUP]", "run as USER of the image",
     offsetof(struct run_args, user)},
    {"workdir", 'w', ARGS_TEXT, "DIR", "begin in DIR", offsetof(struct run_args, workdir)},
    {"entrypoint", 0, ARGS_TEXT, "PROGRAM", "instead of the image's entrypoint",
     offsetof(struct run_args, entrypoint)},
    {"hostname", 0, ARGS_TEXT, "NAME", "the container's (default: its ID)",
     offsetof(struct run_args, hostname)},
    {"network", 0, ARGS_CHOICE, "none|host",
     "a network of its own without anything (default), or\n"
     "this host's",
     offsetof(struct run_args, network)},
    {"tty", 't', ARGS_FLAG, NULL, "give it a terminal (also if stdin and stdout are one)",
     offsetof(struct run_args, tty)},
    {"profile", 0, ARGS_FLAG, NULL,
     "when the program has ended, put what it read into the\n"
     "index: the next start fetches it ahead ('clip profile')",
     offsetof(struct run_args, profile)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

/* ---- a clipd */

static bool is_serving(const char *run)
{
    struct client_call call = {.run = run, .method = "GET", .path = "/v1/info", .quiet = true};
    bool serving =
        client_ask(&call) == 0 && json_is_false(json_object_get(call.answer, "draining"));
    json_decref(call.answer);
    return serving;
}

/* One at a time, so that of two commands only one starts a clipd. */
static int lock_start(const char *run)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/clipd.start", run);
    if (dirs_make(run, 0755) != 0)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        say_error("cannot lock %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* One that is about to end is waited for: its socket goes last. */
static int start_daemon(const struct places *places)
{
    static const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
    for (int i = 0; i < TRIES; i++) {
        if (!client_finds_daemon(places->run))
            return serve_in_background(places, EXIT_IDLE_S);
        if (is_serving(places->run))
            return 0;
        nanosleep(&pause, NULL);
    }
    say_error("the clipd in %s neither serves nor ends", places->run);
    return 1;
}

static int find_daemon(const struct places *places)
{
    if (is_serving(places->run))
        return 0;
    int lock = lock_start(places->run);
    if (lock < 0)
        return 1;
    int r = start_daemon(places);
    flock(lock, LOCK_UN);
    close(lock);
    return r;
}

/* ---- what is asked for */

static int add_texts(json_t *process, const char *name, char *const *texts)
{
    json_t *list = texts && texts[0] ? json_array() : NULL;
    int r = 0;
    for (size_t i = 0; list && texts[i]; i++)
        r |= json_array_append_new(list, json_string(texts[i]));
    return list ? r | json_object_set_new(process, name, list) : 0;
}

static int add_text(json_t *process, const char *name, const char *text)
{
    return text ? json_object_set_new(process, name, json_string(text)) : 0;
}

/* "SRC:DST" or "SRC:DST:ro". */
static json_t *read_volume(const char *text)
{
    char copy[2 * PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", text);
    char *destination = strchr(copy, ':');
    if (!destination)
        return NULL;
    *destination++ = '\0';
    char *flag = strchr(destination, ':');
    if (flag)
        *flag++ = '\0';
    char *source = realpath(copy, NULL);
    bool good = source && *destination == '/' &&
                (!flag || strcmp(flag, "ro") == 0 || strcmp(flag, "rw") == 0);
    json_t *mount = good ? json_pack("{s:s, s:s, s:b}", "source", source, "destination",
                                     destination, "read_only", flag && strcmp(flag, "ro") == 0)
                         : NULL;
    free(source);
    return mount;
}

static int add_volumes(json_t *process, const struct run_args *fields)
{
    json_t *list = json_array();
    for (size_t i = 0; fields->volumes[i]; i++) {
        json_t *mount = read_volume(fields->volumes[i]);
        if (!mount) {
            say_error("--volume is SRC:DST or SRC:DST:ro, with SRC that is there and DST "
                      "absolute, not '%s'",
                      fields->volumes[i]);
            json_decref(list);
            return 2;
        }
        json_array_append_new(list, mount);
    }
    return json_object_set_new(process, "mounts", list);
}

static int add_network(json_t *process, const char *network)
{
    if (!network || strcmp(network, "none") == 0)
        return 0;
    return json_object_set_new(process, "host_network", json_true());
}

static int add_process(json_t *request, const struct run_args *fields, char **args)
{
    char *const entrypoint[] = {(char *)fields->entrypoint, NULL};
    json_t *process = json_object();
    bool terminal = fields->tty || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
    int r = add_texts(process, "args", args) | add_texts(process, "entrypoint", entrypoint) |
            add_texts(process, "env", (char *const *)fields->env) |
            add_text(process, "cwd", fields->workdir) | add_text(process, "user", fields->user) |
            add_text(process, "hostname", fields->hostname) |
            json_object_set_new(process, "terminal", json_boolean(terminal));
    if (r != 0)
        say_error("an argument is not UTF-8, which a bundle cannot hold");
    if (r == 0)
        r = add_volumes(process, fields);
    if (r == 0)
        r = add_network(process, fields->network);
    json_object_set_new(request, "bundle", json_true());
    json_object_set_new(request, "owner", json_integer(getpid()));
    json_object_set_new(request, "process", process);
    return r;
}

/* ---- running */

static int run_container(const struct run_args *fields, const char *runtime, json_t *request)
{
    char random_id[ATTACH_ID_LEN];
    json_t *container = NULL;
    const char *id = fields->attach.cid ? fields->attach.cid : random_id;
    attach_new_id(random_id);
    int r =
        attach_ask(&fields->attach, fields->places.run, id, fields->log.quiet, request, &container);
    if (r != 0)
        return r;
    r = runtime_run(runtime, client_text(container, "bundle"), id);
    if (fields->profile) /* should it fail, that was said, and the program has run all the same */
        profile_write(fields->places.run, id, NULL, PROFILE_SILENT);
    client_end_container(fields->places.run, id, "lazy=1");
    json_decref(container);
    return r;
}

static int run_image(const struct args *args, void *data)
{
    struct run_args *fields = data;
    char *runtime = runtime_find(fields->runtime);
    json_t *request =
        runtime ? attach_request(&fields->attach, &fields->source, args->operand[0]) : NULL;
    int r = request ? add_process(request, fields, args->rest) : 1;
    if (r == 0)
        r = find_daemon(&fields->places);
    if (r == 0)
        r = run_container(fields, runtime, request);
    json_decref(request);
    free(runtime);
    return r;
}

int run_run(int argc, char **argv)
{
    struct run_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "run",
        .operands = "IMAGE|FILE.clip [CMD...]",
        .about = "Runs CMD, or what the image says, in a container of its own, and takes the "
                 "container away\nafterwards. The exit code is the program's. Without a clipd in "
                 "RUN it brings one along, which\nends when nobody needs it any more.",
        .min_operands = 1,
        .max_operands = 1,
        .takes_rest = true,
        .groups = {{"Program", run_options, &fields},
                   {"Container", attach_options, &fields.attach},
                   {"Places", places_options, &fields.places},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {.args = &args,
                              .log = &fields.log,
                              .places = &fields.places,
                              .work = run_image,
                              .fields = &fields};
    return command_run(&command, argc, argv);
}
