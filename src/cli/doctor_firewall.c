/* The packet filter under the doctor's eyes; see the header. */
#include "cli/doctor_firewall.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/ask.h"
#include "wire/install.h"

enum {
    BASES_MAX = 64,
    RULES_MAX = 16384,
    VISITS_MAX = 4096, /* of chains, to find one rule: loops do not exist, repetitions do */
    RULESET_MAX = 4 << 20,
    COMMANDS_MAX = 16 * 1024,
    NAMES_MAX = 4096,
};

/* A chain that packets come to by themselves. */
struct base_chain {
    struct fl_str table, chain;
    bool is_forward;
    bool drops;         /* what no rule before its end has accepted */
    bool passes_led_on; /* accepts what was led elsewhere: published ports */
};

/* A rule that matters here: of our bridge, or one that leads to another chain. */
struct rule {
    struct fl_str table, chain, target;
    bool enters, leaves; /* is of what enters by, or leaves to, our bridge */
    bool accepts;
};

struct fl_firewall {
    const char *tag;
    struct base_chain bases[BASES_MAX];
    size_t base_count;
    struct rule rules[RULES_MAX];
    size_t rule_count;
};

struct fl_firewall *fl_firewall_new(const char *tag)
{
    struct fl_firewall *firewall = fl_calloc(1, sizeof(*firewall));
    firewall->tag = tag;
    return firewall;
}

void fl_firewall_free(struct fl_firewall *firewall)
{
    free(firewall);
}

static struct base_chain *find_base(struct fl_firewall *firewall, struct fl_str table,
                                    struct fl_str chain)
{
    for (size_t i = 0; i < firewall->base_count; i++)
        if (fl_str_eq(firewall->bases[i].table, table) &&
            fl_str_eq(firewall->bases[i].chain, chain))
            return &firewall->bases[i];
    return NULL;
}

static void add_base(struct fl_firewall *firewall, const struct base_chain *base)
{
    if (firewall->base_count < BASES_MAX)
        firewall->bases[firewall->base_count++] = *base;
}

static void add_rule(struct fl_firewall *firewall, const struct rule *rule)
{
    if ((rule->enters || rule->leaves || rule->target.n > 0) && firewall->rule_count < RULES_MAX)
        firewall->rules[firewall->rule_count++] = *rule;
}

/* What follows the word in the text, and whether it is there at all. */
static bool after(struct fl_str text, const char *word, struct fl_str *ret_rest)
{
    const char *at = text.n > 0 ? memmem(text.p, text.n, word, strlen(word)) : NULL;
    if (!at)
        return false;
    *ret_rest = fl_str_from(text, (size_t)(at - text.p) + strlen(word));
    return true;
}

/* The first word of what follows `word`, or nothing. */
static struct fl_str word_after(struct fl_str text, const char *word)
{
    struct fl_str rest, found = {0};
    if (after(text, word, &rest))
        (void)fl_str_split(&rest, ' ', &found);
    return found;
}

/* ---- as nft prints them ---- */

/* iifname "fl1a2b3c", or one of several in braces. */
static bool nft_names(struct fl_str line, const char *match, const char *tag)
{
    struct fl_str rest, names = {0};
    char quoted[FL_INSTALL_TAG_SIZE + 2];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", tag);
    if (!after(line, match, &rest))
        return false;
    if (fl_str_starts(rest, FL_STR("{ ")))
        (void)fl_str_split(&rest, '}', &names);
    else
        (void)fl_str_split(&rest, ' ', &names);
    return fl_str_contains(names, fl_str_of(quoted));
}

static void nft_base(struct fl_firewall *firewall, struct fl_str table, struct fl_str chain,
                     struct fl_str line)
{
    struct base_chain base = {
        .table = table,
        .chain = chain,
        .is_forward = fl_str_contains(line, FL_STR(" hook forward ")),
        .drops = fl_str_contains(line, FL_STR("policy drop;")),
    };
    if (base.is_forward || fl_str_contains(line, FL_STR(" hook input ")))
        add_base(firewall, &base);
}

static void nft_rule(struct fl_firewall *firewall, struct fl_str table, struct fl_str chain,
                     struct fl_str line)
{
    struct base_chain *base = find_base(firewall, table, chain);
    struct fl_str plain = line;
    if (fl_str_starts(plain, FL_STR("counter ")))
        plain = fl_str_from(plain, strlen("counter "));
    if (base && (fl_str_starts(plain, FL_STR("drop")) || fl_str_starts(plain, FL_STR("reject"))))
        base->drops = true;
    if (base && fl_str_is(plain, "ct status dnat accept"))
        base->passes_led_on = true;
    struct rule rule = {
        .table = table,
        .chain = chain,
        .target = word_after(line, "jump "),
        .enters = nft_names(line, "iifname ", firewall->tag),
        .leaves = nft_names(line, "oifname ", firewall->tag),
        .accepts = fl_str_ends(line, FL_STR("accept")),
    };
    if (rule.target.n == 0)
        rule.target = word_after(line, "goto ");
    add_rule(firewall, &rule);
}

static struct fl_str without_brace(struct fl_str line, size_t from)
{
    return fl_str_trim(fl_str_sub(line, from, line.n - from - 1));
}

/* Blocks beside chains (sets, maps) hold nothing that looks like a rule of a chain. */
void fl_firewall_read_nft(struct fl_firewall *firewall, struct fl_str text)
{
    struct fl_str line, table = {0}, chain = {0};
    while (fl_str_split(&text, '\n', &line)) {
        line = fl_str_trim(line);
        bool opens = fl_str_ends(line, FL_STR(" {"));
        if (opens && fl_str_starts(line, FL_STR("table ")))
            table = without_brace(line, strlen("table "));
        else if (opens && fl_str_starts(line, FL_STR("chain ")))
            chain = without_brace(line, strlen("chain "));
        else if (opens || fl_str_is(line, "}"))
            chain = (struct fl_str){0};
        else if (chain.n > 0 && fl_str_starts(line, FL_STR("type filter hook ")))
            nft_base(firewall, table, chain, line);
        else if (chain.n > 0)
            nft_rule(firewall, table, chain, line);
    }
}

/* ---- as iptables prints them ---- */

static bool legacy_names(struct fl_str line, const char *option, const char *tag)
{
    return fl_str_is(word_after(line, option), tag);
}

static void legacy_rule(struct fl_firewall *firewall, struct fl_str table, struct fl_str line)
{
    struct rule rule = {
        .table = table,
        .chain = word_after(line, "-A "),
        .target = word_after(line, " -j "),
        .enters = legacy_names(line, " -i ", firewall->tag),
        .leaves = legacy_names(line, " -o ", firewall->tag),
        .accepts = fl_str_ends(line, FL_STR("-j ACCEPT")),
    };
    struct base_chain *base = find_base(firewall, table, rule.chain);
    if (rule.target.n == 0)
        rule.target = word_after(line, " -g ");
    struct fl_str rest;
    bool is_for_all =
        after(line, "-A ", &rest) && fl_str_starts(fl_str_from(rest, rule.chain.n), FL_STR(" -j "));
    if (base && is_for_all && (fl_str_is(rule.target, "DROP") || fl_str_is(rule.target, "REJECT")))
        base->drops = true;
    add_rule(firewall, &rule);
}

void fl_firewall_read_legacy(struct fl_firewall *firewall, const char *program, struct fl_str text)
{
    struct fl_str line, table = fl_str_of(program);
    while (fl_str_split(&text, '\n', &line)) {
        struct base_chain base = {.table = table, .chain = word_after(line, "-P ")};
        base.is_forward = fl_str_is(base.chain, "FORWARD");
        base.drops = fl_str_ends(line, FL_STR(" DROP"));
        if (base.is_forward || fl_str_is(base.chain, "INPUT"))
            add_base(firewall, &base);
        else if (fl_str_starts(line, FL_STR("-A ")))
            legacy_rule(firewall, table, line);
    }
}

/* ---- the judgement ---- */

/* Whether a chain, or one that it leads to, lets pass what enters by our bridge (or leaves to it).
 * A rule of our bridge that leads elsewhere (a zone of firewalld's) counts, too. */
static bool lets_pass(const struct fl_firewall *firewall, struct fl_str table, struct fl_str chain,
                      bool is_leaving, unsigned *visits)
{
    for (size_t i = 0; i < firewall->rule_count && *visits < VISITS_MAX; i++) {
        const struct rule *rule = &firewall->rules[i];
        if (!fl_str_eq(rule->table, table) || !fl_str_eq(rule->chain, chain))
            continue;
        bool is_ours = is_leaving ? rule->leaves : rule->enters;
        if (is_ours && (rule->accepts || rule->target.n > 0))
            return true;
        if (rule->target.n == 0 || fl_str_eq(rule->target, chain))
            continue;
        ++*visits;
        if (lets_pass(firewall, table, rule->target, is_leaving, visits))
            return true;
    }
    return *visits >= VISITS_MAX;
}

static bool leads_to(const struct fl_firewall *firewall, struct fl_str table, const char *prefix)
{
    for (size_t i = 0; i < firewall->rule_count; i++)
        if (fl_str_eq(firewall->rules[i].table, table) &&
            fl_str_starts(firewall->rules[i].target, fl_str_of(prefix)))
            return true;
    return false;
}

/* The agent itself puts rules into Docker's chain for others. Where what was led elsewhere passes,
 * published ports and the agent's services do: all but the way out. */
static bool is_closed(const struct fl_firewall *firewall, const struct base_chain *base)
{
    unsigned visits = 0, visits_out = 0;
    if (!base->drops || (base->is_forward && leads_to(firewall, base->table, "DOCKER-USER")) ||
        (!base->is_forward && base->passes_led_on))
        return false;
    return !lets_pass(firewall, base->table, base->chain, false, &visits) ||
           (base->is_forward && !base->passes_led_on &&
            !lets_pass(firewall, base->table, base->chain, true, &visits_out));
}

static void add_command(struct fl_buf *commands, const struct base_chain *base, const char *tag,
                        bool is_leaving)
{
    const char *program = NULL;
    if (fl_str_contains(base->table, FL_STR("tables-legacy")))
        program = base->table.p;
    else if (fl_str_is(base->table, "ip filter"))
        program = "iptables";
    else if (fl_str_is(base->table, "ip6 filter"))
        program = "ip6tables";
    if (commands->n > 0)
        fl_buf_add_z(commands, " && ");
    if (program)
        fl_buf_printf(commands, "%s -I %.*s -%c %s -j ACCEPT", program, FL_STR_ARG(base->chain),
                      is_leaving ? 'o' : 'i', tag);
    else
        fl_buf_printf(commands, "nft insert rule %.*s %.*s %cifname %s accept",
                      FL_STR_ARG(base->table), FL_STR_ARG(base->chain), is_leaving ? 'o' : 'i',
                      tag);
}

static void add_commands(struct fl_buf *commands, const struct base_chain *base, const char *tag)
{
    add_command(commands, base, tag, false);
    if (base->is_forward)
        add_command(commands, base, tag, true);
}

static struct fl_finding of_ufw(const char *tag, struct fl_arena *arena)
{
    return (struct fl_finding){
        FL_WRONG, fl_str_printf(arena,
                                "ufw drops what tasks send and are sent: ufw allow in on %s && ufw "
                                "route allow in on %s && ufw route allow out on %s",
                                tag, tag, tag)};
}

static struct fl_finding of_firewalld(const char *tag, struct fl_arena *arena)
{
    return (struct fl_finding){
        FL_NOTE,
        fl_str_printf(arena,
                      "firewalld lets published ports pass, but not what tasks send to other "
                      "hosts: firewall-cmd --permanent --zone=trusted --add-interface=%s && "
                      "firewall-cmd --reload",
                      tag)};
}

static struct fl_finding of_commands(struct fl_str chain, const struct fl_buf *commands,
                                     struct fl_arena *arena)
{
    if (commands->n == 0)
        return (struct fl_finding){FL_FINE, FL_STR("no packet filter stands in tasks' way")};
    return (struct fl_finding){
        FL_WRONG, fl_str_printf(arena,
                                "the chain %.*s drops what tasks send and are sent (have your "
                                "firewall allow it, too): %.*s",
                                FL_STR_ARG(chain), FL_STR_ARG(fl_buf_str(commands)))};
}

struct fl_finding fl_firewall_judge(const struct fl_firewall *firewall, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf commands = FL_BUF_INIT(COMMANDS_MAX);
    struct fl_str first = {0};
    bool is_note = false;
    for (size_t i = 0; i < firewall->base_count; i++) {
        const struct base_chain *base = &firewall->bases[i];
        if (!is_closed(firewall, base))
            continue;
        if (leads_to(firewall, base->table, "ufw-") || leads_to(firewall, base->table, "ufw6-"))
            return of_ufw(firewall->tag, arena);
        if (base->passes_led_on) {
            is_note = true;
            continue;
        }
        first = first.n > 0 ? first : base->chain;
        add_commands(&commands, base, firewall->tag);
    }
    if (is_note && commands.n == 0)
        return of_firewalld(firewall->tag, arena);
    return of_commands(first, &commands, arena);
}

/* ---- this host's ---- */

/* The old tables are asked only where they exist: their programs would make them. */
static void read_old_tables(struct fl_firewall *firewall, struct fl_arena *arena)
{
    static const struct {
        const char *names, *program;
    } kinds[] = {
        {"/proc/net/ip_tables_names", "iptables-legacy"},
        {"/proc/net/ip6_tables_names", "ip6tables-legacy"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(kinds); i++) {
        FL_CLEANUP_BUF struct fl_buf names = FL_BUF_INIT(NAMES_MAX);
        const char *const ask[] = {kinds[i].program, "-S", NULL};
        if (fl_fs_read(AT_FDCWD, kinds[i].names, NAMES_MAX, &names) < 0 ||
            !fl_str_contains(fl_buf_str(&names), FL_STR("filter\n")))
            continue;
        char *text = fl_arena_alloc(arena, RULESET_MAX);
        if (fl_ask_program(ask, FL_DOCTOR_PATIENCE_MS, text, RULESET_MAX) == 0)
            fl_firewall_read_legacy(firewall, kinds[i].program, fl_str_of(text));
    }
}

static bool has_nftables(void)
{
    FL_CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    return fd >= 0;
}

struct fl_finding fl_doctor_firewall(const struct fl_options *options)
{
    static const char *const ask[] = {"nft", "-s", "list", "ruleset", NULL};
    char tag[FL_INSTALL_TAG_SIZE];
    if (!has_nftables())
        return (struct fl_finding){FL_WRONG, FL_STR("the kernel has no nftables, so no port can be "
                                                    "published: modprobe nf_tables")};
    if (geteuid() != 0)
        return (struct fl_finding){FL_NOTE, FL_STR("the kernel has nftables; what its rules drop "
                                                   "is shown to root only: use sudo")};
    char *text = fl_arena_alloc(options->arena, RULESET_MAX);
    if (fl_ask_program(ask, FL_DOCTOR_PATIENCE_MS, text, RULESET_MAX) != 0)
        return (struct fl_finding){FL_NOTE, FL_STR("nft does not list the host's rules: apt-get "
                                                   "install nftables")};
    fl_install_tag(options->value[FL_OPTION_DATA_DIR], tag);
    struct fl_firewall *firewall = fl_firewall_new(tag);
    fl_firewall_read_nft(firewall, fl_str_of(text));
    read_old_tables(firewall, options->arena);
    struct fl_finding finding = fl_firewall_judge(firewall, options->arena);
    fl_firewall_free(firewall);
    return finding;
}
