/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bundle_config.h"
#include "cli/spec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct fixture {
    json_t *image, *process, *config;
    struct account account;
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
}

static void tear_down(void)
{
    json_decref(f.image);
    json_decref(f.process);
    json_decref(f.config);
}

TestSuite(cli_bundle, .init = set_up, .fini = tear_down);

static void make(const char *image, const char *process)
{
    f.image = json_loads(image, 0, NULL);
    f.process = process ? json_loads(process, 0, NULL) : NULL;
    if (f.process)
        cr_assert_eq(bundle_config_check(f.process, &f.err), 0, "%s", f.err.message);
    struct bundle_config config = {
        .image = f.image,
        .process = f.process,
        .account = &f.account,
        .id = "id",
        .root = "/run/clip/id/rootfs",
    };
    f.config = bundle_config_make(&config);
    cr_assert_not_null(f.config);
}

static void has(const char *member, const char *json)
{
    json_t *value = json_object_get(json_object_get(f.config, "process"), member);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    cr_assert_str_eq(text, json);
    free(text);
}

Test(cli_bundle, runs_entrypoint_and_cmd)
{
    make("{\"config\":{\"Entrypoint\":[\"/init\",\"-x\"],\"Cmd\":[\"serve\"]}}", NULL);
    has("args", "[\"/init\",\"-x\",\"serve\"]");
    has("cwd", "\"/\"");
}

Test(cli_bundle, args_stand_for_cmd)
{
    make("{\"config\":{\"Entrypoint\":[\"/init\"],\"Cmd\":[\"serve\"]}}", "{\"args\":[\"ls\"]}");
    has("args", "[\"/init\",\"ls\"]");
}

Test(cli_bundle, an_entrypoint_stands_for_both)
{
    make("{\"config\":{\"Entrypoint\":[\"/init\"],\"Cmd\":[\"serve\"]}}",
         "{\"entrypoint\":[\"/bin/ls\"]}");
    has("args", "[\"/bin/ls\"]");
}

Test(cli_bundle, env_is_the_images_with_ours_over_it)
{
    make("{\"config\":{\"Env\":[\"A=1\",\"B=2\",\"PATH=/p\"]}}", "{\"env\":[\"B=3\",\"AB=4\"]}");
    has("env", "[\"A=1\",\"B=3\",\"PATH=/p\",\"AB=4\",\"HOME=/root\"]");
}

Test(cli_bundle, an_image_may_say_anything)
{
    make("{\"config\":{\"Entrypoint\":7,\"Cmd\":{},\"Env\":[1,null,\"A\"],\"WorkingDir\":\"x\","
         "\"User\":[],\"StopSignal\":{}}}",
         NULL);
    has("args", "[\"/bin/sh\"]");
    has("cwd", "\"/\"");
    cr_assert_null(bundle_config_user(f.image, NULL));
}

Test(cli_bundle, an_image_may_say_nothing)
{
    make("[]", NULL);
    has("args", "[\"/bin/sh\"]");
}

static void refuse(const char *process)
{
    json_t *object = json_loads(process, 0, NULL);
    cr_assert_eq(bundle_config_check(object, &f.err), -EINVAL, "%s was taken", process);
    json_decref(object);
}

Test(cli_bundle, a_wrong_process_is_refused)
{
    refuse("{\"args\":\"ls\"}");
    refuse("{\"args\":[1]}");
    refuse("{\"cwd\":\"relative\"}");
    refuse("{\"user\":1}");
    refuse("{\"mounts\":{}}");
    refuse("{\"mounts\":[1]}");
    refuse("{\"mounts\":[{\"source\":\"a\",\"destination\":\"/b\"}]}");
    refuse("{\"capabilities\":[]}");
}

Test(cli_spec, ids_are_harmless_names)
{
    static const char *const good[] = {"a", "A.b_c-d+e", "0", "f00"};
    static const char *const bad[] = {"",    ".",   "..",       "a/b",       "/a",        "-a",
                                      "a b", "a\n", "\xc3\xa4", "a\xc3\xa4", "clipd.lock"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert(spec_id_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(spec_id_valid(bad[i]), "%s", bad[i]);
}

Test(cli_spec, what_is_written_reads_the_same_without_secrets)
{
    struct spec spec, again;
    json_t *object =
        json_loads("{\"image\":\"oci:/x\",\"upper\":\"/u\",\"dir\":\"/d\",\"bundle\":true,"
                   "\"process\":{\"args\":[\"a\"]},\"creds\":\"u:p\",\"owner\":1,"
                   "\"mirrors\":[\"http://a\"],\"plain_http\":true}",
                   0, NULL);
    cr_assert_eq(spec_read(object, &spec, &f.err), 0, "%s", f.err.message);
    json_decref(object);
    object = spec_write(&spec);
    cr_assert_null(json_object_get(object, "creds"));
    cr_assert_null(json_object_get(object, "owner"));
    cr_assert_eq(spec_read(object, &again, &f.err), 0, "%s", f.err.message);
    cr_assert(spec_same_tree(&spec, &again));
    cr_assert_str_eq(again.fetch.mirrors[0], "http://a");
    cr_assert(again.fetch.plain_http);
    json_decref(object);
    spec_fini(&spec);
    spec_fini(&again);
}
