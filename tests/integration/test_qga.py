"""The session with QEMU's guest agent, driven through qga_probe: against Debian's own agent, which serves a Unix
socket here instead of a machine's port, and against agents that lie."""

import base64
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import threading
import time

import pytest

from cli import BUILD, command

PROBE = os.path.join(BUILD, "tests/integration/qga_probe")
LEFT = "/var/tmp"


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(.02)


def left():
    return [n for n in os.listdir(LEFT) if n.startswith(".proa-")]


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """QEMU's agent. It serves one connection after the other."""
    where = tmp_path_factory.mktemp("qga")
    path = str(where / "s")
    daemon = subprocess.Popen(["qemu-ga", "-m", "unix-listen", "-p", path, "-t", str(where), "-f", str(where / "pid")],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: os.path.exists(path))

    def run(*argv, **kw):
        return command([PROBE, path, *argv], **kw)
    yield run
    daemon.terminate()
    daemon.wait()
    assert left() == []


def exec_(agent, *argv, flags="-", user="", cwd="", env="-", **kw):
    return agent("exec", flags, user, cwd, env, *argv, **kw)


pytestmark = pytest.mark.leaky  # the agent is there for the whole module; what it leaves is looked at above


def test_output_and_status(agent):
    r = exec_(agent, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (r.rc, r.out, r.err) == (3, "out\n", "err\n")
    assert exec_(agent, "sh", "-c", "kill -9 $$", check=False).rc == 137


def test_commands_that_cannot_be_run(agent):
    r = exec_(agent, "nosuch", check=False)
    assert r.rc == 127 and "not found" in r.err
    assert exec_(agent, "/etc/passwd", check=False).rc == 126
    assert exec_(agent, "true", cwd="/nosuch", check=False).rc == 126
    assert exec_(agent, "true", user="nosuch", check=False).rc == 126
    r = exec_(agent, "true", flags="t", check=False)
    assert r.rc == 125 and "proa attach" in r.err


def test_user_directory_environment(agent):
    r = exec_(agent, "sh", "-c", 'id -u; id -g; pwd; echo "$A"; echo $HOME', user="nobody:0", cwd="/tmp", env="A=b c")
    assert r.lines == ["65534", "0", "/tmp", "b c", "/nonexistent"]


def test_input_of_every_size(agent):
    data = os.urandom(300_001)
    for size in (0, 1, 4095, 4096, 4097, len(data)):
        r = exec_(agent, "sh", "-c", "sleep .1; cat", flags="i", input=data[:size], binary=True)
        assert r.out == data[:size]


def test_much_output_through_a_slow_reader(agent):
    n = 3_000_000
    r = exec_(agent, "sh", "-c", "exec <&-; sleep .2; echo not read", flags="i", input=os.urandom(200_000), binary=True)
    assert r.out == b"not read\n"
    r = exec_(agent, "sh", "-c", f"head -c {n} /dev/zero; echo end >&2", binary=True)
    assert len(r.out) == n and r.err == b"end\n"


def test_detached_and_abandoned_processes_run_on(agent, tmp_path):
    exec_(agent, "sh", "-c", f"echo 1 >{tmp_path}/detached", flags="d")
    until((tmp_path / "detached").exists)
    agent("gone", "sh", "-c", f"sleep .5; echo; echo 1 >{tmp_path}/gone")
    until((tmp_path / "gone").exists)


def make_tree(top):
    (top / "tree/sub").mkdir(parents=True)
    (top / "tree/f").write_text("content")
    (top / "tree/sub/a&b,c").write_text("odd name")
    (top / "tree/-x").write_text("dash")
    os.chmod(top / "tree/f", 0o4750)
    os.symlink("f", top / "tree/l")
    os.symlink("tree", top / "link")


@pytest.mark.parametrize("verb,path,names", [
    ("out", "tree", {"tree", "tree/f", "tree/sub", "tree/sub/a&b,c", "tree/-x", "tree/l"}),
    ("out", "tree/f", {"f"}),
    ("out", "tree/-x", {"-x"}),
    ("out", "link", {"link"}),
    ("follow", "link", {"link", "link/f", "link/sub", "link/sub/a&b,c", "link/-x", "link/l"}),
    ("out", "link/", {"link", "link/f", "link/sub", "link/sub/a&b,c", "link/-x", "link/l"}),
    ("follow", "tree/l", {"l"}),
    ("out", "tree/.", {".", "f", "sub", "sub/a&b,c", "-x", "l"}),
])
def test_trees_out(agent, tmp_path, verb, path, names):
    make_tree(tmp_path)
    r = agent(verb, f"{tmp_path}/{path}", binary=True)
    tar = tarfile.open(fileobj=io.BytesIO(r.out))
    assert {re.sub("^\\./", "", m.name) for m in tar} == names
    for m in tar:
        if m.name.endswith("l"):
            assert (m.issym() and m.linkname == "f") if verb != "follow" or path == "link" else m.isreg()


def test_trees_in(agent, tmp_path):
    make_tree(tmp_path)
    whole = agent("out", f"{tmp_path}/tree", binary=True).out
    inside = agent("out", f"{tmp_path}/tree/.", binary=True).out
    (tmp_path / "there").mkdir()
    agent("in", f"{tmp_path}/there", input=whole, binary=True)
    agent("in", f"{tmp_path}/renamed", input=whole, binary=True)
    agent("in", f"{tmp_path}/contents", input=inside, binary=True)
    for place in ("there/tree", "renamed", "contents"):
        assert (tmp_path / place / "sub/a&b,c").read_text() == "odd name"
        assert os.stat(tmp_path / place / "f").st_mode & 0o7777 == 0o4750
        assert os.readlink(tmp_path / place / "l") == "f"
    one = agent("out", f"{tmp_path}/tree/f", binary=True).out
    agent("in", f"{tmp_path}/there/tree/-x", input=one, binary=True)
    assert (tmp_path / "there/tree/-x").read_text() == "content"
    r = agent("in", f"{tmp_path}/no/such", input=one, binary=True, check=False)
    assert r.rc == 125 and b"no such file or directory" in r.err
    r = agent("in", f"{tmp_path}/there", input=b"no tar" * 200, binary=True, check=False)
    assert r.rc == 125 and b"in the guest" in r.err
    assert sorted(os.listdir(tmp_path)) == ["contents", "link", "renamed", "there", "tree"]


def test_what_is_not_there(agent, tmp_path):
    r = agent("out", f"{tmp_path}/nosuch", check=False)
    assert r.rc == 125 and "no such file or directory" in r.err


def test_what_the_guest_is(agent):
    processes = agent("ps").json
    assert processes["titles"][:3] == ["UID", "PID", "PPID"]
    assert any("qemu-ga" in row[7] for row in processes["processes"])
    info = agent("info").json
    assert info["agent"] == "answers"
    assert info["system"]["id"] == "debian" and info["system"]["kernel"] == os.uname().release
    assert all("/" in a for i in info["interfaces"] for a in i["addresses"])
    cpu, rx, tx = map(int, agent("stats").out.split())
    assert cpu == 42


# --- agents that lie ---


class Liar:
    """An agent of our own: answers is called with each command and gives what is sent, or None for silence."""

    def __init__(self, where, answers, sync=True):
        self.path, self.answers, self.sync = str(where / "liar"), answers, sync
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.sent = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.listener.accept()
        try:
            for line in connection.makefile("rb"):
                command_ = json.loads(line.lstrip(b"\xff"))
                if command_["execute"] == "guest-sync-delimited" and self.sync:
                    answer = b"\xff" + json.dumps({"return": command_["arguments"]["id"]}).encode() + b"\n"
                else:
                    answer = self.answers(command_)
                if answer:
                    connection.sendall(answer)
                    self.sent += len(answer)
        except OSError:
            pass


def lie(tmp_path, answers, *argv, sync=True, **kw):
    liar = Liar(tmp_path, answers, sync)
    kw.setdefault("timeout", 90)
    start = time.monotonic()
    r = command([PROBE, liar.path, *argv], check=False, **kw)
    liar.listener.close()
    return r, liar, time.monotonic() - start


def test_nobody_answers(tmp_path):
    r, _, _ = lie(tmp_path, lambda c: None, "exec", "-", "", "", "-", "true", sync=False)
    assert r.rc == 125
    assert "no QEMU guest agent answers in the machine (none yet)" in r.err and "proa attach" in r.err


def test_stats_need_no_agent(tmp_path):
    r, _, _ = lie(tmp_path, lambda c: None, "stats", sync=False)
    assert (r.rc, r.out) == (0, "42 0 0\n")


def reply(value):
    return json.dumps({"return": value}).encode() + b"\n"


def data(n):
    return base64.b64encode(b"x" * n).decode()


LIES = {
    "no JSON": lambda c: b"nonsense\n",
    "no object": lambda c: b"[1, 2]\n",
    "neither result nor error": lambda c: b"{}\n",
    "deep": lambda c: b'{"return": ' + b"[" * 100_000 + b"\n",
    "no process": lambda c: reply({"pid": "x"}),
    "a negative process": lambda c: reply({"pid": -1}),
    "status of a wrong kind": lambda c: reply({"pid": 3, "exited": 7}),
    "code of a wrong kind": lambda c: reply({"pid": 3, "exited": True, "exitcode": []}),
    "no base64": lambda c: reply({"pid": 3, "exited": True, "exitcode": 0, "out-data": "!!"}),
    "too much data": lambda c: reply({"pid": 3, "exited": True, "exitcode": 0, "out-data": data(2_500_000)}),
}


@pytest.mark.parametrize("name", LIES)
def test_lies(tmp_path, name):
    r, _, seconds = lie(tmp_path, LIES[name], "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and len(r.err.splitlines()) == 2, r.err
    assert "guest agent" in r.err


def test_words_of_a_guest_are_no_commands_of_a_terminal(tmp_path):
    def refuse(c):
        return json.dumps({"error": {"class": "G", "desc": "\x1b]0;owned\x07\nsecond line"}}).encode() + b"\n"
    r, _, _ = lie(tmp_path, refuse, "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and "\x1b" not in r.err and "second line" in r.err.splitlines()[0]


def test_more_output_than_was_asked_for(tmp_path):
    def answers(c):
        if c["execute"] == "guest-file-read":
            return reply({"count": 40_000, "buf-b64": data(40_000), "eof": False})
        if c["execute"] == "guest-file-open":
            return reply(1000)
        return reply({"pid": 3, "exited": True, "exitcode": 0})
    r, _, _ = lie(tmp_path, answers, "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and "more data than was asked for" in r.err


def test_a_line_without_end(tmp_path):
    """The guest writes on and on: it waits for us, and our memory does not grow."""
    def flood(c):
        return b"x" * 9_000_000
    r, liar, _ = lie(tmp_path, flood, "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and "broken" in r.err
    assert liar.sent < 100  # the rest of it was never taken


def test_an_agent_that_comes_to_its_senses(tmp_path):
    """A session that was given up is taken up again when the agent can be found."""
    def once_endless(c):
        if c["execute"] == "guest-sync-delimited" and not seen:
            seen.append(c)
            return b"x" * 5_000_000
        if c["execute"] == "guest-sync-delimited":
            return b"\xff" + reply(c["arguments"]["id"])
        return reply(2)
    seen = []
    r, _, seconds = lie(tmp_path, once_endless, "hold", "100", sync=False)
    assert r.lines == ["held", "moving"] and seconds < 10


def test_answers_to_numbers_that_were_never_sent(tmp_path):
    """Some may be late; without end they are a flood."""
    def flood(c):
        return (b"\xff" + reply(1)) * 100
    r, _, _ = lie(tmp_path, flood, "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and "speaks without being asked" in r.err


def test_unasked_answers(tmp_path):
    def twice(c):
        return reply({"pid": 3, "exited": False}) * 2
    r, _, _ = lie(tmp_path, twice, "exec", "-", "", "", "-", "true")
    assert r.rc == 125 and "speaks without being asked" in r.err


def test_file_systems_are_held_and_let_go(tmp_path):
    seen = []

    def answers(c):
        seen.append(c["execute"])
        return reply(2)
    r, _, _ = lie(tmp_path, answers, "hold", "300")
    assert r.lines == ["held", "moving"]
    assert seen == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


def test_a_refused_hold(tmp_path):
    def refuse(c):
        return b'{"error": {"class": "G", "desc": "not supported"}}\n'
    r, _, _ = lie(tmp_path, refuse, "hold", "300")
    assert r.rc == 125 and "cannot stand still: not supported" in r.err and "held" not in r.out
