/* What an agent is sent for a task: read back as an agent reads it and compared with definition and
 * overrides, for starting and for stopping. */
#include "core/core_fixture.h"

#include "wire/task_spec.h"

static struct fl_task_spec sent_spec(const struct fix *f, size_t index, struct fl_arena *arena)
{
    struct fl_task_spec spec;
    struct fl_err err = {0};
    const struct fl_json *task = fl_json_get(fl_json_item(f->sent, index), "task");
    int rc = fl_task_spec_decode(task, arena, &spec, &err);
    if (rc < 0)
        print_message("# %s\n", err.text);
    assert_int_equal(rc, 0);
    return spec;
}

#define ASSERT_STR(s, text)                                                                        \
    do {                                                                                           \
        if (!fl_str_is(s, text))                                                                   \
            print_message("# '%.*s' is not '%s'\n", FL_STR_ARG(s), text);                          \
        assert_true(fl_str_is(s, text));                                                           \
    } while (0)

static const char definition[] =
    "{'family':'full','executionRoleArn':'exec','networkMode':'bridge','volumes':[{'name':'v','"
    "host':{'sourcePath':'/srv'}},"
    "{'name':'scratch'}],'containerDefinitions':[{'name':'app','image':'r.example/a:1','cpu':64,"
    "'memory':128,'memoryReservation':32,'entryPoint':['/bin/sh'],'command':['-c','x'],"
    "'environment':[{'name':'A','value':'1'},{'name':'B','value':'2'}],'user':'1:2',"
    "'workingDirectory':'/w','hostname':'h','stopTimeout':7,'readonlyRootFilesystem':true,"
    "'dockerLabels':{'l':'v'},'ulimits':[{'name':'nofile','softLimit':10,'hardLimit':20}],"
    "'mountPoints':[{'sourceVolume':'v','containerPath':'/v','readOnly':true}],"
    "'portMappings':[{'containerPort':80,'hostPort':8080},{'containerPort':53,'protocol':'udp'},"
    "{'containerPortRange':'9000-9009'}],"
    "'logConfiguration':{'logDriver':'awslogs','options':{'awslogs-group':'g','awslogs-region':"
    "'eu-central-1','awslogs-stream-prefix':'p'},'secretOptions':[{'name':'tag','valueFrom':"
    "'/log/tag'}]},'secrets':[{'name':'PW','valueFrom':"
    "'arn:aws:secretsmanager:eu-west-9:1:secret:db-AbCdEf:pw::'},{'name':'P','valueFrom':"
    "'arn:aws:ssm:eu-west-9:1:parameter/p'}],'repositoryCredentials':{'credentialsParameter':"
    "'login'}},"
    "{'name':'side','image':'b','memory':8,'essential':false}]}";

static struct fix *ready(void)
{
    struct fix *f = fix_new();
    char id[64];
    fix_ok(f, "CreateCluster", "{}");
    fix_ok(f, "RegisterTaskDefinition", "%s", definition);
    FL_CLEANUP_BUF struct fl_buf attributes = FL_BUF_INIT(1 << 16);
    const struct fl_json *needed = fix_at(f->reply, "taskDefinition.requiresAttributes");
    for (size_t i = 0; i < fl_json_items(needed); i++)
        fl_buf_printf(&attributes, "%s{'name':'%s'}", i ? "," : "",
                      fl_json_z(fl_json_get(fl_json_item(needed, i), "name")));
    FL_CLEANUP_FREE char *kept = strdup(attributes.p);
    fix_add_instance(f, "default", 1024, 1000, kept, id);
    return f;
}

static void check_container(const struct fl_container_spec *c)
{
    ASSERT_STR(c->name, "app");
    ASSERT_STR(c->image, "r.example/a:1");
    assert_true(c->essential && c->readonly_rootfs && !c->privileged);
    assert_int_equal(c->memory_mib, 128);
    assert_int_equal(c->memory_reservation_mib, 32);
    assert_int_equal(c->entry_point_count, 1);
    ASSERT_STR(c->entry_point[0], "/bin/sh");
    ASSERT_STR(c->user, "1:2");
    ASSERT_STR(c->working_dir, "/w");
    ASSERT_STR(c->hostname, "h");
    assert_int_equal(c->stop_timeout_s, 7);
    assert_int_equal(c->ulimit_count, 1);
    ASSERT_STR(c->ulimits[0].name, "nofile");
    assert_int_equal(c->ulimits[0].hard, 20);
    assert_int_equal(c->mount_count, 1);
    assert_true(c->mounts[0].read_only);
    assert_int_equal(c->port_count, 3);
    assert_int_equal(c->ports[2].container_port, 9000);
    assert_int_equal(c->ports[2].more, 9);
    assert_int_equal(c->ports[2].host_port, 0);
    assert_int_equal(c->ports[0].host_port, 8080);
    assert_int_equal(c->ports[1].host_port, 0);
    assert_true(c->ports[1].udp && !c->ports[0].udp);
}

static void check_secrets(const struct fl_container_spec *c)
{
    assert_int_equal(c->secret_count, 3);
    ASSERT_STR(c->secrets[0].name, "PW");
    ASSERT_STR(c->secrets[0].value_from,
               "arn:aws:secretsmanager:eu-west-9:1:secret:db-AbCdEf:pw::");
    ASSERT_STR(c->secrets[0].region, "eu-west-9");
    assert_true(c->secrets[0].provider == FL_SECRET_ASM && !c->secrets[0].is_log_option);
    assert_true(c->secrets[1].provider == FL_SECRET_SSM && !c->secrets[1].is_log_option);
    ASSERT_STR(c->secrets[2].name, "tag");
    ASSERT_STR(c->secrets[2].value_from, "/log/tag");
    ASSERT_STR(c->secrets[2].region, "eu-central-1"); /* the installation's */
    assert_true(c->secrets[2].provider == FL_SECRET_SSM && c->secrets[2].is_log_option);
    ASSERT_STR(c->registry_secret, "login");
    ASSERT_STR(c->registry_secret_region, "eu-central-1");
}

static void check_log(const struct fl_container_spec *c, const char *task_id)
{
    char stream[100];
    bool found = false, has_mode = false;
    (void)snprintf(stream, sizeof(stream), "p/app/%s", task_id);
    ASSERT_STR(c->log_driver, "awslogs");
    for (size_t i = 0; i < c->log_option_count; i++) {
        assert_false(fl_str_is(c->log_options[i].key, "awslogs-stream-prefix"));
        if (fl_str_is(c->log_options[i].key, "mode")) {
            ASSERT_STR(c->log_options[i].value, "non-blocking"); /* the account's */
            has_mode = true;
        }
        if (fl_str_is(c->log_options[i].key, "awslogs-stream")) {
            ASSERT_STR(c->log_options[i].value, stream);
            found = true;
        }
    }
    assert_true(found && has_mode);
}

static void an_agent_reads_what_was_defined(FL_UNUSED void **state)
{
    struct fix *f = ready();
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fix_ok(f, "RunTask",
           "{'taskDefinition':'full','overrides':{'containerOverrides':[{'name':'app','cpu':200,"
           "'command':['y'],'environment':[{'name':'B','value':'3'},{'name':'C','value':'4'}]}]}}");
    assert_int_equal(fl_json_items(f->sent), 1);
    struct fl_task_spec spec = sent_spec(f, 0, arena);
    ASSERT_STR(spec.arn, fix_text(f, "tasks.0.taskArn"));
    ASSERT_STR(spec.family, "full");
    ASSERT_STR(spec.revision, "1");
    assert_true(spec.desired_running);
    assert_int_equal(spec.network_mode, FL_NET_BRIDGE);
    assert_int_equal(spec.volume_count, 2);
    ASSERT_STR(spec.volumes[0].host_path, "/srv");
    ASSERT_STR(spec.volumes[1].host_path, "");
    assert_int_equal(spec.container_count, 2);
    const struct fl_container_spec *c = &spec.containers[0];
    check_container(c);
    check_secrets(c);
    check_log(c, fix_id(fix_text(f, "tasks.0.taskArn")));
    ASSERT_STR(c->arn, fix_text(f, "tasks.0.containers.0.containerArn"));
    assert_int_equal(c->cpu_units, 200);
    assert_int_equal(c->command_count, 1);
    ASSERT_STR(c->command[0], "y");
    assert_int_equal(c->environment_count, 3);
    for (size_t i = 0; i < 3; i++) {
        static const char *const values[] = {"1", "3", "4"};
        assert_int_equal(c->environment[i].key.p[0], 'A' + (int)i);
        ASSERT_STR(c->environment[i].value, values[i]);
    }
    assert_false(spec.containers[1].essential);
    assert_int_equal(spec.containers[1].command_count, 0);
    assert_int_equal(spec.containers[1].stop_timeout_s, -1);
    fix_free(f);
}

static void a_stop_is_the_same_task_with_another_wish(FL_UNUSED void **state)
{
    struct fix *f = ready();
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char arn[160];
    fix_ok(f, "RunTask", "{'taskDefinition':'full'}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_ok(f, "StopTask", "{'task':'%s'}", arn);
    struct fl_task_spec spec = sent_spec(f, 0, arena);
    ASSERT_STR(spec.arn, arn);
    assert_false(spec.desired_running);
    assert_int_equal(spec.container_count, 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_reads_what_was_defined),
        cmocka_unit_test(a_stop_is_the_same_task_with_another_wish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
