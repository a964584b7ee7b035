/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile of an image: which spans will be read, and in which order. It is a section that may
 * be missing, so an index gets one by being written anew with all its other sections as they are,
 * those of types that are not known here too.
 */
#include "index/format.h"
#include "index/image.h"
#include "index/image_map.h"
#include "index/writer_file.h"

_Static_assert(sizeof(struct clip_profile_span) == sizeof(struct format_profile),
               "they are one, and lent");

size_t clip_image_profile(const struct clip_image *image, const struct clip_profile_span **out)
{
    *out = (const struct clip_profile_span *)image->profile;
    return image->n_profile;
}

static int check(const struct clip_image *image, const struct clip_profile_span *profile, size_t n,
                 struct clip_error *err)
{
    if (n > image->n_spans)
        return err_set(err, -EINVAL, "a profile of %zu spans, where the image has %u", n,
                       image->n_spans);
    for (size_t i = 0; i < n; i++)
        if (profile[i].layer >= image->n_layers ||
            profile[i].span >= image->layers[profile[i].layer].n_spans)
            return err_set(err, -EINVAL,
                           "the profile names span %u of layer %u, which the image does not have",
                           profile[i].span, profile[i].layer);
    return 0;
}

/* All but a profile. */
static unsigned keep_sections(const struct clip_image *image,
                              struct writer_part parts[FORMAT_SECTIONS_MAX + 1])
{
    const struct format_header *header = (const struct format_header *)image->bytes;
    const struct format_section *table = (const struct format_section *)(header + 1);
    unsigned n = 0;

    for (unsigned i = 0; i < header->n_sections; i++)
        if (table[i].type != FORMAT_PROFILE)
            parts[n++] = (struct writer_part){table[i].type, table[i].flags,
                                              image->bytes + table[i].off, table[i].len};
    return n;
}

int clip_image_save(const struct clip_image *image, const struct clip_profile_span *profile,
                    size_t n, const char *path, struct clip_error *err)
{
    struct writer_part parts[FORMAT_SECTIONS_MAX + 1];
    unsigned n_parts = keep_sections(image, parts);
    uint64_t size;
    int r = check(image, profile, n, err);

    if (r < 0)
        return r;
    if (n > 0)
        parts[n_parts++] = (struct writer_part){FORMAT_PROFILE, 0, profile, n * sizeof(profile[0])};
    if (n_parts > FORMAT_SECTIONS_MAX)
        return err_set(err, -EFBIG, "the index has no room for one more section");
    return writer_file_save_parts(parts, n_parts, path, &size, err);
}
