/*
 * The disks of a machine beside the one it is made of, as `run --disk` says them:
 *
 *   FILE|NAME|(nothing)[,size=SIZE][,readonly][,bus=virtio|scsi|sata][,format=raw|qcow2]
 *
 * FILE begins with / or . and is used in place; NAME is a disk image of the store, which stays as
 * it is: what is written goes into the machine's own file; nothing but a size is an empty disk.
 */
#pragma once

#include "engine/disk-machine.h"

struct disk_spec {
    char *source; /* NULL: an empty disk */
    uint64_t bytes;
    bool read_only, has_bus;
    enum machine_bus bus;
    char *format; /* of a file; NULL: to be found out */
};
int disk_spec_parse(const char *text, struct disk_spec *ret, struct error *err) _must_check_;
void disk_spec_done(struct disk_spec *s);
bool disk_spec_is_file(const struct disk_spec *s);

/* The disks whose contents are Proa's to keep, by their numbers: bit N is disk N, the one that the
 * machine is made of is disk 0. *ret_others: paths of the user's files that it writes to, owned,
 * never NULL. */
int machine_own_disks(const struct create_options *o, uint32_t *ret, char ***ret_others,
                      struct error *err) _must_check_;

/* Checks --disk and --cdrom, and makes them mean the same from everywhere and at each start: paths
 * become absolute, formats known, names ids. */
int machine_disks_resolve(struct engine *e, struct create_options *o,
                          struct error *err) _must_check_;

/* What a disk of the store is read from; stem: the path that its maps' names begin with. */
int machine_disk_add_parts(struct engine *e, const char *image_id, const char *stem,
                           struct machine_disk *d, struct held_fds *held,
                           struct error *err) _must_check_;
/* Those of --disk and --cdrom. */
int machine_disks_describe(struct engine *e, const struct subject *s, struct bundle_machine *m,
                           struct held_fds *held, struct error *err) _must_check_;
