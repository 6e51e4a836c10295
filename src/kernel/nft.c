#include <endian.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/process.h"
#include "kernel/nft-internal.h"

#define MESSAGE_BYTES 1024
#define BATCH_BYTES   ((size_t)64 << 20)

/* Room for one field, zeroed and padded. Keys are built from constants, so an overflow is a bug. */
static uint8_t *put(struct nft_data *d, size_t len)
{
    size_t padded = (len + 3) & ~(size_t)3;
    if (d->len + padded > sizeof(d->bytes))
        abort();
    uint8_t *at = d->bytes + d->len;
    memset(at, 0, padded);
    d->len += padded;
    return at;
}

void nft_put_bytes(struct nft_data *d, const void *bytes, size_t len)
{
    memcpy(put(d, len), bytes, len);
}

void nft_put_link(struct nft_data *d, const char *name)
{
    uint8_t *at = put(d, IFNAMSIZ);
    memcpy(at, name, MIN(strlen(name), (size_t)IFNAMSIZ - 1));
}

void nft_put_mac(struct nft_data *d, const uint8_t mac[6])
{
    memcpy(put(d, 6), mac, 6);
}

void nft_put_address(struct nft_data *d, struct in_addr address)
{
    memcpy(put(d, 4), &address.s_addr, 4);
}

void nft_put_address6(struct nft_data *d, const struct in6_addr *address)
{
    memcpy(put(d, sizeof(*address)), address, sizeof(*address));
}

void nft_put_protocol(struct nft_data *d, uint8_t protocol)
{
    *put(d, 1) = protocol;
}

void nft_put_u24(struct nft_data *d, uint32_t number)
{
    uint8_t *at = put(d, 3);
    for (size_t i = 0; i < 3; i++)
        at[i] = (uint8_t)(number >> (16 - 8 * i));
}

void nft_put_port(struct nft_data *d, uint16_t port)
{
    uint16_t network_order = htons(port);
    memcpy(put(d, 2), &network_order, 2);
}

struct nft_batch *nft_batch_new(const char *table)
{
    struct nft_batch *b = xnew(struct nft_batch);
    b->table = xstrdup(table);
    b->messages.max = BATCH_BYTES;
    return b;
}

bool nft_batch_is_empty(const struct nft_batch *b)
{
    return b->messages.len == 0;
}

void nft_batch_free(struct nft_batch *b)
{
    if (!b)
        return;
    buf_done(&b->messages);
    free(b->table);
    free(b);
}

static struct nlmsghdr *header(char *space, struct nft_batch *b, uint16_t type, uint16_t flags,
                               uint8_t family, uint16_t resource)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(space);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = ++b->sequence;
    struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->nfgen_family = family;
    m->version = NFNETLINK_V0;
    m->res_id = htons(resource);
    return h;
}

static void append(struct nft_batch *b, const struct nlmsghdr *h)
{
    b->last = b->messages.len;
    if (buf_add(&b->messages, h, h->nlmsg_len) < 0)
        b->failed = true;
}

static void put_boundary(struct nft_batch *b, uint16_t type)
{
    char space[64] __attribute__((aligned(NLMSG_ALIGNTO)));
    size_t last = b->last;
    append(b, header(space, b, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    b->last = last;
}

struct nlmsghdr *nft_message(struct nft_batch *b, char *space, uint16_t type, uint16_t flags,
                             enum nft_family family)
{
    if (b->messages.len == 0)
        put_boundary(b, NFNL_MSG_BATCH_BEGIN);
    return header(space, b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, (uint8_t)family,
                  0);
}

void nft_message_end(struct nft_batch *b, const struct nlmsghdr *h)
{
    append(b, h);
}

void nft_put_value(struct nlmsghdr *h, uint16_t type, const void *bytes, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, bytes);
    mnl_attr_nest_end(h, nest);
}

void nft_put_verdict(struct nlmsghdr *h, uint16_t type, int code, const char *chain)
{
    struct nlattr *data = mnl_attr_nest_start(h, type);
    struct nlattr *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)code));
    if (chain)
        mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
    mnl_attr_nest_end(h, verdict);
    mnl_attr_nest_end(h, data);
}

/* What stands beside an element's key. */
struct element {
    const struct nft_data *value; /* value or chain: what a map's element leads to */
    const char *chain;
    uint64_t lifetime_ms; /* 0: the set's */
    const char *comment;
    uint32_t connections; /* 0: it counts none */
};

/* As the nft program writes comments: type 0, length, the text with its NUL. */
static void put_comment(struct nlmsghdr *h, const char *comment)
{
    uint8_t data[2 + NFT_COMMENT_MAX + 1] = {0};
    size_t len = MIN(strlen(comment), (size_t)NFT_COMMENT_MAX);
    data[1] = (uint8_t)(len + 1);
    memcpy(data + 2, comment, len);
    mnl_attr_put(h, NFTA_SET_ELEM_USERDATA, len + 3, data);
}

static void put_count(struct nlmsghdr *h, uint32_t connections)
{
    struct nlattr *expression = mnl_attr_nest_start(h, NFTA_SET_ELEM_EXPR);
    mnl_attr_put_strz(h, NFTA_EXPR_NAME, "connlimit");
    struct nlattr *data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
    mnl_attr_put_u32(h, NFTA_CONNLIMIT_COUNT, htonl(connections));
    mnl_attr_put_u32(h, NFTA_CONNLIMIT_FLAGS, htonl(NFT_CONNLIMIT_F_INV));
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, expression);
}

static void put_element(struct nft_batch *b, uint16_t type, uint16_t flags, enum nft_family family,
                        const char *set, const struct nft_data *key, const struct element *e)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, type, flags, family);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, b->table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    nft_put_value(h, NFTA_SET_ELEM_KEY, key->bytes, key->len);
    if (e->value)
        nft_put_value(h, NFTA_SET_ELEM_DATA, e->value->bytes, e->value->len);
    if (e->chain)
        nft_put_verdict(h, NFTA_SET_ELEM_DATA, NFT_GOTO, e->chain);
    if (e->lifetime_ms)
        mnl_attr_put_u64(h, NFTA_SET_ELEM_TIMEOUT, htobe64(e->lifetime_ms));
    if (e->comment)
        put_comment(h, e->comment);
    if (e->connections)
        put_count(h, e->connections);
    mnl_attr_nest_end(h, element);
    mnl_attr_nest_end(h, list);
    append(b, h);
}

void nft_batch_add(struct nft_batch *b, enum nft_family family, const char *set,
                   const struct nft_data *key, const struct nft_data *value)
{
    const struct element e = {.value = value};
    put_element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, set, key, &e);
}

void nft_batch_add_goto(struct nft_batch *b, enum nft_family family, const char *set,
                        const struct nft_data *key, const char *chain)
{
    const struct element e = {.chain = chain};
    put_element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, set, key, &e);
}

void nft_batch_add_counting(struct nft_batch *b, enum nft_family family, const char *set,
                            const struct nft_data *key, uint32_t connections)
{
    const struct element e = {.connections = connections};
    put_element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, set, key, &e);
}

void nft_batch_delete(struct nft_batch *b, enum nft_family family, const char *set,
                      const struct nft_data *key)
{
    const struct element e = {.value = NULL};
    put_element(b, NFT_MSG_DELSETELEM, 0, family, set, key, &e);
}

/* Kernels before 6.12 leave the lifetime of an element that is there as it is, and none deletes one
 * that is not: it is added, taken away, and added once more, all at once for whoever looks. */
void nft_batch_renew(struct nft_batch *b, enum nft_family family, const char *set,
                     const struct nft_data *key, uint64_t lifetime_ms, const char *comment)
{
    const struct element e = {.lifetime_ms = lifetime_ms, .comment = comment};
    put_element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, set, key, &e);
    nft_batch_delete(b, family, set, key);
    put_element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, set, key, &e);
}

void nft_batch_forget(struct nft_batch *b, enum nft_family family, const char *set,
                      const struct nft_data *key)
{
    nft_batch_add(b, family, set, key, NULL);
    nft_batch_delete(b, family, set, key);
}

void nft_batch_delete_table(struct nft_batch *b, enum nft_family family)
{
    char space[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *h = nft_message(b, space, NFT_MSG_DELTABLE, 0, family);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, b->table);
    append(b, h);
}

/* The kernel works the batch off inside sendmsg, so every answer is queued when that returns: one
 * acknowledgement of the last element, or an error for each message that failed. */
static int read_answers(struct mnl_socket *socket)
{
    char answer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    bool acknowledged = false;
    int result = 0;
    for (;;) {
        ssize_t n = recv(mnl_socket_get_fd(socket), answer, sizeof(answer), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        int left = (int)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)answer; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < mnl_nlmsg_size(sizeof(int)))
                continue;
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            acknowledged = true;
            if (e->error < 0 && result == 0)
                result = e->error;
        }
    }
    return acknowledged ? result : -EIO;
}

/*
 * The kernel frees deleted elements some 15 ms after they went out of effect, and whoever closes a
 * netfilter socket in that time, for whatever it was used, waits for it. Nobody needs that wait: a
 * child gets the sockets and has the last of each. It lasts for a second, so a command that does
 * one thing after the other has one.
 */
#define KEEPER_MS 1000

static struct {
    pid_t owner, child;
    int channel;
} keeper = {.channel = -EBADF};

static void end_keeper(void)
{
    keeper.channel = close_fd(keeper.channel);
    keeper.owner = 0;
}

/* What was sent is open while it is in the channel; nobody ever takes it out. */
_Noreturn static void wait_and_leave(int channel)
{
    struct pollfd hangup = {.fd = channel};
    fd_close_others(&channel, 1);
    (void)!poll(&hangup, 1, KEEPER_MS);
    _exit(0);
}

static bool begin_keeper(void)
{
    int ends[2];
    if (keeper.child > 0)
        waitpid(keeper.child, NULL, WNOHANG);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    keeper.child = fork();
    if (keeper.child == 0)
        wait_and_leave(ends[1]);
    close(ends[1]);
    if (keeper.child < 0) {
        close(ends[0]);
        return false;
    }
    keeper.channel = ends[0];
    keeper.owner = getpid();
    return true;
}

static void close_elsewhere(struct mnl_socket *socket)
{
    int fd = mnl_socket_get_fd(socket);
    if (keeper.owner == getpid() && fd_pass(keeper.channel, "", 1, fd) < 0)
        end_keeper();
    if (keeper.owner != getpid() && begin_keeper() && fd_pass(keeper.channel, "", 1, fd) < 0)
        end_keeper();
    mnl_socket_close(socket);
}

static int transact(struct mnl_socket *socket, struct nft_batch *b)
{
    int r = 0, size = (int)b->messages.len * 2 + 65536;
    if (b->messages.len > 65536 &&
        setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        r = -errno;
    if (r == 0 && mnl_socket_sendto(socket, b->messages.data, b->messages.len) < 0)
        r = -errno;
    return r < 0 ? r : read_answers(socket);
}

static int open_socket(struct mnl_socket **ret)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!socket)
        return -errno;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int r = -errno;
        mnl_socket_close(socket);
        return r;
    }
    *ret = socket;
    return 0;
}

static int transact_once(struct nft_batch *b)
{
    struct mnl_socket *socket;
    int r = open_socket(&socket);
    if (r < 0)
        return r;
    r = transact(socket, b);
    close_elsewhere(socket);
    return r;
}

/* socket NULL: one of its own. */
static int commit(struct mnl_socket *socket, struct nft_batch *b, struct error *err)
{
    int r = 0;
    if (b->messages.len > 0) {
        ((struct nlmsghdr *)(void *)(b->messages.data + b->last))->nlmsg_flags |= NLM_F_ACK;
        put_boundary(b, NFNL_MSG_BATCH_END);
        r = b->failed ? -EFBIG : socket ? transact(socket, b) : transact_once(b);
    }
    buf_reset(&b->messages);
    b->failed = false;
    if (r < 0)
        return error_errno(err, r, "change nftables");
    return 0;
}

int nft_batch_commit(struct nft_batch *b, struct error *err)
{
    return commit(NULL, b, err);
}

struct nft_channel {
    struct mnl_socket *socket;
};

int nft_channel_open(struct nft_channel **ret, struct error *err)
{
    struct mnl_socket *socket;
    int r = open_socket(&socket);
    if (r < 0)
        return error_errno(err, r, "open a netfilter socket");
    *ret = xnew(struct nft_channel);
    (*ret)->socket = socket;
    return 0;
}

int nft_channel_commit(struct nft_channel *c, struct nft_batch *b, struct error *err)
{
    return commit(c->socket, b, err);
}

/* Fixed places, never PATH: this runs with privilege. */
static const char *find_program(void)
{
    static const char *const places[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft",
                                         "/usr/local/sbin/nft"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

int nft_load(const char *text, size_t len, struct error *err)
{
    const char *program = find_program();
    if (!program)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "the nft program is missing; install the package nftables");
    char *const argv[] = {(char *)"nft", (char *)"-f", (char *)"/dev/stdin", NULL};
    _cleanup_close_ int fd = memfd_create("ruleset", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "make a memory file");
    int r = fd_write_all(fd, text, len);
    if (r < 0)
        return error_errno(err, r, "write the ruleset");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_errno(err, errno, "rewind the ruleset");
    return process_run(program, argv, fd, NULL, err);
}
