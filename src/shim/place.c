/* Links of an image, followed by hand within its root.
 *
 * Nothing else changes the root file system before the runtime starts, so what is found holds. */
#include "shim/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

enum { LINKS_MAX = 40 };

/* What is left of a path to go, and where we are: "" is the root, else "/a/b". */
struct walk {
    int rootfs_fd;
    int links;
    char rest[2 * PATH_MAX];
    char here[PATH_MAX];
};

static void go_up(struct walk *walk)
{
    char *slash = strrchr(walk->here, '/');
    if (slash)
        *slash = '\0';
}

/* A link's target takes the place of the link's name in what is left. */
static int follow(struct walk *walk, const char *name, const char *more)
{
    char target[PATH_MAX];
    char joined[sizeof(walk->rest)];
    ssize_t n = readlinkat(walk->rootfs_fd, name, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    if (target[0] == '/')
        walk->here[0] = '\0';
    int length = snprintf(joined, sizeof(joined), "%s/%s", target, more);
    if (length < 0 || (size_t)length >= sizeof(joined))
        return -ENAMETOOLONG;
    memcpy(walk->rest, joined, (size_t)length + 1);
    return 0;
}

static int step(struct walk *walk, const char *name, const char *more)
{
    char next[PATH_MAX];
    struct stat st;
    int n = snprintf(next, sizeof(next), "%s/%s", walk->here, name);
    if (n < 0 || (size_t)n >= sizeof(next))
        return -ENAMETOOLONG;
    if (fstatat(walk->rootfs_fd, next + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return follow(walk, next + 1, more);
    memcpy(walk->here, next, (size_t)n + 1);
    memmove(walk->rest, more, strlen(more) + 1);
    return 0;
}

static int take_component(struct walk *walk)
{
    char name[NAME_MAX + 1];
    size_t start = strspn(walk->rest, "/");
    size_t n = strcspn(walk->rest + start, "/");
    const char *more = walk->rest + start + n;
    if (n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, walk->rest + start, n);
    name[n] = '\0';
    if (n > 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return step(walk, name, more);
    if (strcmp(name, "..") == 0)
        go_up(walk);
    memmove(walk->rest, more, strlen(more) + 1);
    return 0;
}

int place_resolve(int rootfs_fd, const char *path, char *ret_path)
{
    struct walk walk = {.rootfs_fd = rootfs_fd};
    int rc = 0;
    if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(walk.rest, path, strlen(path) + 1);
    while (rc == 0 && walk.rest[0])
        rc = take_component(&walk);
    if (rc == 0)
        memcpy(ret_path, walk.here[0] ? walk.here : "/", strlen(walk.here) + 1 + !walk.here[0]);
    return rc;
}

static bool lies_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool place_is_forbidden(const char *path, const char *place)
{
    return strcmp(path, "/") == 0 || lies_in(path, "/proc") ||
           (lies_in(path, "/sys") && !lies_in(place, "/sys"));
}

int place_check(int dir_fd, const struct orders *orders, const char **ret_place)
{
    char path[PATH_MAX];
    if (orders->places.count == 0)
        return 0;
    FL_CLEANUP_FD int rootfs_fd = openat(dir_fd, "rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rootfs_fd < 0)
        return -errno;
    for (size_t i = 0; i < orders->places.count; i++) {
        *ret_place = orders->places.items[i];
        int rc = place_resolve(rootfs_fd, *ret_place, path);
        if (rc < 0)
            return rc;
        if (place_is_forbidden(path, *ret_place))
            return -EPERM;
    }
    return 0;
}
