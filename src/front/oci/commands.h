/* The verbs of proa-oci, spelled as runc and crun have them. */
#pragma once

#include "front/command/command.h"

extern const struct command cmd_create, cmd_run;                        /* cmd_create.c */
extern const struct command cmd_start, cmd_kill, cmd_delete, cmd_pause; /* cmd_life.c */
extern const struct command cmd_resume, cmd_state;
extern const struct command cmd_exec;                    /* cmd_exec.c */
extern const struct command cmd_checkpoint, cmd_restore; /* cmd_checkpoint.c */
extern const struct command cmd_list, cmd_ps;            /* cmd_list.c */
extern const struct command cmd_update;                  /* cmd_update.c */
extern const struct command cmd_events;                  /* cmd_events.c */
extern const struct command cmd_spec, cmd_features;      /* cmd_spec.c */
extern const struct command cmd_completion, cmd_man;     /* cmd_misc.c */

extern const struct command_set oci_commands;

/* Runs one command line (argv[0] is the program's name). Gives the exit code. */
int oci_main(char **argv);
