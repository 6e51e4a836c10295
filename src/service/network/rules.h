/* The text of Proa's tables; the parts that change are sets and maps, filled by rules.c. */
#pragma once

#include "base/buf.h"

/* The port dnsmasq listens on; instances reach it as port 53 of their gateway. */
#define NAMES_PORT 10053
/* Those of instances on several networks. */
#define RESOLVER_FIRST 10054
#define RESOLVER_LAST  11053

#define RULES_TABLE   "proa"
#define RULES_VERSION "v14" /* a set by that name marks tables with this text */
/* What every port's link name begins with: the bridge table knows ports by it. */
#define PORT_LINK_PREFIX "proav"

/* What a limit object says: bytes a second, and how many at once. */
#define RATE_LIMIT "rate over %2$llu bytes/second burst %3$llu bytes;"

/* Set and map declarations come before, chains after: rules.c puts the elements between. */
extern const char rules_inet_chains[];
extern const char rules_bridge_chains[];
/* What goes into those chains with the first limit or priority; can be loaded again. */
extern const char rules_special[];

/* The table's sets and the chain for what a port may not send: it is noted there, and dropped.
 * link: by what the port is known, "iifname" or "oifname". */
int refused_put(struct buf *out, const char *family, const char *chain,
                const char *link) _must_check_;
