/* Where the running program lies; see the header. */
#include "base/program.h"

#include <errno.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

int fl_program_path(struct fl_arena *arena, struct fl_str *ret_path, struct fl_err *err)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
    if (n < 0)
        return fl_err_errno(err, -errno, "cannot read /proc/self/exe (is /proc mounted?)");
    if ((size_t)n == sizeof(path))
        return fl_err_set(err, -ENAMETOOLONG, "the executable's path is too long");
    *ret_path = fl_str_dup(arena, (struct fl_str){path, (size_t)n});
    return 0;
}

int fl_program_libexec_dir(struct fl_arena *arena, struct fl_str *ret_dir, struct fl_err *err)
{
    struct fl_str path;
    int r = fl_program_path(arena, &path, err);
    if (r < 0)
        return r;
    struct fl_str bin = fl_str_sub(path, 0, (size_t)fl_str_rindex(path, '/'));
    static const char *const places[] = {"libexec", "../libexec/fairlead"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(places); i++) {
        struct fl_str dir = fl_str_printf(arena, "%.*s/%s", FL_STR_ARG(bin), places[i]);
        struct stat st;
        if (stat(dir.p, &st) == 0 && S_ISDIR(st.st_mode)) {
            *ret_dir = dir;
            return 0;
        }
    }
    return fl_err_set(err, -ENOENT, "no libexec directory near %.*s: is the installation whole?",
                      FL_STR_ARG(path));
}

uint64_t fl_program_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    rlim_t own = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : own;
}
