#!/usr/bin/python3
"""Proa's own containers on control groups v2 and an older kernel: what an engine is asked for first."""

import os
import time

import checks

NAME = "guest-box"


def proa(*args, **kw):
    return checks.command("proa", *args, **kw)


def case_import():
    checks.make_root("/tmp/root")
    checks.command("tar", "-C", "/tmp/root", "-cf", "/tmp/root.tar", ".")
    proa("import", "/tmp/root.tar", "box:1")
    checks.true("box" in proa("images").out, "no box")


def case_run():
    checks.equal(proa("run", "--rm", "--network", "none", "box:1", "echo", "hello").out, "hello\n")


def case_exit_status():
    checks.equal(proa("run", "--rm", "--network", "none", "box:1", "sh", "-c", "exit 7", check=False).code, 7)


def case_bridge_network():
    out = proa("run", "--rm", "box:1", "cat", "/proc/net/dev").out
    checks.true("eth0" in out, out)


def case_limits():
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max"
    result = proa("run", "--rm", "--network", "none", "--memory", "64m", "--pids-limit", "55", "--cpus", "0.5", "box:1",
                  "sh", "-c", script)
    checks.equal(result.out.split(), ["67108864", "55", "50000", "100000"], result)


def case_memory_limit_kills():
    result = proa("run", "--rm", "--network", "none", "--memory", "32m", "box:1", "sh", "-c",
                  "dd if=/dev/zero of=/dev/null bs=100M count=1", check=False)
    checks.equal(result.code, 137, result)


def case_stop_leaves_nothing():
    before = {top for top, _, _ in os.walk("/sys/fs/cgroup")}
    proa("run", "-d", "--network", "none", "--name", NAME, "box:1", "sleep", "1000")
    try:
        checks.equal(proa("exec", NAME, "echo", "in").out, "in\n")
        during = {top for top, _, _ in os.walk("/sys/fs/cgroup")} - before
        checks.true(during, "the container has no control group")
    finally:
        proa("rm", "-f", NAME)
    for _ in range(50):
        left = {top for top, _, _ in os.walk("/sys/fs/cgroup")} - before
        if not [top for top in left if os.path.basename(top) != "proa"]:
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {left}")


if __name__ == "__main__":
    checks.main(globals())
