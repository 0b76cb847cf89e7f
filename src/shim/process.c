/* Starting the runtime; small reads from /proc and cgroup files. */
#include "shim/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/spawn.h"

enum { SMALL_FILE_MAX = 8192 };

static void set_actions(posix_spawn_file_actions_t *actions, int in_fd, int out_fd, int err_fd)
{
    if (in_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, in_fd, STDIN_FILENO);
    if (out_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, out_fd, STDOUT_FILENO);
    if (err_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, err_fd, STDERR_FILENO);
}

pid_t process_start(const char *path, char *const argv[], int in_fd, int out_fd, int err_fd)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    fl_spawn_reset_signals(&attr, 0);
    set_actions(&actions, in_fd, out_fd, err_fd);
    int rc = posix_spawn(&pid, path, &actions, &attr, argv, fl_spawn_environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc == 0 ? pid : -rc;
}

/* What execve and the attributes of posix_spawn would do. */
static void become_plain(int in_fd, int out_fd, int err_fd)
{
    const int given[] = {in_fd, out_fd, err_fd};
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (given[fd] >= 0)
            (void)dup2(given[fd], fd);
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What libraries would tidy up in their own copies of memory that goes anyway costs half of what
 * the copy did. */
static void end_at_once(int status, FL_UNUSED void *context)
{
    (void)fflush(NULL);
    _exit(status);
}

pid_t process_call(shim_program *program, char *const argv[], int in_fd, int out_fd, int err_fd)
{
    int argc = 0;
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    become_plain(in_fd, out_fd, err_fd);
    (void)prctl(PR_SET_NAME, "crun");
    environ = (char **)(uintptr_t)fl_spawn_environment;
    while (argv[argc])
        argc++;
    (void)on_exit(end_at_once, NULL);
    exit(program(argc, (char **)(uintptr_t)argv, environ));
}

/* The command in parentheses may hold anything: fields count from the last ')'. */
int64_t process_start_time(pid_t pid)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(SMALL_FILE_MAX);
    char path[64];
    int64_t value = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int rc = fl_fs_read(AT_FDCWD, path, SMALL_FILE_MAX, &text);
    if (rc < 0)
        return rc;
    struct fl_str rest =
        fl_str_from(fl_buf_str(&text), (size_t)(fl_str_rindex(fl_buf_str(&text), ')') + 2));
    struct fl_str field = {NULL, 0};
    for (int i = 3; i <= 22; i++)
        if (!fl_str_split(&rest, ' ', &field))
            return -EINVAL;
    return fl_str_to_i64(field, &value) ? value : -EINVAL;
}

int64_t process_read_number(int dir_fd, const char *name)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(SMALL_FILE_MAX);
    int64_t value = 0;
    int rc = fl_fs_read(dir_fd, name, SMALL_FILE_MAX, &text);
    if (rc < 0)
        return rc;
    return fl_str_to_i64(fl_str_trim(fl_buf_str(&text)), &value) ? value : -EINVAL;
}

int64_t process_read_oom_kills(const char *path)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(SMALL_FILE_MAX);
    struct fl_str line;
    int64_t value = 0;
    if (fl_fs_read(AT_FDCWD, path, SMALL_FILE_MAX, &text) < 0)
        return 0;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_starts(line, FL_STR("oom_kill ")))
            return fl_str_to_i64(fl_str_from(line, strlen("oom_kill ")), &value) ? value : 0;
    return 0;
}
