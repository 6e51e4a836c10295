/* Running proa-trust: its request goes in by an unnamed file, because it may hold a private key. */
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "service/trust/internal.h"

#define PROGRAM       "proa-trust"
#define OUTPUT_MAX    ((size_t)256 << 10)
#define COMPLAINT_MAX 16384

json_t *trust_base64(const char *text, size_t len)
{
    _cleanup_free_ char *encoded = base64_encode(text, len);
    return json_string(encoded);
}

static int request_file(json_t *request, int *ret, struct error *err)
{
    _cleanup_free_ char *text = json_to_text(request);
    _cleanup_close_ int fd = memfd_create(PROGRAM, MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    explicit_bzero(text, strlen(text));
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "write a request for %s", PROGRAM);
    *ret = TAKE_FD(fd);
    return 0;
}

int trust_helper(const char *command, json_t *request, json_t **ret, struct error *err)
{
    _cleanup_json_ json_t *owned = request;
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int in = -EBADF;
    _cleanup_buf_ struct buf out = BUF_INIT(OUTPUT_MAX), complaint = BUF_INIT(COMPLAINT_MAX);
    int status = 0, r;
    if ((r = program_find(PROGRAM, &path, err)) < 0 || (r = request_file(owned, &in, err)) < 0)
        return r;
    char *argv[] = {path, (char *)command, NULL};
    const struct process_fd fds[] = {{in, STDIN_FILENO}};
    const struct process_spec spec = {.path = path, .argv = argv, .fds = fds, .n_fds = 1};
    const struct process_capture capture = {&out, &complaint, NULL, NULL};
    if ((r = process_capture(&spec, &capture, &status, err)) < 0)
        return r;
    if (status != 0)
        return program_failed(PROGRAM, &complaint, status, err);
    return json_parse(out.data ? out.data : "", out.len, PROGRAM, ret, err);
}
