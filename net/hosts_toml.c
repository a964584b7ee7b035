/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is read statement by statement: a table's header says whose the keys below it are, a key
 * has a value. Values are read into a flat list of strings, which is all that is made of them.
 * Failure: CLIP_EFORMAT with the line for what is not TOML as these files use it, or of the wrong
 * type; -ENOTSUP for what clip will not do.
 */
#include "net/hosts_toml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING_MAX  1024u
#define VALUES_MAX  16u
#define NESTING_MAX 3u
#define KEYS_MAX    4u /* of a dotted name */

enum value_sort { VALUE_STRING, VALUE_TRUE, VALUE_FALSE, VALUE_NUMBER, VALUE_ARRAY };

struct value {
    enum value_sort sort;
    char texts[VALUES_MAX][STRING_MAX]; /* of a string, or of all strings in an array */
    unsigned n;
};

struct name {
    char parts[KEYS_MAX][STRING_MAX];
    unsigned n;
};

struct reader {
    const char *file;
    const char *at, *end;
    unsigned line;
    struct hosts *out;
    struct hosts_entry *entry; /* whose keys come; NULL: nobody's */
    struct name name;
    struct value value;
    struct clip_error *err;
};

static void fini_entry(struct hosts_entry *entry)
{
    free(entry->url);
    free(entry->ca);
    entry->url = entry->ca = NULL;
}

void hosts_fini(struct hosts *hosts)
{
    for (unsigned i = 0; i < hosts->n; i++)
        fini_entry(&hosts->list[i]);
    fini_entry(&hosts->server);
    hosts->n = 0;
}

static int bad(struct reader *reader, const char *what)
{
    return err_set(reader->err, CLIP_EFORMAT, "%s: line %u: %s", reader->file, reader->line, what);
}

static int not_for_us(struct reader *reader, const char *what)
{
    return err_set(reader->err, -ENOTSUP, "%s: line %u: %s", reader->file, reader->line, what);
}

/* ------------------------------------------------------------------ characters */

static char peek(const struct reader *reader)
{
    return reader->at < reader->end ? *reader->at : '\0';
}

static void skip_blanks(struct reader *reader)
{
    while (peek(reader) == ' ' || peek(reader) == '\t')
        reader->at++;
}

static void skip_comment(struct reader *reader)
{
    if (peek(reader) == '#')
        while (reader->at < reader->end && *reader->at != '\n')
            reader->at++;
}

/* Blanks, comments, ends of lines. */
static void skip_space(struct reader *reader)
{
    for (;;) {
        skip_blanks(reader);
        skip_comment(reader);
        if (peek(reader) == '\r' && reader->at + 1 < reader->end && reader->at[1] == '\n')
            reader->at++;
        if (peek(reader) != '\n')
            return;
        reader->line++;
        reader->at++;
    }
}

static int end_line(struct reader *reader)
{
    skip_blanks(reader);
    skip_comment(reader);
    if (peek(reader) == '\r')
        reader->at++;
    if (reader->at < reader->end && *reader->at != '\n')
        return bad(reader, "something stands behind the end of a statement");
    return 0;
}

static bool is_bare(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* --------------------------------------------------------------------- strings */

/* "..." with \" and \\ alone, or '...'. */
static int take_string(struct reader *reader, char *out)
{
    char quote = *reader->at++;
    size_t len = 0;

    for (; peek(reader) != quote; reader->at++) {
        char c = peek(reader);
        if (c == '\\' && quote == '"') {
            reader->at++;
            c = peek(reader);
            if (c != '"' && c != '\\')
                return bad(reader, "an escape other than \\\" and \\\\ in a string");
        }
        if (iscntrl((unsigned char)c)) /* the end, too */
            return bad(reader, "a string does not end in its line");
        if (len + 1 >= STRING_MAX)
            return bad(reader, "a string that is too long");
        out[len++] = c;
    }
    reader->at++;
    out[len] = '\0';
    return 0;
}

static int take_key(struct reader *reader, char *out)
{
    size_t len = 0;

    skip_blanks(reader);
    if (peek(reader) == '"' || peek(reader) == '\'')
        return take_string(reader, out);
    while (is_bare(peek(reader)) && len + 1 < STRING_MAX)
        out[len++] = *reader->at++;
    out[len] = '\0';
    return len > 0 ? 0 : bad(reader, "a key is missing");
}

/* a.b."c" */
static int take_name(struct reader *reader)
{
    struct name *name = &reader->name;
    int r;

    name->n = 0;
    do {
        if (name->n == KEYS_MAX)
            return bad(reader, "a name with too many dots");
        r = take_key(reader, name->parts[name->n]);
        if (r < 0)
            return r;
        name->n++;
        skip_blanks(reader);
    } while (peek(reader) == '.' && reader->at++);
    return 0;
}

/* ---------------------------------------------------------------------- values */

static int take_item(struct reader *reader, unsigned nesting);

static int take_array(struct reader *reader, unsigned nesting)
{
    int r;

    if (nesting >= NESTING_MAX)
        return bad(reader, "arrays nested too deeply");
    reader->at++;
    for (skip_space(reader); peek(reader) != ']'; skip_space(reader)) {
        r = take_item(reader, nesting + 1);
        if (r < 0)
            return r;
        skip_space(reader);
        if (peek(reader) == ',')
            reader->at++;
        else if (peek(reader) != ']')
            return bad(reader, "an array's items need commas between and a ] at the end");
    }
    reader->at++;
    return 0;
}

static int take_bare(struct reader *reader, enum value_sort *out)
{
    const char *begin = reader->at;
    size_t len;

    while (is_bare(peek(reader)) || strchr("+.:", peek(reader) ? peek(reader) : 'x'))
        reader->at++;
    len = (size_t)(reader->at - begin);
    if (len == 4 && memcmp(begin, "true", 4) == 0)
        *out = VALUE_TRUE;
    else if (len == 5 && memcmp(begin, "false", 5) == 0)
        *out = VALUE_FALSE;
    else if (len > 0 && (isdigit((unsigned char)*begin) || *begin == '-' || *begin == '+'))
        *out = VALUE_NUMBER;
    else
        return bad(reader, "a value is no string, boolean, number or array");
    return 0;
}

static int take_item(struct reader *reader, unsigned nesting)
{
    struct value *value = &reader->value;
    enum value_sort ignored;
    int r;

    if (peek(reader) == '[')
        return take_array(reader, nesting);
    if (peek(reader) != '"' && peek(reader) != '\'')
        return take_bare(reader, &ignored);
    if (value->n == VALUES_MAX)
        return bad(reader, "an array with too many items");
    r = take_string(reader, value->texts[value->n]);
    if (r == 0)
        value->n++;
    return r;
}

static int take_value(struct reader *reader)
{
    struct value *value = &reader->value;
    char c = peek(reader);

    value->n = 0;
    value->sort = c == '[' ? VALUE_ARRAY : VALUE_STRING;
    if (c == '[' || c == '"' || c == '\'')
        return take_item(reader, 0);
    return take_bare(reader, &value->sort);
}

/* ------------------------------------------------------------------ what it means */

static int set_text(struct reader *reader, char **out, const char *text)
{
    if (*out)
        return bad(reader, "a key that stands there twice");
    *out = strdup(text);
    return *out ? 0 : err_set(reader->err, -ENOMEM, "out of memory for %s", reader->file);
}

static int set_url(struct reader *reader, char **out, const char *url)
{
    char with_scheme[STRING_MAX + 16];

    snprintf(with_scheme, sizeof(with_scheme), "%s%s", strstr(url, "://") ? "" : "https://", url);
    return set_text(reader, out, with_scheme);
}

static int set_capabilities(struct reader *reader)
{
    const struct value *value = &reader->value;

    if (value->sort != VALUE_ARRAY)
        return bad(reader, "capabilities is an array of strings");
    reader->entry->pull = reader->entry->resolve = false;
    for (unsigned i = 0; i < value->n; i++) {
        if (strcmp(value->texts[i], "pull") == 0)
            reader->entry->pull = true;
        else if (strcmp(value->texts[i], "resolve") == 0)
            reader->entry->resolve = true;
        else if (strcmp(value->texts[i], "push") != 0)
            return bad(reader, "capabilities are pull, resolve and push");
    }
    return 0;
}

static int set_ca(struct reader *reader)
{
    const struct value *value = &reader->value;
    const char *slash = strrchr(reader->file, '/');
    char path[2 * STRING_MAX];

    if (value->sort != VALUE_ARRAY && value->sort != VALUE_STRING)
        return bad(reader, "ca is a file's name, or an array of one");
    if (value->n > 1)
        return not_for_us(reader, "more than one ca; put the certificates into one file");
    if (value->n == 0)
        return 0;
    if (value->texts[0][0] == '/' || !slash)
        return set_text(reader, &reader->entry->ca, value->texts[0]);
    snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - reader->file), reader->file,
             value->texts[0]);
    return set_text(reader, &reader->entry->ca, path);
}

static int set_bool(struct reader *reader, bool *out)
{
    if (reader->value.sort != VALUE_TRUE && reader->value.sort != VALUE_FALSE)
        return bad(reader, "a value that is neither true nor false");
    *out = reader->value.sort == VALUE_TRUE;
    return 0;
}

static int set_skip_verify(struct reader *reader)
{
    bool skip = false;
    int r = set_bool(reader, &skip);

    if (r == 0 && skip)
        return not_for_us(reader, "skip_verify: clip does not talk to who cannot prove his name; "
                                  "name the registry's CA with ca = \"FILE\"");
    return r;
}

static int set_key(struct reader *reader, const char *key)
{
    if (strcmp(key, "capabilities") == 0)
        return set_capabilities(reader);
    if (strcmp(key, "ca") == 0)
        return set_ca(reader);
    if (strcmp(key, "override_path") == 0)
        return set_bool(reader, &reader->entry->override_path);
    if (strcmp(key, "skip_verify") == 0)
        return set_skip_verify(reader);
    if (strcmp(key, "client") == 0)
        return not_for_us(reader, "client: put the certificate and its key beside hosts.toml as "
                                  "client.cert and client.key");
    if (strcmp(key, "header") == 0)
        return not_for_us(reader, "header: clip sends no headers of others");
    return 0;
}

static int take_assignment(struct reader *reader)
{
    int r;

    r = take_name(reader);
    if (r < 0)
        return r;
    if (peek(reader) != '=')
        return bad(reader, "a key has no = behind it");
    reader->at++;
    skip_blanks(reader);
    r = take_value(reader);
    if (r < 0 || reader->name.n > 1 || !reader->entry)
        return r;
    if (reader->entry == &reader->out->server && strcmp(reader->name.parts[0], "server") == 0)
        return reader->value.sort == VALUE_STRING
                   ? set_url(reader, &reader->entry->url, reader->value.texts[0])
                   : bad(reader, "server is a string");
    return set_key(reader, reader->name.parts[0]);
}

static int begin_host(struct reader *reader, const char *url)
{
    struct hosts *out = reader->out;

    if (out->n == HOSTS_MAX)
        return bad(reader, "too many hosts");
    reader->entry = &out->list[out->n];
    *reader->entry = (struct hosts_entry){.pull = true, .resolve = true};
    out->n++;
    return set_url(reader, &reader->entry->url, url);
}

static int take_table(struct reader *reader)
{
    const struct name *name = &reader->name;
    int r;

    reader->at++;
    if (peek(reader) == '[')
        return bad(reader, "an array of tables has no meaning here");
    r = take_name(reader);
    if (r < 0)
        return r;
    if (peek(reader) != ']')
        return bad(reader, "a table's name has no ] behind it");
    reader->at++;
    if (strcmp(name->parts[name->n - 1], "header") == 0)
        return set_key(reader, "header");
    reader->entry = NULL;
    if (name->n == 2 && strcmp(name->parts[0], "host") == 0)
        return begin_host(reader, name->parts[1]);
    return 0;
}

int hosts_parse(const char *name, const void *text, size_t len, struct hosts *out,
                struct clip_error *err)
{
    struct reader *reader = calloc(1, sizeof(*reader)); /* too large for a stack */
    struct hosts hosts = {.server = {.pull = true, .resolve = true}};
    int r = 0;

    if (!reader)
        return err_set(err, -ENOMEM, "out of memory for %s", name);
    *reader = (struct reader){
        .file = name, .at = text, .end = (const char *)text + len, .line = 1, .err = err};
    reader->out = &hosts;
    reader->entry = &hosts.server;
    for (skip_space(reader); r == 0 && reader->at < reader->end; skip_space(reader)) {
        r = peek(reader) == '[' ? take_table(reader) : take_assignment(reader);
        if (r == 0)
            r = end_line(reader);
    }
    free(reader);
    if (r < 0)
        hosts_fini(&hosts);
    else
        *out = hosts;
    return r;
}
