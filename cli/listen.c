/* SPDX-License-Identifier: Apache-2.0 */
/* systemd's two protocols are a few lines each, so that no library is needed: descriptors from 3 on
 * and two variables that say how many and for whom; and a datagram of text to $NOTIFY_SOCKET. */
#include "listen.h"

#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define FIRST_INHERITED 3
#define INHERITED_MAX   8
#define BACKLOG         1024
#define PORT_DIGITS     5

/* ---- the control socket */

static int read_mode(const char *text, mode_t *out)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    if (!*text || *end || mode > 0777)
        return -EINVAL;
    *out = (mode_t)mode;
    return 0;
}

static int set_access(const char *path, mode_t mode, const char *group)
{
    const struct group *entry = group ? getgrnam(group) : NULL;
    if (group && !entry) {
        say_error("there is no group '%s' for the socket", group);
        return -1;
    }
    if ((entry && chown(path, (uid_t)-1, entry->gr_gid) < 0) || chmod(path, mode) < 0) {
        say_error("cannot set who may use %s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

static int bind_unix(int fd, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr.sun_path)) {
        say_error("the path of the socket, %s, is longer than %zu bytes; choose another --run",
                  path, sizeof(addr.sun_path) - 1);
        return -1;
    }
    strcpy(addr.sun_path, path);
    unlink(path);
    mode_t mask = umask(0177);
    int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
    umask(mask);
    if (r < 0)
        say_error("cannot make the socket %s: %s", path, strerror(errno));
    return r;
}

int listen_unix(const char *path, const char *mode_text, const char *group)
{
    mode_t mode;
    if (read_mode(mode_text, &mode) < 0) {
        say_error("--socket-mode is an octal number such as 0660, not '%s'", mode_text);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        say_error("cannot make a socket: %s", strerror(errno));
        return -1;
    }
    if (bind_unix(fd, path) == 0 && set_access(path, mode, group) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

/* ---- TCP */

static int read_host(const char *address, size_t len, char out[64])
{
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    if (len >= 64)
        return -EINVAL;
    memcpy(out, address, len);
    out[len] = '\0';
    if (len == 0)
        strcpy(out, "::");
    return 0;
}

static int read_address(const char *address, struct sockaddr_storage *out)
{
    char host[64], *end;
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1] || strlen(colon + 1) > PORT_DIGITS)
        return -EINVAL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port > 65535 || read_host(address, (size_t)(colon - address), host) < 0)
        return -EINVAL;
    if (strchr(host, ':'))
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out);
    return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out);
}

static int bind_tcp(int fd, const struct sockaddr_storage *addr)
{
    int on = 1, off = 0;
    bool v6 = addr->ss_family == AF_INET6;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return bind(fd, (const struct sockaddr *)addr, len) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
}

int listen_tcp(const char *address)
{
    struct sockaddr_storage addr = {0};
    if (read_address(address, &addr) < 0) {
        say_error("--listen-metrics is ADDR:PORT with a numeric address, not '%s'", address);
        return -1;
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : bind_tcp(fd, &addr);
    if (r == 0)
        return fd;
    say_error("cannot listen at %s: %s", address, strerror(-r));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* ---- systemd */

static long number_in(const char *variable)
{
    const char *text = getenv(variable);
    return text ? strtol(text, NULL, 10) : 0;
}

int listen_inherited(void)
{
    long n = number_in("LISTEN_PID") == getpid() ? number_in("LISTEN_FDS") : 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (n < 0 || n > INHERITED_MAX)
        return 0;
    for (int fd = FIRST_INHERITED; fd < FIRST_INHERITED + n; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return (int)n;
}

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

bool listen_is_ours(int fd, bool *out_tcp)
{
    int domain = socket_option(fd, SO_DOMAIN);
    if (socket_option(fd, SO_TYPE) != SOCK_STREAM || socket_option(fd, SO_ACCEPTCONN) != 1)
        return false;
    *out_tcp = domain == AF_INET || domain == AF_INET6;
    return *out_tcp || domain == AF_UNIX;
}

void listen_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!path || !*path || strlen(path) >= sizeof(addr.sun_path))
        return;
    strcpy(addr.sun_path, path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (addr.sun_path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, len);
    close(fd);
}
