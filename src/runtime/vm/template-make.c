/*
 * Making a template and trying it. No workload or network ever comes near, and no image but its
 * own: what is read from the guest here was written by the kernel and the guest of this host, and
 * is bounded all the same.
 */
#include "runtime/vm/template-make.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/boot_watch.h"
#include "runtime/vm/control.h"
#include "wire/agent/agent.h"
#include "wire/agent/prepare.h"

#define BOOT_TIMEOUT_MS 180000
#define SAVE_TIMEOUT_MS 60000
#define TRY_TIMEOUT_MS  60000
/* What the kernel has put off at its boot is done once, in the template; after two seconds it gives
 * back the memory that it does not need any more. */
#define SETTLE_MS   3500
#define PROGRAM_MAX ((size_t)16 << 10)
#define SEALS       (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The guest's port, read until a frame of one type has come. */
struct port {
    const struct vm_qemu *qemu;
    struct buf in;
    bool boots; /* it may stand still, and then it is not waited for */
    struct boot_watch boot;
    int64_t deadline_ms;
};

static bool find_frame(struct port *p, enum agent_type wanted, bool *ret_bad)
{
    size_t used = 1;
    while (used > 0) {
        struct agent_frame f;
        if (agent_frame_parse(p->in.data, p->in.len, &f, &used, NULL) < 0) {
            *ret_bad = true;
            return false;
        }
        if (used > 0 && f.type == AGENT_ERROR) {
            *ret_bad = true;
            return false;
        }
        bool found = used > 0 && f.type == wanted;
        if (used > 0)
            buf_consume(&p->in, used);
        if (found)
            return true;
    }
    return false;
}

static int port_wait(struct port *p, enum agent_type wanted, struct error *err)
{
    char data[4096];
    bool bad = false;
    while (!find_frame(p, wanted, &bad)) {
        int64_t left = p->deadline_ms - time_monotonic_ms();
        struct pollfd set[] = {{p->qemu->agent_fd, POLLIN, 0}, {p->qemu->console_fd, POLLIN, 0}};
        if (p->boots && boot_stands(&p->boot, p->qemu->pid))
            return error_set(err, ERROR_SYSTEM, EIO, "the template's machine stood still at boot");
        int wait = (int)(p->boots ? MIN(left, (int64_t)BOOT_LOOK_MS) : left);
        if (bad || left <= 0 || (poll(set, 2, wait) == 0 && !p->boots))
            return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "the template's agent does not answer");
        if (set[1].revents)
            (void)!read(p->qemu->console_fd, data, sizeof(data));
        if (!set[0].revents)
            continue;
        ssize_t n = read(p->qemu->agent_fd, data, sizeof(data));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return error_set(err, ERROR_SYSTEM, EIO, "the template's machine has ended");
        if (n > 0 && buf_add(&p->in, data, (size_t)n) < 0)
            return error_set(err, ERROR_LIMIT, EFBIG, "the template's agent says too much");
    }
    return 0;
}

static int wait_agent(const struct vm_qemu *q, enum agent_type wanted, int timeout_ms,
                      struct error *err)
{
    struct port p = {.qemu = q,
                     .in = BUF_INIT(2 * AGENT_PAYLOAD_MAX),
                     .boots = wanted == AGENT_HELLO,
                     .deadline_ms = time_monotonic_ms() + timeout_ms};
    int r = port_wait(&p, wanted, err);
    buf_done(&p.in);
    return r;
}

static int talk(const struct vm_qemu *q, const struct buf *out, struct error *err)
{
    if (write(q->agent_fd, out->data, out->len) != (ssize_t)out->len)
        return error_set(err, ERROR_SYSTEM, EIO, "talk to the template's agent");
    return 0;
}

static int save(const struct vm_qemu *q, bool restored, struct error *err)
{
    struct vm_control c;
    vm_control_init(&c, q->qmp_fd, SAVE_TIMEOUT_MS);
    int r = restored ? 0 : vm_control_send(&c, "qmp_capabilities", NULL, err);
    if (r == 0 && !restored)
        r = vm_control_send(&c, "migrate-set-capabilities", VM_CONTROL_MIGRATION, err);
    if (r == 0)
        r = vm_control_send_fd(&c, "getfd", "{\"fdname\":\"state\"}", q->state_fd, err);
    if (r == 0)
        r = vm_control_send(&c, "stop", NULL, err);
    if (r == 0)
        r = vm_control_send(&c, "migrate", "{\"uri\":\"fd:state\"}", err);
    if (r == 0)
        r = vm_control_migrated(&c, err);
    vm_control_done(&c);
    return r < 0 ? error_prefix(err, "save the template") : 0;
}

/* Everything that is the same for all clones is done here, once. */
static int order_preparations(const struct vm_qemu *q, uint32_t flags, const char *program,
                              struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(2 * PROGRAM_MAX);
    int r = program && strlen(program) < PROGRAM_MAX
                ? agent_add_string(&out, AGENT_PROGRAM, 0, program)
                : 0;
    if (r == 0)
        r = agent_add_u32(&out, AGENT_PREPARE, 0, flags);
    return r < 0 ? error_errno(err, r, "talk to the template's agent") : talk(q, &out, err);
}

int template_finish(const struct vm_qemu *q, uint32_t flags, const char *program, bool restored,
                    struct error *err)
{
    int r = order_preparations(q, flags, program, err);
    if (r == 0)
        r = wait_agent(q, AGENT_OK, BOOT_TIMEOUT_MS, err);
    if (r < 0)
        return r;
    nanosleep(&(struct timespec){SETTLE_MS / 1000, SETTLE_MS % 1000 * 1000000}, NULL);
    return save(q, restored, err);
}

int template_end(struct vm_qemu *q, int r, struct error *err)
{
    vm_qemu_end(q); /* a shared mapping of its would forbid the seal */
    const int fds[] = {q->ram_fd, q->state_fd, q->disk_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds) && r == 0; i++)
        if (fds[i] >= 0 && fcntl(fds[i], F_ADD_SEALS, SEALS) < 0)
            r = error_errno(err, errno, "seal the template");
    return r;
}

int template_make(struct vm_qemu *q, struct error *err)
{
    int r = vm_qemu_start(q, err);
    if (r == 0)
        r = wait_agent(q, AGENT_HELLO, BOOT_TIMEOUT_MS, err);
    if (r == 0)
        r = template_finish(q, q->disk_fd >= 0 ? AGENT_PREPARE_DISK : 0, NULL, false, err);
    return template_end(q, r, err);
}

/* A question that any agent answers, configured or not. */
static int ask(const struct vm_qemu *q, struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    int r = agent_frame_add(&out, AGENT_STATS, AGENT_WORKLOAD + 1, NULL, 0);
    if (r < 0)
        return error_errno(err, r, "ask the template's agent");
    r = talk(q, &out, err);
    return r < 0 ? r : wait_agent(q, AGENT_STATS_REPLY, TRY_TIMEOUT_MS, err);
}

/* What the kernel writes to its disk by itself goes to a copy. */
static int copy_disk(const struct vm_qemu *made, struct vm_qemu *q, struct error *err)
{
    if (made->disk_fd < 0)
        return 0;
    _cleanup_close_ int from = open(fd_path(made->disk_fd).text, O_RDONLY | O_CLOEXEC);
    q->disk_fd = memfd_create("proa-template-trial", MFD_CLOEXEC);
    int r = from < 0 || q->disk_fd < 0 ? -errno : fd_copy(from, q->disk_fd);
    return r < 0 ? error_errno(err, r, "copy the template's disk") : 0;
}

int template_try(const struct vm_qemu *made, struct error *err)
{
    struct vm_qemu q = *made;
    q.role = VM_CLONE;
    q.pid = 0;
    q.disk_fd = -EBADF;
    q.state_fd = open(fd_path(made->state_fd).text, O_RDONLY | O_CLOEXEC);
    int r = q.state_fd < 0 ? error_errno(err, errno, "open the template's state")
                           : copy_disk(made, &q, err);
    if (r == 0)
        r = vm_qemu_start(&q, err);
    if (r == 0)
        r = vm_template_restore(&q, err);
    if (r == 0)
        r = ask(&q, err);
    vm_qemu_end(&q);
    close_fd(q.state_fd);
    close_fd(q.disk_fd);
    return r < 0 ? error_prefix(err, "try the template") : 0;
}
