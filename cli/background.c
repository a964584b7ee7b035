/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves share a pipe: one byte says ready, its end without a byte says that the child is
 * gone and has said why on the stderr that both have. The child stays in the terminal's process
 * group until it is ready, so that Ctrl-C reaches it too. */
#include "background.h"

#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int reap(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return 1;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
    say_error("the background process died of signal %d (%s)", WTERMSIG(status),
              strsignal(WTERMSIG(status)));
    return 1;
}

static int await_child(pid_t child, int fd)
{
    char byte;
    ssize_t n;
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    return n == 1 ? 0 : reap(child);
}

int background_start(struct background *background, bool foreground)
{
    int fds[2];
    background->fd = -1;
    if (foreground)
        return BACKGROUND_GO;
    fflush(NULL);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        say_error("cannot make a pipe: %s", strerror(errno));
        return 1;
    }
    pid_t child = fork();
    if (child < 0) {
        say_error("cannot fork: %s", strerror(errno));
        close(fds[0]);
        close(fds[1]);
        return 1;
    }
    close(fds[child ? 1 : 0]);
    if (child)
        return await_child(child, fds[0]);
    background->fd = fds[1];
    return BACKGROUND_GO;
}

static void leave_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    if (null < 0)
        return;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
}

int background_ready(struct background *background)
{
    if (background->fd < 0)
        return 0;
    leave_terminal();
    ssize_t n = write(background->fd, "", 1);
    int r = n == 1 ? 0 : -errno;
    close(background->fd);
    background->fd = -1;
    return r;
}
