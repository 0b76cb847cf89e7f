/* What reaches into a container's kernel interfaces is refused in a sentence where it cannot work,
 * and kept exactly where it can. */
#include "core/core_fixture.h"

#define DEFINITION(more, container)                                                                \
    "{'family':'web'" more                                                                         \
    ",'containerDefinitions':[{'name':'app','image':'b','memory':64" container                     \
    "},{'name':'db','image':'b','memory':64}]}"
#define WITH(container) DEFINITION("", container)
#define START "Invalid setting for container 'app'. "

static const struct {
    const char *request, *message;
} refusals[] = {
    {DEFINITION(",'networkMode':'host'", ",'links':['db']"),
     "When networkMode=host, links are not supported."},
    {WITH(",'links':['nobody:x']"),
     START "It links to 'nobody', which is no other container of the task."},
    {WITH(",'links':['app']"), START "It links to 'app', which is no other container of the task."},
    {WITH(",'links':['db:a\\nb']"), START "The link 'db:a\nb' has no valid alias."},
    {WITH(",'volumesFrom':[{'sourceContainer':'x'}]"),
     START "The 'volumesFrom' source 'x' is no other container of the task."},
    {"{'family':'web','containerDefinitions':[{'name':'app','image':'b','memory':64,'links':['db']"
     "},{'name':'db','image':'b','memory':64,'volumesFrom':[{'sourceContainer':'app'}]}]}",
     START "Its links and 'volumesFrom' lead back to itself."},
    {DEFINITION(",'networkMode':'awsvpc'",
                ",'extraHosts':[{'hostname':'a','ipAddress':'1.2.3.4'}]"),
     "When networkMode=awsvpc, extraHosts is not supported."},
    {WITH(",'hostname':'a\\n1.2.3.4 b'"), START "The 'hostname' contains invalid characters."},
    {WITH(",'dnsServers':['1.2.3.4\\nx']"),
     START "The 'dnsServers' must be a list of IP addresses."},
    {WITH(",'dnsSearchDomains':['a b']"),
     START "The 'dnsSearchDomains' contain invalid characters."},
    {WITH(",'extraHosts':[{'hostname':'a b','ipAddress':'1.2.3.4'}]"),
     START "Each of the 'extraHosts' needs a host name and an IP address."},
    {WITH(",'systemControls':[{'namespace':'kernel.hostname','value':'x'}]"),
     START "The system control 'kernel.hostname' is not a namespaced kernel parameter."},
    {WITH(",'systemControls':[{'namespace':'net.../../kernel','value':'x'}]"),
     START "The system control 'net.../../kernel' is not a namespaced kernel parameter."},
    {DEFINITION(",'networkMode':'host'",
                ",'systemControls':[{'namespace':'net.core.somaxconn','value':'1'}]"),
     "When networkMode=host, the network system control 'net.core.somaxconn' is not supported."},
    {DEFINITION(",'ipcMode':'host'",
                ",'systemControls':[{'namespace':'kernel.msgmax','value':'1'}]"),
     "When ipcMode=host, the IPC system control 'kernel.msgmax' is not supported."},
    {WITH(",'linuxParameters':{'swappiness':101}"),
     START "The 'maxSwap' must not be negative and the 'swappiness' be between 0 and 100."},
    {WITH(",'linuxParameters':{'sharedMemorySize':0}"),
     START "The 'sharedMemorySize' must be greater than 0."},
    {WITH(",'linuxParameters':{'tmpfs':[{'containerPath':'x','size':1}]}"),
     START "Each 'tmpfs' needs an absolute path and a size greater than 0."},
    {WITH(",'linuxParameters':{'devices':[{'hostPath':'dev'}]}"),
     START "The host path of a device must be absolute."},
    {WITH(",'dockerSecurityOptions':['anything']"),
     START "'anything' is no valid security option."},
    {DEFINITION(",'volumes':[{'name':'v'},{'name':'v'}]", ""), "The volume name 'v' occurs twice."},
    {DEFINITION(",'volumes':[{'name':'v','dockerVolumeConfiguration':{'autoprovision':true}}]", ""),
     "The volume 'v' can be provisioned automatically only if its scope is shared."},
    {DEFINITION(",'volumes':[{'name':'v','host':{'sourcePath':'/x'},'dockerVolumeConfiguration':"
                "{'driver':'local'}}]",
                ""),
     "The volume 'v' has a host path and a Docker volume configuration."},
};

static void what_cannot_work_is_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++)
        fix_refused(f, "ClientException", refusals[i].message, "RegisterTaskDefinition", "%s",
                    refusals[i].request);
    fix_free(f);
}

static void what_can_is_kept(FL_UNUSED void **state)
{
    static const char *const kept[] = {
        WITH(",'links':['db','db:alias'],'volumesFrom':[{'sourceContainer':'db'}]"),
        WITH(",'hostname':'h-1.example','dnsServers':['10.0.0.1','fd00::1'],'extraHosts':"
             "[{'hostname':'a.b','ipAddress':'::1'}],'dnsSearchDomains':['x.example']"),
        WITH(",'systemControls':[{'namespace':'net.core.somaxconn','value':'1'},"
             "{'namespace':'fs.mqueue.msg_max','value':'5'}]"),
        WITH(",'linuxParameters':{'maxSwap':0,'swappiness':0,'sharedMemorySize':1,'tmpfs':"
             "[{'containerPath':'/t','size':1,'mountOptions':['ro']}]}"),
        WITH(",'dockerSecurityOptions':['no-new-privileges','apparmor:x','label:type:y']"),
        DEFINITION(",'volumes':[{'name':'v','dockerVolumeConfiguration':{'scope':'shared',"
                   "'autoprovision':true,'driver':'local'}}]",
                   ""),
    };
    struct fix *f = fix_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(kept); i++)
        fix_ok(f, "RegisterTaskDefinition", "%s", kept[i]);
    fix_recover(f, false);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(what_can_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
