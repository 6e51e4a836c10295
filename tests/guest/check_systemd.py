#!/usr/bin/python3
"""proa-oci with the systemd manager: what check_cgroup.py asks of cgroupfs, and what systemd itself says of it."""

import json
import os
import subprocess
import time

import check_cgroup as plain
import checks

UNIT = "checks-box.scope"
plain.MANAGER = ["--systemd-cgroup"]
plain.PATH = "checks-deep.slice:checks:box"
plain.GROUP = f"/checks.slice/checks-deep.slice/{UNIT}"
plain.ANNOTATIONS = {"org.systemd.property.TimeoutStopUSec": "uint64 5000000"}


def show(*names):
    out = checks.command("systemctl", "show", UNIT, *[f"--property={n}" for n in names]).out
    return dict(line.split("=", 1) for line in out.splitlines())


def loaded():
    return show("LoadState")["LoadState"] == "loaded"


def wait_for_the_end():
    for _ in range(100):
        if not loaded():
            return
        time.sleep(0.1)
    raise AssertionError(f"{UNIT} is still there: {show('ActiveState', 'SubState')}")


def case_limits():
    plain.case_limits()
    wait_for_the_end()


def case_life():
    plain.case_life()


def case_update():
    plain.case_update()


def case_pause():
    plain.case_pause()


def case_exec_is_in_the_group():
    plain.case_exec_is_in_the_group()


def case_devices_are_denied():
    plain.case_devices_are_denied()


def case_out_of_memory():
    plain.case_out_of_memory()


def case_the_unit():
    with plain.box(resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 55}}):
        found = show("ActiveState", "Slice", "Delegate", "MemoryMax", "TasksMax", "TimeoutStopUSec")
        checks.equal(found, {"ActiveState": "active", "Slice": "checks-deep.slice", "Delegate": "yes",
                             "MemoryMax": str(64 << 20), "TasksMax": "55", "TimeoutStopUSec": "5s"})
        plain.oci("start", "box")
        plain.oci("update", "--memory", str(48 << 20), "box")
        checks.command("systemctl", "daemon-reload")
        checks.equal((show("MemoryMax")["MemoryMax"], plain.value("memory.max")), (str(48 << 20), str(48 << 20)))
    wait_for_the_end()


def case_systemd_stops_it():
    with plain.box():
        plain.oci("start", "box")
        checks.command("systemctl", "stop", UNIT)
        checks.equal(plain.status(), "stopped")


def case_default_name():
    path, plain.PATH = plain.PATH, ""
    try:
        with plain.box():
            pid = json.loads(plain.oci("state", "box").out)["pid"]
            checks.equal(checks.read(f"/proc/{pid}/cgroup"), "0::/system.slice/proa-box.scope")
    finally:
        plain.PATH = path


def case_a_failed_create_leaves_nothing():
    path = plain.bundle(["true"])
    with open(f"{path}/config.json") as f:
        config = json.load(f)
    config["mounts"].append({"destination": "/nosuch", "type": "bind", "source": "/does/not/exist",
                             "options": ["bind"]})
    with open(f"{path}/config.json", "w") as f:
        json.dump(config, f)
    done = plain.oci("create", "--bundle", path, "box", check=False)
    checks.true(done.code != 0 and len(done.err.splitlines()) == 1 and "/does/not/exist" in done.err, done)
    wait_for_the_end()
    checks.true(not os.path.exists(f"{plain.HOME}/state/box"), "a directory was left")


def case_names_that_are_none():
    for path in ("/checks/box", "a:b", "no slice:a:b", "a.slice:../x:y", "checks.slice:a:b/c"):
        good, plain.PATH = plain.PATH, path
        try:
            done = plain.oci("create", "--bundle", plain.bundle(["true"]), "box", check=False)
        finally:
            plain.PATH = good
        checks.true(done.code != 0 and len(done.err.splitlines()) == 1, (path, done))
        checks.true(not os.path.exists(f"{plain.HOME}/state/box"), "a directory was left")


def case_a_killed_create_is_cleared():
    """A state without a pid, as a killed create leaves it, and its scope around some process."""
    child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
    checks.command("proa-scope", "start", "--system", UNIT, child.pid, "Slice=s checks-deep.slice")
    os.makedirs(f"{plain.HOME}/state/box")
    with open(f"{plain.HOME}/state/box/state.json", "w") as f:
        json.dump({"id": "box", "bundle": "/", "cgroup": plain.GROUP, "slice": "checks-deep.slice", "scope": UNIT,
                   "pid": 0, "startTicks": 0, "owner": 0}, f)
    plain.oci("delete", "--force", "box")
    checks.equal(child.wait(), -9)
    wait_for_the_end()


def as_user(*argv, **kw):
    return checks.command("runuser", "-u", "user", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", *argv, **kw)


def case_the_manager_of_a_user():
    home, group = "/tmp/check-user", "/user.slice/user-1000.slice/user@1000.service/user.slice/proa-box.scope"
    checks.make_root(f"{home}/rootfs")
    checks.command("chown", "-R", "user:", home)
    as_user("proa-oci", "spec", "--rootless", "--bundle", home)
    with open(f"{home}/config.json") as f:
        config = json.load(f)
    config["process"].update(args=["sleep", "1000"], terminal=False)
    config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 55}}
    with open(f"{home}/config.json", "w") as f:
        json.dump(config, f)
    checks.command("systemctl", "start", "user@1000.service")
    oci = ["proa-oci", "--systemd-cgroup", "--root", f"{home}/state"]
    try:
        # What it leaves behind keeps the output: a file, not a pipe that never ends.
        as_user("sh", "-c", f'exec "$@" >{home}/out 2>&1', "sh", *oci, "run", "--detach", "--bundle", home, "box",
                check=False)
        checks.equal(checks.read(f"{home}/out"), "")
        pid = json.loads(as_user(*oci, "state", "box").out)["pid"]
        checks.equal(checks.read(f"/proc/{pid}/cgroup"), f"0::{group}")
        checks.equal([checks.read(f"{plain.TOP}{group}/{n}") for n in ("memory.max", "pids.max")],
                     [str(64 << 20), "55"])
        as_user(*oci, "update", "--memory", str(48 << 20), "box")
        checks.equal(checks.read(f"{plain.TOP}{group}/memory.max"), str(48 << 20))
        checks.equal(as_user(*oci, "exec", "box", "id", "-u").out, "0\n")
    finally:
        as_user(*oci, "delete", "--force", "box")
        checks.command("systemctl", "stop", "user@1000.service")
    checks.true(not os.path.exists(plain.TOP + group), "the group is still there")


if __name__ == "__main__":
    checks.main(globals())
