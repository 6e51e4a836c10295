/*
 * What the engine hands to a runtime: a bundle directory with two files.
 *
 *   config.json   the OCI runtime configuration (runtime-spec 1.0 and later): process, mounts,
 *                 namespaces, limits. The same for both kinds.
 *   proa.json     what OCI has no word for, described by struct bundle below. Never taken from an
 *                 image or from annotations: only the engine writes it.
 *
 * When root.path of config.json is used with a proa.json that has layers, the root file system is
 * an overlay of those layers; without layers root.path itself is the root (proa-oci's case).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "runtime/bundle-machine.h"

/* Where an instance's processes are, by its id, when nobody says otherwise (bundle_group). */
#define RUNTIME_GROUP_FORMAT "/proa/%s"

enum runtime_kind {
    RUNTIME_CONTAINER = 0,
    RUNTIME_VM = 1,
};

const char *runtime_kind_name(enum runtime_kind kind); /* "container", "vm" */
int runtime_kind_from_name(const char *name, enum runtime_kind *ret) _must_check_;

/* One read-only layer, bottom first in struct bundle. All strings owned. */
struct bundle_layer {
    char *erofs; /* path of the layer's EROFS file: a machine's disk */
    char *mount; /* where the host has it mounted: a container's lower directory; NULL for vm */
};

#define BUNDLE_NETWORKS_MAX 8

/* One network interface of the instance: the nth is ethN. Addresses are textual, "" for none. Of a
 * machine that has left a network while it ran there is none without a hardware address. */
struct bundle_network {
    char address[46], gateway[46], dns[46];
    uint8_t prefix;
    char address6[46], gateway6[46];
    uint8_t prefix6;
    char mac[18];
    uint16_t mtu;
};

struct bundle {
    enum runtime_kind kind;
    char *id; /* 64 hex digits */
    struct bundle_layer *layers;
    size_t n_layers;
    char *upper; /* container: overlay upper directory; NULL with layers: a read-only root */
    char *work;  /* container: overlay work directory, same file system */
    char *disk; /* vm: raw image of the writable layer (ext4), created by the vm runtime when absent
                 */
    char *memory;      /* vm: a snapshot's memory to go on from, used once; NULL: boot */
    char **disk_lower; /* vm: files below the disk, bottom first; then all but the first of them and
                        * the disk itself are overlays (qcow2) */
    uint64_t disk_bytes;   /* vm: its virtual size */
    uint64_t memory_bytes; /* vm: guest memory; containers take limits from config.json */
    uint32_t cpus;         /* vm: number of virtual CPUs */
    char *kernel;          /* vm: uncompressed kernel with a PVH entry */
    char *initramfs;       /* vm: cpio with guest and modules */
    bool cold;             /* vm: boots, though there may be a template to go on from */
    bool spare;            /* vm: waits, once configured, until somebody takes it over */
    char *kernel_args;     /* vm: what follows ours on its command line; or NULL */
    char *cgroup_parent;   /* of the instance's control group; NULL: /proa */
    struct bundle_network networks[BUNDLE_NETWORKS_MAX];
    size_t n_networks;    /* 0 for none, host and container:NAME */
    bool init;            /* --init: a reaping init of ours is process 1 */
    bool ephemeral;       /* --rm: upper or disk is thrown away at the end, so it is never synced */
    char *seccomp_filter; /* container: file of a compiled filter; NULL: unconfined */
    struct bundle_machine machine; /* vm that boots a disk: without layers, kernel and initramfs */
};

void bundle_init(struct bundle *b);
void bundle_done(struct bundle *b);

/* proa.json in the bundle directory; atomic replace. */
int bundle_save(const struct bundle *b, const char *dir, struct error *err) _must_check_;
int bundle_load(const char *dir, struct bundle *ret, struct error *err) _must_check_;

/* The control group of an instance, by its bundle; and by a bundle that need not be there any more,
 * or yet, and is in the usual place then. Owned. */
char *bundle_group(const struct bundle *b);
char *bundle_group_of(const char *dir, const char *id);
