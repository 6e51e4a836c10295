#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "kernel/netns.h"

int tap_create(const char *name, int *ret_fd, struct error *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL};
    if (strlen(name) >= sizeof(request.ifr_name))
        return error_invalid(err, "the link name %s is too long", name);
    memcpy(request.ifr_name, name, strlen(name));
    _cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, "open /dev/net/tun");
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return error_errno(err, errno, "create tap %s", name);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
