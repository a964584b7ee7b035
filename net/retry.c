/* SPDX-License-Identifier: Apache-2.0 */
/* A wait is base * 2^n up to the cap, its upper half by chance. Failure: none, but the answer
 * that it is enough. */
#include "net/retry.h"

const struct retry_policy retry_defaults = {
    .tries = 9,
    .base_ms = 100,
    .cap_ms = 5000,
    .wait_max_ms = 120000,
    .progress_bytes = 16384,
};

const struct retry_policy retry_resolving = {
    .tries = 9,
    .base_ms = 100,
    .cap_ms = 5000,
    .wait_max_ms = 120000,
    .progress_bytes = 16384,
    .unreached_ms = 1000,
};

void retry_init(struct retry *retry, const struct retry_policy *policy, uint64_t seed)
{
    *retry = (struct retry){.policy = *policy, .random = seed | 1};
}

/* xorshift64: nothing hangs on its quality. */
static uint64_t next_random(struct retry *retry)
{
    retry->random ^= retry->random << 13;
    retry->random ^= retry->random >> 7;
    retry->random ^= retry->random << 17;
    return retry->random;
}

static uint64_t backoff(struct retry *retry, unsigned round)
{
    uint64_t wait = retry->policy.base_ms;

    while (round-- > 0 && wait < retry->policy.cap_ms)
        wait *= 2;
    if (wait > retry->policy.cap_ms)
        wait = retry->policy.cap_ms;
    return wait / 2 + next_random(retry) % (wait / 2 + 1);
}

bool retry_after(struct retry *retry, uint64_t bytes, uint64_t asked_ms, unsigned n_places,
                 uint64_t *out_wait_ms)
{
    unsigned round;

    if (bytes >= retry->policy.progress_bytes)
        retry->n_in_a_row = 0;
    retry->n_failures++;
    if (++retry->n_in_a_row >= retry->policy.tries || asked_ms > retry->policy.wait_max_ms)
        return false;
    round = (retry->n_in_a_row - 1) / n_places;
    *out_wait_ms = retry->n_in_a_row % n_places ? 0 : backoff(retry, round);
    if (*out_wait_ms < asked_ms)
        *out_wait_ms = asked_ms + backoff(retry, 0);
    return true;
}
