/* The trace and the tree of names; see the header. */
#include "disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"

enum { ARENA_SIZE = 256 << 20 };

uint64_t proof_random(struct proof_rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15;
    uint64_t z = rng->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t proof_below(struct proof_rng *rng, uint32_t n)
{
    return (uint32_t)(((proof_random(rng) >> 32) * n) >> 32);
}

uint64_t proof_mix(uint64_t a, uint64_t b)
{
    struct proof_rng rng = {a * 0x2545f4914f6cdd1d + b};
    uint64_t mixed = proof_random(&rng) ^ (a << 1);
    return mixed ? mixed : 1;
}

uint64_t proof_hash(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint64_t hash = n + 1, word = 0;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        hash = (hash ^ word) * 0x9fb21c651e98df25;
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, p, n);
    return proof_mix(hash, word);
}

struct proof_disk *proof_disk_new(void)
{
    void *memory = mmap(NULL, sizeof(struct proof_disk) + ARENA_SIZE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FL_ASSERT(memory != MAP_FAILED);
    struct proof_disk *disk = memory;
    static const char *const places[] = {"/dev/shm", "/tmp"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(places); i++) {
        (void)snprintf(disk->root, sizeof(disk->root), "%s/fl-proof-XXXXXX", places[i]);
        if (mkdtemp(disk->root))
            return disk;
    }
    FL_ASSERT(!"no directory for the disk");
    return NULL;
}

void proof_disk_clear(const struct proof_disk *disk, bool gone)
{
    FL_ASSERT(fl_fs_remove_tree(AT_FDCWD, disk->root) == 0);
    if (!gone)
        FL_ASSERT(mkdir(disk->root, 0700) == 0);
}

static void forget(struct proof_disk *disk)
{
    disk->plan = (struct proof_plan){0};
    disk->calls = disk->injected = 0;
    disk->op_count = disk->first_op = 0;
    disk->arena_used = 0;
    disk->complaint[0] = '\0';
    disk->node_count = 1;
    disk->nodes[PROOF_ROOT] = (struct proof_node){.is_dir = true};
}

void proof_disk_restart(struct proof_disk *disk)
{
    proof_disk_clear(disk, false);
    forget(disk);
    memset(disk->start, 0, sizeof(disk->start));
    memset(disk->model, 0, sizeof(disk->model));
}

void *proof_disk_keep(struct proof_disk *disk, const void *bytes, size_t n)
{
    void *kept = disk->arena + disk->arena_used;
    FL_ASSERT(disk->arena_used + n + 16 < ARENA_SIZE);
    disk->arena_used += (n + 15) & ~(size_t)15;
    memcpy(kept, bytes, n);
    return kept;
}

void proof_disk_add(struct proof_disk *disk, const struct proof_op *op)
{
    FL_ASSERT(disk->op_count < PROOF_MAX_OPS);
    disk->ops[disk->op_count++] = *op;
}

static struct proof_name **find(struct proof_node *dir, const char *name, size_t n)
{
    struct proof_name **at = &dir->names;
    while (*at && !(strlen((*at)->name) == n && memcmp((*at)->name, name, n) == 0))
        at = &(*at)->next;
    return at;
}

int proof_disk_find(const struct proof_disk *disk, int dir, const char *name, size_t n)
{
    struct proof_name **at = find((struct proof_node *)&disk->nodes[dir], name, n);
    return *at ? (*at)->node : -1;
}

static const char *set_name(struct proof_disk *disk, int dir, const char *name, int node)
{
    struct proof_name **at = find(&disk->nodes[dir], name, strlen(name));
    if (!*at) {
        struct proof_name entry = {.name = proof_disk_keep(disk, name, strlen(name) + 1)};
        *at = proof_disk_keep(disk, &entry, sizeof(entry));
    }
    (*at)->node = node;
    return (*at)->name;
}

static const char *drop_name(struct proof_disk *disk, int dir, const char *name)
{
    struct proof_name **at = find(&disk->nodes[dir], name, strlen(name));
    FL_ASSERT(*at);
    const char *kept = (*at)->name;
    *at = (*at)->next;
    return kept;
}

int proof_disk_create(struct proof_disk *disk, int dir, const char *name, bool is_dir)
{
    FL_ASSERT(disk->node_count < PROOF_MAX_NODES);
    int node = disk->node_count++;
    disk->nodes[node] = (struct proof_node){.is_dir = is_dir};
    const char *kept = set_name(disk, dir, name, node);
    proof_disk_add(disk,
                   &(struct proof_op){.kind = PROOF_LINK, .node = dir, .target = node, .to = kept});
    return node;
}

void proof_disk_unlink(struct proof_disk *disk, int dir, const char *name)
{
    const char *kept = drop_name(disk, dir, name);
    proof_disk_add(disk, &(struct proof_op){.kind = PROOF_UNLINK, .node = dir, .from = kept});
}

void proof_disk_rename(struct proof_disk *disk, int from_dir, const char *from, int to_dir,
                       const char *to)
{
    int node = proof_disk_find(disk, from_dir, from, strlen(from));
    const char *gone = drop_name(disk, from_dir, from);
    const char *come = set_name(disk, to_dir, to, node);
    struct proof_op op = {.node = to_dir, .target = node, .to = come};
    op.kind = from_dir == to_dir ? PROOF_RENAME : PROOF_LINK;
    op.from = gone;
    proof_disk_add(disk, &op);
    if (from_dir != to_dir)
        proof_disk_add(disk,
                       &(struct proof_op){.kind = PROOF_UNLINK, .node = from_dir, .from = gone});
}

static void adopt_file(struct proof_disk *disk, int dir_fd, int dir, const char *name)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 << 20);
    FL_ASSERT(fl_fs_read(dir_fd, name, 64 << 20, &buf) == 0);
    struct fl_str text = fl_buf_str(&buf);
    int node = proof_disk_create(disk, dir, name, false);
    struct proof_op op = {.kind = PROOF_WRITE, .node = node, .n = text.n};
    op.bytes = proof_disk_keep(disk, text.p, text.n);
    if (text.n)
        proof_disk_add(disk, &op);
    proof_disk_add(disk, &(struct proof_op){.kind = PROOF_SYNC, .node = node});
}

static void adopt_dir(struct proof_disk *disk, int fd, int node)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;
    FL_ASSERT(dir);
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_REG) {
            adopt_file(disk, fd, node, entry->d_name);
            continue;
        }
        int child = proof_disk_create(disk, node, entry->d_name, true);
        adopt_dir(disk, openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), child);
    }
    (void)closedir(dir);
    proof_disk_add(disk, &(struct proof_op){.kind = PROOF_SYNC_DIR, .node = node});
}

void proof_disk_adopt(struct proof_disk *disk, const void *model)
{
    forget(disk);
    memcpy(disk->start, model, sizeof(disk->start));
    memcpy(disk->model, model, sizeof(disk->model));
    adopt_dir(disk, open(disk->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), PROOF_ROOT);
    disk->first_op = disk->op_count;
}
