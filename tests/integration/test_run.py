"""`proa run`: its flags, streams and exit codes, the same for both kinds."""

import hashlib
import os
import re

import pytest

from cli import finish, inspect, proa, refuse, start, state, until

FACTS = r"""
echo "args=$*"; echo "user=$(id -u):$(id -g)"; echo "groups=$(id -G)"; echo "pwd=$(pwd)"; echo "host=$(hostname)"
echo "A=$A"; echo "B=$B"; echo "IMG=$IMG"; echo "home=$HOME"; echo "path=$PATH"; echo "term=$(test -t 0 && echo yes || echo no)"
echo to-stderr >&2
exit 7
"""


def facts(result):
    return dict(line.split("=", 1) for line in result.lines if "=" in line)


def test_one_run_shows_every_flag(kind, flags, name):
    """-e, -w, -u, --hostname, --entrypoint, --label, --name and both streams, in one start."""
    r = proa("run", *flags, "--name", name, "-e", "A=one two", "--env", "B", "-w", "/tmp/new/dir", "-u", "user",
             "--hostname", "vessel", "--label", "tier=front", "--entrypoint", "sh", "busybox", "-c", FACTS, "zero",
             "x y", "z", env={"B": "from outside"}, check=False, timeout=60)
    assert r.rc == 7, repr(r)
    f = facts(r)
    assert f["args"] == "x y z" and f["A"] == "one two" and f["B"] == "from outside"
    assert f["user"] == "1000:1000" and f["pwd"] == "/tmp/new/dir" and f["host"] == "vessel"
    assert sorted(f["groups"].split()) == ["10", "1000", "2000"]
    assert f["home"] == "/home/user" and f["term"] == "no"
    assert "/usr/bin" in f["path"].split(":") and "/bin" in f["path"].split(":")
    assert r.err.strip() == "to-stderr"
    seen = inspect(name)
    assert seen["State"]["ExitCode"] == 7 and seen["State"]["Status"] == "exited"
    assert seen["Config"]["Labels"]["tier"] == "front"
    assert seen["Config"]["User"] == "user" and seen["Config"]["WorkingDir"] == "/tmp/new/dir"


def test_stdin_and_bytes(kind, flags):
    """-i carries bytes both ways unchanged, and the end of input arrives."""
    data = os.urandom(300_000)
    r = proa("run", "--rm", "-i", *flags, "busybox", "cat", input=data, binary=True, timeout=60)
    assert r.out == data


def test_without_interactive_stdin_is_empty(kind, flags):
    assert proa("run", "--rm", *flags, "busybox", "cat", input="nobody reads this", timeout=60).out == ""


def test_terminal(kind, flags):
    """-t gives a terminal of the right kind: one stream, CR LF, a size."""
    r = proa("run", "--rm", "-t", *flags, "busybox", "sh", "-c", "tty; test -t 1 && echo yes; echo err >&2", timeout=60)
    assert "yes\r\n" in r.out and "err\r\n" in r.out and "/dev/" in r.out


@pytest.mark.parametrize("command,code", [
    (["true"], 0), (["sh", "-c", "exit 42"], 42), (["no-such-command"], 127), (["/etc/not-executable"], 126),
    (["/etc"], 126), (["sh", "-c", "kill -9 $$"], 137), (["sh", "-c", "kill -TERM $$"], 143),
])
def test_exit_codes(command, code):
    # Process 1 of a namespace does not die of its own signals: with --init the command is not that.
    init = ["--init"] if code > 128 else []
    assert proa("run", "--rm", "--network", "none", *init, "busybox", *command, check=False).rc == code


@pytest.mark.vm
@pytest.mark.parametrize("command,code", [(["no-such-command"], 127), (["/etc/not-executable"], 126),
                                          (["sh", "-c", "kill -9 $$"], 137)])
def test_exit_codes_of_a_machine(command, code):
    assert proa("run", "--rm", "--vm", *(["--init"] if code > 128 else []), "busybox", *command, check=False).rc == code


def test_the_engine_fails_with_125():
    refuse("run", "--rm", "no-such-image", "true", say="no-such-image")
    refuse("run", "--no-such-flag", "busybox", say="no-such-flag")
    refuse("run", "--rm", "--network", "no-such-network", "busybox", "true", say="no-such-network")
    refuse("run", "--rm", "--memory", "many", "busybox", "true", say="memory")
    refuse("run", "--rm", "-v", "relative/x:rel", "busybox", "true")
    refuse("run", "--rm", "-p", "99999:80", "busybox", "true")


def test_detached_prints_the_id(kind, flags, name):
    r = proa("run", "-d", *flags, "--name", name, "busybox", "sleep", "1000", timeout=60)
    assert re.fullmatch(r"[0-9a-f]{64}\n", r.out), repr(r)
    assert state(name) == "running"
    # By name, by full id, by a prefix of the id.
    for reference in (name, r.out.strip(), r.out[:12]):
        assert inspect(reference)["Id"] == r.out.strip()
    proa("rm", "-f", name)


def test_rm_removes_after_the_end(kind, flags, name):
    proa("run", "--rm", *flags, "--name", name, "busybox", "true", timeout=60)
    refuse("inspect", name, rc=1)
    proa("run", "-d", "--rm", *flags, "--name", name, "busybox", "true", timeout=60)
    until(lambda: proa("inspect", name, check=False).rc == 1, message="a detached --rm instance stayed")


def test_volumes_binds_and_tmpfs(kind, flags, name, tmp_path):
    """-v of a host directory, read-only, of a named volume, and --tmpfs, in one start each way."""
    (tmp_path / "in").write_text("from the host\n")
    tmp_path.chmod(0o755)
    read_only = tmp_path / "ro"
    read_only.mkdir()
    (read_only / "f").write_text("fixed\n")
    proa("volume", "create", name + "-v")
    try:
        script = "cat /host/in; echo back >/host/out; cat /ro/f; (echo no >/ro/f) 2>/dev/null && echo WROTE; " \
                 "echo kept >/data/x; mount | grep ' /scratch ' | grep -o tmpfs | head -n 1"
        r = proa("run", "--rm", *flags, "-v", f"{tmp_path}:/host", "-v", f"{read_only}:/ro:ro", "-v",
                 f"{name}-v:/data", "--tmpfs", "/scratch", "busybox", "sh", "-c", script, timeout=60)
        assert r.lines == ["from the host", "fixed", "tmpfs"], repr(r)
        assert (tmp_path / "out").read_text() == "back\n" and (read_only / "f").read_text() == "fixed\n"
        assert proa("run", "--rm", "-v", f"{name}-v:/d", "busybox", "cat", "/d/x").out == "kept\n"
    finally:
        proa("volume", "rm", name + "-v")


def test_single_files_are_the_hosts(kind, flags, name, tmp_path):
    """A file is shared as it is: all its bytes, of any number; what either side writes the other sees, and :ro holds
    against the instance only."""
    keystore, log, settings, inner = (tmp_path / n for n in ("keystore", "log", "settings", "inner"))
    (tmp_path / "d").mkdir()
    data = b"\0\1" + os.urandom(1 << 20)
    keystore.write_bytes(data)
    log.write_text("host\n")
    settings.write_text("old\n")
    inner.write_text("inner\n")
    for i in range(60):
        (tmp_path / f"many{i}").write_text(f"{i}\n")
    mounts = [w for i in range(60) for w in ("-v", f"{tmp_path}/many{i}:/many/{i}")]
    mounts += ["-v", f"{keystore}:/etc/keystore:ro", "-v", f"{log}:/var/log/x/log", "-v", f"{settings}:/settings:ro", "-v",
              f"{tmp_path}/d:/d", "-v", f"{inner}:/d/inner:ro"]
    proa("run", "-d", *flags, "--name", name, *mounts, "busybox", "sleep", "1000", timeout=60)
    inside = lambda script: proa("exec", name, "sh", "-c", script).out
    assert inside("cat /many/* | sort -n").split() == [str(i) for i in range(60)]
    assert inside("md5sum </etc/keystore").split()[0] == hashlib.md5(data).hexdigest()
    assert inside("cat /d/inner; echo x >/settings || echo refused; echo x >/etc/keystore || echo refused") == \
        "inner\nrefused\nrefused\n"
    inside("cat /var/log/x/log >>/var/log/x/log.copy; echo guest >>/var/log/x/log; head -c 3000000 /dev/zero >>/var/log/x/log")
    assert log.read_bytes() == b"host\nguest\n" + bytes(3000000)
    settings.write_text("a longer one\n")  # in place, while it runs
    until(lambda: inside("cat /settings") == "a longer one\n")
    with log.open("w") as f:
        f.write("short\n")
    until(lambda: inside("cat /var/log/x/log") == "short\n")
    assert inside("ls /var/log/x") == "log\nlog.copy\n" and keystore.read_bytes() == data
    proa("restart", "-t", "0", name, timeout=60)
    assert inside("cat /settings /var/log/x/log") == "a longer one\nshort\n"
    proa("rm", "-f", name)


def test_limits_reach_the_instance(kind, flags, name):
    """--memory, --cpus, --pids-limit: seen by inspect, and felt inside."""
    proa("run", "-d", *flags, "--name", name, "--memory", "192m", "--cpus", "1", "--pids-limit", "50", "busybox",
         "sleep", "1000", timeout=60)
    limits = inspect(name)["HostConfig"]
    assert limits["Memory"] == 192 << 20 and limits["NanoCpus"] == 1_000_000_000 and limits["PidsLimit"] == 50
    # Sixty sleepers do not fit beside the shell and the first process.
    r = proa("exec", name, "sh", "-c", "i=0; while [ $i -lt 60 ]; do sleep 3 & i=$((i+1)); done; wait", check=False)
    assert "fork" in r.err.lower() or "resource" in r.err.lower() or r.rc != 0, repr(r)
    if kind == "vm":
        total = int(proa("exec", name, "sh", "-c", "awk '/MemTotal/{print $2}' /proc/meminfo").out)
        assert 120 << 10 < total <= 192 << 10
    proa("rm", "-f", name)


def test_out_of_memory_is_told(name):
    r = proa("run", "--name", name, "--memory", "32m", "--memory-swap", "32m", "busybox", "sh", "-c",
             "dd if=/dev/zero of=/dev/null bs=200M count=1", check=False)
    assert r.rc == 137 or r.rc == 1, repr(r)
    assert inspect(name)["State"]["OOMKilled"] is True


def test_read_only_root(kind, flags):
    r = proa("run", "--rm", "--read-only", *flags, "busybox", "sh", "-c", "touch /x && echo wrote", check=False, timeout=60)
    assert r.rc != 0 and "read-only" in r.err.lower()


def test_init_reaps(kind, flags, name):
    """--init: orphans do not stay as zombies, and signals still reach the command."""
    proa("run", "-d", "--init", *flags, "--name", name, "busybox", "sleep", "1000", timeout=60)
    proa("exec", name, "sh", "-c", "(sleep 0.2 &) ; exit 0")
    until(lambda: " Z " not in proa("exec", name, "ps", "-o", "pid,stat,comm").out)
    assert proa("stop", "-t", "10", name).seconds < 8
    assert inspect(name)["State"]["ExitCode"] in (143, 130)
    proa("rm", name)


def test_image_configuration_is_honoured(kind, flags, busybox_layer, tmp_path):
    import archives
    archive = tmp_path / "i.tar"
    archive.write_bytes(archives.docker_archive([busybox_layer], "configured:1", Entrypoint=["echo", "entry"],
                                                Cmd=["cmd"], Env=["IMG=yes", "A=image"], User="1000:1000",
                                                WorkingDir="/var", Labels={"maker": "test"}))
    proa("load", "-i", archive)
    try:
        assert proa("run", "--rm", *flags, "configured:1", timeout=60).out == "entry cmd\n"
        r = proa("run", "--rm", *flags, "--entrypoint", "sh", "-e", "A=mine", "configured:1", "-c", FACTS,
                 check=False, timeout=60)
        f = facts(r)
        assert (f["IMG"], f["A"], f["user"], f["pwd"]) == ("yes", "mine", "1000:1000", "/var")
    finally:
        proa("rmi", "configured:1")


def test_env_file_and_label_file(name, tmp_path):
    (tmp_path / "env").write_text("# a comment\nA=from file\nB\n\n")
    r = proa("run", "--rm", "--env-file", tmp_path / "env", "busybox", "sh", "-c", "echo $A-$B", env={"B": "host"})
    assert r.out == "from file-host\n"


def test_create_then_start_attached(kind, flags, name):
    proa("create", *flags, "--name", name, "busybox", "sh", "-c", "echo hello; exit 3", timeout=60)
    assert state(name) == "created"
    r = proa("start", "-a", name, check=False, timeout=60)
    assert (r.rc, r.out) == (3, "hello\n")


def test_signals_are_passed_on(kind, flags, name):
    """SIGTERM to an attached `proa run` reaches the workload, whose own answer is the exit code."""
    p = start("run", *flags, "--name", name, "busybox", "sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: "up" in proa("logs", name, check=False).out, timeout=30)
    p.terminate()
    r = finish(p)
    assert r.rc == 5 and "bye" in r.out, repr(r)
