"""Disks in registries: pushed as chunks, kept once for all versions there, pulled, and never believed."""

import hashlib
import json
import os
import subprocess

import pytest

import archives
import leaks
import registries
from cli import proa, refuse
from test_disk import CHUNK, DISKS, MIB, change, disk, make_raw, noise, place, probe, used  # noqa: F401

PLAIN = "--tls-verify=false"
CONFIG = "application/vnd.proa.disk.config.v1+json"
LAYER = "application/vnd.proa.disk.chunk.v1.raw+zstd"


@pytest.fixture(scope="module")
def debian(house, tmp_path_factory):
    with registries.Debian(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(autouse=True)
def registry_first(debian):
    """Started before the guard looks: docker-registry listens."""


@pytest.fixture
def fake(leak_guard):
    with registries.Fake() as found:
        yield found


def blobs(debian):
    folder = f"{debian.folder}/data/docker/registry/v2/blobs/sha256"
    return {n for _, names, _ in os.walk(folder) for n in names} and \
        {d: os.path.getsize(os.path.join(folder, d[:2], d, "data")) for t in os.listdir(folder)
         for d in os.listdir(os.path.join(folder, t))}


def test_versions_are_pushed_and_pulled(debian, place, disk):  # noqa: F811
    raw = make_raw(f"{place}/v.raw")
    names = {n: f"{debian.host}/disks/v:{n}" for n in (1, 2)}
    try:
        first = proa("import", raw, names[1]).out
        proa("push", PLAIN, names[1])
        before = blobs(debian)
        subprocess.run(["cp", "--sparse=always", raw, f"{place}/v1.raw"], check=True)
        change(raw, 110 * MIB, b"changed")
        second = proa("import", raw, names[2]).out
        proa("push", PLAIN, names[2])
        new = {d: s for d, s in blobs(debian).items() if d not in before}
        assert len(new) == 3, "one chunk, one configuration, one manifest"
        manifest = json.loads(subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{names[2]}"],
                                             capture_output=True, check=True).stdout)
        assert manifest["config"]["mediaType"] == CONFIG and {l["mediaType"] for l in manifest["layers"]} == {LAYER}
        # Pushing again sends nothing and says the same.
        proa("push", PLAIN, names[2])
        assert len(blobs(debian)) == len(before) + 3
        proa("rmi", *names.values())
        assert os.listdir(DISKS) == []
        for n, id, path in ((2, second, raw), (1, first, f"{place}/v1.raw")):
            assert proa("pull", PLAIN, names[n]).out == id
            probe(names[n], "qemu-img", "compare", "@DISK@", path)
        assert used() <= 7 * CHUNK + 65536, "what is pulled is shared as what is imported"
        assert proa("fsck").out.endswith("0 faults\n")
    finally:
        proa("rmi", "-f", *names.values(), check=False)


def zstd(data):
    return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, capture_output=True, check=True).stdout


def serve(fake, chunks, virtual=64 * MIB, frames=None, config=None, descriptors=None):
    """A disk of these chunks (by position), with lies."""
    frames = frames or {p: zstd(d) for p, d in chunks.items()}
    document = {"mediaType": CONFIG, "architecture": "amd64", "virtualBytes": virtual, "chunkBytes": CHUNK,
                "runs": [[p, 1] for p in sorted(chunks)],
                "sha256": [hashlib.sha256(chunks[p]).hexdigest() for p in sorted(chunks)], **(config or {})}
    text = json.dumps(document).encode()
    layers = [{"mediaType": LAYER, "digest": archives.digest(frames[p]), "size": len(frames[p])} for p in sorted(frames)]
    fake.blobs.update({archives.digest(b): b for b in [text, *frames.values()]})
    return fake.put_document({"schemaVersion": 2, "mediaType": registries.MANIFEST,
                              "config": {"mediaType": CONFIG, "digest": archives.digest(text), "size": len(text)},
                              "layers": descriptors(layers) if descriptors else layers})


def test_only_what_is_missing_is_downloaded(fake, place, disk):  # noqa: F811
    chunks = {n: noise(n, CHUNK) for n in range(6)}
    with open(f"{place}/a.raw", "wb") as f:
        f.truncate(64 * MIB)
        for n in range(5):
            f.seek(n * CHUNK)
            f.write(chunks[n])
    proa("import", "--disk", f"{place}/a.raw", disk("old"))
    name = serve(fake, chunks)
    try:
        proa("pull", PLAIN, name)
        got = [p for c, p, _ in fake.requests if "/blobs/" in p and c == "GET"]
        assert len(got) == 2, "the configuration and one chunk"
        change(f"{place}/a.raw", 5 * CHUNK, chunks[5])
        probe(name, "qemu-img", "compare", "@DISK@", f"{place}/a.raw")
    finally:
        proa("rmi", name, check=False)


CHUNKS = {0: b"\1" * CHUNK, 3: noise(3, CHUNK)}
FRAMES = {p: zstd(d) for p, d in CHUNKS.items()}


def instead(position, data):
    """The right frames but for one."""
    return lambda: dict(frames=FRAMES | {position: data()})


def listed(change):
    return lambda: dict(descriptors=change)


def configured(**what):
    return lambda: dict(config=what)


LIES = {
    "other-contents": (instead(3, lambda: zstd(noise(4, CHUNK))), "not what its configuration says"),
    "broken-frame": (instead(3, lambda: FRAMES[3][:-9] + b"123456789"), "chunk 3"),
    "no-frame": (instead(0, lambda: b"hello"), "chunk 0"),
    "bomb": (instead(0, lambda: zstd(bytes(300 * MIB))), "chunk 0"),
    "short": (instead(0, lambda: zstd(b"\1" * 100)), "chunk 0"),
    "zeros": (instead(0, lambda: zstd(bytes(CHUNK))), "not what its configuration says"),
    "more-layers": (listed(lambda l: l + l), "chunks"),
    "fewer-layers": (listed(lambda l: l[:1]), "chunks"),
    "too-many": (listed(lambda l: l * 20000), None),
    "wrong-type": (listed(lambda l: [dict(l[0], mediaType="text/plain"), l[1]]), "another type"),
    "large-frame": (listed(lambda l: [dict(l[0], size=1 << 40), l[1]]), "another type or size"),
    "wrong-size": (listed(lambda l: [dict(l[0], size=l[0]["size"] + 1), l[1]]), None),
    "huge-disk": (configured(virtualBytes=1 << 60), "out of range"),
    "small-disk": (configured(virtualBytes=512), "runs"),
    "backwards": (configured(runs=[[3, 1], [0, 1]]), "runs"),
    "other-chunks": (configured(chunkBytes=4096), "4096"),
    "no-digests": (configured(sha256=None), "missing"),
    "lost-blob": (listed(lambda l: [dict(l[0], digest="sha256:" + "0" * 64), l[1]]), None),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_registry_is_not_believed(fake, name):
    before = leaks.snapshot()
    how, say = LIES[name]
    refuse("pull", PLAIN, serve(fake, CHUNKS, **{"frames": FRAMES} | how()), rc=1, say=say, timeout=30)
    extra, gone = leaks.settled(before)
    assert not extra and not gone, (extra, gone)


def test_a_true_one_of_the_same_making_is(fake, disk):  # noqa: F811
    name = serve(fake, CHUNKS)
    proa("pull", PLAIN, name)
    assert proa("fsck").out.endswith("0 faults\n")
    proa("rmi", name)
