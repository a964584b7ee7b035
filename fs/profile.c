/* SPDX-License-Identifier: Apache-2.0 */
/* A list, and a bit for each span that is in it: at most some ten KiB for a thousand spans. */
#include "fs/profile.h"

#include <stdlib.h>

#define CAP_MIN 64u

void profile_fini(struct profile *profile)
{
    free(profile->spans);
    free(profile->seen);
    *profile = (struct profile){0};
}

static bool make_room(struct profile *profile, const struct clip_image *image)
{
    size_t cap = profile->cap ? profile->cap * 2 : CAP_MIN;
    void *spans;

    if (!profile->seen)
        profile->seen = calloc(1, image_n_spans(image) / 8 + 1);
    if (!profile->seen)
        return false;
    if (profile->n < profile->cap)
        return true;
    spans = reallocarray(profile->spans, cap, sizeof(profile->spans[0]));
    if (!spans)
        return false;
    profile->spans = spans;
    profile->cap = cap;
    return true;
}

void profile_note(struct profile *profile, const struct clip_image *image, unsigned layer,
                  uint64_t index)
{
    uint64_t number = image_span_number(image, layer, index);
    uint8_t bit = (uint8_t)(1u << number % 8);

    if (profile->seen && profile->seen[number / 8] & bit)
        return;
    if (!make_room(profile, image))
        return;
    profile->seen[number / 8] |= bit;
    profile->spans[profile->n++] = (struct clip_profile_span){layer, (uint32_t)index};
}
