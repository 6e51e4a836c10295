/* The flags of AGENT_PREPARE, which makes a machine a template, and of AGENT_ADOPT, which makes a
 * spare machine somebody's. */
#pragma once

#include <stdint.h>

/* AGENT_PREPARE: the writable disk is new, and as it stays. The second time: the image's layers are
 * there, too, and how many. */
#define AGENT_PREPARE_DISK          (1u << 0)
#define AGENT_PREPARE_ROOT          (1u << 1)
#define AGENT_PREPARE_LAYERS(flags) ((flags) >> 8)
#define AGENT_PREPARE_ROOT_OF(n)    (AGENT_PREPARE_ROOT | (uint32_t)(n) << 8)

/* AGENT_ADOPT: nobody will want the disk afterwards. */
#define AGENT_ADOPT_EPHEMERAL (1u << 0)
