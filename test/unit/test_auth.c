/* SPDX-License-Identifier: Apache-2.0 */
/* Every secret here has "sesame" in it; no log line and no error may. */
#include "net/challenge.h"
#include "test/lib/fetcher.h"
#include "test/lib/registry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOB_LEN  100000u
#define MANY      12u
#define ME_SESAME "bWU6c2VzYW1l" /* base64 of me:sesame */

static struct fixture {
    struct test_loop t;
    struct test_registry *registry, *other;
    struct clip_source_options options;
    struct fetcher fetcher, second;
    char name[128], authfile[64];
    uint8_t *bytes;
    struct descriptor blob;
    unsigned n_done;
} f;

static void expect_no_secret(const char *text)
{
    cr_assert_null(strstr(text, "sesame"), "%s", text);
    cr_assert_null(strstr(text, ME_SESAME), "%s", text);
}

static void on_log(void *data, enum clip_log_level level, const char *message)
{
    (void)data, (void)level;
    expect_no_secret(message);
}

static void set_up(void)
{
    const struct clip_engine_options options = {.on_log = on_log, .log_level = CLIP_LOG_DEBUG};

    memset(&f, 0, sizeof(f));
    setenv("HOME", "/nonexistent", 1);
    unsetenv("XDG_RUNTIME_DIR");
    cr_assert_eq(uv_loop_init(&f.t.loop), 0);
    cr_assert_eq(clip_engine_open(&f.t.loop, &options, &f.t.engine, NULL), 0);
    f.registry = registry_start(&f.t.loop);
    f.other = registry_start(&f.t.loop);
    f.bytes = calloc(1, BLOB_LEN);
    registry_add_blob(f.registry, f.bytes, BLOB_LEN, &f.blob.digest);
    registry_add_blob(f.other, f.bytes, BLOB_LEN, &f.blob.digest);
    f.blob.size = BLOB_LEN;
    f.options.certs_dir = "/nonexistent";
    snprintf(f.name, sizeof(f.name), "%s/team/app:1", registry_host(f.registry));
}

static void tear_down(void)
{
    fetcher_close(&f.fetcher);
    fetcher_close(&f.second);
    registry_stop(f.registry);
    registry_stop(f.other);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.registry) && registry_stopped(f.other));
    registry_free(f.registry);
    registry_free(f.other);
    loop_tear_down(&f.t);
    if (*f.authfile)
        unlink(f.authfile);
    free(f.bytes);
}

TestSuite(auth, .init = set_up, .fini = tear_down);

static struct registry_dials *dials(void)
{
    return registry_dials(f.registry);
}

static struct registry_counts *counts(void)
{
    return registry_counts(f.registry);
}

static int get(struct fetcher *fetcher, uint64_t off)
{
    int r;

    if (!fetcher->source)
        cr_assert_eq(fetcher_open(fetcher, &f.t, f.name, &f.options), 0, "%s",
                     fetcher->err.message);
    r = fetcher_range(fetcher, &f.blob, off, 1000);
    expect_no_secret(fetcher->err.message);
    return r;
}

static void expect_got(void)
{
    cr_assert_eq(get(&f.fetcher, 10), 0, "%s", f.fetcher.err.message);
}

static void expect_refused(const char *says)
{
    cr_assert_eq(get(&f.fetcher, 10), -EACCES, "%s", f.fetcher.err.message);
    cr_assert_not_null(strstr(f.fetcher.err.message, says), "%s", f.fetcher.err.message);
}

static void want_bearer(void)
{
    dials()->auth = REGISTRY_BEARER;
}

static void want_basic(void)
{
    dials()->auth = REGISTRY_BASIC;
    dials()->user = "me";
    dials()->pass = "sesame";
}

static void write_authfile(const char *entry)
{
    char text[512];
    int len =
        snprintf(text, sizeof(text), "{\"auths\":{\"%s\":{%s}}}", registry_host(f.registry), entry);
    int fd;

    strcpy(f.authfile, "/tmp/clip-auth-XXXXXX");
    fd = mkstemp(f.authfile);
    cr_assert_eq(write(fd, text, (size_t)len), len);
    close(fd);
    f.options.authfile = f.authfile;
}

/* ---- tokens */

Test(auth, an_open_registry_is_shown_nothing)
{
    f.options.creds = "me:sesame";
    expect_got();
    cr_assert_eq(counts()->with_authorization, 0);
}

Test(auth, gets_a_token_for_just_this_repository)
{
    want_bearer();
    expect_got();
    cr_assert_eq(counts()->tokens, 1);
    cr_assert_not_null(strstr(registry_last_token_query(f.registry), "service=test"));
    cr_assert_not_null(
        strstr(registry_last_token_query(f.registry), "scope=repository:team/app:pull"));
    expect_got();
    cr_assert_eq(counts()->tokens, 1);
    cr_assert_eq(counts()->refused, 1, "the first request alone");
}

static void on_range(struct blob_range *req, int status)
{
    cr_assert_eq(status, 0, "%s", req->err.message);
    slab_unlock(req->slab);
    f.n_done++;
}

Test(auth, many_who_need_a_token_cause_one_request)
{
    struct blob_range ranges[MANY];

    want_bearer();
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, f.name, &f.options), 0);
    for (unsigned i = 0; i < MANY; i++) {
        ranges[i] = (struct blob_range){.blob = &f.blob, .off = i, .len = 10, .lane = WORK_READ};
        blob_range_fetch(f.fetcher.source, &ranges[i], on_range);
    }
    LOOP_RUN_UNTIL(&f.t, f.n_done == MANY);
    cr_assert_eq(counts()->tokens, 1);
}

Test(auth, two_mounts_of_a_repository_share_a_token)
{
    want_bearer();
    expect_got();
    cr_assert_eq(get(&f.second, 5), 0);
    cr_assert_eq(counts()->tokens, 1);
    cr_assert_eq(counts()->refused, 1);
}

Test(auth, other_credentials_are_another_token)
{
    want_bearer();
    expect_got();
    f.options.creds = "me:sesame";
    cr_assert_eq(get(&f.second, 5), 0);
    cr_assert_eq(counts()->tokens, 2);
}

static void on_time(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
    uv_close((uv_handle_t *)timer, NULL);
}

/* Time itself is what is tested here. */
static void let_pass(uint64_t ms)
{
    uv_timer_t timer;
    bool passed = false;

    uv_timer_init(&f.t.loop, &timer);
    timer.data = &passed;
    uv_timer_start(&timer, on_time, ms, 0);
    LOOP_RUN_UNTIL(&f.t, passed);
    uv_run(&f.t.loop, UV_RUN_NOWAIT);
}

Test(auth, a_token_is_renewed_before_it_expires)
{
    want_bearer();
    dials()->token_expires_s = 3; /* it is used well before, however busy the machine is */
    expect_got();
    let_pass(3100);
    expect_got();
    cr_assert_geq(counts()->tokens, 2);
    cr_assert_eq(counts()->refused, 1, "never refused for its age");
}

Test(auth, a_token_that_is_refused_is_renewed)
{
    want_bearer();
    dials()->token_uses = 1;
    expect_got();
    expect_got();
    expect_got();
    cr_assert_eq(counts()->tokens, 3);
    cr_assert_eq(counts()->refused, 3);
}

Test(auth, gives_up_where_every_token_is_refused)
{
    want_bearer();
    dials()->refuse_tokens = true;
    expect_refused("docker login");
    cr_assert_eq(counts()->tokens, 2);
    dials()->refuse_tokens = false;
    expect_got();
}

Test(auth, logs_in_to_the_token_server)
{
    want_bearer();
    dials()->user = "me";
    dials()->pass = "sesame";
    f.options.creds = "me:sesame";
    expect_got();
    cr_assert_eq(counts()->tokens, 1);
}

Test(auth, says_what_to_do_when_the_token_server_refuses)
{
    want_bearer();
    dials()->user = "me";
    dials()->pass = "sesame";
    expect_refused("--creds USER:PASS");
    fetcher_close(&f.fetcher);
    f.fetcher.source = NULL;
    f.fetcher.closed = false;
    f.options.creds = "me:wrong-sesame";
    expect_refused("with the credentials that were found");
    cr_assert_eq(counts()->tokens, 0);
}

Test(auth, trades_an_identity_token_and_takes_its_successor)
{
    want_bearer();
    dials()->refresh_token = "first-sesame";
    dials()->next_refresh_token = "second-sesame";
    dials()->token_uses = 1;
    write_authfile("\"identitytoken\":\"first-sesame\"");
    expect_got();
    dials()->refresh_token = "second-sesame";
    expect_got();
    cr_assert_eq(counts()->tokens, 2);
}

Test(auth, a_token_server_that_is_busy_is_asked_again)
{
    want_bearer();
    registry_add_path(f.other, "/busy", "{\"token\":\"x\"}", 13);
    registry_dials(f.other)->reset = true;
    char realm[128];
    snprintf(realm, sizeof(realm), "%s/busy", registry_url(f.other));
    dials()->realm = realm;
    dials()->refuse_tokens = true;
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, f.name, &f.options), 0);
    fetcher_start_stream(&f.fetcher, &f.blob, 1000);
    LOOP_RUN_UNTIL(&f.t, registry_counts(f.other)->failed >= 2);
    registry_dials(f.other)->reset = false;
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, -EACCES, "%s", f.fetcher.err.message);
}

Test(auth, closes_while_a_token_is_on_its_way)
{
    char realm[128];

    want_bearer();
    snprintf(realm, sizeof(realm), "%s/v2/", registry_url(f.other));
    dials()->realm = realm;
    registry_dials(f.other)->stall_first_byte = true;
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, f.name, &f.options), 0);
    fetcher_start_stream(&f.fetcher, &f.blob, 1000);
    LOOP_RUN_UNTIL(&f.t, registry_counts(f.other)->failed >= 1);
    fetcher_close(&f.fetcher);
    cr_assert_eq(f.fetcher.status, -ECANCELED);
    f.fetcher.source = NULL;
}

/* ---- passwords */

Test(auth, shows_a_password_only_where_it_is_wanted)
{
    want_basic();
    f.options.creds = "me:sesame";
    expect_got();
    cr_assert_eq(counts()->refused, 1);
    expect_got();
    cr_assert_eq(counts()->refused, 1);
    cr_assert_eq(counts()->with_authorization, 2);
}

Test(auth, reads_a_password_from_a_file)
{
    want_basic();
    write_authfile("\"auth\":\"" ME_SESAME "\"");
    expect_got();
}

Test(auth, says_that_a_password_is_wrong)
{
    want_basic();
    f.options.creds = "me:wrong-sesame";
    expect_refused("check them");
    cr_assert_eq(counts()->requests, 2);
}

Test(auth, says_that_a_password_is_missing)
{
    want_basic();
    expect_refused("docker login");
}

Test(auth, a_password_that_was_changed_is_read_anew)
{
    want_basic();
    write_authfile("\"auth\":\"" ME_SESAME "\"");
    expect_got();
    dials()->pass = "sesame2";
    FILE *file = fopen(f.authfile, "w");
    fprintf(file, "{\"auths\":{\"%s\":{\"username\":\"me\",\"password\":\"sesame2\"}}}",
            registry_host(f.registry));
    fclose(file);
    expect_got();
}

Test(auth, a_signed_url_is_not_shown)
{
    dials()->redirect_blobs = registry_url(f.other);
    registry_dials(f.other)->status = 403;
    registry_dials(f.other)->n_status = 1;
    cr_assert_eq(get(&f.fetcher, 10), -EACCES);
    expect_got();
}

Test(auth, says_which_scheme_it_does_not_know)
{
    dials()->auth = REGISTRY_BASIC;
    dials()->challenge = "Negotiate";
    expect_refused("Negotiate");
    dials()->challenge = "Bearer realm=";
    cr_assert_eq(get(&f.fetcher, 10), CLIP_EFORMAT);
}

/* ---- challenges */

Test(challenge, parts_are_found_in_any_form)
{
    static const char *const texts[] = {
        "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull\"",
        "bearer  Realm = \"https://a/t\" , SERVICE=s, scope=\"repository:x:pull\"",
        "Basic realm=\"b, c\", Bearer realm=\"https://a/t\",service=s,scope=\"repository:x:pull\"",
        ("Negotiate, NTLM abc==, Bearer realm=\"https:\\//a/t\",service=\"s\",other=\"\","
         "scope=\"repository:x:pull\", Bearer realm=\"second\""),
        ",, Bearer realm=\"https://a/t\",, service=s, scope=\"repository:x:pull\", Basic",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct challenge challenge;
        cr_assert_eq(challenge_parse(texts[i], &challenge, NULL), 0, "%s", texts[i]);
        cr_assert(challenge.bearer);
        cr_assert_str_eq(challenge.realm, "https://a/t");
        cr_assert_str_eq(challenge.service, "s");
        cr_assert_str_eq(challenge.scope, "repository:x:pull");
        cr_assert_eq(challenge.basic, i == 2 || i == 4);
        challenge_fini(&challenge);
    }
}

Test(challenge, what_cannot_be_read_is_refused)
{
    static const char *const texts[] = {
        "Bearer realm=\"a",
        "Bearer realm=\"a\\",
        "Bearer realm",
        "Bearer service=s",
        "realm=\"a\"",
        "Bearer realm=a,realm=b",
        "Bearer realm=\"a\nb\"",
        "=",
        "Bearer realm=\"a\" \"b\"",
        "Bearer realm=,x=y",
        "Basic realm=\"a\"@",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct challenge challenge = {0};
        cr_assert_eq(challenge_parse(texts[i], &challenge, NULL), CLIP_EFORMAT, "%s", texts[i]);
    }
}
