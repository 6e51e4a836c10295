"""Disk images: what qemu-img makes comes in, is shared between versions, read by QEMU where it lies, and given back."""

import os
import random
import signal
import struct
import subprocess
import tarfile
import threading

import pytest

import leaks
from cli import BUILD, PROA, command, environment, finish, proa, refuse, start, until
from test_crash import nothing_left, points, steps_of, traced

MIB = 1 << 20
CHUNK = 4 * MIB
DISKS = "/var/lib/proa/disks"
# On the store's own ext4: it has room, and holes.
PLACE = "/var/lib/proa/test-disks"


def qemu_img(*args, **kw):
    return command(["qemu-img", *args], **kw)


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def make_raw(path, size=10 << 30, parts=None):
    """A sparse raw disk with a boot sector's mark and some data."""
    with open(path, "wb") as f:
        f.truncate(size)
        for at, data in {510: b"\x55\xaa", 100 * MIB: noise(1, 20 * MIB), size - 512: b"end".ljust(512, b"\0"),
                         **(parts or {})}.items():
            f.seek(at)
            f.write(data)
    return path


def change(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def used(path=DISKS):
    """Bytes on disk of a file or of all files in a folder, holes left out."""
    if os.path.isdir(path):
        return sum(used(os.path.join(path, n)) for n in os.listdir(path))
    return os.stat(path).st_blocks * 512


def same(a, b):
    """Whether two disks are the same to the last byte, as QEMU reads them."""
    done = qemu_img("compare", a, b, check=False)
    assert done.rc in (0, 1), repr(done)
    return done.rc == 0


def probe(image, *argv, **kw):
    """A program with the disk as a machine is given it: descriptors, no copy."""
    return command([os.path.join(BUILD, "tests/integration/disk_probe"), image, *argv], **kw)


@pytest.fixture
def place():
    os.makedirs(PLACE, exist_ok=True)
    yield PLACE
    subprocess.run(["rm", "-rf", PLACE], check=True)


@pytest.fixture
def disk():
    """Names whose images are removed at the end; nothing of them may stay."""
    names = []

    def new(suffix):
        names.append(f"disk-{os.getpid()}:{suffix}")
        return names[-1]

    yield new
    for n in names:
        proa("rmi", "-f", n, check=False)


def test_every_format_gives_the_same_disk(place, disk):
    raw = make_raw(f"{place}/a.raw")
    with open(f"{place}/pipe.raw", "wb") as f:
        f.truncate(64 * MIB)
        f.seek(510)
        f.write(b"\x55\xaa")
        f.seek(9 * MIB)
        f.write(noise(5, MIB))
    ids = {proa("import", raw, disk("raw")).out.strip()}
    for name, options in {"v3.qcow2": ["-O", "qcow2"], "v2.qcow2": ["-O", "qcow2", "-o", "compat=0.10"],
                          "zlib.qcow2": ["-c", "-O", "qcow2"],
                          "zstd.qcow2": ["-c", "-O", "qcow2", "-o", "compression_type=zstd"],
                          "big.qcow2": ["-O", "qcow2", "-o", "cluster_size=2M"],
                          "small.qcow2": ["-O", "qcow2", "-o", "extended_l2=on,cluster_size=64k"],
                          "sparse.vmdk": ["-O", "vmdk"], "stream.vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
                          "x.vhdx": ["-O", "vhdx"]}.items():
        qemu_img("convert", *options, raw, f"{place}/{name}")
        ids.add(proa("import", f"{place}/{name}", disk(name)).out.strip())
    assert len(ids) == 1, "one disk has one id"
    assert used() < 24 * MIB, "10 GiB of holes are holes"
    shown = proa("image", "inspect", disk("raw")).json[0]
    assert shown["Kind"] == "disk" and shown["VirtualSize"] == 10 << 30 and 20 * MIB <= shown["Size"] < 21 * MIB
    with open(f"{place}/pipe.raw", "rb") as f:
        piped = command([PROA, "import", "--disk", "-", disk("pipe")], input=f.read()).out
    assert piped == proa("import", f"{place}/pipe.raw", disk("file")).out
    assert proa("fsck").out.endswith("0 faults\n")


def test_a_snapshot_inside_is_not_the_disk(place, disk):
    raw = make_raw(f"{place}/a.raw", 64 * MIB, {100: b"before", 100 * 1000: b""} | {20 * MIB: noise(2, MIB)})
    os.truncate(raw, 64 * MIB)
    qemu_img("convert", "-O", "qcow2", raw, f"{place}/a.qcow2")
    qemu_img("snapshot", "-c", "old", f"{place}/a.qcow2")
    command(["qemu-io", "-f", "qcow2", "-c", "write -P 7 30M 1M", f"{place}/a.qcow2"])
    proa("import", f"{place}/a.qcow2", disk("now"))
    proa("image", "export", disk("now"), f"{place}/out.raw")
    assert same(f"{place}/out.raw", f"{place}/a.qcow2")


@pytest.mark.parametrize("size", [512, 4096 + 512, CHUNK - 512, CHUNK, CHUNK + 512, 3 * CHUNK + 100 * 512])
def test_sizes_around_a_chunk(place, disk, size):
    with open(f"{place}/a.raw", "wb") as f:
        f.write(noise(size, size))
    proa("import", "--disk", f"{place}/a.raw", disk("1"))
    change(f"{place}/a.raw", size - 1, b"x")
    proa("import", "--disk", f"{place}/a.raw", disk("2"))
    proa("image", "export", disk("2"), f"{place}/out.raw")
    with open(f"{place}/out.raw", "rb") as a, open(f"{place}/a.raw", "rb") as b:
        assert a.read() == b.read()
    assert same(f"{place}/out.raw", f"{place}/a.raw")
    probe(disk("2"), "qemu-img", "compare", "@DISK@", f"{place}/a.raw")


def test_a_disk_of_zeros(place, disk):
    with open(f"{place}/zero.raw", "wb") as f:
        f.truncate(1 << 30)
    proa("import", "--disk", f"{place}/zero.raw", disk("zero"))
    assert not os.path.isdir(DISKS) or used() == 0
    probe(disk("zero"), "qemu-img", "compare", "@DISK@", f"{place}/zero.raw")
    proa("image", "export", disk("zero"), f"{place}/out.qcow2")
    assert same(f"{place}/out.qcow2", f"{place}/zero.raw")


def test_versions_share_and_are_read_where_they_lie(place, disk):
    raw = make_raw(f"{place}/v.raw")
    proa("import", raw, disk("1"))
    first = used()
    versions = {1: f"{place}/v1.raw"}
    command(["cp", "--sparse=always", raw, versions[1]])
    for n in (2, 3, 4):
        change(raw, 100 * MIB + n * 5 * MIB // 2, noise(n, MIB))
        # What only moved is not shared: see wire/disk/disk.h.
        change(raw, n * 200 * MIB, noise(1, 20 * MIB)[:CHUNK])
        before = used()
        proa("import", raw, disk(str(n)))
        assert used() - before <= 3 * CHUNK + 65536, "a version costs what it changed"
        versions[n] = f"{place}/v{n}.raw"
        command(["cp", "--sparse=always", raw, versions[n]])
    assert used() <= first + 9 * CHUNK + 65536
    for n, path in versions.items():
        probe(disk(str(n)), "qemu-img", "compare", "@DISK@", path)
    assert "parts: 1" in probe(disk("1"), "true").err, "the first version is one raw file"
    assert probe(disk("4"), "qemu-img", "compare", "@DISK@", versions[3], check=False).rc == 1
    # Others go, one by one; what the last one needs stays, and nothing else.
    for n in (1, 3, 2):
        proa("rmi", disk(str(n)))
        probe(disk("4"), "qemu-img", "compare", "@DISK@", versions[4])
        assert proa("fsck").out.endswith("0 faults\n")
    assert used() <= 8 * CHUNK + 65536
    proa("rmi", disk("4"))
    assert os.listdir(DISKS) == []


def test_an_overlay_in_front_takes_what_a_machine_writes(place, disk):
    raw = make_raw(f"{place}/a.raw", 1 << 30)
    proa("import", raw, disk("1"))
    change(raw, 101 * MIB, b"changed")
    proa("import", raw, disk("2"))
    packs = {n: os.stat(f"{DISKS}/{n}").st_mtime_ns for n in os.listdir(DISKS)}
    script = f"""qemu-img create -q -f qcow2 -b "$1" -F qcow2 {place}/over.qcow2 1G
qemu-io -c 'write -P 9 102M 64k' -c 'read -P 9 102M 64k' -c 'read 101M 1M' {place}/over.qcow2"""
    probe(disk("2"), "sh", "-euc", script, "sh", "@DISK@")
    assert packs == {n: os.stat(f"{DISKS}/{n}").st_mtime_ns for n in os.listdir(DISKS)}


def test_strangers_are_not_tied_together(place, disk):
    """One chunk that happens to be the same does not make a disk read another one's pack."""
    common = noise(9, CHUNK)
    for n in (1, 2):
        make_raw(f"{place}/{n}.raw", 1 << 30, {CHUNK * 2: common, 200 * MIB: noise(100 + n, 60 * CHUNK)})
        change(f"{place}/{n}.raw", 100 * MIB, noise(200 + n, 20 * MIB))
        proa("import", f"{place}/{n}.raw", disk(str(n)))
    assert "parts: 1" in probe(disk("2"), "true").err


def test_what_a_reader_holds_is_not_punched(place, disk):
    raw = make_raw(f"{place}/a.raw", 1 << 30)
    proa("import", raw, disk("1"))
    change(raw, 101 * MIB, b"changed")
    proa("import", raw, disk("2"))
    reader = subprocess.Popen([os.path.join(BUILD, "tests/integration/disk_probe"), disk("1"), "sh", "-c",
                               "echo ready; read line; exec qemu-img compare \"$1\" " + f"{place}/first.raw", "sh", "@DISK@"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert reader.stdout.readline() == "ready\n"
    make_raw(f"{place}/first.raw", 1 << 30)
    proa("rmi", "-f", disk("1"))
    out, _ = reader.communicate("go\n", timeout=60)
    assert reader.returncode == 0, out
    held = used()
    proa("rmi", "-f", disk("2"))
    assert used() < held and os.listdir(DISKS) == []


def test_list_tag_filter_and_remove(place, disk, busybox_layer):
    del busybox_layer
    proa("import", make_raw(f"{place}/a.raw", 1 << 30), disk("1"))
    rows = {l.split()[0]: l for l in proa("images", "--format", "{{.Repository}}:{{.Tag}} {{.Kind}} {{.VirtualSize}}").lines}
    assert rows[disk("1")].split()[1:] == ["disk", "1.07GB"]
    assert " application" in rows["busybox:latest"]
    only = proa("images", "--filter", "kind=disk", "--format", "{{.Repository}}:{{.Tag}}").lines
    assert only == [disk("1")]
    proa("tag", disk("1"), disk("again"))
    assert proa("rmi", disk("1")).out == f"Untagged: {disk('1')}\n"
    refuse("run", "--rm", disk("again"), "true", rc=None, say="a disk boots the system")
    refuse("save", "-o", f"{place}/x.tar", disk("again"), rc=None, say="is a disk image")
    refuse("history", disk("again"), rc=None, say="is a disk image")
    refuse("image", "export", "busybox", f"{place}/x.raw", rc=None, say="not a disk image")
    assert not os.path.exists(f"{place}/x.raw")
    usage = [l for l in proa("system", "df", "-v").lines if disk("again") in l]
    assert usage and "21" in usage[0]
    assert "Deleted: sha256:" in proa("rmi", disk("again")).out
    assert os.listdir(DISKS) == []


@pytest.mark.parametrize("format", ["raw", "qcow2", "vmdk", "vhdx"])
def test_export(place, disk, format):
    raw = make_raw(f"{place}/a.raw", 1 << 30)
    proa("import", raw, disk("1"))
    out = f"{place}/out.{format}"
    proa("image", "export", disk("1"), out)
    assert same(raw, out)
    assert f"file format: {format}" in qemu_img("info", out).out
    assert used(out) < 64 * MIB and os.stat(out).st_uid == 0
    before = os.stat(out).st_ino
    refuse("image", "export", "--format", "vdi", disk("1"), out, rc=1, say="--format")
    refuse("image", "export", disk("1"), f"{place}/none/out.raw", rc=1, say="none")
    assert os.stat(out).st_ino == before and sorted(os.listdir(place)) == ["a.raw", f"out.{format}"]


def carrier(path, *files):
    """KubeVirt's containerDisk: an image with nothing but /disk."""
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("disk")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o555
        tar.addfile(folder)
        for name, source in files:
            entry = tarfile.TarInfo(f"disk/{name}")
            entry.uid = entry.gid = 107
            entry.mode = 0o440
            if source.startswith("link:"):
                entry.type, entry.linkname = tarfile.SYMTYPE, source[5:]
                tar.addfile(entry)
                continue
            entry.size = os.path.getsize(source)
            with open(source, "rb") as f:
                tar.addfile(entry, f)
    return path


@pytest.mark.parametrize("name", ["disk.qcow2", "disk.img"])
def test_a_disk_that_an_image_carries(place, disk, name):
    raw = make_raw(f"{place}/a.raw", 256 * MIB, {})
    qemu_img("convert", "-O", "qcow2", "-c", raw, f"{place}/a.qcow2")
    wanted = proa("import", raw, disk("raw")).out
    proa("import", carrier(f"{place}/c.tar", (name, f"{place}/a.qcow2")), disk("carrier"))
    try:
        assert proa("import", "--container-disk", disk("carrier"), disk("carried")).out == wanted
        proa("import", carrier(f"{place}/c.tar", (name, "link:/etc/passwd")), disk("linked"))
        refuse("import", "--container-disk", disk("linked"), disk("x"), rc=1, say="carries no disk")
        proa("import", carrier(f"{place}/c.tar", ("a.img", raw), ("b.img", f"{place}/a.qcow2")), disk("two"))
        refuse("import", "--container-disk", disk("two"), disk("x"), rc=1, say="more than one")
        refuse("import", "--container-disk", disk("raw"), disk("x"), rc=1, say="is a disk image")
    finally:
        for n in ("carrier", "linked", "two"):
            proa("rmi", "-f", disk(n), check=False)


# --- what must not come in ---


def hostile(place):
    """Images that name files of the host, or are broken, and a word of the answer."""
    raw = make_raw(f"{place}/a.raw", 64 * MIB, {10 * MIB: b"x"})
    os.truncate(raw, 64 * MIB)
    made = {}

    def qcow2(name, say, *patches, **kw):
        path = f"{place}/{name}"
        qemu_img("convert", "-O", "qcow2", *kw.get("options", ()), raw, path)
        for at, form, value in patches:
            change(path, at, struct.pack(form, value) if form else value)
        made[path] = say

    with open(f"{place}/secret", "wb") as f:
        f.write(b"secret" * 1000)
    qemu_img("create", "-q", "-f", "qcow2", "-b", f"{place}/secret", "-F", "raw", f"{place}/backing.qcow2", "64M")
    made[f"{place}/backing.qcow2"] = "backing file"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "json:{\"driver\":\"host_device\",\"filename\":\"/dev/sda\"}", "-u", "-F",
             "raw", f"{place}/json.qcow2", "64M")
    made[f"{place}/json.qcow2"] = "backing file"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={place}/outside", f"{place}/data.qcow2", "64M")
    made[f"{place}/data.qcow2"] = "data file"
    # qemu-img measures how fast it is, and cannot now and then ("Unable to get accurate CPU usage").
    until(lambda: qemu_img("create", "-q", "-f", "qcow2", "--object", "secret,id=k,data=x", "-o",
                           "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10", f"{place}/luks.qcow2", "64M",
                           check=False).rc == 0)
    made[f"{place}/luks.qcow2"] = "encrypted"
    qcow2("huge.qcow2", "TiB", (24, ">Q", 1 << 60))
    qcow2("clusters.qcow2", "clusters", (20, ">I", 63))
    qcow2("version.qcow2", "version", (4, ">I", 9))
    qcow2("l1-size.qcow2", "broken", (36, ">I", 0xffffffff))
    qcow2("l1-far.qcow2", "cut off", (40, ">Q", 1 << 50))
    qcow2("l1-wild.qcow2", "broken")
    with open(f"{place}/l1-wild.qcow2", "rb") as f:
        (table,) = struct.unpack_from(">Q", f.read(48), 40)
    change(f"{place}/l1-wild.qcow2", table, struct.pack(">Q", (1 << 63) | 0x12345))
    qcow2("cut.qcow2", "cut off")
    os.truncate(f"{place}/cut.qcow2", 300000)
    qcow2("cut-compressed.qcow2", "cut off", options=["-c"])
    os.truncate(f"{place}/cut-compressed.qcow2", os.path.getsize(f"{place}/cut-compressed.qcow2") - 600)
    qcow2("head.qcow2", "ends", )
    os.truncate(f"{place}/head.qcow2", 60)
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, f"{place}/flat.vmdk")
    made[f"{place}/flat.vmdk"] = "names other files"
    qemu_img("convert", "-O", "vmdk", raw, f"{place}/base.vmdk")
    qemu_img("create", "-q", "-f", "vmdk", "-b", f"{place}/base.vmdk", "-F", "vmdk", f"{place}/child.vmdk")
    made[f"{place}/child.vmdk"] = "parent"
    return made


def test_hostile_images_are_refused(place):
    before = leaks.snapshot()
    images = hostile(place)
    for path, say in images.items():
        result = refuse("import", path, "hostile", rc=1, say=say)
        assert "secret" not in result.out
    extra, gone = leaks.settled(before)
    assert not extra and not gone, (extra, gone)
    assert proa("images", "-q", "hostile").out == ""


def test_qemu_img_cannot_open_anything_else(place):
    """Even a taken-over qemu-img: it is run here as proa-disk runs it, on an image whose check was left out."""
    images = hostile(place)
    secret = f"{place}/secret"
    os.chmod(secret, 0o644)
    os.chmod(place, 0o755)
    opened = []
    for name in ("backing.qcow2", "data.qcow2", "child.vmdk"):
        assert f"{place}/{name}" in images
        out = f"{place}/out"
        with open(out, "wb") as f:
            f.truncate(64 * MIB)
        uid = 0x74000001
        for path in (f"{place}/{name}", out):
            os.chown(path, uid, uid)
        trace = f"{place}/trace"
        script = 'exec strace -f -qq -e trace=open,openat -o "$1" "$2" convert --format "$3" --to raw --bytes 67108864 ' \
                 f'--uid {uid} 3<"$4" 4<>"$5"'
        subprocess.run(["sh", "-c", script, "sh", trace, os.path.join(BUILD, "proa-disk"), name.rsplit(".")[-1],
                        f"{place}/{name}", out], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        with open(trace) as f:
            opened += [l for l in f if not l.rstrip().endswith(("EACCES (Permission denied)", "ENOENT (No such file or directory)"))]
        with open(out, "rb") as f:
            assert b"secret" not in f.read()
    inside = [l for l in opened if PLACE in l]
    assert not inside, inside


# --- at the same time, and killed ---


def test_imports_and_removals_at_once(place, disk):
    paths = []
    for n in range(3):
        paths.append(make_raw(f"{place}/{n}.raw", 1 << 30))
        change(paths[n], 101 * MIB, noise(n, MIB))
    failed = []

    def work(n):
        for turn in range(4):
            name = disk(f"{n}-{turn}")
            for args in (["import", paths[(n + turn) % 3], name], ["image", "inspect", name], ["rmi", name]):
                done = proa(*args, check=False)
                if done.rc:
                    failed.append(done)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed
    assert proa("fsck").out.endswith("0 faults\n")
    assert os.listdir(DISKS) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["import", "rmi"])
def test_killed_at_each_step(place, disk, verb):
    raw = make_raw(f"{place}/a.raw", 256 * MIB, {})
    qemu_img("convert", "-O", "qcow2", raw, f"{place}/a.qcow2")
    change(raw, 101 * MIB, b"changed")
    proa("import", raw, disk("kept"))
    name = disk("killed")
    args = {"import": ["import", f"{place}/a.qcow2", name], "rmi": ["rmi", name]}[verb]
    before = leaks.snapshot()
    if verb == "rmi":
        proa("import", f"{place}/a.qcow2", name)
    steps = steps_of(args)
    proa("rmi", name, check=False)
    killed = 0
    for point in points(steps):
        if verb == "rmi":
            proa("import", f"{place}/a.qcow2", name)
        killed += traced(args, point).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        known = proa("images", "-q", name).out.strip()
        assert proa("fsck").out.endswith("0 faults\n"), f"step {point}"
        if known:
            probe(name, "qemu-img", "compare", "@DISK@", f"{place}/a.qcow2")
        probe(disk("kept"), "qemu-img", "compare", "@DISK@", raw)
        proa("rmi", name, check=False)
        nothing_left(before, f"step {point} of {verb}")
    assert killed > 4, "the kills do not arrive"


def test_killed_while_it_reads(place, disk):
    raw = make_raw(f"{place}/a.raw", 4 << 30, {500 * MIB: noise(3, 200 * MIB)})
    qemu_img("convert", "-O", "qcow2", raw, f"{place}/a.qcow2")
    proa("images")
    before = leaks.snapshot()
    for path in (raw, f"{place}/a.qcow2"):
        for delay in (0.02, 0.1, 0.2, 0.3, 0.5):
            running = start("import", path, disk("killed"))
            try:
                running.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                pass
            finish(running, kill=True)
            proa("rmi", disk("killed"), check=False)
            nothing_left(before, f"{delay} s of importing {path}")


def test_a_broken_chunk_is_found_and_not_shared(place, disk):
    raw = make_raw(f"{place}/a.raw", 1 << 30)
    proa("import", raw, disk("1"))
    (pack,) = os.listdir(DISKS)
    change(f"{DISKS}/{pack}", 110 * MIB, b"rot")
    found = proa("fsck", check=False)
    assert found.rc == 1 and "chunk 27: it is not what it was" in found.out
    assert "removed" in proa("fsck", "--repair", check=False).out
    proa("import", raw, disk("2"))
    assert proa("fsck").out.endswith("0 faults\n")
    probe(disk("2"), "qemu-img", "compare", "@DISK@", raw)
