/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential helper's run: docker-credential-NAME get, from $PATH, without a shell, with a time
 * limit and bounded output. What is asked goes to its standard input. A handle that ends by itself.
 * On the loop's thread.
 */
#ifndef CLIP_NET_HELPER_H
#define CLIP_NET_HELPER_H

#include "engine/engine.h"

#define HELPER_OUTPUT_MAX (64u << 10)

struct helper;

/* Exactly once, not from inside a call; the helper is gone after it. 0: it ended well and this is
 * what it said, which is wiped afterwards. -ENODATA: it knows nothing of that server. */
typedef void (*helper_cb)(void *data, int status, const char *text, size_t len,
                          const struct clip_error *err);

struct helper_options {
    const char *name;   /* what stands behind docker-credential- */
    const char *server; /* copied */
    uint64_t timeout_ms;
    helper_cb done;
    void *data;
};

/* -ENOENT and its kin, with a sentence, if it cannot be run. */
int helper_open(struct clip_engine *engine, const struct helper_options *options,
                struct helper **out, struct clip_error *err);
/* Kills it; done comes with -ECANCELED. */
void helper_cancel(struct helper *helper);

#endif
