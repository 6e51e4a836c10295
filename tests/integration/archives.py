"""Archives made for the tests: root file systems, and images as `docker save` and OCI layouts have them."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n1234:x:0:0:trap:/:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nextra:x:2000:user\nwheel:x:10:user\n"


class Tar:
    """A tar being written, entry by entry, with whatever a test wants in it."""

    def __init__(self, format=tarfile.PAX_FORMAT):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=format)

    def add(self, name, data=None, type=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, link="", dev=(0, 0), pax=None,
            mtime=1700000000):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uid, entry.gid, entry.linkname = type, mode, uid, gid, link
        entry.devmajor, entry.devminor = dev
        entry.mtime = mtime
        entry.pax_headers = pax or {}
        if isinstance(data, str):
            data = data.encode()
        entry.size = len(data) if data is not None and type == tarfile.REGTYPE else 0
        self.tar.addfile(entry, io.BytesIO(data) if entry.size else None)
        return self

    def dir(self, name, mode=0o755, **kw):
        return self.add(name, type=tarfile.DIRTYPE, mode=mode, **kw)

    def symlink(self, name, target, **kw):
        return self.add(name, type=tarfile.SYMTYPE, link=target, mode=0o777, **kw)

    def hardlink(self, name, target, **kw):
        return self.add(name, type=tarfile.LNKTYPE, link=target, **kw)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def busybox_tree(tar=None):
    tar = tar or Tar()
    for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("home", 0o755), ("tmp", 0o1777),
                       ("var", 0o755), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("sbin", 0o755)):
        tar.dir(name, mode=mode)
    tar.dir("home/user", uid=1000, gid=1000)
    with open(BUSYBOX, "rb") as f:
        tar.add("bin/busybox", f.read(), mode=0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            tar.symlink("bin/" + applet, "busybox")
    tar.add("etc/passwd", PASSWD)
    tar.add("etc/group", GROUP)
    tar.add("etc/not-executable", "hello\n")
    tar.add("etc/setuid-id", b"", mode=0o4755)
    return tar


def busybox_tar():
    return busybox_tree().bytes()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers, architecture="amd64", **process):
    return {"architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": process, "rootfs": {"type": "layers", "diff_ids": [digest(l) for l in layers]},
            "history": [{"created_by": "test"} for _ in layers]}


def docker_archive(layers, name="loaded:1", architecture="amd64", break_layer=None, **process):
    """What `docker save` writes. break_layer(bytes) damages the first layer after its digest was taken."""
    document = json.dumps(config(layers, architecture, **process)).encode()
    tar = Tar()
    config_name = hashlib.sha256(document).hexdigest() + ".json"
    tar.add(config_name, document)
    names = []
    for number, layer in enumerate(layers):
        folder = hashlib.sha256(layer).hexdigest()
        names.append(folder + "/layer.tar")
        tar.dir(folder)
        tar.add(names[-1], break_layer(layer) if break_layer and number == 0 else layer)
    tar.add("manifest.json", json.dumps([{"Config": config_name, "RepoTags": [name] if name else None,
                                          "Layers": names}]))
    return tar.bytes()


def oci_blobs(layers, architecture="amd64", compress=True, break_blob=None, **process):
    """The blobs of one image and its manifest's descriptor."""
    blobs, descriptors = {}, []
    for number, layer in enumerate(layers):
        data = gzip.compress(layer, 1, mtime=0) if compress else layer
        key = digest(data)
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress else ""),
                            "digest": key, "size": len(data)})
        blobs[key] = break_blob(data) if break_blob and number == 0 else data
    document = json.dumps(config(layers, architecture, **process)).encode()
    blobs[digest(document)] = document
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                                      "digest": digest(document), "size": len(document)},
                           "layers": descriptors}).encode()
    blobs[digest(manifest)] = manifest
    return blobs, {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest),
                   "size": len(manifest), "platform": {"architecture": architecture, "os": "linux"}}


def oci_files(blobs, descriptors, names=()):
    """The files of an OCI layout."""
    entries = [dict(d) for d in descriptors]
    for entry, name in zip(entries, names):
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    found = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
             "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode()}
    for key, data in blobs.items():
        found["blobs/sha256/" + key[7:]] = data
    return found


def oci_archive(layers, name="loaded:1", **kw):
    blobs, descriptor = oci_blobs(layers, **kw)
    tar = Tar()
    for path, data in oci_files(blobs, [descriptor], [name]).items():
        tar.add(path, data)
    return tar.bytes()


def write_files(folder, found):
    for path, data in found.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
