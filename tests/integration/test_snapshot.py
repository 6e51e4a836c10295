"""Snapshots of both kinds: what is kept, what comes back, what clones share, what stays when others go."""

import os

import pytest

from cli import inspect, proa, refuse, state
from sandbox import STATE


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
