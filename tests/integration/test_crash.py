"""kill -9 of anything at any step: nothing acknowledged is lost, and the next command repairs.

The command is killed by strace at the entry of a system call that changes something, at places
spread over the whole of the command; monitors and QEMUs are killed at times spread over their start
and their life. After each the next command runs as if nothing had been, and nothing is left over.
"""

import os
import re
import signal
import subprocess
import time

import pytest

import leaks
from cli import PROA, ended, environment, finish, proa, refuse, start, state, until

# What changes something that another process or the next command can see.
STEPS = "openat,openat2,mkdir,mkdirat,mount,move_mount,fsmount,umount2,unlink,unlinkat,rename,renameat,renameat2,sendmsg," \
        "sendto,fsync,fdatasync,pwrite64,write,clone,clone3,vfork,execve,flock,bind,connect,setns,unshare,fcntl,kill,linkat"
POINTS = int(os.environ.get("PROA_POINTS", "12"))


def traced(args, step=None):
    """The command under strace; step: (system call, which of its calls) at whose entry it is killed."""
    command = ["strace", "-qq", "-e", f"trace={STEPS}", "-e", "signal=none", "-o"]
    if step:
        command += ["/dev/null", "-e", f"inject={step[0]}:signal=KILL:when={step[1]}"]
    else:
        command += [f"/run/steps.{os.getpid()}"]
    return subprocess.run([*command, PROA, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, env=environment())


def steps_of(args):
    """The calls that the command makes by itself, in order, from its start on."""
    done = traced(args)
    assert done.returncode == 0, done.stderr
    path = f"/run/steps.{os.getpid()}"
    counts, steps = {}, []
    with open(path) as f:
        for line in f:
            call = line.split("(")[0]
            if call.isidentifier():
                counts[call] = counts.get(call, 0) + 1
                steps.append((call, counts[call]))
    os.unlink(path)
    return steps


def points(steps, wanted=POINTS):
    """Spread over the whole; the loader's own calls at the beginning change nothing."""
    steps = [s for s in steps if s[0] != "execve" or s[1] > 1][10:]
    wanted = min(wanted, len(steps))
    return [steps[i * (len(steps) - 1) // max(1, wanted - 1)] for i in range(wanted)]


def nothing_left(before, where):
    extra, gone = leaks.settled(before)
    assert not extra and not gone, f"after a kill at {where}: left {extra}, missing {gone}"


@pytest.mark.slow
def test_run_killed_at_each_step(name):
    run = ["run", "-d", "--name", name, "-p", "127.0.0.1:18100:80", "-v", "/anonymous", "busybox", "sleep", "1000"]
    steps = steps_of(run)
    proa("rm", "-f", "-v", name)
    before = leaks.snapshot()
    killed = 0
    for point in points(steps):
        killed += traced(run, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        seen = proa("ps", "-a", "--format", "{{.Names}} {{.State}}")  # the next command, which repairs
        states = dict(l.split() for l in seen.lines)
        assert states.get(name, "none") in ("none", "created", "running", "exited"), f"step {point}: {states}"
        if name in states:
            proa("rm", "-f", "-v", name)
        nothing_left(before, f"step {point} of run")
    assert killed > POINTS // 2, "the kills do not arrive"


@pytest.mark.slow
def test_run_killed_leaves_the_name_and_the_port_usable(name):
    run = ["run", "-d", "--name", name, "-p", "127.0.0.1:18101:80", "busybox", "sleep", "1000"]
    steps = steps_of(run)
    proa("rm", "-f", name)
    for point in points(steps)[::3]:
        traced(run, point)
        proa("rm", "-f", name, check=False)
        proa(*run)
        proa("rm", "-f", name)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stop", "rm", "kill", "start", "rename", "pause"])
def test_verbs_killed_at_each_step(verb, name):
    args = {"stop": ["stop", "-t", "1", name], "rm": ["rm", "-f", name], "kill": ["kill", name],
            "start": ["start", name], "rename": ["rename", name, name + "-b"], "pause": ["pause", name]}[verb]
    init = ["run", "-d", "--init", "--name", name, "busybox", "sleep", "1000"]
    make = [["create", "--name", name, "busybox", "sleep", "1000"]] if verb == "start" else [init]
    before = leaks.snapshot()
    for command in make:
        proa(*command)
    steps = steps_of(args)
    proa("rm", "-f", name, name + "-b", check=False)
    for point in points(steps)[::2]:
        for command in make:
            proa(*command)
        traced(args, point)
        # What the verb wanted can be asked for again, or has been done.
        again = proa(*args, check=False)
        assert again.rc == 0 or re.search(r"no such|not running|already|not found", again.err.lower()), repr(again)
        proa("rm", "-f", name, check=False)
        proa("rm", "-f", name + "-b", check=False)
        nothing_left(before, f"step {point} of {verb}")


@pytest.mark.slow
def test_import_killed_at_each_step(busybox_layer, tmp_path):
    archive = tmp_path / "x.tar"
    archive.write_bytes(busybox_layer)
    args = ["import", str(archive), "crashed:1"]
    steps = steps_of(args)
    proa("rmi", "crashed:1", check=False)
    before = leaks.snapshot()
    for point in points(steps)[::2]:
        traced(args, point)
        proa("images")
        proa("rmi", "-f", "crashed:1", check=False)
        nothing_left(before, f"step {point} of import")


def pids_of(program, containing=""):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0] == program or \
                    os.path.basename(open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[0].decode()) == program:
                if containing in open(f"/proc/{pid}/cmdline").read():
                    yield int(pid)
        except OSError:
            continue


def test_a_killed_monitor_is_noticed(kind, flags, name):
    """The workload does not outlive its monitor unseen, and the next command says what happened."""
    ident = proa("run", "-d", *flags, "--name", name, "busybox", "sleep", "1000", timeout=60).out.strip()
    (monitor,) = [p for p in pids_of("proa-monitor", ident)]
    os.kill(monitor, signal.SIGKILL)
    until(lambda: ended(monitor))
    r = proa("ps", "-a", "--format", "{{.Names}} {{.State}}")
    assert f"{name} exited" in r.out, repr(r)
    refuse("exec", name, "true", rc=1)
    # It can be started again: what it wrote is still there.
    proa("start", name, timeout=60)
    assert state(name) == "running" and proa("exec", name, "echo", "back").out == "back\n"
    proa("rm", "-f", name)


@pytest.mark.slow
def test_monitor_killed_at_many_moments_of_start_and_stop(name):
    before = leaks.snapshot()
    for number in range(16):
        p = start("run", "-d", "--name", name, "busybox", "sleep", "1000")
        end = time.monotonic() + 3
        found = []
        while not found and time.monotonic() < end and p.poll() is None:
            found = list(pids_of("proa-monitor"))
        time.sleep(number * 0.0015)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        r = finish(p)
        assert r.rc in (0, 125), repr(r)
        proa("ps", "-a")
        proa("rm", "-f", name, check=False)
        nothing_left(before, f"monitor killed {number * 1.5} ms after it was seen")


@pytest.mark.vm
def test_a_killed_qemu_is_an_exit(name):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=60)
    pids = list(pids_of("qemu-system-x86_64"))
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: state(name) == "exited", timeout=15)
    assert proa("inspect", "-f", "{{.State.ExitCode}}", name).out.strip() not in ("0", "")
    proa("start", name, timeout=60)
    assert proa("exec", name, "echo", "again").out == "again\n"
    for pid in pids_of("proa-vm"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: state(name) == "exited", timeout=15)
    proa("rm", name)


@pytest.mark.vm
@pytest.mark.slow
def test_qemu_killed_while_it_boots(name):
    before = leaks.snapshot()
    for delay in (0.0, 0.3, 1.0):
        p = start("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000")
        until(lambda: list(pids_of("qemu-system-x86_64")) or p.poll() is not None, every=0.005)
        time.sleep(delay)
        for pid in pids_of("qemu-system-x86_64"):
            os.kill(pid, signal.SIGKILL)
        r = finish(p, timeout=60)
        if r.rc:
            assert len(r.err.strip().splitlines()) == 1, repr(r)
        proa("rm", "-f", name, check=False)
        nothing_left(before, f"QEMU killed {delay} s after it was seen")


def test_an_attached_run_killed_keeps_its_instance(name):
    """kill -9 of `proa run` (foreground): the instance goes on, and can be seen, stopped and removed."""
    p = start("run", "--name", name, "busybox", "sleep", "1000")
    until(lambda: name in proa("ps").out)
    finish(p, kill=True)
    assert state(name) == "running"
    proa("stop", "-t", "0", name)
    proa("rm", name)


def test_an_attached_run_rm_killed_cleans_up_at_its_end(name):
    p = start("run", "--rm", "--name", name, "busybox", "sleep", "2")
    until(lambda: name in proa("ps").out)
    finish(p, kill=True)
    until(lambda: name not in proa("ps", "-a").out, timeout=10)


@pytest.mark.leaky  # the prepared network is another one afterwards
def test_a_reboot_is_survived(name):
    """What /run held is gone, and so are all processes: the next command brings it all back."""
    proa("run", "-d", "--name", name, "busybox", "sleep", "1000")
    proa("exec", name, "sh", "-c", "echo kept >/root/x")
    pids = [p for program in ("proa-monitor", "dnsmasq") for p in pids_of(program)]
    init = int(proa("inspect", "-f", "{{.State.Pid}}", name).out)
    for pid in [*pids, init]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    time.sleep(0.3)
    for line in open("/proc/self/mountinfo").readlines()[::-1]:
        if line.split()[4].startswith("/run/proa/"):
            subprocess.run(["umount", "-l", line.split()[4]])
    subprocess.run(["sh", "-c", "rm -rf /run/proa/* && nft delete table inet proa; ip link del proa0"], capture_output=True)
    assert state(name) == "exited"
    proa("start", name)
    assert proa("exec", name, "cat", "/root/x").out == "kept\n"
    assert proa("run", "--rm", "busybox", "nslookup", name).rc == 0
    proa("rm", "-f", name)


@pytest.mark.slow
def test_build_killed_at_each_step(tmp_path):
    """What was built of it may be kept; nothing else may, and the next build goes through."""
    (tmp_path / "f").write_text("x")
    (tmp_path / "Containerfile").write_text("FROM busybox\nRUN echo 1 >/one\nCOPY f /f\nRUN --network=default cat /f /one >/two\nCMD x\n")
    args = ["build", "-t", "crashed:2", "--network", "none", str(tmp_path)]
    steps = steps_of(args)
    proa("rmi", "crashed:2")
    proa("builder", "prune", "-f")
    before = leaks.snapshot()
    killed = 0
    for point in points(steps):
        killed += traced(args, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        proa("images")
        if point[1] % 3 == 0:
            proa(*args)
        proa("rmi", "-f", "crashed:2", check=False)
        proa("builder", "prune", "-f")
        nothing_left(before, f"step {point} of build")
    assert killed > POINTS // 2, "the kills do not arrive"
