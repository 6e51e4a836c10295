/*
 * Patterns of file names as Docker has them, for COPY and for .dockerignore: "*" and "?" do not
 * match "/", "[a-z]" and "[^a-z]" are classes, a backslash takes the meaning away, and "**" matches
 * any number of directories where it is allowed.
 *
 * A pattern is compiled into a list of tokens and matched as a set of places in it, so that the
 * time is the product of both lengths whatever the pattern.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define PATTERN_MAX_BYTES  1024u
#define PATTERN_MAX_IGNORE 4096u /* patterns in one .dockerignore */
#define IGNORE_MAX_BYTES   ((size_t)1 << 20)

struct pattern;

bool pattern_is_plain(const char *text); /* no character of it has a meaning */
/* deep: "**" crosses directories. ERROR_INVALID for a class that is not closed and the like. */
int pattern_compile(const char *text, bool deep, struct pattern **ret,
                    struct error *err) _must_check_;
bool pattern_matches(const struct pattern *p, const char *path);
void pattern_free(struct pattern *p); /* takes NULL */
DEFINE_CLEANUP(struct pattern *, pattern_free)
#define _cleanup_pattern_ _cleanup_(pattern_free_cleanup)

/* The patterns of a .dockerignore, in order; the last that matches a path, or a directory above it,
 * decides. */
struct ignore {
    struct pattern **patterns;
    bool *negated;
    size_t n;
    bool any_negated;
};
int ignore_parse(const char *text, size_t len, const char *name, struct ignore *ret,
                 struct error *err) _must_check_;
void ignore_done(struct ignore *i);

/*
 * Whether path (relative, without "./") is left out. parent and own have i->n members each: which
 * patterns matched the directory that path is in, or one above it (NULL at the top), and, filled
 * here, which match path.
 */
bool ignore_excludes(const struct ignore *i, const char *path, const bool *parent, bool *own);
