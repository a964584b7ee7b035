/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement is looked at by its first word; what else it says is passed over, which needs to know
 * of strings, brackets, comments and line ends, and of nothing else of the language. A block that
 * does not run on import is passed over by its indentation.
 */
#include "index/needs_python.h"

#include <string.h>

#define TAB_LEN 8u

struct scan {
    const char *at, *end;
    struct needs_list *out;
    unsigned indent; /* of the statement */
    bool skips;      /* what is indented more than `skip_indent` */
    unsigned skip_indent;
};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* ---- what is passed over */

/* Where it is worth looking: nearly all bytes are passed over. */
#define MARK_CODE   1u
#define MARK_STRING 2u

static const uint8_t marks[256] = {
    ['\n'] = MARK_CODE | MARK_STRING,
    ['"'] = MARK_CODE | MARK_STRING,
    ['\''] = MARK_CODE | MARK_STRING,
    ['\\'] = MARK_CODE | MARK_STRING,
    [';'] = MARK_CODE,
    ['#'] = MARK_CODE,
    ['('] = MARK_CODE,
    ['['] = MARK_CODE,
    ['{'] = MARK_CODE,
    [')'] = MARK_CODE,
    [']'] = MARK_CODE,
    ['}'] = MARK_CODE,
};

static const char *skip_unmarked(const char *at, const char *end, unsigned mark)
{
    while (at < end && !(marks[(uint8_t)*at] & mark))
        at++;
    return at;
}

/* At a quote. To behind the string, or where one in a single line is cut by the line's end. */
static const char *skip_string(const char *at, const char *end)
{
    char quote = *at;
    bool is_long = end - at >= 3 && at[1] == quote && at[2] == quote;

    at += is_long ? 3 : 1;
    while ((at = skip_unmarked(at, end, MARK_STRING)) < end) {
        if (*at == '\\') {
            at++;
        } else if (*at == '\n' && !is_long) {
            return at;
        } else if (*at == quote) {
            if (!is_long)
                return at + 1;
            if (end - at >= 3 && at[1] == quote && at[2] == quote)
                return at + 3;
        }
        at += at < end;
    }
    return end;
}

static const char *skip_line(const char *at, const char *end)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));

    return line_end ? line_end : end;
}

/* The byte that ends what begins at `at`: a line end or a semicolon outside of all brackets. */
static const char *find_end(const char *at, const char *end)
{
    unsigned depth = 0;

    while ((at = skip_unmarked(at, end, MARK_CODE)) < end) {
        switch (*at) {
        case '"':
        case '\'':
            at = skip_string(at, end);
            break;
        case '#':
            at = skip_line(at, end);
            break;
        case '(':
        case '[':
        case '{':
            depth++;
            at++;
            break;
        case ')':
        case ']':
        case '}':
            depth -= depth > 0;
            at++;
            break;
        case '\\':
            at += end - at > 1 ? 2 : 1;
            break;
        default: /* the line's end, or a semicolon */
            if (depth == 0)
                return at;
            at++;
        }
    }
    return end;
}

/* ---- an import */

/* Of one statement. */
struct words {
    const char *at, *end;
};

static void skip_space(struct words *w)
{
    while (w->at < w->end) {
        if (*w->at == '#')
            w->at = skip_line(w->at, w->end);
        else if (strchr(" \t\r\f\n\\()", *w->at))
            w->at++;
        else
            return;
    }
}

/* Names and the dots between them, or one other byte; false: at the end. */
static bool next_word(struct words *w, const char **out, size_t *out_len)
{
    skip_space(w);
    if (w->at == w->end)
        return false;
    *out = w->at;
    do
        w->at++;
    while ((is_name(w->at[-1]) || w->at[-1] == '.') && w->at < w->end &&
           (is_name(*w->at) || *w->at == '.'));
    *out_len = (size_t)(w->at - *out);
    return true;
}

static bool word_is(const char *word, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(word, text, len) == 0;
}

/* "a.b.c as d, e": the words that a comma comes before. */
static bool next_listed(struct words *w, const char **out, size_t *out_len)
{
    const char *word;
    size_t len;

    if (!next_word(w, out, out_len))
        return false;
    while (next_word(w, &word, &len) && *word != ',')
        ;
    return true;
}

static int put_imports(struct scan *scan, struct words *w)
{
    const char *word;
    size_t len;
    int r = 0;

    while (r == 0 && next_listed(w, &word, &len))
        r = needs_list_put(scan->out, NEEDS_MODULE, word, len);
    return r;
}

/* "from", the name of a module, "import", names. */
static int put_from(struct scan *scan, struct words *w)
{
    char path[NEEDS_WORD_MAX + 1];
    const char *module, *word;
    size_t module_len, len;
    int r = 0;

    if (!next_word(w, &module, &module_len) || !next_word(w, &word, &len) ||
        !word_is(word, len, "import"))
        return 0;
    while (r == 0 && next_listed(w, &word, &len)) {
        bool is_all = *word == '*', wants_dot = module[module_len - 1] != '.';

        if (is_all) {
            r = needs_list_put(scan->out, NEEDS_MODULE, module, module_len);
        } else if (module_len + len + 1 <= NEEDS_WORD_MAX) {
            memcpy(path, module, module_len);
            path[module_len] = '.';
            memcpy(path + module_len + wants_dot, word, len);
            r = needs_list_put(scan->out, NEEDS_MODULE, path, module_len + wants_dot + len);
        }
    }
    return r;
}

/* ---- statements */

static bool has_text(const char *at, const char *end, const char *text)
{
    return memmem(at, (size_t)(end - at), text, strlen(text)) != NULL;
}

static bool begins_unused_block(const char *word, size_t len, const char *end)
{
    if (word_is(word, len, "def") || word_is(word, len, "async") || word_is(word, len, "except"))
        return true;
    return word_is(word, len, "if") &&
           (has_text(word, end, "TYPE_CHECKING") || has_text(word, end, "__main__"));
}

static int scan_statement(struct scan *scan, const char *end)
{
    struct words w = {scan->at, end};
    const char *word = scan->at;
    size_t len = 0;

    if (scan->skips && scan->indent > scan->skip_indent)
        return 0;
    scan->skips = false;
    while (word + len < end && is_name(word[len]))
        len++;
    w.at = word + len;
    if (word_is(word, len, "import"))
        return put_imports(scan, &w);
    if (word_is(word, len, "from"))
        return put_from(scan, &w);
    scan->skips = begins_unused_block(word, len, end);
    scan->skip_indent = scan->indent;
    return 0;
}

/* The next line that has anything in it. False: there is none. */
static bool find_line(struct scan *scan)
{
    scan->indent = 0;
    for (; scan->at < scan->end; scan->at++) {
        switch (*scan->at) {
        case ' ':
            scan->indent++;
            break;
        case '\t':
            scan->indent += TAB_LEN - scan->indent % TAB_LEN;
            break;
        case '\r':
        case '\f':
            break;
        case '#':
            scan->at = skip_line(scan->at, scan->end);
            if (scan->at == scan->end)
                return false;
            scan->indent = 0;
            break;
        case '\n':
            scan->indent = 0;
            break;
        default:
            return true;
        }
    }
    return false;
}

int needs_of_python(const char *source, size_t len, struct needs_list *out)
{
    struct scan scan = {.at = source, .end = source + len, .out = out};
    int r = 0;

    while (r == 0 && find_line(&scan)) {
        for (;;) { /* of this line, all with its indentation */
            const char *end = find_end(scan.at, scan.end);

            r = scan_statement(&scan, end);
            scan.at = end;
            if (r < 0 || end == scan.end || *end == '\n')
                break;
            for (scan.at++; scan.at < scan.end && (*scan.at == ' ' || *scan.at == '\t');)
                scan.at++;
        }
    }
    return r;
}

/* ---- a path file */

/* What is between the quotes that begin at `at`. */
static int put_quoted(const char *at, const char *end, struct needs_list *out)
{
    const char *close = at < end && (*at == '\'' || *at == '"')
                            ? memchr(at + 1, *at, (size_t)(end - at - 1))
                            : NULL;

    return close ? needs_list_put(out, NEEDS_MODULE, at + 1, (size_t)(close - at - 1)) : 0;
}

int needs_of_path_file(const char *text, size_t len, struct needs_list *out)
{
    static const char call[] = "__import__(";
    const char *at = text, *end = text + len;
    int r = needs_of_python(text, len, out);

    while (r == 0 && (at = memmem(at, (size_t)(end - at), call, sizeof(call) - 1))) {
        at += sizeof(call) - 1;
        r = put_quoted(at, end, out);
    }
    return r;
}

/* ---- the interpreter */

bool python_version(const struct path_name *name, char *out)
{
    static const char begin[] = "python";
    const char *version;
    size_t len;

    if (!path_begins(name, begin))
        return false;
    version = name->bytes + strlen(begin);
    len = name->len - strlen(begin);
    if (len == 0 || len >= PYTHON_VERSION_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((version[i] < '0' || version[i] > '9') && (version[i] != '.' || i == 0))
            return false;
    memcpy(out, version, len);
    out[len] = '\0';
    return true;
}

int needs_of_interpreter(struct needs_list *out)
{
    static const struct needs_word words[] = {
        {NEEDS_PATH, "/usr/lib/locale/C.utf8/LC_CTYPE"}, /* which it takes for no locale */
        {NEEDS_LIBRARY, "gconv/gconv-modules.cache"},
        {NEEDS_PATH, "/etc/localtime"},
        {NEEDS_MODULE, "encodings.aliases"},
        {NEEDS_MODULE, "encodings.utf_8"},
        {NEEDS_MODULE, "site"},
        {NEEDS_MODULE, "sitecustomize"},
        {NEEDS_SITE, ""},
    };
    int r = 0;

    for (unsigned i = 0; r == 0 && i < sizeof(words) / sizeof(words[0]); i++)
        r = needs_list_put(out, words[i].type, words[i].word, strlen(words[i].word));
    return r;
}
