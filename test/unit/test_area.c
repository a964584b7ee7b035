/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/area.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIB (1u << 20)

struct piece {
    struct area *area;
    uint8_t *bytes;
    size_t size;
};

static struct areas areas;

static void set_up(void)
{
    areas_init(&areas);
}

static void tear_down(void)
{
    areas_fini(&areas);
}

TestSuite(area, .init = set_up, .fini = tear_down);

static struct piece take(size_t size)
{
    struct piece piece = {.size = size};

    piece.bytes = areas_take(&areas, size, &piece.area);
    cr_assert_not_null(piece.bytes);
    cr_assert_eq((uintptr_t)piece.bytes % AREA_PIECE, 0);
    return piece;
}

static void give(const struct piece *piece)
{
    areas_give(&areas, piece->area, piece->bytes, piece->size);
}

Test(area, gives_the_same_memory_again)
{
    struct piece a = take(MIB), b;

    give(&a);
    b = take(MIB / 2);
    cr_expect_eq(b.bytes, a.bytes);
    give(&b);
}

Test(area, gives_out_nothing_twice)
{
    struct piece pieces[100];

    for (unsigned i = 0; i < 100; i++) {
        pieces[i] = take((i % 7 + 1) * 200000);
        memset(pieces[i].bytes, (int)i, pieces[i].size);
    }
    for (unsigned i = 0; i < 100; i += 2)
        give(&pieces[i]);
    for (unsigned i = 0; i < 100; i += 2) {
        pieces[i] = take((i % 5 + 1) * 200000);
        memset(pieces[i].bytes, (int)i, pieces[i].size);
    }
    for (unsigned i = 0; i < 100; i++) {
        for (size_t k = 0; k < pieces[i].size; k += 1000)
            cr_assert_eq(pieces[i].bytes[k], i);
        give(&pieces[i]);
    }
}

Test(area, fills_a_hole_that_is_large_enough)
{
    struct piece a = take(MIB), b = take(2 * MIB), c = take(MIB), d, e;

    give(&b);
    d = take(3 * MIB);
    e = take(2 * MIB);
    cr_expect_eq(e.bytes, b.bytes);
    cr_expect_gt(d.bytes, c.bytes);
    give(&a), give(&c), give(&d), give(&e);
}

static unsigned n_areas(void)
{
    unsigned n = 0;

    queue_for_each(node, &areas.all) n += node != NULL;
    return n;
}

Test(area, keeps_one_that_nobody_uses)
{
    struct piece a = take(AREA_LEN), b = take(AREA_LEN), c = take(AREA_LEN);

    cr_expect_eq(n_areas(), 3);
    give(&a), give(&b), give(&c);
    cr_expect_eq(n_areas(), 1);
    areas_trim(&areas);
    cr_expect_eq(n_areas(), 0);
}
