/* Loading: the archive becomes a directory (unpacked by the confined helper, or as it is), a reader
 * for its format copies blobs into the store, then the references are set. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/id.h"
#include "image/load_internal.h"
#include "image/store_internal.h"
#include "image/unpacker.h"
#include "wire/json.h"

static int open_member(const struct fl_load *load, const char *member)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    FL_CLEANUP_FD int fd = (int)syscall(SYS_openat2, load->dir_fd, member, &how, sizeof(how));
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? FL_TAKE_FD(fd) : -EINVAL;
}

static struct fl_str shown(const char *member)
{
    return fl_str_sub(fl_str_of(member), 0, FL_MIN(strlen(member), (size_t)200));
}

int fl_load_open(const struct fl_load *load, const char *member, struct fl_err *err)
{
    int fd = open_member(load, member);
    if (fd < 0)
        return fl_err_errno(err, fd, "the archive's member %.*s cannot be read",
                            FL_STR_ARG(shown(member)));
    return fd;
}

bool fl_load_has(const struct fl_load *load, const char *member)
{
    FL_CLEANUP_FD int fd = open_member(load, member);
    return fd >= 0;
}

static int read_all(int fd, struct fl_buf *buf)
{
    char chunk[16384];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof(chunk))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        fl_buf_add(buf, chunk, (size_t)got);
        if (buf->overflow)
            return -EFBIG;
    }
    return 0;
}

int fl_load_read(const struct fl_load *load, const char *member, struct fl_buf *buf,
                 struct fl_err *err)
{
    FL_CLEANUP_FD int fd = fl_load_open(load, member, err);
    if (fd < 0)
        return fd;
    int rc = read_all(fd, buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "the archive's member %.*s cannot be read",
                            FL_STR_ARG(shown(member)));
    return 0;
}

/* A blob that is there already is as good; its age is renewed so that nobody collects it before
 * the reference is set. */
static bool keep_existing(struct fl_load *load, const struct fl_digest *digest, uint64_t *ret_size)
{
    return fl_image_store_has(load->store, digest, ret_size) &&
           utimensat(load->store->blobs_fd, digest->hex, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

int fl_load_blob(struct fl_load *load, const char *member, const struct fl_digest *expected,
                 struct fl_digest *ret_digest, uint64_t *ret_size, struct fl_err *err)
{
    struct fl_err inner = {0};
    if (expected && keep_existing(load, expected, ret_size)) {
        *ret_digest = *expected;
        return 0;
    }
    FL_CLEANUP_FD int fd = fl_load_open(load, member, err);
    if (fd < 0)
        return fd;
    int rc = fl_image_store_put_fd(load->store, fd, expected, ret_digest, ret_size, &inner);
    if (rc < 0)
        return fl_err_set(err, rc, "%.*s: %s", FL_STR_ARG(shown(member)), inner.text);
    fl_load_note(load, rc, ret_digest);
    return 0;
}

void fl_load_note(struct fl_load *load, int rc, const struct fl_digest *digest)
{
    if (rc != 0)
        return;
    if (load->added_count == load->added_cap) {
        load->added_cap = FL_MAX((size_t)64, load->added_cap * 2);
        load->added = fl_realloc(load->added, load->added_cap * sizeof(*load->added));
    }
    load->added[load->added_count++] = *digest;
}

/* The repository under which an image lies in the built-in registry. */
static struct fl_str own_repository(const struct fl_image_name *name)
{
    struct fl_str library = FL_STR("library/");
    bool docker = name->host.n == 0 || fl_str_is(name->host, "docker.io");
    if (docker && fl_str_starts(name->repository, library))
        return fl_str_from(name->repository, library.n);
    return name->repository;
}

int fl_load_add_ref(struct fl_load *load, struct fl_str own_name, const struct fl_digest *digest,
                    uint64_t size, struct fl_str media_type, struct fl_err *err)
{
    struct fl_image_name name;
    struct fl_str text = load->name.n ? load->name : own_name;
    int rc = fl_image_name_parse(text, &name, err);
    if (rc < 0)
        return rc;
    if (name.tag.n == 0)
        return fl_err_set(err, -EINVAL, "the image needs a tag: give NAME:TAG");
    if (load->ref_count == FL_LOAD_IMAGES_MAX)
        return fl_err_set(err, -E2BIG, "the archive holds more than %d names", FL_LOAD_IMAGES_MAX);
    load->refs[load->ref_count++] = (struct fl_ref){
        .repository = fl_str_dup(load->arena, own_repository(&name)),
        .tag = fl_str_dup(load->arena, name.tag),
        .digest = *digest,
        .size = size,
        .media_type = fl_str_dup(load->arena, media_type),
    };
    return 0;
}

static int load_layout(struct fl_load *load, struct fl_err *err)
{
    if (fl_load_has(load, "manifest.json"))
        return fl_load_docker(load, err);
    if (fl_load_has(load, "index.json"))
        return fl_load_oci(load, err);
    return fl_err_set(err, -EINVAL,
                      "neither a docker-archive (no manifest.json) nor an OCI layout "
                      "(no index.json)");
}

/* A private directory beneath tmp/, removed by scratch_remove. */
struct scratch {
    char name[8 + 17];
    int fd;
};

static int scratch_make(struct fl_load *load, struct scratch *scratch, struct fl_err *err)
{
    uint8_t salt[8];
    memcpy(scratch->name, "scratch.", 8);
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), scratch->name + 8);
    scratch->fd = -1;
    if (mkdirat(load->store->tmp_fd, scratch->name, 0700) == 0)
        scratch->fd = openat(load->store->tmp_fd, scratch->name,
                             O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return scratch->fd < 0 ? fl_err_errno(err, -errno, "cannot write to the image store") : 0;
}

static void scratch_remove(struct fl_load *load, struct scratch *scratch)
{
    fl_cleanup_fd(&scratch->fd);
    (void)fl_fs_remove_tree(load->store->tmp_fd, scratch->name);
}

static int load_archive(struct fl_load *load, int archive_fd, struct fl_err *err)
{
    struct scratch scratch;
    int rc = scratch_make(load, &scratch, err);
    if (rc == 0)
        rc = fl_unpack_archive(load->libexec_dir, archive_fd, scratch.fd, err);
    load->dir_fd = scratch.fd;
    if (rc == 0)
        rc = load_layout(load, err);
    scratch_remove(load, &scratch);
    return rc;
}

static bool is_added(const struct fl_load *load, const struct fl_digest *digest)
{
    for (size_t i = 0; i < load->added_count; i++) {
        if (fl_digest_eq(&load->added[i], digest))
            return true;
    }
    return false;
}

int fl_load_check_layer(struct fl_load *load, const struct fl_digest *digest,
                        const struct fl_digest *diff_id, struct fl_err *err)
{
    struct scratch scratch;
    struct fl_err inner = {0};
    if (!is_added(load, digest))
        return 0;
    FL_CLEANUP_FD int blob = fl_image_store_open_blob(load->store, digest);
    if (blob < 0)
        return fl_err_errno(err, blob, "cannot read the layer sha256:%s", digest->hex);
    int rc = scratch_make(load, &scratch, &inner);
    if (rc == 0)
        rc = fl_unpack_check(load->libexec_dir, blob, scratch.fd, diff_id, &inner);
    scratch_remove(load, &scratch);
    if (rc < 0)
        return fl_err_set(err, rc, "layer sha256:%.12s: %s", digest->hex, inner.text);
    return 0;
}

static int load_path(struct fl_load *load, const char *path, struct fl_err *err)
{
    struct stat st;
    FL_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fl_err_errno(err, -errno, "cannot open %s", path);
    if (!S_ISDIR(st.st_mode))
        return load_archive(load, fd, err);
    load->dir_fd = fd;
    return load_layout(load, err);
}

static int set_refs(struct fl_load *load, struct fl_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < load->ref_count; i++)
        rc = fl_image_store_set_ref(load->store, &load->refs[i], err);
    return rc;
}

static int load_all(struct fl_load *load, const char *path, struct fl_err *err)
{
    struct fl_image_name checked;
    int rc = load->name.n ? fl_image_name_parse(load->name, &checked, err) : 0;
    if (rc == 0)
        rc = load_path(load, path, err);
    if (rc == 0)
        rc = set_refs(load, err);
    for (size_t i = 0; rc < 0 && i < load->added_count; i++)
        (void)fl_image_store_remove_blob(load->store, &load->added[i]);
    free(load->added);
    return rc;
}

int fl_image_load(struct fl_image_store *store, struct fl_str libexec_dir, const char *path,
                  struct fl_str name, struct fl_arena *arena, struct fl_loaded **ret_loaded,
                  size_t *ret_count, struct fl_err *err)
{
    struct fl_load *load = fl_arena_new_object(arena, struct fl_load);
    *load = (struct fl_load){
        .store = store, .dir_fd = -1, .libexec_dir = libexec_dir, .name = name, .arena = arena};
    int rc = fl_image_store_lock(store, err);
    if (rc < 0)
        return rc;
    rc = load_all(load, path, err);
    fl_image_store_unlock(store);
    if (rc < 0)
        return rc;
    *ret_loaded = fl_arena_new_array(arena, struct fl_loaded, load->ref_count + 1);
    for (size_t i = 0; i < load->ref_count; i++)
        (*ret_loaded)[i] =
            (struct fl_loaded){load->refs[i].repository, load->refs[i].tag, load->refs[i].digest};
    *ret_count = load->ref_count;
    return 0;
}
