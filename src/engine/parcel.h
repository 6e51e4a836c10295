/*
 * What a parcel of Proa's holds (wire/parcel/parcel.h): a machine's disk as a chain of files, what
 * it has beside that, and a head that describes it:
 *
 *   {"proa": 1, "what": "snapshot", "name": ..., "instance": {...}, "parts": ["0-disk.raw", ...]}
 *
 * A part is one file of one disk: its level in the chain, from 0 at the bottom, and what a snapshot
 * calls it ("2-disk1.qcow2"). They are in the order of the levels. Files beside them are "memory",
 * "firmware.vars" and "tpm.…". Anything else is refused; and so are options that mean something of
 * the host that it comes from, such as paths: a parcel must not reach what is this host's.
 */
#pragma once

#include <jansson.h>

#include "engine/migrate-internal.h"
#include "service/snapshot/parcel.h"
#include "wire/parcel/parcel.h"

struct parcel_head {
    char *what; /* "snapshot", "machine", or "moved": one that has, before */
    char *name; /* the snapshot's */
    char *consistency;
    uint64_t memory_bytes; /* 0: none */
    int64_t created_ns;
    struct instance_record instance; /* kind is always RUNTIME_VM */
    char **parts;                    /* of a snapshot */
    /* Of a machine that moves. */
    char *token; /* 64 hex digits (migrate-internal.h) */
    bool runs;
    struct arrival_port *ports; /* may be NULL */
};
void parcel_head_done(struct parcel_head *h);
/* Owned; options is JSON. */
char *parcel_head_text(const struct parcel_head *h);
int parcel_head_parse(const char *text, struct parcel_head *ret, struct error *err) _must_check_;

/* "LEVEL-FILE". Owned. */
char *parcel_part_name(size_t level, const char *file);
/* The files of a level among names, by the numbers of their disks; owned, empty: there are none. */
char **parcel_level(char *const *names, size_t level);

/* What would not be the same elsewhere. same_host: paths are. */
int machine_may_leave(const struct create_options *o, const char *name, bool same_host,
                      struct error *err) _must_check_;
/* Whether it could run here: its options and its image. */
int machine_may_arrive(struct engine *e, const struct parcel_head *h,
                       struct error *err) _must_check_;

/* A machine's state beside its disks, to and from a parcel. from, to: directories. */
int parcel_add_state(struct parcel_writer *w, const char *from, struct error *err) _must_check_;
int parcel_take_state(struct parcel_in *p, char *const *names, const char *to,
                      struct error *err) _must_check_;
bool parcel_is_state(const char *name);

/* parcel-take.c: the disks' chains, level by level, out of a parcel into the store. */
struct parts {
    struct engine *e;
    struct parcel_in *from;
    char *base, *dir; /* the snapshot that the last level is, and its directory */
    int lock;         /* which is held */
    size_t n;         /* levels */
};
void parts_done(struct parts *p);
/* The next level, as parcel_level gives it. name NULL: one that nobody is shown. */
int parts_add(struct parts *p, const struct parcel_head *h, char *const *files, const char *name,
              struct error *err) _must_check_;
