"""`update`: limits that change while an instance runs, what keeps them, and what is refused."""

import os
import subprocess

import pytest

from cli import inspect, proa, refuse, state, until
from parity_rows import Place
from sandbox import cgroup_mounts


def seen(place, controller, v1, v2):
    """As Place.limit, but from the host: a container has mounted the hierarchies that it was started in."""
    if place.kind != "container":
        return place.limit(v1, v2)
    return place.host_limit(controller, v1, v2)


@pytest.fixture
def place(kind, flags, name):
    proa("run", "-d", *flags, "--name", name, "--network", "none", *(["--cpus", "1"] if flags else []), "busybox", "sleep",
         "100000", timeout=60)
    return Place("container" if kind == "container" else "light", name)


def test_limits_change_and_stay(place, name):
    proa("update", "--cpus", "0.5", "--cpu-shares", "300", "--pids-limit", "55", name)
    for _ in range(2):
        assert "50000" in seen(place, "cpu", "cpu.cfs_quota_us", "cpu.max")
        assert seen(place, "cpu", "cpu.shares", "cpu.weight") in ("300", "12")
        assert seen(place, "pids", "pids.max", "pids.max") == "55"
        assert proa("stats", "--no-stream", "--format", "{{.PIDs}}", name).rc == 0
        if place.kind == "light" and os.path.ismount("/sys/fs/cgroup"):
            assert place.host_limit("cpu", "cpu.cfs_quota_us", "cpu.max") in (None, "50000", "50000 100000")
            assert place.host_limit("cpu", "cpu.shares", "cpu.weight") in (None, "300", "12")
        proa("restart", "-t", "0", name, timeout=60)
    proa("update", "--pids-limit", "-1", name)
    assert seen(place, "pids", "pids.max", "pids.max") == "max"
    assert inspect(name)["HostConfig"]["PidsLimit"] == -1
    proa("rm", "-f", name, timeout=60)


# Of a machine's QEMU: controller, file by either version's name, and what is there when it has started, and after the update.
SHARES = [
    ("cpu", "cpu.cfs_quota_us", "cpu.max", ("30000", "30000 60000"), ("25000", "25000 100000")),
    ("cpu", "cpu.cfs_period_us", "cpu.max", ("60000", "30000 60000"), ("100000", "25000 100000")),
    ("cpu", "cpu.shares", "cpu.weight", ("512", "20"), ("300", "12")),
    ("cpuset", "cpuset.mems", "cpuset.mems", ("0",), ("0",)),
    ("blkio", "blkio*.weight", "io.bfq.weight", ("200", "default 200"), ("300", "default 300")),
    ("memory", "memory.soft_limit_in_bytes", "memory.low", (str(64 << 20),), (str(50 << 20),)),
]


@pytest.mark.vm
@pytest.mark.parametrize("boots", ["image", "disk"])
def test_a_machines_part_of_the_host(name, tmp_path, boots):
    """Limits of the control group that a machine's QEMU is in: from the start on, after an update and a restart; what bounds its
    memory stays as it is."""
    image = ["--vm", "busybox", "sleep", "100000"]
    if boots == "disk":
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "empty.qcow2", "8M"], check=True)
        proa("import", tmp_path / "empty.qcow2", "empty-disk:latest")
        image = ["empty-disk"]
    proa("run", "-d", "--name", name, "--network", "none", "-m", "128m", "--cpu-quota", "30000", "--cpu-period", "60000",
         "--cpu-shares", "512", "--cpuset-mems", "0", "--blkio-weight", "200", "--memory-reservation", "64m", "--cgroup-parent",
         f"/{name}/of-both", *image, timeout=60)
    place = Place("disk" if boots == "disk" else "light", name)
    group = f"/{name}/of-both/{inspect(name)['Id']}"

    def wall():
        return place.host_limit("memory", "memory.limit_in_bytes", "memory.max")

    def faults(phase):
        return [(v1, place.host_limit(controller, v1, v2)) for controller, v1, v2, *wanted in SHARES
                if place.host_limit(controller, v1, v2) not in wanted[phase]]
    before = wall()
    assert not faults(0) and int(before) > 256 << 20
    proa("update", "--cpus", "0.25", "--cpu-shares", "300", "--blkio-weight", "300", "--memory-reservation", "50m", name)
    assert not faults(1) and wall() == before
    proa("restart", "-t", "0", name, timeout=60)
    assert not faults(1) and wall() == before
    assert group in open(f"/proc/{place.host_pid()}/cgroup").read(), "below the parent that was given"
    proa("rm", "-f", name, timeout=60)
    for point, _, _ in cgroup_mounts():
        assert not os.path.exists(point + group), "nothing of its own is left"
        if os.path.isdir(f"{point}/{name}"):
            os.rmdir(f"{point}/{name}/of-both")
            os.rmdir(f"{point}/{name}")
    if boots == "disk":
        proa("rmi", "empty-disk")


def total(place):
    return int(place.sh("grep MemTotal /proc/meminfo").split()[1]) >> 10


def test_memory(name):
    """A container is told while it runs, one that had no limit, too."""
    proa("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "100000")
    proa("update", "-m", "64m", name)
    assert seen(Place("container", name), "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert proa("exec", name, "sh", "-c", EAT, check=False).out != "99999999\n"
    proa("rm", "-f", name, timeout=60)


EAT = "head -c 100000000 /dev/zero | tail -c 99999999 | wc -c"
EAT_AT_ONCE = "dd if=/dev/zero of=/dev/null bs=56M count=1 && echo eaten"
FILL = "dd if=/dev/zero of=/ram/x bs=1M count=112 && echo filled"


@pytest.mark.vm
def test_memory_of_a_machine(name):
    """Less while it runs, inside and outside, and again what it was started with; kept for the next start."""
    proa("run", "-d", "--vm", "--name", name, "--network", "none", "--tmpfs", "/ram:size=200m", "busybox", "sleep", "100000",
         timeout=60)
    place = Place("light", name)
    begun = total(place)
    wall = place.host_limit("memory", "memory.limit_in_bytes", "memory.max")
    proa("update", "-m", "128m", name)
    assert begun - total(place) == 128 and inspect(name)["HostConfig"]["Memory"] == 128 << 20
    shown = proa("stats", "--no-stream", "--format", "{{.MemUsage}}", name).out
    assert f"{total(place)}" in shown.split("/")[1], shown
    if wall is not None:
        assert int(wall) - int(place.host_limit("memory", "memory.limit_in_bytes", "memory.max")) == 128 << 20
    assert proa("exec", name, "sh", "-c", EAT_AT_ONCE, check=False).out == "", "it has more than there is"
    assert proa("exec", name, "echo", "well").out == "well\n", "the machine has died of its workload"
    refuse("update", "-m", "300m", name, rc=1, say=["256 MiB", "stop it first"])
    refuse("update", "-m", "64m", name, rc=1, say="at least 96 MiB")
    refuse("update", "--cpus", "2", name, rc=1, say="stop it first")
    # Its memory fits a machine that was started with as much as this one.
    proa("snapshot", "create", "--memory", "--name", name, name, timeout=60)
    proa("snapshot", "restore", "--force", name, name, timeout=60)
    assert begun - total(place) == 128
    proa("update", "-m", "256m", name)
    assert total(place) == begun
    assert proa("exec", name, "sh", "-c", FILL).out == "filled\n"
    refuse("update", "-m", "128m", name, rc=1, say=["workload uses", "nothing is changed"])
    assert total(place) == begun and inspect(name)["HostConfig"]["Memory"] == 256 << 20
    proa("exec", name, "rm", "/ram/x")
    proa("update", "-m", "150m", name)
    proa("restart", "-t", "0", name, timeout=60)
    assert total(place) < 150
    refuse("update", "-m", "256m", name, rc=1, say=["150 MiB", "stop it first"])
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", name)


def test_the_restart_policy(name):
    """The monitor of an instance that runs hears of it."""
    proa("run", "-d", "--name", name, "--network", "none", "busybox", "sh", "-c",
         "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    proa("update", "--restart", "on-failure:2", name)
    assert inspect(name)["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
    proa("exec", name, "kill", "-TERM", "1")
    until(lambda: inspect(name)["RestartCount"] == 1 and state(name) == "running")
    proa("update", "--restart", "no", name)
    proa("exec", name, "kill", "-TERM", "1")
    until(lambda: state(name) == "exited")
    assert inspect(name)["RestartCount"] == 1
    proa("rm", name)


def test_words(name):
    proa("create", "--name", name, "busybox", "true")
    refuse("update", "-m", "1m", name, rc=1, say="--memory")
    refuse("update", "--restart", "often", name, rc=1, say="--restart")
    refuse("update", "--cpus", "1", "--cpu-quota", "5000", name, rc=1, say="--cpus excludes")
    refuse("update", "--cpus", "1", "not-there", rc=1, say="not-there")
    proa("update", "--cpus", "1", name)
    proa("update", "--cpu-quota", "5000", name)  # the other way to say it: the last one counts
    assert inspect(name)["HostConfig"].get("NanoCpus", 0) == 0
    proa("rm", name)
