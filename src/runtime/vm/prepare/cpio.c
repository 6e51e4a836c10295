#include <string.h>
#include <sys/sysmacros.h>

#include "runtime/vm/prepare/prepare.h"

static int pad(struct buf *out)
{
    static const char zeros[4];
    return buf_add(out, zeros, (4 - out->len % 4) % 4);
}

int cpio_add(struct buf *out, const char *name, unsigned int mode, unsigned int device,
             const void *data, size_t len, struct error *err)
{
    static unsigned int inode;
    int r =
        buf_addf(out, "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X", ++inode, mode,
                 0u, 0u, 1u, 0u, len, 0u, 0u, major(device), minor(device), strlen(name) + 1, 0u);
    if (r == 0)
        r = buf_add(out, name, strlen(name) + 1);
    if (r == 0)
        r = pad(out);
    if (r == 0)
        r = buf_add(out, data, len);
    if (r == 0)
        r = pad(out);
    return r < 0 ? error_errno(err, r, "add %s to the initramfs", name) : 0;
}

int cpio_end(struct buf *out, struct error *err)
{
    return cpio_add(out, "TRAILER!!!", 0, 0, NULL, 0, err);
}
