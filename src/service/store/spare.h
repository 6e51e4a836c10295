/* Machines that were started before anybody wanted them (engine/spare.h): rows of instances that no
 * list shows. */
#pragma once

#include "service/store/store.h"

/* shape: all that makes one fit; one spare machine has it. ERROR_CONFLICT where there is one. */
int store_spare_add(struct store *s, const char *instance_id, const char *shape,
                    struct error *err) _must_check_;
/* *ret: owned, NULL when there is none. */
int store_spare_find(struct store *s, const char *shape, char **ret,
                     struct error *err) _must_check_;
/* It is an instance like any other from then on. */
int store_spare_forget(struct store *s, const char *instance_id, struct error *err) _must_check_;
int store_spare_is(struct store *s, const char *instance_id, bool *ret,
                   struct error *err) _must_check_;
/* Ids, oldest first; owned. */
int store_spare_list(struct store *s, char ***ret, struct error *err) _must_check_;
