#include "kernel/nft_dump.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/alloc.h"

#define ANSWER_BYTES 65536

struct dump {
    int (*see)(void *context, const struct nft_element *e);
    void *context;
    int result;
};

static uint64_t get_u64(const struct nlattr *a)
{
    return mnl_attr_get_payload_len(a) == 8 ? be64toh(mnl_attr_get_u64(a)) : 0;
}

/* {name, data}: only counters are of interest. */
static void read_expression(const struct nlattr *nest, struct nft_element *e)
{
    struct nlattr *a, *b;
    mnl_attr_for_each_nested(a, nest)
    {
        if (mnl_attr_get_type(a) != NFTA_EXPR_DATA)
            continue;
        mnl_attr_for_each_nested(b, a)
        {
            if (mnl_attr_get_type(b) == NFTA_COUNTER_PACKETS)
                e->packets = get_u64(b);
            else if (mnl_attr_get_type(b) == NFTA_COUNTER_BYTES)
                e->bytes = get_u64(b);
        }
    }
}

/* Fields of type, length, value; type 0 is the comment. */
static void read_comment(const struct nlattr *a, struct nft_element *e)
{
    const uint8_t *data = mnl_attr_get_payload(a);
    size_t len = mnl_attr_get_payload_len(a);
    for (size_t at = 0; at + 2 <= len && at + 2 + data[at + 1] <= len; at += 2u + data[at + 1])
        if (data[at] == 0) {
            size_t n = MIN((size_t)data[at + 1], sizeof(e->comment) - 1);
            memcpy(e->comment, data + at + 2, n);
            e->comment[n] = '\0';
            return;
        }
}

static void read_element(const struct nlattr *nest, struct nft_element *e)
{
    struct nlattr *a, *b;
    memset(e, 0, sizeof(*e));
    mnl_attr_for_each_nested(a, nest)
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_SET_ELEM_KEY:
            mnl_attr_for_each_nested(b, a) if (mnl_attr_get_type(b) == NFTA_DATA_VALUE)
            {
                e->key = mnl_attr_get_payload(b);
                e->key_len = mnl_attr_get_payload_len(b);
            }
            break;
        case NFTA_SET_ELEM_EXPIRATION:
            e->expires_ms = get_u64(a);
            break;
        case NFTA_SET_ELEM_USERDATA:
            read_comment(a, e);
            break;
        case NFTA_SET_ELEM_EXPR:
            read_expression(a, e);
            break;
        case NFTA_SET_ELEM_EXPRESSIONS:
            mnl_attr_for_each_nested(b, a) read_expression(b, e);
            break;
        default:
            break;
        }
    }
}

static int see_message(const struct nlmsghdr *h, void *context)
{
    struct dump *d = context;
    struct nlattr *list, *item;
    mnl_attr_for_each(list, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
            continue;
        mnl_attr_for_each_nested(item, list)
        {
            struct nft_element e;
            read_element(item, &e);
            if (e.key && d->result == 0)
                d->result = d->see(d->context, &e);
        }
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *question(char *space, enum nft_family family, uint16_t type)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(space);
    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = 1;
    struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->nfgen_family = (uint8_t)family;
    m->version = NFNETLINK_V0;
    return h;
}

static int ask_at(struct mnl_socket *socket, const struct nlmsghdr *h, mnl_cb_t see, void *context)
{
    _cleanup_free_ char *answer = xcalloc(1, ANSWER_BYTES);
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(socket, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(socket, answer, ANSWER_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = mnl_cb_run(answer, (size_t)n, 1, mnl_socket_get_portid(socket), see, context);
        if (r < 0)
            return -errno;
        if (r == MNL_CB_STOP)
            return 0;
    }
}

static int ask(const struct nlmsghdr *h, mnl_cb_t see, void *context)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!socket)
        return -errno;
    int r = ask_at(socket, h, see, context);
    mnl_socket_close(socket);
    return r;
}

int nft_dump(enum nft_family family, const char *table, const char *set,
             int (*see)(void *context, const struct nft_element *e), void *context,
             struct error *err)
{
    char space[512] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct dump d = {see, context, 0};
    struct nlmsghdr *h = question(space, family, NFT_MSG_GETSETELEM);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    int r = ask(h, see_message, &d);
    if (r < 0)
        return error_errno(err, r, "read the set %s of table %s", set, table);
    return d.result;
}

#define TRIES 20 /* each fails only when a transaction of somebody's came between */

int nft_dump_whole(enum nft_family family, const char *table, const char *set,
                   int (*see)(void *context, const struct nft_element *e),
                   void (*again)(void *context), void *context, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = -EINTR;
    for (int i = 0; r == -EINTR && i < TRIES; i++) {
        again(context);
        r = nft_dump(family, table, set, see, context, &why);
    }
    if (r < 0 && r != -ENOENT && err)
        *err = why;
    return r == -ENOENT ? 0 : r;
}

/* --- tables --- */

struct tables {
    void (*see)(void *context, const char *name);
    void *context;
};

static int see_table(const struct nlmsghdr *h, void *context)
{
    const struct tables *t = context;
    struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_TABLE_NAME &&
            mnl_attr_validate(a, MNL_TYPE_NUL_STRING) == 0)
            t->see(t->context, mnl_attr_get_str(a));
    }
    return MNL_CB_OK;
}

int nft_tables(enum nft_family family, void (*see)(void *context, const char *name), void *context,
               struct error *err)
{
    char space[64] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct tables t = {see, context};
    int r = ask(question(space, family, NFT_MSG_GETTABLE), see_table, &t);
    return r < 0 ? error_errno(err, r, "list the tables of nftables") : 0;
}
