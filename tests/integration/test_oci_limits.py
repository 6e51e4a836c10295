"""What proa-oci asks of control groups: directories, limits, updates of a running container, statistics."""

import json
import os
import time

import pytest

from cli import until
from oci_bundle import Bundle, Runtime
from sandbox import cgroup_mounts

CGROUP = "/sys/fs/cgroup"


@pytest.fixture
def oci(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    runtime.clear()


@pytest.fixture
def oci_v1(tmp_path):
    """On a host that has v1 hierarchies only: no cgroup.kill, no cgroup.freeze, no programs for devices."""
    if points("cgroup2") == [CGROUP]:
        pytest.skip("this host has control groups v2 only")
    script = f'umount {CGROUP}/unified && exec "$@"'
    runtime = Runtime(tmp_path, ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"))
    yield runtime
    runtime.clear()


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    made.group = f"/proa/limits-{os.getpid()}-{time.monotonic_ns()}"
    made.config["linux"]["cgroupsPath"] = made.group
    return made


def points(kind):
    return [point for point, found, _ in cgroup_mounts() if found == kind]


def value(bundle, file):
    """The content of a file of the container's control group, of whichever hierarchy has it."""
    for point in points("cgroup") + points("cgroup2"):
        path = point + bundle.group + "/" + file
        if os.path.exists(path):
            with open(path) as f:
                return f.read().strip()
    raise AssertionError(f"no {file}")


def resources(bundle, **members):
    bundle.config["linux"].setdefault("resources", {}).update(members)


def update(oci, name, check=True, **members):
    return oci("update", "--resources", "-", name, input=json.dumps(members), check=check)


def test_a_directory_in_every_hierarchy(oci, bundle):
    name = bundle.start(oci, "sleep", "1000")
    pid = str(oci.state(name)["pid"])
    for point in points("cgroup") + points("cgroup2"):
        with open(point + bundle.group + "/cgroup.procs") as f:
            assert f.read().split() == [pid], point
    oci("delete", "--force", name, check=True)
    assert not [point for point in points("cgroup") + points("cgroup2") if os.path.exists(point + bundle.group)]


def test_an_update_leaves_the_devices_alone(oci, bundle):
    name = bundle.start(oci, "sh", "-c", "while sleep 0.05; do cat /dev/null && echo x >/dev/null && echo fine; done")
    update(oci, name, pids={"limit": 33})
    before = oci.output().count("fine")
    until(lambda: oci.output().count("fine") > before + 2)
    assert oci("exec", name, "sh", "-c", "echo x >/dev/null; head -c 1 /dev/zero | wc -c", check=True).lines == ["1"]


def test_memory_may_grow_and_shrink(oci, bundle):
    if points("cgroup2") == [CGROUP]:
        pytest.skip("the order matters on v1 only")
    mega = 1 << 20
    resources(bundle, memory={"limit": 64 * mega, "swap": 128 * mega})
    name = bundle.start(oci, "sleep", "1000")
    for memory, swap in ((256, 512), (32, 48), (300, 300), (16, 16)):
        update(oci, name, memory={"limit": memory * mega, "swap": swap * mega})
        assert value(bundle, "memory.limit_in_bytes") == str(memory * mega)
        assert value(bundle, "memory.memsw.limit_in_bytes") == str(swap * mega)
    update(oci, name, memory={"limit": -1})
    assert int(value(bundle, "memory.limit_in_bytes")) > 1 << 60
    assert int(value(bundle, "memory.memsw.limit_in_bytes")) > 1 << 60
    oci("exec", name, "sh", "-c", "head -c 8000000 /dev/zero >/tmp/file", check=True)
    done = update(oci, name, check=False, memory={"limit": mega, "checkBeforeUpdate": True})
    assert "more than the new limit" in done.err


def test_cpu_time_may_grow_and_shrink(oci, bundle):
    if points("cgroup2") == [CGROUP]:
        pytest.skip("tests/guest has the same for v2")
    resources(bundle, cpu={"quota": 50000, "period": 100000, "burst": 10000, "shares": 512})
    name = bundle.start(oci, "sleep", "1000")
    files = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.shares", "cpu.idle")
    assert [value(bundle, f) for f in files] == ["50000", "100000", "10000", "512", "0"]
    for quota, period, burst in ((5000, 10000, 1000), (900000, 1000000, 800000), (2000, 100000, 0)):
        update(oci, name, cpu={"quota": quota, "period": period, "burst": burst})
        assert [value(bundle, f) for f in files[:3]] == [str(quota), str(period), str(burst)]
    update(oci, name, cpu={"idle": 1})
    assert value(bundle, "cpu.idle") == "1"
    update(oci, name, cpu={"idle": 0, "shares": 700})
    assert [value(bundle, f) for f in files[3:]] == ["700", "0"]
    assert value(bundle, "cpu.cfs_quota_us") == "2000"


def test_what_this_host_cannot_limit_is_refused(oci, bundle):
    for members in ({"unified": {"memory.high": "1000000"}} if points("cgroup2") != [CGROUP] else {"network": {"classID": 1}},
                    {"rdma": {"nosuch0": {"hcaHandles": 1}}}):
        bundle.config["linux"]["resources"] = members
        done = bundle.run(oci, "true", check=False)
        assert done.code != 0 and len(done.err.splitlines()) == 1, done


def frozen(bundle, state):
    with open(f"{CGROUP}/freezer{bundle.group}/freezer.state", "w") as f:
        f.write(state)


def test_plain_v1_freezes_and_kills(oci_v1, bundle):
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "pid"]
    name = bundle.start(oci_v1, "sh", "-c", "while :; do sleep 0.01 & wait; done")
    assert not os.path.exists(f"{CGROUP}/unified{bundle.group}")
    for _ in range(5):
        oci_v1("pause", name, check=True)
        assert value(bundle, "freezer.state") == "FROZEN"
        assert oci_v1.state(name)["status"] == "paused"
        oci_v1("resume", name, check=True)
        assert oci_v1.state(name)["status"] == "running"
    oci_v1("pause", name, check=True)
    pids = value(bundle, "cgroup.procs").split()
    oci_v1("delete", "--force", name, check=True)
    assert not os.path.exists(f"{CGROUP}/freezer{bundle.group}")
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_plain_v1_denies_devices(oci_v1, bundle):
    name = bundle.start(oci_v1, "sleep", "1000")
    assert "c 1:3 rwm" in value(bundle, "devices.list")
    assert "a *:* rwm" not in value(bundle, "devices.list")
    assert oci_v1("exec", name, "sh", "-c", "echo x >/dev/null", check=True)


def test_one_that_the_freezer_of_v1_holds_is_paused_and_can_be_deleted(oci, bundle):
    if points("cgroup2") == [CGROUP]:
        pytest.skip("there is no such freezer")
    name = bundle.start(oci, "sleep", "1000")
    frozen(bundle, "FROZEN")
    assert oci.state(name)["status"] == "paused"
    oci("resume", name, check=True)
    assert oci.state(name)["status"] == "running"
    frozen(bundle, "FROZEN")
    oci("delete", "--force", name, check=True)
    assert not os.path.exists(f"{CGROUP}/freezer{bundle.group}")


@pytest.mark.parametrize("words", [["--systemd-cgroup"], ["--cgroup-manager", "systemd"], ["--cgroup-manager=systemd"]])
def test_the_systemd_manager_is_for_hosts_that_have_it(oci, bundle, words):
    """Where it is, tests/guest/check_systemd.py runs it."""
    if os.path.isdir("/run/systemd/system") and points("cgroup2") == [CGROUP]:
        words = [*words, "--cgroup-manager", "none"]
    bundle.write("true")
    done = oci(*words, "run", "--bundle", bundle.path, "c", check=False)
    assert len(done.err.splitlines()) == 1 and "--cgroup-manager" in done.err, done
    assert oci.ids() == []
