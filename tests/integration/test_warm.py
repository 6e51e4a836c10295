"""Machines that go on from a template: what each clone has of its own, what a template depends on, and what
is left when any of the processes around it is killed."""

import glob
import json
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import archives
import leaks
from cli import inspect, proa, until
from sandbox import STATE
from test_crash import pids_of
from test_kernel import bzimage

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SETTINGS = "/run/proa/machines.json"
TEMPLATES = "/run/proa/templates"


def keepers():
    return list(pids_of("proa-template"))


def published():
    """The templates that can be had: a killed keeper's socket is there, and nobody answers; another ends when it is looked at."""
    found = []
    for path in glob.glob(TEMPLATES + "/*/socket"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            try:
                s.connect(path)
                found.append(path)
            except (ConnectionRefusedError, FileNotFoundError):
                pass
    return found


def hurry():
    """A maker works at the lowest priority, which on a busy machine is for ever."""
    for pid in keepers():
        for task in (pid, *map(int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split())):
            try:
                for thread in os.listdir(f"/proc/{task}/task"):
                    os.setpriority(os.PRIO_PROCESS, int(thread), 0)
            except OSError:
                continue


BOTH = 2  # templates that a first run leaves: of its shape, and of its image


def wait_for(n):
    def there():
        hurry()
        failed = glob.glob(TEMPLATES + "/*/failed")
        assert not failed, open(failed[0]).read()
        return len(published()) == n
    until(there, timeout=150, message="no template was published")


def prune(again=([], ["--vm", "--no-warm"])):
    """again: who makes anew what else is kept prepared."""
    proa("system", "prune", "-f", timeout=60)
    assert not os.path.isdir(TEMPLATES) or not os.listdir(TEMPLATES)
    until(lambda: not keepers())
    for kind in again:
        proa("run", "--rm", *kind, "busybox", "true", timeout=120)


def run(*args, **kw):
    kw.setdefault("timeout", 120)
    return proa("run", "--rm", "--vm", *args, **kw)


def is_clone(name):
    ident = inspect(name)["Id"]
    with open(f"/run/proa/instances/{ident}/timing") as f:
        return "restored=" in f.read()


@pytest.fixture(scope="module", autouse=True)
def template(house):
    """No templates but those of the default shape."""
    prune([[]])
    with open(SETTINGS, "w") as f:
        f.write('{"warm": true, "spares": 0}')
    try:
        run("busybox", "true")
        wait_for(BOTH)
        yield
    finally:
        os.unlink(SETTINGS)
        prune()


def test_clones_have_their_own_identity(name):
    """Random numbers, address, host name, clock: the clones of one template differ where machines differ."""
    script = ("head -c 16 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid; hostname; cat /sys/class/net/eth0/address;"
              "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; cat /proc/sys/kernel/random/boot_id; date +%s")
    before = time.time()
    with ThreadPoolExecutor(3) as pool:
        found = [r.lines for r in pool.map(lambda _: run("busybox", "sh", "-c", script), range(3))]
    for what in range(6):
        assert len({f[what] for f in found}) == 3, f"not three different ones: {[f[what] for f in found]}"
    for f in found:
        assert before - 2 <= int(f[6]) <= time.time() + 2
    ident = proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000").out.strip()
    assert is_clone(name)
    assert proa("exec", name, "cat", "/sys/class/net/eth0/address").out.strip() == \
        json.loads(proa("inspect", name).out)[0]["NetworkSettings"]["MacAddress"]
    assert proa("exec", name, "hostname").out.strip() == ident[:12]
    proa("rm", "-f", name)


def test_an_empty_machine_id_is_the_instances(name, tmp_path):
    """Of clones of a shape and of an image, and of a machine that boots; it stays, and is nothing that was written."""
    tree = archives.busybox_tree()
    tree.add("etc/machine-id", b"")
    (tmp_path / "tar").write_bytes(tree.bytes())
    proa("import", tmp_path / "tar", name)
    names = [f"{name}-{i}" for i in range(4)]
    for n, flags in zip(names, ([], [], [], ["--no-warm"])):
        ident = proa("run", "-d", "--vm", *flags, "--name", n, name, "sleep", "1000", timeout=120).out.strip()
        assert is_clone(n) != bool(flags)
        assert proa("exec", n, "cat", "/etc/machine-id").out == ident[:32] + "\n"
        if n == names[0]:
            wait_for(BOTH + 1)
    assert "machine-id" not in proa("diff", names[1]).out
    proa("restart", "-t", "0", names[1], timeout=60)
    assert proa("exec", names[1], "cat", "/etc/machine-id").out == inspect(names[1])["Id"][:32] + "\n"
    assert run("-v", f"{tmp_path}/tar:/etc/machine-id:ro", name, "wc", "-c", "/etc/machine-id").out.split()[0] != "33"
    proa("rm", "-f", *names, timeout=60)
    proa("rmi", name)
    published()  # somebody comes: a template of an image that has gone ends
    wait_for(BOTH)


def test_a_clone_is_a_machine_like_any(name):
    """Its network answers, its disk keeps what is written, over a stop and a start that takes the other way."""
    proa("run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", "echo kept >>/root/x; sleep 1000")
    assert is_clone(name)
    assert run("busybox", "ping", "-c1", "-W5", name).rc == 0
    until(lambda: proa("exec", name, "cat", "/root/x", check=False).out == "kept\n")
    proa("stop", "-t", "1", name)
    with open(SETTINGS, "w") as f:
        f.write('{"warm": false}')
    proa("start", name, timeout=60)
    with open(SETTINGS, "w") as f:
        f.write('{"warm": true, "spares": 0}')
    assert not is_clone(name)
    until(lambda: proa("exec", name, "cat", "/root/x", check=False).out == "kept\nkept\n")
    for times in (3, 4):  # a disk that was written to has a template of its own: the first start orders it
        proa("restart", "-t", "1", name, timeout=60)
        wait_for(BOTH + 1)
        until(lambda: proa("exec", name, "cat", "/root/x", check=False).out == "kept\n" * times)
    assert is_clone(name)
    proa("rm", "-f", name)


def test_a_clone_has_what_it_asks_for(name):
    """The root that a template of the image has ready is left where a workload wants other mounts, users, limits."""
    for flags, script, wanted in (
            (["--tmpfs", "/etc", "-u", "65534:65533"], "id; ls /etc; cat /etc/hostname",
             ["uid=65534 gid=65533", "hostname", "hosts", "resolv.conf", name]),
            (["--read-only", "-w", "/made"], "touch /x || pwd", ["/made"]),
            (["--sysctl", "kernel.msgmax=4321"], "cat /proc/sys/kernel/msgmax; touch /proc/sys/kernel/msgmax || echo ro",
             ["4321", "ro"]),
            (["--pids-limit", "-1"], "cat /sys/fs/cgroup/pids.max", ["max"]),
            (["--pids-limit", "77"], "cat /sys/fs/cgroup/pids.max", ["77"]),
            (["-w", "/made/too", "-e", "HOME=/h"], "pwd; echo $HOME; cat /sys/fs/cgroup/pids.max", ["/made/too", "/h", "2048"]),
            ([], "echo $HOME; cat /etc/hostname; test -w /proc/sys/kernel/msgmax || echo ro", ["/root", name, "ro"])):
        proa("run", "-d", "--vm", "--name", name, "-h", name, *flags, "busybox", "sh", "-c", f"({script}) 2>&1; echo done; sleep 1000")
        assert is_clone(name)
        said = until(lambda: "done" in proa("logs", name).out and proa("logs", name).out, message=str(flags))
        for word in wanted:
            assert word in said, (flags, said)
        proa("rm", "-f", name)
    for stdin, rc in (("exit 7\n", 7), ("nothing-there\nexit $?\n", 127)):
        assert run("-i", "busybox", "sh", input=stdin, check=False).rc == rc
    assert run("busybox", "nothing-there", check=False).rc == 127
    assert run("busybox", "/etc", check=False).rc == 126


def test_a_clones_memory_is_a_machines_memory(name):
    """Kept by a snapshot, it goes on in a machine that is no clone, and can be kept there again."""
    proa("run", "-d", "--vm", "--name", name, "--tmpfs", "/ram", "busybox", "sleep", "1000")
    assert is_clone(name)
    proa("exec", name, "sh", "-c", "echo one > /ram/kept")
    for word in ("two", "three"):
        proa("snapshot", "create", "--memory", "--name", word, name, timeout=120)
        proa("exec", name, "sh", "-c", f"echo {word} > /ram/lost; mv /ram/lost /ram/kept")
        proa("snapshot", "restore", "--force", name, word, timeout=120)
        assert not is_clone(name)
        assert proa("exec", name, "cat", "/ram/kept").out == "one\n"
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "two", "three")


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))


@pytest.mark.parametrize("flags,mib", [(["--no-warm", "-m", "512m"], 200), ([], 100)], ids=["boots", "clone"])
def test_memory_goes_back(name, flags, mib):
    """What the guest has freed is the host's again, also where the pages were copies of a template's."""
    before = set(pids_of("qemu-system-x86_64"))
    proa("run", "-d", "--vm", "--name", name, "--tmpfs", "/ram", *flags, "busybox", "sleep", "1000", timeout=120)
    assert is_clone(name) == (not flags)
    (qemu,) = {pid for pid in set(pids_of("qemu-system-x86_64")) - before if os.stat(f"/proc/{pid}").st_uid != 0x74000000}
    least = private_kib(qemu)
    proa("exec", name, "dd", "if=/dev/urandom", "of=/ram/x", "bs=1M", f"count={mib}", timeout=60)
    full = private_kib(qemu)
    assert full - least > mib * 1024 * 3 // 4, f"{least} KiB before, {full} with {mib} MiB in a file"
    proa("exec", name, "rm", "/ram/x")
    until(lambda: full - private_kib(qemu) > mib * 1024 * 3 // 4, timeout=30,
          message=lambda: f"{full} KiB with the file, {private_kib(qemu)} without")
    assert proa("exec", name, "cat", "/etc/hostname").out.strip()
    proa("rm", "-f", name)


def test_a_clone_gives_memory_back_and_gets_it_again(name):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000")
    assert is_clone(name)
    seen = []
    for size in ("128m", "256m"):
        proa("update", "-m", size, name)
        seen.append(int(proa("exec", name, "grep", "MemTotal", "/proc/meminfo").out.split()[1]) >> 10)
    assert seen[1] - seen[0] == 128
    assert proa("exec", name, "md5sum", "/bin/busybox").rc == 0
    proa("rm", "-f", name)


def test_no_warm_boots(name):
    proa("run", "-d", "--vm", "--no-warm", "--name", name, "busybox", "sleep", "1000", timeout=60)
    assert not is_clone(name)
    proa("rm", "-f", name)


def test_the_template_cannot_be_written_to(name):
    """What a QEMU that was taken over holds of the template: sealed, for it and for everybody. And libraries that it has no use
    for it does not hold."""
    import fcntl
    import mmap
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000")
    tried = 0
    for pid in pids_of("qemu-system-x86_64"):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{fd}"
            if "proa-template" not in os.readlink(path):
                continue
            tried += 1
            held = os.open(path, os.O_RDWR)
            assert fcntl.fcntl(held, 1034) == 0xf, "not sealed"  # F_GET_SEALS: seal, shrink, grow, write
            for attempt in (lambda: os.pwrite(held, b"x" * 4096, 0), lambda: os.ftruncate(held, 0),
                            lambda: mmap.mmap(held, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE)):
                with pytest.raises(PermissionError):
                    attempt()
            punched = subprocess.run(["fallocate", "--punch-hole", "-o", "0", "-l", "4096", path], capture_output=True)
            assert punched.returncode != 0
            os.close(held)
            with open(f"/proc/{pid}/maps") as f:
                maps = f.read()
            assert "/capstone.so" in maps and not re.search("libcapstone|libpmem|libcrypto", maps)
    assert tried >= 1
    proa("rm", "-f", name)


def test_a_killed_keeper_loses_nothing(name):
    killed = keepers()
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000")
    assert is_clone(name)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert proa("exec", name, "echo", "on").out == "on\n"  # what it has is its own
    proa("rm", "-f", name)
    assert not published()
    assert run("busybox", "echo", "cold").out == "cold\n"
    wait_for(BOTH)


# --- what ends templates: each test goes on with what the one before has left ---

@pytest.mark.leaky  # templates that it orders may come later
def test_a_template_that_does_not_fit_is_not_used(name, tmp_path):
    """Another amount of memory, other processors, a kernel that was touched: each boots, and gets one of its own."""
    kernel = glob.glob(STATE + "/cache/kernel/*/initramfs")[0]
    old = os.stat(kernel)
    assert len(published()) == BOTH
    shapes = [["--memory", "200m"], ["--network", "none"]]
    for shape in shapes:
        proa("run", "-d", "--vm", "--name", name, *shape, "busybox", "sleep", "1000", timeout=120)
        assert not is_clone(name), shape
        proa("rm", "-f", name)
    os.utime(kernel)
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
    assert not is_clone(name)
    proa("rm", "-f", name)
    os.utime(kernel, ns=(old.st_atime_ns, old.st_mtime_ns))


@pytest.mark.leaky  # prune ends the network's name server; the next start makes another
def test_first_runs_at_the_same_time():
    """Many find no template: all of them boot, one of each kind is made, and `info` knows them."""
    prune([[]])
    with ThreadPoolExecutor(3) as pool:
        assert all(r.rc == 0 for r in pool.map(lambda _: run("busybox", "true"), range(3)))
    wait_for(BOTH)
    assert len(keepers()) == BOTH and len(os.listdir(TEMPLATES)) == BOTH
    lines = proa("info", "--format", "{{json .}}").json["MachineTemplates"]
    assert len(lines) == BOTH and all("256 MiB" in line for line in lines)
    assert sum("of one image" in line for line in lines) == 1


@pytest.mark.leaky  # the templates that were there go
def test_templates_end_with_what_they_depend_on(name, tmp_path):
    """Another default kernel ends them at once, whatever else has changed at their next look; a kernel more does not."""
    kernel = os.path.dirname(glob.glob(STATE + "/cache/kernel/*/initramfs")[0])
    image = tmp_path / "vmlinuz"
    with open(kernel + "/vmlinux", "rb") as f:
        image.write_bytes(bzimage(f.read()))
    wait_for(BOTH)
    proa("kernel", "add", "--name", name, image, timeout=120)
    assert len(published()) == BOTH
    try:
        proa("kernel", "default", name)
        assert not published() and not os.listdir(TEMPLATES)
        until(lambda: not keepers())
    finally:
        proa("kernel", "rm", name)
    run("busybox", "true")
    wait_for(BOTH)
    old = os.stat(kernel + "/initramfs")
    os.utime(kernel + "/initramfs")
    published()  # somebody comes: they look
    until(lambda: not keepers())
    assert not os.listdir(TEMPLATES)
    os.utime(kernel + "/initramfs", ns=(old.st_atime_ns, old.st_mtime_ns))


@pytest.mark.leaky  # prune ends the network's name server; the next start makes another
def test_a_killed_maker_leaves_nothing(name):
    prune()
    before = leaks.snapshot()
    run("busybox", "true")
    # The image's maker has ordered the shape's, and waits; that one has started its QEMU.
    until(lambda: len(keepers()) == BOTH and
          any(subprocess.run(["pgrep", "-P", str(maker)], capture_output=True).returncode == 0 for maker in keepers()))
    for maker in keepers():
        os.kill(maker, signal.SIGKILL)
    extra, gone = leaks.settled(before)
    assert not extra and not gone, f"left {extra}, missing {gone}"
