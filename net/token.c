/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a token is:
 * - the query is made of what the challenge says; with an identity token it is the body of a POST,
 *   else a GET with the user's name and password, or with nothing.
 * - one fetch brings the answer, which is parsed.
 * Possible failure modes are: the server refuses (-EACCES), it answers what is no token, it fails
 * or is busy: then the timer waits as net/retry says, and the fetch is made again.
 * On cancel: the fetch is cancelled or the timer stopped; done comes when the timer has closed.
 */
#include "net/token.h"

#include "net/basic.h"
#include "net/fetch.h"
#include "net/json.h"
#include "net/retry.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (256u << 10)

static const struct retry_policy policy = {
    .tries = 6, .base_ms = 100, .cap_ms = 5000, .wait_max_ms = 60000, .progress_bytes = UINT64_MAX};

struct token_fetch {
    struct clip_engine *engine;
    struct token_options options;
    char *url, *body, *authorization;
    struct fetch *fetch;
    uv_timer_t timer;
    struct later later;
    struct retry retry;
    bool ending, cancelled;
    unsigned http_status;
    uint64_t asked_ms;
    char shown[256]; /* the URL for messages */
    char *text;
    size_t len;
    struct token token;
    int status;
    struct clip_error err;
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void token_fini(struct token *token)
{
    wipe(token->text);
    wipe(token->refresh_token);
    *token = (struct token){0};
}

/* ------------------------------------------------------------------ the query */

/* A string that grows; NULL after a failure. */
static void add(char **text, const char *more, size_t len)
{
    size_t used = *text ? strlen(*text) : 0;
    char *grown = *text ? malloc(used + len + 1) : NULL;

    if (grown) {
        memcpy(grown, *text, used);
        memcpy(grown + used, more, len);
        grown[used + len] = '\0';
    }
    wipe(*text);
    *text = grown;
}

static void add_encoded(char **text, const char *value, size_t len)
{
    char coded[4];

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if (isalnum(c) || strchr("-._~:/", c))
            add(text, &value[i], 1);
        else
            add(text, coded, (size_t)snprintf(coded, sizeof(coded), "%%%02X", c));
    }
}

static void add_field(char **text, const char *name, const char *value, size_t len)
{
    size_t used = *text ? strlen(*text) : 0;

    if (used > 0 && !strchr("?&", (*text)[used - 1]))
        add(text, "&", 1);
    add(text, name, strlen(name));
    add(text, "=", 1);
    add_encoded(text, value, len);
}

/* Scopes are a field each in a query, one field in a form. */
static void add_scope(char **text, const char *scope, bool is_form)
{
    while (*scope) {
        size_t len = is_form ? strlen(scope) : strcspn(scope, " ");
        add_field(text, "scope", scope, len);
        scope += len;
        scope += strspn(scope, " ");
    }
}

static void add_fields(char **text, const struct token_options *options, bool is_form)
{
    const struct challenge *challenge = options->challenge;

    if (challenge->service)
        add_field(text, "service", challenge->service, strlen(challenge->service));
    add_scope(text, challenge->scope ? challenge->scope : options->scope, is_form);
    add_field(text, "client_id", "clip", 4);
}

/* What is sent to whom. -ENOMEM. */
static int make_request(struct token_fetch *self, const struct credentials *credentials)
{
    const char *realm = self->options.challenge->realm;

    self->url = strdup(realm);
    if (credentials->identity_token) {
        self->body = strdup("");
        add_fields(&self->body, &self->options, true);
        add_field(&self->body, "grant_type", "refresh_token", strlen("refresh_token"));
        add_field(&self->body, "refresh_token", credentials->identity_token,
                  strlen(credentials->identity_token));
        return self->url && self->body ? 0 : -ENOMEM;
    }
    add(&self->url, strchr(realm, '?') ? "&" : "?", 1);
    add_fields(&self->url, &self->options, false);
    if (credentials->userpass)
        self->authorization = basic_header(credentials->userpass);
    return self->url && (self->authorization || !credentials->userpass) ? 0 : -ENOMEM;
}

/* ----------------------------------------------------------------- the answer */

static int copy_token(const json_t *object, const char *key, char **out)
{
    const char *text = json_get_printable(object, key, TOKEN_MAX);

    if (text)
        *out = strdup(text);
    return text && !*out ? -ENOMEM : 0;
}

static int take_token(const json_t *object, struct token *out, struct clip_error *err)
{
    int r;

    *out = (struct token){0};
    if (json_get_size(object, "expires_in", &out->expires_s) < 0 || out->expires_s == 0)
        out->expires_s = TOKEN_EXPIRES_S;
    if (out->expires_s > TOKEN_EXPIRES_S_MAX)
        out->expires_s = TOKEN_EXPIRES_S_MAX;
    r = copy_token(object, "token", &out->text);
    if (r == 0 && !out->text)
        r = copy_token(object, "access_token", &out->text);
    if (r == 0)
        r = copy_token(object, "refresh_token", &out->refresh_token);
    if (r == 0 && !out->text)
        return err_set(err, CLIP_EFORMAT, "the answer holds no token");
    return r < 0 ? err_set(err, r, "out of memory for a token") : 0;
}

int token_parse(const void *text, size_t len, struct token *out, struct clip_error *err)
{
    struct token token;
    json_t *object;
    int r;

    /* not the parser's own words: they quote what they stumble over */
    r = json_object_load(text, len, &object, NULL);
    if (r < 0)
        return err_set(err, r, "the answer is not a JSON object");
    r = take_token(object, &token, err);
    json_decref(object);
    if (r < 0)
        token_fini(&token);
    else
        *out = token;
    return r;
}

/* -------------------------------------------------------------------- the end */

static void on_timer_closed(uv_handle_t *handle)
{
    struct token_fetch *self = handle->data;
    struct token_options options = self->options;
    struct clip_error err = self->err;
    struct token token = self->token;
    int status = self->status;

    later_cancel(&self->later);
    wipe(self->url);
    wipe(self->body);
    wipe(self->authorization);
    if (self->text)
        explicit_bzero(self->text, ANSWER_MAX);
    free(self->text);
    free(self);
    options.done(options.data, status, &token, &err);
}

static void end(struct token_fetch *self, int status)
{
    if (self->ending)
        return;
    self->ending = true;
    self->status = status;
    uv_close((uv_handle_t *)&self->timer, on_timer_closed);
}

/* ------------------------------------------------------------------ the fetch */

static void start(struct token_fetch *self);

static void on_timer(uv_timer_t *timer)
{
    start(timer->data);
}

static void try_again_or_end(struct token_fetch *self, int status)
{
    uint64_t wait_ms;

    if (self->cancelled || !retry_after(&self->retry, 0, self->asked_ms, 1, &wait_ms))
        end(self, status);
    else
        uv_timer_start(&self->timer, on_timer, wait_ms, 0);
}

static void on_response(void *data, struct fetch *fetch)
{
    struct token_fetch *self = data;

    self->http_status = fetch_status(fetch);
    snprintf(self->shown, sizeof(self->shown), "%s", fetch_url(fetch));
    if (fetch_retry_after(fetch, &self->asked_ms) < 0)
        self->asked_ms = 0;
}

static void on_slab(void *data, struct slab *slab)
{
    struct token_fetch *self = data;
    size_t room = ANSWER_MAX - self->len;
    size_t len = slab->len < room ? slab->len : room;

    memcpy(self->text + self->len, slab->bytes, len);
    self->len += len;
    explicit_bzero(slab->bytes, slab->len);
    slab_unlock(slab);
    if (self->len == ANSWER_MAX)
        fetch_cancel(self->fetch); /* no token is that long */
}

static int say_status(struct token_fetch *self)
{
    if (self->http_status == 401 || self->http_status == 403)
        return err_set(&self->err, -EACCES, "the token server %s answered %u", self->shown,
                       self->http_status);
    return err_set(&self->err, -EIO, "the token server %s answered %u", self->shown,
                   self->http_status);
}

static void take_answer(struct token_fetch *self)
{
    int r;

    if (self->http_status != 200) {
        r = say_status(self);
        if (self->http_status == 429 || self->http_status >= 500)
            try_again_or_end(self, r);
        else
            end(self, r);
        return;
    }
    r = token_parse(self->text, self->len, &self->token, &self->err);
    if (r < 0)
        err_prefix(&self->err, "the token server %s", self->shown);
    end(self, r);
}

static void on_end(void *data, int status, const struct clip_error *err)
{
    struct token_fetch *self = data;

    self->fetch = NULL;
    if (self->cancelled)
        status = err_set(&self->err, -ECANCELED, "cancelled");
    else if (self->len == ANSWER_MAX)
        status = err_set(&self->err, CLIP_EFORMAT, "the token server %s answers without end",
                         self->shown);
    else if (status < 0)
        self->err = *err;
    if (status < 0 && fetch_may_retry(status))
        try_again_or_end(self, status);
    else if (status < 0)
        end(self, status);
    else
        take_answer(self);
}

static void start(struct token_fetch *self)
{
    const struct fetch_header form = {"Content-Type", "application/x-www-form-urlencoded"};
    const struct fetch_options options = {
        .url = self->url,
        .method = self->body ? FETCH_POST : FETCH_GET,
        .headers = &form,
        .n_headers = self->body ? 1 : 0,
        .authorization = self->authorization,
        .body = self->body,
        .body_len = self->body ? strlen(self->body) : 0,
        .lane = WORK_READ,
        .trust = self->options.trust,
        .on_response = on_response,
        .on_slab = on_slab,
        .on_end = on_end,
        .data = self,
    };
    int r;

    self->len = 0;
    self->asked_ms = 0;
    r = fetch_open(self->engine, &options, &self->fetch, &self->err);
    if (r < 0)
        end(self, r);
    else
        fetch_credit(self->fetch, ANSWER_MAX);
}

static void start_later(struct later *later)
{
    struct token_fetch *self = container_of(later, struct token_fetch, later);

    if (!self->ending)
        start(self);
}

int token_fetch_open(struct clip_engine *engine, const struct token_options *options,
                     struct token_fetch **out, struct clip_error *err)
{
    struct token_fetch *self = calloc(1, sizeof(*self));

    if (self) {
        self->options = *options;
        self->text = malloc(ANSWER_MAX);
    }
    if (!self || !self->text || make_request(self, options->credentials) < 0) {
        if (self) {
            wipe(self->url);
            wipe(self->body);
            free(self->text);
        }
        free(self);
        return err_set(err, -ENOMEM, "out of memory for a token");
    }
    self->engine = engine;
    self->options.credentials = NULL;
    uv_timer_init(engine_loop(engine), &self->timer);
    self->timer.data = self;
    later_init(&self->later);
    retry_init(&self->retry, &policy, engine_now_ns());
    later_call(engine, &self->later, start_later);
    *out = self;
    return 0;
}

void token_fetch_cancel(struct token_fetch *self)
{
    if (self->cancelled)
        return;
    self->cancelled = true;
    if (self->fetch)
        fetch_cancel(self->fetch);
    else if (!self->ending)
        end(self, err_set(&self->err, -ECANCELED, "cancelled"));
}
