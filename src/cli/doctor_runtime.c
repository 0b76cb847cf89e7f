/* Which container runtime is used, and what is known to be wrong with its version.
 *
 * Distributions mend old versions: where a package manager knows the program, its version counts.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/doctor.h"

static const struct fl_runtime_hole holes[] = {
    {"runc", "CVE-2019-5736", "1.0.0", NULL, NULL, "a container can overwrite runc itself"},
    {"runc", "CVE-2022-29162", "1.1.2", NULL, NULL, "containers have inheritable capabilities"},
    {"runc", "CVE-2023-25809, CVE-2023-27561, CVE-2023-28642", "1.1.5", NULL, NULL,
     "volumes with symbolic links get around /proc's protection"},
    {"runc", "CVE-2024-21626", "1.1.12", "1.1.5+ds1-1+deb12u1", NULL,
     "an image can work in a directory of the host"},
    {"runc", "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", "1.2.8 1.3.3", NULL, NULL,
     "images and volumes with races can write to the host's /proc"},
    {"crun", "CVE-2022-27650", "1.4.4", NULL, NULL, "containers have inheritable capabilities"},
    {"crun", "CVE-2025-24965", "1.20", NULL, "+LIBKRUN", "an image can write files of the host"},
};

/* "1.20.3-rc1" → 1, 20, 3. */
static bool read_version(struct fl_str text, int64_t part[3])
{
    part[0] = part[1] = part[2] = 0;
    for (int i = 0; i < 3 && text.n > 0; i++) {
        size_t n = 0;
        while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
            n++;
        if (n == 0 || n > 9 || !fl_str_to_i64(fl_str_sub(text, 0, n), &part[i]))
            return false;
        if (n == text.n || text.p[n] != '.')
            return i > 0;
        text = fl_str_from(text, n + 1);
    }
    return true;
}

static int compare(const int64_t *a, const int64_t *b, int parts)
{
    for (int i = 0; i < parts; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

bool fl_doctor_is_fixed(struct fl_str version, const char *fixed)
{
    enum { BRANCH = 2, WHOLE = 3 };
    int64_t have[WHOLE], needed[WHOLE];
    struct fl_str rest = fl_str_of(fixed), row;
    bool newer = read_version(version, have);
    bool read = newer;
    while (read && fl_str_split(&rest, ' ', &row)) {
        FL_ASSERT(read_version(row, needed));
        int branch = compare(have, needed, BRANCH);
        if (branch == 0)
            return compare(have, needed, WHOLE) >= 0;
        newer = newer && branch > 0;
    }
    return newer;
}

/* "crun version 1.8.1" → "1.8.1". */
static struct fl_str version_in(struct fl_str said)
{
    static const char word[] = " version ";
    struct fl_str line, text = said;
    if (!fl_str_split(&text, '\n', &line))
        return (struct fl_str){0};
    ptrdiff_t space = fl_str_rindex(line, ' ');
    return fl_str_contains(line, fl_str_of(word)) ? fl_str_from(line, (size_t)space + 1)
                                                  : (struct fl_str){0};
}

/* Debian mends without a new upstream version. The program must be the package's. */
static bool package_is_mended(const struct fl_runtime_hole *hole, struct fl_str version)
{
    char installed[128], ignored[16];
    const char *const ask[] = {"dpkg-query", "-W", "-f", "${Version}", hole->program, NULL};
    if (!hole->debian ||
        fl_ask_program(ask, FL_DOCTOR_PATIENCE_MS, installed, sizeof(installed)) != 0)
        return false;
    if (!fl_str_starts(fl_str_of(installed), version))
        return false;
    const char *const compare_them[] = {"dpkg", "--compare-versions", installed,
                                        "ge",   hole->debian,         NULL};
    return fl_ask_program(compare_them, FL_DOCTOR_PATIENCE_MS, ignored, sizeof(ignored)) == 0;
}

static bool is_open(const struct fl_runtime_hole *hole, const char *program, struct fl_str said)
{
    if (strcmp(hole->program, program) != 0)
        return false;
    if (hole->feature && !fl_str_contains(said, fl_str_of(hole->feature)))
        return false;
    return !fl_doctor_is_fixed(version_in(said), hole->fixed) &&
           !package_is_mended(hole, version_in(said));
}

/* Empty when nothing is known against it. */
static struct fl_str open_holes(struct fl_arena *arena, const char *program, struct fl_str said)
{
    struct fl_str found = {0};
    for (size_t i = 0; i < FL_ARRAY_SIZE(holes); i++)
        if (is_open(&holes[i], program, said))
            found = fl_str_printf(arena, "%.*s%s%s (%s)", FL_STR_ARG(found), found.n ? "; " : "",
                                  holes[i].names, holes[i].harm);
    return found;
}

static struct fl_finding judge(const struct fl_options *options, const char *program,
                               struct fl_str said)
{
    struct fl_str version = version_in(said), found = open_holes(options->arena, program, said);
    if (version.n == 0)
        return (struct fl_finding){
            FL_WRONG, fl_str_printf(options->arena,
                                    "%s does not tell its version: install it again", program)};
    if (found.n > 0)
        return (struct fl_finding){
            FL_WRONG, fl_str_printf(options->arena,
                                    "%s %.*s has known holes: %.*s; install a newer one, or crun "
                                    "1.20",
                                    program, FL_STR_ARG(version), FL_STR_ARG(found))};
    return (struct fl_finding){FL_FINE, fl_str_printf(options->arena,
                                                      "%s %.*s, no hole of our table is open in it",
                                                      program, FL_STR_ARG(version))};
}

struct fl_finding fl_doctor_runtime(const struct fl_options *options)
{
    static const char *const programs[] = {"crun", "runc"};
    char said[1024];
    for (size_t i = 0; i < FL_ARRAY_SIZE(programs); i++) {
        const char *const ask[] = {programs[i], "--version", NULL};
        if (fl_ask_program(ask, FL_DOCTOR_PATIENCE_MS, said, sizeof(said)) != 0)
            continue;
        struct fl_finding finding = judge(options, programs[i], fl_str_of(said));
        if (i > 0 && finding.verdict == FL_FINE)
            finding = (struct fl_finding){
                FL_NOTE, fl_str_printf(options->arena, "%.*s; crun is faster: apt-get install crun",
                                       FL_STR_ARG(finding.text))};
        return finding;
    }
    return (struct fl_finding){FL_WRONG, FL_STR("no OCI runtime: apt-get install crun")};
}
