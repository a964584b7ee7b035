/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to try again: the one place that decides. Pure; whoever waits has the timer.
 *
 * Waiting times double from `base_ms` to `cap_ms`, and half of each is random, so that many who
 * failed together do not come back together. What a server asks for (Retry-After) is the least
 * that is waited. Bytes that came start the count anew: a download that is cut every minute ends.
 */
#ifndef CLIP_NET_RETRY_H
#define CLIP_NET_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_policy {
    unsigned tries; /* in a row without progress */
    uint64_t base_ms, cap_ms;
    uint64_t wait_max_ms;    /* the longest Retry-After that is obeyed; past it we give up */
    uint64_t progress_bytes; /* fewer since the last failure are no progress */
    uint64_t unreached_ms;   /* nobody answers at all: no more waiting after so long; 0: wait on */
};

extern const struct retry_policy retry_defaults;
/* Of the first request to an image, whose name is new and may be wrong: somebody watches. */
extern const struct retry_policy retry_resolving;

struct retry {
    /* read-only */
    unsigned n_failures; /* all in all */
    /* private */
    struct retry_policy policy;
    unsigned n_in_a_row;
    uint64_t random;
};

/* `seed` differs from one to the next. */
void retry_init(struct retry *retry, const struct retry_policy *policy, uint64_t seed);

/* It failed, after so many bytes; the server asked to wait for `asked_ms` (0: it did not).
 * `n_places` is how many may be asked in turn: each is asked once before anybody waits, unless it
 * was told to. False: give up. */
bool retry_after(struct retry *retry, uint64_t bytes, uint64_t asked_ms, unsigned n_places,
                 uint64_t *out_wait_ms);

#endif
