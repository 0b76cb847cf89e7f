/* What the doctor makes of a packet filter's rules. Method: rules as nft and iptables print them,
 * and words that the finding has to hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/doctor_firewall.h"

#define HOOK(name, priority, policy)                                                               \
    "\t\ttype filter hook " name " priority " priority "; policy " policy ";\n"
#define FORWARD_CHAIN(table, policy, rules)                                                        \
    "table " table " {\n\tchain FORWARD {\n" HOOK("forward", "filter", policy) rules "\t}\n"
#define UFW(in, routed)                                                                            \
    "table ip filter {\n\tchain ufw-user-input {\n" in "\t}\n\tchain ufw-user-forward {\n" routed  \
    "\t}\n\tchain INPUT {\n" HOOK(                                                                 \
        "input", "filter", "drop") "\t\tcounter jump ufw-user-input\n"                             \
                                   "\t}\n\tchain FORWARD {\n" HOOK(                                \
                                       "forward", "filter",                                        \
                                       "drop") "\t\tcounter jump ufw-user-forward\n\t}\n}\n"
#define IN "\t\tiifname \"fl1a2b3c\" counter accept\n"
#define OUT "\t\toifname \"fl1a2b3c\" counter accept\n"
#define FIREWALLD(zone)                                                                            \
    "table inet firewalld {\n\tchain filter_INPUT {\n" HOOK(                                       \
        "input", "filter + 10",                                                                    \
        "accept") "\t\tct state { established, related } accept\n\t\tct status dnat accept\n"      \
                  "\t\treject with icmpx admin-prohibited\n\t}\n\tchain filter_FORWARD {\n" HOOK(  \
                      "forward", "filter + 10",                                                    \
                      "accept") "\t\tct status dnat accept\n"                                      \
                                "\t\tjump filter_FORWARD_ZONES\n\t\treject with icmpx "            \
                                "admin-prohibited\n\t}\n"                                          \
                                "\tchain filter_FORWARD_ZONES {\n" zone                            \
                                "\t\tgoto filter_FWD_public\n\t}\n}\n"

static struct fl_finding judge(const char *nft, const char *legacy, struct fl_arena *arena)
{
    struct fl_firewall *firewall = fl_firewall_new("fl1a2b3c");
    fl_firewall_read_nft(firewall, fl_str_of(nft));
    fl_firewall_read_legacy(firewall, "iptables-legacy", fl_str_of(legacy));
    struct fl_finding found = fl_firewall_judge(firewall, arena);
    fl_firewall_free(firewall);
    return found;
}

static void expect(const char *nft, const char *legacy, enum fl_verdict verdict, const char *words)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_finding found = judge(nft, legacy, arena);
    if (found.verdict != verdict || !fl_str_contains(found.text, fl_str_of(words)))
        fail_msg("%s%s: %d, %.*s", nft, legacy, (int)found.verdict, FL_STR_ARG(found.text));
}

static void what_drops_nothing_is_fine(FL_UNUSED void **state)
{
    expect("", "", FL_FINE, "");
    expect(FORWARD_CHAIN("ip filter", "accept", "") "}\n", "", FL_FINE, "");
    expect("table inet x {\n\tset bad {\n\t\telements = { 1.2.3.4,\n\t\t\t     1.2.3.5 }\n\t}\n"
           "\tchain c {\n" HOOK("input", "0", "accept") "\t\tip saddr @bad drop\n\t}\n}\n",
           "", FL_FINE, "");
    expect(FORWARD_CHAIN("ip filter", "drop", "\t\tcounter jump DOCKER-USER\n") "}\n", "", FL_FINE,
           "");
}

static void rules_that_drop_are_named_with_what_mends_them(FL_UNUSED void **state)
{
    expect(FORWARD_CHAIN("ip filter", "drop", "") "}\n", "", FL_WRONG,
           ": iptables -I FORWARD -i fl1a2b3c -j ACCEPT && "
           "iptables -I FORWARD -o fl1a2b3c -j ACCEPT");
    expect(FORWARD_CHAIN("ip filter", "drop", IN) "}\n", "", FL_WRONG, "the chain FORWARD drops");
    expect(FORWARD_CHAIN("ip filter", "drop", IN OUT) "}\n", "", FL_FINE, "");
    expect(FORWARD_CHAIN("ip filter", "drop",
                         "\t\tiifname { \"eth1\", \"fl1a2b3c\" } accept\n" OUT) "}\n",
           "", FL_FINE, "");
    expect("table inet mine {\n\tchain in {\n" HOOK(
               "input", "0", "accept") "\t\tiifname \"lo\" accept\n\t\tcounter drop\n\t}\n}\n",
           "", FL_WRONG, "nft insert rule inet mine in iifname fl1a2b3c accept");
    expect("table ip6 filter {\n\tchain INPUT {\n" HOOK("input", "filter", "drop") "\t}\n}\n", "",
           FL_WRONG, "ip6tables -I INPUT -i fl1a2b3c -j ACCEPT");
}

static void ufw_is_told_in_its_own_words(FL_UNUSED void **state)
{
    static const char mends[] = "ufw allow in on fl1a2b3c && ufw route allow in on fl1a2b3c && "
                                "ufw route allow out on fl1a2b3c";
    expect(UFW("", ""), "", FL_WRONG, mends);
    expect(UFW(IN, ""), "", FL_WRONG, mends);
    expect(UFW(IN, IN), "", FL_WRONG, mends);
    expect(UFW(IN, IN OUT), "", FL_FINE, "");
}

static void firewalld_stands_in_the_way_out_only(FL_UNUSED void **state)
{
    expect(FIREWALLD(""), "", FL_NOTE, "--zone=trusted --add-interface=fl1a2b3c");
    expect(FIREWALLD("\t\tiifname \"fl1a2b3c\" goto filter_FWD_trusted\n"), "", FL_FINE, "");
}

static void old_tables_count_too(FL_UNUSED void **state)
{
    expect("", "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT DROP\n", FL_WRONG,
           "iptables-legacy -I FORWARD -o fl1a2b3c -j ACCEPT");
    expect("", "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with x\n",
           FL_WRONG, "FORWARD");
    expect("", "-P FORWARD ACCEPT\n-A FORWARD -s 10.0.0.0/8 -j DROP\n", FL_FINE, "");
    expect("",
           "-P FORWARD DROP\n-N mine\n-A FORWARD -j mine\n-A mine -i fl1a2b3c -j ACCEPT\n"
           "-A mine -o fl1a2b3c -j ACCEPT\n",
           FL_FINE, "");
    expect("", "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n", FL_FINE, "");
    expect("", "-P INPUT DROP\n-A INPUT -j ufw-before-input\n", FL_WRONG, "ufw allow in on");
}

/* Chains that lead to each other many times over are not followed for ever. */
static void a_maze_of_chains_is_left(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
    fl_buf_add_z(&text, "-P FORWARD DROP\n-A FORWARD -j c0\n");
    for (int i = 0; i < 40; i++)
        for (int twice = 0; twice < 2; twice++)
            fl_buf_printf(&text, "-A c%d -j c%d\n", i, i + 1);
    fl_buf_add_char(&text, '\0');
    (void)judge("", text.p, arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_drops_nothing_is_fine),
        cmocka_unit_test(rules_that_drop_are_named_with_what_mends_them),
        cmocka_unit_test(ufw_is_told_in_its_own_words),
        cmocka_unit_test(firewalld_stands_in_the_way_out_only),
        cmocka_unit_test(old_tables_count_too),
        cmocka_unit_test(a_maze_of_chains_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
