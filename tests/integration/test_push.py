"""Pushing: what arrives is what skopeo and Proa's own pull take, nothing is sent twice, and a name comes last."""

import json
import os
import re

import pytest

import archives
import registries
from cli import command, proa, refuse
from sandbox import STATE

PLAIN = "--tls-verify=false"
BASE = archives.busybox_tree().add("etc/pushed", "x").bytes()


@pytest.fixture(scope="module")
def debian(house, tmp_path_factory):
    with registries.Debian(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(autouse=True)
def registry_first(debian):
    pass


@pytest.fixture
def image(registry_first, leak_guard):
    """An image of two layers that is nowhere else."""
    name = "localhost/pushed:1"
    proa("load", input=archives.docker_archive([BASE, archives.Tar().add("own", os.urandom(1 << 16).hex()).bytes()], name=name,
                                               Cmd=["cat", "/own"]))
    yield name
    remove(name)


def remove(*names):
    for name in names:
        proa("rmi", "-f", name, check=False)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_pushed_is_what_others_pull(debian, image, compression, tmp_path):
    name = f"{debian.host}/p/{compression}:1"
    digest = proa("push", PLAIN, "--compression", compression, image, name).out.strip()
    wanted = proa("run", "--rm", image).out
    # skopeo reads it, with the digest that was printed, and every blob has its own.
    shown = json.loads(command(["skopeo", "inspect", PLAIN, f"docker://{name}"]).out)
    assert shown["Digest"] == digest and len(shown["Layers"]) == 2
    layout = tmp_path / "layout"
    command(["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}"])
    kept = proa("image", "inspect", image).json[0]["Id"]
    remove(image)
    try:
        assert proa("pull", PLAIN, name).out.strip() == kept
        assert proa("run", "--rm", name).out == wanted
        # What was pulled goes back as it came, under the digest that it had.
        assert proa("push", PLAIN, name, f"{debian.host}/p/{compression}:again").out.strip() == digest
    finally:
        remove(name)


def test_nothing_is_sent_twice(debian, image):
    name = f"{debian.host}/twice/x:1"
    first = [json.loads(line) for line in proa("push", PLAIN, "--progress", "json", image, name).lines]
    assert {"packing", "uploading", "done"} <= {line.get("state") for line in first}
    again = [json.loads(line) for line in proa("push", PLAIN, "--progress", "json", image, name).lines]
    assert {line.get("state") for line in again} == {"exists", None}
    assert again[-1] == first[-1]
    other = [json.loads(line) for line in proa("push", PLAIN, "--progress", "json", image, f"{debian.host}/twice/y:1").lines]
    assert {line.get("state") for line in other} == {"mounted", None}
    assert proa("image", "inspect", image).json[0]["RepoDigests"] == [
        f"{debian.host}/twice/{r}@{first[-1]['digest']}" for r in "xy"]


def test_a_push_with_credentials(image, tmp_path):
    with registries.Debian(tmp_path, user=("u", "pw")) as locked:
        name = f"{locked.host}/l/x:1"
        refuse("push", PLAIN, image, name, rc=1, say="wants a user")
        refuse("push", PLAIN, "--creds", "u:no", image, name, rc=1, say="refuses the credentials")
        proa("push", PLAIN, "--creds", "u:pw", image, name)
        assert proa("image", "tags", PLAIN, "--creds", "u:pw", f"{locked.host}/l/x").lines == ["1"]


def test_what_cannot_be_pushed(debian, image):
    refuse("push", PLAIN, "localhost/none:1", f"{debian.host}/x:1", rc=1, say="no such image")
    refuse("push", PLAIN, image, "short", rc=1, say="docker.io/library/short")
    refuse("push", PLAIN, "--compression", "lzma", image, f"{debian.host}/x:1", rc=1, say="neither gzip nor zstd")
    refuse("push", PLAIN, image, "127.0.0.1:9/x:1", rc=1, say="cannot be reached")


@pytest.fixture
def fake(leak_guard):
    with registries.Fake() as found:
        yield found


def takes_uploads(fake, fault=None):
    """A registry that takes what is sent, or has one fault; gives where things end up."""
    got = {}

    def handle(handler, path):
        length = int(handler.headers.get("Content-Length", 0))
        if fault and fault(handler, path):
            return True
        if path == "/v2/":
            return False
        if handler.command == "HEAD":
            key = path.rsplit("/", 1)[-1]
            handler.answer(200 if key in got else 404)
        elif handler.command == "POST":
            handler.answer(202, Location="/v2/t/x/blobs/uploads/1?state=a")
        elif handler.command == "PUT":
            key = re.search(r"digest=([^&]+)", handler.path)
            body = handler.rfile.read(length)
            got[key.group(1) if key else path.rsplit("/", 1)[-1]] = body
            assert not key or archives.digest(body) == key.group(1)
            handler.answer(201)
        else:
            return False
        return True
    fake.hook = handle
    return got


def test_the_manifest_comes_last(fake, image):
    got = takes_uploads(fake)
    proa("push", PLAIN, image, f"{fake.host}/t/x:1")
    manifest = json.loads(got["1"])
    assert [list(got)[-1]] == ["1"]
    assert all(part["digest"] in got for part in [manifest["config"], *manifest["layers"]])
    assert all(len(got[part["digest"]]) == part["size"] for part in [manifest["config"], *manifest["layers"]])


@pytest.mark.parametrize("fault, say", [
    (lambda h, p: h.command == "POST" and not h.answer(202), "where to upload"),
    (lambda h, p: h.command == "POST" and not h.answer(202, Location="file:///etc/shadow"), "neither http nor https"),
    (lambda h, p: h.command == "POST" and not h.complain(403, "DENIED"), "answers 403: denied"),
    (lambda h, p: h.command == "PUT" and not h.rfile.read(int(h.headers["Content-Length"])) * 0 and not h.complain(
        400, "DIGEST_INVALID"), "answers 400: digest invalid"),
    (lambda h, p: h.command == "POST" and not h.answer(307, Location="/elsewhere"), "cannot be redirected"),
])
def test_registries_that_fail_a_push(fake, image, fault, say):
    got = takes_uploads(fake, fault)
    refuse("push", PLAIN, image, f"{fake.host}/t/x:1", rc=1, say=say, timeout=90)
    assert "1" not in got
    assert proa("image", "inspect", image).json[0]["RepoDigests"] == []
    assert not os.listdir(f"{STATE}/tmp")


def test_an_upload_that_is_interrupted_is_sent_again(fake, image):
    faults = []

    def fault(handler, path):
        if handler.command != "PUT" or len(faults) >= 2:
            return False
        faults.append(path)
        if len(faults) == 1:
            handler.rfile.read(1000)
            handler.connection.shutdown(2)
            handler.close_connection = True
        else:
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.complain(503, "UNAVAILABLE")
        return True
    got = takes_uploads(fake, fault)
    proa("push", PLAIN, image, f"{fake.host}/t/x:1")
    assert "1" in got and len(faults) == 2


def test_uploads_elsewhere_get_no_credentials(fake, image):
    with registries.Fake() as other:
        got = takes_uploads(other)
        here = takes_uploads(fake, lambda h, p: h.command == "POST" and not h.answer(
            202, Location=f"http://{other.host}/v2/t/x/blobs/uploads/1"))
        fake.user = None
        proa("push", PLAIN, "--creds", "me:hush", image, f"{fake.host}/t/x:1")
        assert "1" in here and len(got) == 3
        assert not [h for _, _, h in other.requests if "Authorization" in h]


def test_removing_from_a_registry(debian, image):
    name = f"{debian.host}/gone/x"
    digest = proa("push", PLAIN, image, name + ":1").out.strip()
    proa("push", PLAIN, image, name + ":2")
    assert proa("image", "rm", "--remote", PLAIN, name + ":1").out == f"Deleted: {name}@{digest}\n"
    refuse("pull", PLAIN, name + ":2", rc=1, say="404")
    refuse("image", "rm", "--remote", PLAIN, name + ":1", rc=1, say="404")
    assert proa("run", "--rm", image, "true").rc == 0


def test_what_refers_to_an_image(debian, fake, image):
    digest = proa("push", PLAIN, image, f"{debian.host}/ref/x:1").out.strip()
    assert proa("image", "referrers", "-q", PLAIN, f"{debian.host}/ref/x:1").lines == []
    entry = {"mediaType": registries.MANIFEST, "digest": archives.digest(b"signature"), "size": 9, "artifactType": "test/signature"}
    document = {"schemaVersion": 2, "mediaType": registries.INDEX, "manifests": [entry]}
    fake.hook = lambda h, path: path == f"/v2/t/x/referrers/{digest}" and not h.answer(200, json.dumps(document).encode())
    name = f"{fake.host}/t/x@{digest}"
    shown = proa("image", "referrers", "--format", "{{.Digest}} {{.Type}}", PLAIN, name)
    assert shown.lines == [f"{entry['digest']} test/signature"]
    # Registries before that question: a tag made of the digest.
    fake.hook = None
    fake.put_document(document, tag="sha256-" + digest[7:], type=registries.INDEX)
    assert proa("image", "referrers", "-q", PLAIN, name).lines == [entry["digest"]]
    fake.put_document({**document, "manifests": [{"digest": "../x"}]}, tag="sha256-" + digest[7:], type=registries.INDEX)
    refuse("image", "referrers", PLAIN, name, rc=1, say="no digest")
