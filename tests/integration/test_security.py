"""What an instance, an image or an argument can try, and must not get; rows of docs/SECURITY.md."""

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest

import archives
import sandbox
from archives import Tar
from cli import PROA, finish, inspect, proa, refuse, start, state, until

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def probe(house):
    """A static program inside an image that tries system calls and prints what came of them."""
    binary = house / "probe"
    subprocess.run(["cc", "-O1", "-static", "-o", binary, os.path.join(HERE, "probe.c")], check=True, capture_output=True)
    tar = archives.busybox_tree()
    tar.add("bin/probe", binary.read_bytes(), mode=0o755)
    proa("import", "-", "probe:1", input=tar.bytes())
    proa("run", "--rm", "probe:1", "true")
    yield "probe:1"


@pytest.fixture(autouse=True)
def prepared(probe):
    """Before the leak guard's snapshot."""


def run(*args, **kw):
    return proa("run", "--rm", "--network", "none", *args, **kw)


def image(tar, name="crafted:1", **config):
    return archives.docker_archive([tar if isinstance(tar, bytes) else tar.bytes()], name, **config)


@pytest.fixture
def crafted():
    yield "crafted:1"
    proa("rmi", "-f", "crafted:1", check=False)


def test_dangerous_system_calls_are_refused(probe):
    """The matrix: everything that a stolen root would reach for first fails with EPERM (or ENOSYS)."""
    seen = dict(l.split("=") for l in run(probe, "probe", "matrix").lines)
    assert len(seen) > 30
    wrong = {call: result for call, result in seen.items() if result not in ("EPERM", "ENOSYS", "EACCES")}
    assert not wrong, wrong


def test_descriptors_do_not_leak(probe):
    """Init and exec see 0, 1, 2 and nothing else, whatever the caller had open."""
    secret = os.open("/etc/shadow", os.O_RDONLY)
    try:
        for argv in ([PROA, "run", "--rm", "--network", "none", probe, "probe", "fds"],):
            done = subprocess.run(argv, capture_output=True, text=True, pass_fds=[secret], stdin=subprocess.DEVNULL)
            assert done.stdout.split() == ["0", "1", "2"], done
    finally:
        os.close(secret)


def test_exec_descriptors_do_not_leak(probe, name):
    proa("run", "-d", "--network", "none", "--name", name, probe, "sleep", "1000")
    secret = os.open("/etc/shadow", os.O_RDONLY)
    try:
        done = subprocess.run([PROA, "exec", name, "probe", "fds"], capture_output=True, text=True, pass_fds=[secret],
                              stdin=subprocess.DEVNULL)
        assert done.stdout.split() == ["0", "1", "2"], done
    finally:
        os.close(secret)


@pytest.mark.parametrize("number", [3, 5, 7, 8, 10, 20])
def test_a_working_directory_is_inside(probe, name, number):
    """CVE-2024-21626: -w /proc/self/fd/N leads nowhere."""
    for args in (["run", "--rm", "--network", "none", "-w", f"/proc/self/fd/{number}", probe],):
        r = proa(*args, "sh", "-c", "pwd; cat ../../../../var/tmp/x 2>&1; ls ..", check=False)
        assert r.rc != 0 or "var" not in r.out, repr(r)
        assert r.rc != 0, repr(r)


def test_exec_working_directory_is_inside(probe, name):
    proa("run", "-d", "--network", "none", "--name", name, probe, "sleep", "1000")
    for number in range(3, 20):
        assert proa("exec", "-w", f"/proc/self/fd/{number}", name, "pwd", check=False).rc != 0


def test_capabilities(probe):
    """The default set, none inheritable or ambient; none at all for a plain user; --cap-drop, --cap-add."""
    def caps(*args):
        out = run(*args, probe, "grep", "Cap", "/proc/self/status").out
        return {l.split(":")[0]: int(l.split()[1], 16) for l in out.splitlines()}
    default = 0x00000000a80425fb
    seen = caps()
    assert seen["CapInh"] == 0 and seen["CapAmb"] == 0
    assert seen["CapEff"] == seen["CapPrm"] == seen["CapBnd"] and seen["CapEff"] & ~default == 0
    assert caps("-u", "1000")["CapEff"] == 0
    assert caps("--cap-drop", "ALL")["CapBnd"] == 0
    assert caps("--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE")["CapEff"] == 1 << 10
    refuse("run", "--rm", "--cap-add", "NO_SUCH_CAP", probe, "true")


def test_the_filter_follows_the_capabilities(probe, tmp_path):
    """What a capability is for is allowed with it, beside what the default ones are for; exec has the same filter."""
    def root(*args):
        return run(*args, probe, "chroot", "/", "true", check=False).rc
    assert root() == 0
    assert root("--cap-add", "NET_ADMIN") == 0
    assert root("--cap-drop", "SYS_CHROOT") != 0
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], '
                       '"action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}')
    proa("run", "-d", "--network", "none", "--name", "filtered", "--security-opt", f"seccomp={profile}", probe, "sleep", "1000")
    assert os.listdir("/var/lib/proa/cache/seccomp")
    shutil.rmtree("/var/lib/proa/cache/seccomp")
    done = proa("exec", "filtered", "mkdir", "/x", check=False)
    proa("rm", "-f", "filtered")
    assert done.rc == 1 and "No space left" in done.err, done


def test_no_new_privileges(probe):
    out = run("--security-opt", "no-new-privileges", probe, "grep", "NoNewPrivs", "/proc/self/status").out
    assert out.split()[1] == "1"
    assert run(probe, "grep", "Seccomp:", "/proc/self/status").out.split()[1] == "2"


MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"]


def test_masked_and_read_only_paths(probe):
    script = "; ".join(f"if [ -d {p} ]; then ls -A {p}; elif [ -e {p} ]; then head -c 10 {p}; fi" for p in MASKED)
    assert run(probe, "sh", "-c", script, check=False).out == ""
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/irq/default_smp_affinity",
                 "/sys/kernel/profiling", "/sys/fs/cgroup/cpu/release_agent", "/sys/fs/cgroup/memory/release_agent"):
        r = run(probe, "sh", "-c", f"echo x > {path}", check=False)
        assert r.rc != 0, f"{path} was written"
    r = run(probe, "sh", "-c", "find /sys/fs/cgroup -writable -type f 2>/dev/null | head -n 3; for f in $(find /sys/fs/cgroup -name cgroup.procs | head -n 5); do echo 1 >$f && echo WROTE; done 2>/dev/null", check=False)
    assert "WROTE" not in r.out


def test_devices(probe):
    names = set(run(probe, "ls", "/dev").out.split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "stdin", "stdout", "stderr", "fd"} <= names
    assert not {"vda", "sda", "kvm", "mem", "kmsg", "loop0", "fuse", "net"} & names
    r = run(probe, "sh", "-c", "mknod /tmp/d b 254 0 && head -c 1 /tmp/d", check=False)
    assert r.rc != 0
    r = run(probe, "sh", "-c", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem", check=False)
    assert r.rc != 0


LINKED = {
    "proc": lambda t: t.symlink("proc", "/tmp"),
    "sys": lambda t: t.symlink("sys", "/tmp"),
    "dev": lambda t: t.symlink("dev", "../../../../../var/tmp/proa-canary"),
    "dev-null": lambda t: t.dir("dev").symlink("dev/null", "/proc/sys/kernel/core_pattern"),
    "dev-pts": lambda t: t.dir("dev").symlink("dev/pts", "/proc/self/fd"),
    "hosts": lambda t: t.symlink("etc/hosts", "/var/tmp/proa-canary/x"),
    "resolv": lambda t: t.symlink("etc/resolv.conf", "../../../../../../var/tmp/proa-canary/x"),
    "hostname": lambda t: t.symlink("etc/hostname", "/proc/self/exe"),
    "mtab": lambda t: t.symlink("etc/mtab", "/var/tmp/proa-canary/x"),
}


@pytest.mark.parametrize("which", LINKED)
def test_links_where_the_engine_writes(which, crafted, kind, flags):
    """An image with a symlink at a path that the engine mounts over or writes: refused, or kept inside."""
    canary = "/var/tmp/proa-canary"
    os.makedirs(canary, exist_ok=True)
    with open(canary + "/x", "w") as f:
        f.write("untouched")
    pattern = open("/proc/sys/kernel/core_pattern").read()
    try:
        proa("load", input=image(LINKED[which](archives.busybox_tree()), crafted))
        r = proa("run", "--rm", "-t", *flags, crafted, "sh", "-c", "echo x >/dev/null; echo alive", check=False, timeout=60)
        assert r.rc in (0, 125, 126, 127, 1), repr(r)
        assert sorted(os.listdir(canary)) == ["x"] and open(canary + "/x").read() == "untouched"
        assert open("/proc/sys/kernel/core_pattern").read() == pattern
    finally:
        os.unlink(canary + "/x")
        os.rmdir(canary)


def test_working_dir_through_a_link(crafted):
    proa("load", input=image(archives.busybox_tree().symlink("w", "/var/tmp/proa-absent"), crafted, WorkingDir="/w/made"))
    run(crafted, "pwd", check=False)
    assert not os.path.exists("/var/tmp/proa-absent")


def test_volume_paths_of_an_image(crafted):
    proa("load", input=image(archives.busybox_tree(), crafted, Volumes={"/../../etc": {}}))
    r = proa("run", "--rm", "--network", "none", crafted, "ls", "/etc", check=False)
    assert "shadow" not in r.out and "apt" not in r.out


USERS = ["1000:", ":0", "01", " 1", "+1", "-1", "1e3", "4294967295", "4294967296", "2147483648", "0x0", "1000 ", "", "root:nogroup-here",
         "user:", "1000:0x0", "99999999999999999999"]


@pytest.mark.parametrize("user", USERS)
def test_users_are_exact_or_refused(probe, user):
    """CVE-2026-30892 and its family: nothing strange ever becomes root."""
    r = run(f"--user={user}", probe, "id", "-u", check=False)
    if r.rc == 0:
        expected = {"": "0", "01": "1", "user:": "1000", "1000:": "1000", "2147483648": "2147483648"}
        assert r.out.strip() == expected.get(user), repr(r)
    else:
        assert r.rc in (125, 126) and len(r.err.strip().splitlines()) == 1, repr(r)


def test_a_numeric_user_is_never_a_name(probe):
    """The image's passwd has a user called 1234 with uid 0."""
    assert run("-u", "1234", probe, "id", "-u").out == "1234\n"


def test_groups_are_exactly_the_users(probe):
    assert sorted(run("-u", "user", probe, "id", "-G").out.split()) == ["10", "1000", "2000"]
    assert run("-u", "4242:4242", probe, "id", "-G").out.split() == ["4242"]


@pytest.mark.parametrize("entry", ["fifo", "link", "zero", "large"])
def test_a_hostile_passwd(crafted, entry):
    import tarfile
    tar = Tar()
    for name in ("bin", "etc"):
        tar.dir(name)
    tar.add("bin/busybox", open(archives.BUSYBOX, "rb").read(), mode=0o755)
    tar.symlink("bin/id", "busybox")
    if entry == "fifo":
        tar.add("etc/passwd", type=tarfile.FIFOTYPE)
    elif entry == "link":
        tar.symlink("etc/passwd", "../../../../../etc/passwd")
    elif entry == "zero":
        tar.add("etc/passwd", type=tarfile.CHRTYPE, dev=(1, 5))
    else:
        tar.add("etc/passwd", b"x:x:1:1::/:/bin/sh\n" * 3_000_000)
    proa("load", input=image(tar, crafted))
    r = run("-u", "daemon", crafted, "id", "-u", check=False, timeout=20)
    assert r.rc in (125, 126) and len(r.err.strip().splitlines()) == 1, repr(r)
    assert run("-u", "7", crafted, "id", "-u", check=False, timeout=20).rc in (0, 125, 126)


def test_the_engines_program_cannot_be_overwritten(crafted):
    """CVE-2019-5736: an entrypoint that is /proc/self/exe gets no way to the host's program."""
    tar = archives.busybox_tree()
    tar.add("run-self", "#!/proc/self/exe\n", mode=0o755).symlink("link-self", "/proc/self/exe")
    proa("load", input=image(tar, crafted))
    build = os.path.dirname(PROA)
    programs = [PROA, f"{build}/proa-monitor"]
    before = [open(p, "rb").read() for p in programs]
    for entry in ("/run-self", "/link-self"):
        run(crafted, entry, check=False)
    script = "for p in /proc/[0-9]*; do (echo x >$p/exe) 2>/dev/null && echo WROTE; done"
    assert "WROTE" not in run(crafted, "sh", "-c", script, check=False).out
    assert [open(p, "rb").read() for p in programs] == before


def test_environment_does_not_leak(probe):
    r = run(probe, "env", env={"SECRET_OF_THE_HOST": "x", "LD_PRELOAD_X": "y"})
    assert "SECRET_OF_THE_HOST" not in r.out
    assert {l.split("=")[0] for l in r.lines} <= {"PATH", "HOME", "HOSTNAME", "PWD", "SHLVL", "container"}


def test_namespaces_are_the_instances_own(probe):
    own = run(probe, "sh", "-c", "for n in mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$n; done").lines
    host = [os.readlink(f"/proc/self/ns/{n}") for n in ("mnt", "pid", "uts", "ipc", "net", "cgroup")]
    shared = set(own) & set(host)
    assert not shared, shared
    assert run(probe, "sh", "-c", "echo $$").out == "1\n"


@pytest.mark.parametrize("sysctl", ["kernel.shm_rmid_forced=1+kernel.core_pattern=|/x", "kernel.core_pattern=x", "vm.drop_caches=1",
                                    "net.ipv4.ip_forward=1\nkernel.core_pattern=x", "../kernel/core_pattern=x"])
def test_sysctls_are_namespaced_only(probe, sysctl):
    pattern = open("/proc/sys/kernel/core_pattern").read()
    r = run("--sysctl", sysctl, probe, "true", check=False)
    assert open("/proc/sys/kernel/core_pattern").read() == pattern
    assert r.rc == 125, repr(r)


def test_sockets_and_directories_are_private(box):
    """No abstract sockets; state is root's alone."""
    with open("/proc/net/unix") as f:
        assert not [l for l in f if "@" in l and "proa" in l]
    for path in ("/var/lib/proa", "/run/proa", "/var/lib/proa/instances"):
        assert os.stat(path).st_mode & 0o007 == 0, path
    for folder, _, names in os.walk("/run/proa/instances"):
        for name in names:
            assert os.lstat(os.path.join(folder, name)).st_mode & 0o077 == 0 or name == "agent.sock", os.path.join(folder, name)


@pytest.mark.parametrize("ident", ["../x", "a/b", "", "..", "x" * 1025])
def test_references_are_not_paths(ident):
    refuse("inspect", ident, rc=1)
    refuse("rm", ident, rc=1)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["in", "out"])
def test_cp_while_a_path_is_swapped(name, tmp_path, direction):
    """A workload swaps a directory and a symlink to the host's tree as fast as it can, for five seconds."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "f").write_text("host secret\n")
    proa("run", "-d", "--network", "none", "--name", name, "busybox", "sh", "-c",
         f"mkdir -p /d; echo inside >/d/f; while :; do mv /d /e; ln -s {canary} /d; rm /d; mv /e /d; done")
    (tmp_path / "evil").write_text("evil\n")
    end = time.monotonic() + 5
    tries = 0
    while time.monotonic() < end:
        tries += 1
        if direction == "in":
            proa("cp", tmp_path / "evil", f"{name}:/d/f", check=False)
        else:
            out = tmp_path / "out"
            if out.exists():
                out.unlink()
            proa("cp", f"{name}:/d/f", out, check=False)
            assert not out.exists() or out.read_text() != "host secret\n"
    assert (canary / "f").read_text() == "host secret\n" and os.listdir(canary) == ["f"]
    assert tries > 5
    proa("rm", "-f", name)


def test_top_executes_nothing_of_the_instance(name, crafted):
    """`top` of an image whose ps is a trap."""
    tar = archives.busybox_tree()
    tar.add("usr/bin/ps", "#!/bin/sh\ntouch /trapped\n", mode=0o755)
    proa("load", input=image(tar, crafted))
    proa("run", "-d", "--network", "none", "--name", name, crafted, "sleep", "1000")
    assert "sleep 1000" in proa("top", name).out
    assert proa("exec", name, "ls", "/trapped", check=False).rc != 0
    proa("rm", "-f", name)


def programs_of(ident):
    """The processes in a machine's control group, by the name of their program, and its proa-vm."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{pid}/cmdline").read().split("\0")
            groups = open(f"/proc/{pid}/cgroup").read()
        except OSError:
            continue
        if ident in groups or ("proa-vm" in command[0] and any(ident in word for word in command)):
            found.setdefault(os.path.basename(command[0]), []).append((pid, command))
    return found


def inodes(folder, prefix=""):
    return {(s.st_dev, s.st_ino) for s in (os.stat(os.path.join(folder, n)) for n in os.listdir(folder) if n.startswith(prefix))}


def status_of(pid):
    return dict(l.rstrip("\n").split(":\t", 1) for l in open(f"/proc/{pid}/status") if ":\t" in l)


SWITCHES = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
QEMU_LIMITS = {"Max core file size": "0", "Max open files": "4096", "Max processes": "1024", "Max locked memory": "65536",
               "Max msgqueue size": "0"}


def rights_are_gone(pid):
    """Of QEMU and its proa-vm: a user of the machine's own who can do nothing."""
    status = status_of(pid)
    assert all(int(u) >= 0x70000000 for u in status["Uid"].split() + status["Gid"].split()), status
    assert all(int(status[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), status
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Groups"].strip() == "", status


def limits_of(pid):
    return {line[:26].strip(): line[26:].split()[:2] for line in open(f"/proc/{pid}/limits")}


def holds_only(pid, allowed, terminal=False):
    """Of the host's files that have a name these, and no directory, block device, or device but null, a tap, and a terminal."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        file = os.stat(f"/proc/{pid}/fd/{fd}")
        where = f"{pid} {fd} {os.readlink(f'/proc/{pid}/fd/{fd}')}"
        assert not stat.S_ISDIR(file.st_mode) and not stat.S_ISBLK(file.st_mode), where
        if stat.S_ISREG(file.st_mode) and file.st_nlink > 0:
            assert (file.st_dev, file.st_ino) in allowed, where
        if stat.S_ISCHR(file.st_mode):
            device = os.major(file.st_rdev), os.minor(file.st_rdev)
            assert device in ((1, 3), (10, 200)) or terminal and 136 <= device[0] <= 143, where


def memory_limit(pid, ident):
    """Of the control group of a machine, which is the one that is named after it."""
    group = {l.split(":")[1]: l.split(":")[2].strip() for l in open(f"/proc/{pid}/cgroup")}
    at = next(g for g in group.values() if ident in g)
    assert at.endswith("/proa/" + ident), group
    memory = next((p for p in ("/sys/fs/cgroup/memory" + group.get("memory", "/none"), "/sys/fs/cgroup" + at)
                   if os.path.isdir(p)))
    file = next(f for f in ("memory.limit_in_bytes", "memory.max") if os.path.exists(os.path.join(memory, f)))
    return int(open(os.path.join(memory, file)).read())


def qemu_has_walls(found, ident, root, files, guest_bytes):
    """What is true of every machine's QEMU. root: names in its root directory; files: what it may hold."""
    (qemu, command), = found["qemu-system-x86_64"]
    (vm, _), = found["proa-vm"]
    for pid in (qemu, vm):
        rights_are_gone(pid)
    assert int(status_of(qemu)["Seccomp_filters"]) >= 2, "ours, and its own"
    assert status_of(qemu)["NSpid"].split()[-1] == "1", "nobody else is in its namespace"
    for ns in ("mnt", "net", "ipc", "uts", "pid", "cgroup"):
        assert os.readlink(f"/proc/{qemu}/ns/{ns}") != os.readlink(f"/proc/self/ns/{ns}"), ns
    assert sorted(os.listdir(f"/proc/{qemu}/root/")) == sorted(root)
    assert os.listdir(f"/proc/{qemu}/root/etc") == ["ld.so.cache"]
    mounts = [l.split() for l in open(f"/proc/{qemu}/mountinfo")]
    assert mounts and all("ro" in m[5].split(",") for m in mounts), mounts
    limits = limits_of(qemu)
    for limit, most in QEMU_LIMITS.items():
        assert limits[limit] == [most, most], (limit, limits[limit])
    assert limits_of(vm)["Max core file size"] == ["0", "0"]
    assert command[command.index("-sandbox") + 1] == SWITCHES
    assert "-nodefaults" in command and "-no-user-config" in command
    assert not re.search(r"^VmFlags:.* mg\b", open(f"/proc/{qemu}/smaps").read(), re.M), "KSM may merge nothing"
    of_the_machine = inodes(f"{sandbox.STATE}/instances/{ident}") | inodes(f"/run/proa/instances/{ident}")
    holds_only(qemu, files)
    holds_only(vm, files | of_the_machine, terminal="-initrd" not in command)  # a PC's serial console is one
    assert guest_bytes < memory_limit(qemu, ident) < guest_bytes + (480 << 20)
    return qemu, " ".join(command)


@pytest.mark.vm
def test_qemu_is_confined(name, tmp_path):
    """No root, no capability, filters, namespaces and an empty root of its own, a bounded group; of the host's files
    only the disks that are the machine's; no device that the machine does not need."""
    ident = proa("run", "-d", "--vm", "--cpus", "0.5", "--memory", "160m", "--name", name, "-v", f"{tmp_path}:/v", "busybox",
                 "sleep", "1000", timeout=120).out.strip()
    found = programs_of(ident)
    assert set(found) == {"proa-vm", "qemu-system-x86_64", "virtiofsd"}, found
    _, text = qemu_has_walls(found, ident, ["bin", "etc", "initramfs", "kernel", "lib", "lib64", "usr"],
                             inodes(sandbox.STATE + "/layers") | inodes(f"{sandbox.STATE}/instances/{ident}", "disk"), 160 << 20)
    for device in ("e1000", "usb", "floppy", "vga", "user,"):
        assert device not in text
    shares = [status_of(pid) for pid, _ in found["virtiofsd"]]  # one waits for the other, outside of its namespaces
    assert all(not int(s["CapEff"], 16) & (1 << 27 | 1 << 21 | 1 << 12) for s in shares), shares  # mknod, admin, net admin
    assert any(s["Seccomp"] == "2" for s in shares), shares
    refused = proa("exec", name, "sh", "-c", "mknod /v/d b 8 0; mknod /v/p p && ls /v", check=False)
    assert "d:" in refused.err and refused.out == "p\n", refused
    proa("rm", "-f", name)
    assert not programs_of(ident)


# Flags, what else runs in its control group, and devices that it does not have.
SHAPES = {
    "plain": ([], set(), ("e1000", "usb", "floppy", "VGA", "ide-", "scsi", "pflash", "user,")),
    "everything": (["--secure-boot", "--tpm", "--graphics", "vnc", "--cdrom", "CD", "--disk", "size=8m,bus=scsi", "--disk",
                    "size=8m,bus=sata", "--max-cpus", "2", "--max-memory", "384m", "--nic", "e1000e"],
                   {"swtpm"}, ("floppy", "user,", "usb-host", "vfio")),
}


@pytest.mark.vm
@pytest.mark.parametrize("shape", SHAPES)
def test_qemu_of_a_disk_machine_is_confined(name, tmp_path, shape):
    """The other kind of machine has the same walls, whatever the PC has; of the host's files it holds its firmware, its disks
    and what it was given to read."""
    flags, company, devices = SHAPES[shape]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "empty.qcow2", "8M"], check=True)
    (tmp_path / "CD").write_bytes(b"iso".ljust(4096))
    proa("import", tmp_path / "empty.qcow2", "empty-disk:latest")
    ident = proa("run", "-d", "--memory", "64m", "--name", name, *[tmp_path / f if f == "CD" else f for f in flags],
                 "empty-disk", timeout=60).out.strip()
    found = programs_of(ident)
    assert set(found) == {"proa-vm", "qemu-system-x86_64"} | company, found
    own = f"{sandbox.STATE}/instances/{ident}"
    files = inodes(own, "disk") | inodes(own, "firmware") | inodes(own, "seed") | inodes(sandbox.STATE + "/disks") | inodes(
        tmp_path, "CD") | inodes("/usr/share/OVMF")
    _, text = qemu_has_walls(found, ident, ["bin", "etc", "lib", "lib64", "usr"], files, (384 if company else 64) << 20)
    for device in devices:
        assert device not in text, device
    proa("rm", "-f", name)
    assert not programs_of(ident)
    proa("rmi", "empty-disk")


def test_threads_of_attack_end(name):
    """A fork bomb is held by the default limit, and `rm -f` ends it."""
    proa("run", "-d", "--network", "none", "--pids-limit", "100", "--name", name, "busybox", "sh", "-c",
         "b() { b | b & }; b; while :; do sleep 1; done")
    time.sleep(1)
    done = threading.Event()
    proa("rm", "-f", name, timeout=20)
    done.set()
    until(lambda: name not in proa("ps", "-a").out)


@pytest.mark.parametrize("path", ["/:/host", "/etc:/host:ro", "etc:/host"])
def test_a_volume_of_an_image_is_no_bind(crafted, name, path):
    """An image's VOLUME is a path inside, never words as --volume has them: a colon names nothing of the host's."""
    proa("load", input=image(archives.busybox_tree(), crafted, Volumes={path: {}}))
    refuse("create", "--network", "none", "--name", name, crafted, "cat", "/host/passwd")
    assert name not in proa("ps", "-a").out


@pytest.mark.parametrize("port", ["18080:80/tcp", "127.0.0.1:18081:80"])
def test_a_port_of_an_image_chooses_no_port_of_the_host(crafted, name, port):
    """-P publishes what the image exposes at free ports, not where the image wants to be reached."""
    proa("load", input=image(archives.busybox_tree(), crafted, ExposedPorts={port: {}}))
    r = proa("run", "-d", "-P", "--name", name, crafted, "sleep", "1000", check=False)
    seen = proa("port", name, check=False).out
    proa("rm", "-f", name, check=False)
    assert r.rc == 125 and len(r.err.strip().splitlines()) == 1, repr(r) + seen


def test_a_deep_tree_can_be_removed(name):
    """More directories below each other than the command may have descriptors."""
    proa("run", "--network", "none", "--name", name, "busybox", "sh", "-c",
         "cd /tmp; i=0; while [ $i -lt 1500 ]; do mkdir d && cd d; i=$((i+1)); done; true", timeout=120)
    done = subprocess.run(["prlimit", "--nofile=1024", PROA, "rm", name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert os.listdir("/var/lib/proa/tmp") == []


def test_a_workload_that_changed_its_user_ends_with_its_monitor(name):
    """A change of user takes the kernel's parent-death signal away: then it is the next command that ends it."""
    proa("run", "-d", "--network", "none", "--name", name, "busybox", "su", "-s", "/bin/sh", "user", "-c", "exec sleep 4321")
    pid = inspect(name)["State"]["Pid"]
    until(lambda: open(f"/proc/{pid}/cmdline").read().startswith("sleep"))
    monitor = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    os.kill(monitor, signal.SIGKILL)
    until(lambda: "its monitor was killed" in proa("ps", "-a").err or state(name) != "running")
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    proa("rm", "-f", name)


def test_the_monitors_program_cannot_be_changed(name):
    """With --init an entrypoint of /proc/self/exe runs the monitor's program beside the image's; whoever reaches the file
    that way may not even change its mode (a world-writable monitor would be any local user's way to root)."""
    proa("run", "-d", "--init", "--network", "none", "--name", name, "busybox", "sleep", "1000")
    pid = inspect(name)["State"]["Pid"]
    monitor = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    for process in (pid, monitor):
        with pytest.raises(OSError) as refused:
            os.chmod(f"/proc/{process}/exe", 0o755)
        assert refused.value.errno == errno.EROFS
    proa("rm", "-f", name)


def test_a_volume_is_filled_once(crafted, name):
    """Instances that start at the same moment with the same new volume: one fills it, none finds it half full."""
    tar = archives.busybox_tree().dir("data")
    for number in range(3000):
        tar.add(f"data/{number}", "x" * 100)
    proa("load", input=image(tar, crafted))
    try:
        running = [start("run", "--rm", "--network", "none", "-v", f"{name}:/data", crafted, "sh", "-c", "ls /data | wc -l")
                   for _ in range(4)]
        for r in [finish(process) for process in running]:
            assert r.rc == 0 and r.out == "3000\n", repr(r)
    finally:
        proa("volume", "rm", name, check=False)


@pytest.mark.parametrize("how", ["run", "exec"])
def test_no_signal_is_ignored_or_blocked(box, how):
    """Nothing of the engine's own signal set-up reaches the workload, libc's hidden signals included."""
    where = ["exec", box] if how == "exec" else ["run", "--rm", "--network", "none", "busybox"]
    out = proa(*where, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status").out
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16, "0" * 16], out
