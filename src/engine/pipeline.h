/* Two halves of a copy that run at once, joined by a pipe: one that writes, one that reads. */
#pragma once

#include "base/error.h"

/* Each half gets its end of the pipe (borrowed) and gives 0 or -errno with err filled. */
typedef int pipeline_half(void *context, int fd, struct error *err);

/* Runs writer in a child process and reader here; waits for both. The first failure that is not a
 * mere broken pipe is the one reported. */
int pipeline_run(pipeline_half *writer, pipeline_half *reader, void *context,
                 struct error *err) _must_check_;
