/*
 * QEMU's command line and process. No path of the host is on the command line: disks, the tap and
 * every channel are descriptors, the kernel and the initramfs are in the sandbox's root.
 *
 * It is a child of proa-vm with the same uid, so that its parent-death signal is permitted; proa-vm
 * is not dumpable, so that uid gives QEMU nothing but the right to end its own machine.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/program.h"
#include "base/strv.h"
#include "kernel/ns.h"
#include "kernel/processors.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/networks.h"
#include "runtime/vm/pc.h"
#include "runtime/vm/sandbox.h"
#include "runtime/vm/share.h"
#include "wire/agent/layers.h"

/* Empty disks are larger than any layer, so that what is read from a layer is within them. */
#define EMPTY_BYTES ((uint64_t)1 << 40)

/* Of the emulated processor, what is slower there than what a kernel does without it: moves of
 * bytes one by one, and two instructions around every access to a process's memory. */
#define EMULATED_CPU "max,la57=off,-cx16,-erms,-fsrm,-smap"

/* What every machine has. */
static const char *const fixed[] = {
    "qemu-system-x86_64",
    "-no-user-config",
    "-nodefaults",
    "-display",
    "none",
    "-no-reboot",
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-global",
    "virtio-mmio.force-legacy=false",
    "-kernel",
    VM_SANDBOX_KERNEL,
    "-initrd",
    VM_SANDBOX_INITRAMFS,
    "-serial",
    "chardev:console",
    "-mon",
    "chardev=qmp,mode=control",
    "-device",
    "virtio-serial-device,max_ports=2",
    "-device",
    "virtserialport,chardev=agent,name=agent,nr=1",
    "-device",
    "virtio-balloon-device,free-page-reporting=on"};

/* Silent until something is wrong; a panic ends the machine; no self-tests and no probing for what
 * a machine does not have; no accounting that nobody reads. Random numbers come from the processor
 * and from the host's seed (AGENT_CONFIGURE). */
static const char kernel_options[] =
    "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic cryptomgr.notests random.trust_cpu=on "
    "8250.nr_uarts=1 no_timer_check rcupdate.rcu_expedited=1 "
    "initcall_blacklist=crypto_kdf108_init,init_kprobe_trace,init_blk_tracer,snapshot_device_init "
    "lsm=landlock psi=0 noautogroup cgroup.memory=nokmem";

static void add_option(char ***argv, const char *option, char *value)
{
    strv_add(argv, option);
    strv_take(argv, value);
}

/* The memory's name, which is that of a machine without a backend of its own: the memory of any can
 * be loaded into any other. */
#define RAM "microvm.ram"

static size_t count_cards(const struct vm_qemu *q)
{
    size_t n = q->pc ? 0 : q->n_cards;
    for (size_t i = 0; q->pc && i < q->bundle->n_networks; i++)
        n += *q->bundle->networks[i].mac != '\0';
    return n;
}

struct vm_shape vm_qemu_shape(const struct vm_qemu *q)
{
    struct vm_shape shape =
        q->shape.cpus ? q->shape : vm_shape_plain(q->bundle->cpus, q->bundle->memory_bytes);
    if (shape.cards < 0)
        shape.cards = (int)count_cards(q);
    return shape;
}

/* virtiofsd reads and writes the machine's memory; a template's is what is left of it; a clone's
 * is the template's, copied page by page as it is written to. */
static bool add_memory(char ***argv, const struct vm_qemu *q)
{
    unsigned long long memory = vm_qemu_shape(q).memory >> 20;
    _cleanup_free_ char *kind = NULL;
    add_option(argv, "-m", xasprintf("%lluM", memory));
    if (q->role == VM_COLD && q->shares->n == 0)
        return false;
    if (q->role == VM_COLD)
        kind = xstrdup("memory-backend-memfd,share=on");
    else
        kind = xasprintf("memory-backend-file,share=%s,mem-path=/proc/self/fd/%d",
                         q->role == VM_CLONE ? "off" : "on", q->ram_fd);
    add_option(argv, "-object",
               xasprintf("%s,id=" RAM
                         ",x-use-canonical-path-for-ramblock-id=off,merge=off,size=%lluM",
                         kind, memory));
    return true;
}

/* The machine's pages are not offered to KSM: what two machines share would show in its timing. */
static void add_machine(char ***argv, const struct vm_qemu *q)
{
    bool backend = add_memory(argv, q);
    add_option(argv, "-M",
               xasprintf("microvm,acpi=on,pit=off,pic=off,rtc=on,mem-merge=off%s",
                         backend ? ",memory-backend=" RAM : ""));
    if (q->role == VM_CLONE || q->role == VM_IMAGE)
        add_option(argv, "-incoming", xstrdup("defer"));
    add_option(argv, "-smp", xasprintf("%u", vm_qemu_shape(q).cpus));
    add_option(argv, "-accel", xstrdup(q->kvm ? "kvm" : "tcg,tb-size=64"));
    add_option(argv, "-cpu", xstrdup(q->kvm ? "host" : EMULATED_CPU));
    /* Under TCG the guest's clock is the host's, and there is no speculation to guard against. */
    _cleanup_free_ char *emulated =
        q->kvm ? xstrdup("")
               : xasprintf(" tsc_early_khz=%u tsc=reliable mitigations=off", q->tsc_khz);
    const char *more = q->bundle->kernel_args;
    add_option(argv, "-append",
               xasprintf("%s%s%s%s", kernel_options, emulated, more ? " " : "", more ? more : ""));
}

static void add_channels(char ***argv, int agent, int qmp, int console)
{
    add_option(argv, "-chardev", xasprintf("socket,id=agent,fd=%d", agent));
    add_option(argv, "-chardev", xasprintf("socket,id=qmp,fd=%d", qmp));
    add_option(argv, "-chardev", xasprintf("socket,id=console,fd=%d", console));
}

static void add_set(char ***argv, int fd, int set)
{
    add_option(argv, "-add-fd", xasprintf("fd=%d,set=%d", fd, set));
}

/* A file as a node of QEMU's. `more` are the options of a writable one; NULL makes it read-only. An
 * ephemeral machine's disk is thrown away with it: nothing need reach the host's disk. */
static void add_node(char ***argv, int fd, int set, const char *driver, const char *name,
                     const char *more)
{
    add_set(argv, fd, set);
    add_option(argv, "-blockdev",
               xasprintf("driver=%s,node-name=%s,read-only=%s,file.driver=file,"
                         "file.filename=/dev/fdset/%d,file.locking=off%s",
                         driver, name, more ? "off" : "on", set, more ? more : ""));
}

static void add_device(char ***argv, const char *name)
{
    add_option(argv, "-device", xasprintf("virtio-blk-device,drive=%s,serial=%s", name, name));
}

/* The writable disk on top of what snapshots have left below it: raw at the bottom, then overlays.
 */
static void add_writable(char ***argv, const struct vm_qemu *q, int set)
{
    const char *more = q->bundle->ephemeral ? "discard=unmap,file.discard=unmap,cache.no-flush=on"
                                            : "discard=unmap,file.discard=unmap";
    char name[32];
    for (size_t i = 0; i < q->n_lower; i++) {
        snprintf(name, sizeof(name), "lower%zu", i);
        _cleanup_free_ char *below = i ? xasprintf("qcow2,backing=lower%zu", i - 1) : NULL;
        add_node(argv, q->lower_fds[i], set++, below ? below : "raw", name, NULL);
    }
    _cleanup_free_ char *options = q->n_lower
                                       ? xasprintf(",backing=lower%zu,%s", q->n_lower - 1, more)
                                       : xasprintf(",%s", more);
    add_node(argv, q->disk_fd, set, q->n_lower ? "qcow2" : "raw", "disk", options);
    add_device(argv, "disk");
}

/* Holds a disk's place: in a template all of them, in a clone those that it has no layers for. */
static void add_empty_disk(char ***argv, const char *name, uint64_t bytes, bool readonly)
{
    add_option(argv, "-blockdev",
               xasprintf("driver=null-co,node-name=%s,read-only=%s,read-zeroes=on,size=%llu", name,
                         readonly ? "on" : "off", (unsigned long long)bytes));
    add_device(argv, name);
}

static void add_layer(char ***argv, const struct vm_qemu *q, size_t i)
{
    char name[32];
    snprintf(name, sizeof(name), "layer%zu", i);
    if (q->role == VM_TEMPLATE || i >= q->bundle->n_layers) {
        add_empty_disk(argv, name, EMPTY_BYTES, true);
    } else if (q->layers_map_fd >= 0) {
        add_set(argv, q->layer_fds[i], (int)VM_LAYER_SET(i));
    } else {
        add_node(argv, q->layer_fds[i], (int)VM_LAYER_SET(i), "raw", name, NULL);
        add_device(argv, name);
    }
}

static void add_disks(char ***argv, const struct vm_qemu *q)
{
    const struct bundle *b = q->bundle;
    for (size_t i = 0; i < MAX(q->layer_slots, b->n_layers); i++)
        add_layer(argv, q, i);
    if (q->layers_map_fd >= 0) {
        add_set(argv, q->layers_table_fd, (int)VM_LAYERS_TABLE_SET);
        add_node(argv, q->layers_map_fd, VM_LAYERS_MAP_SET, "vmdk", AGENT_LAYERS_SERIAL, NULL);
        add_device(argv, AGENT_LAYERS_SERIAL);
    }
    if (q->role != VM_COLD && b->disk && q->disk_fd < 0)
        add_empty_disk(argv, "disk", b->disk_bytes, false);
    else if (q->disk_fd >= 0)
        add_writable(argv, q, (int)b->n_layers + 1);
}

/* A tap, or a socket that an ordinary user's passt is at the other end of: frames with their
 * lengths. */
char *vm_netdev(size_t i, int fd)
{
    struct stat st;
    bool is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    return is_socket ? xasprintf("stream,id=net%zu,server=off,addr.type=fd,addr.str=%d", i, fd)
                     : xasprintf("tap,id=net%zu,fd=%d", i, fd);
}

/* A template's address is any: the clone's guest sets its own. */
static void add_network_and_shares(char ***argv, const struct vm_qemu *q)
{
    for (size_t i = 0; i < q->n_cards; i++) {
        const char *mac = q->bundle->networks[i].mac;
        char free_card[18];
        vm_free_card(i, free_card);
        add_option(argv, "-netdev", vm_netdev(i, q->tap_fds[i]));
        add_option(argv, "-device",
                   xasprintf("virtio-net-device,netdev=net%zu,guest_announce=off,mac=%s", i,
                             *mac ? mac : free_card));
    }
    for (size_t i = 0; i < q->shares->n; i++) {
        const struct vm_share *s = &q->shares->items[i];
        add_option(argv, "-chardev", xasprintf("socket,id=%s,fd=%d", s->tag, s->qemu_fd));
        add_option(argv, "-device",
                   xasprintf("vhost-user-fs-device,chardev=%s,tag=%s", s->tag, s->tag));
    }
}

char **vm_qemu_argv(const struct vm_qemu *q, const int ends[static 3])
{
    char **argv = NULL;
    if (q->pc)
        return vm_pc_argv(q, ends[0], ends[1], ends[2]);
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        strv_add(&argv, fixed[i]);
    add_machine(&argv, q);
    add_channels(&argv, ends[0], ends[1], ends[2]);
    add_disks(&argv, q);
    add_network_and_shares(&argv, q);
    if (q->memory_fd >= 0)
        add_option(&argv, "-incoming", xstrdup("defer"));
    return argv;
}

/* Lets exactly these descriptors through exec. */
static void keep_descriptors(const struct vm_qemu *q, const int ends[3], int report)
{
    int keep[AGENT_ITEMS_MAX + VM_SHARES_MAX + VM_LOWER_MAX + VM_PC_FILES_MAX +
             BUNDLE_NETWORKS_MAX + 10];
    const int single[] = {q->disk_fd, q->ram_fd, q->state_fd};
    size_t n = 0;
    if (q->layers_map_fd >= 0) {
        keep[n++] = q->layers_table_fd;
        keep[n++] = q->layers_map_fd;
    }
    for (size_t i = 0; q->pc && i < q->pc->n_files; i++)
        keep[n++] = q->pc->files[i];
    if (q->pc && q->pc->tpm_fd >= 0)
        keep[n++] = q->pc->tpm_fd;
    for (int i = 0; i < 3; i++)
        keep[n++] = ends[i];
    for (size_t i = 0; q->role != VM_TEMPLATE && i < q->bundle->n_layers; i++)
        keep[n++] = q->layer_fds[i];
    for (size_t i = 0; i < q->shares->n; i++)
        keep[n++] = q->shares->items[i].qemu_fd;
    for (size_t i = 0; i < q->n_lower; i++)
        keep[n++] = q->lower_fds[i];
    for (size_t i = 0; i < (q->role == VM_COLD ? 1 : ARRAY_SIZE(single)); i++)
        if (single[i] >= 0)
            keep[n++] = single[i];
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        if (q->tap_fds[i] >= 0 && (q->pc || i < q->n_cards))
            keep[n++] = q->tap_fds[i];
    if (q->memory_fd >= 0)
        keep[n++] = q->memory_fd;
    for (size_t i = 0; i < n; i++)
        (void)!fd_set_cloexec(keep[i], false);
    keep[n++] = report;
    fd_close_others(keep, n);
}

/* What a clone's QEMU loads first. Without the first of them it keeps what its guest has freed, and
 * without the others it is larger. LD_PRELOAD=..., or NULL; owned. */
static char *find_preloads(char *paths[static VM_PRELOADS])
{
    char *list = NULL;
    for (size_t i = 0; i < VM_PRELOADS; i++) {
        if (program_find(vm_preloads[i].program, &paths[i], NULL) < 0)
            continue;
        char *longer = list ? xasprintf("%s:%s", list, vm_preloads[i].seen)
                            : xasprintf("LD_PRELOAD=%s", vm_preloads[i].seen);
        free(list);
        list = longer;
    }
    return list;
}

static _noreturn_ void child(const struct vm_qemu *q, const int ends[3], int stderr_fd, int report)
{
    struct error err = ERROR_INIT;
    char *env[] = {(char *)"PATH=/usr/bin", (char *)"LC_ALL=C", NULL, NULL};
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigemptyset(&none);
    for (int i = 1; i < 32; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(stderr_fd, 2) < 0)
        error_errno(&err, errno, "place QEMU's descriptors");
    else if (vm_group_join(q->group, &err) == 0)
        keep_descriptors(q, ends, report);
    char **argv = vm_qemu_argv(q, ends);
    struct vm_sandbox sandbox = {.kernel = q->bundle->kernel,
                                 .initramfs = q->bundle->initramfs,
                                 .kvm = q->kvm,
                                 .proc = q->role != VM_COLD};
    if (q->role == VM_CLONE)
        env[2] = find_preloads(sandbox.preloads);
    if (err.kind == ERROR_NONE && processors_use(q->processors, &err) == 0 &&
        vm_sandbox_enter(&sandbox, q->uid, &err) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* Of a clone each page is its own only when it was written to; huge ones are mostly air. */
        if (q->role == VM_CLONE && !q->kvm)
            prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        execve(VM_QEMU, argv, env);
        error_errno(&err, errno, "execute QEMU");
    }
    (void)!write(report, &err, sizeof(err));
    _exit(127);
}

/* The layers take one place, when there is not one for each of them. */
static int place_devices(struct vm_qemu *q, struct error *err)
{
    size_t others = VM_DEVICES_FIXED + q->shares->n + (q->disk_fd >= 0) + q->n_cards;
    q->layers_table_fd = q->layers_map_fd = -EBADF;
    if (others + MIN(q->bundle->n_layers, (size_t)1) > VM_DEVICES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "%zu volumes and networks are more devices than a machine can have (%u)",
                         others - VM_DEVICES_FIXED - 1, VM_DEVICES_MAX - VM_DEVICES_FIXED - 2);
    size_t layers = MAX(q->layer_slots, q->bundle->n_layers);
    return others + layers > VM_DEVICES_MAX ? vm_layers_join(q, err) : 0;
}

static int check_size(const struct vm_qemu *q, struct error *err)
{
    if (access(VM_QEMU, X_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "machines need QEMU; install the Debian package qemu-system-x86");
    unsigned int least_mib = q->pc ? 16 : 96;
    if (q->bundle->memory_bytes < (uint64_t)least_mib << 20)
        return error_invalid(err, "a machine needs at least %u MiB of memory", least_mib);
    if (q->bundle->cpus < 1 || q->bundle->cpus > 255)
        return error_invalid(err, "a machine has 1 to 255 processors");
    const struct vm_shape shape = vm_qemu_shape(q);
    size_t kept = (size_t)shape.cards + shape.n_ports;
    if (kept != count_cards(q))
        return error_set(err, ERROR_CONFLICT, EINVAL,
                         "the machine's memory was kept with %zu network cards, and it would be "
                         "started with %zu: restore the snapshot, or boot it",
                         kept, count_cards(q));
    return 0;
}

static int wait_exec(int report, pid_t pid, struct error *err)
{
    struct error e;
    ssize_t n = fd_read_full(report, &e, sizeof(e));
    if (n == 0)
        return 0;
    waitpid(pid, NULL, 0);
    if (n != (ssize_t)sizeof(e))
        return error_set(err, ERROR_SYSTEM, EIO, "QEMU could not be started");
    *err = e;
    return -e.code;
}

static int open_pairs(int ours[3], int theirs[3])
{
    for (int i = 0; i < 3; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return -errno;
        ours[i] = pair[0];
        theirs[i] = pair[1];
        int r = fd_set_nonblock(ours[i], true);
        if (r < 0)
            return r;
    }
    return 0;
}

int vm_qemu_start(struct vm_qemu *q, struct error *err)
{
    int ours[3] = {-EBADF, -EBADF, -EBADF}, theirs[3] = {-EBADF, -EBADF, -EBADF};
    int errors[2] = {-EBADF, -EBADF}, report[2] = {-EBADF, -EBADF};
    int r = check_size(q, err);
    if (r == 0)
        r = place_devices(q, err);
    if (r < 0)
        return r;
    r = open_pairs(ours, theirs);
    if (r < 0 || pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(report, O_CLOEXEC) < 0)
        return error_errno(err, r < 0 ? -r : errno, "make QEMU's channels");
    pid_t pid = ns_clone(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID |
                             CLONE_NEWCGROUP,
                         q->group->dirs[CGROUP_UNIFIED], NULL);
    if (pid == 0)
        child(q, theirs, errors[1], report[1]);
    close(report[1]);
    close(errors[1]);
    for (int i = 0; i < 3; i++)
        close(theirs[i]);
    r = pid < 0 ? error_errno(err, pid, "start QEMU") : wait_exec(report[0], pid, err);
    close(report[0]);
    if (r < 0) {
        for (int i = 0; i < 3; i++)
            close(ours[i]);
        close(errors[0]);
        return r;
    }
    q->pid = pid;
    q->agent_fd = ours[0];
    q->qmp_fd = ours[1];
    q->console_fd = ours[2];
    q->stderr_fd = errors[0];
    return 0;
}

void vm_qemu_end(struct vm_qemu *q)
{
    if (q->pid > 0) {
        kill(q->pid, SIGKILL);
        while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    q->pid = 0;
    q->agent_fd = close_fd(q->agent_fd);
    q->qmp_fd = close_fd(q->qmp_fd);
    q->console_fd = close_fd(q->console_fd);
    q->stderr_fd = close_fd(q->stderr_fd);
}
