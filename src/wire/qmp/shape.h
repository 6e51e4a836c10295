/*
 * What stands in front of a machine's saved memory: the shape of the QEMU that wrote it. Whoever
 * loads the memory must have the same, and a machine that was given more or less while it ran has
 * another one than its options say.
 *
 *   "PROASHAP" | u32 processors | u32 plugged in since | u32 modules | u32 cards
 *   | u64 memory | u64 what the guest has of that | 8 × u64 bytes of a module      (little-endian)
 *
 * cards are the network cards: the lowest byte is how many there were at its start, and one (0: as
 * many as networks, and none since); then four bits for each that was plugged in since, its port
 * and one.
 *
 * Memory of before there were shapes begins with QEMU's own stream. Pure codec: a snapshot's file
 * may come from anybody, so every number is checked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define VM_SHAPE_BYTES ((size_t)104)
#define VM_MODULES_MAX 8u
#define VM_MEMORY_MAX  ((uint64_t)16 << 40)
#define VM_CPUS_MAX    255u
#define VM_CARDS_MAX   8
#define VM_CARD_PORTS  4u                  /* for cards that are plugged in */
#define VM_SHAPE_UNIT  ((uint64_t)1 << 20) /* memory is a multiple of this */

/* All sizes in bytes. */
struct vm_shape {
    uint32_t cpus, more_cpus;         /* at its start, and plugged in since */
    uint64_t memory;                  /* at its start */
    uint64_t left;                    /* of memory: the rest is in the balloon of a light machine */
    uint64_t modules[VM_MODULES_MAX]; /* of memory, plugged in since, in this order */
    uint32_t n_modules;
    int cards;                    /* network cards at its start; -1: not known */
    uint8_t ports[VM_CARD_PORTS]; /* of those that were plugged in since, in this order */
    uint8_t n_ports;
};

/* What a machine is that has just been started. */
struct vm_shape vm_shape_plain(uint32_t cpus, uint64_t memory);
/* The memory that the guest has in all. */
uint64_t vm_shape_memory(const struct vm_shape *s);

/* The port of a machine's network card, counted from 0 in the order in which they came; -1: it was
 * there at the start. */
int vm_shape_port(const struct vm_shape *s, size_t card);
/* A card came into that free port; it went. */
void vm_shape_plug(struct vm_shape *s, unsigned int port);
void vm_shape_unplug(struct vm_shape *s, unsigned int port);

void vm_shape_write(const struct vm_shape *s, char out[static VM_SHAPE_BYTES]);
/* Whether these bytes begin with a shape, or with something else. */
bool vm_shape_is(const char *data, size_t len);
/* -EPROTO: numbers that no machine of ours has. */
int vm_shape_read(const char *data, size_t len, struct vm_shape *ret,
                  struct error *err) _must_check_;
