/* Objects as `inspect` shows them, with Docker's member names. Results are owned. */
#pragma once

#include <jansson.h>

#include "engine/engine.h"
#include "engine/view.h"
#include "service/image/image.h"
#include "service/network/network.h"
#include "service/volume/volume.h"

/* image: what the instance was made from, or NULL when it is not known. */
json_t *inspect_instance(const struct instance_view *v, const struct image *image);
json_t *inspect_machine(const struct create_options *options); /* of one that boots a disk */
json_t *inspect_image(const struct image *image);
json_t *inspect_volume(const struct volume *volume);
/* Lists its members too, with the names that all (of engine_list) know them by. */
int inspect_network(struct engine *e, const struct network *n, struct instance_view *const *all,
                    json_t **ret, struct error *err) _must_check_;
