#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/pc.h"
#include "runtime/vm/share.h"

struct pc_machine {
    const struct vm_options *options;
    struct vm_pc pc;
    struct vm_shares no_shares;
    struct vm_qemu qemu;
    struct vm_relay relay;
};

static int check(const struct bundle *b, struct error *err)
{
    if (!b->id || strlen(b->id) != 64 || !is_hex(b->id, 64))
        return error_invalid(err, "proa.json has no proper id");
    for (size_t i = 0; i < b->machine.n_disks; i++)
        if (b->machine.disks[i].file && !b->machine.disks[i].format)
            return error_invalid(err, "proa.json: a disk without a format");
    return 0;
}

static int make_group(const struct bundle *b, bool kvm, struct cgroup *ret, struct error *err)
{
    const char *limits = b->machine.limits;
    struct oci_resources res;
    oci_resources_init(&res);
    int r = limits ? oci_resources_parse(limits, strlen(limits), &res, err) : 0;
    if (r == 0)
        r = vm_group_make(b, &res, 0, kvm, ret, err);
    oci_resources_done(&res);
    return r;
}

static int start_qemu(struct pc_machine *m, const struct bundle *b, struct error *err)
{
    _cleanup_free_ char *cache = vm_accelerator_cache(m->options->run_dir);
    m->qemu = (struct vm_qemu){
        .bundle = b,
        .pc = &m->pc,
        .shares = &m->no_shares,
        .disk_fd = -EBADF,
        .memory_fd = m->qemu.memory_fd,
        .shape = m->qemu.shape,
        .uid = vm_machine_uid(b->id),
        .processors = b->machine.processors,
    };
    int r = vm_take_taps(m->options, b, m->qemu.tap_fds, err);
    if (r < 0)
        return r;
    vm_accelerator(cache, &m->qemu.kvm, &m->qemu.tsc_khz);
    _cleanup_(cgroup_done) struct cgroup group = CGROUP_INIT;
    r = make_group(b, m->qemu.kvm, &group, err);
    m->qemu.group = &group;
    if (r == 0 && b->machine.tpm)
        r = vm_pc_start_tpm(m->options->bundle, m->qemu.uid, &group, &m->pc.tpm_fd, err);
    r = r < 0 ? r : vm_qemu_start(&m->qemu, err);
    m->qemu.group = NULL;
    return r;
}

static int prepare(struct pc_machine *m, const struct bundle *b, struct error *err)
{
    const struct vm_options *o = m->options;
    int r = check(b, err);
    if (r == 0 && o->terminal)
        r = vm_take_terminal(err);
    if (r == 0)
        r = vm_pc_open_disks(&b->machine, &m->pc, err);
    if (r == 0)
        r = vm_pc_open_firmware(&b->machine, o->bundle, &m->pc, err);
    if (r == 0)
        r = vm_open_logs(o, &m->relay.logs, err);
    if (r == 0)
        r = vm_open_memory(b->memory, &m->qemu.memory_fd, &m->qemu.shape, err);
    if (r == 0)
        r = start_qemu(m, b, err);
    if (r == 0)
        r = vm_listen(o->run_dir, "agent.sock", &m->relay.listen_fd, err);
    if (r == 0 && b->machine.vnc)
        r = vm_listen(o->run_dir, "vnc.sock", &m->relay.vnc_fd, err);
    if (r == 0 && b->machine.vnc)
        r = vm_picture_open(&m->relay.picture, err);
    return r < 0 ? r : vm_finish_sandbox(m->qemu.uid, err);
}

int vm_pc_main(const struct vm_options *o, struct bundle *b, int64_t started_ms, struct error *err)
{
    static struct pc_machine m;
    m.options = o;
    m.pc.tpm_fd = -EBADF;
    m.relay = (struct vm_relay){.qemu = &m.qemu,
                                .ready_fd = o->ready_fd,
                                .listen_fd = -EBADF,
                                .vnc_fd = -EBADF,
                                .terminal = o->terminal,
                                .started_ms = started_ms};
    int r = prepare(&m, b, err);
    return r < 0 ? r : vm_pc_relay_run(&m.relay);
}
