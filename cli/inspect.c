/* SPDX-License-Identifier: Apache-2.0 */
/* clip inspect: what an index says about itself; nothing is fetched. */
#include "command.h"
#include "facts.h"
#include "say.h"
#include "verb.h"

#include <inttypes.h>
#include <string.h>

struct inspect_args {
    bool json;
};

static const struct args_option inspect_options[] = {
    {"json", 0, ARGS_FLAG, NULL, "print everything, the image's config too, as JSON",
     offsetof(struct inspect_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static json_t *layer_json(const struct clip_layer_info *layer)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "digest", layer->digest, "diff_id",
                     layer->diff_id, "media_type", layer->media_type, "codec", layer->codec, "size",
                     (json_int_t)layer->size, "uncompressed_size",
                     (json_int_t)layer->uncompressed_size, "spans", (json_int_t)layer->n_spans,
                     "windows_size", (json_int_t)layer->windows_size);
}

static json_t *layers_json(const struct clip_image *image, unsigned n_layers)
{
    json_t *layers = json_array();
    for (unsigned i = 0; i < n_layers; i++) {
        struct clip_layer_info layer;
        if (clip_image_layer(image, i, &layer) == 0)
            json_array_append_new(layers, layer_json(&layer));
    }
    return layers;
}

static size_t n_profile(const struct clip_image *image)
{
    const struct clip_profile_span *spans;
    return clip_image_profile(image, &spans);
}

static void print_json(const struct clip_image *image, const struct clip_image_info *info)
{
    json_t *facts = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "reference",
        info->reference, "manifest_digest", info->manifest_digest, "manifest_media_type",
        info->manifest_media_type, "platform", info->platform, "span_size",
        (json_int_t)info->span_size, "file_size", (json_int_t)info->file_size, "entries",
        (json_int_t)info->n_entries, "files", (json_int_t)info->n_files, "directories",
        (json_int_t)info->n_dirs, "symlinks", (json_int_t)info->n_symlinks, "hardlinks",
        (json_int_t)info->n_hardlinks, "others", (json_int_t)info->n_others, "content_size",
        (json_int_t)info->content_size, "spans", (json_int_t)info->n_spans);
    if (facts) {
        json_object_set_new(facts, "layers", layers_json(image, info->n_layers));
        json_object_set_new(facts, "needs", json_integer((json_int_t)info->n_needs));
        json_object_set_new(facts, "profile_spans", json_integer((json_int_t)n_profile(image)));
        json_t *config = json_loadb(info->config, info->config_len, JSON_REJECT_DUPLICATES, NULL);
        json_object_set_new(facts, "config", config ? config : json_null());
    }
    facts_print(facts, JSON_INDENT(2));
    putchar('\n');
}

static void print_field(const char *name, const char *value)
{
    printf("%-13s", name);
    say_quoted(stdout, value, strlen(value));
    putchar('\n');
}

static void print_layer(unsigned i, const struct clip_layer_info *layer)
{
    char size[SAY_SIZE_LEN], uncompressed[SAY_SIZE_LEN], windows[SAY_SIZE_LEN];
    printf("layer %-6u %s\n", i + 1, layer->digest);
    printf("             %s, %s, %s uncompressed, %" PRIu64 " spans, windows %s\n", layer->codec,
           say_size(layer->size, size), say_size(layer->uncompressed_size, uncompressed),
           layer->n_spans, say_size(layer->windows_size, windows));
}

static void print_text(const struct clip_image *image, const struct clip_image_info *info)
{
    char a[SAY_SIZE_LEN], b[SAY_SIZE_LEN];
    print_field("image", info->reference);
    print_field("manifest", info->manifest_digest);
    print_field("media type", info->manifest_media_type);
    print_field("platform", info->platform);
    printf("entries      %" PRIu64 ": %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64
           " symlinks, %" PRIu64 " further hard links, %" PRIu64 " others\n",
           info->n_entries, info->n_files, info->n_dirs, info->n_symlinks, info->n_hardlinks,
           info->n_others);
    printf("content      %s\n", say_size(info->content_size, a));
    printf("index        %s, %" PRIu64 " spans of about %s\n", say_size(info->file_size, a),
           info->n_spans, say_size(info->span_size, b));
    if (info->n_needs > 0)
        printf("needs        %" PRIu64 ", of programs and modules: fetched with them by a mount\n",
               info->n_needs);
    if (n_profile(image) > 0)
        printf("profile      %zu spans, fetched ahead by a mount\n", n_profile(image));
    for (unsigned i = 0; i < info->n_layers; i++) {
        struct clip_layer_info layer;
        if (clip_image_layer(image, i, &layer) == 0)
            print_layer(i, &layer);
    }
}

static int inspect(const struct args *args, void *data)
{
    const struct inspect_args *fields = data;
    struct clip_image *image;
    struct clip_image_info info;
    uint64_t root;
    int r = facts_open(args->operand[0], NULL, false, &image, &root);
    if (r != 0)
        return r;
    clip_image_info(image, &info);
    if (fields->json)
        print_json(image, &info);
    else
        print_text(image, &info);
    clip_image_unref(image);
    return 0;
}

int inspect_run(int argc, char **argv)
{
    struct inspect_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "inspect",
        .operands = "FILE.clip",
        .about = "Prints what an index says: the image, its layers, checkpoints and sizes.",
        .min_operands = 1,
        .max_operands = 1,
        .groups = {{"Options", inspect_options, &fields}},
    };
    struct command command = {.args = &args, .work = inspect, .fields = &fields};
    return command_run(&command, argc, argv);
}
