/* One question to a registry each, over whichever way reaches it. */
#pragma once

#include "service/registry/registry.h"

/* f in a session over each way in turn, until one answers (registry_may_try_next). */
typedef int (*registry_question)(struct registry_session *s, void *context, struct error *err);
int registry_ask(const struct registry_options *o, const char *registry, const char *repository,
                 bool for_writing, registry_question f, void *context,
                 struct error *err) _must_check_;

/* Whether it is a registry, and takes the credentials of o. */
int registry_check(const struct registry_options *o, const char *registry,
                   struct error *err) _must_check_;

/* All tags of a repository; owned. */
int registry_tags(const struct registry_options *o, const struct reference *of, char ***ret,
                  struct error *err) _must_check_;

/* Takes a manifest out of its repository, by digest: all tags of it go. *ret_digest is owned. */
int registry_delete(const struct registry_options *o, const struct reference *of, char **ret_digest,
                    struct error *err) _must_check_;

/* What refers to a manifest (signatures, attestations): an index's "manifests", each an object with
 * a valid digest; owned. Registries without that question are asked by the tag that stands for it.
 */
int registry_referrers(const struct registry_options *o, const struct reference *of, json_t **ret,
                       struct error *err) _must_check_;

/* True when the next way may be tried after this failure (-errno) of the first: to another host
 * always; to the same one (http after https) only when there was no answer. */
bool registry_may_try_next(const struct registry_endpoint *at, int failure);
