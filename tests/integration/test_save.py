"""save, load, history, diff, export, commit: what goes out is what came in, for us and for Docker and Podman."""

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import uuid

import pytest

import archives
from archives import Tar
from cli import BUILD, command, proa, refuse
from oci_clients import Docker, Podman

STORE = "/var/lib/proa"
BIG = 3000000  # an owner above 2^21, which no octal field of eight holds
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep


@pytest.fixture
def image():
    chosen = f"saved-{uuid.uuid4().hex[:8]}:1"
    yield chosen
    proa("rmi", "-f", chosen, check=False)


@pytest.fixture(scope="module")
def docker(house):
    client = Docker()
    yield client
    client.close()


@pytest.fixture(scope="module")
def podman(house):
    client = Podman()
    yield client
    client.close()


# --- the tar of a layer is given back byte for byte ---

def layer_tool(*args, stdin, fds=()):
    return subprocess.run([os.path.join(BUILD, "proa-layer"), *map(str, args)], stdin=stdin, pass_fds=fds, capture_output=True)


def there_and_back(tar, tmp_path, compress="none"):
    """What proa-layer gives back of an archive that it has converted."""
    paths = {k: tmp_path / k for k in ("in", "erofs", "split", "out")}
    paths["in"].write_bytes(tar)
    with open(paths["in"], "rb") as source, open(paths["erofs"], "wb+") as erofs, open(paths["split"], "wb+") as split:
        done = layer_tool("convert", "--out", erofs.fileno(), "--split", split.fileno(), stdin=source,
                          fds=(erofs.fileno(), split.fileno()))
    assert done.returncode == 0, done.stderr
    with open(paths["erofs"], "rb") as erofs, open(paths["split"], "rb") as split, open(paths["out"], "wb") as out:
        back = layer_tool("tar", "--split", split.fileno(), "--out", out.fileno(), "--compress", compress, "--verify",
                          stdin=erofs, fds=(split.fileno(), out.fileno()))
    assert back.returncode == 0, back.stderr
    return paths["out"].read_bytes(), json.loads(back.stdout)


def every_kind(folder):
    """A directory with all that a file system can hold."""
    (folder / "d").mkdir()
    (folder / "d" / "empty").mkdir()
    (folder / ("n" * 200)).write_text("long\n")
    deep = folder
    for _ in range(12):
        deep = deep / ("p" * 40)
        deep.mkdir()
    (deep / "leaf").write_text("deep\n")
    (folder / "odd \u00fc\n name").write_text("odd\n")
    for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 100000, (1 << 20) + 7):
        (folder / f"size-{size}").write_bytes(os.urandom(size))
    (folder / "same").write_text("x")
    os.link(folder / "same", folder / "linked")
    os.symlink("same", folder / "soft")
    os.symlink("t" * 300, folder / "far")
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "null", 0o666 | 0o020000, os.makedev(1, 3))
    (folder / "suid").write_text("s")
    os.chown(folder / "suid", BIG, BIG + 1)
    os.chmod(folder / "suid", 0o6755)
    os.utime(folder / "d", ns=(0, 1234567890123456789))
    with open(folder / "sparse", "wb") as f:
        f.seek(1 << 20)
        f.write(b"middle")
        f.truncate(3 << 20)
    (folder / "coloured").write_text("c")
    return folder


WRITERS = {
    "gnu": ["tar", "--format=gnu", "-cf", "-", "."],
    "posix": ["tar", "--format=posix", "-cf", "-", "."],
    "posix-sparse": ["tar", "--format=posix", "--sparse", "-cf", "-", "."],
    "posix-sparse-0.1": ["tar", "--format=posix", "--sparse", "--sparse-version=0.1", "-cf", "-", "."],
    "gnu-sparse": ["tar", "--format=gnu", "--sparse", "-cf", "-", "."],
    "blocking": ["tar", "--format=gnu", "-b", "64", "-cf", "-", "."],
    "bsdtar-pax": ["bsdtar", "--format=pax", "-cf", "-", "."],
    "bsdtar-gnu": ["bsdtar", "--format=gnutar", "-cf", "-", "."],
}


@pytest.mark.parametrize("writer", WRITERS)
def test_tar_comes_back_byte_for_byte(writer, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    every_kind(folder)
    tar = command(WRITERS[writer], cwd=folder, binary=True).out
    back, said = there_and_back(tar, tmp_path)
    assert back == tar and said["diff_id"] == archives.digest(tar) == said["digest"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["pax", "gnu", "ustar"])
def test_python_tar_comes_back(form, tmp_path):
    tar = Tar(form)
    tar.dir("d").add("d/a", b"a" * 5000).add("d/a", b"replaced").hardlink("d/b", "d/a").add("d/.wh.gone", b"")
    tar.add("d/.wh..wh..opq", b"").add("empty", b"").symlink("s", "d/a").add("z", bytes(9000)).add("ends", b"e" * 513)
    data = tar.bytes()
    for more in (data, data.rstrip(b"\0") + bytes(1024 + 512), data + os.urandom(777), data[:-512] + b"x" * 512):
        back, said = there_and_back(more, tmp_path)
        assert back == more and said["diff_id"] == archives.digest(more)


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_compressed_layer_is_the_same_each_time(compress, tmp_path):
    tar = archives.busybox_tree().add("noise", os.urandom(3 << 20)).bytes()
    first, said = there_and_back(tar, tmp_path, compress)
    again, _ = there_and_back(tar, tmp_path, compress)
    assert first == again and said["digest"] == archives.digest(first) and said["size"] == len(first)
    plain = gzip.decompress(first) if compress == "gzip" else command(["zstd", "-dc"], input=first, binary=True).out
    assert plain == tar


# --- save and load ---

def hard_layers(busybox_layer):
    """A second layer with everything a layer can say of the first, and every kind of file."""
    first = Tar().dir("t").add("t/gone", "x").dir("t/hidden").add("t/hidden/old", "old").add("t/kept", "kept")
    second = Tar().dir("t").add("t/.wh.gone", b"").dir("t/hidden").add("t/hidden/.wh..wh..opq", b"").add("t/hidden/new", "new")
    second.add("t/plain", "plain\n", mode=0o640, uid=1000, gid=2000, mtime=1234567890)
    second.hardlink("t/hard", "t/plain", mode=0o640, uid=1000, gid=2000, mtime=1234567890)
    second.symlink("t/soft", "plain").add("t/" + "n" * 180, "long\n").add("t/" + "/".join(["deep" * 10] * 8) + "/leaf", "leaf\n")
    second.add("t/suid", "x", mode=0o4755, uid=BIG, gid=BIG + 1).add("t/fifo", type=tarfile.FIFOTYPE)
    second.add("t/null", type=tarfile.CHRTYPE, mode=0o666, dev=(1, 3)).add("t/large", os.urandom(1 << 20))
    second.add("t/bind", "b", mode=0o755, pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")})
    second.add("t/empty", b"").dir("t/sticky", mode=0o1777).add("t/nanoseconds", "n", pax={"mtime": "1111111111.123456789"})
    return [busybox_layer, first.bytes(), second.bytes()]


LOOK = r"""
cd /t; ls -A | sort | sed 's/n\{180\}/LONG/'; ls -A hidden; cat kept hidden/new hard soft; stat -c '%a %u:%g %h %Y' plain hard suid
stat -c '%a' sticky bind; stat -c '%t:%T' null; cat $(find . -name leaf); md5sum large; ls -l fifo | cut -c1; stat -c '%y' nanoseconds
"""


def load(image, layers, **kw):
    proa("load", input=archives.docker_archive(layers, image, Cmd=["sh"], Env=["PATH=/bin"], **kw))
    return proa("image", "inspect", image).json[0]


def layers_of(path, layout):
    """The layers' tars of the first image of a saved archive, bottom first, and the tags."""
    with tarfile.open(path) as tar:
        if not layout:
            entry = json.load(tar.extractfile("manifest.json"))[0]
            return [tar.extractfile(name).read() for name in entry["Layers"]], entry["RepoTags"]
        entry = json.load(tar.extractfile("index.json"))["manifests"][0]

        def blob(digest):
            data = tar.extractfile("blobs/sha256/" + digest[7:]).read()
            assert archives.digest(data) == digest
            return data
        manifest = json.loads(blob(entry["digest"]))
        blob(manifest["config"]["digest"])
        found = []
        for layer in manifest["layers"]:
            data = blob(layer["digest"])
            assert layer["size"] == len(data)
            found.append(gzip.decompress(data) if layer["mediaType"].endswith("gzip") else data)
        return found, [entry["annotations"]["org.opencontainers.image.ref.name"]]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_saved_layers_are_those_that_were_loaded(form, image, busybox_layer, tmp_path):
    layers = hard_layers(busybox_layer)
    before = load(image, layers)
    proa("save", "--format", form, "-o", tmp_path / "a.tar", image)
    saved, names = layers_of(tmp_path / "a.tar", form != "docker-archive")
    assert saved == layers and names == [image]
    proa("save", "--format", form, "-o", tmp_path / "b.tar", image)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    proa("rmi", "-f", image)
    assert proa("load", "-i", tmp_path / "a.tar").out.strip() == f"Loaded image: {image}"
    after = proa("image", "inspect", image).json[0]
    assert after["Id"] == before["Id"] and after["RootFS"] == before["RootFS"]


def test_save_to_a_directory_and_to_stdout(image, busybox_layer, tmp_path):
    before = load(image, hard_layers(busybox_layer))
    proa("save", "--format", "oci-dir", "--compression", "zstd", "-o", tmp_path / "dir", image)
    piped = proa("save", image, binary=True).out
    proa("rmi", "-f", image)
    for source in ([["-i", tmp_path / "dir"], {}], [[], {"input": piped}]):
        proa("load", *source[0], **source[1])
        assert proa("image", "inspect", image).json[0]["Id"] == before["Id"]
        proa("rmi", "-f", image)
    refuse("save", "--format", "oci-dir", "-o", tmp_path / "dir", "busybox", rc=1, say="not empty")


def test_several_images_share_their_layers(image, busybox_layer, tmp_path):
    other = image.replace(":1", ":2")
    load(image, [busybox_layer])
    load(other, [busybox_layer, Tar().add("more", "m").bytes()])
    try:
        for form in ("docker-archive", "oci-archive"):
            path = tmp_path / (form + ".tar")
            proa("save", "--format", form, "-o", path, image, other)
            with tarfile.open(path) as tar:
                names = tar.getnames()
                assert len(names) == len(set(names))
                large = [m for m in tar.getmembers() if m.size > len(busybox_layer) // 4]
                assert len(large) == 1, "the layer that both have is there once"
            proa("rmi", "-f", image, other)
            assert sorted(proa("load", "-q", "-i", path).lines + proa("images", "--format", "{{.Repository}}:{{.Tag}}").lines
                          ).count(other) == 1
            assert proa("run", "--rm", other, "cat", "/more").out == "m"
    finally:
        proa("rmi", "-f", other, check=False)


def test_save_leaves_nothing_when_it_fails(image, busybox_layer, tmp_path):
    refuse("save", "-o", tmp_path / "x.tar", "no-such-image", rc=1, say="no such image")
    refuse("save", "--format", "nonsense", "-o", tmp_path / "x.tar", "busybox", rc=1, say="--format")
    refuse("save", "--compression", "gzip", "-o", tmp_path / "x.tar", "busybox", rc=1, say="uncompressed")
    layer = load(image, [Tar().add("f", os.urandom(100000)).bytes()])["RootFS"]["Layers"][0][7:]
    path = f"{STORE}/layers/{layer}.erofs"
    with open(path, "r+b") as f:
        f.seek(5000)
        f.write(b"damage")
    refuse("save", "-o", tmp_path / "x.tar", image, rc=1, say="damaged")
    assert os.listdir(tmp_path) == []


# --- with Docker and Podman ---

def look_with(client, image):
    return client("run", "--rm", "--network", "none", image, "sh", "-c", LOOK).lines


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_docker_loads_and_runs_what_is_saved(form, docker, image, busybox_layer, tmp_path):
    hard = hard_layers(busybox_layer)
    id = load(image, hard)["Id"]
    wanted = proa("run", "--rm", image, "sh", "-c", LOOK).lines
    proa("save", "--format", form, "-o", tmp_path / "a.tar", image)
    docker("load", "-i", tmp_path / "a.tar")
    try:
        assert docker("image", "inspect", image).json[0]["Id"] == id
        assert look_with(docker, image) == wanted
        docker("save", "-o", tmp_path / "back.tar", image)
    finally:
        docker("rmi", "-f", image)
    assert layers_of(tmp_path / "back.tar", False)[0] == hard, "Docker puts its own tars together again, too"
    proa("rmi", "-f", image)
    proa("load", "-i", tmp_path / "back.tar")
    assert proa("image", "inspect", image).json[0]["Id"] == id
    assert proa("run", "--rm", image, "sh", "-c", LOOK).lines == wanted


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_podman_loads_and_runs_what_is_saved(form, podman, image, busybox_layer, tmp_path):
    image = "localhost/" + image
    id = load(image, hard_layers(busybox_layer))["Id"]
    try:
        wanted = proa("run", "--rm", image, "sh", "-c", LOOK).lines
        proa("save", "--format", form, "-o", tmp_path / "a", image)
        there = podman("load", "-q", "-i", tmp_path / "a").out.split()[-1]
        assert there == image or form == "oci-dir", "Podman names what it loads from a directory by the directory"
        try:
            assert "sha256:" + podman("image", "inspect", there).json[0]["Id"] == id
            assert look_with(podman, there) == wanted
            podman("save", "-q", "--format", form, "-o", tmp_path / "back", there)
        finally:
            podman("rmi", "-f", there)
        proa("rmi", "-f", image)
        loaded = proa("load", "-i", tmp_path / "back").out.split()[-1]
        assert loaded == (there if ":" in there else there + ":latest")
        assert proa("run", "--rm", loaded, "sh", "-c", LOOK).lines == wanted
        proa("rmi", "-f", loaded)
    finally:
        proa("rmi", "-f", image, check=False)


def test_what_docker_and_podman_make_and_save_together(docker, podman, image, tmp_path):
    """Layers that their own programs wrote, two images in one archive."""
    for client, more in ((docker, []), (podman, ["-m"])):
        names = [f"localhost/{client.name}-{i}-{image}" for i in (1, 2)]
        for i, wanted in enumerate(names):
            made = client("run", "-d", "--network", "none", "localhost/tiny:1", "sh", "-c",
                          f"mkdir /made; echo {i} >/made/file; ln /made/file /made/hard; rm -r /home; chmod 4711 /made/file").out.strip()
            client("wait", made)
            client("commit", made, wanted)
            client.remove(made)
        client("save", *more, "-o", tmp_path / client.name, *names)
        try:
            assert sorted(proa("load", "-i", tmp_path / client.name).lines) == [f"Loaded image: {n}" for n in names]
            for i, wanted in enumerate(names):
                seen = proa("run", "--rm", wanted, "sh", "-c", "cat /made/hard; stat -c '%a %h' /made/file; ls -d /home || true").lines
                assert seen == [str(i), "4711 2"], client.name
            proa("save", "-o", tmp_path / "again.tar", names[0])
            ours, theirs = layers_of(tmp_path / "again.tar", False), layers_of(tmp_path / client.name, False)
            assert ours[1] == [names[0]] and ours[0][0] == theirs[0][0] and len(ours[0]) == 2
            for layer in ours[0]:
                assert there_and_back(layer, tmp_path)[0] == layer
        finally:
            for wanted in names:
                client("rmi", "-f", wanted)
                proa("rmi", "-f", wanted, check=False)


@pytest.mark.parametrize("verb", ["save", "commit", "load"])
def test_killed_half_way_leaves_nothing(verb, name, image, busybox_layer, tmp_path):
    """At any system call that changes something: the next command clears what is left."""
    load(image, [busybox_layer, Tar().add("f", os.urandom(200000)).bytes()])
    proa("save", "-o", tmp_path / "in.tar", image)
    proa("create", "--name", name, "busybox", "true")
    other = image.replace(":1", ":2")
    words = {"save": ["save", "--format", "oci-archive", "-o", tmp_path / "out.tar", image], "commit": ["commit", name, other],
             "load": ["load", "-i", tmp_path / "in.tar"]}[verb]
    for call in ("renameat", "openat", "mkdirat", "write", "wait4"):
        for number in (1, 3, 8):
            if verb == "load":
                proa("rmi", "-f", image, check=False)
            proa(*words, prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"], check=False)
            for stray in tmp_path.glob("*.unfinished"):  # beside the archive, where only its owner looks
                stray.unlink()
            proa("images")
            assert os.listdir(f"{STORE}/tmp") == [] and proa("fsck", "-q").out == ""
    proa("load", "-i", tmp_path / "in.tar")
    proa("rmi", "-f", other, check=False)
    proa("image", "prune", "-f")


# --- history ---

def test_history(image, busybox_layer):
    proa("import", "-m", "for a test", "-c", "CMD sh", "-", image, input=busybox_layer)
    rows = proa("history", "--no-trunc", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Comment}}", image).lines
    assert rows == [proa("image", "inspect", image).json[0]["Id"] + "|proa import|for a test"]
    table = proa("history", image).lines
    assert table[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"] and "ago" in table[1]
    plain = proa("history", "--human=false", "--format", "{{.Size}} {{.CreatedSince}}", image).out.split()
    assert plain[0].isdigit() and plain[1].startswith("20")
    assert proa("history", "-q", image).out.strip() == proa("images", "-q", image).out.strip()


# --- diff, export, commit ---

CHANGE = r"""
rm /etc/passwd; echo changed >/etc/group; mkdir -p /new/dir; echo n >/new/file; ln /new/file /new/hard; ln -s file /new/soft
mkfifo /new/fifo; chmod 4711 /new/file; chown 3000000:3000001 /new/dir; rm -r /home; mkdir /home; echo h >/home/h
touch -d '2001-02-03 04:05:06' /new/file; dd if=/dev/zero of=/new/sparse bs=1 count=1 seek=5000000 2>/dev/null
name=$(printf 'm%.0s' $(seq 150)); mkdir -p /new/$name/$name; echo far >/new/$name/$name/leaf
""".strip()
CHANGED = r"""
cd /new; cat file hard soft */*/leaf /etc/group /home/h; stat -c '%a %h %Y' file; stat -c '%u:%g' dir; ls -l fifo | cut -c1; ls -A /home
ls /etc/passwd 2>/dev/null; stat -c '%s' sparse
"""


def mine(lines):
    """Without the files that an engine puts below what it mounts."""
    own = ("/dev", "/proc", "/sys", "/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv")
    return [line for line in lines if not line[2:].startswith(own)]


def test_diff_and_commit(name, flags, image):
    proa("run", "-d", *flags, "--name", name, "-e", "GIVEN=a \"b\" \\c", "-l", "x=y", "busybox", "sh", "-c", CHANGE + "; sleep 1000",
         timeout=120)
    until_done = proa("exec", name, "sh", "-c", "while ! [ -e /new/m*/m*/leaf ]; do sleep 0.1; done", timeout=60)
    assert until_done.rc == 0
    lines = mine(proa("diff", name).lines)
    for line in ("C /etc", "D /etc/passwd", "C /etc/group", "A /new", "A /new/file", "A /new/hard", "D /home/user", "A /home/h", "C /home"):
        assert line in lines, lines
    assert "A /home" not in lines and lines == sorted(lines, key=lambda l: l[2:])
    id = proa("commit", "-m", "said", "-a", "somebody", "-c", "ENV ADDED=1", "-c", 'CMD ["sh"]', name, image, timeout=60).out.strip()
    assert proa("inspect", name).json[0]["State"]["Status"] == "running"
    made = proa("image", "inspect", image).json[0]
    assert made["Id"] == id and len(made["RootFS"]["Layers"]) == 2
    assert os.stat(f"{STORE}/layers/{made['RootFS']['Layers'][-1][7:]}.erofs").st_size < 1 << 20, "the hole is one still"
    assert set(made["Config"]["Env"]) >= {"ADDED=1", 'GIVEN=a "b" \\c'} and made["Config"]["Labels"] == {"x": "y"}
    assert proa("history", "--format", "{{.Comment}}", image).lines[0] == "said"
    for kind in ([], flags):
        seen = proa("run", "--rm", *kind, image, "sh", "-c", CHANGED, timeout=60).lines
        assert seen[:6] == ["n", "n", "n", "far", "changed", "h"] and seen[6] == "4711 2 981173106"
        assert seen[7:] == ["3000000:3000001", "p", "h", "5000001"]
    again = mine(proa("diff", image).lines)
    assert again == lines, "an image's last layer says the same"
    assert set(mine(proa("diff", "busybox", image).lines)) >= {"D /etc/passwd", "C /etc/group", "A /new/file", "D /home/user"}


def test_committed_image_in_docker_and_podman(docker, podman, name, image, tmp_path):
    image = "localhost/" + image
    proa("run", "--name", name, "busybox", "sh", "-c", CHANGE)
    try:
        proa("commit", "-c", 'CMD ["sh"]', name, image)
        wanted = proa("run", "--rm", image, "sh", "-c", CHANGED).lines
        proa("save", "-o", tmp_path / "a.tar", image)
        for client in (docker, podman):
            client("load", "-i", tmp_path / "a.tar")
            got = client("run", "--rm", "--network", "none", image, "sh", "-c", CHANGED).lines
            client("rmi", "-f", image)
            assert got == wanted, client.name
    finally:
        proa("rmi", "-f", image, check=False)


def test_commit_keeps_attributes(name, image, tmp_path):
    """What no shell can make is made in the upper directory, where the container would."""
    proa("create", "--name", name, "busybox", "true")
    upper = f"{STORE}/instances/{proa('inspect', name).json[0]['Id']}/upper"
    with open(upper + "/f", "w") as f:
        f.write("x")
    os.setxattr(upper + "/f", "user.colour", b"gr\0een")
    os.setxattr(upper + "/f", "security.capability", CAPABILITY)
    os.utime(upper + "/f", ns=(0, 1111111111123456789))
    proa("commit", name, image)
    layer = proa("image", "inspect", image).json[0]["RootFS"]["Layers"][-1][7:]
    proa("run", "--rm", image, "true")
    mounted = f"/run/proa/layers/{layer}/f"
    assert os.getxattr(mounted, "user.colour") == b"gr\0een" and os.getxattr(mounted, "security.capability") == CAPABILITY
    assert os.stat(mounted).st_mtime_ns == 1111111111123456789


def test_export(name, flags, tmp_path):
    proa("run", "-d", *flags, "--name", name, "-v", "/data", "busybox", "sh", "-c",
         CHANGE + "; echo v >/data/v; echo ready >/ready; sleep 1000", timeout=120)
    proa("exec", name, "sh", "-c", "while ! [ -e /ready ]; do sleep 0.1; done", timeout=60)
    proa("export", "-o", tmp_path / "a.tar", name, timeout=60)
    with tarfile.open(tmp_path / "a.tar") as tar:
        found = {m.name: m for m in tar.getmembers()}
    assert "bin/busybox" in found and "new/file" in found and "etc/passwd" not in found and "home/user" not in found
    assert "data/v" not in found and not [n for n in found if n.startswith(("proc/", "sys/"))]
    assert found["new/file"].mode == 0o4711 and found["new/dir"].uid == BIG
    links = [m for n, m in found.items() if n in ("new/file", "new/hard") and m.islnk()]
    assert len(links) == 1 and found["new/sparse"].size == 5000001


def test_export_of_a_stopped_container(name, tmp_path):
    proa("run", "--name", name, "busybox", "sh", "-c", CHANGE)
    piped = proa("export", name, binary=True).out
    with tarfile.open(fileobj=io.BytesIO(piped)) as tar:
        assert tar.extractfile("etc/group").read() == b"changed\n" and "etc/passwd" not in tar.getnames()


@pytest.mark.vm
def test_stopped_machine_says_what_to_do(name, image, tmp_path):
    proa("run", "--vm", "--name", name, "busybox", "true", timeout=120)
    for words in (["export", "-o", tmp_path / "x", name], ["diff", name], ["commit", name, image]):
        refuse(*words, rc=1, say="start it first")
