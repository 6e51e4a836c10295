/*
 * Where an instance stands: what --network says, taken apart.
 *
 *   none, host, container:NAME       alone
 *   NAME[:ip=,ip6=,mac=,alias=]...   Podman's words, or
 *   name=NAME,ip=,ip6=,mac-address=,alias=   Docker's
 *
 * "default" and "bridge" are the default network. Without any --network it is that, too. --ip,
 * --ip6, --mac-address and --network-alias speak of the one network there is.
 */
#pragma once

#include "base/error.h"
#include "engine/options.h"

enum place_mode {
    PLACE_NETWORKS,
    PLACE_NONE,
    PLACE_HOST,
    PLACE_CONTAINER, /* in the network namespace of another container */
};

/* All strings owned; NULL: not given. */
struct place {
    char *network;
    char *ip, *ip6, *mac;
    char **aliases;
};

struct places {
    enum place_mode mode;
    char *container; /* PLACE_CONTAINER: its name or id */
    struct place *list;
    size_t n;
};

void place_done(struct place *p);
void places_done(struct places *p);
#define _cleanup_places_ _cleanup_(places_done)

/* One NAME with its words; never a mode. */
int place_parse(const char *text, struct place *ret, struct error *err) _must_check_;
char *place_text(const struct place *p); /* Podman's words; owned */
int places_parse(const struct create_options *o, struct places *ret,
                 struct error *err) _must_check_;

bool places_has(const struct places *p, const char *network);
/* Copies it. ERROR_LIMIT when there are too many. */
int places_add(struct places *p, const struct place *one, struct error *err) _must_check_;
void places_remove(struct places *p, const char *network);

/* Whether the instance uses the host's own network. */
bool place_is_host(const struct create_options *o);
