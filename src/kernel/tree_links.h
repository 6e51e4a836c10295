/* Hard links of a tree that is sent: which files went out before, and under which name. */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

struct tree_links {
    struct tree_link *slots; /* open hash table; NULL until the first hard link */
    size_t n_slots, n;
};
/* The name under which the same file was sent before, or NULL: it is remembered then. Past a bound
 * files are sent again, which is larger but right. */
const char *tree_links_known(struct tree_links *l, const struct stat *st, const char *path);
void tree_links_done(struct tree_links *l);
