/* Greetings and messages: what stands around a roster. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "wire/peers/peers.h"

static const char word[8] = "PROAPEER";

static void put_u32(uint8_t *to, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(to, &big, sizeof(big));
}

static uint32_t get_u32(const uint8_t *from)
{
    uint32_t big;
    memcpy(&big, from, sizeof(big));
    return be32toh(big);
}

void peers_greeting(uint32_t vxlan_id, const uint8_t random[static PEERS_RANDOM_SIZE],
                    uint8_t ret[static PEERS_GREETING_SIZE])
{
    memcpy(ret, word, sizeof(word));
    put_u32(ret + 8, PEERS_VERSION);
    put_u32(ret + 12, vxlan_id);
    memcpy(ret + 16, random, PEERS_RANDOM_SIZE);
}

bool peers_greeting_is_good(const uint8_t greeting[static PEERS_GREETING_SIZE], uint32_t vxlan_id)
{
    return memcmp(greeting, word, sizeof(word)) == 0 && get_u32(greeting + 8) == PEERS_VERSION &&
           get_u32(greeting + 12) == vxlan_id;
}

static void make_tag(const struct peers_session *s, const void *message, size_t len,
                     uint8_t ret[static PEERS_TAG_SIZE])
{
    uint64_t number = htobe64(s->number);
    struct peers_hmac h;
    peers_hmac_begin(&h, s->key, s->key_len);
    peers_hmac_add(&h, s->greeting, sizeof(s->greeting));
    peers_hmac_add(&h, &number, sizeof(number));
    peers_hmac_add(&h, message, len);
    peers_hmac_end(&h, ret);
}

int peers_message_put(struct peers_session *s, enum peers_kind kind, const void *body, size_t len,
                      struct buf *out)
{
    size_t whole = PEERS_HEAD_SIZE + len + PEERS_TAG_SIZE;
    char *space;
    int r = len > PEERS_BODY_MAX ? -EFBIG : buf_reserve(out, whole, &space);
    if (r < 0)
        return r;
    uint8_t *p = (uint8_t *)space;
    memset(p, 0, PEERS_HEAD_SIZE);
    p[0] = (uint8_t)kind;
    put_u32(p + 4, (uint32_t)len);
    if (len > 0)
        memcpy(p + PEERS_HEAD_SIZE, body, len);
    make_tag(s, p, PEERS_HEAD_SIZE + len, p + PEERS_HEAD_SIZE + len);
    s->number++;
    out->len += whole;
    return 0;
}

int peers_message_take(struct peers_session *s, const void *data, size_t len,
                       struct peers_message *ret)
{
    const uint8_t *p = data;
    uint8_t tag[PEERS_TAG_SIZE];
    if (len < PEERS_HEAD_SIZE)
        return 0;
    size_t body = get_u32(p + 4);
    if (p[0] < PEERS_ROSTER || p[0] > PEERS_FAREWELL || p[1] || p[2] || p[3] ||
        body > PEERS_BODY_MAX || (p[0] != PEERS_ROSTER && body > 0))
        return -EBADMSG;
    if (len < PEERS_HEAD_SIZE + body + PEERS_TAG_SIZE)
        return 0;
    make_tag(s, p, PEERS_HEAD_SIZE + body, tag);
    if (!peers_tag_equal(tag, p + PEERS_HEAD_SIZE + body))
        return -EKEYREJECTED;
    s->number++;
    *ret = (struct peers_message){.kind = (enum peers_kind)p[0],
                                  .body = p + PEERS_HEAD_SIZE,
                                  .len = body,
                                  .whole = PEERS_HEAD_SIZE + body + PEERS_TAG_SIZE};
    return 1;
}
