/*
 * Drives container_start() on a root made of busybox-static, without any engine, and looks at what
 * the process inside finds. Run as root. It works in a mount namespace of its own and in a
 * directory under /tmp, and leaves nothing behind.
 *
 * The same program, copied into the root as /probe, is what looks from inside: `/probe WHAT...`.
 * It is linked as the monitor is (static), so it also shows that the library can be.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "container_probe.h"
#include "kernel/cgroup.h"
#include "runtime/container/container.h"

static char *root_dir, *bundle_dir, *seccomp_path;
static int failures, checks;

static void check_that(bool good, const char *what, const char *detail)
{
    checks++;
    if (good)
        return;
    failures++;
    printf("not ok: %s: %s\n", what, detail ? detail : "");
}

/* What varies between the cases; the rest of the configuration is as the engine writes it. */
struct probe_case {
    const char *args;    /* JSON: the words of the command */
    const char *process; /* more members of process, each followed by a comma */
    const char *cwd;
    const char *mounts;     /* more mounts, each preceded by a comma */
    const char *linux_more; /* more members of linux, each preceded by a comma */
    const char *root;       /* more members of root, each preceded by a comma */
    const char *caps;       /* JSON list; NULL: Docker's default set */
    bool init, terminal, no_seccomp, host_pid, user_ns, layers;
};

static const char default_caps[] =
    "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FSETID\",\"CAP_FOWNER\",\"CAP_MKNOD\","
    "\"CAP_NET_RAW\",\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETFCAP\",\"CAP_SETPCAP\","
    "\"CAP_NET_BIND_SERVICE\",\"CAP_SYS_CHROOT\",\"CAP_KILL\",\"CAP_AUDIT_WRITE\"]";

static char *config_text(const struct probe_case *c)
{
    const char *caps = c->caps ? c->caps : default_caps;
    return xasprintf(
        "{\"ociVersion\":\"1.0.2\",\"process\":{%s%s\"args\":%s,\"cwd\":\"%s\","
        "\"env\":[\"PATH=/bin:/sbin\",\"A=1\"],"
        "\"capabilities\":{\"bounding\":%s,\"effective\":%s,\"permitted\":%s}},"
        "\"root\":{\"path\":\"%s\"%s},\"hostname\":\"probe\",\"mounts\":["
        "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
        "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
        "\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
        "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
        "\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\","
        "\"gid=5\"]},"
        "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
        "{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
        "\"options\":[\"ro\",\"nosuid\",\"noexec\",\"nodev\"]},"
        "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
        "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]}%s],"
        "\"linux\":{\"namespaces\":[%s%s{\"type\":\"mount\"},{\"type\":\"ipc\"},"
        "{\"type\":\"uts\"},{\"type\":\"network\"},{\"type\":\"cgroup\"}],"
        "\"maskedPaths\":[\"/proc/asound\",\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\","
        "\"/proc/timer_list\",\"/proc/scsi\",\"/sys/firmware\"],"
        "\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
        "\"/proc/sysrq-trigger\"]%s}}",
        c->process ? c->process : "", c->terminal ? "\"terminal\":true," : "", c->args,
        c->cwd ? c->cwd : "/", caps, caps, caps, root_dir, c->root ? c->root : "",
        c->mounts ? c->mounts : "", c->host_pid ? "" : "{\"type\":\"pid\"},",
        c->user_ns ? "{\"type\":\"user\"}," : "", c->linux_more ? c->linux_more : "");
}

static void write_bundle(const struct probe_case *c)
{
    struct error err = ERROR_INIT;
    struct bundle b;
    _cleanup_free_ char *text = config_text(c), *path = path_join(bundle_dir, "config.json");
    bundle_init(&b);
    b.id = xstrdup("probe");
    b.init = c->init;
    if (c->layers) {
        b.layers = xcalloc(1, sizeof(*b.layers));
        b.n_layers = 1;
        b.layers[0].mount = xstrdup(root_dir);
        b.upper = path_join(bundle_dir, "upper");
        b.work = path_join(bundle_dir, "work");
        mkdir(b.upper, 0755);
        mkdir(b.work, 0755);
    }
    b.seccomp_filter = c->no_seccomp ? NULL : xstrdup(seccomp_path);
    if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600) < 0 ||
        bundle_save(&b, bundle_dir, &err) < 0)
        fprintf(stderr, "cannot write the bundle: %s\n", err.msg);
    bundle_done(&b);
}

struct outcome {
    int r, status;
    struct error err;
    char out[16384];
};

static void wait_end(pid_t pid, struct outcome *o)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    o->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void collect(int fd, struct outcome *o)
{
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(o->out) - 1 && (n = read(fd, o->out + len, sizeof(o->out) - 1 - len)) > 0)
        len += (size_t)n;
    o->out[len] = '\0';
}

static void run(const struct probe_case *c, struct outcome *o)
{
    int out[2];
    struct runtime_started started = {0, -EBADF};
    memset(o, 0, sizeof(*o));
    write_bundle(c);
    if (pipe2(out, O_CLOEXEC) < 0)
        exit(1);
    struct runtime_start s = {
        .id = "probe-" PROBE_ID,
        .bundle = bundle_dir,
        .run_dir = bundle_dir,
        .stdio = {-EBADF, c->terminal ? -EBADF : out[1], c->terminal ? -EBADF : out[1]},
        .terminal = c->terminal,
        .network_fd = -EBADF,
    };
    o->r = container_start(&s, &started, &o->err);
    close(out[1]);
    if (o->r == 0) {
        collect(c->terminal ? started.console : out[0], o);
        wait_end(started.pid, o);
        close_fd(started.console);
    }
    close(out[0]);
    struct runtime_target t = {"probe-" PROBE_ID, bundle_dir, bundle_dir, 0};
    struct error err = ERROR_INIT;
    _cleanup_free_ char *path = container_cgroup_path(NULL, t.id);
    if (cgroup_remove(path, &err) < 0)
        check_that(false, "cgroup_remove", err.msg);
}

/* The command must end well and print exactly this. */
static void prints(const struct probe_case *c, const char *what, const char *wanted)
{
    struct outcome o;
    run(c, &o);
    if (o.r < 0)
        check_that(false, what, o.err.msg);
    else
        check_that(strcmp(o.out, wanted) == 0, what, o.out);
}

static void contains(const struct probe_case *c, const char *what, const char *wanted, bool is)
{
    struct outcome o;
    run(c, &o);
    if (o.r < 0)
        check_that(false, what, o.err.msg);
    else
        check_that((strstr(o.out, wanted) != NULL) == is, what, o.out);
}

static void refused(const struct probe_case *c, const char *what, const char *part)
{
    struct outcome o;
    run(c, &o);
    check_that(o.r < 0 && strstr(o.err.msg, part) && !strchr(o.err.msg, '\n'), what,
               o.r < 0 ? o.err.msg : "it started");
}

#define SH(script) "[\"sh\",\"-c\",\"" script "\"]"
#define RUN(...)                                                                                   \
    &(const struct probe_case)                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void test_basics(void)
{
    prints(RUN(.args = SH("echo $$ $(hostname) $A $HOME $(pwd)")), "basics", "1 probe 1 /root /\n");
    prints(RUN(.args = SH("cat /proc/1/comm")), "pid 1", "cat\n");
    prints(RUN(.args = "[\"/probe\",\"fds\"]"), "descriptors", "0 1 2 \n");
    prints(RUN(.args = SH("echo a; (sleep 0.1; echo b) & wait")), "children", "a\nb\n");
    prints(RUN(.args = SH("ls /sys/class/net; cat /sys/class/net/lo/flags")), "loopback up",
           "lo\n0x9\n");
    prints(RUN(.args = SH("umask; id -u; id -G")), "root's ids", "0022\n0\n0\n");
    prints(RUN(.args = SH("mount | grep -c ' / '")), "one root", "1\n");
    contains(RUN(.args = SH("cat /proc/self/mountinfo")), "no old root", "/sandboxing", false);
    struct outcome o;
    run(RUN(.args = SH("exit 7")), &o);
    check_that(o.r == 0 && o.status == 7, "exit code", o.err.msg);
    run(RUN(.args = SH("kill -9 $$")), &o);
    check_that(o.r == 0 && o.status == 0, "process 1 does not kill itself", o.err.msg);
}

static void test_exec_errors(void)
{
    struct outcome o;
    run(RUN(.args = "[\"nosuch\"]"), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 127 && strstr(o.err.msg, "not found in $PATH"),
               "unknown command", o.err.msg);
    run(RUN(.args = "[\"/nosuch\"]"), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 127, "unknown path", o.err.msg);
    run(RUN(.args = "[\"/etc\"]"), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 126 && strstr(o.err.msg, "is a directory"),
               "a directory", o.err.msg);
    run(RUN(.args = "[\"/etc/passwd\"]"), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 126, "not executable", o.err.msg);
    run(RUN(.args = "[\"/text\"]"), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 126, "not a program", o.err.msg);
    run(RUN(.args = "[\"nosuch\"]", .init = true), &o);
    check_that(o.r < 0 && error_exit_code(&o.err) == 127, "unknown command under init", o.err.msg);
}

static void test_privileges(void)
{
    contains(RUN(.args = SH("cat /proc/self/status")), "CapInh", "CapInh:\t0000000000000000", true);
    contains(RUN(.args = SH("cat /proc/self/status")), "CapBnd", "CapBnd:\t00000000a80425fb", true);
    contains(RUN(.args = SH("cat /proc/self/status")), "CapEff", "CapEff:\t00000000a80425fb", true);
    contains(RUN(.args = SH("cat /proc/self/status")), "seccomp", "Seccomp:\t2", true);
    contains(RUN(.args = SH("cat /proc/self/status"), .process = "\"noNewPrivileges\":true,"),
             "no_new_privs", "NoNewPrivs:\t1", true);
    contains(
        RUN(.args = SH("cat /proc/self/status"), .process = "\"user\":{\"uid\":33,\"gid\":34},"),
        "capabilities of a user", "CapEff:\t0000000000000000", true);
    prints(RUN(.args = SH("id -u; id -g; id -G; echo $HOME"),
               .process = "\"user\":{\"username\":\"www\"},"),
           "a named user", "33\n34\n34 50\n/var/www\n");
    prints(RUN(.args = SH("id -u; id -g; id -G"),
               .process = "\"user\":{\"uid\":5,\"gid\":6,\"additionalGids\":[7,8]},"),
           "groups exactly", "5\n6\n6 7 8\n");
    prints(RUN(.args = SH("ulimit -n"), .process = "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\","
                                                   "\"soft\":77,\"hard\":78}],"),
           "rlimit", "77\n");
    prints(RUN(.args = SH("echo x > /dev/stdout"), .process = "\"user\":{\"uid\":5,\"gid\":6},"),
           "a user's stdout", "x\n");
    static const char *const users[] = {"1000:", ":0",  " 1",         "+1",         "-1",
                                        "1e3",   "0x0", "4294967295", "4294967296", "nobody"};
    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        _cleanup_free_ char *user = xasprintf("\"user\":{\"username\":\"%s\"},", users[i]);
        refused(RUN(.args = "[\"true\"]", .process = user), users[i], "");
    }
}

static void test_paths(void)
{
    prints(RUN(.args = SH("cat /proc/keys | wc -c; ls -A /sys/firmware | wc -l")), "masked",
           "0\n0\n");
    prints(RUN(.args = SH("echo 1 2>/dev/null > /proc/sys/kernel/sysrq || echo ro; "
                          "echo b 2>/dev/null > /proc/sysrq-trigger || echo ro")),
           "read-only", "ro\nro\n");
    prints(RUN(.args = SH("touch /sys/x /sys/fs/cgroup/x 2>/dev/null || echo ro")), "sysfs",
           "ro\n");
    prints(RUN(.args = SH("touch /x 2>/dev/null || echo ro"), .root = ",\"readonly\":true"),
           "read-only root", "ro\n");
    prints(RUN(.args = SH("ls -ld /dev/null /dev/tty /dev/fd /dev/ptmx | cut -c1-10; "
                          "echo x >/dev/null; head -c2 /dev/zero | wc -c; ls /dev/pts")),
           "devices", "lrwxrwxrwx\ncrw-rw-rw-\nlrwxrwxrwx\ncrw-rw-rw-\n2\nptmx\n");
    prints(RUN(.args = SH("mknod /tmp/d b 254 0; cat /tmp/d 2>&1 | grep -c 'not permitted'; "
                          "rm -f /tmp/d; mknod /tmp/m c 10 200; "
                          "cat /tmp/m 2>&1 | grep -c 'not permitted'; rm -f /tmp/m")),
           "device rules", "1\n1\n");
    prints(RUN(.args = "[\"pwd\"]", .cwd = "/made/here"), "working directory made", "/made/here\n");
    for (int fd = 3; fd <= 30; fd++) {
        _cleanup_free_ char *cwd = xasprintf("/proc/self/fd/%d", fd);
        refused(RUN(.args = "[\"pwd\"]", .cwd = cwd), cwd, "working directory");
    }
    prints(RUN(.args = SH("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"),
               .linux_more = ",\"sysctl\":{\"net.ipv4.ip_forward\":\"1\","
                             "\"kernel.msgmax\":\"7000\"}"),
           "sysctl", "1\n7000\n");
    refused(RUN(.args = "[\"true\"]", .linux_more = ",\"sysctl\":{\"kernel.core_pattern\":\"x\"}"),
            "the host's sysctl", "belongs to the host");
    refused(RUN(.args = "[\"true\"]", .linux_more = ",\"sysctl\":{\"kernel.shm_rmid_forced\":"
                                                    "\"1+kernel.core_pattern=|/x\"}"),
            "smuggled sysctl", "plain value");
    refused(RUN(.args = "[\"true\"]", .linux_more = ",\"cgroupsPath\":\"../../x\""), "cgroupsPath",
            "control group");
}

static void test_mounts(void)
{
    _cleanup_free_ char *volume = path_join(bundle_dir, "volume");
    _cleanup_free_ char *file = path_join(bundle_dir, "volume/f");
    _cleanup_free_ char *bind = xasprintf(
        ",{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"rbind\"]},"
        "{\"destination\":\"/etc/one\",\"type\":\"bind\",\"source\":\"%s\",\"options\":"
        "[\"bind\",\"ro\"]}",
        volume, file);
    mkdir(volume, 0755);
    (void)!file_write_atomic(AT_FDCWD, file, "hello\n", 6, 0644);
    prints(RUN(.args = SH("cat /data/f /etc/one; echo x 2>/dev/null > /etc/one || echo ro"),
               .mounts = bind),
           "binds", "hello\nhello\nro\n");
    _cleanup_free_ char *covered = xasprintf(
        ",{\"destination\":\"/proc\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"bind\"]}",
        volume);
    refused(RUN(.args = "[\"true\"]", .mounts = covered), "bind over /proc", "cannot be covered");
    _cleanup_free_ char *inside =
        xasprintf(",{\"destination\":\"/proc/self\",\"type\":\"bind\",\"source\":\"%s\","
                  "\"options\":[\"bind\"]}",
                  volume);
    refused(RUN(.args = "[\"true\"]", .mounts = inside), "bind into /proc", "/proc");
    refused(RUN(.args = "[\"true\"]",
                .mounts = ",{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/nosuch\","
                          "\"options\":[\"bind\"]}"),
            "no source", "/nosuch");
    _cleanup_free_ char *through =
        xasprintf(",{\"destination\":\"/evil/sub\",\"type\":\"bind\",\"source\":\"%s\","
                  "\"options\":[\"bind\"]},{\"destination\":\"/evil-file\",\"type\":\"bind\","
                  "\"source\":\"%s\",\"options\":[\"bind\"]}",
                  volume, file);
    prints(RUN(.args = SH("cat /evil/sub/f /canary/file"), .mounts = through),
           "symlinks stay inside", "hello\nhello\n");
}

static void in_root(const char *name, char **ret)
{
    *ret = path_join(root_dir, name);
}

/* /proc, /sys or /dev of the image is a symlink: refused, nothing written through it. */
static void test_hostile_root(void)
{
    static const char *const names[] = {"proc", "sys", "dev"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = NULL;
        in_root(names[i], &path);
        rmdir(path);
        if (symlink("/canary", path) < 0)
            check_that(false, "symlink", path);
        refused(RUN(.args = "[\"true\"]"), names[i], "symlink is refused");
        unlink(path);
        mkdir(path, 0755);
    }
    check_that(access("/canary", F_OK) < 0, "nothing outside the root", "/canary");
}

static void test_seccomp(void)
{
    if (!seccomp_path)
        return;
    prints(RUN(.args = "[\"/probe\",\"syscalls\"]"), "syscall matrix", "");
}

static void test_terminal(void)
{
    contains(RUN(.args = SH("tty; test -c /dev/console && echo yes; ls -l /proc/self/fd/0"),
                 .terminal = true),
             "terminal", "/dev/pts/0\r\nyes\r\n", true);
    contains(RUN(.args = SH("tty; stty size"), .terminal = true, .init = true,
                 .process = "\"consoleSize\":{\"height\":31,\"width\":99},"),
             "terminal under init", "/dev/pts/0\r\n31 99\r\n", true);
}

static void test_init(void)
{
    prints(RUN(.args = SH("cat /proc/1/comm; ls /proc/1/fd 2>/dev/null | wc -l"), .init = true),
           "init", "init\n0\n");
    prints(RUN(.args = SH("(sleep 0.05 & ) ; sleep 0.2; ps | grep -c '\\\\[sleep\\\\]'; true"),
               .init = true),
           "init reaps", "0\n");
    struct outcome o;
    run(RUN(.args = SH("exit 9"), .init = true), &o);
    check_that(o.r == 0 && o.status == 9, "exit code under init", o.err.msg);
    run(RUN(.args = SH("kill -15 $$"), .init = true), &o);
    check_that(o.r == 0 && o.status == 128 + 15, "signal under init", o.err.msg);
}

#define MAPS                                                                                       \
    ",\"uidMappings\":[{\"containerID\":0,\"hostID\":200000,\"size\":65536}],"                     \
    "\"gidMappings\":[{\"containerID\":0,\"hostID\":200000,\"size\":65536}]"

static void test_layers(void)
{
    prints(RUN(.args = SH("echo new > /etc/new; rm /text; ls /etc | grep -v one; ls -d /text "
                          "/canary 2>/dev/null"),
               .layers = true),
           "overlay", "group\nnew\npasswd\n/canary\n");
    prints(RUN(.args = SH("cat /etc/new; test -e /text || echo gone"), .layers = true),
           "overlay kept", "new\ngone\n");
}

static void test_user_namespace(void)
{
    struct stat st;
    _cleanup_free_ char *made = path_join(bundle_dir, "upper/made-file");
    _cleanup_free_ char *volume = path_join(bundle_dir, "volume");
    _cleanup_free_ char *bind = xasprintf(",{\"destination\":\"/data\",\"type\":\"bind\","
                                          "\"source\":\"%s\",\"options\":[\"rbind\"]}",
                                          volume);
    prints(RUN(.args = SH("cat /proc/self/uid_map | tr -s ' '; id -u; echo x > /made-file; "
                          "ls -ln /made-file | tr -s ' ' | cut -d' ' -f1-5; cat /data/f; test -c "
                          "/dev/null && "
                          "echo x > /dev/null && echo dev"),
               .layers = true, .user_ns = true, .linux_more = MAPS, .mounts = bind),
           "user namespace", " 0 200000 65536\n0\n-rw-r--r-- 1 0 0 2\nhello\ndev\n");
    check_that(stat(made, &st) == 0 && st.st_uid == 0, "the upper directory's owner", made);
    prints(RUN(.args = SH("touch /etc/x /root/y && id -u"), .layers = true, .user_ns = true,
               .linux_more = MAPS ",\"resources\":{\"pids\":{\"limit\":50}}",
               .process = "\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[7]},"),
           "user namespace with limits", "0\n");
    contains(RUN(.args = SH("tty"), .terminal = true, .layers = true, .user_ns = true,
                 .linux_more = MAPS),
             "terminal in a user namespace", "/dev/pts/0", true);
    refused(RUN(.args = "[\"true\"]", .user_ns = true), "no mappings", "go together");
}

static void test_limits(void)
{
    contains(RUN(.args = SH("exec 2>&1; sleep 9 & sleep 9 & sleep 9 & sleep 9 & sleep 9"),
                 .linux_more = ",\"resources\":{\"pids\":{\"limit\":3}}"),
             "pids limit", "can't fork", true);
    prints(RUN(.args = SH("cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || "
                          "cat /sys/fs/cgroup/memory.max"),
               .linux_more = ",\"resources\":{\"memory\":{\"limit\":33554432}}"),
           "memory limit", "33554432\n");
}

/* When the monitor dies the container dies. */
static void test_monitor_death(void)
{
    int life[2];
    if (pipe2(life, 0) < 0)
        exit(1);
    pid_t monitor = fork();
    if (monitor == 0) {
        struct runtime_started started;
        struct error err = ERROR_INIT;
        struct runtime_start s = {.id = "probe-" PROBE_ID,
                                  .bundle = bundle_dir,
                                  .run_dir = bundle_dir,
                                  .stdio = {-EBADF, life[1], -EBADF},
                                  .network_fd = -EBADF};
        write_bundle(RUN(.args = "[\"sleep\",\"100\"]"));
        _exit(container_start(&s, &started, &err) < 0);
    }
    char byte;
    struct outcome o;
    close(life[1]);
    wait_end(monitor, &o);
    check_that(o.status == 0 && read(life[0], &byte, 1) == 0, "dies with the monitor", "");
    close(life[0]);
    struct error err = ERROR_INIT;
    check_that(cgroup_remove("/proa/probe-" PROBE_ID, &err) == 0, "cgroup_remove", err.msg);
}

static void test_create_release(void)
{
    int out[2];
    struct runtime_started started = {0, -EBADF};
    struct outcome o = {0};
    if (pipe2(out, O_CLOEXEC) < 0)
        exit(1);
    struct runtime_start s = {.id = "probe-" PROBE_ID,
                              .bundle = bundle_dir,
                              .run_dir = bundle_dir,
                              .stdio = {-EBADF, out[1], out[1]},
                              .network_fd = -EBADF};
    write_bundle(RUN(.args = "[\"echo\",\"released\"]"));
    o.r = container_create(&s, &started, &o.err);
    close(out[1]);
    check_that(o.r == 0, "create", o.err.msg);
    if (o.r == 0) {
        o.r = container_release(bundle_dir, NULL, NULL, &o.err);
        check_that(o.r == 0, "release", o.err.msg);
        collect(out[0], &o);
        wait_end(started.pid, &o);
        check_that(strcmp(o.out, "released\n") == 0, "released", o.out);
    }
    close(out[0]);
    check_that(cgroup_remove("/proa/probe-" PROBE_ID, &o.err) == 0, "cgroup_remove", o.err.msg);
}

static void write_in_root(const char *name, const char *text, mode_t mode)
{
    _cleanup_free_ char *path = NULL;
    in_root(name, &path);
    if (file_write_atomic(AT_FDCWD, path, text, strlen(text), mode) < 0)
        check_that(false, "write", path);
}

static void copy_program(const char *from, const char *name)
{
    _cleanup_free_ char *to = NULL;
    in_root(name, &to);
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    if (in < 0 || out < 0 || fd_copy(in, out) < 0)
        check_that(false, "copy", from);
}

static void make_root(const char *dir)
{
    static const char *const dirs[] = {"bin", "etc", "tmp", "proc", "sys", "dev", "root", "canary"};
    static const char *const applets[] = {
        "sh", "cat", "ls",    "id",  "true", "echo", "hostname", "sleep", "mount", "grep", "head",
        "wc", "cut", "touch", "pwd", "ps",   "tr",   "rm",       "mknod", "tty",   "stty", "test"};
    root_dir = path_join(dir, "rootfs");
    bundle_dir = path_join(dir, "bundle");
    mkdir(root_dir, 0755);
    mkdir(bundle_dir, 0700);
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *path = NULL;
        in_root(dirs[i], &path);
        mkdir(path, 0755);
    }
    copy_program("/bin/busybox", "bin/busybox");
    copy_program("/proc/self/exe", "probe");
    for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
        _cleanup_free_ char *name = xasprintf("bin/%s", applets[i]), *path = NULL;
        in_root(name, &path);
        (void)!symlink("busybox", path);
    }
    write_in_root("etc/passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:\n", 0644);
    write_in_root("etc/group", "root:x:0:\nweb:x:34:\nstaff:x:50:www\n", 0644);
    write_in_root("text", "not a program\n", 0755);
    _cleanup_free_ char *evil = NULL, *evil_file = NULL;
    in_root("evil", &evil);
    in_root("evil-file", &evil_file);
    (void)!symlink("../../../../../../../canary", evil);
    (void)!symlink("/../../../../canary/file", evil_file);
}

static int run_tests(void)
{
    char dir[] = "/tmp/proa-probe-XXXXXX";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) {
        printf("skipped: needs root\n");
        return 77;
    }
    if (!mkdtemp(dir))
        return 1;
    make_root(dir);
    test_basics();
    test_exec_errors();
    test_privileges();
    test_paths();
    test_mounts();
    test_hostile_root();
    test_seccomp();
    test_terminal();
    test_init();
    test_limits();
    test_layers();
    test_user_namespace();
    test_monitor_death();
    test_create_release();
    check_that(path_remove_tree(AT_FDCWD, dir) == 0, "clean up", dir);
    printf("%d passed, %d failed\n", checks - failures, failures);
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && getpid() == 1)
        return probe_inside(argv[1]);
    seccomp_path = argc > 1 ? argv[1] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run_tests();
}
