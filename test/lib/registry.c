/* SPDX-License-Identifier: Apache-2.0 */
/* A request becomes an answer: which bytes, from where, and how they go wrong. answer_step() then
 * sends one piece after the other. Chance comes from a seed, so that a run can be had again. */
#include "test/lib/registry.h"

#include "test/lib/drip.h"
#include "test/lib/server.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECE_MAX  ((size_t)64 * 1024)
#define TOKENS_MAX 4096
#define TEXT_MAX   2048

enum file_sort { FILE_BLOB, FILE_MANIFEST, FILE_PATH, FILE_REDIRECT };

struct file {
    struct file *next;
    enum file_sort sort;
    char *name; /* digest, tag or path */
    char *media_type, *location;
    uint8_t *bytes;
    size_t len;
};

struct token {
    char scope[TEXT_MAX];
    uint64_t expires_ns, n_uses;
};

/* Dials that hold for so many responses count anew when they are turned. */
struct ration {
    unsigned limit, used;
};

struct test_registry {
    struct server *server;
    uv_loop_t *loop;
    struct registry_dials dials;
    struct registry_counts counts;
    char host[64], url[80];
    struct file *files;
    struct token *tokens;
    unsigned n_tokens, at_once;
    struct ration cuts, statuses;
    uint64_t seed, chance;
    struct server_request last; /* its headers only */
    char last_request[TEXT_MAX + 16], last_token_query[TEXT_MAX];
};

/* What is being sent on a connection. */
struct answer {
    struct test_registry *registry;
    const uint8_t *bytes;
    uint64_t at, end; /* in the file */
    uint64_t flip_at; /* UINT64_MAX: nowhere */
    uint64_t end_at;  /* where it is cut or stalls; UINT64_MAX: nowhere */
    bool stalls, resets, is_blob, closes, chunked, finishing;
    unsigned bytes_per_ms;
};

static struct test_registry *registry_of(struct server_conn *conn)
{
    return server_data(conn->server);
}

/* May this dial act once more? */
static bool ration_take(struct ration *ration, unsigned limit)
{
    if (limit != ration->limit)
        *ration = (struct ration){.limit = limit};
    return limit == 0 || ration->used++ < limit;
}

static uint64_t chance_of(struct test_registry *registry)
{
    if (registry->chance == 0 || registry->seed != registry->dials.seed) {
        registry->seed = registry->dials.seed;
        registry->chance = registry->seed * 0x9e3779b97f4a7c15u + 1;
    }
    return drip_random(&registry->chance) >> 8;
}

/* -------------------------------------------------------------------- files */

static struct file *add_file(struct test_registry *registry, enum file_sort sort, const char *name,
                             const void *bytes, size_t len)
{
    struct file *file = calloc(1, sizeof(*file));

    *file = (struct file){.sort = sort, .name = strdup(name), .len = len};
    file->bytes = malloc(len + 1);
    memcpy(file->bytes, bytes, len);
    file->next = registry->files;
    registry->files = file;
    return file;
}

static const struct file *find_file(const struct test_registry *registry, enum file_sort sort,
                                    const char *name)
{
    for (const struct file *file = registry->files; file; file = file->next)
        if (file->sort == sort && strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

void registry_add_blob(struct test_registry *registry, const void *bytes, size_t len,
                       struct digest *out)
{
    char name[DIGEST_TEXT_LEN + 1];

    sha256_of(bytes, len, out);
    add_file(registry, FILE_BLOB, digest_format(out, name), bytes, len);
}

void registry_add_manifest_as(struct test_registry *registry, const char *name,
                              const char *media_type, const char *text)
{
    add_file(registry, FILE_MANIFEST, name, text, strlen(text))->media_type = strdup(media_type);
}

void registry_add_manifest(struct test_registry *registry, const char *tag, const char *media_type,
                           const char *text, struct digest *out)
{
    char name[DIGEST_TEXT_LEN + 1];

    sha256_of(text, strlen(text), out);
    registry_add_manifest_as(registry, digest_format(out, name), media_type, text);
    if (tag)
        registry_add_manifest_as(registry, tag, media_type, text);
}

void registry_add_path(struct test_registry *registry, const char *path, const void *bytes,
                       size_t len)
{
    add_file(registry, FILE_PATH, path, bytes, len);
}

void registry_add_redirect(struct test_registry *registry, const char *path, const char *location)
{
    add_file(registry, FILE_REDIRECT, path, "", 0)->location = strdup(location);
}

/* ------------------------------------------------------------------ sending */

static void forget_answer(struct server_conn *conn)
{
    struct answer *answer = conn->answer;

    if (answer && answer->is_blob)
        answer->registry->at_once--;
    free(answer);
    conn->answer = NULL;
}

static void end_answer(struct server_conn *conn)
{
    struct answer *answer = conn->answer;
    bool closes = answer->closes || answer->registry->dials.close_each;

    forget_answer(conn);
    if (closes)
        server_close(conn);
    else
        server_next(conn);
}

static void fail_answer(struct server_conn *conn)
{
    struct answer *answer = conn->answer;

    answer->registry->counts.failed++;
    if (answer->stalls)
        return;
    if (answer->resets)
        server_reset(conn);
    else
        server_cut(conn);
}

static void answer_step(struct server_conn *conn);

static void send_piece(struct server_conn *conn, uint64_t len)
{
    struct answer *answer = conn->answer;
    char piece[32 + PIECE_MAX + 2];
    size_t used = 0;

    if (answer->chunked)
        used = (size_t)snprintf(piece, 32, "%" PRIx64 "\r\n", len);
    memcpy(piece + used, answer->bytes + answer->at, len);
    if (answer->flip_at >= answer->at && answer->flip_at < answer->at + len)
        piece[used + answer->flip_at - answer->at] ^= 4;
    used += len;
    if (answer->chunked) {
        memcpy(piece + used, "\r\n", 2);
        used += 2;
    }
    answer->at += len;
    if (answer->is_blob)
        answer->registry->counts.body_bytes += len;
    server_send(conn, piece, used, answer_step);
}

/* The next piece goes out when the one before is with the kernel, or its time has come. */
static void on_time(struct server_conn *conn)
{
    struct answer *answer = conn->answer;
    uint64_t limit = answer->end_at < answer->end ? answer->end_at : answer->end;
    uint64_t len = limit - answer->at;

    if (len > PIECE_MAX)
        len = PIECE_MAX;
    if (answer->bytes_per_ms && len > answer->bytes_per_ms)
        len = answer->bytes_per_ms;
    send_piece(conn, len);
}

static void answer_step(struct server_conn *conn)
{
    struct answer *answer = conn->answer;

    if (answer->at >= answer->end_at) {
        fail_answer(conn);
    } else if (answer->at < answer->end) {
        if (answer->bytes_per_ms)
            server_wait(conn, 1, on_time);
        else
            on_time(conn);
    } else if (answer->chunked && !answer->finishing) {
        answer->finishing = true;
        server_send(conn, "0\r\n\r\n", 5, answer_step);
    } else {
        end_answer(conn);
    }
}

static struct answer *answer_new(struct server_conn *conn)
{
    struct answer *answer = calloc(1, sizeof(*answer));

    answer->registry = registry_of(conn);
    answer->flip_at = answer->end_at = UINT64_MAX;
    conn->answer = answer;
    return answer;
}

/* A short one: status line, headers ("" or lines that end with CRLF), text. */
static void answer_text(struct server_conn *conn, const char *status, const char *headers,
                        const char *text)
{
    char head[2 * TEXT_MAX];
    bool is_head = strcmp(conn->request.method, "HEAD") == 0;
    int len = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status,
                       headers, strlen(text), is_head ? "" : text);

    assert((size_t)len < sizeof(head));
    answer_new(conn);
    server_send(conn, head, (size_t)len, answer_step);
}

/* ------------------------------------------------------------------- ranges */

/* Only the form that clients of registries use. */
static bool parse_range(const char *text, uint64_t *out_first, uint64_t *out_last)
{
    *out_last = UINT64_MAX;
    return sscanf(text, "bytes=%" SCNu64 "-%" SCNu64, out_first, out_last) >= 1;
}

/* 206 from here to there? */
static bool want_range(const struct test_registry *registry, const struct server_request *request,
                       const struct file *file, struct answer *answer)
{
    const char *range = server_header(request, "range");
    uint64_t first, last;

    if (!range || registry->dials.ignore_range || !parse_range(range, &first, &last))
        return false;
    answer->at = first;
    answer->end = last < file->len ? last + 1 : file->len;
    return true;
}

static void print_range(const struct test_registry *registry, const struct file *file,
                        const struct answer *answer, char *out, size_t out_len)
{
    uint64_t first = answer->at, last = answer->end - 1, total = file->len;

    *out = '\0';
    if (registry->dials.no_content_range)
        return;
    if (registry->dials.lie_about_range) {
        if (last + 1 < total || first == 0)
            first++, last++;
        else
            first--, last--;
        if (last >= total)
            total = last + 1;
    }
    snprintf(out, out_len, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", first,
             last, total);
}

/* -------------------------------------------------------------------- a file */

static void print_length(const struct answer *answer, enum registry_body body, char *out,
                         size_t out_len)
{
    if (body == REGISTRY_CHUNKED)
        snprintf(out, out_len, "Transfer-Encoding: chunked\r\n");
    else if (body == REGISTRY_UNTIL_CLOSE)
        snprintf(out, out_len, "Connection: close\r\n");
    else
        snprintf(out, out_len, "Content-Length: %" PRIu64 "\r\n", answer->end - answer->at);
}

static void dial_blob(struct test_registry *registry, struct answer *answer)
{
    const struct registry_dials *dials = &registry->dials;
    uint64_t len = answer->end - answer->at;
    uint64_t after = dials->cut_after ? dials->cut_after : dials->stall_after;

    answer->chunked = dials->body == REGISTRY_CHUNKED;
    answer->closes = dials->body == REGISTRY_UNTIL_CLOSE;
    answer->bytes_per_ms = dials->bytes_per_ms;
    if (dials->wrong_bytes)
        answer->flip_at = answer->at + len / 2;
    if (after > 0 && after < len && ration_take(&registry->cuts, dials->n_cuts)) {
        answer->end_at = answer->at + after;
        answer->stalls = dials->cut_after == 0;
    }
}

static void count_blob(struct test_registry *registry, struct answer *answer)
{
    answer->is_blob = true;
    if (++registry->at_once > registry->counts.max_at_once)
        registry->counts.max_at_once = registry->at_once;
}

static void answer_unsatisfiable(struct server_conn *conn, const struct file *file)
{
    char range[80];

    snprintf(range, sizeof(range), "Content-Range: bytes */%zu\r\n", file->len);
    answer_text(conn, "416 Range Not Satisfiable", range, "");
}

static void answer_file(struct server_conn *conn, const struct file *file, bool cut_by_chance)
{
    struct test_registry *registry = registry_of(conn);
    struct answer *answer = answer_new(conn);
    bool is_blob = file->sort == FILE_BLOB || file->sort == FILE_PATH;
    bool is_head = strcmp(conn->request.method, "HEAD") == 0, partial;
    char head[TEXT_MAX], length[80], range[160] = "";

    answer->bytes = file->bytes;
    answer->end = file->len;
    partial = is_blob && want_range(registry, &conn->request, file, answer);
    if (partial && answer->at >= answer->end) {
        forget_answer(conn);
        answer_unsatisfiable(conn, file);
        return;
    }
    if (partial)
        print_range(registry, file, answer, range, sizeof(range));
    print_length(answer, is_blob ? registry->dials.body : REGISTRY_LENGTH, length, sizeof(length));
    int len =
        snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Type: %s\r\n%s%s\r\n",
                 partial ? "206 Partial Content" : "200 OK",
                 file->media_type ? file->media_type : "application/octet-stream", length, range);
    if (is_head) {
        answer->at = answer->end;
    } else if (is_blob) {
        count_blob(registry, answer);
        dial_blob(registry, answer);
    }
    if (cut_by_chance && answer->end > answer->at)
        answer->end_at = answer->at + chance_of(registry) % (answer->end - answer->at);
    answer->resets = cut_by_chance && chance_of(registry) % 2;
    server_send(conn, head, (size_t)len, answer_step);
}

/* ------------------------------------------------------------------- tokens */

static bool is_basic(const struct test_registry *registry, const char *authorization)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char plain[256], coded[400] = "Basic ";
    const uint8_t *at = (const uint8_t *)plain;
    size_t used = strlen(coded);
    int len = snprintf(plain, sizeof(plain), "%s:%s", registry->dials.user, registry->dials.pass);

    memset(plain + len, 0, sizeof(plain) - (size_t)len);
    for (int i = 0; i < len; i += 3, at += 3) {
        unsigned bits = (unsigned)at[0] << 16 | (unsigned)at[1] << 8 | at[2];
        coded[used++] = alphabet[bits >> 18];
        coded[used++] = alphabet[bits >> 12 & 63];
        coded[used++] = i + 1 < len ? alphabet[bits >> 6 & 63] : '=';
        coded[used++] = i + 2 < len ? alphabet[bits & 63] : '=';
    }
    coded[used] = '\0';
    return authorization && strcmp(authorization, coded) == 0;
}

static bool is_token(struct test_registry *registry, const char *authorization, const char *scope)
{
    struct token *token;
    unsigned n;

    if (!authorization || sscanf(authorization, "Bearer token-%u-sesame", &n) != 1 ||
        n >= registry->n_tokens || registry->dials.refuse_tokens)
        return false;
    token = &registry->tokens[n];
    token->n_uses++;
    return strstr(token->scope, scope) && uv_now(registry->loop) * 1000000 < token->expires_ns &&
           (registry->dials.token_uses == 0 || token->n_uses <= registry->dials.token_uses);
}

/* %3A and %2F are all that has to be understood here. */
static void decode_query(const char *query, char *out, size_t out_len)
{
    size_t used = 0;
    unsigned code;

    while (*query && used + 1 < out_len) {
        if (*query == '%' && sscanf(query + 1, "%2x", &code) == 1) {
            out[used++] = (char)code;
            query += 3;
        } else {
            out[used++] = *query++;
        }
    }
    out[used] = '\0';
}

static bool may_have_token(const struct test_registry *registry,
                           const struct server_request *request)
{
    char wanted[TEXT_MAX];

    if (strcmp(request->method, "POST") == 0) {
        snprintf(wanted, sizeof(wanted), "refresh_token=%s", registry->dials.refresh_token);
        return registry->dials.refresh_token &&
               strstr(registry->last_token_query, "grant_type=refresh_token") &&
               strstr(registry->last_token_query, wanted);
    }
    return !registry->dials.user || is_basic(registry, server_header(request, "authorization"));
}

static void answer_token(struct server_conn *conn, const char *query)
{
    struct test_registry *registry = registry_of(conn);
    const struct server_request *request = &conn->request;
    bool is_post = strcmp(request->method, "POST") == 0;
    unsigned seconds = registry->dials.token_expires_s ? registry->dials.token_expires_s : 300;
    struct token *token = &registry->tokens[registry->n_tokens];
    char text[TEXT_MAX], next[256] = "";

    decode_query(is_post ? request->body : query, registry->last_token_query, TEXT_MAX);
    if (!may_have_token(registry, request)) {
        registry->counts.refused++;
        answer_text(conn, "401 Unauthorized", "", "{\"details\":\"incorrect username\"}");
        return;
    }
    assert(registry->n_tokens < TOKENS_MAX);
    snprintf(token->scope, sizeof(token->scope), "%s", registry->last_token_query);
    token->expires_ns = (uv_now(registry->loop) + seconds * 1000ull) * 1000000;
    registry->counts.tokens++;
    if (is_post && registry->dials.next_refresh_token)
        snprintf(next, sizeof(next), ",\"refresh_token\":\"%s\"",
                 registry->dials.next_refresh_token);
    snprintf(text, sizeof(text), "{\"%s\":\"token-%u-sesame\",\"expires_in\":%u%s}",
             is_post ? "access_token" : "token", registry->n_tokens++, seconds, next);
    answer_text(conn, "200 OK", "Content-Type: application/json\r\n", text);
}

/* --------------------------------------------------------------------- /v2/ */

struct target {
    char path[TEXT_MAX];
    const char *query;         /* without the "?" */
    char name[256];            /* repository; "" for /v2/ itself */
    bool is_blob, is_manifest; /* or neither */
    char *what;                /* digest or tag */
};

static void split_target(const char *text, struct target *out)
{
    char *blobs, *manifests, *at;

    memset(out, 0, sizeof(*out));
    snprintf(out->path, sizeof(out->path), "%s", text);
    at = strchr(out->path, '?');
    out->query = at ? at + 1 : "";
    if (at)
        *at = '\0';
    blobs = strstr(out->path, "/blobs/");
    manifests = strstr(out->path, "/manifests/");
    at = blobs ? blobs : manifests;
    if (strncmp(out->path, "/v2/", 4) != 0 || !at || at < out->path + 4)
        return;
    out->is_blob = blobs != NULL;
    out->is_manifest = !blobs;
    out->what = strrchr(at, '/') + 1;
    snprintf(out->name, sizeof(out->name), "%.*s", (int)(at - out->path - 4), out->path + 4);
}

static bool may_read(struct test_registry *registry, const struct server_request *request,
                     const struct target *target)
{
    const char *authorization = server_header(request, "authorization");
    char scope[300];

    if (registry->dials.auth == REGISTRY_OPEN)
        return true;
    if (registry->dials.auth == REGISTRY_BASIC)
        return is_basic(registry, authorization);
    snprintf(scope, sizeof(scope), "repository:%s:pull", target->name);
    return is_token(registry, authorization, *target->name ? scope : "");
}

static void refuse(struct server_conn *conn, const struct target *target)
{
    struct test_registry *registry = registry_of(conn);
    char challenge[2 * TEXT_MAX / 3], realm[160];

    registry->counts.refused++;
    snprintf(realm, sizeof(realm), "%s/token", registry->url);
    if (registry->dials.challenge)
        snprintf(challenge, sizeof(challenge), "WWW-Authenticate: %s\r\n",
                 registry->dials.challenge);
    else if (registry->dials.auth == REGISTRY_BASIC)
        snprintf(challenge, sizeof(challenge), "WWW-Authenticate: Basic realm=\"test\"\r\n");
    else
        snprintf(challenge, sizeof(challenge),
                 "WWW-Authenticate: Bearer realm=\"%s\",service=\"test\","
                 "scope=\"repository:%s:pull\"\r\n",
                 registry->dials.realm ? registry->dials.realm : realm, target->name);
    answer_text(conn, "401 Unauthorized", challenge,
                "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication "
                "required\"}]}");
}

static void answer_status(struct server_conn *conn, unsigned status, const char *retry_after)
{
    char line[32], headers[128] = "";

    registry_of(conn)->counts.failed++;
    snprintf(line, sizeof(line), "%u Dialled", status);
    if (retry_after)
        snprintf(headers, sizeof(headers), "Retry-After: %s\r\n", retry_after);
    answer_text(conn, line, headers, "{\"errors\":[{\"code\":\"DIALLED\"}]}");
}

/* By the seed: 503, no answer but an end, or a body that ends early (then true: go on). */
static bool fail_by_chance(struct server_conn *conn)
{
    switch (chance_of(registry_of(conn)) % 3) {
    case 0:
        answer_status(conn, 503, NULL);
        return false;
    case 1:
        registry_of(conn)->counts.failed++;
        server_reset(conn);
        return false;
    default:
        return true;
    }
}

static void answer_redirect(struct server_conn *conn, const char *status, const char *location)
{
    char header[TEXT_MAX + 16];

    registry_of(conn)->counts.redirects++;
    snprintf(header, sizeof(header), "Location: %s\r\n", location);
    answer_text(conn, status, header, "");
}

/* What stands behind a path, once it is sure that it is served. */
static void answer_found(struct server_conn *conn, const struct target *target, bool cut_by_chance)
{
    struct test_registry *registry = registry_of(conn);
    const struct registry_dials *dials = &registry->dials;
    const struct file *file = find_file(registry, FILE_PATH, target->path);
    char location[TEXT_MAX];

    if (target->is_blob)
        file = find_file(registry, FILE_BLOB, target->what);
    if (target->is_manifest)
        file = find_file(registry, FILE_MANIFEST, target->what);
    if (!file) {
        answer_text(conn, "404 Not Found", "", "{\"errors\":[{\"code\":\"NOT_FOUND\"}]}");
    } else if (!target->is_manifest && dials->redirect_blobs) {
        snprintf(location, sizeof(location), "%s%.1500s?sig=signature-sesame",
                 dials->redirect_blobs, target->path);
        answer_redirect(conn, "307 Temporary Redirect", location);
    } else if (!target->is_manifest && dials->reset) {
        registry->counts.failed++;
        server_cut(conn);
    } else {
        answer_file(conn, file, cut_by_chance);
    }
}

static void answer_v2(struct server_conn *conn, const struct target *target)
{
    struct test_registry *registry = registry_of(conn);
    const struct registry_dials *dials = &registry->dials;
    bool cut_by_chance = false;

    if (dials->stall_first_byte) {
        registry->counts.failed++;
        return;
    }
    if (dials->fail_percent > 0 && chance_of(registry) % 100 < dials->fail_percent) {
        cut_by_chance = fail_by_chance(conn);
        if (!cut_by_chance)
            return;
    }
    if (dials->status && ration_take(&registry->statuses, dials->n_status))
        answer_status(conn, dials->status, dials->retry_after);
    else if (!may_read(registry, &conn->request, target))
        refuse(conn, target);
    else if (!*target->name)
        answer_text(conn, "200 OK", "", "{}");
    else
        answer_found(conn, target, cut_by_chance);
}

/* ----------------------------------------------------------------- requests */

static void forget_last(struct test_registry *registry)
{
    for (unsigned i = 0; i < registry->last.n_headers; i++) {
        free(registry->last.headers[i].name);
        free(registry->last.headers[i].value);
    }
    registry->last.n_headers = 0;
}

static void remember(struct test_registry *registry, const struct server_request *request)
{
    forget_last(registry);
    for (unsigned i = 0; i < request->n_headers; i++) {
        registry->last.headers[i].name = strdup(request->headers[i].name);
        registry->last.headers[i].value = strdup(request->headers[i].value);
    }
    registry->last.n_headers = request->n_headers;
    registry->counts.requests++;
    registry->counts.ranges += server_header(request, "range") != NULL;
    registry->counts.with_authorization += server_header(request, "authorization") != NULL;
}

static void on_request(struct server_conn *conn)
{
    struct test_registry *registry = registry_of(conn);
    const struct file *redirect;
    struct target target;

    snprintf(registry->last_request, sizeof(registry->last_request), "%s %s", conn->request.method,
             conn->request.target);
    split_target(conn->request.target, &target);
    if (strcmp(target.path, "/token") == 0) {
        answer_token(conn, target.query);
        return;
    }
    remember(registry, &conn->request);
    redirect = find_file(registry, FILE_REDIRECT, target.path);
    if (redirect)
        answer_redirect(conn, "302 Found", redirect->location);
    else if (strncmp(target.path, "/v2/", 4) == 0)
        answer_v2(conn, &target);
    else
        answer_found(conn, &target, false);
}

/* ------------------------------------------------------------ start and stop */

static struct test_registry *start(uv_loop_t *loop, const char *cert_file, const char *key_file)
{
    struct test_registry *registry = calloc(1, sizeof(*registry));
    const struct server_options options = {
        .on_request = on_request,
        .on_gone = forget_answer,
        .cert_file = cert_file,
        .key_file = key_file,
        .data = registry,
    };

    registry->loop = loop;
    registry->tokens = calloc(TOKENS_MAX, sizeof(*registry->tokens));
    registry->server = server_start(loop, &options);
    snprintf(registry->host, sizeof(registry->host), "127.0.0.1:%u", registry_port(registry));
    snprintf(registry->url, sizeof(registry->url), "%s://%s", cert_file ? "https" : "http",
             registry->host);
    return registry;
}

struct test_registry *registry_start(uv_loop_t *loop)
{
    return start(loop, NULL, NULL);
}

struct test_registry *registry_start_tls(uv_loop_t *loop, const char *cert_file,
                                         const char *key_file)
{
    return start(loop, cert_file, key_file);
}

void registry_want_client(struct test_registry *registry, const char *ca_file)
{
    server_want_client(registry->server, ca_file);
}

void registry_stop(struct test_registry *registry)
{
    if (registry)
        server_stop(registry->server);
}

bool registry_stopped(const struct test_registry *registry)
{
    return server_stopped(registry->server);
}

void registry_free(struct test_registry *registry)
{
    struct file *file;

    if (!registry)
        return;
    server_free(registry->server);
    while ((file = registry->files)) {
        registry->files = file->next;
        free(file->name);
        free(file->media_type);
        free(file->location);
        free(file->bytes);
        free(file);
    }
    forget_last(registry);
    free(registry->tokens);
    free(registry);
}

/* ------------------------------------------------------------------- asking */

struct registry_dials *registry_dials(struct test_registry *registry)
{
    return &registry->dials;
}

struct registry_counts *registry_counts(struct test_registry *registry)
{
    registry->counts.connections = server_connections(registry->server);
    return &registry->counts;
}

unsigned registry_port(const struct test_registry *registry)
{
    return server_port(registry->server);
}

const char *registry_host(const struct test_registry *registry)
{
    return registry->host;
}

const char *registry_url(const struct test_registry *registry)
{
    return registry->url;
}

const char *registry_last_header(const struct test_registry *registry, const char *name)
{
    return server_header(&registry->last, name);
}

const char *registry_last_request(const struct test_registry *registry)
{
    return registry->last_request;
}

const char *registry_last_token_query(const struct test_registry *registry)
{
    return registry->last_token_query;
}
