/* SPDX-License-Identifier: Apache-2.0 */
/* Is an endpoint's answer what a transfer asked for, and if not, what is to become of the endpoint?
 */
#ifndef CLIP_NET_ANSWER_H
#define CLIP_NET_ANSWER_H

#include "net/endpoint.h"
#include "net/fetch.h"

/* What becomes of an endpoint after a failure. */
enum answer_verdict {
    ANSWER_AGAIN,  /* it may do better */
    ANSWER_REFUSED /* not for this transfer */
};

struct answer {
    /* public: what was asked for */
    struct clip_engine *engine;
    const char *path;
    struct endpoint *endpoint;
    bool open_ended;   /* the length is not known: up to `len` bytes, from 0 */
    uint64_t off, len; /* the bytes that are wanted, */
    uint64_t got;      /* of which so many came before, */
    uint64_t size;     /* of the whole, unless it is open-ended */
    bool ranged;       /* a part was asked for */
    /* read-only */
    bool is_real;     /* a registry's; what TLS says to who speaks http is not */
    uint64_t skip;    /* bytes before what is wanted */
    bool ends_itself; /* with the last byte that is wanted */
    enum answer_verdict verdict;
};

/* 0: the bytes that come are those that are wanted, `skip` of them before. Else a negative errno, a
 * sentence that names the URL, and `verdict`. */
int answer_judge(struct answer *answer, const struct fetch *fetch, struct clip_error *err);
/* As a failure of answer_judge(): more came than may. */
int answer_is_too_long(struct answer *answer, struct clip_error *err);

#endif
