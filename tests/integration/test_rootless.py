"""Proa as an ordinary user: namespaces of its own, layers as directories, no control groups, pasta and passt."""

import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import uuid

import pytest

import archives
import oci_cases as cases
from cli import PATIENCE, until
from oci_clients import IMAGE, Proa

# What needs control groups, and what is another client's own.
LEFT_OUT = {"limits", "pids-limit", "device-denied", "privileged", "init", "oom-score-adj"}
CLONE_NEWNET = 0x40000000
RUN = [case for case in cases.RUN if case[0] not in LEFT_OUT]


@pytest.fixture(scope="module")
def user(house):
    client = Proa()
    yield client
    client.close()


@pytest.fixture
def name(user):
    chosen = "r-" + uuid.uuid4().hex[:8]
    yield chosen
    user.remove(chosen)


@pytest.fixture
def folder(user, name):
    path = pathlib.Path(user.run, "home", name)
    path.mkdir()
    os.chown(path, user.UID, user.UID)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def refuse(user, *args, say, rc=125):
    result = user(*args, check=False)
    text = result.err.strip()
    assert result.rc == rc and len(text.splitlines()) == 1 and say in text, repr(result)


class Listener:
    """Answers connections in a network namespace with a word and counts them."""

    def __init__(self, namespace, address, port):
        self.accepted = 0
        ready = threading.Event()

        def serve():
            fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            entered = ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET)  # this thread only
            os.close(fd)
            assert entered == 0
            self.socket = socket.create_server((address, port))
            ready.set()
            while True:
                try:
                    c, _ = self.socket.accept()
                except OSError:
                    return
                self.accepted += 1
                c.sendall(b"reached\n")
                c.close()
        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def listen(user):
    made = []

    def start(namespace, address, port=7000):
        made.append(Listener(namespace, address, port))
        return made[-1]
    yield start
    for one in made:
        one.close()


def test_it_is_an_ordinary_user(user):
    maps = user("run", "--rm", "--network", "none", IMAGE, "cat", "/proc/self/uid_map").out.split()
    assert maps == ["0", str(user.UID), "1", "1", str(user.RANGE), "65536"]
    root = pathlib.Path(user.home, ".local/share/proa")
    assert {root.joinpath(p).stat().st_uid for p in (".", "proa.db", "layers")} == {user.UID}
    assert root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("case", RUN, ids=cases.ids(RUN))
def test_run(user, case, folder):
    cases.run_case(user, case, folder)


def test_exit_codes(user):
    cases.exit_codes(user)


def test_a_terminal(user):
    shown = user.terminal("run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c", "tty; stty size", size=(30, 100))
    assert re.search(r"/dev/(pts/0|console)\s+30 100", shown.out), shown.out


def test_the_life_of_a_container(user, name, folder):
    user("run", "-d", "--network", "none", "--name", name, IMAGE, "sh", "-c", "echo begun; trap 'exit 3' TERM; while :; do sleep 0.1; done")
    assert name in user("ps", "--format", "{{.Names}}").lines
    until(lambda: user("logs", name).out == "begun\n")
    assert user("exec", "-u", "7:8", name, "id", "-u").out == "7\n"
    assert user("exec", name, "sh", "-c", "exit 9", check=False).rc == 9
    assert "sleep" in user("top", name).out
    (folder / "f").write_text("in and out")
    user("cp", folder / "f", f"{name}:/tmp/f")
    user("exec", name, "chown", "12:13", "/tmp/f")
    user("cp", f"{name}:/tmp/f", folder / "g")
    assert (folder / "g").read_text() == "in and out" and (folder / "g").stat().st_uid == user.UID
    refuse(user, "pause", name, say="no control group", rc=1)
    user("stop", "-t", "10", name)
    assert user("inspect", "-f", "{{.State.ExitCode}}", name).out == "3\n"
    user("start", name)
    user("kill", name)
    assert user("wait", name).out == "137\n"
    assert "A /tmp/f" in user("diff", name).lines
    user("rm", name)
    assert user("ps", "-aq").out == ""


def test_owners_of_volumes(user, name, folder):
    script = "touch /d/root /w/kept; touch /d/seven; chown 7 /d/seven"
    user("run", "--rm", "--network", "none", "-v", f"{folder}:/d", "-v", f"{name}:/w", IMAGE, "sh", "-c", script)
    assert ((folder / "root").stat().st_uid, (folder / "seven").stat().st_uid) == (user.UID, user.RANGE + 6)
    assert user("run", "--rm", "--network", "none", "-v", f"{name}:/w", IMAGE, "ls", "/w").out == "kept\n"
    user("volume", "rm", name)


def layered():
    """Two layers with all that a layer can say of the one below, and of itself."""
    below, above = archives.busybox_tree(), archives.Tar()
    for folder in ("old", "whole", "dev", "proc", "sys", "tmp"):
        below.dir(folder)
    below.add("old/hidden", b"x")
    below.add("old/kept", b"x")
    below.add("whole/gone", b"x")
    below.add("etc/replaced", b"below")
    above.add("old/.wh.hidden", b"")
    above.dir("whole", mode=0o2751, uid=3, gid=4)
    above.add("whole/.wh..wh..opq", b"")
    above.add("whole/new", b"n" * 5000, mode=0o4755, uid=5, gid=6)
    above.hardlink("whole/again", "whole/new")
    above.symlink("whole/link", "new")
    above.add("etc/replaced", b"above", pax={"SCHILY.xattr.user.colour": "green"})
    above.add("dev/sda", type=b"4", dev=(8, 0))
    above.add("sparse", b"\0" * 300000 + b"end")
    return archives.docker_archive([below.bytes(), above.bytes()], name="layered:1", Cmd=["sh"])


LOOK = "find / -xdev -path /dev -prune -o -path /proc -prune -o -path /sys -prune -o -path /etc/hosts -prune -o -path /etc/hostname " \
    "-prune -o -path /etc/resolv.conf -prune -o -type f -exec stat -c '%n %a %u:%g %h %s %Y' {} + -o -exec stat -c '%n %a %u:%g %F' {} + | sort"


def test_layers_are_what_they_are_for_root(user, folder):
    from cli import proa
    (folder / "layered.tar").write_bytes(layered())
    user("load", "-q", "-i", folder / "layered.tar")
    proa("load", "-q", "-i", folder / "layered.tar")
    try:
        seen = [run("run", "--rm", "--network", "none", "layered:1", "sh", "-c", LOOK + "; cat /etc/replaced; md5sum /sparse").out
                for run in (user, proa)]
        assert seen[0] == seen[1]
        assert "/old/kept" in seen[0] and "/old/hidden" not in seen[0] and "/whole/gone" not in seen[0]
        assert "/whole/again 4755 5:6 2 5000" in seen[0]
    finally:
        proa("rmi", "-f", "layered:1")
        user("rmi", "-f", "layered:1")
    trees = [p.name for p in pathlib.Path(user.home, ".local/share/proa/layers").iterdir() if p.name.endswith(".tree")]
    assert len(trees) == 1, trees  # the other image's


def test_an_image_removed_by_force_under_its_container(user, name, folder):
    (folder / "i.tar").write_bytes(archives.docker_archive([archives.busybox_tree().bytes(), b"\0" * 1024], name="brief:1", Cmd=["sh"]))
    tree = archives.busybox_tree()
    tree.add("only", b"here")
    (folder / "i.tar").write_bytes(archives.docker_archive([tree.bytes()], name="brief:1", Cmd=["sh"]))
    user("load", "-q", "-i", folder / "i.tar")
    user("run", "-d", "--network", "none", "--name", name, "brief:1", "sleep", "1000")
    user("rmi", "-f", "brief:1")
    assert user("exec", name, "cat", "/only").out == "here"
    user("rm", "-f", name)


def test_build_commit_save(user, name, folder):
    (folder / "given").write_text("from the context\n")
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY given /given\nRUN rm /etc/passwd && mkdir /home/new && id -u >/built\n"
                                       "RUN rm -r /home && mkdir /home && touch /home/only\nCMD cat /given /built\n")
    user("build", "-q", "--network", "none", "-t", "built:1", folder, timeout=120)
    try:
        assert user("run", "--rm", "--network", "none", "built:1").out == "from the context\n0\n"
        assert user("run", "--rm", "--network", "none", "built:1", "sh", "-c", "ls /home; ls /etc/passwd 2>&1; true").out.split()[0] == "only"
        user("run", "--network", "none", "--name", name, "built:1", "sh", "-c", "rm -r /home; mkdir /home; touch /home/mine; rm /given")
        user("commit", "-q", name, "committed:1") if "-q" in user("commit", "--help").out else user("commit", name, "committed:1")
        assert user("run", "--rm", "--network", "none", "committed:1", "sh", "-c", "ls /home; test -e /given || echo gone").out == "mine\ngone\n"
        user("save", "-o", folder / "saved.tar", "committed:1")
        before = user("inspect", "-f", "{{.Id}}", "committed:1").out
        user("rm", name)
        user("rmi", "-f", "committed:1")
        user("load", "-q", "-i", folder / "saved.tar")
        assert user("inspect", "-f", "{{.Id}}", "committed:1").out == before
    finally:
        user("rmi", "-f", "built:1", "committed:1", check=False)
        user("builder", "prune", "-f", "-a", check=False)


@pytest.mark.parametrize("flags,say", [
    (["--memory", "64m"], "limits need a control group"), (["--pids-limit", "9"], "limits need a control group"),
    (["--network", "other"], "needs root"), (["--network-rate", "1mbit"], "needs root"), (["--network-priority", "high"], "needs root"),
    (["--network-connections", "9"], "needs root"), (["--pid", "host"], "needs root"),
    (["-p", "80:80"], "not for ordinary users"), (["-p", "8085:80/sctp"], "SCTP"), (["-p", "8085:80/udp"], "UDP"),
    (["-p", "[::]:8085:80"], "without root"),
], ids=lambda v: v[0].strip("-") + v[-1][:4] if isinstance(v, list) else "")
def test_what_needs_root_says_so(user, flags, say):
    refuse(user, "run", "--rm", *flags, IMAGE, "true", say=say)
    assert user("ps", "-aq").out == ""


def test_verbs_that_need_root_say_so(user):
    for argv in (["network", "create", "x"], ["network", "connect", "proa", "x"], ["flows"]):
        refuse(user, *argv, say="needs root", rc=1)


# --- the network ---

def test_out_and_names(user, listen):
    world = listen("proa-world", user.WORLD)
    out = user("run", "--rm", IMAGE, "sh", "-c", f"timeout 5 nc -w 4 {user.WORLD} 7000 </dev/null; ip -o -4 addr show eth0; cat /etc/resolv.conf").out
    assert out.startswith("reached\n") and world.accepted == 1
    gateway = re.search(r"nameserver (\S+)", out).group(1)
    assert re.search(r"inet %s\." % re.escape(gateway.rsplit(".", 2)[0]), out), out


HOSTILE = r"""set -x
GW=$(ip route | sed -n 's/default via \([0-9.]*\).*/\1/p'); ME=$(ip -o -4 addr show eth0 | sed 's/.*inet \([0-9.]*\).*/\1/')
timeout 5 nc -w 4 WORLD 7000 </dev/null
for a in HERE OTHER $GW; do timeout 3 nc -w 1 $a 7000 </dev/null; done
ip addr del 127.0.0.1/8 dev lo; ip link set lo down; ip route flush table local; ip route add local $ME dev eth0 table local
ip route add 127.0.0.0/8 via $GW src $ME; for i in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$i/route_localnet; done
ip route get 127.0.0.1
timeout 3 nc -w 1 127.0.0.1 7000 </dev/null
timeout 5 nc -w 4 WORLD 7000 </dev/null
exit 0  # whoever ended the last connection
"""


def test_a_hostile_instance_does_not_reach_the_host(user, listen):
    """Root in its network with every capability sends packets for 127.0.0.1 and the host's addresses out of its link."""
    world = listen("proa-world", user.WORLD)
    here = [listen("proa", a) for a in ("127.0.0.1", "198.51.100.1", user.OTHER)]
    script = HOSTILE.replace("WORLD", user.WORLD).replace("HERE", "198.51.100.1").replace("OTHER", user.OTHER)
    out = user("run", "--rm", "--privileged", IMAGE, "sh", "-c", script).out
    assert re.search(r"127\.0\.0\.1 via 10\.\S+ dev eth0", out), out  # it did get its packets onto the link
    # Connections are counted, not answers: Debian 12's pasta now and then hands one over several times on a busy machine.
    assert (world.accepted, [one.accepted for one in here]) == (2, [0, 0, 0]), out
    assert out.rstrip().endswith("reached"), out  # and after all that it still got out


def fetch(user, address, port):
    return subprocess.run(user.inside("curl", "-s", "-m", "10", f"http://{address}:{port}/"), capture_output=True, text=True,
                          timeout=20 * PATIENCE).stdout


WEB = "mkdir -p /tmp/www; echo served >/tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"


@pytest.mark.parametrize("kind", [[], pytest.param(["--vm"], marks=pytest.mark.vm)], ids=["container", "vm"])
def test_published_ports(user, name, kind, kernel):
    user("run", "-d", *kind, "--name", name, "-p", "8080:80", "-p", "127.0.0.1:8081:80", IMAGE, "sh", "-c", WEB, timeout=120)
    for address, port in (("127.0.0.1", 8080), ("198.51.100.1", 8080), ("127.0.0.1", 8081)):
        until(lambda: fetch(user, address, port) == "served\n", timeout=20)
    assert fetch(user, "198.51.100.1", 8081) == ""
    world = subprocess.run(user.world("curl", "-s", "-m", "10", "http://198.51.100.1:8080/"), capture_output=True, text=True)
    assert world.stdout == "served\n"
    assert user("port", name, "80/tcp").lines == ["0.0.0.0:8080", "127.0.0.1:8081"]
    refuse(user, "run", "--rm", "-p", "8080:80", IMAGE, "true", say="port 8080/tcp is already in use")
    user("rm", "-f", name)
    assert fetch(user, "127.0.0.1", 8080) == ""


def test_networks_shared_and_of_the_host(user, name):
    user("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    address = user("exec", name, "ip", "-o", "-4", "addr", "show", "eth0").out
    assert user("run", "--rm", "--network", f"container:{name}", IMAGE, "ip", "-o", "-4", "addr", "show", "eth0").out == address
    assert "up0" in user("run", "--rm", "--network", "host", IMAGE, "ip", "-o", "link").out


# --- machines ---

@pytest.fixture(scope="session")
def kernel(house):
    """Where `kernel add` finds what the session has fetched."""
    return subprocess.run([os.path.join(os.path.dirname(__file__), "../../scripts/fetch"), "--print", "kernel"], text=True,
                          capture_output=True, check=True).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def kernel_of_the_user(request, user):
    if "not vm" in request.config.getoption("-m"):
        return
    package = request.getfixturevalue("kernel")
    copy = pathlib.Path(user.home, os.path.basename(package))
    copy.write_bytes(pathlib.Path(package).read_bytes())
    user("kernel", "add", f"{user.run}/home/{copy.name}", timeout=120)
    copy.unlink()


@pytest.mark.vm
def test_a_machine(user, name, folder, listen):
    world, here = listen("proa-world", user.WORLD), listen("proa", "127.0.0.1")
    (folder / "given").write_text("given\n")
    os.chown(folder / "given", user.UID, user.UID)
    user("run", "-d", "--vm", "--name", name, "-v", f"{folder}:/d", "-v", f"{folder}/given:/given", IMAGE, "sleep", "1000", timeout=120)
    assert user("exec", name, "sh", "-c", "cat /given && echo more >>/given && cat /d/given").out == "given\ngiven\nmore\n"
    (folder / "given").write_text("given\n")
    until(lambda: user("exec", name, "cat", "/given").out == "given\n")
    assert user("exec", name, "sh", "-c", f"cat /d/given; timeout 5 nc -w 4 {user.WORLD} 7000 </dev/null; true").out == "given\nreached\n"
    gateway = "ip route add 127.0.0.0/8 via $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')"
    user("exec", "--privileged", name, "sh", "-c", f"ip link set lo down; ip addr del 127.0.0.1/8 dev lo; ip route flush table local; {gateway}; "
         "for i in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$i/route_localnet; done; nc -w 1 127.0.0.1 7000 </dev/null", check=False)
    assert (world.accepted, here.accepted) == (1, 0)
    owners = subprocess.run(["ps", "-eo", "uid,args"], capture_output=True, text=True).stdout
    uid = [int(line.split()[0]) for line in owners.splitlines() if "qemu-system" in line and "microvm" in line]
    uid = [u for u in uid if u != 0x74000000]  # a template of root's, which is being made
    assert len(uid) == 1 and user.RANGE <= uid[0] < user.RANGE + 65536
    user("rm", "-f", name, timeout=60)
    until(lambda: not subprocess.run(["pgrep", "-x", "passt|passt.avx2"], capture_output=True).stdout)


# --- what is killed, and who is alone ---

@pytest.fixture
def apart(user, folder):
    """The same user with another state and other namespaces, which go with the test: calls with that environment."""
    env = {"XDG_RUNTIME_DIR": str(folder / "run"), "XDG_DATA_HOME": str(folder / "data")}
    for path in env.values():
        os.mkdir(path, 0o700)
        os.chown(path, user.UID, user.UID)

    def call(*args, **kw):
        return user(*args, env=env, **kw)
    call.keeper = lambda: user.keeper(env["XDG_RUNTIME_DIR"])
    call("load", "-q", "-i", f"{user.run}/home/tiny.tar")
    yield call
    for name in call("ps", "-aq", check=False).lines:
        call("rm", "-f", name, check=False)
    call("system", "prune", "-f")
    assert not call.keeper()


def test_the_keeper_is_killed(apart):
    """The namespaces are found by what runs in them; without anything that runs there are new ones."""
    apart("run", "-d", "--network", "none", "--name", "kept", IMAGE, "sleep", "1000")
    first = apart.keeper()
    assert first
    os.kill(first, signal.SIGKILL)
    until(lambda: not apart.keeper())
    assert apart("exec", "kept", "echo", "found").out == "found\n"
    assert not apart.keeper()
    apart("rm", "-f", "kept")
    apart("run", "--rm", "--network", "none", IMAGE, "true")
    assert apart.keeper() not in (0, first)


def test_prune_ends_the_keeper(apart):
    apart("run", "-d", "--network", "none", "--name", "kept", IMAGE, "sleep", "1000")
    apart("system", "prune", "-f")
    assert apart.keeper()
    assert apart("exec", "kept", "echo", "runs").out == "runs\n"
    apart("rm", "-f", "kept")
    apart("system", "prune", "-f")
    assert not apart.keeper()


def test_the_monitor_is_killed(user, name):
    user("run", "-d", "--name", name, "-p", "8086:80", IMAGE, "sh", "-c", WEB)
    until(lambda: fetch(user, "127.0.0.1", 8086) == "served\n")
    identity = user("inspect", "-f", "{{.Id}}", name).out.strip()
    monitors = subprocess.run(["pgrep", "-f", f"^proa-monitor .*{identity}"], capture_output=True, text=True).stdout.split()
    assert len(monitors) == 1
    os.kill(int(monitors[0]), signal.SIGKILL)
    until(lambda: "Exited" in user("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").out)
    assert fetch(user, "127.0.0.1", 8086) == ""
    assert not subprocess.run(["pgrep", "-f", "^pasta .*8086"], capture_output=True).stdout


@pytest.fixture
def no_other_ids(user):
    hide = pathlib.Path(user.run, "none")
    hide.write_text("")
    for path in ("/etc/subuid", "/etc/subgid"):
        subprocess.run(["mount", "--bind", hide, path], check=True)
    yield
    for path in ("/etc/subuid", "/etc/subgid"):
        subprocess.run(["umount", path], check=True)


def test_a_user_without_other_ids(no_other_ids, apart):
    out = apart("run", "--rm", IMAGE, "sh", "-c", "cat /proc/self/uid_map; id -u; touch /x; chown 5 /x 2>&1; stat -c %u /home/user").out
    assert re.fullmatch(r"\s+0\s+5000\s+1\n0\n.*nvalid argument\n0\n", out), out


def test_somebody_elses_run_directory(user):
    """Without XDG_RUNTIME_DIR it is one in /tmp, where anybody may have been before."""
    path = pathlib.Path(f"/tmp/proa-run-{user.UID}")
    path.mkdir(mode=0o777)
    try:
        result = user("ps", env={"XDG_RUNTIME_DIR": ""}, check=False)
        assert result.rc == 1 and "not a directory of this user's alone" in result.err, repr(result)
        os.chown(path, user.UID, user.UID)
        path.chmod(0o755)
        assert user("ps", env={"XDG_RUNTIME_DIR": ""}, check=False).rc == 1
        path.chmod(0o700)
        assert user("ps", env={"XDG_RUNTIME_DIR": ""}).rc == 0
        user("system", "prune", "-f", env={"XDG_RUNTIME_DIR": ""})
    finally:
        subprocess.run(["rm", "-rf", path], check=True)
