/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a file is:
 * - its first bytes, or its name, tell its kind, and with that how much of it is kept.
 * - of an ELF file the headers say how much is loaded first, which holds the strings, and where the
 *   dynamic section is, which is kept when it comes. Where strings have been put behind that
 *   (patchelf), they are kept with it.
 * - at its end what was kept is read.
 * Possible failure modes are: no memory, which needs_end() tells. What lies elsewhere is not found.
 */
#include "index/needs.h"

#include "index/needs_elf.h"
#include "index/needs_python.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_LEN       4u
#define SCRIPT_LINE_MAX 256u /* as the kernel has it, about (BINPRM_BUF_SIZE) */

enum file_kind { FILE_UNKNOWN, FILE_NOTHING, FILE_ELF, FILE_PYTHON, FILE_PATHS, FILE_SCRIPT };

struct needs {
    enum file_kind kind;
    char text[NEEDS_WORD_MAX + 1];
    struct path_name name; /* of the file, in `text` */
    struct section head, dynamic;
    size_t head_max;      /* of an ELF file; 0 until its headers are there */
    uint64_t dynamic_off; /* in it */
    struct needs_list list;
    int status;
};

int needs_new(struct needs **out)
{
    struct needs *needs = calloc(1, sizeof(*needs));

    if (!needs)
        return -ENOMEM;
    section_init(&needs->head);
    section_init(&needs->dynamic);
    needs_list_init(&needs->list);
    *out = needs;
    return 0;
}

void needs_free(struct needs *needs)
{
    if (!needs)
        return;
    section_fini(&needs->head);
    section_fini(&needs->dynamic);
    needs_list_fini(&needs->list);
    free(needs);
}

/* ---- what is kept */

void needs_begin(struct needs *needs, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t len = strnlen(name, sizeof(needs->text) - 1);

    memcpy(needs->text, name, len);
    needs->name = (struct path_name){needs->text, len};
    needs->head.len = needs->dynamic.len = 0;
    needs->head_max = 0;
    needs->status = 0;
    if (path_ends(&needs->name, ".py"))
        needs->kind = FILE_PYTHON;
    else
        needs->kind = path_ends(&needs->name, ".pth") ? FILE_PATHS : FILE_UNKNOWN;
}

/* What of these bytes continues the piece that begins at `off`, up to `max`. */
static void keep(struct needs *needs, struct section *piece, uint64_t off, size_t max,
                 const uint8_t *bytes, size_t len, uint64_t file_off)
{
    uint64_t next = off + piece->len, skip = next - file_off;
    int r;

    if (next < file_off || skip >= len || piece->len >= max)
        return;
    len -= (size_t)skip;
    if (len > max - piece->len)
        len = max - piece->len;
    r = section_append(piece, bytes + skip, len);
    if (r < 0) {
        needs->status = r;
        needs->kind = FILE_NOTHING;
    }
}

static enum file_kind kind_of(const struct section *head)
{
    if (elf_is(head->bytes, head->len))
        return FILE_ELF;
    return memcmp(head->bytes, "#!", 2) == 0 ? FILE_SCRIPT : FILE_NOTHING;
}

static void keep_head(struct needs *needs, size_t max, const uint8_t *bytes, size_t len,
                      uint64_t file_off)
{
    keep(needs, &needs->head, 0, max, bytes, len, file_off);
}

/* The headers are there: how much is to be kept? */
static void find_places(struct needs *needs)
{
    struct elf_places places;

    needs->head_max = NEEDS_ELF_MIN;
    needs->dynamic_off = INT64_MAX;
    if (!elf_find_places(needs->head.bytes, needs->head.len, &places))
        return;
    needs->dynamic_off = places.dynamic_off;
    if (places.load_end > NEEDS_ELF_MAX)
        needs->head_max = NEEDS_ELF_MAX;
    else if (places.load_end > NEEDS_ELF_MIN)
        needs->head_max = (size_t)places.load_end;
}

static void feed_elf(struct needs *needs, const uint8_t *bytes, size_t len, uint64_t file_off)
{
    keep_head(needs, ELF_HEADERS_LEN, bytes, len, file_off);
    if (needs->head_max == 0 && needs->head.len == ELF_HEADERS_LEN)
        find_places(needs);
    if (needs->head_max == 0)
        return;
    keep_head(needs, needs->head_max, bytes, len, file_off);
    keep(needs, &needs->dynamic, needs->dynamic_off, NEEDS_DYNAMIC_MAX, bytes, len, file_off);
}

void needs_feed(struct needs *needs, const void *bytes, size_t len, uint64_t file_off)
{
    if (needs->kind == FILE_NOTHING)
        return;
    if (needs->kind == FILE_UNKNOWN) {
        keep_head(needs, MAGIC_LEN, bytes, len, file_off);
        if (needs->head.len == MAGIC_LEN)
            needs->kind = kind_of(&needs->head);
    }
    if (needs->kind == FILE_ELF)
        feed_elf(needs, bytes, len, file_off);
    else if (needs->kind != FILE_UNKNOWN && needs->kind != FILE_NOTHING)
        keep_head(needs, NEEDS_SOURCE_MAX, bytes, len, file_off);
}

/* ---- what it says */

static int read_elf(struct needs *needs)
{
    const struct elf_piece pieces[ELF_PIECES] = {
        {needs->head.bytes, needs->head.len, 0},
        {needs->dynamic.bytes, needs->dynamic.len, needs->dynamic_off},
    };
    char version[PYTHON_VERSION_LEN];
    int r = needs_of_elf(pieces, &needs->list);

    if (r == 0 && python_version(&needs->name, version))
        r = needs_of_interpreter(&needs->list);
    return r;
}

static int read_python(struct needs *needs)
{
    return needs_of_python((const char *)needs->head.bytes, needs->head.len, &needs->list);
}

/* The next word of a script's first line; false: there is none. */
static bool next_word(const char **at, const char *end, const char **out, size_t *out_len)
{
    while (*at < end && (**at == ' ' || **at == '\t'))
        ++*at;
    *out = *at;
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r')
        ++*at;
    *out_len = (size_t)(*at - *out);
    return *out_len > 0;
}

static bool is_env(const char *path, size_t len)
{
    return len >= 4 && memcmp(path + len - 4, "/env", 4) == 0;
}

/* env(1): options and variables, then a command. */
static int put_command(struct needs *needs, const char *at, const char *end)
{
    const char *word;
    size_t len;

    while (next_word(&at, end, &word, &len))
        if (word[0] != '-' && !memchr(word, '=', len))
            return needs_list_put(&needs->list, NEEDS_COMMAND, word, len);
    return 0;
}

static int read_script(struct needs *needs)
{
    const char *head = (const char *)needs->head.bytes, *at = head + 2, *path;
    size_t max = needs->head.len < SCRIPT_LINE_MAX ? needs->head.len : SCRIPT_LINE_MAX, len;
    const char *end = memchr(head, '\n', max);
    int r;

    if (!end)
        end = head + max;
    if (!next_word(&at, end, &path, &len))
        return 0;
    r = needs_list_put(&needs->list, NEEDS_PATH, path, len);
    if (r == 0 && is_env(path, len))
        r = put_command(needs, at, end);
    if (r == 0 && memmem(head, (size_t)(end - head), "python", 6))
        r = read_python(needs);
    return r;
}

static int read_kept(struct needs *needs)
{
    switch (needs->kind) {
    case FILE_ELF:
        return read_elf(needs);
    case FILE_PYTHON:
        return read_python(needs);
    case FILE_PATHS:
        return needs_of_path_file((const char *)needs->head.bytes, needs->head.len, &needs->list);
    case FILE_SCRIPT:
        return read_script(needs);
    case FILE_UNKNOWN:
    case FILE_NOTHING:
        break;
    }
    return needs->status;
}

int needs_end(struct needs *needs, const char **out, size_t *out_len)
{
    int r;

    needs_list_clear(&needs->list);
    r = needs->head.len > 0 ? read_kept(needs) : needs->status;
    if (r < 0)
        return r;
    *out = (const char *)needs->list.text.bytes;
    *out_len = needs->list.text.len;
    return 0;
}
