/*
 * The agent's messages about snapshots.
 *
 *   AGENT_SETTLE          to the guest, on stream 0: u32 whether to freeze the writable disk's file
 *                         system
 *   AGENT_SETTLED         its answer, u32 whether that is frozen, and the last that it sends until
 *   AGENT_RESUME          comes (struct agent_resume; no answer): so that in between both
 *                         directions of the port are between two frames
 *   AGENT_SNAPSHOT        answered by proa-vm itself: u32 AGENT_SNAPSHOT_*
 *   AGENT_SNAPSHOT_REPLY  u8 whether the disk was frozen, u64 microseconds that the guest stood
 *                         still
 */
#pragma once

#include "wire/agent/agent.h"

/* Each set one of DISK(0) and up (an empty overlay for that disk), MEMORY (where to write it) and
 * HOLD comes as a descriptor, in this order. All disks change at one moment. HOLD: after the reply
 * the machine stands still until the connection ends, and then goes on, or ends if that file begins
 * with AGENT_SNAPSHOT_MOVED: a migration whose command is killed at any moment leaves one machine.
 */
#define AGENT_SNAPSHOT_FREEZE    1u
#define AGENT_SNAPSHOT_MEMORY    4u
#define AGENT_SNAPSHOT_HOLD      8u
#define AGENT_SNAPSHOT_DISK(n)   (0x10000u << (n)) /* n < AGENT_SNAPSHOT_DISKS_MAX */
#define AGENT_SNAPSHOT_DISKS     0xffff0000u       /* any of them */
#define AGENT_SNAPSHOT_DISKS_MAX 16u
#define AGENT_SNAPSHOT_MOVED     'M'

/* Where the guest is after it has stood still. restored: in a new process of the host's, at another
 * time, and none of the streams but the workload's is there any more. */
struct agent_resume {
    bool restored;
    int64_t clock_ns; /* 0: its processors have not stood still */
    const char *seed;
    size_t seed_len;
    struct agent_network *networks; /* as in struct agent_configure */
    size_t n_networks;
};
int agent_resume_add(struct buf *out, const struct agent_resume *r) _must_check_;
int agent_resume_get(const struct agent_frame *f, struct agent_resume *ret,
                     struct error *err) _must_check_;
/* Frees the array that agent_resume_get made; not for structures filled by hand. */
void agent_resume_done(struct agent_resume *r);

int agent_add_snapshot_reply(struct buf *out, uint32_t stream, bool frozen,
                             uint64_t pause_us) _must_check_;
int agent_get_snapshot_reply(const struct agent_frame *f, bool *ret_frozen, uint64_t *ret_pause_us,
                             struct error *err) _must_check_;
