/* Questions and answers of the DNS: names, aliases, lifetimes, and what is badly made. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "wire/dns/dns.h"

/* A message that is put together byte by byte. */
struct writer {
    uint8_t bytes[4096];
    size_t len;
};

static void put(struct writer *w, const void *data, size_t len)
{
    assert_true(w->len + len <= sizeof(w->bytes));
    memcpy(w->bytes + w->len, data, len);
    w->len += len;
}

static void put16(struct writer *w, unsigned int n)
{
    put(w, (uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

static void put_name(struct writer *w, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");
        put(w, (uint8_t[]){(uint8_t)len}, 1);
        put(w, name, len);
        name += len + (name[len] == '.');
    }
    put(w, "", 1);
}

static void put_head(struct writer *w, unsigned int flags, unsigned int answers)
{
    w->len = 0;
    put16(w, 0x1234);
    put16(w, flags);
    put16(w, 1);
    put16(w, answers);
    put16(w, 0);
    put16(w, 0);
}

static void put_question(struct writer *w, const char *name, unsigned int type)
{
    put_name(w, name);
    put16(w, type);
    put16(w, 1);
}

static void put_record(struct writer *w, const char *owner, unsigned int type, unsigned int ttl_s,
                       const void *data, size_t len)
{
    put_name(w, owner);
    put16(w, type);
    put16(w, 1);
    put16(w, ttl_s >> 16);
    put16(w, ttl_s & 0xffff);
    put16(w, (unsigned int)len);
    put(w, data, len);
}

static void put_alias(struct writer *w, const char *owner, unsigned int ttl_s, const char *target)
{
    struct writer name = {.len = 0};
    put_name(&name, target);
    put_record(w, owner, DNS_CNAME, ttl_s, name.bytes, name.len);
}

static const uint8_t four[] = {192, 0, 2, 1}, other[] = {192, 0, 2, 2};
static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
static struct dns_address list[DNS_ADDRESSES_MAX];

static struct dns_question ask(const char *name, unsigned int type)
{
    struct writer w;
    struct dns_question q;
    put_head(&w, 0x0100, 0);
    put_question(&w, name, type);
    assert_int_equal(dns_question_read(w.bytes, w.len, &q), 0);
    return q;
}

static void test_patterns(_unused_ void **state)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "com",
                                      "*",
                                      "*.com",
                                      "a..b",
                                      ".a.b",
                                      "a.*.b",
                                      "*a.b.c",
                                      "a b.c",
                                      "*.*.com.de",
                                      "a/b.c",
                                      "ex\xc3\xa4mple.com",
                                      "**.a.b"};
    char p[DNS_NAME_SIZE], n[DNS_NAME_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(dns_pattern_parse(bad[i], p));
    assert_true(dns_pattern_parse("WWW.Example.com.", p));
    assert_string_equal(p, "www.example.com");
    assert_true(dns_name_parse("www.EXAMPLE.com", n));
    assert_true(dns_pattern_fits(p, n));
    assert_false(dns_name_parse("*.example.com", n));
    assert_true(dns_pattern_parse("*.example.com", p));
    assert_true(dns_pattern_fits(p, "www.example.com"));
    assert_true(dns_pattern_fits(p, "a.b.example.com"));
    assert_false(dns_pattern_fits(p, "example.com"));
    assert_false(dns_pattern_fits(p, "badexample.com"));
    assert_false(dns_pattern_fits(p, "example.com.evil.org"));
    assert_false(dns_pattern_fits(p, ""));
}

static void test_names_of_all_lengths(_unused_ void **state)
{
    char label[64], text[300], ret[DNS_NAME_SIZE];
    memset(label, 'a', sizeof(label));
    snprintf(text, sizeof(text), "%.63s.com", label);
    assert_true(dns_name_parse(text, ret));
    snprintf(text, sizeof(text), "a%.63s.com", label);
    assert_false(dns_name_parse(text, ret));
    snprintf(text, sizeof(text), "%.63s.%.63s.%.63s.%.61s", label, label, label, label);
    assert_int_equal(strlen(text), 253);
    assert_true(dns_name_parse(text, ret));
    snprintf(text, sizeof(text), "%.63s.%.63s.%.63s.%.62s", label, label, label, label);
    assert_false(dns_name_parse(text, ret));
}

static void test_a_question(_unused_ void **state)
{
    struct writer w;
    struct dns_question q = ask("WWW.example.COM", DNS_AAAA);
    assert_string_equal(q.name, "www.example.com");
    assert_int_equal(q.id, 0x1234);
    assert_int_equal(q.type, DNS_AAAA);
    q = ask("odd\\.example.com", DNS_A); /* a backslash: no text, and no failure */
    assert_string_equal(q.name, "");
    put_head(&w, 0x8180, 0); /* an answer is no question */
    put_question(&w, "a.b", DNS_A);
    assert_int_equal(dns_question_read(w.bytes, w.len, &q), -EBADMSG);
    put_head(&w, 0x2800, 0); /* an update */
    put_question(&w, "a.b", DNS_A);
    assert_int_equal(dns_question_read(w.bytes, w.len, &q), -EBADMSG);
    put_head(&w, 0x0100, 0);
    put_question(&w, "a.b", DNS_A);
    for (size_t len = 0; len < w.len; len++)
        assert_int_equal(dns_question_read(w.bytes, len, &q), -EBADMSG);
    w.bytes[5] = 2;
    assert_int_equal(dns_question_read(w.bytes, w.len, &q), -EBADMSG);
}

static void test_addresses_of_an_answer(_unused_ void **state)
{
    struct dns_question q = ask("a.example.com", DNS_A);
    struct writer w;
    size_t n;
    put_head(&w, 0x8180, 4);
    put_question(&w, "A.example.com", DNS_A);
    put_record(&w, "a.EXAMPLE.com", DNS_A, 300, four, 4);
    put_record(&w, "b.example.com", DNS_A, 300, other, 4); /* nobody asked for it */
    put_record(&w, "a.example.com", DNS_AAAA, 300, six, 16);
    put_record(&w, "a.example.com", DNS_A, 0x80000000u, other, 4);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 2);
    assert_memory_equal(list[0].bytes, four, 4);
    assert_int_equal(list[0].ttl_s, 300);
    assert_memory_equal(list[1].bytes, other, 4);
    assert_int_equal(list[1].ttl_s, 0);
    for (size_t len = 0; len < w.len; len++)
        assert_int_equal(dns_answer_read(w.bytes, len, &q, list, &n), -EBADMSG);
    q = ask("a.example.com", DNS_AAAA); /* another question */
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
    q = ask("a.example.com", DNS_A);
    q.id++;
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
    w.bytes[3] = 0x83; /* there is no such name */
    q.id--;
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 0);
}

static void test_aliases(_unused_ void **state)
{
    struct dns_question q = ask("a.example.com", DNS_AAAA);
    struct writer w;
    size_t n;
    put_head(&w, 0x8180, 4); /* in an order of their own */
    put_question(&w, "a.example.com", DNS_AAAA);
    put_record(&w, "c.example.net", DNS_AAAA, 600, six, 16);
    put_alias(&w, "b.example.org", 70, "c.example.net");
    put_alias(&w, "a.example.com", 500, "b.example.org");
    put_record(&w, "d.example.net", DNS_AAAA, 600, six, 16);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 1);
    assert_true(list[0].v6);
    assert_int_equal(list[0].ttl_s, 70);
    put_head(&w, 0x8180, 2); /* a circle */
    put_question(&w, "a.example.com", DNS_AAAA);
    put_alias(&w, "a.example.com", 5, "b.example.com");
    put_alias(&w, "b.example.com", 5, "a.example.com");
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
    put_head(&w, 0x8180, 1); /* one that leads nowhere */
    put_question(&w, "a.example.com", DNS_AAAA);
    put_alias(&w, "a.example.com", 5, "b.example.com");
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 0);
}

static void put_pointed(struct writer *w, unsigned int pointer)
{
    put16(w, 0xc000 | pointer);
    put16(w, DNS_A);
    put16(w, 1);
    put16(w, 0);
    put16(w, 60);
    put16(w, 4);
    put(w, four, 4);
}

static void test_pointers(_unused_ void **state)
{
    struct dns_question q = ask("a.example.com", DNS_A);
    struct writer w;
    size_t n, at;
    put_head(&w, 0x8180, 1);
    put_question(&w, "a.example.com", DNS_A);
    at = w.len;
    put_pointed(&w, 12);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 1);
    w.len = at; /* to itself, ahead, and past the end */
    put_pointed(&w, (unsigned int)at);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
    w.len = at;
    put_pointed(&w, (unsigned int)at + 2);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
    w.len = at;
    put_pointed(&w, 0x3fff);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
}

static void test_an_address_of_another_length(_unused_ void **state)
{
    struct dns_question q = ask("a.example.com", DNS_A);
    struct writer w;
    size_t n;
    put_head(&w, 0x8180, 1);
    put_question(&w, "a.example.com", DNS_A);
    put_record(&w, "a.example.com", DNS_A, 60, six, 16);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), -EBADMSG);
}

static void test_a_refusal(_unused_ void **state)
{
    struct dns_question q = ask("a.example.com", DNS_A);
    struct writer w;
    size_t n = 1;
    put_head(&w, 0x0100, 0);
    put_question(&w, "a.example.com", DNS_A);
    put(&w, "rest", 4);
    w.len = dns_refuse(w.bytes, w.len, DNS_SERVER_FAILURE);
    assert_int_equal(w.len, q.end);
    assert_int_equal(w.bytes[2], 0x81);
    assert_int_equal(w.bytes[3], 0x82);
    assert_int_equal(dns_answer_read(w.bytes, w.len, &q, list, &n), 0);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_names_of_all_lengths),
        cmocka_unit_test(test_a_question),
        cmocka_unit_test(test_addresses_of_an_answer),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_an_address_of_another_length),
        cmocka_unit_test(test_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
