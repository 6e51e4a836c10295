/*
 * Making the template of one image from that of its shape. A machine goes on from a copy of it,
 * with the image's layers behind its disks; its guest puts the root file system together, and then
 * its memory is kept as that of the first kind is. Only machines of this image get it, so what the
 * image does to the kernel that mounts it, it does to its own machines.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "runtime/vm/template-make.h"
#include "wire/agent/prepare.h"

#define WAIT_MS 300000
#define LOOK_MS 50

/* The template of the shape: made first, where there is none. */
static int take_base(const struct vm_template *t, const struct vm_qemu *q, struct vm_qemu *from,
                     int *ret_disk, struct error *err)
{
    _cleanup_free_ char *failed = path_join(t->dir, "failed");
    int64_t until = time_monotonic_ms() + WAIT_MS;
    while (vm_template_take(t, from, ret_disk) < 0) {
        int hold = -EBADF;
        if (access(failed, F_OK) == 0)
            return error_set(err, ERROR_SYSTEM, ENOENT,
                             "the template it stands on could not be made");
        if (time_monotonic_ms() > until)
            return error_set(err, ERROR_CONFLICT, ETIMEDOUT,
                             "the template it stands on is not there");
        int r = vm_template_order(t, q, &hold, err);
        close_fd(hold);
        if (r < 0)
            return r;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
    }
    return 0;
}

/* With positions of our own: the descriptors are everybody's. */
static int copy(int from, int to, struct error *err)
{
    _cleanup_close_ int source = open(fd_path(from).text, O_RDONLY | O_CLOEXEC);
    int r = source < 0 ? -errno : fd_copy(source, to);
    return r < 0 ? error_errno(err, r, "copy the template it stands on") : 0;
}

int template_make_image(struct vm_qemu *q, const struct vm_template *base, const char *program,
                        struct error *err)
{
    struct vm_qemu from = *q;
    _cleanup_close_ int disk = -EBADF;
    from.ram_fd = from.state_fd = -EBADF;
    int r = take_base(base, q, &from, &disk, err);
    _cleanup_close_ int ram = from.ram_fd, state = from.state_fd;
    if (r == 0)
        r = copy(ram, q->ram_fd, err);
    if (r == 0)
        r = copy(disk, q->disk_fd, err);
    if (r < 0)
        return r;
    int own_state = q->state_fd;
    q->role = VM_IMAGE;
    q->state_fd = state;
    r = vm_qemu_start(q, err);
    if (r == 0)
        r = vm_template_restore(q, err);
    q->state_fd = own_state;
    if (r == 0)
        r = template_finish(q, AGENT_PREPARE_ROOT_OF(q->bundle->n_layers), program, true, err);
    return template_end(q, r, err);
}
