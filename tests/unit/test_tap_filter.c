/* kernel/tap_filter: the program as the kernel runs it, on frames that go through a pair of
 * sockets. */
#include "check.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/tap_filter.h"

static struct in_addr address(const char *text)
{
    struct in_addr a;
    assert_int_equal(inet_pton(AF_INET, text, &a), 1);
    return a;
}

struct frame {
    unsigned char bytes[64];
    size_t len;
};

static struct frame ip(const char *from, const char *to, uint8_t protocol, uint16_t port)
{
    struct frame f = {.len = 60};
    struct in_addr a = address(from), b = address(to);
    f.bytes[12] = 0x08;
    f.bytes[14] = 0x45;
    f.bytes[23] = protocol;
    memcpy(f.bytes + 26, &a, 4);
    memcpy(f.bytes + 30, &b, 4);
    f.bytes[36] = (unsigned char)(port >> 8);
    f.bytes[37] = (unsigned char)port;
    return f;
}

static int pair[2];

static bool passes(struct frame f)
{
    char got[64];
    assert_int_equal(send(pair[0], f.bytes, f.len, 0), f.len);
    return recv(pair[1], got, sizeof(got), MSG_DONTWAIT) == (ssize_t)f.len;
}

static int attach(_unused_ void **state)
{
    struct sock_filter code[TAP_FILTER_MAX];
    struct tap_filter f = {.address = address("10.88.0.2"),
                           .gateway = address("10.88.0.1"),
                           .hosts = {address("192.0.2.10"), address("198.51.100.1")},
                           .n_hosts = 2};
    struct sock_fprog program = {.filter = code, .len = (unsigned short)tap_filter_make(&f, code)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    return setsockopt(pair[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static void the_way_out_is_open(_unused_ void **state)
{
    struct frame arp = {.len = 42, .bytes = {[12] = 0x08, [13] = 0x06}};
    assert_true(passes(arp));
    assert_true(passes(ip("10.88.0.2", "203.0.113.7", IPPROTO_TCP, 443)));
    assert_true(passes(ip("10.88.0.2", "192.0.2.11", IPPROTO_UDP, 1)));
    assert_true(passes(ip("10.88.0.2", "8.8.8.8", IPPROTO_ICMP, 0)));
}

static void nothing_leads_to_the_host(_unused_ void **state)
{
    static const char *const targets[] = {"127.0.0.1",   "127.255.255.255", "0.0.0.0",
                                          "0.1.2.3",     "192.0.2.10",      "198.51.100.1",
                                          "169.254.0.1", "169.254.169.254", "224.0.0.251",
                                          "239.1.1.1",   "255.255.255.255"};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct frame begin = ip("10.88.0.2", targets[i], IPPROTO_TCP, 22);
        begin.bytes[47] = 0x02;
        assert_false(passes(begin));
        assert_false(passes(ip("10.88.0.2", targets[i], IPPROTO_UDP, 22)));
    }
}

static void the_host_is_answered(_unused_ void **state)
{
    static const struct {
        unsigned char flags;
        bool passes;
    } cases[] = {{0x02, false}, {0x12, true}, {0x10, true}, {0x04, true}, {0xc2, false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct frame f = ip("10.88.0.2", "198.51.100.1", IPPROTO_TCP, 40000);
        struct frame loopback = ip("10.88.0.2", "127.0.0.1", IPPROTO_TCP, 40000);
        f.bytes[47] = loopback.bytes[47] = cases[i].flags;
        assert_int_equal(passes(f), cases[i].passes);
        assert_false(passes(loopback));
    }
    struct frame later = ip("10.88.0.2", "198.51.100.1", IPPROTO_TCP, 40000);
    later.bytes[21] = 1;
    later.bytes[47] = 0x10;
    assert_false(passes(later));
}

static void nobody_speaks_for_another(_unused_ void **state)
{
    struct frame six = {.len = 60, .bytes = {[12] = 0x86, [13] = 0xdd}};
    struct frame tagged = {.len = 60, .bytes = {[12] = 0x81, [16] = 0x08}};
    assert_false(passes(ip("10.88.0.3", "203.0.113.7", IPPROTO_TCP, 443)));
    assert_false(passes(ip("127.0.0.1", "203.0.113.7", IPPROTO_TCP, 443)));
    assert_false(passes(six));
    assert_false(passes(tagged));
}

static void the_gateway_answers_for_names_only(_unused_ void **state)
{
    struct frame later = ip("10.88.0.2", "10.88.0.1", IPPROTO_UDP, 53);
    struct frame options = ip("10.88.0.2", "10.88.0.1", IPPROTO_UDP, 0);
    later.bytes[21] = 1;
    options.bytes[14] = 0x46; /* four bytes of options: the port stands behind them */
    options.bytes[41] = 53;
    assert_true(passes(ip("10.88.0.2", "10.88.0.1", IPPROTO_UDP, 53)));
    assert_true(passes(ip("10.88.0.2", "10.88.0.1", IPPROTO_TCP, 53)));
    assert_true(passes(options));
    assert_false(passes(later));
    assert_false(passes(ip("10.88.0.2", "10.88.0.1", IPPROTO_TCP, 22)));
    assert_false(passes(ip("10.88.0.2", "10.88.0.1", IPPROTO_ICMP, 53)));
}

static void what_is_cut_off_is_dropped(_unused_ void **state)
{
    struct frame f = ip("10.88.0.2", "203.0.113.7", IPPROTO_TCP, 443);
    f.len = 20;
    assert_false(passes(f));
}

static void the_most_hosts_fit(_unused_ void **state)
{
    struct sock_filter code[TAP_FILTER_MAX];
    struct tap_filter f = {.n_hosts = TAP_HOSTS_MAX};
    assert_true(tap_filter_make(&f, code) < TAP_FILTER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_out_is_open),
        cmocka_unit_test(nothing_leads_to_the_host),
        cmocka_unit_test(the_host_is_answered),
        cmocka_unit_test(nobody_speaks_for_another),
        cmocka_unit_test(the_gateway_answers_for_names_only),
        cmocka_unit_test(what_is_cut_off_is_dropped),
        cmocka_unit_test(the_most_hosts_fit),
    };
    return cmocka_run_group_tests(tests, attach, NULL);
}
