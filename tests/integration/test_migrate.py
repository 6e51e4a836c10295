"""Machines that move to another state directory while they run: nothing that was acknowledged is lost, and whatever
is killed there is exactly one machine, or one that can be started."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

import leaks
from cli import PROA, environment, inspect, proa, refuse, until
from sandbox import STATE
from test_crash import points, steps_of, traced

pytestmark = pytest.mark.vm


def there(root, *args, **kw):
    return proa("--root", root, *args, **kw)


def make_root(path, house):
    """Another state directory with the same image and kernel."""
    saved = house / "busybox-saved.tar"
    proa("save", "-o", saved, "busybox", timeout=60)
    proa("--root", path, "load", "-i", saved, timeout=60)
    shutil.copytree(STATE + "/cache/kernel", path + "/cache/kernel", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("disk-*"))
    proa("--root", path, "run", "--rm", "--vm", "busybox", "true", timeout=120)


@pytest.fixture(scope="module")
def root(house):
    path = STATE + "/other"  # on the same file system, and gone with it
    make_root(path, house)
    yield path
    there(path, "system", "prune", "-f", timeout=60)


@pytest.fixture(scope="module")
def away(house):
    """One on another file system, so that files have to be copied."""
    path, disk = "/run/away", house / "away.ext4"
    os.makedirs(path, exist_ok=True)
    subprocess.run(["truncate", "-s", "2G", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, path], check=True)
    make_root(path, house)
    yield path
    there(path, "system", "prune", "-f", timeout=60)
    subprocess.run(["umount", "-l", path], check=True)
    os.rmdir(path)
    os.unlink(disk)


@pytest.fixture
def name(root, name):
    yield name
    there(root, "rm", "-f", name, check=False, timeout=60)


class Client:
    """Writes numbers into a file inside, one after the other, each synced before it counts as acknowledged."""

    def __init__(self, *places):
        self.places, self.acknowledged, self.longest, self.stop = places, 0, 0.0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        last, n = time.monotonic(), 1
        while not self.stop:
            for place in self.places:
                command = f"echo {n} >> /log && sync && echo kept"
                done = subprocess.run([PROA, *place, "exec", self.name, "sh", "-c", command], capture_output=True,
                                      text=True, stdin=subprocess.DEVNULL, env=environment())
                if done.returncode == 0 and "kept" in done.stdout:
                    now = time.monotonic()
                    self.longest, last = max(self.longest, now - last), now
                    self.acknowledged, n = n, n + 1
                    break

    def end(self):
        self.stop = True
        self.thread.join(120)
        return self.acknowledged


@pytest.fixture
def client():
    made = []

    def make(name, *roots):
        kind = type("Named", (Client,), {"name": name})
        made.append(kind(*[["--root", r] if r else [] for r in roots]))
        return made[-1]
    yield make
    for c in made:
        c.end()


def gone(name):
    assert proa("inspect", name, check=False).rc != 0, "it is still here"


@pytest.mark.parametrize("where", ["root", "away"])
def test_a_client_writes_meanwhile(root, away, client, where, name):
    to = {"root": root, "away": away}[where]
    count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/i; sleep 0.05; done"
    proa("run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", count, timeout=120)
    before = inspect(name)
    writer = client(name, None, to)
    until(lambda: writer.acknowledged > 5, timeout=60)
    counted = int(proa("exec", name, "cat", "/dev/shm/i").out)
    moved = proa("migrate", "--to", to, name, timeout=180)
    at = writer.acknowledged
    until(lambda: writer.acknowledged > at + 5, timeout=60)
    acknowledged = writer.end()
    print(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
    gone(name)
    after = proa("--root", to, "inspect", name).json[0]
    assert after["Id"] == before["Id"] == moved.out.strip() and after["State"]["Status"] == "running"
    log = [int(l) for l in there(to, "exec", name, "cat", "/log").lines]
    kept = sorted(set(log))
    assert kept[-1] >= acknowledged and kept == list(range(1, kept[-1] + 1)), f"lost: {kept}"
    now = int(there(to, "exec", name, "cat", "/dev/shm/i").out)
    assert now > counted, "it began again instead of going on"
    assert after["NetworkSettings"]["IPAddress"] in there(to, "exec", name, "ip", "addr").out
    there(to, "rm", "-f", name, timeout=60)
    assert os.listdir(to + "/snapshots") == os.listdir(STATE + "/snapshots") == []


def test_there_and_back_and_stopped(root, name):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
    proa("exec", name, "sh", "-c", "echo one > /kept")
    proa("migrate", "--to", root, name, timeout=120)
    there(root, "exec", name, "sh", "-c", "echo two >> /kept; sync")
    there(root, "migrate", "--to", STATE, name, timeout=120)
    assert proa("exec", name, "cat", "/kept").lines == ["one", "two"]
    proa("stop", "-t", "1", name, timeout=60)
    proa("migrate", "--to", root, name)
    there(root, "start", name, timeout=120)
    assert there(root, "exec", name, "cat", "/kept").lines == ["one", "two"]
    there(root, "rm", "-f", name, timeout=60)


def test_what_is_refused(root, name):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
    refuse("migrate", name, rc=1, say="--to")
    refuse("migrate", "--to", STATE, name, rc=1, say="where it is")
    there(root, "create", "--name", name, "busybox", "true")
    refuse("migrate", "--to", root, name, rc=1, say="already in use")
    there(root, "rm", name)
    proa("pause", name)
    refuse("migrate", "--to", root, name, rc=1, say="paused")
    proa("unpause", name)
    assert proa("exec", name, "echo", "fine").out == "fine\n"
    proa("rm", "-f", name, timeout=60)
    proa("create", "--name", name, "busybox", "true")
    refuse("migrate", "--to", root, name, rc=1, say="only machines")
    proa("rm", name)
    proa("create", "--vm", "--name", name, "-v", "/data", "busybox", "true")
    refuse("migrate", "--to", root, name, rc=1, say="stay behind")


def running(root, name):
    """Whether the machine runs there: its workload answers."""
    args = ["--root", root] if root else []
    return proa(*args, "exec", name, "true", check=False, timeout=60).rc == 0


@pytest.mark.slow
def test_killed_at_each_step(root, name):
    """The command is killed anywhere: one machine, on one side, with all that was acknowledged."""
    migrate = ["migrate", "--to", root, name]
    run = ["run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", "sleep 1000"]
    proa(*run, timeout=120)
    steps = steps_of(migrate)
    there(root, "rm", "-f", name, timeout=60)
    before, sides = leaks.snapshot(), set()
    proa(*run, timeout=120)
    for n, point in enumerate(points(steps)):
        proa("exec", name, "sh", "-c", f"echo {n} >> /log; sync")
        killed = traced(migrate, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        states = [dict(l.split() for l in proa(*r, "ps", "-a", "--format", "{{.Names}} {{.State}}").lines)
                  for r in ([], ["--root", root])]
        where = [name in s for s in states]
        assert sum(where) == 1, f"{point}: it is {states}"
        side = root if where[1] else None
        sides.add(side)
        if side:
            if not running(root, name):
                there(root, "start", name, timeout=120)
        else:
            assert killed
            until(lambda: running(None, name), message=f"{point}: it does not go on")
        args = ["--root", root] if side else []
        assert proa(*args, "exec", name, "cat", "/log").lines == [str(i) for i in range(n + 1)], point
        if side:
            there(root, "migrate", "--to", STATE, name, timeout=120)
    assert sides == {root, None}, "the kills are all on one side of the decision"
    proa("rm", "-f", name, timeout=60)
    extra, missing = leaks.settled(before)
    assert not extra and not missing, f"left {extra}, missing {missing}"
    assert os.listdir(root + "/instances") == [] and os.listdir(root + "/tmp") == []
