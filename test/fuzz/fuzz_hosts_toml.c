/* SPDX-License-Identifier: Apache-2.0 */
/* A hosts.toml of any bytes: read, or refused with a sentence. */
#include "net/hosts_toml.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct clip_error err = {0};
    struct hosts hosts;

    if (hosts_parse("d/hosts.toml", bytes, len, &hosts, &err) < 0) {
        assert(err.code < 0 && err.message[0]);
        return 0;
    }
    for (unsigned i = 0; i < hosts.n; i++)
        assert(hosts.list[i].url);
    hosts_fini(&hosts);
    return 0;
}
