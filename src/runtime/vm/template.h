/*
 * Templates: machines that have booted and wait for their first order, kept so that others go on
 * from there. There are two kinds: of a shape, for any image, and of a shape and one image, whose
 * root file system it has put together. The second is made from the first.
 *
 * A template is a directory RUN/templates/KEY and a process, proa-template, which holds sealed
 * memory files: the machine's memory, the state of its devices, and its writable disk, where that
 * is new. KEY is a digest of everything that they depend on, so one that does not fit any more is
 * never found. A clone's QEMU maps the memory copy on write; the seals keep it, and anybody else,
 * from writing to it.
 *
 *   lock     flock()ed by the process for its life; its pid
 *   socket   there once the template has been tried: each connection gets the descriptors
 *   about    what it is, for people: one line
 *   failed   making it failed, and why; nobody tries again until it is pruned
 *
 * Killing the process loses the template and nothing else: the next machine boots.
 */
#pragma once

#include "runtime/vm/machine.h"

#define VM_TEMPLATE_KEY       33
#define VM_TEMPLATE_ID_FORMAT "template-%s" /* of the machine that is made into one, by its KEY */

enum { TEMPLATE_MEMORY, TEMPLATE_STATE, TEMPLATE_DISK, TEMPLATE_FILES };

struct vm_template {
    char *dir;                 /* RUN/templates/KEY; NULL: this machine has no use for one */
    char key[VM_TEMPLATE_KEY]; /* 32 hex digits */
    bool image;                /* of the second kind */
};
void vm_template_done(struct vm_template *t);

/* Disks of a machine for an image of that many layers, beside so many other devices; 0 where they
 * do not fit. All machines that can have them, so that the memory of a clone can be loaded by one
 * that is none, and vice versa. */
size_t vm_template_slots(size_t layers, size_t others);

/* Which template is for q; q->layer_slots and everything that shapes the machine must be set.
 * image: the one of its image, which is for machines with a new disk only. */
int vm_template_find(const char *run, const struct vm_qemu *q, bool image, struct vm_template *ret,
                     struct error *err) _must_check_;

/* Makes q a clone: its role and its two descriptors. *ret_disk: what its new disk is to be made of,
 * -EBADF where it has none. -ENOENT when there is no template (yet). */
int vm_template_take(const struct vm_template *t, struct vm_qemu *q, int *ret_disk) _must_check_;

/* q's QEMU runs and has nothing: gives it the template's state, and lets it go. */
int vm_template_restore(const struct vm_qemu *q, struct error *err) _must_check_;

/* Leaves a process behind that makes the template once *ret_hold is closed; -EBADF in it when
 * there is nothing to do. */
int vm_template_order(const struct vm_template *t, const struct vm_qemu *q, int *ret_hold,
                      struct error *err) _must_check_;
/* Whether somebody makes it now, or has failed to. */
bool vm_template_is_ordered(const char *dir);

/* Ends the template's process and removes what is there; note: why nobody should try again. */
int vm_template_remove(const char *dir, const char *note, struct error *err) _must_check_;

/* The one that was least used goes while there are `max` and more; dir's own stays. */
int vm_templates_make_room(const char *run, const char *dir, size_t max,
                           struct error *err) _must_check_;

/* For the engine: all of RUN. *ret: owned vector of the lines of `about`. */
int vm_templates_list(const char *run, char ***ret, struct error *err) _must_check_;
/* Removes all; one line each is added to *done. */
int vm_templates_prune(const char *run, char ***done, struct error *err) _must_check_;
