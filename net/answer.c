/* SPDX-License-Identifier: Apache-2.0 */
/* What servers answer, and what it means: a part that is the one that was asked for, a whole that
 * must be cut, a refusal that is final, a failure that may pass, or a lie. An endpoint that turns
 * out to ignore Range, or to lie about it, is marked for all who will ask it. */
#include "net/answer.h"

#include "engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int say(struct answer *self, int code, enum answer_verdict verdict, const char *what,
               struct clip_error *err)
{
    self->verdict = verdict;
    return err_set(err, code, "%s%s: %s", self->endpoint->base, self->path, what);
}

static int say_missing(struct answer *self, struct clip_error *err)
{
    if (strncmp(self->path, "manifests/", 10) == 0)
        return say(self, -ENOENT, ANSWER_REFUSED,
                   "there is no such image; check its name and its tag", err);
    return say(self, -ENOENT, ANSWER_REFUSED,
               "the registry does not have this blob; the image may have been deleted there", err);
}

int answer_is_too_long(struct answer *self, struct clip_error *err)
{
    char what[64];

    snprintf(what, sizeof(what), "it is longer than %" PRIu64 " bytes", self->len);
    return say(self, CLIP_EFORMAT, ANSWER_REFUSED, what, err);
}

static bool is_real(const struct answer *self, unsigned status)
{
    return status != 400 || strncmp(self->endpoint->base, "http://", 7) != 0;
}

static int judge_failure(struct answer *self, unsigned status, struct clip_error *err)
{
    char what[80];

    if (status == 404 || status == 410)
        return say_missing(self, err);
    if (status == 401 || status == 403)
        return say(self, -EACCES, ANSWER_REFUSED,
                   "access is refused: log in with docker login, or give --creds or --authfile; or "
                   "the name is wrong",
                   err);
    snprintf(what, sizeof(what),
             status == 429           ? "too many requests (%u)"
             : is_real(self, status) ? "the server answered %u"
                                     : "the server answered %u to http (does it want https there?)",
             status);
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        return say(self, status == 429 ? -EAGAIN : -EIO, ANSWER_AGAIN, what, err);
    return say(self, -EIO, ANSWER_REFUSED, what, err);
}

/* Asked for the whole from now on. */
static int judge_liar(struct answer *self, const char *what, struct clip_error *err)
{
    if (!self->endpoint->without_range)
        log_warn(self->engine, "registry %s: %s; it is asked for whole blobs from now on",
                 self->endpoint->base, what);
    self->endpoint->without_range = true;
    return say(self, -EIO, ANSWER_AGAIN, what, err);
}

static int judge_partial(struct answer *self, const struct fetch *fetch, struct clip_error *err)
{
    uint64_t off, len, total, size, wanted = self->len - self->got;

    if (!self->ranged)
        return judge_liar(self, "it answers with a part where the whole was asked for", err);
    if (fetch_content_range(fetch, &off, &len, &total) < 0)
        return judge_liar(self, "it answers with a part and does not say which", err);
    if (off != self->off + self->got || len > wanted ||
        (total != UINT64_MAX && total != self->size))
        return judge_liar(self, "it answers with another range than was asked for", err);
    self->ends_itself = fetch_content_length(fetch, &size) == 0 && size == len;
    return 0;
}

static int judge_whole(struct answer *self, const struct fetch *fetch, struct clip_error *err)
{
    char what[128];
    uint64_t size;

    self->ends_itself = fetch_content_length(fetch, &size) == 0;
    if (self->open_ended)
        return !self->ends_itself || size <= self->len ? 0 : answer_is_too_long(self, err);
    if (self->ends_itself && size != self->size) {
        snprintf(what, sizeof(what), "it has %" PRIu64 " bytes there, not %" PRIu64, size,
                 self->size);
        return say(self, CLIP_EDIGEST, ANSWER_REFUSED, what, err);
    }
    self->skip = self->off + self->got;
    self->ends_itself = self->ends_itself && self->off + self->len == self->size;
    if (self->ranged && !self->endpoint->ignores_range) {
        self->endpoint->ignores_range = true;
        log_warn(self->engine, "registry %s: it ignores ranges; reading takes whole blobs",
                 self->endpoint->base);
    }
    return 0;
}

int answer_judge(struct answer *self, const struct fetch *fetch, struct clip_error *err)
{
    unsigned status = fetch_status(fetch);

    self->skip = 0;
    self->is_real = is_real(self, status);
    if (status == 200)
        return judge_whole(self, fetch, err);
    if (status == 206)
        return judge_partial(self, fetch, err);
    if (status == 416)
        return say(self, CLIP_EDIGEST, ANSWER_REFUSED, "it is shorter there than it should be",
                   err);
    return judge_failure(self, status, err);
}
