/*
 * The network service against the real kernel, nftables and dnsmasq, in namespaces of its own: the
 * "host" is a fresh network namespace with a tmpfs on /run, joined by a veth pair to an "outside".
 * Instances are namespaces in which small servers and clients run. Ends with 77 (skipped) when it
 * is not root. Prints one line per check; the exit status says whether all held.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/program.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "service/network/network.h"
#include "service/store/store.h"

#define HOST_ADDRESS    "192.0.2.1"
#define OUTSIDE_ADDRESS "192.0.2.9"

static int failures;
static struct error err;
static struct store *store;
static char root[] = "/tmp/proa-network-XXXXXX";
static int outside = -EBADF;

static void check(bool good, const char *fmt, ...) _printf_(2, 3);
static void check(bool good, const char *fmt, ...)
{
    va_list ap;
    printf("%s ", good ? "ok  " : "FAIL");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    if (!good && err.code)
        printf(" (%s)", err.msg);
    printf("\n");
    failures += !good;
    error_clear(&err);
}

static void demand(bool good, const char *what)
{
    check(good, "%s", what);
    if (!good)
        exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* --- running things in namespaces --- */

static pid_t spawn(int namespace, const char *command)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (namespace >= 0 && setns(namespace, CLONE_NEWNET) < 0)
        _exit(126);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(126);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static int run(int namespace, const char *fmt, ...) _printf_(2, 3);
static int run(int namespace, const char *fmt, ...)
{
    char command[1024];
    int status;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    pid_t pid = spawn(namespace, command);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Everything a test expects soon is tried for up to 20 seconds: nslookup asks again after five. */
static bool soon(int namespace, const char *command)
{
    double end = now_ms() + 20000;
    while (run(namespace, "%s", command) != 0) {
        if (now_ms() > end)
            return false;
        usleep(20000);
    }
    return true;
}

static bool fetch(int namespace, const char *address, int port, const char *wanted)
{
    return run(namespace, "test \"$(socat -T1 - TCP:%s:%d,connect-timeout=1 </dev/null)\" = \"%s\"",
               address, port, wanted) == 0;
}

static bool resolves(int namespace, struct in_addr server, const char *name, struct in_addr a)
{
    char server_text[INET_ADDRSTRLEN], text[INET_ADDRSTRLEN], command[256];
    inet_ntop(AF_INET, &server, server_text, sizeof(server_text));
    inet_ntop(AF_INET, &a, text, sizeof(text));
    snprintf(command, sizeof(command),
             "busybox nslookup %s %s | tail -n +3 | grep -qF 'Address: %s'", name, server_text,
             text);
    return soon(namespace, command);
}

/* --- instances --- */

struct instance {
    char id[65];
    struct network_port port;
    pid_t server;
};

static struct instance instance_named(const char *name, const char *network, const char *publish)
{
    struct instance i = {.server = 0};
    struct network_publish *list = NULL;
    size_t n = 0;
    char *const aliases[] = {(char *)"alias-of-web", NULL};
    random_hex(i.id, 32);
    if (publish && network_publish_parse(publish, &list, &n, &err) < 0)
        check(false, "parse %s", publish);
    struct network_request q = {
        .instance_id = i.id,
        .instance_name = name,
        .hostname = "host-of-it",
        .aliases = strcmp(name, "web") == 0 ? aliases : NULL,
        .network = network,
        .publish = list,
        .n_publish = n,
    };
    double start = now_ms();
    int r = network_attach(store, &q, &i.port, &err);
    double took = now_ms() - start;
    free(list);
    check(r == 0, "attach %s to %s in %.2f ms", name, network, took);
    if (r < 0)
        exit(1);
    char command[128];
    snprintf(command, sizeof(command), "exec socat TCP-LISTEN:80,fork,reuseaddr EXEC:'echo %s'",
             name);
    i.server = spawn(i.port.fd, command);
    soon(i.port.fd, "socat -u /dev/null TCP:127.0.0.1:80");
    return i;
}

static void instance_end(struct instance *i)
{
    kill(i->server, SIGKILL);
    waitpid(i->server, NULL, 0);
    network_port_done(&i->port);
    double start = now_ms();
    int r = network_detach(store, i->id, &err);
    check(r == 0, "detach in %.2f ms", now_ms() - start);
    check(network_release(store, i->id, &err) == 0, "release");
}

static bool nobody(_unused_ void *context, _unused_ const char *id)
{
    return false;
}

static bool everybody(_unused_ void *context, _unused_ const char *id)
{
    return true;
}

/* --- the stage --- */

static void make_stage(void)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    demand(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "namespaces of our own");
    demand(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
    demand(mount("run", "/run", "tmpfs", 0, "mode=755") == 0, "a tmpfs on /run");
    demand(netns_create(&outside, &nl, &err) == 0, "an outside namespace");
    demand(run(-1,
               "ip link set lo up && ip link add wan0 type veth peer name wan1 &&"
               " ip link set wan1 netns /proc/%d/fd/%d && ip addr add %s/24 dev wan0 &&"
               " ip link set wan0 up",
               (int)getpid(), outside, HOST_ADDRESS) == 0,
           "a wire to it");
    demand(run(outside, "ip addr add %s/24 dev wan1 && ip link set wan1 up", OUTSIDE_ADDRESS) == 0,
           "its address");
    demand(mkdtemp(root) != NULL, "a root");
    demand(store_open(root, &store, &err) == 0, "a store");
}

static void check_names(struct instance *web, struct instance *other)
{
    char short_id[13], reverse[160], dns[INET_ADDRSTRLEN], a[INET_ADDRSTRLEN];
    snprintf(short_id, sizeof(short_id), "%.12s", web->id);
    struct in_addr server = other->port.gateway, address = web->port.address;
    check(resolves(other->port.fd, server, "web", address), "the name resolves");
    check(resolves(other->port.fd, server, "alias-of-web", address), "the alias resolves");
    check(resolves(other->port.fd, server, short_id, address), "the short id resolves");
    check(resolves(other->port.fd, server, "host-of-it", address), "the host name resolves");
    inet_ntop(AF_INET, &server, dns, sizeof(dns));
    inet_ntop(AF_INET, &address, a, sizeof(a));
    snprintf(reverse, sizeof(reverse), "busybox nslookup %s %s | grep -q 'name = web'", a, dns);
    check(soon(other->port.fd, reverse), "the address resolves back");
    check(run(other->port.fd, "busybox nslookup nobody %s", dns) != 0, "an unknown name does not");
    check(network_rename(store, web->id, "web2", &err) == 0, "rename");
    check(resolves(other->port.fd, server, "web2", address), "the new name resolves");
    snprintf(reverse, sizeof(reverse), "! busybox nslookup web %s", dns);
    check(soon(other->port.fd, reverse), "the old name does not");
    check(run(outside, "ip route add default via " HOST_ADDRESS) == 0, "a route from outside");
    check(run(outside, "timeout 2 busybox nslookup web2 %s", dns) != 0,
          "the outside may not ask for names at port 53");
    check(run(outside, "timeout 2 socat -u /dev/null TCP:%s:10053,connect-timeout=1", dns) != 0,
          "nor at dnsmasq's own port");
}

/* Of the default network; this root is not the default one, so its name is the network's own. */
static const char *default_bridge(void)
{
    static char name[IFNAMSIZ];
    _cleanup_network_ struct network *n = NULL;
    if (!*name && network_find(store, NETWORK_DEFAULT, &n, &err) == 0)
        snprintf(name, sizeof(name), "%s", n->bridge);
    return name;
}

static void check_reach(struct instance *web, struct instance *other)
{
    char a[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &web->port.address, a, sizeof(a));
    inet_ntop(AF_INET, &web->port.gateway, gateway, sizeof(gateway));
    check(run(other->port.fd, "busybox ping -c1 -W1 %s", a) == 0, "ping each other");
    check(fetch(other->port.fd, a, 80, "web"), "fetch from each other");
    check(fetch(-1, a, 80, "web"), "the host fetches by address");
    check(fetch(-1, "127.0.0.1", 8080, "web"), "published: 127.0.0.1 on the host");
    check(fetch(-1, HOST_ADDRESS, 8080, "web"), "published: the host's address on the host");
    check(fetch(outside, HOST_ADDRESS, 8080, "web"), "published: from outside");
    check(fetch(other->port.fd, HOST_ADDRESS, 8080, "web"), "published: from another instance");
    check(fetch(web->port.fd, HOST_ADDRESS, 8080, "web"), "published: from itself");
    check(fetch(web->port.fd, gateway, 8080, "web"), "published: at the gateway");
    check(!fetch(outside, a, 80, "web"), "not published: from outside, routed to the instance");
    check(fetch(-1, "127.0.0.1", 8081, "other"), "published on 127.0.0.1 only: by the host");
    check(!fetch(outside, HOST_ADDRESS, 8081, "other"), "but not from outside by address");
    check(run(outside, "sysctl -qw net.ipv4.conf.all.route_localnet=1 &&"
                       " ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via " HOST_ADDRESS
                       " dev wan1") == 0 &&
              !fetch(outside, "127.0.0.1", 8081, "other"),
          "nor with 127.0.0.1 as the destination on the wire");
    pid_t server = spawn(outside, "exec socat TCP-LISTEN:7000,fork,reuseaddr "
                                  "SYSTEM:'echo $SOCAT_PEERADDR'");
    soon(outside, "socat -u /dev/null TCP:" OUTSIDE_ADDRESS ":7000");
    check(fetch(web->port.fd, OUTSIDE_ADDRESS, 7000, HOST_ADDRESS), "the way out, masqueraded");
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    check(run(web->port.fd, "ip -6 addr show dev eth0 | grep -q inet6") != 0, "no IPv6 address");
    check(run(-1, "ip link show dev %1$s && ! ip -6 addr show dev %1$s | grep -q inet6",
              default_bridge()) == 0,
          "none on the bridge");
    check(run(web->port.fd, "ip route | grep -q ^default") == 0, "a default route");
}

static void check_spoofing(struct instance *web, struct instance *other)
{
    char a[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &web->port.address, a, sizeof(a));
    run(other->port.fd, "ip addr add 10.78.99.99/16 dev eth0");
    check(run(other->port.fd, "busybox ping -I 10.78.99.99 -c1 -W1 %s", a) != 0,
          "another address than its own gets nowhere");
    run(other->port.fd, "ip addr del 10.78.99.99/16 dev eth0");
    check(run(other->port.fd, "busybox ping -c1 -W1 %s", a) == 0, "its own does");
    run(other->port.fd, "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99;"
                        " ip link set eth0 up");
    check(run(other->port.fd, "busybox ping -c1 -W1 %s", a) != 0, "nor another hardware address");
    run(other->port.fd, "ip link set eth0 address %s", other->port.mac);
    check(run(other->port.fd, "busybox ping -c1 -W1 %s", a) == 0, "its own does again");
}

static void check_isolation(struct instance *web)
{
    struct network *net = NULL, *inner = NULL;
    char a[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
    struct network_options second = {.name = "second"},
                           internal = {.name = "inner", .internal = true};
    check(network_create(store, &second, &net, &err) == 0, "create a second network");
    check(network_create(store, &internal, &inner, &err) == 0, "create an internal network");
    struct instance far = instance_named("far", "second", NULL);
    struct instance in = instance_named("in", "inner", NULL);
    struct instance in2 = instance_named("in2", "inner", NULL);
    inet_ntop(AF_INET, &web->port.address, a, sizeof(a));
    check(!fetch(far.port.fd, a, 80, "web"), "networks are apart");
    check(run(far.port.fd, "busybox ping -c1 -W1 %s", a) != 0, "ping included");
    check(fetch(far.port.fd, HOST_ADDRESS, 8080, "web"), "a published port is for all");
    inet_ntop(AF_INET, &web->port.gateway, gateway, sizeof(gateway));
    check(run(far.port.fd, "timeout 2 busybox nslookup web2 %s", gateway) != 0,
          "nobody asks another network's names");
    inet_ntop(AF_INET, &in2.port.address, a, sizeof(a));
    check(fetch(in.port.fd, a, 80, "in2"), "inside the internal network all is well");
    check(resolves(in.port.fd, in.port.gateway, "in2", in2.port.address), "names too");
    inet_ntop(AF_INET, &in.port.gateway, gateway, sizeof(gateway));
    run(in.port.fd, "ip route add default via %s", gateway);
    check(run(in.port.fd, "busybox ping -c1 -W1 " OUTSIDE_ADDRESS) != 0, "but there is no way out");
    check(!fetch(in.port.fd, HOST_ADDRESS, 8080, "web"), "not even to published ports");
    struct network_publish p = {.port = 80, .protocol = IPPROTO_TCP};
    struct network_request q = {.instance_id = web->id,
                                .instance_name = "x",
                                .network = "inner",
                                .publish = &p,
                                .n_publish = 1};
    struct network_port port;
    check(network_attach(store, &q, &port, &err) == -EINVAL, "no publishing: %s", err.msg);
    check(network_remove(store, "inner", &err) == -EBUSY, "a used one stays: %s", err.msg);
    instance_end(&far);
    instance_end(&in);
    instance_end(&in2);
    check(network_remove(store, "inner", &err) == 0, "remove the internal network");
    check(network_remove(store, net->id, &err) == 0, "remove the second, by id");
    network_free(net);
    network_free(inner);
}

static void check_ports(struct instance *web)
{
    struct network_publish p = {.host_port = 8080, .port = 80, .protocol = IPPROTO_TCP};
    char id[65];
    random_hex(id, 32);
    struct network_request q = {.instance_id = id,
                                .instance_name = "late",
                                .network = "proa",
                                .publish = &p,
                                .n_publish = 1};
    struct network_port port;
    check(network_attach(store, &q, &port, &err) == -EADDRINUSE, "taken: %s", err.msg);
    check(web->port.n_hold_fds == 1 && web->port.publish[0].host_port == 8080, "a socket held");
    p.host_port = 0;
    check(network_attach(store, &q, &port, &err) == 0 && port.publish[0].host_port != 0,
          "a free port is chosen");
    q.machine = true;
    q.n_publish = 0;
    network_port_done(&port);
    check(network_attach(store, &q, &port, &err) == 0, "a machine's tap");
    check(run(-1, "ip link show master %s | grep -q %s", default_bridge(), port.link) == 0,
          "on the bridge");
    network_port_done(&port);
    check(run(-1, "ip link show %s", port.link) != 0, "gone with its descriptor");
    check(network_repair(store, everybody, NULL, &err) == 0, "repair finds nothing to do");
    check(network_release(store, id, &err) == 0, "release");
}

static void check_repair(struct instance *web, struct instance *other)
{
    check(run(-1, "nft flush ruleset") == 0, "somebody flushes the ruleset");
    check(network_repair(store, everybody, NULL, &err) == 0, "repair");
    check(fetch(-1, "127.0.0.1", 8080, "web") && !fetch(outside, HOST_ADDRESS, 8081, "other"),
          "the rules are back");
    check(run(-1, "kill -9 $(cat %s/networks/proa/dnsmasq.pid)", store->run) == 0,
          "dnsmasq is killed");
    struct instance third = instance_named("third", "proa", NULL);
    check(resolves(other->port.fd, other->port.gateway, "web2", web->port.address),
          "names are back with the next attach");
    kill(third.server, SIGKILL);
    waitpid(third.server, NULL, 0);
    network_port_done(&third.port); /* as if its monitor and its command had been killed */
    check(network_repair(store, nobody, NULL, &err) == 0, "repair after a kill");
    check(run(-1, "ip link show %s", third.port.link) != 0, "its link is gone");
    check(network_release(store, third.id, &err) == 0, "release");
}

static void measure(void)
{
    double total = 0, worst = 0, detach = 0;
    enum { N = 20 };
    for (int i = 0; i < N; i++) {
        char id[65];
        struct network_port port;
        random_hex(id, 32);
        struct network_request q = {.instance_id = id, .instance_name = "m", .network = "proa"};
        double start = now_ms();
        int r = network_attach(store, &q, &port, &err);
        double took = now_ms() - start;
        total += took;
        worst = MAX(worst, took);
        if (r == 0)
            network_port_done(&port);
        start = now_ms();
        r |= network_release(store, id, &err);
        detach += now_ms() - start;
        if (r < 0)
            check(false, "attach and release");
        usleep(50000); /* the kernel takes the last namespace apart meanwhile */
    }
    check(total / N < 50, "attach %.2f ms on average, %.2f ms at worst; release %.2f ms", total / N,
          worst, detach / N);
}

/* A flow that began before the port was published, from one socket all the time. */
static void check_udp(void)
{
    struct network_publish p = {.host_port = 5353, .port = 5354, .protocol = IPPROTO_UDP};
    char id[65], answer[8] = "";
    struct network_port port;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(5353)};
    inet_pton(AF_INET, HOST_ADDRESS, &to.sin_addr);
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    demand(setns(outside, CLONE_NEWNET) == 0, "go outside");
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    demand(setns(own, CLONE_NEWNET) == 0, "and back");
    close(own);
    random_hex(id, 32);
    struct network_request q = {.instance_id = id,
                                .instance_name = "udp",
                                .network = "proa",
                                .publish = &p,
                                .n_publish = 1};
    for (int round = 0; round < 2; round++) {
        check(sendto(fd, "early", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5, "send too early");
        (void)!recv(fd, answer, sizeof(answer), MSG_DONTWAIT); /* the refusal */
        check(network_attach(store, &q, &port, &err) == 0, "publish a UDP port");
        pid_t server = spawn(port.fd, "exec socat UDP-RECVFROM:5354,fork EXEC:cat");
        usleep(300000);
        struct timeval patience = {.tv_sec = 2};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        memset(answer, 0, sizeof(answer));
        check(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5 &&
                  recv(fd, answer, sizeof(answer), 0) == 5 && memcmp(answer, "hello", 5) == 0,
              "the same socket is answered by the instance");
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        network_port_done(&port);
        check(network_detach(store, id, &err) == 0, "detach");
    }
    check(network_release(store, id, &err) == 0, "release");
}

/* --- many at once, and some killed in the middle --- */

/* One command: attaches n times, keeps what it got open, releases it. */
static _noreturn_ void busy_child(unsigned int n, bool release)
{
    struct error why = ERROR_INIT;
    struct network_port port;
    struct store *own;
    int r = store_open(root, &own, &why);
    for (unsigned int i = 0; r == 0 && i < n; i++) {
        char id[65];
        random_hex(id, 32);
        struct network_publish p = {.port = 80, .protocol = i % 2 ? IPPROTO_UDP : IPPROTO_TCP};
        struct network_request q = {.instance_id = id,
                                    .instance_name = "crowd",
                                    .network = i % 3 ? "proa" : "crowded",
                                    .machine = i % 4 == 3,
                                    .publish = &p,
                                    .n_publish = i % 5 == 0};
        r = network_attach(own, &q, &port, &why);
        if (r == 0 && release) {
            network_port_done(&port);
            r = network_release(own, id, &why);
        }
    }
    if (r < 0)
        fprintf(stderr, "%s\n", why.msg);
    _exit(r < 0);
}

static void check_crowd(void)
{
    enum { COMMANDS = 8, EACH = 6 };
    struct network *net = NULL;
    struct network_options o = {.name = "crowded"};
    pid_t pids[COMMANDS];
    int failed = 0, status;
    check(network_create(store, &o, &net, &err) == 0, "create a network for a crowd");
    network_free(net);
    double start = now_ms();
    for (int i = 0; i < COMMANDS; i++)
        if ((pids[i] = fork()) == 0)
            busy_child(EACH, true);
    for (int i = 0; i < COMMANDS; i++) {
        waitpid(pids[i], &status, 0);
        failed += status != 0;
    }
    check(failed == 0, "%d attaches by %d commands at once in %.0f ms", COMMANDS * EACH, COMMANDS,
          now_ms() - start);
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0)
            busy_child(4, i % 2);
        usleep((useconds_t)(i * 700));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    check(network_repair(store, nobody, NULL, &err) == 0, "repair after 40 kills");
    struct network_member *left;
    check(network_members(store, "proa", &left, &err) == 0, "members");
    for (struct network_member *m = left; m->instance_id; m++)
        failed |= network_release(store, m->instance_id, &err);
    network_members_free(left);
    check(network_members(store, "crowded", &left, &err) == 0, "members");
    for (struct network_member *m = left; m->instance_id; m++)
        failed |= network_release(store, m->instance_id, &err);
    network_members_free(left);
    check(failed == 0, "release what the killed ones had");
    check(run(-1,
              "nft list map inet %1$s published_any && ! nft list map inet %1$s published_any |"
              " grep -q elements",
              store_table(store, "proa").name) == 0,
          "no published port left");
    check(run(-1, "ip -o link | grep proav") != 0, "no link left");
    check(run(-1, "test -z \"$(find /run/proa-names/*/hosts -type f)\"") == 0, "no name left");
    check(network_remove(store, "crowded", &err) == 0, "remove the network");
}

static void check_nothing_left(void)
{
    check(network_repair(store, nobody, NULL, &err) == 0, "final repair");
    check(network_down_idle(store, nobody, NULL, &err) == 0, "everything down");
    check(soon(-1, "! ip -o link | grep proa"), "no links left");
    check(run(-1, "test -z \"$(nft list ruleset)\"") == 0, "no rules left");
    check(run(-1, "ps -o args= --ppid %d | grep '^dnsmasq'", (int)getpid()) != 0,
          "no dnsmasq left");
    check(run(-1, "test ! -e /run/proa-names") == 0, "no name files left");
}

int main(int argc, char **argv)
{
    program_set_directory(argc > 1 ? argv[1] : NULL); /* where its helper programs are */
    if (geteuid() != 0) {
        printf("skipped: needs root\n");
        return 77;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_stage();
    struct instance web = instance_named("web", "proa", "8080:80");
    struct instance other = instance_named("other", "proa", "127.0.0.1:8081:80");
    check_names(&web, &other);
    check_reach(&web, &other);
    check_spoofing(&web, &other);
    check_isolation(&web);
    check_ports(&web);
    check_udp();
    measure();
    check_repair(&web, &other);
    instance_end(&web);
    instance_end(&other);
    check_crowd();
    check_nothing_left();
    store_close(store);
    check(path_remove_tree(AT_FDCWD, root) == 0, "clean up");
    printf("%d failures\n", failures);
    return failures ? 1 : 0;
}
