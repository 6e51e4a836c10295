/* Rosters: members one after the other. Whatever is not exactly of the form is no roster. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "wire/peers/peers.h"

/* --- what may stand in a member --- */

static bool is_name(const char *s, size_t len)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (len == 0 || len >= PEERS_NAME_SIZE || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!s[i] || !strchr(good, s[i]) || (s[i] == '.' && i + 1 < len && s[i + 1] == '.'))
            return false;
    return true;
}

/* The length of the character there, in shortest form and none of UTF-16's halves; 0: it is none.
 */
static size_t character(const uint8_t *s, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
    uint32_t value = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    if (n == 0 || n > len || s[0] > 0xf7)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3fu);
    }
    bool control = value < 0x20 || (value >= 0x7f && value < 0xa0);
    bool half = value >= 0xd800 && value < 0xe000;
    return control || half || value < least[n] || value > 0x10ffff ? 0 : n;
}

static bool is_label(const char *s, size_t len)
{
    const char *equals = memchr(s, '=', len);
    size_t at = 0, n = 1;
    while (at < len && (n = character((const uint8_t *)s + at, len - at)) > 0)
        at += n;
    return equals && equals != s && n > 0;
}

static size_t labels_len(const struct peers_member *m)
{
    size_t at = 0;
    while (peers_member_next_label(m, &at))
        ;
    return at;
}

static bool add_name(struct peers_member *m, const char *name, size_t len)
{
    if (m->n_names == PEERS_NAMES_MAX || !is_name(name, len))
        return false;
    memcpy(m->names[m->n_names], name, len);
    m->names[m->n_names++][len] = '\0';
    return true;
}

/* *end: how much is taken of the labels' room. */
static bool add_label(struct peers_member *m, const char *label, size_t len, size_t *end)
{
    if (m->n_labels == PEERS_LABELS_MAX || !is_label(label, len) || len >= PEERS_LABELS_SIZE - *end)
        return false;
    memcpy(m->labels + *end, label, len);
    m->labels[*end + len] = '\0';
    *end += len + 1;
    m->n_labels++;
    return true;
}

bool peers_member_add_name(struct peers_member *m, const char *name)
{
    return add_name(m, name, strlen(name));
}

bool peers_member_add_label(struct peers_member *m, const char *label)
{
    size_t end = labels_len(m);
    return add_label(m, label, strlen(label), &end);
}

const char *peers_member_next_label(const struct peers_member *m, size_t *at)
{
    size_t passed = 0, end = 0;
    while (end < *at) {
        end += strlen(m->labels + end) + 1;
        passed++;
    }
    if (passed >= m->n_labels)
        return NULL;
    *at = end + strlen(m->labels + end) + 1;
    return m->labels + end;
}

bool peers_member_is_good(const struct peers_member *m)
{
    size_t end = 0;
    if (m->n_names > PEERS_NAMES_MAX || m->n_labels > PEERS_LABELS_MAX)
        return false;
    for (uint32_t i = 0; i < m->n_names; i++) {
        size_t len = strnlen(m->names[i], PEERS_NAME_SIZE);
        if (len == PEERS_NAME_SIZE || !is_name(m->names[i], len))
            return false;
    }
    for (uint32_t i = 0; i < m->n_labels; i++) {
        size_t len = strnlen(m->labels + end, PEERS_LABELS_SIZE - end);
        if (len == PEERS_LABELS_SIZE - end || !is_label(m->labels + end, len))
            return false;
        end += len + 1;
    }
    return true;
}

/* --- writing --- */

int peers_roster_begin(struct buf *body)
{
    static const uint8_t none[4];
    buf_reset(body);
    return buf_add(body, none, sizeof(none));
}

static int put_number(struct buf *b, uint32_t value, size_t bytes)
{
    uint32_t big = htobe32(value);
    return buf_add(b, (const uint8_t *)&big + (sizeof(big) - bytes), bytes);
}

static int put_string(struct buf *b, const char *s, size_t bytes_of_length)
{
    size_t len = strlen(s);
    int r = put_number(b, (uint32_t)len, bytes_of_length);
    return r < 0 ? r : buf_add(b, s, len);
}

static int put_member(struct buf *b, const struct peers_member *m)
{
    bool six = !IN6_IS_ADDR_UNSPECIFIED(&m->address6);
    const char *label;
    size_t at = 0;
    int r = buf_add(b, &m->address, sizeof(m->address));
    if (r == 0)
        r = put_number(b, six, 1);
    if (r == 0 && six)
        r = buf_add(b, &m->address6, sizeof(m->address6));
    if (r == 0)
        r = put_number(b, m->n_names, 1);
    for (uint32_t i = 0; r == 0 && i < m->n_names; i++)
        r = put_string(b, m->names[i], 1);
    if (r == 0)
        r = put_number(b, m->n_labels, 2);
    while (r == 0 && (label = peers_member_next_label(m, &at)))
        r = put_string(b, label, 2);
    return r;
}

int peers_roster_add(struct buf *body, const struct peers_member *m)
{
    size_t before = body->len;
    uint32_t n;
    memcpy(&n, body->data, sizeof(n));
    n = be32toh(n);
    int r = n == PEERS_MEMBERS_MAX ? -EFBIG : put_member(body, m);
    if (r < 0) {
        body->len = before;
        return r;
    }
    n = htobe32(n + 1);
    memcpy(body->data, &n, sizeof(n));
    return 0;
}

/* --- reading --- */

static const uint8_t *take(struct peers_reader *r, size_t n)
{
    const uint8_t *p = r->p;
    if (n > r->left)
        return NULL;
    r->p += n;
    r->left -= n;
    return p;
}

static bool take_number(struct peers_reader *r, size_t bytes, uint32_t *ret)
{
    const uint8_t *p = take(r, bytes);
    *ret = 0;
    for (size_t i = 0; p && i < bytes; i++)
        *ret = *ret << 8 | p[i];
    return p != NULL;
}

static bool take_addresses(struct peers_reader *r, struct peers_member *ret)
{
    const uint8_t *address = take(r, sizeof(ret->address)), *address6 = NULL;
    uint32_t six;
    if (!address || !take_number(r, 1, &six) || six > 1)
        return false;
    memcpy(&ret->address, address, sizeof(ret->address));
    if (six && !(address6 = take(r, sizeof(ret->address6))))
        return false;
    if (six)
        memcpy(&ret->address6, address6, sizeof(ret->address6));
    return !six || !IN6_IS_ADDR_UNSPECIFIED(&ret->address6);
}

static bool take_names(struct peers_reader *r, struct peers_member *ret)
{
    uint32_t n, len;
    if (!take_number(r, 1, &n) || n > PEERS_NAMES_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *name = take_number(r, 1, &len) ? take(r, len) : NULL;
        if (!name || !add_name(ret, (const char *)name, len))
            return false;
    }
    return true;
}

static bool take_labels(struct peers_reader *r, struct peers_member *ret)
{
    size_t end = 0;
    uint32_t n, len;
    if (!take_number(r, 2, &n) || n > PEERS_LABELS_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *label = take_number(r, 2, &len) ? take(r, len) : NULL;
        if (!label || !add_label(ret, (const char *)label, len, &end))
            return false;
    }
    return true;
}

int peers_roster_open(const void *body, size_t len, struct peers_reader *ret)
{
    *ret = (struct peers_reader){.p = body, .left = len};
    return take_number(ret, 4, &ret->n) && ret->n <= PEERS_MEMBERS_MAX ? 0 : -EBADMSG;
}

int peers_roster_next(struct peers_reader *r, struct peers_member *ret)
{
    if (r->n == 0)
        return r->left == 0 ? 0 : -EBADMSG;
    r->n--;
    memset(ret, 0, sizeof(*ret));
    return take_addresses(r, ret) && take_names(r, ret) && take_labels(r, ret) ? 1 : -EBADMSG;
}
