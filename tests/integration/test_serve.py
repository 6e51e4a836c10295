"""`proa registry serve`: every end-point of the distribution specification, by its sections, and what must be refused."""

import json
import os
import re
import socket
import sqlite3
import subprocess

import pytest

import archives
from cli import until
from old_store import age
from registry_server import CONFIG, INDEX, LAYER, MANIFEST, Registry, Store, artifact, describe, digest, query
from sandbox import TOP

MISSING = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def store():
    made = Store()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(store):
    with Registry(store, "--push", "--delete", "--max-upload", "8m") as made:
        yield made
        made.stop()
        assert os.listdir(f"{store.root}/tmp") == []


@pytest.fixture
def repository(request):
    return "t/" + "".join(c if c.isalnum() and c.islower() else "-" for c in request.node.name).strip("-").replace("--", "-")[:60].strip("-")


@pytest.fixture(autouse=True)
def alive(request):
    """Whatever a test has sent, the server answers the next one."""
    yield
    if "server" in request.fixturenames:
        assert request.getfixturevalue("server").get("/v2/").status == 200


# --- Determining support, addresses, errors ---

def test_root(server):
    answer = server.get("/v2/")
    assert answer.status == 200 and answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert server.head("/v2/").status == 200
    assert server.get("/v2").status == 200


@pytest.mark.parametrize("method, path, status, code", [
    ("GET", "/", 404, "UNSUPPORTED"),
    ("GET", "/v1/x", 404, "UNSUPPORTED"),
    ("GET", "/v2/x", 404, "UNSUPPORTED"),
    ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a/../../b/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a%2f..%2fb/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/" + "a" * 256 + "/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/nobody/tags/list", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/a/manifests/{MISSING}", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/manifests/sha256:bad", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/.bad", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/a/blobs/{MISSING}", 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/blobs/md5:00", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/referrers/latest", 400, "DIGEST_INVALID"),
    ("PUT", "/v2/a/tags/list", 405, "UNSUPPORTED"),
    ("POST", f"/v2/a/blobs/{MISSING}", 405, "UNSUPPORTED"),
    ("PATCH", "/v2/a/manifests/x", 405, "UNSUPPORTED"),
    ("DELETE", f"/v2/a/blobs/{MISSING}", 404, "BLOB_UNKNOWN"),
    ("DELETE", f"/v2/a/manifests/{MISSING}", 404, "MANIFEST_UNKNOWN"),
    ("DELETE", "/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
    ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("GET", "/v2/a/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("DELETE", "/v2/a/blobs/uploads/no-id", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("POST", "/v2/a/blobs/uploads/?digest=sha256:bad", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", 400, "DIGEST_INVALID"),
])
def test_refusals(server, store, method, path, status, code):
    before = store.files()
    answer = server.ask(method, path)
    assert (answer.status, answer.code) == (status, code), answer
    assert store.files() == before


# --- Pushing blobs ---

@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [b"", b"{}", os.urandom(300000)], ids=["empty", "small", "large"])
def test_monolithic(server, repository, data, algorithm):
    name = digest(data, algorithm)
    answer = server.post(f"/v2/{repository}/blobs/uploads/?digest={name}", data)
    assert answer.status == 201 and answer.headers["Docker-Content-Digest"] == name
    assert server.get(answer.headers["Location"]).body == data
    location = server.begin(repository)
    answer = server.put(f"{location}?digest={name}", data, Content_Type="application/octet-stream")
    assert answer.status == 201 and server.get(answer.headers["Location"]).body == data
    head = server.head(f"/v2/{repository}/blobs/{name}")
    assert head.status == 200 and head.headers["Content-Length"] == str(len(data)) and head.body == b""
    assert server.delete(f"/v2/{repository}/blobs/{name}").status == 202
    assert server.get(f"/v2/{repository}/blobs/{name}").code == "BLOB_UNKNOWN"


@pytest.mark.parametrize("last", ["put", "patch"])
def test_chunks(server, repository, last):
    data = os.urandom(3000)
    location = server.begin(repository)
    for start in range(0, 3000 if last == "patch" else 2000, 1000):
        answer = server.patch(location, data[start:start + 1000], Content_Range=f"{start}-{start + 999}")
        assert answer.status == 202 and answer.headers["Range"] == f"0-{start + 999}"
        location = answer.headers["Location"]
    rest = {} if last == "patch" else {"body": data[2000:], "Content_Range": "2000-2999"}
    answer = server.put(f"{location}?digest={digest(data)}", **rest)
    assert answer.status == 201 and server.get(answer.headers["Location"]).body == data


def test_stream(server, repository):
    """docker push: one PATCH of unknown length, then an empty PUT."""
    pieces = [os.urandom(5000) for _ in range(20)]
    location = server.begin(repository)
    answer = server.ask("PATCH", location, iter(pieces))
    assert answer.status == 202 and answer.headers["Range"] == "0-99999"
    data = b"".join(pieces)
    assert server.put(f"{answer.headers['Location']}?digest={digest(data)}").status == 201


@pytest.mark.parametrize("bad", ["5-9", "1-4", "0-8", "x", "4-0", "0-99999999999999999999"])
def test_chunks_out_of_order(server, repository, bad):
    location = server.begin(repository)
    answer = server.patch(location, b"01234", Content_Range=bad)
    assert answer.status in (400, 416), answer
    if answer.status == 416:
        assert answer.headers["Range"] == "0-0" and answer.headers["Location"] == location
    status = server.get(location)
    assert status.status == 204 and status.headers["Range"] == "0-0"
    assert server.patch(location, b"01234", Content_Range="0-4").status == 202
    assert server.get(location).headers["Range"] == "0-4"
    assert server.patch(location, b"01234", Content_Range="0-4").status == 416
    assert server.put(f"{location}?digest={digest(b'01234')}").status == 201


def test_cancel(server, repository, store):
    location = server.begin(repository)
    server.patch(location, b"x" * 1000)
    assert server.delete(location).status == 204
    for answer in (server.get(location), server.patch(location, b"x"), server.put(f"{location}?digest={digest(b'x')}")):
        assert answer.code == "BLOB_UPLOAD_UNKNOWN"
    assert not [f for f in store.files() if "/tmp/" in f]


def test_an_upload_belongs_to_its_repository(server, repository):
    location = server.begin(repository)
    other = location.replace(repository, "t/other")
    assert server.patch(other, b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert server.delete(location).status == 204


@pytest.mark.parametrize("how", ["post", "put", "chunked", "no digest"])
def test_wrong_digest(server, repository, store, how):
    before = store.files()
    wrong = digest(b"something else")
    if how == "post":
        answer = server.post(f"/v2/{repository}/blobs/uploads/?digest={wrong}", b"data")
    else:
        location = server.begin(repository)
        if how == "chunked":
            server.patch(location, b"data")
        answer = server.put(location if how == "no digest" else f"{location}?digest={wrong}", b"" if how == "chunked" else b"data")
        server.delete(location)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert store.files() == before
    assert server.head(f"/v2/{repository}/blobs/{wrong}").status == 404


def test_an_upload_that_breaks_off_goes_on(server, repository):
    """The client is cut off in the middle of a PATCH, asks how far it got, and sends the rest."""
    data = os.urandom(200000)
    location = server.begin(repository)
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port))) as s:
        s.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:150000])

    def ended():
        answer = server.patch(location, b"")
        return answer.headers["Range"] if answer.status == 202 and answer.headers["Range"] != "0-0" else None
    have = int(until(ended).split("-")[1]) + 1
    assert 0 < have <= 150000
    assert server.patch(location, data[have:], Content_Range=f"{have}-{len(data) - 1}").status == 202
    assert server.put(f"{location}?digest={digest(data)}").status == 201


def test_mount(server, repository):
    name = server.blob("t/source", b"mounted " + repository.encode())
    for source in ("&from=t/source", ""):
        answer = server.post(f"/v2/{repository}/blobs/uploads/?mount={name}{source}")
        assert answer.status == 201 and answer.headers["Location"] == f"/v2/{repository}/blobs/{name}"
        assert server.get(answer.headers["Location"]).status == 200
        server.delete(f"/v2/{repository}/blobs/{name}")
    assert server.delete(f"/v2/t/source/blobs/{name}").status == 202
    answer = server.post(f"/v2/{repository}/blobs/uploads/?mount={name}&from=t/source")
    assert answer.status == 202
    assert server.delete(answer.headers["Location"]).status == 204


def test_a_blob_is_seen_in_its_repository_only(server, repository):
    name = server.blob(repository, b"private " + repository.encode())
    assert server.get(f"/v2/t/elsewhere/blobs/{name}").code == "BLOB_UNKNOWN"


# --- Pulling blobs ---

@pytest.mark.parametrize("header, status, start, length", [
    ("bytes=0-9", 206, 0, 10), ("bytes=500-", 206, 500, 1548), ("bytes=-100", 206, 1948, 100), ("bytes=2000-9999", 206, 2000, 48),
    ("bytes=2048-", 416, 0, 0), ("bytes=9-0", 416, 0, 0), ("bytes=0-1,4-5", 200, 0, 2048), ("lines=1-2", 200, 0, 2048),
])
def test_ranges(server, header, status, start, length):
    data = bytes(range(256)) * 8
    name = server.blob("t/ranges", data)
    answer = server.get(f"/v2/t/ranges/blobs/{name}", Range=header)
    assert answer.status == status
    if status != 416:
        assert answer.body == data[start:start + length] and answer.headers["Content-Length"] == str(length)
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + length - 1}/2048"


# --- Manifests ---

def test_manifest(server, repository):
    layer = archives.Tar().add("file", "x").bytes()
    data = server.image(repository, "one", [layer])
    name = digest(data)
    for reference in ("one", name):
        answer = server.get(f"/v2/{repository}/manifests/{reference}", Accept=MANIFEST)
        assert answer.body == data and answer.headers["Content-Type"] == MANIFEST
        assert answer.headers["Docker-Content-Digest"] == name
        head = server.head(f"/v2/{repository}/manifests/{reference}")
        assert head.status == 200 and head.headers["Content-Length"] == str(len(data)) and head.body == b""
    assert server.manifest(repository, "two", data).status == 201
    assert server.delete(f"/v2/{repository}/manifests/one").status == 202
    assert server.get(f"/v2/{repository}/manifests/one").status == 404
    assert server.get(f"/v2/{repository}/manifests/two").status == 200
    assert server.delete(f"/v2/{repository}/manifests/{name}").status == 202
    assert server.get(f"/v2/{repository}/manifests/two").status == 404
    assert server.get(f"/v2/{repository}/manifests/{name}").status == 404


def test_manifest_with_tags_beside(server, repository):
    server.blob(repository, b"{}")
    data = json.dumps(artifact()).encode()
    answer = server.manifest(repository, f"{digest(data)}?tag=a&tag=b", data)
    assert answer.status == 201 and answer.headers.get_all("OCI-Tag") == ["a", "b"]
    assert server.get(f"/v2/{repository}/tags/list").json == {"name": repository, "tags": ["a", "b"]}
    assert server.manifest(repository, f"{digest(data)}?tag=.a", data).code == "MANIFEST_INVALID"


@pytest.mark.parametrize("change, code", [
    (lambda m: b"", "MANIFEST_INVALID"),
    (lambda m: b"{", "MANIFEST_INVALID"),
    (lambda m: b"[]", "MANIFEST_INVALID"),
    (lambda m: b"[" * 100000, "MANIFEST_INVALID"),
    (lambda m: b'{"schemaVersion":2,"schemaVersion":2}', "MANIFEST_INVALID"),
    (lambda m: {**m, "schemaVersion": 1}, "MANIFEST_INVALID"),
    (lambda m: {**m, "mediaType": INDEX}, "MANIFEST_INVALID"),
    (lambda m: {**m, "manifests": []}, "MANIFEST_INVALID"),
    (lambda m: {**m, "config": None}, "MANIFEST_INVALID"),
    (lambda m: {**m, "layers": {}}, "MANIFEST_INVALID"),
    (lambda m: {**m, "layers": ["x"]}, "MANIFEST_INVALID"),
    (lambda m: {**m, "subject": {"digest": "sha256:../../x", "size": 1}}, "MANIFEST_INVALID"),
    (lambda m: {**m, "annotations": []}, "MANIFEST_INVALID"),
    (lambda m: {**m, "layers": [{**m["layers"][0], "size": -1}]}, "MANIFEST_INVALID"),
    (lambda m: {**m, "other": [{}] * 70000}, "MANIFEST_INVALID"),
    (lambda m: {**m, "layers": [{**m["layers"][0], "size": 3}]}, "MANIFEST_BLOB_UNKNOWN"),
    (lambda m: {**m, "layers": [{**m["layers"][0], "digest": MISSING}]}, "MANIFEST_BLOB_UNKNOWN"),
    (lambda m: {**m, "config": {**m["config"], "digest": MISSING}}, "MANIFEST_BLOB_UNKNOWN"),
], ids=range(18))
def test_manifests_that_are_refused(server, repository, store, change, code):
    server.blob(repository, b"{}")
    before = store.files()
    answer = server.manifest(repository, "x", change(artifact()))
    assert answer.status in (400, 404) and answer.code == code, answer
    assert server.get(f"/v2/{repository}/manifests/x").status == 404
    assert store.files() == before


@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_a_manifest_that_is_too_large(server, repository, store, how):
    before = store.files()
    data = b" " * ((4 << 20) + 1)
    body = data if how == "announced" else (data[i:i + 65536] for i in range(0, len(data), 65536))
    answer = server.ask("PUT", f"/v2/{repository}/manifests/x", body, {"Content-Type": MANIFEST})
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert store.files() == before


def test_a_client_that_asks_first_is_spared_the_body(server, repository):
    said = server.raw(f"PUT /v2/{repository}/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
                      "Expect: 100-continue\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 413 ") and b"100 Continue" not in said


def test_wrong_type_or_digest_of_a_manifest(server, repository):
    server.blob(repository, b"{}")
    data = json.dumps(artifact()).encode()
    assert server.manifest(repository, "x", data, media_type=INDEX).code == "MANIFEST_INVALID"
    assert server.manifest(repository, "x", data, media_type="text/plain").code == "MANIFEST_INVALID"
    assert server.manifest(repository, MISSING, data).code == "DIGEST_INVALID"
    assert server.manifest(repository, "x", data, media_type=MANIFEST + "; charset=utf-8").status == 201


def test_index(server, repository):
    server.blob(repository, b"{}")
    data = json.dumps(artifact()).encode()
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [describe(MANIFEST, data)]}
    assert server.manifest(repository, "x", index, media_type=INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    server.manifest(repository, digest(data), data)
    assert server.manifest(repository, "x", index, media_type=INDEX).status == 201
    assert server.get(f"/v2/{repository}/manifests/x").headers["Content-Type"] == INDEX


def test_layers_that_are_elsewhere_need_not_be_here(server, repository):
    server.blob(repository, b"{}")
    far = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": MISSING, "size": 5}
    assert server.manifest(repository, "x", {**artifact(), "layers": [far]}).status == 201


# --- Content discovery ---

def test_tags_in_pages(server, repository):
    server.blob(repository, b"{}")
    data = json.dumps(artifact()).encode()
    tags = sorted(f"tag-{i:02}" for i in range(25))
    for tag in reversed(tags):
        assert server.manifest(repository, tag, data).status == 201
    assert server.get(f"/v2/{repository}/tags/list").json == {"name": repository, "tags": tags}
    assert server.get(f"/v2/{repository}/tags/list?last=tag-20").json["tags"] == tags[21:]
    assert server.get(f"/v2/{repository}/tags/list?n=0").json["tags"] == []
    path, found, pages = f"/v2/{repository}/tags/list?n=10", [], 0
    while path:
        answer = server.get(path)
        assert len(answer.json["tags"]) <= 10
        found += answer.json["tags"]
        pages += 1
        link = answer.headers.get("Link")
        assert link is None or link.endswith('>; rel="next"')
        path = link and link[1:link.index(">")]
    assert found == tags and pages == 3
    assert server.get(f"/v2/{repository}/tags/list?n=x").status == 416
    names = server.get("/v2/_catalog").json["repositories"]
    assert repository in names and names == sorted(set(names))
    first = server.get("/v2/_catalog?n=1")
    assert first.json["repositories"] == names[:1]
    if len(names) > 1:
        assert first.headers["Link"] == f'</v2/_catalog?n=1&last={names[0]}>; rel="next"'


def test_referrers(server, repository):
    server.blob(repository, b"{}")
    subject = json.dumps(artifact()).encode()
    kinds = ["application/x.signature", "application/x.list", None]
    made = {}
    for i, kind in enumerate(kinds):
        document = artifact(subject=describe(MANIFEST, subject), annotations={"number": str(i)},
                            **({"artifactType": kind} if kind else {}))
        data = json.dumps(document).encode()
        answer = server.manifest(repository, digest(data), data)
        # The subject need not be there yet.
        assert answer.status == 201 and answer.headers["OCI-Subject"] == digest(subject)
        made[digest(data)] = {"mediaType": MANIFEST, "digest": digest(data), "size": len(data), "annotations": {"number": str(i)},
                              "artifactType": kind or "application/vnd.oci.empty.v1+json"}
    server.manifest(repository, "subject", subject)
    answer = server.get(f"/v2/{repository}/referrers/{digest(subject)}")
    assert answer.headers["Content-Type"] == INDEX and "OCI-Filters-Applied" not in answer.headers
    assert answer.json["schemaVersion"] == 2 and answer.json["mediaType"] == INDEX
    assert {m["digest"]: m for m in answer.json["manifests"]} == made
    answer = server.get(f"/v2/{repository}/referrers/{digest(subject)}?{query(artifactType=kinds[0])}")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert [m["artifactType"] for m in answer.json["manifests"]] == [kinds[0]]
    assert server.get(f"/v2/{repository}/referrers/{MISSING}").json["manifests"] == []
    for name in made:
        assert server.delete(f"/v2/{repository}/manifests/{name}").status == 202
    assert server.get(f"/v2/{repository}/referrers/{digest(subject)}").json["manifests"] == []


def test_referrers_by_tag(server, repository):
    """The tag schema of clients that do not know the API is an ordinary tag."""
    server.blob(repository, b"{}")
    data = json.dumps(artifact()).encode()
    server.manifest(repository, digest(data), data)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [describe(MANIFEST, data)]}
    tag = MISSING.replace(":", "-")
    assert server.manifest(repository, tag, index, media_type=INDEX).status == 201
    assert server.get(f"/v2/{repository}/manifests/{tag}").json == index


# --- What is kept, and what goes ---

def test_files_go_with_the_last_that_needs_them(server, store, repository):
    data = b"shared by two " + repository.encode()
    path = f"{store.root}/blobs/sha256/{digest(data)[7:]}"
    for name in (repository, "t/second"):
        server.blob(name, data)
    assert server.delete(f"/v2/{repository}/blobs/{digest(data)}").status == 202
    store("image", "prune", "-af")
    assert open(path, "rb").read() == data
    assert server.delete(f"/v2/t/second/blobs/{digest(data)}").status == 202
    assert not os.path.exists(path)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("damage", ["changed", "missing", "cut"])
def test_fsck_reads_what_was_pushed(server, store, repository, damage, algorithm):
    name = server.blob(repository, b"to be damaged " + repository.encode(), algorithm)
    assert store("fsck").rc == 0
    path = f"{store.root}/blobs/{algorithm}/{name[7:]}"
    if damage == "missing":
        os.unlink(path)
    else:
        os.chmod(path, 0o600)
        with open(path, "r+b") as f:
            f.truncate(5) if damage == "cut" else f.write(b"T")
    found = store("fsck", check=False)
    assert found.rc != 0 and name in found.out + found.err
    store("fsck", "--repair", check=False)
    assert store("fsck").rc == 0
    assert server.get(f"/v2/{repository}/blobs/{name}").code == "BLOB_UNKNOWN"
    stray = f"{store.root}/blobs/{algorithm}/" + "0" * len(name[7:])
    with open(stray, "w"):
        pass
    assert store("fsck", check=False).rc != 0
    store("fsck", "--repair", check=False)
    assert not os.path.exists(stray)


def test_looking_after_what_was_pushed(server, store, repository):
    """ls, rm and prune of the store's owner: what no tag leads to goes, what any tag leads to stays."""
    for data in (b"{}", b"alone " + repository.encode(), b"signed"):
        server.blob(repository, data)
    child, free, signed = (json.dumps(artifact(annotations={"n": n})).encode() for n in "123")
    for data in (child, free, signed):
        server.manifest(repository, digest(data), data)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [describe(MANIFEST, child)]}
    assert server.manifest(repository, "top", index, media_type=INDEX).status == 201
    signature = json.dumps(artifact(b"signed", subject=describe(MANIFEST, child))).encode()
    server.manifest(repository, digest(signature), signature)
    rows = [r.split()[:3] for r in store("registry", "ls", "--no-trunc", repository).lines[1:]]
    assert [repository, "top", digest(json.dumps(index).encode())] in rows and [repository, "<none>", digest(free)] in rows
    assert len(rows) == 5

    before = store.files()
    assert store("registry", "prune", "-f").lines == ["Total reclaimed space: 0B"]  # all of it is young
    assert store.files() == before
    removed = store("registry", "prune", "-f", "--older", "0s").lines[:-1]
    assert {r.split("@")[1] for r in removed if r.startswith(repository + "@")} == \
        {digest(free), digest(signed), digest(b"alone " + repository.encode())}
    for name in (child, signature):
        assert server.get(f"/v2/{repository}/manifests/{digest(name)}").body == name
    assert server.get(f"/v2/{repository}/manifests/{digest(free)}").status == 404

    store("registry", "rm", f"{repository}:top")
    assert store("registry", "rm", f"{repository}:top", check=False).rc == 1
    store("registry", "prune", "-f", "--older", "0s")
    assert server.get(f"/v2/{repository}/tags/list").status == 404
    server.blob(repository, b"{}")
    server.manifest(repository, "a", child)
    store("registry", "rm", f"{repository}@{digest(child)}")
    assert server.get(f"/v2/{repository}/manifests/a").status == 404
    store("registry", "rm", repository)
    assert repository not in server.get("/v2/_catalog").json["repositories"]
    assert store("fsck").rc == 0


def test_nothing_is_lost_when_images_go(server, store, repository):
    """A pushed image may be removed here; what was pushed can still be pulled."""
    layer = archives.busybox_tar()
    data = server.image(repository, "1", [layer])
    assert store("images", "-q", repository).lines
    store("rmi", f"{repository}:1")
    assert not store("images", "-q", repository).lines
    assert server.get(f"/v2/{repository}/manifests/1").body == data
    assert digest(server.get(f"/v2/{repository}/blobs/{digest(layer)}").body) == digest(layer)


def test_a_name_given_to_another_image_is_what_the_tag_means(server, store, repository):
    first = server.image(repository, "1", [archives.Tar().add("a", "a").bytes()])
    second = server.image(repository, "2", [archives.Tar().add("b", "b").bytes()])
    assert server.get(f"/v2/{repository}/manifests/1").body == first
    store("tag", f"{repository}:2", f"{repository}:1")
    named = server.get(f"/v2/{repository}/manifests/1")
    assert named.body != first and named.json["config"] == json.loads(second)["config"]
    assert server.manifest(repository, "1", first).status == 201
    assert server.get(f"/v2/{repository}/manifests/1").body == first


def test_a_pushed_image_runs(server, store, repository):
    server.image(repository, "1", [archives.busybox_tar()])
    assert store("run", "--rm", "--network", "none", f"{repository}:1", "echo", "pushed", timeout=60).out == "pushed\n"
    assert server.delete(f"/v2/{repository}/manifests/1").status == 202
    assert not store("images", "-q", repository).lines


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_compressed_layers_run(server, store, repository, how):
    layer = archives.busybox_tar()
    packed = subprocess.run([how, "-c"], input=layer, capture_output=True, check=True).stdout
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    for data in (packed, config):
        server.blob(repository, data)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, config), "layers": [describe(f"{LAYER}+{how}", packed)]}
    assert server.manifest(repository, "1", manifest).status == 201
    assert store("run", "--rm", "--network", "none", f"{repository}:1", "echo", how, timeout=60).out == how + "\n"
    assert server.delete(f"/v2/{repository}/manifests/1").status == 202


def test_an_image_in_use_keeps_its_files(server, store, repository):
    server.image(repository, "1", [archives.busybox_tar()])
    store("create", "--name", "user", "--network", "none", f"{repository}:1", "echo", "still here")
    assert server.delete(f"/v2/{repository}/manifests/1").status == 202
    assert store("start", "-a", "user", timeout=60).out == "still here\n"
    store("rm", "-f", "user")
    store("image", "prune", "-af")


def test_an_older_store_gets_the_tables(house):
    """What a proa that knew no registry has written, version 1, is opened, with everything in it."""
    old = Store()
    try:
        old("import", "-", "kept:1", input=archives.Tar().add("x", "x").bytes())
        age(f"{old.root}/proa.db").close()
        with Registry(old, "--push") as server:
            assert server.get("/v2/_catalog").json == {"repositories": ["kept"]}
            server.blob("new", b"x")
    finally:
        old.close()
