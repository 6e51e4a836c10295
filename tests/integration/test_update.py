"""`update`: limits that change while an instance runs, what keeps them, and what is refused."""

import os

import pytest

from cli import inspect, proa, refuse, state, until
from parity_rows import Place
from sandbox import cgroup_mounts


def seen(place, controller, v1, v2):
    """As Place.limit, but from the host: a container has mounted the hierarchies that it was started in."""
    if place.kind != "container":
        return place.limit(v1, v2)
    with open(f"/proc/{place.inspect()['State']['Pid']}/cgroup") as f:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    for point, kind, options in cgroup_mounts():
        names = [n for n in groups if controller in n.split(",")] if kind == "cgroup" else [""]
        path = f"{point}{groups[names[0]]}/{v1 if kind == 'cgroup' else v2}" if names else ""
        if (kind == "cgroup2" or controller in options.split(",")) and os.path.exists(path):
            with open(path) as f:
                return f.read().strip()
    return None


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
        proa("restart", "-t", "0", name, timeout=60)
    proa("update", "--pids-limit", "-1", name)
    assert seen(place, "pids", "pids.max", "pids.max") == "max"
    assert inspect(name)["HostConfig"]["PidsLimit"] == -1
    proa("rm", "-f", name, timeout=60)


def test_memory(place, name, kind):
    """A container is told while it runs, one that had no limit, too; a machine at its next start."""
    if kind == "container":
        proa("update", "-m", "64m", name)
    else:
        refuse("update", "-m", "150m", name, rc=1, say="stop it first")
        refuse("update", "--cpus", "2", name, rc=1, say="stop it first")
        refuse("update", "--memory-reservation", "50m", name, rc=1, say="--memory-reservation")
        assert inspect(name)["HostConfig"]["Memory"] == 0
        proa("stop", "-t", "0", name, timeout=60)
        proa("update", "-m", "150m", name)
        proa("start", name, timeout=60)
    if kind == "container":
        assert seen(place, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        assert proa("exec", name, "sh", "-c", "head -c 100000000 /dev/zero | tail -c 99999999 | wc -c", check=False).out != "99999999\n"
    else:
        assert int(place.sh("grep MemTotal /proc/meminfo").split()[1]) < 150 << 10
    proa("rm", "-f", name, timeout=60)


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
