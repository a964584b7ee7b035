/* SPDX-License-Identifier: Apache-2.0 */
/* The helper is given a socket, sends the device's descriptor through it, and ends. What it has to
 * say against it comes from its stderr and becomes the error's sentence. */
#include "fs/fusermount.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER  "fusermount3"
#define COMM_FD 3 /* the helper's end of the socket, in the helper */

struct helper {
    pid_t pid;
    int said; /* the read end of its stderr */
};

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* COMM_FD might be one of the descriptors that are passed on; those are moved out of its way. */
static int move_up(int *fd)
{
    int moved;

    if (*fd > COMM_FD)
        return 0;
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, COMM_FD + 1);
    if (moved < 0)
        return -errno;
    close(*fd);
    *fd = moved;
    return 0;
}

static int spawn_with(char *const argv[], int comm, int say, pid_t *out)
{
    char variable[32];
    char *env[] = {variable, "PATH=/usr/local/bin:/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    int r;

    snprintf(variable, sizeof(variable), "_FUSE_COMMFD=%d", COMM_FD);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, say, STDERR_FILENO);
    if (comm >= 0)
        posix_spawn_file_actions_adddup2(&actions, comm, COMM_FD);
    r = posix_spawnp(out, HELPER, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int start(char *const argv[], int comm, struct helper *out, struct clip_error *err)
{
    int said[2];
    int r;

    if (pipe2(said, O_CLOEXEC) < 0)
        return err_sys(err, -errno, "no pipe for " HELPER);
    r = move_up(&said[1]);
    if (r == 0)
        r = spawn_with(argv, comm, said[1], &out->pid);
    close(said[1]);
    if (r < 0) {
        close(said[0]);
        return err_sys(err, r,
                       "cannot run " HELPER " (Debian's package fuse3), which mounts for "
                       "others than root");
    }
    out->said = said[0];
    return 0;
}

/* Reads what it says to the end, and waits for it. */
static int finish(struct helper *helper, const char *path, struct clip_error *err)
{
    char text[256], rest[256], quoted[CLIP_ERROR_LEN];
    size_t len = 0;
    ssize_t n;
    int status = 0;

    while ((n = read(helper->said, len < sizeof(text) ? text + len : rest,
                     len < sizeof(text) ? sizeof(text) - len : sizeof(rest))) > 0)
        len += len < sizeof(text) ? (size_t)n : 0;
    close(helper->said);
    while (waitpid(helper->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    while (len > 0 && text[len - 1] == '\n')
        len--;
    return err_set(err, -EPERM, "%s: %s", path, err_quote(text, len, quoted, sizeof(quoted)));
}

static int receive_fd(int socket, int *out)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    const struct cmsghdr *header;
    ssize_t n;

    do
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return -EIO;
    memcpy(out, CMSG_DATA(header), sizeof(*out));
    return 0;
}

static int mount_by(const int sockets[2], const char *path, const char *options, int *out_fd,
                    struct clip_error *err)
{
    char *argv[] = {HELPER, "-o", (char *)options, "--", (char *)path, NULL};
    struct helper helper;
    int fd = -1;
    int r = start(argv, sockets[1], &helper, err);

    if (r < 0)
        return r;
    r = finish(&helper, path, err);
    if (r < 0)
        return r;
    r = receive_fd(sockets[0], &fd);
    if (r < 0)
        return err_set(err, r, "%s: " HELPER " gave no device", path);
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    *out_fd = fd;
    return 0;
}

int fusermount_mount(const char *path, const char *options, int *out_fd, struct clip_error *err)
{
    int sockets[2];
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return err_sys(err, -errno, "no socket for " HELPER);
    /* if the helper dies without a word there must be nobody left to wait for */
    shutdown(sockets[0], SHUT_WR);
    r = move_up(&sockets[1]);
    if (r == 0)
        r = mount_by(sockets, path, options, out_fd, err);
    else
        err_sys(err, r, "no socket for " HELPER);
    close_both(sockets);
    return r;
}

int fusermount_unmount(const char *path, bool lazy, struct clip_error *err)
{
    char *argv[] = {
        HELPER, "-u", lazy ? "-z" : "--", lazy ? "--" : (char *)path, lazy ? (char *)path : NULL,
        NULL};
    struct helper helper;
    int r = start(argv, -1, &helper, err);

    return r < 0 ? r : finish(&helper, path, err);
}
