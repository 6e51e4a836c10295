/*
 * A light machine goes on from a template where there is one that fits. Where there is none it
 * boots, and one is ordered for the next. Whatever is wrong with a template, the machine starts: it
 * boots, and the template is put away with a note, so that nobody meets it again.
 */
#include "runtime/vm/warm.h"

#include <libgen.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "runtime/vm/share.h"
#include "runtime/vm/template.h"

/* A kernel of that much memory touches a sixty-fourth of it before it does anything. */
#define WARM_MEMORY_MAX ((uint64_t)4 << 30)

static int open_disk(struct vm_qemu *q, struct error *err)
{
    const struct bundle *b = q->bundle;
    _cleanup_free_ char *kernel = xstrdup(b->kernel);
    return b->disk ? vm_disk_open(b->disk, b->disk_bytes, dirname(kernel), &q->disk_fd, err) : 0;
}

static int start_cold(struct vm_qemu *q, struct vm_shares *shares, const char *run_dir,
                      struct error *err)
{
    q->role = VM_COLD;
    int r = q->disk_fd >= 0 ? 0 : open_disk(q, err);
    if (r == 0)
        r = vm_shares_start(shares, run_dir, q->group, err);
    return r < 0 ? r : vm_qemu_start(q, err);
}

/* A new disk is the template's, with the file system mounted that the template has mounted. */
static int start_clone(struct vm_qemu *q, int template_disk, struct error *err)
{
    int r = template_disk < 0 ? 0 : vm_disk_make(q->bundle->disk, template_disk, err);
    q->disk_fd = close_fd(q->disk_fd); /* of another template's try */
    if (r == 0)
        r = open_disk(q, err);
    if (r == 0)
        r = vm_qemu_start(q, err);
    return r < 0 ? r : vm_template_restore(q, err);
}

static int start_warm(struct vm_qemu *q, const struct vm_template *t)
{
    _cleanup_close_ int disk = -EBADF;
    struct error why = ERROR_INIT;
    int r = vm_template_take(t, q, &disk);
    if (r < 0)
        return r;
    r = start_clone(q, disk, &why);
    if (r < 0) {
        vm_qemu_end(q);
        (void)!vm_template_remove(t->dir, why.msg, NULL);
    }
    q->ram_fd = close_fd(q->ram_fd);
    q->state_fd = close_fd(q->state_fd);
    return r;
}

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* A template's cards that are on no network are the last ones. */
static bool has_hole(const struct bundle *b)
{
    for (size_t i = 0; i < b->n_networks; i++)
        if (!*b->networks[i].mac)
            return true;
    return false;
}

/* Directories that are shared live need memory that another process can see; and what is made for
 * this machine alone is no other's template. */
static bool may_be_warm(const struct vm_qemu *q, const struct vm_options *o)
{
    const struct bundle *b = q->bundle;
    return !b->cold && !has_hole(b) && q->shares->n == 0 && q->memory_fd < 0 &&
           q->layer_slots > 0 && b->memory_bytes <= WARM_MEMORY_MAX &&
           !is_below(b->kernel, o->bundle) && !is_below(b->initramfs, o->bundle);
}

/* A disk that is new and layers that each have their own device: then there is nothing about the
 * root file system that another machine of the image has not. */
static bool may_have_root(const struct vm_qemu *q)
{
    return q->disk_is_new && q->bundle->n_layers <= q->layer_slots;
}

/* From the best template that there is. The best that there might be is ordered, once. */
static int try_templates(struct vm_qemu *q, const char *run, int *ret_order_fd)
{
    struct error ignored = ERROR_INIT;
    int r = -ENOENT;
    for (int image = may_have_root(q); r < 0 && image >= 0; image--) {
        struct vm_template t = {0};
        if (vm_template_find(run, q, image, &t, &ignored) == 0) {
            r = start_warm(q, &t);
            if (r < 0 && *ret_order_fd < 0)
                (void)!vm_template_order(&t, q, ret_order_fd, &ignored);
        }
        vm_template_done(&t);
    }
    return r;
}

int vm_start_light(struct vm_qemu *q, struct vm_shares *shares, const struct vm_options *o,
                   const char *run, int *ret_order_fd, struct error *err)
{
    const struct bundle *b = q->bundle;
    int r = vm_disk_open_lower(b->disk_lower, q->lower_fds, &q->n_lower, err);
    if (r < 0)
        return r;
    q->layer_slots = vm_template_slots(b->n_layers, VM_DEVICES_FIXED + (b->disk != NULL) +
                                                        q->n_cards + q->shares->n);
    q->disk_is_new = b->disk && access(b->disk, F_OK) < 0;
    if (run && may_be_warm(q, o) && try_templates(q, run, ret_order_fd) == 0)
        return 0;
    return start_cold(q, shares, o->run_dir, err);
}
