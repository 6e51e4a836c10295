#include "kernel/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "kernel/ns.h"

#define OWN_NAMESPACE "/proc/thread-self/ns/net"

/* Written before any link but lo exists, so that eth0 is born with them. /proc/sys/net shows the
 * namespace of whoever looks. A kernel without IPv6 has none of these files, and needs none. */
static const char *const without_ipv6[] = {
    "/proc/sys/net/ipv6/conf/default/disable_ipv6",
    "/proc/sys/net/ipv6/conf/default/accept_ra",
};
static const char *const without_ipv6_values[] = {"1", "0"};

static int set_up_inside(int *ret_fd, struct netlink **ret_netlink, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_close_ int fd = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open the new network namespace");
    int r = netlink_open(&nl, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(without_ipv6); i++) {
        r = file_write_kernel(AT_FDCWD, without_ipv6[i], without_ipv6_values[i]);
        if (r < 0 && r != -ENOENT)
            return error_errno(err, r, "write %s", without_ipv6[i]);
    }
    r = netlink_link_up(nl, 1, 0, 0, err); /* lo is always the first link */
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(fd);
    *ret_netlink = TAKE_PTR(nl);
    return 0;
}

/* --- by a child --- */

/* Who is root of a user namespace only could not come back into the host's network. A child goes
 * instead; it shares the descriptors, and what it finds out is in memory that both have. */
struct errand {
    int result, fd;
    struct error err;
};

static struct errand *errand_new(struct error *err)
{
    struct errand *e =
        mmap(NULL, sizeof(*e), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (e == MAP_FAILED) {
        error_errno(err, errno, "visit a network namespace");
        return NULL;
    }
    *e = (struct errand){.result = -ECHILD, .fd = -EBADF};
    return e;
}

/* Takes it. */
static int errand_end(struct errand *e, pid_t pid, int *ret_fd, struct error *err)
{
    int status;
    int r = pid < 0 ? pid : process_wait(pid, &status);
    if (r < 0 || e->result == -ECHILD)
        r = error_errno(err, r < 0 ? r : ECHILD, "visit a network namespace");
    else if ((r = e->result) < 0 && err)
        *err = e->err;
    if (r == 0 && ret_fd)
        *ret_fd = e->fd;
    munmap(e, sizeof(*e));
    return r;
}

static int create_by_child(int *ret_fd, struct error *err)
{
    struct errand *e = errand_new(err);
    if (!e)
        return -errno;
    pid_t pid = ns_clone(CLONE_NEWNET | CLONE_FILES, -EBADF, NULL);
    if (pid == 0) {
        struct netlink *nl = NULL;
        e->result = set_up_inside(&e->fd, &nl, &e->err);
        netlink_free(nl); /* its descriptor is the parent's, too */
        _exit(0);
    }
    return errand_end(e, pid, ret_fd, err);
}

static int visit_by_child(int fd, int (*f)(void *context, struct error *err), void *context,
                          struct error *err)
{
    struct errand *e = errand_new(err);
    if (!e)
        return -errno;
    pid_t pid = ns_clone(CLONE_FILES, -EBADF, NULL);
    if (pid == 0) {
        if (setns(fd, CLONE_NEWNET) < 0)
            e->result = error_errno(&e->err, errno, "enter a network namespace");
        else
            e->result = f(context, &e->err);
        _exit(0);
    }
    return errand_end(e, pid, NULL, err);
}

/* --- by the calling thread --- */

int netns_create(int *ret_fd, struct netlink **ret_netlink, struct error *err)
{
    if (!ret_netlink && !process_is_host_root())
        return create_by_child(ret_fd, err);
    _cleanup_netlink_ struct netlink *nl = NULL;
    _cleanup_close_ int inside = -EBADF;
    _cleanup_close_ int own = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return error_errno(err, errno, "open %s", OWN_NAMESPACE);
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, errno, "create a network namespace");
    int r = set_up_inside(&inside, &nl, err);
    /* Going on in the wrong namespace would do every later step to the wrong network. */
    if (setns(own, CLONE_NEWNET) < 0)
        abort();
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(inside);
    if (ret_netlink)
        *ret_netlink = TAKE_PTR(nl);
    return 0;
}

int netns_visit(int fd, int (*f)(void *context, struct error *err), void *context,
                struct error *err)
{
    if (!process_is_host_root())
        return visit_by_child(fd, f, context, err);
    _cleanup_close_ int own = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return error_errno(err, errno, "open %s", OWN_NAMESPACE);
    if (setns(fd, CLONE_NEWNET) < 0)
        return error_errno(err, errno, "enter a network namespace");
    int r = f(context, err);
    if (setns(own, CLONE_NEWNET) < 0)
        abort(); /* as above */
    return r;
}

int netns_link_sysctl(const char *family, const char *link, const char *name, const char *value,
                      struct error *err)
{
    _cleanup_free_ char *path = xasprintf("/proc/sys/net/%s/conf/%s/%s", family, link, name);
    int r = file_write_kernel(AT_FDCWD, path, value);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}
