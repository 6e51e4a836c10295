/*
 * MARK MARK ADDRESS:PORT     the keeper; the marks tell which it is, the address is dnsmasq's
 * proa-names relay ADDRESS... the relay, which the keeper starts; the addresses are the instance's
 *
 * Both give up what they do not need before the first byte of anybody's is read. The relay is
 * executed anew, so that it knows nothing of the keeper's memory.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/caps.h"
#include "service/names/names-internal.h"
#include "wire/confine/confine.h"

static const struct confine_limit limits[] = {{RLIMIT_NOFILE, 64}, {RLIMIT_AS, 256u << 20}};

/* --- the relay --- */

static int give_up(void)
{
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
        .uid = NAMES_RELAY_UID,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
    };
    struct error err = ERROR_INIT;
    return confine_enter(&job, &err);
}

static int run_relay(char **addresses)
{
    struct policy_address own[NAMES_ADDRESSES_MAX];
    size_t n = 0;
    for (; addresses[n]; n++)
        if (n == NAMES_ADDRESSES_MAX || policy_address_parse(addresses[n], &own[n]) < 0)
            return 2;
    if (give_up() < 0)
        return 1;
    return relay_run(own, n) < 0 ? 1 : 0;
}

/* --- the keeper --- */

/* A socket that hears dnsmasq only. */
static int open_upstream(const char *upstream, int *ret)
{
    struct sockaddr_in to;
    int r = keeper_upstream(upstream, &to);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r == 0 && (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0))
        r = -errno;
    if (r == 0)
        *ret = TAKE_FD(fd);
    return r;
}

static int start_relay(const struct names_config *c, const char *upstream, int *ret_channel)
{
    _cleanup_strv_ char **argv = strv_copy(NULL);
    _cleanup_close_ int asks = -EBADF, ours = -EBADF, theirs = -EBADF;
    int ends[2];
    pid_t pid;
    int r = open_upstream(upstream, &asks);
    if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        r = -errno;
    if (r < 0)
        return r;
    ours = ends[0];
    theirs = ends[1];
    strv_add(&argv, "proa-names");
    strv_add(&argv, "relay");
    for (size_t i = 0; i < c->n_addresses; i++)
        strv_add(&argv, policy_address_text(c->addresses[i]).s);
    const struct process_fd fds[] = {{NAMES_UDP, NAMES_UDP},
                                     {NAMES_TCP, NAMES_TCP},
                                     {theirs, RELAY_KEEPER},
                                     {asks, RELAY_UPSTREAM}};
    struct process_spec spec = {
        .path = "/proc/self/exe", .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    r = process_start(&spec, &pid, NULL);
    if (r == 0)
        *ret_channel = TAKE_FD(ours);
    return r;
}

/* A user of its own, and of all capabilities the one over the network. */
static int keep_one_capability(void)
{
    const uint64_t one = 1ull << CAP_NET_ADMIN;
    int r = caps_bound(one);
    if (r == 0 && (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
                   setresgid(NAMES_KEEPER_UID, NAMES_KEEPER_UID, NAMES_KEEPER_UID) < 0 ||
                   setresuid(NAMES_KEEPER_UID, NAMES_KEEPER_UID, NAMES_KEEPER_UID) < 0))
        r = -errno;
    if (r == 0)
        r = caps_set(one, one, 0);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    return r;
}

/* The one kind of socket that it opens is a connection to dnsmasq. */
static int allow_connections(void *filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                            SCMP_A0(SCMP_CMP_EQ, AF_INET));
}

static int give_up_most(void)
{
    static const int allowed[] = {
        SCMP_SYS(read),          SCMP_SYS(write),        SCMP_SYS(close),
        SCMP_SYS(poll),          SCMP_SYS(recvfrom),     SCMP_SYS(recvmsg),
        SCMP_SYS(sendto),        SCMP_SYS(sendmsg),      SCMP_SYS(setsockopt),
        SCMP_SYS(connect),       SCMP_SYS(brk),          SCMP_SYS(munmap),
        SCMP_SYS(mremap),        SCMP_SYS(madvise),      SCMP_SYS(exit_group),
        SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall)};
    static const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .stays = true,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
        .conditions = allow_connections,
    };
    struct error err = ERROR_INIT;
    return confine_enter(&job, &err);
}

static int run_keeper(const char *upstream)
{
    _cleanup_buf_ struct buf text = BUF_INIT(NAMES_CONFIG_MAX);
    struct names_config config;
    struct keeper *keeper;
    int channel = -EBADF;
    int r = fd_read_to_end(NAMES_CONFIG, &text);
    if (r == 0)
        r = text.data ? names_config_parse(text.data, &config) : -EINVAL;
    if (r == 0)
        r = keeper_new(&config, upstream, &keeper);
    if (r == 0)
        r = start_relay(&config, upstream, &channel);
    close(NAMES_UDP);
    close(NAMES_TCP);
    close(NAMES_CONFIG);
    if (r == 0)
        r = keep_one_capability();
    if (r == 0)
        r = give_up_most();
    return r < 0 || keeper_serve(keeper, channel) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "relay") == 0)
        return run_relay(argv + 2);
    if (argc != 3 || geteuid() != 0)
        return 2;
    return run_keeper(argv[2]);
}
