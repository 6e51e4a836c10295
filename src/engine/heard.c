/* Instances of other hosts, by the words that commands know them by. */
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/heard.h"

char *heard_name(const struct store_heard *h)
{
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &h->address, address, sizeof(address));
    return xasprintf("%s@%s", h->names[0] ? h->names[0] : address, h->peer);
}

static bool has_address(const struct store_heard *h, const char *text)
{
    struct in_addr a4;
    struct in6_addr a6;
    return (inet_pton(AF_INET, text, &a4) == 1 && a4.s_addr == h->address.s_addr) ||
           (inet_pton(AF_INET6, text, &a6) == 1 && IN6_ARE_ADDR_EQUAL(&a6, &h->address6));
}

static bool is_called(const struct store_heard *h, const char *text)
{
    _cleanup_free_ char *full = heard_name(h);
    return has_address(h, text) || strcmp(full, text) == 0 || strv_has(h->names, text);
}

int heard_find(struct engine *e, const char *text, struct store_heard *ret, struct error *err)
{
    struct store_heard *list = NULL;
    size_t n = 0, found = 0, at = 0;
    int r = store_heard_list(e->store, NULL, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (is_called(&list[i], text)) {
            found++;
            at = i;
        }
    if (r == 0 && found == 0)
        r = error_set(err, ERROR_NOT_FOUND, ENOENT, "no instance named %.80s", text);
    if (r == 0 && found > 1) {
        _cleanup_free_ char *one = heard_name(&list[at]);
        r = error_set(
            err, ERROR_CONFLICT, EEXIST,
            "%.80s is the name of several instances of other hosts: say %s, or an address", text,
            one);
    }
    if (r == 0) {
        *ret = list[at];
        list[at] = (struct store_heard){.network = NULL};
    }
    store_heard_list_free(list, n);
    return r;
}
