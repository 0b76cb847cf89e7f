/* Whose data directory it is: identities made, kept, and found to be another machine's. The machine
 * is played by files below a directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agent/identity.h"
#include "base/fs.h"

#define MACHINE_A "0123456789abcdef0123456789abcdef"
#define MACHINE_B "fedcba9876543210fedcba9876543210"
#define BOARD_A "4C4C4544-0051-3810-8052-B4C04F564432"
#define BOARD_B "5C4C4544-0051-3810-8052-B4C04F564432"

struct host {
    char root[64];
    char dir[80];
    struct fl_arena *arena;
    struct fl_identity identity;
};

static void put(struct host *h, const char *path, const char *text)
{
    char full[200], parent[200];
    (void)snprintf(full, sizeof(full), "%s%s", h->root, path);
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(full, '/') - full), full);
    if (!text) {
        (void)unlink(full);
        return;
    }
    assert_int_equal(fl_fs_mkdirs(parent, 0755), 0);
    assert_int_equal(fl_fs_write_fast(AT_FDCWD, full, fl_str_of(text), 0644), 0);
}

static struct host *host_new(void)
{
    struct host *h = fl_calloc(1, sizeof(*h));
    (void)snprintf(h->root, sizeof(h->root), "/tmp/fl-identity-XXXXXX");
    assert_non_null(mkdtemp(h->root));
    (void)snprintf(h->dir, sizeof(h->dir), "%s/data", h->root);
    assert_int_equal(fl_fs_mkdirs(h->dir, 0700), 0);
    h->arena = fl_arena_new();
    put(h, "/etc/machine-id", MACHINE_A "\n");
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_A "\n");
    return h;
}

static void host_free(struct host *h)
{
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, h->root), 0);
    fl_arena_free(h->arena);
    free(h);
}

static struct fl_machine machine_of(struct host *h)
{
    struct fl_machine machine;
    fl_machine_read(fl_str_of(h->root), &machine);
    return machine;
}

static struct fl_identity *open_there(struct host *h)
{
    struct fl_machine machine = machine_of(h);
    struct fl_err err;
    assert_int_equal(fl_identity_open(fl_str_of(h->dir), &machine, h->arena, &h->identity, &err),
                     0);
    return &h->identity;
}

/* Registered as "arn" on this machine. */
static void join(struct host *h)
{
    struct fl_err err;
    (void)open_there(h);
    h->identity.instance_arn = FL_STR("arn");
    assert_int_equal(fl_identity_save(fl_str_of(h->dir), &h->identity, &err), 0);
    assert_true(fl_str_is(open_there(h)->instance_arn, "arn"));
    assert_false(h->identity.is_foreign);
}

static void an_identity_is_kept(void **state)
{
    struct host *h = host_new();
    (void)state;
    join(h);
    struct fl_identity first = *open_there(h);
    assert_int_equal(first.client_token.n, 36);
    struct fl_identity second = *open_there(h);
    assert_true(fl_str_eq(first.client_token, second.client_token));
    assert_string_not_equal(first.nonce, second.nonce);
    assert_int_equal(strlen(first.nonce), 32);
    /* The machine's own words are not to be seen. */
    assert_int_equal(strlen(first.machine.id), 32);
    assert_int_equal(strlen(first.machine.board), 32);
    assert_string_not_equal(first.machine.id, MACHINE_A);
    host_free(h);
}

static void a_copy_is_noticed(void **state)
{
    static const struct {
        const char *machine, *board;
    } others[] = {{MACHINE_B, BOARD_A}, {MACHINE_A, BOARD_B}, {MACHINE_B, BOARD_B}};
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(others); i++) {
        struct host *h = host_new();
        join(h);
        struct fl_str token = h->identity.client_token;
        put(h, "/etc/machine-id", others[i].machine);
        put(h, "/sys/class/dmi/id/product_uuid", others[i].board);
        for (int k = 0; k < 2; k++) { /* until it has been saved it is found out again */
            assert_true(open_there(h)->is_foreign);
            assert_int_equal(h->identity.instance_arn.n, 0);
            assert_false(fl_str_eq(h->identity.client_token, token));
        }
        struct fl_err err;
        assert_int_equal(fl_identity_save(fl_str_of(h->dir), &h->identity, &err), 0);
        assert_false(open_there(h)->is_foreign);
        put(h, "/etc/machine-id", MACHINE_A);
        put(h, "/sys/class/dmi/id/product_uuid", BOARD_A);
        assert_true(open_there(h)->is_foreign);
        host_free(h);
    }
}

/* What cannot be read, now or then, tells nothing; what can be read later is noted then. */
static void the_unknown_is_no_difference(void **state)
{
    struct host *h = host_new();
    (void)state;
    put(h, "/sys/class/dmi/id/product_uuid", NULL);
    join(h);
    assert_string_equal(h->identity.machine.board, "");
    put(h, "/etc/machine-id", "uninitialized\n");
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_A);
    assert_false(open_there(h)->is_foreign);
    put(h, "/etc/machine-id", MACHINE_A);
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_B);
    assert_true(open_there(h)->is_foreign);
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_A);
    assert_true(fl_str_is(open_there(h)->instance_arn, "arn"));
    host_free(h);
}

static void an_identity_without_a_machine_is_adopted(void **state)
{
    struct host *h = host_new();
    (void)state;
    put(h, "/data/identity",
        "{\"version\":1,\"clientToken\":\"t\",\"containerInstanceArn\":\"arn\"}");
    assert_true(fl_str_is(open_there(h)->instance_arn, "arn"));
    put(h, "/etc/machine-id", MACHINE_B);
    assert_true(open_there(h)->is_foreign);
    host_free(h);
}

static void a_broken_identity_is_refused_not_replaced(void **state)
{
    struct host *h = host_new();
    struct fl_machine machine = machine_of(h);
    struct fl_err err;
    (void)state;
    put(h, "/data/identity", "{\"version\":9}");
    assert_int_not_equal(
        fl_identity_open(fl_str_of(h->dir), &machine, h->arena, &h->identity, &err), 0);
    host_free(h);
}

static void words_that_say_nothing_are_not_believed(void **state)
{
    static const char *const boards[] = {"00000000-0000-0000-0000-000000000000",
                                         "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
                                         "03000200-0400-0500-0006-000700080009",
                                         "Not Settable",
                                         "",
                                         "0123456789abcdef0123456789abcdef0"};
    struct host *h = host_new();
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(boards); i++) {
        put(h, "/sys/class/dmi/id/product_uuid", boards[i]);
        assert_string_equal(machine_of(h).board, "");
    }
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_A);
    assert_string_not_equal(machine_of(h).board, "");
    put(h, "/run/systemd/container", "lxc");
    assert_string_equal(machine_of(h).board, "");
    assert_string_not_equal(machine_of(h).id, "");
    put(h, "/run/machine-id", MACHINE_A); /* of this boot alone */
    assert_string_equal(machine_of(h).id, "");
    host_free(h);
}

/* The hardware names the machine, so that a system installed anew on it is the same one. */
static void a_machine_has_one_name(void **state)
{
    struct host *h = host_new();
    struct fl_machine machine = machine_of(h), other;
    struct fl_str name = fl_machine_instance_id(&machine, FL_STR("/a"), h->arena);
    (void)state;
    assert_int_equal(name.n, 20);
    assert_true(fl_str_starts(name, FL_STR("mi-")));
    put(h, "/etc/machine-id", MACHINE_B);
    other = machine_of(h);
    assert_true(fl_str_eq(name, fl_machine_instance_id(&other, FL_STR("/a"), h->arena)));
    assert_false(fl_str_eq(name, fl_machine_instance_id(&other, FL_STR("/b"), h->arena)));
    put(h, "/sys/class/dmi/id/product_uuid", BOARD_B);
    other = machine_of(h);
    assert_false(fl_str_eq(name, fl_machine_instance_id(&other, FL_STR("/a"), h->arena)));
    other = (struct fl_machine){0};
    assert_int_equal(fl_machine_instance_id(&other, FL_STR("/a"), h->arena).n, 0);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_identity_is_kept),
        cmocka_unit_test(a_copy_is_noticed),
        cmocka_unit_test(the_unknown_is_no_difference),
        cmocka_unit_test(an_identity_without_a_machine_is_adopted),
        cmocka_unit_test(a_broken_identity_is_refused_not_replaced),
        cmocka_unit_test(words_that_say_nothing_are_not_believed),
        cmocka_unit_test(a_machine_has_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
