/*
 * What cloud-init inside a machine that boots a disk is told: a small disk with the user, the keys,
 * the name, the addresses (wire/seed/), made anew at each start.
 */
#pragma once

#include "engine/disk-machine.h"

/* Reads the files that the flags name into the options, and checks them. */
int cloud_complete(struct create_options *o, struct error *err) _must_check_;
/* Writes the disk into the bundle and adds it to b->machine; nothing when it is not wanted. */
int cloud_describe(const struct subject *s, struct bundle *b, struct error *err) _must_check_;
