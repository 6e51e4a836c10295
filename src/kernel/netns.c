#include "kernel/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"

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

int netns_create(int *ret_fd, struct netlink **ret_netlink, struct error *err)
{
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
