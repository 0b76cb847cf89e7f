/* A child with a pipe for its output. */
#include "cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static pid_t start(const char *const *argv, int output)
{
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(output, STDOUT_FILENO);
        (void)dup2(output, STDERR_FILENO);
        (void)execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return child;
}

/* Until the end of output, or of patience. */
static void listen_to(int fd, int64_t deadline, char *text, size_t size)
{
    size_t n = 0;
    char rest[512];
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - fl_clock_mono_ms();
        if (left <= 0 || poll(&ready, 1, (int)left) <= 0)
            break;
        bool room = n < size - 1;
        ssize_t got = read(fd, room ? text + n : rest, room ? size - 1 - n : sizeof(rest));
        if (got <= 0)
            break;
        n += room ? (size_t)got : 0;
    }
    text[n] = '\0';
}

/* A program may close its output some time before it ends. */
static int await_end(pid_t child, int64_t deadline)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(child, &status, WNOHANG)) == 0 && fl_clock_mono_ms() < deadline)
        (void)nanosleep(&pause, NULL);
    if (ended == 0) {
        (void)kill(child, SIGKILL);
        ended = waitpid(child, &status, 0);
    }
    if (ended < 0)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int fl_ask_program(const char *const *argv, int64_t patience_ms, char *text, size_t size)
{
    int64_t deadline = fl_clock_mono_ms() + patience_ms;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    FL_CLEANUP_FD int output = fds[0];
    pid_t child = start(argv, fds[1]);
    (void)close(fds[1]);
    if (child < 0)
        return -EAGAIN;
    listen_to(output, deadline, text, size);
    return await_end(child, deadline);
}
