/*
 * Giving memory back while nothing happens. A static program touches most of its pages once, when
 * it starts, and the kernel maps sixteen around each: unmapping the read-only ones leaves an idle
 * monitor with the few that it waits in. They come back from the page cache, which all monitors
 * share anyway, at the next event.
 */
#pragma once

#include <poll.h>
#include <signal.h>

/* Unmaps, and waits without a time limit as ppoll(2) does, touching as little as can be. */
int trim_and_wait(struct pollfd *fds, nfds_t n, const sigset_t *mask);
