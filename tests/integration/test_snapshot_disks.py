"""Snapshots of machines with several disks: all of them at one moment, through everything that a snapshot can become."""

import glob
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from cli import inspect, proa, refuse, until
from sandbox import STATE, TOP
from test_migrate import make_root, running, there

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
# Numbers, each first onto vda and then onto vdb, each on the disk before the next one is written.
BUSY = """i=$(($(cat /tmp/n 2>/dev/null)+0))
while [ ! -e /tmp/stop ]; do i=$((i+1))
for d in vda vdb; do echo $i | dd of=/dev/$d bs=512 seek=$((80000+i)) conv=notrunc,fsync 2>/dev/null || exit; done
echo $i >/tmp/n; done"""


@pytest.fixture(scope="module")
def image(house):
    proa("import", disk.path_of("agent"), "agent:1", timeout=120)
    yield "agent:1"
    proa("rmi", "agent:1", timeout=60)


@pytest.fixture
def other(name):
    yield name + "-b"
    proa("rm", "-f", name + "-b", check=False, timeout=60)


def run(name, image, *flags):
    proa("run", "-d", "--name", name, "--network", "none", "-m", "128m", "--disk-size", "64m", "--disk", "size=64m", *flags, image,
         timeout=120)
    until(lambda: running(None, name), timeout=120)


def sh(name, command, root=None):
    return there(root, "exec", name, "sh", "-c", command, timeout=60)


def put(name, text, *disks, at=90000):
    for d in disks or ("vda", "vdb"):
        sh(name, f"echo {text} | dd of=/dev/{d} bs=512 seek={at} conv=notrunc,fsync 2>/dev/null")


def get(name, *disks, root=None, at=90000):
    """The words of all of them, read anew."""
    return sh(name, "echo 3 >/proc/sys/vm/drop_caches; " + "".join(
        f"dd if=/dev/{d} bs=512 count=1 skip={at} 2>/dev/null | tr -d '\\0'; " for d in disks or ("vda", "vdb")), root).out.split()


def numbers(name, root=None):
    """What BUSY has written, disk by disk, read anew."""
    out = sh(name, "echo 3 >/proc/sys/vm/drop_caches; for d in vda vdb; do dd if=/dev/$d bs=512 skip=80001 count=4000 2>/dev/null "
             "| tr -d '\\0'; echo; done", root).out
    return [[int(n) for n in half.split()] for half in out.split("\n\n")[:2]]


def at_one_moment(name, least):
    first, second = numbers(name)
    assert first == list(range(1, len(first) + 1)) and second == list(range(1, len(second) + 1)), "torn"
    assert 0 <= len(first) - len(second) <= 1, f"the disks are of two moments: {len(first)}, {len(second)}"
    assert len(second) >= least, f"{least} was acknowledged, {len(second)} are there"


def nothing_left(root=STATE):
    assert os.listdir(root + "/snapshots") == os.listdir(root + "/tmp") == []


def begin(name):
    sh(name, f"rm -f /tmp/stop; ({BUSY}) >/dev/null 2>&1 &")
    until(lambda: written(name) > 3, timeout=60)


def written(name):
    return int(sh(name, "cat /tmp/n 2>/dev/null || echo 0").out)


def test_busy_disks_at_one_moment(image, name, other):
    """Without memory: clones of snapshots that are made while both disks are written."""
    run(name, image)
    begin(name)
    for n, flags in enumerate(([], ["--no-freeze"], ["--no-freeze"])):
        before = written(name)
        proa("snapshot", "create", "--name", f"live{n}", *flags, name, timeout=60)
        until(lambda: written(name) > before + 3, timeout=60, message="the writer stands still")
        if n == 2:  # one more for the chain below
            continue
        proa("snapshot", "clone", f"live{n}", "--name", other)
        proa("start", other, timeout=120)
        until(lambda: running(None, other), timeout=120)
        at_one_moment(other, before)
        proa("rm", "-f", other, timeout=60)
    sh(name, "touch /tmp/stop; sleep 1")
    at_one_moment(name, written(name))
    # Removed ones leave a chain that the machine stands on, and its next start finds all of it.
    proa("snapshot", "rm", "live0", "live2")
    count = len(numbers(name)[0])
    proa("kill", name)
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    at_one_moment(name, count)
    proa("snapshot", "restore", "-f", name, "live1")
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    at_one_moment(name, 1)
    assert len(numbers(name)[0]) < count
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "live1")
    nothing_left()


def test_memory_with_all_disks(image, name):
    """The writer goes on from the snapshot's memory, and what it has written is what it remembers."""
    run(name, image)
    begin(name)
    before = written(name)
    proa("snapshot", "create", "--memory", "--name", "alive", name, timeout=120)
    until(lambda: written(name) > before + 5, timeout=60)
    for _ in range(2):
        proa("snapshot", "restore", "--force", name, "alive", timeout=120)
        until(lambda: running(None, name), timeout=60)
        until(lambda: written(name) > before + 5, timeout=60, message="the writer does not go on")
    sh(name, "touch /tmp/stop; sleep 1")
    at_one_moment(name, before + 5)
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "alive")
    nothing_left()


def test_out_and_in_again(image, house, name, tmp_path):
    """A chain of two levels, of three disks, one of them made of an image: elsewhere, and flat."""
    elsewhere = STATE + "/elsewhere"
    make_root(elsewhere, house)
    there(elsewhere, "import", disk.path_of("agent"), "agent:1", timeout=120)
    run(name, image, "--disk", f"{image},size=64m")
    disks = ("vda", "vdb", "vdc")
    put(name, "one", *disks)
    proa("snapshot", "create", "--name", "first", name)
    put(name, "two", *disks[1:])
    put(name, "too", *disks, at=90001)
    proa("snapshot", "create", "--memory", "--name", "second", name, timeout=120)
    put(name, "three", *disks)
    expected = ["one", "two", "two"], ["too"] * 3
    for flags in ([], ["--flatten", "--no-memory"]):
        file = tmp_path / f"second{len(flags)}"
        proa("snapshot", "export", *flags, f"{name}/second", file, timeout=60)
        there(elsewhere, "snapshot", "import", file, timeout=60)
        there(elsewhere, "snapshot", "clone", "second", "--name", name)
        there(elsewhere, "start", name, timeout=120)
        until(lambda: running(elsewhere, name), timeout=120)
        assert (get(name, *disks, root=elsewhere), get(name, *disks, root=elsewhere, at=90001)) == expected
        there(elsewhere, "rm", "-f", name, timeout=60)
        assert "0 faults" in there(elsewhere, "fsck", timeout=120).out
        there(elsewhere, "snapshot", "rm", "second")
        nothing_left(elsewhere)
    # Each disk of a stopped machine as one file, and everything is still there.
    proa("snapshot", "restore", "-f", name, "second", timeout=120)
    proa("kill", name)
    proa("snapshot", "rm", "first", "second")
    proa("snapshot", "flatten", name, timeout=60)
    folder, = os.listdir(STATE + "/snapshots")
    assert sorted(os.listdir(f"{STATE}/snapshots/{folder}")) == ["disk.qcow2", "disk1.qcow2", "disk2.qcow2"]
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert (get(name, *disks), get(name, *disks, at=90001)) == expected
    proa("rm", "-f", name, timeout=60)
    nothing_left()
    there(elsewhere, "rmi", "agent:1", timeout=60)
    there(elsewhere, "system", "prune", "-f", timeout=60)


def test_a_snapshot_of_when_they_had_the_first_disk_only(image, name):
    """As an older Proa left it: the second disk is in no snapshot. It stays as it is, also when the first goes back."""
    run(name, image)
    put(name, "before")
    sh(name, "sync")
    proa("kill", name)
    proa("snapshot", "create", "--name", "old", name, timeout=60)
    ident = json.loads(proa("snapshot", "inspect", "old").out)[0]["Id"]
    bundle, kept = f"{STATE}/instances/{inspect(name)['Id']}", f"{STATE}/snapshots/{ident}"
    for stale in glob.glob(bundle + "/disk1*"):
        os.unlink(stale)
    os.rename(kept + "/disk1.qcow2", bundle + "/disk1.qcow2")
    db = sqlite3.connect(STATE + "/proa.db", timeout=30)
    with db:
        files, = db.execute("SELECT file FROM snapshot WHERE id = ?", (ident,)).fetchone()
        assert "disk1.qcow2" in files
        db.execute("UPDATE snapshot SET file = ? WHERE id = ?", (",".join(f for f in files.split(",") if f != "disk1.qcow2"), ident))
    db.close()
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert get(name) == ["before", "before"]
    put(name, "after")
    proa("kill", name)
    proa("snapshot", "restore", name, "old", timeout=60)
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert get(name) == ["before", "after"]
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "old")
    nothing_left()


def test_room_comes_back(image, name):
    """What only a removed snapshot had goes with it, of every disk."""
    run(name, image)
    def used():
        return int(subprocess.run(["du", "-s", "-B1", STATE], capture_output=True, text=True).stdout.split()[0])
    proa("snapshot", "create", "--name", "before", name)
    sh(name, "tr '\\0' x </dev/zero | head -c 40m | dd of=/dev/vdb bs=1M 2>/dev/null; sync")
    proa("kill", name)
    proa("snapshot", "create", "--name", "full", name)
    full = used()
    proa("snapshot", "restore", name, "before")
    assert used() > full - (8 << 20), "the snapshot has lost what it had"
    proa("snapshot", "rm", "full")
    assert used() < full - (32 << 20), "the second disk's file is still there"
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert sh(name, "head -c 10 /dev/vdb | tr -d '\\0'").out == ""
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "before")
    nothing_left()


def test_before_the_first_start(image, name, other):
    proa("create", "--name", name, "--network", "none", "-m", "128m", "--disk-size", "64m", "--disk", "size=64m", image)
    proa("snapshot", "create", "--name", "empty", name)
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    put(name, "later")
    proa("kill", name)
    proa("snapshot", "restore", name, "empty")
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert get(name) == []
    # From here it is a machine like any other: its next snapshot can be cloned.
    put(name, "again")
    proa("snapshot", "create", "--name", "next", name)
    proa("snapshot", "clone", "next", "--name", other)
    proa("start", other, timeout=120)
    until(lambda: running(None, other), timeout=120)
    assert get(other) == ["again", "again"]
    proa("rm", "-f", name, other, timeout=60)
    proa("snapshot", "rm", "empty", "next")
    nothing_left()


def test_disks_of_others(image, name, tmp_path):
    """A file that is used in place is in no snapshot, which is said; and memory without it would be of no use."""
    own = tmp_path / "own.raw"
    own.write_bytes(bytes(1 << 20))
    run(name, image, "--disk", own)
    put(name, "one", "vda", "vdb")
    put(name, "one", "vdc", at=5)
    made = proa("snapshot", "create", "--name", "before", name)
    assert f"not in it: {own}" in made.err
    refuse("snapshot", "create", "--memory", name, rc=1, say=[str(own), "leave --memory out"])
    put(name, "two", "vda", "vdb")
    put(name, "two", "vdc", at=5)
    proa("snapshot", "restore", "-f", name, "before")
    proa("start", name, timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert get(name) == ["one", "one"] and get(name, "vdc", at=5) == ["two"]
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "before")
    nothing_left()


@pytest.mark.parametrize("kind", ["light", "disk"])
def test_a_restart_by_the_monitor(image, name, kind):
    """After a live snapshot it begins with the chain as it is then."""
    if kind == "light":
        proa("run", "-d", "--vm", "--restart", "always", "--name", name, "busybox", "sleep", "1000", timeout=120)
        write, read = (lambda t: sh(name, f"echo {t} >> /kept; sync")), lambda: sh(name, "cat /kept").out.split()
    else:
        run(name, image, "--restart", "always")
        write, read = (lambda t: put(name, t, at=90000 if t == "one" else 90001)), lambda: get(name) + get(name, at=90001)
    write("one")
    proa("snapshot", "create", "--name", "live", name)
    write("two")
    pid = inspect(name)["State"]["Pid"]
    os.kill(pid, 9)
    until(lambda: inspect(name)["State"]["Pid"] not in (0, pid) and running(None, name), timeout=120)
    assert read() == (["one", "two"] if kind == "light" else ["one", "one", "two", "two"])
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "live")
    nothing_left()
