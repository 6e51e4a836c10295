"""A system on a disk that is an attacker, and machines of disks whose programs fail: as test_hostile_guest.py has it for
light machines. Neighbours of both kinds answer after each attack, commands on the machine end in bounded time with one
clear line, what is shown of it is true, and `rm -f` works.

Booting takes seconds, so three machines are booted at once, by a fixture, and shared. One takes all attacks on the
protocol of QEMU's guest agent: hostile_qga.c, brought into it by `cp`, is started in place of the agent and ended again
from the serial console, and after each lie the true agent has to be found. One lies by answering too late, which takes
half a minute, while the other tests run; the QEMU of another one stands still as long. The third one's kernel fails.
"""

import os
import signal
import sys
import time

import pytest

from cli import BUILD, finish, inspect, proa, refuse, start, state, until
from hostile import (CONSOLE_MAX, SECONDS, SHARED, check, gone, helpers_are_small, is_shown_answering, is_shown_silent,
                     nothing_is_left, one_line, qemu_of, shared_name, two_neighbours)  # noqa: F401 (a fixture)
from sandbox import STATE, TOP
from test_disk_machine import Serial

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = [pytest.mark.vm, pytest.mark.leaky]  # machines are there for the whole module; nothing_is_left looks
IMAGE, MIB = "hostile-disk:1", 1 << 20
PORT = "/dev/vport0p1"
# Process 1 has started the true agent; /root/agent LIE puts another in its place, /root/agent truth that one again.
SWITCH = f"""#!/bin/sh
[ -e /run/agent.pid ] || cp /run/qemu-ga.pid /run/agent.pid
kill -9 $(cat /run/agent.pid)
until true 2>/dev/null <>{PORT}; do sleep 0.1; done
case $1 in
truth) qemu-ga -d -m virtio-serial -p {PORT} -t /run -f /run/agent.pid ;;
*) /root/hostile_qga {PORT} "$1" >/dev/null 2>&1 & echo $! >/run/agent.pid ;;
esac
"""


@pytest.fixture(scope="module")
def neighbours(nothing_is_left):  # noqa: F811
    with two_neighbours() as names:
        yield names


@pytest.fixture(autouse=True)
def unharmed(neighbours):
    """After each attack the neighbours answer, and so does the host."""
    yield
    check(neighbours)


@pytest.fixture(scope="module")
def image(nothing_is_left):  # noqa: F811
    proa("import", disk.path_of("agent"), IMAGE, timeout=120)
    yield IMAGE
    proa("rmi", "-f", IMAGE)


def boot(image, *flags):
    name = shared_name()
    proa("run", "-d", "--name", name, *SHARED, "--network", "none", "-m", "128m", "--disk-size", "64m", *flags, image, timeout=120)
    return name


def answers(name, timeout=240):
    until(lambda: proa("exec", name, "true", check=False, timeout=60).rc == 0, timeout=timeout, every=0.2,
          message=lambda: f"no agent: {inspect(name).get('Guest')}")


def bring_attacker(name, folder):
    (folder / "agent").write_text(SWITCH)
    os.chmod(folder / "agent", 0o755)
    proa("cp", os.path.join(BUILD, "tests/integration/hostile_qga"), f"{name}:/root/")
    proa("cp", folder / "agent", f"{name}:/root/")


def requests(name, here):
    """All that goes to the agent, each in bounded time."""
    return {
        "exec": ["exec", name, "true"],
        "detached": ["exec", "-d", name, "true"],
        "top": ["top", name],
        "out": ["cp", f"{name}:/etc/issue", here / "out"],
        "in": ["cp", "/etc/hostname", f"{name}:/root/in"],
    }


@pytest.fixture(scope="module")
def machines(image, neighbours, tmp_path_factory):
    """Booted side by side. "late" does not answer in time from now on; others wait for that."""
    names = {role: boot(image) for role in ("liar", "late")}
    answers(names["late"])
    bring_attacker(names["late"], tmp_path_factory.mktemp("late"))
    proa("exec", "-d", names["late"], "sh", "-c", "for p in /proc/[0-9]*; do grep -q [a]cpid $p/cmdline && kill ${p#/proc/}; done; "
         "sleep 1; /root/agent late; echo switched >/dev/console")
    names["third"] = boot(image)
    yield names
    proa("rm", "-f", *names.values(), check=False, timeout=60)


@pytest.fixture(scope="module")
def late(machines, tmp_path_factory):
    """What waits for an agent that is late, and since when."""
    name, here = machines["late"], tmp_path_factory.mktemp("waiting")
    until(lambda: "switched" in proa("logs", name).out)
    return name, time.monotonic(), [start(*c) for c in requests(name, here).values()]


@pytest.fixture(scope="module")
def stopped(image, neighbours):
    """A machine whose QEMU stands still from here on. It need not have got far."""
    name = shared_name()
    proa("run", "-d", "--name", name, *SHARED, "--network", "none", "-m", "64m", image, timeout=120)
    is_shown_answering(name)
    os.kill(qemu_of(name), signal.SIGSTOP)
    yield name
    proa("rm", "-f", name, check=False, timeout=60)


@pytest.fixture(scope="module")
def liar(machines, late, stopped, tmp_path_factory):
    """A machine with both agents, and somebody at its console."""
    name = machines["liar"]
    answers(name)
    bring_attacker(name, tmp_path_factory.mktemp("liar"))
    console = Serial("console", name)
    console.type("\n")
    console.login()
    yield name, console
    console.leave()


# --- the agent's protocol ---

ALL, SOME = ["exec", "detached", "top", "out", "in"], ["exec", "detached", "top"]
GIVEN_UP = "guest agent"
# What hostile_qga does, the requests that meet it, and a word of the line that each of them ends with.
LIES = [
    ("garbage", ALL, GIVEN_UP),
    ("endless-line", SOME, "does not answer"),  # or before, when 4 MiB of it have come
    ("endless-answers", SOME, "no QEMU guest agent answers"),
    ("endless-syncs", SOME, "no QEMU guest agent answers"),
    ("deep", ALL, GIVEN_UP),
    ("no-object", ALL, GIVEN_UP),
    ("twice", ["exec", "top", "out", "in"], GIVEN_UP),
    ("silent", ALL, "no QEMU guest agent answers"),
    ("wrong-number", SOME, "no QEMU guest agent answers"),
    ("huge-number", ALL, GIVEN_UP),
    ("no-process", ALL, "no process"),
    ("no-handle", ["exec", "out", "in"], "no number"),
    ("no-status", ["exec", "top", "out", "in"], "no exit status"),
    ("no-count", ["in"], "a count that was not asked for"),
    ("no-base64", ["exec", "out"], "not base64"),
    ("huge-base64", ["exec", "top", "out", "in"], "more data than was asked for"),
    ("more-than-asked", ["exec", "out"], "more data than was asked for"),
    ("bigger-file", ["out"], ""),
    ("words", ALL, "second line"),
]


@pytest.mark.parametrize("lie,met_by,say", LIES, ids=[row[0] for row in LIES])
def test_an_agent_that_lies(liar, lie, met_by, say, tmp_path):
    """Each request says so and ends, the session is given up, and the true agent is found when it is back."""
    name, console = liar
    console.run(f"/root/agent {lie}")
    stats = start("stats", "--no-stream", name)
    waiting = [start(*requests(name, tmp_path)[key]) for key in met_by]
    for process in waiting:
        one_line(finish(process, timeout=40), say, GIVEN_UP)
    assert os.listdir(tmp_path) == [], "nothing half done"
    assert finish(stats, timeout=40).rc == 0, "what can be measured from outside"
    seen = inspect(name)
    assert seen["State"]["Status"] == "running" and "guest" not in seen
    if lie.startswith("endless"):
        assert seen["Guest"]["agent"] not in ("answers", "none yet"), seen["Guest"]
    console.run("/root/agent truth")
    answers(name, timeout=30)
    assert proa("exec", name, "echo", "true").out == "true\n"
    assert inspect(name)["Guest"]["agent"] == "answers"


def test_what_was_said_is_kept_by_nobody(liar):
    """proa-vm has parsed all of that: its memory has a bound, and it waits for nothing."""
    helpers_are_small(liar[0])
    pid = inspect(liar[0])["State"]["Pid"]

    def ticks():
        with open(f"/proc/{pid}/stat") as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    before = ticks()
    time.sleep(1)
    assert ticks() - before < 20, "hundredths of a second, in one"


# --- from inside ---

def test_a_kernel_panic(machines):
    """The machine ends, which is shown, and can be started again."""
    name = machines["third"]
    answers(name)
    proa("exec", "-d", name, "sh", "-c", "echo c >/proc/sysrq-trigger")
    until(lambda: state(name) == "exited", timeout=30)
    assert inspect(name)["State"]["ExitCode"] == 1
    assert "panicked" in proa("logs", name).out
    proa("start", name, timeout=60)
    assert state(name) == "running"


def test_a_disk_that_is_filled(liar):
    """It has the room that it was given, and the host loses no more."""
    name, _ = liar
    r = proa("exec", name, "dd", "if=/dev/zero", "of=/dev/vda", "bs=1M", "seek=40", "conv=fsync", check=False, timeout=120)
    assert r.rc == 1 and "No space left on device" in r.err, r
    written = os.stat(f"{STATE}/instances/{inspect(name)['Id']}/disk0.qcow2").st_blocks * 512
    assert 20 * MIB < written < 66 * MIB, written
    assert proa("exec", name, "echo", "here", timeout=40).out == "here\n"


# What floods, in rounds, and how to see how many of them there have been.
FLOODS = {"entropy": "dd if=/dev/hwrng of=/dev/null bs=4k count=16", "disk": "dd if=/dev/vda of=/dev/null bs=4k count=256 iflag=direct",
          "writes": "dd if=/dev/zero of=/dev/vda bs=4k seek=9000 count=16 conv=notrunc,fsync"}


def test_floods(liar, neighbours):
    """The serial console, the source of random numbers and the disk, all at full speed: files stay small, everything else
    goes on."""
    name, console = liar
    console.leave()
    proa("exec", "-d", name, "sh", "-c", "while :; do cat /proc/kallsyms >/dev/ttyS0; done")
    for what, command in FLOODS.items():
        proa("exec", "-d", name, "sh", "-c", f"while {command} 2>/dev/null; do echo; done >/tmp/{what}")
    folder = f"{STATE}/instances/{inspect(name)['Id']}"
    until(lambda: os.path.getsize(folder + "/console.log") > 10000)
    end, rounds = time.monotonic() + SECONDS, []
    while time.monotonic() < end or min(rounds) < 10:
        check(neighbours)
        assert os.path.getsize(folder + "/console.log") <= CONSOLE_MAX
        rounds = [int(n) for n in proa("exec", name, "sh", "-c", f"cd /tmp; for f in {' '.join(FLOODS)}; do wc -l <$f; done", timeout=60).lines]
        assert time.monotonic() < end + 120, f"no flood: {rounds}"
    assert proa("logs", "--tail", "5", name).lines
    helpers_are_small(name)
    gone(name)


# --- programs that fail ---

@pytest.fixture
def booting(image, name):
    """QEMU need not have got far to be killed."""
    proa("run", "-d", "--name", name, "--network", "none", "-m", "64m", image, timeout=120)
    return name


def test_qemu_is_killed(booting):
    os.kill(qemu_of(booting), signal.SIGKILL)
    until(lambda: state(booting) == "exited", timeout=20)
    assert inspect(booting)["State"]["ExitCode"] == 125
    refuse("exec", booting, "true", rc=None)
    gone(booting)


@pytest.mark.parametrize("end", [["stop", "-t", "1"], ["kill"], ["rm", "-f"]], ids=["stop", "kill", "rm"])
def test_qemu_is_stopped(booting, end):
    """A machine that does not answer says so, and ends all the same."""
    os.kill(qemu_of(booting), signal.SIGSTOP)
    assert state(booting) == "running"
    if end[0] == "stop":
        one_line(proa("exec", booting, "true", check=False, timeout=40), "no QEMU guest agent answers")
        refuse("console", "--screenshot", "/dev/null", booting, say="--graphics vnc", rc=None)
    proa(*end, booting, timeout=60)
    if end[0] == "rm":
        assert booting not in proa("ps", "-a").out
        return
    until(lambda: state(booting) == "exited", timeout=20)
    assert inspect(booting)["State"]["ExitCode"] == 137
    gone(booting)


# --- what had to wait ---

def test_who_does_not_answer_is_shown(stopped):
    is_shown_silent(stopped, "QEMU")
    os.kill(qemu_of(stopped), signal.SIGCONT)
    is_shown_answering(stopped)
    gone(stopped)


def test_a_fork_bomb(machines, neighbours):
    """In the machine whose kernel had failed. It is the guest's own trouble only."""
    name = machines["third"]
    answers(name)
    proa("exec", "-d", name, "sh", "-c", "b() { b | b & }; b; while :; do sleep 1; done")
    waiting = start("exec", name, "sleep", "1000")
    for _ in range(3):
        check(neighbours)
    assert state(name) == "running"
    gone(name)
    one_line(finish(waiting, timeout=45), "")


def test_an_agent_that_is_late(late):
    """What waited has given up; then it is found, and its old answers are nobody's. It does not end when it is told to,
    and nobody inside looks at the power button."""
    name, began, waiting = late
    for process in waiting:
        one_line(finish(process, timeout=max(1, began + 60 - time.monotonic())), "does not answer", "stopped answering")
    assert state(name) == "running"
    answers(name, timeout=60)
    began = time.monotonic()
    proa("stop", "-t", "2", name, timeout=60)
    assert time.monotonic() - began < 20
    assert state(name) == "exited" and inspect(name)["State"]["ExitCode"] == 137
    gone(name)
