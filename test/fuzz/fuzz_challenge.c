/* SPDX-License-Identifier: Apache-2.0 */
/* A WWW-Authenticate header of any bytes, and a token server's answer and a login file of them. */
#include "net/auth_file.h"
#include "net/challenge.h"
#include "net/token.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void parse_challenge(const uint8_t *bytes, size_t len)
{
    struct challenge challenge;
    struct clip_error err = {0};
    char *text = malloc(len + 1);

    memcpy(text, bytes, len);
    text[len] = '\0';
    if (challenge_parse(text, &challenge, &err) == 0) {
        assert(!challenge.bearer || challenge.realm);
        challenge_fini(&challenge);
    } else {
        assert(err.code < 0 && err.message[0]);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct auth_answer answer;
    struct credentials credentials;
    struct token token;

    parse_challenge(bytes, len);
    if (token_parse(bytes, len, &token, NULL) == 0)
        token_fini(&token);
    if (auth_file_parse("f", bytes, len, "docker.io", "library/a", &answer, NULL) == 0)
        auth_answer_fini(&answer);
    if (auth_helper_parse("h", bytes, len, &credentials, NULL) == 0)
        credentials_fini(&credentials);
    return 0;
}
