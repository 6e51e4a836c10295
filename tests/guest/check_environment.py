#!/usr/bin/python3
"""That the guest is what the other checks take it for."""

import os

import checks


def case_control_groups_v2():
    mounts = [line.split() for line in checks.read("/proc/mounts").splitlines()]
    checks.equal([(m[1], m[2]) for m in mounts if m[2].startswith("cgroup")], [("/sys/fs/cgroup", "cgroup2")])


def case_controllers():
    there = set(checks.read("/sys/fs/cgroup/cgroup.controllers").split())
    checks.equal({"cpu", "cpuset", "io", "memory", "pids"} - there, set(), there)


def case_systemd_is_process_1():
    checks.equal(checks.read("/proc/1/comm"), "systemd")
    checks.equal(checks.command("systemctl", "is-active", "guest.service", check=False).out.strip(), "active")


def case_systemd_answers_on_the_bus():
    version = checks.command("busctl", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                             "org.freedesktop.systemd1.Manager", "Version")
    checks.true(version.out.startswith('s "252'), version)


def case_a_user_has_a_manager():
    checks.command("systemctl", "start", "user@1000.service")
    checks.true(os.path.exists("/run/user/1000/bus"), os.listdir("/run/user/1000"))
    granted = checks.read("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers").split()
    checks.equal({"memory", "pids"} - set(granted), set(), granted)


def case_kernel_is_6_1():
    checks.equal(os.uname().release.split(".")[:2], ["6", "1"])


if __name__ == "__main__":
    checks.main(globals())
