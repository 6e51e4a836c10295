#include "kernel/tap_filter.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/ns.h"

/* Where things are in a frame. */
#define AT_TYPE     12
#define AT_IP       14
#define AT_FRAGMENT 20
#define AT_PROTOCOL 23
#define AT_SOURCE   26
#define AT_TARGET   30
#define AT_PORT     (AT_IP + 2) /* with the length of IP's header: the target's */
#define AT_FLAGS    (AT_IP + 13)

#define FRAGMENT       0x3fff /* more follow, or it is a later one */
#define LATER_FRAGMENT 0x1fff
#define TCP_SYN        0x02
#define TCP_ACK        0x10
#define PASS           UINT32_MAX
#define DNS_PORT       53
#define TUN            "/dev/net/tun"

static const struct {
    uint32_t network, mask;
} nowhere[] = {
    {0x00000000, 0xff000000}, /* connecting to 0.0.0.0 leads to the loopback */
    {0x7f000000, 0xff000000}, {0xa9fe0000, 0xffff0000}, /* clouds' metadata among them */
    {0xe0000000, 0xf0000000}, {0xffffffff, 0xffffffff},
};

struct program {
    struct sock_filter *code;
    size_t n;
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t when, uint8_t otherwise)
{
    p->code[p->n++] = (struct sock_filter){code, when, otherwise, k};
}

static void load(struct program *p, uint16_t size, uint32_t at)
{
    add(p, BPF_LD | BPF_ABS | size, at, 0, 0);
}

static void end(struct program *p, uint32_t result)
{
    add(p, BPF_RET | BPF_K, result, 0, 0);
}

static void end_when(struct program *p, uint32_t is, uint32_t result)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, is, 0, 1);
    end(p, result);
}

static void end_unless(struct program *p, uint32_t is, uint32_t result)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, is, 1, 0);
    end(p, result);
}

/* A question for a name: UDP or TCP to port 53, in one piece. */
static void only_names(struct program *p)
{
    load(p, BPF_H, AT_FRAGMENT);
    add(p, BPF_JMP | BPF_JSET | BPF_K, FRAGMENT, 0, 1);
    end(p, 0);
    load(p, BPF_B, AT_PROTOCOL);
    add(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 2, 0);
    end_unless(p, IPPROTO_TCP, 0);
    add(p, BPF_LDX | BPF_MSH | BPF_B, AT_IP, 0, 0);
    add(p, BPF_LD | BPF_IND | BPF_H, AT_PORT, 0, 0);
    end_unless(p, DNS_PORT, 0);
    end(p, PASS);
}

/* TCP of a connection that the other side has begun, as one to a published port: anything but the
 * packet that begins one. UDP has nothing that tells an answer. */
static void only_answers(struct program *p)
{
    load(p, BPF_H, AT_FRAGMENT);
    add(p, BPF_JMP | BPF_JSET | BPF_K, LATER_FRAGMENT, 0, 1);
    end(p, 0);
    load(p, BPF_B, AT_PROTOCOL);
    end_unless(p, IPPROTO_TCP, 0);
    add(p, BPF_LDX | BPF_MSH | BPF_B, AT_IP, 0, 0);
    add(p, BPF_LD | BPF_IND | BPF_B, AT_FLAGS, 0, 0);
    add(p, BPF_ALU | BPF_AND | BPF_K, TCP_SYN | TCP_ACK, 0, 0);
    end_when(p, TCP_SYN, 0);
    end(p, PASS);
}

size_t tap_filter_make(const struct tap_filter *f, struct sock_filter code[static TAP_FILTER_MAX])
{
    struct program p = {code, 0};
    load(&p, BPF_H, AT_TYPE);
    end_when(&p, ETH_P_ARP, PASS);
    end_unless(&p, ETH_P_IP, 0);
    load(&p, BPF_W, AT_SOURCE);
    end_unless(&p, ntohl(f->address.s_addr), 0);
    for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
        load(&p, BPF_W, AT_TARGET);
        add(&p, BPF_ALU | BPF_AND | BPF_K, nowhere[i].mask, 0, 0);
        end_when(&p, nowhere[i].network, 0);
    }
    load(&p, BPF_W, AT_TARGET);
    size_t first = p.n, hosts = MIN(f->n_hosts, (size_t)TAP_HOSTS_MAX);
    for (size_t i = 0; i < hosts; i++)
        add(&p, BPF_JMP | BPF_JEQ | BPF_K, ntohl(f->hosts[i].s_addr), 0, 0);
    end_unless(&p, ntohl(f->gateway.s_addr), PASS);
    only_names(&p);
    for (size_t i = 0; i < hosts; i++) /* to what follows here */
        p.code[first + i].jt = (uint8_t)(p.n - (first + i) - 1);
    only_answers(&p);
    return p.n;
}

int tap_filter_hosts(struct tap_filter *f, struct error *err)
{
    struct ifaddrs *list;
    if (getifaddrs(&list) < 0)
        return error_errno(err, errno, "list the addresses of this host");
    f->n_hosts = 0;
    for (struct ifaddrs *a = list; a && f->n_hosts < TAP_HOSTS_MAX; a = a->ifa_next) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a->ifa_addr;
        if (in && in->sin_family == AF_INET)
            f->hosts[f->n_hosts++] = in->sin_addr;
    }
    freeifaddrs(list);
    return 0;
}

/* 1 when it was one. */
static int attach_to(int pidfd, int number, const struct sock_fprog *program)
{
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    struct ifreq request;
    if (fd < 0)
        return -errno;
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return 0;
    return ioctl(fd, TUNATTACHFILTER, program) < 0 ? -errno : 1;
}

int tap_filter_attach(pid_t pid, const struct tap_filter *f, struct error *err)
{
    struct sock_filter code[TAP_FILTER_MAX];
    struct sock_fprog program = {.filter = code};
    _cleanup_free_ char *path = xasprintf("/proc/%d/fd", (int)pid);
    _cleanup_strv_ char **numbers = NULL;
    uint32_t number;
    int r = 0, n = 0;
    program.len = (unsigned short)tap_filter_make(f, code);
    _cleanup_close_ int pidfd = ns_pidfd(pid);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pidfd < 0 || dir < 0 || (r = path_list_names(dir, &numbers)) < 0)
        return error_errno(err, pidfd < 0 ? pidfd : dir < 0 ? -errno : r, "read %s", path);
    for (size_t i = 0; r >= 0 && numbers[i]; i++) {
        char target[32];
        ssize_t len = readlinkat(dir, numbers[i], target, sizeof(target));
        if (len == (ssize_t)strlen(TUN) && memcmp(target, TUN, strlen(TUN)) == 0 &&
            parse_u32(numbers[i], &number) == 0 &&
            (r = attach_to(pidfd, (int)number, &program)) > 0)
            n++;
    }
    if (r < 0)
        return error_errno(err, r, "filter the tap of process %d", (int)pid);
    return n > 0 ? 0 : error_set(err, ERROR_SYSTEM, ENODEV, "process %d serves no tap", (int)pid);
}
