/*
 * What is read of the DNS (RFC 1035): one question, and which addresses an answer gives for it.
 *
 * Nothing is made of it but a refusal, so a message goes on as it came. Names are kept as text in
 * small letters, without the last dot. A name of which a label has another byte than a letter, a
 * digit, - or _ has no text: it fits no pattern, and whoever asks for it gets his answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_SIZE     254u   /* of the text, with its NUL */
#define DNS_MESSAGE_MAX   65535u /* over TCP */
#define DNS_ADDRESSES_MAX 4096u  /* more do not fit into a message */
#define DNS_ALIASES_MAX   16u    /* one behind the other */

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_AAAA = 28,
};
enum dns_failure {
    DNS_FORMAT_ERROR = 1,
    DNS_SERVER_FAILURE = 2,
};

/* --- name.c --- */

/* "example.com", or "*.example.com" for every name below it, however deep; at least two labels
 * besides the star. The last dot and capitals are taken; ret has DNS_NAME_SIZE bytes. */
bool dns_pattern_parse(const char *text, char *ret);
/* The same without a star. */
bool dns_name_parse(const char *text, char *ret);
/* Both as the two above give them. */
bool dns_pattern_fits(const char *pattern, const char *name);

/* --- message.c --- */

struct dns_question {
    uint16_t id;
    uint16_t type, class;
    char name[DNS_NAME_SIZE]; /* "": it has no text */
    size_t end;               /* where the question's bytes end */
};
/* A standard query with one question: 0 or -EBADMSG. */
int dns_question_read(const uint8_t *message, size_t len, struct dns_question *ret);

struct dns_address {
    bool v6;
    uint8_t bytes[16]; /* IPv4: the first four */
    uint32_t ttl_s;    /* the least on the way to it */
};
/* The addresses that an answer to this question gives, through aliases (CNAME) that it gives, too;
 * none where it is about anything else. list has DNS_ADDRESSES_MAX entries. -EBADMSG: it is no
 * answer to it, or not well made. */
int dns_answer_read(const uint8_t *message, size_t len, const struct dns_question *q,
                    struct dns_address *list, size_t *ret_n);

/* Makes a question (at least a head of 12 bytes) its own refusal, in place; gives its length. */
size_t dns_refuse(uint8_t *message, size_t len, enum dns_failure why);
