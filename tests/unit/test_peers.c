/* What hosts of one network tell each other: rosters, messages and their tags. */
#include "check.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "wire/peers/peers.h"

static struct peers_member one, back;

static void fill(struct peers_member *m, const char *address)
{
    memset(m, 0, sizeof(*m));
    assert_int_equal(inet_pton(AF_INET, address, &m->address), 1);
    assert_true(peers_member_add_name(m, "web"));
    assert_true(peers_member_add_name(m, "web.shop"));
    assert_true(peers_member_add_label(m, "app=web"));
    assert_true(peers_member_add_label(m, "io.proa.stack=gr\xc3\xbcn"));
    assert_true(peers_member_add_label(m, "empty="));
}

static void test_there_and_back(_unused_ void **state)
{
    _cleanup_buf_ struct buf body = BUF_INIT(PEERS_BODY_MAX);
    struct peers_reader r;
    fill(&one, "10.1.0.2");
    assert_int_equal(peers_roster_begin(&body), 0);
    assert_int_equal(peers_roster_add(&body, &one), 0);
    assert_int_equal(inet_pton(AF_INET6, "fd00::3", &one.address6), 1);
    assert_int_equal(peers_roster_add(&body, &one), 0);
    assert_int_equal(peers_roster_open(body.data, body.len, &r), 0);
    assert_int_equal(r.n, 2);
    assert_int_equal(peers_roster_next(&r, &back), 1);
    assert_true(IN6_IS_ADDR_UNSPECIFIED(&back.address6));
    assert_int_equal(peers_roster_next(&r, &back), 1);
    assert_memory_equal(&back, &one, sizeof(one));
    assert_true(peers_member_is_good(&back));
    size_t at = 0;
    assert_string_equal(peers_member_next_label(&back, &at), "app=web");
    assert_string_equal(peers_member_next_label(&back, &at), "io.proa.stack=gr\xc3\xbcn");
    assert_string_equal(peers_member_next_label(&back, &at), "empty=");
    assert_null(peers_member_next_label(&back, &at));
    assert_int_equal(peers_roster_next(&r, &back), 0);
    /* Cut off anywhere, and with something behind it, it is none. */
    for (size_t len = 0; len < body.len; len++) {
        int got = peers_roster_open(body.data, len, &r);
        while (got >= 0 && (got = peers_roster_next(&r, &back)) > 0)
            ;
        assert_int_equal(got, -EBADMSG);
    }
    assert_int_equal(buf_add(&body, "x", 1), 0);
    assert_int_equal(peers_roster_open(body.data, body.len, &r), 0);
    assert_int_equal(peers_roster_next(&r, &back), 1);
    assert_int_equal(peers_roster_next(&r, &back), 1);
    assert_int_equal(peers_roster_next(&r, &back), -EBADMSG);
}

static void test_what_no_member_has(_unused_ void **state)
{
    static const char *const names[] = {"", ".a", "-a", "a..b", "a b", "a\n", "\xc3\xbc"};
    static const char *const labels[] = {"",
                                         "a",
                                         "=a",
                                         "a=\n",
                                         "a=\x1b[2J",
                                         "a=\xc3",
                                         "a=\x80",
                                         "a=\xc0\xaf",
                                         "a=\xed\xa0\x80",
                                         "a=\xc2\x9b",
                                         "a=\xf8\x88\x80\x80\x80",
                                         "a=\xf4\x90\x80\x80"};
    memset(&one, 0, sizeof(one));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_false(peers_member_add_name(&one, names[i]));
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
        assert_false(peers_member_add_label(&one, labels[i]));
    for (size_t i = 0; i < PEERS_NAMES_MAX; i++)
        assert_true(peers_member_add_name(&one, "a"));
    assert_false(peers_member_add_name(&one, "a"));
    for (size_t i = 0; i < PEERS_LABELS_MAX; i++)
        assert_true(peers_member_add_label(&one, "a="));
    assert_false(peers_member_add_label(&one, "a="));
    memset(one.names[1], 'a', PEERS_NAME_SIZE); /* without an end */
    assert_false(peers_member_is_good(&one));
    fill(&one, "10.1.0.2");
    one.n_labels = 4;
    assert_false(peers_member_is_good(&one));
    one.n_labels = PEERS_LABELS_MAX + 1;
    assert_false(peers_member_is_good(&one));
    /* As long as may be, and not longer. */
    _cleanup_free_ char *label = xcalloc(1, PEERS_LABELS_SIZE + 1);
    memset(label, 'a', PEERS_LABELS_SIZE);
    label[1] = '=';
    memset(&one, 0, sizeof(one));
    assert_false(peers_member_add_label(&one, label));
    label[PEERS_LABELS_SIZE - 1] = '\0';
    assert_true(peers_member_add_label(&one, label));
    assert_true(peers_member_is_good(&one));
    assert_false(peers_member_add_label(&one, "a="));
}

static void test_no_more_than_that(_unused_ void **state)
{
    _cleanup_buf_ struct buf body = BUF_INIT(PEERS_BODY_MAX);
    struct peers_reader r;
    fill(&one, "10.1.0.2");
    assert_int_equal(peers_roster_begin(&body), 0);
    for (size_t i = 0; i < PEERS_MEMBERS_MAX; i++)
        assert_int_equal(peers_roster_add(&body, &one), 0);
    size_t len = body.len;
    assert_int_equal(peers_roster_add(&body, &one), -EFBIG);
    assert_int_equal(body.len, len);
    assert_int_equal(peers_roster_open(body.data, body.len, &r), 0);
    body.data[3]++;
    assert_int_equal(peers_roster_open(body.data, body.len, &r), -EBADMSG);
    struct buf small = BUF_INIT(20);
    assert_int_equal(peers_roster_begin(&small), 0);
    assert_int_equal(peers_roster_add(&small, &one), -EFBIG);
    assert_int_equal(small.len, 4);
    buf_done(&small);
}

/* RFC 4231, cases 1 and 2. */
static void test_tags(_unused_ void **state)
{
    static const struct {
        const char *key, *data, *tag;
        size_t len;
    } cases[] = {
        {"\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b",
         "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", 20},
        {"Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", 4},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct peers_hmac h;
        uint8_t tag[PEERS_TAG_SIZE];
        char hex[2 * PEERS_TAG_SIZE + 1];
        peers_hmac_begin(&h, cases[i].key, cases[i].len);
        peers_hmac_add(&h, cases[i].data, strlen(cases[i].data));
        peers_hmac_end(&h, tag);
        hex_encode(tag, sizeof(tag), hex);
        assert_string_equal(hex, cases[i].tag);
    }
}

static void test_messages(_unused_ void **state)
{
    static const uint8_t random[PEERS_RANDOM_SIZE] = {1, 2, 3}, another[PEERS_RANDOM_SIZE] = {4};
    _cleanup_buf_ struct buf out = BUF_INIT(PEERS_MESSAGE_MAX);
    struct peers_session teller = {.key = "secret", .key_len = PEERS_KEY_SIZE}, listener, other;
    struct peers_message m;
    peers_greeting(42, random, teller.greeting);
    assert_true(peers_greeting_is_good(teller.greeting, 42));
    assert_false(peers_greeting_is_good(teller.greeting, 43));
    listener = teller;
    assert_int_equal(peers_message_put(&teller, PEERS_ROSTER, "body", 4, &out), 0);
    assert_int_equal(peers_message_put(&teller, PEERS_SAME, NULL, 0, &out), 0);
    size_t first = PEERS_HEAD_SIZE + 4 + PEERS_TAG_SIZE;
    for (size_t len = 0; len < first; len++)
        assert_int_equal(peers_message_take(&listener, out.data, len, &m), 0);
    /* In another place, on another connection, of another key, changed. */
    other = listener;
    assert_int_equal(peers_message_take(&other, out.data + first, out.len - first, &m),
                     -EKEYREJECTED);
    peers_greeting(42, another, other.greeting);
    assert_int_equal(peers_message_take(&other, out.data, out.len, &m), -EKEYREJECTED);
    other = listener;
    other.key_len = 0;
    assert_int_equal(peers_message_take(&other, out.data, out.len, &m), -EKEYREJECTED);
    out.data[PEERS_HEAD_SIZE]++;
    assert_int_equal(peers_message_take(&listener, out.data, out.len, &m), -EKEYREJECTED);
    out.data[PEERS_HEAD_SIZE]--;
    assert_int_equal(peers_message_take(&listener, out.data, out.len, &m), 1);
    assert_int_equal(m.kind, PEERS_ROSTER);
    assert_int_equal(m.len, 4);
    assert_int_equal(m.whole, first);
    assert_memory_equal(m.body, "body", 4);
    assert_int_equal(peers_message_take(&listener, out.data, out.len, &m),
                     -EKEYREJECTED); /* again */
    assert_int_equal(peers_message_take(&listener, out.data + first, out.len - first, &m), 1);
    assert_int_equal(m.kind, PEERS_SAME);
    out.data[first] = 4;
    assert_int_equal(peers_message_take(&listener, out.data + first, out.len - first, &m),
                     -EBADMSG);
    out.data[first] = PEERS_SAME;
    out.data[first + 7] = 1; /* of those that have no body */
    assert_int_equal(peers_message_take(&listener, out.data + first, out.len - first, &m),
                     -EBADMSG);
    out.data[4] = 1; /* longer than may be */
    assert_int_equal(peers_message_take(&listener, out.data, out.len, &m), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),    cmocka_unit_test(test_what_no_member_has),
        cmocka_unit_test(test_no_more_than_that), cmocka_unit_test(test_tags),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
