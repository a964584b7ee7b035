/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/canned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(char *out, size_t out_len, const struct server_request *request, const char *name)
{
    const char *value = server_header(request, name);

    snprintf(out, out_len, "%s", value ? value : "");
}

static void note_request(struct canned *canned, const struct server_request *request)
{
    size_t used = strlen(canned->log);

    canned->n_requests++;
    snprintf(canned->log + used, sizeof(canned->log) - used, "%s %s\n", request->method,
             request->target);
    note(canned->authorization, sizeof(canned->authorization), request, "authorization");
    note(canned->proxy_authorization, sizeof(canned->proxy_authorization), request,
         "proxy-authorization");
    note(canned->accept, sizeof(canned->accept), request, "accept");
    note(canned->host_header, sizeof(canned->host_header), request, "host");
    snprintf(canned->last_body, sizeof(canned->last_body), "%s", request->body);
}

static void go_on(struct server_conn *conn)
{
    enum canned_after after = (enum canned_after)(intptr_t)conn->answer;

    switch (after) {
    case CANNED_NEXT:
        server_next(conn);
        break;
    case CANNED_CLOSE:
        server_close(conn);
        break;
    case CANNED_CUT:
        server_cut(conn);
        break;
    case CANNED_RESET:
        server_reset(conn);
        break;
    case CANNED_GOODBYE:
        server_say_goodbye(conn);
        break;
    case CANNED_STALL:
        break;
    }
}

static void on_request(struct server_conn *conn)
{
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    struct canned *canned = server_data(conn->server);
    const char *target = conn->request.target;

    note_request(canned, &conn->request);
    for (unsigned i = 0; i < canned->n_answers; i++) {
        if (!canned->answers[i].target || strcmp(canned->answers[i].target, target) != 0)
            continue;
        conn->answer = (void *)(intptr_t)canned->answers[i].after;
        if (canned->answers[i].n > 0 && --canned->answers[i].n == 0) {
            free(canned->answers[i].target);
            canned->answers[i].target = NULL;
        }
        if (canned->answers[i].len > 0)
            server_send(conn, canned->answers[i].bytes, canned->answers[i].len, go_on);
        else
            go_on(conn);
        return;
    }
    conn->answer = (void *)(intptr_t)CANNED_NEXT;
    server_send(conn, missing, sizeof(missing) - 1, go_on);
}

void canned_start_tls(struct canned *canned, uv_loop_t *loop, const char *cert_file,
                      const char *key_file)
{
    struct server_options options = {
        .on_request = on_request,
        .cert_file = cert_file,
        .key_file = key_file,
        .data = canned,
    };

    memset(canned, 0, sizeof(*canned));
    canned->loop = loop;
    canned->server = server_start(loop, &options);
    snprintf(canned->host, sizeof(canned->host), "127.0.0.1:%u", server_port(canned->server));
    snprintf(canned->url, sizeof(canned->url), "http%s://%s", cert_file ? "s" : "", canned->host);
}

void canned_start(struct canned *canned, uv_loop_t *loop)
{
    canned_start_tls(canned, loop, NULL, NULL);
}

void canned_stop(struct canned *canned, struct test_loop *t)
{
    if (!canned->server)
        return;
    server_stop(canned->server);
    LOOP_RUN_UNTIL(t, server_stopped(canned->server));
    server_free(canned->server);
    canned->server = NULL;
    for (unsigned i = 0; i < canned->n_answers; i++) {
        free(canned->answers[i].target);
        free(canned->answers[i].bytes);
    }
}

void canned_add_bytes(struct canned *canned, const char *target, const void *bytes, size_t len,
                      enum canned_after after)
{
    unsigned i = canned->n_answers++;

    if (i == CANNED_MAX)
        abort();
    canned->answers[i].target = strdup(target);
    canned->answers[i].bytes = malloc(len + 1);
    memcpy(canned->answers[i].bytes, bytes, len);
    canned->answers[i].len = len;
    canned->answers[i].after = after;
}

void canned_add(struct canned *canned, const char *target, const char *bytes,
                enum canned_after after)
{
    canned_add_bytes(canned, target, bytes, strlen(bytes), after);
}

void canned_add_once(struct canned *canned, const char *target, const char *bytes,
                     enum canned_after after)
{
    canned_add(canned, target, bytes, after);
    canned->answers[canned->n_answers - 1].n = 1;
}

void canned_add_body(struct canned *canned, const char *target, const void *body, size_t len)
{
    char *bytes = malloc(len + 128);
    int n = sprintf(bytes, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);

    memcpy(bytes + n, body, len);
    canned_add_bytes(canned, target, bytes, (size_t)n + len, CANNED_NEXT);
    free(bytes);
}
