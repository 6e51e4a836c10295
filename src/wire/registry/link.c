#include "wire/registry/link.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"

/* One link's parameters, from behind ">" to a comma outside quotes: whether rel is "next". */
static const char *read_parameters(const char *p, bool *ret_next)
{
    bool quoted = false;
    *ret_next = false;
    for (const char *at = p; *at && (quoted || *at != ','); p = ++at) {
        if (*at == '"')
            quoted = !quoted;
        if (quoted || *at != ';')
            continue;
        const char *name = at + 1 + strspn(at + 1, " \t");
        *ret_next |=
            strncasecmp(name, "rel=next", 8) == 0 || strncasecmp(name, "rel=\"next\"", 10) == 0;
    }
    return p;
}

char *link_next(const char *header)
{
    const char *p = header;
    while ((p = strchr(p, '<'))) {
        const char *end = strchr(p, '>');
        bool next;
        if (!end)
            return NULL;
        const char *after = read_parameters(end + 1, &next);
        if (next)
            return xstrndup(p + 1, (size_t)(end - p - 1));
        p = after;
    }
    return NULL;
}
