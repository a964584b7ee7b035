/* SPDX-License-Identifier: Apache-2.0 */
#include "net/endpoint.h"
#include "net/hosts_toml.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct fixture {
    struct test_loop t;
    char dir[64];
    struct clip_source_options options;
    struct endpoints endpoints;
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    strcpy(f.dir, "/tmp/clip-endpoint-XXXXXX");
    cr_assert_not_null(mkdtemp(f.dir));
    f.options.certs_dir = f.dir;
}

static void tear_down(void)
{
    char command[128];

    endpoints_fini(&f.endpoints);
    loop_tear_down(&f.t);
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(endpoint, .init = set_up, .fini = tear_down);

static int init(const char *image)
{
    struct ref *ref;
    int r;

    endpoints_fini(&f.endpoints);
    cr_assert_eq(ref_parse(image, &ref, &f.err), 0, "%s", f.err.message);
    r = endpoints_init(&f.endpoints, f.t.engine, ref, &f.options, &f.err);
    ref_free(ref);
    return r;
}

static void expect(unsigned n, const char *const *bases)
{
    cr_assert_eq(f.endpoints.n, n, "%u", f.endpoints.n);
    for (unsigned i = 0; i < n; i++)
        cr_assert_str_eq(f.endpoints.list[i].base, bases[i]);
}

static void write_hosts(const char *host, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", f.dir, host);
    mkdir(path, 0700);
    strcat(path, "/hosts.toml");
    file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

Test(endpoint, is_the_registry_of_the_name)
{
    cr_assert_eq(init("h.io/team/app:1"), 0);
    expect(1, (const char *[]){"https://h.io:443/v2/team/app/"});
    cr_assert_str_eq(f.endpoints.list[0].query, "");
    cr_assert(f.endpoints.list[0].resolves);
}

Test(endpoint, of_the_hub_is_where_its_registry_is)
{
    cr_assert_eq(init("alpine"), 0);
    expect(1, (const char *[]){"https://registry-1.docker.io:443/v2/library/alpine/"});
}

Test(endpoint, on_this_machine_has_both_schemes_until_one_answers)
{
    cr_assert_eq(init("localhost:5000/a"), 0);
    expect(2, (const char *[]){"http://localhost:5000/v2/a/", "https://localhost:5000/v2/a/"});
    cr_assert_eq(f.endpoints.list[0].twin, &f.endpoints.list[1]);
    endpoint_settle(&f.endpoints.list[0]);
    cr_assert(f.endpoints.list[1].is_off);
    cr_assert_not(f.endpoints.list[0].is_off);
    endpoint_settle(&f.endpoints.list[0]);
}

Test(endpoint, may_be_plain_elsewhere_only_when_asked)
{
    f.options.plain_http = true;
    cr_assert_eq(init("h.io:80/a"), 0);
    expect(2, (const char *[]){"https://h.io:80/v2/a/", "http://h.io:80/v2/a/"});
}

Test(endpoint, mirrors_come_first_and_are_told_whose_they_are)
{
    f.options.mirrors =
        (const char *[]){"https://m.io", "https://n.io/cache/", "https://o.io/v2/x", NULL};
    cr_assert_eq(init("alpine"), 0, "%s", f.err.message);
    expect(4, (const char *[]){"https://m.io:443/v2/library/alpine/",
                               "https://n.io:443/v2/cache/library/alpine/",
                               "https://o.io:443/v2/x/library/alpine/",
                               "https://registry-1.docker.io:443/v2/library/alpine/"});
    cr_assert_str_eq(f.endpoints.list[0].query, "?ns=docker.io");
    cr_assert_str_eq(f.endpoints.list[3].query, "");
}

Test(endpoint, a_mirror_must_be_a_url_and_encrypted)
{
    f.options.mirrors = (const char *[]){"m.io", NULL};
    cr_assert_eq(init("alpine"), -EINVAL);
    cr_assert_not_null(strstr(f.err.message, "mirror"), "%s", f.err.message);
    f.options.mirrors = (const char *[]){"http://user:sesame@m.io", NULL};
    cr_assert_eq(init("alpine"), -EINVAL);
    cr_assert_not_null(strstr(f.err.message, "--plain-http"), "%s", f.err.message);
    cr_assert_null(strstr(f.err.message, "sesame"), "%s", f.err.message);
    f.options.plain_http = true;
    f.options.mirrors = (const char *[]){"http://m.io", NULL};
    cr_assert_eq(init("alpine"), 0);
}

Test(endpoint, there_is_a_limit_to_mirrors)
{
    const char *many[ENDPOINTS_MAX + 2] = {0};

    for (unsigned i = 0; i <= ENDPOINTS_MAX; i++)
        many[i] = "https://m.io";
    f.options.mirrors = many;
    cr_assert_eq(init("alpine"), -E2BIG);
}

Test(endpoint, hosts_toml_gives_mirrors_in_its_order)
{
    write_hosts("h.io:5000", "# ours\nserver = \"https://real.io\"\n\n"
                             "[host.\"https://m.io\"]\n  capabilities = [\"pull\"] # not tags\n"
                             "  ca = \"ca.pem\"\n[host.'http://n.io/v2/cache']\n"
                             "override_path = true\n[host.\"o.io\"]\ncapabilities = [\"push\"]\n"
                             "[host.\"p.io/x\"]\n");
    cr_assert_eq(init("h.io:5000/a"), 0, "%s", f.err.message);
    expect(4, (const char *[]){"https://m.io:443/v2/a/", "http://n.io:80/v2/cache/a/",
                               "https://p.io:443/x/v2/a/", "https://real.io:443/v2/a/"});
    cr_assert_not(f.endpoints.list[0].resolves);
    cr_assert(f.endpoints.list[1].resolves);
    cr_assert_str_eq(strrchr(f.endpoints.list[0].trust.ca_file, '/'), "/ca.pem");
    cr_assert(f.endpoints.list[1].trust.plain_http);
    cr_assert_not(f.endpoints.list[2].trust.plain_http);
}

Test(endpoint, hosts_toml_is_found_by_containerds_names)
{
    write_hosts("_default", "[host.\"https://any.io\"]\n");
    cr_assert_eq(init("alpine"), 0);
    expect(2, (const char *[]){"https://any.io:443/v2/library/alpine/",
                               "https://registry-1.docker.io:443/v2/library/alpine/"});
    write_hosts("h.io_5000_", "[host.\"https://m.io\"]\n");
    cr_assert_eq(init("h.io:5000/a"), 0);
    expect(2, (const char *[]){"https://m.io:443/v2/a/", "https://h.io:5000/v2/a/"});
    write_hosts("docker.io", "server = \"https://docker.io\"\n");
    cr_assert_eq(init("alpine"), 0);
    expect(1, (const char *[]){"https://registry-1.docker.io:443/v2/library/alpine/"});
}

static void expect_refusal(const char *text, int code, const char *says)
{
    write_hosts("h.io", text);
    cr_assert_eq(init("h.io/a"), code, "%s: %s", text, f.err.message);
    cr_assert_not_null(strstr(f.err.message, says), "%s", f.err.message);
    cr_assert_not_null(strstr(f.err.message, "hosts.toml: line"), "%s", f.err.message);
}

Test(endpoint, hosts_toml_that_wants_what_is_not_done_is_refused)
{
    expect_refusal("[host.\"https://m.io\"]\nskip_verify = true\n", -ENOTSUP,
                   "line 2: skip_verify");
    expect_refusal("[host.\"m.io\"]\n  [host.\"m.io\".header]\n x = \"y\"\n", -ENOTSUP, "header");
    expect_refusal("[host.\"m.io\"]\nclient = [[\"a\", \"b\"]]\n", -ENOTSUP, "client.cert");
    expect_refusal("[host.\"m.io\"]\nca = [\"a\", \"b\"]\n", -ENOTSUP, "one file");
    write_hosts("h.io",
                "[host.\"https://m.io\"]\nskip_verify = false\ndial_timeout = \"1s\"\nn=1\n");
    cr_assert_eq(init("h.io/a"), 0, "%s", f.err.message);
}

Test(endpoint, hosts_toml_that_cannot_be_read_is_refused_with_its_line)
{
    expect_refusal("[host.\"https://m.io\"\n", CLIP_EFORMAT, "line 1");
    expect_refusal("\n\nserver = https://m.io\n", CLIP_EFORMAT, "line 3");
    expect_refusal("server = \"https://m.io\n", CLIP_EFORMAT, "line 1");
    expect_refusal("server = \"a\" \"b\"\n", CLIP_EFORMAT, "line 1");
    expect_refusal("server = \"a\"\nserver = \"b\"\n", CLIP_EFORMAT, "twice");
    expect_refusal("[host.\"m.io\"]\ncapabilities = \"pull\"\n", CLIP_EFORMAT, "array");
    expect_refusal("[host.\"m.io\"]\ncapabilities = [\"fly\"]\n", CLIP_EFORMAT, "capabilities");
    expect_refusal("[host.\"m.io\"]\nca = [[[[\"a\"]]]]\n", CLIP_EFORMAT, "nested");
    expect_refusal("[[host]]\n", CLIP_EFORMAT, "line 1");
    expect_refusal("= 1\n", CLIP_EFORMAT, "key");
}
