/* Shared by the files about policies of engine/ only: what a word of a question means. */
#pragma once

#include "engine/policy.h"

struct place {
    char *network;
    struct policy_address address;
    struct policy_address address6; /* v6 false: it has none */
    bool default_deny, internal;
};
struct party {
    struct policy_endpoint endpoint;
    char **labels;
    char *instance_id;
    bool by_address; /* an instance that was asked for by one of its addresses */
    struct policy_address address;
    char *host; /* another host's, whose instance it is; NULL: here */
    struct place *places;
    size_t n_places;
    char **domains; /* of a host outside: as whom the question, or the instance, knows it */
};

void party_done(struct party *p);
int party_read_instance(struct engine *e, const char *id, struct party *ret,
                        struct error *err) _must_check_;
/* An instance here, or else one of another host's. */
int party_read_named(struct engine *e, const char *text, struct party *ret,
                     struct error *err) _must_check_;
/* target: the name of a host outside will do. */
int party_read(struct engine *e, const char *text, bool target, struct party *ret,
               struct error *err) _must_check_;
