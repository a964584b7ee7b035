/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behind all auths of equal options is one grant: what is known of how to be let in.
 *
 * The happy path of a grant is:
 * - nothing is known, and asks are answered with no header; the first 401 brings the challenge.
 * - renew() finds the credentials, for Basic these are the header, for Bearer a token is fetched.
 *   Who asks meanwhile waits; answer_all() answers them at once.
 * - a token that will soon expire is renewed while it is still given out; one that has expired, or
 *   was refused, is waited for. Credentials are looked up again each time: those of a helper
 *   expire, and people change their minds. A refused header that has been replaced since is no
 *   refusal.
 * Possible failure modes are: no credentials and none needed by the token server's lights, refused
 * credentials, a challenge that is not understood: -EACCES with what to do. What the network says
 * of a token server that cannot be reached is passed on.
 * On close: the last auth of a grant takes it along, as soon as what runs has been cancelled.
 */
#include "net/auth.h"

#include "engine/log.h"
#include "net/basic.h"
#include "net/challenge.h"
#include "net/credentials.h"
#include "net/token.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSALS_MAX 2u /* of one ask, each time with another header */
#define RENEW_PART   5u /* a token is renewed when this part of its time is left */
#define RENEW_MAX_S  60u
#define NS_PER_S     1000000000ull

static const char auths_kind;

/* All grants of an engine. */
struct auths {
    struct clip_engine *engine;
    struct engine_child child;
    struct queue grants;
};

enum scheme { SCHEME_UNKNOWN, SCHEME_BASIC, SCHEME_BEARER };

struct grant {
    struct auths *auths;
    struct queue node;
    unsigned n_auths;

    char *registry, *repository, *creds, *authfile, *ca_file, *certs_dir;
    bool plain_http;
    char scope[512];

    enum scheme scheme;
    struct challenge challenge; /* of SCHEME_BEARER */
    char *header;               /* what is given out; NULL: none */
    unsigned generation;        /* of the header */
    uint64_t renew_ns, expires_ns;
    char *refresh_token; /* newer than the files' */
    bool had_credentials;

    bool busy, finding;
    struct credentials_find find;
    struct token_fetch *fetch;
    struct queue waiting;
};

struct auth {
    struct grant *grant;
};

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

/* ---------------------------------------------------------------- the register */

static void on_engine_close(struct engine_child *child)
{
    (void)child; /* the sources that hold auths are closed too, and the last takes us along */
}

static int auths_get(struct clip_engine *engine, struct auths **out, struct clip_error *err)
{
    struct engine_child *child = engine_find(engine, &auths_kind);
    struct auths *auths;
    int r;

    if (child) {
        *out = container_of(child, struct auths, child);
        return 0;
    }
    auths = calloc(1, sizeof(*auths));
    if (!auths)
        return err_set(err, -ENOMEM, "out of memory for credentials");
    auths->engine = engine;
    queue_init(&auths->grants);
    r = engine_add(engine, &auths->child, ENGINE_NET, &auths_kind, on_engine_close);
    if (r < 0) {
        free(auths);
        return err_set(err, r, "the engine is closing");
    }
    *out = auths;
    return 0;
}

static void auths_maybe_free(struct auths *auths)
{
    if (!queue_empty(&auths->grants))
        return;
    engine_remove(auths->engine, &auths->child);
    free(auths);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool grant_is_for(const struct grant *grant, const struct auth_options *options)
{
    return grant->n_auths > 0 && same_text(grant->registry, options->registry) &&
           same_text(grant->repository, options->repository) &&
           same_text(grant->creds, options->creds) &&
           same_text(grant->authfile, options->authfile) &&
           same_text(grant->ca_file, options->trust.ca_file) &&
           same_text(grant->certs_dir, options->trust.certs_dir) &&
           grant->plain_http == options->trust.plain_http;
}

static struct grant *find_grant(struct auths *auths, const struct auth_options *options)
{
    queue_for_each(node, &auths->grants)
    {
        struct grant *grant = container_of(node, struct grant, node);
        if (grant_is_for(grant, options))
            return grant;
    }
    return NULL;
}

/* ------------------------------------------------------------ a grant's memory */

static void free_grant(struct grant *grant)
{
    challenge_fini(&grant->challenge);
    wipe(&grant->header);
    wipe(&grant->refresh_token);
    wipe(&grant->creds);
    free(grant->registry);
    free(grant->repository);
    free(grant->authfile);
    free(grant->ca_file);
    free(grant->certs_dir);
    free(grant);
}

static void maybe_free_grant(struct grant *grant)
{
    struct auths *auths = grant->auths;

    if (grant->n_auths > 0 || grant->busy)
        return;
    assert(queue_empty(&grant->waiting));
    queue_remove(&grant->node);
    free_grant(grant);
    auths_maybe_free(auths);
}

static bool copy(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static int new_grant(struct auths *auths, const struct auth_options *options, struct grant **out,
                     struct clip_error *err)
{
    struct grant *grant = calloc(1, sizeof(*grant));

    if (!grant)
        return err_set(err, -ENOMEM, "out of memory for credentials");
    queue_init(&grant->waiting);
    if (!copy(&grant->registry, options->registry) ||
        !copy(&grant->repository, options->repository) || !copy(&grant->creds, options->creds) ||
        !copy(&grant->authfile, options->authfile) ||
        !copy(&grant->ca_file, options->trust.ca_file) ||
        !copy(&grant->certs_dir, options->trust.certs_dir)) {
        free_grant(grant);
        return err_set(err, -ENOMEM, "out of memory for credentials");
    }
    grant->plain_http = options->trust.plain_http;
    snprintf(grant->scope, sizeof(grant->scope), "repository:%s:pull", options->repository);
    grant->auths = auths;
    queue_push(&auths->grants, &grant->node);
    *out = grant;
    return 0;
}

/* ------------------------------------------------------------------- answering */

static int give_header(struct grant *grant, struct auth_ask *ask)
{
    ask->generation = grant->generation;
    ask->header = NULL;
    if (!grant->header)
        return 0;
    ask->header = strdup(grant->header);
    return ask->header ? 0 : err_set(&ask->err, -ENOMEM, "out of memory for credentials");
}

/* All who wait get what there is now, or the failure. */
static void answer_all(struct grant *grant, int status, const struct clip_error *err)
{
    struct queue asks;
    struct queue *node;

    queue_init(&asks);
    queue_splice(&asks, &grant->waiting);
    if (status < 0)
        log_debug(grant->auths->engine, "auth %s/%s: %s", grant->registry, grant->repository,
                  err->message);
    grant->n_auths++; /* callbacks may close the last auth */
    while ((node = queue_pop(&asks))) {
        struct auth_ask *ask = container_of(node, struct auth_ask, node);
        int r = status;
        if (r < 0)
            ask->err = *err;
        else
            r = give_header(grant, ask);
        ask->done(ask, r);
    }
    grant->n_auths--;
    maybe_free_grant(grant);
}

static void settle(struct grant *grant, int status, const struct clip_error *err)
{
    grant->busy = false;
    answer_all(grant, status, err);
}

/* What people can do about it. */
static int say_refused(const struct grant *grant, const char *what, struct clip_error *err)
{
    if (grant->had_credentials)
        return err_set(err, -EACCES,
                       "%s: access to %s is refused with the credentials that were found%s%s; "
                       "check them (--creds, --authfile, docker login), the name, and whether "
                       "they may pull it",
                       grant->registry, grant->repository, *what ? ": " : "", what);
    return err_set(err, -EACCES,
                   "%s: access to %s is refused%s%s; it is private or does not exist: log in with "
                   "docker login, or give --creds USER:PASS or --authfile FILE",
                   grant->registry, grant->repository, *what ? ": " : "", what);
}

/* -------------------------------------------------------------------- renewing */

static void replace_header(struct grant *grant, char *header)
{
    wipe(&grant->header);
    grant->header = header;
    grant->generation++;
}

static void take_token(struct grant *grant, struct token *token)
{
    uint64_t now = engine_now_ns(), margin = token->expires_s / RENEW_PART;
    char *header;

    if (margin > RENEW_MAX_S)
        margin = RENEW_MAX_S;
    if (margin == 0)
        margin = 1;
    if (asprintf(&header, "Bearer %s", token->text) < 0)
        header = NULL;
    replace_header(grant, header);
    grant->expires_ns = now + token->expires_s * NS_PER_S;
    grant->renew_ns = grant->expires_ns - margin * NS_PER_S;
    if (token->refresh_token) {
        wipe(&grant->refresh_token);
        grant->refresh_token = token->refresh_token;
        token->refresh_token = NULL;
    }
    log_debug(grant->auths->engine, "auth %s/%s: a token for %" PRIu64 " s", grant->registry,
              grant->repository, token->expires_s);
}

static struct net_trust trust_of(const struct grant *grant)
{
    return (struct net_trust){
        .ca_file = grant->ca_file,
        .certs_dir = grant->certs_dir,
        .plain_http = grant->plain_http,
    };
}

/* Nothing that we have is good. Forgotten, so that the next to come begins from the beginning. */
static void settle_refused(struct grant *grant, const char *what)
{
    struct clip_error err;

    replace_header(grant, NULL);
    wipe(&grant->refresh_token);
    grant->scheme = SCHEME_UNKNOWN;
    settle(grant, say_refused(grant, what, &err), &err);
}

static void on_token(void *data, int status, struct token *token, const struct clip_error *err)
{
    struct grant *grant = data;

    grant->fetch = NULL;
    if (status == 0)
        take_token(grant, token);
    token_fini(token);
    if (status == -EACCES)
        settle_refused(grant, err->message);
    else
        settle(grant, status, err);
}

/* Sent as it is, for as long as it is taken. What has just been refused is of no use. */
static void use_header(struct grant *grant, char *header)
{
    if (!header || same_text(header, grant->header)) {
        wipe(&header);
        settle_refused(grant, "");
        return;
    }
    replace_header(grant, header);
    grant->renew_ns = grant->expires_ns = UINT64_MAX;
    settle(grant, 0, NULL);
}

/* A registry's own token in the files. */
static void use_access_token(struct grant *grant, const char *text)
{
    char *header;

    if (asprintf(&header, "Bearer %s", text) < 0)
        header = NULL;
    use_header(grant, header);
}

static void fetch_token(struct grant *grant, struct credentials *credentials)
{
    const struct token_options options = {
        .challenge = &grant->challenge,
        .scope = grant->scope,
        .credentials = credentials,
        .trust = trust_of(grant),
        .done = on_token,
        .data = grant,
    };
    struct clip_error err;
    int r;

    if (credentials->access_token) {
        use_access_token(grant, credentials->access_token);
        return;
    }
    if (credentials->identity_token && grant->refresh_token) {
        wipe(&credentials->identity_token);
        copy(&credentials->identity_token, grant->refresh_token);
    }
    r = token_fetch_open(grant->auths->engine, &options, &grant->fetch, &err);
    if (r < 0)
        settle(grant, r, &err);
}

static void use_basic(struct grant *grant, const struct credentials *credentials)
{
    use_header(grant, credentials->userpass ? basic_header(credentials->userpass) : NULL);
}

static void on_credentials(struct credentials_find *find, int status)
{
    struct grant *grant = container_of(find, struct grant, find);
    struct credentials credentials = find->credentials;

    grant->finding = false;
    if (status < 0) {
        struct clip_error err = find->err;
        err_prefix(&err, "credentials for %s", grant->registry);
        settle(grant, status, &err);
        return;
    }
    find->credentials = (struct credentials){0};
    grant->had_credentials = !credentials_empty(&credentials);
    if (grant->scheme == SCHEME_BEARER)
        fetch_token(grant, &credentials);
    else
        use_basic(grant, &credentials);
    credentials_fini(&credentials);
}

static int renew(struct grant *grant, struct clip_error *err)
{
    struct credentials_options options = {
        .registry = grant->registry,
        .repository = grant->repository,
        .creds = grant->creds,
        .authfile = grant->authfile,
    };
    struct net *net;
    int r;

    if (grant->busy)
        return 0;
    r = net_get(grant->auths->engine, &net, err);
    if (r < 0)
        return r;
    options.helper_ms = net_timeouts(net)->helper_ms;
    grant->busy = grant->finding = true;
    credentials_find(grant->auths->engine, &grant->find, &options, on_credentials);
    return 0;
}

static int wait_for_it(struct grant *grant, struct auth_ask *ask, auth_ask_cb done)
{
    int r;

    r = renew(grant, &ask->err);
    if (r < 0)
        return r;
    ask->done = done;
    queue_push(&grant->waiting, &ask->node);
    return 0;
}

/* ------------------------------------------------------------------ challenges */

/* Bearer before Basic: that is what registries with both mean. */
static int take_challenge(struct grant *grant, const char *text, struct clip_error *err)
{
    struct challenge challenge;
    int r;

    r = challenge_parse(text, &challenge, err);
    if (r < 0)
        return err ? err_prefix(err, "%s", grant->registry) : r;
    if (!challenge.bearer && !challenge.basic) {
        r = err_set(err, -EACCES, "%s wants to be logged in to with %s, which clip cannot do",
                    grant->registry, *challenge.other ? challenge.other : "nothing that it names");
        challenge_fini(&challenge);
        return r;
    }
    challenge_fini(&grant->challenge);
    grant->challenge = challenge;
    grant->scheme = challenge.bearer ? SCHEME_BEARER : SCHEME_BASIC;
    return 0;
}

/* --------------------------------------------------------------------- public */

static int answer_in_place(struct grant *grant, struct auth_ask *ask)
{
    int r = give_header(grant, ask);

    return r < 0 ? r : 1;
}

int auth_ask(struct auth *auth, struct auth_ask *ask, auth_ask_cb done)
{
    struct grant *grant = auth->grant;
    uint64_t now = engine_now_ns();

    *ask = (struct auth_ask){.done = done};
    queue_init(&ask->node);
    if (!grant->header && grant->scheme == SCHEME_UNKNOWN)
        return answer_in_place(grant, ask);
    if (!grant->header || now >= grant->expires_ns)
        return wait_for_it(grant, ask, done);
    if (now >= grant->renew_ns && renew(grant, NULL) == 0)
        grant->renew_ns = now + NS_PER_S; /* should it fail: not with every ask */
    return answer_in_place(grant, ask);
}

int auth_ask_again(struct auth *auth, struct auth_ask *ask, const char *origin,
                   const char *challenges, auth_ask_cb done)
{
    struct grant *grant = auth->grant;
    int r;

    if (++ask->n_refused > REFUSALS_MAX)
        return say_refused(grant, "", &ask->err);
    if (ask->generation != grant->generation && grant->header && !grant->busy)
        return answer_in_place(grant, ask);
    if (!grant->busy) {
        log_debug(grant->auths->engine, "auth %s/%s: 401 from %s", grant->registry,
                  grant->repository, origin);
        r = take_challenge(grant, challenges, &ask->err);
        if (r < 0)
            return r;
        grant->expires_ns = 0;
    }
    return wait_for_it(grant, ask, done);
}

void auth_ask_cancel(struct auth_ask *ask)
{
    queue_remove(&ask->node);
}

int auth_open(struct clip_engine *engine, const struct auth_options *options, struct auth **out,
              struct clip_error *err)
{
    struct auth *auth;
    struct auths *auths = NULL;
    struct grant *grant;
    int r;

    if (options->creds && !strchr(options->creds, ':'))
        return err_set(err, -EINVAL, "credentials are USER:PASS, with a colon between");
    auth = calloc(1, sizeof(*auth));
    if (!auth)
        return err_set(err, -ENOMEM, "out of memory for credentials");
    r = auths_get(engine, &auths, err);
    if (r < 0)
        goto fail;
    grant = find_grant(auths, options);
    r = grant ? 0 : new_grant(auths, options, &grant, err);
    if (r < 0)
        goto fail_auths;
    grant->n_auths++;
    auth->grant = grant;
    *out = auth;
    return 0;

fail_auths:
    auths_maybe_free(auths);
fail:
    free(auth);
    return r;
}

void auth_close(struct auth *auth)
{
    struct grant *grant;

    if (!auth)
        return;
    grant = auth->grant;
    free(auth);
    if (--grant->n_auths > 0)
        return;
    if (grant->finding)
        credentials_find_cancel(&grant->find);
    if (grant->fetch)
        token_fetch_cancel(grant->fetch);
    maybe_free_grant(grant);
}
