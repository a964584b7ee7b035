/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program or library says that it needs: its interpreter, then where its libraries are
 * looked for, then their names, as ld.so(8) and the System V gABI have them. 64-bit, little-endian;
 * of any other kind nothing is said. Pure; hostile bytes say nothing, or something wrong.
 */
#ifndef CLIP_INDEX_NEEDS_ELF_H
#define CLIP_INDEX_NEEDS_ELF_H

#include "index/needs_list.h"

/* A stretch of the file. */
struct elf_piece {
    const uint8_t *bytes;
    size_t len;
    uint64_t off; /* in the file */
};

#define ELF_PIECES 2u

bool elf_is(const uint8_t *head, size_t len);
/* By its first bytes (ELF_HEADERS_LEN, or all): where to look for what needs_of_elf() wants. False:
 * there is nothing, or they do not say. */
#define ELF_HEADERS_LEN 4096u
struct elf_places {
    uint64_t load_end; /* of what is loaded first, which the strings are in as a rule */
    uint64_t dynamic_off;
};
bool elf_find_places(const uint8_t *head, size_t len, struct elf_places *out);
/* By what is there of the file: names that lie elsewhere are left out. -ENOMEM. */
int needs_of_elf(const struct elf_piece pieces[ELF_PIECES], struct needs_list *out);

#endif
