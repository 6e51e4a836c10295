/*
 * Instances of other hosts on networks that span several, as their hosts said last. Soft state: it
 * is here because every command speaks of them, and goes with the network's bridge.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>

#include "base/error.h"
#include "service/store/store.h"

struct store_heard {
    char *network, *peer; /* peer: the other host's address */
    struct in_addr address;
    struct in6_addr address6; /* ::: none */
    char **names;             /* the first is the instance's own; never NULL */
    char **labels;            /* "key=value"; never NULL */
};
void store_heard_done(struct store_heard *h);
void store_heard_list_free(struct store_heard *list, size_t n);

/* In the place of what that peer said before. Addresses that another peer has are left out. */
int store_heard_replace(struct store *s, const char *network, const char *peer,
                        const struct store_heard *list, size_t n, struct error *err) _must_check_;
/* network NULL: of all; by peer and address. */
int store_heard_list(struct store *s, const char *network, struct store_heard **ret, size_t *ret_n,
                     struct error *err) _must_check_;
/* Networks on which somebody was heard of; owned vector. */
int store_heard_networks(struct store *s, char ***ret, struct error *err) _must_check_;
int store_heard_forget(struct store *s, const char *network, struct error *err) _must_check_;
