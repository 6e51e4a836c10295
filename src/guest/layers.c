/*
 * Layers that are on one disk (wire/agent/layers.h): each is made a partition of it, by hand, so
 * that no kernel has to know our table.
 */
#include <fcntl.h>
#include <linux/blkpg.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "guest/guest.h"
#include "wire/agent/layers.h"

static int add_partition(int fd, int number, const struct agent_layer_place *p)
{
    struct blkpg_partition part = {
        .start = (long long)p->start, .length = (long long)p->length, .pno = number};
    struct blkpg_ioctl_arg arg = {
        .op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part};
    return ioctl(fd, BLKPG, &arg) < 0 ? -errno : 0;
}

int guest_layers_split(const char *device, uint32_t n_wanted, struct error *err)
{
    static struct agent_layer_place list[AGENT_LAYERS_MAX];
    unsigned char table[AGENT_LAYERS_TABLE];
    size_t n = 0;
    _cleanup_close_ int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_full(fd, table, sizeof(table)) != (ssize_t)sizeof(table))
        return error_errno(err, errno, "read the disk of layers");
    int r = agent_layers_parse(table, list, &n, err);
    if (r == 0 && n != n_wanted)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the disk of layers has %zu of them", n);
    for (size_t i = 0; r == 0 && i < n; i++)
        if ((r = add_partition(fd, (int)i + 1, &list[i])) < 0)
            error_errno(err, r, "find layer %zu on its disk", i);
    return r;
}
