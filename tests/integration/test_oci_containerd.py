"""containerd drives the runtime through its shim, io.containerd.runc.v2."""

import os
import re
import uuid

import pytest

import archives
import oci_cases
from cli import command, until
from leaks import CGROUPS
from oci_clients import HOME, IMAGE, RUNTIME, Containerd


@pytest.fixture(scope="module")
def ctr(house):
    client = Containerd()
    yield client
    client.close()


def clear(ctr, name):
    ctr("task", "kill", "-s", "9", "-a", name, check=False)
    until(lambda: f"{name} " not in ctr("task", "ls").out or ctr("task", "rm", name, check=False).rc == 0)
    ctr("container", "rm", name, check=False)
    ctr("snapshot", "rm", name, check=False)


@pytest.fixture
def name(ctr):
    chosen = "c-" + uuid.uuid4().hex[:8]
    yield chosen
    clear(ctr, chosen)


@pytest.fixture(scope="module")
def box(ctr):
    ctr.start("box", "sleep", "100000", flags=["-d"])
    yield "box"
    clear(ctr, "box")


def task(ctr, name):
    for line in ctr("task", "ls").lines:
        if line.split()[0] == name:
            return line.split()[2]
    return ""


RUN = [
    ("streams", [], "echo out; echo err >&2", r"\Aout\n\Z"),
    ("env", ["--env", "A=b c"], 'echo "[$A]"', r"^\[b c\]$"),
    ("workdir", ["--cwd", "/home/user"], "pwd", r"\A/home/user\n"),
    ("read-only", ["--read-only"], "touch /x 2>&1; true", r"Read-only file system"),
    ("mount", ["--mount", "type=bind,src={dir},dst=/data,options=rbind:rw"], "cat /data/given; echo back >/data/made", r"\Agiven\n"),
    ("mount-ro", ["--mount", "type=bind,src={dir},dst=/data,options=rbind:ro"], "touch /data/x 2>&1; true", r"Read-only file system"),
    ("tmpfs", ["--mount", "type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m"], "grep ' /scratch tmpfs ' /proc/mounts", r"size=1024k"),
    ("default-caps", [], "grep CapEff /proc/self/status", r"CapEff:\t00000000a80425fb"),
    ("cap-add", ["--cap-add", "CAP_SYS_TIME"], "grep CapEff /proc/self/status", r"CapEff:\t00000000aa0425fb"),
    ("cap-drop", ["--cap-drop", "CAP_CHOWN"], "grep CapEff /proc/self/status", r"CapEff:\t00000000a80425fa"),
    ("privileged", ["--privileged"], "grep CapEff /proc/self/status; touch /proc/sys/kernel/hostname && echo writable",
     r"CapEff:\t00000(03f|1ff)f[ef]f{6}\nwritable"),
    ("no-new-privileges", [], "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t1"),
    ("new-privileges", ["--allow-new-privs"], "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t0"),
    ("seccomp", ["--seccomp"], "grep Seccomp: /proc/self/status; unshare -U true 2>&1; true", r"Seccomp:\t2\n.*not permitted"),
    ("seccomp-own", ["--seccomp", "--seccomp-profile", "{dir}/deny-mkdir.json"], "mkdir /x 2>&1; touch /y && echo touched",
     r"not permitted\ntouched"),
    ("host-network", ["--net-host"], "ip -o link", r"\bup0\b"),
    ("device", ["--device", "/dev/fuse"], "stat -c '%t:%T %F' /dev/fuse", r"\Aa:e5 character"),
]


@pytest.mark.parametrize("case", RUN, ids=[c[0] for c in RUN])
def test_run(ctr, name, case, tmp_path):
    what, flags, script, pattern = case
    (tmp_path / "given").write_text("given\n")
    (tmp_path / "deny-mkdir.json").write_text(oci_cases.DENY_MKDIR)
    # ctr loses what a container says that has ended before it listens.
    done = ctr.start(name, "sh", "-c", "sleep 0.1; " + script, flags=["--rm", *[f.format(dir=tmp_path) for f in flags]])
    assert re.search(pattern, done.out, re.M), repr(done)
    if what == "streams":
        assert done.err == "err\n", repr(done)
    if what == "mount":
        assert (tmp_path / "made").read_text() == "back\n"


def test_exit_codes(ctr):
    for number, (argv, rc, say) in enumerate(((["true"], 0, ""), (["sh", "-c", "exit 3"], 3, ""),
                                              (["nosuch"], 1, "executable file not found"), (["/no/such"], 1, "no such file or directory"),
                                              (["/etc/not-executable"], 1, "permission denied"))):
        chosen = f"e{number}-{os.getpid()}"
        done = ctr.start(chosen, *argv, flags=["--rm"], check=False)
        try:
            assert done.rc == rc and say in done.err, repr(done)
        finally:
            clear(ctr, chosen)


def test_stdin(ctr, name):
    assert ctr.start(name, "head", "-n", "1", flags=["--rm"], input="typed\n").out == "typed\n"


def test_tty(ctr, name):
    script = "tty; until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; echo first; " \
             "until [ \"$(stty size)\" = '44 122' ]; do sleep 0.02; done; echo second; read x; echo \"got $x\"; exit 6"
    done = ctr.terminal("run", "--runc-binary", RUNTIME, "--rm", "-t", IMAGE, name, "sh", "-c", script, size=(33, 111),
                        steps=[("first", (44, 122)), ("second", b"typed\n")])
    assert done.rc == 6 and "/dev/pts/0" in done.out and "got typed" in done.out, repr(done)


def test_root_folder(ctr, name, tmp_path):
    """--rootfs: a plain directory instead of an image."""
    folder = f"{HOME}/rootfs-{os.getpid()}"
    os.makedirs(folder)
    command(["tar", "-xf", "-", "-C", folder], input=archives.busybox_tar())
    try:
        done = ctr("run", "--runc-binary", RUNTIME, "--rm", "--rootfs", folder, name, "/bin/sh", "-c", "id -u; echo made >/made")
        assert done.out == "0\n"
        with open(folder + "/made") as f:
            assert f.read() == "made\n"
    finally:
        command(["rm", "-rf", folder])


def test_exec(ctr, box):
    for argv, rc, out in ((["true"], 0, ""), (["sh", "-c", "echo out; exit 4"], 4, "out\n")):
        done = ctr("task", "exec", "--exec-id", uuid.uuid4().hex, box, *argv, check=False)
        assert (done.rc, done.out) == (rc, out), repr(done)
    done = ctr("task", "exec", "--exec-id", "u", "--user", "1000:2000", "--cwd", "/etc", box, "sh", "-c", "id -u; id -g; pwd")
    assert done.out == "1000\n2000\n/etc\n"
    done = ctr("task", "exec", "--exec-id", "n", box, "nosuch", check=False)
    assert done.rc == 1 and "executable file not found" in done.err, repr(done)
    assert ctr("task", "exec", "--exec-id", "i", box, "cat", input="typed\n").out == "typed\n"


def test_exec_tty(ctr, box):
    done = ctr.terminal("task", "exec", "-t", "--exec-id", "t", box, "sh", "-c",
                        "tty; until [ \"$(stty size)\" = '33 111' ]; do sleep 0.02; done; exit 6", size=(33, 111))
    assert done.rc == 6 and "/dev/pts/" in done.out, repr(done)


def test_exec_detached(ctr, box):
    ctr("task", "exec", "-d", "--exec-id", "d", box, "sh", "-c", "echo done >/tmp/detached")
    until(lambda: ctr("task", "exec", "--exec-id", uuid.uuid4().hex, box, "cat", "/tmp/detached", check=False).out == "done\n")


def test_processes(ctr, box):
    pids = [line.split()[0] for line in ctr("task", "ps", box).lines[1:]]
    assert len(pids) == 1
    with open(f"/proc/{pids[0]}/cmdline") as f:
        assert f.read().split("\0")[:2] == ["sleep", "100000"]


def test_metrics(ctr, box):
    out = ctr("task", "metrics", box).out
    assert re.search(r"^memory\.usage_in_bytes +[1-9]", out, re.M) and re.search(r"^pids\.current +[1-9]", out, re.M), out


def test_pause(ctr, name, tmp_path):
    ctr.start(name, "sh", "-c", "while :; do echo x >>/d/ticks; sleep 0.02; done",
              flags=["-d", "--mount", f"type=bind,src={tmp_path},dst=/d,options=rbind:rw"])
    ticks = tmp_path / "ticks"
    until(lambda: ticks.exists() and ticks.stat().st_size > 0)
    ctr("task", "pause", name)
    assert task(ctr, name) == "PAUSED"
    size = ticks.stat().st_size
    assert ctr("task", "exec", "--exec-id", "p", name, "true", check=False).rc != 0
    assert ticks.stat().st_size == size
    ctr("task", "resume", name)
    until(lambda: ticks.stat().st_size > size)
    assert task(ctr, name) == "RUNNING"


def test_kill(ctr, name):
    ctr.start(name, "sh", "-c", "trap 'exit 5' USR1; touch /ready; while :; do sleep 0.05; done", flags=["-d"])
    until(lambda: ctr("task", "exec", "--exec-id", uuid.uuid4().hex, name, "test", "-f", "/ready", check=False).rc == 0)
    ctr("task", "kill", "-s", "USR1", name)
    until(lambda: task(ctr, name) == "STOPPED")
    done = ctr("task", "kill", "-s", "9", name, check=False)
    assert done.rc == 1 and "already finished" in done.err, repr(done)
    done = ctr("task", "rm", name, check=False)
    assert done.rc == 5 or "code 5" in done.err, repr(done)


def test_remove_of_a_running_one_needs_force(ctr, name):
    ctr.start(name, "sh", "-c", "sleep 100000 & sleep 100000", flags=["-d"])
    assert ctr("task", "rm", name, check=False).rc != 0
    ctr("task", "rm", "-f", name)
    assert task(ctr, name) == ""


def test_out_of_memory(ctr, name):
    done = ctr.start(name, "tail", "/dev/zero", flags=["--rm", "--memory-limit", str(16 << 20)], check=False)
    assert done.rc == 137, repr(done)


def test_limits(ctr, name):
    ctr.start(name, "sleep", "100000", flags=["-d", "--memory-limit", "33554432", "--cpu-quota", "20000", "--cpu-period", "50000"])
    for item, value in (("memory/default/{}/memory.limit_in_bytes", 33554432), ("cpu/default/{}/cpu.cfs_quota_us", 20000)):
        with open(f"{CGROUPS}/" + item.format(name)) as f:
            assert int(f.read()) == value
