/* QEMU's monitor, asked and waited for, until the relay has it (control.c). */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct vm_control {
    int fd; /* borrowed, not blocking */
    struct buf in;
    int64_t deadline_ms; /* of everything that is waited for */
    unsigned int unanswered;
    char migration[32]; /* the last state that was told */
};

void vm_control_init(struct vm_control *c, int fd, int timeout_ms);
void vm_control_done(struct vm_control *c);

/* arguments: the text of a JSON object, or NULL. Does not wait for the answer. */
int vm_control_send(struct vm_control *c, const char *command, const char *arguments,
                    struct error *err) _must_check_;
/* The same with a descriptor, for "getfd". */
int vm_control_send_fd(struct vm_control *c, const char *command, const char *arguments, int fd,
                       struct error *err) _must_check_;

/* "migrate-set-capabilities": its end is told, and memory in a shared file stays where it is. */
#define VM_CONTROL_MIGRATION                                                                       \
    "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true},"                      \
    "{\"capability\":\"events\",\"state\":true}]}"

/* Waits until everything sent is answered; the first error ends it. */
int vm_control_answered(struct vm_control *c, struct error *err) _must_check_;
/* Waits for the end of a migration, in either direction; needs the capability "events". */
int vm_control_migrated(struct vm_control *c, struct error *err) _must_check_;
