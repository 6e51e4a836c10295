/* network: texts (ports, subnets, names) and the store's address book. */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/nft.h"
#include "service/network/network-internal.h"
#include "service/network/seal.h"

static void test_publish(void **state)
{
    static const struct {
        const char *text, *address;
        uint16_t host, port;
        uint8_t protocol;
        size_t n;
    } good[] = {
        {"80", "0.0.0.0", 0, 80, IPPROTO_TCP, 1},
        {"8080:80", "0.0.0.0", 8080, 80, IPPROTO_TCP, 1},
        {"8080:80/tcp", "0.0.0.0", 8080, 80, IPPROTO_TCP, 1},
        {"53:53/udp", "0.0.0.0", 53, 53, IPPROTO_UDP, 1},
        {"127.0.0.1:8080:80", "127.0.0.1", 8080, 80, IPPROTO_TCP, 1},
        {"127.0.0.1::80", "127.0.0.1", 0, 80, IPPROTO_TCP, 1},
        {"8000-8003:80-83", "0.0.0.0", 8000, 80, IPPROTO_TCP, 4},
        {"9000-9001", "0.0.0.0", 0, 9000, IPPROTO_TCP, 2},
        {"65535:65535/udp", "0.0.0.0", 65535, 65535, IPPROTO_UDP, 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ struct network_publish *list = NULL;
        size_t n = 0;
        assert_int_equal(network_publish_parse(good[i].text, &list, &n, &err), 0);
        assert_int_equal(n, good[i].n);
        assert_string_equal(address_text(list[0].host_address).s, good[i].address);
        assert_int_equal(list[0].host_port, good[i].host);
        assert_int_equal(list[0].port, good[i].port);
        assert_int_equal(list[0].protocol, good[i].protocol);
        assert_int_equal(list[n - 1].port, good[i].port + n - 1);
    }
}

static void test_rate(void **state)
{
    static const struct {
        const char *text;
        uint64_t in, out;
    } good[] = {
        {"10mbit", 1250000, 1250000},
        {"10M", 1250000, 1250000},
        {"1.5gbit", 187500000, 187500000},
        {"8000", 1000, 1000},
        {"none", 0, 0},
        {"in=100gbit", 12500000000, 0},
        {"out=512k,in=8kbit", 1000, 64000},
    };
    static const char *const bad[] = {"",
                                      "10",
                                      "mbit",
                                      "10 mbit",
                                      "10mb",
                                      "-5m",
                                      "1.2345m",
                                      "in=",
                                      "in=1m,",
                                      "up=1m",
                                      "in=1m,in=2m",
                                      "101gbit",
                                      "1tbit",
                                      "99999999999999999999gbit",
                                      "18446744073709551t"};
    struct network_rate rate;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct error err = ERROR_INIT;
        assert_int_equal(network_rate_parse(good[i].text, &rate, &err), 0);
        assert_int_equal(rate.in, good[i].in);
        assert_int_equal(rate.out, good[i].out);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        assert_int_not_equal(network_rate_parse(bad[i], &rate, &err), 0);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

static void test_connections(void **state)
{
    static const char *const bad[] = {"", "0", "-1", "1.5", "many", "4294967295", "10k"};
    struct error err = ERROR_INIT;
    uint32_t n = 1;
    (void)state;
    assert_int_equal(network_connections_parse("none", &n, &err), 0);
    assert_int_equal(n, NETWORK_CONNECTIONS_ANY);
    assert_int_equal(network_connections_parse("4294967294", &n, &err), 0);
    assert_int_equal(n, 4294967294u);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_not_equal(network_connections_parse(bad[i], &n, &err), 0);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
    assert_int_equal(n, 4294967294u);
}

static void test_publish_bad(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        "80:",
        ":80",
        "0",
        "65536",
        "-1",
        "80/dccp",
        "80/",
        "80/tcp/udp",
        "a:80",
        "8080:80:",
        "1.2.3:8:80",
        "::1:8:80",
        "[::1]",
        "[::1]:",
        "[::1:8080:80",
        "[1.2.3.4]:8080:80",
        "[::1]8080:80",
        "8080:80-81",
        "81-80",
        "80-",
        "-80",
        "80-80-80",
        "1.2.3.4.5:1:1",
        "8080-8081:80",
        " 80",
        "80 ",
        "+80",
        "0x50",
        "80\n",
        "localhost:1:1",
        "0:80",
        "1-65536:1-65536",
        "8080:0",
        "80//tcp",
        "tcp/80",
        "1:2:3:4",
        "1.2.3.4:80:",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        struct network_publish *list = NULL;
        size_t n = 0;
        int r = network_publish_parse(bad[i], &list, &n, &err);
        if (r == 0)
            print_error("accepted: \"%s\"\n", bad[i]);
        assert_int_equal(r, -EINVAL);
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_null(list);
        assert_int_equal(n, 0);
    }
    struct error err = ERROR_INIT;
    struct network_publish *list = NULL;
    size_t n = 0;
    assert_int_equal(network_publish_parse("1-65535:1-65535", &list, &n, &err), -E2BIG);
}

static void test_publish_ipv6(void **state)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ struct network_publish *list = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(network_publish_parse("[fd00::2]:8080:80", &list, &n, &err), 0);
    assert_int_equal(network_publish_parse("[fd00::1]::81/udp", &list, &n, &err), 0);
    assert_int_equal(network_publish_parse("82-83:82-83/sctp", &list, &n, &err), 0);
    assert_int_equal(network_publish_parse("[::1]:84:84", &list, &n, &err), -EOPNOTSUPP);
    assert_int_equal(n, 4);
    assert_true(list[0].ipv6 && !list[0].both && !publish_is_any(&list[0]));
    assert_string_equal(address6_text(&list[0].host_address6).s, "fd00::2");
    assert_int_equal(list[0].host_port, 8080);
    assert_int_equal(list[1].host_port, 0);
    assert_int_equal(list[1].protocol, IPPROTO_UDP);
    assert_true(list[2].both && !list[2].ipv6 && publish_is_any(&list[2]));
    assert_int_equal(list[3].protocol, IPPROTO_SCTP);
}

static void test_subnets6(void **state)
{
    static const char *const bad[] = {"fd00::",       "fd00::/15",  "fd00::/97", "fd00::1/64",
                                      "fe80::/64",    "ff02::/64",  "::/64",     "10.0.0.0/24",
                                      "fd00::/64/64", "fd00:::/64", "/64"};
    struct error err = ERROR_INIT;
    struct in6_addr subnet, a;
    struct link_mac mac;
    uint8_t prefix;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(subnet6_parse(bad[i], &subnet, &prefix, &err), -EINVAL);
    assert_int_equal(subnet6_parse("fd00:1:2:8000::/50", &subnet, &prefix, &err), 0);
    assert_int_equal(prefix, 50);
    assert_int_equal(address6_parse("fd00:1:2:bfff::1", &a, &err), 0);
    assert_true(subnet6_has(&subnet, prefix, &a));
    assert_int_equal(address6_parse("fd00:1:2:c000::1", &a, &err), 0);
    assert_false(subnet6_has(&subnet, prefix, &a));
    assert_false(subnet6_has(&subnet, prefix, &subnet));
    a = subnet6_address(&subnet, 0x10002);
    assert_string_equal(address6_text(&a).s, "fd00:1:2:8000::1:2");
    a = subnet6_random();
    assert_int_equal(a.s6_addr[0], 0xfd);
    assert_int_equal(link_mac_parse("02:51:0a:4e:00:02", &mac), 0);
    a = link_local_address(&mac);
    assert_string_equal(address6_text(&a).s, "fe80::51:aff:fe4e:2");
}

/* As `wg` writes it, and an address of nobody's else that follows from it. */
static void test_public_keys(void **state)
{
    static const char good[] = "SbrX5m5jOa8abaLsUGv5WUoLk3Wqw3vejEytv1kXxgc=";
    static const char *const bad[] = {"", "x", "SbrX5m5jOa8abaLsUGv5WUoLk3Wqw3vejEytv1kX",
                                      "SbrX5m5jOa8abaLsUGv5WUoLk3Wqw3vejEytv1kXxgcAAAA=",
                                      "SbrX5m5jOa8abaLsUGv5WUoLk3Wqw3vejEytv1kXxg!="};
    struct error err = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *none = NULL;
    (void)state;
    assert_int_equal(seal_read_public(good, &key, &err), 0);
    assert_string_equal(key, good);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(seal_read_public(bad[i], &none, &err), -EINVAL);
    uint32_t address = ntohl(seal_address(good).s_addr);
    assert_true(address >> 28 == 0xf && address >> 24 != 0xff);
    assert_int_equal(address, ntohl(seal_address(key).s_addr));
    assert_int_not_equal(
        address, ntohl(seal_address("cssTxxfFnS1mnE07Av1Vnuidi5OCdw7cxZD7qHjaUgQ=").s_addr));
}

static void test_subnets(void **state)
{
    static const char *const bad[] = {
        "10.0.0.0",    "10.0.0.0/",      "10.0.0.0/7",  "10.0.0.0/30",  "10.0.0.1/24",
        "300.0.0.0/8", "hello",          "10.0.0.0/99", "127.0.0.0/24", "224.0.0.0/8",
        "0.0.0.0/8",   "169.254.0.0/16", "/24",         "fe80::/64",    "10.0.0.0/24/"};
    struct error err = ERROR_INIT;
    struct in_addr subnet, a;
    uint8_t prefix;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(subnet_parse(bad[i], &subnet, &prefix, &err), -EINVAL);
    assert_int_equal(subnet_parse("10.1.0.0/24", &subnet, &prefix, &err), 0);
    assert_int_equal(prefix, 24);
    assert_int_equal(address_parse("10.1.0.255", &a, &err), 0);
    assert_false(subnet_has(subnet, prefix, a));
    assert_int_equal(address_parse("10.1.0.254", &a, &err), 0);
    assert_true(subnet_has(subnet, prefix, a));
    assert_int_equal(address_parse("10.1.1.1", &a, &err), 0);
    assert_false(subnet_has(subnet, prefix, a));
    assert_false(subnet_has(subnet, prefix, subnet));
    assert_int_equal(address_parse("10.1.1.1 ", &a, &err), -EINVAL);
}

static void test_subnets_that_overlap(void **state)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {"10.1.0.0/24", "10.1.0.0/24", true},     {"10.1.0.0/24", "10.1.1.0/24", false},
        {"10.1.0.0/16", "10.1.200.0/24", true},   {"10.1.0.128/25", "10.1.0.0/25", false},
        {"10.0.0.0/8", "192.168.78.0/24", false}, {"192.168.78.0/29", "192.168.0.0/16", true},
    };
    struct error err = ERROR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct in_addr a, b;
        uint8_t a_prefix, b_prefix;
        assert_int_equal(subnet_parse(cases[i].a, &a, &a_prefix, &err), 0);
        assert_int_equal(subnet_parse(cases[i].b, &b, &b_prefix, &err), 0);
        assert_int_equal(subnet_overlaps(a, a_prefix, b, b_prefix), cases[i].overlap);
        assert_int_equal(subnet_overlaps(b, b_prefix, a, a_prefix), cases[i].overlap);
    }
    assert_true(subnet_overlaps((struct in_addr){htonl(0x0a010001)}, 32,
                                (struct in_addr){htonl(0x0a010000)}, 24));
}

/* Whatever is proposed is a subnet that a person could name, and no two of a kind are the same. */
static void test_candidates(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    for (int is_default = 0; is_default < 2; is_default++) {
        struct in_addr subnet, again, last = {0};
        uint8_t prefix, prefix_again;
        size_t n = 0;
        for (; subnet_candidate(is_default, n, &subnet, &prefix); n++) {
            _cleanup_free_ char *text = xasprintf("%s/%u", address_text(subnet).s, prefix);
            assert_int_equal(subnet_parse(text, &again, &prefix_again, &err), 0);
            assert_true(subnet.s_addr != last.s_addr);
            last = subnet;
        }
        assert_true(n >= 5);
    }
}

static void test_names(void **state)
{
    static const char *const bad[] = {"",     "-a",  ".a",       "a..b", "a b",
                                      "a\nb", "a/b", "\xc3\xa4", "a#"};
    char *aliases[] = {(char *)"db", (char *)"web", (char *)"x.y", NULL};
    struct store_port port = {
        .instance_id = (char *)"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        .name = (char *)"web",
        .hostname = (char *)"web",
        .aliases = aliases,
        .address = {htonl(0x0a4e0002)},
    };
    struct error err = ERROR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(names_valid(bad[i]));
    assert_true(names_valid("web_1.x-y"));
    _cleanup_free_ char *text = names_text(&port);
    assert_string_equal(text, "10.78.0.2 web db x.y 0123456789ab\n");
    assert_int_equal(address6_parse("fd00::2", &port.address6, &err), 0);
    _cleanup_free_ char *both = names_text(&port);
    assert_string_equal(both, "10.78.0.2 web db x.y 0123456789ab\n"
                              "fd00::2 web db x.y 0123456789ab\n");
    char longest[255];
    memset(longest, 'a', sizeof(longest));
    longest[254] = '\0';
    assert_false(names_valid(longest));
    longest[253] = '\0';
    assert_true(names_valid(longest));
}

static void test_files(void **state)
{
    struct network_port p = {
        .address = {htonl(0x0a4e0002)}, .gateway = {htonl(0x0a4e0001)}, .prefix = 16};
    (void)state;
    _cleanup_free_ char *resolv = network_resolv_conf(&p, 1);
    assert_string_equal(resolv, "nameserver 10.78.0.1\noptions ndots:0\n");
    _cleanup_free_ char *hosts = network_hosts(&p, 1, "h", "web");
    assert_non_null(strstr(hosts, "127.0.0.1\tlocalhost\n"));
    assert_non_null(strstr(hosts, "\n10.78.0.2\th web\n"));
    _cleanup_free_ char *same = network_hosts(&p, 1, "web", "web");
    assert_non_null(strstr(same, "\n10.78.0.2\tweb\n"));
}

static void test_macs(void **state)
{
    static const char *const bad[] = {"",
                                      "02:50:00:00:00",
                                      "02:50:00:00:00:0",
                                      "02-50-00-00-00-01",
                                      "01:00:00:00:00:00",
                                      "00:00:00:00:00:00",
                                      "02:50:00:00:00:0g",
                                      "02:50:00:00:00:01:",
                                      "+2:50:00:00:00:01"};
    struct link_mac mac;
    char text[18];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(link_mac_parse(bad[i], &mac), -EINVAL);
    assert_int_equal(link_mac_parse("02:50:0A:00:ff:01", &mac), 0);
    link_mac_format(&mac, text);
    assert_string_equal(text, "02:50:0a:00:ff:01");
}

static void test_nft_data(void **state)
{
    struct nft_data d = {.len = 0};
    static const uint8_t mac[] = {1, 2, 3, 4, 5, 6};
    static const uint8_t wanted[] = {'a', 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0,    0, 0,
                                     1,   2,   3, 4, 5, 6, 0, 0, 6, 0, 0, 0, 0x1f, 0x90, 0, 0};
    (void)state;
    nft_put_link(&d, "ab");
    nft_put_mac(&d, mac);
    nft_put_protocol(&d, IPPROTO_TCP);
    nft_put_port(&d, 8080);
    assert_int_equal(d.len, sizeof(wanted));
    assert_memory_equal(d.bytes, wanted, sizeof(wanted));
}

/* --- the store --- */

static char root[] = "/tmp/proa-test-network-XXXXXX";

static int open_store(void **state)
{
    struct error err = ERROR_INIT;
    struct store *s;
    if (!mkdtemp(root) || store_open(root, &s, &err) < 0)
        return -1;
    *state = s;
    return 0;
}

static int drop_store(void **state)
{
    struct store *s = *state;
    int r = path_remove_tree(AT_FDCWD, s->run);
    store_close(s);
    return r < 0 ? r : path_remove_tree(AT_FDCWD, root);
}

static struct network sample(const char *name, uint32_t subnet, uint8_t prefix)
{
    char id[65];
    random_hex(id, 32);
    return (struct network){
        .name = xstrdup(name),
        .id = xstrdup(id),
        .bridge = xasprintf("proa-%.8s", id),
        .subnet = {htonl(subnet)},
        .prefix = prefix,
        .gateway = {htonl(subnet + 1)},
        .mtu = 1500,
        .labels = strv_copy((char *[]){(char *)"a=b\nc", NULL}),
    };
}

static void sample_done(struct network *n)
{
    free(n->name);
    free(n->id);
    free(n->bridge);
    strv_free(n->labels);
}

static int put_port(struct store *s, const char *network, struct in_addr address, unsigned int i)
{
    struct store_port p = {
        .instance_id = xasprintf("%064x", i),
        .network = xstrdup(network),
        .address = address,
        .mac = xasprintf("02:51:00:00:00:%02x", i),
        .link = xasprintf("proav%010x", i),
        .name = xasprintf("i%u", i),
        .aliases = strv_copy(NULL),
        .attached = true,
    };
    struct error err = ERROR_INIT;
    int r = store_port_put(s, &p, &err);
    store_port_done(&p);
    return r;
}

static void test_tables_of_roots(void **state)
{
    const struct store usual = {.tag = 0}, other = {.tag = 0xbeef};
    (void)state;
    assert_string_equal(store_table(&usual, "proa").name, "proa");
    assert_string_equal(store_table(&usual, "proa-policy").name, "proa-policy");
    assert_string_equal(store_table(&other, "proa").name, "proa-0000beef");
    assert_string_equal(store_table(&other, "proa-policy").name, "proa-policy-0000beef");
}

static void test_store_networks(void **state)
{
    struct store *s = *state;
    struct error err = ERROR_INIT;
    struct network a = sample("a", 0x0a010000, 24), b = sample("b", 0x0a010080, 25),
                   c = sample("a", 0x0a020000, 24);
    _cleanup_network_ struct network *found = NULL, *by_id = NULL;
    assert_int_equal(store_network_add(s, &a, &err), 0);
    assert_int_equal(store_network_add(s, &b, &err), -EEXIST);
    assert_string_equal(err.msg, "subnet 10.1.0.128/25 overlaps that of network a");
    assert_int_equal(store_network_add(s, &c, &err), -EEXIST);
    assert_int_equal(store_network_find(s, "a", &found, &err), 0);
    assert_string_equal(found->labels[0], "a=b\nc");
    assert_int_equal(found->gateway.s_addr, a.gateway.s_addr);
    char prefix[9];
    snprintf(prefix, sizeof(prefix), "%.8s", a.id);
    assert_int_equal(store_network_find(s, prefix, &by_id, &err), 0);
    assert_int_equal(store_network_find(s, "nobody", &by_id, &err), -ENOENT);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    assert_int_equal(store_network_remove(s, "a", &err), 0);
    sample_done(&a);
    sample_done(&b);
    sample_done(&c);
}

/* A /29 has five addresses beside the gateway: each once, the freed one last, then none. */
static void test_store_addresses(void **state)
{
    struct store *s = *state;
    struct error err = ERROR_INIT;
    struct network n = sample("small", 0x0a030000, 29);
    struct in_addr a;
    assert_int_equal(store_network_add(s, &n, &err), 0);
    for (unsigned int i = 0; i < 3; i++) {
        assert_int_equal(store_port_next_address(s, &n, &a, &err), 0);
        assert_int_equal(ntohl(a.s_addr), 0x0a030002 + i);
        assert_int_equal(put_port(s, "small", a, i), 0);
    }
    assert_int_equal(put_port(s, "small", a, 9), -EEXIST);
    char id[65];
    snprintf(id, sizeof(id), "%064x", 0u);
    assert_int_equal(store_port_remove(s, id, "small", &err), 0);
    for (unsigned int i = 3; i < 6; i++) {
        assert_int_equal(store_port_next_address(s, &n, &a, &err), 0);
        assert_int_equal(ntohl(a.s_addr), i < 5 ? 0x0a030002 + i : 0x0a030002);
        assert_int_equal(put_port(s, "small", a, i), 0);
    }
    assert_int_equal(store_port_next_address(s, &n, &a, &err), -EADDRNOTAVAIL);
    assert_int_equal(err.kind, ERROR_LIMIT);
    assert_int_equal(store_network_remove(s, "small", &err), -EBUSY);
    sample_done(&n);
}

static void test_store_publish(void **state)
{
    struct store *s = *state;
    struct error err = ERROR_INIT;
    char one[65], two[65];
    struct network_publish p[] = {{.host_port = 80, .port = 8080, .protocol = IPPROTO_TCP},
                                  {.host_port = 53, .port = 53, .protocol = IPPROTO_UDP}};
    struct store_publish *rows;
    snprintf(one, sizeof(one), "%064x", 21u);
    snprintf(two, sizeof(two), "%064x", 22u);
    struct network n = sample("n", 0x0a040000, 24);
    assert_int_equal(store_network_add(s, &n, &err), 0);
    assert_int_equal(put_port(s, "n", (struct in_addr){htonl(0x0a040002)}, 21), 0);
    assert_int_equal(put_port(s, "n", (struct in_addr){htonl(0x0a040003)}, 22), 0);
    sample_done(&n);
    assert_int_equal(store_publish_put(s, one, "n", p, 2, &err), 0);
    assert_int_equal(store_publish_put(s, two, "n", p, 1, &err), 0); /* takes port 80 over */
    assert_int_equal(store_publish_list(s, one, &rows, &err), 0);
    assert_int_equal(rows[0].publish.protocol, IPPROTO_UDP);
    assert_null(rows[1].instance_id);
    store_publish_list_free(rows);
    assert_int_equal(store_publish_list(s, NULL, &rows, &err), 0);
    assert_non_null(rows[1].instance_id);
    assert_null(rows[2].instance_id);
    store_publish_list_free(rows);
    assert_int_equal(store_port_detached(s, one, "n", &err), 0);
    assert_int_equal(store_publish_list(s, one, &rows, &err), 0);
    assert_null(rows[0].instance_id);
    store_publish_list_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_publish_bad),
        cmocka_unit_test(test_publish_ipv6),
        cmocka_unit_test(test_subnets6),
        cmocka_unit_test(test_subnets),
        cmocka_unit_test(test_subnets_that_overlap),
        cmocka_unit_test(test_tables_of_roots),
        cmocka_unit_test(test_public_keys),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_macs),
        cmocka_unit_test(test_nft_data),
        cmocka_unit_test(test_store_networks),
        cmocka_unit_test(test_store_addresses),
        cmocka_unit_test(test_store_publish),
    };
    return cmocka_run_group_tests(tests, open_store, drop_store);
}
