/* SPDX-License-Identifier: Apache-2.0 */
/* As a hypervisor polls before it halts. A request is close when it would have been found by
 * looking; ENOUGH of them in a row, and it pays until nothing is found once. */
#include "fs/vigil.h"

#define WAKING_NS 30000u /* what it takes to hear of a request, asleep */
#define ENOUGH    3u

void vigil_woken(struct vigil *vigil, uint64_t now_ns)
{
    if (vigil->idle_ns == 0)
        return;
    if (now_ns - vigil->idle_ns < VIGIL_NS + WAKING_NS)
        vigil->n_close++;
    else
        vigil->n_close = 0;
    vigil->idle_ns = 0;
}

bool vigil_pays(const struct vigil *vigil)
{
    return vigil->n_close >= ENOUGH;
}

void vigil_sleeps(struct vigil *vigil, bool in_vain, uint64_t now_ns)
{
    if (in_vain)
        vigil->n_close = 0;
    vigil->idle_ns = now_ns;
}
