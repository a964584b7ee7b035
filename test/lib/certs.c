/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/certs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void certs_run(const char *fmt, ...)
{
    char command[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

static const char *key_options(const char *key_type)
{
    return strcmp(key_type, "rsa") == 0 ? "-newkey rsa:2048"
                                        : "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
}

void certs_init(struct certs *certs)
{
    strcpy(certs->dir, "/tmp/clip-certs.XXXXXX");
    if (!mkdtemp(certs->dir))
        abort();
    snprintf(certs->ca, sizeof(certs->ca), "%s/ca.crt", certs->dir);
    certs_run("openssl req -x509 -nodes -days 30 %s -subj '/CN=clip test CA' -keyout %s/ca.key "
              "-out %s -addext keyUsage=keyCertSign 2>/dev/null",
              key_options("ec"), certs->dir, certs->ca);
}

void certs_fini(struct certs *certs)
{
    if (certs->dir[0])
        certs_run("rm -r %s", certs->dir);
}

/* Of what its notAfter is in the past `openssl ca` makes certificates, and wants its books kept. */
static const char *dates(int days)
{
    return days < 0 ? "-startdate 20200101000000Z -enddate 20200201000000Z" : "-days 10";
}

void certs_make(const struct certs *certs, const char *name, const char *san, int days,
                const char *key_type)
{
    certs_run("cd %s && openssl req -new -nodes %s -subj '/CN=%s' -keyout %s.key -out %s.csr "
              "-addext subjectAltName=%s 2>/dev/null && touch index.txt && "
              "printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index.txt\\nnew_certs_dir=.\\n"
              "default_md=sha256\\npolicy=p\\ncopy_extensions=copy\\nrand_serial=yes\\n"
              "[p]\\ncommonName=supplied\\n' >ca.cnf && "
              "openssl ca -batch -config ca.cnf -cert ca.crt -keyfile ca.key %s -in %s.csr "
              "-out %s.cert -notext 2>/dev/null",
              certs->dir, key_options(key_type), name, name, name, san, dates(days), name, name);
}

const char *certs_path(const struct certs *certs, const char *name)
{
    static char paths[8][192];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", certs->dir, name);
    return path;
}
