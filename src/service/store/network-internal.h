/* Shared by network.c and port.c: addresses and lists as columns. */
#pragma once

#include <netinet/in.h>

#include "service/store/network.h"
#include "service/store/sql.h"

/* IPv4 addresses are integers in host order, so that ranges can be compared; 0.0.0.0 is none. */
int64_t address_to_row(struct in_addr a);
struct in_addr address_from_row(int64_t n);

/* IPv6 addresses are text; :: is none, and NULL in the row. */
struct address6_row {
    char text[INET6_ADDRSTRLEN];
    const char *value; /* text, or NULL */
};
void address6_to_row(const struct in6_addr *a, struct address6_row *ret);
struct in6_addr address6_of_column(sqlite3_stmt *q, int column);

/* A list of strings as JSON, and back; owned. */
char *strv_to_row(char *const *v);
char **strv_of_column(sqlite3_stmt *q, int column);
