"""Machines that move to another host, over TLS: namespaces with a wire between them, each with a store of its own.
Whatever becomes of the connection there is one machine, or one that can be started."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from cli import PROA, command, environment, finish, inspect, proa, refuse, start, until
from registries import make_certificates
from sandbox import INSIDE, OUTSIDE, STATE, TOP
from test_migrate import SECTORS, client, gone, make_root, running, sectors  # noqa: F401
from tpm import AUTH_FAILS, OWN, tpm

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
PORT = 7444
FAR = STATE + "/far"
OUT = ["nsenter", "--net=/run/netns/outside"]


def there(*args, **kw):
    return command([*OUT, PROA, "--root", FAR, *args], **kw)


@pytest.fixture(scope="module")
def folder(house):
    path = house / "certificates"
    make_certificates(path)
    os.makedirs(path / "far")
    # The other host's has its address in it; a stranger's is signed by somebody else.
    with open(path / "far.ext", "w") as f:
        f.write(f"subjectAltName=IP:{OUTSIDE},IP:{INSIDE},IP:127.0.0.1\n")
    command(["openssl", "x509", "-req", "-in", f"{path}/server.csr", "-CA", f"{path}/ca.crt", "-CAkey", f"{path}/ca.key",
             "-CAcreateserial", "-days", "2", "-extfile", f"{path}/far.ext", "-out", f"{path}/far.crt"])
    make_certificates(path / "far")
    return path


def tls(folder, who="client"):
    key = {"far": "server"}.get(who, who)
    return ["--tls-cert", folder / f"{who}.crt", "--tls-key", folder / f"{key}.key", "--tls-ca", folder / "ca.crt"]


@pytest.fixture(scope="module")
def far(house, folder):
    """The other host, which lets machines in."""
    make_root(FAR, house)
    proa("--root", FAR, "system", "prune", "-f")  # the network that it made on this side,
    there("run", "--rm", "--vm", "busybox", "true", timeout=120)  # and which is kept prepared on the other
    there("import", disk.path_of("agent"), "agent:1", timeout=120)
    proa("import", disk.path_of("agent"), "agent:1", timeout=120)
    server = subprocess.Popen([*map(str, [*OUT, PROA, "--root", FAR, "receive", "--listen", f"{OUTSIDE}:{PORT}", *tls(folder, "far")])],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert server.stdout.readline() == f"listening on {OUTSIDE}:{PORT}\n"
    yield server
    server.kill()
    print(server.stderr.read())
    there("rmi", "agent:1")
    proa("rmi", "agent:1")
    there("system", "prune", "-f", timeout=60)


@pytest.fixture
def name(far, name):
    yield name
    there("rm", "-f", name, check=False, timeout=60)


@pytest.fixture
def to(folder):
    return ["--to", f"tls://{OUTSIDE}:{PORT}/", *tls(folder)]


def nothing_left():
    for root in (STATE, FAR):
        assert os.listdir(root + "/snapshots") == os.listdir(root + "/tmp") == [], root
        assert os.listdir(root + "/instances") == [], root


def test_a_client_writes_meanwhile(far, to, client, name, figure):  # noqa: F811
    """Its address stays, because the network there is the same; what it does goes on; nothing acknowledged is lost."""
    for run in (proa, there):
        run("network", "create", "--subnet", "10.77.33.0/24", "span")
    count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/j; mv /dev/shm/j /dev/shm/i; sleep 0.05; done"
    proa("run", "-d", "--vm", "--name", name, "--network", "span:ip=10.77.33.77", "busybox", "sh", "-c", count, timeout=120)
    other = proa("run", "-d", "--vm", "--name", name + "-b", "--network", "span", "busybox", "sleep", "1000", timeout=120).out.strip()
    address = inspect(other)["NetworkSettings"]["Networks"]["span"]["IPAddress"]
    writer = client(name, None, FAR)
    until(lambda: writer.acknowledged > 5, timeout=60)
    counted = int(proa("exec", name, "cat", "/dev/shm/i").out)
    moved = proa("migrate", *to, name, timeout=180)
    at = writer.acknowledged
    until(lambda: writer.acknowledged > at + 5, timeout=60)
    acknowledged = writer.end()
    figure(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
    gone(name)
    log = [int(l) for l in there("exec", name, "cat", "/log").lines]
    kept = sorted(set(log))
    assert kept[-1] >= acknowledged and kept == list(range(1, kept[-1] + 1)), f"lost: {kept}"
    assert int(there("exec", name, "cat", "/dev/shm/i").out) > counted, "it began again instead of going on"
    proa("migrate", *to, name + "-b", timeout=180)
    seen = json.loads(there("inspect", name, name + "-b").out)
    assert [s["NetworkSettings"]["Networks"]["span"]["IPAddress"] for s in seen] == ["10.77.33.77", address]
    assert there("exec", name, "ping", "-c", "1", "-W", "5", address, check=False).rc == 0
    there("rm", "-f", name, name + "-b", timeout=60)
    for run in (proa, there):
        run("network", "rm", "span")
    nothing_left()


def test_a_machine_that_boots_a_disk(far, to, client, name, figure):  # noqa: F811
    """With a TPM and a second disk, while it runs; and once more when it is stopped."""
    proa("run", "-d", "--name", name, "--tpm", "-m", "192m", "--disk-size", "64m", "--disk", "size=64m", "agent:1", timeout=120)
    until(lambda: running(None, name), timeout=120)
    assert tpm(None, name, OWN) == [0, 0]
    proa("exec", name, "sh", "-c", "echo here > /tmp/kept")
    writer = client(name, None, FAR, write=SECTORS)
    until(lambda: writer.acknowledged > 3, timeout=60)
    moved = proa("migrate", *to, name, timeout=240)
    at = writer.acknowledged
    until(lambda: writer.acknowledged > at + 3, timeout=60)
    acknowledged = writer.end()
    figure(f"{moved.err.strip()}; the longest that the client waited: {writer.longest:.2f} s")
    gone(name)
    first, second = sectors(FAR, name, acknowledged)
    assert first == second == list(range(1, acknowledged + 1))
    assert there("exec", name, "cat", "/tmp/kept").out == "here\n" and tpm(FAR, name, OWN) == AUTH_FAILS
    there("rm", "-f", name, timeout=60)
    nothing_left()


def test_who_may_not(far, folder, to, name, tmp_path):
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
    where = to[:2]
    refuse("migrate", *where, name, rc=1, say="--tls-cert")
    refuse("migrate", "--to", "tls://", *tls(folder), name, rc=1, say="tls://HOST")
    refuse("migrate", "--to", "tls://127.0.0.1:1", *tls(folder), name, rc=1, say="refused")
    refuse("migrate", "--to", "tls://no-such-host.invalid", *tls(folder), name, rc=1, say="no-such-host")
    # A host that another authority has signed; a host of another name; a stranger.
    refuse("migrate", *where, "--tls-cert", folder / "client.crt", "--tls-key", folder / "client.key", "--tls-ca", folder / "far/ca.crt",
           name, rc=1, say="certificate")
    with Proxy(lambda p, d, n: None) as p:
        refuse("migrate", "--to", f"tls://localhost:{p.port}", *tls(folder), name, rc=1, say="hostname mismatch")
    refuse("migrate", *where, "--tls-cert", folder / "far/client.crt", "--tls-key", folder / "far/client.key", "--tls-ca",
           folder / "ca.crt", name, rc=1)
    refuse("migrate", *where, "--tls-cert", folder / "ca.crt", "--tls-key", folder / "client.key", "--tls-ca", folder / "ca.crt", name,
           rc=1, say="--tls-key")
    with socket.create_connection((OUTSIDE, PORT)) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    refuse("receive", rc=1, say="--tls-cert")
    refuse("receive", "--listen", "somewhere:x", *tls(folder), rc=1, say="--listen")
    # What the other host says.
    there("create", "--name", name, "busybox", "true")
    refuse("migrate", *to, name, rc=1, say=[OUTSIDE, "already in use"])
    there("rm", name)
    assert proa("exec", name, "echo", "fine").out == "fine\n"
    proa("rm", "-f", name, timeout=60)
    proa("create", "--name", name, "busybox", "true")
    refuse("migrate", *to, name, rc=1, say="only machines")
    proa("rm", name)
    own = tmp_path / "own.raw"
    own.write_bytes(bytes(1 << 20))
    proa("create", "--name", name, "--disk", own, "agent:1")
    refuse("migrate", *to, name, rc=1, say="stay behind")
    proa("rm", name)
    nothing_left()


class Proxy:
    """Between the hosts: says when the other side has answered, and lets the connection be cut there.
    at(proxy, direction, answers) is asked before bytes are passed on; True: they are not, and all is over."""

    def __init__(self, at):
        self.at, self.answers, self.cut, self.sent = at, 0, False, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.ends = []

    def __enter__(self):
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.over()
        self.thread.join(30)
        self.socket.close()

    def over(self):
        self.cut = True
        for s in self.ends:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self):
        try:
            near, _ = self.socket.accept()
        except OSError:
            return
        far_side = socket.create_connection((OUTSIDE, PORT))
        self.ends = [near, far_side]
        back = threading.Thread(target=self.pump, args=("back", far_side, near), daemon=True)
        back.start()
        self.pump("there", near, far_side)
        back.join(30)

    def pump(self, direction, a, b):
        records = b""
        try:
            while data := a.recv(16384):
                if direction == "back":
                    # An answer "ok" is a record of 3 bytes, of their kind, and of a tag; nothing else is as short.
                    records += data
                    while len(records) >= 5 and len(records) >= 5 + int.from_bytes(records[3:5], "big"):
                        size = int.from_bytes(records[3:5], "big")
                        self.answers += size == 20
                        records = records[5 + size:]
                else:
                    self.sent += len(data)
                if self.cut or self.at(self, direction, self.answers):
                    break
                b.sendall(data)
        except OSError:
            pass
        self.over()


# Where the connection is lost; whether the machine has left by then.
CUTS = {
    "at once": (lambda p, d, n: True, False),
    "before the first answer": (lambda p, d, n: d == "back" and n == 1, False),
    "among its disk": (lambda p, d, n: n == 1 and p.sent > 400000, False),
    "before the second answer": (lambda p, d, n: d == "back" and n == 2, False),
    "before it is told": (lambda p, d, n: d == "there" and n == 2, True),
    "before the last answer": (lambda p, d, n: d == "back" and n == 3, True),
}


def states(name):
    """Whether it runs here, and there; None: it is not known."""
    seen = []
    for run in (proa, there):
        rows = dict(l.split(" ", 1) for l in run("ps", "-a", "--format", "{{.Names}} {{.State}}").lines)
        seen.append(rows[name] == "running" if name in rows else None)
    return seen


@pytest.mark.slow
def test_lost_connections(far, folder, to, name):
    for what, (at, left) in CUTS.items():
        if states(name)[0] is None:
            proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
            proa("exec", name, "sh", "-c", "echo kept | tee /kept > /dev/shm/kept; sync")
        with Proxy(at) as p:
            refuse("migrate", "--to", f"tls://127.0.0.1:{p.port}", *tls(folder), name, rc=1, timeout=120)
        if not left:
            until(lambda: running(None, name), timeout=60, message=f"{what}: it does not go on")
            until(lambda: states(name)[1] in (None, False), message=f"{what}: it runs twice")
            if states(name)[1] is False:
                refuse("--root", FAR, "start", name, rc=1, say="on its way")
            continue
        here, elsewhere = states(name)
        assert here is False, what
        refuse("start", name, rc=1, say=["has moved to", "migrate"])
        if elsewhere is False:
            refuse("--root", FAR, "start", name, rc=1, say="on its way")
        proa("migrate", *to, name, timeout=120)
        assert states(name) == [None, True], what
        assert there("exec", name, "cat", "/kept", "/dev/shm/kept").lines == ["kept", "kept"], what
        there("rm", "-f", name, timeout=60)
        nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_command_is_killed(far, folder, to, name, n):
    """When the nth answer has come; then it is asked to move again."""
    proa("run", "-d", "--vm", "--name", name, "busybox", "sleep", "1000", timeout=120)
    proa("exec", name, "sh", "-c", "echo kept | tee /kept > /dev/shm/kept; sync")
    killed = []

    def kill(p, direction, answers):
        if answers == n and not killed:
            killed.append(mover.kill())
            mover.wait()
        return bool(killed)
    with Proxy(kill) as p:
        mover = start("migrate", "--to", f"tls://127.0.0.1:{p.port}", *tls(folder), name)
        assert finish(mover, 120).rc != 0 and killed
    if n < 3:
        until(lambda: running(None, name), timeout=60, message="it does not go on")
    proa("migrate", *to, name, timeout=120)
    assert states(name) == [None, True]
    assert there("exec", name, "cat", "/kept", "/dev/shm/kept").lines == ["kept", "kept"]
    there("rm", "-f", name, timeout=60)
    nothing_left()
