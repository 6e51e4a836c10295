/*
 * proa-lease DIRECTORY MAC [MARK]: answers guests of one bridge that ask for their address.
 *
 * Descriptor 3 is a packet socket of the bridge, through which only DHCP, DHCPv6 and router
 * solicitations come (kernel/packet.h). DIRECTORY has a file for each machine, named by its
 * hardware address; MAC is the bridge's. Started without privilege, it gives up every path but
 * those of DIRECTORY and every system call but a few before it reads the first frame. What it
 * could still do when it is taken over: send frames to this bridge, and read these files.
 *
 * The bridge table has seen to it that a frame's source is the sender's own, so that one file says
 * it all. Every few minutes each machine with IPv6 hears of its router again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/text.h"
#include "wire/confine/confine.h"
#include "wire/lease/lease.h"

enum { SOCKET = 3 };
#define AGAIN_MS 300000

static bool find_place(int dir, const char *name, struct lease_place *ret)
{
    char text[LEASE_PLACE_MAX];
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : fd_read_full(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return lease_place_parse(text, ret) == 0;
}

static void answer(int dir, const uint8_t server[6], const uint8_t *frame, size_t len)
{
    uint8_t mac[6], out[LEASE_FRAME_MAX];
    char name[18];
    struct lease_place place;
    if (!lease_question(frame, len, mac))
        return;
    snprintf(name, sizeof(name), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    size_t n = find_place(dir, name, &place) ? lease_answer(server, &place, frame, len, out) : 0;
    if (n > 0) /* one that is lost is asked for again */
        (void)!send(SOCKET, out, n, MSG_DONTWAIT);
}

static void advertise_all(int dir, const uint8_t server[6])
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    while (list && (entry = readdir(list))) {
        uint8_t mac[6], out[LEASE_FRAME_MAX];
        struct lease_place place;
        if (lease_mac_parse(entry->d_name, mac) < 0 || !find_place(dir, entry->d_name, &place))
            continue;
        size_t n = lease_advertise(server, &place, mac, out);
        if (n > 0)
            (void)!send(SOCKET, out, n, MSG_DONTWAIT);
    }
    if (list)
        closedir(list);
}

static int serve(int dir, const uint8_t server[6])
{
    int64_t again = time_monotonic_ms() + AGAIN_MS;
    for (;;) {
        uint8_t frame[LEASE_FRAME_MAX + 1];
        struct pollfd p = {.fd = SOCKET, .events = POLLIN};
        int64_t left = again - time_monotonic_ms();
        if (left <= 0) {
            advertise_all(dir, server);
            again = time_monotonic_ms() + AGAIN_MS;
            continue;
        }
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        ssize_t n = recv(SOCKET, frame, sizeof(frame), MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN)
            return -errno; /* the bridge has gone */
        if (n > 0)
            answer(dir, server, frame, (size_t)n);
    }
}

/* --- what it cannot do --- */

static int allow_directory(int ruleset, const void *dir)
{
    return unprivileged_allow_fd(ruleset, *(const int *)dir,
                                 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
}

static int give_up(const int *dir)
{
    static const struct confine_limit limits[] = {{RLIMIT_NOFILE, 16}, {RLIMIT_AS, 256u << 20}};
    static const int allowed[] = {
        SCMP_SYS(openat),        SCMP_SYS(read),         SCMP_SYS(close),
        SCMP_SYS(poll),          SCMP_SYS(recvfrom),     SCMP_SYS(sendto),
        SCMP_SYS(getdents64),    SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
        SCMP_SYS(fcntl),         SCMP_SYS(brk),          SCMP_SYS(munmap),
        SCMP_SYS(mremap),        SCMP_SYS(lseek),        SCMP_SYS(exit_group),
        SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall)};
    const struct confine_job job = {
        .limits = limits,
        .n_limits = ARRAY_SIZE(limits),
        .stays = true,
        .paths = allow_directory,
        .context = dir,
        .others = CONFINE_END,
        .allowed = allowed,
        .n_allowed = ARRAY_SIZE(allowed),
    };
    struct error err = ERROR_INIT;
    return confine_enter(&job, &err);
}

int main(int argc, char **argv)
{
    uint8_t server[6];
    if (argc < 3 || lease_mac_parse(argv[2], server) < 0 || geteuid() == 0)
        return 2;
    int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || give_up(&dir) < 0)
        return 1;
    return serve(dir, server) < 0 ? 1 : 0;
}
