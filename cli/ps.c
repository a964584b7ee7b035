/* SPDX-License-Identifier: Apache-2.0 */
/* clip ps and clip stats: what clipd knows, as a table or as its own JSON. */
#include "client.h"
#include "command.h"
#include "say.h"
#include "verb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct ps_args {
    bool json;
    struct places places;
};

static const struct args_option ps_options[] = {
    {"json", 0, ARGS_FLAG, NULL, "print JSON", offsetof(struct ps_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static void print_quoted(const char *text, int width)
{
    say_quoted(stdout, text, strlen(text));
    int left = width - (int)strlen(text);
    printf("%*s", left > 0 ? left + 2 : 2, "");
}

static const char *image_of(json_t *container)
{
    json_t *spec = json_object_get(container, "spec");
    const char *reference = json_string_value(json_object_get(container, "reference"));
    if (reference)
        return reference;
    return json_object_get(spec, "image") ? client_text(spec, "image") : client_text(spec, "index");
}

static void print_container(json_t *container)
{
    print_quoted(client_text(container, "id"), 20);
    print_quoted(client_text(container, "state"), 10);
    print_quoted(client_text(container, "created"), 20);
    print_quoted(image_of(container), 36);
    print_quoted(client_text(container, "root"), 0);
    putchar('\n');
}

static void print_containers(json_t *answer)
{
    size_t i;
    json_t *container;
    printf("%-20s  %-10s  %-20s  %-36s  %s\n", "ID", "STATE", "CREATED", "IMAGE", "ROOT");
    json_array_foreach(json_object_get(answer, "containers"), i, container)
    {
        print_container(container);
    }
}

static uint64_t count(json_t *counters, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(counters, name));
}

static void print_counters(const char *name, json_t *counters)
{
    char served[SAY_SIZE_LEN], fetched[SAY_SIZE_LEN];
    print_quoted(name, 36);
    printf("%9" PRIu64 "  %8s  %8" PRIu64 "  %8" PRIu64 "  %8s  %8" PRIu64 "  %6" PRIu64
           "  %8.2f\n",
           count(counters, "reads"), say_size(count(counters, "bytes_served"), served),
           count(counters, "hits"), count(counters, "misses"),
           say_size(count(counters, "bytes_fetched"), fetched), count(counters, "range_requests"),
           count(counters, "errors"), json_real_value(json_object_get(counters, "stall_seconds")));
}

static void print_stats(json_t *answer)
{
    size_t i;
    json_t *image, *images = json_object_get(answer, "images");
    printf("%-36s  %9s  %8s  %8s  %8s  %8s  %8s  %6s  %8s\n", "IMAGE", "READS", "SERVED", "HITS",
           "MISSES", "FETCHED", "REQUESTS", "ERRORS", "WAITED/s");
    if (!images)
        print_counters(image_of(answer), json_object_get(answer, "counters"));
    json_array_foreach(images, i, image)
    {
        print_counters(client_text(image, "reference"), json_object_get(image, "counters"));
    }
}

static int ask_and_print(const struct ps_args *fields, const char *path,
                         void (*print)(json_t *answer))
{
    struct client_call call = {.run = fields->places.run, .method = "GET", .path = path};
    int r = client_ask(&call);
    if (r == 0 && fields->json) {
        json_dumpf(call.answer, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else if (r == 0) {
        print(call.answer);
    }
    json_decref(call.answer);
    return r;
}

static int ps(const struct args *args, void *fields)
{
    (void)args;
    return ask_and_print(fields, "/v1/containers", print_containers);
}

int ps_run(int argc, char **argv)
{
    struct ps_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "ps",
        .operands = "",
        .about = "Lists the containers of clipd. 'lost' ones are of an earlier clipd and not "
                 "mounted; 'dead'\nones have lost their image's mount. Both can be mounted again, "
                 "or unmounted for good.",
        .groups = {{"Options", ps_options, &fields},
                   {"Places", places_run_options, &fields.places}},
    };
    struct command command = {
        .args = &args, .places = &fields.places, .work = ps, .fields = &fields};
    return command_run(&command, argc, argv);
}

static int stats(const struct args *args, void *fields)
{
    char path[512];
    const char *id = args->operand[0];
    if (!id)
        return ask_and_print(fields, "/v1/images", print_stats);
    if (client_check_id(id) != 0)
        return 1;
    snprintf(path, sizeof(path), "/v1/containers/%.300s", id);
    return ask_and_print(fields, path, print_stats);
}

int stats_run(int argc, char **argv)
{
    struct ps_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "stats",
        .operands = "[ID]",
        .about = "What was read and fetched, by image; of one container, by the image that it "
                 "stands on,\nwhich it may share with others.",
        .max_operands = 1,
        .groups = {{"Options", ps_options, &fields},
                   {"Places", places_run_options, &fields.places}},
    };
    struct command command = {
        .args = &args, .places = &fields.places, .work = stats, .fields = &fields};
    return command_run(&command, argc, argv);
}
