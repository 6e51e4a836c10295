"""Bad input of every kind: one clear line, a status that says so, and the store as it was."""

import functools
import gzip
import json
import os
import struct
import subprocess
import tarfile
import zlib

import pytest

import archives
import leaks
import sandbox
from archives import Tar
from cli import BUILD, environment, proa, refuse


@pytest.fixture(autouse=True)
def store_unchanged(house):
    """Stricter than the leak guard: not one byte of the store's inventory differs, at once."""
    before = set(leaks.files()) | set(leaks.rows())
    canary = "/var/tmp/canary-of-proa"
    with open(canary, "w") as f:
        f.write("untouched")
    yield
    assert open(canary).read() == "untouched"
    os.unlink(canary)
    assert (set(leaks.files()) | set(leaks.rows())) == before


def test_unknown_image():
    for reference in ("no-such-image", "no-such-image:tag", "sha256:" + "0" * 64, "deadbeef"):
        refuse("run", "--rm", reference, "true", say=reference[:12])
    refuse("run", "--rm", "UPPER CASE", "true")


@pytest.mark.parametrize("flags", [[], ["--vm"]])
def test_another_architecture(flags, busybox_layer):
    proa("load", input=archives.docker_archive([busybox_layer], "foreign:1", architecture="s390x"))
    try:
        refuse("run", "--rm", *flags, "foreign:1", "true", say="s390x")
    finally:
        proa("rmi", "-f", "foreign:1")


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1:]


def test_corrupt_layers():
    # A layer that the store has already would not even be read: these are new.
    busybox_layer = archives.busybox_tree().add("new", os.urandom(3000)).bytes()
    refuse("load", rc=1, input=archives.docker_archive([busybox_layer], break_layer=flip), say="should be sha256:")
    refuse("load", rc=1, input=archives.oci_archive([busybox_layer], compress=False, break_blob=flip), say="sha256:")
    refuse("load", rc=1, input=archives.oci_archive([busybox_layer], break_blob=flip))
    refuse("load", rc=1, input=archives.oci_archive([busybox_layer], break_blob=lambda d: d[:-100]))


def test_truncated_archives(busybox_layer):
    for data in (busybox_layer, gzip.compress(busybox_layer, 1)):
        for size in (100, 5000, len(data) // 2, len(data) - 12000 if data is busybox_layer else len(data) - 3000):
            r = proa("import", "-", "cut:1", input=data[:size], check=False)
            assert r.rc != 0 and len(r.err.strip().splitlines()) == 1, (size, repr(r))
    whole = archives.docker_archive([archives.busybox_tree().add("new", os.urandom(3000)).bytes()])
    for size in (1, 1000, len(whole) // 2):
        refuse("load", rc=1, input=whole[:size])
    refuse("import", "-", "x:1", input=b"", rc=1)
    refuse("import", "-", "x:1", input=os.urandom(100_000), rc=1)
    refuse("load", rc=1, input=b"")


EVIL = {
    "dot-dot": lambda t: t.add("../../../../../../var/tmp/canary-of-proa", "evil"),
    "dot-dot-inside": lambda t: t.add("a/../../../../../../../var/tmp/canary-of-proa", "evil"),
    "hard-link-out": lambda t: t.hardlink("x", "../../../../../../var/tmp/canary-of-proa"),
    "whiteout-of-parent": lambda t: t.dir("d").add("d/.wh...", ""),
    "whiteout-of-here": lambda t: t.dir("d").add("d/.wh..", ""),
    "empty-whiteout": lambda t: t.add("d/.wh.", ""),
    "hard-link-to-nothing": lambda t: t.hardlink("x", "no/such/file"),
    "file-through-link": lambda t: t.symlink("l", "/var/tmp").add("l/canary-of-proa", "evil"),
    "hard-link-through-link": lambda t: t.symlink("l", "/var/tmp").hardlink("h", "l/canary-of-proa"),
    "file-below-file": lambda t: t.add("f", "x").add("f/g", "y"),
    "absolute": lambda t: t.add("/var/tmp/canary-of-proa", "evil"),
    "long-path": lambda t: t.add("/".join(["p" * 200] * 30), "x"),
    "long-name": lambda t: t.add("n" * 300, "x"),
    "name-with-nul": lambda t: t.add("pax", "x", pax={"path": "a\0b"}),
    "huge-size": lambda t: t.add("s", "x", pax={"size": str(1 << 62)}),
    "negative-size": lambda t: t.add("s", "x", pax={"size": "-5"}),
}


@pytest.mark.parametrize("which", EVIL)
def test_layers_that_want_out(which):
    """Each is refused with one line, or kept inside the image; nothing on the host changes."""
    try:
        data = EVIL[which](archives.busybox_tree()).bytes()
    except ValueError:
        pytest.skip("tarfile refuses to write it")
    r = proa("import", "-", "evil:1", input=data, check=False)
    if r.rc:
        assert len(r.err.strip().splitlines()) == 1 and len(r.err) < 600, repr(r)
    else:
        inside = proa("run", "--rm", "--network", "none", "evil:1", "cat", "/var/tmp/canary-of-proa", check=False)
        assert "untouched" not in inside.out
        proa("rmi", "-f", "evil:1")
    refused = {"dot-dot", "dot-dot-inside", "hard-link-out", "hard-link-to-nothing", "long-name", "huge-size", "whiteout-of-parent"}
    if which in refused:
        assert r.rc != 0, f"{which} was taken"


def test_attributes_that_are_not_for_images():
    """trusted.overlay.* and security.* of an archive never reach the layer."""
    tar = archives.busybox_tree()
    tar.add("f", "x", pax={"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.fine": "1"})
    tar.dir("d", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})
    proa("import", "-", "attributes:1", input=tar.bytes())
    try:
        ident = proa("create", "attributes:1", "true").out.strip()
        proa("start", "-a", ident, check=False)
        for mount in [l.split()[4] for l in open("/proc/self/mountinfo") if "/run/proa/layers/" in l]:
            for file in ("f", "d"):
                path = os.path.join(mount, file)
                if os.path.exists(path):
                    assert not [a for a in os.listxattr(path) if a.startswith("trusted.overlay")]
        proa("rm", "-f", ident)
    finally:
        proa("rmi", "-f", "attributes:1")


def gzip_of(head, mib):
    """A gzip file of the head and so many MiB of zeroes, which compresses one MiB only and has it repeated."""
    ones, zeroes = 0xffffffff, bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(zeroes) + packer.flush(zlib.Z_FULL_FLUSH)
    # What a MiB of zeroes does to the check sum's register is linear: bit for bit.
    does, register = [zlib.crc32(zeroes, ones ^ 1 << i) ^ ones for i in range(32)], zlib.crc32(head) ^ ones
    for _ in range(mib):
        register = functools.reduce(int.__xor__, (does[i] for i in range(32) if register >> i & 1), 0)
    size = (len(head) + (mib << 20)) % (1 << 32)
    return b"\x1f\x8b\x08" + bytes(7) + first + again * mib + packer.flush() + struct.pack("<II", register ^ ones, size)


@pytest.mark.slow
def test_a_layer_that_unpacks_to_far_more_than_it_says():
    """More zeroes than the disk has room for, in a few MiB: bounded by what was stated or by the disk, and cleaned up."""
    room = os.statvfs("/var/lib/proa")
    entry = tarfile.TarInfo("bomb")
    entry.size = (room.f_blocks * room.f_frsize >> 20) + 100 << 20
    bomb = "/var/tmp/bomb-of-proa.gz"
    with open(bomb, "wb") as f:
        f.write(gzip_of(entry.tobuf(), entry.size >> 20))
    try:
        before = os.statvfs("/var/lib/proa").f_bavail
        r = proa("import", bomb, "bomb:1", check=False, timeout=120)
        if r.rc == 0:  # zeroes are holes: then it must have cost nothing
            assert before - os.statvfs("/var/lib/proa").f_bavail < 65536
            proa("rmi", "-f", "bomb:1")
        else:
            assert len(r.err.strip().splitlines()) == 1
        # An OCI layer says its size: more than that is refused.
        layer = Tar().add("f", b"\0" * (64 << 20)).bytes()
        blobs, descriptor = archives.oci_blobs([layer])
        manifest = json.loads(blobs[descriptor["digest"]])
        manifest["layers"][0]["size"] = 10
        data = json.dumps(manifest).encode()
        blobs[archives.digest(data)] = data
        descriptor.update(digest=archives.digest(data), size=len(data))
        tar = Tar()
        for path, content in archives.oci_files(blobs, [descriptor], ["liar:1"]).items():
            tar.add(path, content)
        refuse("load", rc=1, input=tar.bytes())
    finally:
        os.unlink(bomb)


DEEP = b"[" * 10_000 + b"]" * 10_000
DOCUMENTS = {"malformed": b'{"a": }', "deep": DEEP, "deep-object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "empty": b"",
             "not-an-object": b"[1]", "text": b"hello", "duplicate": b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
             "nul": b'{"a":"\0"}', "bad-utf8": b'{"a":"\xff\xfe"}', "huge-number": b'{"schemaVersion":1e999}'}


@pytest.mark.parametrize("which", DOCUMENTS)
def test_documents(which, busybox_layer):
    """Malformed and 10,000-deep JSON where an index, a manifest or a configuration is expected."""
    document = DOCUMENTS[which]
    blobs, descriptor = archives.oci_blobs([busybox_layer])
    files = archives.oci_files(blobs, [descriptor], ["doc:1"])
    files["index.json"] = document
    tar = Tar()
    for path, content in files.items():
        tar.add(path, content)
    refuse("load", rc=1, input=tar.bytes())
    refuse("load", rc=1, input=Tar().add("manifest.json", document).bytes())
    # The same as a manifest and as a configuration, with digests that are right.
    key = archives.digest(document)
    tar = Tar()
    for path, content in archives.oci_files({key: document}, [dict(descriptor, digest=key, size=len(document))], ["doc:1"]).items():
        tar.add(path, content)
    refuse("load", rc=1, input=tar.bytes())
    manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": key,
                                                          "size": len(document)}, "layers": []}).encode()
    found = {key: document, archives.digest(manifest): manifest}
    tar = Tar()
    for path, content in archives.oci_files(found, [dict(descriptor, digest=archives.digest(manifest), size=len(manifest))], ["doc:1"]).items():
        tar.add(path, content)
    refuse("load", rc=1, input=tar.bytes())


def test_digests_are_not_paths(busybox_layer):
    for bad in ("sha256:../../../../etc/passwd", "../../x", "sha256:" + "g" * 64, "md5:" + "0" * 32, "sha256:" + "A" * 64, ""):
        blobs, descriptor = archives.oci_blobs([busybox_layer])
        tar = Tar()
        for path, content in archives.oci_files(blobs, [dict(descriptor, digest=bad)], ["x:1"]).items():
            tar.add(path, content)
        refuse("load", rc=1, input=tar.bytes())


def test_no_qemu(tmp_path):
    """A machine without QEMU: said in one line; containers go on."""
    hidden = "mount --bind /dev/null \"$(readlink -f /usr/bin/qemu-system-x86_64)\" && exec \"$@\""
    prefix = ("unshare", "-m", "sh", "-c", hidden, "sh")
    r = refuse("run", "--rm", "--vm", "busybox", "true", prefix=prefix)
    assert "qemu" in r.err.lower()
    assert proa("run", "--rm", "busybox", "echo", "ok", prefix=prefix).out == "ok\n"


def test_missing_kernel():
    kernels = f"{sandbox.STATE}/cache/kernel"
    prefix = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs tmpfs {kernels} && exec "$@"', "sh")
    r = refuse("run", "--rm", "--vm", "busybox", "true", prefix=prefix)
    assert "kernel" in r.err.lower()


def test_read_only_root(tmp_path):
    prefix = ("unshare", "-m", "sh", "-c", f'mount -o remount,bind,ro {sandbox.STATE} && exec "$@"', "sh")
    for args in (["create", "busybox", "true"], ["import", "/dev/null", "x:1"], ["volume", "create", "vol"]):
        r = proa(*args, check=False, prefix=prefix)
        assert r.rc != 0 and len(r.err.strip().splitlines()) == 1, repr(r)
        assert "read-only" in r.err.lower(), repr(r)


@pytest.mark.slow
def test_a_full_disk(busybox_layer, tmp_path):
    """A small file system as the root: the import that does not fit says so and leaves nothing."""
    root = tmp_path / "small"
    root.mkdir()
    script = f"mount -t tmpfs -o size=3m tmpfs {root} && " \
             f"{BUILD}/proa --root {root} images >/dev/null && before=$(find {root} | sort | grep -v -e -wal -e -shm) && " \
             f"head -c 4000000 /dev/urandom >/run/random && tar -C /run -cf /run/random.tar random && " \
             f"{BUILD}/proa --root {root} import /run/random.tar big:1; rc=$?; rm /run/random /run/random.tar; " \
             f"[ \"$before\" = \"$(find {root} | sort | grep -v -e -wal -e -shm)\" ] || {{ echo LEFT; find {root}; }}; exit $rc"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 1, done
    assert "LEFT" not in done.stdout and len(done.stderr.strip().splitlines()) == 1, done
    assert "space" in done.stderr.lower() or "full" in done.stderr.lower(), done


def test_a_store_that_is_no_database(tmp_path):
    root = tmp_path / "r"
    root.mkdir()
    (root / "proa.db").write_bytes(os.urandom(8192))
    r = proa("--root", root, "ps", check=False)
    assert r.rc != 0 and len(r.err.strip().splitlines()) == 1, repr(r)


def test_command_lines():
    for args in ([], ["no-such-verb"], ["run"], ["exec"], ["cp", "x"], ["rm"], ["logs"], ["inspect"], ["network"], ["volume", "create", "a", "b"],
                 ["run", "-p"], ["stop", "-t", "soon", "x"], ["run", "--cpus", "-1", "busybox"], ["run", "--memory", "1", "busybox", "true"],
                 ["run", "-u", "", "--pids-limit", "many", "busybox"], ["ps", "--filter", "nonsense"]):
        r = proa(*args, check=False)
        assert r.rc != 0, repr(r)
        assert (r.err + r.out).strip(), repr(r)
        assert "assert" not in r.err.lower() and r.rc < 128, repr(r)
    long = "x" * 100_000
    for args in (["inspect", long], ["run", "--name", long, "busybox"], ["run", long], ["-" + long]):
        assert 0 < proa(*args, check=False).rc < 128
