/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a user, /etc/passwd and /etc/group, parted by NULs. */
#include "cli/accounts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct account account;
    struct clip_error err;
    char *text = calloc(1, len + 3); /* three texts, even of nothing */
    if (!text)
        return 0;
    if (len > 0)
        memcpy(text, data, len);
    const char *passwd = text + strlen(text) + 1;
    const char *group = passwd < text + len ? passwd + strlen(passwd) + 1 : passwd;
    if (accounts_find(text, passwd, group, &account, &err) == 0 &&
        (account.n_groups > ACCOUNTS_GROUPS_MAX || (account.home[0] && account.home[0] != '/')))
        abort();
    free(text);
    return 0;
}
