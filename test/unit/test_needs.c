/* SPDX-License-Identifier: Apache-2.0 */
/* What files say that they need: their words, each with its type before it. */
#include "index/needs.h"
#include "index/needs_list.h"
#include "test/lib/drip.h"
#include "test/lib/elf.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (NEEDS_LIST_MAX + 16u)

static struct fixture {
    struct needs *needs;
    char text[TEXT_MAX];
    uint64_t off; /* in the file that is fed */
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    cr_assert_eq(needs_new(&f.needs), 0);
}

static void tear_down(void)
{
    needs_free(f.needs);
}

TestSuite(needs, .init = set_up, .fini = tear_down);

static void feed(void *data, const uint8_t *piece, size_t len)
{
    (void)data;
    needs_feed(f.needs, piece, len, f.off);
    f.off += len;
}

/* "pPATH lNAME": what is said of a file of that name, however its bytes come. */
static const char *says_of(const char *path, const void *bytes, size_t len, enum drip_how how)
{
    struct needs_word word;
    const char *at;
    size_t text_len, n = 0;

    f.off = 0;
    needs_begin(f.needs, path);
    drip(bytes, len, how, 7, feed, NULL);
    cr_assert_eq(needs_end(f.needs, &at, &text_len), 0);
    f.text[0] = '\0';
    for (const char *end = at + text_len; needs_next(&at, end, &word);)
        n += (size_t)snprintf(f.text + n, TEXT_MAX - n, "%s%c%s", n > 0 ? " " : "", word.type,
                              word.word);
    return f.text;
}

static void assert_says(const char *path, const void *bytes, size_t len, const char *expected)
{
    for (int how = 0; how < DRIP_HOWS; how++)
        cr_assert_str_eq(says_of(path, bytes, len, (enum drip_how)how), expected, "%d: %s", how,
                         f.text);
}

static void assert_imports(const char *source, const char *expected)
{
    assert_says("a/b.py", source, strlen(source), expected);
}

static void assert_elf_says(const struct elf_says *says, const char *expected)
{
    size_t len;
    uint8_t *file = elf_make(says, &len);

    assert_says("lib/x", file, len, expected);
    free(file);
}

/* ---- Python */

Test(needs, are_what_a_module_imports)
{
    assert_imports("import a\nimport b.c as d, e\nfrom f.g import h as i, j\n",
                   "ma mb.c me mf.g.h mf.g.j");
    assert_imports("from . import a\nfrom .. import b\nfrom .c import d\nfrom ...e.f import g\n",
                   "m.a m..b m.c.d m...e.f.g");
    assert_imports("from a import *\nfrom . import *\n", "ma m.");
}

Test(needs, are_found_over_many_lines_and_several_in_one)
{
    assert_imports("from a import (b, # the first\n    c,\n)\nimport d\n", "ma.b ma.c md");
    assert_imports("import a, \\\n  b\nimport c; from d import e; x = 1\n", "ma mb mc md.e");
    assert_imports("import a\r\nfrom b import c\r\n", "ma mb.c");
    assert_imports("import a", "ma");
}

Test(needs, of_a_module_are_those_of_its_classes_and_conditions)
{
    assert_imports("if x:\n    import a\nelse:\n\timport b\nclass C:\n    import c\n", "ma mb mc");
    assert_imports("try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c\n",
                   "ma mc");
    assert_imports("with x:\n  for y in z:\n    import a\n", "ma");
}

Test(needs, of_functions_and_of_type_checkers_are_not_the_modules)
{
    assert_imports(
        "def f():\n    import a\n\n    # import\n    def g():\n        import b\nimport c\n", "mc");
    assert_imports("async def f():\n    import a\nclass C:\n    def f(self):\n        import b\n"
                   "    import c\n",
                   "mc");
    assert_imports("if typing.TYPE_CHECKING:\n    import a\nimport b\n"
                   "if __name__ == '__main__':\n    import c\n",
                   "mb");
}

Test(needs, are_not_what_stands_in_strings_and_comments)
{
    assert_imports("\"\"\"Doc.\n\nimport a\n\"\"\"\n'''\nimport b'''\nimport c\n", "mc");
    assert_imports("x = '\\'; import a'\ny = \"\\\\\"; import b\n# import c\n", "mb");
    assert_imports("r'''\\'''\nimport a\n'''\nimport b\n", "mb");
    assert_imports("x = [\nimport_a,\n'import b',\n]\nimportant = 1\nfrom_x = 2\nimport c\n", "mc");
    assert_imports("x = 'not closed\nimport a\n", "ma");
}

Test(needs, of_any_beginning_of_a_source_are_found_without_harm)
{
    static const char source[] = "'''x'''\nfrom .a import (b,\n  c)\nif x: import d\n"
                                 "def f(x=[\n]):\n  pass\nimport e.f as g; h('\\\n')\n";

    for (size_t len = 0; len < sizeof(source); len++)
        says_of("x.py", source, len, DRIP_RANDOM);
    cr_assert_str_eq(f.text, "m.a.b m.a.c me.f");
}

Test(needs, are_looked_for_at_the_beginning_of_a_long_source)
{
    size_t len = NEEDS_SOURCE_MAX + 1000;
    char *source = malloc(len + 1);

    memset(source, '\n', len);
    source[len] = '\0';
    memcpy(source, "import a", 8);
    memcpy(source + NEEDS_SOURCE_MAX - 20, "import b", 8);
    memcpy(source + NEEDS_SOURCE_MAX + 20, "import c", 8);
    assert_imports(source, "ma mb");
    free(source);
}

Test(needs, of_one_file_have_a_ceiling)
{
    size_t len = 0, cap = NEEDS_SOURCE_MAX;
    char *source = malloc(cap);

    while (len + 16 < cap)
        len += (size_t)snprintf(source + len, 16, "import m%zu\n", len);
    says_of("x.py", source, len, DRIP_WHOLE);
    cr_assert_gt(strlen(f.text), NEEDS_LIST_MAX - 100);
    cr_assert_lt(strlen(f.text), NEEDS_LIST_MAX);
    free(source);
}

Test(needs, of_a_name_that_is_too_long_for_any_file_are_none)
{
    char source[NEEDS_WORD_MAX + 32];

    memset(source, 'a', sizeof(source) - 1);
    source[sizeof(source) - 1] = '\0';
    memcpy(source, "import ", 7);
    assert_imports(source, "");
    memcpy(source, "from b import ", 14);
    assert_imports(source, "");
}

Test(needs, of_a_path_file_are_what_its_lines_import)
{
    static const char source[] = "/opt/lib\nimport os; import sys, types\n";

    static const char packages[] = "import os;x = y and __import__('a.b');__import__(\"c\") ;"
                                   "__import__(d, 'e');__import__('f";

    assert_says("site-packages/x.pth", source, sizeof(source) - 1, "mos msys mtypes");
    assert_says("x-nspkg.pth", packages, sizeof(packages) - 1, "mos ma.b mc");
}

/* ---- scripts */

static void assert_script_says(const char *source, const char *expected)
{
    assert_says("bin/x", source, strlen(source), expected);
}

Test(needs, of_a_script_are_its_interpreter)
{
    assert_script_says("#!/bin/sh\nexit\n", "p/bin/sh");
    assert_script_says("#! /bin/sh -e\r\n", "p/bin/sh");
    assert_script_says("#!/bin/sh", "p/bin/sh");
    assert_script_says("#!\n", "");
}

Test(needs, of_a_script_that_env_runs_are_the_command_too)
{
    assert_script_says("#!/usr/bin/env bash\n", "p/usr/bin/env cbash");
    assert_script_says("#!/usr/bin/env -S A=b node --x\n", "p/usr/bin/env cnode");
    assert_script_says("#!/usr/bin/env\n", "p/usr/bin/env");
}

Test(needs, of_a_python_script_are_its_imports_too)
{
    assert_script_says("#!/usr/bin/python3\nimport a\n", "p/usr/bin/python3 ma");
    assert_script_says("#!/bin/sh\nimport a\n", "p/bin/sh");
}

/* ---- ELF */

Test(needs, of_a_program_are_its_interpreter_and_its_libraries)
{
    assert_elf_says(&(struct elf_says){.interpreter = "/lib64/ld.so", .needed = {"a.so", "b.so.1"}},
                    "p/lib64/ld.so la.so lb.so.1");
    assert_elf_says(&(struct elf_says){.runpath = "$ORIGIN/../lib", .needed = {"a.so"}},
                    "d$ORIGIN/../lib la.so");
    assert_elf_says(&(struct elf_says){0}, "");
}

Test(needs, of_a_long_library_are_found_wherever_it_has_them)
{
    const size_t offs[] = {NEEDS_ELF_MAX - 8, NEEDS_ELF_MAX, NEEDS_ELF_MAX + 5, 3 * NEEDS_ELF_MAX};

    for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
        struct elf_says says = {.needed = {"a.so", "b.so"}, .dynamic_off = offs[i]};
        size_t len;
        uint8_t *file = elf_make(&says, &len);

        cr_assert_str_eq(says_of("x", file, len, DRIP_RANDOM), "la.so lb.so", "%zu", offs[i]);
        free(file);
    }
}

Test(needs, of_the_running_program_are_those_that_it_runs_with)
{
    FILE *in = fopen("/proc/self/exe", "r");
    char *bytes = malloc(64u << 20);
    size_t len = fread(bytes, 1, 64u << 20, in);

    fclose(in);
    says_of("self", bytes, len, DRIP_WHOLE);
    cr_assert(strstr(f.text, "p/lib"), "%s", f.text);
    cr_assert(strstr(f.text, " llibc.so.6"), "%s", f.text);
    free(bytes);
}

Test(needs, of_the_interpreter_of_python_are_what_it_imports_to_start)
{
    size_t len;
    uint8_t *file = elf_make(&(struct elf_says){.needed = {"libc.so.6"}}, &len);

    assert_says(
        "usr/bin/python3.11", file, len,
        "llibc.so.6 p/usr/lib/locale/C.utf8/LC_CTYPE lgconv/gconv-modules.cache p/etc/localtime "
        "mencodings.aliases mencodings.utf_8 msite msitecustomize s");
    assert_says("usr/bin/python3.11-config", file, len, "llibc.so.6");
    free(file);
}

Test(needs, of_a_cut_program_are_what_is_there)
{
    struct elf_says says = {.interpreter = "/lib64/ld.so", .needed = {"a.so", "b.so"}};
    size_t len;
    uint8_t *file = elf_make(&says, &len);

    for (size_t cut = 0; cut < len; cut++)
        says_of("x", file, cut, DRIP_WHOLE);
    cr_assert_str_eq(says_of("x", file, len - 5, DRIP_WHOLE), "p/lib64/ld.so la.so");
    free(file);
}

/* Each word of the headers and the dynamic section, made a number that leads out of the file. */
Test(needs, of_a_program_that_lies_are_found_without_harm)
{
    static const uint64_t lies[] = {0, 1, 0x7f, UINT32_MAX, INT64_MAX, UINT64_MAX - 8, UINT64_MAX};
    struct elf_says says = {.interpreter = "/lib64/ld.so", .needed = {"a.so"}, .runpath = "/x"};
    size_t len;
    uint8_t *file = elf_make(&says, &len);

    for (size_t off = EI_NIDENT; off + 8 <= len; off += 4) {
        uint8_t kept[8];

        memcpy(kept, file + off, 8);
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            memcpy(file + off, &lies[i], 8);
            says_of("x", file, len, DRIP_WHOLE);
        }
        memcpy(file + off, kept, 8);
    }
    free(file);
}

Test(needs, of_another_kind_of_elf_are_none)
{
    size_t len;
    uint8_t *file = elf_make(&(struct elf_says){.needed = {"a.so"}}, &len);

    file[EI_CLASS] = ELFCLASS32;
    assert_says("x", file, len, "");
    file[EI_CLASS] = ELFCLASS64;
    file[EI_DATA] = ELFDATA2MSB;
    assert_says("x", file, len, "");
    free(file);
}

/* ---- neither */

Test(needs, of_any_other_file_are_none)
{
    assert_says("x", "plain", 5, "");
    assert_says("x", "#", 1, "");
    assert_says("x", "", 0, "");
    assert_says("x.py", "", 0, "");
}

Test(needs, of_a_file_are_not_those_of_the_one_before)
{
    assert_imports("import a\n", "ma");
    assert_says("x", "plain", 5, "");
}

Test(needs, of_a_file_that_begins_with_a_hole_are_none)
{
    const char *at;
    size_t len;

    needs_begin(f.needs, "x.py");
    needs_feed(f.needs, "import a\n", 9, 4096);
    cr_assert_eq(needs_end(f.needs, &at, &len), 0);
    cr_assert_eq(len, 0);
}
