#!/usr/bin/python3
"""proa-scope and the manager: scopes around a process, their limits, changes to them, their end."""

import contextlib
import os
import subprocess
import time

import checks

TOP = "/sys/fs/cgroup"
UNIT = "checks-box.scope"


def scope(verb, *args, unit=UNIT, **kw):
    return checks.command("proa-scope", verb, "--system", unit, *args, **kw)


def show(*names):
    out = checks.command("systemctl", "show", UNIT, *[f"--property={n}" for n in names]).out
    return dict(line.split("=", 1) for line in out.splitlines())


@contextlib.contextmanager
def process():
    child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def box(*properties):
    """A scope around a process; gives its control group's folder."""
    with process() as child:
        group = scope("start", child.pid, *properties).out.strip()
        try:
            checks.equal(checks.read(TOP + group + "/cgroup.procs"), str(child.pid))
            yield TOP + group
        finally:
            scope("stop")


def case_slices():
    with box("Slice=s checks-deep.slice", "Description=s a box") as group:
        checks.equal(group, f"{TOP}/checks.slice/checks-deep.slice/{UNIT}")
        checks.equal(show("Delegate", "Description", "DefaultDependencies"),
                     {"Delegate": "yes", "Description": "a box", "DefaultDependencies": "no"})
    checks.true(not os.path.exists(group), "the group is still there after the stop")


def case_limits():
    limits = ["MemoryMax=t 67108864", "MemorySwapMax=t 0", "TasksMax=t 55", "CPUWeight=t 39", "AllowedCPUs=ay 01",
              "CPUQuotaPeriodUSec=t 100000", "CPUQuotaPerSecUSec=t 500000"]
    with box(*limits) as group:
        found = [checks.read(f"{group}/{n}") for n in ("memory.max", "memory.swap.max", "pids.max", "cpu.weight",
                                                       "cpuset.cpus", "cpu.max")]
    checks.equal(found, ["67108864", "0", "55", "39", "0", "50000 100000"])


def case_limits_change_and_stay():
    with box("MemoryMax=t 67108864") as group:
        scope("set", "MemoryMax=t 33554432", "TasksMax=t 18446744073709551615")
        checks.command("systemctl", "daemon-reload")
        checks.equal([checks.read(f"{group}/{n}") for n in ("memory.max", "pids.max")], ["33554432", "max"])


def case_lists():
    with box("After=as basic.target\nsysinit.target", "TimeoutStopUSec=t 5000000"):
        found = show("After", "TimeoutStopUSec")
    checks.true({"basic.target", "sysinit.target"} <= set(found["After"].split()), found)
    checks.equal(found["TimeoutStopUSec"], "5s")


def case_a_name_is_used_once():
    with box(), process() as other:
        done = scope("start", other.pid, check=False)
        checks.true(done.code == 1 and UNIT in done.err and len(done.err.splitlines()) == 1, done)


def case_refusals():
    with process() as child:
        for words in (["Nonsense=t 1"], ["MemoryMax=s much"], ["MemoryMax=q 1"], ["MemoryMax"], ["Slice=s nowhere"]):
            done = scope("start", child.pid, *words, check=False)
            checks.true(done.code == 1 and len(done.err.splitlines()) == 1, done)
    done = scope("start", 0x7fffffff, check=False)
    checks.equal(done.code, 1, done)
    checks.equal(scope("set", "MemoryMax=t 1", unit="nosuch.scope", check=False).code, 1)


def case_the_end():
    """A scope goes with its last process, and what is not there is stopped already."""
    with process() as child:
        group = TOP + scope("start", child.pid).out.strip()
    for _ in range(100):
        if not os.path.exists(group):
            break
        time.sleep(0.1)
    checks.true(not os.path.exists(group), "the scope is still there")
    scope("stop")


if __name__ == "__main__":
    checks.main(globals())
