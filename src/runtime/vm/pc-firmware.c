/*
 * UEFI: OVMF's code, which all machines share, and its variables (boot entries, keys of secure
 * boot), of which each machine has a copy of its own in its bundle. Secure boot begins with the
 * keys of Microsoft, which sign the loaders of Windows and of the Linux distributions.
 */
#include <fcntl.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "runtime/vm/pc.h"

#define OVMF "/usr/share/OVMF/"

static int open_template(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "UEFI needs %s; install the Debian package ovmf", path);
    return fd < 0 ? error_errno(err, errno, "open %s", path) : fd;
}

static int make_variables(const char *path, const char *template, struct error *err)
{
    _cleanup_free_ char *making = xasprintf("%s.making", path);
    _cleanup_close_ int from = open_template(template, err);
    if (from < 0)
        return from;
    _cleanup_close_ int to =
        open(making, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = to < 0 ? -errno : fd_copy(from, to);
    if (r == 0 && rename(making, path) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "make %s", path) : 0;
}

int vm_pc_open_firmware(const struct bundle_machine *m, const char *bundle, struct vm_pc *pc,
                        struct error *err)
{
    if (!m->uefi)
        return 0;
    _cleanup_free_ char *path = path_join(bundle, "firmware.vars");
    _cleanup_close_ int vars = -EBADF,
                        code = open_template(m->secure_boot ? OVMF "OVMF_CODE_4M.secboot.fd"
                                                            : OVMF "OVMF_CODE_4M.fd",
                                             err);
    if (code < 0)
        return code;
    int r =
        access(path, F_OK) == 0
            ? 0
            : make_variables(
                  path, m->secure_boot ? OVMF "OVMF_VARS_4M.ms.fd" : OVMF "OVMF_VARS_4M.fd", err);
    if (r < 0)
        return r;
    vars = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (vars < 0 || flock(vars, LOCK_EX | LOCK_NB) < 0)
        return error_errno(err, errno, "open %s", path);
    r = vm_pc_add_file(pc, &code, &pc->code, err);
    return r < 0 ? r : vm_pc_add_file(pc, &vars, &pc->vars, err);
}
