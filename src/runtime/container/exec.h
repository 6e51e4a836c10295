/*
 * The program proa-exec: one more process in a running container. It is executed by container_ops.
 * exec from a read-only mount (kernel/exe.h), static, so that nothing of the container is loaded
 * into it and nothing in the container can write to it.
 *
 *   proa-exec --id ID --bundle DIR --pid N [--user U] [--cwd DIR] [--terminal] [--privileged]
 *             [--detach] -- COMMAND...
 *
 * Its environment is what is added to the process's. Descriptor 3 is a channel (channel.h) on which
 * it sends the terminal and errors; its end means that the process has executed. 0, 1 and 2 become
 * the process's. It exits as the process does.
 */
#pragma once

#define EXEC_PROGRAM    "proa-exec"
#define EXEC_CHANNEL_FD 3
