/* Runs a fuzz target over a committed corpus: every file of every directory given, in order of
 * names, and the empty input first. What libFuzzer found once stays found, without libFuzzer. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"

enum { INPUT_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int run_file(const char *dir, const char *name)
{
    char path[4096];
    FL_CLEANUP_BUF struct fl_buf bytes = FL_BUF_INIT(INPUT_MAX);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int rc = fl_fs_read(AT_FDCWD, path, INPUT_MAX, &bytes);
    if (rc < 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(-rc));
        return rc;
    }
    /* A copy of the exact size, so that a sanitizer sees every byte read beyond the end. */
    FL_CLEANUP_FREE uint8_t *exact = fl_malloc(FL_MAX(bytes.n, (size_t)1));
    if (bytes.n > 0)
        memcpy(exact, bytes.p, bytes.n);
    (void)printf("# %s\n", name);
    (void)fflush(stdout);
    return LLVMFuzzerTestOneInput(exact, bytes.n);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_dir(const char *dir)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_input, alphasort);
    int failures = count <= 0;
    for (int i = 0; i < count; i++) {
        failures += run_file(dir, entries[i]->d_name) != 0;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    (void)printf("%s %s: %d inputs\n", failures ? "not ok" : "ok", dir, count);
    return failures;
}

int main(int argc, char **argv)
{
    int failures = LLVMFuzzerTestOneInput((const uint8_t *)"", 0) != 0;
    for (int i = 1; i < argc; i++)
        failures += run_dir(argv[i]);
    return failures ? 1 : 0;
}
