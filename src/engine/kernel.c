/*
 * Kernels of machines: what is kept for all (runtime/vm/kernel.h), and what one machine asks for
 * with --kernel, --initrd and --kernel-arg.
 *
 * A kernel's name has no "/"; what has one is a file. A file is read anew at each start, by
 * proa-kernel without privilege, into the instance's own directory. A user's initramfs comes first
 * and ours is unpacked over it, so that /init is always the machine's agent: what the user's holds
 * is there for it (modules/NNN-name.ko are loaded in their order), and `--kernel-arg rdinit=/x`
 * starts a program of the user's, which has to execute /init in the end.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/kernel.h"
#include "engine/view.h"
#include "runtime/vm/kernel.h"
#include "runtime/vm/template.h"

#define KERNEL_ARGS_MAX 1024 /* of the 2047 that the kernel takes, with ours */

static bool is_file(const char *kernel)
{
    return strchr(kernel, '/') != NULL;
}

/* --- what all can use --- */

/* proa-kernel's one line on stderr is the error. */
static int run_program(char *const *argv, struct error *err)
{
    static const char prefix[] = "proa-kernel: ";
    _cleanup_free_ char *program = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(1024);
    struct process_capture capture = {.err = &text};
    int status, r = program_find("proa-kernel", &program, err);
    if (r < 0)
        return r;
    struct process_spec spec = {.path = program, .argv = argv};
    r = process_capture(&spec, &capture, &status, err);
    if (r < 0 || status == 0)
        return r;
    const char *line = text.data ? text.data : "";
    if (strncmp(line, prefix, sizeof(prefix) - 1) == 0)
        line += sizeof(prefix) - 1;
    return error_set(err, status == 125 ? ERROR_INVALID : ERROR_SYSTEM, EINVAL, "%.*s",
                     (int)strcspn(line, "\n"), *line ? line : "proa-kernel failed");
}

/* "": there is none. */
static char *default_kernel(struct engine *e)
{
    _cleanup_free_ char *initramfs = NULL;
    struct error ignored = ERROR_INIT;
    char *kernel = NULL;
    return vm_kernel_find(e->store->root, &kernel, &initramfs, &ignored) < 0 ? xstrdup("") : kernel;
}

/* Templates have booted the kernel that was the default until now. One that cannot be ended at this
 * moment is not wanted any more, and ends by itself. */
static void end_old_templates(struct engine *e, const char *was)
{
    _cleanup_free_ char *now = default_kernel(e);
    _cleanup_strv_ char **done = NULL;
    struct error ignored = ERROR_INIT;
    if (strcmp(was, now) != 0)
        (void)!vm_templates_prune(e->store->run, &done, &ignored);
}

int engine_kernel_add(struct engine *e, const struct kernel_addition *a, struct error *err)
{
    _cleanup_free_ char *out = path_join(e->store->root, "cache/kernel"), *was = default_kernel(e);
    _cleanup_strv_ char **argv = NULL;
    const char *const given[][2] = {{"--name", a->name},
                                    {"--package", a->package},
                                    {"--image", a->image},
                                    {"--modules", a->modules}};
    int r = path_make_dirs(out, 0755);
    if (r < 0)
        return error_errno(err, r, "create %s", out);
    strv_add(&argv, "proa-kernel");
    strv_addf(&argv, "--out=%s", out);
    for (size_t i = 0; i < ARRAY_SIZE(given); i++)
        if (given[i][1])
            strv_addf(&argv, "%s=%s", given[i][0], given[i][1]);
    r = run_program(argv, err);
    end_old_templates(e, was);
    return r;
}

/* Whether an instance runs on it, or asks for it by name. */
static bool uses(const struct instance_view *v, const char *kernel)
{
    struct bundle b;
    struct error ignored = ERROR_INIT;
    if (v->kind != RUNTIME_VM)
        return false;
    if (v->options.kernel && strcmp(v->options.kernel, kernel) == 0)
        return true;
    if (!v->status.alive || bundle_load(v->bundle, &b, &ignored) < 0)
        return false;
    _cleanup_free_ char *tail = xasprintf("/%s/vmlinux", kernel);
    size_t len = b.kernel ? strlen(b.kernel) : 0;
    bool found = len > strlen(tail) && strcmp(b.kernel + len - strlen(tail), tail) == 0;
    bundle_done(&b);
    return found;
}

int engine_kernel_user(struct engine *e, const char *kernel, char **ret_name, struct error *err)
{
    struct instance_view **views;
    int r = engine_list(e, true, &views, err);
    if (r < 0)
        return r;
    *ret_name = NULL;
    for (size_t i = 0; views[i] && !*ret_name; i++)
        if (uses(views[i], kernel))
            *ret_name = xstrdup(views[i]->name);
    engine_list_free(views);
    return 0;
}

int engine_kernel_remove(struct engine *e, const char *kernel, struct error *err)
{
    _cleanup_free_ char *user = NULL, *was = default_kernel(e);
    int r = engine_kernel_user(e, kernel, &user, err);
    if (r < 0)
        return r;
    if (user)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "kernel %s is used by instance %s; remove that first (proa rm %s)", kernel,
                         user, user);
    r = vm_kernel_remove(e->store->root, kernel, err);
    end_old_templates(e, was);
    return r;
}

int engine_kernel_set_default(struct engine *e, const char *kernel, struct error *err)
{
    _cleanup_free_ char *was = default_kernel(e);
    int r = vm_kernel_set_default(e->store->root, kernel, err);
    end_old_templates(e, was);
    return r;
}

/* --- what one machine asks for --- */

static int check_args(char *const *args, struct error *err)
{
    size_t len = 0;
    for (size_t i = 0; args && args[i]; i++) {
        len += strlen(args[i]) + 1;
        if (!*args[i])
            return error_invalid(err, "--kernel-arg: an argument is empty");
        for (const char *c = args[i]; *c; c++)
            if (*c < ' ' || *c > '~')
                return error_invalid(err, "--kernel-arg: only printable ASCII is allowed");
    }
    if (len > KERNEL_ARGS_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "--kernel-arg: all together are longer than %d bytes", KERNEL_ARGS_MAX);
    return 0;
}

static int check_file(const char *option, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, errno, "%s: %s", option, path);
    return S_ISREG(st.st_mode) ? 0 : error_invalid(err, "%s: %s is not a file", option, path);
}

int engine_kernel_check(struct engine *e, const struct create_options *o, struct error *err)
{
    _cleanup_free_ char *kernel = NULL, *initramfs = NULL;
    int r = check_args(o->kernel_args, err);
    if (r == 0 && o->kernel && is_file(o->kernel))
        r = check_file("--kernel", o->kernel, err);
    else if (r == 0 && o->kernel)
        r = vm_kernel_find_named(e->store->root, o->kernel, &kernel, &initramfs, err);
    if (r == 0 && o->initrd)
        r = check_file("--initrd", o->initrd, err);
    return r;
}

static int make_absolute(char **path, const char *option, struct error *err)
{
    char *found = realpath(*path, NULL);
    if (!found)
        return error_errno(err, errno, "%s: %s", option, *path);
    free(*path);
    *path = found;
    return 0;
}

int engine_kernel_settle(struct create_options *o, struct error *err)
{
    int r = o->kernel && is_file(o->kernel) ? make_absolute(&o->kernel, "--kernel", err) : 0;
    return r == 0 && o->initrd ? make_absolute(&o->initrd, "--initrd", err) : r;
}

/* BUNDLE/kernel is made anew: the file may be another one by now. */
static int prepare_file(const char *image, const char *bundle, struct bundle *b, struct error *err)
{
    char *const argv[] = {(char *)"proa-kernel", (char *)"--out",  (char *)bundle,
                          (char *)"--name",      (char *)"kernel", (char *)"--replace",
                          (char *)"--image",     (char *)image,    NULL};
    int r = run_program(argv, err);
    if (r < 0)
        return r;
    b->kernel = path_join(bundle, "kernel/vmlinux");
    b->initramfs = path_join(bundle, "kernel/initramfs");
    return 0;
}

int engine_kernel_prepare(struct engine *e, const struct create_options *o, const char *bundle,
                          struct bundle *b, struct error *err)
{
    int r;
    if (o->kernel && is_file(o->kernel))
        r = prepare_file(o->kernel, bundle, b, err);
    else if (o->kernel)
        r = vm_kernel_find_named(e->store->root, o->kernel, &b->kernel, &b->initramfs, err);
    else
        r = vm_kernel_find(e->store->root, &b->kernel, &b->initramfs, err);
    if (r < 0)
        return r;
    b->kernel_args = o->kernel_args ? strv_join(o->kernel_args, " ") : NULL;
    if (!o->initrd)
        return 0;
    _cleanup_free_ char *combined = path_join(bundle, "initramfs");
    r = vm_initramfs_combine(o->initrd, b->initramfs, combined, err);
    if (r == 0)
        xreplace(&b->initramfs, combined);
    return r;
}
