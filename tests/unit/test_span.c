/* What the keeper of proa-peers takes from its relay, what it believes, and for how long. */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/peers/keeper-internal.h"
#include "service/store/network.h"

static char root[] = "/tmp/proa-test-span-XXXXXX";
static struct keeper k;
static struct peers_request q;

static struct in_addr address(const char *text)
{
    struct in_addr a;
    assert_int_equal(inet_pton(AF_INET, text, &a), 1);
    return a;
}

static int set_up(void **state)
{
    char *peers[] = {(char *)"198.51.100.2", (char *)"198.51.100.3", NULL};
    struct error err = ERROR_INIT;
    struct store *s;
    struct network *n = xnew(struct network);
    if (!mkdtemp(root) || store_open(root, &s, &err) < 0)
        return -1;
    *n = (struct network){
        .name = xstrdup("net"),
        .id = xstrdup("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        .bridge = xstrdup("proa-test"),
        .subnet = address("10.77.20.0"),
        .prefix = 24,
        .gateway = address("10.77.20.1"),
        .range = address("10.77.20.0"),
        .range_prefix = 25,
        .vxlan_id = 10042,
        .peers = strv_copy(peers),
        .labels = strv_copy(NULL)};
    k = (struct keeper){.root = xstrdup(root), .name = xstrdup("net"), .network = n, .n = 2};
    *state = s;
    return store_network_add(s, n, &err);
}

static int tear_down(void **state)
{
    struct store *s = *state;
    int r = path_remove_tree(AT_FDCWD, s->run);
    store_close(s);
    network_free(k.network);
    free(k.root);
    free(k.name);
    return r < 0 ? r : path_remove_tree(AT_FDCWD, root);
}

static int ask(uint32_t kind, uint32_t peer, int64_t now_ms)
{
    q.kind = kind;
    q.peer = peer;
    return keeper_answer(&k, &q, sizeof(q), now_ms);
}

static void test_requests_that_are_none(_unused_ void **state)
{
    assert_int_equal(span_port(k.network), 20042);
    assert_int_equal(ask(PEERS_MEMBER, 0, 1), -EBADMSG); /* of no roster */
    assert_int_equal(ask(PEERS_LAST, 0, 1), -EBADMSG);
    assert_int_equal(ask(PEERS_FIRST, 2, 1), -EBADMSG); /* of no peer */
    assert_int_equal(ask(PEERS_GONE + 1, 0, 1), -EBADMSG);
    assert_int_equal(ask(0, 0, 1), -EBADMSG);
    q.kind = PEERS_FIRST;
    assert_int_equal(keeper_answer(&k, &q, sizeof(q) - 1, 1), -EBADMSG);
    assert_int_equal(ask(PEERS_FIRST, 0, 1), 0);
    assert_int_equal(ask(PEERS_MEMBER, 1, 1), -EBADMSG); /* that one has not begun */
    memset(q.member.names[0], 'a', PEERS_NAME_SIZE);
    q.member.n_names = 1; /* a name without an end */
    assert_int_equal(ask(PEERS_MEMBER, 0, 1), -EBADMSG);
    memset(&q.member, 0, sizeof(q.member));
    for (size_t i = 0; i < PEERS_MEMBERS_MAX; i++)
        assert_int_equal(ask(PEERS_MEMBER, 0, 1), 0);
    assert_int_equal(ask(PEERS_MEMBER, 0, 1), -EBADMSG);
}

static size_t count_heard(struct store *s)
{
    struct store_heard *list = NULL;
    size_t n = 0;
    assert_int_equal(store_heard_list(s, "net", &list, &n, NULL), 0);
    store_heard_list_free(list, n);
    return n;
}

static void test_lies(void **state)
{
    static const char *const lies[] = {"10.77.20.0",   "10.77.20.1",   "10.77.20.2", "10.77.20.127",
                                       "10.77.20.255", "10.77.21.130", "0.0.0.0",    "127.0.0.1"};
    assert_int_equal(ask(PEERS_FIRST, 0, 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        q.member.address = address(lies[i]);
        assert_int_equal(ask(PEERS_MEMBER, 0, 1), 0);
    }
    q.member.address =
        address("10.77.20.130"); /* good, but for an address of a family that is not there */
    assert_int_equal(inet_pton(AF_INET6, "fd00::2", &q.member.address6), 1);
    assert_int_equal(ask(PEERS_MEMBER, 0, 1), 0);
    assert_int_equal(ask(PEERS_LAST, 0, 1), 0);
    assert_int_equal(count_heard(*state), 0);
    memset(&q.member, 0, sizeof(q.member));
}

/* Of a good IPv4 address each, and of the other family one that is not the peer's to give. */
static void test_lies6(void **state)
{
    static const char *const lies[] = {"fd77::",   "fd77::1",  "fd77::2",
                                       "fd77::7f", "fd78::82", "fd77::1000:2"};
    struct error err = ERROR_INIT;
    assert_int_equal(subnet6_parse("fd77::/64", &k.network->subnet6, &k.network->prefix6, &err), 0);
    k.network->gateway6 = subnet6_address(&k.network->subnet6, 1);
    memset(&q.member, 0, sizeof(q.member));
    for (int good = 0; good < 2; good++) {
        assert_int_equal(ask(PEERS_FIRST, 0, 1), 0);
        for (size_t i = 0; i < (good ? 1 : ARRAY_SIZE(lies)); i++) {
            q.member.address = address("10.77.20.130");
            assert_int_equal(inet_pton(AF_INET6, good ? "fd77::82" : lies[i], &q.member.address6),
                             1);
            assert_int_equal(ask(PEERS_MEMBER, 0, 1), 0);
        }
        assert_int_equal(ask(PEERS_LAST, 0, 1), 0);
        assert_int_equal(count_heard(*state), good);
    }
    k.network->prefix6 = 0;
    memset(&q.member, 0, sizeof(q.member));
}

static void test_for_how_long(_unused_ void **state)
{
    assert_int_equal(ask(PEERS_GONE, 0, 1), 0);
    assert_int_equal(keeper_next_end(&k), INT64_MAX);
    assert_int_equal(ask(PEERS_HEARD, 0, 5), 0); /* as nothing was said, nothing stays so */
    assert_int_equal(keeper_next_end(&k), INT64_MAX);
    assert_int_equal(ask(PEERS_FIRST, 0, 10), 0);
    assert_int_equal(ask(PEERS_LAST, 0, 10), 0);
    assert_int_equal(keeper_next_end(&k), 10 + PEERS_FORGET_MS);
    assert_int_equal(ask(PEERS_HEARD, 0, 20), 0);
    assert_int_equal(keeper_forget(&k, 19 + PEERS_FORGET_MS), 0);
    assert_int_equal(keeper_next_end(&k), 20 + PEERS_FORGET_MS);
    assert_int_equal(keeper_forget(&k, 20 + PEERS_FORGET_MS), 0);
    assert_int_equal(keeper_next_end(&k), INT64_MAX);
}

/* Whoever said it first has it. */
static void test_two_claim_it(void **state)
{
    char *none[] = {NULL};
    struct store_heard one[] = {
        {.address = address("10.77.20.130"), .names = none, .labels = none},
        {.address = address("10.77.20.131"), .names = none, .labels = none}};
    struct store_heard *list = NULL;
    size_t n = 0;
    assert_int_equal(store_heard_replace(*state, "net", "198.51.100.2", one, 1, NULL), 0);
    assert_int_equal(store_heard_replace(*state, "net", "198.51.100.3", one, 2, NULL), 0);
    assert_int_equal(store_heard_list(*state, "net", &list, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].peer, "198.51.100.2");
    assert_string_equal(list[1].peer, "198.51.100.3");
    assert_int_equal(list[1].address.s_addr, one[1].address.s_addr);
    store_heard_list_free(list, n);
    assert_int_equal(store_heard_forget(*state, "net", NULL), 0);
    assert_int_equal(count_heard(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_that_are_none),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_lies6),
        cmocka_unit_test(test_for_how_long),
        cmocka_unit_test(test_two_claim_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
