/* SPDX-License-Identifier: Apache-2.0 */
/* Each archive is read whole, byte by byte and at random cuts (test/lib/tarball.h). */
#include "test/lib/tarball.h"

#include "index/tar_header.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fixture {
    struct tarball t;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
}

static void tear_down(void)
{
    tarball_fini(&f.t);
}

TestSuite(tar, .init = set_up, .fini = tear_down, .timeout = 300);

#define READS(expected)                                                                            \
    do {                                                                                           \
        const char *text = tarball_read(&f.t);                                                     \
        cr_assert_str_eq(text, expected, "%s%s", text, f.t.err.message);                           \
    } while (0)

/* Whatever came before it. */
#define REFUSES(part)                                                                              \
    do {                                                                                           \
        const char *text = tarball_read(&f.t);                                                     \
        cr_assert(strstr(text, "error"), "%s", text);                                              \
        cr_assert(strstr(f.t.err.message, part), "%s", f.t.err.message);                           \
    } while (0)

static void add_file(const char *name, const char *content)
{
    tarball_header(&f.t, '0', name, strlen(content));
    tarball_data(&f.t, content, strlen(content));
}

/* Bytes at an offset of the header made last. */
static void change(uint8_t *header, size_t off, const void *bytes, size_t len)
{
    memcpy(header + off, bytes, len);
    tarball_sum(header);
}

/* ---- ustar, V7 */

Test(tar, reads_every_type_of_ustar)
{
    uint8_t *h;

    add_file("a", "hello");
    h = tarball_header(&f.t, '1', "b", 0);
    change(h, 157, "a", 1);
    h = tarball_header(&f.t, '2', "c", 0);
    change(h, 157, "../d", 4);
    h = tarball_header(&f.t, '3', "e", 0);
    tarball_octal(h + 329, 8, 5);
    tarball_octal(h + 337, 8, 1);
    tarball_sum(h);
    tarball_header(&f.t, '4', "f", 0);
    h = tarball_header(&f.t, '5', "g/", 0);
    tarball_octal(h + 100, 8, 041777);
    tarball_octal(h + 108, 8, 1000);
    tarball_octal(h + 116, 8, 2000);
    tarball_octal(h + 136, 12, 1700000000);
    tarball_sum(h);
    tarball_header(&f.t, '6', "h", 0);
    tarball_header(&f.t, '7', "i", 0);
    tarball_end(&f.t);
    READS("file a 0644 0:0 @0 5 {0+5} 'hello'\n"
          "link b -> a 0644 0:0 @0\n"
          "symlink c -> ../d 0644 0:0 @0\n"
          "char e 0644 0:0 @0 5,1\n"
          "block f 0644 0:0 @0 0,0\n"
          "dir g/ 1777 1000:2000 @1700000000\n"
          "fifo h 0644 0:0 @0\n"
          "file i 0644 0:0 @0 0\n");
}

Test(tar, joins_prefix_and_name_of_full_length)
{
    char name[101], prefix[156], expected[300];
    uint8_t *h;

    memset(name, 'n', 100);
    memset(prefix, 'p', 155);
    name[100] = prefix[155] = '\0';
    h = tarball_header(&f.t, '0', name, 0);
    change(h, 345, prefix, 155);
    snprintf(expected, sizeof(expected), "file %s/%s 0644 0:0 @0 0\n", prefix, name);
    READS(expected);
}

Test(tar, takes_no_times_of_star_or_gnu_for_a_prefix)
{
    uint8_t *h = tarball_header(&f.t, '0', "star", 0);

    memset(h + 345, 'p', 155);
    change(h, 508, "tar", 4);
    h = tarball_header(&f.t, '0', "gnu", 0);
    memcpy(h + 257, "ustar  ", 8);
    change(h, 345, "12345670123", 11);
    tarball_read(&f.t);
    cr_assert(strstr(f.t.text, "p/star 0644"));
    cr_assert_eq(strspn(f.t.text + 5, "p"), 131);
    cr_assert(strstr(f.t.text, "file gnu 0644"));
}

Test(tar, reads_v7)
{
    uint8_t *h = tarball_header(&f.t, '\0', "dir/", 0);

    change(h, 257, "\0\0\0\0\0\0\0", 8);
    h = tarball_header(&f.t, '\0', "file", 2);
    change(h, 257, "\0\0\0\0\0\0\0", 8);
    tarball_data(&f.t, "hi", 2);
    h = tarball_header(&f.t, '0', "slash/", 2);
    tarball_data(&f.t, "hi", 2);
    READS("dir dir/ 0644 0:0 @0\n"
          "file file 0644 0:0 @0 2 {0+2} 'hi'\n"
          "file slash/ 0644 0:0 @0 2 {0+2} 'hi'\n");
}

Test(tar, reads_numbers_as_old_archivers_wrote_them)
{
    uint8_t *h = tarball_header(&f.t, '0', "a", 0);

    memcpy(h + 100, "   755 \0", 8); /* V7: blanks in front, blank and NUL behind */
    memcpy(h + 108, "       \0", 8); /* nothing */
    memcpy(h + 116, "7777777\0", 8);
    memcpy(h + 136, "777777777777", 12); /* no end */
    tarball_sum(h);
    READS("file a 0755 0:2097151 @68719476735 0\n");
}

Test(tar, believes_a_sum_of_signed_characters)
{
    uint8_t *h = tarball_header(&f.t, '0', "\xc3\xa9", 0);
    int sum = 0;

    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (int8_t)h[i];
    tarball_octal(h + 148, 7, (uint64_t)sum);
    READS("file \xc3\xa9 0644 0:0 @0 0\n");
}

Test(tar, gives_names_as_bytes)
{
    char name[256], expected[400];

    add_file("\xff\xfe\x80", "");
    add_file("tab\there", "");
    memset(name, '\xe4', 255);
    name[255] = '\0';
    tarball_pax(&f.t, 'x', "path", name, NULL);
    add_file("short", "");
    snprintf(expected, sizeof(expected),
             "file \xff\xfe\x80 0644 0:0 @0 0\nfile tab\there 0644 0:0 @0 0\n"
             "file %s 0644 0:0 @0 0\n",
             name);
    READS(expected);
}

Test(tar, passes_over_data_of_what_has_none)
{
    uint8_t *h = tarball_header(&f.t, '1', "link", 512); /* as cpio and old tars write it */

    change(h, 157, "a", 1);
    tarball_header(&f.t, '5', "dir", 4096);
    add_file("next", "x");
    READS("link link -> a 0644 0:0 @0\n"
          "dir dir 0644 0:0 @0\n"
          "file next 0644 0:0 @0 1 {0+1} 'x'\n");
}

/* ---- GNU */

Test(tar, reads_long_names_and_links_of_gnu)
{
    char name[5001], expected[10100];

    memset(name, 'a', 5000);
    for (int i = 100; i < 5000; i += 101)
        name[i] = '/';
    name[5000] = '\0';
    tarball_meta(&f.t, 'L', name, 5001);
    tarball_meta(&f.t, 'K', name, 5001);
    tarball_header(&f.t, '2', "cut", 0);
    add_file("next", "");
    snprintf(expected, sizeof(expected), "symlink %s -> %s 0644 0:0 @0\nfile next 0644 0:0 @0 0\n",
             name, name);
    READS(expected);
}

Test(tar, reads_base_256)
{
    uint8_t *h = tarball_header(&f.t, '0', "a", 0);

    tarball_binary(h + 108, 8, 4294967295);
    tarball_binary(h + 116, 8, 2097152);
    tarball_binary(h + 136, 12, -86400);
    tarball_sum(h);
    h = tarball_header(&f.t, '0', "b", 0);
    tarball_binary(h + 124, 12, 3);
    tarball_binary(h + 136, 12, INT64_MIN);
    memset(h + 136, 0xff, 4);
    tarball_sum(h);
    tarball_data(&f.t, "abc", 3);
    READS("file a 0644 4294967295:2097152 @-86400 0\n"
          "file b 0644 0:0 @-9223372036854775808 3 {0+3} 'abc'\n");
}

Test(tar, refuses_numbers_that_do_not_fit)
{
    static const struct {
        size_t off, len;
        const char *part;
    } fields[] = {{108, 8, "owner"}, {116, 8, "owner"}, {124, 12, "size"}, {136, 12, "time"}};

    for (size_t i = 0; i < 4; i++) {
        uint8_t *h = tarball_header(&f.t, '0', "a", 0);
        memset(h + fields[i].off, 0x7f, fields[i].len);
        h[fields[i].off] = 0x80;
        tarball_sum(h);
        REFUSES(fields[i].part);
        f.t.len = 0;
    }
    for (size_t i = 0; i < 3; i++) {
        uint8_t *h = tarball_header(&f.t, '0', "a", 0);
        tarball_binary(h + fields[i].off, fields[i].len, -1);
        tarball_sum(h);
        REFUSES(fields[i].part);
        f.t.len = 0;
    }
    change(tarball_header(&f.t, '0', "a", 0), 100, "0x1ff", 5);
    REFUSES("mode");
}

/* offset, length pairs from 386 on; the size at 483 */
static uint8_t *add_old_sparse(const char *name, uint64_t stored, uint64_t size, bool more)
{
    uint8_t *h = tarball_header(&f.t, 'S', name, stored);

    memcpy(h + 257, "ustar  ", 8);
    h[482] = more;
    tarball_octal(h + 483, 12, size);
    return h;
}

static void put_pair(uint8_t *at, uint64_t off, uint64_t len)
{
    tarball_octal(at, 12, off);
    tarball_octal(at + 12, 12, len);
}

/* "s" of 12 bytes, "abc" from 2 on. */
static void add_sparse_abc(void)
{
    uint8_t *h = add_old_sparse("s", 3, 12, false);

    put_pair(h + 386, 2, 3);
    tarball_sum(h);
    tarball_data(&f.t, "abc", 3);
}

/* The header of "s" of 12 bytes, six of them stored, without its sum. */
static uint8_t *add_two_stretches(void)
{
    uint8_t *h = add_old_sparse("s", 6, 12, false);

    put_pair(h + 386, 2, 3);
    put_pair(h + 386 + 24, 7, 3);
    put_pair(h + 386 + 48, 12, 0);
    return h;
}

Test(tar, reads_old_sparse_files_of_gnu)
{
    uint8_t *h = add_two_stretches();

    tarball_sum(h);
    tarball_data(&f.t, "abcdef", 6);
    add_file("next", "");
    READS("file s 0644 0:0 @0 12 {2+3} {7+3} '..abc..def..'\nfile next 0644 0:0 @0 0\n");
}

Test(tar, reads_old_sparse_files_with_further_blocks)
{
    uint8_t *h = add_old_sparse("s", 5, 10, true);
    uint8_t more[512] = {0};

    for (unsigned i = 0; i < 4; i++)
        put_pair(h + 386 + 24 * i, 2 * i, 1);
    tarball_sum(h);
    put_pair(more, 8, 1);
    put_pair(more + 24, 10, 0);
    tarball_data(&f.t, more, sizeof(more));
    tarball_data(&f.t, "abcde", 5);
    READS("file s 0644 0:0 @0 10 {0+1} {2+1} {4+1} {6+1} {8+1} 'a.b.c.d.e.'\n");
}

Test(tar, ends_old_sparse_maps_where_all_tars_do)
{
    uint8_t *h = add_old_sparse("s", 3, 12, false);

    put_pair(h + 386, 2, 3);
    put_pair(h + 386 + 48, 9, 3); /* behind the end */
    tarball_sum(h);
    tarball_data(&f.t, "abc", 3);
    h = add_old_sparse("t", 4, 8, true);
    for (unsigned i = 0; i < 4; i++)
        put_pair(h + 386 + 24 * i, 2 * i, 1);
    tarball_sum(h);
    tarball_data(&f.t, "", 1); /* a further block, of nothing */
    tarball_data(&f.t, "abcd", 4);
    READS("file s 0644 0:0 @0 12 {2+3} '..abc.......'\n"
          "file t 0644 0:0 @0 8 {0+1} {2+1} {4+1} {6+1} 'a.b.c.d.'\n");
}

Test(tar, reads_old_sparse_files_with_xattrs)
{
    tarball_pax(&f.t, 'x', "SCHILY.xattr.user.a", "1", NULL);
    add_sparse_abc();
    READS("file s 0644 0:0 @0 12 {2+3} [user.a=31] '..abc.......'\n");
}

/* Each differs in one field from {2+3} {7+3} {12+0} of 12 bytes. GNU tar ends a map at a blank
 * length, Go and libarchive at a blank offset; libarchive passes over a blank size. */
Test(tar, refuses_old_sparse_maps_that_tars_read_in_different_ways)
{
    static const struct {
        size_t off, len;
        char field[13];
    } wrong[] = {
        {257, 8, "ustar\0000"},   /* a magic of another format */
        {483, 12, ""},            /* no size */
        {483, 12, "           "}, /* nor here */
        {483, 12, "0000000001x"}, /* one that is no number */
        {483, 12, "00000000011"}, /* one that ends before the file does */
        {386, 12, ""},            /* no offset */
        {386, 12, "           "}, /* nor here */
        {386, 12, "0000000000x"}, /* one that is no number */
        {386, 12, "\377\377\377\377\377\377\377\377\377\377\377\377"}, /* one before the file */
        {386, 12, "00000000010"},                                      /* out of order */
        {398, 12, ""},                                                 /* no length */
        {398, 12, "00000000002"},                                      /* less than there is */
        {398, 12, "00000000004"},                                      /* more than there is */
        {398, 12, "00000000006"},                                      /* over each other */
        {398, 12, "\377\377\377\377\377\377\377\377\377\377\377\377"}, /* less than nothing */
        {434, 12, "77777777777"},                                      /* past the end */
        {470, 12, "\305\305\305\305\305\305\305\305"}, /* a length behind the end, of no offset */
        {482, 1, "\1"},                                /* further blocks behind the end */
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t *h = add_two_stretches();
        change(h, wrong[i].off, wrong[i].field, wrong[i].len);
        tarball_data(&f.t, "abcdef", 6);
        tarball_end(&f.t);
        tarball_read(&f.t);
        cr_assert(strstr(f.t.text, "error"), "%zu: %s", i, f.t.text);
        cr_assert(strstr(f.t.err.message, "sparse"), "%zu: %s", i, f.t.err.message);
        f.t.len = 0;
    }
}

Test(tar, refuses_two_sparse_maps_of_a_file)
{
    tarball_pax(&f.t, 'x', "GNU.sparse.size", "10", "GNU.sparse.numblocks", "1", "GNU.sparse.map",
                "2,3", NULL);
    add_sparse_abc();
    REFUSES("sparse");
}

Test(tar, reads_sparse_files_of_pax_0_0)
{
    tarball_pax(&f.t, 'x', "GNU.sparse.size", "10", "GNU.sparse.numblocks", "2",
                "GNU.sparse.offset", "1", "GNU.sparse.numbytes", "2", "GNU.sparse.offset", "6",
                "GNU.sparse.numbytes", "3", NULL);
    add_file("s", "abcde");
    READS("file s 0644 0:0 @0 10 {1+2} {6+3} '.ab...cde.'\n");
}

Test(tar, reads_sparse_files_of_pax_0_1)
{
    tarball_pax(&f.t, 'x', "GNU.sparse.size", "10", "GNU.sparse.numblocks", "2", "GNU.sparse.map",
                "1,2,6,3", "GNU.sparse.name", "dir/s", NULL);
    add_file("GNUSparseFile.1/s", "abcde");
    READS("file dir/s 0644 0:0 @0 10 {1+2} {6+3} '.ab...cde.'\n");
}

static void add_pax_sparse(const char *size, const char *map, size_t map_len, const char *content)
{
    size_t blocks = (map_len + 511) / 512 * 512;

    tarball_pax(&f.t, 'x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s",
                "GNU.sparse.realsize", size, NULL);
    tarball_header(&f.t, '0', "GNUSparseFile.1/s", blocks + strlen(content));
    tarball_data(&f.t, map, map_len);
    tarball_data(&f.t, content, strlen(content));
}

Test(tar, reads_sparse_files_of_pax_1_0)
{
    add_pax_sparse("10", "2\n1\n2\n6\n3\n", 10, "abcde");
    add_pax_sparse("5", "0\n", 2, "");
    add_file("next", "x");
    READS("file s 0644 0:0 @0 10 {1+2} {6+3} '.ab...cde.'\n"
          "file s 0644 0:0 @0 5 '.....'\n"
          "file next 0644 0:0 @0 1 {0+1} 'x'\n");
}

Test(tar, reads_a_sparse_map_of_many_blocks_in_time)
{
    enum { N = 200000 };
    char *map = malloc(N * 20), *content = malloc(N + 1), line[64];
    size_t len = (size_t)sprintf(map, "%d\n", N);
    struct tar *tar;
    int event;

    for (unsigned i = 0; i < N; i++)
        len += (size_t)sprintf(map + len, "%u\n1\n", 2 * i);
    memset(content, 'x', N);
    content[N] = '\0';
    snprintf(line, sizeof(line), "%u", 2 * N);
    add_pax_sparse(line, map, len, content);
    cr_assert_eq(tar_new(&tar), 0);
    tar_feed(tar, f.t.bytes, f.t.len);
    event = tar_step(tar, &f.t.err);
    cr_assert_eq(event, TAR_ENTRY, "%s", f.t.err.message);
    cr_assert_eq(tar_entry(tar)->n_extents, N);
    tar_free(tar);
    free(map);
    free(content);
}

Test(tar, refuses_sparse_maps_that_are_not_those_of_the_data)
{
    static const char *const maps[] = {
        "1\n0\n4\n",        /* less than there is */
        "1\n0\n6\n",        /* more than there is */
        "1\n8\n5\n",        /* past the end */
        "2\n4\n3\n0\n2\n",  /* out of order */
        "2\n0\n3\n2\n2\n",  /* over each other */
        "1\n-1\n5\n",       /* before the file */
        "1\n0\nx\n",        /* no number */
        "99999999\n0\n5\n", /* too many */
        "9999999999999999999999\n",
        "\n\n\n",
        "1\n0\n", /* no end within the file */
    };

    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        add_pax_sparse("10", maps[i], strlen(maps[i]), "abcde");
        tarball_end(&f.t);
        tarball_read(&f.t);
        cr_assert(strstr(f.t.text, "error"), "map %zu: %s", i, f.t.text);
        f.t.len = 0;
    }
}

Test(tar, refuses_sparse_maps_of_pax_headers_that_are_none)
{
    static const struct {
        const char *blocks, *map, *key, *value;
    } wrong[] = {
        {"1", "1,2,6,3", "comment", ""},               /* more than there should be */
        {"3", "1,2,6,3", "comment", ""},               /* fewer */
        {"", "1,2,6,3", "comment", ""},                /* who knows */
        {"2", "1,2,6", "comment", ""},                 /* no length */
        {"2", "1,2,6,x", "comment", ""},               /* no number */
        {"2", "1,2,6,3", "GNU.sparse.offset", "0"},    /* of two forms */
        {"2", "1,2,6,3", "GNU.sparse.realsize", "11"}, /* of two sizes */
        {"2", "1,2,6,3", "GNU.sparse.size", ""},       /* of none */
        {"2", "1,2,6,3", "GNU.sparse.size", "x"},      /* of one that is no number */
        {"2", "1,2,6,3", "GNU.sparse.major", "2"},     /* of a form to come */
        {"2", "1,2,6,3", "GNU.sparse.minor", "1"},     /* of one that is not said */
        {"2", "", "GNU.sparse.offset", "1"},           /* an offset alone */
        {"2", "", "GNU.sparse.numbytes", "5"},         /* a length alone */
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        tarball_pax(&f.t, 'x', "GNU.sparse.size", "10", "GNU.sparse.numblocks", wrong[i].blocks,
                    "GNU.sparse.map", wrong[i].map, wrong[i].key, wrong[i].value, NULL);
        add_file("s", "abcde");
        tarball_read(&f.t);
        cr_assert(strstr(f.t.text, "error"), "%zu: %s", i, f.t.text);
        cr_assert(strstr(f.t.err.message, "sparse"), "%zu: %s", i, f.t.err.message);
        f.t.len = 0;
    }
}

Test(tar, refuses_a_sparse_map_that_lies_past_its_end)
{
    add_pax_sparse("5", "1\n100\n5\n", 8, "abcde"); /* its size is that of what is stored */
    REFUSES("sparse");
}

Test(tar, reads_directories_of_gnu_dumps_and_passes_over_labels)
{
    tarball_header(&f.t, 'V', "a volume", 0);
    tarball_header(&f.t, 'D', "dir/", 6);
    tarball_data(&f.t, "Yfile\0", 6);
    add_file("dir/file", "x");
    READS("dir dir/ 0644 0:0 @0\nfile dir/file 0644 0:0 @0 1 {0+1} 'x'\n");
}

Test(tar, refuses_volumes_that_go_on_and_types_that_nobody_knows)
{
    tarball_header(&f.t, 'M', "a", 0);
    REFUSES("another volume");
    f.t.len = 0;
    tarball_header(&f.t, 'Q', "a", 0);
    REFUSES("not known");
}

/* ---- pax */

Test(tar, takes_pax_values_over_those_of_the_header)
{
    tarball_pax(&f.t, 'x', "path", "long/name", "size", "5", "uid", "3000000000", "gid", "7",
                "mtime", "1700000000.123456789", "atime", "1", "comment", "=\n=", NULL);
    tarball_header(&f.t, '0', "short", 0);
    tarball_data(&f.t, "hello", 5);
    tarball_pax(&f.t, 'x', "linkpath", "to here", NULL);
    tarball_header(&f.t, '2', "l", 0);
    add_file("plain", "");
    READS("file long/name 0644 3000000000:7 @1700000000.123456789 5 {0+5} 'hello'\n"
          "symlink l -> to here 0644 0:0 @0\n"
          "file plain 0644 0:0 @0 0\n");
}

static void assert_time(const char *value, const char *expected)
{
    char line[100];

    f.t.len = 0;
    tarball_pax(&f.t, 'x', "mtime", value, NULL);
    add_file("a", "");
    snprintf(line, sizeof(line), "file a 0644 0:0 @%s 0\n", expected);
    READS(line);
}

Test(tar, reads_times_of_pax)
{
    assert_time("0", "0");
    assert_time("1.5", "1.500000000");
    assert_time("1.", "1");
    assert_time("-1.5", "-2.500000000");
    assert_time("-1", "-1");
    assert_time("1.1234567899", "1.123456789");
    assert_time("9223372036854775807", "9223372036854775807");
    assert_time("-9223372036854775807.5", "-9223372036854775808.500000000");
}

Test(tar, refuses_pax_values_that_are_no_numbers)
{
    static const char *const pairs[][2] = {
        {"mtime", "x"},
        {"mtime", "1.5x"},
        {"mtime", "9223372036854775808"},
        {"mtime", ".5"},
        {"mtime", "--1"},
        {"uid", "-1"},
        {"uid", "4294967296"},
        {"gid", "1 "},
        {"size", "-1"},
        {"size", "0x10"},
        {"size", "9223372036854775807"},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        f.t.len = 0;
        tarball_pax(&f.t, 'x', pairs[i][0], pairs[i][1], NULL);
        add_file("a", "");
        tarball_read(&f.t);
        cr_assert(strstr(f.t.text, "error"), "%s %s: %s", pairs[i][0], pairs[i][1], f.t.text);
    }
}

Test(tar, applies_global_headers_until_they_are_taken_back)
{
    tarball_pax(&f.t, 'g', "uid", "5", "mtime", "7", "comment", "a commit", NULL);
    add_file("a", "");
    tarball_pax(&f.t, 'x', "uid", "6", NULL);
    add_file("b", "");
    tarball_pax(&f.t, 'x', "uid", "", NULL);
    tarball_pax(&f.t, 'g', "mtime", "", "gid", "8", NULL);
    add_file("c", "");
    add_file("d", "");
    READS("file a 0644 5:0 @7 0\n"
          "file b 0644 6:0 @7 0\n"
          "file c 0644 0:8 @0 0\n"
          "file d 0644 5:8 @0 0\n");
}

Test(tar, lets_the_last_record_of_a_key_count)
{
    tarball_pax(&f.t, 'x', "path", "first", "SCHILY.xattr.user.a", "1", "path", "last",
                "SCHILY.xattr.user.a", "2", NULL);
    add_file("a", "");
    READS(
        "file last 0644 0:0 @0 0 [user.a=31] [user.a=32]\n"); /* in their order: tree's to choose */
}

Test(tar, reads_xattrs_of_schily_and_of_libarchive)
{
    static const char capability[] =
        "53 SCHILY.xattr.security.capability=\1\0\0\2\1\0\0\0\0\0\0\0\0"
        "\0\0\0\n";

    tarball_meta(&f.t, 'x', capability, sizeof(capability) - 1);
    add_file("a", "");
    tarball_pax(&f.t, 'x', "LIBARCHIVE.xattr.user.%62", "YmluYXJ5", "SCHILY.xattr.user.empty", "",
                NULL);
    add_file("b", "x");
    READS("file a 0644 0:0 @0 0 [security.capability=01000002010000000000000000000000]\n"
          "file b 0644 0:0 @0 1 {0+1} [user.b=62696e617279] [user.empty=] 'x'\n");
}

Test(tar, reads_acls_as_the_kernel_has_them)
{
    tarball_pax(&f.t, 'x', "SCHILY.acl.access",
                "user::rw-,user:1000:r--,group::r--,mask::r--,other::---", "SCHILY.acl.default",
                "user::rwx,group::r-x,other::r-x", NULL);
    tarball_header(&f.t, '5', "d", 0);
    READS("dir d 0644 0:0 @0 "
          "[system.posix_acl_access=020000000100"
          "0600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff] "
          "[system.posix_acl_default=02000000010007"
          "00ffffffff04000500ffffffff20000500ffffffff]\n");
}

Test(tar, leaves_out_acls_of_names_whose_numbers_are_not_known)
{
    tarball_pax(&f.t, 'x', "SCHILY.acl.access",
                "user::rw-\nuser:lp:r--\ngroup::r--\nmask::r--\nother::---\n", "SCHILY.acl.default",
                "user::rwx,user:lp:r-x:7,group::r-x,mask::rwx,other::r-x", NULL);
    tarball_header(&f.t, '5', "d", 0);
    READS("dir d 0644 0:0 @0 [system.posix_acl_default=0200000001000700ffffffff02000500070000000400"
          "0500ffffffff10000700ffffffff20000500ffffffff]\n");
}

Test(tar, refuses_pax_records_that_are_none)
{
    static const char *const payloads[] = {
        "x",        "5 a=b",    "999 a=b\n",  "6 ab\n=",
        "6 =bcd\n", "0 a=b\n",  "6 a=b\n6 a", "18446744073709551617 path=a\n",
        " 6 a=b\n", "path=a\n",
    };

    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        f.t.len = 0;
        tarball_meta(&f.t, i % 2 ? 'g' : 'x', payloads[i], strlen(payloads[i]));
        add_file("a", "");
        REFUSES("record");
    }
}

Test(tar, refuses_a_name_with_a_nul)
{
    tarball_meta(&f.t, 'x', "12 path=a\0b\n", 12);
    add_file("a", "");
    REFUSES("NUL");
}

Test(tar, refuses_metadata_without_end)
{
    for (int i = 0; i < 100; i++)
        tarball_pax(&f.t, 'x', "path", "a", NULL);
    add_file("a", "");
    REFUSES("without end");
    f.t.len = 0;
    tarball_header(&f.t, 'L', "a", (1u << 20) + 1);
    REFUSES("without end");
}

Test(tar, takes_many_global_headers_in_time)
{
    for (int i = 0; i < 10000; i++) {
        tarball_pax(&f.t, 'g', "mtime", "5", NULL);
        if (i % 50 == 0)
            add_file("a", "");
    }
    cr_assert_eq(strncmp(tarball_read(&f.t), "file a 0644 0:0 @5 0\n", 21), 0);
}

/* ---- ends */

Test(tar, of_nothing_has_no_entries)
{
    READS("");
    tarball_end(&f.t);
    READS("");
}

Test(tar, needs_no_end_blocks)
{
    add_file("a", "x");
    READS("file a 0644 0:0 @0 1 {0+1} 'x'\n");
    f.t.len -= 511; /* nor the padding */
    READS("file a 0644 0:0 @0 1 {0+1} 'x'\n");
}

Test(tar, ignores_what_comes_after_its_end)
{
    add_file("a", "");
    tarball_end(&f.t);
    tarball_data(&f.t, "garbage", 7);
    add_file("b", "");
    READS("file a 0644 0:0 @0 0\n");
}

Test(tar, goes_on_after_a_lone_zero_block)
{
    static const char zeros[512];

    add_file("a", "");
    tarball_data(&f.t, zeros, sizeof(zeros));
    add_file("b", "");
    READS("file a 0644 0:0 @0 0\nfile b 0644 0:0 @0 0\n");
}

Test(tar, refuses_an_end_inside_of_an_entry)
{
    add_file("a", "hello");
    tarball_header(&f.t, '0', "lies", 1u << 30);
    tarball_data(&f.t, "short", 5);
    REFUSES("byte 1024");
    f.t.len = 514;
    REFUSES("ends inside");
}

Test(tar, refuses_an_end_inside_of_what_describes_the_next)
{
    tarball_pax(&f.t, 'x', "path", "a", NULL);
    REFUSES("inside of an entry");
    tarball_end(&f.t);
    REFUSES("describes the next");
}

Test(tar, refuses_garbage_and_says_where)
{
    char block[512] = "this is no header";

    add_file("a", "hello");
    tarball_data(&f.t, block, sizeof(block));
    REFUSES("checksum that is wrong, in the header at byte 1024");
}

Test(tar, keeps_its_place_when_a_size_lies_low)
{
    tarball_header(&f.t, '0', "a", 3);
    tarball_data(&f.t, "abc", 3);
    tarball_data(&f.t, "the rest", 8);
    REFUSES("checksum that is wrong, in the header at byte 1024");
}

/* ---- numbers alone */

Test(tar, number_fields)
{
    static const struct {
        const char *field;
        int r;
        int64_t value;
    } fields[] = {
        {"0000644", 0, 0644},           {"    644", 0, 0644},
        {"644    ", 0, 0644},           {"       ", 0, 0},
        {"\0\0\0\0\0\0\0", 0, 0},       {"64 4   ", 0, 064},
        {"648    ", -EBADMSG, 0},       {"-1     ", -EBADMSG, 0},
        {"\x80\0\0\0\0\0\1\1", 0, 257}, {"\xff\xff\xff\xff\xff\xff\xff\xfe", 0, -2},
    };
    int64_t value;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        int r = tar_number((const uint8_t *)fields[i].field, 8, &value);
        cr_assert_eq(r, fields[i].r, "%zu", i);
        cr_assert(r < 0 || value == fields[i].value, "%zu: %ld", i, (long)value);
    }
}
