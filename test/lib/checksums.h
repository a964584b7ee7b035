/* SPDX-License-Identifier: Apache-2.0 */
/* Makes changed bytes of an index pass its checksums, so that what comes after them is tested.
 * A header alone: fuzz targets are not linked to test/lib. */
#ifndef CLIP_TEST_CHECKSUMS_H
#define CLIP_TEST_CHECKSUMS_H

#include "index/format.h"

#include <stddef.h>

/* As far as the bytes still are an index. */
static inline void fix_checksums(uint8_t *bytes, size_t len)
{
    struct format_header *header = (struct format_header *)bytes;
    struct format_section *table = (struct format_section *)(header + 1);

    if (len < sizeof(*header) || header->n_sections > FORMAT_SECTIONS_MAX ||
        header->n_sections * sizeof(*table) > len - sizeof(*header))
        return;
    for (uint32_t i = 0; i < header->n_sections; i++)
        if (table[i].off <= len && table[i].len <= len - table[i].off)
            table[i].checksum = XXH3_64bits(bytes + table[i].off, table[i].len);
    header->checksum = format_checksum(header, table);
}

#endif
