/* Shared by snapshot*.c. */
#pragma once

#include "engine/engine-internal.h"
#include "engine/snapshot.h"
#include "service/snapshot/snapshot.h"

/* A directory tree copied whole: owners, modes, times, attributes, links and holes as they are. */
int copy_directory(const char *from, const char *to, struct error *err) _must_check_;

/* Files that a bundle has for a machine's disk and that are not the one in use. */
void sweep_disks(const char *bundle, const char *keep);
/* What the disk of a machine without snapshots is called. */
#define MACHINE_DISK      "disk.ext4"
#define MACHINE_BOOT_DISK "disk0.qcow2" /* of one that boots a disk image */
/* The memory that its next start goes on from; none: it boots. */
#define MACHINE_MEMORY "memory"
