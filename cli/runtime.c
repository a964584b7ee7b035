/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a run is:
 * - all signals are blocked and waited for, so that none falls between two steps; the child gets
 *   the mask back and becomes the runtime;
 * - a signal that a process sent is passed on; one that the terminal sent has reached the runtime
 *   already, which is in our process group;
 * - the child's end gives the exit code.
 * Possible failure modes are: the runtime cannot be run (127, as a shell says), or it is killed:
 * then what it left is deleted. If we are killed, the runtime is told to end. */
#include "runtime.h"

#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_NOT_FOUND 127

static char *find_in_path(const char *name)
{
    const char *path = getenv("PATH");
    char candidate[PATH_MAX];
    for (const char *at = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"; *at;) {
        size_t len = strcspn(at, ":");
        snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)len, at, name);
        if (len > 0 && access(candidate, X_OK) == 0)
            return strdup(candidate);
        at += len;
        at += *at == ':';
    }
    return NULL;
}

char *runtime_find(const char *given)
{
    static const char *const names[] = {"runc", "crun"};
    char *found = NULL;
    if (given && strchr(given, '/'))
        return strdup(given);
    if (given)
        found = find_in_path(given);
    for (int i = 0; !given && !found && i < 2; i++)
        found = find_in_path(names[i]);
    if (!found)
        say_error("there is no %s in $PATH: install it, or name a runtime with --runtime",
                  given ? given : "runc or crun");
    return found;
}

static void be_runtime(const char *runtime, char *const argv[], const sigset_t *mask)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execv(runtime, argv);
    say_error("cannot run %s: %s", runtime, strerror(errno));
    _exit(EXIT_NOT_FOUND);
}

static void be_silent(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
}

/* The status of the child when it has ended; passes on what others send until then. */
static int await_child(pid_t child, const sigset_t *all)
{
    for (;;) {
        siginfo_t info;
        int status, signum = sigwaitinfo(all, &info);
        if (signum < 0)
            continue;
        if (signum != SIGCHLD) {
            if (info.si_code <= 0) /* a process sent it, not the kernel */
                kill(child, signum);
            continue;
        }
        if (waitpid(child, &status, WNOHANG) == child && (WIFEXITED(status) || WIFSIGNALED(status)))
            return status;
    }
}

static void delete_rest(const char *runtime, const char *id)
{
    char *argv[] = {(char *)runtime, "delete", "--force", (char *)id, NULL};
    pid_t child = fork();
    if (child == 0) {
        be_silent();
        execv(runtime, argv);
        _exit(EXIT_NOT_FOUND);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}

int runtime_run(const char *runtime, const char *bundle, const char *id)
{
    char *argv[] = {(char *)runtime, "run", "--bundle", (char *)bundle, (char *)id, NULL};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t child = fork();
    if (child == 0)
        be_runtime(runtime, argv, &before);
    int status = child > 0 ? await_child(child, &all) : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (child < 0) {
        say_error("cannot fork: %s", strerror(errno));
        return 1;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    delete_rest(runtime, id);
    return 128 + WTERMSIG(status);
}
