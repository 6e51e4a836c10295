"""A machine that boots a disk with QEMU's guest agent in it: the small disk of tests/machine, so that one boot of a
few seconds serves all of them."""

import os
import sys
import time

import pytest

from cli import clock_is_right, proa
from hostile import is_shown_answering, is_shown_silent
from sandbox import TOP

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = [pytest.mark.vm, pytest.mark.leaky]  # the machine is there for the whole module
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJustATest me@host"


def until(what, seconds=240):
    end = time.monotonic() + seconds
    while True:
        seen = what()
        if seen:
            return seen
        assert time.monotonic() < end, "waited in vain"
        time.sleep(.2)


@pytest.fixture(scope="module")
def machine(house):
    proa("import", disk.path_of("agent"), "agent", timeout=120)
    key = house / "key.pub"
    key.write_text(f"# mine\n{KEY}\n")
    script = house / "user-data"
    script.write_text("#!/bin/sh\necho said by the user\n")
    proa("run", "-d", "--name", "inside", "-m", "256m", "--network", "proa", "--ssh-key", key, "--cloud-user", "me",
         "--user-data", script, "agent", timeout=120)
    try:
        r = proa("exec", "inside", "true", check=False)
        assert r.rc in (0, 1), r
        if r.rc:  # not there yet: says so, and what works
            assert "no QEMU guest agent answers" in r.err and "proa attach" in r.err
        until(lambda: proa("exec", "inside", "true", check=False).rc == 0)
        yield "inside"
    finally:
        proa("rm", "-f", "inside", check=False)
        proa("rmi", "agent", check=False)


def test_exec(machine):
    r = proa("exec", machine, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (r.rc, r.out, r.err) == (3, "out\n", "err\n")
    r = proa("exec", "-i", "-u", "user", "-w", "/tmp", "-e", "A=b", machine, "sh", "-c", "cat; id -u; pwd; echo $A", input="in\n")
    assert r.lines == ["in", "1000", "/tmp", "b"]
    assert proa("exec", machine, "nosuch", check=False).rc == 127
    r = proa("exec", "-t", machine, "true", check=False)
    assert r.rc == 1 and "proa attach" in r.err


def test_seed(machine):
    """The disk for cloud-init, as the system sees it: a label and files, read-only."""
    network = proa("inspect", machine).json[0]["NetworkSettings"]["Networks"]["proa"]
    seed = proa("exec", machine, "cat", "/dev/vdb", binary=True).out
    assert seed[16 * 2048 + 1:][:5] == b"CD001" and b"cidata " in seed
    for text in ('"local-hostname":"inside"', f'"instance-id":"{proa("inspect", machine).json[0]["Id"]}"',
                 f'"macaddress":"{network["MacAddress"]}"', f'"{network["IPAddress"]}/{network["IPPrefixLen"]}"',
                 f'"via":"{network["Gateway"]}"', KEY, '"name":"me"', "echo said by the user", "text/x-shellscript"):
        assert text.encode() in seed, text
    assert proa("exec", machine, "cat", "/sys/block/vdb/ro").out == "1\n"
    assert proa("exec", machine, "dd", "if=/dev/zero", "of=/dev/vdb", "count=1", check=False).rc != 0


def test_what_inspect_shows_of_the_guest(machine):
    guest = proa("inspect", machine).json[0]["Guest"]
    assert guest["agent"] == "answers" and guest["version"].startswith("7.2")
    assert guest["system"]["kernel"].endswith("cloud-amd64")


@pytest.mark.parametrize("arguments,why", [
    (["--user-data", "/nosuch"], "--user-data /nosuch"),
    (["--user-data", "/bin/busybox"], "--user-data /bin/busybox: "),
    (["--ssh-key", "/etc/passwd"], "is no public key"),
    (["--cloud-user", "No Body"], "is no name of a user"),
    (["--cloud-init=false", "--cloud-user", "me"], "there is something to tell it"),
    (["--user-data", "/etc/passwd", "--cloud-user", "me"], "the first line must say what it is"),
])
def test_refused_seeds(machine, arguments, why):
    r = proa("create", "--name", "refused", *arguments, "agent", check=False)
    assert r.rc == 125 and why in r.err and len(r.err.splitlines()) == 1, r


def test_seeds_are_for_disks(machine):
    r = proa("create", "--name", "refused", "--cloud-user", "me", "busybox", check=False)
    assert r.rc == 125 and "--cloud-user" in r.err and "cloud-init" in r.err


def test_copies(machine, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/f").write_text("content")
    os.symlink("sub/f", tmp_path / "tree/l")
    proa("cp", tmp_path / "tree", f"{machine}:/root/copied")
    assert proa("exec", machine, "cat", "/root/copied/l").out == "content"
    proa("cp", f"{machine}:/root/copied", tmp_path / "back")
    assert (tmp_path / "back/sub/f").read_text() == "content" and os.readlink(tmp_path / "back/l") == "sub/f"
    data = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(data)
    proa("cp", tmp_path / "big", f"{machine}:/root/")
    proa("cp", f"{machine}:/root/big", tmp_path / "big2")
    assert (tmp_path / "big2").read_bytes() == data
    r = proa("cp", f"{machine}:/nosuch", tmp_path, check=False)
    assert r.rc and "/nosuch: no such file or directory" in r.err


def test_top_and_stats(machine):
    assert "qemu-ga" in proa("top", machine).out
    row = proa("stats", "--no-stream", "--format", "json", machine).json
    assert machine in str(row)


def test_file_systems_stand_still_for_a_snapshot(machine):
    proa("snapshot", "create", "--name", "still", machine, timeout=120)
    proa("snapshot", "create", "--no-freeze", "--name", "moving", machine, timeout=120)
    shown = proa("snapshot", "ls", "--format", "{{.Name}} {{.Consistency}}", machine).lines
    assert sorted(shown) == ["moving crash", "still frozen"]
    assert proa("exec", machine, "echo", "on").out == "on\n"
    proa("snapshot", "rm", "still", "moving", timeout=120)


def test_pause(machine):
    proa("pause", machine)
    r = proa("exec", machine, "true", check=False)
    assert r.rc and "paused" in r.err
    time.sleep(5)
    proa("unpause", machine)
    assert proa("exec", machine, "echo", "on").out == "on\n"
    clock_is_right(lambda: proa("exec", machine, "date", "+%s").out)


def test_an_agent_that_does_not_answer_is_shown(machine):
    is_shown_answering(machine)
    proa("exec", "-d", machine, "sh", "-c", "p=$(cat /run/qemu-ga.pid); kill -STOP $p; sleep 60; kill -CONT $p")
    is_shown_silent(machine, "its agent")
    is_shown_answering(machine, patience=120)
    assert proa("exec", machine, "echo", "on").out == "on\n"


def test_clean_shutdown(machine):
    """By the agent: nothing of the power button is on the console."""
    proa("stop", "-t", "120", machine, timeout=180)
    said = proa("logs", machine).out
    assert proa("inspect", machine).json[0]["State"]["ExitCode"] == 0, said
    assert "asked to end" in said and "power button" not in said
