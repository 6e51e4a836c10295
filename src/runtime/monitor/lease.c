#include "runtime/monitor/lease.h"

#include <sys/socket.h>

#include "base/fd.h"

#define FIRST_WAIT_MS 1000
#define LAST_WAIT_MS  64000

void leases_init(struct leases *l)
{
    *l = (struct leases){.call = CALL_INIT, .ended_fd = -EBADF};
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        l->fds[i] = -EBADF;
}

void leases_put(struct leases *l, size_t position, int fd)
{
    close_fd(l->fds[position]);
    l->fds[position] = fd;
    l->wait_ms = l->next_ms = 0;
}

void leases_poll(const struct leases *l, int64_t now_ms, struct pollfd *fds)
{
    bool rests = l->call.pid || now_ms < l->next_ms;
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        fds[i] = (struct pollfd){rests ? -1 : l->fds[i], POLLIN, 0};
    fds[BUNDLE_NETWORKS_MAX] = (struct pollfd){l->call.pid_fd, POLLIN, 0};
}

static bool has_ended(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* One that has ended and was not replaced is not wanted any more. */
static void call_succeeded(struct leases *l)
{
    l->wait_ms = 0;
    if (l->ended_fd >= 0 && l->fds[l->called] == l->ended_fd)
        l->fds[l->called] = close_fd(l->fds[l->called]);
}

/* A call that fails leaves the line where it is, and is made again, ever more seldom. */
static void wait_longer(struct leases *l, int64_t now_ms)
{
    l->wait_ms = l->wait_ms ? MIN(l->wait_ms * 2, (int64_t)LAST_WAIT_MS) : FIRST_WAIT_MS;
    l->next_ms = now_ms + l->wait_ms;
}

void leases_handle(struct leases *l, const struct pollfd *fds, const struct call_spec *spec,
                   const int tap_fds[static BUNDLE_NETWORKS_MAX], int64_t now_ms)
{
    int status;
    if (fds[BUNDLE_NETWORKS_MAX].revents && l->call.pid && call_reap(&l->call, &status)) {
        l->next_ms = 0;
        if (status != 0)
            wait_longer(l, now_ms);
        else
            call_succeeded(l);
    }
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX && !l->call.pid; i++) {
        char position[4];
        if (!fds[i].revents || fds[i].fd != l->fds[i])
            continue;
        struct call_spec one = *spec;
        snprintf(position, sizeof(position), "%u", (unsigned int)i & 15u);
        one.more = position;
        one.fds[0] = l->fds[i];
        if (tap_fds[i] >= 0)
            one.fds[1] = tap_fds[i];
        l->called = i;
        l->ended_fd = has_ended(l->fds[i]) ? l->fds[i] : -EBADF;
        if (!call_start(&l->call, &one))
            wait_longer(l, now_ms);
    }
}

void leases_done(struct leases *l)
{
    call_end(&l->call);
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        l->fds[i] = close_fd(l->fds[i]);
}
