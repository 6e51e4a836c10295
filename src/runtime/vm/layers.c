/*
 * Layers that are more than a machine has places for devices become one disk
 * (wire/agent/layers.h). QEMU puts it together: the only driver of its that makes one disk of
 * several files is that of VMDK images, whose description names extents. Ours is written here, and
 * names nothing but descriptors that QEMU has anyway.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "runtime/vm/machine.h"
#include "wire/agent/layers.h"

#define MAP_MAX ((size_t)32 << 10)

static int memory_file(const char *name, const void *data, size_t len, int *ret, struct error *err)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, data, len);
    if (r < 0)
        return error_errno(err, r, "make the disk of layers");
    /* QEMU takes a descriptor for reading only where it wants no more than that. */
    *ret = open(fd_path(fd).text, O_RDONLY | O_CLOEXEC);
    return *ret < 0 ? error_errno(err, errno, "open the disk of layers") : 0;
}

static int add_extent(struct buf *map, uint64_t bytes, size_t set)
{
    return buf_addf(map, "RW %llu FLAT \"/dev/fdset/%zu\" 0\n",
                    (unsigned long long)(bytes / AGENT_SECTOR), set);
}

/* No empty line: the extent after one would count twice (seen with QEMU 7.2). */
static int write_map(const uint64_t *lengths, size_t n, struct buf *map)
{
    int r = buf_add_str(map, "# Disk DescriptorFile\nversion=1\nCID=fffffffe\n"
                             "parentCID=ffffffff\ncreateType=\"monolithicFlat\"\n");
    if (r == 0)
        r = add_extent(map, AGENT_LAYERS_TABLE, VM_LAYERS_TABLE_SET);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_extent(map, lengths[i], VM_LAYER_SET(i));
    return r;
}

int vm_layers_join(struct vm_qemu *q, struct error *err)
{
    unsigned char table[AGENT_LAYERS_TABLE];
    uint64_t lengths[AGENT_ITEMS_MAX];
    _cleanup_buf_ struct buf map = BUF_INIT(MAP_MAX);
    size_t n = q->bundle->n_layers;
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        if (fstat(q->layer_fds[i], &st) < 0)
            return error_errno(err, errno, "look at layer %s", q->bundle->layers[i].erofs);
        lengths[i] = (uint64_t)st.st_size;
    }
    int r = agent_layers_write(lengths, n, table);
    if (r == -E2BIG)
        return error_set(err, ERROR_LIMIT, E2BIG, "the image has %zu layers, a machine at most %u",
                         n, AGENT_LAYERS_MAX);
    if (r == 0)
        r = write_map(lengths, n, &map);
    if (r < 0)
        return error_errno(err, r, "place the layers on one disk");
    r = memory_file("layers-table", table, sizeof(table), &q->layers_table_fd, err);
    return r < 0 ? r : memory_file("layers-map", map.data, map.len, &q->layers_map_fd, err);
}
