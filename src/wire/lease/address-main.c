/*
 * proa-address MAC NAME WISH [MARK]: asks the LAN's DHCP for an instance's address, keeps it, and
 * gives it back.
 *
 * Descriptor 3 is a packet socket of the instance's own link, through which only what DHCP servers
 * send comes (kernel/packet.h). 4 is a socket to whoever holds the instance: each time the grant is
 * another one, a line says it (lease_grant_format). When the other end has gone, or on SIGTERM, the
 * address is given back and the program ends: so it lives as long as the instance, whatever ends
 * that. 5, if it is there, is the tap of a machine: what is sent must come out of it as if the
 * machine had sent it.
 *
 * It has no privilege, no path and hardly a system call. Taken over, it could send what the
 * instance itself can send, and propose an address; who sets that looks at it again.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"
#include "base/text.h"
#include "wire/confine/confine.h"
#include "wire/lease/client.h"

enum { SOCKET = 3, REPORT = 4, TAP = 5 };
#define TAP_HEADER_MAX 64

static volatile sig_atomic_t ending;

static void on_end(int signum)
{
    ending = signum;
}

/* --- frames --- */

/* QEMU chooses how long the header before each frame of a tap is. */
static void send_to_tap(const uint8_t *frame, size_t len)
{
    static const uint8_t header[TAP_HEADER_MAX];
    int header_len = 0;
    if (ioctl(TAP, TUNGETVNETHDRSZ, &header_len) < 0 || header_len < 0 ||
        header_len > TAP_HEADER_MAX)
        return;
    struct iovec parts[2] = {{(void *)header, (size_t)header_len}, {(void *)frame, len}};
    (void)!writev(TAP, parts, 2);
}

/* One that is lost is sent again. */
static void send_frame(bool tap, const uint8_t *frame, size_t len)
{
    if (len > 0 && tap)
        send_to_tap(frame, len);
    else if (len > 0)
        (void)!send(SOCKET, frame, len, MSG_DONTWAIT);
}

/* False when the other end has gone. */
static bool report(const struct lease_client *c)
{
    char text[LEASE_GRANT_MAX];
    lease_grant_format(&c->grant, text);
    return send(REPORT, text, strlen(text), MSG_NOSIGNAL) >= 0;
}

/* --- the loop --- */

/* False when the link has gone: nobody can be told any more. */
static bool hear(struct lease_client *c)
{
    uint8_t frame[LEASE_FRAME_MAX + 1];
    ssize_t n = recv(SOCKET, frame, sizeof(frame), MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENETDOWN;
    return !lease_client_hear(c, time_monotonic_ms(), frame, (size_t)n) || report(c);
}

static bool step(struct lease_client *c, bool tap)
{
    uint8_t out[LEASE_FRAME_MAX];
    bool changed;
    size_t len = lease_client_step(c, time_monotonic_ms(), out, &changed);
    send_frame(tap, out, len);
    return !changed || report(c);
}

static void serve(struct lease_client *c, bool tap)
{
    sigset_t none;
    sigemptyset(&none);
    while (!ending && step(c, tap)) {
        struct pollfd fds[2] = {{SOCKET, POLLIN, 0}, {REPORT, POLLIN, 0}};
        int64_t left = MAX(lease_client_due(c) - time_monotonic_ms(), (int64_t)0);
        struct timespec timeout = {left / 1000, left % 1000 * 1000000};
        if (ppoll(fds, 2, &timeout, &none) <= 0)
            continue;
        if (fds[1].revents || (fds[0].revents && !hear(c)))
            break;
    }
}

/* --- what it cannot do --- */

static int only_header_length(void *filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                            SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TUNGETVNETHDRSZ));
}

static int give_up(void)
{
    static const struct confine_limit limits[] = {{RLIMIT_NOFILE, 8}, {RLIMIT_AS, 256u << 20}};
    static const int allowed[] = {SCMP_SYS(ppoll),
                                  SCMP_SYS(recvfrom),
                                  SCMP_SYS(sendto),
                                  SCMP_SYS(writev),
                                  SCMP_SYS(brk),
                                  SCMP_SYS(munmap),
                                  SCMP_SYS(exit_group),
                                  SCMP_SYS(clock_gettime),
                                  SCMP_SYS(rt_sigreturn),
                                  SCMP_SYS(close),
                                  SCMP_SYS(restart_syscall)};
    const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .stays = true,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
        .conditions = only_header_length,
    };
    struct error err = ERROR_INIT;
    return confine_enter(&job, &err);
}

static void block_end(void)
{
    struct sigaction action = {.sa_handler = on_end};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
    uint8_t mac[6], out[LEASE_FRAME_MAX];
    struct in_addr wish;
    uint32_t number;
    struct lease_client client;
    if (argc < 4 || lease_mac_parse(argv[1], mac) < 0 || inet_aton(argv[3], &wish) == 0 ||
        geteuid() == 0 || getrandom(&number, sizeof(number), 0) != sizeof(number))
        return 2;
    bool tap = fcntl(TAP, F_GETFD) >= 0;
    block_end();
    if (give_up() < 0)
        return 1;
    lease_client_begin(&client, mac, strcmp(argv[2], "-") == 0 ? "" : argv[2], wish, number,
                       time_monotonic_ms());
    serve(&client, tap);
    send_frame(tap, out, lease_client_release(&client, out));
    return 0;
}
