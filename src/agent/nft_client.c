/* Starts, feeds and restarts fairlead-nft; see the header. */
#include "agent/nft_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"

enum { MAX_REQUEST = 8 << 20, MAX_ANSWER = 4096, DEADLINE_MS = 5000, EXIT_GRACE_MS = 1000 };

struct fl_nft {
    char *path;
    int fd; /* -1: no helper is running */
    pid_t pid;
};

static int start_with(const char *path, int fd, pid_t *ret_pid)
{
    char *const argv[] = {(char *)"fairlead-nft", NULL};
    char *const envp[] = {NULL};
    sigset_t none, all;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int rc = posix_spawn(ret_pid, path, &actions, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

static int start(struct fl_nft *nft)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    FL_CLEANUP_FD int ours = pair[0];
    FL_CLEANUP_FD int theirs = pair[1];
    int rc = fcntl(theirs, F_SETFL, 0) < 0 ? -errno : start_with(nft->path, theirs, &nft->pid);
    if (rc == 0)
        nft->fd = FL_TAKE_FD(ours);
    return rc;
}

static void stop(struct fl_nft *nft, int grace_ms)
{
    if (nft->fd < 0)
        return;
    close(nft->fd);
    nft->fd = -1;
    FL_CLEANUP_FD int pidfd = pidfd_open(nft->pid, 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0 || poll(&ended, 1, grace_ms) != 1)
        kill(nft->pid, SIGKILL);
    while (waitpid(nft->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static int wait_ready(int fd, short events, int64_t deadline_ms)
{
    struct pollfd ready = {.fd = fd, .events = events};
    int64_t left = deadline_ms - fl_clock_mono_ms();
    int rc = left > 0 ? poll(&ready, 1, (int)left) : 0;
    if (rc < 0 && errno != EINTR)
        return -errno;
    return left > 0 ? 0 : -ETIMEDOUT;
}

/* Moves exactly n bytes in or out before the deadline. */
static int transfer(int fd, void *bytes, size_t n, bool out, int64_t deadline_ms)
{
    for (size_t done = 0; done < n;) {
        ssize_t moved = out ? send(fd, (char *)bytes + done, n - done, MSG_NOSIGNAL)
                            : recv(fd, (char *)bytes + done, n - done, 0);
        int error = errno;
        if (moved > 0)
            done += (size_t)moved;
        else if (moved == 0 || (error != EAGAIN && error != EINTR))
            return moved == 0 ? -EPIPE : -error;
        else if (wait_ready(fd, out ? POLLOUT : POLLIN, deadline_ms) < 0)
            return -ETIMEDOUT;
    }
    return 0;
}

/* A message is its length (uint32_t) and its text; the answer's is empty when all went well. */
static int exchange(struct fl_nft *nft, struct fl_str commands, char ret_answer[MAX_ANSWER + 1])
{
    int64_t deadline_ms = fl_clock_mono_ms() + DEADLINE_MS;
    uint32_t size = (uint32_t)commands.n;
    int rc = transfer(nft->fd, &size, sizeof(size), true, deadline_ms);
    if (rc == 0)
        rc = transfer(nft->fd, (void *)commands.p, commands.n, true, deadline_ms);
    if (rc == 0)
        rc = transfer(nft->fd, &size, sizeof(size), false, deadline_ms);
    if (rc == 0 && size > MAX_ANSWER)
        rc = -EBADMSG;
    if (rc == 0)
        rc = transfer(nft->fd, ret_answer, size, false, deadline_ms);
    if (rc == 0)
        ret_answer[size] = '\0';
    return rc;
}

/* nft's words are several lines; the first says what went wrong. */
static int refused(char *text, struct fl_err *err)
{
    text[strcspn(text, "\n")] = '\0';
    return fl_err_set(err, -EPROTO, "nftables refused a change: %s", text);
}

int fl_nft_run(struct fl_nft *nft, struct fl_str commands, struct fl_err *err)
{
    char answer[MAX_ANSWER + 1];
    int rc = -EIO;
    if (commands.n > MAX_REQUEST)
        return fl_err_set(err, -EFBIG, "a change of the nftables rules is too large");
    for (int attempt = 0; attempt < 2; attempt++) {
        rc = nft->fd >= 0 ? 0 : start(nft);
        if (rc == 0)
            rc = exchange(nft, commands, answer);
        if (rc == 0)
            return answer[0] == '\0' ? 0 : refused(answer, err);
        stop(nft, 0);
    }
    fl_err_errno(err, rc, "fairlead-nft (%s) does not answer", nft->path);
    return -EIO;
}

int fl_nft_open(struct fl_str libexec_dir, struct fl_nft **ret_nft, struct fl_err *err)
{
    struct fl_nft *nft = fl_calloc(1, sizeof(*nft));
    nft->fd = -1;
    if (asprintf(&nft->path, "%.*s/fairlead-nft", FL_STR_ARG(libexec_dir)) < 0)
        nft->path = NULL;
    int rc = nft->path ? start(nft) : -ENOMEM;
    if (rc < 0) {
        fl_err_errno(err, rc, "cannot start %s", nft->path ? nft->path : "fairlead-nft");
        fl_nft_close(nft);
        return rc;
    }
    *ret_nft = nft;
    return 0;
}

void fl_nft_close(struct fl_nft *nft)
{
    if (!nft)
        return;
    stop(nft, EXIT_GRACE_MS);
    free(nft->path);
    free(nft);
}
