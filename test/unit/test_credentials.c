/* SPDX-License-Identifier: Apache-2.0 */
#include "net/credentials.h"
#include "net/helper.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture {
    struct test_loop t;
    char dir[64];
    struct credentials_find find;
    bool done;
    int status;
    uint64_t helper_ms; /* long, for machines that are busy; a helper that hangs has less */
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.helper_ms = 60000;
    loop_set_up(&f.t);
    strcpy(f.dir, "/tmp/clip-credentials-XXXXXX");
    cr_assert_not_null(mkdtemp(f.dir));
    setenv("HOME", f.dir, 1);
    setenv("XDG_RUNTIME_DIR", f.dir, 1);
    setenv("PATH", f.dir, 1);
    unsetenv("DOCKER_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("XDG_CONFIG_HOME");
}

static void tear_down(void)
{
    char command[128];

    credentials_fini(&f.find.credentials);
    loop_tear_down(&f.t);
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(credentials, .init = set_up, .fini = tear_down);

static char *path_of(const char *name)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/%s", f.dir, name);
    return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    char *path = path_of(name);
    FILE *file;

    for (char *slash = path + strlen(f.dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, mode);
}

static void write_helper(const char *name, const char *body)
{
    char program[80], text[1024];

    snprintf(program, sizeof(program), "docker-credential-%s", name);
    snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    write_file(program, text, 0700);
}

static void on_found(struct credentials_find *find, int status)
{
    (void)find;
    cr_assert_not(f.done);
    f.done = true;
    f.status = status;
}

static void start(const char *registry, const char *repository, const char *creds,
                  const char *authfile)
{
    const struct credentials_options options = {
        .registry = registry,
        .repository = repository,
        .creds = creds,
        .authfile = authfile,
        .helper_ms = f.helper_ms,
    };

    credentials_fini(&f.find.credentials);
    f.done = false;
    credentials_find(f.t.engine, &f.find, &options, on_found);
    cr_assert_not(f.done, "never from inside the call");
}

/* USER:PASS of what is found, or "" */
static const char *find(const char *registry, const char *repository)
{
    start(registry, repository, NULL, NULL);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.find.err.message);
    return f.find.credentials.userpass ? f.find.credentials.userpass : "";
}

/* "u:p", "me:secret", "x:y" */
#define UP "dTpw"
#define ME "bWU6c2VjcmV0"
#define XY "eDp5"

Test(credentials, are_none_where_nobody_wrote_any)
{
    cr_assert_str_eq(find("localhost:5000", "a"), "");
}

Test(credentials, given_ones_come_before_all_others)
{
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\"}}}", 0600);
    setenv("CLIP_REGISTRY_USER_H_IO", "env", 1);
    setenv("CLIP_REGISTRY_PASS_H_IO", "pass", 1);
    start("h.io", "a", "given:pass", NULL);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_str_eq(f.find.credentials.userpass, "given:pass");
    cr_assert_str_eq(find("h.io", "a"), "env:pass");
    unsetenv("CLIP_REGISTRY_PASS_H_IO");
    cr_assert_str_eq(find("h.io", "a"), "u:p");
}

Test(credentials, variables_are_named_after_the_host)
{
    char name[64];

    credentials_variable("USER", "my-host.io:5000", name, sizeof(name));
    cr_assert_str_eq(name, "CLIP_REGISTRY_USER_MY_HOST_IO_5000");
    credentials_variable("PASS", "[::1]:5000", name, sizeof(name));
    cr_assert_str_eq(name, "CLIP_REGISTRY_PASS____1__5000");
}

Test(credentials, files_are_asked_in_order)
{
    write_file("containers/auth.json",
               "{\"auths\":{\"h.io\":{\"auth\":\"" ME "\"},"
               "\"x.io\":{\"auth\":\"" XY "\"}}}",
               0600);
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\"}}}", 0600);
    cr_assert_str_eq(find("h.io", "a"), "u:p");
    cr_assert_str_eq(find("x.io", "a"), "x:y", "the next file knows");
    write_file("other/config.json", "{}", 0600);
    setenv("DOCKER_CONFIG", path_of("other"), 1);
    cr_assert_str_eq(find("h.io", "a"), "me:secret", "in place of ~/.docker");
}

Test(credentials, a_file_that_is_named_is_the_only_one)
{
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\"}}}", 0600);
    write_file("my.json", "{\"auths\":{}}", 0600);
    start("h.io", "a", NULL, path_of("my.json"));
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0);
    cr_assert(credentials_empty(&f.find.credentials));
    start("h.io", "a", NULL, path_of("none.json"));
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ENOENT, "it must be there");
    cr_assert_not_null(strstr(f.find.err.message, "none.json"));
}

Test(credentials, keys_go_from_the_longest_path_to_the_host)
{
    write_file(".docker/config.json",
               "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\"},\"h.io/team\":{\"auth\":\"" ME "\"},"
               "\"h.io/team/app\":{\"auth\":\"" XY "\"}}}",
               0600);
    cr_assert_str_eq(find("h.io", "team/app"), "x:y");
    cr_assert_str_eq(find("h.io", "team/other"), "me:secret");
    cr_assert_str_eq(find("h.io", "teams/other"), "u:p");
}

Test(credentials, older_forms_of_keys_are_understood)
{
    write_file(".docker/config.json",
               "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"" UP "\"},"
               "\"https://h.io/v2/\":{\"auth\":\"" ME "\"},\"http://x.io\":{\"auth\":\"" XY "\"}}}",
               0600);
    cr_assert_str_eq(find("docker.io", "library/alpine"), "u:p");
    cr_assert_str_eq(find("h.io", "a"), "me:secret");
    cr_assert_str_eq(find("x.io", "a"), "x:y");
    cr_assert_str_eq(find("other.io", "a"), "");
}

Test(credentials, tokens_are_told_from_passwords)
{
    write_file(".docker/config.json",
               "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\",\"identitytoken\":\"idt\"},"
               "\"x.io\":{\"registrytoken\":\"rt\"}}}",
               0600);
    find("h.io", "a");
    cr_assert_str_eq(f.find.credentials.identity_token, "idt");
    find("x.io", "a");
    cr_assert_str_eq(f.find.credentials.access_token, "rt");
}

static void expect_failure(int code, const char *says)
{
    start("h.io", "a", NULL, NULL);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, code, "%d: %s", f.status, f.find.err.message);
    cr_assert_not_null(strstr(f.find.err.message, says), "%s", f.find.err.message);
    cr_assert_null(strstr(f.find.err.message, "sesame"), "%s", f.find.err.message);
}

Test(credentials, what_is_no_such_file_is_refused_without_showing_it)
{
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"sesame", 0600);
    expect_failure(CLIP_EFORMAT, "config.json");
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"sesame!\"}}}", 0600);
    expect_failure(CLIP_EFORMAT, "h.io");
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":{\"auth\":\"c2VzYW1l\"}}}", 0600);
    expect_failure(CLIP_EFORMAT, "colon");
    write_file(".docker/config.json", "{\"auths\":{\"h.io\":\"sesame\"}}", 0600);
    expect_failure(CLIP_EFORMAT, "h.io");
    write_file(".docker/config.json", "{\"credsStore\":\"../sesame\"}", 0600);
    expect_failure(CLIP_EFORMAT, "helper");
}

Test(credentials, a_helper_is_asked_by_its_input_and_not_by_a_shell)
{
    write_file(".docker/config.json", "{\"credHelpers\":{\"h.io\":\"safe\"}}", 0600);
    write_helper("safe", "read s; test \"$1\" = get || exit 1\n"
                         "echo \"{\\\"Username\\\":\\\"on $s\\\",\\\"Secret\\\":\\\"pw\\\"}\"");
    cr_assert_str_eq(find("h.io", "a"), "on h.io:pw");
    cr_assert_str_eq(find("x.io", "a"), "", "a helper for another host is not asked");
}

Test(credentials, the_store_is_asked_for_all_hosts_and_knows_the_hub_by_its_url)
{
    write_file(".docker/config.json", "{\"credsStore\":\"safe\"}", 0600);
    write_helper("safe", "read s; echo \"{\\\"Username\\\":\\\"<token>\\\",\\\"Secret\\\":"
                         "\\\"$s\\\"}\"");
    find("docker.io", "library/a");
    cr_assert_str_eq(f.find.credentials.identity_token, "https://index.docker.io/v1/");
}

Test(credentials, a_helper_that_knows_nothing_leaves_it_to_the_next_file)
{
    write_file(".docker/config.json", "{\"credsStore\":\"empty\"}", 0600);
    write_file("containers/auth.json", "{\"auths\":{\"h.io\":{\"auth\":\"" UP "\"}}}", 0600);
    write_helper("empty", "echo 'credentials not found in native keychain'; exit 1");
    cr_assert_str_eq(find("h.io", "a"), "u:p");
}

Test(credentials, a_helper_that_fails_is_a_failure_with_its_name)
{
    write_file(".docker/config.json", "{\"credsStore\":\"bad\"}", 0600);
    expect_failure(-ENOENT, "docker-credential-bad");
    write_helper("bad", "echo sesame; exit 3");
    expect_failure(-EIO, "exit code 3");
    write_helper("bad", "echo sesame");
    expect_failure(CLIP_EFORMAT, "docker-credential-bad");
    write_helper("bad", "echo '{\"Username\":\"sesame\"}'");
    expect_failure(CLIP_EFORMAT, "Secret");
    write_helper("bad", "kill -9 $$");
    expect_failure(-EIO, "signal 9");
}

Test(credentials, a_helper_that_hangs_is_killed)
{
    write_file(".docker/config.json", "{\"credsStore\":\"slow\"}", 0600);
    write_helper("slow", "/bin/sleep 1000 & wait");
    f.helper_ms = 300;
    expect_failure(-ETIMEDOUT, "docker-credential-slow");
}

Test(credentials, a_helper_that_never_stops_talking_is_killed)
{
    write_file(".docker/config.json", "{\"credsStore\":\"loud\"}", 0600);
    write_helper("loud", "while :; do echo sesame sesame sesame sesame sesame; done");
    expect_failure(-EMSGSIZE, "docker-credential-loud");
}

Test(credentials, a_find_can_be_cancelled_while_its_helper_runs)
{
    write_file(".docker/config.json", "{\"credsStore\":\"slow\"}", 0600);
    write_helper("slow", "/bin/sleep 1000");
    start("h.io", "a", NULL, NULL);
    LOOP_RUN_UNTIL(&f.t, f.find.helper);
    credentials_find_cancel(&f.find);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(credentials, a_find_can_be_cancelled_at_once)
{
    start("h.io", "a", NULL, NULL);
    credentials_find_cancel(&f.find);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
}
