/* Goal: a container is told what Docker would have told it. Method: the pure parts (arguments,
 * environment, users, limits' names, signals) directly; the whole config.json by parsing it and
 * looking at the parts that matter, against a made-up host. Refusals included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/bundle.h"
#include "agent/bundle_args.h"
#include "agent/bundle_making.h"
#include "agent/bundle_user.h"
#include "agent/runtime_internal.h"
#include "base/fs.h"
#include "wire/json.h"

#define PASSWD                                                                                     \
    "# comment\nroot:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002::/:\nbroken:x:no:1::/:\n"           \
    "42:x:7:8::/:\nhuge:x:4294967296:1::/:\n"
#define GROUP "root:x:0:\nweb:x:1002:\nlog:x:1003:mail, web\nops:x:1004:web,log\nodd:x\n"

static struct fl_arena *arena;
static struct fl_str none[1];

static struct fl_str *list(size_t count, const char *const *items)
{
    struct fl_str *strs = fl_arena_new_array(arena, struct fl_str, count + 1);
    for (size_t i = 0; i < count; i++)
        strs[i] = fl_str_of(items[i]);
    return strs;
}

static void expect_args(struct fl_container_spec *container, struct fl_image_config *image,
                        const char *joined)
{
    struct fl_buf text = FL_BUF_INIT(1000);
    struct fl_str *args;
    size_t count;
    assert_int_equal(fl_bundle_args(container, image, arena, &args, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        fl_buf_printf(&text, "%s%.*s", i ? " " : "", FL_STR_ARG(args[i]));
    assert_string_equal(text.p, joined);
    fl_buf_free(&text);
}

static void args_follow_docker(FL_UNUSED void **state)
{
    struct fl_image_config image = {.entry_point = list(1, (const char *const[]){"/entry"}),
                                    .entry_point_count = 1,
                                    .command = list(2, (const char *const[]){"a", "b"}),
                                    .command_count = 2};
    struct fl_container_spec container = {.command = none};
    expect_args(&container, &image, "/entry a b");
    container.command = list(1, (const char *const[]){"c"});
    container.command_count = 1;
    expect_args(&container, &image, "/entry c");
    container.entry_point = list(2, (const char *const[]){"/own", "-x"});
    container.entry_point_count = 2;
    expect_args(&container, &image, "/own -x c");
    container.command_count = 0;
    expect_args(&container, &image, "/own -x");
}

static void nothing_to_run_is_refused(FL_UNUSED void **state)
{
    struct fl_image_config image = {.entry_point_count = 0};
    struct fl_container_spec container = {.command_count = 0};
    struct fl_str *args;
    size_t count;
    struct fl_err err;
    assert_int_equal(fl_bundle_args(&container, &image, arena, &args, &count, &err), -EINVAL);
    assert_string_equal(err.text, "No command specified");
}

static void later_environment_wins(FL_UNUSED void **state)
{
    struct fl_image_config image = {
        .environment = list(4, (const char *const[]){"A=image", "PATH=/img", "bad", "=worse"}),
        .environment_count = 4};
    struct fl_key_value extra[] = {{FL_STR("A"), FL_STR("extra")}, {FL_STR("B"), FL_STR("extra")}};
    struct fl_key_value own[] = {{FL_STR("B"), FL_STR("own=1")}, {FL_STR("C"), FL_STR("")}};
    struct fl_container_spec container = {.environment = own, .environment_count = 2};
    struct fl_launch launch = {.image = &image,
                               .container = &container,
                               .extra_environment = extra,
                               .extra_environment_count = 2};
    const char *const expected[] = {"PATH=/img", "HOSTNAME=box", "A=extra", "B=own=1", "C="};
    struct fl_str *items;
    size_t count;
    fl_bundle_environment(&launch, FL_STR("box"), arena, &items, &count);
    assert_int_equal(count, FL_ARRAY_SIZE(expected));
    for (size_t i = 0; i < count; i++)
        assert_true(fl_str_is(items[i], expected[i]));
}

static struct fl_bundle_user resolve(const char *text)
{
    struct fl_bundle_user user = {.uid = 0};
    struct fl_err err = {.text = ""};
    int rc =
        fl_bundle_user_resolve(fl_str_of(text), FL_STR(PASSWD), FL_STR(GROUP), arena, &user, &err);
    if (rc < 0)
        fail_msg("%s: %s", text, err.text);
    return user;
}

static void users_are_found(FL_UNUSED void **state)
{
    static const struct {
        const char *text;
        uint32_t uid;
        uint32_t gid;
        size_t groups;
    } cases[] = {
        {"", 0, 0, 0},           {"web", 1001, 1002, 2},
        {"1001", 1001, 1002, 2}, {"web:log", 1001, 1003, 0},
        {"web:5", 1001, 5, 0},   {"5", 5, 0, 0},
        {"5:6", 5, 6, 0},        {"42", 7, 8, 0},
        {"0:ops", 0, 1004, 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_bundle_user user = resolve(cases[i].text);
        assert_int_equal(user.uid, cases[i].uid);
        assert_int_equal(user.gid, cases[i].gid);
        assert_int_equal(user.group_count, cases[i].groups);
    }
    assert_int_equal(resolve("web").groups[1], 1004);
}

static void unknown_users_are_refused(FL_UNUSED void **state)
{
    static const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        {"nope", "unable to find user nope: no matching entries in passwd file"},
        {"broken", "unable to find user broken: no matching entries in passwd file"},
        {"web:nope", "unable to find group nope: no matching entries in group file"},
        {"4294967296", "uids and gids must be in range 0-2147483647"},
        {"-1", "uids and gids must be in range 0-2147483647"},
        {"0:2147483648", "uids and gids must be in range 0-2147483647"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_bundle_user user;
        struct fl_err err;
        assert_true(fl_bundle_user_resolve(fl_str_of(cases[i].text), FL_STR(PASSWD), FL_STR(GROUP),
                                           arena, &user, &err) < 0);
        assert_string_equal(err.text, cases[i].sentence);
    }
}

static void write_at(const char *dir, const char *name, const char *text)
{
    struct fl_str path = fl_str_printf(arena, "%s/%s", dir, name);
    assert_int_equal(fl_fs_write_fast(AT_FDCWD, path.p, fl_str_of(text), 0644), 0);
}

/* Two layers: what the upper one has wins; links do not lead out; odd files are not read. */
static void etc_is_read_within_layers(FL_UNUSED void **state)
{
    char dir[] = "/tmp/fairlead-bundle-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct fl_str layers[] = {fl_str_printf(arena, "%s/upper", dir),
                              fl_str_printf(arena, "%s/lower", dir)};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(fl_fs_mkdirs(fl_str_printf(arena, "%s/etc", layers[i].p).p, 0755), 0);
    write_at(layers[0].p, "etc/group", "upper");
    write_at(layers[1].p, "etc/group", "lower");
    write_at(layers[1].p, "etc/passwd", "lower");
    write_at(layers[1].p, "etc/secret", "lower");
    write_at(dir, "outside", "outside");
    assert_int_equal(symlink("../../outside", fl_str_printf(arena, "%s/etc/link", layers[0].p).p),
                     0);
    assert_int_equal(mkfifo(fl_str_printf(arena, "%s/etc/secret", layers[0].p).p, 0600), 0);
    assert_true(fl_str_is(fl_bundle_read_etc(layers, 2, "group", arena), "upper"));
    assert_true(fl_str_is(fl_bundle_read_etc(layers, 2, "passwd", arena), "lower"));
    assert_true(fl_str_is(fl_bundle_read_etc(layers, 2, "link", arena), ""));
    assert_true(fl_str_is(fl_bundle_read_etc(layers, 2, "secret", arena), ""));
    assert_true(fl_str_is(fl_bundle_read_etc(layers, 2, "absent", arena), ""));
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, dir), 0);
}

#define FAILED "OCI runtime create failed: unable to start container process: "

/* What crun and runc write into their logs, in Docker's words. */
static void runtimes_words_become_dockers(FL_UNUSED void **state)
{
    static const char *const cases[][2] = {
        {"2026-11-20T12:00:00.5Z: executable file `nope` not found in $PATH: No such file\n",
         FAILED "exec: \"nope\": executable file not found in $PATH: unknown"},
        {"time=\"2026-11-20T12:00:00Z\" level=error msg=\"runc run failed: exec: \\\"nope\\\": "
         "executable file not found in $PATH\"\n",
         FAILED "exec: \"nope\": executable file not found in $PATH: unknown"},
        {"a warning\nsomething broke\n", FAILED "something broke: unknown"},
        {"", FAILED ": unknown"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_str text = fl_runtime_sentence(fl_str_of(cases[i][0]), arena);
        if (!fl_str_is(text, cases[i][1]))
            fail_msg("<%.*s> instead of <%s>", FL_STR_ARG(text), cases[i][1]);
    }
}

static void ids_are_plain_words(FL_UNUSED void **state)
{
    static const char *const bad[] = {"",    ".",       "..", "../x", "a/b", "a\nrun /bin/sh",
                                      "a b", "\xc3\xa4"};
    static const char too_long[FL_RUNTIME_ID_MAX + 2] = {0};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_false(fl_runtime_id_is_valid(fl_str_of(bad[i])));
    assert_false(fl_runtime_id_is_valid((struct fl_str){too_long, sizeof(too_long) - 1}));
    assert_true(fl_runtime_id_is_valid(FL_STR("0123456789abcdef0123456789abcdef")));
    assert_true(fl_runtime_id_is_valid(FL_STR("a-b_C")));
}

static void signals_have_names(FL_UNUSED void **state)
{
    assert_int_equal(fl_runtime_signal_number(FL_STR("SIGTERM")), SIGTERM);
    assert_int_equal(fl_runtime_signal_number(FL_STR("quit")), SIGQUIT);
    assert_int_equal(fl_runtime_signal_number(FL_STR("15")), 15);
    assert_int_equal(fl_runtime_signal_number(FL_STR("SIGRTMIN+3")), 37);
    assert_int_equal(fl_runtime_signal_number(FL_STR("RTMAX")), 64);
    assert_int_equal(fl_runtime_signal_number(FL_STR("SIGNOPE")), -1);
    assert_int_equal(fl_runtime_signal_number(FL_STR("0")), -1);
    assert_int_equal(fl_runtime_signal_number(FL_STR("65")), -1);
    assert_int_equal(fl_runtime_signal_number(FL_STR("")), -1);
    assert_int_equal(fl_runtime_signal_number(FL_STR("RTMIN+99")), -1);
}

static void limits_have_names(FL_UNUSED void **state)
{
    assert_int_equal(fl_bundle_rlimit_number(FL_STR("nofile")), RLIMIT_NOFILE);
    assert_int_equal(fl_bundle_rlimit_number(FL_STR("nope")), -1);
}

/* A made-up host and a container that asks for everything. */
struct setup {
    struct fl_cgroup cgroup;
    struct fl_seccomp seccomp;
    struct fl_bundle_host host;
    struct fl_task_spec task;
    struct fl_container_spec container;
    struct fl_image_config image;
    struct fl_launch launch;
};

static void set_up(struct setup *s)
{
    *s = (struct setup){
        .cgroup = {.layout = FL_CGROUP_V1,
                   .has_memory = true,
                   .has_swap = true,
                   .has_cpu = true,
                   .has_pids = true,
                   .has_devices = true},
        .seccomp = {.json = FL_STR("{\"defaultAction\":\"X\"}"), .base64 = FL_STR("QUJD")},
        .host = {.bounding_caps = ~UINT64_C(0)},
        .container = {.name = FL_STR("c"), .memory_mib = 64, .cpu_units = 1},
        .launch = {.container_id = FL_STR("0123456789abcdef"),
                   .task_id = FL_STR("t"),
                   .hostname = FL_STR("box"),
                   .netns_fd = -1},
    };
    s->container.command = list(1, (const char *const[]){"/bin/true"});
    s->container.command_count = 1;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        s->host.limits[i] = (struct rlimit){1000, 1000};
    s->host.cgroup = &s->cgroup;
    s->host.seccomp = &s->seccomp;
    s->launch.task = &s->task;
    s->launch.container = &s->container;
    s->launch.image = &s->image;
}

static struct fl_str said; /* the orders of the last configuration */

static int make_config(struct setup *s, const struct fl_json **ret_json, struct fl_str *ret_note,
                       struct fl_err *err)
{
    struct fl_buf text = FL_BUF_INIT(FL_BUNDLE_CONFIG_MAX);
    struct fl_buf orders = FL_BUF_INIT(65536);
    struct fl_bundle_paths paths = {.dir = FL_STR("/c"),
                                    .volumes_dir = FL_STR("/tmp/fairlead-no-volumes"),
                                    .shared_dir = FL_STR("/tmp/fairlead-no-shared"),
                                    .cgroup_path = FL_STR("/tag/t/c")};
    struct fl_bundle_security security;
    int rc = fl_bundle_security(&s->container, &security, err);
    if (rc == 0)
        rc = fl_bundle_make(&s->host, &s->launch, &paths, &security, arena, &text, &orders,
                            ret_note, err);
    if (rc == 0) {
        *ret_json = fl_json_read(fl_buf_str(&text), arena, err);
        assert_non_null(*ret_json);
    }
    fl_buf_free(&text);
    said = fl_str_dup(arena, fl_buf_str(&orders));
    fl_buf_free(&orders);
    return rc;
}

/* The value at a path of keys and indexes, "process.args.0". */
static const struct fl_json *at(const struct fl_json *json, const char *path)
{
    struct fl_str rest = fl_str_of(path);
    struct fl_str part;
    int64_t index;
    while (json && fl_str_split(&rest, '.', &part))
        json = fl_str_to_i64(part, &index) ? fl_json_item(json, (size_t)index)
                                           : fl_json_get(json, fl_str_z(arena, part));
    return json;
}

static void config_has_the_defaults(FL_UNUSED void **state)
{
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    set_up(&s);
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_string_equal(fl_json_z(at(json, "process.args.0")), "/bin/true");
    assert_string_equal(fl_json_z(at(json, "process.cwd")), "/");
    assert_true(fl_json_is(at(json, "process.noNewPrivileges"), FL_JSON_FALSE));
    assert_int_equal(fl_json_items(at(json, "process.capabilities.bounding")), 14);
    assert_int_equal(fl_json_items(at(json, "process.capabilities.effective")), 14);
    assert_null(at(json, "process.capabilities.inheritable"));
    assert_null(at(json, "process.capabilities.ambient"));
    assert_null(at(json, "process.oomScoreAdj"));
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.limit")), 64 << 20);
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.swap")), 64 << 20);
    assert_int_equal(fl_json_int(at(json, "linux.resources.cpu.shares")), 2);
    assert_true(fl_json_is(at(json, "linux.resources.devices.0.allow"), FL_JSON_FALSE));
    assert_string_equal(fl_json_z(at(json, "linux.cgroupsPath")), "/tag/t/c");
    assert_int_equal(fl_json_items(at(json, "linux.namespaces")), 5);
    assert_int_equal(fl_json_items(at(json, "linux.maskedPaths")), 11);
    assert_non_null(at(json, "linux.seccomp"));
    assert_string_equal(fl_json_z(fl_json_get(at(json, "annotations"), "run.oci.seccomp_bpf_data")),
                        "QUJD");
}

static void config_of_the_privileged_is_open(FL_UNUSED void **state)
{
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    set_up(&s);
    s.container.privileged = true;
    s.host.bounding_caps &= ~(UINT64_C(1) << 24);
    s.host.oom_score_adj = -500;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_int_equal(fl_json_items(at(json, "process.capabilities.bounding")), 40);
    assert_null(at(json, "linux.seccomp"));
    assert_null(at(json, "linux.maskedPaths"));
    assert_null(at(json, "annotations"));
    assert_true(fl_json_is_true(at(json, "linux.resources.devices.0.allow")));
    assert_int_equal(fl_json_int(at(json, "process.oomScoreAdj")), 0);
    assert_true(fl_json_is(at(json, "process.oomScoreAdj"), FL_JSON_INTEGER));
}

static void limits_are_clamped_and_noted(FL_UNUSED void **state)
{
    struct fl_ulimit limits[] = {{FL_STR("nofile"), 500, 5000}, {FL_STR("core"), -1, -1}};
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    struct fl_err err;
    set_up(&s);
    s.container.ulimits = limits;
    s.container.ulimit_count = 2;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_string_equal(fl_json_z(at(json, "process.rlimits.0.type")), "RLIMIT_NOFILE");
    assert_int_equal(fl_json_int(at(json, "process.rlimits.0.soft")), 500);
    assert_int_equal(fl_json_int(at(json, "process.rlimits.0.hard")), 1000);
    assert_int_equal(fl_json_int(at(json, "process.rlimits.1.soft")), 1000);
    assert_true(fl_str_is(note, "nofile lowered to the host's hard limit 1000, "
                                "core lowered to the host's hard limit 1000"));
    limits[0].name = FL_STR("nope");
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    assert_string_equal(err.text, "invalid ulimit type: nope");
}

static void bad_places_are_refused(FL_UNUSED void **state)
{
    struct fl_volume_spec volume = {.name = FL_STR("../x")};
    struct fl_mount_point mount = {FL_STR("../x"), FL_STR("/data"), false};
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    struct fl_err err;
    set_up(&s);
    s.container.working_dir = FL_STR("relative");
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    static const char *const in_proc[] = {"/proc",     "/proc/self/fd/8", "//proc/self/fd/8",
                                          "/./proc/1", "/a/../proc/",     "/../proc/x/../1"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(in_proc); i++) {
        s.container.working_dir = fl_str_of(in_proc[i]);
        assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    }
    s.container.working_dir = FL_STR("/proc/../processes");
    assert_int_equal(make_config(&s, &json, &note, &err), 0);
    s.container.working_dir = FL_STR("");
    s.container.mounts = &mount;
    s.container.mount_count = 1;
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    assert_string_equal(err.text, "the mount point /data names no volume of the task");
    s.task.volumes = &volume;
    s.task.volume_count = 1;
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    assert_string_equal(err.text, "the volume name '../x' is invalid");
    volume.name = mount.source_volume = FL_STR("x");
    volume.host_path = FL_STR("relative");
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    mount.container_path = FL_STR("data");
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    mount.container_path = FL_STR("/tmp/../proc/self");
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    assert_string_equal(err.text, "invalid mount path: '/tmp/../proc/self' cannot be mounted "
                                  "because it is inside /proc");
}

static void paths_become_plain(FL_UNUSED void **state)
{
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/a", "/a"},
        {"//a/./b/", "/a/b"},
        {"/a/../..", "/"},
        {"/../a", "/a"},
        {"/a/b/../../c", "/c"},
        {"a", ""},
        {"", ""},
        {"/a\nb", ""},
        {"/a\x7f", ""},
        {"/a..b/...", "/a..b/..."},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_str plain = fl_bundle_plain_path(fl_str_of(cases[i][0]), arena);
        if (!fl_str_is(plain, cases[i][1]))
            fail_msg("<%.*s> instead of <%s>", FL_STR_ARG(plain), cases[i][1]);
    }
    assert_true(fl_bundle_lies_in(FL_STR("/proc"), "/proc"));
    assert_true(fl_bundle_lies_in(FL_STR("/proc/1"), "/proc"));
    assert_false(fl_bundle_lies_in(FL_STR("/process"), "/proc"));
}

static void default_capabilities_have_numbers(FL_UNUSED void **state)
{
    uint64_t bits = 0;
    for (int i = 0; i < FL_BUNDLE_CAP_COUNT; i++)
        for (size_t k = 0; k < FL_BUNDLE_DEFAULT_CAPS; k++)
            if (strcmp(fl_bundle_all_caps[i], fl_bundle_default_caps[k]) == 0)
                bits |= UINT64_C(1) << i;
    assert_int_equal(bits, FL_BUNDLE_DEFAULT_CAP_BITS);
}

static struct fl_bundle_security find_security(struct fl_container_spec *container)
{
    struct fl_bundle_security security = {0};
    struct fl_err err = {.text = ""};
    if (fl_bundle_security(container, &security, &err) < 0)
        fail_msg("%s", err.text);
    return security;
}

static void capabilities_follow_docker(FL_UNUSED void **state)
{
    const uint64_t usual = FL_BUNDLE_DEFAULT_CAP_BITS, every = (UINT64_C(1) << 41) - 1;
    struct fl_str add[] = {FL_STR("cap_net_admin"), FL_STR("CHOWN")};
    struct fl_str drop[] = {FL_STR("kill"), FL_STR("CAP_CHOWN")};
    struct fl_str all[] = {FL_STR("all")};
    struct fl_container_spec c = {.docker = {.cap_add = add, .cap_drop = drop}};
    assert_int_equal(find_security(&c).caps, usual);
    c.docker.cap_add_count = c.docker.cap_drop_count = 2;
    assert_int_equal(find_security(&c).caps, (usual - (1 << 5)) | 1 << 12);
    c.docker.cap_drop = all;
    c.docker.cap_drop_count = 1;
    assert_int_equal(find_security(&c).caps, 1 << 12 | 1);
    c.docker.cap_add = all;
    c.docker.cap_drop = drop;
    c.docker.cap_add_count = 1;
    assert_int_equal(find_security(&c).caps, every - (1 << 5));
    c.privileged = true;
    assert_int_equal(find_security(&c).caps, every);
    assert_true(find_security(&c).no_seccomp);
}

static void security_options_are_read_or_refused(FL_UNUSED void **state)
{
    struct fl_str option = FL_STR("no-new-privileges");
    struct fl_container_spec c = {
        .docker = {.security_options = &option, .security_option_count = 1}};
    struct fl_bundle_security security;
    struct fl_err err;
    assert_true(find_security(&c).no_new_privileges);
    option = FL_STR("no-new-privileges=false");
    assert_false(find_security(&c).no_new_privileges);
    option = FL_STR("seccomp=unconfined");
    assert_true(find_security(&c).no_seccomp);
    option = FL_STR("apparmor:web");
    assert_true(fl_str_is(find_security(&c).apparmor, "web"));
    struct fl_str labels[] = {FL_STR("label:type:web_t"), FL_STR("label:level:s0:c1,c2")};
    c.docker.security_options = labels;
    c.docker.security_option_count = 2;
    security = find_security(&c);
    assert_true(security.has_label);
    assert_true(fl_str_is(fl_bundle_label(&security, arena), "system_u:system_r:web_t:s0:c1,c2"));
    labels[1] = FL_STR("label:disable");
    assert_false(find_security(&c).has_label);
    c.docker.security_options = &option;
    c.docker.security_option_count = 1;
    static const char *const bad[] = {"",          "label:type:",     "label:type:a:b",
                                      "label:",    "seccomp:/x.json", "label:kind:x",
                                      "apparmor:", "apparmor:a b",    "no-new-privileges:maybe"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        option = fl_str_of(bad[i]);
        assert_int_equal(fl_bundle_security(&c, &security, &err), -EINVAL);
    }
}

static void a_module_that_is_not_there_is_not_done_without(FL_UNUSED void **state)
{
    static const struct {
        struct fl_str option;
        const char *place, *value, *refusal;
    } cases[] = {{{"apparmor:web", 12},
                  "process.apparmorProfile",
                  "web",
                  "apparmor profile \"web\": AppArmor is not enabled on this host"},
                 {{"label:type:web_t", 16},
                  "process.selinuxLabel",
                  "system_u:system_r:web_t:s0",
                  "label: SELinux is not enabled on this host"}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fl_str option = cases[i].option, note;
        const struct fl_json *json;
        struct fl_err err = {0};
        struct setup s;
        set_up(&s);
        s.container.docker.security_options = &option;
        s.container.docker.security_option_count = 1;
        assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].refusal);
        s.host.has_apparmor = s.host.has_selinux = true;
        assert_int_equal(make_config(&s, &json, &note, &err), 0);
        assert_string_equal(fl_json_z(at(json, cases[i].place)), cases[i].value);
    }
}

static void a_tasks_memory_limit_is_handed_down_where_it_is_wanted(FL_UNUSED void **state)
{
    const struct fl_json *json;
    struct fl_str note;
    struct setup s;
    set_up(&s);
    s.container.memory_mib = 0;
    s.container.memory_reservation_mib = 8;
    s.task.memory_mib = 32;
    s.host.propagate_memory = true;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_null(at(json, "linux.resources.memory.limit"));
    s.cgroup.layout = FL_CGROUP_V2;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.limit")), 32 << 20);
    s.container.memory_mib = 16;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.limit")), 16 << 20);
    s.container.memory_mib = 0;
    s.host.propagate_memory = false;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_null(at(json, "linux.resources.memory.limit"));
}

/* What the shim is told beside the configuration. */
static void members_become_configuration_and_orders(FL_UNUSED void **state)
{
    struct fl_key_value sysctls[] = {{FL_STR("net.core.somaxconn"), FL_STR("5")},
                                     {FL_STR("kernel.msgmax"), FL_STR("6")}};
    struct fl_key_value tmpfs[] = {{FL_STR("//t/"), FL_STR("size=1m,exec")}};
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    set_up(&s);
    s.launch.netns_fd = 5;
    s.container.docker = (struct fl_docker_spec){.sysctls = sysctls,
                                                 .sysctl_count = 2,
                                                 .tmpfs = tmpfs,
                                                 .tmpfs_count = 1,
                                                 .tty = true,
                                                 .shm_size_bytes = 4096,
                                                 .memory_swap_bytes = 80 << 20,
                                                 .swappiness = 7,
                                                 .has_swappiness = true};
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_true(fl_str_ends(said, FL_STR("at w/etc/resolv.conf\nmount t6 size=1m\nat w/t\nconsole "
                                         "1\nsysctl net/core/somaxconn 5\n")));
    const struct fl_json *params = fl_json_get(at(json, "linux.sysctl"), "kernel.msgmax");
    assert_string_equal(fl_json_z(params), "6");
    assert_int_equal(fl_json_members(at(json, "linux.sysctl")), 1);
    assert_true(fl_json_is_true(at(json, "process.terminal")));
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.swap")), 80 << 20);
    assert_int_equal(fl_json_int(at(json, "linux.resources.memory.swappiness")), 7);
    s.cgroup.layout = FL_CGROUP_V2;
    s.cgroup.has_swap = false;
    assert_int_equal(make_config(&s, &json, &note, NULL), 0);
    assert_null(at(json, "linux.resources.memory.swappiness"));
    assert_null(at(json, "linux.resources.memory.swap"));
    assert_true(fl_str_is(note, "swap is not limited, the kernel does not account it, "
                                "swappiness is not set, cgroup v2 has none"));
}

static void hostile_members_are_refused(FL_UNUSED void **state)
{
    struct fl_key_value pair = {FL_STR("/t"), FL_STR("bind")};
    struct fl_device_spec device = {.host_path = FL_STR("/dev/null"),
                                    .container_path = FL_STR("/proc/x")};
    struct setup s;
    const struct fl_json *json;
    struct fl_str note;
    struct fl_err err;
    set_up(&s);
    s.launch.netns_fd = 5;
    s.container.docker = (struct fl_docker_spec){.tmpfs = &pair, .tmpfs_count = 1};
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    static const char *const options[] = {"size=1\"", "remount", "size=1\n", "rbind,size=1"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(options); i++) {
        pair.value = fl_str_of(options[i]);
        assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    }
    s.container.docker = (struct fl_docker_spec){.sysctls = &pair, .sysctl_count = 1};
    static const char *const names[] = {"kernel.core_pattern", "net..core", "net.core\nrun x",
                                        "net/../kernel",       "",          "vm.swappiness"};
    pair.value = FL_STR("1");
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        pair.key = fl_str_of(names[i]);
        assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    }
    pair = (struct fl_key_value){FL_STR("net.core.somaxconn"), FL_STR("1\nrun /bin/sh")};
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    pair.value = FL_STR("1");
    s.launch.netns_fd = -1;
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    s.container.docker = (struct fl_docker_spec){.devices = &device, .device_count = 1};
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
    device = (struct fl_device_spec){.host_path = FL_STR("/dev/null"), .permissions = FL_STR("x")};
    assert_int_equal(make_config(&s, &json, &note, &err), -EINVAL);
}

static int open_arena(FL_UNUSED void **state)
{
    arena = fl_arena_new();
    return 0;
}

static int close_arena(FL_UNUSED void **state)
{
    fl_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(args_follow_docker),
        cmocka_unit_test(nothing_to_run_is_refused),
        cmocka_unit_test(later_environment_wins),
        cmocka_unit_test(users_are_found),
        cmocka_unit_test(unknown_users_are_refused),
        cmocka_unit_test(etc_is_read_within_layers),
        cmocka_unit_test(runtimes_words_become_dockers),
        cmocka_unit_test(ids_are_plain_words),
        cmocka_unit_test(signals_have_names),
        cmocka_unit_test(limits_have_names),
        cmocka_unit_test(config_has_the_defaults),
        cmocka_unit_test(config_of_the_privileged_is_open),
        cmocka_unit_test(limits_are_clamped_and_noted),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(paths_become_plain),
        cmocka_unit_test(default_capabilities_have_numbers),
        cmocka_unit_test(capabilities_follow_docker),
        cmocka_unit_test(security_options_are_read_or_refused),
        cmocka_unit_test(a_module_that_is_not_there_is_not_done_without),
        cmocka_unit_test(a_tasks_memory_limit_is_handed_down_where_it_is_wanted),
        cmocka_unit_test(members_become_configuration_and_orders),
        cmocka_unit_test(hostile_members_are_refused),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
