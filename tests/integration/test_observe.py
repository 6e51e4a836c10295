"""exec, logs, top, stats and cp, for both kinds; most use one shared instance of each (box)."""

import io
import json
import os
import re
import subprocess
import tarfile
import time

import pytest

from cli import PROA, environment, finish, proa, refuse, start, state, until


def test_exec_flags(box):
    r = proa("exec", "-e", "A=b c", "-w", "/tmp", "-u", "user", box, "sh", "-c", 'echo "$A $(pwd) $(id -u):$(id -g) $SHARED"')
    assert r.out == "b c /tmp 1000:1000 yes\n"
    assert proa("exec", "-u", "0:2000", box, "id", "-g").out == "2000\n"
    assert proa("exec", "-u", "4242", box, "id", "-u").out == "4242\n"


@pytest.mark.parametrize("command,code", [(["true"], 0), (["sh", "-c", "exit 33"], 33), (["no-such-command"], 127),
                                          (["/etc/not-executable"], 126), (["sh", "-c", "kill -9 $$"], 137)])
def test_exec_exit_codes(box, command, code):
    assert proa("exec", box, *command, check=False).rc == code


def test_exec_streams(box):
    r = proa("exec", box, "sh", "-c", "echo out; echo err >&2")
    assert (r.out, r.err) == ("out\n", "err\n")
    data = os.urandom(200_000)
    assert proa("exec", "-i", box, "cat", input=data, binary=True).out == data
    assert proa("exec", box, "cat", input="unseen").out == ""
    assert "\r\n" in proa("exec", "-t", box, "sh", "-c", "tty && echo yes").out


def test_exec_detached(box):
    proa("exec", "-d", box, "sh", "-c", "echo done >/tmp/detached")
    until(lambda: proa("exec", box, "cat", "/tmp/detached", check=False).out == "done\n")


def test_exec_into_nothing(box):
    refuse("exec", "no-such-instance", "true", rc=1, say="no-such-instance")
    refuse("exec", "-u", "nobody-here", box, "true", rc=None, say="nobody-here")
    refuse("exec", "-w", "/no/such/dir", box, "true", rc=None)


def test_exec_in_parallel(box):
    running = [start("exec", box, "sh", "-c", f"sleep 0.2; echo {i}") for i in range(10)]
    assert sorted(int(finish(p).out) for p in running) == list(range(10))


def test_top(box):
    r = proa("top", box)
    assert r.lines[0].split()[:3] == ["UID", "PID", "PPID"] and r.lines[0].rstrip().endswith("CMD")
    assert any("sleep 100000" in l for l in r.lines[1:])


def test_stats(box):
    header, line = proa("stats", "--no-stream", box).lines[:2]
    for column in ("NAME", "CPU %", "MEM USAGE / LIMIT", "NET I/O", "PIDS"):
        assert column in header
    assert box in line
    document = json.loads(proa("stats", "--no-stream", "--format", "json", box).lines[0])
    assert re.match(r"[\d.]+[kKMG]?i?B / ", document["MemUsage"]) and int(document["PIDs"]) >= 1


def test_logs(kind, flags, name):
    proa("run", *flags, "--name", name, "busybox", "sh", "-c",
         "for i in 1 2 3 4 5; do echo line$i; done; sleep 0.1; echo oops >&2; sleep 0.1; printf unfinished", timeout=60)
    r = proa("logs", name)
    assert r.lines == ["line1", "line2", "line3", "line4", "line5", "unfinished"] and r.err == "oops\n"
    assert proa("logs", "--tail", "0", name).out == ""
    both = proa("logs", "--tail", "3", name)
    assert (both.out, both.err) == ("line5\nunfinished", "oops\n")
    stamped = proa("logs", "-t", name)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", l) for l in stamped.lines)
    assert proa("logs", "--since", "2100-01-01T00:00:00Z", name).out == ""
    assert proa("logs", "--since", "10m", name).lines == r.lines
    assert proa("logs", "--until", "10m", name).out == ""
    refuse("logs", "--tail", "x", name, rc=None)
    refuse("logs", "no-such-instance", rc=1)
    proa("rm", name)


def test_logs_follow(kind, flags, name):
    proa("run", "-d", *flags, "--name", name, "busybox", "sh", "-c", "echo first; sleep 1; echo second; sleep 0.5", timeout=60)
    r = proa("logs", "-f", name, timeout=30)
    assert r.out == "first\nsecond\n" and r.seconds > 0.5
    proa("rm", "-f", name)


@pytest.mark.slow
def test_logs_rotate(name):
    """A workload that writes without end fills at most log-max times log-files."""
    proa("run", "--network", "none", "--name", name, "--log-opt", "max-size=256k", "--log-opt", "max-file=2", "busybox",
         "sh", "-c", "yes 0123456789abcdef0123456789abcdef | head -n 60000; echo the-end", timeout=60)
    bundle = f"/var/lib/proa/instances/{proa('inspect', '-f', '{{.Id}}', name).out.strip()}"
    logs = [f for f in os.listdir(bundle) if f.startswith("log")]
    assert len(logs) <= 2 and sum(os.path.getsize(f"{bundle}/{f}") for f in logs) < 2 * 256 * 1024 + 32768
    assert proa("logs", "--tail", "1", name).out == "the-end\n"
    proa("rm", name)


# cp: Docker's table of what goes where.

def tree(path):
    os.makedirs(path / "d" / "sub")
    (path / "f").write_text("file\n")
    (path / "d" / "one").write_text("1\n")
    (path / "d" / "sub" / "two").write_text("2\n")
    os.symlink("one", path / "d" / "link")
    os.chmod(path / "d" / "one", 0o751)
    return path


def test_cp_in(box, tmp_path):
    tree(tmp_path)
    proa("exec", box, "rm", "-rf", "/c")
    proa("exec", box, "mkdir", "-p", "/c/dir")
    proa("cp", tmp_path / "f", f"{box}:/c/new")           # a file under a new name
    proa("cp", tmp_path / "f", f"{box}:/c/dir")           # a file into a directory
    proa("cp", tmp_path / "f", f"{box}:/c/dir/")
    proa("cp", tmp_path / "d", f"{box}:/c/dir")           # a directory into a directory
    proa("cp", tmp_path / "d", f"{box}:/c/fresh")         # a directory under a new name
    proa("cp", f"{tmp_path}/d/.", f"{box}:/c/dir")        # its contents only
    r = proa("exec", box, "sh", "-c", "cd /c && find . | sort; cat new dir/f dir/d/sub/two fresh/one dir/one; "
             "readlink dir/d/link; stat -c %a fresh/one")
    assert r.lines == [".", "./dir", "./dir/d", "./dir/d/link", "./dir/d/one", "./dir/d/sub", "./dir/d/sub/two",
                       "./dir/f", "./dir/link", "./dir/one", "./dir/sub", "./dir/sub/two", "./fresh", "./fresh/link",
                       "./fresh/one", "./fresh/sub", "./fresh/sub/two", "./new",
                       "file", "file", "2", "1", "1", "one", "751"], repr(r)
    refuse("cp", tmp_path / "f", f"{box}:/no/such/dir/x", rc=1)
    refuse("cp", tmp_path / "d", f"{box}:/c/new", rc=1)    # a directory over a file
    refuse("cp", tmp_path / "absent", f"{box}:/c", rc=1)
    refuse("cp", tmp_path / "f", f"{box}:/c/absent/", rc=1)


def test_cp_out(box, tmp_path):
    proa("exec", box, "sh", "-c", "rm -rf /o; mkdir -p /o/d/sub; echo 1 >/o/d/one; echo 2 >/o/d/sub/two; "
         "ln -s one /o/d/link; chmod 640 /o/d/one")
    (tmp_path / "dir").mkdir()
    proa("cp", f"{box}:/o/d/one", tmp_path / "renamed")
    proa("cp", f"{box}:/o/d/one", tmp_path / "dir")
    proa("cp", f"{box}:/o/d", tmp_path / "dir")
    proa("cp", f"{box}:/o/d", tmp_path / "fresh")
    proa("cp", f"{box}:/o/d/.", tmp_path / "dir")
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert found == ["dir", "dir/d", "dir/d/link", "dir/d/one", "dir/d/sub", "dir/d/sub/two", "dir/link", "dir/one",
                     "dir/sub", "dir/sub/two", "fresh", "fresh/link", "fresh/one", "fresh/sub", "fresh/sub/two", "renamed"]
    assert (tmp_path / "renamed").read_text() == "1\n" and (tmp_path / "renamed").stat().st_mode & 0o777 == 0o640
    assert os.readlink(tmp_path / "dir/link") == "one"
    proa("cp", "-L", f"{box}:/o/d/link", tmp_path / "followed")
    assert not (tmp_path / "followed").is_symlink() and (tmp_path / "followed").read_text() == "1\n"
    (tmp_path / "soft").symlink_to("renamed")
    proa("cp", "-L", tmp_path / "soft", f"{box}:/o/followed")
    assert proa("exec", box, "cat", "/o/followed").out == "1\n"
    refuse("cp", f"{box}:/no/such", tmp_path, rc=1)
    refuse("cp", f"{box}:/o/d", tmp_path / "renamed", rc=1)


def test_cp_through_pipes(box):
    proa("exec", box, "sh", "-c", "rm -rf /p; mkdir -p /p; echo piped >/p/f")
    r = proa("cp", f"{box}:/p", "-", binary=True)
    with tarfile.open(fileobj=io.BytesIO(r.out)) as tar:
        assert tar.extractfile("p/f").read() == b"piped\n"
    proa("exec", box, "mkdir", "-p", "/q")
    proa("cp", "-", f"{box}:/q", input=r.out)
    assert proa("exec", box, "cat", "/q/p/f").out == "piped\n"
    refuse("cp", "-", f"{box}:/q", rc=1, input=b"this is no tar archive" * 100)


def test_cp_keeps_large_files(box, tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "big").write_bytes(data)
    proa("cp", tmp_path / "big", f"{box}:/tmp/big")
    proa("cp", f"{box}:/tmp/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    proa("exec", box, "rm", "/tmp/big")


def test_cp_of_a_stopped_container(name, tmp_path):
    proa("run", "--network", "none", "--name", name, "busybox", "sh", "-c", "echo still here >/root/x")
    proa("cp", f"{name}:/root/x", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "still here\n"
    proa("cp", tmp_path / "x", f"{name}:/root/y")
    proa("rm", name)


def test_cp_between_instances_is_refused(box):
    refuse("cp", f"{box}:/etc/passwd", f"{box}:/tmp/x", rc=None)
    refuse("cp", "/etc/hostname", "/tmp/x", rc=None)


def test_output_is_not_lost(kind, flags):
    """Every byte of a fast writer arrives, although the reader is slow at first."""
    p = subprocess.Popen([PROA, "run", "--rm", *flags, "busybox", "sh", "-c", "yes 0123456789 | head -c 4000000"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, env=environment())
    time.sleep(1)
    out = p.communicate(timeout=120)[0]
    assert p.returncode == 0 and len(out) == 4_000_000 and out == (b"0123456789\n" * 400000)[:4_000_000]


def test_a_gone_reader_ends_nothing(name):
    """`proa run | head -n 1` does not stop the workload's monitor from recording its end."""
    p = start("run", "--network", "none", "--name", name, "busybox", "sh", "-c", "yes | head -c 3000000; exit 3")
    p.stdout.read(10)
    p.stdout.close()
    p.stderr.close()
    p.wait(30)
    until(lambda: state(name) == "exited")
    proa("rm", name)
