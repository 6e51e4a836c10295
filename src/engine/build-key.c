/*
 * The key of a step is a digest of everything that its layer is made from: the layers below by
 * their own digests (so that whatever led to the same files leads to the same key), the step in its
 * expanded form, what it sees of the configuration, the contents that it copies, and the epoch.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "engine/build-internal.h"

#define KEY_VERSION 1

void build_key_add_layers(struct sha256 *h, const struct build_root *r)
{
    sha256_add_u64(h, r->n_layers);
    for (size_t i = 0; i < r->n_layers; i++)
        sha256_add_text(h, r->layers[i].diff_id);
}

void build_key_begin(struct sha256 *h, const struct build_stage *s, const char *what)
{
    const struct build_options *o = s->build->o;
    sha256_init(h);
    sha256_add_u64(h, KEY_VERSION);
    sha256_add_text(h, what);
    sha256_add_u64(h, o->has_epoch);
    sha256_add_u64(h, (uint64_t)o->epoch_s);
    build_key_add_layers(h, &s->root);
}

void build_key_add_list(struct sha256 *h, char *const *list)
{
    for (size_t i = 0; list && list[i]; i++)
        sha256_add_text(h, list[i]);
    sha256_add_text(h, NULL);
}

struct build_key build_key_end(struct sha256 *h)
{
    struct build_key key;
    unsigned char digest[SHA256_SIZE];
    sha256_end(h, digest);
    hex_encode(digest, sizeof(digest), key.text);
    return key;
}

int build_key_use(struct build_stage *s, const struct build_key *key, const char *created_by,
                  struct error *err)
{
    struct image_layer layer = {0};
    int64_t created_ns = 0;
    bool found = false;
    if (s->build->o->no_cache)
        return 0;
    int r = image_build_cached(&s->build->image, key->text, &layer, &created_ns, &found, err);
    if (r < 0 || !found)
        return r;
    build_say(s->build, "--> Using cache");
    build_stage_add(s, &layer, created_by, created_ns);
    return 1;
}
