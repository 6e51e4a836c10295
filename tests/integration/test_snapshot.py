"""Snapshots of both kinds: what is kept, what comes back, what clones share, what stays when others go."""

import os
import sys
import time

import pytest

from cli import inspect, proa, refuse, state, until
from sandbox import STATE, TOP
from test_machines import Terminal
from tpm import AUTH_FAILS, OWN, tpm

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402


def put(name, text, path="/kept"):
    """Changes a stopped instance's files, whatever its kind: it runs for a moment."""
    proa("start", name, timeout=120)
    proa("exec", name, "sh", "-c", f"echo {text} > {path}; sync")
    proa("stop", "-t", "1", name, timeout=60)


def get(name, path="/kept"):
    proa("start", name, timeout=120)
    text = proa("exec", name, "cat", path).out.strip()
    proa("stop", "-t", "1", name, timeout=60)
    return text


def snapshots():
    return proa("snapshot", "ls", "--format", "{{.Instance}}/{{.Name}} {{.Consistency}}").lines


@pytest.fixture
def other(name):
    yield name + "-b"
    proa("rm", "-f", "-v", name + "-b", check=False, timeout=60)


def test_restore_brings_files_and_options_back(kind, flags, name):
    proa("create", "--name", name, *flags, "-e", "A=1", "busybox", "sleep", "1000")
    put(name, "one")
    assert proa("snapshot", "create", name).out.strip() == "snap0"
    put(name, "two")
    proa("snapshot", "create", "--name", "second", name)
    put(name, "three")
    assert snapshots() == [f"{name}/snap0 stopped", f"{name}/second stopped"]
    proa("snapshot", "restore", name, "snap0")
    assert state(name) == "exited" and get(name) == "one"
    proa("snapshot", "restore", name, "second")  # forward again, over what has been written since
    assert get(name) == "two"
    proa("snapshot", "restore", name, "snap0")
    proa("snapshot", "rm", f"{name}/snap0", "second")
    assert get(name) == "one", "what it stands on went with the snapshot"
    assert snapshots() == []
    proa("rm", "-f", name)
    assert os.listdir(STATE + "/snapshots") == []


def test_clones_are_instances_of_their_own(kind, flags, name, other):
    proa("create", "--name", name, *flags, "-p", "127.0.0.1:18200:80", "-v", "/anonymous", "busybox", "sleep", "1000")
    put(name, "shared")
    proa("snapshot", "create", "--name", "base", name)
    clone = proa("snapshot", "clone", f"{name}/base", "--name", other).out.strip()
    proa("start", name, other, timeout=120)
    first, second = inspect(name), inspect(other)
    assert second["Id"] == clone != first["Id"]
    networks = [i["NetworkSettings"]["Networks"]["proa"] for i in (first, second)]
    assert networks[0]["IPAddress"] != networks[1]["IPAddress"]
    assert networks[0]["MacAddress"] != networks[1]["MacAddress"]
    assert first["Mounts"][0]["Name"] != second["Mounts"][0]["Name"]
    hosts = [proa("exec", n, "hostname").out.strip() for n in (name, other)]
    assert hosts == [first["Id"][:12], clone[:12]]
    proa("exec", other, "sh", "-c", "cat /kept; echo mine > /kept")
    assert proa("exec", name, "cat", "/kept").out.strip() == "shared"
    proa("rm", "-f", "-v", name, timeout=60)
    proa("snapshot", "rm", "base")
    proa("stop", "-t", "1", other, timeout=60)
    assert get(other) == "mine", "a clone outlives what it was made of"
    proa("rm", "-f", "-v", other)
    assert os.listdir(STATE + "/snapshots") == []


def test_a_snapshot_outlives_its_instance(kind, flags, name, other):
    proa("create", "--name", name, *flags, "busybox", "sleep", "1000")
    put(name, "kept")
    proa("snapshot", "create", "--name", "last", name)
    proa("rm", "-f", name)
    refuse("rmi", "busybox", rc=1, say="snapshot")
    proa("snapshot", "clone", "last", "--name", other)
    assert get(other) == "kept"
    proa("rm", "-f", other)
    proa("snapshot", "rm", "last")
    assert os.listdir(STATE + "/snapshots") == []


def test_before_the_first_start(kind, flags, name, other):
    proa("create", "--name", name, *flags, "busybox", "sleep", "1000")
    proa("snapshot", "create", "--name", "empty", name)
    put(name, "later")
    proa("snapshot", "clone", "empty", "--name", other)
    proa("snapshot", "restore", name, "empty")
    for n in (name, other):
        proa("start", n, timeout=120)
        assert proa("exec", n, "ls", "/kept", check=False).rc != 0
    proa("rm", "-f", name, other, timeout=60)
    proa("snapshot", "rm", "empty")


def test_a_running_container_stands_still_for_a_moment(name):
    proa("run", "-d", "--name", name, "busybox", "sh", "-c", "echo 1 > /kept; sleep 1000")
    proa("exec", name, "sh", "-c", "ln /kept /link; chmod 4711 /kept; mkfifo /fifo; rm /bin/vi; truncate -s 1G /hole")
    made = proa("snapshot", "create", "--name", "live", name)
    assert "paused for" in made.err and state(name) == "running"
    assert snapshots() == [f"{name}/live crash"]
    proa("exec", name, "sh", "-c", "rm /kept /link /fifo /hole")
    refuse("snapshot", "restore", name, "live", rc=1, say=["is running", "proa stop"])
    proa("snapshot", "restore", "-f", name, "live")
    assert state(name) == "exited"
    proa("start", name)
    out = proa("exec", name, "sh", "-c", "stat -c '%h %a' /kept; stat -c %F /fifo; ls /bin/vi; stat -c %s /hole",
               check=False)
    assert out.lines == ["2 4711", "fifo", str(1 << 30)], repr(out)
    proa("snapshot", "rm", "live")


def test_what_is_refused(name, other):
    proa("create", "--name", name, "busybox", "sleep", "1000")
    proa("create", "--name", other, "busybox", "sleep", "1000")
    proa("snapshot", "create", "--name", "one", name)
    refuse("snapshot", "create", "--name", "one", name, rc=1, say=["already", "one"])
    refuse("snapshot", "create", "--name", "../x", name, rc=1, say="no snapshot name")
    refuse("snapshot", "create", "--memory", name, rc=1, say="leave --memory out")
    refuse("snapshot", "create", "nothing-there", rc=1, say="no such instance")
    refuse("snapshot", "restore", other, "one", rc=1, say="no such snapshot")
    refuse("snapshot", "clone", "nothing-there", rc=1, say="no such snapshot")
    refuse("snapshot", "clone", "one", "--name", other, rc=1, say="in use")
    proa("snapshot", "create", "--name", "one", other)
    refuse("snapshot", "rm", "one", rc=1, say="INSTANCE/NAME")
    assert proa("snapshot", "inspect", f"{other}/one").json[0]["Instance"] == other
    proa("snapshot", "rm", f"{name}/one", f"{other}/one")


# Each number is in the file, and the file on the disk, before it is said.
WRITER = "i=0; while :; do i=$((i+1)); echo $i >> /log; sync; echo $i; done"


def said(name):
    return [int(l) for l in proa("logs", name).lines]


@pytest.mark.vm
@pytest.mark.parametrize("freeze", [True, False])
def test_a_running_machine_goes_on(name, other, freeze, figure):
    """Live: nothing that was acknowledged before is missing, nothing is torn, and the writer never stops."""
    proa("run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", WRITER, timeout=120)
    for n in range(3):
        until(lambda: len(said(name)) > 5, timeout=60)
        before = said(name)[-1]
        made = proa("snapshot", "create", "--name", f"live{n}", *([] if freeze else ["--no-freeze"]), name)
        figure(made.err)
        after = said(name)[-1]
        until(lambda: said(name)[-1] > after, message="the writer stands still")
        proa("snapshot", "clone", f"live{n}", "--name", other)
        proa("start", other, timeout=120)
        log = [int(l) for l in proa("exec", other, "head", "-c", "100000", "/log").lines]
        proa("rm", "-f", other, timeout=60)
        kept = log[:log.index(1, 1)] if 1 in log[1:] else log  # the clone's own writer begins again
        assert kept == list(range(1, len(kept) + 1)), f"torn: {kept}"
        assert before <= len(kept), f"{before} was acknowledged, {len(kept)} are there"
    assert snapshots() == [f"{name}/live{n} {'frozen' if freeze else 'crash'}" for n in range(3)]
    numbers = said(name)
    assert numbers == list(range(1, len(numbers) + 1))
    proa("stop", "-t", "1", name, timeout=60)
    proa("snapshot", "rm", "live1", "live2")
    proa("start", name, timeout=120)
    log = [int(l) for l in proa("exec", name, "cat", "/log").lines]
    assert log[:len(numbers)] == numbers, "the chain of its own disk is broken"
    proa("snapshot", "restore", "-f", name, "live0", timeout=60)
    proa("start", name, timeout=120)
    assert int(proa("exec", name, "head", "-n", "1", "/log").out) == 1
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "live0")
    assert os.listdir(STATE + "/snapshots") == []


def went_back(numbers):
    """The first that is less than the one before; what runs until it is ended says some more first."""
    return next((b for a, b in zip(numbers, numbers[1:]) if b < a), None)


@pytest.mark.vm
def test_memory_goes_on_where_it_was(name, figure):
    """What the machine is doing comes back: its processes, its files in memory, its clock, its address."""
    count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
    proa("run", "-d", "--vm", "--name", name, "--tmpfs", "/ram", "busybox", "sh", "-c", count, timeout=120)
    proa("exec", name, "sh", "-c", "echo one > /ram/kept; echo one > /kept")
    made = proa("snapshot", "create", "--memory", "--name", "alive", name, timeout=120)
    figure(made.err)
    at = said(name)[-1]
    assert int(inspect("alive", "snapshot")["MemoryBytes"]) > 1 << 20
    proa("exec", name, "sh", "-c", "echo two > /ram/kept; echo two > /kept; sync")
    until(lambda: said(name)[-1] > at + 30)
    seen = len(said(name))
    address = inspect(name)["NetworkSettings"]["IPAddress"]
    for _ in range(2):
        proa("snapshot", "restore", "--force", name, "alive", timeout=120)
        assert state(name) == "running"
        again = until(lambda: went_back(said(name)[seen - 1:]))
        assert at - 20 <= again <= at + 2, f"{again} instead of about {at}"
        assert proa("exec", name, "cat", "/ram/kept", "/kept").lines == ["one", "one"]
        now = int(proa("exec", name, "date", "+%s").out)
        assert abs(now - time.time()) < 30, "its clock is that of the snapshot"
        assert inspect(name)["NetworkSettings"]["IPAddress"] == address
        assert address in proa("exec", name, "ip", "addr").out
        until(lambda: len(said(name)) > seen + 20)
        seen = len(said(name))
    # Memory is used once: the next start boots, with the disk as it is now.
    proa("stop", "-t", "1", name, timeout=60)
    proa("start", name, timeout=120)
    until(lambda: said(name)[seen + 200:][-1:] or said(name)[-1] < at + 5, timeout=60)
    assert proa("exec", name, "ls", "/ram/kept", check=False).rc != 0
    assert proa("exec", name, "cat", "/kept").out.strip() == "one"
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "alive")


@pytest.fixture(scope="module")
def tiny(house):
    """A disk that boots in a few seconds (tests/machine)."""
    proa("import", disk.path_of("tiny"), "tiny:latest", timeout=120)
    yield "tiny"
    proa("rmi", "tiny", timeout=60)


@pytest.mark.vm
def test_firmware_and_tpm_are_those_of_the_snapshot(name, tmp_path):
    proa("import", disk.path_of("agent"), "agent:1", timeout=120)
    proa("run", "-d", "--name", name, "--firmware", "uefi", "--tpm", "-m", "256m", "agent:1", timeout=120)
    up = lambda: until(lambda: proa("exec", name, "true", check=False).rc == 0, timeout=120)  # noqa: E731
    up()
    proa("snapshot", "create", "--name", "before", name)
    assert tpm(None, name, OWN) == [0, 0] and tpm(None, name, OWN) == AUTH_FAILS
    # As a file it keeps them, too.
    proa("snapshot", "export", "before", tmp_path / "before", timeout=60)
    proa("snapshot", "rm", "before")
    proa("snapshot", "import", tmp_path / "before", timeout=60)
    proa("kill", name)
    variables = f"{STATE}/instances/{inspect(name)['Id']}/firmware.vars"
    with open(variables, "r+b") as f:
        f.write(bytes(os.path.getsize(variables)))
    proa("snapshot", "restore", name, "before")
    proa("start", name, timeout=120)
    up()
    assert tpm(None, name, OWN) == [0, 0], "the TPM is not that of the snapshot"
    with open(variables, "rb") as f:
        assert f.read().strip(b"\0")
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", "before")
    proa("rmi", "agent:1", timeout=60)


@pytest.mark.vm
def test_a_machine_that_boots_a_disk(tiny, name, figure):
    """The same chain before the store's packs: live, with memory, clones."""
    def word(t, n, text):
        t.type(f"echo {text} | dd of=/dev/vda bs=512 seek={90000 + n} conv=notrunc,fsync 2>&1; echo wri''tten\n")
        t.expect("written\r\n")
        t.seen = ""

    def read(t):
        t.type("for i in 0 1; do dd if=/dev/vda bs=512 count=1 skip=$((90000+i)) 2>/dev/null | head -n 1; done; "
               "echo re''ad\n")
        t.expect("read\r\n")
        words, t.seen = t.seen, ""
        return [w for w in words.split() if w.startswith("word")]

    def login(t):
        t.type("\n")
        t.expect("login:", timeout=120)
        t.type("root\n")
        t.expect("# ")
        t.seen = ""

    def leave(t):
        t.type("\x10\x11")
        assert t.end() == 0

    proa("run", "-d", "--name", name, "--disk-size", "64m", "tiny", timeout=120)
    t = Terminal("attach", name)
    login(t)
    word(t, 0, "word-one")
    made = proa("snapshot", "create", "--name", "live", name)
    figure("without memory, " + made.err)
    word(t, 1, "word-two")
    t.type("cd /tmp; export KEPT=word-memory; echo go''od\n")
    t.expect("good\r\n")
    made = proa("snapshot", "create", "--memory", "--name", "alive", name, timeout=120)
    figure("with memory, " + made.err)
    word(t, 0, "word-three")
    leave(t)
    proa("snapshot", "restore", "-f", name, "alive", timeout=120)
    t = Terminal("attach", name)
    t.type("echo $KEPT $PWD; echo te''ll\n")
    t.expect("tell\r\n")
    assert "word-memory /tmp" in t.seen, t.seen
    t.seen = ""
    t.type("echo 3 > /proc/sys/vm/drop_caches\n")
    assert read(t) == ["word-one", "word-two"]
    leave(t)
    proa("snapshot", "clone", "live", "--name", name + "-b")
    proa("start", name + "-b", timeout=120)
    t = Terminal("attach", name + "-b")
    login(t)
    assert read(t) == ["word-one"]
    leave(t)
    proa("rm", "-f", name + "-b", name, timeout=60)
    proa("snapshot", "rm", "live", "alive")
    assert os.listdir(STATE + "/snapshots") == []
