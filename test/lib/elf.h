/* SPDX-License-Identifier: Apache-2.0 */
/* An ELF file that says what it needs, and does nothing else: 64-bit, little-endian. */
#ifndef CLIP_TEST_ELF_H
#define CLIP_TEST_ELF_H

#include <stddef.h>
#include <stdint.h>

#define ELF_NEEDED_MAX 8

struct elf_says {
    const char *interpreter; /* NULL: none, as a library */
    const char *runpath;     /* NULL: none */
    const char *needed[ELF_NEEDED_MAX];
    size_t dynamic_off; /* where its dynamic section is, with the strings behind it; 0: as near as
                           can be */
    size_t len;         /* of the file, which ends in zeros; 0: as short as can be */
};

/* Malloc'ed. */
uint8_t *elf_make(const struct elf_says *says, size_t *out_len);

#endif
