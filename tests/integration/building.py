"""What the tests of `build` share: contexts, the files of an image, and its configuration."""

import hashlib
import io
import json
import os
import tarfile
import uuid

import archives
from cli import proa
from sandbox import STATE

TIME = 1600000000


def write(folder, found, times=True):
    """Files by name: text, bytes, a mode (a directory), or a link as ('->', target); a pair is (contents, mode)."""
    os.makedirs(folder, exist_ok=True)
    for path, what in found.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        mode = None
        if isinstance(what, tuple) and what[0] != "->":
            what, mode = what
        if isinstance(what, tuple):
            if os.path.lexists(full):
                os.unlink(full)
            os.symlink(what[1], full)
            continue
        if isinstance(what, int):
            os.makedirs(full, exist_ok=True)
            mode = what
        else:
            with open(full, "wb") as f:
                f.write(what.encode() if isinstance(what, str) else what)
        if mode is not None:
            os.chmod(full, mode)
    for top, folders, names in os.walk(folder, topdown=False):
        for name in folders + names if times else ():
            os.utime(os.path.join(top, name), (TIME, TIME), follow_symlinks=False)
    return folder


def new_name():
    return "b-" + uuid.uuid4().hex[:10]


def files(image, root=None):
    """What an image holds: path -> (kind, mode, uid, gid, contents or target)."""
    box = new_name()
    where = ["--root", root] if root else []
    proa(*where, "create", "--name", box, image, "/none")
    try:
        data = proa(*where, "cp", box + ":/.", "-", binary=True).out
    finally:
        proa(*where, "rm", "-f", "-v", box)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for m in tar:
            name = m.name.removeprefix("./").rstrip("/")
            kind = "f" if m.isreg() or m.islnk() else "d" if m.isdir() else "l" if m.issym() else "o"
            source = tar.extractfile(m) if kind == "f" else None
            rest = hashlib.sha256(source.read()).hexdigest()[:12] if source else m.linkname if kind == "l" else ""
            found[name] = (kind, oct(m.mode) if kind != "l" else "", m.uid, m.gid, rest)
    return found


def config(image, root=None):
    """The configuration as the image has it."""
    where = ["--root", root] if root else []
    identity = proa(*where, "image", "inspect", image).json[0]["Id"]
    with open(f"{root or STATE}/blobs/sha256/{identity[7:]}") as f:
        return json.load(f)


def content(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:12]


def context_tar(found):
    tar = archives.Tar()
    for path, text in found.items():
        tar.add(path, text)
    return tar.bytes()
