/* SPDX-License-Identifier: Apache-2.0 */
/* clip mount: one PUT, whose answer comes when the tree can be used. Interrupted, clipd sees that
 * nobody waits any more and takes back what it had begun. */
#include "attach.h"

#include "client.h"
#include "command.h"
#include "fetch.h"
#include "progress.h"
#include "say.h"
#include "verb.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct mount_args {
    struct attach_args attach;
    const char *bundle;
    bool json;
    struct places places;
    struct source source;
    struct log log;
};

const struct args_option attach_options[] = {
    {"cid", 0, ARGS_TEXT, "ID", "the container's name (default: a random one)",
     offsetof(struct attach_args, cid)},
    {"rw", 0, ARGS_FLAG, NULL, "a root that can be written to (the default)",
     offsetof(struct attach_args, read_write)},
    {"ro", 0, ARGS_FLAG, NULL, "a root that cannot", offsetof(struct attach_args, read_only)},
    {"upper", 0, ARGS_TEXT, "DIR",
     "keep what is written in DIR instead of RUN/ID/upper;\nit stays when the container goes",
     offsetof(struct attach_args, upper)},
    {"source", 0, ARGS_TEXT, "IMAGE", "read the blobs from IMAGE instead of where the index\nsays",
     offsetof(struct attach_args, source)},
    {"platform", 0, ARGS_TEXT, "OS/ARCH[/VARIANT]", "which image, where there is one per platform",
     offsetof(struct attach_args, platform)},
    {"pull", 0, ARGS_FLAG, NULL, "look again what IMAGE is, even if there is an index of it",
     offsetof(struct attach_args, pull)},
    {"progress", 0, ARGS_CHOICE, "auto|plain|json|none", "how progress is shown on stderr",
     offsetof(struct attach_args, progress)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static const struct args_option mount_options[] = {
    {"bundle", 0, ARGS_TEXT, "DIR", "write DIR/config.json, for 'runc run -b DIR ID'",
     offsetof(struct mount_args, bundle)},
    {"json", 0, ARGS_FLAG, NULL, "print all that is known of the container",
     offsetof(struct mount_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

void attach_new_id(char out[ATTACH_ID_LEN])
{
    unsigned char bytes[(ATTACH_ID_LEN - 1) / 2] = {0};
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        say_error("no random bytes");
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static int set_image(json_t *request, const char *image)
{
    bool is_index = source_is_index(image);
    char *absolute = is_index ? fetch_absolute_path(image) : fetch_absolute(image);
    int r = json_object_set_new(request, is_index ? "index" : "image", json_string(absolute));
    free(absolute);
    return r;
}

static int set_path(json_t *request, const char *name, const char *path)
{
    char *absolute = path ? fetch_absolute_path(path) : NULL;
    int r = path ? json_object_set_new(request, name, json_string(absolute)) : 0;
    free(absolute);
    return r;
}

static int set_members(json_t *request, const struct attach_args *args, const struct source *source,
                       const char *image)
{
    struct source with_platform = *source;
    with_platform.net.platform = args->platform;
    int r = set_image(request, image) | set_path(request, "upper", args->upper);
    if (args->read_only)
        r |= json_object_set_new(request, "read_only", json_true());
    if (args->pull)
        r |= json_object_set_new(request, "pull", json_true());
    return r != 0 ? r : fetch_write(request, &with_platform, args->source);
}

json_t *attach_request(const struct attach_args *args, const struct source *source,
                       const char *image)
{
    json_t *request = json_object();
    if (args->read_only && (args->read_write || args->upper)) {
        say_error("--ro goes neither with --rw nor with --upper");
        json_decref(request);
        return NULL;
    }
    if (set_members(request, args, source, image) == 0)
        return request;
    say_error("'%s' cannot be asked for: it is no UTF-8, or there is no memory", image);
    json_decref(request);
    return NULL;
}

int attach_ask(const struct attach_args *args, const char *run, const char *id, bool quiet,
               json_t *request, json_t **out)
{
    char path[512];
    struct progress progress;
    struct client_call call = {
        .run = run,
        .method = "PUT",
        .path = path,
        .body = request,
        .on_progress = progress_event,
        .data = &progress,
    };
    if (client_check_id(id) != 0)
        return 1;
    snprintf(path, sizeof(path), "/v1/containers/%s?events=1", id);
    progress_init(&progress, args->progress, quiet);
    int r = client_ask(&call);
    progress_fini(&progress);
    if (r == 0)
        *out = json_incref(json_object_get(call.answer, "container"));
    json_decref(call.answer);
    return r;
}

static int mount_and_print(const struct args *args, void *data)
{
    struct mount_args *fields = data;
    char id[ATTACH_ID_LEN];
    json_t *container = NULL;
    json_t *request = attach_request(&fields->attach, &fields->source, args->operand[0]);
    if (!request || set_path(request, "bundle", fields->bundle) != 0 ||
        set_path(request, "dir", args->operand[1]) != 0) {
        json_decref(request);
        return 1;
    }
    attach_new_id(id);
    int r = attach_ask(&fields->attach, fields->places.run,
                       fields->attach.cid ? fields->attach.cid : id, fields->log.quiet, request,
                       &container);
    json_decref(request);
    if (r != 0)
        return r;
    if (fields->json)
        json_dumpf(container, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    else
        fputs(client_text(container, "root"), stdout);
    putchar('\n');
    json_decref(container);
    return 0;
}

int attach_run(int argc, char **argv)
{
    struct mount_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "mount",
        .operands = "FILE.clip|IMAGE [DIR]",
        .about = "Asks clipd for a container's root and prints where it is: RUN/ID/rootfs, or DIR. "
                 "An\nimage without an index in clipd's store is indexed first, filling the cache. "
                 "The root is\nready for runc, crun, podman --rootfs, ctr --rootfs, runsc. 'clip "
                 "umount ID' ends it.",
        .min_operands = 1,
        .max_operands = 2,
        .groups = {{"Options", attach_options, &fields.attach},
                   {"Output", mount_options, &fields},
                   {"Places", places_run_options, &fields.places},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {.args = &args,
                              .log = &fields.log,
                              .places = &fields.places,
                              .work = mount_and_print,
                              .fields = &fields};
    return command_run(&command, argc, argv);
}
