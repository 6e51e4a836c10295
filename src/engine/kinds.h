/*
 * Which kind of instance takes which option of `run`. An option that one of them cannot keep is
 * refused before anything exists, with the reason; nothing is taken and then forgotten.
 */
#pragma once

#include "engine/options.h"

enum kind_bit {
    KIND_CONTAINER = 1u << 0,
    KIND_LIGHT = 1u << 1, /* a machine of an application image */
    KIND_DISK = 1u << 2,  /* a machine of a disk image */
};

/* ERROR_UNSUPPORTED for the first option given that this kind (one bit) refuses. */
int kinds_check(const struct create_options *o, enum kind_bit kind, struct error *err) _must_check_;
