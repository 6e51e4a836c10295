"""proa-oci checkpoint and restore on this machine, by itself and through Podman and containerd.

CRIU has to know the kernel: where the installed one does not, Debian 13's takes its place (scripts/fetch) in the
session's own mounts. The cases are in tests/guest/checkpoint_cases.py; test_guest.py runs some of them with Debian
12's criu on the kernel that it knows.
"""

import os
import re
import shutil
import subprocess
import sys
import uuid

import pytest

from cli import BUILD, PATIENCE, command, environment, until
from oci_bundle import Bundle, Runtime
from oci_clients import IMAGE, Containerd, Podman
from sandbox import STATE, TOP

GUEST = os.path.join(TOP, "tests/guest")
CASES = os.path.join(GUEST, "checkpoint_cases.py")
INSTALLED = "/usr/sbin/criu"
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
sys.path.insert(0, GUEST)

import checks  # noqa: E402


def works():
    return subprocess.run([INSTALLED, "check"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def criu(house, fetched):
    """An installed criu that works."""
    replaced = not works()
    if replaced:
        newer = subprocess.run([os.path.join(TOP, "scripts/fetch"), "--print", "criu"], text=True, capture_output=True,
                               check=True).stdout.strip()
        command(["mount", "--bind", newer, INSTALLED])
    assert works(), "neither the installed criu nor Debian 13's works on this kernel"
    yield INSTALLED
    if replaced:
        command(["umount", INSTALLED])


@pytest.fixture
def oci(tmp_path):
    runtime = Runtime(tmp_path)
    yield runtime
    runtime.clear()


@pytest.fixture
def counting(oci, tmp_path):
    bundle = Bundle(tmp_path)
    bundle.config["process"]["noNewPrivileges"] = False
    yield bundle.start(oci, "sh", "-c", COUNT)


def wanted():
    with open(CASES) as f:
        return checks.cases(f.read())


@pytest.fixture(scope="module")
def said(criu):
    home = STATE + "/checkpoint"
    env = environment({"PATH": f"{BUILD}:{os.environ['PATH']}", "CHECK_HOME": home})
    done = subprocess.run([sys.executable, CASES], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env,
                          timeout=300 * PATIENCE)
    shutil.rmtree(home)
    return done.stdout + done.stderr


@pytest.mark.parametrize("case", wanted())
def test_case(said, case):
    assert re.search(rf"^ok {case}: ", said, re.MULTILINE), said


def hidden(*argv):
    """As on a machine without criu."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/sbin && exec "$@"', "--", *argv]


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_without_criu_one_line_names_the_package(oci, counting, tmp_path, verb):
    image = tmp_path / "image"
    if verb == "restore":
        image.mkdir()
        (image / "descriptors.json").write_text("[]")
    args = {"checkpoint": ["checkpoint", "--image-path", image, counting],
            "restore": ["restore", "--detach", "--image-path", image, "--bundle", oci.state(counting)["bundle"], "other"]}[verb]
    done = oci(*args, prefix=hidden(), check=False)
    assert done.lines == [] and len(done.err.splitlines()) == 1
    assert f"{verb} needs the program criu, which is not installed (Debian's package criu)" in done.err
    assert oci.ids() == [counting] and oci.state(counting)["status"] == "running"


@pytest.mark.parametrize("script,why", [("exit 1", "it ended without an answer"), ("exec sleep 0.2", "it ended without an answer"),
                                        ("dd bs=100000 count=1 <&3 >/dev/null 2>&1; printf nonsense >&3; sleep 0.5", "understand criu")])
def test_a_criu_that_does_not_work(oci, counting, tmp_path, script, why):
    """One that the kernel is too new for ends without an answer, for example."""
    program = tmp_path / "criu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    env = environment({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    image = tmp_path / "image"
    done = oci("checkpoint", "--image-path", image, counting, check=False, env=env)
    assert why in done.err and len(done.err.splitlines()) == 1
    assert oci.state(counting)["status"] == "running"
    done = oci("restore", "--detach", "--image-path", image, "--bundle", oci.state(counting)["bundle"], "other", check=False, env=env)
    assert why in done.err and len(done.err.splitlines()) == 1
    assert oci.ids() == [counting]


def test_wrong_command_lines(oci, counting, tmp_path):
    image = tmp_path / "image"
    for flags, why in ((["--lazy-pages"], "--lazy-pages: memory over the network is not supported"),
                       (["--page-server", "127.0.0.1:1"], "--page-server: memory over the network is not supported"),
                       (["--status-fd", "3"], "--status-fd: memory over the network is not supported"),
                       (["--manage-cgroups-mode", "some"], "soft, full, strict or ignore"),
                       (["--empty-ns", "uts"], "--empty-ns is network")):
        assert why in oci("checkpoint", "--image-path", image, *flags, counting, check=False).err
        assert not image.exists()
    assert "does not exist" in oci("checkpoint", "--image-path", image, "nosuch", check=False).err
    assert "make the directory" in oci("checkpoint", "--image-path", tmp_path / "no/where", counting, check=False).err
    bundle = oci.state(counting)["bundle"]
    done = oci("restore", "--image-path", tmp_path / "nowhere", "--bundle", bundle, "other", check=False)
    assert "open the image" in done.err and "no such file or directory" in done.err
    image.mkdir()
    done = oci("restore", "--image-path", image, "--bundle", bundle, "other", check=False)
    assert "descriptors.json" in done.err
    assert "bundle" in oci("restore", "--image-path", image, "--bundle", tmp_path / "nowhere", "other", check=False).err
    assert oci.ids() == [counting] and oci.state(counting)["status"] == "running"


def test_one_that_does_not_run(oci, tmp_path):
    bundle = Bundle(tmp_path).write("sleep", "1000")
    assert oci.background("create", "--bundle", bundle.path, "c").returncode == 0
    image = tmp_path / "image"
    assert "cannot be checkpointed in created state" in oci("checkpoint", "--image-path", image, "c", check=False).err
    oci("start", "c", check=True)
    oci("kill", "c", "KILL", check=True)
    until(lambda: oci.state("c")["status"] == "stopped")
    assert "cannot be checkpointed in stopped state" in oci("checkpoint", "--image-path", image, "c", check=False).err
    assert not image.exists()


@pytest.fixture(scope="module")
def podman(criu):
    client = Podman()
    client("run", "-d", "--name", "stays", "--network", "none", IMAGE, "sleep", "100000")  # the store stays mounted
    yield client
    client.close()


@pytest.fixture
def name(podman):
    chosen = "c-" + uuid.uuid4().hex[:8]
    yield chosen
    podman.remove(chosen)


def counted(client, *argv):
    """The numbers in a log, each of which is one more than that before: it went on where it was."""
    numbers = [int(line) for line in client(*argv).lines]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    return len(numbers)


def counts_on(client, *argv, by=5):
    before = counted(client, *argv)
    until(lambda: counted(client, *argv) >= before + by)


@pytest.mark.parametrize("network", ["none", "bridge"])
def test_podman(podman, name, network):
    podman("run", "-d", "--name", name, "--network", network, "-v", f"{podman.run}/tmp:/data", IMAGE, "sh", "-c", COUNT)
    counts_on(podman, "logs", name)
    podman("container", "checkpoint", name)
    inspected = podman("inspect", name).json[0]["State"]
    assert inspected["Status"] == "exited" and inspected["Checkpointed"]
    podman("container", "restore", name)
    inspected = podman("inspect", name).json[0]["State"]
    assert inspected["Status"] == "running" and inspected["Restored"]
    counts_on(podman, "logs", name)
    assert podman("exec", name, "ls", "/data").rc == 0
    podman("container", "checkpoint", "--leave-running", name)
    counts_on(podman, "logs", name)
    podman("stop", "-t", "0", name)
    assert podman("inspect", name).json[0]["State"]["Status"] == "exited"


def test_podman_moves_a_container(podman, name, tmp_path):
    """Exported, removed, and made again under another name."""
    podman("run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c", "echo kept >/kept; " + COUNT)
    counts_on(podman, "logs", name)
    podman("container", "checkpoint", "--export", tmp_path / "export.tar.gz", name)
    podman.remove(name)
    other = name + "-other"
    try:
        podman("container", "restore", "--import", tmp_path / "export.tar.gz", "--name", other)
        counts_on(podman, "logs", other)  # the log came along
        assert podman("exec", other, "cat", "/kept").out == "kept\n"
    finally:
        podman.remove(other)


def test_podman_with_a_terminal(podman, name):
    podman("run", "-dt", "--name", name, "--network", "none", IMAGE, "sh", "-c", COUNT)
    until(lambda: len(podman("logs", name).lines) > 3)
    podman("container", "checkpoint", name)
    before = len(podman("logs", name).lines)
    podman("container", "restore", name)
    until(lambda: len(podman("logs", name).lines) > before + 3)
    assert podman("exec", name, "tty", check=False).out == "not a tty\n"


@pytest.fixture(scope="module")
def ctr(criu):
    client = Containerd()
    yield client
    client.close()


def test_containerd(ctr):
    name, other = "c-" + uuid.uuid4().hex[:8], "c-" + uuid.uuid4().hex[:8]
    image = "checkpoint/" + name + ":1"
    ctr.start(name, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done", flags=["-d"])

    def count(of):
        return int(ctr("task", "exec", "--exec-id", uuid.uuid4().hex[:8], of, "cat", "/count").out or 0)
    try:
        until(lambda: count(name) > 20)
        ctr("containers", "checkpoint", "--task", "--rw", "--image", name, image)
        before = count(name)
        assert before > 20
        ctr("containers", "restore", "--rw", "--live", other, image)
        start = count(other)
        assert start >= before - 10  # not from the beginning
        until(lambda: count(other) > start + 3)
    finally:
        for one in (name, other):
            ctr("task", "kill", "-s", "9", "-a", one, check=False)
            until(lambda: f"{one} " not in ctr("task", "ls").out or ctr("task", "rm", one, check=False).rc == 0)
            ctr("container", "rm", one, check=False)
            ctr("snapshot", "rm", one, check=False)
        ctr("images", "rm", image, check=False)
