"""Machines that wait for a `run`: who gets one and who does not, that one that was taken is an instance like any other,
and what is left when something around it is killed."""

import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cli import inspect, proa, refuse, start, finish, state, until
from sandbox import STATE
from test_crash import pids_of
from test_warm import SETTINGS, template  # noqa: F401 (a fixture: what waits is a clone, and quickly there)

pytestmark = [pytest.mark.vm, pytest.mark.slow]

RUN = "/run/proa/instances"


def rows():
    """Ids of spare machines, oldest first."""
    db = sqlite3.connect(f"file:{STATE}/proa.db?mode=ro", uri=True, timeout=30)
    try:
        return [r[0] for r in db.execute("SELECT id FROM instance JOIN spare ON instance_id = id ORDER BY created_ns")]
    finally:
        db.close()


def timing(ident):
    try:
        with open(f"{RUN}/{ident}/timing") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def ready(n=1):
    """The spare machines, once there are n and all of them wait; nobody who made them is busy with them."""
    def there():
        found = rows()
        return found if len(found) == n and all("spare=" in timing(i) for i in found) and not making() else None
    return until(there, timeout=60, message="no spare machine came")


def making():
    return [p for p in pids_of("proa", "internal\0spare")]


def end_all():
    until(lambda: not making(), timeout=60)
    proa("image", "prune", "-f", timeout=60)
    assert rows() == []


def settle(text):
    with open(SETTINGS, "w") as f:
        f.write(text)


@pytest.fixture(autouse=True)
def spares(template, leak_guard):  # noqa: F811
    settle('{"warm": true, "spares": 2}')
    try:
        yield
    finally:
        settle('{"warm": true, "spares": 0}')
        end_all()


def run(*args, **kw):
    kw.setdefault("timeout", 120)
    return proa("run", "--vm", *args, **kw)


@pytest.fixture
def spare(spares):
    """One that waits, of the default shape."""
    run("--rm", "busybox", "true")
    return ready()[0]


def test_one_waits_by_default():
    """Whoever has said nothing about it."""
    settle("{}")
    run("--rm", "busybox", "true")
    first, = ready()
    run("--rm", "-l", "another=shape", "busybox", "true")
    second = until(lambda: [r for r in rows() if r != first] and ready(), timeout=60)
    assert second != [first] and len(rows()) == 1


def test_a_run_takes_the_one_that_fits(spare, name):
    """It is the instance that was asked for: name, process, user, files, clock; nobody sees the one that waits."""
    assert spare[:12] not in proa("ps", "-a").out and '"Names": "spare' not in proa("ps", "-a", "--format", "json").out
    before = time.time()
    ident = run("-d", "--name", name, "-e", "A=b c", "-u", "7:8", "-w", "/tmp", "busybox", "sh", "-c",
                "echo $A $(id -u):$(id -g) $(pwd) $(hostname) $(date +%s); sleep 1000").out.strip()
    assert ident == spare
    seen = until(lambda: proa("logs", name).out).split()
    assert seen[:5] == ["b", "c", "7:8", "/tmp", ident[:12]] and before - 2 <= int(seen[5]) <= time.time() + 2
    info = inspect(name)
    assert info["State"]["Status"] == "running" and info["Name"].lstrip("/") == name
    assert f"{info['NetworkSettings']['IPAddress']}\t{ident[:12]} {name}\n" in proa("exec", name, "cat", "/etc/hosts").out
    assert proa("exec", name, "hostname").out.strip() == ident[:12]
    assert proa("run", "--rm", "busybox", "nslookup", name, timeout=60).out.count(info["NetworkSettings"]["IPAddress"])
    (other,) = ready()
    assert other != ident
    proa("update", "-m", "128m", "--cpus", "0.5", name)
    assert int(proa("exec", name, "grep", "MemTotal", "/proc/meminfo").out.split()[1]) < 128 << 10
    proa("rm", "-f", name)


def test_output_and_exit_status_and_numbers_of_its_own(spare):
    script = "head -c 16 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid; echo err >&2; exit 7"
    first = run("--rm", "busybox", "sh", "-c", script, check=False)
    ready()
    second = run("--rm", "busybox", "sh", "-c", script, check=False)
    assert [r.rc for r in (first, second)] == [7, 7] and first.err == second.err == "err\n"
    assert not set(first.lines) & set(second.lines) and len(first.lines) == 2
    ready()
    assert run("--rm", "busybox", "seq", "100000").out == "".join(f"{n}\n" for n in range(1, 100001))


def test_what_reaches_further_is_started_anew(spare, name):
    proa("create", "--name", name, "busybox", "true")
    refuse("run", "--vm", "--name", name, "busybox", "true", say="already in use")
    for flags in (["-v", "/tmp:/host"], ["-p", "127.0.0.1::80"], ["-i"], ["--memory", "200m"], ["--no-warm"], ["--hostname", "other"],
                  ["--cap-drop", "ALL"], ["--network", "none"], ["--ip", "10.78.0.77"]):
        ident = proa("create", "--vm", *flags, "busybox", "true").out.strip()
        assert ident != spare and rows() == [spare], flags
        proa("rm", ident)
    proa("rm", name)


def test_a_program_that_is_not_there(spare, name):
    """As without: the code says why, the instance is there unless it was to be removed, and it can be started."""
    refuse("run", "--rm", "--vm", "--name", name, "busybox", "nosuch", rc=127, say="nosuch", timeout=60)
    refuse("inspect", name, rc=1)
    run("--rm", "busybox", "true")
    ready()
    refuse("run", "--vm", "--name", name, "busybox", "/etc/passwd", rc=126, say="permission denied", timeout=60)
    assert state(name) == "created"
    refuse("start", name, rc=1, say="permission denied", timeout=60)
    proa("rm", name)


def test_what_it_wrote_is_kept(spare, name):
    """Also when it was the first to write to the disk, and the machine is killed right after sync."""
    ident = run("-d", "--name", name, "busybox", "sh", "-c", "cat /kept; echo more >>/kept; sync; echo done; sleep 1000").out.strip()
    assert ident == spare
    until(lambda: "done" in proa("logs", name).out)
    proa("kill", name)
    proa("start", name, timeout=60)
    until(lambda: "more" in proa("logs", name).out)
    proa("rm", "-f", name)


def test_created_and_started_later(spare, name):
    """Between the two it is an instance in the state `created`, which can be removed, too."""
    ident = proa("create", "--vm", "--name", name, "busybox", "echo", "here").out.strip()
    assert ident == spare and state(name) == "created"
    refuse("exec", name, "true", rc=1, say="not running")
    assert proa("start", "-a", name, timeout=60).out == "here\n"
    assert state(name) == "exited"
    proa("rm", name)
    spare = ready()[0]
    assert proa("create", "--vm", "--name", name, "busybox", "true").out.strip() == spare
    proa("rm", name)
    assert spare not in "".join(os.listdir(RUN))


def test_many_at_once_and_one_gets_it(spare):
    with ThreadPoolExecutor(3) as pool:
        found = [r.out.strip() for r in pool.map(lambda _: run("--rm", "busybox", "hostname"), range(3))]
    assert len(set(found)) == 3 and spare[:12] in found


def test_as_many_as_there_may_be(spare):
    """The oldest goes for one of another shape."""
    run("--rm", "-l", "another=shape", "busybox", "true")
    ready(2)
    run("--rm", "--memory", "210m", "busybox", "true")
    until(lambda: spare not in rows(), timeout=60)
    assert spare not in ready(2)


def test_its_image_can_be_removed(spare, name):
    proa("commit", proa("create", "--name", name, "busybox", "true").out.strip(), "spare-image", timeout=60)
    run("--rm", "spare-image", "true")
    ready(2)
    proa("rmi", "spare-image", timeout=60)
    assert rows() == [spare]
    proa("rm", name)


@pytest.mark.parametrize("program", ["proa-vm", "qemu-system-x86_64", "proa-monitor"])
def test_one_that_was_killed_is_not_met(spare, name, program):
    (pid,) = set(pids_of(program, spare)) if program != "qemu-system-x86_64" else \
        {p for p in pids_of(program) if f"/{spare}" in open(f"/proc/{p}/cgroup").read()}
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    ident = run("-d", "--name", name, "busybox", "sleep", "1000").out.strip()
    assert ident != spare and state(name) == "running"
    until(lambda: spare not in os.listdir(RUN))
    proa("rm", "-f", name)


@pytest.mark.parametrize("step", range(4))
def test_a_run_that_is_killed(spare, name, step):
    """At any moment: afterwards there is no such instance, or one that can be started and removed."""
    running = start("run", "--vm", "--name", name, "busybox", "sleep", "1000")
    time.sleep((0.005, 0.02, 0.04, 0.08)[step])
    finish(running, kill=True)

    def well():
        if state(name) in ("created", "exited"):  # who takes a machine and gives it nothing to do takes it along
            proa("start", name, timeout=60)
        return proa("exec", name, "echo", "well", check=False).out == "well\n"
    if name in proa("ps", "-a").out:
        until(well, timeout=60)
        proa("rm", "-f", name)


def test_nobody_waits_without_the_setting(spares, name):
    settle('{"warm": true, "spares": 0}')
    run("--rm", "busybox", "true")
    assert not making() and rows() == []
    settle('{"cards": 9}')
    refuse("run", "--rm", "--vm", "busybox", "true", say='"cards" is at most 8')
    settle('{"spares": 17}')
    refuse("run", "--rm", "--vm", "busybox", "true", say="at most 16")
