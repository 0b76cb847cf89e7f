/* Layers: archives of all kinds are read to their end and put into a directory in memory, as
 * fairlead-unpack does after it has confined itself. Here nothing confines: whatever an archive
 * says, the directory beside stays as it was, and what is reported lies inside.
 *
 * The first byte chooses. The rest is an archive as it is, or one whose headers are given the right
 * sums, or a list of members from which an archive is written, extended headers with the right
 * lengths among them: so what is found does not end at the first wrong digit. */
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "libexec/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { BLOCK = 512, ARCHIVE_MAX = 256 << 10, MEMBERS_MAX = 16, FIELD_MAX = 255 };
enum { SUM_AT = 148, SIZE_AT = 124, TYPE_AT = 156 };

enum { /* bits of the first byte */
       MENDED = 1,
       WRITTEN = 2,
       OWNERS = 4,
       DISCARD = 8,
       HEADERS_ONLY = 16,
};

/* A directory of our own with the one to fill ("root") and a file that nobody may touch. */
static struct {
    char path[64];
    int dir, root, archive, report, home;
    struct stat dir_before, beside_before;
} place;

static void leave(void)
{
    (void)fl_fs_remove_tree(AT_FDCWD, place.path);
}

static void prepare(void)
{
    if (*place.path)
        return;
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    (void)umask(0);
    (void)snprintf(place.path, sizeof(place.path), "/dev/shm/fairlead-fuzz-XXXXXX");
    FL_ASSERT(mkdtemp(place.path));
    place.dir = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place.home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place.archive = memfd_create("archive", MFD_CLOEXEC);
    place.report = memfd_create("report", MFD_CLOEXEC);
    FL_ASSERT(mkdirat(place.dir, "root", 0700) == 0);
    place.root = openat(place.dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FL_CLEANUP_FD int beside = openat(place.dir, "beside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    FL_ASSERT(place.root >= 0 && beside >= 0 && place.archive >= 0 && place.report >= 0);
    FL_ASSERT(fstat(place.dir, &place.dir_before) == 0);
    FL_ASSERT(fstat(beside, &place.beside_before) == 0);
    (void)atexit(leave);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void check_beside(void)
{
    struct stat dir, beside;
    FL_ASSERT(fstat(place.dir, &dir) == 0 && is_same(&dir, &place.dir_before));
    FL_ASSERT(fstatat(place.dir, "beside", &beside, AT_SYMLINK_NOFOLLOW) == 0);
    FL_ASSERT(is_same(&beside, &place.beside_before));
}

/* Everything in the root goes; the root itself stays, so that its parent does not change. */
static void empty_root(void)
{
    struct stat st;
    FL_ASSERT(fchdir(place.home) == 0 && fchmod(place.root, 0700) == 0);
    FL_CLEANUP_FD int fd = openat(place.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FL_ASSERT(fstat(fd, &st) == 0);
    if (st.st_size == 0)
        return;
    DIR *entries = fdopendir(FL_TAKE_FD(fd));
    const struct dirent *entry;
    while ((entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            FL_ASSERT(fl_fs_remove_tree(place.root, entry->d_name) == 0);
    }
    (void)closedir(entries);
}

/* ---- archives ---- */

static void put_octal(uint8_t *at, size_t digits, unsigned value)
{
    for (size_t i = digits; i-- > 0; value >>= 3)
        at[i] = (uint8_t)('0' + (value & 7));
}

static void put_sum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + SUM_AT, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += header[i];
    put_octal(header + SUM_AT, 6, sum);
    header[SUM_AT + 6] = '\0';
}

static size_t octal_at(const uint8_t *at, size_t digits)
{
    size_t value = 0;
    for (size_t i = 0; i < digits && at[i] >= '0' && at[i] <= '7'; i++)
        value = value << 3 | (size_t)(at[i] - '0');
    return value;
}

/* Gives every block that stands where a header does its sum. */
static void mend(uint8_t *archive, size_t n)
{
    for (size_t at = 0; at + BLOCK <= n;) {
        uint8_t *header = archive + at;
        size_t size = octal_at(header + SIZE_AT, 11);
        if (header[0] || header[TYPE_AT])
            put_sum(header);
        at += BLOCK + (FL_MIN(size, n) + BLOCK - 1) / BLOCK * BLOCK;
    }
}

struct reader {
    const uint8_t *p;
    size_t n;
};

static uint8_t next_byte(struct reader *reader)
{
    if (reader->n == 0)
        return 0;
    reader->n--;
    return *reader->p++;
}

/* A length and as many bytes. */
static struct fl_str next_field(struct reader *reader)
{
    size_t wanted = next_byte(reader);
    size_t n = FL_MIN(wanted, reader->n);
    struct fl_str field = {(const char *)reader->p, n};
    reader->p += n;
    reader->n -= n;
    return field;
}

/* "LENGTH LINE\n" for each line, the length being that of the whole. */
static void put_records(struct fl_buf *content, struct fl_str lines)
{
    struct fl_str line;
    while (fl_str_split(&lines, '\n', &line)) {
        size_t n = line.n + 3;
        n += n + 1 > 99 ? 2 : n > 9 ? 1 : 0;
        fl_buf_printf(content, "%zu %.*s\n", n, FL_STR_ARG(line));
    }
}

static void put_member(struct fl_buf *archive, struct reader *reader)
{
    static const char magics[2][9] = {"ustar\00000", "ustar  "};
    static const uint8_t zeros[BLOCK];
    uint8_t header[BLOCK] = {0};
    FL_CLEANUP_BUF struct fl_buf content = FL_BUF_INIT(FIELD_MAX * 4);
    uint8_t type = next_byte(reader), how = next_byte(reader);
    struct fl_str name = next_field(reader), link = next_field(reader);
    struct fl_str text = next_field(reader);
    if (type == 'x' || type == 'g')
        put_records(&content, text);
    else
        fl_buf_add(&content, text.p, text.n);
    memcpy(header, name.p, FL_MIN(name.n, (size_t)100));
    memcpy(header + 157, link.p, FL_MIN(link.n, (size_t)100));
    memcpy(header + 257, magics[how & 1], 8);
    put_octal(header + 100, 7, how & 2 ? 06755 : 0644);
    put_octal(header + 108, 7, how & 4 ? 1000 : 0);
    put_octal(header + 116, 7, how & 4 ? 1000 : 0);
    put_octal(header + SIZE_AT, 11, (unsigned)content.n + (how & 8 ? how : 0U));
    put_octal(header + 136, 11, 1700000000);
    header[TYPE_AT] = type;
    put_sum(header);
    fl_buf_add(archive, header, BLOCK);
    fl_buf_add(archive, content.p, content.n);
    fl_buf_add(archive, zeros, (BLOCK - content.n % BLOCK) % BLOCK);
}

static void make_archive(uint8_t mode, const uint8_t *bytes, size_t n, struct fl_buf *archive)
{
    struct reader reader = {bytes, n};
    if (mode & WRITTEN) {
        for (size_t i = 0; i < MEMBERS_MAX && reader.n > 0; i++)
            put_member(archive, &reader);
        return;
    }
    fl_buf_add(archive, bytes, n);
    if (mode & MENDED && archive->n > 0)
        mend((uint8_t *)archive->p, archive->n);
}

/* ---- what the program does with them ---- */

static int drain_entry(struct fl_tar *tar, struct archive_entry *entry, struct fl_err *err)
{
    struct fl_member member;
    const void *bytes = NULL;
    size_t n = 0;
    int64_t offset = 0;
    int rc = fl_member_parse(archive_entry_pathname(entry), &member, err);
    if (rc == 0)
        FL_ASSERT(strlen(member.path) <= FL_UNPACK_PATH_MAX && !strchr(member.name, '/') &&
                  member.parent_n <= strlen(member.path) && member.path[0] != '/');
    while (rc >= 0 && (rc = fl_tar_data(tar, &bytes, &n, &offset, err)) > 0)
        FL_ASSERT(offset >= 0);
    return rc;
}

/* Paths of directories, each ended by NUL, none of which leads anywhere else. */
static void check_report(void)
{
    static char text[ARCHIVE_MAX];
    struct fl_member member;
    struct fl_err err = {0};
    ssize_t n = pread(place.report, text, sizeof(text) - 1, 0);
    FL_ASSERT(n >= 0 && (n == 0 || text[n - 1] == '\0'));
    for (const char *path = text; path < text + n; path += strlen(path) + 1)
        FL_ASSERT(!*path ||
                  (fl_member_parse(path, &member, &err) == 0 && strcmp(member.path, path) == 0));
}

static void unpack(uint8_t mode, struct fl_tar *tar)
{
    struct archive_entry *entry = NULL;
    struct fl_err err = {0};
    char hex[65];
    int rc;
    struct fl_tree *tree = fl_tree_new(place.root, mode & OWNERS, mode & DISCARD);
    while ((rc = fl_tar_next(tar, &entry, &err)) > 0) {
        rc = mode & HEADERS_ONLY ? drain_entry(tar, entry, &err)
                                 : fl_tree_put(tree, tar, entry, &err);
        if (rc < 0)
            break;
    }
    if (rc == 0)
        rc = fl_tar_finish(tar, hex, &err);
    if (rc == 0) {
        FL_ASSERT(ftruncate(place.report, 0) == 0 && lseek(place.report, 0, SEEK_SET) == 0);
        rc = fl_tree_finish(tree, place.report, &err);
        FL_ASSERT(rc == 0);
        check_report();
    }
    FL_ASSERT(rc <= 0 && (rc == 0) == (err.text[0] == '\0'));
    fl_tree_free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct fl_unpack_limits limits = {.bytes = 1 << 20, .entries = 2 * MEMBERS_MAX};
    struct fl_tar *tar = NULL;
    struct fl_err err = {0};
    if (n == 0)
        return 0;
    prepare();
    FL_CLEANUP_BUF struct fl_buf archive = FL_BUF_INIT(ARCHIVE_MAX);
    make_archive(bytes[0], bytes + 1, n - 1, &archive);
    FL_ASSERT(ftruncate(place.archive, 0) == 0);
    FL_ASSERT(pwrite(place.archive, archive.p, archive.n, 0) == (ssize_t)archive.n);
    FL_ASSERT(lseek(place.archive, 0, SEEK_SET) == 0);
    if (fl_tar_open(place.archive, &limits, &tar, &err) == 0)
        unpack(bytes[0], tar);
    else
        FL_ASSERT(err.text[0]);
    fl_tar_close(tar);
    if (!(bytes[0] & HEADERS_ONLY))
        empty_root();
    check_beside();
    return 0;
}
