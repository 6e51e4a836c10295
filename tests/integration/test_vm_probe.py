"""Machines of the vm runtime, driven below the engine. Needs root, QEMU and Debian's kernel."""
import io
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import vm_probe
from vm_probe import Machine

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("qemu-system-x86_64"), reason="needs root and QEMU")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    where = tmp_path_factory.mktemp("vm")
    os.environ.setdefault("PROA_KERNELS", str(where / "cache" / "kernel"))
    return where


@pytest.fixture
def machine(base):
    made = []

    def make(args, **kw):
        made.append(Machine(base, args, **kw))
        return made[-1]
    yield make
    for m in made:
        m.kill()


@pytest.fixture(scope="module")
def sleeper(base):
    """One machine that sleeps, for the operations on a running one."""
    m = Machine(base, ["sh", "-c", "trap 'exit 9' TERM; >/tmp/trapped; while :; do sleep 0.1; done"], init=True)
    assert m.start() == "ok"
    while m.op("exec", "test", "-e", "/tmp/trapped").returncode != 0:
        time.sleep(0.05)
    yield m
    m.kill()


def runs(pid):
    """False for a zombie, too: its parent may be slow to wait."""
    try:
        return open("/proc/%s/stat" % pid).read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_exit_codes_and_output(machine):
    ready, code, out, err = machine(
        ["sh", "-c", "echo out; echo err >&2; hostname; exit 7"], hostname="box").run()
    assert (ready, code, out, err) == ("ok", 7, b"out\nbox\n", b"err\n")


def test_command_not_found(machine):
    ready, code, _, _ = machine(["nonesuch"]).run()
    assert ready.startswith("error command-not-found 2 ") and code == 127
    ready, code, _, _ = machine(["/etc/passwd"]).run()
    assert ready.startswith("error command-not-run 13 ") and code == 126


def test_identity_and_limits(machine):
    _, _, out, _ = machine(
        ["sh", "-c", "id -u; id -G; pwd; ulimit -n; grep Cap /proc/self/status; echo $HOME; umask"],
        user={"uid": 0, "gid": 0, "username": "user"}, cwd="/tmp").run()
    lines = out.decode().split("\n")
    assert lines[:4] == ["1000", "1000 2000", "/tmp", "1024"]
    caps = {l.split(":")[0]: int(l.split()[1], 16) for l in lines[4:9]}
    assert caps["CapInh"] == caps["CapEff"] == caps["CapPrm"] == caps["CapAmb"] == 0


def test_stdin(machine):
    m = machine(["sh", "-c", "wc -c; echo done"])
    assert m.start(stdin=subprocess.PIPE) == "ok"
    code, out, _ = m.finish(b"x" * 3000000)
    assert (code, out) == (0, b"3000000\ndone\n")


def test_much_output(machine):
    _, code, out, _ = machine(["sh", "-c", "yes 0123456 | head -c 8000000"]).run()
    assert code == 0 and out == b"0123456\n" * 1000000


def test_disk_persists(base, machine):
    m = machine(["sh", "-c", "echo $((`cat /count 2>/dev/null` + 1)) > /count; cat /count"])
    for count in (b"1\n", b"2\n"):
        ready, _, out, _ = m.run()
        assert (ready, out) == ("ok", count)
    fsck = subprocess.run(["e2fsck", "-fn", str(m.bundle / "disk.ext4")], capture_output=True)
    assert fsck.returncode == 0, fsck.stdout


def test_disk_is_locked(machine):
    m = machine(["sleep", "60"])
    assert m.start() == "ok"
    second = machine(["true"])
    text = json.loads((second.bundle / "proa.json").read_text())
    text["disk"] = str(m.bundle / "disk.ext4")
    (second.bundle / "proa.json").write_text(json.dumps(text))
    ready, code, _, _ = second.run()
    assert ready.startswith("error conflict 16 ") and "in use" in ready and code == 125


def test_readonly_root(machine):
    _, code, out, _ = machine(["sh", "-c", "touch /x || echo refused; touch /dev/shm/y"],
                              readonly=True).run()
    assert (code, out) == (0, b"refused\n")


def test_terminal(machine):
    m = machine(["sh", "-c", "tty; stty size; read x; echo got $x; stty size"], terminal=True)
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    assert m.start(stdin=slave, stdout=slave, stderr=slave) == "ok"
    os.close(slave)
    text = b""
    sent = False
    while select.select([master], [], [], 30)[0]:
        try:
            text += os.read(master, 4096)
        except OSError:
            break
        if not sent and b"33 99" in text:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
            time.sleep(1)
            os.write(master, b"hello\r")
            sent = True
    assert m.process.wait(30) == 0
    assert b"/dev/pts/0" in text and b"33 99" in text and b"got hello" in text
    assert b"44 111" in text


def test_signals(machine):
    m = machine(["sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"])
    assert m.start() == "ok"
    assert m.process.stdout.readline() == b"up\n"
    m.process.send_signal(signal.SIGTERM)
    assert m.process.wait(30) == 5


def test_exec(sleeper):
    r = sleeper.op("exec", "sh", "-c", "echo in; echo e >&2; exit 3")
    assert (r.returncode, r.stdout, r.stderr) == (3, b"in\n", b"e\n")
    assert sleeper.op("exec", "-i", "cat", input=b"abc" * 200000).stdout == b"abc" * 200000
    assert sleeper.op("exec", "-u", "user:extra", "-w", "/tmp", "sh", "-c",
                      "id -u; id -g; id -G; pwd").stdout == b"1000\n2000\n2000\n/tmp\n"
    assert sleeper.op("exec", "nonesuch").returncode == 127
    assert sleeper.op("exec", "-u", "nobodyhere", "true").returncode == 125
    assert sleeper.op("exec", "-d", "sleep", "1").returncode == 0
    assert b"pts/" in sleeper.op("exec", "-t", "tty").stdout


def test_stats_and_processes(sleeper):
    text = sleeper.op("stats").stdout.decode()
    values = dict(w.split("=") for w in text.split())
    assert int(values["cpu_ns"]) > 0 and int(values["memory"]) > 1 << 20
    assert 0 < int(values["pids"]) < 20 and values["pids_limit"] == "200"
    top = json.loads(sleeper.op("processes").stdout)
    assert top["titles"][0] == "UID" and any("trap" in row[7] for row in top["processes"])


def test_copy(sleeper):
    data = os.urandom(1500000)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("blob")
        info.size = len(data)
        info.mode = 0o640
        tar.addfile(info, io.BytesIO(data))
    assert sleeper.op("in", "/tmp", input=stream.getvalue()).returncode == 0
    assert sleeper.op("exec", "wc", "-c", "/tmp/blob").stdout == b"1500000 /tmp/blob\n"
    back = sleeper.op("out", "/tmp/blob")
    with tarfile.open(fileobj=io.BytesIO(back.stdout)) as tar:
        assert tar.extractfile("blob").read() == data
    missing = sleeper.op("out", "/nonesuch")
    assert missing.returncode == 125 and missing.stderr


def test_freeze(sleeper):
    assert sleeper.op("freeze").returncode == 0
    r = sleeper.op("exec", "true")
    assert r.returncode == 125 and b"paused" in r.stderr
    assert sleeper.op("thaw").returncode == 0
    assert sleeper.op("exec", "true").returncode == 0


def test_signal_by_socket(sleeper):
    assert sleeper.op("signal", "15").returncode == 0
    assert sleeper.process.wait(30) == 9


def test_kill_all(machine):
    m = machine(["sleep", "100"])
    assert m.start() == "ok"
    qemu = subprocess.check_output(["pgrep", "-P", str(m.process.pid)], text=True).split()
    assert m.op("kill").returncode == 0
    m.process.wait(10)
    deadline = time.time() + 5
    while any(runs(p) for p in qemu) and time.time() < deadline:
        time.sleep(0.05)
    assert not any(runs(p) for p in qemu)
    r = m.op("exec", "true")
    assert r.returncode == 125 and b"not running" in r.stderr


def test_qemu_dies(machine):
    m = machine(["sleep", "100"])
    assert m.start() == "ok"
    qemu = int(subprocess.check_output(["pgrep", "-P", str(m.process.pid)], text=True))
    os.kill(qemu, signal.SIGKILL)
    code, _, err = m.finish()
    assert code == 125 and b"machine ended unexpectedly" in err


def test_qemu_is_confined(machine):
    m = machine(["sleep", "100"])
    assert m.start() == "ok"
    qemu = subprocess.check_output(["pgrep", "-P", str(m.process.pid)], text=True).strip()
    for pid in (qemu, str(m.process.pid)):
        status = dict(l.split(":\t", 1) for l in open("/proc/%s/status" % pid).read().splitlines()
                      if ":\t" in l)
        assert int(status["Uid"].split()[0]) >= 0x70000000
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
    assert sorted(os.listdir("/proc/%s/root/" % qemu)) == [
        "bin", "etc", "initramfs", "kernel", "lib", "lib64", "usr"]
    for ns in ("mnt", "net", "ipc", "uts", "pid"):
        assert os.readlink("/proc/%s/ns/%s" % (qemu, ns)) != os.readlink("/proc/self/ns/" + ns)


def test_shares(base, machine):
    shared = base / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "from-host").write_text("host\n")
    secret, log = base / "hello", base / "log"
    secret.write_text("file\n")
    log.write_text("one\n")
    _, code, out, err = machine(
        ["sh", "-c", "cat /vol/from-host /hello; echo guest > /vol/from-guest; "
         "echo x > /ro/y || echo refused; echo x > /hello || echo refused; echo two >> /log"],
        mounts=[{"destination": "/vol", "source": str(shared), "options": ["rbind", "rw"]},
                {"destination": "/ro", "source": str(shared), "options": ["rbind", "ro"]},
                {"destination": "/hello", "source": str(secret), "options": ["bind", "ro"]},
                {"destination": "/log", "source": str(log), "options": ["bind"]}]).run()
    assert out == b"host\nfile\nrefused\nrefused\n", (code, err)
    assert (shared / "from-guest").read_text() == "guest\n"
    assert log.read_text() == "one\ntwo\n"
    ready, _, _, _ = machine(["true"], mounts=[
        {"destination": "/dev/x", "source": "/dev/null", "options": ["bind"]}]).run()
    assert ready.startswith("error unsupported") and "neither a directory nor a file" in ready


def test_bad_bundles(machine):
    m = machine(["true"])
    text = json.loads((m.bundle / "proa.json").read_text())
    for change, words in (({"disk_bytes": 5}, "16 MiB"), ({"kernel": "/nonesuch"}, "nonesuch"), ({"memory_bytes": 1 << 20}, "96 MiB"),
                          ({"layers": []}, "layer"), ({"layers": text["layers"] * 300}, "300 layers"), ({"cpus": 0}, "processors"),
                          ({"layers": [{"erofs": "/etc/passwd"}]}, "mount disk")):
        (m.bundle / "proa.json").write_text(json.dumps(dict(text, **change)))
        ready, code, _, _ = m.run()
        assert ready.startswith("error ") and words in ready and code == 125, ready


def test_network(machine):
    """In a network namespace of its own: a tap on a bridge, the gateway answers."""
    script = os.path.join(os.path.dirname(__file__), "vm_probe_network.py")
    r = subprocess.run(["unshare", "-n", sys.executable, script], capture_output=True, text=True,
                       timeout=120, env=dict(os.environ, PROA_BUILD=str(vm_probe.build_dir())))
    assert r.returncode == 0, r.stdout + r.stderr
