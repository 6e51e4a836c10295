"""Snapshots as files: written, read elsewhere, and read when a stranger has made them."""

import hashlib
import json
import os
import struct
import subprocess
import sys

import pytest

from cli import BUILD, PROA, environment, inspect, proa, refuse
from sandbox import STATE, TOP
from test_migrate import make_root, there

sys.path.insert(0, os.path.join(TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def other(house):
    path = STATE + "/elsewhere"
    make_root(path, house)
    yield path
    there(path, "system", "prune", "-f", timeout=60)


def nothing_left(root=STATE):
    return os.listdir(root + "/tmp") == [] and os.listdir(root + "/snapshots") == []


def test_out_and_in_again(name, other, tmp_path):
    """A chain of two, with memory: to another store, through a pipe too, and back to the machine itself."""
    count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/j; mv /dev/shm/j /dev/shm/i; sleep 0.05; done"
    proa("run", "-d", "--vm", "--name", name, "busybox", "sh", "-c", count, timeout=120)
    proa("exec", name, "sh", "-c", "echo one > /kept; sync")
    proa("snapshot", "create", "--name", "first", name)
    proa("exec", name, "sh", "-c", "echo two >> /kept; sync; echo here > /dev/shm/kept")
    proa("snapshot", "create", "--memory", "--name", "second", name, timeout=120)
    file, small = tmp_path / "second.proa", tmp_path / "small.proa"
    proa("snapshot", "export", f"{name}/second", file, timeout=60)
    proa("snapshot", "export", "--no-memory", f"{name}/second", small, timeout=60)
    assert file.stat().st_mode & 0o777 == 0o600 and file.stat().st_size > small.stat().st_size + (1 << 20)
    assert there(other, "snapshot", "import", file, timeout=60).out == f"{name}/second\n"
    refuse("--root", other, "snapshot", "import", file, rc=1, say="already")
    seen = there(other, "snapshot", "inspect", f"{name}/second").json[0]
    assert seen["InstanceId"] == inspect(name)["Id"] and seen["MemoryBytes"] > 1 << 20
    there(other, "snapshot", "clone", f"{name}/second", "--name", name)
    there(other, "start", name, timeout=120)
    assert there(other, "exec", name, "cat", "/kept").lines == ["one", "two"]
    there(other, "rm", "-f", name, timeout=60)
    rows = {r.split("|")[0]: r.split("|")[1] for r in there(other, "system", "df", "--format", "{{.Type}}|{{.TotalCount}}").lines}
    assert rows["Snapshots"] == "1"
    assert "1 snapshots" in there(other, "fsck", timeout=120).out
    there(other, "snapshot", "rm", "second")
    assert nothing_left(other)
    with open(small, "rb") as f:
        piped = subprocess.run([PROA, "--root", other, "snapshot", "import", "--name", "piped", "-"], stdin=f,
                               capture_output=True, text=True, env=environment())
    assert piped.stdout == f"{name}/piped\n", piped
    broken = os.path.join(other, "snapshots", there(other, "snapshot", "inspect", "piped").json[0]["Id"], "disk.qcow2")
    with open(broken, "r+b") as f:
        f.write(b"no qcow2")
    assert f"snapshot {name}/piped: its disk.qcow2" in there(other, "fsck", check=False, timeout=120).out
    assert there(other, "fsck", "--repair", timeout=120).rc == 0
    assert nothing_left(other)
    # Its chain of two files as one.
    proa("snapshot", "export", "--flatten", "--no-memory", f"{name}/second", small, timeout=60)
    there(other, "snapshot", "import", "--name", "flat", small, timeout=60)
    assert sorted(os.listdir(os.path.join(other, "snapshots", there(other, "snapshot", "inspect", "flat").json[0]["Id"]))) == ["disk.raw", "state"]
    there(other, "snapshot", "clone", "flat", "--name", name)
    there(other, "snapshot", "rm", "flat")
    there(other, "start", name, timeout=120)
    assert there(other, "exec", name, "sh", "-c", "cat /kept; echo more >> /kept; sync").lines == ["one", "two"]
    refuse("--root", other, "snapshot", "flatten", name, rc=1, say="running")
    there(other, "kill", name)
    there(other, "snapshot", "flatten", name, timeout=60)
    assert len(os.listdir(other + "/snapshots")) == 1
    refuse("--root", other, "snapshot", "flatten", name, rc=1, say="one file already")
    there(other, "start", name, timeout=120)
    assert there(other, "exec", name, "cat", "/kept").lines == ["one", "two", "more"]
    there(other, "rm", "-f", name, timeout=60)
    assert nothing_left(other)
    # The machine itself goes back to what comes out of the file.
    proa("snapshot", "rm", f"{name}/second", f"{name}/first")
    proa("exec", name, "sh", "-c", "echo three >> /kept; sync")
    assert proa("snapshot", "import", "--name", "again", file, timeout=60).out == f"{name}/again\n"
    proa("snapshot", "restore", "-f", name, "again", timeout=120)
    assert proa("exec", name, "cat", "/kept", "/dev/shm/kept").lines == ["one", "two", "here"]
    proa("rm", "-f", name, timeout=60)
    proa("snapshot", "rm", f"{name}/again")
    assert nothing_left()


def test_what_stays(name, house, tmp_path):
    proa("create", "--name", name, "busybox", "true")
    proa("snapshot", "create", "--name", "one", name)
    refuse("snapshot", "export", "one", tmp_path / "x", rc=1, say="is a container")
    refuse("snapshot", "export", "none-such", "-", rc=1, say="no such snapshot")
    proa("snapshot", "rm", "one")
    proa("rm", name)
    proa("create", "--vm", "--name", name, "-v", "/data", "busybox", "true")
    proa("snapshot", "create", "--name", "one", name)
    refuse("snapshot", "export", "one", tmp_path / "x", rc=1, say="stay behind")
    proa("snapshot", "rm", "one")
    assert os.listdir(tmp_path) == []


def chain_of(files, below=None):
    """What QEMU makes of them, the lowest first: overlays without names in them."""
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(below)}} if below else None
    for path in files:
        node = {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "backing": node}
    return "json:" + json.dumps(node)


def merge(files, out, raw=None):
    given = [(0, "<", raw or os.devnull), (4, "<>", out), *[(5 + i, "<", f) for i, f in enumerate(files)]]
    redirect = " ".join(f"{n}{how}'{path}'" for n, how, path in given)
    words = f"{BUILD}/proa-disk merge --layers {len(files)} {'--raw' if raw else ''}"
    return subprocess.run(["bash", "-c", f"{words} {redirect}"], capture_output=True, text=True)


def test_a_chain_as_one_file(tmp_path):
    """Data, zeros and nothing, at the edges of clusters and of tables, in disks that grew: as QEMU sees them."""
    def run(*argv):
        return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout
    overlays = [tmp_path / f"{i}.qcow2" for i in range(3)]
    writes = [["write -P 1 0 200k", "write -P 1 511M 2M", "write -P 1 700M 64k"],
              ["write -z 64k 64k", "write -P 2 100k 5k", "write -z 511M 64k"],
              ["write -P 3 0 512", "write -P 3 900M 1M", "write -P 0 700M 64k"]]
    for path, size, commands in zip(overlays, ("800M", "800M", "901M"), writes):
        run("qemu-img", "create", "-q", "-f", "qcow2", path, size)
        for c in commands:
            run("qemu-io", "-f", "qcow2", "-c", c, path)
    base = tmp_path / "base.raw"
    base.write_bytes(os.urandom(1 << 20))
    run("truncate", "-s", "800M", base)
    run("qemu-io", "-f", "raw", "-c", "write -P 9 699M 3M", base)
    one, flat, expected = (tmp_path / n for n in ("one.qcow2", "flat.raw", "expected.raw"))
    for path, raw in ((one, None), (flat, base)):
        path.touch()
        done = merge(overlays, path, raw)
        assert json.loads(done.stdout) == {"virtual_bytes": 901 << 20}, done
    run("qemu-img", "convert", "-O", "raw", chain_of(overlays, base), expected)
    assert run("cmp", expected, flat) == ""
    run("qemu-img", "check", "-f", "qcow2", one)
    for below in (None, base):
        whole, merged = tmp_path / "whole.raw", tmp_path / "merged.raw"
        run("qemu-img", "convert", "-O", "raw", chain_of(overlays, below), whole)
        run("qemu-img", "convert", "-O", "raw", chain_of([one], below), merged)
        run("cmp", whole, merged)
    assert os.stat(flat).st_blocks * 512 < 16 << 20 and os.path.getsize(one) < 16 << 20
    # What is none of ours.
    for options, data in (["-o", "cluster_size=4k"], None), (["-o", "compat=0.10"], None), ([], b"\0\0\0\x10"):
        bad = tmp_path / "bad.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", *options, bad, "1M")
        if data:
            with open(bad, "r+b") as f:
                f.seek(76)  # the low half of the features without which it cannot be read
                f.write(data)
        one.write_bytes(b"")
        assert "none of ours" in merge([bad], one).stderr


def frame(kind, value, payload=b""):
    return struct.pack("<IIQ", kind, len(payload), value) + payload


def sealed(body):
    return body + frame(5, 0, hashlib.sha256(body).digest())


def head(image, **how):
    options = {"kind": "vm", "image": "busybox", "name": "stranger", "command": ["true"], **how.pop("options", {})}
    text = {"proa": 1, "what": "snapshot", "name": "gift", "consistency": "crash", "memory_bytes": 0, "created_ns": 1,
            "parts": ["0-disk.raw"], "instance": {"id": "ab" * 32, "name": "stranger", "image_id": image, "image_name": "busybox",
                                                  "created_ns": 1, "auto_remove": False, "options": json.dumps(options)}, **how}
    return b"PROAPRC1" + frame(1, 0, json.dumps(text).encode())


def qcow2_on(tmp_path, backing):
    path = tmp_path / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "raw", path, "1M"], check=True)
    data = path.read_bytes()
    return frame(2, len(data), b"0-disk.qcow2") + frame(3, 0, data)


def test_files_of_strangers(name, tmp_path):
    """Each is refused with one line, and leaves nothing."""
    proa("create", "--vm", "--name", name, "busybox", "true")
    image = inspect(name)["Image"]
    raw = frame(2, 1 << 20, b"0-disk.raw") + frame(3, 4096, b"data")
    good = sealed(head(image) + raw)
    other = "sha256:" + "00" * 32
    cases = {
        "no parcel": (b"hello, world" * 100, "its first bytes"),
        "empty": (b"", "cut off"),
        "cut off": (good[:-50], "cut off"),
        "changed": (good.replace(b"data", b"date"), "digest"),
        "no head": (sealed(b"PROAPRC1" + raw), "no head"),
        "two heads": (sealed(head(image) + head(image)[8:] + raw), "second head"),
        "a head that is no JSON": (sealed(b"PROAPRC1" + frame(1, 0, b"hello") + raw), "parcel"),
        "too deep": (sealed(b"PROAPRC1" + frame(1, 0, b'{"proa":' * 3000 + b"1" + b"}" * 3000)), "parcel"),
        "too large a head": (b"PROAPRC1" + struct.pack("<IIQ", 1, 1 << 30, 0), "wrong size"),
        "another version": (sealed(head(image, proa=9) + raw), "another version"),
        "a machine": (sealed(head(image, what="machine") + raw), "token"),
        "out of its folder": (sealed(head(image) + frame(2, 4, b"../0-disk.raw")), "name"),
        "absolute": (sealed(head(image) + frame(2, 4, b"/etc/passwd")), "name"),
        "the head's own name": (sealed(head(image) + frame(2, 4, b"head")), "is called head"),
        "twice": (sealed(head(image) + raw + raw), "two files"),
        "another file": (sealed(head(image) + raw + frame(2, 4, b"passwd")), "no snapshot has"),
        "a part that does not come": (sealed(head(image)), "no file 0-disk.raw"),
        "parts in disorder": (sealed(head(image, parts=["1-disk.raw"]) + raw), "no chain"),
        "data outside": (sealed(head(image) + raw + frame(3, (1 << 20) - 2, b"data")), "outside"),
        "data before": (sealed(head(image) + raw + frame(3, 0, b"data")), "outside"),
        "data of no file": (sealed(head(image) + frame(3, 0, b"data")), "no file"),
        "too large a file": (sealed(head(image) + frame(2, 1 << 60, b"0-disk.raw")), "16 TiB"),
        "too many files": (sealed(head(image) + b"".join(frame(2, 1, b"f%d" % i) for i in range(600))), "too many"),
        "a question": (sealed(head(image) + raw + frame(4, 1)), "question"),
        "an overlay on a file": (sealed(head(image, parts=["0-disk.qcow2"]) + qcow2_on(tmp_path, "/etc/passwd")), "backing"),
        "a container": (sealed(head(image, options={"kind": "container"}) + raw), "no machine"),
        "a directory of the host": (sealed(head(image, options={"volumes": ["/etc:/x"]}) + raw), "stay behind"),
        "a disk of the host": (sealed(head(image, options={"disks": ["/etc/passwd"]}) + raw), "stay behind"),
        "a kernel of the host": (sealed(head(image, options={"kernel": "/etc/passwd"}) + raw), "stay behind"),
        "an image that is not here": (sealed(head(other) + raw), "is not in"),
        "a name that is none": (sealed(head(image, name="../x") + raw), "name"),
    }
    for what, (data, say) in cases.items():
        path = tmp_path / "gift"
        path.write_bytes(data)
        result = refuse("snapshot", "import", path, rc=1, say=say, timeout=60)
        assert nothing_left(), f"{what}: {result!r}"
    path.write_bytes(good)
    assert proa("snapshot", "import", path).out == "stranger/gift\n"
    proa("snapshot", "rm", "gift")
    proa("rm", name)
    assert nothing_left()
