/* SPDX-License-Identifier: Apache-2.0 */
/* From what files say to which files of the image those are, as an index has it. */
#include "index/image.h"
#include "index/resolve.h"
#include "test/lib/elf.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 8192u
#define SITE     "usr/lib/python3.11/site-packages/"

static struct fixture {
    struct test_loop t;
    struct indexed it;
    char text[TEXT_MAX];
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
}

TestSuite(resolve, .init = set_up, .fini = tear_down);

static void add(const char *path, const char *text)
{
    image_add(&f.it.made, path, S_IFREG | 0755, text, strlen(text));
}

static void add_elf(const char *path, const struct elf_says *says)
{
    size_t len;
    uint8_t *file = elf_make(says, &len);

    image_add(&f.it.made, path, S_IFREG | 0755, file, len);
    free(file);
}

static void add_libraries(const char *const *paths)
{
    for (; *paths; paths++)
        add_elf(*paths, &(struct elf_says){0});
}

#define add_libraries(...) add_libraries((const char *const[]){__VA_ARGS__, NULL})

static void next_layer(void)
{
    image_layer_end(&f.it.made, CODEC_GZIP);
    image_layer_begin(&f.it.made);
}

static void finish(void)
{
    image_layer_end(&f.it.made, CODEC_GZIP);
    indexed_finish(&f.it, 1u << 20);
}

/* The paths of what it needs, with blanks between. */
static const char *needs_of(const char *path)
{
    uint64_t ino = indexed_ino(&f.it, path), needed;
    size_t n = 0;

    f.text[0] = '\0';
    for (uint64_t i = 0; clip_image_need(f.it.image, ino, i, &needed) == 0; i++) {
        if (n > 0)
            f.text[n++] = ' ';
        n += (size_t)clip_image_path(f.it.image, needed, f.text + n, TEXT_MAX - n);
        cr_assert_lt(n, TEXT_MAX - 1);
    }
    return f.text;
}

static void assert_needs(const char *path, const char *expected)
{
    cr_assert_str_eq(needs_of(path), expected, "%s: %s", path, f.text);
}

/* ---- programs and libraries */

Test(resolve, finds_what_a_program_is_loaded_by_and_with)
{
    add("etc/ld.so.cache", "cache");
    add_libraries("usr/lib64/ld-linux.so.2", "usr/lib/x86_64-linux-gnu/liba.so.1.2");
    image_add_link(&f.it.made, "lib64", S_IFLNK, "usr/lib64");
    image_add_link(&f.it.made, "usr/lib/x86_64-linux-gnu/liba.so.1", S_IFLNK, "liba.so.1.2");
    add_elf("usr/bin/x",
            &(struct elf_says){.interpreter = "/lib64/ld-linux.so.2", .needed = {"liba.so.1"}});
    finish();
    assert_needs("usr/bin/x", "/usr/lib64/ld-linux.so.2 /etc/ld.so.cache "
                              "/usr/lib/x86_64-linux-gnu/liba.so.1.2");
    assert_needs("etc/ld.so.cache", "");
}

Test(resolve, goes_by_what_the_file_says_first)
{
    add_libraries("usr/lib/liba.so", "opt/x/lib/liba.so", "opt/y/liba.so", "opt/z/liba.so");
    add_elf("opt/x/bin/a",
            &(struct elf_says){.runpath = "$ORIGIN/../lib:/opt/y", .needed = {"liba.so"}});
    add_elf("opt/z/b", &(struct elf_says){.runpath = "/none:${ORIGIN}", .needed = {"liba.so"}});
    add_elf("opt/x/bin/c", &(struct elf_says){.runpath = "/none:/opt/y", .needed = {"liba.so"}});
    add_elf("opt/x/bin/d", &(struct elf_says){.runpath = "lib:", .needed = {"liba.so"}});
    add_elf("opt/x/bin/e", &(struct elf_says){.needed = {"/opt/y/liba.so"}});
    finish();
    assert_needs("opt/x/bin/a", "/opt/x/lib/liba.so");
    assert_needs("opt/z/b", "/opt/z/liba.so");
    assert_needs("opt/x/bin/c", "/opt/y/liba.so");
    assert_needs("opt/x/bin/d", "/usr/lib/liba.so");
    assert_needs("opt/x/bin/e", "/opt/y/liba.so");
}

Test(resolve, does_not_take_a_library_of_another_architecture)
{
    add_libraries("usr/lib/i386-linux-gnu/liba.so", "usr/lib/x86_64-linux-gnu/liba.so");
    add_elf("bin/a", &(struct elf_says){.needed = {"liba.so"}});
    finish();
    assert_needs("bin/a", "/usr/lib/x86_64-linux-gnu/liba.so");
}

Test(resolve, takes_the_only_library_of_that_name_from_anywhere)
{
    add_libraries("usr/local/cuda/lib64/liba.so.1", "opt/1/libb.so", "opt/2/libb.so",
                  "opt/3/libc.so.6");
    image_add_link(&f.it.made, "opt/4/libc.so.6", S_IFLNK, "../3/libc.so.6");
    image_add_link(&f.it.made, "opt/4/libd.so", S_IFLNK, "nowhere");
    add_elf("bin/a", &(struct elf_says){
                         .needed = {"liba.so.1", "libb.so", "libc.so.6", "libd.so", "libe.so"}});
    finish();
    assert_needs("bin/a", "/usr/local/cuda/lib64/liba.so.1 /opt/3/libc.so.6");
}

Test(resolve, finds_what_a_script_is_run_by)
{
    add_libraries("usr/bin/dash", "usr/bin/env", "usr/local/bin/node");
    image_add_link(&f.it.made, "bin", S_IFLNK, "usr/bin");
    image_add_link(&f.it.made, "usr/bin/sh", S_IFLNK, "dash");
    add("a", "#!/bin/sh\n");
    add("b", "#!/usr/bin/env node\n");
    add("c", "#!/bin/none\n");
    finish();
    assert_needs("a", "/usr/bin/dash");
    assert_needs("b", "/usr/bin/env /usr/local/bin/node");
    assert_needs("c", "");
}

Test(resolve, says_each_once_and_never_itself)
{
    add_libraries("lib/liba.so");
    image_add_link(&f.it.made, "lib/libb.so", S_IFLNK, "liba.so");
    add_elf("lib/libc.so", &(struct elf_says){.needed = {"libb.so", "libc.so", "liba.so"}});
    finish();
    assert_needs("lib/libc.so", "/lib/liba.so");
}

Test(resolve, goes_by_the_image_as_its_layers_left_it)
{
    add_libraries("lib/liba.so", "lib/libb.so");
    add_elf("bin/a", &(struct elf_says){.needed = {"liba.so", "libb.so"}});
    add_elf("bin/b", &(struct elf_says){.needed = {"liba.so"}});
    next_layer();
    add("lib/.wh.liba.so", "");
    add_libraries("usr/lib/liba.so");
    add("bin/b", "no program any more");
    finish();
    assert_needs("bin/a", "/usr/lib/liba.so /lib/libb.so");
    assert_needs("bin/b", "");
}

Test(resolve, knows_a_file_by_all_its_names)
{
    add_libraries("lib/liba.so");
    add_elf("bin/a", &(struct elf_says){.needed = {"liba.so"}});
    image_add_link(&f.it.made, "bin/b", S_IFREG, "bin/a");
    finish();
    assert_needs("bin/a", "/lib/liba.so");
    assert_needs("bin/b", "/lib/liba.so");
}

/* ---- Python */

static void add_python(void)
{
    add("usr/lib/python3.11/os.py", "import stat\n");
    add("usr/lib/python3.11/stat.py", "x = 1\n");
    add("usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", "x");
    add(SITE "numpy/__init__.py", "from . import core\nimport os, _json\n");
    add(SITE "numpy/core/__init__.py", "from numpy.core import multiarray\nfrom ..lib import x\n");
    add(SITE "numpy/core/multiarray.abi3.so", "x");
    add(SITE "numpy/lib.py", "import none\n");
}

Test(resolve, finds_modules_and_packages)
{
    add_python();
    finish();
    assert_needs("usr/lib/python3.11/os.py", "/usr/lib/python3.11/stat.py");
    assert_needs(SITE "numpy/__init__.py",
                 "/" SITE "numpy/core/__init__.py /usr/lib/python3.11/os.py "
                 "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so");
    assert_needs(SITE "numpy/core/__init__.py",
                 "/" SITE "numpy/__init__.py /" SITE "numpy/core/multiarray.abi3.so /" SITE
                 "numpy/lib.py");
    assert_needs(SITE "numpy/lib.py", "");
}

Test(resolve, knows_that_the_compiled_module_is_what_is_read)
{
    add_python();
    add("usr/lib/python3.11/__pycache__/os.cpython-311.opt-1.pyc", "x");
    add("usr/lib/python3.11/__pycache__/os.cpython-311.pyc", "x");
    add("usr/lib/python3.11/__pycache__/stat.cpython-311.pyc", "x");
    add("usr/lib/python3.11/__pycache__/stat.cpython-39.pyc", "x");
    add(SITE "numpy/__pycache__/__init__.cpython-311.pyc", "x");
    finish();
    assert_needs("usr/lib/python3.11/os.py", "");
    assert_needs("usr/lib/python3.11/__pycache__/os.cpython-311.pyc",
                 "/usr/lib/python3.11/__pycache__/stat.cpython-311.pyc");
    assert_needs(SITE "numpy/__pycache__/__init__.cpython-311.pyc",
                 "/" SITE "numpy/core/__init__.py "
                 "/usr/lib/python3.11/__pycache__/os.cpython-311.pyc "
                 "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so");
}

Test(resolve, finds_the_modules_of_an_application)
{
    add_python();
    add("app/main.py", "import util, numpy.lib\nfrom ns.part import x\n");
    add("app/util.py", "import main\n");
    add("app/ns/part.py", "import os\n");
    add("app/run", "#!/usr/bin/python3\nimport util\n");
    finish();
    assert_needs("app/main.py",
                 "/app/util.py /" SITE "numpy/__init__.py /" SITE "numpy/lib.py /app/ns/part.py");
    assert_needs("app/util.py", "/app/main.py");
    assert_needs("app/ns/part.py", "/usr/lib/python3.11/os.py");
    assert_needs("app/run", "/app/util.py");
}

Test(resolve, keeps_versions_of_python_apart)
{
    add_python();
    add("opt/lib/python3.9/os.py", "x = 1\n");
    add("opt/lib/python3.9/site-packages/a.py", "import os\n");
    add("usr/lib/python3/dist-packages/b.py", "import os\n");
    finish();
    assert_needs("opt/lib/python3.9/site-packages/a.py", "/opt/lib/python3.9/os.py");
    assert_needs(SITE "numpy/__init__.py",
                 "/" SITE "numpy/core/__init__.py /usr/lib/python3.11/os.py "
                 "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so");
}

Test(resolve, finds_what_python_reads_to_start)
{
    add_python();
    add("usr/lib/python3.11/encodings/__init__.py", "x = 1\n");
    add("usr/lib/python3.11/encodings/aliases.py", "x = 1\n");
    add("usr/lib/python3.11/site.py", "import os\n");
    add(SITE "a.pth", "import numpy\n");
    add("usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache", "x");
    add("usr/share/zoneinfo/Etc/UTC", "x");
    image_add_link(&f.it.made, "etc/localtime", S_IFLNK, "/usr/share/zoneinfo/Etc/UTC");
    add_elf("usr/bin/python3.11", &(struct elf_says){0});
    finish();
    assert_needs("usr/bin/python3.11",
                 "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache /usr/share/zoneinfo/Etc/UTC "
                 "/usr/lib/python3.11/encodings/__init__.py "
                 "/usr/lib/python3.11/encodings/aliases.py /usr/lib/python3.11/site.py /" SITE
                 "a.pth");
    assert_needs(SITE "a.pth", "/" SITE "numpy/__init__.py");
}

/* ---- hostile ones */

Test(resolve, goes_no_further_than_the_image)
{
    add_python();
    add("a.py", "from ........x import y\nfrom .. import os\nimport .., ...a\nimport a..b, .\n");
    add_elf("b", &(struct elf_says){.needed = {"../b", "..", ".", "/", "//b/"}});
    image_add_link(&f.it.made, "loop", S_IFLNK, "loop");
    add("c", "#!/loop/x\n");
    finish();
    assert_needs("a.py", "");
    assert_needs("b", "");
    assert_needs("c", "");
}

Test(resolve, takes_as_many_needs_of_a_file_as_there_is_room_for)
{
    char path[32], *source = malloc(1u << 16);
    size_t len = 0;
    uint64_t ino, needed;

    for (unsigned i = 0; i < RESOLVE_PER_FILE + 10; i++) {
        snprintf(path, sizeof(path), "m%u.py", i);
        add(path, "x = 1\n");
        len += (size_t)sprintf(source + len, "import m%u\n", i);
    }
    add("all.py", source);
    finish();
    ino = indexed_ino(&f.it, "all.py");
    cr_assert_eq(clip_image_need(f.it.image, ino, RESOLVE_PER_FILE - 1, &needed), 0);
    cr_assert_eq(clip_image_need(f.it.image, ino, RESOLVE_PER_FILE, &needed), -ENOENT);
    free(source);
}

/* ---- paths */

Test(resolve, names_a_node_by_its_path)
{
    char path[8];

    add("a/bc/def", "x");
    finish();
    cr_assert_eq(clip_image_path(f.it.image, CLIP_ROOT_INO, path, sizeof(path)), 1);
    cr_assert_str_eq(path, "/");
    cr_assert_eq(clip_image_path(f.it.image, indexed_ino(&f.it, "a/bc"), path, sizeof(path)), 5);
    cr_assert_str_eq(path, "/a/bc");
    cr_assert_eq(clip_image_path(f.it.image, indexed_ino(&f.it, "a/bc/def"), path, 8), 9);
    cr_assert_str_eq(path, "/a/bc/d");
    cr_assert_eq(clip_image_path(f.it.image, indexed_ino(&f.it, "a/bc/def"), path, 3), 9);
    cr_assert_str_eq(path, "/a");
    cr_assert_eq(clip_image_path(f.it.image, indexed_ino(&f.it, "a/bc/def"), NULL, 0), 9);
    cr_assert_eq(clip_image_path(f.it.image, 0, path, sizeof(path)), -ENOENT);
    cr_assert_eq(clip_image_path(f.it.image, 99, path, sizeof(path)), -ENOENT);
}
