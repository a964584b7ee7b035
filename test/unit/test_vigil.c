/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/vigil.h"

#include <criterion/criterion.h>

#define US 1000u

static uint64_t now_ns = 1000000000;

/* `n` requests, each so long after there was nothing more. */
static void requests(struct vigil *vigil, int n, uint64_t gap_ns)
{
    for (int i = 0; i < n; i++) {
        vigil_sleeps(vigil, false, now_ns);
        now_ns += gap_ns;
        vigil_woken(vigil, now_ns);
        now_ns += 10 * US;
    }
}

Test(vigil, pays_once_requests_have_followed_each_other_closely)
{
    struct vigil vigil = {0};

    cr_expect(!vigil_pays(&vigil));
    requests(&vigil, 1, 30 * US);
    cr_expect(!vigil_pays(&vigil));
    requests(&vigil, 3, 30 * US);
    cr_expect(vigil_pays(&vigil));
}

Test(vigil, never_pays_where_they_are_far_between)
{
    struct vigil vigil = {0};

    requests(&vigil, 100, 200 * US);
    cr_expect(!vigil_pays(&vigil));
    requests(&vigil, 3, 30 * US);
    requests(&vigil, 1, 200 * US);
    cr_expect(!vigil_pays(&vigil));
}

Test(vigil, pays_no_more_when_it_was_in_vain_once)
{
    struct vigil vigil = {0};

    requests(&vigil, 5, 30 * US);
    vigil_sleeps(&vigil, true, now_ns);
    cr_expect(!vigil_pays(&vigil));
}

/* A turn that ended for its length, not for want of requests. */
Test(vigil, pays_on_while_requests_are_left)
{
    struct vigil vigil = {0};

    requests(&vigil, 5, 30 * US);
    vigil_woken(&vigil, now_ns + 500 * US);
    cr_expect(vigil_pays(&vigil));
}
