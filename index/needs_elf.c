/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program headers say where the interpreter's path and the dynamic section are, the dynamic
 * section says at which address the strings are and where in them the names begin, and the program
 * headers say where in the file that address is. Nothing is looked at that is not in a piece.
 */
#include "index/needs_elf.h"

#include <elf.h>
#include <string.h>

#define PHDRS_MAX   128u
#define DYNAMIC_MAX 1024u

struct elf {
    const struct elf_piece *pieces;
    Elf64_Ehdr header;
    uint64_t strings; /* where in the file they begin */
};

bool elf_is(const uint8_t *head, size_t len)
{
    return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

/* NULL: that is in none of the pieces; else *out_left is how much of the file is from there. */
static const uint8_t *bytes_at(const struct elf *elf, uint64_t off, uint64_t len, size_t *out_left)
{
    for (unsigned i = 0; i < ELF_PIECES; i++) {
        const struct elf_piece *piece = &elf->pieces[i];

        if (off >= piece->off && off - piece->off <= piece->len &&
            len <= piece->len - (off - piece->off)) {
            *out_left = piece->len - (size_t)(off - piece->off);
            return piece->bytes + (off - piece->off);
        }
    }
    return NULL;
}

static bool copy_at(const struct elf *elf, uint64_t off, void *to, size_t len)
{
    size_t left;
    const uint8_t *from = bytes_at(elf, off, len, &left);

    if (from)
        memcpy(to, from, len);
    return from != NULL;
}

static bool read_header(struct elf *elf)
{
    const Elf64_Ehdr *header = &elf->header;

    return copy_at(elf, 0, &elf->header, sizeof(elf->header)) &&
           elf_is(header->e_ident, sizeof(header->e_ident)) &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum <= PHDRS_MAX;
}

static bool read_phdr(const struct elf *elf, unsigned i, Elf64_Phdr *out)
{
    return elf->header.e_phoff < INT64_MAX &&
           copy_at(elf, elf->header.e_phoff + i * sizeof(*out), out, sizeof(*out));
}

static bool find_phdr(const struct elf *elf, uint32_t type, Elf64_Phdr *out)
{
    for (unsigned i = 0; i < elf->header.e_phnum && read_phdr(elf, i, out); i++)
        if (out->p_type == type)
            return true;
    return false;
}

/* Where in the file that address is. */
static bool find_address(const struct elf *elf, uint64_t address, uint64_t *out)
{
    Elf64_Phdr at;

    for (unsigned i = 0; i < elf->header.e_phnum && read_phdr(elf, i, &at); i++) {
        if (at.p_type != PT_LOAD || address < at.p_vaddr || address - at.p_vaddr >= at.p_filesz)
            continue;
        *out = at.p_offset + (address - at.p_vaddr);
        return true;
    }
    return false;
}

static int put_text(const struct elf *elf, enum needs_type type, uint64_t off,
                    struct needs_list *out)
{
    size_t left, len;
    const char *text = (const char *)bytes_at(elf, off, 1, &left);

    if (!text)
        return 0;
    len = strnlen(text, left);
    return len == left || len == 0 ? 0 : needs_list_put(out, type, text, len);
}

static bool read_dynamic(const struct elf *elf, const Elf64_Phdr *section, unsigned i,
                         Elf64_Dyn *out)
{
    return i < DYNAMIC_MAX && (i + 1) * sizeof(*out) <= section->p_filesz &&
           section->p_offset < INT64_MAX &&
           copy_at(elf, section->p_offset + i * sizeof(*out), out, sizeof(*out)) &&
           out->d_tag != DT_NULL;
}

static bool find_strings(struct elf *elf, const Elf64_Phdr *section)
{
    Elf64_Dyn at;

    for (unsigned i = 0; read_dynamic(elf, section, i, &at); i++)
        if (at.d_tag == DT_STRTAB)
            return find_address(elf, at.d_un.d_ptr, &elf->strings);
    return false;
}

static int put_dynamic(const struct elf *elf, const Elf64_Phdr *section, bool dirs,
                       struct needs_list *out)
{
    Elf64_Dyn at;
    int r = 0;

    for (unsigned i = 0; r == 0 && read_dynamic(elf, section, i, &at); i++) {
        bool is_dir = at.d_tag == DT_RUNPATH || at.d_tag == DT_RPATH;

        if (at.d_un.d_val < UINT32_MAX && (dirs ? is_dir : at.d_tag == DT_NEEDED))
            r = put_text(elf, dirs ? NEEDS_LIBDIR : NEEDS_LIBRARY, elf->strings + at.d_un.d_val,
                         out);
    }
    return r;
}

bool elf_find_places(const uint8_t *head, size_t len, struct elf_places *out)
{
    const struct elf_piece pieces[ELF_PIECES] = {{head, len, 0}};
    struct elf elf = {.pieces = pieces};
    Elf64_Phdr load, dynamic;

    if (!read_header(&elf) || !find_phdr(&elf, PT_LOAD, &load) ||
        !find_phdr(&elf, PT_DYNAMIC, &dynamic) || load.p_offset > INT64_MAX ||
        load.p_filesz > INT64_MAX || dynamic.p_offset > INT64_MAX)
        return false;
    *out = (struct elf_places){load.p_offset + load.p_filesz, dynamic.p_offset};
    return true;
}

int needs_of_elf(const struct elf_piece pieces[ELF_PIECES], struct needs_list *out)
{
    struct elf elf = {.pieces = pieces};
    Elf64_Phdr section;
    int r = 0;

    if (!read_header(&elf))
        return 0;
    if (find_phdr(&elf, PT_INTERP, &section))
        r = put_text(&elf, NEEDS_PATH, section.p_offset, out);
    if (r < 0 || !find_phdr(&elf, PT_DYNAMIC, &section) || !find_strings(&elf, &section))
        return r;
    r = put_dynamic(&elf, &section, true, out);
    return r < 0 ? r : put_dynamic(&elf, &section, false, out);
}
