/* What makes a machine this one. */
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/identity.h"
#include "base/fs.h"
#include "base/id.h"

enum { MAX_FILE = 256, MAX_PATH = 4096, HEX_IN_ID = 17 };

static bool path_of(struct fl_str root, const char *path, char ret_path[MAX_PATH])
{
    int n = snprintf(ret_path, MAX_PATH, "%.*s%s", FL_STR_ARG(root), path);
    return n > 0 && n < MAX_PATH;
}

static bool is_there(struct fl_str root, const char *name)
{
    char path[MAX_PATH];
    return path_of(root, name, path) && access(path, F_OK) == 0;
}

/* The hex digits of a small file, dashes left out. False when it holds anything else, or not 32. */
static bool read_word(struct fl_str root, const char *name, char ret_word[FL_IDENTITY_WORD])
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_FILE);
    char path[MAX_PATH];
    uint8_t bytes[16];
    size_t n = 0;
    if (!path_of(root, name, path) || fl_fs_read(AT_FDCWD, path, MAX_FILE, &buf) < 0)
        return false;
    struct fl_str text = fl_str_trim(fl_buf_str(&buf));
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '-')
            continue;
        if (n == FL_IDENTITY_WORD - 1)
            return false;
        ret_word[n++] = text.p[i];
    }
    ret_word[n] = '\0';
    return n == FL_IDENTITY_WORD - 1 &&
           fl_unhex((struct fl_str){ret_word, n}, bytes, sizeof(bytes));
}

/* Firmware that was never given a UUID says one of these. */
static bool says_nothing(const char *board)
{
    static const char *const common[] = {"03000200040005000006000700080009",
                                         "12345678123456781234567812345678"};
    size_t same = strspn(board, (const char[]){board[0], '\0'});
    for (size_t i = 0; i < FL_ARRAY_SIZE(common); i++)
        if (strcmp(board, common[i]) == 0)
            return true;
    return same == FL_IDENTITY_WORD - 1;
}

static void hash(const char *purpose, struct fl_str a, struct fl_str b,
                 char ret_word[FL_IDENTITY_WORD])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(2 * MAX_PATH);
    fl_buf_printf(&buf, "fairlead %s\n%.*s\n%.*s", purpose, FL_STR_ARG(a), FL_STR_ARG(b));
    (void)SHA256((const unsigned char *)buf.p, buf.n, digest);
    fl_hex(digest, (FL_IDENTITY_WORD - 1) / 2, ret_word);
}

/* Containers see their host's firmware. */
static bool is_container(struct fl_str root)
{
    static const char *const marks[] = {"/run/systemd/container", "/run/.containerenv",
                                        "/.dockerenv"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(marks); i++)
        if (is_there(root, marks[i]))
            return true;
    return false;
}

/* A machine id in /run is made anew with every boot. */
void fl_machine_read(struct fl_str root, struct fl_machine *ret_machine)
{
    char word[FL_IDENTITY_WORD];
    *ret_machine = (struct fl_machine){0};
    if (!is_there(root, "/run/machine-id") && read_word(root, "/etc/machine-id", word) &&
        !says_nothing(word))
        hash("machine", fl_str_of(word), FL_STR(""), ret_machine->id);
    if (!is_container(root) && read_word(root, "/sys/class/dmi/id/product_uuid", word)) {
        for (char *c = word; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'F' ? *c - 'A' + 'a' : *c);
        if (!says_nothing(word))
            hash("board", fl_str_of(word), FL_STR(""), ret_machine->board);
    }
}

struct fl_str fl_machine_instance_id(const struct fl_machine *machine, struct fl_str dir,
                                     struct fl_arena *arena)
{
    const char *known = machine->board[0] ? machine->board : machine->id;
    char word[FL_IDENTITY_WORD];
    if (!known[0])
        return FL_STR("");
    hash("instance", fl_str_of(known), dir, word);
    return fl_str_printf(arena, "mi-%.*s", HEX_IN_ID, word);
}
