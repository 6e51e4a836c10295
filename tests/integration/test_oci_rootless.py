"""Podman drives the runtime as an ordinary user: user namespaces, no control groups of its own, slirp4netns."""

import os
import pathlib
import re
import shutil
import uuid

import pytest

import oci_cases as cases
from oci_clients import IMAGE, Rootless

# What an ordinary user cannot have on control groups of version 1, and what no user namespace gives.
NOT_FOR_USERS = {"limits", "pids-limit", "device-denied", "privileged", "volume-ro"}
RUN = [case for case in cases.RUN if case[0] not in NOT_FOR_USERS]


@pytest.fixture(scope="module")
def podman(house):
    client = Rootless()
    yield client
    client.close()


@pytest.fixture(scope="module")
def box(podman):
    podman("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "100000")
    yield "box"
    podman.remove("box")


@pytest.fixture
def name(podman):
    chosen = "c-" + uuid.uuid4().hex[:8]
    yield chosen
    podman.remove(chosen)


@pytest.fixture
def folder(podman, name):
    """A folder of the user's."""
    path = pathlib.Path(podman.run, "home", name)
    path.mkdir()
    os.chown(path, podman.UID, podman.UID)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def status(podman):
    def read(name):
        state = podman("inspect", name).json[0]["State"]
        return state["Status"], state["ExitCode"]
    return read


def test_it_is_an_ordinary_user(podman, box):
    assert podman("info", "--format", "{{.Host.Security.Rootless}} {{.Host.OCIRuntime.Path}}").out.split() == ["true", podman.runtime]
    maps = podman("exec", box, "cat", "/proc/self/uid_map").out.split()
    assert maps == ["0", str(podman.UID), "1", "1", str(podman.RANGE), "65536"]


@pytest.mark.parametrize("case", RUN, ids=cases.ids(RUN))
def test_run(podman, case, folder):
    cases.run_case(podman, case, folder)


def test_exit_codes(podman):
    cases.exit_codes(podman)


@pytest.mark.parametrize("case", cases.EXEC, ids=cases.ids(cases.EXEC))
def test_exec(podman, box, case):
    cases.exec_case(podman, box, case)


def test_exec_detached(podman, box):
    cases.exec_detached(podman, box)


def test_tty(podman, name):
    cases.tty(podman, name)


def test_exec_tty(podman, box):
    cases.exec_tty(podman, box)


def test_kill_wait_logs(podman, name):
    cases.kill_and_wait(podman, name)


def test_stop_start_restart(podman, name, status):
    cases.stop(podman, name, status)


def test_keep_id(podman):
    """The user's own number is the same inside."""
    out = podman("run", "--rm", "--network", "none", "--userns", "keep-id", IMAGE, "sh", "-c", "id -u; cat /proc/self/uid_map").out
    assert out.split()[0] == str(podman.UID), out


def test_host_network(podman):
    """/sys cannot be mounted for a network namespace that is not one's own: it is bound."""
    out = podman("run", "--rm", "--network", "host", IMAGE, "sh", "-c", "ip -o link; stat -f -c %T /sys").out
    assert "up0" in out and "sysfs" in out.split(), out


def test_network(podman):
    out = podman("run", "--rm", "--network", "slirp4netns", IMAGE, "ip", "-o", "addr").out
    assert re.search(r"tap0 +inet 10\.0\.2\.100/", out), out


def test_files_belong_to_the_user(podman, folder):
    podman("run", "--rm", "--network", "none", "-v", f"{folder}:/d", IMAGE, "sh", "-c", "echo x >/d/made; touch /d/other; chown 7 /d/other")
    assert (folder / "made").stat().st_uid == podman.UID
    assert (folder / "other").stat().st_uid == podman.RANGE + 6


def test_build(podman, folder):
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN id -u >/built\nUSER user\nRUN id -u >/tmp/made\nCMD cat /built /tmp/made\n")
    podman("build", "-q", "--isolation", "oci", "--network", "none", "-t", "built", folder, timeout=120)
    try:
        assert podman("run", "--rm", "--network", "none", "built").out == "0\n1000\n"
    finally:
        podman("rmi", "-f", "built")
