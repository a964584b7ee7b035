/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path is: a file that was not followed yet is, and so is what it needs, depth first: a
 * program reads its first library, or a module what it imports first, with all that those need,
 * before it goes on. What is met is asked for (cache_foresee), and once in the life of a reader.
 * A large file is asked for at both ends: a library's symbols and relocations are at its beginning,
 * what they change is at its end.
 * Possible failure modes are: too much is foreseen that nobody has read by now, or the needs are
 * more than one call may look at. It ends there, and goes on from the next file that is read.
 */
#include "fs/foresee.h"

#include <stdlib.h>

#define WHOLE_MAX (8ull << 20) /* bytes of a file */
#define END_LEN   (2ull << 20) /* of a larger one */
#define DEPTH_MAX 256u
#define STEPS_MAX 8192u /* in one call: a millisecond, about */

/* Needs of one file that are still to be followed, by their numbers in the image. */
struct level {
    size_t next, end;
};

void foresee_init(struct foresee *foresee, const struct cache_client *client)
{
    const struct clip_profile_span *profile;

    foresee->follows =
        image_has_needs(client->image) && clip_image_profile(client->image, &profile) == 0;
}

void foresee_fini(struct foresee *foresee)
{
    free(foresee->followed);
    foresee->followed = NULL;
}

static uint8_t bit_of(uint64_t ino)
{
    return (uint8_t)(1u << (ino - 1) % 8);
}

static bool is_followed(const struct foresee *foresee, uint64_t ino)
{
    return foresee->followed[(ino - 1) / 8] & bit_of(ino);
}

static void set_followed(struct foresee *foresee, uint64_t ino)
{
    foresee->followed[(ino - 1) / 8] |= bit_of(ino);
}

/* False: enough is foreseen. */
static bool ask(struct cache_client *client, uint64_t ino, uint64_t off, uint64_t len)
{
    const struct clip_image *image = client->image;
    struct image_extent extent;
    uint64_t first, last;

    image_extent(image, ino, off, len, &extent);
    if (extent.hole || extent.len == 0)
        return true;
    image_extent_spans(image, &extent, &first, &last);
    return cache_foresee(client, extent.layer, first, last);
}

static bool ask_for_file(struct cache_client *client, uint64_t ino)
{
    struct clip_stat st;

    if (clip_image_stat(client->image, ino, &st) < 0)
        return true;
    if (st.size <= WHOLE_MAX)
        return ask(client, ino, 0, st.size);
    return ask(client, ino, 0, END_LEN) && ask(client, ino, st.size - END_LEN, END_LEN);
}

/* Asks for the file, and for what it needs from then on. False: enough is foreseen. */
static bool follow(struct foresee *foresee, struct cache_client *client, uint64_t ino,
                   struct level *out)
{
    size_t first = 0, n = image_needs(client->image, ino, &first);

    *out = (struct level){first, first + n};
    if (!ask_for_file(client, ino))
        return false;
    set_followed(foresee, ino);
    return true;
}

/* A mount that nobody runs anything from needs no memory for it. */
static bool make_room(struct foresee *foresee, const struct clip_image *image)
{
    if (!foresee->followed)
        foresee->followed = calloc(1, image_n_nodes(image) / 8 + 1);
    return foresee->followed != NULL;
}

void foresee_note(struct foresee *foresee, struct cache_client *client, uint64_t ino)
{
    struct level levels[DEPTH_MAX];
    size_t first;
    unsigned depth = 0;

    if (!foresee->follows || image_needs(client->image, ino, &first) == 0 ||
        !make_room(foresee, client->image) || is_followed(foresee, ino) ||
        !follow(foresee, client, ino, &levels[0]))
        return;
    for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
        struct level *level = &levels[depth];
        uint64_t needed;

        if (level->next == level->end) {
            if (depth-- == 0)
                return;
            continue;
        }
        needed = image_needed(client->image, level->next++);
        if (depth + 1 == DEPTH_MAX || is_followed(foresee, needed))
            continue;
        if (!follow(foresee, client, needed, &levels[++depth]))
            return;
    }
}
