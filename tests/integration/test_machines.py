"""Machines through the whole product, where they differ from containers underneath: the terminal's two
ends, restarts of a machine with its disk, ports and volumes, and what a kill of any of its processes
leaves for the next command."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest

import leaks
from cli import PATIENCE, PROA, clock_is_right, environment, finish, inspect, proa, refuse, start, state, until
from hostile import qemu_of
from test_crash import pids_of
from test_network import fetch, serve

pytestmark = pytest.mark.vm


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *args, rows=40, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen([PROA, *args], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=environment(), preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))
        os.close(slave)
        self.seen = ""

    def resize(self, rows, columns):
        import fcntl
        import struct
        fcntl.ioctl(self.master, 0x5414, struct.pack("HHHH", rows, columns, 0, 0))  # TIOCSWINSZ

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=60):
        end = time.monotonic() + timeout * PATIENCE
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came: {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode(errors="replace")
                except OSError:
                    assert text in self.seen, f"{text!r} never came: {self.seen!r}"

    def end(self):
        code = self.process.wait(30 * PATIENCE)
        os.close(self.master)
        return code


def test_a_terminal_from_end_to_end(name):
    """run -it: size, a new size, ^C, the exit code; and with the detach keys the machine goes on."""
    t = Terminal("run", "-it", "--vm", "--name", name, "busybox", "sh", rows=33, columns=77)
    t.type("stty size; tty; echo re''ady\n")
    t.expect("ready\r\n")
    assert "33 77" in t.seen and "/dev/pts/0" in t.seen, t.seen
    t.resize(50, 120)
    time.sleep(0.3)
    t.type("stty size; echo ag''ain\n")
    t.expect("again\r\n")
    assert "50 120" in t.seen, t.seen
    t.type("sleep 1000\n")
    time.sleep(0.5)
    t.type("\x03")
    t.type("echo inter''rupted $?\n")
    t.expect("interrupted 130")
    t.type("\x10\x11")
    assert t.end() == 0 and state(name) == "running"
    a = Terminal("attach", name)
    time.sleep(0.5)
    a.type("echo ba''ck; exit 7\n")
    a.expect("back\r\n")
    assert a.end() == 7
    until(lambda: state(name) == "exited")
    assert inspect(name)["State"]["ExitCode"] == 7
    e = proa("start", name, timeout=60)
    assert e.rc == 0 and state(name) == "running"
    x = Terminal("exec", "-it", name, "sh", rows=21, columns=83)
    x.type("stty size; exit 3\n")
    x.expect("21 83")
    assert x.end() == 3
    proa("rm", "-f", name)


def test_a_port_is_free_when_stop_returns(name):
    """stop, start, restart: the published port is there again each time, and the disk's files."""
    serve(name, "--vm", "-p", "127.0.0.1:18190:80")
    proa("exec", name, "sh", "-c", "echo kept >/root/x")
    for verb in ("stop", "restart", "kill"):
        proa(verb, *(["-t", "1"] if verb != "kill" else []), name)
        if verb != "restart":
            proa("start", name, timeout=60)
        got = until(lambda: subprocess.run(["busybox", *fetch("127.0.0.1", 18190)], capture_output=True, text=True).stdout)
        assert got == f"page of {name}\n", verb
        assert proa("exec", name, "cat", "/root/x").out == "kept\n", verb
    proa("rm", "-f", name)


def test_restart_on_failure_counts(name, tmp_path):
    """A machine that fails is started again, with its volume, as often as was said, and no more."""
    proa("run", "-d", "--vm", "--restart", "on-failure:2", "--name", name, "-v", f"{tmp_path}:/v", "busybox", "sh", "-c",
         "echo x >>/v/runs; echo y >>/own; cat /own | wc -l; exit 5", timeout=60)
    until(lambda: state(name) == "exited", timeout=60)
    seen = inspect(name)
    assert seen["RestartCount"] == 2 and seen["State"]["ExitCode"] == 5
    assert (tmp_path / "runs").read_text() == "x\n" * 3
    assert [l.strip() for l in proa("logs", name).lines] == ["1", "2", "3"]
    proa("rm", name)


@pytest.mark.parametrize("program", ["proa-vm", "virtiofsd", "proa-monitor"])
def test_a_kill_leaves_nothing(program, name, tmp_path):
    before = leaks.snapshot()
    ident = proa("run", "-d", "--vm", "--name", name, "-p", "127.0.0.1:18191:80", "-v", f"{tmp_path}:/v", "busybox", "sh", "-c",
                 "echo one >/v/x; sleep 1000", timeout=60).out.strip()
    written = lambda: (tmp_path / "x").exists() and (tmp_path / "x").read_text() == "one\n"  # noqa: E731
    until(written)
    if program == "proa-monitor":
        pids = list(pids_of(program, ident))
    else:
        pids = list(pids_of(program))
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    if program != "virtiofsd":  # a machine goes on without a volume, whose files then answer with errors
        until(lambda: state(name) == "exited")
        proa("start", name, timeout=60)
        until(lambda: proa("exec", name, "cat", "/v/x").out == "one\n")
    proa("rm", "-f", name, timeout=60)
    extra, gone = leaks.settled(before)
    assert not extra and not gone, f"left {extra}, missing {gone}"


def test_processors_and_identity(name):
    r = proa("run", "--rm", "--vm", "--cpus", "2", "--memory", "160m", "-u", "1000:1000", "-e", "A=b c", "--hostname", "h1",
             "-w", "/made/for/it", "--tmpfs", "/t:size=4m", "--name", name, "busybox", "sh", "-c",
             "nproc; id -u; echo \"$A\"; hostname; pwd; df -k /t | awk 'END{print $2}'; cat /proc/1/comm; :", timeout=90)
    assert r.lines == ["2", "1000", "b c", "h1", "/made/for/it", "4096", "sh"], repr(r)
    refuse("run", "--rm", "--vm", "-w", "/proc/self/fd/4", "busybox", "pwd", rc=None, timeout=60)


def memory_is_written(qemu):
    """Its processors stand: it has begun to write a snapshot's memory."""
    for fd in os.listdir(f"/proc/{qemu}/fd"):
        try:
            if os.path.basename(os.readlink(f"/proc/{qemu}/fd/{fd}")) == "memory" and os.stat(f"/proc/{qemu}/fd/{fd}").st_size > 4096:
                return True
        except OSError:
            continue
    return False


def test_the_clock_is_right_after_standing_still(name):
    """After a pause, and after a snapshot that took its time."""
    proa("run", "-d", "--vm", "--tmpfs", "/t", "--name", name, "busybox", "sh", "-c",
         "yes | head -c 20000000 >/t/x; sleep 1000", timeout=60)
    until(lambda: proa("exec", name, "sh", "-c", "wc -c </t/x", check=False).out.strip() == "20000000", timeout=60)
    proa("pause", name)
    time.sleep(5)
    proa("unpause", name)
    clock_is_right(lambda: proa("exec", name, "date", "+%s").out)
    qemu = qemu_of(name)
    snapshot = start("snapshot", "create", "--memory", "--name", "slow", name)
    until(lambda: memory_is_written(qemu), every=0)
    os.kill(qemu, signal.SIGSTOP)
    time.sleep(5)
    os.kill(qemu, signal.SIGCONT)
    assert finish(snapshot, timeout=60).rc == 0
    clock_is_right(lambda: proa("exec", name, "date", "+%s").out)
    proa("snapshot", "rm", "slow")
    proa("rm", "-f", name)


def test_a_read_only_machine(name):
    """--read-only keeps volumes and tmpfs writable, and still makes a missing working directory."""
    r = proa("run", "--rm", "--vm", "--read-only", "--tmpfs", "/t", "-w", "/made", "busybox", "sh", "-c",
             "pwd; echo x >/t/x && cat /t/x; echo x >/x", check=False, timeout=60)
    assert r.lines == ["/made", "x"] and r.rc != 0 and "read-only" in r.err.lower(), repr(r)


def test_more_layers_than_places_for_devices(name, tmp_path):
    """70 layers, volumes and a network in one machine: all layers are on one disk, and nothing is lost of them."""
    steps = "".join(f'COPY f{i} /f{i % 50}\n' for i in range(69))
    for i in range(69):
        (tmp_path / f"f{i}").write_text(f"{i}\n")
    (tmp_path / "Containerfile").write_text(f"FROM busybox\n{steps}RUN true\n")
    proa("build", "-q", "-t", "many", tmp_path, timeout=120)
    try:
        (tmp_path / "v").mkdir()
        r = proa("run", "--vm", "--name", name, "-v", f"{tmp_path}/v:/v", "-v", f"{tmp_path}/f0:/one:ro", "many", "sh", "-c",
                 "cat /f0 /f18 /f19 /f49 /one; ls / | grep -c ^f; ls /sys/block | grep -c ^vd; echo kept >/f0", timeout=90)
        assert r.lines == ["50", "68", "19", "49", "0", "50", "2"], repr(r)
        again = proa("start", "-a", name, timeout=90)
        assert again.lines[0] == "kept", repr(again)
    finally:
        proa("rm", "-f", name, check=False, timeout=60)
        proa("rmi", "many")
        proa("builder", "prune", "-f")
