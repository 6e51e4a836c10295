"""The host's file system runs full below a machine of either kind: the machine stands still instead of losing a write,
that is shown with its reason, it goes on when there is room, and nothing else is harmed. The state directory is a small
tmpfs with a file in it that takes the room away."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

import sandbox
from cli import clock_is_right, finish, proa, refuse, start, until
from hostile import check, one_line, two_neighbours

sys.path.insert(0, os.path.join(sandbox.TOP, "tests/machine"))
import disk  # noqa: E402

pytestmark = pytest.mark.vm
MIB, WRITTEN = 1 << 20, 60
FULL = "the host's disk is full"
XES = f"head -c {WRITTEN * MIB} /dev/zero | tr '\\0' x"
# How each kind of machine is started, what writes in it, and what gives all of that again.
KINDS = {
    "light": (["--vm", "busybox", "sleep", "100000"], f"{XES} >/x && sync",
              "echo 3 >/proc/sys/vm/drop_caches; cat /x"),
    "disk": (["--disk-size", "200m", "-m", "128m", "agent:1"],
             f"{XES} | dd of=/dev/vda bs=1M seek=64 iflag=fullblock conv=fsync",
             f"echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M skip=64 count={WRITTEN}"),
}


@pytest.fixture
def root(tmp_path):
    """A state directory of its own, with both images and a container that writes to its log."""
    root, image = tmp_path / "root", tmp_path / "image.tar"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=400m", "tmpfs", root], check=True)
    try:
        shutil.copytree(sandbox.STATE + "/cache/kernel", root / "cache/kernel", ignore=shutil.ignore_patterns("disk-*"))
        image.write_bytes(proa("save", "busybox", binary=True).out)
        proa("--root", root, "load", "-i", image)
        proa("--root", root, "import", disk.path_of("agent"), "agent:1", timeout=120)
        proa("--root", root, "run", "-d", "--network", "none", "--name", "writer", "busybox", "sh", "-c",
             "while :; do date; sleep 0.1; done")
        yield root
        proa("--root", root, "rm", "-f", "writer")
        proa("--root", root, "system", "prune", "-f", timeout=60)
    finally:
        subprocess.run(["umount", "-l", root], check=True)


@contextmanager
def little_room(root, mebibytes):
    """So much is free, as long as that lasts."""
    filler = root / "filler"
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_bsize
    with open(filler, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, free - mebibytes * MIB)
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_host(root, name, kind):
    flags, write, read = KINDS[kind]

    def run(*words, **kw):
        return proa("--root", root, *words, **kw)

    def shown():
        return run("inspect", name).json[0]["State"]
    with two_neighbours() as neighbours:
        run("run", "-d", "--network", "none", "--name", name, *flags, timeout=120)
        until(lambda: run("exec", name, "true", check=False, timeout=60).rc == 0, timeout=120)
        with little_room(root, 20):
            writing = start("--root", root, "exec", name, "sh", "-c", write)
            until(lambda: shown()["Status"] == "paused", timeout=60)
            assert shown()["Paused"] and shown()["Error"] == FULL
            assert f"(Paused: {FULL})" in run("ps", "--format", "{{.Status}}").out
            for words in (["exec", name, "true"], ["pause", name], ["update", "-m", "200m", name]):
                one_line(run(*words, check=False), "paused")
            one_line(run("unpause", name, check=False), "stopped again at once")
            assert shown()["Status"] == "paused"
            check(neighbours)
            assert run("exec", "writer", "echo", "well").out == "well\n"
            time.sleep(4)  # so that a clock that stood as long is seen to be wrong
        run("unpause", name)
        clock_is_right(lambda: run("exec", name, "date", "+%s", timeout=90).out)
        assert shown()["Status"] == "running" and shown()["Error"] == ""
        r = finish(writing, timeout=90)
        assert r.rc == 0, r
        assert run("exec", name, "sh", "-c", f"{{ {read}; }} 2>/dev/null | tr -d x | wc -c; {{ {read}; }} 2>/dev/null | wc -c",
                   timeout=90).lines == ["0", str(WRITTEN * MIB)]
        with little_room(root, 8):
            writing = start("--root", root, "exec", name, "sh", "-c", write.replace("/x", "/y").replace("seek=64", "seek=130"))
            until(lambda: shown()["Status"] == "paused", timeout=60)
            r = run("rm", "-f", name, check=False, timeout=60)
            if r.rc:  # the store itself may need room
                one_line(r, "no space left")
            one_line(finish(writing, timeout=60), "")
        if r.rc:
            run("rm", "-f", name, timeout=60)
        assert run("ps", "-a", "--format", "{{.Names}}").out == "writer\n"
        assert run("exec", "writer", "echo", "well").out == "well\n"
        assert run("fsck", timeout=60).rc == 0
        check(neighbours)
