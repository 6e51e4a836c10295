"""import, load, images, tag, rmi: what arrives is what the instance sees, for both kinds."""

import glob
import os
import re
import subprocess
import tarfile

import pytest

import archives
from archives import Tar
from cli import proa, refuse

STORE = "/var/lib/proa"


@pytest.fixture
def image(request):
    """A name whose images are removed at the end."""
    chosen = f"made-{os.getpid()}:1"
    yield chosen
    proa("rmi", "-f", chosen, check=False)


def difficult_tree():
    """What archives hold in practice: every kind of entry a file system has."""
    tar = archives.busybox_tree()
    tar.dir("t").dir("t/empty").dir("t/sticky", mode=0o1777)
    tar.add("t/plain", "plain\n", mode=0o640, uid=1000, gid=2000, mtime=1234567890)
    tar.hardlink("t/hard", "t/plain")
    tar.symlink("t/soft", "plain").symlink("t/dangling", "/no/where").symlink("t/absolute", "/etc/passwd")
    tar.add("t/" + "n" * 200, "long name\n")
    tar.add("t/" + "/".join(["deep"] * 40) + "/leaf", "deep\n")
    tar.add("t/suid", "x", mode=0o4755).add("t/empty-file", "")
    tar.add("t/with space and \u00fc", "odd\n")
    tar.add("t/capable", "x", mode=0o755, pax={"SCHILY.xattr.user.colour": "green"})
    tar.add("t/fifo", type=tarfile.FIFOTYPE, mode=0o644)
    tar.add("t/null", type=tarfile.CHRTYPE, mode=0o666, dev=(1, 3))
    tar.add("t/large", os.urandom(1 << 20) * 9)
    tar.add("t/block", b"z" * 4096).add("t/block1", b"z" * 4097).add("t/block-1", b"z" * 4095)
    for number in range(700):
        tar.add(f"t/many/{number:04}", f"{number}\n")
    return tar.bytes()


LOOK = r"""
cd /t; ls -1 | sed 's/n\{200\}/LONG/' | grep -v '^many$'; stat -c '%a %u:%g %h %s %Y' plain; cat hard soft; readlink dangling
stat -c '%a %s' sticky suid empty-file | cut -d' ' -f1; cat $(find . -name leaf); ls -l fifo | cut -c1; stat -c '%t:%T' null
md5sum <large; md5sum <block; md5sum <block1; md5sum <block-1; ls many | wc -l; cat many/0699; cat 'with space and ü'
"""


def test_everything_an_archive_can_hold(kind, flags, image, tmp_path):
    data = difficult_tree()
    path = tmp_path / "rootfs.tar"
    path.write_bytes(data)
    proa("import", path, image)
    seen = proa("run", "--rm", *flags, image, "sh", "-c", LOOK, timeout=60).out
    plain = tmp_path / "unpacked"
    plain.mkdir()
    subprocess.run(["tar", "-xpf", path, "-C", plain], check=True)
    wanted = subprocess.run(["/usr/sbin/chroot", plain, "/bin/sh", "-c", LOOK], capture_output=True, text=True, check=True,
                            env={"PATH": "/bin"}).stdout
    assert seen == wanted


@pytest.mark.parametrize("how", ["none", "gzip", "zstd", "xz", "bzip2"])
def test_import_compressed(how, image, tmp_path, busybox_layer):
    data = busybox_layer if how == "none" else subprocess.run([how, "-c"], input=busybox_layer, capture_output=True, check=True).stdout
    # By file, and through a pipe.
    (tmp_path / "x").write_bytes(data)
    first = proa("import", tmp_path / "x", image).out.strip()
    second = proa("import", "-", image, input=data).out.strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first) and re.fullmatch(r"sha256:[0-9a-f]{64}", second)
    assert proa("run", "--rm", "--network", "none", image, "echo", "ok").out == "ok\n"
    proa("rmi", "-f", first, second, check=False)


def test_import_changes(image, busybox_layer):
    proa("import", "-c", 'CMD ["echo","from change"]', "-c", "ENV A=b", "-c", "WORKDIR /tmp", "-c", "USER 1000",
         "-c", "LABEL who=me", "-c", "EXPOSE 80/tcp", "-m", "a message", "-", image, input=busybox_layer)
    assert proa("run", "--rm", "--network", "none", image).out == "from change\n"
    seen = proa("image", "inspect", image).json[0]["Config"]
    assert seen["Env"] == ["A=b"] and seen["WorkingDir"] == "/tmp" and seen["User"] == "1000"
    assert seen["Labels"] == {"who": "me"} and "80/tcp" in seen["ExposedPorts"]
    refuse("import", "-c", "FROM x", "-", "other:1", input=busybox_layer, rc=None, say="FROM")


def layers_with_whiteouts(base):
    second = Tar().dir("d").add("d/kept", "kept\n").add("d/gone", "gone\n").dir("o").add("o/below", "below\n").dir("whole").add("whole/x", "x").bytes()
    third = Tar().dir("d").add("d/.wh.gone", "").dir("o").add("o/.wh..wh..opq", "").add("o/above", "above\n").add(".wh.whole", "").bytes()
    return [base, second, third]


@pytest.mark.parametrize("form", ["docker", "oci", "oci-uncompressed", "oci-directory"])
def test_load(form, image, tmp_path, busybox_layer):
    layers = layers_with_whiteouts(busybox_layer)
    if form == "oci-directory":
        blobs, descriptor = archives.oci_blobs(layers)
        archives.write_files(tmp_path / "layout", archives.oci_files(blobs, [descriptor], [image]))
        r = proa("load", "-i", tmp_path / "layout")
    else:
        data = archives.docker_archive(layers, image) if form == "docker" else \
            archives.oci_archive(layers, image, compress=form == "oci")
        r = proa("load", input=data)
    assert image in r.out
    script = "ls /d /o; ls -d /whole 2>/dev/null; cat /o/above"
    assert proa("run", "--rm", "--network", "none", image, "sh", "-c", script, check=False).lines == \
        ["/d:", "kept", "", "/o:", "above", "above"]


@pytest.mark.vm
def test_whiteouts_in_a_machine(image, busybox_layer):
    proa("load", input=archives.docker_archive(layers_with_whiteouts(busybox_layer), image))
    r = proa("run", "--rm", "--vm", image, "sh", "-c", "ls /d /o; ls -d /whole 2>/dev/null; cat /o/above", check=False, timeout=60)
    assert r.lines == ["/d:", "kept", "", "/o:", "above", "above"]


def test_layers_are_stored_once(image, busybox_layer):
    before = len(glob.glob(f"{STORE}/layers/*.erofs"))
    extra = Tar().add("only-here", "x").bytes()
    proa("load", input=archives.docker_archive([busybox_layer, extra], image))
    assert len(glob.glob(f"{STORE}/layers/*.erofs")) == before + 1
    assert len(glob.glob(f"{STORE}/layers/*.split")) == before + 1
    proa("load", input=archives.docker_archive([busybox_layer, extra], image))
    assert len(glob.glob(f"{STORE}/layers/*.erofs")) == before + 1
    assert len(glob.glob(f"{STORE}/layers/*.split")) == before + 1


def test_every_layer_is_sound_erofs(image, tmp_path):
    (tmp_path / "x.tar").write_bytes(difficult_tree())
    proa("import", tmp_path / "x.tar", image)
    for layer in glob.glob(f"{STORE}/layers/*.erofs"):
        done = subprocess.run(["fsck.erofs", layer], capture_output=True, text=True)
        assert done.returncode == 0, f"{layer}: {done.stdout}{done.stderr}"
        assert oct(os.stat(layer).st_mode & 0o333) == "0o0", "a layer is not written again"


def test_names_and_removal(busybox_layer):
    proa("import", "-", "first:1", input=busybox_layer)
    ident = proa("images", "-q", "--no-trunc", "first:1").out.strip()
    proa("tag", "first:1", "second:2")
    assert proa("images", "-q", "--no-trunc", "second:2").out.strip() == ident
    header, *rest = proa("images").lines
    for column in ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"):
        assert column in header
    assert any(re.match(r"second +2 +[0-9a-f]{12} ", l) for l in rest)
    # By a prefix of the id.
    assert proa("image", "inspect", ident[7:19]).json[0]["Id"] == ident
    assert "Untagged: first:1" in proa("rmi", "first:1").out
    assert "Deleted" in proa("rmi", "second:2").out
    refuse("rmi", "second:2", rc=1, say="second:2")
    refuse("tag", "no-such:1", "x:1", rc=1, say="no-such")
    for bad in ("UPPER:1", "a b", "x:y:z/", "", "-x"):
        refuse("tag", "busybox", bad, rc=None)


def test_an_image_in_use_stays(name, image, busybox_layer):
    proa("load", input=archives.docker_archive([busybox_layer, Tar().add("mark", image).bytes()], image))
    proa("create", "--name", name, image, "true")
    refuse("rmi", image, rc=1, say="use")
    proa("rm", name)
    proa("rmi", image)


@pytest.mark.vm
def test_same_bytes_for_both_kinds(image, busybox_layer):
    """One store: a machine and a container see the same bytes of one image."""
    proa("load", input=archives.docker_archive([busybox_layer, Tar().add("b", os.urandom(5000)).bytes()], image))
    sums = {proa("run", "--rm", *k, image, "md5sum", "/b", "/bin/busybox", timeout=60).out for k in ([], ["--vm"])}
    assert len(sums) == 1

