"""Kernels of machines: adding, choosing and removing them, a kernel and an initramfs of one's own, and what is
refused. Kernels come from the one that the session's house has prepared."""

import gzip
import json
import os
import struct

import pytest

import sandbox
from cli import inspect, proa, refuse

pytestmark = pytest.mark.vm
KERNELS = sandbox.STATE + "/cache/kernel"


def rows():
    return {r["Name"]: r for r in map(json.loads, proa("kernel", "ls", "--format", "json").lines)}


@pytest.fixture(scope="module")
def debian(house):
    """The name of the prepared one, and its uncompressed kernel."""
    name = proa("kernel", "ls", "--format", "{{.Name}}").out.strip()
    return name, os.path.join(KERNELS, name, "vmlinux")


@pytest.fixture
def added():
    """Names that a test adds."""
    names = []
    yield names
    for name in names:
        proa("kernel", "rm", name, check=False)


def bzimage(elf):
    """A bzImage with a gzip payload, as a distribution might have it."""
    payload = gzip.compress(elf, 1)
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    return bytes(head) + payload


def cpio(files):
    """An initramfs ("newc"): (name, mode, bytes)."""
    out = b""
    for number, (name, mode, data) in enumerate([*files, ("TRAILER!!!", 0, b"")]):
        fields = (number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def test_ls(debian):
    name, _ = debian
    row = rows()[name]
    assert row["Default"] == "yes" and row["Source"] == "package" and row["Version"].endswith("cloud-amd64"), row
    assert row["Size"].endswith("MB") and row["InUse"] == "no", row
    assert proa("kernel", "ls", "--filter", "name=no-such", "-q").out == ""


def test_a_kernel_from_a_file(debian, added, name, tmp_path):
    """A bzImage added, asked for by name, made the default, used, and removed when nothing uses it."""
    image, chosen = tmp_path / "vmlinuz", f"own-{name}"
    with open(debian[1], "rb") as f:
        elf = f.read()
    image.write_bytes(bzimage(elf))
    added.append(chosen)
    assert proa("kernel", "add", "--name", chosen, image, timeout=120).out == ""
    row = rows()[chosen]
    assert row["Default"] == "no" and row["Source"] == "file" and row["Version"] == rows()[debian[0]]["Version"]
    with open(os.path.join(KERNELS, chosen, "vmlinux"), "rb") as f:
        assert f.read() == elf
    refuse("kernel", "add", "--name", chosen, image, rc=None, say="already")
    proa("create", "--vm", "--kernel", chosen, "--name", name, "busybox", "true")
    assert rows()[chosen]["InUse"] == "yes"
    refuse("kernel", "rm", chosen, rc=None, say=name)
    proa("rm", name)
    proa("kernel", "default", chosen)
    assert rows()[chosen]["Default"] == "yes" and rows()[debian[0]]["Default"] == "no"
    assert chosen in proa("info").out
    proa("kernel", "rm", chosen)
    assert rows()[debian[0]]["Default"] == "yes" and chosen not in rows()
    assert os.listdir(KERNELS) == [debian[0]]


def test_a_kernel_and_an_initramfs_of_ones_own(debian, name, tmp_path):
    """Files: the kernel is read at the start; the initramfs is there beside ours; arguments are passed on."""
    image, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    with open(debian[1], "rb") as f:
        image.write_bytes(bzimage(f.read()))
    modules = os.path.join(KERNELS, debian[0], "modules")
    files = [("init", 0o100755, b"not an init"), ("modules", 0o40755, b"")]
    for module in sorted(os.listdir(modules)):
        with open(os.path.join(modules, module), "rb") as f:
            files.append((f"modules/{module}", 0o100644, f.read()))
    initrd.write_bytes(gzip.compress(cpio(files), 1))
    r = proa("run", "--vm", "--name", name, "--kernel", image, "--initrd", initrd, "--kernel-arg", "proa.test=yes",
             "--kernel-arg", "audit=0", "busybox", "cat", "/proc/cmdline", timeout=180)
    assert r.out.rstrip().endswith("proa.test=yes audit=0"), r
    image.unlink()
    refuse("start", "-a", name, say="vmlinuz", rc=None)
    proa("rm", name)


def test_what_is_refused(debian, name, tmp_path):
    bad, empty, half = tmp_path / "bad", tmp_path / "empty", tmp_path / "half.deb"
    bad.write_bytes(os.urandom(5000))
    empty.write_bytes(b"")
    half.write_bytes(b"!<arch>\ndebian-binary")
    with open(debian[1], "rb") as f:
        whole = bzimage(f.read(1 << 20))
    (tmp_path / "short").write_bytes(whole[:len(whole) // 2])
    before = sorted(os.listdir(KERNELS))
    for args, say in ((["add", bad], "bzImage"), (["add", empty], "bzImage"), (["add", tmp_path / "short"], "cut short"),
                      (["add", "--name", "x", half], "half.deb"), (["add", tmp_path / "none"], "no such file"),
                      (["add", tmp_path], "not a file"), (["add", "--name", "../x", bad], "cannot be"),
                      (["add", "--name", ".x", bad], "cannot be"), (["rm", "none"], "no kernel"),
                      (["rm", ".default"], "no kernel"), (["default", "none"], "no kernel"),
                      (["add", "--modules", tmp_path, "x.deb"], "--modules")):
        refuse("kernel", *args, rc=None, say=say)
    assert sorted(os.listdir(KERNELS)) == before
    for args, say in ((["--kernel", "none"], "no kernel"), (["--kernel", tmp_path / "none"], "no such file"),
                      (["--initrd", tmp_path / "none"], "no such file"), (["--initrd", tmp_path], "not a file"),
                      (["--kernel-arg", ""], "empty"), (["--kernel-arg", "a\nb"], "printable"),
                      (["--kernel-arg", "x" * 1100], "longer")):
        refuse("create", "--vm", "--name", name, *args, "busybox", "true", say=say)
    refuse("create", "--kernel", debian[0], "--name", name, "busybox", "true", say="--vm")
    refuse("run", "--vm", "--name", name, "--kernel", bad, "busybox", "true", say="bzImage")
    assert inspect(name)["State"]["Status"] == "created"
    refuse("start", name, rc=None, say="bzImage")
    refuse("run", "--rm", "--vm", "--initrd", empty, "busybox", "true", say="empty")


def test_the_configuration_of_the_tuned_kernel():
    """Each option once, built in; what a light machine boots with is there."""
    with open(os.path.join(sandbox.TOP, "scripts/kernel.config")) as f:
        lines = [l.strip() for l in f if l.strip() and not l.startswith("#")]
    names = [l.split("=")[0] for l in lines]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    assert all(l.startswith("CONFIG_") and "=" in l and not l.endswith("=m") for l in lines), lines
    for need in ("PVH", "ACPI", "VIRTIO_MMIO", "VIRTIO_BLK", "VIRTIO_NET", "VIRTIO_CONSOLE", "EROFS_FS", "OVERLAY_FS", "EXT4_FS",
                 "VIRTIO_FS", "DEVTMPFS", "SERIAL_8250_CONSOLE", "BLK_DEV_INITRD", "CGROUP_PIDS", "MEMCG", "SECCOMP_FILTER"):
        assert f"CONFIG_{need}=y" in lines, need
