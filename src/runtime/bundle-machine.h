/*
 * A machine that boots a disk, as proa.json describes it under "machine": its firmware, its disks,
 * and what else of a PC it has. A light machine has none of this.
 *
 * proa-vm opens every file named here while it is still root, anew at each start, so that restarts
 * by the monitor need no descriptors of the engine's; QEMU sees descriptors only.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define MACHINE_DISKS_MAX 16u
#define MACHINE_LOWER_MAX 80u /* more than a chain of snapshots is allowed to have */
#define MACHINE_PARTS_MAX 64u /* of one disk; the store's packs are at most 16 (disk.h) */

enum machine_bus {
    MACHINE_VIRTIO,
    MACHINE_SCSI,
    MACHINE_SATA,
};
const char *machine_bus_name(enum machine_bus bus); /* "virtio", "scsi", "sata" */
int machine_bus_from_name(const char *name, enum machine_bus *ret) _must_check_;

/* A pack of the store and the map of what is used of it (service/image/disk.h): paths. */
struct machine_part {
    char *pack;
    char *map; /* NULL: the pack is the disk, raw */
};

struct machine_disk {
    char *file;   /* what is written to, or NULL: the parts alone, read-only */
    char *format; /* of file: "qcow2" or "raw" */
    uint64_t
        bytes; /* file's virtual size: made (an empty qcow2) when it is absent; 0: never made */
    struct machine_part *parts; /* what is behind file, none overlapping another */
    uint32_t n_parts;
    char **lower; /* overlays between the parts and file, the lowest first; NULL: none */
    enum machine_bus bus;
    bool read_only, cdrom;
    uint32_t boot; /* place in the boot order, from 1; 0: not booted from */
};

struct bundle_machine {
    struct machine_disk *disks;
    uint32_t n_disks; /* at least one in a machine that boots a disk */
    bool uefi, secure_boot, tpm;
    bool vnc;            /* a screen, keyboard and pointer, over RUN/instances/ID/vnc.sock */
    bool local_time;     /* the clock shows the host's local time, as Windows wants it */
    bool windows;        /* devices and hints that Windows needs */
    uint32_t boot_net;   /* place of the network in the boot order; 0: none */
    char *cpu_model;     /* NULL: the best there is */
    char *processors;    /* of the host, that it may use ("0-3,8"); NULL: all */
    char *limits;        /* linux.resources as text, for QEMU's control group; NULL: none */
    uint32_t cpus_max;   /* with those that can be plugged in; 0: as many as there are */
    uint64_t memory_max; /* likewise, bytes */
    char *nic;           /* QEMU's name of the network card; NULL: virtio */
};

static inline bool machine_boots_disk(const struct bundle_machine *m)
{
    return m->n_disks > 0;
}

void bundle_machine_done(struct bundle_machine *m);
struct machine_disk *bundle_machine_add_disk(struct bundle_machine *m);
struct machine_part *machine_disk_add_part(struct machine_disk *d);

json_t *bundle_machine_to_json(const struct bundle_machine *m);
int bundle_machine_from_json(const json_t *o, struct bundle_machine *ret,
                             struct error *err) _must_check_;
