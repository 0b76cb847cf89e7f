/* Reading what NVIDIA's driver shows of its GPUs. */
#include "agent/gpus.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"

enum { INFORMATION_MAX = 4096, PATH_CAP = 512 };

static bool is_node(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

/* The value in a line "Name: \t value". */
static struct fl_str value_of(struct fl_str text, const char *name)
{
    struct fl_str line;
    while (fl_str_split(&text, '\n', &line)) {
        if (!fl_str_starts(line, fl_str_of(name)))
            continue;
        struct fl_str value = fl_str_from(line, strlen(name));
        while (value.n && strchr(": \t", value.p[0]))
            value = fl_str_from(value, 1);
        while (value.n && strchr(" \t\r", value.p[value.n - 1]))
            value.n--;
        return value;
    }
    return FL_STR("");
}

/* Keeps the list in the order of the numbers. */
static void insert(struct fl_gpus *gpus, int64_t *numbers, int64_t number, struct fl_gpu gpu)
{
    size_t at = gpus->n++;
    for (; at > 0 && numbers[at - 1] > number; at--) {
        gpus->items[at] = gpus->items[at - 1];
        numbers[at] = numbers[at - 1];
    }
    gpus->items[at] = gpu;
    numbers[at] = number;
}

static void add_gpu(const char *path, const char *dev, struct fl_arena *arena, struct fl_gpus *gpus,
                    int64_t *numbers)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(INFORMATION_MAX);
    int64_t number;
    if (gpus->n == FL_GPUS_MAX || fl_fs_read(AT_FDCWD, path, INFORMATION_MAX, &text) < 0)
        return;
    struct fl_str id = value_of(fl_buf_str(&text), "GPU UUID");
    if (!fl_str_starts(id, FL_STR("GPU-")) ||
        !fl_str_to_i64(value_of(fl_buf_str(&text), "Device Minor"), &number) || number < 0)
        return;
    struct fl_str node = fl_str_printf(arena, "%s/nvidia%lld", dev, (long long)number);
    if (is_node(node.p))
        insert(gpus, numbers, number, (struct fl_gpu){fl_str_dup(arena, id), node});
}

void fl_gpus_find(const char *driver, const char *dev, struct fl_arena *arena,
                  struct fl_gpus *ret_gpus)
{
    static const char *const shared[] = {"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools",
                                         "nvidia-modeset"};
    int64_t numbers[FL_GPUS_MAX];
    DIR *stream = opendir(driver);
    struct dirent *entry;
    *ret_gpus = (struct fl_gpus){0};
    while (stream && (entry = readdir(stream)) != NULL) {
        char path[PATH_CAP];
        int n = snprintf(path, sizeof(path), "%s/%s/information", driver, entry->d_name);
        if (entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof(path))
            add_gpu(path, dev, arena, ret_gpus, numbers);
    }
    if (stream)
        (void)closedir(stream);
    for (size_t i = 0; i < FL_ARRAY_SIZE(shared); i++) {
        struct fl_str node = fl_str_printf(arena, "%s/%s", dev, shared[i]);
        if (is_node(node.p))
            ret_gpus->shared[ret_gpus->shared_count++] = node;
    }
}

static const struct fl_gpu *gpu_named(const struct fl_gpus *gpus, struct fl_str id)
{
    for (size_t i = 0; i < gpus->n; i++)
        if (fl_str_eq(gpus->items[i].id, id))
            return &gpus->items[i];
    return NULL;
}

int fl_gpus_nodes(const struct fl_gpus *gpus, const struct fl_str *ids, size_t count,
                  struct fl_arena *arena, struct fl_str **ret_nodes, size_t *ret_count,
                  struct fl_err *err)
{
    struct fl_str *nodes = fl_arena_new_array(arena, struct fl_str, count + gpus->shared_count);
    for (size_t i = 0; i < count; i++) {
        const struct fl_gpu *gpu = gpu_named(gpus, ids[i]);
        if (!gpu)
            return fl_err_set(err, -ENODEV, "GPU %.*s is not on this host", FL_STR_ARG(ids[i]));
        nodes[i] = gpu->node;
    }
    for (size_t i = 0; i < gpus->shared_count; i++)
        nodes[count + i] = gpus->shared[i];
    *ret_nodes = nodes;
    *ret_count = count ? count + gpus->shared_count : 0;
    return 0;
}
