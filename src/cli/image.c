/* The operator's commands on images. The store lies in <data-dir>/registry; pulling is the agent's
 * business (image_pull.c). */
#include "cli/image.h"

#include <errno.h>
#include <stdio.h>

#include "base/program.h"
#include "cli/image_pull.h"
#include "cli/install.h"
#include "cli/options.h"
#include "image/load.h"
#include "image/store.h"
#include "wire/json.h"

enum { COLLECT_MIN_AGE_SECONDS = 3600 };

struct call {
    struct fl_arena *arena;
    struct fl_options options;
    const char *const *operands;
    size_t operand_count;
    bool json;
};

static _Noreturn void refuse_usage(void)
{
    fl_options_refuse_operands(FL_COMMAND_IMAGE, "image");
}

static int fail(const struct fl_err *err)
{
    (void)fprintf(stderr, "fairlead: %s\n", err->text);
    return 1;
}

static int open_store(struct call *call, bool create, struct fl_image_store **ret_store,
                      struct fl_err *err)
{
    int rc = create ? fl_install_prepare(&call->options, err)
                    : fl_install_check(call->options.value[FL_OPTION_DATA_DIR], err);
    if (rc < 0)
        return rc;
    struct fl_str dir = fl_str_printf(call->arena, "%.*s/registry",
                                      FL_STR_ARG(call->options.value[FL_OPTION_DATA_DIR]));
    return fl_image_store_open(dir, true, ret_store, err);
}

static int load(struct call *call)
{
    struct fl_loaded *loaded = NULL;
    size_t count = 0;
    struct fl_err err = {0};
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *store = NULL;
    if (call->operand_count < 2 || call->operand_count > 3)
        refuse_usage();
    struct fl_str name = fl_str_of(call->operand_count == 3 ? call->operands[2] : "");
    struct fl_str libexec_dir;
    int rc = fl_program_libexec_dir(call->arena, &libexec_dir, &err);
    if (rc == 0)
        rc = open_store(call, true, &store, &err);
    if (rc == 0)
        rc = fl_image_load(store, libexec_dir, call->operands[1], name, call->arena, &loaded,
                           &count, &err);
    if (rc < 0)
        return fail(&err);
    for (size_t i = 0; i < count; i++)
        (void)printf("loaded %.*s:%.*s sha256:%s\n", FL_STR_ARG(loaded[i].repository),
                     FL_STR_ARG(loaded[i].tag), loaded[i].digest.hex);
    return 0;
}

/* Bytes of an image as it lies in the store. */
static uint64_t image_size(const struct fl_image *image)
{
    uint64_t size = image->manifest.config.size;
    for (size_t i = 0; i < image->manifest.layer_count; i++)
        size += image->manifest.layers[i].size;
    return size;
}

static void print_json(struct fl_image_store *store, const struct fl_ref *refs, size_t count)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(256 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    char digest[FL_DIGEST_TEXT_SIZE];
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < count; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_image image = {0};
        bool whole = fl_image_store_read_image(store, &refs[i].digest, arena, &image, NULL) == 0;
        fl_digest_text(&refs[i].digest, digest);
        fl_jw_object_begin(&jw);
        fl_jw_member_str(&jw, "repository", refs[i].repository);
        fl_jw_member_str(&jw, "tag", refs[i].tag);
        fl_jw_member_str(&jw, "digest", fl_str_of(digest));
        fl_jw_member_str(&jw, "mediaType", refs[i].media_type);
        fl_jw_member_int(&jw, "sizeBytes", whole ? (int64_t)image_size(&image) : 0);
        fl_jw_member_int(&jw, "layers", (int64_t)image.manifest.layer_count);
        fl_jw_object_end(&jw);
    }
    fl_jw_array_end(&jw);
    (void)printf("%.*s\n", FL_STR_ARG(fl_buf_str(&buf)));
}

static void print_table(struct fl_image_store *store, const struct fl_ref *refs, size_t count)
{
    (void)printf("%-32s %-16s %-14s %10s %6s\n", "REPOSITORY", "TAG", "DIGEST", "SIZE", "LAYERS");
    for (size_t i = 0; i < count; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        struct fl_image image = {0};
        (void)fl_image_store_read_image(store, &refs[i].digest, arena, &image, NULL);
        (void)printf("%-32.*s %-16.*s %-14.12s %7.1f MB %6zu\n", FL_STR_ARG(refs[i].repository),
                     FL_STR_ARG(refs[i].tag), refs[i].digest.hex, (double)image_size(&image) / 1e6,
                     image.manifest.layer_count);
    }
}

static int list(struct call *call)
{
    struct fl_ref *refs = NULL;
    size_t count = 0;
    struct fl_err err = {0};
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *store = NULL;
    if (call->operand_count != 1)
        refuse_usage();
    int rc = open_store(call, false, &store, &err);
    if (rc < 0)
        return fail(&err);
    rc = fl_image_store_list_refs(store, call->arena, &refs, &count);
    if (rc < 0) {
        (void)fl_err_errno(&err, rc, "cannot list the images");
        return fail(&err);
    }
    (call->json ? print_json : print_table)(store, refs, count);
    return 0;
}

/* NAME alone means NAME:latest, as everywhere. */
static int remove_image(struct call *call)
{
    struct fl_image_name name;
    struct fl_err err = {0};
    uint64_t freed = 0;
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *store = NULL;
    if (call->operand_count != 2)
        refuse_usage();
    struct fl_str text = fl_str_of(call->operands[1]);
    if (fl_image_name_parse(text, &name, &err) < 0 || open_store(call, false, &store, &err) < 0)
        return fail(&err);
    int rc = fl_image_store_lock(store, &err);
    if (rc < 0)
        return fail(&err);
    rc = name.tag.n ? fl_image_store_remove_ref(store, name.repository, name.tag) : -EINVAL;
    if (rc < 0) {
        (void)fl_err_set(&err, rc, "there is no image %.*s:%.*s; `fairlead image ls` lists them",
                         FL_STR_ARG(name.repository), FL_STR_ARG(name.tag));
        return fail(&err);
    }
    /* A server that runs collects by itself: it knows what its tasks need. */
    if (!fl_image_store_is_attended(store))
        rc = fl_image_store_collect(store, COLLECT_MIN_AGE_SECONDS, &freed, &err);
    fl_image_store_unlock(store);
    if (rc < 0)
        return fail(&err);
    (void)printf("removed %.*s:%.*s\n", FL_STR_ARG(name.repository), FL_STR_ARG(name.tag));
    return 0;
}

/* What the name means is checked before the agent is asked: wrong usage is told at once. */
static int pull(struct call *call)
{
    struct fl_image_name name;
    struct fl_err err = {0};
    struct fl_str data_dir = call->options.value[FL_OPTION_DATA_DIR];
    if (call->operand_count != 2)
        refuse_usage();
    struct fl_str text = fl_str_of(call->operands[1]);
    if (fl_image_name_parse(text, &name, &err) < 0 || fl_install_check(data_dir, &err) < 0)
        return fail(&err);
    return fl_cli_image_pull(data_dir, text, call->json);
}

static int dispatch(struct call *call)
{
    if (call->operand_count == 0)
        refuse_usage();
    if (strcmp(call->operands[0], "load") == 0)
        return load(call);
    if (strcmp(call->operands[0], "ls") == 0)
        return list(call);
    if (strcmp(call->operands[0], "pull") == 0)
        return pull(call);
    if (strcmp(call->operands[0], "rm") == 0)
        return remove_image(call);
    refuse_usage();
}

int fl_cli_image(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct call call = {.arena = arena};
    fl_options_parse(FL_COMMAND_IMAGE, "Images of the built-in registry.", argc, argv, arena,
                     &call.options);
    call.operands = call.options.operands;
    call.operand_count = call.options.operand_count;
    call.json = fl_options_on(&call.options, FL_OPTION_JSON);
    return dispatch(&call);
}
