/* fairlead-nft: the one program that links libnftables. Reads batches of nft commands from the
 * socket that is its standard input, runs each as one transaction, answers on the same socket, and
 * ends when the other side does.
 *
 * A message, either way, is its length (uint32_t) and its text. The answer is empty when the batch
 * was done; else it is nft's own words, and nothing of the batch was done.
 *
 * All it keeps of root is CAP_NET_ADMIN: it is nobody, can gain nothing by exec, and reads no file
 * by request (no include paths). */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"

enum { NOBODY = 65534, MAX_REQUEST = 8 << 20, MAX_ANSWER = 4096 };

static int set_capabilities(uint32_t mask)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = mask, .permitted = mask}};
    return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int drop_privileges(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return set_capabilities(1u << CAP_NET_ADMIN);
}

/* 1: all n bytes read; 0: the other side is gone; -errno. */
static int read_all(void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(STDIN_FILENO, (char *)bytes + done, n - done);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return 0;
        done += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

static int answer(const char *text)
{
    uint32_t size = (uint32_t)strnlen(text, MAX_ANSWER);
    int rc = fl_fs_write_all(STDIN_FILENO, &size, sizeof(size));
    return rc < 0 ? rc : fl_fs_write_all(STDIN_FILENO, text, size);
}

static int run(struct nft_ctx *ctx, const char *commands)
{
    int rc = nft_run_cmd_from_buffer(ctx, commands);
    const char *error = nft_ctx_get_error_buffer(ctx);
    (void)nft_ctx_get_output_buffer(ctx); /* getting a buffer empties it for the next batch */
    if (rc == 0)
        return answer("");
    return answer(error && error[0] ? error : "no reason given");
}

/* Takes one batch. 1: go on; 0: the other side is gone. */
static int serve(struct nft_ctx *ctx)
{
    FL_CLEANUP_BUF struct fl_buf commands = FL_BUF_INIT(MAX_REQUEST);
    uint32_t size;
    int rc = read_all(&size, sizeof(size));
    if (rc <= 0)
        return rc;
    if (size > MAX_REQUEST)
        return -EMSGSIZE;
    char *bytes = fl_buf_reserve(&commands, size);
    if (!bytes)
        return -EMSGSIZE;
    rc = read_all(bytes, size);
    bytes[size] = '\0';
    if (rc <= 0)
        return rc;
    rc = run(ctx, bytes);
    return rc < 0 ? rc : 1;
}

int main(void)
{
    int rc = drop_privileges();
    struct nft_ctx *ctx = rc < 0 ? NULL : nft_ctx_new(NFT_CTX_DEFAULT);
    if (!ctx) {
        fprintf(stderr, "fairlead-nft: cannot start: %s\n", strerror(-rc));
        return 1;
    }
    nft_ctx_buffer_output(ctx);
    nft_ctx_buffer_error(ctx);
    nft_ctx_clear_include_paths(ctx);
    do
        rc = serve(ctx);
    while (rc > 0);
    nft_ctx_free(ctx);
    return rc < 0;
}
