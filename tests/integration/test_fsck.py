"""fsck finds every damaged byte, --repair makes room for the image to come again; df counts what is shared once."""

import os
import shutil
import uuid

import pytest

import archives
import cli
from archives import Tar
from sandbox import STATE

STORE = STATE + "/checked"  # with nothing else in it: every byte is read each time


def proa(*args, **kw):
    return cli.proa("--root", STORE, *args, **kw)


@pytest.fixture(scope="module", autouse=True)
def store(busybox_layer):
    proa("load", input=archives.oci_archive([busybox_layer], "first:1", Cmd=["true"]))
    proa("run", "--rm", "--network", "none", "first:1")
    yield
    proa("system", "prune", "-a", "-f", timeout=60)
    shutil.rmtree(STORE)


@pytest.fixture
def image(busybox_layer):
    """An image of two layers, the second its own, that came with a manifest."""
    chosen = f"checked-{uuid.uuid4().hex[:8]}:1"
    top = Tar().dir("t").add("t/file", os.urandom(300000)).add("t/tail", os.urandom(5000)).symlink("t/link", "file").bytes()
    archive = archives.oci_archive([busybox_layer, top], chosen, Cmd=["sh"])
    proa("load", input=archive)
    yield chosen, archive
    proa("rmi", "-f", chosen, check=False)


def layer(image, ending):
    return f"{STORE}/layers/{proa('image', 'inspect', image).json[0]['RootFS']['Layers'][-1][7:]}.{ending}"


def damage(path, at, what=b"\x55"):
    if at < 0:
        at += os.path.getsize(path)
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(len(what))
        f.seek(at)
        f.write(bytes(b ^ 0xff for b in old))


def faults():
    done = proa("fsck", "-q", check=False)
    assert (done.rc == 1) == bool(done.lines) and not done.err, repr(done)
    return done.lines


def test_nothing_is_wrong(image):
    done = proa("fsck")
    assert done.out.endswith(" 0 faults\n") and len(done.lines) == 1


BROKEN = {
    "contents": lambda i: damage(layer(i, "erofs"), 4096),
    "last byte of contents": lambda i: damage(layer(i, "erofs"), 4096 + 299999),
    "superblock": lambda i: damage(layer(i, "erofs"), 1024),
    "a directory": lambda i: damage(layer(i, "erofs"), -100),
    "cut off": lambda i: os.truncate(layer(i, "erofs"), 8192),
    "the split": lambda i: damage(layer(i, "split"), -5),
    "the split's head": lambda i: damage(layer(i, "split"), 9),
    "no file": lambda i: os.unlink(layer(i, "erofs")),
    "no split": lambda i: os.unlink(layer(i, "split")),
    "configuration": lambda i: damage(f"{STORE}/blobs/sha256/{proa('image', 'inspect', i).json[0]['Id'][7:]}", 20),
}


@pytest.mark.parametrize("what", BROKEN)
def test_damage_is_found_and_repaired(what, image):
    name, archive = image
    BROKEN[what](name)
    found = faults()
    assert len(found) == 1 and (found[0].startswith("layer sha256:") or what == "configuration" and name in found[0]), found
    done = proa("fsck", "--repair", check=False)
    assert done.rc == 0 and "again" in done.out, repr(done)
    proa("load", input=archive)
    assert faults() == []
    assert len(proa("run", "--rm", "--network", "none", name, "sh", "-c", "cat /t/file", binary=True).out) == 300000


def test_manifest_and_stray_files(image):
    name, archive = image
    blobs = f"{STORE}/blobs/sha256"
    ours = proa("image", "inspect", name).json[0]["Id"][7:]
    manifest = [b for b in os.listdir(blobs) if ours in open(f"{blobs}/{b}", errors="replace").read()][0]
    damage(f"{blobs}/{manifest}", 5)
    for stray in (f"{blobs}/{'a' * 64}", f"{STORE}/layers/{'b' * 64}.split"):
        with open(stray, "w") as f:
            f.write("x")
    found = faults()
    assert len(found) == 3 and sum("belongs to nothing" in line for line in found) == 2, found
    assert proa("fsck", "--repair", check=False).rc == 0 and faults() == []
    proa("load", input=archive)
    assert faults() == []


def test_repair_leaves_what_an_instance_needs(image, request):
    name, archive = image
    box = "t-" + uuid.uuid4().hex[:8]
    proa("create", "--network", "none", "--name", box, name, "cat", "/t/tail")
    try:
        damage(layer(name, "erofs"), 5000)
        assert proa("fsck", "--repair", check=False).rc == 0
        assert len(faults()) == 1, "the layer is still missing"
        proa("load", input=archive)
        assert faults() == [] and len(proa("start", "-a", box, binary=True).out) == 5000
    finally:
        proa("rm", "-f", box)


def test_df_counts_shared_layers_once(image, busybox_layer):
    name, _ = image
    rows = {r.split("|")[0]: r.split("|")[1:] for r in proa("system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Size}}").lines}
    verbose = proa("system", "df", "-v", "--format", "{{.Repository}} {{.SharedSize}} {{.UniqueSize}} {{.Instances}}").lines
    mine = [r.split() for r in verbose if r.startswith(name)][0]
    assert mine[1].endswith("MB") and mine[2].endswith("kB") and mine[3] == "0"
    sizes = os.popen(f"cat {STORE}/layers/*.erofs | wc -c").read()
    assert rows["Images"][1] == f"{int(sizes) / 1e6:.3g}MB", (rows, sizes)
