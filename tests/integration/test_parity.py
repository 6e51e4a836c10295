"""docs/PARITY.md, found out: every flag of `run` and every verb, on a container, a light machine and a machine
of a disk image. A cell is "works", after it has been seen to, or the reason in the words of the refusal.

A flag or a verb that has no row fails the test, and so does a table that says anything else than was found:
PROA_REGENERATE=1 writes it anew.
"""

import os
import re
import signal
import subprocess
import sys

import pytest

import parity_rows as rows
import parity_verbs as verbs
from cli import Failed, finish, proa, start, state, until
from sandbox import TOP, cgroup_mounts
from test_machines import Terminal

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = [pytest.mark.vm, pytest.mark.slow]

TABLE = os.path.join(TOP, "docs/PARITY.md")
# What makes each kind, and of which image; a machine of a disk image runs no command but its own system.
KINDS = {"container": [], "light": ["--vm"], "disk": []}
IMAGE = {"container": ["busybox"], "light": ["busybox"], "disk": ["parity-disk:1"]}
GROUPS = {"MAIN": rows.MAIN, "SECOND": rows.SECOND, "HOST": rows.HOST}
# USR1 is the stop signal of MAIN; `wait` returns when it comes.
COMMAND = {"MAIN": ["sh", "-c", "trap 'exit 3' USR1; echo ready; while :; do sleep 1000 & wait; done"],
           "SECOND": ["100000"], "HOST": ["sleep", "100000"]}


def flags_of_run():
    """Every flag that the program itself shows, in its order."""
    return re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", proa("run", "--help").out, re.M)


def words(kind, flag, given):
    if given is None:
        return []
    return [w for g in (given or [None]) for w in
            ([f"--{flag}"] if g is None else [f"--{flag}", g[kind] if isinstance(g, dict) else g(kind) if callable(g) else g])]


def refusal(kind, flag, given):
    """The reason when this kind does not take the flag, else None. Nothing is left of either answer."""
    company = rows.NEEDS.get(flag, [])
    command = [] if kind == "disk" else ["true"]
    r = proa("create", *KINDS[kind], *company, *words(kind, flag, given), *IMAGE[kind], *command, check=False)
    if r.rc == 0:
        proa("rm", "-v", r.out.strip())
        return None
    lead, _, reason = r.err.strip().removeprefix("proa: ").removeprefix("Error: ").partition(": ")
    assert r.rc == 125 and f"--{flag}".startswith(lead.split()[0]) and reason, repr(r)
    return reason


class Table:
    def __init__(self):
        self.cells, self.faults = {}, []

    def put(self, row, kind, text):
        self.cells[row, kind] = text

    def look(self, row, kind, what, *args):
        """A fault is noted, and the next row looked at: one run tells all of them. Text is a reason."""
        try:
            seen = what(*args)
            if isinstance(seen, str):
                self.put(row, kind, seen)
                return
        except (Failed, AssertionError, OSError, KeyError, StopIteration, IndexError) as e:
            seen, why = False, f"{type(e).__name__}: {e}"
        else:
            why = "no effect was seen"
        if not seen:
            self.faults.append(f"{row} on {kind}: {why}")
        self.put(row, kind, "works" if seen else "FAULT")

    def check(self):
        faults, self.faults = self.faults, []
        assert not faults, "\n".join(faults)

    def column(self, names):
        return [f"| {name} | " + " | ".join(self.cells[name, kind] for kind in KINDS) + " |" for name in names]


@pytest.fixture(scope="module")
def table():
    return Table()


@pytest.fixture(scope="module")
def grounds(house):
    rows.make_files()
    proa("import", disk.path_of("agent"), "parity-disk:1", timeout=120)
    proa("network", "create", "--subnet", "10.77.0.0/24", "--ipv6", "--subnet", "fd77::/64", "parity")
    yield
    for kind in KINDS:
        for group in GROUPS:
            proa("rm", "-f", "-v", f"parity-{kind}-{group}", check=False, timeout=60)
    proa("network", "rm", "parity", check=False)
    proa("rmi", "parity-disk:1")
    subprocess.run(["rm", "-rf", rows.PLACE], check=True)
    for point, _, _ in cgroup_mounts():
        try:
            os.rmdir(os.path.join(point, "proa-parity"))
        except OSError:
            pass


def start_group(table, kind, group):
    """Starts the instance of a group with every flag that is taken, and gives the rows to look at."""
    name, given, taken = f"parity-{kind}-{group}", [], []
    for flag, wanted, look in GROUPS[group]:
        reason = refusal(kind, flag, wanted) if wanted is not None else None
        if reason:
            table.put(f"--{flag}", kind, reason)
        else:
            given += words(kind, flag, wanted)
            taken.append((flag, look))
    if taken:
        command = [] if kind == "disk" else COMMAND[group]
        proa("run", "-d", "--name", name, *KINDS[kind], *given, *IMAGE[kind], *command, timeout=120)
        if kind == "disk":
            until(lambda: proa("exec", name, "true", check=False).rc == 0, timeout=120)
    return name, taken


@pytest.mark.leaky  # the instances stay for the tests below
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", KINDS)
def test_flags(table, grounds, kind, group):
    name, taken = start_group(table, kind, group)
    place = rows.Place(kind, name)
    for flag, look in taken:
        table.look(f"--{flag}", kind, look, place)
    table.check()


def streams(table, kind, name):
    r = proa("run", "--rm", *KINDS[kind], "-i", "-a", "stdin", "-a", "stdout", "-u", "1000:1000", "--cidfile", f"{rows.PLACE}/{name}",
             "--name", name, "busybox", "sh", "-c", "cat; id -u; echo hidden >&2", input="typed\n", timeout=60)
    table.look("--interactive", kind, lambda: r.lines[0] == "typed")
    table.look("--user", kind, lambda: r.lines[1] == "1000")
    table.look("--attach", kind, lambda: r.err == "")
    table.look("--rm", kind, lambda: proa("inspect", name, check=False).rc != 0)
    with open(f"{rows.PLACE}/{name}") as f:
        table.look("--cidfile", kind, lambda: len(f.read()) == 64)
    os.unlink(f"{rows.PLACE}/{name}")


def terminal(table, kind, name):
    t = Terminal("run", "-t", "-i", "--detach-keys", "ctrl-a", *KINDS[kind], "--name", name, "busybox", "sh")
    t.type("tty; echo re''ady\n")
    t.expect("ready\r\n")
    table.look("--tty", kind, lambda: "/dev/pts/" in t.seen)
    t.type("\x01")
    table.look("--detach-keys", kind, lambda: t.end() == 0 and state(name) == "running")
    table.look("--detach", kind, lambda: state(f"parity-{kind}-MAIN") == "running")
    table.look("--vm", kind, lambda: rows.inspect(name)["Kind"] == ("vm" if kind == "light" else "container"))
    proa("rm", "-f", name, timeout=60)


def signals(table, kind, name):
    """With --sig-proxy=false the signal is the command's own, and the workload goes on."""
    p = start("run", "--sig-proxy=false", *KINDS[kind], "--name", name, "busybox", "sh", "-c", "echo up; sleep 1000")
    assert p.stdout.readline() == b"up\n"
    p.send_signal(signal.SIGTERM)
    table.look("--sig-proxy", kind, lambda: finish(p).rc == -signal.SIGTERM and state(name) == "running")
    proa("rm", "-f", name, timeout=60)


def disk_streams(table, kind, name):
    """A machine of a disk image has a console instead of streams, and a system instead of a command."""
    table.put("--user", kind, refusal(kind, "user", ["1000"]) or "works")
    t = Terminal("run", "-it", "--vm", "--rm", "--detach-keys", "ctrl-a", "--cidfile", f"{rows.PLACE}/{name}", "--name", name, *IMAGE[kind])
    t.expect("login:", 120)
    t.type("root\n")
    t.expect("# ")
    t.type("ls -l /proc/self/fd/0; echo re''ady\n")
    t.expect("ready\r\n")
    table.look("--interactive", kind, lambda: "re''ady" in t.seen)
    table.look("--tty", kind, lambda: "-> /dev/ttyS0" in t.seen)
    table.look("--vm", kind, lambda: rows.inspect(name)["Kind"] == "vm")
    t.type("\x01")
    table.look("--detach-keys", kind, lambda: t.end() == 0 and state(name) == "running")
    table.look("--detach", kind, lambda: state(f"parity-{kind}-MAIN") == "running")
    with open(f"{rows.PLACE}/{name}") as f:
        table.look("--cidfile", kind, lambda: len(f.read()) == 64)
    os.unlink(f"{rows.PLACE}/{name}")
    proa("kill", name, timeout=60)
    table.look("--rm", kind, lambda: until(lambda: proa("inspect", name, check=False).rc != 0))
    disk_signals(table, kind, name)


def disk_signals(table, kind, name):
    """The console is its standard output, which is not asked for here; a signal is the command's own, and no power button."""
    p = start("run", "-a", "stderr", "--sig-proxy=false", "--name", name, *IMAGE[kind])
    until(lambda: "Tiny Linux" in proa("logs", name, check=False).out, timeout=120)
    p.send_signal(signal.SIGTERM)
    done = finish(p)
    table.look("--sig-proxy", kind, lambda: done.rc == -signal.SIGTERM and state(name) == "running")
    table.look("--attach", kind, lambda: done.out == "")
    proa("rm", "-f", name, timeout=60)


def secure_boot(table, kind, name):
    """What such a machine is made of; what it starts and what not is seen in test_disk_machine.py."""
    reason = refusal(kind, "secure-boot", [])
    if reason:
        table.put("--secure-boot", kind, reason)
        return
    proa("run", "-d", "--secure-boot", "-m", "128m", "--network", "none", "--name", name, *IMAGE[kind], timeout=60)
    place = rows.Place(kind, name)
    table.look("--secure-boot", kind, lambda: rows.qemu_has(place, "smm=on") and rows.qemu_has(place, "property=secure,value=on"))
    proa("rm", "-f", name, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_flags_of_the_command(table, grounds, kind, name):
    secure_boot(table, kind, name)
    for what in (disk_streams,) if kind == "disk" else (streams, terminal, signals):
        what(table, kind, name)
    table.check()


@pytest.mark.leaky  # stops what test_flags has started
@pytest.mark.parametrize("kind", KINDS)
def test_verbs(table, grounds, kind):
    place = rows.Place(kind, f"parity-{kind}-MAIN")
    for verb, look in verbs.VERBS:
        table.look(verb, kind, look, place)
    table.check()


HEAD = """# Parity: what works on which kind

Written by tests/integration/test_parity.py, which has tried every cell: "works" was seen to, anything else is what
the program itself says when it refuses. A light machine is `--vm` on an application image; the disk image that was
tried has QEMU's guest agent in it, without which the verbs that go through it say that it is missing. What cloud-init is told
is looked for on its disk; that it does so inside is seen in test_cloud.py.
"""


def write(table):
    line = "| | container | light machine | disk image |\n|---|---|---|---|"
    flags = table.column([f"--{flag}" for flag in flags_of_run()])
    tried = table.column([verb for verb, _ in verbs.VERBS])
    other = ", ".join(f"`{verb}`" for verb in sorted(verbs.OTHERS))
    return "\n".join([HEAD, "## Flags of `run`", "", line, *flags, "", "## Verbs", "", line, *tried, "",
                      "The other verbs are about images, networks, volumes, the host, or Proa itself:", other + ".", ""])


def test_the_table_is_what_was_found(table):
    known = {row for row, _ in table.cells}
    missing = [f for f in flags_of_run() if f"--{f}" not in known]
    assert not missing, f"flags of `run` without a row in parity_rows.py: {missing}"
    unknown = verbs.of_the_program() - {v for v, _ in verbs.VERBS} - verbs.OTHERS
    assert not unknown, f"verbs without a row in parity_verbs.py: {sorted(unknown)}"
    text = write(table)
    if os.environ.get("PROA_REGENERATE"):
        with open(TABLE, "w") as f:
            f.write(text)
    with open(TABLE) as f:
        assert f.read() == text, "docs/PARITY.md says something else: PROA_REGENERATE=1 pytest " \
                                 "tests/integration/test_parity.py writes it anew, for you to read the difference"
