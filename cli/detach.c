/* SPDX-License-Identifier: Apache-2.0 */
/* clip umount: a DELETE of the container of that name, or of the one whose root lies at DIR. A DIR
 * that clipd knows nothing of may be a mount of 'clipd mount'. */
#include "client.h"
#include "command.h"
#include "say.h"
#include "verb.h"

#include <clip.h>
#include <stdlib.h>
#include <string.h>

struct umount_args {
    bool keep, lazy, all;
    struct places places;
};

static const struct args_option umount_options[] = {
    {"all", 'a', ARGS_FLAG, NULL, "all containers", offsetof(struct umount_args, all)},
    {"keep", 'k', ARGS_FLAG, NULL,
     "what was written stays, and the container can be\nmounted again under its ID",
     offsetof(struct umount_args, keep)},
    {"lazy", 'l', ARGS_FLAG, NULL, "also if something in it is in use",
     offsetof(struct umount_args, lazy)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static int end_container(const struct umount_args *fields, const char *id)
{
    char how[32];
    snprintf(how, sizeof(how), "keep=%d&lazy=%d", fields->keep, fields->lazy);
    return client_end_container(fields->places.run, id, how);
}

/* The list, or NULL after a sentence (unless `quiet`). */
static json_t *list_containers(const struct umount_args *fields, bool quiet)
{
    struct client_call call = {
        .run = fields->places.run, .method = "GET", .path = "/v1/containers", .quiet = quiet};
    json_t *list =
        client_ask(&call) == 0 ? json_incref(json_object_get(call.answer, "containers")) : NULL;
    json_decref(call.answer);
    return list;
}

static int end_all(const struct umount_args *fields)
{
    size_t i;
    json_t *container, *list = list_containers(fields, false);
    int r = list ? 0 : 1;
    json_array_foreach(list, i, container)
    {
        r |= end_container(fields, client_text(container, "id"));
    }
    json_decref(list);
    return r;
}

static bool is_at(json_t *container, const char *dir)
{
    return strcmp(client_text(container, "root"), dir) == 0;
}

static int end_at(const struct umount_args *fields, const char *given)
{
    struct clip_error err;
    size_t i;
    int r = -1;
    char *dir = realpath(given, NULL);
    json_t *container, *list = list_containers(fields, true);
    json_array_foreach(list, i, container)
    {
        if (r < 0 && is_at(container, dir ? dir : given))
            r = end_container(fields, client_text(container, "id"));
    }
    json_decref(list);
    if (r < 0) {
        r = clip_unmount(given, &err) < 0;
        if (r != 0)
            say_error("%s", err.message);
    }
    free(dir);
    return r;
}

static int umount(const struct args *args, void *data)
{
    const struct umount_args *fields = data;
    const char *what = args->operand[0];
    if (fields->all == (what != NULL)) {
        say_error("umount: it needs ID, DIR or --all; see 'clip umount --help'");
        return 2;
    }
    if (fields->all)
        return end_all(fields);
    if (strchr(what, '/'))
        return end_at(fields, what);
    if (client_check_id(what) != 0)
        return 1;
    return end_container(fields, what);
}

int detach_run(int argc, char **argv)
{
    struct umount_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "umount",
        .operands = "ID|DIR",
        .about = "Takes a container away, with what was written to it. It fails if something in it "
                 "is in use.",
        .max_operands = 1,
        .groups = {{"Options", umount_options, &fields},
                   {"Places", places_run_options, &fields.places}},
    };
    struct command command = {
        .args = &args, .places = &fields.places, .work = umount, .fields = &fields};
    return command_run(&command, argc, argv);
}
