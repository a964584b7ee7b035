/* SPDX-License-Identifier: Apache-2.0 */
/* Headers, the interpreter's path, the dynamic section, its strings; all of it in one segment. */
#include "test/lib/elf.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE     0x400000u /* where the segment is loaded */
#define TEXT_MAX 4096u

enum { PHDR_INTERP, PHDR_LOAD, PHDR_DYNAMIC, N_PHDRS };

struct layout {
    size_t interpreter, dynamic, strings, end;
    Elf64_Dyn entries[ELF_NEEDED_MAX + 3];
    size_t n;
    char text[TEXT_MAX];
    size_t text_len;
};

static uint64_t add_text(struct layout *at, const char *text)
{
    uint64_t off = at->text_len;

    at->text_len += (size_t)snprintf(at->text + off, TEXT_MAX - off, "%s", text) + 1;
    return off;
}

static void add_entry(struct layout *at, int64_t tag, uint64_t value)
{
    at->entries[at->n++] = (Elf64_Dyn){.d_tag = tag, .d_un = {.d_val = value}};
}

static void lay_out(const struct elf_says *says, struct layout *at)
{
    *at = (struct layout){.interpreter = sizeof(Elf64_Ehdr) + N_PHDRS * sizeof(Elf64_Phdr)};
    at->text_len = 1;
    at->dynamic = at->interpreter + (says->interpreter ? strlen(says->interpreter) + 1 : 0);
    if (says->dynamic_off > at->dynamic)
        at->dynamic = says->dynamic_off;
    for (size_t i = 0; i < ELF_NEEDED_MAX && says->needed[i]; i++)
        add_entry(at, DT_NEEDED, add_text(at, says->needed[i]));
    if (says->runpath)
        add_entry(at, DT_RUNPATH, add_text(at, says->runpath));
    at->strings = at->dynamic + (at->n + 2) * sizeof(at->entries[0]);
    add_entry(at, DT_STRTAB, BASE + at->strings);
    add_entry(at, DT_NULL, 0);
    at->end = at->strings + at->text_len;
    if (says->len > at->end)
        at->end = says->len;
}

uint8_t *elf_make(const struct elf_says *says, size_t *out_len)
{
    const Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = EM_X86_64,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = N_PHDRS,
    };
    struct layout at;
    uint8_t *file;

    lay_out(says, &at);
    file = calloc(1, at.end);
    {
        const Elf64_Phdr phdrs[N_PHDRS] = {
            [PHDR_INTERP] = {.p_type = says->interpreter ? PT_INTERP : PT_NULL,
                             .p_offset = at.interpreter},
            [PHDR_LOAD] = {.p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = at.end},
            [PHDR_DYNAMIC] = {.p_type = PT_DYNAMIC,
                              .p_offset = at.dynamic,
                              .p_filesz = at.n * sizeof(at.entries[0])},
        };
        memcpy(file, &header, sizeof(header));
        memcpy(file + header.e_phoff, phdrs, sizeof(phdrs));
    }
    if (says->interpreter)
        strcpy((char *)file + at.interpreter, says->interpreter);
    memcpy(file + at.dynamic, at.entries, at.n * sizeof(at.entries[0]));
    memcpy(file + at.strings, at.text, at.text_len);
    *out_len = at.end;
    return file;
}
