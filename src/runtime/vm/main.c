/*
 * proa-vm --bundle DIR --run-dir DIR [--ready-fd N] [--tap-fd N]... [--terminal]
 *
 * Started by a monitor (start.c); its stdin, stdout and stderr are the workload's, with --terminal
 * a pty's slave on all three. See machine.h for the order of things.
 */
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/terminal.h"
#include "base/text.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/networks.h"
#include "runtime/vm/share.h"
#include "runtime/vm/warm.h"

struct machine {
    struct vm_options options;
    struct bundle bundle;
    char *config_text;
    struct buf filter; /* seccomp, for the workload */
    struct oci_config *config;
    struct vm_shares shares;
    struct vm_qemu qemu;
    int layer_fds[AGENT_ITEMS_MAX], lower_fds[VM_LOWER_MAX];
    int listen_fd;
    struct vm_logs logs;
    int order_fd; /* closed when the workload runs: the maker of a template waits for that */
    char seed[64];
};

static int parse_fd(const char *text, int *ret)
{
    uint64_t v;
    if (parse_u64(text, INT_MAX, &v) < 0 || fcntl((int)v, F_GETFD) < 0)
        return -EBADF;
    *ret = (int)v;
    return fd_set_cloexec((int)v, true);
}

static int parse_options(int argc, char **argv, struct vm_options *o)
{
    static const struct option table[] = {
        {"bundle", required_argument, NULL, 'b'},   {"run-dir", required_argument, NULL, 'r'},
        {"ready-fd", required_argument, NULL, 'y'}, {"tap-fd", required_argument, NULL, 'n'},
        {"terminal", no_argument, NULL, 't'},       {0}};
    *o = (struct vm_options){.ready_fd = 2};
    int r = 0;
    for (int c; r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (c == 'b')
            o->bundle = optarg;
        else if (c == 'r')
            o->run_dir = optarg;
        else if (c == 't')
            o->terminal = true;
        else if (c == 'y')
            r = parse_fd(optarg, &o->ready_fd);
        else if (c == 'n')
            r = o->n_taps == BUNDLE_NETWORKS_MAX ? -E2BIG
                                                 : parse_fd(optarg, &o->tap_fds[o->n_taps++]);
        else
            r = -EINVAL;
    }
    return r < 0 || !o->bundle || !o->run_dir || optind < argc ? -EINVAL : 0;
}

static int load(struct machine *m, struct error *err)
{
    _cleanup_free_ char *path = path_join(m->options.bundle, "config.json");
    int r = file_read(AT_FDCWD, path, AGENT_PAYLOAD_MAX - 4096, &m->config_text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    r = oci_config_parse(m->config_text, strlen(m->config_text), &m->config, err);
    if (r < 0)
        return error_prefix(err, "%s", path);
    if (!m->config->has_process)
        return error_invalid(err, "%s has no process", path);
    if (!m->bundle.id || !is_hex(m->bundle.id, strlen(m->bundle.id)) || strlen(m->bundle.id) < 8)
        return error_invalid(err, "proa.json has no proper id");
    if (m->bundle.n_layers == 0)
        return error_invalid(err, "a machine needs an image with at least one layer");
    if (m->bundle.n_layers > AGENT_ITEMS_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "%zu layers: a machine can have %u",
                         m->bundle.n_layers, (unsigned int)AGENT_ITEMS_MAX);
    if (!m->bundle.kernel || !m->bundle.initramfs)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no kernel for machines is prepared; run: proa kernel add");
    return vm_shares_plan(m->config, m->options.bundle, &m->shares, err);
}

static int load_filter(struct machine *m, struct error *err)
{
    if (!m->bundle.seccomp_filter)
        return 0;
    _cleanup_close_ int fd = open(m->bundle.seccomp_filter, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &m->filter);
    return r < 0 ? error_errno(err, r, "read %s", m->bundle.seccomp_filter) : 0;
}

static int open_layers(struct machine *m, struct error *err)
{
    for (size_t i = 0; i < m->bundle.n_layers; i++) {
        const char *path = m->bundle.layers[i].erofs;
        m->layer_fds[i] = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (m->layer_fds[i] < 0)
            return error_errno(err, path ? errno : EINVAL, "open layer %s", path ? path : "");
    }
    return 0;
}

static int start_qemu(struct machine *m, struct error *err)
{
    _cleanup_free_ char *run = vm_find_run(m->options.run_dir);
    _cleanup_free_ char *cache = run ? path_join(run, "accelerator") : NULL;
    m->qemu.bundle = &m->bundle;
    m->qemu.shares = &m->shares;
    m->qemu.process = &m->config->process;
    m->qemu.lower_fds = m->lower_fds;
    m->qemu.layer_fds = m->layer_fds;
    m->qemu.uid = vm_machine_uid(m->bundle.id);
    m->qemu.processors = m->config->linux_.resources.cpuset_cpus;
    int r = vm_take_cards(&m->options, &m->bundle, &m->qemu, err);
    if (r < 0)
        return r;
    vm_accelerator(cache, &m->qemu.kvm, &m->qemu.tsc_khz);
    const struct oci_resources *res = &m->config->linux_.resources;
    _cleanup_(cgroup_done) struct cgroup group = CGROUP_INIT;
    r = vm_group_make(&m->bundle, res, m->shares.n, m->qemu.kvm, &group, err);
    m->qemu.group = &group;
    if (r == 0)
        r = vm_start_light(&m->qemu, &m->shares, &m->options, run, &m->order_fd, err);
    m->qemu.group = NULL;
    return r;
}

static int prepare(struct machine *m, struct error *err)
{
    int r = load(m, err);
    if (r == 0)
        r = load_filter(m, err);
    if (r == 0 && m->options.terminal)
        r = vm_take_terminal(err);
    if (r == 0)
        r = open_layers(m, err);
    if (r == 0)
        r = vm_open_memory(m->bundle.memory, &m->qemu.memory_fd, &m->qemu.shape, err);
    if (r == 0)
        r = vm_open_logs(&m->options, &m->logs, err);
    if (r == 0)
        r = start_qemu(m, err);
    if (r == 0)
        r = vm_listen(m->options.run_dir, "agent.sock", &m->listen_fd, err);
    if (r == 0)
        r = vm_finish_sandbox(m->qemu.uid, err);
    return r;
}

static int run(struct machine *m, int64_t started_ms)
{
    struct vm_networks networks;
    vm_describe_networks(&m->bundle, m->qemu.n_cards, &networks);
    struct terminal_size size = terminal_size(m->options.terminal ? 0 : -1);
    char machine_id[VM_MACHINE_ID_BYTES];
    vm_machine_id(&m->bundle, machine_id);
    struct agent_configure configure = {
        .hostname = m->config->hostname ? m->config->hostname : "",
        .machine_id = machine_id,
        .seed = m->seed,
        .seed_len = sizeof(m->seed),
        .n_layers = (uint32_t)m->bundle.n_layers,
        .has_disk = m->qemu.disk_fd >= 0,
        .networks = networks.list,
        .n_networks = networks.n,
        .files = m->shares.files,
        .n_files = m->shares.n_files,
    };
    configure.shares = vm_shares_describe(&m->shares, &configure.n_shares);
    if (getrandom(m->seed, sizeof(m->seed), 0) != (ssize_t)sizeof(m->seed))
        configure.seed_len = 0;
    struct agent_start start = {.config = m->config_text,
                                .init = m->bundle.init,
                                .stdin_open = true,
                                .rows = size.rows,
                                .columns = size.columns,
                                .filter = m->filter.data,
                                .filter_len = m->filter.len};
    const struct agent_resume resume = {
        .restored = true,
        .seed = m->seed,
        .seed_len = configure.seed_len,
        .networks = configure.networks,
        .n_networks = configure.n_networks,
    };
    struct vm_relay relay = {.qemu = &m->qemu,
                             .configure = &configure,
                             .start = &start,
                             .resume = &resume,
                             .ready_fd = m->options.ready_fd,
                             .listen_fd = m->listen_fd,
                             .logs = m->logs,
                             .order_fd = m->order_fd,
                             .terminal = m->options.terminal,
                             .started_ms = started_ms};
    return vm_relay_run(&relay);
}

static int failed(const struct machine *m, const struct error *err)
{
    char line[700];
    int n = snprintf(line, sizeof(line), "error %s %d %s\n", error_kind_name(err->kind), err->code,
                     err->msg);
    (void)!write(m->options.ready_fd, line, (size_t)n);
    return error_exit_code(err);
}

int main(int argc, char **argv)
{
    static struct machine m = {.qemu = VM_QEMU_INIT, .order_fd = -EBADF};
    struct error err = ERROR_INIT;
    int64_t started_ms = time_monotonic_ms();
    vm_shares_init(&m.shares);
    bundle_init(&m.bundle);
    m.filter = (struct buf)BUF_INIT(AGENT_FILTER_MAX);
    if (parse_options(argc, argv, &m.options) < 0) {
        fprintf(stderr, "usage: proa-vm --bundle DIR --run-dir DIR [--ready-fd N] [--tap-fd N]... "
                        "[--terminal]\n");
        return 125;
    }
    if (bundle_load(m.options.bundle, &m.bundle, &err) < 0)
        return failed(&m, &err);
    if (machine_boots_disk(&m.bundle.machine)) {
        int status = vm_pc_main(&m.options, &m.bundle, started_ms, &err);
        return status < 0 ? failed(&m, &err) : status;
    }
    return prepare(&m, &err) < 0 ? failed(&m, &err) : run(&m, started_ms);
}
