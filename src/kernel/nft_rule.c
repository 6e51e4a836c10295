#include "kernel/nft_rule.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include "kernel/nft-internal.h"

#define MESSAGE_BYTES 2048
/* How the nft program calls the types of keys; the kernel only keeps it. */
#define TYPE_IPV4 7
#define TYPE_IPV6 8
#define RANGES    "__set%d"
/* enum ip_conntrack_dir, which has no header of its own outside the kernel. */
#define DIRECTION_ORIGINAL 0
#define DIRECTION_REPLY    1

/* --- chains and sets --- */

static void chain_message(struct nft_batch *b, enum nft_family family, uint16_t type,
                          uint16_t flags, const char *chain)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, type, flags, family);
    mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, chain);
    nft_message_end(b, h);
}

void nft_add_chain(struct nft_batch *b, enum nft_family family, const char *chain)
{
    chain_message(b, family, NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain);
}

void nft_delete_chain(struct nft_batch *b, enum nft_family family, const char *chain)
{
    chain_message(b, family, NFT_MSG_DELCHAIN, 0, chain);
}

void nft_empty_chain(struct nft_batch *b, enum nft_family family, const char *chain)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_DELRULE, 0, family);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    nft_message_end(b, h);
}

/* How the nft program calls a type of two parts. */
#define TYPE_PAIR(type) ((type) << 6 | (type))

/* pair: of two addresses; most 0: no bound. */
static void add_set(struct nft_batch *b, enum nft_family family, const char *set, bool v6,
                    bool pair, uint32_t flags, uint32_t most)
{
    uint32_t type = v6 ? TYPE_IPV6 : TYPE_IPV4, len = v6 ? 16 : 4;
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_NEWSET, NLM_F_CREATE, family);
    mnl_attr_put_strz(h, NFTA_SET_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_SET_NAME, set);
    mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(flags));
    mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(pair ? TYPE_PAIR(type) : type));
    mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(pair ? 2 * len : len));
    mnl_attr_put_u32(h, NFTA_SET_ID, htonl(++b->set_id));
    if (most) {
        struct nlattr *description = mnl_attr_nest_start(h, NFTA_SET_DESC);
        mnl_attr_put_u32(h, NFTA_SET_DESC_SIZE, htonl(most));
        mnl_attr_nest_end(h, description);
    }
    nft_message_end(b, h);
}

void nft_add_address_set(struct nft_batch *b, enum nft_family family, const char *set, bool v6)
{
    add_set(b, family, set, v6, false, 0, 0);
}

void nft_add_pair_set(struct nft_batch *b, enum nft_family family, const char *set, bool v6,
                      uint32_t most)
{
    add_set(b, family, set, v6, true, NFT_SET_TIMEOUT, most);
}

void nft_empty_set(struct nft_batch *b, enum nft_family family, const char *set)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_DELSETELEM, 0, family);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    nft_message_end(b, h);
}

void nft_delete_set(struct nft_batch *b, enum nft_family family, const char *set)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_DELSET, 0, family);
    mnl_attr_put_strz(h, NFTA_SET_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_SET_NAME, set);
    nft_message_end(b, h);
}

void nft_begin_ranges(struct nft_batch *b, enum nft_family family, bool v6)
{
    add_set(b, family, RANGES, v6, false, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL,
            0);
}

static void add_bound(struct nft_batch *b, enum nft_family family, const void *key, size_t len,
                      uint32_t flags)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, RANGES);
    mnl_attr_put_u32(h, NFTA_SET_ELEM_LIST_SET_ID, htonl(b->set_id));
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    if (flags)
        mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(flags));
    nft_put_value(h, NFTA_SET_ELEM_KEY, key, len);
    mnl_attr_nest_end(h, element);
    mnl_attr_nest_end(h, list);
    nft_message_end(b, h);
}

void nft_add_range(struct nft_batch *b, enum nft_family family, bool v6, const void *first,
                   const void *end)
{
    add_bound(b, family, first, v6 ? 16 : 4, 0);
    if (end)
        add_bound(b, family, end, v6 ? 16 : 4, NFT_SET_ELEM_INTERVAL_END);
}

/* --- expressions: { name, data } --- */

struct expression {
    struct nlattr *whole, *data;
};

static struct expression begin(struct nlmsghdr *h, const char *name)
{
    struct expression e;
    e.whole = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
    e.data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
    return e;
}

static void end(struct nlmsghdr *h, struct expression e)
{
    mnl_attr_nest_end(h, e.data);
    mnl_attr_nest_end(h, e.whole);
}

static void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t number)
{
    mnl_attr_put_u32(h, type, htonl(number));
}

static void put_u64(struct nlmsghdr *h, uint16_t type, uint64_t number)
{
    mnl_attr_put_u64(h, type, __builtin_bswap64(number));
}

/* direction: DIRECTION_ORIGINAL, DIRECTION_REPLY, or -1 */
static void load_ct_into(struct nlmsghdr *h, uint32_t place, uint32_t key, int direction)
{
    struct expression e = begin(h, "ct");
    put_u32(h, NFTA_CT_DREG, place);
    put_u32(h, NFTA_CT_KEY, key);
    if (direction >= 0)
        mnl_attr_put_u8(h, NFTA_CT_DIRECTION, (uint8_t)direction);
    end(h, e);
}

static void load_ct(struct nlmsghdr *h, uint32_t key, int direction)
{
    load_ct_into(h, NFT_REG_1, key, direction);
}

static void load_meta(struct nlmsghdr *h, uint32_t key)
{
    struct expression e = begin(h, "meta");
    put_u32(h, NFTA_META_DREG, NFT_REG_1);
    put_u32(h, NFTA_META_KEY, key);
    end(h, e);
}

static void compare(struct nlmsghdr *h, uint32_t operation, const void *bytes, size_t len)
{
    struct expression e = begin(h, "cmp");
    put_u32(h, NFTA_CMP_SREG, NFT_REG_1);
    put_u32(h, NFTA_CMP_OP, operation);
    nft_put_value(h, NFTA_CMP_DATA, bytes, len);
    end(h, e);
}

static void put_end(struct nlmsghdr *h, const struct nft_end *at, uint32_t ranges)
{
    load_ct(h, at->v6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP,
            at->reply ? DIRECTION_REPLY : DIRECTION_ORIGINAL);
    struct expression e = begin(h, "lookup");
    mnl_attr_put_strz(h, NFTA_LOOKUP_SET, at->set ? at->set : RANGES);
    if (!at->set)
        put_u32(h, NFTA_LOOKUP_SET_ID, ranges);
    put_u32(h, NFTA_LOOKUP_SREG, NFT_REG_1);
    if (at->outside)
        put_u32(h, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    if (at->map)
        put_u32(h, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
    end(h, e);
}

static void put_protocol(struct nlmsghdr *h, uint8_t protocol)
{
    load_meta(h, NFT_META_L4PROTO);
    compare(h, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

static void put_ports(struct nlmsghdr *h, uint16_t first, uint16_t last)
{
    uint16_t bounds[] = {htons(first), htons(last)};
    load_ct(h, NFT_CT_PROTO_SRC, DIRECTION_REPLY);
    if (first == last) {
        compare(h, NFT_CMP_EQ, &bounds[0], sizeof(bounds[0]));
        return;
    }
    compare(h, NFT_CMP_GTE, &bounds[0], sizeof(bounds[0]));
    compare(h, NFT_CMP_LTE, &bounds[1], sizeof(bounds[1]));
}

static void mask_bits(struct nlmsghdr *h, const void *mask, size_t len)
{
    static const uint8_t none[16];
    struct expression e = begin(h, "bitwise");
    put_u32(h, NFTA_BITWISE_SREG, NFT_REG_1);
    put_u32(h, NFTA_BITWISE_DREG, NFT_REG_1);
    put_u32(h, NFTA_BITWISE_LEN, (uint32_t)len);
    nft_put_value(h, NFTA_BITWISE_MASK, mask, len);
    nft_put_value(h, NFTA_BITWISE_XOR, none, len);
    end(h, e);
}

/* The kernel gives one bit, so comparing is enough. */
static void put_state(struct nlmsghdr *h, enum ip_conntrack_info state)
{
    const uint32_t bit = NF_CT_STATE_BIT(state);
    load_ct(h, NFT_CT_STATE, -1);
    compare(h, NFT_CMP_EQ, &bit, sizeof(bit));
}

/* The first half of a label is left to others; of ours is the number and what it is not. */
struct label {
    uint64_t others;
    uint32_t number, complement;
};

static void put_labelled(struct nlmsghdr *h, uint32_t number)
{
    static const struct label mask = {0, UINT32_MAX, UINT32_MAX};
    const struct label wanted = {0, number, ~number};
    load_ct(h, NFT_CT_LABELS, -1);
    mask_bits(h, &mask, sizeof(mask));
    compare(h, NFT_CMP_EQ, &wanted, sizeof(wanted));
}

static void give_ct(struct nlmsghdr *h, uint32_t key, const void *value, size_t len)
{
    struct expression e = begin(h, "immediate");
    put_u32(h, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    nft_put_value(h, NFTA_IMMEDIATE_DATA, value, len);
    end(h, e);
    e = begin(h, "ct");
    put_u32(h, NFTA_CT_KEY, key);
    put_u32(h, NFTA_CT_SREG, NFT_REG_1);
    end(h, e);
}

static void put_label(struct nlmsghdr *h, uint32_t number)
{
    const struct label label = {0, number, ~number};
    give_ct(h, NFT_CT_LABELS, &label, sizeof(label));
}

static void put_marked(struct nlmsghdr *h, const struct nft_mark *mark)
{
    load_ct(h, NFT_CT_MARK, -1);
    if (mark->mask != UINT32_MAX)
        mask_bits(h, &mark->mask, sizeof(mark->mask));
    compare(h, NFT_CMP_EQ, &mark->value, sizeof(mark->value));
}

/* key: NFT_META_IIFNAME or NFT_META_OIFNAME. */
static void put_not_link(struct nlmsghdr *h, uint32_t key, const char *set)
{
    load_meta(h, key);
    struct expression e = begin(h, "lookup");
    mnl_attr_put_strz(h, NFTA_LOOKUP_SET, set);
    put_u32(h, NFTA_LOOKUP_SREG, NFT_REG_1);
    put_u32(h, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    end(h, e);
}

static void put_original(struct nlmsghdr *h)
{
    const uint8_t direction = DIRECTION_ORIGINAL;
    load_ct(h, NFT_CT_DIRECTION, -1);
    compare(h, NFT_CMP_EQ, &direction, sizeof(direction));
}

/* Registers that lie one behind the other make one key. */
static void put_pair(struct nlmsghdr *h, const struct nft_pair *pair)
{
    const uint8_t direction = pair->back ? DIRECTION_REPLY : DIRECTION_ORIGINAL;
    uint32_t key = pair->v6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP;
    load_ct(h, NFT_CT_DIRECTION, -1);
    compare(h, NFT_CMP_EQ, &direction, sizeof(direction));
    load_ct_into(h, pair->v6 ? NFT_REG_1 : NFT_REG32_00, key, DIRECTION_ORIGINAL);
    load_ct_into(h, pair->v6 ? NFT_REG_2 : NFT_REG32_01, key, DIRECTION_REPLY);
    struct expression e = begin(h, "lookup");
    mnl_attr_put_strz(h, NFTA_LOOKUP_SET, pair->set);
    put_u32(h, NFTA_LOOKUP_SREG, pair->v6 ? NFT_REG_1 : NFT_REG32_00);
    end(h, e);
    put_not_link(h, pair->back ? NFT_META_IIFNAME : NFT_META_OIFNAME, pair->not_there);
}

static void put_limit(struct nlmsghdr *h, uint32_t per_second)
{
    struct expression e = begin(h, "limit");
    put_u64(h, NFTA_LIMIT_RATE, per_second);
    put_u64(h, NFTA_LIMIT_UNIT, 1);
    put_u32(h, NFTA_LIMIT_BURST, 5);
    put_u32(h, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
    put_u32(h, NFTA_LIMIT_FLAGS, 0);
    end(h, e);
}

static void put_log(struct nlmsghdr *h, const char *prefix)
{
    struct expression e = begin(h, "log");
    mnl_attr_put_strz(h, NFTA_LOG_PREFIX, prefix);
    end(h, e);
}

static void put_verdict(struct nlmsghdr *h, enum nft_verdict verdict, const char *target)
{
    static const int codes[] = {
        [NFT_VERDICT_ACCEPT] = NF_ACCEPT,
        [NFT_VERDICT_RETURN] = NFT_RETURN,
        [NFT_VERDICT_JUMP] = NFT_JUMP,
        [NFT_VERDICT_GOTO] = NFT_GOTO,
    };
    struct expression e = begin(h, "immediate");
    put_u32(h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    nft_put_verdict(h, NFTA_IMMEDIATE_DATA, codes[verdict], target);
    end(h, e);
}

void nft_add_rule(struct nft_batch *b, enum nft_family family, const char *chain,
                  const struct nft_match *match, enum nft_verdict verdict, const char *target)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h =
        nft_message(b, space, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
    if (match->established)
        put_state(h, IP_CT_ESTABLISHED);
    if (match->marked)
        put_marked(h, match->marked);
    if (match->not_links) {
        put_not_link(h, NFT_META_IIFNAME, match->not_links);
        put_not_link(h, NFT_META_OIFNAME, match->not_links);
    }
    if (match->related)
        put_state(h, IP_CT_RELATED);
    if (match->original)
        put_original(h);
    if (match->labelled)
        put_labelled(h, match->labelled);
    if (match->pair)
        put_pair(h, match->pair);
    if (match->end)
        put_end(h, match->end, b->set_id);
    if (match->protocol) {
        put_protocol(h, match->protocol);
        if (match->first_port > 0 || match->last_port < UINT16_MAX)
            put_ports(h, match->first_port, match->last_port);
    }
    if (match->only_new)
        put_state(h, IP_CT_NEW);
    if (match->per_second)
        put_limit(h, match->per_second);
    if (match->log)
        put_log(h, match->log);
    if (match->give_label)
        put_label(h, match->give_label);
    if (match->give_mark)
        give_ct(h, NFT_CT_MARK, &match->give_mark->value, sizeof(match->give_mark->value));
    if (verdict != NFT_VERDICT_NONE)
        put_verdict(h, verdict, target);
    mnl_attr_nest_end(h, list);
    nft_message_end(b, h);
}
