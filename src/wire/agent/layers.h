/*
 * Many layers on one disk. A light machine has room for some twenty devices; an image whose layers
 * do not fit has all of them on one read-only disk with the serial AGENT_LAYERS_SERIAL, one after
 * the other, bottom first, behind a table of where each of them is.
 *
 *   u8[8] "PROALAYR" | u32 count | u32 zero | count times (u64 start, u64 length)   (little-endian)
 *
 * Starts and lengths are in bytes from the beginning of the disk, whole sectors. The table has
 * AGENT_LAYERS_TABLE bytes, zeros behind what it says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define AGENT_LAYERS_SERIAL "layers"
#define AGENT_LAYERS_TABLE  ((size_t)8192)
#define AGENT_LAYERS_MAX    255u /* the kernel's partitions of a disk */
#define AGENT_SECTOR        512u

struct agent_layer_place {
    uint64_t start, length;
};

/* Places layers of these lengths. -E2BIG for too many, -EINVAL for one that is empty or not whole
 * sectors. out has AGENT_LAYERS_TABLE bytes. */
int agent_layers_write(const uint64_t *lengths, size_t n, unsigned char *out) _must_check_;

/* list has room for AGENT_LAYERS_MAX. -EPROTO for what agent_layers_write() would not write. */
int agent_layers_parse(const unsigned char *table, struct agent_layer_place *list, size_t *ret_n,
                       struct error *err) _must_check_;
