"""The rows of docs/PARITY.md: each verb that is about an instance, tried on one that runs (a Place)."""

import io
import os
import re
import select
import shutil
import socket
import sys
import tarfile

from cli import finish, proa, start, state, until
from sandbox import STATE, TOP
from parity_rows import time_is
from test_machines import Terminal

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

OTHERS = {"build", "builder", "completion", "container", "flows", "fsck", "help", "history", "image", "images", "import", "info",
          "kernel", "load", "login", "policy", "logout", "network", "pull", "push", "receive", "registry", "rmi", "save", "sign", "system", "tag",
          "trust", "verify", "version", "volume"}


def of_the_program():
    """Every verb that the program itself shows."""
    return set(re.findall(r"^  ([a-z-]+)  ", proa("--help").out, re.M))


def reason(result):
    """What a refusal says, without the names of the program and the instance."""
    return result.err.strip().split(": ")[-1]


def attach(p):
    """It sees what the workload writes from then on; with --sig-proxy=false a signal is its own end."""
    if p.kind == "disk":
        t = Terminal("attach", "--detach-keys", "ctrl-a", p.name)
        t.type("\n")
        t.expect("login:")
        t.type("\x01")
        return t.end() == 0 and state(p.name) == "running"
    a = start("attach", "--sig-proxy=false", p.name)
    until(lambda: proa("exec", p.name, "sh", "-c", "echo seen >/proc/2/fd/1") and select.select([a.stdout], [], [], 0.2)[0])
    a.terminate()
    return "seen" in finish(a).out and state(p.name) == "running"


def capture(p):
    """A packet from the host."""
    address = p.inspect()["NetworkSettings"]["IPAddress"]
    seen = start("capture", "-c", "1", "-w", f"{STATE}/tmp/parity.pcap", p.name)

    def knock():
        with socket.socket() as s:
            s.settimeout(0.2)
            s.connect_ex((address, 9))
        return seen.poll() is not None
    until(knock)
    size = os.path.getsize(f"{STATE}/tmp/parity.pcap")
    os.unlink(f"{STATE}/tmp/parity.pcap")
    return finish(seen).rc == 0 and size > 24 + 16


def migrate(p):
    """One without networks and volumes goes to another state directory, and home again, without an end."""
    other, name, copy = f"{STATE}/parity", p.name + "-moved", f"{STATE}/tmp/parity-image"
    if p.kind == "container":
        return reason(proa("migrate", "--to", other, p.name, check=False))
    made = {"light": ["--vm", "busybox", "sleep", "1000"], "disk": ["-m", "192m", "parity-disk:1"]}[p.kind]
    proa("run", "-d", "--network", "none", "--name", name, *made, timeout=120)
    if p.kind == "light":
        proa("save", "-o", copy, "busybox", timeout=60)
        proa("--root", other, "load", "-i", copy, timeout=60)
        os.unlink(copy)
        shutil.copytree(STATE + "/cache/kernel", other + "/cache/kernel", ignore=shutil.ignore_patterns("disk-*"))
    else:
        proa("--root", other, "import", disk.path_of("agent"), "parity-disk:1", timeout=120)
    until(lambda: proa("exec", name, "sh", "-c", "echo kept >/moved", check=False).rc == 0, timeout=120)
    for source, to in ((STATE, other), (other, STATE)):
        proa("--root", source, "migrate", "--to", to, name, timeout=120)
    seen = proa("exec", name, "cat", "/moved", check=False).out
    proa("rm", "-f", name, timeout=60)
    proa("--root", other, "system", "prune", "-a", "-f", timeout=60)
    shutil.rmtree(other)
    return seen == "kept\n"


def changed(p):
    p.sh("echo new >/made; rm -f /etc/passwd-; mkdir -p /dir")
    return p


def commit(p):
    changed(p)
    image = f"parity-{p.kind}:2"
    r = proa("commit", p.name, image, check=False, timeout=60)
    if p.kind == "disk":
        return reason(r)
    found = proa("run", "--rm", "--network", "none", image, "cat", "/made").out == "new\n"
    proa("rmi", image)
    return found


def cp(p):
    proa("cp", "-", f"{p.name}:/tmp", input=archive("inside", b"in\n"), binary=True)
    out = proa("cp", f"{p.name}:/tmp/inside", "-", binary=True).out
    return tarfile.open(fileobj=io.BytesIO(out)).extractfile("inside").read() == b"in\n"


def archive(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def console(p):
    r = proa("console", "--vnc", p.name, check=False)
    return "vnc.sock" in r.out if p.kind == "disk" else reason(r)


def diff(p):
    r = proa("diff", p.name, check=False)
    return reason(r) if p.kind == "disk" else "A /made" in r.lines


def export(p):
    if p.kind == "disk":
        return reason(proa("export", "-o", "/dev/null", p.name, check=False))
    out = proa("export", changed(p).name, binary=True, timeout=60).out
    return tarfile.open(fileobj=io.BytesIO(out)).extractfile("made").read() == b"new\n"


def execute(p):
    user, uid = ("user", "1000") if p.kind == "disk" else ("1:1", "1")
    r = proa("exec", "-i", "-e", "A=b", "-w", "/tmp", "-u", user, p.name, "sh", "-c", "cat; echo $A; pwd; id -u; exit 5",
             input="in\n", check=False)
    return r.lines == ["in", "b", "/tmp", uid] and r.rc == 5


def logs(p):
    return ("login:" if p.kind == "disk" else "ready") in proa("logs", p.name).out


def pause(p):
    proa("pause", p.name)
    return state(p.name) == "paused"


def unpause(p):
    proa("unpause", p.name)
    return state(p.name) == "running" and "up" in p.sh("echo up")


def update(p):
    """What changes while it runs: time, a restart policy, and of a machine of a disk image memory, of others processes."""
    def memory():
        return p.sh("ls -d /sys/devices/system/memory/memory[0-9]*").split()
    before = memory()
    more = ["--memory", "328m"] if p.kind == "disk" else ["--pids-limit", "66"]
    proa("update", "--cpus", "0.7", "--restart", "no", *more, p.name)
    assert time_is("cpu.cfs_quota_us", "cpu.max", "70000")(p) and p.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "no"
    if p.kind == "disk":
        return until(lambda: len(memory()) == len(before) + 1)
    return p.limit("pids.max", "pids.max") == "66"


def ps(p):
    return p.name in proa("ps", "--format", "{{.Names}}").lines


def rename(p):
    proa("rename", p.name, p.name + "-x")
    proa("rename", p.name + "-x", p.name)
    return state(p.name) == "running"


def stats(p):
    row = proa("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", p.name).out
    return "MiB" in row and (p.kind == "disk" or int(row.split()[-1]) >= 2)


def top(p):
    return ("qemu-ga" if p.kind == "disk" else "sleep 1000") in proa("top", p.name).out


def stop(p):
    """By the stop signal that was given, which the workload answers with its own exit code."""
    proa("stop", p.name, timeout=90)
    return p.inspect()["State"]["ExitCode"] == (0 if p.kind == "disk" else 3)


def snapshot(p):
    """Of one that stands still: kept, cloned, gone back to."""
    proa("snapshot", "create", "--name", "then", p.name, timeout=60)
    proa("snapshot", "clone", "--name", p.name + "-clone", f"{p.name}/then", timeout=60)
    cloned = state(p.name + "-clone")
    proa("rm", p.name + "-clone")
    proa("snapshot", "restore", p.name, "then", timeout=60)
    proa("snapshot", "rm", f"{p.name}/then")
    return cloned in ("created", "exited")


def begin(p):
    proa("start", p.name, timeout=120)
    return state(p.name) == "running" and (p.kind == "disk" or "new" in p.sh("cat /made"))


def restart(p):
    proa("restart", p.name, timeout=120)
    return state(p.name) == "running"


def wait(p):
    waiting = start("wait", p.name)
    proa("kill", p.name, timeout=60)
    return finish(waiting, 60).out == "137\n"


def ready(p):
    return proa("logs", p.name).lines.count("ready")


def kill(p):
    until(lambda: state(p.name) == "exited")
    said = ready(p)
    proa("start", p.name, timeout=120)
    if p.kind == "disk":
        proa("kill", p.name)
        return until(lambda: state(p.name) == "exited")
    until(lambda: ready(p) > said)  # or the signal would come before its trap
    proa("kill", "-s", "USR1", p.name)
    until(lambda: state(p.name) == "exited")
    return p.inspect()["State"]["ExitCode"] == 3


def create(p):
    name = p.name + "-c"
    if p.kind == "disk":
        proa("create", "--name", name, "parity-disk:1")
    else:
        proa("create", *(["--vm"] if p.kind == "light" else []), "--name", name, "busybox", "true")
    created = state(name) == "created"
    proa("rm", name)
    return created


def remove(p):
    proa("rm", "-f", p.name, timeout=60)
    return proa("inspect", p.name, check=False).rc != 0


# In this order, on one instance.
VERBS = [
    ("attach", attach),
    ("capture", capture),
    ("commit", commit),
    ("console", console),
    ("cp", cp),
    ("create", create),
    ("diff", diff),
    ("exec", execute),
    ("export", export),
    ("healthcheck", lambda p: "seen" not in proa("healthcheck", "run", p.name, check=False).err),
    ("inspect", lambda p: p.inspect()["Kind"] in ("container", "vm")),
    ("logs", logs),
    ("migrate", migrate),
    ("pause", pause),
    ("unpause", unpause),
    ("update", update),
    ("port", lambda p: "80/tcp" in proa("port", p.name).out),
    ("ps", ps),
    ("rename", rename),
    ("stats", stats),
    ("top", top),
    ("stop", stop),
    ("snapshot", snapshot),
    ("start", begin),
    ("run", lambda p: state(p.name) == "running"),
    ("restart", restart),
    ("wait", wait),
    ("kill", kill),
    ("rm", remove),
]
