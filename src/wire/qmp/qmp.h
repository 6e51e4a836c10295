/*
 * QEMU's machine protocol: one JSON object a line, both ways. Pure codec; QEMU is not trusted, so
 * lines are bounded and what is kept of them has fixed sizes.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

#define QMP_LINE_MAX ((size_t)64 << 10)

enum qmp_type {
    QMP_GREETING,
    QMP_RETURN,
    QMP_ERROR,
    QMP_EVENT,
};

struct qmp_message {
    enum qmp_type type;
    char name[64];   /* event: its name */
    char text[200];  /* error: its description; event: its reason, status or device */
    bool stops;      /* BLOCK_IO_ERROR: the machine stands still until it is told to go on */
    bool no_room;    /* and that is because the host's file system is full */
    uint64_t actual; /* answer to query-balloon: bytes that the guest has; else 0 */
};

/* One line, without its newline. */
int qmp_parse(const char *line, size_t len, struct qmp_message *ret,
              struct error *err) _must_check_;

/* Appends a command that takes no arguments. */
int qmp_command_add(struct buf *out, const char *command) _must_check_;
/* The same with arguments: the text of a JSON object, never of anything from outside. */
int qmp_command_add_arguments(struct buf *out, const char *command,
                              const char *arguments) _must_check_;
