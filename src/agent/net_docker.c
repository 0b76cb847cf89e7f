/* Rules in DOCKER-USER, through the iptables program: Docker's tables belong to it, and only the
 * program knows in which form (legacy or nftables) they lie. See the header. */
#include "agent/net_docker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum { IPTABLES_DEADLINE_MS = 10000, MAX_ARGS = 16, MAX_COPIES = 16 };

static int spawn_iptables(char *const argv[], pid_t *ret_pid)
{
    char *const envp[] = {(char *)"PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL};
    static const char *const paths[] = {"/usr/sbin/iptables", "/sbin/iptables",
                                        "/usr/bin/iptables"};
    posix_spawn_file_actions_t actions;
    int rc = ENOENT;
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(paths) && rc == ENOENT; i++)
        rc = posix_spawn(ret_pid, paths[i], &actions, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* The program's exit code, or -errno. */
static int wait_exit(pid_t pid)
{
    int status;
    FL_CLEANUP_FD int pidfd = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    bool in_time = pidfd >= 0 && poll(&ended, 1, IPTABLES_DEADLINE_MS) == 1;
    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (!in_time)
        return -ETIMEDOUT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int run_iptables(char *const argv[])
{
    pid_t pid;
    int rc = spawn_iptables(argv, &pid);
    return rc < 0 ? rc : wait_exit(pid);
}

static bool chain_exists(void)
{
    char *const argv[] = {(char *)"iptables", (char *)"-w",          (char *)"5", (char *)"-n",
                          (char *)"-L",       (char *)"DOCKER-USER", NULL};
    return run_iptables(argv) == 0;
}

/* verb: -C, -I or -D; direction: -i or -o. */
static int rule(const char *verb, const char *direction, struct fl_str tag)
{
    char name[16];
    snprintf(name, sizeof(name), "%.*s", FL_STR_ARG(tag));
    const char *args[MAX_ARGS] = {"iptables", "-w", "5",      verb,      "DOCKER-USER",
                                  direction,  name, "-m",     "comment", "--comment",
                                  name,       "-j", "ACCEPT", NULL};
    return run_iptables((char *const *)args);
}

int fl_docker_allow(struct fl_str tag, struct fl_err *err)
{
    static const char *const directions[] = {"-i", "-o"};
    if (!chain_exists())
        return 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(directions); i++) {
        if (rule("-C", directions[i], tag) == 0)
            continue;
        int rc = rule("-I", directions[i], tag);
        if (rc != 0)
            return fl_err_set(err, rc < 0 ? rc : -EIO,
                              "cannot add a rule for %.*s to the chain DOCKER-USER",
                              FL_STR_ARG(tag));
    }
    return 0;
}

int fl_docker_forget(struct fl_str tag, struct fl_err *err)
{
    static const char *const directions[] = {"-i", "-o"};
    if (!chain_exists())
        return 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(directions); i++)
        for (int copy = 0; copy < MAX_COPIES && rule("-C", directions[i], tag) == 0; copy++)
            if (rule("-D", directions[i], tag) != 0)
                return fl_err_set(err, -EIO,
                                  "cannot remove the rules for %.*s from the chain DOCKER-USER",
                                  FL_STR_ARG(tag));
    return 0;
}
