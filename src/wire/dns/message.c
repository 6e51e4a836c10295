/*
 * Messages. A name is labels, each behind its length, up to one of length 0 or a pointer to where
 * it goes on (RFC 1035, 4.1.4). A pointer may only lead back, before where the name began or the
 * pointer before led to, so every name ends; and not into the head, which is no name.
 */
#include <errno.h>
#include <string.h>

#include "wire/dns/dns-internal.h"

#define HEAD        12u
#define RECORD_HEAD 10u /* type, class, time to live, length */
#define CLASS_IN    1u
#define WIRE_MAX    255u /* of a name, without pointers */

#define FLAG_ANSWER   0x8000u
#define MASK_OPCODE   0x7800u
#define MASK_CODE     0x000fu
#define FLAG_RECURSE  0x0100u
#define FLAG_RECURSES 0x0080u

struct message {
    const uint8_t *bytes;
    size_t len;
};

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint16_t n)
{
    at[0] = (uint8_t)(n >> 8);
    at[1] = (uint8_t)n;
}

/* --- names --- */

/* One label onto the text; a byte that a text has not makes it none, for good. */
static void add_label(char *text, size_t *used, bool *plain, const uint8_t *label, size_t len)
{
    if (*used > 0)
        text[(*used)++] = '.';
    for (size_t i = 0; i < len; i++) {
        text[*used] = dns_byte_small((char)label[i]);
        *plain &= dns_byte_is_plain(text[(*used)++]);
    }
}

/* The name at *at as text (DNS_NAME_SIZE bytes; "" when it has none), and *at behind it. */
static bool read_name(const struct message *m, size_t *at, char *text)
{
    size_t place = *at, least = *at, wire = 1, used = 0;
    bool plain = true, jumped = false;
    for (;;) {
        if (place >= m->len)
            return false;
        uint8_t len = m->bytes[place];
        if ((len & 0xc0) == 0xc0) {
            if (place + 2 > m->len)
                return false;
            size_t target = get16(m->bytes + place) & 0x3fffu;
            if (target >= least || target < HEAD)
                return false;
            if (!jumped)
                *at = place + 2;
            jumped = true;
            place = least = target;
            continue;
        }
        if (len & 0xc0 || place + 1 + len > m->len)
            return false;
        if (len == 0)
            break;
        wire += len + 1u;
        if (wire > WIRE_MAX)
            return false;
        add_label(text, &used, &plain, m->bytes + place + 1, len);
        place += 1u + len;
    }
    if (!jumped)
        *at = place + 1;
    text[plain ? used : 0] = '\0';
    return true;
}

/* --- questions --- */

static bool read_question(const struct message *m, struct dns_question *q)
{
    size_t at = HEAD;
    if (!read_name(m, &at, q->name) || at + 4 > m->len)
        return false;
    q->id = get16(m->bytes);
    q->type = get16(m->bytes + at);
    q->class = get16(m->bytes + at + 2);
    q->end = at + 4;
    return true;
}

int dns_question_read(const uint8_t *message, size_t len, struct dns_question *ret)
{
    const struct message m = {message, len};
    if (len < HEAD || len > DNS_MESSAGE_MAX || get16(message + 4) != 1 ||
        get16(message + 2) & (FLAG_ANSWER | MASK_OPCODE))
        return -EBADMSG;
    return read_question(&m, ret) ? 0 : -EBADMSG;
}

/* The question is repeated, a byte for a byte but for capitals. */
static bool answers(const struct message *m, const struct dns_question *q,
                    struct dns_question *ret_same)
{
    return m->len >= HEAD && m->len <= DNS_MESSAGE_MAX && get16(m->bytes) == q->id &&
           (get16(m->bytes + 2) & (FLAG_ANSWER | MASK_OPCODE)) == FLAG_ANSWER &&
           get16(m->bytes + 4) == 1 && read_question(m, ret_same) && ret_same->type == q->type &&
           ret_same->class == q->class && strcmp(ret_same->name, q->name) == 0;
}

/* --- answers --- */

struct record {
    char owner[DNS_NAME_SIZE];
    uint16_t type;
    uint32_t ttl_s;
    size_t data, len;
};

static bool read_record(const struct message *m, size_t *at, struct record *r)
{
    if (!read_name(m, at, r->owner) || *at + RECORD_HEAD > m->len)
        return false;
    const uint8_t *head = m->bytes + *at;
    uint32_t ttl_s = get32(head + 4);
    r->type = get16(head + 2) == CLASS_IN ? get16(head) : 0;
    r->ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s; /* RFC 2181, 8 */
    r->len = get16(head + 8);
    r->data = *at + RECORD_HEAD;
    if (r->data + r->len > m->len)
        return false;
    *at = r->data + r->len;
    return true;
}

/* What is collected on the way from a name to its addresses. */
struct way {
    char name[DNS_NAME_SIZE];
    uint32_t ttl_s;
    struct dns_address *list;
    size_t n;
};

static bool take_address(const struct message *m, const struct record *r, struct way *w)
{
    size_t len = r->type == DNS_AAAA ? 16 : 4;
    if (r->len != len || w->n == DNS_ADDRESSES_MAX)
        return false;
    struct dns_address *a = &w->list[w->n++];
    *a = (struct dns_address){.v6 = r->type == DNS_AAAA,
                              .ttl_s = r->ttl_s < w->ttl_s ? r->ttl_s : w->ttl_s};
    memcpy(a->bytes, m->bytes + r->data, len);
    return true;
}

/* One look at all records for one name: its addresses, or where its alias leads to. */
static bool look(const struct message *m, const struct dns_question *q, size_t start, struct way *w,
                 bool *ret_alias)
{
    size_t at = start, n = get16(m->bytes + 6);
    char target[DNS_NAME_SIZE] = "";
    uint32_t ttl_s = 0;
    struct record r;
    *ret_alias = false;
    for (size_t i = 0; i < n; i++) {
        if (!read_record(m, &at, &r))
            return false;
        if (!*r.owner || strcmp(r.owner, w->name) != 0)
            continue;
        if (r.type == q->type && !take_address(m, &r, w))
            return false;
        size_t data = r.data;
        if (r.type != DNS_CNAME || *ret_alias)
            continue;
        if (!read_name(m, &data, target) || data != r.data + r.len)
            return false;
        *ret_alias = *target != '\0';
        ttl_s = r.ttl_s;
    }
    if (*ret_alias) {
        memcpy(w->name, target, sizeof(target));
        w->ttl_s = ttl_s < w->ttl_s ? ttl_s : w->ttl_s;
    }
    return true;
}

int dns_answer_read(const uint8_t *message, size_t len, const struct dns_question *q,
                    struct dns_address *list, size_t *ret_n)
{
    const struct message m = {message, len};
    struct dns_question same;
    struct way w = {.ttl_s = INT32_MAX, .list = list};
    bool alias = true;
    *ret_n = 0;
    if (!answers(&m, q, &same))
        return -EBADMSG;
    if (!*q->name || q->class != CLASS_IN || (q->type != DNS_A && q->type != DNS_AAAA) ||
        get16(message + 2) & MASK_CODE)
        return 0;
    memcpy(w.name, q->name, sizeof(w.name));
    for (size_t i = 0; alias && w.n == 0; i++)
        if (i > DNS_ALIASES_MAX || !look(&m, q, same.end, &w, &alias))
            return -EBADMSG;
    *ret_n = w.n;
    return 0;
}

size_t dns_refuse(uint8_t *message, size_t len, enum dns_failure why)
{
    struct dns_question q;
    const struct message m = {message, len};
    uint16_t flags = get16(message + 2) & (MASK_OPCODE | FLAG_RECURSE);
    bool one = get16(message + 4) == 1 && read_question(&m, &q);
    put16(message + 2, (uint16_t)(flags | FLAG_ANSWER | FLAG_RECURSES | why));
    put16(message + 4, one);
    memset(message + 6, 0, 6);
    return one ? q.end : HEAD;
}
