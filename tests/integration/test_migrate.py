"""Machines that move to another state directory while they run: nothing that was acknowledged is lost, and whatever
is killed there is exactly one machine, or one that can be started."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import leaks
from cli import PROA, environment, inspect, proa, refuse, until
from sandbox import STATE, TOP
from test_crash import points, steps_of, traced
from tpm import AUTH_FAILS, EXTEND, OWN, READ, tpm

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm


def there(root, *args, **kw):
    return proa(*(["--root", root] if root else []), *args, **kw)


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
    write = "echo {n} >> /log && sync && echo kept"

    def __init__(self, *places):
        self.places, self.acknowledged, self.longest, self.stop = places, 0, 0.0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        last, n = time.monotonic(), 1
        while not self.stop:
            for place in self.places:
                command = [PROA, *place, "exec", self.name, "sh", "-c", self.write.format(n=n)]
                done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment())
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

    def make(name, *roots, **how):
        kind = type("Named", (Client,), {"name": name, **how})
        made.append(kind(*[["--root", r] if r else [] for r in roots]))
        return made[-1]
    yield make
    for c in made:
        c.end()


def gone(name):
    assert proa("inspect", name, check=False).rc != 0, "it is still here"


@pytest.mark.parametrize("where", ["root", "away"])
def test_a_client_writes_meanwhile(root, away, client, where, name, figure):
    to = {"root": root, "away": away}[where]
    count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/j; mv /dev/shm/j /dev/shm/i; sleep 0.05; done"
    proa("run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", count, timeout=120)
    before = inspect(name)
    writer = client(name, None, to)
    until(lambda: writer.acknowledged > 5, timeout=60)
    counted = int(proa("exec", name, "cat", "/dev/shm/i").out)
    moved = proa("migrate", "--to", to, name, timeout=180)
    at = writer.acknowledged
    until(lambda: writer.acknowledged > at + 5, timeout=60)
    acknowledged = writer.end()
    figure(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
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


def test_one_that_was_made_smaller(root, name):
    """What it gave back stays the host's, there too, and it can have it again."""
    total = ["exec", name, "awk", "/MemAvailable/ {print int($2 / 1024)}", "/proc/meminfo"]
    proa("run", "-d", "--vm", "-m", "256m", "--name", name, "busybox", "sleep", "1000", timeout=120)
    before = int(proa(*total).out)
    proa("update", "-m", "128m", name, timeout=60)
    proa("migrate", "--to", root, name, timeout=120)
    assert there(root, "inspect", name).json[0]["HostConfig"]["Memory"] == 128 << 20
    assert int(there(root, *total).out) < before - 100
    there(root, "update", "-m", "256m", name, timeout=60)
    until(lambda: int(there(root, *total).out) > before - 20)


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


# Each number into a sector of its own, of the disk that the machine booted and of its second one.
SECTORS = ("for d in vda vdb; do echo {n} | dd of=/dev/$d bs=512 seek=$((80000+{n})) conv=notrunc,fsync 2>/dev/null || exit 1; "
           "done; echo kept")


def sectors(root, name, count):
    """The numbers on both disks, read from them anew."""
    command = (f"echo 3 >/proc/sys/vm/drop_caches; for d in vda vdb; do dd if=/dev/$d bs=512 skip=80001 count={count} "
               "2>/dev/null | tr -d '\\0'; echo; done")
    out = there(root, "exec", name, "sh", "-c", command, timeout=60).out
    return [[int(n) for n in half.split()] for half in out.split("\n\n")[:2]]


@pytest.fixture(scope="module")
def agent(root, away):
    """A disk with QEMU's guest agent, here and there."""
    for place in (None, root, away):
        there(place, "import", disk.path_of("agent"), "agent:1", timeout=120)
    yield "agent:1"
    for place in (None, root, away):
        there(place, "rmi", "agent:1", timeout=60)


def test_a_machine_that_boots_a_disk(agent, away, client, name, tmp_path, figure):
    """UEFI's variables, the TPM with its volatile state, a second disk and the seed go along; the guest's agent writes."""
    proa("run", "-d", "--name", name, "--firmware", "uefi", "--tpm", "-m", "256m", "--disk-size", "64m", "--disk", "size=64m",
         agent, timeout=120)
    before = inspect(name)
    until(lambda: proa("exec", name, "true", check=False).rc == 0, timeout=120)
    proa("exec", name, "sh", "-c", "echo here > /tmp/kept")
    assert tpm(None, name, EXTEND)[:2] == [0, 0] and tpm(None, name, OWN) == [0, 0]
    extended = tpm(None, name, READ)
    writer = client(name, None, away, write=SECTORS)
    until(lambda: writer.acknowledged > 3, timeout=60)
    moved = proa("migrate", "--to", away, name, timeout=240)
    at = writer.acknowledged
    until(lambda: writer.acknowledged > at + 3, timeout=60)
    acknowledged = writer.end()
    figure(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
    gone(name)
    assert there(away, "inspect", name).json[0]["Id"] == before["Id"] == moved.out.strip()
    first, second = sectors(away, name, acknowledged)
    assert first == second == list(range(1, acknowledged + 1))
    assert there(away, "exec", name, "cat", "/tmp/kept").out == "here\n"
    assert tpm(away, name, READ) == extended and tpm(away, name, OWN) == AUTH_FAILS
    # Stopped it comes back with what its TPM keeps without power; a file of the user's would not have come.
    there(away, "kill", name)
    there(away, "migrate", "--to", STATE, name, timeout=120)
    proa("start", name, timeout=120)
    until(lambda: proa("exec", name, "true", check=False).rc == 0, timeout=120)
    assert sectors(None, name, acknowledged) == [first, second]
    assert tpm(None, name, OWN) == AUTH_FAILS and tpm(None, name, READ) != extended
    proa("rm", "-f", name, timeout=60)
    assert os.listdir(away + "/snapshots") == os.listdir(STATE + "/snapshots") == []


def copied_still(moved):
    """Megabytes that were copied while the machine stood still."""
    number, unit = re.search(r"while ([0-9.]+)([kMG]?)B were copied", moved.err).groups()
    return float(number) * {"": 1e-6, "k": 1e-3, "M": 1, "G": 1000}[unit]


@pytest.mark.slow
def test_what_is_on_more_disks_is_copied_before(agent, away, name, figure):
    """The pause is that of the memory, and of what was written last, however much there is on a second disk."""
    proa("run", "-d", "--name", name, "-m", "128m", "--disk-size", "64m", "--disk", "size=1g", agent, timeout=120)
    until(lambda: running(None, name), timeout=120)
    fill = ("tr '\\0' x </dev/zero | head -c 1m >/x; for i in $(seq 400); do cat /x; done | dd of=/dev/vdb bs=1M iflag=fullblock 2>/dev/null; "
            "sync; rm /x")
    proa("exec", name, "sh", "-c", fill, timeout=300)
    read = ("echo 3 >/proc/sys/vm/drop_caches; for at in 0 100 200 399 400; do "
            "dd if=/dev/vdb bs=1M skip=$at count=1 2>/dev/null | sha256sum; done")
    before = proa("exec", name, "sh", "-c", read, timeout=120).lines
    assert len(set(before)) == 2
    moved = proa("migrate", "--to", away, name, timeout=240)
    figure(moved.err)
    assert 1 < copied_still(moved) < 200
    assert there(away, "exec", name, "sh", "-c", read, timeout=120).lines == before
    there(away, "rm", "-f", name, timeout=60)


def running(root, name):
    """Whether the machine runs there: its workload answers."""
    args = ["--root", root] if root else []
    return proa(*args, "exec", name, "true", check=False, timeout=60).rc == 0


def append(place, name, n, kind):
    """One more number on the machine's disk, and all that are there."""
    if kind == "light":
        there(place, "exec", name, "sh", "-c", f"echo {n} >> /log; sync")
    else:
        there(place, "exec", name, "sh", "-c", f"echo {n} | dd of=/dev/vda bs=512 seek=$((80001+{n})) conv=notrunc,fsync")


def appended(place, name, count, kind):
    if kind == "light":
        return [int(l) for l in there(place, "exec", name, "cat", "/log").lines]
    read = f"echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=512 skip=80001 count={count} 2>/dev/null | tr -d '\\0'"
    return [int(l) for l in there(place, "exec", name, "sh", "-c", read, timeout=60).lines]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["light", "disk"])
def test_killed_at_each_step(root, name, agent, kind):
    """The command is killed anywhere: one machine, on one side, with all that was acknowledged."""
    migrate = ["migrate", "--to", root, name]
    run = {"light": ["run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", "sleep 1000"],
           "disk": ["run", "-d", "--name", name, "-m", "192m", "--disk-size", "64m", "--disk", "size=8m", agent]}[kind]
    start = lambda: (proa(*run, timeout=120), until(lambda: running(None, name), timeout=120))  # noqa: E731
    start()
    steps = points(steps_of(migrate))
    there(root, "rm", "-f", name, timeout=60)
    before, sides = leaks.snapshot(), set()
    start()
    for n, point in enumerate(steps if kind == "light" else steps[::max(1, len(steps) // 10)]):
        append(None, name, n, kind)
        killed = traced(migrate, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        states = [dict(l.split() for l in there(r, "ps", "-a", "--format", "{{.Names}} {{.State}}").lines) for r in (None, root)]
        where = [name in s for s in states]
        assert sum(where) == 1, f"{point}: it is {states}"
        side = root if where[1] else None
        sides.add(side)
        if side:
            if not running(root, name):
                there(root, "start", name, timeout=120)
        else:
            assert killed
        until(lambda: running(side, name), timeout=60, message=f"{point}: it does not go on")
        assert appended(side, name, n + 1, kind) == list(range(n + 1)), point
        if side:
            there(root, "migrate", "--to", STATE, name, timeout=120)
    assert sides == {root, None}, "the kills are all on one side of the decision"
    proa("rm", "-f", name, timeout=60)
    extra, missing = leaks.settled(before)
    assert not extra and not missing, f"left {extra}, missing {missing}"
    assert os.listdir(root + "/instances") == [] and os.listdir(root + "/tmp") == []
