#!/usr/bin/python3
"""proa-oci on control groups v2: limits, updates, freezing, devices, the end; with the cgroupfs manager."""

import contextlib
import json
import os
import subprocess

import checks

HOME = "/tmp/check-cgroup"
ROOT = f"{HOME}/root"
TOP = "/sys/fs/cgroup"
PATH = GROUP = "/checks/box"  # linux.cgroupsPath, and where that is
MANAGER = ["--cgroup-manager", "cgroupfs"]
ANNOTATIONS = {}
EVERYTHING = ["CAP_MKNOD", "CAP_KILL", "CAP_DAC_OVERRIDE"]


def oci(*args, **kw):
    return checks.command("proa-oci", *MANAGER, "--root", f"{HOME}/state", *args, **kw)


def leave(*args):
    """One that leaves a process behind, which keeps the output: to a file, not to a pipe that never ends."""
    with open(f"{HOME}/output", "w+") as f:
        done = subprocess.run(["proa-oci", *MANAGER, "--root", f"{HOME}/state", *args], stdin=subprocess.DEVNULL,
                              stdout=f, stderr=f, timeout=30, check=False)
    checks.equal(done.returncode, 0, checks.read(f"{HOME}/output"))


def bundle(args, resources=None):
    """A bundle in a folder of its own; all use one busybox root."""
    if not os.path.isdir(ROOT):
        checks.make_root(ROOT)
    path = f"{HOME}/bundle"
    os.makedirs(path, exist_ok=True)
    caps = {kind: EVERYTHING for kind in ("bounding", "effective", "permitted")}
    config = {
        "ociVersion": "1.0.2", "root": {"path": ROOT}, "annotations": ANNOTATIONS,
        "process": {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                    "capabilities": caps},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                   {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
                  "cgroupsPath": PATH, "resources": resources or {}},
    }
    with open(f"{path}/config.json", "w") as f:
        json.dump(config, f)
    return path


def value(name):
    return checks.read(f"{TOP}{GROUP}/{name}")


def status():
    return json.loads(oci("state", "box").out)["status"]


@contextlib.contextmanager
def box(args=("sleep", "1000"), resources=None):
    leave("create", "--bundle", bundle(args, resources), "box")
    try:
        yield
    finally:
        oci("delete", "--force", "box")


def case_limits():
    resources = {"memory": {"limit": 64 << 20, "swap": 96 << 20}, "pids": {"limit": 55},
                 "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
                 "unified": {"memory.high": str(32 << 20)}}
    with box(resources=resources):
        found = {n: value(n) for n in ("memory.max", "memory.swap.max", "memory.high", "pids.max", "cpu.max",
                                       "cpu.weight", "cpuset.cpus", "cpuset.mems")}
    checks.equal(found, {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20), "memory.high": str(32 << 20),
                         "pids.max": "55", "cpu.max": "50000 100000", "cpu.weight": "20", "cpuset.cpus": "0",
                         "cpuset.mems": "0"})


def case_life():
    with box():
        checks.equal(status(), "created")
        oci("start", "box")
        checks.equal(status(), "running")
        pid = str(json.loads(oci("state", "box").out)["pid"])
        checks.equal(value("cgroup.procs").split(), [pid])
        checks.equal(json.loads(oci("ps", "--format", "json", "box").out), [int(pid)])
    checks.true(not os.path.exists(TOP + GROUP), "the group is still there after delete")


def case_update():
    with box(resources={"memory": {"limit": 64 << 20}}):
        oci("start", "box")
        oci("update", "--memory", str(48 << 20), "--pids-limit", "33", "--cpu-quota", "20000", "box")
        checks.equal((value("memory.max"), value("pids.max"), value("cpu.max")), (str(48 << 20), "33", "20000 100000"))


def case_pause():
    with box():
        oci("start", "box")
        oci("pause", "box")
        checks.equal((status(), value("cgroup.freeze")), ("paused", "1"))
        oci("resume", "box")
        checks.equal((status(), value("cgroup.freeze")), ("running", "0"))


def case_exec_is_in_the_group():
    with box():
        oci("start", "box")
        checks.equal(oci("exec", "box", "cat", "/proc/self/cgroup").out, "0::/\n")
        leave("exec", "--detach", "--pid-file", f"{HOME}/pid", "box", "sleep", "1000")
        checks.equal(checks.read(f"/proc/{checks.read(f'{HOME}/pid')}/cgroup"), f"0::{GROUP}")


def opens(access):
    """A disk of the guest is opened: no other rule of the kernel's is in the way of that."""
    disk = os.stat("/dev/vda").st_rdev
    rules = [{"allow": False, "access": "rwm"},
             {"allow": True, "type": "b", "major": os.major(disk), "minor": os.minor(disk), "access": access}]
    script = f"/bin/busybox mknod /dev/k b {os.major(disk)} {os.minor(disk)} || exit 9; exec 3</dev/k"
    return oci("run", "--bundle", bundle(["sh", "-c", script], {"devices": rules}), "box", check=False)


def case_devices_are_denied():
    # The node may be made in both, so that what differs is the opening alone.
    allowed, denied = opens("rwm"), opens("m")
    checks.equal(allowed.code, 0, allowed)
    checks.true(denied.code not in (0, 9) and "Operation not permitted" in denied.err, denied)


def case_out_of_memory():
    script = "dd if=/dev/zero of=/dev/null bs=100M count=1"
    path = bundle(["sh", "-c", "exec " + script], {"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    result = oci("run", "--bundle", path, "box", check=False)
    checks.equal(result.code, 137, result)


if __name__ == "__main__":
    checks.main(globals())
