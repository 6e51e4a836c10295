/*
 * MARK ROOT NETWORK                      the keeper; the mark tells which it is
 * proa-peers relay VXLAN-ID ADDRESS...   the relay, which the keeper starts; the addresses are the
 *                                        peers'
 *
 * The relay is executed anew, so that it knows nothing of the keeper's memory, and gives everything
 * up before it reads the first byte of anybody's. The keeper stays root, because the store and the
 * files of names are root's; of root's capabilities it keeps the one over the network.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/caps.h"
#include "service/network/network.h"
#include "service/network/tunnel.h"
#include "service/peers/peers-internal.h"
#include "wire/confine/confine.h"

/* --- the relay --- */

static int give_up(void)
{
    static const struct confine_limit limits[] = {{RLIMIT_NOFILE, 16 + 4 * PEERS_MAX},
                                                  {RLIMIT_AS, 512u << 20}};
    static const int allowed[] = {
        SCMP_SYS(read),           SCMP_SYS(close),         SCMP_SYS(poll),
        SCMP_SYS(recvfrom),       SCMP_SYS(recvmsg),       SCMP_SYS(sendto),
        SCMP_SYS(accept4),        SCMP_SYS(getrandom),     SCMP_SYS(brk),
        SCMP_SYS(munmap),         SCMP_SYS(mremap),        SCMP_SYS(madvise),
        SCMP_SYS(exit_group),     SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(restart_syscall)};
    static const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .uid = PEERS_RELAY_UID,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
    };
    struct error err = ERROR_INIT;
    return confine_enter(&job, &err);
}

static int run_relay(char **args)
{
    static struct relay relay;
    if (!args[0] || parse_u32(args[0], &relay.vxlan_id) < 0)
        return 2;
    for (; args[relay.n + 1]; relay.n++)
        if (relay.n == PEERS_MAX ||
            inet_pton(AF_INET, args[relay.n + 1], &relay.peers[relay.n]) != 1)
            return 2;
    ssize_t n = fd_read_full(RELAY_KEY, relay.key, sizeof(relay.key));
    close(RELAY_KEY);
    if (n != 0 && n != (ssize_t)sizeof(relay.key))
        return 2;
    relay.key_len = (size_t)n;
    if (give_up() < 0)
        return 1;
    return relay_run(&relay) < 0 ? 1 : 0;
}

/* --- the keeper --- */

/* Not by its arguments, which everybody can read. */
static int key_file(const struct network *n, int *ret)
{
    uint8_t key[PEERS_KEY_SIZE];
    _cleanup_close_ int fd = memfd_create("key", MFD_CLOEXEC);
    bool there = n->peer_key && strlen(n->peer_key) == 2 * sizeof(key);
    for (size_t i = 0; there && i < sizeof(key); i++) {
        const char digits[] = {n->peer_key[2 * i], n->peer_key[2 * i + 1], '\0'};
        key[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (n->peer_key && !there)
        return -EINVAL;
    int r = fd < 0 ? -errno : there ? fd_write_all(fd, key, sizeof(key)) : 0;
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r == 0)
        *ret = TAKE_FD(fd);
    return r;
}

static int start_relay(const struct network *n, int *ret_channel)
{
    _cleanup_strv_ char **argv = strv_copy(NULL);
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF, key = -EBADF;
    int ends[2];
    pid_t pid;
    int r = key_file(n, &key);
    if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        r = -errno;
    if (r < 0)
        return r;
    ours = ends[0];
    theirs = ends[1];
    strv_add(&argv, "proa-peers");
    strv_add(&argv, "relay");
    strv_addf(&argv, "%u", n->vxlan_id);
    for (size_t i = 0; n->peers[i]; i++) {
        struct in_addr peer = tunnel_peer_address(n, i);
        char text[INET_ADDRSTRLEN];
        strv_add(&argv, inet_ntop(AF_INET, &peer, text, sizeof(text)));
    }
    const struct process_fd fds[] = {
        {PEERS_LISTEN, PEERS_LISTEN}, {theirs, RELAY_KEEPER}, {key, RELAY_KEY}};
    struct process_spec spec = {
        .path = "/proc/self/exe", .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    r = process_start(&spec, &pid, NULL);
    if (r == 0)
        *ret_channel = TAKE_FD(ours);
    return r;
}

static int keep_one_capability(void)
{
    const uint64_t one = 1ull << CAP_NET_ADMIN;
    int r = caps_bound(one);
    if (r == 0)
        r = caps_set(one, one, 0);
    return r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : r;
}

static int run_keeper(const char *root, const char *network)
{
    struct keeper *keeper;
    int channel = -EBADF;
    int r = keeper_new(root, network, &keeper);
    if (r == 0)
        r = start_relay(keeper_network(keeper), &channel);
    close(PEERS_LISTEN);
    if (r == 0)
        r = keep_one_capability();
    return r < 0 || keeper_serve(keeper, channel) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "relay") == 0)
        return run_relay(argv + 2);
    if (argc != 3 || geteuid() != 0)
        return 2;
    return run_keeper(argv[1], argv[2]);
}
