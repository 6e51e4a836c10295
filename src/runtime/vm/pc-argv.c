/*
 * The PC's command line. What each machine has is one table of rows, in QEMU's order, with the
 * conditions under which a row counts; only what has a number or a name in it is made by code.
 *
 * The list of devices is short: each is code that a hostile guest can reach. There is no floppy, no
 * parallel port, no sound, no USB and no graphics card unless a screen was asked for, and no SATA
 * unless a disk needs it. Four empty PCI Express ports take what is plugged in later.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "runtime/vm/pc.h"

enum {
    IF_HEADLESS = 1u << 0,
    IF_VNC = 1u << 1,
    IF_KVM = 1u << 2,
    IF_TCG = 1u << 3,
    IF_SCSI = 1u << 4,
    IF_LOCAL_TIME = 1u << 5,
    IF_UTC = 1u << 6,
    IF_OTHER = 1u << 7, /* anything but Windows */
    IF_WINDOWS = 1u << 8,
    IF_SECURE = 1u << 9,
    IF_TPM = 1u << 10,
};

/* A row counts when all of its conditions hold. */
static const struct row {
    const char *option, *value;
    unsigned int when;
} rows[] = {
    {"-no-user-config", NULL, 0},
    {"-nodefaults", NULL, 0},
    {"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", 0},
    {"-display", "none", IF_HEADLESS},
    {"-vnc", "none", IF_VNC}, /* listens nowhere: viewers are handed to it, one by one */
    {"-serial", "chardev:console", 0},
    {"-mon", "chardev=qmp,mode=control", 0},
    {"-rtc", "base=utc", IF_UTC},
    {"-rtc", "base=localtime,driftfix=slew", IF_LOCAL_TIME},
    {"-accel", "kvm", IF_KVM},
    {"-accel", "tcg,tb-size=128", IF_TCG},
    {"-device", "pcie-root-port,id=port0,chassis=1,slot=1", 0},
    {"-device", "pcie-root-port,id=port1,chassis=2,slot=2", 0},
    {"-device", "pcie-root-port,id=port2,chassis=3,slot=3", 0},
    {"-device", "pcie-root-port,id=port3,chassis=4,slot=4", 0},
    {"-device", "virtio-serial-pci,id=serial,max_ports=2", 0},
    {"-device", "virtserialport,bus=serial.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0", 0},
    {"-object", "rng-builtin,id=entropy", 0},
    {"-device", "virtio-rng-pci,rng=entropy", 0},
    {"-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on", 0},
    {"-device", "vmgenid,guid=auto", 0},
    {"-device", "pvpanic", IF_OTHER},
    {"-device", "virtio-scsi-pci,id=scsi", IF_SCSI},
    {"-tpmdev", "emulator,id=tpm,chardev=tpm", IF_TPM},
    {"-device", "tpm-crb,tpmdev=tpm", IF_TPM},
    /* Only code in system management mode writes UEFI's variables. */
    {"-global", "driver=cfi.pflash01,property=secure,value=on", IF_SECURE},
    {"-device", "VGA", IF_VNC},
    {"-device", "qemu-xhci,id=usb,p2=4,p3=4", IF_VNC},
    {"-device", "usb-tablet,bus=usb.0", IF_VNC},
    {"-global", "kvm-pit.lost_tick_policy=delay", IF_WINDOWS | IF_KVM},
    {"-global", "ICH9-LPC.disable_s3=1", 0},
    {"-global", "ICH9-LPC.disable_s4=1", 0},
};

/* What Windows takes from a hypervisor instead of counting time by itself; KVM has them. */
#define HYPERV                                                                                     \
    ",hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-synic,hv-stimer,hv-time,"   \
    "hv-frequencies,hv-tlbflush,hv-ipi"

static void add_option(char ***argv, const char *option, char *value)
{
    strv_add(argv, option);
    strv_take(argv, value);
}

static bool has_bus(const struct bundle_machine *m, enum machine_bus bus)
{
    for (size_t i = 0; i < m->n_disks; i++)
        if (m->disks[i].bus == bus)
            return true;
    return false;
}

static unsigned int conditions(const struct vm_qemu *q)
{
    const struct bundle_machine *m = &q->bundle->machine;
    return (m->vnc ? IF_VNC : IF_HEADLESS) | (q->kvm ? IF_KVM : IF_TCG) |
           (has_bus(m, MACHINE_SCSI) ? IF_SCSI : 0) | (m->local_time ? IF_LOCAL_TIME : IF_UTC) |
           (m->windows ? IF_WINDOWS : IF_OTHER) | (m->secure_boot ? IF_SECURE : 0) |
           (m->tpm ? IF_TPM : 0);
}

static void add_rows(char ***argv, unsigned int have)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if ((rows[i].when & have) == rows[i].when) {
            strv_add(argv, rows[i].option);
            if (rows[i].value)
                strv_add(argv, rows[i].value);
        }
}

/* Under emulation Windows needs cmpxchg16b, which with several processors has broken Linux. Without
 * erms and fsrm a kernel moves words, not bytes one by one: emulated, it empties memory at four
 * times the speed. */
static char *processor(const struct vm_qemu *q)
{
    const struct bundle_machine *m = &q->bundle->machine;
    const char *emulated =
        m->windows ? "max,la57=off,-erms,-fsrm" : "max,la57=off,-cx16,-erms,-fsrm";
    const char *model = m->cpu_model ? m->cpu_model : q->kvm ? "host" : emulated;
    return xasprintf("%s%s", model, m->windows && q->kvm ? HYPERV : "");
}

/* The type is the model's, without the features, which all processors of the machine have. */
char *vm_pc_processor_type(const struct vm_qemu *q)
{
    const char *model = q->bundle->machine.cpu_model;
    if (!model)
        model = q->kvm ? "host" : "max";
    return xasprintf("%.*s-x86_64-cpu", (int)MIN(strcspn(model, ","), (size_t)100), model);
}

/* The machine's pages, and those that are plugged in, are not offered to KSM: as in qemu.c. */
static void add_machine(char ***argv, const struct vm_qemu *q)
{
    const struct bundle *b = q->bundle;
    const struct bundle_machine *m = &b->machine;
    const struct vm_shape shape = vm_qemu_shape(q);
    unsigned long long memory = shape.memory >> 20, most = m->memory_max >> 20;
    add_option(argv, "-M",
               xasprintf("q35,mem-merge=off,smbus=off,vmport=off,sata=%s,smm=%s,graphics=%s%s",
                         has_bus(m, MACHINE_SATA) ? "on" : "off", m->secure_boot ? "on" : "off",
                         m->vnc ? "on" : "off", m->uefi ? ",pflash0=code,pflash1=vars" : ""));
    add_option(argv, "-m",
               most > memory ? xasprintf("size=%lluM,slots=8,maxmem=%lluM", memory, most)
                             : xasprintf("%lluM", memory));
    add_option(argv, "-smp",
               m->cpus_max > shape.cpus
                   ? xasprintf("cpus=%u,sockets=1,cores=%u,threads=1,maxcpus=%u", shape.cpus,
                               m->cpus_max, m->cpus_max)
                   : xasprintf("%u", shape.cpus));
    add_option(argv, "-cpu", processor(q));
    /* A system may tie itself to this number, so it is the instance's own at each start. */
    add_option(argv, "-uuid",
               xasprintf("%.8s-%.4s-%.4s-%.4s-%.12s", b->id, b->id + 8, b->id + 12, b->id + 16,
                         b->id + 20));
}

static char *boot_place(uint32_t place)
{
    return place ? xasprintf(",bootindex=%u", place) : xstrdup("");
}

static void add_disk(char ***argv, const struct machine_disk *d, size_t i, size_t *sata)
{
    _cleanup_free_ char *boot = boot_place(d->boot);
    const char *kind = d->cdrom ? "cd" : "hd";
    if (d->bus == MACHINE_VIRTIO)
        add_option(
            argv, "-device",
            xasprintf("virtio-blk-pci,id=drive%zu,drive=disk%zu,serial=disk%zu%s", i, i, i, boot));
    else if (d->bus == MACHINE_SCSI)
        add_option(argv, "-device",
                   xasprintf("scsi-%s,id=drive%zu,bus=scsi.0,drive=disk%zu,serial=disk%zu%s", kind,
                             i, i, i, boot));
    else
        add_option(argv, "-device",
                   xasprintf("ide-%s,id=drive%zu,bus=ide.%zu,drive=disk%zu,serial=disk%zu%s", kind,
                             i, (*sata)++, i, i, boot));
}

static void add_flash(char ***argv, const char *node, int place, bool read_only)
{
    add_option(argv, "-blockdev",
               xasprintf("driver=raw,node-name=%s,read-only=%s,file.driver=file,"
                         "file.filename=/dev/fdset/%d,file.locking=off",
                         node, read_only ? "on" : "off", place + 1));
}

static void add_disks(char ***argv, const struct vm_qemu *q)
{
    const struct bundle_machine *m = &q->bundle->machine;
    size_t sata = 0;
    for (size_t i = 0; i < q->pc->n_files; i++)
        add_option(argv, "-add-fd", xasprintf("fd=%d,set=%zu", q->pc->files[i], i + 1));
    if (m->uefi) {
        add_flash(argv, "code", q->pc->code, true);
        add_flash(argv, "vars", q->pc->vars, false);
    }
    for (size_t i = 0; i < m->n_disks; i++) {
        char node[16];
        snprintf(node, sizeof(node), "disk%zu", i);
        add_option(argv, "-blockdev",
                   vm_pc_blockdev(&m->disks[i], &q->pc->drives[i], node, q->bundle->ephemeral));
        add_disk(argv, &m->disks[i], i, &sata);
    }
}

static void add_networks(char ***argv, const struct vm_qemu *q)
{
    const struct bundle_machine *m = &q->bundle->machine;
    const struct vm_shape shape = vm_qemu_shape(q);
    size_t n = 0;
    for (size_t i = 0; i < q->bundle->n_networks; i++) {
        if (!*q->bundle->networks[i].mac)
            continue;
        bool boots = n == 0 && m->boot_net;
        int port = vm_shape_port(&shape, n++);
        _cleanup_free_ char *bus = port < 0 ? xstrdup("") : xasprintf(",bus=port%d", port);
        _cleanup_free_ char *boot = boot_place(boots ? m->boot_net : 0);
        add_option(argv, "-netdev", vm_netdev(i, q->tap_fds[i]));
        /* Without a place in the boot order its boot program is not even loaded. */
        add_option(argv, "-device",
                   xasprintf("%s,id=card%zu,netdev=net%zu,mac=%s%s%s%s",
                             m->nic ? m->nic : "virtio-net-pci", i, i, q->bundle->networks[i].mac,
                             bus, boot, boots ? "" : ",romfile="));
    }
}

/* What its memory was written with: as it was plugged in then (pc-grow.c). */
static void add_plugged(char ***argv, const struct vm_qemu *q)
{
    const struct vm_shape shape = vm_qemu_shape(q);
    _cleanup_free_ char *type = vm_pc_processor_type(q);
    for (uint32_t n = shape.cpus; n < shape.cpus + shape.more_cpus; n++)
        add_option(
            argv, "-device",
            xasprintf("%s,id=cpu%u,socket-id=0,die-id=0,core-id=%u,thread-id=0", type, n, n));
    for (uint32_t i = 0; i < shape.n_modules; i++) {
        add_option(argv, "-object",
                   xasprintf("memory-backend-ram,id=memory%u,merge=off,size=%llu", i,
                             (unsigned long long)shape.modules[i]));
        add_option(argv, "-device", xasprintf("pc-dimm,id=dimm%u,memdev=memory%u", i, i));
    }
}

char **vm_pc_argv(const struct vm_qemu *q, int agent, int qmp, int console)
{
    char **argv = NULL;
    strv_add(&argv, "qemu-system-x86_64");
    add_machine(&argv, q);
    add_option(&argv, "-chardev", xasprintf("socket,id=agent,fd=%d", agent));
    add_option(&argv, "-chardev", xasprintf("socket,id=qmp,fd=%d", qmp));
    add_option(&argv, "-chardev", xasprintf("socket,id=console,fd=%d", console));
    if (q->pc->tpm_fd >= 0)
        add_option(&argv, "-chardev", xasprintf("socket,id=tpm,fd=%d", q->pc->tpm_fd));
    add_rows(&argv, conditions(q));
    add_disks(&argv, q);
    add_networks(&argv, q);
    add_plugged(&argv, q);
    if (q->memory_fd >= 0)
        add_option(&argv, "-incoming", xstrdup("defer"));
    return argv;
}
