/*
 * The protocol between a light machine's process 1 (guest/) and its proa-vm on the host, and,
 * relayed by proa-vm, between guest and the commands that exec, copy or measure.
 *
 * One byte stream (a virtio-serial port, or agent.sock) carries frames; a frame belongs to a
 * stream. Stream 0 is the connection itself, AGENT_WORKLOAD the machine's own process; the host
 * opens others by sending a request on a number that is not in use, and the guest's AGENT_EXIT,
 * AGENT_OK, AGENT_ERROR or reply ends them.
 *
 *   frame    u32 payload length | u16 type | u16 zero | u32 stream | payload      (little-endian)
 *   string   u32 length | bytes without NUL | NUL
 *   vector   u32 count | that many strings
 *
 * The guest speaks first (AGENT_HELLO), because bytes sent before it listens are lost. Then
 * AGENT_CONFIGURE, AGENT_START and whatever else.
 *
 * Flow control: each direction of each stream's channel may have AGENT_WINDOW bytes under way. The
 * receiver gives them back with AGENT_CREDIT as it gets rid of them; who sends more is cut off. So
 * a slow reader stops its own stream and no other, and no queue has an unbounded length.
 *
 * Everything here is pure: bytes in, values out. Decoded strings and vectors' elements point into
 * the payload and live as long as it does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/agent/networks.h"

#define AGENT_VERSION     3u
#define AGENT_HEADER      ((size_t)12)
#define AGENT_PAYLOAD_MAX ((size_t)1 << 20)  /* no frame is larger */
#define AGENT_DATA_MAX    ((size_t)32 << 10) /* no AGENT_DATA carries more */
#define AGENT_WINDOW      ((uint32_t)256 << 10)
#define AGENT_VECTOR_MAX  4096u
#define AGENT_ITEMS_MAX   256u               /* files, shares */
#define AGENT_FILTER_MAX  ((size_t)4096 * 8) /* the kernel takes no more instructions */
#define AGENT_WORKLOAD    1u
#define AGENT_STREAMS_MAX 64u /* open at once, the workload's included */

enum agent_type {
    AGENT_HELLO = 1, /* both ways: u32 version */
    AGENT_CONFIGURE, /* struct agent_configure; AGENT_OK */
    AGENT_START,     /* struct agent_start; AGENT_STARTED, later AGENT_EXIT */
    AGENT_EXEC,      /* struct agent_exec; the same answers */
    AGENT_STARTED,   /* exec succeeded */
    AGENT_DATA,      /* u8 channel (0, 1, 2), bytes */
    AGENT_CLOSE,     /* u8 channel: its end */
    AGENT_CREDIT,    /* u8 channel, u32 bytes */
    AGENT_EXIT,      /* u32 status: the exit code, 128+n by signal */
    AGENT_SIGNAL,    /* u32 number, to the stream's process */
    AGENT_RESIZE,    /* u32 rows, u32 columns */
    AGENT_STATS,     /* AGENT_STATS_REPLY */
    AGENT_STATS_REPLY,
    AGENT_PROCESSES,   /* AGENT_TEXT, JSON */
    AGENT_TEXT,        /* string */
    AGENT_TREE_OUT,    /* string path; the stream on channel 1, AGENT_CLOSE, then AGENT_OK */
    AGENT_TREE_FOLLOW, /* as AGENT_TREE_OUT, but what a link at the end of path leads to */
    AGENT_TREE_IN,     /* string path; the stream on channel 0, AGENT_CLOSE; AGENT_OK */
    AGENT_SHUTDOWN,    /* flush and stop; AGENT_OK on stream 0 */
    AGENT_OK,          /* done */
    AGENT_ERROR,       /* struct error: u32 kind, u32 code, string */
    AGENT_FREEZE,      /* answered by proa-vm itself: u32 frozen; AGENT_OK */
    AGENT_TREE_WHOLE,  /* string form: all files; the answers of AGENT_TREE_OUT */
    AGENT_LIMITS, /* string: linux.resources as JSON, for the workload's group (its memory: what the
                  kernel will have in all); AGENT_OK */
    AGENT_SETTLE, /* these five: wire/agent/snapshot.h */
    AGENT_SETTLED,
    AGENT_RESUME,
    AGENT_SNAPSHOT,
    AGENT_SNAPSHOT_REPLY,
    AGENT_QUIESCE,    /* file systems stand still: AGENT_STARTED, until AGENT_CLOSE: AGENT_OK */
    AGENT_GUEST_INFO, /* what the system inside says of itself: AGENT_TEXT, JSON */
    AGENT_SCREENSHOT, /* answered by proa-vm itself: a PNG on channel 1, then AGENT_OK */
    AGENT_SIZE, /* answered by proa-vm itself: string, JSON of cpus and memory to have; AGENT_OK */
    AGENT_PREPARE,  /* u32 flags: a template makes ready what every machine wants; AGENT_OK */
    AGENT_PROGRAM,  /* string: what its clones are likely to run: "NAME\nPATH"; no answer */
    AGENT_REHEARSE, /* struct agent_start: all of that start but its program; AGENT_OK */
    AGENT_ADOPT, /* u32 flags, to a spare machine's proa-vm: runtime/vm/relay_spare.c; AGENT_OK */
    AGENT_NETWORKS, /* these three: wire/agent/networks.h */
    AGENT_NAMES,
    AGENT_CARD,
    AGENT_TYPES,
};

struct agent_frame {
    enum agent_type type;
    uint32_t stream;
    const char *payload; /* borrowed from the input */
    size_t len;
};

/* Finds the first frame in data. *ret_used is its length with the header, or 0 when more bytes are
 * needed first. -EPROTO when these bytes can be no frame. */
int agent_frame_parse(const char *data, size_t len, struct agent_frame *ret, size_t *ret_used,
                      struct error *err) _must_check_;

/* Appends a frame. -EFBIG past out->max or the type's own maximum. */
int agent_frame_add(struct buf *out, enum agent_type type, uint32_t stream, const void *payload,
                    size_t len) _must_check_;

/* Frames of one or two numbers, or a string. */
int agent_add_u32(struct buf *out, enum agent_type type, uint32_t stream,
                  uint32_t value) _must_check_;
int agent_add_string(struct buf *out, enum agent_type type, uint32_t stream,
                     const char *s) _must_check_;
int agent_add_data(struct buf *out, uint32_t stream, uint8_t channel, const void *data,
                   size_t len) _must_check_;
int agent_add_close(struct buf *out, uint32_t stream, uint8_t channel) _must_check_;
int agent_add_credit(struct buf *out, uint32_t stream, uint8_t channel, uint32_t n) _must_check_;
int agent_add_resize(struct buf *out, uint32_t stream, uint32_t rows,
                     uint32_t columns) _must_check_;
int agent_add_error(struct buf *out, uint32_t stream, const struct error *e) _must_check_;

int agent_get_u32(const struct agent_frame *f, uint32_t *ret, struct error *err) _must_check_;
int agent_get_string(const struct agent_frame *f, const char **ret, struct error *err) _must_check_;
int agent_get_data(const struct agent_frame *f, uint8_t *ret_channel, const char **ret_data,
                   size_t *ret_len, struct error *err) _must_check_;
int agent_get_close(const struct agent_frame *f, uint8_t *ret_channel,
                    struct error *err) _must_check_;
int agent_get_credit(const struct agent_frame *f, uint8_t *ret_channel, uint32_t *ret,
                     struct error *err) _must_check_;
int agent_get_resize(const struct agent_frame *f, uint32_t *ret_rows, uint32_t *ret_columns,
                     struct error *err) _must_check_;
/* Fills err with the error that the frame carries, and gives its number; -EPROTO for a bad one. */
int agent_get_error(const struct agent_frame *f, struct error *err) _must_check_;

/* A file whose content is sent, because the original is the host's. */
struct agent_file {
    const char *path; /* in the workload's root */
    const char *content;
    size_t len;
    uint32_t mode;
    bool readonly;
};

/* What is the host's and stays there, reached by the tag of a virtiofs device: the directory that
 * the device has, or one file in it. */
struct agent_share {
    const char *tag, *path;
    const char *file; /* its name there; "": the directory */
    bool readonly;
};

struct agent_configure {
    const char *hostname;
    const char *machine_id; /* 32 hex digits: machine-id(5), where the image leaves it to us */
    int64_t clock_ns;
    const char *seed; /* raw bytes for the random number generator */
    size_t seed_len;
    uint32_t n_layers; /* disks with the serials layer0 (bottom) to layerN-1 */
    bool has_disk;     /* the writable one, serial "disk"; otherwise the upper is in memory */
    struct agent_network *networks;
    size_t n_networks;
    struct agent_file *files;
    size_t n_files;
    struct agent_share *shares;
    size_t n_shares;
};
int agent_configure_add(struct buf *out, const struct agent_configure *c) _must_check_;
int agent_configure_get(const struct agent_frame *f, struct agent_configure *ret,
                        struct error *err) _must_check_;
/* Frees the arrays that agent_configure_get made; not for structures filled by hand. */
void agent_configure_done(struct agent_configure *c);

struct agent_start {
    const char *config; /* the OCI configuration */
    bool init;          /* a reaping init is the first process */
    bool stdin_open;    /* channel 0 is used; otherwise /dev/null */
    uint32_t rows, columns;
    const char *filter; /* struct sock_filter, as many as fit; empty: unconfined */
    size_t filter_len;
};
int agent_start_add(struct buf *out, const struct agent_start *s) _must_check_;
int agent_start_get(const struct agent_frame *f, struct agent_start *ret,
                    struct error *err) _must_check_;

struct agent_exec {
    char **argv, **env; /* owned vectors of borrowed strings after _get */
    const char *cwd, *user;
    bool terminal, stdin_open, detach, privileged;
    uint32_t rows, columns;
};
int agent_exec_add(struct buf *out, uint32_t stream, const struct agent_exec *e) _must_check_;
int agent_exec_get(const struct agent_frame *f, struct agent_exec *ret,
                   struct error *err) _must_check_;
void agent_exec_done(struct agent_exec *e);

struct agent_stats {
    uint64_t cpu_ns, memory_bytes, memory_limit, pids, pids_limit;
    uint64_t net_rx_bytes, net_tx_bytes, block_read_bytes, block_write_bytes;
};
int agent_stats_add(struct buf *out, uint32_t stream, const struct agent_stats *s) _must_check_;
int agent_stats_get(const struct agent_frame *f, struct agent_stats *ret,
                    struct error *err) _must_check_;
