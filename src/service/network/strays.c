/*
 * Networks that are up and that the store does not know: the command that removed one was killed,
 * or the root's directory has gone, and this one by the same path is another. RUN has what they
 * were: NAME/up (bridge.c).
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"

/* As much of it as its end needs; false: nothing is up by that name. */
static bool read_up(struct store *s, const char *name, struct network *ret)
{
    _cleanup_free_ char *path = xasprintf("%s/networks/%s/up", s->run, name), *text = NULL;
    char bridge[IFNAMSIZ];
    uint32_t index;
    if (file_read(AT_FDCWD, path, 64, &text) < 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    _cleanup_strv_ char **words = strv_split(text, ' ');
    if (strv_len(words) != 2 || parse_u32(words[0], &index) < 0 || !is_hex(words[1], 16) ||
        !if_indextoname(index, bridge))
        return false;
    *ret =
        (struct network){.name = xstrdup(name), .id = xstrdup(words[1]), .bridge = xstrdup(bridge)};
    _cleanup_free_ char *own = bridge_own_name(ret);
    /* The index may be another link's by now. */
    return strcmp(bridge, own) == 0 || (s->tag == 0 && strcmp(bridge, DEFAULT_BRIDGE) == 0);
}

static int take_down(struct store *s, struct netlink *nl, const char *name, struct error *err)
{
    _cleanup_network_ struct network *up = xnew(struct network), *known = NULL;
    if (!read_up(s, name, up) || (store_network_find(s, name, &known, NULL) == 0 &&
                                  strncmp(known->id, up->id, strlen(up->id)) == 0))
        return 0;
    return bridge_down(s, nl, up, err);
}

int strays_down(struct store *s, struct netlink *nl, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->run, "networks");
    DIR *d = opendir(path);
    const struct dirent *entry;
    int r = 0;
    if (!d)
        return error_errno(err, errno, "read %s", path);
    while (r == 0 && (entry = readdir(d)))
        if (names_valid(entry->d_name))
            r = take_down(s, nl, entry->d_name, err);
    closedir(d);
    return r;
}
