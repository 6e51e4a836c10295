/*
 * Manifests and indexes of any kind, as a registry keeps them: what they are, what they need, whom
 * they belong to. What is inside an image is manifest.h's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ARTIFACT_MAX_BYTES ((size_t)4 << 20)
#define ARTIFACT_MAX_VALUES                                                                        \
    65536u /* of any depth: what is parsed is many times larger than its text */

struct artifact_need {
    char *digest; /* sha256 or sha512, checked by the caller's own function */
    uint64_t size;
    bool manifest; /* of an index; otherwise a blob */
};

struct artifact {
    char *media_type;
    char *artifact_type; /* as the referrers API has it; NULL when there is none */
    char *subject;       /* digest, or NULL */
    char *annotations;   /* a JSON object, or NULL */
    bool index;
    struct artifact_need *needs; /* without layers that are not to be distributed */
    size_t n_needs;
};
void artifact_done(struct artifact *a);

/* media_type: what the document was announced as, or NULL. digest_ok: which digests are accepted.
 */
int artifact_parse(const char *text, size_t len, const char *media_type,
                   bool (*digest_ok)(const char *digest), struct artifact *ret,
                   struct error *err) _must_check_;

/* The same as an entry of the list of referrers has it; borrowed members. */
struct artifact_entry {
    const char *media_type, *digest, *artifact_type, *annotations;
    uint64_t size;
};
/* An image index with the entries; owned text. */
char *artifact_index_make(const struct artifact_entry *entries, size_t n);
