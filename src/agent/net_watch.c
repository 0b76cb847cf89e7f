/* Counting the ruleset's changes, our rules and our elements; see the header. */
#include "agent/net_watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "agent/net_docker.h"
#include "agent/net_netlink.h"
#include "agent/net_rules.h"

struct tally {
    long rules;
    long elements;
};

struct fl_net_watch {
    struct nl_sock *sock;
    char tag[16];
    bool ipv6;
    uint32_t generation; /* the ruleset's, when it was looked at last */
    uint32_t own;        /* transactions of ours since then */
    struct tally expected;
};

/* ---- questions ---- */

static struct nl_msg *question(int type, int flags, int family)
{
    struct nfgenmsg head = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    return fl_nl_new(NFNL_SUBSYS_NFTABLES << 8 | type, flags, &head, sizeof(head));
}

static int take_generation(struct nlmsghdr *message, void *context)
{
    struct nlattr *attrs[NFTA_GEN_MAX + 1];
    if ((message->nlmsg_type & 0xff) != NFT_MSG_NEWGEN ||
        nlmsg_parse(message, sizeof(struct nfgenmsg), attrs, NFTA_GEN_MAX, NULL) < 0 ||
        !attrs[NFTA_GEN_ID] || nla_len(attrs[NFTA_GEN_ID]) < 4)
        return 0;
    *(uint32_t *)context = ntohl(nla_get_u32(attrs[NFTA_GEN_ID]));
    return 0;
}

static int read_generation(struct fl_net_watch *watch, uint32_t *ret_generation)
{
    return fl_nl_request(watch->sock, question(NFT_MSG_GETGEN, 0, AF_UNSPEC), take_generation,
                         ret_generation);
}

static int take_rule(struct nlmsghdr *message, void *context)
{
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        return -EINTR;
    if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWRULE)
        ++*(long *)context;
    return 0;
}

static int count_rules(struct fl_net_watch *watch, int family, long *count)
{
    struct nl_msg *message = question(NFT_MSG_GETRULE, NLM_F_DUMP, family);
    if (message && nla_put_string(message, NFTA_RULE_TABLE, watch->tag) < 0) {
        nlmsg_free(message);
        return -ENOMEM;
    }
    return fl_nl_request(watch->sock, message, take_rule, count);
}

static int take_elements(struct nlmsghdr *message, void *context)
{
    struct nlattr *attrs[NFTA_SET_ELEM_LIST_MAX + 1], *item;
    int left;
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        return -EINTR;
    if ((message->nlmsg_type & 0xff) != NFT_MSG_NEWSETELEM ||
        nlmsg_parse(message, sizeof(struct nfgenmsg), attrs, NFTA_SET_ELEM_LIST_MAX, NULL) < 0 ||
        !attrs[NFTA_SET_ELEM_LIST_ELEMENTS])
        return 0;
    nla_for_each_nested(item, attrs[NFTA_SET_ELEM_LIST_ELEMENTS], left)++ *(long *)context;
    return 0;
}

static int count_elements(struct fl_net_watch *watch, int family, const char *map, long *count)
{
    struct nl_msg *message = question(NFT_MSG_GETSETELEM, NLM_F_DUMP, family);
    if (message && (nla_put_string(message, NFTA_SET_ELEM_LIST_TABLE, watch->tag) < 0 ||
                    nla_put_string(message, NFTA_SET_ELEM_LIST_SET, map) < 0)) {
        nlmsg_free(message);
        return -ENOMEM;
    }
    int rc = fl_nl_request(watch->sock, message, take_elements, count);
    return rc == -ENOENT ? 0 : rc;
}

static int count_family(struct fl_net_watch *watch, int family, struct tally *tally)
{
    int rc = count_rules(watch, family, &tally->rules);
    if (rc == 0)
        rc = count_elements(watch, family, FL_RULES_TCP_PORTS, &tally->elements);
    if (rc == 0)
        rc = count_elements(watch, family, FL_RULES_UDP_PORTS, &tally->elements);
    return rc;
}

static int count_all(struct fl_net_watch *watch, struct tally *ret_tally)
{
    struct tally tally = {0};
    int rc = count_family(watch, NFPROTO_IPV4, &tally);
    if (rc == 0 && watch->ipv6)
        rc = count_family(watch, NFPROTO_IPV6, &tally);
    if (rc == 0)
        *ret_tally = tally;
    return rc;
}

/* ---- the watch ---- */

int fl_net_watch_open(struct fl_str tag, bool ipv6, struct fl_net_watch **ret_watch,
                      struct fl_err *err)
{
    struct fl_net_watch *watch = fl_calloc(1, sizeof(*watch));
    FL_ASSERT(tag.n < sizeof(watch->tag));
    memcpy(watch->tag, tag.p, tag.n);
    watch->ipv6 = ipv6;
    int rc = fl_nl_open(NETLINK_NETFILTER, &watch->sock);
    if (rc < 0) {
        free(watch);
        return fl_err_errno(err, rc, "cannot watch the nftables rules");
    }
    *ret_watch = watch;
    return 0;
}

void fl_net_watch_close(struct fl_net_watch *watch)
{
    if (!watch)
        return;
    nl_socket_free(watch->sock);
    free(watch);
}

/* What cannot be counted now is taken for changed the next time, and written again. */
void fl_net_watch_written(struct fl_net_watch *watch)
{
    watch->own = 0;
    if (read_generation(watch, &watch->generation) < 0 || count_all(watch, &watch->expected) < 0)
        watch->generation--;
}

void fl_net_watch_changed(struct fl_net_watch *watch, long elements)
{
    watch->own++;
    watch->expected.elements += elements;
}

enum fl_net_watch_word fl_net_watch_look(struct fl_net_watch *watch)
{
    uint32_t generation;
    struct tally found;
    if (read_generation(watch, &generation) < 0 || generation == watch->generation + watch->own)
        return FL_NET_QUIET;
    if (count_all(watch, &found) < 0)
        return FL_NET_QUIET;
    watch->generation = generation;
    watch->own = 0;
    bool is_intact =
        found.rules == watch->expected.rules && found.elements == watch->expected.elements;
    return is_intact ? FL_NET_STIRRED : FL_NET_DAMAGED;
}

/* ---- Docker's chain ---- */

struct docker {
    const char *tag;
    int ours;
};

/* The link's name is in what the rule compares, whichever program wrote it. */
static int take_docker_rule(struct nlmsghdr *message, void *context)
{
    struct docker *docker = context;
    if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWRULE &&
        memmem(nlmsg_data(message), (size_t)nlmsg_datalen(message), docker->tag,
               strlen(docker->tag)))
        docker->ours++;
    return 0;
}

static struct nl_msg *docker_question(int type, int flags, int table_attr, int chain_attr)
{
    struct nl_msg *message = question(type, flags, NFPROTO_IPV4);
    if (message && nla_put_string(message, table_attr, "filter") == 0 &&
        nla_put_string(message, chain_attr, "DOCKER-USER") == 0)
        return message;
    nlmsg_free(message);
    return NULL;
}

bool fl_net_watch_docker_lacks_us(struct fl_net_watch *watch)
{
    struct docker docker = {.tag = watch->tag};
    struct nl_msg *chain = docker_question(NFT_MSG_GETCHAIN, 0, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
    if (fl_nl_request(watch->sock, chain, NULL, NULL) < 0)
        return false;
    struct nl_msg *rules =
        docker_question(NFT_MSG_GETRULE, NLM_F_DUMP, NFTA_RULE_TABLE, NFTA_RULE_CHAIN);
    return fl_nl_request(watch->sock, rules, take_docker_rule, &docker) == 0 &&
           docker.ours < FL_DOCKER_RULES;
}
