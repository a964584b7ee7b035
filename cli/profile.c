/* SPDX-License-Identifier: Apache-2.0 */
/* clip profile: what a container has read of its image, put into an index of that image. clipd
 * tells; the file is written here, with the rights of who asks. */
#include "profile.h"

#include "client.h"
#include "command.h"
#include "facts.h"
#include "say.h"
#include "verb.h"

#include <stdlib.h>
#include <string.h>

struct profile_args {
    bool json, clear;
    struct places places;
};

/* A profile as clipd told it. */
struct profile {
    struct clip_profile_span *spans;
    size_t n;
};

static const struct args_option profile_options[] = {
    {"clear", 0, ARGS_FLAG, NULL, "take the profile out of FILE.clip, the only operand then",
     offsetof(struct profile_args, clear)},
    {"json", 0, ARGS_FLAG, NULL, "print what was written as JSON",
     offsetof(struct profile_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

/* Made of other blobs, or cut elsewhere, its spans have other numbers. */
static bool is_same_index(const struct clip_image *image, json_t *answer)
{
    struct clip_image_info info;
    const char *digest = json_string_value(json_object_get(answer, "manifest_digest"));
    clip_image_info(image, &info);
    return digest && strcmp(info.manifest_digest, digest) == 0 &&
           (json_int_t)info.span_size == json_integer_value(json_object_get(answer, "span_size")) &&
           (json_int_t)info.n_spans == json_integer_value(json_object_get(answer, "n_spans"));
}

static int read_spans(json_t *answer, struct profile *out)
{
    size_t i;
    json_t *span, *spans = json_object_get(answer, "spans");
    out->spans = calloc(json_array_size(spans) + 1, sizeof(out->spans[0]));
    if (!out->spans)
        return -1;
    json_array_foreach(spans, i, span)
    {
        json_int_t layer = json_integer_value(json_array_get(span, 0));
        json_int_t index = json_integer_value(json_array_get(span, 1));
        /* what is out of range the image does not have: clip_image_save() says so */
        out->spans[out->n++] = (struct clip_profile_span){
            layer < 0 || layer > UINT32_MAX ? UINT32_MAX : (uint32_t)layer,
            index < 0 || index > UINT32_MAX ? UINT32_MAX : (uint32_t)index,
        };
    }
    return 0;
}

static void print_result(enum profile_output output, const char *path, size_t n)
{
    if (output == PROFILE_SILENT)
        return;
    if (output == PROFILE_JSON)
        facts_print(json_pack("{s:s, s:I}", "index", path, "spans", (json_int_t)n), 0);
    else if (n > 0)
        printf("%s: a mount fetches %zu spans ahead", path, n);
    else
        printf("%s: has no profile any more", path);
    putchar('\n');
}

static int save(enum profile_output output, const struct clip_image *image, const char *path,
                const struct profile *profile)
{
    struct clip_error err;
    if (clip_image_save(image, profile->spans, profile->n, path, &err) < 0) {
        say_error("%s", err.message);
        return 1;
    }
    print_result(output, path, profile->n);
    return 0;
}

static int write_answer(enum profile_output output, const char *path, json_t *answer)
{
    struct profile profile = {0};
    struct clip_image *image;
    uint64_t root;
    int r = facts_open(path, NULL, false, &image, &root);
    if (r != 0)
        return r;
    r = 1;
    if (!is_same_index(image, answer))
        say_error("%s: is not an index of the container's image, or has spans of another size; "
                  "name the one that it was mounted from, or a copy",
                  path);
    else if (read_spans(answer, &profile) != 0)
        say_error("out of memory for a profile");
    else if (profile.n == 0)
        say_error("nothing was read of the image yet: use the container first");
    else
        r = save(output, image, path, &profile);
    free(profile.spans);
    clip_image_unref(image);
    return r;
}

static int take_out(enum profile_output output, const char *path)
{
    const struct profile none = {0};
    struct clip_image *image;
    uint64_t root;
    int r = facts_open(path, NULL, false, &image, &root);
    if (r != 0)
        return r;
    r = save(output, image, path, &none);
    clip_image_unref(image);
    return r;
}

int profile_write(const char *run, const char *id, const char *path, enum profile_output output)
{
    char target[CLIENT_ID_MAX + 64];
    struct client_call call = {.run = run, .method = "GET", .path = target};
    if (client_check_id(id) != 0)
        return 1;
    snprintf(target, sizeof(target), "/v1/containers/%.*s/profile", CLIENT_ID_MAX, id);
    int r = client_ask(&call);
    if (r == 0)
        r = write_answer(output, path ? path : client_text(call.answer, "index"), call.answer);
    json_decref(call.answer);
    return r;
}

static int profile(const struct args *args, void *data)
{
    const struct profile_args *fields = data;
    enum profile_output output = fields->json ? PROFILE_JSON : PROFILE_TEXT;
    if (!fields->clear)
        return profile_write(fields->places.run, args->operand[0], args->operand[1], output);
    if (!args->operand[1])
        return take_out(output, args->operand[0]);
    say_error("--clear takes FILE.clip alone; see 'clip profile --help'");
    return 2;
}

int profile_run(int argc, char **argv)
{
    struct profile_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "profile",
        .operands = "ID [FILE.clip]",
        .about = "Puts into an index what container ID has read of its image up to now, in that "
                 "order.\nA mount of that index then fetches it ahead, in few and large requests: "
                 "a program is\nstarted in the time that its bytes take. FILE.clip is the index "
                 "that the container\nstands on, unless another one of the same image is named. "
                 "What is mounted already\ngoes on as it was.",
        .min_operands = 1,
        .max_operands = 2,
        .groups = {{"Options", profile_options, &fields},
                   {"Places", places_run_options, &fields.places}},
    };
    struct command command = {
        .args = &args, .places = &fields.places, .work = profile, .fields = &fields};
    return command_run(&command, argc, argv);
}
