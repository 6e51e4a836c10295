/* Making a template (template-make.c), for proa-template. */
#pragma once

#include "runtime/vm/template.h"

/* Boots q (VM_TEMPLATE, with its two memory files) until its agent answers, stops it, saves the
 * state of its devices, ends it, and seals both files. */
int template_make(struct vm_qemu *q, struct error *err) _must_check_;

/* The same for one image (template-image.c): goes on from base, which is made when it is not there.
 * program: what its clones are likely to run, as AGENT_PROGRAM has it, or NULL. Takes long.
 * ERROR_CONFLICT: it was not there in time. */
int template_make_image(struct vm_qemu *q, const struct vm_template *base, const char *program,
                        struct error *err) _must_check_;

/* The parts of both. The guest, which answers, prepares what flags say, and q's state is saved.
 * restored: QEMU's monitor is in use already. */
int template_finish(const struct vm_qemu *q, uint32_t flags, const char *program, bool restored,
                    struct error *err) _must_check_;
/* Ends q, and seals what it has left when r says that all is well. */
int template_end(struct vm_qemu *q, int r, struct error *err) _must_check_;

/* Goes on from it once, in a QEMU of its own, until the agent answers again. */
int template_try(const struct vm_qemu *made, struct error *err) _must_check_;
