/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as requests of the control socket, cut where the first byte says: what becomes a
 * message keeps its limits; a body that becomes a spec is written down and reads the same again.
 */
#include "cli/bundle_config.h"
#include "cli/control_http.h"
#include "cli/spec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void try_spec(const struct control_message *message)
{
    struct clip_error err;
    struct spec spec, again;
    json_t *body = json_loadb(message->body, message->body_len, JSON_REJECT_DUPLICATES, NULL);
    if (body && spec_read(body, &spec, &err) == 0) {
        json_t *written = spec_write(&spec);
        if (spec.process)
            bundle_config_check(spec.process, &err);
        if (!written || spec_read(written, &again, &err) < 0 || !spec_same_tree(&spec, &again))
            abort();
        json_decref(written);
        spec_fini(&spec);
        spec_fini(&again);
    }
    json_decref(body);
}

static void try_message(const struct control_message *message)
{
    char id[CONTROL_TARGET_MAX];
    if (strlen(message->target) >= CONTROL_TARGET_MAX || message->body_len > CONTROL_BODY_MAX)
        abort();
    strcpy(id, message->target);
    if (spec_id_valid(id) && (strchr(id, '/') || id[0] == '.'))
        abort();
    if (message->body)
        try_spec(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct control_message message;
    size_t cut = len > 0 ? data[0] + 1u : 1;
    if (len == 0 || control_message_init(&message, CONTROL_REQUEST, NULL, NULL) < 0)
        return 0;
    for (size_t at = 1; at < len;) {
        size_t n = len - at < cut ? len - at : cut;
        int r = control_message_feed(&message, (const char *)data + at, n);
        if (r < 0)
            break;
        at += (size_t)r;
        if (message.whole) {
            try_message(&message);
            control_message_reset(&message);
        }
    }
    control_message_end(&message);
    control_message_fini(&message);
    return 0;
}
