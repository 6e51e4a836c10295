/* Making a template (template-make.c), for proa-template. */
#pragma once

#include "runtime/vm/template.h"

/* Boots q (VM_TEMPLATE, with its two memory files) until its agent answers, stops it, saves the
 * state of its devices, ends it, and seals both files. */
int template_make(struct vm_qemu *q, struct error *err) _must_check_;

/* Goes on from it once, in a QEMU of its own, until the agent answers again. */
int template_try(const struct vm_qemu *made, struct error *err) _must_check_;
