/* fairlead-unpack: fills one directory from one archive and ends.
 *
 *   fairlead-unpack layer   [--diff-id HEX] [--max-bytes N] [--max-entries N]
 *   fairlead-unpack check   … the same, without the files' contents: would it unpack?
 *   fairlead-unpack archive [--max-bytes N] [--max-entries N]
 *
 * See unpack.h for the descriptors. Exit status 0: filled; 1: refused, the sentence is on 2. */
#include "libexec/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/id.h"

struct orders {
    bool layer;
    bool discard;
    struct fl_unpack_limits limits;
    struct fl_str diff_id; /* 64 hex digits; empty when not known */
};

static bool parse_option(const char *name, const char *value, struct orders *orders)
{
    uint8_t digest[32];
    if (strcmp(name, "--max-bytes") == 0)
        return fl_str_to_u64(fl_str_of(value), &orders->limits.bytes);
    if (strcmp(name, "--max-entries") == 0)
        return fl_str_to_u64(fl_str_of(value), &orders->limits.entries);
    orders->diff_id = fl_str_of(value);
    return strcmp(name, "--diff-id") == 0 && fl_unhex(orders->diff_id, digest, 32);
}

static bool parse_orders(int argc, char **argv, struct orders *orders)
{
    *orders = (struct orders){.limits = {.bytes = (uint64_t)64 << 30, .entries = 1000000}};
    if (argc < 2 || argc % 2 != 0)
        return false;
    orders->discard = strcmp(argv[1], "check") == 0;
    orders->layer = orders->discard || strcmp(argv[1], "layer") == 0;
    if (!orders->layer && strcmp(argv[1], "archive") != 0)
        return false;
    for (int i = 2; i < argc; i += 2) {
        if (!parse_option(argv[i], argv[i + 1], orders))
            return false;
    }
    return true;
}

static int fill(const struct orders *orders, struct fl_tar *tar, struct fl_tree *tree,
                struct fl_err *err)
{
    struct archive_entry *entry = NULL;
    char hex[65];
    int rc;
    while ((rc = fl_tar_next(tar, &entry, err)) > 0) {
        rc = fl_tree_put(tree, tar, entry, err);
        if (rc < 0)
            return rc;
    }
    if (rc == 0)
        rc = fl_tar_finish(tar, hex, err);
    if (rc == 0 && orders->diff_id.n && !fl_str_is(orders->diff_id, hex))
        rc = fl_err_set(err, -EBADMSG,
                        "digest mismatch: the layer unpacks to sha256:%s, not to sha256:%.*s", hex,
                        FL_STR_ARG(orders->diff_id));
    return rc < 0 ? rc : fl_tree_finish(tree, FL_UNPACK_REPORT_FD, err);
}

/* What follows the archive is read too: who writes it into a pipe must be able to end. */
static void drain(int fd)
{
    static char rest[64 << 10];
    while (read(fd, rest, sizeof(rest)) > 0)
        continue;
}

static int run(const struct orders *orders, struct fl_err *err)
{
    struct fl_tar *tar = NULL;
    int rc = fl_confine(orders->layer, orders->limits.bytes, err);
    if (rc < 0)
        return rc;
    rc = fl_tar_open(FL_UNPACK_ARCHIVE_FD, &orders->limits, &tar, err);
    if (rc < 0)
        return rc;
    FL_CLEANUP_FD int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FL_ASSERT(root_fd >= 0);
    struct fl_tree *tree = fl_tree_new(root_fd, orders->layer, orders->discard);
    rc = fill(orders, tar, tree, err);
    if (rc == 0)
        drain(FL_UNPACK_ARCHIVE_FD);
    fl_tree_free(tree);
    fl_tar_close(tar);
    return rc;
}

/* By a signal, so that it takes effect wherever the unpacking is; not by SIGSTOP, which would leave
 * the process stopped if who sent it were killed before the line in main that ties their ends. */
static void hold_still(FL_UNUSED int urgent)
{
    const struct timespec at_most = {.tv_sec = 1};
    int saved = errno;
    sigset_t go_on;
    (void)sigemptyset(&go_on);
    (void)sigaddset(&go_on, SIGCONT);
    (void)sigtimedwait(&go_on, NULL, &at_most);
    errno = saved;
}

static void obey_holds(void)
{
    struct sigaction action = {.sa_handler = hold_still, .sa_flags = SA_RESTART};
    sigset_t go_on;
    (void)sigemptyset(&go_on);
    (void)sigaddset(&go_on, SIGCONT);
    (void)sigprocmask(SIG_BLOCK, &go_on, NULL);
    (void)sigaction(SIGURG, &action, NULL);
}

int main(int argc, char **argv)
{
    struct orders orders;
    struct fl_err err = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Containers that start meanwhile come first: their shims are in this process' control group.
     */
    (void)!nice(12);
    obey_holds();
    if (!parse_orders(argc, argv, &orders)) {
        (void)fputs("usage: fairlead-unpack layer|check|archive [--diff-id HEX] [--max-bytes N] "
                    "[--max-entries N]\n",
                    stderr);
        return 2;
    }
    /* What loads files on first use must do so before the chroot: the character set in which names
     * are kept as they are, and the digest. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    (void)EVP_Q_digest(NULL, "SHA256", NULL, "", 0, digest, NULL);
    if (run(&orders, &err) == 0)
        return 0;
    (void)fprintf(stderr, "%s\n", err.text);
    return 1;
}
