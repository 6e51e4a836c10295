"""create, start, stop, kill, restart, pause, rename, wait, attach, rm, ps, restart policies."""

import json
import os
import re
import signal
import time

import pytest

from cli import finish, inspect, proa, refuse, start, state, until

TRAP = "trap 'echo got-term; exit 9' TERM; trap 'echo got-usr1' USR1; echo up; while :; do sleep 0.1; done"


def up(name):
    until(lambda: "up" in proa("logs", name).out, timeout=30, message=f"{name} never said it was up")


def test_a_whole_life(kind, flags, name):
    """One instance through every state and back: two boots of a machine for all these verbs."""
    proa("create", *flags, "--name", name, "busybox", "sh", "-c", TRAP, timeout=60)
    assert state(name) == "created"
    refuse("stop-nothing", name, rc=None)
    refuse("kill", name, rc=1, say="not running")
    refuse("pause", name, rc=1)

    assert proa("start", name, timeout=60).out.strip() == name
    up(name)
    proa("start", name)  # already running is fine, as with Docker
    refuse("rm", name, rc=1, say=name)

    proa("kill", "-s", "USR1", name)
    until(lambda: "got-usr1" in proa("logs", name).out)

    proa("pause", name)
    assert state(name) == "paused"
    assert "(Paused)" in proa("ps", "--filter", f"name={name}").out
    refuse("exec", name, "true", rc=1, say="paused")
    proa("unpause", name)
    assert state(name) == "running"
    assert proa("exec", name, "echo", "back").out == "back\n"

    proa("rename", name, name + "x")
    try:
        refuse("inspect", name, rc=1)
        assert inspect(name + "x")["Name"].lstrip("/") == name + "x"
    finally:
        proa("rename", name + "x", name)

    waiting = start("wait", name)
    time.sleep(0.1)
    assert proa("stop", name).out.strip() == name
    assert finish(waiting).out.strip() == "9"
    seen = inspect(name)["State"]
    assert seen["Status"] == "exited" and seen["ExitCode"] == 9 and seen["Running"] is False
    assert "got-term" in proa("logs", name).out
    proa("stop", name)  # stopped already is fine
    refuse("exec", name, "true", rc=1, say="not running")

    proa("restart", name, timeout=60)
    until(lambda: proa("logs", name).out.count("up") == 2, timeout=30)
    proa("rm", "-f", name)
    refuse("inspect", name, rc=1)


def test_stop_kills_what_does_not_listen(kind, flags, name):
    proa("run", "-d", *flags, "--name", name, "busybox", "sh", "-c",
         "trap '' TERM; echo up; while :; do sleep 0.1; done", timeout=60)
    up(name)
    r = proa("stop", "-t", "1", name)
    assert 0.8 < r.seconds < 6
    assert inspect(name)["State"]["ExitCode"] == 137
    proa("rm", name)


def test_files_survive_a_stop(kind, flags, name):
    proa("run", "-d", *flags, "--name", name, "busybox", "sleep", "1000", timeout=60)
    proa("exec", name, "sh", "-c", "echo kept >/root/x; sync")
    proa("stop", "-t", "1", name)
    proa("start", name, timeout=60)
    assert proa("exec", name, "cat", "/root/x").out == "kept\n"
    proa("rm", "-f", name)


def test_attach(kind, flags, name):
    """attach sees what comes from now on, sends stdin with -i, and gives the exit code."""
    proa("run", "-d", "-i", *flags, "--name", name, "busybox", "sh", "-c",
         "while read line; do echo \"<$line>\"; [ $line = end ] && exit 4; done", timeout=60)
    r = proa("attach", name, input="one\nend\n", check=False)
    assert r.rc == 4 and "<one>" in r.out and "<end>" in r.out, repr(r)
    proa("rm", name)


def test_ps_has_dockers_columns(name):
    proa("run", "-d", "--name", name, "-p", "127.0.0.1:18080:80", "busybox", "sleep", "1000")
    header, line = [l for l in proa("ps").lines if l.startswith("CONTAINER") or l.startswith("ID") or name in l]
    for column in ("IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"):
        assert column in header
    assert re.match(r"[0-9a-f]{12} ", line)
    assert "busybox" in line and '"sleep 1000"' in line and "Up " in line and "127.0.0.1:18080->80/tcp" in line
    assert proa("ps", "-q", "--no-trunc").out.strip() == inspect(name)["Id"]
    assert proa("ps", "--format", "{{.Names}} {{.Image}}").out == f"{name} busybox\n"
    document = json.loads(proa("ps", "--format", "json").lines[0])
    assert document["Names"] == name and document["State"] == "running"
    proa("stop", "-t", "0", name)
    assert name not in proa("ps").out
    assert "Exited (137)" in proa("ps", "-a").out
    assert name in proa("ps", "-a", "--filter", "status=exited").out
    assert name not in proa("ps", "-a", "--filter", "status=running").out
    proa("rm", name)


def test_inspect_formats(box):
    kind = "vm" if "-vm-" in box else "container"
    assert proa("inspect", "-f", "{{.State.Status}}", box).out == "running\n"
    assert proa("inspect", "--format", "{{.Name}}", box).out.strip().lstrip("/") == box
    assert proa("inspect", "-f", "{{json .Config.Labels}}", box).json == {"role": "box"}
    address = proa("inspect", "-f", "{{.NetworkSettings.IPAddress}}", box).out.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address)
    seen = inspect(box)
    assert "SHARED=yes" in seen["Config"]["Env"] and seen["State"]["Pid"] > 1
    assert kind in json.dumps(seen).lower()
    refuse("inspect", "no-such-thing", rc=1, say="no-such-thing")


def test_names_are_unique_and_plain(name):
    proa("create", "--name", name, "busybox", "true")
    refuse("create", "--name", name, "busybox", "true", say="in use")
    for bad in ("../x", "a/b", "-x", ".", "x y", "a" * 300, "Ü"):
        refuse("create", "--name=" + bad, "busybox", "true")
    refuse("rename", name, "../y", rc=1)
    proa("rm", name)


def test_rm_of_several_goes_on(name):
    proa("create", "--name", name, "busybox", "true")
    r = proa("rm", "no-such-one", name, check=False)
    assert r.rc == 1 and r.out.strip() == name and "no-such-one" in r.err


@pytest.mark.parametrize("policy,code,again", [("no", 1, False), ("on-failure:2", 1, True), ("on-failure", 0, False)])
def test_restart_policies(name, policy, code, again):
    proa("run", "-d", "--network", "none", "--restart", policy, "--name", name, "busybox", "sh", "-c",
         f"echo run; exit {code}")
    until(lambda: state(name) == "exited", timeout=20)
    runs = proa("logs", name).out.count("run")
    assert runs == (3 if again else 1)
    assert inspect(name)["RestartCount"] == (2 if again else 0)
    proa("rm", name)


def test_restart_always_until_stopped(kind, flags, name):
    proa("run", "-d", "--restart", "always", *flags, "--name", name, "busybox", "sh", "-c", "echo run; sleep 0.2; exit 0",
         timeout=60)
    until(lambda: proa("logs", name).out.count("run") >= 2, timeout=40)
    proa("stop", "-t", "1", name)
    assert state(name) == "exited"
    count = proa("logs", name).out.count("run")
    time.sleep(1)
    assert proa("logs", name).out.count("run") == count
    proa("rm", name)
    refuse("create", "--restart", "sometimes", "busybox", say="restart")
    refuse("create", "--rm", "--restart", "always", "busybox")


def test_wait_on_several(name):
    proa("run", "-d", "--network", "none", "--name", name, "busybox", "sh", "-c", "exit 6")
    assert proa("wait", name, name).out == "6\n6\n"
    proa("rm", name)


def test_detach_keys(name):
    """ctrl-p ctrl-q leaves the workload running."""
    import pty
    import subprocess
    from cli import PROA, environment
    proa("run", "-dit", "--name", name, "busybox", "sh")
    master, slave = pty.openpty()
    p = subprocess.Popen([PROA, "attach", name], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                         env=environment())
    os.close(slave)
    time.sleep(0.5)
    os.write(master, b"echo typ''ed\n")
    seen = b""
    while b"typed" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"\x10\x11")
    assert p.wait(10) == 0
    os.close(master)
    assert state(name) == "running"
    proa("rm", "-f", name)


def test_a_signal_by_any_name(name):
    for form in ("KILL", "SIGKILL", "9"):
        proa("run", "-d", "--network", "none", "--name", name, "busybox", "sleep", "1000")
        proa("kill", "-s", form, name)
        until(lambda: state(name) == "exited")
        assert inspect(name)["State"]["ExitCode"] == 128 + signal.SIGKILL
        proa("rm", name)
    refuse("kill", "-s", "NOSUCH", name, rc=1)
