/* What `proa internal lease` does, which monitors call (runtime/monitor/lease.h). */
#pragma once

#include "engine/engine.h"

/* report_fd is the readable end of who asks for the address of that port; place_fd the container's
 * network namespace or the machine's tap. */
int engine_lease(struct engine *e, const char *id, uint8_t position, int report_fd, int place_fd,
                 struct error *err) _must_check_;
