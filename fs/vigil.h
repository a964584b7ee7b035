/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does it pay to look for the next request a moment longer, before the loop goes to sleep? Where
 * requests follow each other closely, to be woken for each costs more than to answer it. Where they
 * do not, nothing is spent. Pure: the caller has the clock.
 */
#ifndef CLIP_FS_VIGIL_H
#define CLIP_FS_VIGIL_H

#include <stdbool.h>
#include <stdint.h>

#define VIGIL_NS 100000u /* how long it is, at most */

struct vigil {
    /* private */
    uint64_t idle_ns; /* since when there is nothing; 0: there is */
    unsigned n_close; /* requests that came soon after that, in a row */
};

/* There is something to do. */
void vigil_woken(struct vigil *vigil, uint64_t now_ns);
/* Nothing is left: is it worth VIGIL_NS? */
bool vigil_pays(const struct vigil *vigil);
/* Nothing is left; `in_vain`: and VIGIL_NS were spent on looking. */
void vigil_sleeps(struct vigil *vigil, bool in_vain, uint64_t now_ns);

#endif
