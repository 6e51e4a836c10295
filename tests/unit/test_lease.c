/* wire/lease: both sides of DHCP against each other, with a clock of the test's, and frames that
 * are not what they should be. */
#include <arpa/inet.h>
#include <string.h>

#include "check.h"
#include "wire/lease/client.h"

static const uint8_t server_mac[6] = {0x02, 0x50, 10, 1, 0, 1};
static const uint8_t mac[6] = {0x02, 0x51, 10, 1, 0, 5};

#define CHADDR_AT   (14 + 20 + 8 + 28)
#define OPTIONS_AT  (14 + 20 + 8 + 236 + 4)
#define SERVER_PORT 36 /* the low byte of where an IPv4 frame without options goes to */

static struct in_addr address(const char *text)
{
    struct in_addr a;
    assert_int_equal(inet_pton(AF_INET, text, &a), 1);
    return a;
}

static struct lease_place place(const char *text)
{
    struct lease_place p;
    assert_int_equal(lease_place_parse(text, &p), 0);
    return p;
}

static struct lease_client client(const char *wish)
{
    struct lease_client c;
    lease_client_begin(&c, mac, "web", address(wish), 12345, 0);
    return c;
}

/* The option's first byte in a message; NULL: not there. */
static const uint8_t *option(const uint8_t *frame, size_t len, uint8_t code)
{
    for (size_t i = OPTIONS_AT; i + 1 < len && frame[i] != 255;
         i += frame[i] ? 2u + frame[i + 1] : 1)
        if (frame[i] == code)
            return frame + i + 2;
    return NULL;
}

/* One message of the client's, and what the server says to it. */
static size_t ask(struct lease_client *c, int64_t now, const struct lease_place *p, uint8_t *answer)
{
    uint8_t out[LEASE_FRAME_MAX];
    bool changed;
    size_t len = lease_client_step(c, now, out, &changed);
    assert_true(len >= 300 && !changed);
    assert_memory_equal(out + 6, mac, sizeof(mac));
    return lease_answer(server_mac, p, out, len, answer);
}

static void bind_to(struct lease_client *c, int64_t now, const struct lease_place *p)
{
    uint8_t answer[LEASE_FRAME_MAX];
    size_t len = ask(c, now, p, answer);
    assert_true(len > 0);
    assert_false(lease_client_hear(c, now, answer, len)); /* an offer is no grant yet */
    len = ask(c, now, p, answer);
    assert_true(len > 0);
    assert_true(lease_client_hear(c, now, answer, len));
    assert_int_equal(c->phase, LEASE_BOUND);
}

static void test_a_lease_from_its_beginning_to_its_end(void **state)
{
    struct lease_place p = place("10.1.0.5/24 10.1.0.1 - - 1500 out web");
    struct lease_client c = client("0.0.0.0");
    uint8_t out[LEASE_FRAME_MAX], answer[LEASE_FRAME_MAX];
    char text[LEASE_GRANT_MAX];
    bool changed;
    (void)state;
    bind_to(&c, 0, &p);
    lease_grant_format(&c.grant, text);
    assert_string_equal(text, "10.1.0.5/24 10.1.0.1 10.1.0.1");
    /* Nothing is said until half of the hour has passed; then the server alone is asked. */
    assert_int_equal(lease_client_due(&c), 1800000);
    assert_int_equal(lease_client_step(&c, 1799999, out, &changed), 0);
    size_t len = lease_client_step(&c, 1800000, out, &changed);
    assert_memory_equal(out, server_mac, sizeof(server_mac));
    assert_null(option(out, len, 54));
    len = lease_answer(server_mac, &p, out, len, answer);
    assert_false(lease_client_hear(&c, 1800100, answer, len)); /* the same again */
    assert_int_equal(lease_client_due(&c), 1800100 + 1800000);
    /* Nobody answers any more: first the server, then everybody, then it is over. */
    int64_t now = 0;
    size_t to_server = 0, to_all = 0;
    while (c.grant.address.s_addr && to_server + to_all < 1000) {
        now = lease_client_due(&c);
        len = lease_client_step(&c, now, out, &changed);
        if (c.phase == LEASE_RENEWING)
            *(out[0] == 0xff ? &to_all : &to_server) += 1;
    }
    assert_true(changed && to_server > 2 && to_all > 2 && to_server + to_all < 40);
    assert_int_equal(now, 1800100 + 3600000);
    /* It goes on with what it had as a wish. */
    assert_memory_equal(option(out, len, 50), &p.address, 4);
    bind_to(&c, now + 1000, &p);
    len = lease_client_release(&c, out);
    assert_true(len > 0 && option(out, len, 53)[0] == 7);
    assert_memory_equal(out, server_mac, sizeof(server_mac));
    assert_memory_equal(option(out, len, 54), &p.gateway, 4);
    assert_int_equal(lease_client_release(&c, out), 0);
}

static void test_asking_becomes_slower(void **state)
{
    struct lease_client c = client("10.1.0.9");
    uint8_t out[LEASE_FRAME_MAX];
    int64_t before = 0;
    bool changed;
    (void)state;
    for (int i = 0; i < 12; i++) {
        int64_t now = lease_client_due(&c);
        size_t len = lease_client_step(&c, now, out, &changed);
        assert_int_equal(option(out, len, 53)[0], 1);
        assert_memory_equal(option(out, len, 50), &(struct in_addr){htonl(0x0a010009)}, 4);
        assert_memory_equal(option(out, len, 12), "web", 3);
        assert_true(now - before <= 64000);
        before = now;
    }
    assert_int_equal(lease_client_due(&c) - before, 64000);
}

static void test_another_address_than_before(void **state)
{
    struct lease_place p = place("10.1.0.5/24 10.1.0.1 - - 1500 out -"),
                       other = place("10.1.0.6/24 10.1.0.1 - - 1500 out -");
    struct lease_client c = client("0.0.0.0");
    uint8_t answer[LEASE_FRAME_MAX];
    (void)state;
    bind_to(&c, 0, &p);
    /* The server refuses what it gave: from then on there is none, until there is the other. */
    size_t len = ask(&c, lease_client_due(&c), &other, answer);
    assert_true(len > 0 && lease_client_hear(&c, 1800000, answer, len));
    assert_int_equal(c.grant.address.s_addr, 0);
    bind_to(&c, lease_client_due(&c), &other);
    assert_int_equal(c.grant.address.s_addr, other.address.s_addr);
}

static void test_an_offer_that_is_not_kept(void **state)
{
    struct lease_place p = place("10.1.0.5/24 10.1.0.1 - - 1500 out -");
    struct lease_client c = client("0.0.0.0");
    uint8_t out[LEASE_FRAME_MAX], answer[LEASE_FRAME_MAX];
    bool changed;
    (void)state;
    size_t len = ask(&c, 0, &p, answer);
    assert_false(lease_client_hear(&c, 0, answer, len));
    for (int i = 0; i < 4; i++) {
        len = lease_client_step(&c, lease_client_due(&c), out, &changed);
        assert_int_equal(option(out, len, 53)[0], 3);
        assert_memory_equal(option(out, len, 54), &p.gateway, 4);
    }
    len = lease_client_step(&c, lease_client_due(&c), out, &changed);
    assert_int_equal(option(out, len, 53)[0], 1); /* from the beginning */
}

/* Each byte that says whose answer it is, and to what: with another one it is nobody's. */
static void test_answers_that_are_not_its_own(void **state)
{
    struct lease_place p = place("10.1.0.5/24 10.1.0.1 - - 1500 out -");
    static const size_t at[] = {12,
                                14,
                                23,
                                SERVER_PORT + 1,
                                42,
                                46,
                                49,
                                CHADDR_AT,
                                CHADDR_AT + 5,
                                OPTIONS_AT - 1,
                                OPTIONS_AT + 2};
    uint8_t answer[LEASE_FRAME_MAX], wrong[LEASE_FRAME_MAX];
    (void)state;
    struct lease_client c = client("0.0.0.0");
    size_t len = ask(&c, 0, &p, answer);
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        struct lease_client one = c;
        memcpy(wrong, answer, len);
        wrong[at[i]] ^= 0x40;
        assert_false(lease_client_hear(&one, 0, wrong, len));
        if (one.phase != LEASE_SEARCHING)
            fail_msg("byte %zu made no difference", at[i]);
    }
    for (size_t cut = 0; cut < OPTIONS_AT + 3; cut++) {
        struct lease_client one = c;
        assert_false(lease_client_hear(&one, 0, answer, cut));
        assert_int_equal(one.phase, LEASE_SEARCHING);
    }
    assert_false(lease_client_hear(&c, 0, answer, len));
    assert_int_equal(c.phase, LEASE_REQUESTING);
}

/* Addresses that no host can have, and masks that are none. */
static void test_grants_that_make_no_sense(void **state)
{
    static const char *const bad[] = {"",
                                      "10.1.0.5",
                                      "10.1.0.5/24",
                                      "10.1.0.5/24 10.1.0.1",
                                      "10.1.0.5/24 10.1.0.1 - -",
                                      "10.1.0.5/7 - -",
                                      "10.1.0.5/31 - -",
                                      "10.1.0.0/24 - -",
                                      "10.1.0.255/24 - -",
                                      "127.0.0.5/24 - -",
                                      "0.1.0.5/24 - -",
                                      "224.0.0.5/24 - -",
                                      "10.1.0.5/24 10.1.0.5 -",
                                      "10.1.0.5/24 10.1.1.1 -",
                                      "10.1.0.5/24 - 127.0.0.1",
                                      "10.1.0.5/24 - 10.1.0.1,10.1.0.2,10.1.0.3,10.1.0.4",
                                      "10.1.0.5/24 - 10.1.0.1,"};
    static const char *const good[] = {"-", "10.1.0.5/24 - -", "10.1.0.5/8 10.200.0.1 8.8.8.8",
                                       "192.168.7.9/30 192.168.7.10 1.1.1.1,9.9.9.9,8.8.8.8"};
    struct lease_grant g;
    char text[LEASE_GRANT_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (lease_grant_parse(bad[i], &g) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(lease_grant_parse(good[i], &g), 0);
        lease_grant_format(&g, text);
        assert_string_equal(text, good[i]);
    }
    /* A router out of reach is left away; the rest is worth having. */
    struct lease_place p = place("10.1.0.5/24 10.2.0.1 - - 1500 out -");
    struct lease_client c = client("0.0.0.0");
    bind_to(&c, 0, &p);
    assert_int_equal(c.grant.gateway.s_addr, 0);
    /* A network's own address is no host's: such an offer is not heard. */
    p = place("10.1.0.0/24 10.1.0.1 - - 1500 out -");
    uint8_t answer[LEASE_FRAME_MAX];
    c = client("0.0.0.0");
    size_t len = ask(&c, 0, &p, answer);
    assert_false(lease_client_hear(&c, 0, answer, len));
    assert_int_equal(c.phase, LEASE_SEARCHING);
}

/* The server's side: who asks gets what is his, asks for another's in vain, and answers are no
 * questions. */
static void test_the_server(void **state)
{
    struct lease_place p = place("10.1.0.5/24 10.1.0.1 fd00::5/64 fd00::1 1400 out web");
    struct lease_client c = client("10.1.0.99");
    uint8_t out[LEASE_FRAME_MAX], answer[LEASE_FRAME_MAX], who[6];
    bool changed;
    (void)state;
    size_t len = lease_client_step(&c, 0, out, &changed);
    assert_true(lease_question(out, len, who));
    assert_memory_equal(who, mac, sizeof(mac));
    size_t n = lease_answer(server_mac, &p, out, len, answer);
    assert_memory_equal(answer, mac, sizeof(mac));
    assert_memory_equal(answer + 14 + 20 + 8 + 16, &p.address, 4);
    assert_int_equal(option(answer, n, 26)[0] << 8 | option(answer, n, 26)[1], 1400);
    assert_memory_equal(option(answer, n, 3), &p.gateway, 4);
    assert_false(lease_question(answer, n, who));
    assert_int_equal(lease_answer(server_mac, &p, answer, n, out), 0);
    out[CHADDR_AT + 5] ^= 1; /* it speaks of another one */
    assert_int_equal(lease_answer(server_mac, &p, out, len, answer), 0);
    p.prefix = 0; /* nothing of this family */
    out[CHADDR_AT + 5] ^= 1;
    assert_int_equal(lease_answer(server_mac, &p, out, len, answer), 0);
    assert_true(lease_advertise(server_mac, &p, mac, answer) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_from_its_beginning_to_its_end),
        cmocka_unit_test(test_asking_becomes_slower),
        cmocka_unit_test(test_another_address_than_before),
        cmocka_unit_test(test_an_offer_that_is_not_kept),
        cmocka_unit_test(test_answers_that_are_not_its_own),
        cmocka_unit_test(test_grants_that_make_no_sense),
        cmocka_unit_test(test_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
