/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a transfer is:
 * - start() asks the first endpoint that may be asked; answer_judge() says whether the answer is
 *   what was asked for; slabs go up as they come, and when all are there the transfer ends.
 * Possible failure modes are:
 * - a connection that breaks, a body that is cut, a server that is busy: try_again() moves on to
 *   the next endpoint, after the wait that net/retry wants, and asks for the rest by Range.
 * - an endpoint that ignores Range: what was there already is thrown away.
 * - one that answers with another range than was asked for: it is asked for the whole from now on.
 * - one that refuses or does not have it: the others are asked; it is not asked again. When none
 *   is left, what the last in the list said is the error.
 * - no byte for a long time, however often it was tried: the end.
 * On cancel: the fetch is cancelled or the timer stopped. The end always comes when the timer has
 * closed.
 */
#include "net/transfer.h"

#include "engine/log.h"
#include "net/answer.h"
#include "net/fetch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHUN_MS         10000u /* who did not answer goes last for so long */
#define PATIENCE_READ_S 120u   /* without a byte; somebody waits in read(2) */
#define PATIENCE_BULK_S 600u
#define DRAIN_MAX       16384u /* of an error's body, to keep the connection */
#define NS_PER_MS       1000000ull
#define NS_PER_S        1000000000ull

struct transfer {
    struct clip_engine *engine;
    struct transfer_options options;
    char *path;
    struct endpoint *endpoint;
    bool refused[ENDPOINTS_MAX];
    struct fetch *fetch;
    uv_timer_t timer;
    struct later later;
    struct retry retry;
    bool ending, cancelled;

    /* of the answer that is coming */
    struct answer answer;
    bool answered; /* and judged good */
    bool judged;   /* or bad, with this sentence */
    struct clip_error judgement;
    bool too_long;
    bool cut; /* the fetch was cancelled by us: nothing more is wanted of it */
    uint64_t new_bytes;
    uint64_t asked_ms;
    char *media_type;

    uint64_t got, credit;
    uint64_t progress_ns;
    unsigned n_tries;
    int status; /* of the last failure */
    struct clip_error err;
    struct endpoint *err_of; /* whose error that is */
};

/* ------------------------------------------------------------------- the end */

static void on_timer_closed(uv_handle_t *handle)
{
    struct transfer *self = handle->data;

    later_cancel(&self->later);
    self->options.on_end(self->options.data, self->status, &self->err);
    free(self->media_type);
    free(self->path);
    free(self);
}

static void end(struct transfer *self, int status)
{
    if (self->ending)
        return;
    self->ending = true;
    self->status = status;
    if (status == -ECANCELED)
        err_set(&self->err, status, "cancelled");
    else if (status < 0 && self->n_tries > 1)
        err_prefix(&self->err, "after %u tries", self->n_tries);
    uv_close((uv_handle_t *)&self->timer, on_timer_closed);
}

static void cut_fetch(struct transfer *self)
{
    if (self->cut)
        return;
    self->cut = true;
    fetch_cancel(self->fetch);
}

/* -------------------------------------------------------------- which endpoint */

static bool may_ask(const struct transfer *self, unsigned i)
{
    const struct endpoint *endpoint = &self->options.endpoints->list[i];

    return !endpoint->is_off && !self->refused[i] &&
           (endpoint->resolves || !self->options.resolves);
}

static unsigned count_places(const struct transfer *self, uint64_t now, bool shunned_too)
{
    unsigned n = 0;

    for (unsigned i = 0; i < self->options.endpoints->n; i++)
        n +=
            may_ask(self, i) && (shunned_too || self->options.endpoints->list[i].shunned_ns <= now);
    return n;
}

static unsigned number_of(const struct transfer *self, const struct endpoint *endpoint)
{
    return (unsigned)(endpoint - self->options.endpoints->list);
}

/* The next from `first` on, round the list; one that is shunned only if there is no other. */
static struct endpoint *find_endpoint(struct transfer *self, unsigned first)
{
    const struct endpoints *endpoints = self->options.endpoints;
    uint64_t now = engine_now_ns();
    struct endpoint *best = NULL;

    for (unsigned n = 0; n < endpoints->n; n++) {
        unsigned i = (first + n) % endpoints->n;
        struct endpoint *endpoint = &endpoints->list[i];
        if (!may_ask(self, i))
            continue;
        if (endpoint->shunned_ns <= now)
            return endpoint;
        if (!best || endpoint->shunned_ns < best->shunned_ns)
            best = endpoint;
    }
    return best;
}

/* --------------------------------------------------------------------- failures */

static void start(struct transfer *self);

static void on_timer(uv_timer_t *timer)
{
    start(timer->data);
}

/* The registry stands last in the list, and what it says counts more than what a mirror does. */
static void keep_error(struct transfer *self, int status, const struct clip_error *err)
{
    if (self->err_of && self->endpoint < self->err_of)
        return;
    self->err_of = self->endpoint;
    self->status = status;
    self->err = *err;
}

static void shun(struct transfer *self, uint64_t ms)
{
    uint64_t until = engine_now_ns() + ms * NS_PER_MS;

    if (self->endpoint->shunned_ns < until)
        self->endpoint->shunned_ns = until;
}

static bool out_of_patience(const struct transfer *self)
{
    uint64_t patience_s = self->options.lane == WORK_READ ? PATIENCE_READ_S : PATIENCE_BULK_S;

    return engine_now_ns() - self->progress_ns > patience_s * NS_PER_S;
}

/* A name that is wrong, or a registry that is not running, is told while who typed it waits. */
static bool is_out_of_reach(const struct transfer *self)
{
    uint64_t enough_ms = self->options.policy->unreached_ms;

    return enough_ms > 0 && engine_now_ns() - self->progress_ns > enough_ms * NS_PER_MS &&
           (self->status == -ECONNREFUSED || self->status == -EHOSTUNREACH ||
            self->status == -ENETUNREACH);
}

/* What came is void where it cannot be continued. */
static void forget_bytes(struct transfer *self)
{
    if (!self->options.open_ended || self->got == 0)
        return;
    self->credit += self->got;
    self->got = 0;
    self->options.on_restart(self->options.data);
}

static void wait_and_start(struct transfer *self, uint64_t asked_ms)
{
    uint64_t now = engine_now_ns(), wait_ms;
    unsigned n_places = count_places(self, now, true);

    if (count_places(self, now, false) > 0)
        asked_ms = 0; /* somebody else is asked meanwhile */
    if (out_of_patience(self) ||
        !retry_after(&self->retry, self->new_bytes, asked_ms, n_places, &wait_ms) ||
        (wait_ms > 0 && is_out_of_reach(self))) {
        end(self, self->status);
        return;
    }
    log_debug(self->engine, "transfer %s: try %u: %s; again in %" PRIu64 " ms", self->path,
              self->n_tries, self->err.message, wait_ms);
    self->endpoint = find_endpoint(self, number_of(self, self->endpoint) + 1);
    uv_timer_start(&self->timer, on_timer, wait_ms, 0);
}

/* A try has failed. */
static void try_again(struct transfer *self, int status, const struct clip_error *err)
{
    keep_error(self, status, err);
    if (self->answer.verdict == ANSWER_REFUSED)
        self->refused[number_of(self, self->endpoint)] = true;
    else if (self->asked_ms > 0 || self->new_bytes == 0)
        shun(self, self->asked_ms > 0 ? self->asked_ms : SHUN_MS);
    forget_bytes(self);
    if (self->cancelled)
        end(self, -ECANCELED);
    else if (count_places(self, 0, true) == 0)
        end(self, self->status);
    else
        wait_and_start(self, self->asked_ms);
}

/* ------------------------------------------------------------- what is answered */

static void note_media_type(struct transfer *self, const struct fetch *fetch)
{
    const char *type = fetch_get_header(fetch, "Content-Type");

    free(self->media_type);
    self->media_type = type ? strndup(type, strcspn(type, "; \t")) : NULL;
}

/* An error's body is read to its end if it is short, so that the connection can be used again. */
static void drain(struct transfer *self, struct fetch *fetch)
{
    uint64_t len;

    if (fetch_content_length(fetch, &len) == 0 && len <= DRAIN_MAX)
        fetch_credit(fetch, DRAIN_MAX);
    else
        cut_fetch(self);
}

static void on_response(void *data, struct fetch *fetch)
{
    struct transfer *self = data;
    int r;

    if (fetch_retry_after(fetch, &self->asked_ms) < 0)
        self->asked_ms = 0;
    r = answer_judge(&self->answer, fetch, &self->judgement);
    if (self->answer.is_real)
        endpoint_settle(self->endpoint);
    self->judged = r < 0;
    self->answered = r == 0;
    if (r < 0) {
        drain(self, fetch);
        return;
    }
    self->asked_ms = 0;
    note_media_type(self, fetch);
    if (self->answer.skip > 0)
        fetch_credit(fetch, self->answer.skip);
}

/* ------------------------------------------------------------------------ bytes */

static void drop_front(struct slab *slab, size_t len)
{
    memmove(slab->bytes, slab->bytes + len, slab->len - len);
    slab->len -= len;
}

/* What of this slab is wanted stays in it. */
static void trim(struct transfer *self, struct slab *slab)
{
    uint64_t skipped = self->answer.skip < slab->len ? self->answer.skip : slab->len;
    uint64_t wanted = self->options.len - self->got;

    if (skipped > 0) {
        self->answer.skip -= skipped;
        drop_front(slab, (size_t)skipped);
    }
    if (slab->len > wanted)
        slab->len = (size_t)wanted;
}

static void on_slab(void *data, struct slab *slab)
{
    struct transfer *self = data;
    uint64_t before;

    self->progress_ns = engine_now_ns();
    if (!self->answered || self->cut) {
        slab_unlock(slab);
        return;
    }
    before = slab->len;
    trim(self, slab);
    self->too_long = self->options.open_ended && slab->len < before;
    if (slab->len == 0 || self->too_long) {
        slab_unlock(slab);
        if (self->too_long)
            cut_fetch(self);
        return;
    }
    self->got += slab->len;
    self->new_bytes += slab->len;
    self->credit -= slab->len < self->credit ? slab->len : self->credit;
    if (!self->options.open_ended && self->got == self->options.len && !self->answer.ends_itself)
        cut_fetch(self); /* its end is not waited for */
    self->options.on_slab(self->options.data, slab);
}

static bool is_complete(const struct transfer *self, int status)
{
    if (self->options.open_ended)
        return status == 0 && self->answered;
    return self->got == self->options.len;
}

static void say_cut(struct transfer *self, struct clip_error *err)
{
    err_set(err, -ECONNRESET, "%s%s: the body ended after %" PRIu64 " of %" PRIu64 " bytes",
            self->endpoint->base, self->path, self->got, self->options.len);
}

/* The other scheme is not tried where TLS was understood and the name is not proven. */
static void judge_fetch_error(struct transfer *self, int status, struct clip_error *err)
{
    bool has_twin = self->endpoint->twin != NULL;

    if (status == -EKEYREJECTED || status == -EACCES)
        endpoint_settle(self->endpoint);
    else if (has_twin)
        return; /* it may be the wrong scheme: go on to the other */
    if (!fetch_may_retry(status))
        self->answer.verdict = ANSWER_REFUSED;
    if (!strstr(err->message, self->path))
        err_prefix(err, "%s%s", self->endpoint->base, self->path);
}

static void on_end(void *data, int status, const struct clip_error *fetch_err)
{
    struct transfer *self = data;
    struct clip_error err;

    self->fetch = NULL;
    if (self->cancelled) {
        end(self, -ECANCELED);
        return;
    }
    if (self->too_long) {
        try_again(self, answer_is_too_long(&self->answer, &err), &err);
    } else if (is_complete(self, status)) {
        end(self, 0);
    } else if (self->judged) {
        err = self->judgement;
        try_again(self, err.code, &err);
    } else if (status < 0) {
        err = *fetch_err;
        judge_fetch_error(self, status, &err);
        try_again(self, status, &err);
    } else {
        say_cut(self, &err);
        try_again(self, -ECONNRESET, &err);
    }
}

/* ------------------------------------------------------------------------ a try */

/* bytes=FIRST-LAST, unless the whole is wanted or ranges are of no use. */
static bool print_range(const struct transfer *self, char *out, size_t out_len)
{
    const struct transfer_options *options = &self->options;
    uint64_t first = options->off + self->got;

    if (options->open_ended || self->endpoint->without_range ||
        (first == 0 && options->len == options->size))
        return false;
    snprintf(out, out_len, "bytes=%" PRIu64 "-%" PRIu64, first, options->off + options->len - 1);
    return true;
}

static int open_fetch(struct transfer *self, const char *url, struct clip_error *err)
{
    struct fetch_header headers[3];
    char range[64];
    struct fetch_options options = {
        .url = url,
        .headers = headers,
        .auth = self->endpoint->auth,
        .lane = self->options.lane,
        .trust = self->endpoint->trust,
        .on_response = on_response,
        .on_slab = on_slab,
        .on_end = on_end,
        .data = self,
    };

    if (self->options.accept)
        headers[options.n_headers++] = (struct fetch_header){"Accept", self->options.accept};
    if (self->options.attempt > 0)
        headers[options.n_headers++] = (struct fetch_header){"Cache-Control", "no-cache"};
    self->answer.ranged = print_range(self, range, sizeof(range));
    if (self->answer.ranged)
        headers[options.n_headers++] = (struct fetch_header){"Range", range};
    return fetch_open(self->engine, &options, &self->fetch, err);
}

static void start(struct transfer *self)
{
    struct clip_error err;
    char *url;
    int r;

    self->answered = self->judged = self->too_long = self->cut = false;
    self->answer = (struct answer){.engine = self->engine,
                                   .path = self->path,
                                   .endpoint = self->endpoint,
                                   .open_ended = self->options.open_ended,
                                   .off = self->options.off,
                                   .len = self->options.len,
                                   .got = self->got,
                                   .size = self->options.size,
                                   .verdict = ANSWER_AGAIN};
    self->new_bytes = self->asked_ms = 0;
    self->n_tries++;
    if (asprintf(&url, "%s%s%s", self->endpoint->base, self->path, self->endpoint->query) < 0) {
        end(self, err_set(&self->err, -ENOMEM, "out of memory for a URL"));
        return;
    }
    r = open_fetch(self, url, &err);
    free(url);
    if (r == 0) {
        /* a byte more shows whether something comes behind the end */
        fetch_credit(self->fetch, self->credit + self->options.open_ended);
        return;
    }
    self->answer.verdict = ANSWER_REFUSED;
    try_again(self, r, &err);
}

static void start_later(struct later *later)
{
    struct transfer *self = container_of(later, struct transfer, later);

    if (self->ending)
        return;
    self->endpoint = find_endpoint(self, self->options.attempt % self->options.endpoints->n);
    if (!self->endpoint)
        end(self, err_set(&self->err, -ENOENT,
                          "no mirror may be asked for tags (capabilities in hosts.toml)"));
    else if (!self->options.open_ended && self->options.len == 0)
        end(self, 0);
    else
        start(self);
}

/* ----------------------------------------------------------------------- public */

int transfer_open(struct clip_engine *engine, const struct transfer_options *options,
                  struct transfer **out, struct clip_error *err)
{
    struct transfer *self = calloc(1, sizeof(*self));

    if (self)
        self->path = strdup(options->path);
    if (!self || !self->path) {
        free(self);
        return err_set(err, -ENOMEM, "out of memory for a transfer");
    }
    self->engine = engine;
    self->options = *options;
    self->progress_ns = engine_now_ns();
    uv_timer_init(engine_loop(engine), &self->timer);
    self->timer.data = self;
    later_init(&self->later);
    retry_init(&self->retry, options->policy, (uint64_t)(uintptr_t)self ^ self->progress_ns);
    later_call(engine, &self->later, start_later);
    *out = self;
    return 0;
}

void transfer_credit(struct transfer *self, uint64_t len)
{
    if (__builtin_add_overflow(self->credit, len, &self->credit))
        self->credit = UINT64_MAX;
    if (self->fetch && !self->cut)
        fetch_credit(self->fetch, len);
}

void transfer_cancel(struct transfer *self)
{
    if (self->cancelled)
        return;
    self->cancelled = true;
    if (self->fetch)
        cut_fetch(self);
    else if (!self->ending)
        end(self, -ECANCELED);
    else
        self->status = err_set(&self->err, -ECANCELED, "cancelled");
}

const char *transfer_media_type(const struct transfer *self)
{
    return self->media_type;
}
