/*
 * Where packets come into the policies' table, and how those of a connection that has been asked
 * about pass quickly.
 *
 * What the rules say of a connection is the same for each of its packets until the rules change. So
 * every change of the table has a number, and a connection that was let through is marked with it
 * (ct mark): first by `egress_ok`, where all that lets a connection out leads to, then by
 * `ingress_ok`, when it finds the first's mark. A packet whose connection has the second mark is
 * asked nothing more. A change brings another number in the same transaction as its rules, so no
 * mark of before is good any more, and every connection is asked again by its next packet.
 *
 * Each chain is looked through by one number from its beginning to its end, and the two marks say
 * each what was found by rules of that number: so a packet that is on its way while a change takes
 * effect cannot bring the new mark to a connection that the new rules were not asked about.
 *
 * Only packets of who began a connection mark it: the rules look at the link where these come in.
 * Errors about it have its mark, too, and what it brings with it (a helper's, FTP) inherits it: the
 * mark counts for what is established, which the first packet of either is not. A mark that the
 * host's own rules have given stays, and its connection is asked about for each packet.
 *
 * Numbers are given to all engine roots from one row (table.c), so that none has another's. A
 * connection between instances of two roots is asked about for each packet, by both: each has a
 * number of its own, and a connection one mark.
 */
#include "service/policy/policy-internal.h"

/* The first byte tells Proa's marks from others', the last bit the two. */
#define MARK_OURS              0x50000000u
#define MARK_OURS_MASK         0xff000000u
#define MARK_ASKED_OUT(number) (MARK_OURS | (number) << 1)
#define MARK_PASSED(number)    (MARK_ASKED_OUT(number) | 1u)

static const struct way {
    const char *chain, *all, *ok;
    const char *maps[2]; /* of IPv4 and IPv6 */
    bool reply;
} ways[] = {
    {"egress", "egress_all", POLICY_EGRESS_OK, {"egress4", "egress6"}, false},
    {"ingress", "ingress_all", POLICY_INGRESS_OK, {"ingress4", "ingress6"}, true},
};

static void add(struct nft_batch *b, const char *chain, const struct nft_match *match,
                enum nft_verdict verdict, const char *target)
{
    nft_add_rule(b, NFT_INET, chain, match, verdict, target);
}

/* What nearly every packet is comes first: of a connection that has passed; of one of which an end
 * is a member. What is not of Proa's links is never kept waiting. */
static void put_way(struct nft_batch *b, const struct way *way, uint32_t number)
{
    const struct nft_mark passed = {MARK_PASSED(number), UINT32_MAX};
    nft_empty_chain(b, NFT_INET, way->chain);
    if (number)
        add(b, way->chain, &(struct nft_match){.established = true, .marked = &passed},
            NFT_VERDICT_ACCEPT, NULL);
    add(b, way->chain, &(struct nft_match){.not_links = POLICY_BRIDGES}, NFT_VERDICT_ACCEPT, NULL);
    add(b, way->chain, &(struct nft_match){.related = true}, NFT_VERDICT_JUMP, "errors");
    for (int v6 = 0; v6 < 2; v6++) {
        const struct nft_end end = {
            .reply = way->reply, .v6 = v6, .set = way->maps[v6], .map = true};
        add(b, way->chain, &(struct nft_match){.end = &end}, NFT_VERDICT_NONE, NULL);
    }
    add(b, way->chain, &(struct nft_match){NULL}, NFT_VERDICT_GOTO, way->all);
}

static void put_egress_ok(struct nft_batch *b, uint32_t number)
{
    const struct nft_mark none = {0, UINT32_MAX}, ours = {MARK_OURS, MARK_OURS_MASK},
                          out = {MARK_ASKED_OUT(number), 0};
    const struct nft_mark *const may[] = {&none, &ours};
    for (size_t i = 0; number && i < ARRAY_SIZE(may); i++) {
        const struct nft_match match = {.marked = may[i], .original = true, .give_mark = &out};
        add(b, POLICY_EGRESS_OK, &match, NFT_VERDICT_ACCEPT, NULL);
    }
}

static void put_ingress_ok(struct nft_batch *b, uint32_t number)
{
    const struct nft_mark out = {MARK_ASKED_OUT(number), UINT32_MAX},
                          passed = {MARK_PASSED(number), 0};
    const struct nft_match match = {.marked = &out, .original = true, .give_mark = &passed};
    if (number)
        add(b, POLICY_INGRESS_OK, &match, NFT_VERDICT_ACCEPT, NULL);
}

void ways_put(struct nft_batch *b, uint32_t number)
{
    static const struct nft_match any = {NULL};
    number &= WAYS_NUMBER_MAX;
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        put_way(b, &ways[i], number);
        nft_empty_chain(b, NFT_INET, ways[i].ok);
    }
    put_egress_ok(b, number);
    put_ingress_ok(b, number);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
        add(b, ways[i].ok, &any, NFT_VERDICT_ACCEPT, NULL);
}

void ways_open_host(struct nft_batch *b)
{
    add(b, "host", &(struct nft_match){NULL}, NFT_VERDICT_GOTO, "host_all");
}
