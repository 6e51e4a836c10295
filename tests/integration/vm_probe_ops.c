/*
 * vm_probe_ops BUNDLE RUN_DIR PID OPERATION [ARGUMENT...]: the vm runtime's table of operations by
 * hand, for vm_probe's tests. Exits as the operation says, or as error_exit_code() does.
 */
#include <signal.h>
#include <string.h>

#include "base/strv.h"
#include "base/text.h"
#include "runtime/runtime.h"

static int run_exec(const struct runtime_target *t, char **words, int *status, struct error *err)
{
    static const int stdio[3] = {0, 1, 2};
    struct runtime_exec e = {0};
    for (; *words && **words == '-'; words++) {
        if (strcmp(*words, "-i") == 0)
            e.interactive = true;
        else if (strcmp(*words, "-t") == 0)
            e.terminal = true;
        else if (strcmp(*words, "-d") == 0)
            e.detach = true;
        else if (strcmp(*words, "-p") == 0)
            e.privileged = true;
        else if (strcmp(*words, "-u") == 0)
            e.user = *++words;
        else if (strcmp(*words, "-w") == 0)
            e.cwd = *++words;
    }
    e.argv = words;
    return vm_ops.exec(t, &e, stdio, status, err);
}

static int show_stats(const struct runtime_target *t, struct error *err)
{
    struct runtime_stats s;
    int r = vm_ops.stats(t, &s, err);
    if (r == 0)
        printf("cpu_ns=%llu memory=%llu limit=%llu pids=%llu pids_limit=%llu rx=%llu tx=%llu "
               "read=%llu write=%llu\n",
               (unsigned long long)s.cpu_ns, (unsigned long long)s.memory_bytes,
               (unsigned long long)s.memory_limit, (unsigned long long)s.pids,
               (unsigned long long)s.pids_limit, (unsigned long long)s.net_rx_bytes,
               (unsigned long long)s.net_tx_bytes, (unsigned long long)s.block_read_bytes,
               (unsigned long long)s.block_write_bytes);
    return r;
}

static int show_processes(const struct runtime_target *t, struct error *err)
{
    char *text;
    int r = vm_ops.processes(t, &text, err);
    if (r == 0) {
        puts(text);
        free(text);
    }
    return r;
}

static int run(const struct runtime_target *t, char **v, int *status, struct error *err)
{
    uint32_t n = 0;
    if (strcmp(v[0], "exec") == 0)
        return run_exec(t, v + 1, status, err);
    if (strcmp(v[0], "stats") == 0)
        return show_stats(t, err);
    if (strcmp(v[0], "processes") == 0)
        return show_processes(t, err);
    if (strcmp(v[0], "signal") == 0 && v[1] && parse_u32(v[1], &n) == 0)
        return vm_ops.signal(t, (int)n, err);
    if (strcmp(v[0], "kill") == 0)
        return vm_ops.kill_all(t, err);
    if (strcmp(v[0], "freeze") == 0 || strcmp(v[0], "thaw") == 0)
        return vm_ops.freeze(t, v[0][0] == 'f', err);
    if (strcmp(v[0], "clean") == 0)
        return vm_ops.clean(t, err);
    if (strcmp(v[0], "out") == 0 && v[1])
        return vm_ops.copy_out(t, v[1], false, 1, err);
    if (strcmp(v[0], "in") == 0 && v[1])
        return vm_ops.copy_in(t, v[1], 0, err);
    return error_invalid(err, "unknown operation %s", v[0]);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    uint32_t pid;
    int status = 0;
    if (argc < 5 || parse_u32(argv[3], &pid) < 0)
        return 125;
    struct runtime_target t = {
        .id = basename(argv[1]), .bundle = argv[1], .run_dir = argv[2], .pid = (pid_t)pid};
    if (run(&t, argv + 4, &status, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return error_exit_code(&err);
    }
    return status;
}
