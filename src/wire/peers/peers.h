/*
 * What hosts that share a network tell each other: who is there.
 *
 * Over TCP. Whoever connects tells, whoever is connected to listens; each host does both with each
 * of its peers. All numbers are in network byte order.
 *
 *   listener  greeting: "PROAPEER", version (4), number of the VXLAN (4), 32 random bytes
 *   teller    messages, one after the other: kind (1), zeros (3), length of the body (4); the body;
 *             a tag (32)
 *
 * The body of a roster is the number of members (4) and then each of them: address (4), whether it
 * has one of IPv6 (1), that (16), names (1 for their number, then each behind its length in 1),
 * labels (2, then each behind its length in 2). Other bodies are empty.
 *
 * The tag is HMAC-SHA-256 (RFC 2104) of the greeting, the message's number on its connection (8)
 * and the message, with the key that both hosts were given. So what was recorded is of no use on
 * another connection or in another place of its own. Without a key the key is empty, and the tag
 * keeps nobody out.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/sha256.h"

#define PEERS_VERSION       1u
#define PEERS_RANDOM_SIZE   32u
#define PEERS_GREETING_SIZE (16u + PEERS_RANDOM_SIZE)
#define PEERS_HEAD_SIZE     8u
#define PEERS_TAG_SIZE      SHA256_SIZE
#define PEERS_KEY_SIZE      SHA256_SIZE
#define PEERS_BODY_MAX      ((size_t)1 << 20)
#define PEERS_MESSAGE_MAX   (PEERS_HEAD_SIZE + PEERS_BODY_MAX + PEERS_TAG_SIZE)

#define PEERS_MEMBERS_MAX 1000u /* of one host on one network */
#define PEERS_NAMES_MAX   16u
#define PEERS_NAME_SIZE   254u /* with its NUL */
#define PEERS_LABELS_MAX  128u
#define PEERS_LABELS_SIZE 16384u /* of one member, each with its NUL */

enum peers_kind {
    PEERS_ROSTER = 1, /* these are here, and nobody else */
    PEERS_SAME,       /* as the last roster said */
    PEERS_FAREWELL,   /* nobody is here any more */
};

/* Names are of letters, digits, "_", "." and "-"; labels are "key=value" in UTF-8 without control
 * characters: both can be printed. */
struct peers_member {
    struct in_addr address;
    struct in6_addr address6; /* ::: none */
    uint32_t n_names, n_labels;
    char names[PEERS_NAMES_MAX][PEERS_NAME_SIZE];
    char labels[PEERS_LABELS_SIZE]; /* one behind the other, each with its NUL */
};

/* --- roster.c --- */

/* False: it is more than a member may have, or none of the form above. */
bool peers_member_add_name(struct peers_member *m, const char *name);
bool peers_member_add_label(struct peers_member *m, const char *label);
/* From the first, with *at 0, to the last; then NULL. */
const char *peers_member_next_label(const struct peers_member *m, size_t *at);
/* Whether names and labels are such as are allowed, and not too many: of a struct that another
 * process has filled. */
bool peers_member_is_good(const struct peers_member *m);

/* An empty body, and one more member; -EFBIG: there is no room for it, and the body is as before.
 */
int peers_roster_begin(struct buf *body) _must_check_;
int peers_roster_add(struct buf *body, const struct peers_member *m) _must_check_;

struct peers_reader {
    const uint8_t *p;
    size_t left;
    uint32_t n; /* members to come */
};
/* 0, or -EBADMSG: it is none. */
int peers_roster_open(const void *body, size_t len, struct peers_reader *ret) _must_check_;
/* 1 with the next member, 0 at the end, -EBADMSG. */
int peers_roster_next(struct peers_reader *r, struct peers_member *ret) _must_check_;

/* --- message.c --- */

void peers_greeting(uint32_t vxlan_id, const uint8_t random[static PEERS_RANDOM_SIZE],
                    uint8_t ret[static PEERS_GREETING_SIZE]);
bool peers_greeting_is_good(const uint8_t greeting[static PEERS_GREETING_SIZE], uint32_t vxlan_id);

/* One direction of one connection. */
struct peers_session {
    uint8_t greeting[PEERS_GREETING_SIZE];
    uint8_t key[PEERS_KEY_SIZE];
    size_t key_len;  /* 0: none */
    uint64_t number; /* of the next message */
};
/* Appends a message; -EFBIG. */
int peers_message_put(struct peers_session *s, enum peers_kind kind, const void *body, size_t len,
                      struct buf *out) _must_check_;

struct peers_message {
    enum peers_kind kind;
    const uint8_t *body; /* in what was given */
    size_t len;
    size_t whole; /* bytes that the message took */
};
/* 1: the first message of the bytes; 0: more are needed; -EBADMSG: it is none; -EKEYREJECTED: it is
 * of another key, connection or place. */
int peers_message_take(struct peers_session *s, const void *data, size_t len,
                       struct peers_message *ret) _must_check_;

/* --- tag.c --- */

struct peers_hmac {
    struct sha256 inner;
    uint8_t outer_key[64];
};
/* A key of at most 64 bytes. */
void peers_hmac_begin(struct peers_hmac *h, const void *key, size_t len);
void peers_hmac_add(struct peers_hmac *h, const void *data, size_t len);
void peers_hmac_end(struct peers_hmac *h, uint8_t ret[static PEERS_TAG_SIZE]);
/* In a time that does not tell where they differ. */
bool peers_tag_equal(const uint8_t a[static PEERS_TAG_SIZE],
                     const uint8_t b[static PEERS_TAG_SIZE]);
