/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list is read word by word. A word followed by "=" is a parameter of the challenge before it,
 * any other word begins a challenge: the comma between them does not tell. A challenge may instead
 * of parameters have one token68, which is passed over.
 * Failure: -EBADMSG for whatever does not fit, and for a parameter of ours that stands twice.
 */
#include "net/challenge.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct reader {
    const char *at;
    struct challenge *out;
    bool first_bearer; /* parameters are of it */
    bool in_challenge;
};

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token68(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("-._~+/", c));
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static const char *skip_word(const char *at)
{
    while (is_token(*at))
        at++;
    return at;
}

/* "abc==" alone up to a comma or the end: where that is, or NULL. */
static const char *skip_token68(const char *at)
{
    const char *begin = at;

    while (is_token68(*at))
        at++;
    if (at == begin)
        return NULL;
    at += strspn(at, "=");
    at = skip_blanks(at);
    return *at == ',' || *at == '\0' ? at : NULL;
}

/* The value, unquoted, malloc'ed; NULL with *bad set for what cannot be read. */
static char *take_value(struct reader *reader, bool *bad)
{
    const char *at = reader->at;
    bool quoted = *at == '"';
    char *out = malloc(strlen(at) + 1), *to = out;

    if (!out)
        return NULL;
    for (at += quoted; quoted ? *at != '"' : is_token(*at); at++) {
        if (quoted && *at == '\\')
            at++;
        if (iscntrl((unsigned char)*at)) /* the end too */
            goto bad;
        *to++ = *at;
    }
    *to = '\0';
    reader->at = at + quoted;
    if (quoted || to > out)
        return out;
bad:
    free(out);
    *bad = true;
    return NULL;
}

static char **find_place(struct reader *reader, const char *name, size_t len)
{
    static const struct {
        const char *name;
        size_t offset;
    } ours[] = {
        {"realm", offsetof(struct challenge, realm)},
        {"service", offsetof(struct challenge, service)},
        {"scope", offsetof(struct challenge, scope)},
    };

    if (!reader->first_bearer)
        return NULL;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strlen(ours[i].name) == len && strncasecmp(ours[i].name, name, len) == 0)
            return (char **)((char *)reader->out + ours[i].offset);
    return NULL;
}

/* at: NAME BWS "=" BWS VALUE. */
static int take_parameter(struct reader *reader)
{
    const char *name = reader->at, *end = skip_word(name);
    char **place = find_place(reader, name, (size_t)(end - name)), *value;
    bool bad = false;

    reader->at = skip_blanks(skip_blanks(end) + 1);
    value = take_value(reader, &bad);
    if (!value)
        return bad ? -EBADMSG : -ENOMEM;
    if (!place) {
        free(value);
        return 0;
    }
    if (*place) {
        free(value);
        return -EBADMSG;
    }
    *place = value;
    return 0;
}

static void note_scheme(struct reader *reader, const char *name, size_t len)
{
    struct challenge *out = reader->out;

    reader->first_bearer = false;
    reader->in_challenge = true;
    if (len == 5 && strncasecmp(name, "basic", len) == 0) {
        out->basic = true;
    } else if (len == 6 && strncasecmp(name, "bearer", len) == 0) {
        reader->first_bearer = !out->bearer;
        out->bearer = true;
    } else if (!*out->other) {
        snprintf(out->other, sizeof(out->other), "%.*s", (int)len, name);
    }
}

static int take_scheme(struct reader *reader)
{
    const char *name = reader->at, *end = skip_word(name), *after;

    note_scheme(reader, name, (size_t)(end - name));
    reader->at = skip_blanks(end);
    if (reader->at == end || *reader->at == ',')
        return *end && *end != ',' && reader->at == end ? -EBADMSG : 0;
    after = skip_token68(reader->at);
    /* "Bearer realm" alone is a token68 too: harmless */
    if (after)
        reader->at = after;
    return 0;
}

static int take_word(struct reader *reader)
{
    const char *end = skip_word(reader->at);

    if (end == reader->at)
        return -EBADMSG;
    if (*skip_blanks(end) != '=')
        return take_scheme(reader);
    return reader->in_challenge ? take_parameter(reader) : -EBADMSG;
}

int challenge_parse(const char *text, struct challenge *out, struct clip_error *err)
{
    struct challenge challenge = {0};
    struct reader reader = {.at = text, .out = &challenge};
    int r = strlen(text) > CHALLENGE_MAX ? -EBADMSG : 0;

    while (r == 0) {
        reader.at += strspn(reader.at, " \t,");
        if (!*reader.at)
            break;
        r = take_word(&reader);
    }
    if (r == 0 && challenge.bearer && !challenge.realm)
        r = -EBADMSG;
    if (r < 0) {
        challenge_fini(&challenge);
        return err_set(err, r,
                       r == -ENOMEM ? "out of memory for a challenge"
                                    : "its WWW-Authenticate header cannot be understood");
    }
    *out = challenge;
    return 0;
}

void challenge_fini(struct challenge *challenge)
{
    free(challenge->realm);
    free(challenge->service);
    free(challenge->scope);
    memset(challenge, 0, sizeof(*challenge));
}
