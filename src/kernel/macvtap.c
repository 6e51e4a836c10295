/*
 * The character device of a macvtap. The kernel numbers it as it likes and says so in sysfs, which
 * shows the links of the namespace that it was mounted in; the host's /dev may have the node or
 * not. So both come from file systems that are mounted for a moment, by descriptor, and that nobody
 * else sees.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "kernel/mount.h"
#include "kernel/netns.h"

static int find_number(const char *link, dev_t *ret, struct error *err)
{
    _cleanup_close_ int sysfs = -EBADF;
    _cleanup_free_ char *path = NULL, *text = NULL;
    unsigned int index = if_nametoindex(link);
    uint32_t minor_number;
    int r = mount_new("sysfs", NULL, NULL, &sysfs, err);
    if (r < 0)
        return r;
    path = xasprintf("class/net/%s/macvtap/tap%u/dev", link, index);
    r = file_read_kernel(sysfs, path, 32, &text);
    if (r < 0)
        return error_errno(err, r, "find the device of macvtap %s", link);
    text[strcspn(text, "\n")] = '\0';
    char *colon = strchr(text, ':');
    uint32_t major_number;
    if (colon)
        *colon++ = '\0';
    if (!colon || parse_u32(text, &major_number) < 0 || parse_u32(colon, &minor_number) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the device of macvtap %s has no number",
                         link);
    *ret = makedev(major_number, minor_number);
    return 0;
}

static int open_number(dev_t number, int *ret_fd, struct error *err)
{
    _cleanup_close_ int devices = -EBADF;
    int r = mount_new("tmpfs", NULL, NULL, &devices, err);
    if (r < 0)
        return r;
    if (mknodat(devices, "tap", S_IFCHR | 0600, number) < 0)
        return error_errno(err, errno, "make a device node");
    int fd = openat(devices, "tap", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, "open the device of a macvtap");
    *ret_fd = fd;
    return 0;
}

int macvtap_open(const char *link, int *ret_fd, struct error *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    _cleanup_close_ int fd = -EBADF;
    dev_t number = 0;
    int r = find_number(link, &number, err);
    if (r == 0)
        r = open_number(number, &fd, err);
    if (r < 0)
        return r;
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return error_errno(err, errno, "set up macvtap %s", link);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
